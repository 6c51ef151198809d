//! `tidemark demo`: plays a generated hour through the whole path, twice, and shows one page that ties everything out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use clap::Args;
use tidemark_schemas::ids::TenantId;
use tidemark_schemas::outbox::Destination;
use tidemark_schemas::wire::v1;

use super::destinations;
use super::ingest::{Fed, Totals, feed, start_archiving};
use crate::config::{Archive, Billing, Config, Erp, Scope};
use crate::demo::catalog::{self, customer_name};
use crate::demo::page::{Books, Colour, Compared, Fates, Lag, Named, Page, Speed, TopCustomer};
use crate::demo::trace::{CALLS_DEFAULT, SEED_DEFAULT, Trace};
use crate::demo::truth::Truth;
use crate::http::metering::UsageFilter;
use crate::observe::logging;
use crate::partition::{Answers, Input, each_record, parse_record, undecodable};
use crate::service::{Engine, usage};
use crate::source::progress::{Progress, Tally};
use crate::source::{CHUNK_BYTES, Chunk, Position, Record, Source, SourceError};
use crate::store::{KeyValue, Keyspace};

/// A folder with this file was made by the demo, so the demo may empty it.
const MARKER: &str = "made-by-tidemark-demo";

/// Customers on the page.
const TOP: usize = 5;

#[derive(Args)]
pub struct DemoArgs {
    /// Calls that are counted; what goes wrong comes on top
    #[arg(long, default_value_t = CALLS_DEFAULT)]
    calls: u64,
    /// Another seed gives another hour
    #[arg(long, default_value_t = SEED_DEFAULT)]
    seed: u64,
    /// Folder for everything that the demo makes; emptied first when an earlier demo made it
    #[arg(long, value_name = "DIR", default_value = "demo")]
    data: PathBuf,
}

