//! `meridian simulate`.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::table::{Column, count, lines, list, percent};
use super::terminal::has_color;
use super::{About, Failure, clients, work};
use crate::diag::render_text;
use crate::loader;
use crate::model::Region;
use crate::simulate::{
    Broken, Condition, Loss, Outcome, Population, Report, Simulation, Split, Subject, Summary,
    destination_name, losses, route_name,
};
use crate::steer::Rung;

/// What is asked.
pub(super) struct Question {
    /// What is lost; everything there is, where it is empty.
    pub(super) losses: Vec<String>,
    /// Never two at once.
    pub(super) single: bool,
    /// What all clients together ask for.
    pub(super) demand: Option<f64>,
    /// What is not to happen.
    pub(super) fail_if: Vec<Condition>,
    /// How many losses are shown.
    pub(super) rows: usize,
    /// Whom it is about.
    pub(super) about: About,
}

/// So many names are shown one by one; of more the losses are.
const BLOCKS: usize = 10;
/// How many regions of a split are shown.
const REGIONS: usize = 5;

/// Simulates, and prints what comes of it.
pub(super) fn run(question: &Question, config: &Path) -> ExitCode {
    match simulate(question, config) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => failure.end(),
    }
}

/// False when a condition is broken.
fn simulate(question: &Question, config: &Path) -> Result<bool, Failure> {
    let fail = |why: String| Failure::Usage(format!("meridian simulate: {why}\n"));
    let built = loader::build(config);
    let Some(dataset) = built.dataset else {
        return Err(Failure::Files(render_text(
            &built.diagnostics,
            &built.sources,
            has_color(&std::io::stderr()),
        )));
    };
    let about = &question.about;
    let wanted = clients::Wanted::new(&about.services, &[&dataset.config]).map_err(fail)?;
    let regions = &dataset.config.regions;
    let losses = match question.losses.as_slice() {
        [] => losses(regions, !question.single),
        named => named
            .iter()
            .map(|name| Loss::named(regions, name))
            .collect::<Result<_, _>>()
            .map_err(|why| fail(format!("--loss: {why}")))?,
    };
    if question.fail_if.contains(&Condition::OverCapacity)
        && regions.iter().all(|region| region.capacity.is_none())
    {
        return Err(fail(
            "--fail-if over-capacity: no region has a `capacity`, so nothing could ever be over it"
                .to_owned(),
        ));
    }
    let sample = about
        .clients
        .as_deref()
        .map(clients::read)
        .transpose()
        .map_err(Failure::Files)?;
    let population = match &sample {
        Some(sample) => Population::of_sample(&dataset, sample),
        None => Population::of_addresses(&dataset),
    };
    let demand = question.demand.unwrap_or(if sample.is_some() {
        population.total
    } else {
        100.0
    });
    let simulation = Simulation {
        dataset: &dataset,
        population: &population,
        losses: &losses,
        demand,
    };
    let service = |subject: &Subject| &dataset.config.services[subject.service.index()];
    let subjects: Vec<Subject> = Subject::all(&dataset)
        .filter(|subject| wanted.has(service(subject)))
        .collect();

    let mut summary = Summary::new(&losses, &question.fail_if);
    let mut reports = Vec::new();
    let mut first = true;
    if about.json {
        let sampled = sample.as_ref().map(Vec::len);
        say!(
            "{{\n\"clients\": {},\n\"services\": [",
            json!({ "sampled": sampled, "total": population.total, "demand": demand })
        );
    }
    work::in_parallel(
        subjects.len(),
        "services",
        |index| {
            let report = simulation.run(subjects[index]);
            let json = about.json.then(|| report.json(&simulation).to_string());
            (report, json)
        },
        |(report, json)| {
            summary.add(&report);
            if let Some(json) = json {
                // One at a time: all of them together could take more memory than there is.
                say!(
                    "{}{json}",
                    if std::mem::take(&mut first) { "" } else { "," }
                );
            } else if subjects.len() <= BLOCKS {
                reports.push(report);
            }
        },
    );
    if about.json {
        let (losses, failed) = summary.json(&losses, regions);
        say!("],\n\"losses\": {losses},\n\"failed\": {failed}\n}}");
        return Ok(!summary.has_failed());
    }
    let counted = match (&sample, &about.clients) {
        (Some(sample), Some(file)) => {
            format!(
                "{} of {}, weight {}",
                count(sample.len(), "client"),
                file.display(),
                population.total
            )
        }
        _ => "clients counted by IPv4 address".to_owned(),
    };
    say!(
        "{}, {}; {counted}\n",
        count(subjects.len(), "name"),
        count(losses.len(), "loss")
    );
    for report in &reports {
        block(report, &simulation, question.rows)
            .iter()
            .for_each(|line| say!("{line}"));
    }
    if subjects.len() > BLOCKS {
        overview(&summary, &losses, regions, question.rows)
            .iter()
            .for_each(|line| say!("{line}"));
    }
    closing(&summary, &losses)
        .iter()
        .for_each(|line| say!("{line}"));
    Ok(!summary.has_failed())
}

