//! `tidemark serve`: takes events over HTTP until it is told to stop, and then stops with nothing acknowledged lost.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::signal::unix::SignalKind;
use tokio::sync::watch;

use super::chores::Chores;
use super::{Place, destinations};
use crate::config::{Config, resolved};
use crate::http::auth::Keys;
use crate::http::{operation, serve};
use crate::observe::{logging, registry};
use crate::partition::Heads;
use crate::service::{Engine, MeteringService};

/// Tasks that wait are dropped within milliseconds, also when the shutdown grace is used up.
const LAST_MOMENT: Duration = Duration::from_secs(1);

#[derive(Args)]
pub struct ServeArgs {
    #[command(flatten)]
    place: Place,
    /// Address, or name, and port to listen on
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = resolved)]
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
    let told = outcome.as_ref().map_or_else(|_| Instant::now(), |told| *told);
    let left = config.http.shutdown_grace.saturating_sub(told.elapsed());
    runtime.shutdown_timeout(left.max(LAST_MOMENT));
    let stopped = engine.handle.snapshot().stopped.clone();
    // A long question may outlive the grace; what was acknowledged is durable all the same.
    match Arc::into_inner(engine) {
        Some(engine) => engine.stop(),
        None => tracing::warn!("stopping although a question is still being answered"),
    }
    outcome?;
    match stopped {
        Some(why) => anyhow::bail!("the partition stopped: {why}"),
        None => {
            tracing::info!("stopped");
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Answers when it was told to stop; the shutdown grace counts from then on, for requests of both directions.
async fn serve_until_stopped(
    config: &Config,
    engine: &Arc<Engine>,
    listening: serve::Listening,
    prometheus: metrics_exporter_prometheus::PrometheusHandle,
) -> anyhow::Result<Instant> {
    let signal = signal();
    let (stop, stopping) = watch::channel(false);
    let deliveries = destinations::start_all(engine, config, &stopping)?;
    let chores = Chores::start(engine, prometheus.clone());
    let service = Arc::new(MeteringService::new(Arc::clone(engine), prometheus));
    let address = listening.address();
    tracing::info!(%address, catalog = %engine.intake.preparer().terms.catalog.version, "ready for events");
    let (heads, stop_deliveries) = (engine.handle.heads(), stop.clone());
    let told = async move {
        tokio::select! {
            () = signal => tracing::info!("told to stop"),
            () = partition_stopped(heads) => tracing::error!("the partition has stopped; nothing more is acknowledged"),
        }
        stop_deliveries.send_replace(true);
    };
    let mut told_at = stopping.clone();
    let told_at = tokio::spawn(async move {
        // A sender that is gone has ended too.
        let _ = told_at.wait_for(|stop| *stop).await;
        Instant::now()
    });
    let served = listening.serve(service, Keys::new(config.api_keys.clone()), told).await;
    stop.send_replace(true);
    tokio::task::spawn_blocking(|| chores.stop()).await?;
    for delivery in deliveries {
        // Its error was logged when it ended; the rows wait in the outbox.
        let _ = delivery.await?;
    }
    served?;
    Ok(told_at.await?)
}

/// Listens from the call on, so that a signal that comes right after the start is not the system's to handle.
fn signal() -> impl Future<Output = ()> {
    let listen = |kind| tokio::signal::unix::signal(kind).expect("the operating system delivers signals");
    let mut terminate = listen(SignalKind::terminate());
    let mut interrupt = listen(SignalKind::interrupt());
    // Habit says that it reloads; left alone it would end the process like a kill.
    let mut hang_up = listen(SignalKind::hangup());
    async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => return,
                _ = interrupt.recv() => return,
                _ = hang_up.recv() => {
                    tracing::info!("SIGHUP changes nothing: the catalog is followed by itself, all else takes a restart");
                }
            }
        }
    }
}

async fn partition_stopped(mut heads: watch::Receiver<Heads>) {
    let _ = heads.wait_for(|heads| heads.stopped).await;
}
