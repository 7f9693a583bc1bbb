//! The pages and the product do not part: examples load, links lead somewhere, the tables of rules, metrics and
//! false alarms are those of the code, and what a block shows was said by the product or is marked as an example.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use common::Files;
use meridian::answer::{Explanation, explain};
use meridian::config::{CheckOption, OptionDefault, check_options};
use meridian::control::metrics_page;
use meridian::dataset::Dataset;
use meridian::diag::{Diagnostics, Sources, render_text};
use meridian::dns::{Name, RrType};
use meridian::geo::{EMBEDDED, Locations};
use meridian::health::{
    Early, Effect, FailReason, Failure, Health, Outcome, Phase, Seen, Step, TargetSpec, Thresholds,
    Tracker,
};
use meridian::model::{Moment, RegionId, TargetId, WallTime};
use meridian::publisher::Publisher;
use meridian::simulate::run_tests;

fn root() -> PathBuf {
    env!("CARGO_MANIFEST_DIR").into()
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every page, by its path from the root.
fn pages() -> BTreeMap<PathBuf, String> {
    let docs = fs::read_dir(root().join("docs"))
        .unwrap()
        .map(|entry| Path::new("docs").join(entry.unwrap().file_name()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let fixed = ["README.md", "ARCHITECTURE.md", "geoip/README.md"].map(PathBuf::from);
    let pages: BTreeMap<_, _> = docs
        .chain(fixed)
        .map(|path| (path.clone(), read(path)))
        .collect();
    assert!(pages.len() >= 10, "{:?}", pages.keys());
    pages
}

/// The fenced blocks of a page that are whole files: their first line is `# ` and the file's name.
fn example_files(page: &str) -> BTreeMap<PathBuf, Arc<str>> {
    let blocks = page
        .split("\n```toml\n")
        .skip(1)
        .map(|rest| rest.split("\n```").next().unwrap());
    let name = |block: &str| {
        block
            .lines()
            .next()?
            .strip_prefix("# ")
            .filter(|name| name.ends_with(".toml"))
            .map(PathBuf::from)
    };
    blocks
        .filter_map(|block| Some((name(block)?, format!("{block}\n").into())))
        .collect()
}

/// Zone files without a `meridian.toml` on their page go with that of the README.
#[test]
fn examples_load_without_a_word_and_pass_their_tests() {
    let main = example_files(&read("README.md"))[Path::new("meridian.toml")].clone();
    let locations = Arc::new(Locations::read(Some(EMBEDDED), None).unwrap());
    let (mut zones, mut tests) = (0, 0);
    for (page, text) in pages() {
        let mut files = example_files(&text);
        if files.is_empty() {
            continue;
        }
        files
            .entry("meridian.toml".into())
            .or_insert_with(|| main.clone());
        zones += files.len() - 1;
        let config = Files(files)
            .load()
            .unwrap_or_else(|diagnostics| panic!("{}\n{diagnostics}", page.display()));
        let dataset = Arc::new(Dataset::compile(config, locations.clone()));
        let mut diagnostics = Diagnostics::default();
        tests += run_tests(&dataset, &mut diagnostics);
        assert!(
            !diagnostics.has_errors(),
            "{}\n{}",
            page.display(),
            render_text(&diagnostics, &Sources::new(), false)
        );
    }
    assert!(zones >= 4 && tests >= 5, "{zones} zones, {tests} tests");
}

/// A fenced block.
struct Block<'p> {
    /// Where it stands: page and line.
    at: String,
    /// The line above it, where that is a comment: `<!-- example -->` for what no test holds to the product, such as commands to
    /// type and drawings; `<!-- test: FILE NAME -->` names the test that does.
    mark: Option<&'p str>,
    language: &'p str,
    text: &'p str,
}

/// Every fenced block of a page.
fn blocks<'p>(page: &Path, text: &'p str) -> Vec<Block<'p>> {
    let mut found = Vec::new();
    let (mut rest, mut line) = (text, 1);
    while let Some(at) = rest.find("\n```") {
        let (before, block) = rest.split_at(at + 1);
        let (language, body) = block[3..].split_once('\n').expect("a fence ends its line");
        let (text, after) = body
            .split_once("\n```")
            .unwrap_or_else(|| panic!("{}: a block without an end", page.display()));
        line += before.lines().count();
        let above = before.lines().next_back().unwrap_or("");
        let mark = above
            .strip_prefix("<!-- ")
            .and_then(|mark| mark.strip_suffix(" -->"));
        found.push(Block {
            at: format!("{}:{line}", page.display()),
            mark,
            language,
            text,
        });
        line += text.lines().count() + 1;
        rest = after;
    }
    found
}

