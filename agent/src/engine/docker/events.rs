//! Following the engine's events. They only wake: nothing here reads a meaning into them.

use std::collections::HashMap;

use bollard::query_parameters::EventsOptions;
use futures_util::StreamExt as _;

use super::DockerEngine;
use crate::engine::{EngineError, EngineEvent, labels};

/// What is asked for. Not `exec_…`: every health check by exec makes three of those.
const ACTIONS: [&str; 13] = [
    "create",
    "start",
    "die",
    "stop",
    "kill",
    "oom",
    "destroy",
    "rename",
    "update",
    "pause",
    "unpause",
    "restart",
    "health_status",
];

impl DockerEngine {
    pub(super) async fn follow(&self, on: &(dyn Fn(EngineEvent) + Send + Sync)) -> Result<(), EngineError> {
        let client = self.connection.client().await?;
        let filters = HashMap::from([
            ("type".to_owned(), vec!["container".to_owned()]),
            (
                "event".to_owned(),
                ACTIONS.iter().map(ToString::to_string).collect(),
            ),
        ]);
        let mut stream = client.docker.events(Some(EventsOptions {
            filters: Some(filters),
            ..EventsOptions::default()
        }));
        let ended = loop {
            match stream.next().await {
                Some(Ok(event)) => {
                    let mut attributes = event.actor.and_then(|actor| actor.attributes).unwrap_or_default();
                    on(EngineEvent {
                        project: attributes.remove(labels::PROJECT),
                        service: attributes
                            .remove(labels::SERVICE)
                            .and_then(|name| name.parse().ok()),
                        action: event.action.unwrap_or_default(),
                    });
                }
                Some(Err(error)) => break Err(self.connection.translate("follow events", error)),
                None => break Ok(()),
            }
        };
        // What answers next may be an upgraded engine.
        self.connection.forget();
        ended
    }
}
