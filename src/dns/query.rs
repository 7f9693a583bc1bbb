//! Reads a query in place: header, question, and the OPT record with its options.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::message::{HEADER, Record, skip_name};
use super::tsig::Tsig;
use super::{Class, MAX_LABEL, MAX_NAME, Prefix, Rcode, RrType};

/// A query that can be answered, if only with an error.
#[derive(Debug, Clone, Copy)]
pub struct Request<'q> {
    /// Its id.
    pub id: u16,
    /// Recursion desired; copied into the answer.
    pub rd: bool,
    /// The question as sent: name, type, class.
    pub question: &'q [u8],
    /// The type asked.
    pub qtype: RrType,
    /// The class asked.
    pub qclass: Class,
    /// The OPT record, where there is one.
    pub edns: Option<Edns<'q>>,
    /// The error in the rest of the message: FORMERR, BADVERS, or NOTAUTH where it is signed.
    pub error: Option<Rcode>,
    /// Offset of its TSIG record, the last of the message; 0 without one.
    pub tsig_at: u16,
}

impl<'q> Request<'q> {
    /// The name asked, in the case it came in.
    pub fn qname(&self) -> &'q [u8] {
        &self.question[..self.question.len() - 4]
    }

    /// The client's prefix, where a Client Subnet option has one.
    #[inline]
    pub fn client_subnet(&self) -> Option<Prefix> {
        match &self.edns {
            Some(Edns { ecs: Some(ecs), .. }) => ecs.prefix,
            _ => None,
        }
    }
}

/// The OPT record of a query (RFC 6891).
#[derive(Debug, Clone, Copy, Default)]
pub struct Edns<'q> {
    /// The UDP payload size the sender takes.
    pub udp_size: u16,
    /// DNSSEC OK; copied into the answer.
    pub dnssec_ok: bool,
    /// NSID is asked for (RFC 5001).
    pub nsid: bool,
    /// A valid Client Subnet option.
    pub ecs: Option<Ecs<'q>>,
}

/// A valid Client Subnet option of a query (RFC 7871 §6).
#[derive(Debug, Clone, Copy)]
pub struct Ecs<'q> {
    /// The option's data: family, source, scope 0, address octets.
    pub data: &'q [u8],
    /// The client's prefix; `None` at source length 0, where the client asks not to be located.
    pub prefix: Option<Prefix>,
}

/// Reason why a message gets no full answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unanswerable {
    /// Fewer than 12 octets: nothing to answer to.
    Short,
    /// QR = 1: a response is never answered, or two servers could talk for ever.
    NotAQuery,
    /// Answered with the header, and an OPT record where the message has one: the opcode (NOTIMP), or no readable question
    /// (FORMERR).
    HeaderOnly(Rcode),
}

impl<'q> Request<'q> {
    /// A request for nothing, to be read into.
    pub const EMPTY: Request<'static> = Request {
        id: 0,
        rd: false,
        question: &[0, 0, 0, 0, 0],
        qtype: RrType(0),
        qclass: Class(0),
        edns: None,
        error: None,
        tsig_at: 0,
    };

    /// Reads `message`. Of a message whose question can be read, what is wrong further on is in
    /// [`Request::error`], so that the answer can echo the question.
    pub fn parse(message: &'q [u8]) -> Result<Request<'q>, Unanswerable> {
        let mut request = Request::EMPTY;
        request.read(message)?;
        Ok(request)
    }

    /// Parses like [`Request::parse`] into `self`, which is [`Request::EMPTY`]: a request is large enough
    /// for its copying to show.
    #[inline]
    pub fn read(&mut self, message: &'q [u8]) -> Result<(), Unanswerable> {
        let Some(header) = message.first_chunk::<HEADER>() else {
            return Err(Unanswerable::Short);
        };
        let count = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        if header[2] & 0x80 != 0 {
            return Err(Unanswerable::NotAQuery);
        }
        // The opcode before the counts: another one gives them, and the sections, another meaning
        // (RFC 2136 §2).
        if header[2] & 0x78 != 0 {
            return Err(Unanswerable::HeaderOnly(Rcode::NOTIMP));
        }
        let format_error = Unanswerable::HeaderOnly(Rcode::FORMERR);
        if count(4) != 1 {
            return Err(format_error);
        }
        let name_end = HEADER + question_name_len(&message[HEADER..]).ok_or(format_error)?;
        let end = name_end + 4;
        let question = message.get(HEADER..end).ok_or(format_error)?;
        let fixed: [u8; 4] = *question.last_chunk().ok_or(format_error)?;
        self.id = count(0);
        self.rd = header[2] & 1 != 0;
        self.question = question;
        self.qtype = RrType(u16::from_be_bytes([fixed[0], fixed[1]]));
        self.qclass = Class(u16::from_be_bytes([fixed[2], fixed[3]]));
        // In 32 bits, since the sum of two counts may not fit into 16.
        let other = u32::from(count(6)) + u32::from(count(8));
        let records = Rest {
            message,
            at: end,
            other,
            additional: u32::from(count(10)),
        };
        self.error = records.read(&mut self.edns, &mut self.tsig_at).err();
        Ok(())
    }
}

