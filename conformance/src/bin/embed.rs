//! Measures what the caller's size costs: the time to create a container from a small program and from one with
//! 1 GiB of resident memory and 32 busy threads, in turn.
//!
//! Two copies of this program each hold a library handle. The first asks one, then the other, to create a
//! container and say how long that took. What the threads of the large one do, they do in both turns: so the machine is
//! equally loaded, and what is compared is the caller alone.
//!
//! Usage: `embed BUNDLE [ROUNDS]`.
#![forbid(unsafe_code)]

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use no_frills::{Bundle, CreateOptions, Runtime};

type Outcome<T> = Result<T, Box<dyn Error>>;

const MEMORY: usize = 1 << 30;
const THREADS: usize = 32;

/// What the threads of the large program do.
const PARKED: u8 = 0;
/// Each computes for 100 us, then waits for 10 ms: together about a sixth of two cores.
const WORKING: u8 = 1;
/// Each computes without end: the scheduler shares the cores among 33 threads.
const SPINNING: u8 = 2;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--serve", name, bundle, memory, threads] => serve(name, bundle, memory.parse()?, threads.parse()?),
        [bundle] => compare(bundle, 200),
        [bundle, rounds] => compare(bundle, rounds.parse()?),
        _ => Err("usage: embed BUNDLE [ROUNDS]".into()),
    }
}

/// What the threads are to do; they wait for a change without a timeout.
struct Mode {
    now: AtomicU8,
    lock: Mutex<()>,
    changed: Condvar,
}

impl Mode {
    fn set(&self, mode: u8) -> Outcome<()> {
        let _lock = self.lock.lock().map_err(|_| "a thread has panicked")?;
        self.now.store(mode, Ordering::Relaxed);
        self.changed.notify_all();
        Ok(())
    }
}

/// The measured program. A line on standard input is a mode for its threads, or `create`: then it answers with the time
/// of one create in nanoseconds.
fn serve(name: &str, bundle: &str, memory: usize, threads: usize) -> Outcome<()> {
    let root = std::env::temp_dir().join(format!("no-frills-embed-{name}"));
    let runtime = Runtime::open(&root)?;
    let bundle = Bundle::load(bundle)?;
    // Written, so that it is resident.
    let mut resident = vec![0u8; memory];
    resident.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    let mode = Arc::new(Mode { now: AtomicU8::new(PARKED), lock: Mutex::new(()), changed: Condvar::new() });
    for _ in 0..threads {
        let mode = Arc::clone(&mode);
        std::thread::spawn(move || work(&mode));
    }
    let mut answers = std::io::stdout();
    for line in std::io::stdin().lines() {
        let line = line?;
        if line != "create" {
            mode.set(line.parse()?)?;
            continue;
        }
        let started = Instant::now();
        let container = runtime.create(name, &bundle, CreateOptions::default())?;
        let elapsed = started.elapsed();
        container.delete(true)?;
        writeln!(answers, "{}", elapsed.as_nanos())?;
    }
    drop(resident);
    std::fs::remove_dir(&root)?;
    Ok(())
}

/// A busy thread, until the process ends.
fn work(mode: &Mode) {
    let mut state = 1u64;
    loop {
        match mode.now.load(Ordering::Relaxed) {
            SPINNING => compute(&mut state, Duration::from_micros(50)),
            WORKING => {
                compute(&mut state, Duration::from_micros(100));
                std::thread::park_timeout(Duration::from_millis(10));
            }
            _ => {
                let Ok(lock) = mode.lock.lock() else { return };
                let parked = mode.changed.wait_while(lock, |()| mode.now.load(Ordering::Relaxed) == PARKED);
                if parked.is_err() {
                    return;
                }
            }
        }
    }
}

fn compute(state: &mut u64, time: Duration) {
    let started = Instant::now();
    while started.elapsed() < time {
        for _ in 0..100 {
            *state = std::hint::black_box(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
    }
}

/// A measured program and the line to it.
struct Server {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Server {
    fn start(name: &str, bundle: &str, memory: usize, threads: usize) -> Outcome<Server> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--serve", name, bundle, &memory.to_string(), &threads.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let answers = BufReader::new(child.stdout.take().ok_or("no standard output")?);
        Ok(Server { child, answers })
    }

    fn tell(&mut self, line: &str) -> Outcome<()> {
        let questions = self.child.stdin.as_mut().ok_or("no standard input")?;
        Ok(writeln!(questions, "{line}")?)
    }

    fn create(&mut self) -> Outcome<u64> {
        self.tell("create")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        Ok(answer.trim().parse().map_err(|_| "the measured program failed")?)
    }

    fn stop(mut self) -> Outcome<()> {
        drop(self.child.stdin.take());
        if self.child.wait()?.success() { Ok(()) } else { Err("the measured program failed".into()) }
    }
}

fn compare(bundle: &str, rounds: usize) -> Outcome<()> {
    let mut small = Server::start("small", bundle, 0, 0)?;
    let mut large = Server::start("large", bundle, MEMORY, THREADS)?;
    println!("create, median of {rounds} rounds in turn");
    println!("{:<44} {:>10} {:>10} {:>7}", "the large program (1 GiB, 32 threads)", "small", "large", "ratio");
    for (mode, name) in [
        (PARKED, "threads wait"),
        (WORKING, "threads work (100 us every 10 ms each)"),
        (SPINNING, "threads spin without end"),
    ] {
        let (mut small_times, mut large_times) = (Vec::new(), Vec::new());
        large.tell(&mode.to_string())?;
        for _ in 0..rounds {
            small_times.push(small.create()?);
            large_times.push(large.create()?);
        }
        let (small_time, large_time) = (median(small_times), median(large_times));
        let ratio = large_time as f64 / small_time as f64;
        println!("{name:<44} {:>7} us {:>7} us {ratio:>7.2}", small_time / 1000, large_time / 1000);
    }
    small.stop()?;
    large.stop()
}

fn median(mut times: Vec<u64>) -> u64 {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or(0)
}
