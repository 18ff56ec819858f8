//! What a cgroup costs: makes one, gives it the device program of the default config, and removes
//! it, as often as the first argument says (1), and prints the medians. To see the system calls:
//!
//! ```sh
//! cargo build --release -p no-frills-cgroups --example lifecycle
//! strace target/release/examples/lifecycle
//! ```

use std::env;
use std::time::{Duration, Instant};

use no_frills_cgroups::devices::{self, Access, Kind, Rule};
use no_frills_cgroups::{Cgroup, CgroupsPath, Error, Hierarchy};

const STEPS: [&str; 6] = ["compile", "find", "claim", "create", "devices", "remove"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rounds = env::args().nth(1).map_or(Ok(1), |rounds| rounds.parse())?;
    let mut times = vec![Vec::new(); STEPS.len()];
    for _ in 0..rounds {
        for (all, one) in times.iter_mut().zip(round()?) {
            all.push(one);
        }
    }
    for (step, mut times) in STEPS.iter().zip(times) {
        times.sort_unstable();
        println!("{step:8} {:?}", times.get(times.len() / 2).copied().unwrap_or_default());
    }
    Ok(())
}

fn round() -> Result<[Duration; STEPS.len()], Error> {
    let mut last = Instant::now();
    let mut lap = || {
        let now = Instant::now();
        now - std::mem::replace(&mut last, now)
    };

    let nothing = Rule { allow: false, kind: Kind::All, major: None, minor: None, access: Access::ALL };
    let program = devices::compile_container(&[nothing])?;
    let compiled = lap();
    let CgroupsPath::Fs(path) = CgroupsPath::parse(Some("/no-frills-example"), "example")? else {
        return Ok(Default::default());
    };
    let hierarchy = Hierarchy::find()?;
    let mut cgroup = Cgroup::new(&hierarchy, &path)?;
    let found = lap();
    cgroup.claim()?;
    let claimed = lap();
    let dir = cgroup.create(|_| Ok::<(), Error>(()))?;
    let created = lap();
    dir.set_devices(&program)?;
    let set = lap();
    cgroup.remove(None)?;
    Ok([compiled, found, claimed, created, set, lap()])
}
