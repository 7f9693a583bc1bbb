//! Master-file text → [`Records`] (RFC 1035 §5, RFC 2308 §4, RFC 3597 §5).
//!
//! An error spoils its own entry only: every other entry is read, and every error reported, up to a
//! limit that keeps a file of nonsense from costing more than its reading.
//!
//! **TTL of a record that has none written**: `$TTL` (RFC 2308 §4); without it the TTL of the record
//! before (RFC 1035 §5.1); for a first record that is the SOA its MINIMUM, with a warning; else that
//! is an error. `$TTL` holds on after the end of an included file, owner and origin do not.

use std::sync::Arc;

use super::lexer::{Entry, Fault, Lexer, Token};
use super::rdata::{self, Bad, Words, quote};
use super::{Include, Input, Records};
use crate::diag::{At, Diagnostics, did_you_mean};
use crate::dns::{Class, MAX_NAME, Name, RrType, Ttl};

/// Errors of one zone that are reported.
const MAX_ERRORS: usize = 100;
/// Files inside files.
const MAX_DEPTH: usize = 16;
/// Files of one zone.
const MAX_FILES: usize = 10_000;
/// Text of one zone, with every included file.
const MAX_TEXT: usize = 1 << 30;
/// Octets [`Records`] holds of one zone: a record more still fits below 4 GiB.
const MAX_STORED: usize = u32::MAX as usize - MAX_NAME - u16::MAX as usize;

/// Reads the records of the zone `origin` from `input` and the files it includes. What is wrong goes
/// to `diagnostics`; the records are those that could be read, so they are of use only without errors.
pub fn parse(input: &Input, origin: &Name, include: &mut dyn Include, diagnostics: &mut Diagnostics) -> Records {
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
        files: 0,
        text: 0,
        errors: 0,
        stopped: false,
    };
    let whole = At { file: input.file.clone(), line: input.line_offset + 1, column: input.column_offset + 1, length: 0 };
    parser.file(input, whole);
    parser.records
}

struct Parser<'p> {
    zone: &'p Name,
    include: &'p mut dyn Include,
    diagnostics: &'p mut Diagnostics,
    records: Records,
    /// What relative names are relative to now.
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
    files: usize,
    text: usize,
    errors: usize,
    /// Nothing more is read.
    stopped: bool,
}

/// One entry, and the text it stands in.
struct Source<'a> {
    input: &'a Input,
    tokens: &'a [Token],
    inherits_owner: bool,
}

impl<'a> Source<'a> {
    fn text(&self, token: Token) -> &'a str {
        token.text(&self.input.text)
    }

    /// 1-based line and column of a token in the file.
    fn position(&self, token: Token) -> (u32, u32) {
        // The quote before a string belongs to what is shown.
        let start = token.start - u32::from(token.quoted);
        let before = &self.input.text[token.line_start as usize..start as usize];
        let column = before.chars().count() as u32 + 1;
        let offset = if token.line == 1 { self.input.column_offset } else { 0 };
        (self.input.line_offset + token.line, offset + column)
    }

    fn at(&self, token: Token) -> At {
        let (line, column) = self.position(token);
        let length = self.text(token).chars().take(1000).count() as u32 + 2 * u32::from(token.quoted);
        At::new(self.input.file.clone(), line, column, length)
    }
}

/// Owner, TTL, class and type, and where the type stands.
struct Head {
    ttl: Option<Ttl>,
    rtype: RrType,
    type_token: Token,
}

