//! The setting `process`.

use serde_json::{Value, json};

use super::path;
use super::reader::{ConfigError, Node, Result};
use super::scheduling::{self, Affinity, IoPriority, Scheduler};

/// What to execute, and as whom.
#[derive(Clone, Debug, Default)]
pub(crate) struct Process {
    /// The program's file, when it is not the one that `args[0]` names.
    pub(crate) executable: Option<String>,
    /// The environment is given as a whole: nothing is added, and an empty `HOME` is what it is.
    pub(crate) env_is_exact: bool,
    /// Empty: the configuration has no process, so that its container cannot be started.
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<String>,
    /// Absolute and clean.
    pub(crate) cwd: String,
    pub(crate) user: User,
    pub(crate) capabilities: Capabilities,
    pub(crate) rlimits: Vec<Rlimit>,
    pub(crate) no_new_privileges: bool,
    /// `Some(0)` is not `None`: containers of an engine with a score of its own want to be set back.
    pub(crate) oom_score_adj: Option<i32>,
    pub(crate) scheduler: Option<Scheduler>,
    pub(crate) io_priority: Option<IoPriority>,
    pub(crate) exec_affinity: Affinity,
    /// Empty: none, as the one below.
    pub(crate) selinux_label: String,
    pub(crate) apparmor_profile: String,
    pub(crate) terminal: bool,
    /// Rows and columns of the terminal.
    pub(crate) console_size: Option<(u32, u32)>,
}

/// `process.user`.
#[derive(Clone, Debug, Default)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) additional_gids: Vec<u32>,
    pub(crate) umask: Option<u32>,
}

/// `process.capabilities`: bit N of a set is capability N. Without the setting all sets are empty.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Capabilities {
    pub(crate) bounding: u64,
    pub(crate) effective: u64,
    pub(crate) permitted: u64,
    pub(crate) inheritable: u64,
    pub(crate) ambient: u64,
}

/// One of `process.rlimits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rlimit {
    /// `RLIMIT_*`.
    pub(crate) resource: u32,
    pub(crate) soft: u64,
    pub(crate) hard: u64,
}

impl Process {
    /// Of a configuration without the setting.
    pub(super) fn absent() -> Process {
        Process { cwd: "/".to_owned(), ..Process::default() }
    }

    /// Whether there is something to start.
    pub(crate) fn check_given(&self) -> Result<()> {
        match self.args.is_empty() {
            true => Err(ConfigError::new("/process", "required to start the container, but missing")),
            false => Ok(()),
        }
    }

    /// Reads a `process` object that stands alone.
    pub(crate) fn from_value(value: &Value, warnings: &mut Vec<String>) -> Result<Process> {
        let document = json!({ "process": value });
        read(&Node::document(&document).required("process")?, warnings)
    }

    /// Whether only a kernel with AppArmor can do what is asked for. Without it all processes are unconfined.
    pub(crate) fn needs_apparmor(&self) -> bool {
        !matches!(self.apparmor_profile.as_str(), "" | UNCONFINED)
    }
}

/// The profile that is none.
const UNCONFINED: &str = "unconfined";

pub(super) fn read(node: &Node<'_, '_>, warnings: &mut Vec<String>) -> Result<Process> {
    // The specification has it for Windows alone, where it stands for `args`; here those are required.
    if let Some(command_line) = node.member("commandLine")?
        && !command_line.text()?.is_empty()
    {
        warnings.push(command_line.error("ignored: only args count on Linux").to_string());
    }
    let args = node.texts_of("args")?;
    if args.is_empty() {
        return Err(node.member("args")?.map_or_else(|| node.missing("args"), |args| args.error("must not be empty")));
    }
    let cwd = node.required("cwd")?;
    let clean = Some(cwd.text()?).filter(|path| path.starts_with('/'));
    let Some(clean) = clean.map(|path| path::clean(path).unwrap_or_else(|| "/".to_owned())) else {
        return Err(cwd.error("must be an absolute path"));
    };
    let capabilities = node.member("capabilities")?;
    Ok(Process {
        executable: None,
        env_is_exact: false,
        args,
        env: node.each("env", read_variable)?,
        cwd: clean,
        user: node.member("user")?.map_or_else(|| Ok(User::default()), |user| read_user(&user, warnings))?,
        capabilities: capabilities
            .map_or_else(|| Ok(Capabilities::default()), |sets| read_capabilities(&sets, warnings))?,
        rlimits: read_rlimits(node)?,
        no_new_privileges: node.boolean_of("noNewPrivileges")?,
        oom_score_adj: node
            .member("oomScoreAdj")?
            .map(|score| score.signed(-1000, 1000).map(|score| score as i32))
            .transpose()?,
        scheduler: scheduling::read_scheduler(node)?,
        io_priority: scheduling::read_io_priority(node)?,
        exec_affinity: scheduling::read_affinity(node)?,
        selinux_label: node.text_of("selinuxLabel")?.to_owned(),
        apparmor_profile: node.text_of("apparmorProfile")?.to_owned(),
        terminal: node.boolean_of("terminal")?,
        console_size: read_console_size(node)?,
    })
}

