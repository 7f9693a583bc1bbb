//! The (check, address) pairs that are probed.

use std::collections::HashMap;

use super::super::document::Item;
use super::super::kinds::{distinct, name_of};
use super::super::names::Names;
use crate::diag::Diagnostics;
use crate::model::{CheckId, CheckSpec, ProbeTarget, Target, TargetId};

/// Every (check, address) pair met so far: services that use the same pair share its health.
#[derive(Default)]
pub(in crate::config) struct Targets {
    ids: HashMap<ProbeTarget, TargetId>,
    list: Vec<ProbeTarget>,
}

impl Targets {
    pub(in crate::config) fn id(&mut self, check: CheckId, target: &Target) -> TargetId {
        let probe = ProbeTarget {
            check,
            target: target.clone(),
        };
        *self.ids.entry(probe).or_insert_with_key(|probe| {
            self.list.push(probe.clone());
            TargetId::from_index(self.list.len() - 1)
        })
    }

    /// The number of pairs.
    pub(in crate::config) fn len(&self) -> usize {
        self.list.len()
    }

    /// The index of the check of a pair.
    pub(in crate::config) fn check(&self, target: TargetId) -> usize {
        self.list[target.index()].check.index()
    }

    pub(in crate::config) fn into_list(self) -> Vec<ProbeTarget> {
        self.list
    }
}

/// Reads `[server] sanity`: names of checks that bring their own address. A check that is wrong in
/// itself has been reported and is `None`.
pub(in crate::config) fn sanity(
    item: &Item<'_>,
    names: &Names,
    checks: &[Option<CheckSpec>],
    targets: &mut Targets,
    out: &mut Diagnostics,
) -> Option<Vec<TargetId>> {
    let read = name_of(names);
    let one = |item: &Item<'_>, out: &mut Diagnostics| {
        // Endpoints bring an address to their checks; here there is none but the check's own.
        let id = read(item, out)?;
        let check = checks[id].as_ref()?;
        let Some(address) = check.address else {
            let message = format!(
                "the check \"{}\" has no address, so there is nothing to probe",
                check.name
            );
            item.error(out, "sanity-without-address", message).hint(format!(
                "write address = \"…\" in [checks.{}]: a host in this node's own network, such as its router",
                check.name
            ));
            return None;
        };
        Some(targets.id(CheckId::from_index(id), &Target::Address(address)))
    };
    distinct(one, "check")(item, out)
}

/// Warns about addresses of checks that `sanity` does not use: endpoints bring their own.
pub(in crate::config) fn warn_unused_addresses(
    items: &[Item<'_>],
    used: &[usize],
    out: &mut Diagnostics,
) {
    for (_, item) in items.iter().enumerate().filter(|(i, _)| !used.contains(i)) {
        let address = item.table(&mut Diagnostics::default()).and_then(|mut t| {
            // A check that sends nothing takes no address at all, which has been said.
            let pushed = t
                .item("type")
                .is_some_and(|kind| kind.value.as_str() == Some("push"));
            if pushed { None } else { t.item("address") }
        });
        if let Some(address) = address {
            out.warning("unused-address", address.key_at(), address.path, "only [server] sanity uses the address of a check")
                .hint("endpoints are probed at their own addresses: remove it, or list the check in `sanity`");
        }
    }
}
