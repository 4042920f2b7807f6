//! Philox on many counters at once, and its words as uniform and normal numbers.

use rayon::prelude::*;

use crate::domain::Philox;
use crate::domain::random::{MULTIPLIERS, ROUNDS, WEYL};
use crate::tensor::ops::random::{Distribution, Random, RandomKey};
use crate::tensor::{Buffer, DType, Result, Slice};

use super::{Cpu, PIECE};

/// Counters that are worked on at once.
const LANES: usize = 16;
/// Numbers of that many counters.
const BLOCK: usize = 4 * LANES;
/// 2⁻³², the distance of uniform numbers.
const UNIT: f32 = 1.0 / 4_294_967_296.0;

impl Random for Cpu {
    fn random(&self, from: Distribution, keys: &[RandomKey], each: usize) -> Result<Buffer> {
        let mut block = self.take(keys.len() * each)?;
        let level = self.level;
        for (key, to) in keys.iter().zip(block.values_mut().chunks_mut(each.max(1))) {
            to.par_chunks_mut(PIECE).enumerate().for_each(|(piece, to)| {
                level.run(
                    #[inline(always)]
                    || draw(from, *key, piece * PIECE, to),
                );
            });
        }
        self.finish(block, DType::F32)
    }

    fn dropout(&self, x: Slice<'_>, probability: f32, key: RandomKey) -> Result<Buffer> {
        let values = self.read(x)?;
        let scale = 1.0 / (1.0 - probability);
        self.pieces(
            x.len,
            x.dtype,
            #[inline(always)]
            |first, piece| {
                draw(Distribution::Uniform, key, first, piece);
                let from = &values[first..first + piece.len()];
                piece.iter_mut().zip(from).for_each(|(to, x)| *to = if *to < probability { 0.0 } else { x * scale });
            },
        )
    }
}

/// The numbers of a key from the `first` on, which is a multiple of [`BLOCK`].
#[inline(always)]
fn draw(from: Distribution, key: RandomKey, first: usize, to: &mut [f32]) {
    let words = Philox::new(key.seed, key.purpose).key();
    for (block, to) in to.chunks_mut(BLOCK).enumerate() {
        let counter = (first / 4 + block * LANES) as u32;
        let random = philox(words, counter, key.words);
        let numbers = match from {
            Distribution::Uniform => random.map(
                #[inline(always)]
                |words| words.map(uniform),
            ),
            Distribution::Normal => normal(random),
        };
        let mut mixed = [0.0; BLOCK];
        for lane in 0..LANES {
            for word in 0..4 {
                mixed[4 * lane + word] = numbers[word][lane];
            }
        }
        to.copy_from_slice(&mixed[..to.len()]);
    }
}

/// The four words of [`LANES`] counters in a row, side by side.
#[inline(always)]
fn philox(mut key: [u32; 2], first: u32, words: [u32; 3]) -> [[u32; LANES]; 4] {
    let counters = std::array::from_fn(
        #[inline(always)]
        |lane| first.wrapping_add(lane as u32),
    );
    let mut c = [counters, [words[0]; LANES], [words[1]; LANES], [words[2]; LANES]];
    for _ in 0..ROUNDS {
        let mut next = [[0; LANES]; 4];
        for lane in 0..LANES {
            let one = u64::from(MULTIPLIERS[0]) * u64::from(c[0][lane]);
            let two = u64::from(MULTIPLIERS[1]) * u64::from(c[2][lane]);
            next[0][lane] = (two >> 32) as u32 ^ c[1][lane] ^ key[0];
            next[1][lane] = two as u32;
            next[2][lane] = (one >> 32) as u32 ^ c[3][lane] ^ key[1];
            next[3][lane] = one as u32;
        }
        c = next;
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    c
}

/// (w + ½) / 2³², and the largest f32 below 1 where that would round to 1.
#[inline(always)]
fn uniform(word: u32) -> f32 {
    let value = (word as f32 + 0.5) * UNIT;
    if value < 1.0 { value } else { 1.0 - f32::EPSILON / 2.0 }
}

/// Two pairs of words to two pairs of normal numbers.
#[inline(always)]
fn normal([a, b, c, d]: [[u32; LANES]; 4]) -> [[f32; LANES]; 4] {
    let mut to = [[0.0; LANES]; 4];
    for lane in 0..LANES {
        (to[0][lane], to[1][lane]) = pair(a[lane], b[lane]);
    }
    for lane in 0..LANES {
        (to[2][lane], to[3][lane]) = pair(c[lane], d[lane]);
    }
    to
}

#[inline(always)]
fn pair(a: u32, b: u32) -> (f32, f32) {
    let radius = (-2.0 * ln_uniform(a)).sqrt();
    let (sine, cosine) = sine_cosine(b);
    (radius * cosine, radius * sine)
}

/// ln((w + ½) / 2³²), exact near 1 as well, where the number itself would be rounded.
#[inline(always)]
fn ln_uniform(word: u32) -> f32 {
    let near_one = word >= 0xC000_0000;
    // 1 − u where that is at most a quarter, else u = m·2ᵉ with m in [¾, 1½).
    let counted = if near_one { !word } else { word };
    let value = (counted as f32 + 0.5) * UNIT;
    let bits = value.to_bits();
    let exponent = (bits.wrapping_sub(0.75f32.to_bits()) as i32) >> 23;
    let mantissa = f32::from_bits(bits.wrapping_sub((exponent << 23) as u32));
    let over = if near_one { -value } else { mantissa - 1.0 };
    let under = if near_one { 2.0 - value } else { mantissa + 1.0 };
    let exponent = if near_one { 0 } else { exponent };
    // 2 artanh(s), |s| ≤ 1/5.
    let s = over / under;
    let square = s * s;
    let mut p = 2.0 / 11.0;
    p = p * square + 2.0 / 9.0;
    p = p * square + 2.0 / 7.0;
    p = p * square + 2.0 / 5.0;
    p = p * square + 2.0 / 3.0;
    exponent as f32 * std::f32::consts::LN_2 + (2.0 * s + s * square * p)
}

/// sin and cos of 2π(w + ½) / 2³²: whole quarter turns are taken off exactly (polynomials as in Cephes).
#[inline(always)]
fn sine_cosine(word: u32) -> (f32, f32) {
    let quarters = word.wrapping_add(1 << 29) >> 30;
    let rest = word.wrapping_sub(quarters << 30) as i32;
    let angle = (rest as f32 + 0.5) * (std::f32::consts::TAU * UNIT);
    let square = angle * angle;
    let mut p = -1.951_529_6e-4;
    p = p * square + 8.332_161e-3;
    p = p * square - 1.666_665_5e-1;
    let sine = angle + angle * square * p;
    let mut p = 2.443_315_7e-5;
    p = p * square - 1.388_731_6e-3;
    p = p * square + 4.166_664_6e-2;
    let cosine = 1.0 - 0.5 * square + square * square * p;
    let odd = quarters & 1 == 1;
    let (first, second) = if odd { (cosine, sine) } else { (sine, cosine) };
    // Signs: sin is negative in quarters 2 and 3, cos in quarters 1 and 2.
    let sign = |value: f32, negative: u32| f32::from_bits(value.to_bits() ^ (negative & 2) << 30);
    (sign(first, quarters), sign(second, quarters.wrapping_add(1)))
}
