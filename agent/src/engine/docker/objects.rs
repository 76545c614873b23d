//! Networks, volumes and the ownership marker. Nothing is ever removed here but a network that this
//! very call made twice.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest, VolumeCreateRequest};
use bollard::query_parameters::{ListNetworksOptions, ListVolumesOptions};
use state::name::StackName;
use state::stack_spec::{EnvValue, IpamPool, NetworkSpec, StackSpec, VolumeSpec};

use super::DockerEngine;
use super::client::{CHANGE, READ};
use crate::engine::{Dialect, EngineError, labels};

impl DockerEngine {
    pub(super) async fn existing_networks(
        &self,
        names: &BTreeSet<String>,
    ) -> Result<BTreeSet<String>, EngineError> {
        Ok(self
            .network_ids(names)
            .await?
            .into_iter()
            .map(|(name, _)| name)
            .collect())
    }

    /// Names and identifiers; the engine allows several networks of one name.
    async fn network_ids(&self, names: &BTreeSet<String>) -> Result<Vec<(String, String)>, EngineError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let client = self.connection.client().await?;
        let options = ListNetworksOptions {
            filters: Some(by_name(names)),
        };
        let work = client.docker.list_networks(Some(options));
        let found = self.connection.within("list networks", READ, work).await?;
        // The engine's filter matches parts of names.
        let exact = found
            .into_iter()
            .filter_map(|network| Some((network.name?, network.id?)));
        Ok(exact.filter(|(name, _)| names.contains(name)).collect())
    }

    pub(super) async fn make_network(
        &self,
        stack: &StackSpec,
        key: &str,
        network: &NetworkSpec,
        name: &str,
    ) -> Result<(), EngineError> {
        let wanted = BTreeSet::from([name.to_owned()]);
        if !self.network_ids(&wanted).await?.is_empty() {
            return Ok(());
        }
        let client = self.connection.client().await?;
        let work = client
            .docker
            .create_network(network_request(stack, key, network, name));
        let made = match self.connection.within("create network", CHANGE, work).await {
            Err(EngineError::Conflict { .. }) => return Ok(()),
            other => other?.id,
        };
        // An older engine makes a second network of the same name when two ask at once.
        let twins = self.network_ids(&wanted).await?;
        if twins.iter().any(|(_, id)| *id < made) {
            let work = client.docker.remove_network(&made);
            self.connection.within("remove network", CHANGE, work).await?;
        }
        Ok(())
    }

    pub(super) async fn existing_volumes(
        &self,
        names: &BTreeSet<String>,
    ) -> Result<BTreeSet<String>, EngineError> {
        if names.is_empty() {
            return Ok(BTreeSet::new());
        }
        let client = self.connection.client().await?;
        let options = ListVolumesOptions {
            filters: Some(by_name(names)),
        };
        let work = client.docker.list_volumes(Some(options));
        let found = self
            .connection
            .within("list volumes", READ, work)
            .await?
            .volumes
            .unwrap_or_default();
        Ok(found
            .into_iter()
            .map(|volume| volume.name)
            .filter(|name| names.contains(name))
            .collect())
    }

    pub(super) async fn make_volume(
        &self,
        stack: &StackSpec,
        key: &str,
        volume: &VolumeSpec,
        name: &str,
    ) -> Result<(), EngineError> {
        let client = self.connection.client().await?;
        let work = client
            .docker
            .create_volume(volume_request(stack, key, volume, name));
        match self.connection.within("create volume", CHANGE, work).await {
            Ok(_) => Ok(()),
            Err(error) => Err(error.redacted(volume.driver_opts.values().map(EnvValue::expose))),
        }
    }

    pub(super) async fn mark_owner(
        &self,
        project: &StackName,
        identity: &str,
    ) -> Result<String, EngineError> {
        let client = self.connection.client().await?;
        let name = format!("{}.{project}", labels::OWNER);
        let request = VolumeCreateRequest {
            name: Some(name.clone()),
            labels: Some(HashMap::from([(labels::OWNER.to_owned(), identity.to_owned())])),
            ..VolumeCreateRequest::default()
        };
        let work = client.docker.create_volume(request);
        self.connection.within("create volume", CHANGE, work).await?;
        // Creating what exists answers with it, in some engines with the labels just sent: look.
        let work = client.docker.inspect_volume(&name);
        let found = self.connection.within("inspect volume", READ, work).await?;
        found
            .labels
            .get(labels::OWNER)
            .cloned()
            .ok_or_else(|| EngineError::Garbled {
                call: "inspect volume",
                reason: format!("volume {name} carries no label {}", labels::OWNER),
            })
    }
}

