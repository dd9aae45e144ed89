//! From the parameters of a request, by position or by name, to the command.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::command::{Command, Plan, Setting, Sizes, Unit};
use crate::json::Token;
use crate::manual::MOST_REALLOCS;
use crate::methods::{self, Kind, Method, PARAMETERS, Parameter};
use crate::quantity::{self, Why};
use crate::table;
use crate::text::Text;
use crate::value::Value;

/// Why parameters make no command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit<'r> {
    /// One is needed.
    Missing(Parameter),
    /// One is given twice.
    Twice(Parameter),
    /// One is wrong: words that follow its name.
    Wrong(Parameter, Why),
    /// They do not go together: what must hold.
    Rule(&'static str),
    /// There is none of this name.
    Unknown(Text<'r>),
    /// There are more than the method has.
    TooMany,
}

impl Unfit<'_> {
    /// In words, of which `buffer` may hold a part.
    pub fn words<'b>(&self, buffer: &'b mut [u8]) -> [&'b str; 3] {
        match *self {
            Unfit::Missing(parameter) => [parameter.shown(), " is missing", ""],
            Unfit::Twice(parameter) => [parameter.shown(), " is given twice", ""],
            Unfit::Wrong(parameter, why) => [parameter.shown(), " ", why],
            Unfit::Rule(rule) => [rule, "", ""],
            Unfit::Unknown(name) => ["there is no parameter \"", name.start(buffer).0, "\""],
            Unfit::TooMany => ["there are more parameters than it takes", "", ""],
        }
    }
}

/// The settings, by group and name: also those of the module that took over the commands from the original one.
const SETTINGS: [(&str, &str, Setting); 4] = [
    ("malloc_test", "check_content", Setting::CheckContent),
    ("malloc_test", "realloc_p", Setting::ReallocPercent),
    ("misctest", "mem_check_content", Setting::CheckContent),
    ("misctest", "mem_realloc_p", Setting::ReallocPercent),
];

const SIZES_RULE: &str = "it needs 0 < MIN <= MAX <= TOTAL";
const TIMES_RULE: &str = "it needs 0 < MIN_INT <= MAX_INT <= TIME";

/// What `method` is to do with `parameters`, an array or object.
///
/// # Errors
/// When they are not what the method takes.
pub fn command<'r>(method: &Method, parameters: Option<Value<'r>>) -> Result<Command<'r>, Unfit<'r>> {
    let given = Given::read(method, parameters)?;
    Ok(match method.kind {
        Kind::Help => Command::Help(given.optional(Parameter::Method, method_name)?),
        Kind::Alloc => Command::Alloc { bytes: given.chunk_size()? },
        Kind::Free => Command::Free { bytes: given.optional_size(Parameter::Size)?, unit: given.unit()? },
        Kind::Realloc => Command::Realloc { bytes: given.chunk_size()?, unit: given.unit()? },
        Kind::Used => Command::Used { unit: given.unit()? },
        Kind::RandomAlloc => {
            let (min, max, total) = given.range()?;
            Command::RandomAlloc { min, max, total }
        }
        Kind::TestStart => Command::TestStart(given.plan()?),
        Kind::TestStop => Command::TestStop { id: given.needed(Parameter::Id, quantity::whole)? },
        Kind::TestDestroy => {
            Command::TestDestroy { id: given.optional(Parameter::Id, quantity::whole_or_all)?.flatten() }
        }
        Kind::TestDestroyAll => Command::TestDestroyAll,
        Kind::TestList => Command::TestList {
            id: given.optional(Parameter::Id, quantity::whole_or_all)?.flatten(),
            unit: given.unit()?,
        },
        Kind::Check => Command::Check,
        Kind::Set => {
            let setting = given.setting()?;
            let value = match setting {
                Setting::CheckContent => given.needed(Parameter::Value, quantity::switch).map(u64::from)?,
                Setting::ReallocPercent => given.needed(Parameter::Value, percent).map(u64::from)?,
            };
            Command::Set(setting, value)
        }
        Kind::Get => Command::Get(given.setting()?),
        Kind::Status => Command::Status,
        Kind::Leave => Command::Leave,
    })
}

/// The values that were given; `null` is as none.
struct Given<'r> {
    values: [Option<Value<'r>>; PARAMETERS],
}

impl<'r> Given<'r> {
    fn read(method: &Method, parameters: Option<Value<'r>>) -> Result<Given<'r>, Unfit<'r>> {
        let mut given = Given { values: [None; PARAMETERS] };
        let Some(parameters) = parameters else { return Ok(given) };
        let mut places = method.by_position.iter();
        for value in parameters.elements() {
            given.put(*places.next().ok_or(Unfit::TooMany)?, value)?;
        }
        for (name, value) in parameters.members() {
            let mut all = method.by_position.iter().chain(method.by_name);
            let parameter = all.find(|parameter| name.is(parameter.name())).ok_or(Unfit::Unknown(name))?;
            given.put(*parameter, value)?;
        }
        Ok(given)
    }

