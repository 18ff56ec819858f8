//! The floor under every runtime: what `run` of the default spec needs from the kernel, and nothing else.
//!
//! ```text
//! floor CGROUP ROOTFS [COMMAND [ARG...]]    runs COMMAND (/bin/true) in a container, waits, removes CGROUP
//! floor --spawn COMMAND [ARG...]            runs COMMAND and prints what it used, as JSON
//! ```
//!
//! No configuration is read, no state is kept, nothing is allocated; the mounts, masks, devices and
//! capabilities of `runc spec` are compiled in. Every call is checked, and a failure names the call.
//! ROOTFS needs the directories /proc, /dev and /sys.
//!
//! What was measured to decide how (kernel 6.18, a virtual machine with two processors):
//! - mount(2) is used, not fsopen and its family: 25 us faster for the seven file systems together.
//! - `CLONE_VM | CLONE_VFORK` on a stack of its own is 100 us faster than a fork, which copies page
//!   tables and then faults on them.
//! - libc's start-up is avoided (`floor_entry`, which `.cargo/rustc` makes the entry point): glibc asks
//!   CPUID 68 times before `main`, and each traps to the hypervisor: 0.5 ms of a floor of 2 ms.
//!   Started through `main` the program does the same, later. Without that start-up nothing of libc may
//!   be called, not even the memset or memcpy that a compiler makes of a large value: those are statics.
//!   (Nor of a small one without optimisation, so `.cargo/rustc` leaves a debug build its libc.)
//! - The device program is loaded before the clone. Doing it beside the child saved 40 us, less than the
//!   noise of waking the other processor; so did making the network namespace there.
//!
//! Absent on purpose: the order of mounts, masks and pivot_root makes no measurable difference, so they
//! come in the order of the specification; paths are not resolved safely, since the floor trusts ROOTFS.

#![no_main]
#![allow(unsafe_code)]

use core::ffi::{CStr, c_char, c_int};
use core::mem::{MaybeUninit, size_of};
use core::ptr::null;

/// The environment of `runc spec`.
static ENVIRONMENT: Pointers<3> = Pointers([
    c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".as_ptr(),
    c"TERM=xterm".as_ptr(),
    null(),
]);
static TRUE: Pointers<2> = Pointers([c"/bin/true".as_ptr(), null()]);

static READONLY: [&CStr; 5] = [c"/proc/bus", c"/proc/fs", c"/proc/irq", c"/proc/sys", c"/proc/sysrq-trigger"];
static MASKED: [&CStr; 10] = [
    c"/proc/acpi",
    c"/proc/asound",
    c"/proc/kcore",
    c"/proc/keys",
    c"/proc/latency_stats",
    c"/proc/timer_list",
    c"/proc/timer_stats",
    c"/proc/sched_debug",
    c"/proc/scsi",
    c"/sys/firmware",
];
static DEVICES: [(&CStr, u32, u32); 6] = [
    (c"dev/null", 1, 3),
    (c"dev/zero", 1, 5),
    (c"dev/full", 1, 7),
    (c"dev/random", 1, 8),
    (c"dev/urandom", 1, 9),
    (c"dev/tty", 5, 0),
];
static SYMLINKS: [(&CStr, &CStr); 6] = [
    (c"/proc/self/fd", c"dev/fd"),
    (c"/proc/self/fd/0", c"dev/stdin"),
    (c"/proc/self/fd/1", c"dev/stdout"),
    (c"/proc/self/fd/2", c"dev/stderr"),
    (c"/proc/kcore", c"dev/core"),
    (c"pts/ptmx", c"dev/ptmx"),
];
const CAP_KILL: u32 = 5;
const CAP_NET_BIND_SERVICE: u32 = 10;
const CAP_AUDIT_WRITE: u32 = 29;
/// libc's is an int, in which the bit is lost.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
/// The last capability of the kernels that exist: CAP_CHECKPOINT_RESTORE.
const CAP_LAST: u32 = 40;

/// A null-terminated list of C strings that may lie in a static.
#[repr(transparent)]
struct Pointers<const N: usize>([*const c_char; N]);
// SAFETY: they point at string literals, which nobody writes.
unsafe impl<const N: usize> Sync for Pointers<N> {}

