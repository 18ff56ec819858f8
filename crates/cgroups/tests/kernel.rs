//! The crate on a real cgroup file system, in throw-away cgroups. Skipped, and says so, where none
//! can be made.

// Most of this is helper functions, which clippy does not take for tests.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use no_frills_cgroups::devices::{self, Access, Kind, Rule};
use no_frills_cgroups::resources::{HugepageLimit, Target, Write};
use no_frills_cgroups::{Cgroup, CgroupsPath, Controller, Error, Hierarchy, Resources};
use no_frills_sys::bpf;

const LONG: Option<Duration> = Some(Duration::from_secs(20));
const NO_TIME: Option<Duration> = Some(Duration::ZERO);

/// A directory of this test's own; what is in it is killed and removed at the end, also of a failed
/// test.
struct Place {
    hierarchy: Hierarchy,
    own: Cgroup,
    name: String,
}

impl Place {
    fn new(test: &str) -> Option<Place> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("no-frills-test-{}-{count}", std::process::id());
        let made = Hierarchy::find().and_then(|hierarchy| {
            let mut own = Cgroup::new(&hierarchy, Path::new(&name))?;
            own.create(|_| Ok::<(), Error>(()))?;
            Ok((hierarchy, own))
        });
        match made {
            Ok((hierarchy, own)) => Some(Place { hierarchy, own, name }),
            Err(error) => {
                eprintln!("{test}: skipped: {error}");
                None
            }
        }
    }

    fn cgroup(&self, path: &str) -> Cgroup {
        Cgroup::new(&self.hierarchy, &Path::new(&self.name).join(path)).unwrap()
    }

    fn path(&self, path: &str) -> PathBuf {
        self.own.path().join(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.own.kill().unwrap();
        self.own.remove(LONG).unwrap();
    }
}

macro_rules! place {
    ($test:literal) => {
        match Place::new($test) {
            Some(place) => place,
            None => return,
        }
    };
}

/// A child in the cgroup, which is killed and reaped at the end.
struct Sleeper(Child);

impl Sleeper {
    fn new() -> Sleeper {
        Sleeper(Command::new("sleep").arg("1000").spawn().unwrap())
    }

    fn in_cgroup(cgroup: &Cgroup) -> Sleeper {
        let sleeper = Sleeper::new();
        sleeper.enter(cgroup.path()).unwrap();
        sleeper
    }

