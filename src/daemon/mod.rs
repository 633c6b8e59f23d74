//! daemon.

pub mod single;
