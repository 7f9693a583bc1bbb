//! The table that queries ask about IPv4 clients: two or three cache lines for an address.
//!
//! By the first 16 bits of an address there is a *slot*. Where the whole /16 has one value, the slot
//! is that value and its scope. Elsewhere it names the root of a static B-tree over the last 16
//! bits, of lines as long as a cache line. A leaf holds up to 10 runs, a node up to 29 children,
//! which stand side by side; so a /16 in which every /24 differs is a node and its leaves.
//!
//! ```text
//! slots  [ 7, /11 | leaf | 3, /16 | node | … ]
//!                    │                └─▶ 29 × last address of a child, the number of the first child
//!                    └─▶ 10 × last address of a run, 10 × value
//! ```
//!
//! *Runs* and the *scope* of an address are those of [`super::runs`]. Inside a tree the first 16 bits
//! need no look: its /16 has more than one value, so every scope in it is longer than that.

use super::runs::Found;
use crate::prefetch;

/// Runs in a leaf.
const RUNS: usize = 10;
/// Children of a node.
const CHILDREN: usize = 29;

/// From every IPv4 address to a value and its scope.
#[derive(Debug)]
pub(super) struct V4Tree {
    /// By /16: [`UNIFORM`] with scope and value, else the number of a line, [`NODE`] or not.
    slots: Box<[u32]>,
    lines: Vec<Line>,
}

/// The /16 has one value: 5 bits of scope and 26 of value follow.
const UNIFORM: u32 = 1 << 31;
const SCOPE_SHIFT: u32 = 26;
const VALUE: u32 = (1 << SCOPE_SHIFT) - 1;
/// The line is a node, not a leaf; 30 bits of line number follow.
const NODE: u32 = 1 << 30;

/// A leaf or a node: one cache line.
///
/// Both begin with the last addresses (their last 16 bits) of their runs or children, unused ones
/// 0xffff. A leaf goes on at [`START`] with the first address of its first run, and at [`LOW`] and
/// [`HIGH`] with the halves of its values; a node at [`HEIGHT`] with the lines from it to a leaf, and
/// at [`CHILD`] with the halves of the number of its first child.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Line([u16; 32]);

const START: usize = 10;
const LOW: usize = 12;
const HIGH: usize = 22;
const HEIGHT: usize = 29;
const CHILD: usize = 30;

impl V4Tree {
    /// The value at `address` and the scope of it.
    #[inline]
    pub(super) fn find(&self, address: u32) -> Found {
        let slot = self.slots[(address >> 16) as usize];
        if slot & UNIFORM != 0 {
            return Found {
                value: slot & VALUE,
                scope: (slot >> SCOPE_SHIFT & 31) as u8,
            };
        }
        // The lower half, by which a /16 is searched.
        let low = address as u16;
        let leaf = self.leaf(slot, low);
        let run = leaf.rank::<RUNS>(low);
        let before = match leaf.start_of(run) {
            0 => 0,
            start => 17 + (low ^ (start - 1)).leading_zeros(),
        };
        let after = match leaf.0[run] {
            u16::MAX => 0,
            last => 17 + (low ^ (last + 1)).leading_zeros(),
        };
        Found {
            value: leaf.value(run),
            // Leading zeros of an address, so 32 at most.
            scope: before.max(after) as u8,
        }
    }

    /// Has the memory fetched that [`V4Tree::find`] reads for `address` at this step; each needs what the one before it
    /// fetched. Nothing is left to fetch after [`super::FETCH_STEPS`], but for a /16 of more than 290 runs.
    #[inline]
    pub(super) fn fetch(&self, address: u32, step: usize) {
        let slot = (address >> 16) as usize;
        if step == 0 {
            return prefetch::fetch(&self.slots, slot);
        }
        let slot = self.slots[slot];
        if slot & UNIFORM != 0 {
            return;
        }
        let root = (slot & !NODE) as usize;
        if step == 1 {
            prefetch::fetch(&self.lines, root);
        } else if slot & NODE != 0 {
            let (root, low) = (&self.lines[root], address as u16);
            prefetch::fetch(&self.lines, root.child(root.rank::<CHILDREN>(low)));
        }
    }

