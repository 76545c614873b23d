//! The Debian package on a host of its own under a real systemd: what installing, upgrading and removing it does, and what the
//! unit is told, allowed and refused. What the agent tells a service manager, word by word, is in `service.rs`.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use steadfast_tests::lab::{Container, Engine, Host, PACKAGES, is_half_made};

use super::{Scenario, once};

pub(super) const ALL: &[Scenario] = &[
    once("an_installed_agent_works_under_systemd", works).needs(PACKAGES),
    once("a_package_is_upgraded_within_an_operation_and_removed", upgraded).needs(PACKAGES),
];

/// What the unit allows for a stop.
const STOPS_WITHIN: Duration = Duration::from_secs(60);

/// `LASTS` says how long a deploy takes, for doing something in the middle of it.
const COMPOSE: &str = "\
services:
  web:
    image: steadfast-test/tiny:${TAG}
    environment:
      LOG_LEVEL: ${LOG_LEVEL:-info}
    labels: {io.steadfast.test: e2e}
    stop_grace_period: 2s
    volumes: [\"data:/data\"]
    deploy:
      update_config:
        monitor: ${LASTS:-500ms}
      rollback_config: {monitor: 500ms}
volumes:
  data: {}
";

/// The engine's socket has a name that is not there at first.
const SETTINGS: &str = "\
[agent]
engine = \"unix:///run/engine.sock\"
settle = \"300ms\"
resync = \"2s\"
http = false

[stack.STACK]
directory = \"/srv/shop\"

[stack.STACK.trial]
window = \"3s\"
good_after = \"2s\"

[[stack.STACK.probe]]
name = \"web\"
service = \"web\"
kind = \"http\"
port = 8080
path = \"/health\"
interval = \"300ms\"
fail_after = 2
";

/// Nothing else than what the guide says, but for a watchdog that need not be waited for.
const DROP_IN: &str = "\
[Service]
ReadWritePaths=-/srv/shop
WatchdogSec=4s
";

/// A host on which the first package was installed, and everything was written that the agent needs.
fn host(engine: &Engine, scenario: &str) -> Result<Host> {
    let host = Host::boot(engine, scenario)?;
    // As where Docker is installed: a group that may open the socket.
    host.sh("groupadd --non-unique --gid \"$(stat -c %g /var/run/docker.sock)\" docker")?;
    let said = host.sh("dpkg -i /packages/1.deb 2>&1")?;
    ensure!(said.contains("systemctl enable --now steadfast"), "{said}");
    ensure!(host.unit("ActiveState")? == "inactive", "it was started");
    ensure!(host.unit("UnitFileState")? == "disabled", "it was enabled");
    host.sh("useradd ada; useradd --groups steadfast ben; install -d -o ada /srv/shop")?;
    host.sh("install -d /etc/systemd/system/steadfast.service.d")?;
    host.write("/srv/shop/compose.yaml", COMPOSE)?;
    host.write("/etc/steadfast/steadfast.toml", SETTINGS)?;
    ask(&host, "v1", "LOG_LEVEL=info")?;
    host.write("/etc/systemd/system/steadfast.service.d/stacks.conf", DROP_IN)?;
    Ok(host)
}

/// Asks for a tag with what `.env` is to say, which is its owner's alone. One edit: nothing is asked for in between.
fn ask(host: &Host, tag: &str, env: &str) -> Result<()> {
    host.sh(&format!(
        "install -o ada -m 0600 /dev/null /srv/shop/.env; echo '{env}' >/srv/shop/.env
        printf '[STACK]\\ntag = \"{tag}\"\\n' >/etc/steadfast/.new
        mv /etc/steadfast/.new /etc/steadfast/desired.toml"
    ))
    .map(drop)
}

/// Asks for a tag, and waits until it is being deployed, which lasts for some seconds more.
fn begin(host: &Host, tag: &str) -> Result<()> {
    ask(host, tag, "LASTS=8s")?;
    let deploys = |text: &str| text.contains("deploying generation ");
    host.until_unit("StatusText", deploys).map(drop)
}

/// The engine is there, and the unit is started as the guide says.
fn start(host: &Host) -> Result<()> {
    host.sh("ln -s /var/run/docker.sock /run/engine.sock")?;
    host.sh("systemctl daemon-reload; systemctl enable --now steadfast")?;
    host.until_runs("v1", "good").map(drop)
}

fn works(engine: &Engine) -> Result<()> {
    let host = host(engine, "systemd")?;
    host.sh("systemctl daemon-reload; systemctl enable --now --no-block steadfast")?;
    host.until_unit("StatusText", |text| text.ends_with("waits for the docker engine"))?;
    ensure!(host.unit("ActiveState")? == "activating", "nothing was looked at");
    host.sh("ln -s /var/run/docker.sock /run/engine.sock")?;
    host.until_unit("ActiveState", |state| state == "active")?;
    host.until_runs("v1", "good")?;
    let steady = format!("{}: steady", host.stack);
    host.until_unit("StatusText", |text| text == steady)?;
    host.sh("systemd-analyze security --no-pager --threshold=20 steadfast")?;
    may(&host)?;
    second(&host)?;
    stuck(&host)?;
    let begun = Instant::now();
    host.sh("systemctl stop steadfast")?;
    ensure!(begun.elapsed() < STOPS_WITHIN, "it took {:?}", begun.elapsed());
    ensure!(host.unit("Result")? == "success", "it was killed");
    ensure!(host.containers()?.iter().all(Container::is_running));
    host.end();
    Ok(())
}

/// Who is in the group may look; who is not may not; and only root may act.
fn may(host: &Host) -> Result<()> {
    let said_to = |user: &str, word: &str| {
        let words = ["runuser", "-u", user, "--", "steadfast", word, &host.stack];
        host.run(&words)
    };
    let looks = said_to("ben", "status")?;
    ensure!(looks.code == 0, "{looks:?}");
    let acts = said_to("ben", "rollback")?;
    ensure!(
        acts.code == 5 && acts.complains("ben has no right to rollback"),
        "{acts:?}"
    );
    let outside = said_to("ada", "status")?;
    ensure!(
        outside.code == 3 && outside.complains("may not be opened: Permission denied"),
        "{outside:?}"
    );
    Ok(())
}

fn second(host: &Host) -> Result<()> {
    let first = host.unit("MainPID")?;
    let said = host.run(&["runuser", "-u", "steadfast", "--", "steadfast", "run"])?;
    let words = format!("/var/lib/steadfast is in use by another agent (pid {first})");
    ensure!(said.code == 1 && said.complains(&words), "{said:?}");
    ensure!(host.unit("MainPID")? == first, "the first one has ended");
    Ok(())
}

/// A daemon that does not move any more, in the middle of a deploy, is ended and started again, and goes on.
fn stuck(host: &Host) -> Result<()> {
    begin(host, "v2")?;
    let first = host.unit("MainPID")?;
    host.sh(&format!("kill -STOP {first}"))?;
    host.until_unit("NRestarts", |count| count == "1")?;
    let journal = host.journal()?;
    ensure!(journal.contains("Failed with result 'watchdog'"), "{journal}");
    host.until_runs("v2", "good")?;
    was_resumed(host)?;
    ensure!(host.unit("NRestarts")? == "1", "it was restarted again");
    ensure!(host.unit("MainPID")? != first, "the same process");
    Ok(())
}

/// The last deploy ended in the last process, with one container, which is in its place.
fn was_resumed(host: &Host) -> Result<()> {
    let journal = host.journal()?;
    let (began, ended) = (journal.rfind("steadfast runs"), journal.rfind("deploy done"));
    ensure!(began.is_some() && began < ended, "it had ended before: {journal}");
    let containers = host.containers()?;
    let whole = |c: &Container| c.is_running() && !is_half_made(c);
    ensure!(
        containers.len() == 1 && containers.iter().all(whole),
        "{containers:#?}"
    );
    Ok(())
}

fn upgraded(engine: &Engine) -> Result<()> {
    let host = host(engine, "package")?;
    start(&host)?;
    goes_back(&host)?;
    // What takes longest comes before, so that the older daemon is replaced within the deploy.
    host.sh("dpkg --unpack /packages/2.deb")?;
    begin(&host, "v2")?;
    let first = host.unit("MainPID")?;
    host.sh("dpkg --configure steadfast")?;
    ensure!(host.unit("MainPID")? != first, "the older one still runs");
    host.until_runs("v2", "good")?;
    was_resumed(&host)?;
    ensure!(
        host.unit("UnitFileState")? == "enabled",
        "it will not start with the host"
    );
    removed(&host)?;
    host.end();
    Ok(())
}

/// In its sandbox it may put back a file that is somebody's alone, and it stays that.
fn goes_back(host: &Host) -> Result<()> {
    ask(host, "bad", "LOG_LEVEL=debug")?;
    host.until("it was rolled back", || {
        let said = host.run(&["steadfast", "status", &host.stack, "--exit-code"])?;
        Ok((said.code == 6).then_some(()))
    })?;
    host.until_runs("v1", "good")?;
    let file = host.sh("stat -c '%U %a' /srv/shop/.env; cat /srv/shop/.env")?;
    ensure!(file == "ada 600\nLOG_LEVEL=info", "{file}");
    Ok(())
}

/// Neither removing nor purging takes away what is not the package's.
fn removed(host: &Host) -> Result<()> {
    let before = host.containers()?;
    // But for what SQLite has beside an open database.
    let files =
        "ls -d /etc/steadfast/*.toml /var/lib/steadfast/* /srv/shop/.env /srv/shop/* | grep -v ledger.db-";
    let files_before = host.sh(files)?;
    let kept = || -> Result<()> {
        ensure!(host.containers()? == before, "other containers");
        ensure!(host.sh(files)? == files_before, "other files");
        ensure!(host.engine.named("volume", &host.stack)?.len() == 1, "no volume");
        Ok(())
    };
    host.sh("dpkg -r steadfast 2>&1")?;
    ensure!(host.unit("ActiveState")? == "inactive", "it still runs");
    kept()?;
    let said = host.sh("dpkg -P steadfast 2>&1")?;
    ensure!(
        said.contains("every container, volume and image stays as it is"),
        "{said}"
    );
    let left = host.sh("find /usr /etc/systemd -name '*steadfast*' ! -name steadfast.service.d")?;
    ensure!(left.is_empty(), "left behind: {left}");
    kept()
}
