use std::sync::Arc;

use super::incident::{Notice, NoticeState};
use super::message::Message;
use super::queue::{Queue, ROOM};
use super::*;
use crate::changes::Change;
use crate::changes::tests::of_every_kind;
use crate::model::{Severity, Template, WallTime, WebhookBody};

/// A change of every kind, as destinations get them.
fn changes() -> Vec<Arc<Recorded>> {
    let changes: Vec<Change> = (1..)
        .zip(of_every_kind())
        .map(|(number, event)| Change { number, event })
        .collect();
    let sentences: Vec<String> = changes
        .iter()
        .map(|change| change.sentence(WallTime::default()).to_string())
        .collect();
    let events = Events::default();
    let at = Moment(Duration::from_millis(1_800_000_000_250));
    events.record(&changes, &sentences, at, WallTime::default());
    let kept = events.kept(0).steps.into_iter();
    kept.filter_map(|seen| match seen {
        Seen::Change(change) => Some(change),
        _ => None,
    })
    .collect()
}

fn notice(change: &Arc<Recorded>) -> Notice {
    Notice {
        state: NoticeState::Open,
        incident: "endpoint/192.0.2.1/web/health".to_owned(),
        repeats: 2,
        change: change.clone(),
    }
}

#[test]
fn every_form_of_a_message_is_what_its_receiver_reads() {
    let notices: Vec<Notice> = changes().iter().map(notice).collect();
    let message = Message {
        node: "fra<1>",
        lost: 3,
        notices: &notices,
    };
    let (body, kind) = message.body(&WebhookBody::Json);
    let json: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((kind, &json["lost"]), ("application/json", &3.into()));
    let listed = json["notices"].as_array().unwrap();
    assert_eq!(listed.len(), notices.len());
    assert_eq!(listed[0]["state"], "open");
    assert_eq!(listed[0]["repeats"], 2);
    assert_eq!(listed[0]["change"]["endpoint"], "192.0.2.1");
    assert_eq!(listed[0]["change"]["new"], "down");

    let (body, _) = message.body(&WebhookBody::Slack);
    let json: serde_json::Value = serde_json::from_str(&body).unwrap();
    let text = json["text"].as_str().unwrap();
    let first = "*fra&lt;1&gt;*\n[open, went bad 3 times] endpoint 192.0.2.1 check web is down";
    assert!(text.starts_with(first), "{text}");
    let more = notices.len() - 20;
    let end = format!("\nand {more} more\n3 earlier notices were lost");
    assert!(text.ends_with(&end), "{text}");
}

#[test]
fn a_template_for_json_stays_json_whatever_the_values_are() {
    let changes = changes();
    let quoted = changes
        .iter()
        .map(notice)
        .find(|own| own.change.keys.by.is_some());
    let notices = [quoted.expect("an override")];
    let message = Message {
        node: "a\"b\\",
        lost: 0,
        notices: &notices,
    };
    let template = Template::parse("{\"who\": \"${node}\", \"text\": \"${sentence}\"}").unwrap();
    let form = |content_type: &str| WebhookBody::Template {
        template: template.clone(),
        content_type: content_type.to_owned(),
    };
    let json = form("application/json");
    let (body, _) = message.body(&json);
    let read: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(read["who"], "a\"b\\");
    let plain = form("text/plain");
    let (body, kind) = message.body(&plain);
    assert!(body.contains("a\"b\\") && kind == "text/plain", "{body}");
    // Each variable that there is has a value in some change.
    for (name, _) in Template::VARIABLES {
        let has_value = changes.iter().any(|change| {
            let notices = [notice(change)];
            let message = Message {
                node: "fra1",
                lost: 0,
                notices: &notices,
            };
            !message.variable(name).is_empty()
        });
        assert!(has_value, "{name}");
    }
}

#[test]
fn a_queue_keeps_the_newest_and_counts_the_rest() {
    let (queue, changes) = (Queue::default(), changes());
    let mut dropped = 0;
    for _ in 0..ROOM + 7 {
        dropped += queue.push(notice(&changes[0]));
    }
    queue.lose(2);
    assert_eq!((dropped, queue.len()), (7, ROOM));
    let (notices, lost) = queue.take(100);
    assert_eq!((notices.len(), lost), (100, 9));
    assert_eq!(queue.take(usize::MAX).1, 0);
}

#[test]
fn a_filter_takes_what_passes_every_part() {
    let text = |text: &str| vec![text.to_owned()];
    let filter = |kinds, services, regions| NotifyFilter {
        kinds,
        services,
        regions,
        severity: Severity::Info,
    };
    let changes = changes();
    let count = |filter: NotifyFilter| changes.iter().filter(|own| filter.takes(own)).count();
    let none = Vec::new;
    assert_eq!(count(filter(none(), none(), none())), changes.len());
    let pools = count(filter(text("pool"), none(), none()));
    assert!(pools > 0);
    assert_eq!(
        count(filter(text("pool"), text("gtm.example"), text("dublin"))),
        pools
    );
    assert_eq!(count(filter(text("pool"), none(), text("tokyo"))), 0);
    // An endpoint of several regions is in each.
    assert!(count(filter(text("endpoint"), none(), text("tokyo"))) > 0);
}
