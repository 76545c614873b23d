//! What must hold in every state, whatever came before: the invariants of the protocol. They are asked of what
//! happens, and of a memory of their own, never of the record that they judge.

use std::collections::BTreeSet;

use state::journal::{Kind, Operation};
use state::record::{Change, Standing};
use state::release::{Author, Blame, Verdict};
use stateright::Property;

use crate::agent::{Agent, Ownership, Seen};
use crate::ground::{self, Wish, wish_of};
use crate::protocol::{Protocol, State, is_journaled};

/// So many operations after the last thing that anybody or anything from outside did are no rest.
const SPIN: u8 = 6;

/// An invariant, by what it forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Law {
    /// 1: two operations on one stack, or one by an agent whose stack it is not.
    One,
    /// 4: what is in quarantine is applied, and nobody has asked for that.
    Quarantine,
    /// 5: what was never proven, or is gone, is gone back to.
    Proven,
    /// 6: a rollback follows from a rollback; or more of them than a request may have.
    Cascade,
    /// 8: two containers of one service run at once, on one volume.
    Both,
    /// 9: what nothing is known of counts as failing.
    Unknown,
    /// 10: an effect that is not in the journal.
    Durable,
    /// The journal, or the record, refuses what the agent writes.
    Legal,
    /// 13: it never comes to rest.
    Spins,
    /// 13, 14: it rests, and is neither steady nor held.
    Rest,
}

/// What the laws remember by themselves.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Story {
    pub(crate) broken: Option<Law>,
    pub(crate) words: String,
    /// What failed and was not asked for again: an image with any `.env`, or with this one.
    barred: BTreeSet<(u8, Option<u8>)>,
    /// What was seen to do well for as long as proves it.
    proven: BTreeSet<Wish>,
    /// Whether an agent has gone back by itself since an operator last did something.
    went_back: bool,
    /// Operations begun since anybody or anything from outside did something.
    begun: u8,
}

impl Story {
    pub(crate) fn new(proven: Option<Wish>) -> Self {
        Self {
            proven: proven.into_iter().collect(),
            ..Self::default()
        }
    }

    pub(crate) fn breaks(&mut self, law: Law) {
        self.broken.get_or_insert(law);
    }

    /// Something from outside happened.
    pub(crate) fn troubled(&mut self) {
        self.begun = 0;
    }

    /// An operator did something.
    pub(crate) fn asked(&mut self) {
        self.begun = 0;
        self.went_back = false;
    }

    /// An operator asks for it again.
    pub(crate) fn lifted(&mut self, wish: Wish) {
        self.barred.retain(|bar| !bars(*bar, wish));
    }
}

fn bars((tag, env): (u8, Option<u8>), wish: Wish) -> bool {
    tag == wish.tag && env.is_none_or(|env| env == wish.env)
}

/// Looks at what an agent is about to write.
pub(crate) fn before(state: &mut State, a: usize, seen: Option<Seen>, changes: &[Change]) {
    for change in changes {
        match change {
            Change::Open(operation) => opens(state, a, operation, changes),
            Change::Quarantine(entry) => {
                if seen == Some(Seen::Nothing) {
                    state.story.breaks(Law::Unknown);
                }
                let record = &state.agents[a].record;
                let bad = record.generation(entry.generation).map(|g| wish_of(&g.release));
                if let Some(bad) = bad {
                    // Where there was nothing to compare with, anything that is changed is another one.
                    let exact = matches!(entry.blame, Blame::Configuration { .. } | Blame::Whole(_));
                    let env = exact.then_some(bad.env);
                    state.story.barred.insert((bad.tag, env));
                }
            }
            Change::Judge {
                generation,
                verdict: Verdict::Good,
                ..
            } => {
                let record = &state.agents[a].record;
                if seen != Some(Seen::Well) {
                    state.story.breaks(Law::Unknown);
                } else if let Some(good) = record.generation(*generation) {
                    state.story.proven.insert(wish_of(&good.release));
                }
            }
            _ => {}
        }
    }
}

