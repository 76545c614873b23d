//! `[stack.NAME.database.manual."REVISION"]`: the operator's own SQL, which takes one revision back where the tool cannot.

use std::collections::BTreeMap;
use std::path::Path;

use state::instead::{LONGEST, ManualSql};
use state::name::Revision;

use crate::fragment::{Fault, Item, Table};
use crate::read::read_regular;
use crate::sql::in_one_transaction;
use crate::validate::path_in;

/// Of every revision that has some.
pub(super) fn read(table: &Table<'_>, directory: &Path) -> BTreeMap<Revision, ManualSql> {
    let revisions = table.named_tables::<Revision>().into_iter();
    revisions
        .filter_map(|(revision, table)| Some((revision, read_one(table, directory)?)))
        .collect()
}

fn read_one(mut table: Table<'_>, directory: &Path) -> Option<ManualSql> {
    let here = table.get("downgrade", |item| checked(item.text()?.to_owned(), ""));
    let file = table.get("downgrade_file", |item| from_file(item, directory));
    if table.has("downgrade") && table.has("downgrade_file") {
        let fault = Fault::new("both \"downgrade\" and \"downgrade_file\"");
        table.fault_at("downgrade_file", fault.hint("keep one of the two"));
    } else if !table.has("downgrade") && !table.has("downgrade_file") {
        let fault = Fault::new("nothing says how this revision is taken back");
        let hint = "add downgrade = \"ALTER TABLE …\", or downgrade_file = \"down.sql\"";
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
