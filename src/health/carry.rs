//! Rules for the history that a target keeps across a reload, and across a restart.
//!
//! Ids are dense and change with the files; what stays is the (check definition, address) pair.

use std::collections::HashMap;

use super::Key;
use crate::model::{Target, TargetId};

/// The state that a target of the new configuration takes from the old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carry {
    /// Nothing: it was not probed before.
    New,
    /// Everything: the same check definition on the same address.
    Same(TargetId),
    /// The last verdict, until its first outcome: the check of that name was changed.
    Changed(TargetId),
}

/// For each of the `new` targets, in their order, what it takes from the `old` ones.
///
/// A check that was only renamed is the same; where several fit, the one of the same name does.
pub fn match_targets(old: &[Key], new: &[Key]) -> Vec<Carry> {
    let mut by_target: HashMap<&Target, Vec<TargetId>> = HashMap::with_capacity(old.len());
    for (index, key) in old.iter().enumerate() {
        by_target
            .entry(&key.target)
            .or_default()
            .push(TargetId::from_index(index));
    }
    let mut carries = Vec::with_capacity(new.len());
    for key in new {
        let candidates = by_target.get(&key.target).map_or(&[][..], Vec::as_slice);
        carries.push(carry(key, old, candidates));
    }
    carries
}

/// The state that `new` takes from its `candidates`: those of the `old` targets with its address.
fn carry(new: &Key, old: &[Key], candidates: &[TargetId]) -> Carry {
    let (mut named, mut same) = (None, None);
    for id in candidates {
        let old = &old[id.index()];
        if old.check == new.check && named.is_none() {
            named = Some(*id);
        }
        if old.definition == new.definition && same.is_none() {
            same = Some(*id);
        }
    }
    match (named, same) {
        // Two checks may probe alike under different flap rules or names: each keeps its own state.
        (Some(id), _) if old[id.index()].definition == new.definition => Carry::Same(id),
        // The definition judged the state; a name is only what operators call it.
        (_, Some(id)) => Carry::Same(id),
        (Some(id), None) => Carry::Changed(id),
        (None, None) => Carry::New,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{CheckId, CheckKind, CheckSpec, ProbeTarget, TcpSpec};

    fn check(name: &str, port: u16) -> CheckSpec {
        CheckSpec {
            name: name.into(),
            kind: CheckKind::Tcp(TcpSpec::default()),
            address: None,
            port,
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            fall: 3,
            rise: 4,
            forgive: 5,
            fall_refused: 3,
            recheck: Duration::from_millis(500),
            recheck_up: false,
            watch: false,
            flap: None,
        }
    }

    fn target(check: u16, address: &str) -> ProbeTarget {
        ProbeTarget {
            check: CheckId(check),
            target: Target::Address(address.parse().unwrap()),
        }
    }

    #[test]
    fn history_follows_definition_and_address() {
        let old = (
            [check("mail", 25), check("web", 80)],
            [target(0, "192.0.2.1"), target(1, "192.0.2.1")],
        );
        let new = (
            [check("added", 9), check("post", 25), check("web", 8080)],
            [
                target(2, "192.0.2.1"),
                target(1, "192.0.2.1"),
                target(1, "192.0.2.2"),
                target(0, "192.0.2.1"),
            ],
        );
        assert_eq!(
            match_targets(&Key::all(&old.0, &old.1), &Key::all(&new.0, &new.1)),
            [
                Carry::Changed(TargetId(1)),
                Carry::Same(TargetId(0)),
                Carry::New,
                Carry::New
            ]
        );
    }

    #[test]
    fn the_same_name_is_preferred_among_equal_definitions() {
        let checks = [check("a", 80), check("b", 80)];
        let targets = [target(0, "192.0.2.1"), target(1, "192.0.2.1")];
        let swapped = [target(1, "192.0.2.1"), target(0, "192.0.2.1")];
        assert_eq!(
            match_targets(&Key::all(&checks, &targets), &Key::all(&checks, &swapped)),
            [Carry::Same(TargetId(1)), Carry::Same(TargetId(0))]
        );
    }
}
