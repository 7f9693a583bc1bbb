//! The log lines of changes that happen together: one for each, or one for all the services that
//! the same happens to.

use std::collections::HashMap;

use super::{Change, Event, Keys};

/// The most services that are named one by one when the same happens to many at once. A region that
/// fails under ten thousand services is one event, and ten thousand lines would hide it.
const NAMED: usize = 10;

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// True for a line that an operator should look at.
    pub is_warning: bool,
    /// The sentence.
    pub sentence: String,
    /// The keys of the change; of several, those that they have in common.
    pub keys: Keys,
}

/// The lines for `changes`, in their order, of which `sentences` are the sentences. Of the same
/// change of many services, the first few have a line each, and the others one together at the end.
pub fn lines(changes: &[Change], sentences: &[String]) -> Vec<Line> {
    let mut lines = Vec::new();
    // By what is left of a sentence without the service's name: the number of such changes.
    let mut alike: HashMap<String, usize> = HashMap::new();
    let mut collapsed: Vec<Line> = Vec::new();
    for (change, sentence) in changes.iter().zip(sentences) {
        let is_warning = change.is_warning();
        // Two changes are alike where their sentences are, but for the name: old and new state, region
        // and family are in them.
        let Some(rest) = without_service(&change.event, sentence) else {
            lines.push(Line {
                is_warning,
                sentence: sentence.clone(),
                keys: change.event.keys(),
            });
            continue;
        };
        // Looked up first: `entry` would copy the sentence for each of thousands of changes.
        let count = match alike.get_mut(rest) {
            Some(count) => count,
            None => alike.entry(rest.to_owned()).or_default(),
        };
        *count += 1;
        if *count == NAMED + 1 {
            let keys = change.event.keys();
            collapsed.push(Line {
                is_warning,
                sentence: rest.to_owned(),
                keys: Keys {
                    service: None,
                    ..keys
                },
            });
        }
        if *count <= NAMED {
            lines.push(Line {
                is_warning,
                sentence: sentence.clone(),
                keys: change.event.keys(),
            });
        }
    }
    for mut line in collapsed {
        // The first few have lines of their own, so that an operator sees names to look for.
        let more = alike[&line.sentence] - NAMED;
        line.sentence = format!("and {more} more:{}", line.sentence);
        lines.push(line);
    }
    lines
}

/// The part of the sentence about a service, one of its pools, or a unit, that follows its name.
fn without_service<'s>(event: &Event, sentence: &'s str) -> Option<&'s str> {
    let (object, name) = match event {
        Event::Pool(pool) => ("service ", pool.service.as_str()),
        Event::Service(service) => ("service ", service.service.as_str()),
        Event::Unit(unit) => ("unit ", unit.unit()?),
        Event::Endpoint(_)
        | Event::Override(_)
        | Event::Acme(_)
        | Event::Node(_)
        | Event::History(_)
        | Event::Drill(_) => return None,
    };
    sentence.strip_prefix(object)?.strip_prefix(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::{NodeChange, PoolChange, PoolEvent, PoolState};
    use crate::model::{Family, WallTime};
    use crate::steer::Rung;

    fn rendered(events: Vec<Event>) -> Vec<Line> {
        let changes: Vec<Change> = (1..)
            .zip(events)
            .map(|(number, event)| Change { number, event })
            .collect();
        let sentence = |change: &Change| change.sentence(WallTime::default()).to_string();
        let sentences: Vec<String> = changes.iter().map(sentence).collect();
        lines(&changes, &sentences)
    }

    fn pool(service: usize, region: &str, new: Rung) -> Event {
        let state = |rung| PoolState {
            rung,
            held: false,
            drained: false,
        };
        Event::Pool(PoolChange {
            service: format!("s{service}.example."),
            region: region.to_owned(),
            change: PoolEvent::Availability {
                family: Family::V4,
                old: state(Rung::Up),
                new: state(new),
            },
        })
    }

    #[test]
    fn few_services_are_all_named() {
        let changes = (0..NAMED).map(|service| pool(service, "dublin", Rung::AsIfUp));
        let lines = rendered(changes.collect());
        assert_eq!(lines.len(), NAMED);
        assert_eq!(
            lines[1].sentence,
            "service s1.example. A region dublin is down, was up"
        );
    }

    #[test]
    fn a_region_that_fails_under_many_services_takes_few_lines() {
        let mut changes = vec![Event::Node(NodeChange::Isolated)];
        changes.extend((0..10_000).flat_map(|service| {
            let tokyo = if service == 0 {
                Rung::Survivors
            } else {
                Rung::AsIfUp
            };
            [
                pool(service, "dublin", Rung::AsIfUp),
                pool(service, "tokyo", tokyo),
            ]
        }));
        let lines = rendered(changes);
        assert_eq!(lines.len(), 1 + 2 * NAMED + 1 + 2);
        assert!(lines.iter().all(|line| line.is_warning));
        assert_eq!(
            lines[lines.len() - 2].sentence,
            "and 9990 more: A region dublin is down, was up"
        );
        assert_eq!(
            lines[lines.len() - 1].sentence,
            "and 9989 more: A region tokyo is down, was up"
        );
    }
}
