//! `tidemark keys new ID`: an API key, shown once, and the lines that configure it.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::config::{KEY_ID_BYTES_MAX, is_key_id};
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
    if !is_key_id(id) {
        anyhow::bail!("`{id}` is not a key's id; use 1 to {KEY_ID_BYTES_MAX} letters, digits and hyphens");
    }
    let tenant = tidemark_schemas::ids::TenantId::new(tenant)?;
    let (text, hash) = new_key(id).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
    println!("{text}");
    eprintln!("The line above is the key. It is shown this once; give it to its holder.");
    eprintln!("Add this to the configuration file:\n");
    eprintln!(
        "[[api_key]]\nid = \"{id}\"\ntenant = \"{tenant}\"\nroles = [\"ingest\", \"read\"]\nhash = \"{hash}\""
    );
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_for_every_id_that_the_configuration_takes() {
        let makes = |id: String| {
            let command = KeysCommand::New { id, tenant: "default".into() };
            run(&KeysArgs { command }).is_ok()
        };
        assert!(makes("a".repeat(KEY_ID_BYTES_MAX)) && makes("billing-2".into()));
        assert!(!makes("a".repeat(KEY_ID_BYTES_MAX + 1)) && !makes(String::new()) && !makes("a_b".into()));
    }
}
