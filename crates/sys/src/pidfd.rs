//! Processes by descriptor: pidfd_open(2), pidfd_send_signal(2), waitid(2) with `P_PIDFD`.

use std::mem::zeroed;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By exit(3), with this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// A descriptor for a running or dead, but not yet reaped, process.
///
/// # Errors
/// `ESRCH`: there is none with this pid, or it is a thread's.
pub fn open(pid: i32) -> nix::Result<OwnedFd> {
    // SAFETY: no pointers.
    let opened = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) });
    let fd = opened.map_err(|errno| match errno {
        // What kernels before 6.15 say of a process that is gone while its number is still that of a session or group.
        Errno::EINVAL if pid > 0 => Errno::ESRCH,
        errno => errno,
    })?;
    // SAFETY: a new descriptor, which nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Sends a signal.
///
/// # Errors
/// `ESRCH`: the process is gone; `EPERM`.
pub fn send_signal(pidfd: &impl AsFd, signal: i32) -> nix::Result<()> {
    let fd = pidfd.as_fd().as_raw_fd();
    // SAFETY: a null siginfo is allowed.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, std::ptr::null::<u8>(), 0) };
    Errno::result(result).map(drop)
}

/// A copy of another process's descriptor, pidfd_getfd(2) (Linux 5.6).
///
/// # Errors
/// `EBADF`: it has none of this number; `ESRCH`: it is gone; `EPERM`: the caller may not trace it (ptrace(2)); `EMFILE`.
pub fn get_descriptor(pidfd: &impl AsFd, number: i32) -> nix::Result<OwnedFd> {
    // SAFETY: no pointers.
    let copied = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_fd().as_raw_fd(), number, 0) };
    let fd = Errno::result(copied)?;
    // SAFETY: a new descriptor, which nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Kills a child that leads a process group, and the group with it.
///
/// # Errors
/// `EPERM`. That nobody is left is none.
pub fn kill_group(pidfd: &impl AsFd, pid: i32) -> nix::Result<()> {
    // Linux 6.9.
    const PIDFD_SIGNAL_PROCESS_GROUP: u32 = 1 << 2;
    let fd = pidfd.as_fd().as_raw_fd();
    let (signal, info) = (libc::SIGKILL, std::ptr::null::<u8>());
    // SAFETY: a null siginfo is allowed.
    let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, info, PIDFD_SIGNAL_PROCESS_GROUP) };
    let sent = match Errno::result(sent) {
        // Older: by its number, which is its own as long as nobody has reaped it.
        Err(Errno::EINVAL) if has_ended(pidfd)? => return Ok(()),
        // SAFETY: no pointers.
        Err(Errno::EINVAL) => Errno::result(unsafe { libc::kill(-pid, signal) }.into()),
        result => result,
    };
    match sent {
        Err(Errno::ESRCH) => Ok(()),
        result => result.map(drop),
    }
}

/// Whether the process has ended.
///
/// # Errors
/// As poll(2).
pub fn has_ended(pidfd: &impl AsFd) -> nix::Result<bool> {
    poll_for(pidfd, PollFlags::POLLIN, PollTimeout::ZERO)
}

/// Waits until the process has ended.
///
/// # Errors
/// As poll(2).
pub fn wait_ended(pidfd: &impl AsFd) -> nix::Result<()> {
    poll_for(pidfd, PollFlags::POLLIN, PollTimeout::NONE).map(drop)
}

/// As [`wait_ended`], but not for longer than that: whether it has.
///
/// # Errors
/// As poll(2).
pub fn wait_ended_within(pidfd: &impl AsFd, milliseconds: u16) -> nix::Result<bool> {
    poll_for(pidfd, PollFlags::POLLIN, PollTimeout::from(milliseconds))
}

fn poll_for(pidfd: &impl AsFd, events: PollFlags, timeout: PollTimeout) -> nix::Result<bool> {
    loop {
        let mut fds = [PollFd::new(pidfd.as_fd(), events)];
        match poll(&mut fds, timeout) {
            Err(Errno::EINTR) => {}
            result => return result.map(|count| count > 0),
        }
    }
}

/// Waits for a child of this process and reaps it.
///
/// # Errors
/// `ECHILD`: it is no child, or was reaped by somebody else.
pub fn reap(pidfd: &impl AsFd) -> nix::Result<Exit> {
    // SAFETY: all zeros is a valid siginfo_t.
    let mut info: libc::siginfo_t = unsafe { zeroed() };
    let fd = pidfd.as_fd().as_raw_fd() as libc::id_t;
    loop {
        // SAFETY: info outlives the call.
        let result = unsafe { libc::waitid(libc::P_PIDFD, fd, &raw mut info, libc::WEXITED) };
        match Errno::result(result) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
            Ok(_) => break,
        }
    }
    // SAFETY: waitid filled in a SIGCHLD siginfo.
    let status = unsafe { info.si_status() };
    Ok(if info.si_code == libc::CLD_EXITED { Exit::Code(status) } else { Exit::Signal(status) })
}

/// Kills a child that leads a process group, with all the caller's children in that group, and reaps them.
///
/// # Errors
/// As waitid(2).
pub fn reap_group(leader: &impl AsFd, pid: i32) -> nix::Result<()> {
    kill_group(leader, pid)?;
    loop {
        // SAFETY: all zeros is a valid siginfo_t.
        let mut info: libc::siginfo_t = unsafe { zeroed() };
        // SAFETY: info outlives the call.
        let result = unsafe { libc::waitid(libc::P_PGID, pid as libc::id_t, &raw mut info, libc::WEXITED) };
        match Errno::result(result) {
            Ok(_) | Err(Errno::EINTR) => {}
            // None is left.
            Err(Errno::ECHILD) => return Ok(()),
            Err(errno) => return Err(errno),
        }
    }
}

