//! Invariants 2, 3, 5 and 8, where a schema is moved: a copy first, by the image that has the scripts, with nobody
//! writing; and what failed is where it was.

use std::time::Duration;

use agent::database::CopyKind;
use state::backup::Dumped;
use state::journal::{Ending, Event, Kind, OpenOperation, Operation, Outcome, Progress};
use state::last_resort::RestoreBackup;
use state::name::{ContainerId, ImageId};
use state::observed::SchemaHead;
use state::record::{Answer, Ask, StackRecord};
use state::release::{Author, Generation};
use state::schema_fit::{Direction, SchemaMove, same};
use state::step::Step;

use super::Call;
use crate::database::{Beside, Cells, Fate, Scripts, is_one_way, number};
use crate::world::World;

/// The schema at the beginning of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Begun {
    pub(super) head: Option<u64>,
    pub(super) scars: u64,
    pub(super) spoilt: u64,
    pub(super) lost: u64,
}

impl World {
    pub(super) fn begins_at(&mut self) {
        self.laws.begun = Some(self.stands());
    }

    fn stands(&self) -> Begun {
        Begun {
            head: number(&self.schema),
            scars: self.data.scars,
            spoilt: self.data.spoilt,
            lost: self.data.lost,
        }
    }

    /// What a migration has left whose end nobody had seen was looked for: where there is something, a person is told; and
    /// only there.
    pub(super) fn was_looked_for(&mut self, before: &StackRecord, after: &StackRecord) {
        let Some(begun) = self.laws.unseen.take() else {
            return;
        };
        let kind = before.operation.as_ref().map(|open| open.operation.kind);
        // The first release brings its database along, and a restored one is another.
        let is_another = match kind {
            Some(Kind::Deploy) => before.current.is_none(),
            kind => kind == Some(Kind::Restore),
        };
        if is_another || self.is_touched() {
            return;
        }
        let is = self.stands();
        let left = is.head != begun.head || is.scars != begun.scars;
        self.laws.left = left;
        if left && after.hold.is_none() {
            let words = format!("a migration has left {is:?} instead of {begun:?}, and nobody is told");
            self.laws.breaks(8, words);
        }
        if !left && kind == Some(Kind::Heal) && after.hold != before.hold {
            let words = format!("a migration has left nothing, and it is held: {:?}", after.hold);
            self.laws.breaks(13, words);
        }
    }

    /// A deploy is begun: from a schema that somebody has looked at, and that a person knows of where something was left.
    pub(super) fn begins_from_what_is_known(&mut self, before: &StackRecord, operation: &Operation) {
        if operation.kind == Kind::Rollback && operation.by != Author::Agent {
            let vouched = std::mem::take(&mut self.laws.vouched);
            self.laws.vouched_for = vouched.then_some(operation.id);
        }
        if operation.kind != Kind::Deploy || self.is_touched() {
            return;
        }
        if before.unseen.is_some() && before.current.is_some() {
            let words = "a deploy is begun, and nobody has looked for what a migration has left";
            self.laws.breaks(8, words);
        }
        if self.laws.left {
            let words = "a deploy is begun from what a migration has left, and nobody has asked for that";
            self.laws.breaks(8, words);
        }
    }

    /// Whether nothing is wrong with the way up that an image has, from where the schema stands.
    pub(super) fn migrates_well(&self, image: &ImageId) -> bool {
        let scripts = self.data.scripts.get(image);
        let is = number(&self.schema);
        let well = |scripts: &Scripts| is.is_some_and(|is| is <= scripts.newest) && scripts.up == Fate::Well;
        !self.data.migrates || scripts.is_none_or(well)
    }

    /// Whether a container of this image ends as it starts, because it migrates then and cannot.
    pub(super) fn cannot_migrate(&self, image: &ImageId) -> bool {
        let serves = self.runs("db") && self.data.open;
        self.data.by_itself && self.data.scripts.contains_key(image) && !(serves && self.migrates_well(image))
    }

    /// Whether a release failed because the schema of the one before it cannot be taken back.
    pub(super) fn is_not_taken_back(&self, before: &StackRecord, why: &str) -> bool {
        let left = before
            .current()
            .into_iter()
            .flat_map(|left| left.release.images.values());
        let mut scripts = left.filter_map(|image| self.data.scripts.get(image));
        why.contains("downgrade the schema") && scripts.any(|scripts| scripts.down != Fate::Well)
    }

