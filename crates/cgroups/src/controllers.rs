//! Controllers: handed on from cgroup to cgroup, from the top of the hierarchy down to where they are needed.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat};

use crate::cgroup::{Cgroup, not_made};
use crate::error::{Error, Result};
use crate::hierarchy::{Controller, Hierarchy, controller_of_v1};
use crate::resources::{Absent, Write};

const HANDED_ON: &str = "cgroup.subtree_control";
const THERE: &str = "cgroup.controllers";

/// A controller, and the first setting that needs it.
struct Need<'w> {
    controller: &'w str,
    setting: &'w str,
}

impl Cgroup {
    /// Sees to it that the cgroup, which exists, has the controllers that these writes need, and no others: those that are
    /// missing are enabled in its parents, from the top down. Where nothing is needed, nothing is looked at.
    ///
    /// # Errors
    /// [`Error::Controller`], which says which controller cannot be had, why, and what to do about it.
    pub fn enable_controllers<'w>(&self, writes: impl IntoIterator<Item = &'w Write>) -> Result<()> {
        let mut needed: Vec<Need<'_>> = Vec::new();
        for write in writes.into_iter().filter(|write| write.absent != Absent::Skip) {
            if let Some(controller) = write.controller()
                && !needed.iter().any(|need| need.controller == controller)
            {
                needed.push(Need { controller, setting: &write.setting });
            }
        }
        if needed.is_empty() {
            return Ok(());
        }
        let there = words(&self.path, THERE)?;
        needed.retain(|need| !has(&there, need.controller));
        if needed.is_empty() {
            return Ok(());
        }
        let top = self.relative().components().count() as u32;
        for up in (1..=top).rev() {
            hand_on(self.ancestor(up), &needed, up == top)?;
        }
        Ok(())
    }
}

/// What [`Cgroup::create`] and [`Cgroup::enable_controllers`] would meet, without doing it.
impl Cgroup {
    /// Whether the cgroup can be made where it is to be, as far as that can be told: the caller may write there.
    ///
    /// # Errors
    /// As [`create`](Cgroup::create) would have it.
    pub fn may_be_made(&self) -> Result<()> {
        let there = self.nearest();
        if there == self.path {
            return Ok(());
        }
        faccessat(AT_FDCWD, there, AccessFlags::W_OK | AccessFlags::X_OK, AtFlags::AT_EACCESS)
            .map_err(|errno| not_made(&self.path, errno))
    }

    /// Which of these writes need a controller that cannot be handed on to the cgroup, which may not exist yet.
    pub fn lacks_controllers(&self, writes: &[Write]) -> Vec<Error> {
        let there = self.nearest();
        let top = self.relative().components().count() as u32;
        let lacks = |write: &Write| -> Result<()> {
            let Some(controller) = write.controller() else { return Ok(()) };
            let need = Need { controller, setting: &write.setting };
            for up in (1..=top).rev() {
                let path = self.ancestor(up);
                // What is missing is made, and can hand on whatever it is given.
                if !there.starts_with(path) || has(&words(path, HANDED_ON)?, controller) {
                    continue;
                }
                // Below the top it comes with what is handed on from there.
                if up == top && !has(&words(path, THERE)?, controller) {
                    return Err(need.refused(why_not_at_top(path, controller)?));
                }
                let is_of_domains = !matches!(controller, "cpu" | "cpuset" | "perf_event" | "pids");
                // The hierarchy's own root, which has no type, may have processes and hand on.
                if is_of_domains && path.join("cgroup.type").exists() && !words(path, "cgroup.procs")?.trim().is_empty()
                {
                    return Err(need.refused(why_not_handed_on(path, Errno::EBUSY)));
                }
                faccessat(AT_FDCWD, &path.join(HANDED_ON), AccessFlags::W_OK, AtFlags::AT_EACCESS)
                    .map_err(|errno| need.refused(why_not_handed_on(path, errno)))?;
            }
            Ok(())
        };
        writes.iter().filter(|write| write.absent != Absent::Skip).filter_map(|write| lacks(write).err()).collect()
    }

