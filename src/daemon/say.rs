//! The log of what changed: one sentence each, and one for all the services that the same happens to.

use std::collections::HashMap;

use crate::model::WallTime;
use crate::publisher::{Change, Effect};

/// Services named one by one when the same happens to many at once. A region that fails under ten
/// thousand services is one event, and ten thousand lines would hide it.
const NAMED: usize = 10;

/// Logs what `effects` say, in their order, with times as `wall` reads them.
pub(super) fn say(effects: &[Effect], wall: WallTime) {
    for (is_bad, sentence) in sentences(effects, wall) {
        if is_bad {
            tracing::warn!("{sentence}");
        } else {
            tracing::info!("{sentence}");
        }
    }
}

/// The sentences, and whether each is of something to look at.
fn sentences(effects: &[Effect], wall: WallTime) -> Vec<(bool, String)> {
    let mut sentences = Vec::new();
    // By what happens: how many services it happens to.
    let mut alike: HashMap<String, usize> = HashMap::new();
    let mut others: Vec<(bool, String)> = Vec::new();
    for change in effects.iter().filter_map(said) {
        let sentence = change.show(wall).to_string();
        let Some(what) = without_service(change, &sentence) else {
            sentences.push((change.is_bad(), sentence));
            continue;
        };
        match alike.get_mut(what) {
            Some(count) => *count += 1,
            None => drop(alike.insert(what.to_owned(), 1)),
        }
        match alike[what] {
            ..=NAMED => sentences.push((change.is_bad(), sentence)),
            count if count == NAMED + 1 => others.push((change.is_bad(), what.to_owned())),
            _ => {}
        }
    }
    let count = |what: &str| alike[what] - NAMED;
    sentences.extend(
        others
            .into_iter()
            .map(|(is_bad, what)| (is_bad, format!("and {} more:{what}", count(&what)))),
    );
    sentences
}

fn said(effect: &Effect) -> Option<&Change> {
    match effect {
        Effect::Say(change) => Some(change),
        Effect::Publish(_) | Effect::Commit(_) | Effect::Answer { .. } => None,
    }
}

/// What follows the name in the sentence about a service, one of its pools, or a unit.
fn without_service<'s>(change: &Change, sentence: &'s str) -> Option<&'s str> {
    match change {
        Change::Pool { service, .. }
        | Change::Service { service, .. }
        | Change::Resumed { service, .. }
        | Change::RampBegan { service, .. }
        | Change::RampEnded { service, .. } => sentence
            .strip_prefix("service ")?
            .strip_prefix(service.as_str()),
        Change::Unit(event) => sentence.strip_prefix("unit ")?.strip_prefix(event.unit()?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publisher::Stand;
    use crate::steer::Rung;

    fn pool(service: usize, region: &str, new: Rung) -> Effect {
        let (service, region) = (format!("s{service}.example."), region.to_owned());
        let stand = |rung| Stand {
            rung,
            held: false,
            drained: false,
        };
        Effect::Say(Change::Pool {
            service,
            region,
            family: "A",
            old: stand(Rung::Up),
            new: stand(new),
        })
    }

    fn said_of(effects: &[Effect]) -> Vec<String> {
        sentences(effects, WallTime::default())
            .into_iter()
            .map(|(_, sentence)| sentence)
            .collect()
    }

    #[test]
    fn few_services_are_all_named() {
        let effects: Vec<Effect> = (0..NAMED)
            .map(|service| pool(service, "dublin", Rung::AsIfUp))
            .collect();
        let said = said_of(&effects);
        assert_eq!(said.len(), NAMED);
        assert_eq!(
            said[1],
            "service s1.example. A region dublin is down, was up"
        );
    }

    #[test]
    fn a_region_that_fails_under_many_services_takes_few_lines() {
        let mut effects = vec![Effect::Say(Change::IsolationBegan)];
        effects.extend((0..10_000).flat_map(|service| {
            [
                pool(service, "dublin", Rung::AsIfUp),
                pool(
                    service,
                    "tokyo",
                    if service == 0 {
                        Rung::Survivors
                    } else {
                        Rung::AsIfUp
                    },
                ),
            ]
        }));
        let said = sentences(&effects, WallTime::default());
        assert_eq!(said.len(), 1 + 2 * NAMED + 1 + 2);
        assert!(said.iter().all(|(is_bad, _)| *is_bad));
        assert_eq!(
            said[said.len() - 2].1,
            "and 9990 more: A region dublin is down, was up"
        );
        assert_eq!(
            said[said.len() - 1].1,
            "and 9989 more: A region tokyo is down, was up"
        );
    }
}
