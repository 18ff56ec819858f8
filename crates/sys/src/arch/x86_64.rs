//! x86_64: a clone3 whose child runs a function on a stack of its own.

use core::arch::asm;

/// clone3(2); the child calls `entry(argument)` on the stack that `arguments` gives it and never
/// returns. The result is the kernel's: the child's pid or `-errno`.
///
/// # Safety
/// `arguments` points at `size` bytes of `struct clone_args` with a valid stack; `entry` may run with
/// `argument` on that stack under the sharing that the flags ask for.
pub(crate) unsafe fn clone_onto(
    arguments: *const u8,
    size: usize,
    entry: unsafe extern "C" fn(*mut u8) -> !,
    argument: *mut u8,
) -> isize {
    let result: isize;
    // SAFETY: the caller's promise. In the parent nothing but rax, rcx and r11 changes; the child leaves
    // this function for good. The kernel sets the child's rsp to stack + stack_size, which is 16-byte aligned.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r13",
            "call r12",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 as isize => result,
            in("rdi") arguments,
            in("rsi") size,
            in("r12") entry,
            in("r13") argument,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}
