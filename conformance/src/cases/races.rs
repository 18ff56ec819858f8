//! Somebody who shares a volume with the container, or its root file system, renames in it while the container is
//! made. What a runtime looks up twice it finds changed.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, RenameFlags, makedev, mknodat, renameat_with};
use serde_json::json;

use crate::bundle::{Bundle, Test};
use crate::case::{Case, case};
use crate::expect::{Verdict, check, lacks, same};
use crate::kind::Kind;
use crate::mountinfo;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "races/unrelated-renames",
            "renames elsewhere on the machine do not hinder paths through symlinks with ..",
            unrelated_renames,
        ),
        case(
            "races/cve-2024-21626-cwd",
            "a working directory that becomes a link to a descriptor leads behind no read-only path",
            working_directory,
        ),
        case(
            "races/readonly-tmpfs",
            "a tmpfs in a volume becomes read-only wherever the volume's other user leads",
            readonly_tmpfs,
        )
        .known_failure(Kind::Runc, "1.3.6 looks the path up again")
        .known_failure(Kind::Crun, "1.28 looks the path up again"),
        case("races/device-mode", "a device made in a volume gives no file of the host its mode", device_mode),
        case(
            "races/cve-2025-52881-moved-proc",
            "read-only paths of a /proc that somebody moves are those of procfs",
            moved_proc,
        )
        .known_failure(Kind::Runc, "1.3.6 passes over a path that it does not find")
        .known_failure(Kind::Crun, "1.28 passes over a path that it does not find"),
        case(
            "races/cve-2021-30465-mounts",
            "mounts, masks and directories (CVE-2024-45310) in a volume stay in the container",
            mounts,
        ),
    ]
}

/// How long a race is run: the holes that these cases look for show within a second.
const LONG_ENOUGH: Duration = Duration::from_secs(3);

/// Does a deed again and again while two paths are exchanged, with pauses of up to so many microseconds: until the
/// deed fails or says that it is enough, or it has been long enough.
fn race(one: &Path, other: &Path, pause: u64, mut deed: impl FnMut() -> Verdict<bool>) -> Verdict {
    let ends = AtomicBool::new(false);
    let deadline = Instant::now() + LONG_ENOUGH;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = 1_u64;
            while !ends.load(Ordering::Relaxed) {
                // One of them may be missing for a moment: the runtime works in the same directory.
                renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap_or_default();
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                if pause > 0 {
                    std::thread::sleep(Duration::from_micros((random >> 33) % pause));
                }
            }
        });
        let outcome = loop {
            match deed() {
                Ok(true) if Instant::now() < deadline => {}
                outcome => break outcome.map(drop),
            }
        };
        ends.store(true, Ordering::Relaxed);
        outcome
    })
}

/// A run that may work or be refused, but ends cleanly: what it printed.
fn run(b: &Bundle) -> Verdict<String> {
    let output = b.run()?;
    let stderr = output.stderr()?;
    lacks("stderr", &stderr, "panicked")?;
    check(output.status < 128, || format!("the runtime ended with {}: {stderr}", output.status))?;
    output.stdout()
}

/// A directory of the case.
fn directory(t: &Test, name: &str) -> Verdict<PathBuf> {
    let path = t.path(name);
    fs::create_dir(&path)?;
    Ok(path)
}

fn remove(path: &Path) -> Verdict {
    match fs::symlink_metadata(path) {
        Ok(there) if there.is_dir() => Ok(fs::remove_dir(path)?),
        Ok(_) => Ok(fs::remove_file(path)?),
        Err(_) => Ok(()),
    }
}

fn unrelated_renames(t: &Test) -> Verdict {
    let (one, other) = (directory(t, "one")?, directory(t, "other")?);
    let b = t.bundle()?.writable().with_dir("run")?.with_dir("var")?.with_link("var/run", "../../../run")?;
    let names = (0..20).map(|number| format!("/var/run/{number}"));
    let b = names.fold(b, |b, name| b.mount(&name, "tmpfs", "tmpfs", &["mode=755"])).args(&["true"]);
    race(&one, &other, 0, || b.run()?.exits(0).map(|_| true))
}

fn working_directory(t: &Test) -> Verdict {
    let volume = directory(t, "volume")?;
    let (cwd, link) = (volume.join("cwd"), volume.join("link"));
    let b = t.bundle()?.bind(&volume, "/vol", &["bind"]).set("/process/cwd", json!("/vol/cwd"));
    // What is there is written back: nothing changes on the machine, but it could.
    let b = b
        .sh("p=$(cat kernel/core_pattern 2>/dev/null) && echo \"$p\" 2>/dev/null >kernel/core_pattern && echo done; :");
    let deadline = Instant::now() + 3 * LONG_ENOUGH;
    for number in (3..64).take_while(|_| Instant::now() < deadline) {
        remove(&cwd)?;
        remove(&link)?;
        fs::create_dir(&cwd)?;
        symlink(format!("/proc/self/fd/{number}"), &link)?;
        let mut runs = 0;
        race(&cwd, &link, 200, || {
            runs += 1;
            same("what the container wrote in /proc/sys", run(&b)?.as_str(), "")?;
            Ok(runs < 10)
        })?;
    }
    Ok(())
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

fn moved_proc(t: &Test) -> Verdict {
    let b = t.bundle()?.writable().with_dir("moved")?;
    let b = b.sh("for p in /proc /moved; do test -e $p/self && cat $p/self/mountinfo && break; done; true");
    race(&b.rootfs("proc"), &b.rootfs("moved"), 500, || {
        let mounts = mountinfo::parse(&run(&b)?);
        if mounts.iter().any(|mount| mount.fs_type == "proc" && mount.root == "/") {
            let readonly = |mount: &mountinfo::Mount| mount.root == "/sys" && mount.options.contains("ro");
            let found = mounts.iter().any(|mount| mount.fs_type == "proc" && readonly(mount));
            check(found, || "/proc/sys can be written".to_owned())?;
        }
        Ok(true)
    })
}

fn mounts(t: &Test) -> Verdict {
    let (volume, canary, source) = (directory(t, "volume")?, directory(t, "canary")?, directory(t, "source")?);
    let (one, link) = (volume.join("one"), volume.join("link"));
    fs::create_dir(&one)?;
    fs::create_dir(canary.join("there"))?;
    fs::write(source.join("mark"), "")?;
    symlink(&canary, &link)?;
    let b = t.bundle()?.bind(&volume, "/vol", &["rbind"]).bind(&source, "/vol/one/there", &["bind"]);
    let b = b.bind(&source, "/vol/one/new", &["bind"]).mount("/vol/one/a/b/c", "tmpfs", "tmpfs", &[]);
    let b = b.set("/linux/maskedPaths", json!(["/vol/one/there", "/vol/one/a"]));
    let b = b.set("/linux/readonlyPaths", json!(["/vol/one/new", "/vol/one"])).args(&["true"]);
    let host = fs::read_to_string("/proc/self/mountinfo")?;
    race(&one, &link, 50, || {
        run(&b)?;
        same("mounts of the host", fs::read_to_string("/proc/self/mountinfo")?.as_str(), host.as_str())?;
        same("directories made outside", fs::read_dir(&canary)?.count(), 1)?;
        same("what is in it", fs::read_dir(canary.join("there"))?.count(), 0)?;
        Ok(true)
    })
}
