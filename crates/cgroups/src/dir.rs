//! An open cgroup directory.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::write;
use no_frills_sys::bpf;

use crate::cgroup::open_at;
use crate::devices::Program;
use crate::error::{Error, Result};

/// The name under which bpftool(8) lists the programs.
const PROGRAM_NAME: &str = "no_frills_dev";

/// How often a program is put in the place of another one that is replaced at the same time by
/// somebody else.
const ATTEMPTS: usize = 16;

/// The descriptor of a cgroup's directory (`O_PATH`), which clone3(2) with `CLONE_INTO_CGROUP` and
/// bpf(2) take.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    path: PathBuf,
    existed: bool,
}

impl Dir {
    pub(crate) fn new(fd: OwnedFd, path: PathBuf, existed: bool) -> Dir {
        Dir { fd, path, existed }
    }

    /// Its absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the cgroup was there before, so that it may have settings of its own.
    #[must_use]
    pub fn existed(&self) -> bool {
        self.existed
    }

    /// Makes `program` the one that says which devices the processes in this cgroup, and beneath
    /// it, may use. The programs of its ancestors keep their say.
    ///
    /// Programs that are attached here are replaced: in one step if it is one, so that at no time
    /// everything or nothing is allowed. A cgroup that was made by
    /// [`Cgroup::create`](crate::Cgroup::create) has none, and is not asked for them; there, a
    /// program that allows everything is not even loaded.
    pub fn set_devices(&self, program: &Program) -> Result<()> {
        let old = if self.existed { self.attached()? } else { Vec::new() };
        if program.allows_all() {
            return self.detach(&old);
        }
        let loaded = bpf::load_device_program(program.insns(), PROGRAM_NAME)
            .map_err(|cause| Error::Program { path: self.path.clone(), cause })?;
        if let [id] = old.as_slice() {
            return self.replace(*id, &loaded);
        }
        self.attach(&loaded, None)?;
        self.detach(&old)
    }

    /// Moves a process here.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn place(&self, pid: i32) -> Result<()> {
        let placed = open_at(&self.fd, c"cgroup.procs", OFlag::O_WRONLY)
            .and_then(|file| write(&file, pid.to_string().as_bytes()));
        placed.map(drop).map_err(|errno| self.failed("moving a process to the cgroup", errno))
    }

    fn attached(&self) -> Result<Vec<u32>> {
        bpf::query_device_programs(&self.fd)
            .map_err(|errno| self.failed("listing the device programs of the cgroup", errno))
    }

    fn attach(&self, program: &OwnedFd, replaced: Option<BorrowedFd<'_>>) -> Result<()> {
        bpf::attach_device_program(&self.fd, program, replaced)
            .map_err(|errno| self.failed("attaching the device program to the cgroup", errno))
    }

    fn replace(&self, id: u32, program: &OwnedFd) -> Result<()> {
        let mut id = id;
        for _ in 0..ATTEMPTS {
            let result = match self.loaded(id)? {
                Some(old) => self.attach(program, Some(old.as_fd())),
                None => Err(self.failed("finding the device program of the cgroup", Errno::ENOENT)),
            };
            match (result, self.attached()?.as_slice()) {
                // It was replaced by another one between the two calls.
                (Err(error), [other]) if error.errno() == Some(Errno::ENOENT) => id = *other,
                (Err(error), []) if error.errno() == Some(Errno::ENOENT) => {
                    return self.attach(program, None);
                }
                (result, _) => return result,
            }
        }
        Err(self.failed("replacing the device program of the cgroup", Errno::EAGAIN))
    }

    fn detach(&self, programs: &[u32]) -> Result<()> {
        for id in programs {
            let Some(program) = self.loaded(*id)? else {
                continue;
            };
            match bpf::detach_device_program(&self.fd, &program) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(errno) => {
                    return Err(self.failed("detaching a device program from the cgroup", errno));
                }
            }
        }
        Ok(())
    }

    fn loaded(&self, id: u32) -> Result<Option<OwnedFd>> {
        match bpf::program_by_id(id) {
            Ok(program) => Ok(Some(program)),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(self.failed("opening the device program of the cgroup", errno)),
        }
    }

    fn failed(&self, action: &'static str, errno: Errno) -> Error {
        Error::system(action, &self.path, errno)
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Dir> for OwnedFd {
    fn from(dir: Dir) -> OwnedFd {
        dir.fd
    }
}
