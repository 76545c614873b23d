//! Debian's chromium without a window, told what to do through a pipe by its own protocol: little of it, by hand.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Longer than anything takes that goes well, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often something is looked at that will be so.
const POLL: Duration = Duration::from_millis(50);

/// A browser with one page.
pub(crate) struct Browser {
    child: Child,
    to: File,
    from: Receiver<Value>,
    last: u64,
    session: Option<String>,
    complaints: Vec<String>,
    _home: TempDir,
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Browser {
    /// Starts one; installs it where it is missing.
    pub(crate) fn start() -> Result<Self> {
        let need = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/need.sh");
        let needed = Command::new(need)
            .args(["chromium=chromium", "fonts-dejavu-core"])
            .status()?;
        ensure!(needed.success(), "chromium could not be installed");
        let home = tempfile::tempdir()?;
        let (to, from) = (home.path().join("to"), home.path().join("from"));
        let made = Command::new("mkfifo").args([&to, &from]).status()?;
        ensure!(made.success(), "no pipe");
        // Open on both sides: neither end waits for the other.
        let both = |path: &Path| OpenOptions::new().read(true).write(true).open(path);
        let (to_file, from_file) = (both(&to)?, both(&from)?);
        // The protocol is spoken on the descriptors 3 and 4. What is shown is our own: it needs no sandbox, which needs rights.
        let script = "exec chromium --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run \
                      --disable-background-networking --remote-debugging-pipe --user-data-dir=\"$1\" about:blank \
                      3<\"$2\" 4>\"$3\"";
        let child = Command::new("sh")
            .args(["-c", script, "sh"])
            .args([&home.path().join("profile"), &to, &from])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start chromium")?;
        let mut browser = Self {
            child,
            to: to_file,
            from: follow(from_file),
            last: 0,
            session: None,
            complaints: Vec::new(),
            _home: home,
        };
        browser.open_page()?;
        Ok(browser)
    }

    fn open_page(&mut self) -> Result<()> {
        let target = self.call("Target.createTarget", &json!({"url": "about:blank"}))?;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = self.call("Target.attachToTarget", &attach)?;
        self.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log"] {
            self.call(&format!("{domain}.enable"), &json!({}))?;
        }
        Ok(())
    }

    /// Asks, and waits for the answer; what the page complains about meanwhile is kept.
    pub(crate) fn call(&mut self, method: &str, params: &Value) -> Result<Value> {
        self.last += 1;
        let mut message = json!({"id": self.last, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.to.write_all(&bytes)?;
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let said = self.from.recv_timeout(left);
            let mut said = said.with_context(|| format!("chromium did not answer {method}"))?;
            if said["id"] == json!(self.last) {
                ensure!(said["error"].is_null(), "{method}: {}", said["error"]);
                return Ok(said["result"].take());
            }
            let method = said["method"].as_str().unwrap_or_default();
            if [
                "Log.entryAdded",
                "Runtime.consoleAPICalled",
                "Runtime.exceptionThrown",
            ]
            .contains(&method)
            {
                self.complaints.push(said["params"].to_string());
            }
        }
    }

    /// What the page has complained about since it was last asked: errors, and what the policy refused.
    pub(crate) fn complaints(&mut self) -> Result<Vec<String>> {
        // Whatever came before this answer was said before.
        self.value("0")?;
        Ok(std::mem::take(&mut self.complaints))
    }

    /// So wide and so high, in light or dark.
    pub(crate) fn look(&mut self, (width, height): (u32, u32), scheme: &str) -> Result<()> {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500});
        self.call("Emulation.setDeviceMetricsOverride", &size)?;
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", &media)?;
        Ok(())
    }

    /// Goes to an address, and waits until the page is there.
    pub(crate) fn go(&mut self, url: &str) -> Result<()> {
        let gone = self.call("Page.navigate", &json!({"url": url}))?;
        ensure!(gone["errorText"].is_null(), "{url}: {}", gone["errorText"]);
        let there = format!(
            "location.href === {} && document.readyState === 'complete'",
            json!(url)
        );
        self.until(&there)
    }

    /// What an expression is in the page.
    pub(crate) fn value(&mut self, expression: &str) -> Result<Value> {
        let asked = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut said = self.call("Runtime.evaluate", &asked)?;
        ensure!(
            said["exceptionDetails"].is_null(),
            "{expression}: {}",
            said["exceptionDetails"]
        );
        Ok(said["result"]["value"].take())
    }

    /// Waits until an expression is true in the page.
    pub(crate) fn until(&mut self, expression: &str) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        // While it goes elsewhere there is no page to ask.
        while !self.value(expression).is_ok_and(|value| value == json!(true)) {
            if Instant::now() >= until {
                let text = self.value("document.documentElement.outerHTML")?;
                bail!("it did not come about: {expression}\n{text}");
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }
}

/// What it says, message by message.
fn follow(from: File) -> Receiver<Value> {
    let (said, heard) = mpsc::channel();
    std::thread::spawn(move || {
        for message in BufReader::new(from).split(0) {
            let message = message.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
            if message.is_none_or(|message| said.send(message).is_err()) {
                return;
            }
        }
    });
    heard
}
