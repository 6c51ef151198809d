//! What does the product say? Its public HTTP interface, as a client sees it, in one place.
//!
//! Shapes are checked: an answer that does not add up (received = accepted + duplicate + conflict + rejected +
//! exceptions) is an error, because everything that is reported rests on it.
//!
//! Deliberately absent: retries. Whoever sends decides when to send again.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use serde::Deserialize;

/// A longer wish is cut: a generator that sleeps for minutes offers no load.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(10);

/// Lines of usage asked for at once, as many as the product gives.
const USAGE_PAGE_ROWS: usize = 10_000;

/// Enough of an error's body to see what it is about.
const BODY_SHOWN_BYTES: usize = 400;

#[derive(Debug, thiserror::Error)]
pub enum ProductError {
    #[error("{url} cannot be used: {reason}")]
    Client { url: String, reason: String },
    #[error("{request} was refused with {status}: {body}; check the key, the address and the catalog")]
    Refused { request: String, status: StatusCode, body: String },
    #[error("{request} was answered with something else than documented: {reason}; answer: {body}")]
    Malformed { request: String, reason: String, body: String },
    #[error("{request} was not answered: {reason}; is the server running?")]
    Unreachable { request: String, reason: String },
}

/// The answer to one batch that was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Answer {
    pub received: u64,
    pub accepted: u64,
    pub duplicate: u64,
    pub conflict: u64,
    pub rejected: u64,
    pub exceptions: u64,
    /// The events that were not accepted, in order.
    #[serde(default)]
    pub events: Vec<EventAnswer>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct EventAnswer {
    /// Place in the batch, from 0.
    pub index: u64,
    pub status: EventStatus,
    #[serde(default)]
    pub code: Option<String>,
    #[serde(default)]
    pub path: Option<String>,
    #[serde(default)]
    pub reason: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventStatus {
    Accepted,
    Duplicate,
    Conflict,
    Rejected,
    Exception,
}

impl EventStatus {
    /// Whether the product has promised to count the event once.
    #[must_use]
    pub fn is_acknowledged(self) -> bool {
        matches!(self, Self::Accepted | Self::Duplicate)
    }
}

impl Answer {
    /// The events that will not be counted, unless somebody intervenes.
    pub fn refused(&self) -> impl Iterator<Item = &EventAnswer> {
        self.events.iter().filter(|event| !event.status.is_acknowledged())
    }

    fn fault(&self, events: u64) -> Option<String> {
        let refused = self.conflict + self.rejected + self.exceptions;
        let listed = self.refused().count() as u64;
        if self.received != events {
            Some(format!("{events} events were sent and {} received", self.received))
        } else if self.accepted + self.duplicate + refused != events {
            Some(format!("the counts do not add up to the {events} received"))
        } else if listed != refused {
            Some(format!("{refused} events were not accepted and {listed} are listed"))
        } else {
            self.events
                .iter()
                .find(|event| event.index >= events)
                .map(|event| format!("event {} is not in the batch", event.index))
        }
    }
}

/// What came of sending one batch once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Answered(Answer),
    /// 429: not taken. Send again after this long.
    Shed {
        retry_after: Duration,
    },
    /// A server error: it may have been taken.
    Unavailable {
        status: u16,
    },
    /// No answer: it may have been taken.
    Unanswered {
        reason: String,
    },
}

/// What one customer has used, in all billing periods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageRow {
    pub customer: String,
    pub quantity: i128,
    pub events: u64,
}

#[derive(Clone, Debug)]
pub struct Product {
    client: reqwest::Client,
    url: String,
    key: Option<String>,
}

