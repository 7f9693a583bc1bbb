//! What a change of the files does to clients: the same clients, everything up, before and after.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use serde_json::{Value, json};

use super::clients::{Class, Sampled, client_ranges};
use super::outcome::round;
use super::plan_if;
use super::split::{Destination, Given, Subject, moved};
use crate::dataset::Dataset;
use crate::dns::{Name, RrType};
use crate::geo::{GeoMap, OrderId, zip_runs};
use crate::model::{MapId, Part, Prefix, Region, ServiceId};

/// Two datasets, and the clients of both.
#[derive(Debug)]
pub struct Change<'c> {
    old: &'c Dataset,
    new: &'c Dataset,
    sample: Option<&'c [Sampled]>,
    /// By name: the regions of either, then the fallback, then nowhere.
    places: Vec<String>,
    /// What every service is compared by, by the map before and after.
    pairs: BTreeMap<Maps, Pairs>,
    subjects: Vec<(Subject, ServiceId)>,
}

type Maps = (Option<MapId>, Option<MapId>);

/// A place, an index into [`Change::places`].
type Place = u16;

/// Where clients go, the shares of their places in the order of these.
type Places = Vec<(Place, f64)>;

/// Clients divided by what two maps say of them.
#[derive(Debug)]
struct Pairs {
    classes: Vec<Pair>,
    stretches: Vec<Stretch>,
}

/// Clients who are alike to both maps.
#[derive(Debug, Clone, Copy)]
struct Pair {
    old: Class,
    new: Class,
    /// Their share of all clients, 0 … 1.
    weight: f64,
}

/// Neighbours of one class.
#[derive(Debug, Clone)]
struct Stretch {
    clients: Clients,
    class: usize,
    /// Their share of all clients, 0 … 1.
    weight: f64,
}

#[derive(Debug, Clone)]
enum Clients {
    V4(Range<u64>),
    /// From the first address to the last.
    V6(u128, u128),
    Sampled(Prefix),
}

/// What the change does to the clients of one service.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceChange {
    /// Its name.
    pub name: String,
    /// The type asked for.
    pub rtype: RrType,
    /// The share of its clients who go elsewhere, 0 … 1.
    pub moved: f64,
    /// Where they go by the old files: names of regions, `(fallback)`, `(nowhere)`, each with its share.
    pub before: Vec<(String, f64)>,
    /// Where they go by the new ones.
    pub after: Vec<(String, f64)>,
    /// The networks whose clients move, those with the most of all clients first; as many as were asked for.
    pub networks: Vec<Movement>,
    /// How many there are.
    pub networks_in_all: usize,
}

/// Clients of one network who go elsewhere.
#[derive(Debug, Clone, PartialEq)]
pub struct Movement {
    /// The network.
    pub network: Prefix,
    /// Its share of all clients, 0 … 1.
    pub share: f64,
    /// Where they go by the old files.
    pub before: Vec<(String, f64)>,
    /// Where they go by the new ones.
    pub after: Vec<(String, f64)>,
}

/// Names that only one of the datasets has, in the order of the alphabet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// Services of the new one only.
    pub services_added: Vec<String>,
    /// Services of the old one only.
    pub services_removed: Vec<String>,
    /// Names with records, of the new one only.
    pub records_added: Vec<String>,
    /// Names with records, of the old one only.
    pub records_removed: Vec<String>,
}

