//! Effect of a configuration change on clients: where the same clients go, with everything up,
//! before and after.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use serde_json::{Map, Value, json};

use super::clients::{Class, Sampled, V4_COUNT, client_ranges, v4_prefix};
use super::outcome::round;
use super::plan_if;
use super::split::{ClassSplit, Destination, Subject, moved};
use crate::dataset::Dataset;
use crate::dns::{Name, RrType};
use crate::geo::{GeoMap, OrderId, zip_runs};
use crate::model::{MapId, Part, Prefix, ServiceId};
use crate::steer::Plan;

/// Two datasets, and the clients of both.
#[derive(Debug)]
pub struct Change<'c> {
    old: &'c Dataset,
    new: &'c Dataset,
    sample: Option<&'c [Sampled]>,
    /// Names of places, sorted: the regions of either dataset; then the fallback, then nowhere.
    places: Vec<String>,
    /// Clients by the maps that a service uses before and after.
    pairs: BTreeMap<Maps, Pairs>,
    subjects: Vec<(Subject, ServiceId)>,
}

type Maps = (Option<MapId>, Option<MapId>);

/// A place, an index into [`Change::places`].
type Place = u32;

/// Shares of clients by the places that they go to, in the order of the places.
type Places = Vec<(Place, f64)>;

/// Clients divided by what two maps know of them.
#[derive(Debug, Default)]
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

/// Effect of the change on the clients of one service.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceChange {
    /// Its name.
    pub name: String,
    /// The type asked for.
    pub rtype: RrType,
    /// The share of its clients who go elsewhere, 0 … 1.
    pub moved: f64,
    /// Destinations by the old files: names of regions, `(fallback)`, `(nowhere)`, each with its
    /// share.
    pub before: Vec<(String, f64)>,
    /// Destinations by the new files.
    pub after: Vec<(String, f64)>,
    /// The networks whose clients move, those with the most of all clients first; as many as were
    /// asked for.
    pub networks: Vec<Movement>,
    /// Number of networks whose clients move.
    pub networks_in_all: usize,
}

/// Clients of one network who go elsewhere.
#[derive(Debug, Clone, PartialEq)]
pub struct Movement {
    /// The network.
    pub network: Prefix,
    /// Its share of all clients, 0 … 1.
    pub share: f64,
    /// Destinations by the old files.
    pub before: Vec<(String, f64)>,
    /// Destinations by the new files.
    pub after: Vec<(String, f64)>,
}

