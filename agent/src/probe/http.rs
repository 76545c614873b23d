//! One HTTP question: a GET, the redirects that belong to it, a bounded body. Nothing is kept between
//! two questions, so that fifty probes a second need no more memory than one.

use std::sync::Arc;

use config::settings::StatusSet;
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Response, Url, header};
use state::health::Sample;
use tokio::sync::OnceCell;

use super::names::Names;
use super::words::{last_words, sample_of};

/// A body longer than this is no health page; an answer without end is found out by it.
pub(super) const LONGEST_BODY: usize = 1024 * 1024;
/// So many redirects are followed.
pub(super) const MOST_REDIRECTS: usize = 5;

/// What passes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected<'a> {
    /// These statuses. A redirect whose own status is among them is not followed.
    pub(super) status: &'a StatusSet,
    /// This text somewhere in the body.
    pub(super) body: Option<&'a str>,
}

/// Makes HTTP requests; certificates are read when the first `https` URL is asked.
#[derive(Debug)]
pub(super) struct Http {
    plain: Client,
    tls: OnceCell<Client>,
}

impl Http {
    pub(super) fn new() -> reqwest::Result<Self> {
        super::install_crypto();
        Ok(Self {
            // Without certificates: it is never asked for https.
            plain: client().tls_certs_only([]).build()?,
            tls: OnceCell::new(),
        })
    }

    /// Asks once. The caller bounds the time.
    pub(super) async fn ask(&self, url: &str, expected: Expected<'_>) -> Sample {
        let mut url = match url.parse::<Url>() {
            Ok(url) => url,
            Err(error) => return Sample::Unknown(format!("the URL cannot be used: {error}")),
        };
        let mut visited = Vec::new();
        loop {
            let mut response = match self.get(url.clone()).await {
                Ok(response) => response,
                Err(sample) => return about(&url, sample),
            };
            let status = response.status();
            if expected.status.contains(status.as_u16()) {
                return about(&url, read(&mut response, expected.body).await);
            }
            let Some(next) = redirect(&url, &response) else {
                let why = format!("status {}, expected {}", status.as_u16(), expected.status);
                return about(&url, Sample::Fail(why));
            };
            visited.push(url);
            if visited.contains(&next) {
                return about(&next, Sample::Fail(String::from("it redirects in a circle")));
            }
            if visited.len() > MOST_REDIRECTS {
                let why = format!("more than {MOST_REDIRECTS} redirects");
                return about(&next, Sample::Fail(why));
            }
            if !matches!(next.scheme(), "http" | "https") {
                let why = String::from("it redirects to something that is not http");
                return about(&visited[visited.len() - 1], Sample::Fail(why));
            }
            url = next;
        }
    }

    async fn get(&self, url: Url) -> Result<Response, Sample> {
        let client = if url.scheme() == "https" {
            self.tls
                .get_or_try_init(|| async { client().build() })
                .await
                .map_err(|error| {
                    Sample::Unknown(format!("no certificates to check with: {}", last_words(&error)))
                })?
        } else {
            &self.plain
        };
        let request = client.get(url).header(header::CONNECTION, "close");
        request
            .send()
            .await
            .map_err(|error| sample_of(&error.without_url()))
    }
}

fn client() -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("steadfast/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .http1_only()
        .pool_max_idle_per_host(0)
        .dns_resolver(Arc::new(Names))
}

/// Where the answer sends us.
fn redirect(from: &Url, response: &Response) -> Option<Url> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = response.headers().get(header::LOCATION)?.to_str().ok()?;
    let mut next = from.join(location).ok()?;
    next.set_fragment(None);
    Some(next)
}

/// Reads the body to its end and keeps none of it but what a match may begin with.
async fn read(response: &mut Response, wanted: Option<&str>) -> Sample {
    let wanted = wanted.unwrap_or_default().as_bytes();
    let mut found = wanted.is_empty();
    let (mut length, mut tail) = (0, Vec::new());
    loop {
        let chunk = match response.chunk().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) if found => return Sample::Pass,
            Ok(None) => {
                return Sample::Fail(String::from("the body does not contain the expected text"));
            }
            Err(error) => return broken(&error.without_url()),
        };
        length += chunk.len();
        if length > LONGEST_BODY {
            let why = format!("the body is longer than {} KiB", LONGEST_BODY / 1024);
            return Sample::Fail(why);
        }
        if !found {
            tail.extend_from_slice(&chunk);
            found = tail.windows(wanted.len()).any(|window| window == wanted);
            tail.drain(..tail.len().saturating_sub(wanted.len() - 1));
        }
    }
}

fn broken(error: &reqwest::Error) -> Sample {
    match sample_of(error) {
        Sample::Fail(why) => Sample::Fail(format!("the answer broke off: {why}")),
        sample => sample,
    }
}

/// The sample with the URL it is about; a query may hold a token and is left out.
fn about(url: &Url, sample: Sample) -> Sample {
    let shown = format!("{}{}", url.origin().ascii_serialization(), url.path());
    match sample {
        Sample::Pass => Sample::Pass,
        Sample::Fail(why) => Sample::Fail(format!("{shown}: {why}")),
        Sample::Unknown(why) => Sample::Unknown(format!("{shown}: {why}")),
        Sample::Starting(why) => Sample::Starting(format!("{shown}: {why}")),
    }
}
