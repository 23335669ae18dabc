//! Logs: structured, to standard error.

use std::error::Error;

use clap::ValueEnum;
use tracing_subscriber::{EnvFilter, filter::ParseError, fmt, util::SubscriberInitExt as _, util::TryInitError};

/// The environment variable with the filter, such as `info,kv_operator=debug`.
pub const FILTER_VARIABLE: &str = "KV_LOG";
/// The HTTP client logs each failure besides whoever asked, and more often.
const DEFAULT_FILTER: &str = "info,kube_client::client::builder=off";

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// Why logs can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter can't be read.
    #[error("{FILTER_VARIABLE} is {value:?}: write levels such as info or info,kv_operator=debug")]
    Filter {
        /// What was given.
        value: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// The process has a subscriber already.
    #[error("logs are set up already")]
    SetUpAlready(#[source] TryInitError),
}

/// Sets up the process's logs. Call it once.
///
/// # Errors
/// [`TelemetryError`].
pub fn init(format: LogFormat) -> Result<(), TelemetryError> {
    let value = std::env::var(FILTER_VARIABLE).ok().filter(|value| !value.is_empty());
    let value = value.unwrap_or_else(|| DEFAULT_FILTER.to_owned());
    let filter = EnvFilter::try_new(&value).map_err(|source| TelemetryError::Filter { value, source })?;
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let outcome = match format {
        LogFormat::Text => builder.with_ansi(false).finish().try_init(),
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init(),
    };
    outcome.map_err(TelemetryError::SetUpAlready)
}

/// An error and what caused it, in one line. Causes that the error's own words hold already are left out.
#[must_use]
pub fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        source = error.source();
    }
    text
}
