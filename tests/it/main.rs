//! Integration tests.
#![allow(clippy::unwrap_used, missing_docs)]

mod mount_ops;
mod suites;
mod world;
