//! The command line of `memtrial trace`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::patterns::pattern;
use super::quantities::duration;

/// `memtrial trace`
#[derive(Debug, Args)]
pub struct Trace {
    /// What is to be done.
    #[command(subcommand)]
    pub command: Command,
}

/// What `memtrial trace` does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the static probes of a program, a library, or all that a process has loaded
    List(List),
    /// Print each hit of static probes, in all processes or in those named
    Run(Run),
    /// Start a program, and print its memory events and the hits of its static probes
    Exec(Exec),
    /// Print the memory events of a running process, and the hits of its static probes
    Attach(Attach),
    /// Switch memory events on in a process that is traced by `exec` or `attach`
    Enable(Switch),
    /// Switch memory events off in a process that is traced by `exec` or `attach`
    Disable(Switch),
    /// Print a recording
    Show(Show),
}

/// `memtrial trace list`
#[derive(Debug, Args)]
pub struct List {
    /// List what this process has loaded, instead of a file
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(i32).range(1..))]
    pub pid: Option<i32>,
    /// A program or library (none with --pid), sought in PATH if there is no slash in it, then patterns: globs on NAME or
    /// PROVIDER:NAME; -PATTERN excludes
    #[arg(value_name = "BINARY|PATTERN", value_parser = pattern, required_unless_present = "pid")]
    pub words: Vec<String>,
    /// Show each site with address, operands and semaphore
    #[arg(short, long)]
    pub verbose: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Formats of what is printed or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A line for each: PID@SECONDS.MICROS:NAME ARGUMENTS
    Text,
    /// A JSON object for each, one a line
    Json,
    /// A recording, for `memtrial trace show`
    Simple,
    /// A folder in the Common Trace Format, for babeltrace2 and Trace Compass
    Ctf,
    /// Chrome's trace events, for ui.perfetto.dev
    Chrome,
}

/// How hits are written down, and for how long.
#[derive(Debug, Args)]
pub struct Writing {
    /// Names, types and formats of the events: QEMU's trace-events, a DTrace provider (.d), or a tapset (.stp)
    #[arg(long, value_name = "FILE")]
    pub events: Vec<PathBuf>,
    /// Print no hits, but how often each event happened
    #[arg(long, conflicts_with_all = ["stack", "format"])]
    pub count: bool,
    /// With the call stack of each hit
    #[arg(long)]
    pub stack: bool,
    /// End by itself after this time: seconds, or with s, m or h
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,
    /// Write here instead of stdout (for `ctf` a folder)
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The format
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Text)]
    pub format: Format,
    /// Print no warnings and no summary
    #[arg(short, long)]
    pub quiet: bool,
}

/// `memtrial trace run`
#[derive(Debug, Args)]
pub struct Run {
    /// The program or library, sought in PATH if there is no slash in it
    #[arg(value_name = "BINARY")]
    pub binary: PathBuf,
    /// Globs on NAME or PROVIDER:NAME; -PATTERN excludes [default: all]
    #[arg(value_name = "PATTERN", value_parser = pattern)]
    pub patterns: Vec<String>,
    /// Only in this process, at no cost to others
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(i32).range(1..))]
    pub pid: Vec<i32>,
    /// How hits are written down.
    #[command(flatten)]
    pub writing: Writing,
}

/// `memtrial trace exec`
#[derive(Debug, Args)]
pub struct Exec {
    /// Globs on NAME or PROVIDER:NAME, as `memtrial:*` for memory events; -PATTERN excludes [default: all memory events]
    #[arg(value_name = "PATTERN", value_parser = pattern)]
    pub patterns: Vec<String>,
    /// Where the agent sends memory events: log, log=FILE, simple=FILE, syslog, ftrace or ust. Then they are printed only if
    /// -o, --count or --format say how
    #[arg(long, value_name = "BACKEND")]
    pub backend: Vec<String>,
    /// How hits are written down.
    #[command(flatten)]
    pub writing: Writing,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub command: Vec<String>,
}

/// `memtrial trace attach`
#[derive(Debug, Args)]
pub struct Attach {
    /// The process
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(i32).range(1..))]
    pub pid: i32,
    /// Globs on NAME or PROVIDER:NAME, as `memtrial:*` for memory events; -PATTERN excludes [default: all memory events]
    #[arg(value_name = "PATTERN", value_parser = pattern)]
    pub patterns: Vec<String>,
    /// Where the agent sends memory events: log=FILE, simple=FILE, syslog, ftrace or ust. Then they are printed only if -o,
    /// --count or --format say how
    #[arg(long, value_name = "BACKEND")]
    pub backend: Vec<String>,
    /// How hits are written down.
    #[command(flatten)]
    pub writing: Writing,
}

/// `memtrial trace enable` and `disable`
#[derive(Debug, Args)]
pub struct Switch {
    /// The process
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(i32).range(1..))]
    pub pid: i32,
    /// Globs on NAME or memtrial:NAME; -PATTERN excludes [default: all]
    #[arg(value_name = "PATTERN", value_parser = pattern)]
    pub patterns: Vec<String>,
}

/// `memtrial trace show`
#[derive(Debug, Args)]
pub struct Show {
    /// The recording
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Globs on NAME or PROVIDER:NAME; -PATTERN excludes [default: all]
    #[arg(value_name = "PATTERN", value_parser = pattern)]
    pub patterns: Vec<String>,
    /// Print no hits, but how often each event happened
    #[arg(long, conflicts_with = "format")]
    pub count: bool,
    /// The format
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Text)]
    pub format: Format,
    /// Write here instead of stdout (for `ctf` a folder)
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}
