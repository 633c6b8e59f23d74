//! Pins: content that open handles read must not go away under them.

use super::ChunkCache;
use super::key::Digest;

/// Keeps content from being evicted while it lives: held by open handles.
pub struct PinGuard {
    pub(super) cache: ChunkCache,
    pub(super) digest: Digest,
}

impl Drop for PinGuard {
    fn drop(&mut self) {
        let doomed = {
            let mut tables = self.cache.lock();
            let Some(pin) = tables.pins.get_mut(&self.digest) else { return };
            pin.count -= 1;
            if pin.count > 0 {
                return;
            }
            tables.pins.remove(&self.digest).is_some_and(|pin| pin.doomed)
        };
        if doomed {
            self.cache.remove(self.digest);
        }
    }
}
