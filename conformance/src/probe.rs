//! The probe, a static program for root file systems; see `probe/main.rs` for what it does.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use no_frills_conformance::PROBE;

use crate::bundle::Bundle;
use crate::expect::Verdict;

/// Puts it at `/bin/probe`.
pub(crate) fn with_probe<'t>(b: Bundle<'t>) -> Verdict<Bundle<'t>> {
    let path = b.rootfs("bin/probe");
    fs::write(&path, PROBE)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(b)
}
