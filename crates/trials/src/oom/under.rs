//! One failure under a debugger: the target runs in the foreground, with the agent set on one allocation.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use memtrial_symbols::symbolize::Symbolizer;
use memtrial_target::memory::SharedMemory;
use memtrial_target::watch::Watch;
use memtrial_wire::layout::{CONTROL_VARIABLE, mode};

use super::error::OomError;
use super::lab::{Kind, Lab};
use super::options::Options;
use super::{plan, reference};

/// Which debugger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Debugger {
    /// GDB.
    Gdb,
    /// Valgrind's memcheck.
    Valgrind,
}

/// A command ready to be run in the foreground; the memory lives until it has ended.
pub struct Prepared {
    /// The debugger with the target.
    pub command: Command,
    _memory: SharedMemory,
}

/// Finds the one allocation that the options name, and prepares the debugger on it.
///
/// # Errors
/// When the target does not run as it should, or never makes that allocation.
pub fn prepare(options: &Options, lab: &mut Lab, debugger: Debugger) -> Result<Prepared, OomError> {
    let mut watch = Watch::new()?;
    let mut symbolizer = Symbolizer::new();
    let limit = options.timeout.unwrap_or(std::time::Duration::from_secs(600));
    let established = reference::establish(lab, &mut watch, limit, &options.expect_exit)?;
    let planned = plan::select(options, &established.census, &mut symbolizer)?;
    let anchor = planned.first().map_or((0, 0), |planned| (planned.site, planned.nth));
    let kind = Kind {
        mode: mode::ANCHORED,
        fault: options.fault,
        anchor,
        filtered: false,
        traced: false,
        limit: None,
    };
    let path = lab.scratch().path().join("memory");
    let memory = lab.memory(&path, &kind)?;
    // The debugger waits for its own children, and wants to hear of them.
    drop(watch);
    let command = command(lab, &memory, debugger)?;
    Ok(Prepared { command, _memory: memory })
}

fn command(lab: &Lab, memory: &SharedMemory, debugger: Debugger) -> std::io::Result<Command> {
    let program = lab.program();
    let mut preload = OsString::from("LD_PRELOAD=");
    preload.push(lab.agent());
    let mut control = OsString::from(format!("{CONTROL_VARIABLE}="));
    control.push(memory.path());
    let mut command = match debugger {
        Debugger::Gdb => {
            let mut command = Command::new("gdb");
            command.arg("-q");
            // Nobody at a terminal: run, show where it stopped, and leave.
            if !std::io::IsTerminal::is_terminal(&std::io::stdin()) {
                command.arg("-batch");
            }
            // Set for the target, not for gdb.
            for variable in [&preload, &control] {
                let mut setting = OsString::from("set environment ");
                setting.push(variable.to_string_lossy().replacen('=', " = ", 1));
                command.arg("-ex").arg(setting);
            }
            command.arg("-ex").arg(format!("run < {}", lab.stdin().display())).args([
                "-ex",
                "backtrace",
                "--args",
            ]);
            command
        }
        Debugger::Valgrind => {
            let mut command = Command::new("valgrind");
            // It would put its own `malloc` in the place of the agent's as well as of the C library's.
            command.args(["-q", "--leak-check=full", "--soname-synonyms=somalloc=nouserintercepts"]);
            command.env("LD_PRELOAD", lab.agent()).env(CONTROL_VARIABLE, memory.path());
            command.stdin(std::fs::File::open(lab.stdin())?);
            command
        }
    };
    command.arg(&program.path).args(program.arguments.iter().skip(1));
    command.current_dir(PathBuf::from(&program.folder));
    Ok(command)
}
