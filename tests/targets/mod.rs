//! Fuzz targets: functions of any octets that panic where the product is at fault.
//!
//! `tests/fuzz/run` runs them for as long as one likes; `tests/parsers.rs` runs each on its seeds
//! (`tests/fuzz/seeds/NAME/`), among them whatever once made it fail, and on mutations of these for a moment.
//! A target renders no diagnostics, but for the one that is about that: rendering takes a hundred times
//! as long as all else, and finds nothing that [`render`] does not.

mod network;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use hickory_proto::op::Message;
use meridian::acme::ChallengeTable;
use meridian::answer::{
    DropReason, Query, Response, TCP_BUFFER, Transport, UDP_BUFFER, Worker, explain, query_message,
    respond,
};
use meridian::config::{self, Config};
use meridian::control::{AUDIT_FILE, AuditQuery, read_audit};
use meridian::dataset::{Dataset, Snapshot};
use meridian::diag::{Diagnostics, Sources, render_json, render_text};
use meridian::dns::{Name, Prefix, Rcode, RrType};
use meridian::geo::{EMBEDDED, Locations};
use meridian::loader::load_copies;
use meridian::model::{DnsSpec, DnsTransport, Moment, TargetId, WallTime};
use meridian::probe::{Heard, Question, hear_v4, hear_v6};
use meridian::publisher::{Event, ProbeEvent, Publisher};
use meridian::simulate;
use meridian::state;
use meridian::state::{LastGoodError, load_last_good};
use meridian::zone::{
    self, Include, IncludeError, Input, Lookup, NameTable, Unread, ZoneInput, ZoneUnderCheck,
};

use crate::common::Files;

/// A function of any octets.
pub(crate) type Target = fn(&[u8]);

/// Every target, by its name; `tests/fuzz/seeds/` has a directory for each.
pub(crate) const TARGETS: &[(&str, Target)] = &[
    ("respond", respond_to_anything),
    ("master_file", |bytes| read_master_file(&text(bytes))),
    ("includes", |bytes| read_includes(&text(bytes))),
    ("names", |bytes| look_names_up(&text(bytes))),
    ("configuration", |bytes| read_configuration(&text(bytes))),
    ("zone_file", |bytes| read_zone_file(&text(bytes))),
    ("compile", |bytes| compile(&text(bytes))),
    ("render", |bytes| render(&text(bytes))),
    ("last_good", read_last_good),
    ("history", read_history),
    ("units", read_units),
    ("overrides", read_overrides),
    ("acme", read_acme),
    ("token_file", |bytes| read_token_file(&text(bytes))),
    ("audit", read_audit_log),
    ("drills", read_drills),
    ("clients", |bytes| read_clients(&text(bytes))),
    ("address_plan", |bytes| read_address_plan(&text(bytes))),
    ("mmdb", read_mmdb),
    ("dns_answer", hear_dns_answer),
    ("icmp", hear_icmp),
    ("body", network::hear_http),
    ("grpc", network::hear_grpc),
    ("certificate", network::hear_certificate),
    ("tcp", network::frame),
    ("admin", network::ask_admin),
    ("control", network::ask_control),
];

/// What an editor would make of the octets.
fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// The snapshot that queries are put to.
static ANSWERS: LazyLock<Arc<Snapshot>> = LazyLock::new(|| {
    crate::common::snapshot(
        &[
            crate::common::CONFIGURATION,
            include_str!("../answers.zone"),
        ]
        .concat(),
    )
});

/// Where the clients are.
static LOCATIONS: LazyLock<Arc<Locations>> =
    LazyLock::new(|| Arc::new(Locations::read(Some(EMBEDDED), None).unwrap()));

