//! The page that simulates losses: where the clients of every service would go, and what that does to
//! the regions that are left.

use maud::{Markup, html};

use super::facts::{Facts, State};
use super::fields::Fields;
use super::layout::{self, bar, bare, count, percent, region, worded};
use crate::model::{Region, RegionId, ServiceId, place_names};
use crate::simulate::{
    Destination, Loss, Outcome, Population, Report, Simulation, Subject, destination_name,
};

/// The most services that are shown one by one.
const SHOWN: usize = 100;
/// The demand of all clients where none is given.
const DEMAND: f64 = 100.0;

/// The page's content.
pub(super) fn page(facts: Facts<'_>, population: &Population, fields: &Fields) -> Markup {
    let regions = &facts.config().regions;
    let names: Vec<&str> = fields.all("loss").collect();
    let demand = fields.get("demand").map_or(Ok(DEMAND), str::parse);
    let demand = demand.ok().filter(|demand| (0.0..=1e15).contains(demand));
    let result = match (
        names.is_empty(),
        Loss::named(regions, &names.join(",")),
        demand,
    ) {
        (true, ..) => {
            html! {
                p.soft {
                    "Choose what is lost. Everything else is assumed up, without overrides; overlaps "
                    "are lost at once."
                }
            }
        }
        (_, Err(unknown), _) => html! { p.note.bad role="alert" { (unknown) } },
        (_, _, None) => {
            html! { p.note.bad role="alert" { "Demand: give a number from 0 to 1e15" } }
        }
        (_, Ok(loss), Some(demand)) => simulated(facts, population, loss, demand),
    };
    html! {
        div.head { h1 { "What happens when something is lost?" } }
        div.stack { (form(regions, fields)) (result) }
    }
}

fn form(regions: &[Region], fields: &Fields) -> Markup {
    html! {
        form.panel method="get" action="/ui/simulate" {
            div.body.stack {
                fieldset.checks {
                    legend { "Lost: regions, metros and labels" }
                    @for name in place_names(regions) {
                        label {
                            input type="checkbox" name="loss" value=(name)
                                checked[fields.all("loss").any(|own| own == name)];
                            (name)
                        }
                    }
                }
                div.line.row {
                    label.field { "Demand of all clients, in the unit of the regions' capacity"
                        input name="demand" inputmode="decimal" size="10"
                            value=(fields.get("demand").unwrap_or("100"));
                    }
                    button.main { "Simulate" }
                }
            }
        }
    }
}

/// The load of a region as a part of all demand, before and after.
#[derive(Debug, Clone, Copy, Default)]
struct Load {
    before: f64,
    after: f64,
}

