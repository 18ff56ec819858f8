//! How a process is scheduled, and its memory placed.

use serde_json::json;

use super::tests::{accepted, refused};
use super::*;

#[test]
fn a_scheduler_is_checked() {
    let at = "/process/scheduler";
    let read = |value| accepted(at, value).process.scheduler.unwrap();
    let other = Scheduler { policy: 0, flags: 0, nice: 0, priority: 0, runtime: 0, deadline: 0, period: 0 };
    assert_eq!(read(json!({"policy": "SCHED_OTHER"})), other);
    assert_eq!(read(json!({"policy": "SCHED_BATCH", "nice": -20})), Scheduler { policy: 3, nice: -20, ..other });
    assert_eq!(read(json!({"policy": "SCHED_ISO", "nice": 19})), Scheduler { policy: 4, nice: 19, ..other });
    assert_eq!(read(json!({"policy": "SCHED_IDLE", "priority": 0})), Scheduler { policy: 5, ..other });
    assert_eq!(read(json!({"policy": "SCHED_FIFO", "priority": 1})), Scheduler { policy: 1, priority: 1, ..other });
    assert_eq!(read(json!({"policy": "SCHED_RR", "priority": 99})), Scheduler { policy: 2, priority: 99, ..other });
    let deadline = Scheduler { policy: 6, runtime: 1024, deadline: 2048, ..other };
    assert_eq!(read(json!({"policy": "SCHED_DEADLINE", "runtime": 1024, "deadline": 2048})), deadline);
    let flags: Vec<String> = SCHEDULER_FLAGS.iter().map(|name| format!("SCHED_FLAG_{name}")).collect();
    assert_eq!(read(json!({"policy": "SCHED_OTHER", "flags": flags})).flags, 0x7f);

    let wrong = |value, place: &str, message: &str| refused(at, value, &format!("{at}{place}: {message}"));
    wrong(json!({"nice": 1}), "/policy", "required, but missing");
    wrong(json!({"policy": "FIFO"}), "/policy", "unknown scheduling policy \"FIFO\"");
    let range = "expected an integer from -20 to 19, found";
    wrong(json!({"policy": "SCHED_OTHER", "nice": 20}), "/nice", &format!("{range} 20"));
    wrong(json!({"policy": "SCHED_OTHER", "nice": -21}), "/nice", &format!("{range} -21"));
    let only = "5, but only SCHED_FIFO and SCHED_RR have a priority, not SCHED_BATCH: did you mean nice?";
    wrong(json!({"policy": "SCHED_BATCH", "priority": 5}), "/priority", only);
    for (policy, priority) in [("SCHED_FIFO", 0), ("SCHED_RR", 100), ("SCHED_RR", -1)] {
        let message = format!("{policy} needs a priority from 1 to 99, found {priority}");
        wrong(json!({"policy": policy, "priority": priority}), "/priority", &message);
    }
    wrong(json!({"policy": "SCHED_FIFO"}), "", "SCHED_FIFO needs a priority from 1 to 99, found 0");
    for name in ["runtime", "deadline", "period"] {
        let message = format!("1, but only SCHED_DEADLINE has a {name}, not SCHED_OTHER");
        wrong(json!({"policy": "SCHED_OTHER", name: 1}), &format!("/{name}"), &message);
        read(json!({"policy": "SCHED_OTHER", name: 0}));
    }
    wrong(
        json!({"policy": "SCHED_DEADLINE"}),
        "",
        "SCHED_DEADLINE needs a runtime of 1024 nanoseconds at least, found 0",
    );
    wrong(
        json!({"policy": "SCHED_DEADLINE", "runtime": 5000}),
        "",
        "the deadline 0 comes before the runtime 5000 is over",
    );
    wrong(
        json!({"policy": "SCHED_DEADLINE", "runtime": 5000, "deadline": 6000, "period": 5999}),
        "/period",
        "the period 5999 is shorter than the deadline 6000",
    );
    wrong(json!({"policy": "SCHED_OTHER", "flags": ["X"]}), "/flags/0", "unknown scheduling flag \"X\"");
}

#[test]
fn an_io_priority_has_a_class() {
    let at = "/process/ioPriority";
    let read = |value| accepted(at, value).process.io_priority.unwrap().value();
    assert_eq!(read(json!({"class": "IOPRIO_CLASS_RT", "priority": 7})), 0x2007);
    assert_eq!(read(json!({"class": "IOPRIO_CLASS_BE"})), 0x4000);
    assert_eq!(read(json!({"class": "IOPRIO_CLASS_IDLE", "priority": 0})), 0x6000);
    refused(at, json!({"priority": 1}), "/process/ioPriority/class: required, but missing");
    refused(
        at,
        json!({"class": "IOPRIO_CLASS_NONE"}),
        "/process/ioPriority/class: unknown I/O scheduling class \"IOPRIO_CLASS_NONE\"",
    );
    for priority in [-1, 8] {
        refused(
            at,
            json!({"class": "IOPRIO_CLASS_BE", "priority": priority}),
            &format!("/process/ioPriority/priority: expected an integer from 0 to 7, found {priority}"),
        );
    }
}

