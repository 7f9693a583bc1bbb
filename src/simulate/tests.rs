//! What-if snapshots, losses, populations and changes over small worlds.

mod shift;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::config::{self, Source, Unreadable};
use crate::diag::Sources;
use crate::dns::{Name, Prefix};
use crate::geo::{EMBEDDED, Locations};

/// Two files of text: `meridian.toml` and one zone.
struct Files<'t>(&'t str, &'t str);

impl Source for Files<'_> {
    fn text(&mut self, path: &Path) -> Result<Arc<str>, Unreadable> {
        Ok(if path.ends_with("meridian.toml") {
            self.0
        } else {
            self.1
        }
        .into())
    }

    fn database(&mut self, _: &Path) -> Result<(), Unreadable> {
        Ok(())
    }

    fn zone_files(&mut self, directory: &Path) -> Result<Vec<PathBuf>, Unreadable> {
        Ok(vec![directory.join("z.toml")])
    }
}

/// The dataset of a `meridian.toml` that begins with `[server]` and of the services of a zone
/// `gtm.example`.
fn dataset(main: &str, services: &str) -> Arc<Dataset> {
    try_dataset(main, services).expect("good files")
}

/// The same; `None` where the files are refused.
fn try_dataset(main: &str, services: &str) -> Option<Arc<Dataset>> {
    let main = format!("[server]\nnode = \"n\"\nsole = true\n{main}");
    let zone = format!(
        "zone = \"gtm.example\"\nrecords = '''\n@ 60 SOA ns1 h 1 3600 600 86400 60\n@ 60 NS ns1\nns1 60 A 192.0.2.53\n'''\n{services}"
    );
    let (mut sources, mut diagnostics) = (Sources::new(), Diagnostics::default());
    let config = config::load(
        &mut Files(&main, &zone),
        Path::new("meridian.toml"),
        &mut sources,
        &mut diagnostics,
    );
    let config = config.filter(|_| !diagnostics.has_errors())?;
    Some(Arc::new(Dataset::compile(
        config,
        Arc::new(Locations::read(Some(EMBEDDED), None).unwrap()),
    )))
}

const THREE: &str = "[regions]\na = {}\nb = {}\nc = {}\n";

fn region_of(
    dataset: &Arc<Dataset>,
    down: &[&str],
    drained: &[&str],
) -> (Option<String>, Option<u64>) {
    let named = |names: &[&str]| {
        part(
            &dataset.config,
            &names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>(),
        )
        .unwrap()
    };
    let snapshot = what_if(dataset, &named(down), &named(drained).regions);
    let name = Name::from_text("u.gtm.example.", None).unwrap();
    let client: Prefix = "203.0.113.0/24".parse().unwrap();
    let explanation = explain(&snapshot, &name, None, client, 0, WallTime::default());
    (explanation.region, explanation.unit.map(|unit| unit.epoch))
}

fn unit(takeover: &str) -> Arc<Dataset> {
    dataset(
        THREE,
        &format!(
            "[services.u]\nroute = \"unit\"\nowners = \"a\"\ntakeover = \"{takeover}\"\n[services.u.pools]\n\
             a = {{ endpoints = [\"192.0.2.1\"] }}\nb = {{ priority = 2, endpoints = [\"192.0.2.2\"] }}\n\
             c = {{ endpoints = [\"192.0.2.3\"] }}\n"
        ),
    )
}

#[test]
fn a_unit_that_moves_by_itself_goes_to_the_lowest_priority_that_is_up() {
    let auto = unit("auto");
    let at = |region: &str, epoch| (Some(region.to_owned()), Some(epoch));
    assert_eq!(region_of(&auto, &[], &[]), at("a", 1));
    assert_eq!(region_of(&auto, &["a"], &[]), at("c", 2));
    assert_eq!(region_of(&auto, &["a", "c"], &[]), at("b", 2));
    assert_eq!(region_of(&auto, &["a"], &["c"]), at("b", 2));
    assert_eq!(
        region_of(&auto, &[], &["a"]),
        at("c", 2),
        "drained is as good as down"
    );
    assert_eq!(region_of(&auto, &["192.0.2.1"], &[]), at("c", 2));
    assert_eq!(region_of(&auto, &["b", "c"], &[]), at("a", 1));
    assert_eq!(
        region_of(&auto, &["a", "b", "c"], &[]),
        at("a", 1),
        "nobody could take it over"
    );
    assert_eq!(
        region_of(&unit("manual"), &["a"], &[]),
        at("a", 1),
        "an operator has to say so"
    );
}

