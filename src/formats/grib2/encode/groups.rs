//! Groups of neighbouring numbers: few, and each with a narrow range.

/// Stands for a missing number.
pub(super) const MISSING: i32 = i32::MAX;
/// Narrowest field that is tried for a group's length.
const MIN_LENGTH_BITS: u32 = 4;
/// Widest field for a group's length: groups are not longer than 2^15 numbers.
const MAX_LENGTH_BITS: u32 = 15;

/// Neighbouring numbers that are written in the same number of bits above the same reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Group {
    /// How many numbers, at least one.
    pub(super) length: u32,
    /// The least number that is not missing; [`MISSING`] where all are.
    pub(super) least: i32,
    /// The greatest number that is not missing.
    pub(super) greatest: i32,
    /// Whether there is a missing number.
    pub(super) holes: bool,
}

/// What groups cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Costs {
    /// Bits of a group apart from its numbers: reference, width, length.
    pub(super) group: u32,
    /// 1 where a number of all ones means missing, else 0.
    pub(super) reserved: u32,
}

impl Group {
    /// The group of some numbers.
    #[inline(always)]
    pub(super) fn of(numbers: &[i32]) -> Group {
        let least = numbers.iter().fold(i32::MAX, |least, n| least.min(*n));
        let greatest = numbers.iter().fold(i32::MIN, |greatest, n| greatest.max(*n));
        let group = Group { length: numbers.len() as u32, least, greatest, holes: false };
        if greatest == MISSING { group.with_holes(numbers) } else { group }
    }

    #[cold]
    fn with_holes(self, numbers: &[i32]) -> Group {
        let greatest = numbers.iter().copied().filter(|n| *n != MISSING).max().unwrap_or(i32::MIN);
        Group { greatest, holes: true, ..self }
    }

    /// Whether all numbers are missing.
    pub(super) fn is_missing(&self) -> bool {
        self.least == MISSING
    }

    /// Bits of each of its numbers.
    pub(super) fn width(&self, reserved: u32) -> u32 {
        match self.greatest.wrapping_sub(self.least) as u32 {
            _ if self.is_missing() => 0,
            0 if !self.holes => 0,
            range => u32::BITS - (range + reserved).leading_zeros(),
        }
    }
}

/// The groups on the cheapest way to the end of a row of `count` numbers in blocks of `block`.
///
/// `lengths` has for each block how many blocks the last group has on the cheapest way to that block's end.
pub(super) fn lengths(lengths: &[u16], block: usize, count: usize) -> Vec<u32> {
    let (mut groups, mut blocks, mut end) = (Vec::with_capacity(count / 8), lengths.len(), count);
    while let Some(length) = blocks.checked_sub(1).and_then(|last| lengths.get(last)) {
        blocks = blocks.saturating_sub(usize::from(*length).max(1));
        groups.push((end - blocks * block) as u32);
        end = blocks * block;
    }
    groups.reverse();
    groups
}

/// Cuts groups that are too long for the number of bits in which all lengths cost least, where a group costs
/// `group` bits besides.
pub(super) fn limited(groups: Vec<u32>, group: u32) -> Vec<u32> {
    let long: Vec<u32> = groups.iter().copied().filter(|length| *length > 1 << MIN_LENGTH_BITS).collect();
    let pieces = |bits: u32| long.iter().map(|length| u64::from(length.saturating_sub(1) >> bits)).sum::<u64>();
    let total = |bits: &u32| (groups.len() as u64 + pieces(*bits)) * u64::from(group + bits);
    let bits = (MIN_LENGTH_BITS..=MAX_LENGTH_BITS).min_by_key(total).unwrap_or(MAX_LENGTH_BITS);
    let mut limited = Vec::with_capacity(groups.len() + pieces(bits) as usize);
    for length in groups {
        match length <= 1 << bits {
            true => limited.push(length),
            false => limited.extend((0..length).step_by(1 << bits).map(|start| (length - start).min(1 << bits))),
        }
    }
    limited
}
