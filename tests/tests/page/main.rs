//! The status page in a real browser: whole on a phone and on a screen, in light and in dark, without a script, and live. What was
//! seen is in `target/page/`.

mod browser;
mod daemon;

use std::path::Path;

use anyhow::{Result, ensure};
use serde_json::json;

use browser::Browser;
use daemon::{Daemon, name};

/// With words that have to be read on the stack's own page.
const SHOWN: [(&str, &[&str]); 8] = [
    (
        "steady",
        &[
            "steady",
            "v1.5.0 runs, as asked for",
            "possible, to v1.4.0 (generation 1)",
        ],
    ),
    ("trial", &["on trial", "has been healthy for 2m of 5m"]),
    (
        "failing",
        &["failing", "3m 10s left to a rollback", "GET /health answered 500"],
    ),
    (
        "rolling back",
        &[
            "rolling back",
            "Under way: rollback to v1.5.0",
            "start api (new api-1)",
        ],
    ),
    ("rolled back", &["rolled back", "in quarantine"]),
    ("held", &["held", "the cause is outside", "steadfast retry held"]),
    (
        "first contact",
        &["waits for your approval", "steadfast approve first-contact"],
    ),
    ("engine away", &["unknown", "the engine cannot be reached"]),
];
/// The narrowest that has to do, a phone, a screen.
const SIZES: [(u32, u32); 3] = [(360, 740), (390, 844), (1280, 800)];
const TEXT: &str = "document.querySelector('main').innerText";
const IS_LIVE: &str = "document.getElementById('live').textContent === 'live'";
const IS_HELD: &str = "document.getElementById('live').textContent === 'held while you select'";
const SELECT: &str = "getSelection().selectAllChildren(document.querySelector('main h1')); 0";
/// Half a minute passes at once, for the script.
const LATER: &str = "(now => { Date.now = () => now() + 31000; })(Date.now); 0";
/// How often the page was asked for by its script.
const ASKED: &str =
    "performance.getEntriesByType('resource').filter(e => e.initiatorType === 'fetch').length";

/// What is wider than the window, by its outermost element.
const TOO_WIDE: &str = "[document.documentElement, ...document.querySelectorAll('body *')]
    .filter(e => !e.closest('svg') && (e === document.documentElement
        ? e.scrollWidth > innerWidth : e.getBoundingClientRect().right > innerWidth + 0.5))
    .map(e => e.outerHTML.slice(0, 200)).slice(0, 3)";

fn everything() -> Result<(Daemon, Browser)> {
    let situations: Vec<&str> = SHOWN.iter().map(|(situation, _)| *situation).collect();
    Ok((Daemon::of(&situations)?, Browser::start()?))
}

fn no_complaint(browser: &mut Browser, of: &str) -> Result<()> {
    let complaints = browser.complaints()?;
    ensure!(complaints.is_empty(), "{of}: {complaints:#?}");
    Ok(())
}

fn reads(browser: &mut Browser, words: &[&str]) -> Result<()> {
    let text = browser.value(TEXT)?;
    let text = text.as_str().unwrap_or_default();
    for words in words {
        ensure!(text.contains(words), "not to be read: {words}\n{text}");
    }
    Ok(())
}

/// Keeps what is seen, for whoever wants to look at it.
fn keep(browser: &mut Browser, called: &str) -> Result<()> {
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "../target".into());
    let directory = Path::new(&target).join("page");
    std::fs::create_dir_all(&directory)?;
    let shot = browser.call(
        "Page.captureScreenshot",
        &json!({"format": "webp", "captureBeyondViewport": true}),
    )?;
    let data = shot["data"].as_str().unwrap_or_default();
    // An empty page is a few hundred bytes.
    ensure!(data.len() > 4000, "there is nothing on {called}");
    // As a page of its own, which any browser shows.
    let html = format!("<title>{called}</title><img src=\"data:image/webp;base64,{data}\">");
    std::fs::write(directory.join(format!("{called}.html")), html)?;
    Ok(())
}

