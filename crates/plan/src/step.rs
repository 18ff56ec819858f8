//! The steps: each one system call or one plain idiom of few.

use crate::encoding::{Bytes, Field, Text, Texts, Words};

/// The system calls that init's steps make, as one-byte codes for [`Message::call`](crate::Message::call).
pub mod call {
    macro_rules! calls {
        ($($code:literal $name:ident $text:literal,)*) => {
            $(#[doc = concat!("`", $text, "`")] pub const $name: u8 = $code;)*
            #[cfg(test)]
            pub(crate) const ALL: &[u8] = &[$($code),*];
            /// The name of a call, as strace prints it.
            pub fn name(code: u8) -> &'static str {
                match code { $($code => $text,)* _ => "unknown call" }
            }
        };
    }
    calls! {
        1 MOUNT_SETATTR "mount_setattr", 2 MOVE_MOUNT "move_mount", 3 OPEN_TREE "open_tree",
        4 FSOPEN "fsopen", 5 FSCONFIG "fsconfig", 6 FSMOUNT "fsmount", 7 OPENAT2 "openat2",
        8 MKDIRAT "mkdirat", 9 MKNODAT "mknodat", 10 FCHOWNAT "fchownat", 11 FCHMODAT "fchmodat",
        12 SYMLINKAT "symlinkat", 13 STATX "statx", 14 UNLINKAT "unlinkat", 15 PIVOT_ROOT "pivot_root",
        16 UMOUNT2 "umount2", 17 CHROOT "chroot", 18 CHDIR "chdir", 19 FCHDIR "fchdir", 20 GETCWD "getcwd",
        21 UNSHARE "unshare", 22 SETHOSTNAME "sethostname", 23 SETDOMAINNAME "setdomainname",
        24 SOCKET "socket", 25 IOCTL "ioctl", 26 SETSID "setsid", 27 UMASK "umask", 28 PRCTL "prctl",
        29 SETGROUPS "setgroups", 30 SETRESGID "setresgid", 31 SETRESUID "setresuid", 32 CAPGET "capget",
        33 CAPSET "capset", 34 KEYCTL "keyctl", 35 FACCESSAT2 "faccessat2", 36 EXECVE "execve",
        37 PRLIMIT64 "prlimit64", 38 DUP3 "dup3", 39 SENDMSG "sendmsg", 40 RECVMSG "recvmsg",
        41 ACCEPT4 "accept4", 42 MMAP "mmap", 43 CLOSE "close", 44 CLOSE_RANGE "close_range", 45 FSTATFS "fstatfs",
        46 FCHOWN "fchown", 47 RT_SIGPROCMASK "rt_sigprocmask", 48 RT_SIGACTION "rt_sigaction", 49 READ "read",
        50 POLL "poll", 51 EXIT_GROUP "exit_group", 52 FCHMOD "fchmod",
        53 OPEN_TREE_ATTR "open_tree_attr", 54 READLINKAT "readlinkat", 55 SETNS "setns", 56 CLONE3 "clone3",
        57 WRITE "write",
        65 PERSONALITY "personality", 66 SET_MEMPOLICY "set_mempolicy", 67 SCHED_SETAFFINITY "sched_setaffinity",
        75 GETDENTS64 "getdents64", 76 LSEEK "lseek", 77 SENDFILE "sendfile", 78 FTRUNCATE "ftruncate",
        79 UTIMENSAT "utimensat", 80 FLISTXATTR "flistxattr", 81 FGETXATTR "fgetxattr", 82 FSETXATTR "fsetxattr",
        83 FSPICK "fspick", 84 MOUNT "mount", 85 FCNTL "fcntl", 86 SECCOMP "seccomp",
        87 SETSOCKOPT "setsockopt",
    }
}

/// The bits of [`Step::ChangeDirectory`]'s `flags`.
pub mod change {
    /// To be refused by the directory's mode is no error: another step tries again, as another user.
    pub const MAY_BE_REFUSED: u8 = 1;
    /// Only if such a step was refused.
    pub const IF_REFUSED: u8 = 2;
}

