//! The flags: one struct each. Parsing, help and completion all derive from these.

/// What follows a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Nothing, or `=true` and `=false`.
    Nothing,
    /// A number of at most 32 bits; what to call it in the help.
    Number(&'static str),
    /// Any text; what to call it in the help.
    Text(&'static str),
    /// The path of a file or a socket.
    File,
    /// The path of a directory.
    Directory,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Nothing, which means the first of these words, or one of them joined by `=`.
    Optional(&'static [&'static str]),
}

/// A flag of the command line, as it is known to all that deal with flags.
#[derive(Debug)]
pub(crate) struct Flag {
    /// The long name, without dashes.
    pub(crate) name: &'static str,
    /// The one-letter name.
    pub(crate) short: Option<char>,
    /// What follows it.
    pub(crate) takes: Takes,
    /// A sentence for the help, without a full stop.
    pub(crate) help: &'static str,
}

impl Flag {
    /// Whether `name`, given without dashes, is this flag.
    pub(crate) fn is_called(&self, name: &[u8]) -> bool {
        if name == self.name.as_bytes() {
            return true;
        }
        match (self.short, name) {
            (Some(short), [letter]) => short == char::from(*letter),
            _ => false,
        }
    }

    /// The word that stands for the value in the help.
    pub(crate) fn placeholder(&self) -> Option<String> {
        match self.takes {
            Takes::Nothing => None,
            Takes::Number(name) | Takes::Text(name) => Some(name.to_owned()),
            Takes::File => Some("FILE".to_owned()),
            Takes::Directory => Some("DIR".to_owned()),
            Takes::Choice(words) | Takes::Optional(words) => Some(words.join("|")),
        }
    }
}

// Of the command as a whole; they come before the name of the subcommand.

pub(crate) static DEBUG: Flag =
    Flag { name: "debug", short: None, takes: Takes::Nothing, help: "log what is done, with level debug" };

pub(crate) static LOG: Flag = Flag {
    name: "log",
    short: None,
    takes: Takes::File,
    help: "append log lines to FILE (standard error unless given)",
};

pub(crate) static LOG_FORMAT: Flag = Flag {
    name: "log-format",
    short: None,
    takes: Takes::Choice(&["text", "json"]),
    help: "how log lines are written (text unless given)",
};

pub(crate) static ROOT: Flag = Flag {
    name: "root",
    short: None,
    takes: Takes::Directory,
    help: "where the state of containers is kept (/run/no-frills, or $XDG_RUNTIME_DIR/no-frills for a user)",
};

pub(crate) static SYSTEMD_CGROUP: Flag = Flag {
    name: "systemd-cgroup",
    short: None,
    takes: Takes::Nothing,
    help: "have systemd make the cgroups of containers: linux.cgroupsPath is slice:prefix:name",
};

pub(crate) static CGROUP_MANAGER: Flag = Flag {
    name: "cgroup-manager",
    short: None,
    takes: Takes::Choice(&["cgroupfs", "systemd", "disabled"]),
    help: "who makes the cgroups of containers; disabled: they have none and stay in the caller's",
};

pub(crate) static ROOTLESS: Flag = Flag {
    name: "rootless",
    short: None,
    takes: Takes::Choice(&["true", "false", "auto"]),
    help: "whether a container goes without a cgroup where the caller may make none (auto: if that is an ordinary user)",
};

pub(crate) static CRIU: Flag = Flag {
    name: "criu",
    short: None,
    takes: Takes::File,
    help: "refused: this build has no checkpoint and restore, which CRIU is for",
};

pub(crate) static VERSION: Flag =
    Flag { name: "version", short: Some('v'), takes: Takes::Nothing, help: "print the version" };

/// Of the command as a whole and of every subcommand.
pub(crate) static HELP: Flag = Flag { name: "help", short: Some('h'), takes: Takes::Nothing, help: "print this help" };

// Of subcommands.

pub(crate) static BUNDLE: Flag = Flag {
    name: "bundle",
    short: Some('b'),
    takes: Takes::Directory,
    help: "the bundle's directory (the current one unless given)",
};

pub(crate) static CONFIG: Flag = Flag {
    name: "config",
    short: Some('f'),
    takes: Takes::File,
    help: "the configuration (config.json of the bundle unless given); crun's",
};

