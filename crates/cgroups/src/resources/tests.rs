//! Every row of the table, and what is refused.

use super::*;
use crate::error::Error;

fn lines(resources: &Resources, target: Target) -> Vec<String> {
    resources.writes(target).unwrap().into_iter().map(|write| format!("{}={}", write.file, write.text)).collect()
}

#[track_caller]
fn new(resources: &Resources, expected: &[&str]) {
    assert_eq!(lines(resources, Target::New), expected, "{resources:?}");
}

#[track_caller]
fn used(resources: &Resources, expected: &[&str]) {
    assert_eq!(lines(resources, Target::Used), expected, "{resources:?}");
}

#[track_caller]
fn refused(resources: &Resources, setting: &str, why: &str) {
    for target in [Target::New, Target::Used] {
        match resources.writes(target) {
            Err(Error::Setting { setting: found, why: said }) => {
                assert_eq!((found.as_str(), said.as_str()), (setting, why));
            }
            other => panic!("{other:?}"),
        }
    }
}

fn cpu(cpu: Cpu) -> Resources {
    Resources { cpu, ..Resources::default() }
}

fn memory(limit: i64, swap: i64) -> Resources {
    Resources { memory: Memory { limit, swap, ..Memory::default() }, ..Resources::default() }
}

fn device(major: u32, minor: u32, value: u64) -> DeviceValue {
    DeviceValue { major, minor, value }
}

#[test]
fn nothing_asked_nothing_written() {
    new(&Resources::default(), &[]);
    used(&Resources::default(), &[]);
}

/// The values that are published with runc's conversion.
#[test]
fn shares_at_their_ends() {
    let known = [
        (1, 1),
        (2, 1),
        (3, 2),
        (1024, 100),
        (262_143, 10_000),
        (262_144, 10_000),
        (262_145, 10_000),
        (u64::MAX, 10_000),
    ];
    for (shares, weight) in known {
        assert_eq!(cpu_weight(shares), weight, "{shares}");
        let text = format!("cpu.weight={weight}");
        new(&cpu(Cpu { shares, ..Cpu::default() }), &[&text]);
    }
}

/// The formula in floating point, as runc and crun compute it, for every number of shares that there is.
#[test]
fn shares_are_exactly_what_peers_make_of_them() {
    let mut before = 1;
    for shares in 3..262_144_u64 {
        let log = (shares as f64).log2();
        let expected = 10_f64.powf((log * log + 125.0 * log) / 612.0 - 7.0 / 34.0).ceil() as u64;
        let weight = cpu_weight(shares);
        assert_eq!(weight, expected, "{shares}");
        assert!(weight >= before, "{shares}");
        before = weight;
    }
}

#[test]
fn processor_time() {
    let with = |quota, period| cpu(Cpu { quota, period, ..Cpu::default() });
    new(&with(0, 0), &[]);
    new(&with(-1, 0), &[]);
    used(&with(-1, 0), &["cpu.max=max"]);
    new(&with(50_000, 0), &["cpu.max=50000"]);
    new(&with(50_000, 200_000), &["cpu.max=50000 200000"]);
    new(&with(0, 200_000), &["cpu.max=max 200000"]);
    new(&with(-5, 200_000), &["cpu.max=max 200000"]);
    new(&with(1000, 1_000_000), &["cpu.max=1000 1000000"]);
    refused(&with(999, 0), "/cpu/quota", "expected at least 1000 microseconds, found 999");
    for period in [1, 999, 1_000_001, u64::MAX] {
        let why = format!("expected microseconds from 1000 to 1000000, found {period}");
        refused(&with(0, period), "/cpu/period", &why);
    }
}

