//! What is kept of a container on disk, and what is told of it.
//!
//! ```text
//! ROOT/ID/             the directory is the claim of the name: mkdir(2) decides between two creates
//!   state.json         the journal: the configuration, then one record a line, of which the last whole line counts
//!   cgroup             a symbolic link that names its cgroup again, relative to the mount, should the journal be damaged
//!   start.sock         where `start` connects, as long as the container is created and not started
//!   notify/            what is mounted at /run/notify, in a container that notifies
//!     notify.sock      where its process tells that it is ready, from its start on
//! ```
//!
//! The journal is written before what it speaks of is made: the first record names the cgroup and the pid file, later
//! ones add the process. Records are appended with one write(2) each; a line cut by a crash or a full disk
//! does not count. `flock(2)` on `state.json` keeps commands that change the container apart; readers take
//! no lock. Everything is removed in the order `start.sock`, `cgroup`, `state.json`, directory, so that a name is free only
//! when nothing is left. What is damaged is told by every command, and cleared away by `delete --force` ([`crate::remains`]).

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc::{self, O_NOFOLLOW, O_NONBLOCK};
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
    /// The name: a journal that was copied, or is reached by a link, is not the container's.
    pub(crate) id: String,
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
    /// A hook that runs, or ran last: who deletes the container by force ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hook: Option<Process>,
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
pub(crate) const VERSION: u32 = 3;
const STATE_FILE: &str = "state.json";
const START_SOCKET: &str = "start.sock";
const CGROUP_LINK: &str = "cgroup";

/// The longest journal that is read, in bytes. The configuration, which it holds, has 16 MiB at most.
const JOURNAL_MAX: usize = 64 * 1024 * 1024;

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

    /// Whether a process that was there is ending, or gone.
    pub(crate) fn is_ending(pid: i32) -> Result<bool> {
        Ok(ProcessStat::read(pid)?.is_none_or(|stat| stat.ending))
    }

    pub(crate) fn parse(line: &[u8]) -> Option<ProcessStat> {
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
    /// A descriptor for it. `None`: it is gone, whoever has its pid by now. A zombie may still tell how it ended.
    pub(crate) fn open(self) -> Result<Option<OwnedFd>> {
        let pidfd = match pidfd::open(self.pid) {
            Err(Errno::ESRCH) => return Ok(None),
            result => result.map_err(Error::system(format!("opening process {}: pidfd_open", self.pid)))?,
        };
        // The check after the open: now the pid cannot go to another process unnoticed.
        let stat = ProcessStat::read(self.pid)?;
        Ok(stat.is_some_and(|stat| stat.start_time == self.start_time).then_some(pidfd))
    }

    /// Whether it still runs; a zombie does not, nor does one that is ending.
    pub(crate) fn is_alive(self) -> Result<bool> {
        let stat = ProcessStat::read(self.pid)?;
        Ok(stat.is_some_and(|stat| !stat.zombie && !stat.ending && stat.start_time == self.start_time))
    }
}

/// With where the state of this user's containers could be kept.
#[cold]
fn kept_out(error: Error, path: &Path) -> Error {
    let instead = ", or name a directory of this user's with --root, or in XDG_RUNTIME_DIR";
    crate::rootless::explain_path(error, path, instead)
}

