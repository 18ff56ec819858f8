//! The architectures: a file for each family, and what they have in common.

mod arm;
mod loongarch;
mod m68k;
mod mips;
mod powerpc;
mod riscv;
mod s390;
mod sh;
mod x86;

use std::fmt;

use crate::table::Name;

/// `SCMP_ARCH_*`: an architecture whose system calls are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Architecture {
    /// `SCMP_ARCH_X86_64`.
    X86_64,
    /// `SCMP_ARCH_X86`.
    X86,
    /// `SCMP_ARCH_X32`.
    X32,
    /// `SCMP_ARCH_AARCH64`.
    Aarch64,
    /// `SCMP_ARCH_ARM`.
    Arm,
    /// `SCMP_ARCH_RISCV64`.
    Riscv64,
    /// `SCMP_ARCH_S390X`.
    S390x,
    /// `SCMP_ARCH_PPC64LE`.
    Ppc64le,
    /// `SCMP_ARCH_PPC64`.
    Ppc64,
    /// `SCMP_ARCH_PPC`.
    Ppc,
    /// `SCMP_ARCH_LOONGARCH64`.
    Loongarch64,
    /// `SCMP_ARCH_MIPS`.
    Mips,
    /// `SCMP_ARCH_MIPSEL`.
    Mipsel,
    /// `SCMP_ARCH_MIPS64`.
    Mips64,
    /// `SCMP_ARCH_MIPSEL64`.
    Mipsel64,
    /// `SCMP_ARCH_MIPS64N32`.
    Mips64n32,
    /// `SCMP_ARCH_MIPSEL64N32`.
    Mipsel64n32,
    /// `SCMP_ARCH_M68K`.
    M68k,
    /// `SCMP_ARCH_SH`.
    Sh,
    /// `SCMP_ARCH_SHEB`.
    Sheb,
}

/// Why there is no [`Architecture`] for a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownArchitecture {
    /// The specification has it, but there is no table of its system calls here.
    #[error("the numbers of its system calls are not known here")]
    NoTable,
    /// The specification has no such architecture.
    #[error("no such architecture")]
    NoSuchName,
}

/// The order of the bytes of a number in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ByteOrder {
    /// The least significant byte comes first.
    Little,
    /// The most significant byte comes first.
    Big,
}

/// What the specification names and no table is for.
const WITHOUT_TABLE: [&str; 3] = ["SCMP_ARCH_S390", "SCMP_ARCH_PARISC", "SCMP_ARCH_PARISC64"];

/// What there is to know of an architecture.
pub(crate) struct Facts {
    name: &'static str,
    /// `AUDIT_ARCH_*` of linux/audit.h, without the flags for 64 bits and for the byte order.
    machine: u32,
    /// Whether the flag for 64 bits is in `AUDIT_ARCH_*`.
    machine_64: bool,
    order: ByteOrder,
    /// Whether the arguments of its calls have 64 bits.
    wide: bool,
    /// Its column in the table of numbers.
    column: usize,
    /// What is added to the numbers in the table.
    base: u32,
    /// ENOSYS.
    enosys: u16,
    /// The number that the kernel puts in the place of one that it does not know.
    unknown_number: Option<u32>,
    /// Whether this program runs on it.
    native: bool,
}

/// What most architectures have in common.
const COMMON: Facts = Facts {
    name: "",
    machine: 0,
    machine_64: true,
    order: ByteOrder::Little,
    wide: true,
    column: 0,
    base: 0,
    enosys: 38,
    unknown_number: None,
    native: false,
};