    fn enter(&self, path: &Path) -> Result<(), Errno> {
        fs::write(path.join("cgroup.procs"), self.0.id().to_string())
            .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap()))
    }

    fn pid(&self) -> i32 {
        self.0.id() as i32
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn unjournaled(_: &Cgroup) -> Result<(), Error> {
    panic!("no parent is missing, so there is nothing to be written anew");
}

#[test]
fn made_and_removed() {
    let place = place!("made_and_removed");
    let mut cgroup = place.cgroup("a");
    cgroup.claim().unwrap();
    let dir = cgroup.create(unjournaled).unwrap();
    assert!(!dir.existed());
    assert!(cgroup.path().is_dir());
    assert_eq!(cgroup.relative(), Path::new(&place.name).join("a"));
    assert!(!cgroup.populated().unwrap());
    assert!(cgroup.processes().unwrap().is_empty());
    cgroup.remove(NO_TIME).unwrap();
    assert!(!cgroup.path().exists());
    // All of it can be said again.
    cgroup.remove(NO_TIME).unwrap();
    cgroup.kill().unwrap();
    cgroup.wait_empty(None).unwrap();
    assert!(!cgroup.populated().unwrap());
    assert!(cgroup.processes().unwrap().is_empty());
    assert_eq!(cgroup.open().unwrap_err().errno(), Some(Errno::ENOENT));
}

#[test]
fn parents_that_were_made_are_on_record_before_and_go_with_it() {
    let place = place!("parents_that_were_made_are_on_record_before_and_go_with_it");
    let mut cgroup = place.cgroup("a/b/c");
    assert_eq!(cgroup.parents(), 0);
    let mut records = Vec::new();
    cgroup
        .create(|cgroup| {
            assert!(!place.path("a").exists(), "recorded too late");
            records.push((cgroup.relative().to_owned(), cgroup.parents()));
            Ok::<(), Error>(())
        })
        .unwrap();
    assert_eq!(records, [(Path::new(&place.name).join("a/b/c"), 2)]);
    let recorded = Cgroup::recorded(&place.hierarchy, &records[0].0, records[0].1).unwrap();
    assert_eq!(recorded, cgroup);
    recorded.remove(NO_TIME).unwrap();
    assert!(!place.path("a").exists());
    assert!(place.own.path().exists(), "that one was there before");
}

#[test]
fn a_parent_that_is_used_or_was_there_before_stays() {
    let place = place!("a_parent_that_is_used_or_was_there_before_stays");
    fs::create_dir(place.path("old")).unwrap();
    let mut first = place.cgroup("old/new/first");
    first.create(|_| Ok::<(), Error>(())).unwrap();
    assert_eq!(first.parents(), 1);
    let mut second = place.cgroup("old/new/second");
    second.create(unjournaled).unwrap();
    first.remove(NO_TIME).unwrap();
    assert!(place.path("old/new").exists());
    second.remove(NO_TIME).unwrap();
    first.remove(NO_TIME).unwrap();
    assert!(place.path("old").exists() && !place.path("old/new").exists());
}

#[test]
fn a_record_of_what_was_never_made_is_cleared_up_too() {
    let place = place!("a_record_of_what_was_never_made_is_cleared_up_too");
    let path = Path::new(&place.name).join("a/b/c");
    let cgroup = |parents| Cgroup::recorded(&place.hierarchy, &path, parents).unwrap();
    cgroup(2).remove(NO_TIME).unwrap();
    fs::create_dir(place.path("a")).unwrap();
    cgroup(2).remove(NO_TIME).unwrap();
    assert!(!place.path("a").exists());
    assert!(Cgroup::recorded(&place.hierarchy, Path::new("a/b"), 2).is_err());
    assert!(Cgroup::recorded(&place.hierarchy, Path::new("a/../../b"), 0).is_err());
}

#[test]
fn a_failing_journal_leaves_nothing() {
    let place = place!("a_failing_journal_leaves_nothing");
    let refuse = |cgroup: &Cgroup| Err(Error::Frozen(cgroup.path().to_owned()));
    assert!(place.cgroup("a/b").create(refuse).is_err());
    assert!(!place.path("a").exists());
}

#[test]
fn the_default_place_leaves_nothing_behind() {
    let place = place!("the_default_place_leaves_nothing_behind");
    // As if the mount were here.
    let hierarchy = Hierarchy::at(place.own.path()).unwrap();
    let make = |id: &str| {
        let CgroupsPath::Fs(path) = CgroupsPath::parse(None, id).unwrap() else { panic!("{id}") };
        let mut cgroup = Cgroup::new(&hierarchy, &path).unwrap();
        assert_eq!(cgroup.parents(), 1);
        cgroup.create(unjournaled).unwrap();
        cgroup
    };
    let (first, second) = (make("1"), make("2"));
    first.remove(NO_TIME).unwrap();
    assert!(place.path("no-frills").exists());
    second.remove(NO_TIME).unwrap();
    assert!(!place.path("no-frills").exists());
}

#[test]
fn an_empty_one_is_taken_and_a_used_one_is_not() {
    let place = place!("an_empty_one_is_taken_and_a_used_one_is_not");
    fs::create_dir_all(place.path("a/child")).unwrap();
    let mut cgroup = place.cgroup("a");
    assert!(cgroup.create(unjournaled).unwrap().existed());

    let sleeper = Sleeper::in_cgroup(&place.cgroup("a/child"));
    for error in [cgroup.claim().unwrap_err(), cgroup.create(unjournaled).unwrap_err()] {
        let expected = "container's cgroup is not empty: 1 process(es) found";
        assert!(error.to_string().contains(expected), "{error}");
    }
    assert!(place.path("a/child").exists());
    drop(sleeper);
    cgroup.wait_empty(LONG).unwrap();

    fs::write(place.path("a/cgroup.freeze"), "1").unwrap();
    assert!(matches!(cgroup.create(unjournaled), Err(Error::Frozen(_))));
    cgroup.remove(NO_TIME).unwrap();
    assert!(!place.path("a").exists());
}

#[test]
fn killing_waiting_and_removing() {
    let place = place!("killing_waiting_and_removing");
    let mut cgroup = place.cgroup("a");
    cgroup.create(unjournaled).unwrap();
    let mut first = Sleeper::in_cgroup(&cgroup);
    fs::create_dir_all(place.path("a/b/c")).unwrap();
    let mut second = Sleeper::in_cgroup(&place.cgroup("a/b/c"));
    let mut pids = [first.pid(), second.pid()];
    pids.sort_unstable();
    assert_eq!(cgroup.processes().unwrap(), pids);
    assert!(cgroup.populated().unwrap());

    let begin = Instant::now();
    let error = cgroup.remove(Some(Duration::from_millis(30))).unwrap_err();
    assert!(begin.elapsed() >= Duration::from_millis(30));
    let path = cgroup.path().display();
    assert_eq!(error.to_string(), format!("the cgroup {path} still has 2 process(es) after 30ms"));

    // Killed while another thread waits. The wait ends although nobody reaps the two before.
    thread::scope(|scope| {
        let waiter = scope.spawn(|| cgroup.wait_empty(LONG));
        cgroup.kill().unwrap();
        waiter.join().unwrap().unwrap();
    });
    assert!(!first.0.wait().unwrap().success() && !second.0.wait().unwrap().success());
    cgroup.remove(LONG).unwrap();
    assert!(!place.path("a").exists());
}

#[test]
fn removal_waits_for_the_last_process() {
    let place = place!("removal_waits_for_the_last_process");
    let mut cgroup = place.cgroup("a");
    cgroup.create(unjournaled).unwrap();
    let mut sleeper = Sleeper::in_cgroup(&cgroup);
    thread::scope(|scope| {
        let remover = scope.spawn(|| cgroup.remove(LONG));
        sleeper.0.kill().unwrap();
        remover.join().unwrap().unwrap();
    });
    sleeper.0.wait().unwrap();
    assert!(!place.path("a").exists());
}

#[test]
fn a_frozen_cgroup_is_killed() {
    let place = place!("a_frozen_cgroup_is_killed");
    let mut cgroup = place.cgroup("a");
    cgroup.create(unjournaled).unwrap();
    let _sleeper = Sleeper::in_cgroup(&cgroup);
    fs::write(place.path("a/cgroup.freeze"), "1").unwrap();
    cgroup.kill().unwrap();
    cgroup.remove(LONG).unwrap();
}

#[test]
fn all_beneath_is_frozen_and_thawed() {
    let place = place!("all_beneath_is_frozen_and_thawed");
    let mut cgroup = place.cgroup("a");
    assert!(!cgroup.thaw().unwrap(), "there is none");
    cgroup.freeze(Duration::ZERO).unwrap();
    cgroup.create(unjournaled).unwrap();
    let _first = Sleeper::in_cgroup(&cgroup);
    let mut below = place.cgroup("a/b");
    below.create(unjournaled).unwrap();
    let _second = Sleeper::in_cgroup(&below);
    for _ in 0..20 {
        assert!(!cgroup.thaw().unwrap());
        cgroup.freeze(LONG.unwrap()).unwrap();
        assert!(cgroup.frozen().unwrap() && below.frozen().unwrap());
        assert_eq!(below.frozen_above().unwrap().as_deref(), Some(cgroup.path()));
        assert_eq!(cgroup.frozen_above().unwrap(), None);
        // It is frozen from above, which it cannot undo.
        assert!(!below.thaw().unwrap());
        assert!(below.frozen().unwrap());
        cgroup.freeze(Duration::ZERO).unwrap();
        assert!(cgroup.thaw().unwrap());
        assert!(!cgroup.frozen().unwrap() && !below.frozen().unwrap());
    }
}

/// A process in an uninterruptible sleep: it asks a FUSE file system of which nobody serves the requests. `None`: there is no FUSE.
fn uninterruptible(cgroup: &Cgroup) -> Option<(Sleeper, i32)> {
    let script = format!(
        "exec 3<>/dev/fuse && mount -i -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0 x /mnt || exit
        sh -c 'echo 0 >{}/cgroup.procs; exec stat /mnt' 3>&- &
        echo $!; exec sleep 1000",
        cgroup.path().display()
    );
    let mut holder = Command::new("unshare").args(["-m", "sh", "-c", &script]).stdout(Stdio::piped()).spawn().ok()?;
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(holder.stdout.take()?), &mut line).ok()?;
    let Ok(pid) = line.trim().parse() else {
        holder.wait().unwrap();
        return None;
    };
    let holder = Sleeper(holder);
    // No event tells of it.
    while !fs::read_to_string(format!("/proc/{pid}/stack")).unwrap().contains("fuse_") {
        thread::yield_now();
    }
    Some((holder, pid))
}

