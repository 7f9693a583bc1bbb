//! A shift in words.

use super::{NameShift, RegionShift, Shift};
use crate::model::WallTime;
use crate::simulate::percent;

/// The most names and regions that are told of one by one.
const SHOWN: usize = 10;
/// The most destinations of a name whose change is told.
const REGIONS: usize = 5;

impl Shift {
    /// The sentence of the whole: `draining region dublin moves 41 % of the clients of 12
    /// services`. `what` is its beginning.
    pub fn sentence(&self, what: &str) -> String {
        let (least, most) = (percent(self.moved.0), percent(self.moved.1));
        let share = if least == most {
            most
        } else {
            format!("{least} to {most}")
        };
        match (self.moving, self.names.first()) {
            (0, _) | (_, None) => format!("{what} moves no clients"),
            (1, Some(only)) => format!("{what} moves {share} of the clients of {}", only.name),
            (moving, _) => format!("{what} moves {share} of the clients of {moving} services"),
        }
    }

    /// All lines: the sentence, where the clients of each name go, what regions get compared with
    /// what they can take, and how long caches keep the answers of before, with times as `wall`
    /// reads them. Objections are not among them.
    pub fn lines(&self, what: &str, wall: WallTime) -> Vec<String> {
        let mut lines = vec![format!("pre-flight: {}", self.sentence(what))];
        for name in self.names.iter().take(SHOWN) {
            lines.push(format!("  {}", name.sentence()));
        }
        if let Some(more @ 1..) = self.names.len().checked_sub(SHOWN) {
            let least = if self.names.len() == super::NAMES {
                "at least "
            } else {
                ""
            };
            lines.push(format!("  and {least}{more} more"));
        }
        let mut loads = Vec::new();
        for region in &self.regions {
            loads.extend(region.sentences(1.0));
        }
        // What is too much comes first: it is what an operator has to see.
        loads.sort_by_key(|(is_over, _)| !is_over);
        for (is_over, sentence) in loads.into_iter().take(SHOWN) {
            let warning = if is_over { "warning: " } else { "" };
            lines.push(format!("{warning}{sentence}"));
        }
        match self.degraded {
            0 => {}
            1 => lines.push("warning: clients of 1 service would be below rung 2".to_owned()),
            more => lines.push(format!(
                "warning: clients of {more} services would be below rung 2"
            )),
        }
        if let Some(until) = self.caches_until.filter(|_| self.moving > 0) {
            lines.push(format!(
                "caches keep the answers of before until {}",
                wall.show(until)
            ));
        }
        lines
    }
}

impl NameShift {
    /// The name, the share that moves, and the regions that lose or get clients.
    fn sentence(&self) -> String {
        let (all, mut changes) = (self.changes(), Vec::new());
        for (region, before, after) in all.iter().take(REGIONS) {
            changes.push(format!(
                "{region} {} → {}",
                percent(*before),
                percent(*after)
            ));
        }
        if let Some(more @ 1..) = all.len().checked_sub(REGIONS) {
            changes.push(format!("and {more} more"));
        }
        let moved = percent(self.moved);
        format!(
            "{} {}: {moved}: {}",
            self.name,
            self.rtype,
            changes.join(", ")
        )
    }

    /// The destinations whose share changes, with it before and after; the largest change first.
    fn changes(&self) -> Vec<(&str, f64, f64)> {
        let mut changes: Vec<(&str, f64, f64)> = Vec::new();
        for (region, before) in &self.before {
            changes.push((region, *before, 0.0));
        }
        for (region, after) in &self.after {
            match changes.iter_mut().find(|(known, ..)| known == region) {
                Some(known) => known.2 = *after,
                None => changes.push((region, 0.0, *after)),
            }
        }
        changes.retain(|(_, before, after)| (before - after).abs() > 1e-9);
        // The sort is stable: equal changes stay in the order of the regions.
        changes.sort_by(|a, b| (b.2 - b.1).abs().total_cmp(&(a.2 - a.1).abs()));
        changes
    }
}

impl RegionShift {
    /// Sentences of what is more than the region can take, where it gets more clients than before:
    /// more than its capacity, or a load above `watermark`, 0 … 1.
    pub fn excesses(&self, watermark: f64) -> Vec<String> {
        let mut excesses = Vec::new();
        for (is_over, sentence) in self.sentences(watermark) {
            if is_over {
                excesses.push(sentence);
            }
        }
        excesses
    }

    /// Sentences of what it would reach, where it gets more clients than before and something says
    /// how many are too many; with each, true where it is too much, for load above `watermark`.
    fn sentences(&self, watermark: f64) -> Vec<(bool, String)> {
        let RegionShift { region, name, .. } = self;
        let mut sentences = Vec::new();
        if self.after <= self.before + 1e-9 {
            return sentences;
        }
        if let Some(of) = self.of_capacity() {
            let share = percent(self.after);
            let times = (of * 100.0).round() / 100.0;
            sentences.push((
                of > 1.0 + 1e-9,
                format!("{region} would reach {times} × its capacity, with {share} of the clients of {name}"),
            ));
        }
        if let Some((now, then)) = self.load {
            let [now, then] = [now, then].map(|load| (load * 100.0).round() / 100.0);
            sentences.push((
                then > watermark,
                format!("{region} reports a load of {now} and would reach {then}"),
            ));
        }
        sentences
    }
}
