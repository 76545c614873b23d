//! The whole, from outside: a real `steadfast run`, a real engine, and the commands of an operator. One
//! trial per engine and scenario; where the second engine cannot be had its trials are ignored, and so
//! counted and shown.

mod adopt;
mod backup;
mod canary;
mod crash;
mod disk;
mod env;
mod fallback;
mod files;
mod give_way;
mod heal;
mod init;
mod input;
mod integrity;
mod kills;
mod metrics;
mod migrate;
mod package;
mod parts;
mod plan;
mod registry;
mod replace;
mod rollback;
mod schema;
mod service;
mod source;
mod tools;
mod trouble;

use std::process::ExitCode;
use std::sync::RwLock;

use anyhow::Result;
use libtest_mimic::{Arguments, Failed, Trial};
use steadfast_tests::lab::Engine;

/// A scenario, and where it is shown.
struct Scenario {
    name: &'static str,
    on: On,
    /// A variable without which it is not run: where a program is that it needs, or how long it is to go on.
    needs: Option<&'static str>,
    run: fn(&Engine) -> Result<()>,
}

impl Scenario {
    /// Only on demand.
    const fn asked_for(self, variable: &'static str) -> Self {
        self.needs(variable)
    }

    const fn needs(mut self, variable: &'static str) -> Self {
        self.needs = Some(variable);
        self
    }
}

const fn everywhere(name: &'static str, run: fn(&Engine) -> Result<()>) -> Scenario {
    Scenario {
        name,
        on: On::All,
        needs: None,
        run,
    }
}

const fn once(name: &'static str, run: fn(&Engine) -> Result<()>) -> Scenario {
    Scenario {
        name,
        on: On::Own,
        needs: None,
        run,
    }
}

const fn newest(name: &'static str, run: fn(&Engine) -> Result<()>) -> Scenario {
    Scenario {
        name,
        on: On::Newest,
        needs: None,
        run,
    }
}

/// Which engines a scenario is shown on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum On {
    /// Each of them.
    All,
    /// The machine's own, which nobody restarts.
    Own,
    /// The second one, which the scenario restarts: nothing else is on it meanwhile.
    Newest,
}

/// Held by whoever is on the second engine; wholly by whoever restarts it.
static SECOND: RwLock<()> = RwLock::new(());

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Two cores; a trial mostly waits, and too many at once make an engine slow.
    arguments.test_threads = arguments.test_threads.or(Some(3));
    let engines = Engine::all();
    let mut trials = Vec::new();
    for scenarios in [
        rollback::ALL,
        adopt::ALL,
        init::ALL,
        heal::ALL,
        replace::ALL,
        crash::ALL,
        disk::ALL,
        kills::ALL,
        give_way::ALL,
        registry::ALL,
        schema::ALL,
        service::ALL,
        source::ALL,
        migrate::ALL,
        package::ALL,
        fallback::ALL,
        files::ALL,
        env::ALL,
        integrity::ALL,
        tools::ALL,
        trouble::ALL,
        backup::ALL,
        canary::ALL,
        parts::ALL,
        input::ALL,
        metrics::ALL,
        plan::ALL,
    ] {
        for scenario in scenarios {
            for (index, (name, engine)) in engines.iter().enumerate() {
                let own = index == 0;
                if scenario.on == On::All || own == (scenario.on == On::Own) {
                    trials.push(trial(scenario, name, engine.clone()));
                }
            }
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(scenario: &Scenario, engine_name: &str, engine: Option<Engine>) -> Trial {
    let name = format!("{engine_name}::{}", scenario.name);
    let lacks = scenario
        .needs
        .is_some_and(|variable| std::env::var_os(variable).is_none());
    let ignored = engine.is_none() || lacks;
    let (run, on, second) = (scenario.run, scenario.on, engine_name != "engine20");
    Trial::test(name, move || {
        let engine = engine.ok_or("this engine cannot be had here")?;
        let _alone = (on == On::Newest).then(|| SECOND.write());
        let _shared = (second && on != On::Newest).then(|| SECOND.read());
        run(&engine).map_err(|error| Failed::from(format!("{error:?}")))
    })
    .with_ignored_flag(ignored)
}
