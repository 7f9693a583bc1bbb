//! Master-file text → [`Records`] (RFC 1035 §5, RFC 2308 §4, RFC 3597 §5).
//!
//! An error spoils its own entry only: every other entry is read, and every error reported, up to a
//! limit that keeps a file of nonsense from costing more than its reading.
//!
//! **TTL of a record that has none written**: `$TTL` (RFC 2308 §4); without it the TTL of the record
//! before (RFC 1035 §5.1); for a first record that is the SOA its MINIMUM, with a warning; else
//! that is an error. `$TTL` holds on after the end of an included file, owner and origin do not.

//!
//! ```text
//! record       owner, TTL, class, type and rdata
//! directives   $ORIGIN, $TTL, and what the others take
//! include      $INCLUDE
//! generate     $GENERATE
//! source       an entry's place in its file, and its name in messages
//! ```

mod directives;
mod generate;
mod include;
mod record;
mod source;

use std::collections::HashSet;
use std::sync::Arc;

use super::lexer::{Entry, Fault, Lexer, Token};
use super::words::Bad;
use super::{Include, Input, Records};
use crate::diag::{At, Diagnostics};
use crate::dns::{MAX_NAME, Name, Ttl};
use source::Source;

/// Errors of one zone that are reported.
const MAX_ERRORS: usize = 100;
/// Files inside files.
const MAX_DEPTH: usize = 16;
/// Files of one zone.
const MAX_FILES: usize = 10_000;
/// Text of one zone, with every included file.
const MAX_TEXT: usize = 1 << 30;
/// Text of files that are included again. A file costs what it holds each time, and stands on the
/// disk only once.
const MAX_REPEATED: usize = 16 << 20;
/// Warnings of one zone's names and strings that are shown.
const MAX_WARNINGS: usize = 50;
/// Records that `$GENERATE` makes of one zone.
const MAX_GENERATED: usize = 1 << 20;
/// Octets [`Records`] holds of one zone: a record more still fits below 4 GiB.
const MAX_STORED: usize = u32::MAX as usize - MAX_NAME - u16::MAX as usize;

/// Reads the records of the zone `origin` from `input` and the files it includes. What is wrong
/// goes to `diagnostics`; the records are those that could be read, so they are of use only without
/// errors.
pub fn parse(
    input: &Input,
    origin: &Name,
    include: &mut dyn Include,
    diagnostics: &mut Diagnostics,
) -> Records {
    let mut parser = Parser {
        zone: origin,
        include,
        diagnostics,
        records: Records::default(),
        origin: origin.clone(),
        owner: Vec::new(),
        rdata: Vec::new(),
        default_ttl: None,
        last_ttl: None,
        chain: Vec::new(),
        seen: HashSet::new(),
        files: 0,
        text: 0,
        repeated: 0,
        errors: 0,
        warnings: 0,
        accepted: false,
        held: Diagnostics::default(),
        generated: 0,
        zone_text: origin.to_string().trim_end_matches('.').to_owned(),
        stopped: false,
    };
    let whole = At {
        file: input.file.clone(),
        line: input.line_offset + 1,
        column: input.column_offset + 1,
        length: 0,
    };
    parser.file(input, whole);
    parser.records
}

struct Parser<'p> {
    zone: &'p Name,
    include: &'p mut dyn Include,
    diagnostics: &'p mut Diagnostics,
    records: Records,
    /// The name that relative names are relative to now.
    origin: Name,
    /// Owner of the record before, wire format; empty where there is none.
    owner: Vec<u8>,
    /// The rdata being read; kept so that its memory is.
    rdata: Vec<u8>,
    /// `$TTL`.
    default_ttl: Option<Ttl>,
    /// TTL of the record before.
    last_ttl: Option<Ttl>,
    /// The files being read, each included by the one before it.
    chain: Vec<Arc<str>>,
    /// Every file read so far.
    seen: HashSet<Arc<str>>,
    files: usize,
    text: usize,
    /// Of that, the text of files that had been read before.
    repeated: usize,
    errors: usize,
    warnings: usize,
    /// The file being read holds records.
    accepted: bool,
    /// The errors of a file not yet known to hold records; they are reported once it is.
    held: Diagnostics,
    /// Records made by `$GENERATE`.
    generated: usize,
    /// The zone's name as text without its final dot.
    zone_text: String,
    /// Nothing more is read.
    stopped: bool,
}

