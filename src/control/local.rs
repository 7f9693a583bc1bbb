//! The control socket: the API over a Unix socket in the state directory, for whoever may write there.

use std::fmt;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use axum::middleware;
use tokio::net::UnixListener;

use super::edge::{Edge, LOCAL_CONNECTIONS, LOCAL_STREAMS};
use super::gate::{self, Door};
use super::{Control, Started, api};
use crate::state::SOCKET;

/// Its name until it may be used; as long.
const ASIDE: &str = ".control.new";
/// The longest path of a Unix socket, in octets (unix(7): `sun_path` without its last).
const LONGEST: usize = 107;

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

/// Serves the API there for as long as the runtime lives.
pub async fn serve(listener: UnixListener, control: Control) {
    let gate = control.gate.clone();
    let started = Started::from(OnceLock::from(control));
    let routes =
        api::routes(started).layer(middleware::from_fn_with_state(gate.clone(), gate::gate));
    let door = Door {
        is_exposed: false,
        is_for_pushes: false,
    };
    Edge::new(LOCAL_CONNECTIONS, LOCAL_STREAMS, gate)
        .serve(listener, door, routes)
        .await;
}