/// The names that containers may have: they name directories.
pub(crate) fn check_id(id: &str) -> Result<()> {
    let invalid = |reason| Err(Error::InvalidId { id: id.to_owned(), reason });
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-.".contains(&byte);
    if id.is_empty() {
        invalid("container id cannot be empty")
    } else if id.len() > 255 {
        invalid("it is longer than 255 characters, and a directory is named so")
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
                recursive.map_err(Error::at("creating", root)).map_err(|error| kept_out(error, root))?;
                builder.create(&self.path)
            }
            result => result,
        };
        match made {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(Error::Exists(self.id.clone())),
            result => result.map_err(Error::at("creating", &self.path)).map_err(|error| kept_out(error, &self.path)),
        }
    }

    /// The journal's last record, read without the lock. `None`: half made.
    pub(crate) fn read(&self) -> Result<Option<Record>> {
        Ok(self.read_whole()?.map(|whole| whole.record))
    }

    /// As [`read`](Directory::read), with the configuration that the container was made with.
    pub(crate) fn read_whole(&self) -> Result<Option<Whole>> {
        let Some(Journal { file, path }) = self.open_journal(OpenOptions::new().read(true))? else { return Ok(None) };
        let read = read_journal(&file, &path)?;
        Ok(read.map(|(record, document)| Whole { record, document, file }))
    }

    /// Locks an existing container for a change, and waits for others who change it. `None`: half made, it
    /// has no journal.
    pub(crate) fn lock(&self) -> Result<Option<Journal>> {
        let Some(journal) = self.open_journal_for_change()? else { return Ok(None) };
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
            None => self.open_journal_for_change()?.ok_or_else(|| Error::Incomplete(self.id.clone()))?,
        };
        lock::shared(&journal.file).map_err(Error::at("locking", &journal.path))?;
        Ok(journal)
    }

    /// Whether nobody has it locked: then a container that is half made will not be made any further.
    pub(crate) fn is_unlocked(&self) -> Result<bool> {
        match self.open_journal(OpenOptions::new().read(true))? {
            Some(Journal { file, path }) => lock::try_exclusive(&file).map_err(Error::at("locking", &path)),
            None => Ok(true),
        }
    }

    /// Opens the journal, or what is in its place, for who will delete the container whatever its state. `None`: nothing was
    /// there but the directory, or what somebody had put in its place; it is removed now.
    pub(crate) fn open_by_force(&self) -> Result<Option<Journal>> {
        match self.path.symlink_metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(Error::NotFound),
            Ok(metadata) if !metadata.is_dir() => return remove_file(&self.path).map(|()| None),
            result => result.map(drop).map_err(Error::at("finding", &self.path))?,
        }
        match self.open_journal_for_change() {
            Ok(Some(journal)) => Ok(Some(journal)),
            Ok(None) if remove_directory(&self.path).is_ok() => Ok(None),
            // It is not empty, so that its maker may have got on, or the journal was lost. A new one tells: its
            // maker makes it, or we do, and only one has it locked.
            Ok(None) => match self.make_journal() {
                // Then its maker could not make one either.
                Err(Error::System { errno: Errno::ENOSPC | Errno::EDQUOT | Errno::EROFS, .. }) => self.open_itself(),
                result => result.map(Some),
            },
            // The journal is no file. No maker is at work there.
            Err(Error::State { .. }) => self.open_itself(),
            Err(error) => Err(error),
        }
    }

    /// Locks the directory, for who may not lock the journal for himself alone.
    pub(crate) fn lock_itself(&self) -> Result<File> {
        let directory = self.open_directory()?;
        lock::exclusive(&directory).map_err(Error::at("locking", &self.path))?;
        Ok(directory)
    }

    /// The directory, to be locked in the journal's place.
    fn open_itself(&self) -> Result<Option<Journal>> {
        Ok(Some(Journal { file: self.open_directory()?, path: self.state_file() }))
    }

    fn open_directory(&self) -> Result<File> {
        match File::open(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::NotFound),
            result => result.map_err(Error::at("opening", &self.path)),
        }
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

    /// Opens the journal to be locked; for writing too, which locks need on NFS.
    fn open_journal_for_change(&self) -> Result<Option<Journal>> {
        match self.open_journal(OpenOptions::new().read(true).append(true)) {
            Err(Error::System { errno: Errno::EROFS, .. }) => self.open_journal(OpenOptions::new().read(true)),
            result => result,
        }
    }

    /// `None`: there is none, in a directory that is there.
    fn open_journal(&self, options: &mut OpenOptions) -> Result<Option<Journal>> {
        let path = self.state_file();
        // Whatever is in its place, it is not followed, and not waited for.
        match options.custom_flags(O_NOFOLLOW | O_NONBLOCK).open(&path) {
            Ok(file) => Ok(Some(Journal { file, path })),
            Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::ENOENT | Errno::ENOTDIR) => match self.path.symlink_metadata() {
                    Ok(metadata) if metadata.is_dir() => Ok(None),
                    Ok(metadata) => Err(damaged(&self.path, not_as(&metadata, "directory"))),
                    Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::NotFound),
                    Err(error) => Err(Error::at("finding", &self.path)(error)),
                },
                Some(Errno::ELOOP | Errno::ENXIO | Errno::EISDIR) => {
                    let found = path.symlink_metadata().map_err(Error::at("finding", &path))?;
                    Err(damaged(&path, not_as(&found, "file")))
                }
                _ => Err(Error::at("opening", &path)(error)),
            },
        }
    }

    /// Names its cgroup once more, before it is made: should the journal be damaged, the link still tells.
    pub(crate) fn link_cgroup(&self, cgroup: &Path) -> Result<()> {
        let path = self.path.join(CGROUP_LINK);
        std::os::unix::fs::symlink(cgroup, &path).map_err(Error::at("linking", &path))
    }

    /// It goes without that cgroup.
    pub(crate) fn unlink_cgroup(&self) -> Result<()> {
        remove_file(&self.path.join(CGROUP_LINK))
    }

    /// The cgroup that was named by [`link_cgroup`](Directory::link_cgroup).
    pub(crate) fn linked_cgroup(&self) -> Result<Option<PathBuf>> {
        let path = self.path.join(CGROUP_LINK);
        match std::fs::read_link(&path) {
            // None, or something else that is no link.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => Ok(None),
            result => result.map(Some).map_err(Error::at("reading the link", &path)),
        }
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
        self.unlink_cgroup()?;
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

/// Removes an empty directory; one that is gone is as good.
fn remove_directory(path: &Path) -> Result<()> {
    match std::fs::remove_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result.map_err(Error::at("removing", path)),
    }
}

