//! Invariants 8, 9, 12, 13 and 14, asked when an operation begins, when it ends, and in between: it does no harm on its
//! way, and when it has ended the host is as its plan says.

use std::time::Duration;

use state::hold::Fact;
use state::journal::{Ending, Kind, OpenOperation, Operation, Progress};
use state::name::{ContainerId, ImageId, ServiceName};
use state::record::{Answer, Ask, StackRecord};
use state::release::{Author, Verdict};
use state::step::{Step, Target};

use super::Call;
use crate::world::{Behaviour, Container, World};

/// The services that have data.
const WITH_DATA: [&str; 2] = ["db", "cache"];
/// How long a new container is watched before the old one goes, at least.
const STANDS: Duration = Duration::from_secs(5);
/// So many operations for one reason, within this time, are a spin.
const AGAIN: (usize, Duration) = (14, Duration::from_secs(20));

fn lives(container: &Container) -> bool {
    container.runs() && !container.networks.is_empty()
}

impl World {
    /// Whether somebody has laid hands on containers since then.
    fn touched_since(&self, then: Duration) -> bool {
        let lately = |at: &Option<Duration>| at.is_some_and(|at| at >= then);
        lately(&self.struck) || lately(&self.pruned_at) || lately(&self.laws.touched)
    }

    fn made_by(
        &self,
        operation: u64,
        service: &ServiceName,
        number: u32,
    ) -> Option<(&ContainerId, &Container)> {
        self.containers.iter().find(|(_, c)| {
            !c.oneoff && c.operation == Some(operation) && c.service == *service && c.number == number
        })
    }

    /// An old container goes once the new one in its place has stood for a while.
    pub(super) fn removes_rightly(&mut self, open: &OpenOperation, call: &Call<'_>) {
        let Call::Remove(id) = call else { return };
        let Some(old) = self.containers.get(*id) else {
            return;
        };
        let operation = open.operation.id;
        let replaces = |step: &Step| {
            matches!(step, Step::Create { service, number, .. }
                if *service == old.service && *number == old.number)
        };
        if old.operation == Some(operation) || !open.operation.plan.steps.iter().any(replaces) {
            return;
        }
        let new = self.made_by(operation, &old.service, old.number);
        let stood = new
            .and_then(|(_, new)| new.first_started)
            .is_some_and(|at| self.now >= at + STANDS);
        if !stood && !self.touched_since(self.now.saturating_sub(Duration::from_secs(600))) {
            let words = format!(
                "{} goes, and what replaces it has not stood for {STANDS:?}",
                old.name
            );
            self.laws.breaks(8, words);
        }
    }

    /// Data that another image may have written to is not given back to the old one by the agent.
    pub(super) fn gives_back_rightly(&mut self, open: &OpenOperation, call: &Call<'_>) {
        let Call::Start(id) = call else { return };
        let Some(container) = self.containers.get(*id) else {
            return;
        };
        let undoing = matches!(open.progress, Progress::Undoing { .. }) && open.operation.kind != Kind::Heal;
        let other = container.writable.iter().find_map(|volume| {
            let wrote = self.laws.writers.get(volume)?;
            (*wrote != container.image).then(|| (volume.clone(), wrote.clone()))
        });
        if let Some((volume, wrote)) = other.filter(|_| undoing) {
            let words = format!(
                "{} is started again on {}, which image {} has written to",
                container.name,
                &volume[..volume.len().min(12)],
                wrote.short()
            );
            self.laws.breaks(8, words);
        }
    }

    /// Which image has had its hands on which volume last.
    pub(crate) fn has_written(&mut self, call: &Call<'_>) {
        let Call::Start(id) = call else { return };
        if let Some(container) = self.containers.get(*id) {
            for volume in &container.writable {
                self.laws.writers.insert(volume.clone(), container.image.clone());
            }
        }
    }