#[test]
fn bursts_and_the_quota_may_have_to_change_places() {
    let with = |quota, burst| cpu(Cpu { quota, burst: Some(burst), ..Cpu::default() });
    new(&with(0, 0), &[]);
    used(&with(0, 0), &["cpu.max.burst=0"]);
    new(&with(50_000, 20_000), &["cpu.max=50000", "cpu.max.burst=20000"]);
    let writes = with(50_000, 20_000).writes(Target::Used).unwrap();
    assert_eq!(writes.iter().map(|write| write.may_follow_next).collect::<Vec<_>>(), [true, false]);
    refused(&with(50_000, 50_001), "/cpu/burst", "50001 is more than the quota, 50000");
    used(&with(-1, u64::MAX), &["cpu.max=max", "cpu.max.burst=18446744073709551615"]);
}

#[test]
fn what_is_idle_has_no_weight() {
    let with = |idle| cpu(Cpu { idle: Some(idle), shares: 1024, ..Cpu::default() });
    new(&with(1), &["cpu.idle=1"]);
    new(&with(0), &["cpu.weight=100"]);
    used(&with(0), &["cpu.idle=0", "cpu.weight=100"]);
    refused(&with(2), "/cpu/idle", "expected 0 or 1, found 2");
    refused(&with(-1), "/cpu/idle", "expected 0 or 1, found -1");
}

#[test]
fn lists_of_processors_and_nodes() {
    let with = |cpus: &str, mems: &str| cpu(Cpu { cpus: cpus.into(), mems: mems.into(), ..Cpu::default() });
    new(&with("0-3,7", "0"), &["cpuset.cpus=0-3,7", "cpuset.mems=0"]);
    new(&with("0-15:2/4", ""), &["cpuset.cpus=0-15:2/4"]);
    new(&with("0, 2", ""), &["cpuset.cpus=0, 2"]);
    refused(&with("3-1", ""), "/cpu/cpus", "the range 3-1 ends before it begins");
    for part in ["x", "1-", "-1", "+1", "", "0-3:2", "0-3:5/4", "0-3:0/0", "4294967296"] {
        let why = format!("{part:?} is no number and no range such as 0-3");
        refused(&with("", &format!("0,{part}")), "/cpu/mems", &why);
    }
}

#[test]
fn memory_and_swap() {
    new(&memory(0, 0), &[]);
    new(&memory(1 << 20, 0), &["memory.max=1048576"]);
    new(&memory(1 << 20, 3 << 20), &["memory.swap.max=2097152", "memory.max=1048576"]);
    new(&memory(1 << 20, 1 << 20), &["memory.swap.max=0", "memory.max=1048576"]);
    new(&memory(1 << 20, -1), &["memory.max=1048576"]);
    used(&memory(1 << 20, -1), &["memory.swap.max=max", "memory.max=1048576"]);
    new(&memory(-1, 0), &[]);
    used(&memory(-1, 0), &["memory.swap.max=max", "memory.max=max"]);
    used(&memory(-1, -1), &["memory.swap.max=max", "memory.max=max"]);
    used(&memory(0, -1), &["memory.swap.max=max"]);
    new(&memory(i64::MAX, i64::MAX), &["memory.swap.max=0", "memory.max=9223372036854775807"]);
    let together = "is that of memory and swap together, and needs memory.limit, that of memory";
    refused(&memory(0, 1000), "/memory/swap", together);
    refused(&memory(-1, 1000), "/memory/swap", together);
    refused(
        &memory(400, 300),
        "/memory/swap",
        "300 is that of memory and swap together, and less than memory.limit, 400",
    );
    refused(&memory(-2, 0), "/memory/limit", "expected bytes, or -1 for no limit, found -2");
    refused(&memory(1, i64::MIN), "/memory/swap", &format!("expected bytes, or -1 for no limit, found {}", i64::MIN));
    let reserve =
        |reservation| Resources { memory: Memory { reservation, ..Memory::default() }, ..Resources::default() };
    new(&reserve(0), &[]);
    new(&reserve(1 << 20), &["memory.low=1048576"]);
    new(&reserve(-1), &["memory.low=max"]);
    refused(&reserve(-2), "/memory/reservation", "expected bytes, or -1 for no limit, found -2");
}

