//! Outcome of one probe: a verdict, how long each phase took, and the evidence.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::phase::Phases;
use super::reason::FailReason;
use crate::dns::Rcode;
use crate::model::{Family, Load, Moment};

/// The outcome of one probe. A pass owns no memory but the struct's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Moment at which the probe ended.
    pub at: Moment,
    /// The result.
    pub seen: Seen,
    /// The time that each phase took, the one that failed included.
    pub phases: Phases,
    /// Of a failure: the part of what the endpoint sent that tells why, where there is one.
    pub evidence: Option<Evidence>,
    /// The load that the endpoint reports, where the check asks for it.
    pub load: Option<Load>,
    /// A warning: not a failure yet.
    pub warning: Option<Warning>,
    /// The end of the server's certificate, in seconds since 1970; `None` without TLS.
    pub certificate_end: Option<u32>,
}

/// The verdict of one probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// The endpoint did what the check expects.
    Pass,
    /// It did not.
    Fail(FailReason),
    /// The probe says nothing about the endpoint: its state is kept.
    NotJudged(NotJudged),
}

/// Reason why a probe says nothing about its endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotJudged {
    /// This node has no route for the address family.
    NoRoute(Family),
    /// This node ran out of descriptors, ports or memory; the operating system's error number.
    Resources(i32),
    /// This process may open no socket for ICMP echo requests.
    NoIcmp,
    /// The program of an `exec` check cannot be started; the operating system's error number.
    Program(i32),
    /// No name server could say which addresses the target name has, and none are known from before.
    Resolver(ResolverFault),
    /// This node trusts no authority, so it can accept no certificate.
    NoRoots,
    /// A secret of the check cannot be read.
    Secret,
    /// The check cannot be run as it is written.
    Check,
    /// This process stood still while the probe was under way.
    Stalled,
}

/// Reason why a name could not be looked up, which says nothing of the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResolverFault {
    /// No name server answered in time.
    Silent,
    /// The name server answered with this response code.
    Rcode(Rcode),
    /// No name server can be reached.
    Unreachable,
}

/// A problem that passes now and will fail if nobody acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Warning {
    /// The certificate ends in this many days; 0 on its last day.
    CertificateEndsIn(u32),
    /// The target name cannot be looked up now: its last known addresses are probed.
    LastAddresses(ResolverFault),
}

/// A piece of what an endpoint sent, made fit to be shown: at most [`Evidence::MAX`] bytes of it,
/// with what is no text replaced and control characters escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence(Box<str>);

impl Outcome {
    /// A verdict alone: no phases, nothing that tells why.
    pub fn new(at: Moment, seen: Seen) -> Outcome {
        Outcome {
            at,
            seen,
            phases: Phases::default(),
            evidence: None,
            load: None,
            warning: None,
            certificate_end: None,
        }
    }

    /// True when the probe passed.
    pub fn passed(&self) -> bool {
        self.seen == Seen::Pass
    }
}

impl NotJudged {
    /// Its kind, as a metric's label.
    pub fn as_label(self) -> &'static str {
        match self {
            NotJudged::NoRoute(_) => "no_route",
            NotJudged::Resources(_) => "resources",
            NotJudged::NoIcmp => "no_icmp",
            NotJudged::Program(_) => "program",
            NotJudged::Resolver(_) => "resolver",
            NotJudged::NoRoots => "no_roots",
            NotJudged::Secret => "secret",
            NotJudged::Check => "check",
            NotJudged::Stalled => "stalled",
        }
    }
}

impl Evidence {
    const HIDDEN: &str = "[secret]";
    /// The number of bytes that are kept of the endpoint's reply.
    pub const MAX: usize = 200;

    /// The first bytes of `sent`; `None` where nothing was.
    pub fn of(sent: &[u8]) -> Option<Evidence> {
        if sent.is_empty() {
            return None;
        }
        // Cut before it is decoded, since a body may be long; a character cut in two shows as
        // U+FFFD.
        let text = String::from_utf8_lossy(&sent[..sent.len().min(Evidence::MAX)]);
        let mut shown = String::with_capacity(text.len());
        for c in text.chars() {
            // This text reaches logs and terminals: an endpoint must not be able to write an escape
            // sequence there, nor a line break that forges a log line.
            if c.is_control() {
                shown.extend(c.escape_default())
            } else {
                shown.push(c)
            }
        }
        Some(Evidence(shown.into_boxed_str()))
    }

