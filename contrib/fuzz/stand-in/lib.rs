//! What the programs use of libfuzzer-sys.

/// Takes what a target does with an input, and never runs it.
#[macro_export]
macro_rules! fuzz_target {
    (|$data:ident: &[u8]| $body:expr) => {
        pub fn target($data: &[u8]) {
            let _ = $body;
        }
    };
}
