//! What the words of a failed build say: whether they are about what was built, and what would help. Pure.

pub(super) fn exit_code(words: &str) -> Option<i64> {
    words
        .rsplit_once("returned a non-zero code: ")?
        .1
        .trim()
        .parse()
        .ok()
}

pub(super) fn hint(words: &str) -> Option<&'static str> {
    let words = words.to_ascii_lowercase();
    let needs = words.contains("requires buildkit") || words.contains("unknown flag");
    // A heredoc: its lines are taken for instructions.
    let may_need = words.contains("unknown instruction");
    match (needs, may_need) {
        (true, _) => Some(
            " (this needs BuildKit, and Steadfast builds with the engine's classic builder: build the image elsewhere, \
             push it, and name it with \"image:\")",
        ),
        (_, true) => Some(
            " (a line of a text after \"<<\"? That needs BuildKit, and Steadfast builds with the engine's classic \
             builder: write it in one line, or build the image elsewhere, push it, and name it with \"image:\")",
        ),
        _ => None,
    }
}

pub(super) fn is_full_disk(line: &str) -> bool {
    line.to_ascii_lowercase().contains("no space left on device")
}

/// What says that this host, the engine or the network was in the way, not what is built.
const IN_THE_WAY: [&str; 24] = [
    "no space left on device",
    "cannot allocate memory",
    "shutting down",
    "transport is closing",
    "client connection is closing",
    "ttrpc: closed",
    "connection error: desc",
    "context canceled",
    "context deadline exceeded",
    "build cancelled",
    "request canceled",
    "dial tcp",
    "i/o timeout",
    "no such host",
    "server misbehaving",
    "tls handshake timeout",
    "connection refused",
    "connection reset",
    "unexpected eof",
    "toomanyrequests",
    "too many requests",
    "service unavailable",
    "bad gateway",
    "gateway timeout",
];

/// What the registry or the builder says of a base image that is not there at all, or is no name.
const NO_BASE: [&str; 6] = [
    "manifest unknown",
    ": not found",
    "invalid reference format",
    "no matching manifest",
    "unknown operating system or architecture",
    "no image was generated",
];

/// Whether a failure says something about what was to be built. That a command failed because *its* network was away
/// cannot be told from what it says.
pub(super) fn is_final(instruction: Option<&str>, words: &str) -> bool {
    if let Some(code) = exit_code(words) {
        // Killed: for want of memory, or because the engine ends.
        return !matches!(code, 137 | 143);
    }
    let words = words.to_ascii_lowercase();
    let instruction = instruction.unwrap_or_default().trim_start().to_ascii_lowercase();
    let pulls = instruction.starts_with("from ") || instruction.starts_with("copy --from=");
    let is_known = |all: &[&str]| all.iter().any(|one| words.contains(one));
    if pulls {
        // As of a pull: a lack of rights may be mended where nothing of the release is.
        let denied = words.contains("denied") || words.contains("unauthorized");
        let copies = words.contains("copy failed");
        return !is_known(&IN_THE_WAY) && (copies || (is_known(&NO_BASE) && !denied));
    }
    !is_known(&IN_THE_WAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::too_many_lines, reason = "one row each")]
    #[test]
    fn what_is_final_and_what_may_pass() {
        let command =
            |code: &str| format!("The command '/bin/sh -c curl # dial tcp' returned a non-zero code: {code}");
        let lookup =
            "Get \"https://registry-1.docker.io/v2/\": dial tcp: lookup registry-1.docker.io: no such host";
        let rows: Vec<(&str, String, bool)> = vec![
            ("RUN x", command("1"), true),
            ("RUN x", command("127"), true),
            ("RUN x", command("137"), false),
            ("RUN x", command("143"), false),
            (
                "RUN x",
                "the --mount option requires BuildKit. Refer to …".into(),
                true,
            ),
            (
                "RUN x",
                "OCI runtime create failed: exec: \"/nope\": stat /nope: no such file or directory".into(),
                true,
            ),
            (
                "RUN x",
                "write /var/lib/docker/x: no space left on device".into(),
                false,
            ),
            ("RUN x", "build cancelled".into(), false),
            (
                "RUN x",
                "rpc error: code = Unavailable desc = transport is closing".into(),
                false,
            ),
            (
                "COPY a b",
                "COPY failed: file not found in build context or excluded by .dockerignore".into(),
                true,
            ),
            (
                "COPY --from=base /a b",
                "COPY failed: stat a: file does not exist".into(),
                true,
            ),
            (
                "COPY --from=nope /a b",
                format!("invalid from flag value nope: {lookup}"),
                false,
            ),
            (
                "ADD http://localhost:9/x /",
                "ADD failed: Get \"http://localhost:9/x\": dial tcp 127.0.0.1:9: connect: connection refused"
                    .into(),
                false,
            ),
            (
                "ADD http://example.org/x /",
                "ADD failed: failed to GET http://example.org/x with status 404 Not Found".into(),
                true,
            ),
            ("FROM x", lookup.into(), false),
            (
                "FROM x",
                "pull access denied for x, repository does not exist or may require 'docker login': denied"
                    .into(),
                false,
            ),
            (
                "FROM x",
                "manifest for x:v9 not found: manifest unknown: manifest unknown".into(),
                true,
            ),
            (
                "FROM x",
                "toomanyrequests: You have reached your pull rate limit".into(),
                false,
            ),
            (
                "FROM x",
                "received unexpected HTTP status: 503 Service Unavailable".into(),
                false,
            ),
            (
                "FROM X",
                "invalid reference format: repository name must be lowercase".into(),
                true,
            ),
            (
                "FROM x",
                "no matching manifest for linux/arm64/v8 in the manifest list entries".into(),
                true,
            ),
            ("FROM x", "something else".into(), false),
            (
                "FROM scratch",
                "No image was generated. Is your Dockerfile empty?".into(),
                true,
            ),
            (
                "",
                "dockerfile parse error line 2: unknown instruction: FOO".into(),
                true,
            ),
            ("", "failed to reach build target zz in Dockerfile".into(), true),
        ];
        for (instruction, words, expected) in rows {
            assert_eq!(
                is_final(Some(instruction), &words),
                expected,
                "{instruction}: {words}"
            );
        }
    }
}
