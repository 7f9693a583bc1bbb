//! `meridian complete`: the words that may follow, for the completions of shells.
//!
//! The scripts in `completions/` call it at every press of the key, so it ends within [`PATIENCE`],
//! prints candidates or nothing, and never fails: an error has no place in a line that somebody
//! edits.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;
use std::{panic, thread};

use clap::builder::ValueHint;
use clap::{Arg, Command};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate, complete};
use serde_json::Value;

use super::error::Error;
use super::files::{self, Files};
use super::local::{AdmittanceFiles, Place};
use crate::config::{NameKind, names_beginning};
use crate::control::{Server, get_within, percent_encode};

/// The time after which nothing is offered; a longer wait feels like a hung shell.
const PATIENCE: Duration = Duration::from_secs(1);
/// The time that a running server may take of it; its files may still be read after that.
const SERVER_PATIENCE: Duration = Duration::from_millis(300);

/// The line in place of candidates by which a script offers files: a shell completes its own
/// quoting, tildes and variables better than anybody else.
const FILES: &str = ":files";

/// Options of `meridian complete`.
#[derive(Debug, clap::Args)]
pub(super) struct Complete {
    /// Words of the command line up to the cursor, the command itself first.
    #[arg(last = true, required = true)]
    words: Vec<OsString>,
}

/// A list from which the values of an argument come.
#[derive(Debug, Clone, Copy)]
enum List {
    /// Names of the configuration.
    Names(NameKind),
    /// Several such names, separated by commas.
    Several(NameKind),
    /// Ids of the overrides that are set.
    Overrides,
}

/// Arguments whose values are known, by their id: of one command, or of every one.
const LISTS: [(Option<&str>, &str, List); 16] = [
    (Some("release"), "what", List::Overrides),
    (Some("start"), "target", List::Names(NameKind::Scope)),
    (Some("why"), "name", List::Names(NameKind::Service)),
    (Some("set"), "name", List::Names(NameKind::Service)),
    (Some("clear"), "name", List::Names(NameKind::Service)),
    (Some("probe"), "address", List::Names(NameKind::Endpoint)),
    (None, "what", List::Names(NameKind::Scope)),
    (None, "region", List::Names(NameKind::Region)),
    (None, "service", List::Names(NameKind::Service)),
    (None, "services", List::Names(NameKind::Service)),
    (None, "unit", List::Names(NameKind::Unit)),
    (None, "check", List::Names(NameKind::Check)),
    (None, "down", List::Several(NameKind::Part)),
    (None, "drained", List::Several(NameKind::Place)),
    (None, "losses", List::Several(NameKind::Place)),
    (None, "loss", List::Several(NameKind::Place)),
];

