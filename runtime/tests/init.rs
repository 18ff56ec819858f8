//! Init makes only the system calls that its steps name, in their order, and asks for no memory: a container is
//! run under strace(1) and each call of init held against the plan.
//!
//! The test runs itself under strace as the program that makes the container. It needs root, cgroup2, strace and a
//! static busybox, and says so when it lacks one.

#![expect(clippy::unwrap_used, clippy::panic, reason = "test code also outside of the test functions")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use no_frills::{Bundle, CreateOptions, Runtime};
use no_frills_plan::{Plan, Step, call};

const BUSYBOX: &str = "/bin/busybox";
/// Names the bundle for the copy of this test that runs under strace.
const BUNDLE: &str = "NO_FRILLS_TEST_BUNDLE";

/// What init does before its first step: leaves nothing of the parent, takes the plan.
const PROLOGUE: [&str; 3] = ["close_range", "rt_sigprocmask", "recvmsg"];

fn missing() -> Option<&'static str> {
    if !nix::unistd::geteuid().is_root() {
        return Some("root");
    }
    if Command::new("strace").arg("-V").output().is_err() {
        return Some("strace");
    }
    if !Path::new(BUSYBOX).exists() {
        return Some(BUSYBOX);
    }
    None
}

fn make_bundle(directory: &Path, config: &str) {
    let bin = directory.join("rootfs/bin");
    for name in ["bin", "proc", "sys", "dev"] {
        fs::create_dir_all(directory.join("rootfs").join(name)).unwrap();
    }
    fs::copy(BUSYBOX, bin.join("busybox")).unwrap();
    symlink("busybox", bin.join("true")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(config).unwrap();
    config["process"]["args"] = serde_json::json!(["/bin/true"]);
    config["process"]["terminal"] = serde_json::json!(false);
    fs::write(directory.join("config.json"), config.to_string()).unwrap();
}

/// Under strace: makes the container.
#[test]
fn make_the_container() {
    let Ok(bundle) = std::env::var(BUNDLE) else { return };
    let runtime = Runtime::open(Path::new(&bundle).join("state")).unwrap();
    let bundle = Bundle::load(&bundle).unwrap();
    let container =
        runtime.run(&format!("init-test-{}", std::process::id()), &bundle, CreateOptions::default()).unwrap();
    assert_eq!(container.wait().unwrap().code(), 0);
    container.delete(false).unwrap();
}

/// The names of the calls that a process makes from its execveat, which begins init, to its execve, which ends it.
fn calls_of_init(trace: &str) -> Vec<String> {
    let mut calls = Vec::new();
    let mut init = None;
    for line in trace.lines() {
        let Some((pid, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        // The second half of a call that was interrupted by the output of another process.
        if rest.starts_with("<...") || rest.starts_with("---") || rest.starts_with("+++") {
            continue;
        }
        // An strace older than Linux 6.15 does not know this one's name.
        let name = rest.split('(').next().unwrap_or(rest).replace("syscall_0x1d3", "open_tree_attr");
        if name == "execveat" {
            init = Some(pid.to_owned());
        } else if init.as_deref() == Some(pid) {
            let last = name == "execve";
            calls.push(name);
            if last {
                return calls;
            }
        }
    }
    panic!("no init in the trace:\n{trace}");
}

#[test]
fn init_makes_only_the_calls_of_its_steps() {
    if let Some(missing) = missing() {
        println!("skipped: it needs {missing}");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    make_bundle(directory.path(), include_str!("golden/default.json"));
    let trace = directory.path().join("trace");
    let traced = Command::new("strace")
        .args(["-f", "-o"])
        .arg(&trace)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "make_the_container", "--test-threads=1"])
        .env(BUNDLE, directory.path())
        .output()
        .unwrap();
    assert!(traced.status.success(), "{}", String::from_utf8_lossy(&traced.stdout));

    let bundle = Bundle::load(directory.path()).unwrap();
    let program = bundle.plan("init-test", &CreateOptions::default()).unwrap();
    let steps: Vec<Step<'_>> = Plan::decode(program.steps.bytes()).unwrap().steps().map(Result::unwrap).collect();
    let calls = calls_of_init(&fs::read_to_string(&trace).unwrap());
    assert_eq!(calls[..PROLOGUE.len()], PROLOGUE);

    // Every step that makes calls makes at least one, and may make several: follow all ways to deal them out.
    let mut at: BTreeSet<usize> = BTreeSet::from([usize::MAX]);
    for (number, name) in calls.iter().enumerate().skip(PROLOGUE.len()) {
        assert!(!["brk", "mmap", "mremap"].contains(&name.as_str()), "call {number} asks for memory: {name}");
        let makes = |index: &usize| steps[*index].calls().iter().any(|code| call::name(*code) == name);
        let reached = at.iter().flat_map(|index| {
            let first = index.wrapping_add(1);
            let silent = steps[first..].iter().take_while(|step| step.calls().is_empty()).count();
            let same = (*index != usize::MAX).then_some(*index);
            same.into_iter().chain([first + silent]).filter(|index| *index < steps.len())
        });
        let next: BTreeSet<usize> = reached.filter(makes).collect();
        assert!(!next.is_empty(), "call {number}, {name}, is none of the steps {at:?}, nor of the next: {steps:#?}");
        at = next;
    }
    assert!(at.contains(&(steps.len() - 1)), "init ended at step {at:?} of {}", steps.len());
    println!("{} calls for {} steps", calls.len(), steps.len());
}
