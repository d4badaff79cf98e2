//! What the system says of processes: CPU time, memory, cores, limits.
//!
//! Linux only. Invariant: a figure covers a whole process tree, so that a
//! server of several processes is measured as one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    time::Duration,
};

use rustix::{
    process::{Pid, Resource, Rlimit, getrlimit, setrlimit},
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

/// The kernel's clock ticks per second in `/proc/PID/stat`: USER_HZ, which is
/// 100 on every architecture that Rust runs on.
const TICK: Duration = Duration::from_millis(10);

/// The processes of a server, found anew each time: workers come and go.
#[derive(Debug, Clone)]
pub struct Tree {
    roots: Vec<u32>,
}

impl Tree {
    /// The tree below these processes.
    #[must_use]
    pub fn of(roots: Vec<u32>) -> Self {
        Self { roots }
    }

    /// All that live now.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        let parents = parents();
        let mut found: BTreeSet<u32> = self.roots.iter().copied().collect();
        loop {
            let children = parents.iter().filter(|(_, parent)| found.contains(parent));
            let children: Vec<u32> = children.map(|(pid, _)| *pid).collect();
            let before = found.len();
            found.extend(children);
            if found.len() == before {
                return found.into_iter().collect();
            }
        }
    }

    /// User and system time so far.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        self.pids().into_iter().map(cpu_of).sum()
    }

    /// Resident memory in bytes, pages that processes share counted once
    /// (Pss).
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.pids().into_iter().filter_map(pss_bytes).sum()
    }
}

/// User and system time of this process alone, so far.
#[must_use]
pub fn own_cpu() -> Duration {
    cpu_of(std::process::id())
}

/// Time of one process. `schedstat` counts nanoseconds, but of threads that
/// live; `stat` counts ticks, also of threads that ended. Where the latter is
/// more, threads have ended.
fn cpu_of(pid: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    let tasks = tasks.into_iter().flatten().flatten();
    let nanos: u64 = tasks
        .filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok())
        .filter_map(|text| text.split(' ').next()?.parse::<u64>().ok())
        .sum();
    let ticks: u32 = stat_fields(pid).map_or(0, |fields| {
        // utime and stime, the 14th and 15th field of the line.
        let of = |index: usize| fields.get(index).and_then(|field| field.parse().ok());
        of(11).unwrap_or(0) + of(12).unwrap_or(0)
    });
    Duration::from_nanos(nanos).max(TICK * ticks)
}

/// The fields of `/proc/PID/stat` behind the name, which may contain anything.
fn stat_fields(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(") ")?;
    Some(fields.split(' ').map(str::to_owned).collect())
}

fn parents() -> BTreeMap<u32, u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| Some((pid, stat_fields(pid)?.get(1)?.parse().ok()?)))
        .collect()
}

fn pss_bytes(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Which core serves and which one offers load.
#[derive(Debug, Clone, Copy)]
pub struct Cores {
    server: usize,
    generator: usize,
}

impl Cores {
    /// Two of those that this process may use; `None` where there is only one.
    #[must_use]
    pub fn choose() -> Option<Self> {
        let allowed = sched_getaffinity(None).ok()?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        let (generator, server) = (cores.next()?, cores.next()?);
        Some(Self { server, generator })
    }

    /// Moves this thread to the generator's core.
    ///
    /// # Errors
    ///
    /// As the system says.
    pub fn take_generator(self) -> io::Result<()> {
        pin(self.generator)
    }

    /// Runs `start` on the server's core: a process that it starts inherits
    /// the core, and sees no other.
    ///
    /// # Errors
    ///
    /// As the system or `start` says.
    pub fn as_server<T>(self, start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        pin(self.server)?;
        let started = start();
        pin(self.generator)?;
        started
    }
}

fn pin(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(None, &set)?)
}

/// Raises the number of files that this process and those it starts may open
/// to the most that is allowed; says how many.
#[must_use]
pub fn raise_file_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum.unwrap_or(u64::MAX),
        Err(_) => limit.current.unwrap_or(u64::MAX),
    }
}

/// What the figures were taken on, for the report.
#[must_use]
pub fn description() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let models = cpus.lines().filter_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == "model name").then(|| value.trim().to_owned())
    });
    let models: Vec<String> = models.collect();
    let memory = read("/proc/meminfo");
    let memory = memory.lines().next().and_then(|line| {
        let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kibibytes / (1024 * 1024))
    });
    format!(
        "{} × {}, {} GiB, Linux {}",
        models.len(),
        models.first().map_or("unknown", String::as_str),
        memory.unwrap_or(0),
        read("/proc/sys/kernel/osrelease").trim(),
    )
}

/// A process by its id, for the system.
#[must_use]
pub fn pid(number: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(number).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_and_memory_of_this_process_are_found() {
        let tree = Tree::of(vec![std::process::id()]);
        let before = tree.cpu();
        let mut sum = 0_u64;
        while tree.cpu() < before + TICK {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(tree.memory_bytes() > 1 << 16);
    }
}