    /// A new image of a service with data waits for a person.
    pub(super) fn asked_about_data(
        &mut self,
        before: &StackRecord,
        after: &StackRecord,
        operation: &Operation,
    ) {
        if operation.by != Author::Agent || operation.kind == Kind::Heal {
            return;
        }
        let (Some(current), Some(target)) = (
            before.current(),
            operation.generation.and_then(|number| after.generation(number)),
        ) else {
            return;
        };
        let granted = before.approval.as_ref().is_some_and(|approval| {
            let granted = matches!(approval.answer, Some((Answer::Granted, _)));
            granted && matches!(approval.ask, Ask::DataChange | Ask::FirstContact)
        });
        let image = |of: &state::release::Generation, service: &str| -> Option<ImageId> {
            let found = of
                .release
                .images
                .iter()
                .find(|(name, _)| name.as_str() == service);
            found.map(|(_, image)| image.clone())
        };
        for service in WITH_DATA {
            // Whoever has written last, whatever the record says of it.
            let mine = self
                .containers
                .values()
                .filter(|c| c.service.as_str() == service && c.project.as_ref() == Some(&before.stack));
            let wrote = mine
                .flat_map(|container| &container.writable)
                .find_map(|volume| self.laws.writers.get(volume).cloned());
            let (from, to) = (wrote.or_else(|| image(current, service)), image(target, service));
            // Whoever has put it there by hand has not asked anybody either.
            let by_hand = self.containers.values().any(|c| {
                c.service.as_str() == service && c.runs() && c.hash.is_none() && to.as_ref() == Some(&c.image)
            });
            if by_hand {
                continue;
            }
            if from.is_some() && to.is_some() && from != to && !granted {
                let words = format!(
                    "a {} gives the data of {service} to another image, unasked",
                    operation.kind
                );
                self.laws.breaks(8, words);
            }
        }
    }

    /// What runs and is what it should be is not made anew: whoever does that has not seen it.
    pub(super) fn heals_what_is_ill(&mut self, before: &StackRecord, operation: &Operation) {
        let long = Duration::from_secs(60);
        if operation.kind != Kind::Heal || self.touched_since(self.now.saturating_sub(long)) {
            return;
        }
        let Some(current) = before.current() else { return };
        for step in &operation.plan.steps {
            let Step::Create {
                service,
                number,
                image,
                ..
            } = step
            else {
                continue;
            };
            let well = |c: &&Container| {
                let right = c.hash.as_ref() == current.hashes.get(service) && c.image == *image;
                let old = c.started.is_some_and(|at| self.now >= at + long);
                right && old && lives(c) && c.name == format!("shop-{service}-{number}")
            };
            let mine = |c: &&Container| c.service == *service && c.number == *number && c.hash.is_some();
            let name = self
                .containers
                .values()
                .filter(mine)
                .find(well)
                .map(|c| c.name.clone());
            if let Some(name) = name {
                let words = format!("{name} runs as it should, and is made anew: {}", operation.why);
                self.laws.breaks(9, words);
            }
        }
    }

    /// Whoever tries the same again has patience. How often it was tried before its last start it cannot know.
    pub(super) fn has_patience(&mut self, operation: &Operation) {
        let (times, within) = AGAIN;
        let now = self.now;
        let since = self.started_at.max(now.saturating_sub(within));
        self.laws.opened.retain(|(at, _)| *at > since);
        let what = format!("{} {:?}: {}", operation.kind, operation.generation, operation.why);
        self.laws.opened.push((now, what.clone()));
        if self
            .laws
            .opened
            .iter()
            .filter(|(_, other)| *other == what)
            .count()
            > times
        {
            self.laws
                .breaks(13, format!("more than {times} times within {within:?}: {what}"));
        }
    }

    /// A hold that health ends has no place where all has been well for long.
    pub(crate) fn is_held_rightly(&mut self, record: &StackRecord) {
        let (Some(hold), Some(terms)) = (&record.hold, self.laws.terms.clone()) else {
            return;
        };
        let long = terms.good_after * 2 + terms.interval * 3;
        let from = self.now.saturating_sub(long);
        let well = self.answers.values().all(|answers| {
            let mut lately = answers.iter().filter(|(at, _)| *at >= from).peekable();
            lately.peek().is_some() && lately.all(|(_, failed)| !failed)
        });
        // What dies again and again passes in between.
        let dies = self.containers.values().any(|c| c.restarts >= 3 || !c.runs());
        // And what runs on because the one that should be there dies at each try is not what is asked for.
        let images = record.current().map(|current| &current.release.images);
        let another = self.containers.values().any(|c| {
            let wanted = images.and_then(|images| images.get(&c.service));
            let ours = c.project.as_ref() == Some(&record.stack) && !c.oneoff && c.runs();
            ours && wanted.is_some_and(|wanted| *wanted != c.image)
        });
        let moot = record
            .current()
            .is_some_and(|current| current.verdict != Verdict::Bad);
        if hold.until.contains(&Fact::Healthy)
            && well
            && !dies
            && !another
            && moot
            && self.now >= self.sick_until + long
        {
            let words = format!("held, though all has been well for {long:?}: {}", hold.why);
            self.laws.breaks(13, words);
        }
    }

