//! Errors of commands, and their exit codes.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tracing_subscriber::filter::ParseError;

use super::terminal::has_color;
use crate::control::{AdmittanceError, RequestError};
use crate::daemon;
use crate::diag::{Diagnostics, Sources, UnknownName, render_text};
use crate::dns::NameError;
use crate::server::BindError;
use crate::state;

/// Error that ended a command, with the exit code that it gives.
#[derive(Debug)]
pub(super) struct Error {
    reason: Box<Reason>,
    code: u8,
}

/// Reasons for a command to end without doing its work.
#[derive(Debug)]
pub(super) enum Reason {
    /// No configuration is named, and neither default exists.
    NoConfiguration,
    /// The files have these errors.
    Files(Diagnostics, Sources),
    /// The configuration has no admin address.
    NoAdmin,
    /// None of the admin addresses is one of loopback.
    NoLocalAdmin,
    /// This text is not a domain name.
    BadName(String, NameError),
    /// No such service, check, region or endpoint is configured.
    Unknown(UnknownName),
    /// An option has an unusable value.
    Option(&'static str, Box<Reason>),
    /// Endpoints cannot be drained from the command line of `why`.
    DrainedEndpoint,
    /// No region has a `capacity` that could be exceeded.
    NoCapacity,
    /// This check waits for reports; it sends nothing.
    PushCheck(String),
    /// This text is neither an address nor an absolute name.
    BadTarget(String),
    /// The file or directory cannot be used.
    Io(PathBuf, io::Error),
    /// The operating system refused what this command needs.
    System(&'static str, io::Error),
    /// `MERIDIAN_LOG` is not a filter.
    LogFilter(BadFilter),
    /// No state directory could be found.
    NoState(NoState),
    /// A running server did not do what it was asked.
    Request(RequestError),
    /// A running server answered in a form that this version cannot read.
    OtherVersion(serde_json::Error),
    /// A file that `--ca` or `--token-file` names is of no use.
    Admittance(AdmittanceError),
    /// This server failed, among several.
    Server(String, Box<Reason>),
    /// All of several servers failed, each for its reason.
    AllFailed(Vec<Reason>),
    /// A server failed before any of them acted.
    NothingDone(Box<Reason>),
    /// A server failed after others had acted.
    PartlyDone(Box<Reason>),
    /// No unit and no service with units has this name.
    NoUnit(String),
    /// A toy region of the demo cannot listen.
    Toy(&'static str, BindError),
    /// The server did not start.
    Daemon(daemon::Failure),
}

/// Error in a log filter.
#[derive(Debug)]
pub(super) enum BadFilter {
    /// This part is neither a level nor TARGET=LEVEL.
    Part(String),
    /// The parts are fine one by one, but not together.
    Whole(ParseError),
}

impl fmt::Display for BadFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadFilter::Part(part) => write!(
                f,
                "{part:?} is neither a level (error, warn, info, debug, trace, off) nor \
                 TARGET=LEVEL, as in info,meridian::probe=debug"
            ),
            BadFilter::Whole(error) => error.fmt(f),
        }
    }
}

/// Reasons for finding no state directory.
#[derive(Debug)]
pub(super) enum NoState {
    /// This user may not look into the default directory.
    Hidden,
    /// The configuration at this path names none, and the default does not exist.
    NotNamed(PathBuf),
    /// There is no configuration either.
    NoConfiguration,
}

impl Error {
    /// Exit code of a command that failed.
    const FAILED: u8 = 1;
    /// Exit code of wrong usage, and of a gate that could judge nothing.
    const USAGE: u8 = 2;

    /// Prints the error of `command` to standard error; returns its exit code.
    pub(super) fn report(&self, command: &str) -> ExitCode {
        match &*self.reason {
            // Diagnostics name their files, and failures of the daemon their program.
            Reason::Files(diagnostics, sources) => {
                eprint!(
                    "{}",
                    render_text(diagnostics, sources, has_color(&io::stderr()))
                );
            }
            Reason::Daemon(failure) => eprintln!("{failure}"),
            reason => eprintln!("meridian {command}: {}", reason.to_string().trim_end()),
        }
        ExitCode::from(self.code)
    }
}

impl<R: Into<Reason>> From<R> for Error {
    fn from(reason: R) -> Error {
        Error {
            reason: Box::new(reason.into()),
            code: Error::FAILED,
        }
    }
}