impl Product {
    /// A client of the product at `url`, such as `http://127.0.0.1:8080`, that keeps up to `connections` alive.
    ///
    /// # Errors
    /// [`ProductError::Client`] when the address cannot be used.
    pub fn new(
        url: &str,
        key: Option<String>,
        connections: usize,
        timeout: Duration,
    ) -> Result<Self, ProductError> {
        let failed = |reason: String| ProductError::Client { url: url.into(), reason };
        let parsed = reqwest::Url::parse(url).map_err(|error| failed(error.to_string()))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(failed("the address begins with neither http:// nor https://".into()));
        }
        // Installing fails only when a provider is installed already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .pool_max_idle_per_host(connections)
            .timeout(timeout)
            .redirect(reqwest::redirect::Policy::none())
            // A proxy in between would be what is measured.
            .no_proxy()
            .tcp_nodelay(true)
            .build()
            .map_err(|error| failed(described(&error)))?;
        Ok(Self { client, url: url.trim_end_matches('/').into(), key })
    }

    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// `POST /v1/events` with a JSON array of `events` CloudEvents.
    ///
    /// # Errors
    /// [`ProductError::Refused`] and [`ProductError::Malformed`]: sending again would not help.
    pub async fn send(&self, body: Bytes, events: u64) -> Result<Reply, ProductError> {
        let request = format!("POST {}/v1/events", self.url);
        let sent = self
            .authorized(self.client.post(format!("{}/v1/events", self.url)))
            .header(CONTENT_TYPE, "application/cloudevents-batch+json")
            .body(body)
            .send()
            .await;
        let response = match sent {
            Ok(response) => response,
            Err(error) => return Ok(Reply::Unanswered { reason: described(&error) }),
        };
        let status = response.status();
        if status == StatusCode::TOO_MANY_REQUESTS {
            return Ok(Reply::Shed { retry_after: retry_after(&response) });
        }
        if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT {
            return Ok(Reply::Unavailable { status: status.as_u16() });
        }
        let body = match response.bytes().await {
            Ok(body) => body,
            Err(error) => return Ok(Reply::Unanswered { reason: described(&error) }),
        };
        if !matches!(status, StatusCode::OK | StatusCode::MULTI_STATUS) {
            return Err(ProductError::Refused { request, status, body: shown(&body) });
        }
        let malformed =
            |reason: String| ProductError::Malformed { request: request.clone(), reason, body: shown(&body) };
        let answer: Answer = serde_json::from_slice(&body).map_err(|error| malformed(error.to_string()))?;
        match answer.fault(events) {
            Some(fault) => Err(malformed(fault)),
            None => Ok(Reply::Answered(answer)),
        }
    }

    /// `GET /ready` answers 200.
    pub async fn is_ready(&self) -> bool {
        let answer = self.client.get(format!("{}/ready", self.url)).send().await;
        answer.is_ok_and(|response| response.status() == StatusCode::OK)
    }

    /// `GET /v1/usage?meter=METER`, page by page: what the product has counted so far, open windows included.
    ///
    /// # Errors
    /// [`ProductError`]
    pub async fn usage(&self, meter: &str) -> Result<Vec<UsageRow>, ProductError> {
        let (mut customers, mut after) = (BTreeMap::new(), String::new());
        loop {
            let page = self.usage_page(meter, &after).await?;
            for (customer, (quantity, events)) in page.customers {
                let row: &mut (i128, u64) = customers.entry(customer).or_default();
                *row = (row.0 + quantity, row.1 + events);
            }
            match page.next {
                Some(next) => after = format!("&after={next}"),
                None => break,
            }
        }
        let row = |(customer, (quantity, events))| UsageRow { customer, quantity, events };
        Ok(customers.into_iter().map(row).collect())
    }

    async fn usage_page(&self, meter: &str, after: &str) -> Result<UsagePage, ProductError> {
        let address = format!("{}/v1/usage?meter={meter}&limit={USAGE_PAGE_ROWS}{after}", self.url);
        let request = format!("GET {address}");
        let unreachable = |error: reqwest::Error| ProductError::Unreachable {
            request: request.clone(),
            reason: described(&error),
        };
        let response = self.authorized(self.client.get(&address)).send().await.map_err(unreachable)?;
        let status = response.status();
        let body = response.bytes().await.map_err(unreachable)?;
        if status != StatusCode::OK {
            return Err(ProductError::Refused { request, status, body: shown(&body) });
        }
        usage_page(&body, meter).map_err(|reason| ProductError::Malformed {
            request,
            reason,
            body: shown(&body),
        })
    }

    fn authorized(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match &self.key {
            Some(key) => request.header(AUTHORIZATION, format!("Bearer {key}")),
            None => request,
        }
    }
}

