//! Frames of call stacks in words, and which of them to look at first.

use crate::model::Frame;
use crate::wording::printable;

/// Names of functions that allocate for others: who calls them is of interest, not they.
const ALLOCATING: [&str; 22] = [
    "malloc",
    "calloc",
    "realloc",
    "reallocarray",
    "memalign",
    "aligned_alloc",
    "posix_memalign",
    "valloc",
    "pvalloc",
    "strdup",
    "strndup",
    "__rust_alloc",
    "__rust_realloc",
    "__rust_alloc_zeroed",
    "je_malloc",
    "je_calloc",
    "je_realloc",
    "mi_malloc",
    "mi_calloc",
    "mi_realloc",
    "tc_malloc",
    "tc_realloc",
];

/// Starts of names of the same kind.
const ALLOCATING_STARTS: [&str; 6] = [
    "operator new",
    "alloc::alloc::",
    "alloc::raw_vec::",
    "<alloc::raw_vec::",
    "__rdl_",
    "std::__new_allocator",
];

/// Starts of file names of allocators' libraries.
const ALLOCATORS: [&str; 3] = ["libjemalloc", "libtcmalloc", "libmimalloc"];

/// A frame in a line: `file:line` first, so that editors can jump.
#[must_use]
pub fn line(frame: &Frame) -> String {
    let function = frame.function.as_deref().unwrap_or("?");
    let inlined = if frame.inlined { " (inlined)" } else { "" };
    let base = base(&frame.module);
    let text = match (&frame.file, frame.line) {
        (Some(file), Some(line)) => format!("{file}:{line} {function}{inlined} [{base}]"),
        _ if frame.module.is_empty() => format!("{:#x}", frame.offset),
        _ => match frame.function_offset {
            Some(offset) => format!("{function}+{offset:#x} [{base}+{:#x}]", frame.offset),
            None => format!("{function}{inlined} [{base}+{:#x}]", frame.offset),
        },
    };
    printable(&text)
}

/// A frame by the least that names it.
#[must_use]
pub fn short(frame: &Frame) -> String {
    let function = frame.function.as_deref();
    let text = match (&frame.file, frame.line) {
        (Some(file), Some(line)) => match function {
            Some(function) => format!("{file}:{line} {function}"),
            None => format!("{file}:{line}"),
        },
        _ if frame.module.is_empty() => format!("{:#x}", frame.offset),
        _ => match function {
            Some(function) => format!("{function} [{}]", base(&frame.module)),
            None => format!("{}+{:#x}", base(&frame.module), frame.offset),
        },
    };
    printable(&text)
}

/// The file name of a path.
#[must_use]
pub fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Where to look first: the first frame that is not foreign, and if that has no name, the next one that has.
#[must_use]
pub fn place(stack: &[Frame], is_foreign: fn(&Frame) -> bool) -> String {
    let mut ours = stack.iter().filter(|frame| !is_foreign(frame) && !frame.module.is_empty());
    let Some(first) = ours.next().or_else(|| stack.first()) else { return "unknown place".to_owned() };
    match ours.find(|frame| frame.function.is_some()) {
        Some(named) if first.function.is_none() => format!("{} below {}", short(first), short(named)),
        _ => short(first),
    }
}

/// The first frame with a source line, by preference one that is neither the system's nor an allocator's.
#[must_use]
pub fn source(stack: &[Frame]) -> Option<(&str, u32)> {
    let known = |frame: &&Frame| frame.file.is_some() && frame.line.is_some();
    let ours = |frame: &&Frame| known(frame) && !is_foreign(frame);
    let frame = stack.iter().find(ours).or_else(|| stack.iter().find(known))?;
    Some((frame.file.as_deref()?, frame.line?))
}

/// Whether a frame is the system's or an allocator's.
#[must_use]
pub fn is_foreign(frame: &Frame) -> bool {
    is_system(frame) || is_allocator(frame)
}

/// Whether a frame is in a library that belongs to the system.
#[must_use]
pub fn is_system(frame: &Frame) -> bool {
    let base = base(&frame.module);
    ["libc.so", "libstdc++.so", "libgcc_s.so", "ld-linux"].iter().any(|library| base.starts_with(library))
}

fn is_allocator(frame: &Frame) -> bool {
    let module = base(&frame.module);
    let source = frame.file.as_deref().unwrap_or("");
    ALLOCATORS.iter().any(|library| module.starts_with(library))
        || source.starts_with("/rustc/")
        || frame.function.as_deref().is_some_and(|name| {
            ALLOCATING.contains(&name) || ALLOCATING_STARTS.iter().any(|start| name.starts_with(start))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{frame, unnamed};

    #[test]
    fn the_first_line_is_that_of_whoever_called_the_allocator() {
        let stack = [
            unnamed("/usr/lib/libc.so.6", 0x99),
            frame("xmalloc", "/src/server/alloc.c", 10),
            frame("main", "/src/server/main.c", 5),
        ];
        assert_eq!(source(&stack), Some(("/src/server/alloc.c", 10)));
        let stack = [
            frame("operator new(unsigned long)", "/src/new_op.cc", 50),
            frame("main", "/src/server/main.c", 5),
        ];
        assert_eq!(source(&stack), Some(("/src/server/main.c", 5)));
        assert_eq!(source(&stack[..1]), Some(("/src/new_op.cc", 50)));
        assert_eq!(source(&[unnamed("/usr/bin/server", 1)]), None);
    }

    #[test]
    fn a_frame_without_a_name_is_told_by_its_module() {
        assert_eq!(line(&unnamed("/usr/bin/server", 0x1234)), "? [server+0x1234]");
        assert_eq!(line(&frame("a\x1b[0m", "/src/a.c", 1)), "/src/a.c:1 a\u{fffd}[0m [server]");
    }
}
