//! One file per command.

pub mod auth;
#[cfg(feature = "demo")]
pub mod emulator;
pub mod mount;
pub mod print_config;
pub mod status;
pub mod unmount;
pub mod wait;
