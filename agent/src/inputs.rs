//! The files that a request is made of, read whole: desired.toml, Compose, env and tracked files.
//! What they ask for is worked out here; whether it is done is decided elsewhere.

mod released;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use config::compose::{self, ComposeInput, Source};
use config::error::{Place, Problem, Problems, with_sources};
use config::read::ReadError;
use config::settings::{EnvFile, StackSettings};
use state::desired::{Desired, EnvWish};
use state::env_version::is_pin_of;
use state::files::{Action, ReleaseFile, ReleaseFiles, Role};
use state::name::{Commit, Digest, ServiceName, StackName, Tag};
use state::release::HostKey;
use state::stack_spec::StackSpec;

pub use released::{Checkout, Checkouts, Published};
use released::{Released, place};

/// What a stack's files ask for, resolved but for the images.
#[derive(Debug, Clone, PartialEq)]
pub struct Inputs {
    /// The entry in desired.toml.
    pub desired: Desired,
    /// The stack as rendered for it, image references as written.
    pub spec: StackSpec,
    /// The digest of `spec` as it is kept.
    pub content: Digest,
    /// The services whose image follows the tag.
    pub tagged: BTreeSet<ServiceName>,
    /// The digest of `.env`, where there is one.
    pub env: Option<Digest>,
    /// The digest of all other files, and of the settings that render them.
    pub config: Digest,
    /// Every file that was looked for.
    pub files: BTreeSet<PathBuf>,
    /// The version of each of them; whose they are is not asked.
    pub versions: ReleaseFiles,
    /// The commits that its tags are, where releases come from a repository.
    pub commits: BTreeMap<Tag, Commit>,
    /// The files of the release that containers have mounted: to be there before anything is made of this.
    pub published: Vec<Published>,
    /// The Compose files, for Compose's own label.
    pub compose_files: Vec<PathBuf>,
    /// What the operator should know.
    pub warnings: Vec<Problem>,
}

/// What was found: what is asked for, or all that is wrong; and what tells two states of the disk apart.
#[derive(Debug, Clone)]
pub struct Look {
    /// What is asked for.
    pub inputs: Result<Arc<Inputs>, Vec<Problem>>,
    /// The files that were looked for, for the watch.
    pub files: BTreeSet<PathBuf>,
    /// The digest of their contents.
    pub fingerprint: Digest,
    /// The tags that images are built of and that have no checkout yet: nothing is known before they have.
    pub lacks: BTreeSet<Tag>,
    /// Whether a file was written while it was read, so that this is nothing that ever was.
    torn: bool,
}

/// Reads everything that `desired` makes of one stack; with the files of `checkouts`, where its releases come from a
/// repository.
pub fn read(
    source: &dyn Source,
    settings: &StackSettings,
    desired: &Desired,
    key: &HostKey,
    checkouts: &Checkouts,
) -> Look {
    let source = Looked::at(source);
    let released = Released::of(&source, settings, desired, checkouts);
    let paths = settings.compose.paths_where(&|path| released.is_there(path));
    let env_path = settings.env_file.path().to_owned();
    let mut files: BTreeSet<PathBuf> = paths.iter().chain(&settings.track).cloned().collect();
    files.insert(env_path.clone());
    // What is wrong with a directory is said where it is asked for its files.
    files.extend(below(&released, settings).unwrap_or_default());
    let mut lacks = BTreeSet::new();
    let wish = Wished {
        settings,
        desired,
        key,
        checkouts,
    };
    let inputs = render(&released, &wish, &paths, &mut files, &mut lacks).map(Arc::new);
    let fingerprint = fingerprint(&released, &wish, &files);
    Look {
        inputs,
        files,
        fingerprint,
        lacks,
        torn: source.torn.get(),
    }
}

