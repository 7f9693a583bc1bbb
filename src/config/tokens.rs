//! The token file: who may ask and change what at an admin address beyond loopback.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use ring::{digest, hmac};
use toml::de::DeValue;

use super::document::{Document, Item};
use super::kinds::{distinct, text};
use crate::diag::{At, Diagnostics, Sources, did_you_mean};

/// The beginning of every token, by which scanners of repositories and logs find lost ones.
pub const TOKEN_PREFIX: &str = "meridian_";
/// The most tokens of a file: a request is compared with each.
const MAX_TOKENS: usize = 1000;
/// The longest name of a token, in octets.
const MAX_NAME: usize = 64;

/// The scope of a token: a kind of request that it allows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TokenScope {
    /// `read`: everything that changes nothing.
    Read,
    /// `operate`: everything that changes overrides, units and files.
    Operate,
    /// `push:CHECK`: reports for the endpoints of this `push` check.
    Push(String),
}

impl fmt::Display for TokenScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TokenScope::Read => f.write_str("read"),
            TokenScope::Operate => f.write_str("operate"),
            TokenScope::Push(check) => write!(f, "push:{check}"),
        }
    }
}

impl TokenScope {
    /// The scope with this name; `None` where no scope has it.
    pub fn find(name: &str) -> Option<TokenScope> {
        match name {
            "read" => Some(TokenScope::Read),
            "operate" => Some(TokenScope::Operate),
            _ => {
                let check = name.strip_prefix("push:")?;
                (!check.is_empty()).then(|| TokenScope::Push(check.to_owned()))
            }
        }
    }
}

/// A token, as the token file has it: its hash, and not itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its name, for records and logs.
    pub name: String,
    /// The requests that it allows; at least one kind.
    pub scopes: Vec<TokenScope>,
    /// The Unix time from which it is of no use any more.
    pub expires: Option<Duration>,
    /// The SHA-256 of the token.
    sha256: [u8; 32],
}

/// The tokens of a file.
#[derive(Debug, Clone)]
pub struct Tokens {
    tokens: Arc<[Arc<Token>]>,
    /// The key by which hashes are compared.
    key: hmac::Key,
    /// By token: the authentication code of its hash.
    tags: Arc<[hmac::Tag]>,
}

impl PartialEq for Tokens {
    fn eq(&self, other: &Tokens) -> bool {
        self.tokens == other.tokens
    }
}

impl Eq for Tokens {}

impl Default for Tokens {
    fn default() -> Tokens {
        Tokens::new(Vec::new())
    }
}

impl Tokens {
    fn new(tokens: Vec<Token>) -> Tokens {
        // It need not be secret: ring's comparison of authentication codes takes the same time
        // whatever they are, and that is all that is wanted of it.
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"meridian tokens");
        let tags = tokens.iter().map(|token| hmac::sign(&key, &token.sha256));
        Tokens {
            tags: tags.collect(),
            tokens: tokens.into_iter().map(Arc::new).collect(),
            key,
        }
    }

    /// The token that a request shows; `None` where it is none of these. Takes the same time
    /// whichever it is.
    pub fn find(&self, shown: &str) -> Option<Arc<Token>> {
        let hash = hash(shown);
        let mut found = None;
        // All are compared: the time must not tell which one was near.
        for (token, tag) in self.tokens.iter().zip(&*self.tags) {
            if hmac::verify(&self.key, &hash, tag.as_ref()).is_ok() {
                found = Some(token);
            }
        }
        found.cloned()
    }

    /// The number of tokens.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// True without tokens: nobody is let in.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The tokens, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Token> {
        self.tokens.iter().map(|token| &**token)
    }
}

/// The SHA-256 of a token.
///
/// A plain hash is right for tokens, unlike for passwords: nobody can try out 256 random bits.
fn hash(token: &str) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, token.as_bytes());
    digest.as_ref().try_into().expect("SHA-256 has 32 octets")
}

/// The SHA-256 of a token as the token file has it, in lower-case hexadecimal digits.
pub fn token_hash(token: &str) -> String {
    let mut text = String::with_capacity(64);
    for octet in hash(token) {
        text += &format!("{octet:02x}");
    }
    text
}

/// Reads a token file, whose text goes into `sources`; `None` where anything is wrong with it, all
/// of which is in `out` then.
pub fn read_tokens(
    path: &Path,
    text: Arc<str>,
    sources: &mut Sources,
    out: &mut Diagnostics,
) -> Option<Tokens> {
    let document = Document::new(path.display().to_string().into(), text);
    // A file that is no token file may hold anything, and is shown nowhere.
    if !document.has_key(&["scopes", "sha256"]) && !document.is_empty() {
        let message = format!("{} is not a token file", document.file);
        let at = At::file(document.file.clone());
        out.error("not-a-token-file", at, "", message)
            .hint("`meridian token new NAME --scope read` prints a table of it");
        return None;
    }
    sources.insert(document.file.clone(), document.text.clone());
    let entries = document.parse(out)?;
    let mut items: Vec<_> = document.root(&entries).items().collect();
    items.sort_by_key(|(name, _)| *name);
    if let Some((_, item)) = items.get(MAX_TOKENS) {
        let message = format!("there are more than {MAX_TOKENS} tokens");
        item.key_error(out, "too-many", message);
        return None;
    }
    let tokens: Vec<_> = items
        .iter()
        .map(|(name, item)| token(name, item, out))
        .collect();
    let tokens = tokens.into_iter().collect::<Option<Vec<Token>>>()?;
    let mut sound = true;
    for (i, (token, (_, item))) in tokens.iter().zip(&items).enumerate() {
        let other = tokens[..i]
            .iter()
            .find(|other| other.sha256 == token.sha256);
        if let Some(other) = other {
            let message = format!("the token is that of {} as well", other.name);
            item.key_error(out, "duplicate-token", message)
                .hint("give every user a token of its own, so that each can be withdrawn");
            sound = false;
        }
    }
    sound.then(|| Tokens::new(tokens))
}

