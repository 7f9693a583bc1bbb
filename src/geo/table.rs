//! A table for clients of both families, with IPv4 clients inside IPv6 addresses.

use std::net::IpAddr;

use super::embedded::{self, EMBEDDINGS};
use super::runs::{Found, V6Builder, V6Runs, zip_runs};
use super::tree::V4Tree;
use crate::model::Prefix;

/// Client → value and scope.
#[derive(Debug)]
pub(super) struct Table {
    v4: V4Tree,
    v6: V6Runs,
    /// IPv4 addresses inside IPv6 ones have values of their own. False when all of IPv4 has one
    /// value: then it stands in the IPv6 runs like any other.
    unwraps: bool,
}

impl Table {
    /// A table of IPv4 runs and of IPv6 runs in the order of their starts, from address 0 on.
    pub(super) fn new(v4: V4Tree, v6: impl Iterator<Item = (u128, u32)>) -> Table {
        let single = v4.single();
        Table {
            v6: with_embedded(v6, single),
            unwraps: single.is_none(),
            v4,
        }
    }

    /// Finds the value and scope of `client`.
    #[inline]
    pub(super) fn find(&self, client: Prefix) -> Found {
        match client.address() {
            IpAddr::V4(address) => self.v4.find(address.to_bits()),
            IpAddr::V6(address) => match embedded::unwrap(address.to_bits(), client.length()) {
                Some((inner, offset)) if self.unwraps => {
                    let found = self.v4.find(inner);
                    Found {
                        value: found.value,
                        scope: offset + found.scope,
                    }
                }
                _ => self.v6.find(address.to_bits()),
            },
        }
    }

    /// Has the memory fetched that [`Table::find`] reads at this step.
    #[inline]
    pub(super) fn fetch(&self, client: Prefix, step: usize) {
        match client.address() {
            IpAddr::V4(address) => self.v4.fetch(address.to_bits(), step),
            IpAddr::V6(address) => self.v6.fetch(address.to_bits(), step),
        }
    }

    /// The address that `client` is looked up by.
    pub(super) fn address_of(&self, client: Prefix) -> IpAddr {
        let IpAddr::V6(address) = client.address() else {
            return client.address();
        };
        // With one value for all of IPv4, that is found for prefixes of any length.
        let length = if self.unwraps { client.length() } else { 128 };
        embedded::unwrap(address.to_bits(), length)
            .map_or(address.into(), |(inner, _)| IpAddr::V4(inner.into()))
    }

    /// Stretches of IPv4 in order: first address and value.
    pub(super) fn v4_runs(&self) -> impl Iterator<Item = (u32, u32)> {
        self.v4.iter()
    }

    /// The same of IPv6.
    pub(super) fn v6_runs(&self) -> impl Iterator<Item = (u128, u32)> {
        self.v6.iter()
    }

    /// The same table with other values, merged anew.
    pub(super) fn map(&self, value: impl Fn(u32) -> u32) -> Table {
        let v4 = self
            .v4
            .iter()
            .map(|(start, old)| (start, value(old)))
            .collect();
        Table::new(v4, self.v6.iter().map(|(start, old)| (start, value(old))))
    }
}

/// The IPv6 runs with the embedding prefixes made runs of their own, so that no scope reaches from
/// outside into one of them; or, where all of IPv4 has a `single` value, with that value in them.
fn with_embedded(runs: impl Iterator<Item = (u128, u32)>, single: Option<u32>) -> V6Runs {
    let mut builder = V6Builder::default();
    let mut last = None;
    for (start, (value, embedding)) in zip_runs(runs, embedding_runs()) {
        match (single, embedding) {
            (Some(single), Some(_)) => builder.push(start, single),
            // A boundary even between equal values: a scope from outside must not cover clients
            // that are looked up as IPv4.
            (None, _) if embedding != last => builder.cut(start, value),
            _ => builder.push(start, value),
        }
        last = embedding;
    }
    builder.finish()
}

/// From each address on, the embedding it is in.
fn embedding_runs() -> impl Iterator<Item = (u128, Option<usize>)> {
    let bounds = EMBEDDINGS
        .iter()
        .enumerate()
        .flat_map(|(i, e)| [(e.start, Some(i)), (e.end(), None)]);
    std::iter::once((0, None)).chain(bounds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(table: &Table, client: &str) -> (u32, u8) {
        let found = table.find(client.parse().unwrap());
        (found.value, found.scope)
    }

    #[test]
    fn scopes_stop_at_embedded_ipv4() {
        let v4 = [(0, 7), (1 << 31, 8)].into_iter().collect();
        let table = Table::new(v4, [(0, 7)].into_iter());
        assert_eq!(
            find(&table, "2003::/56"),
            (7, 16),
            "2002::/16 is not like it throughout"
        );
        assert_eq!(find(&table, "2002:102:304::/56"), (7, 17));
        assert_eq!(find(&table, "2002:c000::/56"), (8, 17));
        assert_eq!(find(&table, "::ffff:192.0.2.1"), (8, 97));
        assert_eq!(find(&table, "2001:0:1:2:3:4:3fff:fdde"), (8, 97));
        assert_eq!(
            find(&table, "2001:0:1:2::/64"),
            (7, 32),
            "no bit of the client's IPv4 address is known"
        );
        assert_eq!(find(&table, "4000::/16"), (7, 2));
    }

    #[test]
    fn one_value_everywhere_has_scope_zero() {
        let table = Table::new([(0, 7)].into_iter().collect(), [(0, 7)].into_iter());
        assert_eq!(find(&table, "2003::/56"), (7, 0));
        assert_eq!(find(&table, "2002:102:304::/56"), (7, 0));
        assert_eq!(find(&table, "192.0.2.0/24"), (7, 0));
    }

    #[test]
    fn one_value_in_ipv4_stands_in_the_ipv6_runs() {
        let table = Table::new([(0, 8)].into_iter().collect(), [(0, 7)].into_iter());
        assert_eq!(find(&table, "2002:102:304::/56"), (8, 16));
        assert_eq!(find(&table, "2003::/56"), (7, 16));
        let same = table.map(|_| 1);
        assert_eq!(find(&same, "2003::/56"), (1, 0));
    }
}
