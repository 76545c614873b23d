//! Creating a container, and comparing one with what would be created. What a service looks like as a
//! container is in `render`; what counts as a difference, in `diff`.

use std::collections::BTreeMap;
use std::path::Path;

use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{CreateContainerOptions, UploadToContainerOptions};
use state::name::{ContainerId, ServiceName};
use state::observed::ContainerObs;
use state::stack_spec::{EnvValue, FileGrant, FileSource};

use super::DockerEngine;
use super::change::is_attached;
use super::client::{CREATE, READ};
use crate::engine::render::{self, Context, Rendered};
use crate::engine::{Difference, EngineError, NewContainer, diff, labels, tar};

/// The most of a seccomp profile that is read.
const MAX_PROFILE: u64 = 1024 * 1024;

impl DockerEngine {
    pub(super) async fn make(&self, new: &NewContainer<'_>) -> Result<ContainerId, EngineError> {
        let result = self.make_whole(new).await;
        result.map_err(|error| error.redacted(secrets(new).map(EnvValue::expose)))
    }

    async fn make_whole(&self, new: &NewContainer<'_>) -> Result<ContainerId, EngineError> {
        let rendered = render::render(new, &self.context(new).await?)?;
        let id = match self.post(new, &rendered).await {
            Err(EngineError::Conflict { call, message }) => match self.half_made(new).await? {
                Some(half_made) => {
                    self.remove_container(&half_made).await?;
                    self.post(new, &rendered).await?
                }
                None => return Err(EngineError::Conflict { call, message }),
            },
            other => other?,
        };
        if let Err(error) = self.complete(&id, rendered).await {
            // Half made is not made. If this fails too, the next create of this operation finds it.
            self.remove_container(id.as_str()).await.ok();
            return Err(error);
        }
        Ok(id)
    }

    pub(super) async fn post(
        &self,
        new: &NewContainer<'_>,
        rendered: &Rendered,
    ) -> Result<ContainerId, EngineError> {
        let client = self.connection.client().await?;
        let options = CreateContainerOptions {
            name: Some(new.name.clone()),
            ..CreateContainerOptions::default()
        };
        let work = client
            .docker
            .create_container(Some(options), rendered.body.clone());
        let made = self.connection.within("create container", CREATE, work).await?;
        made.id.try_into().map_err(|error| EngineError::Garbled {
            call: "create container",
            reason: format!("{error}"),
        })
    }

    /// A container of the wanted name that this very operation made and never started: its answer was lost.
    async fn half_made(&self, new: &NewContainer<'_>) -> Result<Option<String>, EngineError> {
        let Some(seen) = self.inspect(&new.name).await? else {
            return Ok(None);
        };
        Ok(was_made_by(&seen, new).then_some(seen.id).flatten())
    }

    /// What the create call itself does not do. Done again, it is done.
    pub(super) async fn complete(&self, id: &ContainerId, rendered: Rendered) -> Result<(), EngineError> {
        for (network, endpoint) in rendered.later {
            let result = self.connect_endpoint(id, &network, endpoint).await;
            self.or_already(id, result, |seen| is_attached(seen, &network))
                .await?;
        }
        for grant in &rendered.files {
            self.copy_in(id, grant).await?;
        }
        Ok(())
    }

    async fn copy_in(&self, id: &ContainerId, grant: &FileGrant) -> Result<(), EngineError> {
        let refused = |why: &str| EngineError::Refused {
            call: "copy file",
            status: 400,
            message: format!("{}: {why}", grant.target),
        };
        let (FileSource::Content(content) | FileSource::Environment { value: content, .. }) = &grant.source
        else {
            return Ok(());
        };
        let number = |text: &Option<String>| text.as_deref().map_or(Ok(0), str::parse::<u32>);
        let file = tar::File {
            path: &grant.target,
            content: content.expose().as_bytes(),
            uid: number(&grant.uid).map_err(|_| refused("uid is not a number"))?,
            gid: number(&grant.gid).map_err(|_| refused("gid is not a number"))?,
            mode: grant.mode.unwrap_or(0o444),
        };
        let archive = tar::archive(&file)
            .ok_or_else(|| refused("the path is not absolute, or its owner is out of range"))?;
        let client = self.connection.client().await?;
        let options = UploadToContainerOptions {
            path: "/".to_owned(),
            copy_uidgid: Some("1".to_owned()),
            ..UploadToContainerOptions::default()
        };
        let work =
            client
                .docker
                .upload_to_container(id.as_str(), Some(options), bollard::body_full(archive.into()));
        self.connection.within("copy file", CREATE, work).await
    }

    pub(super) async fn context(&self, new: &NewContainer<'_>) -> Result<Context, EngineError> {
        let api = self.connection.client().await?.api;
        let wanted = render::needs_peers(new.spec);
        let peers = if wanted.is_empty() {
            BTreeMap::new()
        } else {
            let found = self.list_project(&new.stack.project).await?;
            wanted
                .into_iter()
                .filter_map(|service| Some((service.clone(), peer(&found, service)?)))
                .collect()
        };
        Ok(Context {
            api,
            peers,
            seccomp: profiles(new),
        })
    }

