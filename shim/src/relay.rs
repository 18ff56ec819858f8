//! Copies between the caller's standard input and output and the container's terminal.
//!
//! ```text
//!   stdin  --input buffer-->  pty master
//!   stdout <--output buffer-- pty master
//! ```
//!
//! One thread, one poll: a side is read when the buffer it fills is empty, and written when the buffer it
//! empties is not. Only the master is set non-blocking: the mode belongs to the open file, and those of
//! standard input and output are shared with whoever started us.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{read, write};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer};
use rustix::termios::{LocalModes, SpecialCodeIndex, tcgetattr};

use crate::cause::cause;

/// A pipe that poll says is writable takes so many bytes without blocking (PIPE_BUF).
const CAPACITY: usize = 4096;

/// Bytes on their way.
struct Buffer {
    bytes: Box<[u8; CAPACITY]>,
    start: usize,
    end: usize,
}

impl Buffer {
    fn new() -> Buffer {
        Buffer { bytes: Box::new([0; CAPACITY]), start: 0, end: 0 }
    }

    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    fn waiting(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Reads into the buffer, which must be empty. How many bytes came.
    fn fill(&mut self, from: BorrowedFd<'_>) -> nix::Result<usize> {
        let count = retry(|| read(from, &mut self.bytes[..]))?;
        (self.start, self.end) = (0, count);
        Ok(count)
    }

    /// Writes once.
    fn drain(&mut self, to: BorrowedFd<'_>) -> nix::Result<()> {
        let count = retry(|| write(to, self.waiting()))?;
        self.start += count;
        Ok(())
    }

    /// Puts bytes that come from no descriptor.
    fn put(&mut self, bytes: &[u8]) {
        for (place, &byte) in self.bytes.iter_mut().zip(bytes) {
            *place = byte;
        }
        (self.start, self.end) = (0, bytes.len().min(CAPACITY));
    }
}

fn retry<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

/// What there is to read from standard input.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Input {
    Open,
    /// We are in the background of its terminal.
    Background,
    Ended,
}

/// The two directions. In tests, `I` and `O` are other files than the standard ones.
pub(crate) struct Relay<I = io::Stdin, O = io::Stdout> {
    master: OwnedFd,
    /// The other end, which is not for us: while it is open, a container that closes the terminal and
    /// opens it again later, as systemd does with its console, is no hang-up.
    slave: OwnedFd,
    stdin: I,
    stdout: O,
    input: Buffer,
    input_state: Input,
    /// The last byte of input that was sent.
    last_sent: u8,
    output: Buffer,
}

impl<I: AsFd, O: AsFd> Relay<I, O> {
    /// A relay to and from the master of the container's terminal.
    pub(crate) fn new(master: OwnedFd, stdin: I, stdout: O) -> Result<Relay<I, O>, String> {
        fcntl(&master, FcntlArg::F_GETFL)
            .map(|flags| OFlag::from_bits_retain(flags) | OFlag::O_NONBLOCK)
            .and_then(|flags| fcntl(&master, FcntlArg::F_SETFL(flags)))
            .map_err(|error| format!("making the terminal non-blocking: {}", cause(error)))?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let slave = ioctl_tiocgptpeer(&master, flags)
            .map_err(|error| format!("opening the other end of the terminal: {}", cause(error)))?;
        Ok(Relay {
            master,
            slave,
            stdin,
            stdout,
            input: Buffer::new(),
            input_state: Input::Open,
            last_sent: b'\n',
            output: Buffer::new(),
        })
    }

    /// The master of the container's terminal.
    pub(crate) fn master(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }

    /// What to wait for: standard input, standard output, the master. An entry that waits for nothing
    /// would still report a hang-up, again and again; so it is left out.
    pub(crate) fn interests(&self) -> [Option<PollFd<'_>>; 3] {
        let entry = |fd, events: PollFlags| (!events.is_empty()).then(|| PollFd::new(fd, events));
        let when = |condition, event| if condition { event } else { PollFlags::empty() };
        let reads = self.input_state == Input::Open && self.input.is_empty();
        let of_master =
            when(self.output.is_empty(), PollFlags::POLLIN) | when(!self.input.is_empty(), PollFlags::POLLOUT);
        [
            entry(self.stdin.as_fd(), when(reads, PollFlags::POLLIN)),
            entry(self.stdout.as_fd(), when(!self.output.is_empty(), PollFlags::POLLOUT)),
            entry(self.master.as_fd(), of_master),
        ]
    }

