//! bpf(2) for one purpose: device programs of a cgroup.
//!
//! On cgroup v2 there is no device controller; a program of the type `BPF_PROG_TYPE_CGROUP_DEVICE`,
//! attached to the cgroup, is asked for every open(2) and mknod(2) of a device node (Linux 4.15).
//! This module loads, attaches, lists and detaches such programs. What a program says is not its
//! business.
//!
//! Not here: maps, links, pinning, other program types, and raising `RLIMIT_MEMLOCK`, which would
//! change the caller's process (programs are charged to the memory cgroup instead since Linux
//! 5.11).

use std::ffi::CStr;
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

/// One instruction, as `struct bpf_insn` of `linux/bpf.h` has it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Insn {
    /// Class, operation and source of the operand.
    pub code: u8,
    registers: u8,
    /// A jump's distance, or the offset of a memory access.
    pub offset: i16,
    /// The immediate operand.
    pub immediate: i32,
}

impl Insn {
    /// An instruction on the registers `destination` and `source` (0 to 10).
    #[must_use]
    pub const fn new(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> Insn {
        // The two are bit fields, whose order within the byte follows that of the bytes in a word.
        let registers = if cfg!(target_endian = "little") {
            (source << 4) | (destination & 0xf)
        } else {
            (destination << 4) | (source & 0xf)
        };
        Insn { code, registers, offset, immediate }
    }

    /// The register that is written, or the left side of a comparison.
    #[must_use]
    pub const fn destination(self) -> u8 {
        if cfg!(target_endian = "little") { self.registers & 0xf } else { self.registers >> 4 }
    }

    /// The register that is read.
    #[must_use]
    pub const fn source(self) -> u8 {
        if cfg!(target_endian = "little") { self.registers >> 4 } else { self.registers & 0xf }
    }
}

/// Why the kernel did not take a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadError {
    /// What bpf(2) said.
    pub errno: Errno,
    /// What the verifier said; empty where it was not reached, for instance without `CAP_BPF`.
    pub log: String,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bpf(BPF_PROG_LOAD): {}", self.errno)?;
        if !self.log.is_empty() {
            write!(f, "; the verifier says: {}", self.log.trim_end())?;
        }
        Ok(())
    }
}

impl std::error::Error for LoadError {}

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_PROG_ATTACH: libc::c_long = 8;
const BPF_PROG_DETACH: libc::c_long = 9;
const BPF_PROG_GET_FD_BY_ID: libc::c_long = 13;
const BPF_PROG_QUERY: libc::c_long = 16;

const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 1 << 1;
const BPF_F_REPLACE: u32 = 1 << 2;

/// No helper function is called, so any licence will do for the kernel: it only tells GPL from the
/// rest.
const LICENCE: &CStr = c"Apache-2.0";

/// `BPF_CGROUP_MAX_PROGS`: the kernel does not attach more programs than this to one cgroup.
const MAX_PROGRAMS: usize = 64;

/// libbpf's number of attempts when the verifier was interrupted by a signal, which it reports as
/// EAGAIN.
const ATTEMPTS: usize = 5;

#[repr(C)]
#[derive(Clone, Copy)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

