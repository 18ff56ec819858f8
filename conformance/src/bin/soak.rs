//! Looks for what accumulates: `soak [OPTION...]` runs a runtime's `run` and `exec` tens of thousands of times, and the library as
//! often as it is told to, and prints at the beginning, in between and at the end what there is then.
//!
//! It is the first process of a pid namespace of its own, in a mount namespace and a cgroup of its own, so that what is counted there is the
//! runtime's alone: processes, mounts, cgroups and dying cgroups. Open files, kernel memory and the kernel's log are the machine's: there, others
//! who are at work show too.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use no_frills::{Bundle, CreateOptions, Runtime};
use no_frills_conformance::{DEFAULT_SPEC, cgroup2, rootfs};
use rustix::mount::{MountFlags, UnmountFlags};
use serde_json::{Value, json};

const HELP: &str = "\
Usage: soak [OPTION...]        (as root)

  --runtime PATH   [no-frills beside this program]
  --runs N         cycles of `run` [20000]
  --execs N        cycles of `exec` in one container [20000]
  --embedded N     containers that the library makes in one process [5000]
  --help

The exit status is 1 if something grows with the cycles, or a cycle fails.
";

/// How many samples a part is cut by.
const PARTS: usize = 4;

type Outcome<T = ()> = Result<T, String>;

#[derive(Clone)]
struct Options {
    inside: bool,
    runtime: PathBuf,
    runs: usize,
    execs: usize,
    embedded: usize,
}

fn main() -> ExitCode {
    let outcome = match options() {
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Ok(Some(options)) if options.inside => soak(&options),
        Ok(Some(_)) => go_inside(),
        Err(why) => Err(why),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("soak: {why}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> Outcome<Option<Options>> {
    read_options(lexopt::Parser::from_env()).map_err(|e| format!("{e}\n{HELP}"))
}

fn read_options(mut parser: lexopt::Parser) -> Result<Option<Options>, lexopt::Error> {
    use lexopt::prelude::*;
    let beside = std::env::current_exe().map_err(|e| format!("my own path: {e}"))?;
    let runtime = beside.with_file_name("no-frills");
    let mut options = Options { inside: false, runtime, runs: 20_000, execs: 20_000, embedded: 5_000 };
    while let Some(arg) = parser.next()? {
        match arg {
            Long("inside") => options.inside = true,
            Long("runtime") => options.runtime = parser.value()?.into(),
            Long("runs") => options.runs = parser.value()?.parse()?,
            Long("execs") => options.execs = parser.value()?.parse()?,
            Long("embedded") => options.embedded = parser.value()?.parse()?,
            Short('h') | Long("help") => return Ok(None),
            _ => return Err(arg.unexpected()),
        }
    }
    Ok(Some(options))
}

/// Starts this program again as the first process of a pid namespace.
fn go_inside() -> Outcome<bool> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWPID).map_err(|e| format!("unshare(CLONE_NEWPID): {e}"))?;
    let program = std::env::current_exe().map_err(|e| format!("/proc/self/exe: {e}"))?;
    let status = Command::new(program).args(std::env::args_os().skip(1)).arg("--inside").status();
    Ok(status.map_err(|e| format!("starting it in a pid namespace: {e}"))?.success())
}

/// What there is at one moment.
struct Sample {
    cycles: usize,
    values: Vec<u64>,
}

/// What is counted: its name, and how much more of it at the end would be growth, for so many cycles.
struct Counted {
    name: &'static str,
    /// The machine's, and not of this run alone.
    shared: bool,
    /// How much of it there may be more at the end: what does not depend on the cycles, and what one of them may add.
    slack: fn(u64) -> u64,
}

/// What a cycle of a container could leave is at least one of a thing, of memory some hundred bytes.
const COUNTED: [Counted; 10] = [
    Counted { name: "processes", shared: false, slack: |_| 0 },
    Counted { name: "mounts", shared: false, slack: |_| 0 },
    Counted { name: "cgroups", shared: false, slack: |_| 0 },
    Counted { name: "dying cgroups", shared: false, slack: |_| 2 },
    Counted { name: "state entries", shared: false, slack: |_| 0 },
    Counted { name: "own descriptors", shared: false, slack: |_| 0 },
    Counted { name: "own RSS, KiB", shared: false, slack: |_| 1024 },
    Counted { name: "open files", shared: true, slack: |cycles| 500 + cycles / 10 },
    Counted { name: "slab, unreclaimable, KiB", shared: true, slack: |cycles| 16 * 1024 + cycles / 2 },
    Counted { name: "kernel log, lines", shared: true, slack: |_| 0 },
];

struct World {
    dir: PathBuf,
    cgroup: PathBuf,
    runtime: PathBuf,
    log: KernelLog,
}

