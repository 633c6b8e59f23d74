//! What integration tests stand on.

pub mod mount;
