//! Whether wide products go to the kernels on `wgmma`: where a device has it, and has shown there that it multiplies right.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::tensor::{Buffer, DType, Memory, Result, TensorError};

use super::Cuda;
use super::memory::whole;

/// The environment variable that says whether kernels on `wgmma` run: `on` (what is taken where it is not set), `off`, or
/// `always`, which is for measuring.
pub const WGMMA_VARIABLE: &str = "GUSTFRONT_WGMMA";

/// The compute capability that has `wgmma`: no later one does.
const CAPABILITY: u32 = 90;

/// Rows of a tile of the kernels, and the two numbers of columns that there are: two blocks of the first share a
/// multiprocessor.
pub(super) const ROWS: usize = 128;
pub(super) const COLUMNS: [usize; 2] = [128, 256];
/// Numbers of the summed index in a piece, and bytes of its line for a row or a column.
pub(super) const PIECE: usize = 64;
const LINE_BYTES: usize = 128;
/// The alignment of buffers, and what is added to a row of sums.
const PATTERN_BYTES: usize = 1024;
const PAD: usize = 8;
/// The least length of sums that pays.
const LEAST_INNER: usize = 256;

/// Bytes of shared memory for tiles of so many columns: a ring of buffers, in which the sums lie in the end.
pub(super) fn shared_bytes(columns: usize) -> usize {
    let stages = if columns == COLUMNS[1] { 4 } else { 3 };
    PATTERN_BYTES + (stages * (ROWS + columns) * LINE_BYTES).max(ROWS * (columns + PAD) * size_of::<f32>())
}

/// How long so many blocks of tiles with so many columns take on so many multiprocessors, in no unit. Tiles of 128 columns
/// read a third more for each sum: they are taken to need a tenth longer.
pub(super) fn time(blocks: usize, columns: usize, inner: usize, processors: usize) -> usize {
    let tenths = if columns == COLUMNS[1] { 10 } else { 11 };
    (blocks.div_ceil(processors) * columns * tenths).saturating_mul(inner)
}

/// Whether the kernels are expected to be faster: tiles at least half full, long sums, three of four multiprocessors with
/// work.
pub(super) fn pays([rows, columns, inner]: [usize; 3], blocks: usize, processors: usize) -> bool {
    let full = rows > ROWS / 2 && columns > COLUMNS[0] / 2;
    full && inner >= LEAST_INNER && 4 * blocks >= 3 * processors
}

/// Where kernels on `wgmma` take the place of those on `mma.sync`, on devices of compute capability 9.0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wgmma {
    /// Nowhere.
    Never,
    /// For shapes for which they are expected to be faster, once they were right on the device.
    #[default]
    WhereItPays,
    /// Wherever operands allow it, unproved: for tests and measurements.
    Wherever,
}

impl Wgmma {
    /// What [`WGMMA_VARIABLE`] says.
    ///
    /// # Errors
    /// Where it says something else than `on`, `off` or `always`.
    pub fn named() -> Result<Self> {
        match std::env::var_os(WGMMA_VARIABLE) {
            None => Ok(Wgmma::default()),
            Some(value) => Wgmma::read(&value.to_string_lossy()),
        }
    }

    fn read(value: &str) -> Result<Self> {
        match value {
            "on" => Ok(Wgmma::WhereItPays),
            "off" => Ok(Wgmma::Never),
            "always" => Ok(Wgmma::Wherever),
            _ => {
                Err(TensorError::Variable { name: WGMMA_VARIABLE, value: value.into(), expected: "on, off or always" })
            }
        }
    }
}

/// Kernels that are proved together.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Products,
    Convolutions,
}

impl Kind {
    const COUNT: usize = 2;

    fn told(self) -> &'static str {
        match self {
            Kind::Products => "products of matrices",
            Kind::Convolutions => "convolutions",
        }
    }
}

/// What was found of a kind of kernels.
const UNKNOWN: u8 = 0;
const RIGHT: u8 = 1;
const WRONG: u8 = 2;

