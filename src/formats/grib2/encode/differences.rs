//! Second differences of the whole numbers of a field, a part at a time: the whole row of them is never in memory.

use super::groups::{Group, MISSING};
use super::steps::Steps;

/// Numbers of a part; it and what is made of it stay in the processor's nearest memory.
const PART: usize = 4096;

/// Differences of a field's values, from the first on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Differences<'a> {
    /// Values that are yet to come.
    rest: &'a [f32],
    steps: &'a Steps,
    holes: bool,
    /// The two numbers before the next one.
    before: [i32; 2],
    /// The first two numbers, as far as they are known.
    first: [i32; 2],
    /// How many of the first two numbers are known.
    known: usize,
}

/// What is needed to turn differences back into numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    /// The first two numbers, whose differences are never read.
    pub(super) first: [i32; 2],
    /// The least difference.
    pub(super) least: i32,
    /// The greatest difference.
    pub(super) greatest: i32,
}

impl<'a> Differences<'a> {
    /// The differences of values some of which may be missing (`holes`).
    pub(super) fn new(values: &'a [f32], steps: &'a Steps, holes: bool) -> Self {
        Differences { rest: values, steps, holes, before: [0; 2], first: [0; 2], known: 0 }
    }

    /// Appends the next part; `false` where there is none.
    #[inline(always)]
    pub(super) fn extend(&mut self, numbers: &mut Vec<i32>) -> bool {
        let (part, rest) = self.rest.split_at(self.rest.len().min(PART));
        self.rest = rest;
        match self.known < 2 || self.holes && part.iter().any(|value| value.is_nan()) {
            true => numbers.extend(part.iter().map(|value| self.one(*value))),
            false => self.many(part, numbers),
        }
        !part.is_empty()
    }

    /// The difference of one value; that of the first two is 0, as it is never read.
    fn one(&mut self, value: f32) -> i32 {
        if value.is_nan() {
            return MISSING;
        }
        let (number, [before, last]) = (self.steps.of(value) as i32, self.before);
        self.before = [last, number];
        match self.first.get_mut(self.known) {
            Some(first) => {
                *first = number;
                self.known += 1;
                0
            }
            None => number - 2 * last + before,
        }
    }

    /// Differences of values none of which is missing, past the first two.
    #[inline(always)]
    fn many(&mut self, part: &[f32], numbers: &mut Vec<i32>) {
        // The two numbers before the part and those of the part, all of which are written over.
        let mut row = [0; PART + 2];
        let Some((row, _)) = row.split_at_mut_checked(part.len() + 2) else { return };
        let [before, last, behind @ ..] = &mut *row else { return };
        [*before, *last] = self.before;
        behind.iter_mut().zip(part).for_each(|(number, value)| *number = self.steps.of(*value) as i32);
        numbers.extend(row.array_windows().map(|[before, last, number]| number - 2 * last + before));
        if let Some(before) = row.last_chunk() {
            self.before = *before;
        }
    }

    /// Goes over all differences for their ends.
    #[inline(always)]
    pub(super) fn ends(mut self) -> Ends {
        let (mut part, mut least, mut greatest) = (Vec::with_capacity(PART), i32::MAX, i32::MIN);
        while self.extend(&mut part) {
            let group = Group::of(&part);
            (least, greatest) = (group.least.min(least), group.greatest.max(greatest));
            part.clear();
        }
        match least > greatest {
            true => Ends { first: self.first, least: 0, greatest: 0 },
            false => Ends { first: self.first, least, greatest },
        }
    }
}

/// Differences in blocks of `BLOCK`, as groups.
#[inline(always)]
pub(super) fn blocks<const BLOCK: usize>(mut differences: Differences) -> impl FnMut(&mut Vec<Group>) -> bool {
    const { assert!(PART.is_multiple_of(BLOCK), "no block goes over a part's end") };
    let mut part = Vec::with_capacity(PART);
    move |blocks| {
        part.clear();
        blocks.clear();
        let more = differences.extend(&mut part);
        let (whole, rest) = part.as_chunks::<BLOCK>();
        blocks.reserve(whole.len() + 1);
        whole.iter().for_each(|block| blocks.push(Group::of(block)));
        blocks.extend((!rest.is_empty()).then(|| Group::of(rest)));
        more
    }
}