/// As [`read`]; where nothing has changed since `last`, of the same settings, no file is parsed again.
pub fn read_again(
    source: &dyn Source,
    settings: &StackSettings,
    desired: &Desired,
    key: &HostKey,
    checkouts: &Checkouts,
    last: Option<&Look>,
) -> Look {
    let same = |last: &&Look| {
        let released = Released::of(source, settings, desired, checkouts);
        let wish = Wished {
            settings,
            desired,
            key,
            checkouts,
        };
        // Which files there are is asked anew: one of another name may have taken the place of the first.
        let paths = || settings.compose.paths_where(&|path| released.is_there(path));
        let files = |inputs: &Arc<Inputs>| inputs.compose_files == paths();
        !last.torn
            && last.inputs.as_ref().is_ok_and(files)
            && fingerprint(&released, &wish, &last.files) == last.fingerprint
    };
    match last.filter(same) {
        Some(last) => last.clone(),
        None => read(source, settings, desired, key, checkouts),
    }
}

/// What is asked for, and what it is read with.
struct Wished<'a> {
    settings: &'a StackSettings,
    desired: &'a Desired,
    key: &'a HostKey,
    checkouts: &'a Checkouts,
}

impl Wished<'_> {
    /// The commit that each tag is of.
    fn commits(&self) -> BTreeMap<&Tag, &Commit> {
        let all = self.checkouts.by_tag.iter();
        all.map(|(tag, checkout)| (tag, &checkout.commit)).collect()
    }
}

/// What a disk says within one look, so that it is known when a file says two things.
struct Looked<'a> {
    source: &'a dyn Source,
    said: RefCell<BTreeMap<PathBuf, String>>,
    torn: Cell<bool>,
}

impl<'a> Looked<'a> {
    fn at(source: &'a dyn Source) -> Self {
        Self {
            source,
            said: RefCell::default(),
            torn: Cell::new(false),
        }
    }
}

impl Source for Looked<'_> {
    fn read(&self, path: &Path) -> Result<Vec<u8>, ReadError> {
        let read = self.source.read(path);
        let says = says(&read);
        let before = self.said.borrow_mut().insert(path.to_owned(), says.clone());
        if before.is_some_and(|before| before != says) {
            self.torn.set(true);
        }
        read
    }

    fn list(&self, directory: &Path) -> Result<BTreeSet<PathBuf>, ReadError> {
        let listed = self.source.list(directory);
        let says = lists(&listed);
        let before = self.said.borrow_mut().insert(directory.to_owned(), says.clone());
        if before.is_some_and(|before| before != says) {
            self.torn.set(true);
        }
        listed
    }
}

/// All files below the tracked directories.
fn below(source: &dyn Source, settings: &StackSettings) -> Result<BTreeSet<PathBuf>, Problem> {
    let mut files = BTreeSet::new();
    for directory in &settings.track_below {
        let listed = source.list(directory);
        let listed =
            listed.map_err(|error| Problem::error(Place::file(directory), "track", with_sources(&error)))?;
        // A link to nothing is no file.
        let is_there = |file: &PathBuf| !matches!(source.read(file), Err(ReadError::Absent { .. }));
        files.extend(listed.into_iter().filter(is_there));
    }
    Ok(files)
}

/// Which files there are, in short.
fn lists(listed: &Result<BTreeSet<PathBuf>, ReadError>) -> String {
    match listed {
        Ok(files) => format!("{files:?}"),
        Err(error) => error.to_string(),
    }
}

/// What a file says, in short.
fn says(read: &Result<Vec<u8>, ReadError>) -> String {
    match read {
        Ok(bytes) => Digest::of(bytes).as_str().to_owned(),
        Err(error) => error.to_string(),
    }
}

fn fingerprint(source: &dyn Source, wish: &Wished<'_>, files: &BTreeSet<PathBuf>) -> Digest {
    let asked = (wish.desired, wish.commits());
    let mut text = serde_json::to_vec(&asked).expect("a wish is plain data");
    for file in files {
        text.extend_from_slice(file.as_os_str().as_encoded_bytes());
        text.push(0);
        text.extend_from_slice(says(&source.read(file)).as_bytes());
    }
    for directory in &wish.settings.track_below {
        text.extend_from_slice(lists(&source.list(directory)).as_bytes());
    }
    Digest::of(&text)
}

