//! docs/rootless.md, word for word as a fresh user.

use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{SUBORDINATE, USER, has_newuidmap, know_the_user};
use crate::bundle::{Output, Test};
use crate::case::{Case, case};
use crate::expect::{Verdict, check, contains, some};
use crate::kind::Kind;

const GUIDE: &str = include_str!("../../../../docs/rootless.md");

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("rootless/guide", "docs/rootless.md, without systemd", guide)
            .only(Kind::NoFrills, "it is the guide to this runtime"),
    ]
}

/// The commands of a section, all in one script that ends when one fails. A shell that somebody types into is typed into.
pub(crate) fn script(section: &str) -> Verdict<String> {
    let mut script = "set -e\n".to_owned();
    for block in blocks(section, "sh")? {
        let typed = "printf 'id\\nexit\\n' | script --quiet --return --command 'no-frills run first' /dev/null";
        script.push_str(&block.replace("no-frills run first\n", &format!("{typed}\n")));
    }
    Ok(script)
}

/// The blocks of a section that are in a language.
fn blocks<'g>(section: &str, language: &str) -> Verdict<Vec<&'g str>> {
    let head = format!("\n## {section}\n");
    let (_, text) = some(section, GUIDE.split_once(&head))?;
    let text = text.split("\n## ").next().unwrap_or_default();
    let fence = format!("```{language}\n");
    let found: Vec<&str> = text.split(&fence).skip(1).filter_map(|rest| rest.split("```").next()).collect();
    check(!found.is_empty(), || format!("{section:?} has no block of {language}"))?;
    Ok(found)
}

/// A home of the user's, and a directory with the command by its name.
pub(crate) fn home(t: &Test, user: u32) -> Verdict {
    for name in ["home", "run", "bin"] {
        fs::create_dir(t.path(name))?;
        chown(t.path(name), Some(user), Some(user))?;
    }
    symlink(&t.runtime, t.path("bin/no-frills"))?;
    Ok(chown(&t.work, Some(user), Some(user))?)
}

/// Where commands are looked for.
pub(crate) fn path(t: &Test) -> String {
    format!("{}:/usr/bin:/bin:/usr/sbin:/sbin", t.path("bin").display())
}

fn shell(t: &Test, script: &str) -> Verdict<Output> {
    let mut command = Command::new("sh");
    command.args(["-c", script]).uid(USER).gid(USER).current_dir("/").env_clear();
    command.env("PATH", path(t)).env("HOME", t.path("home")).env("XDG_RUNTIME_DIR", t.path("run"));
    t.output_of(command)
}

fn guide(t: &Test) -> Verdict {
    has_newuidmap()?;
    let _known = know_the_user(t)?;
    home(t, USER)?;
    let output = shell(t, &script("A first container")?)?.exits(0)?;
    let said = output.stdout()?;
    contains("the shell", &said, "uid=0 gid=0")?;
    contains("list", &said, "running")?;
    contains("ps", &said, "sleep 1000")?;
    let config = t.path("home/first/config.json");
    more_ids(&config)?;
    let output = shell(t, &format!("cd ~/first\n{}", script("More ids")?))?.exits(0)?;
    let said = output.stdout()?;
    contains(
        "the lines",
        &said,
        &format!("/etc/subuid:nfuser:{SUBORDINATE}:65536\n/etc/subgid:nfuser:{SUBORDINATE}:65536\n"),
    )?;
    contains("exec", &said, "uid=33 gid=33")?;
    let left = shell(t, "no-frills list --quiet")?.exits(0)?;
    left.prints("").map(drop)
}

/// The mappings of the guide, with this user's ids.
fn more_ids(path: &Path) -> Verdict {
    let block = some("a block", blocks("More ids", "json")?.first().copied())?;
    let block = block.replace("1000,", &format!("{USER},")).replace("100000,", &format!("{SUBORDINATE},"));
    let mappings: Value = serde_json::from_str(&block)?;
    let mut config: Value = serde_json::from_str(&fs::read_to_string(path)?)?;
    for name in ["uidMappings", "gidMappings"] {
        config["linux"][name] = mappings[name].clone();
    }
    Ok(fs::write(path, config.to_string())?)
}