impl<'c> Change<'c> {
    /// From `old` to `new`, for the clients of `sample`, or for every address as [`super::Population::of_addresses`] counts them.
    /// Services are compared by name, those alone that `wanted` takes.
    pub fn new(
        old: &'c Dataset,
        new: &'c Dataset,
        sample: Option<&'c [Sampled]>,
        wanted: &dyn Fn(&Dataset, ServiceId) -> bool,
    ) -> Change<'c> {
        let by_name: BTreeMap<Name, ServiceId> = services(new).collect();
        let counterpart = |subject: &Subject| {
            by_name
                .get(
                    &old.config.services[subject.service.index()]
                        .name
                        .to_lowercase(),
                )
                .copied()
        };
        let subjects: Vec<(Subject, ServiceId)> = Subject::all(old)
            .filter(|subject| wanted(old, subject.service))
            .filter_map(|subject| Some((subject, counterpart(&subject)?)))
            .collect();
        let maps =
            |(subject, new_id): &(Subject, ServiceId)| maps_of(old, new, subject.service, *new_id);
        let needed: BTreeSet<Maps> = subjects.iter().map(maps).collect();
        let map_in =
            |dataset: &'c Dataset, map: Option<MapId>| map.map(|map| &*dataset.maps[map.index()]);
        let divide = |maps: Maps| {
            (
                maps,
                Pairs::divide(map_in(old, maps.0), map_in(new, maps.1), sample),
            )
        };
        let names: BTreeSet<&String> = old
            .config
            .regions
            .iter()
            .chain(&new.config.regions)
            .map(|region| &region.name)
            .collect();
        let mut places: Vec<String> = names.into_iter().cloned().collect();
        places.extend(["(fallback)", "(nowhere)"].map(str::to_owned));
        Change {
            old,
            new,
            sample,
            places,
            pairs: needed.into_iter().map(divide).collect(),
            subjects,
        }
    }

    /// How many services, counting each type that goes its own way, are in both.
    pub fn len(&self) -> usize {
        self.subjects.len()
    }

    /// True where no service is in both.
    pub fn is_empty(&self) -> bool {
        self.subjects.is_empty()
    }

    /// How many clients were sampled; `None` where addresses are counted.
    pub fn sampled(&self) -> Option<usize> {
        self.sample.map(<[Sampled]>::len)
    }

    /// What it does to the `index`th of them; `networks` is how many networks are named.
    pub fn run(&self, index: usize, networks: usize) -> ServiceChange {
        let (subject, new_id) = self.subjects[index];
        let pairs = &self.pairs[&maps_of(self.old, self.new, subject.service, new_id)];
        let mut sides = [
            Side::new(self, self.old, subject.service, subject.rtype),
            Side::new(self, self.new, new_id, subject.rtype),
        ];
        // By class: the two splits, if they are not the same.
        let mut moves: Vec<Option<(usize, usize)>> = Vec::with_capacity(pairs.classes.len());
        let mut share = 0.0;
        for pair in &pairs.classes {
            let (before, after) = (
                sides[0].split_of(&pair.old, pair.weight),
                sides[1].split_of(&pair.new, pair.weight),
            );
            let differs = moved(&sides[0].splits[before], &sides[1].splits[after]);
            share += pair.weight * differs;
            moves.push((differs > 1e-9).then_some((before, after)));
        }
        let largest = largest(&pairs.stretches, &moves, networks);
        let [before, after] = &sides;
        let movement = |found: Found| Movement {
            network: found.network,
            share: found.weight,
            before: self.named(&before.splits[found.moves.0]),
            after: self.named(&after.splits[found.moves.1]),
        };
        ServiceChange {
            name: self.old.config.services[subject.service.index()]
                .name
                .to_string(),
            rtype: subject.rtype,
            moved: share,
            before: self.named(&before.total()),
            after: self.named(&after.total()),
            networks: largest.0.into_iter().map(movement).collect(),
            networks_in_all: largest.1,
        }
    }

    /// Names that only one of the datasets has.
    pub fn names(&self) -> Names {
        let services = |dataset| {
            services(dataset)
                .map(|(name, _)| name)
                .collect::<BTreeSet<Name>>()
        };
        let owners = |dataset: &Dataset| {
            dataset
                .names
                .owners()
                .filter_map(Name::from_wire)
                .collect::<BTreeSet<Name>>()
        };
        let (old, new) = (services(self.old), services(self.new));
        let (old_owners, new_owners) = (owners(self.old), owners(self.new));
        let sorted = |names: &mut dyn Iterator<Item = &Name>| {
            let mut names: Vec<String> = names.map(Name::to_string).collect();
            names.sort();
            names
        };
        Names {
            services_added: sorted(&mut new.difference(&old)),
            services_removed: sorted(&mut old.difference(&new)),
            records_added: sorted(
                &mut new_owners
                    .difference(&old_owners)
                    .filter(|name| !new.contains(*name)),
            ),
            records_removed: sorted(
                &mut old_owners
                    .difference(&new_owners)
                    .filter(|name| !old.contains(*name)),
            ),
        }
    }

    fn named(&self, places: &Places) -> Vec<(String, f64)> {
        places
            .iter()
            .map(|(place, share)| (self.places[usize::from(*place)].clone(), *share))
            .collect()
    }
}

/// Every service by its name in lower case.
fn services(dataset: &Dataset) -> impl Iterator<Item = (Name, ServiceId)> {
    let named = |(index, service): (usize, &crate::model::Service)| {
        (service.name.to_lowercase(), ServiceId::from_index(index))
    };
    dataset.config.services.iter().enumerate().map(named)
}

