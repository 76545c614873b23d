//! `[stack.NAME.database.backup]`: when backups are made by themselves, how they are made sure of, how long they stay,
//! and who takes them off the host.

use std::time::Duration;

use state::backup::Proof;

use crate::fragment::{Fault, Item, Table};
use crate::validate::{choice, count, duration, parse_duration, show_duration, text};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// `[stack.NAME.database.backup]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupSettings {
    /// `schedule`. Default: none is made by itself.
    pub schedule: Option<Schedule>,
    /// `verify`: how one that is made by itself is made sure of. Default: by restoring it.
    pub verify: Proof,
    /// `keep`: so many of the newest stay. Default 10.
    pub keep: u32,
    /// `max_age`: what is not older stays too. Default seven days.
    pub max_age: Duration,
    /// `after_backup` and `after_backup_timeout`; `None`: nobody is told.
    pub after: Option<AfterBackup>,
}

/// When backups are made by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schedule {
    /// `"6h"`: so long after the one before was begun.
    Every(Duration),
    /// `"daily 03:00"`, by the clock on the host's wall.
    Daily {
        /// 0 to 23.
        hour: i8,
        /// 0 to 59.
        minute: i8,
    },
}

/// A command of the operator's that takes a backup further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AfterBackup {
    /// The program and its first arguments; the paths of the dump and of its manifest follow.
    pub command: Vec<String>,
    /// How long it may take. Default one hour.
    pub within: Duration,
}

pub(super) fn read(mut table: Table<'_>) -> BackupSettings {
    let verify = [
        ("restore", Proof::Restore),
        ("list", Proof::List),
        ("off", Proof::None),
    ];
    let command = table.list("after_backup", |item| text(item).map(str::to_owned));
    let within = table.get("after_backup_timeout", duration(Duration::from_secs(1), DAY));
    if command.as_ref().is_some_and(Vec::is_empty) {
        let fault = Fault::new("there is no program");
        let hint = "write after_backup = [\"/usr/local/bin/take-away\"], or take it out";
        table.fault_at("after_backup", fault.hint(hint));
    }
    if within.is_some() && !table.has("after_backup") {
        let fault = Fault::new("\"after_backup_timeout\" without a command");
        table.fault_at(
            "after_backup_timeout",
            fault.hint("add after_backup = [\"…\"], or take it out"),
        );
    }
    let settings = BackupSettings {
        schedule: table.get("schedule", schedule),
        verify: table.get("verify", choice(&verify)).unwrap_or_default(),
        keep: table.get("keep", count(1, 1000)).unwrap_or(10),
        max_age: table
            .get("max_age", duration(Duration::ZERO, DAY * 3660))
            .unwrap_or(DAY * 7),
        after: command.map(|command| AfterBackup {
            command,
            within: within.unwrap_or(Duration::from_secs(60 * 60)),
        }),
    };
    table.finish();
    settings
}

/// `"daily 03:00"` or an interval.
fn schedule(item: &Item<'_>) -> Result<Schedule, Fault> {
    const SPANS: (Duration, Duration) = (
        Duration::from_secs(10 * 60),
        Duration::from_secs(30 * 24 * 60 * 60),
    );
    let written = text(item)?;
    let unknown = || {
        let fault = Fault::new(format!("{} is no schedule", item.written()));
        fault.hint("write it as \"daily 03:00\", by the host's clock, or as an interval: \"6h\"")
    };
    if let Some(time) = written.strip_prefix("daily ") {
        let (hour, minute) = time.split_once(':').ok_or_else(unknown)?;
        let number = |text: &str, most: i8| {
            let two = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|number| two && *number <= most)
        };
        let (hour, minute) = number(hour, 23).zip(number(minute, 59)).ok_or_else(unknown)?;
        return Ok(Schedule::Daily { hour, minute });
    }
    let every = parse_duration(written).map_err(|_| unknown())?;
    if !(SPANS.0..=SPANS.1).contains(&every) {
        let (least, most) = (show_duration(SPANS.0), show_duration(SPANS.1));
        let fault = Fault::new(format!("{} is out of range", item.written()));
        return Err(fault.hint(format!("it can be \"{least}\" to \"{most}\"")));
    }
    Ok(Schedule::Every(every))
}
