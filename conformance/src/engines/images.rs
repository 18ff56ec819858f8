//! The registry, and the images that are made on the spot and pushed to it.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use super::call;
use crate::rootfs;
use no_frills_conformance::daemon::Daemon;

/// Where the registry listens: of the loopback addresses, for which engines ask for no certificate.
pub(crate) const REGISTRY: &str = "127.0.0.1:5000";

/// The image of busybox in the registry.
pub(crate) const BUSYBOX: &str = "127.0.0.1:5000/busybox:latest";

/// The image of redis-server in the registry.
pub(crate) const REDIS: &str = "127.0.0.1:5000/redis:latest";

/// Starts the registry.
pub(super) fn registry(place: &Path, cgroup: &Path) -> Result<Daemon, String> {
    let dir = place.join("registry");
    let config = place.join("registry.yml");
    let text = format!(
        "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {REGISTRY}\n",
        dir.display()
    );
    fs::write(&config, text).map_err(|e| format!("{}: {e}", config.display()))?;
    let mut command = Command::new("docker-registry");
    command.arg("serve").arg(&config).env("OTEL_TRACES_EXPORTER", "none");
    Daemon::start("docker-registry", command, place.join("registry.log"), cgroup, || {
        TcpStream::connect(REGISTRY).is_ok()
    })
}

/// Makes the image of busybox and pushes it.
pub(super) fn busybox(work: &Path, place: &Path) -> Result<(), String> {
    let root = place.join("busybox");
    rootfs::make(&root, &work.join("busybox")).map_err(|e| format!("{}: {e}", root.display()))?;
    push(place, &root, BUSYBOX, &["--cmd", "sh"])
}

/// Makes the image of the machine's own redis-server, with the libraries that it needs, and pushes it.
pub(super) fn redis(work: &Path, place: &Path) -> Result<(), String> {
    let root = place.join("redis");
    rootfs::make(&root, &work.join("busybox")).map_err(|e| format!("{}: {e}", root.display()))?;
    let program = "/usr/bin/redis-server";
    // Each line has at most one path: that of a library, or of the loader.
    let listed = call(Command::new("ldd").arg(program))?;
    let libraries = listed.split_ascii_whitespace().filter(|word| word.starts_with('/'));
    for path in libraries.chain([program]) {
        let copy = root.join(path.trim_start_matches('/'));
        let copied = fs::create_dir_all(copy.parent().unwrap_or(&root)).and_then(|()| fs::copy(path, &copy));
        copied.map_err(|e| format!("copying {path} to {}: {e}", copy.display()))?;
    }
    push(
        place,
        &root,
        REDIS,
        &["--entrypoint", &format!("[\"{program}\"]"), "--cmd", "--protected-mode no", "--user", "user"],
    )
}

/// Makes an image of this directory and pushes it.
pub(super) fn push(place: &Path, root: &Path, image: &str, config: &[&str]) -> Result<(), String> {
    let buildah = |args: &[&str]| {
        let mut command = Command::new("buildah");
        command.arg("--root").arg(place.join("buildah")).arg("--runroot").arg(place.join("buildah-run"));
        command.args(["--storage-driver", "vfs"]).args(args);
        call(&mut command)
    };
    let container = buildah(&["from", "scratch"])?;
    buildah(&["add", "--quiet", &container, &root.to_string_lossy(), "/"])?;
    buildah(&[&["config", "--env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"], config, &[&container]].concat())?;
    buildah(&["commit", "--quiet", &container, image])?;
    buildah(&["push", "--quiet", "--tls-verify=false", image])?;
    buildah(&["rm", &container]).map(drop)
}
