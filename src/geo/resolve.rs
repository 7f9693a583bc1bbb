//! The rules: what a map says about one client.
//!
//! A client is what is known about it: the innermost entry of `networks` around it, its AS number,
//! its location. The tables ask once for each distinct client, `why` asks for one; both ask here.

use std::hash::Hash;

use super::FastMap;
use super::distance::{Point, biased};
use super::location::Location;
use super::networks::Nesting;
use crate::model::{Entry, MapSpec, Prefix, Region, RegionId, RegionOrder, RegionSet};

/// Source of a map that gave a client its order. The names are those of `why`'s `located_by`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// The longest matching prefix of `networks`.
    Network,
    /// The AS number.
    Asn,
    /// The ISO 3166-2 subdivision.
    Subdivision,
    /// The country.
    Country,
    /// The continent.
    Continent,
    /// The great circle.
    Distance,
    /// No entry for the client; the map's `rest` decided.
    Rest,
    /// No entry for the client, and the map has no `rest`: the order of the names.
    None,
}

impl Source {
    /// The name in `why`.
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Network => "network",
            Source::Asn => "asn",
            Source::Subdivision => "subdivision",
            Source::Country => "country",
            Source::Continent => "continent",
            Source::Distance => "distance",
            Source::Rest => "rest",
            Source::None => "none",
        }
    }
}

/// The known data about a client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Client<'a> {
    /// The innermost entry of `networks` around it, an index into them.
    pub(super) network: Option<usize>,
    pub(super) asn: Option<u32>,
    pub(super) location: &'a Location,
}

/// Resolves clients, and numbers the distinct orders they get.
pub(super) struct Resolver<'a> {
    spec: &'a MapSpec,
    regions: &'a [Region],
    pub(super) nesting: Nesting,
    /// Coordinates of the regions that have some.
    points: Vec<Option<Point>>,
    /// By region: its metro, an index into `members`; a region without one is its own.
    metros: Vec<usize>,
    /// By metro: its regions in the order of their ids.
    members: Vec<Vec<RegionId>>,
    /// The distinct orders, by id.
    pub(super) orders: Vec<RegionOrder>,
    ids: FastMap<RegionOrder, u32>,
    /// The orders by what they start with: many clients share it, and completing it takes longer.
    completed: FastMap<Head, u32>,
}

