//! The page of overrides: those there are, and a form for new ones, whose button works once the
//! pre-flight has said what it would do.

use maud::{Markup, html};

use super::facts::{Facts, State};
use super::fields::Fields;
use super::layout::{bar, bare, colour, count, percent, region, worded};
use crate::config::Config;
use crate::control::api::overrides::{self, NewOverride};
use crate::control::api::written::OverrideDocument;
use crate::control::preflight::{NameNumbers, Preflight, RegionNumbers, Wish};
use crate::control::{AuditEntry, AuditResult, Problem};
use crate::model::{RegionId, place_names};
use crate::overrides::Selector;

/// The most names in the list of targets.
const NAMED: usize = 500;
/// The names of which the pre-flight shows who moves.
const SHOWN: usize = 12;

/// The actions, with their words.
const ACTIONS: [(&str, &str); 4] = [
    ("drain", "drain: use it only when nothing else is left"),
    ("down", "down: as if its probes failed"),
    ("up", "up: as if its probes passed"),
    ("weight", "weight: another share"),
];

/// The page's content; `audit` are the newest entries of the audit log, where there is one.
pub(super) fn page(facts: Facts<'_>, fields: &Fields, audit: Option<&[AuditEntry]>) -> Markup {
    let list = overrides::list(facts.present);
    html! {
        div.head { h1 { "Overrides" } }
        div.stack {
            @if let Some(lost) = &list.lost {
                div.note.bad.row role="alert" {
                    span { "Overrides were lost: " (lost) }
                    (write("POST", "/v1/overrides/accept-loss", "{}", "Accept the loss", true))
                }
            }
            section.panel aria-labelledby="there" {
                header { h2 id="there" { "In force and announced" } }
                @if list.overrides.is_empty() { p.calm.soft { "None." } }
                @else { (table(&list.overrides)) }
            }
            div.columns.even {
                (form(facts.config(), fields))
                section.panel aria-labelledby="numbers" hx-morph-skip {
                    header { h2 id="numbers" { "Pre-flight" } }
                    div.body id="preflight" aria-live="polite" {
                        p.soft {
                            "Fill in the form, or choose an override to release: this says who would move "
                            "where before anything is done."
                        }
                        (write("POST", "/v1/overrides", "{}", "Make it", false))
                    }
                }
            }
            @if let Some(audit) = audit { (self::audit(audit)) }
        }
    }
}

fn table(list: &[OverrideDocument]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-labelledby="there" {
            table id="in-force" {
                thead { tr {
                    th scope="col" { "Id" } th scope="col" { "Action" } th scope="col" { "Target" }
                    th scope="col" { "State" } th scope="col" { "Ends" } th scope="col" { "By" }
                    th scope="col" { "Reason" } th scope="col" { span.hidden { "Release" } }
                } }
                tbody { @for own in list { (row(own)) } }
            }
        }
    }
}

fn row(own: &OverrideDocument) -> Markup {
    let state = if own.in_force {
        "in force"
    } else {
        "announced"
    };
    html! {
        tr {
            th scope="row" { (own.id) }
            td { (own.action) @if let Some(weight) = own.weight { " " (weight) } }
            td { (own.scope) " " strong { (bare(&own.name)) } }
            td {
                (worded(State::Drained, state))
                @if own.forced { " " (worded(State::InDoubt, "forced")) }
                @if !own.in_force { div.detail { "from " (own.starts) } }
            }
            td.nowrap { (own.until.as_deref().unwrap_or("when released")) }
            td { (own.by) }
            td { (own.reason) }
            td.number {
                button.small type="button" hx-target="#preflight"
                    hx-get=(format!("/ui/preflight?release={}", own.id))
                    hx-swap="innerHTML" { "Release…" span.hidden { " override " (own.id) } }
            }
        }
    }
}

fn form(config: &Config, fields: &Fields) -> Markup {
    html! {
        section.panel aria-labelledby="new" hx-morph-skip {
            header { h2 id="new" { "New override" } }
            form.body.stack id="make" hx-get="/ui/preflight" hx-target="#preflight"
                hx-swap="innerHTML"
                hx-trigger="input delay:300ms, submit" hx-sync="this:replace" autocomplete="off" {
                div.row {
                    label.field { "Action" select name="action" {
                        @for (value, words) in ACTIONS { option value=(value) { (words) } }
                    } }
                    label.field {
                        "Weight"
                        input name="weight" inputmode="numeric" size="8"
                            placeholder="only for weight";
                    }
                }
                label.field { "Target: a region, metro, label, service, SERVICE/REGION or endpoint"
                    input name="what" list="targets" required value=[fields.get("target")];
                }
                datalist id="targets" {
                    @for name in place_names(&config.regions) { option value=(name) {} }
                    @for service in config.services.iter().take(NAMED) {
                        option value=(bare(&service.name)) {}
                    }
                }
                label.field {
                    "Reason: it tells other operators why"
                    input name="reason" required maxlength="500";
                }
                div.row {
                    label.field { "For" input name="for" size="8" placeholder="1h, 30m"; }
                    label.row {
                        input type="checkbox" name="until_released" value="true";
                        "until it is released"
                    }
                    label.field { "Starts in" input name="in" size="8" placeholder="at once"; }
                }
                label.row {
                    input type="checkbox" name="force" value="true";
                    "although the pre-flight speaks against it, which is recorded"
                }
            }
        }
    }
}

