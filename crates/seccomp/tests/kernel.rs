//! Installs programs, ours and libseccomp's, in processes of their own, makes calls there, and compares what becomes of them
//! with what the interpreter says.
//!
//! Without the test harness, since a process with threads cannot fork safely.

#![cfg(target_arch = "x86_64")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "the functions around the tests are tests too")]

mod common;
#[path = "common/oracle.rs"]
mod oracle;

use std::arch::asm;
use std::ffi::{c_int, c_void};
use std::ptr::{null, null_mut};

use common::{AUDIT_X86, AUDIT_X86_64, Unstructured, X32_BIT};
use libc::{SYS_exit_group, SYS_seccomp, pid_t};
use no_frills_seccomp::{
    Action, Architecture, Call, Condition, Instruction, Operator, Outcome, Profile, Program, Rule,
};

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Seen {
    Returned(i64),
    /// SIGSYS with what siginfo says: `si_syscall`, `si_arch`, `si_errno`.
    Trapped(u32, u32, u32),
    ThreadKilled,
    ProcessKilled,
    /// The tracer got this message.
    Traced(u32),
    /// The supervisor got this call, and answered it with a number.
    Notified(Call, i64),
}

/// What the thread that makes the call says to the others; it may make no other call.
#[repr(C)]
struct Shared {
    stage: Stage,
    seen: Seen,
    /// The call is made, also by a signal handler.
    call: Call,
}

#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(u32)]
enum Stage {
    Start,
    Refused,
    Installed,
    Done,
}

/// Memory that this process shares with those that it forks.
static mut SHARED: *mut Shared = null_mut();

/// Reads the shared memory.
fn stage() -> Stage {
    // SAFETY: mapped by main before anything else, and written by a process that has ended or is this thread.
    unsafe { (&raw const (*SHARED).stage).read_volatile() }
}

fn seen() -> Seen {
    // SAFETY: as in `stage`.
    unsafe { (&raw const (*SHARED).seen).read_volatile() }
}

fn set(stage: Stage, seen: Seen) {
    // SAFETY: mapped by main, and no one else writes at that time: the parent waits, the other thread too.
    unsafe {
        (&raw mut (*SHARED).seen).write_volatile(seen);
        (&raw mut (*SHARED).stage).write_volatile(stage);
    }
}

/// Makes a call as its architecture does.
fn make(call: &Call) -> i64 {
    if call.architecture == AUDIT_X86 {
        let arguments = call.arguments.map(|argument| argument as u32);
        let result: i32;
        // SAFETY: the calls of this test touch no memory. LLVM keeps rbx and rbp for itself, so they are saved by hand; the
        // kernel clears r8 to r11.
        unsafe {
            asm!(
                "push rbx",
                "push rbp",
                "mov ebx, [r8]",
                "mov ecx, [r8 + 4]",
                "mov edx, [r8 + 8]",
                "mov esi, [r8 + 12]",
                "mov edi, [r8 + 16]",
                "mov ebp, [r8 + 20]",
                "int 0x80",
                "pop rbp",
                "pop rbx",
                inlateout("eax") call.number => result,
                inout("r8") arguments.as_ptr() => _,
                out("rcx") _, out("rdx") _, out("rsi") _, out("rdi") _, out("r9") _, out("r10") _, out("r11") _,
            );
        }
        result.into()
    } else {
        let [a, b, c, d, e, f] = call.arguments;
        let result: i64;
        // SAFETY: the calls of this test touch no memory; the kernel changes rcx and r11.
        unsafe {
            asm!(
                "syscall",
                inlateout("rax") u64::from(call.number) => result,
                in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
                lateout("rcx") _, lateout("r11") _,
            );
        }
        result
    }
}

/// Ends this process, whatever the filter says.
fn end() -> ! {
    make(&Call { number: SYS_exit_group as u32, architecture: AUDIT_X86_64, ..Call::default() });
    // SAFETY: raises SIGILL.
    unsafe { asm!("ud2", options(noreturn)) }
}

/// Installs a filter for this thread.
fn install(program: &[Instruction], flags: u32) -> i64 {
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: the structure and what it points to outlive the calls.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        libc::syscall(SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const filter)
    }
}

/// What is done in a process of its own.
struct Job<'a> {
    /// None: no filter.
    program: Option<&'a [Instruction]>,
    call: Call,
}

/// Installs the filter and makes the call.
fn work(job: &Job) -> ! {
    if job.program.is_some_and(|program| install(program, 0) != 0) {
        set(Stage::Refused, Seen::ProcessKilled);
        end();
    }
    set(Stage::Installed, Seen::ProcessKilled);
    let result = make(&job.call);
    set(Stage::Done, Seen::Returned(result));
    end();
}