#[test]
fn what_cannot_be_frozen_is_thawed_again() {
    let place = place!("what_cannot_be_frozen_is_thawed_again");
    let mut cgroup = place.cgroup("a");
    cgroup.create(unjournaled).unwrap();
    let Some((_holder, pid)) = uninterruptible(&cgroup) else {
        eprintln!("what_cannot_be_frozen_is_thawed_again: skipped: no FUSE");
        return;
    };
    assert_eq!(cgroup.processes().unwrap(), [pid]);
    let error = cgroup.freeze(Duration::from_millis(30)).unwrap_err();
    assert!(error.to_string().contains("did not freeze within 30ms, and was thawed again"), "{error}");
    assert_eq!(fs::read_to_string(place.path("a/cgroup.freeze")).unwrap(), "0\n");
    cgroup.kill().unwrap();
    cgroup.wait_empty(LONG).unwrap();
}

#[test]
fn statistics_are_read_whatever_controllers_there_are() {
    let place = place!("statistics_are_read_whatever_controllers_there_are");
    let mut cgroup = place.cgroup("a");
    assert_eq!(cgroup.stats().unwrap_err().errno(), Some(Errno::ENOENT));
    assert_eq!(cgroup.oom_kills().unwrap(), None);
    cgroup.create(unjournaled).unwrap();
    let script = format!(
        "echo 0 >{}/cgroup.procs; i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done",
        place.path("a").display()
    );
    assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
    let stats = cgroup.stats().unwrap();
    let cpu = stats.cpu.unwrap();
    assert!(cpu.usage_usec > 0 && cpu.usage_usec >= cpu.user_usec, "{cpu:?}");
    for (file, is_there) in [
        ("memory.current", stats.memory.is_some()),
        ("pids.current", stats.pids.is_some()),
        ("io.stat", stats.io.is_some()),
        ("rdma.current", stats.rdma.is_some()),
        ("misc.current", stats.misc.is_some()),
        ("hugetlb.2MB.current", stats.hugetlb.contains_key("2MB")),
    ] {
        assert_eq!(is_there, place.path("a").join(file).exists(), "{file}");
    }
    let pressures = [stats.cpu_pressure, stats.memory_pressure, stats.io_pressure];
    if place.path("a/cpu.pressure").exists() && fs::read(place.path("a/cpu.pressure")).is_ok() {
        assert!(pressures.iter().all(Option::is_some), "{pressures:?}");
    }
}

