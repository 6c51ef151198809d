//! How are a body's bytes read? Counted while they come, against a clock, and decompressed under a cap.
//!
//! Keeps I-9: at no moment does one request hold more than a compressed and a decompressed body, each at most
//! `REQUEST_BYTES_MAX`. A declared length is checked before a byte is read; an undeclared one while reading.
//! Deliberately absent: what the bytes mean.

use std::io::Read;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, header};
use bytes::Bytes;
use http_body_util::BodyExt;
use tidemark_schemas::limits::{DECOMPRESSION_RATIO_MAX, EVENT_BYTES_MAX, REQUEST_BYTES_MAX};

use super::problem::{Kind, Problem};

/// Below this, a body of one event, growth is harmless whatever the ratio.
const RATIO_FREE_BYTES: usize = EVENT_BYTES_MAX;

/// zstd's recommended limit for decoders (RFC 8878, section 3.1.1.1.2): 8 MiB, the most a body can refer back to.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// The encodings that `Content-Encoding` may name, one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

impl Encoding {
    /// # Errors
    /// 415 for any other encoding, and for more than one level.
    pub fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
        let named = values.next().map(|value| value.to_str().unwrap_or_default().trim().to_ascii_lowercase());
        match (named.as_deref(), values.next()) {
            (None | Some("identity"), None) => Ok(Self::Identity),
            (Some("gzip" | "x-gzip"), None) => Ok(Self::Gzip),
            (Some("zstd"), None) => Ok(Self::Zstd),
            _ => Err(Problem::new(
                Kind::UnsupportedMedia,
                "Content-Encoding: allowed are gzip, zstd and identity, one level; compress the body with one of them",
            )
            .with(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, zstd, identity"))),
        }
    }
}

/// The body as sent.
///
/// # Errors
/// 413 when it is too large, 408 when it comes too slowly, 400 when it breaks off.
pub async fn read(headers: &HeaderMap, body: Body, timeout: Duration) -> Result<Bytes, Problem> {
    let declared =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|bytes| bytes > REQUEST_BYTES_MAX as u64) {
        return Err(too_large());
    }
    match tokio::time::timeout(timeout, collect(body)).await {
        Ok(read) => read,
        Err(_) => {
            let detail =
                format!("the body was not complete within {timeout:?}; send it faster or in smaller parts");
            Err(Problem::new(Kind::BodyTimeout, detail)
                .with(header::CONNECTION, HeaderValue::from_static("close")))
        }
    }
}

async fn collect(mut body: Body) -> Result<Bytes, Problem> {
    let mut collected = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| {
            Problem::new(Kind::InvalidRequest, "the body broke off before its end; send the request again")
        })?;
        let Ok(chunk) = frame.into_data() else { continue };
        if chunk.len() > REQUEST_BYTES_MAX - collected.len() {
            return Err(too_large());
        }
        collected.extend_from_slice(&chunk);
    }
    Ok(collected.into())
}

/// The body's content. Runs on the caller's thread: up to some 10 ms for the largest body.
///
/// # Errors
/// 413 when it grows too much, 400 when it is not what `encoding` says.
pub fn decompress(encoding: Encoding, body: Bytes) -> Result<Bytes, Problem> {
    match encoding {
        Encoding::Identity => Ok(body),
        // Concatenated members are one body (RFC 1952, section 2.2).
        Encoding::Gzip => bounded(flate2::read::MultiGzDecoder::new(&body[..]), body.len(), "gzip"),
        Encoding::Zstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(&body[..]).and_then(|mut decoder| {
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Ok(decoder)
            });
            bounded(decoder.map_err(|_| corrupt("zstd"))?, body.len(), "zstd")
        }
    }
}

fn bounded(decoder: impl Read, compressed: usize, name: &str) -> Result<Bytes, Problem> {
    let by_ratio = compressed.saturating_mul(DECOMPRESSION_RATIO_MAX).max(RATIO_FREE_BYTES);
    let allowed = by_ratio.min(REQUEST_BYTES_MAX);
    let mut content = Vec::new();
    // One byte more than allowed tells "exactly at the limit" from "cut".
    decoder.take(allowed as u64 + 1).read_to_end(&mut content).map_err(|_| corrupt(name))?;
    if content.len() <= allowed {
        return Ok(content.into());
    }
    if allowed == REQUEST_BYTES_MAX {
        return Err(too_large());
    }
    let detail = format!(
        "the body grows more than {DECOMPRESSION_RATIO_MAX} times when decompressed; send it with less repetition \
         or without Content-Encoding"
    );
    Err(Problem::new(Kind::TooLarge, detail))
}

fn corrupt(name: &str) -> Problem {
    let detail = format!("the body is not valid {name}, as Content-Encoding says; nothing of it was counted");
    Problem::new(Kind::InvalidRequest, detail)
}

/// The connection is closed: reading the rest only to drop it would cost what the limit saves.
fn too_large() -> Problem {
    let detail = format!(
        "a body has at most {REQUEST_BYTES_MAX} bytes, compressed and decompressed; send the events in smaller batches"
    );
    Problem::new(Kind::TooLarge, detail).with(header::CONNECTION, HeaderValue::from_static("close"))
}