pub(crate) static CONSOLE_SOCKET: Flag =
    Flag { name: "console-socket", short: None, takes: Takes::File, help: "unix socket that is sent the terminal" };

pub(crate) static PIDFD_SOCKET: Flag = Flag {
    name: "pidfd-socket",
    short: None,
    takes: Takes::File,
    help: "unix socket that is sent a pidfd of the process",
};

pub(crate) static PID_FILE: Flag =
    Flag { name: "pid-file", short: None, takes: Takes::File, help: "file to write the pid of the process to" };

pub(crate) static NO_PIVOT: Flag = Flag {
    name: "no-pivot",
    short: None,
    takes: Takes::Nothing,
    help: "do not use pivot_root, for a root file system on a ramdisk",
};

pub(crate) static NO_NEW_KEYRING: Flag =
    Flag { name: "no-new-keyring", short: None, takes: Takes::Nothing, help: "keep the caller's session keyring" };

pub(crate) static PRESERVE_FDS: Flag = Flag {
    name: "preserve-fds",
    short: None,
    takes: Takes::Number("N"),
    help: "pass N file descriptors, from 3 on, to the process",
};

pub(crate) static DETACH: Flag =
    Flag { name: "detach", short: Some('d'), takes: Takes::Nothing, help: "return once the program runs" };

// Of exec, beside those it shares with run.

pub(crate) static PROCESS: Flag = Flag {
    name: "process",
    short: Some('p'),
    takes: Takes::File,
    help: "file with the process as in config.json; flags that change the container's own then have no effect",
};

pub(crate) static TTY: Flag =
    Flag { name: "tty", short: Some('t'), takes: Takes::Nothing, help: "give the process a terminal" };

pub(crate) static CWD: Flag = Flag {
    name: "cwd",
    short: None,
    takes: Takes::Text("DIR"),
    help: "working directory in the container (the container's own unless given)",
};

pub(crate) static ENV: Flag = Flag {
    name: "env",
    short: Some('e'),
    takes: Takes::Text("NAME=VALUE"),
    help: "set an environment variable; may be repeated",
};

pub(crate) static USER: Flag = Flag {
    name: "user",
    short: Some('u'),
    takes: Takes::Text("UID[:GID]"),
    help: "ids to run as, numbers (the container's own unless given)",
};

pub(crate) static ADDITIONAL_GIDS: Flag = Flag {
    name: "additional-gids",
    short: Some('g'),
    takes: Takes::Number("GID"),
    help: "one more group; may be repeated",
};

pub(crate) static CAP: Flag = Flag {
    name: "cap",
    short: Some('c'),
    takes: Takes::Text("CAP_NAME"),
    help: "add a capability, though not to the inheritable ones; may be repeated",
};

pub(crate) static NO_NEW_PRIVS: Flag = Flag {
    name: "no-new-privs",
    short: None,
    takes: Takes::Nothing,
    help: "let no program that the process executes gain privileges",
};

pub(crate) static PROCESS_LABEL: Flag =
    Flag { name: "process-label", short: None, takes: Takes::Text("LABEL"), help: "SELinux label of the process" };

pub(crate) static APPARMOR: Flag =
    Flag { name: "apparmor", short: None, takes: Takes::Text("PROFILE"), help: "AppArmor profile of the process" };

pub(crate) static CGROUP: Flag = Flag {
    name: "cgroup",
    short: None,
    takes: Takes::Text("PATH"),
    help: "run the process in this cgroup, which exists below the container's",
};

pub(crate) static IGNORE_PAUSED: Flag = Flag {
    name: "ignore-paused",
    short: None,
    takes: Takes::Nothing,
    help: "take a paused container too: the process runs when it is resumed",
};

pub(crate) static KEEP: Flag =
    Flag { name: "keep", short: None, takes: Takes::Nothing, help: "do not delete the container when it has exited" };

pub(crate) static NO_SUBREAPER: Flag = Flag {
    name: "no-subreaper",
    short: None,
    takes: Takes::Nothing,
    help: "do not adopt and reap processes that a container without a pid namespace orphans",
};

pub(crate) static ALL: Flag = Flag {
    name: "all",
    short: Some('a'),
    takes: Takes::Nothing,
    help: "signal every process of the container; a stopped container is no error",
};

pub(crate) static FORCE: Flag = Flag {
    name: "force",
    short: Some('f'),
    takes: Takes::Nothing,
    help: "kill the container if it runs; a missing one is no error",
};

