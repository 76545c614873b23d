//! One effect on the outside world, whole: a step leaves no choice to whoever carries it out, and
//! says itself how it is taken back. Every step may be done twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::backup::{BackupId, Dumped, Proof};
use crate::files::{Compared, FileChange, Signal};
use crate::instead::ManualDown;
use crate::integrity::{Check, When};
use crate::migration_tool::{Migration, Printed};
use crate::migrations::VersionRows;
use crate::name::{Commit, ContainerId, Digest, ImageId, Revision, ServiceName, Tag};
use crate::observed::{Attachment, Carried, SchemaHead};
use crate::schema_fit::{Direction, SchemaMove, head};
use crate::stack_spec::RestartPolicy;

/// `stop_grace_period`, where nothing says (Compose Specification).
pub(crate) const GRACE: Duration = Duration::from_secs(10);

/// A container of the plan: one that exists, or the one that an earlier step of the same operation creates.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// It existed when the plan was made.
    Existing(ContainerId),
    /// What the operation's `Create` of this service and number made.
    New(ServiceName, u32),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Existing(id) => f.write_str(id.short()),
            Self::New(service, number) => write!(f, "new {service}-{number}"),
        }
    }
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// It runs.
    Running,
    /// Its HEALTHCHECK passes.
    Healthy,
    /// It has exited with 0.
    Completed,
}

