//! Sorted runs of addresses with one value each: the flat tables that everything in `geo` is.
//!
//! A table covers the whole address space with *runs*: a run starts at its start and ends where the
//! next one starts, and neighbours have different values (equal ones are merged while the table
//! is built). An index narrows a search to one /16 (in IPv6 to less, where many runs share one), so
//! that a lookup reads two index entries, a few neighbouring starts and a value.
//!
//! ```text
//! index   [ 0 | 0 | 2 | … ]        run that holds the first address of each /16
//! starts  [ 0.0.0.0 | 1.0.0.0 | 1.0.128.0 | … ]
//! values  [    7    |    3    |     7     | … ]
//! ```
//!
//! The *scope* of an address is the length of the largest prefix around it that stays inside its
//! run. No prefixes are stored: a prefix of length L holds the address but not the last one before
//! the run when these two differ somewhere in their first L bits, and likewise at the run's end.

use std::net::IpAddr;

use crate::prefetch;

/// A table's value for an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// The value of the run that holds it.
    pub(super) value: u32,
    /// Length of the largest prefix around the address with that value throughout.
    pub(super) scope: u8,
}

/// The number of /16s, in either family.
const BUCKETS: usize = 1 << 16;

/// A table for both families.
#[derive(Debug)]
pub(super) struct Networks {
    pub(super) v4: V4Runs,
    pub(super) v6: V6Runs,
}

impl Networks {
    /// The value at `address`.
    pub(super) fn find(&self, address: IpAddr) -> u32 {
        match address {
            IpAddr::V4(v4) => self.v4.find(v4.to_bits()).value,
            IpAddr::V6(v6) => self.v6.find(v6.to_bits()).value,
        }
    }
}

/// IPv4 runs.
#[derive(Debug)]
pub(super) struct V4Runs {
    starts: Box<[u32]>,
    values: Box<[u32]>,
    /// By /16, and one more: the run that holds its first address; the last entry is the last run.
    index: Box<[u32]>,
}

impl V4Runs {
    /// The value at `address` and the scope of it.
    pub(super) fn find(&self, address: u32) -> Found {
        let bucket = (address >> 16) as usize;
        let (first, last) = (self.index[bucket] as usize, self.index[bucket + 1] as usize);
        // The first run begins at or before the bucket, so only the others are searched.
        let run = first + self.starts[first + 1..=last].partition_point(|start| *start <= address);
        // The longest prefix shared with the last address before the run, and one bit more: from
        // there on the prefix stays inside. The same with the first address behind the run; both
        // must hold.
        let before = match self.starts[run] {
            0 => 0,
            start => 1 + (address ^ (start - 1)).leading_zeros(),
        };
        let after = self
            .starts
            .get(run + 1)
            .map_or(0, |next| 1 + (address ^ next).leading_zeros());
        Found {
            value: self.values[run],
            // Leading zeros of an address, so 128 at most.
            scope: before.max(after) as u8,
        }
    }

    /// Every run in order: its first address and its value.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, u32)> {
        self.starts.iter().copied().zip(self.values.iter().copied())
    }
}

/// Builds [`V4Runs`] from starts in ascending order, the first of them 0.
#[derive(Debug, Default)]
pub(super) struct V4Builder {
    starts: Vec<u32>,
    values: Vec<u32>,
}

impl V4Builder {
    /// From `start` on the value is `value`.
    pub(super) fn push(&mut self, start: u32, value: u32) {
        debug_assert!(self.starts.last().map_or(start == 0, |last| *last < start));
        if self.values.last() != Some(&value) {
            self.starts.push(start);
            self.values.push(value);
        }
    }

    /// The table; value 0 everywhere when nothing was pushed.
    pub(super) fn finish(mut self) -> V4Runs {
        if self.starts.is_empty() {
            self.push(0, 0);
        }
        let index = index_of(self.starts.len(), BUCKETS, |run| {
            let start = self.starts[run];
            ((start >> 16) as usize, start & 0xffff != 0)
        });
        V4Runs {
            starts: self.starts.into(),
            values: self.values.into(),
            index,
        }
    }
}

/// IPv6 runs.
///
/// Nearly all of them start at a /64 or above, so only the high halves are stored for all and the
/// low halves for the few that have one: a third less memory, and twice the starts in a cache line.
#[derive(Debug)]
pub(super) struct V6Runs {
    /// The first 64 bits of each start.
    highs: Box<[u64]>,
    /// The last 64 bits of the starts that have any set, by run.
    lows: Box<[(u32, u64)]>,
    values: Box<[u32]>,
    /// By /16: its slots.
    slots: Box<[Slots]>,
    /// By slot, and one more: the run that holds its first address; the last entry is the last run.
    index: Box<[u32]>,
}

/// The slots of one /16: IPv6 is crowded into a few of them, and a crowded one is split by as many
/// of the next 16 bits as make about one run a slot.
#[derive(Debug, Clone, Copy)]
struct Slots {
    /// The number of the first; its others follow, and those of the next /16 follow these.
    first: u32,
    /// The next 16 bits shifted right by this are the slot's number in the /16.
    shift: u32,
}

