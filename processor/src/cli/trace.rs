//! `tidemark trace event` and `trace entry`: from one event to the books, and back.

use std::io;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use tidemark_schemas::ids::TenantId;
use tidemark_schemas::money::{Currency, in_units};
use tidemark_schemas::wire::v1::{JournalEntry, RatedSummary, Receipt};

use super::{Place, open};
use crate::config::Scope;
use crate::http::metering::{EventTrace, PostingTrace};
use crate::observe::logging;
use crate::service::{trace_event, trace_posting};

#[derive(Args)]
pub struct TraceArgs {
    #[command(subcommand)]
    command: TraceCommand,
}

#[derive(Subcommand)]
enum TraceCommand {
    /// Window, rated lines, receipts and journal entry of one event
    Event {
        #[command(flatten)]
        place: Place,
        #[arg(long, default_value = "default")]
        tenant: String,
        /// The event's `source` attribute
        source: String,
        /// The event's `id` attribute
        id: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Rated lines and events behind one journal entry
    Entry {
        #[command(flatten)]
        place: Place,
        /// The entry's id, such as je_…
        id: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// # Errors
/// When the data folder cannot be opened, or nothing of that name was ever kept.
pub fn run(args: &TraceArgs) -> anyhow::Result<ExitCode> {
    let (TraceCommand::Event { place, .. } | TraceCommand::Entry { place, .. }) = &args.command;
    let config = place.existing()?;
    logging::start(config.log)?;
    let engine = open(&config, place, "GET /v1/trace/event and /v1/trace/posting/{id}")?;
    let (preparer, folder) = (engine.intake.preparer(), engine.folders.archive.clone());
    let asked = match &args.command {
        TraceCommand::Event { tenant, source, id, .. } => {
            TenantId::new(tenant).map_err(Into::into).and_then(|tenant| {
                let found = trace_event(&*engine.store, &preparer, folder.as_deref(), &tenant, source, id)?;
                let found = found.with_context(|| {
                    format!(
                        "tenant `{tenant}` has no event with source `{source}` and id `{id}` in the archive"
                    )
                })?;
                Ok(Found::Event(found))
            })
        }
        TraceCommand::Entry { id, .. } => {
            trace_posting(&*engine.store, &preparer, folder.as_deref(), &Scope::Every, id)
                .map_err(anyhow::Error::from)
                .and_then(|found| found.with_context(|| format!("there is no journal entry `{id}`")))
                .map(Found::Posting)
        }
    };
    drop(preparer);
    engine.stop();
    let (TraceCommand::Event { json, .. } | TraceCommand::Entry { json, .. }) = &args.command;
    match asked? {
        Found::Event(found) if *json => say!("{}", serde_json::to_string_pretty(&found)?),
        Found::Event(found) => show_event(&found)?,
        Found::Posting(found) if *json => say!("{}", serde_json::to_string_pretty(&found)?),
        Found::Posting(found) => show_posting(&found)?,
    }
    Ok(ExitCode::SUCCESS)
}

enum Found {
    Event(EventTrace),
    Posting(PostingTrace),
}

fn show_event(trace: &EventTrace) -> io::Result<()> {
    say!("event           {} {}: {}", trace.source, trace.id, trace.fate);
    say!("  archived in   {}", trace.archived_in.as_deref().unwrap_or("the store, not in a file yet"));
    for usage in &trace.usage {
        say!(
            "  window        {} {} {} to {}, {}",
            usage.customer,
            usage.meter,
            usage.window.start,
            usage.window.end,
            usage.state
        );
        usage.rated.iter().try_for_each(show_rated)?;
        usage.journal_entries.iter().try_for_each(show_entry)?;
        usage.receipts.iter().try_for_each(show_receipt)?;
    }
    for exception in &trace.exceptions {
        say!(
            "  exception     {} {} {}: {}",
            exception.id,
            exception.kind,
            exception.status,
            exception.reason
        );
        if let Some(dismissal) = &exception.dismissal {
            say!("                dismissed {} by {}: {}", dismissal.at, dismissal.by, dismissal.reason);
        }
    }
    Ok(())
}

fn show_rated(line: &RatedSummary) -> io::Result<()> {
    say!(
        "    revision {}  {} {}, {} events; rated {} {} {} as {}",
        line.summary.revision,
        line.summary.quantity,
        line.summary.unit,
        line.summary.evidence.events,
        amount_of(line),
        line.currency,
        line.rate_card,
        line.id
    );
    Ok(())
}

fn show_entry(entry: &JournalEntry) -> io::Result<()> {
    say!(
        "    entry       {} {} {} no. {}, {} rated lines",
        entry.id,
        entry.legal_entity,
        entry.accounting_period,
        entry.number,
        entry.rated_lines
    );
    Ok(())
}

fn show_receipt(receipt: &Receipt) -> io::Result<()> {
    let detail = receipt.reference.as_deref().or(receipt.reason.as_deref()).unwrap_or_default();
    say!("    receipt     {} {} {} {detail}", receipt.destination, receipt.outcome, receipt.at);
    Ok(())
}

/// The line's amount with all digits of its currency.
fn amount_of(line: &RatedSummary) -> String {
    let currency = line.currency.parse::<Currency>();
    currency.map_or_else(|_| line.amount.clone(), |known| amount(&line.amount_minor, known.minor_digits()))
}

/// A stored amount in the currency's unit. Text that is no number is shown as it is: this only prints.
fn amount(minor: &str, minor_digits: u32) -> String {
    minor.parse().map_or_else(|_| minor.to_owned(), |minor| in_units(minor, minor_digits))
}

fn show_posting(trace: &PostingTrace) -> io::Result<()> {
    let entry = &trace.journal_entry;
    show_entry(entry)?;
    for line in &entry.lines {
        let debtor = line.debtor.as_deref().unwrap_or("");
        say!(
            "      {:<12} {debtor:<24} debit {:>14} credit {:>14} {}",
            line.account,
            amount(&line.debit_minor, entry.minor_digits),
            amount(&line.credit_minor, entry.minor_digits),
            entry.currency
        );
    }
    trace.receipts.iter().try_for_each(show_receipt)?;
    say!("  rated lines   {}", trace.rated.len());
    trace.rated.iter().take(20).try_for_each(show_rated)?;
    say!("  events        {} behind these lines", trace.events_total);
    for event in trace.events.iter().take(20) {
        say!("    {} {} {}", event.time, event.source, event.id);
    }
    match trace.evidence_matches {
        Some(true) => {
            say!("  evidence      the archived events are exactly those that the windows counted");
        }
        Some(false) => say!(
            "  evidence      DOES NOT MATCH: the archive has more, fewer or other events than were counted"
        ),
        None => say!("  evidence      no archive"),
    }
    Ok(())
}
