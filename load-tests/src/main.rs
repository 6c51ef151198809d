//! `tidemark-load`: which scenario, with which numbers? Arguments in, a report and an exit code out.
//!
//! Exit codes: 0 every promise kept, 1 a promise broken (the findings say which), 2 the scenario could not be
//! carried out.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use tidemark_load::crash::{self, CrashPlan};
use tidemark_load::generate::{Day, EVENTS_MAX};
use tidemark_load::http::{Load, lock};
use tidemark_load::ledger::Ledger;
use tidemark_load::product::Product;
use tidemark_load::report::Report;
use tidemark_load::traffic::{CUSTOMERS_MAX, EventClock, Traffic};
use tidemark_load::units::{Rate, Share, duration, instant_ms};
use tidemark_load::{catalog, http};

/// Event time of `--rate max`, which has no rate of its own.
const MAX_RATE_EVENT_CLOCK: u64 = 100_000;

#[derive(Parser)]
#[command(
    name = "tidemark-load",
    version,
    about = "Load generator, crash scenario and test files for Tidemark"
)]
struct Cli {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Subcommand)]
enum Scenario {
    /// Send events to a running server on a fixed schedule and report latencies
    Http(HttpArgs),
    /// Kill -9 a server again and again under load, then compare its totals with what it acknowledged
    Crash(CrashArgs),
    /// Write a day of events as NDJSON, with the sums it must lead to
    Generate(GenerateArgs),
    /// Write the catalog that a server needs for `http`
    Catalog(CatalogArgs),
}

/// What is sent; the same for every scenario that sends.
#[derive(Args)]
struct TrafficArgs {
    /// Names this run: a second run with the same name and seed repeats its events, which are then duplicates
    #[arg(long)]
    run_id: String,
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Events in one request
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    batch: u64,
    /// Share of events that repeat an earlier one
    #[arg(long, default_value = "0.02")]
    duplicates: Share,
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=i64::from(CUSTOMERS_MAX)))]
    customers: u32,
    /// Time of the first event
    #[arg(long, default_value = "2026-01-01T00:00:00Z", value_parser = instant_ms)]
    event_time: i64,
    /// Keep-alive connections
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    connections: u64,
    /// Write the report here as JSON
    #[arg(long)]
    report: Option<PathBuf>,
    /// How long one attempt may take
    #[arg(long, default_value = "30s", value_parser = duration)]
    timeout: Duration,
}

#[derive(Args)]
struct HttpArgs {
    /// The server, such as http://127.0.0.1:8080
    #[arg(long)]
    url: String,
    /// API key
    #[arg(long, env = "TIDEMARK_KEY", hide_env_values = true)]
    key: Option<String>,
    /// Events per second, or `max` for a closed loop
    #[arg(long, default_value = "20000")]
    rate: Rate,
    #[arg(long, default_value = "60s", value_parser = duration)]
    duration: Duration,
    /// After the last batch was due, keep sending what is not answered for this long
    #[arg(long, default_value = "30s", value_parser = duration)]
    drain: Duration,
    /// Seconds of event time per second of load
    #[arg(long, default_value_t = 1)]
    event_speed: u64,
    /// Write every acknowledged event here, 24 bytes each
    #[arg(long)]
    ledger: Option<PathBuf>,
    #[command(flatten)]
    traffic: TrafficArgs,
}

#[derive(Args)]
struct CrashArgs {
    /// The server's program
    #[arg(long)]
    binary: PathBuf,
    /// A new folder for data, catalog, ledger and log
    #[arg(long)]
    dir: PathBuf,
    /// One more argument for `serve`; may be given again
    #[arg(long = "server-arg", allow_hyphen_values = true)]
    server_args: Vec<String>,
    /// Events per second
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
    #[arg(long, default_value = "60s", value_parser = duration)]
    duration: Duration,
    /// Mean time from ready to the next kill
    #[arg(long, default_value = "1s", value_parser = duration)]
    every: Duration,
    /// After the last kill, how long until every batch must be answered
    #[arg(long, default_value = "60s", value_parser = duration)]
    drain: Duration,
    /// Seconds of event time per second of load; at 120 windows of an hour close during the run
    #[arg(long, default_value_t = 120)]
    event_speed: u64,
    #[command(flatten)]
    traffic: TrafficArgs,
}

#[derive(Args)]
struct GenerateArgs {
    /// Different events; re-sends come on top
    #[arg(long, default_value_t = 5_000_000, value_parser = clap::value_parser!(u64).range(1..=EVENTS_MAX))]
    events: u64,
    #[arg(long)]
    out: PathBuf,
    /// Share of events that are sent again
    #[arg(long, default_value = "0.02")]
    duplicates: Share,
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=i64::from(CUSTOMERS_MAX)))]
    customers: u32,
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Write the expected sums here: hour,subject,type,sum,count
    #[arg(long)]
    expected: Option<PathBuf>,
    /// Write a matching catalog into this folder
    #[arg(long)]
    catalog: Option<PathBuf>,
}

