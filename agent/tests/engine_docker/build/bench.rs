//! A context, the engine that builds from it, and what is left of that.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, Once};

use state::name::ImageId;
use state::stack_spec::BuildSpec;
use steadfast::engine::{Build, DockerEngine, Engine, EngineError};

use crate::support::{SHELL, address, docker, skip, try_docker};

/// What no word of a build may hold.
pub(crate) const SECRET: &str = "hunter2-of-the-build";

/// One with a shell and little else: every step looks through the whole image. Made of [`SHELL`] and kept.
pub(crate) const SMALL: &str = "steadfast-test/small-shell:v1";

static SMALL_IS_THERE: Once = Once::new();

fn make_small() {
    if try_docker(&["image", "inspect", SMALL]).is_some() {
        return;
    }
    let collect = "cd / && tar -chf - $(for p in /bin/sh cat date df env find grep sleep sort tail; do \
                   f=$(command -v $p); echo $f; ldd $f | grep -o '/[^ ]*'; done | sed 's,^/,,' | sort -u)";
    let made = Command::new("sh")
        .args([
            "-c",
            "docker run --rm --network=none --entrypoint=sh \"$1\" -c \"$2\" | docker import - \"$3\"",
            "sh",
        ])
        .args([SHELL, collect, SMALL])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// A context of its own for each test, and what removes all that was built from it.
pub(crate) struct Bench {
    pub(crate) engine: DockerEngine,
    dir: tempfile::TempDir,
    pub(crate) name: String,
    pub(crate) spec: BuildSpec,
    pub(crate) told: Mutex<Vec<String>>,
}

/// `None` where there is nothing to test on.
pub(crate) async fn bench(name: &str, dockerfile: &str) -> Option<Bench> {
    let engine = DockerEngine::new(address());
    if let Err(error) = engine.info().await {
        skip(&format!("{name}: {error}"));
        return None;
    }
    if engine.image(SHELL).await.unwrap().is_none() {
        skip(&format!("{name}: the image {SHELL} is not here"));
        return None;
    }
    SMALL_IS_THERE.call_once(make_small);
    let bench = Bench {
        engine,
        dir: tempfile::tempdir().unwrap(),
        name: format!("sf-engine-build-{name}-{}", std::process::id()),
        spec: BuildSpec {
            args: BTreeMap::from([("TOKEN".to_owned(), Some(SECRET.into()))]),
            network: Some("none".to_owned()),
            ..BuildSpec::default()
        },
        told: Mutex::default(),
    };
    bench.write("Dockerfile", dockerfile);
    Some(bench)
}

impl Bench {
    /// Writes into the context. `FROM shell` stands for the image with one, and a label that finds what is left over.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let shell = format!(
            "FROM {SMALL} AS shell\nLABEL io.steadfast.test.build={}",
            self.name
        );
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text.replace("FROM shell", &shell)).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("app").join(name)
    }

    pub(crate) async fn build(&self) -> Result<ImageId, EngineError> {
        let reference = format!("{}:v1", self.name);
        let build = Build {
            context: &self.path(""),
            within: Some(self.dir.path()),
            spec: &self.spec,
            reference: &reference,
            labels: BTreeMap::from([("io.steadfast.test".to_owned(), "engine".to_owned())]),
            platform: None,
        };
        let progress = |sentence: String| self.told.lock().unwrap().push(sentence);
        let ended = self.engine.build(&build, &progress).await;
        for sentence in self.told.lock().unwrap().iter() {
            let is_short = sentence.chars().count() <= 120 && !sentence.contains('\n');
            assert!(is_short && !sentence.contains(SECRET), "{sentence}");
        }
        if let Err(error) = &ended {
            assert!(!format!("{error} {error:?}").contains(SECRET), "{error}");
            assert_eq!(self.engine.image(&reference).await.unwrap(), None);
        }
        assert_eq!(self.containers(), "", "a step left a container");
        ended
    }

    pub(crate) fn containers(&self) -> String {
        docker(&[
            "ps",
            "-aq",
            "--filter",
            &format!("label=io.steadfast.test.build={}", self.name),
        ])
    }

    /// The names of all files that the image has below `/ctx`.
    pub(crate) fn sent(image: &ImageId) -> Vec<String> {
        let found = docker(&[
            "run",
            "--rm",
            "--network=none",
            "--entrypoint=sh",
            image.as_str(),
            "-c",
            "cd /ctx && find . ! -type d | sort",
        ]);
        found.lines().map(str::to_owned).collect()
    }
}

impl Drop for Bench {
    /// Nothing here panics: it may run while a failed test unwinds.
    fn drop(&mut self) {
        let label = format!("label=io.steadfast.test.build={}", self.name);
        let tagged = try_docker(&["images", "-q", "--filter", &label]).unwrap_or_default();
        for id in tagged.split_whitespace() {
            Command::new("docker").args(["rmi", "-f", id]).output().ok();
        }
        try_docker(&["image", "prune", "-f", "--filter", &label]);
    }
}
