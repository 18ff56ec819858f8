//! Runs a command in a running container: `exec ID COMMAND...`, and exits as it did.
//!
//! What it prints comes back over a pipe, as a service would want it that asks its containers how they are.
use std::io::Read;

use no_frills::{ExecOptions, ProcessConfig, Runtime};
use serde_json::json;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let id = arguments.next().ok_or("usage: exec ID COMMAND...")?;
    let container = Runtime::open("/run/no-frills")?.container(&id)?;

    // The container's own process with another command; or write one from nothing, as in config.json.
    let mut process = container.process()?;
    process["args"] = json!(arguments.collect::<Vec<_>>());
    process["terminal"] = json!(false);
    let process = ProcessConfig::from_value(&process)?;

    let (mut reader, writer) = std::io::pipe()?;
    let options = ExecOptions { stdout: Some(writer.into()), ..ExecOptions::default() };
    let exec = container.exec(&process, options)?;
    let mut output = String::new();
    reader.read_to_string(&mut output)?;
    let status = exec.wait()?;
    println!("{output}--- exit status {}", status.code());
    std::process::exit(status.code())
}
