//! Images: what a reference names, pulling, and the keepers that hold images against `image prune -a`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, CreateImageInfo, HostConfig, ImageInspect, Mount,
    MountType,
};
use bollard::query_parameters::{CreateContainerOptions, CreateImageOptions, TagImageOptions};
use futures_util::StreamExt as _;
use state::name::{ImageId, StackName};

use super::DockerEngine;
use super::client::{CREATE, READ};
use super::credentials;
use crate::engine::{EngineError, labels};

/// How long a pull may show no progress. It has no deadline as a whole: links are slow, layers large.
const PULL_IDLE: Duration = Duration::from_secs(120);
/// Nothing by that name is in an image; a keeper is never started.
const NEVER_RUN: &str = "/steadfast-keeper";

impl DockerEngine {
    pub(super) async fn resolve_image(&self, reference: &str) -> Result<Option<ImageId>, EngineError> {
        let Some(image) = self.inspect_image(reference).await? else {
            return Ok(None);
        };
        image_id(image.id.unwrap_or_default()).map(Some)
    }

    pub(super) async fn inspect_image(&self, reference: &str) -> Result<Option<ImageInspect>, EngineError> {
        let client = self.connection.client().await?;
        self.connection
            .find("inspect image", client.docker.inspect_image(reference))
            .await
    }

    pub(super) async fn pull_image(
        &self,
        reference: &str,
        platform: Option<&str>,
        progress: &(dyn Fn(String) + Send + Sync),
    ) -> Result<ImageId, EngineError> {
        let client = self.connection.client().await?;
        let (name, tag) = split(reference);
        let options = CreateImageOptions {
            from_image: Some(name.to_owned()),
            tag: Some(tag.to_owned()),
            platform: platform.unwrap_or_default().to_owned(),
            ..CreateImageOptions::default()
        };
        let mut stream =
            client
                .docker
                .create_image(Some(options), None, credentials::for_reference(reference));
        let mut layers = Layers::default();
        let mut told = String::new();
        loop {
            let Ok(part) = tokio::time::timeout(PULL_IDLE, stream.next()).await else {
                return Err(EngineError::Timeout {
                    call: "pull image",
                    after: PULL_IDLE,
                });
            };
            let Some(part) = part else { break };
            layers.note(part.map_err(|error| self.pull_failed(reference, error))?);
            let sentence = layers.sentence();
            if sentence != told {
                progress(sentence.clone());
                told = sentence;
            }
        }
        self.resolve_image(reference)
            .await?
            .ok_or_else(|| EngineError::Garbled {
                call: "pull image",
                reason: format!("the pull of {reference} ended well, and the image is not here"),
            })
    }

    fn pull_failed(&self, reference: &str, error: Error) -> EngineError {
        match self.connection.translate("pull image", error) {
            EngineError::NotFound { message, .. } | EngineError::Refused { message, .. }
                if is_manifest_unknown(&message) =>
            {
                EngineError::ManifestUnknown {
                    reference: reference.to_owned(),
                    message,
                }
            }
            // "access denied, or it does not exist": the registry does not say which, so it is not final.
            EngineError::NotFound { call, message } => EngineError::Refused {
                call,
                status: 404,
                message,
            },
            other => other,
        }
    }

    pub(super) async fn tag_image(&self, image: &ImageId, reference: &str) -> Result<(), EngineError> {
        let client = self.connection.client().await?;
        let (name, tag) = split(reference);
        let options = TagImageOptions {
            repo: Some(name.to_owned()),
            tag: Some(tag.to_owned()),
        };
        let work = client.docker.tag_image(image.as_str(), Some(options));
        self.connection.within("tag image", READ, work).await
    }