/// Memory that the kernel has zeroed, for one use at a time: not the stack's, which a memset would zero.
macro_rules! zeroed {
    ($kind:ty) => {{
        static mut MEMORY: MaybeUninit<$kind> = MaybeUninit::zeroed();
        // SAFETY: integers alone, for which zero is a value. One thread, beside a child that borrows its
        // memory while it waits, and no place is reached again while its reference lives.
        let memory: &'static mut $kind = unsafe { (&mut *&raw mut MEMORY).assume_init_mut() };
        memory
    }};
}

/// What the child needs to know.
struct Container {
    rootfs: *const c_char,
    argv: *const *const c_char,
}

/// The entry point where `.cargo/rustc` built this: the kernel's stack, then `floor`.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
extern "C" fn floor_entry() -> ! {
    core::arch::naked_asm!(
        "xor ebp, ebp",
        "mov rdi, [rsp]",
        "lea rsi, [rsp + 8]",
        "and rsp, -16",
        "call {main}",
        "mov edi, eax",
        "call {exit}",
        main = sym main,
        exit = sym exit,
    )
}

/// The entry point through libc, elsewhere.
#[unsafe(no_mangle)]
extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
    // SAFETY: argv[0..argc] are C strings and argv[argc] is null: the kernel made them.
    let arg = |index: c_int| unsafe { *argv.offset(if index < argc { index as isize } else { argc as isize }) };
    if argc > 2 && is_spawn(arg(1)) {
        // SAFETY: index 2 is below argc.
        return spawn(unsafe { argv.offset(2) });
    }
    if argc < 3 {
        fail(c"usage: floor CGROUP ROOTFS [COMMAND [ARG...]] | floor --spawn COMMAND [ARG...]", 0);
    }
    // SAFETY: index 3 is at most argc.
    let argv = if argc > 3 { unsafe { argv.offset(3) } } else { TRUE.0.as_ptr() };
    run(arg(1), &Container { rootfs: arg(2), argv })
}

/// Whether a word is `--spawn`. (libc's strlen is out of reach.)
fn is_spawn(word: *const c_char) -> bool {
    // SAFETY: reading ends at the terminating null at the latest: it differs from every byte before ours.
    c"--spawn".to_bytes_with_nul().iter().enumerate().all(|(index, byte)| unsafe { *word.add(index) } as u8 == *byte)
}

fn run(cgroup: *const c_char, container: &Container) -> c_int {
    check(c"mkdir of the cgroup", call(libc::SYS_mkdirat, [at_cwd(), cgroup as usize, 0o755, 0, 0, 0]));
    let flags = (libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC) as usize;
    let directory = check(c"open of the cgroup", call(libc::SYS_openat, [at_cwd(), cgroup as usize, flags, 0, 0, 0]));
    attach_device_program(directory);

    let mut pidfd: c_int = -1;
    let clone = zeroed!(libc::clone_args);
    let namespaces = libc::CLONE_NEWPID
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWNET
        | libc::CLONE_PIDFD;
    // The cgroup namespace is not among them: clone3 would root it at this process's cgroup.
    clone.flags = namespaces as u64 | CLONE_INTO_CGROUP;
    clone.pidfd = (&raw mut pidfd) as u64;
    clone.exit_signal = libc::SIGCHLD as u64;
    clone.cgroup = directory as u64;
    check(c"clone3", clone_and_run(clone, container));

    let info = zeroed!(libc::siginfo_t);
    let wait = [libc::P_PIDFD as usize, pidfd as usize, (&raw mut *info) as usize, libc::WEXITED as usize, 0, 0];
    check(c"waitid", call(libc::SYS_waitid, wait));
    check(
        c"rmdir of the cgroup",
        call(libc::SYS_unlinkat, [at_cwd(), cgroup as usize, libc::AT_REMOVEDIR as usize, 0, 0, 0]),
    );
    // SAFETY: waitid filled it in for a child.
    let status = unsafe { info.si_status() };
    if info.si_code == libc::CLD_EXITED { status } else { 128 + status }
}

