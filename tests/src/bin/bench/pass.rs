//! A pass without drift over many containers, against one raw list of the same containers; and what
//! such a pass sends to the engine, counted on the wire.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use agent::engine::{Dialect, NewContainer};
use agent::inputs::{self, Checkouts};
use anyhow::{Context as _, Result};
use config::compose::Disk;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use state::name::ServiceName;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

use crate::host::{IMAGE, LABEL, remove};
use crate::raw::{Raw, SOCKET, list_path};
use crate::report::{Report, median, say};
use crate::stack::{self, Bench};

/// How many containers, the most first: the fewer are what is left of them.
const SIZES: [usize; 4] = [200, 50, 10, 1];
/// How many are made at once.
const AT_ONCE: usize = 4;
/// Samples of each kind, taken in turns.
const SAMPLES: usize = 60;
/// The engine shows to the minute how long a container has been up, and a pass looks closely at a
/// young one (it may be in a crash loop).
const GROWN: Duration = Duration::from_secs(125);
const PROJECT: &str = "sf-bench-crowd";
const SERVICE: &str = "app";

/// The containers, up since a moment.
pub(crate) struct Crowd {
    directory: TempDir,
    up: Instant,
}

fn compose(replicas: usize) -> String {
    let (name, value) = LABEL.split_once('=').unwrap_or((LABEL, ""));
    format!(
        "services:\n  {SERVICE}:\n    image: {IMAGE}:${{TAG}}\n    network_mode: none\n    scale: {replicas}\n    labels: {{ {name}: {value} }}\n"
    )
}

impl Crowd {
    /// Makes them with the product's own engine, several at once.
    pub(crate) async fn start() -> Result<Self> {
        let most = SIZES[0];
        say(&format!("starting {most} containers"));
        let directory = stack::directory()?;
        stack::write_files(directory.path(), PROJECT, &compose(most), "v1", "")?;
        let bench = Bench::open(directory.path(), PROJECT, SOCKET)?;
        let key = bench.edges.store.host_key();
        let settings = &bench.settings.stacks[&bench.name];
        let known = bench.settings.stacks.clone();
        let wishes = inputs::read_desired(&Disk, &bench.settings.agent.desired, &known)
            .map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
        let wish = wishes.get(&bench.name).context("no wish")?;
        let read = inputs::read(&Disk, settings, wish, &key, &Checkouts::default()).inputs;
        let read = read.map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
        let service: ServiceName = SERVICE.parse()?;
        let spec = read.spec.services.get(&service).context("no service")?;
        let engine = &bench.edges.engine;
        let image = engine.image(&format!("{IMAGE}:v1")).await?.context("no image")?;
        let hash = key
            .spec_hash(&read.spec, &service, &image, &read.versions)
            .context("no hash")?;
        let (read, service, image, hash) = (&read, &service, &image, &hash);
        stream::iter(1..=most)
            .map(|number| async move {
                let new = NewContainer {
                    stack: &read.spec,
                    service,
                    spec,
                    number: u32::try_from(number)?,
                    name: format!("{PROJECT}-{SERVICE}-{number}"),
                    image: image.clone(),
                    spec_hash: hash.clone(),
                    operation: 1,
                    generation: 1,
                    carried: Vec::new(),
                    restart: spec.restart_policy(),
                    dialect: Dialect::Hyphen,
                    working_dir: settings.directory.clone(),
                    config_files: read.compose_files.clone(),
                };
                let id = engine.create(&new).await?;
                engine.start(&id).await?;
                if number % 50 == 0 {
                    say(&format!("{number} of {most}"));
                }
                anyhow::Ok(())
            })
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<()>>()
            .await?;
        drop(bench);
        Ok(Self {
            directory,
            up: Instant::now(),
        })
    }

    /// Measures over all of them, removes the surplus, measures again.
    pub(crate) async fn measure(self, report: &mut Report) -> Result<()> {
        let left = GROWN.saturating_sub(self.up.elapsed());
        say(&format!(
            "waiting {} s until they are no longer young",
            left.as_secs()
        ));
        tokio::time::sleep(left).await;
        let mut there = SIZES[0];
        for size in SIZES {
            let surplus: Vec<String> = (size + 1..=there)
                .map(|n| format!("{PROJECT}-{SERVICE}-{n}"))
                .collect();
            remove(&["rm", "-f"], &surplus);
            there = size;
            Box::pin(measure(self.directory.path(), size, report)).await?;
        }
        Ok(())
    }
}