pub(crate) static FORMAT: Flag = Flag {
    name: "format",
    short: Some('f'),
    takes: Takes::Choice(&["table", "json"]),
    help: "how to print (table unless given)",
};

pub(crate) static QUIET: Flag =
    Flag { name: "quiet", short: Some('q'), takes: Takes::Nothing, help: "print the ids alone" };

pub(crate) static STATS: Flag =
    Flag { name: "stats", short: None, takes: Takes::Nothing, help: "print the statistics once" };

pub(crate) static INTERVAL: Flag = Flag {
    name: "interval",
    short: None,
    takes: Takes::Text("DURATION"),
    help: "how often to print statistics, as 500ms or 1m30s (5s unless given)",
};

// Of checkpoint and restore, which this build lacks: they are parsed as runc's, for whoever asks by them what there is.

macro_rules! flags_of_checkpoints {
    ($($NAME:ident: $name:literal, $takes:expr, $help:literal;)*) => {
        $(pub(crate) static $NAME: Flag = Flag { name: $name, short: None, takes: $takes, help: $help };)*
    };
}

flags_of_checkpoints! {
    IMAGE_PATH: "image-path", Takes::Directory, "where the images of CRIU are";
    WORK_PATH: "work-path", Takes::Directory, "where CRIU works and logs";
    PARENT_PATH: "parent-path", Takes::Directory, "the images of an earlier pre-dump";
    LEAVE_RUNNING: "leave-running", Takes::Nothing, "let the container run on";
    TCP_ESTABLISHED: "tcp-established", Takes::Nothing, "allow open TCP connections";
    TCP_SKIP_IN_FLIGHT: "tcp-skip-in-flight", Takes::Nothing, "leave out TCP connections that are being made";
    LINK_REMAP: "link-remap", Takes::Nothing, "link unlinked files back where possible";
    EXT_UNIX_SK: "ext-unix-sk", Takes::Nothing, "allow unix sockets that lead outside";
    SHELL_JOB: "shell-job", Takes::Nothing, "allow jobs of a shell";
    LAZY_PAGES: "lazy-pages", Takes::Nothing, "restore pages of memory as they are used";
    STATUS_FD: "status-fd", Takes::Text("FD"), "descriptor that is told when lazy pages are ready";
    PAGE_SERVER: "page-server", Takes::Text("ADDRESS:PORT"), "where to send pages";
    FILE_LOCKS: "file-locks", Takes::Nothing, "handle locks of files";
    PRE_DUMP: "pre-dump", Takes::Nothing, "save the memory alone, and let the container run on";
    MANAGE_CGROUPS_MODE: "manage-cgroups-mode", Takes::Choice(&["soft", "full", "strict", "ignore"]), "what CRIU does with cgroups";
    EMPTY_NS: "empty-ns", Takes::Text("NAMESPACE"), "make a namespace without what was in it";
    AUTO_DEDUP: "auto-dedup", Takes::Nothing, "keep each page of memory once";
    LSM_PROFILE: "lsm-profile", Takes::Text("TYPE:NAME"), "profile of AppArmor or SELinux to restore with";
    LSM_MOUNT_CONTEXT: "lsm-mount-context", Takes::Text("CONTEXT"), "SELinux context of the mounts";
}

// Of update.

pub(crate) static RESOURCES: Flag = Flag {
    name: "resources",
    short: Some('r'),
    takes: Takes::File,
    help: "file with limits as linux.resources in config.json, - for standard input; flags count for more",
};

pub(crate) static MEMORY: Flag = Flag {
    name: "memory",
    short: None,
    takes: Takes::Text("BYTES"),
    help: "the most memory, also with a unit, as in 64m; -1 for no limit",
};

pub(crate) static MEMORY_RESERVATION: Flag = Flag {
    name: "memory-reservation",
    short: None,
    takes: Takes::Text("BYTES"),
    help: "the memory that is kept for it",
};

pub(crate) static MEMORY_SWAP: Flag = Flag {
    name: "memory-swap",
    short: None,
    takes: Takes::Text("BYTES"),
    help: "the most memory and swap together; needs --memory; -1 for no limit",
};

pub(crate) static CPU_SHARE: Flag = Flag {
    name: "cpu-share",
    short: None,
    takes: Takes::Text("N"),
    help: "the share of processor time; 1024 is what others have",
};

