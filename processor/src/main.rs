//! The binary. Everything is in the library, so that tests and benches reach it.

/// Blocks of megabytes come and go on several threads; the C library's allocator gives their pages back to the operating
/// system each time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    touch_small_pages();
    tidemark::cli::run()
}

/// The kernel clears a huge page of 2 MB when its first byte is touched. After a start all threads touch new memory at once:
/// for 0.2 s nothing was answered (p99 of the first seconds 103 to 194 ms, without huge pages 9.5 ms), and a fifth of the CPU
/// time of an ingest went into clearing.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "one system call without pointers")]
fn touch_small_pages() {
    use std::ffi::{c_int, c_ulong};

    const PR_SET_THP_DISABLE: c_int = 41;
    unsafe extern "C" {
        fn prctl(option: c_int, ...) -> c_int;
    }
    // SAFETY: it sets a flag of this process and reads no memory of ours. A kernel that refuses leaves things as they were,
    // which is slower and no less right.
    unsafe { prctl(PR_SET_THP_DISABLE, 1 as c_ulong, 0 as c_ulong, 0 as c_ulong, 0 as c_ulong) };
}

#[cfg(not(target_os = "linux"))]
fn touch_small_pages() {}
