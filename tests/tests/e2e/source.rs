//! Releases that come from a Git repository: built from a commit, tried, and left for the one before; the operator's own
//! checkout is never touched.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use steadfast_tests::lab::{Engine, LABEL, Lab, TRIAL, WEB_PROBE, runs};

use super::files::{SITE, SITE_PROBE, conf, is_back};
use super::{Scenario, everywhere, once};

pub(super) const ALL: &[Scenario] = &[
    everywhere("a_bad_commit_that_was_built_is_taken_back", bad_commit),
    once("a_release_that_cannot_be_built_stops_nothing", unbuildable),
    once("a_tracked_file_comes_with_its_commit", tracked),
    once("one_service_is_built_from_another_tag", one_service),
    once("what_was_built_is_still_there_after_a_prune", pruned),
];

/// A value that nobody but a container and the files may see.
const CANARY: &str = "canary-5d2b90aa";

const COMPOSE: &str = "\
services:
  web:
    build:
      context: ./backend
      args: {LEVEL: \"${LEVEL}\", TOKEN: \"${TOKEN}\"}
    labels: {io.steadfast.test: e2e}
    stop_grace_period: 2s
    volumes: [\"./data:/data\"]
    deploy:
      update_config: {monitor: 300ms}
      rollback_config: {monitor: 300ms}
  other:
    build: ./other
    labels: {io.steadfast.test: e2e}
    stop_grace_period: 2s
";

fn dockerfile(more: &str) -> String {
    format!(
        "FROM steadfast-test/tiny:v1\nARG LEVEL\nARG TOKEN\nLABEL io.steadfast.test=e2e io.steadfast.lab=NAME\nCOPY version /version\nENV LEVEL=$LEVEL\n{more}"
    )
}

/// A repository that is somebody's checkout, with work in it that is not committed.
pub(super) struct Checkout<'a> {
    pub(super) lab: &'a Lab,
}

impl<'a> Checkout<'a> {
    pub(super) fn new(lab: &'a Lab) -> Result<Self> {
        let checkout = Self { lab };
        for part in ["repo", "repo/backend", "repo/other"] {
            fs::create_dir(lab.path(part))?;
        }
        checkout.git(&["init", "-q", "-b", "main"])?;
        lab.write("repo/compose.yaml", COMPOSE)?;
        lab.write(
            "repo/other/Dockerfile",
            "FROM steadfast-test/tiny:v1\nLABEL io.steadfast.test=e2e\nCOPY Dockerfile /of-other\n",
        )?;
        Ok(checkout)
    }

    fn git(&self, words: &[&str]) -> Result<String> {
        let output = Command::new("timeout")
            .args([
                "60",
                "git",
                "-c",
                "user.name=A Person",
                "-c",
                "user.email=person@example.com",
            ])
            .args(words)
            .current_dir(self.lab.path("repo"))
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()?;
        if !output.status.success() {
            bail!("git {words:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// A commit with this version, and a tag on it.
    pub(super) fn release(&self, tag: &str, more: &str) -> Result<()> {
        self.lab.write("repo/backend/version", &format!("{tag}\n"))?;
        self.lab.write("repo/backend/Dockerfile", &dockerfile(more))?;
        self.git(&["add", "-A"])?;
        self.git(&["commit", "-q", "-m", &format!("Release {tag}")])?;
        self.git(&["tag", "-f", "-a", "-m", tag, tag])?;
        Ok(())
    }

    /// All that an operator sees of it.
    fn seen(&self) -> Result<String> {
        let all = [
            self.git(&["status", "--porcelain=v2", "--branch"])?,
            self.git(&["for-each-ref"])?,
            self.git(&["stash", "list"])?,
            self.git(&["worktree", "list"])?,
            fs::read_to_string(self.lab.path("repo/notes.txt")).unwrap_or_default(),
        ];
        Ok(all.join("\n"))
    }
}

/// A lab whose releases are those of `repo/`; its directory has data and `.env`, and nothing else.
fn lab(engine: &Engine, scenario: &str, more: &str) -> Result<Lab> {
    let lab = Lab::new(engine, scenario)?;
    fs::create_dir(lab.path("stack/data"))?;
    lab.write("stack/data/of-a-person", "rows\n")?;
    lab.write("stack/.env", &format!("LEVEL=info\nTOKEN={CANARY}\n"))?;
    lab.settings(&format!(
        "{more}\n[stack.NAME.source]\ngit = \"DIR/repo\"\ntags = \"v*\"\n\n{TRIAL}{WEB_PROBE}"
    ))?;
    Ok(lab)
}

pub(super) fn built(lab: &Lab, service: &str, tag: &str) -> Result<String> {
    let reference = format!("{}-{service}:{tag}", lab.name);
    lab.engine
        .docker(&["image", "inspect", "--format", "{{.Id}}", &reference])
        .with_context(|| format!("{reference} is not there"))
}

pub(super) fn runs_on(lab: &Lab, service: &str) -> Result<String> {
    let id = lab.container(service)?.id;
    lab.engine.docker(&["inspect", "--format", "{{.Image}}", &id])
}

/// What a container has in a file that its image brings: there is no shell in it.
fn copied(lab: &Lab, service: &str, path: &str) -> Result<String> {
    let id = lab.container(service)?.id;
    let to = lab.path("copied");
    lab.engine
        .docker(&["cp", &format!("{id}:{path}"), &to.to_string_lossy()])?;
    Ok(fs::read_to_string(to)?)
}

/// The images of a lab go with it.
pub(super) fn clear_images(lab: &Lab) {
    let filter = format!("reference={}-*", lab.name);
    if let Ok(found) = lab.engine.docker(&["image", "ls", "-q", "--filter", &filter]) {
        for image in found.lines() {
            // One that is still in use goes with what uses it, by its label.
            drop(lab.engine.docker(&["image", "rm", "-f", image]));
        }
    }
}

fn end(lab: Lab) -> Result<()> {
    let (engine, name) = (lab.engine.clone(), lab.name.clone());
    ensure!(!lab.logged().contains(CANARY), "a value is in the log");
    clear_images(&lab);
    lab.end()?;
    let left = engine.docker(&[
        "ps",
        "-aq",
        "--filter",
        &format!("label={LABEL}"),
        "--filter",
        &format!("name={name}"),
    ])?;
    ensure!(left.is_empty(), "left behind: {left}");
    Ok(())
}

fn bad_commit(engine: &Engine) -> Result<()> {
    let lab = lab(engine, "git", "")?;
    let repo = Checkout::new(&lab)?;
    repo.release("v1.9.0", "")?;
    repo.release("v1.10.0", "ENV FAIL_AFTER=0\n")?;
    // Somebody is at work in it.
    lab.write("repo/notes.txt", "not committed\n")?;
    lab.write("repo/compose.yaml", "services: {half: writ")?;
    let seen = repo.seen()?;
    lab.ask("v1.9.0")?;
    lab.start()?;
    lab.until_runs("v1.9.0", "good")?;
    let (first, other) = (lab.container("web")?, lab.container("other")?);
    ensure!(runs_on(&lab, "web")? == built(&lab, "web", "v1.9.0")?);
    ensure!(copied(&lab, "web", "/version")? == "v1.9.0\n");
    // What is mounted is the stack's own, never a checkout's.
    ensure!(copied(&lab, "web", "/data/of-a-person")? == "rows\n");
    let said = lab.run(&["pin", &lab.name, "v1.10.0", "--wait"])?;
    ensure!(said.code == 6, "{said:?}");
    let back = lab.until("the bad commit is taken back", is_back)?;
    ensure!(runs(&back, "v1.9.0", "good"), "{back:#?}");
    ensure!(copied(&lab, "web", "/version")? == "v1.9.0\n");
    let bad = built(&lab, "web", "v1.10.0")?;
    ensure!(bad != built(&lab, "web", "v1.9.0")?, "it is the same image");
    // What is built of the same is the same, and is left alone.
    ensure!(
        lab.container("other")? == other,
        "what has not changed is another one"
    );
    ensure!(built(&lab, "other", "v1.10.0")? == built(&lab, "other", "v1.9.0")?);
    ensure!(lab.container("web")?.id != first.id, "it was never tried");
    ensure!(
        repo.seen()? == seen,
        "the operator's checkout is not as it was: {}",
        repo.seen()?
    );
    let history = lab.run(&["history", &lab.name])?;
    let commit = repo.git(&["rev-parse", "v1.10.0^{commit}"])?;
    ensure!(
        history.out.contains(&commit[..12]),
        "nobody is told which commit: {}",
        history.out
    );
    // Somebody moves the tag: that alone changes nothing.
    lab.write("repo/compose.yaml", COMPOSE)?;
    repo.release("v1.10.0", "ENV MENDED=1\n")?;
    let listed = lab.run(&["release", "list", &lab.name])?;
    ensure!(listed.code == 0 && listed.out.contains("moved"), "{listed:?}");
    let lines: Vec<&str> = listed.out.lines().collect();
    let at = |tag: &str| lines.iter().position(|line| line.contains(tag));
    ensure!(at("v1.10.0") < at("v1.9.0"), "not by version: {}", listed.out);
    let later = lab.until("it rests", |s| s.version > back.version + 8 && is_back(s))?;
    ensure!(runs(&later, "v1.9.0", "good"), "{later:#?}");
    let said = lab.run(&["retry", &lab.name, "--wait"])?;
    ensure!(said.code == 0, "{said:?}");
    lab.until_runs("v1.10.0", "good")?;
    ensure!(runs_on(&lab, "web")? == built(&lab, "web", "v1.10.0")?);
    ensure!(built(&lab, "web", "v1.10.0")? != bad, "the tag is what it was");
    end(lab)
}

fn unbuildable(engine: &Engine) -> Result<()> {
    let lab = lab(engine, "unbuildable", "")?;
    let repo = Checkout::new(&lab)?;
    repo.release("v1", "")?;
    repo.release("v2", "COPY nowhere /nowhere\n")?;
    lab.ask("v1")?;
    lab.start()?;
    lab.until_runs("v1", "good")?;
    let web = lab.container("web")?;
    let said = lab.run(&["pin", &lab.name, "v2", "--wait"])?;
    ensure!(said.code != 0, "{said:?}");
    let gap = lab.until("it is given up", |s| {
        s.operation.is_none() && s.gap.as_ref().is_some_and(|gap| gap.generation == 2)
    })?;
    let said = lab.run(&["status", &lab.name])?;
    ensure!(
        said.out.contains("nowhere") && said.out.contains("step 7"),
        "the step is not said: {}",
        said.out
    );
    ensure!(!said.out.contains(CANARY), "a value is shown");
    ensure!(lab.container("web")? == web, "it was touched: {gap:#?}");
    // What is no release at all is a wish that cannot be used: the last valid one stays in force.
    lab.ask("v3")?;
    let lost = lab.until("it is said that there is no v3", |s| {
        s.problems.iter().any(|problem| problem.message.contains("v3"))
    })?;
    ensure!(lost.operation.is_none() || !lost.fine, "{lost:#?}");
    ensure!(lab.container("web")? == web, "it was touched");
    lab.ask("main")?;
    lab.until("it is said that main is a branch", |s| {
        s.problems
            .iter()
            .any(|problem| problem.message.contains("branch"))
    })?;
    // The repository is away: what runs goes on, and what was fetched once can be gone back to.
    fs::rename(lab.path("repo"), lab.path("gone"))?;
    lab.ask("v1")?;
    lab.until("v1 is as asked", |s| {
        s.operation.is_none() && s.as_asked && s.problems.is_empty()
    })?;
    fs::rename(lab.path("gone"), lab.path("repo"))?;
    repo.release("v3", "ENV MENDED=1\n")?;
    lab.ask("v3")?;
    lab.until_runs("v3", "good")?;
    end(lab)
}

fn tracked(engine: &Engine) -> Result<()> {
    let lab = Lab::new(engine, "tracked")?;
    lab.settings(&format!(
        "track = [\"nginx.conf\"]\n[stack.NAME.source]\ngit = \"DIR/repo\"\n\n{TRIAL}{SITE_PROBE}"
    ))?;
    let repo = Checkout::new(&lab)?;
    lab.write("repo/compose.yaml", SITE)?;
    for (tag, health) in [("v1", "return 200 \"one\";"), ("v2", "return 503;")] {
        lab.write("repo/nginx.conf", &conf(health))?;
        repo.release(tag, "")?;
    }
    // What lies in the directory is of another time, and counts for nothing.
    lab.write("stack/nginx.conf", "of nobody\n")?;
    lab.ask("v1")?;
    lab.start()?;
    lab.until_runs("v1", "good")?;
    let reads = || -> Result<String> {
        let id = lab.container("frontend")?.id;
        lab.engine.exec(&id, &["cat", "/etc/nginx/nginx.conf"])
    };
    ensure!(reads()?.trim() == conf("return 200 \"one\";").trim());
    lab.ask("v2")?;
    lab.until("the broken site is taken back", is_back)?;
    ensure!(reads()?.trim() == conf("return 200 \"one\";").trim());
    ensure!(fs::read_to_string(lab.path("stack/nginx.conf"))? == "of nobody\n");
    // The same content under another tag is no reason to touch anything.
    let first = lab.container("frontend")?;
    lab.write("repo/nginx.conf", &conf("return 200 \"one\";"))?;
    repo.release("v3", "")?;
    lab.ask("v3")?;
    lab.until_runs("v3", "good")?;
    ensure!(lab.container("frontend")? == first, "it is another one");
    // What the older release has mounted was taken away: it is there again before its container starts.
    lab.write("repo/nginx.conf", &conf("return 200 \"four\";"))?;
    repo.release("v4", "")?;
    lab.ask("v4")?;
    lab.until_runs("v4", "good")?;
    let mounted = lab.path(&format!("state/source/{}/files", lab.name));
    ensure!(
        fs::read_dir(&mounted)?.count() > 1,
        "nothing is in {}",
        mounted.display()
    );
    fs::remove_dir_all(&mounted)?;
    let back = lab.run(&["rollback", &lab.name, "--wait", "--yes"])?;
    ensure!(back.code == 0, "{back:?}");
    ensure!(reads()?.trim() == conf("return 200 \"one\";").trim());
    end(lab)
}

fn one_service(engine: &Engine) -> Result<()> {
    let lab = lab(engine, "gitpin", "")?;
    let repo = Checkout::new(&lab)?;
    repo.release("v1", "")?;
    repo.release("v2", "ENV SECOND=1\n")?;
    lab.ask("v1")?;
    lab.start()?;
    lab.until_runs("v1", "good")?;
    let other = lab.container("other")?;
    let said = lab.run(&["pin", &lab.name, "v2", "--service", "web", "--wait"])?;
    ensure!(said.code == 0, "{said:?}");
    ensure!(copied(&lab, "web", "/version")? == "v2\n");
    ensure!(lab.container("other")? == other, "the other one was touched");
    end(lab)
}

/// `docker image prune -af` in the middle of a trial takes nothing that a rollback needs.
fn pruned(engine: &Engine) -> Result<()> {
    let lab = lab(engine, "gitprune", "")?;
    lab.settings(&format!(
        "[stack.NAME.source]\ngit = \"DIR/repo\"\n\n[stack.NAME.trial]\nwindow = \"8s\"\ngood_after = \"2s\"\n{WEB_PROBE}"
    ))?;
    let repo = Checkout::new(&lab)?;
    repo.release("v1", "")?;
    repo.release("v2", "ENV FAIL_AFTER=0\n")?;
    lab.ask("v1")?;
    lab.start()?;
    lab.until_runs("v1", "good")?;
    let good = runs_on(&lab, "web")?;
    lab.ask("v2")?;
    lab.until("v2 is on trial", |s| {
        runs(s, "v2", "trial") && s.operation.is_none()
    })?;
    // Of what is of this lab alone, so that no other test misses anything.
    let ours = format!("label=io.steadfast.lab={}", lab.name);
    lab.engine.docker(&["image", "prune", "-af", "--filter", &ours])?;
    lab.until("v2 is taken back", is_back)?;
    ensure!(runs_on(&lab, "web")? == good, "it is another image");
    ensure!(Path::new(&lab.path("state/source")).is_dir());
    end(lab)
}