impl Parser<'_> {
    fn file(&mut self, input: &Input, at: At) {
        self.text += input.text.len();
        self.files += 1;
        if self.text > MAX_TEXT || self.files > MAX_FILES {
            self.diagnostics
                .error("zone-too-large", at, "", format!("the zone is more than {MAX_TEXT} octets of text or {MAX_FILES} files"))
                .hint("split it into several zones");
            self.stopped = true;
            return;
        }
        self.chain.push(input.file.clone());
        let mut lexer = Lexer::new(&input.text);
        let mut tokens = Vec::new();
        while !self.stopped
            && let Some(entry) = lexer.next_entry(&mut tokens)
        {
            let Entry { inherits_owner, fault } = entry;
            let source = Source { input, tokens: &tokens, inherits_owner };
            let result = match fault {
                Some((fault, token)) => Err(describe(fault, token)),
                None if !tokens[0].quoted && source.text(tokens[0]).starts_with('$') => self.directive(&source),
                None => self.record(&source),
            };
            if let Err(bad) = result {
                self.report(&source, bad);
            }
        }
        self.chain.pop();
    }

    fn report(&mut self, source: &Source<'_>, bad: Bad) {
        let Bad { token, rule, message, hint } = bad;
        // Where something is missing, the last that is there is marked.
        let at = match token.or(source.tokens.last().copied()) {
            Some(token) => source.at(token),
            None => At::file(source.input.file.clone()),
        };
        if self.errors == MAX_ERRORS {
            self.diagnostics
                .error("too-many-errors", at, "", format!("more than {MAX_ERRORS} errors in this zone; the rest is not read"))
                .hint("mend those above first; is this a master file at all?");
            self.stopped = true;
            return;
        }
        self.errors += 1;
        let diagnostic = self.diagnostics.error(rule, at, key(source, &self.owner, self.zone), message);
        if let Some(hint) = hint {
            diagnostic.hint(hint);
        }
    }

    fn record(&mut self, source: &Source<'_>) -> Result<(), Bad> {
        let (first, mut rest) = source.tokens.split_first().expect("an entry has tokens");
        if source.inherits_owner {
            rest = source.tokens;
            if self.owner.is_empty() {
                return Err(bad(
                    *first,
                    "no-owner",
                    "the line starts with a blank, and there is no owner name before it to take",
                )
                .hint("write the name in the first column; @ is the zone itself"));
            }
        } else {
            self.owner.clear();
            let read = rdata::append_name(*first, &source.input.text, &self.origin, &mut self.owner);
            if read.is_err() {
                // Lines that take this owner over are judged for themselves.
                self.owner = self.origin.as_wire().to_vec();
            }
            read?;
        }
        let head = head(source, &mut rest)?;
        self.rdata.clear();
        let mut words = Words { text: &source.input.text, tokens: rest, origin: &self.origin };
        if !is_a(head.rtype, &words, &mut self.rdata) {
            rdata::read(head.rtype, &mut words, &mut self.rdata)
                .map_err(|bad| Bad { token: bad.token.or(rest.last().copied()).or(Some(head.type_token)), ..bad })?;
        }
        let ttl = self.ttl(source, &head)?;
        if self.records.stored() > MAX_STORED {
            self.stopped = true;
            return Err(bad(*first, "zone-too-large", "the zone's names and rdata are more than 4 GiB")
                .hint("split it into several zones"));
        }
        let (line, column) = source.position(*first);
        self.records.push(&self.owner, head.rtype, ttl, &self.rdata, (&source.input.file, line, column));
        self.last_ttl = Some(ttl);
        Ok(())
    }

    fn ttl(&mut self, source: &Source<'_>, head: &Head) -> Result<Ttl, Bad> {
        if let Some(ttl) = head.ttl.or(self.default_ttl).or(self.last_ttl) {
            return Ok(ttl);
        }
        if head.rtype != RrType::SOA {
            return Err(bad(
                head.type_token,
                "no-ttl",
                "the record has no TTL, and neither $TTL nor a record before it gives one",
            )
            .hint("write $TTL 1h above the first record"));
        }
        let minimum = self.rdata.last_chunk().expect("a SOA ends in its minimum");
        let ttl = Ttl::from_secs(u32::from_be_bytes(*minimum)).expect("read as a Ttl");
        self.diagnostics
            .warning(
                "ttl-from-soa",
                source.at(head.type_token),
                key(source, &self.owner, self.zone),
                format!("no TTL is written; the SOA's minimum, {ttl}, is taken"),
            )
            .hint("write $TTL above it");
        Ok(ttl)
    }

    fn directive(&mut self, source: &Source<'_>) -> Result<(), Bad> {
        const KNOWN: [&str; 3] = ["$ORIGIN", "$TTL", "$INCLUDE"];
        let token = source.tokens[0];
        let name = source.text(token).to_ascii_uppercase();
        match (name.as_str(), &source.tokens[1..]) {
            ("$ORIGIN", [origin]) => self.origin = self.name(source, *origin)?,
            ("$TTL", [ttl]) => {
                let read = rdata::seconds(source.text(*ttl));
                // After a bad one the records that count on it are not reported each.
                self.default_ttl = Some(read.unwrap_or(Ttl::MAX));
                read.map_err(|why| bad(*ttl, "bad-ttl", format!("the TTL {} {why}", quote(source.text(*ttl)))))?;
            }
            ("$INCLUDE", [file]) => self.include(source, *file, self.origin.clone())?,
            ("$INCLUDE", [file, origin]) => {
                let origin = self.name(source, *origin)?;
                self.include(source, *file, origin)?;
            }
            ("$ORIGIN", _) => return Err(bad(token, "bad-directive", "$ORIGIN takes one name").hint("$ORIGIN example.com.")),
            ("$TTL", _) => return Err(bad(token, "bad-directive", "$TTL takes one TTL").hint("$TTL 1h")),
            ("$INCLUDE", _) => {
                return Err(bad(token, "bad-directive", "$INCLUDE takes a file, and an origin if wanted")
                    .hint("$INCLUDE hosts.zone sub.example.com."));
            }
            ("$GENERATE", _) => {
                return Err(bad(token, "generate-not-supported", "$GENERATE is not supported")
                    .hint("write the records out, or let a script write them to a file and $INCLUDE that"));
            }
            (other, _) => {
                let hint = match did_you_mean(other, KNOWN) {
                    Some(known) => format!("did you mean {known}?"),
                    None => format!("known are {}; a name that starts with $ is written \\$", KNOWN.join(", ")),
                };
                return Err(bad(token, "unknown-directive", format!("{} is not a directive", quote(other))).hint(hint));
            }
        }
        Ok(())
    }

    fn name(&self, source: &Source<'_>, token: Token) -> Result<Name, Bad> {
        let mut wire = Vec::new();
        rdata::append_name(token, &source.input.text, &self.origin, &mut wire)?;
        Ok(Name::from_wire(&wire).expect("append_name makes names"))
    }

    fn include(&mut self, source: &Source<'_>, token: Token, origin: Name) -> Result<(), Bad> {
        let path = source.text(token);
        let input = self
            .include
            .read(path, &source.input.file)
            .map_err(|why| bad(token, "include-failed", format!("cannot include {}: {why}", quote(path))))?;
        let shown = |from: usize, chain: &[Arc<str>]| {
            chain[from..].iter().map(|file| &**file).chain([&*input.file]).collect::<Vec<_>>().join(" → ")
        };
        if let Some(first) = self.chain.iter().position(|file| *file == input.file) {
            return Err(bad(token, "include-loop", format!("{} includes itself: {}", input.file, shown(first, &self.chain))));
        }
        if self.chain.len() > MAX_DEPTH {
            return Err(bad(
                token,
                "include-too-deep",
                format!("more than {MAX_DEPTH} files inside one another: {}", shown(0, &self.chain)),
            ));
        }
        // "it never changes the relative origin of the parent file, regardless of changes to the
        // relative origin made within the included file" (RFC 1035 §5.1); the owner likewise.
        let outer_origin = std::mem::replace(&mut self.origin, origin);
        let outer_owner = std::mem::take(&mut self.owner);
        self.file(&input, source.at(token));
        self.origin = outer_origin;
        self.owner = outer_owner;
        Ok(())
    }
}