impl Parser<'_> {
    /// Reads every entry of one file; `at` is the place that names the file.
    fn file(&mut self, input: &Input, at: At) {
        if let Some(message) = self.count(input) {
            self.diagnostics
                .error("zone-too-large", at, "", message)
                .hint("split it into several zones");
            self.stop();
            return;
        }
        self.chain.push(input.file.clone());
        let accepted = self.include.is_accepted(&input.file);
        let outer_accepted = std::mem::replace(&mut self.accepted, accepted);
        let mut lexer = Lexer::new(&input.text);
        let mut tokens = Vec::new();
        while !self.stopped
            && let Some(entry) = lexer.next_entry(&mut tokens)
        {
            let Entry {
                inherits_owner,
                fault,
            } = entry;
            let source = Source {
                input,
                tokens: &tokens,
                inherits_owner,
                generated: None,
            };
            match self.entry(&source, fault) {
                Ok(()) => self.accept(input),
                Err(bad) => self.report(&source, bad),
            }
        }
        self.chain.pop();
        self.refuse(input);
        self.accepted = outer_accepted;
    }

    /// Counts a file, and says which limit it passes.
    fn count(&mut self, input: &Input) -> Option<String> {
        self.text += input.text.len();
        self.files += 1;
        if !self.seen.insert(input.file.clone()) {
            self.repeated += input.text.len();
        }
        if self.text > MAX_TEXT {
            let most = MAX_TEXT >> 20;
            Some(format!("the zone has more than {most} MiB of text"))
        } else if self.files > MAX_FILES {
            Some(format!("the zone has more than {MAX_FILES} files"))
        } else if self.repeated > MAX_REPEATED {
            let most = MAX_REPEATED >> 20;
            Some(format!(
                "files that the zone includes repeatedly add up to more than {most} MiB"
            ))
        } else {
            None
        }
    }

    fn entry(&mut self, source: &Source<'_>, fault: Option<(Fault, Token)>) -> Result<(), Bad> {
        if let Some((fault, token)) = fault {
            self.records.unread.anywhere = true;
            return Err(describe(fault, token));
        }
        let first = source.tokens[0];
        if first.quoted || !source.text(first).starts_with('$') {
            return self.record(source);
        }
        let done = self.directive(source);
        // After a bad one the records that follow may be others than those meant.
        self.records.unread.anywhere |= done.is_err();
        done
    }

    /// Nothing more is read.
    fn stop(&mut self) {
        self.stopped = true;
        self.records.unread.anywhere = true;
    }

    /// The file is one of records: from now on its lines may be shown.
    fn accept(&mut self, input: &Input) {
        if !self.accepted {
            self.accepted = true;
            self.include.accept(input);
            self.diagnostics.extend(std::mem::take(&mut self.held));
        }
    }

    /// Reports of a file without one record that it is no master file, and nothing of what it
    /// holds.
    fn refuse(&mut self, input: &Input) {
        let held = std::mem::take(&mut self.held);
        let Some(first) = held.iter().next() else {
            return;
        };
        self.records.unread.anywhere = true;
        let message = format!(
            "{} is not a master file: none of its entries is a record (the first fails with {}), so its text is not shown",
            input.file, first.rule
        );
        let at = At {
            length: 0,
            ..first.at.clone()
        };
        self.diagnostics
            .error("not-a-master-file", at, "", message)
            .hint("name the file that holds the records of the zone");
    }

    fn report(&mut self, source: &Source<'_>, bad: Bad) {
        // Where something is missing, the last that is there is marked.
        let at = match bad.token.or(source.tokens.last().copied()) {
            Some(token) => source.at(token),
            None => At::file(source.input.file.clone()),
        };
        // The message may quote the file, which may be one of secrets until a record was read from
        // it.
        let out = match self.accepted {
            true => &mut *self.diagnostics,
            false => &mut self.held,
        };
        if self.errors == MAX_ERRORS {
            let message =
                format!("more than {MAX_ERRORS} errors in this zone; the rest is not read");
            out.error("too-many-errors", at, "", message)
                .hint("fix those above first; is this a master file at all?");
            self.stop();
            return;
        }
        self.errors += 1;
        let key = source.key(&self.owner, self.zone);
        out.error(bad.rule, at, key, bad.message).hint = bad.hint;
    }

    /// Warns about `token` of a record that was read.
    fn warn(
        &mut self,
        source: &Source<'_>,
        token: Token,
        rule: &'static str,
        message: String,
        hint: String,
    ) {
        self.warnings += 1;
        if self.warnings <= MAX_WARNINGS {
            let key = source.key(&self.owner, self.zone);
            self.diagnostics
                .warning(rule, source.at(token), key, message)
                .hint(hint);
        }
    }
}

fn bad(token: Token, rule: &'static str, message: impl Into<String>) -> Bad {
    Bad {
        token: Some(token),
        rule,
        message: message.into(),
        hint: None,
    }
}

fn describe(fault: Fault, token: Token) -> Bad {
    match fault {
        Fault::OpenParenthesis => bad(token, "parenthesis", "this parenthesis is never closed")
            .hint("everything after it was taken for part of one record"),
        Fault::StrayParenthesis => bad(token, "parenthesis", "this parenthesis was never opened")
            .hint("write \\) for one in a name"),
        Fault::OpenQuote => bad(
            token,
            "string-not-closed",
            "the quoted string does not end on its line",
        )
        .hint("close it, and write a quote inside it as \\\""),
        Fault::Control(octet) => bad(
            token,
            "control-character",
            format!("the control character \\{octet:03}"),
        )
        .hint(format!("remove it, or write \\{octet:03} if it is meant")),
        Fault::TooLong => bad(
            token,
            "entry-too-long",
            "the entry is longer than any record can be",
        )
        .hint("is a parenthesis not closed?"),
    }
}

#[cfg(test)]
mod tests;
