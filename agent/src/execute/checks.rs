//! The step that asks a command whether a tracked file may be used: in a container of its own, which sees all tracked files
//! as the service's new one will.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config::error::with_sources;
use state::journal::OpenOperation;
use state::name::{Digest, ServiceName};
use state::stack_spec::{Bind, Mount, ServiceSpec, StackSpec};
use state::step::Step;

use super::schema::{told, was_killed};
use super::{AWAY, Executor, Trouble, UNDO_TRIES, final_, missing, passing, step_at};
use crate::engine::{EngineError, OnceNetwork, OneOff, Ran};
use crate::files::{Contents, version_at};

/// Which version of each file is meant; `None`: there is none.
type Versions = BTreeMap<PathBuf, Option<Digest>>;

impl Executor<'_> {
    /// Asks, for as long as the step says. Whoever is called away leaves it to the undo to end it.
    pub(super) async fn check_file(
        &self,
        open: &OpenOperation,
        index: usize,
        step: &Step,
    ) -> Result<(), Trouble> {
        let Step::CheckFile {
            path,
            content,
            beside,
            service,
            image,
            command,
            within,
        } = step
        else {
            return Ok(());
        };
        let stack = self.spec()?;
        let spec = stack.services.get(service);
        let spec = spec.ok_or_else(|| missing(service.as_str()))?;
        let mut files = beside.clone();
        if content.is_some() {
            files.insert(path.clone(), content.clone());
        }
        let place = self.check_place(open, index);
        let spec = self.as_it_will_be(spec, &files, &place)?;
        let once = OneOff {
            stack,
            service,
            spec: &spec,
            image: image.clone(),
            name: self.check_name(service, open, index),
            command: command.clone(),
            env: BTreeMap::new(),
            directory: None,
            network: OnceNetwork::Stack,
            operation: open.operation.id,
            listener: None,
            within: *within,
            dialect: self.dialect,
            working_dir: self.directory.to_owned(),
            config_files: self.compose_files.to_vec(),
        };
        // Whoever is called away, or does not know, leaves to the undo what is mounted.
        let ran = self.unless_called_away(self.engine.run_once(&once)).await?;
        if !matches!(&ran, Err(error) if error.leaves_unknown()) {
            self.take_away(&place);
        }
        let ran = match ran {
            Err(EngineError::Timeout { call: "run once", .. }) => {
                let long = state::decide::span(*within);
                return Err(final_(format!("it did not end within {long} and was ended")));
            }
            // Its image is gone. A container that is, somebody has removed.
            Err(EngineError::NotFound {
                call: "create container",
                message,
            }) => return Err(final_(message)),
            ran => ran?,
        };
        match ran.code {
            0 => Ok(()),
            _ => Err(refused(stack, service, &ran)),
        }
    }

    /// The container of a check that nobody waits for any more goes, with what it was shown. It changes nothing: where it
    /// cannot be ended it is left behind. `false` when the daemon stops meanwhile.
    pub(super) async fn end_check(&self, open: &OpenOperation, index: usize) -> bool {
        let Some(Step::CheckFile { service, .. }) = step_at(open, index) else {
            return true;
        };
        let name = self.check_name(&service, open, index);
        for _ in 0..UNDO_TRIES {
            let ended = self.engine.end_once(self.stack, &name, open.operation.id).await;
            let Err(error) = ended else {
                self.take_away(&self.check_place(open, index));
                return true;
            };
            tracing::warn!(stack = %self.stack, "{name} cannot be ended: {error}");
            if self.pause(AWAY).await {
                return false;
            }
        }
        true
    }

    /// The name of its container, which is a lock.
    fn check_name(&self, service: &ServiceName, open: &OpenOperation, index: usize) -> String {
        format!("{}-{service}-steadfast-{}-{index}", self.stack, open.operation.id)
    }

    /// Where files are laid out for it: all that is of one operation lies together.
    fn check_place(&self, open: &OpenOperation, index: usize) -> PathBuf {
        let of = open.operation.id.to_string();
        Path::new(self.stack.as_str()).join(of).join(index.to_string())
    }

    /// What stays is in nobody's way, and goes at the next start.
    fn take_away(&self, place: &Path) {
        if let Err(error) = self.files.clear(place, None) {
            let words = with_sources(&error);
            tracing::warn!(stack = %self.stack, "what was laid out for a check stays: {words}");
        }
    }

    /// The service with its files as its new container will see them. As long as the old ones need other versions on the
    /// disk, what it has mounted is laid out with the new ones in another place, and mounted from there.
    fn as_it_will_be(
        &self,
        spec: &ServiceSpec,
        files: &Versions,
        place: &Path,
    ) -> Result<ServiceSpec, Trouble> {
        let mut spec = spec.clone();
        let mut others = Vec::new();
        for (number, mount) in spec.volumes.iter_mut().enumerate() {
            let Mount::Bind(bind) = mount else { continue };
            let seen: Vec<_> = files
                .iter()
                .filter(|(path, _)| path.starts_with(&bind.source))
                .collect();
            if seen
                .iter()
                .all(|(path, content)| self.has(path, content.as_ref()))
            {
                continue;
            }
            let contents = self.contents(&seen)?;
            let place = place.join(number.to_string());
            let staged = self.files.stage(&place, &bind.source, &contents);
            // Whatever it is, it says nothing about the release.
            let staged = staged.map_err(|error| passing(with_sources(&error)))?;
            others.extend(staged.others.iter().map(|other| {
                Mount::Bind(Bind {
                    source: bind.source.join(other),
                    target: Path::new(&bind.target).join(other).to_string_lossy().into_owned(),
                    // Whoever is asked has nothing to write there.
                    read_only: true,
                    create_host_path: false,
                    propagation: None,
                    ..bind.clone()
                })
            }));
            bind.source = staged.at;
            // What is mounted on it stays in the container: else it would be cleared away with it.
            bind.propagation = None;
        }
        spec.volumes.extend(others);
        Ok(spec)
    }

    /// Whether that version is there already, or there is no such file, as it should be.
    fn has(&self, path: &Path, content: Option<&Digest>) -> bool {
        version_at(self.files, path).is_ok_and(|is| is.as_ref() == content)
    }

    fn contents(&self, files: &[(&PathBuf, &Option<Digest>)]) -> Result<Contents, Trouble> {
        let content = |(path, digest): &(&PathBuf, &Option<Digest>)| {
            let shown = path.display();
            let Some(digest) = digest else {
                return Ok(((*path).clone(), None));
            };
            let kept = self.store.object(digest);
            let kept = kept.map_err(|error| passing(format!("{shown} cannot be had: {error}")))?;
            let gone = || final_(format!("the content of {shown} is gone from the state directory"));
            Ok(((*path).clone(), Some(kept.ok_or_else(gone)?)))
        };
        files.iter().map(content).collect()
    }
}

/// What did not end with 0 has refused the file, unless somebody has ended it: that says nothing.
fn refused(stack: &StackSpec, service: &ServiceName, ran: &Ran) -> Trouble {
    let words = match told(Some(stack), service, ran) {
        silent if silent.is_empty() => String::from("it said nothing"),
        words => words,
    };
    let words = format!("it ended with code {}: {words}", ran.code);
    if was_killed(ran) {
        passing(words)
    } else {
        final_(words)
    }
}
