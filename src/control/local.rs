//! The control socket: HTTP over a Unix socket in the state directory, for whoever may write there.
//!
//! The admin address is without passwords and so asks little. What moves units is asked here, where
//! the file system says who may.

use std::fmt;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get as on_get, post as on_post};
use axum::{Json, Router};
use serde::Deserialize;
use tokio::net::UnixListener;

use super::{
    Answered, Command, Control, OverridesStatus, Request, Started, UnitsStatus, api, ask,
    catch_panics, edge, failed, preflight, render,
};
use crate::config::{Config, NameKind, names_beginning};
use crate::model::Weight;
use crate::overrides::{Action, NoScope, OverrideRequest, Scope, Selector};
use crate::publisher::{Done, NotDone};
use crate::state::SOCKET;
use crate::units::MAX_EPOCH;

/// Its name until it may be used; as long.
const ASIDE: &str = ".control.new";
/// The longest path of a Unix socket, in octets (unix(7): `sun_path` without its last).
const LONGEST: usize = 107;

/// The shortest override; a shorter one ends before anybody sees it.
const SHORTEST_OVERRIDE: Duration = Duration::from_secs(1);
/// The longest reason, in characters.
const LONGEST_REASON: usize = 500;
/// The longest name of an operator, in characters.
const LONGEST_NAME: usize = 100;
/// The longest override with an end; a longer one must say that it has none.
const LONGEST_OVERRIDE: Duration = Duration::from_secs(3650 * 86_400);

/// Error in making the control socket.
#[derive(Debug)]
pub enum SocketError {
    /// The path has more octets than a Unix socket's may have.
    TooLong(PathBuf),
    /// The operating system refused it.
    Io(PathBuf, io::Error),
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SocketError::TooLong(path) => write!(
                f,
                "the path {} has {} octets, and a socket's path has at most {LONGEST}: choose a \
                 shorter [server] state",
                path.display(),
                path.as_os_str().len()
            ),
            SocketError::Io(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for SocketError {}

/// Makes the socket in `directory`, for this user alone, in place of any that is there.
pub fn bind(directory: &Path) -> Result<UnixListener, SocketError> {
    let (path, aside) = (directory.join(SOCKET), directory.join(ASIDE));
    // Checked here: bind(2) would fail with "invalid argument", which names no cause.
    if path.as_os_str().len() > LONGEST {
        return Err(SocketError::TooLong(path));
    }
    replace(&path, &aside).map_err(|error| SocketError::Io(path, error))
}

/// Makes the socket as `aside`, and moves it to `path`.
fn replace(path: &Path, aside: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // The socket gets its name only once its permissions keep other users out.
    let listener = UnixListener::bind(aside)?;
    fs::set_permissions(aside, Permissions::from_mode(0o600))?;
    fs::rename(aside, path)?;
    Ok(listener)
}

/// Serves it for as long as the runtime lives.
pub async fn serve(listener: UnixListener, control: Control) {
    let started = Started::from(OnceLock::from(control.clone()));
    let routes = Router::new()
        .route("/units", on_get(units))
        .route("/units/move", on_post(move_unit))
        .route("/units/init", on_post(begin))
        .route("/overrides", on_get(overrides).post(say))
        .route("/overrides/release", on_post(release))
        .route("/reload", on_post(reload))
        .route("/names", on_get(names))
        .route("/overrides/accept-loss", on_post(accept_loss))
        .layer(catch_panics(failed))
        .with_state(control)
        .merge(api::routes(started));
    edge::serve(listener, edge::LOCAL_CONNECTIONS, routes).await;
}

async fn units(State(control): State<Control>) -> Result<Response, Response> {
    Ok(Json(render(&control, UnitsStatus::new).await?).into_response())
}

/// The parameters of `/units/move`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Move {
    unit: String,
    region: String,
    #[serde(default)]
    force: bool,
}

async fn move_unit(
    State(control): State<Control>,
    Query(what): Query<Move>,
) -> Result<Response, Response> {
    let Move {
        unit,
        region,
        force,
    } = what;
    command(
        &control,
        Command::MoveUnit {
            unit,
            region,
            force,
        },
    )
    .await
}

/// The parameters of `/units/init`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Begin {
    service: String,
    epoch: Option<u64>,
}

async fn begin(
    State(control): State<Control>,
    Query(what): Query<Begin>,
) -> Result<Response, Response> {
    let Begin {
        service: name,
        epoch,
    } = what;
    let epoch = epoch.unwrap_or(1);
    if !(1..=MAX_EPOCH).contains(&epoch) {
        let why = format!("{epoch} is not an epoch: write a number from 1 to {MAX_EPOCH}\n");
        return Err((StatusCode::BAD_REQUEST, why).into_response());
    }
    command(&control, Command::BeginUnits { name, epoch }).await
}

