//! Domain names in wire format (RFC 1035 §3.1).

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use arrayvec::ArrayVec;

/// The longest name on the wire, its root label included (RFC 1035 §2.3.4).
pub const MAX_NAME: usize = 255;
/// The longest label, its length octet not counted.
pub const MAX_LABEL: usize = 63;
/// The most labels a name can have: each takes two octets at least, and the root label one.
const MAX_LABELS: usize = (MAX_NAME - 1) / 2;

/// An absolute domain name: uncompressed labels with their length octets, the root label last.
///
/// Its case is kept as written; comparison, order and hash ignore ASCII case (RFC 4343).
#[derive(Clone)]
pub struct Name(Box<[u8]>);

/// Reason why a text is not a domain name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameError {
    /// Two dots in a row, or a leading dot.
    EmptyLabel,
    /// A label of more than 63 octets.
    LabelTooLong,
    /// More than 255 octets on the wire.
    NameTooLong,
    /// A backslash at the end, or `\DDD` that is not a number up to 255.
    BadEscape,
    /// A relative name where no origin is known.
    Relative,
    /// The text is empty.
    Empty,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NameError::EmptyLabel => {
                "the name has an empty label (two dots in a row, or a leading dot)"
            }
            NameError::LabelTooLong => "a label is longer than 63 octets",
            NameError::NameTooLong => "the name is longer than 255 octets",
            NameError::BadEscape => {
                "a backslash must be followed by a character or three digits up to 255"
            }
            NameError::Relative => "the name is relative and no origin is known",
            NameError::Empty => "the name is empty",
        })
    }
}

impl std::error::Error for NameError {}

impl Name {
    /// The root.
    pub fn root() -> Name {
        Name(Box::new([0]))
    }

    /// Reads presentation format: labels, `\X` and `\DDD` escapes, `@` for the origin. A name
    /// without a final dot is relative to `origin`.
    pub fn from_text(text: &str, origin: Option<&Name>) -> Result<Name, NameError> {
        let mut wire = Vec::with_capacity(text.len() + 2 + origin.map_or(0, |o| o.0.len()));
        Name::append_text(text, origin, &mut wire)?;
        Ok(Name(wire.into()))
    }

    /// Reads a name like [`Name::from_text`] and appends its wire format to `wire`: a reader of
    /// many names makes no allocation for each. After an error `wire` holds part of the name.
    pub fn append_text(
        text: &str,
        origin: Option<&Name>,
        wire: &mut Vec<u8>,
    ) -> Result<(), NameError> {
        let start = wire.len();
        match text {
            "" => return Err(NameError::Empty),
            "." => {
                wire.push(0);
                return Ok(());
            }
            "@" => {
                wire.extend_from_slice(&origin.ok_or(NameError::Relative)?.0);
                return Ok(());
            }
            _ => {}
        }
        if append_labels(text.as_bytes(), wire)? {
            wire.push(0);
        } else {
            wire.extend_from_slice(&origin.ok_or(NameError::Relative)?.0);
        }
        if wire.len() - start > MAX_NAME {
            return Err(NameError::NameTooLong);
        }
        Ok(())
    }

    /// Takes an uncompressed wire-format name; `None` unless `wire` is exactly one.
    pub fn from_wire(wire: &[u8]) -> Option<Name> {
        let mut i = 0;
        while i < wire.len() && wire.len() <= MAX_NAME {
            match usize::from(wire[i]) {
                0 => return (i + 1 == wire.len()).then(|| Name(wire.into())),
                length if length <= MAX_LABEL => i += 1 + length,
                _ => return None,
            }
        }
        None
    }

    /// The octets on the wire, root label included; 1 … 255 of them.
    pub fn as_wire(&self) -> &[u8] {
        &self.0
    }

    /// The same name in lower case: the form the name table is keyed by.
    pub fn to_lowercase(&self) -> Name {
        // Length octets are below the letters and stay as they are.
        Name(self.0.to_ascii_lowercase().into())
    }

