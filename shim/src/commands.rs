//! The subcommands: one struct each, with the flags that it takes and the function that runs it.

use crate::flags::{self, Flag};
use crate::log::Log;
use crate::parse::Arguments;
use crate::{
    check, completion, container, events, exec, features, help, info, install, list, plan, processes, run, seccomp,
    spec, update,
};

/// What a subcommand returns: the exit status, or why it failed, to be printed.
pub(crate) type Outcome = Result<u8, String>;

/// The function that runs a subcommand.
pub(crate) type Run = fn(&Arguments<'_>, &Log) -> Outcome;

/// How many positional arguments a subcommand takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Positionals {
    /// At least so many.
    pub(crate) least: usize,
    /// At most so many.
    pub(crate) most: usize,
    /// The first one ends the flags: what follows belongs to another program.
    pub(crate) end_flags: bool,
}

const fn exactly(count: usize) -> Positionals {
    between(count, count)
}

const fn between(least: usize, most: usize) -> Positionals {
    Positionals { least, most, end_flags: false }
}

const fn then_anything(least: usize) -> Positionals {
    Positionals { least, most: usize::MAX, end_flags: true }
}

/// A subcommand.
#[derive(Debug)]
pub(crate) struct Command {
    /// What it is called.
    pub(crate) name: &'static str,
    /// Its positional arguments, for the help.
    pub(crate) synopsis: &'static str,
    /// How many of them.
    pub(crate) positionals: Positionals,
    /// A phrase for the list of subcommands.
    pub(crate) about: &'static str,
    /// Its flags, beside `--help`.
    pub(crate) flags: &'static [&'static Flag],
    /// Runs it; `None` for a subcommand of runc that this build does not have.
    pub(crate) run: Option<fn(&Arguments, &Log) -> Outcome>,
}

impl Command {
    /// The subcommand of that name.
    pub(crate) fn find(name: &[u8]) -> Option<&'static Command> {
        COMMANDS.iter().find(|command| command.name.as_bytes() == name)
    }

    /// The flag of that name, given without dashes.
    pub(crate) fn flag(&self, name: &[u8]) -> Option<&'static Flag> {
        find_flag(self.flags, name)
    }
}

