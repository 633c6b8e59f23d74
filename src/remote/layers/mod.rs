//! Layers around a protocol: each a [`Remote`](super::Remote) that wraps another one.
//!
//! They exist so that a protocol module only translates. Their order is fixed in [`stack`](super::stack).

pub mod gate;
pub mod observe;
pub mod retry;

#[cfg(test)]
pub(crate) mod scripted;
