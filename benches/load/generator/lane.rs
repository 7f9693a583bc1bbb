//! One socket and the questions that are outstanding on it.

use std::io;
use std::net::{SocketAddr, UdpSocket};

/// A question that is outstanding.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
    /// Time at which it was due or sent, in nanoseconds of the run.
    pub(crate) at: u64,
    /// Its index in the pool.
    pub(crate) question: u32,
    /// The upper bits of its id: an answer that comes after the slot was given up is not taken for
    /// the next one's.
    round: u8,
    outstanding: bool,
}

/// A connected socket with its slots. An id is a slot's number and, above it, its round.
pub(crate) struct Lane {
    pub(crate) socket: UdpSocket,
    pub(crate) slots: Vec<Slot>,
    free: Vec<u16>,
}

/// Bits of an id that number the slot.
const SLOT_BITS: u32 = 12;
/// The most slots a lane has.
pub(crate) const MOST_SLOTS: usize = 1 << SLOT_BITS;

impl Lane {
    /// A socket of its own to `target`, with `slots` slots.
    pub(crate) fn new(target: SocketAddr, slots: usize) -> io::Result<Lane> {
        let any: SocketAddr = if target.is_ipv4() {
            ([0, 0, 0, 0], 0).into()
        } else {
            ([0u16; 8], 0).into()
        };
        let socket = socket2::Socket::from(UdpSocket::bind(any)?);
        // As much as the system allows: answers shall not be lost on our side.
        socket.set_recv_buffer_size(4 << 20)?;
        socket.set_send_buffer_size(4 << 20)?;
        let socket = UdpSocket::from(socket);
        socket.connect(target)?;
        socket.set_nonblocking(true)?;
        let empty = Slot {
            at: 0,
            question: 0,
            round: 0,
            outstanding: false,
        };
        Ok(Lane {
            socket,
            slots: vec![empty; slots],
            free: (0..slots as u16).rev().collect(),
        })
    }

    /// Number of questions that it still takes.
    pub(crate) fn free(&self) -> usize {
        self.free.len()
    }

    /// Takes a slot for `question`; the id to send.
    ///
    /// # Panics
    /// When none is free.
    pub(crate) fn take(&mut self, question: u32, at: u64) -> u16 {
        let number = self
            .free
            .pop()
            .expect("the caller asked whether one is free");
        let slot = &mut self.slots[usize::from(number)];
        *slot = Slot {
            at,
            question,
            round: slot.round.wrapping_add(1),
            outstanding: true,
        };
        id(number, slot.round)
    }

    /// The slot that `id` answers, free from now on; `None` when nothing of that id is outstanding.
    pub(crate) fn answered(&mut self, answer: u16) -> Option<Slot> {
        let number = answer & (MOST_SLOTS as u16 - 1);
        let slot = self
            .slots
            .get_mut(usize::from(number))
            .filter(|slot| slot.outstanding && id(number, slot.round) == answer)?;
        slot.outstanding = false;
        self.free.push(number);
        Some(*slot)
    }

    /// Gives up what was due before `then`; how many those are.
    pub(crate) fn give_up(&mut self, then: u64) -> u64 {
        let mut count = 0;
        for (slot, number) in self.slots.iter_mut().zip(0..) {
            if slot.outstanding && slot.at < then {
                slot.outstanding = false;
                self.free.push(number);
                count += 1;
            }
        }
        count
    }
}

fn id(number: u16, round: u8) -> u16 {
    number | u16::from(round) << SLOT_BITS
}
