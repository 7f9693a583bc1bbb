//! Work on every core, with a progress bar.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use super::progress::Bar;

/// Time between two looks at the bar while no result comes.
const STEP: Duration = Duration::from_millis(200);

/// Does `work` for 0 … `count` − 1 on every core, and hands each result to `each`, in that order.
/// On a terminal, a bar on standard error shows the number of `what` done.
pub(super) fn in_parallel<T: Send>(
    count: usize,
    what: &str,
    work: impl Fn(usize) -> T + Sync,
    mut each: impl FnMut(T),
) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    // Bounded, so that fast workers do not pile up results faster than `each` can take them.
    let (sender, receiver) = sync_channel(64);
    let mut bar = Bar::new(count, what);
    std::thread::scope(|scope| {
        for _ in 0..cores.min(count) {
            let (sender, work, next) = (sender.clone(), &work, &next);
            scope.spawn(move || {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count || sender.send((index, work(index))).is_err() {
                        return;
                    }
                }
            });
        }
        // The channel is disconnected, and the loop ends, once the last worker drops its sender.
        drop(sender);
        // Results that came before their turn wait here, so that output is the same on any machine.
        let (mut waiting, mut done) = (BTreeMap::new(), 0);
        loop {
            match receiver.recv_timeout(STEP) {
                Ok((index, result)) => {
                    waiting.insert(index, result);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            while let Some(result) = waiting.remove(&done) {
                bar.aside(|| each(result));
                done += 1;
            }
            bar.show(done + waiting.len());
        }
    });
    bar.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_whichever_is_done_first() {
        let mut results = Vec::new();
        in_parallel(
            100,
            "services",
            |index| {
                std::thread::sleep(Duration::from_micros(100 * (index as u64 % 7)));
                index * 2
            },
            |result| results.push(result),
        );
        assert_eq!(results, (0..100).map(|index| index * 2).collect::<Vec<_>>());
        in_parallel(0, "services", |_| (), |()| panic!("there is nothing to do"));
    }
}
