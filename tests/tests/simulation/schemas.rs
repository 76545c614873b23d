//! Told stories of a schema that moves, on the same host as the drawn ones: what a person is asked for the second time, what
//! becomes of rows that are kept, what nothing takes back, and a lock that somebody holds.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent::shared::ActKind;
use libtest_mimic::Trial;
use state::journal::Event;
use state::last_resort::RestoreBackup;
use state::name::ImageId;
use state::record::{Approval, Ask};
use state::release::Verdict;
use state::step::Step;
use state::taken_back::TakenBack;

use crate::cases::{ROLLBACK, ask, case, ensure, image, until, until_good};
use crate::database::{Data, Fate, Scripts, Stays, at, manual};
use crate::edges::lock;
use crate::story::{Host, Pace, host};
use crate::world::{Behaviour, World};

/// All of them.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        case("who_has_agreed_to_little_is_asked_again_about_much", asked_again),
        case("rows_that_are_dropped_are_not_put_back", dropped),
        case(
            "rows_are_put_back_where_a_person_has_made_a_place",
            put_in_by_hand,
        ),
        case(
            "what_nothing_takes_back_is_asked_about_and_tried_by_nobody",
            one_way,
        ),
        case(
            "what_nothing_takes_back_and_no_backup_has_is_left_as_it_is",
            one_way_without_a_backup,
        ),
        case(
            "a_rollback_by_hand_over_what_nothing_takes_back_asks_too",
            one_way_by_hand,
        ),
        case(
            "a_backup_is_gone_back_to_at_once_where_that_is_allowed",
            one_way_allowed,
        ),
        case("what_is_declared_to_fit_stays_and_costs_no_copy", stays),
        case("what_goes_leaves_what_is_declared_below_it", stays_below),
        case("who_is_to_be_asked_before_a_schema_goes_is_asked", asked_first),
        case("a_lock_that_somebody_holds_costs_no_second_backup", locked),
        case(
            "a_lock_in_the_middle_of_several_revisions_is_waited_out",
            locked_halfway,
        ),
        case("a_lock_that_stays_in_the_middle_is_told_as_one", locked_for_long),
        case("what_a_migration_has_left_unseen_is_looked_for", gone_halfway),
    ]
}

/// A host on which v1 is good, with the first revision.
async fn begun(change: impl FnOnce(&mut Data)) -> Result<Host, String> {
    let mut world = World::new(3, Pace::Real);
    world.traced = true;
    world.data.migrates = true;
    change(&mut world.data);
    let mut host = host(&Arc::new(Mutex::new(world)));
    for reference in ["sim/db:1", "sim/cache:1"] {
        image(&mut lock(&host.world), reference, Behaviour::Well);
    }
    give(&host, "v1", Behaviour::Well, (1, Fate::Well, Fate::Well));
    host.start();
    until_good(&host, "v1").await?;
    Ok(host)
}

/// The images of a release: its api behaves so, and has so many revisions.
fn give(host: &Host, tag: &str, api: Behaviour, (newest, up, down): (u64, Fate, Fate)) {
    let mut world = lock(&host.world);
    image(&mut world, &format!("sim/api:{tag}"), api);
    image(&mut world, &format!("sim/web:{tag}"), Behaviour::Well);
    let id: ImageId = world.tags[&format!("sim/api:{tag}")].clone();
    world.data.scripts.insert(id, Scripts { newest, up, down });
}

async fn answered(host: &Host, act: ActKind) -> Result<Result<String, (String, u8)>, String> {
    let answer = host.ask(act).ok_or("nobody takes the order")?;
    let answer = answer.await.map_err(|error| error.to_string())?;
    Ok(answer
        .map(|accepted| accepted.will)
        .map_err(|refused| (refused.why, refused.code)))
}

/// The question whether a backup is gone back to, where it waits for an answer, and how many rows are at stake.
fn question(host: &Host) -> Option<(Approval, u64)> {
    let asked = host.record().approval.filter(|asked| asked.answer.is_none())?;
    match asked.ask {
        Ask::RestoreBackup { rows, .. } => Some((asked, rows)),
        _ => None,
    }
}

fn runs(host: &Host, tag: &str) -> bool {
    let record = host.record();
    let of = record.current().and_then(|current| current.release.tag.clone());
    of.is_some_and(|of| of.to_string() == tag)
}

/// Whether the tool was asked to take anything back.
fn went_down(host: &Host) -> bool {
    let trace = lock(&host.world).trace.clone();
    trace
        .iter()
        .any(|line| line.contains("CloseDatabase") || line.contains("bar the database"))
}

