//! Requests to running servers through their control sockets.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::error::{Error, NoState, Reason};
use super::files::Files;
use crate::control::{Answered, get_local, post_local};
use crate::loader;
use crate::state;

/// The time that a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Options that name the control sockets of running servers.
#[derive(Debug, clap::Args)]
pub(super) struct Place {
    /// State directory of the server [default: the one in the configuration, else
    /// /var/lib/meridian].
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    pub(super) state: Option<PathBuf>,
    /// Control socket of a server. May be repeated: the servers are asked in turn, once all of
    /// them have shown that they answer.
    #[arg(
        long = "server",
        value_name = "unix:PATH",
        value_parser = parse_socket,
        conflicts_with_all = ["state", "config"]
    )]
    pub(super) servers: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) files: Files,
}

fn parse_socket(text: &str) -> Result<PathBuf, &'static str> {
    if text.starts_with("http:") || text.starts_with("https:") {
        return Err(
            "the admin address has no passwords and takes no such command: name the control \
             socket, as unix:/var/lib/meridian/control.sock; reach one on another host with \
             `ssh -L`",
        );
    }
    match text.strip_prefix("unix:") {
        Some(path) if !path.is_empty() => Ok(path.into()),
        _ => Err("write unix: and the path of a control socket"),
    }
}

impl Place {
    /// Paths of the sockets, at least one.
    pub(super) fn sockets(self) -> Result<Vec<PathBuf>, Reason> {
        if !self.servers.is_empty() {
            return Ok(self.servers);
        }
        let state = match self.state {
            Some(state) => state,
            None => state_of(&self.files)?,
        };
        Ok(vec![state.join(state::SOCKET)])
    }
}

/// State directory of the server with these files, found by the server's own rule.
fn state_of(files: &Files) -> Result<PathBuf, Reason> {
    let config = files.config();
    if let (Some(_), Ok(path)) = (&files.config, &config)
        && let Err(error) = std::fs::metadata(path)
    {
        return Err(Reason::io(path, error));
    }
    // A configuration with errors still names its state directory: an operator needs the control
    // socket most while the files are broken.
    let named = config.as_deref().ok().and_then(loader::find_state);
    if let Some(state) = state::state_directory(named) {
        return Ok(state);
    }
    let missing = match config {
        _ if state::is_default_state_hidden() => NoState::Hidden,
        Ok(config) => NoState::NotNamed(config),
        Err(_) => NoState::NoConfiguration,
    };
    Err(missing.into())
}

/// Answers of the servers to GET `path` (`/path?query`), each with its socket.
pub(super) fn look<T: DeserializeOwned>(
    place: Place,
    path: &str,
) -> Result<Vec<(PathBuf, T)>, Reason> {
    let mut answers = Vec::new();
    for socket in place.sockets()? {
        let text = get_local(&socket, path)?;
        answers.push((socket, read(&text)?));
    }
    Ok(answers)
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, Reason> {
    serde_json::from_str(text).map_err(Reason::OtherVersion)
}

/// JSON of several servers: an object by their sockets, or with one server its value alone.
pub(super) fn by_server(mut values: Vec<(PathBuf, Value)>) -> Value {
    if values.len() == 1 {
        return values.remove(0).1;
    }
    let mut object = serde_json::Map::new();
    for (socket, value) in values {
        object.insert(socket.display().to_string(), value);
    }
    object.into()
}

/// Text of several servers, each below its socket, or with one server its text alone.
pub(super) fn headed(texts: &[(PathBuf, String)]) -> String {
    if let [(_, text)] = texts {
        return text.clone();
    }
    let mut parts = Vec::new();
    for (socket, text) in texts {
        parts.push(format!("{}:\n{text}", socket.display()));
    }
    parts.join("\n")
}

/// Posts `path` (`/path?query`) to each server in turn, up to the first that refuses, and prints
/// the results.
pub(super) fn request(place: Place, path: &str, as_json: bool) -> Result<ExitCode, Error> {
    request_within(PATIENCE, place, path, as_json)
}

/// The same for a request that may take a server as long as `time`.
pub(super) fn request_within(
    time: Duration,
    place: Place,
    path: &str,
    as_json: bool,
) -> Result<ExitCode, Error> {
    let mut results = Results::default();
    let ended = place
        .sockets()
        .and_then(|sockets| results.collect(time, &sockets, path));
    if as_json {
        let failed = ended
            .as_ref()
            .err()
            .map(|reason| json!({ "server": results.failed, "error": reason.to_string() }));
        print_line!(
            "{:#}",
            json!({ "done": results.done_json(), "failed": failed })
        );
    } else if !results.done.is_empty() {
        print_line!("{}", headed(&results.texts()));
    }
    match ended {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(reason) if results.done.is_empty() => Err(reason.into()),
        Err(reason) => Err(Reason::PartlyDone(Box::new(reason)).into()),
    }
}

/// The reason with the socket of the server that gave it, unless it names the server itself.
fn located(reason: Reason, socket: &Path) -> Reason {
    match reason {
        Reason::Request(error) if !error.is_refusal() => Reason::Request(error),
        reason => Reason::Server(socket.to_owned(), Box::new(reason)),
    }
}

/// Results of one request to several servers.
#[derive(Default)]
struct Results {
    done: Vec<(PathBuf, Answered)>,
    /// The server that failed, after which none was asked.
    failed: Option<PathBuf>,
}

impl Results {
    fn collect(&mut self, time: Duration, sockets: &[PathBuf], path: &str) -> Result<(), Reason> {
        if sockets.len() > 1 {
            // An operator wants all or none: a server that cannot answer is found before the
            // first one has acted.
            for socket in sockets {
                if let Err(error) = get_local(socket, "/overrides") {
                    self.failed = Some(socket.clone());
                    return Err(Reason::NothingDone(Box::new(error.into())));
                }
            }
        }
        for socket in sockets {
            let answer = post_local(time, socket, path)
                .map_err(Reason::from)
                .and_then(|text| read(&text));
            match answer {
                Ok(answered) => self.done.push((socket.clone(), answered)),
                Err(reason) => {
                    self.failed = Some(socket.clone());
                    return Err(match sockets {
                        [_] => reason,
                        _ => located(reason, socket),
                    });
                }
            }
        }
        Ok(())
    }

    fn done_json(&self) -> Vec<Value> {
        let mut objects = Vec::new();
        for (socket, answered) in &self.done {
            objects.push(json!({
                "server": socket,
                "message": answered.message,
                "numbers": answered.numbers,
                "overrides": answered.overrides,
            }));
        }
        objects
    }

    fn texts(&self) -> Vec<(PathBuf, String)> {
        let mut texts = Vec::new();
        for (socket, answered) in &self.done {
            texts.push((socket.clone(), answered.message.clone()));
        }
        texts
    }
}