#[test]
fn every_page_is_whole_at_every_width_in_light_and_dark() -> Result<()> {
    let (daemon, mut browser) = everything()?;
    let overview = (String::from("/"), &["6 of 8 stacks are not fine"][..]);
    let stacks = SHOWN
        .iter()
        .map(|(of, words)| Ok((format!("/stacks/{}", name(of)?), *words)));
    let mut pages: Vec<(String, &[&str])> = stacks.collect::<Result<_>>()?;
    pages.insert(0, overview);
    let mut grounds = Vec::new();
    for (path, words) in &pages {
        for size in SIZES {
            for scheme in ["light", "dark"] {
                let called = format!("{}-{}-{scheme}", path.replace('/', "_"), size.0);
                browser.look(size, scheme)?;
                browser.go(&daemon.url(path))?;
                browser.until(IS_LIVE)?;
                reads(&mut browser, words)?;
                let wide = browser.value(TOO_WIDE)?;
                ensure!(wide == json!([]), "{called}: wider than the window: {wide}");
                no_complaint(&mut browser, &called)?;
                grounds.push(browser.value("getComputedStyle(document.body).backgroundColor")?);
                if size.0 != SIZES[0].0
                    && ["/", "/stacks/failing", "/stacks/rolling-back"].contains(&path.as_str())
                {
                    keep(&mut browser, &called)?;
                }
            }
        }
    }
    ensure!(
        grounds[0] != grounds[1],
        "light and dark look the same: {}",
        grounds[0]
    );
    Ok(())
}

#[test]
fn a_page_follows_what_is_published_and_says_when_it_is_old() -> Result<()> {
    let mut daemon = Daemon::of(&["steady"])?;
    let mut browser = Browser::start()?;
    browser.look(SIZES[1], "dark")?;
    browser.go(&daemon.url("/stacks/steady"))?;
    browser.until(IS_LIVE)?;
    // What somebody has opened stays open, and the page is the same one.
    browser.value("document.querySelector('details').open = true; window.same = true")?;
    daemon.publish("steady", "failing")?;
    browser.until(&format!("{TEXT}.includes('3m 10s left to a rollback')"))?;
    browser.until("window.same && document.querySelector('details').open && document.title.startsWith('steady: failing')")?;
    // What somebody selects is left in their hands until they let go of it, however often it is asked for meanwhile; that
    // it is old is said.
    browser.value(SELECT)?;
    for _ in 0..2 {
        let asked = browser.value(ASKED)?;
        daemon.publish("steady", "held")?;
        browser.until(&format!("{ASKED} > {asked}"))?;
    }
    browser.until(IS_HELD)?;
    reads(&mut browser, &["3m 10s left to a rollback"])?;
    browser.value("getSelection().removeAllRanges(); 0")?;
    browser.until(&format!("{IS_LIVE} && {TEXT}.includes('steadfast retry steady')"))?;
    // But not for ever.
    browser.value(SELECT)?;
    daemon.publish("steady", "failing")?;
    browser.until(IS_HELD)?;
    browser.value(LATER)?;
    daemon.publish("steady", "rolled back")?;
    browser.until(&format!("{IS_LIVE} && {TEXT}.includes('v1.6.0 was asked for')"))?;
    no_complaint(&mut browser, "live")?;
    daemon.stop();
    browser.until("document.getElementById('live').textContent.startsWith('no answer since')")?;
    browser.until("document.querySelector('main').classList.contains('old')")?;
    reads(&mut browser, &["v1.6.0 was asked for"])
}

#[test]
fn it_is_read_without_a_script_too() -> Result<()> {
    let (daemon, mut browser) = everything()?;
    browser.call("Emulation.setScriptExecutionDisabled", &json!({"value": true}))?;
    browser.look(SIZES[1], "light")?;
    browser.go(&daemon.url("/stacks/failing"))?;
    reads(&mut browser, &["3m 10s left to a rollback"])?;
    browser.until("document.querySelector('meta[http-equiv=refresh]')?.content === '10'")?;
    reads(&mut browser, &["Health", "Generations"])?;
    browser.until("document.getElementById('live').textContent.startsWith('as of ')")
}
