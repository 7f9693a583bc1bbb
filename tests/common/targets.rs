//! What the fuzz targets run: one function a parser, any octets in. `tests/answers.rs` and
//! `tests/parsers.rs` run them for a bounded time; `tests/fuzz/` for as long as one likes.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hickory_proto::op::Message;
use meridian::answer::{DropReason, Query, Response, Transport, UDP_BUFFER, Worker, respond};
use meridian::dataset::{Dataset, Snapshot};
use meridian::diag::{Diagnostics, render_json, render_text};
use meridian::dns::{Name, Rcode, RrType};
use meridian::geo::Locations;
use meridian::model::{DnsSpec, DnsTransport, Moment, TargetId, WallTime};
use meridian::probe::{Heard, Question, hear_v4, hear_v6};
use meridian::publisher::{Event, Publisher};
use meridian::simulate;
use meridian::state;
use meridian::zone::{self, Include, IncludeError, Input};

use super::Files;

/// Puts any octets to the engine: no panic, no answer over the limit, QR = 1 never answered, and what is
/// answered is a message.
pub fn respond_to_anything(snapshot: &Snapshot, worker: &mut Worker, bytes: &[u8], out: &mut [u8]) {
    let client: IpAddr = "192.0.2.1".parse().unwrap();
    for transport in [Transport::Udp, Transport::Tcp] {
        match respond(snapshot, worker, &Query { bytes, client, transport }, out) {
            Response::Drop(reason) => assert!(bytes.len() < 12 || (bytes[2] & 0x80 != 0 && reason == DropReason::NotAQuery)),
            Response::Send(length) => {
                assert!(bytes[2] & 0x80 == 0, "QR = 1 is never answered");
                assert!(length <= if transport == Transport::Udp { UDP_BUFFER } else { 65535 });
                assert_eq!(out[..2], bytes[..2]);
                assert!(out[2] & 0x80 != 0);
                Message::from_vec(&out[..length]).unwrap_or_else(|e| panic!("{e}: {bytes:02x?} -> {:02x?}", &out[..length]));
            }
        }
    }
}

/// Reads any text as a master file: no panic, and every record stands inside its limits.
pub fn read_master_file(text: &str) {
    struct NoFiles;
    impl Include for NoFiles {
        fn read(&mut self, path: &str, _: &str, _: u64) -> Result<Input, IncludeError> {
            Err(IncludeError { rule: "include-failed", message: format!("there is no {path}"), hint: None })
        }
    }
    let input = Input::whole("fuzz.zone", Arc::<str>::from(text).into());
    let origin = Name::from_text("fuzz.example.", None).unwrap();
    let mut diagnostics = Diagnostics::default();
    let records = zone::parse(&input, &origin, &mut NoFiles, &mut diagnostics);
    for record in records.iter() {
        assert!(Name::from_wire(record.owner).is_some());
    }
    let sources = [(Arc::from("fuzz.zone"), Arc::from(text))].into();
    render_text(&diagnostics, &sources, false);
    render_json(&diagnostics);
}

/// Reads any text as the clients of a simulation: no panic, and every row is a client or told of.
pub fn read_clients(text: &str) {
    let mut diagnostics = Diagnostics::default();
    let clients = simulate::read_clients("fuzz.csv", text, &mut diagnostics);
    assert!(clients.iter().all(|client| client.weight > 0.0 && client.weight.is_finite()));
    assert!(diagnostics.errors() <= 51 && diagnostics.has_errors() | !clients.is_empty());
    let sources = [(Arc::from("fuzz.csv"), Arc::from(text))].into();
    render_text(&diagnostics, &sources, false);
}

