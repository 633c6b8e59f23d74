//! The comparison of the whole drive.

use super::*;

#[tokio::test]
async fn an_old_page_of_an_enumeration_overrides_nothing() {
    let world = World::new();
    for name in ["a", "b", "c", "d"] {
        world.feed.is(file(name, "root", 1));
    }
    world.poller.prepare().await.expect("prepared");
    // From here on the enumeration shows the drive as it is now.
    world.feed.state().frozen = Some(4);
    assert!(world.poller.has_pages_to_fetch().await);
    world.poller.page_in_turn().await;
    world.feed.is(file("c", "root", 2));
    world.feed.gone("d");
    world.poll().await;
    world.enumerate().await;
    assert_eq!(world.tree(), world.truth());
    assert_eq!(world.poll().await, 0, "the position in the feed did not go back");
}

#[tokio::test]
async fn the_first_enumeration_fills_the_index_and_is_continued_after_a_restart() {
    let world = World::new();
    world.feed.is(folder("docs", "root"));
    for name in ["a", "b", "c", "d", "e"] {
        world.feed.is(file(name, "docs", 1));
    }
    world.poller.prepare().await.expect("prepared");
    assert!(world.poller.has_pages_to_fetch().await);
    for _ in 0..2 {
        assert_eq!(world.poller.page_in_turn().await, Outcome::News);
    }
    assert!(!world.index.is_enumerated().expect("reads"));
    assert!(world.poller.health().borrow().enumerating.is_some_and(|listed| listed >= 2));
    world.feed.take_asked();

    let world = world.restart();
    assert!(world.poller.has_pages_to_fetch().await);
    world.poller.page_in_turn().await;
    assert!(world.feed.take_asked()[0].starts_with("listing:"), "not from the beginning");
    world.enumerate().await;
    assert!(world.index.is_enumerated().expect("reads"));
    assert_eq!(world.tree(), world.truth());
    let docs = world.index.by_id(&id("docs")).expect("reads").expect("known");
    assert!(docs.complete);
    assert!(!world.poller.has_pages_to_fetch().await, "until tomorrow");
    world.clock.advance(Duration::from_secs(25 * 3600));
    assert!(world.poller.has_pages_to_fetch().await);
}

#[tokio::test]
async fn an_expired_cursor_leads_to_a_comparison_that_finds_what_was_missed() {
    let world = World::new();
    world.feed.is(folder("docs", "root"));
    world.feed.is(file("a", "docs", 1));
    world.feed.is(file("b", "root", 1));
    world.learn().await;

    world.feed.gone("docs");
    world.feed.is(file("b", "root", 2));
    let len = world.feed.state().log.len();
    world.feed.state().forgotten = len;
    assert_eq!(world.poll().await, 0);
    assert_eq!(world.tree().len(), 3, "nothing goes before the end of the enumeration");
    assert!(!world.poller.health().borrow().is_well(), "nothing reaches us meanwhile");
    assert_eq!(world.poll().await, 0);
    world.enumerate().await;
    assert!(world.poller.health().borrow().is_well());
    assert_eq!(world.tree(), ["/b m2"]);
    world.feed.is(file("c", "root", 1));
    assert_eq!(world.poll().await, 1, "and the feed is followed again");
}

/// Without a feed the pages of an enumeration have to be trusted, but not against what we have done since they were
/// taken. The state that they show need not be the one that we started from: a move with a new name takes two steps, and
/// a folder is another one after each thing that was put into it.
#[tokio::test]
async fn an_old_page_of_an_enumeration_that_is_trusted_takes_nothing_of_ours_back() {
    let world = World::new();
    world.feed.is(folder("docs", "root"));
    world.feed.is(folder("old", "root"));
    world.feed.is(Item { meta_tag: MetaTag("halfway".into()), ..folder("moved", "old") });
    world.feed.is(file("in it", "moved", 1));
    world.feed.is(file("theirs", "root", 1));
    world.feed.state().page = 10;
    world.learn().await;
    let len = world.feed.state().log.len();
    world.feed.state().frozen = Some(len);
    world.feed.state().forgotten = len + 1;
    assert_eq!(world.poll().await, 0);
    world.feed.state().forgotten = 0;
    // Ours: a folder is moved. Then somebody changes what we have changed as well, which no feed will bring.
    let moved = Item { meta_tag: MetaTag("there".into()), ..folder("moved", "docs") };
    world.feed.is(moved.clone());
    land(&world, moved, "before");
    land(&world, file("theirs", "root", 2), "before");
    world.feed.is(file("theirs", "root", 3));
    assert!(world.poller.has_pages_to_fetch().await);
    let mut seen = Vec::new();
    while world.poller.has_pages_to_fetch().await {
        world.poller.page_in_turn().await;
        seen.push(world.tree());
    }
    for tree in seen {
        assert!(tree.contains(&"/docs/moved/in it m1".to_owned()), "{tree:?}");
    }
    assert_eq!(world.tree(), world.truth());
}

