//! One run of the `git` command: what it may read, how long it may take, and how it is ended. What its words mean is
//! worked out elsewhere.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::SourceError;
use super::origin::redacted;
use crate::engine::Tail;
use crate::service;

/// A call that only looks at our own disk, or brings one name.
pub(super) const SOON: Duration = Duration::from_secs(60);
/// Bringing what the origin has.
pub(super) const FETCH: Duration = Duration::from_secs(300);
/// How long a call that has been asked to end may take for it.
const ENDING: Duration = Duration::from_secs(2);
/// How long what a call wrote may still come after its end: something that it has started may hold the pipe for ever.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// The most of an output that is taken in.
const OUTPUT: usize = 64 << 20;
/// The most of its words that is kept.
const WORDS: usize = 16 * 1024;

/// What holds for every call, whatever is configured on this host: nothing runs beside it or after it, and nothing of
/// a commit comes out differently here than elsewhere.
const SETTINGS: [&str; 20] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.attributesFile=/dev/null",
    "core.autocrlf=false",
    "core.eol=lf",
    "core.symlinks=true",
    "core.fileMode=true",
    "core.quotePath=false",
    "core.logAllRefUpdates=false",
    "gc.auto=0",
    "maintenance.auto=false",
    // Every fetch makes one pack: only packs are rolled up later.
    "fetch.unpackLimit=1",
    "fetch.recurseSubmodules=false",
    "fetch.writeCommitGraph=false",
    "submodule.recurse=false",
    "push.recurseSubmodules=no",
    "push.followTags=false",
    "push.gpgSign=false",
    // A server that has gone silent does not use up the whole time.
    "http.lowSpeedLimit=100",
    "http.lowSpeedTime=60",
];
/// And what its processes find in their environment: nobody is there to answer.
const FIXED: [(&str, &str); 8] = [
    ("LC_ALL", "C"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_ASKPASS", "/bin/false"),
    ("SSH_ASKPASS", "/bin/false"),
    ("SSH_ASKPASS_REQUIRE", "force"),
    ("GIT_LFS_SKIP_SMUDGE", "1"),
    ("GIT_NO_LAZY_FETCH", "1"),
    ("GIT_LITERAL_PATHSPECS", "1"),
];
/// What a call may be told by the daemon's own environment; no other variable of Git's counts.
const TOLD: [&str; 9] = [
    "GIT_SSH",
    "GIT_SSH_",
    "GIT_SSL_",
    "GIT_HTTP_",
    "GIT_PROXY_",
    "GIT_EXEC_PATH",
    "GIT_ALLOW_PROTOCOL",
    "GIT_CONFIG_SYSTEM",
    "GIT_CONFIG_GLOBAL",
];

/// What a call reads beside its repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reads {
    /// Nothing: it is about our mirror alone, and no filter, alias or key of this host has a say in it.
    Nothing,
    /// The settings that [`super::mirror`] has written, and those of the host: for whom the origin knows.
    Ours,
    /// The settings of the host, as an operator's own call would.
    Hosts,
}

/// The command, and where it works.
#[derive(Debug, Clone)]
pub(super) struct Git {
    pub(super) program: OsString,
    /// The directory of all that is ours.
    pub(super) base: PathBuf,
}

/// One call to be made.
#[derive(Debug)]
pub(super) struct Call {
    what: &'static str,
    arguments: Vec<OsString>,
    env: Vec<(&'static str, OsString)>,
    input: Vec<u8>,
    reads: Reads,
    within: Duration,
}

/// How a call ended by itself.
#[derive(Debug)]
pub(super) struct Ended {
    /// Its exit code; `None`: a signal ended it.
    pub(super) code: Option<i32>,
    pub(super) stdout: Vec<u8>,
    /// The last of its words, without any account.
    pub(super) words: String,
}

impl Ended {
    pub(super) fn went_well(&self) -> bool {
        self.code == Some(0)
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

impl Call {
    /// `git WHAT`, about the repository in `repository`.
    pub(super) fn new(what: &'static str, repository: &Path) -> Self {
        Self {
            what,
            arguments: vec![what.into()],
            env: vec![("GIT_DIR", repository.into())],
            input: Vec::new(),
            reads: Reads::Nothing,
            within: SOON,
        }
    }

    /// `git WHAT`, about no repository.
    pub(super) fn outside(what: &'static str) -> Self {
        let mut call = Self::new(what, Path::new(""));
        call.env.clear();
        call
    }

    pub(super) fn args<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    pub(super) fn env(mut self, key: &'static str, value: impl Into<OsString>) -> Self {
        self.env.push((key, value.into()));
        self
    }

    pub(super) fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    pub(super) fn reads(mut self, reads: Reads) -> Self {
        self.reads = reads;
        self
    }

    pub(super) fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    pub(super) fn what(&self) -> &'static str {
        self.what
    }
}

impl Git {
    /// Makes a call. An error is that it did not come to an end of its own; whether it went well is in what it returns.
    pub(super) async fn run(&self, call: Call) -> Result<Ended, SourceError> {
        let (what, within) = (call.what, call.within);
        let mut command = self.command(&call);
        let mut child = command.spawn().map_err(|error| match error.kind() {
            // A directory of PATH that may not be searched is as good as an empty one.
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied if self.base.is_dir() => {
                SourceError::NoGit
            }
            _ => SourceError::io("run git in", &self.base)(error),
        })?;
        let mut group = Group::of(&child);
        let ended = timeout(within, talk(&mut child, &call.input)).await;
        let Ok(ended) = ended else {
            group.end(&mut child).await;
            return Err(SourceError::TimedOut { what, within });
        };
        let (code, stdout, words) = ended.map_err(SourceError::io("run git in", &self.base))?;
        group.0 = None;
        let stdout = stdout.ok_or(SourceError::TooLarge { what, most: OUTPUT })?;
        let words = redacted(&words);
        Ok(Ended { code, stdout, words })
    }

