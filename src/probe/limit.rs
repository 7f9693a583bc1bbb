//! Limits on the probes that are under way at once, and on the connections that are held.

/// The bounds on probes under way and on connections held, out of RLIMIT_NOFILE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeLimit {
    /// The soft limit of open descriptors this follows from.
    pub descriptors: u64,
    /// The most probes that may be under way at once.
    pub probes: usize,
    /// The most connections that may be held to watched targets at once.
    pub watches: usize,
}
