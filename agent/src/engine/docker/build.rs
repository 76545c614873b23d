//! Building an image with the engine's classic builder: the context is sent as it is read, and what the builder says
//! is read until it ends. Whoever drops the call ends the build, and the engine removes the step's container.

use std::time::Duration;

use bollard::body_try_stream;
use bollard::errors::Error;
use bollard::models::{BuildInfo, CreateImageInfo};
use bollard::query_parameters::{BuildImageOptions, BuilderVersion};
use futures_util::{Stream, StreamExt as _};
use serde_json::json;
use state::name::ImageId;
use state::stack_spec::BuildSpec;

use super::DockerEngine;
use super::credentials;
use super::images::Layers;
use crate::engine::build::{Said, Transcript};
use crate::engine::context::{self, Sending};
use crate::engine::{Build, EngineError, unsupported};

/// How long a build may neither say anything nor take any of its context. It has no deadline as a whole; but a `RUN`
/// that compiles or downloads may well be silent for minutes, and one that hangs never ends by itself.
const IDLE: Duration = Duration::from_secs(600);
const CALL: &str = "build image";

/// What an engine answers with status 500 although it is about the Dockerfile.
const OF_DOCKERFILE: [&str; 3] = [
    "cannot locate specified dockerfile",
    "dockerfile parse error",
    "invalid reference format",
];

impl DockerEngine {
    pub(super) async fn build_image(
        &self,
        build: &Build<'_>,
        progress: &(dyn Fn(String) + Send + Sync),
    ) -> Result<ImageId, EngineError> {
        if let Some(message) = unsupported(build.spec) {
            return Err(EngineError::BuildFailed {
                reference: build.reference.to_owned(),
                message,
            });
        }
        let client = self.connection.client().await?;
        let context = context::opened(build).await?;
        let options = options(build, context.dockerfile());
        let (tar, sending) = context.stream();
        let docker = client.with_query(query(build.spec));
        let stream = docker.build_image(options, Some(credentials::all()), Some(body_try_stream(tar)));
        let mut transcript = Transcript::new(build.secrets());
        let ended = follow(stream, &sending, &mut transcript, progress).await;
        let id = ended.map_err(|ended| self.build_failed(build, ended, &sending, &mut transcript))?;
        // As everywhere else, an image is what an inspection calls it.
        self.resolve_image(&id)
            .await?
            .ok_or_else(|| EngineError::Garbled {
                call: CALL,
                reason: format!(
                    "the build of {} ended well, and the image is not here",
                    build.reference
                ),
            })
    }

    fn build_failed(
        &self,
        build: &Build<'_>,
        ended: Ended,
        sending: &Sending,
        transcript: &mut Transcript<'_>,
    ) -> EngineError {
        // Where the context ended early, the engine and the transport have their own words for it.
        if let Some(reason) = sending.failure() {
            return reason.of_build(build.reference);
        }
        let words = match ended {
            Ended::Silent => {
                return EngineError::Timeout {
                    call: CALL,
                    after: IDLE,
                };
            }
            Ended::WithoutImage => {
                let reason = "it ended without saying which image was built".to_owned();
                return EngineError::Garbled { call: CALL, reason };
            }
            Ended::Failed(Error::DockerStreamError { error }) => error,
            Ended::Failed(Error::DockerResponseServerError { status_code, message })
                if is_of_dockerfile(status_code, &message) =>
            {
                message
            }
            Ended::Failed(error) => {
                // What answers next may be an upgraded engine.
                self.connection.forget();
                return self.connection.translate(CALL, error).redacted(build.secrets());
            }
        };
        match transcript.failed(&words) {
            Said::Final(message) => EngineError::BuildFailed {
                reference: build.reference.to_owned(),
                message,
            },
            Said::Passing(message) => EngineError::Refused {
                call: CALL,
                status: 500,
                message,
            },
        }
    }
}

/// How a build ended that made no image.
enum Ended {
    Silent,
    WithoutImage,
    Failed(Error),
}

