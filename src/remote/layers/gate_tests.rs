//! Who is let through when: the urgent first, nobody during a pause, no more than there are lanes.

use super::*;
use crate::base::clock::{ManualClock, Timestamp};
use crate::remote::layers::scripted::{Scripted, item};
use crate::remote::testing::no_entropy;
use crate::remote::{Place, URGENCY};

fn gate(lanes: Lanes) -> (Arc<Gate>, ManualClock) {
    let clock = ManualClock::new(Timestamp(0));
    (Gate::new(lanes, Arc::new(clock.clone()), no_entropy()), clock)
}

fn throttled(seconds: Option<u64>) -> RemoteError {
    let advice = seconds.map_or(Advice::Retry, |seconds| Advice::RetryAfter(Duration::from_secs(seconds)));
    RemoteError::new(RemoteErrorKind::Throttled, advice, "too many requests")
}

async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn the_urgent_have_lanes_of_their_own() {
    let lanes = Lanes { all: 5, patient: 4, upload: 3, background: 2 };
    use Urgency::*;
    for (running, interactive, upload, background) in [
        ([0, 0, 0], true, true, true),
        ([0, 0, 2], true, true, false),
        ([0, 2, 2], true, false, false),
        ([0, 3, 0], true, false, true),
        ([0, 3, 1], true, false, false),
        ([1, 2, 2], false, false, false),
        ([5, 0, 0], false, false, false),
        ([4, 0, 0], true, true, true),
    ] {
        let room = [Interactive, Upload, Background].map(|urgency| has_room(&running, &lanes, urgency));
        assert_eq!(room, [interactive, upload, background], "{running:?}");
    }
}

#[tokio::test]
async fn the_urgent_overtake_and_those_who_leave_take_no_place() {
    let (gate, _) = gate(Lanes { all: 1, patient: 1, upload: 1, background: 1 });
    let first = gate.enter(Urgency::Background).await.expect("open");
    let order = Arc::new(Mutex::new(Vec::new()));
    let wait = |urgency| {
        let (gate, order) = (gate.clone(), order.clone());
        tokio::spawn(async move {
            let _pass = gate.enter(urgency).await.expect("open");
            order.lock().expect("no panic").push(urgency);
        })
    };
    let background = wait(Urgency::Background);
    settle().await;
    let impatient = wait(Urgency::Interactive);
    settle().await;
    let leaving = wait(Urgency::Upload);
    settle().await;
    leaving.abort();
    settle().await;
    drop(first);
    impatient.await.expect("admitted");
    background.await.expect("admitted");
    assert_eq!(*order.lock().expect("no panic"), [Urgency::Interactive, Urgency::Background]);
    assert_eq!(gate.lock().running, [0, 0, 0]);
}

#[tokio::test]
async fn one_refusal_stops_everybody_until_the_time_named() {
    let (gate, clock) = gate(Lanes::default());
    gate.learn::<()>(&Err(throttled(Some(5))));
    let remote = Scripted::new([]);
    let layer = Arc::new(Gated::new(remote.clone(), gate.clone()));
    let call = |urgency| {
        let layer = layer.clone();
        tokio::spawn(URGENCY.scope(urgency, async move { layer.quota().await }))
    };
    let waiting = [call(Urgency::Interactive), call(Urgency::Upload), call(Urgency::Background)];
    settle().await;
    clock.advance(Duration::from_millis(4999));
    settle().await;
    assert_eq!(remote.calls(), 0);
    // A later, shorter word does not shorten the pause; a longer one extends it.
    gate.learn::<()>(&Err(throttled(Some(0))));
    gate.learn::<()>(&Err(throttled(Some(2))));
    clock.advance(Duration::from_millis(1500));
    settle().await;
    assert_eq!(remote.calls(), 0);
    clock.advance(Duration::from_millis(500));
    for call in waiting {
        call.await.expect("no panic").expect("open again");
    }
    assert_eq!(remote.calls(), 3);
}

