//! What counts as a change of data, row by row.

#![allow(clippy::unwrap_used, clippy::needless_pass_by_value)]

use std::collections::{BTreeMap, BTreeSet};

use expect_test::{Expect, expect};

use super::{CarriedTargets, Running, as_before, between};
use crate::fixture::{image, service, stack};
use crate::stack_spec::{Bind, Mount, NamedVolume, StackSpec, TmpfsMount, VolumeSpec};

/// `db` with one volume, `api` without data; a row changes what comes next.
struct Case {
    from: StackSpec,
    to: StackSpec,
    image: u64,
    told: bool,
    carried: CarriedTargets,
    tagged: bool,
    /// What runs was never proven, and the other one was before it.
    trial: bool,
}

pub(super) fn volume(key: &str, target: &str) -> Mount {
    Mount::Volume(NamedVolume {
        volume: key.to_owned(),
        target: target.to_owned(),
        ..NamedVolume::default()
    })
}

fn bind(source: &str, target: &str, read_only: bool) -> Mount {
    Mount::Bind(Bind {
        source: source.into(),
        target: target.to_owned(),
        read_only,
        ..Bind::default()
    })
}

fn with(mounts: Vec<Mount>) -> StackSpec {
    let mut spec = stack(&[("api", &["db"]), ("db", &[])]);
    spec.services.get_mut(&service("db")).unwrap().volumes = mounts;
    for key in ["rows", "other"] {
        let named = VolumeSpec {
            name: format!("shop_{key}"),
            ..VolumeSpec::default()
        };
        spec.volumes.insert(key.to_owned(), named);
    }
    spec
}

#[track_caller]
fn check(change: impl FnOnce(&mut Case), expect: Expect) {
    let mut case = Case {
        from: with(vec![volume("rows", "/data")]),
        to: with(vec![volume("rows", "/data")]),
        image: 1,
        told: true,
        carried: CarriedTargets::new(),
        tagged: false,
        trial: false,
    };
    change(&mut case);
    if case.trial {
        case.from = as_before(&case.from, &case.to);
    }
    let images = |db| BTreeMap::from([(service("api"), image(db)), (service("db"), image(db))]);
    let tagged: BTreeSet<_> = case.tagged.then(|| service("db")).into_iter().collect();
    let running = Running {
        images: &images(1),
        spec: case.told.then_some(&case.from),
        carried: &case.carried,
        tagged: &tagged,
    };
    let changes = between(&running, &images(case.image), &case.to);
    let lines: Vec<String> = changes.iter().map(ToString::to_string).collect();
    expect.assert_eq(&lines.join("\n"));
}

fn to(mounts: Vec<Mount>) -> impl FnOnce(&mut Case) {
    |case| case.to = with(mounts)
}

#[test]
fn another_image_on_data_that_is_there() {
    check(|_| {}, expect![""]);
    check(
        |c| c.image = 2,
        expect!["db: image 000000000001 → 000000000002, on the data at /data"],
    );
    check(
        |c| {
            c.image = 2;
            c.tagged = true;
        },
        expect![""],
    );
    // An anonymous volume of the image's own: the file says nothing of it.
    let anonymous = |c: &mut Case| {
        (c.from, c.to) = (with(Vec::new()), with(Vec::new()));
        c.carried = CarriedTargets::from([(service("db"), BTreeSet::from([String::from("/pg")]))]);
    };
    check(anonymous, expect![""]);
    check(
        |c| {
            anonymous(c);
            c.image = 2;
        },
        expect!["db: image 000000000001 → 000000000002, on the data at /pg"],
    );
}

