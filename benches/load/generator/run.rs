//! The loop that asks.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::batch::{Batch, SIZE};
use super::check::{self, Check};
use super::cpu::{Used, family};
use super::lane::{Lane, MOST_SLOTS};
use super::pool::Pool;
use super::report::Report;

/// Rate, number and kind of the questions.
pub(crate) struct Settings {
    pub(crate) target: SocketAddr,
    /// The caller's word that the target is theirs to load, where it is not on this machine.
    pub(crate) own_target: bool,
    pub(crate) sockets: usize,
    /// Outstanding questions in all; at a fixed rate there are as many as it takes.
    pub(crate) window: usize,
    /// Questions per second; `None` is the closed loop.
    pub(crate) rate: Option<f64>,
    /// Before this nothing counts.
    pub(crate) warm_up: Duration,
    pub(crate) duration: Duration,
    /// The most questions asked after the warm-up.
    pub(crate) questions: u64,
    /// Time after which an unanswered question counts as lost.
    pub(crate) patience: Duration,
    pub(crate) check: Check,
    /// The server's process, for its CPU time and that of its children.
    pub(crate) server: Option<u32>,
}

/// The longest run, warm-up included.
const LONGEST: Duration = Duration::from_secs(60);
/// A turn of the loop that comes later than this was held up: by other work on the core, not by the
/// server.
const HELD_UP: u64 = 100_000;
/// Fewest nanoseconds between two looks for lost questions.
const SWEEP: u64 = 20_000_000;
/// Turns without anything to do, after which others may have the core.
const IDLE_TURNS: u32 = 64;

/// Asks what is in `pool`, again and again.
pub(crate) fn run(settings: &Settings, pool: &Pool) -> io::Result<Report> {
    settings.refuse_what_does_harm()?;
    let mut generator = Generator::new(settings, pool)?;
    generator.ask_until(settings.warm_up)?;
    let server = settings.server.map(family);
    let used = |of: &Option<Vec<u32>>| of.as_deref().map(Used::by);
    let own = [std::process::id()];
    generator.begin_report();
    let (server_before, own_before, begin) = (used(&server), Used::by(&own), Instant::now());
    generator.ask_until(generator.began.elapsed() + settings.duration)?;
    let (elapsed, server_after, own_after) = (begin.elapsed(), used(&server), Used::by(&own));
    generator.drain()?;
    let mut report = generator.report;
    report.elapsed = elapsed;
    report.server = server_after
        .zip(server_before)
        .map(|(after, before)| after.since(&before));
    report.own = own_after.since(&own_before).0;
    Ok(report)
}

impl Settings {
    fn refuse_what_does_harm(&self) -> io::Result<()> {
        let refusal = if !self.target.ip().is_loopback() && !self.own_target {
            "the target is not a loopback address; --own-target says that it is yours to load"
        } else if self.warm_up + self.duration > LONGEST {
            "a run takes at most 60 seconds"
        } else if self.sockets == 0
            || self.window < self.sockets
            || self.window > self.sockets * MOST_SLOTS
        {
            "the window is at least one question a socket, and at most 4096"
        } else if self.rate.is_some_and(|rate| !(1.0..=10e6).contains(&rate)) {
            "the rate is from 1 to 10 000 000 questions a second"
        } else {
            return Ok(());
        };
        Err(io::Error::new(io::ErrorKind::InvalidInput, refusal))
    }
}

struct Generator<'r> {
    settings: &'r Settings,
    pool: &'r Pool,
    lanes: Vec<Lane>,
    incoming: Batch,
    outgoing: Batch,
    began: Instant,
    /// Index in the pool of the next question.
    next: usize,
    /// At a fixed rate: when the schedule began, in nanoseconds, and how many of it were asked.
    schedule: (u64, u64),
    swept: u64,
    report: Report,
    /// Answers count as late: the loop has ended.
    draining: bool,
}

