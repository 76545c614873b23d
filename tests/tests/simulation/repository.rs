//! The simulated Git repository that releases come from: tags that move, commits that stay, images that are built of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agent::engine::{Build, EngineError};
use agent::source::{Repository, Resolved, RevertFile, SourceError, TagInfo};
use async_trait::async_trait;
use state::name::{BranchName, Commit, ImageId, Tag};

use crate::edges::{Clocks, Shared, kill, lock};
use crate::hand::{COMPOSE, COMPOSE_TEXT};
use crate::story::IDENTITY;
use crate::world::World;

/// Where checkouts are.
const TREES: &str = "/state/source/shop/trees";
/// What stands in the Compose file of a stack that is built.
const SERVICES: [&str; 2] = ["api", "web"];

/// What is in the repository, and what was made of it.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// What each tag names now.
    pub(crate) tags: BTreeMap<String, Commit>,
    /// What is built of each commit, by service; nothing, where that cannot be built.
    commits: BTreeMap<Commit, BTreeMap<&'static str, Option<ImageId>>>,
    /// What the mirror has seen last.
    mirror: BTreeMap<String, Commit>,
}

impl Sources {
    /// The Compose file of a stack whose images are built.
    pub(crate) fn compose() -> String {
        SERVICES.iter().fold(COMPOSE_TEXT.to_owned(), |text, service| {
            let image = format!("    image: sim/{service}:${{TAG}}\n");
            text.replace(&image, &format!("{image}    build: ./{service}\n"))
        })
    }

    /// The tag of this reference names a new commit from now on, in which this service is that image.
    pub(crate) fn commit(&mut self, reference: &str, image: Option<ImageId>, id: &str) {
        let Some((service, tag)) = reference
            .strip_prefix("sim/")
            .and_then(|name| name.split_once(':'))
        else {
            return;
        };
        let Some(service) = SERVICES.iter().find(|known| **known == service) else {
            return;
        };
        let before = self.tags.get(tag).and_then(|commit| self.commits.get(commit));
        let mut made = before.cloned().unwrap_or_default();
        made.insert(*service, image);
        let commit: Commit = id.parse().expect("a commit");
        self.commits.insert(commit.clone(), made);
        self.tags.insert(tag.to_owned(), commit);
    }

    fn made_of(&self, commit: &Commit, service: &str) -> Option<&Option<ImageId>> {
        self.commits.get(commit)?.get(service)
    }
}

/// The image that a build makes.
pub(crate) fn build(world: &mut World, build: &Build<'_>) -> Result<ImageId, EngineError> {
    let failed = |message: &str| EngineError::BuildFailed {
        reference: build.reference.to_owned(),
        message: message.to_owned(),
    };
    let within = build
        .context
        .strip_prefix(TREES)
        .map_err(|_| failed("no checkout"))?;
    let mut parts = within.iter().filter_map(|part| part.to_str());
    let commit: Option<Commit> = parts.next().and_then(|part| part.parse().ok());
    let service = parts.next().unwrap_or_default();
    if !world
        .files
        .contains_key(&tree(commit.as_ref()).join("compose.yaml"))
    {
        return Err(failed("the context is not there"));
    }
    let shaky = world.faults.registry;
    if world.dice.in_thousand(shaky) {
        world.injected("registry: refused", "THE REGISTRY REFUSES A BASE IMAGE");
        return Err(EngineError::Refused {
            call: "build image",
            status: 500,
            message: String::from("toomanyrequests: slow down"),
        });
    }
    let Some(sources) = &mut world.sources else {
        return Err(failed("there is no repository"));
    };
    let image = commit.and_then(|commit| sources.made_of(&commit, service).cloned().flatten());
    let image = image.ok_or_else(|| failed("step 7 of 9: RUN make: exited with 2"))?;
    let behaviour = world.laws.behaviours.get(&image).copied();
    let behaviour = behaviour.unwrap_or(crate::world::Behaviour::Well);
    world.images.insert(image.clone(), behaviour);
    world.tags.insert(build.reference.to_owned(), image.clone());
    Ok(image)
}

fn tree(commit: Option<&Commit>) -> PathBuf {
    Path::new(TREES).join(commit.map_or("", Commit::as_str))
}

