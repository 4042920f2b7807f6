//! Launches of `kernels/random.cu`.

use bytemuck::{Pod, Zeroable};

use crate::domain::Philox;
use crate::tensor::ops::random::{Distribution, Random, RandomKey};
use crate::tensor::{Buffer, DType, Result, Slice};

use super::Cuda;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Key {
    len: u64,
    key: [u32; 2],
    words: [u32; 3],
    normal: i32,
}

impl Key {
    fn new(key: RandomKey, from: Distribution, len: usize) -> Self {
        let normal = (from == Distribution::Normal).into();
        Key { len: len as u64, key: Philox::new(key.seed, key.purpose).key(), words: key.words, normal }
    }
}

impl Random for Cuda {
    fn random(&self, from: Distribution, keys: &[RandomKey], each: usize) -> Result<Buffer> {
        let y = self.take(keys.len() * each, DType::F32)?;
        for (number, key) in keys.iter().enumerate() {
            let to = y.address() + (DType::F32.bytes() * number * each) as u64;
            let launch = self.kernel_named("random", "draw").over(each.div_ceil(4));
            launch.value(to).value(Key::new(*key, from, each)).run()?;
        }
        Ok(Buffer::Cuda(y))
    }

    fn dropout(&self, x: Slice<'_>, probability: f32, key: RandomKey) -> Result<Buffer> {
        let y = self.take(x.len, x.dtype)?;
        let launch = self.kernel("random", "dropout", x.dtype).over(x.len.div_ceil(4)).input(x).output(&y);
        launch.value(probability).value(Key::new(key, Distribution::Uniform, x.len)).run()?;
        Ok(Buffer::Cuda(y))
    }
}
