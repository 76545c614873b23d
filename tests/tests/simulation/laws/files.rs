//! Invariants 4, 8 and 10 about the operator's files: what is replaced is kept, nobody's edit is lost, what the agent has
//! put is nobody's request, and at rest the disk has the release that runs, whole.

use std::path::Path;

use state::desired::EnvWish;
use state::name::Digest;
use state::record::{Answer, Ask, Change, StackRecord, Standing};

use super::Call;
use crate::hand::{DESIRED, ENV};
use crate::world::World;

impl World {
    /// The agent is about to put a file. `is_kept`: whether what is there can be had from the state directory.
    pub(crate) fn putting(&mut self, agent: &str, path: &Path, is_kept: impl FnOnce(&Digest) -> bool) {
        self.changing(agent, &Call::PutFile(path));
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
        if !pinned && !self.laws.taken_up.contains(&is) {
            let words = format!(
                "{} is replaced, and nobody has taken up what somebody has written there",
                path.display()
            );
            self.laws.breaks(8, words);
        }
    }

    /// A request is taken up: somebody has asked for it.
    pub(super) fn was_asked_for(&mut self, before: &StackRecord, changes: &[Change]) {
        for change in changes {
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
            if !again && self.asked_for.take().is_none() {
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
        // A pin of a version that nobody has kept is said to be wrong, and is no request.
        let wished = self.files.get(Path::new(DESIRED));
        let wished = wished
            .map(|text| String::from_utf8_lossy(text).into_owned())
            .unwrap_or_default();
        let asked = record.request.as_ref().map(|request| &request.desired.env);
        let cannot = wished.contains("env = ")
            && !matches!(asked, Some(EnvWish::Sha256(digest)) if wished.contains(digest.as_str()));
        let mut files = current
            .files
            .iter()
            .filter(|(path, _)| !cannot || path.as_path() != Path::new(ENV));
        let other = files.find(|(path, file)| {
            let is = self.files.get(*path).map(|bytes| Digest::of(bytes));
            is != file.content
        });
        if let Some((path, _)) = other {
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
                .is_some_and(|at| c.started.is_none_or(|started| started <= at));
            ours && !unseen && c.conf.as_ref() != self.files.get(Path::new(crate::hand::CONF))
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
