//! What is around every page: its head, its one style and one script, who is looked at, and the policy that lets a browser run
//! nothing else.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use state::name::Digest;

use super::mark::Mark;
use crate::cli::Reader;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("live.js");
/// Without a script the browser asks anew so often.
const SECONDS: u32 = 10;

/// Who looks, at what host.
#[derive(Debug, Clone)]
pub(in crate::http) struct Frame {
    /// The name of the host.
    pub(in crate::http) host: String,
    /// Times as they are told.
    pub(in crate::http) reader: Reader,
}

/// `Content-Security-Policy`: our style and our script by their digests, answers of our own, and nothing else.
pub(in crate::http) fn policy() -> &'static str {
    static POLICY: LazyLock<String> = LazyLock::new(|| {
        format!(
            "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; img-src data:; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            digest(SCRIPT),
            digest(STYLE)
        )
    });
    &POLICY
}

fn digest(text: &str) -> String {
    STANDARD.encode(Digest::of(text.as_bytes()).bytes())
}

/// What would turn the words after it around, or is not to be seen at all, is shown instead of obeyed.
const fn shown(c: char) -> char {
    match c {
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' => '\u{fffd}',
        '\n' => c,
        _ if c.is_ascii_control() => '\u{fffd}',
        _ => c,
    }
}

impl Frame {
    /// A page: `title` as the browser shows it, `mark` as its icon, `place` beside the host's name.
    pub(super) fn page(&self, title: &str, mark: Mark, place: Option<&str>, main: &Markup) -> String {
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    meta name="version" content=(env!("CARGO_PKG_VERSION"));
                    meta name="robots" content="noindex";
                    title { (title) " · " (self.host) }
                    link rel="icon" href=(mark.icon());
                    style { (PreEscaped(STYLE)) }
                    noscript { meta http-equiv="refresh" content=(SECONDS); }
                }
                body {
                    header class="top frame" {
                        nav aria-label="Place" {
                            @if let Some(place) = place {
                                a id="all" href="/" { b { (self.host) } }
                                span aria-hidden="true" { "/" }
                                b aria-current="page" { (place) }
                            } @else {
                                b aria-current="page" { (self.host) }
                            }
                        }
                        p id="live" class="live" role="status" { "as of " (self.reader.time(self.reader.now)) }
                    }
                    (main)
                    script { (PreEscaped(SCRIPT)) }
                }
            }
        };
        page.into_string().chars().map(shown).collect()
    }

    /// A time of day, with the date where it is not today's; whole, and for a program, besides.
    pub(super) fn time(reader: &Reader, at: Timestamp) -> Markup {
        html! { time datetime=(at) title=(reader.full(at)) { (reader.at(at)) } }
    }

    /// The last lines of a page.
    pub(super) fn foot(&self, known: &[String]) -> Markup {
        let now = self.reader.now.to_zoned(self.reader.zone.clone());
        let zone = if self.reader.zone == TimeZone::UTC {
            String::from("UTC")
        } else {
            now.strftime("%Z (UTC%:z)").to_string()
        };
        html! {
            footer class="foot" {
                @if !known.is_empty() { p { (known.join(" · ")) } }
                p {
                    "Made at " (self.reader.full(self.reader.now)) ". Times are this host’s, " (zone)
                    ". Nothing can be changed from here: " code { "steadfast" } " on the host does that."
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Text that is not escaped must not end its own element.
    #[test]
    fn neither_style_nor_script_ends_early() {
        for text in [STYLE, SCRIPT] {
            assert!(!text.contains("</") && !text.contains("<!--"));
            // Else they would not be what their digests are of.
            assert!(text.chars().all(|c| shown(c) == c));
        }
    }

    #[test]
    fn the_digests_are_those_of_a_browser() {
        // `printf abc | openssl dgst -sha256 -binary | base64`
        assert_eq!(digest("abc"), "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
    }
}
