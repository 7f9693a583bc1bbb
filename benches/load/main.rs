//! The load generator of Meridian's benchmarks: `cargo run --release --example load -- --help`.
//!
//! It asks a DNS server on this machine as fast as it answers, or at a fixed rate, and checks every
//! answer. `benches/compare` runs it against Meridian and the servers beside it; it also makes the
//! data that they serve, and the echo that shows what the kernel alone costs.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line program"
)]

#[path = "../data/mod.rs"]
mod data;
mod echo;
mod generator;

use std::net::{SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use data::files::Sizes;
use data::networks::NETWORKS;
use generator::{Check, Pool, Settings, Workload};

#[derive(Debug, Parser)]
#[command(about = "Makes benchmark data, asks a DNS server for it and checks every answer")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write zones, map and address plans into a directory
    Data {
        directory: PathBuf,
        /// Location networks of locations.csv
        #[arg(long, default_value_t = NETWORKS)]
        networks: usize,
        /// Location networks of locations-large.csv; 0: no such file
        #[arg(long, default_value_t = 0)]
        large: usize,
        /// Names of million.zone; 0: no such file
        #[arg(long, default_value_t = 0)]
        names: usize,
    },
    /// Ask a server, and print one JSON object: rates per second, times in microseconds per answer
    Run(Run),
    /// Answer every query on this IPv4 address with one fixed record: the ceiling
    Echo { address: SocketAddrV4 },
}

#[derive(Debug, clap::Args)]
struct Run {
    /// Address and port of the server
    target: SocketAddr,
    #[arg(value_enum)]
    workload: Workload,
    /// Load a target that is not a loopback address; only your own
    #[arg(long)]
    own_target: bool,
    /// Seconds measured
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Seconds before them that do not count
    #[arg(long, default_value_t = 0.3)]
    warm_up: f64,
    /// The most questions
    #[arg(long, default_value_t = 50_000_000)]
    questions: u64,
    #[arg(long, default_value_t = 4)]
    sockets: usize,
    /// Questions outstanding at a time
    #[arg(long, default_value_t = 128)]
    window: usize,
    /// Ask so many questions a second, and measure latency from when each was due
    #[arg(long)]
    rate: Option<f64>,
    /// Depth of the check of answers
    #[arg(long, value_enum, default_value = "full")]
    check: Check,
    /// Process id of the server: its CPU time, with that of its children
    #[arg(long)]
    server: Option<u32>,
    /// Number of networks in the server's location database
    #[arg(long, default_value_t = NETWORKS)]
    networks: usize,
    /// Number of names in million.zone
    #[arg(long, default_value_t = 1_000_000)]
    names: usize,
    /// Other questions of the same kind
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Different questions asked in a row before the first comes again.
const POOL: usize = 200_000;

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Data {
            directory,
            networks,
            large,
            names,
        } => data::files::write(
            &directory,
            &Sizes {
                networks,
                large,
                names,
            },
        )
        .map(|()| ExitCode::SUCCESS),
        Command::Run(run) => ask(&run),
        Command::Echo { address } => echo::serve(address).map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        eprintln!("load: {error}");
        ExitCode::from(2)
    })
}

/// Exit code 1: an answer was wrong, or none came.
fn ask(run: &Run) -> std::io::Result<ExitCode> {
    let settings = Settings {
        target: run.target,
        own_target: run.own_target,
        sockets: run.sockets,
        window: run.window,
        rate: run.rate,
        warm_up: seconds(run.warm_up)?,
        duration: seconds(run.seconds)?,
        questions: run.questions,
        patience: Duration::from_millis(500),
        check: run.check,
        server: run.server,
    };
    let pool = Pool::new(run.workload, POOL, run.networks, run.names, run.seed);
    let report = generator::run(&settings, &pool)?;
    println!("{}", report.json());
    if let Some((wrong, question, answer)) = &report.first_wrong {
        eprintln!("wrong {wrong:?}: {question:02x?} was answered by {answer:02x?}");
    }
    Ok(if report.answered > 0 && report.wrong() == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn seconds(number: f64) -> std::io::Result<Duration> {
    Duration::try_from_secs_f64(number)
        .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidInput, error))
}
