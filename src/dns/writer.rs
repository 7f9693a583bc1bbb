//! Writes a response: the echoed header and question, RRsets copied from their blocks, and the OPT record.

use super::message::HEADER;
use super::query::{Edns, OPTION_ECS, OPTION_EXTENDED_ERROR, OPTION_NSID, Request};
use super::{ExtendedError, Rcode};

/// A response being written. RRsets go in whole or not at all; room for the OPT record is set aside
/// from the start.
pub struct Writer<'o> {
    out: &'o mut [u8],
    at: usize,
    /// End of the sections: the limit less the OPT record.
    end: usize,
    /// The octets of the OPT record; 0 where there is none.
    opt_len: usize,
    counts: [u16; 3],
    /// Authoritative answer.
    pub aa: bool,
    /// Truncated.
    pub tc: bool,
    /// Response code.
    pub rcode: Rcode,
    /// Extended error, for a client that sent an OPT record; left out where there is no room for
    /// it.
    pub extended_error: Option<ExtendedError>,
    /// ECS scope prefix length.
    pub scope: u8,
}

/// A section of a response.
#[derive(Debug, Clone, Copy)]
pub enum Section {
    /// Records that answer the question.
    Answer = 0,
    /// NS of a referral, SOA of a negative answer.
    Authority = 1,
    /// Addresses of names in the others.
    Additional = 2,
}

/// The question's name, where an answer's owner points.
pub const QNAME: u16 = 12;
const _: () = assert!(QNAME as usize == HEADER);

impl<'o> Writer<'o> {
    /// Starts the response to `request` in `out`, at most `limit` octets. `nsid` is answered where it was asked for.
    pub fn new(
        request: &Request<'_>,
        nsid: Option<&[u8]>,
        limit: usize,
        out: &'o mut [u8],
    ) -> Writer<'o> {
        let limit = limit.min(out.len());
        // Reserved before anything is written, since a truncated answer keeps its OPT record (RFC
        // 6891 §7).
        let opt_len = opt_len(request, nsid);
        let mut writer = Writer {
            out,
            at: HEADER,
            end: limit - opt_len,
            opt_len,
            counts: [0; 3],
            aa: false,
            tc: false,
            rcode: Rcode::NOERROR,
            extended_error: None,
            scope: 0,
        };
        writer.put(request.question);
        writer
    }

    /// The length of the response so far, in octets.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Copies the RRs of `block`, patching owners to `owner` (an offset in the message), TTLs to `ttl`
    /// where it is given, and the octets at `pointers` (offsets in the block, machine's byte order) to `origin`. False, and nothing written, where
    /// they do not fit.
    pub fn rrset(
        &mut self,
        section: Section,
        count: u16,
        block: &[u8],
        owner: u16,
        ttl: Option<u32>,
        pointers: (&[[u8; 2]], u16),
    ) -> bool {
        // Whole or not at all: a resolver could take a part of an RRset for all of it.
        if self.end - self.at < block.len() {
            return false;
        }
        let start = self.at;
        self.put(block);
        let (pointers, origin) = pointers;
        for pointer in pointers {
            self.patch(
                start + usize::from(u16::from_ne_bytes(*pointer)),
                0xc000 | origin,
            );
        }
        // Blocks are built with the question's name as their owner and with their TTL, so that the
        // common record is one copy.
        if owner != QNAME || ttl.is_some() {
            let mut rr = start;
            while rr < self.at {
                self.patch(rr, 0xc000 | owner);
                if let Some(ttl) = ttl {
                    self.out[rr + 6..rr + 10].copy_from_slice(&ttl.to_be_bytes());
                }
                rr += 12 + usize::from(u16::from_be_bytes([self.out[rr + 10], self.out[rr + 11]]));
            }
        }
        self.counts[section as usize] += count;
        true
    }

    /// Writes the OPT record and the header; returns the response's length.
    pub fn finish(mut self, request: &Request<'_>, nsid: Option<&[u8]>) -> usize {
        if let Some(edns) = &request.edns {
            // No room was reserved for it: records come first, and the explanation takes what they
            // leave.
            let extended_error = self
                .extended_error
                .filter(|_| self.end - self.at >= EXTENDED_ERROR);
            let options = self.opt_len - OPT_FIXED + extended_error.map_or(0, |_| EXTENDED_ERROR);
            self.put(&opt_fixed(edns, self.rcode, options));
            if let Some(error) = extended_error {
                self.put(&extended_error_option(error));
            }
            if let (true, Some(nsid)) = (edns.nsid, nsid) {
                self.put(&OPTION_NSID.to_be_bytes());
                // `opt_len` has reserved room for it, which no message has for more than 65535.
                self.put(&(nsid.len() as u16).to_be_bytes());
                self.put(nsid);
            }
            if let Some(ecs) = &edns.ecs {
                // `Ecs::parse` takes no more than four octets and an IPv6 address.
                let [high, low] = OPTION_ECS.to_be_bytes();
                self.put(&[high, low, 0, ecs.data.len() as u8]);
                let scope_at = self.at + 3;
                self.put(ecs.data);
                self.out[scope_at] = self.scope;
            }
        }
        let bit = |set: bool, value: u8| if set { value } else { 0 };
        // "A security-aware name server SHOULD clear the CD bit" (RFC 4035 §3.1.6).
        let flags = [
            0x80 | bit(self.aa, 4) | bit(self.tc, 2) | bit(request.rd, 1),
            // Four bits; the others are in the OPT record.
            (self.rcode.0 & 0xf) as u8,
        ];
        let [answer, authority, additional] = self.counts;
        let counts = [
            1,
            answer,
            authority,
            additional + u16::from(request.edns.is_some()),
        ];
        let header = [
            request.id,
            u16::from_be_bytes(flags),
            counts[0],
            counts[1],
            counts[2],
            counts[3],
        ];
        let header = header.map(u16::to_be_bytes);
        self.out[..HEADER].copy_from_slice(header.as_flattened());
        self.at
    }

    fn put(&mut self, bytes: &[u8]) {
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    fn patch(&mut self, at: usize, value: u16) {
        self.out[at..at + 2].copy_from_slice(&value.to_be_bytes());
    }
}