    /// Whether the schema of a release is further up, and it goes there as it starts.
    pub(super) fn comes_up_by_itself(&self, target: &Generation) -> bool {
        let wanted = target.schema.as_ref().and_then(number);
        self.data.by_itself && number(&self.schema) < wanted
    }

    /// Before a migration begins, and before a copy takes the database's place.
    pub(super) fn migrates_rightly(&mut self, open: &OpenOperation, call: &Call<'_>) {
        if let Call::Start(id) = call {
            self.lets_migrate_rightly(open, id);
        }
        let Progress::InFlight { index, .. } = open.progress else {
            if matches!(call, Call::PutBack) {
                self.puts_back_rightly(open);
            }
            return;
        };
        if matches!(call, Call::PutBack) {
            self.puts_back_rightly(open);
        }
        if matches!(call, Call::ApplySql) {
            self.applies_rightly(open.operation.id);
        }
        let Some(Step::Migrate { way, .. }) = open.step(index) else {
            return;
        };
        // One that runs already was looked at when it began.
        let begins = |name: &str| self.named(name).is_none();
        if !matches!(call, Call::RunOnce(name) if begins(name)) {
            return;
        }
        let broken = match way.direction {
            Direction::Up => self.upgrades_wrongly(open.operation.id),
            Direction::Down => self.downgrades_wrongly(open.operation.id, way),
        };
        if let Some((law, words)) = broken {
            self.laws.breaks(law, format!("{way}: {words}"));
        }
    }

    /// A container that migrates as it starts is started after a backup.
    fn lets_migrate_rightly(&mut self, open: &OpenOperation, id: &ContainerId) {
        let container = self.containers.get(id).filter(|_| self.data.by_itself);
        let api = container.filter(|c| c.service.as_str() == "api" && !c.runs());
        let scripts = api.and_then(|api| self.data.scripts.get(&api.image));
        let goes_up = scripts
            .zip(number(&self.schema))
            .is_some_and(|(has, is)| is < has.newest);
        let brings_up = matches!(open.operation.kind, Kind::Deploy | Kind::Rollback);
        if !goes_up || !brings_up || self.is_touched() {
            return;
        }
        if let Some((law, words)) = self.upgrades_wrongly(open.operation.id) {
            self.laws
                .breaks(law, format!("api is started, which migrates: {words}"));
        }
    }

    fn upgrades_wrongly(&self, operation: u64) -> Option<(u32, String)> {
        let proven = self.data.backups.get(&operation).is_some_and(|kept| kept.proven);
        (!proven).then(|| {
            (
                2,
                String::from("this operation has made no backup that was restored"),
            )
        })
    }

    fn downgrades_wrongly(&self, operation: u64, way: &SchemaMove) -> Option<(u32, String)> {
        if let Some(image) = self.other_api(&way.by.image) {
            return Some((3, format!("api runs image {} already", image.short())));
        }
        let knows = self.data.scripts.get(&way.by.image).map(|scripts| scripts.newest);
        if knows < number(&self.schema) {
            return Some((3, format!("its image knows {knows:?} revisions")));
        }
        if let Some(words) = self.goes_one_way_back(way) {
            return Some((5, words));
        }
        if let Some(words) = self.takes_what_may_stay(way) {
            return Some((8, words));
        }
        if self.runs("api") && !self.is_touched() {
            return Some((2, String::from("api writes to it")));
        }
        let mut copies = self.data.beside.values();
        let copy = copies.find(|copy| copy.operation == operation && copy.kind == CopyKind::Copy);
        match copy {
            None => Some((2, String::from("this operation has made no copy"))),
            Some(copy) if copy.content.rows < self.data.rows && !self.is_touched() => {
                Some((2, String::from("it was written to after it was copied")))
            }
            Some(_) => None,
        }
    }

    /// A way down that the tool has said it does not go, and for all of which nobody has written SQL.
    fn goes_one_way_back(&self, way: &SchemaMove) -> Option<String> {
        let (is, to) = (number(&self.schema)?, number(&way.to)?);
        let by_hand = |n: &u64| self.data.manual.contains(&format!("manual.r{n}]"));
        let mut crossed = to + 1..=is;
        let one = crossed.clone().find(|n| self.data.one_way && is_one_way(*n))?;
        (!crossed.all(|n| by_hand(&n))).then(|| {
            format!("everybody is stopped for it, and its history says that nothing takes r{one} back")
        })
    }

