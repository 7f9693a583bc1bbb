//! The grid of the map: which country is in which cell, and which destination each cell is painted
//! with.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::super::projection::{NORTH, project};
use crate::geo::{Code, continent_of};
use crate::simulate::{Area, CELL, Catchment, Destination};

/// Columns of the grid.
const COLUMNS: u8 = 180;

/// A cell with land in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Land {
    /// Counted from [`NORTH`].
    row: u8,
    column: u8,
    country: Code,
}

/// Every cell with land in it, row by row. `tools/land.mjs` writes the grid.
static LAND: LazyLock<Vec<Land>> = LazyLock::new(|| {
    let mut cells = Vec::new();
    for (row, line) in (0..).zip(include_str!("../assets/cells.txt").lines()) {
        let mut column = 0;
        for run in line.split(' ') {
            let (count, code) = run.split_at(run.len() - 2);
            for _ in 0..count.parse().unwrap_or(0_u8) {
                if let Some(country) = Code::new(code) {
                    cells.push(Land {
                        row,
                        column,
                        country,
                    });
                }
                column += 1;
            }
        }
    }
    cells
});

impl Land {
    /// Its row as [`Area::Cell`] counts it.
    fn world_row(self) -> u8 {
        self.row + (90 - NORTH as u8) / CELL
    }
}

/// A stretch of cells of one row with one destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    row: u8,
    first: u8,
    end: u8,
}

impl Stretch {
    /// Its outline, in the units of the map.
    pub(super) fn path(self) -> String {
        let degrees = |row: u8| NORTH - f64::from(row) * f64::from(CELL);
        let (top, bottom) = (degrees(self.row), degrees(self.row + 1));
        let meridian = |column: u8| f64::from(column) * f64::from(CELL) - 180.0;
        let (west, east) = (meridian(self.first), meridian(self.end));
        let [a, b, c, d] = [(west, top), (east, top), (east, bottom), (west, bottom)]
            .map(|(longitude, latitude)| project(longitude, latitude));
        // Half a tenth more at the bottom hides the seam between rows.
        format!(
            "M{:.1} {:.1}H{:.1}L{:.1} {:.1}H{:.1}z",
            a.0,
            a.1,
            b.0,
            c.0,
            c.1 + 0.1,
            d.0
        )
    }
}

/// The cells that one destination gets: those whose own clients get it, and those that take after
/// others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Painted {
    pub(super) own: Vec<Stretch>,
    pub(super) guessed: Vec<Stretch>,
}

/// The clients of a country that have coordinates.
#[derive(Debug, Default)]
struct Located {
    clients: u64,
    cells: Vec<(Land, Destination)>,
}

/// Paints every cell with land in it.
///
/// A cell in which clients are located has the destination of most of these. Any other takes after
/// the largest of three groups: the nearest cell of its country, for all cells of the country that
/// have clients; clients of whom only this country is known; and clients of whom only this continent
/// is known. Where there is none, it takes after those of whom nothing is known.
pub(super) fn paint(catchments: &[Catchment]) -> BTreeMap<Destination, Painted> {
    let by_area: BTreeMap<Area, &Catchment> =
        catchments.iter().map(|own| (own.area, own)).collect();
    let mut of_country: BTreeMap<Code, Located> = BTreeMap::new();
    let mut own = BTreeMap::new();
    for cell in LAND.iter() {
        let area = Area::Cell(cell.world_row(), cell.column);
        if let Some(catchment) = by_area.get(&area) {
            let destination = catchment.main().0;
            let country = of_country.entry(cell.country).or_default();
            country.clients += catchment.clients;
            country.cells.push((*cell, destination));
            own.insert((cell.row, cell.column), destination);
        }
    }
    let mut painted: BTreeMap<Destination, Painted> = BTreeMap::new();
    for cell in LAND.iter() {
        if let Some(destination) = own.get(&(cell.row, cell.column)) {
            add(&mut painted.entry(*destination).or_default().own, *cell);
        } else if let Some(destination) = guess(*cell, &by_area, &of_country) {
            add(&mut painted.entry(destination).or_default().guessed, *cell);
        }
    }
    painted
}

