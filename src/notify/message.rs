//! Messages: the notices of a destination in the form that it takes.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::value::RawValue;

use super::incident::Notice;
use crate::model::{Template, WebhookBody};

/// The notices that a message of several has at most.
pub(super) const NOTICES: usize = 100;
/// The sentences that a text for people has at most.
const SENTENCES: usize = 20;

/// Notices that go out together, and how many are missing before them.
#[derive(Debug)]
pub(super) struct Message<'m> {
    /// This node's name.
    pub(super) node: &'m str,
    /// Notices and changes that were lost since the last message that was taken.
    pub(super) lost: u64,
    /// At least one.
    pub(super) notices: &'m [Notice],
}

/// A message in JSON.
#[derive(Serialize)]
struct Document<'m> {
    node: &'m str,
    lost: u64,
    notices: Vec<NoticeDocument<'m>>,
}

/// A notice in JSON.
#[derive(Serialize)]
struct NoticeDocument<'m> {
    state: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    incident: &'m str,
    severity: &'static str,
    repeats: u32,
    change: &'m RawValue,
}

/// A message of Slack's.
#[derive(Serialize)]
struct Slack {
    text: String,
}

impl Message<'_> {
    /// The body and its media type.
    pub(super) fn body<'f>(&self, form: &'f WebhookBody) -> (String, &'f str) {
        const JSON: &str = "application/json";
        match form {
            WebhookBody::Json => (self.json(), JSON),
            WebhookBody::Slack => {
                let text = self.slack();
                (to_json(&Slack { text }), JSON)
            }
            WebhookBody::Template {
                template,
                content_type,
            } => {
                let text = self.rendered(template, content_type == JSON);
                (text, content_type)
            }
        }
    }

    /// The message as one JSON object.
    pub(super) fn json(&self) -> String {
        let frames: Vec<_> = self.notices.iter().map(|own| own.change.json()).collect();
        let mut notices = Vec::with_capacity(frames.len());
        for (own, json) in self.notices.iter().zip(&frames) {
            notices.push(NoticeDocument {
                state: own.state.as_label(),
                incident: &own.incident,
                severity: own.severity().as_label(),
                repeats: own.repeats,
                change: serde_json::from_slice(json).expect("it was written as JSON"),
            });
        }
        to_json(&Document {
            node: self.node,
            lost: self.lost,
            notices,
        })
    }

    /// The message as a text of Slack's.
    fn slack(&self) -> String {
        let mut text = format!("*{}*", slack_escaped(self.node));
        for own in self.notices.iter().take(SENTENCES) {
            let sentence = slack_escaped(&own.change.sentence);
            let state = own.state.as_label();
            let _ = match own.repeats {
                0 => write!(text, "\n[{state}] {sentence}"),
                repeats => write!(
                    text,
                    "\n[{state}, went bad {} times] {sentence}",
                    repeats + 1
                ),
            };
        }
        let more = self.notices.len().saturating_sub(SENTENCES);
        if more > 0 {
            let _ = write!(text, "\nand {more} more");
        }
        if self.lost > 0 {
            let _ = write!(text, "\n{} earlier notices were lost", self.lost);
        }
        text
    }

    /// The operator's own text about the first notice.
    fn rendered(&self, template: &Template, is_json: bool) -> String {
        template.render(|name| {
            let value = self.variable(name);
            if !is_json {
                return value;
            }
            // A JSON string without its quotes: the template has them.
            let quoted = to_json(&value);
            quoted[1..quoted.len() - 1].to_owned()
        })
    }

    /// The value of a template's variable for the first notice.
    pub(super) fn variable(&self, name: &str) -> String {
        let Some(own) = self.notices.first() else {
            return String::new();
        };
        let change = &own.change;
        let keys = &change.keys;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let state = |state: &Option<std::borrow::Cow<'static, str>>| {
            state.as_deref().unwrap_or_default().to_owned()
        };
        match name {
            "sentence" => change.sentence.to_string(),
            "state" => own.state.as_label().to_owned(),
            "incident" => own.incident.clone(),
            "severity" => own.severity().as_label().to_owned(),
            "node" => self.node.to_owned(),
            "time" => change.time(),
            "unix" => change.at.as_secs().to_string(),
            "number" => change.number.to_string(),
            "boot" => change.boot.to_string(),
            "repeats" => own.repeats.to_string(),
            "kind" => keys.kind.to_owned(),
            "event" => keys.event.to_owned(),
            "service" => text(&keys.service),
            "region" => text(&keys.region),
            "endpoint" => text(&keys.endpoint),
            "check" => text(&keys.check),
            "family" => keys
                .family
                .map_or_else(String::new, |family| family.as_label().to_owned()),
            "old" => state(&keys.old),
            "new" => state(&keys.new),
            _ => String::new(),
        }
    }
}

fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("text and numbers can be written to memory")
}

/// Slack takes these three for markup.
fn slack_escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
