//! The page that explains an answer: who asks, where that is, which regions were looked at in which
//! order, and why one of them was taken.

use maud::{Markup, html};

use super::facts::{Facts, State};
use super::fields::Fields;
use super::layout::{bare, region, worded};
use crate::answer::{Explanation, Step, explain};
use crate::config::Config;
use crate::dns::{Name, Prefix, RrType};
use crate::model::{RegionId, place_names};
use crate::simulate::{part, what_if};

/// Question of a page.
struct Asked {
    name: Name,
    client: Prefix,
    rtype: Option<RrType>,
}

/// A field that cannot be read.
struct Wrong {
    field: &'static str,
    why: String,
}

/// The page's content; `seed` starts the draws.
pub(super) fn page(facts: Facts<'_>, fields: &Fields, seed: u64) -> Markup {
    let answer = match asked(fields) {
        None => html! { (introduction()) },
        Some(Err(wrong)) => html! { p.note.bad role="alert" { (wrong.field) ": " (wrong.why) } },
        Some(Ok(asked)) => match explained(facts, &asked, fields, seed) {
            Ok(explanation) => answer(facts, &explanation, fields),
            Err(wrong) => html! { p.note.bad role="alert" { (wrong.field) ": " (wrong.why) } },
        },
    };
    html! {
        div.head { h1 { "Why does a client get its answer?" } }
        div.stack {
            (form(facts, fields))
            (answer)
        }
    }
}

/// `None` before anything was asked.
fn asked(fields: &Fields) -> Option<Result<Asked, Wrong>> {
    let name = fields.get("name")?;
    let wrong = |field, why| Some(Err(Wrong { field, why }));
    let name = match Name::from_text(name, Some(&Name::root())) {
        Ok(name) => name,
        Err(error) => return wrong("Name", error.to_string()),
    };
    let Some(client) = fields.get("client") else {
        return wrong(
            "Client",
            "give an address or a prefix, as 203.0.113.0/24".to_owned(),
        );
    };
    let client = match client.parse() {
        Ok(client) => client,
        Err(error) => return wrong("Client", format!("{client} {error}")),
    };
    let rtype = match fields.get("type").map(str::parse).transpose() {
        Ok(rtype) => rtype,
        Err(()) => return wrong("Type", "is not a DNS type".to_owned()),
    };
    Some(Ok(Asked {
        name,
        client,
        rtype,
    }))
}

/// The explanation, by the state of this moment or by what is to be assumed.
fn explained(
    facts: Facts<'_>,
    asked: &Asked,
    fields: &Fields,
    seed: u64,
) -> Result<Explanation, Wrong> {
    let config = facts.config();
    let named = |key: &'static str, field: &'static str| {
        let names: Vec<String> = fields.all(key).map(str::to_owned).collect();
        part(config, &names).map_err(|unknown| Wrong {
            field,
            why: unknown.to_string(),
        })
    };
    let (down, drained) = (named("down", "Down")?, named("drained", "Drained")?);
    let assumed;
    let snapshot = if is_what_if(fields) {
        assumed = what_if(&facts.snapshot.dataset, &down, &drained.regions);
        &assumed
    } else {
        facts.snapshot
    };
    let Asked {
        name,
        client,
        rtype,
    } = asked;
    Ok(explain(snapshot, name, *rtype, *client, seed, facts.wall))
}

fn is_what_if(fields: &Fields) -> bool {
    fields.get("down").or(fields.get("drained")).is_some()
}

fn form(facts: Facts<'_>, fields: &Fields) -> Markup {
    let types = [
        "A", "AAAA", "HTTPS", "SVCB", "TXT", "CNAME", "MX", "NS", "SOA",
    ];
    let chosen = fields.get("type").unwrap_or_default();
    html! {
        form.panel method="get" action="/ui/why" {
            div.body.stack {
                div.line.row {
                    label.field { "Name"
                        input name="name" required list="services" autocomplete="off" size="30"
                            value=[fields.get("name")] placeholder="www.gtm.example";
                    }
                    datalist id="services" {
                        @for service in facts.config().services.iter().take(500) {
                            option value=(bare(&service.name)) {}
                        }
                    }
                    label.field { "Client, an address or prefix"
                        input name="client" required autocomplete="off" size="22"
                            value=[fields.get("client")] placeholder="203.0.113.0/24";
                    }
                    label.field { "Type"
                        select name="type" {
                            option value="" { "of the service" }
                            @for kind in types {
                                option value=(kind) selected[kind.eq_ignore_ascii_case(chosen)] {
                                    (kind)
                                }
                            }
                        }
                    }
                    button.main { "Explain" }
                }
                (toggles(facts.config(), fields))
            }
        }
    }
}

/// The regions, metros and labels that may be taken as lost.
fn toggles(config: &Config, fields: &Fields) -> Markup {
    let is_open = is_what_if(fields);
    html! {
        details open[is_open] {
            summary { "What if these were down or drained?" }
            @for (key, legend) in [("down", "Down"), ("drained", "Drained")] {
                fieldset.checks {
                    legend { (legend) }
                    @for name in place_names(&config.regions) {
                        label {
                            input type="checkbox" name=(key) value=(name)
                                checked[fields.all(key).any(|own| own == name)];
                            (name)
                        }
                    }
                }
            }
        }
    }
}

