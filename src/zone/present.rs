//! Rdata as text, from the same table of types that reads it: what this writes,
//! [`super::rdata::read`] reads back to the same octets.

use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::{RData, RecordType};
use hickory_proto::serialize::binary::{BinDecoder, Restrict};

use super::rdata::{Field, Shape, shape};
use super::words::{hickory_rdata, present_base64, quoted};
use super::{loc, svcb};
use crate::dns::{MAX_NAME, Name, RrType};

/// The rdata of `length` octets that begin at `start` of `message`, in presentation format; its
/// names may be compressed. In the form of RFC 3597 §5 where the type is not known here, or the
/// octets are none of it.
pub fn present(rtype: RrType, message: &[u8], start: usize, length: usize) -> String {
    let rdata = message.get(start..start + length).unwrap_or_default();
    let known = match shape(rtype) {
        Some(Shape::Fields(fields)) => present_fields(fields, message, start, start + rdata.len()),
        Some(Shape::Svcb) => svcb::present(rdata),
        Some(Shape::Loc) => loc::present(rdata),
        Some(Shape::Hickory(_)) => present_by_hickory(rtype, rdata),
        None => None,
    };
    known.unwrap_or_else(|| generic(rdata))
}

fn generic(rdata: &[u8]) -> String {
    if rdata.is_empty() {
        r"\# 0".to_owned()
    } else {
        format!(r"\# {} {}", rdata.len(), hex(rdata))
    }
}

fn present_fields(fields: &[Field], message: &[u8], start: usize, end: usize) -> Option<String> {
    let mut reader = Reader {
        message,
        at: start,
        end,
    };
    let words: Option<Vec<String>> = fields.iter().map(|field| reader.field(*field)).collect();
    (reader.at == end).then_some(words?.join(" "))
}

struct Reader<'m> {
    message: &'m [u8],
    at: usize,
    /// The octet after the rdata.
    end: usize,
}

impl Reader<'_> {
    fn field(&mut self, field: Field) -> Option<String> {
        Some(match field {
            Field::V4 => Ipv4Addr::from(self.octets::<4>()?).to_string(),
            Field::V6 => Ipv6Addr::from(self.octets::<16>()?).to_string(),
            Field::U8(_) | Field::Algorithm => self.octets::<1>()?[0].to_string(),
            Field::U16(_) => u16::from_be_bytes(self.octets()?).to_string(),
            Field::U32(_) | Field::Time(_) => u32::from_be_bytes(self.octets()?).to_string(),
            Field::Name(_) => self.name()?.to_string(),
            Field::String(_) => quoted(self.string()?),
            Field::Tag => self
                .string()?
                .iter()
                .map(|octet| char::from(*octet))
                .collect(),
            Field::Strings => {
                let mut strings = vec![quoted(self.string()?)];
                while self.at < self.end {
                    strings.push(quoted(self.string()?));
                }
                strings.join(" ")
            }
            Field::Rest(_) => quoted(self.take(self.end - self.at)?),
            Field::Hex(_) => hex(self.take(self.end - self.at)?),
        })
    }

    fn take(&mut self, count: usize) -> Option<&[u8]> {
        let octets = self
            .message
            .get(self.at..self.at + count)
            .filter(|_| self.at + count <= self.end)?;
        self.at += count;
        Some(octets)
    }

    fn octets<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    /// One character string.
    fn string(&mut self) -> Option<&[u8]> {
        let [length] = self.octets()?;
        self.take(length.into())
    }

    fn name(&mut self) -> Option<Name> {
        let (name, after) = read_name(self.message, self.at)?;
        self.at = after;
        Some(name)
    }
}

/// The name at `start` of `message`, which may be compressed, and where it ends there.
pub fn read_name(message: &[u8], start: usize) -> Option<(Name, usize)> {
    let mut wire = Vec::new();
    let (mut at, mut after) = (start, None);
    loop {
        let length = *message.get(at)?;
        match length {
            0xc0.. => {
                after = after.or(Some(at + 2));
                let next = usize::from(length & 0x3f) << 8 | usize::from(*message.get(at + 1)?);
                // To what stands before only (RFC 1035 §4.1.4): so this ends.
                at = Some(next).filter(|next| *next < at)?;
            }
            64.. => return None,
            0 => {
                wire.push(0);
                return Some((Name::from_wire(&wire)?, after.unwrap_or(at + 1)));
            }
            _ => {
                wire.extend_from_slice(message.get(at..=at + usize::from(length))?);
                at += 1 + usize::from(length);
            }
        }
        if wire.len() > MAX_NAME {
            return None;
        }
    }
}

