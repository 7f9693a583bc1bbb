//! Early probes, followed as the scheduler follows them: several regions, random phases, durations
//! and outcomes.

use std::collections::VecDeque;

use super::*;
use crate::health::pace::Pace;

/// The checks' settings and the targets of a run.
#[derive(Debug, Clone)]
struct Plan {
    interval: Duration,
    timeout: Duration,
    recheck: Duration,
    thresholds: Thresholds,
    endpoints: Vec<Endpoint>,
}

#[derive(Debug, Clone)]
struct Endpoint {
    region: u16,
    /// Its first turn.
    phase: Duration,
    /// The time that an answer of any kind takes.
    takes: Duration,
}

/// Fate of an endpoint from a moment on; probes under way share it.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Lives,
    /// Every probe ends as soon as an answer would, with this.
    Fails(Seen),
    /// Every probe ends by its timeout.
    Hangs,
    /// By chance.
    Wavers,
}

/// Health, and the probes that it asks for.
struct Run {
    health: Health,
    plan: Plan,
    probing: Vec<Probing>,
    /// Before the moment of `change` all live.
    fates: Vec<Fate>,
    change: Duration,
    random: fastrand::Rng,
    now: Duration,
    steps: usize,
    /// The published states just before the last outcome.
    before: Vec<State>,
    effects: Vec<(Duration, Effect)>,
}

/// The probes of one target: as in the scheduler.
struct Probing {
    turn: Duration,
    early: Option<Duration>,
    /// Begin and end of the probe under way.
    under_way: Option<(Duration, Duration)>,
}

const UNREACHABLE: Seen = Seen::Fail(FailReason::Unreachable);
const HUNG: Seen = Seen::Fail(FailReason::Timeout(Phase::Connect));

impl Plan {
    /// The same without rechecks.
    fn without_rechecks(&self) -> Plan {
        Plan {
            recheck: self.interval,
            ..self.clone()
        }
    }

    /// The latest fall of an endpoint without any early probe: its turns after `death` decide.
    fn ordinary_fall(&self, endpoint: &Endpoint, death: Duration) -> Duration {
        let mut turn = endpoint.phase;
        while turn < death {
            turn += self.interval;
        }
        turn + self.interval * (self.thresholds.fall - 1) + self.timeout
    }

    fn spec(&self, region: u16) -> TargetSpec {
        TargetSpec {
            thresholds: self.thresholds,
            interval: self.interval,
            timeout: self.timeout,
            recheck: self.recheck,
            ..spec(region, 1)
        }
    }

    /// The longest time that a probe of what has this fate takes.
    fn longest_probe(&self, fate: Fate) -> Duration {
        match fate {
            Fate::Hangs => self.timeout,
            _ => self.slowest_answer(),
        }
    }

    fn slowest_answer(&self) -> Duration {
        let answers = self.endpoints.iter().map(|own| own.takes);
        answers.max().expect("a plan has endpoints")
    }

    /// The longest time from the begin of the first failed probe to the fall.
    fn decides_within(&self, probe: Duration) -> Duration {
        probe + (self.recheck + probe) * (self.thresholds.fall - 1)
    }

    /// The longest time until a witness that is asked has passed: it may be asked a little later,
    /// and be under probe already.
    fn witness_within(&self) -> Duration {
        2 * self.slowest_answer() + Duration::from_millis(20)
    }

    /// The most early probes until a moment: a burst, and then as many as there are turns.
    fn early_probes_until(&self, now: Duration) -> f64 {
        let count = self.endpoints.len() as f64;
        let rate = (count / self.interval.as_secs_f64()).max(64.0);
        (2.0 * count).max(256.0) + rate * now.as_secs_f64()
    }

    /// The longest time over which the probes of targets that are looked at together are spread.
    fn spread(&self) -> Duration {
        Duration::from_millis(1).min(self.recheck)
    }
}

impl Run {
    fn new(plan: &Plan, change: Duration, fates: Vec<Fate>, seed: u64) -> Run {
        let specs = plan.endpoints.iter().map(|own| plan.spec(own.region));
        Run {
            health: Health::new(specs.collect()),
            probing: plan.endpoints.iter().map(Probing::of).collect(),
            plan: plan.clone(),
            fates,
            change,
            random: fastrand::Rng::with_seed(seed),
            now: Duration::ZERO,
            steps: 0,
            before: Vec::new(),
            effects: Vec::new(),
        }
    }

