//! The projection of the world map: Equal Earth, in which areas keep their sizes and parallels are
//! straight. `tools/land.mjs` draws the land with the same numbers.

/// Width of the map, in its own units.
pub(super) const WIDTH: f64 = 1000.0;
/// Its northern edge, in degrees.
pub(super) const NORTH: f64 = 84.0;
/// Its southern edge, in degrees: Antarctica has no clients.
pub(super) const SOUTH: f64 = -58.0;

/// The coefficients of Šavrič, Patterson and Jenny, 2018.
const A: [f64; 4] = [1.340_264, -0.081_106, 0.000_893, 0.003_796];

/// Degrees to radians of the unit sphere's plane, x to the east and y to the north.
fn equal_earth(longitude: f64, latitude: f64) -> (f64, f64) {
    let m = 3_f64.sqrt() / 2.0;
    let t = (m * latitude.to_radians().sin()).asin();
    let (t2, t6) = (t.powi(2), t.powi(6));
    let x = longitude.to_radians() * t.cos()
        / (m * (A[0] + 3.0 * A[1] * t2 + t6 * (7.0 * A[2] + 9.0 * A[3] * t2)));
    let y = t * (A[0] + A[1] * t2 + t6 * (A[2] + A[3] * t2));
    (x, y)
}

fn scale() -> f64 {
    WIDTH / (2.0 * equal_earth(180.0, 0.0).0)
}

/// Degrees to the map's units: x to the right, y down.
pub(super) fn project(longitude: f64, latitude: f64) -> (f64, f64) {
    let (x, y) = equal_earth(longitude, latitude.clamp(SOUTH, NORTH));
    let top = equal_earth(0.0, NORTH).1;
    (WIDTH / 2.0 + x * scale(), (top - y) * scale())
}

/// Height of the map, in its own units.
pub(super) fn height() -> f64 {
    project(0.0, SOUTH).1.round()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_land_and_the_dots_have_one_projection() {
        let land = include_str!("assets/land.path");
        // The first points of the outlines of Tierra del Fuego and Tasmania.
        for (longitude, latitude) in [
            (-67.750_877_508_775_09, -53.849_868_141_675_91),
            (145.396_453_964_539_64, -40.791_778_516_969_444),
        ] {
            let (x, y) = project(longitude, latitude);
            let (x, y) = ((x * 10.0).round() / 10.0, (y * 10.0).round() / 10.0);
            assert!(
                land.contains(&format!("M{x} {y}l")),
                "{longitude} {latitude}: M{x} {y}"
            );
        }
        assert_eq!(project(0.0, 0.0).0, 500.0);
        assert!((project(180.0, 0.0).0 - 1000.0).abs() < 1e-9);
        assert!((380.0..480.0).contains(&height()), "{}", height());
    }
}
