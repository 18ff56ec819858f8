//! One point: a scenario, a call of it that is harmed, and what came of it.

mod judge;

use std::fs::{self, File};
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use serde_json::{Value, json};

use super::fault::{Fault, Place};
use super::inside::{self, Inventory, Seen};
use super::scenario::{Before, EXEC_SCRIPT, Fixture, Places, Scenario, config, normal, script};
use super::trace;
use no_frills_conformance::kind::Kind;
use no_frills_conformance::{cgroup2, rootfs};

/// What the point itself writes, and what is not looked at in the search for what is left.
const OWN: &[&str] = &["own", "out", "rootfs"];

/// A point, as it is told to the process that runs it.
#[derive(Debug)]
pub(crate) struct Point {
    pub(crate) scenario: &'static Scenario,
    pub(crate) harm: Option<(Place, Fault)>,
    /// The harmed process has heard all that it is told: that it is killed now is the same as that it is killed right after the
    /// command has succeeded.
    pub(crate) late: bool,
    pub(crate) runtime: PathBuf,
    pub(crate) kind: Kind,
    pub(crate) work: PathBuf,
    /// As a path in the hierarchy.
    pub(crate) cgroup: String,
    /// What a run without harm has shown.
    pub(crate) reference: Option<PathBuf>,
    pub(crate) patience: Duration,
}

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wrong {
    /// Something is left after `delete --force`.
    Left,
    /// A command does not end.
    Hang,
    /// It failed, and said nothing.
    Silent,
    /// It said that it had succeeded, and had not.
    False,
    /// Ours alone: it said more than one thing, or not what went wrong.
    Unclear,
}

/// In the order of the table.
pub(crate) const WRONGS: [Wrong; 5] = [Wrong::Left, Wrong::Hang, Wrong::Silent, Wrong::False, Wrong::Unclear];

impl Wrong {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Wrong::Left => "left behind",
            Wrong::Hang => "hangs",
            Wrong::Silent => "silent failures",
            Wrong::False => "false successes",
            Wrong::Unclear => "unclear messages",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Wrong> {
        WRONGS.into_iter().find(|wrong| wrong.name() == name)
    }
}

impl Point {
    /// As the command line of the process that runs it.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "scenario": self.scenario.name,
            "place": self.harm.as_ref().map(|(place, _)| place.to_string()),
            "fault": self.harm.as_ref().map(|(_, fault)| fault.to_string()),
            "late": self.late,
            "runtime": self.runtime,
            "kind": self.kind.name(),
            "work": self.work,
            "cgroup": self.cgroup,
            "reference": self.reference,
            "patience": self.patience.as_secs(),
        })
    }

    pub(crate) fn from_json(value: &Value) -> Result<Point, String> {
        let text = |name: &str| value[name].as_str().ok_or_else(|| format!("a point without {name}"));
        let harm = match value["place"].as_str() {
            Some(place) => Some((place.parse()?, text("fault")?.parse()?)),
            None => None,
        };
        Ok(Point {
            scenario: Scenario::find(text("scenario")?).ok_or("an unknown scenario")?,
            harm,
            late: value["late"] == true,
            runtime: text("runtime")?.into(),
            kind: Kind::named(text("kind")?),
            work: text("work")?.into(),
            cgroup: text("cgroup")?.to_owned(),
            reference: value["reference"].as_str().map(Into::into),
            patience: Duration::from_secs(value["patience"].as_u64().unwrap_or(10)),
        })
    }
}

/// How a command of the runtime ended.
#[derive(Debug)]
struct Ended {
    /// `None`: it did not, in time.
    status: Option<ExitStatus>,
    stderr: String,
    /// The processes there were when its time was over.
    hanging: Vec<Seen>,
}

impl Ended {
    fn succeeded(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    fn how(&self) -> String {
        let status = self.status.map_or("still running".to_owned(), |status| status.to_string());
        format!("{status}: {}", self.stderr.trim())
    }
}

/// A point at work.
struct Work<'p> {
    point: &'p Point,
    id: String,
    cgroup: PathBuf,
    /// The container's.
    container: PathBuf,
    consoles: Arc<Mutex<Vec<OwnedFd>>>,
    problems: Vec<(Wrong, String)>,
}

