//! `meridian simulate`.

use std::cmp::Ordering;
use std::process::ExitCode;

use serde_json::json;

use super::clients::Scope;
use super::error::{Error, Reason};
use super::files::Files;
use super::table::{Column, count, indent, lines, list};
use super::work;
use crate::model::Region;
use crate::simulate::{
    BadCondition, Broken, Condition, Destination, Loss, LossSummary, Outcome, Population, Report,
    Sampled, Simulation, Split, Subject, Summary, destination_name, losses, percent, route_name,
};
use crate::steer::Rung;

/// Options of `meridian simulate`.
#[derive(Debug, clap::Args)]
pub(super) struct Simulate {
    /// Lose these regions, metros or labels (KEY:VALUE) instead of every one and every two; those
    /// separated by commas are lost together. May be repeated.
    #[arg(long = "loss", value_name = "NAME,…")]
    losses: Vec<String>,
    /// Lose one at a time, never two.
    #[arg(long)]
    single: bool,
    /// Demand of all clients together, in the unit of the regions' capacity [default: the sum of
    /// the weights in --clients, else 100].
    #[arg(long, value_name = "NUMBER", value_parser = parse_demand)]
    demand: Option<f64>,
    /// Exit with code 1 if one of these happens: empty, over-capacity, moves>30%.
    #[arg(
        long,
        value_name = "CONDITION,…",
        value_delimiter = ',',
        value_parser = parse_condition
    )]
    fail_if: Vec<Condition>,
    /// Number of losses to show for a service, and for all of them; 0 shows all.
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    rows: usize,
    #[command(flatten)]
    scope: Scope,
    #[command(flatten)]
    files: Files,
}

/// The most names that are shown one by one; of more than these, the losses are shown.
const BLOCKS: usize = 10;
/// The most regions of a split that are shown.
const REGIONS: usize = 5;

fn parse_condition(text: &str) -> Result<Condition, BadCondition> {
    text.trim().parse()
}

fn parse_demand(text: &str) -> Result<f64, &'static str> {
    match text.parse() {
        Ok(number) if (0.0..=1e15).contains(&number) => Ok(number),
        _ => Err("not a number from 0 to 1e15"),
    }
}

impl Simulate {
    /// Simulates, and prints the results. Fails when a condition of `--fail-if` is broken.
    pub(super) fn run(self) -> Result<ExitCode, Error> {
        let dataset = self.files.dataset()?;
        let wanted = self
            .scope
            .wanted(&[&dataset.config])
            .map_err(Reason::into_usage)?;
        let losses = self
            .losses(&dataset.config.regions)
            .map_err(Reason::into_usage)?;
        let sample = self.scope.sample()?;
        let population = match &sample {
            Some(sample) => Population::of_sample(&dataset, sample),
            None => Population::of_addresses(&dataset),
        };
        let demand = match (self.demand, &sample) {
            (Some(demand), _) => demand,
            (None, Some(_)) => population.total,
            (None, None) => 100.0,
        };
        let simulation = Simulation {
            dataset: &dataset,
            population: &population,
            losses: &losses,
            demand,
        };
        let mut subjects = Subject::all(&dataset);
        subjects.retain(|subject| wanted.has(&dataset.config.services[subject.service.index()]));
        let summary = if self.scope.json {
            self.print_json(&simulation, &subjects, sample.as_deref())
        } else {
            self.print_text(&simulation, &subjects, sample.as_deref())
        };
        if summary.has_failed() {
            Ok(ExitCode::FAILURE)
        } else {
            Ok(ExitCode::SUCCESS)
        }
    }

    /// The losses to simulate. Refuses a condition that could never be broken: a pipeline would
    /// pass for ever without having tested anything.
    fn losses(&self, regions: &[Region]) -> Result<Vec<Loss>, Reason> {
        if self.fail_if.contains(&Condition::OverCapacity)
            && regions.iter().all(|region| region.capacity.is_none())
        {
            return Err(Reason::NoCapacity.of_option("--fail-if over-capacity"));
        }
        if self.losses.is_empty() {
            return Ok(losses(regions, !self.single));
        }
        let mut named = Vec::new();
        for text in &self.losses {
            let loss = Loss::named(regions, text)
                .map_err(|unknown| Reason::from(unknown).of_option("--loss"))?;
            named.push(loss);
        }
        Ok(named)
    }

    /// Prints each report as soon as it is there: all of them together could take more memory than
    /// there is.
    fn print_json(
        &self,
        simulation: &Simulation<'_>,
        subjects: &[Subject],
        sample: Option<&[Sampled]>,
    ) -> Summary {
        let clients = json!({
            "sampled": sample.map(<[Sampled]>::len),
            "total": simulation.population.total,
            "demand": simulation.demand,
        });
        print_line!("{{\n\"clients\": {clients},\n\"services\": [");
        let mut summary = Summary::new(simulation.losses, &self.fail_if);
        // The object is written by hand around its services, which are never held all at once.
        let mut separator = "";
        work::in_parallel(
            subjects.len(),
            "services",
            |index| {
                let report = simulation.run(subjects[index]);
                let json = report.json(simulation).to_string();
                (report, json)
            },
            |(report, json)| {
                summary.add(&report);
                print_line!("{separator}{json}");
                separator = ",";
            },
        );
        let (losses, failed) = summary.json(simulation.losses, &simulation.dataset.config.regions);
        print_line!("],\n\"losses\": {losses},\n\"failed\": {failed}\n}}");
        summary
    }

