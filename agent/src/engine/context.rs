//! A build context: a directory as the tar stream that `docker build` would send, and its digest. What is read is read
//! from the directory that was opened: no symbolic link in it leads the daemon elsewhere.

mod files;
mod ignore;
mod pattern;
mod stream;
#[cfg(test)]
mod tests;
mod walk;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use state::name::{Digest, Digesting};

use self::files::{Found, Text};
use self::ignore::Rules;
pub(super) use self::stream::{Sending, Tar};
use crate::engine::{Build, EngineError};

/// The name of the file that says what is not sent.
const IGNORE: &str = ".dockerignore";

/// Why a context cannot be sent. The message never holds any of its content.
#[derive(Debug, thiserror::Error)]
pub(super) enum ContextError {
    /// It is not as a context has to be: reading it again changes nothing.
    #[error("{0}")]
    Wrong(String),
    /// Something was written, taken away or put in its place meanwhile.
    #[error("{} changed while it was read", .0.display())]
    Changed(PathBuf),
    /// The file system refused.
    #[error("{} cannot be read: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Whoever it is sent to takes no more.
    #[error("nobody takes it any more")]
    Closed,
}

impl ContextError {
    /// What it means for a build of `reference`.
    pub(super) fn of_build(self, reference: &str) -> EngineError {
        match self {
            ContextError::Wrong(message) => EngineError::BuildFailed {
                reference: reference.to_owned(),
                message,
            },
            other => EngineError::Stream {
                call: "build image",
                reason: other.to_string(),
            },
        }
    }
}

/// The digest of all that a build of `build` would send, without reaching any engine.
pub async fn context_digest(build: &Build<'_>) -> Result<Digest, EngineError> {
    off_the_loop(build, |build| Context::open(build)?.digest()).await
}

/// The context of `build`, opened.
pub(super) async fn opened(build: &Build<'_>) -> Result<Context, EngineError> {
    off_the_loop(build, Context::open).await
}

/// Reads on a thread of its own: a disk may be slow.
async fn off_the_loop<T: Send + 'static>(
    build: &Build<'_>,
    read: impl FnOnce(&Build<'_>) -> Result<T, ContextError> + Send + 'static,
) -> Result<T, EngineError> {
    let (context, within, spec) = (
        build.context.to_owned(),
        build.within.map(Path::to_owned),
        build.spec.clone(),
    );
    let reading = tokio::task::spawn_blocking(move || {
        read(&Build {
            context: &context,
            within: within.as_deref(),
            spec: &spec,
            reference: "",
            labels: BTreeMap::new(),
            platform: None,
        })
    });
    match reading.await {
        Ok(result) => result.map_err(|error| error.of_build(build.reference)),
        Err(error) => Err(EngineError::Stream {
            call: "build image",
            reason: error.to_string(),
        }),
    }
}

/// A context, opened, with its rules and its Dockerfile read.
#[derive(Debug)]
pub(super) struct Context {
    dir: OwnedFd,
    /// For messages.
    path: PathBuf,
    rules: Rules,
    /// The Dockerfile's name in the archive.
    dockerfile: String,
    /// What is sent instead of what the directory has under these names, excluded or not: the Dockerfile, and
    /// `.dockerignore`. The engine reads both, and leaves them out itself where the latter says so.
    own: Vec<(String, Text)>,
}

impl Context {
    /// Opens the context of `build` and reads what says how it is to be sent. It blocks.
    pub(super) fn open(build: &Build<'_>) -> Result<Self, ContextError> {
        let dir = files::directory(build.context, build.within)?;
        let dockerfile = dockerfile(&dir, build)?;
        let ignore = ignore(&dir, build)?;
        let rules = match &ignore {
            Some(ignore) => Rules::parse(&ignore.text.lossy())
                .map_err(|why| ContextError::Wrong(format!("{}: {why}", ignore.path.display())))?,
            None => Rules::default(),
        };
        let mut own = Vec::new();
        if ignore.is_some() || dockerfile.is_made {
            own.push((IGNORE.to_owned(), sent_ignore(ignore, &dockerfile)));
        }
        own.push((dockerfile.name.clone(), dockerfile.text));
        Ok(Self {
            dir,
            path: build.context.to_owned(),
            rules,
            dockerfile: dockerfile.name,
            own,
        })
    }

    /// The Dockerfile's name in the archive.
    pub(super) fn dockerfile(&self) -> &str {
        &self.dockerfile
    }

