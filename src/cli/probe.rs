//! `meridian probe`: checks run once, now, by the same prober as the server's.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::terminal::has_color;
use crate::clock::Clock;
use crate::config::Config;
use crate::diag::{render_text, suggestion};
use crate::dns::Name;
use crate::health::{Outcome, Phase, Seen};
use crate::loader;
use crate::model::{CheckSpec, Service, Target, TargetId};
use crate::probe::Prober;

/// How many probes of a service run at once: enough for the patience of a terminal.
const AT_ONCE: usize = 64;

/// What is probed.
pub(super) enum Subject {
    /// One check on one address or name.
    Target {
        /// The name of the check.
        check: String,
        /// An address, or a name that ends in a dot.
        target: String,
    },
    /// Every check of every endpoint of the service with this name.
    Service(String),
}

/// Runs the probes and prints what they saw. Code 0 when all passed, 1 when one did not, 2 when nothing was probed.
pub(super) fn run(subject: &Subject, config: &Path, json: bool) -> ExitCode {
    let outcome = loader::load(config);
    let Some(loaded) = outcome.loaded else {
        eprint!(
            "{}",
            render_text(
                &outcome.diagnostics,
                &outcome.sources,
                has_color(&std::io::stderr())
            )
        );
        return ExitCode::from(2);
    };
    let config = loaded.config;
    let passed = match subject {
        Subject::Target { check, target } => probe_target(&config, check, target, json),
        Subject::Service(name) => probe_service(&config, name, json),
    };
    match passed {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => not_probed(&message),
    }
}

/// Says why nothing was probed.
pub(super) fn not_probed(why: &str) -> ExitCode {
    eprintln!("meridian probe: {why}");
    ExitCode::from(2)
}

fn probe_target(config: &Config, check: &str, target: &str, json: bool) -> Result<bool, String> {
    let names = || config.checks.iter().map(|check| check.name.as_str());
    let found = config.checks.iter().find(|spec| spec.name == check);
    let check =
        found.ok_or_else(|| format!("there is no check {check}{}", hint(check, names())))?;
    if check.kind.is_push() {
        return Err(format!(
            "{} is a push check: its endpoints report themselves, and nothing is sent to them",
            check.name
        ));
    }
    let target = parse_target(target)?;
    let outcomes = probe_all(
        config,
        BTreeMap::from([(TargetId(0), (check.clone(), target.clone()))]),
    )?;
    let outcome = &outcomes[&TargetId(0)];
    if json {
        say!("{:#}", Value::Object(to_json(check, &target, outcome)));
    } else {
        say!("{}", to_lines(check, &target, outcome).join("\n"));
    }
    Ok(outcome.passed())
}

fn parse_target(text: &str) -> Result<Target, String> {
    if let Ok(address) = text.parse() {
        return Ok(Target::Address(address));
    }
    match text.ends_with('.').then(|| Name::from_text(text, None)) {
        Some(Ok(name)) => Ok(Target::Name(name)),
        Some(Err(problem)) => Err(format!("{text}: {problem}")),
        None => Err(format!(
            "{text} is neither an address nor a name that ends in a dot"
        )),
    }
}

fn hint<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> String {
    suggestion(wanted, names)
}

/// One use of a check by an endpoint, or an endpoint that has none.
struct Row<'a> {
    region: &'a str,
    endpoint: &'a Target,
    probe: Option<(TargetId, &'a CheckSpec)>,
}

fn probe_service(config: &Config, name: &str, json: bool) -> Result<bool, String> {
    let service = find_service(config, name)?;
    let rows = rows(config, service);
    let probes = rows
        .iter()
        .filter_map(|row| Some((row.probe?, row.endpoint)));
    let probed = probes.filter(|((_, check), _)| !check.kind.is_push());
    let jobs = probed.map(|((id, check), target)| (id, (check.clone(), target.clone())));
    let outcomes = probe_all(config, jobs.collect())?;
    if json {
        say!("{:#}", service_json(service, &rows, &outcomes));
    } else {
        say!("{}", service_lines(&rows, &outcomes).join("\n"));
    }
    Ok(outcomes.values().all(Outcome::passed))
}

fn find_service<'a>(config: &'a Config, name: &str) -> Result<&'a Service, String> {
    let wanted = Name::from_text(name, Some(&Name::root()))
        .map_err(|problem| format!("{name}: {problem}"))?
        .to_lowercase();
    let found = config
        .services
        .iter()
        .find(|service| service.name.to_lowercase() == wanted);
    found.ok_or_else(|| {
        let names: Vec<_> = config
            .services
            .iter()
            .map(|service| service.name.to_string())
            .collect();
        format!(
            "there is no service {wanted}{}",
            hint(&wanted.to_string(), names.iter().map(String::as_str))
        )
    })
}

fn rows<'a>(config: &'a Config, service: &'a Service) -> Vec<Row<'a>> {
    let mut rows = Vec::new();
    for pool in &service.pools {
        let region = config.region_name(pool.region);
        for endpoint in &pool.endpoints {
            let check =
                |target: &TargetId| &config.checks[config.targets[target.index()].check.index()];
            let probes = endpoint
                .probes
                .iter()
                .map(|target| Some((*target, check(target))));
            let unchecked = endpoint.probes.is_empty().then_some(None);
            rows.extend(probes.chain(unchecked).map(|probe| Row {
                region,
                endpoint: &endpoint.target,
                probe,
            }));
        }
    }
    rows
}

