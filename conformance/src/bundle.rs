//! What a case works with: the runtime under test, bundles, and what commands printed.

mod commands;
mod output;
mod wait;

use std::cell::{Cell, RefCell};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use no_frills_conformance::DEFAULT_SPEC;
use rustix::process::Pid;
use serde_json::{Value, json};

use crate::expect::{Verdict, some};
use crate::kind::Kind;
use crate::rootfs;

use output::words;
pub(crate) use output::{Output, code};
pub(crate) use wait::{Lines, PATIENCE, be_patient, becomes, ended, eventually, patience, readable};

/// One case's world: a runtime with a state root, a working directory and a cgroup of its own.
pub(crate) struct Test {
    /// Which runtime this is.
    pub(crate) kind: Kind,
    /// The runtime's path.
    pub(crate) runtime: PathBuf,
    /// Arguments before every command.
    pub(crate) runtime_args: Vec<OsString>,
    /// System calls that are kept from it, separated by commas.
    pub(crate) without: String,
    /// A directory for this case alone.
    pub(crate) work: PathBuf,
    /// This case's cgroup, as a path in the hierarchy.
    pub(crate) cgroup: String,
    /// Where the hierarchy is mounted.
    pub(crate) cgroup_mount: PathBuf,
    counter: Cell<u32>,
    ids: RefCell<Vec<String>>,
}

impl Test {
    pub(crate) fn new(
        kind: Kind,
        runtime: PathBuf,
        runtime_args: Vec<OsString>,
        without: String,
        work: PathBuf,
        cgroup: String,
        cgroup_mount: PathBuf,
    ) -> Self {
        let (counter, ids) = (Cell::new(0), RefCell::default());
        Self { kind, runtime, runtime_args, without, work, cgroup, cgroup_mount, counter, ids }
    }

    /// Whether the runtime under test is ours, whose messages are checked exactly.
    pub(crate) fn ours(&self) -> bool {
        self.kind == Kind::NoFrills
    }

    /// The state root that every command is given.
    pub(crate) fn state_root(&self) -> PathBuf {
        self.work.join("s")
    }

    /// The case's cgroup as a directory.
    pub(crate) fn cgroup_dir(&self) -> PathBuf {
        self.cgroup_mount.join(self.cgroup.trim_start_matches('/'))
    }

    /// A name that is unique on the machine: the case's, and this.
    pub(crate) fn name(&self, what: &str) -> String {
        format!("{}-{what}", self.cgroup.trim_start_matches('/').replace('/', "-"))
    }

