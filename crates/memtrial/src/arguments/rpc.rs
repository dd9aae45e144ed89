//! The command line of `memtrial rpc`.

use clap::{ArgGroup, Args};

use super::quantities::some_bytes;
use crate::exit;

/// `memtrial rpc`
#[derive(Debug, Args)]
#[command(after_help = exit::table(), group = ArgGroup::new("target").args(["pid", "name"]))]
pub struct Rpc {
    /// The process with this id
    #[arg(long, help_heading = "The target", value_name = "PID", value_parser = clap::value_parser!(i32).range(1..))]
    pub pid: Option<i32>,
    /// The one process of this name
    #[arg(long, help_heading = "The target", value_name = "NAME")]
    pub name: Option<String>,
    /// If the agent is not in the process yet: most that the load may hold, with its bookkeeping [default: half of the
    /// memory that is free]
    #[arg(long, help_heading = "The target", value_name = "BYTES", value_parser = some_bytes)]
    pub max_total: Option<u64>,

    /// Print the result, or the error, as JSON
    #[arg(long, help_heading = "Results")]
    pub json: bool,

    /// The method; `help` prints what there is, also without a target
    #[arg(value_name = "METHOD")]
    pub method: String,
    /// Its arguments, by position
    #[arg(value_name = "ARGS", trailing_var_arg = true, allow_hyphen_values = true)]
    pub arguments: Vec<String>,
}
