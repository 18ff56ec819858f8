//! Where benchmarks of runtimes take place: a tmpfs with a rootfs, bundles and state roots, and the tools.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::mount::{MountFlags, UnmountFlags};
use serde_json::{Value, json};

use crate::{DEFAULT_SPEC, cgroup2, rootfs};

/// What a bundle's container runs.
#[derive(Clone, Copy)]
pub enum Payload {
    /// /bin/true.
    True,
    /// A process that waits to be killed.
    Sleep,
    /// One that prints its mounts.
    Mounts,
}

impl Payload {
    const ALL: [Self; 3] = [Self::True, Self::Sleep, Self::Mounts];

    fn name(self) -> &'static str {
        match self {
            Self::True => "true",
            Self::Sleep => "sleep",
            Self::Mounts => "mounts",
        }
    }

    fn args(self) -> &'static [&'static str] {
        match self {
            Self::True => &["/bin/true"],
            Self::Sleep => &["/bin/sleep", "1000"],
            Self::Mounts => &["/bin/cat", "/proc/self/mountinfo"],
        }
    }
}

/// A program that is measured.
pub struct Tool {
    /// What the figures call it.
    pub name: String,
    /// The program.
    pub path: PathBuf,
    /// Its first line of `--version`; none for the floor, which is no runtime.
    pub version: Option<String>,
}

impl Tool {
    /// Whether it is the floor (`bin/floor.rs`).
    pub fn is_floor(&self) -> bool {
        self.version.is_none()
    }
}

/// The place, with a bundle for each tool and payload; all is removed when it is dropped.
pub struct World {
    dir: PathBuf,
    /// The floor first, then the runtimes as they were named.
    pub tools: Vec<Tool>,
    null: File,
    /// Where commands write errors.
    errors: PathBuf,
    interrupted: Arc<AtomicBool>,
}

