//! From texts to files.

use std::ffi::CString;
use std::fs;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{read, write};

use super::{Absent, Resources, Write};
use crate::cgroup::{open_at, unless_gone};
use crate::dir::Dir;
use crate::error::{Error, Limit, Result};
use crate::stats::memory_events;

const HUGE_PAGES: &str = "/sys/kernel/mm/hugepages";

impl Resources {
    /// Checks what depends on the machine: that it has huge pages of the sizes that are limited.
    ///
    /// # Errors
    /// [`Error::Setting`], which says what sizes there are.
    pub fn check_host(&self) -> Result<()> {
        if self.hugepage_limits.is_empty() {
            return Ok(());
        }
        // Where they cannot be listed, the missing file will tell.
        let Some(sizes) = page_sizes(Path::new(HUGE_PAGES)) else { return Ok(()) };
        match self.hugepage_limits.iter().enumerate().find(|(_, limit)| !sizes.contains(&limit.page_size)) {
            None => Ok(()),
            Some((index, limit)) => {
                let sizes = if sizes.is_empty() { "none at all".to_owned() } else { sizes.join(", ") };
                let setting = format!("/hugepageLimits/{index}/pageSize");
                let why = format!("this machine has no huge pages of {}; it has {sizes}", limit.page_size);
                Err(Error::Setting { setting, why })
            }
        }
    }
}

/// The sizes of huge pages in the words of the cgroup's files. `None`: they cannot be listed.
fn page_sizes(directory: &Path) -> Option<Vec<String>> {
    let mut sizes = Vec::new();
    for entry in fs::read_dir(directory).ok()? {
        let name = entry.ok()?.file_name();
        let kilobytes: Option<u64> =
            name.to_str().and_then(|name| name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok());
        sizes.extend(kilobytes);
    }
    sizes.sort_unstable();
    Some(sizes.into_iter().map(page_size_name).collect())
}

fn page_size_name(kilobytes: u64) -> String {
    match kilobytes {
        0..1024 => format!("{kilobytes}KB"),
        1024..1_048_576 => format!("{}MB", kilobytes >> 10),
        _ => format!("{}GB", kilobytes >> 20),
    }
}

