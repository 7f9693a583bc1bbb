//! The key of health: the pair of a check's definition and a target, whatever ids they have.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use ring::digest;

use crate::model::{CheckSpec, ProbeTarget, Target};

/// The name of a (check, address) pair that outlives a configuration and a process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// The check's name.
    pub check: Arc<str>,
    /// The definition by which the check probes and judges.
    pub definition: Fingerprint,
    /// The probed address or name.
    pub target: Target,
}

/// Stands for a check's definition, its name left out: equal ones have equal fingerprints. The rules that say what is
/// held down as flapping, and when probes come, are no part of it: whoever changes them keeps the
/// health that was judged.
///
/// The first 128 bits of the SHA-256 of the definition as this version of Meridian writes it down.
/// Another version may write the same check differently; it is then taken for a changed one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 16]);

impl Key {
    /// One for each of a configuration's targets, in their order.
    pub fn all(checks: &[CheckSpec], targets: &[ProbeTarget]) -> Arc<[Key]> {
        // Once for each check and not for each target: many targets share one.
        let checks: Vec<_> = checks
            .iter()
            .map(|check| (Arc::from(&*check.name), Fingerprint::of(check)))
            .collect();
        let mut keys = Vec::with_capacity(targets.len());
        for target in targets {
            let (check, definition) = &checks[target.check.index()];
            keys.push(Key {
                check: Arc::clone(check),
                definition: *definition,
                target: target.target.clone(),
            });
        }
        keys.into()
    }
}

impl Fingerprint {
    /// The fingerprint of `check`.
    pub fn of(check: &CheckSpec) -> Fingerprint {
        let nameless = CheckSpec {
            name: String::new(),
            flap: None,
            recheck: Duration::ZERO,
            recheck_up: false,
            watch: false,
            ..check.clone()
        };
        // `Debug` writes every field, so that one added later cannot be forgotten here.
        let hash = digest::digest(&digest::SHA256, format!("{nameless:?}").as_bytes());
        let mut first = [0; 16];
        first.copy_from_slice(&hash.as_ref()[..16]);
        Fingerprint(first)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = ();

    fn from_str(text: &str) -> Result<Fingerprint, ()> {
        let mut octets = [0; 16];
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(());
        }
        for (index, octet) in octets.iter_mut().enumerate() {
            *octet = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).map_err(|_| ())?;
        }
        Ok(Fingerprint(octets))
    }
}