async fn measure(directory: &Path, size: usize, report: &mut Report) -> Result<()> {
    let mut bench = converged(directory, size, SOCKET).await?;
    let mut raw = Raw::connect()?;
    let path = list_path(PROJECT);
    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    for sample in 0..SAMPLES + 3 {
        let begun = Instant::now();
        let (_, answer) = raw.call("GET", &path, None)?;
        let listed = begun.elapsed();
        anyhow::ensure!(answer.len() > 2, "the raw list is empty");
        bench.stack.containers_changed();
        let begun = Instant::now();
        bench.stack.pass().await;
        let passed = begun.elapsed();
        // The first few warm up caches on both sides.
        if sample >= 3 {
            peer.push(listed);
            ours.push(passed);
        }
    }
    must_have_no_drift(&bench, size)?;
    let name = format!("pass without drift, {size} containers, ms");
    report.ratio(&name, median(ours), median(peer), Some(2.0));
    drop(bench);
    Box::pin(count(directory, size, report)).await
}

/// The stack finds its containers running, and has nothing to do.
async fn converged(directory: &Path, size: usize, socket: &str) -> Result<Bench> {
    stack::write_files(directory, PROJECT, &compose(size), "v1", "")?;
    let mut bench = Bench::open(directory, PROJECT, socket)?;
    bench.settle(Duration::from_secs(60), false).await?;
    Ok(bench)
}

fn must_have_no_drift(bench: &Bench, size: usize) -> Result<()> {
    let shown = bench.shared.get(&bench.name).context("nothing was published")?;
    anyhow::ensure!(
        shown.drift.is_empty() && shown.waits.is_empty() && shown.services.len() == size,
        "not a pass without drift: {:?} {:?} {} services",
        shown.drift,
        shown.waits,
        shown.services.len()
    );
    Ok(())
}

#[derive(Default)]
struct Counted {
    reads: AtomicU64,
    changes: AtomicU64,
}

/// Passes through a socket that counts what goes over it.
async fn count(directory: &Path, size: usize, report: &mut Report) -> Result<()> {
    const PASSES: u32 = 5;
    let own = tempfile::tempdir()?;
    let socket = own.path().join("counted.sock");
    let counted = Arc::new(Counted::default());
    let proxy = tokio::spawn(serve(UnixListener::bind(&socket)?, Arc::clone(&counted)));
    let mut bench = converged(directory, size, &socket.to_string_lossy()).await?;
    counted.reads.store(0, Ordering::Relaxed);
    counted.changes.store(0, Ordering::Relaxed);
    for _ in 0..PASSES {
        bench.stack.containers_changed();
        bench.stack.pass().await;
    }
    must_have_no_drift(&bench, size)?;
    let reads = f64::from(u32::try_from(counted.reads.load(Ordering::Relaxed))?);
    let changes = f64::from(u32::try_from(counted.changes.load(Ordering::Relaxed))?);
    anyhow::ensure!(reads > 0.0, "the counting socket saw nothing");
    report.limit(
        &format!("reading calls a pass, {size} containers"),
        reads / f64::from(PASSES),
        1.0,
    );
    report.limit(
        &format!("mutating calls in {PASSES} passes, {size} containers"),
        changes,
        0.0,
    );
    proxy.abort();
    Ok(())
}

async fn serve(listener: UnixListener, counted: Arc<Counted>) {
    while let Ok((client, _)) = listener.accept().await {
        let counted = Arc::clone(&counted);
        tokio::spawn(async move {
            // A connection that breaks ends the call; its error is the client's to tell.
            let _ = hand_on(client, &counted).await;
        });
    }
}

async fn hand_on(client: UnixStream, counted: &Counted) -> std::io::Result<()> {
    let engine = UnixStream::connect(SOCKET).await?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_engine, mut to_engine) = engine.into_split();
    let back = tokio::spawn(async move { tokio::io::copy(&mut from_engine, &mut to_client).await });
    let mut buffer = vec![0; 64 * 1024];
    let mut line = Vec::new();
    loop {
        let read = from_client.read(&mut buffer).await?;
        if read == 0 {
            break;
        }
        for byte in &buffer[..read] {
            if *byte == b'\n' {
                note(&line, counted);
                line.clear();
            } else {
                line.push(*byte);
            }
        }
        to_engine.write_all(&buffer[..read]).await?;
    }
    back.abort();
    Ok(())
}

/// A request line, and no other line, ends so.
fn note(line: &[u8], counted: &Counted) {
    let Some(request) = line.strip_suffix(b" HTTP/1.1\r") else {
        return;
    };
    if request.starts_with(b"GET ") || request.starts_with(b"HEAD ") {
        counted.reads.fetch_add(1, Ordering::Relaxed);
    } else {
        counted.changes.fetch_add(1, Ordering::Relaxed);
    }
}
