//! Shares of a whole, exactly as they are written.

use std::fmt;

/// A share of a whole, 0 … 1, in parts of a billion: a decimal with nine digits after its point at most, exactly. What is
/// compared with it is compared in whole numbers, since 0.55 of 100 is more than 55 in floating point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share(u32);

impl Share {
    /// The parts of a whole.
    pub const WHOLE: u32 = 1_000_000_000;
    /// Nothing.
    pub const ZERO: Share = Share(0);
    /// One half.
    pub const HALF: Share = Share(Share::WHOLE / 2);
    /// All.
    pub const ONE: Share = Share(Share::WHOLE);

    /// A number of parts; `None` above [`Share::WHOLE`].
    pub const fn of_parts(parts: u32) -> Option<Share> {
        if parts > Share::WHOLE {
            None
        } else {
            Some(Share(parts))
        }
    }

    /// The number of parts, 0 … [`Share::WHOLE`].
    pub const fn parts(self) -> u32 {
        self.0
    }

    /// Reads an unsigned decimal, such as `0.55`, `1`, `5.5e-1`.
    pub fn from_decimal(text: &str) -> Result<Share, ShareError> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (
                mantissa,
                exponent.parse::<i64>().map_err(|_| ShareError::NoShare)?,
            ),
            None => (text, 0),
        };
        let mantissa = mantissa.strip_prefix('+').unwrap_or(mantissa);
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = [whole, fraction].concat();
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(ShareError::NoShare);
        }
        // No text is so long that its length does not fit 63 bits.
        let length = |text: &str| text.len() as i64;
        let significant = digits.trim_start_matches('0').trim_end_matches('0');
        if significant.is_empty() {
            return Ok(Share::ZERO);
        }
        let dropped = length(&digits) - length(digits.trim_end_matches('0'));
        // The value is `significant` × 10^`power`; in parts, nine more.
        let power = exponent
            .saturating_sub(length(fraction))
            .saturating_add(dropped);
        if length(significant).saturating_add(power) > 1 {
            return Err(ShareError::NoShare);
        }
        let zeros = power
            .checked_add(9)
            .and_then(|zeros| u32::try_from(zeros).ok())
            .ok_or(ShareError::TooFine)?;
        let parts = significant
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(10u64.checked_pow(zeros)?));
        let parts = parts.and_then(|parts| u32::try_from(parts).ok());
        parts.and_then(Share::of_parts).ok_or(ShareError::NoShare)
    }

    /// True when `part` is at least this share of `total`.
    pub fn is_reached(self, part: u64, total: u64) -> bool {
        u128::from(part) * u128::from(Share::WHOLE) >= u128::from(self.0) * u128::from(total)
    }

    /// 0.0 … 1.0, for what is printed.
    pub fn as_f64(self) -> f64 {
        f64::from(self.0) / f64::from(Share::WHOLE)
    }
}

/// Reason why a decimal is no [`Share`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShareError {
    /// It is no number from 0 to 1.
    NoShare,
    /// It has more than nine digits after its point.
    TooFine,
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:09}", self.0 / Share::WHOLE, self.0 % Share::WHOLE);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimals_are_read_exactly() {
        for (text, parts) in [
            ("0", 0),
            ("0.0", 0),
            ("1", 1_000_000_000),
            ("1.000", 1_000_000_000),
            ("0.55", 550_000_000),
            ("0.07", 70_000_000),
            ("5.5e-1", 550_000_000),
            ("100E-2", 1_000_000_000),
            ("0.0000001e7", 1_000_000_000),
            ("0.000000001", 1),
            ("1e-9", 1),
            ("0e99999999999", 0),
            ("+0.5", 500_000_000),
        ] {
            assert_eq!(Share::from_decimal(text), Ok(Share(parts)), "{text}");
        }
        for text in [
            "",
            ".",
            "1.1",
            "1.000000001",
            "10",
            "1e1",
            "-0.5",
            "nan",
            "inf",
            "1e99999999999",
            "0.5x",
        ] {
            assert_eq!(
                Share::from_decimal(text),
                Err(ShareError::NoShare),
                "{text}"
            );
        }
        for text in ["0.0000000001", "1e-10", "0.1234567891", "1e-99999999999"] {
            assert_eq!(
                Share::from_decimal(text),
                Err(ShareError::TooFine),
                "{text}"
            );
        }
        for text in ["0", "1", "0.55", "0.000000001", "0.123456789"] {
            assert_eq!(Share::from_decimal(text).unwrap().to_string(), text);
        }
    }

    proptest! {
        /// Against fractions of whole numbers, worked out digit by digit.
        #[test]
        fn a_share_is_compared_as_the_decimal_that_is_written(
            digits in 0u32..=1_000_000_000, places in 0u32..=9, weights in prop::collection::vec(0u64..=1_000_000, 1..9), up in any::<u8>(),
        ) {
            let scale = 10u32.pow(places);
            let digits = digits % (scale + 1);
            let text = format!("{}.{:0places$}", digits / scale, digits % scale, places = places as usize);
            let share = Share::from_decimal(text.trim_end_matches('.')).unwrap();
            let total: u64 = weights.iter().sum();
            let part: u64 = weights.iter().enumerate().filter(|(i, _)| up >> (i % 8) & 1 == 1).map(|(_, weight)| weight).sum();
            // part / total ≥ digits / scale, without a division.
            let expected = u128::from(part) * u128::from(scale) >= u128::from(digits) * u128::from(total);
            prop_assert_eq!(share.is_reached(part, total), expected, "{} of {}/{}", share, part, total);
        }

        /// A weight that is exactly the share reaches it, and one less does not: floating point said otherwise at 0.07, 0.14, 0.28, 0.55, 0.56.
        #[test]
        fn an_exact_share_is_reached(percent in 1u32..=100) {
            let share = Share::from_decimal(&format!("{}.{:02}", percent / 100, percent % 100)).unwrap();
            prop_assert!(share.is_reached(percent.into(), 100) && !share.is_reached(u64::from(percent) - 1, 100));
        }
    }
}
