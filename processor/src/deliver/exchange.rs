//! What does one HTTP exchange come to? A bounded reply, or no reply and whether the request may have arrived.
//!
//! Keeps: TLS certificates are checked; redirects are not followed, so that a signed record never goes where nobody
//! configured; a reply's body is read up to [`REPLY_BYTES_MAX`]; texts for people carry no URL query or credentials.
//! Deliberately absent: proxies from the environment, because what surrounds a process must not decide where money goes.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, StatusCode, Url, redirect};
use tidemark_schemas::ReceiveTime;

/// A journal entry of 900 lines has about 150 KB; ERPs refuse bodies of 2 MiB and more.
pub const REQUEST_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Answers are a few fields; an error page may be long and only its beginning is worth keeping.
pub const REPLY_BYTES_MAX: usize = 64 * 1024;

/// What of a reply is shown to people.
const EXCERPT_CHARS_MAX: usize = 500;

/// How long we wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    pub connect: Duration,
    /// From the first byte sent to the last byte read.
    pub answer: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        // Standard Webhooks recommends 15 to 30 seconds for the answer.
        Self { connect: Duration::from_secs(5), answer: Duration::from_secs(20) }
    }
}

/// Why an endpoint cannot be used at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    #[error("`{url}` is not an http or https address; write it like https://billing.example.com/usage")]
    NotAnAddress { url: String },
    #[error(
        "{shown} is not encrypted; use https, or set {section}.plain_http = true when the network itself is private"
    )]
    NotEncrypted { shown: String, section: &'static str },
    #[error("cannot set up TLS: {reason}; install the system's root certificates")]
    Tls { reason: String },
}

/// A checked address and the connections to it.
#[derive(Clone)]
pub struct Endpoint {
    pub url: Url,
    /// Scheme, host, port and path: what logs and receipts may show.
    pub shown: String,
    pub client: Client,
}

impl Endpoint {
    /// `section` of the configuration has the key `plain_http`, which allows http to other machines; http to this machine
    /// is always allowed.
    ///
    /// # Errors
    /// [`EndpointError`]
    pub fn new(
        section: &'static str,
        url: &str,
        plain_http: bool,
        timeouts: Timeouts,
    ) -> Result<Self, EndpointError> {
        let not_an_address = || EndpointError::NotAnAddress { url: url.chars().take(200).collect() };
        let url = Url::parse(url).map_err(|_| not_an_address())?;
        let host = url.host_str().ok_or_else(not_an_address)?;
        let shown = shown(&url);
        match url.scheme() {
            "https" => {}
            "http" if plain_http || is_this_machine(host) => {}
            "http" => return Err(EndpointError::NotEncrypted { shown, section }),
            _ => return Err(not_an_address()),
        }
        // An error means that a provider is installed already, which is what we want.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .connect_timeout(timeouts.connect)
            .timeout(timeouts.answer)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("tidemark/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| EndpointError::Tls { reason: error.to_string() })?;
        Ok(Self { url, shown, client })
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({})", self.shown)
    }
}

fn shown(url: &Url) -> String {
    let mut bare = url.clone();
    bare.set_query(None);
    bare.set_fragment(None);
    // Setting either fails only for addresses without a host, which were refused.
    let _ = bare.set_username("");
    let _ = bare.set_password(None);
    bare.to_string()
}

fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// A reply, read up to its bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub status: StatusCode,
    pub retry_after: Option<Duration>,
    pub body: Vec<u8>,
}

/// There was no complete reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoReply {
    pub reason: String,
    /// False only when no connection came about.
    pub may_have_arrived: bool,
}

/// Sends one request. `now` dates a `Retry-After` that is a date.
///
/// # Errors
/// [`NoReply`]
pub async fn exchange(request: RequestBuilder, now: ReceiveTime) -> Result<Reply, NoReply> {
    let mut response = request.send().await.map_err(no_reply)?;
    let status = response.status();
    let retry_after = retry_after(response.headers(), now);
    let mut body = Vec::new();
    while body.len() < REPLY_BYTES_MAX {
        let Some(chunk) = response.chunk().await.map_err(no_reply)? else {
            break;
        };
        let room = REPLY_BYTES_MAX - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }
    Ok(Reply { status, retry_after, body })
}

fn no_reply(error: reqwest::Error) -> NoReply {
    let may_have_arrived = !error.is_connect();
    let timed_out = error.is_timeout();
    let error = error.without_url();
    // The outermost text is generic ("error sending request"); the cause says what happened.
    let mut cause: &dyn std::error::Error = &error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let reason = if timed_out { "timed out".into() } else { cause.to_string() };
    NoReply { reason, may_have_arrived }
}

