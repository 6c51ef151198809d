//! Where does chance come from? From a seed and a position, in integers only.
//!
//! Every draw is a function of (seed, position), never of what was drawn elsewhere, so events can be made again
//! in any order and on any thread.
//! Source of the generator: Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (SplitMix64).
//! Source of the table: Vose, "A linear algorithm for generating random numbers with a given distribution".

const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finalizer of SplitMix64: a bijection that spreads every input bit over all output bits.
#[must_use]
pub fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// A seed from a seed and a name, so that two runs of one seed do not repeat each other's events.
#[must_use]
pub fn seed_of(seed: u64, name: &str) -> u64 {
    name.bytes()
        .fold(mix(seed ^ GOLDEN_GAMMA), |state, byte| mix(state ^ u64::from(byte).wrapping_add(GOLDEN_GAMMA)))
}

/// A stream of draws that belongs to one position of one seed.
#[derive(Clone, Debug)]
pub struct Draws(u64);

impl Draws {
    #[must_use]
    pub fn at(seed: u64, position: u64) -> Self {
        Self(mix(seed ^ mix(position.wrapping_add(GOLDEN_GAMMA))))
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN_GAMMA);
        mix(self.0)
    }

    /// `0..bound`, by the high half of a product; its bias is below 2^-32 for every bound used here.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// Exponential-like: halves every `half_life`, linear in between. No logarithm, so no rounding differs by platform.
    pub fn exponential(&mut self, half_life: u64) -> u64 {
        let halvings = u64::from(self.bits().trailing_zeros());
        halvings * half_life + self.below(half_life)
    }
}

/// Zipf with exponent 1 over ranks `0..n`: rank r is drawn in proportion to `1 / (r + 1)`. One table look-up a draw.
#[derive(Clone, Debug)]
pub struct Zipf {
    columns: Vec<Column>,
}

#[derive(Clone, Copy, Debug)]
struct Column {
    /// Of 2^32: below it the column's own rank, else the alias.
    threshold: u64,
    alias: u32,
}

impl Zipf {
    /// Panics on zero ranks, which the command line refuses.
    #[must_use]
    pub fn new(ranks: u32) -> Self {
        assert!(ranks > 0, "a distribution has at least one rank");
        let weights: Vec<u128> = (1..=u128::from(ranks)).map(|rank| (1_u128 << 40) / rank).collect();
        let total: u128 = weights.iter().sum();
        // Scaled so that a full column holds exactly `total`; then everything stays an integer.
        let mut rest: Vec<u128> = weights.iter().map(|weight| weight * u128::from(ranks)).collect();
        let mut columns: Vec<Column> =
            (0..ranks).map(|rank| Column { threshold: 1 << 32, alias: rank }).collect();
        let (mut small, mut large): (Vec<u32>, Vec<u32>) =
            (0..ranks).partition(|rank| rest[*rank as usize] < total);
        while let (Some(low), Some(high)) = (small.pop(), large.last().copied()) {
            let share = (rest[low as usize] << 32) / total;
            columns[low as usize] = Column { threshold: share as u64, alias: high };
            rest[high as usize] -= total - rest[low as usize];
            if rest[high as usize] < total {
                large.pop();
                small.push(high);
            }
        }
        Self { columns }
    }

    pub fn draw(&self, draws: &mut Draws) -> u32 {
        let bits = draws.bits();
        let column = ((bits >> 32) * self.columns.len() as u64) >> 32;
        let Column { threshold, alias } = self.columns[column as usize];
        if bits & 0xffff_ffff < threshold { column as u32 } else { alias }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zipf_is_in_proportion_to_one_over_rank() {
        let zipf = Zipf::new(100);
        let mut counts = [0_u64; 100];
        for position in 0..1_000_000 {
            counts[zipf.draw(&mut Draws::at(42, position)) as usize] += 1;
        }
        // The harmonic number H(100) is 5.187: rank 1 has 1 / 5.187 of a million draws.
        for (rank, expected) in [(1, 192_776), (2, 96_388), (10, 19_278), (100, 1_928)] {
            let drawn = counts[rank - 1];
            assert!(
                drawn.abs_diff(expected) * 10 < expected,
                "rank {rank}: {drawn}, expected about {expected}"
            );
        }
    }

    #[test]
    fn one_rank_takes_everything() {
        let zipf = Zipf::new(1);
        assert!((0..1000).all(|position| zipf.draw(&mut Draws::at(1, position)) == 0));
    }

    #[test]
    fn draws_depend_on_seed_and_position_only() {
        assert_eq!(Draws::at(1, 7).bits(), Draws::at(1, 7).bits());
        assert_ne!(Draws::at(1, 7).bits(), Draws::at(1, 8).bits());
        assert_ne!(Draws::at(1, 7).bits(), Draws::at(2, 7).bits());
        assert_ne!(seed_of(1, "a"), seed_of(1, "b"));
    }

    #[test]
    fn exponential_halves_every_half_life() {
        let delays: Vec<u64> =
            (0..100_000).map(|position| Draws::at(3, position).exponential(1_000)).collect();
        for (beyond, expected) in [(1_000, 50_000_usize), (3_000, 12_500)] {
            let count = delays.iter().filter(|delay| **delay >= beyond).count();
            assert!(count.abs_diff(expected) * 20 < expected, "{count} of {expected} beyond {beyond}");
        }
    }
}
