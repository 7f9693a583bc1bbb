//! Names that operators write.

use super::error::Reason;
use crate::dns::Name;

/// Reads a domain name, with or without its final dot.
pub(super) fn absolute(text: &str) -> Result<Name, Reason> {
    Name::from_text(text, Some(&Name::root()))
        .map_err(|error| Reason::BadName(text.to_owned(), error))
}

/// True when both texts are the same name, a final dot and upper case aside.
pub(super) fn is_same(name: &str, other: &str) -> bool {
    name.trim_end_matches('.')
        .eq_ignore_ascii_case(other.trim_end_matches('.'))
}
