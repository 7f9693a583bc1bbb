//! Common ground of the commands for a running server: where its control socket is, and how it is asked.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Files;
use crate::control::{Answered, get_local, post_local};
use crate::loader;
use crate::state;

/// The time that a server may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the control sockets of running servers are.
#[derive(Debug, clap::Args)]
pub(super) struct Place {
    /// The server's state directory; by default what the configuration names, else /var/lib/meridian.
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    state: Option<PathBuf>,
    /// A server's control socket. May be repeated: each is asked in turn, and none before all have answered.
    #[arg(long = "server", value_name = "unix:PATH", value_parser = parse_socket, conflicts_with_all = ["state", "config"])]
    servers: Vec<PathBuf>,
    #[command(flatten)]
    files: Files,
}

fn parse_socket(text: &str) -> Result<PathBuf, String> {
    if text.starts_with("http:") || text.starts_with("https:") {
        return Err("the admin address has no passwords and takes no such command: name the control socket, as \
                    unix:/var/lib/meridian/control.sock; one of another host by `ssh -L`"
            .to_owned());
    }
    let path = text.strip_prefix("unix:").filter(|path| !path.is_empty());
    path.map(PathBuf::from)
        .ok_or_else(|| "write unix: and the path of a control socket".to_owned())
}

impl Place {
    /// The sockets to ask, at least one.
    fn sockets(self) -> Result<Vec<PathBuf>, String> {
        if !self.servers.is_empty() {
            return Ok(self.servers);
        }
        let state = self.state.map_or_else(|| state_of(&self.files), Ok)?;
        Ok(vec![state.join(state::SOCKET)])
    }
}

/// The state directory of the server that these files are of, by the server's own rule.
fn state_of(files: &Files) -> Result<PathBuf, String> {
    let config = files.config();
    if let (Some(named), Ok(path)) = (&files.config, &config)
        && let Err(error) = std::fs::metadata(path)
    {
        return Err(format!("{}: {error}", named.display()));
    }
    let named = config.as_deref().ok().and_then(loader::find_state);
    let or_state = "or name the server's state directory by --state DIR";
    match (state::state_directory(named), config) {
        (Some(state), _) => Ok(state),
        (None, _) if state::is_default_state_hidden() => Err(format!(
            "{} is not for this user: be root (sudo), {or_state}",
            state::DEFAULT_STATE
        )),
        (None, Ok(config)) => Err(format!(
            "{} names no state directory, and there is no {}: write [server] state, {or_state}",
            config.display(),
            state::DEFAULT_STATE
        )),
        (None, Err(why)) => Err(format!("{why}; {or_state}")),
    }
}

/// The answers of the servers to `path` (`/path?query`), by their sockets.
pub(super) fn look<T: DeserializeOwned>(
    place: Place,
    path: &str,
) -> Result<Vec<(PathBuf, T)>, String> {
    let ask = |socket: PathBuf| {
        let text = get_local(&socket, path)?;
        let read = serde_json::from_str(&text)
            .map_err(|error| format!("the server is of another version: {error}"))?;
        Ok((socket, read))
    };
    place.sockets()?.into_iter().map(ask).collect()
}

/// What was looked at as JSON: it itself, or with several servers an object by their sockets.
pub(super) fn by_server(mut looked: Vec<(PathBuf, Value)>) -> Value {
    if looked.len() == 1 {
        return looked.remove(0).1;
    }
    Value::Object(
        looked
            .into_iter()
            .map(|(socket, value)| (socket.display().to_string(), value))
            .collect(),
    )
}

/// The text of each, below its socket where there are several.
pub(super) fn headed(texts: &[(PathBuf, String)]) -> String {
    match texts {
        [(_, text)] => text.clone(),
        texts => texts
            .iter()
            .map(|(socket, text)| format!("{}:\n{text}", socket.display()))
            .collect::<Vec<_>>()
            .join("\n"),
    }
}

/// Prints what was looked at.
pub(super) fn show(command: &str, shown: Result<String, String>) -> ExitCode {
    match shown {
        Ok(text) => {
            say!("{text}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("meridian {command}: {}", why.trim_end());
            ExitCode::FAILURE
        }
    }
}

/// Has each server do what `path` (`/path?query`) says, in turn, up to the first that does not; prints what came of it.
pub(super) fn tell(command: &str, place: Place, path: &str, as_json: bool) -> ExitCode {
    tell_within(PATIENCE, command, place, path, as_json)
}

/// The same for what may take a server as long as `time`.
pub(super) fn tell_within(
    time: Duration,
    command: &str,
    place: Place,
    path: &str,
    as_json: bool,
) -> ExitCode {
    let (done, failed) = match place.sockets() {
        Ok(sockets) => tell_each(time, &sockets, path),
        Err(why) => (Vec::new(), Some((None, why))),
    };
    if as_json {
        let object = |(socket, answered): &(PathBuf, Answered)| {
            let Answered {
                said,
                numbers,
                overrides,
            } = answered;
            json!({ "server": socket, "said": said, "numbers": numbers, "overrides": overrides })
        };
        let failed = failed
            .as_ref()
            .map(|(socket, why)| json!({ "server": socket, "error": why }));
        say!(
            "{:#}",
            json!({ "done": done.iter().map(object).collect::<Vec<_>>(), "failed": failed })
        );
    } else {
        let texts: Vec<_> = done
            .iter()
            .map(|(socket, answered)| (socket.clone(), answered.said.clone()))
            .collect();
        if !texts.is_empty() {
            say!("{}", headed(&texts));
        }
    }
    let Some((_, why)) = failed else {
        return ExitCode::SUCCESS;
    };
    let also = if done.is_empty() {
        ""
    } else {
        "; the servers above have done it, this one and those after it have not"
    };
    eprintln!("meridian {command}: {}{also}", why.trim_end());
    ExitCode::FAILURE
}

type Failed = (Option<PathBuf>, String);

fn tell_each(
    time: Duration,
    sockets: &[PathBuf],
    path: &str,
) -> (Vec<(PathBuf, Answered)>, Option<Failed>) {
    // With one server its own words are enough.
    let named = |socket: &Path, why: String| match sockets {
        [_] => why,
        _ if why.starts_with(&*socket.to_string_lossy()) => why,
        _ => format!("{}: {why}", socket.display()),
    };
    let fail = |socket: &PathBuf, why: String| Some((Some(socket.clone()), named(socket, why)));
    if sockets.len() > 1
        && let Some((socket, why)) = sockets
            .iter()
            .find_map(|socket| Some((socket, get_local(socket, "/overrides").err()?)))
    {
        return (
            Vec::new(),
            fail(socket, format!("{why}; nothing is done anywhere")),
        );
    }
    let mut done = Vec::new();
    for socket in sockets {
        let answered = post_local(time, socket, path).and_then(|text| {
            serde_json::from_str(&text)
                .map_err(|error| format!("the server is of another version: {error}"))
        });
        match answered {
            Ok(answered) => done.push((socket.clone(), answered)),
            Err(why) => return (done, fail(socket, why)),
        }
    }
    (done, None)
}
