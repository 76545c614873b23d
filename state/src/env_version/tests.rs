//! Which versions there are, and which one is meant.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::files::{ReleaseFile, Replaced};
use crate::fixture::{at, generation, record, release};

const ENV: &str = "/srv/shop/.env";
const API: &str = "/srv/shop/api/api.env";

fn key() -> HostKey {
    HostKey::new([7; 32])
}

fn content(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn id(text: &str) -> EnvId {
    key().env_id(&content(text))
}

fn files(all: &[(&str, &str)]) -> ReleaseFiles {
    let file = |(path, text): &(&str, &str)| {
        let file = ReleaseFile {
            role: Role::Env,
            content: Some(content(text)),
            owner: None,
            action: crate::files::Action::Recreate,
        };
        (PathBuf::from(path), file)
    };
    all.iter().map(file).collect()
}

fn imported(text: &str, seconds: u64) -> Imported {
    Imported {
        path: ENV.into(),
        content: content(text),
        from: "/srv/shop/.env.backup".into(),
        by: Author::Agent,
        at: at(seconds),
    }
}

/// Generation 1 is of before files were written down; 2 and 3 have the same `.env`; the fourth is asked for.
fn lived() -> StackRecord {
    let mut generations: Vec<_> = (1..=3)
        .map(|n| generation(n, release(&[]), Verdict::Good))
        .collect();
    for (n, generation) in generations.iter_mut().enumerate() {
        generation.begun = at(n as u64 * 100);
    }
    generations[0].release.env = Some(content("A=1"));
    generations[1].files = files(&[(ENV, "A=2"), (API, "B=1")]);
    generations[2].files = files(&[(ENV, "A=2"), (API, "B=2")]);
    let mut record = record(generations);
    let request = record.request.as_mut().unwrap();
    request.files = files(&[(ENV, "A=4"), (API, "B=2")]);
    request.accepted = at(400);
    record.replaced = vec![Replaced {
        path: ENV.into(),
        role: Role::Env,
        content: content("A=3"),
        at: at(350),
    }]
    .into();
    record.imported = vec![imported("A=0", 450)].into();
    record
}

fn all(record: &StackRecord, disk: &OnDisk) -> Vec<EnvVersion> {
    versions(record, Path::new(ENV), &key(), disk)
}

#[test]
fn every_version_is_known_with_what_has_used_it_the_newest_first() {
    let record = lived();
    let disk = OnDisk::from([
        (ENV.into(), Some(content("A=5"))),
        (API.into(), Some(content("B=2"))),
    ]);
    let all = all(&record, &disk);
    let names = ["A=0", "A=1", "A=2", "A=3", "A=4", "A=5", "B=1", "B=2"];
    let words = all.iter().map(|version| {
        let name = names
            .iter()
            .find(|name| content(name) == version.content)
            .unwrap();
        let used: Vec<String> = version
            .used_by
            .iter()
            .map(|used| used.generation.to_string())
            .collect();
        let is = [
            (version.is_asked_for, "asked"),
            (version.is_in_file, "file"),
            (version.imported.is_some(), "imported"),
            (version.replaced.is_some(), "replaced"),
        ];
        let is: Vec<&str> = is.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect();
        format!("{name} [{}] {}", used.join(" "), is.join(" "))
    });
    let words: Vec<String> = words.collect();
    assert_eq!(
        words,
        [
            "A=5 [] file",
            "A=0 [] imported",
            "A=4 [] asked",
            "B=2 [3] asked file",
            "A=3 [] replaced",
            "A=2 [3 2] ",
            "B=1 [2] ",
            "A=1 [1] ",
        ]
    );
    assert_eq!(
        paths(&record, Path::new(ENV)),
        [PathBuf::from(ENV), PathBuf::from(API)]
    );
}

#[test]
fn a_pin_is_of_the_stacks_own_file_alone() {
    let mut record = lived();
    let pinned = |record: &StackRecord| -> Vec<EnvId> {
        let all = all(record, &OnDisk::new());
        let pinned = all.into_iter().filter(|version| version.is_pinned);
        pinned.map(|version| version.id).collect()
    };
    assert_eq!(pinned(&record), []);
    record.request.as_mut().unwrap().desired.env = EnvWish::Sha256(content("A=2"));
    assert_eq!(pinned(&record), [id("A=2")]);
    record.request.as_mut().unwrap().desired.env = EnvWish::Short(id("A=0").as_str()[..8].parse().unwrap());
    assert_eq!(pinned(&record), [id("A=0")]);
    record.request.as_mut().unwrap().desired.env = EnvWish::Sha256(content("B=2"));
    assert_eq!(pinned(&record), []);
}

#[track_caller]
fn check_find(path: &str, id: &str, expected: Result<&str, &str>) {
    let all = all(&lived(), &OnDisk::new());
    let found = find(&all, Path::new(path), &id.parse().unwrap());
    let found = found.map(|version| version.content.clone());
    let expected = expected.map(content).map_err(String::from);
    assert_eq!(found.map_err(|refused| refused.to_string()), expected);
}

#[test]
fn an_id_means_one_version_of_one_file() {
    check_find(ENV, id("A=3").as_str(), Ok("A=3"));
    check_find(ENV, &id("A=3").as_str()[..8], Ok("A=3"));
    check_find(API, id("B=1").as_str(), Ok("B=1"));
    check_find(
        ENV,
        "00000000",
        Err("no version of /srv/shop/.env has the id 00000000"),
    );
    let elsewhere = format!("no version of /srv/shop/.env has the id {}", id("B=1"));
    check_find(ENV, id("B=1").as_str(), Err(&elsewhere));
}

#[test]
fn the_beginning_of_several_ids_means_none() {
    let mut all = all(&lived(), &OnDisk::new());
    for (version, id) in all.iter_mut().zip(["0b6f4e03b952", "0b6f4e03ffff"]) {
        version.path = ENV.into();
        version.id = id.parse().unwrap();
    }
    let refused = find(&all, Path::new(ENV), &"0b6f4e03".parse().unwrap()).unwrap_err();
    assert_eq!(
        refused.why,
        "0b6f4e03 is the beginning of several ids: 0b6f4e03b952, 0b6f4e03ffff"
    );
    assert!(find(&all, Path::new(ENV), &"0b6f4e03f".parse().unwrap()).is_ok());
}

#[track_caller]
fn check_which(named: Option<&str>, expected: Result<&str, &str>) {
    let paths = [ENV, API, "/srv/shop/web/api.env"].map(PathBuf::from);
    let found = which(&paths, named.map(Path::new)).map(|path| path.display().to_string());
    let expected = expected.map(String::from).map_err(String::from);
    assert_eq!(found.map_err(|refused| refused.to_string()), expected);
}

#[test]
fn an_env_file_is_named_by_the_end_of_its_path() {
    check_which(None, Ok(ENV));
    check_which(Some("./.env"), Ok(ENV));
    check_which(Some("api/api.env"), Ok(API));
    check_which(Some(API), Ok(API));
    check_which(Some("pi.env"), Err("the stack has no env file pi.env"));
    check_which(Some("/etc/shadow"), Err("the stack has no env file /etc/shadow"));
    check_which(Some("api.env"), Err("several env files are called api.env"));
}

#[test]
fn what_was_brought_is_kept_for_a_while() {
    let mut record = lived();
    record.imported.clear();
    for n in 0..KEPT_IMPORTED as u64 + 2 {
        let one = imported(&format!("A={n}"), n);
        let goes = forgotten_for(&record.imported, &one).cloned();
        let oldest = (n >= KEPT_IMPORTED as u64).then(|| record.imported[0].clone());
        assert_eq!(goes, oldest);
        import(&mut record.imported, one);
    }
    assert_eq!(record.imported.len(), KEPT_IMPORTED);
    let again = imported("A=5", 99);
    assert_eq!(forgotten_for(&record.imported, &again), None);
    import(&mut record.imported, again.clone());
    assert_eq!(
        (record.imported.len(), record.imported.last()),
        (KEPT_IMPORTED, Some(&again))
    );
    // What is only brought is referred to all the same.
    assert!(crate::retention::objects(&record).contains(&content("A=5")));
}