/// Everything between the clone and the program.
extern "C" fn child(container: &Container) -> ! {
    mount_propagation(libc::MS_REC | libc::MS_SLAVE);
    call(libc::SYS_umask, [0; 6]);
    bind(container.rootfs, container.rootfs, libc::MS_REC);
    check(c"chdir to the rootfs", call(libc::SYS_chdir, [container.rootfs as usize, 0, 0, 0, 0, 0]));
    file_systems();
    devices();
    enter_root();
    for path in &READONLY {
        readonly(path);
    }
    mask();
    remount_readonly(c"/");
    check(c"sethostname", call(libc::SYS_sethostname, [c"floor".as_ptr() as usize, 5, 0, 0, 0, 0]));
    loopback_up();
    credentials();
    // SAFETY: the list holds at least the terminating null.
    let program = unsafe { *container.argv };
    let execve = [program as usize, container.argv as usize, ENVIRONMENT.0.as_ptr() as usize, 0, 0, 0];
    check(c"execve", call(libc::SYS_execve, execve));
    exit(125)
}

fn file_systems() {
    let hard = libc::MS_NOSUID | libc::MS_NOEXEC | libc::MS_NODEV;
    mount(c"proc", c"proc", c"proc", 0, c"");
    mount(c"tmpfs", c"dev", c"tmpfs", libc::MS_NOSUID | libc::MS_STRICTATIME, c"mode=755,size=65536k");
    for directory in [c"dev/pts", c"dev/shm", c"dev/mqueue"] {
        check(c"mkdir in /dev", call(libc::SYS_mkdirat, [at_cwd(), directory.as_ptr() as usize, 0o755, 0, 0, 0]));
    }
    let pts = c"newinstance,ptmxmode=0666,mode=0620,gid=5";
    mount(c"devpts", c"dev/pts", c"devpts", libc::MS_NOSUID | libc::MS_NOEXEC, pts);
    mount(c"shm", c"dev/shm", c"tmpfs", hard, c"mode=1777,size=65536k");
    mount(c"mqueue", c"dev/mqueue", c"mqueue", hard, c"");
    mount(c"sysfs", c"sys", c"sysfs", hard | libc::MS_RDONLY, c"");
    check(c"unshare(CLONE_NEWCGROUP)", call(libc::SYS_unshare, [libc::CLONE_NEWCGROUP as usize, 0, 0, 0, 0, 0]));
    mount(c"cgroup", c"sys/fs/cgroup", c"cgroup2", hard | libc::MS_RELATIME | libc::MS_RDONLY, c"");
}

fn devices() {
    for &(path, major, minor) in &DEVICES {
        let device = libc::makedev(major, minor) as usize;
        let mode = (libc::S_IFCHR | 0o666) as usize;
        check(path, call(libc::SYS_mknodat, [at_cwd(), path.as_ptr() as usize, mode, device, 0, 0]));
    }
    for &(target, path) in &SYMLINKS {
        check(path, call(libc::SYS_symlinkat, [target.as_ptr() as usize, at_cwd(), path.as_ptr() as usize, 0, 0, 0]));
    }
}

/// The rootfs becomes the root, and the old one, which lies on top of it, is let go.
fn enter_root() {
    let here = c".".as_ptr() as usize;
    check(c"pivot_root", call(libc::SYS_pivot_root, [here, here, 0, 0, 0, 0]));
    check(c"umount of the old root", call(libc::SYS_umount2, [here, libc::MNT_DETACH as usize, 0, 0, 0, 0]));
    check(c"chdir to /", call(libc::SYS_chdir, [c"/".as_ptr() as usize, 0, 0, 0, 0, 0]));
}

fn readonly(path: &CStr) {
    match try_bind(path.as_ptr(), path.as_ptr(), libc::MS_REC) {
        ABSENT => {}
        result => {
            check(path, result);
            remount_readonly(path);
        }
    }
}

/// Files get /dev/null over them; the first directory an empty file system, the others a bind of that.
fn mask() {
    let mut empty: Option<&CStr> = None;
    for path in &MASKED {
        match (try_bind(c"/dev/null".as_ptr(), path.as_ptr(), 0), empty) {
            (ABSENT, _) => {}
            (NO_DIRECTORY, Some(empty)) => bind(empty.as_ptr(), path.as_ptr(), 0),
            (NO_DIRECTORY, None) => {
                mount(c"tmpfs", path, c"tmpfs", libc::MS_RDONLY, c"nr_blocks=1,nr_inodes=1");
                empty = Some(path);
            }
            (result, _) => {
                check(path, result);
            }
        }
    }
}

