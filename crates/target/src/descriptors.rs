//! Messages with a descriptor beside them (unix(7), SCM_RIGHTS).

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Room for one descriptor, aligned as the kernel wants it.
#[repr(C, align(8))]
struct Beside([u8; 24]);

/// Sends bytes, and a descriptor with them. May be called between fork and exec: it allocates nothing.
///
/// # Errors
/// Those of `sendmsg`; a part of the bytes is one too.
pub(crate) fn send(socket: RawFd, bytes: &[u8], descriptor: Option<RawFd>) -> io::Result<()> {
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut beside = Beside([0; 24]);
    // SAFETY: a zeroed header is a valid one; everything it points to lives through the call, which writes to none of it.
    let sent = unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        if let Some(descriptor) = descriptor {
            message.msg_control = beside.0.as_mut_ptr().cast();
            message.msg_controllen = beside.0.len();
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(4) as usize;
            libc::CMSG_DATA(header).cast::<RawFd>().write_unaligned(descriptor);
        }
        libc::sendmsg(socket, &raw const message, libc::MSG_NOSIGNAL)
    };
    match usize::try_from(sent) {
        Ok(sent) if sent == bytes.len() => Ok(()),
        Ok(_) => Err(io::ErrorKind::WriteZero.into()),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

/// Receives bytes, and perhaps a descriptor with them; how many bytes, 0 when the other end is closed.
///
/// # Errors
/// Those of `recvmsg`.
pub(crate) fn receive(socket: impl AsFd, bytes: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let mut beside = Beside([0; 24]);
    // SAFETY: a zeroed header is a valid one; everything it points to lives through the call. A descriptor that
    // came with the message is new, and belongs to nobody else.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = beside.0.as_mut_ptr().cast();
        message.msg_controllen = beside.0.len();
        let read = loop {
            let read = libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC);
            if read >= 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
                break read;
            }
        };
        let Ok(read) = usize::try_from(read) else { return Err(io::Error::last_os_error()) };
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        let descriptor = (!header.is_null() && (*header).cmsg_type == libc::SCM_RIGHTS)
            .then(|| OwnedFd::from_raw_fd(libc::CMSG_DATA(header).cast::<RawFd>().read_unaligned()));
        Ok((read, descriptor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_descriptor_arrives_with_its_bytes() {
        use std::io::Read;
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut near, far) = UnixStream::pair().unwrap();
        send(ours.as_raw_fd(), b"x", Some(far.as_raw_fd())).unwrap();
        drop(far);
        let mut byte = [0];
        let (read, descriptor) = receive(&theirs, &mut byte).unwrap();
        assert_eq!((read, byte), (1, *b"x"));
        send(descriptor.as_ref().unwrap().as_raw_fd(), b"through", None).unwrap();
        drop(descriptor);
        let mut text = String::new();
        near.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
        drop(ours);
        assert_eq!(receive(&theirs, &mut byte).unwrap().0, 0);
    }
}
