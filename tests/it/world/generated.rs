//! Generated tests: how many cases, how they are shrunk, where they run.

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};

/// Plays `cases` inputs, or as many as the environment variable of this name says. A failure is reduced to a smaller
/// one in at most `shrinks` steps.
pub fn run<S: Strategy>(
    variable: &str,
    cases: u32,
    shrinks: u32,
    inputs: &S,
    play: impl Fn(S::Value) -> Result<(), TestCaseError>,
) -> Result<u32, TestError<S::Value>> {
    let cases = std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(cases);
    let config = Config { cases, max_shrink_iters: shrinks, failure_persistence: None, ..Config::default() };
    TestRunner::new(config).run(inputs, play).map(|()| cases)
}

/// Where the cases of a test run.
pub fn runtime(threads: usize) -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build().expect("a runtime")
}
