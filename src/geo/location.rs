//! Places: the codes and coordinates that an MMDB has of a client.

use std::fmt;

use crate::model::Coordinates;

/// A place, as far as the MMDB says.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Location {
    /// AF AN AS EU NA OC SA.
    pub continent: Option<Code>,
    /// ISO 3166-1 alpha-2, upper case.
    pub country: Option<Code>,
    /// ISO 3166-2, the smallest subdivision there is (`FR-75`).
    pub subdivision: Option<Subdivision>,
    /// The largest subdivision, where there is more than one (`FR-IDF`).
    pub wider_subdivision: Option<Subdivision>,
    /// Degrees.
    pub coordinates: Option<Coordinates>,
}

/// A code of two upper-case letters or digits: a country or a continent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code([u8; 2]);

impl Code {
    /// `None` when `text` is not of that form.
    pub fn new(text: &str) -> Option<Code> {
        let bytes: [u8; 2] = text.as_bytes().try_into().ok()?;
        bytes
            .iter()
            .all(|b| is_code_byte(*b))
            .then_some(Code(bytes))
    }

    /// The code.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("codes are ASCII")
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An ISO 3166-2 code: a country, a hyphen, and one to three upper-case letters or digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Subdivision {
    bytes: [u8; 6],
    length: u8,
}

impl Subdivision {
    /// Of `country`, the part after the hyphen; `None` when that is not of its form.
    pub fn new(country: Code, part: &str) -> Option<Subdivision> {
        if part.is_empty() || part.len() > 3 || !part.bytes().all(is_code_byte) {
            return None;
        }
        let mut bytes = [country.0[0], country.0[1], b'-', 0, 0, 0];
        bytes[3..3 + part.len()].copy_from_slice(part.as_bytes());
        Some(Subdivision {
            bytes,
            // Three octets at most, see above.
            length: 3 + part.len() as u8,
        })
    }

    /// The code, country included.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.length as usize]).expect("codes are ASCII")
    }
}

impl fmt::Display for Subdivision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn is_code_byte(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_checked() {
        assert_eq!(Code::new("US").unwrap().as_str(), "US");
        assert_eq!(Code::new("us"), None);
        assert_eq!(Code::new("USA"), None);
        let us = Code::new("US").unwrap();
        assert_eq!(Subdivision::new(us, "CA").unwrap().as_str(), "US-CA");
        assert_eq!(
            Subdivision::new(Code::new("GB").unwrap(), "ENG")
                .unwrap()
                .as_str(),
            "GB-ENG"
        );
        assert_eq!(Subdivision::new(us, ""), None);
        assert_eq!(Subdivision::new(us, "LONG"), None);
        assert_eq!(Subdivision::new(us, "c"), None);
    }
}
