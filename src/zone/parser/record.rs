//! Entries that are records: owner, TTL, class, type and rdata.

use super::super::lexer::Token;
use super::super::rdata;
use super::super::words::{self, Bad, Odd, Words, quote};
use super::{MAX_STORED, Parser, Source, bad};
use crate::dns::{Class, Name, RrType, Ttl};

const COLUMN: &str =
    "a line that starts in the first column starts with an owner name, then TTL, class and type";
const GENERIC: &str = "TYPE65400 \\# 3 010203 (RFC 3597)";

/// TTL and type of a record, and the place of the type.
struct Head {
    ttl: Option<Ttl>,
    rtype: RrType,
    type_token: Token,
}

impl Parser<'_> {
    pub(super) fn record(&mut self, source: &Source<'_>) -> Result<(), Bad> {
        let mut odd = Vec::new();
        let rest = self.owner(source, &mut odd)?;
        let read = self.data(source, rest, &mut odd);
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

    /// Reads the owner, or takes that of the record before; gives the tokens after it.
    fn owner<'s>(
        &mut self,
        source: &Source<'s>,
        odd: &mut Vec<(Token, Odd)>,
    ) -> Result<&'s [Token], Bad> {
        let (first, rest) = source.tokens.split_first().expect("an entry has tokens");
        if source.inherits_owner {
            if self.owner.is_empty() {
                let message = "the line starts with a blank, but there is no owner name before it";
                return Err(bad(*first, "no-owner", message)
                    .hint("write the name in the first column; @ is the zone itself"));
            }
            return Ok(source.tokens);
        }
        self.owner.clear();
        let read = words::append_name(*first, &source.input.text, &self.origin, &mut self.owner);
        if let Err(why) = read {
            // Lines that take this owner over are judged for themselves.
            self.owner = self.origin.as_wire().to_vec();
            self.records.unread.anywhere = true;
            return Err(why);
        }
        if words::is_doubled(source.text(*first), &self.zone_text) {
            odd.push((*first, Odd::Doubled));
        }
        Ok(rest)
    }

    /// Reads the tokens after the owner, and stores the record.
    fn data<'s>(
        &mut self,
        source: &Source<'s>,
        mut rest: &'s [Token],
        odd: &mut Vec<(Token, Odd)>,
    ) -> Result<(), Bad> {
        let first = source.tokens[0];
        let head = head(source, &mut rest)?;
        self.rdata.clear();
        let mut fields = Words {
            text: &source.input.text,
            tokens: rest,
            origin: &self.origin,
            zone: &self.zone_text,
            odd,
        };
        if !is_a(head.rtype, &fields, &mut self.rdata) {
            rdata::read(head.rtype, &mut fields, &mut self.rdata).map_err(|bad| Bad {
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
            let message = "the zone's names and rdata are more than 4 GiB";
            return Err(bad(first, "zone-too-large", message).hint("split it into several zones"));
        }
        let (line, column) = source.position(first);
        let at = (&source.input.file, line, column);
        self.records
            .push(&self.owner, head.rtype, ttl, &self.rdata, at);
        self.last_ttl = Some(ttl);
        Ok(())
    }

    fn warn_odd(&mut self, source: &Source<'_>, token: Token, odd: Odd) {
        let written = source.text(token);
        let (rule, message, hint) = match odd {
            Odd::Doubled => {
                let name = Name::from_text(written, Some(&self.origin));
                let name = name.map(|name| name.to_string()).unwrap_or_default();
                (
                    "doubled-zone-name",
                    format!("{} has no final dot, so it is {name}", quote(written)),
                    format!("write {written}. for the full name"),
                )
            }
            Odd::AtSign => {
                let dotted = written.trim_end_matches('.').replacen('@', ".", 1);
                (
                    "mailbox-with-at",
                    format!(
                        "the mailbox {} contains an @, which does not separate labels",
                        quote(written)
                    ),
                    format!("write {dotted}. with dots only, the last one too"),
                )
            }
            Odd::NotUtf8 => (
                "not-utf8",
                "the string is not UTF-8; its octets are served as they are".to_owned(),
                "if it is meant as text, convert the file: iconv -f latin1 -t utf-8".to_owned(),
            ),
        };
        self.warn(source, token, rule, message, hint);
    }

    /// The TTL of a record, by the rules of the module's head.
    fn ttl(&mut self, source: &Source<'_>, head: &Head) -> Result<Ttl, Bad> {
        if let Some(ttl) = head.ttl.or(self.default_ttl).or(self.last_ttl) {
            return Ok(ttl);
        }
        if head.rtype != RrType::SOA {
            let message =
                "the record has no TTL, and neither $TTL nor a record before it gives one";
            return Err(bad(head.type_token, "no-ttl", message)
                .hint("write $TTL 1h above the first record"));
        }
        let minimum = self.rdata.last_chunk().expect("a SOA ends in its minimum");
        let ttl = Ttl::from_secs(u32::from_be_bytes(*minimum)).expect("read as a Ttl");
        let message = format!("no TTL is written, so the SOA gets its own minimum, {ttl}");
        let key = source.key(&self.owner, self.zone);
        self.diagnostics
            .warning("ttl-from-soa", source.at(head.type_token), key, message)
            .hint("write $TTL above it");
        Ok(ttl)
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
            ttl = Some(head_ttl(token, word)?);
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
                let message = format!("the class {} is not served, only IN", quote(word));
                return Err(
                    bad(token, "class-not-in", message).hint("leave the class out, or write IN")
                );
            }
            class = Some(read);
        } else {
            return Err(no_type(token, word));
        }
    }
    let last = *source.tokens.last().expect("an entry has tokens");
    Err(bad(last, "no-type", "the entry has no record type").hint(COLUMN))
}

