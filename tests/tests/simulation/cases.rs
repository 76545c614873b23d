//! What came up once and must not come again: told on purpose, on the same host as the stories, where no dice
//! are thrown. Each case is asked for the laws as well.

mod files;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent::shared::ActKind;
use libtest_mimic::{Failed, Trial};
use state::journal::{Kind, OpenOperation, Progress};
use state::name::{ContainerId, ImageId};
use state::observed::ContainerState;
use state::record::Ask;
use state::release::{Generation, Verdict};
use state::step::{Step, Target};

use crate::edges::lock;
use crate::hand;
use crate::story::{Host, Pace, host};
use crate::world::{Behaviour, World};

pub(crate) const ROLLBACK: ActKind = ActKind::Rollback { schema_fits: false };

/// All of them.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        case("what_was_called_away_is_judged_only_at_its_end", called_away),
        case(
            "an_order_is_refused_while_an_operation_waits_for_the_ledger",
            refused,
        ),
        case("a_full_disk_stops_no_rollback_half_way", full_disk),
        case(
            "what_was_written_unanswered_in_an_ordered_rollback_is_read_again",
            unsure_rollback,
        ),
        case(
            "a_release_is_not_blamed_for_what_it_leaves_as_it_is",
            unwell_deploy,
        ),
        case(
            "what_is_started_again_as_it_was_is_not_blamed",
            ill_when_started_again,
        ),
        case("what_cannot_be_made_anew_has_not_died", without_its_image),
        case(
            "what_has_written_to_data_last_stays_until_it_is_asked_about",
            asked_about_data,
        ),
        case("what_waits_for_an_unhealthy_dependency_has_not_died", unwell_heal),
        case("what_somebody_paused_is_not_killed", paused),
        case("what_ended_while_nobody_looked_is_not_blamed", rebooted),
        case(
            "what_cannot_be_started_once_more_is_not_looked_at_for_ever",
            taken_port,
        ),
        case("a_bad_value_in_env_is_rolled_back_alone", files::bad_env),
        case("a_container_reads_its_configuration_again", files::bad_conf),
        case("a_pinned_env_is_put_back", files::pinned_env),
        case("what_somebody_writes_meanwhile_stays", files::meanwhile),
        case("retry_brings_the_files_with_it", files::retried),
        case("a_directory_comes_and_goes_with_its_release", files::directory),
        case("a_container_that_is_restarted_for_a_file_stays", files::restarted),
        case(
            "a_container_that_gets_a_signal_for_a_file_goes_on",
            files::signalled,
        ),
        case(
            "what_is_edited_while_it_is_left_is_read_once_it_is_put",
            files::edited_while_left,
        ),
        case(
            "what_was_read_before_a_restart_of_the_agent_is_not_known",
            files::read_before_a_restart,
        ),
        case("what_a_person_has_put_back_is_asked_for", files::given),
    ]
}

pub(crate) fn case<F: Future<Output = Result<Host, String>>>(
    name: &str,
    run: impl Fn() -> F + Send + 'static,
) -> Trial {
    Trial::test(name, move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()?;
        let host = runtime.block_on(run()).map_err(Failed::from)?;
        let broken = lock(&host.world).laws.broken.clone();
        if broken.is_empty() {
            Ok(())
        } else {
            Err(Failed::from(broken.join("\n")))
        }
    })
}

/// A host on which v1 is good.
async fn good_v1() -> Result<Host, String> {
    let mut host = asked_v1();
    host.start();
    until_good(&host, "v1").await?;
    Ok(host)
}

pub(crate) async fn until_good(host: &Host, tag: &str) -> Result<(), String> {
    until(host, &format!("{tag} is good"), |host| {
        let record = host.record();
        let good = |g: &Generation| {
            g.verdict == Verdict::Good && g.release.tag.as_ref().is_some_and(|of| of.to_string() == tag)
        };
        record.operation.is_none() && record.current().is_some_and(good)
    })
    .await
}

/// A host on which v1 is asked for.
fn asked_v1() -> Host {
    asked_v1_in(World::new(3, Pace::Real))
}

fn asked_v1_in(world: World) -> Host {
    let host = host(&Arc::new(Mutex::new(world)));
    for reference in ["sim/db:1", "sim/cache:1"] {
        image(&mut lock(&host.world), reference, Behaviour::Well);
    }
    give(&host, "v1", Behaviour::Well);
    host
}

/// The images of a release: its api behaves so.
fn give(host: &Host, tag: &str, api: Behaviour) {
    let mut world = lock(&host.world);
    image(&mut world, &format!("sim/api:{tag}"), api);
    image(&mut world, &format!("sim/web:{tag}"), Behaviour::Well);
}