/// Six regions in three metros, labels, borders.
const WORLD: &str = r#"
[regions]
a = { latitude = 53.3, longitude = -6.3, metro = "west", labels = { provider = "one" }, capacity = 40 }
b = { latitude = 52.0, longitude = -5.0, metro = "west", labels = { provider = "two" } }
c = { latitude = 39.0, longitude = -77.5, labels = { provider = "one" }, capacity = 30 }
d = { latitude = 35.7, longitude = 139.7, metro = "east", labels = { provider = "two" } }
e = { latitude = 34.7, longitude = 135.5, metro = "east", labels = { provider = "one" } }
f = { latitude = -33.9, longitude = 18.4, labels = { provider = "two", tier = "small" } }
[maps.default]
countries = { JP = { only = ["d", "e"] }, DE = ["c"] }
networks = { "10.0.0.0/8" = { only = ["f"] }, "2001:db8::/32" = ["c"] }
by_distance = true
[maps.wide]
by_distance = true
within = "20000km"
"#;

/// In it every route, families that part, a fallback, standbys.
fn world() -> Arc<Dataset> {
    let pools = |weights: [u32; 6]| {
        let pool = |(index, weight): (usize, u32)| {
            let region = char::from(b'a' + index as u8);
            format!(
                "{region} = {{ weight = {weight}, priority = {}, endpoints = [\"192.0.2.{index}\", \"192.0.2.1{index}\"] }}\n",
                1 + index / 2
            )
        };
        weights
            .into_iter()
            .enumerate()
            .map(pool)
            .collect::<String>()
    };
    let service = |name: &str, keys: &str, weights| {
        format!(
            "[services.{name}]\n{keys}\n[services.{name}.pools]\n{}",
            pools(weights)
        )
    };
    let unprioritised = |text: String| {
        text.replace("priority = 1, ", "")
            .replace("priority = 2, ", "")
            .replace("priority = 3, ", "")
    };
    let zone = [
        unprioritised(service("near", "route = \"nearest\"", [1, 2, 3, 4, 5, 6])),
        unprioritised(service("standby", "route = \"nearest\"", [1, 0, 0, 1, 0, 1])),
        unprioritised(service("last", "route = \"weighted\"\nfallback = [\"192.0.2.99\"]", [0, 1, 2, 3, 4, 5])),
        service("first", "route = \"priority\"\ntrickle = 0.1", [1, 2, 3, 4, 5, 6]),
        unprioritised(service("same", "route = \"sticky\"\nmap = \"wide\"", [1, 1, 2, 1, 1, 3])),
        "[services.u]\nroute = \"unit\"\nowners = \"c\"\ntakeover = \"auto\"\n[services.u.pools]\nb = { endpoints = [\"192.0.2.1\"] }\n\
         c = { endpoints = [\"192.0.2.2\"] }\n"
            .to_owned(),
        "[services.parted]\nroute = \"nearest\"\nfamily = \"split\"\nmap = \"wide\"\n[services.parted.pools]\nc = { endpoints = [\"192.0.2.1\"] }\n\
         f = { endpoints = [\"192.0.2.2\", \"2001:db8::1\"] }\nd = { endpoints = [\"2001:db8::2\"] }\n"
            .to_owned(),
    ];
    dataset(WORLD, &zone.concat())
}

fn assert_close(a: f64, b: f64) {
    assert!((a - b).abs() < 1e-9, "{a} is not {b}");
}

