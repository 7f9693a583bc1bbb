//! `/v1/events`: the changes of this process, those that are kept and those to come.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::{Params, Problem, Refusals, Routes, Running};
use crate::control::{EventId, Events, Recorded, Seen, Subscription};
use crate::diag::suggestion;
use crate::model::CHANGE_KINDS;

/// A stream on which nothing happens has a comment after this time, so that both ends know that the
/// other one is there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Changes within this time go out together: a hundred clients cost as many system calls for a
/// thousand changes as for one.
const TOGETHER: Duration = Duration::from_millis(100);
/// The octets that go out together at most.
const PIECE: usize = 64 << 10;
/// The changes that are looked at without a pause for others on the thread.
const LOOKED_AT: usize = 1024;
/// The changes that one answer has at most; more are asked for with `after`.
const MOST: usize = 16_384;

/// A change of the state.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = Change)]
pub struct EventDocument {
    /// Its number: 1 for the first of the process, and one more for each after it.
    pub number: u64,
    /// The process that numbered it; another one after a restart.
    pub boot: String,
    /// RFC 3339 in UTC, to the millisecond.
    pub time: String,
    /// The kind of object that changed: `endpoint`, `pool`, `service`, `override`, `acme`, `unit`,
    /// `node` or `history`.
    pub kind: String,
    /// The change, as the metric `meridian_changes_total` labels it.
    pub event: String,
    /// `info` or `warning`.
    pub severity: String,
    /// Owner name of the service or unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The region; several of one endpoint with commas between them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The endpoint's address or target name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
    /// `ipv4` or `ipv6`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    /// The state before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    /// The state now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
    /// The number of the override.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#override: Option<u64>,
    /// The operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The sentence of the log.
    pub sentence: String,
}

/// Changes that are kept.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = ChangeList)]
pub struct EventList {
    /// This process.
    pub boot: String,
    /// The number of its last change, whatever the filters; 0 before the first.
    pub last: u64,
    /// The changes that are not kept any more, of those asked for.
    pub lost: u64,
    /// True where changes before the first of these match too, beyond `limit`.
    pub more: bool,
    /// The changes, in their order.
    pub events: Vec<EventDocument>,
}

/// The data of an event `gap` in a stream.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Gap {
    /// `lost` where changes are not kept any more, `restarted` where the place of the client belongs
    /// to an earlier process.
    pub cause: String,
    /// This process.
    pub boot: String,
    /// The first change that is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<u64>,
    /// The last change that is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<u64>,
    /// The place of the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
}

/// The parameters of `/v1/events`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// Kinds of objects, separated by commas; all by default.
    kind: Option<String>,
    /// A service, with all below its name.
    service: Option<String>,
    /// A region.
    region: Option<String>,
    /// The changes after this one: a number, or an event's id. The header `Last-Event-ID` has
    /// precedence. A stream begins with now by default, a list with the first change that is kept.
    after: Option<String>,
    /// True for a stream, which is the default; false for a list of the changes that are kept.
    follow: Option<bool>,
    /// The most changes in a list: the newest ones. 1000 by default.
    #[param(minimum = 1, maximum = 16384)]
    limit: Option<usize>,
}

/// The changes that are wanted.
#[derive(Debug, Default)]
pub struct EventFilter {
    /// Kinds of objects; empty is every kind.
    pub kinds: Vec<String>,
    /// A service, with all below its name.
    pub service: Option<String>,
    /// A region.
    pub region: Option<String>,
}

impl EventFilter {
    /// True for a change that is wanted.
    pub fn takes(&self, change: &Recorded) -> bool {
        let keys = &change.keys;
        (self.kinds.is_empty() || self.kinds.iter().any(|kind| kind == keys.kind))
            && self
                .service
                .as_ref()
                .is_none_or(|name| keys.is_of_service(name))
            && self
                .region
                .as_ref()
                .is_none_or(|name| keys.is_in_region(name))
    }
}

/// A place among the changes.
enum After {
    Number(u64),
    Id(EventId),
}

impl Wanted {
    fn filter(&self) -> Result<EventFilter, Problem> {
        let kinds = self.kind.as_deref().unwrap_or_default().split(',');
        let kinds: Vec<String> = kinds
            .filter(|kind| !kind.is_empty())
            .map(str::to_owned)
            .collect();
        for kind in &kinds {
            if !CHANGE_KINDS.contains(&kind.as_str()) {
                let why = format!(
                    "{kind} is not a kind of object that changes{}",
                    suggestion(kind, CHANGE_KINDS)
                );
                return Err(Problem::wrong("kind", "unknown-value", why));
            }
        }
        Ok(EventFilter {
            kinds,
            service: self.service.clone(),
            region: self.region.clone(),
        })
    }

