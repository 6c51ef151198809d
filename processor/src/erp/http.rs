//! How is a journal entry booked in an ERP over HTTP? Looked up, posted when absent, and read back.
//!
//! ERPs differ; a small adapter in front of each offers this contract:
//! - `POST {url}` with a `tidemark.journal_entry.v1` as JSON and its id as `Idempotency-Key`. The adapter books an id at
//!   most once, also when two requests overlap or its idempotency keys have expired. 2xx: taken; 400, 413, 422: refused,
//!   and the body says why; 409: the id is known. Any other 4xx is about the address or the credentials, and holds it.
//! - `GET {url}/{id}`: 404, or 200 with [`Standing`]: id, state, legal entity, currency, accounting period and
//!   totals as they are in the ledger, and the ledger's own document number.
//!
//! `docs/deliveries.md` is the contract in full.
//!
//! Keeps: an entry is accepted only when read back `posted`, in our period, with our totals. Each of these was seen in
//! a real ERP: a 200 while an approval was still missing, a booking in another period than asked, a commit after the client had
//! hung up. Before anything is posted it is looked up, so neither a restart nor expired keys book twice; after a
//! post without an answer the id is only looked up until the server's own time limit has passed.
//! Entries of one legal entity go one after the other: ERPs number them under one lock.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;
use tidemark_schemas::outbox::OutboxRow;
use tidemark_schemas::summary::RecordId;

use super::booking::{Booking, minor};
use crate::clock::Clock;
use crate::deliver::exchange::{
    Endpoint, EndpointError, NoReply, REQUEST_BYTES_MAX, Reply, Timeouts, Verdict, excerpt, exchange, verdict,
};
use crate::deliver::lanes::send_in_lanes;
use crate::deliver::{Answer, Failure, Sink};

/// Entries of up to 150 KB: 5 MB in memory at most.
const ENTRIES_PER_BATCH: usize = 32;

/// Legal entities that are posted to at the same time; an ERP's own concurrency limits are about this low.
const IN_FLIGHT_MAX: usize = 4;

/// What we keep of a document number.
const REFERENCE_CHARS_MAX: usize = 200;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErpHttpConfig {
    pub url: String,
    #[serde(default)]
    pub bearer_token: Option<BearerToken>,
    /// Allows http to other machines.
    #[serde(default)]
    pub plain_http: bool,
    /// How long the adapter may go on with a request whose client has hung up.
    #[serde(default = "request_limit_default")]
    pub request_limit_ms: u64,
    #[serde(skip)]
    pub timeouts: Timeouts,
}

fn request_limit_default() -> u64 {
    60_000
}

/// Never shown.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct BearerToken(pub String);

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken(redacted)")
    }
}

/// What the ledger says about an id.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Standing {
    pub id: String,
    pub state: State,
    pub legal_entity: String,
    pub currency: String,
    /// The period it is booked in, `YYYY-MM`.
    pub accounting_period: String,
    /// Totals in minor units, as strings.
    pub debit_minor: String,
    pub credit_minor: String,
    /// The ledger's document number, once it has one. A JSON number is taken too: some ledgers count.
    #[serde(default, deserialize_with = "text_or_number")]
    pub number: Option<String>,
}

fn text_or_number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number {
        Text(String),
        Count(u64),
    }
    let number = Option::<Number>::deserialize(deserializer)?;
    Ok(number.map(|number| match number {
        Number::Text(text) => text,
        Number::Count(count) => count.to_string(),
    }))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Posted,
    /// A draft, or waiting for an approval in the ERP.
    Pending,
    /// Someone in the ERP said no.
    Rejected,
}

#[derive(Clone, Debug)]
pub struct ErpHttp {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    endpoint: Endpoint,
    bearer_token: Option<BearerToken>,
    request_limit: Duration,
    clock: Clock,
    /// Posts without an answer, and until when each may still take effect. At most one for each row of a few batches.
    unanswered: Mutex<HashMap<RecordId, Instant>>,
}

