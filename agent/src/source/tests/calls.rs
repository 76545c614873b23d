//! How a call ends that does not end by itself, and what it is told.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use super::super::run::{Call, Git};
use super::*;

/// A program of this text, to be run as `git`.
fn program(directory: &Path, text: &str) -> Git {
    let path = directory.join("program");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    Git {
        program: path.into(),
        base: directory.to_owned(),
    }
}

/// Whether a process runs; one that has ended and was not waited for yet does not.
fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

async fn until(what: impl Fn() -> bool) {
    let begun = Instant::now();
    while !what() {
        assert!(begun.elapsed().as_secs() < 20, "it never came");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "current_thread")]
async fn no_git_is_said_with_the_way_out() {
    let root = tempfile::tempdir().unwrap();
    let program = OsString::from("git-that-is-not-there");
    let source = GitRepository::by(
        program,
        root.path().join("state"),
        String::from("/srv/shop"),
        String::from("*"),
    );
    let error = source.resolve(&names(&["v1"])).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no git on this host");
    assert_eq!(error.hint().as_deref(), Some("install it: apt install git"));
}

#[tokio::test(flavor = "current_thread")]
async fn what_takes_too_long_is_ended_with_all_that_it_started() {
    let root = tempfile::tempdir().unwrap();
    let (pids, ended) = (root.path().join("pids"), root.path().join("ended"));
    let text = format!(
        "trap 'touch {}; exit 1' TERM\n(trap '' TERM; sleep 600 & echo $! >>{}; wait) &\nsleep 600 & wait",
        ended.display(),
        pids.display()
    );
    let git = program(root.path(), &text);
    let error = git
        .run(Call::outside("slow").within(Duration::from_millis(700)))
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "git slow has not ended within 0 s");
    assert!(error.passes());
    assert!(ended.exists(), "it was not asked to end first");
    let pid = fs::read_to_string(&pids).unwrap();
    until(|| !runs(&pid)).await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_call_that_is_dropped_is_ended_with_all_that_it_started() {
    let root = tempfile::tempdir().unwrap();
    let pids = root.path().join("pids");
    let git = program(
        root.path(),
        &format!(
            "sleep 600 & echo $! >{0}.new; mv {0}.new {0}; wait",
            pids.display()
        ),
    );
    let call = git.run(Call::outside("slow"));
    tokio::select! {
        _ = call => panic!("it ended"),
        () = until(|| pids.exists()) => {}
    }
    let pid = fs::read_to_string(&pids).unwrap();
    until(|| !runs(&pid)).await;
}

#[tokio::test(flavor = "current_thread")]
async fn what_outlives_a_call_and_holds_its_pipes_does_not_hold_it_up() {
    let root = tempfile::tempdir().unwrap();
    let git = program(root.path(), "setsid sleep 5 & echo said; echo words >&2; exit 3");
    let begun = Instant::now();
    let ended = git.run(Call::outside("x")).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(4));
    assert_eq!(
        (ended.code, ended.text().as_str(), ended.words.as_str()),
        (Some(3), "said\n", "words\n")
    );
}

#[tokio::test(flavor = "current_thread")]
async fn output_and_words_are_bounded() {
    let root = tempfile::tempdir().unwrap();
    let git = program(root.path(), "head -c 70000000 /dev/zero");
    let error = git.run(Call::outside("x")).await.unwrap_err();
    assert!(matches!(error, SourceError::TooLarge { .. }), "{error}");
    let text = "i=0; while [ $i -lt 3000 ]; do echo \"https://me:word@host/$i\" >&2; i=$((i+1)); done";
    let git = program(root.path(), text);
    let ended = git.run(Call::outside("x")).await.unwrap();
    assert!(ended.words.len() < 20_000 && ended.words.ends_with("https://***@host/2999\n"));
    assert!(!ended.words.contains("word"));
}

#[tokio::test(flavor = "current_thread")]
async fn a_call_asks_nobody_and_reads_what_it_should() {
    let root = tempfile::tempdir().unwrap();
    let git = program(root.path(), "env; readlink /proc/self/fd/0");
    let ended = git.run(Call::new("x", Path::new("/repo"))).await.unwrap();
    let text = ended.text();
    for line in [
        "GIT_TERMINAL_PROMPT=0",
        "GIT_ASKPASS=/bin/false",
        "SSH_ASKPASS_REQUIRE=force",
        "GIT_CONFIG_GLOBAL=/dev/null",
        "GIT_CONFIG_NOSYSTEM=1",
        "GIT_LFS_SKIP_SMUDGE=1",
        "GIT_DIR=/repo",
        "LC_ALL=C",
        "/dev/null",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}:\n{text}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn no_password_is_in_an_error() {
    let root = tempfile::tempdir().unwrap();
    // Nobody listens there.
    let origin = String::from("http://me:hunter2@127.0.0.1:9/shop.git");
    let source = GitRepository::new(root.path().join("state"), origin, String::from("*"));
    let error = source.resolve(&names(&["v1"])).await.unwrap_err();
    assert!(error.passes(), "{error}");
    let told = format!("{error} {error:?} {source:?}");
    assert!(
        !told.contains("hunter2") && told.contains("http://***@127.0.0.1:9/shop.git"),
        "{told}"
    );
}