    /// The place that the client has come to.
    fn place(&self, headers: &HeaderMap) -> Result<Option<After>, Problem> {
        let read = |text: &str| match text.parse() {
            Ok(number) => Some(After::Number(number)),
            Err(_) => text.parse().ok().map(After::Id),
        };
        let (field, text) = match (headers.get("last-event-id"), &self.after) {
            (Some(id), _) => ("Last-Event-ID", id.to_str().unwrap_or_default()),
            (None, Some(after)) => ("after", after.as_str()),
            (None, None) => return Ok(None),
        };
        // A browser that has seen no event yet may send an empty one.
        if text.is_empty() && field != "after" {
            return Ok(None);
        }
        read(text).map(Some).ok_or_else(|| {
            let why = format!("{text:?} is neither a change's number nor an event's id");
            Problem::new(StatusCode::BAD_REQUEST, why)
                .of_field(field)
                .breaking("bad-event-id")
        })
    }
}

/// Follow changes.
///
/// The stream has events `change`, whose data is a change, and `gap`, whose data says which changes
/// are lost to the client. With `follow=false` the answer is a list of the changes that are kept.
#[utoipa::path(
    get, path = "/v1/events", tag = "state", params(Wanted),
    responses(
        (status = 200, description = "A stream of changes, or a list", content(
            (String = "text/event-stream"), (EventList = "application/json"),
        )),
        Refusals,
    )
)]
async fn events(
    Running(control): Running,
    Params(wanted): Params<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let filter = wanted.filter()?;
    let after = wanted.place(&headers)?;
    let limit = wanted.limit.unwrap_or(1000);
    if !(1..=MOST).contains(&limit) {
        let why = format!("{limit} is not a number of changes from 1 to {MOST}");
        return Err(Problem::wrong("limit", "out-of-range", why));
    }
    let events = control.events;
    if wanted.follow == Some(false) {
        // Thousands of changes are some megabytes.
        let made = tokio::task::spawn_blocking(move || list(&events, &filter, after, limit)).await;
        let body =
            made.map_err(|why| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, why.to_string()))?;
        return Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response());
    }
    let subscription = match after {
        None => events.subscribe(None),
        Some(After::Number(number)) => events.subscribe(Some(number)),
        Some(After::Id(id)) => events.resume(id),
    };
    // One piece under way: a client that is slow falls behind in the ring, and not in memory.
    let (pieces, body) = mpsc::channel(1);
    let boot = events.boot().clone();
    tokio::spawn(feed(subscription, filter, boot, pieces));
    let head = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((head, Body::from_stream(ReceiverStream::new(body))).into_response())
}

/// The changes that are kept, as an [`EventList`] in JSON: of the pieces that the streams send too.
fn list(events: &Events, filter: &EventFilter, after: Option<After>, limit: usize) -> Vec<u8> {
    let after = match after {
        Some(After::Number(number)) => number,
        Some(After::Id(id)) if id.boot == *events.boot() => id.number,
        Some(After::Id(_)) | None => 0,
    };
    let kept = events.kept(after);
    let mut lost = 0;
    let mut changes: Vec<&Arc<Recorded>> = Vec::new();
    for step in &kept.steps {
        match step {
            Seen::Change(change) if filter.takes(change) => changes.push(change),
            Seen::Change(_) | Seen::Restarted(_) => {}
            Seen::Lost(first, last) => lost += last - first + 1,
        }
    }
    let skipped = changes.len().saturating_sub(limit);
    let head = format!(
        "{{\"boot\":\"{}\",\"last\":{},\"lost\":{lost},\"more\":{},\"events\":[",
        events.boot(),
        kept.last,
        skipped > 0
    );
    let mut body = head.into_bytes();
    for (index, change) in changes[skipped..].iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(&change.json());
    }
    body.extend_from_slice(b"]}");
    body
}

/// Sends changes for as long as the client takes them.
async fn feed(
    mut subscription: Subscription,
    filter: EventFilter,
    boot: Arc<str>,
    pieces: mpsc::Sender<Result<Bytes, Infallible>>,
) {
    // At once, so that the client knows that it is connected; it comes back after a second.
    let hello = Bytes::from(format!(": {boot}\nretry: 1000\n\n"));
    if pieces.send(Ok(hello)).await.is_err() {
        return;
    }
    loop {
        let silence = Instant::now() + KEEP_ALIVE;
        let piece = tokio::select! {
            () = pieces.closed() => return,
            piece = timeout_at(silence, next_piece(&mut subscription, &filter, &boot)) => {
                piece.unwrap_or_else(|_| Bytes::from_static(b":\n\n"))
            }
        };
        // Where the client is slow this waits, and the ring goes on without it.
        if pieces.send(Ok(piece)).await.is_err() {
            return;
        }
        sleep(TOGETHER).await;
    }
}

