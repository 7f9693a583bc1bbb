//! ACME challenges: what is answered while they are in force, and how they come and go.

mod common;

use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::Message;
use hickory_proto::rr::RData;
use meridian::acme::{Challenge, ChallengeRequest, LONGEST, MOST, MOST_OF_A_NAME, Subject, Value};
use meridian::answer::{
    Query, Response, TCP_BUFFER, Transport, Worker, explain, query_message, respond,
};
use meridian::commit::{Collection, End, Failure, Outcome, Revision};
use meridian::dataset::Snapshot;
use meridian::dns::{Name, Rcode, RrType};
use meridian::model::{Moment, WallTime};
use meridian::publisher::{AcmeEvent, Commit, Effect, Event, ProbeEvent, Publisher};

const ZONES: &str = r#"--- zones/gtm.example.toml
zone = "gtm.example"
records = '''
@       3600 SOA   ns1 hostmaster 7 3600 600 604800 30
@       3600 NS    ns1
ns1     3600 A     192.0.2.53
_acme-challenge.static 300 TXT "of the zone file"
_acme-challenge.alias  300 CNAME elsewhere.example.
_acme-challenge.other  300 A 192.0.2.1
to      300  CNAME _acme-challenge.www
*.text  300  TXT   "of a wildcard"
*.alias 300  CNAME elsewhere.example.
cut     3600 NS    ns.elsewhere.example.
sub     3600 NS    ns1.sub
ns1.sub 3600 A     192.0.2.53
d       300  DNAME elsewhere.example.
'''
[services.www]
route = "weighted"
map = "none"
[services.www.pools]
dublin = { endpoints = ["192.0.2.10"] }
[services."*.app"]
route = "weighted"
map = "none"
[services."*.app".pools]
dublin = { endpoints = ["192.0.2.10"] }
[services."_acme-challenge.taken"]
route = "weighted"
map = "none"
[services."_acme-challenge.taken".pools]
dublin = { endpoints = ["192.0.2.10"] }
--- zones/sub.gtm.example.toml
zone = "sub.gtm.example"
records = '''
@       3600 SOA   ns1 hostmaster 7 3600 600 604800 30
@       3600 NS    ns1
ns1     3600 A     192.0.2.53
'''
"#;

fn at(seconds: u64) -> Moment {
    Moment(Duration::from_secs(seconds))
}

fn subject(name: &str) -> Subject {
    Subject::parse(name).unwrap()
}

fn value(text: &str) -> Value {
    Value::try_from(text.to_owned()).unwrap()
}

/// A publisher after its first round, and a disk that takes writes.
struct World {
    publisher: Publisher,
    now: Moment,
    disk: Result<(), String>,
    /// Writes wait until they are let go.
    holds: bool,
    writing: Option<End>,
    kept: Arc<[Challenge]>,
    written: Arc<[Challenge]>,
    said: Vec<String>,
    answers: Vec<String>,
    snapshot: Arc<Snapshot>,
    requests: u64,
}

impl World {
    fn new() -> World {
        World::of(&[common::CONFIGURATION, ZONES].concat())
    }

    fn of(files: &str) -> World {
        let mut publisher = Publisher::new(common::dataset(files));
        assert!(publisher.switch_overrides(true).is_empty());
        let mut world = World {
            snapshot: publisher.snapshot(),
            publisher,
            now: at(1000),
            disk: Ok(()),
            holds: false,
            writing: None,
            kept: Arc::default(),
            written: Arc::default(),
            said: Vec::new(),
            answers: Vec::new(),
            requests: 0,
        };
        world.event(ProbeEvent::FirstRoundEnded);
        world
    }

