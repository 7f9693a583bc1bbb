//! `meridian locate`: what is known of a client's place.

use std::process::ExitCode;

use serde_json::json;

use super::error::{Error, Reason};
use super::local::{Place, look};
use crate::control::api::locate::{LocateDocument, MapOrder, locate};
use crate::dns::Prefix;

/// Options of `meridian locate`.
#[derive(Debug, clap::Args)]
pub(super) struct Locate {
    /// Address or prefix of the client, e.g. 203.0.113.7.
    #[arg(value_name = "IP[/LEN]")]
    client: Prefix,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    // With --config the files are read; else a running server is asked.
    #[command(flatten)]
    place: Place,
}

impl Locate {
    /// Prints what the databases and maps of each server, or of the files, say of the client.
    pub(super) fn run(self) -> Result<ExitCode, Error> {
        if self.place.files.config.is_some() {
            self.locate_by_files()?;
            return Ok(ExitCode::SUCCESS);
        }
        let path = format!("/v1/locate?ip={}", self.client);
        let answers = look::<LocateDocument>(&self.place, &path)?;
        Ok(answers.print(self.json, |own| json!(own), |own| lines(own).join("\n")))
    }

    fn locate_by_files(&self) -> Result<(), Reason> {
        let dataset = self.place.files.dataset()?;
        let document = locate(&dataset, self.client);
        match self.json {
            true => print_line!("{:#}", json!(document)),
            false => print_line!("{}", lines(&document).join("\n")),
        }
        Ok(())
    }
}

fn lines(document: &LocateDocument) -> Vec<String> {
    let place = &document.location;
    let coordinates = place.latitude.zip(place.longitude);
    let known = [
        place.continent.clone(),
        place.country.clone(),
        place.subdivision.clone(),
        coordinates.map(|(latitude, longitude)| format!("{latitude:.2},{longitude:.2}")),
        place.asn.map(|asn| format!("AS{asn}")),
    ];
    let known: Vec<String> = known.into_iter().flatten().collect();
    let known = match known.is_empty() {
        true => "place unknown".to_owned(),
        false => known.join(" "),
    };
    let mut lines = vec![format!("{}: {known}", document.client)];
    lines.extend(document.maps.iter().map(on_map));
    lines
}

fn on_map(map: &MapOrder) -> String {
    let steps = map.order.iter().map(|step| step.join(" = "));
    let order = steps.collect::<Vec<_>>().join(", ");
    let border = match &map.border {
        Some(border) => format!(", only {}", border.join(", ")),
        None => String::new(),
    };
    format!(
        "map {}: {order} (by {}, scope /{}{border})",
        map.map, map.located_by, map.scope
    )
}
