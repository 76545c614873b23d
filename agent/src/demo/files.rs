//! What the demo's files say: an ordinary stack, and an ordinary configuration with short spans.

use std::path::Path;

/// The Compose project, and so the stack.
pub(super) const PROJECT: &str = "steadfast-demo";
/// The label by which the demo knows what it made.
pub(super) const LABEL: &str = "io.steadfast.demo";
/// The password of the demo's database. It may stand in `.env` and in the containers, and nowhere else.
pub(super) const PASSWORD: &str = "demo-7f3a91c4e2";

/// How long a release may fail. Five minutes outside of the demo.
pub(super) const WINDOW: u64 = 20;
/// How long a release has to be healthy. Five minutes outside of the demo.
pub(super) const GOOD_AFTER: u64 = 12;
/// The release that is bad, until its cause is mended. It brings migration 0002.
pub(super) const BAD: &str = "v1.8.0";
/// How long [`BAD`] is well: long enough to be taken for a good one, too short to be proven.
pub(super) const FAIL_AFTER: u64 = 9;

/// The ports of this host, on the loopback, where the stack is reached.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    pub(super) api: u16,
    pub(super) frontend: u16,
}

/// The Compose file. What is made from it carries [`LABEL`].
pub(super) fn compose(ports: Ports) -> String {
    let Ports { api, frontend } = ports;
    let cause = cause();
    format!(
        r#"name: {PROJECT}
x-labels: &ours
  {LABEL}: "1"
services:
  postgres:
    image: steadfast-test/postgres:15
    environment:
      POSTGRES_PASSWORD: ${{POSTGRES_PASSWORD:?}}
      POSTGRES_DB: bybit_tester
    volumes: [data:/var/lib/postgresql/data]
    healthcheck:
      test: [CMD, pg_isready, --quiet, --host=127.0.0.1, --username=postgres]
      interval: 1s
      timeout: 3s
      retries: 60
    labels: *ours
  api:
    image: steadfast-test/api:${{TAG}}
    environment:
      DATABASE_URL: postgresql://postgres:${{POSTGRES_PASSWORD}}@postgres:5432/bybit_tester
      FAIL_AFTER: {FAIL_AFTER}
{cause}    ports: [127.0.0.1:{api}:8000]
    depends_on:
      postgres: {{ condition: service_healthy }}
    labels: *ours
  frontend:
    image: steadfast-test/frontend:${{TAG}}
    ports: [127.0.0.1:{frontend}:80]
    depends_on: [api]
    labels: *ours
networks:
  default:
    labels: *ours
volumes:
  data:
    labels: *ours
"#
    )
}

/// The line of the Compose file that makes [`BAD`] fail.
pub(super) fn cause() -> String {
    format!("      FAILING: {BAD}\n")
}

/// The stack's `.env`.
pub(super) fn env() -> String {
    format!("POSTGRES_PASSWORD={PASSWORD}\n")
}

/// The configuration of the daemon, in the demo's directory.
pub(super) fn steadfast(directory: &Path, engine: &str, ports: Ports) -> String {
    let Ports { api, frontend } = ports;
    let directory = directory.display();
    format!(
        r#"[agent]
state_dir = "{directory}/state"
desired   = "{directory}/etc/desired.toml"
socket    = "{directory}/run/steadfast.sock"
engine    = "{engine}"
settle    = "1s"
resync    = "5s"
http      = false

[stack.{PROJECT}]
directory = "{directory}/stack"

[stack.{PROJECT}.trial]
window     = "{WINDOW}s"
good_after = "{GOOD_AFTER}s"
trial_max  = "5m"

[[stack.{PROJECT}.probe]]
name     = "api"
service  = "api"
kind     = "http"
url      = "http://127.0.0.1:{api}/health"
interval = "1s"

[[stack.{PROJECT}.probe]]
name     = "frontend"
service  = "frontend"
kind     = "http"
url      = "http://127.0.0.1:{frontend}/health"
interval = "1s"

[[stack.{PROJECT}.probe]]
name     = "postgres"
service  = "postgres"
kind     = "healthcheck"
interval = "1s"

[stack.{PROJECT}.database]
service      = "postgres"
dbname       = "bybit_tester"
password_env = "POSTGRES_PASSWORD"

[stack.{PROJECT}.database.migrations]
tool    = "alembic"
service = "api"
"#
    )
}

/// What is asked for.
pub(super) fn desired(tag: &str) -> String {
    format!("[{PROJECT}]\ntag = \"{tag}\"\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_spans_make_the_story_possible() {
        // The bad release has to turn bad before it could be proven, and has to be seen well before that.
        const { assert!(3 < FAIL_AFTER && FAIL_AFTER < GOOD_AFTER && GOOD_AFTER < WINDOW) };
    }

    #[test]
    fn the_cause_stands_in_one_line_and_can_be_taken_out() {
        let text = compose(Ports { api: 1, frontend: 2 });
        assert_eq!(text.matches(&cause()).count(), 1, "{text}");
        assert!(!text.replace(&cause(), "").contains("FAILING"), "{text}");
    }

    #[test]
    fn the_password_stands_in_one_file_only() {
        let ports = Ports { api: 1, frontend: 2 };
        let others = [
            compose(ports),
            steadfast(Path::new("/d"), "unix:///e", ports),
            desired("v1"),
        ];
        assert!(env().contains(PASSWORD));
        for other in others {
            assert!(!other.contains(PASSWORD), "{other}");
        }
    }
}
