//! Makes one table of the names and numbers of system calls on all architectures from the crate `syscall-numbers`,
//! in the form that src/table.rs describes. What that lacks, or names otherwise, is in the crate `syscalls`.

use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::c_long;
use std::path::PathBuf;
use std::{env, fs};

use syscall_numbers::{
    aarch64, arm, loongarch64, m68k, mips, mips64, mipsn32, powerpc, powerpc64, riscv64, s390x, sh, x32, x86, x86_64,
};
use syscalls::arm::Sysno as SysnoArm;
use syscalls::mips::Sysno as SysnoMips;
use syscalls::powerpc::Sysno as SysnoPpc;
use syscalls::riscv64::Sysno as SysnoRiscv;
use syscalls::x86::Sysno as Sysno86;

/// An architecture has no such call.
const NONE: u16 = 0xffff;

type Name = fn(c_long) -> Option<&'static str>;

/// The columns of the table: their name, what is subtracted from the numbers, and where these come from.
const COLUMNS: [(&str, c_long, Name); 15] = [
    ("X86_64", 0, x86_64::sys_call_name),
    ("X86", 0, x86::sys_call_name),
    ("X32", 0x4000_0000, x32::sys_call_name),
    ("AARCH64", 0, aarch64::sys_call_name),
    ("ARM", 0, arm::sys_call_name),
    ("RISCV64", 0, riscv64::sys_call_name),
    ("S390X", 0, s390x::sys_call_name),
    ("PPC64", 0, powerpc64::sys_call_name),
    ("PPC", 0, powerpc::sys_call_name),
    ("LOONGARCH64", 0, loongarch64::sys_call_name),
    ("MIPS", 4000, mips::sys_call_name),
    ("MIPS64", 5000, mips64::sys_call_name),
    ("MIPS64N32", 6000, mipsn32::sys_call_name),
    ("M68K", 0, m68k::sys_call_name),
    ("SH", 0, sh::sys_call_name),
];

/// Further names of columns: their calls with 32 bits of time have suffixes in the other crate, and x86 and riscv64 lack some
/// there.
const FURTHER: [(&str, Name); 5] = [
    ("X86", |number| Some(Sysno86::new(number.try_into().ok()?)?.name())),
    ("ARM", |number| Some(SysnoArm::new(number.try_into().ok()?)?.name())),
    ("PPC", |number| Some(SysnoPpc::new(number.try_into().ok()?)?.name())),
    ("RISCV64", |number| Some(SysnoRiscv::new(number.try_into().ok()?)?.name())),
    ("MIPS", |number| Some(SysnoMips::new(number.try_into().ok()?)?.name())),
];

/// No call has a higher number on any architecture, but for the private calls of arm.
const HIGHEST: c_long = 0xfff;

/// The calls that arm's kernel has for itself (`__ARM_NR_*` in its asm/unistd.h), which the crate lacks. Their
/// numbers are 0xf0000 and these.
const ARM_PRIVATE: [(&str, u16); 6] =
    [("breakpoint", 1), ("cacheflush", 2), ("usr26", 3), ("usr32", 4), ("set_tls", 5), ("get_tls", 6)];

/// In the table: one of arm's private calls.
const PRIVATE: u16 = 0x8000;

/// What socketcall(2) does, by its first argument from 1 on: `SYS_*` in linux/net.h.
const SOCKETCALL: [&str; 20] = [
    "socket",
    "bind",
    "connect",
    "listen",
    "accept",
    "getsockname",
    "getpeername",
    "socketpair",
    "send",
    "recv",
    "sendto",
    "recvfrom",
    "shutdown",
    "setsockopt",
    "getsockopt",
    "sendmsg",
    "recvmsg",
    "accept4",
    "recvmmsg",
    "sendmmsg",
];