    /// Stretches of one value in order: first address and value. Neighbours may have the same one
    /// where a /16 ends between them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, u32)> {
        let mut next = Some(0u32);
        std::iter::from_fn(move || {
            let start = next?;
            let slot = self.slots[(start >> 16) as usize];
            let (value, last) = if slot & UNIFORM != 0 {
                (slot & VALUE, u16::MAX)
            } else {
                let low = start as u16;
                let leaf = self.leaf(slot, low);
                let run = leaf.rank::<RUNS>(low);
                (leaf.value(run), leaf.0[run])
            };
            next = (start & 0xffff_0000 | u32::from(last)).checked_add(1);
            Some((start, value))
        })
    }

    /// The value that every address has; `None` where there are several.
    pub(super) fn single(&self) -> Option<u32> {
        let value = self.find(0).value;
        self.iter()
            .all(|(_, other)| other == value)
            .then_some(value)
    }

    /// The leaf below `slot` for an address with these last 16 bits.
    #[inline]
    fn leaf(&self, slot: u32, low: u16) -> &Line {
        let mut line = &self.lines[(slot & !NODE) as usize];
        let mut height = if slot & NODE != 0 { line.0[HEIGHT] } else { 0 };
        while height > 0 {
            line = &self.lines[line.child(line.rank::<CHILDREN>(low))];
            height -= 1;
        }
        line
    }
}

impl Line {
    /// Counts those of the first `N` last addresses that lie before `low`: the run or child that
    /// holds it.
    #[inline(always)]
    fn rank<const N: usize>(&self, low: u16) -> usize {
        usize::from(
            self.0[..N]
                .iter()
                .map(|last| u16::from(*last < low))
                .sum::<u16>(),
        )
    }

    #[inline]
    fn start_of(&self, run: usize) -> u16 {
        if run == 0 {
            self.0[START]
        } else {
            self.0[run - 1] + 1
        }
    }

    #[inline]
    fn value(&self, run: usize) -> u32 {
        u32::from(self.0[LOW + run]) | u32::from(self.0[HIGH + run]) << 16
    }

    #[inline]
    fn child(&self, rank: usize) -> usize {
        (u32::from(self.0[CHILD]) | u32::from(self.0[CHILD + 1]) << 16) as usize + rank
    }
}

impl FromIterator<(u32, u32)> for V4Tree {
    /// Of starts in ascending order, the first of them 0, and values below 2²⁶; equal neighbours are merged.
    fn from_iter<I: IntoIterator<Item = (u32, u32)>>(runs: I) -> V4Tree {
        let mut builder = Builder {
            slots: Vec::with_capacity(1 << 16),
            lines: Vec::new(),
            pending: Vec::new(),
        };
        let (mut first, mut value) = (0, None);
        for (start, next) in runs {
            assert!(next <= VALUE, "a map has fewer than 2^26 orders");
            if value != Some(next) {
                if let Some(value) = value.replace(next) {
                    builder.run(first, start - 1, value);
                }
                first = start;
            }
        }
        builder.run(first, u32::MAX, value.unwrap_or_default());
        let mut lines = Vec::with_capacity(builder.lines.len());
        // Before the lines are copied: the advice is for pages that are not there yet.
        prefetch::prefer_large_pages(&lines);
        lines.append(&mut builder.lines);
        V4Tree {
            slots: builder.slots.into(),
            lines,
        }
    }
}

struct Builder {
    slots: Vec<u32>,
    lines: Vec<Line>,
    /// The runs of the /16 under way: last address and value.
    pending: Vec<(u16, u32)>,
}

impl Builder {
    /// The next run, from `first` to `last`.
    fn run(&mut self, first: u32, last: u32, value: u32) {
        for bucket in first >> 16..=last >> 16 {
            let (bucket_first, bucket_last) = (bucket << 16, bucket << 16 | 0xffff);
            if first <= bucket_first && last >= bucket_last {
                let before = if first == 0 {
                    0
                } else {
                    1 + (bucket_first ^ (first - 1)).leading_zeros()
                };
                let after = if last == u32::MAX {
                    0
                } else {
                    1 + (bucket_first ^ (last + 1)).leading_zeros()
                };
                self.slots
                    .push(UNIFORM | before.max(after) << SCOPE_SHIFT | value);
                continue;
            }
            // The place inside the /16: its lower half.
            self.pending.push((last.min(bucket_last) as u16, value));
            if last >= bucket_last {
                let slot = self.tree();
                self.slots.push(slot);
            }
        }
    }

