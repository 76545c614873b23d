//! How the daemon logs: for people, with colours on a terminal, or one JSON object a line. What it told of each stack
//! lately is kept, for whoever watches.

use std::io::IsTerminal as _;
use std::sync::Arc;

use config::settings::LogFormat;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

mod recent;

pub use recent::{Line, Recent};

/// Begins to log to standard error. `STEADFAST_LOG` filters by target and level, as `RUST_LOG` does
/// elsewhere; the libraries' own records are left out: some hold request bodies. What is told from now on is in what
/// is returned, too.
pub fn init(format: LogFormat) -> Arc<Recent> {
    let asked = std::env::var("STEADFAST_LOG").ok();
    let asked = asked.and_then(|text| text.parse::<Targets>().ok());
    let filter = asked.unwrap_or_else(|| Targets::new().with_target("steadfast", LevelFilter::INFO));
    let recent = Arc::new(Recent::from(jiff::Timestamp::now()));
    let listener = recent::Listener::new(Arc::clone(&recent));
    let builder = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(std::io::stderr);
    // A second call, in a test, leaves the first in force.
    let _ = match format {
        LogFormat::Human => builder
            .with_target(false)
            .with_ansi(std::io::stderr().is_terminal())
            .finish()
            .with(listener)
            .with(filter)
            .try_init(),
        LogFormat::Json => builder.json().finish().with(listener).with(filter).try_init(),
    };
    recent
}