/// The path most records take: an IPv4 address and nothing after it.
fn is_a(rtype: RrType, words: &Words<'_>, out: &mut Vec<u8>) -> bool {
    if rtype == RrType::A
        && let [token] = words.tokens
        && let Ok(address) = token.text(words.text).parse::<std::net::Ipv4Addr>()
    {
        out.extend_from_slice(&address.octets());
        return true;
    }
    false
}

/// Takes TTL and class, in either order, and the type off `tokens`.
fn head(source: &Source<'_>, tokens: &mut &[Token]) -> Result<Head, Bad> {
    let (mut ttl, mut class) = (None, None);
    while let Some((token, rest)) = tokens.split_first() {
        let (token, word) = (*token, source.text(*token));
        *tokens = rest;
        if word.starts_with(|c: char| c.is_ascii_digit()) && ttl.is_none() {
            ttl = Some(rdata::seconds(word).map_err(|why| {
                let wrong = bad(token, "bad-ttl", format!("the TTL {} {why}", quote(word)));
                // A number it is: no word that slipped into the place of the TTL.
                if word.bytes().all(|b| b.is_ascii_digit()) { wrong } else { wrong.hint(COLUMN) }
            })?);
        } else if word.eq_ignore_ascii_case("IN") && class.is_none() {
            class = Some(Class::IN);
        } else if let Ok(rtype) = word.parse::<RrType>() {
            is_readable(rtype, token, rest, source)?;
            return Ok(Head { ttl, rtype, type_token: token });
        } else if let (Ok(read), None) = (word.parse::<Class>(), class) {
            if read != Class::IN {
                return Err(bad(token, "class-not-in", format!("the class {} is not served, only IN", quote(word)))
                    .hint("leave the class out, or write IN"));
            }
            class = Some(read);
        } else {
            return Err(bad(token, "unknown-type", format!("{} is not a record type", quote(word)))
                .hint(format!("{COLUMN}; a type without a name is written as {GENERIC}")));
        }
    }
    let last = *source.tokens.last().expect("an entry has tokens");
    Err(bad(last, "no-type", "the entry has no record type").hint(COLUMN))
}

