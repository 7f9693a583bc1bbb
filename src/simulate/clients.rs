//! Clients: the share of them that each order of each map is for.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::sync::Arc;

use crate::dataset::Dataset;
use crate::diag::{At, Diagnostics};
use crate::geo::{GeoMap, Located, OrderId};
use crate::model::{Prefix, PrefixError, RegionSet, Route, Service};

/// Clients in one prefix, and their weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampled {
    /// Their prefix; they are located as a query that carries it in a Client Subnet option.
    pub prefix: Prefix,
    /// Their number above 0, in any unit: queries a second, users.
    pub weight: f64,
}

/// The most bad rows that are shown; the lines of all others are named in one sentence.
const SHOWN: usize = 50;

/// Reads a clients file: one `prefix,weight` a line, 1 where the weight is left out; blank lines
/// and what follows `#` are skipped. Diagnostics call it `file`, and have every row that is no such
/// pair, with its line.
pub fn read_clients(file: &str, text: &str, diagnostics: &mut Diagnostics) -> Vec<Sampled> {
    let file: Arc<str> = file.into();
    let (mut clients, mut bad) = (Vec::new(), Vec::new());
    // Some spreadsheets begin an exported file with a byte-order mark.
    for (line, number) in text.trim_start_matches('\u{feff}').lines().zip(1..) {
        let row = line.split('#').next().unwrap_or_default();
        if row.trim().is_empty() {
            continue;
        }
        match read_row(row) {
            Ok(client) => clients.push(client),
            Err(wrong) => {
                bad.push(number);
                if bad.len() <= SHOWN {
                    wrong.diagnose(&file, number, diagnostics);
                }
            }
        }
    }
    if let Some(more @ [_, ..]) = bad.get(SHOWN..) {
        let rows = match more.len() {
            1 => "1 more row is".to_owned(),
            more => format!("{more} more rows are"),
        };
        let message = format!("{rows} bad: {}", lines_of(more));
        diagnostics.error("bad-client", At::file(file.clone()), "", message);
    }
    if clients.is_empty() && bad.is_empty() {
        diagnostics
            .error("no-clients", At::file(file), "", "has no clients in it")
            .hint("write one client per line: 203.0.113.0/24,1500");
    }
    clients
}

/// Ascending line numbers in words: `lines 3, 7 to 9`.
fn lines_of(numbers: &[u32]) -> String {
    let mut stretches = Vec::new();
    for stretch in numbers.chunk_by(|line, next| line + 1 == *next) {
        stretches.push(match stretch {
            [first, .., last] => format!("{first} to {last}"),
            [only] => only.to_string(),
            [] => String::new(),
        });
    }
    let word = if numbers.len() == 1 { "line" } else { "lines" };
    format!("{word} {}", stretches.join(", "))
}

/// Wrong field of a row.
struct Wrong<'t> {
    field: Field<'t>,
    message: String,
    hint: &'static str,
}

impl Wrong<'_> {
    fn diagnose(self, file: &Arc<str>, line: u32, diagnostics: &mut Diagnostics) {
        let Field { text, column } = self.field;
        let at = At::new(file.clone(), line, column, characters(text));
        diagnostics
            .error("bad-client", at, text, self.message)
            .hint(self.hint);
    }
}

#[derive(Clone, Copy)]
struct Field<'t> {
    text: &'t str,
    /// Its 1-based column, in characters.
    column: u32,
}

fn characters(text: &str) -> u32 {
    u32::try_from(text.chars().count()).unwrap_or(u32::MAX)
}

/// Fields of a row, without the blanks around them.
fn fields(row: &str) -> Vec<Field<'_>> {
    let (mut fields, mut next) = (Vec::new(), 1);
    for field in row.split(',') {
        let blanks = &field[..field.len() - field.trim_start().len()];
        fields.push(Field {
            text: field.trim(),
            column: next + characters(blanks),
        });
        next += characters(field) + 1;
    }
    fields
}

fn read_row(row: &str) -> Result<Sampled, Wrong<'_>> {
    const ROW: &str = "write a prefix and a weight in each row: 203.0.113.0/24,1500";
    let fields = fields(row);
    if let Some(field) = fields.get(2) {
        return Err(Wrong {
            field: *field,
            message: "is one field too many".to_owned(),
            hint: ROW,
        });
    }
    // A row has at least one field, as a text splits into at least one part.
    let field = fields[0];
    let prefix = field.text.parse().map_err(|error| Wrong {
        field,
        message: PrefixError::to_string(&error),
        hint: ROW,
    })?;
    let weight = match fields.get(1) {
        Some(field) => read_weight(*field)?,
        None => 1.0,
    };
    Ok(Sampled { prefix, weight })
}

