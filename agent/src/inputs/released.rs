//! The files of a release that come from a repository: read from its checkout, where the commit has them, instead of
//! from the stack's directory. What is mounted of it is mounted from a path that its content names, so that a container
//! stays as it is where its file does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use config::compose::Source;
use config::error::{Place, Problem, with_sources};
use config::read::ReadError;
use config::settings::{SourceSettings, StackSettings};
use state::desired::Desired;
use state::name::{Commit, Digest, Tag};
use state::stack_spec::{BuildSpec, Mount, ServiceSpec, StackSpec};

/// The checkouts of the tags that a wish names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checkouts {
    /// One each, where there is one.
    pub by_tag: BTreeMap<Tag, Checkout>,
    /// Where files lie that containers have mounted, each named by its content.
    pub published: PathBuf,
}

/// A checkout of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkout {
    /// The commit.
    pub commit: Commit,
    /// The directory; its root is the repository's.
    pub tree: PathBuf,
}

/// A file of a release that containers have mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Where it is in the checkout.
    pub from: PathBuf,
    /// The digest of its content.
    pub content: Digest,
    /// Where it is mounted from.
    pub at: PathBuf,
}

/// The disk, with the files of a release in the place of those in the stack's directory.
pub(super) struct Released<'a> {
    under: &'a dyn Source,
    settings: &'a StackSettings,
    from: Option<(&'a SourceSettings, &'a Path)>,
}

impl<'a> Released<'a> {
    pub(super) fn of(
        under: &'a dyn Source,
        settings: &'a StackSettings,
        desired: &Desired,
        checkouts: &'a Checkouts,
    ) -> Self {
        let tree = checkouts.by_tag.get(&desired.tag).map(|of| of.tree.as_path());
        Self {
            under,
            settings,
            from: settings.source.as_ref().zip(tree),
        }
    }

    /// Where a file would be in the checkout. The env file is the operators' in any case.
    fn in_tree(&self, path: &Path) -> Option<PathBuf> {
        let (source, tree) = self.from.filter(|_| path != self.settings.env_file.path())?;
        let within = source.within(&self.settings.directory, path)?;
        Some(tree.join(within))
    }

    /// The file of the checkout that is read for this one; `None`: the commit has none, and what is on the disk counts.
    pub(super) fn released(&self, path: &Path) -> Option<PathBuf> {
        let at = self.in_tree(path)?;
        (!matches!(self.under.read(&at), Err(ReadError::Absent { .. }))).then_some(at)
    }

    /// The files of the checkout below this directory; `None`: the commit has none, and what is on the disk counts.
    pub(super) fn released_below(&self, directory: &Path) -> Option<Result<BTreeSet<PathBuf>, ReadError>> {
        match self.under.list(&self.in_tree(directory)?) {
            Err(ReadError::Absent { .. }) => None,
            listed => Some(listed),
        }
    }

    /// Whether all that lies below this directory is tracked.
    fn is_whole(&self, directory: &Path) -> bool {
        let mut all = self.settings.track_below.iter();
        all.any(|tracked| directory.starts_with(tracked))
    }

    /// Whether there is such a file, in the one place or the other.
    pub(super) fn is_there(&self, path: &Path) -> bool {
        self.released(path).is_some() || path.exists()
    }
}

impl Source for Released<'_> {
    fn read(&self, path: &Path) -> Result<Vec<u8>, ReadError> {
        match self.in_tree(path).map(|at| self.under.read(&at)) {
            None | Some(Err(ReadError::Absent { .. })) => self.under.read(path),
            Some(read) => read,
        }
    }

    fn list(&self, directory: &Path) -> Result<BTreeSet<PathBuf>, ReadError> {
        let Some((listed, tree)) = self.released_below(directory).zip(self.in_tree(directory)) else {
            return self.under.list(directory);
        };
        let here = |file: PathBuf| Some(directory.join(file.strip_prefix(&tree).ok()?));
        Ok(listed?.into_iter().filter_map(here).collect())
    }
}

/// Makes the parts of a rendered stack that come from the release come from its checkouts: what images are built of, and
/// the tracked files that containers have mounted. What else is mounted from the host is data, and stays where it is.
/// `lacks`: the tags that something is built of, and of which there is no checkout.
pub(super) fn place(
    spec: &mut StackSpec,
    source: &Released<'_>,
    desired: &Desired,
    checkouts: &Checkouts,
    lacks: &mut BTreeSet<Tag>,
) -> Result<Vec<Published>, Vec<Problem>> {
    let Some((settings, _)) = source.from else {
        return Ok(Vec::new());
    };
    let directory = &source.settings.directory;
    let mut problems = Vec::new();
    let mut published = BTreeMap::new();
    let mut whole = Vec::new();
    for (name, service) in &mut spec.services {
        if let Some(build) = &mut service.build {
            let tag = desired.tag_of(name);
            if !checkouts.by_tag.contains_key(tag) {
                lacks.insert(tag.clone());
            }
            if let Err(why) = build_of(build, (settings, directory)) {
                let key = format!("services.{name}.build");
                problems.push(Problem::error(Place::file(directory), key, why));
            }
        }
        let hidden = hidden(source, service);
        problems.extend(hidden.map(|(file, through)| {
            let message = format!(
                "{} is tracked, and {name} has it mounted through the directory {}",
                file.display(),
                through.display()
            );
            Problem::error(Place::file(directory), "track", message)
                .hint("mount the file itself: what else is in the directory is no part of a release")
        }));
        for mount in &mut service.volumes {
            let Mount::Bind(bind) = mount else { continue };
            if source.is_whole(&bind.source)
                && let Some(Ok(files)) = source.released_below(&bind.source)
            {
                match publish_all(source, &bind.source, files, &checkouts.published) {
                    Ok((at, files)) => {
                        (bind.source, bind.create_host_path) = (at, false);
                        whole.extend(files);
                    }
                    Err(problem) => problems.push(problem),
                }
            } else if source.settings.tracks(&bind.source)
                && let Some(from) = source.released(&bind.source)
            {
                let file = published
                    .entry(from.clone())
                    .or_insert_with(|| publish(source.under, from, &checkouts.published));
                match file {
                    Ok(file) => {
                        bind.source.clone_from(&file.at);
                        // Whoever has taken it away has not taken a directory for it.
                        bind.create_host_path = false;
                    }
                    Err(problem) => problems.push(problem.clone()),
                }
            }
        }
    }
    problems.extend(built_twice(spec, desired, directory));
    if problems.is_empty() {
        Ok(published.into_values().flatten().chain(whole).collect())
    } else {
        Err(problems)
    }
}

