//! How each service can be asked whether it is well: first as its HEALTHCHECK asks, then at the ports that it says it
//! listens on. What is asked is worked out here; asking is not.

use std::collections::BTreeMap;
use std::ops::Range;

use state::name::ServiceName;
use state::observed::{ContainerState, DockerHealth};

use super::database::is_postgres;
use super::files::Files;
use super::found::{Kind, Probe, Question};
use super::tags::{image_of, is_not_ours};

/// The pages that applications have for it, the likeliest first; the last one says least.
const PAGES: [&str; 6] = ["/health", "/healthz", "/api/health", "/ready", "/-/healthy", "/"];

/// Ports at which something else than HTTP is spoken: a GET there is noise in somebody's log.
const NO_HTTP: [u16; 17] = [
    21, 22, 25, 53, 587, 1433, 1521, 1883, 2181, 3306, 4222, 5432, 5672, 6379, 9092, 11211, 27017,
];

/// How many ports of one service are tried.
const MOST_PORTS: usize = 3;

/// Shorter values are part of something else by chance.
const SHORTEST_VALUE: usize = 4;

/// What was answered to whom; what is not in it was not asked in time.
pub(crate) type Answers = BTreeMap<(ServiceName, Kind), bool>;

/// What to ask each service, in the order of preference.
pub(crate) fn candidates(files: &Files<'_>) -> Vec<(ServiceName, Vec<Kind>)> {
    let services = files
        .spec
        .services
        .keys()
        .filter(|service| !is_done(files, service));
    services
        .map(|service| (service.clone(), of(files, service)))
        .collect()
}

/// Whether it is there to end.
fn is_done(files: &Files<'_>, service: &ServiceName) -> bool {
    files.spec.is_one_shot(service)
}

fn of(files: &Files<'_>, service: &ServiceName) -> Vec<Kind> {
    let Some(container) = files.project.running(service.as_str()).next() else {
        return Vec::new();
    };
    let http = |port: u16, path: String| match container.address {
        Some(_) => Kind::Http { port, path },
        None => Kind::Url(format!("http://localhost:{port}{path}")),
    };
    // What a variable has put into it may be secret, and would be written: such a page is left to the HEALTHCHECK.
    let page = url_of(&container.healthcheck, files.values());
    if let Some((port, path)) = page.filter(|_| !files.variable_checks.contains(service)) {
        return vec![http(port, path)];
    }
    if has_check(&container.healthcheck) {
        return Vec::new();
    }
    let mut kinds = Vec::new();
    for &port in container.ports.iter().take(MOST_PORTS) {
        if !NO_HTTP.contains(&port) {
            kinds.extend(PAGES.map(|path| http(port, path.to_owned())));
        }
    }
    if container.address.is_some() {
        kinds.extend(
            container
                .ports
                .iter()
                .take(MOST_PORTS)
                .map(|&port| Kind::Tcp(port)),
        );
    }
    kinds
}

fn has_check(test: &[String]) -> bool {
    test.len() > 1
}

/// The port and the path that a HEALTHCHECK asks for over HTTP, where no part of the path is one of the values.
fn url_of<'v>(test: &[String], mut values: impl Iterator<Item = &'v str>) -> Option<(u16, String)> {
    let line = test.join(" ");
    let begin = line.find("http://")? + "http://".len();
    let rest = &line[begin..];
    let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ')' | ';' | '|' | '&' | '$' | '`');
    let url = &rest[..rest.find(ends).unwrap_or(rest.len())];
    let (authority, path) = url.split_at(url.find('/').unwrap_or(url.len()));
    if authority.contains('@') || path.contains(['?', '#']) {
        return None;
    }
    let port = match authority.rsplit_once(':') {
        Some((_, port)) if !port.ends_with(']') => port.parse().ok()?,
        _ => 80,
    };
    let place = begin + authority.len()..begin + url.len();
    if values.any(|value| reaches_into(&line, value, &place)) {
        return None;
    }
    let path = if path.is_empty() { "/" } else { path };
    Some((port, path.to_owned()))
}

/// Whether a value stands in that part of the line, or begins or ends there: the part may have been cut out of it.
fn reaches_into(line: &str, value: &str, part: &Range<usize>) -> bool {
    if value.chars().count() < SHORTEST_VALUE {
        return false;
    }
    let mut windows = line.as_bytes().windows(value.len()).enumerate();
    windows.any(|(at, window)| window == value.as_bytes() && at < part.end && at + value.len() > part.start)
}

/// The choice for every service.
pub(crate) fn probes(files: &Files<'_>, answers: &Answers, questions: &mut Vec<Question>) -> Vec<Probe> {
    let mut probes = Vec::new();
    for (service, kinds) in candidates(files) {
        probes.push(choose(files, &service, &kinds, answers, questions));
    }
    probes
}