/// What ipc(2) does, with its first argument: linux/ipc.h.
const IPC: [(&str, u16); 12] = [
    ("semop", 1),
    ("semget", 2),
    ("semctl", 3),
    ("semtimedop", 4),
    ("msgsnd", 11),
    ("msgrcv", 12),
    ("msgget", 13),
    ("msgctl", 14),
    ("shmat", 21),
    ("shmdt", 22),
    ("shmget", 23),
    ("shmctl", 24),
];

/// In the table: a call of ipc(2), not of socketcall(2).
const BY_IPC: u16 = 0x100;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    // The last column: how the call is reached through socketcall(2) or ipc(2).
    let width = COLUMNS.len() + 1;
    let mut rows: BTreeMap<&str, Vec<u16>> = BTreeMap::new();
    let mut set = |name, column, value: u16| {
        if let Some(cell) = rows.entry(name).or_insert_with(|| vec![NONE; width]).get_mut(column) {
            *cell = value;
        }
    };
    for (column, (title, base, names)) in COLUMNS.into_iter().enumerate() {
        let further = FURTHER.into_iter().find(|one| one.0 == title);
        for number in 0..=HIGHEST {
            for name in [names(base + number), further.and_then(|(_, name)| name(base + number))].into_iter().flatten()
            {
                // It is the name of an identifier in Rust there.
                set(name.trim_start_matches("r#"), column, u16::try_from(number)?);
            }
            // On an architecture that neither names as its kernel does.
            if let (None, Some(name)) = (further, names(base + number))
                && let Some(short) = name.strip_suffix("_time32").or(name.strip_suffix("32"))
                && (0..=HIGHEST).all(|other| names(base + other) != Some(short))
            {
                set(short, column, u16::try_from(number)?);
            }
        }
        if names(base + HIGHEST + 1).is_some() {
            return Err("a system call has a higher number than the table can hold".into());
        }
    }
    let arm = COLUMNS.iter().position(|(name, ..)| *name == "ARM").ok_or("no column for arm")?;
    for (name, number) in ARM_PRIVATE {
        set(name, arm, PRIVATE | number);
    }
    for (call, name) in (1..).zip(SOCKETCALL) {
        set(name, COLUMNS.len(), call);
    }
    for (name, call) in IPC {
        set(name, COLUMNS.len(), BY_IPC | call);
    }
    drop_inner_names(&mut rows);

    let mut code = String::new();
    for (column, (name, ..)) in COLUMNS.iter().enumerate() {
        code += &format!("pub(crate) const {name}: usize = {column};\n");
    }
    code += &format!("const MULTIPLEXED: usize = {};\n", COLUMNS.len());
    let names: Vec<&str> = rows.keys().copied().collect();
    code += &format!("const NAMES: &str = {:?};\n", names.concat());
    let mut starts = vec![0];
    for name in &names {
        starts.push(starts.last().unwrap_or(&0) + name.len());
    }
    code += &format!("static STARTS: [u16; {}] = {starts:?};\n", starts.len());
    let numbers: Vec<&Vec<u16>> = rows.values().collect();
    code += &format!("static NUMBERS: [[u16; {width}]; {}] = {numbers:?};\n", numbers.len());
    fs::write(PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?).join("table.rs"), code)?;
    Ok(())
}

/// Leaves out the names that the kernel has only inside where there is the other.
fn drop_inner_names(rows: &mut BTreeMap<&str, Vec<u16>>) {
    let names: Vec<&str> = rows.keys().copied().collect();
    for name in names {
        let outer = name.strip_suffix("_time32").or(name.strip_suffix("32")).and_then(|short| rows.get(short).cloned());
        let (Some(outer), Some(inner)) = (outer, rows.get_mut(name)) else { continue };
        for (inner, _) in inner.iter_mut().zip(outer).filter(|(inner, outer)| **inner == *outer) {
            *inner = NONE;
        }
        if inner.iter().all(|number| *number == NONE) {
            rows.remove(name);
        }
    }
}
