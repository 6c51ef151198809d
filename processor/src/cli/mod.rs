//! What can a person tell `tidemark` to do? One file per command; this one reads the arguments and says what went wrong.
//!
//! Exit codes: 0 done; 1 it failed, and standard error says what, where and what to do; 2 the arguments are wrong; 141
//! whoever read the output has gone.

/// Prints a line on standard output. A reader that has gone is an error like any other, which `run` ends quietly on;
/// `println!` panics.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        writeln!(std::io::stdout(), $($text)*)?
    }};
}

/// Prints a line on standard error. What nobody reads there is no reason to stop; `eprintln!` panics.
macro_rules! note {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($text)*);
    }};
}

mod check;
mod chores;
mod demo;
mod destinations;
mod exceptions;
mod ingest;
mod keys;
mod reconcile;
mod serve;
mod trace;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Archive, Billing, Config, Erp};
use crate::partition::OpenError;
use crate::service::{Engine, EngineError};
use crate::store::StoreError;

#[derive(Parser)]
#[command(name = "tidemark", version, about, long_about = None, propagate_version = true)]
#[command(about = "Meters usage exactly once and turns it into bills and books that tie out")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the whole path on a generated hour of a metered LLM API and prove that everything ties out
    Demo(demo::DemoArgs),
    /// Take events over HTTP, and deliver to billing and the ERP
    Serve(serve::ServeArgs),
    /// Take events from files (CloudEvents NDJSON, CSV, Parquet, log lines), `-` for standard input
    Ingest(ingest::IngestArgs),
    /// Explain every mistake in a catalog folder
    Check(check::CheckArgs),
    /// List what waits as an exception, replay it after its cause was mended, or dismiss it
    Exceptions(exceptions::ExceptionsArgs),
    /// Follow an event to the journal entry it is in, or a journal entry back to its events
    Trace(trace::TraceArgs),
    /// Compare what was received, counted, rated, billed and booked, and look for the files behind it
    Reconcile(reconcile::ReconcileArgs),
    /// Make an API key
    Keys(keys::KeysArgs),
}

/// Where state and catalog are. Command-line values win over the configuration file.
#[derive(Args, Clone, Debug)]
pub struct Place {
    /// Configuration file (TOML); every key is optional
    #[arg(long, value_name = "FILE", env = "TIDEMARK_CONFIG")]
    config: Option<PathBuf>,
    /// Folder of the state, and of the files that leave unless configured otherwise
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Folder of the catalog
    #[arg(long, value_name = "DIR")]
    catalog: Option<PathBuf>,
    /// Start although acknowledged commits are missing, as the error before it says
    #[arg(long)]
    accept_loss: bool,
}

impl Place {
    /// The configuration with the command line's values in it.
    ///
    /// # Errors
    /// When the configuration file is wrong.
    pub fn config(&self) -> anyhow::Result<Config> {
        let mut config = Config::load(self.config.as_deref())?;
        if let Some(data) = &self.data {
            // Folders that follow the data folder by default move with it.
            let follows = |directory: &PathBuf, name: &str| *directory == config.data_dir.join(name);
            if let Billing::File { directory } = &mut config.billing
                && follows(directory, "billing")
            {
                *directory = data.join("billing");
            }
            if let Erp::File { directory } = &mut config.erp
                && follows(directory, "erp")
            {
                *directory = data.join("erp");
            }
            if let Archive::Local { directory } = &mut config.archive
                && follows(directory, "archive")
            {
                *directory = data.join("archive");
            }
            config.data_dir.clone_from(data);
        }
        if let Some(catalog) = &self.catalog {
            config.catalog_dir.clone_from(catalog);
        }
        Ok(config)
    }

    /// The configuration, of a data folder that is there: a question to a folder misspelt has no answer, and must not
    /// make that folder.
    ///
    /// # Errors
    /// When the configuration file is wrong, or nothing was ever taken into the folder.
    pub fn existing(&self) -> anyhow::Result<Config> {
        let config = self.config()?;
        let data = config.data_dir.display();
        if !config.data_dir.join("state").is_dir() {
            anyhow::bail!(
                "there is no data folder at {data}; name the one of `serve` or `ingest` with --data"
            );
        }
        Ok(config)
    }
}

/// The error and its causes, each said once: many of ours have their cause in their own sentence.
fn told(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// Opens an existing data folder for a question or a correction; `routes` answer the same while a service runs on it.
fn open(config: &Config, place: &Place, routes: &str) -> anyhow::Result<Engine> {
    Engine::start(config, place.accept_loss).map_err(|error| match &error {
        EngineError::Open(OpenError::Store(StoreError::Locked { .. })) => anyhow::Error::from(error)
            .context(format!("while a service runs on the data folder, use {routes}")),
        _ => error.into(),
    })
}

/// As a shell shows a command that SIGPIPE ended.
const READER_GONE: u8 = 141;

/// Whether standard output's reader has gone, such as `head` after its lines. Files and sockets report other errors of
/// their own kinds.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let of_output = error.downcast_ref::<std::io::Error>();
    of_output.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Reads the arguments, runs the command, and prints what went wrong.
#[must_use]
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Demo(args) => demo::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Ingest(args) => ingest::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Exceptions(args) => exceptions::run(&args),
        Command::Trace(args) => trace::run(&args),
        Command::Reconcile(args) => reconcile::run(&args),
        Command::Keys(args) => keys::run(&args),
    };
    match done {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::from(READER_GONE),
        Err(error) => {
            // When nobody reads standard error either, the exit code is all that can be said.
            let _ = writeln!(std::io::stderr(), "tidemark: {}", told(&error));
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_said_once() {
        let cause = std::io::Error::other("Address already in use");
        let listen =
            crate::http::serve::ServeError::Listen { listen: ([127, 0, 0, 1], 80).into(), source: cause };
        let said = told(&anyhow::Error::from(listen).context("cannot serve"));
        assert_eq!(said.matches("Address already in use").count(), 1, "{said}");
        assert!(said.starts_with("cannot serve: cannot listen on 127.0.0.1:80"), "{said}");
    }
}
