//! Making sure of a backup: its file is what was written, and what it restores to is what was counted.

use std::time::Duration;

use config::settings::PgName;
use state::backup::BackupId;

use super::archive::Archive;
use super::deadline::{CLEAN, Deadline};
use super::manifest::{How, Manifest, Verified};
use super::restore::Reading;
use super::tools::Run;
use super::{BackupError, Source, Tell, digest, versions};
use crate::database::{Census, scratch_name};

/// At most so many differences are told.
const TOLD: usize = 5;

impl Archive {
    pub(super) async fn verify_one(
        &self,
        source: Source<'_>,
        id: &BackupId,
        how: How,
        tell: Tell<'_>,
        within: Duration,
    ) -> Result<Verified, BackupError> {
        let deadline = Deadline::new("verifying the backup", within);
        let _turn = self.turn(source.stack, deadline).await?;
        let mut manifest = self.store.get(source.stack, id)?;
        let found = self.look_into(source, &manifest, how, deadline, tell).await;
        if let Err(BackupError::Damaged { .. } | BackupError::Differs { .. }) = &found
            && manifest.verified.is_some()
        {
            // What it was once found to be, it is no more.
            manifest.verified = None;
            self.store.put(&manifest)?;
        }
        let (tables, rows) = found?;
        let verified = Verified {
            how,
            at: self.now(),
            took: deadline.took(),
            tables,
            rows,
        };
        let is_known_better = |known: &Verified| known.how == How::Restored && how == How::List;
        if !manifest.verified.as_ref().is_some_and(is_known_better) {
            manifest.verified = Some(verified.clone());
            self.store.put(&manifest)?;
        }
        Ok(verified)
    }

    /// The tables in it, and their rows where they are counted.
    async fn look_into(
        &self,
        source: Source<'_>,
        manifest: &Manifest,
        how: How,
        deadline: Deadline,
        tell: Tell<'_>,
    ) -> Result<(u64, Option<u64>), BackupError> {
        let id = &manifest.id;
        let path = self.store.dump(source.stack, id);
        digest::check(path, manifest, deadline, tell).await?;
        Ok(match how {
            How::List => (self.listed(source, manifest, deadline).await?, None),
            How::Restored => {
                let scratch = scratch_name(&manifest.database, id.operation());
                let restored = self.restored(source, manifest, &scratch, deadline, tell).await;
                if let Err(error) = self.server.drop_scratch(source.place, &scratch, CLEAN).await {
                    tracing::warn!(stack = %source.stack, %scratch, %error, "a database of ours is left");
                }
                let found = restored?;
                compare(manifest, &found)?;
                (found.tables.len() as u64, Some(found.tables.values().sum()))
            }
        })
    }

    /// The tables in its table of contents.
    async fn listed(
        &self,
        source: Source<'_>,
        manifest: &Manifest,
        deadline: Deadline,
    ) -> Result<u64, BackupError> {
        let made_by = versions::major(&manifest.made_by).unwrap_or(0);
        let tools = self.tools(source, made_by).await?;
        let client = source.place.client()?;
        let path = self.store.dump(source.stack, &manifest.id);
        let mut feed = digest::Feed::open(&path, manifest.bytes, &|_| {}).await?;
        let mut output = Vec::new();
        let run = Run {
            tool: "pg_restore",
            arguments: vec![String::from("--list")],
            database: None,
            input: Some(&mut feed),
            output: &mut output,
            within: deadline.left()?,
        };
        tools.run(&client, run).await?;
        let output = String::from_utf8_lossy(&output);
        let found = output.lines().filter(|line| is_data(line)).count();
        let counted = manifest.counted.tables.len();
        // An extension may have rows of its own in it, which are not counted.
        if found < counted {
            return Err(BackupError::Differs {
                id: manifest.id.clone(),
                what: vec![format!(
                    "it has the rows of {found} tables, and those of {counted} were counted"
                )],
            });
        }
        Ok(found as u64)
    }