    /// The labels, leftmost first, the root label not among them.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &*self.0;
        std::iter::from_fn(move || {
            let (length, tail) = rest.split_first()?;
            if *length == 0 {
                return None;
            }
            let (label, tail) = tail.split_at(usize::from(*length));
            rest = tail;
            Some(label)
        })
    }

    /// The name without its leftmost label; `None` at the root.
    pub fn parent(&self) -> Option<Name> {
        let length = usize::from(self.0[0]);
        (length > 0).then(|| Name(self.0[1 + length..].into()))
    }

    /// True when the name is `ancestor` or below it.
    pub fn is_within(&self, ancestor: &Name) -> bool {
        is_within(&self.0, &ancestor.0)
    }

    /// True when an operator's `text` is this name: with a final dot or without, in any case.
    pub fn is_written(&self, text: &str) -> bool {
        let own = self.to_string();
        let own = own.strip_suffix('.').unwrap_or(&own);
        own.eq_ignore_ascii_case(text.strip_suffix('.').unwrap_or(text))
    }

    /// True for `*.something`.
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with(b"\x01*")
    }

    /// The name as an operator writes it below `origin`: `@`, `www`, or absolute with its dot.
    pub fn relative_to(&self, origin: &Name) -> String {
        if self == origin {
            return "@".to_owned();
        }
        let text = self.to_string();
        if !self.is_within(origin) || origin.0.len() == 1 {
            return text;
        }
        let tail = origin.to_string().len() + 1;
        text[..text.len() - tail].to_owned()
    }
}

/// Appends the labels that `text` writes, without the root label. Returns whether the text ends in a
/// dot, and so names the root.
fn append_labels(text: &[u8], wire: &mut Vec<u8>) -> Result<bool, NameError> {
    let start = wire.len();
    let mut label_at = start;
    wire.push(0);
    let mut i = 0;
    while i < text.len() {
        let octet = match text[i] {
            b'.' => {
                if wire.len() == label_at + 1 {
                    return Err(NameError::EmptyLabel);
                }
                i += 1;
                if i == text.len() {
                    return Ok(true);
                }
                label_at = wire.len();
                wire.push(0);
                continue;
            }
            b'\\' => {
                let (octet, length) = unescape(&text[i + 1..]).ok_or(NameError::BadEscape)?;
                i += 1 + length;
                octet
            }
            octet => {
                i += 1;
                octet
            }
        };
        wire.push(octet);
        // The lengths are checked at every octet, so that a long text costs no more than a name.
        wire[label_at] = u8::try_from(wire.len() - label_at - 1).unwrap_or(u8::MAX);
        if usize::from(wire[label_at]) > MAX_LABEL {
            return Err(NameError::LabelTooLong);
        }
        if wire.len() - start > MAX_NAME {
            return Err(NameError::NameTooLong);
        }
    }
    Ok(false)
}

/// True when `name` is `ancestor` or below it; both in uncompressed wire form, case ignored.
pub fn is_within(name: &[u8], ancestor: &[u8]) -> bool {
    let mut rest = name;
    // The root is one octet long and no ancestor is shorter, so this ends before the labels do.
    while rest.len() > ancestor.len() {
        rest = &rest[1 + usize::from(rest[0])..];
    }
    rest.eq_ignore_ascii_case(ancestor)
}

/// Canonical DNS name order (RFC 4034 §6.1) of two names in uncompressed wire form: by label from the
/// right, each as octets in lower case.
pub fn canonical_order(a: &[u8], b: &[u8]) -> Ordering {
    let (a_labels, b_labels) = (label_starts(a), label_starts(b));
    for (a_start, b_start) in a_labels.iter().rev().zip(b_labels.iter().rev()) {
        // The first octet of a label is its length, which must not decide.
        let (a_label, b_label) = (label_at(a, *a_start), label_at(b, *b_start));
        let (a_octets, b_octets) = (a_label.iter(), b_label.iter());
        match a_octets
            .map(u8::to_ascii_lowercase)
            .cmp(b_octets.map(u8::to_ascii_lowercase))
        {
            Ordering::Equal => {}
            order => return order,
        }
    }
    // "the absence of an octet sorts before a zero value octet"
    a_labels.len().cmp(&b_labels.len())
}

/// Offsets of the labels of a name in wire form, the root label not among them.
fn label_starts(name: &[u8]) -> ArrayVec<u8, MAX_LABELS> {
    let (mut starts, mut at) = (ArrayVec::new(), 0);
    while let Some(length @ 1..) = name.get(usize::from(at)) {
        starts.push(at);
        // A name has 255 octets at most, its root label included.
        at += 1 + length;
    }
    starts
}

