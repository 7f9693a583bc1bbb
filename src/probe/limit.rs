//! How many probes may be under way at once.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors that probes leave to everything else: listeners, TCP clients, files.
const RESERVED: u64 = 256;
/// More descriptors than this are not asked for.
const ENOUGH: u64 = 65_536;
/// More probes than this at once would cost memory and gain nothing.
const MOST: u64 = 16_384;

/// The bound on probes under way, out of RLIMIT_NOFILE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeLimit {
    /// The soft limit of open descriptors this follows from.
    pub descriptors: u64,
    /// How many probes may be under way at once; at least 8.
    pub probes: usize,
}

impl ProbeLimit {
    /// Raises the soft limit of descriptors towards the hard one, takes half of it, and says so.
    pub fn of_process() -> io::Result<ProbeLimit> {
        let (mut soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        let wanted = hard.min(ENOUGH);
        if soft < wanted && setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).is_ok() {
            soft = wanted;
        }
        let limit = ProbeLimit::of_descriptors(soft);
        tracing::info!("at most {} probes at once, of {} descriptors (RLIMIT_NOFILE)", limit.probes, limit.descriptors);
        Ok(limit)
    }

    /// The bound where `descriptors` may be open.
    pub fn of_descriptors(descriptors: u64) -> ProbeLimit {
        let probes = (descriptors.saturating_sub(RESERVED) / 2).clamp(8, MOST);
        ProbeLimit { descriptors, probes: probes as usize }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_descriptors_to_the_server() {
        assert_eq!(ProbeLimit::of_descriptors(1024).probes, 384);
        assert_eq!(ProbeLimit::of_descriptors(64).probes, 8);
        assert_eq!(ProbeLimit::of_descriptors(1 << 30).probes, 16_384);
    }

    #[test]
    fn the_process_has_one() {
        assert!(ProbeLimit::of_process().unwrap().probes >= 8);
    }
}
