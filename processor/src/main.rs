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
fn touch_small_pages() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        eprintln!("note: huge pages stay on ({error}); the first requests after a start may take longer");
    }
}