/// After a loss of power the index may know a folder that we have made and deleted since, and no feed will tell.
#[tokio::test]
async fn what_we_made_a_moment_ago_and_is_not_found_is_asked_for_again() {
    let world = World::new();
    world.feed.is(folder("docs", "root"));
    world.learn().await;
    land(&world, folder("made", "root"), "");
    land(&world, file("not shown yet", "root", 1), "");
    let len = world.feed.state().log.len();
    world.feed.state().forgotten = len + 1;
    assert_eq!(world.poll().await, 0);
    world.enumerate().await;
    assert_eq!(world.tree().len(), 3, "it may only not be shown yet");
    world.feed.state().forgotten = 0;
    world.feed.is(file("not shown yet", "root", 1));
    world.poll().await;
    world.clock.advance(Duration::from_secs(60));
    assert!(!world.poller.has_pages_to_fetch().await);
    world.poll().await;
    assert_eq!(world.tree().len(), 3, "as long as replicas may lag");
    // What cannot be asked about holds up nothing else.
    world.clock.advance(Duration::from_secs(300));
    world.feed.state().refused = vec![id("made")];
    world.feed.is(file("news", "root", 1));
    world.poll().await;
    assert_eq!(world.tree(), ["/docs m0", "/made m0", "/news m1", "/not shown yet m1"]);
    world.feed.state().refused.clear();
    world.clock.advance(Duration::from_secs(60));
    world.poll().await;
    assert_eq!(world.tree(), ["/docs m0", "/news m1", "/not shown yet m1"]);
    assert!(!world.poller.has_pages_to_fetch().await, "until tomorrow");
}

/// Nor does a restart before that lose the question.
#[tokio::test]
async fn a_comparison_that_left_something_open_is_made_again_after_a_restart() {
    let world = World::new();
    world.learn().await;
    land(&world, folder("made", "root"), "");
    world.clock.advance(Duration::from_secs(25 * 3600));
    land(&world, folder("made lately", "root"), "");
    world.enumerate().await;
    assert_eq!(world.tree(), ["/made lately m0"]);
    let world = world.restart();
    world.clock.advance(Duration::from_secs(25 * 3600 + 400));
    world.enumerate().await;
    assert!(world.tree().is_empty());
}

#[tokio::test]
async fn what_an_enumeration_forgets_to_list_is_not_gone() {
    let world = World::new();
    world.feed.is(folder("docs", "root"));
    world.feed.is(file("a", "docs", 1));
    world.feed.is(file("b", "root", 1));
    world.learn().await;
    world.feed.state().hidden = vec![id("docs"), id("a")];
    // This deletion never shows in the feed.
    world.feed.state().log.retain(|change| !matches!(change, Change::Is(item) if item.id == id("b")));
    world.clock.advance(Duration::from_secs(25 * 3600));
    world.enumerate().await;
    assert_eq!(world.tree(), ["/docs m0", "/docs/a m1"]);
}

