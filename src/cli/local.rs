//! Requests to running servers.

use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::error::{Error, NoState, Reason};
use super::files::Files;
use crate::control::api::written::Written;
use crate::control::{Admittance, BadServer, RequestError, Server, delete, get, post_within};
use crate::loader;
use crate::state;

/// The time that a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Options that name running servers.
#[derive(Debug, clap::Args)]
pub(super) struct Place {
    /// State directory of the server [default: the one in the configuration, else
    /// /var/lib/meridian].
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    pub(super) state: Option<PathBuf>,
    /// Control socket or admin address of a server, e.g. https://gtm.example.net:8053. May be
    /// repeated: what changes something is asked of the servers in turn, once all of them have
    /// shown that they answer.
    #[arg(
        long = "server",
        value_name = "URL|unix:PATH",
        value_parser = parse_server,
        conflicts_with_all = ["state", "config"]
    )]
    pub(super) servers: Vec<Server>,
    #[command(flatten)]
    pub(super) admittance: AdmittanceFiles,
    #[command(flatten)]
    pub(super) files: Files,
}

/// Options of commands that ask servers at their admin addresses.
#[derive(Debug, Default, clap::Args)]
pub(super) struct AdmittanceFiles {
    /// File with the certificates, in PEM, of the authorities that https:// servers are to have
    /// theirs from [default: the system's authorities].
    #[arg(long, value_name = "FILE", requires = "servers")]
    pub(super) ca: Option<PathBuf>,
    /// File with the token that lets this command in at https:// servers; not readable by
    /// everybody.
    #[arg(long, value_name = "FILE", requires = "servers")]
    pub(super) token_file: Option<PathBuf>,
}

impl AdmittanceFiles {
    /// The servers, to which the files are shown.
    pub(super) fn show_to(&self, servers: &[Server]) -> Result<Vec<Server>, Reason> {
        let (ca, token_file) = (self.ca.as_deref(), self.token_file.as_deref());
        let admittance = Admittance::load(ca, token_file).map_err(Reason::Admittance)?;
        let with = |server: &Server| server.clone().with(admittance.clone());
        Ok(servers.iter().map(with).collect())
    }
}

/// Reads the value of `--server`.
pub(super) fn parse_server(text: &str) -> Result<Server, BadServer> {
    text.parse()
}

impl Place {
    /// The servers, at least one.
    pub(super) fn servers(&self) -> Result<Vec<Server>, Reason> {
        if !self.servers.is_empty() {
            return self.admittance.show_to(&self.servers);
        }
        Ok(vec![Server::socket(self.state()?.join(state::SOCKET))])
    }