#[test]
fn what_a_container_nests_is_removed_however_deep_or_wide() {
    let place = place!("what_a_container_nests_is_removed_however_deep_or_wide");
    let mut cgroup = place.cgroup("a");
    cgroup.create(unjournaled).unwrap();
    for name in 0..300 {
        fs::create_dir_all(place.path(&format!("a/wide/{name}"))).unwrap();
    }
    // Deeper than there are descriptors to be had (usually 1024), one relative step at a time.
    let mut here = fs::File::open(cgroup.path()).unwrap();
    let mut depth = 0;
    for _ in 0..1200 {
        match nix::sys::stat::mkdirat(&here, "d", nix::sys::stat::Mode::S_IRWXU) {
            Ok(()) => {}
            Err(errno) => {
                eprintln!("no deeper than {depth}: {errno}");
                break;
            }
        }
        here = fs::File::open(format!("/proc/self/fd/{}/d", here.as_raw_fd())).unwrap();
        depth += 1;
    }
    assert!(depth > 100);
    drop(here);
    assert!(cgroup.processes().unwrap().is_empty());
    cgroup.remove(LONG).unwrap();
    assert!(!place.path("a").exists());
}

#[test]
fn parents_that_come_and_go_are_no_obstacle() {
    let place = place!("parents_that_come_and_go_are_no_obstacle");
    let hierarchy = Hierarchy::at(place.own.path()).unwrap();
    thread::scope(|scope| {
        for thread in 0..8 {
            let hierarchy = &hierarchy;
            scope.spawn(move || {
                for round in 0..200 {
                    // Half of them in the default place, half beneath parents of their own making.
                    let parents = if round % 2 == 0 { "no-frills" } else { "x/y" };
                    let path = Path::new(parents).join(thread.to_string());
                    let mut cgroup = Cgroup::new(hierarchy, &path).unwrap();
                    cgroup.create(|_| Ok::<(), Error>(())).unwrap();
                    assert!(cgroup.path().exists());
                    cgroup.remove(NO_TIME).unwrap();
                }
            });
        }
    });
    assert!(!place.path("no-frills").exists());
}

