//! Changes to containers that exist. Each is done twice as well as once: what is already so is done.

use std::collections::BTreeSet;
use std::time::Duration;

use bollard::models::{
    ContainerInspectResponse, ContainerUpdateBody, EndpointIpamConfig, EndpointSettings,
    NetworkConnectRequest, NetworkDisconnectRequest, RestartPolicyNameEnum,
};
use bollard::query_parameters::{
    KillContainerOptions, RemoveContainerOptions, RenameContainerOptions, StartContainerOptions,
    StopContainerOptions,
};
use state::files::Signal;
use state::name::ContainerId;
use state::stack_spec::RestartPolicy;

use super::DockerEngine;
use super::client::{CHANGE, CREATE};
use crate::engine::{Attachment, EngineError};

/// What a stop may take beyond its grace period: the kill, and taking the network down.
const STOP_MARGIN: Duration = Duration::from_secs(20);
/// Between two looks at a removal that somebody else began.
const REMOVAL_POLL: Duration = Duration::from_millis(100);

impl DockerEngine {
    pub(super) async fn start_container(&self, id: &ContainerId) -> Result<(), EngineError> {
        let client = self.connection.client().await?;
        let work = client
            .docker
            .start_container(id.as_str(), None::<StartContainerOptions>);
        self.connection.within("start container", CREATE, work).await
    }

    pub(super) async fn stop_container(&self, id: &ContainerId, grace: Duration) -> Result<(), EngineError> {
        let client = self.connection.client().await?;
        // The engine counts whole seconds; a started one is granted.
        let seconds = grace.as_secs() + u64::from(grace.subsec_nanos() > 0);
        let options = StopContainerOptions {
            t: Some(i32::try_from(seconds).unwrap_or(i32::MAX)),
            ..StopContainerOptions::default()
        };
        let work = client.docker.stop_container(id.as_str(), Some(options));
        let after = Duration::from_secs(seconds).saturating_add(STOP_MARGIN);
        self.connection.within("stop container", after, work).await
    }

    pub(super) async fn signal_container(&self, id: &ContainerId, signal: Signal) -> Result<(), EngineError> {
        let client = self.connection.client().await?;
        let options = KillContainerOptions {
            signal: signal.to_string(),
        };
        let work = client.docker.kill_container(id.as_str(), Some(options));
        match self.connection.within("signal container", CHANGE, work).await {
            // It does not run, and reads its files when it is started.
            Err(EngineError::Conflict { .. }) => Ok(()),
            other => other,
        }
    }

    pub(super) async fn unpause_container(&self, id: &ContainerId) -> Result<(), EngineError> {
        let client = self.connection.client().await?;
        let work = client.docker.unpause_container(id.as_str());
        self.connection.within("unpause container", CHANGE, work).await
    }

    pub(super) async fn remove_container(&self, id: &str) -> Result<(), EngineError> {
        self.remove_with(id, false).await
    }

    /// Removes by force; with its anonymous volumes, where these are its own. The engine keeps what others use.
    pub(super) async fn remove_with(&self, id: &str, volumes: bool) -> Result<(), EngineError> {
        let client = self.connection.client().await?;
        let options = RemoveContainerOptions {
            v: volumes,
            force: true,
            link: false,
        };
        let work = client.docker.remove_container(id, Some(options));
        match self.connection.within("remove container", CREATE, work).await {
            Err(EngineError::NotFound { .. }) => Ok(()),
            Err(EngineError::Conflict { message, .. }) if message.contains("already in progress") => {
                self.wait_gone(id).await
            }
            other => other,
        }
    }

    async fn wait_gone(&self, id: &str) -> Result<(), EngineError> {
        let gone = async {
            while self.inspect(id).await?.is_some() {
                tokio::time::sleep(REMOVAL_POLL).await;
            }
            Ok(())
        };
        match tokio::time::timeout(CHANGE, gone).await {
            Ok(result) => result,
            Err(_) => Err(EngineError::Timeout {
                call: "remove container",
                after: CHANGE,
            }),
        }
    }

    pub(super) async fn rename_container(&self, id: &ContainerId, name: &str) -> Result<(), EngineError> {
        let client = self.connection.client().await?;
        let options = RenameContainerOptions {
            name: name.to_owned(),
        };
        let work = client.docker.rename_container(id.as_str(), options);
        let result = self.connection.within("rename container", CHANGE, work).await;
        self.or_already(id, result, |seen| {
            seen.name
                .as_deref()
                .is_some_and(|now| now.trim_start_matches('/') == name)
        })
        .await
    }

