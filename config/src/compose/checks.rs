//! What no key of a service is wrong about alone.

use state::stack_spec::ServiceSpec;

use super::fields::Fields;

/// Complains about what does not go together in one service.
pub(crate) fn checks(fields: &Fields<'_>, spec: &ServiceSpec) {
    let error = |key: &str, message: &str, hint: &str| {
        fields
            .cx
            .error_hint(fields.mark_of(key), &fields.path, message, hint);
    };
    // An image or base that was already complained about is not missing as well.
    let excused = fields.has("extends") || (fields.has("image") && fields.cx.has_errors());
    if spec.image.is_none() && !fields.has("build") && !fields.has("provider") && !excused {
        error(
            "image",
            "there is neither \"image\" nor \"build\"",
            "say which image it runs",
        );
    }
    if spec.container_name.is_some() && spec.replicas() > 1 {
        let hint = "remove it, or ask for one replica";
        error(
            "container_name",
            "\"container_name\" allows one container only",
            hint,
        );
    }
    let deployed = spec.deploy.as_ref();
    if let (Some(scale), Some(replicas)) = (spec.scale, deployed.and_then(|d| d.replicas))
        && scale != replicas
    {
        error(
            "scale",
            "\"scale\" and \"deploy.replicas\" differ",
            "keep one of them",
        );
    }
    let limits = deployed.and_then(|d| d.limits.clone()).unwrap_or_default();
    let reserved = deployed.and_then(|d| d.reservations.clone()).unwrap_or_default();
    let pairs = [
        ("mem_limit", spec.mem_limit, "limits.memory", limits.memory),
        ("cpus", spec.nano_cpus, "limits.cpus", limits.nano_cpus),
        ("pids_limit", spec.pids_limit, "limits.pids", limits.pids),
        (
            "mem_reservation",
            spec.mem_reservation,
            "reservations.memory",
            reserved.memory,
        ),
    ];
    for (key, own, other_key, other) in pairs {
        if own.zip(other).is_some_and(|(own, other)| own != other) {
            error(
                key,
                &format!("\"{key}\" and \"deploy.resources.{other_key}\" differ"),
                "keep one of them",
            );
        }
    }
}
