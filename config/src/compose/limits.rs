//! What a container may use: processors, memory, processes, block devices.

use std::collections::BTreeMap;

use state::stack_spec::{BlkioConfig, RateLimit, ServiceSpec, Ulimit, WeightDevice};

use super::fields::{At, Fields};
use super::node::Value;
use super::{keys, values};

/// Reads the limits of a service.
pub(crate) fn resources(fields: &Fields<'_>, spec: &mut ServiceSpec) {
    spec.shm_size = fields.bytes("shm_size");
    spec.ulimits = fields.get("ulimits").map(|at| ulimits(&at)).unwrap_or_default();
    spec.nano_cpus = fields.get("cpus").and_then(|at| at.cpus());
    spec.cpu_count = fields.int("cpu_count");
    spec.cpu_percent = fields.float("cpu_percent");
    spec.cpu_shares = fields.int("cpu_shares");
    spec.cpu_quota = fields.get("cpu_quota").and_then(|at| microseconds(&at));
    spec.cpu_period = fields.get("cpu_period").and_then(|at| microseconds(&at));
    spec.cpu_rt_period = fields.get("cpu_rt_period").and_then(|at| microseconds(&at));
    spec.cpu_rt_runtime = fields.get("cpu_rt_runtime").and_then(|at| microseconds(&at));
    spec.cpuset = fields.text("cpuset");
    spec.mem_limit = fields.bytes("mem_limit");
    spec.mem_reservation = fields.bytes("mem_reservation");
    spec.memswap_limit = fields.bytes("memswap_limit");
    spec.mem_swappiness = fields.int("mem_swappiness");
    spec.oom_kill_disable = fields.flag("oom_kill_disable");
    spec.oom_score_adj = fields.int("oom_score_adj");
    spec.pids_limit = fields.int("pids_limit");
    spec.blkio_config = fields.get("blkio_config").map(|at| blkio(&at));
}

/// A number of microseconds, or a length of time.
fn microseconds(at: &At<'_>) -> Option<i64> {
    match at.node.str().and_then(values::duration) {
        Some(nanos) if nanos > 0 => i64::try_from(nanos / 1_000).ok(),
        _ => at.int(),
    }
}

/// `ulimits`.
pub(crate) fn ulimits(at: &At<'_>) -> BTreeMap<String, Ulimit> {
    let mut ulimits = BTreeMap::new();
    for (name, _, at) in at.entries() {
        let limit = if let Value::Map(_) = &at.node.value {
            let fields = at.fields(&keys::ULIMIT);
            let (soft, hard) = (fields.int("soft"), fields.int("hard"));
            if !(fields.has("soft") && fields.has("hard")) {
                at.error("a limit is one number, or \"soft\" and \"hard\"");
            }
            fields.finish();
            soft.zip(hard).map(|(soft, hard)| Ulimit { soft, hard })
        } else {
            at.int().map(|limit| Ulimit {
                soft: limit,
                hard: limit,
            })
        };
        if let Some(limit) = limit {
            ulimits.insert(name.to_owned(), limit);
        }
    }
    ulimits
}

fn blkio(at: &At<'_>) -> BlkioConfig {
    let fields = at.fields(&keys::BLKIO);
    let rates = |key| -> Vec<RateLimit> {
        let items = fields.get(key).map(|at| at.items()).unwrap_or_default();
        items.iter().filter_map(rate).collect()
    };
    let weights = fields
        .get("weight_device")
        .map(|at| at.items())
        .unwrap_or_default();
    let config = BlkioConfig {
        weight: fields.int("weight").unwrap_or_default(),
        weight_device: weights.iter().filter_map(weight).collect(),
        device_read_bps: rates("device_read_bps"),
        device_read_iops: rates("device_read_iops"),
        device_write_bps: rates("device_write_bps"),
        device_write_iops: rates("device_write_iops"),
    };
    fields.finish();
    config
}

fn rate(at: &At<'_>) -> Option<RateLimit> {
    let fields = at.fields(&keys::RATE);
    let limit = fields
        .text("path")
        .zip(fields.bytes("rate"))
        .map(|(path, rate)| RateLimit { path, rate });
    if !(fields.has("path") && fields.has("rate")) {
        at.error("a limit has a \"path\" and a \"rate\"");
    }
    fields.finish();
    limit
}

fn weight(at: &At<'_>) -> Option<WeightDevice> {
    let fields = at.fields(&keys::WEIGHT);
    let device = fields
        .text("path")
        .zip(fields.int("weight"))
        .map(|(path, weight)| WeightDevice { path, weight });
    if !(fields.has("path") && fields.has("weight")) {
        at.error("a weight has a \"path\" and a \"weight\"");
    }
    fields.finish();
    device
}
