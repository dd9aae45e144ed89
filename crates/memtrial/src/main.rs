//! `memtrial`: puts a native Linux program on trial for memory, as built.

mod agent;
mod arguments;
mod bar;
mod doctor;
mod environment;
mod exit;
mod failure;
mod hold;
mod leak;
mod load;
mod observe_server;
mod oom;
mod progress;
mod renderings;
mod replies;
mod rounds;
mod rpc;
mod session;
mod show;
mod sizes;
mod stress;
mod trace;

use crate::arguments::{Arguments, Command};
use crate::exit::ExitStatus;

fn main() -> ExitStatus {
    exit::on_panic();
    let arguments = Arguments::of_this_process();
    let color = arguments.color();
    color.write_global();
    let result = match arguments.command {
        Command::Oom(oom) => oom::run(*oom),
        Command::Leak(leak) => leak::run(*leak),
        Command::Stress(stress) => stress::run(*stress),
        Command::Rpc(rpc) => rpc::run(&rpc),
        Command::Trace(trace) => trace::run(*trace),
        Command::Doctor(doctor) => doctor::run(&doctor),
        Command::Hold => hold::run(),
        Command::ObserveServer(server) => observe_server::run(&server),
        Command::Show(show) => show::run(&show),
    };
    result.unwrap_or_else(|failure| failure.print())
}
