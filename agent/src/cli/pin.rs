//! `steadfast pin`: a wish, written into desired.toml as its operator would have written it. The
//! daemon is needed for `--wait` only; where one answers, a person is told what keeps the wish waiting.

use std::io::{self, IsTerminal as _};
use std::path::Path;

use config::compose::{self, Disk};
use config::pin::{Edit, PinError, pin_file};
use config::settings::Settings;
use jiff::Timestamp;
use state::desired::{Desired, EnvWish};
use state::env_version::is_pin_of;
use state::name::{ServiceName, StackName};

use super::args::{Common, Pin};
use super::failure::{Failure, Outcome, chain, is_denied};
use super::follow::{Goal, follow, soon};
use super::output;
use super::reading::{Daemon, known, settings};
use crate::inputs;
use crate::view::EnvRow;

pub(super) fn run(common: &Common, pin: &Pin) -> Outcome {
    let settings = settings(common)?;
    known(&settings, &pin.stack, &common.config)?;
    known_service(&settings, pin)?;
    let daemon = Daemon::of(common);
    super::block_on(known_env(&daemon, pin))?;
    let path = &settings.agent.desired;
    let before = wish(path, &settings, &pin.stack);
    let asked = Timestamp::now();
    pin_file(path, &pin.stack, &edit(pin)).map_err(|error| failure(&error))?;
    let after = wish(path, &settings, &pin.stack);
    let is_new = before != after;
    output::print(&said(pin, path, is_new))?;
    if !pin.wait.wait {
        // A script goes on.
        if let Some(desired) = after.filter(|_| io::stderr().is_terminal()) {
            let goal = Goal::Wish(desired, is_new.then_some(asked));
            let settle = settings.agent.settle;
            return super::block_on(async {
                soon(&daemon, pin.stack.as_str(), &goal, settle).await;
                Ok(0)
            });
        }
        return Ok(0);
    }
    let Some(desired) = after else {
        return Err(
            Failure::new(2, format!("{} is not valid as a whole", path.display()))
                .way_out("`steadfast check` says what is wrong"),
        );
    };
    let goal = Goal::Wish(desired, is_new.then_some(asked));
    super::block_on(follow(&daemon, pin.stack.as_str(), &goal, pin.wait))
}

/// That the env file which is pinned by its short id is one that the daemon knows, where it can be asked.
async fn known_env(daemon: &Daemon, pin: &Pin) -> Outcome {
    let Some(EnvWish::Short(id)) = &pin.env else {
        return Ok(0);
    };
    let stack = pin.stack.as_str();
    let Ok(list) = daemon.client.envs(stack).await else {
        return Ok(0);
    };
    let is_meant = |row: &EnvRow| {
        let known = row.kept || row.in_file;
        known && row.file == list.file && row.id.parse().is_ok_and(|known| is_pin_of(id, &known))
    };
    if list.versions.iter().any(is_meant) {
        return Ok(0);
    }
    Err(
        Failure::new(2, format!("{stack} has no version {id} of {}", list.file))
            .way_out(format!("`steadfast env list {stack}` has those that are kept")),
    )
}

/// That the service which is pinned is one, as far as the Compose files can be read.
fn known_service(settings: &Settings, pin: &Pin) -> Result<(), Failure> {
    let (Some(service), Some(stack)) = (&pin.service, settings.stacks.get(&pin.stack)) else {
        return Ok(());
    };
    let desired = Desired::new(pin.tag.clone());
    let input = inputs::compose_input(&Disk, stack, &desired, &stack.compose.paths());
    let Ok(loaded) = compose::load(&Disk, &input) else {
        return Ok(());
    };
    let services = &loaded.spec.services;
    if services.contains_key(service) {
        return Ok(());
    }
    let names: Vec<&str> = services.keys().map(ServiceName::as_str).collect();
    let hint = config::error::did_you_mean(service.as_str(), names.iter().copied())
        .unwrap_or_else(|| format!("its services: {}", names.join(", ")));
    Err(Failure::new(
        2,
        format!("the Compose file of {} has no service \"{service}\"", pin.stack),
    )
    .way_out(hint))
}