async fn overrides(State(control): State<Control>) -> Result<Response, Response> {
    Ok(Json(render(&control, OverridesStatus::new).await?).into_response())
}

/// The parameters of `/names`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Names {
    kind: NameKind,
    #[serde(default)]
    beginning: String,
}

/// The names by which a shell completes a command. They come from the published files, so a loop
/// that is late keeps nobody at a prompt waiting.
async fn names(State(control): State<Control>, Query(wanted): Query<Names>) -> Json<Vec<String>> {
    let dataset = control.published.load().dataset.clone();
    Json(names_beginning(
        &dataset.config,
        wanted.kind,
        &wanted.beginning,
    ))
}

/// The parameters of a new override; times in seconds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Say {
    word: String,
    what: String,
    by: String,
    reason: String,
    r#for: Option<f64>,
    r#in: Option<f64>,
    #[serde(default)]
    force: bool,
    #[serde(default)]
    dry_run: bool,
}

async fn say(
    State(control): State<Control>,
    Query(said): Query<Say>,
) -> Result<Response, Response> {
    let dataset = control.published.load().dataset.clone();
    let dry_run = said.dry_run;
    let asked = read(said, &dataset.config).map_err(IntoResponse::into_response)?;
    let wish = preflight::Wish::Add(asked.clone());
    change(&control, wish, Command::Override(asked), dry_run).await
}

/// Has the loop change the overrides, unless it is a dry run, and answers with the numbers of the
/// pre-flight.
async fn change(
    control: &Control,
    wish: preflight::Wish,
    command: Command,
    dry_run: bool,
) -> Result<Response, Response> {
    let judged = preflight::begin(control, wish).await?;
    if dry_run {
        let preflight = judged.wait().await?;
        return Ok(Json(Answered {
            message: preflight.verdict(),
            numbers: Vec::new(),
            overrides: Vec::new(),
            preflight: Some(preflight),
        })
        .into_response());
    }
    // Computed beside the deed, which does not wait for it: a drain is urgent, its numbers are not.
    let result = ask(control, |reply| Request::Command { command, reply }).await?;
    Ok(answered(match result {
        Ok(done) => {
            let mut answered = describe(control, done).await?;
            answered.preflight = judged.wait().await.ok();
            Ok(answered)
        }
        Err(why) => Err(why),
    }))
}

/// Checks the parameters of a new override.
fn read(said: Say, config: &Config) -> Result<OverrideRequest, BadOverride> {
    let Some(action) = action(&said.word) else {
        return Err(BadOverride::Action(said.word));
    };
    let reason = line("the reason", &said.reason, LONGEST_REASON)?;
    if reason.is_empty() {
        return Err(BadOverride::NoReason);
    }
    let by = line("the operator's name", &said.by, LONGEST_NAME)?;
    let lasts = said.r#for.map(time).transpose()?;
    let starts_in = said.r#in.map(time).transpose()?;
    // An override of no time would be logged as begun and ended, and have changed nothing.
    if lasts.is_some_and(|lasts| lasts < SHORTEST_OVERRIDE) {
        return Err(BadOverride::TooShort);
    }
    Ok(OverrideRequest {
        action,
        scope: Scope::find(config, &said.what).map_err(BadOverride::NoScope)?,
        by,
        reason,
        starts_in: starts_in.unwrap_or_default(),
        lasts,
        force: said.force,
    })
}

/// Error in the parameters of an override.
#[derive(Debug, PartialEq)]
enum BadOverride {
    /// The action is none of those that there are.
    Action(String),
    /// Nothing has the name of its scope.
    NoScope(NoScope),
    /// There is no reason.
    NoReason,
    /// The text of a parameter has a character that does not belong into one line.
    ControlCharacter(&'static str, char),
    /// The text of a parameter has this many characters; the last number is the most.
    TooLong(&'static str, usize, usize),
    /// This number of seconds is not a time, or longer than an override may last.
    Time(f64),
    /// The override would end before anybody sees it.
    TooShort,
}

impl fmt::Display for BadOverride {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadOverride::Action(text) => write!(
                f,
                "{text} is not an override: write drain, up, down, or weight 0 to {}",
                Weight::MAX
            ),
            BadOverride::NoScope(why) => write!(f, "{why}"),
            BadOverride::NoReason => {
                f.write_str("the reason is missing: it tells other operators why")
            }
            BadOverride::ControlCharacter(what, c) => write!(
                f,
                "{what} has the control character U+{:04X}: write one line of plain text",
                u32::from(*c)
            ),
            BadOverride::TooLong(what, length, most) => {
                write!(f, "{what} has {length} characters; the limit is {most}")
            }
            BadOverride::Time(seconds) => write!(
                f,
                "{seconds} s is not a time from 0 to {} days",
                LONGEST_OVERRIDE.as_secs() / 86_400
            ),
            BadOverride::TooShort => write!(
                f,
                "an override holds for at least {} s",
                SHORTEST_OVERRIDE.as_secs()
            ),
        }
    }
}

