//! Starting a program, in new namespaces or beside the caller, without copying the caller's memory.

use std::ffi::CStr;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

use crate::arch::clone_onto;
use crate::pidfd;

/// What to start, and where.
#[derive(Debug)]
pub struct Spawn<'a> {
    /// What to execute.
    pub program: Executable<'a>,
    /// `argv`.
    pub arguments: &'a [&'a CStr],
    /// `environ`.
    pub environment: &'a [&'a CStr],
    /// `CLONE_NEW*` flags: the namespaces to make.
    pub namespaces: u64,
    /// The program keeps all capabilities that the child is born with. In a new user namespace these
    /// are all; but until the user has an id in it, execve would take them away (capabilities(7)). They are kept
    /// as ambient ones, which the program is to clear.
    pub keep_capabilities: bool,
    /// It leads a process group of its own. Children that it makes with `CLONE_PARENT` are the caller's: by the group they are
    /// found, and told from all others, by [`reap_group`](crate::pidfd::reap_group).
    pub leads_group: bool,
    /// The directory of the cgroup v2 to start in; `None`: the caller's.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// Descriptors that the child gets, as (the caller's, the child's number); the numbers ascend.
    /// All others keep what close-on-exec says.
    pub descriptors: &'a [(BorrowedFd<'a>, RawFd)],
    /// For a program that is to know nothing of who started it.
    pub apart: Option<Apart<'a>>,
}

/// A program's file.
#[derive(Clone, Copy, Debug)]
pub enum Executable<'a> {
    /// An open file, for instance a memfd. A script cannot be executed by it: nothing leads its interpreter to it.
    File(BorrowedFd<'a>),
    /// A path, as the child sees it.
    Path(&'a CStr),
}

/// What a program that has nothing to do with the caller's own affairs is started with: a session of its own, without a
/// terminal; every signal's default action, none blocked; no descriptor but those it is given, whether or not they
/// are close-on-exec. It is killed when the calling thread ends (`PR_SET_PDEATHSIG`), but not what it has started.
#[derive(Clone, Copy, Debug)]
pub struct Apart<'a> {
    /// The working directory.
    pub directory: &'a CStr,
}

/// A child that was started.
#[derive(Debug)]
pub struct Child {
    /// Its pid, as the caller sees it.
    pub pid: i32,
    /// A descriptor for it.
    pub pidfd: OwnedFd,
}

/// Why a program could not be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The system call that failed.
    pub call: &'static str,
    /// Its answer.
    pub errno: Errno,
}

/// For `map_err`.
fn failure(call: &'static str) -> impl FnOnce(Errno) -> Failure {
    move |errno| Failure { call, errno }
}

/// `struct clone_args` of clone3(2), as of Linux 5.7.
#[repr(C, align(8))]
#[derive(Default)]
pub(crate) struct CloneArguments {
    pub(crate) flags: u64,
    pub(crate) pidfd: u64,
    pub(crate) child_tid: u64,
    pub(crate) parent_tid: u64,
    pub(crate) exit_signal: u64,
    pub(crate) stack: u64,
    pub(crate) stack_size: u64,
    pub(crate) tls: u64,
    pub(crate) set_tid: u64,
    pub(crate) set_tid_size: u64,
    pub(crate) cgroup: u64,
}

pub(crate) const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// What the child needs, laid out before it exists: it may not allocate.
struct Prepared {
    /// Of the program's file; `path` is empty then.
    program: RawFd,
    path: *const libc::c_char,
    arguments: *const *const libc::c_char,
    environment: *const *const libc::c_char,
    /// Null: not [`Apart`].
    directory: *const libc::c_char,
    moves: *const (RawFd, RawFd),
    move_count: usize,
    keep_capabilities: bool,
    leads_group: bool,
    /// The directory of the cgroup to move to before all else; -1: it is born where it is to be.
    cgroup: RawFd,
    /// The caller's process.
    caller: libc::c_long,
    /// The child's word that it was alive at all.
    lived: bool,
    /// The child's answer, when it could not start the program: the number, and which call it was.
    errno: i32,
    call: &'static str,
}

