//! `$GENERATE`: ranges and templates, as BIND reads them.
//!
//! ```text
//! $GENERATE 1-254     host-$     A 192.0.2.$
//! $GENERATE 0-255/16  ${0,2,x}   PTR net-${0,3,d}.example.com.
//! ```
//! In a template `$` is the number, `${offset,width,base}` the number plus an offset, filled up to
//! a width, in base `d`, `o`, `x`, `X`, or as nibbles with dots, lowest first (`n`, `N`: for
//! ip6.arpa). `\$` is a dollar sign.

use std::fmt::{self, Write as _};

/// The form of a directive, for hints.
pub(super) const FORM: &str = "write it like: $GENERATE 1-254 host-$ A 192.0.2.$ (or 1-254/2, and ${offset,width,base} with base d, o, x, X, n or N)";
/// The widest number.
const MAX_WIDTH: usize = 255;

/// A range or template that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BadGenerate {
    /// The text is no `start-stop` or `start-stop/step`.
    NoRange(String),
    /// The range ends before it starts.
    Backwards {
        range: String,
        start: u32,
        stop: u32,
    },
    /// The step is 0.
    NoStep(String),
    /// A `${` without its `}`.
    Unclosed(String),
    /// The modifiers between the braces are not `offset,width,base`.
    Modifiers(String),
}

impl fmt::Display for BadGenerate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadGenerate::NoRange(text) => write!(f, "{text:?} is not a range of numbers"),
            BadGenerate::Backwards { range, start, stop } => write!(
                f,
                "the range {range:?} ends at {stop}, before its start {start}"
            ),
            BadGenerate::NoStep(range) => write!(f, "the range {range:?} has the step 0"),
            BadGenerate::Unclosed(text) => write!(f, "the ${{ in {text:?} is never closed"),
            BadGenerate::Modifiers(modifiers) => {
                write!(f, "${{{modifiers}}} is not ${{offset,width,base}}")
            }
        }
    }
}

/// The numbers of one `$GENERATE`, `start-stop` or `start-stop/step`, from 0 to 2147483647.
#[derive(Debug, Clone)]
pub(super) struct Range {
    next: u32,
    stop: u32,
    step: u32,
}

impl Range {
    /// Reads a range.
    pub(super) fn read(text: &str) -> Result<Range, BadGenerate> {
        let (range, step) = text.split_once('/').unwrap_or((text, "1"));
        let (start, stop) = range.split_once('-').unwrap_or((range, ""));
        let (Some(start), Some(stop), Some(step)) = (natural(start), natural(stop), natural(step))
        else {
            return Err(BadGenerate::NoRange(text.to_owned()));
        };
        if step == 0 {
            return Err(BadGenerate::NoStep(text.to_owned()));
        }
        if start > stop {
            let range = text.to_owned();
            return Err(BadGenerate::Backwards { range, start, stop });
        }
        Ok(Range {
            next: start,
            stop,
            step,
        })
    }

    /// The number of numbers.
    pub(super) fn len(&self) -> usize {
        ((self.stop - self.next) / self.step + 1) as usize
    }
}

/// Parses a number below 2^31, without a sign.
fn natural(text: &str) -> Option<u32> {
    let number: u32 = text.parse().ok()?;
    (number <= i32::MAX.unsigned_abs() && !text.starts_with('+')).then_some(number)
}

impl Iterator for Range {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let number = (self.next <= self.stop).then_some(self.next)?;
        // Both are below 2^31.
        self.next = number + self.step;
        Some(number)
    }
}

/// A text with places for the number.
#[derive(Debug)]
pub(super) struct Template(Vec<Part>);

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Number {
        offset: i64,
        width: usize,
        base: char,
    },
}

impl Template {
    /// Reads a template.
    pub(super) fn read(text: &str) -> Result<Template, BadGenerate> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['$', '\\']) {
            plain.push_str(&rest[..at]);
            let after = &rest[at + 1..];
            if rest.as_bytes()[at] == b'\\' {
                // Any other escape is that of the record, which is read later.
                let escaped = after.chars().next();
                if escaped != Some('$') {
                    plain.push('\\');
                }
                plain.extend(escaped);
                rest = &after[escaped.map_or(0, char::len_utf8)..];
            } else if let Some(after) = after.strip_prefix('$') {
                // An older spelling of the dollar sign.
                plain.push('$');
                rest = after;
            } else {
                if !plain.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut plain)));
                }
                let part;
                (part, rest) = read_number(after, text)?;
                parts.push(part);
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Template(parts))
    }

    /// The text for one number.
    pub(super) fn fill(&self, number: u32) -> String {
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Number {
                    offset,
                    width,
                    base,
                } => write_number(i64::from(number) + offset, *width, *base, &mut out),
            }
        }
        out
    }
}

