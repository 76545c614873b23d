//! The operator's own files are part of a release: an edit is tried, judged and rolled back as any other, and the file is
//! put back.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use agent::view::{State, Status};
use anyhow::{Context as _, Result, ensure};
use steadfast_tests::lab::{Engine, Lab, TRIAL, WEB_PROBE};

use super::{Scenario, everywhere, once};

pub(super) const ALL: &[Scenario] = &[
    everywhere("a_bad_env_value_is_taken_back_with_its_file", bad_env),
    once("an_nginx_conf_that_breaks_the_site_is_taken_back", bad_conf),
    once("a_file_that_its_check_refuses_is_never_used", refused_conf),
    once("a_container_reads_its_files_again_by_a_signal", signalled),
    once("a_pinned_env_file_is_put_back", pinned_env),
    once("files_are_put_back_through_kill_9", killed),
];

/// A value that nobody but a container and the files may see.
pub(super) const CANARY: &str = "canary-7c1f4e0b";

const COMPOSE: &str = "\
services:
  web:
    image: steadfast-test/tiny:${TAG}
    environment: {FAIL_AFTER: \"${FAIL_AFTER}\", PASSWORD: \"${PASSWORD}\"}
    labels: {io.steadfast.test: e2e}
    stop_grace_period: 2s
    deploy:
      update_config: {monitor: 300ms}
      rollback_config: {monitor: 300ms}
  other:
    image: steadfast-test/tiny:v1
    labels: {io.steadfast.test: e2e}
    stop_grace_period: 2s
";

pub(super) fn env(fail_after: &str, password: &str) -> String {
    format!("# of a person\nFAIL_AFTER={fail_after}\nPASSWORD={CANARY}-{password}\n")
}

/// `web` fails at once where `.env` says so; `other` does not look at it.
pub(super) fn lab(engine: &Engine, scenario: &str) -> Result<Lab> {
    let lab = Lab::web(engine, scenario, "v1")?;
    lab.write("stack/compose.yaml", COMPOSE)?;
    lab.write("stack/.env", &env("", "one"))?;
    fs::set_permissions(lab.path("stack/.env"), fs::Permissions::from_mode(0o640))?;
    Ok(lab)
}

pub(super) fn text(lab: &Lab, part: &str) -> Result<String> {
    fs::read_to_string(lab.path(part)).with_context(|| format!("cannot read {part}"))
}

pub(super) fn is_back(status: &Status) -> bool {
    status.operation.is_none() && status.state == State::RolledBack
}

/// Nobody is told a value, whatever is asked.
pub(super) fn tells_no_value(lab: &Lab) -> Result<()> {
    let name = &lab.name;
    let asked: [&[&str]; 5] = [
        &["status", name],
        &["status", name, "--json"],
        &["history", name, "--operations", "--json"],
        &["plan", name],
        &["plan", name, "--json"],
    ];
    for words in asked {
        let said = lab.run(words)?;
        ensure!(
            !said.out.contains(CANARY) && !said.err.contains(CANARY),
            "{words:?}: {said:?}"
        );
    }
    ensure!(!lab.logged().contains(CANARY), "a value is in the log");
    let ledger = fs::read(lab.path("state/ledger.db"))?;
    let is_in = ledger
        .windows(CANARY.len())
        .any(|window| window == CANARY.as_bytes());
    ensure!(!is_in, "a value is in the ledger");
    Ok(())
}

fn bad_env(engine: &Engine) -> Result<()> {
    let lab = lab(engine, "env")?;
    lab.start()?;
    lab.until_runs("v1", "good")?;
    let other = lab.container("other")?;
    lab.write("stack/.env", &env("0", "two"))?;
    let back = lab.until("the edit is taken back", is_back)?;
    ensure!(
        text(&lab, "stack/.env")? == env("", "one"),
        "{}",
        text(&lab, "stack/.env")?
    );
    let mode = fs::metadata(lab.path("stack/.env"))?.mode() & 0o7777;
    ensure!(mode == 0o640, "its mode is {mode:o}");
    ensure!(
        lab.container("other")? == other,
        "what does not read it is another one"
    );
    let said = lab.run(&["status", &lab.name])?;
    ensure!(
        said.out.contains(".env"),
        "it is not said which file: {}",
        said.out
    );
    let words: Vec<&str> = said.out.split_whitespace().collect();
    ensure!(
        words.join(" ").contains("FAIL_AFTER, PASSWORD"),
        "it is not said which variables: {}",
        said.out
    );
    // What was put back is nobody's wish.
    let asked = back.asked.as_ref().and_then(|asked| asked.env_id.clone());
    let later = lab.until("it rests", |s| s.version > back.version + 8 && is_back(s))?;
    ensure!(
        later.asked.as_ref().and_then(|asked| asked.env_id.clone()) == asked,
        "{later:#?}"
    );
    ensure!(
        later.runs.as_ref().is_some_and(|runs| runs.generation == 1),
        "{later:#?}"
    );
    tells_no_value(&lab)?;
    // The mended value is tried, and stays.
    lab.write("stack/.env", &env("", "three"))?;
    lab.until("the mended file is good", |s| {
        s.operation.is_none() && s.as_asked && s.runs.as_ref().is_some_and(|runs| runs.verdict == "good")
    })?;
    ensure!(text(&lab, "stack/.env")? == env("", "three"));
    // An order takes it back as well, and `retry` brings it again.
    let said = lab.run(&["rollback", &lab.name, "--wait", "--yes"])?;
    ensure!(said.code == 0, "{said:?}");
    ensure!(
        text(&lab, "stack/.env")? == env("", "one"),
        "{}",
        text(&lab, "stack/.env")?
    );
    let said = lab.run(&["retry", &lab.name, "--wait"])?;
    ensure!(said.code == 0, "{said:?}");
    ensure!(
        text(&lab, "stack/.env")? == env("", "three"),
        "{}",
        text(&lab, "stack/.env")?
    );
    tells_no_value(&lab)?;
    lab.end()
}

pub(super) const SITE: &str = "\
services:
  frontend:
    image: steadfast-test/frontend:v1.4.0
    labels: {io.steadfast.test: e2e}
    stop_grace_period: 2s
    volumes: [\"./nginx.conf:/etc/nginx/nginx.conf:ro\"]
    deploy:
      update_config: {monitor: 300ms}
      rollback_config: {monitor: 300ms}
";

pub(super) const SITE_PROBE: &str = "
[[stack.NAME.probe]]
name = \"site\"
service = \"frontend\"
kind = \"http\"
port = 80
path = \"/health\"
interval = \"300ms\"
fail_after = 2
";

pub(super) fn conf(health: &str) -> String {
    format!(
        "events {{}}\nhttp {{\n  access_log off;\n  server {{\n    listen 80;\n    location = /health {{ {health} }}\n  }}\n}}\n"
    )
}

fn bad_conf(engine: &Engine) -> Result<()> {
    let lab = Lab::new(engine, "conf")?;
    lab.write("stack/compose.yaml", SITE)?;
    let good = conf("return 200 \"ok\";");
    lab.write("stack/nginx.conf", &good)?;
    lab.settings(&format!("track = [\"nginx.conf\"]\n{TRIAL}{SITE_PROBE}"))?;
    lab.ask("v1")?;
    lab.start()?;
    lab.until_runs("v1", "good")?;
    let first = lab.container("frontend")?;
    // As an editor does: another file, renamed over the old one. nginx takes it, and the site is broken.
    lab.write("stack/.nginx.conf", &conf("return 503;"))?;
    fs::rename(lab.path("stack/.nginx.conf"), lab.path("stack/nginx.conf"))?;
    lab.until("the edit is tried", |s| {
        s.runs.as_ref().is_some_and(|runs| runs.generation == 2)
    })?;
    let tried = lab.container("frontend")?;
    ensure!(tried.id != first.id, "the container does not read it");
    lab.until("the edit is taken back", is_back)?;
    ensure!(
        text(&lab, "stack/nginx.conf")? == good,
        "the file is not as it was"
    );
    let id = lab.container("frontend")?.id;
    let read = lab.engine.exec(&id, &["cat", "/etc/nginx/nginx.conf"])?;
    ensure!(
        read.trim() == good.trim(),
        "the container has another file: {read}"
    );
    // One that nginx does not take never gets to serve.
    lab.write("stack/nginx.conf", "events {}\nhttp { server { listen 80 } }\n")?;
    let back = lab.until("the broken file is taken back", |s| {
        is_back(s) && s.gap.as_ref().is_some_and(|gap| gap.generation == 3)
    })?;
    ensure!(text(&lab, "stack/nginx.conf")? == good, "{back:#?}");
    let id = lab.container("frontend")?.id;
    let read = lab.engine.exec(&id, &["cat", "/etc/nginx/nginx.conf"])?;
    ensure!(
        read.trim() == good.trim(),
        "the container has another file: {read}"
    );
    cannot_be_put(&lab, &good)?;
    lab.end()
}

/// Nothing is stopped for a file that cannot be put back: it is said, and done as soon as it can be.
fn cannot_be_put(lab: &Lab, good: &str) -> Result<()> {
    let serves = lab.container("frontend")?;
    lab.write("stack/nginx.conf", &conf("return 500;"))?;
    let fixed = ReadOnly::over(&lab.path("stack"))?;
    let waits = |s: &Status| {
        s.operation.is_none()
            && s.waits
                .iter()
                .any(|wait| wait.contains("nginx.conf cannot be written"))
    };
    let first = lab.until("it waits", waits)?;
    lab.until("it waits again", |s| s.version > first.version + 4 && waits(s))?;
    ensure!(lab.container("frontend")? == serves, "it was touched");
    drop(fixed);
    lab.until("it is tried", |s| {
        s.operation.is_none() && s.runs.as_ref().is_some_and(|runs| runs.generation == 4)
    })?;
    let fixed = ReadOnly::over(&lab.path("stack"))?;
    let says = |s: &Status| {
        let hold = s.hold.as_ref().filter(|_| s.operation.is_none());
        hold.is_some_and(|hold| hold.why.contains("nginx.conf cannot be written"))
    };
    let held = lab.until("it is held", says)?;
    let tried = lab.container("frontend")?;
    ensure!(!held.rollback.ready, "{held:#?}");
    lab.until("it rests", |s| s.version > held.version + 4 && says(s))?;
    ensure!(lab.container("frontend")? == tried, "it was touched");
    drop(fixed);
    lab.until("it goes back", is_back)?;
    ensure!(
        text(lab, "stack/nginx.conf")? == good,
        "the file is not as it was"
    );
    Ok(())
}

/// A directory that nobody can write in, as under a unit that does not name it.
struct ReadOnly(PathBuf);

impl ReadOnly {
    fn over(place: &Path) -> Result<Self> {
        let mount = |options: &[&str]| {
            let status = Command::new("mount").args(options).arg(place).status()?;
            ensure!(status.success(), "cannot mount {}", place.display());
            Ok(())
        };
        let itself = place.display().to_string();
        mount(&["--bind", &itself])?;
        let this = Self(place.to_owned());
        mount(&["-o", "remount,bind,ro"])?;
        Ok(this)
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

/// nginx itself says no: what serves is not touched, and the mended file goes live. It names a file of a directory that is
/// tracked whole: each release has its own there, and a check sees those of the release.
fn refused_conf(engine: &Engine) -> Result<()> {
    let lab = Lab::new(engine, "check")?;
    let site = SITE
        .replace(
            "    stop_grace_period",
            &format!("    environment: {{PASSWORD: \"{CANARY}\"}}\n    stop_grace_period"),
        )
        .replace(
            "nginx.conf:ro\"]",
            "nginx.conf:ro\", \"./conf.d:/etc/nginx/conf.d:ro\"]",
        );
    lab.write("stack/compose.yaml", &site)?;
    let site = |words: &str, names: &str| {
        let includes =
            format!("return 200 \"{words}\"; }} include /etc/nginx/conf.d/{names}; location = /none {{");
        conf(&includes)
    };
    let good = site("ok", "one.conf");
    lab.write("stack/nginx.conf", &good)?;
    fs::create_dir(lab.path("stack/conf.d"))?;
    lab.write("stack/conf.d/one.conf", "location = /one { return 200; }\n")?;
    lab.settings(&format!(
        "track = [{{ path = \"nginx.conf\", service = \"frontend\", check = [\"nginx\", \"-t\"] }}, \"conf.d/\"]\n{TRIAL}{SITE_PROBE}"
    ))?;
    lab.ask("v1")?;
    lab.start()?;
    lab.until_runs("v1", "good")?;
    let first = lab.container("frontend")?;
    let edit = |text: &str| -> Result<()> {
        lab.write("stack/.nginx.conf", text)?;
        fs::rename(lab.path("stack/.nginx.conf"), lab.path("stack/nginx.conf")).context("cannot rename")
    };
    edit(&format!(
        "events {{}}\nhttp {{ server {{ listen 80; {CANARY} on; }} }}\n"
    ))?;
    let refused = lab.until("the file is refused", |s| {
        is_back(s) && s.gap.as_ref().is_some_and(|gap| gap.generation == 2)
    })?;
    let gap = refused.gap.context("nobody says why")?;
    ensure!(
        !gap.ran && gap.why.contains("nginx -t") && gap.why.contains("unknown directive"),
        "{gap:#?}"
    );
    let said = lab.run(&["status", &lab.name])?;
    let words: Vec<&str> = said.out.split_whitespace().collect();
    ensure!(words.join(" ").contains("unknown directive"), "{}", said.out);
    ensure!(lab.container("frontend")? == first, "it was touched: {first:?}");
    lab.when("the file is put back", || {
        Ok((text(&lab, "stack/nginx.conf")? == good).then_some(()))
    })?;
    let names = lab.containers()?.into_iter().map(|c| c.name);
    let left: Vec<String> = names.filter(|name| name.contains("frontend-steadfast")).collect();
    ensure!(left.is_empty(), "left behind: {left:?}");
    tells_no_value(&lab)?;
    let mended = site("mended", "deep/two.conf");
    fs::create_dir(lab.path("stack/conf.d/deep"))?;
    lab.write("stack/conf.d/deep/two.conf", "location = /two { return 200; }\n")?;
    fs::remove_file(lab.path("stack/conf.d/one.conf"))?;
    edit(&mended)?;
    lab.until("the mended file is good", |s| {
        s.operation.is_none()
            && s.as_asked
            && s.runs
                .as_ref()
                .is_some_and(|runs| runs.generation == 3 && runs.verdict == "good")
    })?;
    let id = lab.container("frontend")?.id;
    let read = lab.engine.exec(&id, &["cat", "/etc/nginx/nginx.conf"])?;
    ensure!(
        id != first.id && read.trim() == mended.trim(),
        "the container has another file: {read}"
    );
    // Gone back to unasked, and asked about again when it comes again: while the older one is on the disk.
    let back = lab.run(&["rollback", &lab.name, "--wait", "--yes"])?;
    ensure!(
        back.code == 0 && text(&lab, "stack/nginx.conf")? == good,
        "{back:?}"
    );
    let has = |part: &str| lab.path(part).exists();
    let (one, two) = ("stack/conf.d/one.conf", "stack/conf.d/deep/two.conf");
    ensure!(has(one) && !has(two), "its directory is not as it was");
    let again = lab.run(&["retry", &lab.name, "--wait"])?;
    ensure!(
        again.code == 0 && text(&lab, "stack/nginx.conf")? == mended,
        "{again:?}"
    );
    ensure!(!has(one) && has(two), "its directory has not come with it");
    let id = lab.container("frontend")?.id;
    let read = lab.engine.exec(&id, &["ls", "/etc/nginx/conf.d/deep"])?;
    ensure!(read.trim() == "two.conf", "the container sees {read}");
    let left = fs::read_dir(lab.path(&format!("state/checked/{}", lab.name)))?;
    for of in left {
        let left = fs::read_dir(of?.path())?.count();
        ensure!(left == 0, "what was laid out for a check is left");
    }
    lab.end()
}

/// The container stays, reads what is new, and what it had when that does not do: nginx answers as the file says.
fn signalled(engine: &Engine) -> Result<()> {
    let lab = Lab::new(engine, "signal")?;
    let site = SITE.replace(
        "nginx.conf:ro\"]",
        "nginx.conf:ro\", \"./conf.d:/etc/nginx/conf.d:ro\"]",
    );
    lab.write("stack/compose.yaml", &site)?;
    lab.write(
        "stack/nginx.conf",
        &conf("include /etc/nginx/conf.d/answer.conf;"),
    )?;
    fs::create_dir(lab.path("stack/conf.d"))?;
    let edit = |text: &str| -> Result<()> {
        lab.write("stack/answer.conf", text)?;
        fs::rename(
            lab.path("stack/answer.conf"),
            lab.path("stack/conf.d/answer.conf"),
        )
        .context("cannot rename")
    };
    edit("return 200 one;\n")?;
    lab.settings(&format!(
        "track = [{{ path = \"conf.d/\", action = \"signal:HUP\" }}]\n{TRIAL}{SITE_PROBE}"
    ))?;
    lab.ask("v1")?;
    lab.start()?;
    lab.until_runs("v1", "good")?;
    let first = lab.container("frontend")?;
    edit("return 200 two;\n")?;
    lab.until("the edit is good", |s| {
        s.operation.is_none()
            && s.runs
                .as_ref()
                .is_some_and(|runs| runs.generation == 2 && runs.verdict == "good")
    })?;
    ensure!(lab.container("frontend")? == first, "it is another container");
    // That it fails shows that it was read, and that it is well again, that it was read once more.
    edit("return 503;\n")?;
    lab.until("the edit is taken back", |s| {
        is_back(s) && s.gap.as_ref().is_some_and(|gap| gap.generation == 3 && gap.ran)
    })?;
    ensure!(text(&lab, "stack/conf.d/answer.conf")? == "return 200 two;\n");
    ensure!(lab.container("frontend")? == first, "it is another container");
    let healthy = |s: &Status| {
        s.runs
            .as_ref()
            .is_some_and(|runs| runs.generation == 2 && runs.verdict == "good")
    };
    lab.until("it is well", |s| is_back(s) && healthy(s))?;
    lab.end()
}

fn pinned_env(engine: &Engine) -> Result<()> {
    let lab = lab(engine, "pinned")?;
    lab.start()?;
    lab.until_runs("v1", "good")?;
    let good = text(&lab, "stack/.env")?;
    let id = lab
        .until("its id", |_| true)?
        .asked
        .and_then(|asked| asked.env_id)
        .context("the env file has no id")?;
    let said = lab.run(&["pin", &lab.name, "v1", "--env", &id, "--wait"])?;
    ensure!(said.code == 0, "{said:?}");
    let web = lab.container("web")?;
    lab.write("stack/.env", &env("0", "two"))?;
    lab.when("it is put back", || {
        Ok((text(&lab, "stack/.env")? == good).then_some(()))
    })?;
    lab.until("it rests", |s| s.operation.is_none() && s.state == State::Steady)?;
    ensure!(lab.container("web")? == web, "the container was touched");
    let said = lab.run(&["history", &lab.name, "--operations"])?;
    ensure!(said.out.contains(".env"), "nobody is told: {}", said.out);
    tells_no_value(&lab)?;
    lab.end()
}

/// Wherever the daemon is killed while a release is left, the file is as the release that runs has it, or as its operator
/// wrote it, and never anything else; and in the end the former.
fn killed(engine: &Engine) -> Result<()> {
    let lab = lab(engine, "envkill")?;
    lab.settings(&format!(
        "[stack.NAME.trial]\nwindow = \"1s\"\ngood_after = \"1s\"\n{WEB_PROBE}"
    ))?;
    lab.start()?;
    lab.until_runs("v1", "good")?;
    let good = text(&lab, "stack/.env")?;
    for round in 0..8_u64 {
        let bad = env("0", &format!("round {round}"));
        lab.write("stack/.env", &bad)?;
        let left = |s: &Status| s.gap.as_ref().is_some_and(|gap| gap.generation == round + 2);
        lab.until("it is going back", |s| s.state == State::RollingBack || left(s))?;
        std::thread::sleep(std::time::Duration::from_millis(40 * round));
        lab.kill()?;
        let is = text(&lab, "stack/.env")?;
        ensure!(is == good || is == bad, "half of something: {is}");
        lab.start()?;
        lab.until("it is taken back", |s| {
            is_back(s) && left(s) && s.runs.as_ref().is_some_and(|runs| runs.generation == 1)
        })?;
        lab.when("the file is back", || {
            Ok((text(&lab, "stack/.env")? == good).then_some(()))
        })?;
        let names: Vec<String> = fs::read_dir(lab.path("stack"))?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.contains("steadfast"))
            .collect();
        ensure!(names.is_empty(), "left behind: {names:?}");
    }
    tells_no_value(&lab)?;
    lab.end()
}
