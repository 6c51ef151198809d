//! How do logs look? One line an occurrence, to stderr, as text for people or JSON for machines.
//!
//! Standard output stays free for what a command prints. Secrets do not reach a log because their types do not
//! print (see `config::Secret`).

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat, LogLevel};

/// A second logger in one process.
#[derive(Debug, thiserror::Error)]
#[error("logging was started before: {0}; start it once, in main")]
pub struct AlreadyStarted(tracing_subscriber::util::TryInitError);

/// Starts logging for the whole process. `RUST_LOG` narrows or widens single modules.
///
/// # Errors
/// [`AlreadyStarted`] on the second call.
pub fn start(log: Log) -> Result<(), AlreadyStarted> {
    let filter =
        EnvFilter::builder().with_default_directive(LevelFilter::from(log.level).into()).from_env_lossy();
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match log.format {
        LogFormat::Text => {
            builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).finish().try_init()
        }
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init(),
    }
    .map_err(AlreadyStarted)
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}
