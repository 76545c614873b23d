//! What of a directory is sent, as the system's own `tar` reads it.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::{Command, Stdio};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use state::stack_spec::BuildSpec;

use super::*;

mod stream;

/// A directory `app`, with others beside it.
struct Bench {
    root: tempfile::TempDir,
    spec: BuildSpec,
    within: bool,
}

impl Bench {
    fn new(files: &[(&str, &str)]) -> Self {
        let bench = Self {
            root: tempfile::tempdir().unwrap(),
            spec: BuildSpec::default(),
            within: false,
        };
        fs::create_dir(bench.path("app")).unwrap();
        bench.write("app/Dockerfile", "FROM scratch\n");
        for (name, text) in files {
            bench.write(&format!("app/{name}"), text);
        }
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    }

    fn open(&self) -> Result<Context, ContextError> {
        Context::open(&Build {
            context: &self.path("app"),
            within: self.within.then_some(self.root.path()),
            spec: &self.spec,
            reference: "app:v1",
            labels: BTreeMap::new(),
            platform: None,
        })
    }

    fn tar(&self) -> Vec<u8> {
        let mut tar = Vec::new();
        self.open().unwrap().write(&mut tar).unwrap();
        tar
    }

    fn names(&self) -> Vec<String> {
        lines(&tar(&["-t"], &self.tar()))
    }

    fn text(&self, name: &str) -> String {
        tar(&["-xO", name], &self.tar())
    }

