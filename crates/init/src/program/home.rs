//! The user's home directory, from the container's `/etc/passwd` (passwd(5)).

use crate::execute::Machine;
use crate::kernel::{
    self, CURRENT, Failure, Fd, O_CLOEXEC, O_NOCTTY, O_NONBLOCK, RESOLVE_NO_MAGICLINKS, Result, S_IFREG, errno,
};

/// `HOME=`, the path, a NUL.
pub(crate) const HOME_MAX: usize = 1024;
const PREFIX: &[u8] = b"HOME=";

/// The variable as execve wants it.
pub(crate) struct Home {
    bytes: [u8; HOME_MAX],
    /// Without the NUL; 0: not asked for.
    length: usize,
}

impl Home {
    pub(crate) const fn new() -> Home {
        Home { bytes: [0; HOME_MAX], length: 0 }
    }

    /// Its address, if it was asked for.
    pub(crate) fn address(&self) -> Option<usize> {
        (self.length > 0).then_some(self.bytes.as_ptr() as usize)
    }

    /// The variable, without its NUL.
    #[cfg(fuzzing)]
    pub(crate) fn value(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// Sets it to a path; one that does not fit is as good as none.
    fn set(&mut self, path: &[u8]) {
        self.length = 0;
        if PREFIX.len() + path.len() >= HOME_MAX {
            return self.set(b"/");
        }
        for (to, from) in self.bytes.iter_mut().zip(PREFIX.iter().chain(path).chain(&[0])) {
            *to = *from;
        }
        self.length = PREFIX.len() + path.len();
    }
}

/// Reads a file line by line through a buffer of its own; a line that does not fit is passed over.
struct Lines {
    file: Fd,
    buffer: [u8; 4096],
    start: usize,
    end: usize,
    /// In a line that was too long.
    overlong: bool,
    /// The image may have put something endless there.
    reads_left: u32,
}

impl Lines {
    /// The next line without its end, or `None` when there is no more.
    fn next(&mut self) -> Result<Option<&[u8]>> {
        loop {
            let unread = self.buffer.get(self.start..self.end).unwrap_or(&[]);
            if let Some(length) = unread.iter().position(|byte| *byte == b'\n') {
                let from = self.start;
                self.start += length + 1;
                if core::mem::take(&mut self.overlong) {
                    continue;
                }
                return Ok(self.buffer.get(from..from + length));
            }
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            if self.end == self.buffer.len() {
                self.overlong = true;
                self.end = 0;
            }
            let room = self.buffer.get_mut(self.end..).unwrap_or(&mut []);
            let count = if self.reads_left == 0 { 0 } else { kernel::read(self.file, room)? };
            self.reads_left = self.reads_left.saturating_sub(1);
            if count == 0 {
                // The last line may lack its end.
                let rest = self.buffer.get(..self.end).filter(|rest| !rest.is_empty() && !self.overlong);
                self.end = 0;
                return Ok(rest);
            }
            self.end += count;
        }
    }
}

/// A decimal number of at most 32 bits.
fn number(text: &[u8]) -> Option<u32> {
    text.iter().try_fold((!text.is_empty()).then_some(0u32)?, |number, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        number.checked_mul(10)?.checked_add(u32::from(digit))
    })
}

/// The home directory in a line of passwd(5), if it is that of the user.
fn home_of(line: &[u8], uid: u32) -> Option<&[u8]> {
    let mut fields = line.split(|byte| *byte == b':');
    let is_user = number(fields.nth(2)?) == Some(uid);
    fields.nth(2).filter(|home| is_user && !home.is_empty())
}

impl Machine<'_> {
    /// Looks for the user's home directory. It is `/` where the image has no file that could be read; what goes wrong with one that
    /// could is told.
    pub(crate) fn look_up_home(&mut self, uid: u32) -> Result<()> {
        self.home.set(b"/");
        // The root has been entered by now.
        let flags = O_NOCTTY | O_NONBLOCK | O_CLOEXEC;
        let opened = kernel::openat2(CURRENT, c"/etc/passwd", flags, 0, RESOLVE_NO_MAGICLINKS);
        let file = match opened {
            Err(Failure {
                errno: errno::ENOENT | errno::ENOTDIR | errno::EACCES | errno::ELOOP | errno::ENXIO | errno::ENODEV,
                ..
            }) => return Ok(()),
            result => result?,
        };
        let mut lines = Lines { file, buffer: [0; 4096], start: 0, end: 0, overlong: false, reads_left: 256 };
        let failed = loop {
            match lines.next() {
                Ok(Some(line)) => {
                    if let Some(home) = home_of(line, uid) {
                        self.home.set(home);
                        break None;
                    }
                }
                Ok(None) => break None,
                Err(failure) => break Some(failure),
            }
        };
        self.done(file);
        match failed {
            Some(failure) if kernel::stat_fd(file)?.kind() == S_IFREG => Err(failure),
            _ => Ok(()),
        }
    }
}
