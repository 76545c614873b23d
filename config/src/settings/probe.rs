//! `[[stack.NAME.probe]]`: how a service is asked whether it is well.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use state::name::{ProbeName, ServiceName};
use state::policy::{ProbePolicy, Severity};
use toml::de::DeValue;

use super::word::{Host, HttpUrl, split_host_port};
use crate::fragment::{Fault, Item, Table};
use crate::validate::{choice, count, duration, flag, name, port, show_duration, text};

/// One probe: when it fails, and how it asks.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeSettings {
    /// `name service interval timeout fail_after pass_after severity required start_period`.
    pub policy: ProbePolicy,
    /// `kind` and the keys that go with it.
    pub kind: ProbeKind,
}

/// How a probe asks.
#[derive(Debug, Clone, PartialEq)]
pub enum ProbeKind {
    /// `http`: a GET whose answer has one of the statuses and, where asked for, a text in its body.
    Http {
        /// `url`, or `port` and `path`.
        target: HttpTarget,
        /// `status`. Default `"2xx"`.
        status: StatusSet,
        /// `body`: a text that the body must contain. Default: any body.
        body: Option<String>,
    },
    /// `tcp`: a connection that opens.
    Tcp {
        /// `address`, or `port`.
        target: TcpTarget,
    },
    /// `container`: every container of the service runs.
    Container,
    /// `healthcheck`: the HEALTHCHECK of every container of the service says healthy.
    Healthcheck,
}

/// Where an HTTP probe asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpTarget {
    /// `url`.
    Url(HttpUrl),
    /// `port` and `path`, at the container's own address.
    Container {
        /// `port`, inside the container.
        port: u16,
        /// `path`, with its leading slash. Default `/`.
        path: String,
    },
}

/// Where a TCP probe connects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TcpTarget {
    /// `address = "host:port"`.
    Address {
        /// The host.
        host: Host,
        /// The port.
        port: u16,
    },
    /// `port`, at the container's own address.
    Container {
        /// The port inside the container.
        port: u16,
    },
}

/// The HTTP statuses that pass; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusSet(Vec<StatusPattern>);

/// One status, or a class of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusPattern {
    /// `200`.
    Exact(u16),
    /// `"2xx"`, as its first digit.
    Class(u16),
}

impl StatusSet {
    /// Whether `status` passes.
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|pattern| match *pattern {
            StatusPattern::Exact(exact) => status == exact,
            StatusPattern::Class(class) => status / 100 == class,
        })
    }
}

impl Default for StatusSet {
    fn default() -> Self {
        Self(vec![StatusPattern::Class(2)])
    }
}

impl fmt::Display for StatusSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, pattern) in self.0.iter().enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            match pattern {
                StatusPattern::Exact(status) => write!(f, "{comma}{status}")?,
                StatusPattern::Class(class) => write!(f, "{comma}{class}xx")?,
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq)]
enum KindWord {
    Http,
    Tcp,
    Container,
    Healthcheck,
}

const KINDS: [(&str, KindWord); 4] = [
    ("http", KindWord::Http),
    ("tcp", KindWord::Tcp),
    ("container", KindWord::Container),
    ("healthcheck", KindWord::Healthcheck),
];

/// The keys that belong to some kinds only.
const KIND_KEYS: [(&str, &[KindWord]); 6] = [
    ("url", &[KindWord::Http]),
    ("path", &[KindWord::Http]),
    ("status", &[KindWord::Http]),
    ("body", &[KindWord::Http]),
    ("address", &[KindWord::Tcp]),
    ("port", &[KindWord::Http, KindWord::Tcp]),
];

/// Reads all probes of a stack, whose failures are borne for `window`; `mention` is told every service that one names.
pub(super) fn read_all<'d>(
    tables: Vec<Table<'d>>,
    window: Duration,
    mut mention: impl FnMut(&ServiceName, &Table<'d>),
) -> Vec<ProbeSettings> {
    let mut names = BTreeSet::new();
    let mut probes = Vec::new();
    for mut table in tables {
        if let Some(service) = table
            .get("service", |item| Ok(name::<ServiceName>(item).ok()))
            .flatten()
        {
            mention(&service, &table);
        }
        if let Some(written) = table
            .get("name", |item| Ok(name::<ProbeName>(item).ok()))
            .flatten()
            && !names.insert(written.clone())
        {
            let fault = Fault::new(format!("a second probe with the name \"{written}\""));
            table.fault_at("name", fault.hint("every probe of a stack has its own name"));
        }
        probes.extend(read(table, window));
    }
    probes
}