    /// An operation has ended: what its plan says is so, or what was before it.
    pub(super) fn has_ended(&mut self, open: &OpenOperation, ending: &Ending) {
        if self.touched_since(self.laws.opened_at) {
            return;
        }
        let steps = &open.operation.plan.steps;
        let wrong = match ending {
            Ending::Succeeded => steps.iter().find_map(|step| self.is_not_done(open, step)),
            Ending::Undone { .. } => steps.iter().find_map(|step| self.is_not_undone(open, step)),
            Ending::Paused { .. } | Ending::Left { .. } | Ending::Stuck { .. } => None,
        };
        if let Some(wrong) = wrong {
            let words = format!("a {} has ended ({ending:?}), and {wrong}", open.operation.kind);
            self.laws.breaks(14, words);
        }
    }

    fn found(&self, open: &OpenOperation, target: &Target) -> Option<&Container> {
        match target {
            Target::Existing(id) => self.containers.get(id),
            Target::New(service, number) => self
                .made_by(open.operation.id, service, *number)
                .map(|(_, container)| container),
        }
    }

    fn is_not_done(&self, open: &OpenOperation, step: &Step) -> Option<String> {
        let container = step.target().map(|target| self.found(open, target));
        match (step, container) {
            (Step::Create { service, number, .. }, _) => {
                let made = self.made_by(open.operation.id, service, *number);
                made.is_none().then(|| format!("{service}-{number} was not made"))
            }
            (Step::Remove { .. }, Some(Some(left))) => Some(format!("{} is still there", left.name)),
            (
                Step::Rename {
                    target: Target::New(..),
                    to,
                    ..
                },
                Some(Some(new)),
            ) => (new.name != *to).then(|| format!("{} is not {to}", new.name)),
            (Step::GiveRestart { policy, .. }, Some(Some(new))) => {
                (new.restart != *policy).then(|| format!("{} has restart policy {:?}", new.name, new.restart))
            }
            (Step::CreateVolume { name, .. }, _) => {
                (!self.volumes.contains_key(name)).then(|| format!("there is no volume {name}"))
            }
            (Step::CreateNetwork { name, .. }, _) => {
                (!self.networks.contains(name)).then(|| format!("there is no network {name}"))
            }
            _ => None,
        }
    }

    fn is_not_undone(&self, open: &OpenOperation, step: &Step) -> Option<String> {
        let container = step.target().map(|target| self.found(open, target));
        match (step, container) {
            (Step::Create { service, number, .. }, _) => {
                let made = self.made_by(open.operation.id, service, *number);
                made.map(|(_, new)| format!("{} is still there", new.name))
            }
            (Step::Quiesce { was, .. }, Some(Some(old))) => {
                (old.restart != *was).then(|| format!("{} has restart policy {:?}", old.name, old.restart))
            }
            (
                Step::Rename {
                    target: Target::Existing(_),
                    from,
                    ..
                },
                Some(Some(old)),
            ) => (old.name != *from).then(|| format!("{} is not {from} again", old.name)),
            (
                Step::Stop {
                    target: Target::Existing(_),
                    ran: true,
                    ..
                },
                Some(Some(old)),
            ) => {
                let crashes =
                    self.behaviour(&old.image) == Behaviour::Crashes || self.cannot_migrate(&old.image);
                (!old.runs() && !crashes).then(|| format!("{} does not run again", old.name))
            }
            (Step::Detach { from, .. }, Some(Some(old))) => {
                (old.networks.len() < from.len()).then(|| format!("{} is not in its networks", old.name))
            }
            _ => None,
        }
    }
}