    /// Goes on to the next moment at which anything happens; false where that is after `end`.
    fn step(&mut self, end: Duration) -> bool {
        let probe = (0..self.probing.len())
            .min_by_key(|index| self.probing[*index].next())
            .expect("a plan has endpoints");
        let due = self.probing[probe].next();
        let deadline = self.health.next_deadline().map(|deadline| deadline.0);
        let next = deadline.map_or(due, |deadline| deadline.min(due));
        if next > end {
            return false;
        }
        // A deadline that is not over after its tick would be asked for for ever.
        self.steps += 1;
        assert!(self.steps < 50_000, "no end at {next:?}");
        self.now = self.now.max(next);
        let ticked = self.health.tick(Moment(self.now));
        self.take(ticked);
        let deadline = self.health.next_deadline();
        assert!(
            deadline.is_none_or(|deadline| deadline.0 > self.now),
            "time stands still at {next:?}"
        );
        self.before = self.states();
        if due <= self.now {
            self.begin_or_end(probe);
        }
        true
    }

    fn begin_or_end(&mut self, index: usize) {
        let Some((_, end)) = self.probing[index].under_way else {
            return self.begin(index);
        };
        let fate = self.fates[index];
        let seen = match fate {
            _ if end <= self.change => Seen::Pass,
            Fate::Lives => Seen::Pass,
            Fate::Fails(seen) => seen,
            // It ends by its timeout, which is later where the answer was on its way.
            Fate::Hangs if self.lengthen(index) => return,
            Fate::Hangs => HUNG,
            Fate::Wavers => {
                [Seen::Pass, Seen::Pass, REFUSED, HUNG, NO_ROUTE][self.random.usize(..5)]
            }
        };
        let own = &mut self.probing[index];
        own.under_way = None;
        // Turns meanwhile have fallen out; what was asked for early meanwhile follows at once.
        while own.turn < self.now {
            own.turn += self.plan.interval;
        }
        let now = Moment(self.now);
        let effects = self
            .health
            .record(TargetId::from_index(index), outcome(seen, now), now);
        self.take(effects);
    }

    /// Has the probe under way last as long as its timeout; false where it has.
    fn lengthen(&mut self, index: usize) -> bool {
        let timeout = self.plan.timeout;
        match &mut self.probing[index].under_way {
            Some((begin, end)) if *end < *begin + timeout => {
                *end = *begin + timeout;
                true
            }
            _ => false,
        }
    }

    fn begin(&mut self, index: usize) {
        let (interval, recheck) = (self.plan.interval, self.plan.recheck);
        let takes = self.plan.endpoints[index].takes;
        let now = self.now;
        let own = &mut self.probing[index];
        // Turns keep their places; those that an early probe was just made for fall out.
        let taken = if now < own.turn { now + recheck } else { now };
        while own.turn <= taken {
            own.turn += interval;
        }
        own.early = None;
        own.under_way = Some((now, now + takes));
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            if let Effect::ProbeEarly(Early { target, due }) = effect {
                self.probing[target.index()].hasten(due.0.max(self.now));
            }
            self.effects.push((self.now, effect));
        }
    }

    fn states(&self) -> Vec<State> {
        (0..self.probing.len())
            .map(|index| self.health.state(TargetId::from_index(index)))
            .collect()
    }

    /// The first moment of each target's fall, as it was published.
    fn falls(&self) -> Vec<Option<Duration>> {
        let fall = |index: usize| {
            let is_fall = |effect: &Effect| {
                matches!(effect, Effect::Transition(change)
                    if !change.up && change.target.index() == index)
            };
            self.effects
                .iter()
                .find(|(_, effect)| is_fall(effect))
                .map(|(at, _)| *at)
        };
        (0..self.probing.len()).map(fall).collect()
    }

    fn isolated_at(&self) -> Option<Duration> {
        let mut all = self.effects.iter();
        all.find(|(_, effect)| *effect == Effect::IsolationBegan)
            .map(|(at, _)| *at)
    }
}

