//! The command line. Exit codes: 0 done, 1 failed, 2 wrong usage.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command talks to its terminal")]

/// `println!` without its panic where the reader has gone: `meridian verify | head` is no failure.
macro_rules! say {
    ($($what:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($what)*);
    }};
}

mod demo;
mod geoip;
mod log;
mod probe;
mod resume;
mod serve;
mod unit;
mod verify;
mod why;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::dns::{Prefix, RrType};
use crate::steer::MAX_EPOCH;

/// An authoritative DNS server that answers service names with the nearest healthy region.
#[derive(Debug, Parser)]
#[command(name = "meridian", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server. SIGHUP reloads the files, SIGTERM ends it after the queries under way.
    Serve {
        /// Let those whom the files name own units of which no state is known, at once and in epoch 1. For the first start of a
        /// zone only: after the state was lost it would give out epochs that were given out before.
        #[arg(long)]
        init_units: bool,
        #[command(flatten)]
        files: Files,
    },
    /// Say everything that is wrong with the files, and run their [[tests]]; exit 1 if there is any error.
    Verify {
        #[command(flatten)]
        files: Files,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Explain which answer a client gets, and why.
    Why {
        /// The name asked, e.g. www.gtm.example.
        name: String,
        /// The type asked; for a service, the address family that it has.
        #[arg(value_parser = parse_type)]
        rtype: Option<RrType>,
        /// The client's address or prefix, e.g. 203.0.113.0/24.
        #[arg(long, value_name = "IP[/LEN]")]
        client: Prefix,
        /// Regions to take as down, separated by commas. Without it everything is taken as up.
        #[arg(long, value_delimiter = ',', value_name = "REGION", conflicts_with = "server")]
        down: Vec<String>,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
        /// Ask a running server's admin address, e.g. http://127.0.0.1:8053, and so with health as it is now.
        #[arg(long, value_name = "URL", conflicts_with = "config")]
        server: Option<String>,
        #[command(flatten)]
        files: Files,
    },
    /// Run a check once, now, and show all that it sees. Exit code 0 when it passes, 1 when it does not, 2 when nothing was probed.
    Probe {
        /// The name of a check.
        #[arg(required_unless_present = "service")]
        check: Option<String>,
        /// What it is run on: an address, or a name that ends in a dot.
        #[arg(required_unless_present = "service")]
        address: Option<String>,
        /// Run every check of every endpoint of this service, e.g. www.gtm.example, one row each.
        #[arg(long, value_name = "NAME", conflicts_with_all = ["check", "address"])]
        service: Option<String>,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        files: Files,
    },
    /// Take back a region that a service with resume = "manual" holds out after it was down.
    Resume {
        /// The service's name, e.g. www.gtm.example.
        service: String,
        /// The region; every one that is held, where it is left out.
        region: Option<String>,
        /// The running server's admin address, e.g. http://127.0.0.1:8053; by default that of the configuration.
        #[arg(long, value_name = "URL", conflicts_with = "config")]
        server: Option<String>,
        #[command(flatten)]
        files: Files,
    },
    /// See who owns units, and move them: asks a running server by the control socket in its state directory.
    Unit {
        #[command(subcommand)]
        command: UnitCommand,
    },
    /// Make location databases.
    Geoip {
        #[command(subcommand)]
        command: Geoip,
    },
    /// Run three toy regions and a server on loopback, to try failover by hand.
    Demo {
        /// Address and port of the DNS server.
        #[arg(long, default_value = "127.0.0.1:5300", value_name = "ADDRESS:PORT")]
        listen: std::net::SocketAddr,
    },
}

#[derive(Debug, Subcommand)]
enum UnitCommand {
    /// List the units: owner, epoch, the owner's health, and whether they are fenced.
    List {
        /// A service or a unit; every unit, where it is left out.
        service: Option<String>,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Move a unit to another region: nobody owns it during the fence, and then that region does.
    Move {
        /// The unit's name, e.g. 07.orders.gtm.example.
        unit: String,
        /// The region that is to own it.
        region: String,
        /// Move it although the region is down or not ready, or nothing is known of it for now.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Let those whom the files name own the units of a service of which no state is known, after a fence.
    Init {
        /// The service's name, e.g. orders.gtm.example, or that of one unit.
        service: String,
        /// Their epoch: after the state was lost, one that is higher than any before.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=MAX_EPOCH))]
        epoch: u64,
        #[command(flatten)]
        place: Place,
    },
}

/// Where a running server's control socket is.
#[derive(Debug, clap::Args)]
struct Place {
    /// The server's state directory; by default what the configuration names.
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    state: Option<PathBuf>,
    #[command(flatten)]
    files: Files,
}

impl Place {
    fn find(self) -> unit::Place {
        unit::Place { config: self.files.config(), state: self.state }
    }
}

#[derive(Debug, Subcommand)]
enum Geoip {
    /// Make an MMDB from rows of network,continent,country,subdivision,city,latitude,longitude,asn.
    Build {
        /// The rows; the first line names the columns.
        input: PathBuf,
        /// The MMDB to write.
        output: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
struct Files {
    /// The configuration; by default ./meridian.toml, then /etc/meridian/meridian.toml.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Files {
    /// The configuration named, or the first default that exists, or the first default.
    fn config(&self) -> PathBuf {
        const DEFAULTS: [&str; 2] = ["meridian.toml", "/etc/meridian/meridian.toml"];
        let default = || DEFAULTS.into_iter().find(|path| Path::new(path).exists()).unwrap_or(DEFAULTS[0]).into();
        self.config.clone().unwrap_or_else(default)
    }
}

/// Runs the command that `arguments` name, the program's own name first.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(usage) => {
            // Help and version are not errors and go to standard output with code 0.
            let _ = usage.print();
            return ExitCode::from(usage.exit_code().clamp(0, 2) as u8);
        }
    };
    match arguments.command {
        Command::Serve { init_units, files } => serve::run(&files.config(), init_units),
        Command::Verify { files, json } => verify::run(&files.config(), json),
        Command::Why { name, rtype, client, down, json, server, files } => {
            let question = why::Question { name, rtype, client, down };
            match server {
                Some(url) => why::ask_server(&question, &url, json),
                None => why::from_files(&question, &files.config(), json),
            }
        }
        Command::Probe { check, address, service, json, files } => {
            let subject = match (service, check, address) {
                (Some(service), ..) => probe::Subject::Service(service),
                (None, check, target) => {
                    probe::Subject::Target { check: check.unwrap_or_default(), target: target.unwrap_or_default() }
                }
            };
            probe::run(&subject, &files.config(), json)
        }
        Command::Resume { service, region, server, files } => resume::run(&service, region.as_deref(), server, &files.config()),
        Command::Unit { command: UnitCommand::List { service, json, place } } => {
            unit::list(service.as_deref(), json, &place.find())
        }
        Command::Unit { command: UnitCommand::Move { unit, region, force, place } } => {
            unit::move_unit(&unit, &region, force, &place.find())
        }
        Command::Unit { command: UnitCommand::Init { service, epoch, place } } => unit::init(&service, epoch, &place.find()),
        Command::Geoip { command: Geoip::Build { input, output } } => geoip::build(&input, &output),
        Command::Demo { listen } => demo::run(listen),
    }
}

fn parse_type(text: &str) -> Result<RrType, String> {
    text.parse().map_err(|()| format!("{text} is not a DNS type"))
}
