//! The binary. Everything is in the library, so that tests and benches reach it.

/// Blocks of megabytes come and go on several threads; the C library's allocator gives their pages back to the operating
/// system each time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    tidemark::cli::run()
}