impl Complete {
    /// Prints a candidate per line, followed by a tab and its help where it has any.
    pub(super) fn run(self) -> Result<ExitCode, Error> {
        // A fault here must not be printed between the letters of a command.
        panic::set_hook(Box::new(|_| ()));
        let (sender, receiver) = mpsc::channel();
        // On a thread of its own: a file system that hangs holds the thread, and not the shell.
        thread::spawn(move || sender.send(lines(self.words)));
        for line in receiver.recv_timeout(PATIENCE).unwrap_or_default() {
            print_line!("{line}");
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Lines for the word that is typed, the last of `words`.
fn lines(words: Vec<OsString>) -> Vec<String> {
    let Some(last) = words.len().checked_sub(1) else {
        return Vec::new();
    };
    let is_empty = words[last].is_empty();
    let mut command = with_lists(super::command(), &Context::read(&words));
    let candidates = complete(&mut command, words, last, None).unwrap_or_default();
    let mut lines = Vec::new();
    for candidate in candidates {
        if candidate.is_hide_set() {
            continue;
        }
        let Some(value) = candidate.get_value().to_str() else {
            continue;
        };
        if value.ends_with(FILES) {
            return vec![FILES.to_owned()];
        }
        // The script reads lines, and a terminal would obey what else a name may contain.
        if value.chars().any(char::is_control) {
            continue;
        }
        let help = candidate.get_help().map(ToString::to_string);
        lines.push(match help.as_deref().and_then(|help| help.lines().next()) {
            Some(help) => format!("{value}\t{help}"),
            None => value.to_owned(),
        });
    }
    // Options are shown after a dash: in front of names they would bury them.
    if is_empty && lines.iter().any(|line| !line.starts_with('-')) {
        lines.retain(|line| !line.starts_with('-'));
    }
    lines
}

/// The command and all below it, whose arguments know their values.
fn with_lists(command: Command, context: &Context) -> Command {
    let name = command.get_name().to_owned();
    let command = command.mut_args(|arg| with_list(arg, &name, context));
    command.mut_subcommands(|inner| with_lists(inner, context))
}

fn with_list(arg: Arg, command: &str, context: &Context) -> Arg {
    let row = LISTS
        .iter()
        .find(|(of, id, _)| *id == arg.get_id().as_str() && of.is_none_or(|of| of == command));
    if let Some((.., list)) = row {
        let (list, context) = (*list, context.clone());
        let values = move |typed: &OsStr| context.candidates(list, typed);
        return arg.add(ArgValueCompleter::new(values));
    }
    match arg.get_value_hint() {
        ValueHint::AnyPath | ValueHint::FilePath | ValueHint::DirPath => {
            arg.add(ArgValueCompleter::new(offer_files))
        }
        _ => arg,
    }
}

fn offer_files(_: &OsStr) -> Vec<CompletionCandidate> {
    vec![CompletionCandidate::new(FILES)]
}

/// The servers and files that a command line names, as far as it is typed.
#[derive(Debug, Clone, Default)]
struct Context {
    config: Option<PathBuf>,
    state: Option<PathBuf>,
    server: Option<Server>,
    ca: Option<PathBuf>,
    token_file: Option<PathBuf>,
    /// False for a command that reads other files than the server's.
    asks_server: bool,
}

impl Context {
    fn read(words: &[OsString]) -> Context {
        let mut context = Context::default();
        let typed = &words[..words.len() - 1];
        for (at, word) in typed.iter().enumerate() {
            let Some(word) = word.to_str() else { continue };
            let (option, value) = match word.split_once('=') {
                Some((option, value)) => (option, Some(value.into())),
                None => (word, typed.get(at + 1).map(PathBuf::from)),
            };
            match option {
                "--config" => context.config = value,
                "--state" => context.state = value,
                "--server" => context.server = value.and_then(server_of),
                "--ca" => context.ca = value,
                "--token-file" => context.token_file = value,
                _ => {}
            }
        }
        context.asks_server = talks_to_servers(typed)
            || context.server.is_some()
            || (context.config.is_none() && !Path::new(files::DEFAULTS[0]).exists());
        context
    }

    fn candidates(&self, list: List, typed: &OsStr) -> Vec<CompletionCandidate> {
        let Some(typed) = typed.to_str() else {
            return Vec::new();
        };
        let values = match list {
            List::Names(kind) => self.names(kind, typed),
            List::Several(kind) => {
                let (before, last) = match typed.rfind(',') {
                    Some(comma) => typed.split_at(comma + 1),
                    None => ("", typed),
                };
                let mut values = self.names(kind, last);
                for value in &mut values {
                    value.insert_str(0, before);
                }
                values
            }
            List::Overrides => return self.overrides(typed),
        };
        values.into_iter().map(CompletionCandidate::new).collect()
    }

    /// Names from the running server, or from the files where it does not answer in time.
    fn names(&self, kind: NameKind, beginning: &str) -> Vec<String> {
        let path = format!(
            "/v1/names?kind={}&beginning={}",
            kind.word(),
            percent_encode(beginning)
        );
        if self.asks_server
            && let Some(Value::Array(names)) = self.ask(&path)
        {
            return names
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect();
        }
        match self.files().config().and_then(|path| files::config(&path)) {
            Ok(config) => names_beginning(&config, kind, beginning),
            Err(_) => Vec::new(),
        }
    }

    /// Ids of the overrides, each with its sentence; only a server knows them.
    fn overrides(&self, beginning: &str) -> Vec<CompletionCandidate> {
        let status = self.ask("/v1/overrides").unwrap_or_default();
        let overrides = status["overrides"].as_array().cloned().unwrap_or_default();
        let mut candidates = Vec::new();
        for own in &overrides {
            let text = |key: &str| own[key].as_str().unwrap_or_default().to_owned();
            let id = text("id");
            if id.starts_with(beginning) {
                let of = format!("{} {}", text("scope"), text("name"));
                let help = format!("{} of {of}: {}", text("action"), text("reason"));
                candidates.push(CompletionCandidate::new(id).help(Some(help.into())));
            }
        }
        candidates
    }

    /// The answer of the server to GET `path`.
    fn ask(&self, path: &str) -> Option<Value> {
        let text = get_within(SERVER_PATIENCE, &self.server()?, path).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// The server, found as the command itself will find it.
    fn server(&self) -> Option<Server> {
        let place = Place {
            state: self.state.clone(),
            servers: self.server.clone().into_iter().collect(),
            admittance: AdmittanceFiles {
                ca: self.ca.clone(),
                token_file: self.token_file.clone(),
            },
            files: self.files(),
        };
        place.servers().ok()?.into_iter().next()
    }

    fn files(&self) -> Files {
        Files {
            config: self.config.clone(),
        }
    }
}

fn server_of(server: PathBuf) -> Option<Server> {
    server.to_str()?.parse().ok()
}

/// True where the command that is typed asks a running server without being told to.
fn talks_to_servers(words: &[OsString]) -> bool {
    let root = super::command();
    let mut command = &root;
    for word in words.iter().filter_map(|word| word.to_str()) {
        if let Some(inner) = command.find_subcommand(word) {
            command = inner;
        }
    }
    command.get_arguments().any(|arg| arg.get_id() == "state")
}
