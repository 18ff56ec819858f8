//! What is kept of a container on disk, and what is told of it.
//!
//! ```text
//! ROOT/ID/             the directory is the claim of the name: mkdir(2) decides between two creates
//!   state.json         the journal: the configuration, then one record a line, of which the last whole line counts
//!   start.sock         where `start` connects, as long as the container is created and not started
//!   notify/            what is mounted at /run/notify, in a container that notifies
//!     notify.sock      where its process tells that it is ready, from its start on
//! ```
//!
//! The journal is written before what it speaks of is made: the first record names the cgroup and the pid file, later
//! ones add the process. Records are appended with one write(2) each; a line cut by a crash or a full disk
//! does not count. `flock(2)` on `state.json` keeps commands that change the container apart; readers take
//! no lock. Everything is removed in the order `start.sock`, `state.json`, directory, so that a name is free only
//! when nothing is left.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use no_frills_sys::{lock, pidfd};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::notify;

/// Where a container is in its life (runtime.md, "State").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// A create is at work, or was interrupted.
    Creating,
    /// Everything is ready; the program has not been started.
    Created,
    /// The program runs.
    Running,
    /// All its processes are stopped by its cgroup, whether the program was started before or not.
    Paused,
    /// The program has ended.
    Stopped,
}

impl fmt::Display for Status {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        })
    }
}

/// A container's state, as runtime.md has it and `runc state` prints it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// The version of the specification that the configuration follows.
    pub oci_version: String,
    /// The name.
    pub id: String,
    /// The process as the host sees it; 0 when it has ended.
    pub pid: i32,
    /// Where it is in its life.
    pub status: Status,
    /// The bundle's absolute path.
    pub bundle: PathBuf,
    /// The root filesystem's absolute path.
    pub rootfs: PathBuf,
    /// When it was created, RFC 3339 in UTC.
    pub created: String,
    /// The configuration's annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Always empty, as runc has it.
    pub owner: String,
    /// The user who created it.
    #[serde(skip)]
    pub owner_uid: u32,
}

/// A line of the journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    /// [`VERSION`].
    pub(crate) version: u32,
    pub(crate) oci_version: String,
    pub(crate) bundle: PathBuf,
    pub(crate) rootfs: PathBuf,
    pub(crate) created: String,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) owner_uid: u32,
    /// Relative to the cgroup2 mount.
    pub(crate) cgroup: PathBuf,
    /// How many of its parents were made along with it.
    pub(crate) cgroup_parents: u32,
    /// Removed along with a container that is only half made. When it is whole the file is its caller's, who may
    /// read it later than that, and it is named no more.
    pub(crate) pid_file: Option<PathBuf>,
    /// `args[0]`, for what `start` may have to say.
    pub(crate) program: String,
    /// The number of the step at which init waits, for the same.
    pub(crate) ready: u32,
    /// Whether it has a pid namespace of its own: then all its processes end with the first.
    pub(crate) own_pids: bool,
    /// Whether it has a directory for the socket of its notifications.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) notify: bool,
    /// Whether hooks are to be run after it was created: then the configuration is read again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) hooks: bool,
    /// Whether the program is run under a seccomp filter: then init has no words left when it fails.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) filtered: bool,
    /// Whether that filter has a listener: then the configuration is read again for who gets it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) listener: bool,
    pub(crate) process: Option<Process>,
    /// Directories of resctrl that go with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) resctrl: Vec<PathBuf>,
    /// The unit of systemd that its cgroup is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unit: Option<Unit>,
}

/// A unit of systemd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Unit {
    pub(crate) name: String,
    /// Of the user's manager.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) user: bool,
}

/// The container's process. The time it started, in clock ticks since boot, tells it from a later one
/// with the same pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) start_time: u64,
}

/// Of the journal's format.
pub(crate) const VERSION: u32 = 2;
const STATE_FILE: &str = "state.json";
const START_SOCKET: &str = "start.sock";

/// What `/proc/PID/stat` says of a process (proc_pid_stat(5)).
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProcessStat {
    pub(crate) zombie: bool,
    /// It is ending, or has ended: it does nothing any more in its cgroup.
    pub(crate) ending: bool,
    /// By a signal, or a debugger.
    pub(crate) stopped: bool,
    pub(crate) start_time: u64,
    /// Bit N-1 for signal N, the first 31.
    pub(crate) ignored_signals: u32,
}

