//! What a machine lets memtrial do: the model, and how it reads on a terminal.

use std::fmt::{self, Write};

use serde::{Deserialize, Serialize};

use crate::terminal::{BAD, DOUBTFUL, FAINT, GOOD, STRONG};

/// Changes when a field changes its meaning or goes away.
pub const SCHEMA: u32 = 1;

/// What was found of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Examination {
    /// [`SCHEMA`]
    pub schema: u32,
    /// Release of the kernel.
    pub kernel: String,
    /// Version of the C library.
    pub glibc: String,
    /// The user that memtrial runs as.
    pub user: u32,
    /// Settings of the kernel that have a say.
    pub settings: Vec<Setting>,
    /// Trial by trial.
    pub trials: Vec<TrialNeeds>,
    /// The status that memtrial ends with.
    pub exit_status: u8,
}

/// A setting of the kernel's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Its name, as sysctl(8) has it.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// How far something works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Works {
    /// As it should.
    Yes,
    /// In part, or in a lesser way.
    Part,
    /// Not at all.
    No,
}

/// What a trial is without something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rank {
    /// It does not work at all.
    Required,
    /// It works if it has another one of the ways.
    Way,
    /// It works, with less to it.
    Extra,
}

/// What a trial needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialNeeds {
    /// Its commands.
    pub name: String,
    /// How far it works.
    pub works: Works,
    /// What it needs.
    pub needs: Vec<Need>,
}

/// One thing that a trial needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// What.
    pub name: String,
    /// What the trial is without it.
    pub rank: Rank,
    /// How far it works.
    pub works: Works,
    /// What was found; what is missing, if something is.
    pub found: String,
    /// What is not to be had without it.
    pub without: String,
    /// The command that changes it, where there is one.
    pub how: Option<String>,
}

impl TrialNeeds {
    /// A trial with what it needs. It does not work if something required is missing, or all of its ways are, and works in
    /// part if anything else is.
    #[must_use]
    pub fn new(name: &str, needs: Vec<Need>) -> TrialNeeds {
        let missing = |need: &&Need| need.works == Works::No;
        let of = |rank: Rank| needs.iter().filter(move |need| need.rank == rank);
        let no_way = of(Rank::Way).count() > 0 && of(Rank::Way).all(|need| missing(&need));
        let works = if no_way || of(Rank::Required).any(|need| missing(&need)) {
            Works::No
        } else if needs.iter().all(|need| need.works == Works::Yes) {
            Works::Yes
        } else {
            Works::Part
        };
        TrialNeeds { name: name.to_owned(), works, needs }
    }
}

impl Works {
    fn word(self) -> &'static str {
        match self {
            Works::Yes => "yes",
            Works::Part => "part",
            Works::No => "no",
        }
    }
}

/// As people read it on a terminal.
#[must_use]
pub fn terminal(examination: &Examination) -> String {
    let mut out = String::new();
    // Writing to a string never fails.
    let _ = write(&mut out, examination);
    out
}

fn write(out: &mut String, examination: &Examination) -> fmt::Result {
    let Examination { kernel, glibc, user, settings, trials, .. } = examination;
    writeln!(out, "Linux {kernel}, glibc {glibc}, user {user}")?;
    for setting in settings.iter().filter(|setting| setting.value != NOT_THERE) {
        writeln!(out, "  {FAINT}{} = {}{FAINT:#}", setting.name, setting.value)?;
    }
    let needs = || trials.iter().flat_map(|trial| &trial.needs);
    let width = needs().map(|need| need.name.chars().count()).max().unwrap_or(0);
    for trial in trials {
        writeln!(out, "\n{STRONG}{}{STRONG:#}: {}", trial.name, colored(trial.works, 0))?;
        for need in &trial.needs {
            writeln!(out, "  {} {:<width$}  {}", colored(need.works, 4), need.name, need.found)?;
            if need.works == Works::Yes {
                continue;
            }
            writeln!(out, "       {FAINT}without it: {}{FAINT:#}", need.without)?;
            if let Some(how) = &need.how {
                writeln!(out, "       to have it: {how}")?;
            }
        }
    }
    Ok(())
}

/// The value of a setting that the kernel has not.
pub const NOT_THERE: &str = "not there";

fn colored(works: Works, width: usize) -> String {
    let (word, style) = match works {
        Works::Yes => (works.word(), GOOD),
        Works::Part => (works.word(), DOUBTFUL),
        Works::No => (works.word(), BAD),
    };
    let fill = " ".repeat(width.saturating_sub(word.len()));
    format!("{style}{word}{style:#}{fill}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(name: &str, rank: Rank, works: Works) -> Need {
        Need {
            name: name.to_owned(),
            rank,
            works,
            found: "found".to_owned(),
            without: "nothing".to_owned(),
            how: (works != Works::Yes).then(|| "sudo true".to_owned()),
        }
    }

    #[test]
    fn a_trial_works_with_all_that_it_requires_and_one_of_its_ways() {
        use Rank::{Extra, Required, Way};
        use Works::{No, Part, Yes};
        let works = |needs: &[(Rank, Works)]| {
            TrialNeeds::new("t", needs.iter().map(|(rank, works)| need("n", *rank, *works)).collect()).works
        };
        assert_eq!(works(&[(Required, Yes), (Extra, Yes)]), Yes);
        assert_eq!(works(&[(Required, Yes), (Extra, No)]), Part);
        assert_eq!(works(&[(Required, Part)]), Part);
        assert_eq!(works(&[(Way, No), (Way, Yes)]), Part);
        assert_eq!(works(&[(Way, No), (Way, No), (Extra, Yes)]), No);
        assert_eq!(works(&[(Way, Yes), (Required, No)]), No);
        assert_eq!(works(&[(Extra, No)]), Part);
    }

    #[test]
    fn what_is_missing_is_shown_with_the_command_that_helps() {
        let examination = Examination {
            schema: SCHEMA,
            kernel: "6.1".to_owned(),
            glibc: "2.36".to_owned(),
            user: 1000,
            settings: vec![
                Setting { name: "a.b".to_owned(), value: "1".to_owned() },
                Setting { name: "c.d".to_owned(), value: NOT_THERE.to_owned() },
            ],
            trials: vec![TrialNeeds::new(
                "oom",
                vec![need("agent", Rank::Required, Works::Yes), need("folders", Rank::Extra, Works::No)],
            )],
            exit_status: 0,
        };
        let text = anstream::adapter::strip_str(&terminal(&examination)).to_string();
        let expected = "\
Linux 6.1, glibc 2.36, user 1000
  a.b = 1

oom: part
  yes  agent    found
  no   folders  found
       without it: nothing
       to have it: sudo true
";
        assert_eq!(text, expected);
    }
}
