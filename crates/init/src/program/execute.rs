//! The machine: its registers, and what each step does to them.

use no_frills_plan::{KEPT_MAX, Kind, MESSAGE_TEXT_MAX, Message, Step, Text, Texts, attach, call, change, join};

use crate::filter::Filter;
use crate::home::Home;
use crate::kernel::{
    self, CURRENT, Capabilities, Copied, Failure, Fd, Name, O_CLOEXEC, O_DIRECTORY, O_PATH, O_WRONLY, RESOLVE_BENEATH,
    RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV, Result, S_IFCHR, S_IFDIR, S_IFMT, S_IFREG, errno,
};
use crate::old::{self, Change, Old};
use crate::paths::{self, Missing};
use crate::talk::{self, Sources};

/// Descriptors that are no longer needed but not worth a system call each: execve closes them.
const PENDING_MAX: usize = 64;
/// From this number on they are: the caller's limit may be as low as 64.
const PENDING_FD: i32 = 52;

/// The registers.
pub(crate) struct Machine<'a> {
    /// The socket to the parent, later to who started us.
    pub(crate) parent: Fd,
    /// The number of the step at work.
    pub(crate) step: u32,
    /// What is attached: the detached mounts that the parent sent.
    pub(crate) sources: Sources,
    /// The root beneath which paths are resolved; at first the working directory.
    pub(crate) root: Fd,
    /// The file system that is being configured.
    file_system: Fd,
    /// The mount that is to be attached.
    mount: Fd,
    /// Whether nobody needs its descriptor any more when another takes its place.
    mount_is_spent: bool,
    /// What has to be made for it where its destination is missing, if that is known: its own kind.
    mount_kind: Option<Missing>,
    mount_is_attached: bool,
    pub(crate) old: Old,
    /// Mounts that later steps change or look into.
    kept: [Fd; KEPT_MAX],
    kept_count: usize,
    /// The directory in which nodes are made.
    directory: Fd,
    /// Whether nobody needs its descriptor any more when another takes its place.
    directory_is_spent: bool,
    pub(crate) file_mask: Option<Fd>,
    pub(crate) directory_mask: Option<Fd>,
    program: Option<Text<'a>>,
    /// Whether the working directory is yet to be reached, as the process's user.
    is_kept_out: bool,
    /// The parent's procfs.
    procfs: Fd,
    /// Whether the root is not yet on top of `/`.
    root_is_apart: bool,
    /// Namespaces that could not be joined: `CLONE_NEW*`.
    refused: u32,
    pub(crate) home: Home,
    /// The file of the memory that is shared with the parent when there is a filter.
    pub(crate) handover: Option<Fd>,
    /// Flags and program, as they were received.
    pub(crate) received_filter: Option<(u32, &'static [u8])>,
    pub(crate) filter: Option<Filter>,
    /// More on a failure: a number, and what the kernel's file system said.
    pub(crate) detail: u64,
    text: [u8; MESSAGE_TEXT_MAX],
    text_length: usize,
    pending: [Fd; PENDING_MAX],
    pending_count: usize,
}