/// One effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Brings an image to this host.
    Pull {
        /// The reference as written.
        reference: String,
        /// `platform` of the service.
        platform: Option<String>,
    },
    /// Fetches from the repository that releases come from, and makes a checkout of what each of these names.
    FetchSource {
        /// Tags, or commits.
        tags: BTreeSet<Tag>,
        /// What some of them were resolved to before: that stays so, and only its checkout is made.
        #[serde(default)]
        known: BTreeMap<Tag, Commit>,
    },
    /// Builds an image from a checkout, where it is not known already.
    Build {
        /// The service that it is for.
        service: ServiceName,
        /// The tag that it gets.
        reference: String,
        /// `platform` of the service.
        platform: Option<String>,
        /// The commit that its context is of.
        commit: Commit,
        /// The object that holds the stack whose service says how.
        spec: Digest,
        /// What an image is known by that was built of the same.
        key: Digest,
        /// The one that was, where there is one.
        #[serde(default)]
        known: Option<ImageId>,
    },
    /// Makes sure that nobody's prune takes this image away.
    KeepImage {
        /// The image.
        image: ImageId,
    },
    /// Lets go of the images that no generation needs any more.
    ReleaseImages {
        /// The images that are still needed.
        keep: BTreeSet<ImageId>,
    },
    /// Creates a network of the Compose file.
    CreateNetwork {
        /// Its key in the file.
        key: String,
        /// Its name on the engine.
        name: String,
    },
    /// Creates a volume of the Compose file. Volumes are never removed.
    CreateVolume {
        /// Its key in the file.
        key: String,
        /// Its name on the engine.
        name: String,
    },
    /// Creates a container, without starting it, with restart policy `no`.
    Create {
        /// The service.
        service: ServiceName,
        /// The replica.
        number: u32,
        /// The name, temporary where an old container still has the right one.
        name: String,
        /// The image.
        image: ImageId,
        /// The spec hash that it is labelled with.
        hash: String,
        /// Anonymous volumes that it takes over.
        carried: Vec<Carried>,
    },
    /// Sets the restart policy to `no`, so that no restarted engine brings old and new up together.
    Quiesce {
        /// The container.
        target: Target,
        /// The policy that it had.
        was: RestartPolicy,
    },
    /// Stops it with its own signal, by force after `grace`.
    Stop {
        /// The container.
        target: Target,
        /// Its service.
        service: ServiceName,
        /// How long it may take.
        grace: Duration,
        /// Whether it ran before, and so runs again when this is taken back.
        ran: bool,
    },
    /// Takes a stopped container out of its networks.
    Detach {
        /// The container.
        target: Target,
        /// What it was attached to.
        from: Vec<Attachment>,
    },
    /// Puts it back into networks.
    Attach {
        /// The container.
        target: Target,
        /// What it is attached to.
        to: Vec<Attachment>,
    },
    /// Gives it another name.
    Rename {
        /// The container.
        target: Target,
        /// The name that it has.
        from: String,
        /// The name that it gets.
        to: String,
    },
    /// Starts it.
    Start {
        /// The container.
        target: Target,
        /// Its service.
        service: ServiceName,
        /// How long its stop may take, when this is taken back.
        #[serde(default = "grace")]
        grace: Duration,
    },
    /// Waits until a condition holds.
    Await {
        /// The container.
        target: Target,
        /// Its service.
        service: ServiceName,
        /// The condition.
        until: Condition,
        /// How long at most.
        within: Duration,
        /// Whether the plan leaves it as it is: that it does not get there says nothing about what the
        /// plan brings up.
        #[serde(default)]
        untouched: bool,
    },
    /// Watches new containers for a while: none may die or turn unhealthy.
    Watch {
        /// The containers and their services.
        targets: Vec<(Target, ServiceName)>,
        /// For how long.
        span: Duration,
    },
    /// Gives a container the restart policy that its service asks for.
    GiveRestart {
        /// The container.
        target: Target,
        /// The policy.
        policy: RestartPolicy,
    },
    /// Removes a container that is no longer needed, never its volumes. Cannot be taken back.
    Remove {
        /// The container.
        target: Target,
    },
    /// Reads the migrations that an image has, in a container without a network.
    ReadMigrations {
        /// The command.
        by: Migration,
        /// What it prints.
        #[serde(default)]
        prints: Printed,
        /// What the version table says, for which it is read.
        #[serde(default)]
        rows: VersionRows,
        /// What it is remembered with.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reader: Option<Digest>,
    },
    /// Asks the scripts of an image what they would destroy on their way back, in a container without a network. That
    /// nobody can say changes nothing.
    ReadLosses {
        /// The command.
        by: Migration,
    },
    /// Keeps what an operation has taken out of the database on its way back: what its copy has, and the database has
    /// not.
    SaveRows {
        /// The operation.
        of: u64,
    },
    /// Puts what was kept into the database again, where it has a place and nothing else stands there. That it cannot
    /// be done now changes nothing.
    PutIn {
        /// The operation that has taken it out.
        of: u64,
        /// Whether what has no place now will have none.
        last: bool,
    },
    /// Looks whether the database is whole: asks the operator's integrity checks, and counts the rows of every table. What
    /// held before and does not any more fails it; that nobody can count does not.
    Look {
        /// When.
        when: When,
        /// What is asked.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        checks: Vec<Check>,
        /// Whether rows are counted.
        counts: bool,
    },
    /// Makes a backup of the database, while everything goes on, and makes sure of it.
    Backup {
        /// How.
        proof: Proof,
        /// The operation whose safety copy is backed up, instead of the database itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        copy: Option<u64>,
    },
    /// Tells a command of the operator's of the backup that this operation has made. That it fails changes nothing.
    HandOn {
        /// The program and its first arguments.
        command: Vec<String>,
        /// How long it may take.
        within: Duration,
    },
    /// Makes sure of a backup that is there.
    VerifyBackup {
        /// Which.
        backup: BackupId,
        /// How.
        proof: Proof,
    },
    /// Restores into a new database beside the stack's own, which stays as it is.
    RestoreBeside {
        /// What.
        dump: Dumped,
    },
    /// Drops what was restored, where it never had the database's name.
    DropRestored,
    /// What was restored takes the database's name; the one that has it, which is closed, is set aside and kept.
    TakePlace,
    /// The database that was set aside has its name again; what was restored is set aside and kept. It is closed then.
    GiveBack,
    /// Drops a database beside the stack's own that carries a mark of Steadfast. Cannot be taken back.
    DropBeside {
        /// Its name.
        name: String,
    },
    /// Bars the database to everybody, once those that write to it have stopped.
    CloseDatabase {
        /// Whether sessions of whoever is no service of the stack are ended too; otherwise they are named, and it fails.
        end_foreign: bool,
    },
    /// Copies the database, which is closed, as it is.
    CopyDatabase,
    /// Lets connections in again.
    OpenDatabase,
    /// Moves the schema.
    Migrate {
        /// From where to where, and by what.
        way: Box<SchemaMove>,
        /// What is asked when it is down: what held before and does not any more fails it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        checks: Vec<Check>,
    },
    /// Takes the schema back with the operator's SQL, in one transaction with the version table. It begins on the
    /// database as it was copied: what is not so is set aside, and kept.
    ApplySql {
        /// The SQL of each revision, in this order.
        parts: Vec<ManualDown>,
        /// Where the schema stands then.
        to: SchemaHead,
        /// How long it may take.
        within: Duration,
        /// What is asked then, as after a downgrade.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        checks: Vec<Check>,
    },
    /// Puts the operation's copy into the place of the database, which is set aside and kept. It is closed then.
    PutBack,
    /// Puts other versions of the operator's own files in their places, each whole. What is there is kept first; a file
    /// that somebody has written to meanwhile is left alone.
    PutFiles {
        /// The files.
        changes: Vec<FileChange>,
    },
    /// Sends a signal to a container, so that it reads files again that were put.
    Signal {
        /// The container.
        target: Target,
        /// Its service.
        service: ServiceName,
        /// Which.
        signal: Signal,
        /// Whether it is sent when this is taken back, and not now: once the files are there again that it had.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        back: bool,
    },
    /// Compares what a container sees of tracked files with what the release has of them. Another version fails it; that
    /// nobody can say does not.
    CompareFiles {
        /// The container.
        target: Target,
        /// Its service.
        service: ServiceName,
        /// By their paths in the container.
        files: BTreeMap<String, Compared>,
        /// How long each may take.
        within: Duration,
    },
    /// Asks a command whether a tracked file may be used, in a container of its own that sees it as the service's new one
    /// will. What it refuses fails the release for good, before anything has stopped.
    CheckFile {
        /// The file.
        path: PathBuf,
        /// Its content in the release; `None`: it is mounted from a path that names it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        content: Option<Digest>,
        /// The other tracked files that the service sees, as the release has them; `None`: it has none there.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        beside: BTreeMap<PathBuf, Option<Digest>>,
        /// The service.
        service: ServiceName,
        /// Its image in the release.
        image: ImageId,
        /// The program and its arguments.
        command: Vec<String>,
        /// How long it may take.
        within: Duration,
    },
}

