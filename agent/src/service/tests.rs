//! What the service manager hears, over a real socket.

#![allow(clippy::unwrap_used)]

use std::ffi::OsString;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

use tempfile::TempDir;

use super::hearts::{PASS, SILENCE};
use super::*;
use crate::view::sample;

const FEEDING: Duration = Duration::from_secs(90);

/// A service manager that listens, and a daemon with the one stack `shop`.
struct Bench {
    service: Service,
    heart: Arc<Heart>,
    manager: UnixDatagram,
    begun: Instant,
    _directory: TempDir,
}

impl Bench {
    fn new(situation: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("notify");
        let manager = listening(&path);
        let shared = Arc::new(sample::shared());
        let heart = shared.hearts().of(&"shop".parse().unwrap());
        shared.publish(sample::snapshot(situation));
        let notify = Notify::new(path.as_os_str(), Some(FEEDING)).unwrap();
        Self {
            service: Service::new(Some(notify), shared),
            heart,
            manager,
            begun: Instant::now(),
            _directory: directory,
        }
    }

    /// One that is ready, with nothing left to be heard.
    fn ready() -> Self {
        let mut bench = Self::new("steady");
        bench.heart.sees();
        bench.after(0);
        bench
    }

    /// What is told so many seconds after the start.
    fn after(&mut self, seconds: u64) -> Vec<String> {
        self.service.turn_at(self.begun + Duration::from_secs(seconds));
        self.heard()
    }

    fn heard(&self) -> Vec<String> {
        heard(&self.manager)
    }
}

fn listening(path: &Path) -> UnixDatagram {
    let manager = UnixDatagram::bind(path).unwrap();
    manager.set_nonblocking(true).unwrap();
    manager
}

fn heard(manager: &UnixDatagram) -> Vec<String> {
    let mut buffer = [0; 4096];
    let next = || {
        manager
            .recv(&mut buffer)
            .ok()
            .map(|length| buffer[..length].to_vec())
    };
    let all = std::iter::from_fn(next);
    all.map(|bytes| String::from_utf8(bytes).unwrap()).collect()
}

#[test]
fn it_is_ready_when_every_stack_was_seen() {
    let mut bench = Bench::new("steady");
    assert_eq!(bench.after(0), ["STATUS=shop: not looked at yet", "WATCHDOG=1"]);
    assert_eq!(bench.after(1), [""; 0]);
    bench.heart.sees();
    assert_eq!(bench.after(2), ["READY=1\nSTATUS=shop: steady"]);
    assert_eq!(bench.after(3), [""; 0]);
}

#[test]
fn an_engine_that_does_not_come_keeps_nobody_waiting_for_ever() {
    let mut bench = Bench::new("engine away");
    let waits = "STATUS=shop: not looked at yet, waits for the engine";
    assert_eq!(bench.after(0), [waits, "WATCHDOG=1"]);
    assert_eq!(bench.after(59), [""; 0]);
    assert_eq!(bench.after(61), [format!("READY=1\n{waits}")]);
    bench.service.shared.publish(sample::snapshot("steady"));
    bench.heart.sees();
    assert_eq!(bench.after(62), ["STATUS=shop: steady"]);
}

#[test]
fn a_status_is_told_when_it_is_another_one() {
    let mut bench = Bench::ready();
    bench.service.shared.publish(sample::snapshot("rolling back"));
    let line = "STATUS=shop: rolling back to generation 2, step 3 of 5";
    assert_eq!(bench.after(1), [line]);
    bench.service.shared.publish(sample::snapshot("rolling back"));
    assert_eq!(bench.after(2), [""; 0]);
}

#[test]
fn the_watchdog_is_fed_only_while_hearts_beat() {
    let mut bench = Bench::ready();
    assert_eq!(bench.after(89), [""; 0]);
    assert_eq!(bench.after(90), ["WATCHDOG=1"]);
    let stuck = SILENCE.as_secs() + 5;
    assert_eq!(bench.after(stuck), [""; 0]);
    assert_eq!(bench.after(stuck + 100), [""; 0]);
    // It sleeps, and says so.
    bench.heart.sleeps(Duration::from_secs(stuck));
    assert_eq!(bench.after(stuck + 101), ["WATCHDOG=1"]);
}