impl Reason {
    /// Error of wrong usage, or of a gate that could judge nothing, for this reason.
    pub(super) fn into_usage(self) -> Error {
        Error {
            reason: Box::new(self),
            code: Error::USAGE,
        }
    }

    /// The same reason, about the value of `option`.
    pub(super) fn of_option(self, option: &'static str) -> Reason {
        Reason::Option(option, Box::new(self))
    }

    /// Failure to use the file or directory at `path`.
    pub(super) fn io(path: &Path, error: io::Error) -> Reason {
        Reason::Io(path.to_owned(), error)
    }
}

impl From<UnknownName> for Reason {
    fn from(unknown: UnknownName) -> Reason {
        Reason::Unknown(unknown)
    }
}

impl From<RequestError> for Reason {
    fn from(error: RequestError) -> Reason {
        Reason::Request(error)
    }
}

impl From<NoState> for Reason {
    fn from(missing: NoState) -> Reason {
        Reason::NoState(missing)
    }
}

impl From<daemon::Failure> for Reason {
    fn from(failure: daemon::Failure) -> Reason {
        Reason::Daemon(failure)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NoConfiguration => f.write_str(
                "there is no configuration: neither ./meridian.toml nor \
                 /etc/meridian/meridian.toml exists; name one with --config FILE",
            ),
            Reason::Files(diagnostics, sources) => {
                f.write_str(render_text(diagnostics, sources, false).trim_end())
            }
            Reason::NoAdmin => f.write_str(
                "the configuration has no [admin] listen: name the server with --server",
            ),
            Reason::NoLocalAdmin => f.write_str(
                "no address of [admin] listen is one of loopback: name the server with --server, \
                 and a token for it with --token-file",
            ),
            Reason::BadName(text, error) => write!(f, "{text}: {error}"),
            Reason::Unknown(unknown) => unknown.fmt(f),
            Reason::Option(option, reason) => write!(f, "{option}: {reason}"),
            Reason::DrainedEndpoint => {
                f.write_str("only regions, metros and labels can be drained here, not endpoints")
            }
            Reason::NoCapacity => f.write_str(
                "no region has a `capacity`, so no region can ever exceed it; \
                 give the regions one, or drop the condition",
            ),
            Reason::PushCheck(check) => write!(
                f,
                "{check} is a push check: its endpoints report themselves, so there is nothing to \
                 probe"
            ),
            Reason::BadTarget(text) => {
                write!(
                    f,
                    "{text} is neither an address nor a name that ends in a dot"
                )
            }
            Reason::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Reason::System(what, error) => write!(f, "cannot {what}: {error}"),
            Reason::LogFilter(filter) => write!(f, "MERIDIAN_LOG: {filter}"),
            Reason::NoState(missing) => missing.fmt(f),
            Reason::Request(error) => error.fmt(f),
            Reason::OtherVersion(error) => write!(
                f,
                "the server answered in a form that this version cannot read; is it of another \
                 version? ({error})"
            ),
            Reason::Admittance(error) => error.fmt(f),
            Reason::Server(server, reason) => write!(f, "{server}: {reason}"),
            Reason::AllFailed(reasons) => {
                f.write_str("no server has answered:")?;
                reasons
                    .iter()
                    .try_for_each(|reason| write!(f, "\n{reason}"))
            }
            Reason::NothingDone(reason) => write!(f, "{reason}; nothing is done anywhere"),
            Reason::PartlyDone(reason) => write!(
                f,
                "{reason}; the servers above have done it, this one and those after it have not"
            ),
            Reason::NoUnit(name) => write!(
                f,
                "there is no unit {name}, and no service with route = \"unit\" has that name"
            ),
            Reason::Toy(region, error) => {
                write!(f, "the toy region {region}: {error} ({})", error.hint())
            }
            Reason::Daemon(failure) => failure.fmt(f),
        }
    }
}

impl fmt::Display for NoState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let default = state::DEFAULT_STATE;
        match self {
            NoState::Hidden => write!(
                f,
                "this user may not read {default}: run the command as root (sudo)"
            )?,
            NoState::NotNamed(config) => write!(
                f,
                "{} names no state directory, and {default} does not exist: set [server] state",
                config.display()
            )?,
            NoState::NoConfiguration => Reason::NoConfiguration.fmt(f)?,
        }
        f.write_str(", or name the server's state directory with --state DIR")
    }
}
