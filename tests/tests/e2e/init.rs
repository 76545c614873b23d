//! `init` on a stack that Docker Compose has started: what it writes is valid, and the first run changes nothing. And
//! docs/getting-started.md, command by command.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use steadfast_tests::lab::{Container, Engine, Lab, Said, TRIAL, WEB};

use super::adopt::{Compose, compose};
use super::{Scenario, everywhere, once};

pub(super) const ALL: &[Scenario] = &[
    everywhere("init_writes_what_compose_2_runs", |engine| {
        writes(engine, "COMPOSE_V2")
    })
    .needs("COMPOSE_V2"),
    once("init_writes_what_compose_1_runs", |engine| {
        writes(engine, "COMPOSE_V1")
    })
    .needs("COMPOSE_V1"),
    once("getting_started_is_true", getting_started).needs("COMPOSE_V2"),
];

/// The agent's own places in this lab, which nobody writes on a host.
const AGENT: &str = "[agent]
state_dir = \"DIR/state\"
socket = \"DIR/run/steadfast.sock\"
settle = \"300ms\"
resync = \"2s\"
http = false
";

/// `init` for the stack of a lab, on the engine behind its proxy.
fn init(lab: &Lab, more: &[&str]) -> Result<Said> {
    let engine = format!("unix://{}", lab.path("run/engine.sock").display());
    let mut words = vec!["init", "--project", lab.name.as_str(), "--engine", &engine];
    words.extend(more);
    lab.run(&words)
}

/// What was written, with the lab's own places, and probes that do not wait for ten seconds.
fn settle_in(lab: &Lab) -> Result<()> {
    let path = lab.path("etc/steadfast.toml");
    let written = fs::read_to_string(&path)?;
    ensure!(written.contains("[agent]\n"), "{written}");
    let head = format!("[[stack.{}.probe]]\n", lab.name);
    let quick = written
        .replace("[agent]\n", AGENT)
        .replace(&head, &format!("{head}interval = \"300ms\"\n"));
    lab.write("etc/steadfast.toml", &quick)
}

fn append(lab: &Lab, more: &str) -> Result<()> {
    let path = lab.path("etc/steadfast.toml");
    let text = fs::read_to_string(path)?;
    lab.write("etc/steadfast.toml", &format!("{text}\n{more}"))
}

fn writes(engine: &Engine, which: &str) -> Result<()> {
    let lab = Lab::new(engine, &which.to_lowercase().replace("compose_", "init"))?;
    lab.write("stack/compose.yaml", WEB)?;
    lab.write("stack/.env", "LOG_LEVEL=info\n")?;
    // The tag is known to the shell alone.
    compose(&lab, which, "v1")?.run(&["up", "-d"])?;
    let made = lab.containers()?;
    lab.when("it serves", || {
        Ok(engine.exec(&lab.container("web")?.id, &["/tiny", "probe"]).ok())
    })?;

    let shown = init(&lab, &["--print", "--json"])?;
    ensure!(shown.code == 0, "{shown:?}");
    ensure!(!lab.path("etc/steadfast.toml").exists(), "--print wrote");
    let said = init(&lab, &[])?;
    ensure!(said.code == 0 && said.answers("changes nothing"), "{said:?}");
    let again = init(&lab, &[])?;
    ensure!(again.code == 5 && again.complains("steadfast.toml"), "{again:?}");
    let drop_in = fs::read_to_string(lab.path("etc/steadfast.service.d/stacks.conf"))?;
    let writable = format!("ReadWritePaths=-{}\n", lab.path("stack").display());
    ensure!(drop_in.ends_with(&writable), "{drop_in}");
    let settings = fs::read_to_string(lab.path("etc/steadfast.toml"))?;
    for line in ["port    = 8080", "path    = \"/health\""] {
        ensure!(settings.contains(line), "{line} is not in\n{settings}");
    }
    ensure!(lab.asked()?.contains("tag = \"v1\""), "{}", lab.asked()?);

    settle_in(&lab)?;
    append(&lab, TRIAL)?;
    let said = lab.run(&["check"])?;
    ensure!(said.code == 0, "{said:?}");
    lab.start()?;
    let good = lab.until_runs("v1", "good")?;
    ensure!(good.as_asked && good.runs.is_some_and(|runs| runs.adopted));
    lab.until("some more passes", |s| s.version > good.version + 8)?;
    let changes = lab.proxy.changes();
    ensure!(changes.is_empty(), "{changes:#?}");
    ensure!(lab.containers()? == made, "something was touched");

    // What the agent has made is known by its tag too, though it was made of an image's id.
    lab.ask("v2")?;
    lab.until_runs("v2", "good")?;
    let shown = init(&lab, &["--print"])?;
    ensure!(shown.answers("tag = \"v2\""), "{shown:?}");
    lab.end()
}

/// What of the document is not so on this host. Beside that, `shop` is the stack's name here, commands get `--config`, and
/// `sudo` is left out.
const HERE: &[(&str, &str)] = &[
    ("registry.example/shop/api", "steadfast-test/api"),
    ("image: postgres:15", "image: steadfast-test/postgres:15"),
    ("restart: unless-stopped", "labels: {io.steadfast.test: e2e}"),
    ("rows: {}", "rows: {labels: {io.steadfast.test: e2e}}"),
    // Minutes are for people.
    ("\"1m\" ", "\"8s\" "),
    ("\"30s\"", "\"3s\""),
    // A mended release, of those that there are.
    ("v1.6.1", "v1.4.0"),
];

