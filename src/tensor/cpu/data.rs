//! Fields before and after a model, piece by piece.

use rayon::prelude::*;

use crate::domain::Level;
use crate::tensor::ops::data::{Channels, Coding, Data, Quality, Regridded, StoredWindows};
use crate::tensor::{Buffer, DType, HostMemory, Result, Slice};
use crate::transforms::lightning::Bins;

use super::{Cpu, PIECE};

/// Neighbours in memory that are regridded in registers.
const LANES: usize = 16;

impl Data for Cpu {
    fn standardise(
        &self,
        x: Slice<'_>,
        mean: Slice<'_>,
        deviation: Slice<'_>,
        sizes: Channels,
        inverse: bool,
    ) -> Result<Buffer> {
        let (values, mean, deviation) = (self.read(x)?, self.read(mean)?, self.read(deviation)?);
        let Channels { channels, inner, .. } = sizes;
        self.pieces(
            x.len,
            x.dtype,
            #[inline(always)]
            |first, piece| {
                let mut done = 0;
                while done < piece.len() {
                    let at = first + done;
                    let channel = at / inner % channels;
                    // All channels of a pixel side by side, or a run of one channel.
                    let run = if inner == 1 { channels - channel } else { inner - at % inner };
                    let end = (done + run).min(piece.len());
                    let step = usize::from(inner == 1);
                    let of = (&mean[channel..], &deviation[channel..]);
                    score(&values[at..], of, step, inverse, &mut piece[done..end]);
                    done = end;
                }
            },
        )
    }

    fn quality(&self, x: Slice<'_>, quality: Quality<'_>) -> Result<(Buffer, Buffer)> {
        let values = self.read(x)?;
        let good = |x: f32| x >= quality.low && x <= quality.high && !quality.sentinels.contains(&x);
        let kept = self.pieces(x.len, x.dtype, |first, piece| {
            let from = &values[first..first + piece.len()];
            piece.iter_mut().zip(from).for_each(|(to, x)| *to = if good(*x) { *x } else { quality.replacement });
        })?;
        let mask = self.pieces(x.len, DType::F32, |first, piece| {
            let from = &values[first..first + piece.len()];
            piece.iter_mut().zip(from).for_each(|(to, x)| *to = f32::from(u8::from(good(*x))));
        })?;
        Ok((kept, mask))
    }

    fn decode(&self, windows: &StoredWindows<'_>) -> Result<(Buffer, Buffer)> {
        let bytes = windows.memory.bytes();
        match *windows.coding {
            Coding::U8(ref table) => self.decoded(windows, bytes, |level: u8| table[usize::from(level)]),
            Coding::I16 { factor, offset } => {
                let codes = bytemuck::cast_slice::<u8, i16>(bytes);
                self.decoded(windows, codes, |code| f32::from(code) * factor + offset)
            }
        }
    }

    fn regrid(&self, x: Slice<'_>, taps: [Slice<'_>; 3], sizes: Regridded) -> Result<Buffer> {
        let (values, level) = (self.read(x)?, self.level);
        let (offsets, sources, weights) = (taps[0].host::<i32>(), taps[1].host::<i32>(), taps[2].host::<f32>());
        let Regridded { outer, inputs, outputs, inner, .. } = sizes;
        let mut block = self.take(outer * outputs * inner)?;
        let each = (PIECE / inner.max(1)).max(1);
        block.values_mut().par_chunks_mut((each * inner).max(1)).enumerate().for_each(|(task, to)| {
            level.run(
                #[inline(always)]
                || {
                    for (point, to) in to.chunks_exact_mut(inner).enumerate() {
                        let (field, point) = ((task * each + point) / outputs, (task * each + point) % outputs);
                        let range = offsets[point] as usize..offsets[point + 1] as usize;
                        let taps = (&sources[range.clone()], &weights[range]);
                        let field = &values[field * inputs * inner..][..inputs * inner];
                        map_point(field, taps, sizes, to);
                    }
                },
            );
        });
        self.finish(block, x.dtype)
    }

    fn bin(&self, points: &HostMemory, many: usize, bins: &Bins) -> Result<Buffer> {
        let places: &[[f64; 3]] =
            bytemuck::cast_slice(points.bytes().get(..many * size_of::<[f64; 3]>()).unwrap_or_default());
        let mut counts = self.take(bins.count.iter().product())?;
        let to = counts.as_slice_mut::<u32>();
        to.fill(0);
        for place in places {
            bins.of(*place).and_then(|at| to.get_mut(at)).into_iter().for_each(|count| *count += 1);
        }
        let counts = counts.as_slice::<u32>();
        self.pieces(counts.len(), DType::F32, |first, piece| {
            piece.iter_mut().zip(&counts[first..]).for_each(|(to, count)| *to = *count as f32);
        })
    }
}