#[repr(C)]
#[derive(Clone, Copy)]
struct ProgAttach {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct ProgQuery {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
}

/// `union bpf_attr`: zeroed beyond the members that are set, and larger than that of any kernel,
/// which takes up to a page as long as what it does not know is zero.
///
/// The size is not a formality: Linux 6.17 to 7.1 write the `revision` of a `BPF_PROG_QUERY` behind
/// an attribute that is too short for it, onto the caller's stack.
#[repr(C)]
union Attr {
    zeroed: [u64; 32],
    load: ProgLoad,
    attach: ProgAttach,
    query: ProgQuery,
    id: u32,
}

impl Attr {
    const fn new() -> Attr {
        Attr { zeroed: [0; 32] }
    }
}

/// # Safety
/// Every pointer and length that `attr` holds for `command` must be that of memory which the kernel
/// may read or write for the length of the call, as the command asks for it.
unsafe fn bpf(command: libc::c_long, attr: &mut Attr) -> Result<libc::c_long, Errno> {
    // SAFETY: `attr` is a live, writable block of the size that is passed; what it points to is the
    // caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attr, size_of::<Attr>()) };
    Errno::result(result)
}

/// The descriptor in the result of a command that makes one.
///
/// # Safety
/// `result` must be what a successful `BPF_PROG_LOAD` or `BPF_PROG_GET_FD_BY_ID` returned just now.
unsafe fn owned(result: libc::c_long) -> OwnedFd {
    // SAFETY: the kernel returned it as a new descriptor (an int), which nobody else knows of. It
    // is O_CLOEXEC from birth.
    unsafe { OwnedFd::from_raw_fd(result as libc::c_int) }
}

fn fd(of: BorrowedFd<'_>) -> u32 {
    // A borrowed descriptor is never negative.
    of.as_raw_fd() as u32
}

/// Loads a device program. `name` (at most 15 bytes of it) is what bpftool(8) shows.
///
/// The verifier is run without a log first, which is cheaper, and a second time with one if it had
/// something to object to.
pub fn load_device_program(insns: &[Insn], name: &str) -> Result<OwnedFd, LoadError> {
    let mut attempt = 1;
    let errno = loop {
        match load(insns, name, &mut []) {
            Ok(program) => return Ok(program),
            Err(Errno::EAGAIN) if attempt < ATTEMPTS => attempt += 1,
            Err(errno) => break errno,
        }
    };
    if errno == Errno::EPERM {
        return Err(LoadError { errno, log: String::new() });
    }
    let mut log = vec![0; 64 << 10];
    match load(insns, name, &mut log) {
        Ok(program) => Ok(program),
        // ENOSPC is about the log, which is cut off then, not about the program.
        Err(second) => Err(LoadError { errno: if second == Errno::ENOSPC { errno } else { second }, log: text(&log) }),
    }
}

fn load(insns: &[Insn], name: &str, log: &mut [u8]) -> Result<OwnedFd, Errno> {
    let insn_cnt = u32::try_from(insns.len()).map_err(|_| Errno::E2BIG)?;
    let mut prog_name = [0; 16];
    for (to, from) in prog_name[..15].iter_mut().zip(name.bytes()) {
        *to = from;
    }
    let mut attr = Attr::new();
    attr.load = ProgLoad {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt,
        insns: insns.as_ptr().expose_provenance() as u64,
        license: LICENCE.as_ptr().expose_provenance() as u64,
        log_level: u32::from(!log.is_empty()),
        log_size: log.len() as u32,
        log_buf: if log.is_empty() { 0 } else { log.as_mut_ptr().expose_provenance() as u64 },
        kern_version: 0,
        prog_flags: 0,
        prog_name,
    };
    // SAFETY: `insns` are `insn_cnt` instructions in the kernel's layout, the licence ends in a
    // zero byte, `log` is writable for `log_size` bytes, and all three outlive the call.
    let result = unsafe { bpf(BPF_PROG_LOAD, &mut attr) }?;
    // SAFETY: `result` is that of a successful BPF_PROG_LOAD.
    Ok(unsafe { owned(result) })
}

/// The text before the first zero byte.
fn text(log: &[u8]) -> String {
    let end = log.iter().position(|&byte| byte == 0).unwrap_or(log.len());
    String::from_utf8_lossy(&log[..end]).into_owned()
}

/// Attaches a program to a cgroup (a descriptor of its directory, which may be `O_PATH`), beside
/// those of its ancestors and descendants: a device is let through only if all of them say so. With
/// `replace`, the new program takes that one's place in one step (Linux 5.6).
pub fn attach_device_program(
    cgroup: impl AsFd,
    program: impl AsFd,
    replace: Option<BorrowedFd<'_>>,
) -> Result<(), Errno> {
    let mut attr = Attr::new();
    attr.attach = ProgAttach {
        target_fd: fd(cgroup.as_fd()),
        attach_bpf_fd: fd(program.as_fd()),
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: BPF_F_ALLOW_MULTI | if replace.is_some() { BPF_F_REPLACE } else { 0 },
        replace_bpf_fd: replace.map_or(0, fd),
    };
    // SAFETY: the command takes no pointers.
    unsafe { bpf(BPF_PROG_ATTACH, &mut attr) }.map(drop)
}

/// Takes a program off a cgroup. ENOENT: it is not attached there.
pub fn detach_device_program(cgroup: impl AsFd, program: impl AsFd) -> Result<(), Errno> {
    let mut attr = Attr::new();
    attr.attach = ProgAttach {
        target_fd: fd(cgroup.as_fd()),
        attach_bpf_fd: fd(program.as_fd()),
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: 0,
        replace_bpf_fd: 0,
    };
    // SAFETY: the command takes no pointers.
    unsafe { bpf(BPF_PROG_DETACH, &mut attr) }.map(drop)
}

/// The ids of the device programs attached to this very cgroup, not to its ancestors, in the order
/// in which they run.
pub fn query_device_programs(cgroup: impl AsFd) -> Result<Vec<u32>, Errno> {
    let mut ids = [0u32; MAX_PROGRAMS];
    let mut attr = Attr::new();
    attr.query = ProgQuery {
        target_fd: fd(cgroup.as_fd()),
        attach_type: BPF_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        prog_ids: ids.as_mut_ptr().expose_provenance() as u64,
        prog_cnt: MAX_PROGRAMS as u32,
    };
    // SAFETY: `prog_ids` is an array of `prog_cnt` u32 that outlives the call.
    unsafe { bpf(BPF_PROG_QUERY, &mut attr) }?;
    // SAFETY: every bit pattern is a valid `ProgQuery`.
    let count = unsafe { attr.query.prog_cnt };
    Ok(ids[..MAX_PROGRAMS.min(count as usize)].to_vec())
}

/// A descriptor of a loaded program. ENOENT: it is gone by now. Needs `CAP_SYS_ADMIN`.
pub fn program_by_id(id: u32) -> Result<OwnedFd, Errno> {
    let mut attr = Attr::new();
    attr.id = id;
    // SAFETY: the command takes no pointers.
    let result = unsafe { bpf(BPF_PROG_GET_FD_BY_ID, &mut attr) }?;
    // SAFETY: `result` is that of a successful BPF_PROG_GET_FD_BY_ID.
    Ok(unsafe { owned(result) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `return 1`.
    const ALLOW: [Insn; 2] = [Insn::new(0xb7, 0, 0, 0, 1), Insn::new(0x95, 0, 0, 0, 0)];

    #[test]
    fn layout_is_the_kernels() {
        assert_eq!(size_of::<Insn>(), 8);
        assert_eq!(std::mem::offset_of!(ProgLoad, log_buf), 32);
        assert_eq!(std::mem::offset_of!(ProgLoad, prog_name), 48);
        assert_eq!(std::mem::offset_of!(ProgAttach, replace_bpf_fd), 16);
        assert_eq!(std::mem::offset_of!(ProgQuery, prog_ids), 16);
        assert_eq!(std::mem::offset_of!(ProgQuery, prog_cnt), 24);
        let insn = Insn::new(0x61, 2, 1, 4, -1);
        assert_eq!((insn.destination(), insn.source()), (2, 1));
    }

    #[test]
    fn loads_and_reports_what_the_verifier_says() {
        match load_device_program(&ALLOW, "allow") {
            Ok(_) => {}
            Err(error) if error.errno == Errno::EPERM => {
                return eprintln!("skipped: bpf(2) is not allowed here");
            }
            Err(error) => panic!("{error}"),
        }
        // `r0 = r3; exit` reads a register that nothing has written.
        let bad = [Insn::new(0xbf, 0, 3, 0, 0), Insn::new(0x95, 0, 0, 0, 0)];
        let error = load_device_program(&bad, "bad").unwrap_err();
        assert_eq!(error.errno, Errno::EACCES);
        assert!(error.log.contains("!read_ok"), "{error}");
    }

    #[test]
    fn a_missing_program_is_enoent() {
        match program_by_id(u32::MAX) {
            Err(Errno::EPERM) => eprintln!("skipped: bpf(2) is not allowed here"),
            other => assert_eq!(other.unwrap_err(), Errno::ENOENT),
        }
    }

    #[test]
    fn what_is_no_cgroup_is_refused() {
        let root = std::fs::File::open("/").unwrap();
        let Ok(program) = load_device_program(&ALLOW, "allow") else {
            return eprintln!("skipped: bpf(2) is not allowed here");
        };
        assert_eq!(attach_device_program(&root, &program, None), Err(Errno::EBADF));
        assert_eq!(detach_device_program(&root, &program), Err(Errno::EBADF));
        assert_eq!(query_device_programs(&root), Err(Errno::EBADF));
    }
}