    fn print_text(
        &self,
        simulation: &Simulation<'_>,
        subjects: &[Subject],
        sample: Option<&[Sampled]>,
    ) -> Summary {
        let mut summary = Summary::new(simulation.losses, &self.fail_if);
        let mut reports = Vec::new();
        work::in_parallel(
            subjects.len(),
            "services",
            |index| simulation.run(subjects[index]),
            |report| {
                summary.add(&report);
                if subjects.len() <= BLOCKS {
                    reports.push(report);
                }
            },
        );
        let clients = match (sample, &self.scope.clients) {
            (Some(sample), Some(file)) => format!(
                "{} of {}, weight {}",
                count(sample.len(), "client"),
                file.display(),
                simulation.population.total
            ),
            _ => "clients counted by IPv4 address".to_owned(),
        };
        let mut out = vec![format!(
            "{}, {}; {clients}\n",
            count(subjects.len(), "name"),
            count(simulation.losses.len(), "loss")
        )];
        for report in &reports {
            out.extend(block(report, simulation, self.rows));
        }
        if subjects.len() > BLOCKS {
            out.extend(overview(&summary, simulation, self.rows));
        }
        out.extend(closing(&summary, simulation.losses));
        for line in out {
            print_line!("{line}");
        }
        summary
    }
}

/// Orders the worst first.
fn worst_first<B: PartialOrd>(badness: B, other: B) -> Ordering {
    other.partial_cmp(&badness).unwrap_or(Ordering::Equal)
}

/// Number of rows to show of `all`; 0 asks for all of them.
fn shown(rows: usize, all: usize) -> usize {
    if rows == 0 { all } else { rows.min(all) }
}

/// Block of one name: its normal split, then a row for each loss, the worst first.
fn block(report: &Report, simulation: &Simulation<'_>, rows: usize) -> Vec<String> {
    let config = &simulation.dataset.config;
    let mut lost: Vec<&(usize, Outcome)> = report.lost.iter().collect();
    // The sort is stable: equally bad ones stay in the order of the losses.
    lost.sort_by(|(_, a), (_, b)| worst_first(a.badness(), b.badness()));
    let shown = shown(rows, lost.len());
    let head = [
        "lost",
        "move",
        "where clients go",
        "below rung 2",
        "over capacity",
    ]
    .map(str::to_owned);
    let normal = block_row(
        "nothing".to_owned(),
        String::new(),
        &report.normal,
        simulation,
    );
    let mut table = vec![head.to_vec(), normal];
    for (index, outcome) in &lost[..shown] {
        let name = title(&simulation.losses[*index]);
        table.push(block_row(name, percent(outcome.moved), outcome, simulation));
    }
    use Column::{Left, Right};
    let mut out = vec![format!(
        "{} {}, {}",
        report.name,
        report.subject.rtype,
        route_name(config.services[report.subject.service.index()].route)
    )];
    let mut inside = lines(&[Left, Right, Left, Left, Left], &table);
    inside.extend(more(lost.len(), shown));
    match simulation.losses.len() - report.lost.len() {
        0 => {}
        1 => inside.push("1 loss does not affect any of its pools: no client moves".to_owned()),
        untouched => inside.push(format!(
            "{untouched} losses do not affect any of its pools: no client moves"
        )),
    }
    out.extend(indent(inside));
    out.push(String::new());
    out
}

fn block_row(
    lost: String,
    moved: String,
    outcome: &Outcome,
    simulation: &Simulation<'_>,
) -> Vec<String> {
    let regions = &simulation.dataset.config.regions;
    vec![
        lost,
        moved,
        split(&outcome.split, regions),
        rung(outcome),
        over_capacity(outcome, regions, simulation.demand),
    ]
}

