//! Going through the cgroups beneath one.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::OFlag;

use crate::cgroup::{open_at, unless_gone};
use crate::error::gone;

/// One step of a [`Walk`].
pub(crate) enum Step<'a> {
    /// In a descendant for the first time; the descriptor can be read from.
    Into(&'a OwnedFd),
    /// All beneath the descendant `name` of the directory has been seen.
    OutOf { parent: &'a OwnedFd, name: CString },
}

/// Goes through all descendants of a cgroup, depth first.
///
/// A container with a cgroup file system of its own can nest them as deep as it likes. So there is
/// no recursion, no path, which has a maximal length, and no descriptor per level, of which there
/// is a maximal number: the way up is `..`. Nobody can send it astray, since cgroups cannot be
/// moved and there are no symbolic links among them.
pub(crate) struct Walk {
    here: OwnedFd,
    /// For every level down to here, the names of the children that are still to be seen.
    pending: Vec<Vec<CString>>,
    /// For every level but the first, the name of the directory.
    names: Vec<CString>,
}

const READ_DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY);

impl Walk {
    /// A walk beneath `top`, a descriptor for reading.
    pub(crate) fn beneath(top: OwnedFd) -> Result<Walk, Errno> {
        let pending = vec![children(&top)?];
        Ok(Walk { here: top, pending, names: Vec::new() })
    }

    /// The next step. What is removed by others in the meantime is passed over.
    pub(crate) fn next(&mut self) -> Result<Option<Step<'_>>, Errno> {
        loop {
            let Some(level) = self.pending.last_mut() else {
                return Ok(None);
            };
            let Some(name) = level.pop() else { break };
            if let Some(child) = unless_gone(open_at(&self.here, &name, READ_DIRECTORY))? {
                self.pending.push(children(&child)?);
                self.names.push(name);
                self.here = child;
                return Ok(Some(Step::Into(&self.here)));
            }
        }
        self.pending.pop();
        let Some(name) = self.names.pop() else {
            return Ok(None);
        };
        // The parent of a directory is found even if it has been removed.
        self.here = open_at(&self.here, c"..", READ_DIRECTORY)?;
        Ok(Some(Step::OutOf { parent: &self.here, name }))
    }
}

/// The names of the directories in a cgroup, which are its children. None if it is gone.
fn children(of: &OwnedFd) -> Result<Vec<CString>, Errno> {
    // Reading needs a position, and so a description, of its own.
    let Some(again) = unless_gone(open_at(of, c".", READ_DIRECTORY))? else {
        return Ok(Vec::new());
    };
    let mut names = Vec::new();
    for entry in Dir::from_fd(again)?.iter() {
        let entry = match entry {
            // Removed while it is read.
            Err(errno) if gone(errno) => break,
            entry => entry?,
        };
        let name: &CStr = entry.file_name();
        if entry.file_type() == Some(Type::Directory) && name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}
