//! What the engine's words in a list mean: state, health, exit code, age. Pure.

use std::time::Duration;

use state::observed::{ContainerState, DockerHealth};

/// The life of a container from the `State` and `Status` of a list. The oldest engine has no health
/// field there, so its text is read: `Up 3 minutes (unhealthy)`, `Exited (137) 2 hours ago`.
pub(crate) fn state(state: &str, status: &str) -> Option<ContainerState> {
    Some(match state {
        "created" => ContainerState::Created,
        "running" | "stopping" => ContainerState::Running(health(status)),
        "restarting" => ContainerState::Restarting,
        "paused" => ContainerState::Paused,
        "exited" => ContainerState::Exited(exit_code(status)),
        "removing" | "dead" => ContainerState::Gone,
        _ => return None,
    })
}

/// How long a container has been up, at least, where that is so short that it may be in a crash loop
/// which a list alone does not show; zero when it is restarting.
pub(crate) fn youth(state: &ContainerState, status: &str) -> Option<Duration> {
    let seconds = match state {
        ContainerState::Restarting => 0,
        ContainerState::Running(_) => {
            let age = status.strip_prefix("Up ")?;
            match age.split_once(' ')? {
                ("Less", _) => 0,
                ("About", rest) if rest.starts_with("a minute") => 60,
                (count, unit) if unit.starts_with("second") => count.parse().ok()?,
                _ => return None,
            }
        }
        _ => return None,
    };
    Some(Duration::from_secs(seconds))
}

fn health(status: &str) -> Option<DockerHealth> {
    if status.ends_with("(healthy)") {
        Some(DockerHealth::Healthy)
    } else if status.ends_with("(unhealthy)") {
        Some(DockerHealth::Unhealthy)
    } else if status.ends_with("(health: starting)") {
        Some(DockerHealth::Starting)
    } else {
        None
    }
}

fn exit_code(status: &str) -> Option<i64> {
    let rest = status.strip_prefix("Exited (")?;
    rest.split(')').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows() {
        use ContainerState::{Created, Exited, Gone, Paused, Restarting, Running};
        let rows = [
            ("created", "Created", Some(Created), None),
            (
                "running",
                "Up 12 seconds (health: starting)",
                Some(Running(Some(DockerHealth::Starting))),
                Some(12),
            ),
            (
                "running",
                "Up 3 minutes (healthy)",
                Some(Running(Some(DockerHealth::Healthy))),
                None,
            ),
            (
                "running",
                "Up 3 minutes (unhealthy)",
                Some(Running(Some(DockerHealth::Unhealthy))),
                None,
            ),
            ("running", "Up Less than a second", Some(Running(None)), Some(0)),
            ("running", "Up 1 second", Some(Running(None)), Some(1)),
            ("running", "Up About a minute", Some(Running(None)), Some(60)),
            ("running", "Up About an hour", Some(Running(None)), None),
            ("stopping", "Up 2 hours", Some(Running(None)), None),
            (
                "restarting",
                "Restarting (1) 4 seconds ago",
                Some(Restarting),
                Some(0),
            ),
            ("paused", "Up 5 minutes (Paused)", Some(Paused), None),
            (
                "exited",
                "Exited (137) 2 hours ago",
                Some(Exited(Some(137))),
                None,
            ),
            ("exited", "Exited 2 hours ago", Some(Exited(None)), None),
            ("removing", "Removal In Progress", Some(Gone), None),
            ("dead", "Dead", Some(Gone), None),
            ("sleeping", "", None, None),
        ];
        for (word, status, expected, young) in rows {
            let found = state(word, status);
            assert_eq!(found, expected, "{status}");
            let youth = found.and_then(|s| youth(&s, status));
            assert_eq!(youth.map(|age| age.as_secs()), young, "{status}");
        }
    }
}
