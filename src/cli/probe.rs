//! `meridian probe`: checks run once, now, by the same prober as the server's.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::error::{Error, Reason};
use super::files::{self, Files};
use super::names::absolute;
use super::table::{Column, lines};
use crate::clock::Clock;
use crate::config::Config;
use crate::diag::UnknownName;
use crate::dns::Name;
use crate::health::{Outcome, Phase, Seen};
use crate::model::{CheckSpec, Service, Target, TargetId};
use crate::probe::{Check, Prober};

/// The most probes of a service that run at once; enough for the patience of a terminal.
const AT_ONCE: usize = 64;

/// Options of `meridian probe`.
#[derive(Debug, clap::Args)]
pub(super) struct Probe {
    /// Name of a check.
    #[arg(required_unless_present = "service")]
    check: Option<String>,
    /// Target of the probe: an address, or a name that ends in a dot.
    #[arg(required_unless_present = "service")]
    address: Option<String>,
    /// Run every check of every endpoint of this service, e.g. www.gtm.example, one row each.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["check", "address"])]
    service: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    files: Files,
}

/// Outcomes of probes, by the target that they probed.
type Outcomes = BTreeMap<TargetId, Outcome>;

impl Probe {
    /// Runs the probes and prints their outcomes. Code 0 when all passed, 1 when one did not; every
    /// error means that nothing was probed, and gives 2.
    pub(super) fn run(self) -> Result<ExitCode, Error> {
        match self.all_passed() {
            Ok(true) => Ok(ExitCode::SUCCESS),
            Ok(false) => Ok(ExitCode::FAILURE),
            Err(reason) => Err(reason.into_usage()),
        }
    }

    fn all_passed(&self) -> Result<bool, Reason> {
        let config = files::config(&self.files.config()?)?;
        match (&self.service, &self.check, &self.address) {
            (Some(service), ..) => probe_service(&config, service, self.json),
            (None, Some(check), Some(target)) => probe_target(&config, check, target, self.json),
            (None, ..) => unreachable!("clap requires check and address without --service"),
        }
    }
}

fn probe_target(config: &Config, check: &str, target: &str, json: bool) -> Result<bool, Reason> {
    let Some(check) = config.checks.iter().find(|known| known.name == check) else {
        let known = config.checks.iter().map(|known| known.name.as_str());
        return Err(UnknownName::new("check", check, known).into());
    };
    if check.kind.is_push() {
        return Err(Reason::PushCheck(check.name.clone()));
    }
    let target = parse_target(target)?;
    let id = TargetId(0);
    let jobs = BTreeMap::from([(id, (check.clone(), target.clone()))]);
    let outcome = &probe_all(config, jobs)?[&id];
    if json {
        print_line!("{:#}", Value::Object(to_json(check, &target, outcome)));
    } else {
        print_line!("{}", to_lines(check, &target, outcome).join("\n"));
    }
    Ok(outcome.passed())
}

fn parse_target(text: &str) -> Result<Target, Reason> {
    if let Ok(address) = text.parse() {
        return Ok(Target::Address(address));
    }
    if !text.ends_with('.') {
        return Err(Reason::BadTarget(text.to_owned()));
    }
    match Name::from_text(text, None) {
        Ok(name) => Ok(Target::Name(name)),
        Err(error) => Err(Reason::BadName(text.to_owned(), error)),
    }
}

/// One use of a check by an endpoint, or an endpoint that has none.
#[derive(Clone, Copy)]
struct Row<'a> {
    region: &'a str,
    endpoint: &'a Target,
    probe: Option<(TargetId, &'a CheckSpec)>,
}

fn probe_service(config: &Config, name: &str, json: bool) -> Result<bool, Reason> {
    let service = find_service(config, name)?;
    let rows = rows(config, service);
    let mut jobs = BTreeMap::new();
    for row in &rows {
        if let Some((id, check)) = row.probe
            && !check.kind.is_push()
        {
            jobs.insert(id, (check.clone(), row.endpoint.clone()));
        }
    }
    let outcomes = probe_all(config, jobs)?;
    if json {
        print_line!("{:#}", service_json(service, &rows, &outcomes));
    } else {
        print_line!("{}", service_lines(&rows, &outcomes).join("\n"));
    }
    Ok(outcomes.values().all(Outcome::passed))
}