    fn put(&mut self, parameter: Parameter, value: Value<'r>) -> Result<(), Unfit<'r>> {
        if let Some(place) = self.values.get_mut(parameter as usize)
            && place.replace(value).is_some()
        {
            return Err(Unfit::Twice(parameter));
        }
        Ok(())
    }

    fn optional<T>(
        &self,
        parameter: Parameter,
        read: impl FnOnce(Value<'r>) -> Result<T, Why>,
    ) -> Result<Option<T>, Unfit<'r>> {
        match self.values.get(parameter as usize).copied().flatten() {
            None => Ok(None),
            Some(value) if value.first() == Token::Null => Ok(None),
            Some(value) => read(value).map(Some).map_err(|why| Unfit::Wrong(parameter, why)),
        }
    }

    fn needed<T>(
        &self,
        parameter: Parameter,
        read: impl FnOnce(Value<'r>) -> Result<T, Why>,
    ) -> Result<T, Unfit<'r>> {
        self.optional(parameter, read)?.ok_or(Unfit::Missing(parameter))
    }

    fn unit(&self) -> Result<Unit, Unfit<'r>> {
        self.optional(Parameter::Unit, unit).map(Option::unwrap_or_default)
    }

    fn optional_size(&self, parameter: Parameter) -> Result<Option<u64>, Unfit<'r>> {
        let unit = self.unit()?;
        self.optional(parameter, |value| quantity::size(value, unit))
    }

    fn size(&self, parameter: Parameter) -> Result<u64, Unfit<'r>> {
        self.optional_size(parameter)?.ok_or(Unfit::Missing(parameter))
    }

    fn chunk_size(&self) -> Result<u64, Unfit<'r>> {
        match self.size(Parameter::Size)? {
            0 => Err(Unfit::Wrong(Parameter::Size, "is 0")),
            bytes => Ok(bytes),
        }
    }

    fn range(&self) -> Result<(u64, u64, u64), Unfit<'r>> {
        let sizes = (self.size(Parameter::Min)?, self.size(Parameter::Max)?, self.size(Parameter::Total)?);
        let (min, max, total) = sizes;
        if 0 < min && min <= max && max <= total { Ok(sizes) } else { Err(Unfit::Rule(SIZES_RULE)) }
    }

    fn plan(&self) -> Result<Plan<'r>, Unfit<'r>> {
        let (min, max, total) = self.range()?;
        let unpaced = self.optional(Parameter::Unpaced, quantity::switch)?.unwrap_or_default();
        let shortest = self.optional(Parameter::MinInt, quantity::time)?;
        let longest = self.optional(Parameter::MaxInt, quantity::time)?;
        let time = self.needed(Parameter::Time, quantity::time)?;
        let interval = if unpaced {
            if time == 0 {
                return Err(Unfit::Wrong(Parameter::Time, "is 0"));
            }
            (0, 0)
        } else {
            let shortest = shortest.ok_or(Unfit::Missing(Parameter::MinInt))?;
            let longest = longest.ok_or(Unfit::Missing(Parameter::MaxInt))?;
            if shortest == 0 || shortest > longest || longest > time {
                return Err(Unfit::Rule(TIMES_RULE));
            }
            (shortest, longest)
        };
        Ok(Plan {
            min,
            max,
            total,
            interval,
            time,
            sizes: self.optional(Parameter::Sizes, sizes)?.unwrap_or(Sizes::Uniform),
            seed: self.optional(Parameter::Seed, quantity::whole)?,
            check_content: self.optional(Parameter::CheckContent, quantity::switch)?,
            realloc_percent: self.optional(Parameter::ReallocPercent, percent)?,
        })
    }

    fn setting(&self) -> Result<Setting, Unfit<'r>> {
        let group = self.needed(Parameter::Group, text)?;
        let name = self.needed(Parameter::Name, text)?;
        let mut in_group = SETTINGS.iter().filter(|(its, ..)| group.is(its)).peekable();
        if in_group.peek().is_none() {
            return Err(Unfit::Wrong(Parameter::Group, "is neither malloc_test nor misctest"));
        }
        let found = in_group.find(|(_, its, _)| name.is(its));
        found.map(|&(.., setting)| setting).ok_or(Unfit::Wrong(Parameter::Name, "is no setting of the group"))
    }
}