impl Slots {
    /// The slot of the address with these first 64 bits.
    fn slot(self, high: u64) -> usize {
        // The second 16 bits: those before them are the number of the /16.
        let bits = (high >> 32) as u16;
        self.first as usize + (usize::from(bits) >> self.shift)
    }
}

impl V6Runs {
    /// Has the memory fetched that [`V6Runs::find`] reads for `address` at this step; each needs what the one before it
    /// fetched.
    pub(super) fn fetch(&self, address: u128, step: usize) {
        let high = (address >> 64) as u64;
        let slot = self.slots[(high >> 48) as usize].slot(high);
        if step == 0 {
            return prefetch::fetch(&self.index, slot);
        }
        let first = self.index[slot] as usize;
        if step == 1 {
            prefetch::fetch(&self.highs, first);
            prefetch::fetch(&self.values, first);
        } else {
            // A crowded slot: its middle, where the search begins.
            let last = self.index[slot + 1] as usize;
            prefetch::fetch(&self.highs, first + (last - first) / 2);
        }
    }

    /// The value at `address` and the scope of it.
    pub(super) fn find(&self, address: u128) -> Found {
        let high = (address >> 64) as u64;
        let slot = self.slots[(high >> 48) as usize].slot(high);
        let (first, last) = (self.index[slot] as usize, self.index[slot + 1] as usize);
        let mut run = first + self.highs[first + 1..=last].partition_point(|start| *start <= high);
        // Several runs begin inside this /64, and the high halves led to the last of them.
        if self.highs[run] == high && self.start(run) > address {
            run = self.last_before(first, run, address);
        }
        let before = match self.start(run) {
            0 => 0,
            start => 1 + (address ^ (start - 1)).leading_zeros(),
        };
        let after = if run + 1 < self.highs.len() {
            1 + (address ^ self.start(run + 1)).leading_zeros()
        } else {
            0
        };
        Found {
            value: self.values[run],
            // Leading zeros of an address, so 128 at most.
            scope: before.max(after) as u8,
        }
    }

    /// Every run in order: its first address and its value.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u128, u32)> {
        let mut lows = self.lows.iter().peekable();
        self.highs
            .iter()
            .zip(&self.values)
            .zip(0u32..)
            .map(move |((high, value), run)| {
                let low = lows
                    .next_if(|(at, _)| *at == run)
                    .map_or(0, |(_, low)| *low);
                (u128::from(*high) << 64 | u128::from(low), *value)
            })
    }

    /// The last run of `first..run` that starts at or before `address`, where several start inside
    /// the address's /64.
    fn last_before(&self, first: usize, run: usize, address: u128) -> usize {
        let (mut low, mut high) = (first, run);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.start(middle) <= address {
                low = middle
            } else {
                high = middle
            }
        }
        low
    }

    fn start(&self, run: usize) -> u128 {
        // Runs are numbered by `index`, in 32 bits.
        let low = match self.lows.binary_search_by_key(&(run as u32), |(at, _)| *at) {
            Ok(found) => self.lows[found].1,
            Err(_) => 0,
        };
        u128::from(self.highs[run]) << 64 | u128::from(low)
    }
}

/// Builds [`V6Runs`] from starts in ascending order, the first of them 0.
#[derive(Debug, Default)]
pub(super) struct V6Builder {
    highs: Vec<u64>,
    lows: Vec<(u32, u64)>,
    values: Vec<u32>,
}

impl V6Builder {
    /// From `start` on the value is `value`.
    pub(super) fn push(&mut self, start: u128, value: u32) {
        if self.values.last() != Some(&value) {
            self.cut(start, value);
        }
    }

    /// The same, and the run begins here even where the one before has the same value.
    pub(super) fn cut(&mut self, start: u128, value: u32) {
        debug_assert!(!self.highs.is_empty() || start == 0);
        // The lower half.
        let low = start as u64;
        if low != 0 {
            let run = u32::try_from(self.highs.len()).expect("a file has fewer runs than 2³²");
            self.lows.push((run, low));
        }
        self.highs.push((start >> 64) as u64);
        self.values.push(value);
    }

    /// The table; value 0 everywhere when nothing was pushed.
    pub(super) fn finish(mut self) -> V6Runs {
        if self.highs.is_empty() {
            self.push(0, 0);
        }
        let mut crowds = vec![0usize; BUCKETS];
        self.highs
            .iter()
            .for_each(|high| crowds[(high >> 48) as usize] += 1);
        let mut count = 0;
        let slots: Box<[Slots]> = crowds
            .iter()
            .map(|crowd| {
                // No more than 16, since a slot is chosen by the second 16 bits.
                let bits = crowd.next_power_of_two().trailing_zeros().min(16);
                count += 1 << bits;
                Slots {
                    first: count - (1 << bits),
                    shift: 16 - bits,
                }
            })
            .collect();
        let mut lows = self.lows.iter().peekable();
        let index = index_of(self.highs.len(), count as usize, |run| {
            let has_low = lows.next_if(|(at, _)| *at as usize == run).is_some();
            let (high, slots) = (self.highs[run], slots[(self.highs[run] >> 48) as usize]);
            (slots.slot(high), has_low || high << (32 - slots.shift) != 0)
        });
        V6Runs {
            highs: self.highs.into(),
            lows: self.lows.into(),
            values: self.values.into(),
            slots,
            index,
        }
    }
}

