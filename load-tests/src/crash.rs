//! Does kill -9 at any instant lose or double an event? The crash scenario.
//!
//! While producers send, the server is killed again and again: mostly some time after it was ready, and one time
//! in eight while it is still starting, because recovery must survive a crash too. Producers retry until they are
//! answered. At the end the server is killed once more, so that the totals come from disk, and those are held
//! against the ledger.
//!
//! Event time runs ahead of the load (`--event-speed`), so that windows close and adjustments are made while the
//! server is being killed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::time::{Instant, sleep};

use crate::catalog;
use crate::compare::compare;
use crate::http::{Load, LoadError, Outcome, lock};
use crate::ledger::{self, Ledger, LedgerError, Total};
use crate::product::{Product, ProductError};
use crate::report::{Crash, Percentiles, Report};
use crate::rng::Draws;
use crate::server::{Server, ServerError, ServerPlan, free_loopback_port};
use crate::traffic::{EventClock, Traffic};
use crate::units::{Rate, Share};

/// Recovery is promised in seconds; a minute without an answer is a hang.
const READY_PATIENCE: Duration = Duration::from_secs(60);

/// A kill while starting comes within this time: recovery of a small store is over after it.
const STARTING_MS: u64 = 100;

#[derive(Clone, Debug)]
pub struct CrashPlan {
    pub binary: PathBuf,
    /// More arguments for `tidemark serve`.
    pub arguments: Vec<String>,
    /// Holds `data/`, `catalog/`, `ledger` and `server.log`; must not hold a `data` folder yet.
    pub folder: PathBuf,
    pub run_id: String,
    pub seed: u64,
    pub events_per_second: u64,
    pub batch_events: u64,
    pub connections: usize,
    pub customers: u32,
    pub resends: Share,
    pub duration: Duration,
    /// Mean time from ready to the next kill.
    pub every: Duration,
    pub drain: Duration,
    pub timeout: Duration,
    pub event_start_ms: i64,
    pub event_speed: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum CrashError {
    #[error("{path} exists; a crash run starts from an empty store: give a new --dir or remove it")]
    NotEmpty { path: PathBuf },
    #[error("the folder {path} cannot be prepared: {source}")]
    Folder { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Product(#[from] ProductError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Runs the scenario; a report without findings means that every promise was kept.
///
/// # Errors
/// [`CrashError`] when the scenario could not be carried out; a broken promise is a finding, not an error.
pub async fn run(plan: &CrashPlan) -> Result<Report, CrashError> {
    let server_plan = prepare(plan)?;
    let product =
        Product::new(&format!("http://{}", server_plan.listen), None, plan.connections, plan.timeout)?;
    let time = EventClock {
        start_ms: plan.event_start_ms,
        slots_per_second: plan.events_per_second,
        speed: plan.event_speed,
    };
    let load = Load {
        product: product.clone(),
        traffic: Arc::new(Traffic::new(plan.seed, &plan.run_id, plan.customers, plan.resends, time)),
        rate: Rate::EventsPerSecond(plan.events_per_second),
        batch_events: plan.batch_events,
        connections: plan.connections,
        duration: plan.duration,
        drain: plan.drain,
    };
    let ledger_path = plan.folder.join("ledger");
    let ledger = Arc::new(Mutex::new(Ledger::create(plan.customers, &ledger_path)?));

    let mut lives = Lives::begin(plan, server_plan, product.clone()).await?;
    let sending = async { load.run(&ledger).await.map_err(CrashError::from) };
    let (outcome, ()) = tokio::try_join!(sending, lives.kill_for(plan.duration))?;
    lives.restart().await?;
    let counted = product.usage(catalog::LOAD_METERS[0].id).await?;
    let (kills, restart_ms) = lives.end()?;

    // From the file, so that what is compared is what an auditor can count again.
    let acknowledged = ledger::recount(&ledger_path)?;
    let unknown = unknown_totals(&load, &outcome, &lock(&ledger), plan.customers);
    let differences = compare(&acknowledged, &unknown, &counted);
    let total = Total::of_all(&acknowledged);
    let mut report = Report::new("crash", &plan.run_id, plan.seed, &load, &outcome, total);
    let crash = Crash {
        kills: kills.all,
        kills_while_starting: kills.while_starting,
        restart_ms: Percentiles::of(&restart_ms),
        counted: counted.iter().map(|row| row.events).sum(),
        counted_quantity: counted.iter().map(|row| row.quantity).sum::<i128>().to_string(),
        differences: differences.len() as u64,
    };
    report.compared(crash, &differences);
    report.find_unfinished();
    Ok(report)
}

fn prepare(plan: &CrashPlan) -> Result<ServerPlan, CrashError> {
    let data = plan.folder.join("data");
    if data.exists() {
        return Err(CrashError::NotEmpty { path: data });
    }
    let catalog = plan.folder.join("catalog");
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        |source| CrashError::Folder { path, source }
    };
    std::fs::create_dir_all(&data).map_err(failed(&data))?;
    catalog::write(&catalog, &catalog::LOAD_METERS, plan.customers).map_err(failed(&catalog))?;
    Ok(ServerPlan {
        binary: plan.binary.clone(),
        listen: free_loopback_port().map_err(failed(&plan.folder))?,
        log: plan.folder.join("server.log"),
        arguments: plan.arguments.clone(),
        data,
        catalog,
    })
}

/// Per customer, the events that were sent and that no answer ever acknowledged.
fn unknown_totals(load: &Load, outcome: &Outcome, ledger: &Ledger, customers: u32) -> Vec<Total> {
    let slots = outcome.unknown.iter().flat_map(|batch| load.slots(*batch));
    let origins: std::collections::BTreeSet<u64> = slots.map(|slot| load.traffic.origin(slot)).collect();
    let mut totals = vec![Total::default(); customers as usize];
    for origin in origins.into_iter().filter(|origin| !ledger.has(*origin)) {
        let event = load.traffic.event(origin);
        totals[event.customer as usize].add(event.tokens);
    }
    totals
}

#[derive(Clone, Copy, Debug, Default)]
struct Kills {
    all: u64,
    while_starting: u64,
}

/// The server's lives, one after the other.
struct Lives {
    plan: ServerPlan,
    product: Product,
    every: Duration,
    draws: Draws,
    /// `None` only while one life is being replaced by the next.
    server: Option<Server>,
    kills: Kills,
    restart_ms: Histogram<u64>,
}

impl Lives {
    async fn begin(plan: &CrashPlan, server: ServerPlan, product: Product) -> Result<Self, CrashError> {
        let mut lives = Self {
            server: Some(server.start()?),
            plan: server,
            product,
            every: plan.every,
            draws: Draws::at(plan.seed, u64::MAX),
            kills: Kills::default(),
            restart_ms: Histogram::new(3).expect("three digits are allowed"),
        };
        lives.wait_until_ready().await?;
        Ok(lives)
    }

    /// Kills and restarts for `duration`, and leaves a server that is ready.
    async fn kill_for(&mut self, duration: Duration) -> Result<(), CrashError> {
        let end = Instant::now() + duration;
        let every_ms = u64::try_from(self.every.as_millis()).unwrap_or(u64::MAX).max(2);
        loop {
            // Between half and one and a half times the mean, so that kills do not fall into step with commits.
            let pause = Duration::from_millis(every_ms / 2 + self.draws.below(every_ms));
            if Instant::now() + pause >= end {
                return Ok(());
            }
            sleep(pause).await;
            self.kill_and_start()?;
            if self.draws.below(8) == 0 {
                sleep(Duration::from_millis(self.draws.below(STARTING_MS))).await;
                self.kill_and_start()?;
                self.kills.while_starting += 1;
            }
            self.wait_until_ready().await?;
        }
    }

    async fn restart(&mut self) -> Result<(), CrashError> {
        self.kill_and_start()?;
        self.wait_until_ready().await
    }

    fn kill_and_start(&mut self) -> Result<(), CrashError> {
        self.take_server().kill()?;
        self.kills.all += 1;
        self.server = Some(self.plan.start()?);
        Ok(())
    }

    async fn wait_until_ready(&mut self) -> Result<(), CrashError> {
        let server = self.server.as_mut().expect("a life has begun");
        let took = server.until_ready(&self.product, READY_PATIENCE).await?;
        self.restart_ms.saturating_record(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        Ok(())
    }

    fn take_server(&mut self) -> Server {
        self.server.take().expect("a life has begun")
    }

    fn end(mut self) -> Result<(Kills, Histogram<u64>), CrashError> {
        self.take_server().kill()?;
        self.kills.all += 1;
        Ok((self.kills, self.restart_ms))
    }
}
