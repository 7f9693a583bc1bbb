//! One entry of a master file, with its place in the text and its name in messages.

use super::super::lexer::Token;
use super::super::records::Input;
use crate::diag::At;
use crate::dns::{Class, Name, RrType};

/// The most characters of a token that are marked, and of an owner that are shown.
const MAX_MARKED: usize = 1000;
const MAX_SHOWN: usize = 60;

/// One entry, and the text it stands in.
pub(super) struct Source<'a> {
    pub(super) input: &'a Input,
    /// At least one.
    pub(super) tokens: &'a [Token],
    pub(super) inherits_owner: bool,
    /// The place of the `$GENERATE` that made the entry.
    pub(super) generated: Option<At>,
}

impl<'a> Source<'a> {
    pub(super) fn text(&self, token: Token) -> &'a str {
        token.text(&self.input.text)
    }

    /// 1-based line and column of a token in the file.
    pub(super) fn position(&self, token: Token) -> (u32, u32) {
        if let Some(at) = &self.generated {
            return (at.line, at.column);
        }
        // The quote before a string belongs to what is shown.
        let start = token.start - u32::from(token.quoted);
        let before = &self.input.text[token.line_start as usize..start as usize];
        // Not truncated: a text has less than 2^32 octets.
        let column = before.chars().count() as u32 + 1;
        // The text of a `records` key starts in the middle of a line of its file.
        let offset = match token.line {
            1 => self.input.column_offset,
            _ => 0,
        };
        (self.input.line_offset + token.line, offset + column)
    }

    pub(super) fn at(&self, token: Token) -> At {
        if let Some(at) = &self.generated {
            return at.clone();
        }
        let (line, column) = self.position(token);
        // Not truncated: at most `MAX_MARKED`.
        let length = self.text(token).chars().take(MAX_MARKED).count() as u32;
        let quotes = 2 * u32::from(token.quoted);
        At::new(self.input.file.clone(), line, column, length + quotes)
    }

    /// The record as messages name it: owner as written and type, as far as they can be seen.
    /// `last_owner` is the owner of the record before, empty where there is none.
    pub(super) fn key(&self, last_owner: &[u8], zone: &Name) -> String {
        let Some((first, rest)) = self.tokens.split_first() else {
            return String::new();
        };
        let first_text = self.text(*first);
        if first_text.starts_with('$') {
            return String::new();
        }
        let (owner, rest) = if self.inherits_owner {
            let owner = Name::from_wire(last_owner).map(|owner| owner.relative_to(zone));
            (owner.unwrap_or_default(), self.tokens)
        } else {
            let shown = first_text.chars().filter(|c| !c.is_control());
            (shown.take(MAX_SHOWN).collect(), rest)
        };
        match self.rtype(rest) {
            Some(rtype) if owner.is_empty() => rtype.to_string(),
            Some(rtype) => format!("{owner} {rtype}"),
            None => owner,
        }
    }

    /// The type after TTL and class, where there is one.
    fn rtype(&self, tokens: &[Token]) -> Option<RrType> {
        for token in tokens {
            let word = self.text(*token);
            if !is_ttl_or_class(word) {
                return word.parse().ok();
            }
        }
        None
    }
}

/// True for words that stand before the type.
pub(super) fn is_ttl_or_class(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_digit()) || word.parse::<Class>().is_ok()
}