    fn event(&mut self, event: impl Into<Event>) {
        for effect in self.publisher.handle(event, self.now) {
            match effect {
                Effect::Publish(snapshot) => self.snapshot = snapshot,
                Effect::Changed(change) => {
                    let sentence = change.sentence(WallTime::default());
                    self.said.push(sentence.to_string());
                }
                Effect::Answer { result, .. } => self.answers.push(result.map_or_else(
                    |why| why.to_string(),
                    |done| done.message(WallTime::default()),
                )),
                Effect::Commit(Commit::Acme(write)) => {
                    assert!(self.writing.is_none(), "one write at a time");
                    self.written = write.puts[0].value.clone();
                    let outcome = match self.disk.clone() {
                        Ok(()) => Outcome::Committed(Revision(write.id)),
                        Err(error) => Outcome::Failed(Failure::Storage {
                            path: "acme.json".to_owned(),
                            error,
                        }),
                    };
                    self.writing = Some(write.end(outcome));
                }
                Effect::Commit(_) | Effect::ProbeEarly(_) => {}
            }
        }
        if !self.holds {
            self.let_go();
        }
    }

    /// The write under way ends.
    fn let_go(&mut self) {
        while let Some(end) = self.writing.take() {
            if self.disk.is_ok() {
                self.kept = self.written.clone();
            }
            self.event(Event::Committed(end));
        }
    }

    fn set(&mut self, name: &str, text: &str, seconds: u64) -> String {
        let asked = ChallengeRequest {
            subject: subject(name),
            value: value(text),
            by: "anna".to_owned(),
            lasts: Duration::from_secs(seconds),
        };
        self.requests += 1;
        let request = self.requests;
        self.event(AcmeEvent::Set { request, asked });
        self.answers.pop().unwrap_or_default()
    }

    fn clear(&mut self, name: &str, text: Option<&str>) -> String {
        self.requests += 1;
        let request = self.requests;
        self.event(AcmeEvent::Clear {
            request,
            subject: subject(name),
            value: text.map(value),
            by: "bob".to_owned(),
        });
        self.answers.pop().unwrap_or_default()
    }

    /// Time goes on until `now`, with a tick whenever the publisher wants one.
    fn until(&mut self, now: Moment) {
        while let Some(due) = self.publisher.next_deadline().filter(|due| *due <= now) {
            assert!(due > self.now, "a deadline that does not pass");
            self.now = due;
            self.event(Event::Tick);
        }
        self.now = now;
        self.event(Event::Tick);
    }

    fn ask(&self, name: &str, rtype: &str) -> String {
        ask(&self.snapshot, name, rtype)
    }
}

/// An answer in one line: the response code, the TTL, and the rdata.
fn ask(snapshot: &Snapshot, name: &str, rtype: &str) -> String {
    let name = Name::from_text(name, Some(&Name::root())).unwrap();
    let rtype: RrType = rtype.parse().unwrap();
    let message = query_message(&name, rtype, "198.51.100.7/32".parse().unwrap());
    let query = Query::synthetic(&message, "127.0.0.1".parse().unwrap(), Transport::Tcp);
    let mut out = vec![0; TCP_BUFFER];
    let Response::Send(length) = respond(snapshot, &mut Worker::new(1), &query, &mut out) else {
        panic!("no answer")
    };
    let message = Message::from_vec(&out[..length]).unwrap();
    let rcode = Rcode(message.metadata.response_code.into());
    let mut line = rcode.to_string();
    assert_eq!(
        message.metadata.authoritative,
        line != "REFUSED"
            && message
                .authorities
                .iter()
                .all(|record| !matches!(record.data, RData::NS(_)))
    );
    for record in &message.answers {
        line += &format!(" {} {}", record.ttl, record.data);
    }
    line
}