fn render(
    source: &Released<'_>,
    wish: &Wished<'_>,
    paths: &[PathBuf],
    files: &mut BTreeSet<PathBuf>,
    lacks: &mut BTreeSet<Tag>,
) -> Result<Inputs, Vec<Problem>> {
    let (settings, desired) = (wish.settings, wish.desired);
    if paths.is_empty() {
        let place = Place::file(&settings.directory);
        return Err(vec![
            Problem::error(place, "compose", "there is no Compose file in this directory")
                .hint("name the files: compose = [\"docker-compose.prod.yml\"]"),
        ]);
    }
    let input = compose_input(source, settings, desired, paths);
    let loaded = compose::load(source, &input).map_err(|problems| problems.0)?;
    files.extend(loaded.files.iter().cloned());
    let role = |file: &PathBuf| match file {
        file if loaded.yaml.contains(file) || paths.contains(file) => Role::Compose,
        file if settings.track.contains(file) => Role::Tracked,
        // Also in a tracked directory an env file is one.
        file if loaded.files.contains(file) || file == settings.env_file.path() => Role::Env,
        file if settings.tracks(file) => Role::Tracked,
        _ => Role::Env,
    };
    // What comes from the repository is nothing that the agent would put in the stack's directory.
    let theirs = files.iter().filter(|path| source.released(path).is_none());
    let mut versions = versions(source, theirs, &role);
    for (path, version) in &mut versions {
        version.action = settings.action_of(path);
    }
    let theirs = settings.track_below.iter();
    let theirs = theirs.filter(|directory| source.released_below(directory).is_none());
    versions.extend(theirs.map(|directory| {
        let whole = ReleaseFile {
            role: Role::Directory,
            content: None,
            owner: None,
            action: settings.action_of(directory),
        };
        (directory.clone(), whole)
    }));
    let mut spec = loaded.spec;
    let mut problems = unknown_pins(settings, desired, &spec);
    problems.extend(settings.unseen_files(&spec).0);
    let is_file = |path: &Path| versions.get(path).is_some_and(|file| file.role == Role::Tracked);
    problems.extend(settings.unread_files(&spec, &is_file).0);
    problems.extend(below(source, settings).err());
    let mut tagged = BTreeSet::new();
    for (service, variables) in &loaded.interpolated {
        if settings
            .tag_vars
            .iter()
            .any(|var| variables.contains(var.as_str()))
        {
            tagged.insert(service.clone());
        }
    }
    for (service, template) in &settings.images {
        if let Some(spec) = spec.services.get_mut(service) {
            spec.image = Some(template.render(desired.tag_of(service)));
            tagged.insert(service.clone());
        }
    }
    problems.extend(images(settings, desired, &mut spec, &mut tagged));
    let published = place(&mut spec, source, desired, wish.checkouts, lacks);
    // They are kept as all tracked files are: gone, they are put again.
    versions.extend(published.iter().flatten().map(|file| {
        let version = ReleaseFile {
            role: Role::Tracked,
            content: Some(file.content.clone()),
            owner: None,
            action: Action::Recreate,
        };
        (file.at.clone(), version)
    }));
    let env = env_in_place(source, settings, desired, Some(wish.key));
    let config = config_digest(source, wish, files);
    match (env, config, published) {
        (Ok(env), Ok(config), Ok(published)) if problems.is_empty() && lacks.is_empty() => Ok(Inputs {
            desired: desired.clone(),
            content: Digest::of(&serde_json::to_vec(&spec).expect("a stack is plain data")),
            spec,
            tagged,
            env,
            config,
            files: files.clone(),
            versions,
            commits: commits_of(wish),
            published,
            compose_files: paths.to_vec(),
            warnings: loaded.warnings.0,
        }),
        (env, config, published) => {
            problems.extend(env.err());
            problems.extend(config.err());
            problems.extend(published.err().unwrap_or_default());
            Err(problems)
        }
    }
}

/// The commits that are part of the release: of the stack's own tag, and of the services that have one of their own.
fn commits_of(wish: &Wished<'_>) -> BTreeMap<Tag, Commit> {
    let all = wish.commits().into_iter();
    all.map(|(tag, commit)| (tag.clone(), commit.clone())).collect()
}