/// RFC 9110, section 10.2.3: seconds, or a date. Bounded where it is used.
fn retry_after(headers: &HeaderMap, now: ReceiveTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(Duration::from_secs(u64::from(seconds)));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp().as_microsecond();
    u64::try_from(date.saturating_sub(now.micros())).ok().map(Duration::from_micros)
}

/// What a status says about the record, for every HTTP destination alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Accepted,
    /// 409: the id is known there.
    AlreadyThere,
    /// Not handled: overload, maintenance, too early.
    Later,
    /// A server or gateway failed in the middle: it may have been handled.
    Uncertain,
    /// Credentials or address are wrong, whatever the record says.
    NotAdmitted,
    /// It judges the record itself.
    Refused,
}

/// Only a status that can be about nothing but the record refuses it: a mistyped address must not refuse a day's records.
#[must_use]
pub fn verdict(status: StatusCode) -> Verdict {
    match status.as_u16() {
        200..=299 => Verdict::Accepted,
        409 => Verdict::AlreadyThere,
        425 | 429 | 503 => Verdict::Later,
        400 | 413 | 422 => Verdict::Refused,
        300..=499 if status != StatusCode::REQUEST_TIMEOUT => Verdict::NotAdmitted,
        _ => Verdict::Uncertain,
    }
}

/// The beginning of a reply for people: status, then printable text on one line.
#[must_use]
pub fn excerpt(reply: &Reply) -> String {
    let text = String::from_utf8_lossy(&reply.body);
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty()).collect();
    let line: String = words.join(" ").chars().take(EXCERPT_CHARS_MAX).collect();
    let status = reply.status;
    if line.is_empty() { format!("HTTP {status}") } else { format!("HTTP {status}: {line}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_encrypted_or_on_this_machine() {
        let opened =
            |url, plain_http| Endpoint::new("erp", url, plain_http, Timeouts::default()).map(|e| e.shown);
        assert_eq!(opened("https://u:p@b.example/x?key=1#f", false), Ok("https://b.example/x".into()));
        for local in ["http://127.0.0.1:8080/x", "http://[::1]:8080/x", "http://localhost/x"] {
            assert_eq!(opened(local, false), Ok(local.into()));
        }
        let shown = "http://127.0.0.1.example/x";
        assert_eq!(
            opened(shown, false),
            Err(EndpointError::NotEncrypted { shown: shown.into(), section: "erp" })
        );
        assert_eq!(opened(shown, true), Ok(shown.into()));
        for url in ["ftp://b.example/", "b.example", ""] {
            assert!(matches!(opened(url, true), Err(EndpointError::NotAnAddress { .. })), "{url}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        // 2026-01-01T00:00:00Z
        let now = ReceiveTime::from_micros(1_767_225_600_000_000);
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().expect("a header"));
            retry_after(&headers, now).map(|wait| wait.as_secs())
        };
        assert_eq!(read("120"), Some(120));
        assert_eq!(read("Thu, 01 Jan 2026 00:01:30 GMT"), Some(90));
        assert_eq!(read("Wed, 31 Dec 2025 23:00:00 GMT"), None);
        assert_eq!(read("soon"), None);
        assert_eq!(read("-5"), None);
    }

    #[test]
    fn every_status_has_a_verdict() {
        let of = |code| verdict(StatusCode::from_u16(code).expect("a status"));
        for (codes, expected) in [
            (&[200, 201, 202, 204][..], Verdict::Accepted),
            (&[409], Verdict::AlreadyThere),
            (&[425, 429, 503], Verdict::Later),
            (&[408, 500, 502, 504, 599], Verdict::Uncertain),
            (&[301, 302, 307, 401, 403, 404, 405, 407, 410, 415, 451], Verdict::NotAdmitted),
            (&[400, 413, 422], Verdict::Refused),
        ] {
            for code in codes {
                assert_eq!(of(*code), expected, "{code}");
            }
        }
    }

    #[test]
    fn an_excerpt_is_one_short_line() {
        let reply =
            |body: &[u8]| Reply { status: StatusCode::BAD_REQUEST, retry_after: None, body: body.into() };
        assert_eq!(excerpt(&reply(b"no\r\n\x1b[31msuch\0 plan ")), "HTTP 400 Bad Request: no [31msuch plan");
        assert_eq!(excerpt(&reply(b"")), "HTTP 400 Bad Request");
        assert!(excerpt(&reply(&[b'x'; 9_999])).len() < 600);
    }
}
