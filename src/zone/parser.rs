//! Master-file text → [`Records`] (RFC 1035 §5, RFC 2308 §4, RFC 3597 §5).
//!
//! An error spoils its own entry only: every other entry is read, and every error reported, up to a
//! limit that keeps a file of nonsense from costing more than its reading.
//!
//! **TTL of a record that has none written**: `$TTL` (RFC 2308 §4); without it the TTL of the record
//! before (RFC 1035 §5.1); for a first record that is the SOA its MINIMUM, with a warning; else that
//! is an error. `$TTL` holds on after the end of an included file, owner and origin do not.

use std::collections::HashSet;
use std::sync::Arc;

use super::generate;
use super::lexer::{Entry, Fault, Lexer, Token};
use super::rdata;
use super::words::{self, Bad, Odd, Words, quote};
use super::{Include, IncludeError, Input, Records};
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
/// Text of files that are included again. A file costs what it holds each time, and stands on the disk only once.
const MAX_REPEATED: usize = 16 << 20;
/// Warnings of one zone's names and strings that are shown.
const MAX_WARNINGS: usize = 50;
/// Records that `$GENERATE` makes of one zone.
const MAX_GENERATED: usize = 1 << 20;
/// Octets [`Records`] holds of one zone: a record more still fits below 4 GiB.
const MAX_STORED: usize = u32::MAX as usize - MAX_NAME - u16::MAX as usize;

/// Reads the records of the zone `origin` from `input` and the files it includes. What is wrong goes
/// to `diagnostics`; the records are those that could be read, so they are of use only without errors.
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
    /// What is wrong in a file of which that is not known yet.
    held: Diagnostics,
    /// Records made by `$GENERATE`.
    generated: usize,
    /// The zone's name as text without its final dot.
    zone_text: String,
    /// Nothing more is read.
    stopped: bool,
}

/// One entry, and the text it stands in.
struct Source<'a> {
    input: &'a Input,
    tokens: &'a [Token],
    inherits_owner: bool,
    /// Where the `$GENERATE` stands that made the entry.
    generated: Option<At>,
}

