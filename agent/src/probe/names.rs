//! Names to addresses. `localhost` and addresses are answered here, without a thread and without a
//! file being read: most probes ask this host, once a second each.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// A name that could not be resolved: nothing was asked, so nothing can be said of the service.
#[derive(Debug, thiserror::Error)]
#[error("the name {0} cannot be resolved")]
pub(super) struct Unresolved(String);

/// The addresses of `host`; never an empty list.
pub(super) async fn addresses(host: &str, port: u16) -> Result<Vec<SocketAddr>, Unresolved> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Ok(address) = bare.unwrap_or(host).parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    if host.eq_ignore_ascii_case("localhost") {
        let local = [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()];
        return Ok(local.map(|address| SocketAddr::new(address, port)).into());
    }
    let unresolved = || Unresolved(host.to_owned());
    let found: Vec<_> = tokio::net::lookup_host((host, port))
        .await
        .map_err(|_| unresolved())?
        .collect();
    if found.is_empty() {
        Err(unresolved())
    } else {
        Ok(found)
    }
}

/// The same for the HTTP client.
#[derive(Debug)]
pub(super) struct Names;

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // Port 0: the client puts its own in its place.
            let found = addresses(name.as_str(), 0).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}