impl<'q> Edns<'q> {
    /// The OPT record of a message of any opcode, with any number of questions. `None` also where something before it cannot be
    /// read.
    pub(super) fn find(message: &'q [u8]) -> Option<Edns<'q>> {
        let header = message.first_chunk::<HEADER>()?;
        let count = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let mut at = HEADER;
        for _ in 0..count(4) {
            at += skip_name(message.get(at..)?)? + 4;
        }
        let other = u32::from(count(6)) + u32::from(count(8));
        let mut edns = None;
        // What is wrong behind it does not matter to who sent it.
        let _ = Rest {
            message,
            at,
            other,
            additional: u32::from(count(10)),
        }
        .read(&mut edns, &mut 0);
        edns
    }
}

/// The length of an uncompressed name. Nothing comes before a question but the header, so a pointer
/// in its name has nothing to point at.
fn question_name_len(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let length = usize::from(*bytes.get(at)?);
        at += 1 + length;
        if length > MAX_LABEL || at > MAX_NAME {
            return None;
        }
        if length == 0 {
            return Some(at);
        }
    }
}

/// The records behind the question.
struct Rest<'q> {
    message: &'q [u8],
    at: usize,
    /// Records in the answer and authority sections (IXFR has one, RFC 1995 §3).
    other: u32,
    additional: u32,
}

impl<'q> Rest<'q> {
    /// Reads the OPT record. "If a query message with more than one OPT RR is received, a FORMERR
    /// MUST be returned" (RFC 6891 §6.1.1).
    ///
    /// "If multiple TSIG records are detected or a TSIG record is present in any other position, the DNS message is dropped
    /// and a response with RCODE 1 (FORMERR) MUST be returned" (RFC 8945 §5.1).
    fn read(mut self, edns: &mut Option<Edns<'q>>, tsig_at: &mut u16) -> Result<(), Rcode> {
        for _ in 0..self.other {
            if matches!(self.record()?.rtype, RrType::OPT | RrType::TSIG) {
                return Err(Rcode::FORMERR);
            }
        }
        let mut options = None;
        for left in (0..self.additional).rev() {
            let start = self.at;
            let record = self.record()?;
            if record.rtype == RrType::TSIG {
                if left > 0 || Tsig::read(self.message, start).is_none() {
                    return Err(Rcode::FORMERR);
                }
                // Transports hand on at most 65535 octets; a record further back is none of theirs.
                *tsig_at = u16::try_from(start).map_err(|_| Rcode::FORMERR)?;
            }
            if record.rtype != RrType::OPT {
                continue;
            }
            if edns.is_some() || !record.at_root {
                return Err(Rcode::FORMERR);
            }
            *edns = Some(Edns {
                udp_size: record.class,
                dnssec_ok: record.ttl & 0x8000 != 0,
                ..Edns::default()
            });
            options = Some((record.ttl >> 16 & 0xff, record.rdata));
        }
        // A message has no place for octets behind its last record.
        if self.at != self.message.len() {
            return Err(Rcode::FORMERR);
        }
        if let (Some(edns), Some((version, options))) = (edns, options) {
            // "If the VERSION is not supported ... BADVERS" comes before any option is understood (RFC 6891 §6.1.3).
            if version != 0 {
                return Err(Rcode::BADVERS);
            }
            edns.read_options(options)?;
        }
        // There are no keys here, so none is known (RFC 8945 §5.2.1).
        if *tsig_at == 0 {
            Ok(())
        } else {
            Err(Rcode::NOTAUTH)
        }
    }

    #[inline]
    fn record(&mut self) -> Result<Record<'q>, Rcode> {
        let record = Record::read(self.message, self.at).ok_or(Rcode::FORMERR)?;
        self.at = record.end;
        Ok(record)
    }
}

