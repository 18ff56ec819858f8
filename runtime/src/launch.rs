//! Creating a container: from a bundle to a process that is ready, or runs.
//!
//! ```text
//! compile (pure) -> find what it needs on the host -> claim the name, journal -> cgroup -> clone3 -> id maps
//!   -> plan to init -> journal the process -> Ready -> created        (create)
//!                                          -> Start -> the program runs   (run)
//! ```
//!
//! Up to the claim nothing has been made, so errors in the configuration leave nothing. From there on everything that is
//! made is in [`Launch`], whose `undo` takes it back in the reverse order; after a kill, `delete --force` does
//! the same from the journal.

use std::ffi::CString;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::{CLONE_NEWPID, O_NOFOLLOW};
use no_frills_cgroups::{Cgroup, CgroupsPath, Hierarchy};
use no_frills_plan::{Kind, MESSAGE_MAX, Message, Step, call};
use no_frills_sys::pidfd::{self, Exit};
use no_frills_sys::spawn::{Child, Failure, Spawn, spawn};
use no_frills_sys::{limits, mount, socket};

use crate::bundle::Bundle;
use crate::compile::{Pointer, Program, SOURCE_BATCH, Source};
use crate::config::CAPABILITIES;
use crate::container::CreateOptions;
use crate::error::{Error, Explained, Pointed, Result};
use crate::state::{Directory, Journal, Process, ProcessStat, Record, UnlockedJournal, VERSION, remove_file};
use crate::{console, start, time};

/// How long the removal of a cgroup waits for the processes in it to be gone, after they were killed. Only a process that
/// the kernel itself holds up, on a dead disk for instance, takes longer.
pub(crate) const CGROUP_DEADLINE: Duration = Duration::from_secs(10);
/// How much of a long plan goes in one datagram; init gathers the pieces.
const PLAN_PIECE: usize = 32 * 1024;

/// What is to become of the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// It waits for `start`.
    Created,
    /// Its program runs.
    Running,
}

/// A container that was launched.
pub(crate) struct Launched {
    pub(crate) record: Record,
    pub(crate) pidfd: OwnedFd,
    pub(crate) warnings: Vec<String>,
    pub(crate) console: Option<OwnedFd>,
    pub(crate) made_here: MadeHere,
}

/// What the process that made a container keeps of it, and others find on disk.
#[derive(Debug)]
pub(crate) struct MadeHere {
    pub(crate) journal: UnlockedJournal,
    pub(crate) cgroup: Cgroup,
    pub(crate) start_socket: bool,
}

