//! The model itself: agents, one engine, persons and faults, and every order in which they can come.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher as _};
use std::sync::{Mutex, OnceLock, PoisonError};

use state::journal::{Kind, Outcome, Progress};
use state::order;
use state::record::{Act, Change};
use state::release::{Author, Blame};
use state::rollback::ordered;
use state::stack_spec::StackSpec;
use stateright::{Model, Property};

use crate::agent::{Agent, Bug, Doing, Look, Next, Ownership, Seen};
use crate::engine::{Container, Engine, Refusal};
use crate::ground::{self, Wish, now, wish_of};
use crate::laws::{self, Law, Story};

/// How much may go wrong, and how much people may do, in one run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Budget {
    /// Kills of an agent, between any two of its moves.
    pub(crate) crashes: u8,
    /// Effects whose answer is lost.
    pub(crate) lost: u8,
    /// Calls that the engine refuses.
    pub(crate) refused: u8,
    /// Containers that die.
    pub(crate) deaths: u8,
    /// Restarts of the host, with all that lives on it.
    pub(crate) restarts: u8,
    /// Times that something outside breaks, or is mended.
    pub(crate) outside: u8,
    /// Images that somebody removes.
    pub(crate) prunes: u8,
    /// Trials in which nothing can be seen.
    pub(crate) unseen: u8,
    /// What an operator does: another release, another `.env`, `retry`, `rollback`.
    pub(crate) acts: u8,
}

/// One model: how large, and which rule is broken in it on purpose.
pub(crate) struct Protocol {
    pub(crate) agents: usize,
    /// Whether generation 1 runs at the beginning, and is good.
    pub(crate) runs: bool,
    pub(crate) budget: Budget,
    pub(crate) bug: Option<Bug>,
    spec: StackSpec,
    moves: Mutex<Vec<(u64, u64)>>,
}

#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) agents: Vec<Agent>,
    pub(crate) engine: Engine,
    pub(crate) wish: Wish,
    /// Whether something outside of the stack is broken.
    pub(crate) outside: bool,
    pub(crate) left: Budget,
    pub(crate) story: Story,
    /// What each agent does next, once it was asked for.
    nexts: Vec<OnceLock<Next>>,
    hash: u64,
}

impl Hash for State {
    fn hash<H: std::hash::Hasher>(&self, to: &mut H) {
        self.hash.hash(to);
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl State {
    /// To be called when all is as it is to stay.
    fn sealed(mut self) -> Self {
        self.nexts = vec![OnceLock::new(); self.agents.len()];
        #[allow(deprecated, reason = "the same in every run, unlike the default one")]
        let mut hasher = std::hash::SipHasher::new();
        self.agents.hash(&mut hasher);
        self.engine.hash(&mut hasher);
        (self.wish, self.outside, self.left).hash(&mut hasher);
        self.story.hash(&mut hasher);
        self.hash = hasher.finish();
        self
    }
}

/// How a call to the engine goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    Answered,
    /// It took place, the answer is lost, and so were those of the tries after it.
    Lost,
    Refused,
    /// What only waits makes room for a request that came meanwhile.
    GivesWay,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Commit(usize),
    Claim(usize),
    Effect(usize, How),
    Watch(usize, Seen),
    Crash(usize),
    Restart,
    Death(u64),
    Outside,
    Prune(u8),
    Ask(Wish),
    Retry(usize),
    Rollback(usize),
}

impl Protocol {
    pub(crate) fn new(agents: usize, runs: bool, services: usize, budget: Budget, bug: Option<Bug>) -> Self {
        Self {
            agents,
            runs,
            budget,
            bug,
            spec: ground::stack(services),
            moves: Mutex::new(Vec::new()),
        }
    }

