//! Who is let in, and for how long: so many connections at once, of them so many of one user, and some that are root's
//! whatever others do. Whoever has no place is told so, as long as there is room to tell it; all of it is bounded.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Extension;
use axum::http::header::SERVER;
use axum::http::{HeaderValue, Request, StatusCode};
use axum::response::{IntoResponse as _, Response};
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use super::super::access::Peer;
use super::super::failure::Failure;
use super::super::protocol::{MAX_BODY, SOFTWARE};
use super::super::routes::router;
use super::App;

/// So many connections are served at once.
pub(in crate::control) const MAX_CONNECTIONS: usize = 64;
/// So many of them are of one user, unless that is root or the daemon's own.
const MAX_OF_ONE: usize = 32;
/// So many of them are for root and the daemon's own user: a rollback finds a place, whoever else is there.
const KEPT: usize = 8;
/// So many more are told that there is no place; the next one is closed.
const MAX_AT_THE_DOOR: usize = 128;
/// The least that hyper takes for a header: those at the door have no body that counts.
const DOOR_BUFFER: usize = 8 * 1024;

/// How long a client may take.
#[derive(Debug, Clone, Copy)]
pub(in crate::control) struct Limits {
    /// For its header, and again for its body.
    pub(in crate::control) request: Duration,
    /// For everything, reading the answer included.
    pub(in crate::control) connection: Duration,
    /// For everything, where there is no place.
    pub(in crate::control) door: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request: Duration::from_secs(10),
            connection: Duration::from_secs(60),
            door: Duration::from_secs(2),
        }
    }
}

/// Serves whoever connects, until `stop` is ready.
pub(super) async fn accept(listener: &UnixListener, app: Arc<App>, stop: impl Future<Output = ()>) {
    let places = Arc::new(Places::default());
    let router = router(Arc::clone(&app));
    let mut stop = std::pin::pin!(stop);
    loop {
        // Cancel-safe: a connection that was not accepted yet stays in the backlog.
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => return,
        };
        let Ok((stream, _)) = accepted else {
            // Out of descriptors, most likely: others will be closed.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(credentials) = stream.peer_cred() else {
            continue;
        };
        let peer = Peer {
            uid: credentials.uid(),
            gid: credentials.gid(),
        };
        let (app, limits) = (Arc::clone(&app), app.limits);
        match places.take(peer.uid, app.access.is_own(peer)) {
            Some(place) if place.is_seat => {
                let router = router.clone();
                tokio::spawn(async move {
                    let served = timeout(limits.connection, serve(stream, router, peer, &app)).await;
                    if served.is_err() {
                        app.complain(peer, "it did not read its answer in time");
                    }
                    drop(place);
                });
            }
            Some(place) => {
                app.complain(peer, "there is no place for its connection");
                tokio::spawn(async move {
                    let _ = timeout(limits.door, turn_away(stream, limits.door)).await;
                    drop(place);
                });
            }
            None => {
                app.complain(peer, "there is no place for its connection, nor to tell it");
                drop(stream);
            }
        }
    }
}

/// One request a connection, so that the deadline of a connection is that of a request.
async fn serve(stream: UnixStream, router: Router, peer: Peer, app: &App) {
    let router = TowerToHyperService::new(router.layer(Extension(peer)));
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        let asked = format!("{} {}", request.method(), request.uri().path());
        let answer = router.call(request);
        async move {
            let answer = answer.await?;
            // What is refused for want of rights is on record by itself; what there is not is the asker's affair.
            let is_odd = matches!(
                answer.status(),
                StatusCode::BAD_REQUEST
                    | StatusCode::METHOD_NOT_ALLOWED
                    | StatusCode::REQUEST_TIMEOUT
                    | StatusCode::PAYLOAD_TOO_LARGE
                    | StatusCode::HTTP_VERSION_NOT_SUPPORTED
            );
            if is_odd {
                app.complain(peer, &format!("{asked} was answered by {}", answer.status()));
            }
            Ok::<_, Infallible>(signed(answer))
        }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(app.limits.request)
        .keep_alive(false)
        .max_buf_size(MAX_BODY)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    // Whoever hangs up before they have asked, as they do who look whether somebody listens, has done nothing wrong.
    if let Err(error) = served
        && (error.is_parse() || error.is_timeout())
    {
        app.complain(peer, &format!("its request is not understood: {error}"));
    }
}

