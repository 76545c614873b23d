//! `/events`: tells an open page that something was published, so that it asks again. What was published is not in here. Changes in
//! quick succession are one; who does not read is told nothing more, and is dropped when its time is over.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, State};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{sleep, timeout};

use super::lease::Lease;
use super::server::App;

/// No faster than this, whatever is published.
const PACE: Duration = Duration::from_millis(500);
/// When a browser comes again after its time was over.
const COME_AGAIN: Duration = Duration::from_secs(2);

pub(super) async fn events(
    State(app): State<Arc<App>>,
    Extension(lease): Extension<Lease>,
    headers: HeaderMap,
) -> Response {
    // A page of somebody else's cannot read what it asks for here, but it would take the places away.
    let asked_by = headers.get("sec-fetch-site");
    if asked_by.is_some_and(|site| site != "same-origin" && site != "none") {
        return (StatusCode::FORBIDDEN, "only the status page listens here\n").into_response();
    }
    let Ok(place) = Arc::clone(&app.listeners).try_acquire_owned() else {
        let many = "as many pages listen already as may: this one asks by itself\n";
        return (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "10")], many).into_response();
    };
    lease.prolong(app.limits.listening);
    let listener = Listener {
        changes: app.reading.shared.changes(),
        beat: app.limits.beat,
        is_new: true,
        _place: place,
    };
    let events = Sse::new(stream::unfold(listener, Listener::next));
    // For a reverse proxy that would collect an answer before it hands it on.
    ([(HeaderName::from_static("x-accel-buffering"), "no")], events).into_response()
}

/// One page that listens. It holds no more than its place, and what it has seen last.
struct Listener {
    changes: watch::Receiver<u64>,
    beat: Duration,
    is_new: bool,
    _place: OwnedSemaphorePermit,
}

impl Listener {
    /// The next event; it is asked for only once the one before is on its way.
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        let (event, word) = if self.is_new {
            self.is_new = false;
            (Event::default().retry(COME_AGAIN), "alive")
        } else {
            sleep(PACE.min(self.beat)).await;
            match timeout(self.beat, self.changes.changed()).await {
                Ok(Ok(())) => (Event::default(), "changed"),
                // Nobody publishes any more.
                Ok(Err(_)) => return None,
                Err(_) => (Event::default(), "alive"),
            }
        };
        let version = *self.changes.borrow_and_update();
        Some((Ok(event.event(word).data(version.to_string())), self))
    }
}