#[test]
fn the_rule_on_threaded_cgroups_is_explained() {
    let place = place!("the_rule_on_threaded_cgroups_is_explained");
    let mut cgroup = place.cgroup("t/a");
    cgroup.create(|_| Ok::<(), Error>(())).unwrap();
    fs::create_dir(place.path("t/threaded")).unwrap();
    fs::write(place.path("t/threaded/cgroup.type"), "threaded").unwrap();
    let refused = Sleeper::new().enter(cgroup.path()).unwrap_err();
    let error = cgroup.entering(refused);
    assert!(error.to_string().contains("its type is \"domain invalid\""), "{error}");
    assert_eq!(error.errno(), Some(Errno::EOPNOTSUPP));
    // These have no cgroup.procs to be read.
    assert!(cgroup.processes().unwrap().is_empty());
    assert!(place.cgroup("t/threaded").processes().unwrap().is_empty());
}

#[test]
fn the_rule_on_inner_processes_is_explained() {
    let place = place!("the_rule_on_inner_processes_is_explained");
    let here = fs::read_to_string(place.path("cgroup.controllers")).unwrap();
    let Some(controller) = here.split_whitespace().next() else {
        return eprintln!(
            "the_rule_on_inner_processes_is_explained: skipped: no controller is enabled for the \
             children of {}",
            place.hierarchy.mount().display()
        );
    };
    fs::write(place.path("cgroup.subtree_control"), format!("+{controller}")).unwrap();
    let error = place.own.entering(Sleeper::new().enter(place.own.path()).unwrap_err());
    assert!(error.to_string().contains("cannot have processes of its own"), "{error}");
}

#[test]
fn limits_of_the_hierarchy_are_explained() {
    let place = place!("limits_of_the_hierarchy_are_explained");
    fs::create_dir(place.path("small")).unwrap();
    fs::write(place.path("small/cgroup.max.descendants"), "0").unwrap();
    let error = place.cgroup("small/a").create(unjournaled).unwrap_err();
    assert!(error.to_string().contains("cgroup.max.descendants"), "{error}");
    // The parent that could be made is gone again.
    fs::write(place.path("small/cgroup.max.descendants"), "1").unwrap();
    assert!(place.cgroup("small/b/c").create(|_| Ok::<(), Error>(())).is_err());
    assert!(!place.path("small/b").exists());
}

