//! The control socket: HTTP over a Unix socket in the state directory, for whoever may write there.
//!
//! The admin address is without passwords and so asks little. What moves units is asked here, where the file system says
//! who may.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get as on_get, post as on_post};
use axum::{Json, Router};
use serde::Deserialize;
use tokio::net::UnixListener;

use super::{Answered, Control, Request, ask, catch_panics, edge, status};
use crate::model::Weight;
use crate::publisher::{NotDone, OverrideRequest};
use crate::state::SOCKET;
use crate::steer::{MAX_EPOCH, Word};

/// Its name until it may be used; as long.
const ASIDE: &str = ".control.new";
/// The longest path of a Unix socket, in octets (unix(7): `sun_path` without its last).
const LONGEST: usize = 107;

/// A shorter one is over before it is seen.
const SHORTEST_OVERRIDE: Duration = Duration::from_secs(1);
/// In characters.
const LONGEST_REASON: usize = 500;
/// In characters.
const LONGEST_NAME: usize = 100;
/// Longer is for ever, and said as that.
const LONGEST_OVERRIDE: Duration = Duration::from_secs(3650 * 86_400);

/// Makes the socket in `directory`, for this user alone, in place of any that is there; a sentence where that cannot be.
pub fn bind(directory: &Path) -> Result<UnixListener, String> {
    let (path, aside) = (directory.join(SOCKET), directory.join(ASIDE));
    let length = path.as_os_str().as_bytes().len();
    if length > LONGEST {
        return Err(format!(
            "the path {} has {length} octets, and a socket's has {LONGEST} at most: choose a shorter [server] state",
            path.display()
        ));
    }
    let make = || -> io::Result<UnixListener> {
        match fs::remove_file(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // Nobody knows the name before only this user may connect.
        let listener = UnixListener::bind(&aside)?;
        fs::set_permissions(&aside, Permissions::from_mode(0o600))?;
        fs::rename(&aside, &path)?;
        Ok(listener)
    };
    make().map_err(|error| format!("{}: {error}", path.display()))
}

/// Serves it for as long as the runtime lives.
pub async fn serve(listener: UnixListener, control: Control) {
    let routes = Router::new()
        .route("/units", on_get(units))
        .route("/units/move", on_post(move_unit))
        .route("/units/init", on_post(begin))
        .route("/overrides", on_get(overrides).post(say))
        .route("/overrides/release", on_post(release))
        .route("/reload", on_post(reload))
        .route("/overrides/accept-loss", on_post(accept_loss))
        .layer(catch_panics())
        .with_state(control);
    edge::serve(listener, edge::LOCAL_CONNECTIONS, routes).await;
}

async fn units(State(control): State<Control>) -> Result<Response, Response> {
    Ok(Json(status(&control).await?.units).into_response())
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
    Ok(answered(
        ask(&control, |reply| Request::MoveUnit {
            unit,
            region,
            force,
            reply,
        })
        .await?,
    ))
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
        let why = format!("{epoch} is no epoch: they go from 1 to {MAX_EPOCH}\n");
        return Err((StatusCode::BAD_REQUEST, why).into_response());
    }
    Ok(answered(
        ask(&control, |reply| Request::BeginUnits { name, epoch, reply }).await?,
    ))
}

async fn overrides(State(control): State<Control>) -> Result<Response, Response> {
    Ok(Json(ask(&control, Request::Overrides).await?).into_response())
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
}

async fn say(
    State(control): State<Control>,
    Query(said): Query<Say>,
) -> Result<Response, Response> {
    let bad = |why: String| (StatusCode::BAD_REQUEST, format!("{why}\n")).into_response();
    let Some(word) = word(&said.word) else {
        return Err(bad(format!(
            "{} is none of drain, up, down, and weight 0 to {}",
            said.word,
            Weight::MAX
        )));
    };
    let reason = line("the reason", &said.reason, LONGEST_REASON).map_err(bad)?;
    if reason.is_empty() {
        return Err(bad(
            "a reason is to be given: it is what others see".to_owned()
        ));
    }
    let by = line("the name of who says so", &said.by, LONGEST_NAME).map_err(bad)?;
    let (lasts, starts_in) = (
        said.r#for.map(time).transpose().map_err(bad)?,
        said.r#in.map(time).transpose().map_err(bad)?,
    );
    if lasts.is_some_and(|lasts| lasts < SHORTEST_OVERRIDE) {
        return Err(bad(format!(
            "an override holds for {} s at least",
            SHORTEST_OVERRIDE.as_secs()
        )));
    }
    let (what, force) = (said.what, said.force);
    let asked = OverrideRequest {
        word,
        what,
        by,
        reason,
        starts_in: starts_in.unwrap_or_default(),
        lasts,
        force,
    };
    Ok(answered(
        ask(&control, |reply| Request::Override { asked, reply }).await?,
    ))
}

/// What stands in the log, on terminals and in every `why`: one line of plain text, or a sentence why not.
fn line(what: &str, text: &str, most: usize) -> Result<String, String> {
    let text = text.trim();
    // Those that turn the direction of what follows can make a line read as another.
    let is_control = |c: char| {
        c.is_control()
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if let Some(c) = text.chars().find(|c| is_control(*c)) {
        return Err(format!(
            "{what} has the control character U+{:04X}: it is to be one line of plain text",
            u32::from(c)
        ));
    }
    let length = text.chars().count();
    if length > most {
        return Err(format!(
            "{what} has {length} characters, and {most} are the most"
        ));
    }
    Ok(text.to_owned())
}

fn time(seconds: f64) -> Result<Duration, String> {
    let time = Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|time| *time <= LONGEST_OVERRIDE);
    time.ok_or_else(|| {
        format!(
            "{seconds} s is no time up to {} days",
            LONGEST_OVERRIDE.as_secs() / 86_400
        )
    })
}

fn word(text: &str) -> Option<Word> {
    match text {
        "drain" => Some(Word::Drain),
        "up" => Some(Word::Up),
        "down" => Some(Word::Down),
        _ => text
            .strip_prefix("weight ")?
            .parse()
            .ok()
            .and_then(Weight::new)
            .map(Word::Weight),
    }
}

/// The parameters of `/overrides/release`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Release {
    what: String,
    #[serde(default)]
    force: bool,
}

async fn release(
    State(control): State<Control>,
    Query(what): Query<Release>,
) -> Result<Response, Response> {
    let Release { what, force } = what;
    Ok(answered(
        ask(&control, |reply| Request::Release { what, force, reply }).await?,
    ))
}

async fn accept_loss(State(control): State<Control>) -> Result<Response, Response> {
    Ok(answered(ask(&control, Request::AcceptLoss).await?))
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
    let said = ask(&control, |reply| Request::Reload { force, reply }).await?;
    Ok(answered(said.map(|said| Answered {
        said,
        numbers: Vec::new(),
        overrides: Vec::new(),
    })))
}

/// The outcome of an operator's request, or the reason for none, in words.
fn answered(result: Result<Answered, NotDone>) -> Response {
    match result {
        Ok(answered) => Json(answered).into_response(),
        Err(why) => {
            let status = match &why {
                NotDone::NotFound(_) => StatusCode::NOT_FOUND,
                NotDone::Refused(_) => StatusCode::CONFLICT,
                NotDone::NotKept(_) | NotDone::NotKnown(_) => StatusCode::SERVICE_UNAVAILABLE,
            };
            (status, format!("{why}\n")).into_response()
        }
    }
}
