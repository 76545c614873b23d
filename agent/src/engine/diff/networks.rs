//! Networks: which, under which names, at which fixed addresses.

use std::collections::{BTreeMap, BTreeSet};

use bollard::models::EndpointSettings;
use state::stack_spec::Networking;

use super::{Found, Pair};

pub(super) fn compare(pair: &Pair<'_>, found: &mut Found) {
    if matches!(pair.new.spec.networking, Networking::Mode(_)) {
        let mode = |host: &Option<bollard::models::HostConfig>| {
            host.as_ref()
                .and_then(|host| host.network_mode.clone())
                .unwrap_or_default()
        };
        found.plain(
            "HostConfig.NetworkMode",
            &mode(&pair.rendered.body.host_config),
            &mode(&pair.seen.host_config),
        );
        return;
    }
    let first = pair
        .rendered
        .body
        .networking_config
        .iter()
        .filter_map(|c| c.endpoints_config.as_ref())
        .flatten();
    let later = pair
        .rendered
        .later
        .iter()
        .map(|(name, endpoint)| (name, endpoint));
    let wanted: BTreeMap<&String, &EndpointSettings> = first.chain(later).collect();
    let seen: BTreeMap<&String, &EndpointSettings> = pair
        .seen
        .network_settings
        .iter()
        .filter_map(|s| s.networks.as_ref())
        .flatten()
        .collect();
    let names = |map: &BTreeMap<&String, &EndpointSettings>| {
        map.keys()
            .filter(|name| name.as_str() != "none")
            .map(ToString::to_string)
            .collect::<BTreeSet<_>>()
    };
    found.sets("NetworkSettings.Networks", &names(&wanted), &names(&seen));
    for (name, wants) in wanted {
        if let Some(has) = seen.get(name) {
            endpoint(pair, name, wants, has, found);
        }
    }
}

fn endpoint(
    pair: &Pair<'_>,
    network: &str,
    wanted: &EndpointSettings,
    seen: &EndpointSettings,
    found: &mut Found,
) {
    let field = |name: &str| format!("NetworkSettings.Networks.{network}.{name}");
    let names = |endpoint: &EndpointSettings| {
        let aliases = endpoint
            .aliases
            .iter()
            .flatten()
            .cloned()
            .collect::<BTreeSet<_>>();
        aliases
            .into_iter()
            .filter(|alias| !comes_by_itself(pair, alias))
            .collect::<BTreeSet<_>>()
    };
    found.sets(&field("Aliases"), &names(wanted), &names(seen));
    let none = bollard::models::EndpointIpamConfig::default();
    let (fixed, has) = (
        wanted.ipam_config.as_ref().unwrap_or(&none),
        seen.ipam_config.as_ref().unwrap_or(&none),
    );
    let text = |address: &Option<String>| address.clone().unwrap_or_default();
    found.plain(
        &field("IPv4Address"),
        &text(&fixed.ipv4_address),
        &text(&has.ipv4_address),
    );
    found.plain(
        &field("IPv6Address"),
        &text(&fixed.ipv6_address),
        &text(&has.ipv6_address),
    );
    if let Some(mac) = &wanted.mac_address {
        found.plain(&field("MacAddress"), mac, &text(&seen.mac_address));
    }
    let options = |endpoint: &EndpointSettings| {
        endpoint
            .driver_opts
            .clone()
            .unwrap_or_default()
            .into_iter()
            .collect()
    };
    found.keyed(&field("DriverOpts"), &options(wanted), &options(seen));
    links(pair, seen, &field("Links"), found);
}

/// The names that the file gives to linked containers. The older Compose adds others to them.
fn links(pair: &Pair<'_>, seen: &EndpointSettings, field: &str, found: &mut Found) {
    let host = pair
        .seen
        .host_config
        .iter()
        .filter_map(|host| host.links.as_ref())
        .flatten();
    let has: BTreeSet<&str> = seen
        .links
        .iter()
        .flatten()
        .chain(host)
        .filter_map(|link| link.rsplit([':', '/']).next())
        .collect();
    let links = pair.new.spec.links.iter().chain(&pair.new.spec.external_links);
    let missing: Vec<_> = links
        .map(|link| link.alias.as_str())
        .filter(|alias| !has.contains(alias))
        .collect();
    if !missing.is_empty() {
        found.note(field, format!("missing: {}", missing.join(", ")));
    }
}

/// The short id and the host name, and the container's own name, which only the newer Compose makes an alias.
fn comes_by_itself(pair: &Pair<'_>, alias: &str) -> bool {
    let new = pair.new;
    let own =
        state::naming::container_name(&new.stack.project, new.service, new.spec, new.number, new.dialect);
    let name = pair
        .seen
        .name
        .as_deref()
        .unwrap_or_default()
        .trim_start_matches('/');
    let id = pair.seen.id.as_deref().unwrap_or_default();
    let host = pair
        .seen
        .config
        .as_ref()
        .and_then(|c| c.hostname.as_deref())
        .unwrap_or_default();
    [own.as_str(), name, host].contains(&alias) || (alias.len() >= 12 && id.starts_with(alias))
}
