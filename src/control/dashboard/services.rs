//! The list of services, and the page of one.

mod detail;

use maud::{Markup, html};

pub(super) use detail::page as one;

use super::facts::{Facts, State, pool_state, service_rung};
use super::fields::Fields;
use super::layout::{bare, colour, count, worded};
use crate::model::{RegionId, Service, ServiceId};
use crate::simulate::route_name;
use crate::steer::{Plan, Rung};

/// Services on a page.
const SHOWN: usize = 50;
/// Pools that are not simply up, and are named in a row.
const NAMED: usize = 6;

/// The filters by state: the value of the field, and its words.
const STATES: [(&str, &str); 5] = [
    ("", "any"),
    ("degraded", "degraded"),
    ("trouble", "anything down, drained or in doubt"),
    ("drained", "with a drained region"),
    ("up", "up everywhere"),
];

/// A service in the list.
struct Row<'f> {
    id: ServiceId,
    service: &'f Service,
    plan: &'f Plan,
    state: State,
}

/// The page's content.
pub(super) fn page(facts: Facts<'_>, fields: &Fields) -> Markup {
    let rows = rows(facts, fields);
    let pages = rows.len().div_ceil(SHOWN).max(1);
    let page = fields.get("page").and_then(|page| page.parse().ok());
    let page = page.unwrap_or(1_usize).clamp(1, pages);
    let turn = |page: usize| fields.with("/ui/services", "page", Some(&page.to_string()));
    let shown = rows.iter().skip((page - 1) * SHOWN).take(SHOWN);
    html! {
        div.head {
            h1 { "Services" }
            span.soft {
                (rows.len()) " of " (count(facts.config().services.len(), "service")) "; answers: "
                (facts.traffic.window())
            }
        }
        div.stack {
            (form(facts, fields))
            section.panel aria-label="Services" {
                div.scroll tabindex="0" role="region" aria-label="Services" {
                    table {
                        thead { tr {
                            th scope="col" { "Service" }
                            th.minor scope="col" { "Route" }
                            th scope="col" { "State" }
                            th scope="col" { "Regions" }
                            th.number scope="col" { "Endpoints" }
                            th.number scope="col" { "TTL now" }
                            th.number scope="col" { "Answers" }
                            th.wide.minor scope="col" { "Handed out" }
                        } }
                        tbody { @for row in shown { (self::row(facts, row)) } }
                    }
                }
                @if rows.is_empty() { p.calm.soft { "No service is like that." } }
                @if pages > 1 {
                    div.pages {
                        @if page > 1 {
                            a
                                href=(turn(page - 1))
                                rel="prev" {
                                "‹ Previous"
                            }
                        }
                        span { "Page " (page) " of " (pages) }
                        @if page < pages {
                            a
                                href=(turn(page + 1))
                                rel="next" {
                                "Next ›"
                            }
                        }
                    }
                }
            }
        }
    }
}

fn form(facts: Facts<'_>, fields: &Fields) -> Markup {
    let state = fields.get("state").unwrap_or_default();
    let region = fields.get("region").unwrap_or_default();
    html! {
        form.panel method="get" action="/ui/services" data-filter {
            div.body.row {
                label.field { "Name"
                    input type="search" name="q" value=[fields.get("q")] autocomplete="off"
                        size="24";
                }
                label.field { "State"
                    select name="state" {
                        @for (value, words) in STATES {
                            option value=(value) selected[value == state] { (words) }
                        }
                    }
                }
                label.field { "Region"
                    select name="region" {
                        option value="" { "any" }
                        @for own in &facts.config().regions {
                            option value=(own.name) selected[own.name == region] { (own.name) }
                        }
                    }
                }
                button { "Filter" }
            }
        }
    }
}

/// The services that are asked for; those in trouble first, else in the order of the files.
fn rows<'f>(facts: Facts<'f>, fields: &Fields) -> Vec<Row<'f>> {
    let config = facts.config();
    let text = fields.get("q").map(str::to_lowercase);
    let region = fields.get("region");
    let region = region.and_then(|name| config.regions.iter().position(|own| own.name == name));
    let region = region.map(RegionId::from_index);
    let wanted = fields.get("state").unwrap_or_default();
    let mut rows = Vec::new();
    for (index, (service, plan)) in config
        .services
        .iter()
        .zip(&facts.snapshot.plans)
        .enumerate()
    {
        let is_named = text
            .as_ref()
            .is_none_or(|text| service.name.to_string().to_lowercase().contains(text));
        if !is_named || region.is_some_and(|region| plan.pool(region).is_none()) {
            continue;
        }
        let row = Row {
            id: ServiceId::from_index(index),
            service,
            plan,
            state: service_state(plan),
        };
        if row.is(wanted) {
            rows.push(row);
        }
    }
    rows.sort_by_key(|row| (std::cmp::Reverse(row.severity()), row.id));
    rows
}