    /// A path in the case's working directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.work.join(name)
    }

    /// A bundle with the default spec (without a terminal) and a root file system.
    pub(crate) fn bundle(&self) -> Verdict<Bundle<'_>> {
        let config: Value = serde_json::from_str(DEFAULT_SPEC)?;
        self.bundle_of(config)
    }

    /// A bundle with this config, a root file system, and a cgroup and an id of its own.
    pub(crate) fn bundle_of(&self, config: Value) -> Verdict<Bundle<'_>> {
        let number = self.number();
        // In case that a runtime names a cgroup at the root by it.
        let id = self.name(&number.to_string());
        let dir = self.work.join(format!("b{number}"));
        fs::create_dir(&dir)?;
        rootfs::make(&dir.join("rootfs"), &self.work.join("../busybox"))?;
        self.ids.borrow_mut().push(id.clone());
        let cgroups_path = format!("{}/{id}", self.cgroup);
        let bundle = Bundle { test: self, dir, id, config };
        Ok(bundle.set("/process/terminal", json!(false)).set("/linux/cgroupsPath", json!(cgroups_path)))
    }

    /// The runtime's command line up to and with these arguments.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        self.command_without(&self.without, args)
    }

    /// As [`command`](Test::command), as if the kernel lacked these system calls, separated by commas.
    pub(crate) fn command_without<S: AsRef<OsStr>>(&self, calls: &str, args: &[S]) -> Command {
        let mut command = if calls.is_empty() {
            Command::new(&self.runtime)
        } else {
            // Beside the suite's own program (`cargo build -p no-frills-conformance` makes both).
            let own = std::env::current_exe().unwrap_or_default();
            let mut command = Command::new(own.with_file_name("without"));
            command.arg(calls).arg(&self.runtime);
            command
        };
        command.args(&self.runtime_args).arg("--root").arg(self.state_root()).args(args);
        bare(&mut command);
        command
    }

    /// Runs the runtime with these arguments and nothing on stdin.
    pub(crate) fn runtime<S: AsRef<OsStr>>(&self, args: &[S]) -> Verdict<Output> {
        self.output_of(self.command(args))
    }

    /// Runs a command. What it prints goes to files, not pipes: a container that outlives the command
    /// holds them open.
    pub(crate) fn output_of(&self, command: Command) -> Verdict<Output> {
        self.output_by(command, |child| Ok(child.wait()?))
    }

    /// The same with another way to wait for the command.
    pub(crate) fn output_by(
        &self,
        mut command: Command,
        wait: impl FnOnce(&mut Child) -> Verdict<ExitStatus>,
    ) -> Verdict<Output> {
        let number = self.number();
        let (out, err) = (self.path(&format!("{number}.out")), self.path(&format!("{number}.err")));
        let appending = |path: &Path| File::options().create(true).append(true).open(path);
        command.stdin(Stdio::null()).stdout(appending(&out)?).stderr(appending(&err)?);
        let status = wait(&mut command.spawn()?)?;
        Ok(Output { what: words(&command), status: code(status), out, err })
    }

    /// `state ID`, parsed.
    pub(crate) fn state(&self, id: &str) -> Verdict<Value> {
        Ok(serde_json::from_str(&self.runtime(&["state", id])?.exits(0)?.stdout()?)?)
    }

    /// The ids that bundles of this case have had, and this one from now on too.
    pub(crate) fn clean_up_also(&self, id: &str) {
        self.ids.borrow_mut().push(id.to_owned());
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.ids.borrow().clone()
    }

    fn number(&self) -> u32 {
        self.counter.set(self.counter.get() + 1);
        self.counter.get()
    }
}

/// An environment that says nothing of whoever runs the suite.
pub(crate) fn bare(command: &mut Command) {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into());
    command.env_clear().env("PATH", path);
}

/// A bundle on disk with a config that is still being written.
pub(crate) struct Bundle<'t> {
    pub(crate) test: &'t Test,
    pub(crate) dir: PathBuf,
    pub(crate) id: String,
    pub(crate) config: Value,
}