impl ProcessStat {
    /// `None`: there is no such process.
    pub(crate) fn read(pid: i32) -> Result<Option<ProcessStat>> {
        let path = PathBuf::from(format!("/proc/{pid}/stat"));
        let mut buffer = [0; 1024];
        let mut file = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            result => result.map_err(Error::at("opening", &path))?,
        };
        let length = match file.read(&mut buffer) {
            Err(error) if error.raw_os_error() == Some(Errno::ESRCH as i32) => return Ok(None),
            result => result.map_err(Error::at("reading", &path))?,
        };
        let parsed = buffer.get(..length).and_then(ProcessStat::parse);
        parsed.map(Some).ok_or_else(|| Error::at("understanding", &path)(Errno::EINVAL))
    }

    fn parse(line: &[u8]) -> Option<ProcessStat> {
        // The second field, the name in parentheses, may hold anything.
        let end = line.iter().rposition(|byte| *byte == b')')?;
        let rest = std::str::from_utf8(line.get(end + 2..)?).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?;
        let (zombie, stopped) = (matches!(state, "Z" | "X"), matches!(state, "T" | "t"));
        // From here the iterator is at field 4. PF_EXITING of the kernel's task flags.
        let ending = fields.nth(9 - 4)?.parse::<u64>().ok()? & 4 != 0;
        let start_time = fields.nth(22 - 10)?.parse().ok()?;
        let ignored_signals = fields.nth(33 - 23)?.parse::<u64>().ok()? as u32;
        Some(ProcessStat { zombie, ending, stopped, start_time, ignored_signals })
    }
}

impl Process {
    /// Whether it still runs; a zombie does not.
    pub(crate) fn is_alive(self) -> Result<bool> {
        let stat = ProcessStat::read(self.pid)?;
        Ok(stat.is_some_and(|stat| !stat.zombie && stat.start_time == self.start_time))
    }
}

/// The names that containers may have: they name directories.
pub(crate) fn check_id(id: &str) -> Result<()> {
    let invalid = |reason| Err(Error::InvalidId { id: id.to_owned(), reason });
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-.".contains(&byte);
    if id.is_empty() {
        invalid("container id cannot be empty")
    } else if id.len() > 1024 {
        invalid("it is longer than 1024 characters")
    } else if id == "." || id == ".." {
        invalid("it names a directory")
    } else if !id.bytes().all(allowed) {
        invalid("only letters, digits and _ + - . are allowed")
    } else {
        Ok(())
    }
}

/// What a journal says, and the journal.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) record: Record,
    /// The configuration that the container was made with.
    pub(crate) document: Vec<u8>,
    pub(crate) file: File,
}

/// A container's directory.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    id: String,
    path: PathBuf,
}

