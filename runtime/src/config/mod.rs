//! The configuration of a container: `config.json`, read, checked and refused where it asks for what
//! this version cannot do. Pure: no system calls, no environment, no clock.
//!
//! Rules that hold for every setting: `null` is as good as absent; a wrong type is an error that names
//! the JSON pointer; unknown properties are ignored, as the specification demands (config.md,
//! "Extensibility"); known ones that are not supported are refused when they ask for anything.

mod hooks;
mod intel_rdt;
mod linux;
mod memory;
mod mounts;
mod net_devices;
pub(crate) mod number_list;
mod path;
mod process;
mod reader;
mod resources;
mod scheduling;
mod seccomp;
mod sysctl;
mod time_offsets;
mod unsupported;

#[cfg(test)]
mod anywhere_tests;
#[cfg(test)]
mod mount_tests;
#[cfg(test)]
mod namespaced_tests;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod scheduling_tests;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

pub(crate) use hooks::{Hook, Hooks, Moment};
pub(crate) use intel_rdt::IntelRdt;
pub(crate) use linux::{Device, DeviceKind, IdMapping, Linux, NAMESPACES, namespace};
pub(crate) use memory::{MEMORY_FLAGS, MEMORY_MODES, PERSONALITIES};
pub use mounts::mount_options;
pub(crate) use mounts::{Attributes, Mount, MountIdMap, MountKind, Parameter, Propagation, attr, legacy, propagation};
pub(crate) use net_devices::NetDevice;
pub(crate) use process::{CAPABILITIES, Process, RLIMITS};
pub use reader::ConfigError;
pub(crate) use reader::escape;
use reader::{Node, Result};
pub(crate) use resources::{Asked, POINTER as RESOURCES, misfit, read_resources, zero_pids_is_a_limit};
pub(crate) use scheduling::{IO_CLASSES, IoPriority, POLICIES, SCHEDULER_FLAGS, Scheduler};
pub(crate) use seccomp::{FLAGS as SECCOMP_FLAGS, Seccomp, SyscallRule};
pub(crate) use sysctl::Sysctl;

const OTHER_PLATFORM: &str = "for another platform: this runtime makes Linux containers";

/// The annotation that Podman sets for `--group-add keep-groups`; crun's.
const KEEP_GROUPS: &str = "run.oci.keep_original_groups";

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) oci_version: String,
    pub(crate) process: Process,
    pub(crate) root: Root,
    pub(crate) hostname: String,
    pub(crate) domainname: String,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) linux: Linux,
    pub(crate) hooks: Hooks,
    annotations: Vec<(String, String)>,
    warnings: Vec<String>,
    document: Document,
    /// The caller is in a user namespace other than the first: it may make no devices.
    pub(crate) caller_in_user_namespace: bool,
}

/// A configuration as it was read.
#[derive(Clone, Default)]
struct Document(Arc<[u8]>);

impl fmt::Debug for Document {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} bytes", self.0.len())
    }
}

/// The setting `root`.
#[derive(Clone, Debug)]
pub(crate) struct Root {
    pub(crate) path: String,
    pub(crate) readonly: bool,
}

impl Config {
    /// Reads `config.json`.
    ///
    /// # Errors
    /// When it is not JSON, is not a valid configuration, or asks for what is not supported.
    pub fn from_json(bytes: &[u8]) -> std::result::Result<Config, ConfigError> {
        Config::read(&Config::parse(bytes)?, bytes.into())
    }

    /// The document that `config.json` holds.
    pub(crate) fn parse(bytes: &[u8]) -> std::result::Result<Value, ConfigError> {
        serde_json::from_slice(bytes).map_err(|error| ConfigError::new("", format!("not JSON: {error}")))
    }

    /// Reads an already parsed `config.json`.
    ///
    /// # Errors
    /// As [`from_json`](Config::from_json).
    pub fn from_value(value: &Value) -> std::result::Result<Config, ConfigError> {
        Config::read(value, value.to_string().into_bytes().into())
    }

    fn read(value: &Value, bytes: Arc<[u8]>) -> std::result::Result<Config, ConfigError> {
        let document = Node::document(value);
        let mut warnings = Vec::new();
        let oci_version = read_version(&document, &mut warnings)?;
        unsupported::refuse(&document, unsupported::OTHER_PLATFORMS, OTHER_PLATFORM)?;
        let process = match document.member("process")? {
            Some(node) => process::read(&node, &mut warnings)?,
            None => Process::absent(),
        };
        let root = document.required("root")?;
        let root = Root { path: root.required_text("path")?.to_owned(), readonly: root.boolean_of("readonly")? };
        let mounts = mounts::read(&document, &mut warnings)?;
        let hooks = hooks::read(&document)?;
        let linux = linux::read(&document, &oci_version, &mut warnings)?;
        let mut config = Config {
            oci_version,
            hostname: read_uts_name(&document, "hostname", &linux)?,
            domainname: read_uts_name(&document, "domainname", &linux)?,
            process,
            root,
            mounts,
            linux,
            hooks,
            annotations: read_annotations(&document)?,
            warnings,
            document: Document(bytes),
            caller_in_user_namespace: false,
        };
        check_user_namespace(&config)?;
        check_id_maps(&config)?;
        check_groups(&mut config);
        check_cgroup_mounts(&mut config)?;
        check_no_mounts(&config)?;
        Ok(config)
    }

