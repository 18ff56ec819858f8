//! Masks and read-only paths: the idioms of several mounts.

use no_frills_plan::{Text, Within, call};

use crate::execute::Machine;
use crate::kernel::{
    self, Failure, Fd, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY, O_DIRECTORY, O_PATH,
    Result, errno,
};
use crate::old::Change;
use crate::paths;

impl Machine<'_> {
    /// Where a path is resolved, and the path there.
    fn within<'t>(&self, path: Text<'t>, within: Within) -> Result<(Fd, Text<'t>)> {
        match within {
            Within::Root => Ok((self.root, path)),
            Within::Kept { kept, prefix } => Ok((self.kept(kept)?, path.after(usize::from(prefix)))),
        }
    }

    /// Hides a path behind `/dev/null` or an empty directory.
    pub(crate) fn mask(&mut self, path: Text<'_>, within: Within, null: u32) -> Result<()> {
        let (root, path) = self.within(path, within)?;
        // Whether it is a directory is asked by opening it as one: that spares a stat for each.
        match paths::open(root, &path, O_PATH | O_DIRECTORY, 0) {
            Ok(target) => self.mask_directory(target),
            Err(Failure { errno: errno::ENOENT, .. }) => Ok(()),
            Err(Failure { errno: errno::ENOTDIR, .. }) => match paths::open(root, &path, O_PATH, 0) {
                Ok(target) => self.mask_file(target, null),
                // A component on the way is not a directory, so there is nothing to hide.
                Err(Failure { errno: errno::ENOENT | errno::ENOTDIR, .. }) => Ok(()),
                Err(failure) => Err(failure),
            },
            Err(failure) => Err(failure),
        }
    }

    fn mask_file(&mut self, target: Fd, null: u32) -> Result<()> {
        // The first mask attaches the parent's mount itself. Later ones copy it from there: a detached
        // mount can be copied only since Linux 6.15.
        let mask = match self.file_mask {
            None => {
                let mask = self.sources.take(null)?;
                self.file_mask = Some(mask);
                mask
            }
            Some(first) => self.copy(first)?,
        };
        kernel::move_mount(mask, target)?;
        self.done(target);
        self.attached(mask)
    }

    fn mask_directory(&mut self, target: Fd) -> Result<()> {
        let mask = match self.directory_mask {
            None => {
                let fs = kernel::fsopen(c"tmpfs")?;
                kernel::fsconfig_create(fs)?;
                let attributes = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
                let mask = kernel::fsmount(fs, attributes)?;
                self.done(fs);
                self.directory_mask = Some(mask);
                mask
            }
            Some(first) => self.copy(first)?,
        };
        kernel::move_mount(mask, target)?;
        self.done(target);
        Ok(())
    }

    /// A detached copy of an attached mount; its descriptor lasts until it is attached, and a while longer.
    fn copy(&mut self, mount: Fd) -> Result<Fd> {
        let copy = kernel::open_tree(mount, false)?;
        self.done(copy);
        Ok(copy)
    }

    /// Makes a path and what is mounted below read-only.
    pub(crate) fn make_readonly(&mut self, path: Text<'_>, within: Within) -> Result<()> {
        let (root, path) = self.within(path, within)?;
        let target = match paths::open(root, &path, O_PATH, 0) {
            Err(Failure { errno: errno::ENOENT | errno::ENOTDIR, .. }) => return Ok(()),
            other => other?,
        };
        match kernel::open_tree_readonly(target) {
            Ok(copy) => {
                kernel::move_mount(copy, target)?;
                self.done(copy);
            }
            // Before Linux 5.12 the path itself, as runc and crun do it on every kernel; not what is mounted below it.
            Err(Failure { errno: errno::ENOSYS, call: call::MOUNT_SETATTR }) => {
                let copy = kernel::open_tree(target, true)?;
                kernel::move_mount(copy, target)?;
                self.change_attached(copy, Change::READONLY)?;
                self.done(copy);
            }
            Err(failure) => return Err(failure),
        }
        self.done(target);
        Ok(())
    }
}
