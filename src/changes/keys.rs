//! The keys of a change: the names that it is about and the states between which it lies, for
//! journal fields, event streams, filters and notifications.

use std::borrow::Cow;

use serde::{Serialize, Serializer};

use super::{
    EndpointChange, EndpointEvent, Event, HistoryChange, NodeChange, PoolChange, PoolEvent,
    PoolState, ServiceChange, Verdict,
};
use crate::acme::{self, Challenge, ChallengeChange};
use crate::model::{Family, Severity};
use crate::overrides::{self, Override, Scope};
use crate::steer::Rung;
use crate::units;

/// The names that a change is about, and its states. Each is a key and never prose; what a change
/// does not have is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Keys {
    /// The kind of object that changed: `endpoint`, `pool`, `service`, `override`, `acme`, `unit`,
    /// `node`, `history` or `drill`.
    pub kind: &'static str,
    /// The change, as `meridian_changes_total` labels it.
    pub event: &'static str,
    /// Its weight for an operator.
    pub severity: Severity,
    /// Owner name of the service, or of the unit; the name of an ACME challenge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The region. An endpoint that serves several regions has their names with commas between
    /// them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The endpoint's address or target name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The check's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
    /// The family, where the change is of one.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "label")]
    pub family: Option<Family>,
    /// The state before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<Cow<'static, str>>,
    /// The state now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<Cow<'static, str>>,
    /// The override's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#override: Option<u64>,
    /// The operator's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

fn label<S: Serializer>(family: &Option<Family>, to: S) -> Result<S::Ok, S::Error> {
    family.map(Family::as_label).serialize(to)
}

/// The journal's message ids by kind of object (journald's `MESSAGE_ID`): they never change.
const MESSAGE_IDS: [(&str, &str); 9] = [
    ("endpoint", "f39d8fb1595040c98ac58a73fab7b0eb"),
    ("pool", "d37e1126ee2e4ffebc6c22fdb8f55e70"),
    ("service", "01f99629382f404b9c2638bc47b96ba2"),
    ("override", "5a2d8a26935a4e33887f8f4bb76de277"),
    ("acme", "c44a2f12388149d7b9a24ca49e2dc489"),
    ("unit", "30bff187fa0947d0afd5a5d68615eb60"),
    ("node", "bb3ed2c9753a4564a88a06c8a63ee112"),
    ("history", "1f471c6327014d18bbfd55ed3e059d01"),
    ("drill", "e91c3b6f4a6c66e53c91bb82a6c4f978"),
];

impl Keys {
    /// The journal's message id of changes of this kind: 32 hexadecimal digits.
    pub fn message_id(&self) -> &'static str {
        let found = MESSAGE_IDS.iter().find(|(kind, _)| *kind == self.kind);
        found.map_or("", |(_, id)| id)
    }

    /// The keys as fields of a log line: names as in JSON, and values.
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = vec![
            ("kind", self.kind.to_owned()),
            ("event", self.event.to_owned()),
            ("message_id", self.message_id().to_owned()),
        ];
        let more = [
            ("service", self.service.clone()),
            ("region", self.region.clone()),
            ("endpoint", self.endpoint.clone()),
            ("check", self.check.clone()),
            (
                "family",
                self.family.map(|family| family.as_label().to_owned()),
            ),
            ("old", self.old.clone().map(Cow::into_owned)),
            ("new", self.new.clone().map(Cow::into_owned)),
            ("override", self.r#override.map(|number| number.to_string())),
            ("by", self.by.clone()),
        ];
        for (name, value) in more {
            fields.extend(value.map(|value| (name, value)));
        }
        fields
    }

    /// True where the change is about the service of owner name `name`, or about one below it, such
    /// as a unit. Letter case and the final dot do not matter.
    pub fn is_of_service(&self, name: &str) -> bool {
        let Some(service) = &self.service else {
            return false;
        };
        let (service, name) = (bare(service), bare(name));
        let Some(at) = service.len().checked_sub(name.len()) else {
            return false;
        };
        // Names of services are ASCII; others have no such boundary, and equal nothing.
        service
            .get(at..)
            .is_some_and(|end| end.eq_ignore_ascii_case(name))
            && (at == 0 || service.as_bytes()[at - 1] == b'.')
    }

    /// True where the change is about the region of this name.
    pub fn is_in_region(&self, name: &str) -> bool {
        let regions = self.region.as_deref().unwrap_or_default();
        regions.split(',').any(|region| region == name)
    }
}

