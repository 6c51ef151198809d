//! `tidemark exceptions list`, `replay` and `dismiss`: what waits, why, whose it is; booking it or sending it again once its
//! cause is mended; and closing what nobody will book.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use tidemark_schemas::exception::{ExceptionKind, ExceptionStatus};
use tidemark_schemas::time::EventTime;
use tidemark_schemas::wire::v1::ExceptionRecord;

use super::{Place, destinations, open};
use crate::config::Scope;
use crate::http::metering::{DismissSelection, ExceptionFilter, ReplaySelection};
use crate::observe::logging;
use crate::service::{dismiss, exceptions, replay};

#[derive(Args)]
pub struct ExceptionsArgs {
    #[command(subcommand)]
    command: ExceptionsCommand,
}

#[derive(Subcommand)]
enum ExceptionsCommand {
    /// Show what waits, newest first
    List {
        #[command(flatten)]
        place: Place,
        /// Only this kind, such as unmapped_subject
        #[arg(long, value_parser = kind_of)]
        kind: Option<ExceptionKind>,
        /// Only those received at or after this time, such as 2026-01-31T00:00:00Z
        #[arg(long, value_name = "TIME", value_parser = time_of)]
        since: Option<EventTime>,
        /// Also those that a replay has resolved or someone has dismissed
        #[arg(long)]
        all: bool,
        /// Show at most this many
        #[arg(long, default_value_t = 50)]
        limit: usize,
        /// Records as JSON, one per line, instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Book what waits after the catalog was corrected, and send again what was refused
    Replay {
        #[command(flatten)]
        place: Place,
        /// Only this kind
        #[arg(long, value_parser = kind_of)]
        kind: Option<ExceptionKind>,
        /// Only these exceptions
        #[arg(value_name = "ID")]
        ids: Vec<String>,
    },
    /// Close exceptions that will not be counted; the records stay, with your reason
    Dismiss {
        #[command(flatten)]
        place: Place,
        /// These exceptions
        #[arg(value_name = "ID", required = true)]
        ids: Vec<String>,
        /// What became of them, for whoever asks later
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

fn kind_of(text: &str) -> Result<ExceptionKind, String> {
    let names: Vec<_> = ExceptionKind::ALL.iter().map(|kind| kind.name()).collect();
    ExceptionKind::ALL
        .into_iter()
        .find(|kind| kind.name() == text)
        .ok_or_else(|| format!("one of {}", names.join(", ")))
}

fn time_of(text: &str) -> Result<EventTime, String> {
    EventTime::parse(text.as_bytes()).map_err(|error| error.to_string())
}

/// # Errors
/// When the data folder cannot be opened, for instance because a service has it open.
pub fn run(args: &ExceptionsArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        ExceptionsCommand::List { place, kind, since, all, limit, json } => {
            let config = place.existing()?;
            logging::start(config.log)?;
            let engine = open(&config, place, ROUTES)?;
            let status = (!all).then_some(ExceptionStatus::Open);
            let filter = ExceptionFilter { kind: *kind, status, since: *since, after: None, limit: *limit };
            let page = exceptions(&*engine.store, &Scope::Every, &filter)??;
            let open = engine.handle.snapshot().open_exceptions;
            engine.stop();
            for record in &page.items {
                if *json {
                    say!("{}", serde_json::to_string(record)?);
                } else {
                    show(record)?;
                }
            }
            if !json {
                let more = if page.next.is_some() { "; more with --limit" } else { "" };
                say!("{} shown, {open} open in all{more}", page.items.len());
            }
        }
        ExceptionsCommand::Replay { place, kind, ids } => {
            let config = place.existing()?;
            logging::start(config.log)?;
            let engine = open(&config, place, ROUTES)?;
            let selection =
                ReplaySelection { ids: ids.clone(), kind: kind.map(|kind| kind.name().to_owned()) };
            let report = replay(&*engine.store, &engine.handle, &engine.intake, &Scope::Every, &selection)?;
            destinations::drain_all(&engine, &config)?;
            engine.stop();
            say!(
                "{} replayed: {} are counted now, {} still wait (see their reasons with `exceptions list`), {} sent again",
                report.selected,
                report.resolved,
                report.waiting,
                report.resent
            );
            refuse_unknown(&report.unknown)?;
        }
        ExceptionsCommand::Dismiss { place, ids, reason } => {
            let config = place.existing()?;
            logging::start(config.log)?;
            let selection = DismissSelection { ids: ids.clone(), reason: reason.clone() };
            selection.check().map_err(anyhow::Error::msg)?;
            let engine = open(&config, place, ROUTES)?;
            let report = dismiss(&*engine.store, &engine.handle, &Scope::Every, &selection, &user())?;
            let open = engine.handle.snapshot().open_exceptions;
            engine.stop();
            say!("{} dismissed, {open} open in all", report.dismissed);
            for id in &report.not_open {
                say!("{id} was not open; it stays as it is");
            }
            refuse_unknown(&report.unknown)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn refuse_unknown(ids: &[String]) -> anyhow::Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    anyhow::bail!("there is no exception {}; `exceptions list --all` shows those there are", ids.join(", "))
}

/// Who runs this, as the operating system names the owner of the process; the environment could say anything.
fn user() -> String {
    use std::os::unix::fs::MetadataExt;
    let Ok(process) = std::fs::metadata("/proc/self") else { return "a user of the command line".into() };
    let uid = process.uid().to_string();
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut named = accounts.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _, id) = (fields.next()?, fields.next()?, fields.next()?);
        (id == uid).then(|| name.to_owned())
    });
    named.next().map_or_else(|| format!("user {uid}"), |name| format!("user {name} ({uid})"))
}

/// While a service has the folder open.
const ROUTES: &str = "GET /v1/exceptions, and POST /v1/exceptions/replay or dismiss";

fn show(record: &ExceptionRecord) -> std::io::Result<()> {
    say!("{}  {}  {}", record.id, record.kind, record.status);
    if let Some(event) = &record.event {
        say!(
            "    event     {} {} ({}, {}, {})",
            event.source,
            event.id,
            event.event_type,
            event.subject,
            event.time
        );
    }
    if let Some(meter) = &record.meter {
        say!("    meter     {meter}");
    }
    if let Some(refused) = &record.record {
        say!("    record    {refused}");
    }
    say!("    why       {}", record.reason);
    say!("    from      {} (tenant {}), received {}", record.origin, record.tenant, record.received_at);
    match &record.dismissal {
        None => say!("    to do     {}: {}", record.owner, record.remedy),
        Some(dismissal) => {
            say!("    dismissed {} by {}: {}", dismissal.at, dismissal.by, dismissal.reason);
        }
    }
    Ok(())
}
