//! Objects that are not as they were made, here and in the origin.

use super::*;

/// Overwrites the middle of every file of objects, so that what is in it cannot be read.
fn spoil(repo: &Path, kind: &str) {
    let mut spoiled = 0;
    let mut dirs = vec![repo.join("objects")];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
                continue;
            }
            let is_pack = path.extension() == Some(OsStr::new("pack"));
            let is_loose = path.file_name().unwrap().len() == 38;
            if (kind == "pack" && is_pack) || (kind == "loose" && is_loose) {
                let mut bytes = fs::read(&path).unwrap();
                let length = bytes.len();
                let (from, to) = if is_pack { (14, length - 20) } else { (4, length) };
                bytes[from..to].iter_mut().for_each(|byte| *byte ^= 0x5a);
                fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
                fs::write(&path, bytes).unwrap();
                spoiled += 1;
            }
        }
    }
    assert!(spoiled > 0, "there are no {kind} objects in {}", repo.display());
}

#[tokio::test(flavor = "current_thread")]
async fn a_damaged_mirror_is_made_anew_and_keeps_what_it_can() {
    let bench = Bench::new();
    bench.git(["tag", "-a", "-m", "x", "v1"]);
    let commit = bench.resolve("v1").await.unwrap();
    // Found by a checkout.
    spoil(&bench.repo(), "pack");
    assert!(bench.source.checkout(&commit).await.unwrap().join("a").is_file());
    // Found by looking names up.
    spoil(&bench.repo(), "pack");
    assert_eq!(bench.resolve("v1").await.unwrap(), commit);
    git(&bench.repo(), ["fsck", "--full", "--strict"]);
    // Found by listing, which brings nothing; the next fetch does.
    spoil(&bench.repo(), "pack");
    let error = bench.source.tags().await.unwrap_err();
    assert!(
        matches!(error, SourceError::Damaged { .. }) && error.passes(),
        "{error}"
    );
    assert_eq!(bench.resolve("v1").await.unwrap(), commit);
    assert_eq!(bench.source.tags().await.unwrap().len(), 1);
    // Not a repository at all any more.
    fs::remove_file(bench.repo().join("HEAD")).unwrap();
    assert_eq!(bench.resolve("v1").await.unwrap(), commit);
    // What a power cut makes of a reference that was just written.
    bench.git(["tag", "v2"]);
    bench.resolve("v2").await.unwrap();
    fs::create_dir_all(bench.repo().join("refs/tags")).unwrap();
    fs::write(bench.repo().join("refs/tags/v2"), "").unwrap();
    assert_eq!(bench.resolve("v2").await.unwrap(), commit);
    let left: Vec<String> = listing(&bench.base())
        .into_keys()
        .filter(|name| !name.contains('/'))
        .collect();
    assert_eq!(left, ["gitconfig", "repo.git", "trees"]);
}

#[tokio::test(flavor = "current_thread")]
async fn branches_of_ours_outlast_a_mirror_that_is_made_anew() {
    let bench = Bench::new();
    let commit = bench.head("HEAD");
    let name = "rollback/to-v1".parse().unwrap();
    bench.source.branch(&name, &commit, false).await.unwrap();
    fs::write(bench.repo().join("refs/heads/broken"), "").unwrap();
    assert_eq!(bench.resolve(commit.as_str()).await.unwrap(), commit);
    assert!(!bench.repo().join("refs/heads/broken").exists());
    let ours = git(
        &bench.repo(),
        ["rev-parse", "refs/steadfast/heads/rollback/to-v1"],
    );
    assert_eq!(ours, commit.as_str());
}

#[tokio::test(flavor = "current_thread")]
async fn a_damaged_mirror_whose_origin_is_away_waits_for_it() {
    let bench = Bench::new();
    bench.git(["tag", "v1"]);
    let commit = bench.resolve("v1").await.unwrap();
    spoil(&bench.repo(), "pack");
    let away = bench.root.path().join("away");
    fs::rename(bench.work(), &away).unwrap();
    for _ in 0..2 {
        let error = bench.source.checkout(&commit).await.unwrap_err();
        assert!(error.passes(), "{error}");
        let error = bench.source.resolve(&names(&["v1"])).await.unwrap_err();
        assert!(error.passes(), "{error}");
    }
    fs::rename(&away, bench.work()).unwrap();
    assert!(bench.source.checkout(&commit).await.unwrap().is_dir());
}

#[tokio::test(flavor = "current_thread")]
async fn a_damaged_origin_is_said_and_what_was_brought_before_counts() {
    let bench = Bench::new();
    bench.git(["tag", "v1"]);
    let commit = bench.resolve("v1").await.unwrap();
    bench.commit("b", "more\n", "Second");
    bench.git(["tag", "v2"]);
    spoil(&bench.work().join(".git"), "loose");
    let error = bench.source.resolve(&names(&["v2"])).await.unwrap_err();
    let SourceError::Damaged {
        objects: Objects::Origin(origin),
        ..
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!(Path::new(origin), bench.work());
    assert!(
        !error.passes() && error.hint().unwrap().contains("git fsck"),
        "{error}"
    );
    let resolved = bench.source.resolve(&names(&["v1"])).await.unwrap();
    assert_eq!(resolved.commits[&tag("v1")], commit);
    assert!(resolved.stale.unwrap().contains("are damaged"));
    assert!(bench.source.checkout(&commit).await.unwrap().is_dir());
    // A mirror that is made anew cannot be made of it, and is no worse for that.
    fs::remove_dir_all(bench.base()).unwrap();
    let error = bench.source.resolve(&names(&["v1"])).await.unwrap_err();
    assert!(!error.passes(), "{error}");
}

#[tokio::test(flavor = "current_thread")]
async fn what_a_kill_left_in_the_mirror_holds_nothing_up() {
    let bench = Bench::new();
    bench.git(["tag", "tmp_pack"]);
    bench.resolve("tmp_pack").await.unwrap();
    let repo = bench.repo();
    bench.git(["tag", "v2"]);
    let objects = repo.join("objects");
    for lock in [
        "packed-refs.lock",
        "refs/tags/v2.lock",
        "shallow.lock",
        "objects/pack/tmp_pack_abc",
    ] {
        fs::create_dir_all(repo.join(lock).parent().unwrap()).unwrap();
        fs::write(repo.join(lock), "").unwrap();
    }
    fs::create_dir_all(objects.join("tmp_objdir-incoming-abc/pack")).unwrap();
    fs::create_dir_all(bench.base().join("repo.git.new/refs")).unwrap();
    fs::create_dir_all(bench.base().join("change.new")).unwrap();
    // Another daemon, after the kill.
    let source = Bench::source_of(&bench.base(), &bench.work());
    let resolved = source.resolve(&names(&["v2", "tmp_pack"])).await.unwrap();
    assert_eq!((resolved.stale, resolved.commits.len()), (None, 2));
    assert!(!objects.join("tmp_objdir-incoming-abc").exists() && !objects.join("pack/tmp_pack_abc").exists());
    // Killed between the two renames of a mirror that was made anew.
    fs::rename(&repo, bench.base().join("repo.git.old")).unwrap();
    fs::rename(bench.work(), bench.root.path().join("away")).unwrap();
    let source = Bench::source_of(&bench.base(), &bench.work());
    assert_eq!(source.resolve(&names(&["v2"])).await.unwrap().commits.len(), 1);
    assert!(!bench.base().join("repo.git.old").exists());
}
