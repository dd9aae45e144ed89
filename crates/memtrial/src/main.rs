//! `memtrial`: puts a native Linux program on trial for memory, as built.

mod agent;
mod arguments;
mod environment;
mod exit;
mod failure;
mod leak;
mod observe_server;
mod oom;
mod progress;
mod renderings;
mod rounds;
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
        Command::Leak(leak) => leak::run(*leak),
        Command::ObserveServer(server) => observe_server::run(&server),
        Command::Show(show) => show::run(&show),
    };
    result.unwrap_or_else(|failure| failure.print())
}
