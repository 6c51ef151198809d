//! What may the file say? Its exact shape: sections, keys and defaults, before any check across keys.
//!
//! Flat structs instead of tagged enums, because only those keep the line of a wrong value and name the allowed keys.

use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::{LogFormat, LogLevel, Role};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub data_dir: PathBuf,
    pub catalog_dir: PathBuf,
    pub http: Http,
    pub api_key: Vec<ApiKey>,
    pub billing: Billing,
    pub erp: Erp,
    pub delivery: Delivery,
    pub archive: Archive,
    pub log: Log,
}

impl Default for File {
    fn default() -> Self {
        Self {
            data_dir: "data".into(),
            catalog_dir: "catalog".into(),
            http: Http::default(),
            api_key: Vec::new(),
            billing: Billing::default(),
            erp: Erp::default(),
            delivery: Delivery::default(),
            archive: Archive::default(),
            log: Log::default(),
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Http {
    pub listen: Option<Spanned<String>>,
    pub tls: Option<Spanned<Tls>>,
    pub tls_certificate_file: Option<Spanned<PathBuf>>,
    pub tls_key_file: Option<Spanned<PathBuf>>,
    pub header_timeout_ms: Option<Spanned<u64>>,
    pub body_timeout_ms: Option<Spanned<u64>>,
    pub requests_max: Option<Spanned<u64>>,
    pub connections_max: Option<Spanned<u64>>,
    pub shutdown_grace_ms: Option<Spanned<u64>>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tls {
    #[serde(rename = "none")]
    None,
    #[serde(rename = "here")]
    Here,
    #[serde(rename = "terminated upstream")]
    TerminatedUpstream,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ApiKey {
    pub id: Spanned<String>,
    pub tenant: Spanned<String>,
    pub roles: Spanned<Vec<Role>>,
    pub hash: Spanned<String>,
}

#[derive(Deserialize, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(super) enum BillingKind {
    #[default]
    File,
    Webhook,
    Pull,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Billing {
    pub kind: BillingKind,
    pub directory: Option<Spanned<PathBuf>>,
    pub url: Option<Spanned<String>>,
    pub secret_file: Option<Spanned<PathBuf>>,
    pub secret_env: Option<Spanned<String>>,
    pub plain_http: Option<Spanned<bool>>,
}

#[derive(Deserialize, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(super) enum ErpKind {
    #[default]
    File,
    Http,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Erp {
    pub kind: ErpKind,
    pub directory: Option<Spanned<PathBuf>>,
    pub url: Option<Spanned<String>>,
    pub token_file: Option<Spanned<PathBuf>>,
    pub token_env: Option<Spanned<String>>,
    pub plain_http: Option<Spanned<bool>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Delivery {
    pub connect_timeout_ms: Option<Spanned<u64>>,
    pub answer_timeout_ms: Option<Spanned<u64>>,
    pub first_wait_ms: Option<Spanned<u64>>,
    pub longest_wait_ms: Option<Spanned<u64>>,
    pub retry_after_max_ms: Option<Spanned<u64>>,
    pub failures_to_open: Option<Spanned<u64>>,
    pub open_ms: Option<Spanned<u64>>,
}

#[derive(Deserialize, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(super) enum ArchiveKind {
    #[default]
    Local,
    None,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Archive {
    pub kind: ArchiveKind,
    pub directory: Option<Spanned<PathBuf>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Log {
    pub format: LogFormat,
    pub level: LogLevel,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: LogLevel::Info }
    }
}