/// How the Compose files are read for a wish.
pub fn compose_input(
    source: &dyn Source,
    settings: &StackSettings,
    desired: &Desired,
    paths: &[PathBuf],
) -> ComposeInput {
    let mut input = ComposeInput::new(settings.name.clone(), settings.directory.clone(), paths.to_vec());
    let vars = |tag: &state::name::Tag| -> BTreeMap<String, String> {
        settings
            .tag_vars
            .iter()
            .map(|var| (var.as_str().to_owned(), tag.as_str().to_owned()))
            .collect()
    };
    input.profiles = settings.profiles.iter().map(|p| p.as_str().to_owned()).collect();
    input.overrides = vars(&desired.tag);
    input.service_overrides = desired
        .services
        .iter()
        .map(|(service, tag)| (service.clone(), vars(tag)))
        .collect();
    let env = settings.env_file.path();
    let is_there = !matches!(source.read(env), Err(ReadError::Absent { .. }));
    if is_there || matches!(settings.env_file, EnvFile::Required(_)) {
        input.env_files = vec![env.to_owned()];
    }
    input
}

/// Every service needs an image. Where it is built, its tag is the release's.
fn images(
    settings: &StackSettings,
    desired: &Desired,
    spec: &mut StackSpec,
    tagged: &mut BTreeSet<ServiceName>,
) -> Vec<Problem> {
    let project = spec.project.clone();
    for (name, service) in &mut spec.services {
        if service.image.is_none() && service.build.is_some() {
            service.image = Some(format!("{project}-{name}:{}", desired.tag_of(name)));
            tagged.insert(name.clone());
        }
    }
    spec.services
        .iter()
        .filter(|(_, service)| service.image.is_none())
        .map(|(name, _)| {
            let place = Place::file(&settings.directory);
            Problem::error(
                place,
                format!("services.{name}"),
                "neither image nor build is given",
            )
        })
        .collect()
}

fn unknown_pins(settings: &StackSettings, desired: &Desired, spec: &StackSpec) -> Vec<Problem> {
    let known: BTreeSet<ServiceName> = spec.services.keys().cloned().collect();
    let mut problems = settings.unknown_services(&known).0;
    for service in desired
        .services
        .keys()
        .filter(|service| !known.contains(*service))
    {
        let place = Place::file("desired.toml");
        let names = known.iter().map(ServiceName::as_str);
        let hint = config::error::did_you_mean(service.as_str(), names).unwrap_or_else(|| {
            let names: Vec<&str> = known.iter().map(ServiceName::as_str).collect();
            format!("its services: {}", names.join(", "))
        });
        problems.push(
            Problem::error(
                place,
                format!("{}.services.{service}", settings.name),
                format!("the Compose file has no service \"{service}\""),
            )
            .hint(hint),
        );
    }
    problems
}

/// The digest of `.env`, where there is one and it is the one that is asked for. Without `key` a pin by
/// its short id cannot be compared.
pub fn env_in_place(
    source: &dyn Source,
    settings: &StackSettings,
    desired: &Desired,
    key: Option<&HostKey>,
) -> Result<Option<Digest>, Problem> {
    let env = env_digest(source, &settings.env_file)?;
    check_env_pin(settings, desired, env.as_ref(), key)?;
    Ok(env)
}

fn env_digest(source: &dyn Source, file: &EnvFile) -> Result<Option<Digest>, Problem> {
    match (source.read(file.path()), file) {
        (Ok(bytes), _) => Ok(Some(Digest::of(&bytes))),
        (Err(ReadError::Absent { .. }), EnvFile::Optional(_)) => Ok(None),
        (Err(error), _) => Err(Problem::error(
            Place::file(file.path()),
            "env_file",
            with_sources(&error),
        )),
    }
}

/// A pinned env file that is not in place is not a request that could be applied.
fn check_env_pin(
    settings: &StackSettings,
    desired: &Desired,
    env: Option<&Digest>,
    key: Option<&HostKey>,
) -> Result<(), Problem> {
    let fits = match (&desired.env, key) {
        (EnvWish::Current, _) | (EnvWish::Short(_), None) => true,
        (EnvWish::Sha256(digest), _) => env == Some(digest),
        (EnvWish::Short(id), Some(key)) => env.is_some_and(|env| is_pin_of(id, &key.env_id(env))),
    };
    if fits {
        return Ok(());
    }
    let is = env.map_or_else(
        || String::from("there is none"),
        |env| match key {
            Some(key) => format!("it is {}", key.env_id(env)),
            None => String::from("it is another one"),
        },
    );
    // A digest that is not keyed tells a short secret to whoever tries them all.
    let pinned = match (&desired.env, key) {
        (EnvWish::Sha256(digest), Some(key)) => key.env_id(digest).to_string(),
        (wish, _) => wish.to_string(),
    };
    Err(Problem::error(
        Place::file(settings.env_file.path()),
        "env",
        format!("desired.toml pins the env file {pinned}, {is}"),
    )
    .hint("put that version back, or set env = \"current\""))
}

