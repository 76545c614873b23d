//! What holds for every answer: it is given under names of the loopback alone, so that no page of somebody else's can read it by
//! having its own name resolved to this host; nobody keeps it, shows it within another page or runs anything else in it.

use std::net::{IpAddr, Ipv6Addr};

use axum::extract::Request;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::page::policy;

const HEADERS: [(HeaderName, &str); 5] = [
    (CACHE_CONTROL, "no-store"),
    (REFERRER_POLICY, "no-referrer"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
];

/// Refuses what is asked under another name, and adds what every answer says.
pub(super) async fn guard(request: Request, next: Next) -> Response {
    let mut response = if is_ours(&request) {
        next.run(request).await
    } else {
        let why = "this is answered under 127.0.0.1, [::1] and localhost only: a reverse proxy has to set the Host header to one \
                   of them\n";
        (StatusCode::MISDIRECTED_REQUEST, why).into_response()
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy()));
    response
}

/// Browsers always say under which name they ask; who says none is no browser.
fn is_ours(request: &Request) -> bool {
    let named = request.headers().get_all(HOST).iter();
    let mut named = named.map(|host| host.to_str().is_ok_and(is_loopback));
    named.all(|ours| ours) && request.uri().host().is_none_or(is_loopback)
}

/// Whether a name, with its port or without, is one of the loopback.
fn is_loopback(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, port)) => {
            let is_v6 = name.parse().is_ok_and(|address: Ipv6Addr| address.is_loopback());
            return is_v6 && is_port(port);
        }
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let is_v4 = || name.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    is_port(port) && (name.eq_ignore_ascii_case("localhost") || is_v4())
}

fn is_port(port: &str) -> bool {
    let digits = port.strip_prefix(':');
    port.is_empty() || digits.is_some_and(|digits| digits.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_loopback_are_ours_and_no_others() {
        for ours in [
            "localhost",
            "LocalHost:7878",
            "127.0.0.1",
            "127.0.0.1:7878",
            "127.1.2.3:1",
            "[::1]",
            "[::1]:9000",
        ] {
            assert!(is_loopback(ours), "{ours}");
        }
        for other in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:7878",
            "10.0.0.1",
            "0.0.0.0:7878",
            "[::]",
            "[::ffff:10.0.0.1]:80",
            "::1",
            "localhost:evil",
            "localhost:7878:1",
            "[::1]evil",
            "user@localhost",
            "2130706433",
        ] {
            assert!(!is_loopback(other), "{other}");
        }
    }
}
