//! Giving a cgroup to a user, who may then manage what is beneath it.

use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::unistd::{Uid, fchownat};

use crate::dir::Dir;
use crate::error::{Error, Result};

/// Where the kernel lists what has to belong to whom a cgroup is given to, since Linux 4.15 (cgroups(7), "Delegating a hierarchy").
const LIST: &str = "/sys/kernel/cgroup/delegate";
/// The same where there is no such list, as the OCI specification has it.
const WITHOUT_LIST: &str = "cgroup.procs cgroup.subtree_control cgroup.threads";

impl Dir {
    /// Gives the cgroup to a user of the host: its directory, and those of its files that the kernel says. The files of its limits
    /// are not among them.
    ///
    /// # Errors
    /// When the kernel refuses: `EPERM` for who may not give away files. What was given by then stays given.
    pub fn give_to(&self, uid: u32) -> Result<()> {
        let list = match std::fs::read_to_string(LIST) {
            Ok(list) => list,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => WITHOUT_LIST.to_owned(),
            Err(error) => {
                let errno = Errno::from_raw(error.raw_os_error().unwrap_or(Errno::EIO as i32));
                return Err(Error::system("reading", Path::new(LIST), errno));
            }
        };
        let give = |name: &str, flags| fchownat(self, name, Some(Uid::from_raw(uid)), None, flags);
        for name in list.split_ascii_whitespace() {
            match give(name, AtFlags::AT_SYMLINK_NOFOLLOW) {
                // Not every cgroup has every file.
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(errno) => return Err(Error::system("changing the owner of", &self.path().join(name), errno)),
            }
        }
        give("", AtFlags::AT_EMPTY_PATH).map_err(|errno| Error::system("changing the owner of", self.path(), errno))
    }
}
