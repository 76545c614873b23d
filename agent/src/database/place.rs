//! Which database is meant, and the names of what is left beside it.

use std::net::IpAddr;

use config::settings::{DatabaseSettings, PgName};
use jiff::Timestamp;
use state::name::Digest;

use super::login::Login;
use super::{DatabaseError, EnvLookup};

/// What a name begins with is as much of the database's own name as leaves room for the rest:
/// Postgres cuts names at 63 bytes.
const LONGEST_BASE: usize = 24;

/// What has a suffix of ours may have another one: `_new`.
const LONGEST_NAME: usize = 59;

/// The database of a stack, as it is reached now. Everything is looked up when it is asked.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// `[stack.NAME.database]`.
    pub settings: &'a DatabaseSettings,
    /// The address of the database's container, where the settings name a service
    /// (`None`: not known, or not running). See [`super::host_of`].
    pub address: Option<IpAddr>,
    /// Asked for the keys that the settings name.
    pub env: EnvLookup<'a>,
}

impl Place<'_> {
    /// The name of the database. An error where a key that it takes is missing.
    pub fn database(&self) -> Result<PgName, DatabaseError> {
        self.login()?.database()
    }

    pub(crate) fn login(&self) -> Result<Login, DatabaseError> {
        Login::new(&self.settings.access, self.address, self.env).map_err(DatabaseError::Unknown)
    }
}

/// The name of the safety copy that an operation makes of `database`: `shop_steadfast_7`.
pub fn copy_name(database: &PgName, operation: u64) -> PgName {
    ours(&format!("{}{operation}", prefix(database)))
}

/// The name under which an operation sets the present `database` aside: `shop_steadfast_7_aside`; and when it does so
/// again, for the `nth` time from 0: `shop_steadfast_7_aside2`.
pub fn aside_name(database: &PgName, operation: u64, nth: u64) -> PgName {
    let nth = if nth == 0 {
        String::new()
    } else {
        (nth + 1).to_string()
    };
    ours(&format!("{}{operation}_aside{nth}", prefix(database)))
}

/// The name of the database that a backup of an operation is restored into: `shop_steadfast_7_check`.
pub fn scratch_name(database: &PgName, operation: u64) -> PgName {
    ours(&format!("{}{operation}_check", prefix(database)))
}

/// The name of the database that an operation restores into, to take the place of `database`: `shop_steadfast_7_back`.
pub fn restored_name(database: &PgName, operation: u64) -> PgName {
    ours(&format!("{}{operation}_back", prefix(database)))
}

/// The name under which the present `database` is set aside for one that was restored: `shop_before_20261126T191500Z`.
pub fn before_name(database: &PgName, at: Timestamp) -> PgName {
    ours(&format!(
        "{}_before_{}",
        base(database),
        at.strftime("%Y%m%dT%H%M%SZ")
    ))
}

/// What all names of ours for `database` begin with.
pub(super) fn prefix(database: &PgName) -> String {
    format!("{}_steadfast_", base(database))
}

fn base(database: &PgName) -> String {
    let name = database.as_str();
    if name.len() <= LONGEST_BASE {
        return name.to_owned();
    }
    let digest = Digest::of(name.as_bytes());
    let digest = &digest.as_str()[..8];
    let room = LONGEST_BASE - 1 - digest.len();
    let cut = (0..=room)
        .rev()
        .find(|at| name.is_char_boundary(*at))
        .unwrap_or(0);
    format!("{}~{digest}", &name[..cut])
}

/// The name of what is made of `copy` before it takes the database's own name.
pub(super) fn new_name(copy: &PgName) -> PgName {
    ours(&format!("{}_new", copy.as_str()))
}

/// Refuses a name that is not one of ours for `database`.
pub(super) fn check_ours(database: &PgName, name: &PgName) -> Result<(), DatabaseError> {
    let (prefix, name) = (prefix(database), name.as_str());
    let is_before = name.starts_with(&format!("{}_before_", base(database)));
    if (is_before || name.starts_with(&prefix)) && name.len() <= LONGEST_NAME {
        return Ok(());
    }
    Err(DatabaseError::other(format!(
        "\"{name}\" is no name for what is left beside the database: it begins with {prefix} and has at most \
         {LONGEST_NAME} bytes"
    )))
}

fn ours(name: &str) -> PgName {
    name.parse()
        .expect("a prefix, a number and a suffix fit into 63 bytes")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn names_of_ours_fit_and_are_told_apart() {
        let shop: PgName = "shop".parse().unwrap();
        assert_eq!(copy_name(&shop, 7).as_str(), "shop_steadfast_7");
        assert_eq!(aside_name(&shop, 7, 0).as_str(), "shop_steadfast_7_aside");
        assert_eq!(aside_name(&shop, 7, 1).as_str(), "shop_steadfast_7_aside2");
        assert_eq!(new_name(&copy_name(&shop, 7)).as_str(), "shop_steadfast_7_new");
        let long: PgName = "é".repeat(31).parse().unwrap();
        let other: PgName = format!("{}a", "é".repeat(31)).parse().unwrap();
        let at = "2026-11-26T19:15:00Z".parse().unwrap();
        assert_eq!(before_name(&shop, at).as_str(), "shop_before_20261126T191500Z");
        assert_eq!(restored_name(&shop, 7).as_str(), "shop_steadfast_7_back");
        for database in [&shop, &long, &other] {
            check_ours(database, &before_name(database, at)).unwrap();
            for name in [
                copy_name(database, u64::MAX),
                aside_name(database, 7, 0),
                aside_name(database, 7, 1),
                scratch_name(database, 7),
            ] {
                check_ours(database, &name).unwrap();
                assert!(new_name(&copy_name(database, u64::MAX)).as_str().len() <= 63);
            }
        }
        assert_ne!(copy_name(&long, 7), copy_name(&other, 7));
        for (database, name) in [
            (&shop, "shop"),
            (&shop, "shopping_steadfast_7"),
            (&long, "shop_steadfast_7"),
        ] {
            check_ours(database, &name.parse().unwrap()).unwrap_err();
        }
    }
}
