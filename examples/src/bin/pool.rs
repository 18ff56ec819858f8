//! Runs a bundle COUNT times on THREADS threads and collects what each container prints.
//!
//! Usage: `pool BUNDLE [COUNT [THREADS]]`.
use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use no_frills::{Bundle, CreateOptions, Runtime};

/// Runs one container and returns its exit status and its standard output.
fn run(
    runtime: &Runtime,
    bundle: &Bundle,
    id: &str,
) -> Result<(i32, String), Box<dyn std::error::Error + Send + Sync>> {
    let (mut output, write_end) = std::io::pipe()?;
    let options = CreateOptions { stdout: Some(write_end.into()), ..CreateOptions::default() };
    let container = runtime.run(id, bundle, options)?;
    let mut text = String::new();
    // Ends when the last process of the container has closed its end: ours was given away.
    output.read_to_string(&mut text)?;
    let status = container.wait()?;
    container.delete(false)?;
    Ok((status.code(), text))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let bundle = Bundle::load(arguments.next().unwrap_or_else(|| ".".to_owned()))?;
    let count: usize = arguments.next().map_or(Ok(20), |text| text.parse())?;
    let threads: usize = arguments.next().map_or(Ok(4), |text| text.parse())?;
    let runtime = Runtime::open("/run/no-frills-pool")?;

    let next = AtomicUsize::new(0);
    let started = Instant::now();
    let (failures, bytes) = std::thread::scope(|scope| {
        let worker = || {
            let (mut failures, mut bytes) = (0, 0);
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return (failures, bytes);
                }
                match run(&runtime, &bundle, &format!("pool-{number}")) {
                    Ok((0, text)) => bytes += text.len(),
                    Ok((status, text)) => {
                        eprintln!("container {number} exited with {status}: {text}");
                        failures += 1;
                    }
                    Err(error) => {
                        eprintln!("container {number}: {error}");
                        failures += 1;
                    }
                }
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        let totals = workers.into_iter().map(|worker| worker.join().unwrap_or((1, 0)));
        totals.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
    });
    println!("{count} containers on {threads} threads in {:?}: {bytes} bytes of output", started.elapsed());
    if failures == 0 { Ok(()) } else { Err(format!("{failures} of {count} failed").into()) }
}
