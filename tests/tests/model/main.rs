//! The core protocol over an abstract engine, every interleaving: crashes, lost answers, refusals, two agents, and
//! an operator. What decides is the real code of `state`; a rule that is broken on purpose has to be seen.
//!
//! More of everything: `MODEL_BOUND=1 cargo test --release -p steadfast-tests --test model`

mod agent;
mod engine;
mod ground;
mod laws;
mod protocol;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use stateright::{Checker, HasDiscoveries, Model};

use agent::Bug;
use laws::Law;
use protocol::{Budget, Protocol, circle};

/// One bounded world.
#[derive(Clone, Copy)]
struct Scope {
    name: &'static str,
    agents: usize,
    runs: bool,
    services: usize,
    budget: Budget,
}

impl Scope {
    /// One agent, whose stack runs and has one service.
    const fn of(name: &'static str, budget: Budget) -> Self {
        Self {
            name,
            agents: 1,
            runs: true,
            services: 1,
            budget,
        }
    }

    /// `by` more of all that this one is about.
    fn larger(mut self, by: u8) -> Self {
        let budget = &mut self.budget;
        let all = [
            &mut budget.crashes,
            &mut budget.lost,
            &mut budget.refused,
            &mut budget.deaths,
            &mut budget.restarts,
            &mut budget.outside,
            &mut budget.prunes,
            &mut budget.unseen,
            &mut budget.acts,
        ];
        for n in all {
            *n += if *n > 0 { by } else { 0 };
        }
        self
    }
}

const NONE: Budget = Budget {
    crashes: 0,
    lost: 0,
    refused: 0,
    deaths: 0,
    restarts: 0,
    outside: 0,
    prunes: 0,
    unseen: 0,
    acts: 0,
};

/// What `make test` exhausts.
const SCOPES: [Scope; 6] = [
    Scope::of(
        "two_crashes_and_a_lost_answer",
        Budget {
            crashes: 2,
            lost: 1,
            refused: 1,
            acts: 1,
            ..NONE
        },
    ),
    Scope::of("an_operator_at_work", Budget { acts: 3, ..NONE }),
    Scope::of(
        "an_older_good_one",
        Budget {
            outside: 1,
            prunes: 1,
            acts: 2,
            ..NONE
        },
    ),
    Scope::of(
        "trouble_outside",
        Budget {
            deaths: 1,
            restarts: 1,
            outside: 2,
            unseen: 1,
            acts: 1,
            ..NONE
        },
    ),
    Scope {
        agents: 2,
        ..Scope::of(
            "two_agents",
            Budget {
                crashes: 1,
                refused: 1,
                acts: 1,
                ..NONE
            },
        )
    },
    Scope {
        runs: false,
        ..Scope::of(
            "nothing_ran_before",
            Budget {
                crashes: 1,
                lost: 1,
                refused: 1,
                acts: 1,
                ..NONE
            },
        )
    },
];

/// Every broken rule, in how small a world it is seen, and what it breaks.
const BUGS: [(Bug, Budget, Law); 10] = [
    (Bug::EffectBeforeJournal, Budget { acts: 1, ..NONE }, Law::Durable),
    (
        Bug::QuarantineIgnored,
        Budget { acts: 2, ..NONE },
        Law::Quarantine,
    ),
    (Bug::OwnerIgnored, Budget { acts: 1, ..NONE }, Law::One),
    (
        Bug::UndoOutOfOrder,
        Budget {
            refused: 1,
            acts: 1,
            ..NONE
        },
        Law::Both,
    ),
    (
        Bug::HalfDoneIsLeft,
        Budget {
            lost: 1,
            acts: 1,
            ..NONE
        },
        Law::Both,
    ),
    (Bug::UnprovenTarget, Budget { acts: 2, ..NONE }, Law::Proven),
    (
        Bug::CascadeAllowed,
        Budget {
            outside: 1,
            acts: 2,
            ..NONE
        },
        Law::Cascade,
    ),
    (
        Bug::UnknownIsFailing,
        Budget {
            unseen: 1,
            acts: 1,
            ..NONE
        },
        Law::Unknown,
    ),
    (
        Bug::NotCarriedOn,
        Budget {
            crashes: 1,
            acts: 1,
            ..NONE
        },
        Law::Rest,
    ),
    (Bug::FailedIsForgotten, Budget { acts: 1, ..NONE }, Law::Spins),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let more = std::env::var("MODEL_BOUND").ok();
    let more = more.and_then(|more| more.parse().ok()).unwrap_or(0);
    let holds = SCOPES.map(|scope| Trial::test(scope.name, move || holds(&scope.larger(more))));
    let seen = BUGS.map(|(bug, budget, law)| {
        let agents = if bug == Bug::OwnerIgnored { 2 } else { 1 };
        let name = format!("sees_{bug:?}");
        let scope = Scope {
            agents,
            ..Scope::of("", budget)
        };
        Trial::test(name, move || sees(bug, &scope, law))
    });
    libtest_mimic::run(&arguments, holds.into_iter().chain(seen).collect()).exit_code()
}

fn model(scope: &Scope, bug: Option<Bug>) -> Protocol {
    Protocol::new(scope.agents, scope.runs, scope.services, scope.budget, bug)
}

/// Every state is looked at, and every law holds in each.
fn holds(scope: &Scope) -> Result<(), Failed> {
    let checker = model(scope, None)
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    println!(
        "{}: {} states, {} deep",
        scope.name,
        checker.unique_state_count(),
        checker.max_depth()
    );
    let mut found = Vec::new();
    for (law, path) in checker.discoveries() {
        found.push(format!(
            "{law} is broken:\n{}",
            told(checker.model(), path.into_vec())
        ));
    }
    if !found.is_empty() {
        return Err(Failed::from(found.join("\n")));
    }
    match circle(&checker.model().moves()) {
        Some(_) => Err(Failed::from(
            "there is a circle that no operator's act and no fault is part of",
        )),
        None => Ok(()),
    }
}

/// The law that a broken rule breaks is seen to be broken.
fn sees(bug: Bug, scope: &Scope, law: Law) -> Result<(), Failed> {
    let wanted = HasDiscoveries::AnyOf([laws::name(law)].into());
    let checker = model(scope, Some(bug))
        .checker()
        .finish_when(wanted)
        .spawn_bfs()
        .join();
    let states = checker.unique_state_count();
    let Some(path) = checker.discovery(laws::name(law)) else {
        let other: Vec<_> = checker.discoveries().into_keys().collect();
        return Err(Failed::from(format!(
            "{bug:?} is not seen in {states} states; only {other:?}"
        )));
    };
    let path = path.into_vec();
    println!(
        "{bug:?}: {} is broken after {} moves, seen in {states} states",
        laws::name(law),
        path.len() - 1
    );
    Ok(())
}

fn told(model: &Protocol, path: Vec<(protocol::State, Option<protocol::Action>)>) -> String {
    let mut lines = Vec::new();
    for (state, action) in path {
        match action {
            Some(action) => lines.push(format!("  {}", model.words(&state, action))),
            None => lines.push(format!("  in {:#?}\n  {:#?}", state.engine, state.story)),
        }
    }
    lines.join("\n")
}
