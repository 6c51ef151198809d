//! Do the keys make sense together? From the file's shape to values that can be used as they are.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tidemark_schemas::ids::TenantId;
use toml::Spanned;

use super::file::{self, ArchiveKind, BillingKind, ErpKind};
use super::{
    ApiKey, Archive, Billing, Config, ConfigError, Delivery, Erp, Http, KEY_ID_BYTES_MAX, KeyHash, Log, Role,
    Scope, Secret, Tls, is_key_id, resolved,
};

/// A kilobyte holds any token; more is a wrong file.
const SECRET_BYTES_MAX: usize = 4096;

/// What is being checked, for messages and for the secrets it points to.
pub(super) struct Origin<'a> {
    pub text: &'a str,
    pub file: &'a Path,
    pub environment: &'a dyn Fn(&str) -> Option<String>,
}

impl Origin<'_> {
    /// The parser's own message: it lists the allowed keys or values. Its excerpt of the file is left out.
    pub fn syntax(&self, error: &toml::de::Error) -> ConfigError {
        self.invalid(&error.span().unwrap_or(0..0), error.message().trim_end_matches('\n').to_owned())
    }

    fn invalid(&self, span: &Range<usize>, reason: impl Into<String>) -> ConfigError {
        let before = self.text.get(..span.start).unwrap_or_default();
        ConfigError::Invalid {
            file: self.file.into(),
            line: before.matches('\n').count() + 1,
            key: self.key_at(before.len()),
            reason: reason.into(),
        }
    }

    /// The dotted key on the line at `offset`: good enough for a message, as nobody writes keys over two lines.
    fn key_at(&self, offset: usize) -> String {
        let start = self.text[..offset].rfind('\n').map_or(0, |newline| newline + 1);
        let line = self.text[start..].lines().next().unwrap_or_default().trim();
        let header = |line: &str| {
            let name = line.trim().strip_prefix('[')?.trim_start_matches('[');
            name.split(']').next().map(|name| name.trim().to_owned())
        };
        if let Some(section) = header(line) {
            return section;
        }
        let key = line.split('=').next().unwrap_or_default().trim();
        match self.text[..start].lines().rev().find_map(header) {
            Some(section) => format!("{section}.{key}"),
            None => key.to_owned(),
        }
    }

    fn number(
        &self,
        written: Option<Spanned<u64>>,
        default: u64,
        allowed: RangeInclusive<u64>,
    ) -> Result<u64, ConfigError> {
        let Some(written) = written else { return Ok(default) };
        if allowed.contains(written.get_ref()) {
            return Ok(written.into_inner());
        }
        let (least, most) = allowed.into_inner();
        Err(self.invalid(&written.span(), format!("{} is outside {least} to {most}", written.get_ref())))
    }

    fn url(&self, written: Option<Spanned<String>>, section: &str) -> Result<String, ConfigError> {
        let written = written.ok_or_else(|| self.missing(section, "url", "it says where to send"))?;
        let url = written.get_ref();
        let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        if host.is_none_or(|host| host.is_empty() || host.starts_with('/'))
            || url.contains(char::is_whitespace)
        {
            return Err(
                self.invalid(&written.span(), "not a URL; write it like https://billing.example.com/usage")
            );
        }
        // A password in a URL ends up in logs; there is a key for it.
        if host.is_some_and(|host| host.split('/').next().unwrap_or_default().contains('@')) {
            return Err(self.invalid(
                &written.span(),
                "a user name or password in the URL would be logged; name it in the section's _file or _env key",
            ));
        }
        Ok(written.into_inner())
    }

    fn missing(&self, section: &str, key: &str, why: &str) -> ConfigError {
        let at = self.text.find(&format!("[{section}]")).unwrap_or(0);
        self.invalid(&(at..at), format!("`{section}.{key}` is missing; {why}"))
    }

    /// Keys of another kind are refused, because someone who writes them expects an effect.
    fn unused<T>(&self, written: &Option<Spanned<T>>, kind: &str) -> Result<(), ConfigError> {
        match written {
            None => Ok(()),
            Some(value) => {
                Err(self.invalid(&value.span(), format!("has no meaning with kind {kind}; remove it")))
            }
        }
    }

    fn secret(
        &self,
        file: Option<Spanned<PathBuf>>,
        variable: Option<Spanned<String>>,
    ) -> Result<Option<Secret>, ConfigError> {
        let (span, place, text) = match (file, variable) {
            (None, None) => return Ok(None),
            (Some(_), Some(variable)) => {
                return Err(
                    self.invalid(&variable.span(), "names a second place for the same secret; keep one")
                );
            }
            (Some(file), None) => {
                let text = std::fs::read_to_string(file.get_ref()).map_err(|error| {
                    self.invalid(&file.span(), format!("cannot read {}: {error}", file.get_ref().display()))
                })?;
                (file.span(), format!("the file {}", file.get_ref().display()), text)
            }
            (None, Some(variable)) => {
                let text = (self.environment)(variable.get_ref()).ok_or_else(|| {
                    let name = variable.get_ref();
                    self.invalid(&variable.span(), format!("the environment variable {name} is not set"))
                })?;
                (variable.span(), format!("the environment variable {}", variable.get_ref()), text)
            }
        };
        let text = text.trim_end_matches(['\r', '\n']);
        if text.is_empty() || text.len() > SECRET_BYTES_MAX {
            let reason = format!("{place} holds {} bytes; allowed are 1 to {SECRET_BYTES_MAX}", text.len());
            return Err(self.invalid(&span, reason));
        }
        Ok(Some(Secret::new(text.to_owned())))
    }
}

