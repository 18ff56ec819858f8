//! Compiles the probe (src/probe), a static program that cases put into root file systems, and that the suite embeds.
//!
//! It calls rustc itself: under cargo a program of this package would be linked like the suite, to a libc that a
//! container does not have.

use std::env;
use std::error::Error;
use std::path::Path;
use std::process::Command;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=src/probe");
    println!("cargo::rerun-if-changed=build.rs");
    let mut rustc = Command::new(variable("RUSTC")?);
    rustc.args(["src/probe/main.rs", "--crate-name=probe", "--edition=2024", "--target"]).arg(variable("TARGET")?);
    rustc.args(["-Copt-level=s", "-Cpanic=abort", "-Cstrip=symbols", "-Coverflow-checks=no"]);
    rustc.args(["-Ctarget-feature=+crt-static", "-Crelocation-model=static", "-o"]);
    rustc.arg(Path::new(&variable("OUT_DIR")?).join("probe"));
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        rustc.arg(format!("-Clinker={}", linker.to_string_lossy()));
    }
    let status = rustc.status()?;
    if status.success() { Ok(()) } else { Err(format!("rustc src/probe/main.rs: {status}").into()) }
}

fn variable(name: &str) -> Result<String, Box<dyn Error>> {
    env::var(name).map_err(|error| format!("{name}: {error}").into())
}
