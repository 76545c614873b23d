//! `build`: how an image is made.

use std::collections::BTreeMap;

use state::stack_spec::BuildSpec;

use super::fields::At;
use super::node::Value;
use super::service::Shared;
use super::{keys, limits, mounts, relations};

/// `build`, short or long.
pub(crate) fn build(at: &At<'_>, shared: &Shared) -> Option<BuildSpec> {
    if let Value::Scalar(_) = &at.node.value {
        return Some(BuildSpec {
            context: context(at)?,
            dockerfile: Some("Dockerfile".to_owned()),
            ..BuildSpec::default()
        });
    }
    let fields = at.fields(&keys::BUILD);
    let mut args: BTreeMap<_, _> = BTreeMap::new();
    for (name, value) in fields.get("args").map(|at| at.pairs()).unwrap_or_default() {
        if let Some(value) = value.or_else(|| at.cx.variables.get(&name).cloned()) {
            args.insert(name, Some(value.into()));
        }
    }
    let mut build = BuildSpec {
        context: match fields.get("context") {
            Some(at) => context(&at)?,
            None => at.cx.absolute(at.node.mark, ".").to_string_lossy().into_owned(),
        },
        dockerfile: fields.text("dockerfile"),
        dockerfile_inline: fields.text("dockerfile_inline"),
        args,
        additional_contexts: fields.dict("additional_contexts"),
        cache_from: fields.texts("cache_from", false),
        cache_to: fields.texts("cache_to", false),
        entitlements: fields.texts("entitlements", false),
        extra_hosts: fields
            .get("extra_hosts")
            .map(|at| relations::hosts(&at))
            .unwrap_or_default(),
        isolation: fields.text("isolation"),
        labels: fields.dict("labels"),
        network: fields.text("network"),
        no_cache: fields.flag("no_cache"),
        pull: fields.flag("pull"),
        platforms: fields.texts("platforms", false),
        privileged: fields.flag("privileged"),
        shm_size: fields.bytes("shm_size"),
        ssh: fields.get("ssh").map(|at| at.pairs()).unwrap_or_default(),
        tags: fields.texts("tags", false),
        target: fields.text("target"),
        ulimits: fields
            .get("ulimits")
            .map(|at| limits::ulimits(&at))
            .unwrap_or_default(),
        provenance: fields.text("provenance"),
        sbom: fields.text("sbom"),
        secrets: Vec::new(),
    };
    for context in build.additional_contexts.values_mut() {
        if !is_remote(context) {
            *context = at
                .cx
                .absolute(at.node.mark, context)
                .to_string_lossy()
                .into_owned();
        }
    }
    if let Some(at) = fields.get("secrets") {
        build.secrets = mounts::grants(&at, "secret", &shared.secrets, str::to_owned);
    }
    if build.dockerfile.is_none() && build.dockerfile_inline.is_none() {
        build.dockerfile = Some("Dockerfile".to_owned());
    } else if build.dockerfile.is_some() && build.dockerfile_inline.is_some() {
        at.error("\"dockerfile\" and \"dockerfile_inline\" exclude each other");
    }
    fields.finish();
    Some(build)
}

fn context(at: &At<'_>) -> Option<String> {
    let text = at.text()?;
    if is_remote(&text) {
        return Some(text);
    }
    Some(at.path()?.to_string_lossy().into_owned())
}

/// Whether a build context is elsewhere: a URL, a Git address, another target or image.
fn is_remote(context: &str) -> bool {
    let schemes = [
        "http://",
        "https://",
        "git://",
        "ssh://",
        "git@",
        "github.com/",
        "docker-image://",
        "oci-layout://",
        "service:",
        "target:",
    ];
    schemes.iter().any(|scheme| context.starts_with(scheme))
}