/// The bits of [`Step::Attach`]'s `flags`.
pub mod attach {
    /// No component of the destination may be a symbolic link (procfs, sysfs: CVE-2019-19921).
    pub const NO_SYMLINKS: u8 = 1;
    /// The root of the mount takes the permissions of the directory that it covers, unless that was missing (a tmpfs for which
    /// no mode is set).
    pub const KEEP_MODE: u8 = 2;
    /// The destination must not lie in a procfs, where a symbolic link of the image may lead
    /// (CVE-2019-16884).
    pub const NOT_IN_PROC: u8 = 4;
    /// The path is a name in the open directory, which is the root of a fresh file system of this plan:
    /// nobody else has reached it, so there is nothing to resolve.
    pub const IN_DIRECTORY: u8 = 8;
    /// A symbolic link at the end of the destination is not followed: the mount covers the link itself.
    pub const NO_FOLLOW: u8 = 16;
}

/// How [`Step::JoinNamespaces`] takes a refusal (`EPERM`).
pub mod join {
    /// It fails.
    pub const MUST: u8 = 0;
    /// It goes on.
    pub const MAY: u8 = 1;
    /// It fails; and it is tried only if it was refused before, under [`MAY`].
    pub const IF_REFUSED: u8 = 2;
}

/// The mount beneath which a path is resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Within {
    /// The root.
    Root,
    /// One that [`Step::KeepMount`] kept, a procfs or sysfs: that what is hidden in it is hidden there, wherever
    /// somebody who shares the rootfs may have moved it.
    Kept {
        /// Its number among those kept.
        kept: u8,
        /// The length of its destination, with which the path begins.
        prefix: u8,
    },
}

impl<'a> Field<'a> for Within {
    #[cfg(feature = "encode")]
    fn put(&self, out: &mut alloc::vec::Vec<u8>) {
        match *self {
            Within::Root => out.extend_from_slice(&[u8::MAX, 0]),
            Within::Kept { kept, prefix } => out.extend_from_slice(&[kept, prefix]),
        }
    }

    fn take(reader: &mut Bytes<'a>) -> Option<Self> {
        match (reader.u8()?, reader.u8()?) {
            (u8::MAX, 0) => Some(Within::Root),
            (u8::MAX, _) => None,
            (kept, prefix) => Some(Within::Kept { kept, prefix }),
        }
    }
}

/// How many mounts init can keep.
pub const KEPT_MAX: usize = 64;

