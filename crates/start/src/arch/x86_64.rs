//! x86_64: entry, system calls, the thread pointer, and the functions on memory that compilers call.
//!
//! What C declares as variadic (`open64`, `fcntl`, `ioctl`, `syscall`) is defined in assembly like every plain
//! system call: in the System V ABI a variadic function's integer arguments come in the same registers as
//! a fixed one's, and assembly keeps the optimizer from comparing the two declarations.

use core::arch::asm;

use crate::errors::give_up;

/// The name under which assembly defines a C function: its own, or in tests one that does not shadow the C
/// library's.
#[cfg(not(test))]
macro_rules! symbol {
    ($name:literal) => {
        $name
    };
}
#[cfg(test)]
macro_rules! symbol {
    ($name:literal) => {
        concat!("no_frills_", $name)
    };
}

/// One function in a section of its own, so that the linker drops what nobody calls.
macro_rules! function {
    ($name:literal: $($instruction:expr,)* $(; $($operand:ident = $kind:ident $value:expr),*)?) => {
        core::arch::global_asm!(
            concat!(".pushsection .text.", symbol!($name), ",\"ax\",@progbits"),
            concat!(".globl ", symbol!($name)),
            concat!(".type ", symbol!($name), ",@function"),
            concat!(symbol!($name), ":"),
            $($instruction,)*
            concat!(".size ", symbol!($name), ", . - ", symbol!($name)),
            ".popsection",
            $($($operand = $kind $value,)*)?
        );
    };
}

/// Defines C functions that are one system call with the same arguments.
macro_rules! system_calls {
    ($($name:literal = $number:ident)*) => {
        $(function! { $name:
            "mov eax, {number}",
            "jmp {go}",
            ; number = const libc::$number, go = sym $crate::arch::from_c
        })*
    };
}
pub(crate) use system_calls;

/// The same for C functions of at most three, or four, arguments before ones that the kernel has and C has
/// not: those are zero.
macro_rules! system_calls_with_zeros {
    ($($name:literal after $count:tt = $number:ident)*) => {
        $(function! { $name:
            zeros!($count),
            "xor r8d, r8d",
            "xor r9d, r9d",
            "mov eax, {number}",
            "jmp {go}",
            ; number = const libc::$number, go = sym $crate::arch::from_c
        })*
    };
}
pub(crate) use system_calls_with_zeros;

macro_rules! zeros {
    (3) => {
        "xor ecx, ecx"
    };
    (4) => {
        ""
    };
}
pub(crate) use {function, symbol, zeros};

/// Makes the system call whose number is in eax with the arguments of the C function that jumped here.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn from_c() {
    core::arch::naked_asm!(
        // The fourth argument: a C function's is in rcx, which the instruction destroys.
        "mov r10, rcx",
        "syscall",
        "cmp rax, -4095",
        "jae 2f",
        "ret",
        "2:",
        "mov rdi, rax",
        "jmp {fail}",
        fail = sym crate::errors::fail,
    )
}

// syscall(number, ...): every argument moves down by one; the sixth lies above the return address. A caller
// that passes fewer leaves bytes of its own frame there, which the kernel then ignores.
function! { "syscall":
    "mov rax, rdi",
    "mov rdi, rsi",
    "mov rsi, rdx",
    "mov rdx, rcx",
    "mov rcx, r8",
    "mov r8, r9",
    "mov r9, [rsp + 8]",
    "jmp {go}",
    ; go = sym from_c
}