/// One page of `GET /v1/usage`, by customer: quantity and events of all its billing periods on this page.
#[derive(Debug, PartialEq, Eq)]
struct UsagePage {
    customers: BTreeMap<String, (i128, u64)>,
    next: Option<String>,
}

/// The one place that knows the shape of `GET /v1/usage`.
fn usage_page(body: &[u8], meter: &str) -> Result<UsagePage, String> {
    #[derive(Deserialize)]
    struct Page {
        items: Vec<Row>,
        next: Option<String>,
    }
    #[derive(Deserialize)]
    struct Row {
        customer: String,
        meter: String,
        quantity: serde_json::Value,
        events: u64,
    }
    let page: Page = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let mut customers: BTreeMap<String, (i128, u64)> = BTreeMap::new();
    for row in page.items {
        if row.meter != meter {
            return Err(format!("a line is of meter `{}`, asked was `{meter}`", row.meter));
        }
        // A string, as documented, or a JSON integer; never through a float.
        let text = match &row.quantity {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let not_whole = |_| format!("the quantity {text} of {} is not an integer", row.customer);
        let quantity: i128 = text.parse().map_err(not_whole)?;
        let total = customers.entry(row.customer).or_default();
        *total = (total.0 + quantity, total.1 + row.events);
    }
    Ok(UsagePage { customers, next: page.next })
}

fn retry_after(response: &reqwest::Response) -> Duration {
    let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    Duration::from_secs(seconds.unwrap_or(1)).min(RETRY_AFTER_MAX)
}

/// An error with its causes: reqwest's own text says only "error sending request".
fn described(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

fn shown(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(BODY_SHOWN_BYTES)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_does_not_add_up_is_a_fault() {
        let answer = |text: &str| serde_json::from_str::<Answer>(text).expect("the documented shape");
        let good = answer(
            r#"{"received":3,"accepted":1,"duplicate":1,"conflict":0,"rejected":1,"exceptions":0,
                "events":[{"index":1,"id":"a","status":"duplicate"},
                          {"index":2,"id":null,"status":"rejected","code":"missing_attribute","path":"$.id","reason":"no id"}]}"#,
        );
        assert_eq!(good.fault(3), None);
        assert_eq!(good.refused().map(|event| event.index).collect::<Vec<_>>(), [2]);
        assert!(good.fault(4).is_some_and(|fault| fault.contains("4 events were sent")));
        let short = Answer { accepted: 0, ..good.clone() };
        assert!(short.fault(3).is_some_and(|fault| fault.contains("do not add up")));
        let unlisted = Answer { events: Vec::new(), ..good.clone() };
        assert!(unlisted.fault(3).is_some_and(|fault| fault.contains("0 are listed")));
        let mut outside = good;
        outside.events[1].index = 3;
        assert!(outside.fault(3).is_some_and(|fault| fault.contains("event 3")));
    }

    #[test]
    fn usage_is_read_exactly_or_not_at_all() {
        let row = |quantity: &str| {
            format!(r#"{{"customer":"a","meter":"tokens","quantity":{quantity},"events":2}}"#)
        };
        let page = |rows: &[String]| format!(r#"{{"items":[{}],"next":"n"}}"#, rows.join(","));
        let read = |quantity: &str| usage_page(page(&[row(quantity)]).as_bytes(), "tokens");
        let expected = |quantity, events| {
            let customers = BTreeMap::from([("a".to_owned(), (quantity, events))]);
            Ok(UsagePage { customers, next: Some("n".into()) })
        };
        assert_eq!(read("\"36893488147419103232\""), expected(1 << 65, 2));
        assert_eq!(read("7"), expected(7, 2));
        for wrong in ["7.5", "\"7.0\"", "1e3", "null", "\"\""] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        let periods = page(&[row("7"), row("8")]);
        assert_eq!(usage_page(periods.as_bytes(), "tokens"), expected(15, 4), "two billing periods");
        assert!(usage_page(periods.as_bytes(), "calls").is_err(), "another meter's line");
    }
}
