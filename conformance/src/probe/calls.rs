//! What a system call costs here, with the filter that this process is under.

use std::ffi::CStr;
use std::time::Instant;

use crate::{answer, syscall};

#[cfg(target_arch = "x86_64")]
mod number {
    pub(crate) const GETPPID: i64 = 110;
    pub(crate) const OPENAT: i64 = 257;
}
#[cfg(target_arch = "aarch64")]
mod number {
    pub(crate) const GETPPID: i64 = 173;
    pub(crate) const OPENAT: i64 = 56;
}

/// Calls that are timed together, so that the clock does not count.
const BATCH: u32 = 2_000;

/// Prints, for each of some calls, the time of one in nanoseconds: the median of `batches` batches.
pub(crate) fn time(batches: Option<&CStr>) {
    let batches = batches.and_then(|text| text.to_str().ok()?.parse().ok()).unwrap_or(1);
    // The first process of a pid namespace has no parent in it.
    print("getppid", batches, || syscall(number::GETPPID), |answer| answer >= 0);
    // There is no such directory: it fails when all that a filter sees has been seen, and costs little itself.
    const EBADF: i64 = 9;
    print("openat", batches, || syscall(number::OPENAT, -1, c"x".as_ptr(), 0), |answer| answer == -EBADF);
}

fn print(name: &str, batches: usize, call: impl Fn() -> i64, right: impl Fn(i64) -> bool) {
    // A filter that refuses the call would be quick.
    let first = answer(call());
    assert!(right(first), "{name}: {first}");
    let mut times: Vec<u64> = (0..batches)
        .map(|_| {
            let before = Instant::now();
            for _ in 0..BATCH {
                call();
            }
            before.elapsed().as_nanos() as u64
        })
        .collect();
    times.sort_unstable();
    println!("{name}: {:.2}", times[batches / 2] as f64 / f64::from(BATCH));
}