pub(super) fn checked(origin: &Origin<'_>, written: file::File) -> Result<Config, ConfigError> {
    let config = Config {
        http: http(origin, written.http)?,
        api_keys: api_keys(origin, written.api_key)?,
        billing: billing(origin, written.billing, &written.data_dir)?,
        erp: erp(origin, written.erp, &written.data_dir)?,
        delivery: delivery(origin, written.delivery)?,
        archive: archive(origin, written.archive, &written.data_dir)?,
        log: Log { format: written.log.format, level: written.log.level },
        data_dir: written.data_dir,
        catalog_dir: written.catalog_dir,
    };
    protected(&config)?;
    Ok(config)
}

/// A port that other machines reach needs keys and encryption; forgetting either must not look like success.
pub(super) fn protected(config: &Config) -> Result<(), ConfigError> {
    let listen = config.http.listen;
    if listen.ip().is_loopback() {
        return Ok(());
    }
    if config.api_keys.is_empty() {
        let remedy = "add an [[api_key]] section, or listen on 127.0.0.1";
        return Err(ConfigError::Exposed { listen, lack: "without any API key", remedy });
    }
    if config.http.tls == Tls::None {
        let remedy = "set http.tls_certificate_file and http.tls_key_file, or http.tls = \"terminated upstream\" \
                      when a proxy encrypts";
        return Err(ConfigError::Exposed { listen, lack: "without TLS", remedy });
    }
    Ok(())
}

fn http(origin: &Origin<'_>, written: file::Http) -> Result<Http, ConfigError> {
    let listen = match &written.listen {
        None => SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
        Some(listen) => {
            resolved(listen.get_ref()).map_err(|reason| origin.invalid(&listen.span(), reason))?
        }
    };
    let seconds = |seconds: u64| seconds * 1000;
    let header_timeout = origin.number(written.header_timeout_ms, seconds(10), 1..=seconds(300))?;
    let body_timeout = origin.number(written.body_timeout_ms, seconds(30), 1..=seconds(300))?;
    let shutdown_grace = origin.number(written.shutdown_grace_ms, seconds(10), 0..=seconds(600))?;
    let requests_max = origin.number(written.requests_max, 256, 1..=65_536)?;
    let connections_max = origin.number(written.connections_max, 4096, 1..=1_000_000)?;
    Ok(Http {
        listen,
        tls: tls(origin, written.tls, written.tls_certificate_file, written.tls_key_file)?,
        header_timeout: Duration::from_millis(header_timeout),
        body_timeout: Duration::from_millis(body_timeout),
        requests_max: usize::try_from(requests_max).expect("at most 65,536"),
        connections_max: usize::try_from(connections_max).expect("at most a million"),
        shutdown_grace: Duration::from_millis(shutdown_grace),
    })
}

