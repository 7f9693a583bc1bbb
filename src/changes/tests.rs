use super::*;
use crate::acme::{Challenge, ChallengeChange, Subject, Value};

fn text(text: &str) -> String {
    text.to_owned()
}

#[test]
fn a_change_is_read_back_as_it_was_written() {
    let change = Change {
        number: 17,
        event: Event::Endpoint(EndpointChange {
            target: text("192.0.2.1"),
            check: text("web"),
            change: EndpointEvent::Health {
                old: Verdict::Up,
                new: Verdict::Down,
                cause: Cause::Failed {
                    reason: crate::health::FailReason::ConnectRefused,
                    fails: 3,
                },
                regions: vec![text("dublin")],
                services: 2,
            },
        }),
    };
    let json = serde_json::to_string(&change).unwrap();
    assert!(
        json.contains(r#""number":17,"endpoint":{"target":"192.0.2.1""#),
        "{json}"
    );
    assert_eq!(serde_json::from_str::<Change>(&json).unwrap(), change);
}

/// A change of each kind and form.
pub(crate) fn of_every_kind() -> Vec<Event> {
    let mut events: Vec<Event> = endpoints().collect();
    events.extend(pools());
    events.push(Event::Service(ServiceChange {
        service: text("www.gtm.example."),
        family: Family::V6,
        old: Rung::Up,
        new: Rung::Fallback,
    }));
    events.extend(overridden());
    events.extend(challenges());
    events.extend(units());
    events.extend([
        Event::Node(NodeChange::Isolated),
        Event::Node(NodeChange::IsolationEnded(End::Pass)),
        Event::History(HistoryChange::NotPersisted(text("disk full"))),
        Event::History(HistoryChange::Persisted),
    ]);
    let changes = [
        DrillEvent::Started,
        DrillEvent::Completed,
        DrillEvent::Stopped(text("anna stopped it")),
        DrillEvent::Aborted(text("tokyo reports a load of 0.95, above 0.9")),
        DrillEvent::Refused(text("the disk is full")),
    ];
    events.extend(changes.map(|change| {
        Event::Drill(DrillChange {
            drill: 3,
            target: text("region dublin"),
            by: text("anna"),
            change,
        })
    }));
    events
}

fn endpoints() -> impl Iterator<Item = Event> {
    let health = |old, new, cause| EndpointEvent::Health {
        old,
        new,
        cause,
        regions: vec![text("dublin"), text("tokyo")],
        services: 2,
    };
    let failed = Cause::Failed {
        reason: crate::health::FailReason::ConnectRefused,
        fails: 3,
    };
    let changes = [
        health(Verdict::Up, Verdict::Down, failed),
        health(Verdict::Down, Verdict::Up, Cause::Passed { passes: 4 }),
        EndpointEvent::Warning(None),
        EndpointEvent::Flapping {
            changes: 6,
            within: Duration::from_secs(60),
            until: Moment(Duration::from_secs(600)),
        },
        EndpointEvent::FlappingEnded,
        EndpointEvent::WatchGivenUp,
    ];
    changes.into_iter().map(|change| {
        Event::Endpoint(EndpointChange {
            target: text("192.0.2.1"),
            check: text("web"),
            change,
        })
    })
}

fn pools() -> impl Iterator<Item = Event> {
    let state = |rung, held, drained| PoolState {
        rung,
        held,
        drained,
    };
    let up = state(Rung::Up, false, false);
    let states = [
        state(Rung::AsIfUp, false, false),
        state(Rung::Standby, true, false),
        state(Rung::Standby, false, true),
        state(Rung::SomeSurvivors, false, false),
    ];
    let availability = states.into_iter().map(move |new| PoolEvent::Availability {
        family: Family::V4,
        old: up,
        new,
    });
    let others = [
        PoolEvent::RampBegan(Duration::from_secs(60)),
        PoolEvent::RampEnded,
        PoolEvent::Resumed,
    ];
    availability.chain(others).map(|change| {
        Event::Pool(PoolChange {
            service: text("www.gtm.example."),
            region: text("dublin"),
            change,
        })
    })
}

fn overridden() -> Vec<Event> {
    use crate::overrides::{Action, Override, Scope};
    let scopes = [
        Scope::Endpoint {
            service: None,
            target: text("192.0.2.1"),
        },
        Scope::Pool {
            service: text("www.gtm.example."),
            region: text("dublin"),
        },
        Scope::Service(text("www.gtm.example.")),
        Scope::Region(text("dublin")),
        Scope::Label(text("rack"), text("7")),
    ];
    let of = |(id, scope)| {
        Event::Override(overrides::Event::Changed {
            own: Box::new(Override {
                id,
                action: Action::Drain,
                scope,
                by: text("kim"),
                reason: text("new switches"),
                made: Moment::default(),
                starts: Moment::default(),
                until: None,
                forced: false,
                ramp: None,
                drill: None,
            }),
            change: OverrideChange::InForce,
        })
    };
    let mut events: Vec<Event> = (1..).zip(scopes).map(of).collect();
    events.push(Event::Override(overrides::Event::LossAccepted { left: 1 }));
    events
}

fn challenges() -> impl Iterator<Item = Event> {
    let challenge = Challenge {
        subject: Subject::parse("www.example").unwrap(),
        value: Value::try_from(text("v1")).unwrap(),
        by: text("kim"),
        until: Moment::default(),
    };
    let changes = [
        ChallengeChange::Set,
        ChallengeChange::Renewed,
        ChallengeChange::Cleared(text("anna")),
        ChallengeChange::Ended,
    ];
    changes.into_iter().map(move |change| {
        Event::Acme(acme::Event {
            challenge: challenge.clone(),
            change,
        })
    })
}

fn units() -> impl Iterator<Item = Event> {
    let (unit, dublin, tokyo) = (text("07.orders.example."), text("dublin"), text("tokyo"));
    let events = [
        units::Event::Fenced {
            unit: unit.clone(),
            owner: Some(dublin.clone()),
            next: tokyo.clone(),
            cause: units::Cause::Moved,
        },
        units::Event::Redirected {
            unit: unit.clone(),
            next: dublin.clone(),
            old: tokyo.clone(),
            cause: units::Cause::Moved,
        },
        units::Event::Owned {
            unit: unit.clone(),
            owner: tokyo.clone(),
            epoch: 3,
            cause: units::Cause::FenceOver,
        },
        units::Event::Stranded { unit, owner: tokyo },
        units::Event::Unknown {
            units: vec![dublin.clone()],
            others: Vec::new(),
        },
        units::Event::Foreign {
            units: vec![dublin],
        },
        units::Event::Frozen {
            why: text("no state directory"),
            units: 3,
        },
        units::Event::NotWritten {
            why: text("disk full"),
        },
        units::Event::Written,
    ];
    events.into_iter().map(Event::Unit)
}
