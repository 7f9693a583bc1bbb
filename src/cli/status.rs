//! `meridian status`: a running server on one screen.

use std::fmt::Write as _;
use std::io::{IsTerminal, stdout};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use super::error::{Error, Reason};
use super::local::{Answers, Place, look_with, read};
use super::table::{self, Column, count};
use crate::control::api::services::{PoolDocument, ServiceDocument, ServiceList};
use crate::control::api::status::NodeStatus;
use crate::control::api::written::OverrideDocument;
use crate::control::{Server, get};

/// The time between two looks of `--watch`.
const PAUSE: Duration = Duration::from_secs(2);
/// The most services that are shown with their regions; of more, those that are not up.
const SHOWN: usize = 20;

/// Options of `meridian status`.
#[derive(Debug, clap::Args)]
pub(super) struct Status {
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Draw the screen again every 2 s, until interrupted.
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    place: Place,
}

/// The state of a server.
struct Seen {
    status: NodeStatus,
    /// The services that are shown with their regions.
    services: Vec<ServiceDocument>,
}

impl Status {
    /// Prints the state of each server, once or again and again.
    pub(super) fn run(self) -> Result<ExitCode, Error> {
        if !self.watch {
            let seen = self.look()?;
            return Ok(self.print(seen));
        }
        loop {
            let seen = self.look();
            if stdout().is_terminal() {
                // Home, and clear from there: what was above stays in the scroll-back.
                print_line!("\x1b[H\x1b[J");
            }
            match seen {
                Ok(seen) => drop(self.print(seen)),
                // A server that restarts is watched on.
                Err(reason) => eprintln!("meridian status: {reason}"),
            }
            sleep(PAUSE);
        }
    }

    fn look(&self) -> Result<Answers<Seen>, Reason> {
        look_with(&self.place.servers()?, see)
    }

    fn print(&self, seen: Answers<Seen>) -> ExitCode {
        let value = |seen: &Seen| -> Value { json!(seen.status) };
        seen.print(self.json, value, |seen| screen(seen).join("\n"))
    }
}

/// The state of `server`.
fn see(server: &Server) -> Result<Seen, Reason> {
    let status: NodeStatus = read(&get(server, "/v1/status")?)?;
    let paths: &[&str] = match status.services.total <= SHOWN {
        true => &["/v1/services"],
        false => &["/v1/services?state=down", "/v1/services?state=degraded"],
    };
    let mut services = Vec::new();
    for path in paths {
        let list: ServiceList = read(&get(server, path)?)?;
        services.extend(list.services);
    }
    services.truncate(SHOWN);
    Ok(Seen { status, services })
}

fn screen(Seen { status, services }: &Seen) -> Vec<String> {
    let mut lines = head(status);
    if !services.is_empty() {
        lines.push(String::new());
        lines.extend(by_region(services));
        let more = status.services.degraded + status.services.down;
        if status.services.total > SHOWN && more > services.len() {
            lines.push(format!("and {} more", more - services.len()));
        }
    }
    section(&mut lines, "down", down(status));
    section(&mut lines, "held until `meridian resume`", held(status));
    section(&mut lines, "overrides", overrides(status));
    lines
}

fn section(lines: &mut Vec<String>, title: &str, rows: Vec<String>) {
    if !rows.is_empty() {
        lines.extend([String::new(), format!("{title}:")]);
        lines.extend(table::indent(rows));
    }
}

fn head(status: &NodeStatus) -> Vec<String> {
    let uptime = humantime::format_duration(Duration::from_secs(status.uptime));
    let ready = match &status.not_ready {
        None => "ready".to_owned(),
        Some(why) => format!("NOT READY: {why}"),
    };
    let mut lines = vec![format!(
        "{}: {ready} (Meridian {}, up {uptime})",
        status.node, status.version
    )];
    if let Some(why) = &status.not_announced {
        lines.push(format!("NOT ANSWERING: {why}"));
    }
    if let Some(why) = &status.reload.refused {
        lines.push(format!("files: {why}"));
    }
    if let Some(why) = &status.units_frozen {
        lines.push(format!("unit ownership frozen: {why}"));
    }
    for zone in &status.zones {
        lines.push(format!(
            "zone {} serial {}, {}, {}",
            zone.zone,
            zone.serial,
            count(zone.names, "name"),
            count(zone.services, "service")
        ));
    }
    let (services, endpoints) = (&status.services, &status.endpoints);
    lines.push(format!(
        "services: {} up, {} degraded, {} down, {} in doubt",
        services.up, services.degraded, services.down, services.in_doubt
    ));
    lines.push(format!(
        "endpoints: {} up, {} down, {} in doubt",
        endpoints.up, endpoints.down, endpoints.in_doubt
    ));
    lines
}

