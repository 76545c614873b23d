//! The steps that have to do with the repository that releases come from: fetched, checked out, built.

use std::collections::{BTreeMap, BTreeSet};

use config::error::with_sources;
use state::journal::Outcome;
use state::name::{Commit, Digest, ImageId, Tag};
use state::stack_spec::StackSpec;
use state::step::Step;

use super::{Executor, Trouble, final_, passing};
use crate::engine::Build;
use crate::source::{Repository, SourceError};

impl Executor<'_> {
    fn repository(&self) -> Result<&dyn Repository, Trouble> {
        let none = || {
            passing(String::from(
                "steadfast.toml names no repository for this stack any more",
            ))
        };
        self.source.ok_or_else(none)
    }

    /// What each of these names is, with a checkout. What is known already stays so.
    pub(super) async fn fetch_source(
        &self,
        tags: &BTreeSet<Tag>,
        known: &BTreeMap<Tag, Commit>,
    ) -> Result<Outcome, Trouble> {
        let repository = self.repository()?;
        let fetching = async {
            let mut commits = known.clone();
            let unknown: BTreeSet<Tag> = tags
                .iter()
                .filter(|tag| !known.contains_key(*tag))
                .cloned()
                .collect();
            let mut stale = None;
            if !unknown.is_empty() {
                let resolved = repository.resolve(&unknown).await?;
                commits.extend(resolved.commits);
                stale = resolved.stale;
            }
            for commit in commits.values() {
                repository.checkout(commit).await?;
            }
            Ok((commits, stale))
        };
        let (commits, stale) = match self.unless_called_away(fetching).await {
            Ok(done) => done.map_err(|error: SourceError| trouble(&error))?,
            Err(failure) => return Err(Trouble::Failure(failure)),
        };
        if let Some(why) = stale {
            tracing::warn!(stack = %self.stack, "the repository is away, what was fetched before counts: {why}");
        }
        Ok(Outcome::Commits(commits))
    }

    /// Builds an image, unless there is one of the same already.
    pub(super) async fn build(&self, step: &Step) -> Result<Outcome, Trouble> {
        let Step::Build {
            service,
            reference,
            platform,
            commit,
            spec,
            known,
            ..
        } = step
        else {
            return Ok(Outcome::Done);
        };
        if let Some(image) = known
            && self.engine.image(image.as_str()).await?.is_some()
        {
            self.engine.tag(image, reference).await?;
            return Ok(Outcome::Pulled(image.clone()));
        }
        let repository = self.repository()?;
        let stack = self.stack_kept(spec)?;
        let build = stack
            .services
            .get(service)
            .and_then(|service| service.build.as_ref());
        let build =
            build.ok_or_else(|| final_(format!("the release says nothing of how {service} is built")))?;
        let tell = |words: String| tracing::info!(stack = %self.stack, "{service}: {words}");
        let building = async {
            // It may have gone since it was looked at. What Git says of it says nothing about the release.
            let made = repository.checkout(commit).await;
            let tree = made.map_err(|error| passing(with_sources(&error)))?;
            let context = tree.join(&build.context);
            let mut how = build.clone();
            how.context = context.to_string_lossy().into_owned();
            let build = Build {
                context: &context,
                within: Some(&tree),
                spec: &how,
                reference,
                labels: BTreeMap::new(),
                platform: platform.as_deref(),
            };
            Ok::<ImageId, Trouble>(self.engine.build(&build, &tell).await?)
        };
        match self.unless_called_away(building).await {
            Ok(image) => image.map(Outcome::Pulled),
            Err(failure) => Err(Trouble::Failure(failure)),
        }
    }

    /// The stack that is kept under `digest`.
    fn stack_kept(&self, digest: &Digest) -> Result<StackSpec, Trouble> {
        let kept = self
            .store
            .object(digest)
            .map_err(|error| passing(error.to_string()))?;
        let spec = kept.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        spec.ok_or_else(|| {
            final_(String::from(
                "what the release is made of is gone from the state directory",
            ))
        })
    }
}

fn trouble(error: &SourceError) -> Trouble {
    let why = with_sources(error);
    let why = match error.hint() {
        Some(hint) => format!("{why} ({hint})"),
        None => why,
    };
    if error.passes() { passing(why) } else { final_(why) }
}
