//! How are rated summaries pushed to billing? One signed POST for each, under its id as the idempotency key.
//!
//! What billing has to offer: an endpoint that takes one `tidemark.rated_summary.v1` as JSON, verifies
//! `webhook-signature` over `webhook-id` and `webhook-timestamp` (Standard Webhooks 1.0.0), answers 2xx when the
//! record is stored, and 2xx or 409 when `webhook-id` is known already. 400, 413 and 422 refuse the record; any other 4xx
//! and redirects hold it, because they are about the endpoint and not about the record. The contract is in `docs/deliveries.md`.
//! Keeps: the records of one subscriber arrive in order. Deliberately absent: batches, which can be half accepted.

use std::sync::Arc;

use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;
use tidemark_schemas::outbox::OutboxRow;

use super::signature::{SigningSecret, signatures};
use crate::clock::Clock;
use crate::deliver::exchange::{
    Endpoint, EndpointError, REQUEST_BYTES_MAX, Reply, Timeouts, Verdict, excerpt, exchange, verdict,
};
use crate::deliver::lanes::send_in_lanes;
use crate::deliver::{Answer, Failure, Sink};

/// Rows that are read, sent and answered before their receipts are committed together.
const ROWS_PER_BATCH: usize = 512;

/// Subscribers that are sent to at the same time: a round trip of 50 ms then allows 320 records a second.
const IN_FLIGHT_DEFAULT: usize = 16;

/// More connections than this would look like an attack to the other side.
const IN_FLIGHT_MAX: usize = 256;

/// What we keep of the id that the other side returns.
const REFERENCE_CHARS_MAX: usize = 200;

const MICROS_PER_SECOND: i64 = 1_000_000;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    pub url: String,
    /// At least one; two while one replaces the other.
    pub secrets: Vec<SigningSecret>,
    /// Allows http to other machines.
    #[serde(default)]
    pub plain_http: bool,
    /// Subscribers that are sent to at the same time.
    #[serde(default = "in_flight_default")]
    pub in_flight_max: usize,
    #[serde(skip)]
    pub timeouts: Timeouts,
}

fn in_flight_default() -> usize {
    IN_FLIGHT_DEFAULT
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookConfigError {
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error("billing webhook: no signing secret; give at least one as whsec_...")]
    NoSecret,
    #[error("billing webhook: in_flight_max is {given}; choose 1 to {IN_FLIGHT_MAX}")]
    InFlight { given: usize },
}

#[derive(Clone, Debug)]
pub struct BillingWebhook {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    endpoint: Endpoint,
    secrets: Vec<SigningSecret>,
    in_flight_max: usize,
    clock: Clock,
}

impl BillingWebhook {
    /// # Errors
    /// [`WebhookConfigError`]
    pub fn new(config: WebhookConfig, clock: Clock) -> Result<Self, WebhookConfigError> {
        if config.secrets.is_empty() {
            return Err(WebhookConfigError::NoSecret);
        }
        if !(1..=IN_FLIGHT_MAX).contains(&config.in_flight_max) {
            return Err(WebhookConfigError::InFlight { given: config.in_flight_max });
        }
        let endpoint = Endpoint::new("billing", &config.url, config.plain_http, config.timeouts)?;
        let WebhookConfig { secrets, in_flight_max, .. } = config;
        Ok(Self { inner: Arc::new(Inner { endpoint, secrets, in_flight_max, clock }) })
    }
}

impl Sink for BillingWebhook {
    fn rows_per_batch(&self) -> usize {
        ROWS_PER_BATCH
    }

    fn key(&self, row: &OutboxRow) -> String {
        subscriber(row)
    }

    async fn send(&self, rows: Arc<[OutboxRow]>) -> Vec<Answer> {
        let inner = Arc::clone(&self.inner);
        let send = move |row| {
            let inner = Arc::clone(&inner);
            async move { inner.send_one(row).await }
        };
        send_in_lanes(rows, subscriber, self.inner.in_flight_max, send).await
    }
}

/// The key within which order matters. A row without one is alone in its lane's order with others like it.
fn subscriber(row: &OutboxRow) -> String {
    #[derive(Deserialize)]
    struct Keyed {
        billing_subscriber: String,
    }
    serde_json::from_slice::<Keyed>(&row.payload).map(|keyed| keyed.billing_subscriber).unwrap_or_default()
}

impl Inner {
    async fn send_one(&self, row: OutboxRow) -> Result<String, Failure> {
        let (to, record) = (self.endpoint.shown.clone(), row.id);
        if row.payload.len() > REQUEST_BYTES_MAX {
            let reason =
                format!("its {} bytes are more than the {REQUEST_BYTES_MAX} of a request", row.payload.len());
            return Err(Failure::Refused { to, record, reason });
        }
        let now = (self.clock)();
        let timestamp = now.micros().div_euclid(MICROS_PER_SECOND);
        let request = self
            .endpoint
            .client
            .post(self.endpoint.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", &record.0)
            .header("idempotency-key", &record.0)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signatures(&self.secrets, &record.0, timestamp, &row.payload))
            .body(row.payload);
        let reply = match exchange(request, now).await {
            Ok(reply) => reply,
            Err(none) if none.may_have_arrived => {
                return Err(Failure::Uncertain { to, record, reason: none.reason });
            }
            Err(none) => {
                return Err(Failure::Unreachable { to, record, reason: none.reason });
            }
        };
        let reason = excerpt(&reply);
        match verdict(reply.status) {
            Verdict::Accepted | Verdict::AlreadyThere => Ok(reference(&reply)),
            // A 5xx may carry Retry-After too; resending is harmless either way.
            Verdict::Later | Verdict::Uncertain => {
                Err(Failure::Unavailable { to, record, reason, retry_after: reply.retry_after })
            }
            Verdict::NotAdmitted => Err(Failure::NotAdmitted { to, record, reason }),
            Verdict::Refused => Err(Failure::Refused { to, record, reason }),
        }
    }
}

/// The id that the other side gave it, or else the status.
fn reference(reply: &Reply) -> String {
    #[derive(Deserialize)]
    struct Named {
        id: String,
    }
    let named = serde_json::from_slice::<Named>(&reply.body).ok().map(|named| named.id);
    let printable =
        named.map(|id| id.chars().filter(|c| !c.is_control()).take(REFERENCE_CHARS_MAX).collect::<String>());
    printable.filter(|id| !id.is_empty()).unwrap_or_else(|| format!("HTTP {}", reply.status.as_u16()))
}

#[cfg(test)]
#[path = "webhook_tests.rs"]
mod tests;