/// Removes a file; one that is gone is as good, and so is an empty directory in its place.
pub(crate) fn remove_file(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == ErrorKind::IsADirectory => remove_directory(path),
        result => result.map_err(Error::at("removing", path)),
    }
}

/// How a journal begins: the length of the configuration, in bytes, which follows on a line of its own.
const HEAD: &str = "{\"document\":";

/// What is recorded of a container cannot be read.
fn damaged(path: &Path, reason: impl Into<String>) -> Error {
    Error::State { path: path.to_owned(), reason: reason.into() }
}

/// What something is instead.
fn not_as(metadata: &Metadata, wanted: &str) -> String {
    let found = match metadata.file_type() {
        kind if kind.is_symlink() => "a symbolic link",
        kind if kind.is_dir() => "a directory",
        kind if kind.is_file() => "a file",
        _ => "something else",
    };
    format!("it is {found}, not a {wanted}")
}

/// What a journal consists of.
struct Parts<'t> {
    /// Where the configuration lies.
    document: Range<usize>,
    records: &'t [u8],
}

/// `None`: it is not whole.
fn parts(text: &[u8]) -> Result<Option<Parts<'_>>, &'static str> {
    const NOT_OURS: &str = "it does not begin as a journal does";
    let Some(line) = text.iter().position(|byte| *byte == b'\n') else {
        let is_begun = text.iter().zip(HEAD.as_bytes()).all(|(byte, expected)| byte == expected);
        return if is_begun { Ok(None) } else { Err(NOT_OURS) };
    };
    let head = text.get(..line).and_then(|head| head.strip_prefix(HEAD.as_bytes())?.strip_suffix(b"}"));
    let length: Option<usize> = head.and_then(|length| std::str::from_utf8(length).ok()?.parse().ok());
    let length = length.filter(|length| *length <= JOURNAL_MAX).ok_or(NOT_OURS)?;
    let (start, end) = (line + 1, line + 1 + length);
    match text.get(end) {
        None => Ok(None),
        Some(b'\n') => Ok(Some(Parts { document: start..end, records: text.get(end + 1..).unwrap_or(&[]) })),
        Some(_) => Err("its configuration does not end where it should"),
    }
}

