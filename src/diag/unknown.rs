//! Names that refer to nothing, with the known name that was probably meant.

use std::fmt;

use super::suggestion;

/// A name for which nothing is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownName {
    /// The kind of thing that was looked for: `service`, `region, metro or label`.
    kind: &'static str,
    name: String,
    suggestion: String,
}

impl UnknownName {
    /// Describes `name`, which is not one of the `known` names of that `kind`.
    pub fn new<'a>(
        kind: &'static str,
        name: impl Into<String>,
        known: impl IntoIterator<Item = &'a str>,
    ) -> UnknownName {
        let name = name.into();
        let suggestion = suggestion(&name, known);
        UnknownName {
            kind,
            name,
            suggestion,
        }
    }
}

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let UnknownName {
            kind,
            name,
            suggestion,
        } = self;
        write!(f, "there is no {kind} {name}{suggestion}")
    }
}

impl std::error::Error for UnknownName {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_name_is_offered() {
        let unknown = |name| UnknownName::new("region", name, ["dublin", "tokyo"]).to_string();
        assert_eq!(
            unknown("dubln"),
            "there is no region dubln; did you mean dublin?"
        );
        assert_eq!(unknown("frankfurt"), "there is no region frankfurt");
    }
}
