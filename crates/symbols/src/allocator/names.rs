//! The names that allocators give their functions.

/// Whose allocator it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// The GNU C library's.
    Glibc,
    /// The musl C library's.
    Musl,
    /// jemalloc
    Jemalloc,
    /// tcmalloc, of gperftools or newer.
    Tcmalloc,
    /// mimalloc
    Mimalloc,
    /// Any other, or a library that stands before another allocator.
    Unknown,
}

/// What a function of an allocator does, and with which arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// `(bytes, …)`, returns the block.
    Malloc,
    /// `(count, bytes, …)`, returns the block.
    Calloc,
    /// `(block, bytes, …)`, returns the new block.
    Realloc,
    /// `(block, count, bytes)`, returns the new block.
    Reallocarray,
    /// `(block, …)`
    Free,
    /// `(where to store the block, alignment, bytes)`, returns 0 or an error.
    PosixMemalign,
    /// `(alignment, bytes)`, returns the block.
    AlignedAlloc,
    /// `(alignment, bytes)`, returns the block.
    Memalign,
    /// `(bytes)`, returns the block.
    Valloc,
    /// `(bytes)`, returns the block.
    Pvalloc,
    /// `(bytes, …)`, returns the block, or throws unless it is a nothrow one.
    OperatorNew,
    /// `(block, …)`
    OperatorDelete,
}

/// What the names of an allocator's functions have in common, in the order in which aliases are to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    /// `malloc`, and the C libraries' own names for it.
    Plain,
    /// `je_malloc` and as Rust's bindings prefix it.
    Jemalloc,
    Tcmalloc,
    Mimalloc,
    /// One of [`OTHERS`].
    Other(usize),
    /// `operator new` and `operator delete`, which belong to whoever defines them.
    Operators,
}

const JEMALLOC: [&str; 4] = ["_rjem_je_", "_rjem_", "__rjem_", "je_"];
const OTHERS: [&str; 5] = ["rp", "sn_", "scudo_", "dl", "ned"];

/// Functions that any of the families may have. Those that only one of them has are named like nothing else.
const FUNCTIONS: [(&str, Role); 46] = [
    ("malloc", Role::Malloc),
    ("free", Role::Free),
    ("calloc", Role::Calloc),
    ("realloc", Role::Realloc),
    ("posix_memalign", Role::PosixMemalign),
    ("aligned_alloc", Role::AlignedAlloc),
    ("memalign", Role::Memalign),
    ("valloc", Role::Valloc),
    ("pvalloc", Role::Pvalloc),
    ("reallocarray", Role::Reallocarray),
    ("cfree", Role::Free),
    ("free_sized", Role::Free),
    ("free_aligned_sized", Role::Free),
    // jemalloc(3)
    ("mallocx", Role::Malloc),
    ("rallocx", Role::Realloc),
    ("dallocx", Role::Free),
    ("sdallocx", Role::Free),
    // mimalloc.h
    ("zalloc", Role::Malloc),
    ("malloc_small", Role::Malloc),
    ("zalloc_small", Role::Malloc),
    ("malloc_aligned", Role::Malloc),
    ("zalloc_aligned", Role::Malloc),
    ("calloc_aligned", Role::Calloc),
    ("mallocn", Role::Calloc),
    ("realloc_aligned", Role::Realloc),
    ("rezalloc", Role::Realloc),
    ("rezalloc_aligned", Role::Realloc),
    ("reallocf", Role::Realloc),
    ("reallocn", Role::Reallocarray),
    ("recalloc", Role::Reallocarray),
    ("free_size", Role::Free),
    ("free_aligned", Role::Free),
    ("free_size_aligned", Role::Free),
    ("new_n", Role::Calloc),
    ("new_realloc", Role::Realloc),
    ("new_reallocn", Role::Reallocarray),
    // mimalloc.h and gperftools/tcmalloc.h
    ("new", Role::OperatorNew),
    ("new_nothrow", Role::OperatorNew),
    ("new_aligned", Role::OperatorNew),
    ("new_aligned_nothrow", Role::OperatorNew),
    ("newarray", Role::OperatorNew),
    ("newarray_nothrow", Role::OperatorNew),
    ("newarray_aligned", Role::OperatorNew),
    ("newarray_aligned_nothrow", Role::OperatorNew),
    ("delete", Role::OperatorDelete),
    ("deletearray", Role::OperatorDelete),
];

/// How many of [`FUNCTIONS`] are believed of any family; `new` or `zalloc` without a telling prefix may be anything.
const FOR_ANY: usize = 17;