/// `NAME=value`.
pub(super) fn read_variable(node: &Node<'_, '_>) -> Result<String> {
    match node.text()? {
        variable if variable.find('=').is_some_and(|name| name > 0) => Ok(variable.to_owned()),
        variable => Err(node.error(format!("{variable:?} is not of the form NAME=VALUE"))),
    }
}

fn read_user(node: &Node<'_, '_>, warnings: &mut Vec<String>) -> Result<User> {
    // The specification has it for Windows alone: there is nobody here to look the name up.
    if let Some(username) = node.member("username")?
        && !username.text()?.is_empty()
    {
        warnings.push(username.error("ignored: only uid and gid count on Linux").to_string());
    }
    let id = |name| -> Result<u32> {
        let Some(member) = node.member(name)? else { return Ok(0) };
        valid_id(&member)
    };
    let umask = node.member("umask")?.map(|mask| {
        let value = mask.u32()?;
        if value > 0o777 { Err(mask.error(format!("{value} is more than 511 (octal 777)"))) } else { Ok(value) }
    });
    Ok(User {
        uid: id("uid")?,
        gid: id("gid")?,
        additional_gids: node.each("additionalGids", valid_id)?,
        umask: umask.transpose()?,
    })
}

/// A user or group id. The largest number means "unchanged" to setresuid(2) and is no id.
pub(super) fn valid_id(node: &Node<'_, '_>) -> Result<u32> {
    Ok(node.unsigned(u64::from(u32::MAX) - 1)? as u32)
}

fn read_console_size(node: &Node<'_, '_>) -> Result<Option<(u32, u32)>> {
    let Some(size) = node.member("consoleSize")? else { return Ok(None) };
    // struct winsize holds 16 bits of each.
    let side = |name| size.member(name)?.map_or(Ok(0), |side| side.unsigned(u16::MAX.into()));
    let (rows, columns) = (side("height")? as u32, side("width")? as u32);
    // A terminal that is not asked for has no size; zeros leave it as the kernel makes it.
    Ok(Some((rows, columns)).filter(|size| *size != (0, 0)))
}

/// The names by number, capabilities(7), without `CAP_`.
pub(crate) const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

fn read_capabilities(node: &Node<'_, '_>, warnings: &mut Vec<String>) -> Result<Capabilities> {
    let mut set = |name| -> Result<u64> {
        let Some(list) = node.member(name)? else { return Ok(0) };
        let mut bits = 0;
        for item in list.items()? {
            let name = item.text()?;
            let number =
                name.strip_prefix("CAP_").and_then(|name| CAPABILITIES.iter().position(|known| *known == name));
            match number {
                Some(number) => bits |= 1 << number,
                // config.md: what cannot be mapped to a kernel interface must be logged as a warning
                // and should not fail. It is less privilege, not more.
                None => warnings.push(item.error(format!("unknown capability {name:?}, ignored")).to_string()),
            }
        }
        Ok(bits)
    };
    Ok(Capabilities {
        bounding: set("bounding")?,
        effective: set("effective")?,
        permitted: set("permitted")?,
        inheritable: set("inheritable")?,
        ambient: set("ambient")?,
    })
}

/// The names by number, getrlimit(2), without `RLIMIT_`.
pub(crate) const RLIMITS: [&str; 16] = [
    "CPU",
    "FSIZE",
    "DATA",
    "STACK",
    "CORE",
    "RSS",
    "NPROC",
    "NOFILE",
    "MEMLOCK",
    "AS",
    "LOCKS",
    "SIGPENDING",
    "MSGQUEUE",
    "NICE",
    "RTPRIO",
    "RTTIME",
];

fn read_rlimits(node: &Node<'_, '_>) -> Result<Vec<Rlimit>> {
    let mut seen = 0_u32;
    node.each("rlimits", |item| {
        let name = item.required_text("type")?;
        let number = name.strip_prefix("RLIMIT_").and_then(|name| RLIMITS.iter().position(|known| *known == name));
        let kind = item.required("type")?;
        let Some(number) = number else { return Err(kind.error(format!("unknown resource limit {name:?}"))) };
        if seen & 1 << number != 0 {
            return Err(kind.error(format!("{name} is set twice")));
        }
        seen |= 1 << number;
        let soft = item.required("soft")?.unsigned(u64::MAX)?;
        let hard = item.required("hard")?.unsigned(u64::MAX)?;
        if soft > hard {
            return Err(item.error(format!("the soft limit {soft} is above the hard limit {hard}")));
        }
        Ok(Rlimit { resource: number as u32, soft, hard })
    })
}
