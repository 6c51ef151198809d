//! `tidemark keys new ID`: an API key, shown once, and the lines that configure it.

use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use tidemark_schemas::ids::TenantId;

use crate::config::{KEY_ID_BYTES_MAX, Role, is_key_id};
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
        /// The tenant whose events it may send and read; `*` for an operator's key, which sees every tenant and sends none
        #[arg(long, default_value = "default")]
        tenant: String,
        /// What it may do: ingest, read, acknowledge, operate, with commas between [default: ingest,read; for `*` read]
        #[arg(long, value_name = "ROLE,…", value_delimiter = ',', value_parser = role_of)]
        roles: Vec<Role>,
    },
}

fn role_of(text: &str) -> Result<Role, String> {
    let known = Role::ALL.into_iter().find(|role| role.name() == text);
    known.ok_or_else(|| format!("one of {}", Role::ALL.map(Role::name).join(", ")))
}

/// # Errors
/// When the operating system has no randomness, or the id is not one.
pub fn run(args: &KeysArgs) -> anyhow::Result<ExitCode> {
    let KeysCommand::New { id, tenant, roles } = &args.command;
    if !is_key_id(id) {
        anyhow::bail!("`{id}` is not a key's id; use 1 to {KEY_ID_BYTES_MAX} letters, digits and hyphens");
    }
    let is_operator = tenant == "*";
    if !is_operator {
        TenantId::new(tenant).context("--tenant")?;
    }
    let roles = match roles.as_slice() {
        [] if is_operator => &[Role::Read][..],
        [] => &[Role::Ingest, Role::Read],
        given => given,
    };
    if is_operator && roles.contains(&Role::Ingest) {
        anyhow::bail!("an event belongs to one tenant, so a key for `*` cannot have the role ingest");
    }
    let roles: Vec<_> = roles.iter().map(|role| format!("\"{}\"", role.name())).collect();
    let (text, hash) = new_key(id).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
    say!("{text}");
    note!("The line above is the key. It is shown this once; give it to its holder.");
    note!("Add this to the configuration file:\n");
    note!(
        "[[api_key]]\nid = \"{id}\"\ntenant = \"{tenant}\"\nroles = [{}]\nhash = \"{hash}\"",
        roles.join(", ")
    );
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_for_every_id_that_the_configuration_takes() {
        let makes = |id: String| {
            let command = KeysCommand::New { id, tenant: "default".into(), roles: Vec::new() };
            run(&KeysArgs { command }).is_ok()
        };
        assert!(makes("a".repeat(KEY_ID_BYTES_MAX)) && makes("billing-2".into()));
        assert!(!makes("a".repeat(KEY_ID_BYTES_MAX + 1)) && !makes(String::new()) && !makes("a_b".into()));
    }
}
