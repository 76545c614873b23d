//! A release turns bad and is taken back; what is said of it; and what stays as it is.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use agent::view::State;
use anyhow::{Context as _, Result, ensure};
use steadfast_tests::lab::{Engine, Lab, TRIAL, runs};

use super::{Scenario, everywhere, once};

pub(super) const ALL: &[Scenario] = &[
    everywhere("good_then_bad_then_another_bad", good_then_bad_then_another_bad),
    everywhere("the_window_survives_kill_9", the_window_survives_kill_9),
    once("a_restored_release_that_fails_too_is_held", restored_and_failing),
    once("what_a_person_can_order", what_a_person_can_order),
    once("the_budget_of_a_request_runs_out", budget),
];

/// What the one container says that it is.
pub(super) fn version(lab: &Lab) -> Result<String> {
    lab.engine.exec(&lab.container("web")?.id, &["/tiny", "version"])
}

fn good_then_bad_then_another_bad(engine: &Engine) -> Result<()> {
    let lab = Lab::web(engine, "story", "v1")?;
    lab.start()?;
    lab.until_runs("v1", "good")?;
    lab.ask("v2")?;
    let good = lab.until_runs("v2", "good")?;
    ensure!(good.as_asked && good.state == State::Steady, "{good:#?}");
    ensure!(lab.run(&["status", &lab.name, "--exit-code"])?.code == 0);

    lab.ask("bad")?;
    let asked = lab.asked()?;
    let back = lab.until("the bad release is taken back", |s| s.state == State::RolledBack)?;
    ensure!(runs(&back, "v2", "good") && !back.as_asked, "{back:#?}");
    ensure!(version(&lab)? == "v2");
    ensure!(back.asked.as_ref().is_some_and(|a| a.tag == "bad"), "{back:#?}");
    let gap = back.gap.clone().context("no reason is given")?;
    ensure!(gap.tag.as_deref() == Some("bad") && gap.ran, "{gap:#?}");
    ensure!(gap.why.contains("500"), "not the probe's words: {}", gap.why);
    ensure!(lab.asked()? == asked, "desired.toml was changed");
    let said = lab.run(&["status", &lab.name, "--exit-code"])?;
    ensure!(said.code == 6, "{said:?}");
    for word in ["bad", "v2", "retry", "500"] {
        ensure!(said.out.contains(word), "{word} is not said:\n{}", said.out);
    }

    unrelated_edit(&lab)?;
    another_bad(&lab)?;
    is_told_what_waits(&lab)?;

    let said = lab.run(&["pin", &lab.name, "v3", "--wait"])?;
    ensure!(said.code == 0, "{said:?}");
    ensure!(
        lab.asked()?.starts_with("# asked for by a person"),
        "pin lost a comment"
    );
    ensure!(version(&lab)? == "v3");
    lab.end()
}

/// An edit of what is not to blame does not bring the bad release back.
fn unrelated_edit(lab: &Lab) -> Result<()> {
    let before = lab.container("web")?;
    let env = |s: &agent::view::Status| s.asked.as_ref().and_then(|a| a.env_id.clone());
    let old = lab.until("an answer", |_| true)?;
    lab.write("stack/.env", "LOG_LEVEL=debug\n")?;
    let new = lab.until("the edit is a request", |s| env(s) != env(&old))?;
    let later = lab.until("it was answered", |s| {
        s.version > new.version + 8 && s.operation.is_none() && s.state == State::RolledBack
    })?;
    ensure!(later.gap.is_some_and(|gap| gap.tag.as_deref() == Some("bad")));
    ensure!(lab.container("web")? == before, "the container was touched");
    Ok(())
}