fn loopback_up() {
    let datagram = (libc::SOCK_DGRAM | libc::SOCK_CLOEXEC) as usize;
    let socket = check(c"socket", call(libc::SYS_socket, [libc::AF_INET as usize, datagram, 0, 0, 0, 0]));
    let request = zeroed!(libc::ifreq);
    request.ifr_name[0] = b'l' as c_char;
    request.ifr_name[1] = b'o' as c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    let up = [socket, libc::SIOCSIFFLAGS as usize, (&raw mut *request) as usize, 0, 0, 0];
    check(c"ioctl(SIOCSIFFLAGS)", call(libc::SYS_ioctl, up));
    check(c"close of the socket", call(libc::SYS_close, [socket, 0, 0, 0, 0, 0]));
}

/// Session, limit, groups, descriptors and the default set of capabilities, for the user 0.
fn credentials() {
    let rest = [3, u32::MAX as usize, libc::CLOSE_RANGE_CLOEXEC as usize, 0, 0, 0];
    check(c"close_range", call(libc::SYS_close_range, rest));
    let files = libc::rlimit { rlim_cur: 1024, rlim_max: 1024 };
    let limit = [0, libc::RLIMIT_NOFILE as usize, (&raw const files) as usize, 0, 0, 0];
    check(c"prlimit", call(libc::SYS_prlimit64, limit));
    check(c"setsid", call(libc::SYS_setsid, [0; 6]));
    check(c"setgroups", call(libc::SYS_setgroups, [0; 6]));
    call(libc::SYS_umask, [0o022, 0, 0, 0, 0, 0]);
    let kept: u32 = 1 << CAP_KILL | 1 << CAP_NET_BIND_SERVICE | 1 << CAP_AUDIT_WRITE;
    for capability in 0..=CAP_LAST {
        if capability > 31 || kept & 1 << capability == 0 {
            let drop = [libc::PR_CAPBSET_DROP as usize, capability as usize, 0, 0, 0, 0];
            check(c"prctl(PR_CAPBSET_DROP)", call(libc::SYS_prctl, drop));
        }
    }
    // _LINUX_CAPABILITY_VERSION_3 of this thread; effective, permitted, inheritable, and the upper halves.
    let (header, sets) = ([0x2008_0522_u32, 0], [kept, kept, 0, 0, 0, 0]);
    let pair = [header.as_ptr() as usize, sets.as_ptr() as usize, 0, 0, 0, 0];
    check(c"capset", call(libc::SYS_capset, pair));
    check(c"prctl(PR_SET_NO_NEW_PRIVS)", call(libc::SYS_prctl, [libc::PR_SET_NO_NEW_PRIVS as usize, 1, 0, 0, 0, 0]));
}

// --- The device program: deny all, but for mknod and the default devices ---

#[repr(C)]
struct Instruction {
    code: u8,
    /// The source register in the upper half, the destination in the lower.
    registers: u8,
    offset: i16,
    immediate: i32,
}

const fn op(code: u8, registers: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction { code, registers, offset, immediate }
}
/// A jump from instruction `at` to `to` if the lower half of `register` equals `value`.
const fn if_equal(at: i16, register: u8, value: i32, to: i16) -> Instruction {
    op(0x16, register, to - at - 1, value)
}
const fn if_not_equal(at: i16, register: u8, value: i32, to: i16) -> Instruction {
    op(0x56, register, to - at - 1, value)
}