/// Creates a container.
pub(crate) fn launch<'i>(
    directory: &Directory,
    init: impl FnOnce() -> Result<BorrowedFd<'i>>,
    bundle: &Bundle,
    mut options: CreateOptions,
    goal: Goal,
) -> Result<Launched> {
    let config = bundle.config();
    let program = bundle.plan(directory.id(), &options)?;
    let console_socket = console::connect(options.console_socket.as_deref(), program.terminal)?;
    let mut sources = open_batch(first_batch(&program))?;
    let hierarchy = Hierarchy::find().map_err(Error::cgroup)?;
    let CgroupsPath::Fs(relative) = &program.cgroup else {
        return Err(Error::Option(
            "/linux/cgroupsPath: the systemd driver is not supported yet by this version".to_owned(),
        ));
    };
    let cgroup = Cgroup::new(&hierarchy, relative).map_err(Error::cgroup)?;

    let record = Record {
        version: VERSION,
        oci_version: config.oci_version().to_owned(),
        bundle: bundle.directory().to_owned(),
        rootfs: program.rootfs().to_owned(),
        created: time::rfc3339(time::now().map_err(Error::system("reading the clock"))?),
        annotations: config.annotations().iter().cloned().collect(),
        owner_uid: nix::unistd::getuid().as_raw(),
        cgroup: cgroup.relative().to_owned(),
        cgroup_parents: cgroup.parents(),
        pid_file: options.pid_file.take(),
        program: config.args().first().cloned().unwrap_or_default(),
        own_pids: program.clone_flags & CLONE_NEWPID as u64 != 0,
        process: None,
    };
    let mut launch = Launch {
        directory,
        journal: directory.claim()?,
        record,
        program: &program,
        cgroup: None,
        child: None,
        pid_file_written: false,
        warnings: config.warnings().to_vec(),
        console: None,
        ready: false,
    };
    let steps = |launch: &mut Launch<'_>| -> Result<()> {
        // Before the record, or whoever clears up after it would kill what is not ours.
        cgroup.claim()?;
        launch.journal.write(&launch.record)?;
        let cgroup_dir = launch.make_cgroup(cgroup)?;
        let listener = match goal {
            Goal::Created => Some(start::listen(directory)?),
            Goal::Running => None,
        };
        let (parent, child) = socket::pair().map_err(Error::system("making a socket pair"))?;
        // Sent before there is an init, it need not wait for it.
        let early = launch.program.id_maps.is_none() && launch.program.steps.bytes().len() <= PLAN_PIECE;
        if early {
            launch.send_plan(&parent, &mut sources)?;
        }
        launch.spawn(init()?, &options, cgroup_dir.as_fd(), child.as_fd())?;
        drop(child);
        launch.prepare_child()?;
        if !early {
            launch.send_plan(&parent, &mut sources)?;
        }
        launch.send_further_sources(&parent)?;
        // While init is at work: it needs no device but those that every container may use, and the
        // container's program does not run yet.
        launch.set_devices(&cgroup_dir)?;
        let ignored = launch.note_process()?;
        match goal {
            Goal::Running => {
                launch.write_pid_file()?;
                launch.journal.write(&launch.record)?;
                launch.tell(&parent, &Message { detail: ignored, ..Message::new(Kind::Start) }, &[])?;
                launch.follow(&parent, Kind::Start)?;
            }
            Goal::Created => {
                launch.follow(&parent, Kind::Ready)?;
                launch.write_pid_file()?;
                launch.journal.write(&launch.record)?;
                let attached: Vec<RawFd> = listener.iter().map(AsRawFd::as_raw_fd).collect();
                launch.tell(&parent, &Message { detail: ignored, ..Message::new(Kind::Created) }, &attached)?;
                // Whoever is told that it is created can start it.
                launch.follow(&parent, Kind::Created)?;
            }
        }
        if let (Some(socket), Some(console)) = (console_socket, &launch.console) {
            console::send(&socket, console)?;
            launch.console = None;
        }
        launch.release_pid_file()?;
        launch.journal.unlock()
    };
    match steps(&mut launch) {
        Ok(()) => launch.finish(goal),
        Err(error) => Err(error.and_cleanup(launch.undo())),
    }
}

/// A container in the making.
struct Launch<'a> {
    directory: &'a Directory,
    journal: Journal,
    record: Record,
    program: &'a Program,
    cgroup: Option<Cgroup>,
    child: Option<Child>,
    pid_file_written: bool,
    warnings: Vec<String>,
    console: Option<OwnedFd>,
    ready: bool,
}

