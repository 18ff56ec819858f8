//! On what kernels have written.

use super::*;

#[test]
fn processor_time_with_and_without_the_controller() {
    let without = "usage_usec 25133\nuser_usec 12801\nsystem_usec 12332\nnice_usec 0\n";
    let expected = CpuStats { usage_usec: 25133, user_usec: 12801, system_usec: 12332, throttling: None };
    assert_eq!(cpu(without), Some(expected));
    let with = "usage_usec 7126003\nuser_usec 5000100\nsystem_usec 2125903\ncore_sched.force_idle_usec 0\n\
        nr_periods 130\nnr_throttled 42\nthrottled_usec 3520716\nnr_bursts 3\nburst_usec 70\n";
    let throttling =
        Throttling { periods: 130, throttled_periods: 42, throttled_usec: 3_520_716, bursts: 3, burst_usec: 70 };
    assert_eq!(cpu(with).unwrap().throttling, Some(throttling));
    // Before Linux 5.15.
    let old = "usage_usec 1\nuser_usec 1\nsystem_usec 0\nnr_periods 2\nnr_throttled 1\nthrottled_usec 9\n";
    assert_eq!(cpu(old).unwrap().throttling.unwrap().bursts, 0);
    for bad in ["", "user_usec 1\n", "usage_usec x\n", "usage_usec\n"] {
        assert_eq!(cpu(bad), None, "{bad:?}");
    }
}

#[test]
fn memory_events_of_old_and_new_kernels() {
    let text = "low 1\nhigh 2\nmax 70\noom 4\noom_kill 3\noom_group_kill 1\nsock_throttled 0\n";
    let expected = MemoryEvents { low: 1, high: 2, max: 70, oom: 4, oom_kill: 3, oom_group_kill: 1 };
    assert_eq!(memory_events(text), Some(expected));
    assert_eq!(memory_events("low 0\nhigh 0\nmax 0\noom 0\noom_kill 5\n").unwrap().oom_kill, 5);
    assert_eq!(memory_events("oom_kill -1\n"), None);
}

#[test]
fn numbers_and_limits() {
    assert_eq!(number("4096\n"), Some(4096));
    assert_eq!(number("max\n"), None);
    assert_eq!(limit("max"), Some(None));
    assert_eq!(limit("18446744073709551615"), Some(Some(u64::MAX)));
    assert_eq!(limit(""), None);
    let stat = keyed("anon 12288\nfile 0\npgfault 1312\nworkingset_refault_anon 0\n").unwrap();
    assert_eq!((stat.len(), stat["anon"], stat["pgfault"]), (4, 12288, 1312));
    let max = limits("res_a 10\nres_b max\n").unwrap();
    assert_eq!((max["res_a"], max["res_b"]), (Some(10), None));
}

#[test]
fn devices_with_what_policies_add() {
    let text = "8:16 rbytes=1459200 wbytes=314773504 rios=192 wios=353 dbytes=7 dios=1 cost.usage=4\n\
        254:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0";
    let devices: Option<Vec<IoStats>> = text.lines().map(io).collect();
    let devices = devices.unwrap();
    let expected = IoStats {
        major: 8,
        minor: 16,
        read_bytes: 1_459_200,
        written_bytes: 314_773_504,
        reads: 192,
        writes: 353,
        discarded_bytes: 7,
        discards: 1,
    };
    assert_eq!(devices[0], expected);
    assert_eq!((devices[1].major, devices[1].minor, devices[1].writes), (254, 0, 4));
    // Devices without statistics are on lines of their own in some kernels.
    assert_eq!(io("7:0").unwrap().reads, 0);
    for bad in ["", "8 rbytes=1", "8:0 rbytes=x", "a:b"] {
        assert_eq!(io(bad), None, "{bad:?}");
    }
}

#[test]
fn rdma_devices() {
    let current = rdma("mlx4_0 hca_handle=2 hca_object=2000\nocrdma1 hca_handle=3 hca_object=max\n").unwrap();
    assert_eq!(current["mlx4_0"], (Some(2), Some(2000)));
    assert_eq!(current["ocrdma1"], (Some(3), None));
    assert_eq!(rdma("mlx4_0 hca_handle=x\n"), None);
}

#[test]
fn pressure_with_and_without_full() {
    let text =
        "some avg10=1.53 avg60=0.87 avg300=0.22 total=129720\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=127008\n";
    let some = Stall { avg10: 1.53, avg60: 0.87, avg300: 0.22, total_usec: 129_720 };
    let full = Stall { total_usec: 127_008, ..Stall::default() };
    assert_eq!(pressure(text), Some(Pressure { some, full: Some(full) }));
    // cpu.pressure before Linux 5.13.
    let old = "some avg10=1.53 avg60=0.87 avg300=0.22 total=129720\n";
    assert_eq!(pressure(old), Some(Pressure { some, full: None }));
    assert_eq!(pressure("full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"), None);
    assert_eq!(pressure("some avg10=0.00 total=0\n"), None);
}

#[test]
fn sizes_of_pages() {
    assert_eq!(page_size("hugetlb.2MB.current"), Some("2MB"));
    for other in ["hugetlb.2MB.max", "hugetlb.2MB.rsvd.current", "memory.current"] {
        assert_eq!(page_size(other), None, "{other}");
    }
}
