//! Security modules of the kernel: whether it has the one that a label or profile is for.
//!
//! They are written by init, to a procfs of its own (CVE-2019-16884, CVE-2025-52881). A kernel without the module answers that with
//! no more than EINVAL, and one with another module might take a label for something else.

use std::fs;

use crate::config::{ConfigError, Process};
use crate::error::{Error, Result};

/// Goes on only if the kernel has what the process's label and profile need.
pub(crate) fn check(process: &Process) -> Result<()> {
    // An error tells what the setting asks for, and that it cannot be had here.
    let absent = |setting: &str, module: &str| {
        Err(Error::from(ConfigError::new(
            format_args!("/process/{setting}"),
            format!("this kernel runs without {module}"),
        )))
    };
    // Its file system is registered when it is enabled, and only then.
    let has_selinux = || fs::read("/proc/filesystems").is_ok_and(|all| contains_line(&all, b"nodev\tselinuxfs"));
    if !process.selinux_label.is_empty() && !has_selinux() {
        return absent("selinuxLabel", "SELinux");
    }
    let has_apparmor = || fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with(b"Y"));
    if process.needs_apparmor() && !has_apparmor() {
        return absent("apparmorProfile", "AppArmor");
    }
    Ok(())
}

fn contains_line(text: &[u8], line: &[u8]) -> bool {
    text.split(|byte| *byte == b'\n').any(|found| found == line)
}
