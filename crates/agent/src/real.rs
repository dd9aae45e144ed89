//! The allocator that the target would have used: found behind the agent in the lookup order.

use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

use memtrial_wire::layout::{self, REAL_FUNCTIONS};

use crate::{stack, thread};

unsafe extern "C" {
    fn dlsym(handle: *mut c_void, name: *const u8) -> *mut c_void;
    fn __errno_location() -> *mut c_int;
}

/// "The next definition after this library's".
const RTLD_NEXT: *mut c_void = usize::MAX as *mut c_void;
/// "The first definition".
pub const RTLD_DEFAULT: *mut c_void = core::ptr::null_mut();

/// No memory.
pub const ENOMEM: c_int = 12;

/// No such function.
pub const ENOSYS: c_int = 38;

/// The value of `errno`.
pub fn errno() -> c_int {
    // SAFETY: the C library returns the address of this thread's `errno`.
    unsafe { *__errno_location() }
}

/// Sets `errno`.
pub fn set_errno(to: c_int) {
    // SAFETY: the C library returns the address of this thread's `errno`.
    unsafe { *__errno_location() = to };
}

/// The address of a symbol of the target's, or null.
pub fn symbol(handle: *mut c_void, name: &[u8]) -> *mut c_void {
    debug_assert!(name.last() == Some(&0));
    // SAFETY: `name` is NUL-terminated. What `dlsym` allocates meanwhile comes from the pool below.
    thread::while_busy(|| unsafe { dlsym(handle, name.as_ptr()) })
}

/// One function behind the agent: looked up at its first use.
pub struct Function {
    address: AtomicPtr<c_void>,
    name: &'static [u8],
}

impl Function {
    const fn new(name: &'static [u8]) -> Function {
        Function { address: AtomicPtr::new(core::ptr::null_mut()), name }
    }

    /// Its address; null if the target has none.
    #[inline]
    pub fn address(&self) -> *mut c_void {
        let address = self.address.load(Ordering::Relaxed);
        if address.is_null() { self.find() } else { address }
    }

    #[cold]
    fn find(&self) -> *mut c_void {
        let address = symbol(RTLD_NEXT, self.name);
        self.address.store(address, Ordering::Relaxed);
        address
    }
}

macro_rules! functions {
    ($($static:ident $name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?, else $missing:expr;)*) => {
        $(
            static $static: Function = Function::new(concat!(stringify!($name), "\0").as_bytes());
        )*
        /// The real functions, by their own names.
        pub mod call {
            use super::*;
            $(
                /// The real function of this name.
                ///
                /// # Safety
                /// The arguments must be what that function takes.
                #[inline]
                pub unsafe fn $name($($argument: $type),*) $(-> $result)? {
                    let address = super::$static.address();
                    if address.is_null() {
                        return $missing;
                    }
                    // SAFETY: a symbol of this name has this type by the C standard, POSIX or glibc's manual.
                    let function = unsafe {
                        core::mem::transmute::<*mut c_void, unsafe extern "C" fn($($type),*) $(-> $result)?>(address)
                    };
                    // SAFETY: the caller promises the arguments.
                    thread::while_busy(|| unsafe { function($($argument),*) })
                }
            )*
        }
    };
}

const NULL: *mut c_void = core::ptr::null_mut();
/// What `mmap` returns when it fails.
pub const FAILED: *mut c_void = usize::MAX as *mut c_void;
/// What a function without a result returns where there is none.
const NOTHING: () = ();

functions! {
    MALLOC malloc(size: usize) -> *mut c_void, else NULL;
    CALLOC calloc(count: usize, size: usize) -> *mut c_void, else NULL;
    REALLOC realloc(block: *mut c_void, size: usize) -> *mut c_void, else NULL;
    POSIX_MEMALIGN posix_memalign(to: *mut *mut c_void, alignment: usize, size: usize) -> c_int, else ENOMEM;
    ALIGNED_ALLOC aligned_alloc(alignment: usize, size: usize) -> *mut c_void, else NULL;
    MEMALIGN memalign(alignment: usize, size: usize) -> *mut c_void, else NULL;
    VALLOC valloc(size: usize) -> *mut c_void, else NULL;
    PVALLOC pvalloc(size: usize) -> *mut c_void, else NULL;
    FREE free(block: *mut c_void), else NOTHING;
    USABLE malloc_usable_size(block: *mut c_void) -> usize, else 0;
    MMAP mmap(address: *mut c_void, length: usize, protection: c_int, flags: c_int, fd: c_int, offset: i64)
        -> *mut c_void, else FAILED;
    MUNMAP munmap(address: *mut c_void, length: usize) -> c_int, else -1;
    MREMAP mremap(address: *mut c_void, length: usize, to: usize, flags: c_int, place: *mut c_void)
        -> *mut c_void, else FAILED;
}

macro_rules! plain {
    ($($static:ident $name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?;)*) => {
        /// The real functions of an allocator that calls none of those that the agent stands in front of.
        pub mod plain {
            use super::*;
            $(
                /// The real function of this name.
                ///
                /// # Safety
                /// The arguments must be what that function takes.
                #[inline]
                pub unsafe fn $name($($argument: $type),*) $(-> $result)? {
                    let address = super::$static.address.load(Ordering::Relaxed);
                    if address.is_null() {
                        // SAFETY: the caller promises the arguments.
                        return unsafe { super::call::$name($($argument),*) };
                    }
                    // SAFETY: a symbol of this name has this type by the C standard.
                    let function = unsafe {
                        core::mem::transmute::<*mut c_void, unsafe extern "C" fn($($type),*) $(-> $result)?>(address)
                    };
                    // SAFETY: the caller promises the arguments.
                    unsafe { function($($argument),*) }
                }
            )*
        }
    };
}

