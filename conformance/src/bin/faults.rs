//! Kills and failures at every system call: `faults --runtime PATH`.
//!
//! A command is run once under ptrace(2), to see which system calls it and all its processes make. Then it is run again for each
//! of them: the process is killed instead of making it, or it fails. After that the container is deleted by force, and looked
//! for what is left; a failure has to be told, and a success has to be one.
#![forbid(unsafe_code)]

#[path = "../faults/mod.rs"]
mod faults;

#[allow(dead_code, reason = "shared with the suite, which uses more of it")]
#[path = "../cgroup2.rs"]
mod cgroup2;
#[allow(dead_code, reason = "shared with the suite, which uses more of it")]
#[path = "../kind.rs"]
mod kind;
#[allow(dead_code, reason = "shared with the suite, which uses more of it")]
#[path = "../mountinfo.rs"]
mod mountinfo;
#[path = "../rootfs.rs"]
mod rootfs;

fn main() -> std::process::ExitCode {
    faults::main()
}
