//! Integration tests: one binary, so that linking is paid once and helpers are shared.

mod world;

mod volume_basics;