/// Runs every job once, and no more than [`AT_ONCE`] at the same time.
fn probe_all(
    config: &Config,
    jobs: BTreeMap<TargetId, (CheckSpec, Target)>,
) -> Result<BTreeMap<TargetId, Outcome>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| format!("the runtime does not start: {error}"))?;
    let prober = Arc::new(Prober::new(Clock).with_exec_processes(config.server.exec_processes));
    prober.look_up_at(&config.server.resolvers);
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let outcomes = runtime.block_on(async {
        let mut running = JoinSet::new();
        for (id, (check, target)) in jobs {
            let (prober, permits) = (prober.clone(), permits.clone());
            running.spawn(async move {
                let _permit = permits.acquire_owned().await;
                (id, prober.probe(&check, &target).await)
            });
        }
        running.join_all().await
    });
    // A name that still resolves after its check's time is not waited for.
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

/// Why it did not pass.
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

/// What a check does, in a few words: `https, port 443, timeout 1s`.
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
    let mut lines = Vec::new();
    let mut line = |label: &str, text: &str| lines.push(format!("{label:<10} {text}"));
    line("check", &format!("{}: {}", check.name, describe(check)));
    line("target", &target.to_string());
    for (phase, time) in outcome.phases.iter() {
        line(label(phase), &millis(time));
    }
    line("total", &millis(outcome.phases.total()));
    if let Some(reason) = reason(outcome.seen) {
        line("reason", &reason);
    }
    if let Some(evidence) = &outcome.evidence {
        line("evidence", &evidence.to_string());
    }
    if let Some(load) = outcome.load {
        line("load", &load.share().to_string());
    }
    if let Some(warning) = outcome.warning {
        line("warning", &warning.to_string());
    }
    line("verdict", verdict(outcome.seen));
    lines
}

fn to_json(check: &CheckSpec, target: &Target, outcome: &Outcome) -> Map<String, Value> {
    let rounded = |time: Duration| json!((time.as_secs_f64() * 1e6).round() / 1e3);
    let phases: Map<_, _> = outcome
        .phases
        .iter()
        .map(|(phase, time)| (label(phase).to_owned(), rounded(time)))
        .collect();
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
        "total_ms": rounded(outcome.phases.total()),
    });
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

/// The row's cells: region, endpoint, check, verdict, time, and what there is to say.
fn cells(row: &Row<'_>, outcomes: &BTreeMap<TargetId, Outcome>) -> [String; 6] {
    let (region, endpoint) = (row.region.to_owned(), row.endpoint.to_string());
    let Some((id, check)) = row.probe else {
        let words = ["-", "-", "-", "it has no check: always up"].map(str::to_owned);
        let [check, verdict, time, detail] = words;
        return [region, endpoint, check, verdict, time, detail];
    };
    let Some(outcome) = outcomes.get(&id) else {
        return [
            region,
            endpoint,
            check.name.clone(),
            "-".to_owned(),
            "-".to_owned(),
            "it reports itself".to_owned(),
        ];
    };
    let load = outcome.load.map(|load| format!("load {}", load.share()));
    let evidence = outcome
        .evidence
        .as_ref()
        .map(|evidence| format!("\"{evidence}\""));
    let warning = outcome.warning.map(|warning| warning.to_string());
    let details: Vec<String> = [reason(outcome.seen), evidence, load, warning]
        .into_iter()
        .flatten()
        .collect();
    let time = millis(outcome.phases.total());
    [
        region,
        endpoint,
        check.name.clone(),
        verdict(outcome.seen).to_owned(),
        time,
        details.join("; "),
    ]
}

fn service_lines(rows: &[Row<'_>], outcomes: &BTreeMap<TargetId, Outcome>) -> Vec<String> {
    let head = ["REGION", "ENDPOINT", "CHECK", "VERDICT", "TIME", ""].map(str::to_owned);
    let table: Vec<[String; 6]> = std::iter::once(head)
        .chain(rows.iter().map(|row| cells(row, outcomes)))
        .collect();
    let width = |column: usize| {
        table
            .iter()
            .map(|cells| cells[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..5).map(width).collect();
    let line = |cells: &[String; 6]| {
        let padded: Vec<String> = widths
            .iter()
            .zip(cells)
            .map(|(width, cell)| format!("{cell:<width$}"))
            .collect();
        format!("{}  {}", padded.join("  "), cells[5])
            .trim_end()
            .to_owned()
    };
    let mut lines: Vec<String> = table.iter().map(line).collect();
    let passed = outcomes.values().filter(|outcome| outcome.passed()).count();
    lines.push(format!("{passed} of {} probes passed", outcomes.len()));
    lines
}

fn service_json(
    service: &Service,
    rows: &[Row<'_>],
    outcomes: &BTreeMap<TargetId, Outcome>,
) -> Value {
    let row = |row: &Row<'_>| {
        let mut object = Map::from_iter([
            ("region".to_owned(), row.region.into()),
            ("target".to_owned(), row.endpoint.to_string().into()),
            (
                "check".to_owned(),
                row.probe.map(|(_, check)| check.name.as_str()).into(),
            ),
        ]);
        if let Some((id, check)) = row.probe {
            object.insert("type".to_owned(), check.kind.type_name().into());
            object.extend(
                outcomes
                    .get(&id)
                    .map(|outcome| to_json(check, row.endpoint, outcome))
                    .unwrap_or_default(),
            );
        }
        Value::Object(object)
    };
    let passed = outcomes.values().filter(|outcome| outcome.passed()).count();
    json!({
        "service": service.name.to_string(),
        "passed": passed,
        "failed": outcomes.len() - passed,
        "probes": rows.iter().map(row).collect::<Vec<_>>(),
    })
}