#[test]
fn a_challenge_is_answered_once_it_is_on_the_disk() {
    let mut world = World::new();
    let name = "_acme-challenge.www.gtm.example";
    assert_eq!(world.ask(name, "TXT"), "NXDOMAIN");
    world.holds = true;
    assert_eq!(
        world.set("www.gtm.example", "one", 60),
        "",
        "it is being written"
    );
    assert_eq!(world.ask(name, "TXT"), "NXDOMAIN");
    world.let_go();
    let sentence =
        "ACME challenge of www.gtm.example. is set until 1970-01-01T00:17:40Z, by anna: one";
    assert_eq!(world.answers.pop().unwrap(), sentence);
    assert_eq!(world.said.pop().unwrap(), sentence);
    assert_eq!(world.ask(name, "TXT"), "NOERROR 1 one");
    assert_eq!(
        world.ask("_ACME-Challenge.WWW.gtm.example", "TXT"),
        "NOERROR 1 one"
    );
    assert_eq!(world.ask(name, "A"), "NOERROR");
    assert_eq!(world.ask(name, "ANY"), "NOERROR 3600 RFC8482 ");
    assert_eq!(world.ask("www.gtm.example", "A"), "NOERROR 20 192.0.2.10");
    assert_eq!(
        world.ask("gtm.example", "SOA"),
        world.ask("gtm.example", "SOA")
    );
    let serial = world
        .snapshot
        .dataset
        .names
        .serial(meridian::model::ZoneId(0));
    assert_eq!(serial, 7, "a challenge is no new version of the zone");
}

#[test]
fn a_failed_write_changes_nothing() {
    let mut world = World::new();
    world.disk = Err("the disk is full".to_owned());
    assert_eq!(
        world.set("www.gtm.example", "one", 60),
        "nothing is changed, since it cannot be written: acme.json: the disk is full"
    );
    assert_eq!(
        world.ask("_acme-challenge.www.gtm.example", "TXT"),
        "NXDOMAIN"
    );
    world.disk = Ok(());
    assert!(world.set("www.gtm.example", "one", 60).contains("is set"));
    world.disk = Err("the disk is full".to_owned());
    assert!(
        world
            .clear("www.gtm.example", None)
            .contains("the disk is full")
    );
    assert_eq!(
        world.ask("_acme-challenge.www.gtm.example", "TXT"),
        "NOERROR 1 one"
    );
}

#[test]
fn a_wildcard_and_its_base_have_a_value_each() {
    let mut world = World::new();
    world.set("www.gtm.example", "one", 60);
    world.set("*.www.gtm.example", "two", 60);
    let name = "_acme-challenge.www.gtm.example";
    assert_eq!(world.ask(name, "TXT"), "NOERROR 1 one 1 two");
    assert!(
        world
            .clear("www.gtm.example", Some("one"))
            .contains("is cleared, by bob: one")
    );
    assert_eq!(world.ask(name, "TXT"), "NOERROR 1 two");
    assert_eq!(
        world.clear("www.gtm.example", Some("one")),
        "nothing to clear"
    );
    world.set("www.gtm.example", "three", 60);
    let said = world.clear("www.gtm.example", None);
    assert_eq!(said.lines().count(), 2, "{said}");
    assert_eq!(world.ask(name, "TXT"), "NXDOMAIN");
    assert!(world.kept.is_empty());
    assert!(
        world.snapshot.challenges.is_none(),
        "a query asks no further"
    );
}

#[test]
fn what_the_zone_has_at_the_name_stays() {
    let mut world = World::new();
    for name in ["static", "other"] {
        world.set(&format!("{name}.gtm.example"), "one", 60);
    }
    let name = "_acme-challenge.static.gtm.example";
    assert_eq!(world.ask(name, "TXT"), "NOERROR 1 of the zone file 1 one");
    let name = "_acme-challenge.other.gtm.example";
    assert_eq!(world.ask(name, "TXT"), "NOERROR 1 one");
    assert_eq!(world.ask(name, "A"), "NOERROR 300 192.0.2.1");
    world.set("www.gtm.example", "one", 60);
    // An alias in the zone leads to a challenge as it does to any record.
    assert_eq!(
        world.ask("to.gtm.example", "TXT"),
        "NOERROR 300 _acme-challenge.www.gtm.example. 1 one"
    );
    assert_eq!(
        world.ask("to.gtm.example", "A"),
        "NOERROR 300 _acme-challenge.www.gtm.example."
    );
}