#[test]
fn lists_of_cpus_are_read_as_the_kernel_writes_them() {
    let at = "/process/execCPUAffinity";
    let read = |list: &str| accepted(at, json!({ "final": list })).process.exec_affinity.last.bytes();
    assert_eq!(read(""), [0; 0]);
    assert_eq!(read("0"), [1, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(read("0-3,7, 9-9"), [0x8f, 2, 0, 0, 0, 0, 0, 0]);
    assert_eq!(read("31-32"), [0, 0, 0, 0x80, 1, 0, 0, 0]);
    // More than the 1024 of cpu_set_t.
    let far = read("2047");
    assert_eq!((far.len(), far.last()), (256, Some(&0x80)));
    assert_eq!(read("0-65535"), [0xff; 8192]);
    for (list, message) in [
        ("65536", "65536 is more than 65535"),
        ("3-1", "the range 3-1 ends before it begins"),
        ("0,x", "\"x\" is no number and no range such as 0-3"),
        ("1-", "\"1-\" is no number and no range such as 0-3"),
        ("-1", "\"-1\" is no number and no range such as 0-3"),
        ("+1", "\"+1\" is no number and no range such as 0-3"),
        ("1,,2", "\"\" is no number and no range such as 0-3"),
        ("99999999999", "\"99999999999\" is no number and no range such as 0-3"),
    ] {
        refused(at, json!({ "initial": list }), &format!("{at}/initial: {message}"));
    }
}

#[test]
fn a_memory_policy_is_checked() {
    let at = "/linux/memoryPolicy";
    let read = |value| {
        let policy = accepted(at, value).linux.memory_policy.unwrap();
        (policy.mode, policy.nodes.bytes())
    };
    assert_eq!(read(json!({"mode": "MPOL_DEFAULT"})), (0, vec![]));
    assert_eq!(read(json!({"mode": "MPOL_PREFERRED"})), (1, vec![]));
    assert_eq!(read(json!({"mode": "MPOL_WEIGHTED_INTERLEAVE", "nodes": "1"})), (6, vec![2, 0, 0, 0, 0, 0, 0, 0]));
    let flags = json!(["MPOL_F_NUMA_BALANCING", "MPOL_F_STATIC_NODES"]);
    assert_eq!(read(json!({"mode": "MPOL_BIND", "nodes": "0", "flags": flags})).0, 2 | 1 << 13 | 1 << 15);

    let wrong = |value, place: &str, message: &str| refused(at, value, &format!("{at}{place}: {message}"));
    wrong(json!({"nodes": "0"}), "/mode", "required, but missing");
    wrong(json!({"mode": "BIND", "nodes": "0"}), "/mode", "unknown memory policy \"BIND\"");
    for mode in ["MPOL_BIND", "MPOL_INTERLEAVE", "MPOL_PREFERRED_MANY", "MPOL_WEIGHTED_INTERLEAVE"] {
        wrong(json!({ "mode": mode }), "", &format!("{mode} needs at least one of the memory nodes"));
    }
    for mode in ["MPOL_DEFAULT", "MPOL_LOCAL"] {
        wrong(json!({"mode": mode, "nodes": "0"}), "/nodes", &format!("{mode} takes no nodes"));
    }
    wrong(json!({"mode": "MPOL_BIND", "nodes": "1024"}), "/nodes", "1024 is more than 1023");
    wrong(
        json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_X"]}),
        "/flags/0",
        "unknown flag of a memory policy \"MPOL_F_X\"",
    );
    wrong(
        json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]}),
        "/flags",
        "MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other",
    );
    wrong(json!({"mode": "MPOL_DEFAULT", "flags": ["MPOL_F_STATIC_NODES"]}), "/flags", "MPOL_DEFAULT takes no flags");
}

#[test]
fn a_personality_is_a_known_one() {
    let at = "/linux/personality";
    assert_eq!(accepted(at, json!({"domain": "LINUX"})).linux.personality, Some(0));
    assert_eq!(accepted(at, json!({"domain": "LINUX32"})).linux.personality, Some(8));
    refused(at, json!({"domain": "PER_LINUX"}), "/linux/personality/domain: unknown personality \"PER_LINUX\"");
    refused(
        at,
        json!({"domain": "LINUX", "flags": ["X"]}),
        "/linux/personality/flags: the specification has no flags of a personality so far",
    );
}
