//! `linux.intelRdt`: the class of service of the container's processes, in the kernel's resctrl file system
//! (Documentation/filesystems/resctrl.rst).
//!
//! A class is a directory at the top, with a file `schemata` of what its tasks may use of caches and memory bandwidth, and a
//! file `tasks`. A directory in its `mon_groups` counts some of its tasks on their own. What the container alone uses
//! goes with it: the class that is named after it, and its monitoring group. A class with a name of its own may have been
//! made by somebody else, or others may be in it by now: it stays.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::config::{ConfigError, IntelRdt};
use crate::error::{Error, Result};

/// Where a container's class and its monitoring group are, or will be.
#[derive(Clone, Debug)]
pub(crate) struct Class<'a> {
    rdt: &'a IntelRdt,
    root: PathBuf,
    directory: PathBuf,
    monitoring: Option<PathBuf>,
    /// The class was made here, and is not the container's own.
    made: bool,
}

/// Finds resctrl and says where the container's class lies in it; nothing is made yet.
pub(crate) fn class<'a>(rdt: &'a IntelRdt, id: &str) -> Result<Class<'a>> {
    class_of(rdt, id)?.unless_taken()
}

/// Finds resctrl and says where the class lies that the container is in.
pub(crate) fn class_of<'a>(rdt: &'a IntelRdt, id: &str) -> Result<Class<'a>> {
    let path = Path::new("/proc/self/mountinfo");
    let mounts = fs::read_to_string(path).map_err(Error::at("reading", path))?;
    match mount_point(&mounts) {
        Some(root) => Ok(Class::at(root, rdt, id)),
        None => Err(wrong(
            "",
            "no resctrl file system is mounted: the processor or the kernel lacks Intel RDT, or it needs \
             `mount -t resctrl resctrl /sys/fs/resctrl`",
        )),
    }
}

/// The last one, which covers those before it.
pub(crate) fn mount_point(mountinfo: &str) -> Option<PathBuf> {
    mount_points(mountinfo, "resctrl").next_back()
}

/// Where the file systems of a type are mounted, in the order of the text.
pub(crate) fn mount_points(mountinfo: &str, fstype: &str) -> impl DoubleEndedIterator<Item = PathBuf> {
    let points = mountinfo.lines().filter_map(move |line| {
        let (mount, file_system) = line.split_once(" - ")?;
        let point = mount.split(' ').nth(4)?;
        file_system.strip_prefix(fstype)?.starts_with(' ').then_some(point)
    });
    const ESCAPES: [(&str, &str); 4] = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    let plain = |point: &str| ESCAPES.iter().fold(point.to_owned(), |point, (escape, is)| point.replace(escape, is));
    points.map(move |point| PathBuf::from(plain(point)))
}

impl<'a> Class<'a> {
    fn at(root: PathBuf, rdt: &'a IntelRdt, id: &str) -> Class<'a> {
        let directory = match rdt.clos_id.as_deref() {
            None => root.join(id),
            Some("/") => root.clone(),
            Some(name) => root.join(name),
        };
        let monitoring = rdt.monitoring.then(|| directory.join("mon_groups").join(id));
        Class { rdt, root, directory, monitoring, made: false }
    }

    /// Before the container is recorded: whoever clears up after it would remove what is not its own.
    fn unless_taken(self) -> Result<Class<'a>> {
        for directory in self.own_directories() {
            if directory.exists() {
                return Err(Error::System {
                    pointer: POINTER.to_owned(),
                    action: format!("taking {} for the container", directory.display()),
                    errno: Errno::EEXIST,
                });
            }
        }
        Ok(self)
    }

    /// The directories that go with the container, in the order in which they are removed.
    pub(crate) fn own_directories(&self) -> Vec<PathBuf> {
        let own = self.rdt.clos_id.is_none().then(|| self.directory.clone());
        self.monitoring.clone().into_iter().chain(own).collect()
    }

