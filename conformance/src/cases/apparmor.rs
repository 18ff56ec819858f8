//! Profiles of AppArmor that are in force.

use serde_json::json;

use crate::bundle::{Bundle, Test};
use crate::case::{Case, case};
use crate::expect::{Verdict, same};
use crate::features::{Feature, Profile};

pub(crate) fn cases() -> Vec<Case> {
    let cases = vec![
        case(
            "apparmor/profile",
            "the program runs under process.apparmorProfile, which denies what it denies",
            profile,
        ),
        case("apparmor/privileges", "so does one that may gain privileges", privileges),
        case("apparmor/user-namespace", "and one in a user namespace", user_namespace),
        case("apparmor/unconfined", "unconfined and no profile at all leave the program unconfined", unconfined),
        case("apparmor/exec", "exec runs a program under the profile of the container's process", exec),
        case("apparmor/exec-other", "--apparmor of exec is another profile", exec_other),
    ];
    cases.into_iter().map(|case| case.needs_features(&[Feature::AppArmor])).collect()
}

/// What the program is under, then what becomes of two files, of which profiles deny the first.
const SCRIPT: &str = "cat /proc/self/attr/current; echo >/tmp/denied && echo wrote; echo >/tmp/allowed && echo wrote";
const RULES: &str = "deny /tmp/denied w,";

fn bundle(t: &Test) -> Verdict<Bundle<'_>> {
    Ok(t.bundle()?.writable().sh(SCRIPT))
}

fn applies(profile: &Profile, b: Bundle) -> Verdict {
    let out = b.set("/process/apparmorProfile", json!(profile.name)).stdout()?;
    same("output", out, format!("{} (enforce)\nwrote\n", profile.name))
}

fn profile(t: &Test) -> Verdict {
    applies(&Profile::load(t, "profile", RULES)?, bundle(t)?)
}

fn privileges(t: &Test) -> Verdict {
    let profile = Profile::load(t, "privileges", RULES)?;
    applies(&profile, bundle(t)?.set("/process/noNewPrivileges", json!(false)))
}

fn user_namespace(t: &Test) -> Verdict {
    let profile = Profile::load(t, "user", RULES)?;
    // /tmp of the root file system is writable for all.
    applies(&profile, bundle(t)?.user_namespace(100_000, 65_536))
}

fn unconfined(t: &Test) -> Verdict {
    same("output", bundle(t)?.stdout()?, "unconfined\nwrote\nwrote\n")?;
    let b = bundle(t)?.set("/process/apparmorProfile", json!("unconfined"));
    same("output", b.stdout()?, "unconfined\nwrote\nwrote\n")
}

fn exec(t: &Test) -> Verdict {
    let profile = Profile::load(t, "exec", RULES)?;
    let b = t.bundle()?.writable().set("/process/apparmorProfile", json!(profile.name)).running_idle()?;
    let out = t.runtime(&["exec", &b.id, "sh", "-c", SCRIPT])?.exits(0)?.stdout()?;
    same("output", out, format!("{} (enforce)\nwrote\n", profile.name))?;
    b.delete_force().map(drop)
}

fn exec_other(t: &Test) -> Verdict {
    let profile = Profile::load(t, "other", RULES)?;
    let b = t.bundle()?.writable().running_idle()?;
    let out = t.runtime(&["exec", "--apparmor", &profile.name, &b.id, "sh", "-c", SCRIPT])?.exits(0)?.stdout()?;
    same("output", out, format!("{} (enforce)\nwrote\n", profile.name))?;
    b.delete_force().map(drop)
}
