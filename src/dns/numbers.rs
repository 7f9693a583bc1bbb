//! The protocol's numbers, each a type of its own.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A resource record type (RFC 1035 §3.2.2 and the IANA registry).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RrType(pub u16);

macro_rules! rr_types {
    ($($name:ident = $value:expr),+ $(,)?) => {
        #[allow(missing_docs, reason = "each constant is the type of its name")]
        impl RrType {
            $(pub const $name: RrType = RrType($value);)+
        }
        const RR_TYPES: &[(&str, u16)] = &[$((stringify!($name), $value)),+];
    };
}

rr_types! {
    A = 1, NS = 2, MD = 3, MF = 4, CNAME = 5, SOA = 6, MB = 7, MG = 8, MR = 9, NULL = 10, WKS = 11, PTR = 12, HINFO = 13,
    MINFO = 14, MX = 15, TXT = 16, RP = 17, AFSDB = 18, X25 = 19, ISDN = 20, RT = 21, SIG = 24, KEY = 25, PX = 26, GPOS = 27,
    AAAA = 28, LOC = 29, EID = 31, NIMLOC = 32, SRV = 33, ATMA = 34, A6 = 38, SINK = 40, NAPTR = 35, KX = 36, CERT = 37, DNAME = 39, OPT = 41, APL = 42, DS = 43, SSHFP = 44,
    IPSECKEY = 45, RRSIG = 46, NSEC = 47, DNSKEY = 48, DHCID = 49, NSEC3 = 50, NSEC3PARAM = 51, TLSA = 52, SMIMEA = 53,
    HIP = 55, NINFO = 56, RKEY = 57, TALINK = 58, CDS = 59, CDNSKEY = 60, OPENPGPKEY = 61, CSYNC = 62, ZONEMD = 63, SVCB = 64, HTTPS = 65, DSYNC = 66, HHIT = 67, BRID = 68, SPF = 99,
    NID = 104, L32 = 105, L64 = 106, LP = 107, EUI48 = 108, EUI64 = 109, NXNAME = 128, TSIG = 250, IXFR = 251, AXFR = 252, ANY = 255, URI = 256, CAA = 257, AVC = 258, DOA = 259, AMTRELAY = 260,
    RESINFO = 261, WALLET = 262, CLA = 263, IPN = 264, TA = 32768, DLV = 32769, ANAME = 65305,
}

impl fmt::Display for RrType {
    /// The mnemonic, or `TYPEnnn` (RFC 3597 §5).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match RR_TYPES.iter().find(|(_, value)| *value == self.0) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "TYPE{}", self.0),
        }
    }
}

impl FromStr for RrType {
    type Err = ();

    /// Reads a mnemonic or `TYPEnnn`, in any case.
    fn from_str(text: &str) -> Result<RrType, ()> {
        if let Some((_, value)) = RR_TYPES
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(text))
        {
            return Ok(RrType(*value));
        }
        match text.get(..4) {
            Some(prefix) if prefix.eq_ignore_ascii_case("TYPE") => {
                digits(&text[4..]).map(RrType).ok_or(())
            }
            _ => Err(()),
        }
    }
}

/// A class (RFC 1035 §3.2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Class(pub u16);

#[allow(missing_docs, reason = "each constant is the class of its name")]
impl Class {
    pub const IN: Class = Class(1);
    pub const CH: Class = Class(3);
    pub const HS: Class = Class(4);
    pub const NONE: Class = Class(254);
    pub const ANY: Class = Class(255);
}

impl FromStr for Class {
    type Err = ();

    /// Reads `IN`, `CH`, `HS` or `CLASSnnn`, in any case.
    fn from_str(text: &str) -> Result<Class, ()> {
        match text.to_ascii_uppercase().as_str() {
            "IN" => Ok(Class::IN),
            "CH" => Ok(Class::CH),
            "HS" => Ok(Class::HS),
            other => other
                .strip_prefix("CLASS")
                .and_then(digits)
                .map(Class)
                .ok_or(()),
        }
    }
}

fn digits(text: &str) -> Option<u16> {
    // The standard library's reader takes a sign too.
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// A response code (RFC 1035 §4.1.1, RFC 6891 §9); values above 15 need an OPT record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rcode(pub u16);

#[allow(missing_docs, reason = "each constant is the code of its name")]
impl Rcode {
    pub const NOERROR: Rcode = Rcode(0);
    pub const FORMERR: Rcode = Rcode(1);
    pub const SERVFAIL: Rcode = Rcode(2);
    pub const NXDOMAIN: Rcode = Rcode(3);
    pub const NOTIMP: Rcode = Rcode(4);
    pub const REFUSED: Rcode = Rcode(5);
    pub const YXDOMAIN: Rcode = Rcode(6);
    pub const NOTAUTH: Rcode = Rcode(9);
    pub const BADVERS: Rcode = Rcode(16);
}

impl fmt::Display for Rcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Rcode::NOERROR => "NOERROR",
            Rcode::FORMERR => "FORMERR",
            Rcode::SERVFAIL => "SERVFAIL",
            Rcode::NXDOMAIN => "NXDOMAIN",
            Rcode::NOTIMP => "NOTIMP",
            Rcode::REFUSED => "REFUSED",
            Rcode::YXDOMAIN => "YXDOMAIN",
            Rcode::NOTAUTH => "NOTAUTH",
            Rcode::BADVERS => "BADVERS",
            Rcode(other) => return write!(f, "RCODE{other}"),
        })
    }
}

/// An Extended DNS Error: why an answer is what it is, for whoever sent an OPT record (RFC 8914 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtendedError(pub u16);

#[allow(missing_docs, reason = "each constant is the code of its name")]
impl ExtendedError {
    pub const STALE_ANSWER: ExtendedError = ExtendedError(3);
    pub const NOT_READY: ExtendedError = ExtendedError(14);
    pub const PROHIBITED: ExtendedError = ExtendedError(18);
    pub const STALE_NXDOMAIN_ANSWER: ExtendedError = ExtendedError(19);
    pub const NOT_AUTHORITATIVE: ExtendedError = ExtendedError(20);
    pub const NOT_SUPPORTED: ExtendedError = ExtendedError(21);
}

/// A time to live in seconds, 0 … 2³¹−1 (RFC 2181 §8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ttl(u32);

impl Ttl {
    /// The largest TTL.
    pub const MAX: Ttl = Ttl(i32::MAX as u32);

    /// `None` above 2³¹−1 seconds.
    pub const fn from_secs(seconds: u32) -> Option<Ttl> {
        if seconds > Ttl::MAX.0 {
            None
        } else {
            Some(Ttl(seconds))
        }
    }

    /// Seconds.
    pub const fn secs(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Ttl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_read_and_write_their_names() {
        for (text, value) in [("A", 1), ("https", 65), ("TYPE65400", 65400), ("type1", 1)] {
            assert_eq!(text.parse(), Ok(RrType(value)));
        }
        for text in ["", "TYPE", "TYPE70000", "TYPE+1", "FOO"] {
            assert_eq!(text.parse::<RrType>(), Err(()), "{text}");
        }
        assert_eq!(RrType(65400).to_string(), "TYPE65400");
        assert_eq!(RrType::CAA.to_string(), "CAA");
    }
}