fn by_name(names: &BTreeSet<String>) -> HashMap<String, Vec<String>> {
    HashMap::from([("name".to_owned(), names.iter().cloned().collect())])
}

/// As Compose asks for it. No `config-hash`: see [`labels::CONFIG_HASH`].
fn network_request(stack: &StackSpec, key: &str, network: &NetworkSpec, name: &str) -> NetworkCreateRequest {
    NetworkCreateRequest {
        name: name.to_owned(),
        driver: network.driver.clone(),
        internal: network.internal.then_some(true),
        attachable: network.attachable.then_some(true),
        enable_ipv4: network.enable_ipv4,
        enable_ipv6: network.enable_ipv6,
        options: filled(&network.driver_opts),
        ipam: Some(Ipam {
            driver: network.ipam.driver.clone(),
            config: Some(network.ipam.config.iter().map(pool).collect()),
            options: filled(&network.ipam.options),
        }),
        labels: Some(object_labels(stack, labels::NETWORK, key, &network.labels)),
        ..NetworkCreateRequest::default()
    }
}

fn volume_request(stack: &StackSpec, key: &str, volume: &VolumeSpec, name: &str) -> VolumeCreateRequest {
    let options = volume
        .driver_opts
        .iter()
        .map(|(k, v)| (k.clone(), v.expose().to_owned()));
    VolumeCreateRequest {
        name: Some(name.to_owned()),
        driver: volume.driver.clone(),
        driver_opts: (!volume.driver_opts.is_empty()).then(|| options.collect()),
        labels: Some(object_labels(stack, labels::VOLUME, key, &volume.labels)),
        ..VolumeCreateRequest::default()
    }
}

fn pool(pool: &IpamPool) -> IpamConfig {
    IpamConfig {
        subnet: pool.subnet.clone(),
        ip_range: pool.ip_range.clone(),
        gateway: pool.gateway.clone(),
        auxiliary_addresses: filled(&pool.aux_addresses),
    }
}

fn filled(map: &BTreeMap<String, String>) -> Option<HashMap<String, String>> {
    (!map.is_empty()).then(|| map.clone().into_iter().collect())
}

fn object_labels(
    stack: &StackSpec,
    kind: &str,
    key: &str,
    own: &BTreeMap<String, String>,
) -> HashMap<String, String> {
    let mut all: HashMap<_, _> = own.clone().into_iter().collect();
    all.insert(labels::PROJECT.to_owned(), stack.project.to_string());
    all.insert(kind.to_owned(), key.to_owned());
    all.insert(
        labels::VERSION.to_owned(),
        labels::compose_version(Dialect::Hyphen).to_owned(),
    );
    all
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_config_hash_is_never_on_a_volume_or_a_network() {
        let stack = StackSpec::new("shop".parse().unwrap());
        let volume = volume_request(&stack, "data", &VolumeSpec::default(), "shop_data");
        let network = network_request(&stack, "default", &NetworkSpec::default(), "shop_default");
        for labels in [volume.labels.unwrap(), network.labels.unwrap()] {
            assert!(!labels.contains_key(labels::CONFIG_HASH));
            assert_eq!(labels.len(), 3, "{labels:?}");
        }
    }
}
