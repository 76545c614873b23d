//! Invariants 4, 8 and 10 about the operator's files: what is replaced is kept, nobody's edit is lost, what the agent has
//! put is nobody's request, and at rest the disk has the release that runs, whole.

use std::path::Path;
use std::time::Duration;

use state::desired::EnvWish;
use state::files::{paths_of, version_in};
use state::journal::{Kind, OpenOperation};
use state::name::{Digest, ServiceName};
use state::record::{Answer, Ask, Change, StackRecord, Standing};
use state::release::Generation;

use super::Call;
use crate::hand::{CONF, DESIRED, ENV, PARTS};
use crate::world::{World, is_refused, parts};

/// How long files are quiet before they are a request, in every story.
const QUIET: Duration = Duration::from_secs(5);

/// Whether a service is configured otherwise in these generations, by whatever it reads.
pub(super) fn reads_otherwise(service: &ServiceName, one: &Generation, other: &Generation) -> bool {
    let all = one.files.keys().chain(other.files.keys());
    let mut of_web = all.filter(|path| path.as_path() == Path::new(CONF) || path.starts_with(PARTS));
    service.as_str() == "web"
        && of_web.any(|path| version_in(&one.files, path) != version_in(&other.files, path))
}

impl World {
    /// The agent is about to put a file. `is_kept`: whether what is there can be had from the state directory.
    pub(crate) fn putting(&mut self, agent: &str, path: &Path, is_kept: impl FnOnce(&Digest) -> bool) {
        // What a person has put back is written down by itself, and is theirs once it is there.
        let given = self.laws.given.take_if(|given| given.as_path() == path).is_some();
        if given {
            self.asked_for = Some(self.now);
        } else {
            self.changing(agent, &Call::PutFile(path));
        }
        let Some(is) = self.files.get(path).map(|bytes| Digest::of(bytes)) else {
            return;
        };
        if !is_kept(&is) {
            let words = format!("{} is replaced, and what it held is kept nowhere", path.display());
            self.laws.breaks(8, words);
        }
        let pinned = self.laws.record.as_ref().is_some_and(|record| {
            let request = record.request.as_ref();
            request.is_some_and(|request| request.desired.env != EnvWish::Current) && path == Path::new(ENV)
        });
        if !pinned && !given && !self.laws.taken_up.contains(&is) {
            let words = format!(
                "{} is replaced, and nobody has taken up what somebody has written there",
                path.display()
            );
            self.laws.breaks(8, words);
        }
    }

    /// Whether a generation has the configuration that web's check refuses.
    pub(super) fn has_unfit_conf(&self, generation: &Generation) -> bool {
        let file = generation.files.get(Path::new(CONF));
        let content = file.and_then(|file| file.content.as_ref());
        let bytes = content.and_then(|content| self.versions.get(content));
        self.sources.is_some() && bytes.is_some_and(|conf| is_refused(conf))
    }

    /// What its check refuses is never mounted by a container that a deploy starts. What somebody writes while it is under
    /// way is another version than was asked about, and is asked about next.
    pub(super) fn mounts_rightly(&mut self, open: &OpenOperation, call: &Call<'_>) {
        let Call::Start(id) = call else { return };
        // What it is about to read.
        let is = self.files.get(Path::new(CONF));
        let is_new = self.containers.get(id).is_some_and(|container| {
            container.service.as_str() == "web" && container.operation == Some(open.operation.id)
        });
        if !is_new || !is.is_some_and(|conf| is_refused(conf)) || open.operation.kind != Kind::Deploy {
            return;
        }
        let record = self.laws.record.as_ref();
        let generation = open
            .operation
            .generation
            .and_then(|number| record?.generation(number));
        if generation.is_some_and(|generation| self.has_unfit_conf(generation)) {
            let words = format!("web starts on a file that its check refuses: {call}");
            self.laws.breaks(8, words);
        }
    }

    /// A request is taken up: somebody has asked for it.
    pub(super) fn was_asked_for(&mut self, before: &StackRecord, changes: &[Change]) {
        for change in changes {
            // Whoever says anything now knows what a migration has left.
            self.laws.left &= !matches!(change, Change::Accept(_) | Change::Act(_));
            match change {
                // It is there already, and nothing else is to be written.
                Change::Give(given) if given.from.as_ref() == Some(&given.to) => {
                    self.asked_for = Some(self.now);
                }
                Change::Give(given) => self.laws.given = Some(given.path.clone()),
                _ => {}
            }
            let Change::Accept(request) = change else { continue };
            let contents = request.files.values().filter_map(|file| file.content.clone());
            self.laws.taken_up.extend(contents);
            let again = before.request.as_ref().is_some_and(|known| {
                let known = state::release::Request {
                    retries: request.retries,
                    ..known.clone()
                };
                known.id() == request.id()
            });
            if again && self.sources.is_some() {
                // Whoever asks again asks for what the tag names now, which may be something else.
                self.asked_for = Some(self.now);
            }
            // What was written just now is another wish: files are taken up once they have been quiet.
            let other = self.asked_for.filter(|at| *at + QUIET > self.now);
            if !again && std::mem::replace(&mut self.asked_for, other).is_none() {
                self.laws.breaks(4, "a request is taken up that nobody has made");
            }
        }
    }

    /// At rest the files are those of what runs.
    pub(crate) fn has_its_files(&mut self, record: &StackRecord) {
        let met = record.approval.as_ref().is_some_and(|approval| {
            let granted = matches!(approval.answer, Some((Answer::Granted, _)));
            approval.ask == Ask::FirstContact && !granted
        });
        let frozen = record.hold.as_ref().is_some_and(|hold| hold.frozen);
        let still = record.pause.is_some() || record.let_go.is_some() || met || frozen;
        if still || record.standing == Standing::Pending {
            return;
        }
        let Some(current) = record.current() else { return };
        // A pin of a version that nobody has kept is said to be wrong, and is no request: nor is what was written with it.
        let wished = self.files.get(Path::new(DESIRED));
        let wished = wished
            .map(|text| String::from_utf8_lossy(text).into_owned())
            .unwrap_or_default();
        let asked = record.request.as_ref().map(|request| &request.desired.env);
        let is_asked = matches!(asked, Some(EnvWish::Sha256(digest)) if wished.contains(digest.as_str()));
        if wished.contains("env = ") && !is_asked {
            return;
        }
        let all = paths_of(&current.files, self.files.keys());
        let other = all.into_iter().find(|path| {
            let is = self.files.get(*path).map(|bytes| Digest::of(bytes));
            version_in(&current.files, path) != Some(is.as_ref())
        });
        if let Some(path) = other {
            let words = format!(
                "{} is not that of generation {}, which runs",
                path.display(),
                current.number
            );
            self.laws.breaks(8, words);
        }
        let stale = self.containers.values().find(|c| {
            let ours = c.hash.is_some() && !c.oneoff && c.service.as_str() == "web" && c.runs();
            let unseen = self
                .undone
                .is_some_and(|at| c.read_at.is_none_or(|read| read <= at));
            let reads = c.conf.as_ref() == self.files.get(Path::new(CONF)) && c.parts == parts(&self.files);
            ours && !unseen && !reads
        });
        if let Some(container) = stale {
            let words = format!(
                "{} runs with another configuration than the one on the disk",
                container.name
            );
            self.laws.breaks(8, words);
        }
    }
}
