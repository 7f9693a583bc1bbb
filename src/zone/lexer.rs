//! Master-file text cut into entries, and those into tokens with their positions (RFC 1035 §5.1).
//!
//! An entry ends with its line; inside parentheses a line's end is a blank. A fault does not end
//! the reading: the rest of its entry is passed over and the next entry is read.

/// Tokens in one entry. No rdata needs more: one octet each is the least that a token can say.
const MAX_TOKENS: usize = 70_000;
/// Bytes in the tokens of one entry: 65 535 octets of rdata, each as `\DDD`, and the rest.
const MAX_BYTES: usize = 300_000;

/// Cuts `text` into entries.
pub(super) struct Lexer<'a> {
    bytes: &'a [u8],
    position: usize,
    line: u32,
    line_start: u32,
}

/// A piece of an entry, as written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token {
    /// Bytes of the text; quotes around a quoted string are not among them.
    pub(super) start: u32,
    /// One past the last.
    pub(super) end: u32,
    /// Line of the text, from 1.
    pub(super) line: u32,
    /// Byte that line starts at.
    pub(super) line_start: u32,
    /// It stood in quotes.
    pub(super) quoted: bool,
}

impl Token {
    /// Its text, without quotes around it and with its escapes.
    pub(super) fn text<'a>(&self, text: &'a str) -> &'a str {
        &text[self.start as usize..self.end as usize]
    }
}

/// An entry, apart from its tokens.
pub(super) struct Entry {
    /// It starts with a blank, so it has the owner of the entry before it.
    pub(super) inherits_owner: bool,
    /// The reason why it cannot be read, and the place that shows it.
    pub(super) fault: Option<(Fault, Token)>,
}

/// A reason why an entry cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// `(` without its `)` up to the end of the text.
    OpenParenthesis,
    /// `)` without its `(`.
    StrayParenthesis,
    /// A quoted string that does not end on its line.
    OpenQuote,
    /// A control character outside a comment.
    Control(u8),
    /// More than any record can be.
    TooLong,
}

impl<'a> Lexer<'a> {
    /// Starts at the beginning of `text`, which is shorter than 4 GiB.
    pub(super) fn new(text: &'a str) -> Lexer<'a> {
        // Some editors put a byte order mark in front; it is no part of the first owner.
        let position = if text.starts_with('\u{feff}') {
            '\u{feff}'.len_utf8()
        } else {
            0
        };
        Lexer {
            bytes: text.as_bytes(),
            position,
            line: 1,
            line_start: 0,
        }
    }

    /// Reads the next entry that is not empty into `tokens`; `None` at the end of the text.
    pub(super) fn next_entry(&mut self, tokens: &mut Vec<Token>) -> Option<Entry> {
        tokens.clear();
        while self.position < self.bytes.len() {
            let inherits_owner = matches!(self.bytes[self.position], b' ' | b'\t');
            let fault = self.read_entry(tokens);
            // Blank lines and comments are entries of nothing, and a fault may be all that there
            // is.
            if fault.is_some() || !tokens.is_empty() {
                return Some(Entry {
                    inherits_owner,
                    fault,
                });
            }
        }
        None
    }

    fn read_entry(&mut self, tokens: &mut Vec<Token>) -> Option<(Fault, Token)> {
        let mut fault = None;
        let mut open: Vec<Token> = Vec::new();
        let mut size = 0;
        while let Some(byte) = self.bytes.get(self.position) {
            let (token, found) = match byte {
                b'\n' => {
                    self.next_line();
                    if open.is_empty() {
                        return fault;
                    }
                    continue;
                }
                b' ' | b'\t' | b'\r' => {
                    self.position += 1;
                    continue;
                }
                b';' => {
                    self.position += self.bytes[self.position..]
                        .iter()
                        .take_while(|b| **b != b'\n')
                        .count();
                    continue;
                }
                b'(' => {
                    let token = self.take(1);
                    // Deeper ones are only counted in a text that closes none: bound what they
                    // cost.
                    if open.len() < MAX_TOKENS {
                        open.push(token);
                        continue;
                    }
                    (token, Some(Fault::TooLong))
                }
                b')' => {
                    let token = self.take(1);
                    if open.pop().is_some() {
                        continue;
                    }
                    (token, Some(Fault::StrayParenthesis))
                }
                b'"' => self.quoted(),
                _ => self.unquoted(),
            };
            size += (token.end - token.start) as usize;
            let found = found
                .or((tokens.len() >= MAX_TOKENS || size > MAX_BYTES).then_some(Fault::TooLong));
            match found {
                Some(found) if fault.is_none() => fault = Some((found, token)),
                None if fault.is_none() => tokens.push(token),
                _ => {}
            }
        }
        // What an open parenthesis swallowed is no fault of its own.
        open.first()
            .map(|token| (Fault::OpenParenthesis, *token))
            .or(fault)
    }

    /// A string in quotes, which end on its line.
    fn quoted(&mut self) -> (Token, Option<Fault>) {
        let token = self.take(1);
        let start = self.position;
        let fault = self.past_closing_quote();
        let end = self.position - usize::from(fault != Some(Fault::OpenQuote));
        (
            Token {
                start: offset(start),
                end: offset(end),
                quoted: true,
                ..token
            },
            fault,
        )
    }

    /// A run without blanks. Quotes inside it keep blanks: `alpn="h2, h3"` is one token.
    fn unquoted(&mut self) -> (Token, Option<Fault>) {
        let start = self.take(0);
        let mut fault = None;
        while let Some(byte) = self.bytes.get(self.position) {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' | b'(' | b')' | b';' => break,
                b'\\' => self.skip_escape(),
                b'"' => {
                    self.position += 1;
                    fault = fault.or(self.past_closing_quote());
                }
                0..0x20 | 0x7f => {
                    fault = fault.or(Some(Fault::Control(*byte)));
                    self.position += 1;
                }
                _ => self.position += 1,
            }
        }
        (
            Token {
                end: offset(self.position),
                ..start
            },
            fault,
        )
    }