impl Launch<'_> {
    fn make_cgroup(&mut self, cgroup: Cgroup) -> Result<no_frills_cgroups::Dir> {
        let mut cgroup = cgroup;
        let Launch { journal, record, .. } = self;
        let dir = cgroup.create(|cgroup| -> Result<()> {
            record.cgroup_parents = cgroup.parents();
            journal.write(record)
        })?;
        self.cgroup = Some(cgroup);
        Ok(dir)
    }

    fn set_devices(&self, dir: &no_frills_cgroups::Dir) -> Result<()> {
        dir.set_devices(&self.program.device_program)
            .map_err(|source| Error::Cgroup { pointer: "/linux/resources/devices", source })
    }

    /// Starts init with its end of the socket.
    fn spawn(
        &mut self,
        init: BorrowedFd<'_>,
        options: &CreateOptions,
        cgroup: BorrowedFd<'_>,
        child: BorrowedFd<'_>,
    ) -> Result<()> {
        let mut descriptors = Vec::with_capacity(4 + options.preserved_fds.len());
        for (fd, number) in [(&options.stdin, 0), (&options.stdout, 1), (&options.stderr, 2)] {
            if let Some(fd) = fd {
                descriptors.push((fd.as_fd(), number));
            }
        }
        // The command's own 3, 4, ... are inherited as they are; the library's are moved there.
        let mut next = 3 + options.preserve_fds as RawFd;
        for fd in &options.preserved_fds {
            descriptors.push((fd.as_fd(), next));
            next += 1;
        }
        descriptors.push((child, next));
        let number = CString::new(next.to_string()).unwrap_or_default();
        let spawned = spawn(&Spawn {
            program: init,
            arguments: &[c"init", &number],
            namespaces: self.program.clone_flags,
            keep_capabilities: self.program.id_maps.is_some(),
            cgroup: Some(cgroup),
            descriptors: &descriptors,
        });
        self.child = Some(spawned.map_err(|failure| self.explain_spawn(failure))?);
        Ok(())
    }

    fn explain_spawn(&self, Failure { call, errno }: Failure) -> Error {
        match (&self.cgroup, errno) {
            // What the rules of cgroup v2 answer; what the namespaces answer is another errno.
            (Some(cgroup), Errno::EBUSY | Errno::EOPNOTSUPP | Errno::EAGAIN) if call == "clone3" => {
                Error::cgroup(cgroup.entering(errno))
            }
            _ => Error::System {
                pointer: if call == "clone3" { Pointer::NAMESPACES.to_string() } else { String::new() },
                action: format!("starting a process in new namespaces: {call}"),
                errno,
            },
        }
    }

    fn pid(&self) -> i32 {
        self.child.as_ref().map_or(0, |child| child.pid)
    }

    /// What only the parent may do to the child, by its files in the host's procfs.
    fn prepare_child(&mut self) -> Result<()> {
        let pid = self.pid();
        if let Some(maps) = &self.program.id_maps {
            write_proc(pid, "uid_map", maps.uid.as_bytes(), Pointer::UID_MAPPINGS)?;
            write_proc(pid, "gid_map", maps.gid.as_bytes(), Pointer::GID_MAPPINGS)?;
        }
        if let Some(adjustment) = self.program.oom_score_adj {
            write_proc(pid, "oom_score_adj", adjustment.to_string().as_bytes(), Pointer::OOM_SCORE_ADJ)?;
        }
        for (index, (resource, _, hard)) in self.program.rlimits.iter().enumerate() {
            limits::raise_hard(pid, *resource, *hard).map_err(|errno| Error::System {
                pointer: format!("{}/{index}", Pointer::RLIMITS),
                action: format!("raising the hard limit of resource {resource} to {hard}: prlimit64"),
                errno,
            })?;
        }
        Ok(())
    }

    /// Sends the plan and the first sources, which are closed then.
    fn send_plan(&mut self, parent: &OwnedFd, sources: &mut Vec<OwnedFd>) -> Result<()> {
        let program = self.program;
        let plan = program.steps.bytes();
        let setup = Message { detail: plan.len() as u64, ..Message::new(Kind::Setup) };
        let mut head = [0; MESSAGE_MAX];
        let length = setup.encode(&mut head);
        let head = head.get(..length).unwrap_or(&head);
        let mut attached: Vec<RawFd> = sources.iter().map(AsRawFd::as_raw_fd).collect();
        for piece in plan.chunks(PLAN_PIECE) {
            match socket::send(parent, &[head, piece], &attached) {
                Err(Errno::EPIPE | Errno::ECONNRESET | Errno::ECONNREFUSED) => {
                    return self.follow(parent, Kind::Failed);
                }
                result => result.map_err(Error::system("sending the plan to init"))?,
            }
            attached.clear();
        }
        sources.clear();
        Ok(())
    }

    fn send_further_sources(&mut self, parent: &OwnedFd) -> Result<()> {
        let program = self.program;
        for batch in program.sources.chunks(SOURCE_BATCH).skip(1) {
            let sources = open_batch(batch)?;
            let attached: Vec<RawFd> = sources.iter().map(AsRawFd::as_raw_fd).collect();
            self.tell(parent, &Message::new(Kind::Sources), &attached)?;
        }
        Ok(())
    }

    /// Sends a message to init.
    fn tell(&mut self, parent: &OwnedFd, message: &Message<'_>, attached: &[RawFd]) -> Result<()> {
        match socket_send(parent, message, attached) {
            // It is gone, and its last words say why.
            Err(Error::System { errno: Errno::EPIPE | Errno::ECONNRESET | Errno::ECONNREFUSED, .. }) => {
                self.follow(parent, Kind::Failed)
            }
            result => result,
        }
    }

    /// Notes the process in the record, and returns which signals it ignores.
    fn note_process(&mut self) -> Result<u64> {
        let pid = self.pid();
        let Some(stat) = ProcessStat::read(pid)? else {
            return Err(self.init_ended());
        };
        self.record.process = Some(Process { pid, start_time: stat.start_time });
        Ok(u64::from(stat.ignored_signals))
    }

    /// Reads what init says until it is ready ([`Kind::Ready`]); with [`Kind::Start`] and [`Kind::Created`], until it has
    /// heard that and closed its end of the socket, by execve and before it waits; with [`Kind::Failed`], until it has said what it died of.
    fn follow(&mut self, parent: &OwnedFd, until: Kind) -> Result<()> {
        let mut buffer = [0; MESSAGE_MAX];
        let mut unread = false;
        loop {
            let received = socket::receive(parent, &mut buffer).map_err(Error::system("receiving from init"))?;
            unread |= received.unread;
            if received.length == 0 {
                // On purpose; or it was killed. Whoever was ready and has heard Start has executed its program, or was
                // killed while it did, which is the same as killed right after.
                let heard = matches!(until, Kind::Start | Kind::Created) && self.ready && !unread;
                return if heard { Ok(()) } else { Err(self.init_ended()) };
            }
            let message = buffer.get(..received.length).and_then(Message::decode);
            let Some(message) = message else {
                return Err(Error::InitEnded("it said something that is no message".to_owned()));
            };
            match message.kind {
                Kind::Ready => {
                    self.ready = true;
                    if until == Kind::Ready {
                        return Ok(());
                    }
                }
                Kind::Failed => return Err(step_failed(self.program, &self.record.program, &message)),
                Kind::Warning => self.warnings.push(warning(self.program, &message)),
                Kind::Console => self.console = received.attached,
                _ => return Err(Error::InitEnded("it said what only the parent says".to_owned())),
            }
        }
    }

    fn init_ended(&self) -> Error {
        let how = self.child.as_ref().map(|child| pidfd::wait(&child.pidfd, child.pid));
        Error::InitEnded(match how {
            Some(Ok(Exit::Signal(signal))) => format!("killed by signal {signal}"),
            Some(Ok(Exit::Code(status))) => format!("exit status {status}"),
            Some(Err(errno)) => format!("how cannot be told: {}", Explained(errno)),
            None => "it was never started".to_owned(),
        })
    }

    fn write_pid_file(&mut self) -> Result<()> {
        let Some(path) = &self.record.pid_file else { return Ok(()) };
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o644).custom_flags(O_NOFOLLOW);
        let mut file = options.open(path).map_err(Error::at("creating the pid file", path))?;
        self.pid_file_written = true;
        // Engines parse it without trimming: no newline.
        write!(file, "{}", self.pid()).map_err(Error::at("writing the pid file", path))
    }

    /// From here on the pid file is the caller's, and stays when the container is deleted.
    fn release_pid_file(&mut self) -> Result<()> {
        let Some(path) = self.record.pid_file.take() else { return Ok(()) };
        let written = self.journal.write(&self.record);
        // For `undo`, which may still follow.
        self.record.pid_file = Some(path);
        written
    }

    /// Takes back what was made; all of it is tried, the first failure is told.
    fn undo(mut self) -> Result<()> {
        let mut outcome = Ok(());
        let mut note = |result: Result<()>| {
            if outcome.is_ok() {
                outcome = result;
            }
        };
        if let Some(child) = self.child.take() {
            note(kill_and_reap(&child));
        }
        if let Some(cgroup) = self.cgroup.take() {
            // Without a pid namespace of its own, children of init may have outlived it.
            note(cgroup.kill().map_err(Error::cgroup));
            note(cgroup.remove(Some(CGROUP_DEADLINE)).map_err(Error::cgroup));
        }
        if let (true, Some(path)) = (self.pid_file_written, &self.record.pid_file) {
            note(remove_file(path));
        }
        // The name is given up last, and the journal with it: what could not be removed now, `delete --force` can.
        if outcome.is_ok() { self.directory.remove(true) } else { outcome }
    }

    fn finish(mut self, goal: Goal) -> Result<Launched> {
        self.record.pid_file = None;
        let journal = self.journal.into_unlocked();
        match (self.child, self.cgroup) {
            (Some(child), Some(cgroup)) => Ok(Launched {
                made_here: MadeHere { journal, cgroup, start_socket: goal == Goal::Created },
                record: self.record,
                pidfd: child.pidfd,
                warnings: self.warnings,
                console: self.console,
            }),
            _ => Err(Error::InitEnded("it was never started".to_owned())),
        }
    }
}