/// A button that sends a write to the API; the script does that.
fn write(method: &str, path: &str, body: &str, words: &str, is_enabled: bool) -> Markup {
    html! {
        button.main type="button" data-write=(method) data-path=(path) data-body=(body)
            disabled[!is_enabled] {
            (words)
        }
    }
}

/// A change that a pre-flight is asked about.
pub(super) struct Question {
    /// The change.
    pub(super) wish: Wish,
    /// The write that would make it.
    write: Write,
    /// A sentence about the field that is missing before it can be made.
    missing: Option<&'static str>,
}

struct Write {
    method: &'static str,
    path: String,
    body: String,
    words: String,
}

/// Reads what is asked.
///
/// # Errors
/// The problem of the first field that is wrong.
pub(super) fn question(config: &Config, fields: &Fields) -> Result<Question, Problem> {
    if let Some(id) = fields.get("release") {
        let force = fields.get("force").is_some();
        let query = if force { "?force=true" } else { "" };
        return Ok(Question {
            wish: Wish::Release {
                what: Selector::find(config, id),
                force,
            },
            write: Write {
                method: "DELETE",
                path: format!("/v1/overrides/{id}{query}"),
                body: String::new(),
                words: format!("Release {id}"),
            },
            missing: None,
        });
    }
    let own = |key| fields.get(key).map(str::to_owned);
    let weight = fields.get("weight").map(str::parse).transpose();
    let weight = weight.map_err(|_| Problem::wrong("weight", "bad-value", "is not a number"))?;
    let mut new = NewOverride {
        action: own("action").unwrap_or_default(),
        weight,
        what: own("what").unwrap_or_default(),
        reason: own("reason").unwrap_or_default(),
        r#for: own("for"),
        until_released: fields.get("until_released").is_some(),
        r#in: own("in"),
        lower_ttl: false,
        ramp: None,
        by: None,
        force: fields.get("force").is_some(),
        dry_run: false,
    };
    let body = serde_json::to_string(&new).unwrap_or_default();
    let words = format!("{} {}", capital(&new.action), new.what);
    // The numbers depend on neither, and are worth seeing before they are filled in.
    let mut missing = None;
    if new.r#for.is_none() && !new.until_released {
        new.until_released = true;
        missing = Some("Say for how long, or until it is released.");
    }
    if new.reason.is_empty() {
        new.reason = "not given yet".to_owned();
        missing = Some("Give a reason.");
    }
    Ok(Question {
        wish: Wish::Add(new.read(String::new(), config)?),
        write: Write {
            method: "POST",
            path: "/v1/overrides".to_owned(),
            body,
            words,
        },
        missing,
    })
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

/// The problem of a question.
pub(super) fn problem(problem: &Problem) -> Markup {
    let document = problem.document();
    html! {
        p.note.doubt-note {
            @if let Some(field) = &document.field { strong { (field) } ": " }
            (document.detail)
        }
        (write("POST", "/v1/overrides", "{}", "Make it", false))
    }
}

/// The answer of the pre-flight, with the button.
pub(super) fn judgement(config: &Config, question: &Question, preflight: &Preflight) -> Markup {
    let Write {
        method,
        path,
        body,
        words,
    } = &question.write;
    let is_enabled = preflight.accepted && question.missing.is_none();
    html! {
        div.stack {
            @for objection in &preflight.objections {
                p.note.bad {
                    @if preflight.accepted { "By force, although " }
                    @else { "Refused: " }
                    (objection)
                }
            }
            p { strong { (moves(preflight)) } }
            @if let Some(until) = &preflight.caches_until {
                p.soft { "Caches keep the answers of before until " (until) "." }
            }
            @if let Some(missing) = question.missing { p.note { (missing) } }
            div.row {
                (write(method, path, body, words, is_enabled))
                @if let Some(id) = path.strip_prefix("/v1/overrides/").filter(|_| !preflight.accepted) {
                    button type="button" hx-target="#preflight" hx-swap="innerHTML"
                        hx-get=(format!("/ui/preflight?release={id}&force=1")) {
                        "Release it by force…"
                    }
                }
            }
            @if !preflight.regions.is_empty() { (reached(config, &preflight.regions)) }
            @if !preflight.names.is_empty() { (moving(config, &preflight.names)) }
        }
    }
}

