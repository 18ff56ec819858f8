//! System calls with arguments as a case wants them, and what becomes of them under a seccomp filter.
//!
//! A call is `NUMBER[,ARGUMENT...]`, decimal, of the machine's own numbers; `i386:` before it makes it one of those through
//! `int 0x80`, and `x32:` sets the bit of that ABI.

use std::ffi::{CStr, c_int, c_uint, c_void};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::{answer, syscall};

unsafe extern "C" {
    safe fn fork() -> c_int;
    safe fn _exit(status: c_int) -> !;
    safe fn raise(signal: c_int) -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn mmap(at: *mut c_void, length: usize, protection: c_int, flags: c_int, fd: c_int, offset: i64) -> *mut c_void;
    fn sigaction(signal: c_int, new: *const Action, old: *mut Action) -> c_int;
    fn pthread_join(thread: usize, value: *mut *mut c_void) -> c_int;
    fn pthread_create(
        thread: *mut usize,
        attributes: *const c_void,
        run: extern "C" fn(*mut c_void) -> *mut c_void,
        argument: *mut c_void,
    ) -> c_int;
    fn ptrace(request: c_int, pid: c_int, address: usize, data: usize) -> i64;
}

/// No system call answers this.
const UNKNOWN: i64 = i64::MIN;

const SIGSYS: c_int = 31;

/// One system call.
struct Call {
    abi: Abi,
    number: i64,
    arguments: [u64; 6],
}

#[derive(PartialEq)]
enum Abi {
    Native,
    I386,
}

impl Call {
    /// Nothing for a word that is none.
    fn parse(word: &CStr) -> Option<Call> {
        const X32_BIT: i64 = 0x4000_0000;
        let word = word.to_str().ok()?;
        let (abi, bit, numbers) = match word.split_once(':') {
            None => (Abi::Native, 0, word),
            Some(("x32", rest)) => (Abi::Native, X32_BIT, rest),
            Some(("i386", rest)) => (Abi::I386, 0, rest),
            Some(_) => return None,
        };
        let mut numbers = numbers.split(',');
        let number = bit | numbers.next()?.parse::<i64>().ok()?;
        let mut arguments = [0; 6];
        for (argument, word) in arguments.iter_mut().zip(numbers) {
            *argument = word.parse().ok()?;
        }
        Some(Call { abi, number, arguments })
    }

    fn make(&self) -> i64 {
        let [a, b, c, d, e, f] = self.arguments;
        if self.abi == Abi::I386 {
            i386(self.number, [a, b, c, d, e])
        } else {
            answer(syscall(self.number, a, b, c, d, e, f))
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn i386(number: i64, [a, b, c, d, e]: [u64; 5]) -> i64 {
    let mut result = number;
    // SAFETY: the kernel's convention for i386. rbx is the compiler's, so that it is exchanged.
    unsafe {
        std::arch::asm!(
            "xchg rbx, {a}",
            "int 0x80",
            "xchg rbx, {a}",
            a = inout(reg) a => _,
            inout("rax") result,
            in("rcx") b,
            in("rdx") c,
            in("rsi") d,
            in("rdi") e,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    i64::from(result as i32)
}

#[cfg(not(target_arch = "x86_64"))]
fn i386(_: i64, _: [u64; 5]) -> i64 {
    UNKNOWN
}

fn parsed<'w>(words: impl Iterator<Item = &'w CStr>) -> Vec<Call> {
    words.map(|word| Call::parse(word).unwrap_or_else(|| _exit(2))).collect()
}

/// A word of memory that is shared with children.
fn shared() -> &'static AtomicI64 {
    // SAFETY: a new mapping, for good, zeroed, and as large and aligned as is needed.
    unsafe { &*mmap(null_mut(), 4096, 3, 0x21, -1, 0).cast() }
}

/// The status that waitpid(2) gives; nothing if there is none.
fn waited(pid: c_int) -> Option<c_int> {
    let mut status = 0;
    // SAFETY: a word to write to.
    (unsafe { waitpid(pid, &raw mut status, 0) } == pid).then_some(status)
}

/// Makes each call in a process of its own. Prints what each answered, or the signal that it brought.
pub(crate) fn each<'w>(words: impl Iterator<Item = &'w CStr>) {
    for call in parsed(words) {
        // One for each: a process that fork(2) made may store its answer when the next call is made.
        let answered = shared();
        answered.store(UNKNOWN, Ordering::SeqCst);
        let child = fork();
        if child == 0 {
            answered.store(call.make(), Ordering::SeqCst);
            _exit(0);
        }
        match waited(child).filter(|_| child > 0) {
            Some(status) if status & 0x7f != 0 => println!("signal {}", status & 0x7f),
            Some(_) => println!("{}", answered.load(Ordering::SeqCst)),
            None => println!("no process"),
        }
    }
}

/// Makes the calls here, one after the other, and prints what each answered.
pub(crate) fn here<'w>(words: impl Iterator<Item = &'w CStr>) {
    for call in parsed(words) {
        println!("{}", call.make());
    }
}

/// `struct sigaction` of the C libraries for x86_64 and aarch64.
#[repr(C)]
struct Action {
    handler: extern "C" fn(c_int, *const Info, *mut c_void),
    mask: [u64; 16],
    flags: c_int,
    restorer: usize,
}

/// `siginfo_t` of SIGSYS.
#[repr(C)]
struct Info {
    signal: c_int,
    errno: c_int,
    code: c_int,
    address: usize,
    number: c_int,
    arch: c_uint,
}

static TRAPPED: [AtomicI64; 4] = [const { AtomicI64::new(UNKNOWN) }; 4];

extern "C" fn trapped(_: c_int, info: *const Info, _: *mut c_void) {
    // SAFETY: the kernel gave it.
    let info = unsafe { &*info };
    let found = [i64::from(info.code), i64::from(info.errno), i64::from(info.number), i64::from(info.arch)];
    for (place, value) in TRAPPED.iter().zip(found) {
        place.store(value, Ordering::SeqCst);
    }
}

/// Makes the calls with a handler for SIGSYS, and prints what it was told of each.
pub(crate) fn trap<'w>(words: impl Iterator<Item = &'w CStr>) {
    const SIGINFO: c_int = 4;
    let action = Action { handler: trapped, mask: [0; 16], flags: SIGINFO, restorer: 0 };
    // SAFETY: a whole structure, and a handler that only stores.
    if unsafe { sigaction(SIGSYS, &raw const action, null_mut()) } != 0 {
        _exit(3);
    }
    for call in parsed(words) {
        call.make();
        let [code, errno, number, arch] = TRAPPED.each_ref().map(|place| place.swap(UNKNOWN, Ordering::SeqCst));
        if code == UNKNOWN {
            println!("no signal");
        } else {
            println!("code {code} errno {errno} call {number} arch {arch:#x}");
        }
    }
}