impl<'a> Machine<'a> {
    pub(crate) fn new(parent: Fd) -> Machine<'a> {
        const NONE: Fd = Fd(-1);
        Machine {
            parent,
            step: 0,
            sources: Sources::new(),
            root: CURRENT,
            file_system: NONE,
            mount: NONE,
            mount_is_spent: false,
            mount_kind: None,
            mount_is_attached: false,
            old: Old::new(),
            kept: [NONE; KEPT_MAX],
            kept_count: 0,
            directory: NONE,
            directory_is_spent: false,
            file_mask: None,
            directory_mask: None,
            program: None,
            is_kept_out: false,
            procfs: NONE,
            root_is_apart: false,
            refused: 0,
            home: Home::new(),
            handover: None,
            received_filter: None,
            filter: None,
            detail: 0,
            text: [0; MESSAGE_TEXT_MAX],
            text_length: 0,
            pending: [NONE; PENDING_MAX],
            pending_count: 0,
        }
    }

    pub(crate) fn text(&self) -> &[u8] {
        self.text.get(..self.text_length).unwrap_or(&[])
    }

    /// A descriptor that is not used any more. It is closed when many have gathered: a container of the
    /// usual size never gets there, and saves a system call for each.
    pub(crate) fn done(&mut self, fd: Fd) {
        if self.pending_count == PENDING_MAX || fd.0 >= PENDING_FD {
            self.close_pending();
        }
        if let Some(place) = self.pending.get_mut(self.pending_count) {
            *place = fd;
            self.pending_count += 1;
        }
    }

    fn close_pending(&mut self) {
        for fd in self.pending.iter().take(self.pending_count) {
            kernel::close(*fd);
        }
        self.pending_count = 0;
    }

    /// A step of the plan. One arm each, in the order of their codes.
    pub(crate) fn execute(&mut self, step: &Step<'a>) -> Result<()> {
        match *step {
            Step::Unshare { flags } => kernel::unshare(flags),
            Step::BecomeRoot {} => self.become_root(),
            Step::SetHostname { name } => kernel::sethostname(name.bytes()),
            Step::SetDomainname { name } => kernel::setdomainname(name.bytes()),
            Step::LoopbackUp {} => self.loopback_up(),
            Step::CloneTree { source, path, recursive, itself } => {
                let clone = |recursive| kernel::open_tree_at(&path, recursive, itself != 0);
                let tree = match clone(recursive != 0) {
                    Err(Failure { errno: errno::EINVAL, .. }) if recursive == 0 => clone(true)?,
                    other => other?,
                };
                let before = self.sources.replace(source, tree)?;
                self.done(before);
                Ok(())
            }
            Step::SetIds { uid, gid } => self.set_ids(uid, gid),
            Step::SendNetwork { mode } => self.send_network(mode),
            Step::EnterTimeNamespace {} => {
                // In the parent's procfs; its links are the kernel's.
                let time = kernel::openat2(self.procfs, c"self/ns/time_for_children", O_CLOEXEC, 0, 0)?;
                self.done(time);
                kernel::setns(time, kernel::CLONE_NEWTIME)
            }
            Step::SetPropagation { propagation } => old::set_propagation(propagation),
            Step::ReceiveSources {} => {
                self.close_pending();
                talk::receive_sources(self.parent, &mut self.sources)
            }
            Step::AttachRoot { source } => {
                self.root = self.sources.take(source)?;
                kernel::move_mount_to_root(self.root)?;
                kernel::fchdir(self.root)?;
                self.attached(self.root)
            }
            Step::AttachRootAt { source, path } => self.attach_root_at(source, path),
            Step::MoveRoot {} if self.root_is_apart => kernel::move_mount_to_root(self.root),
            Step::MoveRoot {} => Ok(()),
            Step::FsOpen { fstype } => {
                self.file_system = kernel::fsopen(&fstype)?;
                Ok(())
            }
            Step::FsString { key, value } => {
                let result = kernel::fsconfig_string(self.file_system, &key, &value);
                self.explained(result)
            }
            Step::FsFlag { key } => {
                let result = kernel::fsconfig_flag(self.file_system, &key);
                self.explained(result)
            }
            Step::FsMount { attributes } => self.fs_mount(attributes),
            Step::UseSource { source } => {
                let mount = self.sources.get(source)?;
                self.set_mount(mount, None);
                Ok(())
            }
            Step::CheckDevice { kind, device } => self.check_device(kind, device),
            Step::SetMountAttributes { set, clear, propagation, recursive } => {
                self.change_mount(Change { set, clear, propagation, recursive: recursive != 0 })
            }
            Step::Attach { path, flags } => self.attach(path, flags),
            Step::IdMapMount { source } => kernel::id_map(self.mount, self.sources.get(source)?),
            Step::CopyUp { path, owner } => self.copy_up(path, owner != 0),
            Step::FsPick { path } => self.fs_pick(path),
            Step::FsReconfigure {} => {
                let result = kernel::fsconfig_reconfigure(self.file_system);
                self.done(self.file_system);
                self.explained(result)
            }
            Step::SetRootPropagation { propagation, recursive } => {
                self.change_attached(self.root, Change { set: 0, clear: 0, propagation, recursive: recursive != 0 })
            }
            Step::UseRoot { source } => {
                self.root = self.sources.take(source)?;
                kernel::fchdir(self.root)
            }
            Step::MountLegacy { fstype, device, options, flags } => self.mount_legacy(fstype, device, options, flags),
            Step::KeepMount {} => self.keep_mount(),
            Step::UseKept { kept } => {
                let mount = self.kept(kept)?;
                self.set_mount(mount, None);
                self.mount_is_attached = true;
                Ok(())
            }
            Step::ChangeMount { path, set, clear, propagation, recursive } => {
                let mount = paths::open(self.root, &path, O_PATH, 0)?;
                self.done(mount);
                self.change_attached(mount, Change { set, clear, propagation, recursive: recursive != 0 })
            }
            Step::OpenDirectory { path, flags } => {
                let directory = paths::open_directory(self.root, path, resolution(flags))?;
                self.set_directory(directory, true);
                Ok(())
            }
            Step::UseMountAsDirectory {} => {
                self.mount_is_spent = false;
                self.set_directory(self.mount, false);
                Ok(())
            }
            Step::MakeNode { name, mode, device, uid, gid } => self.make_node(name, mode, device, uid, gid),
            Step::MakeSymlink { name, target, replace } => self.make_symlink(name, target, replace != 0),
            Step::Mask { path, within, null } => self.mask(path, within, null),
            Step::MakeReadonly { path, within } => self.make_readonly(path, within),
            Step::MakeRootReadonly {} => self.change_attached(self.root, Change::READONLY),
            Step::PivotRoot {} => {
                kernel::pivot_root_here()?;
                kernel::detach_here()
            }
            Step::HideMount { path, count } => hide_mount(path, count),
            Step::EnterRoot {} => {
                kernel::fchdir(self.root)?;
                kernel::chroot(c".")?;
                kernel::chdir(c"/")
            }
            Step::MakeDirectory { path } => {
                let directory = paths::open_directory(self.root, path, 0)?;
                self.done(directory);
                Ok(())
            }
            Step::OpenTerminal { rows, columns, uid, console } => self.open_terminal(rows, columns, uid, console != 0),
            Step::StartSession { terminal } => {
                kernel::setsid()?;
                if terminal != 0 {
                    kernel::ioctl(Fd(0), kernel::TIOCSCTTY, 0)?;
                }
                Ok(())
            }
            Step::JoinSessionKeyring {} => match kernel::join_new_session_keyring() {
                Err(failure) => self.warn_failure(failure),
                Ok(()) => Ok(()),
            },
            Step::OwnStdio { uid } => self.own_stdio(uid),
            Step::SetUmask { mask } => kernel::umask(mask),
            Step::DropBounding { capability } => self.drop_bounding(capability),
            Step::SetUser { uid, gid, groups } => self.set_user(uid, gid, groups),
            Step::SetCapabilities { effective, permitted, inheritable, kept } => {
                self.set_capabilities(Capabilities { effective, permitted, inheritable }, kept)
            }
            Step::SetAmbient { ambient } => self.set_ambient(ambient),
            Step::SetNoNewPrivileges {} => kernel::prctl(kernel::PR_SET_NO_NEW_PRIVS, 1, 0),
            Step::Time { phase } => {
                let message = Message { step: phase.into(), detail: kernel::time_of_day(), ..Message::new(Kind::Time) };
                talk::send(self.parent, &message, None)
            }
            Step::SetUndumpable {} => kernel::prctl(kernel::PR_SET_DUMPABLE, 0, 0),
            Step::LookUpHome { uid } => self.look_up_home(uid),
            Step::ChangeDirectory { path, flags } => self.change_directory(path, flags),
            Step::FindProgram { candidates } => self.find_program(candidates),
            Step::Ready {} => self.ready(),
            Step::SetRlimit { resource, soft, hard } => kernel::set_rlimit(resource, soft, hard),
            Step::JoinNamespaces { source, kinds, mode } => self.join_namespaces(source, kinds, mode),
            Step::Fork { flags, last } => self.fork(flags, last != 0),
            Step::Sync {} => {
                talk::send(self.parent, &Message::new(Kind::Sync), None)?;
                talk::await_continue(self.parent).map(drop)
            }
            Step::UseProcfs { source } => {
                self.procfs = self.sources.take(source)?;
                Ok(())
            }
            Step::WriteProc { path, content } => self.write_proc(&path, content.bytes()),
            Step::UseCurrentRoot {} => {
                self.root = kernel::openat2(CURRENT, c"/", O_PATH | O_DIRECTORY | O_CLOEXEC, 0, 0)?;
                Ok(())
            }
            Step::SetPersonality { persona } => kernel::personality(persona),
            Step::SetMemoryPolicy { mode, nodes } => kernel::set_memory_policy(mode, nodes.bytes()),
            Step::SetAffinity { cpus, may_fail } => match kernel::set_affinity(cpus.bytes()) {
                Err(failure) if may_fail != 0 => self.warn_failure(failure),
                result => result,
            },
            Step::ResetAffinity {} => self.reset_affinity(),
            Step::SetUnconfined {} => self.set_unconfined(),
            Step::InstallFilter {} => self.prepare_filter(),
            Step::ReceiveFilter {} => {
                self.received_filter = Some(talk::receive_filter(self.parent)?);
                Ok(())
            }
            Step::Execute { arguments, environment } => Err(self.run_program(arguments, environment)),
        }
    }

    /// A user namespace that was joined may have no root: then it goes on as nobody, with the same capabilities.
    fn become_root(&self) -> Result<()> {
        match kernel::setresgid(0).and_then(|()| kernel::setresuid(0)) {
            Err(Failure { errno: errno::EINVAL, .. }) => Ok(()),
            other => other,
        }
    }

    fn attach_root_at(&mut self, source: u32, path: Text<'_>) -> Result<()> {
        self.root = self.sources.take(source)?;
        self.root_is_apart = match kernel::move_mount_to_path(self.root, &path) {
            Err(Failure { errno: errno::EACCES, .. }) => {
                kernel::move_mount_to_root(self.root)?;
                false
            }
            other => other.map(|()| true)?,
        };
        kernel::fchdir(self.root)?;
        self.attached(self.root)
    }

    fn join_namespaces(&mut self, source: u32, kinds: u32, mode: u8) -> Result<()> {
        if mode == join::IF_REFUSED && self.refused & kinds == 0 {
            return Ok(());
        }
        match kernel::setns(self.sources.get(source)?, kinds) {
            Err(Failure { errno: errno::EPERM, .. }) if mode == join::MAY => {
                self.refused |= kinds;
                Ok(())
            }
            other => other,
        }
    }

    fn send_network(&mut self, mode: u8) -> Result<()> {
        let refused = self.refused & kernel::CLONE_NEWNET != 0;
        if mode == join::MAY && refused || mode == join::IF_REFUSED && !refused {
            return Ok(());
        }
        let socket = kernel::netlink_socket()?;
        self.done(socket);
        talk::send(self.parent, &Message::new(Kind::Network), Some(socket))
    }

    /// Leaves no descriptor but the standard streams, those that are passed on, and the parent's socket.
    pub(crate) fn close_all(&mut self) -> Result<()> {
        kernel::close_from(self.parent.0 + 1)?;
        self.forget_pending();
        Ok(())
    }

    /// They have been closed.
    pub(crate) fn forget_pending(&mut self) {
        self.pending_count = 0;
    }

    /// Goes on in a copy; the original tells the parent of it and ends.
    fn fork(&mut self, flags: u32, last: bool) -> Result<()> {
        if last {
            // Only the socket is left: the copy can be seen from within the container.
            self.close_all()?;
        }
        match kernel::fork(flags)? {
            Copied::Original { pid, pidfd } => {
                let message = Message { detail: pid, ..Message::new(Kind::Forked) };
                // A parent that is not told ends the copy.
                talk::send(self.parent, &message, Some(pidfd))?;
                kernel::exit(0)
            }
            // Of the last one, no other message says which signals the caller ignores.
            Copied::Copy => {
                let received = talk::await_continue(self.parent)?;
                self.handover = received.attached;
                crate::default_signals(received.detail)
            }
        }
    }

    fn set_unconfined(&mut self) -> Result<()> {
        match self.write_proc(c"thread-self/attr/apparmor/exec", b"exec unconfined") {
            // It is not built in; or it is not enabled.
            Err(Failure { errno: errno::ENOENT | errno::EINVAL, .. }) => Ok(()),
            other => other,
        }
    }

    fn write_proc<N: Name + ?Sized>(&mut self, path: &N, content: &[u8]) -> Result<()> {
        // A procfs of the parent's own: nothing is mounted in there, and its links are the kernel's.
        let resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
        let file = kernel::openat2(self.procfs, path, O_WRONLY | O_CLOEXEC, 0, resolve)?;
        self.done(file);
        kernel::write(file, content)
    }

    fn loopback_up(&mut self) -> Result<()> {
        /// `struct ifreq` with its flags.
        #[repr(C)]
        struct Request {
            name: [u8; 16],
            flags: u16,
            rest: [u8; 22],
        }
        const IFF_UP: u16 = 1;
        let socket = kernel::inet_socket()?;
        let mut name = [0; 16];
        if let Some(start) = name.get_mut(..2) {
            start.copy_from_slice(b"lo");
        }
        // A new namespace's loopback has no flag but IFF_LOOPBACK, which cannot be cleared: no need to read them.
        let request = Request { name, flags: IFF_UP, rest: [0; 22] };
        self.done(socket);
        kernel::ioctl(socket, kernel::SIOCSIFFLAGS, &raw const request as usize).map(drop)
    }

    /// On a failure, keeps what the file system said of it (fsopen(2): read from the descriptor).
    fn explained(&mut self, result: Result<()>) -> Result<()> {
        if result.is_err() {
            self.text_length = kernel::read(self.file_system, &mut self.text).unwrap_or(0);
        }
        result
    }

    fn fs_mount(&mut self, attributes: u32) -> Result<()> {
        let created = kernel::fsconfig_create(self.file_system);
        self.explained(created)?;
        let mount = kernel::fsmount(self.file_system, u64::from(attributes))?;
        self.done(self.file_system);
        // The root of a new file system is a directory.
        self.set_mount(mount, Some(Missing::Directory));
        self.mount_is_spent = true;
        Ok(())
    }

    /// Begins to change a file system that is mounted.
    fn fs_pick(&mut self, path: Text<'_>) -> Result<()> {
        let shown = if path.bytes().is_empty() {
            self.mount
        } else {
            let shown = paths::open(self.root, &path, O_PATH, 0)?;
            self.done(shown);
            shown
        };
        self.file_system = kernel::fspick(shown)?;
        Ok(())
    }

    /// Mounts in a tmpfs on top of everything, which is gone when this is done: mount(2) knows paths alone, and there
    /// is no other in which nobody could have a part.
    fn mount_legacy(&mut self, fstype: Text<'_>, device: Text<'_>, options: Text<'_>, flags: u64) -> Result<()> {
        let fs = kernel::fsopen(c"tmpfs")?;
        kernel::fsconfig_create(fs)?;
        let place = kernel::fsmount(fs, 0)?;
        self.done(fs);
        self.done(place);
        kernel::move_mount_to_root(place)?;
        kernel::fchdir(place)?;
        kernel::mkdirat(place, c"m", 0o700)?;
        kernel::mount(&device, c"m", &fstype, flags, &options)?;
        let mounted = kernel::mount_at(place, c"m")?;
        let mount = kernel::open_tree(mounted, false)?;
        self.done(mounted);
        kernel::detach_here()?;
        kernel::fchdir(self.root)?;
        self.set_mount(mount, Some(Missing::Directory));
        self.mount_is_spent = true;
        Ok(())
    }

    /// The mount that is to be attached.
    pub(crate) fn mount(&self) -> Fd {
        self.mount
    }

    /// Keeps a text up to its first NUL, to be told with a failure.
    pub(crate) fn say(&mut self, text: &[u8; MESSAGE_TEXT_MAX]) {
        self.text = *text;
        self.text_length = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    }

    fn set_mount(&mut self, mount: Fd, kind: Option<Missing>) {
        if self.mount_is_spent {
            self.done(self.mount);
        }
        self.mount = mount;
        self.mount_kind = kind;
        self.mount_is_spent = false;
        self.mount_is_attached = false;
        self.old.forget();
    }

    fn change_mount(&mut self, change: Change) -> Result<()> {
        match change.make(self.mount) {
            Err(missing @ Failure { errno: errno::ENOSYS, .. }) if !self.mount_is_attached => {
                self.change_when_attached(change, missing)
            }
            Err(Failure { errno: errno::ENOSYS, .. }) => self.change_attached(self.mount, change),
            other => other,
        }
    }

    /// A mount has been attached.
    pub(crate) fn attached(&mut self, mount: Fd) -> Result<()> {
        if mount != self.mount {
            return Ok(());
        }
        self.mount_is_attached = true;
        if self.old.owes() { self.catch_up(mount) } else { Ok(()) }
    }

    fn keep_mount(&mut self) -> Result<()> {
        let Some(place) = self.kept.get_mut(self.kept_count) else {
            return Err(Failure { call: 0, errno: errno::EPROTO });
        };
        *place = self.mount;
        self.kept_count += 1;
        self.mount_is_spent = false;
        self.sources.keep(self.mount);
        Ok(())
    }

    /// A mount that was kept.
    pub(crate) fn kept(&self, number: u8) -> Result<Fd> {
        let kept = self.kept.get(..self.kept_count).and_then(|kept| kept.get(usize::from(number)));
        kept.copied().ok_or(Failure { call: 0, errno: errno::EPROTO })
    }

    fn set_directory(&mut self, directory: Fd, is_spent: bool) {
        if self.directory_is_spent {
            self.done(self.directory);
        }
        self.directory = directory;
        self.directory_is_spent = is_spent;
    }

    fn check_device(&mut self, kind: u32, device: u64) -> Result<()> {
        let there = kernel::stat_fd(self.mount)?;
        if u32::from(there.kind()) != kind || there.device() != device {
            return Err(Failure { call: call::STATX, errno: errno::ENODEV });
        }
        self.mount_kind = Some(Missing::File);
        Ok(())
    }

    fn attach(&mut self, path: Text<'_>, flags: u8) -> Result<()> {
        if flags & attach::IN_DIRECTORY != 0 {
            match self.kind_of_mount()? {
                Missing::Directory => paths::make_directory(self.directory, &path)?,
                Missing::File => paths::make_file(self.directory, &path)?,
            }
            kernel::move_mount_into(self.mount, self.directory, &path)?;
            return self.attached(self.mount);
        }
        let resolve = resolution(flags);
        let mut is_made = false;
        let kind_of_mount = || {
            is_made = true;
            self.kind_of_mount()
        };
        let target = if flags & attach::NO_FOLLOW == 0 {
            paths::open_destination(self.root, path, resolve, kind_of_mount)?
        } else {
            paths::open_destination_itself(self.root, path, resolve, kind_of_mount)?
        };
        self.done(target);
        if flags & attach::NOT_IN_PROC != 0 && kernel::file_system(target)? == PROC_SUPER_MAGIC {
            return Err(Failure { call: call::FSTATFS, errno: errno::EPERM });
        }
        if flags & attach::KEEP_MODE != 0 && !is_made {
            // By its descriptor, before it is attached: what its path names then may be something else.
            let covered = kernel::stat_fd(target)?;
            kernel::fchmodat(self.mount, c".", u32::from(covered.mode) & 0o7777)?;
        }
        kernel::move_mount(self.mount, target)?;
        self.attached(self.mount)
    }

    /// What a missing destination of the mount has to be: the mount's own kind.
    fn kind_of_mount(&self) -> Result<Missing> {
        match self.mount_kind {
            Some(kind) => Ok(kind),
            None if kernel::stat_fd(self.mount)?.kind() == S_IFDIR => Ok(Missing::Directory),
            None => Ok(Missing::File),
        }
    }

    fn make_node(&mut self, name: Text<'_>, mode: u32, device: u64, uid: u32, gid: u32) -> Result<()> {
        match kernel::mknodat(self.directory, &name, mode, device) {
            Err(Failure { errno: errno::EEXIST, .. }) => {
                let there = kernel::stat_entry(self.directory, &name)?;
                let is_device = there.kind() == S_IFCHR || u32::from(there.kind()) == S_IFBLK;
                let number = if is_device { there.device() } else { device };
                if (u32::from(there.kind()), number) != (mode & u32::from(S_IFMT), device) {
                    return Err(Failure { call: call::MKNODAT, errno: errno::EEXIST });
                }
                if (u32::from(there.mode), there.uid, there.gid) == (mode, uid, gid) {
                    return Ok(());
                }
                // Not changed: chmod(2) follows links, which the name may have become by then, and what is
                // mounted there is not ours (EBUSY).
                kernel::unlinkat(self.directory, &name)?;
                kernel::mknodat(self.directory, &name, mode, device)?;
            }
            other => other?,
        }
        if uid != 0 || gid != 0 {
            kernel::fchownat(self.directory, &name, uid, gid)?;
        }
        Ok(())
    }

    fn make_symlink(&mut self, name: Text<'_>, target: Text<'_>, replace: bool) -> Result<()> {
        match kernel::symlinkat(&target, self.directory, &name) {
            Err(Failure { errno: errno::EEXIST, .. }) if replace => {
                kernel::unlinkat(self.directory, &name)?;
                kernel::symlinkat(&target, self.directory, &name)
            }
            Err(Failure { errno: errno::EEXIST, .. }) => Ok(()),
            other => other,
        }
    }

    fn reset_affinity(&mut self) -> Result<()> {
        let all = [0xff; CPUS_MAX / 8];
        match kernel::set_affinity(&all) {
            Err(failure) => self.warn_failure(failure),
            Ok(()) => Ok(()),
        }
    }

    /// The first candidate that is a file and may be executed; else the most telling refusal.
    fn find_program(&mut self, candidates: Texts<'a>) -> Result<()> {
        let mut refusal = Failure { call: call::FACCESSAT2, errno: errno::ENOENT };
        for (index, candidate) in candidates.iter().enumerate() {
            let failure = match kernel::executable(&candidate) {
                Ok(()) => match kernel::stat_path(&candidate) {
                    Ok(stat) if stat.kind() == S_IFDIR => Failure { call: call::STATX, errno: errno::EISDIR },
                    Ok(stat) if stat.kind() != S_IFREG => Failure { call: call::STATX, errno: errno::EACCES },
                    Ok(_) => {
                        self.program = Some(candidate);
                        return Ok(());
                    }
                    Err(failure) => failure,
                },
                Err(failure) => failure,
            };
            if refusal.errno == errno::ENOENT {
                refusal = failure;
                self.detail = index as u64;
            }
        }
        Err(refusal)
    }

    fn change_directory(&mut self, path: Text<'_>, flags: u8) -> Result<()> {
        if flags & change::IF_REFUSED != 0 && !self.is_kept_out {
            return Ok(());
        }
        let opened = paths::open(self.root, &path, O_PATH | O_DIRECTORY, 0);
        let changed = opened.and_then(|directory| {
            self.done(directory);
            kernel::fchdir(directory)
        });
        if flags & change::MAY_BE_REFUSED != 0 && matches!(changed, Err(Failure { errno: errno::EACCES, .. })) {
            self.is_kept_out = true;
            return Ok(());
        }
        changed?;
        let mut buffer = [0; 4096];
        // An error: longer than the buffer, an inside path of that depth; or a removed directory (ENOENT).
        match kernel::current_directory_is_inside(&mut buffer)? {
            true => Ok(()),
            false => Err(Failure { call: call::GETCWD, errno: errno::ENOENT }),
        }
    }

    fn run_program(&mut self, arguments: Texts<'_>, environment: Texts<'_>) -> Failure {
        let count = arguments.count() + environment.count() + 3;
        // On the stack when they are few, as they are for nearly every program.
        let mut near = [0usize; 256];
        let table = if count <= near.len() {
            near.as_mut_ptr()
        } else {
            match kernel::map_memory(count * size_of::<usize>()) {
                Ok(table) => table as *mut usize,
                Err(failure) => return failure,
            }
        };
        let address = |text: Text<'_>| text.bytes().as_ptr() as usize;
        let arguments_then_null = arguments.iter().map(address).chain([0]);
        let environment_then_null = self.home.address().into_iter().chain(environment.iter().map(address)).chain([0]);
        for (index, address) in arguments_then_null.chain(environment_then_null).enumerate() {
            // SAFETY: the table has room for both lists, for HOME and for the NULLs that end them.
            unsafe { table.add(index).write(address) };
        }
        // Where it was not looked for, it is a path.
        let Some(program) = self.program.or_else(|| arguments.iter().next()) else {
            return Failure { call: call::EXECVE, errno: errno::ENOENT };
        };
        let environment = table as usize + (arguments.count() + 1) * size_of::<usize>();
        if let Some(filter) = &self.filter {
            if let Err((step, failure)) = filter.install() {
                self.step = step;
                return failure;
            }
            let failure = kernel::execve(&program, table as usize, environment);
            filter.fail(self.step, failure)
        }
        let failure = kernel::execve(&program, table as usize, environment);
        match kernel::stat_path(&program) {
            Ok(stat) if failure.errno == errno::EACCES && stat.kind() == S_IFDIR => {
                Failure { errno: errno::EISDIR, ..failure }
            }
            _ => failure,
        }
    }
}