    /// The first revision above where a release was proven, below where the schema stands, that nobody has declared to stay.
    fn undeclared_above(&self, proven: Option<&SchemaHead>) -> Option<u64> {
        let (is, proven) = (number(&self.schema)?, number(proven?)?);
        (proven + 1..=is).find(|n| !self.data.stays.has(*n))
    }

    /// Whether all that the schema has above where a release was proven is declared to fit it.
    pub(super) fn may_stay_above(&self, target: &Generation) -> bool {
        let proven = target.schema.as_ref();
        let above = proven.and_then(number) < number(&self.schema);
        above && self.undeclared_above(proven).is_none()
    }

    /// A rollback has ended: what stands above where its release was proven is declared to.
    pub(super) fn has_stayed_rightly(&mut self, before: &StackRecord, open: &OpenOperation, ending: &Ending) {
        let operation = &open.operation;
        let by_hand = self.laws.migrated.is_some_and(|at| at >= self.laws.opened_at);
        // What the agent could not see then is as they said.
        let vouched = self.laws.vouched_for == Some(operation.id);
        if operation.kind != Kind::Rollback
            || *ending != Ending::Succeeded
            || self.is_touched()
            || by_hand
            || vouched
        {
            return;
        }
        let target = operation.generation.and_then(|number| before.generation(number));
        let proven = target.and_then(|target| target.schema.as_ref());
        if let Some(n) = self.undeclared_above(proven) {
            let words = format!(
                "a rollback is done, its release was proven at {proven:?}, the schema stands at {:?}, and nobody has declared \
                 that r{n} may stay",
                self.schema
            );
            self.laws.breaks(5, words);
        }
    }

    /// What is declared to stay is not taken back, unless something below it is.
    fn takes_what_may_stay(&self, way: &SchemaMove) -> Option<String> {
        let lowest = number(&way.to)? + 1;
        self.data
            .stays
            .has(lowest)
            .then(|| format!("r{lowest} is declared to stay"))
    }

    /// The operator's SQL is begun on what was copied, whatever the tool has left.
    fn applies_rightly(&mut self, operation: u64) {
        if self.is_touched() {
            return;
        }
        let is_copy = |beside: &&Beside| beside.operation == operation && beside.kind == CopyKind::Copy;
        let copy = self.data.beside.values().find(is_copy);
        let Some(copy) = copy.map(|copy| copy.content.clone()) else {
            let words = "the operator's SQL is run, and this operation has made no copy";
            return self.laws.breaks(2, words);
        };
        let is = self.content();
        if is != copy {
            let words = format!("the operator's SQL is begun on {is:?}, and what was copied is {copy:?}");
            self.laws.breaks(8, words);
        }
    }

    /// What loses rows waits for a person, unless they have said before that it may.
    pub(super) fn is_agreed_to(&mut self, before: &StackRecord, operation: &Operation) {
        let named = operation.plan.steps.iter().find_map(|step| match step {
            Step::RestoreBeside {
                dump: Dumped::Backup(backup),
            } => Some(backup),
            _ => None,
        });
        let Some(restored) = named else { return };
        let by_a_person = before.approval.as_ref().is_some_and(|approval| {
            let of_it = matches!(&approval.ask, Ask::RestoreBackup { backup, .. } if backup == restored);
            of_it && matches!(approval.answer, Some((Answer::Granted, Author::Person { .. })))
        });
        if !by_a_person && self.data.restores != RestoreBackup::Allow {
            let words = format!("a rollback goes back to the backup {restored}, and nobody has agreed");
            self.laws.breaks(2, words);
        }
    }

    /// The image of a running `api` that is not the one which is left.
    fn other_api(&self, left: &ImageId) -> Option<ImageId> {
        let mine = |c: &&crate::world::Container| c.service.as_str() == "api" && c.runs() && !c.oneoff;
        let ours = self.containers.values().filter(mine);
        let mut other = ours.filter(|c| c.image != *left && c.hash.is_some());
        other
            .next()
            .map(|c| c.image.clone())
            .filter(|_| !self.is_touched())
    }

    /// Whether somebody has laid hands on containers lately.
    fn is_touched(&self) -> bool {
        let lately = |at: &Option<Duration>| at.is_some_and(|at| at + Duration::from_secs(120) >= self.now);
        lately(&self.struck) || lately(&self.laws.touched) || lately(&self.laws.migrated)
    }