    /// Makes what is missing, and writes the schema.
    pub(crate) fn make(&mut self) -> Result<()> {
        let IntelRdt { clos_id, schema, schemata, .. } = self.rdt;
        let asks = !schema.is_empty() || !schemata.is_empty();
        let shared = clos_id.is_some();
        if shared && !asks && !self.directory.is_dir() {
            return Err(wrong("/closID", "no such class in resctrl, and no schema to make one"));
        }
        let exists = match fs::create_dir(&self.directory) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists && shared => true,
            result => {
                result.map_err(|error| self.explain(&error, "making the class", &self.directory))?;
                self.made = shared;
                false
            }
        };
        let file = self.directory.join("schemata");
        let mut lines: Vec<&str> = Vec::new();
        if exists && !schema.is_empty() {
            let found = fs::read_to_string(&file).map_err(Error::at("reading", &file))?;
            if let Some(other) = schema.iter().find(|line| !holds(&found, line)) {
                let found = found.lines().map(str::trim).collect::<Vec<_>>().join(", ");
                return Err(wrong("", &format!("the class exists and has not {other:?}, but {found:?}")));
            }
        } else {
            lines.extend(schema.iter().map(String::as_str));
        }
        lines.extend(schemata.iter().map(String::as_str));
        if !lines.is_empty() {
            // The kernel takes whole lines.
            let text = lines.join("\n") + "\n";
            self.write(&file, &text)?;
        }
        if let Some(directory) = &self.monitoring {
            fs::create_dir(directory)
                .map_err(|error| self.explain(&error, "making the monitoring group", directory))?;
        }
        Ok(())
    }

    /// Writes lines to the schema of the class, which exists.
    pub(crate) fn change(&self, lines: &[String]) -> Result<()> {
        self.write(&self.directory.join("schemata"), &(lines.join("\n") + "\n"))
    }

    /// Puts a process there; its children follow.
    pub(crate) fn assign(&self, pid: i32) -> Result<()> {
        for directory in [Some(&self.directory), self.monitoring.as_ref()].into_iter().flatten() {
            self.write(&directory.join("tasks"), &pid.to_string())?;
        }
        Ok(())
    }

    /// Takes back a class that was made for a container that does not come to be.
    pub(crate) fn take_back(&self) -> Result<()> {
        if self.made { remove(std::slice::from_ref(&self.directory)) } else { Ok(()) }
    }

    fn write(&self, file: &Path, text: &str) -> Result<()> {
        let result = fs::OpenOptions::new().write(true).open(file).and_then(|mut file| file.write_all(text.as_bytes()));
        result.map_err(|error| self.explain(&error, &format!("writing {text:?} to"), file))
    }

    /// With what resctrl itself says about its last failure.
    fn explain(&self, error: &std::io::Error, action: &str, path: &Path) -> Error {
        let said = fs::read_to_string(self.root.join("info/last_cmd_status")).unwrap_or_default();
        let said = match said.trim() {
            "" | "ok" => String::new(),
            said => format!(" ({said})"),
        };
        let action = format!("{action} {}{said}", path.display());
        let errno = Errno::from_raw(error.raw_os_error().unwrap_or(Errno::EIO as i32));
        Error::System { pointer: POINTER.to_owned(), action, errno }
    }
}

/// Removes directories of resctrl; those that are gone are as good. Tasks that are left in one move up.
pub(crate) fn remove(directories: &[PathBuf]) -> Result<()> {
    for directory in directories {
        match fs::remove_dir(directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            result => result.map_err(Error::at("removing", directory))?,
        }
    }
    Ok(())
}

const POINTER: &str = "/linux/intelRdt";

fn wrong(member: &str, message: &str) -> Error {
    Error::Config(ConfigError::new(format_args!("{POINTER}{member}"), message))
}

/// Whether a file `schemata` has all that a line of a configuration says: `L3:0=ff;1=f0` against `    L3:0=00ff;1=f0`.
pub(crate) fn holds(schemata: &str, line: &str) -> bool {
    let Some((resource, wanted)) = line.split_once(':') else { return false };
    let named = |line: &&str| line.trim().split_once(':').is_some_and(|(name, _)| name.trim() == resource.trim());
    let Some((_, found)) = schemata.lines().find(named).and_then(|line| line.split_once(':')) else { return false };
    let found: Vec<_> = domains(found).collect();
    domains(wanted).all(|domain| found.contains(&domain))
}