/// Back to the good one again, never to the first bad one.
fn another_bad(lab: &Lab) -> Result<()> {
    let before = lab.container("web")?;
    lab.ask("crash")?;
    let back = lab.until("the crashing release is taken back", |s| {
        s.operation.is_none()
            && s.gap
                .as_ref()
                .is_some_and(|gap| gap.tag.as_deref() == Some("crash"))
    })?;
    ensure!(runs(&back, "v2", "good"), "{back:#?}");
    ensure!(
        lab.container("web")?.id == before.id,
        "not the old container again"
    );
    ensure!(version(lab)? == "v2");
    ensure!(back.gap.is_some_and(|gap| !gap.ran));
    let said = lab.run(&["status", &lab.name, "--exit-code"])?;
    ensure!(said.code == 1, "{said:?}");
    Ok(())
}

/// Whoever pins what is in quarantine is told, without waiting for it, and also where nothing is begun for now.
fn is_told_what_waits(lab: &Lab) -> Result<()> {
    let said = lab.on_terminal(&["pin", &lab.name, "bad"], (80, 24))?.end(0)?;
    ensure!(said.contains("in quarantine"), "{said:?}");
    let words = ["pause", &lab.name, "--for", "5m", "--reason", "looking", "--yes"];
    ensure!(lab.run(&words)?.code == 0);
    let said = lab.on_terminal(&["pin", &lab.name, "crash"], (80, 24))?.end(0)?;
    ensure!(said.contains("paused"), "{said:?}");
    let words = "is in quarantine since generation";
    lab.until("what keeps it after the pause is known", |s| {
        s.state == State::Paused && s.waits.iter().any(|wait| wait.contains(words))
    })?;
    let said = lab.run(&["plan", &lab.name])?;
    ensure!(said.answers("retry") && said.answers("quarantine"), "{said:?}");
    ensure!(lab.run(&["resume", &lab.name, "--yes"])?.code == 0);
    Ok(())
}

fn the_window_survives_kill_9(engine: &Engine) -> Result<()> {
    const WINDOW: Duration = Duration::from_secs(4);
    let lab = Lab::web(engine, "window", "v1")?;
    lab.settings(&format!(
        "[stack.NAME.trial]\nwindow = \"4s\"\ngood_after = \"1s\"\n{}",
        steadfast_tests::lab::WEB_PROBE
    ))?;
    lab.start()?;
    lab.until_runs("v1", "good")?;
    lab.ask("bad")?;
    lab.until("the window has begun", |s| {
        s.failing.is_some() && runs(s, "bad", "trial")
    })?;
    // Not all of what was observed before may be durable; never less than all of the rest is asked for.
    let observed_from = Instant::now();
    lab.until("some of it has passed", |s| {
        s.failing.as_ref().is_some_and(|f| f.seconds >= 1)
    })?;
    lab.kill()?;
    let before = observed_from.elapsed() + Duration::from_secs(1);
    // Time in which nobody looks counts for nothing, however much there is of it.
    std::thread::sleep(WINDOW + Duration::from_secs(1));
    let started = Instant::now();
    lab.start()?;
    let seen = lab.until("it counts on", |s| {
        s.failing.is_some() || s.state == State::RolledBack
    })?;
    ensure!(
        runs(&seen, "bad", "trial"),
        "taken back without being looked at: {seen:#?}"
    );
    let back = lab.until("it is taken back", |s| s.state == State::RolledBack)?;
    let after = started.elapsed();
    ensure!(
        before + after >= WINDOW,
        "after {before:?} and {after:?}, earlier than {WINDOW:?}"
    );
    ensure!(runs(&back, "v1", "good"), "{back:#?}");
    lab.end()
}