    fn puts_back_rightly(&mut self, open: &OpenOperation) {
        let operation = open.operation.id;
        let done = self
            .data
            .beside
            .values()
            .any(|beside| beside.operation == operation && beside.kind == CopyKind::Aside);
        let copy = self
            .data
            .beside
            .values()
            .find(|beside| beside.operation == operation && beside.kind == CopyKind::Copy);
        let lost = copy.map(|copy| self.data.rows.saturating_sub(copy.content.rows));
        if let Some(lost) = lost.filter(|lost| !done && *lost > Duration::ZERO && !self.is_touched()) {
            let words = format!("a copy is put back, and what was written for {lost:?} is not in it");
            self.laws.breaks(8, words);
        }
    }

    /// Before a restored database takes the name of the one in use, and before anything beside is dropped.
    pub(super) fn restores_rightly(&mut self, open: &OpenOperation, call: &Call<'_>) {
        let operation = &open.operation;
        let proven = |id| self.data.backups.get(&id).is_some_and(|kept| kept.proven);
        let words = match call {
            Call::TakePlace if !proven(operation.id) => Some(String::from(
                "a restored database takes the name of one of which this operation has made no backup",
            )),
            Call::TakePlace if self.runs("api") && !self.is_touched() => Some(String::from(
                "a restored database takes the name of one that api writes to",
            )),
            Call::DropCopy(name) => {
                let asked = |step: &Step| matches!(step, Step::DropBeside { name: asked } if asked == name);
                let by_hand = operation.by != Author::Agent && operation.plan.steps.iter().any(asked);
                let was_in_use = self
                    .data
                    .beside
                    .get(*name)
                    .is_some_and(|b| b.kind == CopyKind::Aside);
                let is_copy = self
                    .data
                    .beside
                    .get(*name)
                    .is_some_and(|b| b.kind == CopyKind::Copy);
                if was_in_use && !by_hand {
                    Some(format!("{name} was in use, and is dropped unasked"))
                } else if let Some(words) = self.is_not_kept(name).filter(|_| !by_hand) {
                    Some(words)
                } else if is_copy && !by_hand && !proven(operation.id) {
                    Some(format!(
                        "{name} is dropped, and this operation has made no backup of it"
                    ))
                } else {
                    None
                }
            }
            _ => None,
        };
        if let Some(words) = words {
            self.laws.breaks(8, words);
        }
    }

    /// What a copy has of what its operation has taken out of the database, and nobody has kept for putting it back.
    fn is_not_kept(&self, name: &str) -> Option<String> {
        let copy = self
            .data
            .beside
            .get(name)
            .filter(|beside| beside.kind == CopyKind::Copy)?;
        let went_to = *self.laws.took_back.get(&copy.operation)?;
        let kept = self.data.kept_rows.get(&copy.operation);
        let is_kept = |revision: &u64| kept.is_some_and(|kept| kept.contains_key(revision));
        let mut cells = copy.content.cells.iter();
        let (revision, _) = cells.find(|(revision, cell)| {
            **revision > went_to
                && **cell > 0
                && !self.data.cells.contains_key(revision)
                && !is_kept(revision)
        })?;
        Some(format!(
            "{name} is dropped, and what was in r{revision} is kept nowhere for putting it back"
        ))
    }

    /// A deploy has brought a column back: what was in it is in it again, where nobody else has written to it.
    fn has_put_in(&mut self, open: &OpenOperation) {
        let Some(begun) = self.laws.begun.as_ref().and_then(|begun| begun.head) else {
            return;
        };
        let steps = open.operation.plan.steps.iter().enumerate();
        let told = |(index, step): (usize, &Step)| {
            matches!(step, Step::PutIn { .. }) && matches!(open.outcome(index), Some(Outcome::Told(_)))
        };
        if self.data.by_itself || steps.clone().any(told) {
            return;
        }
        let mut wanted = Cells::new();
        for cells in self.data.kept_rows.values() {
            wanted.extend(cells.iter().filter(|(revision, _)| **revision > begun));
        }
        let is_new = |id: &ContainerId| {
            let mut events = open.events.iter().map(|entry| &entry.event);
            events.any(
                |event| matches!(event, Event::Done { outcome: Outcome::Created(made), .. } if made == id),
            )
        };
        // A restored database has less than the release that runs knows of: that writes to what comes back at once.
        let by_others = |revision: &u64| self.data.written_by.get(revision).is_some_and(|id| !is_new(id));
        let missing = wanted.iter().find(|(revision, value)| {
            let cell = self.data.cells.get(revision);
            cell.is_some_and(|cell| cell != *value) && !by_others(revision)
        });
        if let Some((revision, value)) = missing {
            let is = self.data.cells.get(revision);
            let words = format!("r{revision} is back with {is:?}, and {value} was kept of what was in it");
            self.laws.breaks(8, words);
        }
    }