fn token(name: &str, item: &Item<'_>, out: &mut Diagnostics) -> Option<Token> {
    let named = token_name(name);
    if !named {
        item.key_error(
            out,
            "bad-name",
            format!("{name:?} is not the name of a token"),
        )
        .hint("use up to 64 letters, digits, dots, hyphens, underscores and @");
    }
    let mut t = item.table(out)?;
    let hint = "write scopes = [\"read\"], [\"operate\"] or [\"push:CHECK\"]";
    let scopes = t.required(out, "scopes", hint, scopes);
    let hint = "`meridian token new` prints a token and its hash";
    let sha256 = t.required(out, "sha256", hint, sha256);
    let expires = t.optional(out, "expires", moment);
    if !t.finish(out) || !named {
        return None;
    }
    Some(Token {
        name: name.to_owned(),
        scopes: scopes?,
        expires,
        sha256: sha256?,
    })
}

/// True for a name that a token may have.
pub fn token_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name
            .bytes()
            .all(|octet| octet.is_ascii_alphanumeric() || b"-_.@".contains(&octet))
}

fn scopes(item: &Item<'_>, out: &mut Diagnostics) -> Option<Vec<TokenScope>> {
    let scopes = distinct(scope, "scope")(item, out)?;
    if scopes.is_empty() {
        item.error(
            out,
            "empty-value",
            "the list is empty, so the token allows nothing",
        )
        .hint("remove the table to withdraw the token");
        return None;
    }
    Some(scopes)
}

fn scope(item: &Item<'_>, out: &mut Diagnostics) -> Option<TokenScope> {
    let text = item.string(out, "a scope")?;
    if let Some(scope) = TokenScope::find(text) {
        return Some(scope);
    }
    let message = format!("{} is not a scope", item.written());
    let hint = match did_you_mean(text, ["read", "operate", "push"]) {
        Some("push") => "name the check: \"push:CHECK\"".to_owned(),
        Some(near) => format!("did you mean \"{near}\"?"),
        None => "the scopes are \"read\", \"operate\" and \"push:CHECK\"".to_owned(),
    };
    item.error(out, "unknown-scope", message).hint(hint);
    None
}

fn sha256(item: &Item<'_>, out: &mut Diagnostics) -> Option<[u8; 32]> {
    let written = text(item, out)?;
    if written.starts_with(TOKEN_PREFIX) {
        // Its text is not repeated: diagnostics end up in logs.
        let message = "this is a token, and its hash is expected";
        out.error("bad-hash", item.key_at(), item.path.clone(), message).hint(
            "whoever can read the file can use the token: withdraw it, and make another with `meridian token new`",
        );
        return None;
    }
    let hash = octets(&written);
    if hash.is_none() {
        let message = format!(
            "{} is not a SHA-256: it has {} characters, and 64 hexadecimal digits are expected",
            item.written(),
            written.chars().count()
        );
        item.error(out, "bad-hash", message)
            .hint("`meridian token new` prints a token and its hash");
    }
    hash
}

/// The octets of 64 hexadecimal digits.
fn octets(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    let mut octets = [0; 32];
    if digits.len() != 64 {
        return None;
    }
    for (octet, pair) in octets.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = [pair[0], pair[1]].map(|digit| char::from(digit).to_digit(16));
        *octet = u8::try_from(high? * 16 + low?).ok()?;
    }
    Some(octets)
}

