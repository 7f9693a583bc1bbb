//! What a name and a service cost in memory: an allocator that counts holds the data to a bound.

#![allow(
    unsafe_code,
    reason = "an allocator is an unsafe trait; this one only counts and hands on"
)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fmt::Write;
use std::sync::Arc;

use meridian::dataset::Dataset;
use meridian::geo::{EMBEDDED, Locations};
use meridian::model::ZoneId;
use meridian::publisher::Publisher;

struct Counting;

/// What is allocated and not freed.
#[derive(Clone, Copy)]
struct Live {
    bytes: isize,
    pieces: isize,
}

thread_local!(static LIVE: Cell<Live> = const { Cell::new(Live { bytes: 0, pieces: 0 }) });

fn count(bytes: isize, pieces: isize) {
    LIVE.with(|live| {
        live.set(Live {
            bytes: live.get().bytes + bytes,
            pieces: live.get().pieces + pieces,
        })
    });
}

// SAFETY: every call is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize, 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize), -1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `make` leaves behind of memory.
fn kept<T>(make: impl FnOnce() -> T) -> (T, Live) {
    let before = LIVE.get();
    let made = make();
    let after = LIVE.get();
    (
        made,
        Live {
            bytes: after.bytes - before.bytes,
            pieces: after.pieces - before.pieces,
        },
    )
}

fn dataset(zone: &str, locations: &Arc<Locations>) -> Arc<Dataset> {
    let config = common::Files::parse(&[common::CONFIGURATION, zone].concat())
        .load()
        .unwrap_or_else(|wrong| panic!("{wrong}"));
    Arc::new(Dataset::compile(config, locations.clone()))
}

fn locations() -> Arc<Locations> {
    Arc::new(Locations::read(Some(EMBEDDED), None).unwrap())
}

const APEX: &str = "--- zones/gtm.example.toml\nzone = \"gtm.example\"\nrecords = '''\n$TTL 60\n\
    @ SOA ns1 h 1 3600 600 604800 30\n@ NS ns1\nns1 A 192.0.2.53\n";

/// A zone of so many names with an address each.
fn names(count: usize) -> String {
    let mut zone = APEX.to_owned();
    (0..count).for_each(|i| writeln!(zone, "n{i:07} A 198.51.100.{}", i % 256).unwrap());
    zone + "'''\n"
}

/// A zone of so many services in three regions.
fn services(count: usize) -> String {
    let mut zone = APEX.to_owned() + "'''\n";
    for i in 0..count {
        write!(
            zone,
            "[services.s{i}]\nroute = \"nearest\"\nchecks = [\"web\"]\n[services.s{i}.pools]\n"
        )
        .unwrap();
        for (at, region) in ["dublin", "ashburn", "tokyo"].iter().enumerate() {
            writeln!(
                zone,
                "{region} = {{ endpoints = [\"192.0.2.1{at}\", \"192.0.2.2{at}\"] }}"
            )
            .unwrap();
        }
    }
    zone
}

#[test]
fn a_name_costs_less_than_a_hundred_octets_and_no_piece_of_its_own() {
    // Just under a power of two of the table's slots, and far from where it was doubled last.
    let locations = locations();
    let (few, least) = kept(|| dataset(&names(1000), &locations));
    let (many, most) = kept(|| dataset(&names(57_000), &locations));
    let names = many.names.len() - few.names.len();
    let each = (most.bytes - least.bytes) as usize / names;
    assert!(each < 100, "{each} octets a name");
    assert!(
        most.pieces - least.pieces < 50,
        "{} pieces more for {names} names",
        most.pieces - least.pieces
    );
}

#[test]
fn the_canonical_view_of_a_zone_costs_four_octets_a_name() {
    let dataset = dataset(&names(57_000), &locations());
    let (views, cost) = kept(|| dataset.names.canonical_names(&[ZoneId(0)]));
    assert_eq!(views[0].len(), dataset.names.len());
    assert_eq!(cost.pieces, 2);
    assert!(
        cost.bytes as usize <= 4 * views[0].len() + 64,
        "{} octets",
        cost.bytes
    );
}

#[test]
fn a_service_in_a_region_costs_little() {
    let locations = locations();
    let (few, least) = kept(|| Publisher::new(dataset(&services(10), &locations)));
    let (many, most) = kept(|| Publisher::new(dataset(&services(2010), &locations)));
    let pools = 2000 * 3;
    let each = (most.bytes - least.bytes) as usize / pools;
    // Two endpoints with a check each, their RRs, and a third of what the service itself takes.
    assert!(each < 700, "{each} octets a service and region");
    assert_eq!(
        many.snapshot().plans.len() - few.snapshot().plans.len(),
        2000
    );
}
