//! The place of the state directory.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::OnceLock;

/// The name of the control socket in the state directory.
pub const SOCKET: &str = "control.sock";

/// The state directory that the systemd unit makes.
pub const DEFAULT_STATE: &str = "/var/lib/meridian";

/// The state directory, for the server and for the commands that ask it: the one that `[server]
/// state` names; else the one that systemd passes as STATE_DIRECTORY, the first of several; else
/// [`DEFAULT_STATE`], where it was there when the process first asked and its user may list it.
/// Without any of these nothing is kept.
pub fn state_directory(named: Option<PathBuf>) -> Option<PathBuf> {
    named.or_else(passed_state).or_else(default_state)
}

/// The first directory that systemd passes.
fn passed_state() -> Option<PathBuf> {
    let all = std::env::var_os("STATE_DIRECTORY")?;
    // systemd separates several directories by colons.
    let first = all.as_bytes().split(|octet| *octet == b':').next()?;
    (!first.is_empty()).then(|| PathBuf::from(OsStr::from_bytes(first)))
}

/// The default, looked for once: the answer stays the same while the process lives, and no later
/// look can hang.
fn default_state() -> Option<PathBuf> {
    static FOUND: OnceLock<bool> = OnceLock::new();
    FOUND
        .get_or_init(|| fs::read_dir(DEFAULT_STATE).is_ok())
        .then(|| DEFAULT_STATE.into())
}

/// True where [`DEFAULT_STATE`] is there, and not for this user: what is kept is another's.
pub fn is_default_state_hidden() -> bool {
    fs::read_dir(DEFAULT_STATE).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
}
