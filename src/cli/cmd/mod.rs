//! One file per command.

pub mod auth;
pub mod auth_refresh;
pub mod cat;
pub mod completions;
pub mod doctor;
pub mod draft;
pub mod du;
#[cfg(feature = "demo")]
pub mod emulator;
pub mod find;
pub mod get;
pub mod info;
pub mod info_set;
pub mod ls;
pub mod mkdir;
pub mod mount;
pub mod mv;
pub mod print_config;
pub mod put;
mod put_folder;
pub mod queue;
pub mod quota;
pub mod release;
pub mod rm;
pub mod status;
pub mod tree;
pub mod unmount;
pub mod verify;
pub mod wait;
pub mod why;
