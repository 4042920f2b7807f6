//! Numbers of any width in a run of bytes, most significant bit first.

/// The widest number that one load of 64 bits holds wherever it begins.
pub(super) const WIDEST: u32 = 57;

/// Reads numbers one after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> BitReader<'a> {
    /// A reader at a bit of `bytes`; past the end it reads zeros, so lengths are checked beforehand.
    pub(super) fn new(bytes: &'a [u8], position: usize) -> Self {
        BitReader { bytes, position }
    }

    /// The next `width` ≤ [`WIDEST`] bits.
    #[inline(always)]
    pub(super) fn read(&mut self, width: u32) -> u64 {
        let word = word(self.bytes, self.position >> 3);
        let shifted = word << (self.position & 7);
        self.position += width as usize;
        // Two shifts, so that no bits at all shift by 64.
        (shifted >> 1) >> (63 - width)
    }
}

/// Eight bytes from `start`, zeros where there are none.
#[inline(always)]
fn word(bytes: &[u8], start: usize) -> u64 {
    match bytes.get(start..).and_then(|rest| rest.first_chunk::<8>()) {
        Some(eight) => u64::from_be_bytes(*eight),
        None => last_word(bytes, start),
    }
}

#[cold]
fn last_word(bytes: &[u8], start: usize) -> u64 {
    let mut padded = [0; 8];
    let rest = bytes.get(start..).unwrap_or_default();
    padded.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    u64::from_be_bytes(padded)
}

/// The first whole byte's first bit at or after `position`.
pub(super) fn align(position: usize) -> usize {
    position.div_ceil(8) * 8
}

/// Writes numbers one after the other.
#[derive(Debug, Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    /// Whole bytes written.
    position: usize,
    /// The bits of the byte begun, at the top; zeros below them.
    pending: u64,
    held: u32,
}

impl BitWriter {
    /// A writer with room for a number of bits.
    pub(super) fn with_room(bits: usize) -> Self {
        BitWriter { bytes: vec![0; bits / 8 + 16], ..BitWriter::default() }
    }

    /// Appends the lowest `width` ≤ 56 bits of `value`, which has none above them.
    #[inline(always)]
    pub(super) fn write(&mut self, value: u64, width: u32) {
        // Two shifts, so that no bits at all shift by 64.
        let word = self.pending | ((value << (63 - self.held - width)) << 1);
        match self.bytes.get_mut(self.position..).and_then(|rest| rest.first_chunk_mut::<8>()) {
            Some(eight) => *eight = word.to_be_bytes(),
            None => self.store(word),
        }
        let filled = self.held + width;
        self.position += (filled >> 3) as usize;
        self.pending = word << (filled & !7);
        self.held = filled & 7;
    }

    #[cold]
    fn store(&mut self, word: u64) {
        self.bytes.resize((self.position + 8) * 2, 0);
        self.bytes.iter_mut().skip(self.position).zip(word.to_be_bytes()).for_each(|(to, from)| *to = from);
    }

    /// Fills the byte begun up with zeros.
    pub(super) fn align(&mut self) {
        self.write(0, (8 - self.held) % 8);
    }

    /// The bytes, the last one filled up with zeros.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.align();
        self.bytes.truncate(self.position);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let numbers: Vec<(u64, u32)> = (0..400u32).map(|i| (u64::from(i) * 977, i % 41)).collect();
        let mut writer = BitWriter::default();
        numbers.iter().for_each(|(value, width)| writer.write(value & ((1 << width) - 1), *width));
        let bytes = writer.finish();
        let mut reader = BitReader::new(&bytes, 0);
        for (value, width) in numbers {
            assert_eq!(reader.read(width), value & ((1 << width) - 1), "{value} in {width} bits");
        }
    }

    #[test]
    fn past_the_end_there_are_zeros() {
        let mut reader = BitReader::new(&[0xff], 4);
        assert_eq!((reader.read(8), reader.read(57)), (0xf0, 0));
        assert_eq!(BitReader::new(&[], 64).read(0), 0);
    }
}