/// Names that only one of the datasets has, in alphabetical order.
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
    /// Prepares the change from `old` to `new`, for the clients of `sample`, or for every address
    /// as [`super::Population::of_addresses`] counts them. Services are compared by name, those
    /// alone that `wanted` takes.
    pub fn new(
        old: &'c Dataset,
        new: &'c Dataset,
        sample: Option<&'c [Sampled]>,
        wanted: &dyn Fn(&Dataset, ServiceId) -> bool,
    ) -> Change<'c> {
        let by_name = services(new);
        let mut subjects = Vec::new();
        let mut pairs: BTreeMap<Maps, Pairs> = BTreeMap::new();
        for subject in Subject::all(old) {
            // DNS names compare without case (RFC 4343), so a change of case alone moves nobody.
            let name = old.config.services[subject.service.index()]
                .name
                .to_lowercase();
            let Some(new_id) = by_name.get(&name) else {
                continue;
            };
            if !wanted(old, subject.service) {
                continue;
            }
            subjects.push((subject, *new_id));
            // Dividing the clients is expensive, and most services share their maps.
            let maps = maps_of(old, new, subject.service, *new_id);
            pairs
                .entry(maps)
                .or_insert_with(|| Pairs::divide(map_in(old, maps.0), map_in(new, maps.1), sample));
        }
        Change {
            old,
            new,
            sample,
            places: places(old, new),
            pairs,
            subjects,
        }
    }

    /// Number of services that both datasets have, counting each type that goes its own way.
    pub fn len(&self) -> usize {
        self.subjects.len()
    }

    /// True when the datasets have no service in common.
    pub fn is_empty(&self) -> bool {
        self.subjects.is_empty()
    }

    /// Number of clients in the sample; `None` where addresses are counted.
    pub fn sampled(&self) -> Option<usize> {
        self.sample.map(<[Sampled]>::len)
    }

    /// Effect on the `index`th of the common services; at most `networks` networks are named.
    pub fn run(&self, index: usize, networks: usize) -> ServiceChange {
        let (subject, new_id) = self.subjects[index];
        let pairs = &self.pairs[&maps_of(self.old, self.new, subject.service, new_id)];
        let mut before = Side::new(self, self.old, subject.service, subject.rtype);
        let mut after = Side::new(self, self.new, new_id, subject.rtype);
        // By class: the two splits, if they differ.
        let mut moves: Vec<Option<(usize, usize)>> = Vec::with_capacity(pairs.classes.len());
        let mut share = 0.0;
        for pair in &pairs.classes {
            let old = before.split_of(&pair.old, pair.weight);
            let new = after.split_of(&pair.new, pair.weight);
            let differs = moved(&before.splits[old], &after.splits[new]);
            share += pair.weight * differs;
            // Shares are sums of floats. A smaller difference is rounding, and would list networks
            // whose clients stay where they are.
            moves.push((differs > 1e-9).then_some((old, new)));
        }
        let mut largest = Largest::new(networks);
        largest.add_all(&pairs.stretches, &moves);
        let networks_in_all = largest.all;
        let mut movements = Vec::new();
        // `Found` orders the larger network as less, so ascending order begins with the largest.
        for found in largest.heap.into_sorted_vec() {
            movements.push(Movement {
                network: found.network,
                share: found.weight,
                before: self.named(&before.splits[found.moves.0]),
                after: self.named(&after.splits[found.moves.1]),
            });
        }
        ServiceChange {
            name: self.old.config.services[subject.service.index()]
                .name
                .to_string(),
            rtype: subject.rtype,
            moved: share,
            before: self.named(&before.total()),
            after: self.named(&after.total()),
            networks: movements,
            networks_in_all,
        }
    }

    /// Names that only one of the datasets has.
    pub fn names(&self) -> Names {
        let old: BTreeSet<Name> = services(self.old).into_keys().collect();
        let new: BTreeSet<Name> = services(self.new).into_keys().collect();
        let (old_owners, new_owners) = (owners(self.old), owners(self.new));
        Names {
            services_added: missing(&new, &[&old]),
            services_removed: missing(&old, &[&new]),
            // A name that becomes a service, or ceases to be one, is listed as a service.
            records_added: missing(&new_owners, &[&old_owners, &new]),
            records_removed: missing(&old_owners, &[&new_owners, &old]),
        }
    }

    fn named(&self, places: &Places) -> Vec<(String, f64)> {
        let mut named = Vec::with_capacity(places.len());
        for (place, share) in places {
            // Indices fit: `to_place` made the place of one.
            named.push((self.places[*place as usize].clone(), *share));
        }
        named
    }
}

/// Every service by its name in lower case.
fn services(dataset: &Dataset) -> BTreeMap<Name, ServiceId> {
    let mut services = BTreeMap::new();
    for (index, service) in dataset.config.services.iter().enumerate() {
        services.insert(service.name.to_lowercase(), ServiceId::from_index(index));
    }
    services
}

/// Every name with records.
fn owners(dataset: &Dataset) -> BTreeSet<Name> {
    dataset.names.owners().filter_map(Name::from_wire).collect()
}

/// The names that are in none of `others`, in alphabetical order.
fn missing(names: &BTreeSet<Name>, others: &[&BTreeSet<Name>]) -> Vec<String> {
    let mut missing = Vec::new();
    for name in names {
        if !others.iter().any(|other| other.contains(name)) {
            missing.push(name.to_string());
        }
    }
    missing.sort();
    missing
}

fn places(old: &Dataset, new: &Dataset) -> Vec<String> {
    let mut names = BTreeSet::new();
    for region in old.config.regions.iter().chain(&new.config.regions) {
        names.insert(region.name.clone());
    }
    let mut places = Vec::from_iter(names);
    places.extend(["(fallback)", "(nowhere)"].map(str::to_owned));
    places
}

fn maps_of(old: &Dataset, new: &Dataset, old_id: ServiceId, new_id: ServiceId) -> Maps {
    (
        old.config.services[old_id.index()].map,
        new.config.services[new_id.index()].map,
    )
}

fn map_in(dataset: &Dataset, map: Option<MapId>) -> Option<&GeoMap> {
    Some(&*dataset.maps[map?.index()])
}

