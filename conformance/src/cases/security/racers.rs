//! Advisories whose attacker shares a volume, or the root file system, with the container that is being made.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Instant;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use serde_json::{Value, json};

use super::{Canary, runs};
use crate::bundle::{Bundle, PATIENCE, Test};
use crate::case::{Case, case};
use crate::expect::{Verdict, check, same};
use crate::kind::Kind;
use crate::mountinfo;
use crate::racer::{LONG_ENOUGH, directory, race, remove, run};
use crate::terminal;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("security/cve-2021-30465-mounts", "mounts in a volume are attached in the container", mounts),
        case("security/cve-2024-21626-moved-cwd", "a cwd that becomes a link to a descriptor is refused", moved_cwd),
        case("security/cve-2024-45310-directories", "directories and files for mounts are made in the container", made),
        case("security/cve-2025-31133-null", "the mask is the null device, whatever becomes of /dev/null", mask),
        case("security/cve-2025-52565-console", "/dev/console is the terminal, whatever becomes of /dev/pts", console)
            .skip(Kind::Crun, "1.28 makes no terminal in a /dev that is a volume"),
        case(
            "security/cve-2025-52881-moved-proc",
            "read-only paths of a /proc that somebody moves are those of procfs",
            moved_proc,
        )
        .known_failure(Kind::Runc, "1.3.6 passes over a path that it does not find")
        .known_failure(Kind::Crun, "1.28 passes over a path that it does not find"),
        case("security/cve-2025-52881-sysctl", "sysctls are written to procfs or not at all", sysctl),
        case(
            "security/ghsa-3q8j-pf29-vwv8-readonly",
            "a path whose component is exchanged is read-only wherever it led",
            readonly,
        )
        .skip(Kind::Runc, "1.3.6 fails, within 0.3 to 3 s: not in every run")
        .known_failure(Kind::Crun, "1.28 makes a copy of the mount, then looks it up again to make that read-only"),
        case("security/ghsa-3q8j-pf29-vwv8-masked", "a masked path shows nothing wherever it led", masked),
    ]
}

/// So many mounts of a tmpfs at a time: every one of them is a chance for the racer.
const MOUNTS: usize = 20;