    #[track_caller]
    fn check(&self, expected: &[&str]) {
        assert_eq!(self.names(), expected);
    }
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

#[track_caller]
fn tar(arguments: &[&str], archive: &[u8]) -> String {
    use std::io::Write as _;
    let mut tar = Command::new("tar")
        .args(arguments)
        .args(["-f", "-"])
        .env("TZ", "UTC")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = tar.stdin.take().unwrap();
    let archive = archive.to_owned();
    let feeding = std::thread::spawn(move || stdin.write_all(&archive));
    let out = tar.wait_with_output().unwrap();
    feeding.join().unwrap().ok();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(String::from_utf8_lossy(&out.stderr), "");
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn the_system_tar_reads_it() {
    let bench = Bench::new(&[("src/main.py", "print(1)\n"), ("empty", "")]);
    let app = bench.path("app");
    fs::set_permissions(app.join("empty"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::set_permissions(app.join("src"), fs::Permissions::from_mode(0o750)).unwrap();
    symlink("/etc/shadow", app.join("link")).unwrap();
    let long = format!("{}/{}", "d".repeat(120), "é".repeat(120));
    bench.write(&format!("app/{long}"), "long");
    symlink("t".repeat(150), app.join("far")).unwrap();
    for (name, kind) in [("pipe", FileType::Fifo), ("sock", FileType::Socket)] {
        mknodat(CWD, app.join(name), kind, Mode::from_raw_mode(0o600), 0).unwrap();
    }
    let tar_of = bench.tar();
    assert_eq!(tar_of.len() % 512, 0);
    let listed = lines(&tar(&["-tv", "--quoting-style=literal"], &tar_of));
    let listed: Vec<String> = listed
        .iter()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    let dir = "d".repeat(120);
    let umask = format!(
        "{:o}",
        fs::metadata(app.join(&dir)).unwrap().permissions().mode() & 0o777
    );
    assert_eq!(umask, "755", "the rows below are of this umask");
    let expected = [
        format!("drwxr-xr-x 0/0 0 1970-01-01 00:00 {dir}/"),
        format!("-rw-r----- 0/0 4 1970-01-01 00:00 {long}"),
        "-rwsr-xr-x 0/0 0 1970-01-01 00:00 empty".to_owned(),
        format!("lrwxrwxrwx 0/0 0 1970-01-01 00:00 far -> {}", "t".repeat(150)),
        "lrwxrwxrwx 0/0 0 1970-01-01 00:00 link -> /etc/shadow".to_owned(),
        "drwxr-x--- 0/0 0 1970-01-01 00:00 src/".to_owned(),
        "-rw-r----- 0/0 9 1970-01-01 00:00 src/main.py".to_owned(),
        "-rw-r----- 0/0 13 1970-01-01 00:00 Dockerfile".to_owned(),
    ];
    assert_eq!(listed, expected);
    assert_eq!(bench.text("src/main.py"), "print(1)\n");
}

#[test]
fn what_is_excluded_is_not_sent_and_not_even_read() {
    let bench = Bench::new(&[
        (
            ".dockerignore",
            "node_modules\n*.md\n!README.md\nsecret/**\n!secret/deep/er/keep\n",
        ),
        ("node_modules/a/b.js", ""),
        ("README.md", ""),
        ("other.md", ""),
        ("secret/a", ""),
        ("secret/deep/b", ""),
        ("secret/deep/er/keep", ""),
        ("secret/deep/er/not", ""),
        ("secret/other/x", ""),
    ]);
    let closed = bench.path("app/node_modules");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    bench.check(&[
        "README.md",
        "secret/",
        "secret/deep/",
        "secret/deep/er/",
        "secret/deep/er/keep",
        ".dockerignore",
        "Dockerfile",
    ]);
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn directories_that_are_excluded_come_with_what_is_sent_of_them() {
    let bench = Bench::new(&[
        (".dockerignore", "*\n!**/keep\n!*.txt"),
        ("a/b/keep", ""),
        ("a/b/x", ""),
        ("a/c/x", ""),
        ("one.txt", ""),
    ]);
    bench.check(&["a/", "a/b/", "a/b/keep", "one.txt", ".dockerignore", "Dockerfile"]);
}

#[test]
fn the_dockerfile_and_the_ignore_file_are_always_sent() {
    let mut bench = Bench::new(&[(".dockerignore", "*\n"), ("docker/web.Dockerfile", "FROM web\n")]);
    bench.check(&[".dockerignore", "Dockerfile"]);
    bench.spec.dockerfile = Some("docker/web.Dockerfile".to_owned());
    bench.check(&[".dockerignore", "docker/web.Dockerfile"]);
    assert_eq!(bench.text(".dockerignore"), "*\n");
    assert_eq!(bench.text("docker/web.Dockerfile"), "FROM web\n");
    // Its own file wins.
    bench.write("app/docker/web.Dockerfile.dockerignore", "docker");
    bench.check(&["Dockerfile", ".dockerignore", "docker/web.Dockerfile"]);
    assert_eq!(bench.text(".dockerignore"), "docker\n.dockerignore\n");
}

#[test]
fn a_dockerfile_from_elsewhere_is_sent_under_a_name_of_its_text() {
    let mut bench = Bench::new(&[("a", "")]);
    bench.write("docker/web", "FROM web\n");
    let name = format!(".dockerfile.{}", Digest::of(b"FROM web\n").short());
    let expected = ["Dockerfile", "a", ".dockerignore", name.as_str()];
    let absolute = bench.path("docker/web").to_string_lossy().into_owned();
    for elsewhere in ["../docker/web", absolute.as_str()] {
        bench.spec.dockerfile = Some(elsewhere.to_owned());
        bench.check(&expected);
        assert_eq!(bench.open().unwrap().dockerfile(), name);
        assert_eq!(bench.text(".dockerignore"), format!(".dockerignore\n{name}\n"));
    }
    bench.spec.dockerfile = None;
    bench.spec.dockerfile_inline = Some("FROM web\n".to_owned());
    bench.check(&expected);
    assert_eq!(bench.text(&name), "FROM web\n");
    bench.write("app/.dockerignore", "a");
    bench.check(&["Dockerfile", ".dockerignore", name.as_str()]);
    assert_eq!(bench.text(".dockerignore"), format!("a\n{name}\n"));
    bench.spec.dockerfile_inline = None;
    bench.spec.dockerfile = Some("../docker/web".to_owned());
    bench.write("docker/web.dockerignore", "Dockerfile\n");
    bench.check(&["a", ".dockerignore", name.as_str()]);
}

#[test]
fn no_link_leads_out() {
    let mut bench = Bench::new(&[("real/Dockerfile", "FROM inside\n")]);
    bench.write("outside/Dockerfile", "FROM outside\n");
    symlink("../outside/Dockerfile", bench.path("app/out")).unwrap();
    symlink("../outside", bench.path("app/outdir")).unwrap();
    symlink("real/Dockerfile", bench.path("app/in")).unwrap();
    symlink("real", bench.path("app/indir")).unwrap();
    for name in ["out", "outdir/Dockerfile"] {
        bench.spec.dockerfile = Some(name.to_owned());
        let error = bench.open().unwrap_err();
        assert!(matches!(error, ContextError::Wrong(_)), "{error}");
        assert!(error.to_string().contains("leads out of it"), "{error}");
    }
    for name in ["in", "indir/Dockerfile"] {
        bench.spec.dockerfile = Some(name.to_owned());
        let made = format!(".dockerfile.{}", Digest::of(b"FROM inside\n").short());
        assert_eq!(bench.open().unwrap().dockerfile(), made);
    }
    bench.spec.dockerfile = None;
    symlink("../outside/Dockerfile", bench.path("app/.dockerignore")).unwrap();
    assert!(bench.open().is_err());
}

#[test]
fn a_context_stays_in_its_worktree() {
    let mut bench = Bench::new(&[]);
    bench.within = true;
    fs::rename(bench.path("app"), bench.path("real")).unwrap();
    symlink("real", bench.path("app")).unwrap();
    bench.check(&["Dockerfile"]);
    fs::remove_file(bench.path("app")).unwrap();
    symlink("/etc", bench.path("app")).unwrap();
    let error = bench.open().unwrap_err();
    assert!(error.to_string().contains("leads out of it"), "{error}");
    // A path that is nobody's but its operator's is followed.
    bench.within = false;
    bench.spec.dockerfile = Some("hostname".to_owned());
    assert!(bench.open().is_ok());
}

#[test]
fn what_is_missing_or_wrong_says_so() {
    let mut bench = Bench::new(&[]);
    fs::create_dir(bench.path("app/dir")).unwrap();
    mknodat(
        CWD,
        bench.path("app/pipe"),
        FileType::Fifo,
        Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let rows = [
        ("none", "there is no none in "),
        ("none/none", "there is no none/none in "),
        ("Dockerfile/none", "there is no Dockerfile/none in "),
        ("../none", "there is no ../none in "),
        ("dir", "dir is no file"),
        ("pipe", "pipe is no file"),
    ];
    for (name, expected) in rows {
        bench.spec.dockerfile = Some(name.to_owned());
        let error = bench.open().unwrap_err();
        assert!(matches!(error, ContextError::Wrong(_)), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    bench.spec.dockerfile = None;
    bench.write("app/.dockerignore", "a\n[");
    let error = bench.open().unwrap_err().to_string();
    assert!(error.contains(".dockerignore: line 2, \"[\": "), "{error}");
    bench.write("app/.dockerignore", &"x\n".repeat(600_000));
    assert!(bench.open().is_err());
    fs::remove_dir_all(bench.path("app")).unwrap();
    let error = bench.open().unwrap_err().to_string();
    assert!(error.starts_with("there is no build context "), "{error}");
    bench.write("app", "");
    let error = bench.open().unwrap_err().to_string();
    assert!(error.ends_with(" is no directory"), "{error}");
    // What it means for the build.
    let failed = ContextError::Wrong("x".to_owned()).of_build("app:v1");
    assert!(matches!(failed, EngineError::BuildFailed { .. }) && !failed.leaves_unknown());
    let passing = ContextError::Changed("x".into()).of_build("app:v1");
    assert!(matches!(passing, EngineError::Stream { .. }));
}

#[test]
fn the_digest_is_of_what_is_sent_and_of_nothing_else() {
    let mut bench = Bench::new(&[("a", "1"), ("log", "1"), (".dockerignore", "log")]);
    let digest = |bench: &Bench| bench.open().unwrap().digest().unwrap();
    let first = digest(&bench);
    bench.write("app/log", "2");
    bench.write("app/a", "1");
    assert_eq!(digest(&bench), first);
    bench.write("app/a", "2");
    assert_ne!(digest(&bench), first);
    bench.write("app/a", "1");
    assert_eq!(digest(&bench), first);
    fs::set_permissions(bench.path("app/a"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_ne!(digest(&bench), first);
    bench.write("app/a", "1");
    bench.spec.dockerfile = Some("a".to_owned());
    assert_ne!(digest(&bench), first);
}

/// Changes a file when its header passes by.
struct Meddler(PathBuf, &'static [u8]);

impl io::Write for Meddler {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.starts_with(b"big\0") {
            fs::write(&self.0, self.1)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_file_that_changes_its_size_is_an_error() {
    for after in [b"".as_slice(), b"1", b"123456"] {
        let bench = Bench::new(&[("big", "12345")]);
        let path = bench.path("app/big");
        let error = bench
            .open()
            .unwrap()
            .write(&mut Meddler(path.clone(), after))
            .unwrap_err();
        assert!(
            matches!(&error, ContextError::Changed(changed) if *changed == path),
            "{error}"
        );
    }
}

#[test]
fn what_lies_too_deep_is_refused() {
    let bench = Bench::new(&[("x", "")]);
    let deep = bench.path(&format!("app/{}", "d/".repeat(202)));
    fs::create_dir_all(deep).unwrap();
    let error = bench.open().unwrap().write(&mut io::sink()).unwrap_err();
    assert!(error.to_string().contains("deeper than 200"), "{error}");
}