/// Splits that one dataset gives the clients of a service.
struct Side<'s> {
    dataset: &'s Dataset,
    plan: Plan,
    rtype: RrType,
    /// By region: its place.
    place_of: Vec<Place>,
    /// The fallback's place; nowhere follows it.
    fallback: Place,
    /// By order: its split, once that is known.
    by_order: BTreeMap<Option<OrderId>, usize>,
    splits: Vec<Places>,
    /// The number of each split, by its places and the bits of its shares.
    numbers: BTreeMap<Vec<(Place, u64)>, usize>,
    /// By split: the share of all clients.
    weights: Vec<f64>,
    /// Buffer for the split of one class.
    class_split: ClassSplit,
}

impl<'s> Side<'s> {
    fn new(
        change: &Change<'_>,
        dataset: &'s Dataset,
        service: ServiceId,
        rtype: RrType,
    ) -> Side<'s> {
        let config = &dataset.config;
        let fallback = change.places.len() - 2;
        let mut place_of = Vec::with_capacity(config.regions.len());
        for region in &config.regions {
            // Only the names of regions are sorted; the fallback and nowhere stand behind them.
            let place = change.places[..fallback].binary_search(&region.name);
            place_of.push(to_place(place.expect("every region has a place")));
        }
        let service = &config.services[service.index()];
        Side {
            dataset,
            // Nothing is down or drained on either side, so only the files can differ.
            plan: plan_if(config, service, &Part::default(), &[]),
            rtype,
            place_of,
            fallback: to_place(fallback),
            by_order: BTreeMap::new(),
            splits: Vec::new(),
            numbers: BTreeMap::new(),
            weights: Vec::new(),
            class_split: ClassSplit::default(),
        }
    }

    /// The number of the split that `class` gets; `weight` more clients are in it.
    fn split_of(&mut self, class: &Class, weight: f64) -> usize {
        let order = class.located.map(|located| located.order);
        let number = match self.by_order.get(&order) {
            Some(number) => *number,
            None => {
                let map = self.dataset.map_of(&self.plan);
                self.class_split.fill(&self.plan, map, self.rtype, class);
                let number = self.number();
                self.by_order.insert(order, number);
                number
            }
        };
        self.weights[number] += weight;
        number
    }

    fn place(&self, destination: Destination) -> Place {
        match destination {
            Destination::Region(region) => self.place_of[region.index()],
            Destination::Fallback => self.fallback,
            Destination::Nowhere => self.fallback + 1,
        }
    }

    /// The number of the split in the buffer. Equal splits have one number, so that comparing all
    /// clients needs to compare only numbers.
    fn number(&mut self) -> usize {
        let mut split = Places::new();
        for (destination, share) in &self.class_split.split {
            split.push((self.place(*destination), *share));
        }
        split.sort_unstable_by_key(|(place, _)| *place);
        let mut key = Vec::with_capacity(split.len());
        for (place, share) in &split {
            // `f64` is not `Ord`, so the bits of the share stand in for it in the key.
            key.push((*place, share.to_bits()));
        }
        *self.numbers.entry(key).or_insert_with(|| {
            self.splits.push(split);
            self.weights.push(0.0);
            self.splits.len() - 1
        })
    }

    fn total(&self) -> Places {
        let mut total: BTreeMap<Place, f64> = BTreeMap::new();
        for (split, weight) in self.splits.iter().zip(&self.weights) {
            for (place, share) in split {
                *total.entry(*place).or_default() += share * weight;
            }
        }
        let mut total = Vec::from_iter(total);
        total.retain(|(_, share)| *share > 0.0);
        total
    }
}

fn to_place(index: usize) -> Place {
    Place::try_from(index)
        .expect("region ids have 16 bits, so two datasets have 2 × 65 536 at most")
}

impl Pairs {
    fn divide(old: Option<&GeoMap>, new: Option<&GeoMap>, sample: Option<&[Sampled]>) -> Pairs {
        let mut dividing = Dividing {
            old,
            new,
            known: BTreeMap::new(),
            pairs: Pairs::default(),
        };
        match sample {
            Some(sample) => {
                let total: f64 = sample.iter().map(|client| client.weight).sum();
                for client in sample {
                    let clients = Clients::Sampled(client.prefix);
                    dividing.add(client.prefix, client.weight / total, clients);
                }
            }
            None => {
                dividing.add_v4();
                dividing.add_v6();
            }
        }
        dividing.pairs
    }
}

struct Dividing<'m> {
    old: Option<&'m GeoMap>,
    new: Option<&'m GeoMap>,
    known: BTreeMap<(Option<OrderId>, Option<OrderId>), usize>,
    pairs: Pairs,
}