/// The octets of the label that starts at `start`.
fn label_at(name: &[u8], start: u8) -> &[u8] {
    let start = usize::from(start);
    &name[start + 1..][..usize::from(name[start])]
}

/// The octet that stands after a backslash, `X` or `DDD`, and how many octets it took (RFC 1035 §5.1);
/// `None` where nothing follows or `DDD` is not three digits up to 255.
pub fn unescape(after: &[u8]) -> Option<(u8, usize)> {
    match after {
        [a, b, c, ..] if after[..3].iter().all(u8::is_ascii_digit) => {
            let value = u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0');
            Some((u8::try_from(value).ok()?, 3))
        }
        [digit, ..] if digit.is_ascii_digit() => None,
        [octet, ..] => Some((*octet, 1)),
        [] => None,
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Name) -> bool {
        // Length octets are at most 63, below the letters, so that folding case leaves them alone.
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Name {}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Folded octet by octet, since equal names must have equal hashes and a lower-case copy
        // would allocate.
        for octet in &self.0 {
            state.write_u8(octet.to_ascii_lowercase());
        }
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Name) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    /// Canonical DNS name order (RFC 4034 §6.1): by label from the right, case ignored.
    fn cmp(&self, other: &Name) -> Ordering {
        canonical_order(&self.0, &other.0)
    }
}

impl fmt::Display for Name {
    /// Presentation format with the final dot; octets that need it are escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.len() == 1 {
            return f.write_str(".");
        }
        for label in self.labels() {
            for octet in label {
                match octet {
                    // What a master file would read as its syntax (RFC 1035 §5.1).
                    b'.' | b'\\' | b'"' | b';' | b'(' | b')' | b'@' | b'$' => {
                        write!(f, "\\{}", *octet as char)?
                    }
                    0x21..=0x7e => write!(f, "{}", *octet as char)?,
                    other => write!(f, "\\{other:03}")?,
                }
            }
            f.write_str(".")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::from_text(text, None).unwrap()
    }

    #[test]
    fn text_and_wire_agree() {
        assert_eq!(name("www.Example.").as_wire(), b"\x03www\x07Example\0");
        assert_eq!(name(r"a\.b.\099\\.").as_wire(), b"\x03a.b\x02c\\\0");
        assert_eq!(name(r"a\.b.\099\\.").to_string(), r"a\.b.c\\.");
        assert_eq!(
            Name::from_text("www", Some(&name("example."))).unwrap(),
            name("WWW.example.")
        );
        assert_eq!(
            Name::from_text("@", Some(&name("example."))).unwrap(),
            name("example.")
        );
        assert_eq!(Name::from_wire(b"\x03www\0"), Some(name("www.")));
        assert_eq!(Name::from_wire(b"\x03www\0\0"), None);
        assert_eq!(Name::from_wire(b"\x03ww"), None);
    }

    #[test]
    fn bad_names_say_why() {
        let long = format!("{}.", "a".repeat(64));
        let deep = "abcdefg.".repeat(32);
        for (text, why) in [
            ("", NameError::Empty),
            ("a..b.", NameError::EmptyLabel),
            (".a.", NameError::EmptyLabel),
            ("a", NameError::Relative),
            (r"a\", NameError::BadEscape),
            (r"\999.", NameError::BadEscape),
            (r"\12.", NameError::BadEscape),
            (&long, NameError::LabelTooLong),
            (&deep, NameError::NameTooLong),
        ] {
            assert_eq!(Name::from_text(text, None), Err(why), "{text}");
        }
    }

    #[test]
    fn ancestry_ignores_case_and_respects_labels() {
        assert!(name("a.Example.").is_within(&name("eXample.")));
        assert!(name("example.").is_within(&name("example.")));
        assert!(!name("anexample.").is_within(&name("example.")));
        assert!(name("example.").is_within(&Name::root()));
        assert_eq!(
            name("www.gtm.example.").relative_to(&name("gtm.example.")),
            "www"
        );
        assert_eq!(name("other.").relative_to(&name("gtm.example.")), "other.");
    }
}
