//! Patterns compiled: the one place where the limits of regular expressions are set.

use regex::bytes::{Regex, RegexBuilder};

use crate::model::Pattern;

/// Limit on the size of a compiled expression, in bytes; the memory of a search is of this order.
pub(super) const SIZE_LIMIT: usize = 256 << 10;

/// Compiles `pattern`.
///
/// # Errors
/// When it is no regular expression in the syntax of the `regex` crate, or too large compiled. A
/// pattern of a [`super::Config`] has been compiled once, and is neither.
pub fn compile_pattern(pattern: &Pattern) -> Result<Regex, regex::Error> {
    let expression = match pattern {
        Pattern::Text(text) => &regex::escape(text),
        Pattern::Regex(expression) => expression,
    };
    RegexBuilder::new(expression)
        .size_limit(SIZE_LIMIT)
        .dfa_size_limit(SIZE_LIMIT)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_look_at_bytes() {
        let text = |text: &str| compile_pattern(&Pattern::text(text)).unwrap();
        let regex = |expression: &str| compile_pattern(&Pattern::regex(expression));
        assert!(text("ok.").is_match(b"\xffit is ok."));
        assert!(!text("ok.").is_match(b"it is okay"));
        assert!(regex("(?i)^IT .* ok$").unwrap().is_match(b"it is ok"));
        assert!(!regex("^ok$").unwrap().is_match(b"it is ok"));
        assert!(regex("(").is_err());
        assert!(regex("(a{1,500}){1,500}").is_err(), "too large");
    }
}
