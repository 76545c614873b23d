//! What belongs to a database and is not in it: owner, access rights, settings, connection limit,
//! comment. `CREATE DATABASE … TEMPLATE` leaves all of it behind.

use config::settings::PgName;
use tokio_postgres::SimpleQueryRow;

use super::DatabaseError;
use super::link::{Link, literal, quoted};

/// The settings whose values are lists of names, each quoted by itself (`GUC_LIST_QUOTE`; an extension
/// cannot add any).
const LISTS: [&str; 6] = [
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

/// Gives `to` what `from` has, in the transaction that is open, and makes sure of it. The comment is
/// handed back, because a mark stands in its place until the end.
pub(super) async fn take_over(
    link: &Link,
    from: &PgName,
    to: &PgName,
) -> Result<Option<String>, DatabaseError> {
    let (name, new) = (literal(from.as_str()), quoted(to.as_str()));
    let basics = link
        .rows(&format!(
            "SELECT pg_catalog.pg_get_userbyid(datdba), datconnlimit, datacl IS NULL, \
               pg_catalog.shobj_description(oid, 'pg_database') \
             FROM pg_catalog.pg_database WHERE datname = {name}"
        ))
        .await?;
    let basics = basics
        .first()
        .ok_or_else(|| DatabaseError::missing(from.as_str()))?;
    let text = |at| basics.get(at).unwrap_or_default();
    let owner = text(0);
    link.run(&format!(
        "ALTER DATABASE {new} OWNER TO {}; ALTER DATABASE {new} CONNECTION LIMIT {}",
        quoted(owner),
        text(1)
    ))
    .await?;
    // What stands for no rights of its own is written out, where the other one has some.
    if text(2) == "f" || has_rights(link, to).await? {
        grants(link, &name, &new, owner).await?;
    }
    settings(link, &name, &new).await?;
    if !are_same(link, &name, &literal(to.as_str())).await? {
        return Err(DatabaseError::other(
            "the owner, rights and settings of the database could not all be given to the copy",
        ));
    }
    Ok(basics.get(3).map(str::to_owned))
}

async fn has_rights(link: &Link, database: &PgName) -> Result<bool, DatabaseError> {
    let sql = format!(
        "SELECT datacl IS NOT NULL FROM pg_catalog.pg_database WHERE datname = {}",
        literal(database.as_str())
    );
    Ok(link.value(&sql).await?.as_deref() == Some("t"))
}

/// Each right as it was given, by whom it was given.
async fn grants(link: &Link, name: &str, new: &str, owner: &str) -> Result<(), DatabaseError> {
    let rights = link
        .rows(&format!(
            "SELECT a.privilege_type, a.is_grantable, \
               CASE a.grantee WHEN 0 THEN 'PUBLIC' \
                 ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END, \
               pg_catalog.pg_get_userbyid(a.grantor) \
             FROM pg_catalog.pg_database d, \
               pg_catalog.aclexplode(coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) WITH ORDINALITY AS \
               a (grantor, grantee, privilege_type, is_grantable, at) \
             WHERE d.datname = {name} ORDER BY a.grantor <> d.datdba, a.at"
        ))
        .await?;
    link.run(&format!(
        "REVOKE ALL ON DATABASE {new} FROM PUBLIC; REVOKE ALL ON DATABASE {new} FROM {}",
        quoted(owner)
    ))
    .await?;
    for right in &rights {
        let text = |at| right.get(at).unwrap_or_default();
        let option = if text(1) == "t" { " WITH GRANT OPTION" } else { "" };
        let grant = format!("GRANT {} ON DATABASE {new} TO {}{option}", text(0), text(2));
        let grantor = text(3);
        if grantor == owner {
            link.run(&grant).await?;
        } else {
            link.run(&format!(
                "SET LOCAL ROLE {}; {grant}; RESET ROLE",
                quoted(grantor)
            ))
            .await?;
        }
    }
    Ok(())
}

async fn settings(link: &Link, name: &str, new: &str) -> Result<(), DatabaseError> {
    let settings = link
        .rows(&format!(
            "SELECT CASE s.setrole WHEN 0 THEN NULL ELSE pg_catalog.pg_get_userbyid(s.setrole) END, \
               pg_catalog.split_part(c, '=', 1), pg_catalog.substr(c, pg_catalog.strpos(c, '=') + 1) \
             FROM pg_catalog.pg_db_role_setting s \
               JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase, pg_catalog.unnest(s.setconfig) c \
             WHERE d.datname = {name}"
        ))
        .await?;
    for setting in &settings {
        link.run(&set(new, setting)).await?;
    }
    Ok(())
}

fn set(new: &str, setting: &SimpleQueryRow) -> String {
    let (key, value) = (
        setting.get(1).unwrap_or_default(),
        setting.get(2).unwrap_or_default(),
    );
    let whose = setting.get(0).map_or_else(
        || format!("ALTER DATABASE {new}"),
        |role| format!("ALTER ROLE {} IN DATABASE {new}", quoted(role)),
    );
    // `extension.setting` is a name of two parts.
    let key_parts: Vec<String> = key.split('.').map(quoted).collect();
    format!("{whose} SET {} TO {}", key_parts.join("."), value_of(key, value))
}

fn value_of(key: &str, value: &str) -> String {
    if LISTS.contains(&key.to_ascii_lowercase().as_str()) {
        let names: Vec<String> = names(value).iter().map(|name| literal(name)).collect();
        if !names.is_empty() {
            return names.join(", ");
        }
    }
    literal(value)
}

/// The names of a list such as `"$user", public`, without their quotes.
fn names(list: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = list.trim_start();
    while !rest.is_empty() {
        let mut name = String::new();
        if let Some(mut inner) = rest.strip_prefix('"') {
            loop {
                let (part, after) = inner.split_once('"').unwrap_or((inner, ""));
                name.push_str(part);
                let Some(more) = after.strip_prefix('"') else {
                    rest = after;
                    break;
                };
                name.push('"');
                inner = more;
            }
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            name.push_str(rest[..end].trim_end());
            rest = &rest[end..];
        }
        names.push(name);
        rest = rest.trim_start().trim_start_matches(',').trim_start();
    }
    names
}

async fn are_same(link: &Link, from: &str, to: &str) -> Result<bool, DatabaseError> {
    let of = |name: &str| {
        format!(
            "SELECT datdba, datconnlimit, \
               (SELECT array_agg(a::text ORDER BY a::text) \
                FROM unnest(coalesce(datacl, pg_catalog.acldefault('d', datdba))) a), \
               (SELECT array_agg(s.setrole || ' ' || c ORDER BY s.setrole, c) \
                FROM pg_catalog.pg_db_role_setting s, unnest(s.setconfig) c WHERE s.setdatabase = d.oid) \
             FROM pg_catalog.pg_database d WHERE datname = {name}"
        )
    };
    // Equal where the union of both has one row.
    let sql = format!(
        "SELECT count(*) FROM ({} UNION {}) both_of_them",
        of(from),
        of(to)
    );
    Ok(link.value(&sql).await?.as_deref() == Some("1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_names_are_taken_apart() {
        for (key, value, expected) in [
            ("search_path", "\"$user\", public", "'$user', 'public'"),
            ("search_path", "\"\"", "''"),
            ("search_path", "\"odd, \"\"one\", b", "'odd, \"one', 'b'"),
            ("temp_tablespaces", "a,b", "'a', 'b'"),
            ("work_mem", "64MB", "'64MB'"),
            ("app.words", "it's a, \\b", "E'it''s a, \\\\b'"),
            ("search_path", "", "''"),
        ] {
            assert_eq!(value_of(key, value), expected, "{value}");
        }
    }
}