    pub(super) async fn make_keeper(&self, project: &StackName, image: &ImageId) -> Result<(), EngineError> {
        let client = self.connection.client().await?;
        let name = format!("steadfast-keep-{project}-{}", image.short());
        if let Some(seen) = self.inspect(&name).await? {
            return if is_keeper(&seen, project, image) {
                Ok(())
            } else {
                Err(taken(&name))
            };
        }
        let seen = self
            .inspect_image(image.as_str())
            .await?
            .ok_or_else(|| EngineError::NotFound {
                call: "keep image",
                message: format!("no such image: {image}"),
            })?;
        let options = CreateContainerOptions {
            name: Some(name.clone()),
            ..CreateContainerOptions::default()
        };
        let work = client
            .docker
            .create_container(Some(options), keeper(project, image, seen));
        match self.connection.within("create container", CREATE, work).await {
            Ok(_) => Ok(()),
            Err(EngineError::Conflict { message, call }) => match self.inspect(&name).await? {
                Some(seen) if is_keeper(&seen, project, image) => Ok(()),
                _ => Err(EngineError::Conflict { call, message }),
            },
            Err(error) => Err(error),
        }
    }

    pub(super) async fn remove_keepers(
        &self,
        project: &StackName,
        wanted: &BTreeSet<ImageId>,
    ) -> Result<(), EngineError> {
        for (keeper, image) in self.keepers(project).await? {
            if !wanted.contains(&image) {
                self.remove_container(&keeper).await?;
            }
        }
        Ok(())
    }

    /// The keepers of a project, by identifier, with what each of them holds.
    pub(super) async fn keepers(
        &self,
        project: &StackName,
    ) -> Result<BTreeMap<String, ImageId>, EngineError> {
        let listed = self.list(format!("{}={project}", labels::KEEPER)).await?;
        let held = listed.into_iter().filter_map(|keeper| {
            let image = ImageId::try_from(keeper.image_id?).ok()?;
            Some((keeper.id?, image))
        });
        Ok(held.collect())
    }
}

fn image_id(text: String) -> Result<ImageId, EngineError> {
    text.try_into().map_err(|error| EngineError::Garbled {
        call: "inspect image",
        reason: format!("{error}"),
    })
}

