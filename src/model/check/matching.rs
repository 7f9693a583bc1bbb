//! What a response is held against: statuses, patterns, JSON, and the load it may tell.

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

/// What a body or an answer must contain: a text or a match of a regular expression, over bytes.
/// Equal where its expression is.
#[derive(Debug, Clone)]
pub struct Pattern(regex::bytes::Regex);

impl Pattern {
    /// How large a compiled expression may be, in bytes; the memory of a search is of this order.
    pub const SIZE_LIMIT: usize = 256 << 10;

    /// These characters, anywhere.
    pub fn text(text: &str) -> Result<Pattern, regex::Error> {
        Pattern::regex(&regex::escape(text))
    }

    /// A match of `expression`, in the syntax of the `regex` crate, whose searches take time linear in the input.
    pub fn regex(expression: &str) -> Result<Pattern, regex::Error> {
        let mut builder = regex::bytes::RegexBuilder::new(expression);
        builder
            .size_limit(Pattern::SIZE_LIMIT)
            .dfa_size_limit(Pattern::SIZE_LIMIT)
            .build()
            .map(Pattern)
    }

    /// True when `bytes` contain it.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        self.0.is_match(bytes)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.0.as_str() == other.0.as_str()
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

    /// What it points to in `document`.
    pub fn find<'d>(&self, document: &'d serde_json::Value) -> Option<&'d serde_json::Value> {
        document.pointer(&self.0)
    }
}

impl fmt::Display for JsonPointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a JSON document must hold in one place.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonRule {
    /// The place; something must be there.
    pub pointer: JsonPointer,
    /// What it must be.
    pub test: JsonTest,
}

/// What stands in one place of a JSON document must be …
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

impl Scalar {
    /// True when `value` is the same; `1` and `1.0` are.
    pub fn is(&self, value: &serde_json::Value) -> bool {
        match self {
            Scalar::Text(text) => value.as_str() == Some(text),
            Scalar::Number(number) => value.as_f64() == Some(*number),
            Scalar::Flag(flag) => value.as_bool() == Some(*flag),
        }
    }
}

/// How loaded an endpoint says it is: 0 (idle) … 1 (full), in steps of a ten-thousandth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Load(u16);

impl Load {
    const STEPS: f64 = 10_000.0;

    /// `None` below 0 and for what is no number; more than 1 is full.
    pub fn new(share: f64) -> Option<Load> {
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

    #[test]
    fn patterns_look_at_bytes() {
        assert!(Pattern::text("ok.").unwrap().matches(b"\xffit is ok."));
        assert!(!Pattern::text("ok.").unwrap().matches(b"it is okay"));
        assert!(
            Pattern::regex("(?i)^IT .* ok$")
                .unwrap()
                .matches(b"it is ok")
        );
        assert!(!Pattern::regex("^ok$").unwrap().matches(b"it is ok"));
        assert!(Pattern::regex("(").is_err());
        assert!(Pattern::regex("(a{1,500}){1,500}").is_err(), "too large");
    }
}
