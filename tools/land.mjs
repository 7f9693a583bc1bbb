// Makes the two files of the dashboard's world map from Natural Earth's 1:110m data, which is in the
// public domain (https://www.naturalearthdata.com/about/terms-of-use/):
//
//   land.path   the land outline as the `d` of an SVG path, in the Equal Earth projection
//   cells.txt   a grid of 2 by 2 degrees: the country of each cell by its ISO 3166-1 code
//
// Run in this directory, after `npm install --no-save world-atlas@2.0.2 topojson-client@3.1.0
// d3-geo@3.1.1 i18n-iso-countries@7.14.0`:
//
//   node land.mjs ../src/control/dashboard/assets

import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { feature } from "topojson-client";
import { geoBounds, geoContains, geoPath, geoProjection } from "d3-geo";
import countries from "i18n-iso-countries";

const require = createRequire(import.meta.url);
const atlas = (name) => JSON.parse(readFileSync(require.resolve(`world-atlas/${name}.json`)));

// The same numbers are in src/control/dashboard/projection.rs, whose test compares the two.
const NORTH = 84, SOUTH = -58, CELL = 2, WIDTH = 1000;
const [A1, A2, A3, A4] = [1.340264, -0.081106, 0.000893, 0.003796];
const M = Math.sqrt(3) / 2;

/** Equal Earth (Šavrič, Patterson, Jenny 2018): radians → the unit sphere's plane. */
function equalEarth(longitude, latitude) {
    const t = Math.asin(M * Math.sin(latitude));
    const t2 = t * t, t6 = t2 * t2 * t2;
    const x = longitude * Math.cos(t) / (M * (A1 + 3 * A2 * t2 + t6 * (7 * A3 + 9 * A4 * t2)));
    const y = t * (A1 + A2 * t2 + t6 * (A3 + A4 * t2));
    return [x, y];
}

const radians = (degrees) => degrees * Math.PI / 180;
const SCALE = WIDTH / (2 * equalEarth(Math.PI, 0)[0]);
const TOP = equalEarth(0, radians(NORTH))[1];

/** Lines and rings of the land in the map's units, cut where they cross the antimeridian. */
const projection = geoProjection(equalEarth).scale(SCALE).translate([WIDTH / 2, TOP * SCALE]).precision(0);

/** Keeps a path as it is, in tenths of a unit, each point relative to the one before. */
class Outline {
    path = "";
    last = null;
    moveTo(x, y) { this.last = [tenths(x), tenths(y)]; this.path += `M${this.last[0] / 10} ${this.last[1] / 10}`; }
    lineTo(x, y) {
        const to = [tenths(x), tenths(y)];
        const [dx, dy] = [to[0] - this.last[0], to[1] - this.last[1]];
        if (dx === 0 && dy === 0) return;
        this.path += `l${dx / 10}${dy < 0 ? "" : " "}${dy / 10}`;
        this.last = to;
    }
    closePath() { this.path += "z"; }
}
const tenths = (number) => Math.round(number * 10);

const land = atlas("land-110m");
const outline = new Outline();
for (const shape of feature(land, land.objects.land).features) {
    // Antarctica has no clients and would take a fifth of the map.
    const polygons = shape.geometry.coordinates.filter(([ring]) => !ring.every(([, latitude]) => latitude < SOUTH));
    geoPath(projection, outline)({ type: "MultiPolygon", coordinates: polygons });
}

const world = atlas("countries-110m");
const shapes = feature(world, world.objects.countries).features
    .filter((shape) => shape.id !== undefined)
    .map((shape) => ({ shape, code: countries.numericToAlpha2(shape.id), bounds: geoBounds(shape) }))
    .filter(({ code }) => code !== undefined && code !== "AQ");

/** True where the point may be in a box, which may cross the antimeridian. */
function near([[west, south], [east, north]], [longitude, latitude]) {
    if (latitude < south || latitude > north) return false;
    return west <= east ? longitude >= west && longitude <= east : longitude >= west || longitude <= east;
}

/** The country that has most of a cell's nine points; `--` where there is no land. */
function country(west, north) {
    const counts = new Map();
    for (const x of [0.3, 1, 1.7]) {
        for (const y of [0.3, 1, 1.7]) {
            const point = [west + x, north - y];
            const found = shapes.find(({ shape, bounds }) => near(bounds, point) && geoContains(shape, point));
            if (found) counts.set(found.code, (counts.get(found.code) ?? 0) + 1);
        }
    }
    const best = [...counts].sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1))[0];
    return best ? best[0] : "--";
}

const rows = [];
for (let north = NORTH; north > SOUTH; north -= CELL) {
    const runs = [];
    for (let west = -180; west < 180; west += CELL) {
        const code = country(west, north);
        if (runs.at(-1)?.code === code) runs.at(-1).count += 1;
        else runs.push({ code, count: 1 });
    }
    rows.push(runs.map(({ code, count }) => `${count}${code}`).join(" "));
}

const directory = process.argv[2];
writeFileSync(`${directory}/land.path`, outline.path + "\n");
writeFileSync(`${directory}/cells.txt`, rows.join("\n") + "\n");
