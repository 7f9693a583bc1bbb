//! Chains of CNAMEs that come back to where they were, through static records, wildcards and
//! services.

use std::collections::HashSet;

use super::Report;
use super::index::{Index, Kinds, Place};
use super::targets::target_names;
use crate::dns::MAX_NAME;

/// DNAMEs that one name goes through: no resolver follows as many.
const MAX_RENAMED: usize = 64;
/// Names of a loop that its message shows.
const SHOWN: usize = 8;

#[derive(Clone, Copy, PartialEq)]
enum Mark {
    New,
    /// At this place of the path.
    OnPath(usize),
    Done,
}

/// Walks the graph of aliases depth first. Nodes are owners, then services; its edges lead from a
/// CNAME or CNAME endpoint to the alias its target is.
pub(super) fn cname_loop(index: &Index<'_>, report: &mut Report<'_>) {
    let aliases = aliases(index);
    if aliases.is_empty() {
        return;
    }
    let mut marks = vec![Mark::New; index.owners.len() + index.zone.services.len()];
    for start in aliases {
        if marks[start] != Mark::New {
            continue;
        }
        // A path of its own rather than recursion: a chain may be as long as the zone.
        let mut path = vec![(start, edges(index, start))];
        marks[start] = Mark::OnPath(0);
        while let Some((node, rest)) = path.last_mut() {
            let Some(next) = rest.pop() else {
                marks[*node] = Mark::Done;
                path.pop();
                continue;
            };
            match marks[next] {
                Mark::New => {
                    marks[next] = Mark::OnPath(path.len());
                    path.push((next, edges(index, next)));
                }
                Mark::OnPath(from) => {
                    let nodes: Vec<usize> = path[from..]
                        .iter()
                        .map(|(node, _)| *node)
                        .take(SHOWN + 1)
                        .collect();
                    report_loop(index, report, &nodes);
                }
                Mark::Done => {}
            }
        }
    }
}

/// The nodes with a CNAME, or with a CNAME endpoint.
fn aliases(index: &Index<'_>) -> Vec<usize> {
    let mut aliases = Vec::new();
    for (at, owner) in index.owners.iter().enumerate() {
        if owner.kinds.any(Kinds::CNAME) {
            aliases.push(at);
        }
    }
    for (at, service) in index.zone.services.iter().enumerate() {
        if target_names(service).next().is_some() {
            aliases.push(index.owners.len() + at);
        }
    }
    aliases
}

/// The aliases that an alias points at, each once.
fn edges(index: &Index<'_>, node: usize) -> Vec<usize> {
    let mut edges = Vec::new();
    match index.owners.get(node) {
        Some(owner) => {
            if let Some(record) = index.first_of(owner, Kinds::CNAME) {
                edges.extend(alias_at(index, record.rdata));
            }
        }
        None => {
            for target in target_names(&index.zone.services[node - index.owners.len()]) {
                edges.extend(alias_at(index, target.as_wire()));
            }
        }
    }
    edges.sort_unstable();
    edges.dedup();
    edges
}

/// The node that a target comes to in the end, where that is an alias.
fn alias_at(index: &Index<'_>, target: &[u8]) -> Option<usize> {
    let end = renamed(index, target.to_vec()).ok()?;
    match index.resolve(&end) {
        Place::Found {
            owner: Some((at, owner)),
            ..
        } if owner.kinds.any(Kinds::CNAME) => Some(at),
        Place::Found {
            service: Some((at, _)),
            ..
        } => Some(index.owners.len() + at),
        _ => None,
    }
}

/// Reports DNAMEs that rename a name for ever, or until it is too long.
pub(super) fn dname_loop(index: &Index<'_>, report: &mut Report<'_>) {
    if !index.has_dnames {
        return;
    }
    let mut reported: HashSet<&[u8]> = HashSet::new();
    for (at, owner) in index.owners.iter().enumerate() {
        if !owner.kinds.any(Kinds::DNAME) || index.cut_of_owner(at).is_some() {
            continue;
        }
        let Some(record) = index.first_of(owner, Kinds::DNAME) else {
            continue;
        };
        // A label that nobody writes stands for all names below the DNAME.
        let Err(chain) = renamed(index, [&[1, 0], record.rdata].concat()) else {
            continue;
        };
        if !reported.insert(record.owner) {
            continue;
        }
        // One message for the DNAMEs of one loop.
        let is_known = |name: &&[u8]| reported.contains(name) && *name != record.owner;
        if chain.iter().any(is_known) {
            continue;
        }
        report.add(|| {
            let mut names = vec![index.shown(record.owner)];
            for name in chain.iter().take(SHOWN - 1) {
                names.push(index.shown(name));
            }
            if chain.len() >= SHOWN {
                names.push("…".to_owned());
            }
            let message = format!("the DNAMEs rename names endlessly: {}", names.join(" → "));
            let hint = "point one of them at names that no DNAME renames";
            index.at_record(&record, message, hint)
        });
    }
}

/// The name that DNAMEs make of `name` at last. The error is the owners of those that rename it
/// again and again.
fn renamed<'a>(index: &Index<'a>, mut name: Vec<u8>) -> Result<Vec<u8>, Vec<&'a [u8]>> {
    let mut chain: Vec<&[u8]> = Vec::new();
    let mut seen = Vec::new();
    while let Place::Renamed = index.resolve(&name) {
        let dname = index.dname_above(&name).and_then(|dname| index.find(dname));
        let Some(record) = dname.and_then(|(_, owner)| index.first_of(owner, Kinds::DNAME)) else {
            break;
        };
        chain.push(record.owner);
        let next = [&name[..name.len() - record.owner.len()], record.rdata].concat();
        seen.push(std::mem::replace(&mut name, next));
        if name.len() > MAX_NAME
            || seen.len() > MAX_RENAMED
            || seen.iter().any(|seen| seen.eq_ignore_ascii_case(&name))
        {
            return Err(chain);
        }
    }
    Ok(name)
}

/// Reports a loop at its first node; there are more of them than are shown where `nodes` are.
fn report_loop(index: &Index<'_>, report: &mut Report<'_>, nodes: &[usize]) {
    report.add(|| {
        let mut names = Vec::new();
        for node in nodes.iter().take(SHOWN) {
            names.push(node_name(index, *node));
        }
        if nodes.len() > SHOWN {
            names.push("…".to_owned());
        }
        names.push(node_name(index, nodes[0]));
        let message = format!("the CNAMEs form a loop: {}", names.join(" → "));
        const HINT: &str = "point one of them at a name with addresses";
        let Some(owner) = index.owners.get(nodes[0]) else {
            let service = &index.zone.services[nodes[0] - index.owners.len()];
            return index.at_service(service, message, HINT);
        };
        let record = index.first_of(owner, Kinds::CNAME);
        let record = record.expect("an owner on a loop has a CNAME");
        index.at_record(&record, message, HINT)
    });
}

fn node_name(index: &Index<'_>, node: usize) -> String {
    match index.owners.get(node) {
        Some(owner) => index.shown(index.owner_name(owner)),
        None => {
            let service = &index.zone.services[node - index.owners.len()];
            format!("service {}", index.shown(service.name.as_wire()))
        }
    }
}
