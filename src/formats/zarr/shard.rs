//! Packs one field into a shard and back.

use std::borrow::Cow;
use std::num::NonZeroU64;

use serde_json::Value;
use zarrs::array::codec::{ShardingCodecOptions, SubchunkWriteOrder};
use zarrs::array::{
    ArrayToBytesCodecTraits, CodecChain, CodecOptions, CodecSpecificOptions, DataType, Element, ElementOwned,
    FillValue, data_type,
};

use super::layout::{Cut, packed, sharded};
use crate::domain::Grid;

/// Codecs for chunks of one shape and type.
#[derive(Debug)]
pub(super) struct Packer {
    codecs: CodecChain,
    shape: Vec<NonZeroU64>,
    data_type: DataType,
    fill: FillValue,
}

impl Packer {
    /// Packs plain chunks of 64-bit numbers.
    pub(super) fn of_doubles(ny: usize, nx: usize) -> Result<Packer, String> {
        Packer::new(packed(size_of::<f64>()), &[ny, nx], data_type::float64(), f64::NAN.into())
    }

    fn new(codecs: Value, shape: &[usize], data_type: DataType, fill: FillValue) -> Result<Packer, String> {
        let metadata: Vec<_> = serde_json::from_value(codecs).map_err(|e| e.to_string())?;
        // Any other order depends on which thread packs first.
        let in_order = ShardingCodecOptions::default().with_subchunk_write_order(SubchunkWriteOrder::C);
        let options = CodecSpecificOptions::default().with_option(in_order);
        let codecs = CodecChain::from_metadata(&metadata).map_err(|e| e.to_string())?;
        let shape: Option<Vec<_>> = shape.iter().map(|length| NonZeroU64::new(*length as u64)).collect();
        let shape = shape.ok_or("a grid without points")?;
        Ok(Packer { codecs: codecs.with_codec_specific_options(&options), shape, data_type, fill })
    }

    /// Packs one chunk of numbers.
    pub(super) fn pack<T: Element>(&self, values: Vec<T>) -> Result<Vec<u8>, String> {
        let array = T::into_array_bytes(&self.data_type, values).map_err(|e| e.to_string())?;
        let packed = self.codecs.encode(array, &self.shape, &self.data_type, &self.fill, &options());
        packed.map(Cow::into_owned).map_err(|e| e.to_string())
    }

    fn unpack(&self, bytes: &[u8]) -> Result<Vec<f32>, String> {
        let unpacked = self.codecs.decode(Cow::Borrowed(bytes), &self.shape, &self.data_type, &self.fill, &options());
        let array = unpacked.map_err(|e| e.to_string())?.into_owned();
        f32::from_array_bytes(&self.data_type, array).map_err(|e| e.to_string())
    }
}

/// Packs and unpacks the fields of one grid.
#[derive(Debug)]
pub(super) struct Shard {
    packer: Packer,
    width: usize,
    padded_width: usize,
    padded_height: usize,
}

impl Shard {
    /// The shards of a grid.
    pub(super) fn of(grid: &Grid) -> Result<Shard, String> {
        let (y, x) = (Cut::of(grid.ny), Cut::of(grid.nx));
        let shape = [1, 1, y.shard, x.shard];
        let packer = Packer::new(sharded(y, x), &shape, data_type::float32(), f32::NAN.into())?;
        Ok(Shard { packer, width: grid.nx, padded_width: x.shard, padded_height: y.shard })
    }

    /// Packs a field; the same values make the same bytes, every missing value being the same NaN.
    pub(super) fn pack(&self, values: &[f32]) -> Result<Vec<u8>, String> {
        let mut padded = vec![f32::NAN; self.padded_width * self.padded_height];
        for (row, values) in padded.chunks_mut(self.padded_width).zip(values.chunks(self.width)) {
            row.iter_mut().zip(values).for_each(|(to, from)| *to = if from.is_nan() { f32::NAN } else { *from });
        }
        self.packer.pack(padded)
    }

    /// Unpacks a field of `count` values.
    pub(super) fn unpack(&self, bytes: &[u8], count: usize) -> Result<Vec<f32>, String> {
        let mut values = self.packer.unpack(bytes)?;
        if self.padded_width != self.width {
            values = values.chunks(self.padded_width).flat_map(|row| row.iter().take(self.width).copied()).collect();
        }
        values.truncate(count);
        Ok(values)
    }
}

/// One thread a shard: fields are packed side by side by those who call.
fn options() -> CodecOptions {
    CodecOptions::default().with_concurrent_target(1)
}

#[cfg(test)]
mod tests {
    use super::super::store::tests::small_spec;
    use super::*;

    /// A field of `ny` by `nx` with structure and some missing values.
    fn field(ny: usize, nx: usize) -> (Grid, Vec<f32>) {
        let grid = Grid { nx, ny, ..(*small_spec().grid).clone() };
        let wave = |at: usize| ((at % nx) as f32 * 0.1).sin() * 10.0 + (at / nx) as f32;
        let value = |at: usize| if at % 97 == 3 { f32::NAN } else { wave(at) };
        (grid, (0..nx * ny).map(value).collect())
    }

    fn bits(values: &[f32]) -> Vec<u32> {
        values.iter().map(|value| value.to_bits()).collect()
    }

    #[test]
    fn fields_come_back_bit_by_bit_with_and_without_padding() {
        for (ny, nx) in [(1, 1), (7, 5), (353, 514), (401, 409), (1, 1009), (1009, 1)] {
            let (grid, values) = field(ny, nx);
            let shard = Shard::of(&grid).expect("codecs");
            let packed = shard.pack(&values).expect("packed");
            let unpacked = shard.unpack(&packed, values.len()).expect("unpacked");
            assert_eq!(bits(&unpacked), bits(&values), "{ny}×{nx}");
        }
    }

    #[test]
    fn every_missing_value_is_the_same_and_takes_no_room() {
        let (grid, values) = field(401, 409);
        let shard = Shard::of(&grid).expect("codecs");
        let odd = f32::from_bits(0xffc0_1234);
        let other: Vec<f32> = values.iter().map(|v| if v.is_nan() { odd } else { *v }).collect();
        assert_eq!(shard.pack(&values), shard.pack(&other));
        let empty = shard.pack(&vec![odd; values.len()]).expect("packed");
        assert_eq!(empty.len(), 4 * 16 + 4, "an index of four absent chunks and its checksum");
    }

    #[test]
    fn packing_on_many_threads_makes_the_same_bytes() {
        let (grid, values) = field(706, 514);
        let shard = Shard::of(&grid).expect("codecs");
        let first = shard.pack(&values).expect("packed");
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| shard.pack(&values))).collect();
            threads.into_iter().for_each(|t| assert_eq!(t.join().expect("no panic").as_ref(), Ok(&first)));
        });
    }

    #[test]
    fn damaged_shards_are_errors_or_values_but_never_panics() {
        let (grid, values) = field(41, 78);
        let shard = Shard::of(&grid).expect("codecs");
        let packed = shard.pack(&values).expect("packed");
        for cut in 0..packed.len() {
            assert!(shard.unpack(&packed[..cut], values.len()).is_err(), "cut at {cut}");
        }
        for at in 0..packed.len() {
            let mut damaged = packed.clone();
            damaged[at] ^= 0x55;
            let in_index = at + 20 >= packed.len();
            let unpacked = shard.unpack(&damaged, values.len());
            assert!(!in_index || unpacked.is_err(), "the index is damaged at {at}");
            assert!(unpacked.is_err() || unpacked.is_ok_and(|v| v.len() == values.len()), "at {at}");
        }
    }
}