/// A system call from Rust; the result as the kernel gives it, `-errno` on failure.
///
/// # Safety
/// The arguments are what the call `number` wants; memory they point to is valid for it.
#[inline(always)]
pub(crate) unsafe fn syscall(number: libc::c_long, a: [usize; 6]) -> isize {
    let result;
    // SAFETY: the caller's promise; the kernel clobbers rcx and r11 only.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a[0], in("rsi") a[1], in("rdx") a[2], in("r10") a[3], in("r8") a[4], in("r9") a[5],
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

// System V ABI: at entry rsp points at argc, then argv, and is 16-byte aligned; rbp is zero in the
// outermost frame.
#[cfg(not(test))]
core::arch::global_asm!(
    ".pushsection .text._start,\"ax\",@progbits",
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "call {start}",
    "ud2",
    ".popsection",
    start = sym crate::start::start,
);

/// What the thread pointer points at. Thread-local variables lie right below (variant II of the ELF
/// document on thread-local storage); compilers read the three fields that have a value.
#[repr(C)]
pub(crate) struct ThreadControl {
    /// fs:0 holds its own address: the way to a thread-local variable's address.
    own: *const ThreadControl,
    unused: [usize; 4],
    /// fs:0x28, of -fstack-protector.
    canary: usize,
    /// fs:0x30, of setjmp in C libraries.
    guard: usize,
}

impl ThreadControl {
    /// Fills in the block at `at` and makes it the thread's.
    ///
    /// # Safety
    /// `at` is valid and aligned for a block that stays for ever, with the thread-local variables below it.
    pub(crate) unsafe fn install(at: *mut ThreadControl, random: [usize; 2]) {
        // SAFETY: the caller's promise. Nothing was thread-local before.
        let result = unsafe {
            at.write(ThreadControl {
                own: at,
                unused: [0; 4],
                // A zero byte stops a string function that would read or write the canary.
                canary: random[0] & !0xff,
                guard: random[1],
            });
            syscall(libc::SYS_arch_prctl, [ARCH_SET_FS, at as usize, 0, 0, 0, 0])
        };
        if result != 0 {
            give_up("arch_prctl", result);
        }
    }
}

/// arch/x86/include/uapi/asm/prctl.h
const ARCH_SET_FS: usize = 0x1002;

// memcpy is memmove. Up to 16 bytes go by two overlapping words; up to 512 by 16 bytes at a time with an
// overlapping end that is read first, or, backwards, an overlapping beginning; beyond that `rep movsb` is as
// fast as anything (ERMS) from its start-up cost of some 30 cycles on.
#[rustfmt::skip]
function! { "memcpy":
    concat!(".globl ", symbol!("memmove")),
    concat!(symbol!("memmove"), ":"),
    "mov rax, rdi",
    "cmp rdx, 16",
    "jb 5f",
    // r8 = distance; below the count it means: overlapping, and the target is behind.
    "mov r8, rdi",
    "sub r8, rsi",
    "cmp r8, rdx",
    "jb 3f",
    "cmp rdx, 512",
    "ja 9f",
    "movups xmm1, [rsi + rdx - 16]",
    "lea r9, [rdi + rdx - 16]",
    "2:",
    "cmp rdi, r9",
    "jae 20f",
    "movups xmm0, [rsi]",
    "movups [rdi], xmm0",
    "add rsi, 16",
    "add rdi, 16",
    "jmp 2b",
    "20:",
    "movups [r9], xmm1",
    "ret",
    "9:",
    "mov rcx, rdx",
    "rep movsb",
    "ret",
    // Backwards, rdx bytes are left.
    "3:",
    "movups xmm1, [rsi]",
    "4:",
    "cmp rdx, 16",
    "jbe 40f",
    "movups xmm0, [rsi + rdx - 16]",
    "movups [rdi + rdx - 16], xmm0",
    "sub rdx, 16",
    "jmp 4b",
    "40:",
    "movups [rdi], xmm1",
    "ret",
    // Below 16 bytes: everything is read before anything is written.
    "5:",
    "cmp edx, 8",
    "jb 6f",
    "mov rcx, [rsi]",
    "mov r8, [rsi + rdx - 8]",
    "mov [rdi], rcx",
    "mov [rdi + rdx - 8], r8",
    "ret",
    "6:",
    "cmp edx, 4",
    "jb 7f",
    "mov ecx, [rsi]",
    "mov r8d, [rsi + rdx - 4]",
    "mov [rdi], ecx",
    "mov [rdi + rdx - 4], r8d",
    "ret",
    "7:",
    "test edx, edx",
    "jz 8f",
    "movzx ecx, byte ptr [rsi]",
    "movzx r8d, byte ptr [rsi + rdx - 1]",
    "mov r9, rdx",
    "shr r9, 1",
    "movzx r10d, byte ptr [rsi + r9]",
    "mov [rdi], cl",
    "mov [rdi + r9], r10b",
    "mov [rdi + rdx - 1], r8b",
    "8:",
    "ret",
}

#[rustfmt::skip]
function! { "memset":
    "mov r8, rdi",
    "movzx eax, sil",
    "cmp rdx, 16",
    "jb 3f",
    "cmp rdx, 512",
    "ja 4f",
    "mov r9, 0x0101010101010101",
    "imul rax, r9",
    "movq xmm0, rax",
    "punpcklqdq xmm0, xmm0",
    "lea r9, [rdi + rdx - 16]",
    "2:",
    "cmp rdi, r9",
    "jae 20f",
    "movups [rdi], xmm0",
    "add rdi, 16",
    "jmp 2b",
    "20:",
    "movups [r9], xmm0",
    "mov rax, r8",
    "ret",
    "3:",
    "test edx, edx",
    "jz 30f",
    "dec edx",
    "mov [rdi + rdx], al",
    "jmp 3b",
    "30:",
    "mov rax, r8",
    "ret",
    "4:",
    "mov rcx, rdx",
    "rep stosb",
    "mov rax, r8",
    "ret",
}

// bcmp is memcmp. Eight bytes at a time; the first difference decides, as a big-endian number.
#[rustfmt::skip]
function! { "memcmp":
    concat!(".globl ", symbol!("bcmp")),
    concat!(symbol!("bcmp"), ":"),
    "sub rdx, 8",
    "jb 3f",
    "2:",
    "mov rax, [rdi]",
    "mov rcx, [rsi]",
    "cmp rax, rcx",
    "jne 5f",
    "add rdi, 8",
    "add rsi, 8",
    "sub rdx, 8",
    "jae 2b",
    // rdx + 8 bytes are left.
    "3:",
    "add edx, 8",
    "jz 4f",
    "30:",
    "movzx eax, byte ptr [rdi]",
    "movzx ecx, byte ptr [rsi]",
    "sub eax, ecx",
    "jne 40f",
    "inc rdi",
    "inc rsi",
    "dec edx",
    "jnz 30b",
    "4:",
    "xor eax, eax",
    "40:",
    "ret",
    "5:",
    "bswap rax",
    "bswap rcx",
    "cmp rax, rcx",
    "sbb eax, eax",
    "or eax, 1",
    "ret",
}

// Plain: what it measures here are arguments, names of files and of variables.
#[rustfmt::skip]
function! { "strlen":
    "xor eax, eax",
    "2:",
    "cmp byte ptr [rdi + rax], 0",
    "je 3f",
    "inc rax",
    "jmp 2b",
    "3:",
    "ret",
}

#[cfg(test)]
mod tests {
    use core::ffi::{c_char, c_int, c_long};

    // What the assembly above defines, under the names that it has in tests.
    unsafe extern "C" {
        fn no_frills_memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8;
        fn no_frills_memmove(to: *mut u8, from: *const u8, count: usize) -> *mut u8;
        fn no_frills_memset(to: *mut u8, byte: c_int, count: usize) -> *mut u8;
        fn no_frills_memcmp(left: *const u8, right: *const u8, count: usize) -> c_int;
        fn no_frills_bcmp(left: *const u8, right: *const u8, count: usize) -> c_int;
        fn no_frills_strlen(text: *const c_char) -> usize;
        fn no_frills_syscall(number: c_long, ...) -> c_long;
    }

    /// Every length where the code takes another path, and some beyond.
    fn lengths() -> impl Iterator<Item = usize> {
        (0..100).chain([127, 128, 129, 255, 256, 257, 511, 512, 513, 1000, 4096, 5001])
    }

    fn pattern(length: usize) -> Vec<u8> {
        (0..length).map(|index| (index * 7 + index / 251) as u8).collect()
    }

    #[test]
    fn memory_is_moved_at_every_length_and_distance() {
        for length in lengths() {
            for distance in [0_isize, 1, 2, 7, 8, 15, 16, 17, 31, 33, 100, 600, 6000] {
                for distance in [distance, -distance] {
                    let mut bytes = pattern(20_000);
                    let mut expected = bytes.clone();
                    let (from, to) = (7000, (7000 + distance) as usize);
                    expected.copy_within(from..from + length, to);
                    let at = bytes.as_mut_ptr();
                    // SAFETY: both ranges are within the vector.
                    let result = unsafe { no_frills_memmove(at.add(to), at.add(from), length) };
                    assert_eq!(result, at.wrapping_add(to));
                    assert!(bytes == expected, "{length} {distance}");
                }
            }
        }
    }

    #[test]
    fn memory_is_copied_and_set_within_its_bounds() {
        for length in lengths() {
            for offset in [0, 1, 3, 8, 15] {
                let source = pattern(6000);
                let mut bytes = vec![0xee; 6000];
                let mut expected = bytes.clone();
                expected[offset..offset + length].copy_from_slice(&source[..length]);
                // SAFETY: both ranges are within their vectors.
                unsafe {
                    let at = bytes.as_mut_ptr().add(offset);
                    assert_eq!(no_frills_memcpy(at, source.as_ptr(), length), at);
                }
                assert!(bytes == expected, "{length} {offset}");
                expected[offset..offset + length].fill(0xf7);
                // SAFETY: as above. C takes the lowest byte of the number.
                unsafe {
                    let at = bytes.as_mut_ptr().add(offset);
                    assert_eq!(no_frills_memset(at, 0x1f7, length), at);
                }
                assert!(bytes == expected, "{length} {offset}");
            }
        }
    }

    #[test]
    fn memory_is_compared_as_unsigned_bytes() {
        for length in lengths() {
            let left = pattern(length);
            for place in [0, 1, length / 2, length.saturating_sub(2), length.saturating_sub(1)] {
                for byte in [0, 1, 0x7f, 0x80, 0xff] {
                    let mut right = left.clone();
                    if let Some(at) = right.get_mut(place) {
                        *at = byte;
                    }
                    // SAFETY: both are as long as said.
                    let (order, equal) = unsafe {
                        (
                            no_frills_memcmp(left.as_ptr(), right.as_ptr(), length),
                            no_frills_bcmp(left.as_ptr(), right.as_ptr(), length),
                        )
                    };
                    assert_eq!(order.cmp(&0), left.cmp(&right), "{length} {place} {byte}");
                    assert_eq!(equal == 0, left == right);
                }
            }
        }
    }

    #[test]
    fn strings_end_at_the_first_nul() {
        for length in lengths() {
            let text = [vec![b'x'; length], b"\0yz\0".to_vec()].concat();
            // SAFETY: a C string.
            assert_eq!(unsafe { no_frills_strlen(text.as_ptr().cast()) }, length);
        }
    }

    #[test]
    fn six_arguments_reach_the_kernel() {
        let _alone = crate::alone();
        // SAFETY: a new anonymous mapping, then a refused one (the offset, its sixth argument, is not one of a page).
        unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let at = no_frills_syscall(libc::SYS_mmap, 0_usize, 4096_usize, libc::PROT_READ, flags, -1_isize, 0_usize);
            assert!(at > 0);
            assert_eq!(no_frills_syscall(libc::SYS_munmap, at, 4096_usize), 0);
            let at = no_frills_syscall(libc::SYS_mmap, 0_usize, 4096_usize, libc::PROT_READ, flags, -1_isize, 1_usize);
            assert_eq!(at, -1);
            assert_eq!(*crate::errors::__errno_location(), libc::EINVAL);
        }
    }
}
