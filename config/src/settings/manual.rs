//! `[stack.NAME.database.manual."REVISION"]`: what the operator says of one revision: SQL which takes it back where the tool
//! cannot, and whether a rollback leaves it where it is.

use std::collections::BTreeMap;
use std::path::Path;

use state::instead::{LONGEST, ManualSql};
use state::kept_schema::RollbackSchema;
use state::name::Revision;

use crate::fragment::{Fault, Item, Table};
use crate::read::read_regular;
use crate::sql::in_one_transaction;
use crate::validate::{choice, path_in};

/// What is said of revisions.
#[derive(Default)]
pub(super) struct Manual {
    /// The SQL, of every one that has some.
    pub(super) sql: BTreeMap<Revision, ManualSql>,
    /// What a rollback does with it.
    pub(super) declared: BTreeMap<Revision, RollbackSchema>,
}

/// `rollback_schema`: of the whole, and of one revision.
pub(super) fn rollback_schema(table: &mut Table<'_>) -> Option<RollbackSchema> {
    let words = [
        ("downgrade", RollbackSchema::Downgrade),
        ("keep", RollbackSchema::Keep),
        ("ask", RollbackSchema::Ask),
    ];
    table.get("rollback_schema", choice(&words))
}

/// Of every revision that has some.
pub(super) fn read(table: &Table<'_>, directory: &Path) -> Manual {
    let mut manual = Manual::default();
    for (revision, mut table) in table.named_tables::<Revision>() {
        if let Some(declared) = rollback_schema(&mut table) {
            manual.declared.insert(revision.clone(), declared);
        }
        if let Some(sql) = read_one(table, directory) {
            manual.sql.insert(revision, sql);
        }
    }
    manual
}

fn read_one(mut table: Table<'_>, directory: &Path) -> Option<ManualSql> {
    let here = table.get("downgrade", |item| checked(item.text()?.to_owned(), ""));
    let file = table.get("downgrade_file", |item| from_file(item, directory));
    if table.has("downgrade") && table.has("downgrade_file") {
        let fault = Fault::new("both \"downgrade\" and \"downgrade_file\"");
        table.fault_at("downgrade_file", fault.hint("keep one of the two"));
    } else if !["downgrade", "downgrade_file", "rollback_schema"]
        .iter()
        .any(|key| table.has(key))
    {
        let fault = Fault::new("nothing says how this revision is taken back");
        let hint = "add downgrade = \"ALTER TABLE …\", or downgrade_file = \"down.sql\", or rollback_schema = \"keep\"";
        table.fault(fault.hint(hint));
    }
    table.finish();
    here.or(file)
}

fn from_file(item: &Item<'_>, directory: &Path) -> Result<ManualSql, Fault> {
    let path = path_in(directory)(item)?;
    let bytes = read_regular(&path, LONGEST as u64)
        .map_err(|error| Fault::new(error.to_string()).hint("name a file of SQL that the daemon may read"))?;
    let of = format!("{}: ", path.display());
    let text = String::from_utf8(bytes);
    checked(
        text.map_err(|_| Fault::new(format!("{of}it is no UTF-8 text")))?,
        &of,
    )
}

/// `of`: where the SQL is, when not here. What is in it is not repeated: it may be a value.
fn checked(text: String, of: &str) -> Result<ManualSql, Fault> {
    const HINT: &str = "write statements that can be run one after the other, without BEGIN and COMMIT";
    let sql = ManualSql::try_from(text).map_err(|error| Fault::new(format!("{of}{error}")).hint(HINT))?;
    match in_one_transaction(sql.as_str()) {
        Ok(_) => Ok(sql),
        Err(error) => Err(Fault::new(format!("{of}{error}")).hint(HINT)),
    }
}
