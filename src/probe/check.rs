//! A check, ready to be run.

use regex::bytes::Regex;

use crate::config::compile_pattern;
use crate::model::{CheckKind, CheckSpec, Pattern};

/// A check's definition, and what is compiled from it once for all its probes.
#[derive(Debug)]
pub struct Check {
    /// Its definition.
    pub spec: CheckSpec,
    pattern: Option<Regex>,
}

impl Check {
    /// The text that a response must have, where the check expects one.
    pub(super) fn pattern(&self) -> Option<&Regex> {
        self.pattern.as_ref()
    }
}

impl From<CheckSpec> for Check {
    fn from(spec: CheckSpec) -> Check {
        let pattern = expected(&spec.kind).map(|pattern| {
            compile_pattern(pattern).expect("the configuration has compiled it before")
        });
        Check { spec, pattern }
    }
}

impl PartialEq for Check {
    fn eq(&self, other: &Check) -> bool {
        self.spec == other.spec
    }
}

/// The pattern of a check of this kind, where it has one.
fn expected(kind: &CheckKind) -> Option<&Pattern> {
    match kind {
        CheckKind::Http(http) | CheckKind::Https(http, _) => http.expect_body.as_ref(),
        CheckKind::Tcp(tcp) => tcp.expect.as_ref(),
        _ => None,
    }
}
