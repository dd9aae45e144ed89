//! A list of static probes, and how it is printed.

use std::fmt::{self, Write};

use serde::Serialize;

use crate::terminal::pieces::{BAD, DOUBTFUL, FAINT, STRONG};
use crate::wording::{plural, printable};

/// Names are padded up to this width, so that most arguments stand in one column.
const WIDEST: usize = 44;

/// The static probes that are selected, by file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct Listing {
    /// The files.
    pub files: Vec<File>,
    /// Files that could not be read, and why; in words.
    pub unread: Vec<String>,
}

/// The static probes of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct File {
    /// Its path, as the process has it that loaded it.
    pub file: String,
    /// How many probes it has, selected or not.
    pub has: u64,
    /// Those that are selected.
    pub probes: Vec<Probe>,
    /// What could not be read of it, in words.
    pub damage: Vec<String>,
}

/// A static probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Probe {
    /// Who provides it.
    pub provider: String,
    /// Its name, as the file has it.
    pub name: String,
    /// Where it is in the code.
    pub sites: Vec<Site>,
}

/// A place of a probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Site {
    /// Its address and its offset in the file.
    #[serde(flatten)]
    pub place: Place,
    /// Where its semaphore is, if it has one.
    pub semaphore: Option<Place>,
    /// Its arguments.
    pub arguments: Vec<Argument>,
    /// What may go wrong when it is traced.
    pub warnings: Vec<Warning>,
}

/// A place in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The address, as the file has it.
    pub address: u64,
    /// The offset in the file.
    pub offset: u64,
}

/// An argument of a site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Argument {
    /// `u`, `s` or `f`, for a number without sign, with one, or with a floating point; and its bits.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where it is, as the file has it.
    pub operand: String,
    /// Why it can't be fetched, if so.
    pub unfetchable: Option<String>,
}

/// What may go wrong at a site when it is traced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Warning {
    /// The site is a nop of 5 bytes.
    FiveByteNop,
    /// Another segment maps the page of the semaphore, too.
    SharedSemaphorePage,
    /// Nobody can tell if the file was moved.
    NoBase,
}

impl Warning {
    /// In a line on a probe.
    #[must_use]
    pub fn short(self) -> &'static str {
        match self {
            Warning::FiveByteNop => "5-byte nop",
            Warning::SharedSemaphorePage => "shared semaphore page",
            Warning::NoBase => "no .stapsdt.base",
        }
    }

    /// What comes of it, and what to do.
    #[must_use]
    pub fn explanation(self) -> &'static str {
        match self {
            Warning::FiveByteNop => {
                "the site is a 5-byte nop: kernels from 6.18 on put a call there while it is traced, which overwrites what a \
                 leaf function keeps below its stack pointer, so that its results may be wrong; build it with a 1-byte nop"
            }
            Warning::SharedSemaphorePage => {
                "another segment maps the page of the semaphore, too (rust-lld's layout): processes that start while the \
                 probe is traced never reach it; start them first, or link with another linker"
            }
            Warning::NoBase => {
                "the linker dropped .stapsdt.base: the addresses are right unless prelink has moved the file"
            }
        }
    }

    /// Whether it matters on nearly every machine; prelink is not in use any more.
    fn matters(self) -> bool {
        self != Warning::NoBase
    }
}

impl Listing {
    /// The list as people read it on a terminal, coloured by escape sequences; with all sites if it is `verbose`.
    #[must_use]
    pub fn text(&self, verbose: bool) -> String {
        let mut text = String::new();
        // Writing to a string never fails.
        let _ = self.write(&mut text, verbose);
        text
    }

