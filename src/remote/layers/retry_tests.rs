//! What is repeated, how often and how long; a write that may have happened never is.

use super::*;
use crate::base::clock::Timestamp;
use crate::base::ids::DriveId;
use crate::remote::URGENCY;
use crate::remote::layers::scripted::{Scripted, item};
use crate::remote::testing::{Hasty, no_entropy};

use RemoteErrorKind::*;

fn error(kind: RemoteErrorKind, advice: Advice) -> RemoteError {
    RemoteError::new(kind, advice, "scripted")
}

fn layer(script: impl IntoIterator<Item = RemoteError>) -> (Retrying, Arc<Scripted>, Arc<Hasty>) {
    let (remote, clock) = (Scripted::new(script), Arc::new(Hasty::default()));
    (Retrying::new(remote.clone(), clock.clone(), no_entropy()), remote, clock)
}

fn target() -> Target {
    let parent = ItemId::new(&DriveId::new("b!D"), "N");
    Target { place: Place::New { parent, name: "f".into() }, modified: Timestamp(0), created: None }
}

fn repeat<const N: usize>(kind: RemoteErrorKind, advice: Advice) -> [RemoteError; N] {
    std::array::from_fn(|_| error(kind, advice.clone()))
}

#[tokio::test]
async fn an_ambiguous_write_is_never_repeated_and_a_look_is() {
    let (layer, remote, _) = layer(repeat::<9>(Unavailable, Advice::VerifyThenRetry));
    let failure = layer.put_small(&target(), Outgoing::new(), &Precondition::None).await.expect_err("once");
    assert_eq!(failure.advice, Advice::VerifyThenRetry);
    layer.make_folder(&item("P").id, "x").await.expect_err("once");
    layer.change(&item("F").id, &Patch::default(), &Precondition::None).await.expect_err("once");
    layer.begin_upload(&target(), 1, &Precondition::None).await.expect_err("once");
    assert_eq!(remote.calls(), 4);
    layer.delete(&item("F").id, &Precondition::None).await.expect("a delete is the same twice");
    assert_eq!(remote.calls(), 10);
}

#[tokio::test]
async fn a_write_without_effect_is_repeated() {
    let (layer, remote, _) = layer(repeat::<2>(Unavailable, Advice::Retry));
    layer.put_small(&target(), Outgoing::new(), &Precondition::None).await.expect("third time");
    assert_eq!(remote.calls(), 3);
}

#[tokio::test]
async fn budgets_are_smaller_where_somebody_waits() {
    for (urgency, calls) in [(Urgency::Interactive, 4), (Urgency::Upload, 6), (Urgency::Background, 6)] {
        let (layer, remote, _) = layer(repeat::<50>(Unavailable, Advice::Retry));
        URGENCY.scope(urgency, layer.quota()).await.expect_err("ill for good");
        assert_eq!(remote.calls(), calls, "{urgency:?}");
    }
}

#[tokio::test]
async fn without_connection_it_is_over_soon() {
    for (urgency, calls, limit) in [(Urgency::Interactive, 2, 1), (Urgency::Background, 3, 10)] {
        let (layer, remote, clock) = layer(repeat::<50>(Offline, Advice::Retry));
        URGENCY.scope(urgency, layer.quota()).await.expect_err("offline");
        assert_eq!(remote.calls(), calls, "{urgency:?}");
        assert!(clock.slept().iter().sum::<Duration>() <= Duration::from_secs(limit));
    }
}

#[tokio::test]
async fn a_network_that_swallows_packets_does_not_freeze_an_interactive_call() {
    let remote = Scripted::held();
    let clock = crate::base::clock::ManualClock::new(Timestamp(0));
    let layer = Arc::new(Retrying::new(remote.clone(), Arc::new(clock.clone()), no_entropy()));
    let call = |remote_layer: &Arc<Retrying>| {
        let layer = remote_layer.clone();
        tokio::spawn(URGENCY.scope(Urgency::Interactive, async move { layer.quota().await }))
    };
    for deadline in [INTERACTIVE_DEADLINE, OFFLINE_DEADLINE] {
        let waiting = call(&layer);
        tokio::task::yield_now().await;
        clock.advance(deadline - Duration::from_millis(1));
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        clock.advance(Duration::from_millis(1));
        let failure = waiting.await.expect("no panic").expect_err("no answer");
        assert_eq!(failure.kind, Offline);
    }
}

#[tokio::test]
async fn the_time_named_is_kept_if_there_is_that_much() {
    let wait = Duration::from_secs(7);
    let (layer, remote, clock) = self::layer([error(Throttled, Advice::RetryAfter(wait))]);
    URGENCY.scope(Urgency::Background, layer.quota()).await.expect("patience pays");
    assert_eq!((remote.calls(), clock.slept()), (2, vec![wait]));
    let long = Advice::RetryAfter(Duration::from_secs(20));
    let (layer, remote, _) = self::layer([error(Throttled, long.clone())]);
    let failure = URGENCY.scope(Urgency::Interactive, layer.quota()).await.expect_err("too long");
    assert_eq!((remote.calls(), failure.advice), (1, long));
}

