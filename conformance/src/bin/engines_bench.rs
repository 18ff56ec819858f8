//! Measures runtimes under engines: Docker, containerd by `ctr`, and Podman, each with every runtime in turn, in one run.
//!
//! Each round does everything once with every runtime, and the next round begins with another of them: what disturbs one disturbs
//! all. Told are medians. Then containers are started through containerd, several at a time, with each runtime in turn.
//!
//! It starts daemons and changes the network, so it wants a room:
//!
//! ```sh
//! conformance/engines/room.sh --shell 'target/release/engines_bench --rounds 30'
//! ```
//!
//! `--rounds N` (30), `--many N` (200; 0 for none), `--at-once N` (8), `--repeat N` of the latter (3), `--json FILE`.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use lexopt::prelude::*;
use no_frills_conformance::daemon::Daemon;
use no_frills_conformance::rootfs;
use rustix::process::WaitOptions;
use serde_json::{Value, json};

type Outcome<T = ()> = Result<T, String>;

const IMAGE: &str = "127.0.0.1:5000/busybox:latest";

fn main() -> Outcome {
    let options = Options::read().map_err(|e| e.to_string())?;
    let world = World::new()?;
    let outcome = measure(&world, &options);
    let ended = world.end();
    let figures = outcome?;
    ended?;
    print!("{}", table(&figures));
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&figures).map_err(|e| e.to_string())?;
        fs::write(file, text + "\n").map_err(|e| format!("{}: {e}", file.display()))?;
    }
    Ok(())
}

struct Options {
    rounds: usize,
    many: usize,
    at_once: usize,
    repeat: usize,
    json: Option<PathBuf>,
}

impl Options {
    fn read() -> Result<Self, lexopt::Error> {
        let mut options = Self { rounds: 30, many: 200, at_once: 8, repeat: 3, json: None };
        let mut parser = lexopt::Parser::from_env();
        while let Some(arg) = parser.next()? {
            match arg {
                Long("rounds") => options.rounds = parser.value()?.parse()?,
                Long("many") => options.many = parser.value()?.parse()?,
                Long("at-once") => options.at_once = parser.value()?.parse()?,
                Long("repeat") => options.repeat = parser.value()?.parse()?,
                Long("json") => options.json = Some(parser.value()?.into()),
                other => return Err(other.unexpected()),
            }
        }
        Ok(options)
    }
}

/// A runtime, as the engines are told of it.
struct Runtime {
    name: &'static str,
    path: PathBuf,
    version: String,
}

/// The engines, all at the same work.
#[derive(Clone, Copy)]
enum Engine {
    Docker,
    Containerd,
    Podman,
}

const ENGINES: [Engine; 3] = [Engine::Docker, Engine::Containerd, Engine::Podman];

impl Engine {
    fn run_words(self) -> &'static str {
        match self {
            Self::Docker => "docker run --rm",
            Self::Containerd => "ctr run --rm",
            Self::Podman => "podman run --rm",
        }
    }

    fn exec_words(self) -> &'static str {
        match self {
            Self::Docker => "docker exec",
            Self::Containerd => "ctr tasks exec",
            Self::Podman => "podman exec",
        }
    }
}

/// The daemons, the images and the runtimes.
struct World {
    dir: PathBuf,
    runtimes: Vec<Runtime>,
    daemons: Vec<Daemon>,
    has_cpu: bool,
    counter: AtomicUsize,
}

