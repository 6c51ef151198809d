//! The binary. Everything is in the library, so that tests and benches reach it.

use std::ffi::{c_int, c_long};

/// Blocks of megabytes come and go on several threads; the C library's allocator gives their pages back to the operating
/// system each time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc 3.
const PURGE_DELAY: c_int = 15;

/// How long free pages are kept for the next block. With mimalloc's 10 ms the kernel cleared each block's pages anew: 750,000
/// page faults instead of 156,000 for 1.5 million events, and a tenth of all CPU time.
const PURGE_DELAY_MS: c_long = 1_000;

#[expect(unsafe_code, reason = "the allocator's own function, linked with it; nothing is pointed to")]
fn keep_free_pages() {
    unsafe extern "C" {
        fn mi_option_set(option: c_int, value: c_long);
    }
    // SAFETY: it stores a number in an array of the allocator, and any thread may call it at any time.
    unsafe { mi_option_set(PURGE_DELAY, PURGE_DELAY_MS) }
}

fn main() -> std::process::ExitCode {
    keep_free_pages();
    tidemark::cli::run()
}
