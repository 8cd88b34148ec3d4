//! claviger: see the library for everything.

fn main() -> std::process::ExitCode {
    claviger::cli::main()
}

/// Connections come and go in their thousands; the system's allocator keeps the pages they leave.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