fn read(mut table: Table<'_>, window: Duration) -> Option<ProbeSettings> {
    let name_ = table.require("name", "\"api\"", name::<ProbeName>);
    let service = table.require("service", "\"api\"", name::<ServiceName>);
    let kind = table.require("kind", "\"http\"", kind);
    let policy = name_
        .zip(service)
        .map(|(name, service)| ProbePolicy::new(name, service));
    // The thresholds are read even where the name is wrong: all problems at once.
    let fallback = || {
        ProbePolicy::new(
            "probe".parse().expect("a valid name"),
            "service".parse().expect("a valid name"),
        )
    };
    let complete = policy.is_some() && kind.is_some();
    let policy = read_thresholds(&mut table, policy.unwrap_or_else(fallback));
    if complete {
        warn_if_slow(&table, &policy, window);
    }
    let kind = kind.and_then(|word| read_kind(word, &mut table));
    table.reserved(&["query", "expect", "baseline", "headers", "method"]);
    table.finish();
    complete.then_some(ProbeSettings { policy, kind: kind? })
}

/// Of several probes it is this one that takes too long: the place is that of what it says itself.
fn warn_if_slow(table: &Table<'_>, policy: &ProbePolicy, window: Duration) {
    let seen_after = policy.interval.saturating_mul(policy.fail_after);
    if seen_after <= window {
        return;
    }
    let (seen, window) = (show_duration(seen_after), show_duration(window));
    let message = format!(
        "probe \"{}\" takes {seen} to be failing, and the window is {window}",
        policy.name
    );
    let mut keys = ["interval", "fail_after"].into_iter();
    let key = keys.find(|key| table.has(key)).unwrap_or("name");
    table.warn_at(
        key,
        Fault::new(message).hint("shorten its interval, or lengthen trial.window"),
    );
}

fn kind(item: &Item<'_>) -> Result<KindWord, Fault> {
    let word = item.text()?;
    if matches!(word, "sql" | "latency" | "log" | "version") {
        let fault = Fault::new(format!("probes of the kind \"{word}\" are not supported yet"));
        return Err(fault.hint("the kinds are \"http\", \"tcp\", \"container\" and \"healthcheck\""));
    }
    choice(&KINDS)(item)
}

fn read_thresholds(table: &mut Table<'_>, mut policy: ProbePolicy) -> ProbePolicy {
    let (least, hour) = (Duration::from_millis(100), Duration::from_secs(3600));
    let default = policy.clone();
    policy.interval = table
        .get("interval", duration(least, hour))
        .unwrap_or(default.interval);
    // A short interval with the default time-out would overlap: the time-out follows it.
    let default_timeout = default.timeout.min(policy.interval);
    policy.timeout = table
        .get("timeout", duration(least, hour))
        .unwrap_or(default_timeout);
    policy.fail_after = table
        .get("fail_after", count(1, 1000))
        .unwrap_or(default.fail_after);
    policy.pass_after = table
        .get("pass_after", count(1, 1000))
        .unwrap_or(default.pass_after);
    let words = Severity::ALL.map(|severity| (severity.as_str(), severity));
    policy.severity = table.get("severity", choice(&words)).unwrap_or(default.severity);
    policy.required = table.get("required", flag).unwrap_or(default.required);
    policy.start_period = table
        .get("start_period", duration(Duration::ZERO, 24 * hour))
        .unwrap_or(default.start_period);
    if policy.timeout > policy.interval {
        let (timeout, interval) = (show_duration(policy.timeout), show_duration(policy.interval));
        let fault = Fault::new(format!(
            "the time-out {timeout} is longer than the interval {interval}"
        ));
        table.fault_at("timeout", fault.hint("one sample ends before the next begins"));
    }
    policy
}

fn read_kind(word: KindWord, table: &mut Table<'_>) -> Option<ProbeKind> {
    for (key, kinds) in KIND_KEYS {
        if !kinds.contains(&word) {
            let owners: Vec<_> = KINDS
                .iter()
                .filter(|(_, kind)| kinds.contains(kind))
                .map(|(name, _)| *name)
                .collect();
            table.refused(
                key,
                &format!("\"{key}\" does not belong to this kind of probe"),
                &format!("it goes with kind = \"{}\"", owners.join("\" or \"")),
            );
        }
    }
    match word {
        KindWord::Http => read_http(table),
        KindWord::Tcp => read_tcp(table).map(|target| ProbeKind::Tcp { target }),
        KindWord::Container => Some(ProbeKind::Container),
        KindWord::Healthcheck => Some(ProbeKind::Healthcheck),
    }
}

