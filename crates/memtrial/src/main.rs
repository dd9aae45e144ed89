//! `memtrial`: puts a native Linux program on trial for memory, as built.

mod arguments;
mod exit;
mod failure;
mod oom;
mod progress;
mod show;

use clap::Parser;

use crate::arguments::{Arguments, Command};
use crate::exit::ExitStatus;

fn main() -> ExitStatus {
    exit::on_panic();
    let arguments = Arguments::parse();
    let color = arguments.color();
    color.write_global();
    let result = match arguments.command {
        Command::Oom(oom) => oom::run(*oom),
        Command::Show(show) => show::run(&show),
    };
    result.unwrap_or_else(|failure| failure.print())
}
