//! How it is sent on.

use futures_util::StreamExt as _;

use super::*;

#[tokio::test]
async fn it_is_streamed_in_parts() {
    let bench = Bench::new(&[("a", &"x".repeat(300_000)), ("b", "y")]);
    let whole = bench.tar();
    let (parts, sending) = bench.open().unwrap().stream();
    let parts: Vec<_> = parts.collect().await;
    let sizes: Vec<usize> = parts.iter().map(|part| part.as_ref().unwrap().len()).collect();
    assert!(sizes.iter().all(|size| *size <= 64 * 1024), "{sizes:?}");
    let joined: Vec<u8> = parts
        .into_iter()
        .flat_map(|part| part.unwrap().to_vec())
        .collect();
    assert_eq!(joined, whole);
    assert_eq!(sending.bytes(), whole.len() as u64);
    assert!(sending.failure().is_none());
}

#[tokio::test]
async fn what_ends_early_never_looks_whole() {
    let bench = Bench::new(&[("x", "")]);
    let (mut parts, sending) = {
        let context = bench.open().unwrap();
        fs::create_dir_all(bench.path(&format!("app/{}", "d/".repeat(202)))).unwrap();
        context.stream()
    };
    let mut last = None;
    while let Some(part) = parts.next().await {
        last = Some(part);
    }
    assert!(last.unwrap().is_err());
    assert!(matches!(sending.failure(), Some(ContextError::Wrong(_))));
}

#[tokio::test]
async fn who_stops_taking_ends_it() {
    let bench = Bench::new(&[("a", &"x".repeat(3_000_000))]);
    let (mut parts, sending) = bench.open().unwrap().stream();
    assert!(parts.next().await.unwrap().is_ok());
    drop(parts);
    assert!(sending.failure().is_none());
}
