//! What chance alone brings about too seldom: a few acts in a row, each of them once what it needs is so. A scene is
//! drawn with a story and played at its beginning, on the same host and under the same faults as all the rest.

use std::time::Duration;

use state::journal::OpenOperation;
use state::record::{StackRecord, Standing};
use state::release::Verdict;

use crate::hand::Act;
use crate::world::{Behaviour, World};

/// So long after it was written, what was asked for is in force, at any pace.
const SETTLED: Duration = Duration::from_secs(12);

/// When the next act of a scene comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Once {
    /// So long after the one before.
    After(Duration),
    /// What was asked for is proven.
    Proven,
    /// A generation is on trial.
    OnTrial,
    /// What runs fails.
    Failing,
    /// An operation is under way.
    UnderWay,
    /// The release was left, and what ran before runs again.
    Back,
    /// A person is waited for.
    Held,
    /// Never: the story goes on without any people.
    Never,
}

impl Once {
    fn is_so(self, record: &StackRecord, waited: Duration) -> bool {
        let verdict = record.current().map(|current| current.verdict);
        let idle = record.operation.is_none();
        match self {
            Self::After(span) => waited >= span,
            Self::Proven => {
                let applied = matches!(record.standing, Standing::Applied(_));
                idle && applied && verdict == Some(Verdict::Good) && waited >= SETTLED
            }
            Self::OnTrial => idle && verdict == Some(Verdict::Trial),
            Self::Failing => idle && record.health.failing_since.is_some(),
            Self::UnderWay => record.operation.as_ref().is_some_and(is_begun),
            Self::Back => {
                let left = matches!(record.standing, Standing::Quarantined(_));
                idle && left && verdict == Some(Verdict::Good) && waited >= SETTLED
            }
            Self::Held => record.hold.is_some(),
            Self::Never => false,
        }
    }
}

fn is_begun(open: &OpenOperation) -> bool {
    !open.events.is_empty()
}

/// One act of a scene.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Beat {
    pub(crate) once: Once,
    pub(crate) act: Act,
}

/// Whether a beat is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cue {
    Now,
    /// Not yet; and whether somebody asks a question meanwhile.
    Wait {
        asked: bool,
    },
    /// It does not come to it any more.
    Cut,
}

impl World {
    /// Whether the next beat is due, once it has been waited for so long.
    pub(crate) fn cue(&self, once: Once, waited: Duration) -> Cue {
        let Some(record) = &self.laws.record else {
            return Cue::Wait { asked: false };
        };
        if once.is_so(record, waited) {
            return Cue::Now;
        }
        let longest = self.pace.span(Duration::from_secs(1800));
        let stops = record.hold.is_some() && !matches!(once, Once::Never | Once::After(_));
        if stops || (waited > longest && once != Once::Never) {
            return Cue::Cut;
        }
        let asked = record
            .approval
            .as_ref()
            .is_some_and(|asked| asked.answer.is_none());
        Cue::Wait { asked }
    }
}

/// The scenes by weight: each says which rule it is about.
#[derive(Debug, Clone, Copy)]
enum Scene {
    /// Something outside breaks, so that every release fails, also the one that is gone back to.
    Everywhere,
    /// One tag, built anew and bad again and again.
    Stubborn,
    /// What no release touches fails for long.
    Elsewhere,
    /// All images that do not run are gone when they are needed.
    Gone,
    /// The clocks of the host are no longer what they were, or nobody answers, in the middle of a failure.
    Clocks,
    /// The database is ill just when something that depends on it is replaced.
    IllMeanwhile,
    /// The engine goes away in the middle of a deploy.
    Away,
    /// A data change that a person has agreed to, with a release that does not come up.
    NewData,
}

const SCENES: [(u32, Scene); 8] = [
    (3, Scene::Everywhere),
    (3, Scene::Stubborn),
    (3, Scene::Elsewhere),
    (2, Scene::Gone),
    (4, Scene::Clocks),
    (2, Scene::IllMeanwhile),
    (2, Scene::Away),
    (2, Scene::NewData),
];

const fn beat(once: Once, act: Act) -> Beat {
    Beat { once, act }
}

/// The acts of a scene, by the dice.
pub(crate) fn draw(world: &mut World) -> Vec<Beat> {
    use Once::{After, Back, Failing, Held, Never, OnTrial, Proven, UnderWay};
    const AT_ONCE: Once = After(Duration::ZERO);
    let good = [
        beat(Proven, Act::Build("v2", Behaviour::Well)),
        beat(AT_ONCE, Act::AskFor("v2")),
    ];
    let next = |once, behaviour| {
        [
            beat(once, Act::Build("v3", behaviour)),
            beat(AT_ONCE, Act::AskFor("v3")),
        ]
    };
    let behaviour = world
        .dice
        .weighted(&[(2, Behaviour::Well), (2, Behaviour::Broken)]);
    let scene = world.dice.weighted(&SCENES);
    world.note(format!("== a scene: {scene:?}"));
    let mut beats: Vec<Beat> = Vec::new();
    match scene {
        Scene::Everywhere => {
            beats.extend(good);
            beats.push(beat(Proven, Act::Outage));
            beats.extend(next(AT_ONCE, behaviour));
            beats.extend([beat(Back, Act::Rest), beat(Held, Act::Rest)]);
        }
        Scene::Stubborn => {
            beats.extend(next(Proven, Behaviour::Broken));
            for _ in 0..world.dice.number(1..3) {
                beats.push(beat(Back, Act::AskFor("v1")));
                beats.extend(next(After(SETTLED), Behaviour::Broken));
            }
            beats.push(beat(Held, Act::Rest));
        }
        Scene::Elsewhere => {
            beats.extend(good);
            beats.extend([beat(Proven, Act::SickenForLong), beat(Held, Act::Rest)]);
        }
        Scene::Gone => {
            beats.extend(good);
            beats.extend(next(Proven, Behaviour::Broken));
            beats.extend([beat(OnTrial, Act::LoseImages), beat(Held, Act::Rest)]);
        }
        Scene::Clocks => {
            let act = world
                .dice
                .weighted(&[(3, Act::Jump), (2, Act::Suspend), (3, Act::Hush)]);
            beats.extend(next(Proven, Behaviour::Broken));
            beats.extend([beat(Failing, act), beat(Back, Act::Rest)]);
        }
        Scene::IllMeanwhile => {
            beats.extend(next(Proven, behaviour));
            beats.extend([beat(UnderWay, Act::Sicken), beat(Proven, Act::Rest)]);
        }
        Scene::Away => {
            beats.extend(next(Proven, behaviour));
            beats.extend([beat(UnderWay, Act::Vanish), beat(Proven, Act::Rest)]);
        }
        Scene::NewData => {
            beats.push(beat(Proven, Act::BuildData));
            beats.extend(next(AT_ONCE, Behaviour::Crashes));
            beats.push(beat(Proven, Act::Rest));
        }
    }
    if world.dice.in_thousand(200) {
        beats.push(beat(Never, Act::Rest));
    }
    beats
}