impl World {
    /// Makes it, for this process alone.
    ///
    /// # Errors
    /// A tool is missing, or fails to tell its version; or the file systems cannot be made.
    pub fn new(floor: &Path, runtimes: &[(String, PathBuf)]) -> Result<Self, String> {
        let mut tools = vec![Tool { name: "floor".to_owned(), path: absolute(floor)?, version: None }];
        for (name, path) in runtimes {
            let path = absolute(path)?;
            tools.push(Tool { name: name.clone(), version: Some(version(&path)?), path });
        }
        let dir = std::env::temp_dir().join(format!("no-frills-bench-{}", std::process::id()));
        fs::create_dir(&dir).map_err(|e| format!("mkdir {}: {e}", dir.display()))?;
        // Containers that lose their runtime become this process's children, as they become a shim's.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(|e| format!("prctl: {e}"))?;
        rustix::mount::mount("bench", &dir, "tmpfs", MountFlags::empty(), None)
            .map_err(|e| format!("mounting a tmpfs on {}: {e}", dir.display()))?;
        let null = File::options().read(true).write(true).open("/dev/null").map_err(|e| format!("/dev/null: {e}"))?;
        let interrupted = Arc::default();
        let world = Self { errors: dir.join("errors"), dir, tools, null, interrupted };
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&world.interrupted))
                .map_err(|e| format!("sigaction: {e}"))?;
        }
        world.fill()?;
        Ok(world)
    }

    fn fill(&self) -> Result<(), String> {
        let base = self.dir.join("busybox");
        rootfs::make_base(&base)?;
        rootfs::make(&self.rootfs(), &base).map_err(|e| format!("making the rootfs: {e}"))?;
        // In files that every cgroup has, whatever controllers there are.
        fs::write(self.limits(), r#"{"unified": {"cgroup.max.depth": "100", "cgroup.max.descendants": "1000"}}"#)
            .map_err(|e| format!("{}: {e}", self.limits().display()))?;
        for tool in &self.tools {
            for payload in Payload::ALL {
                let bundle = self.bundle(tool, payload);
                let config = self.config(tool, payload)?.to_string();
                fs::create_dir_all(&bundle)
                    .and_then(|()| fs::write(bundle.join("config.json"), config))
                    .map_err(|e| format!("making the bundle {}: {e}", bundle.display()))?;
            }
        }
        Ok(())
    }

    fn config(&self, tool: &Tool, payload: Payload) -> Result<Value, String> {
        let mut config: Value = serde_json::from_str(DEFAULT_SPEC).map_err(|e| format!("the default spec: {e}"))?;
        let settings = [
            ("/process/terminal", json!(false)),
            ("/process/args", json!(payload.args())),
            ("/root/path", json!(self.rootfs())),
        ];
        for (pointer, value) in settings {
            *config.pointer_mut(pointer).ok_or_else(|| format!("the default spec lacks {pointer}"))? = value;
        }
        let linux = config.get_mut("linux").and_then(Value::as_object_mut).ok_or("the default spec lacks /linux")?;
        linux.insert("cgroupsPath".to_owned(), json!(format!("/{}", id(tool))));
        Ok(config)
    }

    /// The root file system of all containers.
    pub fn rootfs(&self) -> PathBuf {
        self.dir.join("rootfs")
    }

    /// What `update` changes.
    pub fn limits(&self) -> PathBuf {
        self.scratch("limits.json")
    }

    /// A file in the tmpfs.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn bundle(&self, tool: &Tool, payload: Payload) -> PathBuf {
        self.dir.join(&tool.name).join(payload.name())
    }

    fn cgroup(&self, tool: &Tool) -> PathBuf {
        Path::new("/sys/fs/cgroup").join(id(tool))
    }

    /// The command line that runs a payload from start to end.
    pub fn run(&self, tool: &Tool, payload: Payload) -> Command {
        if !tool.is_floor() {
            let mut command = self.runtime(tool, "run");
            command.arg("--bundle").arg(self.bundle(tool, payload)).arg(id(tool));
            return command;
        }
        let mut command = self.quiet(&tool.path);
        command.arg(self.cgroup(tool)).arg(self.rootfs()).args(payload.args());
        command
    }

    /// The command line that runs /bin/true in the container that runs.
    pub fn exec(&self, tool: &Tool) -> Command {
        let mut command = self.runtime(tool, "exec");
        command.arg(id(tool)).args(Payload::True.args());
        command
    }

    /// The command line that creates a container with a payload.
    pub fn create(&self, tool: &Tool, payload: Payload) -> Command {
        let mut command = self.runtime(tool, "create");
        command.arg("--bundle").arg(self.bundle(tool, payload)).arg(id(tool));
        command
    }

    /// A command of a runtime, up to the name of the command.
    pub fn runtime(&self, tool: &Tool, name: &str) -> Command {
        let mut command = self.quiet(&tool.path);
        command.arg("--root").arg(self.dir.join(&tool.name).join("state")).arg(name);
        command
    }

    /// A command with stdin and stdout on /dev/null. Errors go to a file, which costs nothing while
    /// there are none.
    pub fn quiet(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let null = || self.null.try_clone().map_or_else(|_| Stdio::null(), Stdio::from);
        let errors =
            File::options().create(true).append(true).open(&self.errors).map_or_else(|_| Stdio::inherit(), Stdio::from);
        let mut command = Command::new(program);
        command.stdin(null()).stdout(null()).stderr(errors);
        command
    }

    /// An error once a signal asked for the end, which comes between two commands.
    pub fn go_on(&self) -> Result<(), String> {
        if self.interrupted.load(Ordering::Relaxed) { Err("interrupted".to_owned()) } else { Ok(()) }
    }

    /// What commands wrote to stderr so far.
    pub fn errors(&self) -> String {
        fs::read_to_string(&self.errors).unwrap_or_default()
    }

    /// An error if a tool has left its cgroup.
    pub fn check_nothing_left(&self) -> Result<(), String> {
        for tool in &self.tools {
            let cgroup = self.cgroup(tool);
            if cgroup.exists() {
                return Err(format!("{} left its cgroup {}", tool.name, cgroup.display()));
            }
        }
        Ok(())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let told = |what: &str, result: Result<(), String>| {
            if let Err(why) = result {
                eprintln!("bench: {what}: {why}");
            }
        };
        for tool in &self.tools {
            told("removing a cgroup", cgroup2::kill_and_remove(&self.cgroup(tool)).map_err(|e| e.to_string()));
        }
        told("umount", rustix::mount::unmount(&self.dir, UnmountFlags::DETACH).map_err(|e| e.to_string()));
        told("rmdir", fs::remove_dir(&self.dir).map_err(|e| e.to_string()));
    }
}

/// A tool's container, and its cgroup's name.
pub fn id(tool: &Tool) -> String {
    format!("no-frills-bench-{}-{}", std::process::id(), tool.name)
}

fn absolute(path: &Path) -> Result<PathBuf, String> {
    path.canonicalize().map_err(|e| format!("{}: {e}", path.display()))
}

fn version(path: &Path) -> Result<String, String> {
    let output = Command::new(path).arg("--version").output().map_err(|e| format!("{}: {e}", path.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(format!("{} --version: {}", path.display(), output.status));
    }
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
