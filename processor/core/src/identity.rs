//! Have we seen this event before? Identity and content of an event as keyed hashes.
//!
//! Keeps I-2: same identity with other content is a conflict, never dropped and never counted.
//! The key belongs to the deployment, so nobody outside can craft two events that collide.
//! Source of the hash: Aumasson and Bernstein, "SipHash: a fast short-input PRF" (128-bit output).
//!
//! Deliberately absent: remembering. The store keeps identities; this file says what they are.

use tidemark_schemas::time::EventTime;

use crate::siphash::SipHash13;

/// 128 secret bits, made once per deployment and kept with its state.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DeploymentKey(pub [u8; 16]);

impl std::fmt::Debug for DeploymentKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DeploymentKey(secret)")
    }
}

/// `(tenant, source, id)`, hashed. At 300 million events the chance of any accidental collision is below 10^-21.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity(pub u128);

/// The event's content, white space and member order aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ContentDigest(pub u64);

/// What is remembered of an event that was seen first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remembered {
    pub digest: ContentDigest,
    /// Day since 1970 (UTC) on whose end the identity may be forgotten: no correction is possible any more.
    pub forget_day: u16,
}

/// Every outcome of looking an identity up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    First,
    /// Same content: dropped, counted.
    Again,
    /// Dropping it loses revenue, counting it may charge twice: someone must look.
    Conflict,
}

impl Seen {
    #[must_use]
    pub fn of(remembered: Option<Remembered>, digest: ContentDigest, watermark: EventTime) -> Self {
        match remembered {
            Some(before) if before.is_forgotten(watermark) => Self::First,
            Some(before) if before.digest == digest => Self::Again,
            Some(_) => Self::Conflict,
            None => Self::First,
        }
    }
}

impl Remembered {
    /// Forgotten by rule, whether or not the store has dropped it yet: replay sees the same (I-10).
    #[must_use]
    pub fn is_forgotten(self, watermark: EventTime) -> bool {
        self.forget_day < remembered_from(watermark)
    }
}

/// The first forget day whose identities are still remembered at this watermark.
#[must_use]
pub fn remembered_from(watermark: EventTime) -> u16 {
    let day = watermark.micros().div_euclid(tidemark_schemas::time::MICROS_PER_DAY);
    u16::try_from(day.max(0)).unwrap_or(u16::MAX)
}

impl DeploymentKey {
    #[must_use]
    #[inline]
    pub fn hasher(&self) -> KeyedHasher {
        KeyedHasher(SipHash13::new(&self.0))
    }

    /// Injective: each part is preceded by its length, so `("a", "bc")` and `("ab", "c")` differ.
    #[must_use]
    #[inline]
    pub fn identity(&self, tenant: &str, source: &str, id: &str) -> Identity {
        Identity(self.hash_parts(1, [tenant, source, id]))
    }

    /// A keyed hash of texts, injective like [`Self::identity`]; `purpose` keeps different uses apart.
    #[must_use]
    #[inline]
    pub fn hash_parts<'p>(&self, purpose: u8, parts: impl IntoIterator<Item = &'p str>) -> u128 {
        let mut hasher = self.hasher();
        hasher.0.number(u64::from(purpose), 1);
        for part in parts {
            hasher.text(part);
        }
        hasher.finish128()
    }
}

/// Keyed SipHash-1-3 with 128 bits of output. A clone goes on from where it was made, so what many texts begin with is
/// hashed once.
#[derive(Clone)]
pub struct KeyedHasher(SipHash13);

impl KeyedHasher {
    #[inline(always)]
    pub fn text(&mut self, text: &str) {
        let length = u32::try_from(text.len()).expect("texts are bounded far below 4 GiB");
        self.0.number(u64::from(length), 4);
        self.0.bytes(text.as_bytes());
    }

    #[inline(always)]
    pub fn number(&mut self, number: u64) {
        self.0.number(number, 8);
    }

    #[inline(always)]
    pub fn number128(&mut self, number: u128) {
        self.number(number as u64);
        self.number((number >> 64) as u64);
    }

    #[must_use]
    #[inline(always)]
    pub fn finish128(&self) -> u128 {
        let (low, high) = self.0.finish();
        u128::from(low) | u128::from(high) << 64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use siphasher::sip128::SipHasher13;

    const KEY: DeploymentKey = DeploymentKey([7; 16]);

    #[test]
    fn identity_is_injective() {
        let all = [
            KEY.identity("a", "bc", "d"),
            KEY.identity("ab", "c", "d"),
            KEY.identity("a", "b", "cd"),
            KEY.identity("a", "bc\0", "d"),
            KEY.identity("a", "bc", "\0d"),
        ];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn parts_are_hashed_as_their_bytes() {
        let long = "x".repeat(40);
        for cut in 0..=long.len() {
            let mut hasher = KEY.hasher();
            hasher.number(cut as u64);
            hasher.text(&long[..cut]);
            hasher.number128(7 << 70);
            let mut bytes = (cut as u64).to_le_bytes().to_vec();
            bytes.extend((cut as u32).to_le_bytes());
            bytes.extend(&long.as_bytes()[..cut]);
            bytes.extend((7_u128 << 70).to_le_bytes());
            assert_eq!(hasher.finish128(), SipHasher13::new_with_key(&KEY.0).hash(&bytes).as_u128(), "{cut}");
        }
    }

    #[test]
    fn another_key_gives_another_identity() {
        assert_ne!(KEY.identity("a", "b", "c"), DeploymentKey([8; 16]).identity("a", "b", "c"));
    }

    #[test]
    fn the_three_outcomes() {
        let now = EventTime::from_micros(0);
        let first = Remembered { digest: ContentDigest(1), forget_day: 10 };
        assert_eq!(Seen::of(None, ContentDigest(1), now), Seen::First);
        assert_eq!(Seen::of(Some(first), ContentDigest(1), now), Seen::Again);
        assert_eq!(Seen::of(Some(first), ContentDigest(2), now), Seen::Conflict);
        let later = EventTime::from_micros(11 * tidemark_schemas::time::MICROS_PER_DAY);
        assert_eq!(Seen::of(Some(first), ContentDigest(2), later), Seen::First);
    }
}
