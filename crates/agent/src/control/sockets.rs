//! Sockets and descriptors, by system calls of the agent's own.

use core::ffi::c_short;

use crate::system::{self, Errno};

/// Nothing to do now.
pub const EAGAIN: Errno = 11;
/// Interrupted.
pub const EINTR: Errno = 4;

/// `struct pollfd`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Polled {
    /// The descriptor; a negative one is left out.
    pub fd: i32,
    /// What is waited for.
    pub events: c_short,
    /// What has come.
    pub came: c_short,
}

/// Something to read, or to accept.
pub const POLLIN: c_short = 1;
/// Room to write.
pub const POLLOUT: c_short = 4;

/// `struct sockaddr_un`
#[repr(C)]
struct Address {
    family: u16,
    path: [u8; 108],
}

const AF_UNIX: u64 = 1;

/// Connects to the Unix socket at `path`, which is not NUL-terminated.
pub fn connect(path: &[u8]) -> Result<u64, Errno> {
    const STREAM_CLOEXEC: u64 = 1 | 0o2_000_000;
    const ENAMETOOLONG: Errno = 36;
    let mut address = Address { family: AF_UNIX as u16, path: [0; 108] };
    let room = address.path.get_mut(..path.len()).filter(|room| room.len() < 108).ok_or(ENAMETOOLONG)?;
    room.copy_from_slice(path);
    let socket = system::socket(AF_UNIX, STREAM_CLOEXEC)?;
    // SAFETY: the address has the kernel's layout and so many bytes.
    let connected = unsafe { system::connect(socket, &raw const address as u64, size_of::<Address>()) };
    match connected {
        Ok(()) => Ok(socket),
        Err(error) => {
            system::close(socket);
            Err(error)
        }
    }
}

/// `struct msghdr`, with one part and room for one descriptor.
#[repr(C)]
struct Message {
    name: u64,
    name_length: u64,
    parts: *const Part,
    part_count: usize,
    beside: *mut Beside,
    beside_length: usize,
    flags: u64,
}

#[repr(C)]
struct Part {
    address: *mut u8,
    length: usize,
}

/// `struct cmsghdr` with one descriptor.
#[repr(C, align(8))]
struct Beside {
    length: usize,
    level: i32,
    kind: i32,
    fd: i32,
    padding: i32,
}

/// Waits for one byte and a descriptor beside it; `None` if there is no descriptor.
pub fn receive(socket: u64) -> Result<Option<(u8, u64)>, Errno> {
    const SCM_RIGHTS: i32 = 1;
    const CLOEXEC: u64 = 0x4000_0000;
    let mut byte = 0u8;
    let part = Part { address: &raw mut byte, length: 1 };
    let mut beside = Beside { length: 0, level: 0, kind: 0, fd: -1, padding: 0 };
    let message = Message {
        name: 0,
        name_length: 0,
        parts: &raw const part,
        part_count: 1,
        beside: &raw mut beside,
        beside_length: size_of::<Beside>(),
        flags: 0,
    };
    // SAFETY: all that the message points to lives through the call.
    let read = unsafe { system::recvmsg(socket, &raw const message as u64, CLOEXEC) }?;
    // SAFETY: the kernel may have written to it.
    let beside = unsafe { (&raw const beside).read_volatile() };
    let came = read == 1 && beside.length == size_of::<Beside>() - 4 && beside.kind == SCM_RIGHTS;
    // SAFETY: as above.
    let byte = unsafe { (&raw const byte).read_volatile() };
    Ok((came && beside.fd >= 0).then_some((byte, beside.fd as u64)))
}

/// Accepts a connection, which then never waits.
pub fn accept(listener: u64) -> Result<u64, Errno> {
    const NONBLOCK_CLOEXEC: u64 = 0o4000 | 0o2_000_000;
    system::accept(listener, NONBLOCK_CLOEXEC)
}

/// Whether the other end of a connection is closed, not only done with sending.
pub fn is_closed(socket: u64) -> bool {
    const POLLHUP: c_short = 16;
    let mut polled = Polled { fd: socket as i32, events: 0, came: 0 };
    // SAFETY: one of them.
    let looked = unsafe { system::poll(&raw mut polled as u64, 1, true) };
    // SAFETY: the kernel may have written to it.
    let polled = unsafe { (&raw const polled).read_volatile() };
    looked.is_ok() && polled.came & POLLHUP != 0
}

/// The user at the other end of a connection; of a listening socket, its maker.
pub fn peer_user(socket: u64) -> Option<u32> {
    // `struct ucred`: process, user, group.
    let mut peer = [0u32; 3];
    let mut length = size_of::<[u32; 3]>() as u32;
    // SAFETY: the kernel writes at most `length` bytes.
    let known = unsafe { system::peer_credentials(socket, &raw mut peer as u64, &raw mut length as u64) };
    known.is_ok().then_some(peer[1])
}

/// Writes what there is room for; a connection that was closed is an error, and no signal.
pub fn send(socket: u64, bytes: &[u8]) -> Result<usize, Errno> {
    const NOSIGNAL_DONTWAIT: u64 = 0x4000 | 0x40;
    let part = Part { address: bytes.as_ptr().cast_mut(), length: bytes.len() };
    let message = Message {
        name: 0,
        name_length: 0,
        parts: &raw const part,
        part_count: 1,
        beside: core::ptr::null_mut(),
        beside_length: 0,
        flags: 0,
    };
    // SAFETY: all that the message points to lives through the call.
    unsafe { system::sendmsg(socket, &raw const message as u64, NOSIGNAL_DONTWAIT) }
}