/// Exits with 1 when anything on the page does not tie out.
///
/// # Errors
/// When the folder cannot be used, or the run fails.
pub fn run(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    let config = set_up(&args.data)?;
    logging::start(config.log)?;
    let engine = Arc::new(Engine::start(&config, false)?);
    note!(
        "Playing {} calls of an hour through the whole path, state in {} …",
        args.calls,
        args.data.display()
    );
    let archiving = start_archiving(&engine);
    let started = Instant::now();
    let (fed, truth) = play(args, &engine, "first run")?;
    let took = started.elapsed();
    let lag = lag(&engine, &fed);
    let first = settle(&engine, &config)?;
    let page = page(args, &config, &engine, &truth, &fed, took, lag)?;
    note!("Playing the same hour again …");
    let (again, _) = play(args, &engine, "second run")?;
    let second = settle(&engine, &config)?;
    archiving.stop()?;
    let engine =
        Arc::into_inner(engine).context("the archiver still holds the processor; this is a fault of ours")?;
    engine.stop();
    let rendered = page.render(Colour::of_standard_output());
    let unchanged = first == second && again.totals.counted == 0;
    say!("{}", second_run(&again.totals, unchanged));
    say!("{}", rendered.text.trim_end_matches('\n'));
    Ok(if rendered.ties_out && unchanged { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// An empty folder with the demo's catalog in it.
fn set_up(data: &Path) -> anyhow::Result<Config> {
    let marker = data.join(MARKER);
    if data.exists() {
        let is_empty = std::fs::read_dir(data)?.next().is_none();
        if !is_empty && !marker.exists() {
            anyhow::bail!("{} exists and no demo made it; name another folder with --data", data.display());
        }
        std::fs::remove_dir_all(data).with_context(|| format!("cannot empty {}", data.display()))?;
    }
    let catalog_dir = data.join("catalog");
    std::fs::create_dir_all(&catalog_dir)
        .with_context(|| format!("cannot make {}", catalog_dir.display()))?;
    std::fs::write(&marker, "tidemark demo empties this folder\n")?;
    for file in catalog::files() {
        std::fs::write(catalog_dir.join(file.name), file.text)?;
    }
    let mut config = Config::load(None)?;
    config.data_dir = data.to_owned();
    config.catalog_dir = catalog_dir;
    config.billing = Billing::File { directory: data.join("billing") };
    config.erp = Erp::File { directory: data.join("erp") };
    config.archive = Archive::Local { directory: data.join("archive") };
    config.log.level = crate::config::LogLevel::Warn;
    Ok(config)
}

fn play(args: &DemoArgs, engine: &Engine, name: &str) -> anyhow::Result<(Fed, Truth)> {
    let tenant = TenantId::new(catalog::TENANT)?;
    let mut source = TraceSource { trace: Trace::new(args.calls, args.seed), place: 0, units: 0 };
    let mut progress = Progress::new(name, None, 0);
    let (started, mut last) = (Instant::now(), (Totals::default(), 0));
    let fed = feed(engine, &tenant, &mut source, None, &mut |totals, units| {
        last = (*totals, units);
        progress.show(&tally(totals, units), started.elapsed());
    })?;
    progress.finish(&tally(&fed.totals, last.1), started.elapsed());
    Ok((fed, source.trace.truth().clone()))
}

fn tally(totals: &Totals, units: u64) -> Tally {
    Tally { units, events: totals.counted + totals.waiting, again: totals.again, rejected: totals.rejected }
}

/// The generated hour, chunk by chunk.
struct TraceSource {
    trace: Trace,
    place: u64,
    units: u64,
}

impl Source for TraceSource {
    fn name(&self) -> &str {
        "demo"
    }

    fn next_chunk(&mut self) -> Result<Option<Chunk>, SourceError> {
        let (mut text, mut records) = (Vec::with_capacity(CHUNK_BYTES + 1024), Vec::new());
        let offset = |text: &Vec<u8>| u32::try_from(text.len()).expect("a chunk is about a megabyte");
        while text.len() < CHUNK_BYTES {
            let start = offset(&text);
            if self.trace.append_line(&mut text).is_none() {
                break;
            }
            self.place += 1;
            // The line without its newline.
            records.push(Record { place: self.place, range: start..offset(&text) - 1 });
        }
        if records.is_empty() {
            return Ok(None);
        }
        self.units += text.len() as u64;
        let position =
            Position { units: self.units, place: self.place, prefix_digest: [0; 32], complete: false };
        Ok(Some(Chunk { text, records, damaged: Vec::new(), position }))
    }

    fn total_units(&self) -> Option<u64> {
        None
    }
}

/// What must not change when the same hour is played again: everything counted, billed and booked.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    counted: u64,
    rated_lines: u64,
    journal_entries: u64,
    /// BLAKE3 over all rated lines and journal entries as delivered.
    digest: blake3::Hash,
}

/// Closes the hour, delivers everything, and says what came out.
fn settle(engine: &Engine, config: &Config) -> anyhow::Result<Outcome> {
    let declared = engine.handle.ask(Input::Complete).context("the partition is gone")?;
    declared.map_err(|error| anyhow::anyhow!("{error}"))?;
    destinations::drain_all(engine, config)?;
    let mut hasher = blake3::Hasher::new();
    for destination in Destination::ALL {
        each_record(&*engine.store, destination, 1, |sequence, record| {
            hasher.update(&sequence.to_be_bytes());
            hasher.update(record.text);
            Ok(true)
        })?;
    }
    let progress = engine.handle.snapshot().progress;
    Ok(Outcome {
        counted: progress.counts.counted,
        rated_lines: progress.rated,
        journal_entries: progress.journal,
        digest: hasher.finalize(),
    })
}

fn lag(engine: &Engine, fed: &Fed) -> Lag {
    let snapshot = engine.handle.snapshot();
    let behind = match (snapshot.progress.newest, snapshot.watermark) {
        (Some(newest), Some(watermark)) => newest.micros() - watermark.micros(),
        _ => 0,
    };
    Lag {
        watermark_millis: u64::try_from(behind / 1_000).unwrap_or(0),
        commit_p99_micros: fed.latency.value_at_quantile(0.99),
        outbox_waiting: 0,
    }
}

fn page(
    args: &DemoArgs,
    config: &Config,
    engine: &Engine,
    truth: &Truth,
    fed: &Fed,
    took: std::time::Duration,
    lag: Lag,
) -> anyhow::Result<Page> {
    let (books, by_customer) = books(&*engine.store, truth)?;
    let progress = engine.handle.snapshot().progress;
    let outbox_waiting = progress.rated - progress.billed + progress.journal - progress.booked;
    let all = UsageFilter { limit: usize::MAX, ..UsageFilter::default() };
    let used = usage(&*engine.store, &engine.intake.preparer().terms, &Scope::Every, &all)??.items;
    let tokens = |meter: &str| -> anyhow::Result<u64> {
        let of_meter = used.iter().filter(|row| row.meter == meter);
        of_meter.map(|row| Ok(row.quantity.parse::<u64>()?)).sum()
    };
    let top = truth.top(TOP).into_iter().map(|customer| TopCustomer {
        id: customer.id(),
        name: customer_name(customer.number),
        calls: customer.calls,
        cents: Compared {
            product: by_customer.get(&customer.id()).copied().unwrap_or(0),
            truth: customer.rated_cents(),
        },
    });
    let folder = |label: &str, path: &Path| Named { label: label.into(), text: path.display().to_string() };
    Ok(Page {
        seed: args.seed,
        speed: Speed {
            took_millis: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            replayed_millis: 3_600_000,
            bytes: fed.totals.bytes,
        },
        lag: Lag { outbox_waiting, ..lag },
        fates: Compared { product: fates(engine)?, truth: truth.into() },
        prompt_tokens: Compared { product: tokens("prompt_tokens")?, truth: truth.prompt_tokens() },
        completion_tokens: Compared {
            product: tokens("completion_tokens")?,
            truth: truth.completion_tokens(),
        },
        money: books,
        top: top.collect(),
        folders: vec![
            folder("catalog", &config.catalog_dir),
            folder("rated lines", &config.data_dir.join("billing")),
            folder("journal", &config.data_dir.join("erp")),
            folder("archive", &config.data_dir.join("archive")),
        ],
        next: next(&args.data),
    })
}

/// Fates as the product counted them, exceptions by kind from its own records.
fn fates(engine: &Engine) -> anyhow::Result<Fates> {
    let counts = engine.handle.snapshot().progress.counts;
    let mut waiting: BTreeMap<String, u64> = BTreeMap::new();
    for (_, value) in crate::partition::load_all(&*engine.store, Keyspace::Exception)? {
        let record: v1::ExceptionRecord = serde_json::from_slice(&value)?;
        *waiting.entry(record.kind).or_default() += 1;
    }
    let mut take = |kind: &str| waiting.remove(kind).unwrap_or(0);
    let _malformed = take("malformed");
    let _conflicts = take("conflict");
    Ok(Fates {
        received: counts.received,
        counted: counts.counted,
        late: counts.late,
        again: counts.again,
        rejected: counts.rejected,
        conflict: counts.conflicts,
        unmapped_subject: take("unmapped_subject"),
        unknown_meter: take("unknown_meter"),
        bad_clock: take("bad_clock"),
        other_exceptions: waiting.into_values().sum(),
    })
}

/// Amounts from the lines and entries themselves, with what their receipts say, and the rated total of each customer.
fn books(store: &dyn KeyValue, truth: &Truth) -> anyhow::Result<(Books, BTreeMap<String, i128>)> {
    let (mut rated, mut billed, mut lines) = (0_i128, 0_i128, 0_u64);
    let mut by_customer: BTreeMap<String, i128> = BTreeMap::new();
    let is_accepted =
        |receipt: Option<v1::Receipt>| receipt.is_some_and(|receipt| receipt.outcome == "accepted");
    let damaged = |error: std::num::ParseIntError| undecodable(Keyspace::Rated, b"amount", &error);
    let mut answers = Answers::new(store, Destination::Billing);
    each_record(store, Destination::Billing, 1, |sequence, record| {
        let line: v1::RatedSummary = parse_record(Destination::Billing, sequence, record.text)?;
        let minor: i128 = line.amount_minor.parse().map_err(damaged)?;
        rated += minor;
        lines += 1;
        *by_customer.entry(line.summary.customer.clone()).or_default() += minor;
        if is_accepted(answers.of(sequence)?) {
            billed += minor;
        }
        Ok(true)
    })?;
    let (mut debits, mut credits, mut entries) = (0_i128, 0_i128, 0_u64);
    let mut answers = Answers::new(store, Destination::Erp);
    each_record(store, Destination::Erp, 1, |sequence, record| {
        let entry: v1::JournalEntry = parse_record(Destination::Erp, sequence, record.text)?;
        entries += 1;
        if is_accepted(answers.of(sequence)?) {
            for line in &entry.lines {
                debits += line.debit_minor.parse::<i128>().map_err(damaged)?;
                credits += line.credit_minor.parse::<i128>().map_err(damaged)?;
            }
        }
        Ok(true)
    })?;
    let rated = Compared { product: rated, truth: truth.rated_cents() };
    Ok((Books { rated, billed, debits, credits, rated_lines: lines, journal_entries: entries }, by_customer))
}

fn second_run(totals: &Totals, unchanged: bool) -> String {
    let (mark, verdict) =
        if unchanged { ("✓", "nothing has changed") } else { ("✗", "SOMETHING HAS CHANGED") };
    format!(
        "{mark} Second run of the same hour: {} records, {} counted, {} again, {} rejected, {} exceptions: {verdict}\n",
        totals.received(),
        totals.counted,
        totals.again,
        totals.rejected,
        totals.waiting
    )
}

/// The one command that starts the service on what the demo made, and the one that sends it an event.
fn next(data: &Path) -> [Named; 2] {
    let binary =
        std::env::current_exe().map_or_else(|_| "tidemark".into(), |path| path.display().to_string());
    let data = data.display();
    // The shell puts the present time in: the event is live, and its window closes while one looks on.
    let event = r#"{"specversion":"1.0","id":"hello-1","source":"/readme","type":"llm.request","subject":"user-00001","time":"'$(date -u +%FT%TZ)'","data":{"model":"m","prompt_tokens":12,"completion_tokens":3}}"#;
    let named = |label: &str, text| Named { label: label.into(), text };
    [
        named("start the service", format!("{binary} serve --data {data} --catalog {data}/catalog")),
        named(
            "send an event",
            format!(
                "curl -sS http://127.0.0.1:8080/v1/events -H 'content-type: application/cloudevents+json' -d '{event}'"
            ),
        ),
    ]
}