/// Until this release runs, for good or not.
async fn until_runs(host: &Host, tag: &str) -> Result<(), String> {
    until(host, &format!("{tag} runs"), |host| {
        runs(host, tag) && host.record().operation.is_none()
    })
    .await
}

fn is_left(host: &Host) -> bool {
    let record = host.record();
    record
        .current()
        .is_some_and(|current| current.verdict == Verdict::Bad)
}

async fn asked_again() -> Result<Host, String> {
    let host = begun(|_| {}).await?;
    give(&host, "v2", Behaviour::Broken, (2, Fate::Well, Fate::Fails));
    ask(&host, "v2");
    until(&host, "it is asked", |host| question(host).is_some()).await?;
    let (_, rows) = question(&host).ok_or("no question")?;
    // As long as it takes until twice as many, and a hundred, are at stake.
    tokio::time::sleep(Duration::from_secs(rows + 200)).await;
    answered(&host, ActKind::Approve)
        .await?
        .map_err(|refused| format!("{refused:?}"))?;
    until(&host, "it is asked again", |host| {
        question(host).is_some_and(|(_, more)| more > rows * 2)
    })
    .await?;
    ensure(runs(&host, "v2") && host.record().hold.is_some(), || {
        String::from("it was begun on what was agreed to before")
    })?;
    answered(&host, ActKind::Approve)
        .await?
        .map_err(|refused| format!("{refused:?}"))?;
    until(&host, "v1 is back", |host| runs(host, "v1")).await?;
    Ok(host)
}

/// v2 has brought a column, which was written to, and is left; what was in the column is kept.
async fn taken_back() -> Result<(Host, u64), String> {
    let host = begun(|_| {}).await?;
    give(&host, "v2", Behaviour::Broken, (2, Fate::Well, Fate::Well));
    ask(&host, "v2");
    let is_kept = |taken: &TakenBack| taken.saved.as_ref().is_some_and(|saved| saved.rows > 0);
    until(&host, "what was in it is kept", |host| {
        let record = host.record();
        record.operation.is_none() && record.taken_back.values().any(is_kept)
    })
    .await?;
    until_good(&host, "v1").await?;
    let of = host.record().taken_back.keys().next().copied();
    Ok((host, of.ok_or("nothing was taken back")?))
}

async fn dropped() -> Result<Host, String> {
    let (host, of) = taken_back().await?;
    answered(&host, ActKind::DropRows { of })
        .await?
        .map_err(|refused| format!("{refused:?}"))?;
    ensure(lock(&host.world).data.kept_rows.is_empty(), || {
        String::from("what was dropped is still kept")
    })?;
    let again = answered(&host, ActKind::DropRows { of }).await?;
    ensure(again.is_err_and(|(_, code)| code == 5), || {
        String::from("it is dropped twice")
    })?;
    give(&host, "v3", Behaviour::Well, (2, Fate::Well, Fate::Well));
    ask(&host, "v3");
    until_good(&host, "v3").await?;
    let taken = host.record().taken_back[&of].clone();
    let put_in = taken.put_in.ok_or("nothing is said of it")?;
    ensure(put_in.dropped && put_in.restored == 0, || format!("{put_in:?}"))?;
    Ok(host)
}

async fn put_in_by_hand() -> Result<Host, String> {
    let (host, of) = taken_back().await?;
    let value = lock(&host.world).data.kept_rows[&of][&2];
    // There is no place for it yet.
    answered(&host, ActKind::PutIn { of })
        .await?
        .map_err(|refused| format!("{refused:?}"))?;
    until(&host, "it was looked", |host| host.record().operation.is_none()).await?;
    ensure(host.record().taken_back[&of].waits(), || {
        String::from("it does not wait for its place")
    })?;
    {
        let mut world = lock(&host.world);
        world.laws.migrated = Some(world.now);
        world.schema = at(2);
        world.settle_cells();
    }
    answered(&host, ActKind::PutIn { of })
        .await?
        .map_err(|refused| format!("{refused:?}"))?;
    until(&host, "it is put back", |host| {
        let record = host.record();
        record.operation.is_none() && !record.taken_back[&of].waits()
    })
    .await?;
    let is = lock(&host.world).data.cells.get(&2).copied();
    ensure(is == Some(value), || format!("{is:?} instead of {value}"))?;
    Ok(host)
}