#[test]
fn what_is_so_without_the_file_needs_none() {
    let absent = |resources: &Resources| {
        resources.writes(Target::Used).unwrap().into_iter().map(|write| write.absent).collect::<Vec<_>>()
    };
    assert_eq!(absent(&memory(-1, -1)), [Absent::Skip, Absent::Skip]);
    assert_eq!(absent(&memory(5, 5)), [Absent::Skip, Absent::Refuse]);
    assert_eq!(absent(&memory(5, 6)), [Absent::Refuse, Absent::Refuse]);
    assert_eq!(absent(&Resources { pids_limit: Some(-1), ..Resources::default() }), [Absent::Skip]);
}

#[test]
fn processes() {
    let with = |limit| Resources { pids_limit: Some(limit), ..Resources::default() };
    new(&with(-1), &[]);
    new(&with(i64::MIN), &[]);
    used(&with(-1), &["pids.max=max"]);
    new(&with(0), &["pids.max=0"]);
    new(&with(100), &["pids.max=100"]);
}

#[test]
fn weights_of_block_devices() {
    let with = |weight| Resources { block_io: BlockIo { weight, ..BlockIo::default() }, ..Resources::default() };
    new(&with(0), &[]);
    for (weight, converted) in [(10, 1), (500, 4950), (100, 910), (1000, 10_000)] {
        let writes = with(weight).writes(Target::New).unwrap();
        let instead = Absent::Instead { file: "io.weight", text: converted.to_string() };
        let expected = Write {
            setting: "/blockIO/weight".into(),
            file: "io.bfq.weight".into(),
            text: weight.to_string(),
            absent: instead,
            may_follow_next: false,
        };
        assert_eq!(writes, [expected]);
    }
    for weight in [1, 9, 1001, u16::MAX] {
        refused(&with(weight), "/blockIO/weight", &format!("expected a weight from 10 to 1000, found {weight}"));
    }
    let io = BlockIo { weight_device: vec![device(8, 0, 0), device(8, 16, 10)], ..BlockIo::default() };
    let writes = Resources { block_io: io, ..Resources::default() }.writes(Target::New).unwrap();
    let [write] = writes.as_slice() else { panic!("{writes:?}") };
    assert_eq!((write.setting.as_str(), write.text.as_str()), ("/blockIO/weightDevice/1", "8:16 10"));
    assert_eq!(write.absent, Absent::Instead { file: "io.weight", text: "8:16 1".into() });
    let io = BlockIo { weight_device: vec![device(8, 0, 9)], ..BlockIo::default() };
    let wrong = Resources { block_io: io, ..Resources::default() };
    refused(&wrong, "/blockIO/weightDevice/0/weight", "expected a weight from 10 to 1000, found 9");
}

#[test]
fn the_limits_of_a_device_are_one_line() {
    let io = BlockIo {
        read_bps: vec![device(8, 0, 1), device(8, 16, 2)],
        write_bps: vec![device(8, 0, 3), device(8, 0, 4)],
        read_iops: vec![device(259, 1, 5)],
        write_iops: vec![device(8, 16, 0)],
        ..BlockIo::default()
    };
    let resources = Resources { block_io: io, ..Resources::default() };
    new(&resources, &["io.max=8:0 rbps=1 wbps=4", "io.max=8:16 rbps=2 wiops=max", "io.max=259:1 riops=5"]);
    let settings: Vec<_> = resources.writes(Target::New).unwrap().into_iter().map(|write| write.setting).collect();
    let expected =
        ["/blockIO/throttleReadBpsDevice/0", "/blockIO/throttleReadBpsDevice/1", "/blockIO/throttleReadIOPSDevice/0"];
    assert_eq!(settings, expected);
}

