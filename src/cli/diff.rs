//! `meridian diff OLD NEW`.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::table::{Column, count, lines, list, percent};
use super::terminal::has_color;
use super::{About, Failure, clients, work};
use crate::dataset::Dataset;
use crate::diag::render_text;
use crate::loader;
use crate::simulate::{Change, Names, ServiceChange, round};

/// What is asked.
pub(super) struct Question {
    /// How many networks are shown of each service.
    pub(super) networks: usize,
    /// The share of a service's clients who may move, 0 … 1.
    pub(super) max_moved: Option<f64>,
    /// Whom it is about.
    pub(super) about: About,
}

/// So many services are shown, and so many names that were added or removed.
const SHOWN: usize = 20;
/// How many regions of a split are shown.
const REGIONS: usize = 3;

/// Compares what the configurations at `old` and `new` give clients, and prints it.
pub(super) fn run(question: &Question, old: &Path, new: &Path) -> ExitCode {
    match diff(question, old, new) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => failure.end(),
    }
}

/// False when more clients move than may.
fn diff(question: &Question, old: &Path, new: &Path) -> Result<bool, Failure> {
    let (old, new) = (load(old)?, load(new)?);
    let about = &question.about;
    let wanted = clients::Wanted::new(&about.services, &[&old.config, &new.config])
        .map_err(|why| Failure::Usage(format!("meridian diff: {why}\n")))?;
    let sample = about
        .clients
        .as_deref()
        .map(clients::read)
        .transpose()
        .map_err(Failure::Files)?;
    let is_wanted = |dataset: &Dataset, id: crate::model::ServiceId| {
        wanted.has(&dataset.config.services[id.index()])
    };
    let change = Change::new(&old, &new, sample.as_deref(), &is_wanted);
    let mut services = Vec::new();
    work::in_parallel(
        change.len(),
        "services",
        |index| change.run(index, question.networks),
        |service| services.push(service),
    );
    // The sort is stable: where as many move, the order is that of the files.
    services.sort_by(|a: &ServiceChange, b| b.moved.total_cmp(&a.moved));
    let mut names = change.names();
    if !about.services.is_empty() {
        let is_named = |name: &String| {
            about.services.iter().any(|wanted| {
                wanted
                    .trim_end_matches('.')
                    .eq_ignore_ascii_case(name.trim_end_matches('.'))
            })
        };
        for names in [&mut names.services_added, &mut names.services_removed] {
            names.retain(is_named);
        }
        (names.records_added, names.records_removed) = (Vec::new(), Vec::new());
    }
    let failed = failed(question.max_moved, &services, &names);
    if about.json {
        let services: Vec<_> = services.iter().map(ServiceChange::json).collect();
        let object = json!({
            "sampled": change.sampled(),
            "services": services,
            "services_added": names.services_added,
            "services_removed": names.services_removed,
            "records_added": names.records_added,
            "records_removed": names.records_removed,
            "failed": failed.iter().map(|(name, moved)| json!({ "name": name, "moved": round(*moved) })).collect::<Vec<_>>(),
        });
        say!("{object:#}");
    } else {
        text(&services, &names)
            .iter()
            .for_each(|line| say!("{line}"));
        if let (Some(most), false) = (question.max_moved, failed.is_empty()) {
            say!(
                "failed: more than {} of the clients of {} move",
                percent(most),
                count(failed.len(), "service")
            );
            failed
                .iter()
                .take(SHOWN)
                .for_each(|(name, moved)| say!("  {name} {}", percent(*moved)));
            more(failed.len(), "service")
                .iter()
                .for_each(|line| say!("{line}"));
        }
    }
    Ok(failed.is_empty())
}

/// The dataset of the configuration at `path`; the error is everything wrong with it.
fn load(path: &Path) -> Result<Dataset, Failure> {
    let built = loader::build(path);
    let render = || {
        render_text(
            &built.diagnostics,
            &built.sources,
            has_color(&std::io::stderr()),
        )
    };
    built.dataset.ok_or_else(|| Failure::Files(render()))
}

/// The services of which more than `most` move. All clients of a service that is gone lose it.
fn failed(most: Option<f64>, services: &[ServiceChange], names: &Names) -> Vec<(String, f64)> {
    let Some(most) = most else { return Vec::new() };
    let gone = names
        .services_removed
        .iter()
        .map(|name| (name.clone(), 1.0));
    let moved = services
        .iter()
        .map(|service| (service.name.clone(), service.moved));
    // Not for the last bit of a sum.
    gone.chain(moved)
        .filter(|(_, moved)| *moved > most + 1e-9)
        .collect()
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
    let moving: Vec<&ServiceChange> = services
        .iter()
        .filter(|service| service.networks_in_all > 0 || service.moved > 0.0)
        .collect();
    let still = services.len() - moving.len();
    for service in moving.iter().take(SHOWN) {
        out.push(format!(
            "{} {}: {} of its clients move",
            service.name,
            service.rtype,
            percent(service.moved)
        ));
        out.push(format!("  before  {}", split(&service.before)));
        out.push(format!("  after   {}", split(&service.after)));
        let mut table = vec![
            ["network", "clients", "before", "after"]
                .map(str::to_owned)
                .to_vec(),
        ];
        table.extend(service.networks.iter().map(|movement| {
            let share = if movement.share == 0.0 {
                "not counted".to_owned()
            } else {
                percent(movement.share)
            };
            vec![
                movement.network.to_string(),
                share,
                split(&movement.before),
                split(&movement.after),
            ]
        }));
        if !service.networks.is_empty() {
            let columns = [Column::Left, Column::Right, Column::Left, Column::Left];
            out.extend(
                lines(&columns, &table)
                    .into_iter()
                    .map(|line| format!("  {line}")),
            );
        }
        match service.networks_in_all - service.networks.len() {
            0 => {}
            more => out.push(format!("  and {more} more; --networks N shows N of them")),
        }
    }
    out.extend(more(moving.len(), "service"));
    let every = count(still, "service");
    match (moving.is_empty(), still) {
        (true, _) => out.push(format!("{every}: no clients move")),
        (false, 0) => {}
        (false, _) => out.push(format!("{every} of which no clients move")),
    }
    out
}

fn more(all: usize, what: &str) -> Option<String> {
    let more = all.saturating_sub(SHOWN);
    (more > 0).then(|| {
        format!(
            "and {}; --json shows all",
            count(more, &format!("more {what}"))
        )
    })
}

/// The largest shares first; one that is all of it without its share.
fn split(places: &[(String, f64)]) -> String {
    if let [(place, _)] = places {
        return place.clone();
    }
    let mut places = places.to_vec();
    places.sort_by(|a, b| b.1.total_cmp(&a.1));
    list(
        &places
            .iter()
            .map(|(place, share)| format!("{place} {}", percent(*share)))
            .collect::<Vec<_>>(),
        REGIONS,
    )
}
