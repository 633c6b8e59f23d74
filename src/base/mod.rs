//! Leaf pieces that every layer may use: no protocol, no policy, no imports from above.

pub mod caller;
pub mod checksum;
pub mod clock;
pub mod disk;
pub mod hash;
pub mod ids;
pub mod name;
pub mod private;
pub mod ranges;
pub mod secret;
pub mod tasks;
pub mod telemetry;
