//! What operators say of health and weight, and which word counts where several do.

mod common;

use std::sync::Arc;
use std::time::Duration;

use meridian::commit::{Collection, End, Failure, Outcome, Revision};
use meridian::config::Config;
use meridian::dataset::Snapshot;
use meridian::health::State;
use meridian::model::{Endpoint, Moment, Pool, WallTime, Weight};
use meridian::overrides::{
    Action, Found, Override, OverrideRequest, Overrides, PreflightInputs, Scope, Selector,
    StoredOverrides, objections,
};
use meridian::publisher::{Commit, Effect, Event, OverrideEvent, ProbeEvent, Publisher};
use meridian::steer::{Plan, Rung};
use proptest::prelude::*;

use common::Files;

const FILES: &str = "
--- meridian.toml
[server]
node = \"test\"
[regions.east]
metro = \"city\"
labels = { provider = \"a\", tier = \"1\" }
[regions.north]
labels = { provider = \"b\" }
[regions.west]
metro = \"city\"
labels = { provider = \"a\" }
--- zones/z.toml
zone = \"z.example\"
records = '''
@ 60 SOA ns1 h 1 2 3 4 5
@ 60 NS ns1
ns1 60 A 192.0.2.53
'''
[services.www]
route = \"weighted\"
min_regions = 2
[services.www.pools]
east = { endpoints = [\"192.0.2.1\", \"192.0.2.2\"] }
north = { endpoints = [\"192.0.2.3\"] }
west = { endpoints = [\"192.0.2.4\"] }
[services.api]
route = \"weighted\"
min_regions = 0
[services.api.pools]
east = { endpoints = [\"lb.east.example.\"] }
north = { endpoints = [\"lb.example.net.\"] }
[services.users]
route = \"unit\"
units = 2
owners = \"east\"
[services.users.pools]
east = { endpoints = [\"192.0.2.9\"] }
west = { endpoints = [\"192.0.2.8\"] }
";

fn config() -> Config {
    Files::parse(FILES).load().unwrap()
}

fn at(seconds: u64) -> Moment {
    Moment(Duration::from_secs(seconds))
}

/// Made at second `id`, at once in effect.
fn said(config: &Config, id: u64, word: Action, scope: &str) -> Override {
    let scope = Scope::find(config, scope).unwrap();
    let (by, reason) = ("anna".to_owned(), "work".to_owned());
    Override {
        id,
        action: word,
        scope,
        by,
        reason,
        made: at(id),
        starts: at(id),
        until: None,
        forced: false,
        ramp: None,
        drill: None,
    }
}

/// Region, rung, weight and endpoints up of each pool of a service, at `now`, where probes say that all is up.
fn pools(config: &Config, service: &str, overrides: &Overrides, now: Moment) -> String {
    let service = config
        .services
        .iter()
        .find(|own| own.name.to_string().starts_with(service))
        .unwrap();
    let mut standings = Vec::new();
    let applied = overrides.apply(&config.regions, service, &mut standings, now);
    let state = |pool: &Pool, endpoint: &Endpoint| {
        overrides
            .state(&config.regions, service, pool, endpoint, now)
            .unwrap_or(State {
                up: true,
                settled: true,
            })
    };
    let plan = Plan::compile(&applied, &config.regions, &state, &standings);
    let pool = |pool: &meridian::steer::PoolPlan| {
        let doubt = if pool.doubt { "?" } else { "" };
        format!(
            "{:?} {}x{}{doubt}",
            Rung::best(pool.rungs[0]).unwrap(),
            pool.weight,
            pool.up
        )
    };
    plan.pools.iter().map(pool).collect::<Vec<_>>().join(", ")
}

#[test]
fn scopes_are_what_operators_call_them() {
    let config = config();
    for (text, expected) in [
        ("east", "region east"),
        ("city", "metro city"),
        ("metro:city", "metro city"),
        ("provider:a", "label provider:a"),
        ("www.z.example", "service www.z.example."),
        ("WWW.z.example.", "service www.z.example."),
        ("www.z.example/north", "pool www.z.example./north"),
        (
            "www.z.example/192.0.2.1",
            "endpoint 192.0.2.1 of www.z.example.",
        ),
        ("192.0.2.1", "endpoint 192.0.2.1"),
        ("lb.example.net.", "endpoint lb.example.net."),
        ("users.z.example", "service users.z.example."),
        ("1.users.z.example", "service 1.users.z.example."),
    ] {
        assert_eq!(
            Scope::find(&config, text).map(|scope| scope.to_string()),
            Ok(expected.to_owned())
        );
    }
    for (text, expected) in [
        (
            "eats",
            "there is no region, metro, label, service or endpoint eats; did you mean east?",
        ),
        (
            "provider:c",
            "there is no region, metro, label, service or endpoint provider:c",
        ),
        (
            "192.0.2.99",
            "there is no region, metro, label, service or endpoint 192.0.2.99",
        ),
        (
            "api.z.example/west",
            "service api.z.example. has no pool and no endpoint west",
        ),
        (
            "api.z.example/192.0.2.4",
            "service api.z.example. has no pool and no endpoint 192.0.2.4",
        ),
        ("", "there is no region, metro, label, service or endpoint "),
    ] {
        let why = Scope::find(&config, text).unwrap_err();
        assert_eq!(why.to_string(), expected);
    }
}

#[test]
fn the_narrowest_scope_counts_on_each_axis_and_then_the_latest() {
    let config = config();
    let five = Action::Weight(Weight::new(5).unwrap());
    let cases: &[(&[(Action, &str)], &str)] = &[
        (&[], "Up 1x2, Up 1x1, Up 1x1"),
        (
            &[(Action::Drain, "provider:a")],
            "Standby 1x2, Up 1x1, Standby 1x1",
        ),
        (
            &[(Action::Drain, "provider:a"), (five, "city")],
            "Up 5x2, Up 1x1, Up 5x1",
        ),
        (
            &[(five, "city"), (Action::Drain, "provider:a")],
            "Up 5x2, Up 1x1, Up 5x1",
        ),
        (
            &[(Action::Drain, "provider:a"), (five, "tier:1")],
            "Up 5x2, Up 1x1, Standby 1x1",
        ),
        (
            &[(five, "tier:1"), (Action::Drain, "provider:a")],
            "Standby 1x2, Up 1x1, Standby 1x1",
        ),
        (
            &[(Action::Drain, "city"), (five, "east")],
            "Up 5x2, Up 1x1, Standby 1x1",
        ),
        (
            &[(five, "east"), (Action::Drain, "www.z.example")],
            "Standby 1x2, Standby 1x1, Standby 1x1",
        ),
        (
            &[
                (Action::Drain, "www.z.example"),
                (five, "www.z.example/west"),
            ],
            "Standby 1x2, Standby 1x1, Up 5x1",
        ),
        (&[(Action::Down, "east")], "Every 1x0, Up 1x1, Up 1x1"),
        (
            &[(Action::Down, "provider:a"), (Action::Up, "192.0.2.2")],
            "Up 1x1, Up 1x1, Every 1x0",
        ),
        (
            &[
                (Action::Up, "192.0.2.2"),
                (Action::Down, "www.z.example/192.0.2.2"),
            ],
            "Up 1x1, Up 1x1, Up 1x1",
        ),
        (
            &[(Action::Down, "www.z.example")],
            "Every 1x0, Every 1x0, Every 1x0",
        ),
        // Each axis is judged alone.
        (
            &[(Action::Drain, "east"), (Action::Up, "192.0.2.1")],
            "Standby 1x2, Up 1x1, Up 1x1",
        ),
    ];
    for (words, expected) in cases {
        let list = words
            .iter()
            .zip(1..)
            .map(|((word, scope), id)| said(&config, id, *word, scope))
            .collect();
        assert_eq!(
            pools(&config, "www", &Overrides(list), at(100)),
            *expected,
            "{words:?}"
        );
    }
}

#[test]
fn the_weight_of_an_endpoint_is_its_share_of_the_pool() {
    let config = config();
    let drained = Overrides(vec![said(&config, 1, Action::Drain, "192.0.2.1")]);
    let service = config
        .services
        .iter()
        .find(|own| own.name.to_string().starts_with("www"))
        .unwrap();
    let applied = drained.apply(&config.regions, service, &mut Vec::new(), at(1));
    let weights: Vec<_> = applied.pools[0]
        .endpoints
        .iter()
        .map(|endpoint| endpoint.weight.get())
        .collect();
    assert_eq!(weights, [0, 1]);
    assert_eq!(
        pools(&config, "www", &drained, at(1)),
        "Up 1x2, Up 1x1, Up 1x1",
        "the pool stays in use"
    );
}

#[test]
fn what_is_announced_makes_answers_short_lived_and_holds_from_its_time_on() {
    let config = config();
    let announced = Override {
        starts: at(60),
        until: Some(at(90)),
        ..said(&config, 1, Action::Drain, "east")
    };
    assert_eq!(
        announced.sentence(WallTime::default()),
        "drain of region east by anna until 1970-01-01T00:01:30Z: work"
    );
    let overrides = Overrides(vec![announced]);
    assert_eq!(
        pools(&config, "www", &overrides, at(59)),
        "Up 1x2?, Up 1x1, Up 1x1"
    );
    assert_eq!(
        pools(&config, "www", &overrides, at(60)),
        "Standby 1x2, Up 1x1, Up 1x1"
    );
    assert_eq!(
        [at(1), at(60), at(90)].map(|now| overrides.next_change(now)),
        [Some(at(60)), Some(at(90)), None]
    );
}

#[test]
fn a_drain_that_leaves_too_few_regions_is_refused() {
    let config = config();
    let refused = |before: &[(Action, &str)], word: Action, scope: &str, down: &[&str]| {
        let list = before
            .iter()
            .zip(1..)
            .map(|((word, scope), id)| said(&config, id, *word, scope))
            .collect();
        let state = |endpoint: &Endpoint| State {
            up: !down.contains(&&*endpoint.target.to_string()),
            settled: true,
        };
        let before = Overrides(list);
        let after = Overrides(
            before
                .0
                .iter()
                .cloned()
                .chain([said(&config, 9, word, scope)])
                .collect(),
        );
        let inputs = PreflightInputs {
            config: &config,
            state: &state,
            stranded: &|_, _, _| Vec::new(),
            now: at(9),
        };
        objections(&before, &after, &inputs).join("; ")
    };
    let left = |count: usize| {
        let regions = if count == 1 { "region" } else { "regions" };
        format!("it would leave www.z.example. {count} {regions} up, and min_regions is 2")
    };
    assert_eq!(refused(&[], Action::Drain, "east", &[]), "");
    assert_eq!(refused(&[], Action::Drain, "provider:a", &[]), left(1));
    assert_eq!(refused(&[], Action::Down, "www.z.example", &[]), left(0));
    assert_eq!(
        refused(&[], Action::Weight(Weight::ZERO), "city", &[]),
        left(1)
    );
    assert_eq!(
        refused(&[(Action::Drain, "north")], Action::Drain, "east", &[]),
        left(1)
    );
    assert_eq!(refused(&[], Action::Drain, "east", &["192.0.2.3"]), left(1));
    // What is down already loses nothing by a drain, and api may lose everything.
    assert_eq!(refused(&[], Action::Drain, "north", &["192.0.2.3"]), "");
    assert_eq!(refused(&[], Action::Down, "api.z.example", &[]), "");
    assert_eq!(
        refused(&[(Action::Drain, "city")], Action::Up, "east", &[]),
        ""
    );
}

proptest! {
    /// Order of making decides among equals only, and what has ended or not begun decides nothing.
    #[test]
    fn broader_words_never_outdo_narrower_ones(words in prop::collection::vec((0usize..4, 0usize..6), 1..6)) {
        let config = config();
        let scopes = ["provider:a", "city", "east", "www.z.example", "www.z.example/east", "www.z.example/192.0.2.1"];
        let word = |index| [Action::Drain, Action::Weight(Weight::new(7).unwrap()), Action::Up, Action::Down][index];
        let list: Vec<Override> = words.iter().zip(1..).map(|((w, s), id)| said(&config, id, word(*w), scopes[*s])).collect();
        let all = pools(&config, "www", &Overrides(list.clone()), at(99));
        let mut sorted = list.clone();
        sorted.sort_by_key(|own| std::cmp::Reverse(own.id));
        prop_assert_eq!(&pools(&config, "www", &Overrides(sorted), at(99)), &all, "the order of the list says nothing");
        // Without what a narrower one, or a later equal one, outdoes, all is the same.
        let rank = |own: &Override| (scopes.iter().position(|s| Scope::find(&config, s).as_ref() == Ok(&own.scope)), own.id);
        let axis = |own: &Override| matches!(own.action, Action::Drain | Action::Weight(_));
        let kept = |own: &&Override| !list.iter().any(|other| {
            axis(other) == axis(own) && other.scope == own.scope && rank(other) > rank(own)
        });
        let kept: Vec<Override> = list.iter().filter(kept).cloned().collect();
        prop_assert_eq!(pools(&config, "www", &Overrides(kept), at(99)), all);
    }
}

/// A publisher after its first round, and a disk that takes writes.
struct World {
    publisher: Publisher,
    now: Moment,
    disk: Result<(), String>,
    /// The write under way.
    writing: Option<(u64, Overrides, u64)>,
    kept: Overrides,
    /// The highest number ever given, as it is kept.
    last: u64,
    said: Vec<String>,
    answers: Vec<(u64, String)>,
    plans: Arc<Snapshot>,
}

impl World {
    fn new() -> World {
        let mut publisher = Publisher::new(common::dataset(FILES));
        assert!(publisher.switch_overrides(true).is_empty());
        let plans = publisher.snapshot();
        let (kept, said, answers) = (Overrides::default(), vec![], vec![]);
        let (now, disk, writing, last) = (at(1000), Ok(()), None, 0);
        let mut world = World {
            publisher,
            now,
            disk,
            writing,
            kept,
            last,
            said,
            answers,
            plans,
        };
        world.event(ProbeEvent::FirstRoundEnded);
        world
    }

    /// An event, and what the disk does about it.
    fn event(&mut self, event: impl Into<Event>) {
        self.event_without_disk(event);
        while self.end_write() {}
    }

    /// The write under way ends; false where there is none.
    fn end_write(&mut self) -> bool {
        let Some((id, overrides, last)) = self.writing.take() else {
            return false;
        };
        if self.disk.is_ok() {
            (self.kept, self.last) = (overrides, last);
        }
        let outcome = match self.disk.clone() {
            Ok(()) => Outcome::Committed(Revision(id)),
            Err(error) => Outcome::Failed(Failure::Storage {
                path: "overrides.json".to_owned(),
                error,
            }),
        };
        let collection = Collection::Overrides;
        self.event_without_disk(Event::Committed(End {
            collection,
            id,
            outcome,
        }));
        true
    }

    fn event_without_disk(&mut self, event: impl Into<Event>) {
        for effect in self.publisher.handle(event, self.now) {
            match effect {
                Effect::Publish(snapshot) => self.plans = snapshot,
                Effect::ProbeEarly(_) => {}
                Effect::Changed(change) => self
                    .said
                    .push(change.sentence(WallTime::default()).to_string()),
                Effect::Answer { request, result } => {
                    self.answers.push((
                        request,
                        result.map_or_else(
                            |why| why.to_string(),
                            |done| done.message(WallTime::default()),
                        ),
                    ));
                }
                Effect::Commit(Commit::Overrides(write)) => {
                    for StoredOverrides { overrides, last } in
                        write.puts.into_iter().map(|put| put.value)
                    {
                        self.writing = Some((write.id, overrides, last));
                    }
                }
                Effect::Commit(_) => {}
            }
        }
    }

    fn ask(
        &mut self,
        word: Action,
        what: &str,
        change: impl FnOnce(&mut OverrideRequest),
    ) -> String {
        let scope = match Scope::find(&self.publisher.dataset().config, what) {
            Ok(scope) => scope,
            Err(why) => return why.to_string(),
        };
        let (by, reason) = ("anna".to_owned(), "work".to_owned());
        let mut asked = OverrideRequest {
            action: word,
            scope,
            by,
            reason,
            starts_in: Duration::ZERO,
            lasts: None,
            force: false,
            ramp: None,
            drill: None,
        };
        change(&mut asked);
        self.answers.clear();
        self.event(OverrideEvent::Request { request: 7, asked });
        // One snapshot every 10 ms.
        self.wait(1);
        self.answer()
    }

    fn release(&mut self, what: &str) -> String {
        self.answers.clear();
        self.event(OverrideEvent::Release {
            request: 7,
            what: Selector::find(&self.publisher.dataset().config, what),
            force: false,
        });
        self.wait(1);
        self.answer()
    }

    fn answer(&self) -> String {
        assert!(self.answers.iter().all(|(request, _)| *request == 7));
        self.answers
            .iter()
            .map(|(_, answer)| answer.as_str())
            .collect::<Vec<_>>()
            .join("; ")
    }

    /// Lets time pass, as the publisher's own deadlines have it.
    fn wait(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        while let Some(next) = self.publisher.next_deadline().filter(|next| *next <= end) {
            self.now = next.max(self.now);
            self.event(Event::Tick);
        }
        self.now = end;
    }

    /// The regions of www that are in use, and how the answers of a moment are.
    fn www(&self) -> String {
        let at = self
            .plans
            .dataset
            .config
            .services
            .iter()
            .position(|own| own.name.to_string().starts_with("www"))
            .unwrap();
        let plan = &self.plans.plans[at];
        let used = plan
            .pools
            .iter()
            .filter(|pool| pool.rungs[0] & Rung::Up.bit() != 0);
        let name = |pool: &meridian::steer::PoolPlan| {
            self.plans.dataset.config.regions[pool.region.index()]
                .name
                .clone()
        };
        let doubt = if plan.pools.iter().any(|pool| pool.doubt) {
            " ttl_min"
        } else {
            ""
        };
        used.map(name).collect::<Vec<_>>().join(" ") + doubt
    }

    fn said(&mut self, text: &str) {
        let said = std::mem::take(&mut self.said);
        assert!(
            said.iter().any(|sentence| sentence.contains(text)),
            "{text}: {said:?}"
        );
    }
}

#[test]
fn a_drain_is_kept_before_it_takes_effect_and_ends_by_time_or_by_word() {
    let mut world = World::new();
    let hour = |asked: &mut OverrideRequest| asked.lasts = Some(Duration::from_secs(3600));
    assert_eq!(
        world.ask(Action::Drain, "east", hour),
        "override 1: drain of region east by anna until 1970-01-01T01:16:40Z: work"
    );
    assert_eq!(world.www(), "north west");
    world.said("service www.z.example. A region east is drained, was up");
    assert_eq!(world.kept.0.len(), 1);

    world.wait(3600 - 602);
    assert!(world.said.is_empty());
    world.wait(1);
    world.said("override 1 ends within 10 minutes");
    world.wait(599);
    assert_eq!(world.www(), "north west");
    world.wait(1);
    assert_eq!(world.www(), "east north west");
    world.said("override 1 has ended");
    assert!(world.kept.0.is_empty(), "the file forgets it too");

    world.ask(Action::Drain, "provider:b", |_| {});
    assert_eq!(world.www(), "east west");
    assert_eq!(
        world.release("provider:b"),
        "override 2 is released: drain of label provider:b by anna until it is released: work"
    );
    assert_eq!(world.www(), "east north west");
    assert_eq!(
        world.release("provider:b"),
        "there is no override of provider:b"
    );
    world.ask(Action::Drain, "north", |_| {});
    assert!(world.release("3").starts_with("override 3 is released"));
    assert!(world.publisher.overrides().0.is_empty());
}

#[test]
fn what_cannot_be_kept_changes_nothing() {
    let mut world = World::new();
    world.disk = Err("the disk is full".to_owned());
    assert_eq!(
        world.ask(Action::Drain, "east", |_| {}),
        "nothing is changed, since it cannot be written: overrides.json: the disk is full"
    );
    assert_eq!(world.www(), "east north west");
    world.disk = Ok(());
    world.ask(Action::Drain, "east", |_| {});
    world.disk = Err("the disk is full".to_owned());
    assert_eq!(
        world.release("east"),
        "nothing is changed, since it cannot be written: overrides.json: the disk is full"
    );
    assert_eq!(world.www(), "north west");
    assert!(world.publisher.switch_overrides(false).is_empty());
    assert_eq!(
        world.ask(Action::Down, "east", |_| {}),
        "there is no state directory to keep overrides in"
    );
}

#[test]
fn a_word_takes_the_place_of_the_one_before_on_its_axis() {
    let mut world = World::new();
    world.ask(Action::Drain, "east", |_| {});
    world.ask(Action::Weight(Weight::new(3).unwrap()), "east", |_| {});
    world.ask(Action::Down, "east", |_| {});
    let words: Vec<_> = world
        .publisher
        .overrides()
        .0
        .iter()
        .map(|own| own.action.to_string())
        .collect();
    assert_eq!(words, ["weight 3", "down"]);
    world.release("east");
    assert_eq!(world.answer().lines().count(), 2, "all that is said of it");
}

#[test]
fn force_is_recorded_and_names_that_are_not_there_are_refused() {
    let mut world = World::new();
    let refused = world.ask(Action::Drain, "provider:a", |_| {});
    assert_eq!(
        refused,
        "it would leave www.z.example. 1 region up, and min_regions is 2"
    );
    assert_eq!(world.www(), "east north west");
    let forced = world.ask(Action::Drain, "provider:a", |asked| asked.force = true);
    assert!(forced.ends_with("work (forced)"), "{forced}");
    assert!(world.publisher.overrides().0[0].forced);
    assert_eq!(world.www(), "north");
    let unknown = world.ask(Action::Drain, "nroth", |asked| asked.force = true);
    assert_eq!(
        unknown,
        "there is no region, metro, label, service or endpoint nroth; did you mean north?"
    );
}

#[test]
fn an_announced_drain_shortens_answers_first() {
    let mut world = World::new();
    let announced = world.ask(Action::Drain, "east", |asked| {
        asked.starts_in = Duration::from_secs(60)
    });
    let sentence = "drain of region east by anna until it is released: work";
    assert_eq!(
        announced,
        format!("override 1 is announced and takes effect at 1970-01-01T00:17:40Z: {sentence}")
    );
    world.said(&announced);
    assert_eq!(world.www(), "east north west ttl_min");
    world.wait(58);
    assert_eq!(world.www(), "east north west ttl_min");
    world.said.clear();
    world.wait(1);
    assert_eq!(world.www(), "north west");
    world.said(&format!("override 1 is in force, as announced: {sentence}"));
}

#[test]
fn overrides_outlive_the_process_and_those_that_ended_meanwhile_do_not() {
    let mut world = World::new();
    world.ask(Action::Drain, "east", |asked| {
        asked.lasts = Some(Duration::from_secs(60))
    });
    world.ask(Action::Drain, "192.0.2.2", |_| {});
    let kept = world.kept.clone();
    let mut world = World::new();
    world.now = at(1050);
    world.event(OverrideEvent::Adopted(Found {
        overrides: kept.clone(),
        last: 2,
        lost: None,
    }));
    assert_eq!(world.publisher.overrides(), &kept);
    world.event(Event::Tick);
    world.wait(10);
    assert_eq!(world.publisher.overrides().0.len(), 1);
    world.ask(Action::Drain, "north", |_| {});
    assert_eq!(
        world.publisher.overrides().0.last().unwrap().id,
        3,
        "numbers are not given twice"
    );
    let mut late = World::new();
    late.now = at(2000);
    late.event(OverrideEvent::Adopted(Found {
        overrides: kept,
        last: 2,
        lost: None,
    }));
    assert_eq!(late.publisher.overrides().0.len(), 1);
}

/// The end of the override in force, in seconds.
fn end_of(world: &World) -> u64 {
    world.publisher.overrides().0[0]
        .until
        .expect("it ends")
        .0
        .as_secs()
}

#[test]
fn a_start_after_the_end_of_an_override_says_that_it_is_gone() {
    let mut world = World::new();
    let kept = said(&config(), 7, Action::Drain, "east");
    let over = Override {
        made: at(10),
        starts: at(10),
        until: Some(at(999)),
        ..kept
    };
    world.event(OverrideEvent::Adopted(Found {
        overrides: Overrides(vec![over]),
        last: 0,
        lost: None,
    }));
    world.said("override 7 ended while no server was running: drain of region east by anna until 1970-01-01T00:16:39Z");
    assert_eq!(world.publisher.overrides().0, []);
    assert_eq!(world.kept.0, [], "the file has it no longer either");
}

#[test]
fn an_override_of_a_clock_that_was_ahead_lasts_no_longer_than_it_was_to() {
    let mut world = World::new();
    let made = |made, until| Override {
        made: at(made),
        starts: at(made),
        until: Some(at(until)),
        ..said(&config(), 7, Action::Drain, "east")
    };
    world.event(OverrideEvent::Adopted(Found {
        overrides: Overrides(vec![made(900_000, 900_600)]),
        last: 0,
        lost: None,
    }));
    assert_eq!(
        end_of(&world),
        1600,
        "it is said now, as far as anyone can tell"
    );
    world.event(OverrideEvent::Adopted(Found {
        overrides: Overrides(vec![made(900, 1300)]),
        last: 0,
        lost: None,
    }));
    assert_eq!(end_of(&world), 1300);
}

#[test]
fn a_clock_that_is_set_has_the_file_written_anew() {
    let mut world = World::new();
    let kept = Overrides(vec![Override {
        until: Some(at(5000)),
        ..said(&config(), 7, Action::Drain, "east")
    }]);
    world.event(OverrideEvent::Adopted(Found {
        overrides: kept.clone(),
        last: 0,
        lost: None,
    }));
    world.kept = Overrides::default();
    world.event(Event::ClockSet);
    assert_eq!(world.kept, kept, "as moments they are what they were");
}

#[test]
fn the_number_of_a_released_override_is_not_given_again_after_a_restart() {
    let mut world = World::new();
    world.ask(Action::Drain, "east", |_| {});
    world.ask(Action::Drain, "north", |asked| asked.force = true);
    world.release("2");
    let (overrides, last) = (world.kept.clone(), world.last);
    assert_eq!((overrides.0.len(), last), (1, 2));
    let mut world = World::new();
    world.event(OverrideEvent::Adopted(Found {
        overrides,
        last,
        lost: None,
    }));
    assert!(
        world
            .ask(Action::Weight(Weight::ZERO), "lb.example.net.", |_| {})
            .starts_with("override 3: ")
    );
}

#[test]
fn words_asked_for_at_once_are_judged_one_after_another() {
    let mut world = World::new();
    let ask = |world: &mut World, request, what: &str| {
        let (by, reason) = ("anna".to_owned(), "work".to_owned());
        let starts_in = Duration::ZERO;
        let asked = OverrideRequest {
            action: Action::Drain,
            scope: Scope::find(&world.publisher.dataset().config, what).unwrap(),
            by,
            reason,
            starts_in,
            lasts: None,
            force: false,
            ramp: None,
            drill: None,
        };
        world.event_without_disk(OverrideEvent::Request { request, asked });
    };
    for (request, what) in [(1, "east"), (2, "north"), (3, "west")] {
        ask(&mut world, request, what);
    }
    assert!(world.answers.is_empty(), "all wait for the disk");
    while world.end_write() {}
    let refused = "it would leave www.z.example. 1 region up, and min_regions is 2".to_owned();
    assert_eq!(world.answers.len(), 3);
    assert!(
        world.answers[0]
            .1
            .starts_with("override 1: drain of region east")
    );
    assert_eq!(world.answers[1..], [(2, refused.clone()), (3, refused)]);
    // What the disk does not take was not accepted: the next is judged without it.
    world.release("east");
    world.answers.clear();
    world.disk = Err("the disk is full".to_owned());
    ask(&mut world, 1, "east");
    ask(&mut world, 2, "north");
    world.end_write();
    world.disk = Ok(());
    while world.end_write() {}
    assert!(
        world.answers[0].1.contains("the disk is full")
            && world.answers[1].1.starts_with("override 3: "),
        "{:?}",
        world.answers
    );
}

#[test]
fn what_is_announced_or_ends_counts_in_the_judgement_at_every_moment() {
    let mut world = World::new();
    let seconds = Duration::from_secs;
    let at_an_hour =
        "it would leave www.z.example. 1 region up 59m 59s from now, and min_regions is 2";
    world.ask(Action::Drain, "east", |asked| {
        asked.starts_in = seconds(3600)
    });
    // One second has passed at the first, and another with each word that was judged.
    assert_eq!(world.ask(Action::Drain, "north", |_| {}), at_an_hour);
    assert!(
        world
            .ask(Action::Drain, "north", |asked| asked.lasts =
                Some(seconds(3000)))
            .starts_with("override 2: ")
    );
    assert!(
        world
            .ask(Action::Down, "west", |asked| asked.starts_in =
                seconds(5000))
            .contains(" from now, ")
    );
    // A word that keeps a region in use is not to end, or be released, below one that counts on it.
    let mut world = World::new();
    world.ask(Action::Weight(Weight::ZERO), "provider:a", |asked| {
        asked.force = true
    });
    let held = |asked: &mut OverrideRequest| asked.lasts = Some(seconds(100));
    assert!(
        world
            .ask(Action::Weight(Weight::ONE), "www.z.example/east", held)
            .starts_with("override 2: ")
    );
    assert!(
        world
            .ask(Action::Weight(Weight::ONE), "www.z.example/west", held)
            .starts_with("override 3: ")
    );
    assert!(
        world
            .ask(Action::Drain, "north", |_| {})
            .contains(" from now, "),
        "when those have ended"
    );
    let while_held = |asked: &mut OverrideRequest| asked.lasts = Some(seconds(50));
    assert!(
        world
            .ask(Action::Drain, "north", while_held)
            .starts_with("override 4: ")
    );
    let refused = world.release("2");
    assert_eq!(
        refused,
        "it would leave www.z.example. 1 region up, and min_regions is 2; --force releases it all the same"
    );
    world.event(OverrideEvent::Release {
        request: 7,
        what: Selector::find(&world.publisher.dataset().config, "2"),
        force: true,
    });
    assert!(world.answer().ends_with("(forced)"), "{}", world.answer());
}

#[test]
fn a_loss_is_accepted_before_anything_is_written_over() {
    let mut world = World::new();
    let kept = Overrides(vec![said(&config(), 4, Action::Drain, "east")]);
    let lost = "the file is damaged".to_owned();
    world.event(OverrideEvent::Adopted(Found {
        overrides: kept.clone(),
        last: 9,
        lost: Some(lost.clone()),
    }));
    world.wait(1);
    assert_eq!(
        (world.www().as_str(), world.publisher.overrides_lost()),
        ("north west", Some(lost.as_str()))
    );
    let comes_first = "the file is damaged; run `meridian overrides --accept-loss` first";
    assert_eq!(
        world.ask(Action::Drain, "lb.example.net.", |_| {}),
        comes_first
    );
    assert_eq!(world.release("east"), comes_first);
    world.wait(3600);
    assert!(world.kept.0.is_empty(), "nothing is written");
    world.answers.clear();
    world.disk = Err("the disk is full".to_owned());
    world.event(OverrideEvent::AcceptLoss { request: 7 });
    assert!(
        world.answer().contains("the disk is full") && world.publisher.overrides_lost().is_some()
    );
    world.disk = Ok(());
    world.answers.clear();
    world.event(OverrideEvent::AcceptLoss { request: 7 });
    assert_eq!(
        world.answer(),
        "override loss accepted: 1 override left, in force or announced"
    );
    assert_eq!(
        (&world.kept, world.last, world.publisher.overrides_lost()),
        (&kept, 9, None)
    );
    world.answers.clear();
    world.event(OverrideEvent::AcceptLoss { request: 7 });
    assert_eq!(
        world.answer(),
        "no overrides are lost, so there is nothing to accept"
    );
}

#[test]
fn a_state_directory_without_overrides_takes_those_of_the_process() {
    let mut world = World::new();
    world.ask(Action::Drain, "east", |_| {});
    let kept = std::mem::take(&mut world.kept);
    world.event(OverrideEvent::Adopted(Found {
        overrides: Overrides::default(),
        last: 0,
        lost: None,
    }));
    assert_eq!((world.www().as_str(), &world.kept), ("north west", &kept));
}

/// What operators do.
#[derive(Debug, Clone)]
enum Act {
    Ask {
        word: usize,
        scope: usize,
        starts_in: u64,
        lasts: Option<u64>,
    },
    Release {
        scope: usize,
    },
    Disk {
        full: bool,
    },
    Wait {
        seconds: u64,
    },
}

const SCOPES: [&str; 9] = [
    "provider:a",
    "city",
    "east",
    "north",
    "west",
    "www.z.example",
    "www.z.example/east",
    "www.z.example/north",
    "192.0.2.4",
];

fn act() -> impl Strategy<Value = Act> {
    let time = || prop_oneof![Just(0u64), 1u64..100];
    prop_oneof![
        6 => (0usize..5, 0..SCOPES.len(), time(), prop::option::of(1u64..100))
            .prop_map(|(word, scope, starts_in, lasts)| Act::Ask { word, scope, starts_in, lasts }),
        2 => (0..SCOPES.len()).prop_map(|scope| Act::Release { scope }),
        3 => any::<bool>().prop_map(|full| Act::Disk { full }),
        2 => (1u64..60).prop_map(|seconds| Act::Wait { seconds }),
    ]
}

proptest! {
    /// However often operators are taken at their word, and whatever the disk does meanwhile: while all is up, no word that was
    /// not forced leaves a service fewer regions than it is to have, now or at any later moment.
    #[test]
    fn accepted_words_never_leave_too_few_regions(acts in prop::collection::vec(act(), 1..40)) {
        let (config, mut world) = (config(), World::new());
        let words =
            [Action::Drain, Action::Down, Action::Up, Action::Weight(Weight::ZERO), Action::Weight(Weight::new(5).unwrap())];
        for act in acts {
            match act {
                Act::Ask { word, scope, starts_in, lasts } => {
                    let scope = Scope::find(&config, SCOPES[scope]).unwrap();
                    let (by, reason) = ("anna".to_owned(), "work".to_owned());
                    let (starts_in, lasts) = (Duration::from_secs(starts_in), lasts.map(Duration::from_secs));
                    let asked = OverrideRequest { action: words[word], scope, by, reason, starts_in, lasts, force: false, ramp: None, drill: None };
                    world.event_without_disk(OverrideEvent::Request { request: 7, asked });
                }
                Act::Release { scope } => {
                    let what = Selector::find(&config, SCOPES[scope]);
                    world.event_without_disk(OverrideEvent::Release { request: 7, what, force: false });
                }
                Act::Disk { full } => {
                    world.disk = if full { Err("the disk is full".to_owned()) } else { Ok(()) };
                    world.end_write();
                }
                Act::Wait { seconds } => {
                    world.now = world.now + Duration::from_secs(seconds);
                    world.event_without_disk(Event::Tick);
                }
            }
            let list = world.publisher.overrides();
            let moments = list.0.iter().flat_map(|own| [Some(own.starts), own.until]).flatten().chain([world.now]);
            for moment in moments.filter(|moment| *moment >= world.now) {
                let stand = pools(&config, "www", list, moment);
                prop_assert!(stand.matches("Up ").count() >= 2, "{stand} at {moment:?}: {list:?}");
            }
        }
    }
}
