//! Where the packed numbers of a field lie, for machines that unpack them by themselves.

use super::complex::{Parts, Start};
use super::{Complex, Packing};

/// How the values of a field are packed, where each can be found without those before it, or by sums alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Numbers {
    /// One value everywhere.
    Constant(f32),
    /// Numbers of the same width, the first in the first bits.
    Simple {
        /// Bits of a number: 1 to 57.
        bits: u32,
        /// Of a number X: its value is the first plus X times the second, each step rounded in f64, then to f32.
        line: (f64, f64),
    },
    /// Groups of numbers.
    Groups(GroupLayout),
}

/// Where groups lie, and what their numbers stand for.
///
/// Group g has `length_reference + length_increment · (its coded length)` values, the last `last_length`, each of
/// `width_reference + (its coded width)` bits. Whether these are as many values as the field has, in as many bits as
/// there are, and no number wider than 57 bits, is not checked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupLayout {
    /// How many: 1 to as many as there are values.
    pub groups: usize,
    /// The bits where the references, widths, lengths and values of the groups begin; the first three are all there.
    pub begins: [usize; 4],
    /// Bits of a group's reference, coded width and coded length: at most 57, of a length 32.
    pub bits: [u32; 3],
    /// Added to every coded width.
    pub width_reference: u32,
    /// The length of a group whose coded length is 0.
    pub length_reference: u64,
    /// Values for every unit of a coded length.
    pub length_increment: u64,
    /// Values of the last group.
    pub last_length: u64,
    /// How many kinds of missing values numbers may stand for: 0, 1 or 2. Of all ones is one, the other one less;
    /// references stand for them in groups of no bits.
    pub missing: u8,
    /// The order of the differences that numbers are: 0, 1 or 2.
    pub order: u8,
    /// As many values as the order says, that stand for the first differences which are not missing.
    pub first: [i64; 2],
    /// Added to every difference.
    pub minimum: i64,
    /// Of an integer, summed with wrapping: as in [`Numbers::Simple`].
    pub line: (f64, f64),
}

impl Packing {
    /// Where the numbers lie in what follows the head of section 7; `None` where the section is damaged, or the
    /// packing another one.
    pub(in super::super) fn numbers(&self, bytes: &[u8], count: usize) -> Option<Numbers> {
        match self {
            Packing::Simple(scale) if scale.bits == 0 => Some(Numbers::Constant(scale.reference)),
            Packing::Simple(scale) => Some(Numbers::Simple { bits: scale.bits, line: scale.line() }),
            Packing::Complex(complex) => complex.numbers(bytes, count),
            _ => None,
        }
    }
}

impl Complex {
    fn numbers(&self, bytes: &[u8], count: usize) -> Option<Numbers> {
        if self.groups == 0 && self.scale.bits == 0 {
            return Some(Numbers::Constant(self.scale.reference));
        }
        let (parts, start) = (Parts::new(self), Start::new(self, bytes));
        let fits = (1..=count).contains(&self.groups) && parts.values <= bytes.len() * 8;
        fits.then_some(Numbers::Groups(GroupLayout {
            groups: self.groups,
            begins: [parts.references, parts.widths, parts.lengths, parts.values],
            bits: [self.scale.bits, self.width_bits, self.length_bits],
            width_reference: self.width_reference,
            length_reference: self.length_reference,
            length_increment: self.length_increment,
            last_length: self.last_length,
            missing: self.missing,
            order: self.order,
            first: start.first,
            minimum: start.minimum,
            line: self.scale.line(),
        }))
    }
}
