//! Which allocations of the reference run are failed.

use globset::{Glob, GlobMatcher};
use memtrial_report::model::Frame;
use memtrial_symbols::symbolize::Symbolizer;
use memtrial_wire::site::mix;

use super::options::{Options, Sample, Selection};
use crate::census::Census;

/// One allocation to be failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Planned {
    /// Its number in the reference run, from 1.
    pub ordinal: u64,
    /// Hash of its site.
    pub site: u64,
    /// Its number at the site, from 1.
    pub nth: u64,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// `--allocs` lies outside the run.
    #[error("--allocs {from}-{to}: the reference run makes {made} allocations")]
    Range {
        /// The first ordinal asked for.
        from: u64,
        /// The last.
        to: u64,
        /// How many there are.
        made: u64,
    },
    /// `--at` names nothing.
    #[error("--at {0}: the reference run makes no such allocation")]
    NoSuchAllocation(String),
    /// `--at` names several.
    #[error("--at {0}: several sites begin with this; give all 16 digits")]
    Ambiguous(String),
    /// A glob is none.
    #[error("{0}")]
    Glob(String),
    /// The filters leave nothing.
    #[error("--only and --skip leave none of {0} sites")]
    NothingLeft(usize),
}

/// Selects what is to be failed, by ordinal.
///
/// # Errors
/// When the options select nothing.
pub fn select(
    options: &Options,
    census: &Census,
    symbolizer: &mut Symbolizer,
) -> Result<Vec<Planned>, PlanError> {
    let mut planned = selected(&options.selection, census)?;
    if !options.only.is_empty() || !options.skip.is_empty() {
        let filter = Filter::new(&options.only, &options.skip)?;
        let kept: std::collections::HashSet<u64> = census
            .sites
            .iter()
            .filter(|site| filter.keeps(&census.stack(site, symbolizer)))
            .map(|site| site.hash)
            .collect();
        planned.retain(|planned| kept.contains(&planned.site));
        if planned.is_empty() {
            return Err(PlanError::NothingLeft(census.sites.len()));
        }
    }
    Ok(match options.sample {
        Some(sample) => draw(planned, sample),
        None => planned,
    })
}

fn selected(selection: &Selection, census: &Census) -> Result<Vec<Planned>, PlanError> {
    let all = || {
        let numbered = (1..).zip(census.allocations());
        numbered
            .map(|(ordinal, (site, nth))| Planned { ordinal, site, nth })
            .filter(|planned| planned.nth > 0)
    };
    Ok(match selection {
        Selection::Every => all().collect(),
        Selection::PerSite(most) => all().filter(|planned| planned.nth <= *most).collect(),
        &Selection::Ordinals(from, to) => {
            let chosen: Vec<Planned> = all().filter(|p| (from..=to).contains(&p.ordinal)).collect();
            let made = census.allocations().len() as u64;
            if from == 0 || from > to || to > made || chosen.is_empty() {
                return Err(PlanError::Range { from, to, made });
            }
            chosen
        }
        Selection::At(id, nth) => {
            let name = format!("{id}:{nth}");
            let site = match census.named(id)[..] {
                [] => return Err(PlanError::NoSuchAllocation(name)),
                [site] => site.hash,
                _ => return Err(PlanError::Ambiguous(name)),
            };
            let found = all().find(|planned| planned.site == site && planned.nth == *nth);
            vec![found.ok_or(PlanError::NoSuchAllocation(name))?]
        }
    })
}

/// A random choice (Vitter's selection sampling, Algorithm S of Knuth, TAOCP vol. 2, 3.4.2), kept in order.
fn draw(planned: Vec<Planned>, sample: Sample) -> Vec<Planned> {
    let mut wanted = sample.size.min(planned.len() as u64);
    let mut left = planned.len() as u64;
    let mut state = mix(sample.seed);
    planned
        .into_iter()
        .filter(|_| {
            state = mix(state);
            // The high bits times the count: a number below `left`, even enough for any run's length.
            let drawn = u64::try_from((u128::from(state) * u128::from(left)) >> 64).unwrap_or(0);
            let chosen = drawn < wanted;
            left -= 1;
            wanted -= u64::from(chosen);
            chosen
        })
        .collect()
}

/// `--only` and `--skip`: globs over the module, file and function of each frame.
struct Filter {
    only: Vec<GlobMatcher>,
    skip: Vec<GlobMatcher>,
}

