//! Waiting for a process in the foreground, a container's first or another one: signals are passed on, and so is
//! the terminal.
//!
//! Signals are blocked and read from a signalfd, not caught by handlers: one poll then waits for all that
//! can happen, and none is lost that comes while the container is being made. The container's process
//! must not inherit the mask; the library's init clears it.

use std::io::{stdin, stdout};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal as Number};
use nix::sys::signalfd::{SfdFlags, SignalFd, siginfo};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{Pid, getpid};
use no_frills::{Container, Error, Exec, NotifyManager, NotifySocket, Signal};

use crate::cause::cause;
use crate::log::Log;
use crate::relay::Relay;
use crate::terminal::{self, Raw};

/// The signals that are sent to this process.
pub(crate) struct Signals(SignalFd);

impl Signals {
    /// Blocks all signals. A fault of our own would still end us: the kernel forces those. SIGCHLD is read by who adopts
    /// alone: the end of the process that is waited for is told by its pidfd.
    pub(crate) fn block(adopts: bool) -> Result<Signals, String> {
        let all = SigSet::all();
        let mut read = all;
        if !adopts {
            read.remove(Number::SIGCHLD);
        }
        all.thread_block()
            .and_then(|()| SignalFd::with_flags(&read, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK))
            .map(Signals)
            .map_err(|error| format!("blocking signals: {}", cause(error)))
    }
}

/// The container's terminal and ours.
pub(crate) struct Terminal {
    // Dropped first: the container's terminal hangs up before ours is given back.
    relay: Relay,
    raw: Option<Raw>,
}

impl Terminal {
    /// Connects the terminals. The container's process need not run yet.
    pub(crate) fn connect(master: OwnedFd) -> Result<Terminal, String> {
        let relay = Relay::new(master, stdin(), stdout())?;
        terminal::copy_size(relay.master()).map_err(|error| format!("setting the window size: {}", cause(error)))?;
        let raw = Raw::new().map_err(|error| format!("setting the terminal to raw mode: {}", cause(error)))?;
        Ok(Terminal { relay, raw })
    }

    fn resize(&self) -> Result<(), String> {
        terminal::copy_size(self.relay.master()).map_err(|error| format!("setting the window size: {}", cause(error)))
    }

    /// After a stop: the shell has used the terminal meanwhile.
    fn continued(&mut self) -> Result<(), String> {
        self.relay.continued();
        if let Some(raw) = &self.raw {
            raw.set().map_err(|error| format!("setting the terminal to raw mode: {}", cause(error)))?;
        }
        self.resize()
    }
}

/// Who waits for the container to be ready, and where it says so.
pub(crate) struct Notify {
    /// The container's end.
    pub(crate) socket: NotifySocket,
    /// The service manager.
    pub(crate) manager: NotifyManager,
}

/// What is waited for.
pub(crate) trait Process {
    /// Its pid.
    fn pid(&self) -> i32;
    /// What to poll for its end; `None`: it has ended and is gone.
    fn pidfd(&self) -> Option<BorrowedFd<'_>>;
    /// Sends it a signal.
    fn kill(&self, signal: Signal) -> Result<(), Error>;
}

impl Process for Container {
    fn pid(&self) -> i32 {
        Container::pid(self)
    }

    fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        Container::pidfd(self)
    }

    fn kill(&self, signal: Signal) -> Result<(), Error> {
        Container::kill(self, signal)
    }
}

impl Process for Exec {
    fn pid(&self) -> i32 {
        Exec::pid(self)
    }

    fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        Some(Exec::pidfd(self))
    }

    fn kill(&self, signal: Signal) -> Result<(), Error> {
        Exec::kill(self, signal)
    }
}

/// A process in the foreground.
pub(crate) struct Attached<'a> {
    /// The process.
    pub(crate) process: &'a dyn Process,
    /// Where signals arrive.
    pub(crate) signals: &'a Signals,
    /// The terminals, if the process has one.
    pub(crate) terminal: Option<Terminal>,
    /// Until it was ready.
    pub(crate) notify: Option<Notify>,
    /// Where to report what fails on the way.
    pub(crate) log: &'a Log,
}

/// What poll reported.
struct Events {
    ended: bool,
    signalled: bool,
    notified: bool,
    relay: [PollFlags; 3],
}