impl Dividing<'_> {
    /// Adds every IPv4 address at which clients are.
    fn add_v4(&mut self) {
        let runs = zip_runs(
            v4_starts(self.old).into_iter(),
            v4_starts(self.new).into_iter(),
        );
        let mut runs = runs.peekable();
        while let Some((start, _)) = runs.next() {
            let end = runs.peek().map_or(V4_END, |(next, _)| *next);
            // Starts of IPv4 runs have 32 bits, and the end is 2^32.
            for range in client_ranges(start as u64..end as u64) {
                let weight = (range.end - range.start) as f64 / V4_COUNT;
                self.add(v4_prefix(range.start), weight, Clients::V4(range));
            }
        }
    }

    /// Adds every IPv6 address, as a client that counts nothing.
    fn add_v6(&mut self) {
        let runs = zip_runs(
            v6_starts(self.old).into_iter(),
            v6_starts(self.new).into_iter(),
        );
        let mut runs = runs.peekable();
        while let Some((start, (old, new))) = runs.next() {
            let last = runs.peek().map_or(u128::MAX, |(next, _)| next - 1);
            let client = Prefix::host(Ipv6Addr::from_bits(start).into());
            // A map locates addresses that hold IPv4 ones by those, so the run that stands there is
            // not what such clients get.
            if is_located_by(self.old, client, old) && is_located_by(self.new, client, new) {
                self.add(client, 0.0, Clients::V6(start, last));
            }
        }
    }

    fn add(&mut self, client: Prefix, weight: f64, clients: Clients) {
        let old = class(self.old, client);
        let new = class(self.new, client);
        let orders = (
            old.located.map(|located| located.order),
            new.located.map(|located| located.order),
        );
        let Pairs { classes, stretches } = &mut self.pairs;
        let class = *self.known.entry(orders).or_insert_with(|| {
            classes.push(Pair {
                old,
                new,
                weight: 0.0,
            });
            classes.len() - 1
        });
        classes[class].weight += weight;
        stretches.push(Stretch {
            clients,
            class,
            weight,
        });
    }
}

fn class(map: Option<&GeoMap>, client: Prefix) -> Class {
    Class {
        client,
        located: map.map(|map| map.lookup(client)),
        weight: 0.0,
    }
}

/// The end of IPv4: the number of its addresses.
const V4_END: u128 = 1 << 32;

/// Runs of IPv4 addresses with one order, by their first address; one run without a map.
fn v4_starts(map: Option<&GeoMap>) -> Vec<(u128, OrderId)> {
    let Some(map) = map else {
        return vec![(0, OrderId(0))];
    };
    let mut starts = Vec::new();
    for (start, order) in map.v4_runs() {
        starts.push((u128::from(start), order));
    }
    starts
}

/// Runs of IPv6 addresses with one order, by their first address; one run without a map.
fn v6_starts(map: Option<&GeoMap>) -> Vec<(u128, OrderId)> {
    match map {
        Some(map) => map.v6_runs().collect(),
        None => vec![(0, OrderId(0))],
    }
}

fn is_located_by(map: Option<&GeoMap>, client: Prefix, order: OrderId) -> bool {
    map.is_none_or(|map| map.lookup(client).order == order)
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
        // Without a sample, all networks of IPv6 weigh 0: the criteria after the weight keep the
        // output the same from run to run.
        let (mine, theirs) = (&self.network, &other.network);
        other
            .weight
            .total_cmp(&self.weight)
            .then(mine.address().is_ipv6().cmp(&theirs.address().is_ipv6()))
            .then(mine.length().cmp(&theirs.length()))
            .then(mine.cmp(theirs))
    }
}

impl PartialOrd for Found {
    fn partial_cmp(&self, other: &Found) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The largest networks that move, and the number of all of them.
struct Largest {
    most: usize,
    /// At most `most` networks: keeping all could take more memory than the maps themselves.
    heap: BinaryHeap<Found>,
    all: usize,
}

impl Largest {
    fn new(most: usize) -> Largest {
        Largest {
            most,
            heap: BinaryHeap::new(),
            all: 0,
        }
    }

    fn add(&mut self, found: Found) {
        self.all += 1;
        self.heap.push(found);
        if self.heap.len() > self.most {
            // The top of the heap is the smallest network: see the order of `Found`.
            self.heap.pop();
        }
    }