#[tokio::test]
async fn after_a_pause_one_asks_the_most_urgent_first_and_the_others_follow_the_answer() {
    let (gate, clock) = gate(Lanes::default());
    gate.learn::<()>(&Err(throttled(Some(5))));
    let order = Arc::new(Mutex::new(Vec::new()));
    let (answer, _) = tokio::sync::broadcast::channel::<bool>(4);
    let mut waiting = Vec::new();
    for urgency in [Urgency::Background, Urgency::Background, Urgency::Upload, Urgency::Interactive] {
        let (gate, order, answer) = (gate.clone(), order.clone(), answer.clone());
        waiting.push(tokio::spawn(async move {
            let _pass = gate.enter(urgency).await.expect("a place");
            let mut answers = answer.subscribe();
            order.lock().expect("no panic").push(urgency);
            let good = answers.recv().await.expect("an answer");
            gate.learn(&if good { Ok(()) } else { Err(throttled(Some(5))) });
        }));
        settle().await;
    }
    let seen = || order.lock().expect("no panic").clone();
    clock.advance(Duration::from_secs(5));
    settle().await;
    assert_eq!(seen(), [Urgency::Interactive], "one asks");
    answer.send(false).expect("heard");
    settle().await;
    clock.advance(Duration::from_millis(4999));
    settle().await;
    assert_eq!(seen().len(), 1, "refused again: nobody follows");
    clock.advance(Duration::from_millis(1));
    settle().await;
    assert_eq!(seen(), [Urgency::Interactive, Urgency::Upload]);
    answer.send(true).expect("heard");
    settle().await;
    assert_eq!(seen().len(), 4, "recovered: all follow");
    answer.send(true).expect("heard");
    for waiter in waiting {
        waiter.await.expect("no panic");
    }
}

#[tokio::test]
async fn one_that_asks_and_goes_away_leaves_the_question_to_the_next() {
    let (gate, clock) = gate(Lanes::default());
    gate.learn::<()>(&Err(throttled(Some(5))));
    clock.advance(Duration::from_secs(5));
    let asking = gate.enter(Urgency::Upload).await.expect("a place");
    let next = tokio::spawn({
        let gate = gate.clone();
        async move { gate.enter(Urgency::Upload).await.map(drop) }
    });
    settle().await;
    assert!(!next.is_finished());
    drop(asking);
    next.await.expect("no panic").expect("a place");
}

/// Enters in a task of its own and holds the place until the task is ended.
fn held(gate: &Arc<Gate>, urgency: Urgency, entered: &Arc<Mutex<Vec<Urgency>>>) -> tokio::task::JoinHandle<()> {
    let (gate, entered) = (gate.clone(), entered.clone());
    tokio::spawn(async move {
        let _pass = gate.enter(urgency).await.expect("a place");
        entered.lock().expect("no panic").push(urgency);
        std::future::pending::<()>().await;
    })
}