/// The flag of that name, given without dashes. `--help` is in no list and taken everywhere.
pub(crate) fn find_flag(flags: &[&'static Flag], name: &[u8]) -> Option<&'static Flag> {
    flags.iter().copied().chain([&flags::HELP]).find(|flag| flag.is_called(name))
}

/// Flags that come before the subcommand, beside `--help`.
pub(crate) static GLOBAL: &[&Flag] = &[
    &flags::DEBUG,
    &flags::LOG,
    &flags::LOG_FORMAT,
    &flags::ROOT,
    &flags::SYSTEMD_CGROUP,
    &flags::CGROUP_MANAGER,
    &flags::ROOTLESS,
    &flags::CRIU,
    &flags::VERSION,
];

/// The subcommands in the order of the help.
pub(crate) static COMMANDS: &[Command] = &[
    Command {
        name: "run",
        synopsis: "ID",
        positionals: exactly(1),
        about: "create and start a container, wait for its end and delete it",
        flags: &[
            &flags::BUNDLE,
            &flags::CONFIG,
            &flags::CONSOLE_SOCKET,
            &flags::PIDFD_SOCKET,
            &flags::PID_FILE,
            &flags::NO_PIVOT,
            &flags::NO_NEW_KEYRING,
            &flags::PRESERVE_FDS,
            &flags::DETACH,
            &flags::KEEP,
            &flags::NO_SUBREAPER,
            &flags::TIMINGS,
        ],
        run: Some(run::run),
    },
    Command {
        name: "create",
        synopsis: "ID",
        positionals: exactly(1),
        about: "create a container, ready to start",
        flags: &[
            &flags::BUNDLE,
            &flags::CONFIG,
            &flags::CONSOLE_SOCKET,
            &flags::PIDFD_SOCKET,
            &flags::PID_FILE,
            &flags::NO_PIVOT,
            &flags::NO_NEW_KEYRING,
            &flags::PRESERVE_FDS,
            &flags::TIMINGS,
        ],
        run: Some(run::create),
    },
    Command {
        name: "start",
        synopsis: "ID",
        positionals: exactly(1),
        about: "start the process of a created container",
        flags: &[&flags::TIMINGS],
        run: Some(container::start),
    },
    Command {
        name: "exec",
        synopsis: "ID [COMMAND...]",
        positionals: then_anything(1),
        about: "run another process in a container",
        flags: &[
            &flags::PROCESS,
            &flags::TTY,
            &flags::CWD,
            &flags::ENV,
            &flags::USER,
            &flags::ADDITIONAL_GIDS,
            &flags::CAP,
            &flags::NO_NEW_PRIVS,
            &flags::PROCESS_LABEL,
            &flags::APPARMOR,
            &flags::CONSOLE_SOCKET,
            &flags::PIDFD_SOCKET,
            &flags::PID_FILE,
            &flags::PRESERVE_FDS,
            &flags::DETACH,
            &flags::CGROUP,
            &flags::IGNORE_PAUSED,
            &flags::TIMINGS,
        ],
        run: Some(exec::exec),
    },
    Command {
        name: "state",
        synopsis: "ID",
        positionals: exactly(1),
        about: "print the state of a container as JSON",
        flags: &[],
        run: Some(container::state),
    },
    Command {
        name: "pause",
        synopsis: "ID",
        positionals: exactly(1),
        about: "stop all processes of a container",
        flags: &[],
        run: Some(container::pause),
    },
    Command {
        name: "resume",
        synopsis: "ID",
        positionals: exactly(1),
        about: "let the processes of a paused container go on",
        flags: &[],
        run: Some(container::resume),
    },
    Command {
        name: "kill",
        synopsis: "ID [SIGNAL]",
        positionals: between(1, 2),
        about: "send a signal (SIGTERM unless given) to the process of a container",
        flags: &[&flags::ALL],
        run: Some(container::kill),
    },
    Command {
        name: "delete",
        synopsis: "ID",
        positionals: exactly(1),
        about: "delete a stopped container and all that it holds",
        flags: &[&flags::FORCE],
        run: Some(container::delete),
    },
    Command {
        name: "list",
        synopsis: "",
        positionals: exactly(0),
        about: "list the containers under the root",
        flags: &[&flags::FORMAT, &flags::QUIET],
        run: Some(list::list),
    },
    Command {
        name: "update",
        synopsis: "ID",
        positionals: exactly(1),
        about: "change the resource limits of a container",
        flags: &[
            &flags::RESOURCES,
            &flags::MEMORY,
            &flags::MEMORY_RESERVATION,
            &flags::MEMORY_SWAP,
            &flags::CPU_SHARE,
            &flags::CPU_QUOTA,
            &flags::CPU_PERIOD,
            &flags::CPU_BURST,
            &flags::CPU_IDLE,
            &flags::CPU_RT_PERIOD,
            &flags::CPU_RT_RUNTIME,
            &flags::CPUSET_CPUS,
            &flags::CPUSET_MEMS,
            &flags::PIDS_LIMIT,
            &flags::BLKIO_WEIGHT,
            &flags::L3_CACHE_SCHEMA,
            &flags::MEM_BW_SCHEMA,
        ],
        run: Some(update::update),
    },
    Command {
        name: "ps",
        synopsis: "ID [PS-OPTION...]",
        positionals: then_anything(1),
        about: "list the processes of a container",
        flags: &[&flags::FORMAT],
        run: Some(processes::ps),
    },
    Command {
        name: "events",
        synopsis: "ID",
        positionals: exactly(1),
        about: "print statistics of a container, and kills for lack of memory, as JSON until it ends",
        flags: &[&flags::STATS, &flags::INTERVAL],
        run: Some(events::events),
    },
    Command {
        name: "spec",
        synopsis: "",
        positionals: exactly(0),
        about: "write a config.json to start from",
        flags: &[&flags::SPEC_BUNDLE, &flags::SPEC_ROOTLESS],
        run: Some(spec::spec),
    },
    Command {
        name: "features",
        synopsis: "",
        positionals: exactly(0),
        about: "print what this version supports as JSON",
        flags: &[],
        run: Some(features::features),
    },
    Command {
        name: "info",
        synopsis: "",
        positionals: exactly(0),
        about: "print what this host can do, and what is missing",
        flags: &[&flags::FORMAT],
        run: Some(info::info),
    },
    Command {
        name: "check",
        synopsis: "[BUNDLE]",
        positionals: between(0, 1),
        about: "print all that is wrong with a bundle, and what this host cannot do of it",
        flags: &[&flags::FORMAT, &flags::NO_PIVOT, &flags::NO_NEW_KEYRING],
        run: Some(check::check),
    },
    Command {
        name: "plan",
        synopsis: "[BUNDLE]",
        positionals: between(0, 1),
        about: "print what running a bundle would do, step by step, without doing it",
        flags: &[&flags::JSON, &flags::NO_PIVOT, &flags::NO_NEW_KEYRING],
        run: Some(plan::plan),
    },
    Command {
        name: "seccomp",
        synopsis: "[BUNDLE]",
        positionals: between(0, 1),
        about: "print what the seccomp filter of a bundle does, by action and system call",
        flags: &[&flags::BUNDLE, &flags::BPF],
        run: Some(seccomp::seccomp),
    },
    Command {
        name: "completion",
        synopsis: "bash|zsh|fish",
        positionals: exactly(1),
        about: "print a completion script for a shell",
        flags: &[],
        run: Some(completion::completion),
    },
    Command {
        name: "install",
        synopsis: "",
        positionals: exactly(0),
        about: "install this program, its manual and its completions",
        flags: &[&flags::PREFIX, &flags::DESTDIR, &flags::UNINSTALL, &flags::DRY_RUN],
        run: Some(install::install),
    },
    Command {
        name: "help",
        synopsis: "[COMMAND]",
        positionals: between(0, 1),
        about: "print the help of a command",
        flags: &[],
        run: Some(help::help),
    },
    Command {
        name: "checkpoint",
        synopsis: "ID",
        positionals: exactly(1),
        about: "save a running container to disk",
        flags: &[
            &flags::IMAGE_PATH,
            &flags::WORK_PATH,
            &flags::PARENT_PATH,
            &flags::LEAVE_RUNNING,
            &flags::TCP_ESTABLISHED,
            &flags::TCP_SKIP_IN_FLIGHT,
            &flags::LINK_REMAP,
            &flags::EXT_UNIX_SK,
            &flags::SHELL_JOB,
            &flags::LAZY_PAGES,
            &flags::STATUS_FD,
            &flags::PAGE_SERVER,
            &flags::FILE_LOCKS,
            &flags::PRE_DUMP,
            &flags::MANAGE_CGROUPS_MODE,
            &flags::EMPTY_NS,
            &flags::AUTO_DEDUP,
        ],
        run: None,
    },
    Command {
        name: "restore",
        synopsis: "ID",
        positionals: exactly(1),
        about: "start a container from a checkpoint",
        flags: &[
            &flags::BUNDLE,
            &flags::CONSOLE_SOCKET,
            &flags::IMAGE_PATH,
            &flags::WORK_PATH,
            &flags::TCP_ESTABLISHED,
            &flags::EXT_UNIX_SK,
            &flags::SHELL_JOB,
            &flags::FILE_LOCKS,
            &flags::MANAGE_CGROUPS_MODE,
            &flags::DETACH,
            &flags::PID_FILE,
            &flags::NO_SUBREAPER,
            &flags::NO_PIVOT,
            &flags::EMPTY_NS,
            &flags::AUTO_DEDUP,
            &flags::LAZY_PAGES,
            &flags::LSM_PROFILE,
            &flags::LSM_MOUNT_CONTEXT,
        ],
        run: None,
    },
];
