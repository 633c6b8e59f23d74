//! Integration tests.

mod remote_suite;
