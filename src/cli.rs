//! The command line. Exit codes: 0 done, 1 failed, 2 wrong usage.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command talks to its terminal"
)]

/// `println!` without its panic where the reader has gone: `meridian verify | head` is no failure.
macro_rules! say {
    ($($what:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($what)*);
    }};
}

mod clients;
mod demo;
mod diff;
mod geoip;
mod local;
mod log;
mod overrides;
mod probe;
mod reload;
mod resume;
mod serve;
mod simulate;
mod table;
mod terminal;
mod unit;
mod verify;
mod why;
mod work;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use local::Place;

use crate::config::is_node_name;
use crate::dns::{Prefix, RrType};
use crate::simulate::{Condition, read_share};
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
        /// What this node is called, over what the files say: so several hosts can have the same files.
        #[arg(long, value_name = "NAME", value_parser = parse_node)]
        node: Option<String>,
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
        /// What to take as down, separated by commas: regions, metros, labels as KEY:VALUE, endpoints. Without it everything is taken as up.
        #[arg(
            long,
            value_delimiter = ',',
            value_name = "NAME",
            conflicts_with = "server"
        )]
        down: Vec<String>,
        /// What to take as drained, separated by commas: regions, metros, labels as KEY:VALUE.
        #[arg(
            long,
            value_delimiter = ',',
            value_name = "NAME",
            conflicts_with = "server"
        )]
        drained: Vec<String>,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
        /// Ask a running server's admin address, e.g. http://127.0.0.1:8053, and so with health as it is now.
        #[arg(long, value_name = "URL", conflicts_with = "config")]
        server: Option<String>,
        #[command(flatten)]
        files: Files,
    },
    /// Say what losses of regions, metros and labels, one or two at once, do to the clients of every service.
    Simulate {
        /// Lose only this: regions, metros or labels (KEY:VALUE), at once where commas are between them. May be repeated.
        #[arg(long = "loss", value_name = "NAME,…")]
        losses: Vec<String>,
        /// Lose one at a time, never two.
        #[arg(long)]
        single: bool,
        /// What all clients together ask for, in the unit of the regions' capacity; by default the sum of the weights of
        /// --clients, else 100.
        #[arg(long, value_name = "NUMBER", value_parser = parse_demand)]
        demand: Option<f64>,
        /// Exit with code 1 if this happens: empty, over-capacity, moves>30%; several with commas between them.
        #[arg(long, value_name = "CONDITION,…", value_delimiter = ',', value_parser = parse_condition)]
        fail_if: Vec<Condition>,
        /// How many losses are shown of a service, and of all; 0 shows all.
        #[arg(long, value_name = "NUMBER", default_value_t = 20)]
        rows: usize,
        #[command(flatten)]
        about: About,
        #[command(flatten)]
        files: Files,
    },
    /// Say what a change of the files does to clients: whose region changes, by service and network, and which names come and go.
    Diff {
        /// The configuration before: a meridian.toml.
        old: PathBuf,
        /// The configuration after.
        new: PathBuf,
        /// How many networks that move are named of each service, the largest first.
        #[arg(long, value_name = "NUMBER", default_value_t = 5)]
        networks: usize,
        /// Exit with code 1 if more than this share of any service's clients moves, or a service is gone; e.g. 5%.
        #[arg(long, value_name = "SHARE", value_parser = read_share)]
        max_moved: Option<f64>,
        #[command(flatten)]
        about: About,
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
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
        /// The running server's admin address, e.g. http://127.0.0.1:8053; by default that of the configuration.
        #[arg(long, value_name = "URL", conflicts_with = "config")]
        server: Option<String>,
        #[command(flatten)]
        files: Files,
    },
    /// Have a running server read its files again, and wait for what comes of it; exit 1 with every diagnostic where they are refused.
    Reload {
        /// Although they remove more zones, services or names than `max_removed` allows.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        place: Place,
    },
    /// See who owns units, and move them: asks a running server by the control socket in its state directory.
    Unit {
        #[command(subcommand)]
        command: UnitCommand,
    },
    /// Take something out of use, until a time: a region, a metro, a label, a service, a pool or an endpoint.
    Drain {
        #[command(flatten)]
        terms: overrides::Terms,
        #[command(flatten)]
        place: Place,
    },
    /// Count something as up, whatever probes see, until a time.
    Up {
        #[command(flatten)]
        terms: overrides::Terms,
        #[command(flatten)]
        place: Place,
    },
    /// Count something as down, whatever probes see, until a time.
    Down {
        #[command(flatten)]
        terms: overrides::Terms,
        #[command(flatten)]
        place: Place,
    },
    /// Give something another weight, until a time.
    Weight {
        /// 0 to 1000000.
        weight: u32,
        #[command(flatten)]
        terms: overrides::Terms,
        #[command(flatten)]
        place: Place,
    },
    /// List what operators have said by drain, up, down and weight.
    Overrides {
        /// Print one JSON list.
        #[arg(long)]
        json: bool,
        /// Go on with those that are listed, after others were lost with a damaged file; the server is not ready before.
        #[arg(long)]
        accept_loss: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Take an override back.
    Release {
        /// Its number, or what it is about: then all that was said of that.
        what: String,
        /// Although it leaves a service fewer regions up than its `min_regions`.
        #[arg(long)]
        force: bool,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
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
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
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
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },
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

/// Whom a simulation is about.
#[derive(Debug, clap::Args)]
struct About {
    /// Count these clients, prefix,weight a line, instead of all IPv4 addresses.
    #[arg(long, value_name = "FILE")]
    clients: Option<PathBuf>,
    /// Look at this service only, e.g. www.gtm.example. May be repeated.
    #[arg(long = "service", value_name = "NAME")]
    services: Vec<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Files {
    /// The configuration; by default ./meridian.toml, then /etc/meridian/meridian.toml.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Files {
    /// The configuration named, or the first default that is there; a sentence where none is.
    fn config(&self) -> Result<PathBuf, String> {
        const DEFAULTS: [&str; 2] = ["meridian.toml", "/etc/meridian/meridian.toml"];
        // One that cannot be looked at is there, and reading it says why it cannot.
        let default = || {
            DEFAULTS
                .into_iter()
                .map(PathBuf::from)
                .find(|path| path.try_exists().unwrap_or(true))
        };
        self.config.clone().or_else(default).ok_or_else(|| {
            format!(
                "there is no configuration: neither ./{} nor {} is there; name one by --config FILE",
                DEFAULTS[0], DEFAULTS[1]
            )
        })
    }
}

/// Why a gate has not judged anything: text for standard error.
enum Failure {
    /// The files are broken.
    Files(String),
    /// The command asks for what there is not.
    Usage(String),
}

impl Failure {
    fn end(self) -> ExitCode {
        let (Failure::Files(text) | Failure::Usage(text)) = &self;
        eprint!("{text}");
        if matches!(self, Failure::Files(_)) {
            ExitCode::FAILURE
        } else {
            ExitCode::from(2)
        }
    }
}

/// Runs the command that `arguments` name, the program's own name first.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut command = Arguments::command();
    let parsed = command
        .try_get_matches_from_mut(arguments)
        .and_then(|matches| {
            let name = matches.subcommand_name().unwrap_or_default().to_owned();
            Ok((name, Arguments::from_arg_matches(&matches)?))
        });
    let (name, arguments) = match parsed {
        Ok(parsed) => parsed,
        Err(usage) => {
            // Help and version are not errors and go to standard output with code 0.
            let _ = usage.print();
            return ExitCode::from(usage.exit_code().clamp(0, 2) as u8);
        }
    };
    run_command(arguments.command).unwrap_or_else(|why| {
        eprintln!("meridian {name}: {why}");
        ExitCode::FAILURE
    })
}

/// The error is that there is no configuration.
fn run_command(command: Command) -> Result<ExitCode, String> {
    Ok(match command {
        Command::Serve {
            init_units,
            node,
            files,
        } => serve::run(&files.config()?, init_units, node),
        Command::Verify { files, json } => verify::run(&files.config()?, json),
        Command::Why {
            name,
            rtype,
            client,
            down,
            drained,
            json,
            server,
            files,
        } => {
            let question = why::Question {
                name,
                rtype,
                client,
                down,
                drained,
            };
            match server {
                Some(url) => why::ask_server(&question, &url, json),
                None => why::from_files(&question, &files.config()?, json),
            }
        }
        Command::Simulate {
            losses,
            single,
            demand,
            fail_if,
            rows,
            about,
            files,
        } => simulate::run(
            &simulate::Question {
                losses,
                single,
                demand,
                fail_if,
                rows,
                about,
            },
            &files.config()?,
        ),
        Command::Diff {
            old,
            new,
            networks,
            max_moved,
            about,
        } => diff::run(
            &diff::Question {
                networks,
                max_moved,
                about,
            },
            &old,
            &new,
        ),
        Command::Probe {
            check,
            address,
            service,
            json,
            files,
        } => {
            let subject = match (service, check, address) {
                (Some(service), ..) => probe::Subject::Service(service),
                (None, check, target) => probe::Subject::Target {
                    check: check.unwrap_or_default(),
                    target: target.unwrap_or_default(),
                },
            };
            match files.config() {
                Ok(config) => probe::run(&subject, &config, json),
                Err(why) => probe::not_probed(&why),
            }
        }
        Command::Resume {
            service,
            region,
            json,
            server,
            files,
        } => {
            let url = match server {
                Some(url) => url,
                None => resume::admin_url(&files.config()?)?,
            };
            resume::run(&service, region.as_deref(), json, &url)
        }
        Command::Reload { force, place } => reload::run(force, place),
        Command::Unit {
            command:
                UnitCommand::List {
                    service,
                    json,
                    place,
                },
        } => unit::list(service.as_deref(), json, place),
        Command::Unit {
            command:
                UnitCommand::Move {
                    unit,
                    region,
                    force,
                    json,
                    place,
                },
        } => unit::move_unit(&unit, &region, force, json, place),
        Command::Unit {
            command:
                UnitCommand::Init {
                    service,
                    epoch,
                    json,
                    place,
                },
        } => unit::init(&service, epoch, json, place),
        Command::Drain { terms, place } => overrides::say_word("drain", &terms, place),
        Command::Up { terms, place } => overrides::say_word("up", &terms, place),
        Command::Down { terms, place } => overrides::say_word("down", &terms, place),
        Command::Weight {
            weight,
            terms,
            place,
        } => overrides::say_word(&format!("weight {weight}"), &terms, place),
        Command::Overrides {
            json,
            accept_loss: true,
            place,
        } => overrides::accept_loss(json, place),
        Command::Overrides {
            json,
            accept_loss: false,
            place,
        } => overrides::list(json, place),
        Command::Release {
            what,
            force,
            json,
            place,
        } => overrides::release(&what, force, json, place),
        Command::Geoip {
            command: Geoip::Build { input, output },
        } => geoip::build(&input, &output),
        Command::Demo { listen } => demo::run(listen),
    })
}

fn parse_node(text: &str) -> Result<String, String> {
    let hint = "up to 64 letters, digits and punctuation, without spaces";
    if is_node_name(text) {
        Ok(text.to_owned())
    } else {
        Err(format!("a node is called by {hint}"))
    }
}

fn parse_type(text: &str) -> Result<RrType, String> {
    text.parse()
        .map_err(|()| format!("{text} is not a DNS type"))
}

fn parse_condition(text: &str) -> Result<Condition, String> {
    text.trim().parse()
}

fn parse_demand(text: &str) -> Result<f64, String> {
    let number = text
        .parse()
        .ok()
        .filter(|number| (0.0..=1e15).contains(number));
    number.ok_or_else(|| "is not a number from 0 to 1e15".to_owned())
}