#[tokio::test]
async fn what_repeating_cannot_cure_is_returned_at_once() {
    for (kind, advice) in [
        (Locked, Advice::RetryAfter(Duration::from_secs(1))),
        (Range, Advice::VerifyThenRetry),
        (UploadGone, Advice::VerifyThenRetry),
        (Changed, Advice::GiveUp),
        (Exists, Advice::GiveUp),
        (Expired, Advice::Resync),
        (SignedOut, Advice::GiveUp),
        (Denied, Advice::Refresh),
    ] {
        let (layer, remote, _) = layer([error(kind, advice.clone())]);
        let failure = layer.quota().await.expect_err("returned");
        assert_eq!((failure.kind, failure.advice, remote.calls()), (kind, advice, 1));
    }
}

#[tokio::test]
async fn absence_is_believed_sooner_or_later() {
    let looks = async |make: bool, by_name: bool| {
        let (layer, remote, _) = layer([]);
        if make {
            layer.make_folder(&item("P").id, "N").await.expect("made");
        }
        let absent = Scripted::new(repeat::<50>(NotFound, Advice::GiveUp));
        let layer = Retrying { inner: absent.clone(), ..layer };
        let id = item("N").id;
        let at = if by_name { At::Child(&id, "x") } else { At::Id(&id) };
        layer.stat(at).await.expect_err("absent");
        assert_eq!(remote.calls(), usize::from(make));
        absent.calls()
    };
    assert_eq!(looks(false, true).await, 1, "asking whether a name is free");
    assert_eq!(looks(false, false).await, 3, "an id that was valid once");
    assert_eq!(looks(true, true).await, 3, "a name in a folder we have just made");
    assert_eq!(looks(true, false).await, 6, "an item we have just made");
}

#[tokio::test]
async fn freshness_passes() {
    let (layer, _, clock) = layer([]);
    layer.make_folder(&item("P").id, "N").await.expect("made");
    assert_eq!(layer.missing_target(&target()), Missing::Fresh);
    layer.delete(&item("N").id, &Precondition::None).await.expect("deleted");
    assert_eq!(layer.missing_target(&target()), Missing::Believe, "we know why");
    layer.make_folder(&item("P").id, "N").await.expect("made");
    assert_eq!(layer.missing_target(&target()), Missing::Fresh);
    clock.advance(FRESH);
    assert_eq!(layer.missing_target(&target()), Missing::Doubt);
}

#[test]
fn pauses_double_up_to_the_longest_and_scatter() {
    let budget = Budget { attempts: 100, ..super::budget(Urgency::Background) };
    let unavailable = error(Unavailable, Advice::Retry);
    let pause = |attempts, random| {
        verdict(&unavailable, Rule::Once, Missing::Believe, budget, Tried { attempts, ..Tried::default() }, random)
    };
    for (attempt, millis) in [(1, 500), (2, 1000), (3, 2000), (5, 8000), (6, 16_000), (60, 16_000)] {
        assert_eq!(pause(attempt, 1.0), Verdict::After(Duration::from_millis(millis)));
        assert_eq!(pause(attempt, 0.0), Verdict::After(Duration::from_millis(millis / 2)));
    }
    let late = Duration::from_secs(300);
    assert_eq!(
        verdict(
            &unavailable,
            Rule::Once,
            Missing::Believe,
            budget,
            Tried { attempts: 1, absences: 0, elapsed: late },
            0.0
        ),
        Verdict::Stop
    );
}

/// Seen: an outage during which nothing was found ended between the look at an item and the look at the root that should
/// confirm it, and one such answer after three failures was believed.
#[tokio::test]
async fn absence_at_the_end_of_an_outage_is_looked_at_as_often_as_any_other() {
    let ill = || error(Unavailable, Advice::Retry);
    for (urgency, before) in [(Urgency::Upload, 3), (Urgency::Background, 5), (Urgency::Interactive, 3)] {
        let script = (0..before).map(|_| ill()).chain([error(NotFound, Advice::GiveUp)]);
        let (layer, remote, _) = layer(script);
        match URGENCY.scope(urgency, layer.stat(At::Id(&item("N").id))).await {
            Ok(_) => assert!(remote.calls() > before + 1),
            Err(unclear) => assert_eq!((unclear.kind, unclear.advice), (Unavailable, Advice::Retry), "{urgency:?}"),
        }
    }
    let (layer, remote, _) = layer([ill(), ill()].into_iter().chain(repeat::<50>(NotFound, Advice::GiveUp)));
    let absent = URGENCY.scope(Urgency::Upload, layer.stat(At::Id(&item("N").id))).await.expect_err("absent");
    assert_eq!((absent.kind, remote.calls()), (NotFound, 5));
}
