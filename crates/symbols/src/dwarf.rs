//! DWARF debug information of one module: functions, inlined calls and lines at an address.

use std::sync::Arc;

use addr2line::gimli::{self, EndianArcSlice, RunTimeEndian, SectionId};

use crate::image::Image;

type Reader = EndianArcSlice<RunTimeEndian>;

/// addr2line calls itself once for each level of inlining. Compilers stay far below this; a damaged file
/// may pretend to thousands of levels, and the stack that would cost cannot be had back.
const DEEPEST_INLINING: usize = 200;

/// The debug information of one module.
pub(crate) struct DebugInfo {
    context: addr2line::Context<Reader>,
    dwarf: Arc<gimli::Dwarf<Reader>>,
    units: Vec<Unit>,
}

struct Unit {
    header: gimli::UnitHeader<Reader>,
    /// Empty when the unit does not say, so that any address may be in it.
    ranges: Vec<gimli::Range>,
    /// What was found wrong with it, once it was looked at.
    damage: Option<Result<(), String>>,
}

/// One function, perhaps inlined, at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Level {
    /// Not demangled.
    pub name: Option<String>,
    pub file: Option<String>,
    pub line: Option<u32>,
}

/// Whether `image` has debug information itself.
pub(crate) fn is_in(image: &Image) -> bool {
    image.has_contents(".debug_info")
}

impl DebugInfo {
    /// Loads what is needed to find functions and lines. Units that cannot be read are left out; the
    /// second value says so.
    pub fn load(image: &Image, sup: Option<&Image>) -> Result<(DebugInfo, Option<String>), String> {
        let mut dwarf = sections(image)?;
        if let Some(sup) = sup {
            dwarf.set_sup(sections(sup)?);
        }
        dwarf.populate_abbreviations_cache(gimli::AbbreviationsCacheStrategy::Duplicates);
        let dwarf = Arc::new(dwarf);
        let (units, damage) = units(&dwarf).map_err(|error| error.to_string())?;
        let context = addr2line::Context::from_arc_dwarf(dwarf.clone()).map_err(|error| error.to_string())?;
        Ok((DebugInfo { context, dwarf, units }, damage))
    }

    /// The functions at `address`, the innermost inlined one first; none when it is not covered.
    pub fn levels(&mut self, address: u64) -> Result<Vec<Level>, String> {
        // addr2line looks up the range up to the address after it.
        if address == u64::MAX {
            return Ok(Vec::new());
        }
        let dwarf = &self.dwarf;
        for unit in &mut self.units {
            if unit.ranges.is_empty() || unit.ranges.iter().any(|r| r.begin <= address && address < r.end) {
                unit.damage.get_or_insert_with(|| check_nesting(dwarf, &unit.header)).clone()?;
            }
        }
        let mut levels = Vec::new();
        let mut frames = self.context.find_frames(address).skip_all_loads().map_err(|e| e.to_string())?;
        while let Some(frame) = frames.next().map_err(|error| error.to_string())? {
            let name = frame.function.as_ref().and_then(|function| function.raw_name().ok());
            let location = frame.location.as_ref();
            levels.push(Level {
                name: name.map(|name| name.into_owned()).filter(|name| !name.is_empty()),
                file: location.and_then(|location| location.file).map(str::to_owned),
                line: location.and_then(|location| location.line).filter(|line| *line != 0),
            });
        }
        Ok(levels)
    }
}

fn sections(image: &Image) -> Result<gimli::Dwarf<Reader>, String> {
    let endian = if image.layout.little { RunTimeEndian::Little } else { RunTimeEndian::Big };
    gimli::Dwarf::load(|id| {
        let wanted = matches!(
            id,
            // Not .debug_aranges: addr2line would find units by it that `units` here does not know of.
            SectionId::DebugAbbrev
                | SectionId::DebugAddr
                | SectionId::DebugInfo
                | SectionId::DebugLine
                | SectionId::DebugLineStr
                | SectionId::DebugStr
                | SectionId::DebugStrOffsets
                | SectionId::DebugRanges
                | SectionId::DebugRngLists
        );
        let contents = match image.section(id.name()).filter(|_| wanted) {
            Some(section) => image.contents(section).map_err(|error| error.to_string())?,
            None => Arc::new([]),
        };
        Ok(EndianArcSlice::new(contents, endian))
    })
}

fn units(dwarf: &gimli::Dwarf<Reader>) -> Result<(Vec<Unit>, Option<String>), gimli::Error> {
    let mut units = Vec::new();
    let mut damage = None;
    let mut headers = dwarf.units();
    while let Some(header) = headers.next()? {
        match dwarf.unit(header.clone()).and_then(|unit| ranges(dwarf, &unit)) {
            Ok(ranges) => units.push(Unit { header, ranges, damage: None }),
            Err(error) => damage = Some(error.to_string()),
        }
    }
    Ok((units, damage))
}

fn ranges(
    dwarf: &gimli::Dwarf<Reader>,
    unit: &gimli::Unit<Reader>,
) -> Result<Vec<gimli::Range>, gimli::Error> {
    let mut ranges = Vec::new();
    let mut all = dwarf.unit_ranges(unit)?;
    while let Some(range) = all.next()? {
        if range.begin < range.end {
            ranges.push(range);
        }
    }
    Ok(ranges)
}

fn check_nesting(dwarf: &gimli::Dwarf<Reader>, header: &gimli::UnitHeader<Reader>) -> Result<(), String> {
    let deepest = deepest_inlining(dwarf, header).map_err(|error| error.to_string())?;
    if deepest > DEEPEST_INLINING {
        return Err(format!("inlined calls are nested {deepest} deep"));
    }
    Ok(())
}

fn deepest_inlining(
    dwarf: &gimli::Dwarf<Reader>,
    header: &gimli::UnitHeader<Reader>,
) -> Result<usize, gimli::Error> {
    let unit = dwarf.unit(header.clone())?;
    let mut entries = unit.entries_raw(None)?;
    let (mut open, mut deepest) = (Vec::new(), 0);
    while !entries.is_empty() {
        let depth = entries.next_depth();
        let Some(abbreviation) = entries.read_abbreviation()? else { continue };
        while open.last().is_some_and(|outer| *outer >= depth) {
            open.pop();
        }
        if abbreviation.tag() == gimli::DW_TAG_inlined_subroutine {
            open.push(depth);
            deepest = deepest.max(open.len());
        }
        entries.skip_attributes(abbreviation.attributes())?;
    }
    Ok(deepest)
}
