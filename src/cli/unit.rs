//! `meridian unit`: asks a running server by its control socket.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::table::{self, Column};
use crate::control::{UnitStatus, UnitsStatus, get_local, percent_encode, post_local};
use crate::diag::render_text;
use crate::loader;

/// Where the server keeps its state.
pub(super) struct Place {
    /// Named by the operator.
    pub(super) state: Option<PathBuf>,
    /// What names it else.
    pub(super) config: PathBuf,
}

/// Every unit, or those of one service, as a table or as JSON.
pub(super) fn list(service: Option<&str>, json: bool, place: &Place) -> ExitCode {
    let listed = place.ask(|state| get_local(state, "/units")).and_then(|text| {
        let mut status: UnitsStatus =
            serde_json::from_str(&text).map_err(|error| format!("the server is of another version: {error}"))?;
        if let Some(service) = service {
            let same = |name: &str| name.trim_end_matches('.').eq_ignore_ascii_case(service.trim_end_matches('.'));
            status.units.retain(|unit| same(&unit.unit) || same(&unit.service));
            if status.units.is_empty() {
                return Err(format!("there is no unit {service}, and no service of that name with route = \"unit\""));
            }
        }
        Ok(status)
    });
    end("unit", listed.map(|status| if json { format!("{:#}", serde_json::json!(status)) } else { table(&status) }))
}

/// Moves a unit to a region.
pub(super) fn move_unit(unit: &str, region: &str, force: bool, place: &Place) -> ExitCode {
    let path = format!("/units/move?unit={}&region={}&force={force}", percent_encode(unit), percent_encode(region));
    end("unit", place.ask(|state| post_local(state, &path)))
}

/// Gives units of which nothing is known their owners.
pub(super) fn init(service: &str, epoch: u64, place: &Place) -> ExitCode {
    let path = format!("/units/init?service={}&epoch={epoch}", percent_encode(service));
    end("unit", place.ask(|state| post_local(state, &path)))
}

impl Place {
    /// Asks the server that keeps its state there.
    pub(super) fn ask(&self, ask: impl FnOnce(&Path) -> Result<String, String>) -> Result<String, String> {
        ask(&self.find()?)
    }

    fn find(&self) -> Result<PathBuf, String> {
        if let Some(state) = &self.state {
            return Ok(state.clone());
        }
        if let Some(state) = loader::find_state(&self.config) {
            return Ok(state);
        }
        if let Some(state) = std::env::var_os("STATE_DIRECTORY") {
            return Ok(state.into());
        }
        let outcome = loader::load(&self.config);
        if outcome.loaded.is_none() {
            return Err(render_text(&outcome.diagnostics, &outcome.sources, std::io::stderr().is_terminal()));
        }
        let config = self.config.display();
        Err(format!("{config} names no state directory: write [server] state, or name the server's by --state DIR"))
    }
}

/// Prints what came of a command.
pub(super) fn end(command: &str, said: Result<String, String>) -> ExitCode {
    match said {
        Ok(said) => {
            say!("{}", said.trim_end());
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("meridian {command}: {}", why.trim_end());
            ExitCode::FAILURE
        }
    }
}

/// A row for each unit.
fn table(status: &UnitsStatus) -> String {
    let mut lines: Vec<String> = status.frozen.iter().map(|why| format!("units are frozen: {why}")).collect();
    if status.units.is_empty() {
        lines.push("there are no units".to_owned());
        return lines.join("\n");
    }
    let head = ["UNIT", "OWNER", "EPOCH", "HEALTH", "STATE"].map(str::to_owned);
    let rows: Vec<Vec<String>> = [head].into_iter().chain(status.units.iter().map(row)).map(Vec::from).collect();
    lines.extend(table::lines(&[Column::Left; 5], &rows));
    lines.join("\n")
}

fn row(unit: &UnitStatus) -> [String; 5] {
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let state = match (unit.state.as_str(), &unit.next, &unit.fenced_until) {
        ("fenced", Some(next), Some(until)) => format!("fenced until {until}, then {next}"),
        ("fenced", Some(next), None) => format!("fenced, then {next}"),
        ("unknown", ..) => "unknown: fenced until `meridian unit init`".to_owned(),
        ("gone", ..) => "fenced: its owner has no pool any more".to_owned(),
        (state, ..) => state.to_owned(),
    };
    [unit.unit.clone(), or_none(&unit.owner), unit.epoch.to_string(), or_none(&unit.health), state]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(state: &str, owner: Option<&str>, next: Option<&str>) -> UnitStatus {
        UnitStatus {
            unit: "00.orders.gtm.example.".to_owned(),
            service: "orders.gtm.example.".to_owned(),
            state: state.to_owned(),
            owner: owner.map(str::to_owned),
            epoch: 7,
            next: next.map(str::to_owned),
            fenced_until: None,
            health: owner.or(next).map(|_| "up".to_owned()),
        }
    }

    #[test]
    fn the_table_has_a_row_for_each_unit() {
        let units = vec![unit("owned", Some("dublin"), None), unit("fenced", None, Some("tokyo")), unit("unknown", None, None)];
        let text = table(&UnitsStatus { frozen: Some("the disk is full".to_owned()), units });
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "units are frozen: the disk is full");
        assert_eq!(lines[1], "UNIT                    OWNER   EPOCH  HEALTH  STATE");
        assert_eq!(lines[2], "00.orders.gtm.example.  dublin  7      up      owned");
        assert_eq!(lines[3], "00.orders.gtm.example.  -       7      up      fenced, then tokyo");
        assert_eq!(lines[4], "00.orders.gtm.example.  -       7      -       unknown: fenced until `meridian unit init`");
        assert_eq!(table(&UnitsStatus { frozen: None, units: Vec::new() }), "there are no units");
    }
}