fn read_weight(field: Field<'_>) -> Result<f64, Wrong<'_>> {
    match field.text.parse() {
        // `nan` and `inf` parse as well; these bounds refuse both.
        Ok(weight) if weight > 0.0 && weight <= MAX_WEIGHT => Ok(weight),
        _ => Err(Wrong {
            field,
            message: "is not a weight above 0 and at most 1e15".to_owned(),
            hint: "leave out rows of clients that do not count",
        }),
    }
}

/// The largest weight; sums of such weights stay exact enough.
const MAX_WEIGHT: f64 = 1e15;

/// Clients who are all alike to a map.
#[derive(Debug, Clone, Copy)]
pub(super) struct Class {
    /// One of them.
    pub(super) client: Prefix,
    /// Location of that one.
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
    /// Population in which every address is a client. All of IPv4 count alike, but for 0.0.0.0/8,
    /// 127.0.0.0/8 and 224.0.0.0/3, where there are none. IPv6 counts 0, since its addresses do not
    /// tell how many of them are used.
    pub fn of_addresses(dataset: &Dataset) -> Population {
        let mut by_order = Vec::new();
        for map in &dataset.maps {
            let mut classes = Classes::new(map);
            classes.add_v4();
            classes.add_v6();
            by_order.push(classes.finish());
        }
        Population::new(dataset, by_order, V4_COUNT)
    }

    /// Population of the clients of a sample.
    pub fn of_sample(dataset: &Dataset, sample: &[Sampled]) -> Population {
        let total = sample.iter().map(|client| client.weight).sum();
        let mut by_order = Vec::new();
        for map in &dataset.maps {
            let mut classes = Classes::new(map);
            for client in sample {
                let order = map.lookup(client.prefix).order;
                classes.add(client.prefix, order, client.weight / total);
            }
            by_order.push(classes.finish());
        }
        Population::new(dataset, by_order, total)
    }

    fn new(dataset: &Dataset, by_order: Vec<Vec<Class>>, total: f64) -> Population {
        let mut borders = Vec::new();
        for (map, classes) in dataset.maps.iter().zip(&by_order) {
            borders.push(by_border(map, classes));
        }
        Population {
            by_order,
            by_border: borders,
            everyone: [Class {
                client: v4_prefix(0),
                located: None,
                weight: 1.0,
            }],
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

/// Clients of one map by their order.
struct Classes<'m> {
    map: &'m GeoMap,
    by_order: BTreeMap<OrderId, Class>,
}

impl Classes<'_> {
    fn new(map: &GeoMap) -> Classes<'_> {
        Classes {
            map,
            by_order: BTreeMap::new(),
        }
    }

    /// Adds clients with this order, of whom `client` is one; `weight` is their share of all.
    fn add(&mut self, client: Prefix, order: OrderId, weight: f64) {
        let map = self.map;
        let class = self.by_order.entry(order).or_insert_with(|| Class {
            client,
            located: Some(map.lookup(client)),
            weight: 0.0,
        });
        class.weight += weight;
    }

    /// Adds every IPv4 address at which clients are.
    fn add_v4(&mut self) {
        let mut runs = self.map.v4_runs().peekable();
        while let Some((start, order)) = runs.next() {
            let end = runs.peek().map_or(1 << 32, |(next, _)| u64::from(*next));
            for part in client_ranges(u64::from(start)..end) {
                let addresses = (part.end - part.start) as f64;
                self.add(v4_prefix(part.start), order, addresses / V4_COUNT);
            }
        }
    }

    /// Adds every IPv6 address, as a client that counts nothing.
    fn add_v6(&mut self) {
        for (start, order) in self.map.v6_runs() {
            let client = Prefix::host(Ipv6Addr::from_bits(start).into());
            // A map locates addresses that hold IPv4 ones by those, so the run that stands there is
            // not what such clients get.
            if self.map.lookup(client).order == order {
                self.add(client, order, 0.0);
            }
        }
    }

    fn finish(self) -> Vec<Class> {
        self.by_order.into_values().collect()
    }
}

/// Merges classes with one border: routes that look at borders alone need no more.
fn by_border(map: &GeoMap, classes: &[Class]) -> Vec<Class> {
    let mut merged: Vec<Class> = Vec::new();
    for class in classes {
        let of_border = border(map, class);
        match merged
            .iter_mut()
            .find(|known| border(map, known) == of_border)
        {
            Some(known) => known.weight += class.weight,
            None => merged.push(*class),
        }
    }
    merged
}

fn border<'m>(map: &'m GeoMap, class: &Class) -> Option<&'m RegionSet> {
    map.order(class.located?.order).border.as_ref()
}

/// Ranges of IPv4 addresses at which clients are.
const V4_CLIENTS: [Range<u64>; 2] = [0x0100_0000..0x7f00_0000, 0x8000_0000..0xe000_0000];

/// The number of these addresses.
pub(super) const V4_COUNT: f64 =
    (V4_CLIENTS[0].end - V4_CLIENTS[0].start + V4_CLIENTS[1].end - V4_CLIENTS[1].start) as f64;

/// The parts of a range of IPv4 addresses at which clients are.
pub(super) fn client_ranges(run: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let parts = V4_CLIENTS
        .into_iter()
        .map(move |clients| clients.start.max(run.start)..clients.end.min(run.end));
    parts.filter(|part| part.start < part.end)
}

/// The address with these bits, of which all above 32 are 0, as a prefix.
pub(super) fn v4_prefix(bits: u64) -> Prefix {
    Prefix::host(IpAddr::V4(Ipv4Addr::from_bits(bits as u32)))
}