fn maps_of(old: &Dataset, new: &Dataset, old_id: ServiceId, new_id: ServiceId) -> Maps {
    (
        old.config.services[old_id.index()].map,
        new.config.services[new_id.index()].map,
    )
}

/// What one dataset gives the clients of a service.
struct Side<'s> {
    dataset: &'s Dataset,
    plan: crate::steer::Plan,
    rtype: RrType,
    /// By region: its place.
    place_of: Vec<Place>,
    /// The places that are no region.
    others: Place,
    /// By order: its split, once that is known.
    by_order: BTreeMap<Option<OrderId>, usize>,
    splits: Vec<Places>,
    numbers: BTreeMap<Vec<(Place, u64)>, usize>,
    /// By split: the share of all clients.
    weights: Vec<f64>,
    given: Given,
}

impl<'s> Side<'s> {
    fn new(
        change: &Change<'_>,
        dataset: &'s Dataset,
        service: ServiceId,
        rtype: RrType,
    ) -> Side<'s> {
        let others = change.places.len() - 2;
        let place = |region: &Region| {
            change.places[..others]
                .binary_search(&region.name)
                .unwrap_or(others) as Place
        };
        Side {
            dataset,
            plan: plan_if(
                &dataset.config,
                &dataset.config.services[service.index()],
                &Part::default(),
                &[],
            ),
            rtype,
            place_of: dataset.config.regions.iter().map(place).collect(),
            others: others as Place,
            by_order: BTreeMap::new(),
            splits: Vec::new(),
            numbers: BTreeMap::new(),
            weights: Vec::new(),
            given: Given::default(),
        }
    }

    /// The number of the split that `class` gets; `weight` more clients are in it.
    fn split_of(&mut self, class: &Class, weight: f64) -> usize {
        let order = class.located.map(|located| located.order);
        let known = self.by_order.get(&order).copied();
        let number = known.unwrap_or_else(|| {
            self.given.to(
                &self.plan,
                self.dataset.map_of(&self.plan),
                self.rtype,
                class,
            );
            let number = self.number();
            self.by_order.insert(order, number);
            number
        });
        self.weights[number] += weight;
        number
    }

    fn number(&mut self) -> usize {
        let place = |destination: Destination| match destination {
            Destination::Region(region) => self.place_of[region.index()],
            Destination::Fallback => self.others,
            Destination::Nowhere => self.others + 1,
        };
        let mut split: Places = self
            .given
            .split
            .iter()
            .map(|(to, share)| (place(*to), *share))
            .collect();
        split.sort_unstable_by_key(|(place, _)| *place);
        let key = split
            .iter()
            .map(|(place, share)| (*place, share.to_bits()))
            .collect();
        *self.numbers.entry(key).or_insert_with(|| {
            self.splits.push(split);
            self.weights.push(0.0);
            self.splits.len() - 1
        })
    }

    fn total(&self) -> Places {
        let mut total: BTreeMap<Place, f64> = BTreeMap::new();
        for (split, weight) in self.splits.iter().zip(&self.weights) {
            split
                .iter()
                .for_each(|(place, share)| *total.entry(*place).or_default() += share * weight);
        }
        total
            .into_iter()
            .filter(|(_, share)| *share > 0.0)
            .collect()
    }
}

impl Pairs {
    fn divide(old: Option<&GeoMap>, new: Option<&GeoMap>, sample: Option<&[Sampled]>) -> Pairs {
        let mut pairs = Dividing {
            old,
            new,
            known: BTreeMap::new(),
            pairs: Pairs {
                classes: Vec::new(),
                stretches: Vec::new(),
            },
        };
        match sample {
            Some(sample) => {
                let total: f64 = sample.iter().map(|client| client.weight).sum();
                for client in sample {
                    pairs.add(
                        client.prefix,
                        client.weight / total,
                        Clients::Sampled(client.prefix),
                    );
                }
            }
            None => pairs.add_all(),
        }
        pairs.pairs
    }
}

struct Dividing<'m> {
    old: Option<&'m GeoMap>,
    new: Option<&'m GeoMap>,
    known: BTreeMap<(Option<OrderId>, Option<OrderId>), usize>,
    pairs: Pairs,
}

