//! Every request is answered exactly once and in bounded time, whatever becomes of the work.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::oneshot;

use super::*;
use crate::base::clock::{ManualClock, Timestamp};

/// What the kernel would have been told: a value or an errno.
type Told = Arc<Mutex<Vec<Result<u32, i32>>>>;

struct FakeReply(Told);

impl Refuse for FakeReply {
    fn refuse(self, errno: Errno) {
        self.0.lock().expect("the test lives").push(Err(errno.code()));
    }
}

struct Bench {
    answerer: Answerer,
    clock: ManualClock,
    told: Told,
    undone: Arc<AtomicUsize>,
}

impl Bench {
    fn new(limits: Limits) -> Self {
        let clock = ManualClock::new(Timestamp(0));
        Self {
            answerer: Answerer::new(Handle::current(), Arc::new(clock.clone()), limits),
            clock,
            told: Told::default(),
            undone: Arc::default(),
        }
    }

    fn ask(&self, class: Class, work: impl Future<Output = VolumeResult<u32>> + Send + 'static) {
        let call = Call { operation: "test", class, span: Span::none() };
        let undone = Arc::clone(&self.undone);
        self.answerer.answer(
            call,
            FakeReply(Arc::clone(&self.told)),
            work,
            |value, reply: FakeReply| {
                assert_ne!(value, 13, "a bug in the answer");
                reply.0.lock().expect("the test lives").push(Ok(value));
            },
            move |_| {
                undone.fetch_add(1, Ordering::SeqCst);
            },
        );
    }

    fn told(&self) -> Vec<Result<u32, i32>> {
        self.told.lock().expect("the test lives").clone()
    }

    async fn settle(&self) {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn ready_work_is_answered_before_the_call_returns() {
    let bench = Bench::new(Limits::default());
    bench.ask(Class::Local, async { Ok(1) });
    bench.ask(Class::Content, async { Err(VolumeError::NotFound) });
    assert_eq!(bench.told(), [Ok(1), Err(2)]);
}

#[tokio::test]
async fn waiting_work_is_answered_when_it_wakes() {
    let bench = Bench::new(Limits::default());
    let (go, gate) = oneshot::channel();
    bench.ask(Class::Content, async move { Ok(gate.await.unwrap_or(0)) });
    bench.settle().await;
    assert_eq!(bench.told(), []);
    go.send(5).expect("the test lives");
    bench.settle().await;
    assert_eq!(bench.told(), [Ok(5)]);
}

#[tokio::test]
async fn a_panic_is_one_failed_request() {
    let bench = Bench::new(Limits::default());
    bench.ask(Class::Local, async { panic!("at once") });
    bench.ask(Class::Content, async {
        tokio::task::yield_now().await;
        panic!("later")
    });
    bench.settle().await;
    assert_eq!(bench.told(), [Err(5), Err(5)]);
    // A panic in the answering closure drops the reply, which is an EIO of its own in the library.
    bench.ask(Class::Local, async { Ok(13) });
    bench.ask(Class::Local, async { Ok(14) });
    assert_eq!(bench.told().last(), Some(&Ok(14)));
    bench.answerer.run("forget", || panic!("no reply to give"));
}

/// Requests come in on threads that are no part of the runtime, and real sleeps are made there.
#[test]
fn a_thread_outside_the_runtime_may_ask() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let clock = Arc::new(crate::base::clock::SystemClock::new());
    let answerer = Answerer::new(runtime.handle().clone(), clock, Limits::default());
    let told = Told::default();
    let (go, gate) = oneshot::channel();
    let call = Call { operation: "test", class: Class::Content, span: Span::none() };
    answerer.answer(
        call,
        FakeReply(Arc::clone(&told)),
        async move { Ok(gate.await.unwrap_or(0)) },
        |value, reply: FakeReply| reply.0.lock().expect("the test lives").push(Ok(value)),
        drop,
    );
    go.send(5).expect("the work waits");
    runtime.block_on(async {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(*told.lock().expect("the test lives"), [Ok(5)]);
}

#[tokio::test]
async fn a_read_that_misses_its_deadline_is_dropped() {
    let bench = Bench::new(Limits::default());
    let (go, gate) = oneshot::channel::<u32>();
    bench.ask(Class::Content, async move { Ok(gate.await.unwrap_or(0)) });
    bench.settle().await;
    bench.clock.advance(Limits::default().content);
    bench.settle().await;
    assert_eq!(bench.told(), [Err(110)]);
    assert!(go.is_closed());
    assert_eq!(bench.undone.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_change_that_misses_its_deadline_ends_and_is_undone() {
    let bench = Bench::new(Limits::default());
    let (go, gate) = oneshot::channel::<u32>();
    bench.ask(Class::Local, async move { Ok(gate.await.unwrap_or(0)) });
    bench.settle().await;
    bench.clock.advance(Limits::default().local);
    bench.settle().await;
    assert_eq!(bench.told(), [Err(110)]);
    go.send(1).expect("the test lives");
    bench.settle().await;
    assert_eq!(bench.told(), [Err(110)]);
    assert_eq!(bench.undone.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn cold_reads_wait_for_a_place_and_listings_do_not_care() {
    let bench = Bench::new(Limits { contents: 1, ..Limits::default() });
    let (go, gate) = oneshot::channel();
    bench.ask(Class::Content, async move { Ok(gate.await.unwrap_or(0)) });
    bench.ask(Class::Content, async { Ok(2) });
    bench.ask(Class::Listing, async { Ok(3) });
    bench.settle().await;
    assert_eq!(bench.told(), [Ok(3)]);
    go.send(1).expect("the test lives");
    bench.settle().await;
    assert_eq!(bench.told(), [Ok(3), Ok(1), Ok(2)]);
}

#[tokio::test]
async fn what_is_here_needs_no_place() {
    let bench = Bench::new(Limits { contents: 1, listings: 1, ..Limits::default() });
    for class in [Class::Content, Class::Listing] {
        assert_eq!(bench.answerer.class_of(class, || panic!("there is a place")), class);
        bench.ask(class, std::future::pending());
        assert_eq!(bench.answerer.class_of(class, || false), class);
        bench.ask(bench.answerer.class_of(class, || true), async { Ok(2) });
    }
    assert_eq!(bench.told(), [Ok(2), Ok(2)]);
}

#[tokio::test]
async fn the_deadline_counts_the_wait_for_a_place() {
    let bench = Bench::new(Limits { contents: 1, ..Limits::default() });
    let half = Limits::default().content / 2;
    bench.ask(Class::Content, std::future::pending());
    bench.clock.advance(half);
    bench.ask(Class::Content, std::future::pending());
    bench.clock.advance(half);
    bench.settle().await;
    assert_eq!(bench.told(), [Err(110)]);
    // The second has its place only now, half of its time is gone.
    bench.clock.advance(half);
    bench.settle().await;
    assert_eq!(bench.told(), [Err(110), Err(110)]);
}