/// The family of a symbol, what it does, and its place among aliases, the plainest name first.
pub(super) fn classify(symbol: &[u8]) -> Option<(Family, Role, usize)> {
    let symbol = std::str::from_utf8(symbol).ok()?;
    if let Some(role) = operator(symbol) {
        // Behind `free`, before `tc_delete`.
        return Some((Family::Operators, role, FUNCTIONS.len()));
    }
    let find = |name: &str| FUNCTIONS.iter().position(|(known, _)| *known == name);
    let with = |family: Family, prefix: &str, rank: usize| {
        let at = find(symbol.strip_prefix(prefix)?)?;
        let own = matches!(family, Family::Jemalloc | Family::Tcmalloc | Family::Mimalloc);
        let (_, role) = FUNCTIONS.get(at).filter(|_| own || at < FOR_ANY)?;
        Some((family, *role, rank * FUNCTIONS.len() + at))
    };
    let plain = with(Family::Plain, "", 0);
    let libc = || ["__libc_", "__"].iter().find_map(|prefix| with(Family::Plain, prefix, 1));
    let je = || JEMALLOC.iter().find_map(|prefix| with(Family::Jemalloc, prefix, 2));
    let other = |(index, prefix): (usize, &&str)| with(Family::Other(index), prefix, 5);
    plain
        .or_else(libc)
        .or_else(je)
        .or_else(|| with(Family::Tcmalloc, "tc_", 3))
        .or_else(|| with(Family::Mimalloc, "mi_", 4))
        .or_else(|| OTHERS.iter().enumerate().find_map(other))
}

/// `operator new(unsigned long)` and its like, as the Itanium C++ ABI mangles them.
fn operator(symbol: &str) -> Option<Role> {
    let starts = |all: [&str; 2]| all.iter().find_map(|start| symbol.strip_prefix(start));
    if let Some(rest) = starts(["_Znwm", "_Znam"]) {
        let known = ["", "RKSt9nothrow_t", "St11align_val_t", "St11align_val_tRKSt9nothrow_t"];
        return known.contains(&rest).then_some(Role::OperatorNew);
    }
    let rest = starts(["_ZdlPv", "_ZdaPv"])?;
    let rest = rest.strip_prefix('m').unwrap_or(rest);
    let known = ["", "RKSt9nothrow_t", "St11align_val_t", "St11align_val_tRKSt9nothrow_t"];
    known.contains(&rest).then_some(Role::OperatorDelete)
}

/// Symbols that tell whose a plain `malloc` is.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    jemalloc: bool,
    tcmalloc: bool,
    mimalloc: bool,
    glibc: bool,
    musl: bool,
}

impl Evidence {
    pub(super) fn note(&mut self, symbol: &[u8]) {
        match symbol {
            b"mallctl" | b"mallctlnametomib" => self.jemalloc = true,
            b"MallocExtension_GetNumericProperty" | b"tc_version" | b"TCMallocInternalMalloc" => {
                self.tcmalloc = true;
            }
            b"mi_version" | b"mi_process_init" => self.mimalloc = true,
            // The latter two are in static programs only.
            b"gnu_get_libc_version" | b"_int_malloc" | b"__libc_mallopt" => self.glibc = true,
            b"__libc_malloc_impl" | b"__malloc_donate" | b"__malloc_replaced" | b"__init_libc" => {
                self.musl = true;
            }
            _ => {}
        }
    }

    /// Whose the allocator of `family` is, which has other names from `aliases`.
    pub(super) fn kind(&self, family: Family, aliases: &[Family]) -> Kind {
        let by_name = |family: &Family| match family {
            Family::Jemalloc => Some(Kind::Jemalloc),
            Family::Tcmalloc => Some(Kind::Tcmalloc),
            Family::Mimalloc => Some(Kind::Mimalloc),
            _ => None,
        };
        if let Some(kind) = aliases.iter().chain([&family]).find_map(by_name) {
            return kind;
        }
        if family != Family::Plain {
            return Kind::Unknown;
        }
        // The C library's last: it is in every static program, whoever's `malloc` that has.
        let seen = [
            (self.jemalloc, Kind::Jemalloc),
            (self.tcmalloc, Kind::Tcmalloc),
            (self.mimalloc, Kind::Mimalloc),
            (self.glibc, Kind::Glibc),
            (self.musl, Kind::Musl),
        ];
        seen.iter().find_map(|(seen, kind)| seen.then_some(*kind)).unwrap_or(Kind::Unknown)
    }
}