/// A row for each service, and a column for each region that one of them is in.
fn by_region(services: &[ServiceDocument]) -> Vec<String> {
    let mut regions: Vec<&str> = Vec::new();
    for pool in services.iter().flat_map(|service| &service.pools) {
        if !regions.contains(&pool.region.as_str()) {
            regions.push(&pool.region);
        }
    }
    regions.sort_unstable();
    let mut head = vec!["SERVICE".to_owned(), "STATE".to_owned()];
    head.extend(regions.iter().map(|region| (*region).to_owned()));
    let mut rows = vec![head];
    for service in services {
        let doubt = if service.in_doubt { "?" } else { "" };
        let mut row = vec![service.service.clone(), format!("{}{doubt}", service.state)];
        for region in &regions {
            let mut pools = service.pools.iter();
            let pool = pools.find(|pool| pool.region == *region);
            row.push(pool.map_or("-".to_owned(), cell));
        }
        rows.push(row);
    }
    table::lines(&vec![Column::Left; regions.len() + 2], &rows)
}

/// The state of a pool: endpoints up of all, and the reason why it is not simply in use.
fn cell(pool: &PoolDocument) -> String {
    let mut text = format!("{}/{}", pool.endpoints_up, pool.endpoints);
    let has = |state: &str| pool.families.iter().any(|own| own.state == state);
    let is = |phase: &str| pool.families.iter().any(|own| own.recovery == phase);
    let word = match () {
        () if has("down") => "down",
        () if has("degraded") => "degraded",
        () if has("not_owner") => "not owner",
        () if pool.drained.is_some() => "drained",
        () if is("held") => "held",
        () if is("ramping") => "ramping",
        () if pool.weight == 0 => "standby",
        () => "",
    };
    if !word.is_empty() {
        // Writing to a string cannot fail.
        let _ = write!(text, " {word}");
    }
    if pool.in_doubt {
        text.push('?');
    }
    text
}

fn down(status: &NodeStatus) -> Vec<String> {
    let mut rows = Vec::new();
    for own in &status.down {
        let since = own.since.as_deref().unwrap_or("its override");
        let services = table::list(&own.services, 3);
        let (region, endpoint, why) = (&own.region, &own.endpoint, &own.why);
        rows.push(format!(
            "{region} {endpoint} since {since}: {why} ({services})"
        ));
    }
    rows
}

fn held(status: &NodeStatus) -> Vec<String> {
    let held = status.held.iter();
    held.map(|pool| format!("{} in {}", pool.service, pool.region))
        .collect()
}

fn overrides(status: &NodeStatus) -> Vec<String> {
    let mut rows: Vec<String> = status
        .overrides
        .iter()
        .map(OverrideDocument::line)
        .collect();
    rows.extend(status.overrides_lost.clone());
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(state: &str, recovery: &str) -> PoolDocument {
        serde_json::from_value(json!({
            "region": "dublin", "configured_weight": 1, "weight": 1, "ramp": 1.0, "priority": 1,
            "endpoints": 2, "endpoints_up": 1, "in_doubt": false, "drained": null,
            "overrides": [], "flapping_until": null, "ttl": 20, "answers": 0, "share": null,
            "families": [{ "family": "ipv4", "state": state, "rung": null, "recovery": recovery }],
        }))
        .unwrap()
    }

    #[test]
    fn a_cell_says_why_a_pool_is_not_simply_in_use() {
        assert_eq!(cell(&pool("up", "in use")), "1/2");
        assert_eq!(cell(&pool("up", "held")), "1/2 held");
        assert_eq!(cell(&pool("down", "held")), "1/2 down");
        let drained = PoolDocument {
            drained: Some("region dublin drained".to_owned()),
            in_doubt: true,
            ..pool("up", "in use")
        };
        assert_eq!(cell(&drained), "1/2 drained?");
    }
}
