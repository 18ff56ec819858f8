//! Docker Engine: volumes, bind mounts, tmpfs, the root file system.

use std::fs;

use crate::bundle::Test;
use crate::case::{Case, case};
use crate::engines::Engine;
use crate::engines::docker::{Docker, IMAGE, REDIS_IMAGE};
use crate::expect::{Verdict, check, contains, same};

pub(crate) fn cases() -> Vec<Case> {
    let cases = vec![
        case("engines/docker/volume", "a named volume: filled from the image, kept, shared, read-only", volume),
        case("engines/docker/volumes-from", "--volumes-from, and rm -v of an anonymous volume", volumes_from),
        case("engines/docker/bind", "bind mounts of a directory and of a file, rw and ro", bind),
        case("engines/docker/bind-missing", "-v makes a source that is missing, --mount refuses it", bind_missing),
        case("engines/docker/tmpfs", "--tmpfs with its size, mode and options", tmpfs),
        case("engines/docker/read-only", "--read-only with a tmpfs: nothing else can be written", read_only),
        case("engines/docker/shm-size", "--shm-size", shm_size),
        case("engines/docker/diff", "diff and export show what was written", diff),
    ];
    cases.into_iter().map(|case| case.needs_engine(Engine::Docker)).collect()
}

fn volume(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let volume = docker.name("volume");
    docker.ok(&["volume", "create", &volume])?;
    let at = format!("{volume}:/etc");
    // It was empty, so that it has what the image has there.
    same("filled", docker.sh(&["-v", &at], "grep -c user /etc/passwd; echo new >/etc/new")?.as_str(), "1")?;
    let c = docker.idle("c", &["-v", &format!("{volume}:/data")])?;
    same("kept", c.exec(&["cat", "/data/new"])?.as_str(), "new")?;
    let script = "cat /data/new; echo x >/data/new";
    let output =
        docker.call(&["run", "--rm", "-v", &format!("{volume}:/data:ro"), IMAGE, "sh", "-c", script])?.exits(1)?;
    same("read", output.stdout()?.as_str(), "new\n")?;
    contains("written", &output.stderr()?, "Read-only file system")
}

fn volumes_from(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let c = docker.idle("c", &["-v", "/anonymous"])?;
    c.exec_sh(&[], "echo here >/anonymous/file")?;
    let volume = c.inspect("{{(index .Mounts 0).Name}}")?;
    same("from", docker.sh(&["--volumes-from", &c.name], "cat /anonymous/file")?.as_str(), "here")?;
    docker.ok(&["volume", "inspect", &volume])?;
    c.verb(&["rm", "--force", "--volumes"])?;
    docker.call(&["volume", "inspect", &volume])?.exits(1).map(drop)
}

fn bind(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let dir = t.path("dir");
    fs::create_dir(&dir)?;
    fs::write(dir.join("file"), "outside\n")?;
    let (dir_text, file_text) = (dir.display(), dir.join("file").display().to_string());
    let flags = [
        "-v",
        &format!("{dir_text}:/rw"),
        "-v",
        &format!("{dir_text}:/ro:ro"),
        "-v",
        &format!("{file_text}:/one/file:ro"),
    ];
    let script = "cat /one/file; echo inside >/rw/new; cat /ro/new; for file in /ro/x /one/file; do (echo x >$file) 2>&1 | grep -o Read-only; done; \
                  grep -c ' /ro ro,' /proc/self/mountinfo";
    same("seen", docker.sh(&flags, script)?.as_str(), "outside\ninside\nRead-only\nRead-only\n1")?;
    same("outside", fs::read_to_string(dir.join("new"))?.as_str(), "inside\n")?;
    same("the file", fs::read_to_string(dir.join("file"))?.as_str(), "outside\n")
}

fn bind_missing(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let missing = t.path("missing");
    let mount = format!("type=bind,source={},target=/data", missing.display());
    let output = docker.call(&["run", "--rm", "--mount", &mount, IMAGE, "true"])?.exits(125)?;
    contains("stderr", &output.stderr()?, "does not exist")?;
    docker.sh(&["-v", &format!("{}:/data", missing.display())], "touch /data/x")?;
    check(missing.join("x").exists(), || "the file is not there".to_owned())
}

fn tmpfs(t: &Test) -> Verdict {
    let flags =
        ["--tmpfs", "/mem:size=1m,mode=1770,uid=77,noexec", "--mount", "type=tmpfs,target=/other,tmpfs-size=2097152"];
    let script = "stat -c '%a %u' /mem; df -k /mem /other | awk 'NR>1 {print $1, $2}'; grep ' /mem ' /proc/self/mountinfo | grep -c noexec; \
                  (dd if=/dev/zero of=/mem/big bs=64k count=32 2>&1; true) | grep -o 'No space'";
    same("tmpfs", Docker::of(t).sh(&flags, script)?.as_str(), "1770 77\ntmpfs 1024\ntmpfs 2048\n1\nNo space")
}

fn read_only(t: &Test) -> Verdict {
    let script =
        "for dir in / /etc /usr /dev /proc /sys /run; do touch $dir/x 2>/dev/null && echo wrote $dir; done; true";
    let flags = ["--read-only", "--tmpfs", "/run"];
    same("read-only", Docker::of(t).sh(&flags, script)?.as_str(), "wrote /dev\nwrote /run")
}

fn shm_size(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let script = "df -k /dev/shm | awk 'NR>1 {print $2}'";
    same("given", docker.sh(&["--shm-size", "3m"], script)?.as_str(), "3072")?;
    same("default", docker.sh(&[], script)?.as_str(), "65536")
}

fn diff(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let c = docker.container("c", &[], &["sh", "-c", "echo x >/usr/new; rm /bin/true; chmod 700 /var"])?;
    c.waited()?;
    let mut lines: Vec<_> = c.verb(&["diff"])?.lines().map(str::to_owned).collect();
    lines.sort();
    same("diff", lines, ["A /usr/new", "C /bin", "C /usr", "C /var", "D /bin/true"])?;
    let archive = t.path("tar");
    c.verb(&["export", "--output", &archive.to_string_lossy()])?;
    let copied = docker.ok(&["run", "--rm", "--entrypoint", "sh", REDIS_IMAGE, "-c", "id -un"])?;
    same("the image's user", copied.as_str(), "user")?;
    check(fs::metadata(&archive)?.len() > 1_000_000, || "the archive is too small".to_owned())
}
