//! Report of a run.

use std::time::Duration;

use super::check::Wrong;
use super::histogram::Histogram;

/// Results of a run, without its warm-up.
pub(crate) struct Report {
    pub(crate) sent: u64,
    pub(crate) answered: u64,
    /// Answers that came after the end.
    pub(crate) late: u64,
    pub(crate) lost: u64,
    /// Answers to nothing that was outstanding.
    pub(crate) stray: u64,
    /// At a fixed rate: questions not asked, and latencies left out, because the generator itself
    /// was held up.
    pub(crate) held: u64,
    /// By kind of [`Wrong`].
    wrong: [u64; 5],
    /// The first wrong one: what is wrong, the question, the answer.
    pub(crate) first_wrong: Option<(Wrong, Vec<u8>, Vec<u8>)>,
    /// Nanoseconds.
    pub(crate) latency: Histogram,
    pub(crate) elapsed: Duration,
    /// Seconds of CPU of the server, and the share of it in user space.
    pub(crate) server: Option<(f64, f64)>,
    /// Seconds of CPU of the generator.
    pub(crate) own: f64,
}

impl Report {
    pub(crate) fn new() -> Report {
        Report {
            sent: 0,
            answered: 0,
            late: 0,
            lost: 0,
            stray: 0,
            held: 0,
            wrong: [0; 5],
            first_wrong: None,
            latency: Histogram::new(),
            elapsed: Duration::ZERO,
            server: None,
            own: 0.0,
        }
    }

    pub(crate) fn count_wrong(&mut self, wrong: Wrong, question: &[u8], answer: &[u8]) {
        self.wrong[wrong as usize] += 1;
        self.first_wrong
            .get_or_insert_with(|| (wrong, question.to_vec(), answer.to_vec()));
    }

    /// Number of wrong answers.
    pub(crate) fn wrong(&self) -> u64 {
        self.wrong.iter().sum()
    }

    /// The report as one object: rates per second, times in microseconds.
    pub(crate) fn json(&self) -> serde_json::Value {
        let answers = self.answered.max(1) as f64;
        let seconds = self.elapsed.as_secs_f64();
        let latency = |share| {
            self.latency
                .quantile(share)
                .map(|time| time.as_nanos() as f64 / 1e3)
        };
        let each = |seconds: f64| seconds * 1e6 / answers;
        serde_json::json!({
            "seconds": seconds,
            "sent": self.sent,
            "answered": self.answered,
            "late": self.late,
            "lost": self.lost,
            "stray": self.stray,
            "held": self.held,
            "wrong": self.wrong(),
            "wrong_message": self.wrong[Wrong::Message as usize],
            "wrong_rcode": self.wrong[Wrong::Rcode as usize],
            "wrong_count": self.wrong[Wrong::Count as usize],
            "wrong_address": self.wrong[Wrong::Address as usize],
            "wrong_subnet": self.wrong[Wrong::Subnet as usize],
            "qps": self.answered as f64 / seconds,
            "cpu_us": self.server.map(|(total, _)| each(total)),
            "user_us": self.server.map(|(total, user)| each(total * user)),
            "system_us": self.server.map(|(total, user)| each(total * (1.0 - user))),
            "busy": self.server.map(|(total, _)| total / seconds),
            "own_us": each(self.own),
            "own_busy": self.own / seconds,
            "p50_us": latency(0.5),
            "p99_us": latency(0.99),
            "p999_us": latency(0.999),
        })
    }
}
