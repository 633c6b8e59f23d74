//! Generated tests: how many cases, by which numbers, how they are shrunk, where they run.

use std::str::FromStr;

use proptest::strategy::{Strategy, ValueTree as _};
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};

/// What the environment variable of this name says, if it says anything.
pub fn asked<T: FromStr>(variable: &str) -> Option<T> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

/// The seed that the environment variable of this name asks for, or any; printed, so that the run can be repeated.
pub fn seed(variable: &str) -> u64 {
    let seed = asked(variable).unwrap_or_else(|| getrandom::u64().expect("random numbers"));
    println!("{variable}={seed}");
    seed
}

/// A small generator: the same number gives the same sequence.
pub struct Dice(pub u64);

impl Dice {
    /// A number below `limit`; 0 if that is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit.max(1)
    }

    /// A place among `count`.
    pub fn index(&mut self, count: usize) -> usize {
        self.below(count as u64) as usize
    }

    pub fn coin(&mut self) -> bool {
        self.below(2) == 0
    }
}

/// Values of a strategy, one after the other: the same for the same seed.
pub struct Source<S> {
    strategy: S,
    runner: TestRunner,
}

impl<S: Strategy> Source<S> {
    pub fn new(strategy: S, seed: u64) -> Self {
        let config = Config { rng_seed: RngSeed::Fixed(seed), failure_persistence: None, ..Config::default() };
        Self { strategy, runner: TestRunner::new(config) }
    }

    pub fn draw(&mut self) -> S::Value {
        self.strategy.new_tree(&mut self.runner).expect("the strategy has values").current()
    }
}

/// A failure is not reduced for longer, in milliseconds: the rest of the tests waits for it.
const SHRINKING: u32 = 180_000;

/// Plays `cases` inputs, or as many as the environment variable of this name says. A failure is told at once and then
/// reduced to a smaller one in at most `shrinks` steps.
pub fn run<S: Strategy>(
    variable: &str,
    cases: u32,
    shrinks: u32,
    inputs: &S,
    play: impl Fn(S::Value) -> Result<(), TestCaseError>,
) -> Result<u32, TestError<S::Value>>
where
    S::Value: Clone + std::fmt::Debug,
{
    let cases = asked(variable).unwrap_or(cases);
    let config = Config {
        cases,
        max_shrink_iters: shrinks,
        max_shrink_time: SHRINKING,
        failure_persistence: None,
        ..Config::default()
    };
    let has_failed = std::cell::Cell::new(false);
    let played = |input: S::Value| {
        let outcome = play(input.clone());
        if let Err(TestCaseError::Fail(why)) = &outcome
            && !has_failed.replace(true)
        {
            eprintln!("failed, before it is made smaller: {why}\n{input:?}");
        }
        outcome
    };
    TestRunner::new(config).run(inputs, played).map(|()| cases)
}

/// Where the cases of a test run.
pub fn runtime(threads: usize) -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build().expect("a runtime")
}
