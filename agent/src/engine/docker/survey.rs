//! Looking at every Compose project of a host, and at files in its containers. Nothing here changes anything: no command
//! is run in a container, and no file is written.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bollard::models::{ContainerConfig, ContainerInspectResponse, HostConfig, MountPoint, NetworkSettings};
use bollard::query_parameters::{ContainerArchiveInfoOptionsBuilder, DownloadFromContainerOptionsBuilder};
use futures_util::StreamExt as _;
use state::name::ContainerId;
use state::stack_spec::EnvValue;

use super::DockerEngine;
use super::client::READ;
use super::observe::life;
use crate::engine::survey::{Origin, Sighting};
use crate::engine::tar::BLOCK;
use crate::engine::{EngineError, labels};

/// How an image is named by its id.
const BY_ID: &str = "sha256:";
/// The most of a file that is read out of a container: a script that starts a service is shorter.
const LONGEST_SCRIPT: usize = 64 * 1024;

impl DockerEngine {
    /// The containers of all Compose projects, sorted by project, service and name; those of `docker compose run` left out.
    pub async fn survey(&self) -> Result<Vec<Sighting>, EngineError> {
        let mut all = Vec::new();
        for summary in self.list(labels::PROJECT.to_owned()).await? {
            let id = summary.id.unwrap_or_default();
            // One that has gone since it was listed is not there.
            if let Some(mut seen) = self.inspect(&id).await?.and_then(sighting) {
                if seen.image.starts_with(BY_ID) {
                    seen.image = self.name_of(seen.image).await?;
                }
                all.push(seen);
            }
        }
        let order = |s: &Sighting| (s.origin.project.clone(), s.service.clone(), s.name.clone());
        all.sort_by_key(order);
        Ok(all)
    }

    /// What an image is called that a container was made of by its id, as this agent makes them: by the engine's first name
    /// for it that is no `latest`; its id where it has none.
    async fn name_of(&self, id: String) -> Result<String, EngineError> {
        let image = self.inspect_image(&id).await?;
        let mut names = image.and_then(|image| image.repo_tags).unwrap_or_default();
        names.sort_by_key(|name| name.ends_with(":latest"));
        Ok(names.into_iter().next().unwrap_or(id))
    }

