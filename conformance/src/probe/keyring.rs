//! An attacker who lays out keyrings for others to join by their names.

use std::ffi::CStr;
use std::io::BufRead;

use crate::reach::number::{ADD_KEY, KEYCTL};
use crate::{answer, syscall};

/// Makes them, says `ready`, waits until stdin ends.
pub(crate) fn lay_out<'n>(names: impl Iterator<Item = &'n CStr>) {
    const JOIN_SESSION_KEYRING: i64 = 1;
    const SET_PERMISSIONS: i64 = 5;
    for name in names {
        let ring = answer(syscall(KEYCTL, JOIN_SESSION_KEYRING, name.as_ptr(), 0i64, 0i64, 0i64));
        let key = answer(syscall(ADD_KEY, c"user".as_ptr(), c"planted".as_ptr(), c"x".as_ptr(), 1i64, ring));
        let set = answer(syscall(KEYCTL, SET_PERMISSIONS, ring, 0x3f3f_3f3fi64, 0i64, 0i64));
        // A keyring goes with its last user: another process keeps it.
        let kept = answer(syscall(KEYCTL, 8i64, ring, -2i64, 0i64, 0i64));
        println!("{} {}", name.to_string_lossy(), key > 0 && set == 0 && kept == 0);
    }
    println!("ready");
    std::io::stdin().lock().lines().for_each(drop);
}
