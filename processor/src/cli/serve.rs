//! `tidemark serve`: takes events over HTTP until it is told to stop, and then stops with nothing acknowledged lost.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tidemark_schemas::time::EventTime;
use tokio::sync::watch;

use super::{Place, destinations};
use crate::clock;
use crate::config::Config;
use crate::http::auth::Keys;
use crate::http::{operation, serve};
use crate::observe::{logging, registry};
use crate::partition::{Heads, Input};
use crate::service::{Engine, MeteringService};

/// How often the catalog folder is looked at.
const CATALOG_EVERY: Duration = Duration::from_secs(2);

/// How often archived blocks are looked at.
const ARCHIVE_EVERY: Duration = Duration::from_secs(30);

/// How often an idle partition is told the time.
const TICK_EVERY: Duration = Duration::from_secs(10);

/// Without events for this long, the watermark follows our clock instead.
const IDLE_AFTER_MICROS: i64 = 60 * 1_000_000;

#[derive(Args)]
pub struct ServeArgs {
    #[command(flatten)]
    place: Place,
    /// Address and port to listen on
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
}

/// # Errors
/// When something is set up wrongly, or the partition stops.
pub fn run(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let mut config = args.place.config()?;
    if let Some(listen) = args.listen {
        config.http.listen = listen;
        config.check_exposure()?;
    }
    logging::start(config.log)?;
    let prometheus = registry::install(&operation::route_codes())?;
    let listening = serve::bind(&config.http)?;
    let engine = Arc::new(Engine::start(&config, args.place.accept_loss)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(serve_until_stopped(&config, &engine, listening, prometheus));
    runtime.shutdown_timeout(config.http.shutdown_grace);
    let engine = Arc::into_inner(engine).context("the service still holds the processor; this is a fault of ours")?;
    let stopped = engine.handle.snapshot().stopped.clone();
    engine.stop();
    outcome?;
    match stopped {
        Some(why) => anyhow::bail!("the partition stopped: {why}"),
        None => Ok(ExitCode::SUCCESS),
    }
}

async fn serve_until_stopped(
    config: &Config,
    engine: &Arc<Engine>,
    listening: serve::Listening,
    prometheus: metrics_exporter_prometheus::PrometheusHandle,
) -> anyhow::Result<()> {
    let (stop, stopping) = watch::channel(false);
    let deliveries = destinations::start_all(engine, config, &stopping)?;
    let background = [
        tokio::spawn(follow_catalog(Arc::clone(engine), stopping.clone())),
        tokio::spawn(archive(Arc::clone(engine), stopping.clone())),
        tokio::spawn(tick(Arc::clone(engine), stopping.clone())),
    ];
    let service = Arc::new(MeteringService::new(Arc::clone(engine), prometheus));
    let address = listening.address();
    tracing::info!(%address, catalog = %engine.intake.preparer().terms.catalog.version, "ready for events");
    let heads = engine.handle.heads();
    let told = async move {
        tokio::select! {
            () = signal() => tracing::info!("told to stop"),
            () = partition_stopped(heads) => tracing::error!("the partition has stopped; nothing more is acknowledged"),
        }
    };
    let served = listening.serve(service, Keys::new(config.api_keys.clone()), told).await;
    stop.send_replace(true);
    for task in background {
        task.await?;
    }
    for delivery in deliveries {
        // Its error was logged when it ended; the rows wait in the outbox.
        let _ = delivery.await?;
    }
    Ok(served?)
}

async fn signal() {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .expect("the operating system delivers SIGTERM");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

async fn partition_stopped(mut heads: watch::Receiver<Heads>) {
    let _ = heads.wait_for(|heads| heads.stopped).await;
}

/// Runs `work` every `every`, until told to stop.
async fn regularly(every: Duration, mut stopping: watch::Receiver<bool>, work: impl AsyncFn()) {
    let mut interval = tokio::time::interval(every);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = interval.tick() => work().await,
            _ = stopping.wait_for(|stop| *stop) => return,
        }
    }
}

/// Takes over the catalog when its folder changes; mistakes are logged, and the catalog in force stays.
async fn follow_catalog(engine: Arc<Engine>, stopping: watch::Receiver<bool>) {
    let last_fault = std::sync::Mutex::new(String::new());
    regularly(CATALOG_EVERY, stopping, async || {
        let engine = Arc::clone(&engine);
        let reloaded = tokio::task::spawn_blocking(move || engine.reload_catalog().map_err(|error| error.to_string()));
        let fault = match reloaded.await {
            Ok(Ok(_)) => String::new(),
            Ok(Err(fault)) => fault,
            Err(error) => error.to_string(),
        };
        let mut last = last_fault.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !fault.is_empty() && *last != fault {
            tracing::error!("the changed catalog is not taken over:\n{fault}");
        }
        *last = fault;
    })
    .await;
}

async fn archive(engine: Arc<Engine>, stopping: watch::Receiver<bool>) {
    regularly(ARCHIVE_EVERY, stopping, async || {
        let engine = Arc::clone(&engine);
        match tokio::task::spawn_blocking(move || engine.archive(false)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::error!(%error, "archiving failed; it is tried again"),
            Err(error) => tracing::error!(%error, "archiving failed; it is tried again"),
        }
    })
    .await;
}

/// An idle partition's watermark follows our clock, so that windows close without new events. The tick is committed like
/// any input, so a replay of the state sees the same.
async fn tick(engine: Arc<Engine>, stopping: watch::Receiver<bool>) {
    let last_received = std::sync::Mutex::new((0, clock::now()));
    regularly(TICK_EVERY, stopping, async || {
        let (snapshot, now) = (engine.handle.snapshot(), clock::now());
        let received = snapshot.progress.counts.received;
        let idle_since = {
            let mut last = last_received.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if last.0 != received {
                *last = (received, now);
            }
            last.1
        };
        let is_idle = now.micros() - idle_since.micros() >= IDLE_AFTER_MICROS;
        let disorder = engine.intake.preparer().terms.timing().disorder_micros;
        let until = EventTime::from_micros(now.micros() - IDLE_AFTER_MICROS - disorder);
        let nothing_waits = snapshot.windows_open == 0 || snapshot.watermark.is_none_or(|watermark| watermark >= until);
        if is_idle && !nothing_waits {
            let engine = Arc::clone(&engine);
            let told = tokio::task::spawn_blocking(move || engine.handle.ask(|reply| Input::Declare(until, reply)));
            if let Ok(Some(Err(error))) = told.await {
                tracing::error!(%error, "the idle tick failed");
            }
        }
    })
    .await;
}
