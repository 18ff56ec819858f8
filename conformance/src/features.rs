//! What a machine may lack: a case that needs it says so (`Case::needs_features`), and is skipped, with the reason, without it.

use std::fmt;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::bundle::{Bundle, Test};
use crate::expect::{Verdict, check};

/// What not every machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Feature {
    /// AppArmor is on, and profiles can be loaded.
    AppArmor,
    /// systemd is the machine's first process.
    Systemd,
    /// An ordinary user has a systemd of its own: [`session`].
    Session,
}

impl Feature {
    /// Why the machine does not have it, if it does not.
    pub(crate) fn missing(self) -> Option<String> {
        match self {
            Self::AppArmor if !has_apparmor() => Some("AppArmor is not enabled".to_owned()),
            Self::AppArmor => match Command::new("apparmor_parser").arg("--version").output() {
                Err(error) => Some(format!("running apparmor_parser: {error}")),
                Ok(_) => None,
            },
            // As sd_booted(3) has it; a case's own first process is another.
            Self::Systemd if Path::new("/run/systemd/system").is_dir() => None,
            Self::Systemd => Some("systemd is not the first process here".to_owned()),
            Self::Session if session().is_some() => None,
            Self::Session => Some("no ordinary user has a systemd session here".to_owned()),
        }
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AppArmor => "AppArmor",
            Self::Systemd => "systemd",
            Self::Session => "a user's systemd session",
        })
    }
}

/// The id of an ordinary user whose systemd runs.
pub(crate) fn session() -> Option<u32> {
    let users = fs::read_dir("/run/user").into_iter().flatten().flatten();
    let ids = users.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter(|id| *id != 0 && Path::new(&format!("/run/user/{id}/systemd/private")).exists()).min()
}

/// Whether AppArmor is on.
pub(crate) fn has_apparmor() -> bool {
    fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with('Y'))
}

/// A profile that is loaded as long as this lives.
pub(crate) struct Profile {
    /// Unique on the machine.
    pub(crate) name: String,
    text: String,
}

impl Profile {
    /// Loads a profile that allows everything but what these rules deny.
    pub(crate) fn load(t: &Test, name: &str, rules: &str) -> Verdict<Self> {
        Self::loaded(t, "", name, rules)
    }

    /// The same with rules that an ABI has to be named for: of user namespaces.
    pub(crate) fn load_with_abi(t: &Test, name: &str, rules: &str) -> Verdict<Self> {
        Self::loaded(t, "abi <abi/4.0>,\n", name, rules)
    }

    fn loaded(t: &Test, abi: &str, name: &str, rules: &str) -> Verdict<Self> {
        let name = t.name(name);
        let allowed = "file, capability, network, mount, umount, pivot_root, signal, ptrace, unix,";
        let text = format!("{abi}profile {name} flags=(attach_disconnected) {{ {allowed} {rules} }}\n");
        let profile = Self { name, text };
        profile.parser("--replace")?;
        Ok(profile)
    }

    fn parser(&self, what: &str) -> Verdict {
        let mut command = Command::new("apparmor_parser");
        // Without an ABI the parser warns, and leaves out rules that are newer than itself.
        command.args(["--skip-cache", "--quiet", what]).stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(self.text.as_bytes())?;
        }
        let output = child.wait_with_output()?;
        let told = String::from_utf8_lossy(&output.stderr);
        check(output.status.success(), || format!("apparmor_parser {what}: {}: {told}", output.status))
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        // The case has its verdict already, and the name is its own.
        self.parser("--remove").unwrap_or_default();
    }
}

/// The container's cgroup has this controller, which cgroup v2 has here (`Case::needs_controllers`): all cgroups above it hand it on.
pub(crate) fn controller(b: &Bundle, name: &str) -> Verdict {
    let mount = &b.test.cgroup_mount;
    let cgroup = b.cgroup_dir();
    let mut above: Vec<_> = cgroup.ancestors().skip(1).take_while(|dir| dir.starts_with(mount)).collect();
    above.reverse();
    for dir in above {
        fs::write(dir.join("cgroup.subtree_control"), format!("+{name}"))?;
    }
    Ok(())
}
