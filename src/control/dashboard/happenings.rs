//! The page of events: the changes that are kept, the newest first.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use maud::{Markup, html};

use super::facts::State;
use super::fields::Fields;
use super::layout::count;
use crate::control::{Events, Kept, Recorded, Seen};
use crate::model::Severity;

/// The most events on a page.
const SHOWN: usize = 200;
/// The kinds of objects that change.
const KINDS: [&str; 7] = [
    "endpoint", "pool", "service", "override", "unit", "node", "history",
];

/// The page's content.
pub(super) fn page(events: &Events, fields: &Fields) -> Markup {
    let Kept { last, steps } = events.kept(0);
    let wanted = Wanted::new(fields);
    let mut found: Vec<&Arc<Recorded>> = Vec::new();
    let (mut matching, mut lost) = (0, 0);
    for step in steps.iter().rev() {
        match step {
            Seen::Change(change) if wanted.has(change) => {
                matching += 1;
                if found.len() < SHOWN {
                    found.push(change);
                }
            }
            Seen::Lost(first, last) => lost += last - first + 1,
            Seen::Change(_) | Seen::Restarted(_) => {}
        }
    }
    html! {
        div.head { h1 { "Events" } span.soft { (last) " since the start of the process" } }
        div.stack {
            (form(fields))
            section.panel aria-label="Events, the newest first" {
                @if found.is_empty() {
                    p.calm.soft { "No event like that has happened yet." }
                }
                ol.events id="events" { @for change in &found { (event(change)) } }
                @if matching > SHOWN { footer { "The newest " (SHOWN) " of " (matching) "." } }
                @if lost > 0 { footer { (lost) " older events are not kept any more." } }
            }
        }
    }
}

/// Filter of events.
struct Wanted<'f> {
    text: Option<String>,
    kinds: Vec<&'f str>,
    warnings_only: bool,
}

impl Wanted<'_> {
    fn new(fields: &Fields) -> Wanted<'_> {
        Wanted {
            text: fields.get("q").map(str::to_lowercase),
            kinds: fields.all("kind").collect(),
            warnings_only: fields.get("warnings").is_some(),
        }
    }

    fn has(&self, change: &Recorded) -> bool {
        let keys = &change.keys;
        (self.kinds.is_empty() || self.kinds.contains(&keys.kind))
            && (!self.warnings_only || keys.severity == Severity::Warning)
            && self
                .text
                .as_ref()
                .is_none_or(|text| change.sentence.to_lowercase().contains(text))
    }
}

fn form(fields: &Fields) -> Markup {
    html! {
        form.panel method="get" action="/ui/events" data-filter {
            div.body.row {
                label.field { "With this in the sentence"
                    input type="search" name="q" value=[fields.get("q")] placeholder="tokyo"
                        autocomplete="off" size="24";
                }
                fieldset.checks {
                    legend { "About" }
                    @for kind in KINDS {
                        label {
                            input type="checkbox" name="kind" value=(kind)
                                checked[fields.all("kind").any(|own| own == kind)];
                            (kind)
                        }
                    }
                    label {
                        input type="checkbox" name="warnings" value="1"
                            checked[fields.get("warnings").is_some()];
                        "only what needs a look"
                    }
                }
                button { "Filter" }
            }
        }
    }
}

/// One event.
pub(super) fn event(change: &Recorded) -> Markup {
    let time = humantime::format_rfc3339_millis(UNIX_EPOCH + change.at).to_string();
    let keys = &change.keys;
    let is_bad = keys.severity == Severity::Warning;
    let state = match keys.event {
        "up" | "resumed" => State::Up,
        _ if is_bad => State::Down,
        _ if keys.kind == "override" => State::Drained,
        _ => State::Idle,
    };
    html! {
        li.bad[is_bad] id=(format!("event-{}", change.number)) {
            time datetime=(time) title=(time) { span.date { (time[..10]) " " } (time[11..23]) }
            span class={ "state " (state.class()) } { (keys.kind) }
            span { (change.sentence) }
        }
    }
}

/// The newest events, for pages that show a few.
pub(super) fn latest(events: &Events, most: usize) -> Markup {
    let kept = events.kept(events.last().saturating_sub(most as u64));
    let changes = kept.steps.iter().rev().filter_map(|step| match step {
        Seen::Change(change) => Some(change),
        _ => None,
    });
    let changes: Vec<_> = changes.take(most).collect();
    html! {
        section.panel aria-labelledby="latest" {
            header {
                h2 id="latest" { "Latest events" }
                a href="/ui/events" {
                    "All " (count(usize::try_from(kept.last).unwrap_or(usize::MAX), "event"))
                }
            }
            @if changes.is_empty() { p.calm.soft { "Nothing has changed since the start." } }
            ol.events.compact { @for change in changes { (event(change)) } }
        }
    }
}
