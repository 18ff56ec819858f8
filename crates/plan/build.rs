//! Tells the build script of `no-frills-init` where the sources of this crate are
//! (as `DEP_NO_FRILLS_PLAN_SRC`), since it compiles them a second time, for init.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if let Some(root) = std::env::var_os("CARGO_MANIFEST_DIR") {
        println!("cargo::metadata=src={}/src", root.to_string_lossy());
    }
}