/// Runs the point in the surroundings that are its own, and tells what came of it.
pub(crate) fn run(point: &Point) -> Result<Value, String> {
    let cgroup = cgroup2::mount_point()?.join(point.cgroup.trim_start_matches('/'));
    inside::prepare(&cgroup)?;
    let id = point.cgroup.trim_start_matches('/').replace('/', "-");
    let container = cgroup.join("c").join(&id);
    let (consoles, problems) = (Arc::default(), Vec::new());
    let mut work = Work { point, id, cgroup, container, consoles, problems };
    if point.kind != Kind::NoFrills {
        // Peers leave a cgroup that they made on the way to the container's, whatever happens.
        let parent = work.cgroup.join("c");
        fs::create_dir(&parent).map_err(|e| format!("making {}: {e}", parent.display()))?;
    }
    work.make().map_err(|e| format!("making a bundle: {e}"))?;
    work.listen()?;
    let before = Inventory::take(&point.work, OWN, &work.cgroup);
    let existing = work.get_there()?;
    let (ended, answer) = work.harm(existing)?;
    let seen = work.judge(&ended, &before)?;
    work.clean_up(&before)?;
    let problems: Vec<Value> = work.problems.iter().map(|(wrong, why)| json!([wrong.name(), why])).collect();
    Ok(json!({
        "hit": answer["hit"], "calls": answer["calls"], "seen": seen, "problems": problems,
        "status": ended.status.map(|status| status.to_string()), "stderr": ended.stderr,
    }))
}