extern "C" fn thread(job: *mut c_void) -> *mut c_void {
    // SAFETY: `observe` passes its job, which lives until the thread has ended.
    work(unsafe { &*job.cast::<Job>() })
}

extern "C" fn trapped(_: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    // Later ones come from the end of the process.
    if stage() == Stage::Installed {
        // SAFETY: the kernel's structure is larger; `_sigsys` lies at offset 16: an address, the number, the architecture.
        let [number, architecture] = unsafe { info.cast::<[u32; 2]>().add(3).read() };
        // SAFETY: as above.
        let (code, errno) = unsafe { ((*info).si_code, (*info).si_errno) };
        // SYS_SECCOMP
        if code == 1 {
            set(Stage::Done, Seen::Trapped(number, architecture, errno as u32));
        }
    }
    end();
}

/// Forks, for a child that does not return.
fn fork(child: impl FnOnce() -> pid_t) -> pid_t {
    set(Stage::Start, Seen::ProcessKilled);
    // SAFETY: this process has one thread.
    match unsafe { libc::fork() } {
        0 => {
            child();
            end()
        }
        pid => {
            assert!(pid > 0);
            pid
        }
    }
}

fn wait(pid: pid_t) -> c_int {
    let mut status = 0;
    // SAFETY: `status` is an int.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) }, pid);
    status
}

/// Handles SIGSYS, and leaves no core when it kills.
fn prepare() {
    // SAFETY: zero is a valid sigaction; the handler has the type that SA_SIGINFO asks for.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = trapped as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        assert_eq!(libc::sigaction(libc::SIGSYS, &raw const action, null_mut()), 0);
        assert_eq!(libc::setrlimit(libc::RLIMIT_CORE, &libc::rlimit { rlim_cur: 0, rlim_max: 0 }), 0);
    }
}

/// Makes a call in a thread of a process, so that the death of one is not that of the other.
fn observe(program: Option<&[Instruction]>, call: &Call) -> Seen {
    let job = Job { program, call: *call };
    let pid = fork(|| {
        prepare();
        let mut other = 0;
        // SAFETY: the job lives until the process ends.
        unsafe {
            assert_eq!(libc::pthread_create(&raw mut other, null(), thread, (&raw const job).cast_mut().cast()), 0);
            libc::pthread_join(other, null_mut());
        }
        // The thread ends the process itself, if it can.
        if stage() == Stage::Installed {
            set(Stage::Done, Seen::ThreadKilled);
        }
        0
    });
    let status = wait(pid);
    match stage() {
        Stage::Done => seen(),
        Stage::Installed if libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGSYS => Seen::ProcessKilled,
        other => panic!("{other:?}, status {status:#x}"),
    }
}

/// Makes a call under a tracer.
fn observe_traced(program: &[Instruction], call: &Call) -> Seen {
    let job = Job { program: Some(program), call: *call };
    let pid = fork(|| {
        prepare();
        // SAFETY: no memory is involved.
        unsafe {
            assert_eq!(libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0), 0);
            assert_eq!(libc::raise(libc::SIGSTOP), 0);
        }
        work(&job)
    });
    let mut status = wait(pid);
    assert!(libc::WIFSTOPPED(status) && libc::WSTOPSIG(status) == libc::SIGSTOP);
    // SAFETY: the process is stopped; no memory is involved.
    unsafe { assert_eq!(libc::ptrace(libc::PTRACE_SETOPTIONS, pid, 0, libc::PTRACE_O_TRACESECCOMP), 0) };
    let (mut signal, mut traced) = (0, None);
    while libc::WIFSTOPPED(status) {
        // SAFETY: the process is stopped; no memory is involved.
        unsafe { assert_eq!(libc::ptrace(libc::PTRACE_CONT, pid, 0, signal), 0) };
        status = wait(pid);
        signal = if libc::WIFSTOPPED(status) { libc::WSTOPSIG(status) } else { 0 };
        if status >> 8 == libc::SIGTRAP | libc::PTRACE_EVENT_SECCOMP << 8 {
            signal = 0;
            let mut message = 0u64;
            // SAFETY: the process is stopped; the message is a long.
            unsafe { assert_eq!(libc::ptrace(libc::PTRACE_GETEVENTMSG, pid, 0, &raw mut message), 0) };
            // exit_group is traced too.
            traced = traced.or(Some(Seen::Traced(message as u32)));
        }
    }
    match (traced, stage()) {
        (Some(traced), Stage::Done) => {
            // The tracer let it pass.
            assert_eq!(seen(), observe(None, call));
            traced
        }
        (None, Stage::Done) => seen(),
        (None, Stage::Installed) => Seen::ProcessKilled,
        other => panic!("{other:?}, status {status:#x}"),
    }
}