    /// Restores it into `scratch`, and counts what is in there then.
    async fn restored(
        &self,
        source: Source<'_>,
        manifest: &Manifest,
        scratch: &PgName,
        deadline: Deadline,
        tell: Tell<'_>,
    ) -> Result<Census, BackupError> {
        let operation = manifest.id.operation();
        self.server
            .make_scratch(source.place, scratch, operation, deadline.left()?)
            .await?;
        let reading = Reading {
            path: &self.store.dump(source.stack, &manifest.id),
            bytes: manifest.bytes,
            format: manifest.format,
            tell,
        };
        let made_by = versions::major(&manifest.made_by);
        self.fill(source, &reading, scratch, made_by, deadline).await
    }
}

/// `215; 0 16386 TABLE DATA public customers app`.
fn is_data(line: &str) -> bool {
    let kind = line.split_once("; ").map(|(_, rest)| rest.splitn(3, ' '));
    !line.starts_with(';')
        && kind
            .and_then(|mut words| words.nth(2))
            .is_some_and(|rest| rest.starts_with("TABLE DATA "))
}

/// An error where they are not the same.
pub(super) fn compare(manifest: &Manifest, found: &Census) -> Result<(), BackupError> {
    let counted = &manifest.counted;
    let mut what = Vec::new();
    for (table, rows) in &counted.tables {
        match found.tables.get(table) {
            None => what.push(format!("{table} is missing")),
            Some(found) if found != rows => {
                what.push(format!("{table} has {found} rows, and {rows} were counted"));
            }
            Some(_) => {}
        }
    }
    let more = found
        .tables
        .keys()
        .filter(|table| !counted.tables.contains_key(*table));
    what.extend(more.map(|table| format!("{table} was not there")));
    if found.large_objects != counted.large_objects {
        what.push(format!(
            "it has {} large objects, and {} were counted",
            found.large_objects, counted.large_objects
        ));
    }
    if found.head != counted.head {
        what.push(String::from("the version table says something else"));
    }
    if what.is_empty() {
        return Ok(());
    }
    let more = what.len().saturating_sub(TOLD);
    what.truncate(TOLD);
    what.extend((more > 0).then(|| format!("and {more} more")));
    let id = manifest.id.clone();
    Err(BackupError::Differs { id, what })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use state::observed::SchemaHead;

    use super::super::manifest::tests::sample;
    use super::*;

    #[test]
    fn rows_are_told_from_other_entries() {
        for (line, expected) in [
            ("215; 0 16386 TABLE DATA public customers app", true),
            ("3421; 0 16386 TABLE DATA odd \"one Orders app", true),
            ("216; 1259 16387 TABLE public TABLE DATA app", false),
            ("3350; 0 16390 MATERIALIZED VIEW DATA public sums app", false),
            ("3351; 0 0 SEQUENCE SET public customers_id_seq app", false),
            (";     TOC Entries: 12; 0 0 TABLE DATA", false),
            ("", false),
        ] {
            assert_eq!(is_data(line), expected, "{line}");
        }
    }

    #[test]
    fn every_difference_counts() {
        let manifest = sample(7, 0);
        compare(&manifest, &manifest.counted).unwrap();
        let check = |change: &dyn Fn(&mut Census), expected: &str| {
            let mut found = manifest.counted.clone();
            change(&mut found);
            let said = compare(&manifest, &found).unwrap_err().to_string();
            assert_eq!(
                said,
                format!("the backup 20261126T191500Z-7 is not what was dumped: {expected}")
            );
        };
        check(
            &|found| found.tables.extend([(String::from("public.customers"), 499)]),
            "public.customers has 499 rows, and 500 were counted",
        );
        check(
            &|found| found.tables.retain(|table, _| table != "public.customers"),
            "public.customers is missing",
        );
        check(
            &|found| found.tables.extend([(String::from("public.more"), 0)]),
            "public.more was not there",
        );
        check(
            &|found| found.large_objects = 0,
            "it has 0 large objects, and 2 were counted",
        );
        check(
            &|found| found.head = SchemaHead::NoTable,
            "the version table says something else",
        );
        let many = |found: &mut Census| {
            found.tables = (0..9).map(|at| (format!("t{at}"), 0)).collect();
        };
        let said = compare(&manifest, &{
            let mut found = manifest.counted.clone();
            many(&mut found);
            found
        })
        .unwrap_err()
        .to_string();
        assert!(said.ends_with("; and 7 more"), "{said}");
    }
}
