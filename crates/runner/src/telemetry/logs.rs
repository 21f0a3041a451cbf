//! Logs on stderr, for people or as JSON lines.

use std::io::IsTerminal as _;

use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer, filter::LevelFilter, fmt, fmt::format::FmtSpan, registry::LookupSpan,
};

use super::{TelemetryError, Verbosity};

/// The crates whose doings `-v` shows.
pub(super) const OURS: [&str; 5] = [
    "runner",
    "aws_ops",
    "spot_api",
    "onboarding_core",
    "onboarding_provider",
];

/// The layer that logs.
pub(super) fn layer<S>(
    verbosity: Verbosity,
    json: bool,
) -> Result<Box<dyn Layer<S> + Send + Sync>, TelemetryError>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let filter = filter(verbosity)?;
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    // A call is a span; its end is when all is known about it.
    let spans = match verbosity {
        Verbosity::Calls => FmtSpan::CLOSE,
        Verbosity::Quiet | Verbosity::Default | Verbosity::Verbose => FmtSpan::NONE,
    };
    let layer = fmt::layer()
        .with_span_events(spans)
        .with_writer(std::io::stderr);
    Ok(if json {
        layer.json().with_filter(filter).boxed()
    } else {
        layer
            .with_ansi(!no_color && std::io::stderr().is_terminal())
            .with_filter(filter)
            .boxed()
    })
}

/// What is logged: as `RUST_LOG` says, else by verbosity.
pub(super) fn filter(verbosity: Verbosity) -> Result<EnvFilter, TelemetryError> {
    match std::env::var("RUST_LOG") {
        Ok(value) if !value.trim().is_empty() => EnvFilter::builder()
            .parse(&value)
            .map_err(|source| TelemetryError::Filter { value, source }),
        _ => Ok(default_filter(verbosity)),
    }
}

fn default_filter(verbosity: Verbosity) -> EnvFilter {
    let (others, ours) = match verbosity {
        Verbosity::Quiet => (LevelFilter::ERROR, LevelFilter::ERROR),
        Verbosity::Default => (LevelFilter::WARN, LevelFilter::WARN),
        Verbosity::Verbose => (LevelFilter::WARN, LevelFilter::INFO),
        Verbosity::Calls => (LevelFilter::WARN, LevelFilter::DEBUG),
    };
    let mut filter = format!("{others}");
    for name in OURS {
        filter.push_str(&format!(",{name}={ours}"));
    }
    EnvFilter::new(filter)
}