macro_rules! steps {
    ($(
        $(#[doc = $doc:literal])*
        $code:literal $name:ident { $($(#[doc = $field_doc:literal])* $field:ident: $kind:ty,)* } calls $($call:ident)*;
    )*) => {
        /// One step of a plan.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Step<'a> {
            $($(#[doc = $doc])* $name { $($(#[doc = $field_doc])* $field: $kind,)* },)*
        }

        impl<'a> Step<'a> {
            /// The step's name.
            pub fn name(&self) -> &'static str {
                match self { $(Step::$name { .. } => stringify!($name),)* }
            }

            /// The system calls that init may make for this step, as [`call`] codes. Where the kernel lacks
            /// mount_setattr(2), others stand in for it.
            pub fn calls(&self) -> &'static [u8] {
                match self { $(Step::$name { .. } => &[$(call::$call),*],)* }
            }

            #[cfg(feature = "encode")]
            pub(crate) fn encode(&self, out: &mut alloc::vec::Vec<u8>) {
                match self {
                    $(Step::$name { $($field),* } => {
                        out.push($code);
                        $($field.put(out);)*
                    })*
                }
            }

            pub(crate) fn decode(reader: &mut Bytes<'a>) -> Option<Step<'a>> {
                match reader.u8()? {
                    $($code => Some(Step::$name { $($field: Field::take(reader)?,)* }),)*
                    _ => None,
                }
            }
        }
    };
}

steps! {
    /// Makes namespaces that clone3 cannot make right. The cgroup namespace: clone3 would root it at
    /// the parent's cgroup, not at the one that the child is born into (cgroup_namespaces(7)).
    1 Unshare {
        /// `CLONE_NEW*`.
        flags: u32,
    } calls UNSHARE;

    /// Becomes user and group 0 of a new user namespace, so that what is made belongs to it.
    2 BecomeRoot {} calls SETRESGID SETRESUID;

    /// sethostname(2).
    3 SetHostname {
        /// The name.
        name: Text<'a>,
    } calls SETHOSTNAME;

    /// setdomainname(2).
    4 SetDomainname {
        /// The name.
        name: Text<'a>,
    } calls SETDOMAINNAME;

    /// Opens a netlink socket of the network namespace and sends it to the parent, which moves devices there.
    53 SendNetwork {
        /// [`join`] modes, of the network namespace.
        mode: u8,
    } calls SOCKET SENDMSG;

    /// Clones a tree of mounts of init's own mount namespace, in the place of a source: for a caller who may not clone the
    /// host's. Of what the kernel shows only together with what covers it, all is cloned.
    55 CloneTree {
        /// The number among the sources that it gets.
        source: u32,
        /// Its path on the host.
        path: Text<'a>,
        /// 1: with the mounts below it.
        recursive: u8,
        /// 1: a symbolic link at the end of the path is the tree.
        itself: u8,
    } calls OPEN_TREE CLOSE;

    /// setresgid(2), setresuid(2), as [`SetUser`](Step::SetUser) but for the groups: in a user namespace in which setgroups(2) is
    /// denied.
    56 SetIds {
        /// The user.
        uid: u32,
        /// The group.
        gid: u32,
    } calls SETRESGID PRCTL SETRESUID;

    /// Enters the time namespace that was made for its children, when its offsets are set.
    54 EnterTimeNamespace {} calls OPENAT2 SETNS CLOSE;

    /// Brings the loopback interface of the network namespace up (netdevice(7)).
    5 LoopbackUp {} calls SOCKET IOCTL CLOSE;

    /// Changes the propagation of the whole tree of mounts, which is a copy of the host's.
    6 SetPropagation {
        /// `MS_SLAVE`, `MS_PRIVATE`, ...
        propagation: u64,
    } calls MOUNT_SETATTR;

    /// Receives further sources; their numbering starts again at 0.
    7 ReceiveSources {} calls CLOSE RECVMSG;

    /// Attaches the rootfs, a detached tree, on top of `/` and makes it the current directory. It is
    /// the root beneath which later steps resolve paths.
    8 AttachRoot {
        /// The tree's number among the sources.
        source: u32,
    } calls MOVE_MOUNT FCHDIR;

    /// fsopen(2): begins a file system; the next steps configure it.
    9 FsOpen {
        /// The type.
        fstype: Text<'a>,
    } calls FSOPEN;

    /// A `key=value` parameter of the file system, fsconfig(2).
    10 FsString {
        /// The name.
        key: Text<'a>,
        /// The value.
        value: Text<'a>,
    } calls FSCONFIG READ;

    /// A parameter without a value, fsconfig(2).
    11 FsFlag {
        /// The name.
        key: Text<'a>,
    } calls FSCONFIG READ;

    /// Creates the configured file system and a detached mount of it.
    12 FsMount {
        /// `MOUNT_ATTR_*`.
        attributes: u32,
    } calls FSCONFIG READ FSMOUNT CLOSE;

    /// Takes a source, a detached tree that the parent cloned, as the mount to attach.
    13 UseSource {
        /// Its number among the sources.
        source: u32,
    } calls;

    /// Changes the mount that is to be attached, mount_setattr(2).
    14 SetMountAttributes {
        /// `MOUNT_ATTR_*` to set.
        set: u64,
        /// `MOUNT_ATTR_*` to clear.
        clear: u64,
        /// `MS_SHARED`, `MS_SLAVE`, ... or 0.
        propagation: u64,
        /// 1: the mounts below it too.
        recursive: u8,
    } calls MOUNT_SETATTR;

    /// Goes on only if the mount that is to be attached is a device of this type and number: the host's
    /// device of a name may be another one than is meant, or no device at all (CVE-2025-31133).
    46 CheckDevice {
        /// The type, as in `st_mode`.
        kind: u32,
        /// The device's number, as makedev(3) makes it.
        device: u64,
    } calls STATX;

    /// Attaches the mount at a path beneath the root; makes what is missing there: directories, and a
    /// file where the mount is one.
    15 Attach {
        /// The destination, absolute in the container.
        path: Text<'a>,
        /// [`attach`] bits.
        flags: u8,
    } calls OPENAT2 STATX MKDIRAT READLINKAT FSTATFS FCHMODAT MOVE_MOUNT CLOSE;

    /// Gives the new mount that is to be attached the id mappings of a user namespace, mount_setattr(2)
    /// `MOUNT_ATTR_IDMAP`. The parent does it itself for the trees that it clones.
    70 IdMapMount {
        /// The number among the sources of the user namespace.
        source: u32,
    } calls MOUNT_SETATTR;

    /// Copies what a directory beneath the root holds into the new tmpfs that is to be attached (option
    /// `tmpcopyup`). Mounts below the directory are left out; what does not exist is nothing to copy.
    71 CopyUp {
        /// The directory, absolute in the container.
        path: Text<'a>,
        /// 1: the tmpfs takes the owner of the directory too.
        owner: u8,
    } calls OPENAT2 FSTATFS OPEN_TREE MOUNT_SETATTR GETDENTS64 LSEEK STATX MKDIRAT MKNODAT SYMLINKAT READLINKAT SENDFILE FTRUNCATE
        FCHOWN FCHOWNAT FCHMOD UTIMENSAT FLISTXATTR FGETXATTR FSETXATTR CLOSE;

    /// fspick(2): begins to change the file system that a path shows; the next steps say what.
    72 FsPick {
        /// The path, absolute in the container; empty: the mount that was taken with [`UseKept`](Step::UseKept).
        path: Text<'a>,
    } calls OPENAT2 FSPICK CLOSE;

    /// fsconfig(2) `FSCONFIG_CMD_RECONFIGURE`: carries the change out.
    73 FsReconfigure {} calls FSCONFIG READ;

    /// Sets the propagation of the root mount, by the descriptor held since it was attached.
    74 SetRootPropagation {
        /// `MS_SHARED`, ...
        propagation: u64,
        /// 1: the mounts below it too.
        recursive: u8,
    } calls MOUNT_SETATTR;

    /// Takes a directory of the host as the root beneath which later steps resolve paths, and makes it the
    /// current directory: without a mount namespace nothing is attached.
    75 UseRoot {
        /// The directory's number among the sources.
        source: u32,
    } calls FCHDIR;

    /// Creates a file system by mount(2), for options that are too long for fsconfig(2), and takes its mount as
    /// the one to attach. It is mounted in a tmpfs that nobody else has, and gone before anything else happens.
    76 MountLegacy {
        /// The type.
        fstype: Text<'a>,
        /// The source; may be empty.
        device: Text<'a>,
        /// The options, comma-separated.
        options: Text<'a>,
        /// `MS_*`.
        flags: u64,
    } calls FSOPEN FSCONFIG FSMOUNT MOVE_MOUNT FCHDIR MKDIRAT MOUNT OPEN_TREE UMOUNT2 CLOSE;

    /// Keeps the descriptor of the mount attached last for later steps, which number what is kept from
    /// 0. By its path it might not be found again: somebody who shares a directory above it with the container
    /// can move it.
    44 KeepMount {} calls;

    /// Takes a mount that was kept as the one that [`SetMountAttributes`](Step::SetMountAttributes) changes.
    45 UseKept {
        /// Its number among those kept.
        kept: u8,
    } calls;

    /// Changes the mount that covers a path (option `remount` for a mount that the configuration does not make).
    16 ChangeMount {
        /// The path, absolute in the container.
        path: Text<'a>,
        /// `MOUNT_ATTR_*` to set.
        set: u64,
        /// `MOUNT_ATTR_*` to clear.
        clear: u64,
        /// `MS_SHARED`, `MS_SLAVE`, ... or 0.
        propagation: u64,
        /// 1: the mounts below it too.
        recursive: u8,
    } calls OPENAT2 MOUNT_SETATTR CLOSE;

    /// Opens a directory beneath the root, made if missing: the one in which the next
    /// [`MakeNode`](Step::MakeNode) and [`MakeSymlink`](Step::MakeSymlink) steps work.
    17 OpenDirectory {
        /// The path, absolute in the container.
        path: Text<'a>,
        /// [`attach::NO_SYMLINKS`] or 0.
        flags: u8,
    } calls CLOSE OPENAT2 MKDIRAT READLINKAT;

    /// Takes the root of the mount attached last for the open directory: a fresh tmpfs at `/dev`.
    42 UseMountAsDirectory {} calls;

    /// Makes a device or fifo. One that is there already is kept if it is the same in all; if only mode
    /// or owner differ it is made anew, for what the name leads to can change before they are set.
    18 MakeNode {
        /// The name in the open directory.
        name: Text<'a>,
        /// Type and permissions as mknodat(2) takes them.
        mode: u32,
        /// The device's number, as makedev(3) makes it.
        device: u64,
        /// The owner.
        uid: u32,
        /// The owning group.
        gid: u32,
    } calls MKNODAT STATX UNLINKAT FCHOWNAT;

    /// Makes a symbolic link; what is there already stays, unless it is to be replaced.
    19 MakeSymlink {
        /// The name in the open directory.
        name: Text<'a>,
        /// What it points to.
        target: Text<'a>,
        /// 1: something else that has the name is removed first.
        replace: u8,
    } calls SYMLINKAT UNLINKAT;

    /// Hides a path: a file behind `/dev/null`, a directory behind an empty read-only tmpfs that all
    /// masked directories share. A path that does not exist needs no mask.
    20 Mask {
        /// The path, absolute in the container.
        path: Text<'a>,
        /// Where the path is resolved: [`Within`].
        within: Within,
        /// The number among the sources of the host's `/dev/null` as a detached mount.
        null: u32,
    } calls OPENAT2 STATX FSOPEN FSCONFIG FSMOUNT OPEN_TREE MOVE_MOUNT CLOSE;

    /// Makes a path and all below it read-only, through one descriptor (GHSA-3q8j-pf29-vwv8). A path
    /// that does not exist is passed over.
    21 MakeReadonly {
        /// The path, absolute in the container.
        path: Text<'a>,
        /// Where the path is resolved: [`Within`].
        within: Within,
    } calls OPENAT2 OPEN_TREE_ATTR OPEN_TREE MOUNT_SETATTR MOVE_MOUNT CLOSE;

    /// Makes the root mount read-only, through the descriptor held since it was attached
    /// (CVE-2026-115521).
    22 MakeRootReadonly {} calls MOUNT_SETATTR;

    /// pivot_root(2) into the current directory, and the old root detached.
    23 PivotRoot {} calls PIVOT_ROOT UMOUNT2 CHDIR;

    /// Enters the root without pivot_root, for a host whose root is the initial ramfs: the tree
    /// covers `/` already, so chroot(2) into it is left. (`--no-pivot`)
    24 EnterRoot {} calls FCHDIR CHROOT CHDIR;

    /// Takes a mount of the host's away, or covers it where it is not ours to take away: one of procfs or sysfs, by which the kernel
    /// would let a container without [`PivotRoot`](Step::PivotRoot) mount another, without the masks. One that is gone is none.
    88 HideMount {
        /// The path on the host.
        path: Text<'a>,
        /// How many are mounted there, one on top of the other.
        count: u32,
    } calls UMOUNT2 MOUNT;

    /// Makes a directory and those that lead to it.
    25 MakeDirectory {
        /// The path, absolute in the container.
        path: Text<'a>,
    } calls OPENAT2 MKDIRAT READLINKAT CLOSE;

    /// Opens a new pseudoterminal of the container's devpts by its multiplexer (TIOCGPTPEER, never by
    /// name: CVE-2025-52565), sends its master to the parent, makes it standard input, output and
    /// error, and with `console` 1 mounts it at `/dev/console`.
    26 OpenTerminal {
        /// Rows, 0: as the kernel has it.
        rows: u32,
        /// Columns.
        columns: u32,
        /// The owner.
        uid: u32,
        /// 1: mount it at `/dev/console`.
        console: u8,
    } calls OPENAT2 FSTATFS STATX IOCTL FCHOWN SENDMSG OPEN_TREE MKDIRAT READLINKAT MOVE_MOUNT DUP3 CLOSE;

    /// setsid(2); with a terminal also makes it the controlling one.
    27 StartSession {
        /// 1: standard input is a terminal.
        terminal: u8,
    } calls SETSID IOCTL;

    /// Joins a new session keyring, keyctl(2) `KEYCTL_JOIN_SESSION_KEYRING`. Best effort: a kernel without
    /// keyrings, or a full quota, is a warning. It has no name of its own: one of that name may be there already,
    /// made by another container for this one to join.
    28 JoinSessionKeyring {} calls KEYCTL;

    /// Gives standard input, output and error, where they are pipes, files or sockets, to the user.
    /// Best effort: not every file system has owners.
    29 OwnStdio {
        /// The user.
        uid: u32,
    } calls STATX FCHOWN;

    /// umask(2).
    30 SetUmask {
        /// The mask.
        mask: u32,
    } calls UMASK;

    /// Drops a capability from the bounding set, capabilities(7).
    31 DropBounding {
        /// The capability's number; the kernel may not know it.
        capability: u8,
    } calls PRCTL;

    /// setgroups(2), setresgid(2), setresuid(2), keeping the permitted capabilities until
    /// [`SetCapabilities`](Step::SetCapabilities).
    32 SetUser {
        /// The user.
        uid: u32,
        /// The group.
        gid: u32,
        /// The further groups.
        groups: Words<'a>,
    } calls SETGROUPS SETRESGID PRCTL SETRESUID;

    /// capset(2) to what is asked for and can be had; what cannot is a warning.
    33 SetCapabilities {
        /// Bit N: capability N.
        effective: u64,
        /// Bit N: capability N.
        permitted: u64,
        /// Bit N: capability N.
        inheritable: u64,
        /// Bit N: capability N, which init needs until the program runs, if it has it. execve takes it: what the program gets
        /// comes from the other sets, the ambient one and the bounding set (capabilities(7)).
        kept: u64,
    } calls CAPGET CAPSET SENDMSG;

    /// Sets the ambient capabilities, prctl(2) `PR_CAP_AMBIENT`; one that cannot be raised is a warning.
    34 SetAmbient {
        /// Bit N: capability N.
        ambient: u64,
    } calls PRCTL SENDMSG;

    /// prctl(2) `PR_SET_NO_NEW_PRIVS`.
    35 SetNoNewPrivileges {} calls PRCTL;

    /// fchdir(2) to a directory beneath the root, reached without magic links: one to a descriptor of init could
    /// lead behind a mask. Checks with getcwd(2) that it lies in the container (CVE-2024-21626).
    36 ChangeDirectory {
        /// The path.
        path: Text<'a>,
        /// Bits of [`change`](crate::change).
        flags: u8,
    } calls OPENAT2 FCHDIR GETCWD CLOSE;

    /// Looks for the program; the first of the candidates that can be executed is it.
    37 FindProgram {
        /// The paths to try, in order.
        candidates: Texts<'a>,
    } calls FACCESSAT2 STATX;

    /// Says that everything before the start is done and waits to be told to go on.
    38 Ready {} calls SENDMSG RECVMSG ACCEPT4 SETSOCKOPT RT_SIGACTION CLOSE;

    /// prlimit(2) on itself.
    39 SetRlimit {
        /// `RLIMIT_*`.
        resource: u32,
        /// The soft limit.
        soft: u64,
        /// The hard limit.
        hard: u64,
    } calls PRLIMIT64;

    /// Adds `HOME` to the environment: the user's directory in the container's `/etc/passwd`, or `/`. What
    /// is opened as that file may be a device: this comes when the user and the device program restrict it.
    43 LookUpHome {
        /// The user.
        uid: u32,
    } calls OPENAT2 READ CLOSE;

    /// prctl(2) `PR_SET_DUMPABLE` 0: nobody with whom the process shares a pid namespace may look into it
    /// while it prepares the container (CVE-2016-9962).
    41 SetUndumpable {} calls PRCTL;

    /// setns(2) into a namespace, or with a pidfd into several of a process's. Which of those that the
    /// configuration names by path belong to the user namespace that it names, and may be entered only from in there,
    /// is not known before: they are tried before and after it.
    47 JoinNamespaces {
        /// The descriptor's number among the sources.
        source: u32,
        /// `CLONE_NEW*`.
        kinds: u32,
        /// [`join`] modes.
        mode: u8,
    } calls SETNS;

    /// Goes on as another process, which is born into the pid namespace that was joined, and into new ones.
    /// It is the parent's child too (`CLONE_PARENT`), and waits until the parent has got its pid and pidfd and has done its part,
    /// the id maps.
    48 Fork {
        /// `CLONE_NEWUSER`, `CLONE_NEWPID`: those to make.
        flags: u32,
        /// 1: nothing is left to do but to become the program, so that no descriptor is needed any more.
        last: u8,
    } calls CLOSE_RANGE CLONE3 SENDMSG RECVMSG EXIT_GROUP;

    /// Says that the container is set up but for entering its root, and waits until the parent has done what it
    /// has to do then: hooks.
    49 Sync {} calls SENDMSG RECVMSG;

    /// Takes a source as the procfs in which [`WriteProc`](Step::WriteProc) works: it is the parent's own, so that nothing that
    /// is mounted in the container can take its place (CVE-2025-52881).
    50 UseProcfs {
        /// Its number among the sources.
        source: u32,
    } calls;

    /// Writes to a file of procfs, in one write.
    51 WriteProc {
        /// The file, relative to the root of procfs.
        path: Text<'a>,
        /// What to write.
        content: Text<'a>,
    } calls OPENAT2 WRITE CLOSE;

    /// Takes the current root as the one beneath which later steps resolve paths: that of the mount namespace that was joined.
    52 UseCurrentRoot {} calls CLOSE OPENAT2;
    /// personality(2).
    60 SetPersonality {
        /// `PER_*`.
        persona: u32,
    } calls PERSONALITY;

    /// set_mempolicy(2).
    61 SetMemoryPolicy {
        /// `MPOL_*` with `MPOL_F_*`.
        mode: u32,
        /// Bit N of them: memory node N. An even number, or none.
        nodes: Words<'a>,
    } calls SET_MEMPOLICY;

    /// sched_setaffinity(2). When it may fail it is a hint: none of the CPUs is in the cgroup's cpuset.
    62 SetAffinity {
        /// Bit N of them: CPU N. An even number.
        cpus: Words<'a>,
        /// 1: what the kernel refuses is a warning.
        may_fail: u8,
    } calls SCHED_SETAFFINITY SENDMSG;

    /// sched_setaffinity(2) to all CPUs: the kernel leaves those of the cgroup's cpuset. Else the process would keep,
    /// since Linux 6.2, to those of its caller. Best effort.
    63 ResetAffinity {} calls SCHED_SETAFFINITY SENDMSG;

    /// Asks AppArmor to leave the program unconfined, in the procfs that was taken. A kernel without AppArmor does.
    64 SetUnconfined {} calls OPENAT2 WRITE CLOSE;

    /// [`AttachRoot`](Step::AttachRoot) for when hooks come to see it: the tree is attached over the directory that
    /// it is a copy of, where they look for it, and the host's files stay in view. Where that is out of reach of the user
    /// namespace, on top of `/`.
    85 AttachRootAt {
        /// The tree's number among the sources.
        source: u32,
        /// The directory, as the caller sees it.
        path: Text<'a>,
    } calls MOVE_MOUNT FCHDIR;

    /// Moves the rootfs from there on top of `/`.
    86 MoveRoot {} calls MOVE_MOUNT;

    /// Installs a seccomp filter, seccomp(2), when nothing is left to do but execve(2), so that no filter has to allow
    /// anything else. From then on init and parent have no more to say to each other than [`handover`](crate::handover) holds.
    66 InstallFilter {} calls MMAP CLOSE SECCOMP;

    /// Receives the filter. It does not come with the plan: the parent compiles it while init is at work.
    68 ReceiveFilter {} calls MMAP RECVMSG;

    /// Tells the parent that a phase is over, and the time. Only in a plan for somebody who asked where the time goes.
    87 Time {
        /// Which phase.
        phase: u8,
    } calls SENDMSG;

    /// execve(2) of what [`FindProgram`](Step::FindProgram) found.
    40 Execute {
        /// `argv`.
        arguments: Texts<'a>,
        /// `envp`.
        environment: Texts<'a>,
    } calls MMAP EXECVE;
}

impl Step<'_> {
    /// Whether init goes on, with a warning at most, when the kernel refuses the step.
    pub fn best_effort(&self) -> bool {
        use Step::{JoinSessionKeyring, OwnStdio, ResetAffinity, SetAffinity, SetAmbient, SetCapabilities};
        matches!(
            self,
            JoinSessionKeyring { .. }
                | OwnStdio { .. }
                | SetAmbient { .. }
                | SetCapabilities { .. }
                | SetAffinity { may_fail: 1.., .. }
                | ResetAffinity {}
        )
    }
}

#[cfg(all(test, feature = "encode"))]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::{DecodeError, Plan, PlanBuilder};

    fn sample() -> PlanBuilder {
        let mut builder = PlanBuilder::new();
        let text = Text::new;
        for step in [
            Step::Unshare { flags: 0x0200_0000 },
            Step::BecomeRoot {},
            Step::FsString { key: text(b"size"), value: text(b"65536k") },
            Step::Mask { path: text(b"/proc/x"), within: Within::Kept { kept: 3, prefix: 5 }, null: 9 },
            Step::MakeReadonly { path: text(b"/x"), within: Within::Root },
            Step::SetMountAttributes { set: u64::MAX, clear: 1, propagation: 2, recursive: 1 },
            Step::SetUser { uid: u32::MAX, gid: 7, groups: Words::new(&[1, 0, 0, 0, 2, 1, 0, 0]) },
            Step::Execute { arguments: Texts::new(b"sh\0-c\0\0"), environment: Texts::new(b"") },
        ] {
            builder.push(&step);
        }
        builder
    }

    #[test]
    fn steps_survive_the_encoding() {
        let builder = sample();
        let plan = Plan::decode(builder.bytes()).unwrap();
        let steps: Vec<Step<'_>> = plan.steps().map(Result::unwrap).collect();
        assert_eq!(steps.len(), 8);
        assert_eq!(steps[2], Step::FsString { key: Text::new(b"size"), value: Text::new(b"65536k") });
        let Step::Mask { path, within: Within::Kept { kept: 3, prefix }, null: 9 } = steps[3] else {
            panic!("{:?}", steps[3])
        };
        assert_eq!((path.after(prefix.into()), path.after(99)), (Text::new(b"/x"), path));
        assert_eq!(steps[4], Step::MakeReadonly { path: Text::new(b"/x"), within: Within::Root });
        let Step::SetUser { uid: u32::MAX, gid: 7, groups } = steps[6] else { panic!("{:?}", steps[6]) };
        assert_eq!(groups.iter().collect::<Vec<_>>(), [1, 258]);
        let Step::Execute { arguments, environment } = steps[7] else { panic!("{:?}", steps[7]) };
        assert_eq!(arguments.iter().map(Text::bytes).collect::<Vec<_>>(), [b"sh" as &[u8], b"-c", b""]);
        assert_eq!((arguments.count(), environment.count()), (3, 0));
    }

    #[test]
    fn a_plan_cut_anywhere_is_refused() {
        let builder = sample();
        for length in 0..builder.bytes().len() {
            let cut = &builder.bytes()[..length];
            let refused = Plan::decode(cut).map_or(true, |plan| plan.steps().any(|step| step.is_err()));
            assert!(refused, "{length}");
        }
    }

    #[test]
    fn an_unknown_step_is_named_by_its_index() {
        let mut bytes = sample().bytes().to_vec();
        bytes[8 + 5] = 250;
        let steps: Vec<_> = Plan::decode(&bytes).unwrap().steps().collect();
        assert_eq!(steps[1..], [Err(DecodeError { step: 1 })]);
    }

    #[test]
    fn every_call_has_a_name() {
        for (index, code) in call::ALL.iter().enumerate() {
            assert_ne!(call::name(*code), "unknown call", "{code}");
            assert!(!call::ALL[..index].contains(code), "{code} is given twice");
        }
    }
}