    /// Goes past the closing quote, or up to the end of the line.
    fn past_closing_quote(&mut self) -> Option<Fault> {
        let mut fault = None;
        while let Some(byte) = self.bytes.get(self.position) {
            match byte {
                b'"' => {
                    self.position += 1;
                    return fault;
                }
                b'\n' => break,
                b'\\' => self.skip_escape(),
                b'\t' => self.position += 1,
                b'\r' if self.bytes.get(self.position + 1) == Some(&b'\n') => break,
                0..0x20 | 0x7f => {
                    fault = fault.or(Some(Fault::Control(*byte)));
                    self.position += 1;
                }
                _ => self.position += 1,
            }
        }
        Some(Fault::OpenQuote)
    }

    /// Goes past a backslash and the octet it escapes, which may be any but the end of the line.
    fn skip_escape(&mut self) {
        let escapes = !matches!(
            self.bytes.get(self.position + 1),
            None | Some(0..0x20 | 0x7f)
        );
        self.position += 1 + usize::from(escapes);
        // Not into the middle of a character: the text is cut at token ends.
        while self
            .bytes
            .get(self.position)
            .is_some_and(|b| b & 0xc0 == 0x80)
        {
            self.position += 1;
        }
    }

    fn take(&mut self, length: usize) -> Token {
        let start = self.position;
        self.position += length;
        Token {
            start: offset(start),
            end: offset(self.position),
            line: self.line,
            line_start: self.line_start,
            quoted: false,
        }
    }

    fn next_line(&mut self) {
        self.position += 1;
        self.line += 1;
        self.line_start = offset(self.position);
    }
}

/// A place in a text; not truncated, since a text is shorter than 4 GiB.
fn offset(position: usize) -> u32 {
    position as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(text: &str) -> Vec<String> {
        let mut lexer = Lexer::new(text);
        let mut tokens = Vec::new();
        let mut out = Vec::new();
        while let Some(entry) = lexer.next_entry(&mut tokens) {
            let words: Vec<_> = tokens.iter().map(|t| t.text(text)).collect();
            let fault = entry.fault.map_or(String::new(), |(fault, at)| {
                format!(" {fault:?} at {}:{}", at.line, at.start - at.line_start + 1)
            });
            out.push(format!(
                "{}{}{fault}",
                if entry.inherits_owner { "_" } else { "" },
                words.join("|")
            ));
        }
        out
    }

    #[test]
    fn entries_end_with_their_line_but_not_inside_parentheses() {
        assert_eq!(
            entries("\u{feff}a A ;c\r\n\n  ; c\n\tb (\n c;)\n ) d\ne \"f;(\\\" g\"h=\"i j\"k"),
            ["a|A", "_b|c|d", r#"e|f;(\" g|h="i j"k"#]
        );
        assert_eq!(entries(r"a\ b\(\; c"), [r"a\ b\(\;|c"]);
    }

    #[test]
    fn a_fault_spoils_its_own_entry_only() {
        assert_eq!(entries("a )\nb"), ["a StrayParenthesis at 1:3", "b"]);
        assert_eq!(entries("a \"b\nc"), ["a OpenQuote at 1:4", "c"]);
        assert_eq!(entries("a k=\"b\r\nc"), ["a OpenQuote at 1:3", "c"]);
        assert_eq!(entries("a b\x01c d\ne"), ["a Control(1) at 1:3", "e"]);
        assert_eq!(
            entries("a\n b ( c\nd"),
            ["a", "_b|c|d OpenParenthesis at 2:4"]
        );
        assert_eq!(entries("a (\"b\n) c\nd"), ["a OpenQuote at 1:5", "d"]);
        assert_eq!(entries("a\\"), ["a\\"]);
    }

    #[test]
    fn an_endless_entry_is_cut_off() {
        let text = format!("a {}\nb", "x ".repeat(MAX_TOKENS));
        let entries = entries(&text);
        assert_eq!(entries.len(), 2);
        assert!(
            entries[0].contains("TooLong at 1:"),
            "{}",
            &entries[0][entries[0].len() - 40..]
        );
    }
}
