//! Whether this caller may have the id mappings that a bundle asks for (user_namespaces(7)).

use std::fs;

use nix::unistd::geteuid;

use super::host::{Found, may_execute};
use super::{Report, Severity};
use crate::config::IdMapping;

/// What is looked up for users and for groups.
struct Kind {
    setting: &'static str,
    own_map: &'static str,
    helper: &'static str,
    file: &'static str,
    option: &'static str,
}

const KINDS: [Kind; 2] = [
    Kind {
        setting: "/linux/uidMappings",
        own_map: "/proc/self/uid_map",
        helper: "newuidmap",
        file: "/etc/subuid",
        option: "--add-subuids",
    },
    Kind {
        setting: "/linux/gidMappings",
        own_map: "/proc/self/gid_map",
        helper: "newgidmap",
        file: "/etc/subgid",
        option: "--add-subgids",
    },
];

/// First id and how many.
pub(crate) type Range = (u64, u64);

pub(super) fn check(found: &Found<'_>, report: &mut Report) {
    let linux = &found.config.linux;
    if found.program.id_maps.is_none() {
        return;
    }
    for (kind, maps) in KINDS.iter().zip([&linux.uid_mappings, &linux.gid_mappings]) {
        let overlap =
            maps.iter().enumerate().find(|(index, map)| maps.iter().take(*index).any(|other| overlaps(map, other)));
        if let Some((index, _)) = overlap {
            tell(
                found,
                report,
                kind,
                index,
                "maps ids that an earlier one maps".to_owned(),
                "map each id once, inside and outside".to_owned(),
            );
        }
        match &found.program.caller {
            None => within_own(found, report, kind, maps),
            Some(caller) => {
                let own = found.program.id_maps.as_ref().is_some_and(|id_maps| match kind.helper {
                    "newuidmap" => id_maps.is_own_uid(*caller),
                    _ => id_maps.is_own_gid(*caller),
                });
                if !own {
                    by_helper(found, report, kind, maps);
                }
            }
        }
    }
}

fn overlaps(left: &IdMapping, right: &IdMapping) -> bool {
    let meet = |left_first: u32, right_first: u32| {
        let end = |first: u32, size: u32| u64::from(first) + u64::from(size);
        u64::from(left_first) < end(right_first, right.size) && u64::from(right_first) < end(left_first, left.size)
    };
    meet(left.container, right.container) || meet(left.host, right.host)
}

fn tell(found: &Found<'_>, report: &mut Report, kind: &Kind, index: usize, message: String, remedy: String) {
    if let Some(pointer) = found.kept(&format!("{}/{index}", kind.setting)) {
        report.add_with(Severity::Error, pointer, message, remedy);
    }
}

/// Root of a user namespace has the ids that are mapped in there.
fn within_own(found: &Found<'_>, report: &mut Report, kind: &Kind, maps: &[IdMapping]) {
    let Ok(text) = fs::read_to_string(kind.own_map) else { return };
    let own = own_ranges(&text);
    for (index, map) in maps.iter().enumerate() {
        if !covers(&own, (map.host.into(), map.size.into())) {
            let message = format!(
                "hostID {} and the {} that follow are not all mapped in the caller's own user namespace",
                map.host,
                map.size - 1
            );
            tell(found, report, kind, index, message, format!("map ids that {} has", kind.own_map));
        }
    }
}

fn by_helper(found: &Found<'_>, report: &mut Report, kind: &Kind, maps: &[IdMapping]) {
    let Kind { setting, helper, file, option, .. } = kind;
    if !is_in_path(helper) {
        let message =
            format!("mapping ids that are not the user's own needs the program {helper}, which is not in $PATH");
        let remedy = "install it (Debian: the package uidmap), or map the own id alone".to_owned();
        report.add_with(Severity::Error, (*setting).to_owned(), message, remedy);
        return;
    }
    let name = user_name(geteuid().as_raw());
    let Ok(text) = fs::read_to_string(file) else { return };
    // They may come from elsewhere, too (subuid(5)).
    if fs::read_to_string("/etc/nsswitch.conf").is_ok_and(|text| text.lines().any(|line| line.starts_with("subid:"))) {
        return;
    }
    let mut granted = subordinate_ranges(&text, &name, geteuid().as_raw());
    let own = if *helper == "newuidmap" { geteuid().as_raw() } else { nix::unistd::getegid().as_raw() };
    granted.push((own.into(), 1));
    for (index, map) in maps.iter().enumerate() {
        if !covers(&granted, (map.host.into(), map.size.into())) {
            let last = u64::from(map.host) + u64::from(map.size) - 1;
            let message = format!("{file} does not grant the ids {} to {last} to {name}", map.host);
            tell(
                found,
                report,
                kind,
                index,
                message,
                format!("`usermod {option} {}-{last} {name}`, or map ids that are granted", map.host),
            );
        }
    }
}

/// The name of a user in `/etc/passwd`, or else its number, which `/etc/subuid` may have as well. (The C library, which knows more sources, is
/// not linked to the command.)
pub(crate) fn user_name(uid: u32) -> String {
    let text = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let number = uid.to_string();
    let line = text.lines().find(|line| line.split(':').nth(2) == Some(number.as_str()));
    line.and_then(|line| line.split(':').next()).map_or(number.clone(), str::to_owned)
}

/// Whether a program of that name is in `$PATH`.
pub(crate) fn is_in_path(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| may_execute(&directory.join(name)).is_ok())
}

/// The ids of `/proc/self/uid_map`.
pub(crate) fn own_ranges(text: &str) -> Vec<Range> {
    let range = |line: &str| {
        let mut words = line.split_ascii_whitespace().map(str::parse);
        let (first, size) = (words.next()?.ok()?, words.nth(1)?.ok()?);
        Some((first, size))
    };
    text.lines().filter_map(range).collect()
}

/// What `/etc/subuid` grants to a user, by name or number (subuid(5)).
pub(crate) fn subordinate_ranges(text: &str, name: &str, id: u32) -> Vec<Range> {
    let range = |line: &str| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        if owner != name && owner != id.to_string() {
            return None;
        }
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    text.lines().filter_map(range).collect()
}

/// Whether all of a range lies in these.
fn covers(ranges: &[Range], (first, size): Range) -> bool {
    let mut next = first;
    while next < first + size {
        match ranges.iter().find(|(from, count)| (*from..from + count).contains(&next)) {
            Some((from, count)) => next = from + count,
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        assert_eq!(
            own_ranges("         0       1000          1\n         1     100000      65536\n"),
            [(0, 1), (1, 65536)]
        );
        assert_eq!(subordinate_ranges("a:1:2\nb:3:4\n1000:5:6\nbad\n", "b", 1000), [(3, 4), (5, 6)]);
        for (range, expected) in
            [((0, 1), true), ((0, 65537), true), ((1, 65537), false), ((65537, 1), false), ((9, 3), true)]
        {
            assert_eq!(covers(&[(1, 65536), (0, 1)], range), expected, "{range:?}");
        }
    }

    #[test]
    fn overlapping_maps() {
        let map = |container, host, size| IdMapping { container, host, size };
        assert!(overlaps(&map(0, 1000, 2), &map(1, 5000, 1)) && overlaps(&map(0, 1000, 2), &map(7, 1001, 1)));
        assert!(!overlaps(&map(0, 1000, 2), &map(2, 1002, 1)));
    }
}
