//! Notifications: who is told of changes, of which, and in what form.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{HeaderText, Roots, Secret};
use crate::diag::suggestion;

/// The kinds of objects that change.
pub const CHANGE_KINDS: [&str; 9] = [
    "endpoint", "pool", "service", "override", "acme", "unit", "node", "history", "drill",
];

/// The weight of a change for an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Info,
    /// An operator should look at it.
    Warning,
}

impl Severity {
    /// Both by their names in documents and in the configuration, the lighter one first.
    pub const NAMES: [(&str, Severity); 2] =
        [("info", Severity::Info), ("warning", Severity::Warning)];

    /// Its name in documents and in the configuration.
    pub fn as_label(self) -> &'static str {
        Severity::NAMES[self as usize].0
    }
}

/// A destination of notifications.
#[derive(Debug, Clone, PartialEq)]
pub struct NotifySpec {
    /// Its name, which no other destination has.
    pub name: String,
    /// The way there.
    pub channel: Channel,
    /// The changes that it is told of.
    pub filter: NotifyFilter,
    /// The time that an object must stay good before its incident is over.
    pub resolve_after: Duration,
    /// The longest time that one attempt may take.
    pub timeout: Duration,
    /// The time after which a message that nobody takes is given up.
    pub give_up: Duration,
}

/// The changes that a destination is told of: those that pass every part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotifyFilter {
    /// Kinds of objects, of [`CHANGE_KINDS`]; empty is every kind.
    pub kinds: Vec<String>,
    /// Owner names of services, each with those below it; empty is every change.
    pub services: Vec<String>,
    /// Names of regions; empty is every change.
    pub regions: Vec<String>,
    /// The lightest change that it is told of. Ends of incidents belong to their beginnings.
    pub severity: Severity,
}

/// The way to a destination.
#[derive(Debug, Clone, PartialEq)]
pub enum Channel {
    /// An HTTP POST.
    Webhook(Box<WebhookSpec>),
    /// A program, an absolute path, and its arguments.
    Exec(Vec<String>),
}

/// An HTTP POST.
#[derive(Debug, Clone, PartialEq)]
pub struct WebhookSpec {
    /// The URL, `http` or `https`; secret where it is a token itself.
    pub url: HeaderText,
    /// The form of the body.
    pub body: WebhookBody,
    /// Headers besides those that Meridian sets.
    pub headers: Vec<(String, HeaderText)>,
    /// The key of the signature; `None` signs nothing.
    pub secret: Option<Secret>,
    /// Certificate authorities trusted besides the system's.
    pub roots: Option<Roots>,
}

/// The form of a webhook's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookBody {
    /// A JSON object with a list of notices.
    Json,
    /// A JSON object with a text, as Slack and those that follow it take.
    Slack,
    /// The operator's own text, one for each notice.
    Template {
        /// The text.
        template: Template,
        /// Its media type.
        content_type: String,
    },
}

/// A text with placeholders such as `${sentence}`; `$$` is a dollar sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// The value of a variable, by its place in [`Template::VARIABLES`].
    Value(usize),
}

/// Error in a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplateError {
    /// `${` without its `}`.
    Open,
    /// `$` that begins neither `${` nor `$$`.
    LoneDollar,
    /// No variable has this name.
    Unknown(String),
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TemplateError::Open => f.write_str("a placeholder has no closing brace: write ${name}"),
            TemplateError::LoneDollar => f.write_str(
                "a dollar sign begins no placeholder: write ${name}, or $$ for a dollar sign",
            ),
            TemplateError::Unknown(name) => {
                let names = Template::VARIABLES.iter().map(|(name, _)| *name);
                write!(
                    f,
                    "there is no placeholder ${{{name}}}{}",
                    suggestion(name, names)
                )
            }
        }
    }
}

impl std::error::Error for TemplateError {}