    /// The same without `secret`, which some endpoints send back, and without the part of it that the end of a piece may be.
    pub fn without(self, secret: &str) -> Evidence {
        let mut text = self.0.replace(secret, Evidence::HIDDEN);
        // Fewer characters than these tell nothing.
        let part = (4..secret.len()).rev().find(|length| {
            secret
                .get(..*length)
                .is_some_and(|part| text.ends_with(part))
        });
        if let Some(length) = part {
            text.truncate(text.len() - length);
            text.push_str(Evidence::HIDDEN);
        }
        Evidence(text.into_boxed_str())
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Seen::Pass => f.write_str("passed"),
            Seen::Fail(reason) => reason.fmt(f),
            Seen::NotJudged(why) => write!(f, "not judged: {why}"),
        }
    }
}

impl fmt::Display for NotJudged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotJudged::NoRoute(Family::V4) => f.write_str("this node has no route for IPv4"),
            NotJudged::NoRoute(Family::V6) => f.write_str("this node has no route for IPv6"),
            NotJudged::Resources(number) => {
                write!(
                    f,
                    "this node cannot probe: {}",
                    std::io::Error::from_raw_os_error(*number)
                )
            }
            NotJudged::NoIcmp => f.write_str("this node may not send ICMP echo requests"),
            NotJudged::Program(number) => {
                write!(
                    f,
                    "the program cannot be started: {}",
                    std::io::Error::from_raw_os_error(*number)
                )
            }
            NotJudged::Resolver(fault) => write!(f, "its name cannot be looked up: {fault}"),
            NotJudged::NoRoots => f.write_str(
                "this node trusts no certificate authority: install ca-certificates or set ca_file",
            ),
            NotJudged::Secret => f.write_str("a secret of the check cannot be read"),
            NotJudged::Check => f.write_str("the check's request cannot be sent as written"),
            NotJudged::Stalled => {
                f.write_str("this process stood still while the probe was under way")
            }
        }
    }
}

impl fmt::Display for ResolverFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResolverFault::Silent => f.write_str("no name server answered in time"),
            ResolverFault::Rcode(code) => write!(f, "the name server answered {code}"),
            ResolverFault::Unreachable => f.write_str("no name server can be reached"),
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::CertificateEndsIn(0) => f.write_str("the certificate expires within a day"),
            Warning::CertificateEndsIn(1) => f.write_str("the certificate expires in 1 day"),
            Warning::CertificateEndsIn(days) => write!(f, "the certificate expires in {days} days"),
            Warning::LastAddresses(fault) => write!(
                f,
                "its name cannot be looked up ({fault}): its last addresses are probed"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_endpoint_sent_is_shown_without_harm() {
        let shown = |sent: &[u8]| Evidence::of(sent).map(|evidence| evidence.to_string());
        assert_eq!(
            shown(b"220 mail\r\n\x1b[2J\xff"),
            Some("220 mail\\r\\n\\u{1b}[2J\u{fffd}".to_owned())
        );
        assert_eq!(shown(b""), None);
        assert_eq!(
            shown(&[b'x'; 1000]).map(|text| text.len()),
            Some(Evidence::MAX)
        );
        assert_eq!(
            Seen::NotJudged(NotJudged::NoRoute(Family::V6)).to_string(),
            "not judged: this node has no route for IPv6"
        );
    }

    #[test]
    fn a_secret_that_comes_back_is_not_shown() {
        let shown = |sent: &str| {
            Evidence::of(sent.as_bytes())
                .unwrap()
                .without("s3cret-token")
                .to_string()
        };
        assert_eq!(
            shown("Bearer s3cret-token, twice s3cret-token."),
            "Bearer [secret], twice [secret]."
        );
        assert_eq!(shown("Bearer s3cret-tok"), "Bearer [secret]");
        assert_eq!(
            shown(&format!("{}s3cret-token", "x".repeat(190))),
            format!("{}[secret]", "x".repeat(190))
        );
        assert_eq!(shown("nothing of it"), "nothing of it");
    }

    #[test]
    fn an_outcome_is_small() {
        assert!(size_of::<Outcome>() <= 96, "{}", size_of::<Outcome>());
    }
}