#[test]
fn data_that_would_be_somewhere_else() {
    check(
        to(vec![volume("other", "/data")]),
        expect!["db: data at /data: volume shop_rows → volume shop_other"],
    );
    check(
        to(vec![volume("rows", "/elsewhere")]),
        expect!["db: data at /data: volume shop_rows → nothing is mounted there"],
    );
    check(
        to(vec![bind("/srv/rows", "/data", false)]),
        expect!["db: data at /data: volume shop_rows → /srv/rows"],
    );
    check(
        to(vec![Mount::Tmpfs(TmpfsMount {
            target: String::from("/data"),
            ..TmpfsMount::default()
        })]),
        expect!["db: data at /data: volume shop_rows → memory"],
    );
    check(
        to(vec![Mount::Volume(NamedVolume {
            volume: String::from("rows"),
            target: String::from("/data"),
            subpath: Some(String::from("v2")),
            ..NamedVolume::default()
        })]),
        expect!["db: data at /data: volume shop_rows → volume shop_rows, v2 in it"],
    );
    check(
        to(vec![Mount::Volume(NamedVolume {
            volume: String::from("rows"),
            target: String::from("/data"),
            read_only: true,
            ..NamedVolume::default()
        })]),
        expect!["db: data at /data: volume shop_rows → volume shop_rows, read only"],
    );
    check(
        to(vec![volume("rows", "/data"), volume("other", "/data/wal")]),
        expect!["db: data at /data/wal: volume shop_rows → volume shop_other"],
    );
    // Also where the image follows the tag: its code is another, its data is not.
    check(
        |c| {
            c.tagged = true;
            c.image = 2;
            c.to = with(vec![volume("other", "/data")]);
        },
        expect!["db: data at /data: volume shop_rows → volume shop_other"],
    );
    // The engine's name counts, not the key in the file.
    check(
        |c| {
            c.to = with(vec![volume("other", "/data")]);
            c.to.volumes.get_mut("other").unwrap().name = String::from("shop_rows");
        },
        expect![""],
    );
}

#[test]
fn what_is_beside_the_data_is_nobodys_question() {
    check(
        to(vec![volume("rows", "/data/"), volume("other", "/database")]),
        expect![""],
    );
    // A service's first data, and its last configuration file.
    check(
        |c| c.from = with(vec![bind("/srv/pg.conf", "/pg.conf", true)]),
        expect![""],
    );
    check(
        |c| {
            let file = |source| bind(source, "/pg.conf", true);
            c.from = with(vec![volume("rows", "/data"), file("/srv/a.conf")]);
            c.to = with(vec![volume("rows", "/data"), file("/srv/b.conf")]);
        },
        expect![""],
    );
}

#[test]
fn carried_volumes_go_on_and_are_not_replaced_silently() {
    let carried = |next: Vec<Mount>| {
        move |c: &mut Case| {
            c.from = with(Vec::new());
            c.to = with(next);
            c.carried = CarriedTargets::from([(service("db"), BTreeSet::from([String::from("/data")]))]);
        }
    };
    let anonymous = Mount::Anonymous {
        target: String::from("/data"),
        read_only: false,
        nocopy: false,
    };
    check(carried(vec![anonymous]), expect![""]);
    check(
        carried(vec![volume("rows", "/data")]),
        expect!["db: data at /data: an anonymous volume → volume shop_rows"],
    );
}

#[test]
fn where_nothing_can_be_compared_nothing_is_guessed() {
    check(
        |c| c.told = false,
        expect!["db: nobody can tell any more what data it has now"],
    );
    check(
        |c| {
            c.told = false;
            c.to = with(Vec::new());
        },
        expect![""],
    );
}

#[test]
fn what_a_release_on_trial_has_brought_stays_in_its_volume() {
    let back = |from: Vec<Mount>, to: Vec<Mount>, trial: bool| {
        move |c: &mut Case| (c.from, c.to, c.trial) = (with(from), with(to), trial)
    };
    let rows = || volume("rows", "/data");
    let more = || vec![rows(), volume("other", "/more/")];
    check(back(more(), vec![rows()], true), expect![""]);
    check(back(vec![rows()], Vec::new(), true), expect![""]);
    check(
        back(more(), vec![rows()], false),
        expect!["db: data at /more: volume shop_other → nothing is mounted there"],
    );
    // What was there before is asked about as ever.
    check(
        back(vec![volume("other", "/data")], vec![rows()], true),
        expect!["db: data at /data: volume shop_other → volume shop_rows"],
    );
    check(
        back(vec![volume("rows", "/data/sub")], vec![rows()], true),
        expect!["db: data at /data/sub: volume shop_rows → nothing is mounted there"],
    );
    // The older image gets at none of it.
    let image = |to: Vec<Mount>| {
        move |c: &mut Case| {
            (c.to, c.trial, c.image) = (with(to), true, 2);
        }
    };
    check(image(Vec::new()), expect![""]);
    check(
        image(vec![rows()]),
        expect!["db: image 000000000001 → 000000000002, on the data at /data"],
    );
}
