//! Who the clients are: how many of them each order of each map is for.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::sync::Arc;

use crate::dataset::Dataset;
use crate::diag::{At, Diagnostics};
use crate::geo::{GeoMap, Located};
use crate::model::{Prefix, PrefixError, Route, Service};

/// Some clients, and how many they count for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampled {
    /// Where they are; they are located as queries are that carry this prefix in a Client Subnet option.
    pub prefix: Prefix,
    /// Above 0, in any unit: queries a second, users.
    pub weight: f64,
}

/// How many bad rows are shown; the lines of all others are named in one sentence.
const SHOWN: usize = 50;

/// Reads a clients file: one `prefix,weight` a line, 1 where the weight is left out; blank lines and what follows `#` are
/// nothing. `file` is what diagnostics call it. Every row that is no such pair is in them, with its line.
pub fn read_clients(file: &str, text: &str, diagnostics: &mut Diagnostics) -> Vec<Sampled> {
    let file: Arc<str> = file.into();
    let (mut clients, mut bad) = (Vec::new(), Vec::new());
    for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let (row, number) = (
            line.split('#').next().unwrap_or_default(),
            number as u32 + 1,
        );
        if row.trim().is_empty() {
            continue;
        }
        match read_row(row) {
            Ok(client) => clients.push(client),
            Err(Wrong {
                field,
                message,
                hint,
            }) => {
                bad.push(number);
                if bad.len() <= SHOWN {
                    let at = At::new(
                        file.clone(),
                        number,
                        field.column,
                        field.text.chars().count() as u32,
                    );
                    diagnostics
                        .error("bad-client", at, field.text, message)
                        .hint(hint);
                }
            }
        }
    }
    if let Some(more @ [_, ..]) = bad.get(SHOWN..) {
        let rows = if more.len() == 1 {
            "1 more row is".to_owned()
        } else {
            format!("{} more rows are", more.len())
        };
        let message = format!("{rows} bad: {}", lines_of(more));
        diagnostics.error("bad-client", At::file(file.clone()), "", message);
    }
    if clients.is_empty() && bad.is_empty() {
        let message = "has no clients in it";
        diagnostics
            .error("no-clients", At::file(file), "", message)
            .hint("write a client a line: 203.0.113.0/24,1500");
    }
    clients
}

/// Ascending line numbers in words: `lines 3, 7 to 9`.
fn lines_of(numbers: &[u32]) -> String {
    let stretches = numbers
        .chunk_by(|line, next| line + 1 == *next)
        .map(|stretch| match stretch {
            [first, .., last] => format!("{first} to {last}"),
            [only] => only.to_string(),
            [] => String::new(),
        });
    let stretches: Vec<String> = stretches.collect();
    format!(
        "{} {}",
        if numbers.len() == 1 { "line" } else { "lines" },
        stretches.join(", ")
    )
}

/// A field that is wrong.
struct Wrong<'t> {
    field: Field<'t>,
    message: String,
    hint: &'static str,
}

#[derive(Clone, Copy)]
struct Field<'t> {
    text: &'t str,
    /// Its 1-based column, in characters.
    column: u32,
}

fn fields(row: &str) -> impl Iterator<Item = Field<'_>> {
    let mut next = 1;
    row.split(',').map(move |field| {
        let blanks = field.chars().take_while(|c| c.is_whitespace()).count() as u32;
        let column = next + blanks;
        next += field.chars().count() as u32 + 1;
        Field {
            text: field.trim(),
            column,
        }
    })
}

fn read_row(row: &str) -> Result<Sampled, Wrong<'_>> {
    const ROW: &str = "a row is a prefix and a weight: 203.0.113.0/24,1500";
    let wrong = |field, message: String, hint| {
        Err(Wrong {
            field,
            message,
            hint,
        })
    };
    let mut fields = fields(row);
    let prefix = fields.next().unwrap_or(Field {
        text: "",
        column: 1,
    });
    let weight = fields.next();
    if let Some(more) = fields.next() {
        return wrong(more, "is a field too many".to_owned(), ROW);
    }
    let located = match prefix.text.parse() {
        Ok(located) => located,
        Err(why) => return wrong(prefix, PrefixError::to_string(&why), ROW),
    };
    let Some(field) = weight else {
        return Ok(Sampled {
            prefix: located,
            weight: 1.0,
        });
    };
    match field.text.parse() {
        Ok(weight) if weight > 0.0 && weight <= MAX_WEIGHT => Ok(Sampled {
            prefix: located,
            weight,
        }),
        _ => wrong(
            field,
            "is not a weight above 0 and at most 1e15".to_owned(),
            "leave out rows of clients that do not count",
        ),
    }
}

/// Sums of such weights stay exact enough.
const MAX_WEIGHT: f64 = 1e15;

/// Clients who are all alike to a map.
#[derive(Debug, Clone, Copy)]
pub(super) struct Class {
    /// One of them.
    pub(super) client: Prefix,
    /// Where that one is.
    pub(super) located: Option<Located>,
    /// Their share of all clients, 0 … 1; 0 for those that are not counted, but there.
    pub(super) weight: f64,
}