/// A source's part of an order: its first steps, and the border.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Head {
    steps: Vec<Vec<RegionId>>,
    border: Option<Vec<RegionId>>,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(spec: &'a MapSpec, regions: &'a [Region]) -> Resolver<'a> {
        let prefixes: Vec<Prefix> = spec.networks.iter().map(|(prefix, _)| *prefix).collect();
        let (metros, members) = metros(regions);
        Resolver {
            spec,
            regions,
            nesting: Nesting::new(&prefixes),
            points: regions
                .iter()
                .map(|region| region.coordinates.map(Point::from))
                .collect(),
            metros,
            members,
            orders: Vec::new(),
            ids: FastMap::default(),
            completed: FastMap::default(),
        }
    }

    /// The id of the client's order, and the source it comes from.
    pub(super) fn resolve(&mut self, client: Client<'_>) -> (u32, Source) {
        let (head, source) = self.head(client);
        if let Some(id) = self.completed.get(&head) {
            return (*id, source);
        }
        let order = self.complete(&head);
        let id = *self.ids.entry(order).or_insert_with_key(|order| {
            self.orders.push(order.clone());
            u32::try_from(self.orders.len() - 1).expect("memory has room for fewer orders")
        });
        self.completed.insert(head, id);
        (id, source)
    }

    /// The entries that match the client, most specific first.
    fn matching(&self, client: Client<'_>) -> impl Iterator<Item = (Source, &'a Entry)> {
        let (spec, location) = (self.spec, client.location);
        let networks = self
            .nesting
            .outwards(client.network)
            .map(move |i| (Source::Network, &spec.networks[i].1));
        let asn = client
            .asn
            .and_then(|asn| Some((Source::Asn, spec.asns.get(&asn)?)));
        let subdivisions = [location.subdivision, location.wider_subdivision]
            .into_iter()
            .flatten()
            .filter_map(|code| Some((Source::Subdivision, spec.subdivisions.get(code.as_str())?)));
        let country = location
            .country
            .and_then(|code| Some((Source::Country, spec.countries.get(code.as_str())?)));
        let continent = location
            .continent
            .and_then(|code| Some((Source::Continent, spec.continents.get(code.as_str())?)));
        networks
            .chain(asn)
            .chain(subdivisions)
            .chain(country)
            .chain(continent)
    }

    /// "The first source with an entry for the client gives the order; every matching source's
    /// `only` restricts, and a more specific one replaces a less specific one."
    fn head(&self, client: Client<'_>) -> (Head, Source) {
        let mut matching = self.matching(client);
        if let Some((source, entry)) = matching.next() {
            // The chain goes from the most specific entry outwards, so the first `only` in it is
            // the one that counts; a preference on the way restricts nothing.
            let border = std::iter::once(entry)
                .chain(matching.map(|(_, entry)| entry))
                .find_map(|entry| match entry {
                    Entry::Only(regions) => Some(regions.clone()),
                    Entry::Prefer(_) => None,
                });
            let steps = entry.regions().iter().map(|region| vec![*region]).collect();
            return (Head { steps, border }, source);
        }
        let steps = self.by_distance(client.location);
        let source = match (steps.is_empty(), self.spec.rest.is_empty()) {
            (false, _) => Source::Distance,
            (true, false) => Source::Rest,
            (true, true) => Source::None,
        };
        (
            Head {
                steps,
                border: None,
            },
            source,
        )
    }

    /// The first `distance_steps` steps by distance; empty where the map does not go by it, or
    /// coordinates are missing.
    fn by_distance(&self, location: &Location) -> Vec<Vec<RegionId>> {
        let (true, Some(coordinates)) = (self.spec.by_distance, location.coordinates) else {
            return Vec::new();
        };
        let client = Point::from(coordinates);
        let mut ranked: Vec<(f64, RegionId)> = Vec::with_capacity(self.regions.len());
        for (index, point) in self.points.iter().enumerate() {
            let Some(point) = point else { continue };
            let distance = biased(client.kilometres_to(*point), self.regions[index].bias);
            ranked.push((distance, RegionId::from_index(index)));
        }
        // Equal distances go by id: the order of a client must not depend on the order of
        // insertion.
        ranked.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let Some((nearest, _)) = ranked.first().copied() else {
            return Vec::new();
        };
        let within = self.spec.within.unwrap_or(0.0);
        // Without `within` nobody is nearer than the nearest, and the first step needs one all the
        // same.
        let first = 1.max(ranked.partition_point(|(distance, _)| *distance < nearest + within));
        let mut steps: Vec<Vec<RegionId>> =
            vec![ranked[..first].iter().map(|(_, region)| *region).collect()];
        for (_, region) in &ranked[first..] {
            if steps.len() >= usize::from(self.spec.distance_steps) {
                break;
            }
            // A metro counts as one step here: `complete` adds its other regions to it.
            let metro = self.metros[region.index()];
            if !steps
                .iter()
                .flatten()
                .any(|placed| self.metros[placed.index()] == metro)
            {
                steps.push(vec![*region]);
            }
        }
        // Inside a step distance has no say: in the order of ids, equal steps make equal orders,
        // which merge.
        steps[0].sort_unstable();
        steps
    }

    /// The whole order: the head's steps, then `rest`, then the names; "a metro stands as one step
    /// where its first member stands"; and of all that what is inside the border.
    fn complete(&self, head: &Head) -> RegionOrder {
        let border: Option<RegionSet> = head
            .border
            .as_ref()
            .map(|regions| regions.iter().copied().collect());
        let mut placed = vec![false; self.members.len()];
        let mut steps = Vec::new();
        let tail: Vec<RegionId> = self
            .spec
            .rest
            .iter()
            .copied()
            .chain((0..self.regions.len()).map(RegionId::from_index))
            .collect();
        for step in head.steps.iter().map(Vec::as_slice).chain(tail.chunks(1)) {
            let mut joined: Vec<RegionId> = Vec::new();
            for metro in step.iter().map(|region| self.metros[region.index()]) {
                if !std::mem::replace(&mut placed[metro], true) {
                    joined.extend_from_slice(&self.members[metro]);
                }
            }
            // After the metro is joined, so that `only` never gains members by it.
            joined.retain(|region| {
                border
                    .as_ref()
                    .is_none_or(|border| border.contains(*region))
            });
            joined.sort_unstable();
            if !joined.is_empty() {
                steps.push(joined);
            }
        }
        RegionOrder { steps, border }
    }
}

/// The metro of each region, and the regions of each metro.
fn metros(regions: &[Region]) -> (Vec<usize>, Vec<Vec<RegionId>>) {
    let mut named: FastMap<&str, usize> = FastMap::default();
    let mut members: Vec<Vec<RegionId>> = Vec::new();
    let mut metros = Vec::with_capacity(regions.len());
    for (index, region) in regions.iter().enumerate() {
        let metro = match &region.metro {
            Some(name) => *named.entry(name).or_insert(members.len()),
            None => members.len(),
        };
        members.resize(members.len().max(metro + 1), Vec::new());
        members[metro].push(RegionId::from_index(index));
        metros.push(metro);
    }
    (metros, members)
}
