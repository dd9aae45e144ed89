//! `memtrial doctor`: what this machine allows, trial by trial, and how to allow the rest.

use std::path::Path;

use anstream::{print, println};
use memtrial_report::doctor::{self, Examination, Need, Rank, SCHEMA, Setting, TrialNeeds, Works};
use memtrial_report::json;
use memtrial_target::keeper::Started;
use memtrial_target::limit;
use memtrial_target::machine::{self, Answer, Facts, Machine, Tried};
use memtrial_target::scratch::Scratch;

use crate::agent::AGENT;
use crate::arguments::Doctor;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::session::{barred, kept};

/// Packages by package manager.
const GDB: [(&str, &str); 2] = [("apt-get", "gdb"), ("dnf", "gdb")];
const VALGRIND: [(&str, &str); 2] = [("apt-get", "valgrind"), ("dnf", "valgrind")];
const SSH: [(&str, &str); 2] = [("apt-get", "openssh-client"), ("dnf", "openssh-clients")];

/// Looks, and prints.
pub fn run(arguments: &Doctor) -> Result<ExitStatus, Failure> {
    let examination = kept(Started::LeftAlone, limit::clean_up, examine)?;
    if arguments.json {
        let text = json::report(&examination)
            .map_err(|error| Failure::new(ExitStatus::Bug, format!("cannot write JSON: {error}")))?;
        println!("{text}");
    } else {
        print!("{}", doctor::terminal(&examination));
    }
    Ok(ExitStatus::from_code(examination.exit_status))
}

fn examine(path: &Path) -> Result<Examination, Failure> {
    let scratch =
        Scratch::create(path).map_err(|error| barred(&format!("cannot make {}", path.display()), &error))?;
    let machine =
        Machine::new(scratch.path(), AGENT).map_err(|error| barred("cannot try anything", &error))?;
    let trials = trials(&machine);
    let barred = trials.iter().any(|trial| trial.works == Works::No);
    let status = if barred { ExitStatus::Barred } else { ExitStatus::Passed };
    let Facts { kernel, glibc, user, settings } = Facts::read();
    let settings = settings.into_iter().map(|(name, value)| Setting { name, value }).collect();
    Ok(Examination { schema: SCHEMA, kernel, glibc, user, settings, trials, exit_status: status.code() })
}

/// The one table of what each trial needs, and what for.
fn trials(machine: &Machine) -> Vec<TrialNeeds> {
    use Rank::{Extra, Required, Way};
    let agent = machine.agent();
    let own = machine.own_processes();
    let others = machine::others_processes;
    let only_own = "only this user's processes";
    let no_backend = "memory events can't be sent there";
    let oom = vec![
        need("agent", Required, &agent, "nothing: it makes allocations fail"),
        need(
            "private folders",
            Extra,
            &machine.private_folders(),
            "runs share the files that they write, one at a time",
        ),
        need(
            "system call filter",
            Extra,
            &machine.system_call_filter(),
            "each injection is a run of its own",
        ),
        need("traced runs", Extra, &machine.traced_children(), "crashes that a program hides are not seen"),
        need("--under gdb", Extra, &machine::program("gdb", &GDB), "not this debugger"),
        need("--under valgrind", Extra, &machine::program("valgrind", &VALGRIND), "not this debugger"),
    ];
    let leak = vec![
        need("watching", Required, &machine.watching(), "no figures of any process"),
        need("agent", Extra, &agent, "stacks in programs that memtrial starts take probes"),
        need("running processes", Extra, &own, "stacks in running processes take probes"),
        need("other users' processes", Extra, &others("memtrial leak …"), only_own),
        need(
            "probes",
            Extra,
            &machine.allocator_probes("memtrial leak …"),
            "no stacks where the agent can't get in",
        ),
        need("--ssh", Extra, &machine::program("ssh", &SSH), "no processes on other machines"),
    ];
    let stress = vec![
        need("control socket", Required, &machine::control_sockets(), "nobody could speak to the agent"),
        need("agent", Way, &agent, "only processes that run already"),
        need("running processes", Way, &own, "only programs that memtrial starts"),
        need("other users' processes", Extra, &others("memtrial stress …"), only_own),
        need(
            "--limit",
            Extra,
            &machine.limit("memtrial stress …"),
            "allocations fail, and nothing is killed",
        ),
    ];
    let trace = vec![
        need("static probes", Way, &machine.static_probes("memtrial trace run …"), "memory events only"),
        need("memory events", Way, &agent, "none of programs that memtrial starts"),
        need("of running processes", Way, &own, "none of processes that run already"),
        need("of other users' processes", Extra, &others("memtrial trace attach …"), only_own),
        need("clock", Extra, &machine::clock(), "a memory event takes longer"),
        need("--backend syslog", Extra, &machine::syslog(), no_backend),
        need("--backend ftrace", Extra, &machine::trace_marker(), no_backend),
        need("--backend ust", Extra, &machine::lttng(), no_backend),
    ];
    vec![
        TrialNeeds::new("oom", oom),
        TrialNeeds::new("leak", leak),
        TrialNeeds::new("stress, rpc", stress),
        TrialNeeds::new("trace", trace),
    ]
}

fn need(name: &str, rank: Rank, tried: &Tried, without: &str) -> Need {
    let works = match tried.answer {
        Answer::Yes => Works::Yes,
        Answer::Part => Works::Part,
        Answer::No => Works::No,
    };
    Need {
        name: name.to_owned(),
        rank,
        works,
        found: tried.found.clone(),
        without: without.to_owned(),
        how: tried.how.clone(),
    }
}