plain! {
    MALLOC malloc(size: usize) -> *mut c_void;
    CALLOC calloc(count: usize, size: usize) -> *mut c_void;
    FREE free(block: *mut c_void);
}

/// Functions that the agent announces before it jumps to them, in the order of the end of [`REAL_FUNCTIONS`].
pub static ANNOUNCED: [Function; REAL_FUNCTIONS.len() - layout::ANNOUNCED] = [
    Function::new(b"fork\0"),
    Function::new(b"execve\0"),
    Function::new(b"execv\0"),
    Function::new(b"execvp\0"),
    Function::new(b"execvpe\0"),
    Function::new(b"execl\0"),
    Function::new(b"execlp\0"),
    Function::new(b"execle\0"),
    Function::new(b"fexecve\0"),
    Function::new(b"posix_spawn\0"),
    Function::new(b"posix_spawnp\0"),
    Function::new(b"pthread_create\0"),
    Function::new(b"dlopen\0"),
    Function::new(b"dlmopen\0"),
];

static DLCLOSE: Function = Function::new(b"dlclose\0");
static OPERATOR_NEW: Function = Function::new(b"_Znwm\0");

/// Takes the addresses of the real functions from the controller, in the order of [`REAL_FUNCTIONS`], in a process that
/// the agent was loaded into while it ran. Where the agent was loaded with the program, what stands behind it is looked
/// up instead. Says whether there is an allocator.
pub fn learn(told: &[AtomicU64; REAL_FUNCTIONS.len()]) -> bool {
    let allocator: [&Function; layout::ANNOUNCED] = [
        &MALLOC,
        &CALLOC,
        &REALLOC,
        &POSIX_MEMALIGN,
        &ALIGNED_ALLOC,
        &MEMALIGN,
        &VALLOC,
        &PVALLOC,
        &FREE,
        &USABLE,
        &MMAP,
        &MUNMAP,
        &MREMAP,
        &DLCLOSE,
        &OPERATOR_NEW,
    ];
    let first = symbol(RTLD_DEFAULT, MALLOC.name);
    let in_front = stack::share_module(first as u64, learn as fn(_) -> _ as usize as u64);
    for (function, told) in allocator.into_iter().chain(&ANNOUNCED).zip(told) {
        if in_front {
            function.address();
        } else {
            function.address.store(told.load(Ordering::Relaxed) as *mut c_void, Ordering::Relaxed);
        }
    }
    are_known()
}

/// Whether the real allocator is the C library's.
pub fn is_glibc() -> bool {
    is_in_libc(malloc_address())
}

/// Whether something at this address belongs to the C library.
pub fn is_in_libc(address: u64) -> bool {
    let libc = symbol(RTLD_DEFAULT, b"gnu_get_libc_version\0");
    stack::share_module(libc as u64, address)
}

/// The address of the real `malloc`.
pub fn malloc_address() -> u64 {
    MALLOC.address() as u64
}

/// The address of the target's `operator new`; null if it has none.
pub fn operator_new() -> *mut c_void {
    OPERATOR_NEW.address()
}

/// The loader's `dlclose`. What destructors allocate meanwhile is the target's own.
///
/// # Safety
/// `handle` must be what `dlopen` returned to the target.
pub unsafe fn dlclose(handle: *mut c_void) -> c_int {
    let address = DLCLOSE.address();
    if address.is_null() {
        return -1;
    }
    // SAFETY: a symbol of this name has this type by POSIX; the caller promises the argument.
    unsafe {
        core::mem::transmute::<*mut c_void, unsafe extern "C" fn(*mut c_void) -> c_int>(address)(handle)
    }
}

/// Whether the functions that the look-up itself may need have been looked up.
pub fn are_known() -> bool {
    let known = |function: &Function| !function.address.load(Ordering::Relaxed).is_null();
    known(&MALLOC) && known(&CALLOC) && known(&REALLOC) && known(&FREE)
}

/// Room for what is asked for while the real allocator is being looked up.
const POOL: usize = 1 << 16;

#[repr(C, align(16))]
struct Pool(core::cell::UnsafeCell<[u8; POOL]>);

// SAFETY: each byte is handed out once, by an atomic counter; it is never taken back.
unsafe impl Sync for Pool {}

static POOL_MEMORY: Pool = Pool(core::cell::UnsafeCell::new([0; POOL]));
static POOL_USED: AtomicUsize = AtomicUsize::new(0);

/// Zeroed memory that is never given back; null when the pool is used up.
pub fn from_pool(size: usize) -> *mut c_void {
    // 16 bytes in front keep the size, for `realloc`.
    let Some(room) = size.checked_add(31).map(|n| n & !15) else { return NULL };
    let at = POOL_USED.fetch_add(room, Ordering::Relaxed);
    if at.checked_add(room).is_none_or(|end| end > POOL) {
        return NULL;
    }
    // SAFETY: `at..at + room` lies in the pool, is aligned to 16 bytes and was given to nobody else.
    unsafe {
        let start = POOL_MEMORY.0.get().cast::<u8>().add(at);
        start.cast::<usize>().write(size);
        start.add(16).cast()
    }
}

/// Whether `block` lies in the pool; then its size.
#[inline]
pub fn pool_size(block: *mut c_void) -> Option<usize> {
    let start = POOL_MEMORY.0.get() as usize;
    let offset = (block as usize).wrapping_sub(start);
    if !(16..POOL).contains(&offset) {
        return None;
    }
    // SAFETY: a block of the pool has its size 16 bytes before it.
    Some(unsafe { block.cast::<u8>().sub(16).cast::<usize>().read() })
}
