//! The rules between the parts of a service: its route, its map and its pools.

use std::collections::HashSet;
use std::hash::Hash;
use std::time::Duration;

use crate::config::context::Context;
use crate::config::document::{Item, Located};
use crate::diag::Diagnostics;
use crate::model::{Entry, Families, FamilyRule, MapSpec, Pool, RegionId, Route, Share};

/// A service whose keys are good by themselves.
pub(super) struct Rules<'a, 'd, 'c> {
    pub(super) route: Route,
    pub(super) map: Option<usize>,
    /// At least one.
    pub(super) pools: &'a [Located<Pool>],
    pub(super) item: &'a Item<'d>,
    pub(super) context: &'a Context<'c>,
}

impl Rules<'_, '_, '_> {
    /// Reports a missing map, and each of its borders inside which the service would not answer.
    pub(super) fn check_map(&self, out: &mut Diagnostics) {
        let Some(map) = self.map else {
            if self.route == Route::Nearest {
                let message = "route = \"nearest\" needs a map, but the service has none";
                self.item
                    .key_error(out, "nearest-without-map", message)
                    .hint("define [maps.default] in meridian.toml, or name a map with `map`");
            }
            return;
        };
        let Some(spec) = &self.context.map_specs[map] else {
            return;
        };
        let offered = self.families(None);
        // Countries often share a border: it is reported once, not for each of them.
        let mut reported: Vec<&[RegionId]> = Vec::new();
        for (entry, only) in borders(spec) {
            let inside = self.families(Some(only));
            if reported.contains(&only) || inside == offered {
                continue;
            }
            reported.push(only);
            // Only with family = "split" may a border hold pools and yet none of a family.
            let lacking = match (inside.v4, inside.v6) {
                (false, false) => "",
                (true, _) => "IPv6 ",
                (_, true) => "IPv4 ",
            };
            let message = format!(
                "the service has no {lacking}pool inside the border maps.{}.{entry} (only {}): clients there would get no answer",
                spec.name,
                self.region_names(only)
            );
            self.item.key_error(out, "no-pool-inside-border", message).hint(
                "add a pool in one of these regions, or give the service a map without this border",
            );
        }
    }

    /// Warns of a route by clients that has only one place to send them to.
    pub(super) fn warn_lone_sticky(&self, out: &mut Diagnostics) {
        if self.route == Route::Sticky && self.pools.len() == 1 {
            let message = "a sticky service with a single pool sends every client there, so `sticky` makes no difference";
            self.item
                .key_warning(out, "sticky-with-one-pool", message)
                .hint("add pools, or use another route");
        }
    }

    /// Warns of a `trickle` without a next priority to send it to.
    pub(super) fn warn_useless_trickle(
        &self,
        trickle: Option<&Located<Share>>,
        out: &mut Diagnostics,
    ) {
        let Some(trickle) = trickle else {
            return;
        };
        let first = self.pools[0].value.priority;
        let steps = self.pools.iter().any(|pool| pool.value.priority != first);
        let message = match self.route {
            _ if trickle.value == Share::ZERO => return,
            Route::Priority if steps => return,
            Route::Priority => {
                "`trickle` does nothing: all pools have the same priority, so there is no next one"
            }
            _ => "`trickle` does nothing unless route = \"priority\"",
        };
        self.warn_useless(trickle, "trickle", message, out).hint(
            "`trickle` sends a share of the answers to the next `priority`: give pools different priorities, or remove it",
        );
    }

    /// Warns of a `ramp` where no weight decides between regions.
    pub(super) fn warn_useless_ramp(
        &self,
        ramp: Option<&Located<Duration>>,
        out: &mut Diagnostics,
    ) {
        let Some(ramp) = ramp.filter(|_| !self.share_by_weight()) else {
            return;
        };
        let message =
            "`ramp` does nothing: no two pools of this service ever share clients by weight";
        self.warn_useless(ramp, "ramp", message, out).hint(
            "regions share clients with route = \"weighted\", with equal `priority`, in one metro, or by `within` of the map",
        );
    }

    /// Warns of `family = "split"` beside names: a CNAME has no family.
    pub(super) fn warn_useless_split(
        &self,
        family: Option<&Located<FamilyRule>>,
        out: &mut Diagnostics,
    ) {
        let Some(family) = family.filter(|family| family.value == FamilyRule::Split) else {
            return;
        };
        if self.have_names() {
            let message = "`family = \"split\"` does nothing: a resolver follows a CNAME for every type, so A and AAAA go to the same region";
            self.warn_useless(family, "family", message, out).hint(
                "remove it: a service with a name among its endpoints chooses one region for all types",
            );
        }
    }

    /// Reports pools that are all standbys, and pools that differ in the families they offer.
    pub(super) fn check_pools(&self, family: FamilyRule, out: &mut Diagnostics) {
        let path = format!("{}.pools", self.item.path);
        if self.pools.iter().all(|pool| pool.value.weight.get() == 0) {
            let message = "all pools have weight 0, so the service has standbys and nothing else";
            out.error(
                "all-weights-zero",
                self.item.key_at(),
                path.clone(),
                message,
            )
            .hint("give at least one pool a weight above 0");
        }
        // A unit has one region for all of its clients, whatever `family` says.
        let alike = family == FamilyRule::Same || self.route == Route::Unit;
        if self.have_names() || !alike {
            return;
        }
        let first = &self.pools[0];
        for pool in &self.pools[1..] {
            if pool.value.families() == first.value.families() {
                continue;
            }
            let message = format!(
                "the pool offers {}, but the pool at {} offers {}",
                in_words(pool.value.families()),
                first.at,
                in_words(first.value.families())
            );
            let hint = match self.route {
                Route::Unit => {
                    "give every pool the same address families: any of them may own a unit"
                }
                _ => {
                    "give every pool the same address families, or set family = \"split\" to let them fail apart"
                }
            };
            out.error("different-families", pool.at.clone(), path.clone(), message)
                .hint(hint);
        }
    }

    /// True when an endpoint is a name, answered as a CNAME.
    pub(super) fn have_names(&self) -> bool {
        self.pools.iter().any(|pool| pool.value.has_names())
    }

    /// True when clients are drawn by their prefix rather than by chance: a resolver that got a
    /// CNAME from one draw and addresses from the next would see two answers for one name.
    pub(super) fn choose_by_client(&self, trickle: Share) -> bool {
        if self.route == Route::Sticky {
            return true;
        }
        let have_addresses = self.pools.iter().any(|pool| !pool.value.has_names());
        let several_names = self
            .pools
            .iter()
            .any(|pool| pool.value.has_names() && pool.value.endpoints.len() > 1);
        let draws = self.share_by_weight() || trickle > Share::ZERO || several_names;
        self.have_names() && have_addresses && draws
    }

    /// True when some client's region is chosen by weight.
    fn share_by_weight(&self) -> bool {
        let several = self.pools.len() > 1;
        match self.route {
            Route::Unit => false,
            Route::Weighted => several,
            Route::Sticky if self.map.is_none() => several,
            Route::Priority => has_repeated(self.pools.iter().map(|pool| pool.value.priority)),
            Route::Nearest | Route::Sticky => {
                let spec = self
                    .map
                    .and_then(|map| self.context.map_specs[map].as_ref());
                // A map that is wrong, and reported, may have had a `within`.
                spec.is_none_or(|spec| spec.within.is_some())
                    || has_repeated(self.pools.iter().filter_map(|pool| self.metro(pool)))
            }
        }
    }

    fn metro(&self, pool: &Located<Pool>) -> Option<&str> {
        let region = self.context.region_specs[pool.value.region.index()].as_ref()?;
        region.metro.as_deref()
    }

    /// The families that the pools in the regions `only` offer; in all regions without it.
    fn families(&self, only: Option<&[RegionId]>) -> Families {
        let names = self.have_names();
        let mut all = Families::default();
        for Located { value: pool, .. } in self.pools {
            if only.is_some_and(|only| !only.contains(&pool.region)) {
                continue;
            }
            // A CNAME answers for both families.
            all = all.union(match names {
                true => Families { v4: true, v6: true },
                false => pool.families(),
            });
        }
        all
    }

    fn region_names(&self, regions: &[RegionId]) -> String {
        let names: Vec<&str> = regions
            .iter()
            .map(|region| self.context.regions.name(region.index()))
            .collect();
        names.join(", ")
    }

    fn warn_useless<'o, T>(
        &self,
        value: &Located<T>,
        key: &str,
        message: &str,
        out: &'o mut Diagnostics,
    ) -> &'o mut crate::diag::Diagnostic {
        let path = format!("{}.{key}", self.item.path);
        out.warning("useless-key", value.at.clone(), path, message)
    }
}

