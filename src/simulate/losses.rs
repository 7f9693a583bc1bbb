//! Losses: regions, metros and labels, and every two of these.

use std::collections::BTreeSet;

use crate::diag::UnknownName;
use crate::model::{Part, Region, RegionId, place_names, regions_named};

/// Regions that are lost together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// Its name for operators: `dublin`, `metro:frankfurt`, `provider:cloud-a`, and two with ` + `
    /// between them.
    pub name: String,
    /// The regions, in the order of their names; never none.
    pub regions: Vec<RegionId>,
    /// True when no region is left.
    pub is_everything: bool,
}

impl Loss {
    fn new(name: String, regions: BTreeSet<RegionId>, all: &[Region]) -> Loss {
        let is_everything = regions.len() == all.len();
        Loss {
            name,
            regions: regions.into_iter().collect(),
            is_everything,
        }
    }

    /// The regions or labels that `text` names, separated by commas and lost at once. The error is
    /// the first name that does not exist.
    pub fn named(regions: &[Region], text: &str) -> Result<Loss, UnknownName> {
        let names: Vec<&str> = text.split(',').map(str::trim).collect();
        let mut lost = BTreeSet::new();
        for name in &names {
            let named = regions_named(ids(regions), name);
            if named.is_empty() {
                let known = regions.iter().map(|region| region.name.as_str());
                return Err(UnknownName::new("region, metro or label", *name, known));
            }
            lost.extend(named);
        }
        Ok(Loss::new(names.join(" + "), lost, regions))
    }

    pub(super) fn part(&self) -> Part {
        Part {
            regions: self.regions.clone(),
            endpoints: Vec::new(),
        }
    }

    pub(super) fn has(&self, region: RegionId) -> bool {
        // The regions come from a `BTreeSet`, so they are sorted by id.
        self.regions.binary_search(&region).is_ok()
    }
}

/// Losses of every region, every metro of several regions and every label; with `pairs` of every
/// two of these as well. A set of regions appears once, under its first name.
pub fn losses(regions: &[Region], pairs: bool) -> Vec<Loss> {
    let mut known = BTreeSet::new();
    let mut all: Vec<Loss> = Vec::new();
    for name in place_names(regions) {
        let lost: BTreeSet<RegionId> = regions_named(ids(regions), &name).into_iter().collect();
        if !lost.is_empty() && known.insert(lost.clone()) {
            all.push(Loss::new(name, lost, regions));
        }
    }
    // Counted before pairs are appended to the same list, so that no pair is paired again.
    let count = if pairs { all.len() } else { 0 };
    for first in 0..count {
        for second in first + 1..count {
            let (a, b) = (&all[first], &all[second]);
            let lost: BTreeSet<RegionId> = a.regions.iter().chain(&b.regions).copied().collect();
            if known.insert(lost.clone()) {
                let name = format!("{} + {}", a.name, b.name);
                all.push(Loss::new(name, lost, regions));
            }
        }
    }
    all
}

/// Every region with its id.
pub(super) fn ids(regions: &[Region]) -> impl Iterator<Item = (RegionId, &Region)> + Clone {
    regions
        .iter()
        .enumerate()
        .map(|(index, region)| (RegionId::from_index(index), region))
}