/// Option codes (IANA "DNS EDNS0 Option Codes").
pub(super) const OPTION_NSID: u16 = 3;
pub(super) const OPTION_ECS: u16 = 8;
pub(super) const OPTION_EXTENDED_ERROR: u16 = 15;

impl<'q> Edns<'q> {
    #[inline]
    fn read_options(&mut self, mut options: &'q [u8]) -> Result<(), Rcode> {
        while !options.is_empty() {
            let [c0, c1, l0, l1, rest @ ..] = options else {
                return Err(Rcode::FORMERR);
            };
            let length = usize::from(u16::from_be_bytes([*l0, *l1]));
            if rest.len() < length {
                return Err(Rcode::FORMERR);
            }
            let (data, rest) = rest.split_at(length);
            match u16::from_be_bytes([*c0, *c1]) {
                OPTION_NSID => self.nsid = true,
                OPTION_ECS => self.ecs = Some(Ecs::parse(data).ok_or(Rcode::FORMERR)?),
                // "Any OPTION-CODE values not understood by a responder or requestor MUST be
                // ignored" (RFC 6891 §6.1.2).
                _ => {}
            }
            options = rest;
        }
        Ok(())
    }
}

impl<'q> Ecs<'q> {
    /// `None` for what RFC 7871 §7.1.2 has answered with FORMERR: a wrong length or family, a scope
    /// in a query, bits set past the source length.
    #[inline]
    pub fn parse(data: &'q [u8]) -> Option<Ecs<'q>> {
        let [f0, f1, source, scope, address @ ..] = data else {
            return None;
        };
        if *scope != 0 || address.len() != usize::from(source.div_ceil(8)) {
            return None;
        }
        // The octets sent, then zeros. They are not copied: a load that is wider than the stores
        // before it has to wait for them to leave the store buffer.
        let sent = 8 * u32::from(source.div_ceil(8));
        let missing = |bits: u32| bits.checked_sub(sent);
        let prefix = match u16::from_be_bytes([*f0, *f1]) {
            0 if *source == 0 => return Some(Ecs { data, prefix: None }),
            1 => {
                let bits = address
                    .iter()
                    .fold(0, |bits, octet| bits << 8 | u32::from(*octet));
                Prefix::new(
                    Ipv4Addr::from_bits(bits.unbounded_shl(missing(32)?)).into(),
                    *source,
                )
            }
            2 => {
                let bits = address
                    .iter()
                    .fold(0, |bits, octet| bits << 8 | u128::from(*octet));
                Prefix::new(
                    Ipv6Addr::from_bits(bits.unbounded_shl(missing(128)?)).into(),
                    *source,
                )
            }
            _ => return None,
        };
        let prefix = prefix.ok()?;
        Some(Ecs {
            data,
            prefix: (*source > 0).then_some(prefix),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(tail: &[u8], counts: [u8; 4]) -> Vec<u8> {
        let mut message = vec![
            0, 1, 1, 0, 0, counts[0], 0, counts[1], 0, counts[2], 0, counts[3],
        ];
        message.extend_from_slice(b"\x03www\x01e\0\0\x01\0\x01");
        message.extend_from_slice(tail);
        message
    }

    fn opt(options: &[u8]) -> Vec<u8> {
        let mut record = vec![0, 0, 41, 4, 0xd0, 0, 0, 0x80, 0, 0, options.len() as u8];
        record.extend_from_slice(options);
        record
    }

    fn ecs(data: &[u8]) -> Vec<u8> {
        let mut option = vec![0, 8, 0, data.len() as u8];
        option.extend_from_slice(data);
        opt(&option)
    }

    #[test]
    fn reads_question_and_edns() {
        let message = query(&ecs(&[0, 1, 24, 0, 203, 0, 113]), [1, 0, 0, 1]);
        let request = Request::parse(&message).unwrap();
        assert_eq!(
            (
                request.qname(),
                request.qtype,
                request.qclass,
                request.error
            ),
            (&b"\x03www\x01e\0"[..], RrType::A, Class::IN, None)
        );
        let edns = request.edns.unwrap();
        assert!(edns.dnssec_ok && edns.udp_size == 1232);
        assert_eq!(
            edns.ecs.unwrap().prefix.unwrap().to_string(),
            "203.0.113.0/24"
        );
    }

    #[test]
    fn what_has_no_question_to_echo() {
        let head = |tail: &[u8]| [&[0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0], tail].concat();
        let formerr = Err(Unanswerable::HeaderOnly(Rcode::FORMERR));
        let long = [b"\x3f".to_vec(), vec![b'a'; 63]].concat().repeat(4);
        for (what, message, expected) in [
            ("truncated header", vec![0; 11], Err(Unanswerable::Short)),
            (
                "a response",
                vec![0, 1, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0],
                Err(Unanswerable::NotAQuery),
            ),
            (
                "another opcode",
                vec![0, 1, 0x28, 0, 0, 1, 0, 0, 0, 0, 0, 0],
                Err(Unanswerable::HeaderOnly(Rcode::NOTIMP)),
            ),
            (
                "no question",
                vec![0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                formerr,
            ),
            ("two questions", query(b"", [2, 0, 0, 0]), formerr),
            ("a label cut off", head(b"\x03ww"), formerr),
            (
                "a pointer to itself",
                head(b"\xc0\x0c\0\x01\0\x01"),
                formerr,
            ),
            ("a forward pointer", head(b"\xc0\x20\0\x01\0\x01"), formerr),
            (
                "a label of 64 octets",
                head(&[&[64][..], &[b'a'; 64], b"\0\0\x01\0\x01"].concat()),
                formerr,
            ),
            (
                "a name over 255 octets",
                head(&[&long[..], b"\0\0\x01\0\x01"].concat()),
                formerr,
            ),
            ("no type", head(b"\x01a\0\0"), formerr),
        ] {
            assert_eq!(Request::parse(&message).map(|_| ()), expected, "{what}");
        }
    }

    #[test]
    fn what_is_wrong_behind_the_question() {
        let plain = opt(&[]);
        let version_1 = [0, 0, 41, 4, 0xd0, 0, 1, 0, 0, 0, 2, 0xff, 0xff];
        let not_at_root = [&[1, b'a'][..], &plain].concat();
        for (what, tail, counts, expected) in [
            (
                "two OPTs",
                [plain.clone(), plain.clone()].concat(),
                [1, 0, 0, 2],
                Some(Rcode::FORMERR),
            ),
            (
                "OPT in the answer section",
                plain.clone(),
                [1, 1, 0, 0],
                Some(Rcode::FORMERR),
            ),
            (
                "OPT not at the root",
                not_at_root,
                [1, 0, 0, 1],
                Some(Rcode::FORMERR),
            ),
            (
                "octets behind the last record",
                [plain.clone(), vec![0]].concat(),
                [1, 0, 0, 1],
                Some(Rcode::FORMERR),
            ),
            (
                "a record that is not there",
                vec![],
                [1, 0, 0, 1],
                Some(Rcode::FORMERR),
            ),
            (
                "an option cut off",
                opt(&[0, 8, 0, 9, 1]),
                [1, 0, 0, 1],
                Some(Rcode::FORMERR),
            ),
            (
                "version 1, before its options",
                version_1.to_vec(),
                [1, 0, 0, 1],
                Some(Rcode::BADVERS),
            ),
            (
                "an unknown option",
                opt(&[0xff, 0, 0, 1, 9]),
                [1, 0, 0, 1],
                None,
            ),
        ] {
            assert_eq!(
                Request::parse(&query(&tail, counts)).unwrap().error,
                expected,
                "{what}"
            );
        }
    }

    #[test]
    fn every_kind_of_bad_client_subnet() {
        for (what, data) in [
            ("shorter than 4 octets", &[0, 1, 0][..]),
            ("a scope in a query", &[0, 1, 24, 24, 203, 0, 113]),
            ("family 0 with a source", &[0, 0, 8, 0, 10]),
            ("family 3", &[0, 3, 0, 0]),
            ("source 33 of IPv4", &[0, 1, 33, 0, 1, 2, 3, 4, 5]),
            (
                "source 129 of IPv6",
                &[
                    0, 2, 129, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                ],
            ),
            ("an octet too few", &[0, 1, 24, 0, 203, 0]),
            ("an octet too many", &[0, 1, 24, 0, 203, 0, 113, 0]),
            ("bits past the source", &[0, 1, 23, 0, 203, 0, 113]),
        ] {
            assert!(Ecs::parse(data).is_none(), "{what}");
            let message = query(&ecs(data), [1, 0, 0, 1]);
            let request = Request::parse(&message).unwrap();
            assert_eq!(request.error, Some(Rcode::FORMERR), "{what}");
            assert!(request.edns.unwrap().ecs.is_none(), "{what}");
        }
        for data in [&[0, 0, 0, 0][..], &[0, 1, 0, 0], &[0, 2, 0, 0]] {
            assert!(Ecs::parse(data).unwrap().prefix.is_none());
        }
    }
}