/// Whether a refusal is about what was sent.
fn is_of_dockerfile(status: u16, message: &str) -> bool {
    let words = message.to_ascii_lowercase();
    match status {
        400 => !words.contains("client version"),
        _ => OF_DOCKERFILE.iter().any(|known| words.contains(known)),
    }
}

/// Reads what the builder says to its end; gives the identifier of what was built.
///
/// Each stage says its own, and the last one is it. What has the reference is no answer where there is none: that may
/// be an image of another day.
async fn follow(
    mut stream: impl Stream<Item = Result<BuildInfo, Error>> + Unpin,
    sending: &Sending,
    transcript: &mut Transcript<'_>,
    progress: &(dyn Fn(String) + Send + Sync),
) -> Result<String, Ended> {
    let mut built = None;
    let mut layers = Layers::default();
    let mut told = String::new();
    while let Some(part) = next(&mut stream, sending, IDLE).await? {
        let sentence = match part.stream {
            Some(text) => {
                let begun = transcript.hear(&text);
                if begun.is_some() {
                    layers = Layers::default();
                }
                begun
            }
            None => part.status.map(|status| {
                layers.note(CreateImageInfo {
                    id: part.id,
                    status: Some(status),
                    progress_detail: part.progress_detail,
                    ..CreateImageInfo::default()
                });
                transcript.sentence(&layers.sentence())
            }),
        };
        built = part.aux.and_then(|image| image.id).or(built);
        if let Some(sentence) = sentence.filter(|sentence| *sentence != told) {
            progress(sentence.clone());
            told = sentence;
        }
    }
    built.ok_or(Ended::WithoutImage)
}

async fn next(
    stream: &mut (impl Stream<Item = Result<BuildInfo, Error>> + Unpin),
    sending: &Sending,
    idle: Duration,
) -> Result<Option<BuildInfo>, Ended> {
    let mut sent = sending.bytes();
    loop {
        match tokio::time::timeout(idle, stream.next()).await {
            Ok(part) => return part.transpose().map_err(Ended::Failed),
            // A large context, and a slow line to the engine.
            Err(_) if sending.bytes() != sent => sent = sending.bytes(),
            Err(_) => return Err(Ended::Silent),
        }
    }
}

fn options(build: &Build<'_>, dockerfile: &str) -> BuildImageOptions {
    let spec = build.spec;
    let given = |(key, value): (&String, &Option<state::stack_spec::EnvValue>)| {
        Some((key.clone(), value.as_ref()?.expose().to_owned()))
    };
    let cache: Vec<String> = spec.cache_from.iter().filter_map(|from| cached(from)).collect();
    let platform = build.platform.or(spec.platforms.first().map(String::as_str));
    BuildImageOptions {
        dockerfile: dockerfile.to_owned(),
        t: Some(build.reference.to_owned()),
        nocache: spec.no_cache,
        cachefrom: (!cache.is_empty()).then_some(cache),
        pull: spec.pull.then(|| "1".to_owned()),
        rm: true,
        forcerm: true,
        buildargs: Some(spec.args.iter().filter_map(given).collect()),
        labels: Some(build.all_labels().into_iter().collect()),
        networkmode: spec.network.clone(),
        platform: platform.unwrap_or_default().to_owned(),
        target: spec.target.clone().unwrap_or_default(),
        version: BuilderVersion::BuilderV1,
        ..BuildImageOptions::default()
    }
}

/// The image that an entry of `cache_from` names; other kinds of caches are `BuildKit`'s.
fn cached(from: &str) -> Option<String> {
    if !from.contains('=') {
        return Some(from.to_owned());
    }
    let field = |name: &str| {
        from.split(',')
            .find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
    };
    (field("type") == Some("registry")).then(|| field("ref").map(str::to_owned))?
}

