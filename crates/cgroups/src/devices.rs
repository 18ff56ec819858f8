//! Which devices the processes of a container may use: rules in, one BPF program out. Pure.
//!
//! # What rules mean
//! A process asks to read, write (open(2)) or make (mknod(2)) a device. **Every access that it asks
//! for is decided by the last rule that is about this device and this access**, and what no rule is
//! about is denied; it gets all of what it asks for or nothing. This is what the order of the rules
//! in config.json says, and what the device controller of cgroup v1 does, except where that
//! controller cannot:
//!
//! - v1 ignores a denial that takes something out of a wider rule (`c 1:* rw` but not `c 1:11 w`).
//!   runc refuses such a configuration; here, as with crun, it is honoured.
//! - v1 takes `type: a` for everything, whatever else the rule says. Here, as with crun, `a 1:3 r`
//!   is about 1:3 and reading.
//! - v1 and crun grant reading and writing at a time only if one rule allows both. Here, two rules
//!   will do.
//! - Where everything is allowed but writing to a device is denied, v1 denies opening it to read
//!   and write as well. runc and crun let this through on cgroup v2, and so the write. Here it is
//!   denied.
//!
//! # The rules that every container gets
//! [`compile_container`] puts [`DEFAULTS`] after the container's own rules, so that these cannot
//! take them away. runc and crun do the same. The lists differ little: runc's (1.3) is the one
//! here; crun's (1.28) also has the console of the host, `c 5:1`, which is not what /dev/console is
//! in a container (a terminal of devpts).
//!
//! Without rules in config.json, runc applies its defaults alone; crun loads no program, so that
//! everything is allowed. This crate's functions do as runc does, given an empty list.
//!
//! # Kernel
//! Opening with neither read nor write access, as access(2) with `X_OK` does, is a question about
//! nothing, and may be answered either way. Whiteouts (`c 0:0`) may always be made; the kernel does
//! not ask.

mod assemble;
mod program;
mod simplify;

use std::fmt;
use std::ops::{BitAnd, BitOr, BitOrAssign, Sub};

use crate::error::Result;

pub use program::Program;

/// Which kind of device a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `a`: both.
    All,
    /// `c`.
    Char,
    /// `b`.
    Block,
}

/// A set of accesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access(u8);

impl Access {
    /// `m`: making a node. (The bits are those of `BPF_DEVCG_ACC_*`.)
    pub const MKNOD: Access = Access(1);
    /// `r`: opening for reading.
    pub const READ: Access = Access(2);
    /// `w`: opening for writing.
    pub const WRITE: Access = Access(4);
    /// `rwm`.
    pub const ALL: Access = Access(7);
    const NONE: Access = Access(0);

    /// Reads the letters of a rule in config.json. `None` if there is none, or one that is not `r`,
    /// `w` or `m`.
    #[must_use]
    pub fn parse(letters: &str) -> Option<Access> {
        let mut access = Access::NONE;
        for letter in letters.bytes() {
            access |= match letter {
                b'r' => Access::READ,
                b'w' => Access::WRITE,
                b'm' => Access::MKNOD,
                _ => return None,
            };
        }
        (access != Access::NONE).then_some(access)
    }

    /// The bits of `BPF_DEVCG_ACC_*`.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }
}

impl BitOr for Access {
    type Output = Access;
    fn bitor(self, other: Access) -> Access {
        Access(self.0 | other.0)
    }
}

impl BitOrAssign for Access {
    fn bitor_assign(&mut self, other: Access) {
        self.0 |= other.0;
    }
}

impl BitAnd for Access {
    type Output = Access;
    fn bitand(self, other: Access) -> Access {
        Access(self.0 & other.0)
    }
}

impl Sub for Access {
    type Output = Access;
    fn sub(self, other: Access) -> Access {
        Access(self.0 & !other.0)
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        [(Access::READ, "r"), (Access::WRITE, "w"), (Access::MKNOD, "m")]
            .into_iter()
            .filter(|(access, _)| *self & *access != Access::NONE)
            .try_for_each(|(_, letter)| f.write_str(letter))
    }
}

/// One rule of `linux.resources.devices`. Its text, as in `allow c 1:3 rwm`, is that of cgroup v1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Allowed or denied.
    pub allow: bool,
    /// Which kind of device.
    pub kind: Kind,
    /// Which major number; `None` for all.
    pub major: Option<u32>,
    /// Which minor number; `None` for all.
    pub minor: Option<u32>,
    /// Which accesses; a rule about none has no effect.
    pub access: Access,
}

impl Rule {
    /// Whether all devices that `other` is about are among those that this rule is about.
    fn covers(&self, other: &Rule) -> bool {
        (self.kind == Kind::All || self.kind == other.kind)
            && (self.major.is_none() || self.major == other.major)
            && (self.minor.is_none() || self.minor == other.minor)
    }

    fn is_about_every_device(&self) -> bool {
        self.kind == Kind::All && self.major.is_none() && self.minor.is_none()
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.allow { "allow" } else { "deny" };
        let kind = match self.kind {
            Kind::All => 'a',
            Kind::Char => 'c',
            Kind::Block => 'b',
        };
        write!(f, "{verdict} {kind} ")?;
        number(f, self.major)?;
        f.write_str(":")?;
        number(f, self.minor)?;
        write!(f, " {}", self.access)
    }
}

fn number(f: &mut fmt::Formatter<'_>, number: Option<u32>) -> fmt::Result {
    match number {
        Some(number) => write!(f, "{number}"),
        None => f.write_str("*"),
    }
}

const fn character(major: u32, minor: Option<u32>) -> Rule {
    Rule { allow: true, kind: Kind::Char, major: Some(major), minor, access: Access::ALL }
}

const fn making(kind: Kind) -> Rule {
    Rule { allow: true, kind, major: None, minor: None, access: Access::MKNOD }
}

/// What every container may use, whatever its own rules say. Nodes may be made of any device, but
/// not opened.
pub const DEFAULTS: &[Rule] = &[
    making(Kind::Char),
    making(Kind::Block),
    character(1, Some(3)),    // /dev/null
    character(1, Some(8)),    // /dev/random
    character(1, Some(7)),    // /dev/full
    character(5, Some(0)),    // /dev/tty
    character(1, Some(5)),    // /dev/zero
    character(1, Some(9)),    // /dev/urandom
    character(136, None),     // /dev/pts/*, and with it /dev/console
    character(5, Some(2)),    // /dev/ptmx
    character(10, Some(200)), // /dev/net/tun
];

/// The program for exactly these rules, in the order of config.json. What no rule is about is
/// denied.
pub fn compile(rules: &[Rule]) -> Result<Program> {
    assemble::program(&simplify::simplify(rules.iter().rev()))
}

/// The program for a container with these rules: they, and after them [`DEFAULTS`].
pub fn compile_container(rules: &[Rule]) -> Result<Program> {
    assemble::program(&simplify::simplify(rules.iter().chain(DEFAULTS).rev()))
}

#[cfg(test)]
mod tests;
