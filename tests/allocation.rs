//! `respond` allocates nothing: an allocator that counts holds it to that, over every kind of answer.

#![allow(unsafe_code, reason = "an allocator is an unsafe trait; this one only counts and hands on")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use meridian::answer::{Query, TCP_BUFFER, Transport, Worker, query_message, respond};
use meridian::dns::{Name, RrType};

struct Counting;

thread_local!(static ALLOCATIONS: Cell<u64> = const { Cell::new(0) });

// SAFETY: every call is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ZONE: &str = r#"
--- zones/gtm.example.toml
zone = "gtm.example"
records = '''
$TTL 60
@      SOA   ns1 hostmaster 1 3600 600 604800 30
@      NS    ns1
@      MX    10 ns1
ns1    A     192.0.2.53
c1     CNAME ns1
*.w    A     192.0.2.1
d      DNAME w
cut    NS    ns.cut
ns.cut A     192.0.2.99
'''
[services.near]
route = "nearest"
answers = 2
[services.near.pools]
dublin = { endpoints = ["192.0.2.10", "192.0.2.11", "192.0.2.12"] }
tokyo  = { endpoints = ["192.0.2.30"] }
[services.share]
route = "weighted"
[services.share.pools]
dublin = { weight = 3, endpoints = ["192.0.2.10"] }
tokyo  = { endpoints = ["192.0.2.30"] }
[services.first]
route = "priority"
[services.first.pools]
dublin = { priority = 1, endpoints = ["lb.example."] }
tokyo  = { priority = 2, endpoints = ["lb2.example."] }
"#;

#[test]
fn respond_allocates_nothing() {
    let snapshot = common::snapshot(&[common::CONFIGURATION, ZONE].concat());
    let mut worker = Worker::new(1);
    let mut out = vec![0; TCP_BUFFER];
    let names = ["@", "ns1", "c1", "q.w", "a.d", "cut", "x.cut", "near", "share", "first", "nothing", "other."];
    let types =
        [RrType::A, RrType::AAAA, RrType::NS, RrType::MX, RrType::SOA, RrType::ANY, RrType::DS, RrType::TXT, RrType::AXFR];
    let origin = Name::from_text("gtm.example.", None).unwrap();
    for name in names.map(|text| Name::from_text(text, Some(&origin)).unwrap_or_else(|_| Name::root())) {
        for rtype in types {
            for client in ["203.0.113.0/24", "2001:db8:1::/56"] {
                let mut bytes = query_message(&name, rtype, client.parse().unwrap());
                for cut in [0, 1, 9] {
                    bytes.truncate(bytes.len() - cut);
                    for transport in [Transport::Udp, Transport::Tcp] {
                        let query = Query { bytes: &bytes, client: "192.0.2.1".parse().unwrap(), transport };
                        let before = ALLOCATIONS.with(Cell::get);
                        respond(&snapshot, &mut worker, &query, &mut out);
                        assert_eq!(ALLOCATIONS.with(Cell::get), before, "{name} {rtype} {client}");
                    }
                }
            }
        }
    }
    // The counter counts.
    let before = ALLOCATIONS.with(Cell::get);
    drop(std::hint::black_box(vec![1u8]));
    assert_eq!(ALLOCATIONS.with(Cell::get), before + 1);
}
