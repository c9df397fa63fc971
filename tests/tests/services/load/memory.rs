//! Measures the resident memory of this process, on Linux.

use std::time::{Duration, Instant};

use tokio::time::sleep;

/// Samples of the resident memory, in KiB.
#[derive(Debug)]
pub(super) struct Memory(Vec<u64>);

impl Memory {
    /// Returns the means of the middle third and of the last third.
    pub(super) fn thirds(&self) -> [u64; 2] {
        let third = self.0.len() / 3;
        [1, 2].map(|number| {
            let part = &self.0[number * third..(number + 1) * third];
            part.iter().sum::<u64>() / third.max(1) as u64
        })
    }
}

/// Samples the memory until this time.
pub(super) async fn memory_until(until: Instant) -> Memory {
    let mut samples = Vec::new();
    while Instant::now() < until {
        samples.push(resident());
        sleep(Duration::from_millis(50)).await;
    }
    Memory(samples)
}

/// Returns the resident memory in KiB, or zero if unknown.
fn resident() -> u64 {
    // Unlike `statm`, this file names its unit.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.map_or(0, |line| {
        line.trim().trim_end_matches(" kB").parse().unwrap()
    })
}
