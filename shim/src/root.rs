//! Where the state of containers is kept.

use std::env;
use std::path::PathBuf;

use nix::unistd::geteuid;
use no_frills::Runtime;

use crate::cause::cause;
use crate::flags;
use crate::parse::Values;

const NAME: &str = "no-frills";

/// The runtime over the root that the flags or the environment name.
pub(crate) fn open(global: &Values) -> Result<Runtime, String> {
    let root = match global.value(&flags::ROOT) {
        Some(root) if root.is_empty() => return Err("--root takes a directory, not an empty text".to_owned()),
        Some(root) => PathBuf::from(root),
        None => default_root()?,
    };
    Runtime::open(root).map_err(|error| error.to_string())
}

fn default_root() -> Result<PathBuf, String> {
    let user = env::var_os("XDG_RUNTIME_DIR").filter(|directory| !directory.is_empty());
    let privileged = geteuid().is_root();
    match user {
        Some(directory) if !privileged || is_root_of_a_user_namespace()? => Ok(PathBuf::from(directory).join(NAME)),
        None if !privileged => Err(nowhere()),
        _ => Ok(PathBuf::from("/run").join(NAME)),
    }
}

/// runc and crun try /run then, and fail for want of rights. A directory that is guessed would be another one after the next login.
#[cold]
fn nowhere() -> String {
    let own = format!("/run/user/{}", geteuid());
    let remedy = match std::path::Path::new(&own).is_dir() {
        true => format!("`export XDG_RUNTIME_DIR={own}`, as a login does (su and sudo do not)"),
        false => {
            format!(
                "a login or `loginctl enable-linger` makes {own} for it, without systemd name a directory with --root"
            )
        }
    };
    format!("neither --root nor $XDG_RUNTIME_DIR says where to keep state: {remedy}")
}

/// Whether uid 0 is a user's own, as under rootless Podman: /run is then not ours. A container's root
/// that calls itself so has a /run of its own.
fn is_root_of_a_user_namespace() -> Result<bool, String> {
    if env::var_os("USER").is_some_and(|user| user == "root") {
        return Ok(false);
    }
    let map = std::fs::read_to_string("/proc/self/uid_map")
        .map_err(|error| format!("reading /proc/self/uid_map: {}", cause(error)))?;
    Ok(!maps_every_id(&map))
}

/// Whether a uid_map is the one of the first user namespace.
fn maps_every_id(map: &str) -> bool {
    map.split_ascii_whitespace().eq(["0", "0", "4294967295"])
}

#[cfg(test)]
mod tests {
    use super::maps_every_id;

    #[test]
    fn first_user_namespace() {
        assert!(maps_every_id("         0          0 4294967295\n"));
        assert!(!maps_every_id("         0       1000          1\n         1     100000      65536\n"));
        assert!(!maps_every_id(""));
    }
}
