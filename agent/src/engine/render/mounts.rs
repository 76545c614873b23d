//! Volumes, binds, memory file systems, and files given as configs or secrets.

use std::path::Path;

use bollard::models::{
    Mount, MountBindOptions, MountBindOptionsPropagationEnum, MountTmpfsOptions, MountType,
    MountVolumeOptions,
};
use state::stack_spec::{Bind, FileSource, Mount as Spec, NamedVolume, TmpfsMount};

use super::refused;
use crate::engine::{EngineError, NewContainer};

/// `HostConfig.Binds` and `HostConfig.Mounts`. Like Compose, the older form is used wherever it can say it.
pub(super) fn render(new: &NewContainer<'_>) -> Result<(Vec<String>, Vec<Mount>), EngineError> {
    let (mut binds, mut mounts) = (Vec::new(), Vec::new());
    for spec in &new.spec.volumes {
        match spec {
            Spec::Bind(bind) if needs_mount(bind) => mounts.push(bind_mount(new, bind)?),
            Spec::Bind(bind) => binds.push(bind_text(bind)),
            Spec::Volume(volume) => {
                let Some(named) = new.stack.volumes.get(&volume.volume) else {
                    return Err(refused(new, &format!("there is no volume \"{}\"", volume.volume)));
                };
                if volume.nocopy || volume.subpath.is_some() {
                    mounts.push(volume_mount(&named.name, volume));
                } else {
                    let access = if volume.read_only { "ro" } else { "rw" };
                    binds.push(format!("{}:{}:{access}", named.name, volume.target));
                }
            }
            Spec::Anonymous { target, .. } if is_carried(new, target) => {}
            Spec::Anonymous {
                target,
                read_only,
                nocopy,
            } => mounts.push(Mount {
                target: Some(target.clone()),
                typ: Some(MountType::VOLUME),
                read_only: read_only.then_some(true),
                volume_options: Some(MountVolumeOptions {
                    no_copy: nocopy.then_some(true),
                    ..MountVolumeOptions::default()
                }),
                ..Mount::default()
            }),
            Spec::Tmpfs(tmpfs) => mounts.push(tmpfs_mount(tmpfs)),
        }
    }
    mounts.extend(carried(new));
    mounts.extend(files(new));
    Ok((binds, mounts))
}

fn is_carried(new: &NewContainer<'_>, target: &str) -> bool {
    new.carried.iter().any(|carried| carried.target == target)
}

/// Anonymous volumes go on in the new container, unless something else is mounted there now.
fn carried(new: &NewContainer<'_>) -> impl Iterator<Item = Mount> {
    new.carried.iter().filter_map(|carried| {
        let spec = new
            .spec
            .volumes
            .iter()
            .find(|mount| mount.target() == carried.target);
        let read_only = match spec {
            None => false,
            Some(Spec::Anonymous { read_only, .. }) => *read_only,
            Some(_) => return None,
        };
        Some(Mount {
            target: Some(carried.target.clone()),
            source: Some(carried.volume.clone()),
            typ: Some(MountType::VOLUME),
            read_only: read_only.then_some(true),
            ..Mount::default()
        })
    })
}

/// Configs and secrets that are files of the host.
fn files(new: &NewContainer<'_>) -> impl Iterator<Item = Mount> {
    new.spec
        .secrets
        .iter()
        .chain(&new.spec.configs)
        .filter_map(|grant| {
            let FileSource::File(source) = &grant.source else {
                return None;
            };
            Some(Mount {
                target: Some(grant.target.clone()),
                source: Some(text(source)),
                typ: Some(MountType::BIND),
                read_only: Some(true),
                bind_options: Some(MountBindOptions::default()),
                ..Mount::default()
            })
        })
}

/// Whether the older form would make a missing source, or cannot say what is asked for.
fn needs_mount(bind: &Bind) -> bool {
    !bind.create_host_path || bind.propagation.is_some() || bind.recursive.is_some()
}

fn bind_text(bind: &Bind) -> String {
    let access = if bind.read_only { "ro" } else { "rw" };
    let selinux = bind
        .selinux
        .as_ref()
        .map(|label| format!(",{label}"))
        .unwrap_or_default();
    format!("{}:{}:{access}{selinux}", text(&bind.source), bind.target)
}

fn bind_mount(new: &NewContainer<'_>, bind: &Bind) -> Result<Mount, EngineError> {
    let propagation = match bind
        .propagation
        .as_deref()
        .map(str::parse::<MountBindOptionsPropagationEnum>)
    {
        None => None,
        Some(Ok(known)) => Some(known),
        Some(Err(_)) => return Err(refused(new, "a bind's propagation is not known")),
    };
    let recursive = bind.recursive.as_deref();
    Ok(Mount {
        target: Some(bind.target.clone()),
        source: Some(text(&bind.source)),
        typ: Some(MountType::BIND),
        read_only: bind.read_only.then_some(true),
        consistency: bind.consistency.clone(),
        bind_options: Some(MountBindOptions {
            propagation,
            create_mountpoint: bind.create_host_path.then_some(true),
            non_recursive: (recursive == Some("disabled")).then_some(true),
            read_only_non_recursive: (recursive == Some("writable")).then_some(true),
            read_only_force_recursive: (recursive == Some("readonly")).then_some(true),
        }),
        ..Mount::default()
    })
}

fn volume_mount(name: &str, volume: &NamedVolume) -> Mount {
    Mount {
        target: Some(volume.target.clone()),
        source: Some(name.to_owned()),
        typ: Some(MountType::VOLUME),
        read_only: volume.read_only.then_some(true),
        consistency: volume.consistency.clone(),
        volume_options: Some(MountVolumeOptions {
            no_copy: volume.nocopy.then_some(true),
            subpath: volume.subpath.clone(),
            ..MountVolumeOptions::default()
        }),
        ..Mount::default()
    }
}

fn tmpfs_mount(tmpfs: &TmpfsMount) -> Mount {
    let sized = tmpfs.size.is_some() || tmpfs.mode.is_some();
    Mount {
        target: Some(tmpfs.target.clone()),
        typ: Some(MountType::TMPFS),
        read_only: tmpfs.read_only.then_some(true),
        consistency: tmpfs.consistency.clone(),
        tmpfs_options: sized.then(|| MountTmpfsOptions {
            size_bytes: tmpfs.size,
            mode: tmpfs.mode.map(i64::from),
            options: None,
        }),
        ..Mount::default()
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
