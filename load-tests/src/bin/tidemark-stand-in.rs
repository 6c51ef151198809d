//! A stand-in for the product as a process of its own, so that the crash scenario can be seen to pass and to fail.
//!
//! Takes the arguments of `tidemark serve` that the scenario gives, and `--fault`.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use tidemark_load::stand_in::{Fault, serve};

#[derive(Parser)]
enum Command {
    Serve(Arguments),
}

#[derive(clap::Args)]
struct Arguments {
    #[arg(long)]
    data: PathBuf,
    /// Accepted and not read: this server has no meters.
    #[arg(long)]
    catalog: PathBuf,
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long, value_enum, default_value_t = FaultName::Honest)]
    fault: FaultName,
}

#[derive(Clone, Copy, ValueEnum)]
enum FaultName {
    Honest,
    Loses,
    Forgets,
    Refuses,
}

fn main() -> anyhow::Result<()> {
    let Command::Serve(arguments) = Command::parse();
    anyhow::ensure!(arguments.catalog.is_dir(), "{} is no folder", arguments.catalog.display());
    let fault = match arguments.fault {
        FaultName::Honest => Fault::Honest,
        FaultName::Loses => Fault::Loses,
        FaultName::Forgets => Fault::Forgets,
        FaultName::Refuses => Fault::Refuses,
    };
    serve(&TcpListener::bind(arguments.listen)?, Some(&arguments.data), fault)?;
    Ok(())
}