fn soak(options: &Options) -> Outcome<bool> {
    cgroup2::private_view()?;
    rustix::mount::mount("proc", "/proc", "proc", MountFlags::empty(), None)
        .map_err(|e| format!("mounting /proc: {e}"))?;
    let mut world = World::new(&options.runtime)?;
    let outcome = world.all(options);
    let end = world.end();
    let flat = outcome?;
    end.map(|()| flat)
}

impl World {
    fn new(runtime: &Path) -> Outcome<World> {
        let number = fs::metadata("/proc/self/ns/pid").map(|found| std::os::unix::fs::MetadataExt::ino(&found));
        let name = format!("no-frills-soak-{}", number.map_err(|e| format!("/proc/self/ns/pid: {e}"))?);
        let dir = std::env::temp_dir().join(&name);
        let cgroup = cgroup2::mount_point()?.join(&name);
        let runtime = runtime.canonicalize().map_err(|e| format!("{}: {e}", runtime.display()))?;
        fs::create_dir(&dir).map_err(|e| format!("mkdir {}: {e}", dir.display()))?;
        rustix::mount::mount("soak", &dir, "tmpfs", MountFlags::empty(), None).map_err(|e| format!("a tmpfs: {e}"))?;
        fs::create_dir(&cgroup).map_err(|e| format!("mkdir {}: {e}", cgroup.display()))?;
        let base = dir.join("busybox");
        rootfs::make_base(&base)?;
        rootfs::make(&dir.join("rootfs"), &base).map_err(|e| format!("making the rootfs: {e}"))?;
        let world = World { dir, cgroup, runtime, log: KernelLog::open()? };
        world.bundle("true", &["/bin/true"])?;
        world.bundle("sleep", &["/bin/sleep", "100000"])?;
        Ok(world)
    }

    fn bundle(&self, name: &str, args: &[&str]) -> Outcome {
        let mut config: Value = serde_json::from_str(DEFAULT_SPEC).map_err(|e| format!("the default spec: {e}"))?;
        let own = self.cgroup.file_name().unwrap_or_default().to_string_lossy();
        let settings = [
            ("/process/terminal", json!(false)),
            ("/process/args", json!(args)),
            ("/root/path", json!(self.dir.join("rootfs"))),
        ];
        for (pointer, value) in settings {
            *config.pointer_mut(pointer).ok_or_else(|| format!("the default spec lacks {pointer}"))? = value;
        }
        config["linux"]["cgroupsPath"] = json!(format!("/{own}/{name}"));
        let dir = self.dir.join(name);
        fs::create_dir(&dir)
            .and_then(|()| fs::write(dir.join("config.json"), config.to_string()))
            .map_err(|e| format!("making the bundle {}: {e}", dir.display()))
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.runtime);
        command.arg("--root").arg(self.dir.join("state")).arg(verb);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    fn succeed(mut command: Command) -> Outcome {
        let status = command.status().map_err(|e| format!("starting the runtime: {e}"))?;
        if status.success() { Ok(()) } else { Err(format!("{:?}: {status}", command.get_args())) }
    }

    fn all(&mut self, options: &Options) -> Outcome<bool> {
        let mut flat = true;
        flat &= self.part("run", options.runs, |world| {
            let mut command = world.command("run");
            command.arg("--bundle").arg(world.dir.join("true")).arg("soak");
            Self::succeed(command)
        })?;
        if options.execs > 0 {
            let mut run = self.command("run");
            run.arg("--detach").arg("--bundle").arg(self.dir.join("sleep")).arg("soak");
            Self::succeed(run)?;
            flat &= self.part("exec in one container", options.execs, |world| {
                let mut command = world.command("exec");
                command.args(["soak", "/bin/true"]);
                Self::succeed(command)
            })?;
            let mut delete = self.command("delete");
            delete.args(["--force", "soak"]);
            Self::succeed(delete)?;
            // It has become a child of ours.
            while let Ok(Some(_)) = rustix::process::wait(rustix::process::WaitOptions::NOHANG) {}
        }
        let runtime = Runtime::open(self.dir.join("state")).map_err(|e| e.to_string())?;
        let bundle = Bundle::load(self.dir.join("true")).map_err(|e| e.to_string())?;
        flat &= self.part("run, wait and delete by the library", options.embedded, |_| {
            let cycle = || -> Result<i32, no_frills::Error> {
                let container = runtime.run("embedded", &bundle, CreateOptions::default())?;
                let status = container.wait()?;
                container.delete(false)?;
                Ok(status.code())
            };
            match cycle() {
                Ok(0) => Ok(()),
                Ok(status) => Err(format!("a container ended with {status}")),
                Err(error) => Err(error.to_string()),
            }
        })?;
        Ok(flat)
    }