impl Dividing<'_> {
    /// Every address.
    fn add_all(&mut self) {
        let total: f64 = client_ranges(0..1 << 32)
            .map(|range| (range.end - range.start) as f64)
            .sum();
        let starts = |map: Option<&GeoMap>| -> Vec<(u128, OrderId)> {
            map.map_or_else(
                || vec![(0, OrderId(0))],
                |map| {
                    map.v4_runs()
                        .map(|(start, order)| (start.into(), order))
                        .collect()
                },
            )
        };
        let runs = zip_runs(starts(self.old).into_iter(), starts(self.new).into_iter());
        for (start, end) in stretches(runs, 1 << 32) {
            for range in client_ranges(start as u64..end as u64) {
                let weight = (range.end - range.start) as f64 / total;
                let client = Prefix::host(IpAddr::V4(Ipv4Addr::from_bits(range.start as u32)));
                self.add(client, weight, Clients::V4(range));
            }
        }
        let starts = |map: Option<&GeoMap>| -> Vec<(u128, OrderId)> {
            map.map_or_else(|| vec![(0, OrderId(0))], |map| map.v6_runs().collect())
        };
        let is_client = |map: Option<&GeoMap>, client, order| {
            map.is_none_or(|map| map.lookup(client).order == order)
        };
        let mut runs =
            zip_runs(starts(self.old).into_iter(), starts(self.new).into_iter()).peekable();
        while let Some((start, (old, new))) = runs.next() {
            let last = runs.peek().map_or(u128::MAX, |(next, _)| next - 1);
            let client = Prefix::host(Ipv6Addr::from_bits(start).into());
            // What stands there for addresses that hold IPv4 ones is not what such clients get.
            if is_client(self.old, client, old) && is_client(self.new, client, new) {
                self.add(client, 0.0, Clients::V6(start, last));
            }
        }
    }

    fn add(&mut self, client: Prefix, weight: f64, clients: Clients) {
        let class = |map: Option<&GeoMap>| Class {
            client,
            located: map.map(|map| map.lookup(client)),
            weight: 0.0,
        };
        let (old, new) = (class(self.old), class(self.new));
        let order = |class: &Class| class.located.map(|located| located.order);
        let classes = &mut self.pairs.classes;
        let index = *self
            .known
            .entry((order(&old), order(&new)))
            .or_insert_with(|| {
                classes.push(Pair {
                    old,
                    new,
                    weight: 0.0,
                });
                classes.len() - 1
            });
        classes[index].weight += weight;
        self.pairs.stretches.push(Stretch {
            clients,
            class: index,
            weight,
        });
    }
}

/// First address and end of each of `runs`, of which the last ends at `end`.
fn stretches<V>(
    runs: impl Iterator<Item = (u128, V)>,
    end: u128,
) -> impl Iterator<Item = (u128, u128)> {
    let mut runs = runs.map(|(start, _)| start).peekable();
    std::iter::from_fn(move || {
        let start = runs.next()?;
        Some((start, runs.peek().copied().unwrap_or(end)))
    })
}

/// A network that moves, ordered by size.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Found {
    weight: f64,
    network: Prefix,
    moves: (usize, usize),
}

impl Eq for Found {}

impl Ord for Found {
    /// The larger one is less, so that a heap has the smallest on top.
    fn cmp(&self, other: &Found) -> std::cmp::Ordering {
        let family = |found: &Found| found.network.address().is_ipv6();
        let by_size = other
            .weight
            .total_cmp(&self.weight)
            .then(family(self).cmp(&family(other)));
        by_size
            .then(self.network.length().cmp(&other.network.length()))
            .then(self.network.cmp(&other.network))
    }
}

