//! `meridian audit`: who changed what, why, and what came of it.

use std::collections::HashMap;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::error::{Error, Reason};
use super::local::{Place, look_with};
use crate::control::{
    AuditEntry, AuditPage, AuditQuery, AuditResult, Server, get, percent_encode, read_audit,
};
use crate::state;

/// The most entries of one page.
const PAGE: usize = 1000;
/// The time between two looks of `--follow`.
const LOOKS: Duration = Duration::from_secs(1);

/// Options of `meridian audit`.
#[derive(Debug, clap::Args)]
pub(super) struct Audit {
    /// Show entries of this time and later: a duration before now, e.g. 2h, or a time such as
    /// 2026-01-31T00:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    since: Option<Duration>,
    /// Show so many entries, the newest.
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// Show new entries as they are made, until interrupted.
    #[arg(long)]
    follow: bool,
    /// Print a JSON object per line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

fn parse_since(text: &str) -> Result<Duration, &'static str> {
    let time = match humantime::parse_duration(text) {
        Ok(before) => SystemTime::now().checked_sub(before),
        Err(_) => humantime::parse_rfc3339_weak(text).ok(),
    };
    time.and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .ok_or("write a duration before now such as 2h, or a time such as 2026-01-31T00:00:00Z")
}

impl Audit {
    /// Prints the entries of the servers, the oldest first.
    pub(super) fn run(self) -> Result<ExitCode, Error> {
        let servers = self.place.servers()?;
        // Without a server the files tell all there is to know of one on this host.
        let is_named = !self.place.servers.is_empty();
        let directory = (!is_named).then(|| self.place.state()).transpose()?;
        let ask = |server: &Server| match (fetch(server, self.since, self.limit), &directory) {
            (Err(Reason::Request(error)), Some(directory)) if error.is_absence() => {
                from_files(directory, self.since, self.limit)
            }
            (fetched, _) => fetched,
        };
        let mut last: HashMap<String, u64> = HashMap::new();
        loop {
            let looked = look_with(&servers, ask)?;
            let mut new = Vec::new();
            for (server, entries) in &looked.answered {
                let newest = last.entry(server.to_string()).or_default();
                let seen = *newest;
                new.extend(entries.iter().filter(|entry| entry.number > seen).cloned());
                *newest = entries
                    .iter()
                    .map(|entry| entry.number)
                    .fold(seen, u64::max);
            }
            new.sort_by(|a, b| a.time.cmp(&b.time).then(a.number.cmp(&b.number)));
            for entry in &new {
                match self.json {
                    true => print_line!("{}", json!(entry)),
                    false => print_line!("{}", line(entry)),
                }
            }
            if !self.follow {
                return Ok(looked.report());
            }
            thread::sleep(LOOKS);
        }
    }
}

/// The newest entries of a server.
fn fetch(
    server: &Server,
    since: Option<Duration>,
    limit: usize,
) -> Result<Vec<AuditEntry>, Reason> {
    let (mut entries, mut before) = (Vec::new(), None);
    while entries.len() < limit {
        let mut path = format!("/v1/audit?limit={}", (limit - entries.len()).min(PAGE));
        if let Some(since) = since {
            let time = humantime::format_rfc3339_millis(UNIX_EPOCH + since).to_string();
            path += &format!("&since={}", percent_encode(&time));
        }
        if let Some(before) = before {
            path += &format!("&before={before}");
        }
        let text = get(server, &path)?;
        let page: AuditPage = serde_json::from_str(&text).map_err(Reason::OtherVersion)?;
        entries.extend(page.entries);
        match page.next {
            Some(next) => before = Some(next),
            None => break,
        }
    }
    Ok(entries)
}

/// The newest entries in a state directory.
fn from_files(
    directory: &Path,
    since: Option<Duration>,
    limit: usize,
) -> Result<Vec<AuditEntry>, Reason> {
    let query = AuditQuery {
        before: None,
        since,
        limit,
    };
    let page = read_audit(directory, &query).map_err(|error| Reason::io(directory, error))?;
    let socket = directory.join(state::SOCKET);
    eprintln!(
        "meridian audit: no server is running at {}: these entries are from the files",
        socket.display()
    );
    Ok(page.entries)
}

fn line(entry: &AuditEntry) -> String {
    let from = match &entry.from {
        Some(from) => format!(" from {from}"),
        None => String::new(),
    };
    let result = match entry.result {
        AuditResult::Accepted => "accepted",
        AuditResult::Refused => "refused",
        AuditResult::Failed => "failed",
    };
    let why = match &entry.why {
        Some(why) => format!(": {}", why.lines().next().unwrap_or_default()),
        None => String::new(),
    };
    let reason = match &entry.reason {
        Some(reason) => format!(" ({reason})"),
        None => String::new(),
    };
    format!(
        "{}  {}  {}@{}{from}  {} {}{reason}: {result}{why}",
        entry.time, entry.number, entry.by, entry.node, entry.action, entry.what
    )
}
