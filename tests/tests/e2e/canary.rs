//! A value of `.env` is in the file, in the object store and in the environment of the containers: whatever is done with
//! it, and whatever fails, it is found nowhere else.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use agent::view::{EnvList, State};
use anyhow::{Context as _, Result, ensure};
use state::name::Digest;
use steadfast_tests::lab::{Engine, Lab, free_port, runs};

use super::metrics::{get, told_at};
use super::migrate::{SETTINGS, filled, prepared, stack};
use super::schema::stands_at;
use super::{Scenario, once};

pub(super) const ALL: &[Scenario] = &[once("canary", canary)];

/// What nobody is told, and all that was said.
struct Search<'a> {
    lab: &'a Lab,
    /// In every value.
    secret: String,
    /// A digest by which a short value could be found.
    digest: Digest,
}

impl Search<'_> {
    fn is_in(&self, bytes: &[u8]) -> bool {
        let mut all = [self.secret.as_str(), self.digest.as_str()].into_iter();
        all.any(|word| bytes.windows(word.len()).any(|window| window == word.as_bytes()))
    }

    /// Runs a command, however it ends; and neither of its outputs tells.
    fn ask(&self, words: &[&str]) -> Result<String> {
        let said = self.lab.run(words)?;
        let told = self.is_in(said.out.as_bytes()) || self.is_in(said.err.as_bytes());
        ensure!(!told, "{words:?}: {said:?}");
        Ok(said.out)
    }

    /// All that can be asked about a stack.
    fn ask_all(&self) -> Result<()> {
        let name = self.lab.name.as_str();
        let all: [&[&str]; 15] = [
            &["check"],
            &["check", "--json"],
            &["status"],
            &["status", name],
            &["status", name, "--json"],
            &["history", name],
            &["history", name, "--operations"],
            &["history", name, "--operations", "--json"],
            &["plan", name],
            &["plan", name, "--steps"],
            &["plan", name, "--json"],
            &["backup", "list", name, "--json"],
            &["rows", "list", name],
            &["env", "list", name],
            &["env", "show", name],
        ];
        for words in all {
            self.ask(words)?;
        }
        Ok(())
    }

    /// Every file of the daemon but the objects: the ledger with its log, backups and their manifests, copies.
    fn files(&self) -> Result<()> {
        let objects = self.lab.path("state/objects");
        let mut searched = 0;
        let mut dirs = vec![self.lab.path("state"), self.lab.path("run")];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(&dir)? {
                let entry = entry?;
                let (path, kind) = (entry.path(), entry.file_type()?);
                if kind.is_dir() && path != objects {
                    dirs.push(path);
                } else if kind.is_file() {
                    ensure!(!self.is_secret_in(&path)?, "it is in {}", path.display());
                    searched += 1;
                }
            }
        }
        ensure!(searched > 3, "there was nothing to search");
        Ok(())
    }

    /// Of a file, which may go meanwhile. A digest is no secret where only the daemon reads.
    fn is_secret_in(&self, path: &Path) -> Result<bool> {
        let bytes = match fs::read(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            read => read?,
        };
        let word = self.secret.as_bytes();
        Ok(bytes.windows(word.len()).any(|window| window == word))
    }

    /// All that the engine says of what is the stack's, but for the environment of its containers.
    fn engine(&self) -> Result<()> {
        let (lab, name) = (self.lab, self.lab.name.as_str());
        let mut has_it = 0;
        for mut container in lab.engine.inspected(name)? {
            let env = container["Config"]["Env"].take().to_string();
            has_it += usize::from(env.contains(&self.secret));
            let left = container.to_string();
            ensure!(!self.is_in(left.as_bytes()), "{left}");
        }
        ensure!(
            has_it > 1,
            "no container has it: what is searched for was never there"
        );
        let project = format!("label=com.docker.compose.project={name}");
        let keeper = format!("label=io.steadfast.keeper={name}");
        let lists: [(&[&str], &str); 3] = [
            (&["ps", "-aq", "--filter", &keeper], "container"),
            (&["volume", "ls", "-q", "--filter", &project], "volume"),
            (&["network", "ls", "-q", "--filter", &project], "network"),
        ];
        for (list, kind) in lists {
            let found = lab.engine.docker(list)?;
            let mut words = vec![kind, "inspect"];
            words.extend(found.lines());
            ensure!(words.len() > 2, "there is no {kind}");
            let told = lab.engine.docker(&words)?;
            ensure!(!self.is_in(told.as_bytes()), "{told}");
        }
        // Commands that were run in containers are in its events, with their arguments.
        let told = lab
            .engine
            .docker(&["events", "--since", "10m", "--until", "0s"])?;
        ensure!(!self.is_in(told.as_bytes()), "{told}");
        Ok(())
    }

    /// What the daemon tells over HTTP.
    fn pages(&self, port: u16) -> Result<()> {
        for page in ["/metrics", "/healthz", "/readyz", "/", "/v1/status"] {
            let (_, told) = get(port, page)?;
            ensure!(!self.is_in(told.as_bytes()), "{page}: {told}");
        }
        Ok(())
    }

    /// The daemon's process: nothing in what it was started with, and no core of it.
    fn process(&self) -> Result<()> {
        // Not even root has to be let look at the environment of what is not dumpable.
        let of = |file: &str| match fs::read(format!("/proc/{}/{file}", self.lab.pid()?)) {
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Ok(Vec::new()),
            read => read.context("cannot look at the daemon"),
        };
        for file in ["environ", "cmdline"] {
            ensure!(!self.is_in(&of(file)?), "it is in the daemon's {file}");
        }
        let limits = String::from_utf8(of("limits")?)?;
        let core = limits
            .lines()
            .find_map(|line| line.strip_prefix("Max core file size"));
        let core: Vec<&str> = core.context("no limit")?.split_whitespace().collect();
        ensure!(core[..2] == ["0", "0"], "a core may be written: {core:?}");
        Ok(())
    }
}