fn tls(
    origin: &Origin<'_>,
    choice: Option<Spanned<file::Tls>>,
    certificate: Option<Spanned<PathBuf>>,
    key: Option<Spanned<PathBuf>>,
) -> Result<Tls, ConfigError> {
    let named = choice.as_ref().map(|choice| *choice.get_ref());
    match (named, certificate, key) {
        (None | Some(file::Tls::Here), Some(certificate), Some(key)) => {
            Ok(Tls::Here { certificate: certificate.into_inner(), key: key.into_inner() })
        }
        (Some(file::Tls::Here), _, None) | (None, Some(_), None) => {
            Err(origin.missing("http", "tls_key_file", "it holds the certificate's private key as PEM"))
        }
        (Some(file::Tls::Here) | None, None, Some(_)) => {
            Err(origin.missing("http", "tls_certificate_file", "it holds the certificate chain as PEM"))
        }
        (None | Some(file::Tls::None), None, None) => Ok(Tls::None),
        (Some(file::Tls::TerminatedUpstream), None, None) => Ok(Tls::TerminatedUpstream),
        (Some(file::Tls::None | file::Tls::TerminatedUpstream), _, _) => {
            let span = choice.map_or(0..0, |choice| choice.span());
            Err(origin
                .invalid(&span, "contradicts tls_certificate_file or tls_key_file; keep one or the other"))
        }
    }
}

fn api_keys(origin: &Origin<'_>, written: Vec<file::ApiKey>) -> Result<Vec<ApiKey>, ConfigError> {
    let mut ids = BTreeSet::new();
    let mut keys = Vec::with_capacity(written.len());
    for key in written {
        let id = key.id.get_ref();
        if !is_key_id(id) {
            let reason = format!("an id has 1 to {KEY_ID_BYTES_MAX} letters, digits and `-`");
            return Err(origin.invalid(&key.id.span(), reason));
        }
        if !ids.insert(id.clone()) {
            return Err(origin.invalid(&key.id.span(), "another key has the same id"));
        }
        let roles = key.roles.get_ref();
        if roles.is_empty() {
            let all = Role::ALL.map(Role::name).join(", ");
            return Err(origin.invalid(&key.roles.span(), format!("no role; allowed are {all}")));
        }
        let scope = match key.tenant.get_ref().as_str() {
            "*" if roles.contains(&Role::Ingest) => {
                let reason = "an event belongs to one tenant, so a key for `*` cannot have the role ingest";
                return Err(origin.invalid(&key.tenant.span(), reason));
            }
            "*" => Scope::Every,
            name => Scope::Tenant(
                TenantId::new(name).map_err(|error| origin.invalid(&key.tenant.span(), error.to_string()))?,
            ),
        };
        let hash = KeyHash::parse(key.hash.get_ref()).ok_or_else(|| {
            origin.invalid(
                &key.hash.span(),
                "not `sha256:` and 64 hex digits, as printed when the key was made",
            )
        })?;
        keys.push(ApiKey { id: id.clone(), scope, roles: roles.clone(), hash });
    }
    Ok(keys)
}

