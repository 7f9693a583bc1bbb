//! `meridian token`: tokens for the admin address.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use ring::rand::{SecureRandom, SystemRandom};
use serde_json::json;

use super::error::{Error, Reason};
use crate::config::{TOKEN_PREFIX, TokenScope, token_hash, token_name};

/// The digits of a token: those of Base64 for URLs (RFC 4648 §5).
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Options of `meridian token new`.
#[derive(Debug, clap::Args)]
pub(super) struct New {
    /// Name of whoever is to use the token; the audit log shows it.
    #[arg(value_parser = parse_name)]
    name: String,
    /// Kind of request that the token allows: read, operate, or push:CHECK. May be repeated.
    #[arg(long = "scope", value_name = "SCOPE", required = true, value_parser = parse_scope)]
    scopes: Vec<TokenScope>,
    /// Time after which the token is of no use any more, e.g. 90d [default: none].
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    expires_in: Option<Duration>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

fn parse_name(text: &str) -> Result<String, &'static str> {
    match token_name(text) {
        true => Ok(text.to_owned()),
        false => Err("use up to 64 letters, digits, dots, hyphens, underscores and @"),
    }
}

fn parse_scope(text: &str) -> Result<TokenScope, &'static str> {
    TokenScope::find(text).ok_or("the scopes are read, operate and push:CHECK")
}

impl New {
    /// Makes a token, and prints it with the table for the token file.
    pub(super) fn run(self) -> Result<ExitCode, Error> {
        let token = fresh()?;
        let expires = self.expires_in.map(|time| {
            let end = SystemTime::now() + time;
            humantime::format_rfc3339_seconds(end).to_string()
        });
        let scopes: Vec<String> = self.scopes.iter().map(ToString::to_string).collect();
        if self.json {
            print_line!(
                "{:#}",
                json!({
                    "name": self.name,
                    "token": token,
                    "scopes": scopes,
                    "sha256": token_hash(&token),
                    "expires": expires,
                })
            );
            return Ok(ExitCode::SUCCESS);
        }
        print_line!(
            "# The token. It is shown only now; keep it in a file that only its user can read:"
        );
        print_line!("{token}\n");
        print_line!(
            "# The table for the token file, which [admin] tokens names; reload the server after that:"
        );
        print_line!("{}", table(&self.name, &scopes, &token, expires.as_deref()));
        Ok(ExitCode::SUCCESS)
    }
}

/// The table of a token, in TOML.
fn table(name: &str, scopes: &[String], token: &str, expires: Option<&str>) -> String {
    let mut table = format!(
        "[{name:?}]\nscopes = {scopes:?}\nsha256 = \"{}\"",
        token_hash(token)
    );
    if let Some(expires) = expires {
        table += &format!("\nexpires = {expires}");
    }
    table
}

/// A token of 256 random bits.
fn fresh() -> Result<String, Reason> {
    let mut octets = [0; 32];
    SystemRandom::new().fill(&mut octets).map_err(|_| {
        let error = std::io::Error::other("the system gives no random octets");
        Reason::System("make a token", error)
    })?;
    let mut token = TOKEN_PREFIX.to_owned();
    // 43 digits of 6 bits each; the last two bits are zero.
    for digit in 0..43 {
        let bit = digit * 6;
        let pair = [
            octets[bit / 8],
            octets.get(bit / 8 + 1).copied().unwrap_or_default(),
        ];
        let bits = (u16::from_be_bytes(pair) >> (10 - bit % 8)) & 0x3f;
        token.push(char::from(DIGITS[usize::from(bits)]));
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::read_tokens;
    use crate::diag::{Diagnostics, Sources};

    #[test]
    fn a_fresh_token_is_one_that_its_table_lets_in() {
        let (token, other) = (fresh().unwrap(), fresh().unwrap());
        assert_ne!(token, other);
        assert_eq!(token.len(), TOKEN_PREFIX.len() + 43);
        let scopes = ["read".to_owned(), "push:own".to_owned()];
        let text = table(
            "ann@example.net",
            &scopes,
            &token,
            Some("2030-01-31T00:00:00Z"),
        );
        let mut out = Diagnostics::default();
        let read = read_tokens(Path::new("t"), text.into(), &mut Sources::new(), &mut out);
        let found = read.unwrap().find(&token).unwrap();
        assert_eq!(found.name, "ann@example.net");
        assert_eq!(found.scopes.len(), 2);
        assert!(found.expires.is_some());
    }
}