impl<'r> Generator<'r> {
    fn new(settings: &'r Settings, pool: &'r Pool) -> io::Result<Generator<'r>> {
        let slots = settings
            .rate
            .map_or(settings.window / settings.sockets, |_| MOST_SLOTS);
        let lanes = (0..settings.sockets)
            .map(|_| Lane::new(settings.target, slots))
            .collect::<io::Result<_>>()?;
        Ok(Generator {
            settings,
            pool,
            lanes,
            incoming: Batch::new(),
            outgoing: Batch::new(),
            began: Instant::now(),
            next: 0,
            schedule: (0, 0),
            swept: 0,
            report: Report::new(),
            draining: false,
        })
    }

    fn now(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    /// Forgets the warm-up; what is outstanding stays so.
    fn begin_report(&mut self) {
        self.report = Report::new();
    }

    fn ask_until(&mut self, end: Duration) -> io::Result<()> {
        let end = end.as_nanos() as u64;
        let mut turn = self.now();
        self.schedule = (turn, 0);
        let mut idle = 0;
        loop {
            let now = self.now();
            if now >= end || self.report.sent >= self.settings.questions {
                return Ok(());
            }
            let held = now - turn > HELD_UP;
            turn = now;
            if held {
                self.leave_out_due(now);
            }
            let mut moved = 0;
            for lane in 0..self.lanes.len() {
                moved += self.send(lane, now)?;
                moved += self.receive(lane, held)?;
            }
            self.sweep(now);
            idle = if moved == 0 { idle + 1 } else { 0 };
            if idle > IDLE_TURNS {
                std::thread::yield_now();
            }
        }
    }

    /// Waits for what is outstanding; what does not come is lost.
    fn drain(&mut self) -> io::Result<()> {
        self.draining = true;
        let outstanding = |lanes: &[Lane]| lanes.iter().any(|lane| lane.free() < lane.slots.len());
        while outstanding(&self.lanes) {
            for lane in 0..self.lanes.len() {
                self.receive(lane, true)?;
            }
            self.sweep(self.now());
            std::thread::yield_now();
        }
        Ok(())
    }

    /// Sends what is due on a lane; how many questions.
    fn send(&mut self, lane: usize, now: u64) -> io::Result<usize> {
        let (count, rate) = match self.settings.rate {
            // Half a window at a time, so that both sides work in batches.
            None if self.lanes[lane].free() * 2 < self.lanes[lane].slots.len() => return Ok(0),
            None => (self.lanes[lane].free(), None),
            // A few at a time, so that the lanes share them.
            Some(rate) => (
                self.lanes[lane].free().min(self.due(now, rate)).min(16),
                Some(rate),
            ),
        };
        let count = count.min(SIZE);
        for i in 0..count {
            let at = rate.map_or(now, |rate| {
                self.schedule.0 + (self.schedule.1 as f64 * 1e9 / rate) as u64
            });
            self.schedule.1 += 1;
            let question = self.pool.question(self.next);
            let message = self.outgoing.put(i, self.pool.message(question));
            let id = self.lanes[lane].take(self.next as u32, at);
            message[..2].copy_from_slice(&id.to_be_bytes());
            self.next = if self.next + 1 == self.pool.len() {
                0
            } else {
                self.next + 1
            };
        }
        if count > 0 {
            // What the kernel does not take is lost, and found so.
            self.outgoing.send(&self.lanes[lane].socket, count)?;
            self.report.sent += count as u64;
        }
        Ok(count)
    }

    /// Number of questions of the schedule that are due and not asked yet.
    fn due(&self, now: u64, rate: f64) -> usize {
        let all = ((now - self.schedule.0) as f64 * rate / 1e9) as u64 + 1;
        all.saturating_sub(self.schedule.1) as usize
    }

    /// Does not ask what became due while the generator was held up: all at once it would be a
    /// burst that no client sends.
    fn leave_out_due(&mut self, now: u64) {
        if let Some(rate) = self.settings.rate {
            let due = self.due(now, rate) as u64;
            self.schedule.1 += due;
            self.report.held += due;
        }
    }

    /// Takes and checks the answers on a lane; how many datagrams.
    fn receive(&mut self, lane: usize, held: bool) -> io::Result<usize> {
        let count = self.incoming.receive(&self.lanes[lane].socket)?;
        let now = self.now();
        for i in 0..count {
            let answer = self.incoming.get(i);
            let slot = answer
                .first_chunk()
                .and_then(|id| self.lanes[lane].answered(u16::from_be_bytes(*id)));
            let Some(slot) = slot else {
                self.report.stray += 1;
                continue;
            };
            if self.draining {
                self.report.late += 1;
            } else {
                self.report.answered += 1;
            }
            if held {
                self.report.held += 1;
            } else {
                self.report.latency.add(now.saturating_sub(slot.at));
            }
            let question = self.pool.question(slot.question as usize);
            let message = self.pool.message(question);
            if let Err(wrong) =
                check::check(answer, message, &question.expected, self.settings.check)
            {
                self.report.count_wrong(wrong, message, answer);
            }
        }
        Ok(count)
    }

    /// Looks for lost questions now and then.
    fn sweep(&mut self, now: u64) {
        if now - self.swept < SWEEP {
            return;
        }
        self.swept = now;
        let then = now.saturating_sub(self.settings.patience.as_nanos() as u64);
        self.report.lost += self
            .lanes
            .iter_mut()
            .map(|lane| lane.give_up(then))
            .sum::<u64>();
    }
}
