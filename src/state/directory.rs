//! The state directory itself: nobody else may write there, and what writes cut short left behind goes.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::files::UNFINISHED;
use super::last_good::LAST_GOOD;

/// The directories inside.
const INSIDE: [&str; 2] = [LAST_GOOD, "last-good/files"];

/// The reason not to use `directory`, as a sentence: others could change what is kept there. `None`
/// where it is good, or not there.
pub fn objection(directory: &Path) -> Option<String> {
    objection_of(nix::unistd::geteuid().as_raw(), directory)
}

/// The same for the server of this directory where root asks: root looks after a service that has a
/// user of its own, and the directory belongs to that user.
pub fn service_objection(directory: &Path) -> Option<String> {
    let mut user = nix::unistd::geteuid().as_raw();
    if user == 0 {
        user = fs::metadata(directory).map_or(user, |metadata| metadata.uid());
    }
    objection_of(user, directory)
}

/// The reason for `user` not to use it.
fn objection_of(user: u32, directory: &Path) -> Option<String> {
    let shown = directory.display();
    // systemd's own StateDirectory is a link that belongs to root, where the service has a user made
    // for it.
    if let Ok(link) = fs::symlink_metadata(directory)
        && link.is_symlink()
        && !is_ours(user, &link)
    {
        return Some(format!(
            "the state directory {shown} is a link of user {}, who may point it elsewhere",
            link.uid()
        ));
    }
    for name in INSIDE {
        let path = directory.join(name);
        if path.is_symlink() {
            return Some(format!(
                "{} in the state directory is a link: remove it",
                path.display()
            ));
        }
    }
    // Whoever may write to a directory inside can put other files there, whoever owns the one around
    // it.
    objection_to(user, directory).or_else(|| {
        INSIDE
            .iter()
            .find_map(|name| objection_to(user, &directory.join(name)))
    })
}

/// The reason not to use one directory, whatever is around it or inside.
fn objection_to(user: u32, path: &Path) -> Option<String> {
    let metadata = fs::metadata(path).ok().filter(Metadata::is_dir)?;
    let shown = path.display();
    if !is_ours(user, &metadata) {
        let owner = metadata.uid();
        return Some(format!(
            "the state directory {shown} belongs to user {owner}: run as that user, or name another"
        ));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o022 == 0 {
        return None;
    }
    Some(format!(
        "others may write to the state directory {shown} (mode {mode:04o}): `chmod go-w {shown}`, \
         or name a directory below it, which is made for this user alone"
    ))
}

/// True where a file belongs to `user`, or to root.
fn is_ours(user: u32, metadata: &Metadata) -> bool {
    // Root may write everywhere anyway, and makes the directory in packages and units.
    [0, user].contains(&metadata.uid())
}

/// Removes what writes that were cut short left in `directory`, which nobody else writes to.
pub fn sweep(directory: &Path) {
    for place in [directory.to_owned(), directory.join(INSIDE[0])] {
        // A directory that cannot be listed has nothing to sweep: it is made by the first write, or
        // that write tells what is wrong.
        let entries = fs::read_dir(&place).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| is_unfinished(&entry.file_name())) {
            // What is left over takes room and no more, so that the start goes on.
            if let Err(error) = fs::remove_file(entry.path()) {
                tracing::warn!(
                    "leftover file not removed: {}: {error}",
                    entry.path().display()
                );
            }
        }
    }
}

fn is_unfinished(name: &OsStr) -> bool {
    name.as_bytes().starts_with(UNFINISHED.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_directory_that_others_may_write_to_is_refused_and_so_is_a_link_inside() {
        let root = tempfile::tempdir().unwrap();
        let state = root.path().join("state");
        assert_eq!(objection(&state), None, "it is made");
        fs::create_dir_all(state.join("last-good/files")).unwrap();
        let mode = |path: &Path, mode: u32| {
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap()
        };
        for (bits, good) in [
            (0o700, true),
            (0o755, true),
            (0o775, false),
            (0o757, false),
            (0o1777, false),
        ] {
            mode(&state, bits);
            assert_eq!(objection(&state).is_none(), good, "{bits:o}");
        }
        assert!(objection(&state).unwrap().contains("(mode 1777)"));
        mode(&state, 0o700);
        mode(&state.join("last-good"), 0o777);
        assert!(objection(&state).unwrap().contains("last-good (mode 0777)"));
        fs::remove_dir_all(state.join("last-good")).unwrap();
        symlink(root.path(), state.join("last-good")).unwrap();
        assert!(objection(&state).unwrap().ends_with("is a link: remove it"));
        fs::remove_file(state.join("last-good")).unwrap();
        // As systemd's, which is its own.
        symlink(&state, root.path().join("link")).unwrap();
        assert_eq!(objection(&root.path().join("link")), None);
        if nix::unistd::geteuid().is_root() {
            std::os::unix::fs::lchown(root.path().join("link"), Some(65534), None).unwrap();
            assert!(
                objection(&root.path().join("link"))
                    .unwrap()
                    .contains("is a link of user 65534")
            );
            std::os::unix::fs::chown(&state, Some(65534), None).unwrap();
            assert!(objection(&state).unwrap().contains("belongs to user 65534"));
            assert_eq!(service_objection(&state), None, "it is the service's own");
            mode(&state, 0o777);
            assert!(service_objection(&state).unwrap().contains("(mode 0777)"));
        }
    }

    #[test]
    fn what_writes_cut_short_left_behind_is_removed() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("last-good")).unwrap();
        for name in [".new-abc", "last-good/.new-def", "units.json", ".newer"] {
            fs::write(root.path().join(name), "half").unwrap();
        }
        sweep(root.path());
        let left = |name: &str| root.path().join(name).exists();
        assert_eq!(
            [".new-abc", "last-good/.new-def", "units.json", ".newer"].map(left),
            [false, false, true, true]
        );
    }
}