/// A date with a time and an offset, as TOML has them; since 1970.
fn moment(item: &Item<'_>, out: &mut Diagnostics) -> Option<Duration> {
    const HINT: &str = "write it like 2027-01-31T00:00:00Z, without quotes";
    let DeValue::Datetime(written) = item.value else {
        item.wrong_type(out, "a date with a time").hint(HINT);
        return None;
    };
    let moment: Option<Timestamp> = written.to_string().parse().ok();
    let since = moment.and_then(|moment| u64::try_from(moment.as_second()).ok());
    if since.is_none() {
        let message = format!("{} is not a moment since 1970", item.written());
        item.error(out, "bad-time", message).hint(HINT);
    }
    since.map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOKEN: &str = "meridian_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG";

    fn read(text: &str) -> Result<Tokens, Vec<String>> {
        let mut out = Diagnostics::default();
        let path = Path::new("tokens.toml");
        let tokens = read_tokens(path, text.into(), &mut Sources::new(), &mut out);
        assert_eq!(tokens.is_none(), out.has_errors());
        tokens.ok_or_else(|| out.iter().map(ToString::to_string).collect())
    }

    fn table(name: &str, token: &str, rest: &str) -> String {
        format!("[{name}]\nsha256 = \"{}\"\n{rest}\n", token_hash(token))
    }

    #[test]
    fn a_token_is_found_by_its_hash_alone() {
        let text = [
            table("grafana", TOKEN, "scopes = [\"read\"]"),
            table(
                "\"ann@example\"",
                "other",
                "scopes = [\"operate\", \"push:own\"]\nexpires = 2027-01-31T01:00:00+01:00",
            ),
        ]
        .concat();
        let tokens = read(&text).unwrap();
        assert_eq!(tokens.len(), 2);
        let found = tokens.find(TOKEN).unwrap();
        assert_eq!((&*found.name, found.expires), ("grafana", None));
        assert_eq!(found.scopes, [TokenScope::Read]);
        let other = tokens.find("other").unwrap();
        assert_eq!(other.expires, Some(Duration::from_secs(1_801_353_600)));
        assert_eq!(other.scopes[1].to_string(), "push:own");
        for wrong in ["", "meridian_", &TOKEN[1..], &token_hash(TOKEN)] {
            assert_eq!(tokens.find(wrong), None, "{wrong}");
        }
        assert!(read("# nobody yet\n").unwrap().is_empty());
    }

    #[test]
    fn a_wrong_file_is_reported_with_every_place() {
        let hash = token_hash(TOKEN);
        let scopes = "scopes = [\"read\"]";
        for (text, said) in [
            ("[a\n", "tokens.toml: error[not-a-token-file]"),
            ("[a]\nscopes = [\"read\"\n", "tokens.toml:2:"),
            (
                &*format!("[a]\n{scopes}\n"),
                "tokens.toml:1:2: error[missing-key]: a.sha256",
            ),
            (
                &format!("[a]\nscopes = [\"raed\"]\nsha256 = \"{hash}\"\n"),
                "tokens.toml:2:11: error[unknown-scope]: a.scopes[0]: \"raed\" is not a scope (did you mean \"read\"?)",
            ),
            (
                &format!("[a]\nscopes = [\"push:\"]\nsha256 = \"{hash}\"\n"),
                "name the check",
            ),
            (
                &format!("[a]\nscopes = []\nsha256 = \"{hash}\"\n"),
                "error[empty-value]",
            ),
            (
                &format!("[a]\n{scopes}\nsha256 = \"{}\"\n", &hash[1..]),
                "it has 63 characters",
            ),
            (
                &format!("[a]\n{scopes}\nsha256 = \"{hash}\"\nexpires = \"2027\"\n"),
                "write it like 2027-01-31T00:00:00Z",
            ),
            (
                &format!("[a]\n{scopes}\nsha256 = \"{hash}\"\nexpires = 2027-01-31\n"),
                "error[bad-time]",
            ),
            (
                &format!("[a]\n{scopes}\nsha256 = \"{hash}\"\nexpire = 2027-01-31\n"),
                "error[unknown-key]",
            ),
            (
                &format!("[\"a b\"]\n{scopes}\nsha256 = \"{hash}\"\n"),
                "error[bad-name]",
            ),
            (
                &format!(
                    "[a]\n{scopes}\nsha256 = \"{hash}\"\n[b]\n{scopes}\nsha256 = \"{hash}\"\n"
                ),
                "tokens.toml:4:2: error[duplicate-token]: b: the token is that of a as well",
            ),
            ("a = 1\nscopes = 2\n", "error[wrong-type]"),
        ] {
            let errors = read(text).unwrap_err().join("\n");
            assert!(errors.contains(said), "{text}: {errors}");
        }
    }

    #[test]
    fn a_token_in_place_of_its_hash_is_not_repeated() {
        let text = format!("[a]\nscopes = [\"read\"]\nsha256 = \"{TOKEN}\"\n");
        let errors = read(&text).unwrap_err().join("\n");
        assert!(errors.contains("withdraw it"), "{errors}");
        assert!(!errors.contains(&TOKEN[20..]), "{errors}");
    }

    proptest! {
        #[test]
        fn only_the_token_itself_is_found(shown in "[ -~]{0,60}", index in 0..TOKEN.len()) {
            let tokens = read(&table("a", TOKEN, "scopes = [\"read\"]")).unwrap();
            prop_assert_eq!(tokens.find(&shown).is_some(), shown == TOKEN);
            let mut near = TOKEN.as_bytes().to_vec();
            near[index] ^= 1;
            prop_assert!(tokens.find(&String::from_utf8(near).unwrap()).is_none());
        }

        #[test]
        fn any_text_is_read_or_reported(text in "(\\[a\\]\n|scopes = |sha256 = |\"read\"|\\[|\\]|\n|[ -~]){0,20}") {
            let _ = read(&text);
        }
    }
}
