//! Where rated lines and journal entries go, by configuration: once for commands that end, or for as long as we serve.

use std::sync::Arc;

use tidemark_schemas::outbox::Destination;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::billing::signature::SigningSecret;
use crate::billing::{BillingFiles, BillingWebhook, WebhookConfig};
use crate::clock;
use crate::config::{self, Billing, Config, Erp};
use crate::deliver::exchange::Timeouts;
use crate::deliver::{Delivery, DeliveryConfig, DeliveryError, Drained, Sink, drain};
use crate::erp::http::BearerToken;
use crate::erp::{ErpHttp, ErpHttpConfig, JournalFiles};
use crate::service::{Engine, OutboxRows};

/// Milliseconds that an ERP adapter may go on with a request whose client has hung up.
const ERP_REQUEST_LIMIT_MS: u64 = 60_000;

/// Requests in flight at the billing platform.
const BILLING_IN_FLIGHT: usize = 8;

/// Delivers everything that waits, and says what became of it: billing, then the ERP.
///
/// # Errors
/// When a destination is set up wrongly, or the partition has stopped.
pub fn drain_all(engine: &Engine, config: &Config) -> anyhow::Result<(Drained, Drained)> {
    let billing = match &config.billing {
        Billing::File { directory } => {
            drained(engine, config, Destination::Billing, BillingFiles::open(directory)?)?
        }
        Billing::Webhook { .. } => drained(engine, config, Destination::Billing, webhook(config)?)?,
        Billing::Pull => Drained::default(),
    };
    let erp = match &config.erp {
        Erp::File { directory } => drained(engine, config, Destination::Erp, JournalFiles::open(directory)?)?,
        Erp::Http { .. } => drained(engine, config, Destination::Erp, erp_http(config)?)?,
    };
    Ok((billing, erp))
}

fn drained<S: Sink>(
    engine: &Engine,
    config: &Config,
    destination: Destination,
    sink: S,
) -> Result<Drained, DeliveryError> {
    drain(delivery(engine.outbox(), config, destination, sink))
}

fn delivery<S: Sink>(
    outbox: OutboxRows,
    config: &Config,
    destination: Destination,
    sink: S,
) -> Delivery<OutboxRows, OutboxRows, S> {
    let config::Delivery { first_wait, longest_wait, retry_after_max, failures_to_open, open, .. } =
        config.delivery;
    let config = DeliveryConfig { first_wait, longest_wait, retry_after_max, failures_to_open, open };
    Delivery::new(destination, outbox.clone(), outbox, sink, clock::now, config)
}

/// Starts one task per destination; they end when `stop` turns true.
///
/// # Errors
/// When a destination is set up wrongly.
pub fn start_all(
    engine: &Engine,
    config: &Config,
    stop: &watch::Receiver<bool>,
) -> anyhow::Result<Vec<JoinHandle<Result<(), DeliveryError>>>> {
    let billing = match &config.billing {
        Billing::File { directory } => {
            Some(start(engine, config, Destination::Billing, BillingFiles::open(directory)?, stop))
        }
        Billing::Webhook { .. } => Some(start(engine, config, Destination::Billing, webhook(config)?, stop)),
        Billing::Pull => None,
    };
    let erp = match &config.erp {
        Erp::File { directory } => {
            start(engine, config, Destination::Erp, JournalFiles::open(directory)?, stop)
        }
        Erp::Http { .. } => start(engine, config, Destination::Erp, erp_http(config)?, stop),
    };
    Ok(billing.into_iter().chain([erp]).collect())
}

fn start<S: Sink + 'static>(
    engine: &Engine,
    config: &Config,
    destination: Destination,
    sink: S,
    stop: &watch::Receiver<bool>,
) -> JoinHandle<Result<(), DeliveryError>> {
    let committed = Arc::new(Notify::new());
    let (announced, mut heads) = (Arc::clone(&committed), engine.handle.heads());
    tokio::spawn(async move {
        while heads.changed().await.is_ok() {
            announced.notify_one();
        }
    });
    let (delivery, stop) = (delivery(engine.outbox(), config, destination, sink), stop.clone());
    let grace = config.http.shutdown_grace;
    tokio::spawn(async move {
        let ended = delivery.run(committed, stop, grace).await;
        if let Err(error) = &ended {
            tracing::error!(%destination, %error, "delivery ended");
        }
        ended
    })
}

fn timeouts(config: &Config) -> Timeouts {
    Timeouts { connect: config.delivery.connect_timeout, answer: config.delivery.answer_timeout }
}

fn webhook(config: &Config) -> anyhow::Result<BillingWebhook> {
    let Billing::Webhook { url, secret, plain_http } = &config.billing else {
        anyhow::bail!("billing is not a webhook")
    };
    let timeouts = timeouts(config);
    let secrets = vec![SigningSecret::parse(secret.expose())?];
    let config = WebhookConfig {
        url: url.clone(),
        secrets,
        plain_http: *plain_http,
        in_flight_max: BILLING_IN_FLIGHT,
        timeouts,
    };
    Ok(BillingWebhook::new(config, clock::now)?)
}

fn erp_http(config: &Config) -> anyhow::Result<ErpHttp> {
    let Erp::Http { url, token, plain_http } = &config.erp else {
        anyhow::bail!("the ERP is not reached over HTTP")
    };
    let timeouts = timeouts(config);
    let config = ErpHttpConfig {
        url: url.clone(),
        bearer_token: token.as_ref().map(|token| BearerToken(token.expose().to_owned())),
        plain_http: *plain_http,
        request_limit_ms: ERP_REQUEST_LIMIT_MS,
        timeouts,
    };
    Ok(ErpHttp::new(config, clock::now)?)
}