/// Kills a child and reaps it; one that is dead already is only reaped.
fn kill_and_reap(child: &Child) -> Result<()> {
    match pidfd::send_signal(&child.pidfd, nix::libc::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(errno) => return Err(Error::system("killing init")(errno)),
    }
    match pidfd::wait(&child.pidfd, child.pid) {
        Ok(_) | Err(Errno::ECHILD) => Ok(()),
        Err(errno) => Err(Error::system("waiting for init")(errno)),
    }
}

fn first_batch(program: &Program) -> &[Source] {
    program.sources.chunks(SOURCE_BATCH).next().unwrap_or(&[])
}

fn open_batch(sources: &[Source]) -> Result<Vec<OwnedFd>> {
    sources.iter().map(open_source).collect()
}

fn open_source(source: &Source) -> Result<OwnedFd> {
    let failed = |errno| Error::System {
        pointer: source.pointer.to_string(),
        action: match errno {
            // The kernel's word for it would not tell a user what to do.
            Errno::EPERM => format!(
                "cloning the mount at {} needs CAP_SYS_ADMIN (rootless containers are not supported yet): open_tree",
                source.path.display()
            ),
            _ => format!("cloning the mount at {}: open_tree", source.path.display()),
        },
        errno,
    };
    let path = CString::new(source.path.as_os_str().as_bytes()).map_err(|_| failed(Errno::EINVAL))?;
    mount::clone_tree(&path, source.recursive).map_err(failed)
}