#[test]
fn controllers_are_found() {
    let Ok(hierarchy) = Hierarchy::find() else {
        return eprintln!("controllers_are_found: skipped: no cgroup2 mount");
    };
    let controllers = hierarchy.controllers().unwrap();
    for name in controllers.split_whitespace() {
        assert_eq!(hierarchy.controller(name).unwrap(), Controller::Here);
    }
    match hierarchy.controller("memory").unwrap() {
        Controller::BoundToV1(path) => assert!(path.join("memory.limit_in_bytes").exists()),
        found => assert_eq!(found == Controller::Here, controllers.split(' ').any(|name| name == "memory")),
    }
    assert_eq!(hierarchy.controller("no-such-controller").unwrap(), Controller::Absent);
}

/// What a shell in the cgroup may do: its exit status says whether all of the script went through.
fn allowed(cgroup: &Cgroup, script: &str) -> bool {
    let enter = format!("echo $$ > '{}/cgroup.procs' || exit 9; ", cgroup.path().display());
    let mut shell = Command::new("sh");
    shell.args(["-c", &(enter + script)]).stderr(Stdio::null());
    let code = shell.status().unwrap().code();
    assert_ne!(code, Some(9), "the shell cannot enter the cgroup");
    code == Some(0)
}

fn bpf_is_allowed(test: &str) -> bool {
    let program = devices::compile(&[]).unwrap();
    let loaded = bpf::load_device_program(program.insns(), "probe");
    loaded.inspect_err(|error| eprintln!("{test}: skipped: {error}")).is_ok()
}

const EVERYTHING: Rule = Rule { allow: true, kind: Kind::All, major: None, minor: None, access: Access::ALL };
const NOTHING: Rule = Rule { allow: false, ..EVERYTHING };

/// On /dev/full, which can be opened for whatever, without anything happening.
fn full(allow: bool, access: Access) -> Rule {
    Rule { allow, kind: Kind::Char, major: Some(1), minor: Some(7), access }
}

#[test]
fn device_programs_decide_in_the_kernel() {
    let place = place!("device_programs_decide_in_the_kernel");
    if !bpf_is_allowed("device_programs_decide_in_the_kernel") {
        return;
    }
    let mut cgroup = place.cgroup("a");
    let dir = cgroup.create(unjournaled).unwrap();
    let set = |rules: &[Rule]| dir.set_devices(&devices::compile_container(rules).unwrap());

    set(&[NOTHING]).unwrap();
    assert!(allowed(&cgroup, "exec </dev/null >/dev/null <>/dev/zero </dev/urandom </dev/full"));

    let node = std::env::temp_dir().join(format!("{}-node", place.name));
    let make = format!("mknod {} b 7 0 && rm {0}", node.display());
    if allowed(&place.own, &make) {
        assert!(allowed(&cgroup, &make), "nodes of all devices may be made");
        let open = format!("mknod {} b 7 0; exec <{0}", node.display());
        assert!(!allowed(&cgroup, &open), "but not opened");
        fs::remove_file(&node).unwrap();
    } else {
        eprintln!("device_programs_decide_in_the_kernel: mknod(2) is skipped: not permitted here");
    }
}