#[cold]
fn hide_mount(path: Text<'_>, count: u32) -> Result<()> {
    const MS_RDONLY: u64 = 1;
    for _ in 0..count {
        match kernel::detach(&path) {
            Ok(()) => {}
            // Locked, since it was the host's before there was the container's user namespace. Covered it is not seen by anyone who
            // cannot uncover it; and those below it are covered already.
            Err(Failure { errno: errno::EINVAL | errno::EPERM, .. }) => {
                return kernel::mount(c"tmpfs", &path, c"tmpfs", MS_RDONLY, c"nr_inodes=1");
            }
            Err(Failure { errno: errno::ENOENT | errno::ENOTDIR, .. }) => return Ok(()),
            Err(failure) => return Err(failure),
        }
    }
    Ok(())
}

/// What the flags of a step add to the rules of the walk.
fn resolution(flags: u8) -> u64 {
    if flags & attach::NO_SYMLINKS != 0 { RESOLVE_NO_SYMLINKS } else { 0 }
}

/// As many CPUs as a kernel can be built for (`CONFIG_NR_CPUS` on x86); what is beyond its own number it ignores.
const CPUS_MAX: usize = 8192;
const S_IFBLK: u32 = 0o060_000;
pub(crate) const PROC_SUPER_MAGIC: u64 = 0x9fa0;
