//! The probes that are really asked, over the network of this host.

use std::net::{IpAddr, SocketAddr};

use async_trait::async_trait;
use config::settings::{HttpTarget, ProbeKind, ProbeSettings, TcpTarget};
use config::show_duration;
use futures_util::future::join_all;
use state::health::Sample;
use state::observed::ContainerObs;
use tokio::net::TcpStream;

use super::container::{alive, healthy, judged, running, together};
use super::http::{Expected, Http};
use super::names::addresses;
use super::words::sample_of;
use super::{Prober, ServiceView};

/// Asks over the network.
#[derive(Debug)]
pub struct NetProber {
    http: Http,
}

impl NetProber {
    /// Installs the TLS provider, where that has not been done.
    pub fn new() -> Result<Self, String> {
        let http = Http::new().map_err(|error| format!("no HTTP client for probes: {error}"))?;
        Ok(Self { http })
    }

    async fn over_network(&self, kind: &ProbeKind, service: &ServiceView<'_>) -> Sample {
        match kind {
            ProbeKind::Container => running(service),
            ProbeKind::Healthcheck => healthy(service),
            ProbeKind::Http { target, status, body } => {
                let body = body.as_deref();
                let expected = Expected { status, body };
                match target {
                    HttpTarget::Url(url) => self.http.ask(url.as_str(), expected).await,
                    HttpTarget::Container { port, path } => {
                        let ask = |address| {
                            let url = format!("http://{}{path}", SocketAddr::new(address, *port));
                            async move { self.http.ask(&url, expected).await }
                        };
                        each(service, ask).await
                    }
                }
            }
            ProbeKind::Tcp { target } => match target {
                TcpTarget::Address { host, port } => connect(host.as_str(), *port).await,
                TcpTarget::Container { port } => {
                    let ask = |address: IpAddr| async move { connect(&address.to_string(), *port).await };
                    each(service, ask).await
                }
            },
        }
    }
}

#[async_trait]
impl Prober for NetProber {
    async fn ask(&self, probe: &ProbeSettings, service: &ServiceView<'_>) -> Sample {
        let limit = probe.policy.timeout;
        let asked = tokio::time::timeout(limit, self.over_network(&probe.kind, service));
        asked
            .await
            .unwrap_or_else(|_| Sample::Fail(format!("no whole answer within {}", show_duration(limit))))
    }
}

/// Asks every container of the service at its own address, all at one time.
async fn each<F: Future<Output = Sample>>(service: &ServiceView<'_>, ask: impl Fn(IpAddr) -> F) -> Sample {
    let containers = match judged(service) {
        Ok(containers) => containers,
        Err(sample) => return sample,
    };
    let one = |container: &ContainerObs| {
        let asked = service.addresses.get(&container.id).map(|&address| ask(address));
        let sample = alive(container, service.one_shot);
        let (name, running) = (container.name.clone(), container.state.is_running());
        async move {
            let sample = match asked {
                _ if !running => sample,
                Some(asked) => asked.await,
                None => Sample::Unknown(String::from("its address is not known")),
            };
            (name, sample)
        }
    };
    together(join_all(containers.into_iter().map(one)).await)
}

/// `tcp`: a connection opens.
async fn connect(host: &str, port: u16) -> Sample {
    let found = match addresses(host, port).await {
        Ok(found) => found,
        Err(error) => return sample_of(&error),
    };
    let mut sample = Sample::Pass;
    for address in found {
        sample = match TcpStream::connect(address).await {
            Ok(_) => return Sample::Pass,
            Err(error) => match sample_of(&error) {
                Sample::Fail(why) => Sample::Fail(format!("{address}: {why}")),
                sample => sample,
            },
        };
    }
    sample
}
