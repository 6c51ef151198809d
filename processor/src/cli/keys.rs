//! `tidemark keys new ID`: an API key, shown once, and the lines that configure it.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::http::auth::new_key;

#[derive(Args)]
pub struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Subcommand)]
enum KeysCommand {
    /// Make a key
    New {
        /// Its public name, shown in logs: letters, digits and hyphens
        id: String,
        /// The tenant whose events it may send and read
        #[arg(long, default_value = "default")]
        tenant: String,
    },
}

/// # Errors
/// When the operating system has no randomness, or the id is not one.
pub fn run(args: &KeysArgs) -> anyhow::Result<ExitCode> {
    let KeysCommand::New { id, tenant } = &args.command;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if id.is_empty() || id.len() > 32 || !id.chars().all(is_plain) {
        anyhow::bail!("`{id}` is not a key's id; use 1 to 32 letters, digits and hyphens");
    }
    let tenant = tidemark_schemas::ids::TenantId::new(tenant)?;
    let (text, hash) = new_key(id).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
    say!("{text}");
    eprintln!("The line above is the key. It is shown this once; give it to its holder.");
    eprintln!("Add this to the configuration file:\n");
    eprintln!(
        "[[api_key]]\nid = \"{id}\"\ntenant = \"{tenant}\"\nroles = [\"ingest\", \"read\"]\nhash = \"{hash}\""
    );
    Ok(ExitCode::SUCCESS)
}
