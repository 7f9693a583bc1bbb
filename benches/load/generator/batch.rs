//! Datagrams of a connected socket, many per system call.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, recvmmsg, sendmmsg};

/// Datagrams per call.
pub(crate) const SIZE: usize = 64;

/// Longest datagram: servers are told to send at most 1232 bytes. An odd number of cache lines
/// spreads the beginnings of the buffers over the sets of the cache.
const BUFFER: usize = 21 * 64;

/// A row of datagrams.
pub(crate) struct Batch {
    buffers: Box<[[u8; BUFFER]; SIZE]>,
    lengths: [usize; SIZE],
    headers: MultiHeaders<()>,
}

impl Batch {
    pub(crate) fn new() -> Batch {
        Batch {
            buffers: Box::new([[0; BUFFER]; SIZE]),
            lengths: [0; SIZE],
            headers: MultiHeaders::preallocate(SIZE, None),
        }
    }

    /// The `i`th datagram.
    pub(crate) fn get(&self, i: usize) -> &[u8] {
        &self.buffers[i][..self.lengths[i]]
    }

    /// Makes the `i`th datagram a copy of `bytes`, and lends it.
    pub(crate) fn put(&mut self, i: usize, bytes: &[u8]) -> &mut [u8] {
        self.lengths[i] = bytes.len();
        let buffer = &mut self.buffers[i][..bytes.len()];
        buffer.copy_from_slice(bytes);
        buffer
    }

    /// Takes the datagrams that are there; 0 when none is.
    pub(crate) fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        let mut slices = self
            .buffers
            .each_mut()
            .map(|buffer| [IoSliceMut::new(buffer)]);
        let result = recvmmsg(
            socket.as_raw_fd(),
            &mut self.headers,
            slices.iter_mut(),
            MsgFlags::MSG_DONTWAIT,
            None,
        );
        let mut count = 0;
        for (length, message) in self
            .lengths
            .iter_mut()
            .zip(none_for_now(result)?.into_iter().flatten())
        {
            *length = message.bytes;
            count += 1;
        }
        Ok(count)
    }

    /// Sends the first `count` datagrams; how many the kernel took.
    pub(crate) fn send(&mut self, socket: &UdpSocket, count: usize) -> io::Result<usize> {
        let lengths = &self.lengths;
        let mut at = 0;
        let slices = self.buffers.each_ref().map(|buffer| {
            at += 1;
            [IoSlice::new(&buffer[..lengths[at - 1]])]
        });
        let addresses = [None::<()>; SIZE];
        let slices = slices.iter().take(count);
        let result = sendmmsg(
            socket.as_raw_fd(),
            &mut self.headers,
            slices,
            addresses,
            [],
            MsgFlags::MSG_DONTWAIT,
        );
        Ok(none_for_now(result)?.into_iter().flatten().count())
    }
}

/// `None` where the socket has nothing, or no room, for now. A refusal is an answer to an earlier
/// datagram, which then counts as lost.
fn none_for_now<T>(result: nix::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(some) => Ok(Some(some)),
        Err(Errno::EAGAIN | Errno::EINTR | Errno::ECONNREFUSED | Errno::ENOBUFS) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