impl Directory {
    pub(crate) fn new(root: &Path, id: &str) -> Result<Directory> {
        check_id(id)?;
        Ok(Directory { id: id.to_owned(), path: root.join(id) })
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn state_file(&self) -> PathBuf {
        self.path.join(STATE_FILE)
    }

    pub(crate) fn start_socket(&self) -> PathBuf {
        self.path.join(START_SOCKET)
    }

    /// What a container that notifies has at `/run/notify`.
    pub(crate) fn notify_directory(&self) -> PathBuf {
        self.path.join("notify")
    }

    /// Makes it, for anybody in the container to look into, whatever the caller's umask.
    pub(crate) fn make_notify_directory(&self) -> Result<PathBuf> {
        let path = self.notify_directory();
        std::fs::create_dir(&path).map_err(Error::at("creating", &path))?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o755)).map_err(Error::at("opening up", &path))?;
        Ok(path)
    }

    /// Takes the name: makes the directory and the journal, and locks it.
    pub(crate) fn claim(&self) -> Result<Journal> {
        self.make()?;
        let path = self.state_file();
        let opened = OpenOptions::new().read(true).append(true).create_new(true).mode(0o600).open(&path);
        let file = match opened {
            // A `delete --force` took the empty directory away, or is about to.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::AlreadyExists) => {
                return Err(Error::Deleted(self.id.clone()));
            }
            // Nothing is in the directory yet; a full disk must not keep the name.
            Err(error) => {
                return Err(Error::at("creating", &path)(error).and_cleanup(remove_directory(&self.path)));
            }
            Ok(file) => file,
        };
        let journal = Journal { file, path };
        match journal.lock() {
            Ok(metadata) if metadata.nlink() == 0 => Err(Error::Deleted(self.id.clone())),
            Ok(_) => Ok(journal),
            Err(error) => Err(error.and_cleanup(self.remove(false))),
        }
    }

    fn make(&self) -> Result<()> {
        let mut builder = DirBuilder::new();
        builder.mode(0o711);
        let made = match builder.create(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let root = self.path.parent().unwrap_or(&self.path);
                let recursive = DirBuilder::new().recursive(true).mode(0o711).create(root);
                recursive.map_err(Error::at("creating", root))?;
                builder.create(&self.path)
            }
            result => result,
        };
        match made {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(Error::Exists(self.id.clone())),
            result => result.map_err(Error::at("creating", &self.path)),
        }
    }

    /// The journal's last record, read without the lock. `None`: half made.
    pub(crate) fn read(&self) -> Result<Option<Record>> {
        Ok(self.read_whole()?.map(|whole| whole.record))
    }

    /// As [`read`](Directory::read), with the configuration that the container was made with.
    pub(crate) fn read_whole(&self) -> Result<Option<Whole>> {
        let path = self.state_file();
        match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => match self.path.try_exists() {
                Ok(true) => Ok(None),
                Ok(false) => Err(Error::NotFound),
                Err(error) => Err(Error::at("finding", &self.path)(error)),
            },
            Err(error) if error.kind() == ErrorKind::NotADirectory => Err(Error::NotFound),
            Err(error) => Err(Error::at("opening", &path)(error)),
            Ok(file) => {
                let read = read_journal(&file, &path)?;
                Ok(read.map(|(record, document)| Whole { record, document, file }))
            }
        }
    }

    /// Locks an existing container for a change, and waits for others who change it. `None`: half made, it
    /// has no journal.
    pub(crate) fn lock(&self) -> Result<Option<Journal>> {
        let Some(journal) = self.open_journal()? else { return Ok(None) };
        if journal.lock()?.nlink() == 0 {
            return Err(Error::NotFound);
        }
        Ok(Some(journal))
    }

    /// Locks a whole container together with others who do not change it. It may have been deleted before. Who has its
    /// journal open already gives that.
    pub(crate) fn lock_shared(&self, opened: Option<File>) -> Result<Journal> {
        let journal = match opened {
            Some(file) => Journal { file, path: self.state_file() },
            None => self.open_journal()?.ok_or_else(|| Error::Incomplete(self.id.clone()))?,
        };
        lock::shared(&journal.file).map_err(Error::at("locking", &journal.path))?;
        Ok(journal)
    }

    /// As [`lock`](Directory::lock), for who will delete it whatever its state. While somebody else has it
    /// locked, `interrupt` is called with the last record, again and again, to end what they may be waiting for without end.
    pub(crate) fn lock_by_force(&self, interrupt: impl Fn(&Record) -> Result<()>) -> Result<Option<Journal>> {
        let journal = match self.open_journal()? {
            Some(journal) => journal,
            None if remove_directory(&self.path).is_ok() => return Err(Error::NotFound),
            // It is not empty, so that its maker may have got on, or the journal was lost. A new one tells: its
            // maker makes it, or we do, and only one has it locked.
            None => self.make_journal()?,
        };
        while !lock::try_exclusive(&journal.file).map_err(Error::at("locking", &journal.path))? {
            // What has no readable record yet is locked for a moment only.
            let record = journal.read().ok().flatten();
            record.as_ref().map_or(Ok(()), &interrupt)?;
            await_change(record.and_then(|record| record.process))?;
        }
        if journal.metadata()?.nlink() == 0 {
            return Err(Error::NotFound);
        }
        Ok(Some(journal))
    }

    fn has_journal(&self) -> Result<bool> {
        let path = self.state_file();
        path.try_exists().map_err(Error::at("finding", &path))
    }

    fn make_journal(&self) -> Result<Journal> {
        let path = self.state_file();
        match OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::NotFound),
            Err(error) => Err(Error::at("opening", &path)(error)),
            Ok(file) => Ok(Journal { file, path }),
        }
    }

    fn open_journal(&self) -> Result<Option<Journal>> {
        let path = self.state_file();
        let file = match OpenOptions::new().read(true).append(true).open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return match self.path.try_exists() {
                    Ok(true) => Ok(None),
                    Ok(false) => Err(Error::NotFound),
                    Err(error) => Err(Error::at("finding", &self.path)(error)),
                };
            }
            result => result.map_err(Error::at("opening", &path))?,
        };
        Ok(Some(Journal { file, path }))
    }

    /// Removes the start socket.
    pub(crate) fn remove_start_socket(&self) -> Result<()> {
        remove_file(&self.start_socket())
    }

    /// Removes everything of the container on disk, the name last. Whoever knows that there is no start
    /// socket says so.
    pub(crate) fn remove(&self, start_socket: bool) -> Result<()> {
        if start_socket {
            self.remove_start_socket()?;
        }
        remove_file(&self.state_file())?;
        match std::fs::remove_dir(&self.path) {
            // The name was free for a moment, since somebody else has removed the directory, and another container has it.
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty && self.has_journal()? => Ok(()),
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {
                let notify = self.notify_directory();
                remove_file(&notify.join(notify::SOCKET))?;
                remove_directory(&notify)?;
                match remove_directory(&self.path) {
                    Err(_) if self.has_journal()? => Ok(()),
                    result => result,
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            result => result.map_err(Error::at("removing", &self.path)),
        }
    }
}

/// Waits for the end of a process whose container somebody else has locked; but not for long. That a process was stopped, which
/// it is some time after the signal, no event tells.
fn await_change(process: Option<Process>) -> Result<()> {
    const NOT_FOR_LONG: u16 = 20;
    let opened = process.and_then(|process| pidfd::open(process.pid).ok());
    // One that has ended would end every wait at once.
    let opened = opened.filter(|fd| pidfd::has_ended(fd) == Ok(false));
    let mut fds: Vec<PollFd<'_>> = opened.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)).collect();
    match poll(&mut fds, NOT_FOR_LONG) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(Error::system("waiting for the container's lock")(errno)),
    }
}

