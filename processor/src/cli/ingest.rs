//! `tidemark ingest FILE…`: files in, everything that follows out. Interrupted or repeated, it loses and doubles nothing.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use clap::Args;
use crossbeam_channel::{Receiver, bounded};
use hdrhistogram::Histogram;
use tidemark_core::changes::Fate;
use tidemark_schemas::ids::TenantId;

use super::{Place, destinations};
use crate::clock;
use crate::config::Config;
use crate::observe::logging;
use crate::partition::{Damaged, Input, PartitionError, Position, PreparedBlock, RawBlock, Taken};
use crate::service::Engine;
use crate::source::progress::{Progress, Tally};
use crate::source::{self, Chunk, Format, Mapping, Opened, Source};

/// Chunks of about 8 MB that are prepared or committed at the same time.
const CHUNKS_IN_FLIGHT_MAX: usize = 8;

#[derive(Args)]
pub struct IngestArgs {
    #[command(flatten)]
    place: Place,
    /// Files to read in order; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Whose events these are
    #[arg(long, default_value = "default")]
    tenant: String,
    /// How the bytes are records; otherwise the mapping or the file's name says
    #[arg(long, value_name = "ndjson|csv|parquet|lines", value_parser = format_of)]
    format: Option<Format>,
    /// Which column goes where (TOML); needed for everything but CloudEvents. When it changes, files are read again
    /// from their beginning: what was counted is recognised
    #[arg(long, value_name = "FILE")]
    mapping: Option<PathBuf>,
    /// Afterwards declare that all usage so far is complete, so that it is billed and booked now
    #[arg(long)]
    complete: bool,
    /// Fail at the end when anything was rejected or waits as an exception; what was counted stays counted
    #[arg(long)]
    fail_on_rejected: bool,
}

fn format_of(text: &str) -> Result<Format, String> {
    let all = [Format::Ndjson, Format::Csv, Format::Parquet, Format::Lines];
    all.into_iter()
        .find(|format| format.name() == text)
        .ok_or_else(|| "one of ndjson, csv, parquet, lines".into())
}

/// What the partition says of a block.
type Answer = Result<Taken, Arc<PartitionError>>;

/// What a run came to.
pub struct Fed {
    pub totals: Totals,
    /// Microseconds from reading a chunk to its durable commit.
    pub latency: Histogram<u64>,
}

/// What became of a run's records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub counted: u64,
    pub again: u64,
    pub rejected: u64,
    pub waiting: u64,
    /// Meters that could not take an event which others have counted: each waits as an exception.
    pub meter_refusals: u64,
    pub bytes: u64,
}

impl Totals {
    #[must_use]
    pub fn received(&self) -> u64 {
        self.counted + self.again + self.rejected + self.waiting
    }

    fn add(&mut self, taken: &Taken) {
        for fate in &taken.fates.events {
            match fate {
                Fate::Counted => self.counted += 1,
                Fate::Again => self.again += 1,
                Fate::Parked(_) => self.waiting += 1,
            }
        }
        self.rejected += taken.prepared.block.rejections.len() as u64;
        let of_counted = |event: u32| taken.fates.events[event as usize] == Fate::Counted;
        let refused = taken.fates.parked.iter().filter(|(event, _)| of_counted(*event));
        self.meter_refusals += refused.count() as u64;
    }
}

/// # Errors
/// When a file cannot be read or the partition stops; what was committed before stays.
pub fn run(args: &IngestArgs) -> anyhow::Result<ExitCode> {
    let config = args.place.config()?;
    logging::start(config.log)?;
    let tenant = TenantId::new(&args.tenant).context("--tenant")?;
    let mapping = args.mapping.as_deref().map(Mapping::read).transpose()?;
    args.files.iter().try_for_each(|path| readable(path))?;
    let engine = Arc::new(Engine::start(&config, args.place.accept_loss)?);
    if let Err(unknown) = known_tenant(&engine, &tenant) {
        if let Some(engine) = Arc::into_inner(engine) {
            engine.stop();
        }
        return Err(unknown);
    }
    let archiving = start_archiving(&engine);
    let ingested = ingest_all(args, &engine, &tenant, mapping.as_ref());
    archiving.stop()?;
    let engine =
        Arc::into_inner(engine).context("the archiver still holds the processor; this is a fault of ours")?;
    let finished = ingested.and_then(|totals| finish(args, &engine, &config, totals));
    engine.stop();
    finished
}