    /// Makes the tree of the pending runs; returns its slot.
    fn tree(&mut self) -> u32 {
        let mut base = self.lines.len();
        let mut start = 0;
        for runs in self.pending.chunks(RUNS) {
            // Unused places stay 0xffff, which `rank` never counts: no address is behind it.
            let mut leaf = [u16::MAX; 32];
            leaf[START] = start;
            for (index, (last, value)) in runs.iter().enumerate() {
                // A value is 32 bits, in two halves.
                (leaf[index], leaf[LOW + index], leaf[HIGH + index]) =
                    (*last, *value as u16, (value >> 16) as u16);
                start = last.wrapping_add(1);
            }
            self.lines.push(Line(leaf));
        }
        let mut lasts: Vec<u16> = self
            .pending
            .chunks(RUNS)
            .map(|runs| runs[runs.len() - 1].0)
            .collect();
        let mut height = 0;
        while lasts.len() > 1 {
            height += 1;
            let level = self.lines.len();
            // A level is written whole before the next one, so a node's children are neighbours and
            // the number of the first finds them all.
            for (index, children) in lasts.chunks(CHILDREN).enumerate() {
                let first = u32::try_from(base + index * CHILDREN).expect("a slot numbers lines");
                let mut node = [u16::MAX; 32];
                node[..children.len()].copy_from_slice(children);
                (node[HEIGHT], node[CHILD], node[CHILD + 1]) =
                    (height, first as u16, (first >> 16) as u16);
                self.lines.push(Line(node));
            }
            lasts = lasts
                .chunks(CHILDREN)
                .map(|children| children[children.len() - 1])
                .collect();
            base = level;
        }
        self.pending.clear();
        let root = u32::try_from(base)
            .ok()
            .filter(|base| *base < NODE)
            .expect("2^30 lines would be 64 GiB");
        root | if height > 0 { NODE } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// The value at `address` by a plain search, and its scope by trying every length.
    fn plain(runs: &BTreeMap<u32, u32>, address: u32) -> Found {
        let at = |a: u32| *runs.range(..=a).next_back().unwrap().1;
        let same = |length: u32| {
            let rest = u32::MAX.checked_shr(length).unwrap_or(0);
            let first = address & !rest;
            at(first) == at(address)
                && runs
                    .range(first..=first | rest)
                    .all(|(_, value)| *value == at(address))
        };
        Found {
            value: at(address),
            scope: (0..=32).find(|length| same(*length)).unwrap() as u8,
        }
    }

    /// Without the starts at which the value stays as it is.
    fn merged(runs: impl Iterator<Item = (u32, u32)>) -> Vec<(u32, u32)> {
        let mut runs: Vec<(u32, u32)> = runs.collect();
        runs.dedup_by_key(|(_, value)| *value);
        runs
    }

    fn check(runs: &BTreeMap<u32, u32>, asked: impl Iterator<Item = u32>) {
        let tree: V4Tree = runs.iter().map(|(start, value)| (*start, *value)).collect();
        for address in asked {
            assert_eq!(tree.find(address), plain(runs, address), "{address:#x}");
        }
        assert_eq!(
            merged(tree.iter()),
            merged(runs.iter().map(|(start, value)| (*start, *value)))
        );
        assert_eq!(
            tree.single().is_some(),
            runs.values()
                .all(|value| Some(value) == runs.values().next())
        );
    }

    proptest! {
        /// Starts that crowd into few /16s, and values that often repeat.
        #[test]
        fn finds_what_a_plain_search_finds(
            starts in proptest::collection::btree_map((0u32..3, 0u32..1 << 16), 0u32..3, 0..400),
            shift in 0u32..3,
        ) {
            let mut runs: BTreeMap<u32, u32> =
                starts.into_iter().map(|((bucket, low), value)| (bucket << (15 + 8 * shift) | low << shift, value)).collect();
            runs.entry(0).or_insert(0);
            let asked: Vec<u32> = runs.keys().flat_map(|a| [*a, a.wrapping_sub(1), a ^ 0x8000, !a]).collect();
            check(&runs, asked.into_iter());
        }
    }

    #[test]
    fn a_slash_16_of_single_addresses_has_three_levels() {
        let runs: BTreeMap<u32, u32> = (0..1 << 16)
            .map(|low| (0x0a00_0000 | low, 1 + low % 2))
            .chain([(0, 0), (0x0a01_0000, 0)])
            .collect();
        let tree: V4Tree = runs.iter().map(|(start, value)| (*start, *value)).collect();
        for low in [0, 1, 9, 10, 289, 290, 8409, 8410, 65_534, 65_535] {
            assert_eq!(
                tree.find(0x0a00_0000 | low),
                Found {
                    value: 1 + low % 2,
                    scope: 32
                }
            );
        }
        assert_eq!(
            tree.find(0x0a01_0000),
            Found {
                value: 0,
                scope: 16
            }
        );
        assert_eq!(tree.find(0x8000_0000), Found { value: 0, scope: 1 });
    }

    #[test]
    fn one_run_has_scope_zero() {
        let tree: V4Tree = [].into_iter().collect();
        assert_eq!(
            (tree.find(77), tree.single()),
            (Found { value: 0, scope: 0 }, Some(0))
        );
    }
}