#[test]
fn device_programs_are_replaced() {
    let place = place!("device_programs_are_replaced");
    if !bpf_is_allowed("device_programs_are_replaced") {
        return;
    }
    let mut cgroup = place.cgroup("a");
    let new = cgroup.create(unjournaled).unwrap();
    let attached = || bpf::query_device_programs(new.as_fd()).unwrap();
    // Without the defaults.
    let compiled = |rules: &[Rule]| devices::compile(rules).unwrap();

    // One that allows everything is not there at all.
    new.set_devices(&compiled(&[EVERYTHING])).unwrap();
    assert!(attached().is_empty());
    assert!(allowed(&cgroup, "exec <>/dev/full"));
    new.set_devices(&compiled(&[NOTHING])).unwrap();
    let first = attached();
    assert_eq!(first.len(), 1);
    assert!(!allowed(&cgroup, "exec </dev/full"));

    // Through a handle that has to look what is there.
    let again = cgroup.open().unwrap();
    again.set_devices(&compiled(&[NOTHING, full(true, Access::READ)])).unwrap();
    assert_eq!(attached().len(), 1);
    assert_ne!(attached(), first);
    assert!(allowed(&cgroup, "exec </dev/full"));
    assert!(!allowed(&cgroup, "exec >/dev/full"));
    assert!(!allowed(&cgroup, "exec <>/dev/full"));
    assert!(!allowed(&cgroup, "exec </dev/zero"));

    // Writing is not to be had by asking for reading as well, which runc and crun let through.
    again.set_devices(&compiled(&[EVERYTHING, full(false, Access::WRITE)])).unwrap();
    assert!(allowed(&cgroup, "exec </dev/full"));
    assert!(!allowed(&cgroup, "exec >/dev/full"));
    assert!(!allowed(&cgroup, "exec <>/dev/full"));

    // Those of others go as well.
    let other = bpf::load_device_program(compiled(&[]).insns(), "other").unwrap();
    bpf::attach_device_program(new.as_fd(), &other, None).unwrap();
    assert_eq!(attached().len(), 2);
    assert!(!allowed(&cgroup, "exec </dev/full"));
    again.set_devices(&compiled(&[full(true, Access::ALL)])).unwrap();
    assert_eq!(attached().len(), 1);
    assert!(allowed(&cgroup, "exec <>/dev/full"));
    assert!(!allowed(&cgroup, "exec </dev/zero"));
    again.set_devices(&compiled(&[EVERYTHING])).unwrap();
    assert!(attached().is_empty());
    assert!(allowed(&cgroup, "exec <>/dev/zero"));
}

#[test]
fn handles_can_be_used_from_any_thread() {
    fn any_thread<T: Send + Sync + 'static>() {}
    any_thread::<Hierarchy>();
    any_thread::<Cgroup>();
    any_thread::<no_frills_cgroups::Dir>();
    any_thread::<Error>();
    any_thread::<devices::Program>();
}

/// Limits of huge pages, the one controller that hosts of the hybrid layout have here too. `None`: not this one.
fn huge_pages(place: &Place, limit: u64) -> Option<Vec<Write>> {
    if place.hierarchy.controller("hugetlb").unwrap() != Controller::Here {
        eprintln!("skipped: the controller hugetlb is not in cgroup v2");
        return None;
    }
    let hugepage_limits = vec![HugepageLimit { page_size: "2MB".to_owned(), limit }];
    let resources = Resources { hugepage_limits, ..Resources::default() };
    resources.check_host().unwrap();
    Some(resources.writes(Target::New).unwrap())
}

#[test]
fn controllers_are_handed_on_and_limits_written() {
    let place = place!("controllers_are_handed_on_and_limits_written");
    let Some(writes) = huge_pages(&place, 4 << 20) else { return };
    let mut cgroup = place.cgroup("a/b/c");
    let dir = cgroup.create(|_| Ok::<(), Error>(())).unwrap();
    let file = |path: &str| fs::read_to_string(place.path(path)).unwrap();
    assert!(!Path::new(&place.path("a/b/c/hugetlb.2MB.max")).exists());
    cgroup.enable_controllers(&[]).unwrap();
    assert_eq!(file("a/b/cgroup.subtree_control"), "");
    cgroup.enable_controllers(&writes).unwrap();
    for path in [".", "a", "a/b"] {
        assert_eq!(file(&format!("{path}/cgroup.subtree_control")).trim(), "hugetlb", "{path}");
    }
    assert_eq!(file("a/b/c/cgroup.subtree_control"), "");
    dir.apply(&writes).unwrap();
    assert_eq!(file("a/b/c/hugetlb.2MB.max"), "4194304\n");
    assert_eq!(file("a/b/c/hugetlb.2MB.rsvd.max"), "4194304\n");
    // It can be said again, and with somebody in it.
    let _sleeper = Sleeper::in_cgroup(&cgroup);
    cgroup.enable_controllers(&writes).unwrap();
    dir.apply(&huge_pages(&place, 0).unwrap()).unwrap();
    assert_eq!(file("a/b/c/hugetlb.2MB.max"), "0\n");
}

