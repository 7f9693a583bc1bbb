//! The first page: what is wrong now, the map, and the regions.

mod cells;
mod map;

use maud::{Markup, html};

use super::facts::{Facts, RegionFacts, State, service_rung};
use super::happenings::latest;
use super::layout::{ago, ahead, bare, count, percent, region, share, state, worded};
use crate::control::Events;
use crate::dns::RrType;
use crate::model::{RegionId, Route, ServiceId};
use crate::overrides::Override;
use crate::simulate::{Area, Catchment, Destination, destination_name, route_name};
use crate::steer::Rung;

/// The service that the map is painted for, with its catchments; empty where its clients are not
/// told apart by their place.
pub(super) struct Painted {
    /// The service.
    pub(super) service: ServiceId,
    /// The type asked for.
    pub(super) rtype: RrType,
    /// Its catchments.
    pub(super) catchments: Vec<Catchment>,
}

/// Conditions of the node as a whole.
pub(super) struct Node {
    /// The reason why it is not ready.
    pub(super) not_ready: Option<String>,
    /// The sentence about refused files.
    pub(super) refused: Option<String>,
}

/// The page's content.
pub(super) fn page(
    facts: Facts<'_>,
    node: &Node,
    painted: Option<&Painted>,
    events: &Events,
) -> Markup {
    let regions = facts.regions();
    html! {
        h1.hidden { "World" }
        div.stack {
            (now(facts, node, &regions))
            div.columns.wide-left {
                (world(facts, &regions, painted))
                div.stack { (table(facts, &regions)) (latest(events, 8)) }
            }
        }
    }
}

/// Everything that is not as it should be; said to be well where nothing is.
fn now(facts: Facts<'_>, node: &Node, regions: &[RegionFacts]) -> Markup {
    let mut items: Vec<Markup> = of_node(facts, node);
    items.extend(regions.iter().filter_map(|region| of_region(facts, region)));
    items.extend(degraded(facts));
    let overrides = &facts.view.overrides.list.0;
    items.extend(overrides.iter().map(|own| of_override(facts, own)));
    html! {
        section.panel aria-labelledby="now" {
            header {
                h2 id="now" { "Now" }
                (summary(facts, node, regions))
            }
            @if items.is_empty() {
                p.calm.soft { "Nothing is down, drained or in doubt." }
            } @else {
                ul.incidents { @for item in &items { (item) } }
            }
        }
    }
}

fn summary(facts: Facts<'_>, node: &Node, regions: &[RegionFacts]) -> Markup {
    let used: Vec<&RegionFacts> = regions.iter().filter(|region| region.pools.1 > 0).collect();
    let up = used
        .iter()
        .filter(|region| region.state != State::Down)
        .count();
    let endpoints = used.iter().fold((0, 0), |(up, all), region| {
        (up + region.endpoints.0, all + region.endpoints.1)
    });
    let answers: u64 = regions.iter().map(|region| region.answers).sum();
    html! {
        dl.facts {
            div {
                dt { "Node" }
                dd {
                    @if node.not_ready.is_none() { (worded(State::Up, "ready")) }
                    @else { (worded(State::Down, "not ready")) }
                }
            }
            div { dt { "Regions" } dd { (up) " of " (used.len()) " up" } }
            div { dt { "Endpoints in pools" } dd { (endpoints.0) " of " (endpoints.1) " up" } }
            div { dt { "Services" } dd { (facts.snapshot.plans.len()) } }
            div { dt { "Answers, " (facts.traffic.window()) } dd { (answers) } }
        }
    }
}

fn item(state: State, word: &str, what: Markup, when: Markup) -> Markup {
    html! {
        li {
            (worded(state, word))
            span.what { (what) }
            span.when { (when) }
        }
    }
}

fn of_node(facts: Facts<'_>, node: &Node) -> Vec<Markup> {
    let mut items = Vec::new();
    if let Some(why) = &node.not_ready {
        items.push(item(
            State::Down,
            "not ready",
            html! { "node: " (why) },
            html! {},
        ));
    }
    if let Some(refused) = &node.refused {
        items.push(item(State::InDoubt, "files", html! { (refused) }, html! {}));
    }
    if let Some(lost) = &facts.view.overrides.lost {
        items.push(item(
            State::Down,
            "lost",
            html! { "overrides: " (lost) },
            html! {},
        ));
    }
    if let Some(frozen) = &facts.view.frozen {
        items.push(item(
            State::InDoubt,
            "frozen",
            html! { "units: " (frozen) },
            html! {},
        ));
    }
    items
}

