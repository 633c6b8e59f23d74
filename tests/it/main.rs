//! Integration tests: one binary, so that linking is paid once and helpers are shared.
#![allow(clippy::unwrap_used, missing_docs)]

mod world;

mod bit_flips;
mod burst;
mod cli_auth;
mod cli_cloud;
mod cli_faults;
mod cli_generated;
mod cli_help;
mod cli_readme;
mod cli_transfer;
mod control;
mod crash_points;
mod faults_matrix;
mod full;
mod hostile;
mod kills;
mod layers;
mod leaks;
mod mount_cloud;
mod mount_model;
mod mount_ops;
mod network;
mod power_loss;
mod promises;
mod remote_faults;
mod remote_suite;
mod seed_parity;
mod soak;
mod suites;
mod two_writers;
mod volume_basics;
mod volume_model;
