//! CPU time that processes have used, from `/proc`.

use std::fs;

/// CPU time used so far, in seconds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Used {
    /// Exact: the scheduler's account of every thread (`/proc/PID/task/TID/schedstat`).
    pub(crate) total: f64,
    /// In ticks of the clock (`/proc/PID/stat`): to tell shares, not sums.
    user: f64,
    system: f64,
}

impl Used {
    /// Time that `processes` have used; those that are gone count nothing.
    pub(crate) fn by(processes: &[u32]) -> Used {
        processes.iter().fold(Used::default(), |sum, process| {
            let stat = fields(*process).unwrap_or_default();
            let ticks = |index: usize| {
                stat.get(index)
                    .and_then(|field| field.parse::<f64>().ok())
                    .unwrap_or(0.0)
            };
            // Fields 14 and 15, of which `fields` leaves out two; in ticks of 10 ms, which is all
            // that Linux has for user space.
            Used {
                total: sum.total + threads_time(*process),
                user: sum.user + ticks(11) / 100.0,
                system: sum.system + ticks(12) / 100.0,
            }
        })
    }

    /// Time used since `before`, and the share of it in user space.
    pub(crate) fn since(&self, before: &Used) -> (f64, f64) {
        let (user, system) = (self.user - before.user, self.system - before.system);
        (
            self.total - before.total,
            if user + system > 0.0 {
                user / (user + system)
            } else {
                0.0
            },
        )
    }
}

/// The process and all that descend from it.
pub(crate) fn family(process: u32) -> Vec<u32> {
    let all: Vec<u32> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    let parents: Vec<(u32, u32)> = all
        .iter()
        .filter_map(|child| Some((*child, fields(*child)?.get(1)?.parse().ok()?)))
        .collect();
    let mut family = vec![process];
    let mut next = 0;
    while let Some(parent) = family.get(next).copied() {
        family.extend(
            parents
                .iter()
                .filter(|(_, of)| *of == parent)
                .map(|(child, _)| *child),
        );
        next += 1;
    }
    family
}

/// The fields of `/proc/PID/stat` behind the name, which may have blanks in it: from the third on.
fn fields(process: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    Some(
        text.rsplit_once(") ")?
            .1
            .split(' ')
            .map(str::to_owned)
            .collect(),
    )
}

fn threads_time(process: u32) -> f64 {
    let threads = fs::read_dir(format!("/proc/{process}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let nanoseconds = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    });
    nanoseconds.sum::<f64>() / 1e9
}
