//! Lines of /proc/PID/mountinfo.

use std::collections::BTreeSet;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The directory of the file system that is the root of this mount.
    pub root: String,
    /// Where it is mounted.
    pub point: String,
    /// Options of the mount.
    pub options: BTreeSet<String>,
    /// `shared:N`, `master:N` and the like.
    pub propagation: Vec<String>,
    /// The type of the file system.
    pub fs_type: String,
    /// Options of the file system.
    pub fs_options: BTreeSet<String>,
}

impl Mount {
    /// Whether the mount or its file system has this option.
    pub fn has(&self, option: &str) -> bool {
        self.options.contains(option) || self.fs_options.contains(option)
    }
}

/// All mounts, in the file's order. Lines of an unknown form are left out.
pub fn parse(text: &str) -> Vec<Mount> {
    text.lines().filter_map(line).collect()
}

fn line(line: &str) -> Option<Mount> {
    let (mount, fs) = line.split_once(" - ")?;
    let mount: Vec<&str> = mount.split(' ').collect();
    let fs: Vec<&str> = fs.split(' ').collect();
    let options = |text: &str| text.split(',').map(str::to_owned).collect();
    Some(Mount {
        root: (*mount.get(3)?).to_owned(),
        point: (*mount.get(4)?).to_owned(),
        options: options(mount.get(5)?),
        propagation: mount.iter().skip(6).map(|word| (*word).to_owned()).collect(),
        fs_type: (*fs.first()?).to_owned(),
        fs_options: options(fs.get(2)?),
    })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_line_is_split() {
        let text = "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n";
        let mounts = parse(text);
        assert_eq!(mounts.len(), 1);
        assert_eq!(mounts[0].root, "/mnt1");
        assert_eq!(mounts[0].point, "/mnt2");
        assert!(mounts[0].has("noatime") && mounts[0].has("errors=continue"));
        assert_eq!(mounts[0].propagation, ["master:1"]);
        assert_eq!(mounts[0].fs_type, "ext3");
    }
}