#[tokio::test]
async fn one_in_front_of_a_screen_does_not_wait_for_a_slow_upload_that_asks() {
    use Urgency::{Background, Interactive, Upload};
    let (gate, clock) = gate(Lanes::default());
    gate.learn::<()>(&Err(throttled(Some(5))));
    clock.advance(Duration::from_secs(5));
    let asking = gate.enter(Upload).await.expect("a place");
    let entered = Arc::new(Mutex::new(Vec::new()));
    let waiting: Vec<_> =
        [Background, Upload, Interactive, Interactive].map(|urgency| held(&gate, urgency, &entered)).into();
    settle().await;
    assert_eq!(*entered.lock().expect("no panic"), [Interactive], "one more asks, no storm");
    // The one that was let through goes away without an answer: the next of its kind may ask.
    waiting[2].abort();
    settle().await;
    assert_eq!(*entered.lock().expect("no panic"), [Interactive, Interactive]);
    gate.learn(&Ok(()));
    settle().await;
    assert_eq!(entered.lock().expect("no panic").len(), 4, "an answer is an answer for all");
    drop(asking);
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_place_that_is_held_since_before_the_pause_does_not_count_as_asking() {
    use Urgency::{Background, Interactive, Upload};
    let (gate, clock) = gate(Lanes::default());
    gate.learn::<()>(&Err(throttled(Some(5))));
    clock.advance(Duration::from_secs(5));
    // A long body: its first bytes were the answer, its place is held.
    let body = gate.enter(Interactive).await.expect("a place");
    gate.learn(&Ok(()));
    gate.learn::<()>(&Err(throttled(Some(5))));
    clock.advance(Duration::from_secs(5));
    let entered = Arc::new(Mutex::new(Vec::new()));
    let waiting = [held(&gate, Interactive, &entered), held(&gate, Background, &entered)];
    settle().await;
    assert_eq!(*entered.lock().expect("no panic"), [Interactive]);
    drop(body);
    let third = held(&gate, Upload, &entered);
    settle().await;
    assert_eq!(entered.lock().expect("no panic").len(), 1, "the one that asks is still under way");
    waiting.into_iter().chain([third]).for_each(|waiter| waiter.abort());
}

#[tokio::test]
async fn nobody_in_front_of_a_screen_waits_out_a_long_pause() {
    let (gate, clock) = gate(Lanes::default());
    gate.learn::<()>(&Err(throttled(Some(60))));
    clock.advance(Duration::from_secs(20));
    let failure = gate.enter(Urgency::Interactive).await.err().expect("refused");
    assert_eq!(failure.kind, RemoteErrorKind::Throttled);
    assert_eq!(failure.advice, Advice::RetryAfter(Duration::from_secs(40)));
}

#[tokio::test]
async fn a_pause_that_begins_while_waiting_for_a_place_counts() {
    let (gate, clock) = gate(Lanes { all: 1, patient: 1, upload: 1, background: 1 });
    let first = gate.enter(Urgency::Upload).await.expect("open");
    let waiting = tokio::spawn({
        let gate = gate.clone();
        async move { gate.enter(Urgency::Upload).await.map(drop) }
    });
    settle().await;
    gate.learn::<()>(&Err(throttled(Some(3))));
    drop(first);
    settle().await;
    assert!(!waiting.is_finished());
    clock.advance(Duration::from_secs(3));
    waiting.await.expect("no panic").expect("open again");
}

#[test]
fn guesses_double_and_success_ends_them() {
    let (gate, clock) = gate(Lanes::default());
    let mut pauses = Vec::new();
    for _ in 0..9 {
        gate.learn::<()>(&Err(throttled(None)));
        // A refusal of a call that ran beside it says nothing new.
        gate.learn::<()>(&Err(throttled(None)));
        pauses.push(gate.remaining_pause().as_secs());
        clock.advance(gate.remaining_pause());
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 120, 120]);
    gate.learn(&Ok(()));
    gate.learn::<()>(&Err(throttled(None)));
    assert_eq!(gate.remaining_pause().as_secs(), 1);
    assert_eq!(guess(1, u64::MAX), Duration::from_millis(1250));
}

#[tokio::test]
async fn a_body_keeps_its_place_until_it_ends() {
    let (gate, _) = gate(Lanes { all: 1, patient: 1, upload: 1, background: 1 });
    let layer = Gated::new(Scripted::new([]), gate.clone());
    let id = item("F").id;
    let tag = ContentTag(String::new());
    let mut body = layer.read(&id, &tag, 0..3).await.expect("a body");
    assert_eq!(gate.lock().running, [0, 0, 1]);
    assert!(body.stream.next().await.is_some());
    assert!(body.stream.next().await.is_none());
    drop(body);
    assert_eq!(gate.lock().running, [0, 0, 0]);
    drop(layer.read(&id, &tag, 0..3).await.expect("a body"));
    assert_eq!(gate.lock().running, [0, 0, 0]);
}

#[tokio::test]
async fn no_more_run_than_there_are_lanes() {
    let (gate, _) = gate(Lanes { all: 3, patient: 2, upload: 2, background: 1 });
    let remote = Scripted::held();
    let layer = Arc::new(Gated::new(remote.clone(), gate));
    let mut calls = Vec::new();
    for number in 0..12 {
        let urgency = [Urgency::Background, Urgency::Upload, Urgency::Interactive][number / 4];
        let layer = layer.clone();
        calls.push(tokio::spawn(URGENCY.scope(urgency, async move {
            let place = Place::Replace(item("F").id);
            let to = Target { place, modified: Timestamp(0), created: None };
            layer.put_small(&to, Outgoing::new(), &Precondition::None).await
        })));
        settle().await;
    }
    for done in 0..12 {
        assert!(remote.running() <= 3 && remote.calls() >= done);
        remote.hold.add_permits(1);
        settle().await;
    }
    for call in calls {
        call.await.expect("no panic").expect("done");
    }
}
