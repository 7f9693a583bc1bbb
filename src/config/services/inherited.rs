//! The keys that a service and its pools have in common: a pool's stand in place of its service's.

use std::ops::RangeInclusive;

use super::check_list;
use crate::config::context::Context;
use crate::config::document::{Item, Table};
use crate::config::kinds::{integer, one_of, share};
use crate::diag::Diagnostics;
use crate::model::{CheckId, Need, Share, Weight};

const NEEDS: &[(&str, Need)] = &[("all", Need::All), ("any", Need::Any)];
const MIN_UP: RangeInclusive<Share> = Share::ZERO..=Share::ONE;

/// The checks that pools and endpoints inherit.
#[derive(Clone)]
pub(super) struct Probing {
    pub(super) checks: Vec<CheckId>,
    pub(super) need: Need,
}

/// Reads `checks` and `checks_need`, in place of those `above`.
pub(super) fn probing(
    t: &mut Table<'_>,
    above: &Probing,
    context: &Context<'_>,
    out: &mut Diagnostics,
) -> Probing {
    let checks = t.optional(out, "checks", check_list(context.checks));
    let need = t.optional(out, "checks_need", one_of(NEEDS));
    Probing {
        checks: checks.unwrap_or_else(|| above.checks.clone()),
        need: need.unwrap_or(above.need),
    }
}

/// Reads `min_up`, in place of the one `above`.
pub(super) fn min_up(t: &mut Table<'_>, above: Share, out: &mut Diagnostics) -> Share {
    t.optional(out, "min_up", share(MIN_UP)).unwrap_or(above)
}

/// Reads a weight.
pub(super) fn weight(item: &Item<'_>, out: &mut Diagnostics) -> Option<Weight> {
    integer(0..=Weight::MAX, "")(item, out).and_then(Weight::new)
}