impl Architecture {
    /// All that there are tables for.
    pub const ALL: &'static [Architecture] = &[
        Architecture::X86_64,
        Architecture::X86,
        Architecture::X32,
        Architecture::Aarch64,
        Architecture::Arm,
        Architecture::Riscv64,
        Architecture::S390x,
        Architecture::Ppc64le,
        Architecture::Ppc64,
        Architecture::Ppc,
        Architecture::Loongarch64,
        Architecture::Mips,
        Architecture::Mipsel,
        Architecture::Mips64,
        Architecture::Mipsel64,
        Architecture::Mips64n32,
        Architecture::Mipsel64n32,
        Architecture::M68k,
        Architecture::Sh,
        Architecture::Sheb,
    ];

    /// The one that this program runs on.
    // Where there is none, the index leaves the list: an error of the compiler.
    pub const NATIVE: Architecture = {
        let mut index = 0;
        while !Self::ALL[index].facts().native {
            index += 1;
        }
        Self::ALL[index]
    };

    const fn facts(self) -> &'static Facts {
        match self {
            Architecture::X86_64 => &x86::X86_64,
            Architecture::X86 => &x86::X86,
            Architecture::X32 => &x86::X32,
            Architecture::Aarch64 => &arm::AARCH64,
            Architecture::Arm => &arm::ARM,
            Architecture::Riscv64 => &riscv::RISCV64,
            Architecture::S390x => &s390::S390X,
            Architecture::Ppc64le => &powerpc::PPC64LE,
            Architecture::Ppc64 => &powerpc::PPC64,
            Architecture::Ppc => &powerpc::PPC,
            Architecture::Loongarch64 => &loongarch::LOONGARCH64,
            Architecture::Mips => &mips::MIPS,
            Architecture::Mipsel => &mips::MIPSEL,
            Architecture::Mips64 => &mips::MIPS64,
            Architecture::Mipsel64 => &mips::MIPSEL64,
            Architecture::Mips64n32 => &mips::MIPS64N32,
            Architecture::Mipsel64n32 => &mips::MIPSEL64N32,
            Architecture::M68k => &m68k::M68K,
            Architecture::Sh => &sh::SH,
            Architecture::Sheb => &sh::SHEB,
        }
    }

    /// The one with this name in the specification, `SCMP_ARCH_*`.
    ///
    /// # Errors
    /// When there is none, or none whose system calls are known here.
    pub fn from_name(name: &str) -> Result<Architecture, UnknownArchitecture> {
        match Self::ALL.iter().find(|one| one.name() == name) {
            Some(one) => Ok(*one),
            None if WITHOUT_TABLE.contains(&name) => Err(UnknownArchitecture::NoTable),
            None => Err(UnknownArchitecture::NoSuchName),
        }
    }

    /// Its name in the specification.
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// `AUDIT_ARCH_*` of linux/audit.h, which a filter sees. X32 has that of X86_64.
    pub fn audit_arch(self) -> u32 {
        let facts = self.facts();
        let little = facts.order == ByteOrder::Little;
        facts.machine | u32::from(facts.machine_64) << 31 | u32::from(little) << 30
    }

    /// Its byte order.
    pub fn byte_order(self) -> ByteOrder {
        self.facts().order
    }

    /// Whether the arguments of its system calls have 64 bits; otherwise they have 32.
    pub fn is_64_bit(self) -> bool {
        self.facts().wide
    }

    /// The number of the system call with this name, as a filter sees it.
    pub fn number(self, name: &str) -> Option<u32> {
        self.number_of(Name::find(name)?)
    }

    /// The names and numbers of all its system calls, by name.
    pub fn calls(self) -> impl Iterator<Item = (&'static str, u32)> {
        Name::all().filter_map(move |(text, name)| Some((text, self.number_of(name)?)))
    }

    /// The name of the system call with this number.
    pub fn call(self, number: u32) -> Option<&'static str> {
        self.calls().find(|(_, known)| *known == number).map(|(name, _)| name)
    }

    pub(crate) fn number_of(self, name: Name) -> Option<u32> {
        let facts = self.facts();
        Some(facts.base + name.number(facts.column)?)
    }

    /// ENOSYS.
    pub(crate) fn enosys(self) -> u16 {
        self.facts().enosys
    }

    /// The number that the kernel puts in the place of one that it does not know.
    pub(crate) fn unknown_number(self) -> Option<u32> {
        self.facts().unknown_number
    }
}

/// As people write it: `x86_64`.
impl fmt::Display for Architecture {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        out.write_str(&name.strip_prefix("SCMP_ARCH_").unwrap_or(name).to_ascii_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for one in Architecture::ALL {
            assert_eq!(Architecture::from_name(one.name()), Ok(*one));
        }
        assert_eq!(Architecture::from_name("SCMP_ARCH_S390"), Err(UnknownArchitecture::NoTable));
        assert_eq!(Architecture::from_name("SCMP_ARCH_Z80"), Err(UnknownArchitecture::NoSuchName));
        assert_eq!(Architecture::from_name(""), Err(UnknownArchitecture::NoSuchName));
    }

    #[test]
    fn tokens() {
        // From linux/audit.h.
        assert_eq!(Architecture::X86_64.audit_arch(), 0xc000_003e);
        assert_eq!(Architecture::X86.audit_arch(), 0x4000_0003);
        assert_eq!(Architecture::X32.audit_arch(), 0xc000_003e);
        assert_eq!(Architecture::Arm.audit_arch(), 0x4000_0028);
        assert_eq!(Architecture::S390x.audit_arch(), 0x8000_0016);
        assert_eq!(Architecture::Ppc.audit_arch(), 0x14);
        assert_eq!(Architecture::Mips64n32.audit_arch(), 0xa000_0008);
        assert_eq!(Architecture::Mipsel64n32.audit_arch(), 0xe000_0008);
        assert_eq!(Architecture::Sh.audit_arch(), 0x4000_002a);
    }

    #[test]
    fn numbers_have_their_base() {
        assert_eq!(Architecture::X32.number("read"), Some(0x4000_0000));
        assert_eq!(Architecture::Mips.number("read"), Some(4003));
        assert_eq!(Architecture::Mips64.number("read"), Some(5000));
        assert_eq!(Architecture::Mips64n32.number("read"), Some(6000));
        assert_eq!(Architecture::Aarch64.number("open"), None);
    }

    #[test]
    fn calls_have_names() {
        for one in Architecture::ALL {
            assert!(one.calls().count() > 250, "{one}");
            for (name, number) in one.calls() {
                // Some have two names.
                let again = one.call(number).and_then(|name| one.number(name));
                assert_eq!((one.number(name), again), (Some(number), Some(number)), "{one} {name}");
            }
        }
        assert_eq!(Architecture::X86_64.call(257), Some("openat"));
        assert_eq!(Architecture::X86_64.call(0x4000_0000), None);
        assert_eq!(Architecture::X86_64.to_string(), "x86_64");
    }
}
