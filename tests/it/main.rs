//! Integration tests: one binary, so that linking is paid once and helpers are shared.

mod world;

mod mount_ops;
mod suites;
mod volume_basics;