pub(crate) fn image(world: &mut World, reference: &str, behaviour: Behaviour) {
    let id: ImageId = format!("sha256:{}", world.dice.hex(64)).parse().expect("an id");
    world.images.insert(id.clone(), behaviour);
    world.laws.behaviours.insert(id.clone(), behaviour);
    world.tags.insert(reference.to_owned(), id);
}

pub(crate) fn ask(host: &Host, tag: &str) {
    hand::ask(&mut lock(&host.world), tag);
    host.tell_files();
}

/// Waits, an hour at most.
pub(crate) async fn until(host: &Host, what: &str, is_so: impl Fn(&Host) -> bool) -> Result<(), String> {
    let end = host.clocks.elapsed() + Duration::from_secs(3600);
    while !is_so(host) {
        if host.clocks.elapsed() > end {
            let record = host.record();
            let trace = lock(&host.world).trace.clone();
            let last = trace.len().saturating_sub(40);
            return Err(format!(
                "not within an hour: {what}; {:?}\n{}",
                record.hold,
                trace[last..].join("\n")
            ));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// Waits until an operation of this kind has come so far.
pub(crate) async fn until_under_way(host: &Host, kind: Kind, events: usize) -> Result<(), String> {
    let far = |open: &OpenOperation| open.operation.kind == kind && open.events.len() >= events;
    until(host, &format!("a {kind} is under way"), |host| {
        host.record().operation.as_ref().is_some_and(far)
    })
    .await
}

pub(crate) fn ensure(is_so: bool, words: impl FnOnce() -> String) -> Result<(), String> {
    if is_so { Ok(()) } else { Err(words()) }
}

/// Until the new containers of an operation are watched.
async fn until_watched(host: &Host) -> Result<(), String> {
    until(host, "the new containers are watched", |host| {
        let record = host.record();
        record.operation.as_ref().is_some_and(is_watching)
    })
    .await
}

/// The host goes down while the new containers of a deploy are watched, and with it their processes.
async fn rebooted() -> Result<Host, String> {
    let mut host = good_v1().await?;
    give(&host, "v2", Behaviour::Well);
    ask(&host, "v2");
    until_watched(&host).await?;
    lock(&host.world).restart_engine(Duration::from_secs(30));
    host.clocks.reboot();
    host.end_agent(false).await;
    host.start();
    until_good(&host, "v2").await?;
    let record = host.record();
    ensure(record.quarantine.is_empty(), || {
        format!("{:#?}", record.quarantine)
    })?;
    Ok(host)
}

/// The engine is restarted in the middle of a deploy, and somebody else has the port of web by then.
async fn taken_port() -> Result<Host, String> {
    let host = good_v1().await?;
    give(&host, "v2", Behaviour::Well);
    ask(&host, "v2");
    until_watched(&host).await?;
    {
        let mut world = lock(&host.world);
        world.restart_engine(Duration::from_secs(30));
        hand::take_port(&mut world, 8080);
    }
    until(&host, "the deploy comes to an end", |host| {
        host.record().operation.is_none()
    })
    .await?;
    let record = host.record();
    ensure(record.quarantine.is_empty(), || {
        format!("{:#?}", record.quarantine)
    })?;
    Ok(host)
}

fn is_watching(open: &OpenOperation) -> bool {
    let Progress::InFlight { index, .. } = open.progress else {
        return false;
    };
    matches!(open.operation.plan.steps[index], Step::Watch { .. })
}

/// A rollback that was ordered during a deploy, and a stop before that has ended.
async fn called_away() -> Result<Host, String> {
    let mut host = good_v1().await?;
    give(&host, "v2", Behaviour::Well);
    ask(&host, "v2");
    until_under_way(&host, Kind::Deploy, 9).await?;
    lock(&host.world).away_until = host.clocks.elapsed() + Duration::from_secs(60);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut answer = host.ask(ROLLBACK).ok_or("nobody takes the order")?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    ensure(answer.try_recv().is_err(), || {
        String::from("it was answered before it began")
    })?;
    host.end_agent(true).await;
    let record = host.record();
    ensure(record.operation.is_some() && record.quarantine.is_empty(), || {
        format!("judged while the journal is open: {:?}", record.quarantine)
    })?;
    tokio::time::sleep(Duration::from_secs(60)).await;
    host.start();
    until(&host, "the deploy comes to an end", |host| {
        host.record().operation.is_none()
    })
    .await?;
    Ok(host)
}

/// A rollback that is ordered while a deploy waits for the ledger: nothing is committed for it.
async fn refused() -> Result<Host, String> {
    let host = good_v1().await?;
    give(&host, "v2", Behaviour::Well);
    ask(&host, "v2");
    until_under_way(&host, Kind::Deploy, 9).await?;
    {
        let mut world = lock(&host.world);
        world.faults.full = 1000;
        world.reserve_is_used = true;
    }
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let answer = host.ask(ROLLBACK).ok_or("nobody takes the order")?;
    let answer = answer.await.map_err(|error| error.to_string())?;
    ensure(answer.as_ref().is_err_and(|refused| refused.code == 5), || {
        format!("{answer:?}")
    })?;
    lock(&host.world).faults.full = 0;
    until_good(&host, "v2").await?;
    Ok(host)
}

/// In a rollback that a person has ordered, what is written fails, and is durable all the same.
async fn unsure_rollback() -> Result<Host, String> {
    let host = good_v1().await?;
    give(&host, "v2", Behaviour::Well);
    ask(&host, "v2");
    until_good(&host, "v2").await?;
    let answer = host.ask(ROLLBACK).ok_or("nobody takes the order")?;
    until_under_way(&host, Kind::Rollback, 3).await?;
    lock(&host.world).unsure_at = Some("write done");
    until_good(&host, "v1").await?;
    let answer = answer.await.map_err(|error| error.to_string())?;
    ensure(answer.is_ok(), || format!("{answer:?}"))?;
    Ok(host)
}

/// The disk is full once a rollback has stopped what ran.
async fn full_disk() -> Result<Host, String> {
    let host = good_v1().await?;
    give(&host, "v2", Behaviour::Broken);
    ask(&host, "v2");
    until_under_way(&host, Kind::Rollback, 11).await?;
    lock(&host.world).faults.full = 1000;
    tokio::time::sleep(Duration::from_secs(120)).await;
    let record = host.record();
    ensure(record.operation.is_none(), || {
        format!(
            "two minutes later it is still open: {:?}",
            record.operation.map(|o| o.progress)
        )
    })?;
    ensure(lock(&host.world).answer(&host.stack, "web").is_ok(), || {
        String::from("the site is down")
    })?;
    Ok(host)
}

/// A deploy of api while db, which stays as it is, is unhealthy for a while.
async fn unwell_deploy() -> Result<Host, String> {
    let host = good_v1().await?;
    give(&host, "v2", Behaviour::Well);
    lock(&host.world).sick_until = Duration::MAX;
    ask(&host, "v2");
    tokio::time::sleep(Duration::from_secs(60)).await;
    nothing_is_blamed(&host)?;
    lock(&host.world).sick_until = Duration::ZERO;
    until_good(&host, "v2").await?;
    Ok(host)
}

/// A deploy of api that finds db ended, and starts it again as it was; and db is unhealthy for a while.
async fn ill_when_started_again() -> Result<Host, String> {
    let host = good_v1().await?;
    give(&host, "v2", Behaviour::Well);
    ask(&host, "v2");
    tokio::time::sleep(Duration::from_millis(4500)).await;
    {
        let mut world = lock(&host.world);
        world.sick_until = Duration::MAX;
        let db = world.named("shop-db-1").ok_or("there is no db")?;
        world.stop(&db, 1);
    }
    until(&host, "a deploy starts db again", |host| {
        let starts = |step: &Step| matches!(step, Step::Start { service, target: Target::Existing(_), .. } if service.as_str() == "db");
        let record = host.record();
        record.operation.is_some_and(|open| {
            open.operation.kind == Kind::Deploy && open.operation.plan.steps.iter().any(starts)
        })
    })
    .await?;
    tokio::time::sleep(Duration::from_secs(60)).await;
    nothing_is_blamed(&host)?;
    lock(&host.world).sick_until = Duration::ZERO;
    until_good(&host, "v2").await?;
    Ok(host)
}

/// Somebody has made cache of another image while v2 is on trial, and the image that it should be of is gone.
async fn without_its_image() -> Result<Host, String> {
    let host = good_v1().await?;
    give(&host, "v2", Behaviour::Well);
    ask(&host, "v2");
    until(&host, "v2 is on trial", |host| {
        let record = host.record();
        record.operation.is_none() && record.current().is_some_and(|g| g.verdict == Verdict::Trial)
    })
    .await?;
    {
        let mut world = lock(&host.world);
        let ours = world.tags["sim/cache:1"].clone();
        image(&mut world, "sim/cache:2", Behaviour::Well);
        let theirs = world.tags["sim/cache:2"].clone();
        world.images.remove(&ours);
        let cache = world.named("shop-cache-1").ok_or("there is no cache")?;
        world.containers.get_mut(&cache).ok_or("no such container")?.image = theirs;
    }
    host.tell_files();
    tokio::time::sleep(Duration::from_secs(240)).await;
    nothing_is_blamed(&host)?;
    until_good(&host, "v2").await?;
    Ok(host)
}

/// A rollback that a person has ordered stops half-way, once db has its old image again; then another release is asked
/// for, which has the new one.
async fn asked_about_data() -> Result<Host, String> {
    let host = good_v1().await?;
    image(&mut lock(&host.world), "sim/db:1", Behaviour::Well);
    give(&host, "v2", Behaviour::Well);
    ask(&host, "v2");
    until(&host, "v2 asks", is_asking).await?;
    let granted = host.ask(ActKind::Approve).ok_or("nobody takes the answer")?;
    granted
        .await
        .map_err(|error| error.to_string())?
        .map_err(|r| format!("{r:?}"))?;
    until_good(&host, "v2").await?;
    drop(host.ask(ROLLBACK));
    until(&host, "db has its old image", |host| {
        let record = host.record();
        record.operation.is_some_and(|open| {
            let Progress::InFlight { index, .. } = open.progress else { return false };
            matches!(&open.operation.plan.steps[index], Step::Await { service, .. } if service.as_str() == "db")
        })
    })
    .await?;
    {
        let mut world = lock(&host.world);
        let api = world.named("shop-api-1.new-3").ok_or("there is no new api")?;
        world.containers.remove(&api);
    }
    until(&host, "it has stopped half-way", |host| {
        host.record().hold.is_some()
    })
    .await?;
    let writer = db_that_runs(&host).ok_or("db does not run")?;
    give(&host, "v3", Behaviour::Well);
    ask(&host, "v3");
    until(&host, "v3 asks", is_asking).await?;
    tokio::time::sleep(Duration::from_secs(300)).await;
    ensure(db_that_runs(&host).as_ref() == Some(&writer), || {
        String::from("what has written last is gone, and nobody was asked")
    })?;
    let granted = host.ask(ActKind::Approve).ok_or("nobody takes the answer")?;
    granted
        .await
        .map_err(|error| error.to_string())?
        .map_err(|r| format!("{r:?}"))?;
    until_good(&host, "v3").await?;
    Ok(host)
}

fn is_asking(host: &Host) -> bool {
    let asked = host.record().approval;
    asked.is_some_and(|asked| asked.ask == Ask::DataChange && asked.answer.is_none())
}

fn db_that_runs(host: &Host) -> Option<ContainerId> {
    let world = lock(&host.world);
    let mut all = world.containers.iter();
    all.find(|(_, c)| c.service.as_str() == "db" && c.runs())
        .map(|(id, _)| id.clone())
}

/// api dies in its trial while db is unhealthy for a while.
async fn unwell_heal() -> Result<Host, String> {
    let host = good_v1().await?;
    give(&host, "v2", Behaviour::Well);
    ask(&host, "v2");
    tokio::time::sleep(Duration::from_secs(60)).await;
    {
        let mut world = lock(&host.world);
        world.sick_until = Duration::MAX;
        let api = world.named("shop-api-1").ok_or("there is no api")?;
        world.stop(&api, 1);
    }
    host.tell_files();
    tokio::time::sleep(Duration::from_secs(120)).await;
    nothing_is_blamed(&host)?;
    lock(&host.world).sick_until = Duration::ZERO;
    until_good(&host, "v2").await?;
    Ok(host)
}

fn nothing_is_blamed(host: &Host) -> Result<(), String> {
    let record = host.record();
    ensure(record.quarantine.is_empty() && record.hold.is_none(), || {
        format!("{:?}, {:?}", record.quarantine, record.hold)
    })
}

/// `docker pause` of the database, for less than a minute and for good.
async fn paused() -> Result<Host, String> {
    let host = good_v1().await?;
    let (db, before) = {
        let mut world = lock(&host.world);
        let db = world.named("shop-db-1").ok_or("there is no db")?;
        world.containers.get_mut(&db).ok_or("no such container")?.state = ContainerState::Paused;
        (db, world.changes)
    };
    host.tell_files();
    tokio::time::sleep(Duration::from_secs(50)).await;
    ensure(lock(&host.world).changes == before, || {
        String::from("it was touched within a minute")
    })?;
    until(&host, "it goes on", |host| {
        lock(&host.world).containers[&db].runs()
    })
    .await?;
    let trace = lock(&host.world).trace.clone();
    let stopped = format!("  stop {}", db.short());
    ensure(!trace.iter().any(|line| line.contains(&stopped)), || {
        String::from("it was stopped")
    })?;
    Ok(host)
}