impl<'a> Source<'a> {
    fn text(&self, token: Token) -> &'a str {
        token.text(&self.input.text)
    }

    /// 1-based line and column of a token in the file.
    fn position(&self, token: Token) -> (u32, u32) {
        if let Some(at) = &self.generated {
            return (at.line, at.column);
        }
        // The quote before a string belongs to what is shown.
        let start = token.start - u32::from(token.quoted);
        let before = &self.input.text[token.line_start as usize..start as usize];
        let column = before.chars().count() as u32 + 1;
        let offset = if token.line == 1 {
            self.input.column_offset
        } else {
            0
        };
        (self.input.line_offset + token.line, offset + column)
    }

    fn at(&self, token: Token) -> At {
        if let Some(at) = &self.generated {
            return at.clone();
        }
        let (line, column) = self.position(token);
        let length =
            self.text(token).chars().take(1000).count() as u32 + 2 * u32::from(token.quoted);
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
        if !self.seen.insert(input.file.clone()) {
            self.repeated += input.text.len();
        }
        let too_large = match () {
            () if self.text > MAX_TEXT => {
                format!("the zone is more than {} MiB of text", MAX_TEXT >> 20)
            }
            () if self.files > MAX_FILES => format!("the zone is more than {MAX_FILES} files"),
            () if self.repeated > MAX_REPEATED => {
                format!(
                    "files that the zone includes again and again come to more than {} MiB",
                    MAX_REPEATED >> 20
                )
            }
            () => String::new(),
        };
        if !too_large.is_empty() {
            self.diagnostics
                .error("zone-too-large", at, "", too_large)
                .hint("split it into several zones");
            self.stop();
            return;
        }
        self.chain.push(input.file.clone());
        let outer_accepted =
            std::mem::replace(&mut self.accepted, self.include.is_accepted(&input.file));
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
            let result = match fault {
                Some((fault, token)) => {
                    self.records.unread.anywhere = true;
                    Err(describe(fault, token))
                }
                None if !tokens[0].quoted && source.text(tokens[0]).starts_with('$') => {
                    let done = self.directive(&source);
                    self.records.unread.anywhere |= done.is_err();
                    done
                }
                None => self.record(&source),
            };
            match result {
                Ok(()) => self.accept(input),
                Err(bad) => self.report(&source, bad),
            }
        }
        self.chain.pop();
        self.refuse(input);
        self.accepted = outer_accepted;
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

    /// Says of a file without one record that it is no master file, and nothing of what it holds.
    fn refuse(&mut self, input: &Input) {
        let held = std::mem::take(&mut self.held);
        let Some(first) = held.iter().next() else {
            return;
        };
        self.records.unread.anywhere = true;
        let message = format!(
            "{} is no master file: none of its entries is a record (the first fails with {}), so its text is not shown",
            input.file, first.rule
        );
        self.diagnostics
            .error(
                "not-a-master-file",
                At {
                    length: 0,
                    ..first.at.clone()
                },
                "",
                message,
            )
            .hint("name the file that holds the records of the zone");
    }

    fn report(&mut self, source: &Source<'_>, bad: Bad) {
        let Bad {
            token,
            rule,
            message,
            hint,
        } = bad;
        // Where something is missing, the last that is there is marked.
        let at = match token.or(source.tokens.last().copied()) {
            Some(token) => source.at(token),
            None => At::file(source.input.file.clone()),
        };
        // What is wrong is said once the file is known to be a master file.
        let out = if self.accepted {
            &mut *self.diagnostics
        } else {
            &mut self.held
        };
        if self.errors == MAX_ERRORS {
            out.error(
                "too-many-errors",
                at,
                "",
                format!("more than {MAX_ERRORS} errors in this zone; the rest is not read"),
            )
            .hint("mend those above first; is this a master file at all?");
            self.stop();
            return;
        }
        self.errors += 1;
        let diagnostic = out.error(rule, at, key(source, &self.owner, self.zone), message);
        if let Some(hint) = hint {
            diagnostic.hint(hint);
        }
    }

    /// A warning about `token` of a record that was read.
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
            let key = key(source, &self.owner, self.zone);
            self.diagnostics
                .warning(rule, source.at(token), key, message)
                .hint(hint);
        }
    }

    fn record(&mut self, source: &Source<'_>) -> Result<(), Bad> {
        let (first, mut rest) = source.tokens.split_first().expect("an entry has tokens");
        let mut odd = Vec::new();
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
            let read =
                words::append_name(*first, &source.input.text, &self.origin, &mut self.owner);
            if read.is_err() {
                // Lines that take this owner over are judged for themselves.
                self.owner = self.origin.as_wire().to_vec();
                self.records.unread.anywhere = true;
            }
            read?;
            if words::is_doubled(source.text(*first), &self.zone_text) {
                odd.push((*first, Odd::Doubled));
            }
        }
        let read = self.data(source, *first, rest, &mut odd);
        if read.is_err()
            && let Some(owner) = Name::from_wire(&self.owner)
        {
            self.records.unread.names.push(owner);
        }
        read?;
        for (token, odd) in odd {
            self.warn_odd(source, token, odd);
        }
        Ok(())
    }

    /// What follows the owner.
    fn data<'s>(
        &mut self,
        source: &Source<'s>,
        first: Token,
        mut rest: &'s [Token],
        odd: &mut Vec<(Token, Odd)>,
    ) -> Result<(), Bad> {
        let head = head(source, &mut rest)?;
        self.rdata.clear();
        let mut words = Words {
            text: &source.input.text,
            tokens: rest,
            origin: &self.origin,
            zone: &self.zone_text,
            odd,
        };
        if !is_a(head.rtype, &words, &mut self.rdata) {
            rdata::read(head.rtype, &mut words, &mut self.rdata).map_err(|bad| Bad {
                token: bad.token.or(rest.last().copied()).or(Some(head.type_token)),
                ..bad
            })?;
        }
        if !source.input.escapes.is_empty() {
            check_escapes(source, head.rtype, rest, odd)?;
        }
        let ttl = self.ttl(source, &head)?;
        if self.records.stored() > MAX_STORED {
            self.stop();
            return Err(bad(
                first,
                "zone-too-large",
                "the zone's names and rdata are more than 4 GiB",
            )
            .hint("split it into several zones"));
        }
        let (line, column) = source.position(first);
        self.records.push(
            &self.owner,
            head.rtype,
            ttl,
            &self.rdata,
            (&source.input.file, line, column),
        );
        self.last_ttl = Some(ttl);
        Ok(())
    }

    fn warn_odd(&mut self, source: &Source<'_>, token: Token, odd: Odd) {
        let written = source.text(token);
        let (rule, message, hint) = match odd {
            Odd::Doubled => {
                let name = Name::from_text(written, Some(&self.origin))
                    .map(|name| name.to_string())
                    .unwrap_or_default();
                let message = format!("{} has no final dot, so it is {name}", quote(written));
                (
                    "doubled-zone-name",
                    message,
                    format!("write {written}. for the name in full"),
                )
            }
            Odd::AtSign => {
                let message = format!(
                    "the mailbox {} has an @, which is no separator in a name",
                    quote(written)
                );
                let dotted = written.trim_end_matches('.').replacen('@', ".", 1);
                (
                    "mailbox-with-at",
                    message,
                    format!("write {dotted}. with dots only, the last one too"),
                )
            }
            Odd::NotUtf8 => {
                let message =
                    "the string is not UTF-8; its octets are served as they stand".to_owned();
                (
                    "not-utf8",
                    message,
                    "save the file as UTF-8 if it is to be read as text: iconv -f latin1 -t utf-8"
                        .to_owned(),
                )
            }
        };
        self.warn(source, token, rule, message, hint);
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
        const KNOWN: [&str; 4] = ["$ORIGIN", "$TTL", "$INCLUDE", "$GENERATE"];
        let token = source.tokens[0];
        let name = source.text(token).to_ascii_uppercase();
        if KNOWN.contains(&&*name) {
            self.accept(source.input);
        }
        match (name.as_str(), &source.tokens[1..]) {
            ("$ORIGIN", [origin]) => self.origin = self.name(source, *origin)?,
            ("$TTL", [ttl]) => {
                let read = words::seconds(source.text(*ttl));
                // After a bad one the records that count on it are not reported each.
                self.default_ttl = Some(read.unwrap_or(Ttl::MAX));
                read.map_err(|why| {
                    bad(
                        *ttl,
                        "bad-ttl",
                        format!("the TTL {} {why}", quote(source.text(*ttl))),
                    )
                })?;
            }
            ("$INCLUDE", [file]) => self.include(source, *file, self.origin.clone())?,
            ("$INCLUDE", [file, origin]) => {
                let origin = self.name(source, *origin)?;
                self.include(source, *file, origin)?;
            }
            ("$ORIGIN", _) => {
                return Err(bad(token, "bad-directive", "$ORIGIN takes one name")
                    .hint("$ORIGIN example.com."));
            }
            ("$TTL", _) => {
                return Err(bad(token, "bad-directive", "$TTL takes one TTL").hint("$TTL 1h"));
            }
            ("$INCLUDE", _) => {
                return Err(bad(
                    token,
                    "bad-directive",
                    "$INCLUDE takes a file, and an origin if wanted",
                )
                .hint("$INCLUDE hosts.zone sub.example.com."));
            }
            ("$GENERATE", [range, owner, rest @ ..]) if !rest.is_empty() => {
                self.generate(source, *range, *owner, rest)?
            }
            ("$GENERATE", _) => {
                return Err(bad(
                    token,
                    "bad-directive",
                    "$GENERATE takes a range, an owner, a type and rdata",
                )
                .hint("$GENERATE 1-254 host-$ A 192.0.2.$"));
            }
            (other, _) => {
                let hint = match did_you_mean(other, KNOWN) {
                    Some(known) => format!("did you mean {known}?"),
                    None => format!(
                        "known are {}; a name that starts with $ is written \\$",
                        KNOWN.join(", ")
                    ),
                };
                return Err(bad(
                    token,
                    "unknown-directive",
                    format!("{} is not a directive", quote(other)),
                )
                .hint(hint));
            }
        }
        Ok(())
    }

    fn name(&self, source: &Source<'_>, token: Token) -> Result<Name, Bad> {
        let mut wire = Vec::new();
        words::append_name(token, &source.input.text, &self.origin, &mut wire)?;
        Ok(Name::from_wire(&wire).expect("append_name makes names"))
    }

    /// `$GENERATE`: a record for each number of a range, as BIND writes them.
    fn generate(
        &mut self,
        source: &Source<'_>,
        range: Token,
        owner: Token,
        rest: &[Token],
    ) -> Result<(), Bad> {
        let wrong =
            |token: Token| move |why: String| bad(token, "bad-generate", why).hint(generate::FORM);
        let range_text = source.text(range);
        let range = generate::Range::read(range_text).map_err(wrong(range))?;
        self.generated += range.len();
        if self.generated > MAX_GENERATED {
            let message =
                format!("the zone's $GENERATE lines make more than {MAX_GENERATED} records");
            return Err(bad(source.tokens[0], "zone-too-large", message)
                .hint("write fewer, or split the zone"));
        }
        // One quoted string holds rdata of several words; what stands after the type is rdata as it is written.
        let (head, data) = split_generated(source, rest);
        let data = match data {
            [one] if one.quoted => source.text(*one).replace("\\\"", "\""),
            [first, .., last] => {
                source.input.text[whole(*first).start..whole(*last).end].to_owned()
            }
            [one] => source.text(*one).to_owned(),
            [] => String::new(),
        };
        let head: Vec<&str> = head.iter().map(|token| source.text(*token)).collect();
        let template =
            |token: Token, text: &str| generate::Template::read(text).map_err(wrong(token));
        let (lhs, rhs) = (
            template(owner, source.text(owner))?,
            template(*rest.last().unwrap_or(&owner), &data)?,
        );
        let outer_owner = self.owner.clone();
        let at = source.at(source.tokens[0]);
        let mut tokens = Vec::new();
        let mut result = Ok(());
        for number in range {
            let line = format!(
                "{} {} {}\n",
                lhs.fill(number),
                head.join(" "),
                rhs.fill(number)
            );
            let input = Input::whole(source.input.file.clone(), Arc::<str>::from(line).into());
            let Some(entry) = Lexer::new(&input.text).next_entry(&mut tokens) else {
                continue;
            };
            let made = Source {
                input: &input,
                tokens: &tokens,
                inherits_owner: false,
                generated: Some(at.clone()),
            };
            let read = match entry.fault {
                Some((fault, token)) => Err(describe(fault, token)),
                None => self.record(&made),
            };
            if let Err(why) = read {
                // One message for all of them: they are one line.
                let message = format!("for $ = {number}: {}", why.message);
                result = Err(Bad {
                    token: Some(source.tokens[0]),
                    message,
                    ..why
                });
                break;
            }
        }
        self.owner = outer_owner;
        result
    }

    fn include(&mut self, source: &Source<'_>, token: Token, origin: Name) -> Result<(), Bad> {
        let path = source.text(token);
        let room = MAX_TEXT.saturating_sub(self.text) as u64;
        let input = self.include.read(path, &source.input.file, room).map_err(
            |IncludeError {
                 rule,
                 message,
                 hint,
             }| {
                let wrong = bad(
                    token,
                    rule,
                    format!("cannot include {}: {message}", quote(path)),
                );
                Bad { hint, ..wrong }
            },
        )?;
        let shown = |from: usize, chain: &[Arc<str>]| {
            chain[from..]
                .iter()
                .map(|file| &**file)
                .chain([&*input.file])
                .collect::<Vec<_>>()
                .join(" → ")
        };
        if let Some(first) = self.chain.iter().position(|file| *file == input.file) {
            return Err(bad(
                token,
                "include-loop",
                format!(
                    "{} includes itself: {}",
                    input.file,
                    shown(first, &self.chain)
                ),
            ));
        }
        if self.chain.len() > MAX_DEPTH {
            return Err(bad(
                token,
                "include-too-deep",
                format!(
                    "more than {MAX_DEPTH} files inside one another: {}",
                    shown(0, &self.chain)
                ),
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
            ttl = Some(words::seconds(word).map_err(|why| {
                let wrong = bad(token, "bad-ttl", format!("the TTL {} {why}", quote(word)));
                // A number it is: no word that slipped into the place of the TTL.
                if word.bytes().all(|b| b.is_ascii_digit()) {
                    wrong
                } else {
                    wrong.hint(COLUMN)
                }
            })?);
        } else if word.eq_ignore_ascii_case("IN") && class.is_none() {
            class = Some(Class::IN);
        } else if let Ok(rtype) = word.parse::<RrType>() {
            is_readable(rtype, token, rest, source)?;
            return Ok(Head {
                ttl,
                rtype,
                type_token: token,
            });
        } else if let (Ok(read), None) = (word.parse::<Class>(), class) {
            if read != Class::IN {
                return Err(bad(
                    token,
                    "class-not-in",
                    format!("the class {} is not served, only IN", quote(word)),
                )
                .hint("leave the class out, or write IN"));
            }
            class = Some(read);
        } else if let Some((name, about, hint)) = FOREIGN
            .iter()
            .find(|(name, ..)| name.eq_ignore_ascii_case(word))
        {
            return Err(bad(
                token,
                "foreign-type",
                format!("{name} is no DNS type but {about}, and is not served"),
            )
            .hint(*hint));
        } else {
            return Err(bad(
                token,
                "unknown-type",
                format!("{} is not a record type", quote(word)),
            )
            .hint(format!(
                "{COLUMN}; a type without a name is written as {GENERIC}"
            )));
        }
    }
    let last = *source.tokens.last().expect("an entry has tokens");
    Err(bad(last, "no-type", "the entry has no record type").hint(COLUMN))
}

/// Types that other servers have beside those of DNS, and what to write here.
const FOREIGN: &[(&str, &str, &str)] = &[
    (
        "ALIAS",
        "PowerDNS's and some providers' copy of another name's addresses",
        SERVICE,
    ),
    (
        "LUA",
        "PowerDNS's script that chooses addresses",
        "write a service: [services.NAME] with a route, checks, and pools by region",
    ),
    (
        "DYNA",
        "gdnsd's addresses by a plugin",
        "write a service: [services.NAME] with a route, checks, and pools by region",
    ),
    (
        "DYNC",
        "gdnsd's CNAME by a plugin",
        "write a service: [services.NAME] whose endpoints are names ending in a dot",
    ),
];
const SERVICE: &str = "write a service instead: [services.NAME] with endpoints that are addresses or names ending in a dot";

/// Parts the tokens after the owner of a `$GENERATE` into TTL, class and type, and rdata.
fn split_generated<'t>(source: &Source<'_>, tokens: &'t [Token]) -> (&'t [Token], &'t [Token]) {
    let is_type = |token: &Token| {
        let word = source.text(*token);
        !word.starts_with(|c: char| c.is_ascii_digit()) && word.parse::<Class>().is_err()
    };
    tokens.split_at(
        tokens
            .iter()
            .position(is_type)
            .map_or(tokens.len(), |at| at + 1),
    )
}