/// Puts any octets to the engine: no panic, no answer over the limit, QR = 1 never answered, and what is
/// answered is a message.
fn respond_to_anything(bytes: &[u8]) {
    let client: IpAddr = "192.0.2.1".parse().unwrap();
    let (mut worker, mut out) = (Worker::new(1), vec![0; TCP_BUFFER]);
    for transport in [Transport::Udp, Transport::Tcp] {
        match respond(
            &ANSWERS,
            &mut worker,
            &Query::synthetic(bytes, client, transport),
            &mut out,
        ) {
            Response::Drop(reason) => assert!(
                bytes.len() < 12 || (bytes[2] & 0x80 != 0 && reason == DropReason::NotAQuery)
            ),
            Response::Send(length) => {
                assert!(bytes[2] & 0x80 == 0, "QR = 1 is never answered");
                assert!(
                    length
                        <= if transport == Transport::Udp {
                            UDP_BUFFER
                        } else {
                            65535
                        }
                );
                assert_eq!(out[..2], bytes[..2]);
                assert!(out[2] & 0x80 != 0);
                read_answer(&out[..length])
                    .unwrap_or_else(|e| panic!("{e}: {bytes:02x?} -> {:02x?}", &out[..length]));
            }
        }
    }
    assert_eq!(
        worker.counters.panics.get(),
        0,
        "a panic that was caught is one all the same: {bytes:02x?}"
    );
}

/// Reads an answer with hickory, which refuses a Client Subnet of family 0. RFC 7871 §7.1.2 has it for a client that wishes no
/// address of its to be told, and §7.2.1 has it echoed as it came: it is the last thing in our answers then.
fn read_answer(answer: &[u8]) -> Result<Message, impl std::fmt::Display> {
    let mut answer = answer.to_vec();
    if answer.ends_with(&[0, 8, 0, 4, 0, 0, 0, 0]) {
        let family = answer.len() - 3;
        answer[family] = 1;
    }
    Message::from_vec(&answer)
}

/// The files of a master file: sections that begin with `--- NAME`; the first is the zone itself.
struct Sections<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Sections<'a> {
    /// The text before the first mark, and the files behind it.
    fn of(text: &'a str) -> (&'a str, Sections<'a>) {
        let mut parts = text.split("--- ");
        let first = parts.next().unwrap_or_default();
        (
            first,
            Sections(parts.filter_map(|part| part.split_once('\n')).collect()),
        )
    }
}

impl Include for Sections<'_> {
    fn read(&mut self, path: &str, _: &str, _: u64) -> Result<Input, IncludeError> {
        let text = self.0.get(path).ok_or_else(|| IncludeError {
            rule: "include-failed",
            message: format!("there is no {path}"),
            hint: None,
        })?;
        Ok(Input::whole(path, Arc::<str>::from(*text).into()))
    }
}

fn origin() -> Name {
    Name::from_text("fuzz.example.", None).unwrap()
}

fn parse_zone(text: &str, mut files: Sections<'_>) -> (zone::Records, Diagnostics) {
    let input = Input::whole("fuzz.zone", Arc::<str>::from(text).into());
    let mut diagnostics = Diagnostics::default();
    let records = zone::parse(&input, &origin(), &mut files, &mut diagnostics);
    (records, diagnostics)
}

/// Reads any text as a master file: no panic, and every record stands inside its limits.
fn read_master_file(text: &str) {
    let (records, diagnostics) = parse_zone(text, Sections(BTreeMap::new()));
    for record in records.iter() {
        assert!(Name::from_wire(record.owner).is_some());
    }
    assert!(
        diagnostics
            .iter()
            .all(|diagnostic| diagnostic.at.line as usize <= text.lines().count() + 1)
    );
}

/// Reads a zone with files that it may include: it ends, and every diagnostic names a file that there is.
fn read_includes(text: &str) {
    let (first, files) = Sections::of(text);
    let names: Vec<&str> = files.0.keys().copied().chain(["fuzz.zone"]).collect();
    let (records, diagnostics) = parse_zone(first, files);
    assert!(
        records
            .iter()
            .all(|record| names.contains(&&*record.at().file))
    );
    assert!(
        diagnostics
            .iter()
            .all(|diagnostic| names.contains(&&*diagnostic.at.file)),
        "{diagnostics:?}"
    );
}