impl Probing {
    fn of(endpoint: &Endpoint) -> Probing {
        Probing {
            turn: endpoint.phase,
            early: None,
            under_way: None,
        }
    }

    /// Moment at which a probe begins, or the one under way ends.
    fn next(&self) -> Duration {
        let begins = self.early.map_or(self.turn, |early| early.min(self.turn));
        self.under_way.map_or(begins, |(_, end)| end)
    }

    fn hasten(&mut self, due: Duration) {
        if due < self.turn {
            self.early = Some(self.early.map_or(due, |early| early.min(due)));
        }
    }
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn plan(regions: u16, endpoints: std::ops::Range<usize>) -> impl Strategy<Value = Plan> {
    let times = (
        prop::sample::select(vec![100u64, 500, 1000, 2000]),
        20u64..90,
        5u64..90,
    );
    let thresholds = (2u32..6, 0u32..4);
    let endpoint = (0..regions, 0u64..1000, 1u64..20);
    (
        times,
        thresholds,
        prop::collection::vec(endpoint, endpoints),
    )
        .prop_map(
            move |((interval, timeout, recheck), (fall, less), mut endpoints)| {
                // Two regions at least, of one endpoint at least.
                endpoints[0].0 = 0;
                endpoints[1].0 = 1;
                Plan {
                    interval: millis(interval),
                    timeout: millis(interval * timeout / 100),
                    recheck: millis((interval * recheck / 100).max(50)),
                    thresholds: Thresholds {
                        fall,
                        fall_refused: fall.saturating_sub(less).max(2),
                        rise: 2,
                        forgive: 3,
                    },
                    endpoints: endpoints
                        .into_iter()
                        .map(|(region, phase, takes)| Endpoint {
                            region,
                            phase: millis(interval) * phase as u32 / 1000,
                            takes: millis(takes),
                        })
                        .collect(),
                }
            },
        )
}

fn failing() -> impl Strategy<Value = Fate> {
    prop_oneof![
        Just(Fate::Fails(REFUSED)),
        Just(Fate::Fails(UNREACHABLE)),
        Just(Fate::Hangs),
    ]
}

/// Region 0 has `fate`, all others live.
fn lone(plan: &Plan, fate: Fate) -> Vec<Fate> {
    let endpoints = plan.endpoints.iter();
    endpoints
        .map(|own| if own.region == 0 { fate } else { Fate::Lives })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// A settled endpoint flips by no outcome alone, and no more are hurried than the limit allows.
    #[test]
    fn no_outcome_flips_a_settled_endpoint_and_no_more_are_hurried_than_may_be(
        plan in plan(4, 2..40),
        seed in any::<u64>(),
    ) {
        let fates = vec![Fate::Wavers; plan.endpoints.len()];
        let end = plan.interval * 12;
        let mut run = Run::new(&plan, plan.interval, fates, seed);
        while run.step(end) {
            for (before, after) in run.before.iter().zip(run.states()) {
                prop_assert!(!before.settled || before.up == after.up, "{:?}", run.effects.last());
            }
            let rechecks = run.health.rechecks();
            prop_assert!(rechecks.hurried <= rechecks.limit, "{rechecks:?}");
            let allowed = plan.early_probes_until(run.now);
            prop_assert!(rechecks.asked as f64 <= allowed, "{rechecks:?}, not {allowed}");
            prop_assert!(rechecks.waiting == 0 || rechecks.hurried == rechecks.limit, "{rechecks:?}");
        }
    }

    /// Targets that wait are taken in the order in which they came, as soon as there is room.
    #[test]
    fn those_that_wait_are_taken_in_turn(
        steps in prop::collection::vec((0usize..64, prop::bool::weighted(0.6)), 1..400),
    ) {
        let mut pace = Pace::new(&vec![spec(0, 2); 64]);
        let limit = pace.rechecks().limit;
        let (mut hurried, mut waiting) = (Vec::new(), VecDeque::new());
        for (step, (target, hurry)) in steps.into_iter().enumerate() {
            // A second apart: the allowance never runs out.
            let now = at(step as u64 * 1000);
            let target = TargetId::from_index(target);
            let (mut early, mut asked) = (Vec::new(), Vec::new());
            if hurry {
                pace.hurry(target, now, now, &mut early);
                if !hurried.contains(&target) && !waiting.contains(&target) {
                    if hurried.len() < limit { hurried.push(target) } else { waiting.push_back(target) }
                }
                asked.extend(hurried.contains(&target).then_some(target));
            } else {
                pace.calm(target, now, &mut early);
                let before = hurried.len();
                hurried.retain(|other| *other != target);
                waiting.retain(|other| *other != target);
                if hurried.len() < before {
                    asked.extend(waiting.pop_front());
                    hurried.extend(asked.first());
                }
            }
            prop_assert_eq!(early.iter().map(|own| own.target).collect::<Vec<_>>(), asked);
            prop_assert_eq!(pace.rechecks().hurried, hurried.len());
            prop_assert_eq!(pace.rechecks().waiting, waiting.len());
        }
    }

    /// No endpoint falls later than by its own turns where more die than may be hurried.
    #[test]
    fn none_of_a_large_region_falls_later_than_by_its_turns(
        plan in plan(1, 40..80),
        fate in failing(),
        seed in any::<u64>(),
    ) {
        let death = plan.interval * 2;
        let end = death + plan.interval * 10;
        let mut run = Run::new(&plan, death, lone(&plan, fate), seed);
        while run.step(end) {}
        for (fall, own) in run.falls().into_iter().zip(&plan.endpoints) {
            let ordinary = plan.ordinary_fall(own, death);
            prop_assert_eq!(fall.is_some(), own.region == 0);
            prop_assert!(fall.is_none_or(|fall| fall <= ordinary), "{fall:?}, not {ordinary:?}");
        }
    }

    /// The loss of our own network publishes no fall, and is isolation when it is without rechecks.
    #[test]
    fn a_total_loss_is_isolation_as_without_rechecks(
        plan in plan(4, 2..24),
        fate in failing(),
        after in 0u64..1000,
        seed in any::<u64>(),
    ) {
        let loss = plan.interval * 2 + plan.interval * after as u32 / 1000;
        let end = loss + plan.interval * 8;
        let mut isolated = Vec::new();
        for plan in [plan.clone(), plan.without_rechecks()] {
            let fates = vec![fate; plan.endpoints.len()];
            let mut run = Run::new(&plan, loss, fates, seed);
            while run.step(end) {}
            let at = run.isolated_at();
            prop_assert!(at.is_some_and(|at| at <= loss + 2 * (plan.interval + plan.timeout)));
            prop_assert!(run.health.is_isolated());
            // Without rechecks, what is probed again before any other region is seen may fall.
            if plan.recheck < plan.interval {
                prop_assert!(run.falls().iter().all(Option::is_none), "{:?}", run.falls());
            }
            isolated.push(at);
        }
        prop_assert_eq!(isolated[0], isolated[1]);
    }

    /// A region that dies alone is out in time, and all of it soon after its first endpoint.
    #[test]
    fn a_lone_dead_region_falls_in_time_and_together(
        plan in plan(3, 2..16),
        fate in failing(),
        after in 0u64..1000,
        seed in any::<u64>(),
    ) {
        let death = plan.interval * 2 + plan.interval * after as u32 / 1000;
        let end = death + plan.interval * 10;
        let mut run = Run::new(&plan, death, lone(&plan, fate), seed);
        while run.step(end) {}
        let falls = run.falls();
        let probe = plan.longest_probe(fate);
        let first = falls.iter().flatten().min().copied().expect("one is dead");
        for (index, own) in plan.endpoints.iter().enumerate() {
            if own.region != 0 {
                prop_assert_eq!(falls[index], None);
                continue;
            }
            let fall = falls[index].expect("it is dead");
            let in_time = death + plan.interval + plan.decides_within(probe) + plan.witness_within();
            prop_assert!(fall <= in_time, "{index}: {fall:?}, not {in_time:?}");
            let ordinary = plan.ordinary_fall(own, death);
            prop_assert!(fall <= ordinary, "{index}: {fall:?}, {ordinary:?} without rechecks");
            let together = first
                + (plan.recheck + probe) * plan.thresholds.fall
                + plan.spread()
                + plan.witness_within();
            prop_assert!(fall <= together, "{index}: {fall:?}, the first at {first:?}");
        }
    }
}
