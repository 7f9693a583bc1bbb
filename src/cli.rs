//! The command line. Exit codes: 0 done, 1 failed, 2 wrong usage.
//!
//! Each command has a file with its options, `run`, and its output. `run` returns the exit code of
//! a command that did its work, or the error that stopped it.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command talks to its terminal"
)]

/// `println!` that does not panic when the reader has left: `meridian verify | head` is no failure.
macro_rules! print_line {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}

mod acme;
mod audit;
mod clients;
mod complete;
mod demo;
mod diff;
mod drill;
mod error;
mod events;
mod files;
mod geoip;
mod local;
mod locate;
mod log;
mod names;
mod overrides;
mod probe;
mod progress;
mod reload;
mod resume;
mod serve;
mod simulate;
mod status;
mod table;
mod terminal;
mod token;
mod unit;
mod verify;
mod why;
mod work;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use error::Error;
use local::Place;

use crate::units::MAX_EPOCH;

/// An authoritative DNS server that steers each client to the nearest healthy region.
#[derive(Debug, Parser)]
#[command(name = "meridian", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server. SIGHUP reloads the files; SIGTERM stops it after the queries in progress.
    Serve(serve::Serve),
    /// Check the configuration and report every problem, failed [[tests]] included; exit with 1 if
    /// there is an error.
    Verify(verify::Verify),
    /// Show the state of running servers on one screen: readiness, zones, services by region, what is
    /// down since when and why, overrides.
    Status(status::Status),
    /// Explain which answer a client gets, and why.
    Why(why::Why),
    /// Show what the location databases and every map say of a client, by a running server, or with
    /// --config by the files.
    Locate(locate::Locate),
    /// Show what losing regions, metros and labels, one or two at once, does to every service's
    /// clients.
    Simulate(simulate::Simulate),
    /// Show what a configuration change does to clients: who moves, by service and network, and
    /// which names come and go.
    Diff(diff::Diff),
    /// Run a check once, now, and show everything it sees. Exit code 0: it passed; 1: it did not;
    /// 2: nothing was probed.
    Probe(probe::Probe),
    /// Put a region back into service that resume = "manual" holds out after it was down.
    Resume(resume::Resume),
    /// Make a running server reload its files, and wait for the result; exit with 1 and every
    /// diagnostic if it refuses them.
    Reload(reload::Reload),
    /// Show who owns units, and move them, through a running server's control socket.
    #[command(subcommand)]
    Unit(UnitCommand),
    /// Take a region, metro, label, service, pool or endpoint out of use for some time.
    Drain(overrides::Drain),
    /// Treat a region, metro, label, service, pool or endpoint as up for some time, whatever
    /// probes see.
    Up(overrides::New),
    /// Treat a region, metro, label, service, pool or endpoint as down for some time, whatever
    /// probes see.
    Down(overrides::Down),
    /// Change the weight of a region, metro, label, service, pool or endpoint for some time.
    Weight(overrides::Weight),
    /// List the overrides that operators set with drain, up, down and weight.
    Overrides(overrides::List),
    /// Remove an override.
    Release(overrides::Release),
    /// Set and clear ACME challenges: TXT records for certificate authorities to ask for.
    #[command(subcommand)]
    Acme(acme::Acme),
    /// Show the changes that a running server keeps: what went up and down, and what operators did.
    Events(events::Events),
    /// Show who changed what, why, and what came of it.
    Audit(audit::Audit),
    /// Make tokens for the admin address.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Rehearse the loss of a place by a drain that is watched.
    #[command(subcommand)]
    Drill(drill::Drill),
    /// Build location databases.
    #[command(subcommand)]
    Geoip(geoip::Geoip),
    /// Run a server and three toy regions on loopback, to try failover by hand.
    Demo(demo::Demo),
    /// Print the words that may follow on a command line, for the completions of shells.
    #[command(hide = true)]
    Complete(complete::Complete),
}

#[derive(Debug, Subcommand)]
enum UnitCommand {
    /// List the units: owner, epoch, the owner's health, and whether they are fenced.
    List {
        /// Service or unit to list [default: every unit].
        service: Option<String>,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Move a unit to another region. Nobody owns the unit until the fence has passed.
    Move {
        /// Name of the unit, e.g. 07.orders.gtm.example.
        unit: String,
        /// Region that becomes the owner.
        region: String,
        /// Move the unit even if the region is down, is not ready, or has unknown health.
        #[arg(long)]
        force: bool,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Give the units of a service that have no recorded state the owner named in the zone file,
    /// after a fence.
    Init {
        /// Name of the service, e.g. orders.gtm.example, or of one unit.
        service: String,
        /// Epoch to start with. After lost state, choose one higher than any before.
        #[arg(
            long,
            default_value_t = 1,
            value_parser = clap::value_parser!(u64).range(1..=MAX_EPOCH)
        )]
        epoch: u64,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make a token; print it, and the table for the token file.
    New(token::New),
}

/// The whole command line, from which its man pages are made too.
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Runs the command that `arguments` name, the program's own name first.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let parsed = Arguments::command()
        .try_get_matches_from(arguments)
        .and_then(|matches| Ok((name(&matches), Arguments::from_arg_matches(&matches)?)));
    match parsed {
        Ok((name, arguments)) => match arguments.command.run() {
            Ok(code) => code,
            Err(error) => error.report(&name),
        },
        Err(usage) => {
            // Help and version arrive as errors too; they go to standard output with code 0.
            let _ = usage.print();
            if usage.use_stderr() {
                ExitCode::from(2)
            } else {
                ExitCode::SUCCESS
            }
        }
    }
}

/// Name of the command that was called, `unit move`.
fn name(matches: &ArgMatches) -> String {
    let mut names = Vec::new();
    let mut rest = matches;
    while let Some((name, inner)) = rest.subcommand() {
        names.push(name);
        rest = inner;
    }
    names.join(" ")
}

impl Command {
    fn run(self) -> Result<ExitCode, Error> {
        match self {
            Command::Serve(serve) => serve.run(),
            Command::Verify(verify) => verify.run(),
            Command::Status(status) => status.run(),
            Command::Why(why) => why.run(),
            Command::Locate(locate) => locate.run(),
            Command::Simulate(simulate) => simulate.run(),
            Command::Diff(diff) => diff.run(),
            Command::Probe(probe) => probe.run(),
            Command::Resume(resume) => resume.run(),
            Command::Reload(reload) => reload.run(),
            Command::Unit(unit) => unit.run(),
            Command::Drain(new) => new.run(),
            Command::Up(new) => new.run(),
            Command::Down(new) => new.run(),
            Command::Weight(weight) => weight.run(),
            Command::Overrides(list) => list.run(),
            Command::Release(release) => release.run(),
            Command::Acme(acme) => acme.run(),
            Command::Events(events) => events.run(),
            Command::Audit(audit) => audit.run(),
            Command::Token(TokenCommand::New(new)) => new.run(),
            Command::Drill(drill) => drill.run(),
            Command::Geoip(geoip) => geoip.run(),
            Command::Demo(demo) => demo.run(),
            Command::Complete(complete) => complete.run(),
        }
    }
}

impl UnitCommand {
    fn run(self) -> Result<ExitCode, Error> {
        match self {
            UnitCommand::List {
                service,
                json,
                place,
            } => unit::list(service.as_deref(), json, &place),
            UnitCommand::Move {
                unit,
                region,
                force,
                json,
                place,
            } => unit::move_unit(&unit, &region, force, json, &place),
            UnitCommand::Init {
                service,
                epoch,
                json,
                place,
            } => unit::init(&service, epoch, json, &place),
        }
    }
}