pub(crate) static CPU_QUOTA: Flag = Flag {
    name: "cpu-quota",
    short: None,
    takes: Takes::Text("USEC"),
    help: "processor time in each period; -1 for no limit",
};

pub(crate) static CPU_PERIOD: Flag =
    Flag { name: "cpu-period", short: None, takes: Takes::Text("USEC"), help: "the period of the quota" };

pub(crate) static CPU_BURST: Flag = Flag {
    name: "cpu-burst",
    short: None,
    takes: Takes::Text("USEC"),
    help: "processor time that may be saved up beyond the quota",
};

pub(crate) static CPU_IDLE: Flag =
    Flag { name: "cpu-idle", short: None, takes: Takes::Text("0|1"), help: "1: run only when nobody else wants to" };

pub(crate) static CPU_RT_PERIOD: Flag = Flag {
    name: "cpu-rt-period",
    short: None,
    takes: Takes::Text("USEC"),
    help: "refused: cgroup v2 has no groups of realtime processes",
};

pub(crate) static CPU_RT_RUNTIME: Flag =
    Flag { name: "cpu-rt-runtime", short: None, takes: Takes::Text("USEC"), help: "refused, as --cpu-rt-period" };

pub(crate) static CPUSET_CPUS: Flag = Flag {
    name: "cpuset-cpus",
    short: None,
    takes: Takes::Text("LIST"),
    help: "the processors to run on, as in 0-3,7",
};

pub(crate) static CPUSET_MEMS: Flag =
    Flag { name: "cpuset-mems", short: None, takes: Takes::Text("LIST"), help: "the memory nodes to use" };

pub(crate) static PIDS_LIMIT: Flag = Flag {
    name: "pids-limit",
    short: None,
    takes: Takes::Text("N"),
    help: "the most processes and threads; -1 for no limit",
};

pub(crate) static BLKIO_WEIGHT: Flag = Flag {
    name: "blkio-weight",
    short: None,
    takes: Takes::Text("N"),
    help: "the share of block devices, from 10 to 1000",
};

pub(crate) static L3_CACHE_SCHEMA: Flag = Flag {
    name: "l3-cache-schema",
    short: None,
    takes: Takes::Text("LINES"),
    help: "lines of the resctrl schema for the cache, for a container with linux.intelRdt",
};

pub(crate) static MEM_BW_SCHEMA: Flag = Flag {
    name: "mem-bw-schema",
    short: None,
    takes: Takes::Text("LINE"),
    help: "line of the resctrl schema for memory bandwidth",
};

pub(crate) static SPEC_BUNDLE: Flag = Flag {
    name: "bundle",
    short: Some('b'),
    takes: Takes::Directory,
    help: "where to write config.json (the current directory unless given)",
};

pub(crate) static SPEC_ROOTLESS: Flag = Flag {
    name: "rootless",
    short: None,
    takes: Takes::Nothing,
    help: "for a container that a user without privileges runs",
};

pub(crate) static TIMINGS: Flag = Flag {
    name: "timings",
    short: None,
    takes: Takes::Optional(&["table", "json"]),
    help: "print on standard error where the time went (as a table unless given)",
};

pub(crate) static PREFIX: Flag = Flag {
    name: "prefix",
    short: None,
    takes: Takes::Directory,
    help: "where to install: DIR/bin, DIR/share/man and so on (/usr/local unless given)",
};

pub(crate) static DESTDIR: Flag = Flag {
    name: "destdir",
    short: None,
    takes: Takes::Directory,
    help: "put before every path, for packages (nothing unless given)",
};

pub(crate) static UNINSTALL: Flag =
    Flag { name: "uninstall", short: None, takes: Takes::Nothing, help: "remove what was installed there, instead" };

pub(crate) static DRY_RUN: Flag =
    Flag { name: "dry-run", short: None, takes: Takes::Nothing, help: "do nothing but print the paths" };

pub(crate) static BPF: Flag = Flag {
    name: "bpf",
    short: None,
    takes: Takes::Nothing,
    help: "print the program instead, an instruction a line, as bpf_asm of the kernel's sources writes it",
};

pub(crate) static JSON: Flag = Flag { name: "json", short: None, takes: Takes::Nothing, help: "print as JSON" };
