//! The service manager's socket: datagrams to a path or to an abstract name. What is said in them is made elsewhere.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Where the service manager listens, and what it expects.
#[derive(Debug)]
pub struct Notify {
    socket: UnixDatagram,
    address: SocketAddr,
    feeding: Option<Duration>,
}

impl Notify {
    /// As the environment says; `None`: nobody listens, or not at an address that we can reach.
    pub fn from_environment() -> Option<Self> {
        let address = std::env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty())?;
        let [usec, pid] = ["WATCHDOG_USEC", "WATCHDOG_PID"].map(|name| std::env::var(name).ok());
        let feeding = feeding(usec.as_deref(), pid.as_deref(), std::process::id());
        match Self::new(&address, feeding) {
            Ok(notify) => Some(notify),
            Err(error) => {
                tracing::warn!("the service manager is told nothing: NOTIFY_SOCKET: {error}");
                None
            }
        }
    }

    /// At `address`: a path, or `@` and an abstract name. The watchdog is fed every `feeding`.
    pub fn new(address: &OsStr, feeding: Option<Duration>) -> io::Result<Self> {
        let address = match address.as_bytes() {
            [b'/', ..] => SocketAddr::from_pathname(address)?,
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            _ => {
                let why = "it is neither a path nor an abstract name";
                return Err(io::Error::new(io::ErrorKind::Unsupported, why));
            }
        };
        let socket = UnixDatagram::unbound()?;
        // A service manager that is busy must not hold up what it watches.
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            address,
            feeding,
        })
    }

    /// How often the watchdog is fed; `None`: there is none.
    pub fn feeding(&self) -> Option<Duration> {
        self.feeding
    }

    /// Sends assignments, a line each.
    pub fn send(&self, what: &str) -> io::Result<()> {
        self.socket.send_to_addr(what.as_bytes(), &self.address).map(drop)
    }
}

/// At half of the watchdog's time, where there is one and it is meant for us (`sd_watchdog_enabled(3)`).
fn feeding(usec: Option<&str>, pid: Option<&str>, own: u32) -> Option<Duration> {
    let is_ours = pid.is_none_or(|pid| pid.parse() == Ok(own));
    let micros = usec?.parse().ok().filter(|micros| *micros > 1)?;
    is_ours.then(|| Duration::from_micros(micros) / 2)
}

/// The time by which the service manager tells one reload from another.
pub(super) fn monotonic_microseconds() -> i64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec
        .saturating_mul(1_000_000)
        .saturating_add(time.tv_nsec / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(usec: Option<&str>, pid: Option<&str>, expected: Option<u64>) {
        let expected = expected.map(Duration::from_secs);
        assert_eq!(feeding(usec, pid, 7), expected, "{usec:?} {pid:?}");
    }

    #[test]
    fn the_watchdog_is_fed_at_half_of_its_time_by_whom_it_is_meant_for() {
        check(Some("180000000"), None, Some(90));
        check(Some("180000000"), Some("7"), Some(90));
        check(Some("180000000"), Some("8"), None);
        check(Some("180000000"), Some("seven"), None);
        check(Some("0"), None, None);
        check(Some("-1"), None, None);
        check(Some(""), None, None);
        check(None, Some("7"), None);
    }
}
