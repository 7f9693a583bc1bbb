//! The map as SVG: land, catchments, and a dot for each region.

use std::fmt::Write;

use maud::{Markup, html};

use super::super::facts::{RegionFacts, State};
use super::super::layout::{COLOURS, colour, percent};
use super::super::projection::{WIDTH, height, project};
use super::cells::{Painted, Stretch, paint};
use crate::model::{Region, RegionId};
use crate::simulate::{Catchment, Destination};

/// The outline of the land. `tools/land.mjs` draws it from Natural Earth's data, which is in the
/// public domain.
const LAND: &str = include_str!("../assets/land.path");

/// The map; `catchments` are those of the service that it is painted for.
pub(super) fn render(
    regions: &[Region],
    facts: &[RegionFacts],
    catchments: &[Catchment],
    described: &str,
) -> Markup {
    let view = format!("0 0 {WIDTH} {}", height());
    html! {
        svg.world viewBox=(view) role="img" aria-label=(described) {
            defs {
                path id="outline" d=(LAND.trim_end()) {}
                clipPath id="coast" { use href="#outline" {} }
                @for pattern in 1..3 { (hatch(pattern)) }
            }
            use.land href="#outline" {}
            g clip-path="url(#coast)" { (areas(catchments)) }
            use.coast href="#outline" {}
            @for dot in dots(regions, facts) { (dot) }
        }
    }
}

/// A pattern that thins out a colour, for regions beyond the number of colours.
fn hatch(pattern: usize) -> Markup {
    html! {
        pattern id=(format!("hatch{pattern}")) width="5" height="5" patternUnits="userSpaceOnUse"
            patternTransform=[(pattern == 1).then_some("rotate(45)")] {
            @if pattern == 1 { rect width="2" height="5" fill="white" {} }
            @else { circle cx="2.5" cy="2.5" r="1.4" fill="white" {} }
        }
        mask id=(format!("mask{pattern}")) {
            rect width=(WIDTH) height=(height()) fill="#777" {}
            rect width=(WIDTH) height=(height()) fill=(format!("url(#hatch{pattern})")) {}
        }
    }
}

fn areas(catchments: &[Catchment]) -> Markup {
    let painted = if catchments.is_empty() {
        Default::default()
    } else {
        paint(catchments)
    };
    html! {
        @for (destination, Painted { own, guessed }) in &painted {
            @if let Destination::Region(region) = destination {
                @let mask = mask(*region);
                @if !guessed.is_empty() {
                    path class={ "catch guess " (colour(*region)) } mask=[mask.as_deref()]
                        d=(outline(guessed)) {}
                }
                @if !own.is_empty() {
                    path class={ "catch " (colour(*region)) } mask=[mask.as_deref()]
                        d=(outline(own)) {}
                }
            }
        }
    }
}

fn mask(region: RegionId) -> Option<String> {
    match region.index() / COLOURS % super::super::layout::PATTERNS {
        0 => None,
        pattern => Some(format!("url(#mask{pattern})")),
    }
}

fn outline(stretches: &[Stretch]) -> String {
    let mut path = String::new();
    for stretch in stretches {
        // Writing to a string cannot fail.
        let _ = write!(path, "{}", stretch.path());
    }
    path
}

/// A dot with the name of each region whose place is known.
fn dots(regions: &[Region], facts: &[RegionFacts]) -> Vec<Markup> {
    let place = |region: &Region| {
        let point = region.coordinates?;
        Some(project(point.longitude, point.latitude))
    };
    let mut placed: Vec<Dot> = Vec::new();
    let mut dots = Vec::new();
    let all = regions.iter().filter_map(place);
    let known = regions.iter().zip(facts);
    let known = known.filter(|(region, _)| region.coordinates.is_some());
    for (index, (region, facts)) in known.enumerate() {
        let Some((x, y)) = place(region) else {
            continue;
        };
        // Dots of one place stand side by side.
        let beside = placed
            .iter()
            .filter(|other| other.is_within(x, y, 8.0, 8.0));
        let x = x + beside.count() as f64 * 12.0;
        let mut others = regions.iter().filter_map(place);
        let is_crowded = others
            .any(|(other, at)| (x + 12.0..x + 75.0).contains(&other) && (at - y).abs() < 14.0);
        let is_left = x > WIDTH * 0.82 || is_crowded;
        // Names of neighbours stand one below the other.
        let same = placed
            .iter()
            .filter(|other| other.is_left == is_left && other.is_within(x, y, 90.0, 15.0));
        let after = all.clone().skip(index + 1);
        let after = after.filter(|(other, at)| (other - x).abs() < 20.0 && (at - y).abs() < 8.0);
        let dot = Dot {
            x,
            y,
            is_left,
            gap: 11.0 + after.count() as f64 * 12.0,
            line: same.count() as f64,
        };
        dots.push(self::dot(region, facts, dot));
        placed.push(dot);
    }
    dots
}

/// The place of a dot and of its name.
#[derive(Debug, Clone, Copy)]
struct Dot {
    x: f64,
    y: f64,
    /// The name stands to the left.
    is_left: bool,
    /// The distance of the name, which leaves room for the dots of the same place.
    gap: f64,
    /// Lines by which the name is moved down.
    line: f64,
}

impl Dot {
    fn is_within(&self, x: f64, y: f64, across: f64, down: f64) -> bool {
        (self.x - x).abs() < across && (self.y - y).abs() < down
    }
}

fn dot(region: &Region, facts: &RegionFacts, dot: Dot) -> Markup {
    let (dx, anchor) = match dot.is_left {
        true => (-dot.gap, "end"),
        false => (dot.gap, "start"),
    };
    let state = match facts.state {
        State::Up | State::Idle => "is-up",
        State::InDoubt | State::Partly | State::Held => "is-doubt",
        State::Drained => "is-drained",
        State::Down => "is-down",
    };
    let place = format!("translate({:.1} {:.1})", dot.x, dot.y);
    html! {
        g class={ "dot " (state) " " (colour(facts.id)) } transform=(place) {
            circle.ring r="9" {}
            circle.core r="5.5" {}
            @if facts.state == State::Down { path d="M-4 -4L4 4M4 -4L-4 4" {} }
            text x=(dx) y=(4.5 + dot.line * 15.0) text-anchor=(anchor) {
                (region.name)
                tspan.sub {
                    @match (facts.state, facts.share) {
                        (State::Up, Some(share)) => { " " (percent(share)) }
                        (State::Up, None) => {}
                        (state, _) => { " " (state.word()) }
                    }
                }
            }
        }
    }
}
