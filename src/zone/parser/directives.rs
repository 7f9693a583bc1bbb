//! Entries that start with `$`.

use super::super::lexer::Token;
use super::super::words::{self, Bad, quote};
use super::{Parser, Source, bad};
use crate::diag::did_you_mean;
use crate::dns::{Name, Ttl};

/// Every directive: its name, its operands in words, and an example.
const DIRECTIVES: [(&str, &str, &str); 4] = [
    ("$ORIGIN", "one name", "$ORIGIN example.com."),
    ("$TTL", "one TTL", "$TTL 1h"),
    (
        "$INCLUDE",
        "a file, and an origin if wanted",
        "$INCLUDE hosts.zone sub.example.com.",
    ),
    (
        "$GENERATE",
        "a range, an owner, a type and rdata",
        "$GENERATE 1-254 host-$ A 192.0.2.$",
    ),
];

impl Parser<'_> {
    pub(super) fn directive(&mut self, source: &Source<'_>) -> Result<(), Bad> {
        let token = source.tokens[0];
        let name = source.text(token).to_ascii_uppercase();
        let known = DIRECTIVES.iter().find(|(known, ..)| *known == name);
        let Some((_, operands, example)) = known else {
            return Err(unknown(token, &name));
        };
        // No other file has such lines: it is a master file, and may be shown.
        self.accept(source.input);
        match (name.as_str(), &source.tokens[1..]) {
            ("$ORIGIN", [origin]) => self.origin = self.name(source, *origin)?,
            ("$TTL", [ttl]) => self.set_ttl(source, *ttl)?,
            ("$INCLUDE", [file]) => self.include(source, *file, self.origin.clone())?,
            ("$INCLUDE", [file, origin]) => {
                let origin = self.name(source, *origin)?;
                self.include(source, *file, origin)?;
            }
            ("$GENERATE", [range, owner, rest @ ..]) if !rest.is_empty() => {
                self.generate(source, *range, *owner, rest)?;
            }
            _ => {
                let message = format!("{name} takes {operands}");
                return Err(bad(token, "bad-directive", message).hint(*example));
            }
        }
        Ok(())
    }

    fn set_ttl(&mut self, source: &Source<'_>, token: Token) -> Result<(), Bad> {
        let word = source.text(token);
        let read = words::seconds(word);
        // After a bad one the records that count on it are not reported each.
        self.default_ttl = Some(read.unwrap_or(Ttl::MAX));
        match read {
            Ok(_) => Ok(()),
            Err(why) => {
                let message = format!("the TTL {} {why}", quote(word));
                Err(bad(token, "bad-ttl", message))
            }
        }
    }

    fn name(&self, source: &Source<'_>, token: Token) -> Result<Name, Bad> {
        let mut wire = Vec::new();
        words::append_name(token, &source.input.text, &self.origin, &mut wire)?;
        Ok(Name::from_wire(&wire).expect("append_name makes names"))
    }
}

fn unknown(token: Token, name: &str) -> Bad {
    let known = DIRECTIVES.map(|(known, ..)| known);
    let hint = match did_you_mean(name, known) {
        Some(near) => format!("did you mean {near}?"),
        None => format!(
            "the directives are {}; write \\$ for a name that starts with $",
            known.join(", ")
        ),
    };
    let message = format!("{} is not a directive", quote(name));
    bad(token, "unknown-directive", message).hint(hint)
}