/// What bollard's options have no room for: several of one kind, and sizes over 2 GiB.
fn query(spec: &BuildSpec) -> String {
    let mut pairs: Vec<(&str, String)> = Vec::new();
    pairs.extend(spec.tags.iter().map(|tag| ("t", tag.clone())));
    for (host, addresses) in &spec.extra_hosts {
        pairs.extend(
            addresses
                .iter()
                .map(|address| ("extrahosts", format!("{host}:{address}"))),
        );
    }
    pairs.extend(spec.shm_size.map(|size| ("shmsize", size.to_string())));
    if !spec.ulimits.is_empty() {
        let limits = spec.ulimits.iter();
        let limits =
            limits.map(|(name, limit)| json!({"Name": name, "Soft": limit.soft, "Hard": limit.hard}));
        pairs.push(("ulimits", limits.collect::<serde_json::Value>().to_string()));
    }
    let pairs: Vec<String> = pairs
        .into_iter()
        .map(|(key, value)| format!("{key}={}", encoded(&value)))
        .collect();
    pairs.join("&")
}

fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;
    use std::path::Path;

    use state::stack_spec::Ulimit;

    use super::*;

    #[test]
    fn what_is_asked_for() {
        let text = |text: &str| text.to_owned();
        let spec = BuildSpec {
            args: BTreeMap::from([(text("A"), Some("x y".into())), (text("B"), None)]),
            labels: BTreeMap::from([(text("own"), text("1")), (text("both"), text("1"))]),
            cache_from: vec![
                text("app:cache"),
                text("type=registry,ref=r.example/app:cache"),
                text("type=gha"),
            ],
            platforms: vec![text("linux/arm64")],
            pull: true,
            shm_size: Some(3 << 30),
            tags: vec![text("app:latest"), text("r.example/app")],
            extra_hosts: BTreeMap::from([(text("db"), vec![text("10.0.0.1"), text("::1")])]),
            ulimits: BTreeMap::from([(text("nofile"), Ulimit { soft: 1, hard: 2 })]),
            ..BuildSpec::default()
        };
        let mut build = Build {
            context: Path::new("/srv"),
            within: None,
            spec: &spec,
            reference: "app:v1",
            labels: BTreeMap::from([(text("both"), text("2"))]),
            platform: None,
        };
        let asked = options(&build, "docker/Dockerfile");
        assert_eq!(asked.buildargs.unwrap(), [(text("A"), text("x y"))].into());
        let labels = [(text("own"), text("1")), (text("both"), text("2"))];
        assert_eq!(asked.labels.unwrap(), labels.into());
        assert_eq!(asked.cachefrom.unwrap(), ["app:cache", "r.example/app:cache"]);
        assert_eq!(
            (asked.platform.as_str(), asked.pull.as_deref()),
            ("linux/arm64", Some("1"))
        );
        build.platform = Some("linux/amd64");
        assert_eq!(options(&build, "Dockerfile").platform, "linux/amd64");
        assert_eq!(
            query(&spec),
            "t=app%3Alatest&t=r.example%2Fapp&extrahosts=db%3A10.0.0.1&extrahosts=db%3A%3A%3A1&shmsize=3221225472\
             &ulimits=%5B%7B%22Name%22%3A%22nofile%22%2C%22Soft%22%3A1%2C%22Hard%22%3A2%7D%5D"
        );
        assert_eq!(query(&BuildSpec::default()), "");
    }

    #[test]
    fn refusals_about_what_was_sent() {
        let rows = [
            (
                400,
                "dockerfile parse error line 2: unknown instruction: FOO",
                true,
            ),
            (
                400,
                "client version 1.51 is too new. Maximum supported API version is 1.41",
                false,
            ),
            (500, "Cannot locate specified Dockerfile: zz", true),
            (
                500,
                "invalid reference format: repository name must be lowercase",
                true,
            ),
            (500, "write /var/lib/docker/tmp/x: no space left on device", false),
            (503, "", false),
        ];
        for (status, message, expected) in rows {
            assert_eq!(is_of_dockerfile(status, message), expected, "{message}");
        }
    }

    #[tokio::test]
    async fn silence_ends() {
        let mut silent = futures_util::stream::pending();
        let next = next(&mut silent, &Sending::default(), Duration::from_millis(10)).await;
        assert!(matches!(next, Err(Ended::Silent)));
    }
}
