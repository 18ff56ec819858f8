//! A container that is to be deleted whatever is wrong with it: who has it locked, and what is still known of it.
//!
//! | what is damaged | what is known |
//! |---|---|
//! | nothing | all, from the journal |
//! | the journal, in part | the last line that is a record, and what the link `cgroup` names |
//! | the journal, or it is another version's | what the link `cgroup` names: the cgroup, and with it all processes |
//! | both | nothing: what there is besides the directory stays |
//! | there is no directory, but something in its place | that it is no container's |

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::SIGKILL;
use nix::sys::stat::{major, minor};
use no_frills_cgroups::{BASE, Cgroup, Hierarchy};
use no_frills_sys::lock;
use no_frills_sys::pidfd::{self, Exit};
use no_frills_sys::spawn::Child;

use crate::error::{Error, Result};
use crate::hooks;
use crate::launch::CGROUP_DEADLINE;
use crate::members::Members;
use crate::state::{Directory, Journal, Process, ProcessStat, Record};

/// How long somebody else who changes the container may go on, before its processes are killed, for whose end they wait.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is left of a container.
#[derive(Debug)]
pub(crate) struct Remains {
    /// `None`: it is half made, or the journal is damaged.
    pub(crate) record: Option<Record>,
    /// A cgroup that no record names.
    pub(crate) cgroup: Option<Cgroup>,
}

impl Remains {
    /// What is known of it. What is damaged is no error.
    pub(crate) fn of(directory: &Directory, journal: &Journal) -> Result<Remains> {
        let record = match journal.read() {
            Ok(Some(record)) => return Ok(Remains { record: Some(record), cgroup: None }),
            Ok(None) => None,
            Err(Error::State { .. }) => journal.salvage(),
            Err(error) => return Err(error),
        };
        // A copy of another container's, which is not to suffer.
        if record.as_ref().is_some_and(|record| record.id != directory.id()) {
            return Ok(Remains { record: None, cgroup: None });
        }
        let linked = directory.linked_cgroup()?;
        let linked = linked.filter(|path| record.as_ref().is_none_or(|record| record.cgroup != *path));
        Ok(Remains { record, cgroup: linked.as_deref().map(recorded).transpose()?.flatten() })
    }

    /// Kills the processes that are known, and the hook.
    fn kill(&self) -> Result<()> {
        if let Some(record) = &self.record {
            record.hook.map_or(Ok(()), hooks::kill)?;
            Members::of(record)?.kill()?;
        }
        self.cgroup.as_ref().map_or(Ok(()), |cgroup| Ok(cgroup.kill()?))
    }

    /// Kills them if those who create or start the container may wait for them for ever: for a hook, or since they are
    /// stopped or frozen.
    fn kill_if_stuck(&self) -> Result<()> {
        let Some(record) = &self.record else { return Ok(()) };
        let members = Members::of(record)?;
        let mut stuck = record.hook.map_or(Ok(false), Process::is_alive)? || members.frozen()?;
        for pid in members.processes()? {
            stuck |= ProcessStat::read(pid)?.is_some_and(|stat| stat.stopped);
        }
        if stuck { self.kill() } else { Ok(()) }
    }

    /// Ends and removes what no record names.
    pub(crate) fn clear(&self) -> Result<()> {
        let Some(cgroup) = &self.cgroup else { return Ok(()) };
        cgroup.kill()?;
        Ok(cgroup.remove(Some(CGROUP_DEADLINE))?)
    }
}

/// `None`: the link was changed, and names no cgroup.
fn recorded(path: &Path) -> Result<Option<Cgroup>> {
    let hierarchy = Hierarchy::find().map_err(Error::cgroup)?;
    let parents = u32::from(path.parent() == Some(Path::new(BASE)));
    Ok(Cgroup::recorded(&hierarchy, path, parents).ok())
}

/// Locks a container that is to be deleted whatever its state. While somebody else has it locked, its processes are killed
/// that they may be waiting for without end. `None`: there was but a directory, which is removed.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Locked`] when somebody does not end.
pub(crate) fn lock_by_force(directory: &Directory) -> Result<Option<Journal>> {
    let Some(journal) = directory.open_by_force()? else { return Ok(None) };
    let failed = || Error::system(format!("locking the container {}", directory.id()));
    if !lock::try_exclusive(journal.file()).map_err(failed())? {
        let child = lock::exclusive_by_child(journal.file()).map_err(failed())?;
        let waited = await_lock(directory, &journal, &child);
        // It may have got the lock meanwhile.
        pidfd::send_signal(&child.pidfd, SIGKILL)
            .or_else(|errno| if errno == Errno::ESRCH { Ok(()) } else { Err(errno) })
            .map_err(failed())?;
        match (waited, pidfd::reap(&child.pidfd).map_err(failed())?) {
            (Ok(()), Exit::Code(0)) => {}
            (Err(error), _) => return Err(error),
            (Ok(()), Exit::Code(errno)) => return Err(failed()(Errno::from_raw(errno))),
            (Ok(()), Exit::Signal(_)) => {
                let waited = PATIENCE + CGROUP_DEADLINE;
                return Err(Error::Locked { id: directory.id().to_owned(), holder: holder(journal.file()), waited });
            }
        }
    }
    if journal.metadata()?.nlink() == 0 {
        return Err(Error::NotFound);
    }
    Ok(Some(journal))
}

