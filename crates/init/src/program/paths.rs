//! Paths beneath the root. The root is hostile: every path is resolved by openat2(2) as if the root's
//! descriptor were `/`, and never through a magic link.

use no_frills_plan::Text;

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

/// A copy of a part of a path, with a NUL behind it.
struct Part {
    bytes: [u8; PATH_MAX],
}

impl Part {
    fn new(part: &[u8]) -> Result<Part> {
        let mut bytes = [0; PATH_MAX];
        let room = bytes.get_mut(..part.len()).filter(|_| part.len() < PATH_MAX);
        let Some(room) = room else {
            return Err(Failure { call: no_frills_plan::call::OPENAT2, errno: errno::ENAMETOOLONG });
        };
        room.copy_from_slice(part);
        Ok(Part { bytes })
    }
}

impl Name for Part {
    fn address(&self) -> usize {
        self.bytes.as_ptr() as usize
    }
}

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

/// Splits a path at its last slash: what leads to the last component, and that.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => {
            path.split_at_checked(slash).map_or((path, &[]), |(parent, rest)| (parent, rest.get(1..).unwrap_or(&[])))
        }
        None => (&[], path),
    }
}

/// Opens a path's directory, with those that lead to it made where missing (mode 0755).
fn make_directories(root: Fd, path: &[u8], resolve: u64) -> Result<Fd> {
    if path.is_empty() {
        return open(root, c"/", O_PATH | O_DIRECTORY, resolve);
    }
    // From the end back to what exists, then forward again.
    let mut there = path.len();
    let mut fd = loop {
        let prefix = path.get(..there).unwrap_or(path);
        let opened = if prefix.is_empty() {
            open(root, c"/", O_PATH | O_DIRECTORY, resolve)
        } else {
            open(root, &Part::new(prefix)?, O_PATH | O_DIRECTORY, resolve)
        };
        match opened {
            Err(Failure { errno: errno::ENOENT, .. }) if !prefix.is_empty() => there = split(prefix).0.len(),
            other => break other?,
        }
    };
    while there < path.len() {
        let rest = path.get(there + 1..).unwrap_or(&[]);
        let component = rest.split(|byte| *byte == b'/').next().unwrap_or(rest);
        make_directory(fd, &Part::new(component)?)?;
        kernel::close(fd);
        there += 1 + component.len();
        // From the root again: the component may be a link that leads elsewhere beneath it.
        fd = open(root, &Part::new(path.get(..there).unwrap_or(path))?, O_PATH | O_DIRECTORY, resolve)?;
    }
    Ok(fd)
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
        Err(Failure { errno: errno::ENOENT, .. }) => {}
        other => return other,
    }
    let (parent, name) = split(path.bytes());
    let name = Part::new(name)?;
    let directory = make_directories(root, parent, resolve)?;
    match missing()? {
        Missing::Directory => make_directory(directory, &name)?,
        Missing::File => make_file(directory, &name)?,
    }
    kernel::close(directory);
    open(root, &path, O_PATH, resolve)
}

/// Opens a directory, made where missing.
pub(crate) fn open_directory(root: Fd, path: Text<'_>, resolve: u64) -> Result<Fd> {
    let flags = O_PATH | O_DIRECTORY;
    match open(root, &path, flags, resolve) {
        Err(Failure { errno: errno::ENOENT, .. }) => make_directories(root, path.bytes(), resolve),
        other => other,
    }
}