fn read_all(file: &File, path: &Path) -> Result<Vec<u8>> {
    // More than nearly every journal has, so that it is read at once.
    const ROOM: usize = 8192;
    let mut text = Vec::new();
    loop {
        let have = text.len();
        if have > JOURNAL_MAX {
            return Err(damaged(path, "it is too long to be one of ours"));
        }
        text.resize(have + ROOM, 0);
        let room = text.get_mut(have..).unwrap_or(&mut []);
        let count = match file.read_at(room, have as u64) {
            // A fifo can be opened, and no position be read.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EISDIR | libc::ESPIPE)) => {
                let found = file.metadata().map_err(Error::at("reading", path))?;
                return Err(damaged(path, not_as(&found, "file")));
            }
            result => result.map_err(Error::at("reading", path))?,
        };
        text.truncate(have + count);
        // A read that does not fill its room has come to the end.
        if count < ROOM {
            return Ok(text);
        }
    }
}

/// The record on a line.
fn parse_record(line: &[u8]) -> Result<Record, String> {
    let record: Record = serde_json::from_slice(line).map_err(|error| match other_version(line) {
        Some(version) => format!("it has the format {version}; this version knows {VERSION}"),
        None => error.to_string(),
    })?;
    if record.version != VERSION {
        return Err(format!("it has the format {}; this version knows {VERSION}", record.version));
    }
    Ok(record)
}

/// The version that a line names that is no record of this one.
fn other_version(line: &[u8]) -> Option<u64> {
    let value: serde_json::Value = serde_json::from_slice(line).ok()?;
    value.get("version")?.as_u64().filter(|version| *version != u64::from(VERSION))
}