fn head_ttl(token: Token, word: &str) -> Result<Ttl, Bad> {
    words::seconds(word).map_err(|why| {
        let wrong = bad(token, "bad-ttl", format!("the TTL {} {why}", quote(word)));
        // A number is a TTL that is too large. Anything else may be an owner that slipped from its
        // column.
        match word.bytes().all(|b| b.is_ascii_digit()) {
            true => wrong,
            false => wrong.hint(COLUMN),
        }
    })
}

/// A word in the place of the type that is no type.
fn no_type(token: Token, word: &str) -> Bad {
    for (name, about, hint) in FOREIGN {
        if name.eq_ignore_ascii_case(word) {
            let message = format!("{name} is not a DNS type but {about}; it is not served");
            return bad(token, "foreign-type", message).hint(*hint);
        }
    }
    let message = format!("{} is not a record type", quote(word));
    bad(token, "unknown-type", message).hint(format!(
        "{COLUMN}; a type without a name is written as {GENERIC}"
    ))
}

/// Types that other servers have beside those of DNS, what they are, and what to write here.
const FOREIGN: &[(&str, &str, &str)] = &[
    (
        "ALIAS",
        "a copy of another name's addresses in PowerDNS and at some providers",
        SERVICE,
    ),
    (
        "LUA",
        "a script of PowerDNS that chooses addresses",
        "write a service: [services.NAME] with a route, checks, and pools by region",
    ),
    (
        "DYNA",
        "addresses from a plugin of gdnsd",
        "write a service: [services.NAME] with a route, checks, and pools by region",
    ),
    (
        "DYNC",
        "a CNAME from a plugin of gdnsd",
        "write a service: [services.NAME] whose endpoints are names ending in a dot",
    ),
];
const SERVICE: &str = "write a service instead: [services.NAME] with endpoints that are addresses or names ending in a dot";

/// Takes octets that are not UTF-8 in strings, and refuses them elsewhere.
fn check_escapes(
    source: &Source<'_>,
    rtype: RrType,
    rdata: &[Token],
    odd: &mut Vec<(Token, Odd)>,
) -> Result<(), Bad> {
    let has_strings = [RrType::TXT, RrType::SPF, RrType::HINFO].contains(&rtype);
    let rdata_at = source.tokens.len() - rdata.len();
    for (i, token) in source.tokens.iter().enumerate() {
        if !has_escape(&source.input.escapes, *token) {
            continue;
        }
        if i < rdata_at || !has_strings {
            let message = "octets that are not UTF-8 stand outside a comment and a string";
            return Err(bad(*token, "not-utf8", message)
                .hint("write the label in its ASCII form, xn--…, or its octets as \\DDD"));
        }
        odd.push((*token, Odd::NotUtf8));
    }
    Ok(())
}

/// True when an octet of the token was not UTF-8; `escapes` are the places of such octets, in
/// order.
fn has_escape(escapes: &[u32], token: Token) -> bool {
    let first = escapes.partition_point(|at| *at < token.start);
    escapes.get(first).is_some_and(|at| *at < token.end)
}

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
    // "values 128 through 255 … are allocated for Q and Meta TYPEs" (RFC 6895 §3.1); 0 and OPT are
    // none of a zone either.
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
