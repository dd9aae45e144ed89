//! `memtrial rpc`: one command to the agent in a process, and its answer.

use std::io;
use std::path::Path;
use std::time::Duration;

use anstream::{eprintln, print};
use memtrial_load::framing::{Found, What};
use memtrial_load::methods::METHODS;
use memtrial_load::serve;
use memtrial_load::writer::Writer;
use memtrial_report::wording::printable;
use memtrial_symbols::symbolize::Symbolizer;
use memtrial_target::control::{self, Client, ClientError, Session};
use memtrial_target::copied::available_memory;
use memtrial_target::interrupt::Interrupt;
use memtrial_target::keeper::Started;
use memtrial_target::observe::{Here, Place};
use memtrial_trials::stress::overwrites::name_frames;
use serde_json::{Value, json};

use crate::arguments::rpc::Rpc;
use crate::exit::ExitStatus;
use crate::failure::{Failure, ambiguous};
use crate::{renderings, replies, session};

/// How long an answer may take: to allocate all of a big machine's memory takes minutes, and the user can stop it.
const PATIENCE: Duration = Duration::from_secs(24 * 60 * 60);
/// How long the agent may take to get into a process.
const ENTERING: Duration = Duration::from_secs(30);
/// Method that sends the agent away.
const LEAVE: &str = "memtrial.leave";

/// Method that lists the methods.
const HELP: &str = "help";

/// Gives the command, and prints what comes back.
pub fn run(arguments: &Rpc) -> Result<ExitStatus, Failure> {
    if arguments.method == HELP && arguments.pid.is_none() && arguments.name.is_none() {
        return help(arguments);
    }
    let pid = process(arguments)?;
    match Client::connect(&control::socket_path(pid), PATIENCE) {
        Ok(client) => {
            if arguments.max_total.is_some() {
                eprintln!("warning: --max-total changes nothing: the agent is in process {pid} already");
            }
            call(client, arguments, pid)
        }
        Err(error) if !is_absent(&error) => Err(error.into()),
        // Nothing is to be loaded into a process only to list what it could do then.
        Err(_) if arguments.method == HELP => help(arguments),
        Err(_) if arguments.method == LEAVE => {
            Err(Failure::new(ExitStatus::Usage, format!("there is no agent in process {pid}")))
        }
        Err(_) => match wrong(arguments) {
            Some(error) => faulty(arguments, pid, error.0, &error.1),
            None => enter(arguments, pid),
        },
    }
}

/// Brings the agent into the process, and gives it the command.
fn enter(arguments: &Rpc, pid: i32) -> Result<ExitStatus, Failure> {
    session::kept(
        Started::LeftAlone,
        |_| (),
        |scratch| {
            let client = settled(arguments, pid, scratch)?;
            call(client, arguments, pid)
        },
    )
}

/// What the agent would say is wrong with the request, if so: then nothing need be loaded into the process for it.
fn wrong(arguments: &Rpc) -> Option<(i64, String)> {
    let request =
        json!({ "jsonrpc": "2.0", "id": 1, "method": arguments.method, "params": arguments.arguments });
    let request = request.to_string();
    let found = Found { framed: false, what: What::Request(request.as_bytes()) };
    let mut room = vec![0; 8 << 10];
    let mut writer = Writer::new(&mut room);
    serve::answer(&found, &mut writer, &mut |_, to| {
        to.value(b"{}");
        Ok(())
    });
    let answer: Value = serde_json::from_slice(writer.bytes()).ok()?;
    let (code, message) = (answer.pointer("/error/code")?.as_i64()?, answer.pointer("/error/message")?);
    is_wrong_usage(code).then(|| (code, message.as_str().unwrap_or_default().to_owned()))
}

/// Lists the methods of the agent that this memtrial carries.
fn help(arguments: &Rpc) -> Result<ExitStatus, Failure> {
    let named = arguments.arguments.as_slice();
    let chosen = METHODS.iter().filter(|method| named.is_empty() || named == [method.name]);
    let methods: Vec<Value> = chosen
        .map(|method| json!({ "name": method.name, "usage": method.usage, "help": method.help }))
        .collect();
    if methods.is_empty() {
        return Err(Failure::new(ExitStatus::Usage, format!("there is no method {}", named.join(" ")))
            .help("see `memtrial rpc help`"));
    }
    tell(arguments, &json!({ "methods": methods }))
}

