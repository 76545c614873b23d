//! What is: lists, inspections, logs. Nothing here changes anything.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bollard::container::LogOutput;
use bollard::models::{ContainerInspectResponse, ContainerSummary, EndpointSettings, MountPoint};
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptions, LogsOptions};
use futures_util::StreamExt as _;
use state::name::{ContainerId, StackName};
use state::observed::{ContainerObs, ContainerState, DockerHealth};
use state::stack_spec::RestartPolicy;

use super::DockerEngine;
use super::client::READ;
use crate::engine::command::Tail;
use crate::engine::labels;
use crate::engine::{Attachment, Carried, ContainerDetail, EngineError, status};

/// The most of a log's last lines that is kept, in bytes.
const LOG_BYTES: usize = 64 * 1024;

/// How long what an inspection said of a young container can be of use: then it is no longer young.
const YOUTH: Duration = Duration::from_secs(120);

/// How often young containers had been restarted when they were inspected. It stays true for as long
/// as a list shows that they have been up since.
#[derive(Debug, Default)]
pub(super) struct Youth(Mutex<BTreeMap<ContainerId, (u32, Instant)>>);

impl Youth {
    /// What is known of a container that had been up for `up`, at least, when it was `listed`.
    fn known(&self, id: &ContainerId, up: Duration, listed: Instant) -> Option<u32> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (restarts, asked) = known.get(id)?;
        (listed.saturating_duration_since(*asked) <= up).then_some(*restarts)
    }

    fn note(&self, id: &ContainerId, restarts: u32, asked: Instant) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (_, at)| asked.saturating_duration_since(*at) < YOUTH);
        known.insert(id.clone(), (restarts, asked));
    }
}

impl DockerEngine {
    pub(super) async fn list(&self, label: String) -> Result<Vec<ContainerSummary>, EngineError> {
        let client = self.connection.client().await?;
        let options = ListContainersOptions {
            all: true,
            filters: Some(HashMap::from([("label".to_owned(), vec![label])])),
            ..ListContainersOptions::default()
        };
        self.connection
            .within(
                "list containers",
                READ,
                client.docker.list_containers(Some(options)),
            )
            .await
    }

    pub(super) async fn list_project(&self, project: &StackName) -> Result<Vec<ContainerObs>, EngineError> {
        let summaries = self.list(format!("{}={project}", labels::PROJECT)).await?;
        let listed = Instant::now();
        let mut found = Vec::with_capacity(summaries.len());
        for summary in summaries {
            let text = summary.status.clone().unwrap_or_default();
            let Some(mut container) = from_summary(summary)? else {
                continue;
            };
            if let Some(up) = status::youth(&container.state, &text) {
                container.restarts = self.restarts(&container.id, up, listed).await?;
            }
            found.push(container);
        }
        found.sort_by(|a, b| (&a.service, a.number, &a.name).cmp(&(&b.service, b.number, &b.name)));
        Ok(found)
    }

    /// How often the engine has restarted a young container, which is up for `up` at least.
    async fn restarts(
        &self,
        id: &ContainerId,
        up: Duration,
        listed: Instant,
    ) -> Result<Option<u32>, EngineError> {
        if let Some(restarts) = self.youth.known(id, up, listed) {
            return Ok(Some(restarts));
        }
        let asked = Instant::now();
        let seen = self.inspect(id.as_str()).await?;
        let count = seen.and_then(|seen| seen.restart_count);
        let restarts = count.and_then(|count| u32::try_from(count).ok());
        if let Some(restarts) = restarts {
            self.youth.note(id, restarts, asked);
        }
        Ok(restarts)
    }

    pub(super) async fn inspect(&self, id: &str) -> Result<Option<ContainerInspectResponse>, EngineError> {
        let client = self.connection.client().await?;
        let work = client
            .docker
            .inspect_container(id, None::<InspectContainerOptions>);
        self.connection.find("inspect container", work).await
    }

    pub(super) async fn tail(&self, id: &ContainerId, lines: u32) -> Result<String, EngineError> {
        let client = self.connection.client().await?;
        let options = LogsOptions {
            stdout: true,
            stderr: true,
            tail: lines.to_string(),
            ..LogsOptions::default()
        };
        let mut stream = client.docker.logs(id.as_str(), Some(options));
        let read = async {
            let mut tail = Tail::new(LOG_BYTES);
            while let Some(part) = stream.next().await {
                tail.push(&LogOutput::into_bytes(part?));
            }
            Ok(tail.text())
        };
        self.connection.within("read log", READ, read).await
    }
}

