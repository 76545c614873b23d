//! `healthcheck`, `restart`, `deploy` and resources.

use state::stack_spec::{
    Deploy, DeviceRequest, Healthcheck, HealthcheckTest, OnUpdateFailure, Resources, RestartCondition,
    RestartPolicy, SwarmRestartPolicy, UpdateConfig, UpdateOrder,
};

use super::fields::At;
use super::keys;
use super::node::Value;

/// `healthcheck`.
pub(crate) fn healthcheck(at: &At<'_>) -> Healthcheck {
    let fields = at.fields(&keys::HEALTHCHECK);
    let mut check = Healthcheck {
        test: fields.get("test").map(|at| test(&at)).unwrap_or_default(),
        interval: fields.duration("interval"),
        timeout: fields.duration("timeout"),
        start_period: fields.duration("start_period"),
        start_interval: fields.duration("start_interval"),
        retries: fields.int("retries"),
    };
    if fields.flag("disable") {
        check.test = HealthcheckTest::Disabled;
    }
    fields.finish();
    check
}

fn test(at: &At<'_>) -> HealthcheckTest {
    if let Value::Scalar(scalar) = &at.node.value {
        return HealthcheckTest::Shell(scalar.text.clone());
    }
    let mut words = at.texts(false);
    if words.is_empty() {
        return HealthcheckTest::Inherit;
    }
    match words.remove(0).as_str() {
        "NONE" => HealthcheckTest::Disabled,
        "CMD" => HealthcheckTest::Cmd(words),
        "CMD-SHELL" if words.len() == 1 => HealthcheckTest::Shell(words.remove(0)),
        "CMD-SHELL" => {
            at.error("CMD-SHELL takes exactly one line");
            HealthcheckTest::Inherit
        }
        _ => {
            at.error_hint(
                "a test that is a list starts with CMD, CMD-SHELL or NONE",
                "or write it as one text",
            );
            HealthcheckTest::Inherit
        }
    }
}

/// `restart`.
pub(crate) fn restart(at: &At<'_>) -> Option<RestartPolicy> {
    let scalar = at.scalar("a restart policy")?;
    let policy = match scalar.text.as_str() {
        "no" => Some(RestartPolicy::No),
        "always" => Some(RestartPolicy::Always),
        "unless-stopped" => Some(RestartPolicy::UnlessStopped),
        "on-failure" => Some(RestartPolicy::OnFailure { max: None }),
        text => match text.strip_prefix("on-failure:").map(str::parse) {
            Some(Ok(max)) => Some(RestartPolicy::OnFailure { max: Some(max) }),
            _ => None,
        },
    };
    if policy.is_none() {
        let hint = match scalar.text.as_str() {
            "false" => "write \"no\" in quotes".to_owned(),
            text => crate::error::did_you_mean(text, ["always", "unless-stopped", "on-failure"])
                .unwrap_or_else(|| {
                    "it is \"no\", always, unless-stopped, on-failure or on-failure:3".to_owned()
                }),
        };
        at.error_hint(format!("{:?} is not a restart policy", scalar.shown()), hint);
    }
    policy
}

/// `deploy`.
pub(crate) fn deploy(at: &At<'_>) -> Deploy {
    let fields = at.fields(&keys::DEPLOY);
    let mut deploy = Deploy {
        replicas: fields.int("replicas"),
        mode: fields.get("mode").and_then(|at| mode(&at)),
        labels: fields.dict("labels"),
        restart_policy: fields.get("restart_policy").map(|at| restart_policy(&at)),
        update_config: fields.get("update_config").map(|at| update(&at)),
        rollback_config: fields.get("rollback_config").map(|at| update(&at)),
        ..Deploy::default()
    };
    if let Some(at) = fields.get("resources") {
        let resources = at.fields(&keys::RESOURCES);
        deploy.limits = resources.get("limits").map(|at| limits(&at));
        deploy.reservations = resources.get("reservations").map(|at| reservations(&at));
        resources.finish();
    }
    fields.finish();
    deploy
}

