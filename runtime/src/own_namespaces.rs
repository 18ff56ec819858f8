//! Settings that change a namespace, where that is joined by path: it must not be the caller's own, or they would
//! change the host.

use std::os::unix::fs::MetadataExt;

use crate::config::{Config, ConfigError, NAMESPACES, Sysctl, namespace};
use crate::error::{Error, Result};

/// Refuses what would be set in the caller's own namespaces.
pub(crate) fn check(config: &Config) -> Result<()> {
    let linux = &config.linux;
    if linux.joined.is_empty() {
        return Ok(());
    }
    for joined in &linux.joined {
        let Some(pointer) = changing(config, joined.kind) else { continue };
        let Some((_, name)) = NAMESPACES.iter().find(|(kind, _)| *kind == joined.kind) else { continue };
        let file = match joined.kind {
            namespace::NETWORK => "net",
            _ => name,
        };
        let own = std::path::PathBuf::from(format!("/proc/thread-self/ns/{file}"));
        let path = std::path::Path::new(&joined.path);
        let key = |path: &std::path::Path| std::fs::metadata(path).map(|file| (file.dev(), file.ino()));
        let host = key(&own).map_err(Error::at("finding the namespace", &own))?;
        if key(path).map_err(Error::at("finding the namespace", path))? == host {
            let message = format!("needs a namespace of type {name:?} that is not the host's");
            return Err(ConfigError::new(pointer, message).into());
        }
    }
    Ok(())
}

/// The first setting that changes namespaces of a kind.
fn changing(config: &Config, kind: u64) -> Option<String> {
    let linux = &config.linux;
    let sysctl = linux.sysctls.iter().find(|sysctl| sysctl.namespace == kind);
    let set = |name: &str, value: &str| (!value.is_empty()).then(|| name.to_owned());
    let other = match kind {
        namespace::UTS => set("/hostname", &config.hostname).or_else(|| set("/domainname", &config.domainname)),
        namespace::NETWORK => linux.net_devices.first().map(|_| "/linux/netDevices".to_owned()),
        _ => None,
    };
    other.or_else(|| sysctl.map(Sysctl::pointer))
}