/// The destination that a cell without clients of its own takes after.
fn guess(
    cell: Land,
    by_area: &BTreeMap<Area, &Catchment>,
    of_country: &BTreeMap<Code, Located>,
) -> Option<Destination> {
    let near = of_country.get(&cell.country);
    let country = by_area.get(&Area::Country(cell.country));
    let continent = continent_of(cell.country).and_then(|own| by_area.get(&Area::Continent(own)));
    let wide = [country, continent]
        .into_iter()
        .flatten()
        .max_by_key(|catchment| catchment.clients);
    match (near, wide) {
        (Some(near), wide) if wide.is_none_or(|wide| wide.clients <= near.clients) => {
            let nearest = near
                .cells
                .iter()
                .min_by_key(|(other, _)| distance(cell, *other));
            nearest.map(|(_, destination)| *destination)
        }
        (_, Some(wide)) => Some(wide.main().0),
        (_, None) => Some(by_area.get(&Area::Unknown)?.main().0),
    }
}

/// A measure of the distance of two cells, good enough to compare.
fn distance(one: Land, other: Land) -> u32 {
    let rows = u32::from(one.row.abs_diff(other.row));
    let columns = one.column.abs_diff(other.column);
    let columns = u32::from(columns.min(COLUMNS - columns));
    rows * rows + columns * columns
}

/// Adds a cell, which comes after those before in its row.
fn add(stretches: &mut Vec<Stretch>, cell: Land) {
    match stretches.last_mut() {
        Some(last) if last.row == cell.row && last.end == cell.column => last.end += 1,
        _ => stretches.push(Stretch {
            row: cell.row,
            first: cell.column,
            end: cell.column + 1,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Coordinates, RegionId};

    fn country_at(latitude: f64, longitude: f64) -> Option<String> {
        let Area::Cell(row, column) = Area::at(Coordinates {
            latitude,
            longitude,
        }) else {
            return None;
        };
        let mut cells = LAND.iter();
        cells
            .find(|cell| cell.world_row() == row && cell.column == column)
            .map(|cell| cell.country.to_string())
    }

    #[test]
    fn the_grid_has_every_country_where_it_is() {
        for (latitude, longitude, country) in [
            (48.9, 2.3, "FR"),
            (39.0, -98.0, "US"),
            (-25.0, 133.0, "AU"),
            (36.2, 138.2, "JP"),
            (-33.0, -69.0, "AR"),
            (65.0, 100.0, "RU"),
        ] {
            assert_eq!(country_at(latitude, longitude).as_deref(), Some(country));
        }
        assert_eq!(country_at(0.0, -30.0), None, "the Atlantic");
        assert!(LAND.iter().all(|cell| continent_of(cell.country).is_some()));
    }

    fn catchment(area: Area, clients: u64, region: u16) -> Catchment {
        Catchment {
            area,
            clients,
            split: vec![(Destination::Region(RegionId(region)), 1.0)],
        }
    }

    #[test]
    fn a_cell_without_clients_takes_after_the_largest_group() {
        let paris = Area::at(Coordinates {
            latitude: 48.9,
            longitude: 2.3,
        });
        let europe = |clients| catchment(Area::Continent(Code::new("EU").unwrap()), clients, 1);
        let rest = catchment(Area::Unknown, 1, 2);
        let cells = |catchments: &[Catchment], region| {
            let painted = paint(catchments);
            let of_region = painted.get(&Destination::Region(RegionId(region)));
            of_region.map_or((0, 0), |painted| {
                let count = |stretches: &[Stretch]| {
                    let lengths = stretches.iter().map(|own| usize::from(own.end - own.first));
                    lengths.sum::<usize>()
                };
                (count(&painted.own), count(&painted.guessed))
            })
        };
        // A few addresses in one city say little of the country.
        let few = [catchment(paris, 10, 0), europe(1000), rest.clone()];
        assert_eq!(cells(&few, 0), (1, 0));
        // Many do.
        let many = [catchment(paris, 2000, 0), europe(1000), rest];
        let (own, guessed) = cells(&many, 0);
        assert!(own == 1 && (5..40).contains(&guessed), "{guessed}");
        let of_europe = cells(&many, 1).1;
        assert!(of_europe > 100, "{of_europe}");
        assert_eq!(
            cells(&many, 0).1 + of_europe + cells(&many, 2).1 + 1,
            LAND.len()
        );
    }
}
