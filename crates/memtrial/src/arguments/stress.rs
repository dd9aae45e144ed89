//! The command line of `memtrial stress`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args};
use memtrial_trials::leak::options::Ready;

use super::Delivery;
use super::leak::ready;
use super::quantities::{Rate, duration, rate, some_bytes};
use crate::exit;

/// `memtrial stress`
#[derive(Debug, Args)]
#[command(after_help = exit::table(), group = ArgGroup::new("target").args(["pid", "name", "program"]))]
pub struct Stress {
    /// The process with this id
    #[arg(long, help_heading = "The target", value_name = "PID", value_parser = clap::value_parser!(i32).range(1..))]
    pub pid: Option<i32>,
    /// The one process of this name
    #[arg(long, help_heading = "The target", value_name = "NAME")]
    pub name: Option<String>,
    /// When the program is ready: a shell command that succeeds then, or a TCP port of this machine [default: when it
    /// has lived for half a second]
    #[arg(long, help_heading = "The target", value_name = "CMD|PORT", value_parser = ready, requires = "program", conflicts_with_all = ["pid", "name"])]
    pub ready: Option<Ready>,
    /// Without a target: load this allocator in a process of its own; several are compared. A name (glibc, jemalloc,
    /// tcmalloc, mimalloc) or the path of a library [default: glibc]
    #[arg(
        long,
        help_heading = "The target",
        value_name = "NAME|FILE,…",
        value_delimiter = ',',
        conflicts_with = "target"
    )]
    pub allocator: Vec<String>,

    /// Smallest chunk, in bytes, with k, m or g [default: 16, or the smallest size of --sizes FILE]
    #[arg(long, help_heading = "The load", value_name = "BYTES", value_parser = some_bytes)]
    pub min: Option<u64>,
    /// Largest chunk [default: 4k, or the largest size of --sizes FILE]
    #[arg(long, help_heading = "The load", value_name = "BYTES", value_parser = some_bytes)]
    pub max: Option<u64>,
    /// When all threads together hold so much, all is freed, and it begins again
    #[arg(long, help_heading = "The load", value_name = "BYTES", default_value = "64m", value_parser = some_bytes)]
    pub total: u64,
    /// Allocations of all threads together, a second (N or N/s) or a minute (N/m), or max [default: 1000/s with a
    /// target, max without]
    #[arg(long, help_heading = "The load", value_name = "RATE", value_parser = rate)]
    pub rate: Option<Rate>,
    /// Threads that allocate, each its share of --total and --rate
    #[arg(long, help_heading = "The load", value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub threads: u32,
    /// How long: seconds, or with s, m or h
    #[arg(long = "for", help_heading = "The load", value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub time: Duration,
    /// Fill each chunk, and look whether somebody else has written to it
    #[arg(long, help_heading = "The load")]
    pub check_content: bool,
    /// So many of 100 allocations resize a chunk: at most 90
    #[arg(long, help_heading = "The load", value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=90))]
    pub realloc: u8,
    /// How sizes are chosen: uniform (each alike), log (each power of two alike), or by the lines SIZE WEIGHT of a file
    #[arg(long, help_heading = "The load", value_name = "uniform|log|FILE", default_value = "uniform")]
    pub sizes: PathBuf,
    /// By which all choices are made [default: another one each time]
    #[arg(long, help_heading = "The load", value_name = "S")]
    pub seed: Option<u64>,
    /// Most that the load may hold, with its bookkeeping [default: half of the memory that is free]
    #[arg(long, help_heading = "The load", value_name = "BYTES", value_parser = some_bytes)]
    pub max_total: Option<u64>,
    /// Limit the memory of what is loaded: so much beside what it holds before
    #[arg(long, help_heading = "The load", value_name = "BYTES", value_parser = some_bytes)]
    pub limit: Option<u64>,

    /// Shell command that asks the target something: it must succeed under load as it does without
    #[arg(long, help_heading = "What passes", value_name = "CMD", requires = "target")]
    pub probe: Option<String>,
    /// Time limit of a probe, and of the program to get ready, in seconds
    #[arg(long, help_heading = "What passes", value_name = "SECS", default_value = "60", value_parser = duration)]
    pub timeout: Duration,

    #[command(flatten)]
    pub delivery: Delivery,
    /// No progress
    #[arg(long, short, help_heading = "Results")]
    pub quiet: bool,

    /// The program and its arguments, behind `--`: started for the trial, and ended afterwards
    #[arg(last = true, value_name = "CMD")]
    pub program: Vec<String>,
}