/// v2 brings what nothing takes back, and fails.
async fn left_one_way(restores: RestoreBackup) -> Result<Host, String> {
    let host = begun(|data| {
        data.one_way = true;
        data.restores = restores;
    })
    .await?;
    give(&host, "v2", Behaviour::Broken, (3, Fate::Well, Fate::Well));
    ask(&host, "v2");
    until_runs(&host, "v2").await?;
    Ok(host)
}

async fn one_way() -> Result<Host, String> {
    let host = left_one_way(RestoreBackup::Ask).await?;
    until(&host, "it is asked", |host| question(host).is_some()).await?;
    ensure(runs(&host, "v2") && is_left(&host) && !went_down(&host), || {
        String::from("somebody was stopped for it")
    })?;
    answered(&host, ActKind::Approve)
        .await?
        .map_err(|refused| format!("{refused:?}"))?;
    until_runs(&host, "v1").await?;
    let stands = lock(&host.world).schema.clone();
    ensure(stands == at(1), || format!("the schema stands at {stands:?}"))?;
    Ok(host)
}

async fn one_way_without_a_backup() -> Result<Host, String> {
    let host = left_one_way(RestoreBackup::Ask).await?;
    lock(&host.world).data.backups.clear();
    until(&host, "it is held", |host| host.record().hold.is_some()).await?;
    let hold = host.record().hold.ok_or("no hold")?;
    ensure(
        hold.why.contains("r3 cannot be taken back") && hold.why.contains("no proven backup"),
        || hold.why.clone(),
    )?;
    ensure(!is_left(&host) && question(&host).is_none(), || {
        String::from("it is left for nothing")
    })?;
    Ok(host)
}

async fn one_way_by_hand() -> Result<Host, String> {
    let host = begun(|data| data.one_way = true).await?;
    give(&host, "v2", Behaviour::Well, (3, Fate::Well, Fate::Well));
    ask(&host, "v2");
    until_good(&host, "v2").await?;
    let refused = answered(&host, ROLLBACK).await?;
    ensure(
        refused
            .as_ref()
            .is_err_and(|(why, code)| *code == 4 && why.contains("r3 cannot be taken back")),
        || format!("{refused:?}"),
    )?;
    ensure(question(&host).is_some() && !went_down(&host), || {
        String::from("nobody is asked")
    })?;
    // Whoever does not want it gets the release back that was left.
    answered(&host, ActKind::Deny)
        .await?
        .map_err(|refused| format!("{refused:?}"))?;
    answered(&host, ActKind::Retry)
        .await?
        .map_err(|refused| format!("{refused:?}"))?;
    until_good(&host, "v2").await?;
    Ok(host)
}

async fn one_way_allowed() -> Result<Host, String> {
    let host = left_one_way(RestoreBackup::Allow).await?;
    until_runs(&host, "v1").await?;
    Ok(host)
}

/// A release that brings so many revisions fails, where these may stay.
async fn left_staying(stays: Stays, newest: u64) -> Result<Host, String> {
    let host = begun(|data| data.stays = stays).await?;
    give(&host, "v2", Behaviour::Broken, (newest, Fate::Well, Fate::Well));
    ask(&host, "v2");
    until_runs(&host, "v2").await?;
    Ok(host)
}

async fn stays() -> Result<Host, String> {
    let host = left_staying(Stays::All, 3).await?;
    until_runs(&host, "v1").await?;
    let record = host.record();
    let schema = record.current().and_then(|current| current.schema.clone());
    ensure(schema == Some(at(3)) && record.hold.is_none(), || {
        format!("{schema:?}, {:?}", record.hold)
    })?;
    let (beside, schema) = {
        let world = lock(&host.world);
        (world.data.beside.len(), world.schema.clone())
    };
    ensure(beside == 0 && schema == at(3), || {
        format!("{beside} copies, {schema:?}")
    })?;
    // The next release finds it as it is.
    give(&host, "v3", Behaviour::Well, (3, Fate::Well, Fate::Well));
    ask(&host, "v3");
    until_good(&host, "v3").await?;
    Ok(host)
}

async fn stays_below() -> Result<Host, String> {
    // The third may stay and the fourth may not; the second may not, and takes all above it along.
    let host = begun(|data| {
        data.stays = Stays::Odd;
        data.manual = manual(3, Stays::Odd);
    })
    .await?;
    give(&host, "v2", Behaviour::Well, (2, Fate::Well, Fate::Well));
    ask(&host, "v2");
    until_good(&host, "v2").await?;
    give(&host, "v3", Behaviour::Broken, (4, Fate::Well, Fate::Well));
    ask(&host, "v3");
    until_runs(&host, "v3").await?;
    until_runs(&host, "v2").await?;
    let record = host.record();
    let schema = record.current().and_then(|current| current.schema.clone());
    let stands = lock(&host.world).schema.clone();
    ensure(schema == Some(at(3)) && stands == at(3), || {
        format!("{schema:?}, {stands:?}")
    })?;
    Ok(host)
}