/// Removes an empty directory; one that is gone is as good.
fn remove_directory(path: &Path) -> Result<()> {
    match std::fs::remove_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result.map_err(Error::at("removing", path)),
    }
}

/// Removes a file; one that is gone is as good.
pub(crate) fn remove_file(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result.map_err(Error::at("removing", path)),
    }
}

/// How a journal begins: the length of the configuration, in bytes, which follows on a line of its own.
const HEAD: &str = "{\"document\":";

/// Where in a journal the configuration lies, and the records. `None`: neither is whole.
fn parts(text: &[u8]) -> Option<(Range<usize>, &[u8])> {
    let line = text.iter().position(|byte| *byte == b'\n')?;
    let length = text.get(HEAD.len()..line)?.strip_suffix(b"}")?;
    let length: usize = std::str::from_utf8(length).ok()?.parse().ok()?;
    let start = line + 1;
    let end = start.checked_add(length)?;
    Some((start..end, text.get(end.checked_add(1)?..)?))
}

fn read_all(file: &File, path: &Path) -> Result<Vec<u8>> {
    // More than nearly every journal has, so that it is read at once.
    const ROOM: usize = 8192;
    let mut text = Vec::new();
    loop {
        let have = text.len();
        text.resize(have + ROOM, 0);
        let room = text.get_mut(have..).unwrap_or(&mut []);
        let count = file.read_at(room, have as u64).map_err(Error::at("reading", path))?;
        text.truncate(have + count);
        // A read that does not fill its room has come to the end.
        if count < ROOM {
            return Ok(text);
        }
    }
}

/// The last whole line that can be read as a record, and the configuration. `None`: there is no whole line.
fn read_journal(file: &File, path: &Path) -> Result<Option<(Record, Vec<u8>)>> {
    let mut text = read_all(file, path)?;
    let unreadable = |reason: String| Error::State { path: path.to_owned(), reason };
    let Some(first) = text.split(|byte| *byte == b'\n').next().filter(|first| first.len() < text.len()) else {
        return Ok(None);
    };
    if !first.starts_with(HEAD.as_bytes()) {
        return Err(unreadable("it does not begin as a journal of this version does".to_owned()));
    }
    let Some((document, records)) = parts(&text) else { return Ok(None) };
    let Some(end) = records.iter().rposition(|byte| *byte == b'\n') else { return Ok(None) };
    let whole = records.get(..end).unwrap_or(&[]);
    let line = whole.rsplit(|byte| *byte == b'\n').next().unwrap_or(whole);
    let record: Record = serde_json::from_slice(line).map_err(|error| unreadable(error.to_string()))?;
    if record.version == VERSION {
        text.truncate(document.end);
        text.drain(..document.start);
        Ok(Some((record, text)))
    } else {
        Err(unreadable(format!("it has the format {}; this version knows {VERSION}", record.version)))
    }
}