impl ErpHttp {
    /// # Errors
    /// [`EndpointError`]
    pub fn new(config: ErpHttpConfig, clock: Clock) -> Result<Self, EndpointError> {
        let endpoint = Endpoint::new("erp", &config.url, config.plain_http, config.timeouts)?;
        let request_limit = Duration::from_millis(config.request_limit_ms);
        let (bearer_token, unanswered) = (config.bearer_token, Mutex::default());
        Ok(Self { inner: Arc::new(Inner { endpoint, bearer_token, request_limit, clock, unanswered }) })
    }
}

impl Sink for ErpHttp {
    fn rows_per_batch(&self) -> usize {
        ENTRIES_PER_BATCH
    }

    fn key(&self, row: &OutboxRow) -> String {
        legal_entity(row)
    }

    async fn send(&self, rows: Arc<[OutboxRow]>) -> Vec<Answer> {
        let inner = Arc::clone(&self.inner);
        let send = move |row| {
            let inner = Arc::clone(&inner);
            async move { inner.book(&row).await }
        };
        send_in_lanes(rows, legal_entity, IN_FLIGHT_MAX, send).await
    }
}

/// The key within which order matters. A row that cannot be read stops the delivery when its turn comes.
fn legal_entity(row: &OutboxRow) -> String {
    Booking::of(row).map(|booking| booking.entry.legal_entity).unwrap_or_default()
}

impl Inner {
    async fn book(&self, row: &OutboxRow) -> Result<String, Failure> {
        let booking = Booking::of(row)?;
        if row.payload.len() > REQUEST_BYTES_MAX {
            let reason =
                format!("its {} bytes are more than the {REQUEST_BYTES_MAX} of a request", row.payload.len());
            return Err(Failure::Refused { to: self.to(), record: row.id.clone(), reason });
        }
        if let Some(standing) = self.look_up(row).await? {
            return self.settled(row, &booking, standing);
        }
        if let Some(left) = self.may_still_take_effect(&row.id) {
            let reason = format!("an earlier request may still take effect for {} s", left.as_secs() + 1);
            return Err(Failure::Uncertain { to: self.to(), record: row.id.clone(), reason });
        }
        self.post(row).await?;
        match self.look_up(row).await? {
            Some(standing) => self.settled(row, &booking, standing),
            None => {
                let found = "no such entry".into();
                Err(Failure::NotInEffect { to: self.to(), record: row.id.clone(), found })
            }
        }
    }

