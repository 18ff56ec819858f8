//! Many containers: made at the same time, and alive at the same time.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::json;

use crate::bundle::{Bundle, Test, code};
use crate::case::{Case, case};
use crate::expect::{Verdict, check, same};
use crate::kind::Kind;

pub(crate) fn cases() -> Vec<Case> {
    const LONG: &str = "takes minutes; target/release/many measures it";
    vec![
        case("reliability/five-hundred-at-once", "500 containers created, started and deleted at once", five_hundred)
            .skip(Kind::Runc, LONG)
            .skip(Kind::Crun, LONG),
        case(
            "reliability/thousand-alive",
            "1,000 containers alive at once: listed, looked at, entered, deleted",
            thousand,
        )
        .skip(Kind::Runc, LONG)
        .skip(Kind::Crun, LONG),
    ]
}

/// Containers that share a root file system; each has a configuration, and so a cgroup, of its own.
struct Many<'t> {
    b: Bundle<'t>,
    ids: Vec<String>,
}

impl<'t> Many<'t> {
    fn new(t: &'t Test, count: usize) -> Verdict<Self> {
        let b = t.bundle()?.idle();
        let rootfs = json!(b.rootfs(""));
        let mut many = Many { b: b.set("/root/path", rootfs), ids: Vec::new() };
        for number in 0..count {
            let id = format!("{}-{number}", many.b.id);
            let path = format!("{}/{id}", t.cgroup);
            many.b.config["linux"]["cgroupsPath"] = json!(path);
            fs::create_dir(many.dir(&id))?;
            fs::write(many.dir(&id).join("config.json"), serde_json::to_vec(&many.b.config)?)?;
            t.clean_up_also(&id);
            many.ids.push(id);
        }
        Ok(many)
    }

    fn dir(&self, id: &str) -> PathBuf {
        self.b.test.path(id)
    }

    /// Runs a command for each, so many at the same time; all must succeed.
    fn all(&self, verb: &[&str], at_once: usize) -> Verdict {
        let t = self.b.test;
        for ids in self.ids.chunks(at_once) {
            let mut children = Vec::new();
            for id in ids {
                let dir = self.dir(id);
                let bundle = dir.to_string_lossy();
                let mut args = verb.to_vec();
                if matches!(verb, ["create" | "run", ..]) {
                    args.extend(["--bundle", &bundle]);
                }
                args.push(id);
                let errors = dir.join("errors");
                let mut command = t.command(&args);
                command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&errors)?);
                children.push((id, errors, command.spawn()?));
            }
            for (id, errors, mut child) in children {
                let status = code(child.wait()?);
                let said = fs::read_to_string(errors)?;
                check(status == 0, || format!("{} {id}: status {status}: {said}", verb.join(" ")))?;
                same("what it said", said, "")?;
            }
        }
        Ok(())
    }

    /// All are listed with this status.
    fn are(&self, status: &str) -> Verdict {
        let output = self.b.test.runtime(&["list", "--format", "json"])?.exits(0)?;
        same("what list warns of", output.stderr()?, "")?;
        let list: serde_json::Value = serde_json::from_str(&output.stdout()?)?;
        let list: Vec<_> = list.as_array().into_iter().flatten().collect();
        same("how many are listed", list.len(), self.ids.len())?;
        check(list.iter().all(|one| one["status"] == status), || format!("not all are {status}"))
    }
}

fn five_hundred(t: &Test) -> Verdict {
    let many = Many::new(t, 500)?;
    many.all(&["create"], 500)?;
    many.are("created")?;
    many.all(&["start"], 500)?;
    many.are("running")?;
    many.all(&["delete", "--force"], 500)
}

fn thousand(t: &Test) -> Verdict {
    let many = Many::new(t, 1000)?;
    many.all(&["run", "--detach"], 16)?;
    many.are("running")?;
    for id in many.ids.iter().step_by(333) {
        same("status", &t.state(id)?["status"], "running")?;
        t.runtime(&["exec", id, "true"])?.exits(0)?;
    }
    many.all(&["delete", "--force"], 16)?;
    t.runtime(&["list", "--quiet"])?.exits(0)?.prints("")?;
    Ok(())
}