    fn command(&self, call: &Call) -> Command {
        let mut command = Command::new(&self.program);
        service::untold(&mut command);
        for key in std::env::vars_os().map(|(key, _)| key) {
            if is_unasked(&key) {
                command.env_remove(&key);
            }
        }
        for setting in SETTINGS {
            command.arg("-c").arg(setting);
        }
        match call.reads {
            Reads::Nothing => {
                command
                    .env("GIT_CONFIG_NOSYSTEM", "1")
                    .env("GIT_CONFIG_GLOBAL", "/dev/null");
            }
            Reads::Ours => drop(command.env("GIT_CONFIG_GLOBAL", self.settings())),
            // As the daemon was started with.
            Reads::Hosts => {}
        }
        command
            .args(&call.arguments)
            .current_dir(&self.base)
            .envs(FIXED)
            .envs(call.env.iter().map(|(key, value)| (key, value)))
            .stdin(if call.input.is_empty() {
                Stdio::null()
            } else {
                Stdio::piped()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Its own group: what it starts in its turn, `ssh` and the like, is ended with it.
            .process_group(0)
            .kill_on_drop(true);
        command
    }

    /// Where the settings are that a call reads which goes to the origin.
    pub(super) fn settings(&self) -> PathBuf {
        self.base.join("gitconfig")
    }
}

/// Whether a variable of our environment would tell Git something that nobody means.
fn is_unasked(key: &OsStr) -> bool {
    let name = key.to_string_lossy();
    let is_told = |told: &&str| name == **told || (told.ends_with('_') && name.starts_with(*told));
    name.starts_with("GIT_") && !TOLD.iter().any(is_told)
}

/// Feeds a child and listens to it until it has ended. An output that is too large is none.
async fn talk(child: &mut Child, input: &[u8]) -> io::Result<(Option<i32>, Option<Vec<u8>>, String)> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (mut output, mut too_much) = (Vec::new(), false);
    let mut tail = Tail::new(WORDS);
    let mut length = 0;
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A call that wants no more is no error; it says itself what is wrong.
            let _ = stdin.write_all(input).await;
        }
    };
    let take = drain(stdout, |piece| {
        too_much |= output.len() + piece.len() > OUTPUT;
        if !too_much {
            output.extend_from_slice(piece);
        }
    });
    let listen = drain(stderr, |piece| {
        length += piece.len();
        tail.push(piece);
    });
    let code = {
        let listening = async { tokio::join!(feed, take, listen) };
        tokio::pin!(listening);
        let mut heard = false;
        // Both only wait: what is read is kept outside of them.
        let status = loop {
            tokio::select! {
                _ = &mut listening, if !heard => heard = true,
                status = child.wait() => break status?,
            }
        };
        if !heard {
            let _ = timeout(LAST_WORDS, listening).await;
        }
        status.code()
    };
    let words = whole_lines(tail.text(), length);
    Ok((code, (!too_much).then_some(output), words))
}

/// What was kept of so many bytes, without a line that is cut: it may begin within an address.
fn whole_lines(words: String, length: usize) -> String {
    match words.split_once('\n') {
        Some((_, whole)) if length > WORDS => whole.to_owned(),
        _ => words,
    }
}

async fn drain(from: Option<impl AsyncRead + Unpin>, mut take: impl FnMut(&[u8])) {
    let Some(mut from) = from else { return };
    let mut piece = vec![0; 16 * 1024];
    // What is too much is read all the same: else the command waits for ever.
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        take(&piece[..length]);
    }
}

/// The processes of a call, which do not outlast it.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(Pid::from_raw))
    }

    /// Asks them to end, which takes their half-made files away, and ends them.
    async fn end(&mut self, child: &mut Child) {
        if let Some(group) = self.0 {
            // It may have ended by now.
            let _ = kill_process_group(group, Signal::TERM);
            let _ = timeout(ENDING, child.wait()).await;
            let _ = kill_process_group(group, Signal::KILL);
            let _ = timeout(ENDING, child.wait()).await;
        }
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Parts that end with a NUL, as `-z` makes them.
pub(super) fn parts(output: &[u8]) -> impl Iterator<Item = &[u8]> {
    output.split(|byte| *byte == 0).filter(|part| !part.is_empty())
}

/// A path as Git writes it.
pub(super) fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}
