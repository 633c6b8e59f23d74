//! What an enumeration asks for by id before it ends.

use std::collections::VecDeque;

use super::*;

/// Two files of which one is neither listed nor can be asked for, in an enumeration that was begun because the position
/// in the feed had expired.
async fn one_cannot_be_asked_for() -> World {
    let world = World::new();
    for name in ["a", "b", "d", "e"] {
        world.feed.is(file(name, "root", 1));
    }
    world.learn().await;
    world.feed.state().hidden = vec![id("a"), id("b"), id("d")];
    world.feed.state().refused = vec![id("b")];
    world.expire().await;
    world.feed.take_looked_up();
    world
}

async fn pages(world: &World, count: usize) {
    for _ in 0..count {
        if world.poller.has_pages_to_fetch().await {
            world.poller.page_in_turn().await;
        }
    }
}

/// Else nothing that changes elsewhere is heard of until the one item can be looked up, which may be never.
#[tokio::test]
async fn an_item_that_cannot_be_looked_up_holds_up_no_news() {
    let world = one_cannot_be_asked_for().await;
    world.feed.state().gone_unnoticed = vec![id("d")];
    pages(&world, 5).await;
    assert!(!world.poller.has_pages_to_fetch().await, "it is over");
    assert_eq!(world.tree(), ["/a m1", "/b m1", "/e m1"]);
    let mut looked_up = world.feed.take_looked_up();
    looked_up.sort();
    assert_eq!(looked_up, ["a", "b", "d", "root"], "each once, and the root whether anything is answered");
    world.feed.is(file("c", "root", 1));
    assert_eq!(world.poll().await, 1);
    assert_eq!(world.tree(), ["/a m1", "/b m1", "/c m1", "/e m1"]);
    world.feed.state().refused.clear();
    world.feed.state().gone_unnoticed.push(id("b"));
    world.clock.advance(Duration::from_secs(10));
    world.poll().await;
    assert_eq!(world.tree(), ["/a m1", "/c m1", "/e m1"]);
    world.clock.advance(Duration::from_secs(100));
    world.feed.take_looked_up();
    world.poll().await;
    assert!(world.feed.take_looked_up().is_empty(), "everything is settled");
}

/// Nor is it the only one that a comparison of every day asks for.
#[tokio::test]
async fn an_item_that_cannot_be_looked_up_hides_no_deletion_that_a_comparison_finds() {
    let world = one_cannot_be_asked_for().await;
    world.enumerate().await;
    world.clock.advance(Duration::from_secs(25 * 3600));
    world.feed.state().gone_unnoticed = vec![id("d")];
    world.enumerate().await;
    assert_eq!(world.tree(), ["/a m1", "/b m1", "/e m1"]);
    assert!(!world.poller.has_pages_to_fetch().await, "until tomorrow");
}

/// No feed brings what changed before the position that the enumeration ended with.
#[tokio::test]
async fn what_could_not_be_looked_up_is_taken_as_it_is_then() {
    let world = one_cannot_be_asked_for().await;
    world.feed.is(Item { name: "moved".into(), ..file("b", "root", 2) });
    pages(&world, 5).await;
    world.feed.state().refused.clear();
    world.clock.advance(Duration::from_secs(10));
    world.poll().await;
    assert_eq!(world.tree(), world.truth());
}

#[tokio::test]
async fn what_cannot_be_looked_up_is_given_up_after_an_hour_and_holds_up_no_comparison() {
    let world = one_cannot_be_asked_for().await;
    pages(&world, 5).await;
    assert!(!world.poller.has_pages_to_fetch().await, "it counts as made");
    world.clock.advance(Duration::from_secs(1800));
    world.feed.take_looked_up();
    world.poll().await;
    assert_eq!(world.feed.take_looked_up(), ["b"]);
    world.clock.advance(Duration::from_secs(1801));
    world.poll().await;
    assert_eq!(world.feed.take_looked_up(), ["b"]);
    world.clock.advance(Duration::from_secs(1000));
    world.poll().await;
    assert!(world.feed.take_looked_up().is_empty());
    assert_eq!(world.tree().len(), 4, "it stays as it is");

    let world = one_cannot_be_asked_for().await;
    pages(&world, 5).await;
    world.clock.advance(Duration::from_secs(25 * 3600));
    assert!(world.poller.has_pages_to_fetch().await, "the next day, though it was not asked again");
}

