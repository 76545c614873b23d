//! What is asked about tracked files before a release is used that has other versions of them, and when.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::bug::{self, Bug};
use crate::drift::Drift;
use crate::files::{CHECKED_WITHIN, FileCheck, Role};
use crate::journal::Kind;
use crate::name::{Digest, ServiceName};
use crate::stack_spec::ServiceSpec;
use crate::step::Step;

use super::Planner;

impl Planner<'_> {
    /// Before anything stops: what is asked in services whose names all resolve already.
    pub(super) fn checks_before_all(&self, drift: &[Drift]) -> Vec<Step> {
        let early = |check: &&FileCheck| !self.waits(check, drift);
        self.checks(drift)
            .filter(early)
            .filter_map(|check| self.ask(check))
            .collect()
    }

    /// Before these start: what is asked in services that others have to come up for first, or of which nothing runs.
    pub(super) fn checks_before(&self, layer: &[ServiceName], drift: &[Drift]) -> Vec<Step> {
        let now = |check: &&FileCheck| layer.contains(&check.service) && self.waits(check, drift);
        self.checks(drift)
            .filter(now)
            .filter_map(|check| self.ask(check))
            .collect()
    }

    /// What is asked for this drift. A file has the containers that see it made anew, whatever else differs, or they read it
    /// again; what is gone back to was proven, and so is what is healed.
    fn checks<'d>(&'d self, drift: &'d [Drift]) -> impl Iterator<Item = &'d FileCheck> {
        let is_made = |service: &ServiceName| {
            let mut all = drift.iter();
            all.any(|d| matches!(d, Drift::Missing { .. } | Drift::Differs { .. }) && d.service() == service)
        };
        let asks = self.kind == Kind::Deploy && !bug::is(Bug::CheckIsNotAsked);
        let all = self.ground.file_checks.iter();
        all.filter(move |check| asks && (is_made(&check.service) || self.reads_other_files(&check.service)))
    }

    /// Whether the service, or one that it depends on, is not there yet: what a file says of another one by its name
    /// cannot be found before that runs.
    fn waits(&self, check: &FileCheck, drift: &[Drift]) -> bool {
        let reach = self.wanted.spec.with_dependencies([&check.service]);
        let mut all = drift.iter();
        all.any(|d| matches!(d, Drift::Missing { .. }) && reach.contains(d.service()))
    }

    /// A service without an image makes no plan at all.
    fn ask(&self, check: &FileCheck) -> Option<Step> {
        let FileCheck {
            path,
            service,
            command,
        } = check.clone();
        let image = self.wanted.images.get(&service)?.clone();
        let mut beside = self.tracked_in(&service);
        // One that the release does not have is shown as that.
        let content = beside.get(&path).cloned().flatten();
        if content.is_some() {
            beside.remove(&path);
        }
        Some(Step::CheckFile {
            path,
            content,
            beside,
            service,
            image,
            command,
            within: CHECKED_WITHIN,
        })
    }

    /// All tracked files that a service sees, as the release has them: also those that it does not have, and that go. A file
    /// that names another one is asked about together with it.
    fn tracked_in(&self, service: &ServiceName) -> BTreeMap<PathBuf, Option<Digest>> {
        let spec = self.wanted.spec.services.get(service);
        let sources: Vec<&Path> = spec.into_iter().flat_map(ServiceSpec::host_paths).collect();
        let have = self.wanted.files.iter();
        let have = have.map(|(path, file)| (path, file.role, &file.content));
        let goes = self.ground.files.iter().filter(|change| change.to.is_none());
        let goes = goes.map(|change| (&change.path, change.role, &change.to));
        goes.chain(have)
            .filter(|(path, role, _)| {
                *role == Role::Tracked && sources.iter().any(|source| path.starts_with(source))
            })
            .map(|(path, _, content)| (path.clone(), content.clone()))
            .collect()
    }
}
