//! Asking a service whether it is well: one question, one sample. When to ask, and what the samples
//! mean together, is decided in `state`.

mod container;
mod http;
mod names;
mod net;
mod words;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use config::settings::ProbeSettings;
use state::health::Sample;
use state::name::ContainerId;
use state::observed::{ContainerDetail, ContainerObs, Known};
use state::policy::ProbePolicy;

pub use self::net::NetProber;

/// Makes *ring* the TLS of the whole process. Called first thing; once more does no harm.
pub fn install_crypto() {
    // An error says that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// What a probe may know of the service it asks, as it was last observed.
#[derive(Debug, Clone)]
pub struct ServiceView<'a> {
    /// The service's containers that are judged, replaced ones left out.
    pub containers: Known<&'a [ContainerObs]>,
    /// Where they are reached ([`address_of`]); only probes that name a bare `port` need it.
    pub addresses: &'a BTreeMap<ContainerId, IpAddr>,
    /// The service is meant to end: exit code 0 is done, not dead.
    pub one_shot: bool,
    /// How long the youngest of them has been running, when that is known.
    pub uptime: Option<Duration>,
}

/// Asks probes. Every call ends within the probe's own time-out.
#[async_trait]
pub trait Prober: Send + Sync {
    /// Asks once and says what was answered, whatever the age of the container.
    async fn ask(&self, probe: &ProbeSettings, service: &ServiceView<'_>) -> Sample;

    /// Asks once; a fail within the `start_period` says nothing. Cancel-safe.
    async fn probe(&self, probe: &ProbeSettings, service: &ServiceView<'_>) -> Sample {
        within_start_period(&probe.policy, service.uptime, self.ask(probe, service).await)
    }
}

/// A start period is not failure (design, "Judging health"): as long as the container is younger
/// than it, a fail is unknown, and a pass is a pass.
pub fn within_start_period(policy: &ProbePolicy, uptime: Option<Duration>, sample: Sample) -> Sample {
    match sample {
        Sample::Fail(why) if uptime.is_some_and(|uptime| uptime < policy.start_period) => {
            Sample::Starting(format!("within its start period: {why}"))
        }
        sample => sample,
    }
}

/// Where the host reaches a container: the first address it has on a network.
pub fn address_of(container: &ContainerDetail) -> Option<IpAddr> {
    container.networks.iter().find_map(|network| network.address)
}
