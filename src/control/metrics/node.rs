//! Families of this node: readiness, files, state, and the process itself.

use std::fmt::Error;

use super::family::{Distribution, Families, families};
use crate::clock::Clock;
use crate::control::{Control, Work};
use crate::geo::Database;
use crate::log;
use crate::model::WallTime;
use crate::publisher::View;

families! { "Node and process"
    BUILD: Gauge "meridian_build_info" ["version"]
        "Always 1, with the version of this program", "1", "";
    READY: Gauge "meridian_ready" []
        "1 while this node should be sent queries", "1", "";
    LATE: Gauge "meridian_control_loop_late_seconds" []
        "Lateness of the control loop, which follows health, operators and the files", "1",
        "0 while it [makes progress](running.md#stalls)";
    STALLS: Counter "meridian_control_loop_stalls" []
        "Times that the control loop was late by a second or more", "1", "";
    TURNS: Histogram "meridian_control_loop_turn_seconds" []
        "Time that the control loop took for one input", "20",
        "From an outcome, a request or a timer until it waited for the next one; `count` is the number of inputs";
    LOG_DROPPED: Counter "meridian_log_dropped" []
        "Log lines dropped because the log reader did not keep up", "1", "See [stalls](running.md#stalls)";
    WORK: Gauge "meridian_file_work_seconds" ["work"]
        "Time that work on files under way has taken so far, 0 while none is", "4",
        "`databases`, `reload`, `last_good` and `state`";
    SNAPSHOTS: Counter "meridian_snapshots" []
        "Snapshots published since the first", "1", "";
    SNAPSHOT: Gauge "meridian_snapshot_timestamp_seconds" []
        "Time at which the snapshot in force was published", "1",
        "Nothing is published while nothing changes, so an old one is no fault. Absent before the first change";
    RELOAD_SUCCESS: Gauge "meridian_last_reload_success" []
        "1 while the files as they were last read are served", "1",
        "0 after a refused reload and while the last good files are served";
    RELOAD_TIME: Gauge "meridian_last_reload_timestamp_seconds" []
        "Time of the end of the last reload, or of the start", "1", "";
    RELOAD_FAILURES: Counter "meridian_reload_failures" []
        "Reloads that were refused or failed", "1", "";
    DATABASE: Gauge "meridian_geo_database_timestamp_seconds" ["database"]
        "Time at which a location database was made, as it says itself", "2",
        "`city` and `asn`. The built-in database has no time, and no line";
    WRITES: Counter "meridian_state_writes" ["document"]
        "Writes to the state directory that succeeded", "4", "`health`, `units`, `overrides` and `acme`";
    WRITE_FAILURES: Counter "meridian_state_write_failures" ["document"]
        "Writes to the state directory that failed", "4", "";
    CPU: Counter "process_cpu_seconds" []
        "Processor time that the process has used, user and system", "1", "";
    START: Gauge "process_start_time_seconds" []
        "Time at which the process started", "1", "";
    THREADS: Gauge "process_threads" []
        "Threads of the process", "1", "";
    OPEN_FDS: Gauge "process_open_fds" []
        "Open file descriptors", "1", "";
    MAX_FDS: Gauge "process_max_fds" []
        "Limit of open file descriptors", "1", "";
    VIRTUAL: Gauge "process_virtual_memory_bytes" []
        "Virtual memory of the process", "1", "";
    RESIDENT: Gauge "process_resident_memory_bytes" []
        "Resident memory of the process", "1", "";
}

/// Writes the families of this subject.
pub(super) fn write(
    control: &Control,
    view: &View,
    wall: WallTime,
    out: &mut Families<'_, '_>,
) -> Result<(), Error> {
    out.gauges(&BUILD, [([env!("CARGO_PKG_VERSION")], 1_i64)])?;
    liveness(control, out)?;
    let (count, last) = view.publications;
    out.counter(&SNAPSHOTS, count)?;
    out.gauges(&SNAPSHOT, last.map(|at| ([], wall.unix_seconds(at))))?;
    files(control, view, out)?;
    let writes = control.tallies.writes();
    out.counters(&WRITES, writes.map(|(name, good, _)| ([name], good)))?;
    out.counters(&WRITE_FAILURES, writes.map(|(name, _, bad)| ([name], bad)))?;
    process(out)
}

fn liveness(control: &Control, out: &mut Families<'_, '_>) -> Result<(), Error> {
    let (liveness, now) = (&control.liveness, Clock.now());
    out.flag(&READY, liveness.ready(now).is_ok())?;
    out.gauge(&LATE, liveness.late(now).as_secs_f64())?;
    out.counter(&STALLS, liveness.stalls())?;
    out.histograms(&TURNS, [([], Distribution::of([liveness.turns()]))])?;
    out.counter(&LOG_DROPPED, log::dropped())?;
    let rows = Work::ALL.map(|work| {
        let takes = control.work.get(work).as_secs_f64();
        ([work.as_label()], takes)
    });
    out.gauges(&WORK, rows)
}

fn files(control: &Control, view: &View, out: &mut Families<'_, '_>) -> Result<(), Error> {
    let last = control.reloads.load();
    out.flag(&RELOAD_SUCCESS, last.refused.is_none())?;
    // The clock of a machine that runs this shows no time that 63 bits do not hold.
    out.gauge(&RELOAD_TIME, last.ended as i64)?;
    out.counter(&RELOAD_FAILURES, last.failures)?;
    let databases = view.dataset.locations.built().iter();
    let rows = databases.map(|(database, built)| {
        let name = match database {
            Database::City => "city",
            Database::Asn => "asn",
        };
        ([name], *built as i64)
    });
    out.gauges(&DATABASE, rows)
}

/// Writes what the kernel says of this process; families that it does not tell have no value.
fn process(out: &mut Families<'_, '_>) -> Result<(), Error> {
    let own = procfs::process::Process::myself().ok();
    let stat = own.as_ref().and_then(|own| own.stat().ok());
    let ticks = procfs::ticks_per_second() as f64;
    let cpu = stat
        .as_ref()
        .map_or(0.0, |stat| (stat.utime + stat.stime) as f64 / ticks);
    out.seconds(&CPU, cpu)?;
    let boot = procfs::boot_time_secs().ok();
    let start = stat.as_ref().zip(boot);
    let start = start.map(|(stat, boot)| boot as f64 + stat.starttime as f64 / ticks);
    out.gauges(&START, start.map(|start| ([], start)))?;
    let threads = stat.as_ref().map(|stat| ([], stat.num_threads));
    out.gauges(&THREADS, threads)?;
    let open = own.as_ref().and_then(|own| own.fd_count().ok());
    // A process has far fewer descriptors than 2^63.
    out.gauges(&OPEN_FDS, open.map(|open| ([], open as i64)))?;
    let limits = own.as_ref().and_then(|own| own.limits().ok());
    let most = limits.map(|limits| match limits.max_open_files.soft_limit {
        procfs::process::LimitValue::Value(most) => most as f64,
        procfs::process::LimitValue::Unlimited => f64::INFINITY,
    });
    out.gauges(&MAX_FDS, most.map(|most| ([], most)))?;
    let memory = stat.as_ref().map(|stat| ([], stat.vsize as f64));
    out.gauges(&VIRTUAL, memory)?;
    let resident = stat
        .as_ref()
        .map(|stat| ([], (stat.rss * procfs::page_size()) as f64));
    out.gauges(&RESIDENT, resident)
}