/// One name: the normal split, then a row a loss, the worst first.
fn block(report: &Report, simulation: &Simulation<'_>, rows: usize) -> Vec<String> {
    let Simulation {
        dataset,
        losses,
        demand,
        ..
    } = simulation;
    let service = &dataset.config.services[report.subject.service.index()];
    let regions = &dataset.config.regions;
    let row = |lost: &str, moved: String, outcome: &Outcome| {
        let over = over_capacity(outcome, regions, *demand);
        vec![
            lost.to_owned(),
            moved,
            split(&outcome.split, regions),
            rung(outcome),
            over,
        ]
    };
    let mut lost: Vec<&(usize, Outcome)> = report.lost.iter().collect();
    // The sort is stable: equally bad ones stay in the order of the losses.
    lost.sort_by(|a, b| {
        b.1.badness()
            .partial_cmp(&a.1.badness())
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    let shown = if rows == 0 { lost.len() } else { rows };
    let mut table = vec![
        [
            "lost",
            "move",
            "where clients go",
            "below step 2",
            "over capacity",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    table.push(row("nothing", String::new(), &report.normal));
    table.extend(
        lost.iter()
            .take(shown)
            .map(|(index, outcome)| row(&title(&losses[*index]), percent(outcome.moved), outcome)),
    );
    let columns = [
        Column::Left,
        Column::Right,
        Column::Left,
        Column::Left,
        Column::Left,
    ];
    let mut out = vec![format!(
        "{} {}, {}",
        report.name,
        report.subject.rtype,
        route_name(service.route)
    )];
    out.extend(
        lines(&columns, &table)
            .into_iter()
            .map(|line| format!("  {line}")),
    );
    out.extend(more(lost.len(), shown).map(|line| format!("  {line}")));
    let untouched = losses.len() - report.lost.len();
    if untouched > 0 {
        out.push(format!(
            "  {} of no pool of it: nobody moves",
            count(untouched, "loss")
        ));
    }
    out.push(String::new());
    out
}

/// All names together: a row a loss, the worst first.
fn overview(summary: &Summary, losses: &[Loss], regions: &[Region], rows: usize) -> Vec<String> {
    let number = |number: usize| {
        if number == 0 {
            String::new()
        } else {
            number.to_string()
        }
    };
    let name = |index: usize| {
        index
            .checked_sub(1)
            .map_or("nothing".to_owned(), |index| title(&losses[index]))
    };
    let row = |index: usize| {
        let loss = &summary.losses[index];
        let (moved, largest) = match &loss.largest {
            Some((moved, name)) => (percent(*moved), name.clone()),
            None => (String::new(), String::new()),
        };
        let over: Vec<String> = loss
            .over_capacity
            .iter()
            .map(|region| regions[region.index()].name.clone())
            .collect();
        let cells = [loss.names, loss.moving].map(|count| count.to_string());
        let [names, moving] = cells;
        vec![
            name(index),
            names,
            moving,
            moved,
            largest,
            number(loss.degraded),
            number(loss.empty),
            list(&over, REGIONS),
        ]
    };
    let mut order: Vec<usize> = (1..summary.losses.len())
        .filter(|index| summary.losses[*index].names > 0)
        .collect();
    let badness = |index: &usize| summary.losses[*index].badness();
    order.sort_by(|a, b| {
        badness(b)
            .partial_cmp(&badness(a))
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    let shown = if rows == 0 { order.len() } else { rows };
    let head = [
        "lost",
        "names",
        "moving",
        "most move",
        "of",
        "below step 2",
        "empty",
        "over capacity",
    ];
    let mut table = vec![head.map(str::to_owned).to_vec(), row(0)];
    table.extend(order.iter().take(shown).map(|index| row(*index)));
    use Column::{Left, Right};
    let mut out = lines(
        &[Left, Right, Right, Right, Left, Right, Right, Left],
        &table,
    );
    out.extend(more(order.len(), shown));
    let below = &summary.degraded;
    if below.times > 0 {
        out.push(format!(
            "below step 2 of the ladder: {}, {}",
            count(below.names, "name"),
            count(below.times, "time")
        ));
        let word = |(far, name, loss): &(f64, String, Option<usize>)| {
            format!(
                "  {name} {}: {} of its clients",
                when(*loss, losses),
                percent(*far)
            )
        };
        out.extend(below.worst.iter().map(word));
        out.extend(and_more(below));
    }
    out.push("--service NAME shows who goes where, and --json everything.".to_owned());
    out.push(String::new());
    out
}

fn title(loss: &Loss) -> String {
    if loss.is_everything {
        format!("{} (everything)", loss.name)
    } else {
        loss.name.clone()
    }
}

fn more(all: usize, shown: usize) -> Option<String> {
    let more = all.saturating_sub(shown);
    (more > 0).then(|| format!("and {more} that are less bad; --rows 0 shows all"))
}

/// What is to be known about all of it, and what failed.
fn closing(summary: &Summary, losses: &[Loss]) -> Vec<String> {
    let mut out = Vec::new();
    if summary.unchecked > 0 {
        let names = count(summary.unchecked, "name");
        let have = if summary.unchecked == 1 {
            "has"
        } else {
            "have"
        };
        out.push(format!("{names} {have} endpoints without checks: nobody notices when those are lost, and their clients stay."));
    }
    for (condition, broken) in summary
        .conditions
        .iter()
        .filter(|(_, broken)| broken.times > 0)
    {
        out.push(format!(
            "failed: {condition}: {}, {}",
            count(broken.names, "name"),
            count(broken.times, "time")
        ));
        out.extend(worst(*condition, broken, losses));
    }
    out
}

fn worst(condition: Condition, broken: &Broken, losses: &[Loss]) -> Vec<String> {
    let sentence = |(far, name, loss): &(f64, String, Option<usize>)| {
        let when = when(*loss, losses);
        match condition {
            Condition::Empty => format!(
                "  {name} {when}: nothing is up for {} of its clients",
                percent(*far)
            ),
            Condition::OverCapacity => format!(
                "  {name} {when}: {} over capacity",
                count(*far as usize, "region")
            ),
            Condition::Moves(_) => {
                format!("  {name} {when}: {} of its clients move", percent(*far))
            }
        }
    };
    broken
        .worst
        .iter()
        .map(sentence)
        .chain(and_more(broken))
        .collect()
}

fn when(loss: Option<usize>, losses: &[Loss]) -> String {
    loss.map_or("with nothing lost".to_owned(), |loss| {
        format!("without {}", losses[loss].name)
    })
}

fn and_more(broken: &Broken) -> Option<String> {
    let more = broken.names - broken.worst.len();
    (more > 0).then(|| format!("  and {more} more"))
}

/// The largest shares first.
fn split(split: &Split, regions: &[Region]) -> String {
    let mut split = split.clone();
    split.sort_by(|a, b| b.1.total_cmp(&a.1));
    let words: Vec<String> = split
        .iter()
        .map(|(to, share)| format!("{} {}", destination_name(regions, *to), percent(*share)))
        .collect();
    list(&words, REGIONS)
}

fn rung(outcome: &Outcome) -> String {
    if !outcome.is_degraded() {
        return String::new();
    }
    let worst = outcome.worst.map_or("no answer", Rung::as_str);
    if outcome.degraded > 1.0 - 1e-9 {
        worst.to_owned()
    } else {
        format!("{}: {worst}", percent(outcome.degraded))
    }
}

/// The regions that get too much: `tokyo 74 of 60`.
fn over_capacity(outcome: &Outcome, regions: &[Region], demand: f64) -> String {
    let tenth = |number: f64| (number * 10.0).round() / 10.0;
    let word = |(to, share): &(crate::simulate::Destination, f64)| {
        let crate::simulate::Destination::Region(region) = to else {
            return None;
        };
        let capacity = regions[region.index()]
            .capacity
            .filter(|_| outcome.over_capacity.contains(region))?;
        Some(format!(
            "{} {} of {capacity}",
            regions[region.index()].name,
            tenth(share * demand)
        ))
    };
    list(
        &outcome.split.iter().filter_map(word).collect::<Vec<_>>(),
        REGIONS,
    )
}