    /// `Ok` says that it is worth reading back, nothing more.
    async fn post(&self, row: &OutboxRow) -> Result<(), Failure> {
        let request = self
            .endpoint
            .client
            .post(self.endpoint.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("idempotency-key", &row.id.0)
            .body(row.payload.clone());
        let (to, record) = (self.to(), row.id.clone());
        let reply = self.exchanged(request).await.map_err(|none| {
            if none.may_have_arrived {
                self.remember_unanswered(&row.id);
            }
            self.without_reply(row, none)
        })?;
        let reason = excerpt(&reply);
        match verdict(reply.status) {
            Verdict::Accepted | Verdict::AlreadyThere => Ok(()),
            Verdict::Uncertain => {
                self.remember_unanswered(&row.id);
                Err(Failure::Uncertain { to, record, reason })
            }
            _ => Err(self.without_effect(row, &reply)),
        }
    }

    async fn look_up(&self, row: &OutboxRow) -> Result<Option<Standing>, Failure> {
        let mut url = self.endpoint.url.clone();
        let path = format!("{}/{}", url.path().trim_end_matches('/'), row.id);
        url.set_path(&path);
        // A look-up changes nothing, so it does not matter whether it arrived.
        let reply = self.exchanged(self.endpoint.client.get(url)).await.map_err(|none| {
            let (to, record, reason) = (self.to(), row.id.clone(), none.reason);
            if none.may_have_arrived {
                Failure::Unavailable { to, record, reason, retry_after: None }
            } else {
                Failure::Unreachable { to, record, reason }
            }
        })?;
        if reply.status == reqwest::StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if reply.status != reqwest::StatusCode::OK {
            // A look-up that is refused says nothing about the entry: it may be in effect, so it is never parked for this.
            let (to, record, reason) = (self.to(), row.id.clone(), excerpt(&reply));
            return Err(match self.without_effect(row, &reply) {
                Failure::Refused { .. } => Failure::NotAdmitted { to, record, reason },
                failure => failure,
            });
        }
        serde_json::from_slice(&reply.body).map(Some).map_err(|error| Failure::NotInEffect {
            to: self.to(),
            record: row.id.clone(),
            found: format!("an answer that we cannot read ({error})"),
        })
    }

    /// Compares before it believes: the state of somebody else's entry says nothing about ours.
    fn settled(&self, row: &OutboxRow, booking: &Booking, standing: Standing) -> Result<String, Failure> {
        let (to, record) = (self.to(), row.id.clone());
        if let Some(difference) = difference(booking, &standing) {
            return Err(Failure::Conflict { to, record, difference });
        }
        match standing.state {
            State::Posted => {
                self.unanswered().remove(&row.id);
                let number = standing.number.filter(|number| !number.is_empty()).unwrap_or(standing.id);
                Ok(number.chars().filter(|c| !c.is_control()).take(REFERENCE_CHARS_MAX).collect())
            }
            State::Pending => {
                let found = "pending: a draft, or waiting for an approval there".into();
                Err(Failure::NotInEffect { to, record, found })
            }
            State::Rejected => {
                Err(Failure::Refused { to, record, reason: "it was rejected in the ERP".into() })
            }
        }
    }

    async fn exchanged(&self, request: reqwest::RequestBuilder) -> Result<Reply, NoReply> {
        let request = match &self.bearer_token {
            Some(token) => request.bearer_auth(&token.0),
            None => request,
        };
        exchange(request, (self.clock)()).await
    }

    fn without_reply(&self, row: &OutboxRow, none: NoReply) -> Failure {
        let (to, record, reason) = (self.to(), row.id.clone(), none.reason);
        if none.may_have_arrived {
            Failure::Uncertain { to, record, reason }
        } else {
            Failure::Unreachable { to, record, reason }
        }
    }

    /// The failure that a status stands for when the request surely had no effect.
    fn without_effect(&self, row: &OutboxRow, reply: &Reply) -> Failure {
        let (to, record, reason) = (self.to(), row.id.clone(), excerpt(reply));
        match verdict(reply.status) {
            Verdict::NotAdmitted => Failure::NotAdmitted { to, record, reason },
            Verdict::Refused => Failure::Refused { to, record, reason },
            Verdict::Accepted | Verdict::AlreadyThere | Verdict::Later | Verdict::Uncertain => {
                Failure::Unavailable { to, record, reason, retry_after: reply.retry_after }
            }
        }
    }

    fn remember_unanswered(&self, record: &RecordId) {
        let now = Instant::now();
        let mut unanswered = self.unanswered();
        unanswered.retain(|_, until| *until > now);
        unanswered.insert(record.clone(), now + self.request_limit);
    }

    fn may_still_take_effect(&self, record: &RecordId) -> Option<Duration> {
        let until = *self.unanswered().get(record)?;
        until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    fn unanswered(&self) -> std::sync::MutexGuard<'_, HashMap<RecordId, Instant>> {
        self.unanswered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn to(&self) -> String {
        self.endpoint.shown.clone()
    }
}

/// The first thing in which the ledger differs from what we sent.
fn difference(booking: &Booking, standing: &Standing) -> Option<String> {
    let entry = &booking.entry;
    let texts = [
        ("id", &standing.id, &entry.id),
        ("legal entity", &standing.legal_entity, &entry.legal_entity),
        ("currency", &standing.currency, &entry.currency),
        ("accounting period", &standing.accounting_period, &entry.accounting_period),
    ];
    for (what, theirs, ours) in texts {
        if theirs != ours {
            return Some(format!("{what} {theirs:?} there, {ours:?} here"));
        }
    }
    let totals = [("debits", &standing.debit_minor), ("credits", &standing.credit_minor)];
    let differs = |(_, theirs): &(&str, &String)| minor(theirs) != Some(booking.total_minor);
    let (what, theirs) = totals.into_iter().find(differs)?;
    Some(format!("{what} {theirs:?} there, {} here", booking.total_minor))
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
