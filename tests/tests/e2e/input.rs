//! Bad input: whatever desired.toml and the files of a stack become, and whatever a health URL answers.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use steadfast_tests::lab::{Engine, Lab, TRIAL, WEB, WEB_PROBE};

use super::{Scenario, once};

pub(super) const ALL: &[Scenario] = &[
    once("a_bad_desired_toml_changes_nothing", bad_desired),
    once("bad_files_while_it_runs", bad_files),
    once("every_way_to_save_a_file_is_seen", every_way_to_save),
    once("a_health_url_without_end_is_a_failed_sample", health_urls),
    once("three_stacks_do_not_disturb_each_other", three_stacks),
];

fn bad_desired(engine: &Engine) -> Result<()> {
    let lab = Lab::web(engine, "input", "v1")?;
    lab.start()?;
    lab.until_runs("v1", "good")?;
    let valid = lab.asked()?;
    let web = lab.container("web")?;
    lab.proxy.forget();
    let name = &lab.name;
    let texts: &[(&str, Vec<u8>)] = &[
        ("empty", Vec::new()),
        ("half-written", format!("[{name}]\ntag = \"v").into()),
        ("huge", vec![b'#'; 3 << 20]),
        ("binary", vec![0, 159, 146, 150, 255]),
        (
            "an unknown stack",
            format!("{valid}\n[nobody]\ntag = \"v2\"\n").into(),
        ),
        ("a wrong type", format!("[{name}]\ntag = 2\n").into()),
        (
            "a key twice",
            format!("[{name}]\ntag = \"v2\"\ntag = \"v3\"\n").into(),
        ),
    ];
    for (what, text) in texts {
        fs::write(lab.desired(), text)?;
        refused(&lab, what)?;
        fs::write(lab.desired(), &valid)?;
        accepted(&lab, what)?;
    }
    let path = lab.desired();
    let deeds: [(&str, &dyn Fn() -> Result<()>); 4] = [
        ("missing", &|| Ok(())),
        ("a directory", &|| Ok(fs::create_dir(&path)?)),
        ("a FIFO", &|| {
            ensure!(Command::new("mkfifo").arg(&path).status()?.success());
            Ok(())
        }),
        ("a link to nothing", &|| {
            Ok(symlink("/nonexistent/desired.toml", &path)?)
        }),
    ];
    for (what, deed) in deeds {
        fs::remove_file(&path)?;
        deed()?;
        refused(&lab, what)?;
        if path.is_dir() {
            fs::remove_dir(&path)?;
        }
        lab.ask("v1")?;
        accepted(&lab, what)?;
    }
    ensure!(lab.proxy.changes().is_empty(), "{:#?}", lab.proxy.changes());
    ensure!(lab.container("web")? == web, "the container was touched");
    lab.end()
}

/// There is one clear error, and what was asked for before stays in force.
fn refused(lab: &Lab, what: &str) -> Result<()> {
    let seen = lab.until(&format!("{what} is an error"), |s| !s.problems.is_empty())?;
    ensure!(seen.problems.len() == 1, "{what}: {:#?}", seen.problems);
    let problem = &seen.problems[0];
    ensure!(
        problem.gravity == "error" && problem.file.ends_with("desired.toml"),
        "{problem:#?}"
    );
    ensure!(!problem.message.is_empty());
    ensure!(
        seen.asked.is_some_and(|asked| asked.tag == "v1") && seen.as_asked,
        "{what}"
    );
    let said = lab.run(&["status", &lab.name, "--exit-code"])?;
    ensure!(
        said.code == 2 && said.out.contains("desired.toml"),
        "{what}: {said:?}"
    );
    Ok(())
}

/// A value that nobody but a container and the files may see.
const CANARY: &str = "canary-3e9d57b2";

/// Makes something else of a file.
type Deed<'a> = &'a dyn Fn(&Path) -> Result<()>;