    /// State directory of the server on this host.
    pub(super) fn state(&self) -> Result<PathBuf, Reason> {
        match &self.state {
            Some(state) => Ok(state.clone()),
            None => state_of(&self.files),
        }
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

/// Answers of servers, and the failures of others.
pub(super) struct Answers<T> {
    /// The servers that answered.
    pub(super) answered: Vec<(Server, T)>,
    /// The others, of several.
    failed: Vec<(Server, Reason)>,
}

/// Answers of the servers to GET `path` (`/path?query`): all are asked, whatever becomes of one.
///
/// # Errors
/// When no server has answered.
pub(super) fn look<T: DeserializeOwned + Send>(
    place: &Place,
    path: &str,
) -> Result<Answers<T>, Reason> {
    let ask = |server: &Server| {
        get(server, path)
            .map_err(Reason::from)
            .and_then(|text| read(&text))
    };
    look_with(&place.servers()?, ask)
}

/// Answers of `servers` that `ask` gets, each on a thread of its own.
///
/// # Errors
/// When no server has answered.
pub(super) fn look_with<T: Send>(
    servers: &[Server],
    ask: impl Fn(&Server) -> Result<T, Reason> + Sync,
) -> Result<Answers<T>, Reason> {
    let mut answers = Answers {
        answered: Vec::new(),
        failed: Vec::new(),
    };
    let ask = &ask;
    let asked: Vec<Result<T, Reason>> = thread::scope(|scope| {
        let threads: Vec<_> = servers
            .iter()
            .map(|server| scope.spawn(move || ask(server)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("asking does not panic"))
            .collect()
    });
    for (server, answer) in servers.iter().zip(asked) {
        match answer {
            Ok(answer) => answers.answered.push((server.clone(), answer)),
            // With one server there is no other that could have failed.
            Err(reason) if servers.len() == 1 => return Err(reason),
            Err(reason) => answers
                .failed
                .push((server.clone(), located(reason, server))),
        }
    }
    if answers.answered.is_empty() {
        let reasons = answers
            .failed
            .into_iter()
            .map(|(_, reason)| reason)
            .collect();
        return Err(Reason::AllFailed(reasons));
    }
    Ok(answers)
}

impl<T> Answers<T> {
    /// Prints the answers, as JSON by `value` or else as `text`, and the failures; the exit code
    /// tells of the latter.
    pub(super) fn print(
        self,
        as_json: bool,
        value: impl Fn(&T) -> Value,
        text: impl Fn(&T) -> String,
    ) -> ExitCode {
        if as_json {
            print_line!("{:#}", self.by_server(value));
        } else {
            let texts: Vec<_> = self
                .answered
                .iter()
                .map(|(server, answer)| (server.clone(), text(answer)))
                .collect();
            print_line!("{}", headed(&texts, self.failed.is_empty()));
        }
        self.report()
    }

    /// The servers that failed, and why.
    pub(super) fn failed(&self) -> &[(Server, Reason)] {
        &self.failed
    }

    /// Prints the failures; the exit code tells of them.
    pub(super) fn report(&self) -> ExitCode {
        for (_, reason) in &self.failed {
            eprintln!("meridian: {reason}");
        }
        match self.failed.is_empty() {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        }
    }

    /// JSON of several servers: an object by their addresses, with an `error` for each that failed;
    /// with one server its value alone.
    fn by_server(&self, value: impl Fn(&T) -> Value) -> Value {
        if let ([(_, answer)], []) = (&*self.answered, &*self.failed) {
            return value(answer);
        }
        let mut object = Map::new();
        for (server, answer) in &self.answered {
            object.insert(server.to_string(), value(answer));
        }
        for (server, reason) in &self.failed {
            object.insert(server.to_string(), json!({ "error": reason.to_string() }));
        }
        object.into()
    }
}

/// Reads the JSON of an answer.
pub(super) fn read<T: DeserializeOwned>(text: &str) -> Result<T, Reason> {
    serde_json::from_str(text).map_err(Reason::OtherVersion)
}

/// Text of several servers, each below its address; with one server, that `is_only` one, its text alone.
fn headed(texts: &[(Server, String)], is_only: bool) -> String {
    if let ([(_, text)], true) = (texts, is_only) {
        return text.clone();
    }
    let mut parts = Vec::new();
    for (server, text) in texts {
        parts.push(format!("{server}:\n{text}"));
    }
    parts.join("\n")
}

/// A request that changes something.
#[derive(Debug)]
pub(super) enum Change {
    /// POST of a body to a path.
    Post(String, Value),
    /// DELETE of a path.
    Delete(String),
}

impl Change {
    /// Sends it; the server may take as long as `time` for a POST.
    fn send(&self, time: Duration, server: &Server) -> Result<String, RequestError> {
        match self {
            Change::Post(path, body) => post_within(time, server, path, Some(body)),
            Change::Delete(path) => delete(server, path),
        }
    }
}

/// Sends `change` to each server in turn, up to the first that refuses, and prints the results.
pub(super) fn request(place: &Place, change: &Change, as_json: bool) -> Result<ExitCode, Error> {
    request_within(PATIENCE, place, change, as_json)
}

/// The same for a request that may take a server as long as `time`.
pub(super) fn request_within(
    time: Duration,
    place: &Place,
    change: &Change,
    as_json: bool,
) -> Result<ExitCode, Error> {
    let mut results = Results::default();
    let ended = place
        .servers()
        .and_then(|servers| results.collect(time, &servers, change));
    if as_json {
        let failed = ended.as_ref().err().map(|reason| {
            let server = results.failed.as_ref().map(Server::to_string);
            json!({ "server": server, "error": reason.to_string() })
        });
        print_line!(
            "{:#}",
            json!({ "done": results.done_json(), "failed": failed })
        );
    } else if !results.done.is_empty() {
        print_line!("{}", headed(&results.texts(), results.done.len() == 1));
    }
    match ended {
        // A dry run that would be refused has an answer, and is no success.
        Ok(()) if results.is_refused() => Ok(ExitCode::FAILURE),
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(reason) if results.done.is_empty() => Err(reason.into()),
        Err(reason) => Err(Reason::PartlyDone(Box::new(reason)).into()),
    }
}

/// The reason with the server that gave it, unless it names the server itself.
fn located(reason: Reason, server: &Server) -> Reason {
    match reason {
        Reason::Request(error) if !error.is_refusal() => Reason::Request(error),
        reason => Reason::Server(server.to_string(), Box::new(reason)),
    }
}

/// Results of one request to several servers.
#[derive(Default)]
struct Results {
    done: Vec<(Server, Written)>,
    /// The server that failed, after which none was asked.
    failed: Option<Server>,
}

impl Results {
    fn collect(
        &mut self,
        time: Duration,
        servers: &[Server],
        change: &Change,
    ) -> Result<(), Reason> {
        if servers.len() > 1 {
            // An operator wants all or none: a server that cannot answer is found before the
            // first one has acted.
            for server in servers {
                if let Err(error) = get(server, "/v1/overrides") {
                    self.failed = Some(server.clone());
                    return Err(Reason::NothingDone(Box::new(error.into())));
                }
            }
        }
        for server in servers {
            let answer = change
                .send(time, server)
                .map_err(Reason::from)
                .and_then(|text| read(&text));
            match answer {
                Ok(answered) => self.done.push((server.clone(), answered)),
                Err(reason) => {
                    self.failed = Some(server.clone());
                    return Err(match servers {
                        [_] => reason,
                        _ => located(reason, server),
                    });
                }
            }
        }
        Ok(())
    }

    /// True where a server would refuse what it was only asked about.
    fn is_refused(&self) -> bool {
        let mut asked = self.done.iter().filter(|(_, own)| own.ids.is_empty());
        asked.any(|(_, own)| own.preflight.as_ref().is_some_and(|own| !own.accepted))
    }

    fn done_json(&self) -> Vec<Value> {
        let mut objects = Vec::new();
        for (server, answered) in &self.done {
            objects.push(json!({
                "server": server.to_string(),
                "message": answered.message,
                "revision": answered.revision,
                "ids": answered.ids,
                "overrides": answered.overrides,
                "preflight": answered.preflight,
                "diagnostics": answered.diagnostics,
            }));
        }
        objects
    }

    fn texts(&self) -> Vec<(Server, String)> {
        let mut texts = Vec::new();
        for (server, answered) in &self.done {
            let mut text = answered.message.clone();
            for line in answered.preflight.iter().flat_map(|own| &own.lines) {
                text += &format!("\n{line}");
            }
            for fault in &answered.diagnostics {
                text += &format!("\n{fault}");
            }
            texts.push((server.clone(), text));
        }
        texts
    }
}
