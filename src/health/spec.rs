//! What health needs to know of each target.

use std::time::Duration;

use super::Thresholds;
use crate::model::{CheckSpec, ProbeTarget, RegionId, Service, TargetId};

/// How one (check, address) pair is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetSpec {
    /// How many outcomes it takes.
    pub thresholds: Thresholds,
    /// Time from one probe to the next.
    pub interval: Duration,
    /// How long one probe may take.
    pub timeout: Duration,
    /// The regions with an endpoint judged by it, each once.
    pub regions: Vec<RegionId>,
    /// It is one of `[server] sanity`.
    pub sanity: bool,
}

impl TargetSpec {
    /// One for each of `targets`, in their order.
    pub fn all(checks: &[CheckSpec], targets: &[ProbeTarget], services: &[Service], sanity: &[TargetId]) -> Vec<TargetSpec> {
        let mut specs: Vec<TargetSpec> = targets.iter().map(|target| TargetSpec::of(&checks[target.check.index()])).collect();
        for pool in services.iter().flat_map(|service| &service.pools) {
            for target in pool.endpoints.iter().flat_map(|endpoint| &endpoint.probes) {
                let regions = &mut specs[target.index()].regions;
                if !regions.contains(&pool.region) {
                    regions.push(pool.region);
                }
            }
        }
        for target in sanity {
            specs[target.index()].sanity = true;
        }
        specs
    }

    fn of(check: &CheckSpec) -> TargetSpec {
        TargetSpec {
            thresholds: Thresholds::from(check),
            interval: check.interval,
            timeout: check.timeout,
            regions: Vec::new(),
            sanity: false,
        }
    }
}