/// r2: the device's type, then r3: the access, r4 and r5: major and minor.
static DEVICE_PROGRAM: [Instruction; 22] = [
    op(0x61, 0x12, 0, 0),
    op(0x61, 0x14, 4, 0),
    op(0x61, 0x15, 8, 0),
    op(0xbc, 0x23, 0, 0),
    op(0x54, 0x02, 0, 0xffff),
    op(0x74, 0x03, 0, 16),
    if_equal(6, 3, 1, ALLOW),
    if_not_equal(7, 2, 2, DENY),
    if_equal(8, 4, 136, ALLOW),
    if_not_equal(9, 4, 5, 12),
    if_equal(10, 5, 0, ALLOW),
    if_equal(11, 5, 2, ALLOW),
    if_not_equal(12, 4, 1, DENY),
    if_equal(13, 5, 3, ALLOW),
    if_equal(14, 5, 5, ALLOW),
    if_equal(15, 5, 7, ALLOW),
    if_equal(16, 5, 8, ALLOW),
    if_equal(17, 5, 9, ALLOW),
    op(0xb7, 0, 0, 0),
    op(0x95, 0, 0, 0),
    op(0xb7, 0, 0, 1),
    op(0x95, 0, 0, 0),
];
const DENY: i16 = 18;
const ALLOW: i16 = 20;

/// The head of `union bpf_attr` for BPF_PROG_LOAD.
#[repr(C)]
struct Load {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// The same for BPF_PROG_ATTACH.
#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    attach_type: u32,
    flags: u32,
}

fn attach_device_program(cgroup: usize) {
    const BPF_PROG_LOAD: usize = 5;
    const BPF_PROG_ATTACH: usize = 8;
    let load = Load {
        program_type: 15, // BPF_PROG_TYPE_CGROUP_DEVICE
        instruction_count: DEVICE_PROGRAM.len() as u32,
        instructions: DEVICE_PROGRAM.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
    };
    let request = [BPF_PROG_LOAD, (&raw const load) as usize, size_of::<Load>(), 0, 0, 0];
    let program = check(c"bpf(BPF_PROG_LOAD)", call(libc::SYS_bpf, request));
    let attach = Attach {
        target: cgroup as u32,
        program: program as u32,
        attach_type: 6, // BPF_CGROUP_DEVICE
        flags: 2,       // BPF_F_ALLOW_MULTI
    };
    let request = [BPF_PROG_ATTACH, (&raw const attach) as usize, size_of::<Attach>(), 0, 0, 0];
    check(c"bpf(BPF_PROG_ATTACH)", call(libc::SYS_bpf, request));
}

// --- The launcher ---

/// Runs a command with its stdout on /dev/null and prints, on stdout, its exit status, what wait4 says
/// of it, and its own peak memory, as read when it was about to exit.
///
/// A fresh program's `ru_maxrss` is never below what its parent had resident when it called execve, so a
/// launcher must be small to measure small programs: this one has less than 200 KB.
fn spawn(argv: *const *const c_char) -> c_int {
    let clone = zeroed!(libc::clone_args);
    clone.exit_signal = libc::SIGCHLD as u64;
    let command = Container { rootfs: null(), argv };
    let pid = check(c"clone3", clone_and_run(clone, &command));
    let (status, usage, peak) = follow(pid);
    let mut line = Line::new();
    let code = if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 128 + libc::WTERMSIG(status) };
    line.field(b"{\"status\":", code as u64);
    line.field(b",\"maxrss_kb\":", usage.ru_maxrss as u64);
    line.field(b",\"vmhwm_kb\":", peak);
    line.field(b",\"minflt\":", usage.ru_minflt as u64);
    line.field(b",\"majflt\":", usage.ru_majflt as u64);
    line.field(b",\"utime_us\":", microseconds(usage.ru_utime));
    line.field(b",\"stime_us\":", microseconds(usage.ru_stime));
    line.bytes(b"}\n");
    check(c"write", call(libc::SYS_write, [1, line.text.as_ptr() as usize, line.length, 0, 0, 0]));
    0
}

/// The launched command, between clone and execve.
fn launched(command: &Container) -> ! {
    let request = [libc::PTRACE_TRACEME as usize, 0, 0, 0, 0, 0];
    check(c"ptrace(PTRACE_TRACEME)", call(libc::SYS_ptrace, request));
    let null = c"/dev/null".as_ptr() as usize;
    let null = check(
        c"/dev/null",
        call(libc::SYS_openat, [at_cwd(), null, (libc::O_RDWR | libc::O_CLOEXEC) as usize, 0, 0, 0]),
    );
    check(c"dup3", call(libc::SYS_dup3, [null, 1, 0, 0, 0, 0]));
    // SAFETY: the list holds at least one string: `main` counted.
    let program = unsafe { *command.argv };
    let execve = [program as usize, command.argv as usize, ENVIRONMENT.0.as_ptr() as usize, 0, 0, 0];
    check(c"execve", call(libc::SYS_execve, execve));
    exit(125)
}

