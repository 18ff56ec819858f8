//! The descriptors that init gets: opened in the caller's namespaces, before it needs them.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::libc::O_PATH;
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use no_frills_sys::mount;
use no_frills_sys::spawn::Failure;

use super::Idle;
use super::child::{io_errno, write_proc};
use crate::compile::{IdMaps, Ids, MappedIds, Pointer, Program, SOURCE_BATCH, Source, SourceKind};
use crate::config::{NAMESPACES, namespace};
use crate::error::{Error, Result};

/// Opens what a program needs first, before anything is made.
pub(crate) fn open_first(program: &Program, container: Option<BorrowedFd<'_>>) -> Result<Vec<Option<OwnedFd>>> {
    first_batch(program).iter().map(|source| open_source(program, source, container)).collect()
}

pub(super) fn first_batch(program: &Program) -> &[Source] {
    program.sources.chunks(SOURCE_BATCH).next().unwrap_or(&[])
}

/// Whether a source can be opened only when the cgroup is made and an init can be started.
pub(super) fn is_late(source: &Source) -> bool {
    match &source.kind {
        SourceKind::Tree { ids, .. } => ids.is_some(),
        SourceKind::UserNamespace(_) | SourceKind::Cgroup => true,
        _ => false,
    }
}

/// The descriptors of sources, in their order.
pub(super) fn descriptors(
    sources: &[Source],
    opened: &[Option<OwnedFd>],
    container: Option<BorrowedFd<'_>>,
) -> Result<Vec<RawFd>> {
    let descriptor = |(source, opened): (&Source, &Option<OwnedFd>)| match (&source.kind, opened) {
        (SourceKind::Container, _) => container.map(|container| container.as_raw_fd()),
        (_, opened) => opened.as_ref().map(AsRawFd::as_raw_fd),
    };
    let all = sources.iter().zip(opened).map(descriptor);
    all.map(|fd| fd.ok_or_else(|| Error::system("opening what init needs")(Errno::EBADF))).collect()
}

/// What has been made by the time that sources are sent.
pub(super) struct Made {
    pub(super) init: OwnedFd,
    pub(super) cgroup: Option<OwnedFd>,
    /// For id mappings: all mounts with the same ones share one.
    pub(super) user_namespaces: Vec<(Ids, OwnedFd)>,
}

impl Made {
    /// What is left to do for a source that [`open_source`] has opened, or could not open.
    pub(super) fn complete(&mut self, source: &Source, first: Option<OwnedFd>) -> Result<Option<OwnedFd>> {
        let at = source.pointer;
        match (&source.kind, first) {
            (SourceKind::Tree { path, ids: Some(MappedIds { ids, recursive }), .. }, Some(tree)) => {
                let failed = |errno| Error::System {
                    pointer: at.to_string(),
                    action: match errno {
                        Errno::EINVAL => format!(
                            "mapping the ids of {}, whose file system has to support it: mount_setattr",
                            path.display()
                        ),
                        _ => format!("mapping the ids of {}: mount_setattr", path.display()),
                    },
                    errno,
                };
                mount::map_ids(&tree, &self.user_namespace(ids, at)?, *recursive).map_err(failed)?;
                Ok(Some(tree))
            }
            (SourceKind::UserNamespace(ids), _) => {
                let copied = self.user_namespace(ids, at)?.try_clone_to_owned();
                copied.map(Some).map_err(Error::system("copying the descriptor of a user namespace"))
            }
            (SourceKind::Cgroup, _) => {
                self.cgroup.as_ref().map_or(Err(Errno::ENOENT), mount::clone_opened).map(Some).map_err(|errno| {
                    Error::System {
                        pointer: at.to_string(),
                        action: "cloning the mount at the container's cgroup: open_tree".to_owned(),
                        errno,
                    }
                })
            }
            (_, first) => Ok(first),
        }
    }

    fn user_namespace(&mut self, ids: &Ids, at: Pointer) -> Result<BorrowedFd<'_>> {
        let place = match self.user_namespaces.iter().position(|(known, _)| known == ids) {
            Some(place) => place,
            None => {
                let made = match ids {
                    Ids::Maps(maps) => make_user_namespace(self.init.as_fd(), maps, at)?,
                    Ids::Namespace(path) => open_namespace(at, path, namespace::USER)?,
                };
                self.user_namespaces.push((ids.clone(), made));
                self.user_namespaces.len() - 1
            }
        };
        let found = self.user_namespaces.get(place).map(|(_, fd)| fd.as_fd());
        found.ok_or_else(|| Error::system("finding a user namespace")(Errno::EBADF))
    }
}

/// A user namespace with these mappings, which an idle init is in until they are written.
fn make_user_namespace(init: BorrowedFd<'_>, maps: &IdMaps, at: Pointer) -> Result<OwnedFd> {
    let failed = |action: String, errno| Error::System { pointer: at.to_string(), action, errno };
    let idle = Idle::start(init, namespace::USER, |Failure { call, errno }| {
        failed(format!("making a user namespace for id mappings: {call}"), errno)
    })?;
    let namespace = || {
        write_proc(idle.pid(), "uid_map", maps.uid.as_bytes(), at)?;
        write_proc(idle.pid(), "gid_map", maps.gid.as_bytes(), at)?;
        let path = format!("/proc/{}/ns/user", idle.pid());
        let opened = OpenOptions::new().read(true).open(&path);
        opened.map(OwnedFd::from).map_err(|error| failed(format!("opening {path}"), io_errno(&error)))
    };
    let namespace = namespace();
    let ended = idle.end();
    let namespace = namespace?;
    ended.map(|()| namespace)
}

