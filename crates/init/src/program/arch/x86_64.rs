//! x86_64: entry, system calls, their numbers, and the memory functions that the compiler calls.

use core::arch::{asm, global_asm};

// System V ABI: at entry rsp points at argc, then argv, and is 16-byte aligned.
global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "call {main}",
    "ud2",
    main = sym crate::start,
);

/// A system call with up to six arguments; the result as the kernel gives it, `-errno` on failure.
///
/// # Safety
/// The arguments are what the call `number` wants; memory they point to is valid for it.
#[inline(always)]
pub(crate) unsafe fn syscall(number: usize, a: [usize; 6]) -> isize {
    let result;
    // SAFETY: the caller's promise; the kernel clobbers rcx and r11 only.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a[0], in("rsi") a[1], in("rdx") a[2],
            in("r10") a[3], in("r8") a[4], in("r9") a[5],
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// Ends the process with an illegal instruction.
pub(crate) fn trap() -> ! {
    // SAFETY: ud2 never goes on.
    unsafe { asm!("ud2", options(noreturn, nostack)) }
}

/// The compiler's calls for copying memory; written in assembly, since a loop would be compiled to a call
/// of itself.
///
/// # Safety
/// As C's memcpy.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    // SAFETY: the caller's promise; the direction flag is clear by the ABI.
    unsafe {
        asm!("rep movsb", inout("rcx") count => _, inout("rdi") to => _, inout("rsi") from => _, options(nostack, preserves_flags));
    }
    to
}

/// # Safety
/// As C's memmove.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    if (to as usize).wrapping_sub(from as usize) >= count {
        // SAFETY: forward copying does not overwrite what is still to be read.
        return unsafe { memcpy(to, from, count) };
    }
    // SAFETY: the caller's promise; copies backwards and clears the direction flag again.
    unsafe {
        asm!(
            "std", "rep movsb", "cld",
            inout("rcx") count => _,
            inout("rdi") to.wrapping_add(count).wrapping_sub(1) => _,
            inout("rsi") from.wrapping_add(count).wrapping_sub(1) => _,
            options(nostack),
        );
    }
    to
}

/// # Safety
/// As C's memset.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, count: usize) -> *mut u8 {
    // SAFETY: the caller's promise; the direction flag is clear by the ABI.
    unsafe {
        asm!("rep stosb", inout("rcx") count => _, inout("rdi") to => _, in("al") byte as u8, options(nostack, preserves_flags));
    }
    to
}

/// # Safety
/// As C's memcmp.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, count: usize) -> i32 {
    for index in 0..count {
        // SAFETY: the caller's promise; volatile keeps the loop from becoming a call of itself.
        let (l, r) = unsafe { (left.add(index).read_volatile(), right.add(index).read_volatile()) };
        if l != r {
            return i32::from(l) - i32::from(r);
        }
    }
    0
}

/// # Safety
/// As C's bcmp.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, count: usize) -> i32 {
    // SAFETY: the same promise.
    unsafe { memcmp(left, right, count) }
}

/// Constants that other architectures number differently.
pub(crate) mod constants {
    pub(crate) const O_DIRECTORY: u64 = 0o200_000;
    pub(crate) const O_NOFOLLOW: u64 = 0o400_000;
    pub(crate) const TIOCSCTTY: u32 = 0x540e;
    pub(crate) const TIOCSWINSZ: u32 = 0x5414;
    pub(crate) const TIOCSPTLCK: u32 = 0x4004_5431;
    pub(crate) const TIOCGPTPEER: u32 = 0x5441;
}

/// The numbers of the system calls.
#[allow(non_upper_case_globals, reason = "they are named as the kernel names its calls")]
pub(crate) mod number {
    macro_rules! numbers {
        ($($name:ident $libc:ident = $number:literal)*) => {
            $(pub(crate) const $name: usize = $number;)*
        };
    }
    include!("x86_64_numbers.rs");
    /// Of Linux 6.15; libc's list, which the others are held against, does not have it yet.
    pub(crate) const open_tree_attr: usize = 467;
}
