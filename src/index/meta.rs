//! The names of the single values that the index keeps beside its rows.

/// The service's position in the stream of changes; see [`Index::cursor`](super::Index::cursor).
pub const CURSOR: &str = "cursor";
/// Set once the whole drive was enumerated.
pub const ENUMERATED: &str = "enumerated";
/// Where an enumeration under way continues (a link of the service, which may hold a credential).
pub const ENUMERATION: &str = "enumeration";
/// When the index was last compared with a full enumeration: seconds since 1970.
pub const RECONCILED: &str = "reconciled";
/// How many rows there are.
pub const COUNT: &str = "count";
/// The root's identity: an index of another drive is not used.
pub const ROOT: &str = "root";
/// The drive's last known quota, as JSON.
pub const QUOTA: &str = "quota";
