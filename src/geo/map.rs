//! One map, compiled: client → region order and scope.

use super::FastMap;
use super::location::Location;
use super::locations::Locations;
use super::resolve::{Client, Resolver, Source};
use super::runs::zip_runs;
use super::table::Table;
use super::tree::V4Tree;
use crate::model::{MapSpec, Prefix, Region, RegionOrder, RegionSet};

/// One of the distinct orders of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderId(pub u32);

/// A client's place on a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Located {
    /// Its order; see [`GeoMap::order`].
    pub order: OrderId,
    /// Length of the largest prefix around the client's address in which every client has that
    /// order: 0 … 32 or 0 … 128. It may be longer than the client's prefix.
    pub scope: u8,
}

/// The way a client was located, for `why`.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The source that gave the order.
    pub located_by: Source,
    /// The client's location, as far as it is known.
    pub location: Location,
    /// The AS number, where it is known.
    pub asn: Option<u32>,
    /// The order; see [`GeoMap::order`].
    pub order: OrderId,
    /// Scope as in [`Located::scope`].
    pub scope: u8,
}

/// A compiled map: flat tables, no allocation and no branch on anything but the address.
#[derive(Debug)]
pub struct GeoMap {
    orders: Vec<RegionOrder>,
    table: Table,
    /// The distinct borders; 0 in `border_table` is none, 1 the first of these.
    borders: Vec<RegionSet>,
    /// Absent where the map has no border.
    border_table: Option<Table>,
}

impl GeoMap {
    /// Compiles `spec` for `regions`, with what `locations` knows about addresses.
    pub fn compile(spec: &MapSpec, regions: &[Region], locations: &Locations) -> GeoMap {
        let mut clients = Clients::new(spec, regions, locations);
        let v4: V4Tree = clients.v4().collect();
        let table = Table::new(v4, clients.v6());
        let (borders, border_table) = borders(&clients.resolver.orders, &table);
        GeoMap {
            orders: clients.resolver.orders,
            table,
            borders,
            border_table,
        }
    }

    /// The client's order, and the scope in which it holds.
    #[inline]
    pub fn lookup(&self, client: Prefix) -> Located {
        let found = self.table.find(client);
        Located {
            order: OrderId(found.value),
            scope: found.scope,
        }
    }

    /// Has the memory fetched that [`GeoMap::lookup`] reads for `client`, in steps 0 … [`super::FETCH_STEPS`] − 1: each
    /// needs what the one before it fetched, so that a batch of clients goes through each step together.
    #[inline]
    pub fn fetch(&self, client: Prefix, step: usize) {
        self.table.fetch(client, step);
    }

    /// True where any client has a border.
    pub fn has_borders(&self) -> bool {
        self.border_table.is_some()
    }

    /// The client's border alone (`None`: it may be sent anywhere), and the scope in which that
    /// holds; for routes that choose among regions by something else than the order.
    #[inline]
    pub fn border(&self, client: Prefix) -> (Option<&RegionSet>, u8) {
        let Some(table) = &self.border_table else {
            return (None, 0);
        };
        let found = table.find(client);
        (
            found
                .value
                .checked_sub(1)
                .map(|border| &self.borders[border as usize]),
            found.scope,
        )
    }

    /// The order of an id of this map.
    #[inline]
    pub fn order(&self, id: OrderId) -> &RegionOrder {
        &self.orders[id.0 as usize]
    }

    /// Every order of the map, by [`OrderId`].
    pub fn orders(&self) -> &[RegionOrder] {
        &self.orders
    }

    /// Stretches of IPv4 clients in order: the first address of each, and the order of all in it. Neighbours may have the same.
    pub fn v4_runs(&self) -> impl Iterator<Item = (u32, OrderId)> {
        self.table
            .v4_runs()
            .map(|(start, order)| (start, OrderId(order)))
    }

    /// The same of IPv6. Stretches of addresses that hold IPv4 ones may have another order than their clients, who are IPv4
    /// clients: [`GeoMap::lookup`] knows.
    pub fn v6_runs(&self) -> impl Iterator<Item = (u128, OrderId)> {
        self.table
            .v6_runs()
            .map(|(start, order)| (start, OrderId(order)))
    }