    /// Whether there is a file, or a directory, of that name in a container, which need not run.
    pub async fn has_file(&self, id: &ContainerId, path: &str) -> Result<bool, EngineError> {
        let client = self.connection.client().await?;
        let options = ContainerArchiveInfoOptionsBuilder::new().path(path).build();
        let work = client
            .docker
            .get_container_archive_info(id.as_str(), Some(options));
        match self.connection.find("look at a file", work).await {
            Ok(found) => Ok(found.is_some()),
            // A path through something that is no directory, or out of the container, is a plain refusal.
            Err(EngineError::Refused { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The beginning of a text file in a container; `None`: there is no such file, or it is something else.
    pub async fn text_in(&self, id: &ContainerId, path: &str) -> Result<Option<String>, EngineError> {
        let client = self.connection.client().await?;
        let options = DownloadFromContainerOptionsBuilder::new().path(path).build();
        let mut stream = client.docker.download_from_container(id.as_str(), Some(options));
        let read = async {
            let mut bytes = Vec::new();
            while bytes.len() < BLOCK + LONGEST_SCRIPT
                && let Some(part) = stream.next().await
            {
                bytes.extend_from_slice(&part?);
            }
            Ok(bytes)
        };
        match self.connection.within("read a file", READ, read).await {
            Ok(archive) => Ok(first_text(&archive)),
            Err(EngineError::NotFound { .. } | EngineError::Refused { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The first file of an archive, as far as it is there, where that is text.
fn first_text(archive: &[u8]) -> Option<String> {
    let header = archive.get(..BLOCK)?;
    let digits = std::str::from_utf8(&header[124..136]).ok()?;
    let size = usize::from_str_radix(digits.trim_matches(['\0', ' ']), 8).ok()?;
    let is_file = matches!(header[156], b'0' | 0);
    let content = archive.get(BLOCK..)?;
    let content = &content[..size.min(content.len())];
    (is_file && !content.contains(&0)).then(|| String::from_utf8_lossy(content).into_owned())
}

/// `None`: it is no container of a service.
fn sighting(seen: ContainerInspectResponse) -> Option<Sighting> {
    let config = seen.config.unwrap_or_default();
    let host = seen.host_config.unwrap_or_default();
    let labels = config.labels.clone().unwrap_or_default();
    let label = |key: &str| labels.get(key).filter(|text| !text.is_empty()).cloned();
    if label(labels::ONEOFF).is_some_and(|text| text.eq_ignore_ascii_case("true")) {
        return None;
    }
    Some(Sighting {
        id: seen.id?.try_into().ok()?,
        name: seen.name.unwrap_or_default().trim_start_matches('/').to_owned(),
        origin: Origin {
            project: label(labels::PROJECT)?,
            directory: label(labels::WORKING_DIR).map(Into::into),
            files: label(labels::CONFIG_FILES),
            env_files: label(labels::ENV_FILES),
        },
        service: label(labels::SERVICE)?,
        state: life(seen.state.as_ref()),
        image: config.image.clone().unwrap_or_default(),
        env: environment(config.env.as_deref().unwrap_or_default()),
        words: words(&config),
        workdir: config.working_dir.clone().unwrap_or_default(),
        healthcheck: config
            .healthcheck
            .clone()
            .and_then(|check| check.test)
            .unwrap_or_default(),
        ports: ports(&config, &host),
        address: address(seen.network_settings.as_ref()),
        binds: binds(seen.mounts.as_deref().unwrap_or_default()),
    })
}

fn environment(lines: &[String]) -> BTreeMap<String, EnvValue> {
    let set = lines.iter().filter_map(|line| line.split_once('='));
    set.map(|(key, value)| (key.to_owned(), EnvValue::new(value)))
        .collect()
}

fn words(config: &ContainerConfig) -> Vec<String> {
    let both = [&config.entrypoint, &config.cmd];
    both.into_iter().flatten().flatten().cloned().collect()
}

/// `8000/tcp`, of what is exposed and of what is published.
fn ports(config: &ContainerConfig, host: &HostConfig) -> BTreeSet<u16> {
    let exposed = config.exposed_ports.iter().flatten().map(String::as_str);
    let published: Vec<&str> = host
        .port_bindings
        .iter()
        .flat_map(HashMap::keys)
        .map(String::as_str)
        .collect();
    let all = exposed.chain(published);
    all.filter_map(|port| port.strip_suffix("/tcp")?.parse().ok())
        .collect()
}

fn address(seen: Option<&NetworkSettings>) -> Option<std::net::IpAddr> {
    let networks: BTreeMap<_, _> = seen?.networks.as_ref()?.iter().collect();
    let filled = |text: &Option<String>| text.as_deref().filter(|text| !text.is_empty())?.parse().ok();
    networks
        .values()
        .find_map(|endpoint| filled(&endpoint.ip_address).or_else(|| filled(&endpoint.global_ipv6_address)))
}

fn binds(mounts: &[MountPoint]) -> BTreeMap<String, std::path::PathBuf> {
    let bind = |mount: &&MountPoint| mount.typ.as_deref() == Some("bind");
    let pair = |mount: &MountPoint| Some((mount.destination.clone()?, mount.source.clone()?.into()));
    mounts.iter().filter(bind).filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::engine::tar::{File, archive};

    #[test]
    fn a_file_comes_out_of_an_archive_as_far_as_it_was_read() {
        let file = |content| File {
            path: "/run.sh",
            content,
            uid: 0,
            gid: 0,
            mode: 0o755,
        };
        let whole = archive(&file(b"#!/bin/sh\nalembic upgrade head\n")).unwrap();
        assert_eq!(first_text(&whole).unwrap(), "#!/bin/sh\nalembic upgrade head\n");
        assert_eq!(first_text(&whole[..BLOCK + 9]).unwrap(), "#!/bin/sh");
        assert_eq!(first_text(&whole[..BLOCK - 1]), None);
        assert_eq!(first_text(&archive(&file(b"\x7fELF\0")).unwrap()), None);
    }

    #[test]
    fn what_compose_made_is_told_by_its_labels() {
        let seen: ContainerInspectResponse = serde_json::from_str(
            r#"{ "Id": "aa00000000000000000000000000000000000000000000000000000000000000", "Name": "/shop-api-1",
                 "State": { "Status": "running" },
                 "Config": { "Image": "shop/api:v1", "Env": ["A=1=2", "B="], "Entrypoint": ["run.sh"], "Cmd": ["serve"],
                   "WorkingDir": "/app", "ExposedPorts": {"8000/tcp": {}, "53/udp": {}}, "Labels": {
                     "com.docker.compose.project": "shop", "com.docker.compose.service": "api",
                     "com.docker.compose.oneoff": "False",
                     "com.docker.compose.project.working_dir": "/srv/shop",
                     "com.docker.compose.project.config_files": "/srv/shop/compose.yaml" } },
                 "HostConfig": { "PortBindings": { "9000/tcp": [] } },
                 "Mounts": [ { "Type": "bind", "Source": "/srv/shop/a.conf", "Destination": "/etc/a.conf" },
                             { "Type": "volume", "Source": "/var/lib/docker/x", "Destination": "/data" } ],
                 "NetworkSettings": { "Networks": { "shop_default": { "IPAddress": "172.20.0.3" } } } }"#,
        )
        .unwrap();
        let found = sighting(seen.clone()).unwrap();
        assert_eq!(found.words, ["run.sh", "serve"]);
        assert_eq!(found.ports.into_iter().collect::<Vec<_>>(), [8000, 9000]);
        assert_eq!(found.env["A"].expose(), "1=2");
        assert_eq!(found.binds.len(), 1);
        assert_eq!(found.address, "172.20.0.3".parse().ok());
        assert_eq!(found.origin.directory, Some("/srv/shop".into()));
        let mut run = seen;
        let labels = run.config.as_mut().unwrap().labels.as_mut().unwrap();
        labels.insert(labels::ONEOFF.to_owned(), "True".to_owned());
        assert_eq!(sighting(run), None);
    }
}
