//! `meridian unit`: asks a running server by its control socket.

use std::process::ExitCode;

use serde_json::json;

use super::error::{Error, Reason};
use super::local::{Change, Place, look, request};
use super::names::is_same;
use super::table::{self, Column};
use crate::control::{UnitStatus, UnitsStatus, percent_encode};

/// Prints every unit, or those of one service, as tables or as JSON.
pub(super) fn list(service: Option<&str>, as_json: bool, place: &Place) -> Result<ExitCode, Error> {
    let mut listed = look::<UnitsStatus>(place, "/v1/units")?;
    if let Some(service) = service {
        let mut found = 0;
        for (_, status) in &mut listed.answered {
            status
                .units
                .retain(|unit| is_same(&unit.unit, service) || is_same(&unit.service, service));
            found += status.units.len();
        }
        if found == 0 {
            return Err(Reason::NoUnit(service.to_owned()).into());
        }
    }
    Ok(listed.print(as_json, |status| json!(status), table))
}

/// Moves a unit to a region.
pub(super) fn move_unit(
    unit: &str,
    region: &str,
    force: bool,
    as_json: bool,
    place: &Place,
) -> Result<ExitCode, Error> {
    let path = format!("/v1/units/{}/move", percent_encode(unit));
    let body = json!({ "region": region, "force": force });
    request(place, &Change::Post(path, body), as_json)
}

/// Gives units without recorded state their owners.
pub(super) fn init(
    service: &str,
    epoch: u64,
    as_json: bool,
    place: &Place,
) -> Result<ExitCode, Error> {
    let path = format!("/v1/units/{}/init", percent_encode(service));
    request(
        place,
        &Change::Post(path, json!({ "epoch": epoch })),
        as_json,
    )
}

/// A row for each unit.
fn table(status: &UnitsStatus) -> String {
    let mut lines: Vec<String> = status
        .frozen
        .iter()
        .map(|why| format!("unit ownership frozen: {why}"))
        .collect();
    if status.units.is_empty() {
        lines.push("there are no units".to_owned());
        return lines.join("\n");
    }
    let head = ["UNIT", "OWNER", "EPOCH", "HEALTH", "STATE"].map(str::to_owned);
    let rows: Vec<Vec<String>> = [head]
        .into_iter()
        .chain(status.units.iter().map(row))
        .map(Vec::from)
        .collect();
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
    [
        unit.unit.clone(),
        or_none(&unit.owner),
        unit.epoch.to_string(),
        or_none(&unit.health),
        state,
    ]
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
        let units = vec![
            unit("owned", Some("dublin"), None),
            unit("fenced", None, Some("tokyo")),
            unit("unknown", None, None),
        ];
        let text = table(&UnitsStatus {
            frozen: Some("the disk is full".to_owned()),
            units,
        });
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "unit ownership frozen: the disk is full");
        assert_eq!(
            lines[1],
            "UNIT                    OWNER   EPOCH  HEALTH  STATE"
        );
        assert_eq!(
            lines[2],
            "00.orders.gtm.example.  dublin  7      up      owned"
        );
        assert_eq!(
            lines[3],
            "00.orders.gtm.example.  -       7      up      fenced, then tokyo"
        );
        assert_eq!(
            lines[4],
            "00.orders.gtm.example.  -       7      -       unknown: fenced until `meridian unit init`"
        );
        assert_eq!(
            table(&UnitsStatus {
                frozen: None,
                units: Vec::new()
            }),
            "there are no units"
        );
    }
}