fn introduction() -> Markup {
    html! {
        p.soft {
            "The question goes through the code that answers queries, with the state of this moment. \
             The address of the page holds the question: it can be sent to a colleague."
        }
    }
}

fn answer(facts: Facts<'_>, explanation: &Explanation, fields: &Fields) -> Markup {
    html! {
        @if is_what_if(fields) {
            p.note.doubt-note {
                "Assumed: what is ticked above is lost, and everything else is up and not "
                "overridden. This is not the state of this moment."
            }
        }
        section.panel aria-labelledby="answer" {
            header {
                h2 id="answer" { "Answer" }
                button.small type="button" data-copy-address { "Copy the address" }
            }
            div.body.stack {
                p.verdict { (verdict(facts, explanation)) }
                (located(explanation))
                @if let Some(unit) = &explanation.unit { p { "Unit: " (unit.sentence) "." } }
            }
        }
        @if !explanation.steps.is_empty() {
            section.panel aria-labelledby="ladder" {
                header { h2 id="ladder" { "Regions, in the order of this client" } }
                ol.ladder {
                    @for step in &explanation.steps { (rung(facts.config(), step)) }
                    @for name in next(explanation) {
                        li.later {
                            span.region { (region_of(facts.config(), name)) }
                            div.soft { "next in line, and not looked at" }
                        }
                    }
                }
                @if let Some(failover) = &explanation.failover {
                    footer { "When a region dies, " (failover) "." }
                }
            }
        }
    }
}

/// The answer in a sentence.
fn verdict(facts: Facts<'_>, explanation: &Explanation) -> Markup {
    let Explanation {
        name,
        rtype,
        client,
        answers,
        ..
    } = explanation;
    let from = match (&explanation.region, explanation.rung) {
        (Some(name), _) => {
            let region = region_of(facts.config(), name);
            html! { " from " (region) }
        }
        (None, Some(_)) if explanation.unit.is_some() => html! { " while no region owns the unit" },
        (None, Some(_)) => html! { " from the fallback addresses, as no region is up" },
        (None, None) => html! {},
    };
    html! {
        span.mono { (client) }
        " asks for "
        span.mono { (bare(name)) }
        " " (rtype.to_string()) " and gets "
        @if answers.is_empty() {
            (explanation.rcode) " without records"
        } @else {
            span.mono { (answers.join(", ")) }
        }
        (from) ", for " (explanation.ttl) " s."
        @if let Some(rung) = explanation.rung.filter(|rung| rung.is_degraded()) {
            " " (worded(State::Down, rung.as_str()))
        }
    }
}

fn region_of(config: &Config, name: &str) -> Markup {
    let found = config.regions.iter().position(|region| region.name == name);
    match found {
        Some(index) => region(RegionId::from_index(index), name),
        None => html! { (name) },
    }
}

/// The place of the client, and how that is known.
fn located(explanation: &Explanation) -> Markup {
    let location = &explanation.location;
    let source = match explanation.located_by.as_str() {
        "network" => "by its network, which the map names",
        "asn" => "by its AS, which the map names",
        "subdivision" => "by its subdivision, which the map names",
        "country" => "by its country, which the map names",
        "continent" => "by its continent, which the map names",
        "distance" => "by its distance from the regions",
        "rest" => "by the map's last line, for clients of whom nothing better is known",
        _ => "not: its place does not matter here",
    };
    let code = [
        location.continent.map(|code| code.to_string()),
        location.country.map(|code| code.to_string()),
        location.subdivision.map(|code| code.to_string()),
    ];
    let codes: Vec<String> = code.into_iter().flatten().collect();
    html! {
        dl.facts {
            div { dt { "Located" } dd { (source) } }
            @if !codes.is_empty() { div { dt { "Place" } dd { (codes.join(" › ")) } } }
            @if let Some(point) = location.coordinates {
                div {
                    dt { "Coordinates" }
                    dd { (format!("{:.2}, {:.2}", point.latitude, point.longitude)) }
                }
            }
            @if let Some(asn) = explanation.asn { div { dt { "AS" } dd { (asn) } } }
            div { dt { "The answer is good for" } dd { (scope(explanation)) } }
        }
    }
}

/// The clients whose resolver may share the answer.
fn scope(explanation: &Explanation) -> String {
    match explanation.scope {
        0 => "every client".to_owned(),
        scope => format!("clients of one /{scope}"),
    }
}

/// The regions of the client's order that come after those that were looked at.
fn next(explanation: &Explanation) -> impl Iterator<Item = &String> {
    let steps = &explanation.steps;
    let order = explanation.order.iter();
    order.filter(move |name| steps.iter().all(|step| step.region != **name))
}

fn rung(config: &Config, step: &Step) -> Markup {
    let (state, word) = match step.verdict {
        "taken" => (State::Up, "taken"),
        "not drawn" => (State::Idle, "could be taken"),
        "outside the border" => (State::Idle, "not allowed"),
        "no pool" => (State::Idle, "not in this service"),
        "drained" => (State::Drained, "drained"),
        "down" => (State::Down, "down"),
        "up" => (State::Idle, "up, not needed"),
        other if other.starts_with("all down") => (State::Down, "down"),
        other => (State::InDoubt, other),
    };
    html! {
        li.taken[step.verdict == "taken"] {
            span.region { (region_of(config, &step.region)) }
            div {
                (worded(state, word)) " " (step.detail)
                @if !step.said.is_empty() { span.said { (step.said) } }
            }
        }
    }
}
