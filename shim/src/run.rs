//! `run` and `create`.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use nix::libc::CLONE_NEWPID;
use nix::sys::prctl::set_child_subreaper;
use no_frills::{
    Bundle, Container, CreateOptions, Error, NotifyManager, NotifySocket, OwnCgroup, Runtime, SeccompFilter, Timings,
};

use crate::attach::{Attached, Notify, Signals, Terminal};
use crate::cause::cause;
use crate::commands::Outcome;
use crate::environment;
use crate::flags;
use crate::log::Log;
use crate::parse::{Arguments, Values};
use crate::pidfd_socket::PidfdSocket;
use crate::root;
use crate::timings;

/// Creates a container.
pub(crate) fn create(arguments: &Arguments<'_>, log: &Log) -> Outcome {
    timed(arguments.flags, |timings| {
        let made = Making::prepare(arguments, true, timings, log)?.create(log)?;
        made.send_pidfd()?;
        Ok(0)
    })
}

/// Does something, and tells where its time went if that is asked for.
fn timed(flags: &Values, serve: impl FnOnce(Option<Timings>) -> Outcome) -> Outcome {
    let clock = timings::begin(flags);
    let outcome = serve(clock.clone());
    timings::tell(clock, flags);
    outcome
}

/// Creates and starts a container; unless detached, also waits for its end and deletes it.
pub(crate) fn run(arguments: &Arguments<'_>, log: &Log) -> Outcome {
    timed(arguments.flags, |timings| create_and_start(arguments, log, timings))
}

fn create_and_start(arguments: &Arguments<'_>, log: &Log, timings: Option<Timings>) -> Outcome {
    let detached = arguments.flags.has(&flags::DETACH);
    let making = Making::prepare(arguments, detached, timings, log)?;
    if !detached {
        return attached(making, arguments.flags, log);
    }
    // With a pidfd to hand over, the receiver gets it before the program runs.
    if making.pidfd_socket.is_some() || making.options.notify {
        let manager = making.manager()?;
        let made = making.create(log)?.send_pidfd()?;
        match manager {
            None => made.start().map(drop)?,
            Some(manager) => made.start_until_ready(&manager)?,
        }
    } else {
        making.run(log)?;
    }
    Ok(0)
}

fn attached(making: Making<'_>, flags: &Values, log: &Log) -> Outcome {
    let keep = flags.has(&flags::KEEP);
    let timings = making.options.timings.clone();
    // Only what shares our pid namespace can be adopted: in one of its own, init gets the orphans.
    let adopts = !making.bundle.config().has_namespace(CLONE_NEWPID as u64) && !flags.has(&flags::NO_SUBREAPER);
    if adopts {
        set_child_subreaper(true).map_err(|error| format!("becoming the subreaper: {}", cause(error)))?;
    }
    let terminal = making.bundle.config().terminal();
    let signals = Signals::block(adopts)?;
    let manager = making.manager()?;
    let (made, terminal, notify) = if terminal || making.pidfd_socket.is_some() || manager.is_some() {
        // Before the program runs: it may ask for the window's size at once.
        let (made, terminal) = making.create(log)?.send_pidfd()?.connect_terminal()?;
        match manager {
            None => (made.start()?, terminal, None),
            Some(manager) => {
                let (made, socket) = made.start_notifying()?;
                (made, terminal, Some(Notify { socket, manager }))
            }
        }
    } else {
        (making.run(log)?, None, None)
    };
    let waited = Attached { process: &made.container, signals: &signals, terminal, notify, log }.wait();
    timings::mark(timings.as_ref(), "running");
    // Not wanted any more, whatever is wrong: nobody would wait for its end.
    if let Err(message) = waited {
        return Err(made.abandon(message));
    }
    let status = match made.container.wait() {
        Ok(exit) => u8::try_from(exit.code()).unwrap_or(u8::MAX),
        Err(error) => return Err(made.abandon(error.to_string())),
    };
    if keep {
        return Ok(status);
    }
    let deleted = made.container.delete(false);
    timings::mark(timings.as_ref(), "deleting");
    match deleted {
        Ok(warnings) => {
            for warning in warnings {
                log.warning(&warning);
            }
            Ok(status)
        }
        Err(error) => {
            log.error(&error.to_string());
            // A failure of the container's own tells more than this one; its success must not hide it.
            Ok(status.max(1))
        }
    }
}

