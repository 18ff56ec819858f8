//! Everything that the first instruction of a process finds: what it was given, and what it was not meant to be given.

use std::fs;

use crate::{answer, syscall};

#[cfg(target_arch = "x86_64")]
pub(crate) mod number {
    pub(crate) const GETITIMER: i64 = 36;
    pub(crate) const WAIT4: i64 = 61;
    pub(crate) const SIGALTSTACK: i64 = 131;
    pub(crate) const PERSONALITY: i64 = 135;
    pub(crate) const PRCTL: i64 = 157;
    pub(crate) const GET_MEMPOLICY: i64 = 239;
    pub(crate) const ADD_KEY: i64 = 248;
    pub(crate) const KEYCTL: i64 = 250;
    pub(crate) const IOPRIO_GET: i64 = 252;
}
#[cfg(target_arch = "aarch64")]
pub(crate) mod number {
    pub(crate) const GETITIMER: i64 = 102;
    pub(crate) const WAIT4: i64 = 260;
    pub(crate) const SIGALTSTACK: i64 = 132;
    pub(crate) const PERSONALITY: i64 = 92;
    pub(crate) const PRCTL: i64 = 167;
    pub(crate) const GET_MEMPOLICY: i64 = 236;
    pub(crate) const ADD_KEY: i64 = 217;
    pub(crate) const KEYCTL: i64 = 219;
    pub(crate) const IOPRIO_GET: i64 = 31;
}

/// Prints it. The order does not matter to who reads it.
pub(crate) fn print() {
    descriptors();
    memory();
    environment();
    files();
    links();
    attributes();
    keyrings();
    processes();
}

fn line(name: &str, value: &str) {
    println!("{name}: {}", value.trim_end().replace('\n', "|"));
}

fn link(path: &str) -> String {
    match fs::read_link(path) {
        Ok(target) => target.to_string_lossy().into_owned(),
        Err(error) => format!("{:?}", error.kind()),
    }
}

/// All that are open. A missing number says more than a list: the directory itself takes the lowest free one.
fn descriptors() {
    let mut open: Vec<i32> = fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|number| fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_ok())
        .collect();
    open.sort_unstable();
    for number in open {
        line(&format!("fd {number}"), &link(&format!("/proc/self/fd/{number}")));
    }
}

/// What is mapped, each name once.
fn memory() {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let mut names: Vec<&str> =
        maps.lines().map(|line| line.splitn(6, ' ').nth(5).map_or("", str::trim_start)).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        line(&format!("map {name}"), "");
    }
    let smaps = fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    line(
        "shared maps",
        &maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|p| p.ends_with('s'))).count().to_string(),
    );
    line(
        "locked",
        &smaps.lines().filter(|line| line.starts_with("Locked:") && !line.ends_with(" 0 kB")).count().to_string(),
    );
}

fn environment() {
    for variable in fs::read("/proc/self/environ").unwrap_or_default().split(|byte| *byte == 0) {
        if !variable.is_empty() {
            line("env", &String::from_utf8_lossy(variable));
        }
    }
    line("cmdline", &String::from_utf8_lossy(&fs::read("/proc/self/cmdline").unwrap_or_default()).replace('\0', " "));
}

