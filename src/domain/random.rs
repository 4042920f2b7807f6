//! Counter-based random numbers: the same everywhere for the same key and counter.

/// Philox-4x32-10 (Salmon et al., 2011, "Parallel random numbers: as easy as 1, 2, 3").
#[derive(Clone, Copy, Debug)]
pub struct Philox {
    key: [u32; 2],
}

/// What Philox's words are multiplied by.
pub(crate) const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
/// What is added to its key from round to round.
pub(crate) const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
/// Its rounds.
pub(crate) const ROUNDS: u32 = 10;

impl Philox {
    /// A generator for a seed and a purpose; different purposes share no numbers.
    pub fn new(seed: u64, purpose: u32) -> Self {
        let mixed = seed ^ u64::from(purpose).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Philox { key: [mixed as u32, (mixed >> 32) as u32] }
    }

    /// The generator's key, for kernels that work on many counters at once.
    pub(crate) fn key(&self) -> [u32; 2] {
        self.key
    }

    /// Four random words for a counter.
    pub fn words(&self, counter: [u32; 4]) -> [u32; 4] {
        let (mut c, mut k) = (counter, self.key);
        for _ in 0..ROUNDS {
            let first = u64::from(MULTIPLIERS[0]) * u64::from(c[0]);
            let second = u64::from(MULTIPLIERS[1]) * u64::from(c[2]);
            c = [(second >> 32) as u32 ^ c[1] ^ k[0], second as u32, (first >> 32) as u32 ^ c[3] ^ k[1], first as u32];
            k = [k[0].wrapping_add(WEYL[0]), k[1].wrapping_add(WEYL[1])];
        }
        c
    }

    /// Four numbers uniform in (0, 1) for a counter.
    pub fn uniform(&self, counter: [u32; 4]) -> [f64; 4] {
        self.words(counter).map(|w| (f64::from(w) + 0.5) / 4_294_967_296.0)
    }

    /// Four standard normal numbers for a counter (Box and Muller, 1958).
    pub fn normal(&self, counter: [u32; 4]) -> [f64; 4] {
        let [a, b, c, d] = self.uniform(counter);
        let pair = |u: f64, v: f64| {
            let (radius, angle) = ((-2.0 * u.ln()).sqrt(), std::f64::consts::TAU * v);
            [radius * angle.cos(), radius * angle.sin()]
        };
        let ([x, y], [z, w]) = (pair(a, b), pair(c, d));
        [x, y, z, w]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers published with Random123 (kat_vectors, philox4x32 10).
    #[test]
    fn the_published_vectors_come_out() {
        let zero = Philox { key: [0, 0] };
        assert_eq!(zero.words([0; 4]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        let ones = Philox { key: [u32::MAX; 2] };
        assert_eq!(ones.words([u32::MAX; 4]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
    }

    #[test]
    fn normal_numbers_have_mean_zero_and_variance_one() {
        let philox = Philox::new(7, 1);
        let draws: Vec<f64> = (0..25_000).flat_map(|i| philox.normal([i, 0, 0, 0])).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let variance = draws.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / draws.len() as f64;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.03, "{mean} {variance}");
    }
}
