//! The labels that containers, networks and volumes carry: Compose's, so that its commands and
//! Portainer go on working, and ours. Values of the environment are never among them.

/// The Compose project.
pub(crate) const PROJECT: &str = "com.docker.compose.project";
/// The service.
pub(crate) const SERVICE: &str = "com.docker.compose.service";
/// Which replica, from 1.
pub(crate) const NUMBER: &str = "com.docker.compose.container-number";
/// Made by `docker compose run`.
pub(crate) const ONEOFF: &str = "com.docker.compose.oneoff";
/// Without it a container is invisible to `docker compose ps`. Never on a volume or a network: Compose
/// then makes those anew, and the data is gone.
pub(crate) const CONFIG_HASH: &str = "com.docker.compose.config-hash";
/// The image's identifier.
pub(crate) const IMAGE: &str = "com.docker.compose.image";
/// What the service depends on.
pub(crate) const DEPENDS_ON: &str = "com.docker.compose.depends_on";
/// The directory of the Compose file.
pub(crate) const WORKING_DIR: &str = "com.docker.compose.project.working_dir";
/// The Compose files.
pub(crate) const CONFIG_FILES: &str = "com.docker.compose.project.config_files";
/// The env files, where Compose was given some.
pub(crate) const ENV_FILES: &str = "com.docker.compose.project.environment_file";
/// The version of Compose that we speak for.
pub(crate) const VERSION: &str = "com.docker.compose.version";
/// A network's key; without it `docker compose up` fails.
pub(crate) const NETWORK: &str = "com.docker.compose.network";
/// A volume's key.
pub(crate) const VOLUME: &str = "com.docker.compose.volume";
/// What all of Compose's labels begin with.
pub(crate) const COMPOSE_PREFIX: &str = "com.docker.compose.";

/// The hash of the specification that a container was made from.
pub(crate) const SPEC: &str = "io.steadfast.spec";
/// The operation that made it.
pub(crate) const OPERATION: &str = "io.steadfast.operation";
/// The generation that it is of.
pub(crate) const GENERATION: &str = "io.steadfast.generation";
/// On a keeper: the stack that it keeps an image for.
pub(crate) const KEEPER: &str = "io.steadfast.keeper";
/// On the ownership marker: the identity of the agent that owns the stack.
pub(crate) const OWNER: &str = "io.steadfast.owner";
/// What all of our labels begin with.
pub(crate) const OUR_PREFIX: &str = "io.steadfast.";

/// What [`VERSION`] says.
pub(crate) fn compose_version(dialect: crate::engine::Dialect) -> &'static str {
    match dialect {
        crate::engine::Dialect::Hyphen => "2.40.3",
        crate::engine::Dialect::Underscore => "1.29.2",
    }
}