#[repr(align(16))]
pub(crate) struct Stack(#[expect(dead_code, reason = "only its address is used")] [u8; 16 * 1024]);

/// Starts a program by clone3(2) and execveat(2).
///
/// The child shares the caller's memory until it has executed the program, and the calling thread
/// waits for that (`CLONE_VM | CLONE_VFORK`): the time does not depend on how much memory the caller
/// has, and other threads go on. The caller's signal handlers do not run in the child
/// (`CLONE_CLEAR_SIGHAND`, Linux 5.5); what it blocks and ignores is inherited.
///
/// # Errors
/// Whatever clone3, dup2, fcntl or execveat answer; then no child is left.
pub fn spawn(spawn: &Spawn<'_>) -> Result<Child, Failure> {
    // The numbers that the child gets must not cover a descriptor that is still to be moved.
    let floor = spawn.descriptors.iter().map(|(_, number)| number + 1).max().unwrap_or(0);
    let mut lifted = Vec::new();
    let mut lift = |fd: BorrowedFd<'_>, stays: RawFd| -> Result<RawFd, Failure> {
        if fd.as_raw_fd() >= floor || fd.as_raw_fd() == stays {
            return Ok(fd.as_raw_fd());
        }
        let copy = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(floor)).map_err(failure("fcntl"))?;
        // SAFETY: fcntl has just made this descriptor; nobody else has it.
        let copy = unsafe { OwnedFd::from_raw_fd(copy) };
        let number = copy.as_raw_fd();
        lifted.push(copy);
        Ok(number)
    };
    let (program, path) = match spawn.program {
        Executable::File(file) => (lift(file, -1)?, c""),
        Executable::Path(path) => (-1, path),
    };
    let mut moves = Vec::with_capacity(spawn.descriptors.len());
    for (fd, number) in spawn.descriptors {
        moves.push((lift(*fd, *number)?, *number));
    }
    let (arguments, environment) = (pointers(spawn.arguments), pointers(spawn.environment));

    let mut prepared = Prepared {
        program,
        path: path.as_ptr(),
        arguments: arguments.as_ptr(),
        environment: environment.as_ptr(),
        directory: spawn.apart.map_or(std::ptr::null(), |apart| apart.directory.as_ptr()),
        moves: moves.as_ptr(),
        move_count: moves.len(),
        keep_capabilities: spawn.keep_capabilities,
        leads_group: spawn.leads_group,
        cgroup: -1,
        lived: false,
        // SAFETY: no pointers, and it cannot fail.
        caller: if spawn.apart.is_some() { unsafe { libc::syscall(libc::SYS_getpid) } } else { 0 },
        errno: 0,
        call: "",
    };
    let child = start(&mut prepared, spawn.namespaces, spawn.cgroup)?;
    // SAFETY: the child wrote it through a pointer; read it afresh.
    if let (Some(cgroup), false) = (spawn.cgroup, unsafe { (&raw const prepared.lived).read_volatile() }) {
        return start_and_move(&child, &mut prepared, spawn.namespaces, cgroup);
    }
    Ok(child)
}

/// After a child that was killed before its first instruction. Linux 6.18 kills at birth what clone3 puts into another
/// cgroup than the caller's if `cgroup.kill` was written of one of the two, and not as often of the other. So the next child
/// is born where the caller is, and moves.
#[cold]
fn start_and_move(
    killed: &Child,
    prepared: &mut Prepared,
    namespaces: u64,
    cgroup: BorrowedFd<'_>,
) -> Result<Child, Failure> {
    pidfd::reap(&killed.pidfd).map_err(failure("waitid"))?;
    prepared.cgroup = cgroup.as_raw_fd();
    start(prepared, namespaces, None)
}