/// Waits for any process, child or not, and says how it ended; a child is reaped.
///
/// For a process that is no child, or that somebody else reaps, its status comes from the pidfd
/// (`PIDFD_GET_INFO`, Linux 6.15) or, while it is a zombie, from `/proc/PID/stat`, field 52.
///
/// # Errors
/// `ECHILD`: it has ended, and how cannot be told any more.
pub fn wait(pidfd: &impl AsFd, pid: i32) -> nix::Result<Exit> {
    match reap(pidfd) {
        Err(Errno::ECHILD) => {}
        result => return result,
    }
    wait_ended(pidfd)?;
    let status = exit_status(pidfd).or_else(|| zombie_status(pid)).or_else(|| exit_status(pidfd));
    status.map(from_wait_status).ok_or(Errno::ECHILD)
}

fn from_wait_status(status: i32) -> Exit {
    match status & 0x7f {
        0 => Exit::Code(status >> 8 & 0xff),
        signal => Exit::Signal(signal),
    }
}

/// `struct pidfd_info` of <linux/pidfd.h>, its first version.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    ids: [u32; 11],
    exit_code: i32,
}

fn exit_status(pidfd: &impl AsFd) -> Option<i32> {
    const PIDFD_INFO_EXIT: u64 = 1 << 3;
    // _IOWR(0xFF, 11, struct pidfd_info) with the first version's 64 bytes.
    const PIDFD_GET_INFO: u64 = 0xc040_ff0b;
    let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY: the structure has the 64 bytes that the request's number says.
    let result = unsafe { libc::ioctl(pidfd.as_fd().as_raw_fd(), PIDFD_GET_INFO, &raw mut info) };
    (result == 0 && info.mask & PIDFD_INFO_EXIT != 0).then_some(info.exit_code)
}

fn zombie_status(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    // Field 3, the state, comes first here; field 52 is the last.
    matches!(fields.next()?, "Z" | "X").then_some(())?;
    fields.nth(52 - 4)?.parse().ok()
}

#[cfg(test)]
#[allow(clippy::zombie_processes, reason = "the functions under test reap them")]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_child_is_reaped_with_its_status() {
        let child = Command::new("sh").args(["-c", "exit 3"]).spawn().unwrap();
        let pid = child.id() as i32;
        let pidfd = open(pid).unwrap();
        assert_eq!(wait(&pidfd, pid), Ok(Exit::Code(3)));
        assert_eq!(reap(&pidfd), Err(Errno::ECHILD));
    }

    #[test]
    fn a_group_is_killed_and_reaped_and_no_other_child_is() {
        use std::os::unix::process::CommandExt;
        let sleep = |group: i32| Command::new("sleep").arg("1000").process_group(group).spawn().unwrap().id() as i32;
        let leader = sleep(0);
        let (member, other) = (sleep(leader), sleep(0));
        let [leading, being, outside] = [leader, member, other].map(|pid| open(pid).unwrap());
        reap_group(&leading, leader).unwrap();
        assert_eq!((reap(&leading), reap(&being)), (Err(Errno::ECHILD), Err(Errno::ECHILD)));
        assert_eq!(has_ended(&outside), Ok(false));
        // Nobody is left, which is no error.
        reap_group(&leading, leader).unwrap();
        reap_group(&outside, other).unwrap();
        assert_eq!(reap(&outside), Err(Errno::ECHILD));
    }

    #[test]
    fn a_process_that_is_gone_while_its_session_lives_is_not_found() {
        // The shell leaves a child in its session, which ends when its standard input does.
        let mut leader = Command::new("setsid")
            .args(["sh", "-c", "exec 3<&0; cat <&3 >&3 & exit"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = leader.id() as i32;
        let stdin = leader.stdin.take();
        leader.wait().unwrap();
        assert_eq!(open(pid).map(drop), Err(Errno::ESRCH));
        drop(stdin);
    }

    #[test]
    fn a_descriptor_of_another_process_is_the_same_file() {
        use std::io::Read;
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::from(writer)).spawn().unwrap();
        let pidfd = open(child.id() as i32).unwrap();
        let copy = get_descriptor(&pidfd, 1).unwrap();
        assert_eq!(get_descriptor(&pidfd, 1000).map(drop), Err(Errno::EBADF));
        std::io::Write::write_all(&mut std::fs::File::from(copy), b"by the copy").unwrap();
        drop(child.stdin.take());
        child.wait().unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "by the copy");
    }

    #[test]
    fn a_signal_ends_a_process_and_is_told() {
        let child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = child.id() as i32;
        let pidfd = open(pid).unwrap();
        assert_eq!(has_ended(&pidfd), Ok(false));
        send_signal(&pidfd, libc::SIGKILL).unwrap();
        assert_eq!(wait(&pidfd, pid), Ok(Exit::Signal(libc::SIGKILL)));
        assert_eq!(send_signal(&pidfd, 0), Err(Errno::ESRCH));
    }

    #[test]
    fn the_status_of_a_process_that_is_no_child_is_told() {
        // The shell's child becomes a grandchild of ours: its pid comes on standard output, and the
        // shell waits for it after we have opened a pidfd.
        let script = "sh -c 'read x; exit 5' <&3 & echo $!; wait";
        let (reader, writer) = std::io::pipe().unwrap();
        let mut shell = Command::new("bash")
            .args(["-c", &format!("exec 3<&0; {script}")])
            .stdin(Stdio::from(reader))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(shell.stdout.take().unwrap()), &mut line).unwrap();
        let pid: i32 = line.trim().parse().unwrap();
        let pidfd = open(pid).unwrap();
        drop(writer);
        assert_eq!(wait(&pidfd, pid), Ok(Exit::Code(5)));
        shell.wait().unwrap();
    }
}
