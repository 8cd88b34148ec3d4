//! claviger: see the library for everything.

fn main() -> std::process::ExitCode {
    claviger::cli::main()
}