    /// A restore has ended: what was in use is in use, or is kept.
    fn has_restored_rightly(&mut self, open: &OpenOperation, ending: &Ending) {
        let operation = open.operation.id;
        let aside = |beside: &Beside| beside.operation == operation && beside.kind == CopyKind::Aside;
        let kept = self.data.beside.values().any(aside);
        match ending {
            Ending::Succeeded if !kept => {
                self.laws
                    .breaks(8, "a backup is restored, and the database as it was is not kept");
            }
            Ending::Succeeded if !self.data.open => {
                self.laws
                    .breaks(8, "a backup is restored, and the database lets nobody in");
            }
            _ => {}
        }
    }

    /// At rest, a database that runs and is worked on by nobody is open.
    pub(crate) fn lets_everybody_in(&mut self, record: &StackRecord) {
        let frozen = record.hold.as_ref().is_some_and(|hold| hold.frozen);
        let rests =
            record.operation.is_none() && record.let_go.is_none() && record.pause.is_none() && !frozen;
        if rests && self.runs("db") && record.unseen.is_some() {
            self.laws.breaks(
                13,
                "nobody has looked for what a migration has left in the database",
            );
        }
        if rests && self.runs("db") && !self.data.open {
            self.laws
                .breaks(8, "the database lets nobody in, and nobody works on it");
        }
    }

    /// An operation that moves the schema has ended.
    pub(super) fn has_moved_rightly(&mut self, after: &StackRecord, open: &OpenOperation, ending: &Ending) {
        let moves = |step: &Step| matches!(step, Step::Migrate { .. } | Step::TakePlace);
        let operation = &open.operation;
        if operation.plan.steps.contains(&Step::TakePlace) {
            self.has_restored_rightly(open, ending);
        }
        let by_hand = self.laws.migrated.is_some_and(|at| at >= self.laws.opened_at);
        let moves_by_itself = self.data.by_itself && operation.kind == Kind::Deploy;
        let moves = moves_by_itself || operation.plan.steps.iter().any(moves);
        if !moves || self.is_touched() || by_hand {
            return;
        }
        let stands = self.stands();
        match ending {
            // Until it can be seen: then it is held.
            Ending::Undone { .. }
                if after
                    .unseen
                    .as_ref()
                    .is_some_and(|of| of.operation == operation.id) =>
            {
                self.laws.unseen.clone_from(&self.laws.begun);
            }
            Ending::Undone { .. } => {
                if let Some(begun) = self.laws.begun.clone().filter(|begun| *begun != stands) {
                    let words = format!(
                        "a {} is taken back, and the schema is {stands:?} instead of {begun:?}",
                        operation.kind
                    );
                    self.laws.breaks(8, words);
                }
            }
            Ending::Succeeded => {
                match operation.kind {
                    Kind::Deploy => self.has_put_in(open),
                    Kind::Rollback => {
                        let went_to = number(&self.schema).unwrap_or(0);
                        self.laws.took_back.insert(operation.id, went_to);
                    }
                    _ => {}
                }
                let target = operation.generation.and_then(|n| after.generation(n));
                let wanted = target.and_then(|target| target.schema.clone());
                let wanted = wanted.filter(|_| operation.kind == Kind::Rollback);
                if let Some(wanted) = wanted.filter(|wanted| !same(wanted, &self.schema)) {
                    let words = format!(
                        "a rollback is done, and the schema stands at {:?} instead of {wanted:?}",
                        self.schema
                    );
                    self.laws.breaks(5, words);
                }
                let left = self
                    .laws
                    .begun
                    .as_ref()
                    .map(|begun| stands.scars.saturating_sub(begun.scars));
                if left.is_some_and(|left| left > 0) && operation.kind == Kind::Rollback {
                    let words = "a rollback is done, and what a failed migration has left is in the database";
                    self.laws.breaks(8, words);
                }
                let was_whole = self.laws.begun.as_ref().is_some_and(|begun| begun.lost == 0);
                if !self.data.checks.is_empty() && was_whole && stands.lost > 0 {
                    let words = format!(
                        "a {} is done, and rows are lost that a check has asked for before and after",
                        operation.kind
                    );
                    self.laws.breaks(8, words);
                }
                if !self.data.open {
                    self.laws.breaks(8, "it is done, and the database lets nobody in");
                }
            }
            _ => {}
        }
    }
}