    /// The digest of all that would be sent: as long as it stays the same, so does what is built from it by the same
    /// builder. It blocks.
    pub(super) fn digest(&self) -> Result<Digest, ContextError> {
        let mut digesting = Digested(Digesting::default());
        digesting.0.update(self.dockerfile.as_bytes());
        digesting.0.update(b"\0");
        self.write(&mut digesting)?;
        Ok(digesting.0.finish())
    }

    /// Sends it, from a thread of its own, as fast as it is taken.
    pub(super) fn stream(self) -> (Tar, Sending) {
        stream::stream(self)
    }
}

struct Digested(Digesting);

impl io::Write for Digested {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where the Dockerfile is, by its name in the specification.
enum Place {
    /// In the context, by this path in it.
    Inside(PathBuf),
    /// Elsewhere.
    Outside(PathBuf),
}

fn place(build: &Build<'_>) -> Place {
    let name = build.spec.dockerfile.as_deref().unwrap_or("Dockerfile");
    let path = plain(&build.context.join(name));
    match path.strip_prefix(plain(build.context)) {
        Ok(inside) => Place::Inside(inside.to_owned()),
        Err(_) => Place::Outside(path),
    }
}

/// A path without `.` and `..`, taken as it is written.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

struct Dockerfile {
    name: String,
    text: Text,
    /// The context has no file of its own under this name.
    is_made: bool,
}

/// The Dockerfile. One that is not simply a file in the context gets a name made of its text: by another name each time,
/// the digest would never be the same.
fn dockerfile(dir: &OwnedFd, build: &Build<'_>) -> Result<Dockerfile, ContextError> {
    let made = |text: Text| Dockerfile {
        name: format!(".dockerfile.{}", Digest::of(&text.content).short()),
        text,
        is_made: true,
    };
    if let Some(inline) = &build.spec.dockerfile_inline {
        return Ok(made(Text::new(inline.as_bytes())));
    }
    let found = match place(build) {
        Place::Inside(path) => files::text(dir, build.context, &path)?.map(|found| match found {
            Found { text, by_link: false } => Dockerfile {
                name: path.to_string_lossy().into_owned(),
                text,
                is_made: false,
            },
            Found { text, by_link: true } => made(text),
        }),
        Place::Outside(path) => files::text_elsewhere(&path, build.within)?.map(|found| made(found.text)),
    };
    found.ok_or_else(|| {
        let name = build.spec.dockerfile.as_deref().unwrap_or("Dockerfile");
        ContextError::Wrong(format!("there is no {name} in {}", build.context.display()))
    })
}

/// What says which files are not sent.
struct Ignore {
    path: PathBuf,
    text: Text,
    /// It lies beside the Dockerfile, for this one alone.
    of_dockerfile: bool,
}

/// The Dockerfile's own file wins over the context's, as `BuildKit` has it.
fn ignore(dir: &OwnedFd, build: &Build<'_>) -> Result<Option<Ignore>, ContextError> {
    let beside = |path: PathBuf| PathBuf::from(format!("{}{IGNORE}", path.display()));
    let own = match place(build) {
        _ if build.spec.dockerfile_inline.is_some() => None,
        Place::Inside(path) => {
            let path = beside(path);
            files::text(dir, build.context, &path)?.map(|found| (build.context.join(path), found))
        }
        Place::Outside(path) => {
            let path = beside(path);
            files::text_elsewhere(&path, build.within)?.map(|found| (path, found))
        }
    };
    let of_dockerfile = own.is_some();
    let found = match own {
        Some(own) => Some(own),
        None => files::text(dir, build.context, Path::new(IGNORE))?
            .map(|found| (build.context.join(IGNORE), found)),
    };
    Ok(found.map(|(path, Found { text, .. })| Ignore {
        path,
        text,
        of_dockerfile,
    }))
}

/// The `.dockerignore` that the engine reads: it leaves out of the context what was added to it.
fn sent_ignore(ignore: Option<Ignore>, dockerfile: &Dockerfile) -> Text {
    let is_added = ignore.as_ref().is_none_or(|ignore| ignore.of_dockerfile);
    let mut text = ignore.map_or_else(|| Text::new(b""), |ignore| ignore.text);
    if is_added {
        text.add_line(IGNORE);
    }
    if dockerfile.is_made {
        text.add_line(&dockerfile.name);
    }
    text
}
