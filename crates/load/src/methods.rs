//! The methods: the one table that `help`, the reading of arguments and the book are made from.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::text::Text;

/// A method.
#[derive(Debug)]
pub struct Method {
    /// What is asked for.
    pub kind: Kind,
    /// Its name.
    pub name: &'static str,
    /// A line that shows the parameters that can be given by position.
    pub usage: &'static str,
    /// The parameters that can be given by position, in order.
    pub by_position: &'static [Parameter],
    /// The parameters that can be given by name only.
    pub by_name: &'static [Parameter],
    /// One or two sentences.
    pub help: &'static str,
}

/// Which method it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `help`
    Help,
    /// `mt.mem_alloc`
    Alloc,
    /// `mt.mem_free`
    Free,
    /// `mt.mem_realloc`
    Realloc,
    /// `mt.mem_used`
    Used,
    /// `mt.mem_rnd_alloc`
    RandomAlloc,
    /// `mt.mem_test_start`
    TestStart,
    /// `mt.mem_test_stop`
    TestStop,
    /// `mt.mem_test_destroy`
    TestDestroy,
    /// `mt.mem_test_destroy_all`
    TestDestroyAll,
    /// `mt.mem_test_list`
    TestList,
    /// `mt.mem_check`
    Check,
    /// `cfg.set_now_int`
    Set,
    /// `cfg.get`
    Get,
    /// `memtrial.status`
    Status,
    /// `memtrial.leave`
    Leave,
}

macro_rules! parameters {
    ($($variant:ident $name:literal $shown:literal;)*) => {
        /// A parameter of methods.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Parameter {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
        }

        /// How many there are.
        pub const PARAMETERS: usize = [$($name),*].len();

        impl Parameter {
            /// The name by which it is given.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Parameter::$variant => $name,)* }
            }

            /// As it stands in usage lines and messages.
            #[must_use]
            pub const fn shown(self) -> &'static str {
                match self { $(Parameter::$variant => $shown,)* }
            }
        }
    };
}

parameters! {
    Method "method" "METHOD";
    Size "size" "SIZE";
    Unit "unit" "UNIT";
    Min "min" "MIN";
    Max "max" "MAX";
    Total "total" "TOTAL";
    MinInt "min_int" "MIN_INT";
    MaxInt "max_int" "MAX_INT";
    Time "time" "TIME";
    Id "id" "ID";
    Group "group" "GROUP";
    Name "name" "NAME";
    Value "value" "VALUE";
    Unpaced "unpaced" "unpaced";
    Sizes "sizes" "sizes";
    Seed "seed" "seed";
    CheckContent "check_content" "check_content";
    ReallocPercent "realloc_p" "realloc_p";
}

