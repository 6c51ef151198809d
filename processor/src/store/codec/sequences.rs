//! Which sequences? Ranges in ascending order, as many as there are gaps.
//!
//! Row: version 1, then first and last of each range, both `u64` little-endian.

use super::Codec;
use super::bytes::{Damaged, Reader, Writer};

/// A set of sequences.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sequences {
    /// First and last; ascending, with at least one sequence missing between two ranges.
    ranges: Vec<(u64, u64)>,
}

impl Sequences {
    /// Every sequence from `first` to `last`.
    #[must_use]
    pub fn range(first: u64, last: u64) -> Self {
        Self { ranges: if first <= last { vec![(first, last)] } else { Vec::new() } }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    #[must_use]
    pub fn first(&self) -> Option<u64> {
        self.ranges.first().map(|(first, _)| *first)
    }

    #[must_use]
    pub fn last(&self) -> Option<u64> {
        self.ranges.last().map(|(_, last)| *last)
    }

    /// Ascending, from `from` on.
    pub fn from(&self, from: u64) -> impl Iterator<Item = u64> {
        self.ranges.iter().flat_map(move |(first, last)| (*first).max(from)..=*last)
    }

    /// Adds one; it may be there already.
    pub fn insert(&mut self, sequence: u64) {
        let at = self.ranges.partition_point(|(first, _)| *first <= sequence);
        if at > 0 && sequence <= self.ranges[at - 1].1 {
            return;
        }
        let joins_before = at > 0 && self.ranges[at - 1].1.checked_add(1) == Some(sequence);
        let joins_after =
            self.ranges.get(at).is_some_and(|(first, _)| sequence.checked_add(1) == Some(*first));
        match (joins_before, joins_after) {
            (true, true) => self.ranges[at - 1].1 = self.ranges.remove(at).1,
            (true, false) => self.ranges[at - 1].1 = sequence,
            (false, true) => self.ranges[at].0 = sequence,
            (false, false) => self.ranges.insert(at, (sequence, sequence)),
        }
    }

    /// Takes one out. Answers whether it was there.
    pub fn remove(&mut self, sequence: u64) -> bool {
        let at = self.ranges.partition_point(|(_, last)| *last < sequence);
        let Some((first, last)) = self.ranges.get(at).copied().filter(|(first, _)| *first <= sequence) else {
            return false;
        };
        match (first == sequence, last == sequence) {
            (true, true) => drop(self.ranges.remove(at)),
            (true, false) => self.ranges[at].0 += 1,
            (false, true) => self.ranges[at].1 -= 1,
            (false, false) => {
                self.ranges[at].1 = sequence - 1;
                self.ranges.insert(at + 1, (sequence + 1, last));
            }
        }
        true
    }
}

impl FromIterator<u64> for Sequences {
    fn from_iter<I: IntoIterator<Item = u64>>(sequences: I) -> Self {
        let mut all = Self::default();
        sequences.into_iter().for_each(|sequence| all.insert(sequence));
        all
    }
}

impl Codec for Sequences {
    const VERSION: u8 = 1;

    fn encode(&self, writer: &mut Writer) {
        writer.u32(u32::try_from(self.ranges.len()).expect("a row has far fewer sequences"));
        for (first, last) in &self.ranges {
            writer.u64(*first);
            writer.u64(*last);
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for _ in 0..reader.count()? {
            let (first, last) = (reader.u64()?, reader.u64()?);
            let follows = ranges
                .last()
                .is_none_or(|(_, before)| before.checked_add(1).is_some_and(|next| next < first));
            if !follows || first > last {
                return Err(Damaged("its sequences are not in order"));
            }
            ranges.push((first, last));
        }
        Ok(Self { ranges })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// It is a set, whatever is put in and taken out, and its row says the same.
        #[test]
        fn it_is_a_set(changes in proptest::collection::vec((any::<bool>(), 0_u64..24), 0..80)) {
            let (mut sequences, mut set) = (Sequences::default(), BTreeSet::new());
            for (puts, sequence) in changes {
                if puts {
                    sequences.insert(sequence);
                    set.insert(sequence);
                } else {
                    prop_assert_eq!(sequences.remove(sequence), set.remove(&sequence));
                }
                prop_assert_eq!(sequences.from(0).collect::<Vec<_>>(), set.iter().copied().collect::<Vec<_>>());
                prop_assert_eq!((sequences.first(), sequences.last()), (set.first().copied(), set.last().copied()));
                prop_assert_eq!(sequences.is_empty(), set.is_empty());
                let same = set.iter().copied().collect::<Sequences>();
                prop_assert_eq!(&same, &sequences);
                prop_assert_eq!(Sequences::from_bytes(&sequences.to_bytes()), Ok(same));
            }
            prop_assert_eq!(sequences.from(7).collect::<Vec<_>>(), set.range(7..).copied().collect::<Vec<_>>());
        }
    }

    #[test]
    fn ranges_out_of_order_are_damage() {
        let row = |ranges: &[(u64, u64)]| {
            let mut writer = Writer::default();
            writer.u8(Sequences::VERSION);
            writer.u32(ranges.len() as u32);
            ranges.iter().flat_map(|(first, last)| [*first, *last]).for_each(|number| writer.u64(number));
            writer.into_bytes()
        };
        assert_eq!(Sequences::from_bytes(&row(&[(1, 2), (4, 4)])), Ok([1, 2, 4].into_iter().collect()));
        for wrong in [&[(2, 1)][..], &[(1, 2), (3, 4)], &[(5, 6), (1, 2)], &[(1, u64::MAX), (0, 0)]] {
            assert!(Sequences::from_bytes(&row(wrong)).is_err(), "{wrong:?}");
        }
    }
}
