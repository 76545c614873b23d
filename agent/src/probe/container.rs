//! Probes that ask nobody: what the engine already said of the containers. Pure.

use state::health::Sample;
use state::observed::{ContainerObs, ContainerState, DockerHealth, Known};

use super::ServiceView;

/// `container`: every container of the service runs, or has done what it was for.
pub(super) fn running(service: &ServiceView<'_>) -> Sample {
    every(service, |container| alive(container, service.one_shot))
}

/// `healthcheck`: Docker's own HEALTHCHECK says that every container of the service is healthy.
pub(super) fn healthy(service: &ServiceView<'_>) -> Sample {
    every(service, |container| match container.state {
        ContainerState::Running(Some(DockerHealth::Healthy)) => Sample::Pass,
        ContainerState::Running(Some(DockerHealth::Unhealthy)) => {
            Sample::Fail(String::from("unhealthy, says its HEALTHCHECK"))
        }
        ContainerState::Running(Some(DockerHealth::Starting)) => {
            Sample::Starting(String::from("its HEALTHCHECK is still starting"))
        }
        ContainerState::Running(None) => Sample::Unknown(String::from("it has no HEALTHCHECK")),
        _ => alive(container, service.one_shot),
    })
}

/// Whether one container lives; exit code 0 is as good where the service is meant to end.
pub(super) fn alive(container: &ContainerObs, one_shot: bool) -> Sample {
    let fail = |words: &str| Sample::Fail(words.to_owned());
    match container.state {
        ContainerState::Running(_) => Sample::Pass,
        ContainerState::Exited(Some(0)) if one_shot => Sample::Pass,
        ContainerState::Exited(Some(code)) => Sample::Fail(format!("exited with code {code}")),
        ContainerState::Exited(None) => fail("exited"),
        ContainerState::Restarting => fail("dies and is restarted again and again"),
        ContainerState::Created => fail("created, but not started"),
        ContainerState::Paused => fail("paused"),
        ContainerState::Gone => fail("dead, or being removed"),
    }
}

/// The containers that a probe is about, or the sample when there are none to ask.
pub(super) fn judged<'a>(service: &ServiceView<'a>) -> Result<Vec<&'a ContainerObs>, Sample> {
    let containers = match &service.containers {
        Known::Known(containers) => *containers,
        Known::Unknown(why) => return Err(Sample::Unknown(why.clone())),
    };
    let judged: Vec<_> = containers.iter().filter(|container| !container.oneoff).collect();
    if judged.is_empty() {
        return Err(Sample::Fail(String::from("it has no container")));
    }
    Ok(judged)
}

/// The samples of all containers as one: the first fail, else the first unknown, else a pass.
pub(super) fn together(samples: impl IntoIterator<Item = (String, Sample)>) -> Sample {
    let mut worst = Sample::Pass;
    for (name, sample) in samples {
        match (sample, &worst) {
            (Sample::Fail(why), _) => return Sample::Fail(format!("{name}: {why}")),
            (Sample::Unknown(why), Sample::Pass) => worst = Sample::Unknown(format!("{name}: {why}")),
            (Sample::Starting(why), Sample::Pass) => worst = Sample::Starting(format!("{name}: {why}")),
            _ => {}
        }
    }
    worst
}

fn every(service: &ServiceView<'_>, judge: impl Fn(&ContainerObs) -> Sample) -> Sample {
    match judged(service) {
        Err(sample) => sample,
        Ok(containers) => together(
            containers
                .into_iter()
                .map(|container| (container.name.clone(), judge(container))),
        ),
    }
}