/// The response to a message of another opcode, or without a readable question: a header, and an OPT record where the message
/// has one that can be read.
pub fn header_only(message: &[u8], rcode: Rcode, out: &mut [u8]) -> usize {
    out[..HEADER].fill(0);
    out[..2].copy_from_slice(&message[..2]);
    // QR is set, opcode and RD are the query's, AA and TC are clear.
    out[2] = 0x80 | (message[2] & 0x79);
    // Four bits; the others are in the OPT record.
    out[3] = (rcode.0 & 0xf) as u8;
    let Some(edns) = Edns::find(message) else {
        return HEADER;
    };
    out[HEADER - 1] = 1;
    let error =
        (rcode == Rcode::NOTIMP).then(|| extended_error_option(ExtendedError::NOT_SUPPORTED));
    let options = error.as_ref().map_or(&[][..], |option| option);
    let fixed_end = HEADER + OPT_FIXED;
    out[HEADER..fixed_end].copy_from_slice(&opt_fixed(&edns, rcode, options.len()));
    out[fixed_end..fixed_end + options.len()].copy_from_slice(options);
    fixed_end + options.len()
}

/// An OPT record up to its options, which have that many octets (RFC 6891 §6.1.2).
fn opt_fixed(edns: &Edns<'_>, rcode: Rcode, options: usize) -> [u8; OPT_FIXED] {
    let dnssec_ok = if edns.dnssec_ok { 0x80 } else { 0 };
    let [size_high, size_low] = UDP_SIZE.to_be_bytes();
    // Options that there is room for in a message have 65535 octets at most, and extended response
    // codes have twelve bits.
    let [high, low] = (options as u16).to_be_bytes();
    [
        0,
        0,
        41,
        size_high,
        size_low,
        (rcode.0 >> 4) as u8,
        0,
        dnssec_ok,
        0,
        high,
        low,
    ]
}

fn extended_error_option(error: ExtendedError) -> [u8; EXTENDED_ERROR] {
    let [high, low] = error.0.to_be_bytes();
    let [code_high, code_low] = OPTION_EXTENDED_ERROR.to_be_bytes();
    [code_high, code_low, 0, 2, high, low]
}

/// The UDP payload size we announce and the most we send: it passes any path without fragments (RFC 9715).
pub const UDP_SIZE: u16 = 1232;

const OPT_FIXED: usize = 11;
/// Octets of an Extended DNS Error without text.
const EXTENDED_ERROR: usize = 6;

fn opt_len(request: &Request<'_>, nsid: Option<&[u8]>) -> usize {
    let Some(edns) = &request.edns else { return 0 };
    let nsid = if edns.nsid {
        nsid.map_or(0, |id| 4 + id.len())
    } else {
        0
    };
    OPT_FIXED + nsid + edns.ecs.map_or(0, |ecs| 4 + ecs.data.len())
}
