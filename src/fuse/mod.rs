//! The kernel's side: FUSE in, the volume's words out.
pub mod adapter;
pub mod answer;
pub mod attr;
pub mod errno;
pub mod mounts;
pub mod notify;
pub mod xattr;
