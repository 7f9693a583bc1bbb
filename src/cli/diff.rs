//! `meridian diff OLD NEW`.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::clients::Scope;
use super::error::{Error, Reason};
use super::names::is_same;
use super::table::{Column, count, indent, lines, list};
use super::{files, work};
use crate::dataset::Dataset;
use crate::model::ServiceId;
use crate::simulate::{Change, Movement, Names, ServiceChange, percent, read_share, round};

/// Options of `meridian diff`.
#[derive(Debug, clap::Args)]
pub(super) struct Diff {
    /// Configuration before the change, a meridian.toml.
    old: PathBuf,
    /// Configuration after the change.
    new: PathBuf,
    /// Number of networks to show for each service, the largest first.
    #[arg(long, value_name = "NUMBER", default_value_t = 5)]
    networks: usize,
    /// Exit with code 1 if a service is removed, or more than this share of its clients moves, e.g.
    /// 5%.
    #[arg(long, value_name = "SHARE", value_parser = read_share)]
    max_moved: Option<f64>,
    #[command(flatten)]
    scope: Scope,
}

/// The most services that are shown, and the most names in a list of added or removed ones.
const SHOWN: usize = 20;
/// The most regions of a split that are shown.
const REGIONS: usize = 3;

impl Diff {
    /// Compares what both configurations give clients. Fails when more clients move than may.
    pub(super) fn run(self) -> Result<ExitCode, Error> {
        let (old, new) = (files::dataset(&self.old)?, files::dataset(&self.new)?);
        let wanted = self
            .scope
            .wanted(&[&old.config, &new.config])
            .map_err(Reason::into_usage)?;
        let sample = self.scope.sample()?;
        let is_wanted =
            |dataset: &Dataset, id: ServiceId| wanted.has(&dataset.config.services[id.index()]);
        let change = Change::new(&old, &new, sample.as_deref(), &is_wanted);
        let services = self.services(&change);
        let names = self.names(&change);
        let failed = self.failed(&services, &names);
        if self.scope.json {
            print_json(&change, &services, &names, &failed);
        } else {
            self.print_text(&services, &names, &failed);
        }
        if failed.is_empty() {
            Ok(ExitCode::SUCCESS)
        } else {
            Ok(ExitCode::FAILURE)
        }
    }

    /// The change of each service, those with the most clients moved first.
    fn services(&self, change: &Change<'_>) -> Vec<ServiceChange> {
        let mut services = Vec::new();
        work::in_parallel(
            change.len(),
            "services",
            |index| change.run(index, self.networks),
            |service| services.push(service),
        );
        // The sort is stable: where as many move, the order is that of the files.
        services.sort_by(|a: &ServiceChange, b| b.moved.total_cmp(&a.moved));
        services
    }

    /// Names added and removed; with `--service` those of services alone.
    fn names(&self, change: &Change<'_>) -> Names {
        let mut names = change.names();
        if !self.scope.services.is_empty() {
            for names in [&mut names.services_added, &mut names.services_removed] {
                names.retain(|name| self.is_named(name));
            }
            (names.records_added, names.records_removed) = (Vec::new(), Vec::new());
        }
        names
    }

    fn is_named(&self, name: &str) -> bool {
        let mut named = self.scope.services.iter();
        named.any(|named| is_same(named, name))
    }

    /// Services that break `--max-moved`, each with the share of its clients that moves. All
    /// clients of a removed service lose it.
    fn failed(&self, services: &[ServiceChange], names: &Names) -> Vec<(String, f64)> {
        let Some(most) = self.max_moved else {
            return Vec::new();
        };
        let mut failed = Vec::new();
        for name in &names.services_removed {
            failed.push((name.clone(), 1.0));
        }
        for service in services {
            failed.push((service.name.clone(), service.moved));
        }
        // Sums of shares are not exact to the last bit, which must not fail a pipeline.
        failed.retain(|(_, moved)| *moved > most + 1e-9);
        failed
    }