fn opens(state: &mut State, a: usize, operation: &Operation, together: &[Change]) {
    let others = state.agents.iter().enumerate().filter(|(b, _)| *b != a);
    if others.into_iter().any(|(_, agent)| agent.open().is_some()) || state.engine.owner != Some(a) {
        state.story.breaks(Law::One);
    }
    state.story.begun += 1;
    if state.story.begun > SPIN {
        state.story.breaks(Law::Spins);
    }
    let record = &state.agents[a].record;
    let begun = together.iter().find_map(|c| match c {
        Change::Begin(generation) => Some(&**generation),
        _ => None,
    });
    let number = operation.generation;
    let of = begun.or_else(|| number.and_then(|number| record.generation(number)));
    let Some(generation) = of else { return };
    let wish = wish_of(&generation.release);
    let story = &state.story;
    let barred = story.barred.iter().any(|bar| bars(*bar, wish));
    let unproven = generation.verdict != Verdict::Good || !story.proven.contains(&wish);
    let gone = state.engine.pruned.contains(&wish.tag);
    let leaves = together.iter().any(|c| matches!(c, Change::Quarantine(_)));
    let again = operation.by == Author::Agent && leaves;
    let cascade = again && story.went_back;
    let broken = match operation.kind {
        Kind::Deploy if barred => Some(Law::Quarantine),
        Kind::Rollback if unproven || gone => Some(Law::Proven),
        Kind::Rollback if cascade => Some(Law::Cascade),
        _ => None,
    };
    state.story.went_back |= operation.kind == Kind::Rollback && again;
    if let Some(law) = broken {
        state.story.breaks(law);
    }
}

/// Looks at an effect that an agent is about to have.
pub(crate) fn effect(state: &mut State, a: usize) {
    if state.engine.owner != Some(a) {
        state.story.breaks(Law::One);
    }
    if !is_journaled(&state.agents[a]) {
        state.story.breaks(Law::Durable);
    }
}

fn both_run(state: &State) -> bool {
    let running = |service| {
        let mine = state.engine.containers.values();
        mine.filter(|c| c.service == service && c.running).count()
    };
    (0..2).any(|service| running(service) > 1)
}

/// Whether this is an end that an operator can live with: all is well, or it is held and says why.
fn rests(state: &State, agent: &Agent) -> bool {
    let record = &agent.record;
    if agent.mine == Ownership::Theirs {
        return true;
    }
    if record.operation.is_some() {
        return false;
    }
    if let Some(hold) = &record.hold {
        return !hold.why.is_empty() && !hold.way_out.is_empty();
    }
    let Some(current) = record.current() else {
        return false;
    };
    let wish = wish_of(&current.release);
    let stands = match record.standing {
        Standing::Pending => false,
        Standing::Applied(number) => number == current.number && wish == state.wish,
        Standing::Quarantined(number) => number != current.number,
    };
    stands
        && current.verdict == Verdict::Good
        && ground::is_well(wish.tag)
        && !state.outside
        && as_wanted(state, agent)
}

/// One container of each service, of what should run, whole; and nothing else but what could not be removed.
fn as_wanted(state: &State, agent: &Agent) -> bool {
    let Some(current) = agent.record.current() else {
        return false;
    };
    let right = |service: usize| {
        let name = format!("shop-{}-1", ground::service(service));
        let hash = current.hashes.get(&ground::service(service));
        let mut named = state.engine.containers.values().filter(|c| c.name == name);
        named.any(|c| c.running && c.attached && c.restarts && Some(&c.hash) == hash)
    };
    (0..current.hashes.len()).all(right) && state.engine.containers.len() == current.hashes.len()
}

macro_rules! keeps {
    ($name:literal, $law:path) => {
        Property::<Protocol>::always($name, |_, state| state.story.broken != Some($law))
    };
}

/// The name of the law that its property goes by.
pub(crate) fn name(law: Law) -> &'static str {
    match law {
        Law::One => "1: one operation, by one agent",
        Law::Quarantine => "4: what is in quarantine is not applied",
        Law::Proven => "5: only to what is proven and there",
        Law::Cascade => "6: no cascade",
        Law::Both => "8: never two on one volume",
        Law::Unknown => "9: unknown is no verdict",
        Law::Durable => "10: durable before its effect",
        Law::Legal => "the journal allows it",
        Law::Spins => "13: it does not spin",
        Law::Rest => "13, 14: it rests steady or held",
    }
}

pub(crate) fn properties() -> Vec<Property<Protocol>> {
    vec![
        keeps!("1: one operation, by one agent", Law::One),
        keeps!("4: what is in quarantine is not applied", Law::Quarantine),
        keeps!("5: only to what is proven and there", Law::Proven),
        keeps!("6: no cascade", Law::Cascade),
        Property::always("8: never two on one volume", |_, state| !both_run(state)),
        keeps!("9: unknown is no verdict", Law::Unknown),
        keeps!("10: durable before its effect", Law::Durable),
        keeps!("the journal allows it", Law::Legal),
        keeps!("13: it does not spin", Law::Spins),
        Property::always(
            "13, 14: it rests steady or held",
            |model: &Protocol, state: &State| {
                state.story.broken.is_some()
                    || state.agents.iter().all(|agent| rests(state, agent))
                    || !model.is_quiet(state)
            },
        ),
    ]
}