fn of_region(facts: Facts<'_>, own: &RegionFacts) -> Option<Markup> {
    let failure = own.failure.as_ref();
    let is_bad = matches!(
        own.state,
        State::Down | State::Partly | State::InDoubt | State::Held
    );
    if !is_bad && failure.is_none() {
        return None;
    }
    let (up, all) = own.endpoints;
    let shown = if failure.is_some() && own.state < State::Partly {
        State::Partly
    } else {
        own.state
    };
    let what = html! {
        (region(own.id, facts.config().region_name(own.id)))
        ": " (up) " of " (all) " endpoints up"
        @if let Some(failure) = failure { "; " (failure.reason) }
    };
    let when = html! {
        @if let Some(since) = failure.and_then(|failure| failure.since) {
            (ago(since, facts.now, facts.wall))
        }
    };
    Some(item(shown, shown.word(), what, when))
}

/// Services that are answered from a lower rung of the ladder.
fn degraded(facts: Facts<'_>) -> Option<Markup> {
    let mut worst = Rung::Up;
    let mut names = Vec::new();
    for (plan, service) in facts.snapshot.plans.iter().zip(&facts.config().services) {
        if let Some(rung) = service_rung(plan).filter(|rung| rung.is_degraded()) {
            worst = worst.max(rung);
            names.push(&service.name);
        }
    }
    let first = names.first()?;
    let what = html! {
        a href=(format!("/ui/services/{first}")) { (bare(first)) }
        @if names.len() > 1 {
            " and "
            a href="/ui/services?state=degraded" { (count(names.len() - 1, "other service")) }
        }
        " without a region that is up for everybody; the worst is answered from: " (worst.as_str())
    };
    Some(item(State::Down, "degraded", what, html! {}))
}

fn of_override(facts: Facts<'_>, own: &Override) -> Markup {
    let is_announced = own.starts > facts.now;
    let word = if is_announced {
        "announced"
    } else {
        "override"
    };
    let what = html! {
        a href="/ui/overrides" { "#" (own.id) }
        " " (own.action.to_string()) " of " (own.scope.to_string())
        " by " (own.by) @if !own.reason.is_empty() { ": " (own.reason) }
        @if own.forced { " (forced)" }
    };
    let when = html! {
        @match (is_announced, own.until) {
            (true, _) => { "starts " (ahead(own.starts, facts.now, facts.wall)) }
            (false, Some(until)) => { "ends " (ahead(until, facts.now, facts.wall)) }
            (false, None) => { "until released" }
        }
    };
    item(State::Drained, word, what, when)
}

fn world(facts: Facts<'_>, regions: &[RegionFacts], painted: Option<&Painted>) -> Markup {
    let config = facts.config();
    let catchments = painted.map_or(&[][..], |painted| &painted.catchments);
    html! {
        section.panel aria-labelledby="map" {
            header {
                h2 id="map" { "Catchments" }
                (choice(facts, painted))
            }
            div.body {
                (map::render(&config.regions, regions, catchments, &described(facts, regions)))
            }
            footer { (legend(facts, painted)) }
        }
    }
}

/// The map in words, for those who do not see it.
fn described(facts: Facts<'_>, regions: &[RegionFacts]) -> String {
    let mut text = "World map with the regions: ".to_owned();
    let mut parts = Vec::new();
    for region in regions {
        let name = facts.config().region_name(region.id);
        parts.push(format!("{name} {}", region.state.word()));
    }
    text += &parts.join(", ");
    text
}

/// The form that chooses a service.
fn choice(facts: Facts<'_>, painted: Option<&Painted>) -> Markup {
    let name = painted.map(|own| {
        facts.config().services[own.service.index()]
            .name
            .to_string()
    });
    html! {
        form.line method="get" action="/" {
            label.field {
                span.hidden { "Service" }
                input name="service" list="services" value=[name] placeholder="service"
                    autocomplete="off" size="28";
            }
            datalist id="services" {
                @for service in facts.config().services.iter().take(500) {
                    option value=(bare(&service.name)) {}
                }
            }
            button { "Show" }
        }
    }
}

