use nix::errno::Errno;
use nix::unistd::Pid;

/// Not known for this architecture.
pub(crate) fn call(_: Pid) -> nix::Result<Option<u32>> {
    Err(Errno::ENOTSUP)
}

/// Not known for this architecture.
pub(crate) fn skip(_: Pid) -> nix::Result<()> {
    Err(Errno::ENOTSUP)
}

/// Not known for this architecture.
pub(crate) fn answer(_: Pid, _: i32) -> nix::Result<()> {
    Err(Errno::ENOTSUP)
}
