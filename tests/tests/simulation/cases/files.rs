//! The operator's files, told on purpose: what is put back, what stays, and what comes of it.

use std::path::Path;
use std::time::Duration;

use agent::shared::ActKind;
use state::name::Digest;
use state::record::Standing;

use super::{ROLLBACK, ask, give, good_v1, until, until_good};
use crate::edges::lock;
use crate::hand::{self, CONF, ENV};
use crate::story::{Host, SECRET};
use crate::world::Behaviour;

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