/// The bytes of a token with its quotes.
fn whole(token: Token) -> std::ops::Range<usize> {
    let quote = usize::from(token.quoted);
    token.start as usize - quote..token.end as usize + quote
}

/// Octets that are not UTF-8 are taken in strings, and nowhere else.
fn check_escapes(
    source: &Source<'_>,
    rtype: RrType,
    rdata: &[Token],
    odd: &mut Vec<(Token, Odd)>,
) -> Result<(), Bad> {
    let escapes = &source.input.escapes;
    let has_escape = |token: &Token| {
        let first = escapes.partition_point(|at| *at < token.start);
        escapes.get(first).is_some_and(|at| *at < token.end)
    };
    let outside = source.tokens[..source.tokens.len() - rdata.len()].iter();
    let strings = [RrType::TXT, RrType::SPF, RrType::HINFO].contains(&rtype);
    if let Some(token) = outside
        .chain(rdata.iter().filter(|_| !strings))
        .find(|token| has_escape(token))
    {
        return Err(bad(
            *token,
            "not-utf8",
            "octets that are not UTF-8 stand outside a comment and a string",
        )
        .hint("write the label in its ASCII form, xn--…, or its octets as \\DDD"));
    }
    odd.extend(
        rdata
            .iter()
            .filter(|token| has_escape(token))
            .map(|token| (*token, Odd::NotUtf8)),
    );
    Ok(())
}