/// All that is known before a container is made.
struct Making<'a> {
    runtime: Runtime,
    id: Cow<'a, str>,
    bundle: Bundle,
    options: CreateOptions,
    pidfd_socket: Option<PidfdSocket>,
}

impl<'a> Making<'a> {
    fn prepare(
        arguments: &'a Arguments<'a>,
        detached: bool,
        timings: Option<Timings>,
        log: &Log,
    ) -> Result<Making<'a>, String> {
        let flags = arguments.flags;
        let runtime = root::open(arguments.global)?;
        let directory = flags.value(&flags::BUNDLE).unwrap_or(OsStr::new("."));
        let config = flags.value(&flags::CONFIG).map(Path::new);
        let bundle = Bundle::load_with(Path::new(directory), config).map_err(|error| error.to_string())?;
        timings::mark(timings.as_ref(), "reading config.json");
        log.debug(|| {
            let program = bundle.config().args().first().map_or("", String::as_str);
            format!("bundle {}: program {program:?}", bundle.directory().display())
        });
        let path = |flag| flags.value(flag).filter(|path| !path.is_empty());
        let console_socket = path(&flags::CONSOLE_SOCKET).map(PathBuf::from);
        check_terminal(bundle.config().terminal(), detached, console_socket.is_some())?;
        let listen_fds = environment::listen_fds()?;
        Ok(Making {
            runtime,
            id: arguments.text(0),
            bundle,
            options: CreateOptions {
                console_socket,
                pid_file: path(&flags::PID_FILE).map(PathBuf::from),
                preserve_fds: listen_fds + flags.number(&flags::PRESERVE_FDS),
                listen_fds,
                notify: environment::notify_socket().is_some(),
                timings,
                ..planned_options(arguments)
            },
            pidfd_socket: path(&flags::PIDFD_SOCKET).map(PidfdSocket::connect).transpose()?,
        })
    }

    /// Who is to be told that the container is ready.
    fn manager(&self) -> Result<Option<NotifyManager>, String> {
        environment::notify_socket().as_deref().map(connect_manager).transpose()
    }

    fn create(self, log: &Log) -> Result<Made, String> {
        self.make(log, Runtime::create)
    }

    fn run(self, log: &Log) -> Result<Made, String> {
        self.make(log, Runtime::run)
    }

    fn make(
        self,
        log: &Log,
        how: impl FnOnce(&Runtime, &str, &Bundle, CreateOptions) -> Result<Container, Error>,
    ) -> Result<Made, String> {
        let container = how(&self.runtime, &self.id, &self.bundle, self.options).map_err(|error| error.to_string())?;
        for warning in container.warnings() {
            log.warning(warning);
        }
        log.debug(|| format!("container {}: process {}{}", container.id(), container.pid(), in_cgroup(&container)));
        log_passed_over(log, &self.bundle);
        Ok(Made { container, pidfd_socket: self.pidfd_socket })
    }
}

/// A container that was made. What fails from here on must not leave it behind.
struct Made {
    container: Container,
    pidfd_socket: Option<PidfdSocket>,
}

impl Made {
    fn send_pidfd(mut self) -> Result<Made, String> {
        let sent = match (self.pidfd_socket.take(), self.container.pidfd()) {
            (Some(socket), Some(pidfd)) => socket.send(c"standard", pidfd),
            _ => Ok(()),
        };
        self.or_abandon(sent)
    }

    fn connect_terminal(mut self) -> Result<(Made, Option<Terminal>), String> {
        match self.container.take_console().map(Terminal::connect).transpose() {
            Ok(terminal) => Ok((self, terminal)),
            Err(message) => Err(self.abandon(message)),
        }
    }

    fn start(self) -> Result<Made, String> {
        let started = self.container.start().map_err(|error| error.to_string());
        self.or_abandon(started)
    }

    fn start_notifying(self) -> Result<(Made, NotifySocket), String> {
        match self.container.start_notifying() {
            Ok(socket) => Ok((self, socket)),
            Err(error) => Err(self.abandon(error.to_string())),
        }
    }

    /// Starts the container, and waits until it is ready, or has ended.
    fn start_until_ready(self, manager: &NotifyManager) -> Result<(), String> {
        let (made, socket) = self.start_notifying()?;
        // It runs: whatever becomes of the notification, it is not taken back.
        wait_until_ready(&made.container, &socket, manager)
    }

    fn or_abandon(self, result: Result<(), String>) -> Result<Made, String> {
        match result {
            Ok(()) => Ok(self),
            Err(message) => Err(self.abandon(message)),
        }
    }

