//! `ports` and `expose`, short and long.

use std::net::IpAddr;

use state::stack_spec::{Port, Protocol, PublishedPort};

use super::fields::At;
use super::keys;
use super::node::Value;

const PROTOCOLS: [(&str, Protocol); 3] = [
    ("tcp", Protocol::Tcp),
    ("udp", Protocol::Udp),
    ("sctp", Protocol::Sctp),
];

/// All published ports, ranges taken apart.
pub(crate) fn ports(list: &At<'_>) -> Vec<Port> {
    let mut ports: Vec<Port> = Vec::new();
    for item in list.items() {
        let found = match &item.node.value {
            Value::Map(_) => long(&item).into_iter().collect(),
            _ => short_item(&item),
        };
        for port in found {
            if !ports.contains(&port) {
                ports.push(port);
            }
        }
    }
    ports
}

fn short_item(item: &At<'_>) -> Vec<Port> {
    let Some(scalar) = item.scalar("a port") else {
        return Vec::new();
    };
    match short(&scalar.text) {
        Ok(ports) => ports,
        Err(why) => {
            item.error_hint(
                format!("{:?} is not a port: {why}", scalar.shown()),
                "write it as 8080:80, 127.0.0.1:8080:80/udp or 80",
            );
            Vec::new()
        }
    }
}

/// `[[ip:][published]:]target[/protocol]`, each port also a range.
fn short(text: &str) -> Result<Vec<Port>, &'static str> {
    let (ports, protocol) = text
        .split_once('/')
        .map_or((text, "tcp"), |(p, protocol)| (p, protocol));
    let protocol = PROTOCOLS
        .iter()
        .find(|(name, _)| protocol.eq_ignore_ascii_case(name))
        .map(|(_, p)| *p);
    let protocol = protocol.ok_or("the protocol is tcp, udp or sctp")?;
    let (host, target) = ports
        .rsplit_once(':')
        .map_or((None, ports), |(host, target)| (Some(host), target));
    let (ip, published) = match host {
        None => (None, None),
        Some(host) => match host.rsplit_once(':') {
            None => (None, Some(host)),
            Some((ip, published)) => (Some(ip), Some(published)),
        },
    };
    let ip = ip.filter(|ip| !ip.is_empty()).map(address).transpose()?;
    let target = range(target)?;
    let published = published.filter(|p| !p.is_empty()).map(range).transpose()?;
    let (first, single) = (target.first, target.first == target.last);
    if let (Some(published), false) = (published, single)
        && published.last - published.first != target.last - target.first
    {
        return Err("the two ranges differ in length");
    }
    let port = |target: u16| Port {
        host_ip: ip.clone(),
        published: published.map(|range| {
            let at = range.first.saturating_add(target - first);
            if single {
                range
            } else {
                PublishedPort { first: at, last: at }
            }
        }),
        target,
        protocol,
        mode: Some("ingress".to_owned()),
        ..Port::default()
    };
    Ok((target.first..=target.last).map(port).collect())
}

fn address(ip: &str) -> Result<String, &'static str> {
    let bare = ip
        .strip_prefix('[')
        .and_then(|ip| ip.strip_suffix(']'))
        .unwrap_or(ip);
    bare.parse::<IpAddr>()
        .map(|_| bare.to_owned())
        .map_err(|_| "the part before the ports is not an IP address")
}

/// `80` or `80-90`.
fn range(text: &str) -> Result<PublishedPort, &'static str> {
    let port = |text: &str| match text.parse::<u16>() {
        Ok(port) if text.bytes().all(|b| b.is_ascii_digit()) => Ok(port),
        _ => Err("a port is a number from 0 to 65535"),
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = PublishedPort {
        first: port(first)?,
        last: port(last)?,
    };
    if range.first > range.last {
        Err("the range ends before it starts")
    } else {
        Ok(range)
    }
}

fn long(item: &At<'_>) -> Option<Port> {
    let fields = item.fields(&keys::PORT);
    let target: Option<u16> = fields.int("target");
    if !fields.has("target") {
        item.error("\"target\" is missing: which port of the container?");
    }
    let published = fields.get("published").and_then(|at| {
        let scalar = at.scalar("a port")?;
        if scalar.text.is_empty() {
            return None;
        }
        range(&scalar.text)
            .map_err(|why| at.error(format!("{:?} is not a port: {why}", scalar.shown())))
            .ok()
    });
    let host_ip = fields.get("host_ip").and_then(|at| {
        let scalar = at.scalar("an address")?;
        address(&scalar.text)
            .map_err(|_| at.error(format!("{:?} is not an IP address", scalar.shown())))
            .ok()
    });
    let protocol = fields
        .get("protocol")
        .and_then(|at| at.choice(&PROTOCOLS))
        .unwrap_or_default();
    let mode = fields
        .get("mode")
        .and_then(|at| at.choice(&[("ingress", "ingress"), ("host", "host")]));
    let port = Port {
        host_ip,
        published,
        target: target.unwrap_or_default(),
        protocol,
        mode: Some(mode.unwrap_or("ingress").to_owned()),
        name: fields.text("name"),
        app_protocol: fields.text("app_protocol"),
    };
    fields.finish();
    target.map(|_| port)
}

/// The items of `expose`, checked.
pub(crate) fn expose(list: &At<'_>) -> Vec<String> {
    let mut exposed = Vec::new();
    for item in list.items() {
        let Some(scalar) = item.scalar("a port") else {
            continue;
        };
        let (ports, protocol) = scalar.text.split_once('/').unwrap_or((&scalar.text, "tcp"));
        if range(ports).is_err() || !PROTOCOLS.iter().any(|(name, _)| *name == protocol) {
            item.error_hint(
                format!("{:?} is not a port", scalar.shown()),
                "write it as 8080, 8080-8090 or 53/udp",
            );
        } else {
            exposed.push(scalar.text.clone());
        }
    }
    exposed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let shown = match short(text) {
            Ok(ports) => ports
                .iter()
                .map(|p| {
                    let ip = p.host_ip.as_deref().unwrap_or("*");
                    let published = p.published.map_or("?".to_owned(), |p| p.to_string());
                    format!("{ip}:{published}:{}/{}", p.target, p.protocol)
                })
                .collect::<Vec<_>>()
                .join(" "),
            Err(why) => why.to_owned(),
        };
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn short_syntax() {
        check("80", "*:?:80/tcp");
        check("8080:80", "*:8080:80/tcp");
        check("8080:80/udp", "*:8080:80/udp");
        check("127.0.0.1:8080:80", "127.0.0.1:8080:80/tcp");
        check("127.0.0.1::80", "127.0.0.1:?:80/tcp");
        check("[::1]:8080:80", "::1:8080:80/tcp");
        check("::1:8080:80", "::1:8080:80/tcp");
        check("3000-3001", "*:?:3000/tcp *:?:3001/tcp");
        check("9090-9091:8080-8081", "*:9090:8080/tcp *:9091:8081/tcp");
        check("8000-9000:80", "*:8000-9000:80/tcp");
        check(":80", "*:?:80/tcp");
        check("1-2:1-3", "the two ranges differ in length");
        check("90-80", "the range ends before it starts");
        check("80:http", "a port is a number from 0 to 65535");
        check("70000:80", "a port is a number from 0 to 65535");
        check("+80", "a port is a number from 0 to 65535");
        check("80/icmp", "the protocol is tcp, udp or sctp");
        check("host:80:80", "the part before the ports is not an IP address");
        check("", "a port is a number from 0 to 65535");
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(text in "[0-9:\\[\\]/.\\-tcpudé]{0,24}") {
            let _ = short(&text);
        }
    }
}