#[test]
fn names_above_a_challenge_exist_and_no_others_do() {
    let mut world = World::new();
    world.set("a.b.gtm.example", "one", 60);
    for (name, found) in [
        ("_acme-challenge.a.b.gtm.example", "NOERROR 1 one"),
        ("a.b.gtm.example", "NOERROR"),
        ("b.gtm.example", "NOERROR"),
        ("c.b.gtm.example", "NXDOMAIN"),
        ("x._acme-challenge.a.b.gtm.example", "NXDOMAIN"),
        ("_acme-challenge.b.gtm.example", "NXDOMAIN"),
        ("_acme-challenge.elsewhere.example", "REFUSED"),
    ] {
        assert_eq!(world.ask(name, "TXT"), found, "{name}");
    }
    // A challenge above another one is both.
    world.set("b.gtm.example", "two", 60);
    world.set("a._acme-challenge.b.gtm.example", "three", 60);
    assert_eq!(
        world.ask("_acme-challenge.b.gtm.example", "TXT"),
        "NOERROR 1 two"
    );
    assert_eq!(
        world.ask("a._acme-challenge.b.gtm.example", "TXT"),
        "NOERROR"
    );
    // The zone below has its own.
    world.set("sub.gtm.example", "four", 60);
    assert_eq!(
        world.ask("_acme-challenge.sub.gtm.example", "TXT"),
        "NOERROR 1 four"
    );
}

#[test]
fn a_wildcard_goes_on_answering_beside_a_challenge() {
    let mut world = World::new();
    for name in ["a.app", "text", "a.text", "x.alias"] {
        world.set(&format!("{name}.gtm.example"), "one", 60);
    }
    for (name, rtype, found) in [
        // The service keeps the name that the certificate is for, and all others.
        ("a.app.gtm.example", "A", "NOERROR 20 192.0.2.10"),
        ("b.app.gtm.example", "A", "NOERROR 20 192.0.2.10"),
        ("b.a.app.gtm.example", "A", "NOERROR 20 192.0.2.10"),
        ("_acme-challenge.a.app.gtm.example", "TXT", "NOERROR 1 one"),
        ("_acme-challenge.a.app.gtm.example", "A", "NOERROR"),
        (
            "_acme-challenge.b.app.gtm.example",
            "A",
            "NOERROR 20 192.0.2.10",
        ),
        ("_acme-challenge.text.gtm.example", "TXT", "NOERROR 1 one"),
        ("_acme-challenge.a.text.gtm.example", "TXT", "NOERROR 1 one"),
        ("a.text.gtm.example", "TXT", "NOERROR 300 of a wildcard"),
        (
            "_acme-challenge.x.alias.gtm.example",
            "TXT",
            "NOERROR 1 one",
        ),
        (
            "_acme-challenge.y.alias.gtm.example",
            "TXT",
            "NOERROR 300 elsewhere.example.",
        ),
    ] {
        assert_eq!(world.ask(name, rtype), found, "{name}");
    }
    let name = Name::from_text("_acme-challenge.a.app.gtm.example.", None).unwrap();
    let client = "198.51.100.7/32".parse().unwrap();
    let wall = WallTime::default();
    let explanation = explain(&world.snapshot, &name, Some(RrType::TXT), client, 1, wall);
    assert_eq!(
        explanation.lines(),
        ["_acme-challenge.a.app.gtm.example. TXT for 198.51.100.7/32: NOERROR \"one\", TTL 1"]
    );
}

#[test]
fn names_that_leave_no_room_are_refused_in_words() {
    let mut world = World::new();
    for (name, why) in [
        ("www.other.example", "it lies in no zone of this server"),
        (
            "a.cut.gtm.example",
            "it lies below a delegation: set the challenge at its servers",
        ),
        (
            "a.d.gtm.example",
            "it lies below a DNAME: set the challenge where that leads",
        ),
        (
            "alias.gtm.example",
            "the zone has a CNAME at its challenge: set the challenge where that leads",
        ),
        (
            "taken.gtm.example",
            "a service has the name of its challenge",
        ),
    ] {
        let said = world.set(name, "one", 60);
        assert_eq!(
            said,
            format!("no ACME challenge of {name}. can be set: {why}")
        );
    }
    assert!(
        world
            .clear("www.other.example", None)
            .contains("in no zone")
    );
    assert_eq!(world.clear("www.gtm.example", None), "nothing to clear");
    assert!(world.said.is_empty() && world.kept.is_empty());
}