/// The process that is meant.
fn process(arguments: &Rpc) -> Result<i32, Failure> {
    // Looking for processes takes no time that anybody would want to cut short.
    let interrupt = Interrupt::new().map_err(|error| session::barred("cannot watch for signals", &error))?;
    let mut here = Here::new(interrupt);
    let name = match (arguments.pid, &arguments.name) {
        (Some(pid), _) => return Ok(here.identity(pid)?.pid),
        (None, Some(name)) => name,
        (None, None) => {
            return Err(Failure::new(ExitStatus::Usage, "no target")
                .help("memtrial rpc --pid PID METHOD, or --name NAME METHOD"));
        }
    };
    let found = here.named(name)?;
    match found.as_slice() {
        [] => Err(Failure::new(ExitStatus::Target, format!("there is no process named {name}"))
            .help("see `pgrep -a NAME`")),
        [one] => Ok(one.pid),
        several => Err(ambiguous(format!("there are {} processes named {name}", several.len()), several)),
    }
}

/// Whether the error means that there is no agent to talk to.
fn is_absent(error: &ClientError) -> bool {
    match error {
        ClientError::Gone => true,
        ClientError::Io { error, .. } => {
            matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
        }
        ClientError::Fault { .. } | ClientError::Late(_) | ClientError::Nonsense(_) => false,
    }
}

/// Brings the agent into the process, to stay there.
fn settled(arguments: &Rpc, pid: i32, scratch: &Path) -> Result<Client, Failure> {
    // Until the agent is in, a wish to stop must wait: the process would be left in the middle of a call.
    let (scratch, agent, _interrupt) = session::workshop(scratch)?;
    let max_total = arguments.max_total.or_else(|| available_memory().map(|bytes| bytes / 2));
    let max_total = max_total.ok_or_else(|| {
        Failure::new(ExitStatus::Barred, "cannot read /proc/meminfo")
            .help("say how much may be held: --max-total")
    })?;
    let session = Session::attach(pid, &agent, scratch.path(), max_total, false, ENTERING)?;
    eprintln!(
        "memtrial: the agent is in process {pid} now, and stays until `memtrial rpc --pid {pid} {LEAVE}`"
    );
    Ok(Client::connect(session.socket(), PATIENCE)?)
}

fn call(mut client: Client, arguments: &Rpc, pid: i32) -> Result<ExitStatus, Failure> {
    let parameters = arguments.arguments.iter().cloned().map(Value::String).collect();
    match client.call(&arguments.method, Value::Array(parameters)) {
        Ok(result) => {
            if arguments.method == LEAVE {
                // Its threads have a last step to make: whoever looks next must not find them.
                control::wait_for_threads(pid)?;
                control::remove(&control::socket_path(pid));
            }
            tell(arguments, &result)
        }
        Err(ClientError::Fault { code, message }) => faulty(arguments, pid, code, &message),
        Err(error) => Err(error.into()),
    }
}

/// Tells of a fault.
fn faulty(arguments: &Rpc, pid: i32, code: i64, message: &str) -> Result<ExitStatus, Failure> {
    let status = if is_wrong_usage(code) { ExitStatus::Usage } else { ExitStatus::Findings };
    if arguments.json {
        renderings::print_as_it_is(&format!("{}\n", json!({ "code": code, "message": message })))?;
        return Ok(status);
    }
    let failure = Failure::new(status, printable(message));
    Err(match status {
        ExitStatus::Usage => failure.help(format!("see `memtrial rpc --pid {pid} help`")),
        _ => failure,
    })
}

/// Prints an answer. Overwritten chunks in it are findings.
fn tell(arguments: &Rpc, result: &Value) -> Result<ExitStatus, Failure> {
    let mut symbolizer = Symbolizer::new();
    if arguments.json {
        let mut result = result.clone();
        name_frames(&mut result, &mut symbolizer);
        renderings::print_as_it_is(&format!("{result}\n"))?;
    } else {
        renderings::print_as_it_is(&replies::text(&arguments.method, result))?;
        print!("{}", replies::overwritten(result, &mut symbolizer));
    }
    for warning in symbolizer.warnings() {
        eprintln!("warning: {}", printable(&warning));
    }
    let found = replies::overwritten_count(result) > 0;
    Ok(if found { ExitStatus::Findings } else { ExitStatus::Passed })
}

/// Whether the code of a fault means that the request was wrong (JSON-RPC 2.0, 5.1), not that it could not be done.
fn is_wrong_usage(code: i64) -> bool {
    matches!(code, -32700 | -32602..=-32600)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_requests_are_told_from_those_that_could_not_be_done() {
        let codes = [-32700, -32600, -32601, -32602, -32603, -32000, -32005, 400];
        assert_eq!(codes.map(is_wrong_usage), [true, true, true, true, false, false, false, false]);
    }
}
