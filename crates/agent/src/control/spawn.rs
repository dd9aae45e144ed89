//! Threads of the agent's own, as the C library makes them, so that the allocator takes them for what they are.

use core::ffi::{c_int, c_void};

use crate::real::{self, RTLD_DEFAULT};
use crate::{system, thread};

/// What a thread runs.
pub type Body = extern "C" fn(*mut c_void) -> *mut c_void;

/// `pthread_attr_t` of glibc on x86-64.
#[repr(C, align(8))]
struct Attributes([u64; 7]);

type Init = unsafe extern "C" fn(*mut Attributes) -> c_int;
type Set = unsafe extern "C" fn(*mut Attributes, usize) -> c_int;
type SetState = unsafe extern "C" fn(*mut Attributes, c_int) -> c_int;
type Create = unsafe extern "C" fn(*mut u64, *const Attributes, Body, *mut c_void) -> c_int;

/// Untouched pages of a stack cost nothing; unwinding a call stack takes a good part of it.
const STACK: usize = 256 << 10;
/// `PTHREAD_CREATE_DETACHED`
const DETACHED: c_int = 1;

/// The functions of the C library's that make a thread.
#[derive(Clone, Copy)]
pub struct Spawner {
    init: Init,
    set_stack: Set,
    set_state: SetState,
    destroy: Init,
    create: Create,
}

impl Spawner {
    /// Looks them up.
    pub fn find() -> Option<Spawner> {
        let symbol = |name: &[u8]| {
            let address = real::symbol(RTLD_DEFAULT, name);
            (!address.is_null()).then_some(address)
        };
        // SAFETY: symbols of these names have these types by POSIX.
        unsafe {
            Some(Spawner {
                init: core::mem::transmute::<*mut c_void, Init>(symbol(b"pthread_attr_init\0")?),
                set_stack: core::mem::transmute::<*mut c_void, Set>(symbol(b"pthread_attr_setstacksize\0")?),
                set_state: core::mem::transmute::<*mut c_void, SetState>(symbol(
                    b"pthread_attr_setdetachstate\0",
                )?),
                destroy: core::mem::transmute::<*mut c_void, Init>(symbol(b"pthread_attr_destroy\0")?),
                create: core::mem::transmute::<*mut c_void, Create>(symbol(b"pthread_create\0")?),
            })
        }
    }

    /// Starts a detached thread in which no signal handler of the target's runs. Says whether there is one.
    pub fn spawn(self, body: Body, argument: *mut c_void) -> bool {
        let mut attributes = Attributes([0; 7]);
        let mut id = 0;
        let before = system::block_signals();
        // SAFETY: the attributes have the C library's size, and are initialised before they are used.
        let result = thread::while_busy(|| unsafe {
            if (self.init)(&raw mut attributes) != 0 {
                return -1;
            }
            (self.set_stack)(&raw mut attributes, STACK);
            (self.set_state)(&raw mut attributes, DETACHED);
            let result = (self.create)(&raw mut id, &raw const attributes, body, argument);
            (self.destroy)(&raw mut attributes);
            result
        });
        system::set_signals(before);
        result == 0
    }
}
