//! Paths beneath the root. The root is hostile: every path is resolved by openat2(2) as if the root's
//! descriptor were `/`, and never through a magic link.

use no_frills_plan::{Text, call};

use crate::kernel::{
    self, Failure, Fd, Name, O_CLOEXEC, O_CREAT, O_DIRECTORY, O_EXCL, O_NOCTTY, O_NOFOLLOW, O_PATH, O_RDWR,
    RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, Result, errno,
};

/// What is made for a mount that lacks its destination.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    Directory,
    File,
}

const PATH_MAX: usize = 4096;
/// As many symbolic links as the kernel follows in one path.
const LINKS_MAX: u32 = 40;

/// How often a walk is tried that something renamed or mounted elsewhere has disturbed.
const TRIES: u32 = 1000;

/// Opens what a path beneath the root names; `resolve` adds to the rules of the walk.
pub(crate) fn open<N: Name + ?Sized>(root: Fd, path: &N, flags: u64, resolve: u64) -> Result<Fd> {
    let mut tries = TRIES;
    loop {
        match kernel::openat2(root, path, flags | O_CLOEXEC, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve) {
            // openat2(2): a `..` on the way, and at that moment a rename or mount anywhere on the machine.
            Err(Failure { errno: errno::EAGAIN, .. }) if tries > 0 => tries -= 1,
            result => return result,
        }
    }
}

/// Makes a directory; one that is there is as good.
pub(crate) fn make_directory<N: Name + ?Sized>(parent: Fd, name: &N) -> Result<()> {
    match kernel::mkdirat(parent, name, 0o755) {
        Err(Failure { errno: errno::EEXIST, .. }) => Ok(()),
        other => other,
    }
}

/// Makes an empty file; one that is there is as good.
pub(crate) fn make_file<N: Name + ?Sized>(parent: Fd, name: &N) -> Result<()> {
    let flags = O_CREAT | O_EXCL | O_NOFOLLOW | O_NOCTTY | O_RDWR | O_CLOEXEC;
    match kernel::openat2(parent, name, flags, 0o644, 0) {
        Ok(file) => {
            kernel::close(file);
            Ok(())
        }
        Err(Failure { errno: errno::EEXIST, .. }) => Ok(()),
        Err(failure) => Err(failure),
    }
}

/// Opens the destination of a mount. Where it is missing it is made, as `missing` says when asked.
pub(crate) fn open_destination(
    root: Fd,
    path: Text<'_>,
    resolve: u64,
    missing: impl FnOnce() -> Result<Missing>,
) -> Result<Fd> {
    match open(root, &path, O_PATH, resolve) {
        Err(Failure { errno: errno::ENOENT, .. }) => make(root, path, resolve, missing()?),
        other => other,
    }
}

/// As [`open_destination`]; of a symbolic link at the end of the path it opens the link.
pub(crate) fn open_destination_itself(
    root: Fd,
    path: Text<'_>,
    resolve: u64,
    missing: impl FnOnce() -> Result<Missing>,
) -> Result<Fd> {
    match open(root, &path, O_PATH | O_NOFOLLOW, resolve) {
        // There is no link then, at the time of the look.
        Err(Failure { errno: errno::ENOENT, .. }) => make(root, path, resolve, missing()?),
        other => other,
    }
}

/// Opens a directory, made where missing.
pub(crate) fn open_directory(root: Fd, path: Text<'_>, resolve: u64) -> Result<Fd> {
    match open(root, &path, O_PATH | O_DIRECTORY, resolve) {
        Err(Failure { errno: errno::ENOENT, .. }) => make(root, path, resolve, Missing::Directory),
        other => other,
    }
}

/// Makes what a path names, and the directories that lead to it (mode 0755).
fn make(root: Fd, path: Text<'_>, resolve: u64, kind: Missing) -> Result<Fd> {
    let mut way = Way { bytes: [0; PATH_MAX], length: 0 };
    way.replace(0, 0, path.bytes())?;
    for _ in 0..LINKS_MAX {
        if let Some(fd) = way.make(root, resolve, kind)? {
            return Ok(fd);
        }
    }
    Err(Failure { call: call::OPENAT2, errno: errno::ELOOP })
}