    pub(super) async fn update_restart(
        &self,
        id: &ContainerId,
        policy: RestartPolicy,
    ) -> Result<(), EngineError> {
        let client = self.connection.client().await?;
        let body = ContainerUpdateBody {
            restart_policy: Some(restart_policy(policy)),
            ..ContainerUpdateBody::default()
        };
        let work = client.docker.update_container(id.as_str(), body);
        self.connection.within("update container", CHANGE, work).await
    }

    pub(super) async fn join(&self, id: &ContainerId, to: &Attachment) -> Result<(), EngineError> {
        // An older engine notes a network that is not there for a stopped container, which then cannot start.
        if self
            .existing_networks(&BTreeSet::from([to.network.clone()]))
            .await?
            .is_empty()
        {
            let message = format!("network {} not found", to.network);
            return Err(EngineError::NotFound {
                call: "connect network",
                message,
            });
        }
        let fixed = to.fixed_ipv4.is_some() || to.fixed_ipv6.is_some();
        let endpoint = EndpointSettings {
            aliases: Some(to.aliases.clone()),
            ipam_config: fixed.then(|| EndpointIpamConfig {
                ipv4_address: to.fixed_ipv4.clone(),
                ipv6_address: to.fixed_ipv6.clone(),
                link_local_ips: None,
            }),
            ..EndpointSettings::default()
        };
        let result = self.connect_endpoint(id, &to.network, endpoint).await;
        self.or_already(id, result, |seen| is_attached(seen, &to.network))
            .await
    }

    pub(super) async fn connect_endpoint(
        &self,
        id: &ContainerId,
        network: &str,
        endpoint: EndpointSettings,
    ) -> Result<(), EngineError> {
        let client = self.connection.client().await?;
        let request = NetworkConnectRequest {
            container: id.as_str().to_owned(),
            endpoint_config: Some(endpoint),
        };
        let work = client.docker.connect_network(network, request);
        self.connection.within("connect network", CHANGE, work).await
    }

    pub(super) async fn leave(&self, id: &ContainerId, network: &str) -> Result<(), EngineError> {
        let client = self.connection.client().await?;
        let request = NetworkDisconnectRequest {
            container: id.as_str().to_owned(),
            force: Some(false),
        };
        let work = client.docker.disconnect_network(network, request);
        let result = self.connection.within("disconnect network", CHANGE, work).await;
        self.or_already(id, result, |seen| !is_attached(seen, network))
            .await
    }

    /// A refusal is no failure when a look shows that it is already so. Transport errors stay errors.
    pub(super) async fn or_already(
        &self,
        id: &ContainerId,
        result: Result<(), EngineError>,
        done: impl Fn(&ContainerInspectResponse) -> bool + Send,
    ) -> Result<(), EngineError> {
        let Err(error) = result else { return Ok(()) };
        let refused = matches!(
            error,
            EngineError::Refused { .. } | EngineError::Conflict { .. } | EngineError::NotFound { .. }
        );
        if refused
            && let Some(seen) = self.inspect(id.as_str()).await?
            && done(&seen)
        {
            return Ok(());
        }
        Err(error)
    }
}

/// Our restart policy in the engine's words.
pub(crate) fn restart_policy(policy: RestartPolicy) -> bollard::models::RestartPolicy {
    let (name, max) = match policy {
        RestartPolicy::No => (RestartPolicyNameEnum::NO, 0),
        RestartPolicy::Always => (RestartPolicyNameEnum::ALWAYS, 0),
        RestartPolicy::UnlessStopped => (RestartPolicyNameEnum::UNLESS_STOPPED, 0),
        RestartPolicy::OnFailure { max } => (RestartPolicyNameEnum::ON_FAILURE, max.unwrap_or(0)),
    };
    bollard::models::RestartPolicy {
        name: Some(name),
        maximum_retry_count: Some(i64::from(max)),
    }
}

pub(super) fn is_attached(seen: &ContainerInspectResponse, network: &str) -> bool {
    let networks = seen.network_settings.as_ref().and_then(|s| s.networks.as_ref());
    networks.is_some_and(|networks| {
        networks
            .iter()
            .any(|(name, at)| name == network || at.network_id.as_deref() == Some(network))
    })
}