/// The tracked files of the release that a service would see through a directory of the host, where those are not.
fn hidden<'a>(
    source: &'a Released<'_>,
    service: &'a ServiceSpec,
) -> impl Iterator<Item = (&'a PathBuf, &'a Path)> {
    let through = |file: &Path, of: &Path| file != of && file.starts_with(of) && !source.is_whole(of);
    let settings = source.settings;
    let all = settings.track.iter().chain(&settings.track_below);
    all.filter_map(move |file| {
        let directory = service.host_paths().find(|of| through(file, of))?;
        source.released(file)?;
        Some((file, directory))
    })
}

/// Images that two services build, each in its own way, and call the same.
fn built_twice(spec: &StackSpec, desired: &Desired, directory: &Path) -> Vec<Problem> {
    let mut by_name: BTreeMap<&str, (&BuildSpec, &Tag)> = BTreeMap::new();
    let mut problems = Vec::new();
    for (name, service) in &spec.services {
        let (Some(image), Some(build)) = (&service.image, &service.build) else {
            continue;
        };
        let how = (build, desired.tag_of(name));
        if by_name.insert(image, how).is_some_and(|before| before != how) {
            let key = format!("services.{name}.image");
            let message = format!("{image} is built by another service too, and in another way");
            problems.push(
                Problem::error(Place::file(directory), key, message)
                    .hint("give each of them a name of its own"),
            );
        }
    }
    problems
}

/// The context of a build, and what else it names on this host, as it is called in the repository: the same, whichever
/// commit is built.
fn build_of(build: &mut BuildSpec, (settings, directory): (&SourceSettings, &Path)) -> Result<(), String> {
    if let Some(why) = crate::engine::unsupported(build) {
        return Err(why);
    }
    let within = |path: &str| {
        let found = settings.within(directory, Path::new(path));
        found.ok_or_else(|| format!("{path}, which it is built of, is not in the repository"))
    };
    let context = within(&build.context)?;
    if let Some(dockerfile) = build.dockerfile.as_mut().filter(|path| path.starts_with('/')) {
        let up = context.components().map(|_| Component::ParentDir);
        let path: PathBuf = up.collect::<PathBuf>().join(within(dockerfile)?);
        *dockerfile = path.to_string_lossy().into_owned();
    }
    build.context = context.to_string_lossy().into_owned();
    Ok(())
}

fn publish(source: &dyn Source, from: PathBuf, base: &Path) -> Result<Published, Problem> {
    let read = source.read(&from);
    let bytes = read.map_err(|error| Problem::error(Place::file(&from), "track", with_sources(&error)))?;
    let content = Digest::of(&bytes);
    let name = from.file_name().unwrap_or_default();
    Ok(Published {
        at: base.join(content.as_str()).join(name),
        content,
        from,
    })
}

/// All files of a directory, at a path that is called after all of them: another one of them makes it another directory.
fn publish_all(
    source: &Released<'_>,
    directory: &Path,
    files: BTreeSet<PathBuf>,
    base: &Path,
) -> Result<(PathBuf, Vec<Published>), Problem> {
    let tree = source.in_tree(directory).unwrap_or_default();
    let mut names = Vec::new();
    let mut published = Vec::new();
    for from in files {
        let content = match source.under.read(&from) {
            Ok(bytes) => Digest::of(&bytes),
            Err(ReadError::Absent { .. }) => continue,
            Err(error) => return Err(Problem::error(Place::file(&from), "track", error.to_string())),
        };
        let below = from.strip_prefix(&tree).unwrap_or(&from).to_owned();
        names.extend_from_slice(below.as_os_str().as_encoded_bytes());
        names.push(0);
        names.extend_from_slice(content.as_str().as_bytes());
        published.push((below, from, content));
    }
    let name = directory.file_name().unwrap_or_default();
    let at = base.join(Digest::of(&names).as_str()).join(name);
    let all = published.into_iter().map(|(below, from, content)| Published {
        at: at.join(below),
        from,
        content,
    });
    Ok((at.clone(), all.collect()))
}
