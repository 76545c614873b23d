//! The differences from Compose that are meant, each with its reason. A difference that is not here
//! fails its case; a row that accepts what never occurs fails the run.

use crate::diff::Accepted;

/// Of the resolved model, from `config --format json`.
pub(crate) const MODEL: &[Accepted] = &[
    Accepted {
        case: "28-deploy",
        path: "services/app/deploy/rollback_config/delay",
        reason: "Compose prints no zero; `0s` is what the file says",
    },
    Accepted {
        case: "28-deploy",
        path: "services/app/deploy/rollback_config/max_failure_ratio",
        reason: "Compose prints no zero; 0 is what the file says",
    },
    Accepted {
        case: "53-mac-and-links",
        path: "networks/six/ipam/options",
        reason: "Compose drops them without a word; we hand them to the engine",
    },
    Accepted {
        case: "59-rarer-model",
        path: "services/list/deploy/endpoint_mode",
        reason: "Swarm's: one host has no use for it, and `check` warns",
    },
    Accepted {
        case: "59-rarer-model",
        path: "services/list/deploy/placement",
        reason: "Swarm's: one host has no use for it, and `check` warns",
    },
    Accepted {
        case: "*",
        path: "services/*/gpus/0/capabilities",
        reason: "`gpus` without capabilities means `gpu`: Compose adds it when it creates, we when we read",
    },
    Accepted {
        case: "61-ports-merged",
        path: "services/app/ports",
        reason: "a port published twice in the same way is one port; the engine takes both for one too",
    },
];

/// Of created containers, networks and volumes, from `docker inspect`.
pub(crate) const CREATED: &[Accepted] = &[
    Accepted {
        case: "*",
        path: "containers/*/Config/Image",
        reason: "created by identifier: a tag can move between the plan and the effect",
    },
    Accepted {
        case: "*",
        path: "containers/*/Config/Labels/io.steadfast.generation",
        reason: "ours: which generation it is of",
    },
    Accepted {
        case: "*",
        path: "containers/*/Config/Labels/io.steadfast.operation",
        reason: "ours: which operation made it",
    },
    Accepted {
        case: "*",
        path: "containers/*/Config/Labels/io.steadfast.spec",
        reason: "ours: what it was made from, so that a pass without drift is one call",
    },
    Accepted {
        case: "*",
        path: "networks/*/Labels/com.docker.compose.config-hash",
        reason: "an invented hash makes Compose recreate the network, none is accepted",
    },
    Accepted {
        case: "*",
        path: "volumes/*/Labels/com.docker.compose.config-hash",
        reason: "an invented hash makes Compose recreate the volume, and its data is lost; none is accepted",
    },
    Accepted {
        case: "45-links",
        path: "containers/<PROJECT>-backup-1/HostConfig/VolumesFrom/1",
        reason: "Compose forgets the `:ro` of `volumes_from`",
    },
];

/// Of what is created in the dialect of 1.29.2, from what 1.29.2 creates.
pub(crate) const CREATED_V1: &[Accepted] = &[
    Accepted {
        case: "*",
        path: "containers/*/Config/Image",
        reason: "created by identifier: a tag can move between the plan and the effect",
    },
    Accepted {
        case: "*",
        path: "containers/*/Config/Labels/io.steadfast.generation",
        reason: "ours: which generation it is of",
    },
    Accepted {
        case: "*",
        path: "containers/*/Config/Labels/io.steadfast.operation",
        reason: "ours: which operation made it",
    },
    Accepted {
        case: "*",
        path: "containers/*/Config/Labels/io.steadfast.spec",
        reason: "ours: what it was made from, so that a pass without drift is one call",
    },
    Accepted {
        case: "*",
        path: "containers/*/Config/Labels/com.docker.compose.image",
        reason: "a label of v2, which 1.29.2 does not mind",
    },
    Accepted {
        case: "*",
        path: "containers/*/Config/Labels/com.docker.compose.depends_on",
        reason: "a label of v2, which 1.29.2 does not mind",
    },
    Accepted {
        case: "*",
        path: "containers/*/Config/AttachStdout",
        reason: "as v2: it says only whether the creator wanted to listen",
    },
    Accepted {
        case: "*",
        path: "containers/*/Config/AttachStderr",
        reason: "as v2: it says only whether the creator wanted to listen",
    },
    Accepted {
        case: "*",
        path: "containers/*/Networks/*/Aliases",
        reason: "as v2: the container's name is an alias too",
    },
    Accepted {
        case: "*",
        path: "networks/*/Labels/com.docker.compose.version",
        reason: "networks and volumes have no dialect: they are made as v2 makes them",
    },
    Accepted {
        case: "*",
        path: "volumes/*/Labels/com.docker.compose.version",
        reason: "networks and volumes have no dialect: they are made as v2 makes them",
    },
    Accepted {
        case: "*",
        path: "networks/*/Attachable",
        reason: "1.29.2 lets strangers attach; v2 does not unless the file says so",
    },
    Accepted {
        case: "06-environment-precedence",
        path: "containers/*/Config/Env",
        reason: "a name without a value in an env_file: v2 leaves it out where it is unset; numbers are written as v2 does",
    },
    Accepted {
        case: "19-volumes-short",
        path: "containers/*/Config/Volumes",
        reason: "1.29.2 declares every mount as a volume too",
    },
    Accepted {
        case: "19-volumes-short",
        path: "containers/*/HostConfig/Binds",
        reason: "as v2: what a bind string cannot say is a mount",
    },
    Accepted {
        case: "19-volumes-short",
        path: "containers/*/HostConfig/Mounts",
        reason: "as v2: what a bind string cannot say is a mount",
    },
    Accepted {
        case: "19-volumes-short",
        path: "containers/*/Mounts/*/Mode",
        reason: "follows from bind strings becoming mounts",
    },
    Accepted {
        case: "51-version-3",
        path: "containers/*/HostConfig/Binds",
        reason: "as v2: a long bind of which nothing more is said is like a short one",
    },
    Accepted {
        case: "51-version-3",
        path: "containers/*/HostConfig/Mounts",
        reason: "as v2: a long bind of which nothing more is said is like a short one",
    },
    Accepted {
        case: "51-version-3",
        path: "containers/*/Mounts/*/Mode",
        reason: "follows from a mount becoming a bind string",
    },
    Accepted {
        case: "51-version-3",
        path: "containers/*/Networks/<PROJECT>_front",
        reason: "1.29.2 attaches the second network only when it starts the container",
    },
    Accepted {
        case: "24-network-mode",
        path: "containers/*/Networks/bridge",
        reason: "1.29.2 does not share a namespace before the start",
    },
    Accepted {
        case: "24-network-mode",
        path: "containers/*/HostConfig/NetworkMode",
        reason: "1.29.2 does not share a namespace before the start",
    },
    Accepted {
        case: "38-kernel",
        path: "containers/*/HostConfig/PidMode",
        reason: "1.29.2 does not share a namespace before the start",
    },
    Accepted {
        case: "38-kernel",
        path: "containers/*/HostConfig/IpcMode",
        reason: "1.29.2 does not share a namespace before the start",
    },
    Accepted {
        case: "36-security",
        path: "containers/*/HostConfig/CapAdd/*",
        reason: "as v2: capabilities in the long form",
    },
    Accepted {
        case: "49-image-defaults",
        path: "containers/*/Config/ExposedPorts/9999",
        reason: "as v2: a declared port as the file has it",
    },
    Accepted {
        case: "49-image-defaults",
        path: "containers/*/Config/ExposedPorts/9999/tcp",
        reason: "as v2: a declared port as the file has it",
    },
];
