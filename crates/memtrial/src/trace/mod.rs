//! `memtrial trace`: what a program and its allocator do, live.

mod attach;
mod exec;
mod failures;
mod list;
mod run;
mod said;
mod show;
mod statics;
mod switch;
mod wanted;
mod writing;

use crate::arguments::trace::{Command, Trace};
use crate::exit::ExitStatus;
use crate::failure::Failure;

/// Does what the command line says.
pub fn run(trace: Trace) -> Result<ExitStatus, Failure> {
    match trace.command {
        Command::List(list) => list::run(&list),
        Command::Run(run) => run::run(&run),
        Command::Exec(exec) => exec::run(&exec),
        Command::Attach(attach) => attach::run(&attach),
        Command::Enable(switch) => switch::run(&switch, true),
        Command::Disable(switch) => switch::run(&switch, false),
        Command::Show(show) => show::run(&show),
    }
}