impl Attached<'_> {
    /// Returns when the process has ended and its output is written.
    pub(crate) fn wait(mut self) -> Result<(), String> {
        loop {
            let events = self.poll()?;
            if events.ended {
                break;
            }
            if events.signalled {
                self.read_signals()?;
            }
            if events.notified {
                self.pass_on_readiness();
            }
            if let Some(terminal) = &mut self.terminal
                && let Err(message) = terminal.relay.serve(events.relay)
            {
                self.log.warning(&message);
                self.terminal = None;
            }
        }
        if let Some(Terminal { relay, raw }) = self.terminal {
            let finished = relay.finish();
            drop(raw);
            if let Err(message) = finished {
                self.log.warning(&message);
            }
        }
        Ok(())
    }

    fn poll(&self) -> Result<Events, String> {
        let Some(pidfd) = self.process.pidfd() else {
            return Ok(Events { ended: true, signalled: false, notified: false, relay: [PollFlags::empty(); 3] });
        };
        let signals = self.signals.0.as_fd();
        // For an entry that waits for nothing: the signalfd never hangs up.
        let nothing = || PollFd::new(signals, PollFlags::empty());
        let relay = self.terminal.as_ref().map(|terminal| terminal.relay.interests());
        let notify = self.notify.as_ref().map(|notify| PollFd::new(notify.socket.as_fd(), PollFlags::POLLIN));
        let count = if relay.is_some() { 6 } else { 2 + usize::from(notify.is_some()) };
        let [stdin, stdout, master] = relay.unwrap_or_default().map(|entry| entry.unwrap_or_else(nothing));
        let mut entries = [
            PollFd::new(pidfd, PollFlags::POLLIN),
            PollFd::new(signals, PollFlags::POLLIN),
            notify.unwrap_or_else(nothing),
            stdin,
            stdout,
            master,
        ];
        loop {
            match poll(&mut entries[..count], PollTimeout::NONE) {
                // Stopped and continued.
                Err(Errno::EINTR) => {}
                Err(error) => return Err(format!("waiting for the process: {}", cause(error))),
                Ok(_) => break,
            }
        }
        let [ended, signalled, notified, stdin, stdout, master] =
            entries.map(|entry| entry.revents().unwrap_or(PollFlags::empty()));
        Ok(Events {
            ended: !ended.is_empty(),
            signalled: !signalled.is_empty(),
            notified: !notified.is_empty(),
            relay: [stdin, stdout, master],
        })
    }

    /// The service's main process stays this one: it is there until the container has been deleted.
    fn pass_on_readiness(&mut self) {
        let Some(Notify { socket, manager }) = &self.notify else { return };
        let told = match socket.is_ready() {
            Ok(false) => return,
            Ok(true) => manager.ready(getpid().as_raw()),
            Err(error) => Err(error),
        };
        if let Err(error) = told {
            self.log.warning(&error.to_string());
        }
        self.notify = None;
    }

    fn read_signals(&mut self) -> Result<(), String> {
        while let Some(info) =
            self.signals.0.read_signal().map_err(|error| format!("reading a signal: {}", cause(error)))?
        {
            if let Err(message) = self.signal(&info) {
                self.log.warning(&message);
            }
        }
        Ok(())
    }

    fn signal(&mut self, info: &siginfo) -> Result<(), String> {
        let number = i32::try_from(info.ssi_signo).unwrap_or_default();
        match number {
            libc::SIGCHLD => return reap_adopted(self.process.pid()),
            // Our own write to a closed pipe, which has said EPIPE.
            libc::SIGPIPE if info.ssi_pid == getpid().as_raw().unsigned_abs() => return Ok(()),
            libc::SIGWINCH => {
                if let Some(terminal) = &self.terminal {
                    return terminal.resize();
                }
            }
            libc::SIGCONT => {
                if let Some(terminal) = &mut self.terminal {
                    terminal.continued()?;
                }
            }
            _ => {}
        }
        let Some(signal) = Signal::from_number(number) else {
            return Ok(());
        };
        self.log.debug(|| format!("passing on {signal}"));
        match self.process.kill(signal) {
            // It has just ended; poll will say so.
            Ok(()) | Err(Error::NotRunning) => Ok(()),
            Err(error) => Err(format!("passing on {signal}: {error}")),
        }
    }
}

/// Reaps children other than the container's process, whose status is still wanted.
fn reap_adopted(process: i32) -> Result<(), String> {
    let failed = |error: Errno| format!("reaping orphans: {}", cause(error));
    loop {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        let ended: Option<Pid> = match waitid(Id::All, flags) {
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => None,
            Ok(status) => status.pid().filter(|pid| pid.as_raw() != process),
            Err(error) => return Err(failed(error)),
        };
        let Some(pid) = ended else {
            return Ok(());
        };
        waitpid(pid, Some(WaitPidFlag::WNOHANG)).map_err(failed)?;
    }
}
