//! Copying what a new tmpfs is going to cover into it (option `tmpcopyup`).
//!
//! What is copied is hostile. It is read through a mount of its own that is read-only and without devices, links and
//! further mounts, so that whatever somebody puts in the place of a file meanwhile does nothing when it is opened; and
//! directory after directory by descriptor, without recursion. What is written to nobody else has reached yet.
//!
//! Deliberately absent: hard links (each name becomes a file of its own, as with runc), and extended attributes
//! of what cannot be opened.

use core::mem::size_of_val;

use no_frills_plan::{MESSAGE_TEXT_MAX, Text, call};

use crate::execute::{Machine, PROC_SUPER_MAGIC};
use crate::kernel::{
    self, Failure, Fd, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSYMFOLLOW, MOUNT_ATTR_RDONLY, Name, O_CLOEXEC,
    O_CREAT, O_DIRECTORY, O_EXCL, O_NOCTTY, O_NOFOLLOW, O_NONBLOCK, O_PATH, O_WRONLY, Result, S_IFDIR, S_IFLNK,
    S_IFREG, SEEK_DATA, SEEK_HOLE, SEEK_SET, Statx, errno,
};
use crate::paths;

/// How deep a tree may be: each level keeps two descriptors open.
const DEPTH_MAX: usize = 200;
/// Room for directory entries, of which none is longer than 280 bytes; in words, as they are aligned.
const ENTRIES: usize = 512;
/// The longest symbolic link, and the longest extended attribute that is copied.
const TEXT_MAX: usize = 4096;

/// A directory that is being copied.
#[derive(Clone, Copy)]
struct Level {
    from: Fd,
    to: Fd,
}

/// An entry's name, with a NUL behind it.
struct Entry<'b>(&'b [u8]);

impl Name for Entry<'_> {
    fn address(&self) -> usize {
        self.0.as_ptr() as usize
    }
}

impl Machine<'_> {
    /// Fills the new mount with what is at a path; with `owner` its root takes the directory's owner too.
    ///
    /// Never inlined: its buffers would make the stack of every container larger.
    #[inline(never)]
    pub(crate) fn copy_up(&mut self, path: Text<'_>, owner: bool) -> Result<()> {
        let covered = match paths::open(self.root, &path, O_PATH | O_DIRECTORY, 0) {
            // Nothing to copy; what else the destination is, attaching will tell.
            Err(Failure { errno: errno::ENOENT | errno::ENOTDIR, .. }) => return Ok(()),
            other => other?,
        };
        // A link of the image must not have the kernel's own files copied; attaching would refuse the place anyway.
        if kernel::file_system(covered)? == PROC_SUPER_MAGIC {
            return Err(Failure { call: call::FSTATFS, errno: errno::EPERM });
        }
        let view = kernel::open_tree(covered, false)?;
        self.done(covered);
        let guards = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOSYMFOLLOW;
        kernel::mount_setattr(view, false, guards, 0, 0)?;
        let top = Level { from: open_directory(view, c".")?, to: open_directory(self.mount(), c".")? };
        self.done(view);
        let mut name = [0; MESSAGE_TEXT_MAX];
        let copied = copy_tree(top, owner, &mut name);
        if copied.is_err() {
            // Whoever reads it has a terminal perhaps, and the name is the image's.
            for byte in name.iter_mut().filter(|byte| **byte < b' ' && **byte != 0 || **byte == 0x7f) {
                *byte = b'?';
            }
            self.say(&name);
        }
        copied
    }
}

fn open_directory<N: Name + ?Sized>(parent: Fd, name: &N) -> Result<Fd> {
    kernel::openat2(parent, name, O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0, 0)
}

/// Copies a directory and all below; `at` is left holding the name of the entry at work.
fn copy_tree(top: Level, owner: bool, at: &mut [u8; MESSAGE_TEXT_MAX]) -> Result<()> {
    let mut levels = [top; DEPTH_MAX];
    let mut depth = 0;
    let mut buffer = [0u64; ENTRIES];
    loop {
        let Some(Level { from, to }) = levels.get(depth).copied() else {
            return Err(Failure { call: call::OPENAT2, errno: errno::ELOOP });
        };
        let length = kernel::getdents64(from, &mut buffer)?;
        if length == 0 {
            finish_directory(from, to, owner || depth > 0)?;
            kernel::close(from);
            kernel::close(to);
            if depth == 0 {
                return Ok(());
            }
            depth -= 1;
            continue;
        }
        let mut entries = Entries { bytes: bytes_of(&buffer, length) };
        while let Some((name, next)) = entries.next() {
            if matches!(name.0, b".\0" | b"..\0") {
                continue;
            }
            for (place, byte) in at.iter_mut().zip(name.0) {
                *place = *byte;
            }
            if let Some(level) = copy_entry(from, to, &name)? {
                // First what is below it, then on with the entry behind it.
                kernel::lseek(from, next, SEEK_SET)?;
                depth += 1;
                if let Some(place) = levels.get_mut(depth) {
                    *place = level;
                }
                break;
            }
        }
    }
}

/// The entries that getdents64(2) gave.
struct Entries<'b> {
    bytes: &'b [u8],
}

impl<'b> Entries<'b> {
    /// The next name, and where the directory goes on behind it.
    fn next(&mut self) -> Option<(Entry<'b>, u64)> {
        /// `d_ino`, `d_off`, `d_reclen`, `d_type`.
        const HEAD: usize = 19;
        let next = u64::from_ne_bytes(self.bytes.get(8..16)?.try_into().ok()?);
        let length = usize::from(u16::from_ne_bytes(self.bytes.get(16..18)?.try_into().ok()?));
        let name = self.bytes.get(HEAD..length)?;
        let end = name.iter().position(|byte| *byte == 0)?;
        let name = name.get(..=end)?;
        self.bytes = self.bytes.get(length..)?;
        Some((Entry(name), next))
    }
}

