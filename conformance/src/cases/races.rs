//! Races that no advisory is named for; those of advisories are among the cases of `security`.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::Instant;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use serde_json::json;

use crate::bundle::Test;
use crate::case::{Case, case};
use crate::expect::{Verdict, check, same};
use crate::kind::Kind;
use crate::mountinfo;
use crate::racer::{LONG_ENOUGH, directory, race, remove, run};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "races/unrelated-renames",
            "renames elsewhere on the machine do not hinder paths through symlinks with ..",
            unrelated_renames,
        ),
        case(
            "races/readonly-tmpfs",
            "a tmpfs in a volume becomes read-only wherever the volume's other user leads",
            readonly_tmpfs,
        )
        .known_failure(Kind::Runc, "1.3.6 looks the path up again")
        .known_failure(Kind::Crun, "1.28 looks the path up again"),
        case("races/device-mode", "a device made in a volume gives no file of the host its mode", device_mode),
    ]
}

fn unrelated_renames(t: &Test) -> Verdict {
    let (one, other) = (directory(t, "one")?, directory(t, "other")?);
    let b = t.bundle()?.writable().with_dir("run")?.with_dir("var")?.with_link("var/run", "../../../run")?;
    let names = (0..20).map(|number| format!("/var/run/{number}"));
    let b = names.fold(b, |b, name| b.mount(&name, "tmpfs", "tmpfs", &["mode=755"])).args(&["true"]);
    race(&one, &other, 0, || b.run()?.exits(0).map(|_| true))
}

fn readonly_tmpfs(t: &Test) -> Verdict {
    let volume = directory(t, "volume")?;
    let (one, other) = (volume.join("one"), volume.join("other"));
    fs::create_dir_all(one.join("tmpfs"))?;
    fs::create_dir(&other)?;
    symlink("/elsewhere", other.join("tmpfs"))?;
    let b = t.bundle()?.with_dir("elsewhere")?.bind(&volume, "/vol", &["bind"]);
    let b = b.mount("/elsewhere", "tmpfs", "tmpfs", &["mode=755"]);
    let b = b.mount("/vol/one/tmpfs", "tmpfs", "tmpfs", &["ro", "mode=755", "size=1236k"]);
    let b = b.args(&["cat", "/proc/self/mountinfo"]);
    race(&one, &other, 100, || {
        let mounts = mountinfo::parse(&run(&b)?);
        match mounts.iter().find(|mount| mount.fs_options.contains("size=1236k")) {
            Some(mount) => check(mount.options.contains("ro"), || format!("it can be written: {mount:?}"))?,
            None => same("mounts", mounts.len(), 0)?,
        }
        Ok(true)
    })
}

fn device_mode(t: &Test) -> Verdict {
    let volume = directory(t, "volume")?;
    let (node, link, secret) = (volume.join("node"), volume.join("link"), t.path("secret"));
    fs::write(&secret, "secret")?;
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600))?;
    let device = json!([{"path": "/vol/node", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666}]);
    let b = t.bundle()?.bind(&volume, "/vol", &["bind"]).set("/linux/devices", device).args(&["true"]);
    let deadline = Instant::now() + LONG_ENOUGH;
    while Instant::now() < deadline {
        remove(&node)?;
        remove(&link)?;
        mknodat(CWD, &node, FileType::CharacterDevice, Mode::RUSR | Mode::WUSR, makedev(1, 3))?;
        symlink(&secret, &link)?;
        race(&node, &link, 30, || {
            run(&b)?;
            Ok(false)
        })?;
        same("the mode of the host's file", fs::metadata(&secret)?.mode() & 0o777, 0o600)?;
    }
    Ok(())
}
