//! What stands in for mount_setattr(2) where it answers ENOSYS, before Linux 5.12 or under a filter: mount(2).
//!
//! mount(2) knows a mount by its path alone. Here that is `.`, when the mount can be made the current directory, and else
//! the mount's descriptor in a procfs of our own: never a path that somebody else could turn elsewhere. And it
//! changes attached mounts alone: what is asked of a detached one waits until it is attached. Nobody can use it in between,
//! since nobody else is in this mount namespace yet.
//!
//! Deliberately absent: attributes of all mounts of a tree, and id mappings. mount(2) has no word for them; the failure of
//! mount_setattr is told then.

use crate::execute::Machine;
use crate::kernel::{self, CURRENT, Failure, Fd, MOUNT_ATTR_RDONLY, Name, Result, errno};

/// A change of a mount, as mount_setattr(2) takes it.
#[derive(Clone, Copy)]
pub(crate) struct Change {
    pub(crate) set: u64,
    pub(crate) clear: u64,
    pub(crate) propagation: u64,
    /// The mounts below it too.
    pub(crate) recursive: bool,
}

impl Change {
    const NONE: Change = Change { set: 0, clear: 0, propagation: 0, recursive: false };
    pub(crate) const READONLY: Change = Change { set: MOUNT_ATTR_RDONLY, ..Change::NONE };

    pub(crate) fn make(&self, mount: Fd) -> Result<()> {
        kernel::mount_setattr(mount, self.recursive, self.set, self.clear, self.propagation)
    }
}

/// More than a mount of any configuration has before it is attached.
const CHANGES_MAX: usize = 6;

/// What this kernel lacks, and what is owed because of it.
pub(crate) struct Old {
    /// Changes of the mount that is to be attached.
    waiting: [Change; CHANGES_MAX],
    count: usize,
    /// A procfs of our own, mounted nowhere.
    procfs: Option<Fd>,
}

impl Old {
    pub(crate) const fn new() -> Old {
        Old { waiting: [Change::NONE; CHANGES_MAX], count: 0, procfs: None }
    }

    pub(crate) fn owes(&self) -> bool {
        self.count > 0
    }

    /// Another mount is to be attached.
    pub(crate) fn forget(&mut self) {
        self.count = 0;
    }
}

/// Sets the propagation of every mount of the namespace.
pub(crate) fn set_propagation(propagation: u64) -> Result<()> {
    match kernel::mount_setattr(CURRENT, true, 0, 0, propagation) {
        Err(Failure { errno: errno::ENOSYS, .. }) => kernel::change_mount_at(c"/", MS_REC | propagation),
        other => other,
    }
}

impl Machine<'_> {
    /// Changes a mount that is attached.
    pub(crate) fn change_attached(&mut self, mount: Fd, change: Change) -> Result<()> {
        match change.make(mount) {
            Err(missing @ Failure { errno: errno::ENOSYS, .. }) => self.remount(mount, change, missing),
            other => other,
        }
    }

    /// Notes a change of the mount that is to be attached.
    #[cold]
    #[inline(never)]
    pub(crate) fn change_when_attached(&mut self, change: Change, missing: Failure) -> Result<()> {
        match self.old.waiting.get_mut(self.old.count) {
            Some(place) if can_remount(change) => {
                *place = change;
                self.old.count += 1;
                Ok(())
            }
            _ => Err(missing),
        }
    }

    /// Makes the changes that waited for a mount to be attached.
    #[cold]
    #[inline(never)]
    pub(crate) fn catch_up(&mut self, mount: Fd) -> Result<()> {
        let changes = self.old.waiting;
        let count = core::mem::take(&mut self.old.count);
        changes.iter().take(count).try_for_each(|change| self.change_attached(mount, *change))
    }

    #[cold]
    #[inline(never)]
    fn remount(&mut self, mount: Fd, change: Change, missing: Failure) -> Result<()> {
        if !can_remount(change) {
            return Err(missing);
        }
        // What is no directory, or one that may not be entered here, has a path in procfs.
        if kernel::fchdir(mount).is_ok() {
            remount_at(c".", mount, change)?;
        } else {
            kernel::fchdir(self.own_procfs(missing)?)?;
            remount_at(&Link::to(mount), mount, change)?;
        }
        kernel::fchdir(self.root)
    }

    /// The procfs of this pid namespace. Who may not mount one cannot do without mount_setattr.
    fn own_procfs(&mut self, missing: Failure) -> Result<Fd> {
        if let Some(procfs) = self.old.procfs {
            return Ok(procfs);
        }
        let fs = kernel::fsopen(c"proc").map_err(|_| missing)?;
        kernel::fsconfig_create(fs).map_err(|_| missing)?;
        let procfs = kernel::fsmount(fs, 0).map_err(|_| missing)?;
        self.done(fs);
        self.old.procfs = Some(procfs);
        Ok(procfs)
    }
}

