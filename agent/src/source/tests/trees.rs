//! Checkouts: whole, as the commit says, and nobody else's.

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::time::Instant;

use super::*;

#[tokio::test(flavor = "current_thread")]
async fn a_checkout_is_what_the_commit_says_and_has_nothing_of_git() {
    let bench = Bench::new();
    bench.write(".gitattributes", "*.bat text eol=crlf\n*.bin filter=own\n");
    bench.write("start.bat", "a\nb\n");
    bench.write("x.bin", "as it is");
    bench.write("dir/run.sh", "#!/bin/sh\n");
    bench.write("dir/with space", "1");
    bench.write("dir/with\nline", "2");
    bench.write("-dash", "3");
    bench.write("dir/.hidden", "4");
    bench.write(
        "pointer.txt",
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    );
    fs::write(bench.work().join(OsStr::from_bytes(b"dir/\xff")), "5").unwrap();
    fs::set_permissions(bench.work().join("dir/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("run.sh", bench.work().join("dir/link")).unwrap();
    symlink("/etc/hostname", bench.work().join("out")).unwrap();
    symlink("../../..", bench.work().join("dir/above")).unwrap();
    let commit = bench.commit("a", "text\n", "All kinds");
    bench.git(["tag", "v1"]);
    // A filter that is configured where the daemon runs is not run.
    let tree = bench.checkout("v1").await.unwrap();
    assert_eq!(tree, bench.base().join("trees").join(commit.as_str()));
    assert_eq!(bench.source.tree(&commit).as_ref(), Some(&tree));
    assert_eq!(bench.source.tree_of(&commit), tree);
    let expected = [
        ("-dash", "644 3"),
        (".gitattributes", "644 *.bat text eol=crlf\\n*.bin filter=own\\n"),
        ("a", "644 text\\n"),
        ("dir", "755 directory"),
        ("dir/.hidden", "644 4"),
        ("dir/above", "-> ../../.."),
        ("dir/link", "-> run.sh"),
        ("dir/run.sh", "755 #!/bin/sh\\n"),
        ("dir/with\nline", "644 2"),
        ("dir/with space", "644 1"),
        ("dir/\u{fffd}", "644 5"),
        ("out", "-> /etc/hostname"),
        (
            "pointer.txt",
            "644 version https://git-lfs.github.com/spec/v1\\noid sha256:0\\nsize 1\\n",
        ),
        ("start.bat", "644 a\\r\\nb\\r\\n"),
        ("x.bin", "644 as it is"),
    ];
    let expected: BTreeMap<String, String> = expected
        .iter()
        .map(|(name, what)| ((*name).to_owned(), (*what).to_owned()))
        .collect();
    assert_eq!(listing(&tree), expected);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode(&bench.base()), mode(&bench.base().join("trees"))),
        (0o700, 0o700)
    );
    assert_eq!(fs::read_dir(bench.base().join("trees")).unwrap().count(), 1);
    // There is one: it is not looked for again, and not made again.
    fs::remove_dir_all(bench.repo()).unwrap();
    assert_eq!(bench.source.checkout(&commit).await.unwrap(), tree);
}

#[tokio::test(flavor = "current_thread")]
async fn a_commit_that_would_not_be_whole_is_refused_and_leaves_nothing() {
    let bench = Bench::new();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
    bench.write(
        "assets/.gitattributes",
        "*.bin filter=lfs diff=lfs merge=lfs -text\n",
    );
    for name in [
        "assets/1.bin",
        "assets/2.bin",
        "assets/3.bin",
        "assets/4 5.bin",
        "plain.txt",
    ] {
        bench.write(name, pointer);
    }
    bench.write("assets/whole.bin", "\0content");
    let lfs = bench.commit("a", "1", "With LFS");
    bench.git(["rm", "-q", "-r", "assets"]);
    let without = bench.commit("a", "2", "Without");
    bench.write("secret.env", "\0GITCRYPT\0abc");
    let encrypted = bench.commit("a", "3", "Encrypted");
    bench.git(["rm", "-q", "secret.env"]);
    git(bench.root.path(), ["clone", "-q", "work", "library"]);
    bench.git(["submodule", "--quiet", "add", "../library", "third party"]);
    let submodule = bench.commit("a", "4", "With a submodule");
    bench.git(["tag", "v1"]);
    bench.resolve("v1").await.unwrap();
    for (commit, expected) in [
        (
            &lfs,
            "has files that are kept in Git LFS: assets/1.bin, assets/2.bin, assets/3.bin, 1 more (files in LFS are not \
             brought: build the image elsewhere and name it by its tag)",
        ),
        (
            &encrypted,
            "has files that are encrypted: secret.env (encrypted files are not decrypted: bring the secrets by the env \
             file)",
        ),
        (
            &submodule,
            "has submodules: third party (submodules are not brought: keep the files in the repository itself)",
        ),
    ] {
        let error = bench.source.checkout(commit).await.unwrap_err();
        assert_eq!(
            said(&error, &bench),
            format!("commit {} {expected}", commit.short())
        );
        assert!(!error.passes());
        assert_eq!(bench.source.tree(commit), None);
        assert_eq!(listing(&bench.base().join("trees")), BTreeMap::new());
    }
    assert!(
        bench
            .source
            .checkout(&without)
            .await
            .unwrap()
            .join("plain.txt")
            .is_file()
    );
}