fn find_service<'a>(config: &'a Config, name: &str) -> Result<&'a Service, Reason> {
    let wanted = absolute(name)?.to_lowercase();
    let mut known = Vec::new();
    for service in &config.services {
        if service.name.to_lowercase() == wanted {
            return Ok(service);
        }
        known.push(service.name.to_string());
    }
    let known = known.iter().map(String::as_str);
    Err(UnknownName::new("service", wanted.to_string(), known).into())
}

fn rows<'a>(config: &'a Config, service: &'a Service) -> Vec<Row<'a>> {
    let mut rows = Vec::new();
    for pool in &service.pools {
        let region = config.region_name(pool.region);
        for endpoint in &pool.endpoints {
            let mut row = Row {
                region,
                endpoint: &endpoint.target,
                probe: None,
            };
            if endpoint.probes.is_empty() {
                rows.push(row);
                continue;
            }
            for id in &endpoint.probes {
                let check = &config.checks[config.targets[id.index()].check.index()];
                row.probe = Some((*id, check));
                rows.push(row);
            }
        }
    }
    rows
}

/// Runs every job once, and no more than [`AT_ONCE`] at the same time.
fn probe_all(
    config: &Config,
    jobs: BTreeMap<TargetId, (CheckSpec, Target)>,
) -> Result<Outcomes, Reason> {
    // One thread is enough for probes that wait for the network nearly all of their time.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Reason::System("start the probes", error))?;
    let prober = Arc::new(Prober::new(Clock).with_exec_processes(config.server.exec_processes));
    // Names resolve as they do for the server.
    prober.look_up_at(&config.server.resolvers);
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let outcomes = runtime.block_on(async {
        let mut running = JoinSet::new();
        for (id, (check, target)) in jobs {
            let (prober, permits) = (prober.clone(), permits.clone());
            running.spawn(async move {
                let _permit = permits.acquire_owned().await;
                (id, prober.probe(&Check::from(check), &target).await)
            });
        }
        running.join_all().await
    });
    // Dropping the runtime would wait for a name that still resolves after its check's time.
    runtime.shutdown_background();
    Ok(outcomes.into_iter().collect())
}

fn verdict(seen: Seen) -> &'static str {
    match seen {
        Seen::Pass => "pass",
        Seen::Fail(_) => "fail",
        Seen::NotJudged(_) => "not judged",
    }
}

/// Reason for not passing.
fn reason(seen: Seen) -> Option<String> {
    match seen {
        Seen::Pass => None,
        Seen::Fail(reason) => Some(reason.to_string()),
        Seen::NotJudged(why) => Some(why.to_string()),
    }
}

fn label(phase: Phase) -> &'static str {
    match phase {
        Phase::Resolve => "resolve",
        Phase::Connect => "connect",
        Phase::Tls => "tls",
        Phase::Response => "response",
        Phase::Body => "body",
        Phase::Run => "run",
    }
}

fn millis(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1e3)
}

/// Short description of a check: `https, port 443, timeout 1s`.
fn describe(check: &CheckSpec) -> String {
    let port = if check.port == 0 {
        String::new()
    } else {
        format!(", port {}", check.port)
    };
    format!(
        "{}{port}, timeout {}",
        check.kind.type_name(),
        humantime::format_duration(check.timeout)
    )
}

fn to_lines(check: &CheckSpec, target: &Target, outcome: &Outcome) -> Vec<String> {
    let mut rows = vec![
        ("check", format!("{}: {}", check.name, describe(check))),
        ("target", target.to_string()),
    ];
    for (phase, time) in outcome.phases.iter() {
        rows.push((label(phase), millis(time)));
    }
    rows.push(("total", millis(outcome.phases.total())));
    if let Some(reason) = reason(outcome.seen) {
        rows.push(("reason", reason));
    }
    if let Some(evidence) = &outcome.evidence {
        rows.push(("evidence", evidence.to_string()));
    }
    if let Some(load) = outcome.load {
        rows.push(("load", load.share().to_string()));
    }
    if let Some(warning) = outcome.warning {
        rows.push(("warning", warning.to_string()));
    }
    rows.push(("verdict", verdict(outcome.seen).to_owned()));
    let mut lines = Vec::new();
    for (label, text) in rows {
        lines.push(format!("{label:<10} {text}"));
    }
    lines
}