    fn print_text(&self, services: &[ServiceChange], names: &Names, failed: &[(String, f64)]) {
        for line in text(services, names) {
            print_line!("{line}");
        }
        let (Some(most), false) = (self.max_moved, failed.is_empty()) else {
            return;
        };
        print_line!(
            "failed: more than {} of the clients of {} move",
            percent(most),
            count(failed.len(), "service")
        );
        for (name, moved) in failed.iter().take(SHOWN) {
            print_line!("  {name} {}", percent(*moved));
        }
        if let Some(more) = more_services(failed.len()) {
            print_line!("{more}");
        }
    }
}

fn print_json(
    change: &Change<'_>,
    services: &[ServiceChange],
    names: &Names,
    failed: &[(String, f64)],
) {
    let services: Vec<_> = services.iter().map(ServiceChange::json).collect();
    let mut broken = Vec::new();
    for (name, moved) in failed {
        broken.push(json!({ "name": name, "moved": round(*moved) }));
    }
    let object = json!({
        "sampled": change.sampled(),
        "services": services,
        "services_added": names.services_added,
        "services_removed": names.services_removed,
        "records_added": names.records_added,
        "records_removed": names.records_removed,
        "failed": broken,
    });
    print_line!("{object:#}");
}

fn text(services: &[ServiceChange], names: &Names) -> Vec<String> {
    let mut out = Vec::new();
    for (what, names) in [
        ("services added", &names.services_added),
        ("services removed", &names.services_removed),
        ("names with records added", &names.records_added),
        ("names with records removed", &names.records_removed),
    ] {
        if !names.is_empty() {
            out.push(format!("{what}: {}", list(names, SHOWN)));
        }
    }
    // A network that counts nothing, one of IPv6, may move although no counted client does.
    let is_moving = |service: &&ServiceChange| service.networks_in_all > 0 || service.moved > 0.0;
    let moving: Vec<&ServiceChange> = services.iter().filter(is_moving).collect();
    for service in moving.iter().take(SHOWN) {
        out.extend(service_text(service));
    }
    out.extend(more_services(moving.len()));
    let still = services.len() - moving.len();
    if moving.is_empty() {
        out.push(format!("{}: no clients move", count(still, "service")));
    } else if still > 0 {
        out.push(format!(
            "no clients of {} move",
            count(still, "other service")
        ));
    }
    out
}

fn service_text(service: &ServiceChange) -> Vec<String> {
    let ServiceChange {
        name,
        rtype,
        moved,
        networks,
        ..
    } = service;
    let mut out = vec![
        format!("{name} {rtype}: {} of its clients move", percent(*moved)),
        format!("  before  {}", split(&service.before)),
        format!("  after   {}", split(&service.after)),
    ];
    if !networks.is_empty() {
        out.extend(indent(networks_table(networks)));
    }
    match service.networks_in_all - networks.len() {
        0 => {}
        more => out.push(format!("  and {more} more; --networks N shows N of them")),
    }
    out
}

fn networks_table(networks: &[Movement]) -> Vec<String> {
    let head = ["network", "clients", "before", "after"].map(str::to_owned);
    let mut table = vec![head.to_vec()];
    for movement in networks {
        let share = if movement.share == 0.0 {
            "not counted".to_owned()
        } else {
            percent(movement.share)
        };
        table.push(vec![
            movement.network.to_string(),
            share,
            split(&movement.before),
            split(&movement.after),
        ]);
    }
    let columns = [Column::Left, Column::Right, Column::Left, Column::Left];
    lines(&columns, &table)
}

/// Line about the services that are not shown, of `all`.
fn more_services(all: usize) -> Option<String> {
    match all.saturating_sub(SHOWN) {
        0 => None,
        more => Some(format!(
            "and {}; --json shows all",
            count(more, "more service")
        )),
    }
}

/// Places with their shares, the largest first; a place that has everything without its share.
fn split(places: &[(String, f64)]) -> String {
    if let [(place, _)] = places {
        return place.clone();
    }
    let mut places = places.to_vec();
    places.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut words = Vec::new();
    for (place, share) in places {
        words.push(format!("{place} {}", percent(share)));
    }
    list(&words, REGIONS)
}
