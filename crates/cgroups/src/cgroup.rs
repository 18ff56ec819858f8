//! A container's cgroup: its name, what is recorded of it, and making it.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::Mode;
use nix::unistd::{AccessFlags, faccessat, mkdir};

use crate::cgroups_path::{BASE, check_clean};
use crate::dir::Dir;
use crate::error::{Error, Result, gone};
use crate::hierarchy::Hierarchy;

/// How often making the directories starts anew because somebody else removed one of them. Each
/// time, somebody else's removal came between two of our system calls, so that this is reached only
/// if the world turns around this cgroup.
const ATTEMPTS: usize = 1000;

/// The cgroup of one container, by name: before, while and after it exists. It holds no descriptor.
///
/// # The record
/// A runtime that can be killed at any point writes down what it is about to make. Of a cgroup,
/// that is two values, known without a system call before the first directory is made:
///
/// - [`relative`](Cgroup::relative), its path;
/// - [`parents`](Cgroup::parents), how many of the directories above it go with it, if they are
///   empty by then. At first this is 0, or 1 for `no-frills/ID`, since `no-frills` is the runtime's
///   own. Only where a parent turns out to be missing, [`create`](Cgroup::create) counts those, and
///   calls back for the record to be written anew before it makes them.
///
/// [`recorded`](Cgroup::recorded) turns the two into a `Cgroup` again, and
/// [`remove`](Cgroup::remove) takes away whatever part of it exists. What was there before the
/// container, and is not on record, stays; the cgroup itself is the container's even if it was
/// there before, and is removed with it, as with runc and crun.
///
/// A parent that a second container came to use while the first one, which made it, is removed,
/// stays behind, as all parents do with runc and crun. Not so `no-frills`: whoever is the last one
/// in there takes it away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    pub(crate) path: PathBuf,
    /// Where in `path` the part begins that is relative to the mount.
    relative_at: usize,
    parents: u32,
}

impl Cgroup {
    /// The cgroup at `relative`, a path as [`CgroupsPath::Fs`](crate::CgroupsPath::Fs) has it:
    /// relative to the hierarchy's mount, without `.` and `..`. No system call is made.
    pub fn new(hierarchy: &Hierarchy, relative: &Path) -> Result<Cgroup> {
        let own_parent = relative.parent() == Some(Path::new(BASE));
        Cgroup::recorded(hierarchy, relative, u32::from(own_parent))
    }

    /// The cgroup of a record. No system call is made.
    pub fn recorded(hierarchy: &Hierarchy, relative: &Path, parents: u32) -> Result<Cgroup> {
        check_clean(relative)?;
        if relative.components().count() <= parents as usize {
            let why = "it has fewer parents than are to be removed with it";
            return Err(Error::Path { path: relative.to_string_lossy().into_owned(), why });
        }
        let path = hierarchy.mount().join(relative);
        let relative_at = path.as_os_str().len() - relative.as_os_str().len();
        Ok(Cgroup { path, relative_at, parents })
    }

    /// Its absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its path relative to the mount, for the record.
    #[must_use]
    pub fn relative(&self) -> &Path {
        let bytes = self.path.as_os_str().as_bytes();
        Path::new(OsStr::from_bytes(bytes.get(self.relative_at..).unwrap_or_default()))
    }

    /// How many of its parents are removed with it if they are empty, for the record.
    #[must_use]
    pub fn parents(&self) -> u32 {
        self.parents
    }

    /// Checks that the cgroup is free: it does not exist, or has no process in it or in its
    /// descendants, and is not frozen.
    ///
    /// To be called before the cgroup is recorded, although [`create`](Cgroup::create) checks
    /// again: whoever clears up after a runtime that was killed between the record and `create`
    /// would kill the processes of somebody else otherwise.
    pub fn claim(&self) -> Result<()> {
        match self.events()? {
            Some(events) if events.populated => {
                Err(Error::NotEmpty { path: self.path.clone(), processes: self.processes()?.len() })
            }
            Some(events) if events.frozen => Err(Error::Frozen(self.path.clone())),
            _ => Ok(()),
        }
    }

    /// Makes the cgroup and opens it: one mkdir and one open where its parent exists.
    ///
    /// `journal` is called, before anything is made, if [`parents`](Cgroup::parents) is not any
    /// more what it was; and again in the odd case that yet another parent is removed by somebody
    /// else meanwhile. If it fails, nothing is made.
    ///
    /// A cgroup that is there already is taken if it is free (see [`claim`](Cgroup::claim)). After
    /// an error, what this call made is removed again.
    pub fn create<E: From<Error>>(&mut self, mut journal: impl FnMut(&Cgroup) -> Result<(), E>) -> Result<Dir, E> {
        let mut made_parents = false;
        let result = self.make_all(&mut journal, &mut made_parents);
        if result.is_err() && made_parents {
            // Best effort: the error to report is the first one, and what stays is on record.
            let (Ok(()) | Err(_)) = self.remove_parents();
        }
        result
    }

    fn make_all<E: From<Error>>(
        &mut self,
        journal: &mut impl FnMut(&Cgroup) -> Result<(), E>,
        made_parents: &mut bool,
    ) -> Result<Dir, E> {
        for _ in 0..ATTEMPTS {
            match make(&self.path) {
                Ok(()) => return Ok(self.open_new()?),
                Err(Errno::EEXIST) => match self.open_old() {
                    // It was there a moment ago.
                    Err(error) if error.errno() == Some(Errno::ENOENT) => {}
                    other => return Ok(other?),
                },
                Err(Errno::ENOENT) => {
                    let missing = self.missing_parents()?;
                    if missing > self.parents {
                        self.parents = missing;
                        journal(self)?;
                    }
                    *made_parents = true;
                    self.make_parents(missing)?;
                }
                Err(errno) => return Err(not_made(&self.path, errno).into()),
            }
        }
        Err(not_made(&self.path, Errno::ENOENT).into())
    }