fn can_remount(change: Change) -> bool {
    !(change.recursive && change.set | change.clear != 0)
}

fn remount_at<N: Name + ?Sized>(path: &N, mount: Fd, change: Change) -> Result<()> {
    if change.set | change.clear != 0 {
        let attributes = attributes(kernel::mount_flags(mount)?) & !change.clear | change.set;
        kernel::change_mount_at(path, MS_REMOUNT | MS_BIND | flags(attributes))?;
    }
    if change.propagation != 0 {
        let recursive = if change.recursive { MS_REC } else { 0 };
        kernel::change_mount_at(path, recursive | change.propagation)?;
    }
    Ok(())
}

/// `self/fd/N`.
struct Link([u8; 20]);

impl Name for Link {
    fn address(&self) -> usize {
        self.0.as_ptr() as usize
    }
}

impl Link {
    fn to(fd: Fd) -> Link {
        let mut text = *b"self/fd/\0\0\0\0\0\0\0\0\0\0\0\0";
        let mut digits = [0; 10];
        let mut number = fd.0.unsigned_abs();
        let mut count = 0;
        for place in &mut digits {
            *place = b'0' + (number % 10) as u8;
            number /= 10;
            count += 1;
            if number == 0 {
                break;
            }
        }
        for (place, digit) in text.iter_mut().skip(8).zip(digits.iter().take(count).rev()) {
            *place = *digit;
        }
        Link(text)
    }
}

const MS_REMOUNT: u64 = 1 << 5;
const MS_BIND: u64 = 1 << 12;
const MS_REC: u64 = 1 << 14;

/// `MOUNT_ATTR_RDONLY`, `_NOSUID`, `_NODEV` and `_NOEXEC`, which are the same as the flags of mount(2) and statfs(2).
const SAME: u64 = 0xf;
const MOUNT_ATTR_NOATIME: u64 = 0x10;
const MOUNT_ATTR_STRICTATIME: u64 = 0x20;

/// What the others are: as attributes, as flags of statfs(2) and as flags of mount(2): NODIRATIME, NOSYMFOLLOW.
const OTHERS: [(u64, u64, u64); 2] = [(0x80, 0x800, 0x800), (0x20_0000, 0x2000, 0x100)];

/// `MOUNT_ATTR_*`, from what statfs(2) tells.
fn attributes(told: u64) -> u64 {
    const ST_NOATIME: u64 = 0x400;
    const ST_RELATIME: u64 = 0x1000;
    let atime = match told & (ST_NOATIME | ST_RELATIME) {
        0 => MOUNT_ATTR_STRICTATIME,
        ST_RELATIME => 0,
        _ => MOUNT_ATTR_NOATIME,
    };
    let others = OTHERS.iter().filter(|(_, status, _)| told & status != 0);
    others.fold(told & SAME | atime, |all, (attribute, ..)| all | attribute)
}

/// `MS_*`. One of those of the atime family is always among them: without one mount(2) keeps what there is.
fn flags(attributes: u64) -> u64 {
    const MS_NOATIME: u64 = 1 << 10;
    const MS_RELATIME: u64 = 1 << 21;
    const MS_STRICTATIME: u64 = 1 << 24;
    let atime = match attributes & (MOUNT_ATTR_NOATIME | MOUNT_ATTR_STRICTATIME) {
        0 => MS_RELATIME,
        MOUNT_ATTR_STRICTATIME => MS_STRICTATIME,
        _ => MS_NOATIME,
    };
    let others = OTHERS.iter().filter(|(attribute, ..)| attributes & attribute != 0);
    others.fold(attributes & SAME | atime, |all, (_, _, flag)| all | flag)
}
