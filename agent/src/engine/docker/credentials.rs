//! The registry credentials that `docker login` left in `config.json`. They go to the engine and
//! nowhere else. Credential helpers are not asked.

use std::collections::HashMap;
use std::path::PathBuf;

use bollard::auth::DockerCredentials;
use serde_json::Value;

/// The most of `config.json` that is read.
const MAX_BYTES: u64 = 1024 * 1024;
/// How Docker Hub is called in `config.json`.
const HUB: &str = "https://index.docker.io/v1/";

/// The credentials for the registry of `reference`, when there are any.
pub(super) fn for_reference(reference: &str) -> Option<DockerCredentials> {
    find(&read()?, reference)
}

/// All of them, by registry: a build pulls what its Dockerfile names.
pub(super) fn all() -> HashMap<String, DockerCredentials> {
    read().map(|config| every(&config)).unwrap_or_default()
}

fn read() -> Option<Value> {
    let path = directory()?.join("config.json");
    let is_small = std::fs::metadata(&path).is_ok_and(|meta| meta.is_file() && meta.len() <= MAX_BYTES);
    let text = is_small.then(|| std::fs::read_to_string(&path).ok()).flatten()?;
    serde_json::from_str(&text).ok()
}

fn directory() -> Option<PathBuf> {
    let own = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    own.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker")))
}

fn find(config: &Value, reference: &str) -> Option<DockerCredentials> {
    let registry = registry(reference);
    let auths = config.get("auths")?.as_object()?;
    let (key, entry) = auths
        .iter()
        .find(|(key, _)| *key == registry || host(key) == host(registry))?;
    credentials(key, entry)
}

fn every(config: &Value) -> HashMap<String, DockerCredentials> {
    let auths = config.get("auths").and_then(Value::as_object);
    let known = auths.into_iter().flatten();
    known
        .filter_map(|(key, entry)| Some((key.clone(), credentials(key, entry)?)))
        .collect()
}

fn credentials(key: &str, entry: &Value) -> Option<DockerCredentials> {
    let text = |field: &str| entry.get(field).and_then(Value::as_str).map(str::to_owned);
    let pair = text("auth")
        .and_then(|auth| base64(&auth))
        .and_then(|bytes| String::from_utf8(bytes).ok());
    let (username, password) = match pair.as_deref().and_then(|pair| pair.split_once(':')) {
        Some((name, password)) => (
            Some(name.to_owned()),
            Some(password.trim_matches('\0').to_owned()),
        ),
        None => (text("username"), text("password")),
    };
    let identitytoken = text("identitytoken").filter(|token| !token.is_empty());
    (username.is_some() || identitytoken.is_some()).then(|| DockerCredentials {
        username,
        password,
        identitytoken,
        serveraddress: Some(key.to_owned()),
        ..DockerCredentials::default()
    })
}

/// The registry of a reference: its first part where that is a host, else Docker Hub.
fn registry(reference: &str) -> &str {
    match reference.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => match first {
            "docker.io" | "index.docker.io" => HUB,
            other => other,
        },
        _ => HUB,
    }
}

fn host(key: &str) -> &str {
    let bare = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key);
    bare.split('/').next().unwrap_or(bare)
}

/// Standard Base64, with or without padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0u32, 0u32);
    for byte in text.trim_end_matches('=').bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(value)) & 0xFF_FFFF;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from(bits >> count & 0xFF).ok()?);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn credentials_by_registry() {
        let config = serde_json::json!({"auths": {
            "https://index.docker.io/v1/": {"auth": "aHViOnB3"},
            "registry.example": {"auth": "bWU6cGE6c3M="},
            "https://other.example:5000/v2/": {"username": "u", "password": "p"},
            "empty.example": {},
        }});
        let rows = [
            ("alpine:3", Some(("hub", "pw"))),
            ("docker.io/library/alpine", Some(("hub", "pw"))),
            ("registry.example/app/api:v1", Some(("me", "pa:ss"))),
            ("other.example:5000/x", Some(("u", "p"))),
            ("empty.example/x", None),
            ("localhost/x", None),
        ];
        for (reference, expected) in rows {
            let found = find(&config, reference);
            let pair = found
                .as_ref()
                .map(|c| (c.username.as_deref().unwrap(), c.password.as_deref().unwrap()));
            assert_eq!(pair, expected, "{reference}");
        }
        let mut all: Vec<String> = every(&config).into_keys().collect();
        all.sort();
        let keys = [
            "https://index.docker.io/v1/",
            "https://other.example:5000/v2/",
            "registry.example",
        ];
        assert_eq!(all, keys);
    }
}
