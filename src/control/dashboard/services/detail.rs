//! The page of one service: its pools, what was handed out of them, and its endpoints.

use std::time::Duration;

use maud::{Markup, html};

use super::super::facts::{Facts, State, pool_state};
use super::super::layout::{self, bare, percent, region, share, state, worded};
use super::{service_state, service_word, ttl_now};
use crate::control::api::endpoints::{self, CheckDocument, EndpointDocument};
use crate::control::api::services::{self, PoolDocument, ServiceDocument};
use crate::failover::Failover;
use crate::model::{RegionId, Route, ServiceId};
use crate::steer::Plan;

/// The page's content.
pub(in super::super) fn page(facts: Facts<'_>, id: ServiceId) -> Markup {
    let document = services::document(facts.present, id);
    let plan = &facts.snapshot.plans[id.index()];
    let own = service_state(plan);
    html! {
        div.head {
            h1 { (bare(&document.service)) }
            (worded(own, service_word(plan, own)))
            div.row {
                a href=(format!("/ui/why?name={}&client=203.0.113.0/24", bare(&document.service))) {
                    "Why"
                }
                a href=(format!("/?service={}", bare(&document.service))) { "Catchments" }
                a href=(format!("/ui/overrides?target={}", bare(&document.service))) { "Override" }
            }
        }
        div.stack {
            (summary(facts, id, &document))
            (pools(facts, id, &document))
            (endpoints(facts, id))
        }
    }
}

fn summary(facts: Facts<'_>, id: ServiceId, document: &ServiceDocument) -> Markup {
    let plan = &facts.snapshot.plans[id.index()];
    let config = facts.config();
    let failover = Failover::of(config, &config.services[id.index()]);
    html! {
        section.panel aria-label="Summary" {
            div.body {
                dl.facts {
                    div { dt { "Zone" } dd { (bare(&document.zone)) } }
                    div { dt { "Route" } dd { (document.route) } }
                    @if let Some(map) = &document.map { div { dt { "Map" } dd { (map) } } }
                    div {
                        dt { "TTL now" }
                        dd { (ttl_now(plan)) " s" }
                        dt { "(" (document.ttl) " s settled, " (document.ttl_min) " s in doubt)" }
                    }
                    @if let (Some(up), Some(least)) = (document.regions_up, document.min_regions) {
                        div { dt { "Regions up" } dd { (up) } dt { "(must keep " (least) ")" } }
                    }
                    @for family in &document.families {
                        div {
                            dt { (family.family) }
                            dd { (family.rung.as_deref().unwrap_or("no answer").replace('_', " ")) }
                        }
                    }
                    @if let Some(unit) = &document.unit {
                        div {
                            dt { "Owner" }
                            dd { (unit.owner.as_deref().unwrap_or("none")) ", epoch " (unit.epoch) }
                        }
                    }
                    div { dt { "Failover" } dd { (failover) } }
                }
            }
        }
    }
}

/// The share that the weights give each pool that could be drawn; `None` where weights do not
/// decide.
fn expected(facts: Facts<'_>, id: ServiceId, region: RegionId) -> Option<f64> {
    let plan: &Plan = &facts.snapshot.plans[id.index()];
    if plan.route != Route::Weighted {
        return None;
    }
    let is_drawn = |state| matches!(state, State::Up | State::InDoubt | State::Partly);
    let drawn = plan
        .pools
        .iter()
        .filter(|pool| is_drawn(pool_state(plan, pool)));
    let total: u64 = drawn.clone().map(|pool| u64::from(pool.weight)).sum();
    let own = drawn.into_iter().find(|pool| pool.region == region);
    let own = own.map_or(0, |pool| pool.weight);
    (total > 0).then(|| f64::from(own) / total as f64)
}

