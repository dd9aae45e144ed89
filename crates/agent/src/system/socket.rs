//! Calls on sockets.

use super::{Errno, marked, number};

/// A new socket.
pub fn socket(family: u64, kind: u64) -> Result<u64, Errno> {
    // SAFETY: no pointers.
    unsafe { marked!(number::SOCKET, family, kind, 0) }
}

/// Connects a socket.
///
/// # Safety
/// `address` must be that of so many bytes.
pub unsafe fn connect(socket: u64, address: u64, length: usize) -> Result<(), Errno> {
    // SAFETY: the caller promises the address.
    unsafe { marked!(number::CONNECT, socket, address, length as u64) }.map(|_| ())
}

/// Accepts a connection.
pub fn accept(listener: u64, flags: u64) -> Result<u64, Errno> {
    // SAFETY: the other end's address is not asked for.
    unsafe { marked!(number::ACCEPT4, listener, 0, 0, flags) }
}

/// Receives a message.
///
/// # Safety
/// `message` must be the address of a `struct msghdr` whose parts can be written to.
pub unsafe fn recvmsg(socket: u64, message: u64, flags: u64) -> Result<usize, Errno> {
    // SAFETY: the caller promises the message.
    unsafe { marked!(number::RECVMSG, socket, message, flags) }.map(|n| n as usize)
}

/// Sends a message.
///
/// # Safety
/// `message` must be the address of a `struct msghdr` whose parts can be read.
pub unsafe fn sendmsg(socket: u64, message: u64, flags: u64) -> Result<usize, Errno> {
    // SAFETY: the caller promises the message.
    unsafe { marked!(number::SENDMSG, socket, message, flags) }.map(|n| n as usize)
}

/// Reads `struct ucred` of the other end of a Unix socket.
///
/// # Safety
/// `to` must be the address of as many bytes as the word at `length` says.
pub unsafe fn peer_credentials(socket: u64, to: u64, length: u64) -> Result<(), Errno> {
    const SOL_SOCKET: u64 = 1;
    const SO_PEERCRED: u64 = 17;
    // SAFETY: the caller promises the room.
    unsafe { marked!(number::GETSOCKOPT, socket, SOL_SOCKET, SO_PEERCRED, to, length) }.map(|_| ())
}

/// Waits until something has come for one of so many `struct pollfd`; or only looks.
///
/// # Safety
/// They must lie at `polled`.
pub unsafe fn poll(polled: u64, count: usize, only_look: bool) -> Result<usize, Errno> {
    const FOREVER: u64 = u64::MAX;
    let time = if only_look { 0 } else { FOREVER };
    // SAFETY: the caller promises them.
    unsafe { marked!(number::POLL, polled, count as u64, time) }.map(|n| n as usize)
}