/// Looks names up in a zone of any text: what the table says is what a walk over the records says (RFC 1034 §4.3.2,
/// RFC 4592). The names come after the mark `--- names`, one a line.
fn look_names_up(text: &str) {
    let (zone_text, sections) = Sections::of(text);
    let (records, mut diagnostics) = parse_zone(zone_text, Sections(BTreeMap::new()));
    let origin = origin();
    let at = meridian::diag::At::file("fuzz.zone");
    zone::check(
        &ZoneUnderCheck {
            origin: &origin,
            at: &at,
            records: &records,
            services: &[],
            regions: &[],
            unread: &Unread::default(),
        },
        &mut diagnostics,
    );
    if diagnostics.has_errors() {
        return;
    }
    let table = NameTable::build(&[ZoneInput {
        origin: &origin,
        records: &records,
        services: Vec::new(),
        epochs: &[],
    }]);
    let naive = Naive::of(&origin, &records);
    for line in sections
        .0
        .get("names")
        .into_iter()
        .flat_map(|names| names.lines())
        .take(20)
    {
        let Ok(name) = Name::from_text(line.trim(), Some(&origin)) else {
            continue;
        };
        for rtype in [
            RrType::A,
            RrType::CNAME,
            RrType::NS,
            RrType::DS,
            RrType::TXT,
        ] {
            let found = table
                .lookup(name.to_lowercase().as_wire(), rtype)
                .map(|(_, lookup)| match lookup {
                    Lookup::Hit(set) => format!("hit {}", set.rtype),
                    Lookup::Cname(_) => "cname".to_owned(),
                    Lookup::Dname(_, length) => format!("dname {length}"),
                    Lookup::NoData => "nodata".to_owned(),
                    Lookup::NxDomain => "nxdomain".to_owned(),
                    Lookup::Referral(_, length) => format!("referral {length}"),
                    Lookup::Service(_) | Lookup::Epoch(_) => unreachable!("there are no services"),
                });
            assert_eq!(
                found,
                naive.look_up(&name, rtype),
                "{name} {rtype} in\n{zone_text}"
            );
        }
    }
}

/// A zone as the types of each name, looked up by walking from the apex down.
struct Naive {
    origin: Vec<u8>,
    types: BTreeMap<Vec<u8>, Vec<RrType>>,
}

impl Naive {
    fn of(origin: &Name, records: &zone::Records) -> Naive {
        let mut types: BTreeMap<Vec<u8>, Vec<RrType>> = BTreeMap::new();
        for record in records.iter() {
            types
                .entry(record.owner_name().to_lowercase().as_wire().to_vec())
                .or_default()
                .push(record.rtype);
        }
        Naive {
            origin: origin.as_wire().to_vec(),
            types,
        }
    }

    fn has(&self, name: &[u8], rtype: RrType) -> bool {
        self.types
            .get(name)
            .is_some_and(|types| types.contains(&rtype))
    }

    /// It or a name below it has records.
    fn exists(&self, name: &[u8]) -> bool {
        self.types
            .keys()
            .any(|owner| suffixes(owner).contains(&name))
    }

    fn look_up(&self, name: &Name, rtype: RrType) -> Option<String> {
        let name = name.to_lowercase().as_wire().to_vec();
        let mut path: Vec<&[u8]> = suffixes(&name);
        let apex = path.iter().position(|above| *above == self.origin)?;
        path.truncate(apex + 1);
        path.reverse();
        for (depth, above) in path.iter().enumerate() {
            let (is_apex, is_it) = (depth == 0, depth + 1 == path.len());
            if !is_apex && self.has(above, RrType::NS) && !(is_it && rtype == RrType::DS) {
                return Some(format!("referral {}", above.len()));
            }
            if !is_it && self.has(above, RrType::DNAME) {
                return Some(format!("dname {}", above.len()));
            }
        }
        let owner = if self.exists(&name) {
            name.clone()
        } else {
            let encloser = path
                .iter()
                .rev()
                .find(|above| self.exists(above))
                .expect("the apex exists");
            [&b"\x01*"[..], encloser].concat()
        };
        Some(match self.types.get(&owner) {
            Some(types) if types.contains(&rtype) => format!("hit {rtype}"),
            Some(types) if types.contains(&RrType::CNAME) => "cname".to_owned(),
            Some(_) => "nodata".to_owned(),
            None if self.exists(&owner) => "nodata".to_owned(),
            None => "nxdomain".to_owned(),
        })
    }
}

/// The name and each above it, in wire format.
fn suffixes(name: &[u8]) -> Vec<&[u8]> {
    let mut at = 0;
    let mut found = Vec::new();
    while at < name.len() {
        found.push(&name[at..]);
        at += 1 + usize::from(name[at]);
    }
    found
}