/// `None`: it carries the project's label but no service's, so it is not ours to judge.
fn from_summary(summary: ContainerSummary) -> Result<Option<ContainerObs>, EngineError> {
    let labels: BTreeMap<String, String> = summary.labels.unwrap_or_default().into_iter().collect();
    let names = summary.names.unwrap_or_default();
    // A linked container is listed as `/other/alias` too.
    let name = names
        .iter()
        .map(|n| n.trim_start_matches('/'))
        .find(|n| !n.contains('/'))
        .unwrap_or_default();
    let word = summary.state.map(|s| s.to_string()).unwrap_or_default();
    let text = summary.status.unwrap_or_default();
    let state =
        status::state(&word, &text).ok_or_else(|| garbled(format!("a container's state is \"{word}\"")))?;
    identify(summary.id, name, summary.image_id, &labels, state)
}

fn identify(
    id: Option<String>,
    name: &str,
    image: Option<String>,
    found: &BTreeMap<String, String>,
    state: ContainerState,
) -> Result<Option<ContainerObs>, EngineError> {
    let Some(service) = found.get(labels::SERVICE).and_then(|s| s.parse().ok()) else {
        return Ok(None);
    };
    Ok(Some(ContainerObs {
        id: id
            .unwrap_or_default()
            .try_into()
            .map_err(|e| garbled(format!("{e}")))?,
        name: name.to_owned(),
        service,
        number: found
            .get(labels::NUMBER)
            .and_then(|n| n.parse().ok())
            .unwrap_or(1),
        image: image
            .unwrap_or_default()
            .try_into()
            .map_err(|e| garbled(format!("{e}")))?,
        state,
        spec: found.get(labels::SPEC).cloned(),
        operation: found.get(labels::OPERATION).and_then(|n| n.parse().ok()),
        oneoff: found
            .get(labels::ONEOFF)
            .is_some_and(|text| text.eq_ignore_ascii_case("true")),
        restarts: None,
    }))
}

/// What an inspection says, in our words.
pub(super) fn detail(seen: ContainerInspectResponse) -> Result<Option<ContainerDetail>, EngineError> {
    let config = seen.config.unwrap_or_default();
    let labels: BTreeMap<String, String> = config.labels.unwrap_or_default().into_iter().collect();
    let name = seen.name.unwrap_or_default().trim_start_matches('/').to_owned();
    // The short id and the host name come by themselves.
    let id = seen.id.clone().unwrap_or_default();
    let host = config.hostname.unwrap_or_default();
    let by_itself = |alias: &String| *alias == host || (alias.len() >= 12 && id.starts_with(alias.as_str()));
    let life = life(seen.state.as_ref());
    let started = seen
        .state
        .as_ref()
        .and_then(|state| started(state.started_at.as_deref()?));
    let Some(mut summary) = identify(seen.id, &name, seen.image, &labels, life)? else {
        return Ok(None);
    };
    summary.restarts = seen.restart_count.and_then(|count| u32::try_from(count).ok());
    let mounts = seen.mounts.unwrap_or_default();
    let networks = seen.network_settings.and_then(|s| s.networks).unwrap_or_default();
    let mut networks: Vec<_> = networks
        .into_iter()
        .map(|(network, endpoint)| attachment(network, endpoint, &by_itself))
        .collect();
    networks.sort_by(|a, b| a.network.cmp(&b.network));
    let host_config = seen.host_config.unwrap_or_default();
    Ok(Some(ContainerDetail {
        homes: homes(&host_config),
        restart: restart(host_config.restart_policy),
        networks,
        anonymous: anonymous(&mounts),
        writable: writable(&mounts),
        started,
        summary,
    }))
}

/// A moment in milliseconds; the zero time is how the engine says "never".
fn started(at: &str) -> Option<i64> {
    let at: jiff::Timestamp = at.parse().ok()?;
    (at.as_second() > 0).then(|| at.as_millisecond())
}

/// The containers whose namespaces it shares. One whose volumes it shares need not run.
fn homes(host: &bollard::models::HostConfig) -> BTreeSet<String> {
    let modes = [&host.network_mode, &host.pid_mode, &host.ipc_mode];
    let shared = modes
        .into_iter()
        .flatten()
        .filter_map(|mode| mode.strip_prefix("container:"));
    shared.map(str::to_owned).collect()
}

