//! Chains of CNAMEs that come back to where they were, through static records, wildcards and services.

use std::collections::HashSet;

use super::Report;
use super::index::{Index, Kinds, Place};
use crate::dns::MAX_NAME;
use crate::model::{Service, Target};

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

fn aliases(index: &Index<'_>) -> Vec<usize> {
    let owners = index
        .owners
        .iter()
        .enumerate()
        .filter(|(_, owner)| owner.kinds.any(Kinds::CNAME))
        .map(|(at, _)| at);
    let services = index.zone.services.iter().enumerate();
    let has_name = |service: &Service| targets(service).next().is_some();
    owners
        .chain(
            services
                .filter(|(_, service)| has_name(service))
                .map(|(at, _)| index.owners.len() + at),
        )
        .collect()
}

/// The aliases that an alias points at.
fn edges(index: &Index<'_>, node: usize) -> Vec<usize> {
    let follow = |target: &[u8]| {
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
    };
    match index.owners.get(node) {
        Some(owner) => index
            .first_of(owner, Kinds::CNAME)
            .and_then(|record| follow(record.rdata))
            .into_iter()
            .collect(),
        None => {
            let mut edges: Vec<usize> = targets(&index.zone.services[node - index.owners.len()])
                .filter_map(follow)
                .collect();
            edges.sort_unstable();
            edges.dedup();
            edges
        }
    }
}

/// The CNAME endpoints of a service.
fn targets(service: &Service) -> impl Iterator<Item = &[u8]> {
    service
        .pools
        .iter()
        .flat_map(|pool| &pool.endpoints)
        .filter_map(|endpoint| match &endpoint.target {
            Target::Name(name) => Some(name.as_wire()),
            Target::Address(_) => None,
        })
}

/// Reports DNAMEs that rename a name for ever, or until it is too long.
pub(super) fn dname_loop(index: &Index<'_>, report: &mut Report<'_>) {
    if !index.has_dnames {
        return;
    }
    let mut reported: HashSet<&[u8]> = HashSet::new();
    for (at, owner) in index
        .owners
        .iter()
        .enumerate()
        .filter(|(_, owner)| owner.kinds.any(Kinds::DNAME))
    {
        let Some(record) = index
            .first_of(owner, Kinds::DNAME)
            .filter(|_| index.cut_of_owner(at).is_none())
        else {
            continue;
        };
        // A label that nobody writes stands for all names below the DNAME.
        let Err(chain) = renamed(index, [&[1, 0], record.rdata].concat()) else {
            continue;
        };
        if reported.insert(record.owner)
            && !chain
                .iter()
                .any(|name| reported.contains(name) && *name != record.owner)
        {
            report.add(|| {
                let names = std::iter::once(record.owner).chain(chain.iter().copied());
                let mut names: Vec<String> =
                    names.take(SHOWN).map(|name| index.shown(name)).collect();
                if chain.len() >= SHOWN {
                    names.push("…".to_owned());
                }
                let message = format!("DNAMEs that never come to an end: {}", names.join(" → "));
                index.at_record(
                    &record,
                    message,
                    "one of them must lead to names that no DNAME renames",
                )
            });
        }
    }
}

/// What DNAMEs make of `name` at last. The error is the owners of those that rename it again and again.
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

fn report_loop(index: &Index<'_>, report: &mut Report<'_>, nodes: &[usize]) {
    let name = |node: usize| match index.owners.get(node) {
        Some(owner) => index.shown(index.owner_name(owner)),
        None => format!(
            "service {}",
            index.shown(
                index.zone.services[node - index.owners.len()]
                    .name
                    .as_wire()
            )
        ),
    };
    report.add(|| {
        let mut names: Vec<String> = nodes.iter().take(SHOWN).map(|node| name(*node)).collect();
        if nodes.len() > SHOWN {
            names.push("…".to_owned());
        }
        names.push(name(nodes[0]));
        let message = format!("a loop of CNAMEs: {}", names.join(" → "));
        const HINT: &str = "one of them must lead to an address";
        match index
            .owners
            .get(nodes[0])
            .and_then(|owner| index.first_of(owner, Kinds::CNAME))
        {
            Some(record) => index.at_record(&record, message, HINT),
            None => index.at_service(
                &index.zone.services[nodes[0] - index.owners.len()],
                message,
                HINT,
            ),
        }
    });
}
