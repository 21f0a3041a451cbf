//! AWS-shaped identifiers and the deterministic generator that makes them.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// A 12-digit AWS account id, kept in eight bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct AccountId(pub(crate) u64);

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012}", self.0)
    }
}

impl FromStr for AccountId {
    type Err = ();
    fn from_str(s: &str) -> Result<Self, ()> {
        if s.len() == 12 && s.bytes().all(|b| b.is_ascii_digit()) {
            s.parse().map(Self).map_err(|_| ())
        } else {
            Err(())
        }
    }
}

const HEX: &[u8] = b"0123456789abcdef";
const LOWER: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";
const UPPER: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// A SplitMix64 stream. Our own, so that a seed gives the same organization for ever, whatever a
/// random-number crate does between versions.
#[derive(Clone, Debug)]
pub(crate) struct Ids(u64);

impl Ids {
    /// The stream named `purpose` of `seed`; different purposes are independent of each other.
    pub(crate) fn new(seed: u64, purpose: &str) -> Self {
        let mut state = seed ^ 0x9E37_79B9_7F4A_7C15;
        for byte in purpose.bytes() {
            state = (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
        Self(state)
    }

    /// The next 64 bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number in `0..bound` (0 when `bound` is 0).
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.bits() % bound }
    }

    /// True with this probability.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        ((self.bits() >> 11) as f64) < probability * (1u64 << 53) as f64
    }

    fn text(&mut self, alphabet: &[u8], length: usize) -> String {
        (0..length)
            .map(|_| char::from(alphabet[self.below(alphabet.len() as u64) as usize]))
            .collect()
    }

    /// Lower-case hexadecimal digits.
    pub(crate) fn hex(&mut self, length: usize) -> String {
        self.text(HEX, length)
    }

    /// Lower-case letters and digits, as in organization and OU ids.
    pub(crate) fn lower(&mut self, length: usize) -> String {
        self.text(LOWER, length)
    }

    /// Upper-case letters and digits, as in access key and role ids.
    pub(crate) fn upper(&mut self, length: usize) -> String {
        self.text(UPPER, length)
    }

    /// A version 4 UUID.
    pub(crate) fn uuid(&mut self) -> Uuid {
        let high = u128::from(self.bits()) << 64;
        uuid::Builder::from_random_bytes((high | u128::from(self.bits())).to_be_bytes()).into_uuid()
    }

    /// The same as text.
    pub(crate) fn uuid_text(&mut self) -> String {
        self.uuid().to_string()
    }

    /// A 12-digit account id that does not begin with zero.
    pub(crate) fn account(&mut self) -> AccountId {
        AccountId(100_000_000_000 + self.below(900_000_000_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_sequence_and_purposes_differ() {
        let (mut a, mut b, mut c) = (Ids::new(7, "x"), Ids::new(7, "x"), Ids::new(7, "y"));
        assert_eq!(a.uuid(), b.uuid());
        assert_ne!(a.bits(), c.bits());
    }

    #[test]
    fn account_ids_are_twelve_digits_only() {
        assert_eq!("000000000042".parse(), Ok(AccountId(42)));
        assert_eq!(AccountId(42).to_string(), "000000000042");
        assert!("42".parse::<AccountId>().is_err());
        assert!("+00000000042".parse::<AccountId>().is_err());
    }
}