/// Looks at the arguments of every process of this host, again and again.
struct Processes {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<BTreeSet<String>>,
}

impl Processes {
    fn watch(secret: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, secret) = (Arc::clone(&stop), secret.to_owned());
        let thread = std::thread::spawn(move || {
            let mut told = BTreeSet::new();
            while !stopped.load(Ordering::Relaxed) {
                let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
                for entry in entries {
                    // Most of what is there is no process, or has just ended.
                    let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
                    let line = String::from_utf8_lossy(&line).replace('\0', " ");
                    if line.contains(&secret) {
                        told.insert(line);
                    }
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            told
        });
        Self { stop, thread }
    }

    fn end(self) -> Result<BTreeSet<String>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().ok().context("nobody has looked")
    }
}

/// `port`: where api listens; it is asked for at 8000.
fn compose(port: u16) -> String {
    let with = "    env_file: [app.env]\n    environment:\n      DATABASE_URL";
    stack(port).replace("    environment:\n      DATABASE_URL", with)
}

/// A release that comes, one that fails with its schema, edits, and files that make no sense.
fn canary(engine: &Engine) -> Result<()> {
    let lab = prepared(engine, "canary", SETTINGS)?;
    let port = free_port()?;
    told_at(&lab, port)?;
    let search = Search {
        lab: &lab,
        secret: format!(
            "c4nary{}",
            Digest::of(lab.path("").as_os_str().as_encoded_bytes()).short()
        ),
        digest: Digest::of(b"PASSWORD=1234\n"),
    };
    let secret = search.secret.clone();
    let env = |more: &str| format!("PASSWORD={secret}\nUNUSED={secret}-{more}\n");
    lab.write("stack/compose.yaml", &compose(8000))?;
    lab.write("stack/.env", &env("one"))?;
    lab.write("stack/app.env", &format!("TOKEN='{secret} $ one'\n"))?;
    let processes = Processes::watch(&secret);
    lab.start_with(&[("STEADFAST_LOG", PathBuf::from("trace"))])?;
    filled(&lab)?;
    search.ask_all()?;

    // A deploy with a migration fails, and is taken back with it.
    lab.write("stack/compose.yaml", &compose(9999))?;
    lab.ask("v1.8.0")?;
    lab.until("it is left", |s| {
        s.operation.is_none()
            && s.state == State::RolledBack
            && runs(s, "v1.4.0", "good")
            && stands_at(s, "0001")
    })?;
    search.ask_all()?;

    // An edit of each env file.
    lab.ask("v1.4.0")?;
    lab.write("stack/compose.yaml", &format!("# mended\n{}", compose(8000)))?;
    let is_good = |s: &agent::view::Status| s.operation.is_none() && s.state == State::Steady && s.as_asked;
    let before = lab
        .until("it is as asked", is_good)?
        .asked
        .and_then(|asked| asked.env_id);
    lab.write("stack/.env", &env("two"))?;
    lab.write("stack/app.env", &format!("TOKEN='{secret} $ two'\n"))?;
    lab.until("the edits are good", |s| {
        is_good(s) && s.asked.as_ref().is_some_and(|asked| asked.env_id != before)
    })?;
    let list: EnvList = serde_json::from_str(&search.ask(&["env", "list", &lab.name, "--json"])?)?;
    let of_env = list
        .versions
        .iter()
        .filter(|version| version.file.ends_with("/.env"));
    let ids: Vec<&str> = of_env.map(|version| version.id.as_str()).collect();
    ensure!(ids.len() == 2, "{list:#?}");
    search.ask(&["env", "diff", &lab.name, ids[0], ids[1]])?;
    search.ask(&["env", "show", &lab.name, ids[1], "--json"])?;

    // What makes no sense, and a pin of what is not there.
    lab.write(
        "stack/.env",
        &format!("PASSWORD=\"{secret}\nPASS WORD={secret}\n"),
    )?;
    lab.until("it is said", |s| s.problems.len() > 1)?;
    search.ask_all()?;
    lab.write("stack/.env", &env("two"))?;
    let pin = format!("[NAME]\ntag = \"v1.4.0\"\nenv = \"sha256:{}\"\n", search.digest);
    lab.write("etc/desired.toml", &pin)?;
    lab.until("the pin is said", |s| {
        s.problems
            .iter()
            .any(|problem| problem.message.contains("pins the env file"))
    })?;
    for command in ["status", "plan", "history"] {
        search.ask(&[command, &lab.name])?;
    }
    lab.ask("v1.4.0")?;
    lab.until("all is well", |s| is_good(s) && s.problems.is_empty())?;

    search.pages(port)?;
    search.process()?;
    search.engine()?;
    search.files()?;
    ensure!(
        lab.logged().contains("TRACE") || lab.logged().contains("DEBUG"),
        "the log tells too little"
    );
    ensure!(!search.is_in(lab.logged().as_bytes()), "it is in the log");
    let told = processes.end()?;
    ensure!(told.is_empty(), "it is in the arguments of {told:#?}");
    lab.end()
}