#[derive(Args)]
struct CatalogArgs {
    #[arg(long)]
    out: PathBuf,
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=i64::from(CUSTOMERS_MAX)))]
    customers: u32,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().scenario {
        Scenario::Http(arguments) => on_runtime(run_http(arguments)),
        Scenario::Crash(arguments) => on_runtime(run_crash(arguments)),
        Scenario::Generate(arguments) => generate(&arguments).map(|()| ExitCode::SUCCESS),
        Scenario::Catalog(CatalogArgs { out, customers }) => {
            write_catalog(&out, &catalog::LOAD_METERS, customers).map(|()| ExitCode::SUCCESS)
        }
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("tidemark-load: {error:#}");
        ExitCode::from(2)
    })
}

fn on_runtime(scenario: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(scenario)
}

async fn run_http(arguments: HttpArgs) -> Result<ExitCode> {
    let HttpArgs { traffic: common, rate, .. } = &arguments;
    let slots_per_second = match rate {
        Rate::EventsPerSecond(rate) => *rate,
        Rate::Max => MAX_RATE_EVENT_CLOCK,
    };
    let time = EventClock { start_ms: common.event_time, slots_per_second, speed: arguments.event_speed };
    let connections = connections(common);
    let load = Load {
        product: Product::new(&arguments.url, arguments.key.clone(), connections, common.timeout)?,
        traffic: Arc::new(Traffic::new(
            common.seed,
            &common.run_id,
            common.customers,
            common.duplicates,
            time,
        )),
        rate: *rate,
        batch_events: common.batch,
        connections,
        duration: arguments.duration,
        drain: arguments.drain,
    };
    let ledger = match &arguments.ledger {
        Some(path) => Ledger::create(common.customers, path)?,
        None => Ledger::new(common.customers),
    };
    let ledger = Arc::new(Mutex::new(ledger));
    let outcome: http::Outcome = load.run(&ledger).await?;
    let report = Report::new("http", &common.run_id, common.seed, &load, &outcome, lock(&ledger).total());
    published(&report, common)
}

async fn run_crash(arguments: CrashArgs) -> Result<ExitCode> {
    let common = &arguments.traffic;
    let plan = CrashPlan {
        binary: arguments.binary.clone(),
        arguments: arguments.server_args.clone(),
        folder: arguments.dir.clone(),
        run_id: common.run_id.clone(),
        seed: common.seed,
        events_per_second: arguments.rate,
        batch_events: common.batch,
        connections: connections(common),
        customers: common.customers,
        resends: common.duplicates,
        duration: arguments.duration,
        every: arguments.every,
        drain: arguments.drain,
        timeout: common.timeout,
        event_start_ms: common.event_time,
        event_speed: arguments.event_speed,
    };
    published(&crash::run(&plan).await?, common)
}

fn connections(common: &TrafficArgs) -> usize {
    usize::try_from(common.connections).expect("at most 10,000")
}

fn published(report: &Report, common: &TrafficArgs) -> Result<ExitCode> {
    println!("{}", report.table());
    if let Some(path) = &common.report {
        report.write(path).with_context(|| format!("the report {} cannot be written", path.display()))?;
    }
    Ok(if report.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn generate(arguments: &GenerateArgs) -> Result<()> {
    let create =
        |path: &Path| File::create(path).with_context(|| format!("{} cannot be created", path.display()));
    let day = Day::new(arguments.seed, arguments.events, arguments.customers, arguments.duplicates);
    let started = Instant::now();
    let (written, expected) = day.write(create(&arguments.out)?)?;
    let took_ms = started.elapsed().as_millis().max(1);
    println!(
        "{}: {} events and {} re-sends, {} bytes in {took_ms} ms ({} events/s)",
        arguments.out.display(),
        written.events,
        written.resends,
        written.bytes,
        u128::from(written.events + written.resends) * 1_000 / took_ms
    );
    if let Some(path) = &arguments.expected {
        expected.write_csv(std::io::BufWriter::new(create(path)?))?;
    }
    match &arguments.catalog {
        Some(folder) => write_catalog(folder, &catalog::FILE_METERS, arguments.customers),
        None => Ok(()),
    }
}

fn write_catalog(folder: &Path, meters: &[catalog::SumMeter], customers: u32) -> Result<()> {
    catalog::write(folder, meters, customers)
        .with_context(|| format!("the catalog {} cannot be written", folder.display()))
}
