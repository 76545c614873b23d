//! A one-off container: its service's, but for what would make it answer for that service.

use std::collections::BTreeMap;

use state::stack_spec::{
    Attachment, EnvValue, Healthcheck, HealthcheckTest, Logging, NamespaceMode, Networking, RestartPolicy,
    ServiceSpec,
};

use super::{Context, Rendered, refused, render};
use crate::engine::{EngineError, NewContainer, OnceNetwork, OneOff, labels};

/// The log driver: whatever the service's own is, the output has to be readable, and no disk runs full of it.
const LOG_DRIVER: &str = "local";

/// What the service is without what makes it that service.
pub(crate) fn service(once: &OneOff<'_>) -> ServiceSpec {
    let mut spec = once.spec.clone();
    let mut words = once.command.iter().cloned();
    spec.entrypoint = words.next().map(|program| vec![program]);
    spec.command = Some(words.collect());
    spec.environment.extend(
        once.env
            .iter()
            .map(|(key, value)| (key.clone(), Some(value.clone()))),
    );
    spec.working_dir = once.directory.clone().or(spec.working_dir);
    spec.networking = networking(once);
    if once.network == OnceNetwork::None {
        spec.links.clear();
        spec.external_links.clear();
    }
    // Both output streams apart, and nobody to type.
    (spec.tty, spec.stdin_open) = (false, false);
    // Proxies find their backends by labels; an engine resolves host names.
    spec.labels.clear();
    (spec.hostname, spec.domainname, spec.mac_address) = (None, None, None);
    spec.container_name = None;
    spec.ports.clear();
    spec.expose.clear();
    spec.healthcheck = Some(Healthcheck {
        test: HealthcheckTest::Disabled,
        ..Healthcheck::default()
    });
    spec.logging = Some(Logging {
        driver: Some(LOG_DRIVER.to_owned()),
        options: BTreeMap::<String, EnvValue>::new(),
    });
    spec
}

fn networking(once: &OneOff<'_>) -> Networking {
    let bare = |at: &Attachment| Attachment {
        interface_name: at.interface_name.clone(),
        priority: at.priority,
        gw_priority: at.gw_priority,
        driver_opts: at.driver_opts.clone(),
        ..Attachment::default()
    };
    match (&once.spec.networking, once.network) {
        (_, OnceNetwork::None) => Networking::Mode(NamespaceMode::None),
        (Networking::Mode(mode), OnceNetwork::Stack) => Networking::Mode(mode.clone()),
        (Networking::Networks(all), OnceNetwork::Stack) => {
            Networking::Networks(all.iter().map(|(key, at)| (key.clone(), bare(at))).collect())
        }
    }
}

/// The container to be made, with `spec` from [`service`].
pub(crate) fn container<'a>(once: &OneOff<'a>, spec: &'a ServiceSpec) -> NewContainer<'a> {
    NewContainer {
        stack: once.stack,
        service: once.service,
        spec,
        number: 1,
        name: once.name.clone(),
        image: once.image.clone(),
        spec_hash: String::new(),
        operation: once.operation,
        generation: 0,
        carried: Vec::new(),
        restart: RestartPolicy::No,
        dialect: once.dialect,
        working_dir: once.working_dir.clone(),
        config_files: once.config_files.clone(),
    }
}

/// A container from [`container`], rendered.
pub(crate) fn rendered(new: &NewContainer<'_>, context: &Context) -> Result<Rendered, EngineError> {
    if new.spec.entrypoint.is_none() {
        return Err(refused(new, "there is no command to run"));
    }
    let mut rendered = render(new, context)?;
    let networking = rendered.body.networking_config.as_mut();
    let first = networking.and_then(|config| config.endpoints_config.as_mut());
    let at_create = first.into_iter().flat_map(|endpoints| endpoints.values_mut());
    let afterwards = rendered.later.iter_mut().map(|(_, endpoint)| endpoint);
    for endpoint in at_create.chain(afterwards) {
        endpoint.aliases = None;
    }
    let labels = rendered.body.labels.get_or_insert_default();
    labels.insert(labels::ONEOFF.to_owned(), "True".to_owned());
    // It is made from no specification that anything could be compared with.
    for key in [labels::CONFIG_HASH, labels::SPEC, labels::GENERATION] {
        labels.remove(key);
    }
    Ok(rendered)
}
