//! Root file systems made on the spot from one static busybox.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// The commands that cases use inside containers.
const APPLETS: &[&str] = &[
    "[",
    "awk",
    "cat",
    "chmod",
    "chown",
    "cp",
    "cut",
    "date",
    "dd",
    "df",
    "dmesg",
    "dnsdomainname",
    "echo",
    "env",
    "expr",
    "false",
    "find",
    "grep",
    "head",
    "hostname",
    "id",
    "ifconfig",
    "ionice",
    "ip",
    "kill",
    "ln",
    "ls",
    "md5sum",
    "mkdir",
    "mkfifo",
    "mknod",
    "mount",
    "mv",
    "nc",
    "od",
    "printf",
    "ps",
    "pwd",
    "readlink",
    "rm",
    "rmdir",
    "sed",
    "seq",
    "setsid",
    "sh",
    "sleep",
    "sort",
    "stat",
    "stty",
    "su",
    "sync",
    "tail",
    "test",
    "touch",
    "tr",
    "true",
    "tty",
    "umount",
    "uname",
    "unshare",
    "wc",
    "yes",
];

/// Finds a busybox that needs no library.
pub fn busybox() -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    std::env::split_paths(&path)
        .map(|dir| dir.join("busybox"))
        .find(|file| fs::read(file).is_ok_and(|content| !needs_a_loader(&content)))
        .ok_or_else(|| "no static busybox in $PATH (Debian: apt install busybox-static)".to_owned())
}

/// Whether an ELF names a dynamic loader: a crude look for the loader's path suffices here.
fn needs_a_loader(elf: &[u8]) -> bool {
    let head = elf.get(..4096).unwrap_or(elf);
    head.windows(8).any(|window| window == b"/ld-linu" || window == b"/ld-musl")
}

/// Copies busybox to `base`, to be linked into each root file system.
pub fn make_base(base: &Path) -> Result<(), String> {
    let busybox = busybox()?;
    let tell = |e: io::Error| format!("copying {} to {}: {e}", busybox.display(), base.display());
    fs::copy(&busybox, base).map_err(tell)?;
    fs::set_permissions(base, fs::Permissions::from_mode(0o755)).map_err(tell)
}

/// Makes a root file system at `root`, its busybox a hard link to `base` (nothing in a container can
/// write to a running program, and no case writes to it).
pub fn make(root: &Path, base: &Path) -> io::Result<()> {
    for dir in ["bin", "dev", "etc", "proc", "root", "sys", "tmp", "usr", "var"] {
        fs::create_dir_all(root.join(dir))?;
    }
    fs::set_permissions(root, fs::Permissions::from_mode(0o755))?;
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    fs::hard_link(base, root.join("bin/busybox"))?;
    for applet in APPLETS {
        symlink("busybox", root.join("bin").join(applet))?;
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/tmp:/bin/sh\n")?;
    fs::write(root.join("etc/group"), "root:x:0:\nuser:x:1000:\n")
}
