//! Images: resolving, pulling where there is no registry, keepers.

use std::collections::BTreeSet;
use std::sync::Mutex;

use serde_json::json;
use steadfast::engine::{DockerEngine, Engine, EngineError};

use super::support::{TINY, docker, project, web};

#[tokio::test]
async fn a_keeper_holds_an_image_and_leaves_nothing() {
    let Some(p) = project("keep", web(json!({}))).await else {
        return;
    };
    let mut images = vec![p.image.clone()];
    images.extend(p.engine.image("steadfast-test/tiny:volume-v1").await.unwrap());
    for image in &images {
        p.engine.keep_image(&p.stack.project, image).await.unwrap();
        p.engine.keep_image(&p.stack.project, image).await.unwrap();
    }
    let filter = format!("label=io.steadfast.keeper={}", p.stack.project);
    let names = || docker(&["ps", "-aq", "--filter", &filter]);
    let keepers = || names().lines().count();
    for keeper in names().lines() {
        let mounts = docker(&["inspect", "--format", "{{json .Mounts}}", keeper]);
        let mounts: serde_json::Value = serde_json::from_str(&mounts).unwrap();
        let volumes = mounts.as_array().unwrap().iter();
        let volumes: Vec<_> = volumes.filter(|m| m["Type"] == "volume").collect();
        assert!(
            volumes.is_empty(),
            "an anonymous volume for what the image declares: {volumes:?}"
        );
    }
    assert_eq!(keepers(), images.len());
    assert!(
        p.engine.containers(&p.stack.project).await.unwrap().is_empty(),
        "a keeper is not of the stack"
    );
    p.engine
        .release_images(&p.stack.project, &images.iter().take(1).cloned().collect())
        .await
        .unwrap();
    assert_eq!(keepers(), 1);
    p.engine
        .release_images(&p.stack.project, &BTreeSet::new())
        .await
        .unwrap();
    p.engine
        .release_images(&p.stack.project, &BTreeSet::new())
        .await
        .unwrap();
    assert_eq!(keepers(), 0);
}

#[tokio::test]
async fn references_name_images_and_a_pull_fails_with_the_engines_words() {
    let Some(p) = project("pull", web(json!({}))).await else {
        return;
    };
    assert_eq!(p.engine.image(TINY).await.unwrap().as_ref(), Some(&p.image));
    assert_eq!(
        p.engine.image(p.image.as_str()).await.unwrap().as_ref(),
        Some(&p.image)
    );
    assert_eq!(
        p.engine.image("steadfast-test/tiny:no-such-tag").await.unwrap(),
        None
    );
    let told = Mutex::new(Vec::new());
    let progress = |sentence: String| told.lock().unwrap().push(sentence);
    // Nobody listens on this port: a network error, which is not final.
    let error = p
        .engine
        .pull("localhost:9/steadfast-test/none:v1", None, &progress)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, EngineError::Refused { message, .. } if message.contains("localhost:9")),
        "{error}"
    );
}

#[tokio::test]
async fn nobody_listens() {
    let engine = DockerEngine::new("unix:///nonexistent/docker.sock".parse().unwrap());
    let error = engine.containers(&"shop".parse().unwrap()).await.unwrap_err();
    assert!(matches!(error, EngineError::Unreachable { .. }), "{error}");
}