#[test]
fn a_parent_with_processes_hands_nothing_on() {
    let place = place!("a_parent_with_processes_hands_nothing_on");
    let Some(writes) = huge_pages(&place, 0) else { return };
    let mut parent = place.cgroup("a");
    parent.create(unjournaled).unwrap();
    let _sleeper = Sleeper::in_cgroup(&parent);
    let mut cgroup = place.cgroup("a/b");
    cgroup.create(unjournaled).unwrap();
    let error = cgroup.enable_controllers(&writes).unwrap_err();
    assert_eq!(error.setting(), Some("/hugepageLimits/0"));
    let text = error.to_string();
    let expected = format!(
        "needs the cgroup controller \"hugetlb\", which {} cannot hand on, since it has 1 process(es) of its own; move them \
         to a cgroup beneath it, or choose a cgroupsPath elsewhere",
        parent.path().display()
    );
    assert_eq!(text, expected);
}

#[test]
fn a_controller_that_is_not_there_is_told_with_where_it_is() {
    let place = place!("a_controller_that_is_not_there_is_told_with_where_it_is");
    let writes = Resources { pids_limit: Some(10), ..Resources::default() }.writes(Target::New).unwrap();
    let mut cgroup = place.cgroup("a");
    let dir = cgroup.create(unjournaled).unwrap();
    match place.hierarchy.controller("pids").unwrap() {
        Controller::Here => {
            cgroup.enable_controllers(&writes).unwrap();
            dir.apply(&writes).unwrap();
            assert_eq!(fs::read_to_string(place.path("a/pids.max")).unwrap(), "10\n");
        }
        Controller::BoundToV1(path) => {
            let error = cgroup.enable_controllers(&writes).unwrap_err().to_string();
            let expected = format!(
                "needs the cgroup controller \"pids\", which is bound to cgroup v1 here, at {}; boot with \
                 systemd.unified_cgroup_hierarchy=1, or cgroup_no_v1=all, to have it in cgroup v2",
                path.display()
            );
            assert_eq!(error, expected);
            assert_eq!(fs::read_to_string(place.path("cgroup.subtree_control")).unwrap(), "");
        }
        Controller::Absent => {
            let error = cgroup.enable_controllers(&writes).unwrap_err().to_string();
            assert!(error.starts_with("needs the cgroup controller \"pids\", which "), "{error}");
        }
    }
}

#[test]
fn a_limit_that_is_not_taken_is_told_with_what_was_changed() {
    let place = place!("a_limit_that_is_not_taken_is_told_with_what_was_changed");
    let Some(mut writes) = huge_pages(&place, 0) else { return };
    let unified = vec![("hugetlb.2MB.max".to_owned(), "none".to_owned())];
    writes.extend(Resources { unified, ..Resources::default() }.writes(Target::New).unwrap());
    let mut cgroup = place.cgroup("a");
    let dir = cgroup.create(unjournaled).unwrap();
    cgroup.enable_controllers(&writes).unwrap();
    let error = dir.apply(&writes).unwrap_err();
    assert_eq!((error.setting(), error.errno()), (Some("/unified/hugetlb.2MB.max"), Some(Errno::EINVAL)));
    let path = place.path("a/hugetlb.2MB.max");
    let expected =
        format!("writing \"none\" to {} (already changed: hugetlb.2MB.max, hugetlb.2MB.rsvd.max)", path.display());
    assert_eq!(error.to_string(), expected);
    assert_eq!(fs::read_to_string(&path).unwrap(), "0\n");
}