/// A chain that is made of listings misses what replicas do not show yet.
#[tokio::test]
async fn what_we_made_a_moment_ago_is_not_gone_because_no_listing_shows_it() {
    for (source, kept) in [(ChangeSource::Listed, true), (ChangeSource::Native, false)] {
        let world = World::of(source);
        world.learn().await;
        land(&world, folder("made", "root"), "");
        world.feed.gone("made");
        world.poll().await;
        assert_eq!(world.tree() == ["/made m0"], kept, "a feed of the service's own knows");
        world.feed.is(folder("made", "root"));
        world.clock.advance(Duration::from_secs(400));
        world.poll().await;
        assert_eq!(world.tree(), ["/made m0"]);
    }
    let world = World::of(ChangeSource::Listed);
    world.learn().await;
    land(&world, folder("made", "root"), "");
    world.feed.gone("made");
    world.poll().await;
    world.clock.advance(Duration::from_secs(400));
    world.poll().await;
    assert!(world.tree().is_empty(), "but not for ever");
}

/// A comparison that ends meanwhile has listed it, and does not ask for it.
#[tokio::test]
async fn what_is_missed_while_a_comparison_runs_is_asked_for_after_it() {
    let world = World::of(ChangeSource::Listed);
    world.feed.is(folder("z", "root"));
    world.feed.is(file("z1", "z", 1));
    world.feed.is(file("z2", "z", 1));
    world.learn().await;
    world.clock.advance(Duration::from_secs(25 * 3600));
    land(&world, file("a", "root", 1), "");
    world.feed.is(file("a", "root", 1));
    assert!(world.poller.has_pages_to_fetch().await);
    assert_eq!(world.poller.page_in_turn().await, Outcome::News);
    assert!(world.poller.has_pages_to_fetch().await, "it has listed the file and not come to its end");
    world.feed.gone("a");
    world.poll().await;
    assert!(world.tree().contains(&"/a m1".to_owned()), "it may only not be shown yet");
    world.enumerate().await;
    world.clock.advance(Duration::from_secs(400));
    world.poll().await;
    assert_eq!(world.tree(), world.truth());
    // It does not count as made before that: tomorrow's comes a day later.
    assert!(!world.poller.has_pages_to_fetch().await);
}

/// What it asks for and is not told of is left as it is.
#[tokio::test]
async fn an_item_that_nobody_may_ask_for_holds_up_no_comparison() {
    let world = World::of(ChangeSource::Listed);
    world.learn().await;
    land(&world, file("made", "root", 1), "");
    world.feed.gone("made");
    world.poll().await;
    world.feed.state().denied = vec![id("made")];
    world.clock.advance(Duration::from_secs(100));
    world.poll().await;
    world.feed.state().denied.clear();
    world.clock.advance(Duration::from_secs(10));
    assert_eq!(world.tree(), ["/made m1"], "as long as replicas may lag");
    world.feed.state().denied = vec![id("made")];
    world.clock.advance(Duration::from_secs(400));
    world.poll().await;
    assert_eq!(world.tree(), ["/made m1"]);
    world.clock.advance(Duration::from_secs(25 * 3600));
    assert!(world.poller.has_pages_to_fetch().await, "the next day");
}

/// What another has taken the name of has no place, and goes all the same: whoever has work in it waits to hear of that.
#[tokio::test]
async fn what_has_lost_its_place_to_another_goes_when_that_is_told_or_found_out() {
    for told in [true, false] {
        let world = World::new();
        world.feed.is(folder("d", "root"));
        world.feed.is(file("x", "d", 1));
        world.learn().await;
        let old = world.index.by_id(&id("d")).expect("reads").expect("known").ino;
        world.feed.is(Item { name: "d".into(), ..folder("another", "root") });
        world.poll().await;
        assert!(world.index.is_bound(old).expect("reads"), "it may have moved");
        world.take_heard();
        if told {
            world.feed.gone("d");
            world.poll().await;
        } else {
            world.feed.state().gone_unnoticed = vec![id("d"), id("x")];
            world.feed.state().hidden = vec![id("d"), id("x")];
            world.clock.advance(Duration::from_secs(25 * 3600));
            world.enumerate().await;
        }
        assert!(!world.index.is_bound(old).expect("reads"), "told: {told}");
        assert_eq!(world.index.gone(old).expect("reads"), Some((Ino::ROOT, "d".into())));
        let heard = world.take_heard();
        assert!(heard.iter().any(|notice| notice.ino == old && notice.what == What::Removed), "{heard:?}");
        assert_eq!(world.tree(), ["/d m0"]);
    }
}