/// Writes a file of a process in the host's procfs, in one write as the kernel wants it.
fn write_proc(pid: i32, name: &str, text: &[u8], pointer: Pointer) -> Result<()> {
    let path = format!("/proc/{pid}/{name}");
    let failed = |error: std::io::Error| Error::System {
        pointer: pointer.to_string(),
        action: format!("writing {:?} to {path}", String::from_utf8_lossy(text)),
        errno: Errno::from_raw(error.raw_os_error().unwrap_or(Errno::EIO as i32)),
    };
    let mut file = OpenOptions::new().write(true).open(&path).map_err(failed)?;
    match file.write(text) {
        Ok(written) if written == text.len() => Ok(()),
        Ok(_) => Err(failed(Errno::EINVAL.into())),
        Err(error) => Err(failed(error)),
    }
}

pub(crate) fn socket_send(socket: &OwnedFd, message: &Message<'_>, attached: &[RawFd]) -> Result<()> {
    let mut buffer = [0; MESSAGE_MAX];
    let length = message.encode(&mut buffer);
    let bytes = buffer.get(..length).unwrap_or(&buffer);
    socket::send(socket, &[bytes], attached).map_err(Error::system("sending to init"))
}

/// The error of a step that failed, with the setting it came from.
fn step_failed(program: &Program, name: &str, message: &Message<'_>) -> Error {
    let errno = Errno::from_raw(message.errno);
    let steps = no_frills_plan::Plan::decode(program.steps.bytes());
    let step = steps.ok().and_then(|plan| plan.steps().nth(message.step as usize)?.ok());
    match step {
        Some(Step::FindProgram { .. } | Step::Execute { .. }) if message.call != call::MMAP => {
            program_failed(name, errno)
        }
        _ => Error::Step {
            pointer: program.pointer(message.step).to_string(),
            action: program.action(message.step),
            call: call::name(message.call),
            errno,
            said: String::from_utf8_lossy(message.text).trim().to_owned(),
        },
    }
}

/// Why a program cannot be executed, in the words that engines look for (Go's `exec.LookPath`).
pub(crate) fn program_failed(name: &str, errno: Errno) -> Error {
    let reason = match errno {
        Errno::ENOENT if !name.contains('/') => "executable file not found in $PATH".to_owned(),
        Errno::ENOENT => format!("stat {name}: no such file or directory"),
        Errno::EACCES | Errno::EPERM if !name.contains('/') => {
            "executable file not found in $PATH: permission denied".to_owned()
        }
        Errno::EACCES | Errno::EPERM => "permission denied".to_owned(),
        Errno::EISDIR => "is a directory".to_owned(),
        Errno::ENOTDIR => "not a directory".to_owned(),
        Errno::ENOEXEC => "exec format error".to_owned(),
        errno => errno.desc().to_lowercase(),
    };
    Error::Program { program: name.to_owned(), reason }
}

fn capability_name(number: usize) -> String {
    match CAPABILITIES.get(number) {
        Some(name) => format!("CAP_{name}"),
        None => format!("capability {number}"),
    }
}

fn warning(program: &Program, message: &Message<'_>) -> String {
    let pointer = program.pointer(message.step).to_string();
    let what = format!("{}{}", Pointed(&pointer), program.action(message.step));
    if message.errno != 0 {
        let errno = Explained(Errno::from_raw(message.errno));
        return format!("{what}: {}: {errno}", call::name(message.call));
    }
    let missing = (0..64).filter(|bit| message.detail & (1 << bit) != 0);
    let names: Vec<String> = missing.map(capability_name).collect();
    format!("{what}: this host cannot grant {}", names.join(", "))
}