/// A path of which parts are missing.
struct Way {
    /// With a NUL behind it.
    bytes: [u8; PATH_MAX],
    length: usize,
}

/// A part of a path, with a NUL behind it.
struct Part<'b>(&'b [u8]);

impl Name for Part<'_> {
    fn address(&self) -> usize {
        self.0.as_ptr() as usize
    }
}

impl Way {
    /// Makes component after component. `None`: one of them was a symbolic link to what does not exist,
    /// as images have them (`/etc/resolv.conf`, `/var/run`). It was replaced by where it leads.
    fn make(&mut self, root: Fd, resolve: u64, kind: Missing) -> Result<Option<Fd>> {
        // From the end back to what exists, then forward again.
        let mut there = self.before(self.length);
        let mut fd = loop {
            match self.open(root, there, O_PATH | O_DIRECTORY, resolve) {
                Err(Failure { errno: errno::ENOENT, .. }) if there > 0 => there = self.before(there),
                other => break other?,
            }
        };
        while there < self.length {
            let start = there + 1;
            let rest = self.bytes.get(start..self.length).unwrap_or(&[]);
            there = start + rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
            // Doubled slashes, in a link.
            if there == start {
                continue;
            }
            let is_last = there == self.length;
            let flags = match kind {
                Missing::File if is_last => self.with_part(start, there, |name| make_file(fd, name)).map(|()| O_PATH),
                _ => self.with_part(start, there, |name| make_directory(fd, name)).map(|()| O_PATH | O_DIRECTORY),
            }?;
            // From the root again: the component may be a link that leads elsewhere beneath it.
            match self.open(root, there, flags, resolve) {
                Err(Failure { errno: errno::ENOENT, .. }) => {
                    self.follow(fd, start, there)?;
                    kernel::close(fd);
                    return Ok(None);
                }
                next => {
                    kernel::close(fd);
                    fd = next?;
                }
            }
        }
        Ok(Some(fd))
    }

    /// Where the component that ends at a place begins: at its slash.
    fn before(&self, end: usize) -> usize {
        self.bytes.get(..end).and_then(|path| path.iter().rposition(|byte| *byte == b'/')).unwrap_or(0)
    }

    fn open(&mut self, root: Fd, end: usize, flags: u64, resolve: u64) -> Result<Fd> {
        if end == 0 {
            return open(root, c"/", flags, resolve);
        }
        self.with_part(0, end, |path| open(root, path, flags, resolve))
    }

    /// Calls with a part of the path that has a NUL behind it for as long.
    fn with_part<T>(&mut self, start: usize, end: usize, deed: impl FnOnce(&Part<'_>) -> Result<T>) -> Result<T> {
        let Some(place) = self.bytes.get_mut(end) else { return Err(TOO_LONG) };
        let behind = core::mem::replace(place, 0);
        let result = deed(&Part(self.bytes.get(start..end).unwrap_or(&[])));
        if let Some(place) = self.bytes.get_mut(end) {
            *place = behind;
        }
        result
    }

    /// Puts what a link in a directory says in the place of the link's name.
    fn follow(&mut self, directory: Fd, start: usize, end: usize) -> Result<()> {
        let mut target = [0; PATH_MAX];
        let length = self.with_part(start, end, |name| kernel::readlinkat(directory, name, &mut target))?;
        let target = target.get(..length).unwrap_or(&[]);
        self.replace(if target.first() == Some(&b'/') { 0 } else { start }, end, target)
    }

    fn replace(&mut self, start: usize, end: usize, by: &[u8]) -> Result<()> {
        let length = start + by.len() + (self.length - end);
        if length >= PATH_MAX {
            return Err(TOO_LONG);
        }
        self.bytes.copy_within(end..self.length, start + by.len());
        if let Some(room) = self.bytes.get_mut(start..start + by.len()) {
            room.copy_from_slice(by);
        }
        self.length = length;
        Ok(())
    }
}

const TOO_LONG: Failure = Failure { call: call::OPENAT2, errno: errno::ENAMETOOLONG };
