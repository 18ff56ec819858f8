//! What the manual says beyond synopsis and flags: descriptions, exit statuses, files, environment and examples. A paragraph is one line here; lines that
//! begin with four blanks are shown as they are.

/// What is said of a command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Words {
    /// The command; empty: of all together.
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
    pub(crate) exit_status: &'static str,
    pub(crate) examples: &'static str,
}

/// A file or a variable, what it is for, and the commands that it is for.
pub(crate) type Item = (&'static str, &'static str, &'static [&'static str]);

pub(crate) static FILES: &[Item] = &[
    (
        "/run/no-frills",
        "The state root for root: a directory for each container. It is another one with --root, and $XDG_RUNTIME_DIR/no-frills for a user.",
        &[
            "run", "create", "start", "exec", "state", "pause", "resume", "kill", "delete", "list", "update", "ps",
            "events",
        ],
    ),
    (
        "config.json",
        "In the bundle: what the container is like, in the words of the OCI runtime specification. Relative paths in it count from the bundle.",
        &["run", "create", "spec", "plan", "check", "seccomp"],
    ),
    (
        "/etc/subuid, /etc/subgid",
        "Which further ids a user may map, by newuidmap(1) and newgidmap(1).",
        &["run", "create", "check", "info"],
    ),
    (
        "/sys/fs/cgroup",
        "Where cgroup v2 is looked for first; else /proc/self/mountinfo says where it is.",
        &["run", "create", "exec", "update", "info"],
    ),
];

pub(crate) static ENVIRONMENT: &[Item] = &[
    (
        "XDG_RUNTIME_DIR",
        "For a user: where the state root and the sockets of systemd are.",
        &[
            "run", "create", "start", "exec", "state", "pause", "resume", "kill", "delete", "list", "update", "ps",
            "events", "info",
        ],
    ),
    (
        "LISTEN_FDS, LISTEN_PID",
        "Descriptors that are passed on to the container, see sd_listen_fds(3).",
        &["run", "create"],
    ),
    (
        "NOTIFY_SOCKET",
        "Who is told when the container says that it is ready, see sd_notify(3).",
        &["run", "create", "start"],
    ),
    (
        "PATH",
        "Where newuidmap(1) and newgidmap(1) are looked for. The container has its own.",
        &["run", "create", "check", "info"],
    ),
];

const USUAL: &str = "0 on success, 1 on any failure.";

pub(crate) static OVERVIEW: Words = Words {
    name: "",
    description: "no-frills runs containers that OCI bundles describe. It takes the command line of runc, and can stand in its place under containerd, Docker, Podman and others.\n\n\
A container is created from a bundle, started, and deleted; run does all of that. Containers are kept under the state root, and live independently of the command that made them.\n\n\
Flags may be given with one dash or two; a value follows, or is joined by an equals sign. What a configuration asks for that cannot be had is an error, which names the setting by its JSON pointer.",
    exit_status: "0 on success, 1 on any failure. run and exec exit as the process did, with 128 and its number after a signal; exec exits with 255 if it could not be started.",
    examples: "    mkdir -p bundle/rootfs && cd bundle\n    no-frills spec\n    no-frills check\n    no-frills run my-container",
};