/// `struct seccomp_notif` and `struct seccomp_notif_resp` of linux/seccomp.h.
#[repr(C)]
#[derive(Default)]
struct Notification {
    id: u64,
    pid: u32,
    flags: u32,
    number: u32,
    architecture: u32,
    instruction_pointer: u64,
    arguments: [u64; 6],
}
#[repr(C)]
struct Response {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}
const SECCOMP_IOCTL_NOTIF_RECV: u64 = 0xc050_2100;
const SECCOMP_IOCTL_NOTIF_SEND: u64 = 0xc018_2101;

/// Makes a call under a supervisor that answers with a number. The filter has to allow write(2).
fn observe_notified(program: &[Instruction], call: &Call, answer: i64) -> Seen {
    let mut pipe = [0; 2];
    // SAFETY: `pipe` has room for two descriptors.
    assert_eq!(unsafe { libc::pipe(pipe.as_mut_ptr()) }, 0);
    let pid = fork(|| {
        let listener = install(program, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER as u32) as c_int;
        // SAFETY: four bytes are written.
        assert_eq!(unsafe { libc::write(pipe[1], (&raw const listener).cast(), 4) }, 4);
        set(Stage::Installed, Seen::ProcessKilled);
        let result = make(call);
        set(Stage::Done, Seen::Returned(result));
        end()
    });
    let mut theirs: c_int = 0;
    let mut notification = Notification::default();
    // SAFETY: all structures are the kernel's and outlive the calls; the descriptors are open.
    unsafe {
        assert_eq!(libc::read(pipe[0], (&raw mut theirs).cast(), 4), 4);
        let pidfd = libc::syscall(libc::SYS_pidfd_open, pid, 0);
        let listener = libc::syscall(libc::SYS_pidfd_getfd, pidfd, theirs, 0) as c_int;
        assert!(listener >= 0, "{}", std::io::Error::last_os_error());
        assert_eq!(libc::ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &raw mut notification), 0);
        let response = Response { id: notification.id, value: answer, error: 0, flags: 0 };
        assert_eq!(libc::ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &raw const response), 0);
        for one in [pidfd as c_int, listener, pipe[0], pipe[1]] {
            libc::close(one);
        }
    }
    wait(pid);
    let Notification { number, architecture, arguments, .. } = notification;
    match seen() {
        Seen::Returned(value) => {
            Seen::Notified(Call { number, architecture, instruction_pointer: 0, arguments }, value)
        }
        other => other,
    }
}

/// What the interpreter says should be seen without tracer and supervisor.
fn expected(outcome: Outcome, call: &Call) -> Seen {
    match outcome.action {
        Action::Allow | Action::Log => observe(None, call),
        Action::Errno(errno) => Seen::Returned(-i64::from(errno)),
        Action::Trap => Seen::Trapped(call.number, call.architecture, outcome.result & 0xffff),
        Action::KillThread => Seen::ThreadKilled,
        Action::KillProcess => Seen::ProcessKilled,
        Action::Trace(_) | Action::Notify => Seen::Returned(-i64::from(libc::ENOSYS)),
    }
}

fn ours(profile: &Profile) -> Option<Vec<Instruction>> {
    no_frills_seccomp::compile(profile).ok().map(|filter| filter.instructions)
}

fn theirs(profile: &Profile) -> Option<Vec<Instruction>> {
    oracle::program(profile).ok().filter(|program| Program::new(program.clone()).is_ok())
}

/// Calls that do nothing, whatever their arguments.
const HARMLESS: &[&str] = &["getppid", "getuid", "getegid", "getpgrp"];

fn getppid(architecture: Architecture) -> Call {
    let number = architecture.number("getppid").unwrap();
    let audit = if architecture == Architecture::X86 { AUDIT_X86 } else { AUDIT_X86_64 };
    Call { number, architecture: audit, instruction_pointer: 0, arguments: [1, 2, 3, 4, 5, 6] }
}

