//! The cheapest way to cut a row of blocks into groups, sought with one unfinished group for each width.
//!
//! Every block joins the unfinished group of a width, where that width's range allows it, or begins a new one behind
//! the cheapest way to the block before, whichever costs less. A group's reference is free, so this is a heuristic:
//! of the ways that end in the same width only the cheapest is kept, whatever its reference. All widths are tried
//! side by side, in the lanes of two registers where the processor has AVX2.

use super::groups::{Costs, Group, MISSING};

/// Widths that are tried: 0 and the widest ones.
const STATES: usize = 16;
/// More than any group costs.
const NEVER: i32 = 1 << 28;
/// Costs are multiples of it, which leaves room for a state's number below them.
const UNIT: i32 = STATES as i32;
/// Stands for a missing number where all numbers must be equal; above all differences of 29-bit numbers.
const HOLE: i32 = 1 << 30;

/// One number for each width.
type Lanes = [i32; STATES];

/// What the widths allow and cost.
#[derive(Clone, Copy, Debug)]
struct States {
    /// The cost of a number.
    number: Lanes,
    /// The widest range.
    limit: Lanes,
    /// The cost of a group without numbers.
    group: i32,
}

impl States {
    fn new(costs: &Costs, widest: u32) -> States {
        let lowest = widest.saturating_sub(STATES as u32 - 1);
        let mut width = [0u32; STATES];
        width.iter_mut().zip(lowest..).skip(1).for_each(|(to, width)| *to = width.min(u32::BITS - 1));
        let limit = |w: u32| ((1i64 << w) - 1 - i64::from(costs.reserved)).max(0) as i32;
        States { number: width.map(|w| w as i32 * UNIT), limit: width.map(limit), group: costs.group as i32 * UNIT }
    }
}

/// Seeks the cheapest way through all blocks that `next` gives, some at a time and none at the end: for each block,
/// how many blocks the last group has on the cheapest way to that block's end, at most 65535.
///
/// No number needs more than `widest` bits.
pub(super) fn search(next: impl FnMut(&mut Vec<Group>) -> bool, costs: &Costs, widest: u32) -> Vec<u16> {
    let states = States::new(costs, widest);
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        return unsafe { avx2::search(next, &states) };
    }
    portable(next, &states)
}

/// How many blocks from `start` to `index`, as far as 16 bits count.
#[inline(always)]
fn length(start: u32, index: u32) -> u16 {
    (index - start + 1).min(u16::MAX.into()) as u16
}

/// Least and greatest number of a block where all must be equal: missing ones are a number of their own.
#[inline(always)]
fn equal_ends(block: &Group) -> (i32, i32) {
    match block.holes {
        true => (if block.least == MISSING { HOLE } else { block.least }, HOLE),
        false => (block.least, block.greatest),
    }
}

fn portable(mut next: impl FnMut(&mut Vec<Group>) -> bool, states: &States) -> Vec<u16> {
    let mut front = Front { cost: [NEVER; STATES], least: [0; STATES], greatest: [0; STATES], start: [0; STATES] };
    let (mut blocks, mut lengths) = (Vec::new(), Vec::new());
    while next(&mut blocks) {
        for block in &blocks {
            let index = lengths.len() as u32;
            lengths.push(length(front.advance(states, block, index), index));
        }
    }
    lengths
}

/// The unfinished group of every width.
struct Front {
    /// What the way to the group's end costs more than the cheapest one.
    cost: Lanes,
    least: Lanes,
    greatest: Lanes,
    /// The block it begins with.
    start: [u32; STATES],
}