/// Waits for a traced child, and reads its VmHWM when it stops on its way out.
fn follow(pid: usize) -> (c_int, &'static libc::rusage, u64) {
    let usage = zeroed!(libc::rusage);
    let (mut status, mut peak, mut exec_seen) = (0, 0, false);
    loop {
        let wait = [pid, (&raw mut status) as usize, libc::__WALL as usize, (&raw mut *usage) as usize, 0, 0];
        check(c"wait4", call(libc::SYS_wait4, wait));
        if !libc::WIFSTOPPED(status) {
            return (status, usage, peak);
        }
        let mut signal = libc::WSTOPSIG(status) as usize;
        if signal == libc::SIGTRAP as usize {
            signal = 0;
            if !exec_seen {
                exec_seen = true;
                let options = (libc::PTRACE_O_TRACEEXIT | libc::PTRACE_O_TRACEEXEC | libc::PTRACE_O_EXITKILL) as usize;
                let request = [libc::PTRACE_SETOPTIONS as usize, pid, 0, options, 0, 0];
                check(c"ptrace(PTRACE_SETOPTIONS)", call(libc::SYS_ptrace, request));
            } else if status >> 16 == libc::PTRACE_EVENT_EXIT {
                peak = high_water_mark(pid);
            }
        }
        check(c"ptrace(PTRACE_CONT)", call(libc::SYS_ptrace, [libc::PTRACE_CONT as usize, pid, 0, signal, 0, 0]));
    }
}

/// VmHWM of a process, in KiB.
fn high_water_mark(pid: usize) -> u64 {
    let mut path = Line::new();
    path.field(b"/proc/", pid as u64);
    path.bytes(b"/status\0");
    let open = [at_cwd(), path.text.as_ptr() as usize, libc::O_RDONLY as usize, 0, 0, 0];
    let file = check(c"open of /proc/PID/status", call(libc::SYS_openat, open));
    let text = zeroed!([u8; 4096]);
    let length = check(
        c"read of /proc/PID/status",
        call(libc::SYS_read, [file, text.as_mut_ptr() as usize, text.len(), 0, 0, 0]),
    );
    check(c"close", call(libc::SYS_close, [file, 0, 0, 0, 0, 0]));
    let mut words =
        text.get(..length).unwrap_or_default().split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    if words.any(|word| word == b"VmHWM:") {
        let digits = words.next().unwrap_or_default();
        return digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit.wrapping_sub(b'0')));
    }
    0
}

fn microseconds(time: libc::timeval) -> u64 {
    time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64
}

/// Text that is put together in place, in memory that the kernel has zeroed.
struct Line {
    text: &'static mut [u8; 256],
    length: usize,
}

impl Line {
    /// There is one at a time.
    fn new() -> Self {
        Self { text: zeroed!([u8; 256]), length: 0 }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if let Some(place) = self.text.get_mut(self.length) {
                *place = *byte;
                self.length += 1;
            }
        }
    }

    fn field(&mut self, name: &[u8], number: u64) {
        self.bytes(name);
        let mut divisor = 1_000_000_000_000_000_000_u64;
        while divisor > 1 && number / divisor == 0 {
            divisor /= 10;
        }
        while divisor > 0 {
            self.bytes(&[b'0' + (number / divisor % 10) as u8]);
            divisor /= 10;
        }
    }
}

// --- Calls ---

const ABSENT: isize = -(libc::ENOENT as isize);
const NO_DIRECTORY: isize = -(libc::ENOTDIR as isize);

fn at_cwd() -> usize {
    libc::AT_FDCWD as usize
}

