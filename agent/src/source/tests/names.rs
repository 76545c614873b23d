//! What names are.

use super::*;

#[tokio::test(flavor = "current_thread")]
async fn tags_of_both_kinds_and_ids_are_commits_and_a_moved_tag_is_where_it_is_now() {
    let bench = Bench::new();
    let first = bench.head("HEAD");
    bench.git(["tag", "light"]);
    bench.git(["tag", "-a", "-m", "A release", "v1.0"]);
    bench.git(["tag", "-a", "-m", "Of a tag", "nested", "v1.0"]);
    let second = bench.commit("a", "second\n", "Second");
    bench.git(["tag", "v1.1"]);
    for (name, expected) in [
        ("light", &first),
        ("v1.0", &first),
        ("nested", &first),
        ("v1.1", &second),
        (&first.as_str()[..7], &first),
        (&second.as_str()[..12].to_uppercase(), &second),
        (second.as_str(), &second),
    ] {
        assert_eq!(&bench.resolve(name).await.unwrap(), expected, "{name}");
    }
    bench.git(["tag", "-f", "-a", "-m", "Moved", "v1.0"]);
    assert_eq!(bench.resolve("v1.0").await.unwrap(), second);
    bench.git(["tag", "-d", "light"]);
    let error = bench.resolve("light").await.unwrap_err();
    assert!(matches!(error, SourceError::NoSuchName { .. }), "{error}");
}