/// Reads any text as `meridian.toml`, and as a zone file beside a good one.
pub fn read_configuration(text: &str) {
    let load = |main: &str, zone: &str| {
        let files = [("meridian.toml", main), ("zones/fuzz.toml", zone)];
        let files = Files(files.map(|(name, text)| (Path::new(name).to_owned(), Arc::from(text))).into());
        let _ = files.load();
    };
    let good = super::CONFIGURATION.split_once('\n').unwrap().1;
    load(text, "zone = \"fuzz.example\"\nrecords = '@ 60 SOA ns h 1 1 1 1 1'\n");
    load(good, text);
}

/// Reads any octets as the answer to a query of a `dns` check: what passes answers it.
pub fn hear_dns_answer(bytes: &[u8]) {
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
        let asked = Message::from_vec(bytes).unwrap().queries[0].to_string().to_lowercase();
        assert!(asked == "www.example.com. in a" && text.contains("192.0.2.1"), "{asked}: {bytes:02x?}");
    }
}

/// Reads any octets as a packet of ICMP: a reply, or the loss of a request.
pub fn hear_icmp(bytes: &[u8]) {
    for heard in [hear_v4(bytes, true), hear_v4(bytes, false), hear_v6(bytes)].into_iter().flatten() {
        assert!(heard.token.is_some() != heard.destination.is_some());
    }
}

/// Reads any octets as a location database.
pub fn read_mmdb(bytes: &[u8]) {
    let _ = Locations::read(Some(bytes), Some(bytes));
}

/// Reads any text as an address plan; what is accepted makes a database that can be read.
pub fn read_address_plan(text: &str) {
    if let Ok(mmdb) = meridian::geo::build::build("fuzz.csv", text) {
        Locations::read(Some(&mmdb), None).map_or_else(|e| assert!(!e.to_string().is_empty()), drop);
    }
}

/// Reads any octets as who owns the units; what is accepted is written and read again as it is.
pub fn read_units(bytes: &[u8]) {
    match state::decode_units(bytes) {
        Ok(records) => assert_eq!(state::decode_units(&state::encode_units(&records)), Ok(records)),
        Err(why) => assert!(!why.to_string().contains('\n'), "{why:?}"),
    }
}

/// Reads any octets as what operators say; what is accepted is written and read again as it is.
pub fn read_overrides(bytes: &[u8]) {
    match state::decode_overrides(bytes, WallTime::default()) {
        Ok(overrides) => {
            // Times are written to the millisecond.
            let text = state::encode_overrides(&overrides.0, overrides.1, WallTime::default());
            let again = state::decode_overrides(&text, WallTime::default()).expect("what is written is read");
            assert_eq!(state::encode_overrides(&again.0, again.1, WallTime::default()), text);
        }
        Err(why) => assert!(!why.to_string().contains('\n'), "{why:?}"),
    }
}

/// Reads any octets as a history of health, and starts from what is accepted: what is held is down,
/// every name is answered, and what is kept again is read again.
pub fn read_history(dataset: &Arc<Dataset>, bytes: &[u8]) {
    let now = Moment(Duration::from_secs(1_800_000_000));
    let wall = SystemTime::UNIX_EPOCH + now.0;
    let (history, age) = match state::decode(bytes, wall) {
        Ok(kept) => kept,
        Err(why) => return assert!(!why.to_string().contains('\n'), "{why:?}"),
    };
    let (mut publisher, unknown) = Publisher::restore(dataset.clone(), &history, age, now);
    assert!(unknown.is_sorted());
    publisher.handle(Event::FirstRoundEnded, now);
    for (index, _) in dataset.config.targets.iter().enumerate() {
        let target = TargetId::from_index(index);
        let health = publisher.health();
        assert!(health.flapping_until(target).is_none() || !health.state(target).up);
    }
    for plan in &publisher.snapshot().plans {
        assert!(meridian::model::Family::BOTH.iter().any(|family| plan.rung(*family).is_some()));
    }
    publisher.handle(Event::Tick, now + Duration::from_secs(1000));
    let kept = state::encode(&publisher.history(now).expect("the first round has ended"), wall);
    assert!(state::decode(&kept, wall).is_ok());
}
