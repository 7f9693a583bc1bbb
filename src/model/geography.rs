//! Regions, maps and client prefixes.

use std::collections::{BTreeMap, BTreeSet};

use super::RegionId;
use crate::diag::At;
use crate::dns::Prefix;

/// A place where services run.
#[derive(Debug, Clone, PartialEq)]
pub struct Region {
    /// Its name in the configuration.
    pub name: String,
    /// Its place, where that is known.
    pub coordinates: Option<Coordinates>,
    /// Regions of one metro are equally near.
    pub metro: Option<String>,
    /// The operator's tags.
    pub labels: BTreeMap<String, String>,
    /// −99 … 99: grows (positive) or shrinks its catchment.
    pub bias: i8,
    /// The share of the clients' weight that it can take, in the unit in which `meridian simulate`
    /// counts them.
    pub capacity: Option<f64>,
}

/// Names of everything that [`regions_named`] finds: regions in the order of the file, then metros
/// and labels in alphabetical order.
pub fn place_names(regions: &[Region]) -> Vec<String> {
    let mut names = Vec::new();
    let (mut metros, mut labels) = (BTreeSet::new(), BTreeSet::new());
    for region in regions {
        names.push(region.name.clone());
        metros.extend(&region.metro);
        labels.extend(&region.labels);
    }
    for metro in metros {
        // The long form means the metro even where a region has its name.
        names.push(format!("metro:{metro}"));
    }
    for (key, value) in labels {
        names.push(format!("{key}:{value}"));
    }
    names
}

/// The regions that an operator means by `text`: a region's name, else a metro's, else a label as `KEY:VALUE`. `metro:NAME`
/// is a metro even where a region has its name. Empty where there are none.
pub fn regions_named<'r>(
    regions: impl Iterator<Item = (RegionId, &'r Region)> + Clone,
    text: &str,
) -> Vec<RegionId> {
    let that = |is: &dyn Fn(&Region) -> bool| -> Vec<RegionId> {
        regions
            .clone()
            .filter(|(_, region)| is(region))
            .map(|(id, _)| id)
            .collect()
    };
    let metro = |name: &str| that(&|region| region.metro.as_deref() == Some(name));
    let label = |(key, value): (&str, &str)| match key {
        "metro" => metro(value),
        _ => that(&|region| region.labels.get(key).is_some_and(|own| own == value)),
    };
    let named = that(&|region| region.name == text);
    if !named.is_empty() {
        return named;
    }
    text.split_once(':').map_or_else(|| metro(text), label)
}

/// A point on the earth in degrees, latitude −90 … 90, longitude −180 … 180.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Coordinates {
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
}

/// One `[maps.NAME]`: client → region order, its sources most specific first.
#[derive(Debug, Clone, PartialEq)]
pub struct MapSpec {
    /// Its name in the configuration.
    pub name: String,
    /// Its place in the configuration.
    pub at: At,
    /// Source 1: longest prefix.
    pub networks: Vec<(Prefix, Entry)>,
    /// Source 2: AS number.
    pub asns: BTreeMap<u32, Entry>,
    /// Source 3: ISO 3166-2 codes, upper case (`US-CA`).
    pub subdivisions: BTreeMap<String, Entry>,
    /// Source 4: ISO 3166-1 alpha-2 codes, upper case.
    pub countries: BTreeMap<String, Entry>,
    /// Source 5: AF AN AS EU NA OC SA.
    pub continents: BTreeMap<String, Entry>,
    /// Source 6: great-circle distance, where client and regions have coordinates.
    pub by_distance: bool,
    /// The number of steps by distance before `rest` takes over; at least 1.
    pub distance_steps: u8,
    /// Kilometres: regions nearer than nearest + within form one step.
    pub within: Option<f64>,
    /// Source 7: unknown location, and the tail of every shorter list.
    pub rest: Vec<RegionId>,
}

/// The value of one entry of a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// These first, then the rest.
    Prefer(Vec<RegionId>),
    /// A border: these, and no others.
    Only(Vec<RegionId>),
}

impl Entry {
    /// The regions it lists, best first.
    pub fn regions(&self) -> &[RegionId] {
        match self {
            Entry::Prefer(regions) | Entry::Only(regions) => regions,
        }
    }
}

/// Regions that a client may be sent to, best first.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct RegionOrder {
    /// Best first; the regions of one step are equally near and share by weight. Never an empty step.
    pub steps: Vec<Vec<RegionId>>,
    /// The border, where there is one; every region of `steps` is inside it.
    pub border: Option<RegionSet>,
}

/// A set of regions.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct RegionSet(Box<[u64]>);

impl RegionSet {
    /// True when `region` is in it.
    pub fn contains(&self, region: RegionId) -> bool {
        self.0
            .get(region.index() / 64)
            .is_some_and(|word| word >> (region.index() % 64) & 1 == 1)
    }
}

impl FromIterator<RegionId> for RegionSet {
    fn from_iter<I: IntoIterator<Item = RegionId>>(regions: I) -> RegionSet {
        let mut words = Vec::new();
        for region in regions {
            let word = region.index() / 64;
            if words.len() <= word {
                words.resize(word + 1, 0);
            }
            words[word] |= 1u64 << (region.index() % 64);
        }
        RegionSet(words.into())
    }
}
