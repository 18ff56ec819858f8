//! An attacker in the container who waits for processes that enter it, and takes what they bring along.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

/// open(2): to hold what is there, not to read it.
const O_PATH: i32 = 0o10_000_000;

/// Scans until stdin ends; `ready` first, so that the case knows when to begin.
pub(crate) fn run() {
    let own = std::process::id().to_string();
    let (ended, has_ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        // Whatever comes, the end follows it.
        std::io::stdin().lock().lines().for_each(drop);
        ended.send(()).unwrap_or_default();
    });
    tell("ready");
    let mut told = BTreeSet::new();
    let mut seen = BTreeSet::new();
    while has_ended.try_recv().is_err() {
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name == own || name.parse::<i32>().is_err() {
                continue;
            }
            seen.insert(name.clone());
            for found in look(&name) {
                if told.insert(found.clone()) {
                    tell(&found);
                }
            }
        }
    }
    tell(&format!("seen {}", seen.len()));
}

fn tell(text: &str) {
    let mut out = std::io::stdout();
    // Nobody listens any more: then nobody is told.
    writeln!(out, "{text}").and_then(|()| out.flush()).unwrap_or_default();
}

/// What can be had of a process that a container's own process would not have.
fn look(pid: &str) -> Vec<String> {
    let mut found = Vec::new();
    let exe = format!("/proc/{pid}/exe");
    match fs::read_link(&exe) {
        Ok(path) if path.starts_with("/bin") => {}
        // Its id tells whether it is the runtime's own file.
        Ok(path) => {
            if let Ok(there) = fs::metadata(&exe) {
                found.push(format!("exe {} {}:{}", path.display(), there.dev(), there.ino()));
                // It may be the container's own by now, whose memory is its business.
                let memory = File::options().read(true).write(true).open(format!("/proc/{pid}/mem"));
                if memory.is_ok() && fs::read_link(&exe).is_ok_and(|path| !path.starts_with("/bin")) {
                    found.push(format!("mem of {}", path.display()));
                }
            }
        }
        Err(_) => {}
    }
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    if environment.windows(9).any(|window| window == b"NF_SECRET") {
        found.push("environment".to_owned());
    }
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
        // The standard streams are what the container's process is given.
        if matches!(entry.file_name().as_encoded_bytes(), b"0" | b"1" | b"2") {
            continue;
        }
        // Held, so that all that follows is about one thing.
        let Ok(held) = File::options().read(true).custom_flags(O_PATH).open(entry.path()) else { continue };
        let held_at = PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd()));
        let (Ok(target), Ok(there)) = (fs::read_link(&held_at), held.metadata()) else { continue };
        let target = target.to_string_lossy().into_owned();
        let own = fs::metadata(&target).is_ok_and(|own| (own.dev(), own.ino()) == (there.dev(), there.ino()));
        // A procfs that shows nothing but processes (subset=pid), or its part for one, is what the container has.
        let inside = |name: &str| fs::symlink_metadata(held_at.join(name)).is_ok();
        let of_process =
            target.strip_prefix('/').is_some_and(|path| path.starts_with(|first: char| first.is_ascii_digit()));
        if of_process || there.is_dir() && inside("self") && !inside("sys") {
            continue;
        }
        let is_file = there.is_dir() || there.is_file();
        if is_file && !own {
            let is_whole_procfs = there.is_dir() && inside("sys/kernel/core_pattern");
            let kind = match there.is_dir() {
                true if is_whole_procfs => "directory (an unmasked procfs)",
                true => "directory",
                false => "file",
            };
            found.push(format!("{kind} {target} {}:{}", there.dev(), there.ino()));
        }
    }
    found
}
