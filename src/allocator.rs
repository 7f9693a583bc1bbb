//! The process's allocator: tuned once at the start, and told after a load to return what it freed.
//!
//! A reload allocates and frees hundreds of megabytes. Left alone, glibc keeps most of what was
//! freed, and a server that was reloaded a few times looks twice its size.

#![allow(
    unsafe_code,
    reason = "the allocator's settings have no safe interface"
)]

/// Maps each large vector on its own: it then grows without being copied, and goes back to the
/// system when it is dropped, instead of leaving a hole between what stays.
///
/// Call it before the process has a second thread.
pub fn map_large_vectors() {
    // glibc raises the first threshold up to 32 MiB when a larger vector is freed; once set, it
    // stays. The second is for the end of the heap, which goes back and forth otherwise while a load
    // frees one thing to allocate the next.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: sets numbers inside the allocator, while no other thread is there to allocate.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 20);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 1 << 30);
    }
}

/// Returns every free page of the heap to the system.
///
/// Takes some milliseconds after a large load, in which no other thread can allocate; the threads
/// that answer queries never do.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: releases pages that nothing points into; glibc takes its own locks for it.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_still_in_use_stays_as_it_is() {
        let kept: Vec<u64> = (0..1 << 18).collect();
        drop(kept.clone());
        give_back();
        assert!(kept.iter().copied().eq(0..1 << 18));
    }
}
