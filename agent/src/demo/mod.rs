//! `steadfast demo`: a stack comes up, a release that brings a migration turns bad, Steadfast takes it back with
//! its schema, and brings it again when the cause is mended. Shown on a real engine by the real daemon, which is
//! started as a process of its own and watched from outside. The demo takes away all that it made, whatever
//! happens, and nothing else.

mod again;
mod back;
mod daemon;
mod files;
mod host;
mod outside;
mod say;
mod scene;
mod story;

use anyhow::{Context as _, Result};

use self::daemon::Daemon;
use self::files::{BAD, FAIL_AFTER, GOOD_AFTER, PROJECT, WINDOW};
use self::host::Host;
use self::outside::Outside;
use self::say::Narrator;
use self::scene::{Busy, Scene};
use self::story::Story;
use crate::engine::address::Address;
use crate::signal::Signals;

const DONE: u8 = 0;
const FAILED: u8 = 1;
const NOT_READY: u8 = 3;
const REFUSED: u8 = 5;

/// What can be said to `steadfast demo`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Args {
    /// The engine to show it on, else `$DOCKER_HOST`, else the one of this host
    #[arg(long, value_name = "ADDRESS")]
    pub engine: Option<Address>,
}

/// Shows it; gives the exit code: 0 only if all of it really happened and all that was made is gone.
pub async fn run(args: &Args) -> u8 {
    let mut say = Narrator::new();
    match show(args, &mut say).await {
        Ok(code) => code,
        Err(error) => {
            say.wrong(&format!("{error:#}"));
            if error.is::<Busy>() { REFUSED } else { FAILED }
        }
    }
}

async fn show(args: &Args, say: &mut Narrator) -> Result<u8> {
    let mut signals = Signals::new().context("cannot listen for signals")?;
    let address = engine(args)?;
    let host = match Host::reach(&address).await {
        Ok((host, words)) => {
            say.plain(&format!(
                "Steadfast, on {words}: api, frontend and Postgres as the stack {PROJECT}"
            ));
            host
        }
        Err(error) => {
            say.wrong(&format!("no engine answers at {address}: {error:#}"));
            say.plain("`make demo` installs and starts one where there is none");
            return Ok(NOT_READY);
        }
    };
    let missing = host.missing_images().await?;
    if !missing.is_empty() {
        say.wrong(&format!("images are missing: {}", missing.join(", ")));
        say.plain("`make images` makes them, without any registry");
        return Ok(NOT_READY);
    }
    let foreign = host.foreign().await?;
    if !foreign.is_empty() {
        say.wrong(&format!(
            "there is a project {PROJECT} that no demo made: {}",
            foreign.join(", ")
        ));
        return Ok(REFUSED);
    }
    let scene = Scene::take()?;
    daemon::end_leftover(&scene).await?;
    match host.clear().await? {
        0 => {}
        gone => say.plain(&format!("An earlier demo left {gone} things; they are gone now")),
    }
    say.plain(&format!(
        "All spans are short here: a release may fail for {WINDOW} s, and is proven after {GOOD_AFTER} s of health.\n\
         Otherwise both are five minutes. {BAD} is made to be well for {FAIL_AFTER} s only."
    ));
    let ended = play(&scene, &host, &address, say, &mut signals).await;
    let cleared = clear(ended.daemon, &host, scene, say).await;
    match (ended.told, cleared) {
        (Ok(()), Ok(())) => {
            say.plain(&format!(
                "\nAll of it happened, in {:.0} s. Nothing is left of it on this host.",
                say.elapsed().as_secs_f64()
            ));
            Ok(DONE)
        }
        (Err(error), Ok(())) | (Ok(()), Err(error)) => Err(error),
        (Err(first), Err(second)) => {
            say.wrong(&format!("{second:#}"));
            Err(first)
        }
    }
}

/// What is left when the story is over, however it ended.
struct Ended {
    daemon: Option<Daemon>,
    told: Result<()>,
}

async fn play(
    scene: &Scene,
    host: &Host,
    address: &Address,
    say: &mut Narrator,
    signals: &mut Signals,
) -> Ended {
    let begun = (|| {
        let ports = scene::free_ports()?;
        scene.set(&address.to_string(), ports, "v1.4.0")?;
        Ok((Outside::watch(ports)?, Daemon::start(scene)?))
    })();
    let (outside, mut daemon) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            return Ended {
                daemon: None,
                told: Err(error),
            };
        }
    };
    say.event(&format!(
        "the daemon runs: steadfast run --config {} (process {})",
        scene.config().display(),
        daemon.pid()
    ));
    let mut story = Story {
        scene,
        host,
        daemon: &mut daemon,
        outside,
        say,
    };
    let told = tokio::select! {
        told = story.tell() => Some(told),
        // A signal that this branch has taken is acted upon; one that it has not stays in the stream.
        _ = signals.next() => None,
    };
    drop(story);
    let told = match told {
        Some(Ok(())) => {
            say.table();
            Ok(())
        }
        Some(Err(error)) => {
            explain(&daemon, say).await;
            Err(error)
        }
        None => Err(anyhow::anyhow!("interrupted")),
    };
    Ended {
        daemon: Some(daemon),
        told,
    }
}

/// What somebody needs who wants to know why it failed.
async fn explain(daemon: &Daemon, say: &mut Narrator) {
    say.event("it did not go as it should; `steadfast status` says:");
    match daemon.command(&["status", PROJECT]).await {
        Ok((code, text)) => say.quote(&format!("{}\n{code}", text.trim_end())),
        Err(error) => say.quote(&format!("{error:#}")),
    }
    say.event("and the last lines of the daemon's log are:");
    let log = daemon.logged();
    let lines: Vec<&str> = log.lines().collect();
    say.quote(&lines[lines.len().saturating_sub(40)..].join("\n"));
}

/// Takes everything away; goes on where one part fails.
async fn clear(daemon: Option<Daemon>, host: &Host, scene: Scene, say: &mut Narrator) -> Result<()> {
    say.live("cleaning up");
    let stopped = match daemon {
        Some(daemon) => daemon.stop().await,
        None => Ok(()),
    };
    let gone = host.clear().await.context("what the demo made is still there");
    let cleared = match &gone {
        // The directory says how to find the rest.
        Err(_) => Ok(()),
        Ok(_) => scene.clear(),
    };
    let gone = gone?;
    stopped?;
    cleared?;
    say.event(&format!(
        "cleaned up: the daemon has ended, {gone} containers, networks and volumes are removed"
    ));
    Ok(())
}

fn engine(args: &Args) -> Result<Address> {
    if let Some(engine) = &args.engine {
        return Ok(engine.clone());
    }
    let named = std::env::var("DOCKER_HOST").unwrap_or_default();
    let named = if named.is_empty() {
        "unix:///var/run/docker.sock"
    } else {
        &named
    };
    Ok(named.parse()?)
}
