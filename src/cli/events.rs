//! `meridian events`.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::error::{Error, Reason};
use super::local::{Place, look};
use crate::control::api::events::{EventDocument, EventList, Gap};
use crate::control::{EventStream, Server, StreamEvent, follow, percent_encode};

/// The changes that are shown before those that are followed, unless told otherwise.
const BEFORE: usize = 10;
/// The changes that are shown otherwise.
const KEPT: usize = 1000;
/// The first pause before a server is asked again, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Options of `meridian events`.
#[derive(Debug, clap::Args)]
pub(super) struct Events {
    /// Go on with the changes to come, and connect again when a server restarts.
    #[arg(long, short)]
    follow: bool,
    /// Only changes of these kinds of objects: endpoint, pool, service, override, acme, unit, node,
    /// history.
    #[arg(long, value_delimiter = ',', value_name = "KIND")]
    kind: Vec<String>,
    /// Only changes of this service, or of all services below this name.
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Only changes of this region.
    #[arg(long, value_name = "NAME")]
    region: Option<String>,
    /// Show the newest changes of those that are kept, so many [default: 1000, with --follow 10].
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=16_384))]
    limit: Option<u16>,
    /// Print a JSON object for each change, one a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// Something to show, from one of several servers.
enum News {
    Change(Box<EventDocument>, String),
    Gap(Gap),
    /// Trouble with the server, in words.
    Trouble(String),
    /// The server will not be asked again, for this reason.
    End(Box<Reason>),
}

impl Events {
    /// Shows the changes that are kept, and follows those to come.
    pub(super) fn run(self) -> Result<ExitCode, Error> {
        let default = if self.follow { BEFORE } else { KEPT };
        let limit = self.limit.map_or(default, usize::from);
        let filters = self.filters();
        let path = format!("/v1/events?follow=false&limit={limit}{filters}");
        let kept = look::<EventList>(&self.place, &path)?;
        let with_server = self.place.servers.len() > 1;
        let mut changes = Vec::new();
        for (server, list) in &kept.answered {
            if list.lost > 0 {
                eprintln!(
                    "meridian events: {server} keeps no changes before number {}",
                    list.lost + 1
                );
            }
            for change in &list.events {
                let json = serde_json::to_string(change).unwrap_or_default();
                changes.push((server.clone(), change.clone(), json));
            }
        }
        // By time: a stable order leaves those of one server as they were.
        changes.sort_by(|(_, one, _), (_, other, _)| one.time.cmp(&other.time));
        for (server, change, json) in &changes {
            if self
                .show(with_server.then_some(server), change, json)
                .is_err()
            {
                return Ok(ExitCode::SUCCESS);
            }
        }
        if !self.follow {
            return Ok(kept.report());
        }
        let mut places = Vec::new();
        for (server, list) in &kept.answered {
            places.push((server.clone(), Some(format!("{}-{}", list.boot, list.last))));
        }
        for (server, reason) in kept.failed() {
            eprintln!("meridian: {reason}");
            places.push((server.clone(), None));
        }
        self.follow_all(places, &filters)
    }

    /// The filters as parameters of a request.
    fn filters(&self) -> String {
        let mut text = String::new();
        let kind = self.kind.join(",");
        let parts = [
            ("kind", Some(kind.as_str()).filter(|kind| !kind.is_empty())),
            ("service", self.service.as_deref()),
            ("region", self.region.as_deref()),
        ];
        for (name, value) in parts {
            if let Some(value) = value {
                text += &format!("&{name}={}", percent_encode(value));
            }
        }
        text
    }

    /// Follows every server on a thread of its own, from its place on, until all of them refuse.
    fn follow_all(
        &self,
        places: Vec<(Server, Option<String>)>,
        filters: &str,
    ) -> Result<ExitCode, Error> {
        let path = format!("/v1/events?follow=true{filters}");
        let (sender, news) = sync_channel(256);
        let with_server = places.len() > 1;
        let mut left = places.len();
        for (server, place) in places {
            let (sender, path) = (sender.clone(), path.clone());
            thread::spawn(move || follow_one(&server, place, &path, &sender));
        }
        drop(sender);
        for (server, news) in news {
            let shown = match news {
                News::Change(change, json) => {
                    self.show(with_server.then_some(&server), &change, &json)
                }
                News::Gap(gap) => {
                    eprintln!("meridian events: {}", describe(&server, &gap));
                    Ok(())
                }
                News::Trouble(text) => {
                    eprintln!("meridian events: {text}");
                    Ok(())
                }
                News::End(reason) => {
                    left -= 1;
                    if left == 0 {
                        return Err((*reason).into());
                    }
                    eprintln!("meridian events: {reason}");
                    Ok(())
                }
            };
            // The reader has left: `meridian events --follow | head` ends.
            if shown.is_err() {
                return Ok(ExitCode::SUCCESS);
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn show(&self, server: Option<&Server>, change: &EventDocument, json: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.json {
            let Some(server) = server else {
                return writeln!(out, "{json}");
            };
            let mut value: Value = serde_json::from_str(json).unwrap_or_default();
            value["server"] = server.to_string().into();
            return writeln!(out, "{value}");
        }
        // To the second: the log has no more either.
        let time = change.time.split('.').next().unwrap_or_default();
        let severity = change.severity.to_uppercase();
        match server {
            None => writeln!(out, "{time}Z {severity:7} {}", change.sentence),
            Some(server) => writeln!(out, "{time}Z {severity:7} {server}: {}", change.sentence),
        }
    }
}

/// Follows one server for as long as somebody listens and the server does not refuse.
fn follow_one(
    server: &Server,
    mut place: Option<String>,
    path: &str,
    news: &SyncSender<(Server, News)>,
) {
    let mut pause = PAUSES.0;
    loop {
        let (mut stream, mut has_begun) = (EventStream::default(), false);
        let ended = follow(server, path, place.clone().as_deref(), |piece| {
            has_begun = true;
            for event in stream.take(piece) {
                place = event.id.clone().or(place.take());
                if let Some(told) = read(event)
                    && news.send((server.clone(), told)).is_err()
                {
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        });
        if has_begun {
            pause = PAUSES.0;
        }
        let told = match ended {
            // A refusal of the request itself is the same the next time.
            Err(error)
                if error
                    .status()
                    .is_some_and(|status| (400..500).contains(&status) && status != 429) =>
            {
                News::End(Box::new(Reason::Request(error)))
            }
            Err(error) => News::Trouble(format!("{error}; asking again")),
            Ok(()) => News::Trouble(format!("{server} ended the stream; asking again")),
        };
        let is_over = matches!(told, News::End(_));
        if news.send((server.clone(), told)).is_err() || is_over {
            return;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// The news that an event of the stream brings; `None` where this version does not know it.
fn read(event: StreamEvent) -> Option<News> {
    match event.name.as_str() {
        "change" => {
            let change = serde_json::from_str(&event.data).ok()?;
            Some(News::Change(Box::new(change), event.data))
        }
        "gap" => serde_json::from_str(&event.data).ok().map(News::Gap),
        _ => None,
    }
}

fn describe(server: &Server, gap: &Gap) -> String {
    match (gap.first, gap.last) {
        (Some(first), Some(last)) => {
            format!("{server}: changes {first} to {last} are lost")
        }
        _ => format!("{server} was restarted: its changes are numbered anew"),
    }
}