    /// Explains how `client` is located. `spec`, `regions` and `locations` are those that the map
    /// was compiled from.
    pub fn explain(
        &self,
        spec: &MapSpec,
        regions: &[Region],
        locations: &Locations,
        client: Prefix,
    ) -> Explanation {
        let address = self.table.address_of(client);
        let mut resolver = Resolver::new(spec, regions);
        let location = locations.locate(address).copied().unwrap_or_default();
        let asn = locations.asn(address);
        let network = resolver.nesting.innermost(address);
        let (id, located_by) = resolver.resolve(Client {
            network,
            asn,
            location: &location,
        });
        let Located { order, scope } = self.lookup(client);
        // The explanation is resolved anew and must be of the order that the table answers. Orders
        // are compared and not ids: each resolver numbers them as it meets them.
        debug_assert_eq!(resolver.orders[id as usize], self.orders[order.0 as usize]);
        Explanation {
            located_by,
            location,
            asn,
            order,
            scope,
        }
    }
}

/// Every client there is, by what is known about it, and the order it gets.
struct Clients<'a> {
    resolver: Resolver<'a>,
    spec: &'a MapSpec,
    locations: &'a Locations,
    /// The orders of clients with nothing but a place, by place.
    by_place: Vec<Option<u32>>,
    /// The orders of the others: by network, AS number and place.
    others: FastMap<(Option<usize>, u32, u32), u32>,
}

impl<'a> Clients<'a> {
    fn new(spec: &'a MapSpec, regions: &'a [Region], locations: &'a Locations) -> Clients<'a> {
        let by_place = vec![None; locations.places.len()];
        Clients {
            resolver: Resolver::new(spec, regions),
            spec,
            locations,
            by_place,
            others: FastMap::default(),
        }
    }

    /// From each IPv4 address on, the order.
    fn v4(&mut self) -> impl Iterator<Item = (u32, u32)> {
        let (asns, places) = (
            self.locations.asns.v4.iter().map(widened),
            self.locations.cities.v4.iter().map(widened),
        );
        self.orders(true, asns, places).map(|(start, order)| {
            let start = u32::try_from(start).expect("widened from 32 bits");
            (start, order)
        })
    }

    /// From each IPv6 address on, the order.
    fn v6(&mut self) -> impl Iterator<Item = (u128, u32)> {
        self.orders(
            false,
            self.locations.asns.v6.iter(),
            self.locations.cities.v6.iter(),
        )
    }

    fn orders(
        &mut self,
        v4: bool,
        asns: impl Iterator<Item = (u128, u32)>,
        places: impl Iterator<Item = (u128, u32)>,
    ) -> impl Iterator<Item = (u128, u32)> {
        // An AS number without an entry is as good as none; a map without any needs no more than the first run.
        let wanted = if self.spec.asns.is_empty() {
            1
        } else {
            usize::MAX
        };
        let entries = &self.spec.asns;
        let asns = asns.take(wanted).map(move |(start, asn)| {
            let known = entries.contains_key(&asn);
            (start, if known { asn } else { 0 })
        });
        let networks = self.resolver.nesting.runs(v4).to_vec().into_iter();
        zip_runs(zip_runs(networks, asns), places)
            .map(|(start, ((network, asn), place))| (start, self.order(network, asn, place)))
    }

    /// The order of a client, resolved once.
    fn order(&mut self, network: Option<usize>, asn: u32, place: u32) -> u32 {
        // Nearly all runs have a place and nothing more: for those an array does, without a hash.
        let plain = network.is_none() && asn == 0;
        let known = if plain {
            self.by_place[place as usize]
        } else {
            self.others.get(&(network, asn, place)).copied()
        };
        known.unwrap_or_else(|| {
            let location = &self.locations.places[place as usize];
            let asn_known = Some(asn).filter(|asn| *asn != 0);
            let (order, _) = self.resolver.resolve(Client {
                network,
                asn: asn_known,
                location,
            });
            if plain {
                self.by_place[place as usize] = Some(order);
            } else {
                self.others.insert((network, asn, place), order);
            }
            order
        })
    }
}

/// A run of IPv4 as one of a table with 128 bits.
fn widened((start, value): (u32, u32)) -> (u128, u32) {
    (u128::from(start), value)
}

/// The distinct borders of `orders`, and the table of them; none where no order has one.
fn borders(orders: &[RegionOrder], table: &Table) -> (Vec<RegionSet>, Option<Table>) {
    let mut borders: Vec<RegionSet> = Vec::new();
    let ids: Vec<u32> = orders
        .iter()
        .map(|order| {
            let Some(border) = &order.border else {
                return 0;
            };
            let at = borders
                .iter()
                .position(|known| known == border)
                .unwrap_or_else(|| {
                    borders.push(border.clone());
                    borders.len() - 1
                });
            // Borders are fewer than orders, whose numbers have 32 bits.
            at as u32 + 1
        })
        .collect();
    let table = (!borders.is_empty()).then(|| table.map(|order| ids[order as usize]));
    (borders, table)
}
