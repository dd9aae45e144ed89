//! Where the functions of a process's own allocator are in its memory.

use std::ffi::OsStr;
use std::path::Path;

use memtrial_symbols::allocator::{Allocators, Function, Role};
use memtrial_symbols::remote::{Mapping, parse_maps};

/// The addresses of `malloc`, `realloc` and `free` of the allocator that a process uses, modules of the file name of
/// `agent` left out; zeros if they can't all be told.
pub(super) fn own_allocator(pid: i32, agent: &Path) -> [u64; 3] {
    let front = agent.file_name().map(OsStr::to_owned);
    let Ok(all) = Allocators::of_process_behind(pid, front.as_deref()) else { return [0; 3] };
    let Some(allocator) = all.effective.and_then(|index| all.found.get(index)) else { return [0; 3] };
    let maps = parse_maps(&std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default());
    let found = [(Role::Malloc, "malloc"), (Role::Realloc, "realloc"), (Role::Free, "free")]
        .map(|(role, name)| address(&allocator.module, plainest(&allocator.functions, role, name)?, &maps));
    match found {
        [Some(malloc), Some(realloc), Some(free)] => [malloc, realloc, free],
        _ => [0; 3],
    }
}

/// The function of a role that has this name, with the shortest prefix. Those of other names may take more arguments, as
/// jemalloc's `rallocx` does.
fn plainest<'f>(functions: &'f [Function], role: Role, name: &str) -> Option<&'f Function> {
    let named = functions.iter().filter(|function| function.role == role && function.name.ends_with(name));
    named.min_by_key(|function| (function.name.len(), function.address))
}

/// Where a function of this module is in a process's memory.
fn address(module: &Path, function: &Function, maps: &[Mapping]) -> Option<u64> {
    let holds = |mapping: &&Mapping| {
        let length = mapping.end - mapping.start;
        mapping.executable
            && mapping.path == module
            && (mapping.offset..mapping.offset.saturating_add(length)).contains(&function.offset)
    };
    let mapping = maps.iter().find(holds)?;
    Some(mapping.start + (function.offset - mapping.offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_that_take_more_arguments_are_not_taken_for_the_plain_ones() {
        let function = |name: &str, role, offset| Function {
            name: name.to_owned(),
            role,
            address: offset,
            size: 1,
            offset,
        };
        let functions = [
            function("rallocx", Role::Realloc, 1),
            function("realloc", Role::Realloc, 2),
            function("je_realloc", Role::Realloc, 3),
            function("dallocx", Role::Free, 4),
            function("mallocx", Role::Malloc, 5),
            function("_rjem_malloc", Role::Malloc, 6),
        ];
        let offset = |role, name| plainest(&functions, role, name).map(|function| function.offset);
        assert_eq!(offset(Role::Realloc, "realloc"), Some(2));
        assert_eq!(offset(Role::Malloc, "malloc"), Some(6));
        assert_eq!(offset(Role::Free, "free"), None);
    }
}