/// A fenced part of the document.
struct Fence<'d> {
    language: &'d str,
    text: String,
}

fn fences(document: &str) -> Vec<Fence<'_>> {
    let parts = document.split("```").skip(1).step_by(2);
    let here = |text: &str| {
        HERE.iter()
            .fold(text.to_owned(), |text, (there, here)| text.replace(there, here))
    };
    parts
        .filter_map(|part| part.split_once('\n'))
        .map(|(language, text)| Fence {
            language,
            text: here(text),
        })
        .collect()
}

fn getting_started(engine: &Engine) -> Result<()> {
    let document = include_str!("../../../docs/getting-started.md");
    let lab = Lab::new(engine, "start")?;
    let compose = compose(&lab, "COMPOSE_V2", "v1.4.0")?;
    let mut reader = Reader {
        lab: &lab,
        compose,
        asked: String::from("v1.4.0"),
        ran: 0,
    };
    for fence in fences(document) {
        match fence.language {
            "yaml" => lab.write("stack/compose.yaml", &fence.text)?,
            "env" => lab.write("stack/.env", &fence.text)?,
            "toml" => append(&lab, &fence.text.replace("stack.shop", "stack.NAME"))?,
            "sh" => {
                for line in fence.text.lines() {
                    let line = line
                        .strip_prefix("$ ")
                        .with_context(|| format!("no command: {line}"))?;
                    reader
                        .follow(line)
                        .with_context(|| format!("docs/getting-started.md: {line}"))?;
                }
            }
            other => bail!("docs/getting-started.md: nobody knows what to do with {other:?}"),
        }
    }
    ensure!(
        reader.ran == document.matches("\n$ ").count(),
        "{} were run",
        reader.ran
    );
    for part in ["etc/steadfast.toml", "etc/desired.toml", "daemon.log"] {
        let text = fs::read_to_string(lab.path(part))?;
        ensure!(
            !text.contains("change-me-and-tell-nobody"),
            "the password is in {part}"
        );
    }
    lab.end()
}

/// Somebody who does what the document says.
struct Reader<'a> {
    lab: &'a Lab,
    compose: Compose<'a>,
    /// The tag that was asked for last.
    asked: String,
    ran: usize,
}

impl Reader<'_> {
    /// The containers of services: one in which an image is asked for its migrations comes and goes.
    fn services(&self) -> Result<Vec<Container>> {
        let mut all = self.lab.containers()?;
        all.retain(|container| !container.name.contains("-steadfast-"));
        Ok(all)
    }

    fn follow(&mut self, line: &str) -> Result<()> {
        let (line, comment) = line.split_once('#').unwrap_or((line, ""));
        let code = comment
            .split_once("exits with ")
            .map_or("0", |(_, code)| &code[..1]);
        let all = || line.split_whitespace();
        // A reader is in no group: the socket, /etc/steadfast and systemd are root's.
        let needs = all().any(|word| matches!(word, "steadfast" | "systemctl"));
        ensure!(!needs || line.starts_with("sudo "), "it needs sudo");
        let words: Vec<&str> = all().filter(|word| *word != "sudo").collect();
        let before = self.services()?;
        match words[..] {
            ["docker", "compose", ref words @ ..] => drop(self.compose.run(words)?),
            ["systemctl", "daemon-reload"] => {}
            ["systemctl", "enable", "--now", "steadfast"] => {
                self.lab.start()?;
                self.lab.until("the stack is met", |s| s.runs.is_some())?;
                ensure!(self.services()? == before, "something was touched");
            }
            ["systemctl", "restart", "steadfast"] => {
                self.lab.terminate()?;
                self.lab.start()?;
                self.lab.until("it is there again", |s| s.runs.is_some())?;
                ensure!(self.services()? == before, "something was touched");
            }
            ["watch", "steadfast", "status", _] => drop(self.lab.until_runs(&self.asked, "good")?),
            ["steadfast", "init", "--project", _] => {
                let said = init(self.lab, &[])?;
                ensure!(said.code == 0 && said.answers("changes nothing"), "{said:?}");
                as_the_document_says(self.lab.path("etc/steadfast.toml").as_path(), &said)?;
                settle_in(self.lab)?;
            }
            ["steadfast", ref words @ ..] => {
                let named = |word: &&str| {
                    if *word == "shop" {
                        self.lab.name.clone()
                    } else {
                        (*word).to_owned()
                    }
                };
                let own: Vec<String> = words.iter().map(named).collect();
                let own: Vec<&str> = own.iter().map(String::as_str).collect();
                let said = self.lab.run(&own)?;
                ensure!(said.code.to_string() == code, "{said:?}");
                if let ["pin", _, tag, ..] = words {
                    (*tag).clone_into(&mut self.asked);
                }
            }
            _ => bail!("no test runs this"),
        }
        self.ran += 1;
        Ok(())
    }
}

/// What the document says that `init` has found.
fn as_the_document_says(settings: &Path, said: &Said) -> Result<()> {
    let text = fs::read_to_string(settings)?;
    for line in [
        "password_env = \"POSTGRES_PASSWORD\"",
        "tool    = \"alembic\"",
        "service = \"api\"",
        "port    = 8000",
        "path    = \"/health\"",
    ] {
        ensure!(text.contains(line), "{line} is not in\n{text}");
    }
    ensure!(said.answers("speaks of an upgrade"), "{said:?}");
    Ok(())
}
