//! Looking: into containers for files, and at services for an answer. The only part of `init` that asks anybody. It is
//! bounded in time, and what was not answered in time counts as not known.

use std::collections::BTreeMap;
use std::time::Duration;

use config::settings::{HttpTarget, ProbeKind, ProbeSettings, StatusSet, TcpTarget};
use state::health::Sample;
use state::name::{ContainerId, ServiceName};
use state::observed::{ContainerObs, Known};
use state::policy::ProbePolicy;
use tokio::time::timeout;

use super::files::Files;
use super::found::Kind;
use super::health::{Answers, candidates};
use super::migrations::{Inside, places, scripts};
use crate::engine::{DockerEngine, Engine as _, EngineError};
use crate::probe::{NetProber, Prober as _, ServiceView};

/// For one question.
const ONE: Duration = Duration::from_secs(2);
/// For all questions about one service.
const SERVICE: Duration = Duration::from_secs(10);
/// For looking into the containers of one stack.
const WITHIN: Duration = Duration::from_secs(30);

/// What the containers of a stack have, and what its services answer.
pub(crate) async fn look(
    engine: &DockerEngine,
    prober: &NetProber,
    files: &Files<'_>,
) -> Result<(Inside, Answers), EngineError> {
    let mut inside = Inside::default();
    // What was found until the time was up counts.
    if let Ok(looked) = timeout(WITHIN, look_inside(engine, files, &mut inside)).await {
        looked?;
    }
    let seen = engine.containers(&files.project.name).await?;
    let mut answers = Answers::new();
    for (service, kinds) in candidates(files) {
        let own: Vec<ContainerObs> = seen
            .iter()
            .filter(|c| c.service == service && c.state.is_running())
            .cloned()
            .collect();
        let _ = timeout(
            SERVICE,
            ask_all(prober, files, &service, &kinds, &own, &mut answers),
        )
        .await;
    }
    Ok((inside, answers))
}

async fn look_inside(
    engine: &DockerEngine,
    files: &Files<'_>,
    inside: &mut Inside,
) -> Result<(), EngineError> {
    for (service, places) in places(files) {
        let Some(container) = files.project.container(service.as_str()) else {
            continue;
        };
        for path in places {
            if engine.has_file(&container.id, &path).await? {
                inside.files.insert((service.clone(), path));
            }
        }
        for path in scripts(files, &service) {
            if let Some(text) = engine.text_in(&container.id, &path).await? {
                inside.scripts.entry(service.clone()).or_default().push(text);
            }
        }
    }
    Ok(())
}

/// Asks one service in the order of preference, until something passes.
async fn ask_all(
    prober: &NetProber,
    files: &Files<'_>,
    service: &ServiceName,
    kinds: &[Kind],
    own: &[ContainerObs],
    answers: &mut Answers,
) {
    let addresses: BTreeMap<ContainerId, std::net::IpAddr> = files
        .project
        .running(service.as_str())
        .filter_map(|c| Some((c.id.clone(), c.address?)))
        .collect();
    let view = ServiceView {
        containers: Known::Known(own),
        addresses: &addresses,
        one_shot: false,
        uptime: None,
    };
    for kind in kinds {
        let Some(probe) = probe(service, kind) else {
            continue;
        };
        let passes = matches!(prober.ask(&probe, &view).await, Sample::Pass);
        answers.insert((service.clone(), kind.clone()), passes);
        if passes {
            return;
        }
    }
}

fn probe(service: &ServiceName, kind: &Kind) -> Option<ProbeSettings> {
    let target = match kind {
        Kind::Http { port, path } => HttpTarget::Container {
            port: *port,
            path: path.clone(),
        },
        Kind::Url(url) => HttpTarget::Url(url.parse().ok()?),
        Kind::Tcp(port) => {
            let target = TcpTarget::Container { port: *port };
            return Some(with(service, ProbeKind::Tcp { target }));
        }
        Kind::Healthcheck | Kind::Container => return None,
    };
    let kind = ProbeKind::Http {
        target,
        status: StatusSet::default(),
        body: None,
    };
    Some(with(service, kind))
}

fn with(service: &ServiceName, kind: ProbeKind) -> ProbeSettings {
    let name = "init".parse().expect("a probe name like any other");
    let policy = ProbePolicy {
        timeout: ONE,
        ..ProbePolicy::new(name, service.clone())
    };
    ProbeSettings { policy, kind }
}
