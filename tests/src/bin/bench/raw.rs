//! The peer: the Engine API without anything around it, over one kept connection. Blocking on
//! purpose, so that no runtime is measured with it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// Where the engine listens.
pub(crate) const SOCKET: &str = "/var/run/docker.sock";
/// The API version of the oldest engine.
const API: &str = "/v1.41";
const PATIENCE: Duration = Duration::from_secs(60);
/// How exactly the moment is known at which a port answers.
const ASK_EVERY: Duration = Duration::from_millis(4);

/// One connection to the engine.
pub(crate) struct Raw {
    stream: BufReader<UnixStream>,
}

impl Raw {
    pub(crate) fn connect() -> Result<Self> {
        let stream = UnixStream::connect(SOCKET).with_context(|| format!("cannot reach {SOCKET}"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// One call; the whole body is read and nothing is made of it.
    pub(crate) fn call(&mut self, method: &str, path: &str, body: Option<&Value>) -> Result<(u16, Vec<u8>)> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = format!(
            "{method} {API}{path} HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let status = self.line()?;
        let status: u16 = status
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .context("no status line")?;
        let (mut length, mut chunked) = (0, false);
        loop {
            let header = self.line()?.to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
            chunked |= header.starts_with("transfer-encoding:") && header.contains("chunked");
        }
        let mut answer = Vec::new();
        if chunked {
            loop {
                let size = usize::from_str_radix(self.line()?.trim(), 16)?;
                self.take(size, &mut answer)?;
                self.line()?;
                if size == 0 {
                    break;
                }
            }
        } else {
            self.take(length, &mut answer)?;
        }
        Ok((status, answer))
    }

    /// One call that has to succeed, with its answer as JSON.
    pub(crate) fn must(&mut self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let (status, answer) = self.call(method, path, body)?;
        if status >= 400 {
            bail!(
                "{method} {path}: {status} {}",
                String::from_utf8_lossy(&answer).trim()
            );
        }
        Ok(serde_json::from_slice(&answer).unwrap_or(Value::Null))
    }

    fn take(&mut self, length: usize, into: &mut Vec<u8>) -> Result<()> {
        let start = into.len();
        into.resize(start + length, 0);
        self.stream.read_exact(&mut into[start..])?;
        Ok(())
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            bail!("the engine hung up");
        }
        Ok(line.trim_end().to_owned())
    }
}

/// The containers of a project, as a query: what `Engine::containers` asks, too.
pub(crate) fn list_path(project: &str) -> String {
    format!(
        "/containers/json?all=1&filters=%7B%22label%22%3A%5B%22com.docker.compose.project%3D{project}%22%5D%7D"
    )
}

/// Asks a published port for its version until it is `version`; when that was. A question may hang
/// while the network changes under it, so the next one does not wait for it.
pub(crate) fn until_serves(port: u16, version: &str, within: Duration) -> Result<Instant> {
    let begun = Instant::now();
    let (tell, told) = mpsc::channel();
    while begun.elapsed() < within {
        let (tell, wanted) = (tell.clone(), format!("\n{version}"));
        let question = move || {
            if ask(port).is_ok_and(|answer| answer.trim_end().ends_with(&wanted)) {
                // Who asked may have had the answer from another question.
                let _ = tell.send(Instant::now());
            }
        };
        thread::Builder::new().stack_size(64 * 1024).spawn(question)?;
        if let Ok(at) = told.recv_timeout(ASK_EVERY) {
            return Ok(at);
        }
    }
    bail!(
        "version {version} did not answer on port {port} within {} s",
        within.as_secs()
    )
}

/// Asks without pause until nobody answers; when the first question was put that had no answer.
pub(crate) fn until_silent(port: u16, within: Duration) -> Result<Instant> {
    let begun = Instant::now();
    while begun.elapsed() < within {
        let asked = Instant::now();
        if !ask(port).is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
            return Ok(asked);
        }
        thread::sleep(ASK_EVERY);
    }
    bail!("port {port} answered for {} s", within.as_secs())
}

fn ask(port: u16) -> std::io::Result<String> {
    let limit = Duration::from_millis(500);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.write_all(b"GET /version HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