fn start(prepared: &mut Prepared, namespaces: u64, cgroup: Option<BorrowedFd<'_>>) -> Result<Child, Failure> {
    let mut stack = MaybeUninit::<Stack>::uninit();
    let mut pidfd: RawFd = -1;
    let vm = (libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD) as u64;
    let into = if cgroup.is_some() { CLONE_INTO_CGROUP } else { 0 };
    let clone_arguments = CloneArguments {
        flags: vm | CLONE_CLEAR_SIGHAND | into | namespaces,
        pidfd: &raw mut pidfd as u64,
        exit_signal: libc::SIGCHLD as u64,
        stack: stack.as_mut_ptr() as u64,
        stack_size: size_of::<Stack>() as u64,
        cgroup: cgroup.map_or(0, |fd| fd.as_raw_fd() as u64),
        ..CloneArguments::default()
    };
    let prepared = std::ptr::from_mut(prepared);
    // SAFETY: the arguments are complete, the stack is this frame's and outlives the child's use of it,
    // since with CLONE_VFORK the call returns only after the child's execveat or exit; `run_child`
    // touches only `prepared` and what it points to, all alive here.
    let result = unsafe {
        clone_onto((&raw const clone_arguments).cast(), size_of::<CloneArguments>(), run_child, prepared.cast())
    };
    if result < 0 {
        return Err(failure("clone3")(Errno::from_raw(-result as i32)));
    }
    // SAFETY: clone3 succeeded with CLONE_PIDFD, so it stored a new descriptor here.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    // SAFETY: the child wrote them through a pointer; read them afresh.
    let (errno, call) =
        unsafe { ((&raw const (*prepared).errno).read_volatile(), (&raw const (*prepared).call).read_volatile()) };
    if errno != 0 {
        // What it says of its end is known already. A failure would leave a zombie until we end, no more.
        let (Ok(_) | Err(_)) = pidfd::reap(&pidfd);
        return Err(failure(call)(Errno::from_raw(errno)));
    }
    Ok(Child { pid: result as i32, pidfd })
}

/// A list of C strings as C has it.
fn pointers(strings: &[&CStr]) -> Vec<*const libc::c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
}

/// The child: moves descriptors and executes the program. It shares all memory with the caller.
///
/// # Safety
/// `prepared` points at a [`Prepared`] that outlives the child.
unsafe extern "C" fn run_child(prepared: *mut u8) -> ! {
    let prepared = prepared.cast::<Prepared>();
    // SAFETY: as promised; only raw system calls are made, and errno is the waiting thread's own.
    unsafe {
        let Prepared { program, path, arguments, environment, directory, .. } = *prepared;
        let Prepared { moves, move_count, keep_capabilities, leads_group, cgroup, .. } = *prepared;
        (&raw mut (*prepared).lived).write_volatile(true);
        if cgroup >= 0 && move_to(cgroup) < 0 {
            fail(prepared, "moving to the cgroup");
        }
        if leads_group && libc::syscall(libc::SYS_setpgid, 0, 0) < 0 {
            fail(prepared, "setpgid");
        }
        if keep_capabilities && keep_all_capabilities() < 0 {
            fail(prepared, "capset");
        }
        for index in 0..move_count {
            let (from, to) = *moves.add(index);
            if from == to {
                if libc::fcntl(from, libc::F_SETFD, 0) < 0 {
                    fail(prepared, "fcntl");
                }
            } else if libc::dup2(from, to) < 0 {
                fail(prepared, "dup2");
            }
        }
        if !directory.is_null() {
            stand_apart(prepared, directory, move_count);
        }
        if program < 0 {
            libc::syscall(libc::SYS_execve, path, arguments, environment);
            fail(prepared, "execve");
        }
        libc::syscall(libc::SYS_execveat, program, path, arguments, environment, libc::AT_EMPTY_PATH);
        fail(prepared, "execveat")
    }
}

/// Moves the calling process to a cgroup; -1 and errno on failure.
///
/// # Safety
/// As [`run_child`].
unsafe fn move_to(cgroup: RawFd) -> libc::c_long {
    // SAFETY: C strings and a buffer of one byte; the child has a table of descriptors for itself.
    unsafe {
        let file =
            libc::syscall(libc::SYS_openat, cgroup, c"cgroup.procs".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC, 0);
        if file < 0 { file } else { libc::syscall(libc::SYS_write, file, c"0".as_ptr(), 1usize) }
    }
}

