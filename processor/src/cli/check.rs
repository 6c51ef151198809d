//! `tidemark check FOLDER`: every mistake in a catalog, with file, line, what is wrong and what is allowed.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::service::check_catalog;

#[derive(Args)]
pub struct CheckArgs {
    /// Folder with the catalog's TOML files
    folder: PathBuf,
}

/// # Errors
/// All mistakes, as one error.
pub fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let catalog = check_catalog(&args.folder)?;
    say!(
        "{}: no mistakes. Catalog {} has {} meters, {} customers, {} subscriptions, {} rate cards, {} legal entities, \
         {} posting rules.",
        args.folder.display(),
        catalog.version,
        catalog.meters.len(),
        catalog.customers.len(),
        catalog.subscriptions.len(),
        catalog.rate_cards.len(),
        catalog.legal_entities.len(),
        catalog.posting_rules.len()
    );
    Ok(ExitCode::SUCCESS)
}
