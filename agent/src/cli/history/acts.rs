//! `steadfast history --acts`: who has asked for what, when and why; and who was refused.

use state::name::StackName;

use super::super::args::Common;
use super::super::failure::Outcome;
use super::super::output;
use super::super::reader::Reader;
use super::super::reading::Daemon;
use super::super::text::hanging;
use crate::view::{ActList, ActRow};

/// Where further lines of an act begin.
const INDENT: usize = 4;

pub(in crate::cli) async fn run(common: &Common, stack: &StackName, json: bool) -> Outcome {
    let daemon = Daemon::of(common);
    let all = daemon.client.acts(stack.as_str()).await;
    let all = all.map_err(|error| daemon.failure(error))?;
    if json {
        return output::json(&all, 0);
    }
    output::print(&text(&all, &Reader::here()))?;
    Ok(0)
}

/// Each act, the newest first.
fn text(all: &ActList, reader: &Reader) -> String {
    if all.acts.is_empty() {
        return format!("{}: nobody has asked for anything yet\n", all.stack);
    }
    let one = |row: &ActRow| {
        let why = row.why.as_ref().map(|why| format!(": {why}"));
        let words = format!("{}, {}{}", row.what, row.by, why.unwrap_or_default());
        hanging(
            &format!("{}  ", reader.full(row.at)),
            &words,
            INDENT,
            reader.width,
        )
    };
    all.acts.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

    use expect_test::expect;

    use super::*;
    use crate::view::sample;

    #[test]
    fn each_says_when_what_who_and_why() {
        let reader = sample::reader();
        let row = |what: &str, why: Option<&str>| ActRow {
            at: reader.now,
            by: "ada".into(),
            uid: Some(1000),
            what: what.into(),
            why: why.map(str::to_owned),
        };
        let mut all = ActList {
            format: 1,
            stack: "shop".into(),
            acts: Vec::new(),
        };
        assert_eq!(text(&all, &reader), "shop: nobody has asked for anything yet\n");
        let long = "checkout is broken for everybody who pays by card, and nobody knows why";
        all.acts = vec![row("restore: refused", None), row("rollback", Some(long))];
        let narrow = Reader { width: 60, ..reader };
        let shown = text(&all, &narrow).replace(&narrow.full(narrow.now), "2025-01-31 14:03:21");
        expect![[r#"
            2025-01-31 14:03:21  restore: refused, ada
            2025-01-31 14:03:21  rollback, ada: checkout is broken for
                everybody who pays by card, and nobody knows why
        "#]]
        .assert_eq(&shown);
    }
}