/// Reads what may follow a `$`, modifiers in braces; gives the text after them. `text` is the whole
/// template.
fn read_number<'t>(after: &'t str, text: &str) -> Result<(Part, &'t str), BadGenerate> {
    let Some(modifiers) = after.strip_prefix('{') else {
        let plain = Part::Number {
            offset: 0,
            width: 0,
            base: 'd',
        };
        return Ok((plain, after));
    };
    let Some((modifiers, after)) = modifiers.split_once('}') else {
        return Err(BadGenerate::Unclosed(text.to_owned()));
    };
    match number(modifiers) {
        Some(part) => Ok((part, after)),
        None => Err(BadGenerate::Modifiers(modifiers.to_owned())),
    }
}

/// Parses `offset[,width[,base]]`.
fn number(modifiers: &str) -> Option<Part> {
    let mut fields = modifiers.split(',');
    let offset: i32 = fields.next()?.parse().ok()?;
    let width = match fields.next() {
        Some(width) => width.parse().ok()?,
        None => 0,
    };
    let base = match fields.next() {
        Some(base) => base.parse().ok()?,
        None => 'd',
    };
    let good = width <= MAX_WIDTH && "doxXnN".contains(base) && fields.next().is_none();
    good.then_some(Part::Number {
        offset: offset.into(),
        width,
        base,
    })
}

fn write_number(number: i64, width: usize, base: char, out: &mut String) {
    // As C prints them: a negative number in a base other than ten is its 32 bits, which this cast
    // takes.
    let bits = number as u32;
    let _ = match base {
        'o' => write!(out, "{bits:0width$o}"),
        'x' => write!(out, "{bits:0width$x}"),
        'X' => write!(out, "{bits:0width$X}"),
        'n' | 'N' => {
            write_nibbles(bits, width, base == 'N', out);
            Ok(())
        }
        _ => write!(out, "{number:0width$}"),
    };
}

/// The hexadecimal digits, lowest first, with dots between them; `width` counts the dots too.
fn write_nibbles(mut bits: u32, mut width: usize, upper: bool, out: &mut String) {
    loop {
        let digit = char::from_digit(bits & 15, 16).unwrap_or('0');
        out.push(if upper {
            digit.to_ascii_uppercase()
        } else {
            digit
        });
        bits >>= 4;
        width = width.saturating_sub(1);
        if width == 0 && bits == 0 {
            return;
        }
        out.push('.');
        width = width.saturating_sub(1);
        if width == 0 && bits == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(template: &str, number: u32) -> String {
        Template::read(template).unwrap().fill(number)
    }

    #[test]
    fn ranges_are_those_of_bind() {
        let numbers = |text: &str| Range::read(text).unwrap().collect::<Vec<_>>();
        assert_eq!(numbers("1-3"), [1, 2, 3]);
        assert_eq!(numbers("0-9/4"), [0, 4, 8]);
        assert_eq!(numbers("7-7"), [7]);
        assert_eq!(numbers("2147483646-2147483647/2147483647"), [2_147_483_646]);
        assert_eq!(Range::read("0-9/4").unwrap().len(), 3);
        for bad in [
            "",
            "1",
            "3-1",
            "1-3/0",
            "-1-3",
            "+1-3",
            "1-2147483648",
            "1-3/x",
            "1 - 3",
        ] {
            assert!(Range::read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn templates_are_those_of_bind() {
        assert_eq!(fill("host-$", 7), "host-7");
        assert_eq!(fill("${0,3}.${-1}.$", 7), "007.6.7");
        assert_eq!(fill("${10,4,x}${10,0,X}${0,0,o}", 245), "00ffFF365");
        assert_eq!(fill("${0,4,n}|${0,0,N}", 0xabc), "c.b.a|C.B.A");
        assert_eq!(fill("${0,8,n}", 1), "1.0.0.0.");
        assert_eq!(fill(r"\$$\.$$\065", 7), r"$7\.$\065");
        assert_eq!(fill("é$ü", 1), "é1ü");
        for bad in ["${", "${}", "${1,2,q}", "${0,1,d,4}", "${0,999}", "${0, 1}"] {
            assert!(Template::read(bad).is_err(), "{bad}");
        }
    }
}
