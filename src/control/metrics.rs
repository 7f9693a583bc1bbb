//! `/metrics`: the workers' counters summed at the scrape, and the state of this process and of health.
//!
//! ```text
//! Accept ─► Format ┐
//! Control, View ───┴─► encode: a file for each subject, its families as a table ─► text
//! ```
//! Each file of a subject declares its families ([`family::Family`]) beside the code that writes
//! them. The page `docs/metrics.md` is made of the same tables ([`page`]), so that no family is
//! exposed that the page does not have.

mod access;
mod dnstap;
mod family;
mod format;
mod node;
mod notify;
mod operators;
mod page;
mod queries;
mod scrape;
mod services;
mod targets;

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

use super::Control;
use crate::model::WallTime;
use crate::publisher::View;
use family::Subject;
use scrape::Scrape;

pub(super) use format::Format;
pub use page::page;

/// Every subject, in the order of the text and of the page.
static SUBJECTS: [&Subject; 8] = [
    &queries::SUBJECT,
    &services::SUBJECT,
    &targets::SUBJECT,
    &operators::SUBJECT,
    &notify::SUBJECT,
    &dnstap::SUBJECT,
    &access::SUBJECT,
    &node::SUBJECT,
];

/// All metrics of `control` and of the state in `view`, with times as `wall` reads them.
pub(super) fn encode(control: Control, view: View, wall: WallTime, format: Format) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape {
        control,
        view,
        wall,
    }));
    let mut out = String::new();
    text::encode(&mut out, &registry).expect("writing to a string does not fail");
    format.of(out)
}