impl World {
    fn new() -> Outcome<Self> {
        let beside = std::env::current_exe().map_err(|e| e.to_string())?;
        let mut runtimes = Vec::new();
        for (name, path) in [("no-frills", "no-frills"), ("runc", "../peers/runc"), ("crun", "../peers/crun")] {
            let path = beside.with_file_name(path);
            let path = fs::canonicalize(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            let version = call(Command::new(&path).arg("--version"))?;
            let version = version.lines().next().unwrap_or_default().to_owned();
            runtimes.push(Runtime { name, path, version });
        }
        let dir = std::env::temp_dir().join(format!("engines-bench-{}", std::process::id()));
        fs::create_dir(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").map_err(|e| e.to_string())?;
        let has_cpu = controllers.split_ascii_whitespace().any(|name| name == "cpu");
        let mut world = Self { dir, runtimes, daemons: Vec::new(), has_cpu, counter: AtomicUsize::new(0) };
        match world.prepare(&controllers) {
            Ok(()) => Ok(world),
            Err(why) => {
                let logs: Vec<_> = world.daemons.iter().map(Daemon::last_words).collect();
                world.end().unwrap_or_default();
                Err(format!("{why}\n{}", logs.join("\n")))
            }
        }
    }

    /// Starts the daemons and gives all engines the image.
    fn prepare(&mut self, controllers: &str) -> Outcome {
        let dir = self.dir.clone();
        let tell = |e: std::io::Error| format!("{}: {e}", dir.display());
        let cgroup = Path::new("/sys/fs/cgroup").join(dir.file_name().unwrap_or_default());
        fs::create_dir_all(&cgroup).map_err(tell)?;
        if !Path::new("/etc/resolv.conf").exists() {
            fs::write("/etc/resolv.conf", "nameserver 127.0.0.1\n").map_err(tell)?;
        }
        rootfs::make_base(&dir.join("busybox"))?;
        rootfs::make(&dir.join("image"), &dir.join("busybox")).map_err(tell)?;

        let pids = if controllers.contains("pids") { "" } else { "pids_limit = 0\n" };
        let config = format!(
            "[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n\
             runtime_supports_json = [\"no-frills\", \"runc\", \"crun\"]\n[containers]\nlog_driver = \"k8s-file\"\n{pids}"
        );
        fs::write(dir.join("containers.conf"), config).map_err(tell)?;
        let storage = format!(
            "[storage]\ndriver = \"overlay\"\ngraphroot = \"{dir}/podman\"\nrunroot = \"{dir}/podman-run\"\n",
            dir = dir.display()
        );
        fs::write(dir.join("storage.conf"), storage).map_err(tell)?;
        let mut tar = Command::new("tar");
        tar.arg("--directory").arg(dir.join("image")).arg("--create").arg("--file").arg(dir.join("image.tar")).arg(".");
        call(&mut tar)?;
        let archive = dir.join("image.tar").display().to_string();
        call(self.podman().args(["import", "--quiet", &archive, IMAGE]))?;
        let archive = dir.join("oci.tar").display().to_string();
        call(self.podman().args(["save", "--quiet", "--format", "docker-archive", "--output", &archive, IMAGE]))?;

        let mut docker = Command::new("dockerd");
        for runtime in &self.runtimes {
            docker.arg("--add-runtime").arg(format!("x-{}={}", runtime.name, runtime.path.display()));
        }
        docker.arg("--host").arg(self.docker_host()).arg("--data-root").arg(dir.join("docker"));
        docker.arg("--exec-root").arg(dir.join("docker-run")).arg("--pidfile").arg(dir.join("docker.pid"));
        docker.args(["--log-level", "error", "--exec-opt", "native.cgroupdriver=cgroupfs"]);
        let ready = || call(self.docker().arg("version")).is_ok();
        let daemon = Daemon::start("dockerd", docker, dir.join("docker.log"), &cgroup, ready)?;
        self.daemons.push(daemon);
        call(self.docker().args(["load", "--quiet", "--input", &archive]))?;

        let config = dir.join("containerd.toml");
        let text = format!(
            "version = 2\nroot = \"{dir}/containerd\"\nstate = \"{dir}/containerd-run\"\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = \"{dir}/containerd.sock\"\n[debug]\nlevel = \"error\"\n",
            dir = dir.display()
        );
        fs::write(&config, text).map_err(tell)?;
        let mut containerd = Command::new("containerd");
        containerd.arg("--config").arg(config);
        let ready = || call(self.ctr().arg("version")).is_ok();
        let daemon = Daemon::start("containerd", containerd, dir.join("containerd.log"), &cgroup, ready)?;
        self.daemons.push(daemon);
        call(self.ctr().args(["images", "import", &archive])).map(drop)
    }

    fn docker_host(&self) -> String {
        format!("unix://{}/docker.sock", self.dir.display())
    }

    fn docker(&self) -> Command {
        let mut command = Command::new("docker");
        command.env("HOME", &self.dir).arg("--host").arg(self.docker_host());
        command
    }

    fn ctr(&self) -> Command {
        let mut command = Command::new("ctr");
        command.arg("--address").arg(self.dir.join("containerd.sock"));
        command
    }

    fn podman(&self) -> Command {
        let mut command = Command::new("podman");
        command.env("HOME", &self.dir).env("CONTAINERS_CONF", self.dir.join("containers.conf"));
        command.env("CONTAINERS_STORAGE_CONF", self.dir.join("storage.conf"));
        command
    }

    /// A command that runs a container: attached and removed at its end, or detached with this name.
    fn run(&self, engine: Engine, runtime: &Runtime, detached: Option<&str>, args: &[&str]) -> Command {
        let path = runtime.path.to_string_lossy();
        let how: &[&str] = if detached.is_some() { &["--detach"] } else { &["--rm"] };
        let name: Vec<&str> = detached.map(|name| vec!["--name", name]).unwrap_or_default();
        let mut command = match engine {
            Engine::Docker => {
                let mut command = self.docker();
                command.arg("run").args(how).args(name).arg("--runtime").arg(format!("x-{}", runtime.name));
                command.arg(IMAGE);
                command
            }
            Engine::Podman => {
                let mut command = self.podman();
                command.args(["--runtime", &path, "run"]).args(how).args(name).arg(IMAGE);
                command
            }
            Engine::Containerd => {
                let mut command = self.ctr();
                command.arg("run").args(how).args(["--runc-binary", &path]);
                if !self.has_cpu {
                    command.args(["--cpu-shares", "0"]);
                }
                let number = self.counter.fetch_add(1, Ordering::Relaxed);
                command.arg(IMAGE).arg(detached.map_or_else(|| format!("c{number}"), str::to_owned));
                command
            }
        };
        command.args(args);
        command
    }

    /// A command that executes `true` in the container of this name.
    fn exec(&self, engine: Engine, runtime: &Runtime, name: &str) -> Command {
        match engine {
            Engine::Docker => {
                let mut command = self.docker();
                command.args(["exec", name, "true"]);
                command
            }
            Engine::Podman => {
                let mut command = self.podman();
                command.arg("--runtime").arg(&runtime.path).args(["exec", name, "true"]);
                command
            }
            Engine::Containerd => {
                let mut command = self.ctr();
                command.args(["tasks", "exec", "--exec-id", "e", name, "true"]);
                command
            }
        }
    }

    /// Removes the containers of these names, by force.
    fn remove(&self, engine: Engine, names: &[String]) -> Outcome {
        match engine {
            Engine::Docker => call(self.docker().args(["rm", "--force"]).args(names)).map(drop),
            Engine::Podman => call(self.podman().args(["rm", "--force", "--time", "0"]).args(names)).map(drop),
            Engine::Containerd => {
                for name in names {
                    call(self.ctr().args(["tasks", "delete", "--force", name]))?;
                }
                call(self.ctr().args(["containers", "delete"]).args(names)).map(drop)
            }
        }
    }

    /// Ends the daemons; what is on disk goes too.
    fn end(self) -> Outcome {
        let mut problems = Vec::new();
        for daemon in self.daemons.into_iter().rev() {
            problems.extend(daemon.stop().err());
        }
        let overlay = self.dir.join("podman/overlay");
        rustix::mount::unmount(&overlay, rustix::mount::UnmountFlags::DETACH).unwrap_or_default();
        problems.extend(fs::remove_dir_all(&self.dir).err().map(|e| format!("{}: {e}", self.dir.display())));
        if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
    }
}

/// All that is measured, as it is printed and written.
fn measure(world: &World, options: &Options) -> Outcome<Value> {
    let load = |when: &str| -> Outcome<String> {
        fs::read_to_string("/proc/loadavg").map(|text| text.trim().to_owned()).map_err(|e| format!("load {when}: {e}"))
    };
    let before = load("before")?;
    let mut rows = Vec::new();
    for engine in ENGINES {
        let mut names = Vec::new();
        // Where controllers are lacking not every runtime can be run by every engine.
        let mut able = Vec::new();
        for runtime in &world.runtimes {
            let name = format!("idle-{}", runtime.name);
            match call(&mut world.run(engine, runtime, Some(&name), &["sleep", "100000"])) {
                Ok(_) => able.push((runtime, name.clone())),
                Err(why) => eprintln!("{} cannot be measured with {}: {why}", engine.run_words(), runtime.name),
            }
            names.push(name);
        }
        let mut run = vec![Vec::new(); world.runtimes.len()];
        let mut exec = run.clone();
        // The first round is not counted: it fills caches.
        for round in 0..=options.rounds {
            for offset in 0..able.len() {
                let Some((runtime, name)) = able.get((round + offset) % able.len()) else { continue };
                let at = world.runtimes.iter().position(|other| other.name == runtime.name).unwrap_or_default();
                let ran = timed(&mut world.run(engine, runtime, None, &["true"]))?;
                let executed = timed(&mut world.exec(engine, runtime, name))?;
                if round > 0 {
                    run.get_mut(at).into_iter().for_each(|samples| samples.push(ran));
                    exec.get_mut(at).into_iter().for_each(|samples| samples.push(executed));
                }
            }
            reap();
        }
        // What could not be started may be there all the same.
        let there: Vec<_> = match engine {
            Engine::Docker => names,
            _ => able.iter().map(|(_, name)| name.clone()).collect(),
        };
        world.remove(engine, &there)?;
        for (what, samples) in [(engine.run_words(), run), (engine.exec_words(), exec)] {
            rows.push(json!({"what": what, "unit": "ms", "figures": figures(world, samples)}));
        }
    }
    if options.many > 0 {
        rows.push(many(world, options)?);
    }
    let versions: Vec<_> = world.runtimes.iter().map(|runtime| runtime.version.clone()).collect();
    Ok(json!({
        "rounds": options.rounds, "processors": std::thread::available_parallelism().map_or(1, usize::from),
        "load_before": before, "load_after": load("after")?, "runtimes": versions, "rows": rows,
    }))
}

/// Starts many containers through containerd, several at a time, with each runtime in turn.
fn many(world: &World, options: &Options) -> Outcome<Value> {
    let mut samples = vec![Vec::new(); world.runtimes.len()];
    for repeat in 0..options.repeat {
        for offset in 0..world.runtimes.len() {
            let at = (repeat + offset) % world.runtimes.len();
            let Some(runtime) = world.runtimes.get(at) else { continue };
            let names: Vec<_> = (0..options.many).map(|number| format!("many-{number}")).collect();
            let next = AtomicUsize::new(0);
            let start = Instant::now();
            let started: Outcome = std::thread::scope(|scope| {
                let workers: Vec<_> = (0..options.at_once)
                    .map(|_| {
                        scope.spawn(|| {
                            while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                                let mut command =
                                    world.run(Engine::Containerd, runtime, Some(name), &["sleep", "100000"]);
                                call(&mut command)?;
                            }
                            Ok(())
                        })
                    })
                    .collect();
                workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| "a worker failed".to_owned())?)
            });
            let elapsed = start.elapsed();
            started?;
            samples.get_mut(at).into_iter().for_each(|samples| samples.push(elapsed.as_secs_f64()));
            world.remove(Engine::Containerd, &names)?;
            reap();
        }
    }
    let what = format!("{} containers by ctr run --detach, {} at a time", options.many, options.at_once);
    Ok(json!({"what": what, "unit": "s", "count": options.many, "figures": figures(world, samples)}))
}