fn bytes_of(words: &[u64; ENTRIES], length: usize) -> &[u8] {
    let length = length.min(size_of_val(words));
    // SAFETY: the words are `size_of_val` bytes, and any byte is a valid u8.
    unsafe { core::slice::from_raw_parts(words.as_ptr().cast::<u8>(), length) }
}

/// Copies one entry; a directory is made, and what is in it left to the caller.
fn copy_entry(from: Fd, to: Fd, name: &Entry<'_>) -> Result<Option<Level>> {
    let stat = match kernel::stat_entry(from, name) {
        // It was removed meanwhile.
        Err(Failure { errno: errno::ENOENT, .. }) => return Ok(None),
        other => other?,
    };
    match stat.kind() {
        S_IFDIR => {
            kernel::mkdirat(to, name, 0o700)?;
            return Ok(Some(Level { from: open_directory(from, name)?, to: open_directory(to, name)? }));
        }
        S_IFREG => copy_file(from, to, name)?,
        S_IFLNK => {
            // One byte more than the longest, for the NUL.
            let mut target = [0; TEXT_MAX + 1];
            let room = target.get_mut(..TEXT_MAX).unwrap_or_default();
            kernel::readlinkat(from, name, room)?;
            kernel::symlinkat(&Entry(&target), to, name)?;
            own_entry(to, name, &stat)?;
        }
        _ => {
            kernel::mknodat(to, name, stat.mode.into(), stat.device())?;
            own_entry(to, name, &stat)?;
        }
    }
    Ok(None)
}

/// Owner and times of what is not opened. Of its mode nothing is lost: no bit of a device or fifo goes with a
/// change of owner.
fn own_entry(to: Fd, name: &Entry<'_>, stat: &Statx) -> Result<()> {
    kernel::fchownat(to, name, stat.uid, stat.gid)?;
    kernel::set_times_at(to, name, &stat.times())
}

fn copy_file(from: Fd, to: Fd, name: &Entry<'_>) -> Result<()> {
    let input = kernel::openat2(from, name, O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0, 0)?;
    let stat = kernel::stat_fd(input)?;
    if stat.kind() != S_IFREG {
        // Something else has come in its place.
        return Err(Failure { call: call::OPENAT2, errno: errno::ESTALE });
    }
    let output = kernel::openat2(to, name, O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY | O_CLOEXEC, 0o600, 0)?;
    if stat.size > 0 {
        copy_data(input, output, stat.size)?;
    }
    finish(input, output, &stat)?;
    kernel::close(input);
    kernel::close(output);
    Ok(())
}

/// What there is of the first `size` bytes; holes stay holes.
fn copy_data(input: Fd, output: Fd, size: u64) -> Result<()> {
    let mut at = 0;
    while at < size {
        let data = match kernel::lseek(input, at, SEEK_DATA) {
            // Nothing but a hole up to the end.
            Err(Failure { errno: errno::ENXIO, .. }) => break,
            other => other?,
        };
        let hole = kernel::lseek(input, data, SEEK_HOLE)?.min(size);
        kernel::lseek(input, data, SEEK_SET)?;
        kernel::lseek(output, data, SEEK_SET)?;
        at = data;
        while at < hole {
            match kernel::sendfile(output, input, hole - at)? {
                // It has become shorter.
                0 => return kernel::ftruncate(output, size),
                sent => at += sent,
            }
        }
    }
    kernel::ftruncate(output, size)
}

fn finish_directory(from: Fd, to: Fd, owner: bool) -> Result<()> {
    let stat = kernel::stat_fd(from)?;
    if owner {
        return finish(from, to, &stat);
    }
    copy_attributes(from, to)?;
    kernel::set_times(to, &stat.times())
}

/// Owner, mode, extended attributes and times, in this order: the owner takes bits of the mode and the
/// capabilities away.
fn finish(from: Fd, to: Fd, stat: &Statx) -> Result<()> {
    kernel::fchown(to, stat.uid, stat.gid)?;
    kernel::fchmod(to, u32::from(stat.mode) & 0o7777)?;
    copy_attributes(from, to)?;
    kernel::set_times(to, &stat.times())
}

/// Extended attributes that belong to the file and not to the machine it lay on. What this tmpfs cannot have stays
/// behind, as with cp(1): `user.*` is from Linux 6.6 on.
fn copy_attributes(from: Fd, to: Fd) -> Result<()> {
    let mut names = [0; TEXT_MAX];
    let length = match kernel::flistxattr(from, &mut names) {
        Err(Failure { errno: errno::EOPNOTSUPP, .. }) => return Ok(()),
        other => other?,
    };
    for name in names.get(..length).unwrap_or(&[]).split_inclusive(|byte| *byte == 0) {
        let wanted: [&[u8]; 3] = [b"user.", b"security.capability\0", b"system.posix_acl_"];
        if !wanted.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        let mut value = [0; TEXT_MAX];
        let copied = kernel::fgetxattr(from, &Entry(name), &mut value)
            .and_then(|length| kernel::fsetxattr(to, &Entry(name), value.get(..length).unwrap_or(&[])));
        match copied {
            // Not for this file system, not for this user namespace, or gone meanwhile.
            Err(Failure { errno: errno::EOPNOTSUPP | errno::EPERM | errno::EOVERFLOW | errno::ENODATA, .. }) => {}
            other => other?,
        }
    }
    Ok(())
}
