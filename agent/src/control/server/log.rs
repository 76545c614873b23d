//! What is answered about the log: the last lines of one stack.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::Deserialize;

use super::{Answer, App};
use crate::view::Log;

/// From where on.
#[derive(Debug, Default, Deserialize)]
pub(in super::super) struct Cursor {
    /// The number of the last line that is known.
    after: Option<u64>,
}

pub(in super::super) async fn log(
    State(app): State<Arc<App>>,
    Path(stack): Path<String>,
    Query(cursor): Query<Cursor>,
) -> Answer<Log> {
    let snapshot = app.snapshot(&stack)?;
    let stack = snapshot.record.stack.as_str();
    let lines = app.recent.after(stack, cursor.after.unwrap_or(0));
    Ok(Json(Log::of(stack, lines)))
}
