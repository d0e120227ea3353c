//! The command `barkeep`: hands its arguments to the library's command line and ends with its exit code.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    std::process::ExitCode::from(barkeep::cli::run(std::env::args_os().collect()))
}