    /// The directory itself, or the nearest one above it that exists.
    fn nearest(&self) -> &Path {
        let top = self.relative().components().count() as u32;
        (0..=top).map(|up| self.ancestor(up)).find(|path| path.is_dir()).unwrap_or(&self.path)
    }
}

/// Hands the controllers on to the children of the cgroup at `path`.
fn hand_on(path: &Path, needed: &[Need<'_>], is_top: bool) -> Result<()> {
    let handed_on = words(path, HANDED_ON)?;
    let missing: Vec<&Need<'_>> = needed.iter().filter(|need| !has(&handed_on, need.controller)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let there = words(path, THERE)?;
    if let Some(need) = missing.iter().find(|need| !has(&there, need.controller)) {
        return Err(need.refused(if is_top { why_not_at_top(path, need.controller)? } else { not_there(path) }));
    }
    let text = missing.iter().map(|need| format!("+{}", need.controller)).collect::<Vec<_>>().join(" ");
    let file = path.join(HANDED_ON);
    let Err(error) = fs::write(&file, &text) else { return Ok(()) };
    let errno = Errno::from_raw(error.raw_os_error().unwrap_or(0));
    let why = match errno {
        Errno::EBUSY | Errno::EOPNOTSUPP | Errno::EINVAL | Errno::EACCES | Errno::EPERM | Errno::EROFS => {
            why_not_handed_on(path, errno)
        }
        _ => format!("which {} does not hand on: writing {text:?} to {HANDED_ON}: {errno}", path.display()),
    };
    Err(missing.first().map_or_else(|| Error::system("writing", &file, errno), |need| need.refused(why)))
}

/// Why a cgroup does not take it that it is to hand a controller on, and what to do.
fn why_not_handed_on(path: &Path, errno: Errno) -> String {
    match errno {
        Errno::EBUSY => {
            let processes = words(path, "cgroup.procs").map_or(0, |text| text.split_ascii_whitespace().count());
            format!(
                "which {} cannot hand on, since it has {processes} process(es) of its own; move them to a cgroup beneath \
                 it, or choose a cgroupsPath elsewhere",
                path.display()
            )
        }
        Errno::EOPNOTSUPP | Errno::EINVAL => format!(
            "which {} cannot hand on, since it is threaded (cgroup.type); choose a cgroupsPath elsewhere",
            path.display()
        ),
        Errno::EACCES | Errno::EPERM | Errno::EROFS => format!(
            "which {} does not hand on, and this user may not change that; have it delegated (with systemd: Delegate=yes \
             in the unit, for a user that of user@.service), or ask for no limits",
            path.display()
        ),
        _ => format!("which {} does not hand on: {HANDED_ON}: {errno}", path.display()),
    }
}

impl Need<'_> {
    fn refused(&self, why: String) -> Error {
        Error::Controller { setting: self.setting.to_owned(), controller: self.controller.to_owned(), why }
    }
}

fn not_there(path: &Path) -> String {
    let is_users = path.components().any(|part| part.as_os_str().as_bytes().starts_with(b"user@"));
    let remedy = match is_users {
        true => {
            "; systemd gives users what Delegate= names in a drop-in of user@.service, as \
             /etc/systemd/system/user@.service.d/delegate.conf with `[Service]` and `Delegate=cpu cpuset io memory pids`"
        }
        false => "",
    };
    format!("which {} was not given by its parent{remedy}", path.display())
}

/// Why the hierarchy lacks a controller, and what to do.
fn why_not_at_top(mount: &Path, controller: &str) -> Result<String> {
    const BOOT: &str = "boot with systemd.unified_cgroup_hierarchy=1, or cgroup_no_v1=all, to have it in cgroup v2";
    if let Controller::BoundToV1(path) = Hierarchy::at(mount)?.controller(controller)? {
        return Ok(format!("which is bound to cgroup v1 here, at {}; {BOOT}", path.display()));
    }
    let v1 = controller_of_v1(controller);
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let known = fs::read_to_string("/proc/cgroups").unwrap_or_default();
    Ok(match (is_bound(&own, v1), state(&known, v1)) {
        (true, _) => format!("which is bound to a hierarchy of cgroup v1 here (/proc/self/cgroup); {BOOT}"),
        (_, Some(State::Bound)) => format!("which is bound to a hierarchy of cgroup v1 here (/proc/cgroups); {BOOT}"),
        (_, Some(State::Disabled)) => {
            "which is disabled on the kernel's command line (cgroup_disable=); boot without that".to_owned()
        }
        (_, Some(State::Free)) => format!(
            "which {} lacks although the kernel has it; it has to be handed on to there by who made this cgroup namespace",
            mount.display()
        ),
        (_, None) => {
            format!("which neither {} nor /proc/cgroups has; the kernel needs to be built with it", mount.display())
        }
    })
}