/// All methods.
pub static METHODS: [Method; 16] = [
    Method {
        kind: Kind::Help,
        name: "help",
        usage: "help [METHOD]",
        by_position: &[Parameter::Method],
        by_name: &[],
        help: "Lists the methods, or one of them.",
    },
    Method {
        kind: Kind::Alloc,
        name: "mt.mem_alloc",
        usage: "mt.mem_alloc SIZE [b|k|m|g]",
        by_position: &[Parameter::Size, Parameter::Unit],
        by_name: &[],
        help: "Allocates a chunk and keeps it.",
    },
    Method {
        kind: Kind::Free,
        name: "mt.mem_free",
        usage: "mt.mem_free [SIZE] [b|k|m|g]",
        by_position: &[Parameter::Size, Parameter::Unit],
        by_name: &[],
        help: "Frees chunks of mt.mem_alloc and mt.mem_rnd_alloc, at least SIZE in all; without SIZE all of them.",
    },
    Method {
        kind: Kind::Realloc,
        name: "mt.mem_realloc",
        usage: "mt.mem_realloc SIZE [b|k|m|g]",
        by_position: &[Parameter::Size, Parameter::Unit],
        by_name: &[],
        help: "Resizes a random chunk of mt.mem_alloc and mt.mem_rnd_alloc to SIZE.",
    },
    Method {
        kind: Kind::Used,
        name: "mt.mem_used",
        usage: "mt.mem_used [b|k|m|g]",
        by_position: &[Parameter::Unit],
        by_name: &[],
        help: "How much the chunks of mt.mem_alloc and mt.mem_rnd_alloc hold, and how many there are.",
    },
    Method {
        kind: Kind::RandomAlloc,
        name: "mt.mem_rnd_alloc",
        usage: "mt.mem_rnd_alloc MIN MAX TOTAL [b|k|m|g]",
        by_position: &[Parameter::Min, Parameter::Max, Parameter::Total, Parameter::Unit],
        by_name: &[],
        help: "Allocates chunks of random sizes from MIN to MAX and keeps them, until they are TOTAL. realloc_p \
               percent of the allocations resize a chunk instead.",
    },
    Method {
        kind: Kind::TestStart,
        name: "mt.mem_test_start",
        usage: "mt.mem_test_start MIN MAX TOTAL MIN_INT MAX_INT TIME [b|k|m|g]",
        by_position: &[
            Parameter::Min,
            Parameter::Max,
            Parameter::Total,
            Parameter::MinInt,
            Parameter::MaxInt,
            Parameter::Time,
            Parameter::Unit,
        ],
        by_name: &[
            Parameter::Unpaced,
            Parameter::Sizes,
            Parameter::Seed,
            Parameter::CheckContent,
            Parameter::ReallocPercent,
        ],
        help: "Starts a test: for TIME it allocates a chunk of a random size from MIN to MAX every MIN_INT to MAX_INT; \
               when they are TOTAL it frees them all and begins again. Times are in milliseconds, or texts as \
               \"50us\", \"2s\" or \"1m\".",
    },
    Method {
        kind: Kind::TestStop,
        name: "mt.mem_test_stop",
        usage: "mt.mem_test_stop ID",
        by_position: &[Parameter::Id],
        by_name: &[],
        help: "Stops a test; its chunks stay.",
    },
    Method {
        kind: Kind::TestDestroy,
        name: "mt.mem_test_destroy",
        usage: "mt.mem_test_destroy [ID]",
        by_position: &[Parameter::Id],
        by_name: &[],
        help: "Stops a test and frees its chunks; without ID, or with -1, every test.",
    },
    Method {
        kind: Kind::TestDestroyAll,
        name: "mt.mem_test_destroy_all",
        usage: "mt.mem_test_destroy_all",
        by_position: &[],
        by_name: &[],
        help: "Stops every test and frees its chunks.",
    },
    Method {
        kind: Kind::TestList,
        name: "mt.mem_test_list",
        usage: "mt.mem_test_list [ID] [b|k|m|g]",
        by_position: &[Parameter::Id, Parameter::Unit],
        by_name: &[],
        help: "Lists a test; without ID, or with -1, every test, the newest first.",
    },
    Method {
        kind: Kind::Check,
        name: "mt.mem_check",
        usage: "mt.mem_check",
        by_position: &[],
        by_name: &[],
        help: "Looks at the contents of every chunk that was filled, and lists all chunks found overwritten so far.",
    },
    Method {
        kind: Kind::Set,
        name: "cfg.set_now_int",
        usage: "cfg.set_now_int malloc_test check_content|realloc_p VALUE",
        by_position: &[Parameter::Group, Parameter::Name, Parameter::Value],
        by_name: &[],
        help: "Sets from now on: check_content 1 fills chunks, and looks at them before they are resized or freed; \
               realloc_p is how many percent of the allocations resize a chunk, at most 90.",
    },
    Method {
        kind: Kind::Get,
        name: "cfg.get",
        usage: "cfg.get malloc_test check_content|realloc_p",
        by_position: &[Parameter::Group, Parameter::Name],
        by_name: &[],
        help: "The value of a setting.",
    },
    Method {
        kind: Kind::Status,
        name: "memtrial.status",
        usage: "memtrial.status",
        by_position: &[],
        by_name: &[],
        help: "What the agent is doing, in numbers, and the chunks found overwritten so far.",
    },
    Method {
        kind: Kind::Leave,
        name: "memtrial.leave",
        usage: "memtrial.leave",
        by_position: &[],
        by_name: &[],
        help: "Frees every chunk, ends the agent's threads and closes the socket.",
    },
];

/// The method of this name.
#[must_use]
pub fn find(name: Text<'_>) -> Option<&'static Method> {
    METHODS.iter().find(|method| name.is(method.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_lines_show_the_parameters_in_order() {
        for method in &METHODS {
            let mut words = method.usage.split(' ');
            assert_eq!(words.next(), Some(method.name));
            let words: Vec<_> = words.map(|word| word.trim_matches(['[', ']'])).collect();
            assert_eq!(words.len(), method.by_position.len(), "{}", method.name);
            for (word, parameter) in words.iter().zip(method.by_position) {
                let known = ["b|k|m|g", "malloc_test", "check_content|realloc_p"];
                assert!(*word == parameter.shown() || known.contains(word), "{word} of {}", method.name);
            }
        }
    }

    #[test]
    fn every_method_is_found_by_its_name() {
        for method in &METHODS {
            let found = find(Text::from_escaped(method.name)).map(|found| found.kind);
            assert_eq!(found, Some(method.kind));
        }
        assert!(find(Text::from_escaped("mt.mem")).is_none());
    }
}
