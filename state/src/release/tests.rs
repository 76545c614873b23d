//! What is blamed, and which requests it keeps away (invariant 4).

#![allow(clippy::unwrap_used, clippy::needless_pass_by_value)]

use expect_test::{Expect, expect};

use super::{Blame, Release};
use crate::desired::MigrationWish;
use crate::fixture::release;
use crate::name::Digest;

type Edit = fn(&mut Release);

fn good() -> Release {
    release(&[("api", 1), ("web", 1)])
}

/// What is blamed after `bad` was left for the good one, and which of the edits of `bad` it keeps away.
#[track_caller]
fn check(bad: Edit, expect: Expect) {
    let edits: [(&str, Edit); 7] = [
        ("nothing", |_| {}),
        ("env", |r| r.env = Some(Digest::of(b"LOG_LEVEL=debug"))),
        ("no env", |r| r.env = None),
        ("config", |r| r.config = Digest::of(b"another nginx.conf")),
        ("api", |r| r.images.extend(release(&[("api", 3)]).images)),
        ("web", |r| r.images.extend(release(&[("web", 3)]).images)),
        ("migration", |r| r.migration = MigrationWish::Head),
    ];
    let with = |edit: Edit| {
        let mut release = good();
        bad(&mut release);
        edit(&mut release);
        release
    };
    let blame = Blame::between(&with(|_| {}), Some(&good()));
    let (away, applied): (Vec<_>, Vec<_>) = edits.iter().partition(|(_, edit)| blame.covers(&with(*edit)));
    let names =
        |edits: Vec<&(&str, Edit)>| edits.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    expect.assert_eq(&format!(
        "blames {blame}; keeps away: {}; lets pass: {}",
        names(away),
        names(applied)
    ));
}

#[test]
fn only_an_edit_of_the_blamed_part_lifts_it() {
    check(
        |r| r.images.extend(release(&[("api", 2)]).images),
        expect![
            "blames images api=000000000002; keeps away: nothing, env, no env, config, web, migration; lets pass: api"
        ],
    );
    check(
        |r| {
            r.images.extend(release(&[("api", 2)]).images);
            r.env = Some(Digest::of(b"env of v2"));
        },
        expect![
            "blames images api=000000000002; keeps away: nothing, env, no env, config, web, migration; lets pass: api"
        ],
    );
    check(
        |r| r.migration = MigrationWish::Revision("b2".parse().unwrap()),
        expect![
            "blames migration b2; keeps away: nothing, env, no env, config, api, web; lets pass: migration"
        ],
    );
    check(
        |r| r.env = Some(Digest::of(b"A=")),
        expect![
            "blames the env file; keeps away: nothing, config, api, web, migration; lets pass: env, no env"
        ],
    );
    check(
        |r| r.config = Digest::of(b"broken nginx.conf"),
        expect![
            "blames the configuration files; keeps away: nothing, env, no env, api, web, migration; lets pass: config"
        ],
    );
    check(
        |r| {
            r.env = Some(Digest::of(b"A="));
            r.config = Digest::of(b"broken nginx.conf");
        },
        expect![
            "blames the env file and the configuration files; keeps away: nothing, api, web, migration; lets pass: env, no env, config"
        ],
    );
}

#[test]
fn the_good_one_is_never_blamed() {
    let bad = release(&[("api", 2), ("web", 1)]);
    assert!(!Blame::between(&bad, Some(&good())).covers(&good()));
}

#[test]
fn without_anything_to_compare_with_the_whole_is_blamed() {
    let mut bad = good();
    assert_eq!(Blame::between(&bad, None), Blame::Whole(bad.id()));
    assert_eq!(Blame::between(&bad, Some(&good())), Blame::Whole(bad.id()));
    let blame = Blame::between(&bad, None);
    assert!(blame.covers(&bad));
    bad.env = None;
    assert!(!blame.covers(&bad));
}

#[test]
fn blame_survives_being_written_and_read() {
    let bad = |edit: Edit| {
        let mut release = good();
        edit(&mut release);
        Blame::between(&release, Some(&good()))
    };
    for blame in [
        bad(|r| r.env = None),
        bad(|r| r.config = Digest::of(b"x")),
        bad(|r| r.migration = MigrationWish::Head),
        bad(|r| r.images.extend(release(&[("api", 2)]).images)),
        bad(|_| {}),
    ] {
        let text = serde_json::to_string(&blame).unwrap();
        assert_eq!(serde_json::from_str::<Blame>(&text).unwrap(), blame, "{text}");
    }
}
