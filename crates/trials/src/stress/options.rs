//! What a stress trial is asked to do.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::leak::options::Ready;

/// What is loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// The process with this id.
    Pid(i32),
    /// The one process of this name.
    Name(String),
    /// A program that is started for the trial; its arguments, the program first.
    Program(Vec<String>),
    /// No target: a process for each of these allocators (a name, or the path of a library).
    Allocators(Vec<String>),
}

/// How sizes are chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sizes {
    /// Each from min to max alike.
    Uniform,
    /// Each power of two alike.
    Log,
    /// Sizes and their weights, from this file.
    Table(PathBuf, Vec<(u64, u64)>),
}

/// All options of a trial; kept in `run.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// The command line, as the user gave it.
    pub command: Vec<String>,
    /// What is loaded.
    pub subject: Subject,
    /// When a program that is started is ready for the load.
    pub ready: Option<Ready>,
    /// Smallest chunk, in bytes.
    pub min: u64,
    /// Largest chunk, in bytes.
    pub max: u64,
    /// Bytes that all threads together hold before all is freed.
    pub total: u64,
    /// Allocations a second of all threads together; `None`: as fast as it goes.
    pub rate: Option<f64>,
    /// Threads, from 1.
    pub threads: u32,
    /// How long the load lasts.
    pub time: Duration,
    /// Whether chunks are filled, and looked at.
    pub check_content: bool,
    /// So many percent of the allocations resize a chunk; at most 90.
    pub realloc_percent: u8,
    /// How sizes are chosen.
    pub sizes: Sizes,
    /// By which all choices are made.
    pub seed: u64,
    /// Shell command that asks the target something; it must succeed.
    pub probe: Option<String>,
    /// Time limit of a probe, and of getting ready.
    pub timeout: Duration,
    /// How much memory the target may have beside what it holds before the load, in bytes.
    pub limit: Option<u64>,
    /// Most bytes that the load may hold, with its bookkeeping; `None`: half of what is free.
    pub max_total: Option<u64>,
    /// The environment of what is started.
    pub environment: Vec<(String, String)>,
    /// The folder it is started in.
    pub folder: PathBuf,
}