    /// Opens a cgroup that exists.
    pub fn open(&self) -> Result<Dir> {
        Ok(Dir::new(self.open_dir()?, self.path.clone(), true))
    }

    /// The error to report when clone3(2) with `CLONE_INTO_CGROUP`, or a write to `cgroup.procs`,
    /// failed with `errno`: the rules of cgroup v2 behind it are not to be guessed from "Device or
    /// resource busy".
    #[must_use]
    pub fn entering(&self, errno: Errno) -> Error {
        let why = match errno {
            Errno::EBUSY => format!(
                "it hands controllers on to its children (cgroup.subtree_control: {:?}), and such \
                 a cgroup cannot have processes of its own; choose a cgroupsPath beneath it",
                self.line("cgroup.subtree_control")
            ),
            Errno::EOPNOTSUPP => format!(
                "its type is {:?} (cgroup.type), since an ancestor is threaded, and a process \
                 cannot be placed there as a whole; choose a cgroupsPath elsewhere",
                self.line("cgroup.type")
            ),
            Errno::EACCES | Errno::EPERM => {
                "not permitted; the caller must be able to write to cgroup.procs both there and in \
                 the nearest ancestor that it shares with the caller's own cgroup"
                    .to_owned()
            }
            Errno::EAGAIN => {
                "no more processes may be born there: pids.max, there or in an ancestor, is reached".to_owned()
            }
            Errno::ENODEV | Errno::ENOENT => "it has been removed".to_owned(),
            _ => "the kernel refused".to_owned(),
        };
        Error::Entering { path: self.path.clone(), why, errno }
    }

    /// The directory `up` levels above this one; 0 is the cgroup itself.
    pub(crate) fn ancestor(&self, up: u32) -> &Path {
        // `recorded` made sure that there are that many.
        self.path.ancestors().nth(up as usize).unwrap_or(&self.path)
    }

    /// How many levels there are above this cgroup and beneath the mount.
    pub(crate) fn levels(&self) -> u32 {
        self.relative().components().count() as u32 - 1
    }

    /// How many of its parents are missing.
    fn missing_parents(&self) -> Result<u32> {
        for up in 1..=self.levels() {
            match faccessat(AT_FDCWD, self.ancestor(up), AccessFlags::F_OK, AtFlags::empty()) {
                Ok(()) => return Ok(up - 1),
                Err(Errno::ENOENT) => {}
                Err(errno) => {
                    return Err(Error::system("looking for the cgroup", self.ancestor(up), errno));
                }
            }
        }
        Ok(self.levels())
    }

    /// Makes what is missing from the top down. If somebody else removes one of them meanwhile, the
    /// next attempt finds out.
    fn make_parents(&self, missing: u32) -> Result<()> {
        for up in (1..=missing).rev() {
            match make(self.ancestor(up)) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(Errno::ENOENT) => break,
                Err(errno) => return Err(not_made(self.ancestor(up), errno)),
            }
        }
        Ok(())
    }

    fn open_new(&self) -> Result<Dir> {
        let opened = self.open_dir();
        if opened.is_err() {
            // Best effort, as in `create`.
            let (Ok(()) | Err(_)) = self.remove(Some(Duration::ZERO));
        }
        Ok(Dir::new(opened?, self.path.clone(), false))
    }

    fn open_old(&self) -> Result<Dir> {
        self.claim()?;
        self.open()
    }

    fn open_dir(&self) -> Result<OwnedFd> {
        open(&self.path, OFlag::O_PATH | OFlag::O_DIRECTORY)
            .map_err(|errno| Error::system("opening the cgroup", &self.path, errno))
    }

    /// The content of a file of one line, for an error message.
    fn line(&self, file: &str) -> String {
        match std::fs::read_to_string(self.path.join(file)) {
            Ok(text) => text.trim_end().to_owned(),
            Err(error) => format!("unreadable: {error}"),
        }
    }
}

pub(crate) fn not_made(path: &Path, errno: Errno) -> Error {
    let hint = match errno {
        Errno::EAGAIN => " (cgroup.max.descendants or cgroup.max.depth of an ancestor is reached)",
        Errno::EROFS => " (the cgroup2 file system is mounted read-only here)",
        Errno::ENOENT => " (somebody else keeps removing its parent)",
        Errno::EACCES | Errno::EPERM => " (this part of the hierarchy is not delegated to this user)",
        _ => "",
    };
    Error::System { action: "making the cgroup", path: path.to_owned(), hint, errno }
}

/// 0755, as everybody makes them: the statistics in a cgroup are for all to read.
fn make(path: &Path) -> Result<(), Errno> {
    mkdir(path, Mode::from_bits_truncate(0o755))
}

/// Opens a cgroup or a file in one. There are no symbolic links in a cgroup file system, so one on
/// the way means that this is not where it seems to be.
pub(crate) fn open(path: &Path, flags: OFlag) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
    openat2(AT_FDCWD, path, how)
}

/// Opens what is in a directory.
pub(crate) fn open_at(dir: impl AsFd, name: &std::ffi::CStr, flags: OFlag) -> Result<OwnedFd, Errno> {
    nix::fcntl::openat(dir, name, flags | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW, Mode::empty())
}

/// `Ok(None)` for what is gone.
pub(crate) fn unless_gone<T>(result: Result<T, Errno>) -> Result<Option<T>, Errno> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(errno) if gone(errno) => Ok(None),
        Err(errno) => Err(errno),
    }
}