/// Volumes that the image declares are covered, or every keeper would leave anonymous volumes behind.
fn keeper(project: &StackName, image: &ImageId, seen: ImageInspect) -> ContainerCreateBody {
    let declared = seen.config.and_then(|config| config.volumes).unwrap_or_default();
    let cover = |target: String| Mount {
        target: Some(target),
        typ: Some(MountType::TMPFS),
        ..Mount::default()
    };
    ContainerCreateBody {
        image: Some(image.to_string()),
        entrypoint: Some(vec![NEVER_RUN.to_owned()]),
        labels: Some(HashMap::from([(labels::KEEPER.to_owned(), project.to_string())])),
        host_config: Some(HostConfig {
            network_mode: Some("none".to_owned()),
            mounts: Some(declared.into_iter().map(cover).collect()),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

fn is_keeper(seen: &ContainerInspectResponse, project: &StackName, image: &ImageId) -> bool {
    let label = seen
        .config
        .as_ref()
        .and_then(|c| c.labels.as_ref())
        .and_then(|l| l.get(labels::KEEPER));
    label.map(String::as_str) == Some(project.as_str()) && seen.image.as_deref() == Some(image.as_str())
}

fn taken(name: &str) -> EngineError {
    EngineError::Conflict {
        call: "create container",
        message: format!("the name \"{name}\" is in use by a container that is not Steadfast's"),
    }
}

/// A reference as the engine's pull takes it: a name, and a tag or digest. Without one it would pull every tag.
fn split(reference: &str) -> (&str, &str) {
    if let Some((name, digest)) = reference.split_once('@') {
        return (name, digest);
    }
    match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (reference, "latest"),
    }
}

/// Whether the registry said in so many words that there is no such manifest. Anything that could also be
/// a lack of rights, the network or a tired registry is not final.
fn is_manifest_unknown(message: &str) -> bool {
    let words = message.to_ascii_lowercase();
    if words.contains("denied") || words.contains("unauthorized") || words.contains("docker login") {
        return false;
    }
    let of_registry = words.contains("manifest unknown");
    let of_containerd = words.contains("failed to resolve reference") && words.ends_with(": not found");
    of_registry || of_containerd
}

/// The layers of a pull, for people.
#[derive(Default)]
pub(super) struct Layers {
    seen: BTreeMap<String, Layer>,
    status: String,
}

#[derive(Default)]
struct Layer {
    done: bool,
    current: u64,
    total: u64,
}

impl Layers {
    pub(super) fn note(&mut self, info: CreateImageInfo) {
        let status = info.status.unwrap_or_default();
        let is_layer = |id: &String| id.len() == 12 && id.bytes().all(|b| b.is_ascii_hexdigit());
        let Some(id) = info.id.filter(is_layer) else {
            self.status = status;
            return;
        };
        let layer = self.seen.entry(id).or_default();
        match status.as_str() {
            "Pull complete" | "Already exists" => {
                layer.done = true;
                layer.current = layer.total;
            }
            "Downloading" => {
                let detail = info.progress_detail.unwrap_or_default();
                layer.current = detail
                    .current
                    .and_then(|n| u64::try_from(n).ok())
                    .unwrap_or(layer.current);
                layer.total = detail
                    .total
                    .and_then(|n| u64::try_from(n).ok())
                    .unwrap_or(layer.total);
            }
            "Download complete" => layer.current = layer.total,
            _ => {}
        }
    }

    pub(super) fn sentence(&self) -> String {
        const MB: u64 = 1_000_000;
        if self.seen.is_empty() {
            return self.status.clone();
        }
        let done = self.seen.values().filter(|layer| layer.done).count();
        let current: u64 = self.seen.values().map(|layer| layer.current).sum();
        let total: u64 = self.seen.values().map(|layer| layer.total).sum();
        format!(
            "{done} of {} layers, {} of {} MB",
            self.seen.len(),
            current / MB,
            total.div_ceil(MB)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_pulled_by_one_tag() {
        let rows = [
            ("alpine", ("alpine", "latest")),
            ("alpine:3", ("alpine", "3")),
            ("localhost:5000/app/api", ("localhost:5000/app/api", "latest")),
            ("localhost:5000/app/api:v1", ("localhost:5000/app/api", "v1")),
            ("app@sha256:00", ("app", "sha256:00")),
        ];
        for (reference, expected) in rows {
            assert_eq!(split(reference), expected);
        }
    }

    #[test]
    fn only_manifest_unknown_is_final() {
        let rows = [
            (
                "manifest for app:v9 not found: manifest unknown: manifest unknown",
                true,
            ),
            ("manifest unknown", true),
            (
                "failed to resolve reference \"docker.io/library/app:v9\": docker.io/library/app:v9: not found",
                true,
            ),
            (
                "pull access denied for app, repository does not exist or may require 'docker login'",
                false,
            ),
            (
                "pull access denied for app, repository does not exist or may require 'docker login': manifest unknown",
                false,
            ),
            ("unauthorized: authentication required", false),
            ("toomanyrequests: You have reached your pull rate limit", false),
            (
                "Get \"https://registry-1.docker.io/v2/\": dial tcp: lookup registry-1.docker.io: no such host",
                false,
            ),
            ("received unexpected HTTP status: 503 Service Unavailable", false),
            (
                "failed to resolve reference \"r/a:b\": failed to do request: dial tcp: not found: refused",
                false,
            ),
        ];
        for (message, expected) in rows {
            assert_eq!(is_manifest_unknown(message), expected, "{message}");
        }
    }

    #[test]
    fn progress_is_a_sentence() {
        use bollard::models::ProgressDetail;
        let note = |layers: &mut Layers, id: &str, status: &str, current: i64, total: i64| {
            layers.note(CreateImageInfo {
                id: Some(id.to_owned()),
                status: Some(status.to_owned()),
                progress_detail: Some(ProgressDetail {
                    current: Some(current),
                    total: Some(total),
                }),
                ..CreateImageInfo::default()
            });
            layers.sentence()
        };
        let mut layers = Layers::default();
        assert_eq!(
            note(&mut layers, "v1", "Pulling from library/alpine", 0, 0),
            "Pulling from library/alpine"
        );
        assert_eq!(
            note(&mut layers, "0123456789ab", "Already exists", 0, 0),
            "1 of 1 layers, 0 of 0 MB"
        );
        assert_eq!(
            note(&mut layers, "0123456789ac", "Downloading", 5_000_000, 9_500_000),
            "1 of 2 layers, 5 of 10 MB"
        );
        assert_eq!(
            note(&mut layers, "0123456789ac", "Pull complete", 0, 0),
            "2 of 2 layers, 9 of 10 MB"
        );
    }
}