const COLUMN: &str = "a line that starts in the first column starts with an owner name, then TTL, class and type";
const GENERIC: &str = "TYPE65400 \\# 3 010203 (RFC 3597)";

/// Refuses types that no zone holds, and those that cannot be read the way they are written.
fn is_readable(rtype: RrType, token: Token, rest: &[Token], source: &Source<'_>) -> Result<(), Bad> {
    if rtype == RrType::ANAME {
        return Err(bad(token, "aname", "ANAME records are not served")
            .hint("write a service instead: [services.NAME] with endpoints that are addresses or names ending in a dot"));
    }
    // "values 128 through 255 … are allocated for Q and Meta TYPEs" (RFC 6895 §3.1); 0 and OPT are none of a zone either.
    if rtype.0 == 0 || rtype == RrType::OPT || (128..=255).contains(&rtype.0) {
        return Err(bad(token, "meta-type", format!("{rtype} is a type of queries and messages, no zone holds records of it")));
    }
    let generic = rest.first().is_some_and(|token| source.text(*token) == r"\#");
    if !generic && !rdata::is_readable(rtype) {
        return Err(bad(token, "type-not-read", format!("the text form of {rtype} records is not known here"))
            .hint(format!("write it in the form of RFC 3597: TYPE{} \\# <length> <hex>", rtype.0)));
    }
    Ok(())
}

fn bad(token: Token, rule: &'static str, message: impl Into<String>) -> Bad {
    Bad { token: Some(token), rule, message: message.into(), hint: None }
}

fn describe(fault: Fault, token: Token) -> Bad {
    match fault {
        Fault::OpenParenthesis => bad(token, "parenthesis", "this parenthesis is never closed")
            .hint("everything after it was taken for part of one record"),
        Fault::StrayParenthesis => {
            bad(token, "parenthesis", "this parenthesis was never opened").hint("write \\) for one in a name")
        }
        Fault::OpenQuote => bad(token, "string-not-closed", "the quoted string does not end on its line")
            .hint("close it, and write a quote inside it as \\\""),
        Fault::Control(octet) => bad(token, "control-character", format!("the control character \\{octet:03}"))
            .hint(format!("remove it, or write \\{octet:03} if it is meant")),
        Fault::TooLong => {
            bad(token, "entry-too-long", "the entry is longer than any record can be").hint("is a parenthesis not closed?")
        }
    }
}

/// The record as messages name it: owner as written and type, as far as they can be seen.
fn key(source: &Source<'_>, owner: &[u8], zone: &Name) -> String {
    let Some(first) = source.tokens.first().filter(|first| !source.text(**first).starts_with('$')) else {
        return String::new();
    };
    let rest = if source.inherits_owner { source.tokens } else { &source.tokens[1..] };
    let shown = match Name::from_wire(owner).filter(|_| source.inherits_owner) {
        Some(owner) => owner.relative_to(zone),
        None if source.inherits_owner => String::new(),
        None => source.text(*first).chars().filter(|c| !c.is_control()).take(60).collect(),
    };
    let before_type = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit()) || word.parse::<Class>().is_ok();
    let rtype =
        rest.iter().map(|token| source.text(*token)).find(|word| !before_type(word)).and_then(|word| word.parse::<RrType>().ok());
    match rtype {
        Some(rtype) if shown.is_empty() => rtype.to_string(),
        Some(rtype) => format!("{shown} {rtype}"),
        None => shown,
    }
}

#[cfg(test)]
mod tests;