/// The entry as it is; none when the file or the entry is not valid.
fn wish(path: &Path, settings: &Settings, stack: &StackName) -> Option<Desired> {
    let mut all = config::desired_file::load(path, &settings.stacks).ok()?;
    all.remove(stack)
}

fn edit(pin: &Pin) -> Edit {
    let (tag, service) = match &pin.service {
        Some(service) => (None, Some((service.clone(), pin.tag.clone()))),
        None => (Some(pin.tag.clone()), None),
    };
    Edit {
        tag,
        service,
        unpin: pin.unpin.clone(),
        migration: pin.migration.clone(),
        env: pin.env.clone(),
    }
}

fn failure(error: &PinError) -> Failure {
    let why = chain(error);
    match error {
        error if is_denied(error) => Failure::new(1, why).way_out("use sudo"),
        PinError::File(_) | PinError::Edit(_) => Failure::new(2, why),
        PinError::Busy { .. } | PinError::Write { .. } | PinError::Unsynced { .. } => Failure::new(1, why),
    }
}

fn said(pin: &Pin, path: &Path, is_new: bool) -> String {
    let what = match &pin.service {
        Some(service) => format!("{}: {service} is pinned to {}", pin.stack, pin.tag),
        None => format!("{}: {} is asked for", pin.stack, pin.tag),
    };
    if is_new {
        format!("{what}, in {}\n", path.display())
    } else {
        format!("{what} already, {} is as it was\n", path.display())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap::Parser as _;

    use super::super::args::{Arguments, Command};
    use super::*;

    const DESIRED: &str = "# what runs\n[shop]\ntag = \"v1.5.0\"  # since Monday\n";

    #[track_caller]
    fn check(line: &str, code: Result<u8, u8>, desired: &str) {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let settings = format!(
            "[agent]\nstate_dir = \"{0}/state\"\ndesired = \"{0}/desired.toml\"\n[stack.shop]\ndirectory = \"{0}\"\n",
            directory.path().display()
        );
        std::fs::write(path("steadfast.toml"), settings).unwrap();
        std::fs::write(path("desired.toml"), DESIRED).unwrap();
        std::fs::write(
            path("compose.yaml"),
            "services: {frontend: {image: \"web:${TAG}\"}}\n",
        )
        .unwrap();
        let config = path("steadfast.toml");
        let words = ["steadfast", "--config", config.to_str().unwrap(), "pin"];
        let arguments = Arguments::try_parse_from(words.into_iter().chain(line.split(' '))).unwrap();
        let Command::Pin(pin) = &arguments.command else {
            unreachable!("the word is pin");
        };
        let outcome = run(&arguments.common, pin).map_err(|failure| failure.code);
        assert_eq!(outcome, code);
        assert_eq!(std::fs::read_to_string(path("desired.toml")).unwrap(), desired);
    }

    #[test]
    fn a_pin_changes_what_it_says_and_nothing_else() {
        check("shop v1.6.0", Ok(0), &DESIRED.replace("v1.5.0", "v1.6.0"));
        check("shop v1.5.0", Ok(0), DESIRED);
        let with_service = format!("{DESIRED}\n[shop.services]\nfrontend = \"v1.4.2\"\n");
        check("shop v1.4.2 --service frontend", Ok(0), &with_service);
        check("shop v1.4.2 --service fronted", Err(2), DESIRED);
    }

    #[test]
    fn a_stack_that_is_not_in_the_settings_is_refused() {
        check("shp v1.6.0", Err(2), DESIRED);
    }

    #[test]
    fn waiting_without_a_daemon_is_told_from_the_pin_itself() {
        let line = "shop v1.6.0 --wait --socket /nonexistent/socket";
        check(line, Err(3), &DESIRED.replace("v1.5.0", "v1.6.0"));
    }
}
