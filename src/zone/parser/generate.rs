//! `$GENERATE`: a record for each number of a range, as BIND writes them.

use std::sync::Arc;

use super::super::generate::{BadGenerate, FORM, Range, Template};
use super::super::lexer::{Lexer, Token};
use super::super::records::Input;
use super::super::words::Bad;
use super::source::is_ttl_or_class;
use super::{MAX_GENERATED, Parser, Source, bad, describe};

/// The templates of one `$GENERATE`.
struct Line {
    owner: Template,
    /// TTL, class and type, as written.
    head: String,
    data: Template,
}

impl Parser<'_> {
    /// Reads the records that one line makes. `rest` is not empty.
    pub(super) fn generate(
        &mut self,
        source: &Source<'_>,
        range: Token,
        owner: Token,
        rest: &[Token],
    ) -> Result<(), Bad> {
        let numbers = Range::read(source.text(range)).map_err(|why| wrong(range, &why))?;
        self.generated += numbers.len();
        if self.generated > MAX_GENERATED {
            let message =
                format!("the zone's $GENERATE lines make more than {MAX_GENERATED} records");
            return Err(bad(source.tokens[0], "zone-too-large", message)
                .hint("write fewer, or split the zone"));
        }
        let line = Line::read(source, owner, rest)?;
        let outer_owner = self.owner.clone();
        let result = self.fill(source, &line, numbers);
        self.owner = outer_owner;
        result
    }

    fn fill(&mut self, source: &Source<'_>, line: &Line, numbers: Range) -> Result<(), Bad> {
        let directive = source.tokens[0];
        let at = source.at(directive);
        let mut tokens = Vec::new();
        for number in numbers {
            let text: Arc<str> = line.fill(number).into();
            let input = Input::whole(source.input.file.clone(), text.into());
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
            // One message for all of them: they are one line, and most likely wrong in one way.
            read.map_err(|why| Bad {
                token: Some(directive),
                message: format!("for $ = {number}: {}", why.message),
                ..why
            })?;
        }
        Ok(())
    }
}

impl Line {
    fn read(source: &Source<'_>, owner: Token, rest: &[Token]) -> Result<Line, Bad> {
        // The first word that is neither TTL nor class is the type; the rdata follows it.
        let is_type = |token: &Token| !is_ttl_or_class(source.text(*token));
        let data_at = rest
            .iter()
            .position(is_type)
            .map_or(rest.len(), |at| at + 1);
        let (head, data) = rest.split_at(data_at);
        let data_token = *rest.last().unwrap_or(&owner);
        // One quoted string holds rdata of several words; else rdata is what stands there, blanks
        // and quotes included.
        let data = match data {
            [one] if one.quoted => source.text(*one).replace("\\\"", "\""),
            [first, .., last] => {
                source.input.text[whole(*first).start..whole(*last).end].to_owned()
            }
            [one] => source.text(*one).to_owned(),
            [] => String::new(),
        };
        let head: Vec<&str> = head.iter().map(|token| source.text(*token)).collect();
        Ok(Line {
            owner: Template::read(source.text(owner)).map_err(|why| wrong(owner, &why))?,
            head: head.join(" "),
            data: Template::read(&data).map_err(|why| wrong(data_token, &why))?,
        })
    }

    fn fill(&self, number: u32) -> String {
        let (owner, data) = (self.owner.fill(number), self.data.fill(number));
        format!("{owner} {} {data}\n", self.head)
    }
}

fn wrong(token: Token, why: &BadGenerate) -> Bad {
    bad(token, "bad-generate", why.to_string()).hint(FORM)
}

/// The bytes of a token with its quotes.
fn whole(token: Token) -> std::ops::Range<usize> {
    let quote = usize::from(token.quoted);
    token.start as usize - quote..token.end as usize + quote
}
