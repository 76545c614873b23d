//! The small words of `steadfast.toml` that are names of something outside Steadfast: each parsed
//! once, none a raw string afterwards.

use std::fmt;
use std::str::FromStr;

use state::name::InvalidName;

macro_rules! word {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The text of it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(InvalidName { kind: $kind, text: crate::fragment::shorten(text), rule: $rule })
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

word!(
    /// A profile of the Compose Specification (`profiles`).
    Profile, "profile", "it starts with a letter or a digit and holds only those, `.`, `_` and `-`",
    |t| t.starts_with(|c: char| c.is_ascii_alphanumeric())
        && t.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
);
word!(
    /// The name of an environment variable.
    VarName, "variable name", "it starts with a letter or `_` and holds only letters, digits and `_`",
    |t| t.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && t.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
);
word!(
    /// A name in Postgres (table, schema, role, database): 1 to 63 bytes. To be quoted where it is used.
    PgName, "Postgres name", "it has 1 to 63 bytes and no control characters",
    |t| (1..=63).contains(&t.len()) && !t.chars().any(char::is_control)
);
word!(
    /// The URL of an HTTP probe: `http` or `https`, a host, no credentials, no fragment.
    HttpUrl, "URL", "it is http://host[:port]/path or https://…, without user, password and fragment", is_http_url
);
word!(
    /// A user's or a group's name on this host.
    AccountName, "user or group name", "it starts with a letter or `_` and holds only letters, digits, `_`, `.` and `-`",
    |t| t.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && t.len() <= 64
        && t.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
);
word!(
    /// A host name or an IP address.
    Host, "host", "it holds only letters, digits, `.` and `-`, or is an IPv6 address in brackets",
    is_host
);

fn is_host(text: &str) -> bool {
    if let Some(address) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    !text.is_empty()
        && text.len() <= 253
        && !text.starts_with(['-', '.'])
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
}

fn is_http_url(text: &str) -> bool {
    let Some(rest) = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"))
    else {
        return false;
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let printable = text
        .chars()
        .all(|c| c.is_ascii_graphic() && c != '#' && c != '\\' && c != '"');
    printable && split_host_port(authority).is_some()
}

/// `host` or `host:port`; the port when one is given.
pub(super) fn split_host_port(text: &str) -> Option<(Host, Option<u16>)> {
    let colon = if text.ends_with(']') {
        None
    } else {
        text.rfind(':')
    };
    let (host, port) = match colon {
        Some(at) => (
            &text[..at],
            Some(text[at + 1..].parse().ok().filter(|&port| port > 0)?),
        ),
        None => (text, None),
    };
    Some((host.parse().ok()?, port))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn urls() {
        for good in [
            "http://localhost",
            "http://localhost:8000/health",
            "https://[::1]:8443/x?y=1",
            "http://10.0.0.1?x",
        ] {
            assert!(good.parse::<HttpUrl>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "localhost:8000",
            "ftp://host/",
            "http://",
            "http:///path",
            "http://user:pw@host/",
            "http://host:0/",
            "http://host:99999/",
            "http://host:/",
            "http://host/a b",
            "http://host/#x",
            "http://ho\nst",
            "http://[::1/",
        ] {
            assert!(bad.parse::<HttpUrl>().is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_a_word_panic(text in ".*") {
            let _ = (text.parse::<HttpUrl>(), text.parse::<Host>(), split_host_port(&text));
        }
    }
}
