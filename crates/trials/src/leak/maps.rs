//! In what two memory maps of a process differ, and what each mapping is used for.

use std::collections::HashMap;

use memtrial_report::leak::{MappingChange, MappingClass};

use super::journal::Stretch;

/// glibc's heaps for threads begin at multiples of their largest size (`HEAP_MAX_SIZE`, 64 MiB).
const ARENA_ALIGNMENT: u64 = 64 << 20;

/// The mappings in which `before` and `after` differ, the biggest growth of resident memory first.
///
/// Mappings are matched by their first address and name; one that has grown at its lower end (stacks do) by its last
/// address.
#[must_use]
pub fn differences(before: &[Stretch], after: &[Stretch]) -> Vec<MappingChange> {
    let mut by_start: HashMap<(u64, &str), &Stretch> =
        before.iter().map(|one| ((one.range.0, one.path.as_str()), one)).collect();
    let mut changes = Vec::new();
    for (index, now) in after.iter().enumerate() {
        let same_end = || {
            let found = before.iter().find(|one| one.range.1 == now.range.1 && one.path == now.path)?;
            by_start.contains_key(&(found.range.0, found.path.as_str())).then_some(found.range.0)
        };
        let start = if by_start.contains_key(&(now.range.0, now.path.as_str())) {
            Some(now.range.0)
        } else {
            same_end()
        };
        let then = start.and_then(|start| by_start.remove(&(start, now.path.as_str())));
        let class = class(after, index);
        changes.extend(change(then, Some(now), class));
    }
    let gone =
        before.iter().enumerate().filter(|(_, one)| by_start.contains_key(&(one.range.0, one.path.as_str())));
    changes.extend(gone.filter_map(|(index, then)| change(Some(then), None, class(before, index))));
    changes.sort_by_key(|change| {
        let [then, now] = change.resident.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
        (std::cmp::Reverse(now - then), change.start)
    });
    changes
}

fn change(then: Option<&Stretch>, now: Option<&Stretch>, class: MappingClass) -> Option<MappingChange> {
    let shown = now.or(then)?;
    let both = |figure: fn(&Stretch) -> u64| [then.map_or(0, figure), now.map_or(0, figure)];
    let change = MappingChange {
        start: shown.range.0,
        end: shown.range.1,
        class,
        name: shown.path.clone(),
        size: both(|one| one.range.1.saturating_sub(one.range.0)),
        resident: both(|one| one.held.0),
        private_dirty: both(|one| one.held.1),
    };
    let differs = |pair: [u64; 2]| pair[0] != pair[1];
    (differs(change.size) || differs(change.resident) || differs(change.private_dirty)).then_some(change)
}

/// What the mapping at `index` is used for.
fn class(map: &[Stretch], index: usize) -> MappingClass {
    let Some(one) = map.get(index) else { return MappingClass::Anonymous };
    let shared = one.permissions.as_bytes().get(3) == Some(&b's');
    match one.path.as_str() {
        "[heap]" => MappingClass::Heap,
        "[stack]" => MappingClass::ThreadStack,
        path if path.starts_with("[anon:") => MappingClass::Named,
        path if path.starts_with("[anon_shmem:") => MappingClass::Shared,
        path if path.starts_with('[') => MappingClass::Kernel,
        _ if shared => MappingClass::Shared,
        "" if is_arena(map, index) => MappingClass::Arena,
        "" if is_thread_stack(map, index) => MappingClass::ThreadStack,
        "" => MappingClass::Anonymous,
        _ => MappingClass::File,
    }
}

/// A heap of glibc's for threads: it begins at such a multiple, and what of it is not in use yet follows without any
/// access, up to 64 MiB in all.
fn is_arena(map: &[Stretch], index: usize) -> bool {
    let one = &map[index];
    let writable = one.permissions.starts_with("rw");
    let rest =
        map.get(index + 1).filter(|next| next.range.0 == one.range.1 && next.permissions.starts_with("---"));
    let whole = rest.map_or(one.range.1, |rest| rest.range.1) - one.range.0;
    writable && one.range.0.is_multiple_of(ARENA_ALIGNMENT) && whole == ARENA_ALIGNMENT
}

/// A thread's stack: a guard page without any access lies right below it.
fn is_thread_stack(map: &[Stretch], index: usize) -> bool {
    let one = &map[index];
    let below = index.checked_sub(1).and_then(|index| map.get(index));
    let guard = below.filter(|guard| guard.range.1 == one.range.0 && guard.permissions.starts_with("---"));
    let guarded =
        guard.is_some_and(|guard| guard.path.is_empty() && guard.range.1 - guard.range.0 <= 64 << 10);
    one.permissions.starts_with("rw") && guarded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(range: (u64, u64), permissions: &str, path: &str, resident: u64) -> Stretch {
        let (permissions, path) = (permissions.to_owned(), path.to_owned());
        Stretch { range, permissions, path, held: (resident, resident) }
    }

    #[test]
    fn a_heap_that_grew_is_one_change() {
        let before = [stretch((0x1000, 0x3000), "rw-p", "[heap]", 0x1000)];
        let after = [stretch((0x1000, 0x9000), "rw-p", "[heap]", 0x6000)];
        let changes = differences(&before, &after);
        assert_eq!(changes.len(), 1);
        assert_eq!((changes[0].class, changes[0].resident), (MappingClass::Heap, [0x1000, 0x6000]));
        assert_eq!(differences(&before, &before), []);
    }

    #[test]
    fn a_stack_that_grew_downwards_is_the_same_stack() {
        let before = [stretch((0x8000, 0x9000), "rw-p", "[stack]", 0x1000)];
        let after = [stretch((0x6000, 0x9000), "rw-p", "[stack]", 0x3000)];
        let changes = differences(&before, &after);
        assert_eq!((changes.len(), changes[0].size), (1, [0x1000, 0x3000]));
    }

    #[test]
    fn what_came_and_what_went_are_shown_with_their_use() {
        let arena = 0x7f00_0000_0000;
        let before = [stretch((0x1000, 0x2000), "r--p", "/lib/gone.so", 0x1000)];
        let after = [
            stretch((arena, arena + 0x21000), "rw-p", "", 0x5000),
            stretch((arena + 0x21000, arena + ARENA_ALIGNMENT), "---p", "", 0),
            stretch((arena + (1 << 32), arena + (1 << 32) + 0x1000), "---p", "", 0),
            stretch((arena + (1 << 32) + 0x1000, arena + (1 << 32) + 0x80_1000), "rw-p", "", 0x2000),
        ];
        let changes = differences(&before, &after);
        let classes: Vec<MappingClass> =
            changes.iter().filter(|change| change.resident[1] > 0).map(|change| change.class).collect();
        assert_eq!(classes, [MappingClass::Arena, MappingClass::ThreadStack]);
        let gone = changes.iter().find(|change| change.name == "/lib/gone.so").unwrap();
        assert_eq!((gone.class, gone.size), (MappingClass::File, [0x1000, 0]));
    }
}