/// Median and spread for each runtime.
fn figures(world: &World, samples: Vec<Vec<f64>>) -> Value {
    let of = |(runtime, mut samples): (&Runtime, Vec<f64>)| {
        samples.sort_by(f64::total_cmp);
        let at = |share: f64| {
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "an index"
            )]
            let index = ((samples.len().saturating_sub(1)) as f64 * share).round() as usize;
            samples.get(index).copied().unwrap_or_default()
        };
        if samples.is_empty() {
            return (runtime.name.to_owned(), Value::Null);
        }
        (runtime.name.to_owned(), json!({"p10": at(0.1), "median": at(0.5), "p90": at(0.9)}))
    };
    Value::Object(world.runtimes.iter().zip(samples).map(of).collect())
}

/// The table, in Markdown.
fn table(figures: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut out = format!(
        "{} rounds on {} processors; load {} before, {} after\n",
        figures["rounds"],
        figures["processors"],
        text(&figures["load_before"]),
        text(&figures["load_after"])
    );
    for version in figures["runtimes"].as_array().into_iter().flatten() {
        out += &format!("{}\n", text(version));
    }
    out += "\n| median | no-frills | runc | crun |\n|---|---|---|---|\n";
    for row in figures["rows"].as_array().into_iter().flatten() {
        let median = |name: &str| row["figures"][name]["median"].as_f64().unwrap_or_default();
        let cell = |name: &str| {
            if row["figures"][name].is_null() {
                return "–".to_owned();
            }
            let value = median(name);
            let ratio =
                if name == "no-frills" { String::new() } else { format!(" ({:.2}×)", value / median("no-frills")) };
            match row["count"].as_f64() {
                Some(count) => format!("{value:.2} s, {:.1}/s{ratio}", count / value),
                None => format!("{value:.0} ms{ratio}"),
            }
        };
        out += &format!("| `{}` | {} | {} | {} |\n", text(&row["what"]), cell("no-frills"), cell("runc"), cell("crun"));
    }
    out
}

/// The time that a command takes, in milliseconds; it must succeed.
fn timed(command: &mut Command) -> Outcome<f64> {
    let start = Instant::now();
    call(command)?;
    Ok(start.elapsed().as_secs_f64() * 1000.0)
}

/// Runs a command, which must succeed; returns what it prints.
fn call(command: &mut Command) -> Outcome<String> {
    let output = command.stdin(Stdio::null()).output().map_err(|e| format!("{command:?}: {e}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(format!("{command:?}: {}: {}", output.status, text(&output.stderr))),
    }
}

/// Takes the statuses of shims and their like: as the first process of the room this one has their orphans.
fn reap() {
    if std::process::id() == 1 {
        while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
    }
}
