//! The container's terminal.

use no_frills_plan::{Kind, Message, Text};

use crate::execute::Machine;
use crate::kernel::{
    self, Failure, O_CLOEXEC, O_DIRECTORY, O_NOCTTY, O_PATH, O_RDWR, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV, Result,
    S_IFCHR, TIOCGPTPEER, TIOCSPTLCK, TIOCSWINSZ, errno,
};
use crate::paths::{self, Missing};
use crate::talk;

const DEVPTS_SUPER_MAGIC: u64 = 0x1cd1;

impl Machine<'_> {
    /// Opens a pseudoterminal; see [`Step::OpenTerminal`](no_frills_plan::Step::OpenTerminal).
    pub(crate) fn open_terminal(&mut self, rows: u32, columns: u32, uid: u32, console: bool) -> Result<()> {
        let flags = O_RDWR | O_NOCTTY;
        // It must be the multiplexer of a devpts, not something that the image or a volume put there: opening
        // a device can have effects of its own.
        let directory = paths::open(self.root, c"/dev/pts", O_PATH | O_DIRECTORY, RESOLVE_NO_SYMLINKS)?;
        self.done(directory);
        if kernel::file_system(directory)? != DEVPTS_SUPER_MAGIC {
            return Err(Failure { call: no_frills_plan::call::FSTATFS, errno: errno::ENODEV });
        }
        let master = paths::open(directory, c"ptmx", flags, RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV)?;
        let unlock = 0i32;
        kernel::ioctl(master, TIOCSPTLCK, &raw const unlock as usize)?;
        let terminal = kernel::ioctl(master, TIOCGPTPEER, (flags | O_CLOEXEC) as usize)?;
        let terminal = kernel::Fd(terminal as i32);
        if rows != 0 || columns != 0 {
            let size = [rows as u16, columns as u16, 0, 0];
            kernel::ioctl(master, TIOCSWINSZ, size.as_ptr() as usize)?;
        }
        let group = kernel::stat_fd(terminal)?;
        if group.kind() != S_IFCHR {
            return Err(Failure { call: no_frills_plan::call::STATX, errno: errno::ENODEV });
        }
        kernel::fchown(terminal, uid, group.gid)?;
        if console {
            let copy = kernel::open_tree(terminal, false)?;
            let path = Text::new(b"/dev/console\0");
            let path = paths::open_destination(self.root, path, RESOLVE_NO_SYMLINKS, || Ok(Missing::File))?;
            kernel::move_mount(copy, path)?;
            self.done(path);
            self.done(copy);
        }
        talk::send(self.parent, &Message::new(Kind::Console), Some(master))?;
        kernel::close(master);
        for number in 0..3 {
            kernel::dup3(terminal, number)?;
        }
        self.done(terminal);
        Ok(())
    }
}