/// The repository, as one agent reaches it.
pub(crate) struct Simulated {
    pub(crate) world: Shared,
    pub(crate) clocks: Arc<Clocks>,
    pub(crate) agent: String,
}

impl Simulated {
    async fn call<T>(
        &self,
        place: &'static str,
        takes: Duration,
        effect: impl FnOnce(&mut World) -> Result<T, SourceError> + Send,
    ) -> Result<T, SourceError> {
        tokio::time::sleep(takes).await;
        let mut world = lock(&self.world);
        world.settle(self.clocks.elapsed());
        let dies = if self.agent == IDENTITY {
            world.dies(&[place])
        } else {
            None
        };
        if dies == Some(false) {
            drop(world);
            kill();
        }
        let done = effect(&mut world);
        if dies.is_some() {
            drop(world);
            kill();
        }
        done
    }
}

fn away() -> SourceError {
    SourceError::Unreachable {
        origin: String::from("/srv/repository"),
        said: String::from("Could not read from remote repository."),
    }
}

#[async_trait]
impl Repository for Simulated {
    async fn resolve(&self, names: &BTreeSet<Tag>) -> Result<Resolved, SourceError> {
        self.call("fetch source", Duration::from_millis(700), |world| {
            let shaky = world.faults.registry;
            let is_away = world.dice.in_thousand(shaky);
            if is_away {
                world.injected("repository: away", "THE REPOSITORY IS AWAY");
            }
            let sources = world.sources.get_or_insert_with(Sources::default);
            if !is_away {
                sources.mirror.clone_from(&sources.tags);
            }
            let mut commits = BTreeMap::new();
            for name in names {
                match sources.mirror.get(name.as_str()) {
                    Some(commit) => drop(commits.insert(name.clone(), commit.clone())),
                    None if is_away => return Err(away()),
                    None => {
                        return Err(SourceError::NoSuchName {
                            origin: String::from("/srv/repository"),
                            name: name.to_string(),
                            near: Vec::new(),
                        });
                    }
                }
            }
            Ok(Resolved {
                commits,
                stale: is_away.then(|| String::from("it is away")),
            })
        })
        .await
    }

    async fn checkout(&self, commit: &Commit) -> Result<PathBuf, SourceError> {
        let tree = self.tree_of(commit);
        self.call("check out", Duration::from_millis(300), |world| {
            let compose = Path::new(COMPOSE).file_name().unwrap_or_default();
            world
                .files
                .insert(tree.join(compose), Sources::compose().into_bytes());
            Ok(tree)
        })
        .await
    }

    fn tree(&self, commit: &Commit) -> Option<PathBuf> {
        let tree = self.tree_of(commit);
        let is_there = lock(&self.world).files.contains_key(&tree.join("compose.yaml"));
        is_there.then_some(tree)
    }

    fn tree_of(&self, commit: &Commit) -> PathBuf {
        tree(Some(commit))
    }

    fn published(&self) -> PathBuf {
        PathBuf::from("/state/source/shop/files")
    }

    async fn content(&self, commit: &Commit, within: &Path) -> Result<Option<String>, SourceError> {
        let service = within.to_string_lossy().into_owned();
        self.call("find content", Duration::from_millis(5), |world| {
            let made = world.sources.as_ref().and_then(|of| of.made_of(commit, &service));
            Ok(made.map(|image| match image {
                Some(image) => image.to_string(),
                None => format!("{commit} {service}"),
            }))
        })
        .await
    }

    async fn tags(&self) -> Result<Vec<TagInfo>, SourceError> {
        Ok(Vec::new())
    }

    async fn forget(&self, keep: &BTreeSet<Commit>) -> Result<(), SourceError> {
        let keep: BTreeSet<PathBuf> = keep.iter().map(|commit| self.tree_of(commit)).collect();
        self.call("forget checkouts", Duration::from_millis(5), |world| {
            world
                .files
                .retain(|path, _| !path.starts_with(TREES) || keep.iter().any(|tree| path.starts_with(tree)));
            Ok(())
        })
        .await
    }

    async fn branch(&self, _: &BranchName, _: &Commit, _: bool) -> Result<(), SourceError> {
        Err(away())
    }

    async fn revert_file(&self, _: &RevertFile<'_>, _: bool) -> Result<Commit, SourceError> {
        Err(away())
    }
}