/// What [`Apart`] says; the descriptors that are given are those from 0 on.
///
/// # Safety
/// As [`run_child`]; `directory` is a C string.
unsafe fn stand_apart(prepared: *mut Prepared, directory: *const libc::c_char, descriptors: usize) {
    // `struct sigaction` as the kernel has it, a mask of 64 bits at its end: all zeros are the default action.
    let default = [0u64; 4];
    let none = 0u64;
    // SAFETY: the kernel reads as much as there is. The child has a table of signal actions and one of
    // descriptors for itself.
    unsafe {
        if libc::syscall(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGKILL) < 0 {
            fail(prepared, "prctl");
        }
        // It may have ended before that.
        if libc::syscall(libc::SYS_getppid) != (*prepared).caller {
            fail(prepared, "getppid");
        }
        if libc::syscall(libc::SYS_setsid) < 0 {
            fail(prepared, "setsid");
        }
        if libc::syscall(libc::SYS_chdir, directory) < 0 {
            fail(prepared, "chdir");
        }
        for signal in 1..=64 {
            // Two signals cannot be changed.
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), 0usize, size_of::<u64>());
        }
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const none, 0usize, size_of::<u64>());
        // Without a flag, which Linux 5.10 does not know.
        if libc::syscall(libc::SYS_close_range, descriptors, u32::MAX, 0) < 0 {
            fail(prepared, "close_range");
        }
    }
}

/// Makes every permitted capability inheritable and ambient; -1 and errno on failure.
///
/// # Safety
/// As [`run_child`]: no allocation, no locks.
unsafe fn keep_all_capabilities() -> libc::c_long {
    const VERSION_3: u32 = 0x2008_0522;
    let mut header = [VERSION_3, 0];
    // Effective, permitted, inheritable, twice 32 bits.
    let mut sets = [0u32; 6];
    // SAFETY: both are as long as version 3 of the interface wants them.
    unsafe {
        if libc::syscall(libc::SYS_capget, header.as_mut_ptr(), sets.as_mut_ptr()) < 0 {
            return -1;
        }
        sets[2] = sets[1];
        sets[5] = sets[4];
        if libc::syscall(libc::SYS_capset, header.as_mut_ptr(), sets.as_ptr()) < 0 {
            return -1;
        }
        for capability in 0..64u64 {
            let permitted = sets[if capability < 32 { 1 } else { 4 }];
            if permitted & (1 << (capability % 32)) != 0
                && libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE as u64, capability, 0u64, 0u64) < 0
            {
                return -1;
            }
        }
    }
    0
}