impl Step {
    /// The service that a failure of this step is about.
    pub fn service(&self) -> Option<&ServiceName> {
        match self {
            Self::Create { service, .. }
            | Self::Stop { service, .. }
            | Self::Start { service, .. }
            | Self::Signal { service, .. }
            | Self::CompareFiles { service, .. }
            | Self::Await { service, .. } => Some(service),
            Self::Quiesce { target, .. }
            | Self::Detach { target, .. }
            | Self::Attach { target, .. }
            | Self::Rename { target, .. }
            | Self::GiveRestart { target, .. }
            | Self::Remove { target } => match target {
                Target::New(service, _) => Some(service),
                Target::Existing(_) => None,
            },
            _ => None,
        }
    }

    /// The container that this step changes, where it is about one.
    pub fn target(&self) -> Option<&Target> {
        match self {
            Self::Quiesce { target, .. }
            | Self::Stop { target, .. }
            | Self::Detach { target, .. }
            | Self::Attach { target, .. }
            | Self::Rename { target, .. }
            | Self::Start { target, .. }
            | Self::Await { target, .. }
            | Self::Signal { target, .. }
            | Self::CompareFiles { target, .. }
            | Self::GiveRestart { target, .. }
            | Self::Remove { target } => Some(target),
            _ => None,
        }
    }

    /// Whether this step only looks, and changes nothing.
    pub fn only_looks(&self) -> bool {
        matches!(self, Self::Await { .. } | Self::Watch { .. })
    }

    /// Whether nothing that runs notices this step.
    pub fn is_harmless(&self) -> bool {
        matches!(
            self,
            Self::Pull { .. }
                | Self::FetchSource { .. }
                | Self::Build { .. }
                | Self::KeepImage { .. }
                | Self::CreateNetwork { .. }
                | Self::CreateVolume { .. }
                | Self::Create { .. }
                | Self::ReadMigrations { .. }
                | Self::ReadLosses { .. }
                | Self::SaveRows { .. }
                | Self::PutIn { .. }
                | Self::Look { .. }
                | Self::Backup { .. }
                | Self::VerifyBackup { .. }
                | Self::HandOn { .. }
                | Self::RestoreBeside { .. }
                | Self::DropRestored
                | Self::DropBeside { .. }
                | Self::CheckFile { .. }
                | Self::CompareFiles { .. }
                | Self::Signal { back: true, .. }
        )
    }