    /// Deletes the container; the text says why, and what else went wrong.
    fn abandon(self, message: String) -> String {
        match self.container.delete(true) {
            Ok(warnings) if warnings.is_empty() => message,
            Ok(warnings) => format!("{message}; {}", warnings.join("; ")),
            Err(error) => format!("{message}; deleting the container: {error}"),
        }
    }
}

/// Connects to the service manager.
pub(crate) fn connect_manager(address: &OsStr) -> Result<NotifyManager, String> {
    NotifyManager::connect(address).map_err(|error| format!("NOTIFY_SOCKET: {error}"))
}

/// Waits until a container is ready, and tells the manager; or until it has ended.
pub(crate) fn wait_until_ready(
    container: &Container,
    socket: &NotifySocket,
    manager: &NotifyManager,
) -> Result<(), String> {
    // Without a pidfd it has ended and is gone.
    let ready = container.pidfd().map_or_else(|| socket.is_ready(), |process| socket.wait(process));
    let told = ready.and_then(|ready| if ready { manager.ready(container.pid()) } else { Ok(()) });
    told.map_err(|error| error.to_string())
}

/// A relay of a terminal needs a process that stays; one that stays needs no socket to pass it to.
pub(crate) fn check_terminal(terminal: bool, detached: bool, socket: bool) -> Result<(), String> {
    let message = match (terminal && detached, socket) {
        (true, false) => {
            "/process/terminal: cannot allocate tty if no-frills will detach without setting console socket"
        }
        (false, true) => "cannot use console socket if no-frills will not detach or allocate tty",
        _ => return Ok(()),
    };
    Err(message.to_owned())
}

/// Whether systemd is to make the cgroup. Commands on containers that exist take the flags as they come: who made one is on
/// record.
fn is_systemd(global: &Values) -> bool {
    match global.word(&flags::CGROUP_MANAGER) {
        Some(manager) => manager == "systemd",
        None => global.has(&flags::SYSTEMD_CGROUP),
    }
}

/// What the command line says of a container that is to be created, as far as its plan depends on it.
pub(crate) fn planned_options(arguments: &Arguments<'_>) -> CreateOptions {
    CreateOptions {
        no_pivot: arguments.flags.has(&flags::NO_PIVOT),
        no_new_keyring: arguments.flags.has(&flags::NO_NEW_KEYRING),
        systemd_cgroup: is_systemd(arguments.global),
        own_cgroup: own_cgroup(arguments.global),
        ..CreateOptions::default()
    }
}

/// Whether the container is to have a cgroup: it says `--cgroup-manager disabled`, or else `--rootless`.
fn own_cgroup(global: &Values) -> OwnCgroup {
    match (global.word(&flags::CGROUP_MANAGER), global.word(&flags::ROOTLESS)) {
        (Some("disabled"), _) => OwnCgroup::None,
        (_, Some("true")) => OwnCgroup::IfPermitted,
        (_, Some("false")) => OwnCgroup::Required,
        _ => OwnCgroup::Auto,
    }
}

/// `, in the cgroup PATH`, for the log.
pub(crate) fn in_cgroup(container: &Container) -> String {
    match container.cgroup() {
        Some(path) => format!(", in the cgroup /{}", path.display()),
        None => ", without a cgroup of its own".to_owned(),
    }
}

/// Says which names of system calls in the seccomp profile do nothing.
fn log_passed_over(log: &Log, bundle: &Bundle) {
    if !log.is_debug() {
        return;
    }
    // What is wrong with it has been told.
    let Ok(Some(filter)) = SeccompFilter::new(bundle.config()) else { return };
    for (architecture, names) in filter.passed_over() {
        log.debug(|| {
            format!("seccomp: {} has no system calls of these names: {}", architecture.name(), names.join(", "))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::check_terminal;

    #[test]
    fn terminals_and_sockets() {
        // (terminal, detached, socket)
        for fits in [(false, false, false), (false, true, false), (true, false, false), (true, true, true)] {
            assert_eq!(check_terminal(fits.0, fits.1, fits.2), Ok(()), "{fits:?}");
        }
        let refused = |terminal, detached, socket| check_terminal(terminal, detached, socket).unwrap_err();
        assert!(refused(true, true, false).contains("without setting console socket"));
        for (terminal, detached) in [(false, false), (false, true), (true, false)] {
            assert!(refused(terminal, detached, true).starts_with("cannot use console socket"));
        }
    }
}