#[tokio::test(flavor = "current_thread")]
async fn half_a_checkout_is_made_anew_and_what_is_not_kept_is_removed() {
    let bench = Bench::new();
    bench.git(["tag", "v1"]);
    let first = bench.resolve("v1").await.unwrap();
    let second = bench.commit("a", "second\n", "Second");
    bench.git(["tag", "v2"]);
    bench.resolve("v2").await.unwrap();
    let trees = bench.base().join("trees");
    // As a kill leaves it at several moments.
    fs::create_dir_all(trees.join(format!("{first}.new/left"))).unwrap();
    fs::write(trees.join(format!("{first}.new/a")), "half").unwrap();
    fs::write(trees.join(format!("{first}.index")), "half").unwrap();
    fs::write(trees.join(format!("{first}.index.lock")), "").unwrap();
    assert_eq!(bench.source.tree(&first), None);
    let tree = bench.source.checkout(&first).await.unwrap();
    assert_eq!(
        listing(&tree),
        BTreeMap::from([(String::from("a"), String::from("644 first\\n"))])
    );
    bench.source.checkout(&second).await.unwrap();
    fs::create_dir_all(trees.join(format!("{first}.old/left"))).unwrap();
    fs::create_dir_all(trees.join(format!("{second}.new"))).unwrap();
    fs::write(trees.join(format!("{second}.index.lock")), "").unwrap();
    fs::create_dir(trees.join("of a person")).unwrap();
    for _ in 0..2 {
        bench
            .source
            .forget(&BTreeSet::from([second.clone()]))
            .await
            .unwrap();
        let left: Vec<String> = listing(&trees)
            .into_keys()
            .filter(|name| !name.contains('/'))
            .collect();
        assert_eq!(left, [second.as_str(), "of a person"]);
    }
    assert_eq!(bench.source.tree(&first), None);
    bench.source.checkout(&first).await.unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn a_dirty_checkout_with_a_detached_head_stays_as_it_is() {
    let bench = Bench::new();
    bench.git(["tag", "v1"]);
    bench.commit("b", "b\n", "Second");
    bench.git(["tag", "v2"]);
    bench.git(["checkout", "-q", "--detach", "v1"]);
    bench.write("a", "changed\n");
    bench.write("staged", "x");
    bench.git(["add", "staged"]);
    bench.write("untracked", "y");
    let hook = bench.work().join(".git/hooks/post-checkout");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, "#!/bin/sh\ntouch \"$(dirname \"$0\")/was-run\"\n").unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let before = (bench.seen(), digests(&bench.work()));
    for name in ["v1", "v2"] {
        bench.checkout(name).await.unwrap();
    }
    bench.source.tags().await.unwrap();
    bench.source.forget(&BTreeSet::new()).await.unwrap();
    assert_eq!((bench.seen(), digests(&bench.work())), before);
}

#[tokio::test(flavor = "current_thread")]
async fn many_files_take_a_bounded_time() {
    let bench = Bench::new();
    for i in 0..2000 {
        bench.write(&format!("dir{}/file{i}", i % 40), &format!("{i}\n"));
    }
    let commit = bench.commit("a", "many\n", "Many");
    let begun = Instant::now();
    bench.resolve(commit.as_str()).await.unwrap();
    let tree = bench.source.checkout(&commit).await.unwrap();
    assert_eq!(listing(&tree).len(), 2041);
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "current_thread")]
async fn packs_of_many_fetches_are_put_together_and_nothing_is_lost() {
    let bench = Bench::new();
    let lost = bench.commit("a", "on no branch later\n", "Lost");
    bench.resolve(lost.as_str()).await.unwrap();
    bench.git(["reset", "-q", "--hard", "HEAD~"]);
    for i in 0..22 {
        let commit = bench.commit("a", &format!("{i}\n"), "Next");
        bench.resolve(commit.as_str()).await.unwrap();
    }
    let packs = || {
        let files = fs::read_dir(bench.repo().join("objects/pack")).unwrap();
        files
            .filter(|file| file.as_ref().unwrap().path().extension() == Some(OsStr::new("pack")))
            .count()
    };
    assert!(packs() > 20);
    bench.source.forget(&BTreeSet::new()).await.unwrap();
    assert!(packs() < 10, "{}", packs());
    fs::rename(bench.work(), bench.root.path().join("away")).unwrap();
    assert!(bench.source.checkout(&lost).await.unwrap().is_dir());
}
