//! What should run and does not is brought back; what is not the stack's is left alone.

use anyhow::{Result, ensure};
use steadfast_tests::lab::{Container, Engine, LABEL, Lab, TRIAL, WEB, WEB_PROBE};

use super::{Scenario, everywhere, once};

pub(super) const ALL: &[Scenario] = &[
    everywhere("whatever_happens_to_a_container_is_healed", whatever_happens),
    once("what_keeps_dying_is_healed_with_patience", what_keeps_dying),
];

/// A container that looks like the stack's by its name, and is nobody's.
pub(super) struct Foreign(Engine, String);

impl Foreign {
    pub(super) fn start(lab: &Lab) -> Result<Self> {
        let name = format!("{}-web-2", lab.name);
        let label = format!("{LABEL}=e2e");
        let image = "steadfast-test/tiny:bad";
        lab.engine
            .docker(&["run", "-d", "--name", &name, "--label", &label, image])?;
        Ok(Self(lab.engine.clone(), name))
    }

    pub(super) fn seen(&self) -> Result<String> {
        let what = "{{.Id}} {{.State.StartedAt}} {{.Name}} {{json .NetworkSettings.Networks}}";
        self.0.docker(&["inspect", "--format", what, &self.1])
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        drop(self.0.docker(&["rm", "-f", &self.1]));
    }
}

#[allow(
    clippy::unnecessary_wraps,
    reason = "it is polled, and what is polled may fail"
)]
fn running(lab: &Lab) -> Result<Option<Container>> {
    Ok(lab.container("web").ok().filter(Container::is_running))
}

fn whatever_happens(engine: &Engine) -> Result<()> {
    let lab = Lab::web(engine, "heal", "v1")?;
    let foreign = Foreign::start(&lab)?;
    let untouched = foreign.seen()?;
    // What is healed late is not what this is about.
    let trial = "[stack.NAME.trial]\nwindow = \"10m\"\ngood_after = \"2s\"\n";
    lab.settings(&format!("{trial}{WEB_PROBE}"))?;
    lab.start()?;
    lab.until_runs("v1", "good")?;

    for deed in [&["rm", "-f"][..], &["kill"], &["stop", "-t", "1"]] {
        let web = lab.container("web")?;
        lab.engine.docker(&[deed, &[web.id.as_str()]].concat())?;
        // It serves before it has its name.
        let named = || Ok(running(&lab)?.filter(|c| c.name == web.name));
        lab.when(&format!("healed after {deed:?}"), named)?;
        lab.until("all is well again", |s| s.fine && s.drift.is_empty())?;
    }

    paused_by_hand(&lab)?;
    changed_by_hand(&lab)?;

    lab.ask("v2")?;
    lab.until_runs("v2", "good")?;
    ensure!(foreign.seen()? == untouched, "the foreign container was touched");
    lab.end()
}

/// `docker pause`, and nobody lets it go on: after a minute it does, the same process in the same container.
fn paused_by_hand(lab: &Lab) -> Result<()> {
    let web = lab.container("web")?;
    let begun = |lab: &Lab| {
        lab.engine
            .docker(&["inspect", "-f", "{{.State.StartedAt}} {{.State.Paused}}", &web.id])
    };
    let before = begun(lab)?;
    lab.engine.docker(&["pause", &web.id])?;
    lab.until("the pause is seen", |s| !s.drift.is_empty())?;
    // Half of the minute, and the other half.
    let noted = std::time::Instant::now();
    lab.when("half a minute has passed", || {
        Ok((noted.elapsed().as_secs() >= 30).then_some(()))
    })?;
    ensure!(begun(lab)? != before, "it was let go on at once");
    lab.when("it goes on", || Ok((begun(lab)? == before).then_some(())))?;
    lab.until("all is well again", |s| s.fine && s.drift.is_empty())?;
    Ok(())
}

/// Somebody puts another container in the place of ours.
fn changed_by_hand(lab: &Lab) -> Result<()> {
    let web = lab.container("web")?;
    lab.kill()?;
    lab.engine.docker(&["rm", "-f", &web.id])?;
    let labels = [
        format!("com.docker.compose.project={}", lab.name),
        "com.docker.compose.service=web".to_owned(),
        "com.docker.compose.container-number=1".to_owned(),
        "com.docker.compose.oneoff=False".to_owned(),
        "com.docker.compose.config-hash=0".to_owned(),
    ];
    let mut words = vec!["run", "-d", "--name", &web.name, "-e", "BY_HAND=1"];
    for label in &labels {
        words.extend(["--label", label]);
    }
    words.push("steadfast-test/tiny:v1");
    let theirs = lab.engine.docker(&words)?;
    lab.start()?;
    lab.when("the stack's own container is back", || {
        Ok(running(lab)?.filter(|c| c.id != theirs && c.name == web.name))
    })?;
    lab.until("all is well again", |s| s.fine && s.drift.is_empty())?;
    Ok(())
}

fn what_keeps_dying(engine: &Engine) -> Result<()> {
    let lab = Lab::web(engine, "dying", "v1")?;
    lab.write(
        "stack/compose.yaml",
        &WEB.replace(
            "environment:\n",
            "environment:\n      CRASH_AFTER: ${CRASH_AFTER:-}\n",
        ),
    )?;
    // It dies before it can be proven.
    let trial = TRIAL.replace("good_after = \"2s\"", "good_after = \"8s\"");
    ensure!(trial != TRIAL);
    lab.settings(&format!("{trial}{WEB_PROBE}"))?;
    lab.write("stack/.env", "CRASH_AFTER=3\n")?;
    lab.start()?;
    // Nothing is good, so there is nothing to go back to: it is held, and healed all the same.
    let held = lab.until("it is held", |s| s.hold.is_some())?;
    ensure!(
        held.hold
            .is_some_and(|hold| hold.why.contains("no good generation"))
    );
    let starts = || -> Vec<std::time::Instant> {
        let calls = lab.proxy.calls();
        let starts = calls.iter().filter(|c| c.changes() && c.path.contains("/start"));
        starts.map(|c| c.at).collect()
    };
    let before = starts().len();
    lab.until("it waits before the next try", |s| {
        s.waits.iter().any(|w| w.contains("next try to heal"))
    })?;
    let all = lab.when("it is healed again", || {
        Ok(Some(starts()).filter(|all| all.len() > before))
    })?;
    let gaps: Vec<_> = all.windows(2).map(|pair| pair[1] - pair[0]).collect();
    ensure!(
        gaps.first() < gaps.last(),
        "the tries do not become rarer: {gaps:?}"
    );
    // A release that works leaves the hold.
    lab.write("stack/.env", "CRASH_AFTER=\n")?;
    lab.until_runs("v1", "good")?;
    lab.end()
}