#[test]
fn time_ends_a_challenge_and_a_renewal_puts_that_off() {
    let mut world = World::new();
    let name = "_acme-challenge.www.gtm.example";
    world.set("www.gtm.example", "one", 60);
    world.set("www.gtm.example", "two", 3600 * 1000);
    world.until(at(1050));
    assert!(
        world
            .set("www.gtm.example", "one", 60)
            .contains("is renewed until")
    );
    world.until(at(1109));
    assert_eq!(world.ask(name, "TXT"), "NOERROR 1 one 1 two");
    world.until(at(1110));
    assert_eq!(world.ask(name, "TXT"), "NOERROR 1 two");
    assert_eq!(
        world.said.pop().unwrap(),
        "ACME challenge of www.gtm.example. has ended: one"
    );
    assert_eq!(world.kept.len(), 1, "the file forgets it too");
    world.until(at(1000) + LONGEST);
    assert_eq!(world.ask(name, "TXT"), "NXDOMAIN", "a day is the longest");
    assert!(world.kept.is_empty());
}

#[test]
fn an_end_that_the_disk_does_not_take_is_written_later() {
    let mut world = World::new();
    world.set("www.gtm.example", "one", 60);
    world.disk = Err("the disk is full".to_owned());
    world.until(at(1060));
    let name = "_acme-challenge.www.gtm.example";
    assert_eq!(
        (world.ask(name, "TXT").as_str(), world.kept.len()),
        ("NXDOMAIN", 1)
    );
    world.disk = Ok(());
    world.until(at(1200));
    assert!(world.kept.is_empty());
}

#[test]
fn requests_that_come_during_a_write_are_written_together() {
    let mut world = World::new();
    world.holds = true;
    world.set("www.gtm.example", "first", 60);
    for index in 0..20 {
        world.set(&format!("n{index}.gtm.example"), "one", 60);
    }
    world.set("n0.gtm.example", "two", 60);
    world.clear("n1.gtm.example", None);
    world.set("www.other.example", "one", 60);
    let first = world.writing.take().unwrap();
    assert_eq!(world.written.len(), 1);
    world.event(Event::Committed(first));
    assert_eq!(world.written.len(), 21, "n1 is gone, and n0 has two");
    // Each is judged by what those before it leave, and refused without waiting for the disk.
    assert!(world.answers.last().unwrap().contains("in no zone"));
    world.let_go();
    assert_eq!(world.answers.len(), 1 + 1 + 22);
    assert_eq!(
        world.ask("_acme-challenge.n0.gtm.example", "TXT"),
        "NOERROR 1 one 1 two"
    );
    assert_eq!(
        world.ask("_acme-challenge.n1.gtm.example", "TXT"),
        "NXDOMAIN"
    );
}

#[test]
fn their_number_is_bounded() {
    let mut world = World::new();
    for index in 0..MOST_OF_A_NAME {
        world.set("www.gtm.example", &format!("{index}"), 60);
    }
    let said = world.set("www.gtm.example", "more", 60);
    assert!(
        said.contains("there are 50 ACME challenges of www.gtm.example. already"),
        "{said}"
    );
    world.set("www.gtm.example", "0", 60);
    world.holds = true;
    for index in MOST_OF_A_NAME..MOST {
        world.set(&format!("n{index}.gtm.example"), "one", 60);
    }
    world.holds = false;
    world.let_go();
    world.answers.clear();
    let said = world.set("more.gtm.example", "one", 60);
    assert!(
        said.contains("there are 1000 ACME challenges already"),
        "{said}"
    );
    assert!(world.set("www.gtm.example", "0", 60).contains("is renewed"));
    let answer = world.ask("_acme-challenge.www.gtm.example", "TXT");
    assert_eq!(answer.split(' ').count(), 1 + 2 * MOST_OF_A_NAME);
}

