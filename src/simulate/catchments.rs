//! Catchments: the destinations of the clients of each area of the world.
//!
//! ```text
//! locations ─┐
//!            ├─ Census ── clients by area and order ──┐
//! a map     ─┘                                        ├─ catchments ── Catchment
//! the plan of a service, as it is now ── one traced ──┘
//!                                        selection per order
//! ```

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::FixedState;

use super::clients::{Class, client_ranges, v4_prefix};
use super::split::{ClassSplit, Destination, Subject};
use crate::dataset::Snapshot;
use crate::geo::{Code, GeoMap, Located, Location, Locations, OrderId, zip_runs};
use crate::model::Coordinates;

/// Side of a cell, in degrees.
pub const CELL: u8 = 2;

/// An area, as narrow as the location database tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Area {
    /// A cell of [`CELL`] by [`CELL`] degrees: its row, from 90° north, and its column, from 180° west.
    Cell(u8, u8),
    /// A country, for clients of whom no coordinates are known.
    Country(Code),
    /// A continent, for clients of whom no country is known either.
    Continent(Code),
    /// The whole world, for clients of whom nothing is known.
    Unknown,
}

impl Area {
    /// The cell in which a point is.
    pub fn at(point: Coordinates) -> Area {
        let cell = f64::from(CELL);
        // The cast saturates, and the pole and the antimeridian belong to the last row and column.
        let index = |degrees: f64, count: u8| ((degrees / cell) as u8).min(count - 1);
        Area::Cell(
            index(90.0 - point.latitude, 180 / CELL),
            index(point.longitude + 180.0, (360 / u16::from(CELL)) as u8),
        )
    }

    fn of(location: Option<&Location>) -> Area {
        let Some(location) = location else {
            return Area::Unknown;
        };
        if let Some(point) = location.coordinates {
            return Area::at(point);
        }
        match (location.country, location.continent) {
            (Some(country), _) => Area::Country(country),
            (None, Some(continent)) => Area::Continent(continent),
            (None, None) => Area::Unknown,
        }
    }
}

/// The IPv4 addresses at which clients are, by their area and by the order that a map gives them.
#[derive(Debug)]
pub struct Census {
    clients: Vec<(Area, OrderId, u64)>,
    /// A client of each order.
    samples: BTreeMap<OrderId, Class>,
}

impl Census {
    /// Counts the clients of `map`, which was compiled from `locations`. Takes a fraction of a second
    /// with a database of millions of networks.
    pub fn new(map: &GeoMap, locations: &Locations) -> Census {
        let orders = map
            .v4_runs()
            .map(|(start, order)| (u128::from(start), order));
        let places = locations
            .v4_runs()
            .map(|(start, place)| (u128::from(start), place));
        let mut runs = zip_runs(orders, places).peekable();
        let mut counts: HashMap<(Area, OrderId), u64, FixedState> = HashMap::default();
        let mut samples = BTreeMap::new();
        while let Some((start, (order, place))) = runs.next() {
            let end = runs.peek().map_or(1 << 32, |(next, _)| *next);
            let area = Area::of(place);
            // Both are IPv4 addresses, or the end of these.
            for part in client_ranges(start as u64..end as u64) {
                *counts.entry((area, order)).or_default() += part.end - part.start;
                samples.entry(order).or_insert_with(|| {
                    let client = v4_prefix(part.start);
                    let located: Located = map.lookup(client);
                    Class {
                        client,
                        located: Some(located),
                        weight: 0.0,
                    }
                });
            }
        }
        let mut clients: Vec<_> = counts
            .into_iter()
            .map(|((area, order), count)| (area, order, count))
            .collect();
        clients.sort_unstable();
        Census { clients, samples }
    }

    /// The catchments of `subject`, a service of `snapshot` whose map was counted, as the plan in
    /// force makes them; in the order of the areas.
    pub fn catchments(&self, snapshot: &Snapshot, subject: Subject) -> Vec<Catchment> {
        let plan = &snapshot.plans[subject.service.index()];
        let map = snapshot.dataset.map_of(plan);
        let mut splits = BTreeMap::new();
        for (order, class) in &self.samples {
            let mut split = ClassSplit::default();
            split.fill(plan, map, subject.rtype, class);
            splits.insert(*order, split.split);
        }
        let mut catchments = Vec::new();
        for of_area in self.clients.chunk_by(|one, next| one.0 == next.0) {
            let mut weights: BTreeMap<Destination, f64> = BTreeMap::new();
            let mut clients = 0;
            for (_, order, count) in of_area {
                clients += count;
                for (destination, share) in &splits[order] {
                    *weights.entry(*destination).or_default() += share * *count as f64;
                }
            }
            catchments.push(Catchment {
                area: of_area[0].0,
                clients,
                split: weights
                    .into_iter()
                    .map(|(destination, weight)| (destination, weight / clients as f64))
                    .collect(),
            });
        }
        catchments
    }
}

/// The clients of one area, and their destinations.
#[derive(Debug, Clone, PartialEq)]
pub struct Catchment {
    /// The area.
    pub area: Area,
    /// The number of IPv4 addresses at which clients are there, never 0.
    pub clients: u64,
    /// Destinations with the share of the clients that each gets, in their order.
    pub split: Vec<(Destination, f64)>,
}

impl Catchment {
    /// The destination that most of them get, and the share of them, 0 … 1.
    pub fn main(&self) -> (Destination, f64) {
        let largest = self.split.iter().copied();
        largest
            .reduce(|best, other| if other.1 > best.1 { other } else { best })
            // Somebody is there, so somebody goes somewhere.
            .unwrap_or((Destination::Nowhere, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_have_cells() {
        let at = |latitude, longitude| {
            Area::at(Coordinates {
                latitude,
                longitude,
            })
        };
        assert_eq!(at(90.0, -180.0), Area::Cell(0, 0));
        assert_eq!(at(-90.0, 180.0), Area::Cell(89, 179));
        assert_eq!(at(53.35, -6.26), Area::Cell(18, 86));
        assert_eq!(at(0.0, 0.0), Area::Cell(45, 90));
    }
}
