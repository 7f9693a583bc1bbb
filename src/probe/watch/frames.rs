//! The least of HTTP/2 that a connection without requests needs (RFC 9113).
//!
//! Settings and pings of the server are acknowledged and its GOAWAY is noticed; every other frame is
//! skipped. Nothing is kept of a frame but its header and the octets of a ping.

/// The connection preface and empty settings: everything is as RFC 9113 has it by default.
pub(super) const OPENING: &[u8] =
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";

/// The octets of a frame's header (§4.1).
const HEADER: usize = 9;
/// The octets of a ping (§6.7).
const PING: usize = 8;
/// The longest payload, which nobody has asked the server to exceed (§4.2).
const MOST: u32 = 16_384;
const TYPE_SETTINGS: u8 = 4;
const TYPE_PING: u8 = 6;
const TYPE_GOAWAY: u8 = 7;
const FLAG_ACK: u8 = 1;

/// A reader of the frames of one connection, whatever pieces they come in.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// The header of the frame, and the payload of a ping behind it.
    buffer: [u8; HEADER + PING],
    filled: u8,
    /// Octets of the frame that are still to be skipped.
    skip: u32,
    /// The settings of the server have come.
    pub(super) is_settled: bool,
}

/// A reason to end the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// The server sent GOAWAY.
    GoAway,
    /// Something came that is no HTTP/2.
    NotHttp2,
}

impl Frames {
    /// Reads `octets`; what is to be sent in return goes to the end of `replies`.
    pub(super) fn read(&mut self, mut octets: &[u8], replies: &mut Vec<u8>) -> Result<(), Stop> {
        while !octets.is_empty() {
            let skipped = octets.len().min(self.skip as usize);
            // At most `skip`, which is a u32.
            self.skip -= skipped as u32;
            octets = &octets[skipped..];
            let filled = usize::from(self.filled);
            let taken = octets.len().min(self.wanted() - filled);
            self.buffer[filled..filled + taken].copy_from_slice(&octets[..taken]);
            // At most HEADER + PING.
            self.filled += taken as u8;
            octets = &octets[taken..];
            if usize::from(self.filled) == HEADER {
                self.check_header()?;
            }
            if taken > 0 && usize::from(self.filled) == self.wanted() {
                self.finish(replies)?;
            }
        }
        Ok(())
    }

    /// The octets of the frame that are kept.
    fn wanted(&self) -> usize {
        if usize::from(self.filled) >= HEADER && self.is(TYPE_PING) {
            HEADER + PING
        } else {
            HEADER
        }
    }

    fn is(&self, kind: u8) -> bool {
        self.buffer[3] == kind
    }

    fn is_acknowledgement(&self) -> bool {
        self.buffer[4] & FLAG_ACK != 0
    }

    fn length(&self) -> u32 {
        u32::from_be_bytes([0, self.buffer[0], self.buffer[1], self.buffer[2]])
    }

    fn check_header(&self) -> Result<(), Stop> {
        let fits = match self.buffer[3] {
            TYPE_PING => self.length() == PING as u32,
            _ => self.length() <= MOST,
        };
        if fits { Ok(()) } else { Err(Stop::NotHttp2) }
    }

    /// Everything that is wanted of the frame is there.
    fn finish(&mut self, replies: &mut Vec<u8>) -> Result<(), Stop> {
        let asks = !self.is_acknowledgement();
        match self.buffer[3] {
            TYPE_GOAWAY => return Err(Stop::GoAway),
            TYPE_SETTINGS if asks => {
                self.is_settled = true;
                replies.extend([0, 0, 0, TYPE_SETTINGS, FLAG_ACK, 0, 0, 0, 0]);
            }
            TYPE_PING if asks => {
                self.buffer[4] = FLAG_ACK;
                replies.extend(self.buffer);
            }
            _ => {}
        }
        self.skip = if self.is(TYPE_PING) { 0 } else { self.length() };
        self.filled = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: &[u8] = &[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100];
    const SETTINGS_ACK: &[u8] = &[0, 0, 0, 4, 1, 0, 0, 0, 0];
    const PING_OF_THE_SERVER: &[u8] = &[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    const PING_ACK: &[u8] = &[0, 0, 8, 6, 1, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    const WINDOW_UPDATE: &[u8] = &[0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 1, 0, 0];
    const GOAWAY: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    /// Reads `octets` in pieces of so many; the replies, and the reason to end.
    fn read(octets: &[u8], piece: usize) -> (Vec<u8>, Option<Stop>) {
        let (mut frames, mut replies) = (Frames::default(), Vec::new());
        for piece in octets.chunks(piece) {
            if let Err(stop) = frames.read(piece, &mut replies) {
                return (replies, Some(stop));
            }
        }
        (replies, None)
    }

    #[test]
    fn settings_and_pings_are_answered_and_goaway_ends() {
        let skipped = [&[0, 0x30, 0, 0, 0, 0, 0, 0, 1][..], &[6; 0x3000]].concat();
        let octets = [
            SETTINGS,
            SETTINGS_ACK,
            WINDOW_UPDATE,
            &skipped,
            PING_OF_THE_SERVER,
            PING_ACK,
            PING_OF_THE_SERVER,
        ]
        .concat();
        let replies = [SETTINGS_ACK, PING_ACK, PING_ACK].concat();
        for piece in (1..40).chain([4096, 100_000]) {
            assert_eq!(read(&octets, piece), (replies.clone(), None), "{piece}");
            let ended = [&octets[..], GOAWAY].concat();
            assert_eq!(read(&ended, piece), (replies.clone(), Some(Stop::GoAway)));
        }
    }

    #[test]
    fn other_protocols_and_frames_that_nobody_allowed_end_it() {
        for octets in [
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            b"SSH-2.0-OpenSSH_9.2",
            &[0, 0, 9, 6, 0, 0, 0, 0, 0],
            &[0, 0x40, 1, 0, 0, 0, 0, 0, 1],
        ] {
            assert_eq!(read(octets, 3), (Vec::new(), Some(Stop::NotHttp2)));
        }
    }

    #[test]
    fn the_opening_is_a_preface_and_empty_settings() {
        let settings = OPENING
            .strip_prefix(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .unwrap();
        assert_eq!(read(settings, 1), (SETTINGS_ACK.to_vec(), None));
    }
}
