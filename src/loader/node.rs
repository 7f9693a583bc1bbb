//! This node's name: the one of `serve --node`, else that of the files, else the host's.

use std::sync::OnceLock;

use crate::config::{Config, is_node_name};

/// The node name given at the start of this process; it holds for every reload.
static GIVEN: OnceLock<String> = OnceLock::new();

/// Names this node for as long as the process lives, whatever its files say. Only the first call counts.
pub fn name_node(name: String) {
    // An error means that a name was given already, and that one stays.
    let _ = GIVEN.set(name);
}

/// Puts the name that was given over that of the files.
pub(super) fn rename(config: &mut Config) {
    if let Some(name) = GIVEN.get() {
        config.server.node.clone_from(name);
    }
}

/// The host's name as the kernel has it; `localhost` where it is none that a node may have.
pub(super) fn host_name() -> String {
    let name = nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok());
    name.filter(|name| is_node_name(name))
        .unwrap_or_else(|| "localhost".to_owned())
}