pub(super) fn life(seen: Option<&bollard::models::ContainerState>) -> ContainerState {
    use bollard::models::{ContainerStateStatusEnum as Status, HealthStatusEnum as Health};
    let Some(seen) = seen else {
        return ContainerState::Gone;
    };
    let health = seen
        .health
        .as_ref()
        .and_then(|h| h.status)
        .and_then(|status| match status {
            Health::STARTING => Some(DockerHealth::Starting),
            Health::HEALTHY => Some(DockerHealth::Healthy),
            Health::UNHEALTHY => Some(DockerHealth::Unhealthy),
            Health::EMPTY | Health::NONE => None,
        });
    match seen.status {
        Some(Status::CREATED) => ContainerState::Created,
        Some(Status::RUNNING | Status::STOPPING) => ContainerState::Running(health),
        Some(Status::PAUSED) => ContainerState::Paused,
        Some(Status::RESTARTING) => ContainerState::Restarting,
        Some(Status::EXITED) => ContainerState::Exited(seen.exit_code),
        Some(Status::REMOVING | Status::DEAD | Status::EMPTY) | None => ContainerState::Gone,
    }
}

fn attachment(
    network: String,
    endpoint: EndpointSettings,
    by_itself: &dyn Fn(&String) -> bool,
) -> Attachment {
    let fixed = endpoint.ipam_config.unwrap_or_default();
    let filled = |text: Option<String>| text.filter(|t| !t.is_empty());
    let aliases = endpoint.aliases.unwrap_or_default();
    let address = filled(endpoint.ip_address).or(filled(endpoint.global_ipv6_address));
    Attachment {
        network,
        aliases: aliases.into_iter().filter(|alias| !by_itself(alias)).collect(),
        fixed_ipv4: filled(fixed.ipv4_address),
        fixed_ipv6: filled(fixed.ipv6_address),
        address: address.and_then(|text| text.parse().ok()),
    }
}

/// The engine's restart policy in our words.
pub(crate) fn restart(policy: Option<bollard::models::RestartPolicy>) -> RestartPolicy {
    use bollard::models::RestartPolicyNameEnum as Name;
    let Some(policy) = policy else {
        return RestartPolicy::No;
    };
    let max = policy
        .maximum_retry_count
        .and_then(|n| u32::try_from(n).ok())
        .filter(|n| *n > 0);
    match policy.name {
        Some(Name::ALWAYS) => RestartPolicy::Always,
        Some(Name::UNLESS_STOPPED) => RestartPolicy::UnlessStopped,
        Some(Name::ON_FAILURE) => RestartPolicy::OnFailure { max },
        Some(Name::NO | Name::EMPTY) | None => RestartPolicy::No,
    }
}

fn is_volume(mount: &MountPoint) -> bool {
    mount.typ.as_deref() == Some("volume")
}

/// Mounts of volumes whose name the engine made up.
pub(super) fn anonymous(mounts: &[MountPoint]) -> Vec<Carried> {
    let made_up = |name: &str| name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit());
    let mut found: Vec<Carried> = mounts
        .iter()
        .filter(|mount| is_volume(mount))
        .filter_map(|mount| {
            let volume = mount.name.clone().filter(|name| made_up(name))?;
            Some(Carried {
                target: mount.destination.clone()?,
                volume,
            })
        })
        .collect();
    found.sort_by(|a, b| a.target.cmp(&b.target));
    found
}

fn writable(mounts: &[MountPoint]) -> BTreeSet<String> {
    let source = |mount: &MountPoint| match mount.typ.as_deref() {
        Some("volume") => mount.name.clone(),
        Some("bind") => mount.source.clone(),
        _ => None,
    };
    mounts
        .iter()
        .filter(|mount| mount.rw.unwrap_or(true))
        .filter_map(source)
        .collect()
}

fn garbled(reason: String) -> EngineError {
    EngineError::Garbled {
        call: "list containers",
        reason,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn restarts_are_known_for_as_long_as_a_list_shows_that_there_was_none() {
        let youth = Youth::default();
        let (asked, id) = (Instant::now(), "a".repeat(64).parse().unwrap());
        youth.note(&id, 2, asked);
        // (up for, listed so long after the inspection)
        let rows = [
            (5_000, 3_000, Some(2)),
            (60_000, 59_999, Some(2)),
            (60_000, 60_000, Some(2)),
            // It may have died and come back since.
            (2_000, 3_000, None),
            (60_000, 61_000, None),
            (0, 1, None),
        ];
        for (up, after, expected) in rows {
            let listed = asked + Duration::from_millis(after);
            let known = youth.known(&id, Duration::from_millis(up), listed);
            assert_eq!(known, expected, "up {up} ms, {after} ms later");
        }
        let other = "b".repeat(64).parse().unwrap();
        assert_eq!(youth.known(&other, YOUTH, asked), None);
        youth.note(&other, 0, asked + YOUTH);
        assert_eq!(youth.known(&id, YOUTH, asked), None, "what is old is forgotten");
    }
}