/// One daemon, and every file of its stack is something else for a while: it says which and what, and goes on as before.
fn bad_files(engine: &Engine) -> Result<()> {
    let lab = Lab::web(engine, "files", "v1")?;
    let compose = WEB.replace(
        "    environment:\n",
        "    env_file: [app.env]\n    environment:\n",
    );
    let good = [
        (".env", "LOG_LEVEL=info\n"),
        ("app.env", "APP=one\n"),
        ("compose.yaml", compose.as_str()),
    ];
    for (name, text) in good {
        lab.write(&format!("stack/{name}"), text)?;
    }
    lab.write("elsewhere", &format!("LOG_LEVEL={CANARY}\n"))?;
    lab.start()?;
    lab.until_runs("v1", "good")?;
    let web = lab.container("web")?;
    lab.proxy.forget();

    let (open, not_text) = (
        format!("LOG_LEVEL=\"{CANARY}\n"),
        format!("LOG_LEVEL={CANARY}\0\n"),
    );
    let (half, cut_off) = (
        "services:\n  web:\n    image: \"steadfast",
        format!("{compose}{}", "\0".repeat(512)),
    );
    let link: Deed<'_> = &|path| Ok(symlink(lab.path("elsewhere"), path)?);
    let fifo: Deed<'_> = &|path| {
        ensure!(Command::new("mkfifo").arg(path).status()?.success());
        Ok(())
    };
    let rows: [(&str, &str, Deed<'_>); 11] = [
        (".env", "is not UTF-8 text", &|path| {
            Ok(fs::write(path, b"LOG_LEVEL=\xff\n")?)
        }),
        (".env", "a NUL byte", &|path| Ok(fs::write(path, &not_text)?)),
        (".env", "is larger than", &|path| {
            Ok(fs::write(path, vec![b'#'; 10 << 20])?)
        }),
        (".env", "is never closed", &|path| Ok(fs::write(path, &open)?)),
        (".env", "is a FIFO", fifo),
        (".env", "leads out of", link),
        ("app.env", "does not exist", &|_| Ok(())),
        ("app.env", "is a directory", &|path| Ok(fs::create_dir(path)?)),
        ("compose.yaml", "", &|path| Ok(fs::write(path, half)?)),
        ("compose.yaml", "a NUL byte", &|path| {
            Ok(fs::write(path, &cut_off)?)
        }),
        ("compose.yaml", "leads out of", link),
    ];
    for (name, words, deed) in rows {
        let path = lab.path("stack").join(name);
        remove(&path)?;
        deed(&path)?;
        said_of(&lab, name, words)?;
        remove(&path)?;
        let (_, text) = good
            .iter()
            .find(|(good, _)| *good == name)
            .context("no such row")?;
        lab.write(&format!("stack/{name}"), text)?;
        accepted(&lab, &format!("{name} {words}"))?;
    }
    ensure!(lab.proxy.changes().is_empty(), "{:#?}", lab.proxy.changes());
    ensure!(lab.container("web")? == web, "the container was touched");
    ensure!(!lab.logged().contains(CANARY), "a value is in the log");

    // The same, as another editor writes it: another version, and no other container.
    lab.write("stack/.env", "\u{feff}export LOG_LEVEL='info'\r\n")?;
    lab.until("it is taken up", |s| {
        let good = |runs: &agent::view::Running| runs.generation == 2 && runs.verdict == "good";
        s.operation.is_none() && s.as_asked && s.runs.as_ref().is_some_and(good)
    })?;
    ensure!(lab.container("web")? == web, "the container was touched");
    lab.end()
}