/// Before anything is read, so that a misspelt name among many does not leave half of them taken.
fn readable(path: &Path) -> anyhow::Result<()> {
    if path == Path::new("-") {
        return Ok(());
    }
    let unusable = || format!("cannot read {}; nothing was read of any file", path.display());
    let file = std::fs::File::open(path).with_context(unusable)?;
    anyhow::ensure!(!file.metadata()?.is_dir(), "{} is a folder; name the files in it", path.display());
    Ok(())
}

/// A tenant that no customer and no meter belongs to is a misspelling: everything would wait as an exception.
fn known_tenant(engine: &Engine, tenant: &TenantId) -> anyhow::Result<()> {
    let preparer = engine.intake.preparer();
    let catalog = &preparer.terms.catalog;
    let of_customers = catalog.customers.iter().map(|customer| &customer.tenant);
    let of_meters = catalog.meters.iter().filter_map(|meter| meter.tenant.as_ref());
    let known: std::collections::BTreeSet<&str> =
        of_customers.chain(of_meters).map(TenantId::as_str).collect();
    if known.is_empty() || known.contains(tenant.as_str()) {
        return Ok(());
    }
    let known = known.into_iter().collect::<Vec<_>>().join(", ");
    anyhow::bail!("the catalog has no tenant `{tenant}`; name one of {known} with --tenant. Nothing was read")
}

fn ingest_all(
    args: &IngestArgs,
    engine: &Engine,
    tenant: &TenantId,
    mapping: Option<&Mapping>,
) -> anyhow::Result<Totals> {
    let mut all = Totals::default();
    for path in &args.files {
        let of_mapping = mapping.map(|mapping| mapping.format);
        let format = args.format.or(of_mapping).or_else(|| Format::of_path(path)).unwrap_or(Format::Ndjson);
        let totals = ingest_file(engine, tenant, path, format, mapping)?;
        all.counted += totals.counted;
        all.again += totals.again;
        all.rejected += totals.rejected;
        all.waiting += totals.waiting;
        all.meter_refusals += totals.meter_refusals;
    }
    Ok(all)
}

fn ingest_file(
    engine: &Engine,
    tenant: &TenantId,
    path: &Path,
    format: Format,
    mapping: Option<&Mapping>,
) -> anyhow::Result<Totals> {
    let name = source_name(tenant, path, mapping)?;
    let stored = engine.store.get(crate::store::Keyspace::Position, name.as_bytes())?;
    let resume = stored.as_deref().map(position_from).transpose()?;
    let (mut source, opened) = source::open(path, format, mapping, resume.as_ref())?;
    match &opened {
        Opened::Fresh => {}
        Opened::Resumed { from } => note!("{}: going on after record {}", source.name(), from.place),
        Opened::Unchanged { at } => {
            note!(
                "{}: nothing new since all {} records were taken; nothing has changed",
                source.name(),
                at.place
            );
        }
        Opened::Replaced { before } => note!(
            "{}: another file than the one of which {} records were taken; read from its beginning",
            source.name(),
            before.place
        ),
    }
    let first_units = match &opened {
        Opened::Resumed { from } => from.units,
        _ => 0,
    };
    let mut progress = Progress::new(source.name(), source.total_units(), first_units);
    let (started, mut units) = (Instant::now(), first_units);
    let keeps_position = path != Path::new("-");
    let fed = feed(engine, tenant, &mut *source, keeps_position.then_some(&name), &mut |totals, at| {
        units = at.max(units);
        progress.show(&tally(totals, units), started.elapsed());
    })?;
    progress.finish(&tally(&fed.totals, units), started.elapsed());
    Ok(fed.totals)
}

fn tally(totals: &Totals, units: u64) -> Tally {
    Tally { units, events: totals.counted + totals.waiting, again: totals.again, rejected: totals.rejected }
}