/// Then it is the service that is not there, and not the item.
#[tokio::test]
async fn an_enumeration_does_not_end_while_nothing_can_be_looked_up() {
    let world = one_cannot_be_asked_for().await;
    world.feed.state().refused = ["a", "b", "d", "root"].map(id).to_vec();
    pages(&world, 5).await;
    assert!(world.poller.health().borrow().trouble.is_some());
    assert!(world.poller.has_pages_to_fetch().await);
    world.feed.state().refused.clear();
    world.feed.state().gone_unnoticed = vec![id("b")];
    world.enumerate().await;
    assert_eq!(world.tree(), ["/a m1", "/d m1", "/e m1"]);
    assert!(world.poller.health().borrow().is_well());
}

/// A service that lets few questions through in one go would be asked the same ones for ever.
#[tokio::test]
async fn what_was_answered_before_the_service_asked_for_a_pause_is_not_asked_again() {
    let world = one_cannot_be_asked_for().await;
    world.feed.state().refused.clear();
    world.feed.state().gone_unnoticed = ["a", "b", "d"].map(id).to_vec();
    let busy = RemoteError::new(RemoteErrorKind::Throttled, Advice::RetryAfter(Duration::from_secs(400)), "busy");
    world.feed.state().stat_failures = VecDeque::from([None, Some(busy)]);
    world.take_heard();
    let mut outcomes = Vec::new();
    while world.tree().len() == 4 && outcomes.len() < 9 {
        assert!(world.poller.has_pages_to_fetch().await);
        outcomes.push(world.poller.page_in_turn().await);
    }
    assert!(matches!(outcomes.pop(), Some(Outcome::Failed(Failure { asked: Some(_), .. }))));
    assert_eq!(world.take_heard().len(), 1, "it is told of though the piece failed");
    let first = world.feed.take_looked_up()[0].clone();
    world.feed.take_asked();
    world.enumerate().await;
    assert_eq!(world.tree(), ["/e m1"]);
    assert!(!world.feed.take_looked_up().contains(&first));
    assert!(world.feed.take_asked().is_empty(), "nor is the last page");
}

/// Else names that do not exist are shown until as many days have passed as there are pieces.
#[tokio::test]
async fn however_much_is_absent_all_of_it_is_asked_for() {
    let world = World::new();
    for number in 0..2500 {
        world.feed.is(file(&format!("f{number}"), "root", 1));
    }
    world.feed.is(file("kept", "root", 1));
    world.feed.state().page = 1000;
    world.learn().await;
    assert_eq!(world.tree().len(), 2501);
    world.feed.state().log.retain(|change| matches!(change, Change::Is(item) if item.name == "kept"));
    world.expire().await;
    world.enumerate().await;
    assert_eq!(world.tree(), world.truth());
    assert!(!world.poller.has_pages_to_fetch().await);
}

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

/// A replica that lists the drive may be some seconds behind the feed.
#[tokio::test]
async fn what_the_feed_said_is_gone_just_before_a_comparison_is_not_brought_back_by_it() {
    let world = World::new();
    for name in ["a", "b"] {
        world.feed.is(file(name, "root", 1));
    }
    world.learn().await;
    world.clock.advance(Duration::from_secs(25 * 3600));
    let before = world.feed.state().log.len();
    world.feed.gone("a");
    world.feed.is(Item { name: "a".into(), ..file("new", "root", 1) });
    world.poll().await;
    world.feed.state().frozen = Some(before);
    world.enumerate().await;
    assert_eq!(world.tree(), ["/a m1", "/b m1"]);
    assert!(world.index.by_id(&id("a")).expect("reads").is_none());
    assert!(world.index.by_id(&id("new")).expect("reads").is_some());
    // A trusted page is not trusted of it either: it is asked.
    world.feed.gone("b");
    world.poll().await;
    world.expire().await;
    world.enumerate().await;
    assert!(world.index.by_id(&id("b")).expect("reads").is_none());
}
