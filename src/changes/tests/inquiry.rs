//! What an enumeration asks for by id before it ends.

use super::*;

/// A page that comes before the one that makes room for it.
#[tokio::test]
async fn folders_that_were_swapped_are_right_in_the_end_whatever_page_comes_first() {
    for [outer, inner] in [["i1", "i2"], ["i2", "i1"]] {
        let world = World::new();
        world.feed.is(folder(outer, "root"));
        world.feed.is(folder(inner, outer));
        world.feed.is(file("in it", inner, 1));
        world.learn().await;
        world.feed.is(Item { meta_tag: MetaTag("m1".into()), ..folder(inner, "root") });
        world.feed.is(Item { meta_tag: MetaTag("m1".into()), ..folder(outer, inner) });
        world.feed.state().page = 1;
        world.expire().await;
        world.enumerate().await;
        assert_eq!(world.tree(), world.truth());
    }
}