#[test]
fn shares_are_whole_and_borders_hold() {
    let dataset = world();
    let population = Population::of_addresses(&dataset);
    let losses = losses(&dataset.config.regions, true);
    let simulation = Simulation {
        dataset: &dataset,
        population: &population,
        losses: &losses,
        demand: 100.0,
    };
    let subjects = Subject::all(&dataset);
    assert_eq!(subjects.len(), 8, "one service has families that part");
    for subject in subjects {
        let report = simulation.run(subject);
        let service = &dataset.config.services[subject.service.index()];
        let outcomes =
            std::iter::once(&report.normal).chain(report.lost.iter().map(|(_, outcome)| outcome));
        for outcome in outcomes {
            assert_close(outcome.split.iter().map(|(_, share)| share).sum(), 1.0);
            assert!((0.0..=1.0 + 1e-9).contains(&outcome.moved), "{outcome:?}");
            assert!(
                outcome.empty <= outcome.degraded + 1e-9 && outcome.degraded <= 1.0 + 1e-9,
                "{outcome:?}"
            );
            assert_eq!(
                outcome.is_empty(),
                outcome
                    .worst
                    .is_none_or(|rung| rung >= crate::steer::Rung::AsIfUp)
            );
        }
        for (index, loss) in losses.iter().enumerate() {
            let touched = service
                .pools
                .iter()
                .any(|pool| loss.regions.contains(&pool.region));
            assert_eq!(
                report.lost.iter().any(|(lost, _)| *lost == index),
                touched,
                "{} and {}",
                report.name,
                loss.name
            );
        }
        let map = service.map.map(|map| &dataset.maps[map.index()]);
        for class in population.classes(service) {
            let border = map.and_then(|map| map.border(class.client).0);
            let mut given = split::ClassSplit::default();
            for loss in &losses {
                let plan = plan_if(&dataset.config, service, &loss.part(), &[]);
                given.fill(&plan, dataset.map_of(&plan), subject.rtype, class);
                assert_close(given.split.iter().map(|(_, share)| share).sum(), 1.0);
                for (to, _) in &given.split {
                    let Destination::Region(region) = to else {
                        continue;
                    };
                    assert!(
                        border.is_none_or(|border| border.contains(*region)),
                        "{} without {}",
                        report.name,
                        loss.name
                    );
                    assert!(service.pools.iter().any(|pool| pool.region == *region));
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A client that cannot get a lost region need not be asked again; and losses of no pool of a
    /// service move nobody.
    #[test]
    fn the_shortcut_changes_nothing(
        route in 0usize..5,
        chosen in proptest::collection::btree_map(0u8..6, (0u32..4, 1u32..4), 1..6),
        sampled in any::<bool>(),
        wide in any::<bool>(),
        fallback in any::<bool>(),
    ) {
        let mut pools = chosen;
        if !wide {
            // The borders of the default map want a pool each, and something has to have weight.
            pools.extend([(3, (1, 2)), (5, (2, 1))]);
        }
        let (route, is_unit) = (["nearest", "weighted", "priority", "sticky", "unit"][route], route == 4);
        let pool = |(region, (weight, priority)): (&u8, &(u32, u32))| {
            let by_priority = route == "priority" || is_unit;
            let priority = if by_priority { format!("priority = {priority}, ") } else { String::new() };
            let weight = if is_unit { String::new() } else { format!("weight = {weight}, ") };
            format!("{} = {{ {weight}{priority}endpoints = [\"192.0.2.{region}\"] }}\n", char::from(b'a' + region))
        };
        let pool_lines: String = pools.iter().map(pool).collect();
        let owner = char::from(b'a' + pools.keys().next().unwrap());
        let map = if wide && !is_unit { "map = \"wide\"\n" } else { "" };
        let unit = if is_unit { format!("owners = \"{owner}\"\ntakeover = \"auto\"\n") } else { String::new() };
        let last = if fallback && !is_unit { "fallback = [\"192.0.2.99\"]\n" } else { "" };
        let zone = format!("[services.x]\nroute = \"{route}\"\n{map}{unit}{last}[services.x.pools]\n{pool_lines}");
        let dataset = try_dataset(WORLD, &zone);
        prop_assume!(dataset.is_some());
        let dataset = dataset.unwrap();
        let losses = losses(&dataset.config.regions, true);
        let population =
            if sampled { Population::of_sample(&dataset, &sample()) } else { Population::of_addresses(&dataset) };
        let simulation = Simulation { dataset: &dataset, population: &population, losses: &losses, demand: 100.0 };
        for subject in Subject::all(&dataset) {
            let (short, full) = (simulation.run(subject), simulation.run_with(subject, false));
            prop_assert_eq!(short.lost.len(), full.lost.len());
            for (short, full) in short.lost.iter().zip(&full.lost) {
                prop_assert_eq!(short, full);
            }
            let held = |index: usize| pools.keys().any(|region| losses[index].regions.contains(&RegionId(u16::from(*region))));
            let touching: Vec<usize> = (0..losses.len()).filter(|index| held(*index)).collect();
            prop_assert_eq!(short.lost.iter().map(|(index, _)| *index).collect::<Vec<_>>(), touching);
            for (index, loss) in losses.iter().enumerate().filter(|(index, _)| !held(*index)) {
                let snapshot = what_if(&dataset, &loss.part(), &[]);
                let all_up = what_if(&dataset, &Part::default(), &[]);
                prop_assert_eq!(&snapshot.plans[0], &all_up.plans[0], "loss {} of no pool changes the plan", index);
            }
        }
    }
}

fn sample() -> Vec<Sampled> {
    let mut diagnostics = Diagnostics::default();
    let text = "10.0.0.0/8,1\n203.0.113.0/24,2.5\n198.51.100.0/24\n2001:db8::/48, 4\n::ffff:192.0.2.0/120,1 # mapped\n";
    let clients = read_clients("c", text, &mut diagnostics);
    assert!(
        !diagnostics.has_errors() && clients.len() == 5,
        "{diagnostics:?}"
    );
    clients
}

#[test]
fn a_sample_weighs_what_it_says() {
    let dataset = dataset(
        "[regions]\na = {}\nb = {}\n[maps.default]\nnetworks = { \"10.0.0.0/8\" = [\"b\"], \"2001:db8::/32\" = [\"b\"] }\nrest = [\"a\"]\n",
        "[services.u]\nroute = \"nearest\"\n[services.u.pools]\na = { endpoints = [\"192.0.2.1\"] }\nb = { endpoints = [\"192.0.2.2\"] }\n",
    );
    let population = Population::of_sample(&dataset, &sample());
    assert_close(population.total, 9.5);
    let losses = losses(&dataset.config.regions, true);
    let names: Vec<&str> = losses.iter().map(|loss| loss.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "a + b"]);
    let simulation = Simulation {
        dataset: &dataset,
        population: &population,
        losses: &losses,
        demand: population.total,
    };
    let report = simulation.run(Subject::all(&dataset)[0]);
    let (a, b) = (
        Destination::Region(RegionId(0)),
        Destination::Region(RegionId(1)),
    );
    assert_eq!(
        report
            .normal
            .split
            .iter()
            .map(|(to, _)| *to)
            .collect::<Vec<_>>(),
        [a, b]
    );
    assert_close(report.normal.split[1].1, 5.0 / 9.5);
    assert_close(report.lost[0].1.moved, 4.5 / 9.5);
    assert_close(report.lost[1].1.moved, 5.0 / 9.5);
    let everything = &report.lost[2].1;
    assert_eq!(
        (everything.worst, everything.moved),
        (Some(crate::steer::Rung::AsIfUp), 0.0)
    );
    assert_close(everything.empty, 1.0);
    assert!(losses[2].is_everything && report.unchecked);
    let mut summary = Summary::new(
        &losses,
        &[
            Condition::Empty,
            "moves>50%".parse().unwrap(),
            "moves>53%".parse().unwrap(),
        ],
    );
    summary.add(&report);
    let times: Vec<usize> = summary
        .conditions
        .iter()
        .map(|(_, broken)| broken.times)
        .collect();
    assert_eq!(
        times,
        [0, 1, 0],
        "nothing can outlast the loss of everything"
    );
}

#[test]
fn addresses_count_where_clients_are() {
    let dataset = dataset(
        "[regions]\na = {}\nb = {}\n[maps.default]\nnetworks = { \"0.0.0.0/1\" = [\"b\"], \"2001:db8::/32\" = { only = [\"b\"] } }\nrest = [\"a\"]\n",
        "[services.u]\nroute = \"nearest\"\n[services.u.pools]\na = { endpoints = [\"192.0.2.1\"] }\nb = { endpoints = [\"192.0.2.2\"] }\n",
    );
    let population = Population::of_addresses(&dataset);
    assert_close(population.total, 222.0 * f64::from(1 << 24));
    let losses = losses(&dataset.config.regions, false);
    let simulation = Simulation {
        dataset: &dataset,
        population: &population,
        losses: &losses,
        demand: 222.0,
    };
    let report = simulation.run(Subject::all(&dataset)[0]);
    assert_close(report.normal.split[0].1, 96.0 / 222.0);
    assert_close(report.normal.split[1].1, 126.0 / 222.0);
    // Those who count 0 cannot leave b.
    let without_b = &report.lost[1].1;
    assert_eq!(
        (without_b.worst, without_b.empty),
        (Some(crate::steer::Rung::AsIfUp), 0.0)
    );
    assert!(without_b.is_empty() && Condition::Empty.broken_by(without_b).is_some());
}

#[test]
fn sticky_clients_move_no_more_than_they_must() {
    let dataset = world();
    let population = Population::of_addresses(&dataset);
    let losses = losses(&dataset.config.regions, false);
    let simulation = Simulation {
        dataset: &dataset,
        population: &population,
        losses: &losses,
        demand: 100.0,
    };
    let is_sticky = |subject: &Subject| {
        dataset.config.services[subject.service.index()]
            .name
            .to_string()
            .starts_with("same.")
    };
    let report = simulation.run(Subject::all(&dataset).into_iter().find(is_sticky).unwrap());
    for (index, outcome) in &report.lost {
        let lost = |to: &Destination| matches!(to, Destination::Region(region) if losses[*index].regions.contains(region));
        let held: f64 = report
            .normal
            .split
            .iter()
            .filter(|(to, _)| lost(to))
            .map(|(_, share)| share)
            .sum();
        if !losses[*index].is_everything {
            assert_close(outcome.moved, held);
        }
    }
}

#[test]
fn capacity_is_that_of_the_regions_left() {
    let dataset = world();
    let population = Population::of_addresses(&dataset);
    let losses = vec![Loss::named(&dataset.config.regions, "f,provider:two").unwrap()];
    assert_eq!(losses[0].regions, [RegionId(1), RegionId(3), RegionId(5)]);
    let simulation = Simulation {
        dataset: &dataset,
        population: &population,
        losses: &losses,
        demand: 100.0,
    };
    let first = Subject::all(&dataset)
        .into_iter()
        .map(|subject| simulation.run(subject))
        .find(|report| report.name.starts_with("first."))
        .unwrap();
    // All but the borders' clients go to the first priority that is left.
    assert_eq!(first.lost[0].1.over_capacity, [RegionId(0)]);
    assert!(
        Loss::named(&dataset.config.regions, "g")
            .unwrap_err()
            .to_string()
            .starts_with("there is no region, metro or label g")
    );
}

#[test]
fn losses_take_each_set_of_regions_once() {
    let dataset = world();
    let all = losses(&dataset.config.regions, true);
    let names: Vec<&str> = all.iter().take(10).map(|loss| loss.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "a",
            "b",
            "c",
            "d",
            "e",
            "f",
            "metro:east",
            "metro:west",
            "provider:one",
            "provider:two"
        ]
    );
    let sets: std::collections::BTreeSet<&Vec<RegionId>> =
        all.iter().map(|loss| &loss.regions).collect();
    assert_eq!(sets.len(), all.len());
    let everything: Vec<&str> = all
        .iter()
        .filter(|loss| loss.is_everything)
        .map(|loss| loss.name.as_str())
        .collect();
    assert_eq!(everything, ["provider:one + provider:two"]);
}

#[test]
fn every_bad_row_of_a_clients_file_is_told() {
    let mut diagnostics = Diagnostics::default();
    let text = "# good\n192.0.2.0/24,1\n192.0.2.1/24,1\n  10.0.0.0/8 , -1\n\nx\n10.0.0.0/8,1,2\n10.0.0.0/8,nan\n";
    assert_eq!(read_clients("c.csv", text, &mut diagnostics).len(), 1);
    let told: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
    let row = "(write a prefix and a weight in each row: 203.0.113.0/24,1500)";
    let weight =
        "is not a weight above 0 and at most 1e15 (leave out rows of clients that do not count)";
    assert_eq!(
        told,
        [
            format!(
                "c.csv:3:1: error[bad-client]: 192.0.2.1/24: has bits set past its prefix length {row}"
            ),
            format!("c.csv:4:16: error[bad-client]: -1: {weight}"),
            format!("c.csv:6:1: error[bad-client]: x: is not an IPv4 or IPv6 address {row}"),
            format!("c.csv:7:14: error[bad-client]: 2: is one field too many {row}"),
            format!("c.csv:8:12: error[bad-client]: nan: {weight}"),
        ]
    );
    let mut diagnostics = Diagnostics::default();
    let text: String = (1..=60)
        .map(|line| if line == 55 { "10.0.0.0/8\n" } else { "x\n" })
        .collect();
    read_clients("c.csv", &text, &mut diagnostics);
    assert_eq!(diagnostics.iter().count(), 51);
    let last = diagnostics.iter().last().unwrap().to_string();
    assert_eq!(
        last,
        "c.csv: error[bad-client]: 9 more rows are bad: lines 51 to 54, 56 to 60"
    );
    let mut diagnostics = Diagnostics::default();
    read_clients("c.csv", "# nobody\n", &mut diagnostics);
    assert_eq!(
        diagnostics.iter().map(|d| d.rule).collect::<Vec<_>>(),
        ["no-clients"]
    );
}

#[test]
fn conditions_are_read() {
    assert_eq!("empty".parse(), Ok(Condition::Empty));
    assert_eq!("over-capacity".parse(), Ok(Condition::OverCapacity));
    assert_eq!("moves>30%".parse(), Ok(Condition::Moves(0.3)));
    assert_eq!(Condition::Moves(0.3).to_string(), "moves>30%");
    for wrong in [
        "",
        "moves",
        "moves>",
        "moves>30",
        "moves>101%",
        "moves>-1%",
        "moves>nan%",
        "emty",
    ] {
        assert!(wrong.parse::<Condition>().is_err(), "{wrong}");
    }
}

#[test]
fn a_change_tells_who_moves() {
    let with = |networks: &str, more: &str| {
        dataset(
            &format!(
                "[regions]\na = {{}}\nb = {{}}\n{more}[maps.default]\nnetworks = {{ {networks} }}\nrest = [\"a\"]\n"
            ),
            "[services.u]\nroute = \"nearest\"\n[services.u.pools]\na = { endpoints = [\"192.0.2.1\"] }\nb = { endpoints = [\"192.0.2.2\"] }\n\
             [services.w]\nroute = \"weighted\"\n[services.w.pools]\na = { endpoints = [\"192.0.2.1\"] }\nb = { endpoints = [\"192.0.2.2\"] }\n",
        )
    };
    let old = with("", "");
    let new = with(
        "\"20.0.0.0/8\" = [\"b\"], \"21.0.0.0/9\" = [\"b\"], \"2001:db8::/32\" = [\"b\"], \"224.0.0.0/8\" = [\"b\"]",
        "",
    );
    let change = Change::new(&old, &new, None, &|_, _| true);
    assert_eq!(change.len(), 2);
    let (near, weighted) = (change.run(0, 10), change.run(1, 10));
    assert_eq!((weighted.moved, weighted.networks_in_all), (0.0, 0));
    assert_close(near.moved, 1.5 / 222.0);
    let networks: Vec<String> = near
        .networks
        .iter()
        .map(|movement| movement.network.to_string())
        .collect();
    assert_eq!(networks, ["20.0.0.0/8", "21.0.0.0/9", "2001:db8::/32"]);
    assert_eq!(
        (&near.networks[0].before, &near.networks[0].after),
        (&vec![("a".to_owned(), 1.0)], &vec![("b".to_owned(), 1.0)])
    );
    assert_close(near.networks[0].share, 1.0 / 222.0);
    assert_eq!(change.run(0, 1).networks, near.networks[..1]);
    assert_eq!(change.run(0, 1).networks_in_all, 3);
    let sample = sample();
    let change = Change::new(&old, &new, Some(&sample), &|_, _| true);
    let near = change.run(0, 10);
    assert_close(near.moved, 4.0 / 9.5);
    assert_eq!(
        (
            near.networks.len(),
            near.networks[0].network.to_string().as_str()
        ),
        (1, "2001:db8::/48")
    );
}

#[test]
fn a_change_of_nothing_moves_nobody_and_names_come_and_go() {
    let old = world();
    let change = Change::new(&old, &old, None, &|_, _| true);
    for index in 0..change.len() {
        let same = change.run(index, 3);
        assert_eq!(
            (same.moved, same.networks_in_all, &same.before),
            (0.0, 0, &same.after),
            "{}",
            same.name
        );
        assert_close(same.before.iter().map(|(_, share)| share).sum(), 1.0);
    }
    // Ids are others where a region comes before them; names are what counts.
    let new = dataset(
        "[regions]\nAa = {}\na = {}\nc = {}\n",
        "[services.u]\nroute = \"weighted\"\n[services.u.pools]\nc = { endpoints = [\"192.0.2.2\"] }\n[services.n]\nroute = \"weighted\"\n[services.n.pools]\na = { endpoints = [\"192.0.2.2\"] }\n",
    );
    let change = Change::new(&old, &new, None, &|_, _| true);
    assert_eq!((change.len(), change.run(0, 3).moved), (1, 0.0));
    let names = change.names();
    assert_eq!(names.services_added, ["n.gtm.example."]);
    assert_eq!(names.services_removed.len(), 6);
    assert!(names.records_added.is_empty() && names.records_removed.is_empty());
}

/// 203.0.113.0/24 is in Dublin for the built-in database, and nowhere for another.
#[test]
fn a_test_that_fails_for_want_of_a_place_of_documentation_prefixes_says_so() {
    let main = "[geo]\ncity = \"city.mmdb\"\n[maps.default]\nrest = [\"b\", \"a\"]\n[regions]\na = {}\nb = {}\n";
    let services = "[services.w]\nroute = \"nearest\"\n[services.w.pools]\na = { endpoints = [\"192.0.2.1\"] }\n\
                    b = { endpoints = [\"192.0.2.2\"] }\n\
                    [[tests]]\nclient = \"203.0.113.0/24\"\nname = \"w\"\nexpect = \"a\"\n\
                    [[tests]]\nclient = \"2001:db8::/48\"\nname = \"w\"\nexpect = \"a\"\n\
                    [[tests]]\nclient = \"9.9.9.0/24\"\nname = \"w\"\nexpect = \"a\"\n";
    let hints = |main: &str| {
        let mut diagnostics = Diagnostics::default();
        run_tests(&dataset(main, services), &mut diagnostics);
        diagnostics
            .iter()
            .map(|diagnostic| diagnostic.hint.clone().unwrap())
            .collect::<Vec<_>>()
    };
    let says_so = |hint: &String| hint.contains("reserved for documentation");
    assert_eq!(
        hints(main).iter().map(says_so).collect::<Vec<_>>(),
        [true, true, false]
    );
    assert!(
        !hints(&main.replace("[geo]\ncity = \"city.mmdb\"\n", ""))
            .iter()
            .any(says_so)
    );
}

#[test]
fn a_service_that_is_slower_than_expected_fails_its_test() {
    let main = "[checks.web]\ntype = \"http\"\n[regions]\na = {}\nb = {}\n";
    let failures = |within: &str| {
        let services = format!(
            "[services.w]\nroute = \"weighted\"\nchecks = [\"web\"]\n[services.w.pools]\na = {{ \
             endpoints = [\"192.0.2.1\"] }}\nb = {{ endpoints = [\"192.0.2.2\"] }}\n\
             [services.u]\nroute = \"unit\"\nunits = 2\nowners = {{ \"0-1\" = \"a\" }}\n\
             [services.u.pools]\na = {{ endpoints = [\"192.0.2.1\"] }}\nb = {{ endpoints = \
             [\"192.0.2.2\"] }}\n[[tests]]\nname = \"w\"\nexpect_failover = \"{within}\"\n\
             [[tests]]\nname = \"w\"\nclient = \"9.9.9.0/24\"\nexpect = \"a\"\n\
             expect_failover = \"{within}\"\n[[tests]]\nname = \"u\"\nexpect_failover = \"1h\"\n"
        );
        let mut diagnostics = Diagnostics::default();
        assert_eq!(run_tests(&dataset(main, &services), &mut diagnostics), 3);
        let said = |one: &crate::diag::Diagnostic| (one.at.line, one.message.clone());
        diagnostics.iter().map(said).collect::<Vec<_>>()
    };
    let operator = "expected that a client of u.gtm.example. leaves a dead region within 1h, but a \
                    client stays in a dead region until an operator moves the unit";
    let enough = failures("23s");
    assert_eq!(enough.len(), 1);
    assert_eq!(enough[0].1, operator);
    let short = failures("22s 999ms");
    assert_eq!(short.len(), 3, "{short:?}");
    assert_eq!(
        short[0].1,
        "expected that a client of w.gtm.example. leaves a dead region within 22s 999ms, but a \
         client leaves a dead region within 23s (the TTL decides)"
    );
    assert_eq!(short[1].0 - short[0].0, 5, "each at its own place");
}
