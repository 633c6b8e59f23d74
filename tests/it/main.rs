//! Integration tests.

mod remote_faults;
mod remote_suite;