    /// The list as a JSON document.
    ///
    /// # Errors
    /// Never for these types; the signature is serde's.
    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }

    /// What the user should know of the list, a sentence each: what was not read, and what may go wrong with how many
    /// of the probes.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let damage = self.files.iter().flat_map(|file| {
            file.damage.iter().map(|what| format!("{}: {}", printable(&file.file), printable(what)))
        });
        let mut all: Vec<String> = damage.chain(self.unread.iter().map(|what| printable(what))).collect();
        for warning in [Warning::FiveByteNop, Warning::SharedSemaphorePage] {
            let probes = || self.files.iter().flat_map(|file| &file.probes);
            let touched = |probe: &&Probe| probe.sites.iter().any(|site| site.warnings.contains(&warning));
            let count = probes().filter(touched).count() as u64;
            if count > 0 {
                all.push(format!(
                    "{} ({}): {}",
                    warning.short(),
                    plural(count, "probe"),
                    warning.explanation()
                ));
            }
        }
        all
    }

    fn write(&self, out: &mut String, verbose: bool) -> fmt::Result {
        for file in self.files.iter().filter(|file| !file.probes.is_empty()) {
            let selected = file.probes.len() as u64;
            let count = if selected == file.has {
                plural(selected, "probe")
            } else {
                format!("{selected} of {}", plural(file.has, "probe"))
            };
            writeln!(out, "{STRONG}{}{STRONG:#}: {count}", printable(&file.file))?;
            let width = file.probes.iter().map(|probe| probe.full_name().chars().count());
            let width = width.max().unwrap_or(0).min(WIDEST);
            for probe in &file.probes {
                probe.write(out, width)?;
                if verbose {
                    probe.sites.iter().try_for_each(|site| site.write(out))?;
                }
            }
        }
        Ok(())
    }
}

impl Probe {
    fn full_name(&self) -> String {
        printable(&format!("{}:{}", self.provider, self.name))
    }

    fn write(&self, out: &mut String, width: usize) -> fmt::Result {
        let arguments = self.kinds();
        let arguments = if arguments.is_empty() { "no arguments".to_owned() } else { arguments.join(" ") };
        write!(out, "  {:width$}  {arguments}", self.full_name())?;
        let mut facts = Vec::new();
        if self.sites.len() > 1 {
            facts.push(format!("{} sites", self.sites.len()));
        }
        if self.sites.iter().any(|site| site.semaphore.is_some()) {
            facts.push("semaphore".to_owned());
        }
        if !facts.is_empty() {
            write!(out, "  {FAINT}({}){FAINT:#}", facts.join(", "))?;
        }
        let mut warnings: Vec<&str> = Vec::new();
        for warning in self.sites.iter().flat_map(|site| &site.warnings).filter(|warning| warning.matters()) {
            if !warnings.contains(&warning.short()) {
                warnings.push(warning.short());
            }
        }
        let unfetchable = |site: &Site| site.arguments.iter().any(|argument| argument.unfetchable.is_some());
        if self.sites.iter().any(unfetchable) {
            warnings.push("not all arguments can be fetched");
        }
        if !warnings.is_empty() {
            write!(out, "  {DOUBTFUL}{}{DOUBTFUL:#}", warnings.join(", "))?;
        }
        writeln!(out)
    }

    /// The types of the arguments, by the site that has most; `?` where sites differ.
    fn kinds(&self) -> Vec<&str> {
        let most = self.sites.iter().map(|site| site.arguments.len()).max().unwrap_or(0);
        let kind = |index: usize| {
            let mut kinds = self.sites.iter().filter_map(|site| site.arguments.get(index));
            let first = kinds.next().map_or("?", |argument| argument.kind.as_str());
            if kinds.all(|argument| argument.kind == first) { first } else { "?" }
        };
        (0..most).map(kind).collect()
    }
}