/// Sends every chunk of a source through: prepared in parallel, committed in order.
///
/// # Errors
/// When the source cannot be read on, or the partition stops.
pub fn feed(
    engine: &Engine,
    tenant: &TenantId,
    source: &mut dyn Source,
    position_name: Option<&str>,
    show: &mut dyn FnMut(&Totals, u64),
) -> anyhow::Result<Fed> {
    let mut totals = Totals::default();
    let mut latency = Histogram::new(3).expect("three significant digits are allowed");
    let mut prepared: VecDeque<(Read, Receiver<PreparedBlock>)> = VecDeque::new();
    let mut committed: VecDeque<(Read, Receiver<Answer>)> = VecDeque::new();
    let mut more = true;
    while more || !prepared.is_empty() || !committed.is_empty() {
        while more && prepared.len() + committed.len() < CHUNKS_IN_FLIGHT_MAX {
            match source.next_chunk()? {
                Some(chunk) => {
                    crate::observe::batch_received(chunk.text.len());
                    totals.bytes += chunk.text.len() as u64;
                    let read = Read { units: chunk.position.units, at: Instant::now() };
                    prepared.push_back((
                        read,
                        engine.intake.submit(raw_block(tenant, source.name(), chunk, position_name)),
                    ));
                }
                None => more = false,
            }
        }
        if let Some((read, next)) = prepared.pop_front() {
            let block = next.recv().context("a preparing thread ended; this is a fault of ours")?;
            let (sender, receiver) = bounded(1);
            let reply = Box::new(move |answer| {
                let _ = sender.send(answer);
            });
            let sent = engine.handle.send(Input::Block(Box::new(block), reply));
            sent.map_err(|_| anyhow::anyhow!("the partition is gone"))?;
            committed.push_back((read, receiver));
        }
        let is_full = committed.len() >= CHUNKS_IN_FLIGHT_MAX / 2 || (!more && prepared.is_empty());
        if is_full && let Some((read, answer)) = committed.pop_front() {
            let taken = answer
                .recv()
                .context("the partition is gone")?
                .map_err(|error| anyhow::anyhow!("{error}"))?;
            totals.add(&taken);
            // It grows to hold any value, so this does not fail.
            let _ = latency.record(u64::try_from(read.at.elapsed().as_micros()).unwrap_or(u64::MAX));
            show(&totals, read.units);
        }
    }
    Ok(Fed { totals, latency })
}

/// When a chunk was read, and how far the source was then.
#[derive(Clone, Copy)]
struct Read {
    units: u64,
    at: Instant,
}

fn raw_block(tenant: &TenantId, origin: &str, chunk: Chunk, position_name: Option<&str>) -> RawBlock {
    let damaged = chunk.damaged.into_iter().map(|damaged| {
        let kept = chunk.text[damaged.range.start as usize..damaged.range.end as usize].to_vec();
        Damaged { place: damaged.place, kept, code: damaged.code, reason: damaged.reason }
    });
    let position = position_name
        .map(|name| Position { source: name.to_owned(), bytes: position_bytes(&chunk.position) });
    RawBlock {
        tenant: tenant.clone(),
        origin: origin.to_owned(),
        received_at: clock::now(),
        records: chunk.records.into_iter().map(|record| (record.place, record.range)).collect(),
        damaged: damaged.collect(),
        position,
        text: chunk.text,
    }
}

/// The file by its full path, so that the same name in another folder is another source; with the mapping's digest, so
/// that a file is read again under another mapping. A full path begins with `/`, so no two names are alike.
fn source_name(tenant: &TenantId, path: &Path, mapping: Option<&Mapping>) -> anyhow::Result<String> {
    let full = if path == Path::new("-") { path.to_owned() } else { std::path::absolute(path)? };
    let full = full.display();
    Ok(match mapping {
        None => format!("file {tenant} {full}"),
        Some(mapping) => format!("file {tenant} mapping {} {full}", blake3::Hash::from_bytes(mapping.digest)),
    })
}

