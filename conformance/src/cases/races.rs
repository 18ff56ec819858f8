//! Races that no advisory is named for; those of advisories are among the cases of `security`.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::Instant;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use serde_json::json;

use crate::bundle::{Bundle, Test};
use crate::case::{Case, case};
use crate::expect::{Verdict, check, lacks, same, some};
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
        case("races/tmpcopyup-directory", "a directory that becomes a link is not copied from where it leads", copy_up)
            .known_failure(Kind::Runc, "1.3.6 copies by path"),
        case("races/tmpcopyup-file", "a file that becomes a fifo does not hold the copy up", copy_up_fifo)
            .skip(Kind::Runc, "1.3.6 opens the fifo and waits")
            .skip(Kind::Crun, "1.28 opens the fifo and waits"),
    ]
}

/// A bundle with a tmpfs over a directory of the image, which it copies.
fn with_copy(t: &Test) -> Verdict<Bundle<'_>> {
    Ok(t.bundle()?.with_dir("var/data")?.mount("/var/data", "tmpfs", "tmpfs", &["tmpcopyup"]))
}

fn copy_up(t: &Test) -> Verdict {
    let secret = directory(t, "secret")?;
    fs::write(secret.join("file"), "secret")?;
    let b = with_copy(t)?.with_dir("var/data/directory")?.with_link("var/data/link", &secret)?;
    fs::write(b.rootfs("var/data/directory/file"), "fine")?;
    let b = b.sh("cat /var/data/directory/file /var/data/link/file");
    same("what is copied without a race", run(&b)?.as_str(), "fine")?;
    race(&b.rootfs("var/data/directory"), &b.rootfs("var/data/link"), 50, || {
        lacks("what was copied", &run(&b)?, "secret").map(|()| true)
    })
}

fn copy_up_fifo(t: &Test) -> Verdict {
    let b = with_copy(t)?.with_dir("etc/aside")?.sh("stat -c %F /var/data/file");
    fs::write(b.rootfs("var/data/file"), "x".repeat(100_000))?;
    mknodat(CWD, b.rootfs("etc/aside/fifo"), FileType::Fifo, Mode::from_raw_mode(0o666), 0)?;
    same("what is copied without a race", b.stdout()?, "regular file\n")?;
    race(&b.rootfs("var/data/file"), &b.rootfs("etc/aside/fifo"), 50, || {
        let out = run(&b)?;
        check(matches!(out.as_str(), "" | "fifo\n" | "regular file\n"), || out).map(|()| true)
    })
}

fn unrelated_renames(t: &Test) -> Verdict {
    let (one, other) = (directory(t, "one")?, directory(t, "other")?);
    let b = t.bundle()?.writable().with_dir("run")?.with_dir("var")?.with_link("var/run", "../../../run")?;
    let names = (0..20).map(|number| format!("/var/run/{number}"));
    let b = names
        .fold(b, |b, name| b.mount(&name, "tmpfs", "tmpfs", &["mode=755"]))
        .sh("grep -c ' /run/' /proc/self/mountinfo");
    race(&one, &other, 0, || b.run()?.exits(0)?.prints("20\n").map(|_| true))
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
    let with_size =
        |mounts: &[mountinfo::Mount]| mounts.iter().find(|mount| mount.fs_options.contains("size=1236k")).cloned();
    some("the tmpfs without a race", with_size(&mountinfo::parse(&b.stdout()?)))?;
    race(&one, &other, 100, || {
        let mounts = mountinfo::parse(&run(&b)?);
        match with_size(&mounts) {
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
    b.run()?.exits(0)?;
    same("the mode without a race", fs::metadata(&node)?.mode() & 0o777, 0o666)?;
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