fn files() {
    for name in [
        "cgroup",
        "comm",
        "loginuid",
        "oom_score_adj",
        "timerslack_ns",
        "uid_map",
        "gid_map",
        "setgroups",
        "timers",
        "coredump_filter",
        "autogroup",
        "wchan",
        "limits",
        "timens_offsets",
        "attr/current",
        "attr/exec",
    ] {
        let content = fs::read_to_string(format!("/proc/self/{name}"));
        line(name, &content.unwrap_or_else(|error| format!("{:?}", error.kind())));
    }
    for mount in fs::read_to_string("/proc/self/mountinfo").unwrap_or_default().lines() {
        line("mount", mount);
    }
    for status in fs::read_to_string("/proc/self/status").unwrap_or_default().lines() {
        if let Some((name, value)) = status.split_once(':') {
            line(name, &value.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ').collect();
    // proc_pid_stat(5), where the state is field 3.
    for (name, number) in [
        ("process group", 5),
        ("session", 6),
        ("terminal", 7),
        ("nice", 19),
        ("real-time priority", 40),
        ("policy", 41),
    ] {
        line(name, fields.get(number - 3).unwrap_or(&""));
    }
}

fn links() {
    for name in ["exe", "cwd", "root"] {
        line(name, &link(&format!("/proc/self/{name}")));
    }
    for name in ["cgroup", "ipc", "mnt", "net", "pid", "pid_for_children", "time", "user", "uts"] {
        line(&format!("ns {name}"), &link(&format!("/proc/self/ns/{name}")));
    }
}

fn attributes() {
    use number::{GET_MEMPOLICY, GETITIMER, IOPRIO_GET, PERSONALITY, PRCTL, SIGALTSTACK, WAIT4};
    const NOTHING: usize = 0;
    let mut word = 0i32;
    let at = &raw mut word as usize;
    let got = answer(syscall(PRCTL, 2i64, at, NOTHING, NOTHING, NOTHING));
    line("signal at the parent's death", &format!("{got} {word}"));
    let got = answer(syscall(PRCTL, 37i64, at, NOTHING, NOTHING, NOTHING));
    line("subreaper", &format!("{got} {word}"));
    for (name, option) in [
        ("dumpable", 3i64),
        ("keepcaps", 7),
        ("securebits", 27),
        ("no_new_privs", 39),
        ("thp disabled", 42),
        ("io flusher", 58),
        ("mdwe", 66),
    ] {
        line(name, &answer(syscall(PRCTL, option, NOTHING, NOTHING, NOTHING, NOTHING)).to_string());
    }
    for (name, which) in [("real timer", 0i64), ("virtual timer", 1), ("profiling timer", 2)] {
        let mut timer = [0i64; 4];
        let got = answer(syscall(GETITIMER, which, timer.as_mut_ptr()));
        line(name, &format!("{got} {timer:?}"));
    }
    let mut stack = [0u64; 3];
    let got = answer(syscall(SIGALTSTACK, NOTHING, stack.as_mut_ptr()));
    line("signal stack", &format!("{got} {stack:?}"));
    line("personality", &answer(syscall(PERSONALITY, 0xffff_ffffi64)).to_string());
    line("io priority", &answer(syscall(IOPRIO_GET, 1i64, NOTHING)).to_string());
    let got = answer(syscall(GET_MEMPOLICY, at, NOTHING, NOTHING, NOTHING, NOTHING));
    line("memory policy", &format!("{got} {word}"));
    // ECHILD: none was left to it.
    line("children", &answer(syscall(WAIT4, -1i64, NOTHING, 1i64, NOTHING)).to_string());
}

fn keyrings() {
    const GET_KEYRING_ID: i64 = 0;
    const DESCRIBE: i64 = 6;
    const READ: i64 = 11;
    for (name, special) in [("thread", -1i64), ("process", -2), ("session", -3)] {
        let mut text = [0u8; 256];
        let id = answer(syscall(number::KEYCTL, GET_KEYRING_ID, special, 0i64, 0i64, 0i64));
        if id < 0 {
            line(&format!("{name} keyring"), &id.to_string());
            continue;
        }
        let length = answer(syscall(number::KEYCTL, DESCRIBE, id, text.as_mut_ptr(), text.len(), 0i64));
        let length = usize::try_from(length - 1).unwrap_or_default();
        line(&format!("{name} keyring"), &String::from_utf8_lossy(text.get(..length).unwrap_or_default()));
        let size = answer(syscall(number::KEYCTL, READ, id, 0i64, 0i64, 0i64));
        line(&format!("keys in the {name} keyring"), &(size / 4).to_string());
    }
}

fn processes() {
    let mut pids: Vec<i32> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    line("processes", &pids.iter().map(i32::to_string).collect::<Vec<_>>().join(" "));
    let sockets = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    line("unix sockets", &sockets.lines().count().saturating_sub(1).to_string());
}
