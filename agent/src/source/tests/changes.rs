//! What is put into the origin, and what is left when it is not taken.

use std::os::unix::fs::{MetadataExt as _, chown};

use super::*;

fn branch(name: &str) -> BranchName {
    name.parse().unwrap()
}

const ANN: Signature<'static> = Signature {
    name: "Ann",
    email: "ann@example.invalid",
};
const DAEMON: Signature<'static> = Signature {
    name: "Steadfast",
    email: "steadfast@example.invalid",
};

impl Bench {
    async fn revert(
        &self,
        path: &str,
        from: &Commit,
        (onto, to): (&str, &str),
        push: bool,
    ) -> Result<Commit, SourceError> {
        let revert = RevertFile {
            path: Path::new(path),
            from,
            onto: &branch(onto),
            to: &branch(to),
            message: "Put it back\n\nAs it was.\n",
            author: ANN,
            committer: DAEMON,
            at: 1_700_000_100,
        };
        self.source.revert_file(&revert, push).await
    }

    /// What the mirror has: references and objects.
    fn mirrored(&self) -> [String; 2] {
        [
            git(&self.repo(), ["for-each-ref"]),
            git(&self.repo(), ["count-objects", "-v"]),
        ]
    }

    /// Two commits that differ in `conf/nginx.conf`, with something else checked out.
    fn with_conf() -> (Self, Commit, Commit) {
        let bench = Self::new();
        let old = bench.commit("conf/nginx.conf", "old\n", "Old");
        let new = bench.commit("conf/nginx.conf", "new\n", "New");
        bench.git(["checkout", "-q", "--detach"]);
        bench.write("a", "of the operator\n");
        (bench, old, new)
    }