    /// The moves of agents that were made, by the hashes of the states that they lead from and to.
    pub(crate) fn moves(&self) -> Vec<(u64, u64)> {
        self.moves.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn look<'a>(&'a self, state: &'a State) -> Look<'a> {
        Look {
            engine: &state.engine,
            spec: &self.spec,
            wish: state.wish,
            bug: self.bug,
        }
    }

    fn seen(state: &State, agent: &Agent) -> Seen {
        let well = !state.outside
            && agent
                .record
                .current()
                .is_some_and(|g| ground::is_well(wish_of(&g.release).tag));
        if well { Seen::Well } else { Seen::Ill }
    }

    pub(crate) fn next(&self, state: &State, agent: usize) -> Next {
        let known = &state.nexts[agent];
        known
            .get_or_init(|| state.agents[agent].next(&self.look(state)))
            .clone()
    }

    fn moves_of(&self, state: &State, a: usize, actions: &mut Vec<Action>) {
        let agent = &state.agents[a];
        let look = self.look(state);
        match self.next(state, a) {
            Next::Nothing => {}
            Next::Claim => actions.push(Action::Claim(a)),
            Next::Commit(_) => actions.push(Action::Commit(a)),
            Next::Effect { step, back } => {
                actions.push(Action::Effect(a, How::Answered));
                let changes = !step.only_looks();
                if changes && state.left.lost > 0 {
                    actions.push(Action::Effect(a, How::Lost));
                }
                if changes && state.left.refused > 0 {
                    actions.push(Action::Effect(a, How::Refused));
                }
                let asked = agent.accept(&look).is_some();
                let kind = agent.open().map(|open| open.operation.kind);
                if !changes && !back && asked && kind != Some(Kind::Rollback) {
                    actions.push(Action::Effect(a, How::GivesWay));
                }
            }
            Next::Watch => {
                let unseen = (state.left.unseen > 0).then_some(Seen::Nothing);
                for seen in [Self::seen(state, agent)].into_iter().chain(unseen) {
                    if agent.watch(seen, &look) != Next::Nothing {
                        actions.push(Action::Watch(a, seen));
                    }
                }
            }
        }
    }

    /// Whether no agent has anything to do as long as nobody and nothing from outside acts.
    pub(crate) fn is_quiet(&self, state: &State) -> bool {
        let mut actions = Vec::new();
        for a in 0..state.agents.len() {
            self.moves_of(state, a, &mut actions);
        }
        actions
            .iter()
            .all(|action| matches!(action, Action::Watch(_, Seen::Nothing)))
    }

    fn troubles(state: &State, actions: &mut Vec<Action>) {
        let left = &state.left;
        for (a, agent) in state.agents.iter().enumerate() {
            if left.crashes > 0
                && (agent.mine != Ownership::Unasked || agent.carrying || agent.doing.is_some())
            {
                actions.push(Action::Crash(a));
            }
        }
        if left.restarts > 0 {
            actions.push(Action::Restart);
        }
        if left.deaths > 0 {
            let running = state.engine.containers.iter().filter(|(_, c)| c.running);
            actions.extend(running.map(|(id, _)| Action::Death(*id)));
        }
        if left.outside > 0 {
            actions.push(Action::Outside);
        }
        if left.prunes > 0 {
            let used = |image: u8| state.engine.containers.values().any(|c| c.image == image);
            let mine = [ground::GOOD, ground::SICK].into_iter();
            let free = mine.filter(|i| !used(*i) && !state.engine.pruned.contains(i));
            actions.extend(free.map(Action::Prune));
        }
    }

    fn people(state: &State, actions: &mut Vec<Action>) {
        if state.left.acts == 0 {
            return;
        }
        let Wish { tag, env } = state.wish;
        let tags = [ground::GOOD, ground::SICK, ground::DEAD].into_iter();
        actions.extend(
            tags.filter(|t| *t != tag)
                .map(|tag| Action::Ask(Wish { tag, env })),
        );
        actions.push(Action::Ask(Wish { tag, env: 1 - env }));
        for (a, agent) in state.agents.iter().enumerate() {
            if agent.open().is_none() && agent.mine != Ownership::Theirs {
                actions.push(Action::Retry(a));
                actions.push(Action::Rollback(a));
            }
        }
    }

    fn commit(state: &mut State, a: usize, seen: Option<Seen>, changes: &[Change]) {
        laws::before(state, a, seen, changes);
        let opens = changes.iter().any(|c| matches!(c, Change::Open(_)));
        let agent = &mut state.agents[a];
        if let Err(error) = agent.commit(changes) {
            state.story.breaks(Law::Legal);
            state.story.words = error;
        }
        agent.carrying = agent.open().is_some() && (agent.carrying || opens || agent.doing.is_none());
    }

    /// An agent's own writes: what it did in between is answered by them.
    fn write(state: &mut State, a: usize, seen: Option<Seen>, next: Next) -> Option<()> {
        match next {
            Next::Commit(changes) => {
                let accepts = matches!(changes[..], [Change::Accept(_)]);
                let starts = changes.iter().any(starts);
                Self::commit(state, a, seen, &changes);
                let agent = &mut state.agents[a];
                if accepts {
                    agent.carrying = false;
                }
                agent.doing = starts.then_some(Doing::Asked);
            }
            Next::Claim => {
                let owner = *state.engine.owner.get_or_insert(a);
                state.agents[a].mine = if owner == a {
                    Ownership::Mine
                } else {
                    Ownership::Theirs
                };
            }
            Next::Nothing | Next::Watch | Next::Effect { .. } => return None,
        }
        Some(())
    }

    fn effect(&self, state: &mut State, a: usize, how: How) -> Option<()> {
        let Next::Effect { step, back } = self.next(state, a) else {
            return None;
        };
        laws::effect(state, a);
        let open = state.agents[a].open()?;
        let (operation, past) = (open.operation.id, open.is_past_return());
        let mut answer = match how {
            How::Refused => Err(Refusal::Final),
            How::GivesWay => Err(Refusal::Passing),
            How::Answered | How::Lost => state.engine.run(&step, operation),
        };
        if how == How::Lost {
            state.left.lost -= 1;
            answer = Err(Refusal::Passing);
        }
        if how == How::Refused {
            state.left.refused -= 1;
        }
        // Past the point of no return it is tried until it is done; a container that cannot be removed is left.
        if past && !back && answer.is_err() {
            if !step.is_final() {
                return (how != How::Answered).then_some(());
            }
            answer = Ok(Outcome::Done);
        }
        let answer = answer.map(|outcome| match outcome {
            Outcome::Created(id) => u64::from_str_radix(id.as_str(), 16).unwrap_or(0),
            _ => 0,
        });
        state.agents[a].doing = Some(Doing::Answered(answer));
        Some(())
    }

    fn act(&self, state: &mut State, action: Action) -> Option<()> {
        state.left.acts -= 1;
        state.story.asked();
        match action {
            Action::Ask(wish) => state.wish = wish,
            Action::Retry(a) => {
                let changes = order::retry(&state.agents[a].record, act()).ok()?;
                state.story.lifted(state.wish);
                Self::commit(state, a, None, &changes);
            }
            Action::Rollback(a) => {
                let agent = &state.agents[a];
                let look = self.look(state);
                let target = ordered(&agent.record, &agent.available(&look), None, None, false).ok()?;
                let blame = Blame::between(&agent.record.current()?.release, Some(&target.release));
                let next = agent.go_back(target.number, blame, &person(), &look);
                Self::write(state, a, None, next)?;
            }
            _ => return None,
        }
        Some(())
    }

    fn trouble(state: &mut State, action: Action) {
        state.story.troubled();
        match action {
            Action::Crash(a) => {
                state.left.crashes -= 1;
                state.agents[a].die();
            }
            Action::Restart => {
                state.left.restarts -= 1;
                state.engine.restart_host();
                state.agents.iter_mut().for_each(Agent::die);
            }
            Action::Death(id) => {
                state.left.deaths -= 1;
                if let Some(container) = state.engine.containers.get_mut(&id) {
                    container.running = false;
                }
            }
            Action::Outside => {
                state.left.outside -= 1;
                state.outside = !state.outside;
            }
            Action::Prune(image) => {
                state.left.prunes -= 1;
                state.engine.pruned.insert(image);
            }
            _ => {}
        }
    }

    /// One line for people.
    pub(crate) fn words(&self, state: &State, action: Action) -> String {
        let brief = |changes: &[Change]| {
            let one = |change: &Change| match change {
                Change::Journal(entry) => format!("{:?}", entry.event),
                Change::Open(o) => format!(
                    "Open({} to {:?} as {}: {} steps)",
                    o.kind,
                    o.generation,
                    o.id,
                    o.plan.steps.len()
                ),
                other => format!("{other:?}").chars().take(60).collect(),
            };
            changes.iter().map(one).collect::<Vec<_>>().join(", ")
        };
        match action {
            Action::Commit(a) => match self.next(state, a) {
                Next::Commit(changes) => format!("agent {a} writes {}", brief(&changes)),
                other => format!("agent {a}: {other:?}"),
            },
            Action::Effect(a, how) => match self.next(state, a) {
                Next::Effect { step, back: false } => format!("agent {a}: {step} ({how:?})"),
                Next::Effect { step, back: true } => format!("agent {a}: taking back: {step} ({how:?})"),
                other => format!("agent {a}: {other:?}"),
            },
            Action::Watch(a, seen) => match state.agents[a].watch(seen, &self.look(state)) {
                Next::Commit(changes) => {
                    format!("agent {a} has seen {seen:?} and writes {}", brief(&changes))
                }
                other => format!("agent {a} has seen {seen:?}: {other:?}"),
            },
            other => format!("{other:?}"),
        }
    }
}

/// Whether it is written that a step is about to have its effect.
fn starts(change: &Change) -> bool {
    use state::journal::Event;
    matches!(change, Change::Journal(entry)
        if matches!(entry.event, Event::Started { .. } | Event::UndoStarted { .. }))
}

fn person() -> Author {
    Author::Person { uid: 0, name: None }
}

fn act() -> Act {
    Act {
        by: person(),
        at: now(),
        what: String::from("retry"),
        why: None,
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let wish = Wish {
            tag: ground::GOOD,
            env: 0,
        };
        let record = ground::record(self.runs, &self.spec);
        let mut engine = Engine::default();
        if let Some(first) = record.current() {
            for (service, hash) in &first.hashes {
                let service = ground::index(service);
                let container = Container {
                    name: format!("shop-{}-1", ground::service(service)),
                    service,
                    image: ground::GOOD,
                    hash: hash.clone(),
                    operation: 1,
                    running: true,
                    started: true,
                    attached: true,
                    restarts: true,
                };
                engine.containers.insert(2 + service as u64, container);
            }
        }
        let proven = self.runs.then_some(wish);
        let state = State {
            agents: vec![Agent::new(record); self.agents],
            engine,
            wish,
            outside: false,
            left: self.budget,
            story: Story::new(proven),
            nexts: Vec::new(),
            hash: 0,
        };
        vec![state.sealed()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.story.broken.is_some() {
            return;
        }
        for a in 0..state.agents.len() {
            self.moves_of(state, a, actions);
        }
        Self::troubles(state, actions);
        Self::people(state, actions);
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        match action {
            Action::Commit(a) | Action::Claim(a) => {
                let next = self.next(before, a);
                Self::write(&mut state, a, None, next)?;
            }
            Action::Effect(a, how) => self.effect(&mut state, a, how)?,
            Action::Watch(a, seen) => {
                if seen == Seen::Nothing {
                    state.left.unseen -= 1;
                }
                let next = state.agents[a].watch(seen, &self.look(&state));
                Self::write(&mut state, a, Some(seen), next)?;
            }
            Action::Crash(_) | Action::Restart | Action::Death(_) | Action::Outside | Action::Prune(_) => {
                Self::trouble(&mut state, action);
            }
            Action::Ask(_) | Action::Retry(_) | Action::Rollback(_) => self.act(&mut state, action)?,
        }
        let state = state.sealed();
        if state == *before {
            return None;
        }
        self.moves
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((before.hash, state.hash));
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        laws::properties()
    }
}

/// Whether the agent's journal says that the step in flight was started.
pub(crate) fn is_journaled(agent: &Agent) -> bool {
    agent.open().is_some_and(|open| {
        matches!(
            open.progress,
            Progress::InFlight { .. } | Progress::Undoing { started: true, .. }
        )
    })
}

/// The moves that lead round in a circle, if any do: what only agents do is finite.
pub(crate) fn circle(moves: &[(u64, u64)]) -> Option<u64> {
    use std::collections::HashMap;
    let mut to: HashMap<u64, Vec<u64>> = HashMap::new();
    let mut into: HashMap<u64, usize> = HashMap::new();
    let unique: BTreeSet<(u64, u64)> = moves.iter().copied().collect();
    for (from, next) in unique {
        to.entry(from).or_default().push(next);
        into.entry(from).or_default();
        *into.entry(next).or_default() += 1;
    }
    let mut free: Vec<u64> = into.iter().filter(|(_, n)| **n == 0).map(|(s, _)| *s).collect();
    while let Some(state) = free.pop() {
        into.remove(&state);
        for next in to.get(&state).into_iter().flatten() {
            if let Some(n) = into.get_mut(next) {
                *n -= 1;
                if *n == 0 {
                    free.push(*next);
                }
            }
        }
    }
    into.into_keys().next()
}