#[test]
fn a_restart_finds_them_and_a_clock_that_is_behind_keeps_none_longer() {
    let mut world = World::new();
    let challenge = |name: &str, until| Challenge {
        subject: subject(name),
        value: value("one"),
        by: "anna".to_owned(),
        until,
    };
    let found = vec![
        challenge("www.gtm.example", at(1060)),
        challenge("ended.gtm.example", at(900)),
        challenge("late.gtm.example", at(1_000_000)),
        challenge("gone.other.example", at(1060)),
    ];
    world.event(AcmeEvent::Adopted(Some(found)));
    let name = "_acme-challenge.www.gtm.example";
    assert_eq!(world.ask(name, "TXT"), "NOERROR 1 one");
    assert_eq!(
        world.ask("_acme-challenge.ended.gtm.example", "TXT"),
        "NXDOMAIN"
    );
    assert_eq!(world.kept.len(), 3, "what has ended is written no more");
    // A directory that never had any takes over what this process has; one that has none does not.
    world.kept = Arc::default();
    world.event(AcmeEvent::Adopted(None));
    assert_eq!(world.kept.len(), 3);
    world.until(at(1060));
    assert_eq!(world.ask(name, "TXT"), "NXDOMAIN");
    world.until(at(1000) + LONGEST);
    assert_eq!(
        world.ask("_acme-challenge.late.gtm.example", "TXT"),
        "NXDOMAIN"
    );
    world.set("www.gtm.example", "one", 60);
    world.event(AcmeEvent::Adopted(Some(Vec::new())));
    assert_eq!(world.ask(name, "TXT"), "NXDOMAIN");
}

#[test]
fn without_a_state_directory_they_are_refused() {
    let mut world = World::new();
    world.holds = true;
    world.set("www.gtm.example", "one", 60);
    let under_way = world.writing.take();
    world.set("www.gtm.example", "two", 60);
    let effects = world.publisher.switch_overrides(false);
    assert_eq!(effects.len(), 2, "both who wait are told");
    assert_eq!(
        world.set("www.gtm.example", "one", 60),
        "there is no state directory to keep ACME challenges in"
    );
    world.event(Event::Committed(under_way.unwrap()));
    let name = "_acme-challenge.www.gtm.example";
    assert_eq!(
        world.ask(name, "TXT"),
        "NXDOMAIN",
        "a given up write is nobody's"
    );
}

#[test]
fn a_reload_lays_them_over_the_new_zones() {
    let mut world = World::new();
    for name in ["www.gtm.example", "sub.gtm.example"] {
        world.set(name, "one", 60);
    }
    let aliased = ZONES
        .replace(
            "to      300",
            "_acme-challenge.www 300 CNAME elsewhere.example.\nto      300",
        )
        .split("--- zones/sub")
        .next()
        .unwrap()
        .to_owned();
    for (files, www, sub) in [
        // Without a zone of its own, the name below is delegated.
        (
            aliased.as_str(),
            "NOERROR 300 elsewhere.example.",
            "NOERROR",
        ),
        (ZONES, "NOERROR 1 one", "NOERROR 1 one"),
    ] {
        let dataset = common::dataset(&[common::CONFIGURATION, files].concat());
        world.event(Event::Reload {
            dataset,
            first_round: Vec::new(),
        });
        let ask = |name: &str| world.ask(&format!("_acme-challenge.{name}.gtm.example"), "TXT");
        assert_eq!((ask("www").as_str(), ask("sub").as_str()), (www, sub));
    }
}

#[test]
fn a_clock_that_was_set_has_the_file_written_anew() {
    let mut world = World::new();
    world.event(Event::ClockSet);
    assert!(world.written.is_empty(), "there is nothing to date");
    world.set("www.gtm.example", "one", 60);
    world.holds = true;
    world.event(Event::ClockSet);
    let end = world.writing.take().expect("it is written");
    assert_eq!(end.collection, Collection::Acme);
}