/// Waits until the child has the lock, or it takes too long. That a process was stopped, or another hook was begun, no event
/// tells, so that this is looked for now and then.
fn await_lock(directory: &Directory, journal: &Journal, child: &Child) -> Result<()> {
    const NOW_AND_THEN: u16 = 500;
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE + CGROUP_DEADLINE {
        // Once it is deleted, its cgroup may be another's.
        if journal.metadata()?.nlink() > 0 {
            let remains = Remains::of(directory, journal)?;
            if begun.elapsed() < PATIENCE { remains.kill_if_stuck()? } else { remains.kill()? }
        }
        if pidfd::wait_ended_within(&child.pidfd, NOW_AND_THEN)
            .map_err(Error::system("waiting for the container's lock"))?
        {
            return Ok(());
        }
    }
    Ok(())
}

/// Who has a file locked, by /proc/locks (proc_locks(5)). `None`: that cannot be seen from here.
fn holder(file: &File) -> Option<(i32, String)> {
    let metadata = file.metadata().ok()?;
    let (device, inode) = (metadata.dev(), metadata.ino());
    let wanted = format!("{:02x}:{:02x}:{inode}", major(device), minor(device));
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let pid = locks.lines().find_map(|line| {
        // 1: FLOCK  ADVISORY  WRITE 4711 00:19:1234 0 EOF; who waits has an arrow before FLOCK.
        let mut fields = line.split_ascii_whitespace().skip(1);
        let pid = fields.next().filter(|kind| *kind == "FLOCK").and_then(|_| fields.nth(2))?;
        fields.next().filter(|file| *file == wanted)?;
        pid.parse().ok().filter(|pid| *pid > 0)
    })?;
    let name = fs::read_to_string(PathBuf::from(format!("/proc/{pid}/comm"))).ok()?;
    Some((pid, name.trim_end().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::record;

    #[test]
    fn a_half_made_container_is_deleted_and_not_taken_from_a_maker_who_got_on() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::new(root.path(), "x").unwrap();
        assert!(matches!(lock_by_force(&directory), Err(Error::NotFound)));
        // Its maker was killed before it had made the journal.
        fs::create_dir(directory.path()).unwrap();
        assert!(lock_by_force(&directory).unwrap().is_none());
        assert!(!directory.path().exists());
        // The journal was lost.
        fs::create_dir(directory.path()).unwrap();
        fs::write(directory.start_socket(), "").unwrap();
        let journal = lock_by_force(&directory).unwrap().unwrap();
        assert!(journal.read().unwrap().is_none());
        directory.remove(true).unwrap();
        drop(journal);
        // Its maker is at work, and is waited for.
        let mut journal = directory.claim().unwrap();
        journal.begin(b"{}", &record(1)).unwrap();
        let waiting = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| lock_by_force(&directory));
            directory.remove(true).unwrap();
            drop(journal);
            waiting.join().unwrap()
        });
        assert!(matches!(waiting, Err(Error::NotFound) | Ok(None)), "{waiting:?}");
    }

    #[test]
    fn who_has_a_file_locked_is_told() {
        let path = std::env::temp_dir().join(format!("no-frills-holder-{}", std::process::id()));
        let file = File::create(&path).unwrap();
        assert_eq!(holder(&file), None);
        lock::exclusive(&file).unwrap();
        assert_eq!(holder(&file).unwrap().0, std::process::id() as i32);
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn what_is_not_a_directory_is_removed_and_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::new(root.path(), "x").unwrap();
        let other = Directory::new(root.path(), "y").unwrap();
        other.claim().unwrap().begin(b"{}", &record(1)).unwrap();
        std::os::unix::fs::symlink("y", directory.path()).unwrap();
        assert!(lock_by_force(&directory).unwrap().is_none());
        assert!(!directory.path().is_symlink() && other.path().is_dir());
        fs::write(directory.path(), "").unwrap();
        assert!(lock_by_force(&directory).unwrap().is_none());
        assert!(!directory.path().exists());
    }

    #[test]
    fn the_last_record_counts_and_a_copy_tells_nothing() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::new(root.path(), "x").unwrap();
        let mut journal = directory.claim().unwrap();
        journal.begin(b"{}", &record(1)).unwrap();
        journal.write(&record(2)).unwrap();
        let state = directory.path().join("state.json");
        let whole = fs::read(&state).unwrap();
        let remains = |content: &[u8], of: &Directory| {
            fs::write(of.path().join("state.json"), content).unwrap();
            Remains::of(of, &lock_by_force(of).unwrap().unwrap()).unwrap()
        };
        drop(journal);
        let known =
            |remains: &Remains| remains.record.as_ref().and_then(|record| record.process).map(|process| process.pid);
        // The end, and the beginning.
        assert_eq!(known(&remains(&[&whole, &b"\0garbage\n"[..]].concat(), &directory)), Some(2));
        assert_eq!(known(&remains(&[b"garbage", &whole[..]].concat(), &directory)), Some(2));
        assert_eq!(known(&remains(b"garbage\n", &directory)), None);
        directory.link_cgroup(Path::new("no-frills/x")).unwrap();
        if Hierarchy::find().is_ok() {
            let found = remains(b"garbage\n", &directory).cgroup.unwrap();
            assert_eq!((found.relative(), found.parents()), (Path::new("no-frills/x"), 1));
            // It is the record's, which knows more of it.
            assert!(remains(&[&whole, &b"garbage\n"[..]].concat(), &directory).cgroup.is_none());
        }
        let copy = Directory::new(root.path(), "copy").unwrap();
        drop(copy.claim().unwrap());
        copy.link_cgroup(Path::new("no-frills/x")).unwrap();
        let found = remains(&whole, &copy);
        assert!(found.record.is_none() && found.cgroup.is_none(), "{found:?}");
    }
}