impl PartialOrd for Found {
    fn partial_cmp(&self, other: &Found) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The `most` largest networks of the stretches that move, and how many there are. Neighbours that move alike are one.
fn largest(
    stretches: &[Stretch],
    moves: &[Option<(usize, usize)>],
    most: usize,
) -> (Vec<Found>, usize) {
    let mut heap = BinaryHeap::new();
    let mut all = 0;
    let mut found = |network, weight, moves| {
        all += 1;
        heap.push(Found {
            weight,
            network,
            moves,
        });
        if heap.len() > most {
            heap.pop();
        }
    };
    let mut rest = stretches
        .iter()
        .map(|stretch| (stretch, moves[stretch.class]))
        .peekable();
    while let Some((stretch, moves)) = rest.next() {
        let Some(moves) = moves else { continue };
        match &stretch.clients {
            Clients::Sampled(prefix) => found(*prefix, stretch.weight, moves),
            Clients::V4(range) => {
                let mut range = range.clone();
                let each = stretch.weight / (range.end - range.start) as f64;
                let joins = |next: &Stretch, end: u64| match &next.clients {
                    Clients::V4(next) if next.start == end => Some(next.end),
                    _ => None,
                };
                while let Some(end) = rest
                    .peek()
                    .filter(|next| next.1 == Some(moves))
                    .and_then(|next| joins(next.0, range.end))
                {
                    range.end = end;
                    rest.next();
                }
                for (first, length) in prefixes(range.start.into(), u128::from(range.end) - 1, 32) {
                    let network =
                        Prefix::truncating(IpAddr::V4(Ipv4Addr::from_bits(first as u32)), length);
                    let addresses = 2f64.powi(32 - i32::from(length));
                    network
                        .into_iter()
                        .for_each(|network| found(network, each * addresses, moves));
                }
            }
            Clients::V6(start, last) => {
                let mut last = *last;
                let joins = |next: &Stretch, last: u128| match &next.clients {
                    Clients::V6(start, next) if last.checked_add(1) == Some(*start) => Some(*next),
                    _ => None,
                };
                while let Some(end) = rest
                    .peek()
                    .filter(|next| next.1 == Some(moves))
                    .and_then(|next| joins(next.0, last))
                {
                    last = end;
                    rest.next();
                }
                for (first, length) in prefixes(*start, last, 128) {
                    let network =
                        Prefix::truncating(IpAddr::V6(Ipv6Addr::from_bits(first)), length);
                    network
                        .into_iter()
                        .for_each(|network| found(network, 0.0, moves));
                }
            }
        }
    }
    (heap.into_sorted_vec(), all)
}

/// The fewest prefixes that are all addresses of `width` bits from `first` to `last`.
fn prefixes(first: u128, last: u128, width: u8) -> impl Iterator<Item = (u128, u8)> {
    let mut next = Some(first).filter(|first| *first <= last);
    std::iter::from_fn(move || {
        let start = next?;
        let aligned = (start.trailing_zeros() as u8).min(width);
        let ends = |bits: u8| u128::MAX.checked_shr(128 - u32::from(bits)).unwrap_or(0);
        let bits = (0..=aligned)
            .rev()
            .find(|bits| ends(*bits) <= last - start)
            .unwrap_or(0);
        let end = start + ends(bits);
        next = end.checked_add(1).filter(|next| *next <= last);
        Some((start, width - bits))
    })
}

/// A split as an object: `{"dublin": 0.4, "tokyo": 0.6}`.
fn places_json(places: &[(String, f64)]) -> Value {
    places
        .iter()
        .map(|(place, share)| (place.clone(), json!(round(*share))))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

impl ServiceChange {
    /// One of `services` in what `diff --json` prints; its keys are a contract.
    pub fn json(&self) -> Value {
        let networks = self.networks.iter().map(|movement| {
            json!({
                "network": movement.network.to_string(),
                "share": movement.share,
                "before": places_json(&movement.before),
                "after": places_json(&movement.after),
            })
        });
        json!({
            "name": self.name,
            "type": self.rtype.to_string(),
            "moved": round(self.moved),
            "before": places_json(&self.before),
            "after": places_json(&self.after),
            "networks": networks.collect::<Vec<_>>(),
            "networks_in_all": self.networks_in_all,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn prefixes_are_the_whole_range_and_as_few_as_can_be(first in 0u128..1 << 12, length in 0u128..1 << 12) {
            let last = (first + length).min((1 << 12) - 1);
            let found: Vec<_> = prefixes(first, last, 12).collect();
            let mut next = first;
            for (start, length) in &found {
                prop_assert_eq!(*start, next);
                next += 1 << (12 - length);
            }
            prop_assert_eq!(next, last + 1);
            // Two neighbours of one length that begin together would be one.
            for pair in found.windows(2) {
                prop_assert!(!(pair[0].1 == pair[1].1 && pair[0].0 >> (12 - pair[0].1) & 1 == 0));
            }
        }
    }

    #[test]
    fn all_of_ipv6_is_one_prefix() {
        assert_eq!(prefixes(0, u128::MAX, 128).collect::<Vec<_>>(), [(0, 0)]);
        assert_eq!(
            prefixes(0, u128::from(u32::MAX), 32).collect::<Vec<_>>(),
            [(0, 0)]
        );
        assert_eq!(
            prefixes(u128::MAX, u128::MAX, 128).collect::<Vec<_>>(),
            [(u128::MAX, 128)]
        );
    }
}