/// The values of a schema by the number of their cache.
fn domains(values: &str) -> impl Iterator<Item = (&str, String)> {
    values.split(';').map(|domain| {
        let (number, value) = domain.split_once('=').unwrap_or((domain, ""));
        (number.trim(), value.trim().trim_start_matches('0').to_ascii_lowercase())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that looks like resctrl; the kernel would fill a new class with files.
    fn fake(class: Option<&str>) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let fill = |directory: &Path| {
            fs::create_dir_all(directory.join("mon_groups")).unwrap();
            fs::write(directory.join("schemata"), "    MB:0=100;1=100\n    L3:0=7ff;1=7ff\n").unwrap();
            fs::write(directory.join("tasks"), "").unwrap();
        };
        fill(root.path());
        fs::create_dir(root.path().join("info")).unwrap();
        fs::write(root.path().join("info/last_cmd_status"), "ok\n").unwrap();
        if let Some(class) = class {
            fill(&root.path().join(class));
        }
        root
    }

    fn rdt(clos_id: Option<&str>, schema: &[&str], schemata: &[&str]) -> IntelRdt {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        IntelRdt {
            clos_id: clos_id.map(str::to_owned),
            schema: texts(schema),
            schemata: texts(schemata),
            monitoring: false,
        }
    }

    #[test]
    fn it_is_found_where_it_is_mounted() {
        let mountinfo = "22 1 0:21 / /sys rw shared:1 - sysfs sysfs rw\n\
            30 22 0:30 / /sys/fs/resctrl rw,nosuid shared:9 - resctrl resctrl rw\n\
            31 22 0:31 / /mnt/resctrl\\040two rw - resctrl x rw,mba_MBps\n";
        assert_eq!(mount_point(mountinfo), Some(PathBuf::from("/mnt/resctrl two")));
        assert_eq!(mount_point("22 1 0:21 / /resctrl rw - tmpfs resctrl rw\n"), None);
    }

    #[test]
    fn a_class_that_exists_is_joined() {
        let root = fake(Some("gold"));
        let rdt = IntelRdt { monitoring: true, ..rdt(Some("gold"), &["L3:0=7FF", "MB:1=100"], &[]) };
        let mut class = Class::at(root.path().to_owned(), &rdt, "x");
        class.make().unwrap();
        let monitoring = root.path().join("gold/mon_groups/x");
        fs::write(monitoring.join("tasks"), "").unwrap();
        class.assign(42).unwrap();
        assert_eq!(fs::read_to_string(root.path().join("gold/tasks")).unwrap(), "42");
        assert_eq!(fs::read_to_string(monitoring.join("tasks")).unwrap(), "42");
        assert_eq!(class.own_directories(), std::slice::from_ref(&monitoring));
        fs::remove_file(monitoring.join("tasks")).unwrap();
        remove(&class.own_directories()).unwrap();
        remove(&class.own_directories()).unwrap();
        class.take_back().unwrap();
        assert!(!monitoring.exists() && root.path().join("gold").exists());
    }

    #[test]
    fn a_class_that_is_other_than_asked_for_is_refused() {
        let root = fake(Some("gold"));
        for (schema, said) in [("L3:0=f", "has not \"L3:0=f\""), ("L2:0=f", "has not"), ("MB:0=50;1=100", "has not")] {
            let rdt = rdt(Some("gold"), &[schema], &[]);
            let error = Class::at(root.path().to_owned(), &rdt, "x").make().unwrap_err().to_string();
            assert!(error.starts_with("/linux/intelRdt: ") && error.contains(said), "{error}");
        }
        let rdt = rdt(Some("silver"), &[], &[]);
        let error = Class::at(root.path().to_owned(), &rdt, "x").make().unwrap_err().to_string();
        assert!(error.starts_with("/linux/intelRdt/closID: no such class"), "{error}");
    }

    #[test]
    fn what_is_to_be_written_is() {
        let root = fake(Some("gold"));
        let rdt = rdt(Some("gold"), &[], &["L3:0=f", "MB:0=10"]);
        Class::at(root.path().to_owned(), &rdt, "x").make().unwrap();
        // The file of a test is not emptied; the kernel's has no old content.
        let schemata = fs::read_to_string(root.path().join("gold/schemata")).unwrap();
        assert!(schemata.starts_with("L3:0=f\nMB:0=10\n"), "{schemata}");
    }

    #[test]
    fn the_schema_of_a_class_is_changed() {
        let root = fake(Some("x"));
        let rdt = rdt(None, &["L3:0=f"], &[]);
        let class = Class::at(root.path().to_owned(), &rdt, "x");
        class.change(&["L3:0=f0".to_owned(), "MB:0=50".to_owned()]).unwrap();
        let schemata = fs::read_to_string(root.path().join("x/schemata")).unwrap();
        assert!(schemata.starts_with("L3:0=f0\nMB:0=50\n"), "{schemata}");
        let gone = Class::at(root.path().join("gone"), &rdt, "x").change(&["L3:0=f".to_owned()]).unwrap_err();
        assert!(gone.to_string().contains("ENOENT"), "{gone}");
    }

    #[test]
    fn a_class_of_its_own_goes_with_the_container() {
        let root = fake(None);
        let own = rdt(None, &[], &[]);
        let mut class = Class::at(root.path().to_owned(), &own, "x");
        class.make().unwrap();
        assert!(root.path().join("x").is_dir());
        assert_eq!(class.own_directories(), [root.path().join("x")]);
        // Somebody has the name.
        let error = class.make().unwrap_err().to_string();
        assert!(error.contains("making the class") && error.contains("EEXIST"), "{error}");
        remove(&class.own_directories()).unwrap();
        assert!(!root.path().join("x").exists());
    }

    #[test]
    fn the_class_of_all_others() {
        let root = fake(None);
        let rdt = rdt(Some("/"), &[], &[]);
        let mut class = Class::at(root.path().to_owned(), &rdt, "x");
        class.make().unwrap();
        class.assign(7).unwrap();
        assert_eq!(fs::read_to_string(root.path().join("tasks")).unwrap(), "7");
        assert_eq!(class.own_directories(), [] as [PathBuf; 0]);
    }

    #[test]
    fn a_class_that_was_made_for_nothing_is_taken_back() {
        let root = fake(None);
        let rdt = rdt(Some("new"), &["L3:0=f"], &[]);
        let mut class = Class::at(root.path().to_owned(), &rdt, "x");
        // Here no file appears in it.
        assert!(class.make().unwrap_err().to_string().contains("schemata"));
        class.take_back().unwrap();
        assert!(!root.path().join("new").exists());
    }
}
