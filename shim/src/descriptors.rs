//! What must hold of the inherited file descriptors before any other is opened.

use std::fs;
use std::io;
use std::mem::forget;
use std::os::fd::AsFd;

use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;

use crate::cause::cause;
use crate::environment;
use crate::flags;
use crate::parse::Call;

/// Checks that no descriptor that a container is to inherit could come to mean a file of ours.
///
/// The number of a closed one would be given to the first file opened, say a directory of the host, which
/// the container would then find among its own (as in CVE-2024-21626). So closed standard descriptors are
/// opened on /dev/null, and those to preserve must be open.
pub(crate) fn check(call: &Call) -> Result<(), String> {
    open_standard()?;
    let preserved = match call {
        Call::Run(_, flags, _) => flags.number(&flags::PRESERVE_FDS),
        _ => 0,
    };
    let listen_fds = environment::listen_fds()?;
    let all = u64::from(listen_fds) + u64::from(preserved);
    (0..all).try_for_each(|index| {
        let asked = if index < listen_fds.into() {
            format!("LISTEN_FDS={listen_fds}")
        } else {
            format!("--preserve-fds {preserved}")
        };
        let number = index + 3;
        fs::symlink_metadata(format!("/proc/self/fd/{number}"))
            .map(drop)
            .map_err(|error| format!("{asked}: file descriptor {number}: {}", cause(error)))
    })
}

fn open_standard() -> Result<(), String> {
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    let mut descriptors = [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()].map(|fd| PollFd::new(fd, PollFlags::empty()));
    poll(&mut descriptors, PollTimeout::ZERO)
        .map_err(|error| format!("polling the standard file descriptors: {}", cause(error)))?;
    for descriptor in descriptors {
        if descriptor.revents().is_some_and(|events| events.contains(PollFlags::POLLNVAL)) {
            // The lowest free number, which is this one, since those below it are open by now. It is
            // meant to be inherited, so no O_CLOEXEC, and stays open to the end.
            let opened = open("/dev/null", OFlag::O_RDWR, Mode::empty())
                .map_err(|error| format!("opening /dev/null: {}", cause(error)))?;
            forget(opened);
        }
    }
    Ok(())
}