/// Makes the calls in a thread. Prints what the last one answered, or that it was the thread's end.
pub(crate) fn thread<'w>(words: impl Iterator<Item = &'w CStr>) {
    static LAST: AtomicI64 = AtomicI64::new(UNKNOWN);
    extern "C" fn run(calls: *mut c_void) -> *mut c_void {
        // SAFETY: what `thread` passes, which waits for this one.
        for call in unsafe { &*calls.cast::<Vec<Call>>() } {
            LAST.store(UNKNOWN, Ordering::SeqCst);
            LAST.store(call.make(), Ordering::SeqCst);
        }
        null_mut()
    }
    let mut calls = parsed(words);
    let mut thread = 0;
    // SAFETY: `calls` is there until the thread is not: the kernel tells of its end, however it came.
    let ended = unsafe {
        pthread_create(&raw mut thread, std::ptr::null(), run, (&raw mut calls).cast()) == 0
            && pthread_join(thread, null_mut()) == 0
    };
    match LAST.load(Ordering::SeqCst) {
        _ if !ended => println!("no thread"),
        UNKNOWN => println!("the thread died, the process lives"),
        result => println!("{result}"),
    }
}

/// Traces a process that makes the calls, and prints what the filter told the tracer of each.
pub(crate) fn trace<'w>(words: impl Iterator<Item = &'w CStr>) {
    const TRACE_ME: c_int = 0;
    const CONTINUE: c_int = 7;
    const SET_OPTIONS: c_int = 0x4200;
    const GET_EVENT_MESSAGE: c_int = 0x4201;
    const OPTION_SECCOMP: usize = 0x80;
    const STOP: c_int = 19;
    const SECCOMP_STOP: c_int = 0x7057f;
    let (calls, answered) = (parsed(words), shared());
    let child = fork();
    if child == 0 {
        // SAFETY: takes no addresses.
        let allowed = unsafe { ptrace(TRACE_ME, 0, 0, 0) } == 0 && raise(STOP) == 0;
        for call in calls.iter().filter(|_| allowed) {
            answered.store(call.make(), Ordering::SeqCst);
        }
        _exit(if allowed { 0 } else { 4 });
    }
    let first = waited(child);
    // SAFETY: takes no addresses.
    let mut going = first == Some(STOP << 8 | 0x7f) && unsafe { ptrace(SET_OPTIONS, child, 0, OPTION_SECCOMP) } == 0;
    while going {
        // SAFETY: takes no addresses.
        going = unsafe { ptrace(CONTINUE, child, 0, 0) } == 0;
        let Some(status) = waited(child) else { break };
        if status >> 8 == SECCOMP_STOP >> 8 {
            let mut message = 0usize;
            // SAFETY: a word to write to.
            unsafe { ptrace(GET_EVENT_MESSAGE, child, 0, &raw mut message as usize) };
            println!("told {message}");
        } else if status & 0xff != 0x7f {
            println!("status {status}, the last call answered {}", answered.load(Ordering::SeqCst));
            return;
        }
    }
    println!("no tracer");
}