fn simulated(facts: Facts<'_>, population: &Population, loss: Loss, demand: f64) -> Markup {
    let dataset = &facts.snapshot.dataset;
    let losses = [loss];
    let simulation = Simulation {
        dataset,
        population,
        losses: &losses,
        demand,
    };
    let subjects = Subject::all(dataset);
    let mut reports: Vec<Report> = Vec::new();
    for subject in &subjects {
        reports.push(simulation.run(*subject));
    }
    let loads = loads(facts, &reports);
    let [loss] = &losses;
    let mut hit: Vec<(&Report, &Outcome)> = reports
        .iter()
        .filter_map(|report| Some((report, &report.lost.first()?.1)))
        .collect();
    hit.sort_by(|(_, one), (_, other)| {
        other
            .badness()
            .partial_cmp(&one.badness())
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    html! {
        (summary(loss, &hit, reports.len()))
        div.columns.even {
            (regions(facts, loss, &loads, demand))
            (services(facts, &hit))
        }
    }
}

/// The load of each region: every service counts by its answers lately, or all alike where there
/// were none.
fn loads(facts: Facts<'_>, reports: &[Report]) -> Vec<Load> {
    let weight = |service: ServiceId| -> u64 {
        let plan = &facts.snapshot.plans[service.index()];
        plan.pools
            .iter()
            .map(|pool| facts.traffic.lately(pool.counter))
            .sum()
    };
    let weights: Vec<u64> = reports
        .iter()
        .map(|report| weight(report.subject.service))
        .collect();
    let total: u64 = weights.iter().sum();
    let mut loads = vec![Load::default(); facts.config().regions.len()];
    for (report, weight) in reports.iter().zip(weights) {
        let part = match total {
            0 => 1.0 / reports.len() as f64,
            total => weight as f64 / total as f64,
        };
        let after = report
            .lost
            .first()
            .map_or(&report.normal, |(_, outcome)| outcome);
        for (destination, share) in &report.normal.split {
            if let Destination::Region(region) = destination {
                loads[region.index()].before += part * share;
            }
        }
        for (destination, share) in &after.split {
            if let Destination::Region(region) = destination {
                loads[region.index()].after += part * share;
            }
        }
    }
    loads
}

fn summary(loss: &Loss, hit: &[(&Report, &Outcome)], all: usize) -> Markup {
    let empty = hit.iter().filter(|(_, outcome)| outcome.is_empty()).count();
    let degraded = hit
        .iter()
        .filter(|(_, outcome)| outcome.is_degraded())
        .count();
    let over = hit
        .iter()
        .filter(|(_, outcome)| !outcome.over_capacity.is_empty())
        .count();
    let moved = hit
        .iter()
        .map(|(_, outcome)| outcome.moved)
        .fold(0.0, f64::max);
    let note = if empty > 0 {
        "note bad"
    } else if degraded + over > 0 {
        "note doubt-note"
    } else {
        "note good"
    };
    html! {
        div class=(note) role="status" {
            p {
                strong { "Without " (loss.name) ": " }
                (count(hit.len(), "service")) " of " (all) " affected, at most " (percent(moved))
                " of a service's clients move. "
                @if empty > 0 {
                    (count(empty, "service"))
                    " would send clients to endpoints that are down, or nowhere. "
                }
                @if degraded > empty {
                    (count(degraded - empty, "service"))
                    " would be answered from less than a region that is up. "
                }
                @if over > 0 {
                    (count(over, "service")) " would bring a region over its capacity. "
                }
                @if empty + degraded + over == 0 { "Every client keeps a region that is up." }
            }
        }
    }
}

/// The largest share that a bar shows.
fn top(regions: &[Region], loads: &[Load], demand: f64) -> f64 {
    let mut top = f64::MIN_POSITIVE;
    for (region, load) in regions.iter().zip(loads) {
        let mark = region.capacity.and_then(|capacity| part(capacity, demand));
        // A capacity far beyond all demand would leave nothing of the bars.
        let mark = mark.unwrap_or(0.0).min(2.0);
        top = top.max(load.before).max(load.after).max(mark);
    }
    top
}

/// A capacity as a part of all demand; `None` where there is no demand.
fn part(capacity: f64, demand: f64) -> Option<f64> {
    (demand > 0.0).then(|| capacity / demand)
}

fn regions(facts: Facts<'_>, loss: &Loss, loads: &[Load], demand: f64) -> Markup {
    let regions = &facts.config().regions;
    let top = top(regions, loads, demand);
    html! {
        section.panel aria-labelledby="loads" {
            header {
                h2 id="loads" { "Regions" }
                span.soft { "share of all answers; the mark is the capacity" }
            }
            div.scroll tabindex="0" role="region" aria-labelledby="loads" {
                table {
                    thead {
                        tr {
                            th scope="col" { "Region" }
                            th scope="col" { "Load" }
                            th.number scope="col" { "Before" }
                            th.number scope="col" { "After" }
                            th.number scope="col" { "Of capacity" }
                        }
                    }
                    tbody {
                        @for (index, (own, load)) in regions.iter().zip(loads).enumerate() {
                            @let id = RegionId::from_index(index);
                            tr {
                                th scope="row" {
                                    (region(id, &own.name))
                                    @if loss.regions.contains(&id) {
                                        " "
                                        (worded(State::Down, "lost"))
                                    }
                                }
                                (loaded(id, own, *load, demand, top))
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The cells of a region's load.
fn loaded(id: RegionId, own: &Region, load: Load, demand: f64, top: f64) -> Markup {
    let capacity = own.capacity.and_then(|capacity| part(capacity, demand));
    let used = capacity
        .filter(|capacity| *capacity > 0.0)
        .map(|capacity| load.after / capacity);
    let is_over = used.is_some_and(|used| used > 1.0);
    let class = match is_over {
        true => "over".to_owned(),
        false => layout::own(id),
    };
    let mark = capacity
        .map(|capacity| capacity / top)
        .filter(|mark| *mark <= 1.0);
    html! {
        td.wide { (bar(load.after / top, mark, &class)) }
        td.number { (percent(load.before)) }
        td.number { (percent(load.after)) }
        td.number {
            @match used {
                Some(used) if is_over => (worded(State::Down, &percent(used))),
                Some(used) => (percent(used)),
                None => span.soft { "not set" },
            }
        }
    }
}

fn services(facts: Facts<'_>, hit: &[(&Report, &Outcome)]) -> Markup {
    let config = facts.config();
    html! {
        section.panel aria-labelledby="hit" {
            header {
                h2 id="hit" { "Services" }
                span.soft { (count(hit.len(), "service")) ", the worst first" }
            }
            div.scroll tabindex="0" role="region" aria-labelledby="hit" {
                table {
                    thead {
                        tr {
                            th scope="col" { "Service" }
                            th scope="col" { "Outcome" }
                            th.number scope="col" { "Move" }
                            th scope="col" { "Then at" }
                        }
                    }
                    tbody {
                        @for (report, outcome) in hit.iter().take(SHOWN) {
                            tr {
                                th scope="row" {
                                    a href=(format!("/ui/services/{}", report.name)) {
                                        (bare(&report.name))
                                    }
                                    " "
                                    span.aside { (report.subject.rtype.to_string()) }
                                }
                                td {
                                    (verdict(outcome))
                                    @if report.unchecked {
                                        div.detail {
                                            "has an endpoint without a check: it would still be handed out"
                                        }
                                    }
                                }
                                td.number { (percent(outcome.moved)) }
                                td { (split(&config.regions, outcome)) }
                            }
                        }
                    }
                }
            }
            @if hit.len() > SHOWN { footer { (hit.len() - SHOWN) " more are not shown." } }
        }
    }
}

fn verdict(outcome: &Outcome) -> Markup {
    if outcome.is_empty() {
        worded(State::Down, "nothing left")
    } else if outcome.is_degraded() {
        worded(State::InDoubt, "degraded")
    } else if !outcome.over_capacity.is_empty() {
        worded(State::InDoubt, "over capacity")
    } else {
        worded(State::Up, "keeps up")
    }
}

fn split(regions: &[Region], outcome: &Outcome) -> Markup {
    html! {
        div.pips {
            @for (destination, share) in &outcome.split {
                span.pip {
                    @match destination {
                        Destination::Region(id) => (region(*id, &regions[id.index()].name)),
                        other => (destination_name(regions, *other)),
                    }
                    " " (percent(*share))
                }
            }
        }
    }
}