const COLUMN: &str =
    "a line that starts in the first column starts with an owner name, then TTL, class and type";
const GENERIC: &str = "TYPE65400 \\# 3 010203 (RFC 3597)";

/// Refuses types that no zone holds, and those that cannot be read the way they are written.
fn is_readable(
    rtype: RrType,
    token: Token,
    rest: &[Token],
    source: &Source<'_>,
) -> Result<(), Bad> {
    if rtype == RrType::ANAME {
        return Err(bad(token, "aname", "ANAME records are not served").hint(SERVICE));
    }
    // "values 128 through 255 … are allocated for Q and Meta TYPEs" (RFC 6895 §3.1); 0 and OPT are none of a zone either.
    if rtype.0 == 0 || rtype == RrType::OPT || (128..=255).contains(&rtype.0) {
        return Err(bad(
            token,
            "meta-type",
            format!("{rtype} is a type of queries and messages, no zone holds records of it"),
        ));
    }
    let generic = rest
        .first()
        .is_some_and(|token| source.text(*token) == r"\#");
    if !generic && !rdata::is_readable(rtype) {
        let message = format!(
            "{rtype} is record type {}, and its text form is not read here",
            rtype.0
        );
        return Err(bad(token, "type-not-read", message)
            .hint(format!("write it in the form of RFC 3597: TYPE{} \\# <length> <hex>; it is served as it stands", rtype.0)));
    }
    Ok(())
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

/// The record as messages name it: owner as written and type, as far as they can be seen.
fn key(source: &Source<'_>, owner: &[u8], zone: &Name) -> String {
    let Some(first) = source
        .tokens
        .first()
        .filter(|first| !source.text(**first).starts_with('$'))
    else {
        return String::new();
    };
    let rest = if source.inherits_owner {
        source.tokens
    } else {
        &source.tokens[1..]
    };
    let shown = match Name::from_wire(owner).filter(|_| source.inherits_owner) {
        Some(owner) => owner.relative_to(zone),
        None if source.inherits_owner => String::new(),
        None => source
            .text(*first)
            .chars()
            .filter(|c| !c.is_control())
            .take(60)
            .collect(),
    };
    let before_type = |word: &&str| {
        word.starts_with(|c: char| c.is_ascii_digit()) || word.parse::<Class>().is_ok()
    };
    let rtype = rest
        .iter()
        .map(|token| source.text(*token))
        .find(|word| !before_type(word))
        .and_then(|word| word.parse::<RrType>().ok());
    match rtype {
        Some(rtype) if shown.is_empty() => rtype.to_string(),
        Some(rtype) => format!("{shown} {rtype}"),
        None => shown,
    }
}

#[cfg(test)]
mod tests;