/// How the config is changed. Each takes the bundle and gives it back.
impl Bundle<'_> {
    /// Sets what the JSON pointer names, with the objects on the way to it.
    pub(crate) fn set(mut self, pointer: &str, value: Value) -> Self {
        let mut place = &mut self.config;
        for key in pointer.split('/').skip(1) {
            place = match place {
                // An index past the end is a mistake in a case and shows as null in its config.
                Value::Array(items) => match key.parse::<usize>().ok().and_then(|at| items.get_mut(at)) {
                    Some(item) => item,
                    None => return self,
                },
                other => &mut other[key],
            };
        }
        *place = value;
        self
    }

    /// Removes the property that the JSON pointer names.
    pub(crate) fn remove(mut self, pointer: &str) -> Self {
        if let Some((parent, key)) = pointer.rsplit_once('/')
            && let Some(Value::Object(parent)) = self.config.pointer_mut(parent)
        {
            parent.remove(key);
        }
        self
    }

    /// Appends to the array that the JSON pointer names, made if need be.
    pub(crate) fn push(mut self, pointer: &str, value: Value) -> Self {
        match self.config.pointer_mut(pointer) {
            Some(Value::Array(array)) => array.push(value),
            _ => return self.set(pointer, json!([value])),
        }
        self
    }

    /// The process's arguments.
    pub(crate) fn args(self, args: &[&str]) -> Self {
        self.set("/process/args", json!(args))
    }

    /// The process is a shell with this script.
    pub(crate) fn sh(self, script: &str) -> Self {
        self.args(&["sh", "-c", script])
    }

    /// A process that does nothing until it is killed.
    pub(crate) fn idle(self) -> Self {
        self.args(&["sleep", "1000"])
    }

    /// One more mount.
    pub(crate) fn mount(self, destination: &str, kind: &str, source: impl AsRef<Path>, options: &[&str]) -> Self {
        let mount = json!({"destination": destination, "type": kind, "source": source.as_ref(), "options": options});
        self.push("/mounts", mount)
    }

    /// One more bind mount.
    pub(crate) fn bind(self, source: impl AsRef<Path>, destination: &str, options: &[&str]) -> Self {
        self.mount(destination, "bind", source, options)
    }

    /// The index of the mount with this destination.
    pub(crate) fn mount_index(&self, destination: &str) -> Option<usize> {
        self.config["mounts"].as_array()?.iter().position(|mount| mount["destination"] == destination)
    }

    /// Without the mount at this destination.
    pub(crate) fn no_mount(mut self, destination: &str) -> Self {
        if let Some(Value::Array(mounts)) = self.config.pointer_mut("/mounts") {
            mounts.retain(|mount| mount["destination"] != destination);
        }
        self
    }

    /// Without a namespace of this type.
    pub(crate) fn no_namespace(mut self, kind: &str) -> Self {
        if let Some(Value::Array(namespaces)) = self.config.pointer_mut("/linux/namespaces") {
            namespaces.retain(|namespace| namespace["type"] != kind);
        }
        self
    }

    /// The root file system can be written to.
    pub(crate) fn writable(self) -> Self {
        self.set("/root/readonly", json!(false))
    }

    /// All five capability sets.
    pub(crate) fn capabilities(self, names: &[&str]) -> Self {
        let sets = ["bounding", "effective", "permitted", "inheritable", "ambient"];
        sets.iter().fold(self, |bundle, set| bundle.set(&format!("/process/capabilities/{set}"), json!(names)))
    }

    /// A user namespace that maps `size` ids from 0 to those from `host`.
    pub(crate) fn user_namespace(self, host: u32, size: u32) -> Self {
        let map = json!([{"containerID": 0, "hostID": host, "size": size}]);
        self.push("/linux/namespaces", json!({"type": "user"}))
            .set("/linux/uidMappings", map.clone())
            .set("/linux/gidMappings", map)
    }
}

/// What is on disk.
impl Bundle<'_> {
    /// The bundle's root file system, or a path in it.
    pub(crate) fn rootfs(&self, path: &str) -> PathBuf {
        self.dir.join("rootfs").join(path.trim_start_matches('/'))
    }

    /// With this file in the root file system.
    pub(crate) fn with_file(self, path: &str, content: &str, mode: u32) -> Verdict<Self> {
        let file = self.rootfs(path);
        fs::write(&file, content)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(mode))?;
        Ok(self)
    }

    /// With this directory in the root file system.
    pub(crate) fn with_dir(self, path: &str) -> Verdict<Self> {
        fs::create_dir_all(self.rootfs(path))?;
        Ok(self)
    }

    /// With this link in the root file system, in place of what is there (a file or an empty directory).
    pub(crate) fn with_link(self, path: &str, target: impl AsRef<Path>) -> Verdict<Self> {
        let link = self.rootfs(path);
        if link.is_dir() && !link.is_symlink() {
            fs::remove_dir(&link)?;
        }
        symlink(target, link)?;
        Ok(self)
    }

    /// Writes config.json.
    pub(crate) fn save(&self) -> Verdict {
        Ok(fs::write(self.dir.join("config.json"), serde_json::to_vec_pretty(&self.config)?)?)
    }

    /// Where `create` and `run` are told to write the pid.
    pub(crate) fn pid_file(&self) -> PathBuf {
        self.dir.join("pid")
    }

    /// The pid in the pid file.
    pub(crate) fn pid(&self) -> Verdict<Pid> {
        let pid = fs::read_to_string(self.pid_file())?.parse()?;
        some("a pid above 0 in the pid file", Pid::from_raw(pid))
    }

    /// The container's cgroup as a directory.
    pub(crate) fn cgroup_dir(&self) -> PathBuf {
        let path = self.config["linux"]["cgroupsPath"].as_str().unwrap_or_default();
        self.test.cgroup_mount.join(path.trim_start_matches('/'))
    }
}
