//! The names of system calls and their numbers on every architecture, as the build script made them.
//!
//! `NAMES` are all names in their order, without a gap; `STARTS` says where each one starts; a row of `NUMBERS` has
//! its number on each architecture, less the architecture's base, or [`NONE`].

include!(concat!(env!("OUT_DIR"), "/table.rs"));

/// There is no such call on an architecture.
const NONE: u16 = 0xffff;
/// The number is one of arm's private calls, which start at [`PRIVATE_BASE`].
const PRIVATE: u16 = 0x8000;
const PRIVATE_BASE: u32 = 0x000f_0000;
/// A call of ipc(2), not of socketcall(2).
const BY_IPC: u16 = 0x100;

/// A name in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Name(u16);

/// A call that does the work of several ones; which of them, its first argument says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Multiplexed {
    /// Whether it is ipc(2), not socketcall(2).
    pub(crate) by_ipc: bool,
    /// The first argument.
    pub(crate) call: u8,
}

impl Name {
    /// Looks a name up.
    pub(crate) fn find(name: &str) -> Option<Name> {
        let (mut low, mut high) = (0, NUMBERS.len());
        while low < high {
            let middle = low.midpoint(high);
            match Self::text(middle).cmp(name.as_bytes()) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return u16::try_from(middle).ok().map(Name),
            }
        }
        None
    }

    /// All of them, in the order of the texts, with these.
    pub(crate) fn all() -> impl Iterator<Item = (&'static str, Name)> {
        let text = |index: u16| std::str::from_utf8(Self::text(usize::from(index))).unwrap_or_default();
        (0..).zip(&NUMBERS).map(move |(index, _)| (text(index), Name(index)))
    }

    fn text(index: usize) -> &'static [u8] {
        match (STARTS.get(index), STARTS.get(index + 1)) {
            (Some(&start), Some(&end)) => NAMES.get(usize::from(start)..usize::from(end)).unwrap_or_default(),
            _ => &[],
        }
    }

    /// Its number on the architecture of a column, less the architecture's base.
    pub(crate) fn number(self, column: usize) -> Option<u32> {
        match *NUMBERS.get(usize::from(self.0))?.get(column)? {
            NONE => None,
            private if private & PRIVATE != 0 => Some(PRIVATE_BASE + u32::from(private & !PRIVATE)),
            number => Some(number.into()),
        }
    }

    /// How it is reached on architectures that have socketcall(2) and ipc(2).
    pub(crate) fn multiplexed(self) -> Option<Multiplexed> {
        let call = *NUMBERS.get(usize::from(self.0))?.get(MULTIPLEXED)?;
        (call != NONE).then_some(Multiplexed {
            by_ipc: call & BY_IPC != 0,
            call: u8::try_from(call & !BY_IPC).unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found() {
        for index in 0..NUMBERS.len() {
            assert_eq!(
                Name::find(std::str::from_utf8(Name::text(index)).unwrap()),
                u16::try_from(index).ok().map(Name)
            );
        }
        for absent in ["", "no_such_call", "_", "zzz", "ope"] {
            assert_eq!(Name::find(absent), None, "{absent}");
        }
    }

    #[test]
    fn numbers() {
        let number = |name, column| Name::find(name).unwrap().number(column);
        assert_eq!(number("openat", X86_64), Some(257));
        assert_eq!(number("openat", X32), Some(257));
        assert_eq!(number("execve", X32), Some(520));
        assert_eq!(number("openat", AARCH64), Some(56));
        assert_eq!(number("open", AARCH64), None);
        assert_eq!(number("read", MIPS64N32), Some(0));
        assert_eq!(number("set_tls", ARM), Some(0xf0005));
        // Those for which one source or the other has no number or another name.
        assert_eq!(number("clock_gettime", X86), Some(265));
        assert_eq!(number("timer_settime", X86), Some(260));
        assert_eq!(number("chown", X86), Some(182));
        assert_eq!(number("mmap", LOONGARCH64), Some(222));
        assert_eq!(number("newfstatat", LOONGARCH64), Some(79));
        assert_eq!(number("newfstatat", AARCH64), Some(79));
        assert_eq!(number("clock_gettime", MIPS64N32), Some(226));
        assert_eq!(number("timerfd_settime", SH), Some(325));
        assert_eq!(number("chown32", SH), Some(212));
        assert_eq!(number("riscv_hwprobe", RISCV64), Some(258));
        assert_eq!(number("exit", S390X), Some(1));
    }

    #[test]
    fn multiplexed_calls() {
        let multiplexed = |name| Name::find(name).unwrap().multiplexed();
        assert_eq!(multiplexed("connect"), Some(Multiplexed { by_ipc: false, call: 3 }));
        assert_eq!(multiplexed("shmctl"), Some(Multiplexed { by_ipc: true, call: 24 }));
        assert_eq!(multiplexed("read"), None);
    }
}
