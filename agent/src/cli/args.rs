//! The arguments of every command, and the help that teaches them. No behaviour in here.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use state::backup::{BackupId, Proof};
use state::desired::{EnvWish, MigrationWish};
use state::name::{AskId, ServiceName, StackName, Tag};

use super::help;

mod env;
mod init;
mod release;

pub(super) use env::{EnvCommand, Of};
pub(super) use init::Init;
pub(super) use release::{ReleaseCommand, RevertFile};

/// Keeps Docker Compose stacks at the release that was asked for, and takes them back when it fails.
#[derive(Debug, Parser)]
#[command(name = "steadfast", version, arg_required_else_help = true, after_help = help::PROGRAM)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) common: Common,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub(super) struct Common {
    /// The settings: agent and stacks
    #[arg(
        long,
        global = true,
        help_heading = "Everywhere",
        value_name = "FILE",
        default_value = "/etc/steadfast/steadfast.toml"
    )]
    pub(super) config: PathBuf,
    /// The daemon's socket, instead of the one in the settings
    #[arg(long, global = true, help_heading = "Everywhere", value_name = "FILE")]
    pub(super) socket: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the daemon: keep every stack at what desired.toml asks for, until SIGTERM
    #[command(after_help = help::RUN)]
    Run,
    /// Say all that is wrong with steadfast.toml, desired.toml and the Compose files
    #[command(after_help = help::CHECK)]
    Check {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Write the files for what runs on this host already: steadfast.toml, desired.toml, the unit's drop-in
    #[command(after_help = help::INIT)]
    Init(Init),
    /// Show what would be done next, and why
    #[command(after_help = help::PLAN)]
    Plan {
        /// The stack; all of them when left out
        stack: Option<StackName>,
        /// Show every step too, in order
        #[arg(long, conflicts_with = "json")]
        steps: bool,
        /// Print JSON, always with the steps
        #[arg(long)]
        json: bool,
    },
    /// Show how a stack is: what runs, what was asked for, why they differ, what comes next
    #[command(after_help = help::STATUS)]
    Status {
        /// The stack; all of them when left out
        stack: Option<StackName>,
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Exit with how the stack is (see `steadfast --help`); the worst one where there are several
        #[arg(long)]
        exit_code: bool,
    },
    /// Watch a stack live: its health, the countdown to a rollback, each step, the log
    #[command(after_help = help::WATCH)]
    Watch {
        /// The stack that is shown first; every other one is a key away
        stack: Option<StackName>,
    },
    /// List the generations of a stack, with their verdicts
    #[command(after_help = help::HISTORY)]
    History {
        /// The stack
        stack: StackName,
        /// Show operations and their steps instead
        #[arg(long)]
        operations: bool,
        /// Show instead what persons have done, and who was refused
        #[arg(long, conflicts_with = "operations")]
        acts: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Ask for a release: write it into desired.toml, which the daemon watches
    #[command(after_help = help::PIN)]
    Pin(Pin),
    /// Try again what was asked for, although it failed
    #[command(after_help = help::RETRY)]
    Retry(Following),
    /// Leave the present release for the last good one
    #[command(after_help = help::ROLLBACK)]
    Rollback {
        #[command(flatten)]
        order: Following,
        /// You have looked: the schema fits what is gone back to. Counts where the daemon cannot know,
        /// not where it sees that the schema differs
        #[arg(long)]
        schema_fits: bool,
    },
    /// Keep hands off a stack, for working on it by hand
    #[command(after_help = help::PAUSE)]
    Pause {
        /// The stack
        stack: StackName,
        /// For how long: 30m, 2h, 1d12h
        #[arg(long = "for", value_name = "SPAN", value_parser = span)]
        span: Duration,
        /// Why; it goes into the record
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Do not ask; where standard input is no terminal (scripts) nobody is asked, and it is done
        #[arg(long, short)]
        yes: bool,
    },
    /// End a pause
    #[command(after_help = help::RESUME)]
    Resume {
        /// The stack
        stack: StackName,
        /// Why; it goes into the record
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Do not ask; where standard input is no terminal (scripts) nobody is asked, and it is done
        #[arg(long, short)]
        yes: bool,
    },
    /// Agree to what the daemon asks
    #[command(after_help = help::APPROVE)]
    Approve {
        #[command(flatten)]
        order: Following,
        #[command(flatten)]
        meant: Meant,
    },
    /// Refuse what the daemon asks
    #[command(after_help = help::DENY)]
    Deny {
        /// The stack
        stack: StackName,
        /// Why; it goes into the record
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Do not ask; where standard input is no terminal (scripts) nobody is asked, and it is done
        #[arg(long, short)]
        yes: bool,
        #[command(flatten)]
        meant: Meant,
    },
    /// Back the database up now, list the backups, or make sure of one
    #[command(
        after_help = help::BACKUP,
        args_conflicts_with_subcommands = true,
        subcommand_negates_reqs = true
    )]
    Backup {
        #[command(subcommand)]
        command: Option<BackupCommand>,
        #[command(flatten)]
        make: MakeBackup,
    },
    /// What rollbacks have taken out of the database and is kept: list it, put it back, drop it
    #[command(subcommand, after_help = help::ROWS)]
    Rows(RowsCommand),
    /// The versions of .env that are kept: list them, show one, compare two, put one back, bring one
    #[command(subcommand, after_help = help::ENV)]
    Env(EnvCommand),
    /// Put a backup, or a dump of your own, into the database's place; the database as it was is kept
    #[command(after_help = help::RESTORE)]
    Restore(Restore),
    /// Releases from a Git repository: what there are, and branches to go on from
    #[command(subcommand, after_help = help::RELEASE)]
    Release(ReleaseCommand),
    /// Show all of it on a stack of its own: a release turns bad, and is taken back
    #[command(after_help = help::DEMO)]
    Demo(crate::demo::Args),
    /// Print what makes a shell complete the words of these commands
    #[command(after_help = help::COMPLETIONS)]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write the manual pages of all commands into a directory
    #[command(hide = true, after_help = help::MAN)]
    Man {
        /// The directory; it is made where there is none
        directory: PathBuf,
    },
}

