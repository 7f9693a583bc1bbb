//! The look around before a drill, and during it: whether those who take the clients over can.

use std::collections::BTreeSet;

use crate::simulate::Shift;

/// The load, 0 … 1, above which an endpoint's pool is too busy for a drill.
pub const WATERMARK: f64 = 0.9;

/// The state in which a drill is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Survey<'s> {
    /// The shift of clients that its drain brings about.
    pub shift: &'s Shift,
    /// The reason why this node is not ready; `None` when it is.
    pub not_ready: Option<&'s str>,
}

impl Survey<'_> {
    /// The reasons not to begin, as sentences.
    pub(super) fn objections(&self) -> Vec<String> {
        let mut objections = Vec::new();
        if let Some(why) = self.not_ready {
            objections.push(format!("this node is not ready: {why}"));
        }
        objections.extend(self.shift.objections.iter().cloned());
        match self.shift.degraded {
            0 => {}
            1 => objections.push("clients of 1 service would be below rung 2".to_owned()),
            more => objections.push(format!("clients of {more} services would be below rung 2")),
        }
        for region in &self.shift.regions {
            objections.extend(region.excesses(WATERMARK));
        }
        if self.shift.moving == 0 && objections.is_empty() {
            objections.push("no client would move, so that nothing would be rehearsed".to_owned());
        }
        objections
    }

    /// The names of the regions that take clients over.
    pub(super) fn survivors(&self) -> BTreeSet<String> {
        let mut survivors = BTreeSet::new();
        for region in &self.shift.regions {
            survivors.insert(region.region.clone());
        }
        survivors
    }
}
