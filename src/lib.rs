//! A OneDrive filesystem for Linux that people can trust with the only copy of their work.

pub mod auth;
pub mod base;
pub mod cache;
pub mod changes;
pub mod cli;
pub mod config;
pub mod daemon;
#[cfg(feature = "demo")]
pub mod emulator;
pub mod fuse;
pub mod index;
pub mod journal;
pub mod remote;
pub mod volume;