/// Two lists of runs as one: from each start on, the values of both. Both begin at address 0.
pub fn zip_runs<A: Copy, B: Copy>(
    a: impl Iterator<Item = (u128, A)>,
    b: impl Iterator<Item = (u128, B)>,
) -> impl Iterator<Item = (u128, (A, B))> {
    let (mut a, mut b) = (a.peekable(), b.peekable());
    let (mut left, mut right) = (None, None);
    std::iter::from_fn(move || {
        let start = match (a.peek(), b.peek()) {
            (Some((a, _)), Some((b, _))) => *a.min(b),
            (Some((start, _)), None) | (None, Some((start, _))) => *start,
            (None, None) => return None,
        };
        left = a
            .next_if(|(at, _)| *at == start)
            .map(|(_, value)| value)
            .or(left);
        right = b
            .next_if(|(at, _)| *at == start)
            .map(|(_, value)| value)
            .or(right);
        Some((start, (left?, right?)))
    })
}

/// The index of `runs` runs over `slots` slots of the address space. `place` is asked once for each
/// run, in order: the slot it starts in, and whether it starts past that slot's first address.
fn index_of(
    runs: usize,
    slots: usize,
    mut place: impl FnMut(usize) -> (usize, bool),
) -> Box<[u32]> {
    let mut index = Vec::with_capacity(slots + 1);
    let last = u32::try_from(runs - 1).expect("a file has fewer runs than 2³²");
    for (run, number) in (0..runs).zip(0u32..) {
        let (slot, past) = place(run);
        // Every slot up to here begins inside the run before; this one too, when the run starts past that.
        index.resize(
            index.len().max(slot + usize::from(past)),
            number.saturating_sub(1),
        );
    }
    index.resize(slots + 1, last);
    index.into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Addresses that collide often: few bits set, in every part of the address.
    fn address() -> impl Strategy<Value = u128> {
        proptest::collection::vec(
            prop_oneof![0u32..6, 14u32..18, 28u32..36, 60u32..68, 124u32..128],
            0..5,
        )
        .prop_map(|bits| bits.into_iter().fold(0, |all, bit| all | 1u128 << bit))
    }

    /// The value at `address` by a plain search, and its scope by trying every length.
    fn plain(runs: &BTreeMap<u128, u32>, address: u128, bits: u32) -> Found {
        let at = |a: u128| *runs.range(..=a).next_back().unwrap().1;
        let same = |length: u32| {
            let size = if length == 0 && bits == 128 {
                u128::MAX
            } else {
                (1u128 << (bits - length)) - 1
            };
            let first = address & !size;
            at(first) == at(address)
                && runs
                    .range(first..=first + size)
                    .all(|(_, value)| *value == at(address))
        };
        let scope = (0..=bits).find(|length| same(*length)).unwrap();
        Found {
            value: at(address),
            scope: scope as u8,
        }
    }

    proptest! {
        #[test]
        fn finds_what_a_plain_search_finds(
            starts in proptest::collection::btree_map(address(), 0u32..3, 0..12),
            asked in proptest::collection::vec(address(), 8),
        ) {
            let mut runs = starts;
            runs.entry(0).or_insert(0);
            let mut v6 = V6Builder::default();
            runs.iter().for_each(|(start, value)| v6.push(*start, *value));
            let v6 = v6.finish();
            let four: BTreeMap<u128, u32> = runs.iter().map(|(a, v)| (a >> 96, *v)).collect();
            let mut v4 = V4Builder::default();
            four.iter().for_each(|(start, value)| v4.push(*start as u32, *value));
            let v4 = v4.finish();
            for asked in asked.iter().flat_map(|a| [*a, a.wrapping_sub(1), !a]) {
                prop_assert_eq!(v6.find(asked), plain(&runs, asked, 128));
                prop_assert_eq!(v4.find((asked >> 96) as u32), plain(&four, asked >> 96, 32));
            }
            let read: BTreeMap<u128, u32> = v6.iter().collect();
            for (start, value) in read {
                prop_assert_eq!(plain(&runs, start, 128).value, value);
            }
        }
    }

    #[test]
    fn one_run_has_scope_zero() {
        assert_eq!(
            V4Builder::default().finish().find(77),
            Found { value: 0, scope: 0 }
        );
        assert_eq!(
            V6Builder::default().finish().find(77),
            Found { value: 0, scope: 0 }
        );
    }

    #[test]
    fn a_cut_bounds_the_scope_of_equal_neighbours() {
        let mut runs = V6Builder::default();
        runs.push(0, 5);
        runs.cut(1 << 127, 5);
        let runs = runs.finish();
        assert_eq!(runs.find(3), Found { value: 5, scope: 1 });
        assert_eq!(runs.find(1 << 127), Found { value: 5, scope: 1 });
    }
}