async fn turn_away(stream: UnixStream, within: Duration) {
    let busy = |_| async {
        let error = "too many ask the daemon at once";
        let answer = Failure::new(StatusCode::TOO_MANY_REQUESTS, 3, error).way_out("try again");
        Ok::<_, Infallible>(signed(answer.into_response()))
    };
    // Whether they read it is their affair.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(within)
        .keep_alive(false)
        .max_buf_size(DOOR_BUFFER)
        .serve_connection(TokioIo::new(stream), service_fn(busy))
        .await;
}

/// With which software has answered: whoever does not understand the answer may be of another version.
fn signed(mut answer: Response<Body>) -> Response<Body> {
    answer
        .headers_mut()
        .insert(SERVER, HeaderValue::from_static(SOFTWARE));
    answer
}

/// The places that are taken.
#[derive(Default)]
struct Places(Mutex<Taken>);

#[derive(Default)]
struct Taken {
    seats: usize,
    seats_of: BTreeMap<u32, usize>,
    at_the_door: usize,
}

/// One place, given back when it is dropped.
struct Place {
    places: Arc<Places>,
    uid: u32,
    is_seat: bool,
}

impl Places {
    /// A place for a connection of `uid`; `is_own`: of root, or of the daemon's own user. `None`: there is none.
    fn take(self: &Arc<Self>, uid: u32, is_own: bool) -> Option<Place> {
        let mut taken = self.locked();
        let of_one = taken.seats_of.get(&uid).copied().unwrap_or(0);
        let may_sit = if is_own {
            taken.seats < MAX_CONNECTIONS
        } else {
            taken.seats < MAX_CONNECTIONS - KEPT && of_one < MAX_OF_ONE
        };
        if may_sit {
            taken.seats += 1;
            taken.seats_of.insert(uid, of_one + 1);
        } else if taken.at_the_door < MAX_AT_THE_DOOR {
            taken.at_the_door += 1;
        } else {
            return None;
        }
        drop(taken);
        Some(Place {
            places: Arc::clone(self),
            uid,
            is_seat: may_sit,
        })
    }

    fn locked(&self) -> MutexGuard<'_, Taken> {
        // Counters: a panic elsewhere leaves them whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.locked();
        if !self.is_seat {
            taken.at_the_door -= 1;
            return;
        }
        taken.seats -= 1;
        match taken.seats_of.get(&self.uid).copied() {
            Some(count) if count > 1 => taken.seats_of.insert(self.uid, count - 1),
            _ => taken.seats_of.remove(&self.uid),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `wanted` connections of `uid` are seated, at the door, and closed.
    fn come(places: &Arc<Places>, uid: u32, wanted: usize, held: &mut Vec<Place>) -> (usize, usize, usize) {
        let mut counted = (0, 0, 0);
        for _ in 0..wanted {
            match places.take(uid, uid == 0) {
                Some(place) => {
                    *(if place.is_seat {
                        &mut counted.0
                    } else {
                        &mut counted.1
                    }) += 1;
                    held.push(place);
                }
                None => counted.2 += 1,
            }
        }
        counted
    }

    #[test]
    fn nobody_takes_all_places_and_root_finds_one() {
        let (places, mut held) = (Arc::new(Places::default()), Vec::new());
        assert_eq!(come(&places, 4242, 1000, &mut held), (32, 128, 840));
        // Another user has what is left but what is kept, and nobody tells the rest.
        assert_eq!(come(&places, 4243, 1000, &mut held), (24, 0, 976));
        assert_eq!(come(&places, 0, 9, &mut held), (8, 0, 1));
        drop(held);
        let mut held = Vec::new();
        assert_eq!(come(&places, 0, 65, &mut held), (64, 1, 0));
        drop(held);
        let taken = places.locked();
        assert_eq!((taken.seats, taken.seats_of.len(), taken.at_the_door), (0, 0, 0));
    }
}
