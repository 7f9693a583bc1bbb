//! The files the project ships and documents are good ones.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use meridian::answer::explain;
use meridian::config::{CheckOption, OptionDefault, check_options};
use meridian::dataset::Dataset;
use meridian::diag::{Diagnostics, render_text};
use meridian::dns::Name;
use meridian::geo::{EMBEDDED, Locations};
use meridian::loader::{self, Loaded};
use meridian::model::WallTime;
use meridian::simulate::{part, run_tests, what_if};

fn load(config: &Path) -> Loaded {
    let outcome = loader::load(config);
    let rendered = render_text(&outcome.diagnostics, &outcome.sources, false);
    assert!(outcome.diagnostics.iter().next().is_none(), "{rendered}");
    outcome.loaded.expect("loads without an error")
}

#[test]
fn the_commented_defaults_and_the_example_zone_load_without_a_word() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let loaded = load(&root.join("meridian.toml"));
    let files = fs::read_dir(root.join("zones"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    assert_eq!(
        loaded.config.zones.len(),
        files.filter(|path| path.is_file()).count()
    );
    assert_eq!(loaded.config.regions.len(), 3);
    assert!(loaded.config.tests.len() >= 4);
}

/// The examples, by the names of their files, and what they all say.
fn examples() -> (Vec<String>, Arc<Dataset>) {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("zones/examples");
    let paths = fs::read_dir(&examples)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let is_zone = |path: &std::path::PathBuf| {
        path.extension()
            .is_some_and(|extension| extension == "toml")
    };
    let mut names: Vec<_> = paths
        .filter(is_zone)
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    assert!(names.len() >= 12, "{names:?}");
    let config = load(&examples.join("config/meridian.toml")).config;
    assert_eq!(config.zones.len(), names.len());
    let locations = Arc::new(Locations::read(Some(EMBEDDED), None).unwrap());
    (names, Arc::new(Dataset::compile(config, locations)))
}

fn shipped(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn every_example_has_tests_that_pass_a_scenario_and_a_section() {
    let (names, dataset) = examples();
    let mut diagnostics = Diagnostics::default();
    run_tests(&dataset, &mut diagnostics);
    assert!(
        !diagnostics.has_errors(),
        "{}",
        render_text(&diagnostics, &meridian::diag::Sources::new(), false)
    );
    let page = shipped("docs/patterns.md");
    for name in names {
        let zone = shipped(&format!("zones/examples/{name}.toml"));
        assert!(
            zone.matches("[[tests]]").count() >= 4,
            "{name}: fewer than four tests"
        );
        assert!(
            zone.contains("\ndown = ["),
            "{name}: nothing is lost in its tests"
        );
        let scenario = shipped(&format!("tests/scenarios/pattern-{name}.scenario"));
        assert!(
            scenario.contains(&format!("--- example {name}\n")),
            "{name}: its scenario runs something else"
        );
        assert!(
            scenario.contains("\nfail "),
            "{name}: nothing fails in its scenario"
        );
        assert!(
            page.contains(&format!("(../zones/examples/{name}.toml)")),
            "{name}: it has no section in docs/patterns.md"
        );
    }
}

/// The fenced blocks of a section that begin so.
fn blocks<'a>(section: &'a str, start: &'a str) -> impl Iterator<Item = &'a str> {
    section
        .split(start)
        .skip(1)
        .map(|rest| rest.split("\n```").next().unwrap())
}

/// What the sections quote are lines of their example and of the configuration, one after the other but for comments; and
/// `meridian why` says what it is shown to say.
#[test]
fn the_page_of_patterns_quotes_the_examples() {
    let (names, dataset) = examples();
    let page = shipped("docs/patterns.md");
    let lines = |text: &str| {
        let kept = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        kept.collect::<Vec<_>>().join("\n") + "\n"
    };
    let config = lines(&shipped("zones/examples/config/meridian.toml"));
    let mut sections: Vec<&str> = page
        .split("\n## ")
        .filter(|section| section.contains("```toml"))
        .collect();
    for name in names {
        let link = format!("(../zones/examples/{name}.toml)");
        let position = sections
            .iter()
            .position(|section| section.contains(&link))
            .expect("a section with a quotation");
        let section = sections.remove(position);
        for part in [
            "**Use it",
            "**When a place fails:**",
            "**What Meridian cannot do:**",
        ] {
            assert!(section.contains(part), "{name}: {part}");
        }
        let zone = lines(&shipped(&format!("zones/examples/{name}.toml")));
        for block in blocks(section, "\n```toml\n") {
            let block = lines(block);
            assert!(
                zone.contains(&block) || config.contains(&block),
                "{name}: neither file has\n{block}"
            );
        }
        assert_eq!(
            blocks(section, "\n```\n$ meridian why ")
                .map(|block| said_so(&dataset, block))
                .count(),
            1,
            "{name}"
        );
    }
    assert!(sections.is_empty(), "{sections:?}");
}

/// Asks what the first line asks, and compares the others.
fn said_so(dataset: &Arc<Dataset>, block: &str) {
    let (question, said) = block.split_once('\n').unwrap();
    let words: Vec<&str> = question.split(' ').collect();
    let option = |name: &str| {
        words
            .iter()
            .position(|word| *word == name)
            .map(|at| words[at + 1])
    };
    let down: Vec<String> = option("--down")
        .into_iter()
        .flat_map(|down| down.split(','))
        .map(str::to_owned)
        .collect();
    let rtype = (!words[1].starts_with("--")).then(|| words[1].parse().unwrap());
    let snapshot = what_if(dataset, &part(&dataset.config, &down).unwrap(), &[]);
    let name = Name::from_text(words[0], Some(&Name::root())).unwrap();
    let explanation = explain(
        &snapshot,
        &name,
        rtype,
        option("--client").unwrap().parse().unwrap(),
        0,
        WallTime::default(),
    );
    assert_eq!(
        explanation.lines().join("\n"),
        said,
        "meridian why {question}"
    );
}

/// Every commented key of the reference has the default that it states.
#[test]
fn the_commented_keys_are_keys_and_state_their_defaults() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let as_written = load(&root.join("meridian.toml")).config;
    let directory = tempfile::tempdir().unwrap();
    let uncomment = |text: &str, leave: &[&str]| {
        let bare =
            |key: &str| !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        let key = |line: &str| {
            line.strip_prefix("# ")?
                .split_once('=')
                .map(|(key, _)| key.trim().to_owned())
                .filter(|key| bare(key))
        };
        let line = |line: &str| match key(line) {
            Some(key) if !leave.contains(&key.as_str()) => line[2..].to_owned(),
            _ => line.to_owned(),
        };
        text.lines().map(line).collect::<Vec<_>>().join("\n")
    };
    // These have no default to state, or speak of files that are not there.
    let leave = [
        "sanity",
        "udp_receive_buffer",
        "udp_send_buffer",
        "address",
        "state",
        "city",
        "asn",
        "within",
        "asns",
        "subdivisions",
        "headers",
        "fallback",
        "capacity",
        "fence_answer",
        "ramp",
        "expect_body",
        "json",
        "load_header",
        "load_json",
        "send",
        "expect",
        "server_name",
        "ca_file",
        "push_listen",
        "certificate",
        "key",
        "tokens",
    ];
    let main = uncomment(
        &fs::read_to_string(root.join("meridian.toml")).unwrap(),
        &leave,
    );
    let zone = uncomment(
        &fs::read_to_string(root.join("zones/gtm.example.toml")).unwrap(),
        &leave,
    );
    assert!(main.contains("\ninterval = \"2s\"") && zone.contains("\nttl = 20"));
    fs::create_dir(directory.path().join("zones")).unwrap();
    fs::write(directory.path().join("meridian.toml"), main).unwrap();
    fs::write(directory.path().join("zones/gtm.example.toml"), zone).unwrap();
    let spelled_out = load(&directory.path().join("meridian.toml")).config;
    assert_eq!(as_written.checks, spelled_out.checks);
    let server = |config: &meridian::config::Config| {
        let s = &config.server;
        format!(
            "{:?}",
            (
                &s.listen,
                s.workers,
                s.udp,
                s.exec_processes,
                s.tcp,
                &s.sanity,
                &s.why_from,
                s.identity,
                s.max_removed,
                s.require_end
            )
        )
    };
    assert_eq!(server(&as_written), server(&spelled_out));
    let limits = |config: &meridian::config::Config| config.admin.as_ref().map(|own| own.limits);
    assert_eq!(limits(&as_written), limits(&spelled_out));
    assert_eq!(as_written.audit, spelled_out.audit);
    let services = |config: &meridian::config::Config| {
        config
            .services
            .iter()
            .map(|s| {
                format!(
                    "{:?}",
                    (
                        &s.name, s.route, s.map, s.ttl, s.ttl_min, s.answers, s.family, &s.pools
                    )
                )
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(services(&as_written), services(&spelled_out));
    let map = |config: &meridian::config::Config| {
        format!(
            "{:?}",
            (config.maps[0].by_distance, config.maps[0].distance_steps)
        )
    };
    assert_eq!(map(&as_written), map(&spelled_out));
}

const CONTRACT: &str = r#"
[server]
node    = "fra1"                       # this node's name: NSID, metrics, logs
listen  = ["0.0.0.0:53", "[::]:53"]    # UDP and TCP on each
zones   = "zones"                      # directory: each *.toml in it is a zone
state   = "/var/lib/meridian"          # overrides, unit owners, last good files, health history
workers = 0                            # UDP workers; 0 = one per core

[admin]
listen = "127.0.0.1:8053"              # HTTP: API, /metrics, dashboard

[geo]
city = "geoip/city.mmdb"               # any MMDB in the GeoIP2 City or Country layout
asn  = "geoip/asn.mmdb"                # optional

[maps.default]                         # sources, most specific first
networks     = { "10.0.0.0/8" = ["eu-west"] }          # 1 longest prefix
asns         = { "64500" = ["us-east"] }               # 2
subdivisions = { "US-CA" = ["us-east"] }               # 3
countries    = { CN = { only = ["ap-east"] } }         # 4   a list is a preference, { only = … } a border
continents   = { EU = ["eu-west", "us-east"] }         # 5
by_distance  = true                                    # 6 great circle, where client and regions have coordinates
rest         = ["us-east", "eu-west", "ap-east"]       # 7 unknown location, and the tail of every shorter list

[regions.eu-west]
latitude = 53.35
longitude = -6.26
metro = "dublin"
labels = { provider = "cloud-a" }

[checks.web]
type = "https"
port = 443
path = "/healthz"
host = "www.example.com"
expect_status = ["2xx"]
interval = "2s"
timeout = "1s"
fall = 3
rise = 4
"#;

const CONTRACT_ZONE: &str = r#"
zone = "gtm.example"
ttl  = 20                    # of services
records = '''
@    3600 SOA ns1 hostmaster 2026112001 3600 600 604800 20
@    3600 NS  ns1
ns1  3600 A   192.0.2.53
'''
# or records_file = "gtm.example.zone"   (RFC 1035 master file, relative to this file)

[services.www]               # www.gtm.example; "@" is the apex, "*.app" a wildcard
route  = "nearest"
checks = ["web"]
[services.www.pools]
eu-west = { weight = 100, endpoints = ["192.0.2.10", "192.0.2.11", "2001:db8::10"] }
us-east = { weight = 100, endpoints = [{ address = "198.51.100.10", weight = 3 }, { address = "198.51.100.11", weight = 1 }, "2001:db8:1::10"] }

[[tests]]                    # run by `meridian verify`: a zone file carries its own unit tests
client = "203.0.113.0/24"
name   = "www"
down   = ["eu-west"]
expect = "us-east"
"#;

/// The documented example, letter by letter, with the regions and files it leaves out. Its border
/// around `ap-east`, where `www` has no pool, is the one thing verify has to say.
#[test]
fn the_documented_configuration_reads_as_documented() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::create_dir(path("zones")).unwrap();
    fs::create_dir(path("geoip")).unwrap();
    fs::write(path("geoip/city.mmdb"), "city").unwrap();
    fs::write(path("geoip/asn.mmdb"), "asn").unwrap();
    let places = "[regions.us-east]\nlatitude = 38.95\nlongitude = -77.45\n[regions.ap-east]\nlatitude = 22.32\nlongitude = 114.17\n";
    fs::write(path("meridian.toml"), format!("{CONTRACT}{places}")).unwrap();
    fs::write(path("zones/gtm.example.toml"), CONTRACT_ZONE).unwrap();
    let outcome = loader::load(&path("meridian.toml"));
    let rules: Vec<_> = outcome.diagnostics.iter().map(|d| d.rule).collect();
    assert_eq!(rules, ["no-pool-inside-border"]);

    let pool =
        "ap-east = { weight = 100, endpoints = [\"203.0.113.10\", \"2001:db8:2::10\"] }\n[[tests]]";
    fs::write(
        path("zones/gtm.example.toml"),
        CONTRACT_ZONE.replacen("[[tests]]", pool, 1),
    )
    .unwrap();
    let config = load(&path("meridian.toml")).config;
    assert_eq!(
        config
            .regions
            .iter()
            .map(|r| r.name.as_str())
            .collect::<Vec<_>>(),
        ["ap-east", "eu-west", "us-east"]
    );
    assert_eq!(
        config.server.state.as_deref(),
        Some(Path::new("/var/lib/meridian"))
    );
    let outcome = loader::load(&path("meridian.toml"));
    assert_eq!(outcome.city.unwrap().bytes.as_slice(), b"city");
    assert_eq!(outcome.asn.unwrap().bytes.as_slice(), b"asn");
    let check = &config.checks[0];
    assert_eq!(
        (
            check.interval,
            check.timeout,
            check.fall,
            check.rise,
            check.forgive
        ),
        (Duration::from_secs(2), Duration::from_secs(1), 3, 4, 5)
    );
    let www = &config.services[0];
    assert_eq!(
        (
            www.name.to_string().as_str(),
            www.ttl.secs(),
            www.ttl_min.secs()
        ),
        ("www.gtm.example.", 20, 5)
    );
    assert_eq!(
        www.pools
            .iter()
            .map(|pool| pool.endpoints.len())
            .collect::<Vec<_>>(),
        [2, 3, 3]
    );
    assert_eq!(config.targets.len(), 8);
}

/// The sparest configurations in use: regions without coordinates, no map, no checks.
#[test]
fn a_configuration_without_map_or_coordinates_loads() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::create_dir(path("zones")).unwrap();
    fs::write(path("meridian.toml"), "[server]\nnode = \"fo\"\nlisten = [\"127.0.0.1:5300\"]\nworkers = 1\n[admin]\nlisten = \"127.0.0.1:5301\"\n[regions.a]\n[regions.b]\n[checks.web]\ntype = \"http\"\nport = 80\npath = \"/\"\ninterval = \"100ms\"\ntimeout = \"100ms\"\nfall = 2\nrise = 2\n").unwrap();
    let zone = "zone = \"bench.test\"\nttl = 5\nttl_min = 1\nrecords_file = \"data/zone.db\"\n[services.fo]\nroute = \"priority\"\nchecks = [\"web\"]\n[services.fo.pools]\na = { priority = 1, endpoints = [\"127.0.0.2\"] }\nb = { priority = 2, endpoints = [\"127.0.0.3\"] }\n";
    fs::write(path("zones/bench.test.toml"), zone).unwrap();
    fs::create_dir(path("zones/data")).unwrap();
    fs::write(
        path("zones/data/zone.db"),
        "@ 60 SOA ns1 h 1 3600 600 86400 60\n@ 60 NS ns1\nns1 60 A 192.0.2.53\n",
    )
    .unwrap();
    let outcome = loader::load(&path("meridian.toml"));
    let rules: Vec<_> = outcome.diagnostics.iter().map(|d| d.rule).collect();
    assert_eq!(rules, ["slow-timeout", "quick-fall"]);
    let config = outcome.loaded.unwrap().config;
    assert_eq!(config.services[0].map, None);
    assert_eq!(config.targets.len(), 2);
}

/// What a check of type `kind` is with `line` among its keys, or that it is refused.
fn check_with(kind: &str, line: &str) -> Result<meridian::model::CheckSpec, String> {
    let needed = match kind {
        "tcp" | "grpc" if !line.starts_with("port") => "port = 1\n",
        "dns" if !line.starts_with("query_name") => "query_name = \"www.example.com\"\n",
        "exec" if !line.starts_with("command") => "command = [\"/bin/true\"]\n",
        _ => "",
    };
    let main = format!(
        "[server]\nnode = \"n\"\n[regions.a]\n[checks.c]\ntype = \"{kind}\"\n{needed}{line}\n"
    );
    let zone = "zone = \"z.example\"\nrecords = \"\"\"\n@ 60 SOA ns1 h 1 3600 600 86400 60\n@ 60 NS ns1\nns1 60 A 192.0.2.53\n\"\"\"\n";
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("zones")).unwrap();
    fs::write(directory.path().join("meridian.toml"), main).unwrap();
    fs::write(directory.path().join("zones/z.toml"), zone).unwrap();
    let outcome = loader::load(&directory.path().join("meridian.toml"));
    match outcome.loaded {
        Some(mut loaded) => Ok(loaded.config.checks.remove(0)),
        None => Err(outcome
            .diagnostics
            .iter()
            .map(|d| d.rule.to_owned())
            .collect::<Vec<_>>()
            .join(" ")),
    }
}

/// The table of options is what is enforced: every default is what holds without the key, every end of a
/// range is accepted and what lies beyond is not, and no type takes a key that is not its own.
#[test]
fn the_table_of_options_is_what_is_enforced() {
    let kinds: std::collections::BTreeSet<&str> =
        check_options().flat_map(CheckOption::types).collect();
    let (mut defaults, mut ends) = (0, 0);
    for option in check_options() {
        for kind in option.types() {
            let bare = check_with(kind, "").unwrap();
            if let OptionDefault::Is(value) = option.default {
                assert_eq!(
                    check_with(kind, &format!("{} = {value}", option.key)).as_ref(),
                    Ok(&bare),
                    "{kind}: {}",
                    option.key
                );
                defaults += 1;
            }
            let Some((least, most)) = option.range.split_once(" to ") else {
                continue;
            };
            let most = most.split(' ').next().unwrap();
            let written = |text: &str| {
                if text.ends_with(|c: char| c.is_alphabetic()) {
                    format!("\"{text}\"")
                } else {
                    text.to_owned()
                }
            };
            let beyond = match most.strip_suffix(|c: char| c.is_alphabetic()) {
                Some(number) => format!(
                    "\"{}{}\"",
                    number.parse::<u32>().unwrap() + 1,
                    &most[number.len()..]
                ),
                None => (most.parse::<u32>().unwrap() + 1).to_string(),
            };
            for end in [least, most] {
                let set = check_with(kind, &format!("{} = {}", option.key, written(end)));
                assert!(set.is_ok(), "{kind}: {} = {end}: {set:?}", option.key);
            }
            let refused = check_with(kind, &format!("{} = {beyond}", option.key));
            assert_eq!(
                refused,
                Err("out-of-range".to_owned()),
                "{kind}: {} = {beyond}",
                option.key
            );
            ends += 1;
        }
        let others = kinds
            .iter()
            .filter(|kind| !option.types().any(|own| own == **kind));
        for kind in others {
            let refused = check_with(kind, &format!("{} = 1", option.key));
            assert_eq!(
                refused,
                Err("useless-key".to_owned()),
                "{kind}: {}",
                option.key
            );
        }
    }
    assert!(
        defaults >= 30 && ends >= 25,
        "{defaults} defaults, {ends} ranges"
    );
}