    pub(super) async fn compare(
        &self,
        id: &ContainerId,
        new: &NewContainer<'_>,
    ) -> Result<Vec<Difference>, EngineError> {
        let gone = |what: &str| EngineError::NotFound {
            call: "compare container",
            message: format!("no such {what}"),
        };
        let seen = self
            .inspect(id.as_str())
            .await?
            .ok_or_else(|| gone("container"))?;
        let image = self
            .inspect_image(new.image.as_str())
            .await?
            .ok_or_else(|| gone("image"))?;
        let context = self.context(new).await?;
        let rendered = render::render(new, &context)?;
        let mut all = diff::differences(new, &rendered, &image, &seen, context.api);
        all.extend(self.compare_files(id, &rendered).await?);
        Ok(all)
    }

    /// Copied configs and secrets are in no inspection: their content is read back.
    async fn compare_files(
        &self,
        id: &ContainerId,
        rendered: &Rendered,
    ) -> Result<Vec<Difference>, EngineError> {
        let mut all = Vec::new();
        for grant in &rendered.files {
            let (FileSource::Content(content) | FileSource::Environment { value: content, .. }) =
                &grant.source
            else {
                continue;
            };
            if !self.holds(id, &grant.target, content.expose().as_bytes()).await? {
                all.push(Difference {
                    field: format!("File {}", grant.target),
                    detail: "its content differs".to_owned(),
                });
            }
        }
        Ok(all)
    }

    /// Whether the file at `path` has exactly this content.
    async fn holds(&self, id: &ContainerId, path: &str, content: &[u8]) -> Result<bool, EngineError> {
        use futures_util::StreamExt as _;
        let client = self.connection.client().await?;
        let options = bollard::query_parameters::DownloadFromContainerOptions {
            path: path.to_owned(),
        };
        let mut stream = client.docker.download_from_container(id.as_str(), Some(options));
        let most = content.len() + 64 * 1024;
        let read = async {
            let mut archive = Vec::new();
            while let Some(part) = stream.next().await {
                archive.extend_from_slice(&part?);
                if archive.len() > most {
                    break;
                }
            }
            Ok(archive)
        };
        match self.connection.within("read file", READ, read).await {
            Ok(archive) => Ok(tar::only_file(&archive) == Some(content)),
            Err(EngineError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// A running container of the service if there is one, else any; those of `docker compose run` apart.
fn peer(found: &[ContainerObs], service: &ServiceName) -> Option<String> {
    let of_service = || found.iter().filter(|c| c.service == *service && !c.oneoff);
    let chosen = of_service()
        .find(|c| c.state.is_running())
        .or_else(|| of_service().next())?;
    Some(chosen.id.as_str().to_owned())
}

fn was_made_by(seen: &ContainerInspectResponse, new: &NewContainer<'_>) -> bool {
    let labelled = seen.config.as_ref().and_then(|c| c.labels.as_ref());
    let label = |key: &str| labelled.and_then(|l| l.get(key)).map(String::as_str);
    let started = seen.state.as_ref().and_then(|state| state.started_at.as_deref());
    label(labels::OPERATION) == Some(new.operation.to_string().as_str())
        && label(labels::PROJECT) == Some(new.stack.project.as_str())
        && started.is_none_or(is_never)
}

/// The zero time, which is how the engine says "never".
fn is_never(started: &str) -> bool {
    started.is_empty() || started.starts_with("0001-01-01")
}

/// The seccomp profiles that can be read, in one line each; what cannot be read is refused when rendering.
fn profiles(new: &NewContainer<'_>) -> BTreeMap<String, String> {
    let paths = new.spec.security_opt.iter().filter_map(|option| {
        option
            .strip_prefix("seccomp=")
            .or_else(|| option.strip_prefix("seccomp:"))
    });
    paths
        .filter_map(|path| Some((path.to_owned(), profile(&new.working_dir.join(path))?)))
        .collect()
}

fn profile(path: &Path) -> Option<String> {
    let is_small = std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() <= MAX_PROFILE);
    let text = is_small.then(|| std::fs::read_to_string(path).ok()).flatten()?;
    let json: serde_json::Value = serde_json::from_str(&text).ok()?;
    Some(json.to_string())
}

/// Every value of the service that may be secret.
pub(super) fn secrets<'a>(new: &'a NewContainer<'_>) -> impl Iterator<Item = &'a EnvValue> {
    let grants = new
        .spec
        .configs
        .iter()
        .chain(&new.spec.secrets)
        .filter_map(|grant| match &grant.source {
            FileSource::Content(value) | FileSource::Environment { value, .. } => Some(value),
            FileSource::File(_) => None,
        });
    let logging = new
        .spec
        .logging
        .iter()
        .flat_map(|logging| logging.options.values());
    new.spec
        .environment
        .values()
        .flatten()
        .chain(grants)
        .chain(logging)
}