/// The version of each file. What cannot be read is none: whoever needs it has said so.
fn versions<'f>(
    source: &dyn Source,
    files: impl Iterator<Item = &'f PathBuf>,
    role: &dyn Fn(&PathBuf) -> Role,
) -> ReleaseFiles {
    let version = |file: &PathBuf| {
        let content = match source.read(file) {
            Ok(bytes) => Some(Digest::of(&bytes)),
            Err(ReadError::Absent { .. }) => None,
            Err(_) => return None,
        };
        let role = role(file);
        let version = ReleaseFile {
            role,
            content,
            owner: None,
            action: Action::Recreate,
        };
        Some((file.clone(), version))
    };
    files.filter_map(version).collect()
}

/// The digest of every file but `.env`, of the commits that they are of, and of the settings that decide what is made of
/// them.
fn config_digest(
    source: &dyn Source,
    wish: &Wished<'_>,
    files: &BTreeSet<PathBuf>,
) -> Result<Digest, Problem> {
    let settings = wish.settings;
    let images: BTreeMap<_, _> = settings
        .images
        .iter()
        .map(|(service, template)| (service, format!("{template:?}")))
        .collect();
    let vars: Vec<&str> = settings
        .tag_vars
        .iter()
        .map(config::settings::VarName::as_str)
        .collect();
    let profiles: Vec<&str> = settings
        .profiles
        .iter()
        .map(config::settings::Profile::as_str)
        .collect();
    let mut text = serde_json::to_vec(&(images, vars, profiles)).expect("settings are plain data");
    let commits = wish.commits();
    if !commits.is_empty() {
        text.extend(serde_json::to_vec(&commits).expect("names are plain data"));
    }
    for file in files.iter().filter(|file| *file != settings.env_file.path()) {
        text.extend_from_slice(file.as_os_str().as_encoded_bytes());
        text.push(0);
        match source.read(file) {
            Ok(bytes) => text.extend_from_slice(Digest::of(&bytes).as_str().as_bytes()),
            Err(ReadError::Absent { .. }) if !settings.track.contains(file) => {
                text.extend_from_slice(b"absent");
            }
            Err(error) => {
                let key = if settings.tracks(file) { "track" } else { "" };
                let problem = Problem::error(Place::file(file), key, with_sources(&error));
                let is_directory = matches!(
                    error,
                    ReadError::NotRegular {
                        what: "a directory",
                        ..
                    }
                );
                return Err(if is_directory && settings.track.contains(file) {
                    problem.hint("end it with a slash: then all files below it are part of a release")
                } else {
                    problem
                });
            }
        }
        text.push(0);
    }
    Ok(Digest::of(&text))
}

/// Reads desired.toml. The error is every problem with it.
pub fn read_desired<V>(
    source: &dyn Source,
    path: &Path,
    stacks: &BTreeMap<StackName, V>,
) -> Result<BTreeMap<StackName, Desired>, Vec<Problem>> {
    let whole = |message: String| vec![Problem::error(Place::file(path), "", message)];
    let bytes = source.read(path).map_err(|error| whole(with_sources(&error)))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| whole(String::from("it is not UTF-8 text")))?;
    config::desired_file::parse(path, text, stacks).map_err(|Problems(all)| all)
}

/// The values of an env file, for settings that name a key of it. Lines that make no sense are left out.
pub fn env_values(path: &Path, bytes: &[u8]) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    let format = config::env_file::Format::Dotenv;
    config::env_file::parse(path, bytes, format, &|_| None, &mut values, &mut Vec::new());
    values
}

#[cfg(test)]
mod tests;
