//! Tells the command which commit it was built from, where git can say.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Given to the command by .cargo/rustc, where it links it without the C library: see crates/start.
    println!("cargo::rustc-check-cfg=cfg(no_frills_start)");
    // A published package has no git directory, and git may not be installed: the commit is then unknown.
    if let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) {
        println!("cargo::rustc-env=NO_FRILLS_COMMIT={commit}");
    }
    // For the manual: of the sources, not of the build, which is to be repeatable.
    if let Some(date) = git(&["log", "-1", "--format=%cs"]) {
        println!("cargo::rustc-env=NO_FRILLS_DATE={date}");
    }
    // What changes when HEAD comes to be another commit: HEAD itself, or the branch that it names. A path
    // that does not exist would make cargo rebuild each time.
    for name in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", name])
            && Path::new(&path).exists()
        {
            println!("cargo::rerun-if-changed={path}");
        }
    }
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}
