//! Building images: from a context, with all that a `build:` may say, and how it fails.

mod bench;
mod fake;

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use state::stack_spec::Ulimit;
use steadfast::engine::{Build, Engine, EngineError, context_digest};

use self::bench::{Bench, SECRET, SMALL, bench};
use super::support::docker;

#[tokio::test]
async fn an_image_is_built_with_all_that_was_asked_for() {
    let dockerfile = "FROM shell\nARG TOKEN\nARG PLAIN=default\nCOPY . /ctx/\n\
                      RUN echo \"$TOKEN $PLAIN\" > /args && grep db /etc/hosts > /hosts && ulimit -n > /limit \
                      && df -k /dev/shm | tail -n1 > /shm && echo $TOKEN\n\
                      FROM scratch AS other\nCOPY none /\n";
    let Some(mut b) = bench("all", dockerfile).await else {
        return;
    };
    b.write(".dockerignore", "**/*.log\n!keep.log\nnode_modules\n");
    for name in [
        "a.txt",
        "b.log",
        "keep.log",
        "sub/c.log",
        "sub/d",
        "node_modules/x/y",
    ] {
        b.write(name, "x");
    }
    std::os::unix::fs::symlink("/etc/shadow", b.path("link")).unwrap();
    let second = format!("{}-second:v2", b.name);
    b.spec.target = Some("shell".to_owned());
    b.spec.tags = vec![second.clone()];
    b.spec.labels = ["io.steadfast.test", "own"]
        .map(|key| (key.to_owned(), "of the file".to_owned()))
        .into();
    b.spec.extra_hosts = BTreeMap::from([("db".to_owned(), vec!["10.0.0.7".to_owned()])]);
    b.spec.ulimits = BTreeMap::from([("nofile".to_owned(), Ulimit { soft: 77, hard: 99 })]);
    b.spec.shm_size = Some(3 << 30);
    b.spec.cache_from = vec![SMALL.to_owned()];
    let image = b.build().await.unwrap();
    for reference in [&format!("{}:v1", b.name), &second] {
        assert_eq!(b.engine.image(reference).await.unwrap().as_ref(), Some(&image));
    }
    let label = |key: &str| {
        docker(&[
            "inspect",
            image.as_str(),
            "--format",
            &format!("{{{{index .Config.Labels \"{key}\"}}}}"),
        ])
    };
    assert_eq!(
        (label("io.steadfast.test").as_str(), label("own").as_str()),
        ("engine", "of the file")
    );
    assert_eq!(
        Bench::sent(&image),
        [
            "./.dockerignore",
            "./Dockerfile",
            "./a.txt",
            "./keep.log",
            "./link",
            "./sub/d"
        ]
    );
    let run = [
        "run",
        "--rm",
        "--network=none",
        "--entrypoint=cat",
        image.as_str(),
        "/args",
        "/hosts",
        "/limit",
        "/shm",
    ];
    let seen = docker(&run);
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(lines[0], format!("{SECRET} default"));
    assert_eq!(
        lines[1].split_whitespace().collect::<Vec<_>>(),
        ["10.0.0.7", "db"]
    );
    assert_eq!(lines[2], "77");
    assert!(lines[3].contains("3145728"), "{seen}");
    let told = b.told.lock().unwrap().clone();
    assert_eq!(told[0], format!("step 1 of 8: FROM {SMALL} AS shell"));
    assert!(
        told.iter()
            .any(|sentence| sentence == "step 5 of 8: COPY . /ctx/"),
        "{told:?}"
    );
}

#[tokio::test]
async fn what_has_not_changed_is_not_built_again() {
    let Some(mut b) = bench("again", "FROM shell\nCOPY a /a\nRUN date +%N > /now\n").await else {
        return;
    };
    b.write("a", "1");
    b.spec.cache_from.clear();
    let first = b.build().await.unwrap();
    let digest = async |b: &Bench| {
        let build = Build {
            context: &b.path(""),
            within: None,
            spec: &b.spec,
            reference: "any",
            labels: BTreeMap::new(),
            platform: None,
        };
        context_digest(&build).await.unwrap()
    };
    let before = digest(&b).await;
    b.write("a", "1");
    assert_eq!(digest(&b).await, before);
    assert_eq!(b.build().await.unwrap(), first);
    b.write("a", "2");
    assert_ne!(digest(&b).await, before);
    assert_ne!(b.build().await.unwrap(), first);
    let second = b.build().await.unwrap();
    b.spec.no_cache = true;
    assert_ne!(b.build().await.unwrap(), second);
}