fn mount(source: &CStr, target: &CStr, kind: &CStr, flags: libc::c_ulong, data: &CStr) {
    let pointers = (source.as_ptr() as usize, target.as_ptr() as usize, kind.as_ptr() as usize);
    let arguments = [pointers.0, pointers.1, pointers.2, flags as usize, data.as_ptr() as usize, 0];
    check(target, call(libc::SYS_mount, arguments));
}

fn mount_propagation(flags: libc::c_ulong) {
    let arguments = [0, c"/".as_ptr() as usize, 0, flags as usize, 0, 0];
    check(c"mount(MS_SLAVE)", call(libc::SYS_mount, arguments));
}

fn remount_readonly(path: &CStr) {
    let flags = libc::MS_BIND | libc::MS_REMOUNT | libc::MS_RDONLY;
    check(path, call(libc::SYS_mount, [0, path.as_ptr() as usize, 0, flags as usize, 0, 0]));
}

fn bind(source: *const c_char, target: *const c_char, flags: libc::c_ulong) {
    check(c"mount(MS_BIND)", try_bind(source, target, flags));
}

fn try_bind(source: *const c_char, target: *const c_char, flags: libc::c_ulong) -> isize {
    call(libc::SYS_mount, [source as usize, target as usize, 0, (libc::MS_BIND | flags) as usize, 0, 0])
}

fn exit(status: c_int) -> ! {
    loop {
        call(libc::SYS_exit_group, [status as usize, 0, 0, 0, 0, 0]);
    }
}

/// The result of a call, unless it failed.
fn check(what: &CStr, result: isize) -> usize {
    if result < 0 {
        fail(what, result.unsigned_abs());
    }
    result.unsigned_abs()
}

#[cold]
#[inline(never)]
fn fail(what: &CStr, errno: usize) -> ! {
    let mut line = Line::new();
    line.bytes(b"floor: ");
    line.bytes(what.to_bytes());
    if errno != 0 {
        line.field(b": errno ", errno as u64);
    }
    line.bytes(b"\n");
    call(libc::SYS_write, [2, line.text.as_ptr() as usize, line.length, 0, 0, 0]);
    exit(125)
}

/// What the child of `clone_and_run` does: a container where there is a rootfs, else a plain command.
extern "C" fn start(container: &Container) -> ! {
    if container.rootfs.is_null() { launched(container) } else { child(container) }
}

/// Clones and runs `start` in the child, which borrows this process's memory until it calls execve.
#[cfg(target_arch = "x86_64")]
fn clone_and_run(clone: &mut libc::clone_args, container: &Container) -> isize {
    #[repr(C, align(64))]
    struct Stack([u8; 16384]);
    static mut STACK: Stack = Stack([0; 16384]);
    clone.flags |= (libc::CLONE_VM | libc::CLONE_VFORK) as u64;
    clone.stack = (&raw mut STACK) as u64;
    clone.stack_size = size_of::<Stack>() as u64;
    let result: isize;
    // SAFETY: the child runs on a stack of its own, never returns from `start`, and is done with this
    // memory before the parent goes on (CLONE_VFORK). The kernel keeps all registers but rcx and r11.
    unsafe {
        core::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r8",
            "call {start}",
            "2:",
            start = sym start,
            inlateout("rax") libc::SYS_clone3 as isize => result,
            in("rdi") &raw mut *clone,
            in("rsi") size_of::<libc::clone_args>(),
            in("r8") &raw const *container,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}

/// The same with a fork, where no assembly was written.
#[cfg(not(target_arch = "x86_64"))]
fn clone_and_run(clone: &mut libc::clone_args, container: &Container) -> isize {
    let arguments = [(&raw mut *clone) as usize, size_of::<libc::clone_args>(), 0, 0, 0, 0];
    match call(libc::SYS_clone3, arguments) {
        0 => start(container),
        result => result,
    }
}

/// A system call: its result, or minus the error.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn call(number: libc::c_long, arguments: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = arguments;
    let result: isize;
    // SAFETY: every caller passes what the call expects; pointers outlive the call.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

#[cfg(not(target_arch = "x86_64"))]
fn call(number: libc::c_long, arguments: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: every caller passes what the call expects; pointers outlive the call.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result >= 0 {
        return result as isize;
    }
    // SAFETY: the location is this thread's own.
    -(unsafe { *libc::__errno_location() } as isize)
}