/// The open and locked journal. The lock ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    path: PathBuf,
}

impl Journal {
    /// Waits for the lock, and tells what the file is then: without a link it has been deleted.
    fn lock(&self) -> Result<Metadata> {
        lock::exclusive(&self.file).map_err(Error::at("locking", &self.path))?;
        self.metadata()
    }

    fn metadata(&self) -> Result<Metadata> {
        self.file.metadata().map_err(Error::at("reading", &self.path))
    }

    /// Begins the journal with the configuration, and appends the first record.
    pub(crate) fn begin(&mut self, document: &[u8], record: &Record) -> Result<()> {
        let mut text = format!("{HEAD}{}}}\n", document.len()).into_bytes();
        text.reserve(document.len() + 1024);
        text.extend_from_slice(document);
        text.push(b'\n');
        self.append(text, record)
    }

    /// Appends a record.
    pub(crate) fn write(&mut self, record: &Record) -> Result<()> {
        self.append(Vec::with_capacity(1024), record)
    }

    /// What does not fit on the disk is taken back, so that the next record begins on a line of its own.
    fn append(&mut self, mut line: Vec<u8>, record: &Record) -> Result<()> {
        // A path that is not UTF-8 cannot be recorded in JSON.
        serde_json::to_writer(&mut line, record)
            .map_err(|error| Error::State { path: self.path.clone(), reason: error.to_string() })?;
        line.push(b'\n');
        match (&self.file).write(&line) {
            Ok(written) if written == line.len() => Ok(()),
            Ok(written) => {
                let end = self.file.metadata().map_err(Error::at("reading", &self.path))?.len();
                self.file.set_len(end - written as u64).map_err(Error::at("truncating", &self.path))?;
                Err(Error::at("writing", &self.path)(Errno::ENOSPC))
            }
            Err(error) => Err(Error::at("writing", &self.path)(error)),
        }
    }

    /// The configuration that the container was made with. `None`: half made.
    pub(crate) fn document(&self) -> Result<Option<Vec<u8>>> {
        let mut text = read_all(&self.file, &self.path)?;
        let Some((document, _)) = parts(&text) else { return Ok(None) };
        text.truncate(document.end);
        text.drain(..document.start);
        Ok(Some(text))
    }

    /// The last record.
    pub(crate) fn read(&self) -> Result<Option<Record>> {
        Ok(read_journal(&self.file, &self.path)?.map(|(record, _)| record))
    }

    /// Lets others lock the container.
    pub(crate) fn unlock(&self) -> Result<()> {
        lock::unlock(&self.file).map_err(Error::at("unlocking", &self.path))
    }

    /// Stays open to be locked again.
    pub(crate) fn into_unlocked(self) -> UnlockedJournal {
        UnlockedJournal(self)
    }
}

/// The open journal of a container that this process made, for when it comes back to delete it.
#[derive(Debug)]
pub(crate) struct UnlockedJournal(Journal);

impl UnlockedJournal {
    /// Locks it again. The container may have been deleted meanwhile, and another made of its name.
    pub(crate) fn lock(self) -> Result<Journal> {
        if self.0.lock()?.nlink() == 0 {
            return Err(Error::NotFound);
        }
        Ok(self.0)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn record(pid: i32) -> Record {
        Record {
            version: VERSION,
            oci_version: "1.3.0".to_owned(),
            bundle: PathBuf::from("/b"),
            rootfs: PathBuf::from("/b/rootfs"),
            created: "2026-11-22T03:14:34.000000005Z".to_owned(),
            annotations: BTreeMap::new(),
            owner_uid: 0,
            cgroup: PathBuf::from("no-frills/x"),
            cgroup_parents: 1,
            pid_file: None,
            program: "sh".to_owned(),
            ready: 0,
            own_pids: true,
            notify: false,
            hooks: false,
            filtered: false,
            listener: false,
            process: Some(Process { pid, start_time: 7 }),
            resctrl: Vec::new(),
            unit: None,
        }
    }

    fn open_for_reading(directory: &Directory) -> File {
        File::open(directory.state_file()).unwrap()
    }

    #[test]
    fn the_last_whole_record_counts_wherever_the_journal_is_cut() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::new(root.path(), "x").unwrap();
        let mut journal = directory.claim().unwrap();
        let document = b"{\n  \"ociVersion\": \"1.3.0\"\n}\n";
        journal.begin(document, &record(1)).unwrap();
        assert_eq!(
            Journal { file: open_for_reading(&directory), path: PathBuf::new() }.document().unwrap().unwrap(),
            document
        );
        let first = std::fs::metadata(directory.state_file()).unwrap().len();
        journal.write(&record(2)).unwrap();
        let whole = std::fs::read(directory.state_file()).unwrap();
        for length in 0..=whole.len() {
            std::fs::write(directory.state_file(), &whole[..length]).unwrap();
            let pid = directory.read().unwrap().map(|record| record.process.unwrap().pid);
            let expected = match length as u64 {
                length if length < first => None,
                length if length < whole.len() as u64 => Some(1),
                _ => Some(2),
            };
            assert_eq!(pid, expected, "{length}");
        }
    }

