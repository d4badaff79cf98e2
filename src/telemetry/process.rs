//! Figures of this process, by the names that Prometheus clients have agreed on.
//!
//! Read when somebody asks, from Linux's /proc and from POSIX calls. No crate: what
//! there is brings a parser of all of /proc for these five numbers. What can't be read
//! is left out. Invariant: nothing here runs on a request's way.

use std::fs;

use metrics::{describe_gauge, gauge, with_local_recorder};
use metrics_exporter_prometheus::PrometheusRecorder;

/// A figure's name, what it is, and how it is read.
type ProcessFigure = (&'static str, &'static str, fn() -> Option<f64>);

// A line for each figure, as in a table.
#[rustfmt::skip]
const FIGURES: [ProcessFigure; 3] = [
    ("process_resident_memory_bytes", "Resident memory, in bytes.", resident_bytes),
    ("process_open_fds", "Open file descriptors.", open_files),
    ("process_max_fds", "The most file descriptors that may be open.", open_files_max),
];
const STARTED: &str = "process_start_time_seconds";

/// Says when the process started, in seconds since the Unix epoch.
pub(super) fn started(recorder: &PrometheusRecorder, unix_secs: f64) {
    with_local_recorder(recorder, || {
        describe_gauge!(
            STARTED,
            "Start of the process, in seconds since the Unix epoch."
        );
        gauge!(STARTED).set(unix_secs);
    });
}

/// Reads all figures; blocks for a moment.
pub(super) fn read(recorder: &PrometheusRecorder) {
    with_local_recorder(recorder, || {
        for (name, help, read) in FIGURES {
            if let Some(value) = read() {
                describe_gauge!(name, help);
                gauge!(name).set(value);
            }
        }
    });
}

/// The CPU time spent, as a page of its own: a counter of the `metrics` crate counts whole
/// seconds only.
pub(super) fn cpu() -> String {
    const NAME: &str = "process_cpu_seconds_total";
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let secs = spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9;
    format!(
        "# HELP {NAME} User and system CPU time spent, in seconds.\n# TYPE {NAME} counter\n\
         {NAME} {secs}\n\n"
    )
}

/// The second number of `statm`: resident pages (proc(5)).
fn resident_bytes() -> Option<f64> {
    let pages = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = pages.split(' ').nth(1)?.parse().ok()?;
    Some((pages * rustix::param::page_size() as u64) as f64)
}

fn open_files() -> Option<f64> {
    // Linux 6.2 and later say it at once; it may be a hundred thousand.
    let length = fs::metadata("/proc/self/fd").ok()?.len();
    if length > 0 {
        return Some(length as f64);
    }
    let open = fs::read_dir("/proc/self/fd").ok()?.count();
    // But for the one that reads them.
    Some(open.saturating_sub(1) as f64)
}

fn open_files_max() -> Option<f64> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    Some(limit.current? as f64)
}
