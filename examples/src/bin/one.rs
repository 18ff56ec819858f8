//! Runs the bundle given as argument, waits for it, and exits as it did.
use no_frills::{Bundle, CreateOptions, Runtime};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = Runtime::open("/run/no-frills")?;
    let bundle = Bundle::load(std::env::args().nth(1).unwrap_or_else(|| ".".to_owned()))?;
    let container = runtime.run("one", &bundle, CreateOptions::default())?;
    let status = container.wait()?;
    container.delete(false)?;
    std::process::exit(status.code())
}
