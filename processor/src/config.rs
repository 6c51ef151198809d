//! How is this deployment set up? One TOML file, every key optional, checked whole before anything starts.
//!
//! Keeps: an unknown key is refused with the allowed ones; an error names file, line and key; a value that exists
//! here has been checked. Secrets are never in the file: it names a file or an environment variable that holds
//! them, and `Debug` never shows them. Listening beyond this machine without keys or without TLS is refused here.
//!
//! Deliberately absent: what is sold and for how much (that is the catalog), and limits that are the same in every
//! deployment (those are constants in `tidemark_schemas::limits`).
//!
//! `docs/configuration.md` documents every key; a test compares the two.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tidemark_schemas::ids::TenantId;

mod check;
mod file;
#[cfg(test)]
mod tests;

/// An address and port, or a name and port. Of a name's addresses an IPv4 one, when it has one: that is what others reach.
///
/// # Errors
/// What is wrong, for a person.
pub fn resolved(listen: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = listen.parse() {
        return Ok(address);
    }
    let form = "write it like 127.0.0.1:8080, [::]:8080 or localhost:8080";
    let addresses = listen.to_socket_addrs().map_err(|error| format!("{error}; {form}"))?;
    let addresses: Vec<_> = addresses.collect();
    let first = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
    first.copied().ok_or_else(|| format!("the name has no address; {form}"))
}

/// Everything a deployment decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where state lives. One process at a time.
    pub data_dir: PathBuf,
    /// Where the catalog's files are.
    pub catalog_dir: PathBuf,
    pub http: Http,
    /// Empty only when listening on a loopback address.
    pub api_keys: Vec<ApiKey>,
    pub billing: Billing,
    pub erp: Erp,
    pub delivery: Delivery,
    pub archive: Archive,
    pub log: Log,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    pub listen: SocketAddr,
    pub tls: Tls,
    /// From the first byte of a connection or request to the end of its headers.
    pub header_timeout: Duration,
    /// From the end of the headers to the end of the body.
    pub body_timeout: Duration,
    /// Requests in progress; one more is answered 503. Each may hold two bodies of `REQUEST_BYTES_MAX`.
    pub requests_max: usize,
    /// Open connections; one more is closed.
    pub connections_max: usize,
    /// How long a stop waits for requests in progress, those that we have sent included.
    pub shutdown_grace: Duration,
}

/// Who encrypts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Nobody. Loopback only.
    None,
    /// A proxy in front of us; the network between is trusted.
    TerminatedUpstream,
    /// We do, with these PEM files.
    Here { certificate: PathBuf, key: PathBuf },
}

/// Letters of a key's id: `tm_<id>_<secret>` stays short enough for every log line.
pub const KEY_ID_BYTES_MAX: usize = 64;

/// Whether this may be a key's id. Its alphabet leaves `tm_<id>_<secret>` readable.
#[must_use]
pub fn is_key_id(id: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-';
    (1..=KEY_ID_BYTES_MAX).contains(&id.len()) && id.chars().all(allowed)
}

/// One API key. The secret itself is known to its holder only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// The public part, shown in logs and in the origin of events.
    pub id: String,
    pub scope: Scope,
    pub roles: Vec<Role>,
    pub hash: KeyHash,
}

/// Whose records a caller may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    Tenant(TenantId),
    /// An operator's key: every tenant, but no events, because an event needs one.
    Every,
}

/// What a caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Send events.
    Ingest,
    /// Read usage, rated summaries, exceptions, traces and the reconciliation.
    Read,
    /// Answer for rated summaries. Not part of `read`: an answered row leaves the outbox.
    Acknowledge,
    /// Replay and dismiss exceptions.
    Operate,
}

impl Role {
    pub const ALL: [Self; 4] = [Self::Ingest, Self::Read, Self::Acknowledge, Self::Operate];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Read => "read",
            Self::Acknowledge => "acknowledge",
            Self::Operate => "operate",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// SHA-256 of an API key's whole text. The key holds 256 random bits, so a slow hash would protect nothing more.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyHash(pub [u8; 32]);

impl KeyHash {
    pub const PREFIX: &str = "sha256:";

    /// `sha256:` and 64 hex digits; anything else is `None`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(Self::PREFIX)?.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            let high = char::from(pair[0]).to_digit(16)?;
            let low = char::from(pair[1]).to_digit(16)?;
            *byte = u8::try_from(high * 16 + low).ok()?;
        }
        Some(Self(hash))
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(not shown)")
    }
}

/// Text that no log, error or debug output shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself: for a signature or an authorization header, never for a message.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(not shown)")
    }
}

/// How rated summaries reach billing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Billing {
    File {
        directory: PathBuf,
    },
    Webhook {
        url: String,
        secret: Secret,
        /// Allows http to other machines.
        plain_http: bool,
    },
    /// Billing asks `GET /v1/rated-summaries` and answers with receipts.
    Pull,
}

/// How journal entries reach the ERP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Erp {
    File { directory: PathBuf },
    Http { url: String, token: Option<Secret>, plain_http: bool },
}

/// How patiently billing and the ERP are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    pub connect_timeout: Duration,
    /// From the first byte sent to the last byte read.
    pub answer_timeout: Duration,
    /// Bound of the wait after a first failure; doubles with each further one.
    pub first_wait: Duration,
    /// Bound of every wait that we choose ourselves.
    pub longest_wait: Duration,
    /// The other side's `Retry-After` is honoured up to this.
    pub retry_after_max: Duration,
    /// Subscribers or legal entities that fail with no success between them, after which nothing is sent for a while.
    pub failures_to_open: u32,
    /// That while.
    pub open: Duration,
}

/// Where accepted events are kept as Parquet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Archive {
    Local { directory: PathBuf },
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    pub format: LogFormat,
    pub level: LogLevel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the configuration {}: {source}; correct the path, or run without one", file.display())]
    Unreadable { file: PathBuf, source: std::io::Error },
    /// `key` is dotted, such as `http.listen`; empty when the fault is in no key.
    #[error("{}, line {line}, key `{key}`: {reason}", file.display())]
    Invalid { file: PathBuf, line: usize, key: String, reason: String },
    #[error("refusing to listen on {listen}, which other machines can reach, {lack}; {remedy}")]
    Exposed { listen: SocketAddr, lack: &'static str, remedy: &'static str },
}

impl Config {
    /// The file at `path`; without one, the defaults: HTTP on loopback, state and files in the working directory.
    ///
    /// Relative paths are relative to the working directory.
    ///
    /// # Errors
    /// [`ConfigError`] when the file cannot be read, has an unknown key or a value that is not allowed, when a
    /// secret it names cannot be read, or when it would expose an unprotected port.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let environment = |name: &str| std::env::var(name).ok();
        match path {
            None => Self::from_text("", Path::new("defaults"), &environment),
            Some(file) => {
                let text = std::fs::read_to_string(file)
                    .map_err(|source| ConfigError::Unreadable { file: file.into(), source })?;
                Self::from_text(&text, file, &environment)
            }
        }
    }

    /// Whether the port is protected, for an address that came from elsewhere than the file.
    ///
    /// # Errors
    /// [`ConfigError::Exposed`]
    pub fn check_exposure(&self) -> Result<(), ConfigError> {
        check::protected(self)
    }

    /// # Errors
    /// As [`Config::load`].
    pub fn from_text(
        text: &str,
        file: &Path,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let origin = check::Origin { text, file, environment };
        let written = toml::from_str(text).map_err(|error| origin.syntax(&error))?;
        check::checked(&origin, written)
    }
}
