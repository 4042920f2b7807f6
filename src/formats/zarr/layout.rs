//! How each array of a store is cut into objects and packed.

use serde_json::{Map, Value, json};

/// Inner chunks are at most this long in y and x: small enough to look at a city, large enough to pack well.
const LONGEST_CHUNK: usize = 400;
/// An exact divisor shorter than this is not worth having.
const SHORTEST_CHUNK: usize = 200;
/// Length aimed at where no divisor fits and the last chunk is padded.
const PADDED_CHUNK: usize = 300;

/// Blosc's LZ4 level: level 5 packs a 1059×1799 field in 5 ms; zstd takes 15 ms for a quarter less.
const LZ4_LEVEL: u32 = 5;

/// One array: its shape, its chunks, how they are packed, what it says of itself.
#[derive(Clone, Debug)]
pub(super) struct ArrayLayout {
    pub(super) name: String,
    pub(super) dimensions: Vec<&'static str>,
    pub(super) shape: Vec<u64>,
    pub(super) chunk: Vec<u64>,
    pub(super) data_type: &'static str,
    pub(super) fill: Value,
    pub(super) codecs: Value,
    pub(super) attributes: Map<String, Value>,
}

impl ArrayLayout {
    /// The array's metadata document.
    pub(super) fn document(&self) -> Value {
        json!({
            "shape": self.shape,
            "data_type": self.data_type,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": self.chunk}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": self.fill,
            "codecs": self.codecs,
            "attributes": self.attributes,
            "dimension_names": self.dimensions,
            "zarr_format": 3,
            "node_type": "array",
            "storage_transformers": [],
        })
    }
}

/// How one dimension of a shard is cut: equal inner chunks, the last padded where no length divides well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    /// Length of an inner chunk.
    pub(super) chunk: usize,
    /// Length of the shard: a whole number of chunks, at least the grid's length.
    pub(super) shard: usize,
}

impl Cut {
    /// The cut for a dimension of a grid.
    pub(super) fn of(length: usize) -> Cut {
        let fewest = length.div_ceil(LONGEST_CHUNK).max(1);
        let most = (length / SHORTEST_CHUNK).max(1);
        let exact = (fewest..=most).find(|pieces| length.is_multiple_of(*pieces));
        let pieces = exact.unwrap_or(length.div_ceil(PADDED_CHUNK).max(1));
        let chunk = length.div_ceil(pieces);
        Cut { chunk, shard: chunk * pieces }
    }
}

/// The codec that packs nothing: little-endian numbers.
pub(super) fn plain() -> Value {
    json!([bytes()])
}

/// The codecs of a compressed chunk of numbers of `width` bytes.
pub(super) fn packed(width: usize) -> Value {
    json!([
        bytes(),
        {"name": "blosc", "configuration":
            {"typesize": width, "cname": "lz4", "clevel": LZ4_LEVEL, "shuffle": "shuffle", "blocksize": 0}},
    ])
}

/// The codecs of a shard of 32-bit numbers that is cut into inner chunks; its index is checked by a checksum.
pub(super) fn sharded(y: Cut, x: Cut) -> Value {
    json!([{"name": "sharding_indexed", "configuration": {
        "chunk_shape": [1, 1, y.chunk, x.chunk],
        "codecs": packed(size_of::<f32>()),
        "index_codecs": [bytes(), {"name": "crc32c"}],
        "index_location": "end",
    }}])
}

fn bytes() -> Value {
    json!({"name": "bytes", "configuration": {"endian": "little"}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dimensions_are_cut_into_even_chunks() {
        let cut = |chunk, shard| Cut { chunk, shard };
        assert_eq!(Cut::of(1059), cut(353, 1059));
        assert_eq!(Cut::of(1799), cut(257, 1799));
        assert_eq!(Cut::of(3500), cut(350, 3500));
        assert_eq!(Cut::of(41), cut(41, 41));
        assert_eq!(Cut::of(1), cut(1, 1));
        assert_eq!(Cut::of(1377), cut(276, 1380), "no divisor between 200 and 400");
        assert_eq!(Cut::of(1009), cut(253, 1012), "a prime");
    }

    #[test]
    fn every_cut_covers_its_dimension_without_an_empty_chunk() {
        for length in 1..5000 {
            let Cut { chunk, shard } = Cut::of(length);
            assert!(chunk <= LONGEST_CHUNK && shard.is_multiple_of(chunk), "{length}");
            assert!((length..length + chunk).contains(&shard), "{length}");
        }
    }
}