    fn hook(&self, name: &str, text: &str) {
        let path = self.work().join(".git/hooks").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn a_branch_name_is_one_that_git_takes() {
    let git_takes = |name: &str| {
        let mut asked = command(Path::new("/"));
        asked
            .args(["check-ref-format", "--branch", name])
            .stderr(Stdio::null());
        asked.stdout(Stdio::null()).status().unwrap().success()
    };
    for (name, expected) in [
        ("rollback/to-v1.4.0", true),
        ("hotfix/INC-7", true),
        ("feature/\u{e9}#1@x", true),
        ("a.b/c_d", true),
        ("", false),
        ("HEAD", false),
        ("@", false),
        ("-a", false),
        (".a", false),
        ("a/.b", false),
        ("a//b", false),
        ("/a", false),
        ("a/", false),
        ("a..b", false),
        ("a.", false),
        ("a.lock", false),
        ("a.lock/b", false),
        ("a b", false),
        ("a\nb", false),
        ("a~1", false),
        ("a^", false),
        ("a:b", false),
        ("a*", false),
        ("a@{1}", false),
        ("a\\b", false),
    ] {
        assert_eq!(name.parse::<BranchName>().is_ok(), expected, "{name:?}");
        if expected {
            assert!(git_takes(name), "{name:?}");
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_branch_is_made_once_and_never_moved() {
    let (bench, old, new) = Bench::with_conf();
    let name = branch("rollback/to-v1.4.0");
    bench.source.branch(&name, &old, false).await.unwrap();
    assert_eq!(bench.git(["branch", "--list", "rollback/*"]), "");
    let mut before = bench.seen();
    for _ in 0..2 {
        bench.source.branch(&name, &old, true).await.unwrap();
        assert_eq!(bench.head("rollback/to-v1.4.0"), old);
    }
    for (name, push) in [
        ("rollback/to-v1.4.0", true),
        ("rollback/to-v1.4.0", false),
        ("main", true),
        ("main", false),
    ] {
        let error = bench
            .source
            .branch(&branch(name), &bench.head("HEAD~2"), push)
            .await
            .unwrap_err();
        assert!(matches!(error, SourceError::Exists { .. }), "{error}");
    }
    let error = bench.source.branch(&name, &new, true).await.unwrap_err();
    let expected = format!(
        "branch rollback/to-v1.4.0 is there already, at commit {} (choose another name, or remove that branch)",
        old.short()
    );
    assert_eq!(said(&error, &bench), expected);
    let mut after = bench.seen();
    let [_, refs] = [before.remove("refs"), after.remove("refs")];
    assert_eq!(refs.unwrap().lines().count(), 2);
    assert_eq!(before, after);
    // What the next fetch takes away is not ours.
    bench.git(["branch", "-D", "rollback/to-v1.4.0"]);
    bench.resolve(old.as_str()).await.unwrap();
    let ours = git(
        &bench.repo(),
        ["rev-parse", "refs/steadfast/heads/rollback/to-v1.4.0"],
    );
    assert_eq!(ours, old.as_str());
    let unknown = "1234567890123456789012345678901234567890".parse().unwrap();
    let error = bench
        .source
        .branch(&branch("hotfix/x"), &unknown, true)
        .await
        .unwrap_err();
    assert!(matches!(error, SourceError::NoSuchName { .. }), "{error}");
}

#[tokio::test(flavor = "current_thread")]
async fn one_file_is_as_it_was_on_top_of_a_branch() {
    let (bench, old, new) = Bench::with_conf();
    let before = (
        bench.git(["status", "--porcelain"]),
        fs::read(bench.work().join(".git/index")).unwrap(),
    );
    let here = bench
        .revert("conf/nginx.conf", &old, ("main", "rollback/conf"), false)
        .await
        .unwrap();
    assert_eq!(bench.git(["branch", "--list", "rollback/*"]), "");
    for _ in 0..2 {
        let commit = bench
            .revert("conf/nginx.conf", &old, ("main", "rollback/conf"), true)
            .await
            .unwrap();
        assert_eq!(commit, here);
    }
    assert_eq!(bench.head("rollback/conf"), here);
    assert_eq!(bench.head("rollback/conf~"), new);
    assert_eq!(bench.git(["show", "rollback/conf:conf/nginx.conf"]), "old");
    assert_eq!(
        bench.git(["diff", "--name-only", "main", "rollback/conf"]),
        "conf/nginx.conf"
    );
    let format = "--format=%an <%ae> %at, %cn <%ce> %ct: %B";
    assert_eq!(
        bench.git(["log", "-1", format, "rollback/conf"]),
        "Ann <ann@example.invalid> 1700000100, Steadfast <steadfast@example.invalid> 1700000100: Put it back\n\nAs it \
         was."
    );
    // On the branch itself, since it is not checked out.
    let commit = bench
        .revert("./conf/nginx.conf", &old, ("main", "main"), true)
        .await
        .unwrap();
    assert_eq!(bench.head("main"), commit);
    let error = bench
        .revert("conf/nginx.conf", &old, ("main", "main"), true)
        .await
        .unwrap_err();
    let expected = format!("conf/nginx.conf is the same on main as in commit {}", old.short());
    assert_eq!(said(&error, &bench), expected);
    let after = (
        bench.git(["status", "--porcelain"]),
        fs::read(bench.work().join(".git/index")).unwrap(),
    );
    assert_eq!(before, after);
    assert!(!bench.base().join("change.new").exists());
}

#[tokio::test(flavor = "current_thread")]
async fn a_file_comes_goes_and_is_called_anything() {
    let bench = Bench::new();
    let first = bench.head("HEAD");
    let odd = "-dir/*[x] \n\u{e9}";
    let with = bench.commit(odd, "1\n", "Odd");
    bench.git(["rm", "-q", "-r", "--", "-dir"]);
    bench.git(["commit", "-q", "-m", "Without"]);
    bench.git(["checkout", "-q", "--detach"]);
    let back = bench.revert(odd, &with, ("main", "back"), true).await.unwrap();
    assert_eq!(bench.git(["show", &format!("{back}:{odd}")]), "1");
    let gone = bench.revert(odd, &first, ("back", "gone"), true).await.unwrap();
    assert_eq!(bench.git(["ls-tree", "-r", "--name-only", gone.as_str()]), "a");
    for (path, onto) in [
        ("none", "main"),
        ("-dir", "back"),
        ("../a", "main"),
        ("/a", "main"),
        ("", "main"),
        ("a/b", "main"),
    ] {
        let error = bench
            .revert(path, &with, (onto, "never"), true)
            .await
            .unwrap_err();
        assert!(matches!(error, SourceError::NoSuchFile { .. }), "{path}: {error}");
    }
    let error = bench
        .revert("a", &with, ("nowhere", "never"), true)
        .await
        .unwrap_err();
    assert_eq!(said(&error, &bench), "/work has no branch nowhere");
    let error = bench
        .revert(odd, &with, ("main", "gone"), true)
        .await
        .unwrap_err();
    assert!(matches!(error, SourceError::Exists { .. }), "{error}");
    assert_eq!(bench.git(["branch", "--list", "never"]), "");
}

#[tokio::test(flavor = "current_thread")]
async fn a_branch_that_is_checked_out_is_refused_and_all_stays_as_it_was() {
    let (bench, old, _) = Bench::with_conf();
    bench.git(["checkout", "-q", "-f", "main"]);
    bench.write("a", "of the operator\n");
    bench.resolve(old.as_str()).await.unwrap();
    // Git itself would change the files.
    bench.git(["config", "receive.denyCurrentBranch", "updateInstead"]);
    let before = (bench.seen(), digests(&bench.work()), bench.mirrored());
    let error = bench
        .revert("conf/nginx.conf", &old, ("main", "main"), true)
        .await
        .unwrap_err();
    assert_eq!(
        said(&error, &bench),
        "/work does not take branch main: it is checked out there, and its files would not follow (choose another \
         branch, or check out another one there)"
    );
    assert!(!error.passes());
    assert_eq!((bench.seen(), digests(&bench.work()), bench.mirrored()), before);
}

#[tokio::test(flavor = "current_thread")]
async fn what_a_hook_refuses_leaves_all_as_it_was() {
    let (bench, old, _) = Bench::with_conf();
    bench.hook("pre-receive", "echo 'only from the release manager' >&2; exit 1");
    bench.resolve(old.as_str()).await.unwrap();
    let before = (bench.seen(), digests(&bench.work()), bench.mirrored());
    let one = bench
        .source
        .branch(&branch("rollback/to-v1"), &old, true)
        .await
        .unwrap_err();
    let other = bench
        .revert("conf/nginx.conf", &old, ("main", "rollback/conf"), true)
        .await
        .unwrap_err();
    for (error, name) in [(one, "rollback/to-v1"), (other, "rollback/conf")] {
        let expected = format!(
            "/work does not take branch {name}: pre-receive hook declined: only from the release manager"
        );
        assert_eq!(said(&error, &bench), expected);
    }
    assert_eq!((bench.seen(), digests(&bench.work()), bench.mirrored()), before);
    assert!(!bench.base().join("change.new").exists());
    bench.hook("pre-receive", "exit 0");
    bench
        .source
        .branch(&branch("rollback/to-v1"), &old, true)
        .await
        .unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn who_comes_first_is_not_written_over() {
    let (mut bench, old, new) = Bench::with_conf();
    let first = bench.head("HEAD~2");
    // Between the look and the push somebody else makes the branch, or moves it.
    let program = bench.root.path().join("program");
    let text = format!(
        "#!/bin/sh\ncase \"$*\" in *' push '*) for b in main made; do env -i PATH=\"$PATH\" git --git-dir={} \
         update-ref refs/heads/$b {first}; done;; esac\nexec git \"$@\"\n",
        bench.work().join(".git").display()
    );
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let origin = bench.work().to_str().unwrap().to_owned();
    bench.source = GitRepository::by(program.into(), bench.base(), origin, String::from("*"));
    let error = bench
        .revert("conf/nginx.conf", &old, ("main", "main"), true)
        .await
        .unwrap_err();
    let expected = format!("branch main is there already, at commit {}", first.short());
    assert_eq!(error.to_string(), expected);
    bench.git(["update-ref", "refs/heads/main", new.as_str()]);
    bench.git(["branch", "-D", "made"]);
    let error = bench
        .revert("conf/nginx.conf", &old, ("main", "made"), true)
        .await
        .unwrap_err();
    assert!(matches!(error, SourceError::Exists { .. }), "{error}");
    bench.git(["branch", "-D", "made"]);
    let error = bench
        .source
        .branch(&branch("made"), &old, true)
        .await
        .unwrap_err();
    assert!(matches!(error, SourceError::Exists { .. }), "{error}");
    assert_eq!((bench.head("main"), bench.head("made")), (first.clone(), first));
}

#[tokio::test(flavor = "current_thread")]
async fn a_repository_of_somebody_else_is_read_and_what_is_put_there_is_theirs() {
    if !rustix::process::geteuid().is_root() {
        // Whoever runs this owns all that it makes.
        return;
    }
    let (bench, old, _) = Bench::with_conf();
    bench.git(["tag", "v1"]);
    fs::set_permissions(bench.root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    bench.hook("post-receive", "id -u >\"$GIT_DIR/hook-ran-as\"");
    let give = || {
        for name in listing(&bench.work()).into_keys() {
            std::os::unix::fs::lchown(bench.work().join(name), Some(65534), Some(65534)).unwrap();
        }
        chown(bench.work(), Some(65534), Some(65534)).unwrap();
    };
    give();
    assert!(bench.checkout("v1").await.unwrap().is_dir());
    let commit = bench
        .revert("conf/nginx.conf", &old, ("main", "rollback/conf"), true)
        .await
        .unwrap();
    bench
        .source
        .branch(&branch("rollback/to-v1"), &old, true)
        .await
        .unwrap();
    assert_eq!(bench.head("rollback/conf"), commit);
    assert_eq!(
        fs::read_to_string(bench.work().join(".git/hook-ran-as"))
            .unwrap()
            .trim(),
        "65534"
    );
    for name in listing(&bench.work()).into_keys() {
        let known = fs::symlink_metadata(bench.work().join(&name)).unwrap();
        assert_eq!((known.uid(), known.gid()), (65534, 65534), "{name}");
    }
}