    #[test]
    fn garbage_and_other_versions_are_told() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::new(root.path(), "x").unwrap();
        drop(directory.claim().unwrap());
        std::fs::write(directory.state_file(), b"\xff\xfe\n").unwrap();
        assert!(matches!(directory.read(), Err(Error::State { .. })));
        std::fs::remove_file(directory.state_file()).unwrap();
        std::fs::remove_dir(directory.path()).unwrap();
        directory.claim().unwrap().begin(b"{}", &Record { version: 99, ..record(1) }).unwrap();
        assert!(directory.read().unwrap_err().to_string().contains("format 99"));
    }

    #[test]
    fn a_half_made_container_is_deleted_and_not_taken_from_a_maker_who_got_on() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::new(root.path(), "x").unwrap();
        let nothing = |_: &Record| panic!("there is no record");
        // Its maker was killed before it had made the journal.
        std::fs::create_dir(directory.path()).unwrap();
        assert!(matches!(directory.lock_by_force(nothing), Err(Error::NotFound)));
        assert!(!directory.path().exists());
        // The journal was lost.
        std::fs::create_dir(directory.path()).unwrap();
        std::fs::write(directory.start_socket(), "").unwrap();
        let journal = directory.lock_by_force(nothing).unwrap().unwrap();
        assert!(journal.read().unwrap().is_none());
        directory.remove(true).unwrap();
        drop(journal);
        // Its maker is at work: it is interrupted, then waited for.
        let mut journal = directory.claim().unwrap();
        journal.begin(b"{}", &record(1)).unwrap();
        let (sender, interrupted) = std::sync::mpsc::channel();
        let waiting = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                directory.lock_by_force(|record| {
                    sender.send(record.process.unwrap().pid).unwrap();
                    Ok(())
                })
            });
            assert_eq!(interrupted.recv(), Ok(1));
            directory.remove(true).unwrap();
            drop(journal);
            waiting.join().unwrap()
        });
        assert!(matches!(waiting, Err(Error::NotFound)));
    }

    #[test]
    fn a_name_is_taken_once() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::new(root.path(), "x").unwrap();
        let journal = directory.claim().unwrap();
        assert!(matches!(directory.claim(), Err(Error::Exists(id)) if id == "x"));
        // Another command waits for the lock, and finds the container gone when it gets it; or it comes between
        // the removal of the journal and that of the directory, which look half-made then.
        let waiting = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| directory.lock());
            directory.remove(true).unwrap();
            drop(journal);
            waiting.join().unwrap()
        });
        assert!(matches!(waiting, Err(Error::NotFound) | Ok(None)), "{waiting:?}");
        directory.remove(true).unwrap();
    }

    #[test]
    fn names() {
        for id in ["a", "A-b_c+d.e", ".hidden", "-x", "0"] {
            check_id(id).unwrap();
        }
        for id in ["", ".", "..", "a/b", "a b", "a:b", "é", "a\n", &"x".repeat(1025)] {
            assert!(matches!(check_id(id), Err(Error::InvalidId { .. })), "{id}");
        }
    }

    #[test]
    fn our_own_process_is_alive_and_told_from_another_with_its_pid() {
        let pid = std::process::id() as i32;
        let stat = ProcessStat::read(pid).unwrap().unwrap();
        assert!(Process { pid, start_time: stat.start_time }.is_alive().unwrap());
        assert!(!Process { pid, start_time: stat.start_time + 1 }.is_alive().unwrap());
        assert!(ProcessStat::read(i32::MAX).unwrap().is_none());
        // Rust programs ignore SIGPIPE, which is signal 13.
        assert_eq!(stat.ignored_signals & (1 << 12), 1 << 12);
    }
}
