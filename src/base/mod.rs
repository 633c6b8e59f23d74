//! Leaf pieces that every layer may use: no protocol, no policy, no imports from above.

pub mod clock;
pub mod hash;
pub mod ids;
pub mod secret;
pub mod telemetry;
