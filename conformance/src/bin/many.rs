//! Measures whether the time to create a container grows with how many there are: the 10th against the 1,000th, all alive.
//!
//! In a mount namespace of its own, with cgroup2 at /sys/fs/cgroup and bundles and state on a tmpfs, each runtime creates its
//! containers one after the other. Told are the medians of 21 creates around the two, for the machine is not quiet; what
//! `list` and `state` take then; and in the end that nothing is left.
//!
//! Usage: `many [--count N] [NAME=PATH...]`, as root; without runtimes no-frills beside this program, and crun and runc in ../peers.
#![forbid(unsafe_code)]

use std::error::Error;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use no_frills_conformance::{DEFAULT_SPEC, cgroup2, rootfs};
use rustix::mount::{MountFlags, UnmountFlags};
use serde_json::{Value, json};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// How many creates a median is of.
const WINDOW: usize = 21;

fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1).peekable();
    let mut count = 1000;
    if arguments.next_if(|argument| argument == "--count").is_some() {
        count = arguments.next().ok_or("--count takes a number")?.parse()?;
    }
    if count < 2 * WINDOW {
        return Err(format!("--count is at least {}", 2 * WINDOW).into());
    }
    let mut runtimes: Vec<(String, PathBuf)> = Vec::new();
    for argument in arguments {
        let (name, path) = argument.split_once('=').ok_or("usage: many [--count N] [NAME=PATH...]")?;
        runtimes.push((name.to_owned(), fs::canonicalize(path)?));
    }
    if runtimes.is_empty() {
        let beside = std::env::current_exe()?;
        let peers = beside.with_file_name("../peers");
        runtimes.push(("no-frills".to_owned(), beside.with_file_name("no-frills")));
        runtimes.extend(["crun", "runc"].map(|name| (name.to_owned(), peers.join(name))));
    }
    cgroup2::private_view()?;
    let dir = std::env::temp_dir().join(format!("no-frills-many-{}", std::process::id()));
    fs::create_dir(&dir)?;
    // Containers that lose their runtime become this process's children, as they become a shim's.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    rustix::mount::mount("many", &dir, "tmpfs", MountFlags::empty(), None)?;
    rootfs::make_base(&dir.join("busybox"))?;
    rootfs::make(&dir.join("rootfs"), &dir.join("busybox"))?;
    println!("{:12} {:>10} {:>10} {:>7} {:>10} {:>10}", "", "10th, ms", format!("{count}th"), "ratio", "state", "list");
    let outcome = runtimes.iter().try_for_each(|(name, path)| measure(name, path, &dir, count));
    rustix::mount::unmount(&dir, UnmountFlags::DETACH)?;
    fs::remove_dir(&dir)?;
    outcome
}

fn measure(name: &str, runtime: &Path, dir: &Path, count: usize) -> Outcome {
    let cgroup = format!("/no-frills-many-{}-{name}", std::process::id());
    let run = |args: &[&str]| -> Outcome<Duration> {
        let errors = dir.join("errors");
        let mut command = Command::new(runtime);
        command.arg("--root").arg(dir.join(name)).args(args);
        let err = File::create(&errors)?;
        let begin = Instant::now();
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(err).status()?;
        let took = begin.elapsed();
        if status.success() {
            return Ok(took);
        }
        Err(format!("{name} {}: {status}: {}", args.join(" "), fs::read_to_string(errors)?).into())
    };
    let mut config: Value = serde_json::from_str(DEFAULT_SPEC)?;
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["/bin/sleep", "100000"]);
    config["root"]["path"] = json!(dir.join("rootfs"));
    let id = |number: usize| format!("many-{number}");
    let mut times = Vec::with_capacity(count);
    let mut create_all = || -> Outcome<(Duration, Duration)> {
        for number in 0..count {
            config["linux"]["cgroupsPath"] = json!(format!("{cgroup}/{number}"));
            fs::write(dir.join("config.json"), config.to_string())?;
            times.push(run(&["create", "--bundle", &dir.to_string_lossy(), &id(number)])?);
        }
        Ok((run(&["state", &id(9)])?, run(&["list"])?))
    };
    let outcome = create_all();
    // Beneath the runtimes' own cgroup, and with the peers' parents.
    let made = times.len();
    for number in 0..made {
        run(&["delete", "--force", &id(number)])?;
        while let Ok(Some(_)) = rustix::process::wait(rustix::process::WaitOptions::NOHANG) {}
    }
    let left = cgroup2::mount_point()?.join(cgroup.trim_start_matches('/'));
    cgroup2::kill_and_remove(&left)?;
    let (state, list) = outcome?;
    let (early, late) = (median(&times, 0), median(&times, count - WINDOW));
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    println!(
        "{name:12} {:10.2} {:10.2} {:7.2} {:10.2} {:10.2}",
        ms(early),
        ms(late),
        late.as_secs_f64() / early.as_secs_f64(),
        ms(state),
        ms(list)
    );
    Ok(())
}

/// Of the creates from this one on; the 10th is in the middle of the first ones.
fn median(times: &[Duration], from: usize) -> Duration {
    let mut window: Vec<Duration> = times.iter().skip(from).take(WINDOW).copied().collect();
    window.sort_unstable();
    window.get(WINDOW / 2).copied().unwrap_or_default()
}