/// Opens what init will clone: here only to see that it is there.
fn open_path(pointer: Pointer, path: &Path, itself: bool) -> Result<OwnedFd> {
    let flags = O_PATH | if itself { nix::libc::O_NOFOLLOW } else { 0 };
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    opened.map(OwnedFd::from).map_err(|error| Error::System {
        pointer: pointer.to_string(),
        action: format!("opening {} to mount it", path.display()),
        errno: io_errno(&error),
    })
}

/// Opens a source; `None`: it is made by [`Made`], when it is sent.
pub(crate) fn open_source(
    program: &Program,
    source: &Source,
    container: Option<BorrowedFd<'_>>,
) -> Result<Option<OwnedFd>> {
    let opened = match &source.kind {
        SourceKind::Tree { path, itself, .. } if program.caller.is_some() => open_path(source.pointer, path, *itself),
        SourceKind::UserNamespace(_) | SourceKind::Cgroup => return Ok(None),
        SourceKind::Tree { path, recursive, itself, .. } => open_tree(source.pointer, path, *recursive, *itself),
        SourceKind::Directory { path } => open_directory(source.pointer, path),
        SourceKind::Namespace { path, kind } => open_namespace(source.pointer, path, *kind),
        SourceKind::Container if container.is_some() => return Ok(None),
        SourceKind::Container => Err(Error::system("taking the container's process")(Errno::ESRCH)),
        SourceKind::Procfs => open_procfs(source.pointer),
    };
    opened.map(Some)
}

fn open_directory(pointer: Pointer, path: &Path) -> Result<OwnedFd> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(O_PATH | nix::libc::O_DIRECTORY);
    options.open(path).map(OwnedFd::from).map_err(|error| Error::System {
        pointer: pointer.to_string(),
        action: format!("opening the directory {}", path.display()),
        errno: io_errno(&error),
    })
}

fn open_tree(pointer: Pointer, path: &Path, recursive: bool, itself: bool) -> Result<OwnedFd> {
    let failed = |errno| Error::System {
        pointer: pointer.to_string(),
        action: match errno {
            // The kernel's word for it would not tell a user what to do.
            Errno::EPERM => format!("cloning the mount at {} needs CAP_SYS_ADMIN: open_tree", path.display()),
            _ => format!("cloning the mount at {}: open_tree", path.display()),
        },
        errno,
    };
    let c_path = CString::new(path.as_os_str().as_bytes()).map_err(|_| failed(Errno::EINVAL))?;
    let clone = if itself { mount::clone_tree_itself } else { mount::clone_tree };
    clone(&c_path, recursive).map_err(failed)
}

/// Opens a namespace, and sees that it is one of that type: setns(2) would say no more than EINVAL.
fn open_namespace(pointer: Pointer, path: &Path, kind: u64) -> Result<OwnedFd> {
    let failed = |action: &str, errno| Error::System {
        pointer: format!("{pointer}/path"),
        action: format!("{action} {}", path.display()),
        errno,
    };
    // Not to wait for the other end of a fifo, and not to act on a device.
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY);
    let opened = options.open(path).map_err(|error| failed("opening the namespace", io_errno(&error)))?;
    let name = |kind| NAMESPACES.iter().find(|(known, _)| *known == kind).map_or("unknown", |(_, name)| *name);
    match no_frills_sys::namespace::kind(&opened) {
        Ok(found) if found == kind => Ok(opened.into()),
        Ok(found) => {
            let wanted = name(kind);
            let action = format!("joining a namespace of type {wanted:?}, but of type {:?} is", name(found));
            Err(failed(&action, Errno::EINVAL))
        }
        Err(_) => Err(failed("joining a namespace, but none is", Errno::EINVAL)),
    }
}

/// A procfs that nothing in a container can take the place of. Who may not mount one takes the host's.
fn open_procfs(pointer: Pointer) -> Result<OwnedFd> {
    let failed = |action: &str, errno| Error::System { pointer: pointer.to_string(), action: action.to_owned(), errno };
    match mount::procfs() {
        Err(Errno::EPERM) => {}
        result => return result.map_err(|errno| failed("mounting a procfs of our own: fsopen", errno)),
    }
    let procfs = OpenOptions::new().read(true).custom_flags(O_PATH).open("/proc");
    let procfs: File = procfs.map_err(|error| failed("opening /proc", io_errno(&error)))?;
    match fstatfs(&procfs) {
        Ok(stat) if stat.filesystem_type() == PROC_SUPER_MAGIC => Ok(procfs.into()),
        Ok(_) => Err(failed("opening /proc, which is no procfs", Errno::ENODEV)),
        Err(errno) => Err(failed("looking at /proc", errno)),
    }
}
