//! One file per command.

pub mod auth;
pub mod draft;
#[cfg(feature = "demo")]
pub mod emulator;
pub mod mount;
pub mod print_config;
pub mod queue;
pub mod release;
pub mod status;
pub mod unmount;
pub mod verify;
pub mod wait;
pub mod why;