/// The last whole line, and the configuration. `None`: there is no whole line.
fn read_journal(file: &File, path: &Path) -> Result<Option<(Record, Vec<u8>)>> {
    let mut text = read_all(file, path)?;
    let Some(Parts { document, records }) = parts(&text).map_err(|reason| damaged(path, reason))? else {
        return Ok(None);
    };
    let Some(end) = records.iter().rposition(|byte| *byte == b'\n') else { return Ok(None) };
    let whole = records.get(..end).unwrap_or(&[]);
    let line = whole.rsplit(|byte| *byte == b'\n').next().unwrap_or(whole);
    let record = parse_record(line).map_err(|reason| damaged(path, reason))?;
    if path.parent().and_then(Path::file_name).is_none_or(|name| *name != *record.id) {
        return Err(damaged(path, format!("it is that of the container {:?}", record.id)));
    }
    text.truncate(document.end);
    text.drain(..document.start);
    Ok(Some((record, text)))
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

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    pub(crate) fn metadata(&self) -> Result<Metadata> {
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
    pub(crate) fn write(&self, record: &Record) -> Result<()> {
        self.append(Vec::with_capacity(1024), record)
    }

    /// What does not fit on the disk is taken back, so that the next record begins on a line of its own.
    fn append(&self, mut line: Vec<u8>, record: &Record) -> Result<()> {
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
        let Some(Parts { document, .. }) = parts(&text).map_err(|reason| damaged(&self.path, reason))? else {
            return Ok(None);
        };
        text.truncate(document.end);
        text.drain(..document.start);
        Ok(Some(text))
    }

    /// The last record.
    pub(crate) fn read(&self) -> Result<Option<Record>> {
        Ok(read_journal(&self.file, &self.path)?.map(|(record, _)| record))
    }

    /// The last line of a damaged journal that is a record; maybe of another container.
    pub(crate) fn salvage(&self) -> Option<Record> {
        let text = read_all(&self.file, &self.path).ok()?;
        text.rsplit(|byte| *byte == b'\n').find_map(|line| parse_record(line).ok())
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
            id: "x".to_owned(),
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
            hook: None,
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

    /// What is told of a journal that holds this.
    fn told(directory: &Directory, journal: &[u8]) -> String {
        std::fs::write(directory.state_file(), journal).unwrap();
        match directory.read() {
            Ok(None) => "half made".to_owned(),
            Ok(Some(record)) => format!("process {}", record.process.unwrap().pid),
            Err(error @ Error::State { .. }) => error.to_string().split(": ").nth(1).unwrap_or_default().to_owned(),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn what_is_damaged_is_told_from_what_is_half_made() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::new(root.path(), "x").unwrap();
        directory.claim().unwrap().begin(b"{}", &record(1)).unwrap();
        let whole = std::fs::read(directory.state_file()).unwrap();
        let with = |tail: &[u8]| [whole.as_slice(), tail].concat();
        let begins = "it does not begin as a journal does; deleting it with --force clears up";
        assert_eq!(told(&directory, &whole), "process 1");
        assert_eq!(told(&directory, &with(b"{\"version\":3,")), "process 1");
        for half in [&b""[..], b"{\"docu", b"{\"document\":4}\n{}", b"{\"document\":2}\n{}\n{\"ver"] {
            assert_eq!(told(&directory, half), "half made", "{half:?}");
        }
        let huge = b"{\"document\":18446744073709551615}\n{}\n";
        for other in [&b"\0"[..], b"garbage", b"\n", b"{\"document\":x}\n", b"{\"document\":-1}\n", huge, &[0; 9000]] {
            assert_eq!(told(&directory, other), begins, "{other:?}");
        }
        assert!(told(&directory, b"{\"document\":1}\n{}\n").starts_with("its configuration does not end"));
        for garbage in [&b"\n"[..], b"garbage\n", b"\xff\xfe\0\n", b"{}\n", b"{\"version\":3}\n", b"[]\n"] {
            assert!(!told(&directory, &with(garbage)).contains("process"), "{garbage:?}");
        }
        assert_eq!(
            told(&directory, &with(b"{\"version\":2,\"a\":[]}\n")),
            "it has the format 2; this version knows 3; deleting it with --force clears up"
        );
        let other = serde_json::to_string(&Record { id: "y".to_owned(), ..record(1) }).unwrap() + "\n";
        assert!(told(&directory, &with(other.as_bytes())).starts_with("it is that of the container \"y\""));
        // A hole as large as a disk is not read to its end.
        std::fs::write(directory.state_file(), &whole).unwrap();
        OpenOptions::new().append(true).open(directory.state_file()).unwrap().set_len(1 << 40).unwrap();
        assert!(directory.read().unwrap_err().to_string().contains("too long"));
    }

    #[test]
    fn what_is_no_journal_or_no_directory_is_told() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::new(root.path(), "x").unwrap();
        let told = || directory.read().map(|record| record.is_some()).map_err(|error| error.to_string());
        let is = |what: &str| {
            let error = told().unwrap_err();
            assert!(error.contains(what), "{error}");
        };
        std::fs::write(directory.path(), "").unwrap();
        is("x: it is a file, not a directory");
        std::fs::remove_file(directory.path()).unwrap();
        std::os::unix::fs::symlink("nowhere", directory.path()).unwrap();
        is("x: it is a symbolic link, not a directory");
        std::fs::remove_file(directory.path()).unwrap();
        assert!(matches!(directory.read(), Err(Error::NotFound)));
        std::fs::create_dir(directory.path()).unwrap();
        assert_eq!(told(), Ok(false));
        std::os::unix::fs::symlink("/etc/passwd", directory.state_file()).unwrap();
        is("state.json: it is a symbolic link, not a file");
        std::fs::remove_file(directory.state_file()).unwrap();
        nix::unistd::mkfifo(&directory.state_file(), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        is("state.json: it is something else, not a file");
        std::fs::remove_file(directory.state_file()).unwrap();
        std::fs::create_dir(directory.state_file()).unwrap();
        is("state.json: it is a directory, not a file");
        directory.remove(true).unwrap();
        assert!(!directory.path().exists());
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
        for id in ["a", "A-b_c+d.e", ".hidden", "-x", "0", &"x".repeat(255)] {
            check_id(id).unwrap();
        }
        for id in ["", ".", "..", "a/b", "a b", "a:b", "é", "a\n", &"x".repeat(256)] {
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
