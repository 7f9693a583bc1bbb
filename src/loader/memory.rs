//! What a load frees goes back to the system.
//!
//! Reading files takes several times the memory that is kept of them: their text, the tree of a TOML
//! file, the indexes of the checks. The allocator of glibc would keep all of that for later, and later
//! is the next reload, perhaps in a month.

#![allow(unsafe_code, reason = "mallopt and malloc_trim have no safe interface")]

/// Sees to it that large vectors are mapped each on its own: they then grow without being copied, and
/// go back to the system when they are dropped, instead of leaving holes between what stays. To be
/// called before the process has a second thread.
pub fn prepare() {
    // glibc raises the first threshold up to 32 MiB when a larger vector is freed; once set, it stays. The second is for the
    // end of the heap, which goes back and forth otherwise while a load frees one thing to allocate the next.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: sets numbers inside the allocator, while no other thread is there to allocate.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 20);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 1 << 30);
    }
}

/// Gives every free page of the heap back. Takes some milliseconds after a large load, in which no
/// other thread can allocate; the threads that answer queries never do.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: releases pages that nothing points into; glibc takes its own locks for it.
    unsafe {
        libc::malloc_trim(0);
    }
}