/// units 8, place 8, digest 32, complete 1.
fn position_bytes(position: &source::Position) -> Vec<u8> {
    let mut bytes = position.units.to_be_bytes().to_vec();
    bytes.extend_from_slice(&position.place.to_be_bytes());
    bytes.extend_from_slice(&position.prefix_digest);
    bytes.push(u8::from(position.complete));
    bytes
}

fn position_from(bytes: &[u8]) -> anyhow::Result<source::Position> {
    let number = |at: usize| {
        bytes.get(at..at + 8).and_then(|part| part.first_chunk::<8>()).map(|part| u64::from_be_bytes(*part))
    };
    let parse = || {
        let prefix_digest = *bytes.get(16..48)?.first_chunk::<32>()?;
        Some(source::Position {
            units: number(0)?,
            place: number(8)?,
            prefix_digest,
            complete: *bytes.get(48)? == 1,
        })
    };
    parse()
        .filter(|_| bytes.len() == 49)
        .context("the stored position of this file is damaged; restore the data folder")
}

/// Archives while events come in, so that the end is not a wait.
pub struct Archiving {
    stop: crossbeam_channel::Sender<()>,
    thread: std::thread::JoinHandle<Result<(), crate::service::EngineError>>,
}

pub fn start_archiving(engine: &Arc<Engine>) -> Archiving {
    let (stop, stopped) = bounded::<()>(1);
    let engine = Arc::clone(engine);
    let run = move || {
        let every = std::time::Duration::from_millis(200);
        while stopped.recv_timeout(every) == Err(crossbeam_channel::RecvTimeoutError::Timeout) {
            engine.archive(false)?;
        }
        engine.archive(true)?;
        Ok(())
    };
    let thread = std::thread::Builder::new().name("archive".into()).spawn(run);
    Archiving { stop, thread: thread.expect("the operating system can start one more thread") }
}

impl Archiving {
    /// Writes what still waits, and ends.
    ///
    /// # Errors
    /// When a file could not be written; its events stay in the store.
    pub fn stop(self) -> anyhow::Result<()> {
        drop(self.stop);
        self.thread.join().map_err(|_| anyhow::anyhow!("the archiver failed; this is a fault of ours"))??;
        Ok(())
    }
}

fn finish(args: &IngestArgs, engine: &Engine, config: &Config, totals: Totals) -> anyhow::Result<ExitCode> {
    if args.complete {
        let declared = engine.handle.ask(Input::Complete).context("the partition is gone")?;
        declared.map_err(|error| anyhow::anyhow!("{error}"))?;
    }
    let (billing, erp) = destinations::drain_all(engine, config)?;
    let progress = engine.handle.snapshot().progress;
    say!(
        "received {} = counted {} + again {} + rejected {} + exceptions {}",
        totals.received(),
        totals.counted,
        totals.again,
        totals.rejected,
        totals.waiting
    );
    if totals.meter_refusals > 0 {
        say!(
            "not counted by every meter: {} more exceptions are of single meters, whose events others have counted",
            totals.meter_refusals
        );
    }
    say!("rated lines: {} in all, {} delivered to billing now", progress.rated, billing.accepted);
    say!("journal entries: {} in all, {} delivered to the ERP now", progress.journal, erp.accepted);
    for (name, left) in [("billing", &billing), ("ERP", &erp)] {
        if let Some(failure) = &left.held_by {
            say!("{} rows for {name} wait: {failure}", left.left);
        }
    }
    if engine.handle.snapshot().windows_open > 0 && !args.complete {
        say!("Windows are still open; they close as later events arrive, or now with --complete.");
    }
    let not_counted = totals.rejected + totals.waiting;
    if not_counted + totals.meter_refusals > 0 {
        say!(
            "{not_counted} of {} events were NOT counted: {} rejected, {} wait as exceptions",
            totals.received(),
            totals.rejected,
            totals.waiting
        );
        say!("See what waits with: tidemark exceptions list --data {}", config.data_dir.display());
        if args.fail_on_rejected {
            anyhow::bail!("not everything was counted, and --fail-on-rejected was given");
        }
    }
    Ok(ExitCode::SUCCESS)
}
