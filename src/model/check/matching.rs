//! The expectations of a response: statuses, patterns, JSON, and the load it may tell.

use std::fmt;

/// An inclusive range of status codes: `"204"` is one, `"2xx"` a hundred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusRange {
    /// First status that passes, 100 … 599.
    pub first: u16,
    /// Last status that passes.
    pub last: u16,
}

impl StatusRange {
    /// True when `status` passes.
    pub fn contains(&self, status: u16) -> bool {
        (self.first..=self.last).contains(&status)
    }
}

/// Text that a body or an answer must contain, over bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// These characters, anywhere.
    Text(String),
    /// A match of this expression, in the syntax of the `regex` crate, whose searches take time
    /// linear in the input.
    Regex(String),
}

impl Pattern {
    /// These characters, anywhere.
    pub fn text(text: impl Into<String>) -> Pattern {
        Pattern::Text(text.into())
    }

    /// A match of `expression`.
    pub fn regex(expression: impl Into<String>) -> Pattern {
        Pattern::Regex(expression.into())
    }
}

/// A place in a JSON document (RFC 6901).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonPointer(String);

impl JsonPointer {
    /// `None` where `text` is no JSON pointer: it is empty, or starts with a slash and has only `~0` and `~1` after a tilde.
    pub fn new(text: &str) -> Option<JsonPointer> {
        let escapes = text
            .split('~')
            .skip(1)
            .all(|rest| rest.starts_with(['0', '1']));
        (escapes && (text.is_empty() || text.starts_with('/')))
            .then(|| JsonPointer(text.to_owned()))
    }

    /// The pointer as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JsonPointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A rule for one place of a JSON document.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonRule {
    /// The place; something must be there.
    pub pointer: JsonPointer,
    /// The test of what is there.
    pub test: JsonTest,
}

/// A test of the value in one place of a JSON document: it must be …
#[derive(Debug, Clone, PartialEq)]
pub enum JsonTest {
    /// … anything.
    Present,
    /// … a number inside these bounds, themselves included.
    Between {
        /// The least; −∞ where none is set.
        min: f64,
        /// The most; +∞ where none is set.
        max: f64,
    },
    /// … this value.
    Equals(Scalar),
    /// … any other value.
    Differs(Scalar),
}

/// A value of JSON that is neither a list nor an object.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// A string.
    Text(String),
    /// A number.
    Number(f64),
    /// `true` or `false`.
    Flag(bool),
}

/// The load that an endpoint reports: 0 (idle) … 1 (full), in steps of a ten-thousandth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Load(u16);

impl Load {
    const STEPS: f64 = 10_000.0;

    /// `None` below 0 and for what is no number; more than 1 is full.
    pub fn new(share: f64) -> Option<Load> {
        // 10 000 at most, and what is no number fails the comparison.
        (share >= 0.0).then(|| Load((share.min(1.0) * Load::STEPS).round() as u16))
    }

    /// 0.0 … 1.0.
    pub fn share(self) -> f64 {
        f64::from(self.0) / Load::STEPS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_read_as_the_rfc_has_them() {
        for good in ["", "/", "/a/0", "/a~0b~1c", "/ä b"] {
            assert!(JsonPointer::new(good).is_some(), "{good}");
        }
        for bad in ["a", "a/b", "#/a", "/a~", "/a~2", "$.a"] {
            assert!(JsonPointer::new(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_load_keeps_four_digits_and_its_range() {
        assert_eq!(Load::new(0.73215).map(Load::share), Some(0.7322));
        assert_eq!(Load::new(7.0).map(Load::share), Some(1.0));
        assert_eq!(Load::new(-0.1), None);
        assert_eq!(Load::new(f64::NAN), None);
    }
}