/// What is allowed on a device, and what was found there.
#[derive(Debug, Default)]
pub(super) struct Gate {
    allowed: Mutex<Wgmma>,
    found: [AtomicU8; Kind::COUNT],
    /// Held by the thread that tries.
    trying: Mutex<()>,
}

/// The same numbers by kernels on `mma.sync`, and by those on `wgmma`: they are to be equal.
pub(super) struct Tried {
    pub(super) wanted: Vec<f32>,
    pub(super) found: Result<Vec<f32>>,
}

impl Cuda {
    /// Chooses where kernels on `wgmma` are used from now on; devices without it never do.
    pub fn allow_wgmma(&self, choice: Wgmma) {
        *self.wgmma.allowed.lock().unwrap_or_else(PoisonError::into_inner) = choice;
    }

    pub(super) fn wgmma_allowed(&self) -> Wgmma {
        match self.capability() {
            CAPABILITY => *self.wgmma.allowed.lock().unwrap_or_else(PoisonError::into_inner),
            _ => Wgmma::Never,
        }
    }

    /// Whether kernels of a kind are right on this device. They are tried once; not while this thread records, in which
    /// nothing can be read: until then they count as wrong.
    pub(super) fn wgmma_proved(&self, kind: Kind, tried: impl FnOnce() -> Result<Tried>) -> Result<bool> {
        let [products, convolutions] = &self.wgmma.found;
        let found = match kind {
            Kind::Products => products,
            Kind::Convolutions => convolutions,
        };
        if found.load(Ordering::Acquire) == UNKNOWN && !self.pool.records() {
            let _alone = self.wgmma.trying.lock().unwrap_or_else(PoisonError::into_inner);
            if found.load(Ordering::Acquire) == UNKNOWN {
                let verdict = if self.wgmma_right(kind, tried()?)? { RIGHT } else { WRONG };
                found.store(verdict, Ordering::Release);
            }
        }
        Ok(found.load(Ordering::Acquire) == RIGHT)
    }

    /// Whether what was tried is right; a warning where it is not.
    fn wgmma_right(&self, kind: Kind, tried: Tried) -> Result<bool> {
        let (device, kind) = (self.machine().name(), kind.told());
        let differ = |found: &[f32]| found.iter().zip(&tried.wanted).filter(|(found, wanted)| found != wanted).count();
        let what = match &tried.found {
            Ok(found) if differ(found) == 0 => return Ok(true),
            Ok(found) => format!("{} of {} numbers are wrong", differ(found), found.len()),
            Err(error) if self.wait().is_err() => {
                let what = format!(
                    "the kernels on wgmma for {kind} failed as they were tried first, and the device serves this \
                     program no more: start it again with {WGMMA_VARIABLE}=off ({error})"
                );
                return Err(TensorError::Device { device, what });
            }
            Err(error) => error.to_string(),
        };
        tracing::warn!(
            "{device}: those on mma.sync are used for {kind} instead of the kernels on wgmma, which failed: {what}"
        );
        Ok(false)
    }

    /// Whole numbers from -8 to 8 in bf16: sums of up to 2^17 products of them are exact in f32, in any order.
    pub(super) fn whole_numbers(&self, len: usize, seed: usize) -> Result<Buffer> {
        let value = |i: usize| ((i * 7 + i / 13 + i / 101 * seed) % 17) as f32 - 8.0;
        let values: Vec<f32> = (0..len).map(value).collect();
        self.cast(whole(&self.upload(&values)?, len), DType::Bf16)
    }

    /// All of a buffer of f32, on the host.
    pub(super) fn numbers(&self, buffer: &Buffer, len: usize) -> Result<Vec<f32>> {
        let mut values = vec![0.0; len];
        self.download(whole(buffer, len), &mut values)?;
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_says_on_off_or_always() {
        let choices = ["on", "off", "always"].map(|value| Wgmma::read(value).unwrap());
        assert_eq!(choices, [Wgmma::WhereItPays, Wgmma::Never, Wgmma::Wherever]);
        let error = Wgmma::read("yes").unwrap_err().to_string();
        assert!(
            error.contains(WGMMA_VARIABLE) && error.contains("\"yes\"") && error.contains("on, off or always"),
            "{error}"
        );
    }
}
