//! Sums over the pixels of all images, many side by side and in parts: f32 for [`SPAN`] terms, then f64.

use rayon::prelude::*;

use crate::tensor::Result;
use crate::tensor::cpu::memory::Block;
use crate::tensor::cpu::{Cpu, PIECE, SPAN};

/// The sums of every part, to be put together in one order.
pub(super) struct Parts {
    recent: Block,
    /// As many as of `recent`, or none where no part has more than [`SPAN`] terms.
    earlier: Block,
    len: usize,
}

/// The sums of one part.
pub(super) struct LongSums<'a> {
    recent: &'a mut [f32],
    earlier: &'a mut [f64],
    terms: usize,
}

impl Parts {
    /// Room for `parts` times `len` sums of `terms` terms each.
    pub(super) fn new(cpu: &Cpu, parts: usize, len: usize, terms: usize) -> Result<Parts> {
        let all = parts.saturating_mul(len);
        let earlier = if terms > SPAN { 2 * all } else { 0 };
        Ok(Parts { recent: cpu.take(all)?, earlier: cpu.take(earlier)?, len })
    }

    /// Each part, with sums of nothing yet.
    pub(super) fn each(&mut self) -> Vec<LongSums<'_>> {
        let (len, mut earlier) =
            (self.len.max(1), self.earlier.as_slice_mut::<f64>().chunks_exact_mut(self.len.max(1)));
        let parts = self.recent.values_mut().chunks_exact_mut(len);
        let part = |recent| LongSums { recent, earlier: earlier.next().unwrap_or_default(), terms: 0 };
        parts.map(part).collect()
    }

    /// The sums of the first `period` places and of those a period apart behind each, in one order: as many f64.
    pub(super) fn totals(&self, cpu: &Cpu, period: usize) -> Result<Block> {
        let (recent, earlier) = (self.recent.values(), self.earlier.as_slice::<f64>());
        let mut totals = cpu.take(2 * period)?;
        totals.as_slice_mut::<f64>().par_chunks_mut(PIECE).enumerate().for_each(|(piece, to)| {
            cpu.level.run(|| {
                let own = piece * PIECE..piece * PIECE + to.len();
                to.fill(0.0);
                for part in recent.chunks_exact(period) {
                    to.iter_mut().zip(&part[own.clone()]).for_each(|(to, sum)| *to += f64::from(*sum));
                }
                for part in earlier.chunks_exact(period) {
                    to.iter_mut().zip(&part[own.clone()]).for_each(|(to, sum)| *to += sum);
                }
            });
        });
        Ok(totals)
    }
}

impl LongSums<'_> {
    /// Sums of nothing.
    #[inline(always)]
    pub(super) fn clear(&mut self) {
        self.recent.fill(0.0);
        self.earlier.fill(0.0);
    }

    /// The sums, to each of which at most `terms` more are about to be added.
    #[inline(always)]
    pub(super) fn before(&mut self, terms: usize) -> &mut [f32] {
        if self.terms + terms > SPAN && !self.earlier.is_empty() {
            self.earlier.iter_mut().zip(&*self.recent).for_each(|(sum, recent)| *sum += f64::from(*recent));
            self.recent.fill(0.0);
            self.terms = 0;
        }
        self.terms += terms;
        self.recent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Level;

    /// Half a unit in the last place for each number of a span, were all rounded to one side: no more, however many spans.
    #[test]
    fn no_sum_is_further_off_than_one_span_alone() {
        let most = SPAN as f64 * f64::from(f32::EPSILON) / 4.0;
        let cpu = Cpu::at(Level::best());
        let terms = 40 * SPAN;
        let mut parts = Parts::new(&cpu, 2, 3, terms).expect("room");
        for mut sums in parts.each() {
            sums.clear();
            for _ in 0..terms {
                sums.before(1).iter_mut().for_each(|sum| *sum += 0.2);
            }
        }
        let wanted = 2.0 * terms as f64 * f64::from(0.2f32);
        for total in parts.totals(&cpu, 3).expect("room").as_slice::<f64>() {
            let error = (total - wanted).abs() / wanted;
            assert!(error < most, "{error}");
        }
        let alone = (0..terms).fold(0f32, |sum, _| sum + 0.2);
        assert!((2.0 * f64::from(alone) - wanted).abs() / wanted > most, "{alone}");
    }
}
