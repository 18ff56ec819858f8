//! What a container says of itself: its `/etc/passwd`, read by init, and what init, or what has taken its place, says to the
//! parent in messages and in the memory that they share. The home directory is that of a naive reading; every message is
//! one that the user can be told.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::{Corpus, fuzz_target};
use no_frills::{CompileOptions, Config, Program, compile, fuzzing};
use no_frills_fuzz::{default_config, within};
use serde_json::json;

#[path = "../../crates/init/src/program/home.rs"]
#[expect(dead_code, reason = "execve alone needs the variable's address")]
mod home;

/// What of the kernel init uses to read a file: here, one of these bytes, in pieces.
mod kernel {
    use std::cell::RefCell;

    /// What init knows of a call that failed; none does here.
    pub(crate) struct Failure {
        pub(crate) errno: i32,
    }
    pub(crate) type Result<T> = std::result::Result<T, Failure>;
    #[derive(Clone, Copy)]
    pub(crate) struct Fd;
    pub(crate) const CURRENT: Fd = Fd;
    pub(crate) const O_CLOEXEC: u64 = 0;
    pub(crate) const O_NOCTTY: u64 = 0;
    pub(crate) const O_NONBLOCK: u64 = 0;
    pub(crate) const RESOLVE_NO_MAGICLINKS: u64 = 0;
    pub(crate) const S_IFREG: u16 = 0o100_000;

    pub(crate) mod errno {
        pub(crate) use nix::libc::{EACCES, ELOOP, ENODEV, ENOENT, ENOTDIR, ENXIO};
    }

    pub(crate) struct Stat;

    impl Stat {
        pub(crate) fn kind(&self) -> u16 {
            S_IFREG
        }
    }

    pub(crate) fn stat_fd(_: Fd) -> Result<Stat> {
        Ok(Stat)
    }

    thread_local! { pub(crate) static FILE: RefCell<(Vec<u8>, usize)> = const { RefCell::new((Vec::new(), 0)) }; }

    pub(crate) fn openat2(_: Fd, _: &std::ffi::CStr, _: u64, _: u64, _: u64) -> Result<Fd> {
        Ok(Fd)
    }

    pub(crate) fn read(_: Fd, room: &mut [u8]) -> Result<usize> {
        assert!(!room.is_empty());
        FILE.with_borrow_mut(|(left, piece)| {
            let length = left.len().min(room.len()).min((*piece).max(1));
            for (to, from) in room.iter_mut().zip(left.drain(..length)) {
                *to = from;
            }
            Ok(length)
        })
    }
}

/// What of init's machine it changes.
mod execute {
    pub(crate) struct Machine<'m> {
        pub(crate) home: crate::home::Home,
        pub(crate) lifetime: std::marker::PhantomData<&'m ()>,
    }

    impl Machine<'_> {
        pub(crate) fn done(&self, _: crate::kernel::Fd) {}
    }
}

/// A program with every kind of step.
static PROGRAM: LazyLock<Program> = LazyLock::new(|| {
    let mut config = default_config();
    config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW"});
    config["process"]["user"] = json!({"uid": 1, "gid": 2, "additionalGids": [3]});
    let config = Config::from_value(&config).expect("a configuration");
    compile(&config, &CompileOptions::new(std::path::Path::new("/b"), "x")).expect("a program")
});

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Some((kind, rest)) = bytes.split_first() else { return Corpus::Reject };
    match kind % 3 {
        0 => passwd(rest),
        1 => {
            let program = &*PROGRAM;
            let Some(told) = within(64 << 10, || fuzzing::told(program, rest)) else { return Corpus::Keep };
            assert!(!told.is_empty());
        }
        _ => {
            let Ok(words) = rest.try_into() else { return Corpus::Reject };
            let told = fuzzing::handed_over(&PROGRAM, words).expect("memory");
            assert!(told.is_none_or(|told| !told.is_empty()));
        }
    }
    Corpus::Keep
});

fn passwd(bytes: &[u8]) {
    let [piece, uid, file @ ..] = bytes else { return };
    let (piece, uid) = (usize::from(*piece) * 16, u32::from(*uid));
    kernel::FILE.set((file.to_vec(), piece));
    let mut machine = execute::Machine { home: home::Home::new(), lifetime: std::marker::PhantomData };
    assert!(machine.look_up_home(uid).is_ok());
    let found = machine.home.value();
    // A file that is longer than init's patience is read in part.
    if kernel::FILE.with_borrow(|(left, _)| left.is_empty()) {
        let expected = naive(file, uid).filter(|home| home.len() + "HOME=".len() < home::HOME_MAX).unwrap_or(b"/");
        assert_eq!(found, [b"HOME=", expected].concat(), "{}", file.escape_ascii());
    }
    assert!(found.starts_with(b"HOME=") && found.len() > "HOME=".len());
}

/// The sixth field of the first line whose third is the number; lines that are longer than 4096 bytes do not count.
fn naive(file: &[u8], uid: u32) -> Option<&[u8]> {
    let text = file.strip_suffix(b"\n").unwrap_or(file);
    text.split(|byte| *byte == b'\n').filter(|line| line.len() < 4096).find_map(|line| {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
        let number =
            std::str::from_utf8(fields.get(2)?).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
        let is_it = number.parse() == Ok(uid);
        fields.get(5).copied().filter(|home| is_it && !home.is_empty())
    })
}