    /// Does something so many times, and prints what there was meanwhile; whether nothing has grown.
    fn part(&mut self, what: &str, cycles: usize, mut cycle: impl FnMut(&World) -> Outcome) -> Outcome<bool> {
        if cycles == 0 {
            return Ok(true);
        }
        // What is made once, caches for instance, is made by then.
        for _ in 0..(cycles / 20).min(500) {
            cycle(self)?;
        }
        let mut samples = vec![self.sample(0)?];
        let begun = Instant::now();
        for part in 1..=PARTS {
            let until = cycles * part / PARTS;
            for _ in cycles * (part - 1) / PARTS..until {
                cycle(self)?;
            }
            samples.push(self.sample(until)?);
        }
        let took = begun.elapsed();
        println!(
            "\n{what}: {cycles} times, {:.1} s, {:.2} ms each",
            took.as_secs_f64(),
            took.as_secs_f64() * 1e3 / cycles as f64
        );
        let flat = print(&samples);
        if !self.log.last.is_empty() {
            // Whose they are, it tells mostly.
            println!("what the kernel said last: {}", self.log.last);
        }
        Ok(flat)
    }

    fn sample(&mut self, cycles: usize) -> Outcome<Sample> {
        self.settle()?;
        let read = |path: &str| fs::read_to_string(path).map_err(|e| format!("{path}: {e}"));
        let entries = |path: &Path| fs::read_dir(path).map_or(0, |entries| entries.count() as u64);
        let processes = fs::read_dir("/proc").map_err(|e| format!("/proc: {e}"))?;
        let processes = processes.flatten().filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok());
        let open = read("/proc/sys/fs/file-nr")?.split_whitespace().next().and_then(|number| number.parse().ok());
        Ok(Sample {
            cycles,
            values: vec![
                processes.count() as u64,
                read("/proc/self/mountinfo")?.lines().count() as u64,
                self.of_cgroup("nr_descendants")?,
                self.of_cgroup("nr_dying_descendants")?,
                entries(&self.dir.join("state")),
                // One of them is open to count them.
                entries(Path::new("/proc/self/fd")).saturating_sub(1),
                named(&read("/proc/self/status")?, "VmRSS:"),
                open.unwrap_or_default(),
                named(&read("/proc/meminfo")?, "SUnreclaim:"),
                self.log.lines()?,
            ],
        })
    }

    fn of_cgroup(&self, name: &str) -> Outcome<u64> {
        let path = self.cgroup.join("cgroup.stat");
        let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(named(&text, name))
    }

    /// The kernel takes cgroups and namespaces down behind our back: until those are gone, but not for ever.
    fn settle(&self) -> Outcome {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.of_cgroup("nr_dying_descendants")? > 0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn end(&self) -> Outcome {
        cgroup2::kill_and_remove(&self.cgroup).map_err(|e| format!("removing the cgroup: {e}"))?;
        rustix::mount::unmount(&self.dir, UnmountFlags::DETACH).map_err(|e| format!("umount: {e}"))?;
        fs::remove_dir(&self.dir).map_err(|e| format!("rmdir: {e}"))
    }
}

/// The number behind a name, in a text of such lines.
fn named(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// Prints the table; whether nothing has grown.
fn print(samples: &[Sample]) -> bool {
    let mut flat = true;
    print!("| cycles |");
    samples.iter().for_each(|sample| print!(" {} |", sample.cycles));
    print!(" |\n|---|");
    samples.iter().for_each(|_| print!("---|"));
    println!("---|");
    for (at, Counted { name, shared, slack }) in COUNTED.iter().enumerate() {
        let values: Vec<u64> = samples.iter().filter_map(|sample| sample.values.get(at).copied()).collect();
        let (Some(first), Some(last), Some(sample)) = (values.first(), values.last(), samples.last()) else { continue };
        let grown = *last > first + slack(sample.cycles as u64);
        flat &= !grown;
        print!("| {name}{} |", if *shared { " (the machine's)" } else { "" });
        values.iter().for_each(|value| print!(" {value} |"));
        println!(" {} |", if grown { "**grows**" } else { "flat" });
    }
    flat
}

/// What the kernel has said since.
struct KernelLog {
    file: File,
    lines: u64,
    /// The last of them.
    last: String,
}

impl KernelLog {
    fn open() -> Outcome<KernelLog> {
        let failed = |e: std::io::Error| format!("/dev/kmsg: {e}");
        let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg").map_err(failed)?;
        let mut log = KernelLog { file, lines: 0, last: String::new() };
        log.lines()?;
        (log.lines, log.last) = (0, String::new());
        Ok(log)
    }

    /// A read gives one record; EPIPE says that some were lost.
    fn lines(&mut self) -> Outcome<u64> {
        let mut record = [0; 8192];
        loop {
            match self.file.read(&mut record) {
                Ok(length) => {
                    self.lines += 1;
                    let text = String::from_utf8_lossy(record.get(..length).unwrap_or_default());
                    self.last = text.lines().next().unwrap_or_default().to_owned();
                }
                Err(e) if e.raw_os_error() == Some(libc::EPIPE) => self.lines += 1,
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return Ok(self.lines),
                Err(e) => return Err(format!("/dev/kmsg: {e}")),
            }
        }
    }
}
