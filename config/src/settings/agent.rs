//! `[agent]`: where the daemon keeps its things, and which engine it talks to. Who may command it is `control`'s.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use state::policy::SeverityMatrix;
use toml::de::DeValue;

use super::control::{self, ControlSettings};
use super::word::{Host, split_host_port};
use crate::fragment::{Fault, Item, Table};
use crate::validate::{absolute_path, choice, duration, text};

/// `[agent]`.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentSettings {
    /// `state_dir`: ledger, object store and lock. Default `/var/lib/steadfast`.
    pub state_dir: PathBuf,
    /// `desired`: what to run. Default `/etc/steadfast/desired.toml`.
    pub desired: PathBuf,
    /// `socket`: where commands reach the daemon. Default `/run/steadfast/steadfast.sock`.
    pub socket: PathBuf,
    /// `engine`: the Docker engine. Default `unix:///var/run/docker.sock`; `DOCKER_HOST` is not looked at.
    pub engine: EngineAddress,
    /// `settle`: how long all watched files must be quiet and valid before they count. Default `5s`.
    pub settle: Duration,
    /// `resync`: a pass is made at least this often, whatever was or was not noticed. Default `60s`.
    pub resync: Duration,
    /// `log`: default `human`.
    pub log: LogFormat,
    /// `http`: where metrics are told; `None` (`false`): nowhere. Default `127.0.0.1:7878`.
    pub http: Option<Loopback>,
    /// `[agent.control]`.
    pub control: ControlSettings,
}

impl Default for AgentSettings {
    fn default() -> Self {
        Self {
            state_dir: "/var/lib/steadfast".into(),
            desired: "/etc/steadfast/desired.toml".into(),
            socket: "/run/steadfast/steadfast.sock".into(),
            engine: EngineAddress::Unix("/var/run/docker.sock".into()),
            settle: Duration::from_secs(5),
            resync: Duration::from_secs(60),
            log: LogFormat::Human,
            http: Some(Loopback::default()),
            control: ControlSettings::default(),
        }
    }
}

/// Where the engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineAddress {
    /// `unix:///path`.
    Unix(PathBuf),
    /// `tcp://host:port`, without TLS; the default port is 2375.
    Tcp {
        /// The host.
        host: Host,
        /// The port.
        port: u16,
    },
}

/// An address that only this host reaches. Port 0: the kernel chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loopback(SocketAddr);

impl Loopback {
    /// The address.
    pub const fn get(self) -> SocketAddr {
        self.0
    }
}

impl Default for Loopback {
    fn default() -> Self {
        Self((Ipv4Addr::LOCALHOST, 7878).into())
    }
}

/// How the daemon logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people, with colours on a terminal.
    Human,
    /// One JSON object a line.
    Json,
}

/// `schema_asks`: as `control::read` has it.
pub(super) fn read(table: Option<Table<'_>>, policy: &SeverityMatrix, schema_asks: bool) -> AgentSettings {
    let default = AgentSettings::default();
    let Some(mut table) = table else {
        return default;
    };
    let (second, day) = (Duration::from_secs(1), Duration::from_secs(86400));
    let settings = AgentSettings {
        state_dir: table.get("state_dir", absolute_path).unwrap_or(default.state_dir),
        desired: table.get("desired", absolute_path).unwrap_or(default.desired),
        socket: table.get("socket", socket).unwrap_or(default.socket),
        engine: table.get("engine", engine).unwrap_or(default.engine),
        settle: table
            .get("settle", duration(Duration::ZERO, 10 * 60 * second))
            .unwrap_or(default.settle),
        resync: table
            .get("resync", duration(second, day))
            .unwrap_or(default.resync),
        log: table
            .get(
                "log",
                choice(&[("human", LogFormat::Human), ("json", LogFormat::Json)]),
            )
            .unwrap_or(default.log),
        http: table.get("http", http).unwrap_or(default.http),
        control: table
            .table("control")
            .map(|table| control::read(table, policy, schema_asks))
            .unwrap_or_default(),
    };
    if settings.desired.starts_with(&settings.state_dir) {
        let fault = Fault::new(format!(
            "it lies in the state directory {}",
            settings.state_dir.display()
        ));
        table.fault_at(
            "desired",
            fault.hint("the daemon watches its directory and writes to that one: keep them apart"),
        );
    }
    warn_of_open_engine(&settings.engine, &table);
    table.reserved(&["metrics", "notify", "tls"]);
    table.finish();
    settings
}

/// The kernel's `sun_path` has 108 bytes, and ends with a zero.
fn socket(item: &Item<'_>) -> Result<PathBuf, Fault> {
    const MOST: usize = 107;
    let path = absolute_path(item)?;
    let bytes = path.as_os_str().len();
    if bytes > MOST {
        let fault = Fault::new(format!(
            "a socket's path has at most {MOST} bytes, and this one has {bytes}"
        ));
        return Err(fault.hint("write a shorter one: \"/run/steadfast/steadfast.sock\""));
    }
    Ok(path)
}

fn engine(item: &Item<'_>) -> Result<EngineAddress, Fault> {
    let given = text(item)?;
    let hint = "write \"unix:///var/run/docker.sock\" or \"tcp://host:2375\"";
    if let Some(path) = given.strip_prefix("unix://") {
        if path.starts_with('/') {
            return Ok(EngineAddress::Unix(PathBuf::from(path)));
        }
        return Err(Fault::new(format!("{} has no absolute path", item.written())).hint(hint));
    }
    if let Some(address) = given.strip_prefix("tcp://") {
        let parsed = split_host_port(address.strip_suffix('/').unwrap_or(address));
        let (host, port) =
            parsed.ok_or_else(|| Fault::new("the address is not tcp://host:port").hint(hint))?;
        return Ok(EngineAddress::Tcp {
            host,
            port: port.unwrap_or(2375),
        });
    }
    let fault = match given.split_once("://") {
        Some((scheme, _)) => Fault::new(format!(
            "an engine is not reached by \"{}\"",
            crate::fragment::shorten(scheme)
        )),
        None => Fault::new(format!("{} is not the address of an engine", item.written())),
    };
    Err(fault.hint(hint))
}

fn http(item: &Item<'_>) -> Result<Option<Loopback>, Fault> {
    let hint = "write \"127.0.0.1:7878\", or false for none";
    let given = match item.value {
        DeValue::Boolean(no) if !*no => return Ok(None),
        DeValue::String(given) => given,
        _ => return Err(Fault::new(format!("expected an address, found {}", item.described())).hint(hint)),
    };
    let address = given
        .parse::<SocketAddr>()
        .map_err(|_| Fault::new(format!("{} is not an address and a port", item.written())).hint(hint))?;
    if !address.ip().is_loopback() {
        let fault = Fault::new(format!("{address} can be reached from other hosts"));
        return Err(fault.hint(
            "what runs here is told to whoever asks: keep it on 127.0.0.1, and let a reverse proxy or a tunnel lead there",
        ));
    }
    Ok(Some(Loopback(address)))
}

fn warn_of_open_engine(engine: &EngineAddress, table: &Table<'_>) {
    let EngineAddress::Tcp { host, .. } = engine else {
        return;
    };
    if !matches!(host.as_str(), "localhost" | "[::1]") && !host.as_str().starts_with("127.") {
        let fault = Fault::new("an engine on TCP without TLS");
        table.warn_at(
            "engine",
            fault.hint("whoever reaches that port is root on its host: use the Unix socket"),
        );
    }
}