impl Site {
    fn write(&self, out: &mut String) -> fmt::Result {
        write!(out, "    {}", self.place)?;
        if let Some(semaphore) = self.semaphore {
            write!(out, ", semaphore {semaphore}")?;
        }
        writeln!(out)?;
        for (number, argument) in self.arguments.iter().enumerate() {
            let Argument { kind, operand, unfetchable } = argument;
            write!(out, "      {FAINT}arg{}{FAINT:#} {kind:>3} {}", number + 1, printable(operand))?;
            match unfetchable {
                Some(why) => writeln!(out, "  {BAD}can't be fetched{BAD:#}: {}", printable(why))?,
                None => writeln!(out)?,
            }
        }
        for warning in &self.warnings {
            writeln!(out, "      {DOUBTFUL}{}{DOUBTFUL:#}", warning.short())?;
        }
        Ok(())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.address == self.offset {
            write!(out, "{:#x}", self.address)
        } else {
            write!(out, "{:#x} (in the file at {:#x})", self.address, self.offset)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argument(kind: &str, operand: &str) -> Argument {
        Argument { kind: kind.to_owned(), operand: operand.to_owned(), unfetchable: None }
    }

    fn sample() -> Listing {
        let site = |address, arguments| Site {
            place: Place { address, offset: 0x1136 },
            semaphore: Some(Place { address: 0x4018, offset: 0x3018 }),
            arguments,
            warnings: Vec::new(),
        };
        let mut odd = site(0x1140, vec![argument("f64", "8f@%xmm0")]);
        odd.arguments[0].unfetchable = Some("it is in a vector register".to_owned());
        odd.warnings = vec![Warning::FiveByteNop, Warning::NoBase];
        odd.semaphore = None;
        let probe = |name: &str, sites| Probe { provider: "demo".to_owned(), name: name.to_owned(), sites };
        let file = File {
            file: "/usr/bin/d\u{1b}[2Jemo".to_owned(),
            has: 7,
            probes: vec![
                probe(
                    "start",
                    vec![
                        site(0x1136, vec![argument("s32", "-4@$7"), argument("u64", "8@%rdi")]),
                        site(
                            0x2136,
                            vec![argument("s32", "-4@$8"), argument("u8", "1@%al"), argument("u8", "1@%bl")],
                        ),
                    ],
                ),
                probe("odd", vec![odd]),
                probe("none", vec![site(0x3136, Vec::new())]),
            ],
            damage: vec!["the note at byte 7 is cut off".to_owned()],
        };
        Listing { files: vec![file], unread: vec!["cannot read /x: permission denied".to_owned()] }
    }

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn a_probe_is_a_line_with_types_and_facts() {
        let expected = "\
/usr/bin/d\u{fffd}[2Jemo: 3 of 7 probes
  demo:start  s32 ? u8  (2 sites, semaphore)
  demo:odd    f64  5-byte nop, not all arguments can be fetched
  demo:none   no arguments  (semaphore)
";
        assert_eq!(plain(&sample().text(false)), expected);
    }

    #[test]
    fn all_sites_are_shown_when_asked_for() {
        let expected = "\
/usr/bin/d\u{fffd}[2Jemo: 3 of 7 probes
  demo:start  s32 ? u8  (2 sites, semaphore)
    0x1136, semaphore 0x4018 (in the file at 0x3018)
      arg1 s32 -4@$7
      arg2 u64 8@%rdi
    0x2136 (in the file at 0x1136), semaphore 0x4018 (in the file at 0x3018)
      arg1 s32 -4@$8
      arg2  u8 1@%al
      arg3  u8 1@%bl
  demo:odd    f64  5-byte nop, not all arguments can be fetched
    0x1140 (in the file at 0x1136)
      arg1 f64 8f@%xmm0  can't be fetched: it is in a vector register
      5-byte nop
      no .stapsdt.base
";
        assert_eq!(
            plain(&sample().text(true)).split_inclusive("  demo:none").next().unwrap_or_default(),
            format!("{expected}  demo:none")
        );
    }

    #[test]
    fn warnings_are_told_once_with_what_comes_of_them() {
        let warnings = sample().warnings();
        assert_eq!(warnings.len(), 3, "{warnings:?}");
        assert_eq!(warnings[0], "/usr/bin/d\u{fffd}[2Jemo: the note at byte 7 is cut off");
        assert!(warnings[2].starts_with("5-byte nop (1 probe): the site is"), "{warnings:?}");
    }

    #[test]
    fn json_has_all_there_is() {
        let json: serde_json::Value =
            serde_json::from_str(&sample().json().expect("plain data")).expect("JSON");
        let probe = &json["files"][0]["probes"][1];
        assert_eq!((&probe["provider"], &probe["name"]), (&"demo".into(), &"odd".into()));
        let site = &probe["sites"][0];
        assert_eq!((&site["address"], &site["offset"]), (&0x1140.into(), &0x1136.into()));
        assert_eq!(site["arguments"][0]["type"], "f64");
        assert_eq!(site["arguments"][0]["unfetchable"], "it is in a vector register");
        assert_eq!(site["warnings"], serde_json::json!(["five-byte-nop", "no-base"]));
        assert!(site["semaphore"].is_null());
    }
}
