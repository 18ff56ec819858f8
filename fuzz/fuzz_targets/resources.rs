//! Any bytes as the file of `update --resources`, or changes to one that is accepted, which is `linux.resources` too: what
//! is written to which file of the cgroup is safe to write, the same each time, and the same for both; what is refused names a
//! place. Rules for devices become a program; limits become properties of systemd.
#![no_main]

use std::path::Path;

use libfuzzer_sys::{Corpus, fuzz_target};
use no_frills::cgroups::devices::compile_container;
use no_frills::cgroups::resources::{Absent, Target, Write, cpu_weight, io_weight};
use no_frills::cgroups::systemd::properties;
use no_frills::{CompileOptions, Config, Update, compile, fuzzing};
use no_frills_fuzz::{check_place, default_config, document, within};
use serde_json::{Value, json};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    if let [a, b, c, d, ..] = *bytes {
        let number = u64::from(u32::from_le_bytes([a, b, c, d]));
        assert!((1..=10_000).contains(&cpu_weight(number)) && cpu_weight(number) <= cpu_weight(number + 1));
        assert!((1..=10_000).contains(&io_weight(number)));
    }
    let Some(value) = document(everything, bytes) else {
        let error = Update::from_json(bytes).expect_err("no JSON");
        assert!(error.pointer.is_empty() && error.message.contains("line"), "{error}");
        return Corpus::Reject;
    };
    let text = value.to_string();
    let update = within((4 << 20) + 64 * text.len(), || Update::from_json(text.as_bytes()));
    let mut config = default_config();
    config["linux"]["resources"] = value.clone();
    let whole =
        Config::from_value(&config).and_then(|config| compile(&config, &CompileOptions::new(Path::new("/b"), "x")));
    let update = match update {
        Ok(update) => update,
        Err(error) => {
            check_place(&value, &error.pointer, &error.message);
            // null is as good as absent in a configuration alone.
            assert!(value.is_null() || whole.is_err(), "{error}");
            return Corpus::Keep;
        }
    };
    let used = update.limits.writes(Target::Used).expect("checked");
    let new = update.limits.writes(Target::New).expect("checked");
    used.iter().for_each(|write| check_write(&value, write));
    let asked = |write: &Write| used.iter().any(|other| (&other.file, &other.text) == (&write.file, &write.text));
    assert!(new.iter().all(asked));
    within((1 << 20) + 4096 * used.len() + 64 * text.len(), || properties(&used, 100_000));
    let rules = update.device_rules.clone().unwrap_or_default();
    let device_program = within((1 << 20) + 4096 * (rules.len() + 16), || compile_container(&rules));
    match whole {
        Ok(program) => {
            let writes = fuzzing::writes(&program);
            assert_eq!(writes, new);
            assert_eq!(program.device_program, device_program.ok());
        }
        Err(error) => {
            check_place(&config, &error.pointer, &error.message);
            assert!(device_program.is_err(), "{error}");
        }
    }
    Corpus::Keep
});

/// One file of the cgroup itself, one line; nothing by which processes are moved, stopped or killed.
fn check_write(value: &Value, write: &Write) {
    let mut files = vec![(write.file.as_str(), write.text.as_str())];
    if let Absent::Instead { file, text } = &write.absent {
        files.push((file, text));
    }
    for (file, text) in files {
        assert!(
            !file.contains(['/', '\0']) && file.contains('.') && !text.contains('\n') && !text.is_empty(),
            "{write:?}"
        );
        let core = file.starts_with("cgroup.");
        assert!(
            !core || ["cgroup.max.depth", "cgroup.max.descendants", "cgroup.pressure"].contains(&file),
            "{write:?}"
        );
    }
    check_place(value, &write.setting, "a write");
}

fn everything() -> Value {
    let device = |value: &str| json!([{"major": 8, "minor": 0, value: 100}, {"major": 8, "minor": 16, value: 200}]);
    json!({
        "cpu": {"shares": 512, "quota": 50_000, "period": 100_000, "burst": 10_000, "idle": 0, "cpus": "0-1", "mems": "0"},
        "memory": {"limit": 1 << 30, "reservation": 1 << 20, "swap": 3_i64 << 30, "checkBeforeUpdate": true, "kernel": 1},
        "pids": {"limit": 10},
        "blockIO": {
            "weight": 500, "weightDevice": device("weight"),
            "throttleReadBpsDevice": device("rate"), "throttleWriteBpsDevice": device("rate"),
            "throttleReadIOPSDevice": device("rate"), "throttleWriteIOPSDevice": device("rate"),
        },
        "hugepageLimits": [{"pageSize": "2MB", "limit": 4_194_304}],
        "rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10_000}},
        "unified": {"memory.high": "max", "io.max": "8:0 rbps=1\n8:16 rbps=2"},
        "devices": [
            {"allow": false, "access": "rwm"},
            {"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
            {"allow": true, "type": "b", "major": -1, "access": "m"},
        ],
        "network": {}, "unknown": 1,
    })
}