/// Reads any text as the clients of a simulation: no panic, and every row is a client or told of.
fn read_clients(text: &str) {
    let mut diagnostics = Diagnostics::default();
    let clients = simulate::read_clients("fuzz.csv", text, &mut diagnostics);
    assert!(
        clients
            .iter()
            .all(|client| client.weight > 0.0 && client.weight.is_finite())
    );
    assert!(diagnostics.errors() <= 51 && diagnostics.has_errors() | !clients.is_empty());
}

/// Loads files without rendering what is wrong with them.
fn load(mut files: Files) -> (Option<Config>, Sources, Diagnostics) {
    let (mut sources, mut diagnostics) = (Sources::new(), Diagnostics::default());
    let config = config::load(
        &mut files,
        Path::new("meridian.toml"),
        &mut sources,
        &mut diagnostics,
    );
    assert!(
        config.is_some() != diagnostics.has_errors(),
        "{diagnostics:?}"
    );
    (config, sources, diagnostics)
}

fn files(main: &str, zone: &str) -> Files {
    let files = [("meridian.toml", main), ("zones/fuzz.toml", zone)];
    Files(
        files
            .map(|(name, text)| (PathBuf::from(name), Arc::from(text)))
            .into(),
    )
}

/// The main file of the tests.
fn main_file() -> &'static str {
    crate::common::CONFIGURATION.split_once('\n').unwrap().1
}

/// Reads any text as `meridian.toml` beside a good zone file.
fn read_configuration(text: &str) {
    load(files(
        text,
        "zone = \"fuzz.example\"\nrecords = '@ 60 SOA ns h 1 1 1 1 1'\n",
    ));
    config::find_state(text, Path::new(""));
}

/// Reads any text as a zone file beside a good `meridian.toml`.
fn read_zone_file(text: &str) {
    load(files(main_file(), text));
}

/// Reads any text as a zone file; what is accepted is compiled, its `[[tests]]` are run, and each of its services is asked
/// for and explained from three places.
fn compile(text: &str) {
    let (Some(config), ..) = load(files(main_file(), text)) else {
        return;
    };
    // What costs by its size, and is not what this looks for.
    if config.services.len() > 200 || config.tests.len() > 20 {
        return;
    }
    let names: Vec<Name> = config
        .services
        .iter()
        .map(|service| service.name.clone())
        .take(5)
        .collect();
    let dataset = Arc::new(Dataset::compile(config, LOCATIONS.clone()));
    simulate::run_tests(&dataset, &mut Diagnostics::default());
    let snapshot = Publisher::new(dataset).snapshot();
    let (mut worker, mut out) = (Worker::new(1), vec![0; TCP_BUFFER]);
    for name in &names {
        for client in ["203.0.113.0/24", "10.1.0.0/16", "2001:db8::/48"] {
            let client: Prefix = client.parse().unwrap();
            let bytes = query_message(name, RrType::A, client);
            let query = Query::synthetic(&bytes, client.address(), Transport::Tcp);
            let Response::Send(length) = respond(&snapshot, &mut worker, &query, &mut out) else {
                panic!("{name} is answered")
            };
            let message =
                read_answer(&out[..length]).unwrap_or_else(|error| panic!("{error}: {name}"));
            assert!(
                message.metadata.response_code == hickory_proto::op::ResponseCode::NoError,
                "{message:?}"
            );
            explain(&snapshot, name, None, client, 1, WallTime::default()).lines();
        }
    }
}

/// Renders what is wrong with any text, as a zone file, for people and for programs.
fn render(text: &str) {
    let (_, sources, diagnostics) = load(files(main_file(), text));
    let shown = render_text(&diagnostics, &sources, false);
    assert_eq!(
        render_json(&diagnostics)["diagnostics"]
            .as_array()
            .map(Vec::len),
        Some(diagnostics.iter().count())
    );
    assert!(
        diagnostics
            .iter()
            .all(|diagnostic| shown.contains(diagnostic.rule))
    );
}

/// A state directory whose kept files are two good ones.
static STATE: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(directory.path().join("last-good/files")).unwrap();
    directory
});