#[tokio::test(flavor = "current_thread")]
async fn what_is_no_release_is_refused_with_a_way_out() {
    let bench = Bench::new();
    let first = bench.head("HEAD");
    bench.git(["branch", "both"]);
    let second = bench.commit("a", "second\n", "Second");
    bench.git(["tag", "both"]);
    bench.git(["tag", "v1.4.0"]);
    bench.git(["tag", "v1.4.1"]);
    bench.git(["tag", "of-a-file", "HEAD:a"]);
    bench.git(["tag", "-a", "-m", "of a file", "of-a-file-too", "HEAD:a"]);
    assert_eq!(bench.resolve("both").await.unwrap(), second);
    let at = second.short();
    for (name, expected) in [
        (
            "main",
            format!(
                "main is a branch and no release: it moves (name a tag, or the commit that it is at now: {at})"
            ),
        ),
        (
            "v1.4",
            String::from("/work has no tag or commit v1.4, but v1.4.1, v1.4.0"),
        ),
        ("nothing", String::from("/work has no tag or commit nothing")),
        ("0000000", String::from("/work has no tag or commit 0000000")),
        ("abcdef", String::from("/work has no tag or commit abcdef")),
        (
            "v1.4.0-3-gabcdef1",
            String::from("/work has no tag or commit v1.4.0-3-gabcdef1, but v1.4.0, v1.4.1"),
        ),
        (
            "of-a-file",
            String::from(
                "of-a-file is a tag of something that is no commit (name a tag that is on a commit)",
            ),
        ),
        (
            "of-a-file-too",
            String::from(
                "of-a-file-too is a tag of something that is no commit (name a tag that is on a commit)",
            ),
        ),
        ("HEAD", String::from("/work has no tag or commit HEAD")),
        (
            &first.as_str()[..6],
            format!("/work has no tag or commit {}", &first.as_str()[..6]),
        ),
    ] {
        let error = bench.resolve(name).await.unwrap_err();
        assert_eq!(said(&error, &bench), expected);
        assert!(!error.passes(), "{name}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn the_beginning_of_several_commits_is_none_of_them() {
    let bench = Bench::new();
    // Found by trying: the ids of these two share their first seven digits.
    let pair = ["2942", "16508"].map(|message| {
        let commit = bench.git(["commit-tree", "HEAD^{tree}", "-m", message]);
        bench.git(["branch", message, &commit]);
        commit
    });
    assert_eq!(pair[0][..7], pair[1][..7]);
    assert_ne!(pair[0], pair[1]);
    let error = bench.resolve(&pair[0][..7]).await.unwrap_err();
    let expected = format!(
        "{} is the beginning of 2 commits (write more digits of it)",
        &pair[0][..7]
    );
    assert_eq!(said(&error, &bench), expected);
    assert_eq!(bench.resolve(&pair[0]).await.unwrap().as_str(), pair[0]);
}

#[tokio::test(flavor = "current_thread")]
async fn an_origin_that_is_away_is_answered_for_as_far_as_the_mirror_knows() {
    let bench = Bench::new();
    bench.git(["tag", "v1"]);
    let first = bench.resolve("v1").await.unwrap();
    let away = bench.root.path().join("away");
    fs::rename(bench.work(), &away).unwrap();
    let resolved = bench
        .source
        .resolve(&names(&["v1", &first.as_str()[..8]]))
        .await
        .unwrap();
    assert!(resolved.commits.values().all(|commit| *commit == first));
    let stale = resolved.stale.unwrap();
    assert!(stale.contains("/work cannot be reached: "), "{stale}");
    assert!(bench.source.checkout(&first).await.unwrap().join("a").is_file());
    assert_eq!(bench.source.tags().await.unwrap().len(), 1);
    let error = bench.source.resolve(&names(&["v1", "v2"])).await.unwrap_err();
    assert!(
        matches!(error, SourceError::Unreachable { .. }) && error.passes(),
        "{error}"
    );
    let unknown = "1234567890123456789012345678901234567890".parse().unwrap();
    let error = bench.source.checkout(&unknown).await.unwrap_err();
    assert!(matches!(error, SourceError::Unreachable { .. }), "{error}");
    // Something else is there now.
    fs::create_dir(bench.work()).unwrap();
    let error = bench.source.resolve(&names(&["v2"])).await.unwrap_err();
    assert!(
        matches!(error, SourceError::NotARepository { .. }) && !error.passes(),
        "{error}"
    );
    fs::remove_dir(bench.work()).unwrap();
    fs::rename(&away, bench.work()).unwrap();
    assert_eq!(bench.resolve("v1").await.unwrap(), first);
}

#[tokio::test(flavor = "current_thread")]
async fn before_anything_was_brought_nothing_is_known() {
    let bench = Bench::new();
    let error = bench.source.tags().await.unwrap_err();
    assert_eq!(
        said(&error, &bench),
        "/work cannot be reached: nothing was brought from it yet"
    );
    let commit = bench.head("HEAD");
    assert_eq!(bench.source.tree(&commit), None);
    bench.source.forget(&BTreeSet::new()).await.unwrap();
    assert!(bench.source.checkout(&commit).await.unwrap().is_dir());
    let other = Bench::source_of(&bench.base(), &bench.root.path().join("other"));
    let error = other.resolve(&names(&["v1"])).await.unwrap_err();
    assert!(matches!(error, SourceError::Unreachable { .. }), "{error}");
}

#[tokio::test(flavor = "current_thread")]
async fn names_of_another_origin_are_forgotten_and_commits_without_a_name_are_brought() {
    let bench = Bench::new();
    bench.git(["tag", "v1"]);
    let first = bench.resolve("v1").await.unwrap();
    let other = bench.root.path().join("other");
    git(bench.root.path(), ["clone", "-q", "work", "other"]);
    git(&other, ["tag", "-d", "v1"]);
    git(&other, ["tag", "v2"]);
    git(&other, ["commit", "-q", "--allow-empty", "-m", "Gone"]);
    let gone = git(&other, ["rev-parse", "HEAD"]);
    git(&other, ["reset", "-q", "--hard", "HEAD~"]);
    let source = Bench::source_of(&bench.base(), &other);
    let error = source.resolve(&names(&["v1"])).await.unwrap_err();
    assert!(matches!(error, SourceError::NoSuchName { .. }), "{error}");
    let resolved = source.resolve(&names(&["v2", &gone])).await.unwrap();
    assert_eq!(resolved.commits[&tag("v2")], first);
    assert_eq!(resolved.commits[&tag(&gone)].as_str(), gone);
}

#[tokio::test(flavor = "current_thread")]
async fn a_shallow_origin_gives_what_it_has_and_more_when_it_has_more() {
    let bench = Bench::new();
    let first = bench.head("HEAD");
    bench.commit("a", "second\n", "Second");
    bench.git(["tag", "v2"]);
    let url = format!("file://{}", bench.work().display());
    git(
        bench.root.path(),
        ["clone", "-q", "--depth", "1", &url, "shallow"],
    );
    let shallow = bench.root.path().join("shallow");
    let source = Bench::source_of(&bench.base(), &shallow);
    for _ in 0..2 {
        let resolved = source.resolve(&names(&["v2"])).await.unwrap();
        assert_eq!(resolved.stale, None);
        assert!(
            source
                .checkout(&resolved.commits[&tag("v2")])
                .await
                .unwrap()
                .is_dir()
        );
        let error = source.resolve(&names(&[first.as_str()])).await.unwrap_err();
        let expected = format!(
            "/shallow has no commit {first}: it is a shallow clone (run `git fetch --unshallow` there, or name another \
             origin)"
        );
        assert_eq!(said(&error, &bench), expected);
        let error = source.checkout(&first).await.unwrap_err();
        assert!(matches!(error, SourceError::Shallow { .. }), "{error}");
    }
    // Another commit with the same depth.
    bench.commit("a", "third\n", "Third");
    git(
        &shallow,
        [
            "fetch",
            "-q",
            "--depth",
            "1",
            "origin",
            "+main:main",
            "--update-head-ok",
        ],
    );
    assert_eq!(source.resolve(&names(&["v2"])).await.unwrap().stale, None);
    git(&shallow, ["fetch", "-q", "--unshallow"]);
    let resolved = source.resolve(&names(&[first.as_str()])).await.unwrap();
    assert_eq!(resolved.commits[&tag(first.as_str())], first);
    assert!(!bench.repo().join("shallow").exists());
}

#[tokio::test(flavor = "current_thread")]
async fn an_origin_that_is_kept_by_sha256_is_mirrored_so() {
    let bench = Bench::new();
    let other = bench.root.path().join("sha256");
    fs::create_dir(&other).unwrap();
    git(&other, ["init", "-q", "-b", "main", "--object-format=sha256"]);
    fs::write(other.join("a"), "x").unwrap();
    git(&other, ["add", "a"]);
    git(&other, ["commit", "-q", "-m", "First"]);
    git(&other, ["tag", "v1"]);
    let source = Bench::source_of(&bench.base(), &other);
    for _ in 0..2 {
        let resolved = source.resolve(&names(&["v1"])).await.unwrap();
        assert_eq!(
            (resolved.stale, resolved.commits[&tag("v1")].as_str().len()),
            (None, 64)
        );
        assert!(
            source
                .checkout(&resolved.commits[&tag("v1")])
                .await
                .unwrap()
                .join("a")
                .is_file()
        );
    }
    let name = "hotfix/x".parse().unwrap();
    let head = git(&other, ["rev-parse", "HEAD"]).parse().unwrap();
    source.branch(&name, &head, true).await.unwrap();
    assert_eq!(git(&other, ["rev-parse", "hotfix/x"]), head.as_str());
}

#[tokio::test(flavor = "current_thread")]
async fn tags_are_listed_newest_first_with_what_they_are_on() {
    let bench = Bench::new();
    let first = bench.head("HEAD");
    for name in ["v1.9.0", "build-7", "nested/v9", "of\u{e9}"] {
        bench.git(["tag", name]);
    }
    bench.commit("a", "second\n", "Second: with \"quotes\"\nand a line\n\nand more");
    bench.git(["tag", "-a", "-m", "Not this", "v1.10.0-rc1"]);
    bench.git(["tag", "-a", "-m", "Nor this", "v1.10.0", "v1.10.0-rc1"]);
    bench.git(["tag", "file", "HEAD:a"]);
    bench.git(["tag", "-a", "-m", "x", "file-too", "HEAD:a"]);
    bench.resolve("v1.9.0").await.unwrap();
    let tags = bench.source.tags().await.unwrap();
    let listed: Vec<&str> = tags.iter().map(|tag| tag.name.as_str()).collect();
    assert_eq!(listed, ["v1.10.0", "v1.10.0-rc1", "v1.9.0", "build-7"]);
    for tag in &tags[..2] {
        assert_eq!(tag.subject, "Second: with \"quotes\" and a line");
        assert_eq!((&tag.commit, tag.at), (&bench.head("HEAD"), 1_700_000_000_000));
    }
    assert_eq!((&tags[2].commit, tags[2].subject.as_str()), (&first, "First"));
    let origin = bench.work().to_str().unwrap().to_owned();
    for (pattern, count) in [("v*", 3), ("v1.9.*", 1), ("x*", 0)] {
        let source = GitRepository::new(bench.base(), origin.clone(), pattern.to_owned());
        assert_eq!(source.tags().await.unwrap().len(), count, "{pattern}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn content_has_one_id_wherever_it_is() {
    let bench = Bench::new();
    let first = bench.commit("api/src/x", "x", "One");
    let second = bench.commit("other", "x", "Two");
    let third = bench.commit("api/src/x", "y", "Three");
    bench.resolve(third.as_str()).await.unwrap();
    let content =
        async |commit: &Commit, within: &str| bench.source.content(commit, Path::new(within)).await.unwrap();
    let is = content(&first, "api").await;
    assert!(is.is_some());
    assert_eq!(is, content(&second, "./api/").await);
    assert_ne!(is, content(&third, "api").await);
    assert_ne!(content(&first, "").await, content(&second, "").await);
    assert!(content(&first, "").await.is_some());
    for none in ["a", "api/none", "../api", "/api", "none"] {
        assert_eq!(content(&first, none).await, None, "{none}");
    }
}