/// Shares of all clients that go to each destination.
fn legend(facts: Facts<'_>, painted: Option<&Painted>) -> Markup {
    let Some(painted) = painted else {
        return html! { "No service has a map, so clients are not told apart by their place." };
    };
    let config = facts.config();
    let service = &config.services[painted.service.index()];
    let mut shares: Vec<(Destination, f64)> = Vec::new();
    let total: u64 = painted.catchments.iter().map(|own| own.clients).sum();
    for catchment in &painted.catchments {
        for (destination, part) in &catchment.split {
            let part = part * catchment.clients as f64 / total as f64;
            match shares.iter_mut().find(|(other, _)| other == destination) {
                Some((_, sum)) => *sum += part,
                None => shares.push((*destination, part)),
            }
        }
    }
    shares.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let unknown = painted
        .catchments
        .iter()
        .find(|own| own.area == Area::Unknown);
    let unknown = unknown.map_or(0.0, |own| own.clients as f64 / total as f64);
    html! {
        @if painted.catchments.is_empty() {
            (bare(&service.name)) ", route " (route_name(service.route))
            ": clients are not told apart by their place."
        } @else {
            ul.legend {
                @for (destination, part) in &shares {
                    li {
                        @match destination {
                            Destination::Region(id) => (region(*id, config.region_name(*id))),
                            other => (destination_name(&config.regions, *other)),
                        }
                        " " (percent(*part))
                    }
                }
            }
            p {
                "Where clients of "
                a href=(format!("/ui/services/{}", service.name)) { (bare(&service.name)) }
                " (" (painted.rtype.to_string()) ") are sent now, as shares of all IPv4 addresses. Fainter areas have no \
                 located clients of their own and take after their country or continent; "
                (percent(unknown)) " of the addresses have no known place."
            }
        }
    }
}

fn table(facts: Facts<'_>, regions: &[RegionFacts]) -> Markup {
    let config = facts.config();
    html! {
        section.panel aria-labelledby="regions" {
            header {
                h2 id="regions" { "Regions" }
                span.soft { "answers: " (facts.traffic.window()) }
            }
            div.scroll tabindex="0" role="region" aria-labelledby="regions" {
                table {
                    thead { tr {
                        th scope="col" { "Region" } th scope="col" { "State" }
                        th.number scope="col" { "Endpoints" }
                        th.number.minor scope="col" { "Pools" }
                        th scope="col" { "Share" }
                    } }
                    tbody {
                        @for own in regions {
                            tr data-region=(config.region_name(own.id)) {
                                th scope="row" {
                                    (region(own.id, config.region_name(own.id)))
                                    (place(facts, own.id))
                                }
                                td { (state(own.state)) }
                                td.number { (own.endpoints.0) " / " (own.endpoints.1) }
                                td.number.minor { (own.pools.0) " / " (own.pools.1) }
                                td {
                                    (share(own.share, None, &super::layout::own(own.id)))
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The metro of a region, where it has one.
fn place(facts: Facts<'_>, id: RegionId) -> Markup {
    let region = &facts.config().regions[id.index()];
    html! { @if let Some(metro) = &region.metro { " " span.aside { "metro " (metro) } } }
}

/// True for services whose clients are told apart by their place.
pub(super) fn is_by_place(route: Route) -> bool {
    matches!(route, Route::Nearest | Route::Sticky)
}

/// The service that the map shows when none is chosen: the one by place with the most answers.
pub(super) fn busiest(facts: Facts<'_>) -> Option<ServiceId> {
    let services = facts
        .config()
        .services
        .iter()
        .zip(&facts.snapshot.plans)
        .enumerate();
    let by_place =
        services.filter(|(_, (service, _))| service.map.is_some() && is_by_place(service.route));
    let busiest = by_place.max_by_key(|(index, (_, plan))| {
        let answers: u64 = plan
            .pools
            .iter()
            .map(|pool| facts.traffic.lately(pool.counter))
            .sum();
        // Of equals the first: the page should not jump between services.
        (answers, std::cmp::Reverse(*index))
    });
    busiest.map(|(index, _)| ServiceId::from_index(index))
}
