//! The command `barkeep`: hands its arguments to the library's command line and ends with its exit code.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc's header, for which the bindings have no name: milliseconds after which memory that is
/// free goes back to the system (mimalloc's own choice is 10).
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

fn main() -> std::process::ExitCode {
    return_memory_at_once();
    use_small_pages();
    std::process::ExitCode::from(barkeep::cli::run(std::env::args_os().collect()))
}

/// What one thread frees another cannot use before it went back to the system, so that peak memory would be a matter of
/// timing: two lanes take 271 MiB for two million orders, and 396 with a delay of a millisecond, which is above what is
/// promised. The price: the kernel clears the same pages again and again, 0.98 s instead of 0.77 of a dump of 3.5 s.
#[expect(unsafe_code, reason = "the allocator's option has no safe binding")]
fn return_memory_at_once() {
    // SAFETY: called before any other thread runs; the number is one of mimalloc's options.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, 0) }
}

/// A dump's buffers come and go. In pages of 2 MiB most of what the kernel clears for them is never used: without, a dump
/// of four million bars has 48 MiB at its peak and not 77, and the kernel takes 40 ns a row less.
#[expect(unsafe_code, reason = "prctl has no safe binding here")]
fn use_small_pages() {
    #[cfg(target_os = "linux")]
    // SAFETY: this call takes four numbers and touches no memory of ours. Where it is refused, pages stay large.
    unsafe {
        libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0);
    }
}
