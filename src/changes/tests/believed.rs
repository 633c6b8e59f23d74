//! What we have deleted ourselves, and may be restored elsewhere.

use super::*;

/// The file `a` is known, and deleted here.
async fn one_is_deleted_here() -> World {
    let world = World::new();
    world.feed.is(file("a", "root", 1));
    world.learn().await;
    delete_here(&world);
    world
}

fn delete_here(world: &World) {
    let until = world.clock.now().plus(Duration::from_secs(300));
    let written = world.index.write(|txn| {
        txn.remove(&id("a"))?;
        txn.expect_echo(&id("a"), &MetaTag("m1".into()), true, until)
    });
    written.expect("written");
}

/// It was restored elsewhere, and whoever is asked does not know it yet: the feed will not say it again.
async fn one_is_restored_and_not_found() -> World {
    let world = one_is_deleted_here().await;
    world.feed.is(file("a", "root", 5));
    world.feed.state().gone_unnoticed = vec![id("a")];
    world.poll().await;
    assert!(world.tree().is_empty());
    let all = Cursor(format!("cursor:{}", world.feed.state().log.len()));
    assert_eq!(world.index.cursor().expect("reads"), Some(all), "nothing else is held up");
    world.feed.take_looked_up();
    world
}

async fn poll_after(world: &World, seconds: u64) -> Vec<String> {
    world.clock.advance(Duration::from_secs(seconds));
    world.poll().await;
    world.feed.take_looked_up()
}

#[tokio::test]
async fn what_is_restored_elsewhere_is_shown_though_it_was_not_found_at_first() {
    for pause in [20, 60, 400] {
        let world = one_is_restored_and_not_found().await;
        if pause == 60 {
            assert_eq!(poll_after(&world, 20).await, ["a"]);
            assert!(world.tree().is_empty());
        }
        world.feed.state().gone_unnoticed.clear();
        assert_eq!(poll_after(&world, pause).await, ["a"]);
        assert_eq!(world.tree(), ["/a m5"]);
        assert!(!world.index.is_deleted_here(&id("a"), world.clock.now()).expect("reads"));
        assert!(poll_after(&world, 400).await.is_empty());
    }
}

#[tokio::test]
async fn what_stays_gone_is_asked_for_once_more_when_our_deletion_is_not_recent_any_more() {
    let world = one_is_restored_and_not_found().await;
    assert!(poll_after(&world, 10).await.is_empty());
    assert_eq!(poll_after(&world, 10).await, ["a"]);
    assert!(poll_after(&world, 30).await.is_empty());
    assert_eq!(poll_after(&world, 10).await, ["a"]);
    assert!(poll_after(&world, 100).await.is_empty());
    assert_eq!(poll_after(&world, 400).await, ["a"]);
    for _ in 0..5 {
        assert!(poll_after(&world, 400).await.is_empty());
    }
    assert!(world.tree().is_empty());
}

/// An answer that cannot be had is asked for again, but not for ever.
#[tokio::test]
async fn a_last_question_that_is_not_answered_is_asked_again_for_a_while() {
    let world = one_is_restored_and_not_found().await;
    world.feed.state().refused = vec![id("a")];
    assert_eq!(poll_after(&world, 400).await, ["a"]);
    assert!(poll_after(&world, 10).await.is_empty());
    assert_eq!(poll_after(&world, 100).await, ["a"]);
    assert_eq!(poll_after(&world, 3600).await, ["a"]);
    assert!(poll_after(&world, 400).await.is_empty());
    assert!(world.tree().is_empty());
}

#[tokio::test]
async fn what_the_feed_says_afterwards_of_an_item_that_was_not_found_counts() {
    let world = one_is_restored_and_not_found().await;
    world.feed.gone("a");
    world.feed.state().gone_unnoticed.clear();
    for _ in 0..5 {
        assert!(poll_after(&world, 100).await.is_empty());
    }
    assert!(world.tree().is_empty());
}

/// Whoever is asked may be behind both: while our deletion is recent only what the feed has said is an answer.
#[tokio::test]
async fn an_answer_that_the_feed_has_not_given_is_no_restoration_while_our_deletion_is_recent() {
    let world = one_is_restored_and_not_found().await;
    world.feed.state().gone_unnoticed.clear();
    world.feed.state().stat_shows = Some(1);
    assert_eq!(poll_after(&world, 20).await, ["a"]);
    assert!(world.tree().is_empty(), "the state that we have deleted");
    world.feed.state().stat_shows = None;
    assert_eq!(poll_after(&world, 40).await, ["a"]);
    assert_eq!(world.tree(), ["/a m5"]);
}

#[tokio::test]
async fn what_we_have_deleted_again_since_is_not_restored() {
    let world = one_is_restored_and_not_found().await;
    world.feed.state().gone_unnoticed.clear();
    world.clock.advance(Duration::from_secs(10));
    delete_here(&world);
    assert!(poll_after(&world, 20).await.is_empty());
    assert!(world.tree().is_empty());

    let world = one_is_restored_and_not_found().await;
    world.feed.state().gone_unnoticed.clear();
    let (index, until) = (world.index.clone(), world.clock.now().plus(Duration::from_secs(400)));
    world.feed.state().meanwhile = Some(Box::new(move || {
        let deleted = index.write(|txn| txn.expect_echo(&id("a"), &MetaTag("m5".into()), true, until));
        deleted.expect("written");
    }));
    assert_eq!(poll_after(&world, 20).await, ["a"]);
    assert!(world.tree().is_empty(), "nor if that was while it was asked for");
}

/// On a service without a feed every start is such an enumeration, and what it leaves out nobody brings.
#[tokio::test]
async fn what_is_restored_elsewhere_before_an_enumeration_that_is_trusted_is_shown_at_its_end() {
    for source in [ChangeSource::Native, ChangeSource::Listed] {
        let restored = async |at_once: bool, known: Item, restored: Item| {
            let world = World::of(source);
            world.feed.is(known);
            world.learn().await;
            delete_here(&world);
            world.feed.gone("a");
            world.feed.is(restored);
            if !at_once {
                world.feed.state().gone_unnoticed = vec![id("a")];
            }
            world.feed.state().forgotten = usize::MAX;
            world.poll().await;
            world.feed.state().forgotten = 0;
            world.enumerate().await;
            world
        };
        let version = |version| file("a", "root", version);
        assert_eq!(restored(true, version(1), version(5)).await.tree(), ["/a m5"]);
        // In the state that we have deleted the listing and whoever was asked may both be behind; and a folder is in
        // another one after each thing that we have deleted in it before.
        let other_folder = Item { meta_tag: MetaTag("m5".into()), ..folder("a", "root") };
        for (at_once, known, again) in
            [(false, version(1), version(5)), (true, version(1), version(1)), (true, folder("a", "root"), other_folder)]
        {
            let world = restored(at_once, known, again).await;
            assert!(world.tree().is_empty());
            world.feed.state().gone_unnoticed.clear();
            world.clock.advance(Duration::from_secs(20));
            world.poll().await;
            assert_eq!(world.tree(), world.truth());
            assert_eq!(world.tree().len(), 1);
        }
    }
}