/// A shell that can be taught to complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// What is asked about backups that are there.
#[derive(Debug, Subcommand)]
pub(super) enum BackupCommand {
    /// List the backups of a stack: when, why, how large, made sure of or not, and what needs them
    #[command(after_help = help::BACKUP_LIST)]
    List {
        /// The stack
        stack: StackName,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Drop a database that was left beside the stack's own
    #[command(after_help = help::BACKUP_DROP)]
    Drop {
        /// The stack
        stack: StackName,
        /// Its name, as `steadfast status` shows it
        name: String,
        /// Do not ask; where standard input is no terminal (scripts) nobody is asked, and it is done
        #[arg(long, short)]
        yes: bool,
        /// Why; it goes into the record
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        #[command(flatten)]
        follow: Follow,
    },
    /// Make sure of a backup that is there: its file is what was written, and what it restores to is what was counted
    #[command(after_help = help::BACKUP_VERIFY)]
    Verify {
        /// The stack
        stack: StackName,
        /// The backup, as `backup list` shows it
        #[arg(value_parser = super::backup::id)]
        id: BackupId,
        /// Read its table of contents only: takes a moment, and says nothing about the rows
        #[arg(long)]
        list: bool,
        /// Why; it goes into the record
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        #[command(flatten)]
        follow: Follow,
        /// Print JSON
        #[arg(long, conflicts_with = "no_wait")]
        json: bool,
    },
}

/// What is asked about rows that are kept.
#[derive(Debug, Subcommand)]
pub(super) enum RowsCommand {
    /// List what is kept, and what became of it
    #[command(after_help = help::ROWS_LIST)]
    List {
        /// The stack
        stack: StackName,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Put back what has its place again; what has none yet goes on waiting
    #[command(after_help = help::ROWS_PUT_IN)]
    PutIn {
        /// The stack
        stack: StackName,
        /// The rollback that has taken it out, as `rows list` shows it
        operation: u64,
        /// Why; it goes into the record
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        #[command(flatten)]
        follow: Follow,
    },
    /// Drop what is kept; it cannot be had back
    #[command(after_help = help::ROWS_DROP)]
    Drop {
        /// The stack
        stack: StackName,
        /// The rollback that has taken it out, as `rows list` shows it
        operation: u64,
        /// Do not ask; where standard input is no terminal (scripts) nobody is asked, and it is done
        #[arg(long, short)]
        yes: bool,
        /// Why; it goes into the record
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

/// A backup, or a file, that is to take the database's place.
#[derive(Debug, Args)]
pub(super) struct Restore {
    /// The stack
    pub(super) stack: StackName,
    /// A backup, as `backup list` shows it; or a file: of `pg_dump`'s custom format, or SQL as `pg_dump` writes it
    #[arg(value_name = "BACKUP|FILE")]
    pub(super) dump: String,
    /// Do not ask; where standard input is no terminal (scripts) nobody is asked, and it is done
    #[arg(long, short)]
    pub(super) yes: bool,
    /// Why; it goes into the record
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
    #[command(flatten)]
    pub(super) follow: Follow,
    /// Print JSON
    #[arg(long, conflicts_with = "no_wait")]
    pub(super) json: bool,
}

/// A backup that is made now.
#[derive(Debug, Args)]
pub(super) struct MakeBackup {
    /// The stack
    #[arg(required = true)]
    pub(super) stack: Option<StackName>,
    #[command(flatten)]
    pub(super) proof: ProofArgs,
    /// Why; it goes into the record
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
    #[command(flatten)]
    pub(super) follow: Follow,
    /// Print JSON
    #[arg(long, conflicts_with = "no_wait")]
    pub(super) json: bool,
}

/// How one makes sure of a backup.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct ProofArgs {
    /// How to make sure of it: restore it into a database beside and count, or read its table of contents
    #[arg(long, value_name = "HOW", default_value = "restore")]
    verify: Verify,
    /// Do not make sure of it
    #[arg(long, conflicts_with = "verify")]
    no_verify: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Verify {
    Restore,
    List,
}

impl From<ProofArgs> for Proof {
    fn from(args: ProofArgs) -> Self {
        match args.verify {
            _ if args.no_verify => Self::None,
            Verify::Restore => Self::Restore,
            Verify::List => Self::List,
        }
    }
}

/// What is followed to its end unless somebody says otherwise.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Follow {
    /// Do not wait for its end
    #[arg(long)]
    pub(super) no_wait: bool,
    /// Wait no longer than this; it goes on all the same
    #[arg(long, value_name = "SPAN", value_parser = span, default_value = "24h", conflicts_with = "no_wait")]
    pub(super) timeout: Duration,
}

/// An act whose end can be waited for.
#[derive(Debug, Args)]
pub(super) struct Following {
    /// The stack
    pub(super) stack: StackName,
    /// Why; it goes into the record
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
    /// Do not ask; where standard input is no terminal (scripts) nobody is asked, and it is done
    #[arg(long, short)]
    pub(super) yes: bool,
    #[command(flatten)]
    pub(super) wait: Wait,
}

/// Which question is answered.
#[derive(Debug, Args)]
pub(super) struct Meant {
    /// The id of the question that you read, from `steadfast status`: where another one is asked by
    /// now, the answer is refused. Left out: the one that is asked now
    #[arg(long, value_name = "ID")]
    pub(super) ask: Option<AskId>,
}

/// Whether, and for how long, the end is waited for.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Wait {
    /// Follow it to its end; the exit code says how it ended
    #[arg(long)]
    pub(super) wait: bool,
    /// Wait no longer than this
    #[arg(long, value_name = "SPAN", value_parser = span, default_value = "1h", requires = "wait")]
    pub(super) timeout: Duration,
}

/// What to ask for.
#[derive(Debug, Args)]
pub(super) struct Pin {
    /// The stack
    pub(super) stack: StackName,
    /// The tag
    pub(super) tag: Tag,
    /// Pin this service alone; the stack keeps its tag
    #[arg(long, value_name = "SERVICE")]
    pub(super) service: Option<ServiceName>,
    /// Let this service follow the stack's tag again; may be given several times
    #[arg(long, value_name = "SERVICE", conflicts_with = "service")]
    pub(super) unpin: Vec<ServiceName>,
    /// Where the schema should stand: head, a revision, or `release` for what the release brings
    #[arg(long, value_name = "REVISION", value_parser = migration)]
    pub(super) migration: Option<MigrationWish>,
    /// Which env file: current, sha256:…, or the short id from `steadfast history`
    #[arg(long, value_name = "ENV", value_parser = env)]
    pub(super) env: Option<EnvWish>,
    #[command(flatten)]
    pub(super) wait: Wait,
}

fn migration(text: &str) -> Result<MigrationWish, String> {
    match text {
        "release" => Ok(MigrationWish::Release),
        "head" => Ok(MigrationWish::Head),
        "heads" => Err("write head: it means all of them".into()),
        "base" => Err("it would undo every migration".into()),
        _ => text
            .parse()
            .map(MigrationWish::Revision)
            .map_err(|error| format!("{error}")),
    }
}

fn env(text: &str) -> Result<EnvWish, String> {
    if text == "current" {
        return Ok(EnvWish::Current);
    }
    let wish = match text.strip_prefix("sha256:") {
        Some(digest) => digest.parse().map(EnvWish::Sha256),
        None => text.parse().map(EnvWish::Short),
    };
    wish.map_err(|error| format!("{error}; write current, sha256:… or a short id"))
}

/// As durations are written in the settings.
fn span(text: &str) -> Result<Duration, String> {
    config::parse_duration(text).map_err(|rule| format!("{rule}; write 30m, 2h or 1d12h"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_do_not_contradict_each_other() {
        Arguments::command().debug_assert();
    }

    #[track_caller]
    fn check(line: &str, valid: bool) {
        let parsed = Arguments::try_parse_from(line.split(' '));
        assert_eq!(parsed.is_ok(), valid, "{line}: {parsed:?}");
    }

    /// The examples of a command: what stands there to be typed, without the words beside it.
    fn examples(help: &str) -> Vec<&str> {
        let lines = help.lines().filter_map(|line| line.strip_prefix("  "));
        let typed = lines.filter(|line| line.starts_with("steadfast "));
        typed
            .map(|line| line.split("    ").next().unwrap_or(line).trim())
            .collect()
    }

    /// As a shell would, where only single quotes occur.
    fn words(line: &str) -> Vec<String> {
        let mut words = Vec::new();
        for (i, part) in line.split('\'').enumerate() {
            if i % 2 == 0 {
                words.extend(part.split_whitespace().map(str::to_owned));
            } else {
                words.push(part.to_owned());
            }
        }
        words
    }

    #[test]
    fn every_command_teaches_by_examples_that_work() {
        let mut program = Arguments::command();
        program.build();
        // What help itself is made of has none.
        let ours = |command: &&clap::Command| command.get_name() != "help";
        let all = program.get_subcommands().filter(ours);
        let all =
            all.flat_map(|command| std::iter::once(command).chain(command.get_subcommands().filter(ours)));
        for command in all {
            let name = command.get_name();
            let help = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            for part in ["Examples:\n", "\nTouches: ", "\nExit codes:\n  0 "] {
                assert!(help.contains(part), "{name} lacks {part:?}");
            }
            let examples = examples(&help);
            assert!(
                examples.iter().any(|line| line.contains(name)),
                "{name}: {examples:?}"
            );
            for line in examples {
                let parsed = Arguments::try_parse_from(words(line));
                assert!(parsed.is_ok(), "{line}: {parsed:?}");
            }
        }
        for line in examples(help::PROGRAM) {
            assert!(Arguments::try_parse_from(words(line)).is_ok(), "{line}");
        }
    }

    #[test]
    fn no_help_is_wider_than_a_page() {
        let mut program = Arguments::command();
        program.build();
        let texts = program.get_subcommands().filter_map(|c| c.get_after_help());
        for text in texts.map(ToString::to_string).chain([help::PROGRAM.to_owned()]) {
            for line in text.lines() {
                assert!(line.chars().count() <= 80, "{line}");
            }
        }
    }

    #[test]
    fn what_is_accepted_and_what_is_not() {
        check("steadfast status", true);
        check("steadfast status shop --config /x.toml", true);
        check("steadfast status Shop", false);
        check("steadfast watch", true);
        check("steadfast watch shop", true);
        check("steadfast watch shop --json", false);
        check("steadfast plan shop --steps", true);
        check("steadfast plan --steps --json", false);
        check("steadfast pin shop v1.6.0 --wait --timeout 10m", true);
        check("steadfast pin shop v1.6.0 --timeout 10m", false);
        check("steadfast pin shop", false);
        check("steadfast pin shop v1 --unpin web --unpin api", true);
        check("steadfast pin shop v1 --unpin web --service web", false);
        check("steadfast pin shop v1 --migration base", false);
        check("steadfast pin shop v1 --migration 7c1f --env current", true);
        check("steadfast pin shop v1 --env sha256:12", false);
        check("steadfast pause shop --for 2h --reason x", true);
        check("steadfast pause shop --for 2h --reason x -y", true);
        check("steadfast retry shop --yes --wait", true);
        check("steadfast resume shop -y", true);
        check("steadfast deny shop --yes", true);
        check("steadfast pause shop --for 2h", false);
        check("steadfast pause shop --for 2 --reason x", false);
        check("steadfast rollback shop -y --reason x", true);
        check("steadfast rollback shop --schema-fits", true);
        check("steadfast approve shop --ask 0b6f4e03b952 --wait -y", true);
        check("steadfast deny shop --ask 0b6f", false);
        check("steadfast backup shop", true);
        check("steadfast backup shop --verify list --json", true);
        check("steadfast backup shop --no-verify --no-wait", true);
        check("steadfast backup shop --no-verify --verify list", false);
        check("steadfast backup shop --json --no-wait", false);
        check("steadfast backup", false);
        check("steadfast backup list", false);
        check("steadfast backup list shop --json", true);
        check("steadfast backup verify shop 20261126T191500Z-7 --list", true);
        check("steadfast backup verify shop yesterday", false);
        check("steadfast backup drop shop shop_before_20261126T191500Z -y", true);
        check("steadfast restore shop 20261126T191500Z-7 --yes", true);
        check("steadfast restore shop backup.sql --no-wait", true);
        check("steadfast restore shop", false);
        check("steadfast rows list shop --json", true);
        check("steadfast rows put-in shop 12 --no-wait", true);
        check("steadfast rows drop shop 12 --yes --reason x", true);
        check("steadfast rows put-in shop 12 --reason x", true);
        check("steadfast history shop --acts --json", true);
        check("steadfast history shop --acts --operations", false);
        check("steadfast rows drop shop", false);
        check("steadfast rows put-in shop all", false);
        check("steadfast env list shop --json", true);
        check("steadfast env list", false);
        check("steadfast env show shop", true);
        check("steadfast env show shop 0b6f4e03 --reveal --file api.env", true);
        check("steadfast env show shop --reveal --reason x", true);
        check("steadfast env show shop --reason x", false);
        check("steadfast env show shop latest", false);
        check("steadfast env diff shop 0b6f4e03b952 93aa1c77d0e2 --json", true);
        check("steadfast env diff shop", false);
        check(
            "steadfast env restore shop 0b6f4e03b952 -y --wait --timeout 10m",
            true,
        );
        check("steadfast env restore shop 0b6f4e03b952 --timeout 10m", false);
        check("steadfast env restore shop", false);
        check("steadfast env import shop .env.backup.20251109", true);
        check("steadfast env import shop", false);
        check("steadfast backup verify shop", false);
        check("steadfast init", true);
        check("steadfast init --project shop --project web --dry-run", true);
        check(
            "steadfast init /srv/shop --file prod.yml --output-dir . --json",
            true,
        );
        check("steadfast init --file prod.yml", false);
        check("steadfast init --project Shop", false);
        check("steadfast init --engine tcp://docker", false);
        check("steadfast init --print --force", false);
        check("steadfast completions zsh", true);
        check("steadfast completions csh", false);
        check("steadfast completions", false);
        check("steadfast man", false);
    }

    #[test]
    fn what_is_accepted_about_releases() {
        check("steadfast release", false);
        check("steadfast release list shop --json", true);
        check("steadfast release list", false);
        check("steadfast release branch shop", true);
        check("steadfast release branch shop v1.4.0 --push --reason x", true);
        check("steadfast release branch shop v1/4", false);
        check("steadfast release hotfix shop checkout --push", true);
        check("steadfast release hotfix shop", false);
        check("steadfast release revert-file shop backend/a.py", true);
        check(
            "steadfast release revert-file shop a.py --onto main --to rollback/a --push",
            true,
        );
        check("steadfast release revert-file shop a.py --onto ..", false);
        check("steadfast release revert-file shop", false);
    }
}