impl Cpu {
    /// Every frame turned to its place, and what its numbers stand for.
    fn decoded<T: Level>(
        &self,
        windows: &StoredWindows<'_>,
        stored: &[T],
        number: impl Fn(T) -> f32 + Sync,
    ) -> Result<(Buffer, Buffer)> {
        let (size, points) = (windows.size, (windows.size * windows.size).max(1));
        let (mut values, mut mask) = (self.take(stored.len())?, self.take(stored.len())?);
        let places =
            values.values_mut().par_chunks_exact_mut(points).zip(mask.values_mut().par_chunks_exact_mut(points));
        stored.par_chunks_exact(points).zip(places).enumerate().for_each(|(at, (frame, (values, mask)))| {
            let turn = windows.turns.get(at / windows.frames.max(1)).copied().unwrap_or_default();
            let there = |level: T| level.native() != T::MISSING;
            let value = |level: T| if there(level) { number(level.native()) } else { 0.0 };
            turn.place(frame, values, size, |from, to| from.iter().zip(to).for_each(|(from, to)| *to = value(*from)));
            let one = |level: T| f32::from(u8::from(there(level)));
            turn.place(frame, mask, size, |from, to| from.iter().zip(to).for_each(|(from, to)| *to = one(*from)));
        });
        Ok((Buffer::Cpu(values), Buffer::Cpu(mask)))
    }
}

/// A run of values, with means and deviations that go along or stay.
#[inline(always)]
fn score(x: &[f32], (mean, deviation): (&[f32], &[f32]), step: usize, inverse: bool, to: &mut [f32]) {
    let of = |x: f32, mean: f32, deviation: f32| {
        if inverse { x * deviation + mean } else { (x - mean) / deviation }
    };
    match (step, mean, deviation) {
        (0, [mean, ..], [deviation, ..]) => to.iter_mut().zip(x).for_each(|(to, x)| *to = of(*x, *mean, *deviation)),
        _ => {
            let channels = mean.iter().zip(deviation);
            to.iter_mut().zip(x.iter().zip(channels)).for_each(|(to, (x, (mean, sd)))| *to = of(*x, *mean, *sd));
        }
    }
}

/// One target point: its neighbours in memory in lanes.
#[inline(always)]
fn map_point(field: &[f32], taps: (&[i32], &[f32]), sizes: Regridded, to: &mut [f32]) {
    let mut first = 0;
    for to in to.chunks_mut(LANES) {
        let len = to.len();
        match to.try_into() {
            Ok(to) => map_lanes::<LANES>(field, taps, sizes, first, to),
            Err(_) => {
                for (i, to) in to.iter_mut().enumerate() {
                    map_lanes::<1>(field, taps, sizes, first + i, std::array::from_mut(to));
                }
            }
        }
        first += len;
    }
}

#[inline(always)]
fn map_lanes<const N: usize>(
    field: &[f32],
    (sources, weights): (&[i32], &[f32]),
    sizes: Regridded,
    first: usize,
    to: &mut [f32; N],
) {
    let Some(least) = sizes.least_valid else {
        *to = [0.0; N];
        for (source, weight) in sources.iter().zip(weights) {
            let from = &field[*source as usize * sizes.inner + first..][..N];
            to.iter_mut().zip(from).for_each(|(to, x)| *to += weight * x);
        }
        return;
    };
    let (mut sums, mut valid, mut whole) = ([0.0; N], [0.0; N], 0.0);
    for (source, weight) in sources.iter().zip(weights) {
        let from = &field[*source as usize * sizes.inner + first..][..N];
        whole += weight;
        for i in 0..N {
            sums[i] += if from[i].is_nan() { 0.0 } else { weight * from[i] };
            valid[i] += if from[i].is_nan() { 0.0 } else { *weight };
        }
    }
    for i in 0..N {
        let enough = valid[i] > least * whole;
        to[i] = if enough { sums[i] * (whole / valid[i]) } else { f32::NAN };
    }
}