impl Template {
    /// The variables and their meaning.
    pub const VARIABLES: [(&'static str, &'static str); 19] = [
        ("sentence", "the sentence of the log"),
        (
            "state",
            "`open`, `worse` or `resolved` for an incident; `note` for other changes",
        ),
        (
            "incident",
            "the key of the incident, the same for its beginning and its end; empty for other changes",
        ),
        ("severity", "`warning` or `info`"),
        ("node", "the name of this node"),
        ("time", "the time of the change in RFC 3339"),
        ("unix", "the same as a Unix time in seconds"),
        ("number", "the number of the change"),
        ("boot", "the process that numbered it"),
        (
            "repeats",
            "how often the object went bad again during the incident",
        ),
        ("kind", "the kind of object, as in events"),
        ("event", "the change, as in events"),
        ("service", "the service's owner name"),
        ("region", "the region"),
        ("endpoint", "the endpoint's address or target name"),
        ("check", "the check's name"),
        ("family", "`ipv4` or `ipv6`"),
        ("old", "the state before"),
        ("new", "the state now"),
    ];

    /// Reads a template.
    ///
    /// # Errors
    /// [`TemplateError`] where a placeholder is not closed or not known.
    pub fn parse(text: &str) -> Result<Template, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            push_text(&mut parts, before);
            if let Some(after) = after.strip_prefix('$') {
                push_text(&mut parts, "$");
                rest = after;
                continue;
            }
            let inside = after.strip_prefix('{').ok_or(TemplateError::LoneDollar)?;
            let (name, after) = inside.split_once('}').ok_or(TemplateError::Open)?;
            let place = Template::VARIABLES
                .iter()
                .position(|(known, _)| *known == name);
            let place = place.ok_or_else(|| TemplateError::Unknown(name.to_owned()))?;
            parts.push(Part::Value(place));
            rest = after;
        }
        push_text(&mut parts, rest);
        Ok(Template { parts })
    }

    /// The text with what `value` gives for each variable.
    pub fn render(&self, value: impl Fn(&'static str) -> String) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(own) => text.push_str(own),
                Part::Value(place) => text.push_str(&value(Template::VARIABLES[*place].0)),
            }
        }
        text
    }
}

/// Appends a text, to the one before it where there is one.
fn push_text(parts: &mut Vec<Part>, text: &str) {
    match parts.last_mut() {
        _ if text.is_empty() => {}
        Some(Part::Text(before)) => before.push_str(text),
        _ => parts.push(Part::Text(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_template_is_read_as_it_is_written() {
        let template = Template::parse("$$5: ${sentence} (${region})$$").unwrap();
        assert_eq!(
            template.render(|name| name.to_uppercase()),
            "$5: SENTENCE (REGION)$"
        );
        for (text, error) in [
            ("${sentence", TemplateError::Open),
            ("5 $ a head", TemplateError::LoneDollar),
            ("$", TemplateError::LoneDollar),
            ("${sentance}", TemplateError::Unknown("sentance".to_owned())),
            ("${}", TemplateError::Unknown(String::new())),
        ] {
            assert_eq!(Template::parse(text), Err(error), "{text}");
        }
        let unknown = TemplateError::Unknown("sentance".to_owned()).to_string();
        assert!(unknown.contains("sentence"), "{unknown}");
    }

    proptest! {
        /// A value comes out as it went in: nothing in it is taken for a placeholder.
        #[test]
        fn values_and_texts_come_out_whole(
            before in "[^$]{0,20}", after in "[^$]{0,20}", value in ".{0,20}",
        ) {
            let template = Template::parse(&format!("{before}${{new}}{after}")).unwrap();
            prop_assert_eq!(template.render(|_| value.clone()), format!("{before}{value}{after}"));
        }

        #[test]
        fn no_text_makes_the_reader_fail(text in ".{0,64}") {
            if let Ok(template) = Template::parse(&text) {
                template.render(|_| String::new());
            }
        }
    }
}