/// The clients that move, in a sentence.
fn moves(preflight: &Preflight) -> String {
    let (least, most) = (
        percent(preflight.moved_least),
        percent(preflight.moved_most),
    );
    match preflight.services {
        0 => "No client moves.".to_owned(),
        // A share can be too small for its digits, and still be somebody's.
        many if preflight.moved_most == 0.0 => {
            format!("Hardly any client moves, of {}.", count(many, "service"))
        }
        1 => format!("{most} of the clients of 1 service move."),
        many if least == most => format!("{most} of the clients of {many} services move."),
        many => format!("{least} to {most} of the clients of {many} services move."),
    }
}

/// The regions that get clients, with what they can take.
fn reached(config: &Config, regions: &[RegionNumbers]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Regions afterwards" {
            table {
                caption { "The largest share that each region gets of one service" }
                thead { tr {
                    th scope="col" { "Region" }
                    th scope="col" { "Afterwards" }
                    th.number scope="col" { "Before" }
                    th.number scope="col" { "After" }
                    th.number scope="col" { "Of capacity" }
                    th.number scope="col" { "Load" }
                } }
                tbody { @for own in regions {
                    @let id = id(config, &own.region);
                    @let class = if own.over { "over".to_owned() }
                    else { format!("own {}", id.map(colour).unwrap_or_default()) }
                    ;
                    tr {
                        th scope="row" {
                            (named(config, &own.region)) div.detail { (bare(&own.name)) }
                        }
                        td { (bar(own.after, Some(own.before), &class)) }
                        td.number { (percent(own.before)) }
                        td.number { (percent(own.after)) }
                        td.number { @match own.of_capacity {
                            Some(of) if own.over => (worded(State::Down, &percent(of))),
                            Some(of) => (percent(of)),
                            None => span.soft { "not set" },
                        } }
                        td.number {
                            @match own.load_after { Some(load) => (percent(load)), None => "–" }
                        }
                    }
                } }
            }
        }
    }
}

fn moving(config: &Config, names: &[NameNumbers]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Services" {
            table {
                thead {
                    tr {
                        th scope="col" { "Service" }
                        th.number scope="col" { "Move" }
                        th scope="col" { "Afterwards" }
                    }
                }
                tbody { @for own in names.iter().take(SHOWN) {
                    tr {
                        th scope="row" { (bare(&own.name)) " " span.aside { (own.r#type) } }
                        td.number { (percent(own.moved)) }
                        td {
                            div.pips {
                                @for (to, share) in &own.after {
                                    span.pip { (named(config, to)) " " (percent(*share)) }
                                }
                            }
                        }
                    }
                } }
            }
        }
        @if names.len() > SHOWN {
            p.soft { "and more: " (names.len() - SHOWN) " of those that move most are not shown" }
        }
    }
}

fn id(config: &Config, name: &str) -> Option<RegionId> {
    let mut regions = config.regions.iter();
    let index = regions.position(|region| region.name == name)?;
    Some(RegionId::from_index(index))
}

fn named(config: &Config, name: &str) -> Markup {
    match id(config, name) {
        Some(id) => region(id, name),
        None => html! { (name) },
    }
}

/// The newest entries of the audit log.
fn audit(entries: &[AuditEntry]) -> Markup {
    html! {
        section.panel aria-labelledby="audit-title" {
            header {
                h2 id="audit-title" { "Audit log" }
                span.soft { "each attempt to change something, the newest first" }
            }
            @if entries.is_empty() { p.calm.soft { "No entry yet." } }
            @else {
                div.scroll tabindex="0" role="region" aria-labelledby="audit-title" {
                    table id="audit" {
                        thead { tr {
                            th scope="col" { "Time" }
                            th scope="col" { "By" }
                            th scope="col" { "Action" }
                            th scope="col" { "Of" }
                            th scope="col" { "Reason" } th scope="col" { "Result" }
                        } }
                        tbody { @for entry in entries { (audited(entry)) } }
                    }
                }
            }
        }
    }
}

fn audited(entry: &AuditEntry) -> Markup {
    let (state, word) = match entry.result {
        AuditResult::Accepted => (State::Up, "accepted"),
        AuditResult::Refused => (State::InDoubt, "refused"),
        AuditResult::Failed => (State::Down, "failed"),
    };
    html! {
        tr {
            td.nowrap.soft { (entry.time) }
            td { (entry.by) @if let Some(from) = &entry.from { div.detail { (from) } } }
            td { (entry.action) }
            th scope="row" { (entry.what) }
            td { (entry.reason.as_deref().unwrap_or_default()) }
            td { (worded(state, word)) @if let Some(why) = &entry.why { div.detail { (why) } } }
        }
    }
}