fn choose(
    files: &Files<'_>,
    service: &ServiceName,
    kinds: &[Kind],
    answers: &Answers,
    questions: &mut Vec<Question>,
) -> Probe {
    let (kind, why, question) = match files.project.running(service.as_str()).next() {
        None => {
            let what = format!("{service} does not run: how its health is seen is not known");
            let way_out = "write how it is asked, once it runs; so far it is well when its container runs";
            (Kind::Container, "it does not run now", Some((what, way_out)))
        }
        Some(container) => {
            let passes = |kind: &&Kind| answers.get(&(service.clone(), (*kind).clone())) == Some(&true);
            let answered = kinds.iter().find(passes).cloned();
            if has_check(&container.healthcheck) {
                by_check(service, &container.state, answered)
            } else {
                let is_ours = !is_not_ours(&image_of(files, service)) && !is_postgres(files, service);
                guessed(service, is_ours, answered)
            }
        }
    };
    questions.extend(question.map(|(what, way_out)| Question::of(&files.project.name, what, way_out)));
    Probe {
        service: service.clone(),
        kind,
        why: why.to_owned(),
    }
}

/// How it is asked, why so, and what is not known of it.
type Choice = (Kind, &'static str, Option<(String, &'static str)>);

/// Of a service with a HEALTHCHECK.
fn by_check(service: &ServiceName, state: &ContainerState, answered: Option<Kind>) -> Choice {
    let unhealthy = *state == ContainerState::Running(Some(DockerHealth::Unhealthy));
    let question = unhealthy.then(|| {
        let what = format!("{service} is unhealthy now, as its HEALTHCHECK says");
        (
            what,
            "mend it before the first run: what is never well is never proven good",
        )
    });
    match answered {
        Some(kind) => (kind, "as its HEALTHCHECK asks; answered just now", question),
        None => (Kind::Healthcheck, "what its HEALTHCHECK says", question),
    }
}

/// Of a service without.
fn guessed(service: &ServiceName, is_ours: bool, answered: Option<Kind>) -> Choice {
    match answered {
        Some(kind @ (Kind::Http { .. } | Kind::Url(_))) => {
            let question = ends_in_root(&kind).then(|| {
                let what = format!("{service} has no page that is known to tell its health: / is asked");
                (what, "name one that says whether your users can work, as path")
            });
            (kind, "answered just now", question)
        }
        Some(kind) => {
            let question = is_ours.then(|| {
                let what = format!(
                    "{service} answered no page that tells its health; that its port opens is all that is asked"
                );
                (what, "name a page: kind = \"http\", with port and path")
            });
            (kind, "a connection opens", question)
        }
        None => {
            let what = format!(
                "{service} has no HEALTHCHECK and no port that answers: that its container runs is all that is asked"
            );
            let way_out =
                "write a healthcheck into the Compose file (and kind = \"healthcheck\"), or name a port";
            (Kind::Container, "nothing more is known", Some((what, way_out)))
        }
    }
}

fn ends_in_root(kind: &Kind) -> bool {
    match kind {
        Kind::Http { path, .. } => path == "/",
        Kind::Url(url) => url.matches('/').count() == 3 && url.ends_with('/'),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_healthcheck_asks_for() {
        for (test, expected) in [
            (
                "CMD curl -fs http://localhost:8000/health",
                Some((8000, "/health")),
            ),
            ("CMD-SHELL wget -qO- http://127.0.0.1/ || exit 1", Some((80, "/"))),
            ("CMD-SHELL curl -f \"http://localhost:3000\"", Some((3000, "/"))),
            (
                "CMD python3 -c urlopen('http://localhost:8000/health')",
                Some((8000, "/health")),
            ),
            ("CMD curl http://[::1]:8080/x;true", Some((8080, "/x"))),
            // What needs more than a page is left to it.
            ("CMD curl http://user:pw@localhost/health", None),
            ("CMD curl http://localhost/health?token=1", None),
            ("CMD curl -k https://localhost/health", None),
            ("CMD-SHELL curl http://localhost:$PORT/health", None),
            ("CMD pg_isready", None),
            ("NONE", None),
        ] {
            let words: Vec<String> = test.split(' ').map(str::to_owned).collect();
            let found = url_of(&words, ["8000", "localhost", "/", "curl"].into_iter());
            assert_eq!(
                found.as_ref().map(|(port, path)| (*port, path.as_str())),
                expected,
                "{test}"
            );
        }
    }

    #[test]
    fn no_value_is_part_of_a_page() {
        let token = "CMD curl -f http://localhost:8000/health/tok;en/x";
        for (test, value, expected) in [
            (token, "else", true),
            (token, "tok", true),
            (token, "tok;en", false),
            (token, "health", false),
            // It is cut off where the URL ends, and reaches over its beginning.
            (token, "health/tok;en/x", false),
            (token, "http://localhost:8000/", false),
            ("CMD curl http://localhost:8000", "http://localhost:8000", true),
            ("CMD curl http://localhost/aaabab", "abab", false),
        ] {
            let words: Vec<String> = test.split(' ').map(str::to_owned).collect();
            let found = url_of(&words, std::iter::once(value));
            assert_eq!(found.is_some(), expected, "{value} in {test}");
        }
    }
}