fn restored_and_failing(engine: &Engine) -> Result<()> {
    let outside = TcpListener::bind(("127.0.0.1", 0))?;
    let address = outside.local_addr()?;
    let lab = Lab::web(engine, "outside", "v1")?;
    lab.settings(&format!(
        "{TRIAL}
[[stack.NAME.probe]]
name = \"outside\"
service = \"web\"
kind = \"tcp\"
address = \"{address}\"
interval = \"300ms\"
fail_after = 2
"
    ))?;
    lab.start()?;
    lab.until_runs("v1", "good")?;
    lab.ask("v2")?;
    lab.until_runs("v2", "good")?;
    drop(outside);
    lab.ask("v3")?;
    let held = lab.until("it is held", |s| s.state == State::Held)?;
    ensure!(runs(&held, "v2", "good"), "not the one before: {held:#?}");
    ensure!(held.gap.is_some_and(|gap| gap.tag.as_deref() == Some("v3")));
    ensure!(held.hold.is_some_and(|hold| hold.why.contains("outside")));
    ensure!(lab.run(&["status", &lab.name, "--exit-code"])?.code == 5);
    let later = lab.until("it stays so", |s| s.version > held.version + 12)?;
    ensure!(
        later.state == State::Held && runs(&later, "v2", "good"),
        "{later:#?}"
    );
    // A person says that the cause is mended, and it is.
    let _outside = TcpListener::bind(address)?;
    let said = lab.run(&["retry", &lab.name, "--wait", "--reason", "it was outside"])?;
    ensure!(said.code == 0, "{said:?}");
    ensure!(version(&lab)? == "v3");
    lab.end()
}

fn what_a_person_can_order(engine: &Engine) -> Result<()> {
    let lab = Lab::web(engine, "orders", "v1")?;
    lab.start()?;
    lab.until_runs("v1", "good")?;
    ensure!(
        lab.run(&["approve", &lab.name])?.code == 5,
        "nothing was to be approved"
    );
    ensure!(lab.run(&["resume", &lab.name])?.code == 5, "nothing was paused");
    lab.ask("v2")?;
    lab.until_runs("v2", "good")?;
    let asked = lab.asked()?;
    let said = lab.run(&[
        "rollback",
        &lab.name,
        "--yes",
        "--wait",
        "--reason",
        "checkout is odd",
    ])?;
    ensure!(said.code == 0, "{said:?}");
    let back = lab.until("it is rolled back", |s| s.state == State::RolledBack)?;
    ensure!(runs(&back, "v1", "good") && version(&lab)? == "v1", "{back:#?}");
    ensure!(back.gap.is_some_and(|gap| gap.why.contains("checkout is odd")));
    ensure!(lab.asked()? == asked, "desired.toml was changed");
    let said = lab.run(&["retry", &lab.name, "--wait"])?;
    ensure!(said.code == 0 && version(&lab)? == "v2", "{said:?}");

    watched(&lab)?;
    let said = lab.run(&["pause", &lab.name, "--for", "10m", "--reason", "by hand"])?;
    ensure!(said.code == 0, "{said:?}");
    let web = lab.container("web")?;
    lab.engine.docker(&["kill", &web.id])?;
    let paused = lab.until("the pause is shown", |s| s.state == State::Paused)?;
    lab.until("some passes were made", |s| s.version > paused.version + 8)?;
    ensure!(!lab.container("web")?.is_running(), "it was healed in a pause");
    ensure!(lab.run(&["resume", &lab.name])?.code == 0);
    lab.when("it is healed", || {
        Ok(lab.container("web")?.is_running().then_some(()))
    })?;

    // An order in a pause ends it.
    let said = lab.run(&["pause", &lab.name, "--for", "10m", "--reason", "by hand"])?;
    ensure!(said.code == 0, "{said:?}");
    let said = lab.run(&["rollback", &lab.name, "--yes", "--wait"])?;
    ensure!(
        said.code == 0 && said.out.contains("the pause is over"),
        "{said:?}"
    );
    ensure!(version(&lab)? == "v1");
    lab.end()
}