fn mode(at: &At<'_>) -> Option<String> {
    let modes = ["replicated", "global", "replicated-job", "global-job"].map(|mode| (mode, mode));
    match at.choice(&modes)? {
        "replicated" => Some("replicated".to_owned()),
        "global" => {
            at.cx.warning(
                at.node.mark,
                &at.path,
                "on one host, global means one container: it is read as replicated",
            );
            None
        }
        _ => {
            at.error_hint(
                "jobs are Swarm's",
                "use a service with restart: \"no\" that others wait for",
            );
            None
        }
    }
}

fn limits(at: &At<'_>) -> Resources {
    let fields = at.fields(&keys::LIMITS);
    let limits = Resources {
        nano_cpus: fields.get("cpus").and_then(|at| at.cpus()),
        memory: fields.bytes("memory"),
        pids: fields.int("pids"),
        devices: Vec::new(),
    };
    fields.finish();
    limits
}

fn reservations(at: &At<'_>) -> Resources {
    let fields = at.fields(&keys::RESERVATIONS);
    let reservations = Resources {
        nano_cpus: fields.get("cpus").and_then(|at| at.cpus()),
        memory: fields.bytes("memory"),
        pids: None,
        devices: fields
            .get("devices")
            .map(|at| device_requests(&at))
            .unwrap_or_default(),
    };
    fields.finish();
    reservations
}

/// `gpus`: `all`, or a list of requests.
pub(crate) fn gpus(at: &At<'_>) -> Vec<DeviceRequest> {
    let mut requests = match &at.node.value {
        Value::Scalar(scalar) if scalar.text == "all" => vec![DeviceRequest {
            count: Some(-1),
            ..DeviceRequest::default()
        }],
        _ => device_requests(at),
    };
    for request in &mut requests {
        if !request.capabilities.iter().any(|c| c == "gpu") {
            request.capabilities.push("gpu".to_owned());
        }
    }
    requests
}

fn device_requests(at: &At<'_>) -> Vec<DeviceRequest> {
    at.items().iter().map(device_request).collect()
}

fn device_request(at: &At<'_>) -> DeviceRequest {
    let fields = at.fields(&keys::DEVICE_REQUEST);
    let mut request = DeviceRequest {
        capabilities: fields.texts("capabilities", false),
        count: fields.get("count").and_then(|at| match at.node.str() {
            Some("all") => Some(-1),
            _ => at.int(),
        }),
        device_ids: fields.texts("device_ids", false),
        driver: fields.text("driver"),
        options: fields.dict("options"),
    };
    if request.count.is_some() && !request.device_ids.is_empty() {
        at.error("\"count\" and \"device_ids\" exclude each other");
    }
    if request.count.is_none() && request.device_ids.is_empty() {
        request.count = Some(-1);
    }
    fields.finish();
    request
}

fn restart_policy(at: &At<'_>) -> SwarmRestartPolicy {
    let fields = at.fields(&keys::RESTART_POLICY);
    let conditions = [
        ("none", RestartCondition::None),
        ("on-failure", RestartCondition::OnFailure),
        ("any", RestartCondition::Any),
        ("unless-stopped", RestartCondition::Any),
    ];
    let policy = SwarmRestartPolicy {
        condition: fields.get("condition").and_then(|at| at.choice(&conditions)),
        delay: fields.duration("delay"),
        max_attempts: fields.int("max_attempts"),
        window: fields.duration("window"),
    };
    fields.finish();
    policy
}

fn update(at: &At<'_>) -> UpdateConfig {
    let fields = at.fields(&keys::UPDATE);
    let actions = [
        ("pause", OnUpdateFailure::Pause),
        ("continue", OnUpdateFailure::Continue),
        ("rollback", OnUpdateFailure::Rollback),
    ];
    let orders = [
        ("stop-first", UpdateOrder::StopFirst),
        ("start-first", UpdateOrder::StartFirst),
    ];
    let config = UpdateConfig {
        parallelism: fields.int("parallelism"),
        delay: fields.duration("delay"),
        failure_action: fields.get("failure_action").and_then(|at| at.choice(&actions)),
        monitor: fields.duration("monitor"),
        max_failure_ratio: fields.float("max_failure_ratio"),
        order: fields.get("order").and_then(|at| at.choice(&orders)),
    };
    if config
        .max_failure_ratio
        .is_some_and(|ratio| !(0.0..=1.0).contains(&ratio))
    {
        at.error("\"max_failure_ratio\" is from 0 to 1");
    }
    fields.finish();
    config
}
