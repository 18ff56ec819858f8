//! Somebody who shares a volume with the container, or its root file system, and renames in it while the container
//! is made. What a runtime looks up twice it finds changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::bundle::{Bundle, Test};
use crate::expect::{Verdict, check, lacks};

/// How long a race is run: the holes that these cases look for show within a second or two.
pub(crate) const LONG_ENOUGH: Duration = Duration::from_secs(3);

/// Does a deed again and again while two paths are exchanged, with pauses of up to so many microseconds: until the
/// deed fails or says that it is enough, or it has been long enough.
pub(crate) fn race(one: &Path, other: &Path, pause: u64, mut deed: impl FnMut() -> Verdict<bool>) -> Verdict {
    let ends = AtomicBool::new(false);
    let deadline = Instant::now() + LONG_ENOUGH;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = 1_u64;
            while !ends.load(Ordering::Relaxed) {
                // One of them may be missing for a moment: the runtime works in the same directory.
                renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap_or_default();
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                if pause > 0 {
                    std::thread::sleep(Duration::from_micros((random >> 33) % pause));
                }
            }
        });
        let outcome = loop {
            match deed() {
                Ok(true) if Instant::now() < deadline => {}
                outcome => break outcome.map(drop),
            }
        };
        ends.store(true, Ordering::Relaxed);
        outcome
    })
}

/// A run that may work or be refused, but ends cleanly: what it printed.
pub(crate) fn run(b: &Bundle) -> Verdict<String> {
    let output = b.run()?;
    let stderr = output.stderr()?;
    lacks("stderr", &stderr, "panicked")?;
    check(output.status < 128, || format!("the runtime ended with {}: {stderr}", output.status))?;
    output.stdout()
}

/// A directory of the case.
pub(crate) fn directory(t: &Test, name: &str) -> Verdict<PathBuf> {
    let path = t.path(name);
    fs::create_dir(&path)?;
    Ok(path)
}

/// Removes a file, a link or an empty directory, if it is there.
pub(crate) fn remove(path: &Path) -> Verdict {
    match fs::symlink_metadata(path) {
        Ok(there) if there.is_dir() => Ok(fs::remove_dir(path)?),
        Ok(_) => Ok(fs::remove_file(path)?),
        Err(_) => Ok(()),
    }
}
