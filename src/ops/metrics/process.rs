//! Metrics of the process, under Prometheus's standard names.

use std::{
    fmt, fs,
    time::{Duration, SystemTime},
};

use super::encoder::Encoder;

/// The kernel's unit of process times, on every architecture of Linux that getlockd runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// The values that are read from `/proc/self`.
#[derive(Debug, PartialEq)]
pub(super) struct ProcessStats {
    cpu_seconds: f64,
    resident_bytes: u64,
    virtual_bytes: u64,
    open_files: u64,
    max_files: u64,
}

impl ProcessStats {
    /// Reads them; `None` on a system without `/proc`.
    pub(super) fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let (max_files, _) = rlimit::getrlimit(rlimit::Resource::NOFILE).ok()?;
        Some(Self {
            cpu_seconds: cpu_seconds(&stat)?,
            resident_bytes: bytes(&status, "VmRSS:")?,
            virtual_bytes: bytes(&status, "VmSize:")?,
            open_files: open_files()?,
            max_files,
        })
    }

    pub(super) fn encode(&self, started: SystemTime, encoder: &mut Encoder<'_>) -> fmt::Result {
        encoder.counter("process_cpu_seconds", "CPU time, user and system, in seconds", self.cpu_seconds)?;
        encoder.gauge("process_resident_memory_bytes", "Resident memory, in bytes", self.resident_bytes)?;
        encoder.gauge("process_virtual_memory_bytes", "Virtual memory, in bytes", self.virtual_bytes)?;
        encoder.gauge("process_open_fds", "Open files and sockets", self.open_files)?;
        encoder.gauge("process_max_fds", "Limit of open files and sockets", self.max_files)?;
        let started = seconds_since_epoch(started);
        encoder.gauge(
            "process_start_time_seconds",
            "Start time of the process, in seconds since 1970",
            started,
        )
    }
}

/// The number of open files. Newer kernels have it as the size of the folder; on others the entries are counted.
fn open_files() -> Option<u64> {
    let folder = "/proc/self/fd";
    let size = fs::metadata(folder).ok()?.len();
    if size > 0 { Some(size) } else { Some(fs::read_dir(folder).ok()?.count() as u64) }
}

/// User and system time are the 14th and 15th fields. The 2nd is a name in brackets that may contain anything.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut ticks = fields.split_whitespace().skip(11).map_while(|field| field.parse::<f64>().ok());
    Some((ticks.next()? + ticks.next()?) / TICKS_PER_SECOND)
}

fn bytes(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

pub(super) fn seconds_since_epoch(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).as_ref().map_or(0.0, Duration::as_secs_f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_parsed() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 3 0 100 9 9";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(cpu_seconds("nonsense"), None);
        assert_eq!(bytes("VmSize:\t  8 kB\nVmRSS:\t    4 kB\n", "VmRSS:"), Some(4096));
        assert_eq!(bytes("VmSize: 8 kB", "VmRSS:"), None);
    }
}
