//! Limit on the probes that are under way at once.

/// The bound on probes under way, out of RLIMIT_NOFILE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeLimit {
    /// The soft limit of open descriptors this follows from.
    pub descriptors: u64,
    /// The most probes that may be under way at once.
    pub probes: usize,
}
