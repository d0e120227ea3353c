//! One run of a program: its wall time, its CPU and memory, and the server's CPU meanwhile.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use wait4::Wait4 as _;

/// What one run took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sample {
    pub(crate) wall: Duration,
    /// User and system time of the program and of the processes that it started and waited for.
    pub(crate) client: Duration,
    /// The same of the server: the postmaster, its children, and those that are gone.
    pub(crate) server: Duration,
    /// Peak resident memory of the largest process among the program and what it started, in bytes.
    pub(crate) peak: u64,
    /// Size on disk of what it made, if it made files.
    pub(crate) bytes: Option<u64>,
}

/// Runs a program to its end. What it says on standard error becomes the error.
pub(crate) fn run(command: &mut Command, postmaster: u32, result: Option<&Path>) -> Result<Sample, String> {
    let complaints = tempfile::tempfile().map_err(|error| error.to_string())?;
    let stderr = complaints.try_clone().map_err(|error| error.to_string())?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
    let name = command.get_program().to_string_lossy().into_owned();
    let before = server_cpu(postmaster);
    let began = Instant::now();
    let mut child = command.spawn().map_err(|error| format!("{name}: {error}"))?;
    let used = child.wait4().map_err(|error| format!("{name}: {error}"))?;
    let wall = began.elapsed();
    if !used.status.success() {
        return Err(format!("{name}: {}: {}", used.status, last_line(complaints)));
    }
    // A backend that has just served its client is still ending.
    std::thread::sleep(Duration::from_millis(200));
    let client = used.rusage.utime + used.rusage.stime;
    let server = server_cpu(postmaster).saturating_sub(before);
    Ok(Sample { wall, client, server, peak: used.rusage.maxrss, bytes: result.map(size) })
}

fn last_line(mut file: fs::File) -> String {
    use std::io::{Read as _, Seek as _};
    let mut text = String::new();
    // A message that cannot be read is no reason to fail otherwise.
    let _ = file.rewind().and_then(|()| file.read_to_string(&mut text));
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing").trim().to_owned()
}

/// CPU time that the server has used since it started. Linux only; zero elsewhere.
fn server_cpu(postmaster: u32) -> Duration {
    let mut ticks = 0;
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    for process in processes {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(process.path().join("stat")) else { continue };
        // The name in parentheses may have blanks. After it: state, parent, …, utime, stime and those of ended children.
        let Some((_, rest)) = stat.rsplit_once(')') else { continue };
        let fields: Vec<u64> = rest.split_whitespace().skip(1).map(|at| at.parse().unwrap_or(0)).collect();
        if pid == postmaster || fields.first() == Some(&postmaster.into()) {
            ticks += fields.iter().skip(10).take(4).sum::<u64>();
        }
    }
    Duration::from_millis(ticks * 10)
}

/// Bytes of a file, or of all files below a folder.
pub(crate) fn size(path: &Path) -> u64 {
    let Ok(of) = fs::symlink_metadata(path) else { return 0 };
    if !of.is_dir() {
        return of.len();
    }
    fs::read_dir(path).into_iter().flatten().flatten().map(|entry| size(&entry.path())).sum()
}
