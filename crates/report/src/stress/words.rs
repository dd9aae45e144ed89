//! The parts of a stress run in words, for people.

use super::{FindingKind, Limit, Load, Loaded, Overwrite, Relation, Suspect, Way};
use crate::wording::{bytes, plural, printable, rate};

impl FindingKind {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            FindingKind::Died => "died",
            FindingKind::Overwritten => "overwritten",
            FindingKind::Unanswered => "unanswered",
        }
    }
}

impl Way {
    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Way::Preload => "loaded with the program",
            Way::Attach => "loaded while it ran",
        }
    }
}

impl Load {
    /// What is allocated.
    #[must_use]
    pub fn sizes(&self) -> String {
        let [min, max, total] = [self.min, self.max, self.total].map(bytes);
        format!("{min} to {max} ({}), {total} in all, then freed", printable(&self.sizes))
    }

    /// How fast, by how many, and how long.
    #[must_use]
    pub fn pace(&self) -> String {
        let pace = match self.rate {
            Some(per_second) => format!("{} a second", rate(per_second)),
            None => "as fast as it goes".to_owned(),
        };
        format!("{pace}, {}, for {:.1} s", plural(self.threads.into(), "thread"), self.seconds)
    }

    /// How it is done.
    #[must_use]
    pub fn manner(&self) -> String {
        let contents = if self.check_content { "contents checked" } else { "contents not checked" };
        let resized = self.realloc_percent;
        format!("{contents}, {resized} % resized, seed {}, at most {}", self.seed, bytes(self.max_total))
    }
}

impl Loaded {
    /// The process: what it is called, and its allocator.
    #[must_use]
    pub fn words(&self) -> String {
        let allocator = match &*self.allocator {
            "" => "allocator unknown".to_owned(),
            name => printable(name),
        };
        format!("{} (pid {}), {allocator}", printable(&self.name), self.pid)
    }

    /// How the agent got in.
    #[must_use]
    pub fn entry(&self) -> String {
        let stopped =
            self.stopped_ms.map_or(String::new(), |time| format!("; a thread stood still for {time:.1} ms"));
        format!("{}{stopped}", self.way.words())
    }
}

impl Limit {
    /// What it was, and how often it was met.
    #[must_use]
    pub fn words(&self) -> String {
        let killed = match self.killed {
            0 => String::new(),
            count => format!(
                ", {} killed by the kernel",
                if count == 1 { "1 process".to_owned() } else { format!("{count} processes") }
            ),
        };
        let kind = self.kind.text();
        format!("{} more than before, by {kind}: met {}{killed}", bytes(self.bytes), plural(self.met, "time"))
    }
}

impl Overwrite {
    /// Which allocation the chunk is.
    #[must_use]
    pub fn whose(&self) -> String {
        match self.test {
            Some(test) => format!("allocation {} of test {test}", self.number),
            None => format!("allocation {}, by a command", self.number),
        }
    }

    /// Which part of it is not as it was.
    #[must_use]
    pub fn extent(&self) -> String {
        let are = if self.length == 1 { "is" } else { "are" };
        format!("{} from offset {} {are} not as it was", plural(self.length, "byte"), self.offset)
    }
}

impl Suspect {
    /// What it is, in words that its size follows.
    #[must_use]
    pub fn words(&self) -> &'static str {
        match self.relation {
            Relation::Before => "just before it lies a block",
            Relation::Freed => "in its place lay, until it was freed, a block",
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{allocators_report, stress_report};

    #[test]
    fn a_load_is_told_with_all_that_makes_it() {
        let load = stress_report().load;
        assert_eq!(load.sizes(), "16 B to 4.0 KiB (uniform), 64.0 MiB in all, then freed");
        assert_eq!(load.pace(), "1,000 a second, 4 threads, for 60.0 s");
        assert_eq!(load.manner(), "contents checked, 20 % resized, seed 7, at most 1.0 GiB");
        assert!(allocators_report().load.pace().contains("as fast as it goes"));
    }

    #[test]
    fn a_limit_says_how_often_it_was_met_and_whom_it_killed() {
        let mut limit = stress_report().loaded[0].limit.clone().unwrap();
        assert_eq!(limit.words(), "256.0 MiB more than before, by a control group (v2): met 12 times");
        (limit.met, limit.killed) = (1, 2);
        assert!(limit.words().ends_with("met 1 time, 2 processes killed by the kernel"));
    }
}