    /// Moves bytes after poll has reported `events` for the entries of [`Relay::interests`].
    ///
    /// An error means that standard output takes no more. Dropping the relay is then the hang-up that
    /// closing a terminal's window is.
    pub(crate) fn serve(&mut self, [stdin, stdout, master]: [PollFlags; 3]) -> Result<(), String> {
        if !stdin.is_empty() {
            self.read_input()?;
        }
        if !stdout.is_empty() {
            write_to(&self.stdout, &mut self.output)?;
        }
        if master.contains(PollFlags::POLLOUT) {
            self.write_input()?;
        }
        if master.contains(PollFlags::POLLIN) {
            read_from(&self.master, &mut self.output)?;
        }
        Ok(())
    }

    /// Copies what the container wrote before it ended.
    ///
    /// The kernel first hands over all that was written to the slave. Then it says EIO, since all slaves
    /// are closed, or EAGAIN, which means that a process elsewhere still has one.
    pub(crate) fn finish(self) -> Result<(), String> {
        let Relay { master, slave, stdout, mut output, .. } = self;
        drop(slave);
        loop {
            while !output.is_empty() {
                let mut writable = [PollFd::new(stdout.as_fd(), PollFlags::POLLOUT)];
                retry(|| poll(&mut writable, PollTimeout::NONE))
                    .map_err(|error| format!("waiting for standard output: {}", cause(error)))?;
                write_to(&stdout, &mut output)?;
            }
            if read_from(&master, &mut output)? == 0 {
                return Ok(());
            }
        }
    }

    /// Reads standard input again after the job was continued, perhaps in the foreground.
    pub(crate) fn continued(&mut self) {
        if self.input_state == Input::Background {
            self.input_state = Input::Open;
        }
    }

    fn read_input(&mut self) -> Result<(), String> {
        match self.input.fill(self.stdin.as_fd()) {
            Ok(0) => self.end_input(),
            Ok(_) | Err(Errno::EAGAIN) => {}
            // What reading gives in the background of a terminal with SIGTTIN blocked, and when the
            // terminal has hung up, but then SIGHUP comes as well.
            Err(Errno::EIO) => self.input_state = Input::Background,
            Err(error) => return Err(format!("reading standard input: {}", cause(error))),
        }
        Ok(())
    }

    /// Passes the end of standard input on as what somebody at the terminal would type for it. After an
    /// unfinished line the first one only sends the line off.
    fn end_input(&mut self) {
        self.input_state = Input::Ended;
        // The modes of the slave; in a mode other than this one, no character means the end.
        let Ok(modes) = tcgetattr(&self.master) else {
            return;
        };
        if modes.local_modes.contains(LocalModes::ICANON) {
            let end = modes.special_codes[SpecialCodeIndex::VEOF];
            let times = if self.last_sent == b'\n' { 1 } else { 2 };
            self.input.put(&[end, end][..times]);
        }
    }

    fn write_input(&mut self) -> Result<(), String> {
        if let Some(&last) = self.input.waiting().last() {
            self.last_sent = last;
        }
        match self.input.drain(self.master.as_fd()) {
            Ok(()) | Err(Errno::EAGAIN) => Ok(()),
            Err(error) => Err(format!("writing to the container's terminal: {}", cause(error))),
        }
    }
}

/// How many bytes came; 0 when there are none, at the end and for now.
fn read_from(master: &OwnedFd, output: &mut Buffer) -> Result<usize, String> {
    match output.fill(master.as_fd()) {
        Err(Errno::EIO | Errno::EAGAIN) => Ok(0),
        result => result.map_err(|error| format!("reading the container's terminal: {}", cause(error))),
    }
}

fn write_to(stdout: &impl AsFd, output: &mut Buffer) -> Result<(), String> {
    match output.drain(stdout.as_fd()) {
        // Others who have it open may have made it non-blocking.
        Ok(()) | Err(Errno::EAGAIN) => Ok(()),
        Err(error) => Err(format!("writing to standard output: {}", cause(error))),
    }
}

#[cfg(test)]
#[path = "relay_tests.rs"]
mod tests;
