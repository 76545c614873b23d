//! Containers that stay, and read files again that a release has in other versions: by a restart or a signal; and what is
//! compared when they have.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use crate::bug::{self, Bug};
use crate::drift::Drift;
use crate::files::{Compared, FileChange, Role, Signal};
use crate::name::ServiceName;
use crate::observed::ContainerDetail;
use crate::stack_spec::{Bind, Mount, ServiceSpec};
use crate::step::{Step, Target};

use super::Planner;
use super::made::Made;

/// How long one file may take to be read in a container.
const COMPARED_WITHIN: Duration = Duration::from_secs(10);

impl<'a> Planner<'a> {
    /// What runs on, and has read a file that is put, or is to read it: it has to be started again.
    pub(super) fn readers(&self, drift: &[Drift], changes: &[Made<'a>]) -> Vec<&'a ContainerDetail> {
        let restarts = |detail: &ContainerDetail| {
            let mut files = self.ground.files.iter();
            files.any(|file| {
                let mut sources = self.sources(detail);
                sources.any(|source| file.restarts(source, detail.started, self.kind))
            })
        };
        let stay = self.stay(drift, changes).into_iter();
        stay.filter(|detail| restarts(detail) && !bug::is(Bug::ReaderIsNotTold))
            .collect()
    }

    /// What runs on without a restart, and gets signals; each with those.
    pub(super) fn signalled(
        &self,
        drift: &[Drift],
        changes: &[Made<'a>],
    ) -> Vec<(&'a ContainerDetail, BTreeSet<Signal>)> {
        let signals = |detail: &ContainerDetail| -> BTreeSet<Signal> {
            let of = |file: &'a FileChange| self.sources(detail).find_map(|source| file.signals(source));
            self.ground.files.iter().filter_map(of).collect()
        };
        let stay = self.stay(drift, changes).into_iter();
        stay.map(|detail| (detail, signals(detail)))
            .filter(|(_, signals)| !signals.is_empty() && !bug::is(Bug::SignalIsNotSent))
            .collect()
    }

    /// What runs, and neither goes nor stops.
    fn stay(&self, drift: &[Drift], changes: &[Made<'a>]) -> Vec<&'a ContainerDetail> {
        let goes = |detail: &ContainerDetail| {
            let id = &detail.summary.id;
            changes
                .iter()
                .filter_map(|made| made.old)
                .any(|old| old.summary.id == *id)
                || drift.iter().any(|d| d.container() == Some(id))
                || self.writers.iter().any(|writer| writer.summary.id == *id)
        };
        let running = self
            .ground
            .details
            .values()
            .filter(|d| d.summary.state.is_running());
        running
            .filter(|detail| !detail.summary.oneoff && !goes(detail))
            .collect()
    }

    fn sources(&self, detail: &ContainerDetail) -> impl Iterator<Item = &'a Path> + use<'a> {
        let spec = self.wanted.spec.services.get(&detail.summary.service);
        spec.into_iter().flat_map(ServiceSpec::host_paths)
    }

    /// Where it is taken back they read again what they had, once that is there: this is taken back last.
    pub(super) fn signals_back(&self) -> impl Iterator<Item = Step> + '_ {
        let all = self.signalled.iter();
        all.flat_map(|(detail, signals)| signals.iter().map(|signal| told(detail, *signal, true)))
    }

    /// Once what they need runs.
    pub(super) fn read_again(&self, layer: &[ServiceName]) -> Vec<Step> {
        let mine = self.signalled.iter();
        let mine = mine.filter(|(detail, _)| layer.contains(&detail.summary.service));
        let mut steps = Vec::new();
        for (detail, signals) in mine {
            steps.extend(signals.iter().map(|signal| told(detail, *signal, false)));
            steps.extend(self.compared(detail));
        }
        let restarted = self.writers.iter();
        let restarted = restarted.filter(|detail| layer.contains(&detail.summary.service));
        steps.extend(restarted.filter_map(|detail| self.compared(detail)));
        steps
    }

    /// Whether a container of this service stays, and reads other versions of files.
    pub(super) fn reads_other_files(&self, service: &ServiceName) -> bool {
        let spec = self.wanted.spec.services.get(service);
        let mut sources = spec.into_iter().flat_map(ServiceSpec::host_paths);
        sources.any(|source| self.ground.files.iter().any(|file| is_seen(file, source)))
    }

    fn compared(&self, detail: &ContainerDetail) -> Option<Step> {
        let service = &detail.summary.service;
        let spec = self.wanted.spec.services.get(service)?;
        let binds = spec.volumes.iter().filter_map(|mount| match mount {
            Mount::Bind(bind) => Some(bind),
            _ => None,
        });
        // Another mount on its place hides it.
        let is_in = |bind: &Bind, inside: &str| {
            let over = spec.volumes.iter().map(Mount::target);
            let over = over.filter(|target| Path::new(inside).starts_with(target));
            over.max_by_key(|target| target.len()) == Some(bind.target.as_str())
        };
        let files: BTreeMap<String, Compared> = binds
            .flat_map(|bind| {
                let files = self.ground.files.iter();
                let seen = files.filter(|file| is_seen(file, &bind.source));
                seen.filter_map(|file| {
                    let inside = inside(bind, &file.path).filter(|inside| is_in(bind, inside))?;
                    let (path, content) = (file.path.clone(), file.to.clone());
                    Some((inside, Compared { path, content }))
                })
            })
            .collect();
        (!files.is_empty()).then(|| Step::CompareFiles {
            target: Target::Existing(detail.summary.id.clone()),
            service: service.clone(),
            files,
            within: COMPARED_WITHIN,
        })
    }
}

fn is_seen(file: &FileChange, source: &Path) -> bool {
    file.role == Role::Tracked && !file.action.is_recreate() && file.path.starts_with(source)
}

/// What a file of the host is called in a container that has `bind`.
fn inside(bind: &Bind, path: &Path) -> Option<String> {
    let rest = path.strip_prefix(&bind.source).ok()?;
    let target = Path::new(&bind.target);
    let inside = if rest.as_os_str().is_empty() {
        target.to_owned()
    } else {
        target.join(rest)
    };
    Some(inside.to_str()?.to_owned())
}

fn told(detail: &ContainerDetail, signal: Signal, back: bool) -> Step {
    Step::Signal {
        target: Target::Existing(detail.summary.id.clone()),
        service: detail.summary.service.clone(),
        signal,
        back,
    }
}