async fn asked_first() -> Result<Host, String> {
    let host = left_staying(Stays::Asks, 2).await?;
    let asks = |host: &Host| {
        let asked = host.record().approval;
        asked.is_some_and(|asked| matches!(asked.ask, Ask::Rollback { .. }) && asked.answer.is_none())
    };
    until(&host, "it is asked", asks).await?;
    tokio::time::sleep(Duration::from_secs(900)).await;
    ensure(runs(&host, "v2") && !went_down(&host), || {
        String::from("it is gone back, and nobody has agreed")
    })?;
    answered(&host, ActKind::Approve)
        .await?
        .map_err(|refused| format!("{refused:?}"))?;
    until_runs(&host, "v1").await?;
    Ok(host)
}

/// How many backups of the database itself there are.
fn backups(host: &Host) -> usize {
    lock(&host.world).data.backups.len()
}

fn is_migrating(host: &Host) -> bool {
    let record = host.record();
    record.operation.is_some_and(|open| {
        let migrates = |at: &usize| matches!(open.operation.plan.steps.get(*at), Some(Step::Migrate { .. }));
        let last = open.events.last().map(|entry| &entry.event);
        matches!(last, Some(Event::Started { index }) if migrates(index))
    })
}

/// v2 is asked for, and somebody holds a lock from when its migration begins.
async fn held_up(seconds: u64, newest: u64, halfway: bool) -> Result<Host, String> {
    let host = begun(|_| {}).await?;
    give(&host, "v2", Behaviour::Well, (newest, Fate::Well, Fate::Well));
    ask(&host, "v2");
    until(&host, "it migrates", is_migrating).await?;
    {
        let mut world = lock(&host.world);
        world.data.locked_until = host.clocks.elapsed() + Duration::from_secs(seconds);
        world.data.locked_halfway = halfway;
    }
    Ok(host)
}

async fn locked() -> Result<Host, String> {
    let host = held_up(60, 2, false).await?;
    let before = backups(&host);
    until_good(&host, "v2").await?;
    ensure(backups(&host) == before, || {
        String::from("another backup was made for each try")
    })?;
    Ok(host)
}

async fn locked_halfway() -> Result<Host, String> {
    let host = held_up(40, 4, true).await?;
    until_good(&host, "v2").await?;
    let record = host.record();
    ensure(record.quarantine.is_empty(), || {
        format!("{:?}", record.quarantine)
    })?;
    Ok(host)
}

async fn locked_for_long() -> Result<Host, String> {
    let host = held_up(400, 4, true).await?;
    until(&host, "v1 is back", |host| {
        let record = host.record();
        runs(host, "v1") && record.operation.is_none() && !record.quarantine.is_empty()
    })
    .await?;
    let why = host.record().quarantine[0].why.clone();
    ensure(why.contains("somebody holds a lock"), || why.clone())?;
    Ok(host)
}

/// The database goes away between two revisions, and stays away until the deploy is taken back.
async fn gone_halfway() -> Result<Host, String> {
    let host = held_up(400, 4, true).await?;
    until(&host, "the first revision is there", |host| {
        lock(&host.world).schema == at(2)
    })
    .await?;
    {
        let mut world = lock(&host.world);
        let db = world.named("shop-db-1").ok_or("there is no db")?;
        world.stop(&db, 0);
        world.data.locked_until = Duration::ZERO;
    }
    until(&host, "it is held", |host| {
        let record = host.record();
        record.hold.is_some() && record.operation.is_none()
    })
    .await?;
    let record = host.record();
    let why = record
        .hold
        .as_ref()
        .map(|hold| hold.why.clone())
        .unwrap_or_default();
    ensure(
        why.contains("the schema stands at r2, and stood at r1 before"),
        || why.clone(),
    )?;
    ensure(
        runs(&host, "v1") && record.unseen.is_none() && record.quarantine.is_empty(),
        || format!("{:?}, {:?}", record.unseen, record.quarantine),
    )?;
    answered(&host, ActKind::Retry)
        .await?
        .map_err(|refused| format!("{refused:?}"))?;
    until_good(&host, "v2").await?;
    Ok(host)
}