/// A name without its final dot.
fn bare(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

impl Event {
    /// The names that it is about, and its states.
    pub fn keys(&self) -> Keys {
        let [kind, event] = self.labels();
        let severity = match self.is_warning() {
            true => Severity::Warning,
            false => Severity::Info,
        };
        let mut keys = Keys {
            kind,
            event,
            severity,
            service: None,
            region: None,
            endpoint: None,
            check: None,
            family: None,
            old: None,
            new: None,
            r#override: None,
            by: None,
        };
        match self {
            Event::Endpoint(endpoint) => keys.take_endpoint(endpoint),
            Event::Pool(pool) => keys.take_pool(pool),
            Event::Service(service) => keys.take_service(service),
            Event::Override(overrides::Event::Changed { own, .. }) => keys.take_override(own),
            Event::Override(overrides::Event::LossAccepted { .. }) => {}
            Event::Acme(event) => keys.take_acme(event),
            Event::Unit(unit) => keys.take_unit(unit),
            Event::Node(NodeChange::Isolated) => keys.between("connected", "isolated"),
            Event::Node(NodeChange::IsolationEnded(_)) => keys.between("isolated", "connected"),
            Event::History(HistoryChange::NotPersisted(_)) => {
                keys.between("persisted", "not_persisted");
            }
            Event::History(HistoryChange::Persisted) => keys.between("not_persisted", "persisted"),
            Event::Drill(drill) => {
                keys.by = Some(drill.by.clone());
                keys.new = Some(event.into());
            }
        }
        keys
    }
}

impl Keys {
    fn between(&mut self, old: &'static str, new: &'static str) {
        (self.old, self.new) = (Some(old.into()), Some(new.into()));
    }

    fn take_endpoint(&mut self, endpoint: &EndpointChange) {
        self.endpoint = Some(endpoint.target.clone());
        self.check = Some(endpoint.check.clone());
        match &endpoint.change {
            EndpointEvent::Health {
                old, new, regions, ..
            } => {
                self.region = (!regions.is_empty()).then(|| regions.join(","));
                self.between(verdict(*old), verdict(*new));
            }
            EndpointEvent::Warning(Some(_)) => self.new = Some("warning".into()),
            EndpointEvent::Warning(None) => self.old = Some("warning".into()),
            EndpointEvent::Flapping { .. } => self.new = Some("flapping".into()),
            EndpointEvent::FlappingEnded => self.between("flapping", "down"),
            EndpointEvent::WatchGivenUp => self.between("watched", "not_watched"),
        }
    }

    fn take_pool(&mut self, pool: &PoolChange) {
        self.service = Some(pool.service.clone());
        self.region = Some(pool.region.clone());
        match &pool.change {
            PoolEvent::Availability { family, old, new } => {
                self.family = Some(*family);
                self.between(old.as_label(), new.as_label());
            }
            PoolEvent::RampBegan(_) => self.new = Some("ramping".into()),
            PoolEvent::RampEnded => self.between("ramping", "in_use"),
            PoolEvent::Resumed => self.between("held", "resumed"),
        }
    }

    fn take_service(&mut self, change: &ServiceChange) {
        self.service = Some(change.service.clone());
        self.family = Some(change.family);
        self.between(change.old.as_label(), change.new.as_label());
    }

    fn take_override(&mut self, own: &Override) {
        self.r#override = Some(own.id);
        self.by = Some(own.by.clone());
        self.new = Some(self.event.into());
        match &own.scope {
            Scope::Endpoint { service, target } => {
                self.service.clone_from(service);
                self.endpoint = Some(target.clone());
            }
            Scope::Pool { service, region } => {
                self.service = Some(service.clone());
                self.region = Some(region.clone());
            }
            Scope::Service(name) => self.service = Some(name.clone()),
            Scope::Region(name) => self.region = Some(name.clone()),
            // The files say which regions these are, and a change outlives the files.
            Scope::Metro(_) | Scope::Label(..) => {}
        }
    }

    fn take_acme(&mut self, event: &acme::Event) {
        let Challenge { subject, by, .. } = &event.challenge;
        self.service = Some(subject.to_string());
        self.by = Some(match &event.change {
            ChallengeChange::Cleared(by) => by.clone(),
            ChallengeChange::Set | ChallengeChange::Renewed | ChallengeChange::Ended => by.clone(),
        });
        self.new = Some(self.event.into());
    }

    fn take_unit(&mut self, event: &units::Event) {
        self.service = event.unit().map(str::to_owned);
        match event {
            units::Event::Fenced { owner, next, .. } => {
                self.region = Some(next.clone());
                self.old = owner.clone().map(Cow::Owned);
                self.new = Some("fenced".into());
            }
            units::Event::Redirected { next, old, .. } => {
                self.region = Some(next.clone());
                (self.old, self.new) = (Some(old.clone().into()), Some(next.clone().into()));
            }
            units::Event::Owned { owner, .. } => {
                self.region = Some(owner.clone());
                (self.old, self.new) = (Some("fenced".into()), Some(owner.clone().into()));
            }
            units::Event::Stranded { owner, .. } => {
                self.region = Some(owner.clone());
                self.new = Some("stranded".into());
            }
            units::Event::Unknown { .. } | units::Event::Foreign { .. } => {}
            units::Event::Frozen { .. } | units::Event::NotWritten { .. } => {
                self.new = Some("frozen".into());
            }
            units::Event::Written => self.between("frozen", "written"),
        }
    }
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Up => "up",
        Verdict::Down => "down",
    }
}

