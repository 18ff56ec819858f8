//! Compiles the init program (src/program) into the static ELF that the library embeds.
//!
//! It calls rustc itself, not cargo: a nested cargo would need its own lock file and registry, would be
//! lost from a package (cargo leaves nested packages out), and would inherit the user's profile and
//! flags. rustc with fixed flags gives the same ELF under `cargo build`, `cargo package`, vendoring and any
//! profile. The only other sources needed are those of `no-frills-plan`, which tells where they are
//! through its `links` metadata.

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=src");
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(variable("OUT_DIR")?);
    let plan = PathBuf::from(variable("DEP_NO_FRILLS_PLAN_SRC")?);
    println!("cargo::rerun-if-changed={}", plan.display());

    let library = out.join("libno_frills_plan.rlib");
    compile(&plan.join("lib.rs"), &library, &["--crate-type=lib", "--crate-name=no_frills_plan"])?;

    let external = format!("no_frills_plan={}", library.display());
    let mut arguments = vec!["--crate-type=bin", "--crate-name=init", "--extern", &external];
    let linker = linker_arguments()?;
    arguments.extend(linker.iter().map(String::as_str));
    compile(Path::new("src/program/main.rs"), &out.join("init"), &arguments)
}

/// Init starts at its own `_start`, without libc, at a fixed address, in as few pages as can be.
fn linker_arguments() -> Result<Vec<String>, Box<dyn Error>> {
    let mut arguments = Vec::new();
    for argument in [
        "-nostartfiles",
        "-nostdlib",
        "-static",
        "-no-pie",
        "-Wl,--build-id=none",
        "-Wl,--gc-sections",
        // One read-only-and-execute segment and one writable one: fewer pages to fault in.
        "-Wl,-z,noseparate-code",
        "-Wl,-z,norelro",
        // The stack must not be executable, whatever an object says.
        "-Wl,-z,noexecstack",
    ] {
        arguments.push("-C".to_owned());
        arguments.push(format!("link-arg={argument}"));
    }
    // The linker that the user chose for the target, as cargo would pass it.
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        arguments.push(format!("-Clinker={}", linker.to_string_lossy()));
    }
    Ok(arguments)
}

fn compile(source: &Path, output: &Path, arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    let status = Command::new(variable("RUSTC")?)
        .arg(source)
        .arg("-o")
        .arg(output)
        .arg(format!("--target={}", variable("TARGET")?))
        .args(["--edition=2024", "-Cpanic=abort", "-Copt-level=s", "-Ccodegen-units=1", "-Clto=fat"])
        .args(["-Crelocation-model=static", "-Cforce-unwind-tables=no", "-Cstrip=symbols"])
        .args(["-Cembed-bitcode=yes", "-Coverflow-checks=no", "-Cdebug-assertions=no"])
        .args(arguments)
        .status()?;
    if status.success() { Ok(()) } else { Err(format!("rustc {}: {status}", source.display()).into()) }
}

fn variable(name: &str) -> Result<String, Box<dyn Error>> {
    env::var(name).map_err(|error| format!("{name}: {error}").into())
}