#[test]
fn huge_pages() {
    let with = |page_size: &str, limit| Resources {
        hugepage_limits: vec![HugepageLimit { page_size: page_size.into(), limit }],
        ..Resources::default()
    };
    new(&with("2MB", 0), &["hugetlb.2MB.max=0", "hugetlb.2MB.rsvd.max=0"]);
    new(&with("1GB", 1 << 30), &["hugetlb.1GB.max=1073741824", "hugetlb.1GB.rsvd.max=1073741824"]);
    let writes = with("64KB", 1).writes(Target::New).unwrap();
    assert_eq!(writes.iter().map(|write| &write.absent).collect::<Vec<_>>(), [&Absent::Refuse, &Absent::Skip]);
    for size in ["", "MB", "2", "2M", "2mb", "02MB", "-2MB", "2MB/../x", "2 MB"] {
        refused(&with(size, 1), "/hugepageLimits/0/pageSize", &format!("{size:?} is no size such as 2MB"));
    }
}

#[test]
fn rdma_devices() {
    let with = |hca_handles, hca_objects| Resources {
        rdma: vec![Rdma { device: "mlx5_1".into(), hca_handles, hca_objects }],
        ..Resources::default()
    };
    new(&with(Some(3), Some(10_000)), &["rdma.max=mlx5_1 hca_handle=3 hca_object=10000"]);
    new(&with(None, Some(0)), &["rdma.max=mlx5_1 hca_object=0"]);
    refused(&with(None, None), "/rdma/mlx5_1", "needs hcaHandles or hcaObjects");
    let odd = Resources {
        rdma: vec![Rdma { device: "a b/c".into(), hca_handles: Some(1), hca_objects: None }],
        ..Resources::default()
    };
    refused(&odd, "/rdma/a b~1c", "is no name of a device");
}

#[test]
fn unified_is_last_and_verbatim() {
    let unified = |file: &str, text: &str| (file.to_owned(), text.to_owned());
    let resources = Resources {
        pids_limit: Some(7),
        unified: vec![
            unified("memory.high", " 5G"),
            unified("io.max", "8:0 rbps=1\n8:16 rbps=max\n"),
            unified("memory.max", ""),
            unified("cgroup.max.depth", "3"),
        ],
        ..memory(1 << 20, 0)
    };
    new(
        &resources,
        &[
            "memory.max=1048576",
            "pids.max=7",
            "memory.high= 5G",
            "io.max=8:0 rbps=1",
            "io.max=8:16 rbps=max",
            "cgroup.max.depth=3",
        ],
    );
    let with = |file: &str| Resources { unified: vec![unified(file, "1")], ..Resources::default() };
    let slash = "is to be the name of a file, without a slash";
    refused(&with("../memory.max"), "/unified/..~1memory.max", slash);
    refused(&with("/memory.max"), "/unified/~1memory.max", slash);
    let own = "is the runtime's own business; of the files of every cgroup, cgroup.max.depth, cgroup.max.descendants, \
               cgroup.pressure may be set";
    for name in ["procs", "threads", "kill", "freeze", "type", "subtree_control", "max", ""] {
        refused(&with(&format!("cgroup.{name}")), &format!("/unified/cgroup.{name}"), own);
    }
    for name in ["", ".", "..", "memory", "memory.", ".max", "tasks"] {
        refused(&with(name), &format!("/unified/{name}"), "is no name of the form CONTROLLER.PARAMETER");
    }
}

#[test]
fn files_belong_to_controllers() {
    let write = |file: &str| Write {
        setting: String::new(),
        file: file.to_owned(),
        text: String::new(),
        absent: Absent::Refuse,
        may_follow_next: false,
    };
    for (file, controller) in [
        ("memory.swap.max", Some("memory")),
        ("io.bfq.weight", Some("io")),
        ("hugetlb.2MB.max", Some("hugetlb")),
        ("cpuset.cpus", Some("cpuset")),
        ("cgroup.max.depth", None),
    ] {
        assert_eq!(write(file).controller(), controller);
    }
    assert!(write("pids.max").limits_births() && !write("pids.current").limits_births());
}