impl Filter {
    fn new(only: &[String], skip: &[String]) -> Result<Filter, PlanError> {
        let compile = |globs: &[String]| {
            let compiled = globs.iter().map(|glob| Glob::new(glob).map(|glob| glob.compile_matcher()));
            compiled.collect::<Result<Vec<_>, _>>().map_err(|error| PlanError::Glob(error.to_string()))
        };
        Ok(Filter { only: compile(only)?, skip: compile(skip)? })
    }

    fn keeps(&self, stack: &[Frame]) -> bool {
        let stack = without_start(stack);
        let any = |globs: &[GlobMatcher]| stack.iter().any(|frame| globs.iter().any(|g| matches(g, frame)));
        (self.only.is_empty() || any(&self.only)) && !any(&self.skip)
    }
}

/// A stack without how every stack begins: libc's way to `main` or to a thread's function, and `_start` below.
/// Else each site would have a frame of libc.
fn without_start(stack: &[Frame]) -> &[Frame] {
    let is_system = |frame: &Frame| {
        let base = frame.module.rsplit('/').next().unwrap_or("");
        base.starts_with("libc.so") || base.starts_with("ld-linux")
    };
    let inner = match stack {
        [inner @ .., before, last] if is_system(before) && !is_system(last) => &stack[..inner.len() + 1],
        _ => stack,
    };
    let end = inner.iter().rposition(|frame| !is_system(frame)).map_or(0, |position| position + 1);
    // All of it may be libc's: then that is what the site is about.
    if end == 0 { stack } else { &stack[..end] }
}

/// A glob means a module or file by its path or its last component, or a function by its name.
fn matches(glob: &GlobMatcher, frame: &Frame) -> bool {
    let base = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    let paths = std::iter::once(&frame.module).chain(&frame.file);
    paths.into_iter().any(|path| glob.is_match(path) || glob.is_match(base(path)))
        || frame.function.as_ref().is_some_and(|function| glob.is_match(function))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(n: u64) -> Vec<Planned> {
        (1..=n).map(|ordinal| Planned { ordinal, site: ordinal % 7, nth: 1 + ordinal / 7 }).collect()
    }

    #[test]
    fn a_sample_has_its_size_is_in_order_and_comes_again_with_its_seed() {
        let sample = Sample { size: 100, seed: 7 };
        let drawn = draw(planned(10_000), sample);
        assert_eq!(drawn.len(), 100);
        assert!(drawn.is_sorted());
        assert_eq!(drawn, draw(planned(10_000), sample));
        assert_ne!(drawn, draw(planned(10_000), Sample { size: 100, seed: 8 }));
    }

    #[test]
    fn a_sample_larger_than_all_is_all() {
        assert_eq!(draw(planned(10), Sample { size: 100, seed: 1 }), planned(10));
    }

    #[test]
    fn how_a_stack_begins_is_no_part_of_what_filters_see() {
        let frame = |module: &str| Frame {
            module: module.to_owned(),
            offset: 1,
            function: None,
            function_offset: None,
            file: None,
            line: None,
            inlined: false,
        };
        let stack =
            ["/lib/libc.so.6", "/bin/p", "/bin/p", "/lib/libc.so.6", "/lib/libc.so.6", "/bin/p"].map(frame);
        assert_eq!(without_start(&stack), &stack[..3]);
        assert_eq!(without_start(&stack[1..3]), &stack[1..3]);
        assert_eq!(without_start(&stack[..1]), &stack[..1]);
    }

    #[test]
    fn filters_look_at_modules_files_and_functions() {
        let frame = Frame {
            module: "/usr/lib/libfoo.so.1".to_owned(),
            offset: 1,
            function: Some("foo_open".to_owned()),
            function_offset: None,
            file: Some("/src/foo/open.c".to_owned()),
            line: Some(3),
            inlined: false,
        };
        let keeps = |only: &[&str], skip: &[&str]| {
            let owned = |globs: &[&str]| globs.iter().map(|g| (*g).to_owned()).collect::<Vec<_>>();
            Filter::new(&owned(only), &owned(skip)).unwrap().keeps(std::slice::from_ref(&frame))
        };
        assert!(
            keeps(&["libfoo*"], &[]) && keeps(&["open.c"], &[]) && keeps(&["foo_*"], &[]) && keeps(&[], &[])
        );
        assert!(!keeps(&["libbar*"], &[]) && !keeps(&[], &["libfoo*"]) && !keeps(&["foo_*"], &["*/foo/*"]));
        assert!(Filter::new(&["[".to_owned()], &[]).is_err());
    }
}
