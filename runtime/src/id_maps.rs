//! Mapping the ids of a new user namespace (user_namespaces(7)).
//!
//! Root writes the maps. An ordinary user may map its own id alone, and its own group if setgroups(2) is denied in
//! the namespace; other ids are mapped by newuidmap(1) and newgidmap(1), which are set-uid and look up in `/etc/subuid` and
//! `/etc/subgid` what the user was given.

use std::io::ErrorKind;
use std::process::{Command, Stdio};

use nix::errno::Errno;

use crate::compile::{Caller, IdMaps, Pointer};
use crate::config::ConfigError;
use crate::error::{Error, Result};
use crate::init::write_proc;
use crate::rootless::{self, Helper};

/// Maps the ids of a process's user namespace.
pub(crate) fn write(pid: i32, maps: &IdMaps, caller: Option<Caller>) -> Result<()> {
    let own = caller.map_or((true, true), |caller| (maps.is_own_uid(caller), maps.is_own_gid(caller)));
    match own.0 {
        true => write_proc(pid, "uid_map", maps.uid.as_bytes(), Pointer::UID_MAPPINGS)?,
        false => run(&UIDS, Pointer::UID_MAPPINGS, pid, &maps.uid, caller.map_or(0, |caller| caller.uid))?,
    }
    match own.1 {
        true if caller.is_some() => {
            write_proc(pid, "setgroups", b"deny", Pointer::GID_MAPPINGS)?;
            write_proc(pid, "gid_map", maps.gid.as_bytes(), Pointer::GID_MAPPINGS)
        }
        true => write_proc(pid, "gid_map", maps.gid.as_bytes(), Pointer::GID_MAPPINGS),
        false => run(&GIDS, Pointer::GID_MAPPINGS, pid, &maps.gid, caller.map_or(0, |caller| caller.gid)),
    }
}

const UIDS: Helper = Helper { name: "newuidmap", file: "/etc/subuid", option: "--add-subuids" };
const GIDS: Helper = Helper { name: "newgidmap", file: "/etc/subgid", option: "--add-subgids" };

fn run(helper: &Helper, pointer: Pointer, pid: i32, map: &str, own: u32) -> Result<()> {
    let name = helper.name;
    let mut command = Command::new(name);
    command.arg(pid.to_string()).args(map.split_ascii_whitespace());
    let output = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).output();
    let output = output.map_err(|error| match error.kind() {
        ErrorKind::NotFound => refused(
            pointer,
            &format!(
                "mapping ids that are not the user's own needs the program {name}, which is not in $PATH: install it \
                 (Debian and Ubuntu: the package uidmap; Fedora: shadow-utils; Arch: shadow)"
            ),
        ),
        _ => Error::System {
            pointer: pointer.to_string(),
            action: format!("running {name}"),
            errno: Errno::from_raw(error.raw_os_error().unwrap_or(Errno::EIO as i32)),
        },
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(refused(pointer, &rootless::about_maps(helper, map, own, said.trim())))
}

fn refused(pointer: Pointer, message: &str) -> Error {
    Error::Config(ConfigError::new(pointer, message))
}
