//! Nested prefixes flattened: which of them is the innermost around each address.

use std::net::IpAddr;

use crate::model::Prefix;

/// A set of prefixes, and for each the one around it.
#[derive(Debug)]
pub(super) struct Nesting {
    /// By prefix: the smallest other one that holds it.
    parents: Vec<Option<usize>>,
    /// IPv4: from each address on, the innermost prefix. Starts with address 0.
    v4: Vec<(u128, Option<usize>)>,
    /// The same for IPv6.
    v6: Vec<(u128, Option<usize>)>,
}

impl Nesting {
    /// Of two equal prefixes the later one is the inner one.
    pub(super) fn new(prefixes: &[Prefix]) -> Nesting {
        let mut parents = vec![None; prefixes.len()];
        let v4 = flatten(prefixes, true, &mut parents);
        let v6 = flatten(prefixes, false, &mut parents);
        Nesting { parents, v4, v6 }
    }

    /// In order: from each address on, the innermost prefix.
    pub(super) fn runs(&self, v4: bool) -> &[(u128, Option<usize>)] {
        if v4 { &self.v4 } else { &self.v6 }
    }

    /// The innermost prefix around `address`.
    pub(super) fn innermost(&self, address: IpAddr) -> Option<usize> {
        let runs = self.runs(address.is_ipv4());
        runs[runs.partition_point(|(start, _)| *start <= bits(address)) - 1].1
    }

    /// `innermost` and every prefix around it, from the inside out.
    pub(super) fn outwards(&self, innermost: Option<usize>) -> impl Iterator<Item = usize> {
        std::iter::successors(innermost, |inner| self.parents[*inner])
    }
}

/// The runs of one family; sets the parents of its prefixes.
fn flatten(
    prefixes: &[Prefix],
    v4: bool,
    parents: &mut [Option<usize>],
) -> Vec<(u128, Option<usize>)> {
    let width = if v4 { 32 } else { 128 };
    let mut order: Vec<usize> = (0..prefixes.len())
        .filter(|i| prefixes[*i].address().is_ipv4() == v4)
        .collect();
    // Of those that begin together the shorter comes first: it is around the longer.
    order.sort_by_key(|i| (bits(prefixes[*i].address()), prefixes[*i].length()));
    let mut walk = Walk {
        prefixes,
        width,
        runs: vec![(0, None)],
        open: Vec::new(),
    };
    for prefix in order {
        let start = bits(prefixes[prefix].address());
        walk.close(Some(start));
        parents[prefix] = walk.open.last().copied();
        walk.open.push(prefix);
        walk.set(start, Some(prefix));
    }
    walk.close(None);
    walk.runs
}

/// The walk through the sorted prefixes of one family, from the first address to the last.
struct Walk<'a> {
    prefixes: &'a [Prefix],
    /// Bits of an address.
    width: u32,
    runs: Vec<(u128, Option<usize>)>,
    /// The prefixes around the current address, the innermost last.
    open: Vec<usize>,
}

impl Walk<'_> {
    /// The last address of prefix `i`.
    fn last(&self, i: usize) -> u128 {
        let prefix = self.prefixes[i];
        bits(prefix.address()) + host_mask(self.width - u32::from(prefix.length()))
    }

    /// Begins a run at `start`; it replaces one that begins there already, which would be empty.
    fn set(&mut self, start: u128, inner: Option<usize>) {
        if self.runs.last().is_some_and(|(at, _)| *at == start) {
            self.runs.pop();
        }
        self.runs.push((start, inner));
    }

    /// Closes the prefixes that end before `start`, or all of them without one. The prefix around
    /// a closed one goes on behind its end.
    fn close(&mut self, start: Option<u128>) {
        while let Some(inner) = self.open.last().copied() {
            let last = self.last(inner);
            if start.is_some_and(|start| start <= last) {
                break;
            }
            self.open.pop();
            // Behind the last address of the family there is nothing to go on with.
            if last != host_mask(self.width) {
                self.set(last + 1, self.open.last().copied());
            }
        }
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn host_mask(bits: u32) -> u128 {
    u128::MAX.checked_shr(128 - bits).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nesting(prefixes: &[&str]) -> Nesting {
        Nesting::new(
            &prefixes
                .iter()
                .map(|p| p.parse().unwrap())
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn the_innermost_prefix_is_found_and_those_around_it() {
        let nesting = nesting(&[
            "10.1.0.0/16",
            "0.0.0.0/0",
            "10.0.0.0/8",
            "10.1.255.255/32",
            "2001:db8::/32",
            "::/0",
            "255.0.0.0/8",
        ]);
        let around = |address: &str| {
            nesting
                .outwards(nesting.innermost(address.parse().unwrap()))
                .collect::<Vec<_>>()
        };
        assert_eq!(around("10.1.0.0"), [0, 2, 1]);
        assert_eq!(around("10.1.255.255"), [3, 0, 2, 1]);
        assert_eq!(around("10.2.0.0"), [2, 1]);
        assert_eq!(around("11.0.0.0"), [1]);
        assert_eq!(around("255.255.255.255"), [6, 1]);
        assert_eq!(around("2001:db8:ffff::"), [4, 5]);
        assert_eq!(around("ffff::"), [5]);
    }

    #[test]
    fn without_prefixes_nothing_is_around() {
        assert_eq!(nesting(&[]).innermost("192.0.2.1".parse().unwrap()), None);
        assert_eq!(
            nesting(&["192.0.2.0/24"]).innermost("2001:db8::".parse().unwrap()),
            None
        );
    }
}