impl Dir {
    /// Writes what [`Resources::writes`] said, in its order.
    ///
    /// # Errors
    /// [`Error::Limit`] for the first that the kernel does not take. It names those that were written before.
    pub fn apply<'w>(&self, writes: impl IntoIterator<Item = &'w Write>) -> Result<()> {
        let mut written: Vec<&str> = Vec::new();
        let mut writes = writes.into_iter().peekable();
        while let Some(this) = writes.next() {
            let first = self.write(this);
            if let (Err(Errno::EINVAL), true, Some(next)) = (&first, this.may_follow_next, writes.peek().copied()) {
                // Should the other order be refused too, the first answer is the one to tell.
                if !self.write(next).is_ok_and(|is_written| is_written) {
                    return Err(self.refused(this, Errno::EINVAL, &written));
                }
                written.push(&next.file);
                writes.next();
                self.write(this).map_err(|errno| self.refused(this, errno, &written))?;
                written.push(&this.file);
            } else if first.map_err(|errno| self.refused(this, errno, &written))? {
                written.push(&this.file);
            }
        }
        Ok(())
    }

    /// Refuses, if so asked, limits of memory below what the cgroup has now.
    ///
    /// # Errors
    /// [`Error::Setting`].
    pub fn check_usage(&self, resources: &Resources) -> Result<()> {
        let memory = &resources.memory;
        if !memory.check_before_update || memory.limit <= 0 && memory.swap <= 0 {
            return Ok(());
        }
        // A cgroup that has no account of its memory has no limit either.
        let Some(used) = self.read_number("memory.current")? else { return Ok(()) };
        for (name, limit) in [("limit", memory.limit), ("swap", memory.swap)] {
            if limit > 0 && limit.unsigned_abs() <= used {
                let why = format!("{limit} bytes, but {used} are in use, and checkBeforeUpdate is set");
                return Err(Error::Setting { setting: format!("/memory/{name}"), why });
            }
        }
        Ok(())
    }

    /// Adds what a change leaves as it is, but has to be written along with it: the quota, to a new period.
    ///
    /// # Errors
    /// When a file that exists cannot be read.
    pub fn complete(&self, resources: &mut Resources) -> Result<()> {
        let cpu = &mut resources.cpu;
        if cpu.period != 0 && cpu.quota == 0 {
            // `max`, of which there is nothing to keep, is no number.
            cpu.quota = self.read_number("cpu.max")?.and_then(|quota| i64::try_from(quota).ok()).unwrap_or_default();
        }
        Ok(())
    }

    /// The period of `cpu.max` in microseconds. `None`: there is no such file.
    ///
    /// # Errors
    /// When the file exists and cannot be read.
    pub fn period(&self) -> Result<Option<u64>> {
        Ok(self.read("cpu.max")?.and_then(|text| text.split_ascii_whitespace().nth(1)?.parse().ok()))
    }

    /// Whether there was ever no memory left for who asked for some, in the cgroup or beneath it. Mostly a process was
    /// killed for that; one that is about to execute its first program is not, but told that there is none.
    ///
    /// # Errors
    /// When `memory.events` exists and cannot be read.
    pub fn ran_out_of_memory(&self) -> Result<bool> {
        let events = self.read("memory.events")?.and_then(|text| memory_events(&text));
        Ok(events.is_some_and(|events| events.oom > 0))
    }

    /// The number that a file begins with.
    fn read_number(&self, file: &str) -> Result<Option<u64>> {
        let text = self.read(file)?;
        Ok(text.and_then(|text| text.split_ascii_whitespace().next()?.parse().ok()))
    }

    fn read(&self, file: &str) -> Result<Option<String>> {
        let read = || -> Result<Option<String>, Errno> {
            let name = CString::new(file).map_err(|_| Errno::EINVAL)?;
            let Some(fd) = unless_gone(open_at(self, &name, OFlag::O_RDONLY))? else { return Ok(None) };
            let mut buffer = [0; 1024];
            let length = unless_gone(read(&fd, &mut buffer))?;
            Ok(length.map(|length| String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned()))
        };
        read().map_err(|errno| Error::system("reading", &self.path().join(file), errno))
    }

    /// Whether it was written: what is so anyway need not be.
    fn write(&self, it: &Write) -> Result<bool, Errno> {
        let written = self.write_file(&it.file, &it.text);
        match (written, &it.absent) {
            (Err(Errno::ENOENT), Absent::Skip) => Ok(false),
            // A device may have another scheduler than the one whose file it is.
            (Err(Errno::ENOENT | Errno::EOPNOTSUPP), Absent::Instead { file, text }) => {
                self.write_file(file, text).map(|()| true)
            }
            (written, _) => written.map(|()| true),
        }
    }

    fn write_file(&self, file: &str, text: &str) -> Result<(), Errno> {
        let name = CString::new(file).map_err(|_| Errno::EINVAL)?;
        let fd = open_at(self, &name, OFlag::O_WRONLY)?;
        loop {
            match write(&fd, text.as_bytes()) {
                // While the kernel takes memory back.
                Err(Errno::EINTR) => {}
                result => return result.map(drop),
            }
        }
    }

    fn refused(&self, it: &Write, errno: Errno, written: &[&str]) -> Error {
        let why = match (errno, it.controller()) {
            (Errno::ENOENT, _) => match &it.absent {
                Absent::Instead { file, .. } => format!("; nor is there {file}"),
                _ => String::new(),
            },
            (Errno::EACCES | Errno::EPERM | Errno::EROFS, _) => {
                "; this part of the hierarchy is not delegated to this user".to_owned()
            }
            (Errno::EOPNOTSUPP, Some("io")) => "; the scheduler of this device has no weights".to_owned(),
            (Errno::ENODEV, Some("io")) => "; there is no such block device, or it is a partition of one".to_owned(),
            (Errno::ENODEV | Errno::EINVAL, Some("rdma")) => "; there is no such RDMA device".to_owned(),
            (Errno::EINVAL | Errno::ERANGE | Errno::EOVERFLOW, Some("cpuset")) => {
                "; the machine has no such processors or memory nodes".to_owned()
            }
            _ => String::new(),
        };
        Error::Limit(Box::new(Limit {
            setting: it.setting.clone(),
            path: self.path().join(&it.file),
            text: it.text.clone(),
            why,
            written: written.iter().map(|file| (*file).to_owned()).collect(),
            errno,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::HugepageLimit;

    #[test]
    fn sizes_of_pages_have_the_kernels_names() {
        for (kilobytes, name) in
            [(64, "64KB"), (2048, "2MB"), (32_768, "32MB"), (1_048_576, "1GB"), (16_777_216, "16GB")]
        {
            assert_eq!(page_size_name(kilobytes), name);
        }
        assert_eq!(page_sizes(Path::new("/nonexistent")), None);
    }

    #[test]
    fn a_size_that_the_machine_lacks_is_told_with_those_it_has() {
        let Some(sizes) = page_sizes(Path::new(HUGE_PAGES)) else { return };
        let limits = |page_size: &str| Resources {
            hugepage_limits: vec![HugepageLimit { page_size: page_size.to_owned(), limit: 0 }],
            ..Resources::default()
        };
        let error = limits("3MB").check_host().unwrap_err().to_string();
        assert!(error.starts_with("this machine has no huge pages of 3MB; it has "), "{error}");
        for size in sizes {
            assert!(error.contains(&size), "{error}");
            limits(&size).check_host().unwrap();
        }
    }
}
