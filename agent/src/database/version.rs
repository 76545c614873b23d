//! What the database is asked about where its schema stands, in SQL. Which tool it is nobody asks here.

use config::settings::MigrationSettings;
use state::migration_tool::{Forget, TABLE};
use state::name::Revision;
use state::observed::SchemaHead;

use super::link::{literal, quoted};

/// One column of text, a row for each revision.
pub(super) fn rows(migrations: &MigrationSettings) -> String {
    let query = migrations.version.query.replace(TABLE, &table(migrations));
    // A line end before the bracket: the query may end in a comment.
    format!("SELECT q.revision::text FROM ({query}\n) AS q (revision) WHERE q.revision IS NOT NULL")
}

/// Asks whether the version table is missing, where the query that gives the revisions names it. `None`: it does not, and what
/// is missing where a table is missing is another one.
pub(super) fn is_missing(migrations: &MigrationSettings) -> Option<String> {
    let query = migrations.version.query.to_lowercase();
    let name = migrations.version_table.as_str().to_lowercase();
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    let named = query.split(|c: char| !is_part(c)).any(|word| word == name);
    (named || query.contains(TABLE)).then(|| {
        format!(
            "SELECT pg_catalog.to_regclass({}) IS NULL",
            literal(&table(migrations))
        )
    })
}

/// Where the tool writes how far it is.
pub(super) fn table(migrations: &MigrationSettings) -> String {
    format!(
        "{}.{}",
        quoted(migrations.schema.as_str()),
        quoted(migrations.version_table.as_str())
    )
}

/// What makes the table say that the schema was taken back to `to`, over all that is in `taken`. `None`: nobody here knows.
pub(super) fn taken_back(
    migrations: &MigrationSettings,
    taken: &[&Revision],
    to: &SchemaHead,
) -> Option<String> {
    let table = table(migrations);
    let list = |revisions: &mut dyn Iterator<Item = &Revision>| -> Vec<String> {
        revisions.map(|revision| literal(revision.as_str())).collect()
    };
    match (migrations.version.forget, to) {
        (Forget::Nothing, _) => None,
        (Forget::Rewrite(_), SchemaHead::NoTable) => Some(format!("DROP TABLE IF EXISTS {table}")),
        (Forget::Rewrite(column), SchemaHead::At(heads)) => {
            let rows = list(&mut heads.iter());
            let insert = format!("INSERT INTO {table} ({column}) VALUES ({})", rows.join("), ("));
            let insert = if rows.is_empty() { String::new() } else { insert };
            Some(format!("DELETE FROM {table}; {insert}"))
        }
        (Forget::Delete(revision), _) => {
            let rows = list(&mut taken.iter().copied()).join(", ");
            Some(format!("DELETE FROM {table} WHERE {revision} IN ({rows})"))
        }
    }
}
