//! What a connection that failed says of the service: a fail, or, where the fault is this host's
//! own, nothing. In words that repeat no URL, no header and no body.

use std::error::Error;
use std::io;

use rustix::io::Errno;
use state::health::Sample;

use super::names::Unresolved;

/// This host has run out of something: the service was not asked.
const OUR_OWN: [Errno; 6] = [
    Errno::MFILE,
    Errno::NFILE,
    Errno::NOMEM,
    Errno::NOBUFS,
    Errno::ADDRNOTAVAIL,
    Errno::NETDOWN,
];

/// The sample that an error is.
pub(super) fn sample_of(error: &(dyn Error + 'static)) -> Sample {
    let mut chain = vec![error];
    while let Some(source) = chain.last().copied().and_then(Error::source) {
        chain.push(source);
    }
    if let Some(unresolved) = chain.iter().find_map(|error| error.downcast_ref::<Unresolved>()) {
        return Sample::Unknown(unresolved.to_string());
    }
    let os = chain
        .iter()
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .find_map(Errno::from_io_error);
    match os {
        Some(errno) if OUR_OWN.contains(&errno) => {
            Sample::Unknown(format!("this host could not ask: {}", plain(errno)))
        }
        Some(errno) => Sample::Fail(plain(errno)),
        None => Sample::Fail(last_words(error)),
    }
}

/// What the innermost error says; the outer ones only say that it happened.
pub(super) fn last_words(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string().chars().take(200).collect()
}

/// `Connection refused`, as `connection refused`.
fn plain(errno: Errno) -> String {
    let text = io::Error::from(errno).to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    text.to_lowercase()
}