/// The configured mounts, and these tmpfs.
fn with_tmpfs(config: &mut Value, before: &Value, destination: impl Fn(usize) -> String) {
    let mut mounts = before.as_array().cloned().unwrap_or_default();
    for number in 0..MOUNTS {
        let options = json!([format!("size={}k", 4000 + 4 * number)]);
        let destination = destination(number);
        mounts.push(json!({"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options}));
    }
    config["mounts"] = json!(mounts);
}

/// Seen to fail: no-frills that opens paths without RESOLVE_IN_ROOT, in the first round. Debian's runc is repaired as
/// far back as 1.0.0-rc93.
fn mounts(t: &Test) -> Verdict {
    let canary = Canary::new(t)?;
    let volume = directory(t, "volume")?;
    let (one, link) = (volume.join("one"), volume.join("link"));
    fs::create_dir(&one)?;
    symlink(&canary.dir, &link)?;
    for number in 0..MOUNTS {
        fs::create_dir(one.join(number.to_string()))?;
        // So that a mount can go there.
        fs::create_dir(canary.dir.join(number.to_string()))?;
    }
    let canary = canary.again()?;
    let mut b = t.bundle()?.bind(&volume, "/vol", &["rbind"]).args(&["cat", "/proc/self/mountinfo"]);
    let before = b.config["mounts"].clone();
    with_tmpfs(&mut b.config, &before, |number| format!("/vol/one/{number}"));
    let host = fs::read_to_string("/proc/self/mountinfo")?;
    b.run()?.exits(0)?;
    race(&one, &link, 50, || {
        let output = b.run()?;
        if output.status == 0 {
            let mounts = mountinfo::parse(&output.stdout()?);
            let own = |mount: &&mountinfo::Mount| mount.fs_options.iter().any(|option| option.starts_with("size=40"));
            same("how many of the mounts are in the container", mounts.iter().filter(own).count(), MOUNTS)?;
        }
        same("mounts of the host", fs::read_to_string("/proc/self/mountinfo")?.as_str(), host.as_str())?;
        canary.lives()?;
        Ok(true)
    })
}

/// Seen to fail: runc 1.0.0-rc93 and 1.1.5 within a second (about 20 rounds); 1.1.15, which is repaired, not within
/// 12 s.
fn made(t: &Test) -> Verdict {
    let canary = Canary::new(t)?;
    let (volume, source) = (directory(t, "volume")?, t.path("file"));
    let (one, link) = (volume.join("one"), volume.join("link"));
    fs::create_dir(&one)?;
    fs::write(&source, "")?;
    symlink(&canary.dir, &link)?;
    let b = t.bundle()?.bind(&volume, "/vol", &["rbind"]);
    let mut b = b.bind(&source, "/vol/one/file", &["bind"]).args(&["true"]);
    let before = b.config["mounts"].clone();
    let mut round = 0;
    with_tmpfs(&mut b.config, &before, |number| format!("/vol/one/{number}/a/b"));
    b.run()?.exits(0)?;
    race(&one, &link, 20, || {
        // What was made once is there the next time.
        round += 1;
        with_tmpfs(&mut b.config, &before, |number| format!("/vol/one/{round}-{number}/a/b"));
        run(&b)?;
        canary.lives()?;
        Ok(true)
    })
}

/// Seen to fail: crun 1.8.1 by a script that leaves it a descriptor of the host's /etc, with `--preserve-fds`.
fn moved_cwd(t: &Test) -> Verdict {
    let volume = directory(t, "volume")?;
    let (cwd, link) = (volume.join("cwd"), volume.join("link"));
    let b = t.bundle()?.bind(&volume, "/vol", &["bind"]).set("/process/cwd", json!("/vol/cwd"));
    // The directory is empty, and a host's is not.
    let b = b.args(&["ls", "-A"]);
    fs::create_dir(&cwd)?;
    same("what is there without a race", b.stdout()?, "")?;
    let deadline = Instant::now() + 2 * LONG_ENOUGH;
    for number in (3..64).take_while(|_| Instant::now() < deadline) {
        remove(&cwd)?;
        remove(&link)?;
        fs::create_dir(&cwd)?;
        symlink(format!("/proc/self/fd/{number}"), &link)?;
        let mut runs = 0;
        race(&cwd, &link, 200, || {
            runs += 1;
            same("what is in the working directory", run(&b)?.as_str(), "")?;
            Ok(runs < 10)
        })?;
    }
    Ok(())
}

/// A container whose /dev is a volume, with the device and, beside it, a link to a file of procfs.
fn own_dev<'t>(t: &'t Test, volume: &std::path::Path) -> Verdict<Bundle<'t>> {
    fs::create_dir(volume.join("pts"))?;
    fs::create_dir(volume.join("shm"))?;
    fs::create_dir(volume.join("mqueue"))?;
    let (null, link) = (volume.join("null"), volume.join("link"));
    mknodat(CWD, &null, FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(1, 3))?;
    symlink("/proc/sys/kernel/hostname", &link)?;
    let b = t.bundle()?.writable().no_mount("/dev").no_mount("/dev/pts").no_mount("/dev/shm").no_mount("/dev/mqueue");
    let b = b.bind(volume, "/dev", &["bind"]).with_file("etc/secret", "secret", 0o644)?;
    Ok(b.set("/linux/maskedPaths", json!(["/etc/secret"])).sh("cat /etc/secret"))
}

/// Seen to fail: runc 1.0.0-rc93, 1.1.5, 1.1.15 within a second (10 to 30 rounds): the mask shows the host name.
fn mask(t: &Test) -> Verdict {
    runs(t)?;
    let volume = directory(t, "volume")?;
    let b = own_dev(t, &volume)?;
    let (null, link) = (volume.join("null"), volume.join("link"));
    same("what the mask shows without a race", b.stdout()?, "")?;
    race(&null, &link, 300, || {
        same("what the mask shows", run(&b)?.as_str(), "")?;
        Ok(true)
    })
}

/// Seen to fail: runc 1.0.0-rc93 and 1.1.5 within 2.7 s (40 rounds): /dev/console is a regular file of procfs.
fn console(t: &Test) -> Verdict {
    let (volume, canary) = (directory(t, "volume")?, Canary::new(t)?);
    for name in ["shm", "mqueue", "pts", "other"] {
        fs::create_dir(volume.join(name))?;
    }
    for number in 0..4 {
        symlink("/proc/sys/kernel/hostname", volume.join("other").join(number.to_string()))?;
    }
    symlink("pts/ptmx", volume.join("ptmx"))?;
    let null = volume.join("null");
    mknodat(CWD, &null, FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(1, 3))?;
    let b = t.bundle()?.writable().no_mount("/dev").no_mount("/dev/pts").no_mount("/dev/shm").no_mount("/dev/mqueue");
    let b = b.bind(&volume, "/dev", &["bind"]);
    let b = b.mount("/dev/pts", "devpts", "devpts", &["newinstance", "ptmxmode=0666", "mode=0620"]);
    let b = b.set("/process/terminal", json!(true)).sh("stat -c 'it is %F' /dev/console; read x");
    let socket = t.path("console.sock");
    let (pts, other) = (volume.join("pts"), volume.join("other"));
    let (mut worked, mut why) = (0, String::new());
    // Of the few rounds that a race has on a slow machine none may work.
    let deadline = Instant::now() + PATIENCE;
    while worked == 0 && Instant::now() < deadline {
        race(&pts, &other, 300, || {
            remove(&socket)?;
            let listener = terminal::listen(&socket)?;
            let output = b.create_with(&["--console-socket", &socket.to_string_lossy()])?;
            if output.status == 0 {
                let mut master = terminal::receive(&listener)?;
                if b.verb("start", &[])?.status == 0 {
                    let text = terminal::read_until(&mut master, " file")?;
                    check(!text.contains("regular"), || format!("/dev/console: {text}"))?;
                    worked += 1;
                }
                b.delete_force()?;
            } else {
                why = output.stderr()?;
            }
            canary.lives()?;
            Ok(true)
        })?;
    }
    check(worked > 0, || format!("no container came to run, so that nothing was shown: {why}"))
}
/// Seen to fail: runc 1.1.5 and 1.3.6, crun 0.17, 1.8.1, 1.21, 1.28.
fn moved_proc(t: &Test) -> Verdict {
    let b = t.bundle()?.writable().with_dir("moved")?;
    let b = b.sh("for p in /proc /moved; do test -e $p/self && cat $p/self/mountinfo && break; done; true");
    let has_proc =
        |mounts: &[mountinfo::Mount]| mounts.iter().any(|mount| mount.fs_type == "proc" && mount.root == "/");
    check(has_proc(&mountinfo::parse(&b.stdout()?)), || "there is no procfs without a race".to_owned())?;
    race(&b.rootfs("proc"), &b.rootfs("moved"), 500, || {
        let mounts = mountinfo::parse(&run(&b)?);
        if has_proc(&mounts) {
            let readonly = |mount: &mountinfo::Mount| mount.root == "/sys" && mount.options.contains("ro");
            let found = mounts.iter().any(|mount| mount.fs_type == "proc" && readonly(mount));
            check(found, || "/proc/sys can be written".to_owned())?;
        }
        Ok(true)
    })
}

/// Seen to fail: runc 1.0.0-rc93 and 1.1.5 within 0.4 s (10 rounds), 1.1.15 within 3 s: the value is in the image's
/// file. What runtimes write for labels goes the same way, and this machine has no LSM to show that with.
fn sysctl(t: &Test) -> Verdict {
    let b = t.bundle()?.writable().with_dir("moved/sys/kernel")?;
    let b = b.with_file("moved/sys/kernel/shm_rmid_forced", "", 0o666)?;
    // By its descriptor: with the exchanges it is in one of two places.
    let fake = fs::File::open(b.rootfs("moved/sys/kernel/shm_rmid_forced"))?;
    let (proc, moved) = (b.rootfs("proc"), b.rootfs("moved"));
    let b = b.set("/linux/sysctl", json!({"kernel.shm_rmid_forced": "1"})).remove("/linux/readonlyPaths");
    let b = b.sh("for p in /proc /moved; do test -e $p/self && cat $p/sys/kernel/shm_rmid_forced; done; true");
    same("what it is without a race", b.stdout()?, "1\n")?;
    race(&proc, &moved, 300, || {
        let output = b.run()?;
        if output.status == 0 {
            check(output.stdout()? != "0\n", || "the container runs without its sysctl".to_owned())?;
        }
        same("the size of a file of the image", fake.metadata()?.len(), 0)?;
        Ok(true)
    })
}

/// Mounts beneath /vol as the container sees them. Their paths are those of one moment in the race, their order and
/// options are not.
fn in_volume(text: &str) -> Vec<mountinfo::Mount> {
    mountinfo::parse(text).into_iter().filter(|mount| mount.point.starts_with("/vol/")).collect()
}

/// Seen to fail: crun 1.8.1, 1.21, 1.28 within 0.2 s (5 rounds), runc 1.0.0-rc93, 1.1.5, 1.1.15, 1.3.6 within 1 to 3
/// s.
fn readonly(t: &Test) -> Verdict {
    let volume = directory(t, "volume")?;
    let (one, other) = (volume.join("one"), volume.join("other"));
    fs::create_dir_all(one.join("dir"))?;
    fs::create_dir_all(other.join("dir"))?;
    let mut b = t.bundle()?.bind(&volume, "/vol", &["bind"]).args(&["cat", "/proc/self/mountinfo"]);
    // Both are mounts, so that whoever changes a mount by its path finds one.
    for (dir, size) in [("/vol/one/dir", "size=1236k"), ("/vol/other/dir", "size=1240k")] {
        b = b.mount(dir, "tmpfs", "tmpfs", &[size]);
    }
    let b = b.set("/linux/readonlyPaths", json!(vec!["/vol/one/dir"; 8]));
    let without = in_volume(&b.stdout()?);
    check(without.iter().any(|mount| mount.options.contains("ro")), || format!("without a race: {without:?}"))?;
    race(&one, &other, 60, || {
        let output = b.run()?;
        if output.status != 0 {
            return Ok(true);
        }
        let mounts = in_volume(&output.stdout()?);
        for size in ["size=1236k", "size=1240k"] {
            let same_fs = mounts.iter().filter(|mount| mount.fs_options.contains(size));
            // The first is the configuration's own, what is upon it was made to be read-only.
            for copy in same_fs.skip(1) {
                check(copy.options.contains("ro"), || format!("it can be written: {mounts:?}"))?;
            }
        }
        Ok(true)
    })
}

/// Seen to fail: no-frills that looks whether a path is a directory, and then opens it again to mask it: within 0.3
/// s.
fn masked(t: &Test) -> Verdict {
    let volume = directory(t, "volume")?;
    let (one, other) = (volume.join("one"), volume.join("other"));
    // Whoever looks at one and masks the other finds another kind of file.
    for (dir, file) in [(one.join("dir"), one.join("file")), (other.join("file"), other.join("dir"))] {
        fs::create_dir_all(dir)?;
        fs::write(file, "secret")?;
    }
    let b = t.bundle()?.bind(&volume, "/vol", &["bind"]).args(&["cat", "/proc/self/mountinfo"]);
    // Each of them a chance for the racer; they lie one upon another.
    let paths = ["/vol/one/dir", "/vol/one/file"].repeat(8);
    let b = b.set("/linux/maskedPaths", json!(paths));
    let all_masked = |text: &str| {
        let masks = in_volume(text);
        let count =
            masks.iter().filter(|mask| mask.fs_type == "tmpfs" || mask.root == "/null" || mask.has("ro")).count();
        check(count == paths.len(), || format!("not every path is masked: {masks:?}"))
    };
    all_masked(&b.stdout()?)?;
    race(&one, &other, 60, || {
        let output = b.run()?;
        if output.status == 0 {
            all_masked(&output.stdout()?)?;
        }
        Ok(true)
    })
}
