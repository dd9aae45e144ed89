//! Commands do with the agent in them what they do without it, to the last byte.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial, run};
use memtrial_tests::harness::executable::built;
use memtrial_tests::harness::preload::{alone, with_agent};
use memtrial_tests::harness::workshop::Bench;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    if !arguments.list {
        // Once, before anything that is timed by its commands.
        let _ = built();
    }
    let commands = concat!(env!("CARGO_MANIFEST_DIR"), "/transparent_commands.txt");
    let commands = fs::read_to_string(commands).expect("the list of commands is there");
    let lines = commands.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let trials = lines.map(|line| {
        let line = line.to_owned();
        Trial::test(format!("the agent is not seen by: {line}"), move || is_not_seen(&line))
    });
    run(&arguments, trials.collect()).exit_code()
}

fn is_not_seen(line: &str) -> Result<(), Failed> {
    let bench = Bench::new();
    let before = alone(line, &bench.folder());
    empty(&bench.folder());
    let (with, allocations, images) = with_agent(line, &bench.folder(), bench.beside("memory"));
    if before != with {
        return Err(format!("without the agent:\n{before:#?}\nwith it:\n{with:#?}").into());
    }
    if allocations == 0 || images == 0 {
        return Err(format!("the agent saw {allocations} allocations in {images} programs").into());
    }
    Ok(())
}

/// The same folder again, for its path may be in what a command says.
fn empty(folder: &Path) {
    fs::remove_dir_all(folder).expect("what a command has left can be removed");
    fs::create_dir(folder).expect("a folder can be made");
}