/// A person at a terminal sees how it is, and is asked before anything is done; and the terminal is as it was.
fn watched(lab: &Lab) -> Result<()> {
    let size = (80, 24);
    let mut watch = lab.on_terminal(&["watch", &lab.name], size)?;
    watch.until("steady")?;
    // What the daemon has told of the retry.
    watch.until("deploy done")?;
    watch.resize((60, 15))?;
    watch.press("?")?;
    watch.until("the next stack")?;
    watch.press("q")?;
    let seen = watch.end(0)?;
    ensure!(
        seen.contains("\u{1b}[?1049h") && seen.contains("\u{1b}[?1049l"),
        "{seen:?}"
    );

    let watch = lab.on_terminal(&["watch"], size)?;
    watch.until("steady")?;
    watch.terminate()?;
    let seen = watch.end(0)?;
    ensure!(seen.contains("\u{1b}[?1049l"), "{seen:?}");

    let mut retry = lab.on_terminal(&["retry", &lab.name], size)?;
    retry.until("[y/N]")?;
    retry.press("n\n")?;
    let seen = retry.end(5)?;
    ensure!(seen.contains("nothing was done"), "{seen:?}");

    let piped = lab.run(&["watch"])?;
    ensure!(piped.code == 2 && piped.complains("status --json"), "{piped:?}");
    Ok(())
}

/// A tag that moves to another image that is as bad: a release of its own, each time.
struct MovingTag(Engine, String);

impl MovingTag {
    fn at_something_bad(lab: &Lab) -> Result<Self> {
        let tag = lab.name.trim_start_matches("sf-").to_owned();
        let moving = Self(lab.engine.clone(), format!("steadfast-test/tiny:{tag}"));
        moving.advance()?;
        Ok(moving)
    }

    fn tag(&self) -> &str {
        self.1.trim_start_matches("steadfast-test/tiny:")
    }

    fn advance(&self) -> Result<()> {
        let container = self.0.docker(&["create", "steadfast-test/tiny:bad"])?;
        let made = self.0.docker(&["commit", &container, &self.1]);
        self.0.docker(&["rm", &container])?;
        made.map(drop)
    }
}

impl Drop for MovingTag {
    fn drop(&mut self) {
        drop(self.0.docker(&["rmi", "-f", &self.1]));
    }
}

/// The very same is asked for again and again, and each time its tag names something else that fails.
fn budget(engine: &Engine) -> Result<()> {
    let lab = Lab::web(engine, "budget", "v1")?;
    let moving = MovingTag::at_something_bad(&lab)?;
    lab.settings(&format!("{TRIAL}budget = 1\n{}", steadfast_tests::lab::WEB_PROBE))?;
    lab.start()?;
    lab.until_runs("v1", "good")?;
    let bad = |s: &agent::view::Status, generation: u64| {
        s.gap.as_ref().is_some_and(|gap| gap.generation == generation)
    };
    lab.ask(moving.tag())?;
    let back = lab.until("it is taken back", |s| bad(s, 2) && s.state == State::RolledBack)?;
    ensure!(runs(&back, "v1", "good"), "{back:#?}");
    lab.ask("v1")?;
    lab.until("what runs is asked for", |s| {
        s.as_asked && s.state == State::Steady
    })?;
    moving.advance()?;
    lab.ask(moving.tag())?;
    let held = lab.until("the budget is spent", |s| s.state == State::Held)?;
    let reason = held.hold.clone().context("no hold")?;
    ensure!(
        reason
            .why
            .contains("1 automatic rollbacks within 1h for this request: the budget is spent"),
        "{reason:?}"
    );
    ensure!(held.runs.as_ref().is_some_and(|r| r.generation == 3), "{held:#?}");
    ensure!(lab.run(&["status", &lab.name, "--exit-code"])?.code == 5);
    let later = lab.until("it stays so", |s| s.version > held.version + 12)?;
    ensure!(
        later.state == State::Held && version(&lab)? == "bad",
        "{later:#?}"
    );
    // A person's word needs no budget.
    let said = lab.run(&[
        "rollback",
        &lab.name,
        "--yes",
        "--wait",
        "--reason",
        "enough of it",
    ])?;
    ensure!(said.code == 0 && version(&lab)? == "v1", "{said:?}");
    lab.end()
}