/// The state of a service in one word: down where no region is up for it.
pub(super) fn service_state(plan: &Plan) -> State {
    if service_rung(plan).is_none_or(Rung::is_degraded) && plan.unit_state().is_none() {
        return State::Down;
    }
    let states = plan.pools.iter().map(|pool| pool_state(plan, pool));
    match states.max() {
        Some(State::Down) => State::Partly,
        Some(State::Idle) | None => State::Up,
        Some(worst) => worst,
    }
}

impl Row<'_> {
    fn has(&self, state: State) -> bool {
        let mut pools = self.plan.pools.iter();
        pools.any(|pool| pool_state(self.plan, pool) == state)
    }

    fn is(&self, wanted: &str) -> bool {
        match wanted {
            "degraded" => self.state == State::Down,
            "trouble" => !matches!(self.state, State::Up | State::Idle),
            "drained" => self.has(State::Drained),
            "up" => matches!(self.state, State::Up | State::Idle),
            _ => true,
        }
    }

    fn severity(&self) -> u8 {
        match self.state {
            State::Down => 3,
            State::Partly | State::Held => 2,
            State::Drained | State::InDoubt => 1,
            State::Up | State::Idle => 0,
        }
    }
}

/// The word for a service that is not answered as it should be.
pub(super) fn service_word(plan: &Plan, state: State) -> &'static str {
    match state {
        State::Down => service_rung(plan).map_or("no answer", Rung::as_str),
        State::Partly => "partly up",
        other => other.word(),
    }
}

/// The TTL that most answers have now, in seconds.
pub(super) fn ttl_now(plan: &Plan) -> u32 {
    let is_degraded = service_rung(plan).is_none_or(Rung::is_degraded);
    if is_degraded || plan.pools.iter().any(|pool| pool.doubt) {
        plan.ttl_min.secs()
    } else {
        plan.ttl.secs()
    }
}

fn row(facts: Facts<'_>, row: &Row<'_>) -> Markup {
    let plan = row.plan;
    let endpoints = plan.pools.iter().fold((0, 0), |(up, all), pool| {
        (up + usize::from(pool.up), all + usize::from(pool.endpoints))
    });
    let answers: u64 = plan
        .pools
        .iter()
        .map(|pool| facts.traffic.lately(pool.counter))
        .sum();
    let answers = answers + facts.traffic.lately(plan.fallback_counter);
    html! {
        tr {
            th scope="row" {
                a href=(format!("/ui/services/{}", row.service.name)) { (bare(&row.service.name)) }
            }
            td.minor { (route_name(row.service.route)) }
            td { (worded(row.state, service_word(plan, row.state))) }
            td { (pips(facts, plan)) }
            td.number { (endpoints.0) " / " (endpoints.1) }
            td.number { (ttl_now(plan)) " s" }
            td.number { (answers) }
            td.minor { (handed_out(facts, plan, answers)) }
        }
    }
}

/// The pools that are not simply up, by name, and the number of the others.
fn pips(facts: Facts<'_>, plan: &Plan) -> Markup {
    let pools = plan
        .pools
        .iter()
        .map(|pool| (pool.region, pool_state(plan, pool)));
    let (well, others): (Vec<_>, Vec<_>) = pools.partition(|(_, state)| *state == State::Up);
    let (idle, others): (Vec<_>, Vec<_>) = others
        .into_iter()
        .partition(|(_, state)| *state == State::Idle);
    html! {
        div.pips {
            @if !well.is_empty() { span class="pip state up" { (well.len()) " up" } }
            @for (region, state) in others.iter().take(NAMED) {
                span class={ "pip state " (state.class()) } title=(state.word()) {
                    (facts.config().region_name(*region)) span.hidden { " " (state.word()) }
                }
            }
            @if !idle.is_empty() { span class="pip state idle" { (idle.len()) " standby" } }
            @if others.len() > NAMED { span.pip.soft { "and " (others.len() - NAMED) " more" } }
        }
    }
}

/// The answers of each region side by side.
fn handed_out(facts: Facts<'_>, plan: &Plan, all: u64) -> Markup {
    let mut parts = Vec::new();
    let mut from = 0.0;
    for pool in plan.pools.iter().filter(|_| all > 0) {
        let share = facts.traffic.lately(pool.counter) as f64 / all as f64;
        if share > 0.0 {
            parts.push((pool.region, from, share));
        }
        from += share;
    }
    let words: Vec<String> = parts
        .iter()
        .map(|(region, _, share)| {
            let name = facts.config().region_name(*region);
            format!("{name} {}", super::layout::percent(*share))
        })
        .collect();
    html! {
        @if parts.is_empty() { span.soft { "none yet" } }
        @else {
            svg.bar role="img" aria-label=(words.join(", ")) {
                title { (words.join(", ")) }
                @for (region, from, share) in &parts {
                    rect class={ "own " (colour(*region)) } x=(format!("{:.1}%", from * 100.0))
                        width=(format!("{:.1}%", share * 100.0)) height="100%" {}
                }
            }
        }
    }
}
