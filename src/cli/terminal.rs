//! Colours and progress, where a terminal is to be shown them.

use std::io::IsTerminal;

/// True where `stream` takes colour: a terminal that knows how to, unless `NO_COLOR` is set to
/// anything (no-color.org).
pub(super) fn has_color(stream: &impl IsTerminal) -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && is_smart(stream)
}

/// True where `stream` is a terminal on which a line can be written over.
pub(super) fn is_smart(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}