fn has_repeated<T: Eq + Hash>(values: impl Iterator<Item = T>) -> bool {
    let mut seen = HashSet::new();
    for value in values {
        if !seen.insert(value) {
            return true;
        }
    }
    false
}

fn in_words(families: Families) -> &'static str {
    match (families.v4, families.v6) {
        (true, true) => "IPv4 and IPv6",
        (true, false) => "IPv4 only",
        _ => "IPv6 only",
    }
}

/// Every border of a map, with the path of its entry, in the order in which sources are looked at.
fn borders(map: &MapSpec) -> Vec<(String, &[RegionId])> {
    let mut borders = Vec::new();
    for (prefix, entry) in &map.networks {
        add_border(&mut borders, entry, || format!("networks.\"{prefix}\""));
    }
    for (asn, entry) in &map.asns {
        add_border(&mut borders, entry, || format!("asns.{asn}"));
    }
    for (source, entries) in [
        ("subdivisions", &map.subdivisions),
        ("countries", &map.countries),
        ("continents", &map.continents),
    ] {
        for (code, entry) in entries {
            add_border(&mut borders, entry, || format!("{source}.{code}"));
        }
    }
    borders
}

fn add_border<'m>(
    borders: &mut Vec<(String, &'m [RegionId])>,
    entry: &'m Entry,
    path: impl FnOnce() -> String,
) {
    // Of a million entries few are borders: only those get a text.
    if let Entry::Only(regions) = entry {
        borders.push((path(), regions));
    }
}
