//! What this build is.

/// The version of the packages.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit it was built from; `None` outside a git work tree.
pub(crate) const COMMIT: Option<&str> = option_env!("NO_FRILLS_COMMIT");

/// The newest runtime specification that it follows.
pub(crate) const SPECIFICATION: &str = "1.3.0";

/// `no-frills --version`. dockerd looks for a line with `version` and for one with `commit:`.
pub(crate) fn describe() -> String {
    format!("no-frills version {VERSION}\ncommit: {}\nspec: {SPECIFICATION}\n", COMMIT.unwrap_or("unknown"))
}
