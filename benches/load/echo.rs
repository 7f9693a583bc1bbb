//! The ceiling: a UDP server that answers everything with the question and one fixed record, 64
//! datagrams per system call. What it costs is the kernel's share of any server's answer.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg};

use super::generator::batch::SIZE as BATCH;
use super::generator::check::name_end;

/// Longest query, and longest answer with the record behind it.
const BUFFER: usize = 21 * 64;

/// A of the question's name, TTL 60: 192.0.2.1.
const RECORD: [u8; 16] = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1];

/// Answers on `address` until the process is ended.
pub(crate) fn serve(address: SocketAddrV4) -> io::Result<()> {
    let socket = UdpSocket::bind(address)?;
    let mut incoming = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    let mut outgoing = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    let mut buffers = Box::new([[0u8; BUFFER]; BATCH]);
    let mut clients = [None; BATCH];
    let mut lengths = [0; BATCH];
    loop {
        let mut slices = buffers
            .each_mut()
            .map(|buffer| [IoSliceMut::new(&mut buffer[..BUFFER - RECORD.len()])]);
        let messages = match recvmmsg(
            socket.as_raw_fd(),
            &mut incoming,
            slices.iter_mut(),
            MsgFlags::MSG_WAITFORONE,
            None,
        ) {
            Ok(messages) => messages,
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        };
        let mut count = 0;
        for message in messages {
            (lengths[count], clients[count]) = (message.bytes, message.address);
            count += 1;
        }
        for (buffer, length) in buffers.iter_mut().zip(&mut lengths).take(count) {
            *length = answer(buffer, *length);
        }
        let mut at = 0;
        let slices = buffers.each_ref().map(|buffer| {
            at += 1;
            [IoSlice::new(&buffer[..lengths[at - 1]])]
        });
        // What the kernel refuses, the generator counts as lost.
        let _ = sendmmsg(
            socket.as_raw_fd(),
            &mut outgoing,
            slices.iter().take(count),
            clients,
            [],
            MsgFlags::empty(),
        );
    }
}

/// Turns the query of `length` octets into its answer; the answer's length.
fn answer(buffer: &mut [u8; BUFFER], length: usize) -> usize {
    let end = name_end(&buffer[..length], 12)
        .map(|end| end + 4)
        .filter(|end| *end <= length);
    let Some(end) = end else { return length };
    buffer[2] |= 0x84;
    buffer[6..12].copy_from_slice(&[0, 1, 0, 0, 0, 0]);
    buffer[end..end + RECORD.len()].copy_from_slice(&RECORD);
    end + RECORD.len()
}