fn text(value: Value<'_>) -> Result<Text<'_>, Why> {
    match value.first() {
        Token::Text(text) => Ok(text),
        _ => Err("is not a text"),
    }
}

fn method_name(value: Value<'_>) -> Result<&'static str, Why> {
    methods::find(text(value)?).map(|method| method.name).ok_or("is not the name of a method")
}

fn unit(value: Value<'_>) -> Result<Unit, Why> {
    let word = text(value).ok().and_then(|text| quantity::unit(text.start(&mut [0; 4]).0));
    word.ok_or("is none of b, k, m and g")
}

fn percent(value: Value<'_>) -> Result<u8, Why> {
    let percent = quantity::whole(value)?;
    u8::try_from(percent).ok().filter(|&percent| percent <= MOST_REALLOCS).ok_or("is more than 90")
}

fn sizes(value: Value<'_>) -> Result<Sizes<'_>, Why> {
    match value.first() {
        Token::Text(text) if text.is("uniform") => Ok(Sizes::Uniform),
        Token::Text(text) if text.is("log") => Ok(Sizes::Log),
        Token::BeginArray if table::is_table(value) => Ok(Sizes::Table(value.json())),
        Token::BeginArray => {
            Err("is not a table [[SIZE, WEIGHT], ...] of 1 to 1024 pairs of positive whole numbers")
        }
        _ => Err("is neither \"uniform\" nor \"log\" nor a table [[SIZE, WEIGHT], ...]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The command, or what is said against the parameters.
    fn read<'r>(name: &str, parameters: &'r str) -> Result<Command<'r>, String> {
        let method = methods::METHODS.iter().find(|method| method.name == name).expect("a method");
        let parameters = Value::parse(parameters.as_bytes()).expect("right");
        command(method, Some(parameters)).map_err(|unfit| unfit.words(&mut [0; 40]).concat())
    }

    fn unfit(name: &str, parameters: &str) -> String {
        read(name, parameters).expect_err(parameters)
    }

    #[test]
    fn parameters_come_by_position_or_by_name_as_numbers_or_texts() {
        for parameters in [
            "[10,\"k\"]",
            "[\"10\",\"k\"]",
            "[\"10k\"]",
            "[10240]",
            "[10240,null]",
            "{\"size\":10,\"unit\":\"K\"}",
            "{\"un\\u0069t\":\"kb\",\"size\":\"10\"}",
        ] {
            assert_eq!(read("mt.mem_alloc", parameters), Ok(Command::Alloc { bytes: 10240 }), "{parameters}");
        }
        assert_eq!(read("mt.mem_free", "[]"), Ok(Command::Free { bytes: None, unit: Unit::B }));
        assert_eq!(read("mt.mem_free", "[null, \"m\"]"), Ok(Command::Free { bytes: None, unit: Unit::M }));
        assert_eq!(read("mt.mem_free", "[1,\"k\"]"), Ok(Command::Free { bytes: Some(1024), unit: Unit::K }));
        assert_eq!(read("mt.mem_used", "[\"g\"]"), Ok(Command::Used { unit: Unit::G }));
        assert_eq!(
            read("mt.mem_rnd_alloc", "[1,2,3,\"k\"]"),
            Ok(Command::RandomAlloc { min: 1024, max: 2048, total: 3072 })
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_the_parameter() {
        assert_eq!(unfit("mt.mem_alloc", "[]"), "SIZE is missing");
        assert_eq!(unfit("mt.mem_alloc", "[0]"), "SIZE is 0");
        assert_eq!(unfit("mt.mem_alloc", "[1,\"x\"]"), "UNIT is none of b, k, m and g");
        assert_eq!(unfit("mt.mem_alloc", "[1,2]"), "UNIT is none of b, k, m and g");
        assert_eq!(unfit("mt.mem_alloc", "[1,\"k\",2]"), "there are more parameters than it takes");
        assert_eq!(unfit("mt.mem_alloc", "{\"sizes\":1}"), "there is no parameter \"sizes\"");
        assert_eq!(unfit("mt.mem_alloc", "{\"size\":1,\"size\":2}"), "SIZE is given twice");
        assert_eq!(unfit("mt.mem_alloc", "[20000000000,\"g\"]"), "SIZE is too large");
        assert_eq!(unfit("mt.mem_check", "[1]"), "there are more parameters than it takes");
        assert_eq!(unfit("mt.mem_rnd_alloc", "[2,1,3]"), SIZES_RULE);
        assert_eq!(unfit("mt.mem_rnd_alloc", "[0,1,3]"), SIZES_RULE);
        assert_eq!(unfit("help", "[\"x\"]"), "METHOD is not the name of a method");
        let long = format!("{{\"{}\":1}}", "x".repeat(1000));
        assert_eq!(unfit("mt.mem_check", &long), format!("there is no parameter \"{}\"", "x".repeat(40)));
    }

    #[test]
    fn tests_are_planned_with_their_intervals() {
        let Ok(Command::TestStart(plan)) = read("mt.mem_test_start", "[1,\"4\",64,0.05,\"2\",\"1m\",\"k\"]")
        else {
            panic!("no plan")
        };
        assert_eq!((plan.min, plan.max, plan.total), (1 << 10, 4 << 10, 64 << 10));
        assert_eq!((plan.interval, plan.time), ((50_000, 2_000_000), 60_000_000_000));
    }

    #[test]
    fn intervals_have_an_order_unless_the_test_is_unpaced() {
        for parameters in ["[1,2,3,0,1,2]", "[1,2,3,2,1,2]", "[1,2,3,1,3,2]", "[1,2,3,1e-7,1,2]"] {
            assert_eq!(unfit("mt.mem_test_start", parameters), TIMES_RULE, "{parameters}");
        }
        assert_eq!(
            unfit("mt.mem_test_start", "{\"min\":1,\"max\":2,\"total\":3,\"time\":1}"),
            "MIN_INT is missing"
        );
        let plan =
            read("mt.mem_test_start", "{\"min\":1,\"max\":2,\"total\":3,\"time\":\"1s\",\"unpaced\":true}");
        let Ok(Command::TestStart(plan)) = plan else { panic!("no plan") };
        assert_eq!((plan.interval, plan.time), ((0, 0), 1_000_000_000));
    }

    #[test]
    fn tests_take_more_by_name() {
        let with = |more: &str| {
            format!("{{\"min\":1,\"max\":2,\"total\":3,\"min_int\":1,\"max_int\":1,\"time\":1{more}}}")
        };
        let text = with(",\"sizes\":[[16, 1]],\"seed\":\"7\",\"check_content\":1,\"realloc_p\":90");
        let Ok(Command::TestStart(plan)) = read("mt.mem_test_start", &text) else { panic!("no plan") };
        assert_eq!(plan.sizes, Sizes::Table(b"[[16, 1]]"));
        assert_eq!((plan.seed, plan.check_content, plan.realloc_percent), (Some(7), Some(true), Some(90)));
        assert_eq!(unfit("mt.mem_test_start", &with(",\"realloc_p\":91")), "realloc_p is more than 90");
        assert_eq!(
            unfit("mt.mem_test_start", &with(",\"check_content\":2")),
            "check_content is neither 0 nor 1"
        );
        assert!(unfit("mt.mem_test_start", &with(",\"sizes\":[[16]]")).starts_with("sizes is not a table"));
        assert!(unfit("mt.mem_test_start", &with(",\"sizes\":\"even\"")).starts_with("sizes is neither"));
    }

    #[test]
    fn no_id_and_minus_one_mean_every_test() {
        for all in ["[]", "[-1]", "[\"-1\"]", "[null]", "{}", "{\"id\":-1}"] {
            assert_eq!(read("mt.mem_test_destroy", all), Ok(Command::TestDestroy { id: None }), "{all}");
        }
        assert_eq!(read("mt.mem_test_destroy", "[3]"), Ok(Command::TestDestroy { id: Some(3) }));
        assert_eq!(
            read("mt.mem_test_list", "[3,\"k\"]"),
            Ok(Command::TestList { id: Some(3), unit: Unit::K })
        );
        assert_eq!(unfit("mt.mem_test_stop", "[-1]"), "ID is negative");
        assert_eq!(unfit("mt.mem_test_stop", "[]"), "ID is missing");
    }

    #[test]
    fn settings_have_the_names_of_both_modules() {
        let set = |setting, value| Ok(Command::Set(setting, value));
        let read = |parameters| read("cfg.set_now_int", parameters);
        assert_eq!(read("[\"malloc_test\",\"check_content\",\"1\"]"), set(Setting::CheckContent, 1));
        assert_eq!(read("[\"misctest\",\"mem_realloc_p\",20]"), set(Setting::ReallocPercent, 20));
        assert!(read("[\"misctest\",\"realloc_p\",20]").is_err());
        assert!(read("[\"core\",\"realloc_p\",20]").is_err());
        assert!(read("[\"malloc_test\",\"check_content\",2]").is_err());
        assert!(read("[\"malloc_test\",\"realloc_p\",91]").is_err());
        let get = super::tests::read("cfg.get", "{\"group\":\"malloc_test\",\"name\":\"realloc_p\"}");
        assert_eq!(get, Ok(Command::Get(Setting::ReallocPercent)));
    }
}