#[test]
fn one_stuck_stack_is_enough() {
    let mut bench = Bench::ready();
    bench.heart.sleeps(2 * SILENCE);
    let other = bench.service.shared.hearts().of(&"blog".parse().unwrap());
    assert_eq!(bench.after(SILENCE.as_secs() + 5), [""; 0]);
    other.sleeps(2 * SILENCE);
    assert_eq!(bench.after(SILENCE.as_secs() + 6), ["WATCHDOG=1"]);
}

#[tokio::test]
async fn what_waits_moves_when_something_comes_and_still_has_to_turn() {
    let hearts = Hearts::default();
    let heart = hearts.of(&"shop".parse().unwrap());
    let begun = Instant::now();
    felt(&heart, tokio::time::sleep(Duration::from_millis(20))).await;
    // By then it had been silent for too long, had nothing come.
    assert_eq!(hearts.stuck(begun + SILENCE + Duration::from_millis(10)), None);
    assert!(
        hearts
            .stuck(Instant::now() + SILENCE + Duration::from_secs(1))
            .is_some()
    );
    heart.sleeps(Duration::from_secs(3600));
    assert_eq!(hearts.stuck(begun + Duration::from_secs(3600)), None);
    heart.turns();
    assert!(
        hearts
            .stuck(Instant::now() + PASS + Duration::from_secs(1))
            .is_some()
    );
}

#[test]
fn what_cannot_be_told_is_told_again() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("notify");
    let shared = Arc::new(sample::shared());
    let notify = Notify::new(path.as_os_str(), None).unwrap();
    let mut service = Service::new(Some(notify), shared);
    service.turn();
    assert!(matches!(service.phase, Phase::Starting(_)));
    assert!(service.due() <= Instant::now() + AGAIN);
    let manager = listening(&path);
    service.turn();
    assert_eq!(heard(&manager), ["READY=1\nSTATUS=no stack is configured"]);
    assert!(service.due() > Instant::now() + AGAIN);
}

#[test]
fn a_reload_begins_and_ends_and_so_does_a_stop() {
    let mut bench = Bench::ready();
    bench.service.reloads();
    bench.service.reloaded();
    let told = bench.heard();
    let since = told[0].strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
    assert!(since.parse::<u64>().unwrap() > 0);
    assert_eq!(told[1..], ["READY=1"]);
    bench.service.stops();
    assert!(bench.heard()[0].starts_with("STOPPING=1\nSTATUS=stopping"));
    bench.service.shared.publish(sample::snapshot("rolling back"));
    assert_eq!(bench.after(1), [""; 0]);
}

#[test]
fn what_is_not_ready_yet_does_not_say_so_by_a_reload() {
    let mut bench = Bench::new("steady");
    bench.service.reloads();
    bench.service.reloaded();
    assert_eq!(bench.heard(), [""; 0]);
}

#[test]
fn an_abstract_name_is_an_address_too() {
    let name = format!("steadfast-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let manager = UnixDatagram::bind_addr(&address).unwrap();
    let notify = Notify::new(&OsString::from(format!("@{name}")), None).unwrap();
    notify.send("READY=1").unwrap();
    manager.set_nonblocking(true).unwrap();
    assert_eq!(heard(&manager), ["READY=1"]);
    for address in ["vsock:2:1", "relative/path"] {
        assert!(Notify::new(&OsString::from(address), None).is_err(), "{address}");
    }
}

#[tokio::test]
async fn nobody_is_told_where_nobody_listens() {
    let mut service = Service::new(None, Arc::new(sample::shared()));
    service.reloads();
    service.stops();
    let next = tokio::time::timeout(Duration::from_millis(20), service.next());
    assert!(next.await.is_err());
}