fn read_http(table: &mut Table<'_>) -> Option<ProbeKind> {
    let status = table.get("status", statuses).unwrap_or_default();
    let body = table.get("body", text).map(str::to_owned);
    let (has_url, has_port, has_path) = (table.has("url"), table.has("port"), table.has("path"));
    let url = table.get("url", url);
    let port = table.get("port", port);
    let path = table.get("path", path);
    let example = "add url = \"http://localhost:8000/health\", or port = 8000 and path = \"/health\"";
    if has_url && (has_port || has_path) {
        let fault = Fault::new("both a URL and a port or path");
        table.fault_at(
            "url",
            fault.hint("a URL stands alone; port and path are for the container's own address"),
        );
        return None;
    }
    if !has_url && !has_port {
        table.fault(Fault::new("an HTTP probe without a target").hint(example));
        return None;
    }
    let target = match (url, port) {
        (Some(url), _) => HttpTarget::Url(url),
        (None, Some(port)) => HttpTarget::Container {
            port,
            path: path.unwrap_or_else(|| "/".to_owned()),
        },
        (None, None) => return None,
    };
    Some(ProbeKind::Http { target, status, body })
}

fn read_tcp(table: &mut Table<'_>) -> Option<TcpTarget> {
    let (has_address, has_port) = (table.has("address"), table.has("port"));
    let address = table.get("address", |item| {
        let parsed = split_host_port(text(item)?).and_then(|(host, port)| Some((host, port?)));
        parsed.ok_or_else(|| {
            Fault::new(format!("{} is not an address", item.written())).hint("write \"host:port\"")
        })
    });
    let port = table.get("port", port);
    if has_address == has_port {
        let message = if has_port {
            "both an address and a port"
        } else {
            "a TCP probe without a target"
        };
        let hint = "give address = \"host:port\", or port = 5432 for the container's own address";
        table.fault(Fault::new(message).hint(hint));
        return None;
    }
    address
        .map(|(host, port)| TcpTarget::Address { host, port })
        .or(port.map(|port| TcpTarget::Container { port }))
}

/// The text of a URL is not repeated where it may hold a password.
fn url(item: &Item<'_>) -> Result<HttpUrl, Fault> {
    let given = text(item)?;
    let authority = given
        .split_once("://")
        .map_or(given, |(_, rest)| rest)
        .split(['/', '?'])
        .next();
    if authority.is_some_and(|authority| authority.contains('@')) {
        let fault = Fault::new("a user or password in the URL");
        return Err(fault.hint("probe a path that needs none: what stands here is shown in status and logs"));
    }
    given.parse().map_err(|error: state::name::InvalidName| {
        let scheme = !given.contains("://");
        Fault::from(error).or_hint(scheme.then(|| format!("did you mean \"http://{given}\"?")))
    })
}

fn path(item: &Item<'_>) -> Result<String, Fault> {
    let given = text(item)?;
    if !given.starts_with('/') {
        let fault = Fault::new(format!("{} is not the path of a URL", item.written()));
        return Err(fault.hint(format!("it begins with a slash: \"/{given}\"")));
    }
    if !given.chars().all(|c| c.is_ascii_graphic() && c != '#') {
        let fault = Fault::new(format!(
            "{} has characters that a URL cannot have",
            item.written()
        ));
        return Err(fault.hint("write them as %20 and so on"));
    }
    Ok(given.to_owned())
}

fn statuses(item: &Item<'_>) -> Result<StatusSet, Fault> {
    let patterns = match item.value {
        DeValue::Array(elements) => elements.iter().map(|element| status(element.get_ref())).collect(),
        value => status(value).map(|pattern| vec![pattern]),
    };
    patterns
        .filter(|patterns: &Vec<StatusPattern>| !patterns.is_empty())
        .map(StatusSet)
        .ok_or_else(|| {
            Fault::new(format!("{} is not a set of HTTP statuses", item.written()))
                .hint("write 200, \"2xx\" or [200, 204, \"3xx\"]")
        })
}

fn status(value: &DeValue<'_>) -> Option<StatusPattern> {
    match value {
        DeValue::Integer(number) => {
            let status = u16::from_str_radix(number.as_str(), number.radix()).ok()?;
            (100..=599)
                .contains(&status)
                .then_some(StatusPattern::Exact(status))
        }
        DeValue::String(text) => {
            let class = text.strip_suffix("xx")?.parse().ok()?;
            (1..=5).contains(&class).then_some(StatusPattern::Class(class))
        }
        _ => None,
    }
}
