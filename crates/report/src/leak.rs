//! What a run of `memtrial leak` found, as plain data: this is the JSON that `--json` prints.
//!
//! All sizes are in bytes, all rates in bytes a round, all times in seconds since the run began.

mod located;
mod memory;

use serde::{Deserialize, Serialize};

use crate::model::Frame;

pub use located::{Fragmentation, LocateWay, Located, LocatedSite, Survival};
pub use memory::{Figures, MappingChange, MappingClass, Sample};

/// What the rounds came to. The order is the order of the report: worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It grows, round after round.
    Leak,
    /// The rounds can't tell; the reason says why.
    Inconclusive,
    /// It does not grow by more than is tolerated.
    Clean,
}

impl Verdict {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Leak => "leak",
            Verdict::Inconclusive => "inconclusive",
            Verdict::Clean => "clean",
        }
    }
}

/// How sure a leak is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// Shown by the two first looks, or by memory figures alone.
    Suspected,
    /// Shown by later looks, or by blocks that are counted one by one.
    Confirmed,
}

impl Certainty {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Certainty::Suspected => "suspected",
            Certainty::Confirmed => "confirmed",
        }
    }
}

/// Why rounds can't tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It grows more and more slowly: warm-up, a cache, fragmentation.
    Decelerating,
    /// Most of the growth came at once.
    Step,
    /// What varies from round to round hides whatever there may be.
    Noise,
    /// Fewer rounds than a verdict needs.
    TooFewRounds,
    /// It ended or was replaced before there were enough rounds.
    Ended,
}

impl Reason {
    /// The reason as a sentence has it.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Reason::Decelerating => "it grows more and more slowly: a warm-up, a cache, or fragmentation",
            Reason::Step => "most of the growth came at once",
            Reason::Noise => "what varies from round to round hides whatever there may be",
            Reason::TooFewRounds => "there were too few rounds",
            Reason::Ended => "it ended before there were enough rounds",
        }
    }
}

/// What series of figures a judgement is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// [`Figures::held_privately`]
    Private,
    /// [`Figures::held`]
    Resident,
}

impl Measure {
    /// The words for it.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Measure::Private => "private memory",
            Measure::Resident => "resident memory",
        }
    }
}

/// What a series of figures shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// Which figures.
    pub measure: Measure,
    /// What they come to.
    pub verdict: Verdict,
    /// For a leak.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub certainty: Option<Certainty>,
    /// For `inconclusive`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<Reason>,
    /// Estimated growth after the warm-up, in bytes a round.
    pub slope: f64,
    /// 90 % confidence interval of it (each end is a one-sided bound of 95 %); absent with too few rounds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub interval: Option<[f64; 2]>,
    /// The smallest growth, in bytes a round, that this many rounds of this noise would have shown.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub detectable: Option<f64>,
    /// Rounds looked at; how many of them were dropped as warm-up.
    pub rounds: u32,
    /// Rounds dropped as warm-up.
    pub warm_up: u32,
    /// The looks: after how many rounds, and what it seemed then.
    pub looks: Vec<(u32, Verdict)>,
}

/// What part a process plays in the trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The target, or one of its processes.
    Target,
    /// Named by `--also`.
    Also,
}

impl Role {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Role::Target => "target",
            Role::Also => "also",
        }
    }
}

/// A process that was watched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Process id; of a target that is started in every round, the last one's.
    pub pid: i32,
    /// When it was started, in clock ticks since the machine was: with the pid this names a process for good.
    pub started: u64,
    /// The name the kernel has for it.
    pub name: String,
    /// What part it plays.
    pub role: Role,
    /// How it ended, or that it was replaced; absent if it lived to the end.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fate: Option<String>,
    /// Whether that is a finding: a target that died.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub died: bool,
    /// What its private memory shows, then its resident memory; empty if it lived for too few rounds to say.
    pub judgements: Vec<Judgement>,
    /// One sample a round, in the order of rounds.
    pub samples: Vec<Sample>,
    /// In what the memory maps at start and end differ, the biggest growth first.
    pub map_difference: Vec<MappingChange>,
}

impl Process {
    /// The worst of what its memory shows; nothing if it lived for too few rounds to say.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        self.judgements.iter().map(|judgement| judgement.verdict).min()
    }

    /// The judgement that its verdict is from: of equal ones the one on private memory.
    #[must_use]
    pub fn decisive(&self) -> Option<&Judgement> {
        self.judgements.iter().min_by_key(|judgement| judgement.verdict)
    }
}

/// What kind of finding one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// The target ended or was replaced.
    Died,
    /// The blocks of one site pile up.
    Site,
    /// The memory of a process grows.
    Growth,
}

/// Something that does not pass.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// What kind it is.
    pub kind: FindingKind,
    /// Of growth and sites: how sure it is.
    pub certainty: Certainty,
    /// The process.
    pub pid: i32,
    /// Its name.
    pub name: String,
    /// All of it in one sentence.
    pub sentence: String,
    /// Of a site: its id.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub site: Option<String>,
    /// Growth in bytes a round, as far as it is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub slope: Option<f64>,
    /// Of a site: the call stack that allocates, innermost first.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub stack: Vec<Frame>,
    /// The command that makes the trial again.
    pub repro: String,
}

/// A round whose action failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedRound {
    /// The round, from 1.
    pub round: u32,
    /// What failed, and how.
    pub why: String,
}

/// The growth of this run beside that of a stored one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The folder of the stored run.
    pub folder: String,
    /// Name of the process compared.
    pub name: String,
    /// Growth there and here, in bytes a round.
    pub slopes: [f64; 2],
    /// 90 % confidence interval of the difference (here minus there).
    pub interval: [f64; 2],
    /// What it comes to, as a sentence.
    pub sentence: String,
}

/// A whole run, as `memtrial show` reads it back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`crate::model::SCHEMA`].
    pub schema: u32,
    /// `leak`.
    pub trial: String,
    /// The command line, as the user gave it.
    pub command: Vec<String>,
    /// The target in words, as `pid 12 (redis-server)`.
    pub target: String,
    /// The machine it runs on, if it is another one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub host: Option<String>,
    /// Verdict on the target, the worst of its processes'.
    pub verdict: Verdict,
    /// For a leak.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub certainty: Option<Certainty>,
    /// The verdict in one sentence.
    pub sentence: String,
    /// Rounds made, without those of locating.
    pub rounds: u32,
    /// Rounds allowed.
    pub rounds_allowed: u32,
    /// Rounds whose action failed.
    pub failed_rounds: Vec<FailedRound>,
    /// What growth passes, in bytes a round.
    pub tolerated: u64,
    /// Seconds from the first round to the last.
    pub seconds: f64,
    /// The processes watched: targets first.
    pub processes: Vec<Process>,
    /// What following blocks showed, for each process that was looked into.
    pub located: Vec<Located>,
    /// Why blocks were not followed, if they were not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub not_located: Option<String>,
    /// Beside a stored run.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub comparisons: Vec<Comparison>,
    /// What does not pass, worst first.
    pub findings: Vec<Finding>,
    /// Sentences about what limits the meaning of this run.
    pub warnings: Vec<String>,
    /// Exit status of memtrial.
    pub exit_status: u8,
}

impl Report {
    /// The site, with its living blocks, that a finding is about.
    #[must_use]
    pub fn site_of(&self, finding: &Finding) -> Option<&LocatedSite> {
        let site = finding.site.as_ref()?;
        let of_process = self.located.iter().filter(|located| located.pid == finding.pid);
        of_process.flat_map(|located| &located.sites).find(|located| located.site == *site)
    }
}