impl Work<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.point.work.join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    fn wrong(&mut self, wrong: Wrong, why: impl Into<String>) {
        self.problems.push((wrong, why.into()));
    }

    fn make(&self) -> std::io::Result<()> {
        let Point { work, scenario, .. } = self.point;
        for dir in ["own", "out", "idm", "b"] {
            fs::create_dir(work.join(dir))?;
        }
        fs::set_permissions(work.join("out"), fs::Permissions::from_mode(0o777))?;
        fs::write(work.join("out/hooks"), "")?;
        fs::set_permissions(work.join("out/hooks"), fs::Permissions::from_mode(0o666))?;
        fs::write(work.join("idm/file"), "")?;
        let root = work.join("b/rootfs");
        rootfs::make(&root, &work.join("../busybox"))?;
        for dir in ["out", "idm"] {
            fs::create_dir(root.join(dir))?;
        }
        fs::write(root.join("denied"), "")?;
        fs::write(root.join("tmp/copied"), "")?;
        let then = if scenario.before == Before::Running && scenario.command() == "exec" {
            "exec sleep 100000"
        } else {
            scenario.then
        };
        let script = script("first", then);
        let device = ["/dev/fuse", "/dev/loop-control", "/dev/vda", "/dev/sda"]
            .into_iter()
            .find(|path| Path::new(path).exists());
        let places = Places {
            cgroups_path: &format!("{}/c/{}", self.point.cgroup, self.id),
            out: &self.text("out"),
            idm: &self.text("idm"),
            agent: &self.text("own/agent"),
            busybox: &self.text("../busybox"),
            device,
        };
        let config = config(scenario.fixture, &["sh", "-c", &script], &places).map_err(std::io::Error::other)?;
        fs::write(work.join("b/config.json"), config.to_string())?;
        let limits = json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 6 << 20}]});
        fs::write(work.join("own/resources"), limits.to_string())
    }

    /// Takes what comes to the console socket, and to that of the seccomp agent.
    fn listen(&self) -> Result<(), String> {
        for name in ["own/console", "own/agent"] {
            let listener = UnixListener::bind(self.path(name)).map_err(|e| format!("listening: {e}"))?;
            let kept = (name == "own/console").then(|| Arc::clone(&self.consoles));
            std::thread::spawn(move || {
                for connection in listener.incoming().flatten() {
                    // A listener of seccomp ends here; nothing asks it anything.
                    let fds = receive(&connection);
                    if let Some(kept) = &kept
                        && let Ok(mut kept) = kept.lock()
                    {
                        kept.extend(fds);
                    }
                }
            });
        }
        Ok(())
    }

    /// The runtime's command line.
    fn command_line(&self, arguments: &[&str]) -> Vec<String> {
        let script = script("exec", self.point.scenario.then);
        let word = |word: &&str| match *word {
            "ID" => self.id.clone(),
            "BUNDLE" => self.text("b"),
            "CONSOLE" => self.text("own/console"),
            "PIDFILE" => self.text("pid"),
            "RESOURCES" => self.text("own/resources"),
            EXEC_SCRIPT => script.clone(),
            word => word.to_owned(),
        };
        let runtime = self.point.runtime.to_string_lossy().into_owned();
        let mut line = vec![runtime, "--root".to_owned(), self.text("s")];
        line.extend(arguments.iter().map(word));
        line
    }

    /// Runs a command of the runtime, or another that runs one.
    fn spawn(&self, mut command: Command, what: &str) -> Result<Ended, String> {
        let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into());
        command.env_clear().env("PATH", path).env("FAULTS_ANSWER", self.path("own/answer"));
        let tell = |e: std::io::Error| format!("starting {what}: {e}");
        let (out, err) = (self.path("own/out"), self.path("own/err"));
        let appending = |path: &Path| {
            // Another file each time: what runs in a container goes on writing.
            fs::remove_file(path)
                .or_else(|e| if e.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(e) })?;
            File::options().create(true).append(true).open(path)
        };
        command.stdin(Stdio::null()).stdout(appending(&out).map_err(tell)?).stderr(appending(&err).map_err(tell)?);
        let child = command.spawn().map_err(tell)?;
        let pid = child.id().cast_signed();
        let mut hanging = Vec::new();
        let status = inside::wait(&child, self.point.patience, || {
            hanging = inside::processes();
            // The command under a tracer, which then ends by itself; or the command.
            let mine: Vec<i32> = hanging.iter().filter(|seen| seen.parent == pid).map(|seen| seen.pid).collect();
            if mine.is_empty() {
                inside::kill(pid);
            } else {
                mine.into_iter().for_each(inside::kill);
            }
            let deadline = Instant::now() + Duration::from_secs(5);
            while Path::new(&format!("/proc/{pid}")).exists() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(10));
            }
            inside::kill(pid);
        })?;
        let stderr = fs::read(&err).map_err(|e| format!("{}: {e}", err.display()))?;
        Ok(Ended { status, stderr: String::from_utf8_lossy(&stderr).into_owned(), hanging })
    }

    fn runtime(&self, arguments: &[&str]) -> Result<Ended, String> {
        let line = self.command_line(arguments);
        let (program, rest) = line.split_first().ok_or("no command")?;
        let mut command = Command::new(program);
        command.args(rest);
        self.spawn(command, &arguments.join(" "))
    }

    /// A command that is no part of the point itself, and has to succeed.
    fn must(&self, arguments: &[&str]) -> Result<(), String> {
        let ended = self.runtime(arguments)?;
        if ended.succeeded() { Ok(()) } else { Err(format!("getting there: {}: {}", arguments.join(" "), ended.how())) }
    }

    /// Brings about what is there before the command: the pid of a created container's init.
    fn get_there(&self) -> Result<Option<i32>, String> {
        let Scenario { before, fixture, .. } = *self.point.scenario;
        if before == Before::Nothing {
            return Ok(None);
        }
        let mut create = vec!["create", "--bundle", "BUNDLE"];
        if fixture == Fixture::Full {
            create.extend(["--console-socket", "CONSOLE"]);
        }
        create.push("ID");
        self.must(&create)?;
        if before == Before::Created {
            return Ok(self.state()?["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()));
        }
        self.must(&["start", "ID"])?;
        self.told("first")?;
        match before {
            Before::Paused => self.must(&["pause", "ID"])?,
            Before::Stopped => {
                self.must(&["kill", "ID", "KILL"])?;
                self.until("the container stops", || self.is_empty())?;
            }
            _ => {}
        }
        Ok(None)
    }

    fn state(&self) -> Result<Value, String> {
        let ended = self.runtime(&["state", "ID"])?;
        let text = fs::read_to_string(self.path("own/out")).map_err(|e| e.to_string())?;
        serde_json::from_str(&text).map_err(|e| format!("state: {e}: {}", ended.how()))
    }

    /// Waits for what no event tells of.
    fn until(&self, what: &str, holds: impl Fn() -> bool) -> Result<(), String> {
        let deadline = Instant::now() + self.point.patience;
        while !holds() {
            if Instant::now() > deadline {
                return Err(format!("{what}: not after {:?}", self.point.patience));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// A flag of the container's cgroup.events.
    fn event(&self, name: &str) -> bool {
        let text = fs::read_to_string(self.container.join("cgroup.events")).unwrap_or_default();
        text.lines().any(|line| line == format!("{name} 1"))
    }

    fn is_empty(&self) -> bool {
        !self.event("populated")
    }

    /// What a program in the container has told.
    fn told(&self, name: &str) -> Result<String, String> {
        let path = self.path("out").join(name);
        self.until("the program tells what it sees", || path.exists() || self.is_empty())?;
        let text = fs::read_to_string(&path).map_err(|_| "the program does not run".to_owned())?;
        let links = fs::read_dir("/proc/self/ns").into_iter().flatten().flatten();
        let own: Vec<String> =
            links.filter_map(|link| Some(fs::read_link(link.path()).ok()?.to_string_lossy().into_owned())).collect();
        let text = normal(&text, &own);
        // That may be run before or after.
        let text = text.replace("\npoststart", "");
        Ok(text
            .replace(&*self.point.work.to_string_lossy(), "WORK")
            .replace(&self.id, "ID")
            .replace(&self.point.cgroup, "CGROUP"))
    }

    /// Runs the command of the scenario under the tracer.
    fn harm(&mut self, existing: Option<i32>) -> Result<(Ended, Value), String> {
        let Scenario { name, arguments, .. } = *self.point.scenario;
        let own = std::env::current_exe().map_err(|e| format!("/proc/self/exe: {e}"))?;
        let mut command = Command::new(own);
        command.arg("--trace");
        match &self.point.harm {
            Some((place, fault)) => command.arg(place.to_string()).arg(fault.to_string()),
            None => command.args(["-", "-"]),
        };
        let also = existing.filter(|_| self.point.scenario.command() == "start");
        command.arg(also.unwrap_or_default().to_string()).args(self.command_line(arguments));
        let mut ended = self.spawn(command, name)?;
        let answer = fs::read_to_string(self.path("own/answer")).unwrap_or_default();
        let answer: Value =
            serde_json::from_str(&answer).map_err(|e| format!("the tracer said {answer:?}: {e}: {}", ended.how()))?;
        ended.status = ended.status.and(answer["status"].as_i64().map(trace::status));
        Ok((ended, answer))
    }

    /// Files that are nobody's fault.
    fn is_of_no_concern(&self, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default();
        let root = self.path("s");
        // The state root itself; crun has directories of its own beside the containers'.
        path == root
            || self.point.kind == Kind::Crun && (name == ".cache" || name == ".empty-directory" || path == Path::new("/run/crun"))
            // It is its caller's as soon as the container is whole.
            || name == "pid" && path == self.path("pid")
    }

    fn clean_up(&mut self, before: &Inventory) -> Result<(), String> {
        let ended = self.runtime(&["delete", "--force", "ID"])?;
        if ended.status.is_none() {
            let seen: Vec<_> = ended.hanging.iter().map(|seen| seen.words.as_str()).collect();
            self.wrong(Wrong::Hang, format!("delete --force hangs: {}", seen.join("; ")));
        } else if !ended.succeeded() && self.point.kind == Kind::NoFrills {
            self.wrong(Wrong::Left, format!("delete --force: {}", ended.how()));
        }
        let left = before.left(&self.point.work, OWN, &self.cgroup, |path| self.is_of_no_concern(path));
        if !left.is_empty() {
            self.wrong(Wrong::Left, left.join(", "));
        }
        Ok(())
    }
}

/// The descriptors that come over a connection, to its end.
fn receive(connection: &std::os::unix::net::UnixStream) -> Vec<OwnedFd> {
    let mut fds = Vec::new();
    loop {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut messages = RecvAncillaryBuffer::new(&mut space);
        let mut data = [0; 4096];
        let received =
            rustix::net::recvmsg(connection, &mut [IoSliceMut::new(&mut data)], &mut messages, RecvFlags::CMSG_CLOEXEC);
        for message in messages.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                fds.extend(rights);
            }
        }
        if !received.is_ok_and(|received| received.bytes > 0) {
            return fds;
        }
    }
}