    /// Whether this step cannot be taken back: after it an operation only goes forward.
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Remove {
                target: Target::Existing(_)
            }
        )
    }

    /// What takes this step back, when it was started and whatever came of it. `None`: nothing has to.
    pub fn undo(&self) -> Option<Step> {
        Some(match self {
            Self::Create { service, number, .. } => Self::Remove {
                target: Target::New(service.clone(), *number),
            },
            Self::Quiesce { target, was } => Self::GiveRestart {
                target: target.clone(),
                policy: *was,
            },
            Self::Stop {
                target,
                service,
                grace,
                ran: true,
            } => Self::Start {
                target: target.clone(),
                service: service.clone(),
                grace: *grace,
            },
            Self::Detach { target, from } => Self::Attach {
                target: target.clone(),
                to: from.clone(),
            },
            Self::Attach { target, to } => Self::Detach {
                target: target.clone(),
                from: to.clone(),
            },
            Self::Rename { target, from, to } => Self::Rename {
                target: target.clone(),
                from: to.clone(),
                to: from.clone(),
            },
            Self::Start {
                target,
                service,
                grace,
            } => Self::Stop {
                target: target.clone(),
                service: service.clone(),
                grace: *grace,
                ran: false,
            },
            Self::CloseDatabase { .. } => Self::OpenDatabase,
            Self::RestoreBeside { .. } => Self::DropRestored,
            Self::TakePlace => Self::GiveBack,
            Self::Migrate { way, .. } if way.direction == Direction::Down => Self::PutBack,
            Self::ApplySql { .. } => Self::PutBack,
            Self::PutFiles { changes } => Self::PutFiles {
                changes: changes.iter().map(FileChange::back).collect(),
            },
            Self::Signal {
                target,
                service,
                signal,
                back: true,
            } => Self::Signal {
                target: target.clone(),
                service: service.clone(),
                signal: *signal,
                back: false,
            },
            Self::Pull { .. }
            | Self::FetchSource { .. }
            | Self::Build { .. }
            | Self::KeepImage { .. }
            | Self::ReleaseImages { .. }
            | Self::CreateNetwork { .. }
            | Self::CreateVolume { .. }
            // The one before the files were put sends it.
            | Self::Signal { .. }
            | Self::CompareFiles { .. }
            | Self::Stop { ran: false, .. }
            | Self::Await { .. }
            | Self::Watch { .. }
            | Self::GiveRestart { .. }
            | Self::Remove { .. }
            | Self::ReadMigrations { .. }
            | Self::ReadLosses { .. }
            | Self::SaveRows { .. }
            // What stands there again was there before.
            | Self::PutIn { .. }
            | Self::Look { .. }
            | Self::Backup { .. }
            | Self::VerifyBackup { .. }
            | Self::HandOn { .. }
            | Self::DropRestored
            | Self::GiveBack
            | Self::DropBeside { .. }
            | Self::CopyDatabase
            | Self::OpenDatabase
            // Old containers serve on what is newer; where they cannot, a rollback follows.
            | Self::Migrate { .. }
            | Self::PutBack
            | Self::CheckFile { .. } => return None,
        })
    }
}

/// Of a step that was written down without it.
const fn grace() -> Duration {
    GRACE
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pull { reference, .. } => write!(f, "pull {reference}"),
            Self::FetchSource { tags, .. } => {
                let names: Vec<&str> = tags.iter().map(Tag::as_str).collect();
                write!(f, "fetch {} from the repository", names.join(", "))
            }
            Self::Build {
                service,
                reference,
                commit,
                ..
            } => write!(
                f,
                "build {reference} for {service} from commit {}",
                commit.short()
            ),
            Self::KeepImage { image } => write!(f, "keep image {}", image.short()),
            Self::ReleaseImages { keep } => {
                write!(f, "let go of images that nobody needs ({} kept)", keep.len())
            }
            Self::CreateNetwork { name, .. } => write!(f, "create network {name}"),
            Self::CreateVolume { name, .. } => write!(f, "create volume {name}"),
            Self::Create {
                service,
                number,
                image,
                carried,
                ..
            } => {
                write!(f, "create {service}-{number} from {}", image.short())?;
                for volume in carried {
                    write!(f, ", taking over the volume at {}", volume.target)?;
                }
                Ok(())
            }
            Self::Quiesce { target, .. } => write!(f, "hold back the restart policy of {target}"),
            Self::Stop {
                service,
                target,
                grace,
                ..
            } => {
                write!(
                    f,
                    "stop {service} ({target}), by force after {} s",
                    grace.as_secs()
                )
            }
            Self::Detach { target, .. } => write!(f, "take {target} out of its networks"),
            Self::Attach { target, .. } => write!(f, "put {target} back into its networks"),
            Self::Rename { from, to, .. } => write!(f, "rename {from} to {to}"),
            Self::Start { service, target, .. } => write!(f, "start {service} ({target})"),
            Self::Await {
                service,
                until,
                within,
                ..
            } => {
                let until = match until {
                    Condition::Running => "runs",
                    Condition::Healthy => "is healthy",
                    Condition::Completed => "has completed",
                };
                write!(f, "wait until {service} {until}, at most {} s", within.as_secs())
            }
            Self::Watch { targets, span } => {
                write!(f, "watch {} new containers for {:?}", targets.len(), span)
            }
            Self::GiveRestart { target, policy } => {
                write!(f, "give {target} its restart policy ({policy:?})")
            }
            Self::Remove { target } => write!(f, "remove {target}"),
            other => other.fmt_about_files(f),
        }
    }
}