#[tokio::test]
async fn a_dockerfile_that_is_not_in_the_context_is_not_in_the_image_either() {
    let Some(mut b) = bench("else", "").await else {
        return;
    };
    fs::remove_file(b.path("Dockerfile")).unwrap();
    b.write("a", "1");
    b.write("../elsewhere", "FROM shell\nCOPY . /ctx/\n");
    b.spec.dockerfile = Some("../elsewhere".to_owned());
    assert_eq!(Bench::sent(&b.build().await.unwrap()), ["./a"]);
    b.spec.dockerfile_inline = Some(fs::read_to_string(b.path("../elsewhere")).unwrap());
    assert_eq!(Bench::sent(&b.build().await.unwrap()), ["./a"]);
    b.spec.dockerfile_inline = None;
    // One in an excluded directory is sent, and left out by the engine.
    b.write("docker/web", "FROM shell\nCOPY . /ctx/\n");
    b.write(".dockerignore", "docker\n.dockerignore\n");
    b.spec.dockerfile = Some("docker/web".to_owned());
    assert_eq!(Bench::sent(&b.build().await.unwrap()), ["./a"]);
    b.write("docker/web.dockerignore", "a\n");
    assert_eq!(
        Bench::sent(&b.build().await.unwrap()),
        ["./docker/web", "./docker/web.dockerignore"]
    );
    let long = format!("{}/{}", "d".repeat(150), "f".repeat(150));
    b.write(&long, "");
    assert!(Bench::sent(&b.build().await.unwrap()).contains(&format!("./{long}")));
}

#[tokio::test]
async fn a_step_that_fails_says_so_in_its_own_words() {
    let dockerfile = "FROM shell\nARG TOKEN\nRUN for i in 1 2 3; do echo line $i $TOKEN; done; echo \"wrong: $TOKEN\" >&2; exit 3\n";
    let Some(b) = bench("fails", dockerfile).await else {
        return;
    };
    let error = b.build().await.unwrap_err();
    let EngineError::BuildFailed { reference, message } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(*reference, format!("{}:v1", b.name));
    let mut lines = message.lines();
    let first = lines.next().unwrap();
    assert!(
        first.starts_with("step 4 of 5: RUN for i in 1 2 3; "),
        "{message}"
    );
    assert!(first.ends_with(": it ended with exit code 3"), "{message}");
    // The engine may hand on what went to standard error before what went to standard output.
    let mut last: Vec<&str> = lines.collect();
    last.sort_unstable();
    assert_eq!(last, ["line 1 …", "line 2 …", "line 3 …", "wrong: …"]);
}

#[tokio::test]
async fn what_is_final_and_what_may_pass() {
    let Some(b) = bench("final", "").await else { return };
    let rows = [
        ("FROM shell\nFOO bar\n", Some("unknown instruction: FOO")),
        (
            "FROM shell\nCOPY none /\n",
            Some("step 3 of 4: COPY none /: COPY failed: file not found in build context"),
        ),
        (
            "FROM shell\nRUN --mount=type=cache,target=/x true\n",
            Some("name it with \"image:\""),
        ),
        (
            "FROM shell\nCOPY --link Dockerfile /\n",
            Some("name it with \"image:\""),
        ),
        (
            "FROM shell\nRUN <<EOF\necho hi\nEOF\n",
            Some("name it with \"image:\""),
        ),
        ("FROM shell\nRUN [\"/none\"]\n", Some("no such file or directory")),
        ("FROM UPPER\n", Some("invalid reference format")),
        ("", Some("cannot be empty")),
        ("FROM localhost:9/steadfast-test/none:v1\n", None),
        ("FROM shell\nADD http://localhost:9/x /\n", None),
    ];
    for (dockerfile, is_final) in rows {
        b.write("Dockerfile", dockerfile);
        let error = b.build().await.unwrap_err();
        let text = error.to_string();
        match (&error, is_final) {
            (EngineError::BuildFailed { message, .. }, Some(words)) => {
                assert!(message.contains(words), "{text}");
            }
            (EngineError::Refused { .. }, None) => assert!(text.contains("localhost:9"), "{text}"),
            _ => panic!("{dockerfile}: {error:?}"),
        }
    }
}

#[tokio::test]
async fn a_context_that_cannot_be_sent_ends_the_build() {
    let Some(mut b) = bench("context", "FROM shell\nCOPY . /ctx/\n").await else {
        return;
    };
    b.write("a", &"x".repeat(1_000_000));
    b.write(&format!("{}x", "d/".repeat(202)), "");
    let error = b.build().await.unwrap_err();
    assert!(
        matches!(&error, EngineError::BuildFailed { message, .. } if message.contains("deeper than 200")),
        "{error}"
    );
    b.spec.dockerfile = Some("none".to_owned());
    let error = b.build().await.unwrap_err();
    assert!(error.to_string().contains("there is no none in "), "{error}");
    b.spec.privileged = true;
    let error = b.build().await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("\"privileged\": build the image elsewhere"),
        "{error}"
    );
}

#[tokio::test]
async fn who_drops_the_call_ends_the_build() {
    let Some(b) = bench("dropped", "FROM shell\nRUN sleep 100\n").await else {
        return;
    };
    let begun = Instant::now();
    {
        let building = b.build();
        tokio::pin!(building);
        while b.containers().is_empty() {
            let tick = tokio::time::timeout(Duration::from_millis(50), &mut building).await;
            assert!(
                tick.is_err() && begun.elapsed() < Duration::from_secs(60),
                "{tick:?}"
            );
        }
    }
    while !b.containers().is_empty() {
        assert!(
            begun.elapsed() < Duration::from_secs(90),
            "the container is still there"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(b.engine.image(&format!("{}:v1", b.name)).await.unwrap(), None);
}