    /// Takes the specification's own types.
    ///
    /// # Errors
    /// As [`from_json`](Config::from_json).
    #[cfg(feature = "oci-spec")]
    pub fn from_spec(spec: &oci_spec::runtime::Spec) -> std::result::Result<Config, ConfigError> {
        let value = serde_json::to_value(spec).map_err(|error| ConfigError::new("", error.to_string()))?;
        Config::from_value(&value)
    }

    /// The whole configuration as it was read: JSON.
    pub fn document(&self) -> &[u8] {
        &self.document.0
    }

    /// The same for a caller that is in a user namespace other than the first, which the configuration does not tell.
    pub(crate) fn in_user_namespace(&self) -> Config {
        Config { caller_in_user_namespace: true, ..self.clone() }
    }

    /// The version of the specification that the configuration was written for.
    pub fn oci_version(&self) -> &str {
        &self.oci_version
    }

    /// `root.path` as written; a relative one counts from the bundle.
    pub fn root_path(&self) -> &str {
        &self.root.path
    }

    /// Whether the rootfs is to be read-only.
    pub fn readonly_root(&self) -> bool {
        self.root.readonly
    }

    /// The hostname to set.
    pub fn hostname(&self) -> Option<&str> {
        Some(self.hostname.as_str()).filter(|name| !name.is_empty())
    }

    /// Whether the process gets a terminal.
    pub fn terminal(&self) -> bool {
        self.process.terminal
    }

    /// The program and its arguments; at least one.
    pub fn args(&self) -> &[String] {
        &self.process.args
    }

    /// `linux.cgroupsPath` as written.
    pub fn cgroups_path(&self) -> Option<&str> {
        self.linux.cgroups_path.as_deref()
    }

    /// Whether the container has a namespace of its own, new or joined, of the kind that a `CLONE_NEW*` flag names.
    pub fn has_namespace(&self, clone_flag: u64) -> bool {
        self.linux.own() & clone_flag != 0
    }

    /// Whether it is a new one.
    pub(crate) fn makes_namespace(&self, kind: u64) -> bool {
        self.linux.namespaces & kind != 0
    }

    /// In a new user namespace only ids that are mapped exist.
    pub(crate) fn check_ids(&self, process: &Process) -> Result<()> {
        let linux = &self.linux;
        if linux.namespaces & namespace::USER == 0 {
            return Ok(());
        }
        let unmapped = |pointer: String, id: u32| {
            Err(ConfigError::new(pointer, format!("{id} is not mapped in the container's user namespace")))
        };
        let user = &process.user;
        if !is_mapped(&linux.uid_mappings, user.uid) {
            return unmapped("/process/user/uid".to_owned(), user.uid);
        }
        if !is_mapped(&linux.gid_mappings, user.gid) {
            return unmapped("/process/user/gid".to_owned(), user.gid);
        }
        for (index, gid) in user.additional_gids.iter().enumerate() {
            if !is_mapped(&linux.gid_mappings, *gid) {
                return unmapped(format!("/process/user/additionalGids/{index}"), *gid);
            }
        }
        Ok(())
    }

    /// Whether a mount of cgroup shows the container's cgroup by a bind mount.
    pub(crate) fn shows_own_cgroup(&self) -> bool {
        self.linux.own() & namespace::CGROUP == 0
    }

    /// The annotations, sorted by name.
    pub fn annotations(&self) -> &[(String, String)] {
        &self.annotations
    }

    /// Whether the process keeps the supplementary groups of the caller: what that may open by them, it then may, too.
    pub(crate) fn keeps_groups(&self) -> bool {
        self.annotations.iter().any(|(name, value)| name == KEEP_GROUPS && value == "1")
    }

    /// What was passed over, as the specification asks for, each with its JSON pointer.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

fn read_version(document: &Node<'_, '_>, warnings: &mut Vec<String>) -> Result<String> {
    let node = document.required("ociVersion")?;
    let version = node.text()?;
    let Some(major) = semver_major(version) else {
        return Err(node.error(format!("{version:?} is not a version such as 1.3.0")));
    };
    match major {
        "1" => {}
        // Written before the specification was done, and taken by other runtimes.
        "0" => warnings.push(node.error(format!("version {version:?} is taken as 1.0.0")).to_string()),
        _ => return Err(node.error(format!("version {version:?} is not supported, only 1.x.y"))),
    }
    Ok(version.to_owned())
}

/// The major number of a semantic version (semver.org, 2.0.0).
fn semver_major(version: &str) -> Option<&str> {
    let (version, build) = version.split_once('+').map_or((version, None), |(head, build)| (head, Some(build)));
    let (core, pre) = version.split_once('-').map_or((version, None), |(head, pre)| (head, Some(pre)));
    let identifiers = |text: &str| {
        text.split('.')
            .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'))
    };
    let number = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) && (part == "0" || !part.starts_with('0'))
    };
    let mut parts = core.split('.');
    let major = parts.next()?;
    let valid = number(major)
        && parts.next().is_some_and(number)
        && parts.next().is_some_and(number)
        && parts.next().is_none()
        && pre.is_none_or(identifiers)
        && build.is_none_or(identifiers);
    valid.then_some(major)
}

