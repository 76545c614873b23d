//! Which version of a tool there is: what `--version` says.

/// The major version in `pg_dump (PostgreSQL) 15.14 (Debian …)`.
pub(super) fn major(said: &str) -> Option<u32> {
    let (_, rest) = said.split_once("(PostgreSQL) ")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// The first line, without what the distribution adds.
pub(super) fn line(said: &str) -> String {
    let line = said.lines().next().unwrap_or_default();
    let cut = line.match_indices(" (").nth(1).map_or(line.len(), |(at, _)| at);
    line[..cut].chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read() {
        for (said, expected, short) in [
            (
                "pg_dump (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n",
                Some(15),
                "pg_dump (PostgreSQL) 15.14",
            ),
            (
                "pg_restore (PostgreSQL) 18beta1\n",
                Some(18),
                "pg_restore (PostgreSQL) 18beta1",
            ),
            ("pg_dump (EnterpriseDB) 9\n", None, "pg_dump (EnterpriseDB) 9"),
            ("", None, ""),
        ] {
            assert_eq!((major(said), line(said).as_str()), (expected, short));
        }
    }
}
