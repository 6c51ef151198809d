//! `tidemark trace event` and `trace entry`: from one event to the books, and back.

use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use tidemark_schemas::ids::TenantId;
use tidemark_schemas::money::in_units;
use tidemark_schemas::wire::v1::{JournalEntry, RatedSummary, Receipt};

use super::Place;
use crate::config::Scope;
use crate::http::metering::{EventTrace, PostingTrace};
use crate::observe::logging;
use crate::service::{Engine, trace_event, trace_posting};

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
    let config = place.config()?;
    logging::start(config.log)?;
    let engine = Engine::start(&config, place.accept_loss)
        .context("cannot open the data folder; while a service runs on it, use GET /v1/trace/event and /v1/trace/posting/{id}")?;
    let (preparer, folder) = (engine.intake.preparer(), engine.folders.archive.clone());
    match &args.command {
        TraceCommand::Event { tenant, source, id, json, .. } => {
            let tenant = TenantId::new(tenant)?;
            let found = trace_event(&*engine.store, &preparer, folder.as_deref(), &tenant, source, id)?;
            let found = found.with_context(|| {
                format!("tenant `{tenant}` has no event with source `{source}` and id `{id}` in the archive")
            })?;
            if *json { println!("{}", serde_json::to_string_pretty(&found)?) } else { show_event(&found) }
        }
        TraceCommand::Entry { id, json, .. } => {
            let found = trace_posting(&*engine.store, &preparer, folder.as_deref(), &Scope::Every, id)?;
            let found = found.with_context(|| format!("there is no journal entry `{id}`"))?;
            if *json { println!("{}", serde_json::to_string_pretty(&found)?) } else { show_posting(&found) }
        }
    }
    drop(preparer);
    engine.stop();
    Ok(ExitCode::SUCCESS)
}

fn show_event(trace: &EventTrace) {
    println!("event           {} {}: {}", trace.source, trace.id, trace.fate);
    println!("  archived in   {}", trace.archived_in.as_deref().unwrap_or("the store, not in a file yet"));
    for usage in &trace.usage {
        println!(
            "  window        {} {} {} to {}, {}",
            usage.customer, usage.meter, usage.window.start, usage.window.end, usage.state
        );
        usage.rated.iter().for_each(show_rated);
        usage.journal_entries.iter().for_each(show_entry);
        usage.receipts.iter().for_each(show_receipt);
    }
    for exception in &trace.exceptions {
        println!(
            "  exception     {} {} {}: {}",
            exception.id, exception.kind, exception.status, exception.reason
        );
        if let Some(dismissal) = &exception.dismissal {
            println!("                dismissed {} by {}: {}", dismissal.at, dismissal.by, dismissal.reason);
        }
    }
}

fn show_rated(line: &RatedSummary) {
    println!(
        "    revision {}  {} {}, {} events; rated {} {} {} as {}",
        line.summary.revision,
        line.summary.quantity,
        line.summary.unit,
        line.summary.evidence.events,
        line.amount,
        line.currency,
        line.rate_card,
        line.id
    );
}

fn show_entry(entry: &JournalEntry) {
    println!(
        "    entry       {} {} {} no. {}, {} rated lines",
        entry.id, entry.legal_entity, entry.accounting_period, entry.number, entry.rated_lines
    );
}

fn show_receipt(receipt: &Receipt) {
    let detail = receipt.reference.as_deref().or(receipt.reason.as_deref()).unwrap_or_default();
    println!("    receipt     {} {} {} {detail}", receipt.destination, receipt.outcome, receipt.at);
}

/// A stored amount in the currency's unit. Text that is no number is shown as it is: this only prints.
fn amount(minor: &str, minor_digits: u32) -> String {
    minor.parse().map_or_else(|_| minor.to_owned(), |minor| in_units(minor, minor_digits))
}

fn show_posting(trace: &PostingTrace) {
    let entry = &trace.journal_entry;
    show_entry(entry);
    for line in &entry.lines {
        let debtor = line.debtor.as_deref().unwrap_or("");
        println!(
            "      {:<12} {debtor:<24} debit {:>14} credit {:>14} {}",
            line.account,
            amount(&line.debit_minor, entry.minor_digits),
            amount(&line.credit_minor, entry.minor_digits),
            entry.currency
        );
    }
    trace.receipts.iter().for_each(show_receipt);
    println!("  rated lines   {}", trace.rated.len());
    trace.rated.iter().take(20).for_each(show_rated);
    println!("  events        {} behind these lines", trace.events_total);
    for event in trace.events.iter().take(20) {
        println!("    {} {} {}", event.time, event.source, event.id);
    }
    match trace.evidence_matches {
        Some(true) => {
            println!("  evidence      the archived events are exactly those that the windows counted")
        }
        Some(false) => println!(
            "  evidence      DOES NOT MATCH: the archive has more, fewer or other events than were counted"
        ),
        None => println!("  evidence      no archive"),
    }
}
