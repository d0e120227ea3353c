//! The command `barkeep`: hands its arguments to the library's command line and ends with its exit code.

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How memory is shared and kept, read by the allocator before `main`. One arena for all threads: what one frees another can use,
/// so that peak memory is no matter of timing; and a second until free pages are given back to the system, in which the next batch
/// finds them. Two lanes of two million orders take 6.3 s of CPU and 207 MiB with it, and took 8.7 s and 248 MiB with an allocator
/// that had to give free memory back at once, because its threads kept theirs to themselves: the kernel cleared the same pages
/// again and again.
#[expect(unsafe_code, reason = "the allocator finds its settings by the name of a symbol")]
// SAFETY: the name is the allocator's own for this, and it reads a C string, through the pointer that a slice begins with.
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static MEMORY: &[u8] = b"narenas:1,dirty_decay_ms:1000,muzzy_decay_ms:0\0";

fn main() -> std::process::ExitCode {
    use_small_pages();
    run_as_batch_work();
    std::process::ExitCode::from(barkeep::cli::run(std::env::args_os().collect()))
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

/// Rows come in blocks and are encoded in batches: threads that wake each other for them had better not push each other, or
/// the server, off a processor in the middle of their work. The kernel has a policy for such programs; processes that are started
/// from here inherit it. With it a dump of ten million bars over two lanes takes 4.5 s instead of 4.8, the client's CPU is an eighth
/// less, and the server's a twentieth.
#[expect(unsafe_code, reason = "scheduling policies have no safe binding here")]
fn run_as_batch_work() {
    #[cfg(target_os = "linux")]
    {
        let none = libc::sched_param { sched_priority: 0 };
        // SAFETY: the call reads the structure, which outlives it, and says how this thread, and those that it will start, are
        // scheduled. Where it is refused, nothing changes.
        unsafe {
            libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const none);
        }
    }
}