#[test]
fn every_block_is_held_to_the_product_or_marked_as_an_example() {
    let (mut wrong, mut held) = (Vec::new(), 0);
    let tables = read("benches/compare");
    for (page, text) in pages() {
        for block in blocks(&page, &text) {
            let is_file = block
                .text
                .lines()
                .next()
                .is_some_and(|line| line.starts_with("# ") && line.ends_with(".toml"));
            // The sections of patterns: tests/configuration.rs, the_page_of_patterns_quotes_the_examples.
            let is_pattern = page.ends_with("patterns.md")
                && (block.language == "toml" || block.text.starts_with("$ meridian why "));
            let named = |test: &str| {
                let (file, name) = test.split_once(' ')?;
                fs::read_to_string(root().join(file))
                    .ok()
                    .filter(|text| text.contains(&format!("fn {name}()")))
            };
            let sound = match block.mark {
                Some("example") => true,
                Some(mark) if mark.starts_with("test: ") => {
                    named(&mark["test: ".len()..]).is_some()
                }
                Some(table) => page.ends_with("performance.md") && tables.contains(table),
                None => (block.language == "toml" && is_file) || is_pattern,
            };
            held += usize::from(sound && block.mark != Some("example"));
            if !sound {
                wrong.push(format!("{}: {:?}", block.at, block.mark));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "neither held by a test nor marked as examples:\n{}",
        wrong.join("\n")
    );
    assert!(held >= 50, "{held}");
}

/// The blocks of README and docs/why.md that name `test`, each with its page's dataset.
fn marked(test: &str, mut each: impl FnMut(&Block<'_>)) {
    let mut count = 0;
    for page in ["README.md", "docs/why.md"] {
        let text = read(page);
        for block in blocks(Path::new(page), &text) {
            if block.mark.is_some_and(|mark| mark.ends_with(test)) {
                each(&block);
                count += 1;
            }
        }
    }
    assert!(count >= 3, "{count}");
}

/// `meridian` in a directory with the files of the README, which stand in /etc/meridian there.
#[test]
fn sessions_say_what_the_commands_say() {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in example_files(&read("README.md")) {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text.as_bytes()).unwrap();
    }
    let here = directory.path().to_str().unwrap();
    marked("sessions_say_what_the_commands_say", |block| {
        let mut ran = 0;
        for session in format!("\n{}", block.text).split("\n$ ").skip(1) {
            let (command, said) = session.split_once('\n').unwrap_or((session, ""));
            let Some(arguments) = command.strip_prefix("meridian ") else {
                continue;
            };
            let arguments = arguments.replace("/etc/meridian", here);
            let mut process = std::process::Command::new(env!("CARGO_BIN_EXE_meridian"));
            let output = process
                .args(arguments.split(' '))
                .current_dir(here)
                .output()
                .unwrap();
            let text = [output.stdout, output.stderr]
                .map(|bytes| String::from_utf8(bytes).unwrap())
                .concat();
            assert_eq!(
                text.trim_end().replace(here, "/etc/meridian"),
                said,
                "{}: {command}",
                block.at
            );
            ran += 1;
        }
        assert!(ran > 0, "{}", block.at);
    });
}

/// Chance decides between the endpoints of a pool: what is shown is one of what may come.
#[test]
fn answers_shown_are_answers_given() {
    let files = Files(example_files(&read("README.md")));
    let config = files
        .load()
        .unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    let dataset = Arc::new(Dataset::compile(
        config,
        Arc::new(Locations::read(Some(EMBEDDED), None).unwrap()),
    ));
    let snapshot = Publisher::new(dataset).snapshot();
    marked("answers_shown_are_answers_given", |block| {
        for session in format!("\n{}", block.text).split("\n$ ").skip(1) {
            let (command, said) = session.split_once('\n').expect("an answer");
            let after = |mark: &str| {
                command
                    .split_once(mark)
                    .map(|(_, rest)| rest.split([' ', '&', '\'']).next().unwrap())
            };
            let name = after("?name=")
                .or_else(|| command.split(' ').find(|word| word.starts_with("www.")))
                .unwrap();
            let client = after("+subnet=")
                .or_else(|| after("client="))
                .unwrap()
                .parse()
                .unwrap();
            let name = Name::from_text(name, Some(&Name::root())).unwrap();
            let show = |explanation: Explanation| match command {
                _ if command.contains("/why?") => explanation.json().to_string(),
                _ if command.contains(" CH TXT ") => explanation
                    .lines()
                    .iter()
                    .map(|line| format!("\"{line}\""))
                    .collect::<Vec<_>>()
                    .join("\n"),
                _ => explanation.answers.join("\n"),
            };
            let given: BTreeSet<String> = (0..64)
                .map(|seed| {
                    show(explain(
                        &snapshot,
                        &name,
                        Some(RrType::A),
                        client,
                        seed,
                        WallTime::default(),
                    ))
                })
                .collect();
            assert!(given.contains(said), "{}: {command}\n{given:#?}", block.at);
        }
    });
}

/// The README's zone file with the mistake that it speaks of.
#[test]
fn the_refused_reload_is_the_real_one() {
    let page = read("README.md");
    let blocks = blocks(Path::new("README.md"), &page);
    let mark = "test: tests/documentation.rs the_refused_reload_is_the_real_one";
    let shown = blocks
        .iter()
        .find(|block| block.mark == Some(mark))
        .expect("a block")
        .text;
    let (first, rendered) = shown.split_once('\n').unwrap();
    let logged = strings(&["daemon.rs", "daemon"]);
    assert!(
        logged
            .iter()
            .any(|text| text.starts_with(first.strip_prefix("ERROR ").unwrap())),
        "{first}"
    );
    let mut files = example_files(&page);
    let zone = files
        .get_mut(Path::new("zones/gtm.example.com.toml"))
        .unwrap();
    let wrong = zone.replacen(
        "checks = [\"web\"]\n",
        "checks = [\"web\"]\nanswer = 2\n",
        1,
    );
    assert_ne!(**zone, *wrong);
    *zone = wrong.into();
    assert_eq!(Files(files).load().unwrap_err().trim_end(), rendered);
}

/// How a heading is named in links: lower case, blanks as hyphens, without punctuation.
fn anchors(text: &str) -> BTreeSet<String> {
    let slug = |heading: &str| {
        let kept = heading.trim().to_lowercase().replace(' ', "-");
        kept.chars()
            .filter(|c| c.is_alphanumeric() || *c == '-' || *c == '_')
            .collect()
    };
    let headings = text
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| slug(line.trim_start_matches('#')));
    let named = text
        .split("<a id=\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap().to_owned());
    headings.chain(named).collect()
}

#[test]
fn links_lead_somewhere() {
    let (mut links, mut broken) = (0, Vec::new());
    for (page, text) in pages() {
        for target in text
            .split("](")
            .skip(1)
            .map(|rest| rest.split(')').next().unwrap())
        {
            if target.starts_with("http") {
                continue;
            }
            links += 1;
            let (file, anchor) = target
                .split_once('#')
                .map_or((target, None), |(file, anchor)| (file, Some(anchor)));
            let path = if file.is_empty() {
                page.clone()
            } else {
                page.parent().unwrap().join(file)
            };
            let there = root().join(&path).exists();
            if !there || anchor.is_some_and(|anchor| !anchors(&read(&path)).contains(anchor)) {
                broken.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(links >= 30, "{links}");
    assert!(broken.is_empty(), "{broken:#?}");
}

/// The files that ARCHITECTURE.md names are there, and those of its walks have the functions: a step is written as
/// `` `file.rs`::`function` ``.
#[test]
fn the_files_and_functions_of_the_architecture_are_there() {
    let page = read("ARCHITECTURE.md");
    let (mut steps, mut missing) = (0, Vec::new());
    let quoted: Vec<&str> = page.split('`').collect();
    for (at, file) in quoted.iter().enumerate().skip(1).step_by(2) {
        let is_path = |c: char| c.is_ascii_alphanumeric() || "/_.".contains(c);
        if !file.ends_with(".rs") || !file.chars().all(is_path) {
            continue;
        }
        let paths = ["src", "", "benches"].map(|directory| root().join(directory).join(file));
        let Some(path) = paths.iter().find(|path| path.is_file()) else {
            missing.push((*file).to_owned());
            continue;
        };
        if quoted.get(at + 1) == Some(&"::") {
            steps += 1;
            let function = quoted[at + 2];
            let text = fs::read_to_string(path).unwrap();
            let is_there = ["(", "<"]
                .iter()
                .any(|next| text.contains(&format!("fn {function}{next}")));
            if !is_there {
                missing.push(format!("{file}::{function}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
    assert!(steps >= 30, "{steps}");
}

/// What stands in backquotes in the first cell of each table row of `text`.
fn first_cells(text: &str) -> BTreeSet<String> {
    let cells = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .map(|row| row.split(" |").next().unwrap());
    cells
        .flat_map(|cell| {
            cell.split('`')
                .step_by(2)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .filter(|rule| !rule.is_empty())
        .collect()
}

fn rust_files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let is_test = path.file_stem().is_some_and(|stem| stem == "tests");
        if path.is_dir() && !is_test {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test {
            found.push(path);
        }
    }
}

/// The strings in the code of some modules, tests left out.
fn strings(modules: &[&str]) -> BTreeSet<String> {
    let mut files = Vec::new();
    for module in modules {
        let path = root().join("src").join(module);
        let beside = path.with_extension("rs");
        if path.is_dir() {
            rust_files(&path, &mut files);
        }
        if beside.is_file() {
            files.push(beside);
        }
    }
    let mut found = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(file).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let lines = code
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        found.extend(
            lines
                .flat_map(|line| line.split('"').skip(1).step_by(2))
                .map(str::to_owned),
        );
    }
    found
}

#[test]
fn every_rule_is_in_the_table_and_the_table_names_no_other() {
    let page = read("docs/zone-files.md");
    let documented = first_cells(page.split("## Rules").nth(1).expect("a section of rules"));
    let modules = [
        "config",
        "zone",
        "loader",
        "simulate",
        "geo/build.rs",
        "cli/geoip.rs",
        "cli/verify.rs",
    ];
    let strings = strings(&modules);
    // Hyphenated words in the code of these modules are rules, but for these.
    const OTHERS: [&str; 6] = [
        "200-299",
        "content-length",
        "last-good",
        "no-default-alpn",
        "over-capacity",
        "transfer-encoding",
    ];
    let is_word = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    let looks_like_a_rule =
        |text: &str| text.contains('-') && text.split('-').all(is_word) && !OTHERS.contains(&text);
    let in_code: BTreeSet<String> = strings
        .iter()
        .filter(|text| looks_like_a_rule(text))
        .cloned()
        .collect();
    assert!(in_code.len() >= 100, "{in_code:?}");
    let undocumented: Vec<_> = in_code.difference(&documented).collect();
    assert!(
        undocumented.is_empty(),
        "not in docs/zone-files.md: {undocumented:?}"
    );
    let unknown: Vec<_> = documented
        .iter()
        .filter(|rule| !strings.contains(*rule))
        .collect();
    assert!(
        unknown.is_empty(),
        "in docs/zone-files.md and not in the code: {unknown:?}"
    );

    // What operators have been shown is in the table too, however the code spells it.
    let mut shown = BTreeSet::new();
    for case in fs::read_dir(root().join("tests/bad")).unwrap() {
        let expected = fs::read_to_string(case.unwrap().path().join("expected.txt")).unwrap();
        for rest in ["error[", "warning["]
            .iter()
            .flat_map(|kind| expected.split(kind).skip(1))
        {
            shown.insert(rest.split(']').next().unwrap().to_owned());
        }
    }
    assert!(shown.len() >= 50, "{shown:?}");
    let missing: Vec<_> = shown.difference(&documented).collect();
    assert!(missing.is_empty(), "not in docs/zone-files.md: {missing:?}");
}

/// `docs/health.md` has a row for each option of a check, with the types, default and range of the code.
#[test]
fn every_option_of_a_check_is_in_the_table() {
    let page = read("docs/health.md");
    let all = check_options()
        .flat_map(CheckOption::types)
        .collect::<BTreeSet<_>>()
        .len();
    let mut wrong = Vec::new();
    for option in check_options() {
        let types: Vec<_> = option.types().map(|name| format!("`{name}`")).collect();
        let types = if types.len() == all {
            "all".to_owned()
        } else {
            types.join(" ")
        };
        let default = match option.default {
            OptionDefault::Is(value) => format!("`{value}`"),
            OptionDefault::By(words) => words.to_owned(),
            OptionDefault::No => "none".to_owned(),
            OptionDefault::Required(_) => "must be given".to_owned(),
        };
        let row = format!(
            "| `{}` | {types} | {default} | {} |",
            option.key,
            option.range.replace('|', "\\|")
        );
        if !page.lines().any(|line| line.starts_with(&row)) {
            wrong.push(row);
        }
    }
    assert!(
        wrong.is_empty(),
        "not in docs/health.md:\n{}",
        wrong.join("\n")
    );
    assert!(check_options().count() >= 20);
}

/// Names of our metrics in `text`, without the suffixes that counters and histograms get.
fn metric_names(text: &str) -> BTreeSet<String> {
    let is_part = |c: &char| c.is_ascii_lowercase() || *c == '_';
    let mut names = BTreeSet::new();
    for rest in text.split("meridian_").skip(1) {
        let mut name: String = rest.chars().take_while(is_part).collect();
        for suffix in ["_total", "_bucket", "_count", "_sum"] {
            name.truncate(name.strip_suffix(suffix).unwrap_or(&name).len());
        }
        if !name.is_empty() {
            names.insert(name);
        }
    }
    names
}

/// `UPDATE_GOLDEN=1 cargo test --test documentation` writes the tables anew.
#[test]
fn the_tables_of_metrics_are_those_of_the_code() {
    let page = read("docs/metrics.md");
    let introduction = page.split("\n## ").next().unwrap_or_default().trim_end();
    let made = format!("{introduction}\n\n{}\n", metrics_page().trim_end());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(root().join("docs/metrics.md"), &made).unwrap();
    }
    assert!(
        read("docs/metrics.md") == made,
        "docs/metrics.md is out of date: run this test with UPDATE_GOLDEN=1"
    );
}

#[test]
fn no_page_and_no_shipped_file_names_a_metric_that_there_is_not() {
    let in_code = metric_names(&metrics_page());
    assert!(in_code.len() >= 40, "{in_code:?}");
    let mut texts = pages();
    for file in SHIPPED {
        texts.insert(file.into(), read(file));
    }
    for (page, text) in texts {
        let unknown: Vec<_> = metric_names(&text).difference(&in_code).cloned().collect();
        assert!(unknown.is_empty(), "{}: {unknown:?}", page.display());
    }
}

/// Files for Prometheus and Grafana that are shipped.
const SHIPPED: [&str; 3] = [
    "docs/prometheus/alerts.yml",
    "docs/prometheus/alerts_test.yml",
    "docs/grafana/meridian.json",
];

/// The settings of one check, as a row of the table of false alarms begins with them.
struct Settings {
    interval: Duration,
    timeout: Duration,
    recheck: Duration,
    thresholds: Thresholds,
}

impl Settings {
    /// The settings in the first cells of a row.
    fn parse(cells: &[&str]) -> Settings {
        let time = |cell: &str| humantime::parse_duration(cell.trim_matches('`')).unwrap();
        let fall = cells[3].parse().unwrap();
        Settings {
            interval: time(cells[0]),
            timeout: time(cells[1]),
            recheck: time(cells[2]),
            thresholds: Thresholds {
                fall,
                fall_refused: fall,
                rise: 4,
                forgive: cells[4].parse().unwrap(),
            },
        }
    }

    /// The same with `fall_refused = 1`.
    fn deciding_at_one_refusal(&self) -> Settings {
        Settings {
            thresholds: Thresholds {
                fall_refused: 1,
                ..self.thresholds
            },
            ..*self
        }
    }

    /// An endpoint of a region that is judged by them.
    fn spec(&self, region: u16) -> TargetSpec {
        TargetSpec {
            thresholds: self.thresholds,
            interval: self.interval,
            timeout: self.timeout,
            recheck: self.recheck,
            recheck_up: false,
            regions: vec![RegionId(region)],
            sanity: false,
            flap: None,
            reports_load: false,
            pushed: false,
        }
    }

    /// The time from the probe that led to a state, to the next.
    fn wait(&self, state: &Tracker) -> Duration {
        let wait = match (state.fails(), state.passes()) {
            (0, _) => self.interval,
            // It follows a failure: a probe that is lost ends by its timeout.
            (_, 0) => self.timeout + self.recheck,
            _ => self.recheck,
        };
        wait.min(self.interval)
    }

    /// The mean number of seconds after which an endpoint that loses a share `lost` of its probes
    /// goes down: the equations of its Markov chain, whose states and steps are the tracker's own.
    fn seconds_to_fall(&self, lost: f64) -> f64 {
        let at = Moment(Duration::ZERO);
        let mut states = vec![Tracker::assumed(true)];
        let mut rows: Vec<[Option<usize>; 2]> = Vec::new();
        while let Some(&state) = states.get(rows.len()) {
            let (mut passed, mut failed) = (state, state);
            passed.pass(&self.thresholds, at);
            let fell = failed.fail(Failure::Doubtful, &self.thresholds, at) == Step::Fell;
            let mut number = |next: Tracker| {
                states
                    .iter()
                    .position(|known| *known == next)
                    .unwrap_or_else(|| {
                        states.push(next);
                        states.len() - 1
                    })
            };
            rows.push([Some(number(passed)), (!fell).then(|| number(failed))]);
        }
        // T(state) = wait(state) + (1 − lost)·T(passed) + lost·T(failed), T(down) = 0.
        let size = rows.len();
        let mut matrix = vec![vec![0.0; size + 1]; size];
        for (index, [passed, failed]) in rows.iter().enumerate() {
            matrix[index][index] += 1.0;
            matrix[index][size] = self.wait(&states[index]).as_secs_f64();
            for (next, share) in [(passed, 1.0 - lost), (failed, lost)] {
                if let Some(next) = next {
                    matrix[index][*next] -= share;
                }
            }
        }
        solve_first(matrix)
    }

    /// The share of bursts in which all packets are lost for the time of `length` that take a
    /// healthy endpoint down: they begin at random in its interval, one in each of many equal parts.
    fn share_of_bursts(&self, length: Duration) -> f64 {
        const BURSTS: u32 = 500;
        let mut random = fastrand::Rng::with_seed(1);
        let part = self.interval / BURSTS;
        let starts = (0..BURSTS).map(|index| part * index + part.mul_f64(random.f64()));
        let falls = starts
            .filter(|start| Burst::new(self, self.interval + *start, length).takes_it_down())
            .count();
        falls as f64 / f64::from(BURSTS)
    }

    /// The page's formula.
    fn longest_harmless_burst(&self) -> Duration {
        (self.recheck + self.timeout).min(self.interval) * (self.thresholds.fall - 1)
    }

    /// The row of the table.
    fn row(&self) -> String {
        let time = |time: Duration| format!("`{}`", humantime::format_duration(time));
        let alarms = [0.001, 0.01].map(|lost| in_words(self.seconds_to_fall(lost)));
        let bursts = BURSTS.map(|length| in_percent(self.share_of_bursts(length)));
        format!(
            "| {} | {} | {} | {} | {} | {} | {} |",
            time(self.interval),
            time(self.timeout),
            time(self.recheck).replace("2s 500ms", "2.5s"),
            self.thresholds.fall,
            self.thresholds.forgive,
            alarms.join(" | "),
            bursts.join(" | "),
        )
    }
}

/// The bursts of the table.
const BURSTS: [Duration; 3] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(1000),
];

/// Solves linear equations, one a row with its constant last, for the first unknown: by elimination,
/// from the last one up.
fn solve_first(mut matrix: Vec<Vec<f64>>) -> f64 {
    let size = matrix.len();
    for pivot in (0..size).rev() {
        let row = matrix[pivot].clone();
        for other in matrix.iter_mut().take(pivot) {
            let factor = other[pivot] / row[pivot];
            other
                .iter_mut()
                .zip(&row)
                .for_each(|(cell, value)| *cell -= factor * value);
        }
    }
    matrix[0][size] / matrix[0][0]
}

/// A healthy endpoint whose network loses all packets for a while, and one of another region, on
/// another network, that loses none: both are probed as health asks for it.
struct Burst {
    health: Health,
    /// By target: the second is the witness.
    probing: [Probing; 2],
    start: Duration,
    end: Duration,
}

/// The probes of one endpoint.
struct Probing {
    spec: TargetSpec,
    /// The next turn, one in each interval.
    turn: Duration,
    /// The next probe that health asks for before that.
    early: Option<Duration>,
    /// The last probe came before its turn.
    was_early: bool,
    /// End of the probe that is under way, and whether it passes.
    under_way: Option<(Duration, bool)>,
}

/// The time in which an answer arrives.
const ROUND_TRIP: Duration = Duration::from_millis(20);

impl Burst {
    fn new(settings: &Settings, start: Duration, length: Duration) -> Burst {
        let probing = [0u16, 1].map(|region| Probing {
            spec: settings.spec(region),
            turn: settings.interval * u32::from(region) / 2,
            early: None,
            was_early: false,
            under_way: None,
        });
        Burst {
            health: Health::new(probing.iter().map(|own| own.spec.clone()).collect()),
            probing,
            start,
            end: start + length,
        }
    }

    fn takes_it_down(mut self) -> bool {
        // More than any row takes: probes that never settle are to fail the test.
        for _ in 0..1000 {
            let index = usize::from(self.probing[1].next() < self.probing[0].next());
            let now = self.probing[index].next();
            let tick = self.health.next_deadline().map(|deadline| deadline.0);
            let effects = match tick.filter(|tick| *tick <= now) {
                Some(tick) => self.health.tick(Moment(tick)),
                None => self.step(index, now),
            };
            if effects.iter().any(is_fall) {
                return true;
            }
            self.take(&effects, now);
            if now > self.end + ROUND_TRIP && self.is_over() {
                return false;
            }
        }
        panic!("the endpoint is neither down nor settled");
    }

    /// No failure is counted any more, and none is to come.
    fn is_over(&self) -> bool {
        let tracker = self.health.tracker(TargetId(0));
        tracker.is_up() && tracker.fails() == 0 && self.probing[0].under_way.is_none()
    }

    /// Begins or ends a probe.
    fn step(&mut self, index: usize, now: Duration) -> Vec<Effect> {
        let own = &mut self.probing[index];
        if let Some((_, passes)) = own.under_way.take() {
            let seen = match passes {
                true => Seen::Pass,
                false => Seen::Fail(FailReason::Timeout(Phase::Connect)),
            };
            let (target, now) = (TargetId::from_index(index), Moment(now));
            return self.health.record(target, Outcome::new(now, seen), now);
        }
        let burst = self.start..self.end;
        let lost = index == 0 && (burst.contains(&now) || burst.contains(&(now + ROUND_TRIP)));
        // A lost SYN is sent again after 1 s, which no timeout of the table waits for.
        let takes = if lost { own.spec.timeout } else { ROUND_TRIP };
        own.begin(now, takes, !lost);
        Vec::new()
    }

    fn take(&mut self, effects: &[Effect], now: Duration) {
        for effect in effects {
            if let Effect::ProbeEarly(Early { target, due }) = effect {
                let own = &mut self.probing[target.index()];
                let due = due.0.max(now);
                // As in the scheduler: a turn between two early probes falls out.
                while own.was_early && own.early.is_none() && own.turn <= due {
                    own.turn += own.spec.interval;
                }
                own.early = Some(own.early.map_or(due, |early| early.min(due)));
            }
        }
    }
}

impl Probing {
    /// Moment at which a probe begins, or the one under way ends.
    fn next(&self) -> Duration {
        let begins = self.early.map_or(self.turn, |early| early.min(self.turn));
        self.under_way.map_or(begins, |(end, _)| end)
    }

    fn begin(&mut self, now: Duration, takes: Duration, passes: bool) {
        // Turns keep their places, and those of the time of a probe fall out: as in the scheduler.
        self.was_early = now < self.turn;
        let under_way = (now + takes).saturating_sub(Duration::from_nanos(1));
        self.early = None;
        self.under_way = Some((now + takes, passes));
        while self.turn <= now.max(under_way) {
            self.turn += self.spec.interval;
        }
    }
}

fn is_fall(effect: &Effect) -> bool {
    matches!(effect, Effect::Transition(change) if !change.up)
}

/// Two significant digits, in the largest unit of which there are two.
fn in_words(seconds: f64) -> String {
    const UNITS: [(f64, &str); 4] = [
        (31_557_600.0, "years"),
        (86_400.0, "days"),
        (3600.0, "hours"),
        (60.0, "minutes"),
    ];
    let (unit, name) = UNITS
        .into_iter()
        .find(|(unit, _)| seconds >= 2.0 * unit)
        .unwrap_or(UNITS[3]);
    let value = seconds / unit;
    let step = 10f64.powf(value.log10().floor() - 1.0);
    let rounded = (value / step).round() * step;
    if value < 10.0 {
        format!("{rounded:.1} {name}")
    } else {
        format!("{rounded:.0} {name}")
    }
}

/// Whole percent; where it is not quite none or all, that shows.
fn in_percent(share: f64) -> String {
    match (share * 100.0).round() {
        percent if percent == 0.0 && share > 0.0 => "< 1 %".to_owned(),
        percent if percent == 100.0 && share < 1.0 => "> 99 %".to_owned(),
        percent => format!("{percent} %"),
    }
}

#[test]
fn the_table_of_chance_alarms_is_the_machines_own() {
    let page = read("docs/health.md");
    let rows: Vec<&str> = page
        .lines()
        .filter(|line| {
            line.strip_prefix("| `")
                .is_some_and(|interval| interval.starts_with(|c: char| c.is_ascii_digit()))
        })
        .collect();
    assert!(rows.len() >= 10, "{rows:?}");
    let mut wrong = Vec::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let settings = Settings::parse(&cells);
        let computed = settings.row();
        if row != computed {
            wrong.push(format!("{row}\nis {computed}"));
        }
        assert_eq!(
            settings.deciding_at_one_refusal().row(),
            computed,
            "no loss of packets is a refusal"
        );
        let harmless = settings.longest_harmless_burst();
        // A turn may come sooner after a probe than a recheck would.
        assert_eq!(
            settings.share_of_bursts(harmless.mul_f64(0.8)),
            0.0,
            "{row}"
        );
        let harmful = harmless + settings.interval / 4;
        assert!(settings.share_of_bursts(harmful) > 0.0, "{row}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The page of a command, and those of the commands below it, each with its name.
fn man_pages(command: &clap::Command, pages: &mut BTreeMap<String, String>) {
    for inner in command.get_subcommands().filter(|own| !own.is_hide_set()) {
        man_pages(inner, pages);
    }
    let version = env!("CARGO_PKG_VERSION");
    let man = clap_mangen::Man::new(command.clone())
        .source(format!("meridian {version}"))
        .manual("Meridian");
    let mut page = Vec::new();
    man.render(&mut page).unwrap();
    let (name, mut page) = (man.get_filename(), String::from_utf8(page).unwrap());
    page += if name == "meridian.1" {
        include_str!("../man/meridian.end")
    } else {
        ".SH SEE ALSO\n\\fBmeridian\\fR(1), file:///usr/share/doc/meridian/README.md\n"
    };
    pages.insert(name, page);
}

/// `UPDATE_GOLDEN=1 cargo test --test documentation man_pages` writes them anew.
#[test]
fn man_pages_are_those_of_the_command_line() {
    let mut command = meridian::cli::command().disable_help_subcommand(true);
    command.build();
    let mut pages = BTreeMap::new();
    man_pages(&command, &mut pages);
    assert!(pages.len() >= 20, "{:?}", pages.keys());
    let directory = root().join("man");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        for (name, page) in &pages {
            fs::write(directory.join(name), page).unwrap();
        }
    }
    let mut wrong = Vec::new();
    for entry in fs::read_dir(&directory).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".1") && !pages.contains_key(&name) {
            wrong.push(format!("{name} is the page of no command"));
        }
    }
    for (name, page) in &pages {
        if fs::read_to_string(directory.join(name)).is_ok_and(|kept| kept == *page) {
            continue;
        }
        wrong.push(format!("{name} is not what the command line says"));
    }
    assert!(
        wrong.is_empty(),
        "UPDATE_GOLDEN=1 cargo test --test documentation man_pages writes man/ anew:\n{}",
        wrong.join("\n")
    );
}

/// groff judges the pages as `man` shows them.
#[test]
fn man_pages_are_good_roff() {
    let mut pages = Vec::new();
    for entry in fs::read_dir(root().join("man")).unwrap() {
        pages.push(entry.unwrap().path());
    }
    pages.retain(|path| path.extension().is_some_and(|extension| extension == "1"));
    let mut groff = std::process::Command::new("groff");
    groff.args(["-man", "-ww", "-Kutf8", "-Tutf8", "-z"]);
    let output = groff
        .args(pages)
        .output()
        .expect("groff is installed (apt-get install groff-base)");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}
