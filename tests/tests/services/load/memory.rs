//! The resident memory of this process, where the system tells it: Linux.

use std::time::{Duration, Instant};

use tokio::time::sleep;

/// The resident memory at regular times, in KiB.
#[derive(Debug)]
pub(super) struct Memory(Vec<u64>);

impl Memory {
    /// The means of the middle and of the last third.
    pub(super) fn thirds(&self) -> [u64; 2] {
        let third = self.0.len() / 3;
        [1, 2].map(|number| {
            let part = &self.0[number * third..(number + 1) * third];
            part.iter().sum::<u64>() / third.max(1) as u64
        })
    }
}

/// Samples it until then.
pub(super) async fn memory_until(until: Instant) -> Memory {
    let mut samples = Vec::new();
    while Instant::now() < until {
        samples.push(resident());
        sleep(Duration::from_millis(50)).await;
    }
    Memory(samples)
}

/// Zero where it is not known.
fn resident() -> u64 {
    // Unlike `statm`, it says its unit.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.map_or(0, |line| {
        line.trim().trim_end_matches(" kB").parse().unwrap()
    })
}