impl Step {
    fn fmt_about_files(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PutFiles { changes } => {
                let files: Vec<String> = changes.iter().map(ToString::to_string).collect();
                write!(f, "put {}", files.join(", "))
            }
            Self::Signal {
                service,
                target,
                signal,
                back,
            } => {
                let when = if *back { ", should this be taken back" } else { "" };
                write!(f, "send {signal} to {service} ({target}){when}")
            }
            Self::CompareFiles {
                service,
                target,
                files,
                ..
            } => {
                let names: Vec<&str> = files.keys().map(String::as_str).collect();
                write!(
                    f,
                    "see that {service} ({target}) has {} of the release",
                    names.join(", ")
                )
            }
            Self::CheckFile {
                path,
                service,
                image,
                command,
                ..
            } => write!(
                f,
                "check {} by `{}` in image {} of {service}",
                path.display(),
                command.join(" "),
                image.short()
            ),
            other => other.fmt_about_database(f),
        }
    }

    fn fmt_about_database(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReadMigrations { by, .. } => write!(
                f,
                "read the migrations in image {} of {}",
                by.image.short(),
                by.service
            ),
            Self::ReadLosses { by } => write!(
                f,
                "read what the migrations in image {} of {} would destroy on their way back",
                by.image.short(),
                by.service
            ),
            Self::SaveRows { of } => write!(
                f,
                "keep the rows that operation {of} has taken out of the database"
            ),
            Self::PutIn { of, .. } => write!(
                f,
                "put the rows back that operation {of} has taken out of the database"
            ),
            Self::Look { when, checks, counts } => {
                let of = match when {
                    When::Before => "before",
                    When::After => "after",
                    When::Restored => "of what is in use, and of what was restored",
                };
                let what = match (checks.is_empty(), counts) {
                    (false, true) => "ask the integrity checks and count the rows",
                    (false, false) => "ask the integrity checks",
                    (true, _) => "count the rows",
                };
                write!(f, "{what}, {of}")
            }
            Self::Backup { proof, copy } => {
                match copy {
                    None => f.write_str("back the database up")?,
                    Some(operation) => write!(f, "back up the copy that operation {operation} has made")?,
                }
                f.write_str(match proof {
                    Proof::Restore => ", and restore the backup to prove it",
                    Proof::List => ", and read the backup's table of contents",
                    Proof::None => "",
                })
            }
            Self::HandOn { command, within } => write!(
                f,
                "tell {} of the backup, at most {} s",
                command.first().map_or("nobody", String::as_str),
                within.as_secs()
            ),
            Self::VerifyBackup { backup, proof } => {
                let how = match proof {
                    Proof::Restore => "restore",
                    Proof::List | Proof::None => "read the table of contents of",
                };
                write!(f, "{how} the backup {backup}, to make sure of it")
            }
            Self::RestoreBeside { dump } => write!(f, "restore {dump} into a new database"),
            Self::DropRestored => f.write_str("drop what was restored"),
            Self::TakePlace => {
                f.write_str("give what was restored the database's name, and keep the old one")
            }
            Self::GiveBack => f.write_str("give the old database its name back"),
            Self::DropBeside { name } => write!(f, "drop the database {name}"),
            Self::CloseDatabase { .. } => f.write_str("bar the database, and see that nobody is in it"),
            Self::CopyDatabase => f.write_str("copy the database as it is"),
            Self::OpenDatabase => f.write_str("let connections to the database in again"),
            Self::Migrate { way, .. } => {
                write!(f, "{way}")?;
                if !way.revisions.is_empty() {
                    let names: Vec<&str> = way.revisions.iter().map(Revision::as_str).collect();
                    write!(f, " ({})", names.join(", "))?;
                }
                Ok(())
            }
            Self::ApplySql { parts, to, .. } => {
                let names: Vec<&str> = parts.iter().map(|part| part.revision.as_str()).collect();
                write!(
                    f,
                    "take the schema back to {} with the operator's SQL ({})",
                    head(to),
                    names.join(", ")
                )
            }
            Self::PutBack => f.write_str("put the copy of the database into its place"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
