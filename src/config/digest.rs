//! Digests of texts: two nodes with the same digest serve the same files.

use std::fmt;

use ring::digest::{Context, SHA256};

/// The SHA-256 of some texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl fmt::Display for Digest {
    /// Hexadecimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

/// A digest in the making.
#[derive(Clone)]
pub(super) struct Sha256(Context);

impl Sha256 {
    pub(super) fn new() -> Sha256 {
        Sha256(Context::new(&SHA256))
    }

    /// Adds a text.
    pub(super) fn add(&mut self, text: &str) {
        // With its length, so that no other division of the same octets has the same digest.
        self.0.update(&(text.len() as u64).to_be_bytes());
        self.0.update(text.as_bytes());
    }

    /// The digest of the texts so far.
    pub(super) fn finish(&self) -> Digest {
        let mut octets = [0; 32];
        octets.copy_from_slice(self.0.clone().finish().as_ref());
        Digest(octets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_texts_have_the_same_digest_and_no_others_do() {
        let of = |texts: &[&str]| {
            let mut digest = Sha256::new();
            texts.iter().for_each(|text| digest.add(text));
            digest.finish().to_string()
        };
        assert_eq!(of(&["ab", "c"]), of(&["ab", "c"]));
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_eq!(of(&[]).len(), 64);
    }
}