/// Whether a line of /proc/self/cgroup names the controller: `4:memory:/`.
fn is_bound(own: &str, controller: &str) -> bool {
    own.lines().filter_map(|line| line.split(':').nth(1)).any(|names| names.split(',').any(|name| name == controller))
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Bound,
    Free,
    Disabled,
}

/// What /proc/cgroups says of a controller: name, hierarchy, number of cgroups, and whether it is enabled.
fn state(known: &str, controller: &str) -> Option<State> {
    let line = known.lines().find(|line| line.split_ascii_whitespace().next() == Some(controller))?;
    let mut fields = line.split_ascii_whitespace().skip(1);
    let hierarchy = fields.next()?;
    let enabled = fields.nth(1)?;
    Some(match (enabled, hierarchy) {
        ("0", _) => State::Disabled,
        (_, "0") => State::Free,
        _ => State::Bound,
    })
}

fn words(cgroup: &Path, file: &str) -> Result<String> {
    let path = cgroup.join(file);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::system("reading", &path, Errno::ENOENT)),
        Err(error) => Err(Error::system("reading", &path, Errno::from_raw(error.raw_os_error().unwrap_or(0)))),
    }
}

fn has(words: &str, word: &str) -> bool {
    words.split_ascii_whitespace().any(|other| other == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is foreseen of a cgroup that does not exist is what comes of it.
    #[test]
    fn what_is_lacking_is_foreseen() {
        let Ok(hierarchy) = Hierarchy::find() else { return eprintln!("skipped: no cgroup2") };
        let there = hierarchy.controllers().unwrap();
        let path = format!("no-frills-test-{}/a/b", std::process::id());
        let cgroup = Cgroup::new(&hierarchy, Path::new(&path)).unwrap();
        if cgroup.may_be_made().is_err() {
            return eprintln!("skipped: not root");
        }
        for controller in ["cpuset", "hugetlb", "memory", "pids", "nosuch"] {
            let file = format!("{controller}.max");
            let write = |absent| Write {
                setting: format!("/{controller}"),
                file: file.clone(),
                text: String::new(),
                absent,
                may_follow_next: false,
            };
            let lacking = cgroup.lacks_controllers(&[write(Absent::Refuse)]);
            // The top is the hierarchy's own root, or that of a namespace, in which there may be processes.
            let told: Vec<String> = lacking.iter().map(ToString::to_string).collect();
            if has(&there, controller) {
                assert!(told.iter().all(|why| why.contains("process(es)")), "{told:?}");
            } else {
                assert!(matches!(told.as_slice(), [why] if why.contains(controller)), "{told:?}");
            }
            assert!(cgroup.lacks_controllers(&[write(Absent::Skip)]).is_empty());
        }
        assert!(!cgroup.path.exists());
    }

    #[test]
    fn where_a_controller_is_bound() {
        let own = "9:name=systemd:/\n8:pids:/a:b\n4:memory:/x\n2:cpu,cpuacct:/\n0::/\n";
        assert!(is_bound(own, "memory") && is_bound(own, "cpuacct") && is_bound(own, "pids"));
        assert!(!is_bound(own, "mem") && !is_bound(own, "hugetlb") && !is_bound(own, "x"));
        let known =
            "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpuset\t3\t1\t1\nmemory\t0\t1\t0\nhugetlb\t0\t5\t1\n";
        assert_eq!(state(known, "cpuset"), Some(State::Bound));
        assert_eq!(state(known, "memory"), Some(State::Disabled));
        assert_eq!(state(known, "hugetlb"), Some(State::Free));
        assert_eq!(state(known, "rdma"), None);
    }
}
