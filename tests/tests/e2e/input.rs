//! Bad input: whatever desired.toml becomes, and whatever a health URL answers.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use anyhow::{Result, ensure};
use steadfast_tests::lab::{Engine, Lab, TRIAL, WEB_PROBE};

use super::{Scenario, once};

pub(super) const ALL: &[Scenario] = &[
    once("a_bad_desired_toml_changes_nothing", bad_desired),
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
         engine = \"unix://DIR/run/engine.sock\"\nsettle = \"300ms\"\nresync = \"2s\"\n",
    );
    for name in &names {
        lab.also(name);
        fs::create_dir(lab.path(&format!("stack/{name}")))?;
        fs::write(
            lab.path(&format!("stack/{name}/compose.yaml")),
            steadfast_tests::lab::WEB,
        )?;
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