fn billing(origin: &Origin<'_>, written: file::Billing, data_dir: &Path) -> Result<Billing, ConfigError> {
    match written.kind {
        BillingKind::File => {
            origin.unused(&written.url, "file")?;
            origin.unused(&written.secret_file, "file")?;
            origin.unused(&written.secret_env, "file")?;
            origin.unused(&written.plain_http, "file")?;
            Ok(Billing::File { directory: directory(written.directory, data_dir, "billing") })
        }
        BillingKind::Webhook => {
            origin.unused(&written.directory, "webhook")?;
            let url = origin.url(written.url, "billing")?;
            let secret = origin.secret(written.secret_file, written.secret_env)?;
            let why = "requests are signed with it; secret_env is the other way to give it";
            let secret = secret.ok_or_else(|| origin.missing("billing", "secret_file", why))?;
            Ok(Billing::Webhook { url, secret, plain_http: is_set(written.plain_http) })
        }
        BillingKind::Pull => {
            origin.unused(&written.directory, "pull")?;
            origin.unused(&written.url, "pull")?;
            origin.unused(&written.secret_file, "pull")?;
            origin.unused(&written.secret_env, "pull")?;
            origin.unused(&written.plain_http, "pull")?;
            Ok(Billing::Pull)
        }
    }
}

fn erp(origin: &Origin<'_>, written: file::Erp, data_dir: &Path) -> Result<Erp, ConfigError> {
    match written.kind {
        ErpKind::File => {
            origin.unused(&written.url, "file")?;
            origin.unused(&written.token_file, "file")?;
            origin.unused(&written.token_env, "file")?;
            origin.unused(&written.plain_http, "file")?;
            Ok(Erp::File { directory: directory(written.directory, data_dir, "erp") })
        }
        ErpKind::Http => {
            origin.unused(&written.directory, "http")?;
            let url = origin.url(written.url, "erp")?;
            let token = origin.secret(written.token_file, written.token_env)?;
            Ok(Erp::Http { url, token, plain_http: is_set(written.plain_http) })
        }
    }
}

fn is_set(written: Option<Spanned<bool>>) -> bool {
    written.is_some_and(Spanned::into_inner)
}

fn delivery(origin: &Origin<'_>, written: file::Delivery) -> Result<Delivery, ConfigError> {
    const SECOND: u64 = 1000;
    const DAY: u64 = 86_400 * SECOND;
    let longest = written.longest_wait_ms.as_ref().map(Spanned::span);
    let milliseconds = |written, default, most| -> Result<Duration, ConfigError> {
        origin.number(written, default, 1..=most).map(Duration::from_millis)
    };
    let failures_to_open = origin.number(written.failures_to_open, 5, 1..=1000)?;
    let delivery = Delivery {
        connect_timeout: milliseconds(written.connect_timeout_ms, 5 * SECOND, 300 * SECOND)?,
        answer_timeout: milliseconds(written.answer_timeout_ms, 20 * SECOND, 300 * SECOND)?,
        first_wait: milliseconds(written.first_wait_ms, 200, 3600 * SECOND)?,
        longest_wait: milliseconds(written.longest_wait_ms, 30 * SECOND, DAY)?,
        retry_after_max: milliseconds(written.retry_after_max_ms, 300 * SECOND, DAY)?,
        failures_to_open: u32::try_from(failures_to_open).expect("at most 1000"),
        open: milliseconds(written.open_ms, 15 * SECOND, DAY)?,
    };
    if delivery.longest_wait < delivery.first_wait {
        let reason = "less than delivery.first_wait_ms; raise it, or lower the other";
        return Err(origin.invalid(&longest.unwrap_or(0..0), reason));
    }
    Ok(delivery)
}

fn archive(origin: &Origin<'_>, written: file::Archive, data_dir: &Path) -> Result<Archive, ConfigError> {
    match written.kind {
        ArchiveKind::Local => {
            Ok(Archive::Local { directory: directory(written.directory, data_dir, "archive") })
        }
        ArchiveKind::None => {
            origin.unused(&written.directory, "none")?;
            Ok(Archive::None)
        }
    }
}

fn directory(written: Option<Spanned<PathBuf>>, data_dir: &Path, default: &str) -> PathBuf {
    written.map_or_else(|| data_dir.join(default), Spanned::into_inner)
}
