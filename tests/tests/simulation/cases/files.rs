//! The operator's files, told on purpose: what is put back, what stays, and what comes of it.

use std::path::Path;
use std::time::Duration;

use agent::shared::ActKind;
use state::name::Digest;
use state::record::Standing;

use super::{ROLLBACK, ask, asked_v1_in, give, good_v1, until, until_good};
use crate::edges::lock;
use crate::hand::{self, CONF, ENV};
use crate::story::{Host, Pace, SECRET};
use crate::world::{Behaviour, Tracking, World};

/// The level that api does not know.
const BAD: u64 = 4;

fn edit_env(host: &Host, level: u64) {
    hand::write_env(&mut lock(&host.world), SECRET, (level, 0));
    host.tell_files();
}

fn edit_conf(host: &Host, version: u64) {
    hand::write_conf(&mut lock(&host.world), version);
    host.tell_files();
}

fn text(host: &Host, path: &str) -> String {
    let world = lock(&host.world);
    let bytes = world.files.get(Path::new(path)).cloned().unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn is_so(is: bool, what: &str) -> Result<(), String> {
    if is { Ok(()) } else { Err(what.to_owned()) }
}

async fn until_left(host: &Host) -> Result<(), String> {
    until(host, "what is asked for was left", |host| {
        let record = host.record();
        matches!(record.standing, Standing::Quarantined(_)) && record.operation.is_none()
    })
    .await
}

/// The file is put back, the version that failed is kept, and nobody takes what was put back for a wish.
pub(super) async fn bad_env() -> Result<Host, String> {
    let host = good_v1().await?;
    let good = text(&host, ENV);
    let web = lock(&host.world).named("shop-web-1");
    edit_env(&host, BAD);
    let bad = Digest::of(text(&host, ENV).as_bytes());
    until_left(&host).await?;
    is_so(text(&host, ENV) == good, "the file is not as it was")?;
    is_so(
        lock(&host.world).named("shop-web-1") == web,
        "web does not read it, and is another one",
    )?;
    tokio::time::sleep(Duration::from_secs(600)).await;
    let record = host.record();
    is_so(record.generations.len() == 2, "it has come to a third generation")?;
    is_so(
        record.replaced.iter().any(|one| one.content == bad),
        "the version that failed is not kept",
    )?;
    is_so(
        record.request.is_some_and(|request| request.env == Some(bad)),
        "what is asked for has changed",
    )?;
    edit_env(&host, 2);
    until(&host, "the third version is good", |host| {
        let record = host.record();
        record.operation.is_none() && record.generations.len() == 3 && record.good().count() == 2
    })
    .await?;
    Ok(host)
}

/// A container that has a file mounted is made anew for another content, and for the old one again.
pub(super) async fn bad_conf() -> Result<Host, String> {
    let host = good_v1().await?;
    let good = text(&host, CONF);
    let api = lock(&host.world).named("shop-api-1");
    edit_conf(&host, 3);
    until_left(&host).await?;
    is_so(text(&host, CONF) == good, "the file is not as it was")?;
    let read = |host: &Host| {
        let world = lock(&host.world);
        let web = world.named("shop-web-1").and_then(|id| world.containers.get(&id));
        web.and_then(|web| web.conf.clone()).unwrap_or_default()
    };
    is_so(read(&host) == good.as_bytes(), "web has not read it again")?;
    is_so(
        lock(&host.world).named("shop-api-1") == api,
        "api does not read it, and is another one",
    )?;
    // Whoever was started while another version was there has read that.
    edit_conf(&host, 3);
    {
        let mut world = lock(&host.world);
        let web = world.named("shop-web-1").ok_or("there is no web")?;
        world.exits(&web, 137);
    }
    until(&host, "web runs again, and has read what is good", |host| {
        let runs = {
            let world = lock(&host.world);
            let web = world.named("shop-web-1").and_then(|id| world.containers.get(&id));
            web.is_some_and(crate::world::Container::runs)
        };
        runs && read(host) == good.as_bytes() && host.record().operation.is_none()
    })
    .await?;
    Ok(host)
}

/// Whoever edits a file that is pinned has it put back, and can have their version.
pub(super) async fn pinned_env() -> Result<Host, String> {
    let host = good_v1().await?;
    let good = text(&host, ENV);
    let pin = Digest::of(good.as_bytes());
    let wish = format!("[shop]\ntag = \"v1\"\nenv = \"sha256:{}\"\n", pin.as_str());
    lock(&host.world).write(hand::DESIRED, wish);
    host.tell_files();
    tokio::time::sleep(Duration::from_secs(60)).await;
    edit_env(&host, 3);
    let edited = Digest::of(text(&host, ENV).as_bytes());
    until(&host, "it is put back", |host| text(host, ENV) == good).await?;
    let record = host.record();
    is_so(
        record.generations.len() == 1,
        "it has come to a second generation",
    )?;
    is_so(
        record.replaced.iter().any(|one| one.content == edited),
        "what was edited is not kept",
    )?;
    // Not pinned any more, the next edit counts.
    ask(&host, "v1");
    edit_env(&host, 2);
    until(&host, "the edit is good", |host| {
        let record = host.record();
        record.operation.is_none() && record.good().count() == 2
    })
    .await?;
    is_so(text(&host, ENV) != good, "the edit was put back")?;
    Ok(host)
}

/// What somebody writes while a release is left stays, and is what is asked for then.
pub(super) async fn meanwhile() -> Result<Host, String> {
    let host = good_v1().await?;
    edit_env(&host, BAD);
    until(&host, "it is going back", |host| {
        let record = host.record();
        record
            .operation
            .is_some_and(|open| open.operation.kind == state::journal::Kind::Rollback)
    })
    .await?;
    edit_env(&host, 3);
    let theirs = text(&host, ENV);
    until(&host, "theirs is good", |host| {
        let record = host.record();
        record.operation.is_none() && record.good().count() == 2
    })
    .await?;
    is_so(text(&host, ENV) == theirs, "theirs is gone")?;
    Ok(host)
}

/// A release that was left and is asked for again comes with its own files.
pub(super) async fn retried() -> Result<Host, String> {
    let host = good_v1().await?;
    let before = text(&host, CONF);
    give(&host, "v2", Behaviour::Well);
    edit_conf(&host, 1);
    ask(&host, "v2");
    let theirs = text(&host, CONF);
    until_good(&host, "v2").await?;
    drop(host.ask(ROLLBACK));
    until_left(&host).await?;
    is_so(text(&host, CONF) == before, "the file was not put back")?;
    drop(host.ask(ActKind::Retry));
    until_good(&host, "v2").await?;
    is_so(text(&host, CONF) == theirs, "the file has not come with it")?;
    Ok(host)
}

/// Files that a release has brought go with it, and those that it has taken away come back; the next one has them as they
/// were asked for.
pub(super) async fn directory() -> Result<Host, String> {
    const OLD: &str = "/srv/shop/web.d/old.conf";
    const NEW: &str = "/srv/shop/web.d/deep/new.conf";
    let mut world = World::new(3, Pace::Real);
    world.tracking = Tracking::Directory;
    let mut host = asked_v1_in(world);
    lock(&host.world).write(OLD, "old");
    host.start();
    until_good(&host, "v1").await?;
    let web = lock(&host.world).named("shop-web-1");
    let has = |host: &Host, path: &str| lock(&host.world).files.contains_key(Path::new(path));
    {
        let mut world = lock(&host.world);
        world.write(NEW, "new");
        world.files.remove(Path::new(OLD));
        hand::write_conf(&mut world, 3);
    }
    host.tell_files();
    until_left(&host).await?;
    is_so(text(&host, OLD) == "old", "what went has not come back")?;
    is_so(!has(&host, NEW), "what came has not gone")?;
    is_so(
        lock(&host.world).named("shop-web-1") != web,
        "web has not read it again",
    )?;
    tokio::time::sleep(Duration::from_secs(600)).await;
    is_so(host.record().generations.len() == 2, "it counts as a wish")?;
    edit_conf(&host, 2);
    until(&host, "the mended release is good, with what it brings", |host| {
        let record = host.record();
        record.operation.is_none() && record.good().count() == 2
    })
    .await?;
    is_so(
        has(&host, NEW) && !has(&host, OLD),
        "it has not come as it was asked for",
    )?;
    // Another file alone is another release.
    lock(&host.world).write(OLD, "older");
    host.tell_files();
    until(&host, "the file is good", |host| {
        let record = host.record();
        record.operation.is_none() && record.good().count() == 3
    })
    .await?;
    Ok(host)
}

/// Whoever reads a file again by a restart stays the same container, also where the release is left for it.
pub(super) async fn restarted() -> Result<Host, String> {
    let mut world = World::new(3, Pace::Real);
    world.tracking = Tracking::Restart;
    let mut host = asked_v1_in(world);
    host.start();
    until_good(&host, "v1").await?;
    let web = lock(&host.world).named("shop-web-1");
    let reads = |host: &Host| {
        let world = lock(&host.world);
        let web = world.named("shop-web-1").and_then(|id| world.containers.get(&id));
        web.and_then(|web| web.conf.clone()).unwrap_or_default()
    };
    edit_conf(&host, 2);
    let good = text(&host, CONF);
    until(&host, "the edit is good", |host| {
        let record = host.record();
        record.operation.is_none() && record.good().count() == 2
    })
    .await?;
    is_so(reads(&host) == good.as_bytes(), "web has not read it again")?;
    edit_conf(&host, 3);
    until_left(&host).await?;
    is_so(text(&host, CONF) == good, "the file is not as it was")?;
    is_so(
        reads(&host) == good.as_bytes(),
        "web has not read what is good again",
    )?;
    is_so(
        lock(&host.world).named("shop-web-1") == web,
        "web is another container",
    )?;
    Ok(host)
}

/// A stack with a web that is restarted for its file, and a second version of that which is good.
async fn good_twice_restarted() -> Result<Host, String> {
    let mut world = World::new(3, Pace::Real);
    world.tracking = Tracking::Restart;
    let mut host = asked_v1_in(world);
    host.start();
    until_good(&host, "v1").await?;
    edit_conf(&host, 2);
    until(&host, "the edit is good", |host| {
        let record = host.record();
        record.operation.is_none() && record.good().count() == 2
    })
    .await?;
    Ok(host)
}

/// Somebody writes and is not done, until this is so.
async fn write_until(host: &Host, is: impl Fn(&Host) -> bool) -> Result<(), String> {
    for turn in 0..60 {
        lock(&host.world).write(CONF, format!("draft {turn}"));
        host.tell_files();
        tokio::time::sleep(Duration::from_secs(2)).await;
        if is(host) {
            return Ok(());
        }
    }
    Err(String::from("it does not come to its end while somebody writes"))
}

/// Theirs again, as it was before they began, and put back by the agent: web has what is there.
async fn until_web_has_the_first(host: &Host) -> Result<(), String> {
    edit_conf(host, 2);
    until(host, "the file is put back, and web has it", |host| {
        let there = text(host, CONF) == "version 0 is good";
        there && read_by_web(host) == b"version 0 is good" && host.record().operation.is_none()
    })
    .await
}

fn read_by_web(host: &Host) -> Vec<u8> {
    let world = lock(&host.world);
    let web = world.named("shop-web-1").and_then(|id| world.containers.get(&id));
    web.and_then(|web| web.conf.clone()).unwrap_or_default()
}

/// A release is left while somebody edits a file that web has in another version: it is left alone, and no web is restarted
/// on a draft. Once the file is put back web reads it.
pub(super) async fn edited_while_left() -> Result<Host, String> {
    let host = good_twice_restarted().await?;
    drop(host.ask(ROLLBACK));
    write_until(&host, |host| {
        let record = host.record();
        matches!(record.standing, Standing::Quarantined(_)) && record.operation.is_none()
    })
    .await?;
    is_so(read_by_web(&host) == b"version 2 is good", "web has read a draft")?;
    until_web_has_the_first(&host).await?;
    Ok(host)
}

/// Since when the disk has another version than what runs is not known to an agent that was just started: whoever may have
/// read one reads again.
pub(super) async fn read_before_a_restart() -> Result<Host, String> {
    let mut host = good_twice_restarted().await?;
    drop(host.ask(ROLLBACK));
    until_left(&host).await?;
    let web = lock(&host.world).named("shop-web-1").ok_or("there is no web")?;
    {
        let mut world = lock(&host.world);
        world.write(CONF, "draft");
        world.exits(&web, 137);
    }
    let began = tokio::time::Instant::now();
    write_until(&host, |_| began.elapsed() > Duration::from_secs(20)).await?;
    is_so(read_by_web(&host) == b"draft", "web has not read the first draft")?;
    host.end_agent(true).await;
    host.start();
    until_web_has_the_first(&host).await?;
    Ok(host)
}

/// Whoever reads a file again by a signal goes on, also where the release is left for it.
pub(super) async fn signalled() -> Result<Host, String> {
    let mut world = World::new(3, Pace::Real);
    world.tracking = Tracking::Signal;
    let mut host = asked_v1_in(world);
    host.start();
    until_good(&host, "v1").await?;
    let web = |host: &Host| {
        let world = lock(&host.world);
        let web = world.named("shop-web-1").and_then(|id| world.containers.get(&id));
        let web = web.map(|web| (web.started, web.conf.clone().unwrap_or_default()));
        web.ok_or_else(|| String::from("there is no web"))
    };
    let (started, _) = web(&host)?;
    edit_conf(&host, 2);
    let good = text(&host, CONF);
    until(&host, "the edit is good", |host| {
        let record = host.record();
        record.operation.is_none() && record.good().count() == 2
    })
    .await?;
    is_so(
        web(&host)? == (started, good.clone().into_bytes()),
        "web has not read it",
    )?;
    edit_conf(&host, 3);
    until_left(&host).await?;
    is_so(text(&host, CONF) == good, "the file is not as it was")?;
    is_so(
        web(&host)? == (started, good.into_bytes()),
        "web was started anew, or has not read what is good",
    )?;
    Ok(host)
}

/// A version that a person has put back is what they ask for, also where it is what the agent has put there itself.
pub(super) async fn given() -> Result<Host, String> {
    let host = good_v1().await?;
    let good = Digest::of(text(&host, ENV).as_bytes());
    edit_env(&host, BAD);
    until_left(&host).await?;
    let answered = host.ask(ActKind::RestoreEnv).ok_or("nobody takes the order")?;
    let answered = answered.await.map_err(|error| error.to_string())?;
    answered.map_err(|refused| refused.why)?;
    until(&host, "it is what is asked for, and runs", |host| {
        let record = host.record();
        let asked = record.request.and_then(|request| request.env);
        record.operation.is_none()
            && asked.as_ref() == Some(&good)
            && matches!(record.standing, Standing::Applied(_))
    })
    .await?;
    is_so(
        Digest::of(text(&host, ENV).as_bytes()) == good,
        "the file is another one",
    )?;
    is_so(host.record().placed.is_empty(), "it counts as the agent's")?;
    // Edits count as before.
    edit_env(&host, 2);
    let edited = Digest::of(text(&host, ENV).as_bytes());
    until(&host, "the edit is good", |host| {
        let record = host.record();
        record.operation.is_none()
            && record
                .request
                .as_ref()
                .is_some_and(|r| r.env.as_ref() == Some(&edited))
            && record
                .current()
                .is_some_and(|g| g.verdict == state::release::Verdict::Good)
    })
    .await?;
    Ok(host)
}
