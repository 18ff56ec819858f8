//! Makes one table of the names and numbers of system calls on all architectures from the crates `syscall-numbers` and
//! `syscalls`, in the form that src/table.rs describes.
//!
//! Neither crate has all: `syscalls` lacks x32 and the smaller architectures, and some names of aarch64; `syscall-numbers`
//! lacks calls of x86 and LoongArch, and names others by the kernel's functions.

use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::c_long;
use std::path::PathBuf;
use std::{env, fs};

use syscall_numbers::{aarch64, m68k, mips64, mipsn32, powerpc64, s390x, sh, x32, x86_64};

/// An architecture has no such call.
const NONE: u16 = 0xffff;

type Name = fn(c_long) -> Option<&'static str>;

/// The names of an architecture in the crate `syscalls`, which writes those that are words of Rust as Rust does.
macro_rules! syscalls {
    ($architecture:ident) => {
        |number| {
            Some(syscalls::$architecture::Sysno::new(usize::try_from(number).ok()?)?.name().trim_start_matches("r#"))
        }
    };
}

/// The columns of the table: their name, what is subtracted from the numbers, and where these come from.
const COLUMNS: [(&str, c_long, Name); 15] = [
    ("X86_64", 0, x86_64::sys_call_name),
    ("X86", 0, syscalls!(x86)),
    ("X32", 0x4000_0000, x32::sys_call_name),
    ("AARCH64", 0, aarch64::sys_call_name),
    ("ARM", 0, syscalls!(arm)),
    ("RISCV64", 0, syscalls!(riscv64)),
    ("S390X", 0, s390x::sys_call_name),
    ("PPC64", 0, powerpc64::sys_call_name),
    ("PPC", 0, syscalls!(powerpc)),
    ("LOONGARCH64", 0, syscalls!(loongarch64)),
    ("MIPS", 4000, syscalls!(mips)),
    ("MIPS64", 5000, mips64::sys_call_name),
    ("MIPS64N32", 6000, mipsn32::sys_call_name),
    ("M68K", 0, m68k::sys_call_name),
    ("SH", 0, sh::sys_call_name),
];

/// The name of a call for programs where the crates have the name of the kernel's function, if the architecture has no other
/// call of that name.
fn proper(name: &'static str) -> Option<&'static str> {
    let proper = match name {
        "fstatat" => "newfstatat",
        _ => name.strip_suffix("_time32").or(name.strip_suffix("32"))?,
    };
    (0..HIGHEST).any(|number| x86_64::sys_call_name(number) == Some(proper)).then_some(proper)
}

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
    for (column, (_, base, name)) in COLUMNS.into_iter().enumerate() {
        let calls: Vec<_> = (0..=HIGHEST).filter_map(|number| Some((name(base + number)?, number))).collect();
        for &(name, number) in &calls {
            let proper = proper(name).filter(|proper| calls.iter().all(|call| call.0 != *proper));
            set(proper.unwrap_or(name), column, u16::try_from(number)?);
        }
        if name(base + HIGHEST + 1).is_some() {
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

    let mut code = String::new();
    for (column, (name, ..)) in COLUMNS.iter().enumerate() {
        code += &format!("pub(crate) const {name}: usize = {column};\n");
    }
    code += &format!("const MULTIPLEXED: usize = {};\n", COLUMNS.len());
    let names: Vec<&str> = rows.keys().copied().collect();
    code += &format!("const NAMES: &[u8] = b{:?};\n", names.concat());
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