fn remove(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(fs::remove_dir(path)?);
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// There is one error, about this file and with these words, and what was asked for before stays in force.
fn said_of(lab: &Lab, name: &str, words: &str) -> Result<()> {
    let tells = |p: &agent::view::ProblemView| {
        let told = format!("{} {}", p.file, p.message);
        p.gravity == "error" && told.contains(name) && p.message.contains(words)
    };
    let what = format!("{name}: {words}");
    let seen = lab.until(&what, |s| s.problems.iter().any(tells))?;
    ensure!(seen.problems.len() == 1, "{what}: {:#?}", seen.problems);
    ensure!(seen.as_asked && seen.operation.is_none(), "{what}: {seen:#?}");
    let said = lab.run(&["status", &lab.name, "--exit-code"])?;
    ensure!(said.code == 2 && said.answers(words), "{what}: {said:?}");
    let checked = lab.run(&["check"])?;
    ensure!(checked.code == 2, "{what}: {checked:?}");
    for said in [said, checked] {
        ensure!(
            !said.out.contains(CANARY) && !said.err.contains(CANARY),
            "{what}: {said:?}"
        );
    }
    Ok(())
}

fn accepted(lab: &Lab, what: &str) -> Result<()> {
    lab.until(&format!("all is well after {what}"), |s| s.problems.is_empty())
        .map(drop)
}

fn every_way_to_save(engine: &Engine) -> Result<()> {
    let lab = Lab::web(engine, "save", "v1")?;
    lab.start()?;
    lab.until_runs("v1", "good")?;
    let text = |tag: &str| format!("[{}]\ntag = \"{tag}\"\n", lab.name);
    // In place, and in two halves: the first one alone is no request.
    fs::write(lab.desired(), &text("v2")[..text("v2").len() - 3])?;
    lab.until("the half is refused", |s| !s.problems.is_empty())?;
    fs::write(lab.desired(), text("v2"))?;
    lab.until_runs("v2", "good")?;
    // Renamed over.
    lab.ask("v3")?;
    lab.until_runs("v3", "good")?;
    // A link, and the link swapped: no file changes at all.
    for tag in ["v3", "v1"] {
        lab.write(&format!("stack/{tag}.toml"), &text(tag))?;
        symlink(lab.path(&format!("stack/{tag}.toml")), lab.path("etc/.link"))?;
        fs::rename(lab.path("etc/.link"), lab.desired())?;
        lab.until_runs(tag, "good")?;
    }
    // In place, behind the link.
    lab.write("stack/v1.toml", &text("v2"))?;
    lab.until_runs("v2", "good")?;
    lab.end()
}

fn health_urls(engine: &Engine) -> Result<()> {
    let lab = Lab::web(engine, "urls", "v1")?;
    let advisory = |path: &str| {
        format!(
            "[[stack.NAME.probe]]\nname = \"{path}\"\nservice = \"web\"\nkind = \"http\"\nport = 8080\n\
             path = \"/{path}\"\ninterval = \"400ms\"\ntimeout = \"300ms\"\nfail_after = 2\nrequired = false\n"
        )
    };
    let paths = ["silent", "endless", "loop"];
    let probes: String = paths.map(advisory).concat();
    lab.settings(&format!("{TRIAL}{WEB_PROBE}{probes}"))?;
    lab.start()?;
    let failing = |s: &agent::view::Status, name: &str| {
        let probe = s.probes.iter().find(|p| p.probe == name);
        probe.is_some_and(|p| p.phase == "failing" && p.last.is_some())
    };
    let seen = lab.until("all three fail", |s| paths.iter().all(|path| failing(s, path)))?;
    lab.until("many more samples", |s| s.version > seen.version + 40)?;
    // They only report: what judges the release passes.
    lab.until_runs("v1", "good")?;
    let status = fs::read_to_string(format!("/proc/{}/status", lab.pid()?))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: u64 = peak.unwrap_or_default().replace("kB", "").trim().parse()?;
    ensure!(kib < 100 * 1024, "{kib} KiB were used");
    lab.end()
}

fn three_stacks(engine: &Engine) -> Result<()> {
    let lab = Lab::new(engine, "three")?;
    let names = ["a", "b", "c"].map(|letter| format!("{}-{letter}", lab.name));
    let mut settings = String::from(
        "[agent]\nstate_dir = \"DIR/state\"\ndesired = \"DIR/etc/desired.toml\"\nsocket = \"DIR/run/steadfast.sock\"\n\
         engine = \"unix://DIR/run/engine.sock\"\nsettle = \"300ms\"\nresync = \"2s\"\nhttp = false\n",
    );
    for name in &names {
        lab.also(name);
        fs::create_dir(lab.path(&format!("stack/{name}")))?;
        fs::write(lab.path(&format!("stack/{name}/compose.yaml")), WEB)?;
        let table = format!("[stack.NAME]\ndirectory = \"DIR/stack/NAME\"\n{TRIAL}{WEB_PROBE}");
        let directory = lab.path("").to_string_lossy().trim_end_matches('/').to_owned();
        settings += &table.replace("NAME", name).replace("DIR", &directory);
    }
    lab.write("etc/steadfast.toml", &settings)?;
    let ask = |tags: [&str; 3]| {
        let entries = names.iter().zip(tags);
        let entries: Vec<String> = entries
            .map(|(name, tag)| format!("[{name}]\ntag = \"{tag}\"\n"))
            .collect();
        let text = entries.concat();
        fs::write(lab.desired(), text)
    };
    ask(["v1", "v2", "v3"])?;
    lab.start()?;
    let good = |name: &str, tag: &str| {
        lab.until_of(name, "it is good", |s| {
            steadfast_tests::lab::runs(s, tag, "good") && s.operation.is_none()
        })
    };
    for (name, tag) in names.iter().zip(["v1", "v2", "v3"]) {
        good(name, tag)?;
    }
    let others = || -> Result<_> { Ok((engine.containers(&names[0])?, engine.containers(&names[2])?)) };
    let before = others()?;
    ask(["v1", "bad", "v3"])?;
    lab.until_of(&names[1], "it is taken back", |s| {
        s.state == agent::view::State::RolledBack
    })?;
    good(&names[1], "v2")?;
    ensure!(others()? == before, "the others were touched");
    let said = lab.run(&["status", "--exit-code"])?;
    ensure!(said.code == 6, "{said:?}");
    lab.end()
}