impl PoolState {
    /// Its name in documents: that of its rung, or why it stands aside.
    pub fn as_label(self) -> &'static str {
        match self.rung {
            // As in the sentence: different people bring held and drained pools back.
            _ if self.held => "held",
            Rung::Standby if self.drained => "drained",
            rung if rung >= Rung::AsIfUp => "down",
            rung => rung.as_label(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::tests::of_every_kind;
    use crate::model::CHANGE_KINDS;

    #[test]
    fn every_change_has_keys_that_are_no_prose() {
        for event in of_every_kind() {
            let keys = event.keys();
            let all = [
                Some(keys.kind.to_owned()),
                Some(keys.event.to_owned()),
                keys.old.clone().map(Cow::into_owned),
                keys.new.clone().map(Cow::into_owned),
            ];
            assert!(CHANGE_KINDS.contains(&keys.kind));
            assert_eq!(keys.message_id().len(), 32);
            for key in all.into_iter().flatten() {
                assert!(!key.is_empty() && !key.contains(' '), "{keys:?}");
            }
            let json = serde_json::to_value(&keys).unwrap();
            assert!(
                json.as_object()
                    .unwrap()
                    .values()
                    .all(|value| !value.is_null())
            );
        }
    }

    #[test]
    fn a_service_is_meant_by_its_name_and_by_one_above_it() {
        let event = of_every_kind().into_iter().find_map(|event| match event {
            Event::Pool(pool) => Some(Event::Pool(PoolChange {
                service: "07.orders.gtm.example.".to_owned(),
                ..pool
            })),
            _ => None,
        });
        let keys = event.expect("a pool").keys();
        for name in ["07.orders.gtm.example.", "orders.GTM.example", "example"] {
            assert!(keys.is_of_service(name), "{name}");
        }
        for name in ["rders.gtm.example", "8.07.orders.gtm.example", "gtm", "é"] {
            assert!(!keys.is_of_service(name), "{name}");
        }
    }
}