impl Front {
    /// Goes over one block; where the group that ends with it on the cheapest way begins.
    fn advance(&mut self, states: &States, block: &Group, index: u32) -> u32 {
        let mut best = (NEVER, index);
        for s in 0..STATES {
            let ends = if s == 0 { equal_ends(block) } else { (block.least, block.greatest) };
            let bits = block.length as i32 * states.number[s];
            let joined = (self.least[s].min(ends.0), self.greatest[s].max(ends.1));
            let fits = |(least, greatest): (i32, i32)| greatest.wrapping_sub(least) <= states.limit[s];
            let join = if fits(joined) { self.cost[s] + bits } else { NEVER };
            let begin = if fits(ends) { states.group + bits } else { NEVER };
            let (cost, start, (least, greatest)) =
                if join < begin { (join, self.start[s], joined) } else { (begin, index, ends) };
            (self.cost[s], self.start[s], self.least[s], self.greatest[s]) = (cost, start, least, greatest);
            best = if cost < best.0 { (cost, start) } else { best };
        }
        self.cost.iter_mut().for_each(|cost| *cost -= best.0);
        best.1
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    //! The same with all widths in two registers.

    use std::arch::x86_64::*;

    use super::super::groups::Group;
    use super::{Lanes, NEVER, States, UNIT, equal_ends, length};

    /// Sixteen numbers.
    type Pair = [__m256i; 2];

    #[target_feature(enable = "avx2")]
    pub(super) fn search(mut next: impl FnMut(&mut Vec<Group>) -> bool, states: &States) -> Vec<u16> {
        let zero = [all(0); 2];
        let mut front = Front { cost: [all(NEVER); 2], least: zero, greatest: zero, start: zero };
        let (mut blocks, mut lengths) = (Vec::new(), Vec::new());
        while next(&mut blocks) {
            let known = lengths.len();
            lengths.resize(known + blocks.len(), 0);
            front = front.advance(states, &blocks, lengths.get_mut(known..).unwrap_or_default(), known as u32);
        }
        lengths
    }

    /// The unfinished group of every width.
    #[derive(Clone, Copy)]
    struct Front {
        cost: Pair,
        least: Pair,
        greatest: Pair,
        start: Pair,
    }

    impl Front {
        /// Goes over blocks from number `index` on. Calls nothing, so that everything stays in registers.
        #[inline]
        #[target_feature(enable = "avx2")]
        fn advance(self, states: &States, blocks: &[Group], lengths: &mut [u16], index: u32) -> Front {
            let (number, limit) = (load(&states.number), load(&states.limit));
            let (lane, group, never) = (load(&std::array::from_fn(|s| s as i32)), all(states.group), all(NEVER));
            let Front { mut cost, mut least, mut greatest, mut start } = self;
            for ((block, to), index) in blocks.iter().zip(lengths).zip(index..) {
                let (mut low, mut high) = ([all(block.least); 2], [all(block.greatest); 2]);
                if block.holes {
                    let (least, greatest) = equal_ends(block);
                    low[0] = _mm256_insert_epi32::<0>(low[0], least);
                    high[0] = _mm256_insert_epi32::<0>(high[0], greatest);
                }
                let (numbers, here) = (all(block.length as i32), all(index as i32));
                let mut keys = [never; 2];
                for h in 0..2 {
                    let bits = _mm256_mullo_epi32(numbers, number[h]);
                    let joined_low = _mm256_min_epi32(least[h], low[h]);
                    let joined_high = _mm256_max_epi32(greatest[h], high[h]);
                    let apart = _mm256_cmpgt_epi32(_mm256_sub_epi32(joined_high, joined_low), limit[h]);
                    let wide = _mm256_cmpgt_epi32(_mm256_sub_epi32(high[h], low[h]), limit[h]);
                    let join = _mm256_blendv_epi8(_mm256_add_epi32(cost[h], bits), never, apart);
                    let begin = _mm256_blendv_epi8(_mm256_add_epi32(group, bits), never, wide);
                    let joins = _mm256_cmpgt_epi32(begin, join);
                    cost[h] = _mm256_min_epi32(begin, join);
                    least[h] = _mm256_blendv_epi8(low[h], joined_low, joins);
                    greatest[h] = _mm256_blendv_epi8(high[h], joined_high, joins);
                    start[h] = _mm256_blendv_epi8(here, start[h], joins);
                    keys[h] = _mm256_or_si256(cost[h], lane[h]);
                }
                let best = least_of(keys);
                let floor = _mm256_and_si256(best, all(-UNIT));
                cost = [_mm256_sub_epi32(cost[0], floor), _mm256_sub_epi32(cost[1], floor)];
                *to = length(pick(start, best), index);
            }
            Front { cost, least, greatest, start }
        }
    }

    /// The least of sixteen numbers in all lanes.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn least_of(keys: Pair) -> __m256i {
        let eight = _mm256_min_epi32(keys[0], keys[1]);
        let four = _mm_min_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256::<1>(eight));
        let two = _mm_min_epi32(four, _mm_shuffle_epi32::<0b01_00_11_10>(four));
        _mm256_broadcastd_epi32(_mm_min_epi32(two, _mm_shuffle_epi32::<0b10_11_00_01>(two)))
    }

    /// The number in the lane that the lowest bits of `lane` say.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn pick(numbers: Pair, lane: __m256i) -> u32 {
        let lane = _mm256_and_si256(lane, all(UNIT - 1));
        let [lower, upper] = numbers.map(|half| _mm256_permutevar8x32_epi32(half, lane));
        _mm256_cvtsi256_si32(_mm256_blendv_epi8(lower, upper, _mm256_cmpgt_epi32(lane, all(7)))) as u32
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn all(number: i32) -> __m256i {
        _mm256_set1_epi32(number)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn load(numbers: &Lanes) -> Pair {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *numbers;
        [_mm256_setr_epi32(a, b, c, d, e, f, g, h), _mm256_setr_epi32(i, j, k, l, m, n, o, p)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Philox;

    /// Numbers of changing ranges, some of them missing, in blocks of three.
    fn blocks(seed: u64, holes: u32) -> Vec<Group> {
        let philox = Philox::new(seed, 0);
        let number = |at: u32| match philox.words([at, 0, 0, 0]) {
            [chance, ..] if chance % 100 < holes => MISSING,
            [_, word, ..] => (word >> (8 + (at / 97) % 20)) as i32 - 50,
        };
        let numbers: Vec<i32> = (0..3000).map(number).collect();
        numbers.chunks(3).map(Group::of).collect()
    }

    fn parts(blocks: &[Group]) -> impl FnMut(&mut Vec<Group>) -> bool {
        let mut parts = blocks.chunks(64);
        move |part| {
            part.clear();
            part.extend_from_slice(parts.next().unwrap_or_default());
            !part.is_empty()
        }
    }

    #[test]
    fn wide_registers_find_what_plain_code_finds() {
        for (seed, holes) in (0..20).map(|seed| (seed, [0, 3, 60, 100][seed as usize % 4])) {
            let (blocks, costs) = (blocks(seed, holes), Costs { group: 20 + seed as u32, reserved: holes.min(1) });
            let plain = portable(parts(&blocks), &States::new(&costs, 24));
            assert_eq!(plain.len(), blocks.len());
            assert_eq!(search(parts(&blocks), &costs, 24), plain, "seed {seed}");
        }
    }

    #[test]
    fn quiet_and_loud_numbers_are_kept_apart() {
        let numbers: Vec<i32> = (0..400).map(|i| if (100..140).contains(&i) { i * 7919 % 1000 } else { 5 }).collect();
        let blocks: Vec<Group> = numbers.chunks(4).map(Group::of).collect();
        let found = search(parts(&blocks), &Costs { group: 20, reserved: 0 }, 10);
        assert_eq!(super::super::groups::lengths(&found, 4, 400), [100, 40, 260]);
    }
}