/// Every action, for every architecture's getppid.
fn every_action() {
    let equal =
        |argument: u8| Condition { argument, operator: Operator::Equal, value: u64::from(argument) + 1, value_two: 0 };
    for architecture in [Architecture::X86, Architecture::X86_64, Architecture::X32] {
        for action in [
            Action::KillProcess,
            Action::KillThread,
            Action::Trap,
            Action::Errno(0),
            Action::Errno(1),
            Action::Errno(4095),
            Action::Errno(4096),
            Action::Notify,
            Action::Trace(0xabcd),
            Action::Log,
            Action::Allow,
        ] {
            let default = if action == Action::Allow { Action::Log } else { Action::Allow };
            let conditions = (0..6).map(equal).collect();
            let profile = Profile {
                default_action: default,
                architectures: vec![Architecture::X86, Architecture::X32],
                rules: vec![Rule { names: vec!["getppid"], action, conditions }],
            };
            // libseccomp refuses the highest errno, and what the kernel cuts to it.
            let theirs = theirs(&profile);
            assert!(theirs.is_some() || matches!(action, Action::Errno(4095..)));
            for program in &[ours(&profile).unwrap()].into_iter().chain(theirs).collect::<Vec<_>>() {
                let call = getppid(architecture);
                let outcome = Program::new(program.clone()).unwrap().run(&call);
                assert_eq!(outcome.action, if action == Action::Errno(4096) { Action::Errno(4095) } else { action });
                assert_eq!(observe(Some(program), &call), expected(outcome, &call), "{architecture:?} {outcome:x?}");
                // Under a tracer there is one thread.
                let traced = match (action, expected(outcome, &call)) {
                    (Action::Trace(data), _) => Seen::Traced(data.into()),
                    (_, Seen::ThreadKilled) => Seen::ProcessKilled,
                    (_, other) => other,
                };
                assert_eq!(observe_traced(program, &call), traced, "{architecture:?} {outcome:x?}");
                if action == Action::Notify {
                    assert_eq!(observe_notified(program, &call, 4711), Seen::Notified(call, 4711));
                }
                // With another argument the rule says nothing.
                let call = Call { arguments: [1, 2, 3, 4, 5, 7], ..call };
                assert_eq!(observe(Some(program), &call), observe(None, &call), "{architecture:?} {outcome:x?}");
            }
        }
    }
    println!("every action: as foretold");
}

/// Random profiles about harmless calls.
fn random_profiles() {
    let profiles = std::env::var("PROFILES").map_or(50, |value| value.parse().unwrap());
    let mut count = std::collections::BTreeMap::<String, usize>::new();
    for _ in 0..profiles {
        let mut bytes = [0; 8192];
        // SAFETY: the buffer has that length.
        assert_eq!(unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) }, bytes.len() as isize);
        let mut u = Unstructured::new(&bytes);
        let mut profile = common::profile(&mut u).unwrap();
        if u.arbitrary().unwrap() {
            profile.rules.iter_mut().for_each(|rule| rule.conditions.truncate(1));
        }
        for name in profile.rules.iter_mut().flat_map(|rule| &mut rule.names) {
            *name = u.choose(HARMLESS).unwrap();
        }
        // libseccomp runs in a circle with some rules that have several conditions.
        let simple = profile.rules.iter().all(|rule| rule.conditions.len() < 2);
        let theirs = if simple { theirs(&profile) } else { None };
        let programs: Vec<_> = ours(&profile).into_iter().chain(theirs).collect();
        for _ in 0..8 {
            let call = common::call(&mut u, &profile).unwrap();
            let harmless = [Architecture::X86, Architecture::X86_64, Architecture::X32].iter().any(|architecture| {
                let is_x86 = *architecture == Architecture::X86;
                let known = |name: &&str| architecture.number(name) == Some(call.number);
                call.architecture == if is_x86 { AUDIT_X86 } else { AUDIT_X86_64 } && HARMLESS.iter().any(known)
            });
            if !harmless {
                continue;
            }
            for program in &programs {
                let outcome = Program::new(program.clone()).unwrap().run(&call);
                assert_eq!(
                    observe(Some(program), &call),
                    expected(outcome, &call),
                    "{outcome:x?}\n{call:x?}\n{profile:#?}"
                );
                let name = format!("{:?}", outcome.action);
                *count.entry(name.split('(').next().unwrap().to_owned()).or_default() += 1;
            }
        }
    }
    println!("random profiles: as foretold {count:?}");
}

fn main() {
    // SAFETY: a new mapping, and no thread but this one.
    unsafe {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let memory = libc::mmap(null_mut(), 4096, protection, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1, 0);
        assert_ne!(memory, libc::MAP_FAILED);
        SHARED = memory.cast();
    }
    assert_eq!(X32_BIT & Architecture::X32.number("getppid").unwrap(), X32_BIT);
    every_action();
    random_profiles();
}