/// All clients, as each map divides them.
#[derive(Debug)]
pub struct Population {
    /// By map: those of each order.
    by_order: Vec<Vec<Class>>,
    /// By map: those of each border.
    by_border: Vec<Vec<Class>>,
    /// All as one, where there is no map.
    everyone: [Class; 1],
    /// The sum of all weights: addresses, or what the sample counts in.
    pub total: f64,
}

impl Population {
    /// Every address is a client: of IPv4 all count alike, but for 0.0.0.0/8, 127.0.0.0/8, 224.0.0.0/3, where there are none. IPv6
    /// counts 0, since addresses there say nothing of how many use them.
    pub fn of_addresses(dataset: &Dataset) -> Population {
        let total: f64 = V4_CLIENTS
            .iter()
            .map(|range| (range.end - range.start) as f64)
            .sum();
        Population::divide(dataset, total, |map, put| {
            each_v4_run(map, &mut |run, order| {
                let addresses: f64 = client_ranges(run.clone())
                    .map(|part| (part.end - part.start) as f64)
                    .sum();
                let within = client_ranges(run).next();
                if let Some(part) = within {
                    put(v4(part.start as u32), order, addresses);
                }
            });
            for (start, order) in map.v6_runs() {
                let client = Prefix::host(Ipv6Addr::from_bits(start).into());
                // What stands there for addresses that hold IPv4 ones is not what such clients get.
                if map.lookup(client).order == order {
                    put(client, order.0, 0.0);
                }
            }
        })
    }

    /// The clients of a sample.
    pub fn of_sample(dataset: &Dataset, sample: &[Sampled]) -> Population {
        let total = sample.iter().map(|client| client.weight).sum();
        Population::divide(dataset, total, |map, put| {
            sample.iter().for_each(|client| {
                put(
                    client.prefix,
                    map.lookup(client.prefix).order.0,
                    client.weight,
                )
            });
        })
    }

    fn divide(
        dataset: &Dataset,
        total: f64,
        clients_of: impl Fn(&GeoMap, &mut dyn FnMut(Prefix, u32, f64)),
    ) -> Population {
        let by_order = dataset.maps.iter().map(|map| {
            let mut classes: BTreeMap<u32, Class> = BTreeMap::new();
            clients_of(map, &mut |client, order, weight| {
                let class = || Class {
                    client,
                    located: Some(map.lookup(client)),
                    weight: 0.0,
                };
                classes.entry(order).or_insert_with(class).weight += weight / total;
            });
            classes.into_values().collect()
        });
        let by_order: Vec<Vec<Class>> = by_order.collect();
        let by_border = dataset
            .maps
            .iter()
            .zip(&by_order)
            .map(|(map, classes)| by_border(map, classes))
            .collect();
        let everyone = [Class {
            client: v4(0),
            located: None,
            weight: 1.0,
        }];
        Population {
            by_order,
            by_border,
            everyone,
            total,
        }
    }

    /// Clients who are all alike to `service`: each gets what its class gets.
    pub(super) fn classes(&self, service: &Service) -> &[Class] {
        match (service.route, service.map) {
            (Route::Unit, _) | (_, None) => &self.everyone,
            (Route::Nearest | Route::Sticky, Some(map)) => &self.by_order[map.index()],
            (Route::Weighted | Route::Priority, Some(map)) => &self.by_border[map.index()],
        }
    }
}

/// Routes that look at borders alone need a class for each border only.
fn by_border(map: &GeoMap, classes: &[Class]) -> Vec<Class> {
    let border = |class: &Class| {
        class
            .located
            .and_then(|located| map.order(located.order).border.as_ref())
    };
    let mut merged: Vec<Class> = Vec::new();
    for class in classes {
        match merged
            .iter_mut()
            .find(|known| border(known) == border(class))
        {
            Some(known) => known.weight += class.weight,
            None => merged.push(*class),
        }
    }
    merged
}

/// Where IPv4 clients are.
const V4_CLIENTS: [Range<u64>; 2] = [0x0100_0000..0x7f00_0000, 0x8000_0000..0xe000_0000];

/// The parts of a range of IPv4 addresses where clients are.
pub(super) fn client_ranges(run: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let parts = V4_CLIENTS
        .into_iter()
        .map(move |clients| clients.start.max(run.start)..clients.end.min(run.end));
    parts.filter(|part| part.start < part.end)
}

/// Every stretch of IPv4 with its order.
fn each_v4_run(map: &GeoMap, each: &mut dyn FnMut(Range<u64>, u32)) {
    let mut runs = map
        .v4_runs()
        .map(|(start, order)| (u64::from(start), order.0))
        .peekable();
    while let Some((start, order)) = runs.next() {
        let end = runs.peek().map_or(1 << 32, |(next, _)| *next);
        each(start..end, order);
    }
}

fn v4(bits: u32) -> Prefix {
    Prefix::host(IpAddr::V4(Ipv4Addr::from_bits(bits)))
}