/// Reads any octets as the manifest of the last good files: a sentence, or what a load comes to.
fn read_last_good(bytes: &[u8]) {
    std::fs::write(STATE.path().join("last-good/manifest.json"), bytes).unwrap();
    match load_last_good(STATE.path()) {
        Ok(kept) => drop(load_copies(&kept.config, kept.files)),
        Err(LastGoodError::None) => panic!("the manifest is there"),
        Err(why) => assert!(!why.to_string().is_empty()),
    }
}

/// Reads any octets as the answer to a query of a `dns` check: what passes answers it.
fn hear_dns_answer(bytes: &[u8]) {
    let spec = DnsSpec {
        name: Name::from_text("www.example.com.", None).unwrap(),
        rr_type: RrType::A,
        transport: DnsTransport::Udp,
        expect_rcode: Rcode::NOERROR,
        expect_address: vec!["192.0.2.1".parse().unwrap()],
    };
    let question = Question::new(&spec, 7).unwrap();
    if let Heard::Answer(Ok(()), text) = question.hear(bytes) {
        // The name may be compressed: the header has octets that read as labels.
        let asked = Message::from_vec(bytes).unwrap().queries[0]
            .to_string()
            .to_lowercase();
        assert!(
            asked == "www.example.com. in a" && text.contains("192.0.2.1"),
            "{asked}: {bytes:02x?}"
        );
    }
}

/// Reads any octets as a packet of ICMP: a reply, or the loss of a request.
fn hear_icmp(bytes: &[u8]) {
    for heard in [hear_v4(bytes, true), hear_v4(bytes, false), hear_v6(bytes)]
        .into_iter()
        .flatten()
    {
        assert!(heard.token.is_some() != heard.destination.is_some());
    }
}

/// Reads any octets as a location database.
fn read_mmdb(bytes: &[u8]) {
    let _ = Locations::read(Some(bytes), Some(bytes));
}

/// Reads any text as an address plan; what is accepted makes a database that can be read.
fn read_address_plan(text: &str) {
    if let Ok(mmdb) = meridian::geo::build::build("fuzz.csv", text) {
        Locations::read(Some(&mmdb), None)
            .map_or_else(|e| assert!(!e.to_string().is_empty()), drop);
    }
}

/// Reads any octets as who owns the units; what is accepted is written and read again as it is.
fn read_units(bytes: &[u8]) {
    match state::decode_units(bytes) {
        Ok(records) => assert_eq!(
            state::decode_units(&state::encode_units(&records)),
            Ok(records)
        ),
        Err(why) => assert!(!why.to_string().contains('\n'), "{why:?}"),
    }
}

/// Reads any octets as what operators say; what is accepted is written and read again as it is.
fn read_overrides(bytes: &[u8]) {
    let wall = WallTime::default();
    match state::decode_overrides(bytes, wall) {
        Ok(overrides) => {
            // Times are written to the millisecond.
            let text = state::encode_overrides(&overrides.0, overrides.1, wall);
            let again = state::decode_overrides(&text, wall).expect("what is written is read");
            assert_eq!(state::encode_overrides(&again.0, again.1, wall), text);
        }
        Err(why) => assert!(!why.to_string().contains('\n'), "{why:?}"),
    }
}

/// Reads a token file: what is accepted lets nobody in who shows nothing, or a hash in place of a token.
fn read_token_file(text: &str) {
    let mut out = Diagnostics::default();
    let path = Path::new("tokens.toml");
    let tokens = config::read_tokens(path, text.into(), &mut Sources::new(), &mut out);
    assert_eq!(tokens.is_none(), out.has_errors());
    for shown in [
        "",
        text,
        &text
            .chars()
            .filter(char::is_ascii_hexdigit)
            .collect::<String>(),
    ] {
        // The hash of a text that holds itself would be a find.
        assert!(
            tokens
                .as_ref()
                .is_none_or(|tokens| tokens.find(shown).is_none())
        );
    }
}

