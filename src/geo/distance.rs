//! Great-circle distance, and what a region's bias makes of it.

use crate::model::Coordinates;

/// Mean radius of the earth in kilometres.
const EARTH_RADIUS: f64 = 6371.0;

/// A point on the unit sphere.
///
/// The haversine formula is the chord between two such points, bent back onto the sphere: with the
/// points kept, a distance costs three products and one arcsine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point([f64; 3]);

impl From<Coordinates> for Point {
    fn from(coordinates: Coordinates) -> Point {
        let (sin_latitude, cos_latitude) = coordinates.latitude.to_radians().sin_cos();
        let (sin_longitude, cos_longitude) = coordinates.longitude.to_radians().sin_cos();
        Point([
            cos_latitude * cos_longitude,
            cos_latitude * sin_longitude,
            sin_latitude,
        ])
    }
}

impl Point {
    /// Kilometres along the great circle.
    pub(super) fn kilometres_to(self, other: Point) -> f64 {
        let chord = self
            .0
            .iter()
            .zip(other.0)
            .map(|(a, b)| (a - b) * (a - b))
            .sum::<f64>()
            .sqrt();
        // Rounding may put antipodes a hair beyond 1, where the arcsine has no value.
        2.0 * EARTH_RADIUS * (chord / 2.0).min(1.0).asin()
    }
}

/// `kilometres` as a region of `bias` (−99 … 99) counts them: a positive bias draws clients from
/// further away, a negative one pushes them off.
pub(super) fn biased(kilometres: f64, bias: i8) -> f64 {
    let share = f64::from(bias) / 100.0;
    if bias > 0 {
        kilometres * (1.0 - share)
    } else {
        kilometres / (1.0 + share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kilometres(a: (f64, f64), b: (f64, f64)) -> f64 {
        let point = |(latitude, longitude)| {
            Point::from(Coordinates {
                latitude,
                longitude,
            })
        };
        point(a).kilometres_to(point(b))
    }

    #[test]
    fn distances_are_those_of_the_haversine_formula() {
        let haversine = |a: (f64, f64), b: (f64, f64)| {
            let (p, q) = (a.0.to_radians(), b.0.to_radians());
            let (dp, dl) = (q - p, (b.1 - a.1).to_radians());
            let h = (dp / 2.0).sin().powi(2) + p.cos() * q.cos() * (dl / 2.0).sin().powi(2);
            2.0 * EARTH_RADIUS * h.sqrt().asin()
        };
        let cities = [
            (53.35, -6.26),
            (50.11, 8.68),
            (35.69, 139.69),
            (-33.87, 151.21),
            (40.71, -74.01),
            (53.36, -6.25),
        ];
        for a in cities {
            for b in cities {
                assert!(
                    (kilometres(a, b) - haversine(a, b)).abs() < 1e-6,
                    "{a:?} {b:?}"
                );
            }
        }
        assert!(
            (kilometres((53.35, -6.26), (51.51, -0.13)) - 463.0).abs() < 2.0,
            "Dublin to London"
        );
    }

    #[test]
    fn antipodes_are_half_way_round() {
        let half = std::f64::consts::PI * EARTH_RADIUS;
        assert!((kilometres((90.0, 0.0), (-90.0, 77.0)) - half).abs() < 1e-3);
        assert!((kilometres((12.0, -180.0), (-12.0, 0.0)) - half).abs() < 1e-3);
        assert_eq!(kilometres((0.0, 180.0), (0.0, -180.0)).round(), 0.0);
    }

    #[test]
    fn bias_draws_and_pushes() {
        assert_eq!(biased(1000.0, 0), 1000.0);
        assert_eq!(biased(1000.0, 50), 500.0);
        assert_eq!(biased(1000.0, -50), 2000.0);
    }
}