fn pools(facts: Facts<'_>, id: ServiceId, document: &ServiceDocument) -> Markup {
    let plan = &facts.snapshot.plans[id.index()];
    let lately = plan
        .pools
        .iter()
        .map(|pool| facts.traffic.lately(pool.counter));
    let all: u64 = lately.sum::<u64>() + facts.traffic.lately(plan.fallback_counter);
    let has_marks = plan.route == Route::Weighted;
    html! {
        section.panel aria-labelledby="pools" {
            header {
                h2 id="pools" { "Regions" }
                span.soft {
                    "handed out: " (facts.traffic.window())
                    @if has_marks { "; the mark is what the weights say" }
                }
            }
            div.scroll tabindex="0" role="region" aria-labelledby="pools" {
                table {
                    thead { tr {
                        th scope="col" { "Region" }
                        th scope="col" { "State" }
                        th.number scope="col" { "Weight" }
                        @if plan.route == Route::Priority { th.number scope="col" { "Priority" } }
                        th.wide scope="col" { "Handed out" }
                        th.number scope="col" { "Answers" }
                        th.number scope="col" { "Endpoints" }
                        th scope="col" { "Notes" }
                    } }
                    tbody {
                        @for (pool, own) in document.pools.iter().zip(&plan.pools) {
                            @let answers = facts.traffic.lately(own.counter);
                            @let part = (all > 0).then(|| answers as f64 / all as f64);
                            tr data-region=(pool.region) {
                                th scope="row" { (region(own.region, &pool.region)) }
                                td { (state(pool_state(plan, own))) }
                                td.number { (weight(pool)) }
                                @if plan.route == Route::Priority { td.number { (pool.priority) } }
                                td {
                                    (share(part, expected(facts, id, own.region), &layout::own(own.region)))
                                }
                                td.number { (answers) }
                                td.number { (pool.endpoints_up) " / " (pool.endpoints) }
                                td { (notes(pool)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn weight(pool: &PoolDocument) -> Markup {
    html! {
        (pool.weight)
        @if pool.weight != pool.configured_weight {
            " " span.aside { "(" (pool.configured_weight) " in the files)" }
        }
        @if pool.ramp < 1.0 { " " span.aside { "ramp " (percent(pool.ramp)) } }
    }
}

/// All that is special about a pool, in words.
fn notes(pool: &PoolDocument) -> Markup {
    let mut notes: Vec<String> = Vec::new();
    notes.extend(pool.drained.clone());
    notes.extend(pool.overrides.iter().cloned());
    if let Some(until) = &pool.flapping_until {
        notes.push(format!(
            "an endpoint is held down as flapping until {until}"
        ));
    }
    for family in &pool.families {
        if !matches!(family.recovery.as_str(), "in use" | "down") {
            notes.push(format!("{}: {}", family.family, family.recovery));
        }
        if pool.families.len() > 1 && family.state != pool.families[0].state {
            notes.push(format!(
                "{} is {}",
                family.family,
                family.state.replace('_', " ")
            ));
        }
    }
    html! { @for note in &notes { div.detail { (note) } } }
}

fn endpoints(facts: Facts<'_>, id: ServiceId) -> Markup {
    let documents = endpoints::of_service(facts.present, id);
    html! {
        section.panel aria-labelledby="endpoints" {
            header { h2 id="endpoints" { "Endpoints" } span.soft { (documents.len()) } }
            div.scroll tabindex="0" role="region" aria-labelledby="endpoints" {
                table {
                    thead { tr {
                        th scope="col" { "Endpoint" }
                        th scope="col" { "Region" }
                        th scope="col" { "State" }
                        th scope="col" { "Since" }
                        th scope="col" { "Last probes" }
                        th.number scope="col" { "Weight" }
                    } }
                    tbody { @for document in &documents { (endpoint(facts, document)) } }
                }
            }
        }
    }
}

fn endpoint(facts: Facts<'_>, document: &EndpointDocument) -> Markup {
    let own = match (document.up, document.in_doubt) {
        (true, false) => State::Up,
        (true, true) => State::InDoubt,
        (false, _) => State::Down,
    };
    let mut regions = facts.config().regions.iter();
    let index = regions.position(|region| region.name == document.region);
    html! {
        tr data-endpoint=(document.endpoint) {
            th.mono scope="row" { (document.endpoint) }
            td {
                @if let Some(index) = index {
                    (region(RegionId::from_index(index), &document.region))
                }
            }
            td {
                (state(own))
                @if let Some(id) = &document.overridden_by {
                    div.detail {
                        "by override " (id) "; probes see it "
                        (if document.probed_up { "up" } else { "down" })
                    }
                }
            }
            td.nowrap.soft { (document.since.as_deref().unwrap_or("the start")) }
            td {
                @if let Some(why) = &document.why { div { (why) } }
                @for own in &document.checks { (check(own)) }
                @if document.checks.is_empty() { span.soft { "no check: always up" } }
            }
            td.number { (document.weight) }
        }
    }
}

fn check(check: &CheckDocument) -> Markup {
    let last = check.last.as_ref();
    let taken = last.map(|last| {
        let seconds = last
            .phases
            .values()
            .filter_map(serde_json::Value::as_f64)
            .sum();
        Duration::from_secs_f64(seconds)
    });
    html! {
        div.detail {
            (check.check) ": "
            @if let Some(last) = last {
                (last.result)
                @if let Some(taken) = taken {
                    " in " (format!("{:.1} ms", taken.as_secs_f64() * 1000.0))
                }
                @if let Some(evidence) = &last.evidence { ", " (evidence) }
                @if let Some(warning) = &last.warning { "; " (warning) }
            } @else { "not probed yet" }
            @if check.fails > 0 { "; " (check.fails) " failures counted" }
            @if check.passes > 0 { "; " (check.passes) " passes counted" }
            @if let Some(load) = check.load { "; load " (percent(load)) }
            @if check.watch != "none" { "; watch " (check.watch.replace('_', " ")) }
        }
    }
}
