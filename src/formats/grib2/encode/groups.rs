//! Splits a row of numbers into groups that are cheap to write: few groups, each with a narrow range.

use std::ops::Range;

/// Stands for a missing number.
pub(super) const MISSING: i32 = i32::MAX;
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
    /// The group of one number.
    #[inline(always)]
    fn of(number: i32) -> Group {
        match number {
            MISSING => Group { length: 1, least: MISSING, greatest: i32::MIN, holes: true },
            _ => Group { length: 1, least: number, greatest: number, holes: false },
        }
    }

    /// This group and the one behind it as one.
    #[inline(always)]
    fn with(self, next: Group) -> Group {
        Group {
            length: self.length + next.length,
            least: self.least.min(next.least),
            greatest: self.greatest.max(next.greatest),
            holes: self.holes | next.holes,
        }
    }

    /// Whether all numbers are missing.
    pub(super) fn is_missing(&self) -> bool {
        self.least == MISSING
    }

    /// Bits of each of its numbers.
    #[inline(always)]
    pub(super) fn width(&self, reserved: u32) -> u32 {
        let range = (self.greatest as u32).wrapping_sub(self.least as u32);
        let plain = self.least >= self.greatest && !(self.holes && self.least == self.greatest);
        if plain { 0 } else { u32::BITS - (range + reserved).leading_zeros() }
    }

    #[inline(always)]
    fn bits(&self, costs: &Costs) -> u64 {
        u64::from(self.length) * u64::from(self.width(costs.reserved)) + u64::from(costs.group)
    }
}

/// Splits numbers into groups, from left to right.
pub(super) fn split(numbers: &[i32], costs: &Costs) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::with_capacity(numbers.len() / 8 + 1);
    for number in numbers {
        let mut last = Group::of(*number);
        while let Some(before) = groups.last() {
            let joined = before.with(last);
            if joined.bits(costs) > before.bits(costs) + last.bits(costs) {
                break;
            }
            last = joined;
            groups.pop();
        }
        groups.push(last);
    }
    groups
}

/// Halves groups that are too long until lengths take the number of bits that costs least, and says how many.
pub(super) fn limit(groups: Vec<Group>, costs: &Costs) -> (Vec<Group>, u32) {
    let pieces = |bits: u32| groups.iter().map(|g| u64::from(g.length.div_ceil(1 << bits))).sum::<u64>();
    let total = |bits: &u32| pieces(*bits) * u64::from(costs.group + bits);
    let bits = (0..=MAX_LENGTH_BITS).min_by_key(total).unwrap_or(MAX_LENGTH_BITS);
    let piece = |group: &Group, range: Range<u32>| Group { length: range.end - range.start, ..*group };
    let mut limited = Vec::with_capacity(groups.len());
    for group in &groups {
        let starts = (0..group.length).step_by(1 << bits);
        limited.extend(starts.map(|start| piece(group, start..(start + (1 << bits)).min(group.length))));
    }
    (limited, bits)
}