impl IntoResponse for BadOverride {
    fn into_response(self) -> Response {
        let status = match self {
            BadOverride::NoScope(_) => StatusCode::NOT_FOUND,
            _ => StatusCode::BAD_REQUEST,
        };
        (status, format!("{self}\n")).into_response()
    }
}

/// Text for the log, for terminals and for every `why`: one line of plain text.
fn line(what: &'static str, text: &str, most: usize) -> Result<String, BadOverride> {
    let text = text.trim();
    if let Some(c) = text.chars().find(|c| breaks_line(*c)) {
        return Err(BadOverride::ControlCharacter(what, c));
    }
    let length = text.chars().count();
    if length > most {
        return Err(BadOverride::TooLong(what, length, most));
    }
    Ok(text.to_owned())
}

/// True for characters that end a line, control a terminal, or turn the direction of what follows,
/// so that a line of the log can be made to read as another.
fn breaks_line(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn time(seconds: f64) -> Result<Duration, BadOverride> {
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if time <= LONGEST_OVERRIDE => Ok(time),
        _ => Err(BadOverride::Time(seconds)),
    }
}

fn action(text: &str) -> Option<Action> {
    match text {
        "drain" => Some(Action::Drain),
        "up" => Some(Action::Up),
        "down" => Some(Action::Down),
        _ => text
            .strip_prefix("weight ")?
            .parse()
            .ok()
            .and_then(Weight::new)
            .map(Action::Weight),
    }
}

/// The parameters of `/overrides/release`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Release {
    what: String,
    #[serde(default)]
    force: bool,
    #[serde(default)]
    dry_run: bool,
}

async fn release(
    State(control): State<Control>,
    Query(what): Query<Release>,
) -> Result<Response, Response> {
    let Release {
        what,
        force,
        dry_run,
    } = what;
    let dataset = control.published.load().dataset.clone();
    // No error where nothing is found: overrides outlive the files that named their scope.
    let what = Selector::find(&dataset.config, &what);
    let wish = preflight::Wish::Release {
        what: what.clone(),
        force,
    };
    change(&control, wish, Command::Release { what, force }, dry_run).await
}

async fn accept_loss(State(control): State<Control>) -> Result<Response, Response> {
    command(&control, Command::AcceptLoss).await
}

/// The parameters of `/reload`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reload {
    #[serde(default)]
    force: bool,
}

async fn reload(
    State(control): State<Control>,
    Query(Reload { force }): Query<Reload>,
) -> Result<Response, Response> {
    let reloaded = ask(&control, |reply| Request::Reload { force, reply }).await?;
    Ok(answered(reloaded.map(|summary| Answered {
        message: summary,
        numbers: Vec::new(),
        overrides: Vec::new(),
        preflight: None,
    })))
}

/// Has the loop carry out a command, and tells what is done with the overrides that there are then.
async fn command(control: &Control, command: Command) -> Result<Response, Response> {
    let result = ask(control, |reply| Request::Command { command, reply }).await?;
    Ok(answered(match result {
        Ok(done) => Ok(describe(control, done).await?),
        Err(why) => Err(why),
    }))
}

async fn describe(control: &Control, done: Done) -> Result<Answered, Response> {
    render(control, move |view, wall| Answered::new(&done, view, wall)).await
}

/// The outcome of an operator's request, or the reason for none, in words.
fn answered(result: Result<Answered, NotDone>) -> Response {
    match result {
        Ok(answered) => Json(answered).into_response(),
        Err(why) => {
            let status = match &why {
                NotDone::NotFound(_) => StatusCode::NOT_FOUND,
                NotDone::Refused(_) => StatusCode::CONFLICT,
                // Not the operator's mistake: the same request may succeed once the disk answers.
                NotDone::NotPersisted(_) | NotDone::NotKnown(_) => StatusCode::SERVICE_UNAVAILABLE,
            };
            (status, format!("{why}\n")).into_response()
        }
    }
}
