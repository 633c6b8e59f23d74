//! Content between local files and the cloud, one file at a time.
//!
//! What always holds: a local file is there whole or not at all, and the old one stays until then; whatever breaks a
//! transfer off, the next try goes on where this one ended; and progress counts only what the other side has said that
//! it has.

pub mod down;
pub mod partial;
pub mod up;

use std::path::Path;

use super::error::{CliError, Kind};

/// Called with the number of bytes that are done.
pub type Watch<'a> = &'a (dyn Fn(u64) + Sync);

/// A failure of this machine's files.
pub fn local(action: &str, path: &Path, error: &std::io::Error) -> CliError {
    let kind = Kind::LocalFile;
    CliError::new(kind, format!("cannot {action} {}: {error}", super::print::tamed(&path.display().to_string())))
}