fn present_by_hickory(rtype: RrType, rdata: &[u8]) -> Option<String> {
    let text = match rdata {
        // Its mnemonics are not read back.
        [t0, t1, k0, k1, algorithm, certificate @ ..] if rtype == RrType::CERT => {
            let (kind, key_tag) = (
                u16::from_be_bytes([*t0, *t1]),
                u16::from_be_bytes([*k0, *k1]),
            );
            format!(
                "{kind} {key_tag} {algorithm} {}",
                present_base64(certificate)?
            )
        }
        _ => {
            let length = u16::try_from(rdata.len()).ok()?;
            RData::read(
                &mut BinDecoder::new(rdata),
                RecordType::from(rtype.0),
                Restrict::new(length),
            )
            .ok()?
            .to_string()
        }
    };
    (hickory_rdata(RecordType::from(rtype.0), &text).ok()? == rdata && text.is_ascii())
        .then_some(text)
}

fn hex(octets: &[u8]) -> String {
    octets
        .iter()
        .fold(String::new(), |text, octet| text + &format!("{octet:02X}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::diag::Diagnostics;
    use crate::zone::rdata::check_wire;
    use crate::zone::{Include, IncludeError, Input, parse};

    struct NoFiles;

    impl Include for NoFiles {
        fn read(&mut self, _: &str, _: &str, _: u64) -> Result<Input, IncludeError> {
            Err(IncludeError {
                rule: "include-failed",
                message: "there are no files".to_owned(),
                hint: None,
            })
        }
    }

    /// Records of every type that is read from text.
    const TEXTS: &[&str] = &[
        "A 192.0.2.1",
        "AAAA 2001:db8::1",
        "NS a\\.b.z.example.",
        "MX 10 mail",
        "TXT \"a \\\"b\\\" \\007;\" c",
        "SRV 1 2 3 host",
        "SOA ns h 1 2 3 4 5",
        "HINFO \"a\" \"\"",
        "CAA 0 issue \"ca.example; x=\\200\"",
        "NAPTR 1 1 \"!\" \"x\" \"\" .",
        "URI 1 2 \"https://z.example/\"",
        "DS 1 13 2 0A0b",
        "SSHFP 1 1 0102",
        "TLSA 3 1 1 0102",
        "RP a b",
        "MINFO a b",
        "SVCB 0 other.example.",
        "HTTPS 1 . alpn=h2,h3 port=8443 ipv4hint=192.0.2.1,192.0.2.2 ipv6hint=::1 ech=AAEC dohpath=/q{?dns} key777=x",
        "HTTPS 1 . mandatory=alpn,no-default-alpn alpn=\"a\\\\,b,\\255\\\\\\\\\" no-default-alpn ohttp key778",
        "CERT 1 2 3 AAEC",
        "LOC 52 14 5.25 N 0 8 50 W -24.05m 1m 10000m 0m",
        "OPENPGPKEY AAEC",
        "CSYNC 1 3 A NS",
        "TYPE10 \\# 0",
        "TYPE65400 \\# 3 010203",
    ];

    fn read(text: &str) -> Option<(RrType, Vec<u8>)> {
        let mut diagnostics = Diagnostics::default();
        let origin = Name::from_text("z.example.", None).unwrap();
        let input = Input::whole("z", Arc::<str>::from(format!("x 60 {text}\n")).into());
        let records = parse(&input, &origin, &mut NoFiles, &mut diagnostics);
        (!diagnostics.has_errors()).then(|| (records.get(0).rtype, records.get(0).rdata.to_vec()))
    }

    #[track_caller]
    fn assert_read_back(rtype: RrType, rdata: &[u8]) {
        let text = present(rtype, rdata, 0, rdata.len());
        assert!(
            text.bytes().all(|octet| matches!(octet, b' '..=b'~')),
            "{text:?}"
        );
        assert_eq!(
            read(&format!("{rtype} {text}")),
            Some((rtype, rdata.to_vec())),
            "{rtype} {text}"
        );
    }

    #[test]
    fn every_type_is_read_back_from_its_text() {
        for text in TEXTS {
            let (rtype, rdata) = read(text).unwrap_or_else(|| panic!("{text}"));
            assert_read_back(rtype, &rdata);
        }
        assert_eq!(present(RrType::A, &[1, 2, 3], 0, 3), r"\# 3 010203");
        assert_eq!(present(RrType::A, &[1, 2, 3], 2, 9), r"\# 0");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        /// Whatever rdata the checks of zones accept.
        #[test]
        fn accepted_rdata_is_read_back_from_its_text(
            which in 0..TEXTS.len(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            tail in prop::collection::vec(any::<u8>(), 0..4),
            other in prop::option::weighted(0.1, 1u16..=40),
        ) {
            let (rtype, mut rdata) = read(TEXTS[which]).unwrap();
            for (at, octet) in changes {
                if !rdata.is_empty() {
                    let at = at.index(rdata.len());
                    rdata[at] = octet;
                }
            }
            rdata.extend(tail);
            let rtype = other.map_or(rtype, RrType);
            if check_wire(rtype, &rdata).is_ok() {
                assert_read_back(rtype, &rdata);
            }
        }

        #[test]
        fn any_octets_are_text(rtype in any::<u16>(), message in prop::collection::vec(any::<u8>(), 0..64), start in 0usize..70, length in 0usize..70) {
            let text = present(RrType(rtype), &message, start, length);
            prop_assert!(text.bytes().all(|octet| matches!(octet, b' '..=b'~')));
        }
    }
}
