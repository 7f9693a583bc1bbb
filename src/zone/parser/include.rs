//! `$INCLUDE`: one file inside another.

use std::sync::Arc;

use super::super::lexer::Token;
use super::super::records::{IncludeError, Input};
use super::super::words::{Bad, quote};
use super::{MAX_DEPTH, MAX_TEXT, Parser, Source, bad};
use crate::dns::Name;

impl Parser<'_> {
    /// Reads the file that `token` names, with relative names below `origin`.
    pub(super) fn include(
        &mut self,
        source: &Source<'_>,
        token: Token,
        origin: Name,
    ) -> Result<(), Bad> {
        let path = source.text(token);
        let room = MAX_TEXT.saturating_sub(self.text) as u64;
        let input = self
            .include
            .read(path, &source.input.file, room)
            .map_err(|why| not_included(token, path, why))?;
        self.check_chain(token, &input)?;
        // "it never changes the relative origin of the parent file, regardless of changes to the
        // relative origin made within the included file" (RFC 1035 §5.1); the owner likewise.
        let outer_origin = std::mem::replace(&mut self.origin, origin);
        let outer_owner = std::mem::take(&mut self.owner);
        self.file(&input, source.at(token));
        self.origin = outer_origin;
        self.owner = outer_owner;
        Ok(())
    }

    /// Refuses a file that is being read already, and one too deep inside others.
    fn check_chain(&self, token: Token, input: &Input) -> Result<(), Bad> {
        let file = &input.file;
        if let Some(first) = self.chain.iter().position(|outer| outer == file) {
            let way = way(&self.chain[first..], file);
            let message = format!("{file} includes itself: {way}");
            return Err(bad(token, "include-loop", message));
        }
        if self.chain.len() > MAX_DEPTH {
            let way = way(&self.chain, file);
            let message = format!("includes nest more than {MAX_DEPTH} deep: {way}");
            return Err(bad(token, "include-too-deep", message));
        }
        Ok(())
    }
}

fn not_included(token: Token, path: &str, why: IncludeError) -> Bad {
    let message = format!("cannot include {}: {}", quote(path), why.message);
    Bad {
        hint: why.hint,
        ..bad(token, why.rule, message)
    }
}

/// The way from file to file, ending at `last`.
fn way(chain: &[Arc<str>], last: &str) -> String {
    let mut way = String::new();
    for file in chain {
        way.push_str(file);
        way.push_str(" → ");
    }
    way + last
}