pub(crate) static MANUAL: &[Words] = &[
    Words {
        name: "run",
        description: "Creates a container from a bundle and starts it. Without --detach it stays until the container's process has ended, passes signals and the terminal through, and deletes the container.\n\n\
The bundle is a directory with a config.json and the root file system that it names.",
        exit_status: "That of the container's process, 128 and the number of the signal that ended it; 1 if it could not be created or started. With --detach 0 as soon as it runs.",
        examples: "    no-frills run --bundle /var/lib/bundles/web web\n    no-frills run --detach --pid-file web.pid web\n    no-frills run --timings web",
    },
    Words {
        name: "create",
        description: "Creates a container from a bundle: everything is ready, and its program waits for no-frills start. Nothing is left of one that cannot be created.",
        exit_status: USUAL,
        examples: "    no-frills create --bundle /var/lib/bundles/web web\n    no-frills start web",
    },
    Words {
        name: "start",
        description: "Lets the program of a created container run, and returns when it does.",
        exit_status: USUAL,
        examples: "    no-frills start web",
    },
    Words {
        name: "exec",
        description: "Runs another process in a container that runs. Without --process it is as the container's own, changed by the flags; with it the file says all.",
        exit_status: "That of the process, 128 and the number of the signal that ended it; 255 if it could not be started. With --detach 0 as soon as it runs.",
        examples: "    no-frills exec web ls -l /\n    no-frills exec --tty --env TERM=xterm web sh",
    },
    Words {
        name: "state",
        description: "Prints the state of a container as the OCI runtime specification has it, as JSON: its status is creating, created, running, paused or stopped.",
        exit_status: USUAL,
        examples: "    no-frills state web",
    },
    Words {
        name: "pause",
        description: "Stops all processes of a container by the freezer of its cgroup, until no-frills resume.",
        exit_status: USUAL,
        examples: "    no-frills pause web",
    },
    Words {
        name: "resume",
        description: "Lets the processes of a paused container go on.",
        exit_status: USUAL,
        examples: "    no-frills resume web",
    },
    Words {
        name: "kill",
        description: "Sends a signal to the process of a container, by name or number; SIGTERM unless one is given.",
        exit_status: USUAL,
        examples: "    no-frills kill web\n    no-frills kill --all web KILL",
    },
    Words {
        name: "delete",
        description: "Deletes a container that has stopped, or that was created and not started, and all that it holds: processes, cgroup, state. With --force one in any state, also one whose creation was interrupted; that there is none is no error then.",
        exit_status: USUAL,
        examples: "    no-frills delete web\n    no-frills delete --force web",
    },
    Words {
        name: "list",
        description: "Lists the containers under the state root.",
        exit_status: USUAL,
        examples: "    no-frills list\n    no-frills list --format json",
    },
    Words {
        name: "update",
        description: "Changes the limits of a container that is there. A flag that is not given leaves its limit as it is.",
        exit_status: USUAL,
        examples: "    no-frills update --memory 268435456 --pids-limit 100 web\n    no-frills update --resources - web <resources.json",
    },
    Words {
        name: "ps",
        description: "Lists the processes of a container, by the ps of the host, which is given the options that follow the id.",
        exit_status: USUAL,
        examples: "    no-frills ps web\n    no-frills ps web -o pid,comm",
    },
    Words {
        name: "events",
        description: "Prints statistics of a container as JSON, a line each, at an interval, and a line when a process of it is killed for lack of memory, until the container ends.",
        exit_status: USUAL,
        examples: "    no-frills events --stats web\n    no-frills events --interval 1s web",
    },
    Words {
        name: "spec",
        description: "Writes a config.json to start from. One that is there is not overwritten.",
        exit_status: USUAL,
        examples: "    no-frills spec --bundle /var/lib/bundles/web\n    no-frills spec --rootless",
    },
    Words {
        name: "features",
        description: "Prints what this version supports as JSON, in the words of the OCI runtime specification. What this host can do says no-frills info.",
        exit_status: USUAL,
        examples: "    no-frills features",
    },
    Words {
        name: "info",
        description: "Prints what this host can do for this caller: the kernel and what it has, cgroups and controllers, namespaces and their limits, what a user may do, seccomp, security modules. What is missing is marked, with what follows from it and a remedy. Nothing is made or changed.",
        exit_status: USUAL,
        examples: "    no-frills info\n    no-frills info --format json",
    },
    Words {
        name: "check",
        description: "Prints all that is wrong with a bundle, at once: for each problem the place in config.json as a JSON pointer, what is wrong, and a remedy. An error is what create refuses, or start; that includes what this host cannot do for this caller. A warning is what is accepted, and hardly meant so: names that nobody knows, values that the specification has otherwise, things that are there twice, what is deprecated or has no effect.\n\n\
Nothing is made or changed, and no hook is run. It asks what create asks before it makes something; what the kernel alone knows when it is done cannot be told in advance.",
        exit_status: "0 if there are no errors, whatever the warnings; 1 if there are.",
        examples: "    no-frills check /var/lib/bundles/web\n    no-frills check --format json . | jq .problems",
    },
    Words {
        name: "plan",
        description: "Prints what running a bundle would do, step by step, each with the setting that it comes from. Nothing is done, no privileges are needed, and nothing that the bundle names has to be there.",
        exit_status: USUAL,
        examples: "    no-frills plan /var/lib/bundles/web",
    },
    Words {
        name: "seccomp",
        description: "Prints what the seccomp filter of a bundle does, by action and system call, or its program.",
        exit_status: USUAL,
        examples: "    no-frills seccomp /var/lib/bundles/web\n    no-frills seccomp --bpf /var/lib/bundles/web",
    },
    Words {
        name: "completion",
        description: "Prints a completion script for a shell. no-frills install puts them where shells look for them.",
        exit_status: USUAL,
        examples: "    . <(no-frills completion bash)",
    },
    Words {
        name: "install",
        description: "Installs this program as PREFIX/bin/no-frills, its manual in PREFIX/share/man/man8, and completions for bash, zsh and fish, and prints the paths. Each file is replaced as a whole: there is the old one or the new one at any time. Directories that are missing are made.\n\n\
With --uninstall the same files are removed, and what was there is printed; directories stay.",
        exit_status: "0 on success, 1 on any failure; what was printed was done then.",
        examples: "    no-frills install\n    no-frills install --prefix /usr --destdir package\n    no-frills install --uninstall",
    },
    Words {
        name: "help",
        description: "Prints the help of the command, or of the subcommand named: what --help prints.",
        exit_status: USUAL,
        examples: "    no-frills help run",
    },
];

/// What is said of a command.
pub(crate) fn of(name: &str) -> Words {
    let words = MANUAL.iter().find(|words| words.name == name);
    words.copied().unwrap_or(Words { name: "", description: "", exit_status: USUAL, examples: "" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::COMMANDS;

    #[test]
    fn every_command_is_described() {
        for command in COMMANDS.iter().filter(|command| command.run.is_some()) {
            let Words { name, description, exit_status, examples } = of(command.name);
            assert_eq!(name, command.name, "it has no words in the manual");
            assert!(description.ends_with('.') && exit_status.ends_with('.'), "{name}");
            assert!(examples.contains(&format!("no-frills {name}")), "{name}");
        }
        // Nothing is described that is not there.
        for words in MANUAL {
            assert!(
                COMMANDS.iter().any(|command| command.name == words.name && command.run.is_some()),
                "{}",
                words.name
            );
        }
        for (name, _, of) in FILES.iter().chain(ENVIRONMENT) {
            assert!(of.iter().all(|of| COMMANDS.iter().any(|command| command.name == *of)), "{name}");
        }
    }
}
