//! Facts of each target that health needs.

use std::time::Duration;

use super::Thresholds;
use crate::model::{CheckSpec, FlapRule, ProbeTarget, RegionId, Service, TargetId};

/// The rules by which one (check, address) pair is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetSpec {
    /// The numbers of outcomes that change the state.
    pub thresholds: Thresholds,
    /// Time from one probe to the next.
    pub interval: Duration,
    /// The longest time that one probe may take.
    pub timeout: Duration,
    /// Time from an outcome to the next probe while failures are counted; `interval` at most.
    pub recheck: Duration,
    /// True where probes come as early while passes are counted towards `rise`.
    pub recheck_up: bool,
    /// The regions with an endpoint judged by it, each once.
    pub regions: Vec<RegionId>,
    /// It is one of `[server] sanity`.
    pub sanity: bool,
    /// Rule by which it is held down as flapping; `None` holds it never.
    pub flap: Option<FlapRule>,
    /// A pass is to report a load.
    pub reports_load: bool,
    /// It reports itself: its silence is older than any window of isolation, and no sign of one.
    pub pushed: bool,
}

impl TargetSpec {
    /// One for each of `targets`, in their order.
    pub fn all(
        checks: &[CheckSpec],
        targets: &[ProbeTarget],
        services: &[Service],
        sanity: &[TargetId],
    ) -> Vec<TargetSpec> {
        let mut specs: Vec<TargetSpec> = targets
            .iter()
            .map(|target| TargetSpec::of(&checks[target.check.index()]))
            .collect();
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
            recheck: check.recheck,
            recheck_up: check.recheck_up,
            regions: Vec::new(),
            sanity: false,
            flap: check.flap,
            reports_load: check.reports_load(),
            pushed: check.kind.is_push(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::At;
    use crate::dns::{Name, Ttl};
    use crate::model::{
        CheckId, CheckKind, Endpoint, FamilyRule, Need, Pool, Resume, Route, Share, Target,
        TcpSpec, Weight, ZoneId,
    };

    fn pool(region: u16, probes: &[u32]) -> Pool {
        let endpoint = Endpoint {
            target: Target::Address([192, 0, 2, 1].into()),
            weight: Weight::ONE,
            probes: probes.iter().map(|target| TargetId(*target)).collect(),
            need: Need::All,
        };
        Pool {
            region: RegionId(region),
            weight: Weight::ONE,
            priority: 1,
            min_up: Share::HALF,
            endpoints: vec![endpoint.clone(), endpoint],
        }
    }

    #[test]
    fn a_target_belongs_to_the_regions_of_its_endpoints() {
        let check = CheckSpec {
            name: "web".into(),
            kind: CheckKind::Tcp(TcpSpec::default()),
            address: None,
            port: 80,
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            fall: 3,
            rise: 4,
            forgive: 5,
            fall_refused: 3,
            recheck: Duration::from_millis(500),
            recheck_up: false,
            watch: false,
            flap: None,
        };
        let target = |last| ProbeTarget {
            check: CheckId(0),
            target: Target::Address([192, 0, 2, last].into()),
        };
        let service = Service {
            zone: ZoneId(0),
            name: Name::root(),
            at: At::file("gtm.example.toml"),
            route: Route::Weighted,
            map: None,
            ttl: Ttl::from_secs(20).unwrap(),
            ttl_min: Ttl::from_secs(5).unwrap(),
            family: FamilyRule::Same,
            ramp: None,
            resume: Resume::Auto,
            answers: 1,
            pools: vec![pool(0, &[0]), pool(1, &[0, 1])],
            fallback: Vec::new(),
            trickle: Share::ZERO,
            min_regions: 1,
            unit: None,
            svcb: Vec::new(),
            names: false,
            by_client: false,
        };
        let specs = TargetSpec::all(
            &[check],
            &[target(1), target(2), target(3)],
            &[service],
            &[TargetId(2)],
        );
        let regions: Vec<_> = specs.iter().map(|spec| spec.regions.as_slice()).collect();
        assert_eq!(
            regions,
            [&[RegionId(0), RegionId(1)][..], &[RegionId(1)], &[]]
        );
        assert_eq!(
            specs.iter().map(|spec| spec.sanity).collect::<Vec<_>>(),
            [false, false, true]
        );
        assert_eq!(
            specs[0].thresholds,
            Thresholds {
                fall: 3,
                fall_refused: 3,
                rise: 4,
                forgive: 5
            }
        );
    }
}
