//! `tidemark reconcile`: do received, counted, rated, billed and booked tie out?

use std::process::ExitCode;

use clap::Args;

use super::{Place, open};
use crate::config::Scope;
use crate::http::metering::Reconciliation;
use crate::observe::logging;
use crate::service::reconcile;

#[derive(Args)]
pub struct ReconcileArgs {
    #[command(flatten)]
    place: Place,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Exits with 1 when something does not tie out.
///
/// # Errors
/// When the data folder cannot be opened or read.
pub fn run(args: &ReconcileArgs) -> anyhow::Result<ExitCode> {
    let config = args.place.existing()?;
    logging::start(config.log)?;
    let engine = open(&config, &args.place, "GET /v1/reconciliation")?;
    let report = reconcile(&*engine.store, &Scope::Every, &engine.folders);
    engine.stop();
    let report = report?;
    if args.json {
        say!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        show(&report)?;
    }
    Ok(if report.ties_out { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn show(report: &Reconciliation) -> std::io::Result<()> {
    for check in &report.checks {
        let mark = if check.ties_out { "✓" } else { "✗" };
        let nothing = |amount: &str| amount.chars().all(|c| matches!(c, '0' | '.'));
        let in_flight = if nothing(&check.in_flight) {
            String::new()
        } else {
            format!(", {} on the way", check.in_flight)
        };
        say!("{mark} {:<46} {:>16} {:>16} {}{in_flight}", check.name, check.left, check.right, check.unit);
        if let Some(note) = &check.note {
            say!("  {note}");
        }
    }
    for loss in &report.accepted_losses {
        say!(
            "! {} events were accepted as lost, with {} commits, at {}",
            loss.events,
            loss.commits,
            loss.accepted_at
        );
    }
    Ok(())
}
