//! placeholder
use crate::base::clock::Clock;
use crate::base::tasks::Stop;
use crate::index::{Index, NoticeSink};
use crate::remote::Remote;
use std::sync::Arc;
use std::time::Duration;
/// s
#[derive(Clone, Debug, Default)]
pub struct PollerSettings {
    /// i
    pub interval: Duration,
}
/// h
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health(pub bool);
impl Health {
    /// w
    pub fn is_well(&self) -> bool {
        self.0
    }
}
/// p
pub struct Poller {
    health: tokio::sync::watch::Sender<Health>,
}
impl Poller {
    /// n
    pub fn new(
        _i: Arc<Index>,
        _r: Arc<dyn Remote>,
        _c: Arc<dyn Clock>,
        _s: Arc<dyn NoticeSink>,
        _o: PollerSettings,
    ) -> Arc<Self> {
        Arc::new(Self { health: tokio::sync::watch::channel(Health(false)).0 })
    }
    /// h
    pub fn health(&self) -> tokio::sync::watch::Receiver<Health> {
        self.health.subscribe()
    }
    /// r
    pub async fn run(self: Arc<Self>, mut stop: Stop) {
        stop.requested().await
    }
}
