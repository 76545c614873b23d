//! An answer that says no, with the exit code of the command and the way out.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::protocol::ErrorBody;

/// An answer that says no.
#[derive(Debug)]
pub(super) struct Failure(pub(super) StatusCode, pub(super) ErrorBody);

/// What is answered: something, or no.
pub(super) type Answer<T> = Result<Json<T>, Failure>;

impl Failure {
    pub(super) fn new(status: StatusCode, code: u8, error: impl Into<String>) -> Self {
        let body = ErrorBody {
            error: error.into(),
            way_out: None,
            code,
        };
        Self(status, body)
    }

    pub(super) fn way_out(mut self, way_out: impl Into<String>) -> Self {
        self.1.way_out = Some(way_out.into());
        self
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.0, Json(self.1)).into_response()
    }
}
