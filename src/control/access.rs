//! Callers of the API: who asks, and what that allows.
//!
//! The edge knows where a connection comes from and puts a [`Caller`] beside each of its requests.
//! A request without one is refused.

use std::fmt;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::problem::Problem;
use crate::config::{Token, TokenScope};

/// The party that sent a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// A process on this host, by the control socket: the id of its user.
    Local(u32),
    /// A process on this host, by a loopback address.
    Loopback,
    /// Whoever shows this token.
    Token(Arc<Token>),
}

/// A kind of request, which a caller may make or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope<'s> {
    /// To read.
    Read,
    /// To report for the endpoints of this `push` check.
    Push(&'s str),
    /// To change overrides, units and files.
    Operate,
}

impl Caller {
    /// Checks that the caller may make requests of a kind.
    ///
    /// # Errors
    /// A problem with status 403 where it may not.
    pub fn may(&self, scope: Scope<'_>) -> Result<(), Problem> {
        match (self, scope) {
            (
                Caller::Local(_) | Caller::Loopback,
                Scope::Read | Scope::Push(_) | Scope::Operate,
            ) => Ok(()),
            (Caller::Token(token), scope) if allows(token, scope) => Ok(()),
            (Caller::Token(token), scope) => {
                let scopes: Vec<String> = token.scopes.iter().map(ToString::to_string).collect();
                let why = format!(
                    "this needs the scope {scope}, and the token {} has {}",
                    token.name,
                    scopes.join(" and ")
                );
                Err(Problem::forbidden("missing-scope", why))
            }
        }
    }

    /// Its name, as records of what it did have it: the user's, or `loopback`. Asks the system's
    /// user database, which may wait for a network: to be called where waiting is allowed.
    pub fn name(&self) -> String {
        match self {
            Caller::Loopback => "loopback".to_owned(),
            Caller::Token(token) => token.name.clone(),
            Caller::Local(uid) => {
                let user = nix::unistd::User::from_uid((*uid).into()).ok().flatten();
                user.map_or_else(|| format!("uid {uid}"), |user| user.name)
            }
        }
    }

    /// The name of the operator on whose behalf it writes: the one it gives, since whoever is on
    /// this host is trusted with that, or its own. May wait, as [`Caller::name`] does.
    pub fn operator(&self, given: Option<&str>) -> String {
        match (self, given) {
            (Caller::Local(_) | Caller::Loopback, Some(given)) => given.to_owned(),
            // Of a token it is known whose it is.
            (caller, _) => caller.name(),
        }
    }

    /// The caller of a request.
    ///
    /// # Errors
    /// A problem with status 403 where the edge let in somebody that it does not know.
    pub fn of(parts: &Parts) -> Result<Caller, Problem> {
        parts.extensions.get::<Caller>().cloned().ok_or_else(|| {
            Problem::forbidden(
                "unknown-caller",
                "nobody is known to ask, and only callers that are known are answered",
            )
        })
    }
}

/// True where a token allows a kind of request. Whoever may change things may look at them.
fn allows(token: &Token, scope: Scope<'_>) -> bool {
    token.scopes.iter().any(|own| match (own, scope) {
        (TokenScope::Read, Scope::Read) | (TokenScope::Operate, Scope::Read | Scope::Operate) => {
            true
        }
        (TokenScope::Push(own), Scope::Push(check)) => own == check,
        _ => false,
    })
}

impl fmt::Display for Scope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Read => f.write_str("read"),
            Scope::Push("") => f.write_str("push:CHECK"),
            Scope::Push(check) => write!(f, "push:{check}"),
            Scope::Operate => f.write_str("operate"),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Caller, Problem> {
        Caller::of(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_a_name_and_may_speak_for_another() {
        assert_eq!(Caller::Local(0).name(), "root");
        assert_eq!(Caller::Local(4_000_000_000).name(), "uid 4000000000");
        assert_eq!(Caller::Local(0).operator(Some("anna")), "anna");
        assert_eq!(Caller::Loopback.operator(None), "loopback");
        for scope in [Scope::Read, Scope::Push("web"), Scope::Operate] {
            assert!(Caller::Loopback.may(scope).is_ok());
        }
    }
}
