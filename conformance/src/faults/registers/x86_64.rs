use nix::errno::Errno;
use nix::sys::ptrace;
use nix::unistd::Pid;

/// The number of the call that a process is about to make. `None`: this is the end of one.
pub(crate) fn call(pid: Pid) -> nix::Result<Option<u32>> {
    let registers = ptrace::getregs(pid)?;
    // What the kernel puts there before a call, for those that it does not know.
    let begins = registers.rax as i64 == -i64::from(Errno::ENOSYS as i32);
    Ok(begins.then_some(registers.orig_rax as u32))
}

/// At its beginning: the call is not made.
pub(crate) fn skip(pid: Pid) -> nix::Result<()> {
    let mut registers = ptrace::getregs(pid)?;
    registers.orig_rax = u64::MAX;
    ptrace::setregs(pid, registers)
}

/// At its end: it fails with this.
pub(crate) fn answer(pid: Pid, errno: i32) -> nix::Result<()> {
    let mut registers = ptrace::getregs(pid)?;
    registers.rax = -i64::from(errno) as u64;
    ptrace::setregs(pid, registers)
}