/// Overview of all names together: a row for each loss, the worst first.
fn overview(summary: &Summary, simulation: &Simulation<'_>, rows: usize) -> Vec<String> {
    let (losses, regions) = (simulation.losses, &simulation.dataset.config.regions);
    let (nothing, each) = (&summary.losses[0], &summary.losses[1..]);
    let mut order: Vec<(&Loss, &LossSummary)> = losses.iter().zip(each).collect();
    order.retain(|(_, summary)| summary.names > 0);
    order.sort_by(|(_, a), (_, b)| worst_first(a.badness(), b.badness()));
    let shown = shown(rows, order.len());
    let head = [
        "lost",
        "names",
        "moving",
        "most move",
        "of",
        "below rung 2",
        "empty",
        "over capacity",
    ]
    .map(str::to_owned);
    let mut table = vec![
        head.to_vec(),
        overview_row("nothing".to_owned(), nothing, regions),
    ];
    for (loss, summary) in &order[..shown] {
        table.push(overview_row(title(loss), summary, regions));
    }
    use Column::{Left, Right};
    let columns = [Left, Right, Right, Right, Left, Right, Right, Left];
    let mut out = lines(&columns, &table);
    out.extend(more(order.len(), shown));
    let below = &summary.degraded;
    if below.times > 0 {
        out.push(format!(
            "below rung 2 of the ladder: {}, {}",
            count(below.names, "name"),
            count(below.times, "time")
        ));
        for (far, name, loss) in &below.worst {
            let when = when(*loss, losses);
            out.push(format!("  {name} {when}: {} of its clients", percent(*far)));
        }
        out.extend(and_more(below));
    }
    out.push(
        "--service NAME shows which regions its clients go to; --json shows everything.".to_owned(),
    );
    out.push(String::new());
    out
}

fn overview_row(lost: String, summary: &LossSummary, regions: &[Region]) -> Vec<String> {
    let (moved, largest) = match &summary.largest {
        Some((moved, name)) => (percent(*moved), name.clone()),
        None => (String::new(), String::new()),
    };
    let mut over = Vec::new();
    for region in &summary.over_capacity {
        over.push(regions[region.index()].name.clone());
    }
    vec![
        lost,
        summary.names.to_string(),
        summary.moving.to_string(),
        moved,
        largest,
        unless_zero(summary.degraded),
        unless_zero(summary.empty),
        list(&over, REGIONS),
    ]
}

fn unless_zero(number: usize) -> String {
    match number {
        0 => String::new(),
        number => number.to_string(),
    }
}

fn title(loss: &Loss) -> String {
    if loss.is_everything {
        format!("{} (everything)", loss.name)
    } else {
        loss.name.clone()
    }
}

fn more(all: usize, shown: usize) -> Option<String> {
    match all.saturating_sub(shown) {
        0 => None,
        more => Some(format!("and {more} less severe; --rows 0 shows all")),
    }
}

/// Closing lines: endpoints that nobody checks, and the conditions that are broken.
fn closing(summary: &Summary, losses: &[Loss]) -> Vec<String> {
    let mut out = Vec::new();
    if summary.unchecked > 0 {
        let have = if summary.unchecked == 1 {
            "has"
        } else {
            "have"
        };
        out.push(format!(
            "{} {have} endpoints without checks: the server would not notice their loss, and \
             their clients would stay.",
            count(summary.unchecked, "name")
        ));
    }
    for (condition, broken) in &summary.conditions {
        if broken.times > 0 {
            out.push(format!(
                "failed: {condition}: {}, {}",
                count(broken.names, "name"),
                count(broken.times, "time")
            ));
            out.extend(worst(*condition, broken, losses));
        }
    }
    out
}

fn worst(condition: Condition, broken: &Broken, losses: &[Loss]) -> Vec<String> {
    let mut out = Vec::new();
    for (far, name, loss) in &broken.worst {
        let what = match condition {
            Condition::Empty => format!("nothing is up for {} of its clients", percent(*far)),
            // A count of regions: small, whole, and above zero.
            Condition::OverCapacity => format!("{} over capacity", count(*far as usize, "region")),
            Condition::Moves(_) => format!("{} of its clients move", percent(*far)),
        };
        out.push(format!("  {name} {}: {what}", when(*loss, losses)));
    }
    out.extend(and_more(broken));
    out
}

fn when(loss: Option<usize>, losses: &[Loss]) -> String {
    match loss {
        Some(loss) => format!("without {}", losses[loss].name),
        None => "with nothing lost".to_owned(),
    }
}

fn and_more(broken: &Broken) -> Option<String> {
    match broken.names - broken.worst.len() {
        0 => None,
        more => Some(format!("  and {more} more")),
    }
}

/// Destinations with their shares, the largest first.
fn split(split: &Split, regions: &[Region]) -> String {
    let mut split = split.clone();
    split.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut words = Vec::new();
    for (to, share) in split {
        words.push(format!(
            "{} {}",
            destination_name(regions, to),
            percent(share)
        ));
    }
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

/// Regions over their capacity, with demand and capacity: `tokyo 74 of 60`.
fn over_capacity(outcome: &Outcome, regions: &[Region], demand: f64) -> String {
    let mut words = Vec::new();
    for (to, share) in &outcome.split {
        let Destination::Region(id) = to else {
            continue;
        };
        let region = &regions[id.index()];
        if let Some(capacity) = region.capacity
            && outcome.over_capacity.contains(id)
        {
            let tenths = (share * demand * 10.0).round();
            words.push(format!("{} {} of {capacity}", region.name, tenths / 10.0));
        }
    }
    list(&words, REGIONS)
}
