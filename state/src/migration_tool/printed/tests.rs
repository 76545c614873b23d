//! What tools really print, and what they do not.

#![allow(clippy::unwrap_used, clippy::needless_pass_by_value)]

use expect_test::{Expect, expect};

use super::*;
use crate::observed::SchemaHead;

fn set(names: &str) -> BTreeSet<Revision> {
    let names = names.split_whitespace();
    names.map(|name| name.parse().unwrap()).collect()
}

fn at(names: &str) -> SchemaHead {
    SchemaHead::At(set(names))
}

/// The revisions in their order, and those with no way back; or why it is no list.
#[track_caller]
fn check(prints: Printed, printed: &str, expected: Expect) {
    let words = match prints.read(printed) {
        Ok(history) => {
            let names = |all: &mut dyn Iterator<Item = &Revision>| {
                let all: Vec<&str> = all.map(Revision::as_str).collect();
                all.join(" ")
            };
            let heads = SchemaHead::At(history.heads());
            let order = history.up(&at(""), &heads).unwrap();
            format!(
                "{}; heads {}; one way {}",
                names(&mut order.iter()),
                names(&mut history.heads().iter()),
                names(&mut history.one_way().iter())
            )
        }
        Err(why) => why.to_string(),
    };
    expected.assert_eq(&words);
}

#[test]
fn what_alembic_prints_is_read() {
    let printed = "\
Rev: d4 (head) (mergepoint)
Merges: b2, c3
Path: /app/migrations/versions/d4.py

    merge

    Rev: not one

Rev: c3
Parent: a1
Path: /app/migrations/versions/c3.py

    add candles

Rev: b2
Parent: a1
Also depends on: c3, a_label
Branch names: api
Path: /app/migrations/versions/b2.py

    add interval: to backtests

Rev: a1 (branchpoint)
Parent: <base>
Branches into: b2, c3
Path: /app/migrations/versions/a1.py

    create
";
    check(
        Printed::Alembic,
        printed,
        expect!["a1 c3 b2 d4; heads d4; one way "],
    );
    check(Printed::Alembic, "", expect!["; heads ; one way "]);
    let refused = |printed: &str| Printed::Alembic.read(printed).unwrap_err().to_string();
    assert_eq!(
        refused("Usage: alembic"),
        "this is no line of its history: Usage: alembic"
    );
    assert_eq!(
        refused("Rev: b2\nParent: a1\n"),
        "revision b2 follows a1, which the image does not have"
    );
    assert_eq!(
        refused("Parent: a1"),
        "this is no line of its history: Parent: a1"
    );
    assert!(refused(&"ä".repeat(500)).ends_with("ä…"));
}

#[test]
fn a_line_for_each_revision() {
    let check = |printed: &str, expected: Expect| check(Printed::Lines, printed, expected);
    check(
        "# mine\n\n20_users\n  3_orders  \n4_more (one way)\n",
        expect!["20_users 3_orders 4_more; heads 4_more; one way 4_more"],
    );
    check(
        "d <- b, c\nb<-a (one way)\nc <-a\na <-\n",
        expect!["a b c d; heads d; one way b"],
    );
    check("", expect!["; heads ; one way "]);
    check("a\nb b\n", expect!["line 2 has no name of a revision: b b"]);
    check(
        "# first\na <-\nb\n",
        expect!["line 3 has no <- where others have, or has one where they have none: b"],
    );
    check(
        "a <-\nb <- a,\n",
        expect!["line 2 has no name of a revision: b <- a,"],
    );
    check(
        "a\nb\na\n",
        expect!["line 3 names a revision for the second time: a"],
    );
    check(
        "b <- a\n",
        expect!["revision b follows a, which the image does not have"],
    );
    check("a <- b\nb <- a", expect!["revision a comes before itself"]);
    check("<- a\n", expect!["line 1 has no name of a revision: <- a"]);
}

#[test]
fn among_what_a_project_prints_the_marked_lines_count() {
    let check = |printed: &str, expected: Expect| check(Printed::MarkedLines, printed, expected);
    check(
        "project: settings loaded\n\nsteadfast: # all\nsteadfast: auth.1 <- \nnoise\nsteadfast: shop.1 <- auth.1\n",
        expect!["auth.1 shop.1; heads shop.1; one way "],
    );
    check("steadfast: # all\n", expect!["; heads ; one way "]);
    check("loaded\n", expect!["this is no line of its history: loaded"]);
    check(
        "loaded\nsteadfast: b c\n",
        expect!["line 2 has no name of a revision: b c"],
    );
}

#[test]
fn the_files_of_sqlx() {
    let check = |printed: &str, expected: Expect| check(Printed::SqlxFiles, printed, expected);
    check(
        "0001_users.down.sql\n0001_users.up.sql\n10_more.sql\n20230101000000_x_y.up.sql\n9_nine.up.sql\n9_nine.down.sql\nREADME.md\nx_y.txt\n",
        expect!["1 9 10 20230101000000; heads 20230101000000; one way 10 20230101000000"],
    );
    check(
        "x_y.sql\n",
        expect!["line 1 has no number before its first _: x_y.sql"],
    );
    check(
        "1_a.sql\n01_b.up.sql\n",
        expect!["line 2 has a version for the second time: 01_b.up.sql"],
    );
}

#[test]
fn the_files_of_flyway() {
    let check = |printed: &str, expected: Expect| check(Printed::FlywayFiles, printed, expected);
    check(
        "/flyway/sql:\nR__views.sql\nU2__b.sql\nV1__a.sql\nV10__k.sql\nV2__b.sql\nmore\nput-your-sql-migrations-here.txt\n\n/flyway/sql/more:\nV2_1__c.sql\nU2.1__c.sql\nB3__base.sql\n",
        expect!["1 2 2.1 10; heads 10; one way 1 10"],
    );
    check(
        "V1__a.sql\nV1.0__b.sql\n",
        expect!["line 2 has a version for the second time: V1.0__b.sql"],
    );
    check(
        "V1x__a.sql\n",
        expect!["line 1 has a version that is no number: V1x__a.sql"],
    );
}