/// Reads an audit log of any octets by pages of two: numbers fall from page to page, and it ends.
fn read_audit_log(bytes: &[u8]) {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = bytes.split_at(bytes.len() / 2);
    std::fs::write(directory.path().join(AUDIT_FILE), new).unwrap();
    std::fs::write(directory.path().join(format!("{AUDIT_FILE}.1")), old).unwrap();
    let mut query = AuditQuery {
        limit: 2,
        ..AuditQuery::default()
    };
    let mut last = u64::MAX;
    loop {
        let page = read_audit(directory.path(), &query).unwrap();
        for entry in &page.entries {
            assert!(entry.number < last, "{page:?}");
            last = entry.number;
        }
        let Some(next) = page.next else { return };
        assert!(Some(next) != query.before, "{page:?}");
        query.before = Some(next);
    }
}

/// Reads any octets as reports of drills; what is accepted is shown, written and read again as it is.
fn read_drills(bytes: &[u8]) {
    match state::decode_drills(bytes) {
        Ok(drills) => {
            for report in &drills.reports {
                assert!(!report.lines().is_empty());
            }
            let text = state::encode_drills(&drills);
            let again = state::decode_drills(&text).expect("what is written is read");
            assert_eq!(state::encode_drills(&again), text);
        }
        Err(why) => assert!(!why.to_string().contains('\n'), "{why:?}"),
    }
}

/// Reads any octets as ACME challenges, and answers from what is accepted: a name that has one is
/// there, and what is written is read again as it is.
fn read_acme(bytes: &[u8]) {
    let wall = WallTime::default();
    let challenges = match state::decode_acme(bytes, wall) {
        Ok(challenges) => challenges,
        Err(why) => return assert!(!why.to_string().contains('\n'), "{why:?}"),
    };
    // Times are written to the millisecond.
    let text = state::encode_acme(&challenges, wall);
    let again = state::decode_acme(&text, wall).expect("what is written is read");
    assert_eq!(state::encode_acme(&again, wall), text);
    let names = &ANSWERS.dataset.names;
    let table = ChallengeTable::compile(&challenges, names);
    let snapshot = Snapshot {
        challenges: table.map(Arc::new),
        ..Snapshot::of(ANSWERS.dataset.clone(), ANSWERS.plans.clone())
    };
    for challenge in challenges {
        let has_place = challenge.subject.place(names).is_ok();
        let client = Prefix::host([192, 0, 2, 1].into());
        let owner = challenge.subject.owner();
        let message = query_message(owner, RrType::TXT, client);
        let query = Query::synthetic(&message, client.address(), Transport::Tcp);
        let mut out = vec![0; TCP_BUFFER];
        let Response::Send(length) = respond(&snapshot, &mut Worker::new(1), &query, &mut out)
        else {
            panic!("no answer");
        };
        let value = challenge.value.as_str().as_bytes();
        let is_there = out[..length].windows(value.len()).any(|own| own == value);
        assert!(is_there || !has_place, "{challenge:?}");
    }
}

/// Reads any octets as a history of health, and starts from what is accepted: what is held is down,
/// every name is answered, and what is kept again is read again.
fn read_history(bytes: &[u8]) {
    static DATASET: LazyLock<Arc<Dataset>> =
        LazyLock::new(|| crate::common::dataset(&crate::common::checked()));
    let dataset = &*DATASET;
    let now = Moment(Duration::from_secs(1_800_000_000));
    let wall = SystemTime::UNIX_EPOCH + now.0;
    let (history, age) = match state::decode_history(bytes, wall) {
        Ok(kept) => kept,
        Err(why) => return assert!(!why.to_string().contains('\n'), "{why:?}"),
    };
    let (mut publisher, unknown) = Publisher::restore(dataset.clone(), &history, age, now);
    assert!(unknown.is_sorted());
    publisher.handle(ProbeEvent::FirstRoundEnded, now);
    for (index, _) in dataset.config.targets.iter().enumerate() {
        let target = TargetId::from_index(index);
        let health = publisher.health();
        assert!(health.flapping_until(target).is_none() || !health.state(target).up);
    }
    for plan in &publisher.snapshot().plans {
        assert!(
            meridian::model::Family::BOTH
                .iter()
                .any(|family| plan.rung(*family).is_some())
        );
    }
    publisher.handle(Event::Tick, now + Duration::from_secs(1000));
    let kept = state::encode_history(
        &publisher.history(now).expect("the first round has ended"),
        wall,
    );
    assert!(state::decode_history(&kept, wall).is_ok());
}