/// Milliseconds with three digits after the point.
fn rounded_millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

fn to_json(check: &CheckSpec, target: &Target, outcome: &Outcome) -> Map<String, Value> {
    let mut phases = Map::new();
    for (phase, time) in outcome.phases.iter() {
        phases.insert(label(phase).to_owned(), rounded_millis(time).into());
    }
    let value = json!({
        "check": check.name,
        "type": check.kind.type_name(),
        "port": if check.port == 0 { Value::Null } else { check.port.into() },
        "target": target.to_string(),
        "verdict": verdict(outcome.seen),
        "reason": reason(outcome.seen),
        "evidence": outcome.evidence.as_ref().map(ToString::to_string),
        "load": outcome.load.map(|load| load.share()),
        "warning": outcome.warning.map(|warning| warning.to_string()),
        "phases_ms": phases,
        "total_ms": rounded_millis(outcome.phases.total()),
    });
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

/// Cells of a row: region, endpoint, check, verdict, time, and details.
fn cells(row: &Row<'_>, outcomes: &Outcomes) -> Vec<String> {
    let probed = row.probe.map(|(id, check)| (check, outcomes.get(&id)));
    let (check, verdict, time, details) = match probed {
        None => ("-", "-", "-".to_owned(), "no check: always up".to_owned()),
        Some((check, None)) => (
            check.name.as_str(),
            "-",
            "-".to_owned(),
            "reports itself".to_owned(),
        ),
        Some((check, Some(outcome))) => (
            check.name.as_str(),
            verdict(outcome.seen),
            millis(outcome.phases.total()),
            details(outcome),
        ),
    };
    vec![
        row.region.to_owned(),
        row.endpoint.to_string(),
        check.to_owned(),
        verdict.to_owned(),
        time,
        details,
    ]
}

fn details(outcome: &Outcome) -> String {
    let mut details = Vec::from_iter(reason(outcome.seen));
    if let Some(evidence) = &outcome.evidence {
        details.push(format!("\"{evidence}\""));
    }
    if let Some(load) = outcome.load {
        details.push(format!("load {}", load.share()));
    }
    if let Some(warning) = outcome.warning {
        details.push(warning.to_string());
    }
    details.join("; ")
}

fn passed(outcomes: &Outcomes) -> usize {
    outcomes.values().filter(|outcome| outcome.passed()).count()
}

fn service_lines(rows: &[Row<'_>], outcomes: &Outcomes) -> Vec<String> {
    let head = ["REGION", "ENDPOINT", "CHECK", "VERDICT", "TIME", ""].map(str::to_owned);
    let mut table = vec![head.to_vec()];
    for row in rows {
        table.push(cells(row, outcomes));
    }
    let mut lines = lines(&[Column::Left; 6], &table);
    lines.push(format!(
        "{} of {} probes passed",
        passed(outcomes),
        outcomes.len()
    ));
    lines
}

fn service_json(service: &Service, rows: &[Row<'_>], outcomes: &Outcomes) -> Value {
    let mut probes = Vec::new();
    for row in rows {
        probes.push(row_json(row, outcomes));
    }
    let passed = passed(outcomes);
    json!({
        "service": service.name.to_string(),
        "passed": passed,
        "failed": outcomes.len() - passed,
        "probes": probes,
    })
}

fn row_json(row: &Row<'_>, outcomes: &Outcomes) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("region".to_owned(), row.region.into());
    object.insert("target".to_owned(), row.endpoint.to_string().into());
    let name = row.probe.map(|(_, check)| check.name.as_str());
    object.insert("check".to_owned(), name.into());
    if let Some((id, check)) = row.probe {
        object.insert("type".to_owned(), check.kind.type_name().into());
        if let Some(outcome) = outcomes.get(&id) {
            object.extend(to_json(check, row.endpoint, outcome));
        }
    }
    object
}