/// The next changes that are wanted, and what is lost before them. Given up while it waits, it has
/// taken nothing that is wanted.
async fn next_piece(
    subscription: &mut Subscription,
    filter: &EventFilter,
    boot: &Arc<str>,
) -> Bytes {
    let mut looked_at = 0;
    loop {
        let first = subscription.next().await;
        if let Some(first) = frame(&first, filter, boot) {
            return gather(first, subscription, filter, boot);
        }
        looked_at += 1;
        if looked_at % LOOKED_AT == 0 {
            tokio::task::yield_now().await;
        }
    }
}

/// A first event, and those that are there already.
fn gather(
    first: Bytes,
    subscription: &mut Subscription,
    filter: &EventFilter,
    boot: &Arc<str>,
) -> Bytes {
    let mut more: Vec<u8> = Vec::new();
    for _ in 0..LOOKED_AT {
        if first.len() + more.len() >= PIECE {
            break;
        }
        let Some(seen) = subscription.try_next() else {
            break;
        };
        if let Some(frame) = frame(&seen, filter, boot) {
            more.extend_from_slice(&frame);
        }
    }
    match more.is_empty() {
        // The one that all clients share.
        true => first,
        false => [&first[..], &more].concat().into(),
    }
}

/// A step as an event of the stream; `None` where it is not wanted.
fn frame(seen: &Seen, filter: &EventFilter, boot: &Arc<str>) -> Option<Bytes> {
    let gap = match seen {
        Seen::Change(change) => return filter.takes(change).then(|| change.frame()),
        Seen::Lost(first, last) => Gap {
            cause: "lost".to_owned(),
            boot: boot.to_string(),
            first: Some(*first),
            last: Some(*last),
            previous: None,
        },
        Seen::Restarted(id) => Gap {
            cause: "restarted".to_owned(),
            boot: boot.to_string(),
            first: None,
            last: None,
            previous: Some(id.to_string()),
        },
    };
    // Where the client comes back after this event, it comes from behind the gap.
    let id = EventId {
        boot: boot.clone(),
        number: gap.last.unwrap_or(0),
    };
    let data = serde_json::to_string(&gap).expect("text and numbers can be written to memory");
    Some(format!("id: {id}\nevent: gap\ndata: {data}\n\n").into())
}

/// The routes of this subject.
pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(events))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::Change;
    use crate::changes::tests::of_every_kind;
    use crate::model::{Moment, WallTime};

    fn events() -> Arc<Events> {
        let events = Arc::new(Events::default());
        record(&events, 0);
        events
    }

    fn record(events: &Events, before: u64) {
        let changes: Vec<Change> = (before + 1..)
            .zip(of_every_kind())
            .map(|(number, event)| Change { number, event })
            .collect();
        let sentences = vec!["a sentence".to_owned(); changes.len()];
        events.record(&changes, &sentences, Moment::default(), WallTime::default());
    }

    #[test]
    fn a_list_is_the_document_that_is_described() {
        let events = events();
        let filter = EventFilter {
            kinds: vec!["pool".to_owned(), "node".to_owned()],
            ..EventFilter::default()
        };
        let all = list(&events, &EventFilter::default(), None, MOST);
        let all: EventList = serde_json::from_slice(&all).unwrap();
        assert_eq!((all.events.len() as u64, all.more), (all.last, false));
        let some = list(&events, &filter, Some(After::Number(3)), 4);
        let some: EventList = serde_json::from_slice(&some).unwrap();
        assert_eq!((some.events.len(), some.more, some.lost), (4, true, 0));
        assert!(
            some.events
                .iter()
                .all(|own| ["pool", "node"].contains(&own.kind.as_str()))
        );
        // What is read is what was written, key by key: the description has every key.
        let written = list(&events, &EventFilter::default(), None, MOST);
        let written: serde_json::Value = serde_json::from_slice(&written).unwrap();
        assert_eq!(serde_json::to_value(&all).unwrap(), written);
    }

    #[tokio::test]
    async fn a_stream_has_what_is_wanted_and_says_what_is_lost() {
        let events = events();
        let filter = EventFilter {
            kinds: vec!["node".to_owned()],
            ..EventFilter::default()
        };
        let count = events.last();
        // Numbers are missing where the queue of changes was full.
        record(&events, count + 10);
        let id: EventId = "0123456789ab-7".parse().unwrap();
        let mut subscription = events.resume(id);
        let piece = next_piece(&mut subscription, &filter, events.boot()).await;
        let text = String::from_utf8(piece.to_vec()).unwrap();
        let kinds: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("event: "))
            .collect();
        assert_eq!(
            kinds,
            ["gap", "change", "change", "gap", "change", "change"]
        );
        assert!(text.contains("\"cause\":\"restarted\""), "{text}");
        assert!(text.contains("\"previous\":\"0123456789ab-7\""), "{text}");
        let lost = format!("\"first\":{},\"last\":{}", count + 1, count + 10);
        assert!(text.contains(&lost), "{text}");
        assert!(text.ends_with("\n\n"));
    }
}