/// Leaves errno for the caller and ends the child.
///
/// # Safety
/// As [`run_child`].
unsafe fn fail(prepared: *mut Prepared, call: &'static str) -> ! {
    // SAFETY: as promised.
    unsafe {
        (&raw mut (*prepared).call).write_volatile(call);
        (&raw mut (*prepared).errno).write_volatile(*libc::__errno_location());
        libc::_exit(127)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsFd;

    use super::*;
    use crate::pidfd::{Exit, wait};

    #[test]
    fn a_program_runs_with_the_descriptors_it_is_given() {
        let shell = std::fs::File::open("/bin/sh").unwrap();
        let (mut reader, writer) = std::io::pipe().unwrap();
        let spawned = spawn(&Spawn {
            program: Executable::File(shell.as_fd()),
            arguments: &[c"sh", c"-c", c"echo $0 >&7; exit 9"],
            environment: &[],
            namespaces: 0,
            keep_capabilities: false,
            leads_group: false,
            cgroup: None,
            descriptors: &[(writer.as_fd(), 7)],
            apart: None,
        })
        .unwrap();
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "sh\n");
        assert_eq!(wait(&spawned.pidfd, spawned.pid).unwrap(), Exit::Code(9));
    }

    #[test]
    fn descriptors_may_be_swapped() {
        // Not sh: dash knows no descriptor above 9.
        let shell = std::fs::File::open("/bin/bash").unwrap();
        let (mut left, a) = std::io::pipe().unwrap();
        let (mut right, b) = std::io::pipe().unwrap();
        let (a_number, b_number) = (a.as_raw_fd(), b.as_raw_fd());
        let mut descriptors = [(b.as_fd(), a_number), (a.as_fd(), b_number)];
        descriptors.sort_by_key(|(_, number)| *number);
        let script = std::ffi::CString::new(format!("echo a >&{a_number}; echo b >&{b_number}")).unwrap();
        let spawned = spawn(&Spawn {
            program: Executable::File(shell.as_fd()),
            arguments: &[c"sh", c"-c", &script],
            environment: &[],
            namespaces: 0,
            keep_capabilities: false,
            leads_group: false,
            cgroup: None,
            descriptors: &descriptors,
            apart: None,
        })
        .unwrap();
        wait(&spawned.pidfd, spawned.pid).unwrap();
        drop((a, b));
        let (mut l, mut r) = (String::new(), String::new());
        left.read_to_string(&mut l).unwrap();
        right.read_to_string(&mut r).unwrap();
        assert_eq!((l.as_str(), r.as_str()), ("b\n", "a\n"));
    }

    #[test]
    fn what_cannot_be_executed_is_an_error_and_leaves_no_child() {
        let nothing = std::fs::File::open("/etc/passwd").unwrap();
        let result = spawn(&Spawn {
            program: Executable::File(nothing.as_fd()),
            arguments: &[c"x"],
            environment: &[],
            namespaces: 0,
            keep_capabilities: false,
            leads_group: false,
            cgroup: None,
            descriptors: &[],
            apart: None,
        });
        let expected = Failure { call: "execveat", errno: Errno::EACCES };
        assert_eq!(result.map(|child| child.pid), Err(expected));
    }

    #[test]
    fn a_program_apart_gets_only_what_it_is_given() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let null = std::fs::File::open("/dev/null").unwrap();
        // A descriptor that is not close-on-exec, and an ignored signal (every Rust program ignores SIGPIPE).
        // SAFETY: no pointers.
        let stray = unsafe { libc::dup(null.as_raw_fd()) };
        assert!(stray > 2);
        let script = c"echo $0 $A $PWD $# $(ls -C /proc/self/fd); grep SigIgn /proc/self/status; ps -o sid= -p $$";
        let spawned = spawn(&Spawn {
            program: Executable::Path(c"/bin/sh"),
            arguments: &[c"hook", c"-c", script],
            environment: &[c"A=b", c"PATH=/bin:/usr/bin"],
            namespaces: 0,
            keep_capabilities: false,
            leads_group: false,
            cgroup: None,
            descriptors: &[(null.as_fd(), 0), (writer.as_fd(), 1), (writer.as_fd(), 2)],
            apart: Some(Apart { directory: c"/usr" }),
        })
        .unwrap();
        // SAFETY: it is this test's own.
        unsafe { libc::close(stray) };
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        // 3 is the directory that ls reads.
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let sid = spawned.pid.to_string();
        assert_eq!(words, ["hook", "b", "/usr", "0", "0", "1", "2", "3", "SigIgn:", "0000000000000000", &sid]);
        assert_eq!(wait(&spawned.pidfd, spawned.pid).unwrap(), Exit::Code(0));
    }

    #[test]
    fn what_stands_in_the_way_of_a_path_is_told_by_its_call() {
        let start = |path: &CStr, directory: &CStr| {
            spawn(&Spawn {
                program: Executable::Path(path),
                arguments: &[path],
                environment: &[],
                namespaces: 0,
                keep_capabilities: false,
                leads_group: false,
                cgroup: None,
                descriptors: &[],
                apart: Some(Apart { directory }),
            })
            .map(|child| child.pid)
        };
        assert_eq!(start(c"/nope", c"/"), Err(Failure { call: "execve", errno: Errno::ENOENT }));
        assert_eq!(start(c"/etc", c"/"), Err(Failure { call: "execve", errno: Errno::EACCES }));
        assert_eq!(start(c"/bin/sh", c"/nope"), Err(Failure { call: "chdir", errno: Errno::ENOENT }));
    }
}