/// `hostname` or `domainname`.
fn read_uts_name(document: &Node<'_, '_>, name: &'static str, linux: &Linux) -> Result<String> {
    /// `__NEW_UTS_LEN`
    const LENGTH_MAX: usize = 64;
    let Some(node) = document.member(name)? else { return Ok(String::new()) };
    let text = node.text()?;
    if text.is_empty() {
        return Ok(String::new());
    }
    if linux.own() & namespace::UTS == 0 {
        return Err(node.error("needs a new namespace of type \"uts\", or one to join"));
    }
    if text.len() > LENGTH_MAX {
        return Err(node.error(format!("{} bytes, but the kernel takes at most {LENGTH_MAX}", text.len())));
    }
    Ok(text.to_owned())
}

fn read_annotations(document: &Node<'_, '_>) -> Result<Vec<(String, String)>> {
    let Some(node) = document.member("annotations")? else { return Ok(Vec::new()) };
    let mut annotations = Vec::new();
    for member in node.members()? {
        if member.name().is_empty() {
            return Err(member.error("an annotation needs a name"));
        }
        annotations.push((member.name().to_owned(), member.text()?.to_owned()));
    }
    Ok(annotations)
}

/// The caller's groups are kept as a whole or not at all: an image's user may have some, which nobody chose.
fn check_groups(config: &mut Config) {
    if config.keeps_groups() && !config.process.user.additional_gids.is_empty() {
        let message = format!("/process/user/additionalGids: passed over, since /annotations/{KEEP_GROUPS} is \"1\"");
        config.warnings.push(message);
    }
}

/// Of its own cgroup a container without a cgroup namespace gets a bind mount.
fn check_cgroup_mounts(config: &mut Config) -> Result<()> {
    if !config.shows_own_cgroup() {
        return Ok(());
    }
    let has_user = config.linux.own() & namespace::USER != 0;
    for mount in config.mounts.iter().filter(|mount| mount.kind == MountKind::Filesystem("cgroup2".to_owned())) {
        if let Some(parameter) = mount.parameters.first() {
            return Err(ConfigError::new(
                format_args!("/mounts/{}/options/{}", mount.index, parameter.option),
                "without a new namespace of type \"cgroup\" this is a bind mount of the container's cgroup, which has no \
                 such options",
            ));
        }
        if has_user && mount.attributes.and(mount.recursive_attributes).set & attr::RDONLY == 0 {
            config.warnings.push(format!(
                "/mounts/{}: mounted read-only: there is a user namespace, but no new namespace of type \"cgroup\"",
                mount.index
            ));
        }
    }
    Ok(())
}

/// Without a mount namespace the container has the host's mounts, and can have none of its own.
fn check_no_mounts(config: &Config) -> Result<()> {
    let linux = &config.linux;
    if linux.own() & namespace::MOUNT != 0 {
        return Ok(());
    }
    let first = |name: &'static str, is_there: bool| is_there.then_some(name);
    let asked = first("/mounts/0", !config.mounts.is_empty())
        .or(first("/linux/maskedPaths/0", !linux.masked_paths.is_empty()))
        .or(first("/linux/readonlyPaths/0", !linux.readonly_paths.is_empty()))
        .or(first("/root/readonly", config.root.readonly))
        .or(first("/linux/rootfsPropagation", linux.root_propagation.is_some()))
        .or(first("/process/terminal", config.process.terminal))
        // There devices are bind mounts.
        .or(first("/linux/namespaces", linux.own() & namespace::USER != 0));
    match asked {
        Some(pointer) => Err(ConfigError::new(pointer, "needs a namespace of type \"mount\", which there is not")),
        None => Ok(()),
    }
}

/// A mount without mappings of its own has those of the user namespace.
fn check_id_maps(config: &Config) -> Result<()> {
    let has_namespace = config.linux.own() & namespace::USER != 0;
    let lacks = |mount: &&Mount| mount.id_map.as_ref().is_some_and(|id_map| id_map.own.is_none());
    match config.mounts.iter().find(lacks) {
        Some(mount) if !has_namespace => Err(ConfigError::new(
            format_args!("/mounts/{}/uidMappings", mount.index),
            "required: there is no user namespace whose mappings would count",
        )),
        _ => Ok(()),
    }
}

/// In a user namespace only ids that are mapped exist.
fn check_user_namespace(config: &Config) -> Result<()> {
    if config.linux.namespaces & namespace::USER == 0 {
        return Ok(());
    }
    config.check_ids(&config.process)
}

/// Whether an id of the container exists on the host.
pub(crate) fn is_mapped(mappings: &[IdMapping], id: u32) -> bool {
    mappings.iter().any(|map| id >= map.container && id - map.container < map.size)
}
