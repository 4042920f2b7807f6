//! How the allocator shares memory out between threads.

/// Heaps of the C library's allocator. It makes eight a core unless told, and each keeps what the largest fields in it
/// ever took.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const HEAPS: std::ffi::c_int = 2;

/// Lets all threads share few heaps; elsewhere than on Linux with the GNU C library it changes nothing.
pub(super) fn share_heaps() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: a call with plain numbers, made before any other thread is started.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, HEAPS);
    }
}