    /// Adds the networks of the stretches that move; `moves` are by class. Neighbours that move
    /// alike become one range, and the range the fewest networks.
    fn add_all(&mut self, stretches: &[Stretch], moves: &[Option<(usize, usize)>]) {
        let mut rest = stretches;
        while let Some((first, mut behind)) = rest.split_first() {
            let Some(alike) = moves[first.class] else {
                rest = behind;
                continue;
            };
            let mut joined = first.clients.clone();
            while let Some((next, further)) = behind.split_first()
                && moves[next.class] == Some(alike)
                && joined.join(&next.clients)
            {
                behind = further;
            }
            rest = behind;
            self.add_clients(first, &joined, alike);
        }
    }

    /// Adds the networks of `joined`, which begins with the stretch `first`.
    fn add_clients(&mut self, first: &Stretch, joined: &Clients, moves: (usize, usize)) {
        match (&first.clients, joined) {
            (Clients::V4(range), Clients::V4(joined)) => {
                // Every IPv4 address weighs the same, so the first stretch tells the weight of one.
                let each = first.weight / (range.end - range.start) as f64;
                let last = u128::from(joined.end) - 1;
                for (address, length) in prefixes(joined.start.into(), last, 32) {
                    // Addresses of IPv4 fit into 32 bits.
                    let address = IpAddr::V4(Ipv4Addr::from_bits(address as u32));
                    let weight = each * 2f64.powi(32 - i32::from(length));
                    self.add_network(address, length, weight, moves);
                }
            }
            (_, Clients::V6(start, last)) => {
                for (address, length) in prefixes(*start, *last, 128) {
                    let address = IpAddr::V6(Ipv6Addr::from_bits(address));
                    self.add_network(address, length, 0.0, moves);
                }
            }
            (_, Clients::Sampled(network)) => self.add(Found {
                weight: first.weight,
                network: *network,
                moves,
            }),
            (_, Clients::V4(_)) => unreachable!("a stretch joins only its own kind"),
        }
    }

    fn add_network(&mut self, address: IpAddr, length: u8, weight: f64, moves: (usize, usize)) {
        if let Some(network) = Prefix::truncating(address, length) {
            self.add(Found {
                weight,
                network,
                moves,
            });
        }
    }
}

impl Clients {
    /// Takes in `next` if it continues these clients without a gap.
    fn join(&mut self, next: &Clients) -> bool {
        match (self, next) {
            (Clients::V4(range), Clients::V4(next)) if range.end == next.start => {
                range.end = next.end;
                true
            }
            (Clients::V6(_, last), Clients::V6(start, end))
                if last.checked_add(1) == Some(*start) =>
            {
                *last = *end;
                true
            }
            // Networks of a sample are shown as the sample has them, even where they adjoin.
            _ => false,
        }
    }
}

/// The fewest prefixes that are all addresses of `width` bits from `first` to `last`, each as its
/// first address and length.
fn prefixes(first: u128, last: u128, width: u8) -> impl Iterator<Item = (u128, u8)> {
    let mut next = Some(first).filter(|first| *first <= last);
    std::iter::from_fn(move || {
        let start = next?;
        // A prefix begins at a multiple of its size: try the largest that can begin here first. A
        // number of 128 bits has at most 128 trailing zeros.
        let mut bits = (start.trailing_zeros() as u8).min(width);
        while bits > 0 && span(bits) > last - start {
            bits -= 1;
        }
        let end = start + span(bits);
        next = end.checked_add(1).filter(|next| *next <= last);
        Some((start, width - bits))
    })
}

/// Distance from the first address to the last of a prefix that leaves `bits` free, 0 … 128.
fn span(bits: u8) -> u128 {
    u128::MAX.checked_shr(128 - u32::from(bits)).unwrap_or(0)
}

/// A split as an object: `{"dublin": 0.4, "tokyo": 0.6}`.
fn places_json(places: &[(String, f64)]) -> Value {
    let mut object = Map::new();
    for (place, share) in places {
        object.insert(place.clone(), json!(round(*share)));
    }
    object.into()
}

impl ServiceChange {
    /// One of `services` in what `diff --json` prints; its keys are a contract.
    pub fn json(&self) -> Value {
        let mut networks = Vec::new();
        for movement in &self.networks {
            networks.push(json!({
                "network": movement.network.to_string(),
                "share": movement.share,
                "before": places_json(&movement.before),
                "after": places_json(&movement.after),
            }));
        }
        json!({
            "name": self.name,
            "type": self.rtype.to_string(),
            "moved": round(self.moved),
            "before": places_json(&self.before),
            "after": places_json(&self.after),
            "networks": networks,
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
