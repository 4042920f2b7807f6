//! Images of other sizes: interpolated, padded or cropped.

use crate::tensor::{Buffer, Layout, Result, Shape, Slice, Tensor, TensorError};

use super::taps::{Padding, Taps, expect_sizes};

/// How values between grid points are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interpolation {
    /// The value of the cell that the lower edge lies in, as PyTorch's `nearest`: worked out in f32, so that an edge on a
    /// cell's border may count to the cell before.
    Nearest,
    /// Linear in rows and in columns.
    Bilinear {
        /// Whether the outermost grid points of both grids coincide, rather than the outer edges of their cells.
        align_corners: bool,
    },
}

/// Planes that are mapped along their rows and along their columns; an output without taps is `empty`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resample {
    /// Planes: the batch, times the channels where these lie outside.
    pub outer: usize,
    /// Rows of the input.
    pub rows: usize,
    /// Columns of the input.
    pub columns: usize,
    /// Rows of the result.
    pub rows_out: usize,
    /// Columns of the result.
    pub columns_out: usize,
    /// Neighbours in memory that are mapped alike: the channels where these lie inside.
    pub inner: usize,
    /// The value of an output without taps.
    pub empty: f32,
}

/// What a backend does to map the axes of images.
pub trait Resize {
    /// Σ over row taps and column taps of weight · weight · x.
    fn resample(&self, x: Slice<'_>, sizes: Resample, rows: &Taps, columns: &Taps) -> Result<Buffer>;
}

impl Tensor {
    /// Maps the rows and the columns of images (N, C, H, W); the gradient is the transposed map.
    pub(crate) fn resample(&self, name: &'static str, rows: Taps, columns: Taps, empty: f32) -> Result<Tensor> {
        let result = self.resampled(name, &rows, &columns, empty)?;
        if !self.wants_gradient() {
            return Ok(result);
        }
        let (rows, columns) = (rows.transposed(), columns.transposed());
        Ok(result.record(name, [self], move |dy| Ok(vec![Some(dy.resampled(name, &rows, &columns, 0.0)?)])))
    }

    fn resampled(&self, name: &'static str, row_taps: &Taps, column_taps: &Taps, empty: f32) -> Result<Tensor> {
        self.expect_numbers(name)?;
        let [batch, channels, rows, columns] = self.sizes(name)?;
        let (outer, inner) = match self.layout {
            Layout::Rows => (batch * channels, 1),
            Layout::Channels => (batch, channels),
        };
        let (rows_out, columns_out) = (row_taps.outputs(), column_taps.outputs());
        let shape = Shape::from([batch, channels, rows_out, columns_out]).countable(name)?;
        let sizes = Resample { outer, rows, columns, rows_out, columns_out, inner, empty };
        let buffer = self.device.resample(self.slice(), sizes, row_taps, column_taps)?;
        Ok(self.derive(buffer, shape, self.layout))
    }

    /// Images (N, C, H, W) interpolated to `height` by `width`, as PyTorch's `interpolate` to a size.
    ///
    /// # Errors
    /// Where there are not four dimensions, or a size is 0.
    pub fn resize(&self, height: usize, width: usize, interpolation: Interpolation) -> Result<Tensor> {
        let [_, _, rows, columns] = self.sizes("resize")?;
        let per = |from: usize, to: usize| from as f64 / to as f64;
        self.interpolate([height, width], [per(rows, height), per(columns, width)], interpolation)
    }

    /// Images (N, C, H, W) interpolated to ⌊H · factor⌋ by ⌊W · factor⌋, as PyTorch's `interpolate` by a scale factor.
    ///
    /// # Errors
    /// As [`Tensor::resize`].
    pub fn resize_by(&self, factors: [f64; 2], interpolation: Interpolation) -> Result<Tensor> {
        let [_, _, rows, columns] = self.sizes("resize_by")?;
        let size = |from: usize, factor: f64| (from as f64 * factor) as usize;
        let sizes = [size(rows, factors[0]), size(columns, factors[1])];
        self.interpolate(sizes, factors.map(|factor| 1.0 / factor), interpolation)
    }

    fn interpolate(&self, to: [usize; 2], steps: [f64; 2], interpolation: Interpolation) -> Result<Tensor> {
        let [_, _, rows, columns] = self.sizes("resize")?;
        expect_sizes("resize", [rows, columns], to)?;
        self.shape.with(2, to[0]).with(3, to[1]).countable("resize")?;
        let taps = |from: usize, to: usize, step: f64| match interpolation {
            Interpolation::Nearest => Taps::nearest(from, to, step as f32),
            Interpolation::Bilinear { align_corners: true } => {
                let step = if to > 1 { (from - 1) as f64 / (to - 1) as f64 } else { 0.0 };
                Taps::linear(from, to, step, true)
            }
            Interpolation::Bilinear { align_corners: false } => Taps::linear(from, to, step, false),
        };
        self.resample("resize", taps(rows, to[0], steps[0]), taps(columns, to[1], steps[1]), 0.0)
    }

    /// Images (N, C, H, W) with `[top, bottom, left, right]` more rows and columns.
    ///
    /// # Errors
    /// Where there are not four dimensions, a size is 0, or an image is too small to be mirrored that far.
    pub fn pad(&self, margins: [usize; 4], padding: Padding) -> Result<Tensor> {
        let [_, _, rows, columns] = self.sizes("pad")?;
        let [top, bottom, left, right] = margins.map(|margin| margin as isize);
        let size = |from: usize, before: usize, after: usize| from.checked_add(before)?.checked_add(after);
        let sizes = (size(rows, margins[0], margins[1]), size(columns, margins[2], margins[3]));
        let (Some(height), Some(width)) = sizes else {
            return Err(TensorError::shape("pad", self.shape, format!("smaller margins than {margins:?}")));
        };
        self.shift("pad", [top, bottom, left, right], [height, width], padding)
    }

    /// `height` rows from `top` on and `width` columns from `left` on of images (N, C, H, W).
    ///
    /// # Errors
    /// Where there are not four dimensions, or they do not lie inside.
    pub fn crop(&self, top: usize, left: usize, height: usize, width: usize) -> Result<Tensor> {
        self.sizes::<4>("crop")?;
        self.narrow(2, top, height)?.narrow(3, left, width)
    }

    /// Images (N, C, H, W) padded or cropped to `height` by `width`, half of it (rounded down) before the first row and
    /// column: what was padded to a size comes back unchanged when it is cropped to the size it had.
    ///
    /// # Errors
    /// As [`Tensor::pad`].
    pub fn fit(&self, height: usize, width: usize, padding: Padding) -> Result<Tensor> {
        let [_, _, rows, columns] = self.sizes("fit")?;
        let margins = |from: usize, to: usize| {
            let before = (to.abs_diff(from) / 2) as isize;
            let after = to.abs_diff(from) as isize - before;
            if to >= from { (before, after) } else { (-before, -after) }
        };
        let ((top, bottom), (left, right)) = (margins(rows, height), margins(columns, width));
        self.shift("fit", [top, bottom, left, right], [height, width], padding)
    }

    fn shift(&self, name: &'static str, margins: [isize; 4], to: [usize; 2], padding: Padding) -> Result<Tensor> {
        let [_, _, rows, columns] = self.sizes(name)?;
        let [top, bottom, left, right] = margins;
        expect_sizes(name, [rows, columns], to)?;
        self.shape.with(2, to[0]).with(3, to[1]).countable(name)?;
        if to == [rows, columns] {
            return Ok(self.clone());
        }
        let reach = |size: usize, before: isize, after: isize| match padding {
            Padding::Constant(_) | Padding::Replicate => true,
            Padding::Reflect => before.max(after) < size as isize,
        };
        if !reach(rows, top, bottom) || !reach(columns, left, right) {
            let expected = format!("images large enough for margins {margins:?} of {padding:?}");
            return Err(TensorError::shapes(name, self.shape, Shape::from(to), expected));
        }
        let empty = if let Padding::Constant(value) = padding { value } else { 0.0 };
        let row_taps = Taps::shifted(rows, to[0], top, padding);
        self.resample(name, row_taps, Taps::shifted(columns, to[1], left, padding), empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Cpu;

    #[test]
    fn sizes_that_cannot_be_are_refused_with_both() {
        let x = Tensor::zeros(&Cpu::device(), [1, 2, 3, 4]).expect("zeros");
        let error = x.resize(0, 5, Interpolation::Nearest).expect_err("no rows").to_string();
        assert!(error.starts_with("resize of [3, 4] and [0, 5]"), "{error}");
        for factor in [f64::INFINITY, f64::NAN, -1.0] {
            assert!(x.resize_by([1.0, factor], Interpolation::Nearest).is_err());
        }
        let error = x.pad([3, 0, 0, 0], Padding::Reflect).expect_err("too far").to_string();
        assert!(error.starts_with("pad of [1, 2, 3, 4] and [6, 4]"), "{error}");
        assert!(x.pad([usize::MAX, 1, 0, 0], Padding::Replicate).is_err());
        assert!(x.crop(1, 0, 3, 4).is_err());
    }

    #[test]
    fn what_was_padded_to_a_size_comes_back() {
        let values: Vec<f32> = (0..35).map(|i| i as f32).collect();
        let x = Tensor::new(&Cpu::device(), [1, 1, 5, 7], &values).expect("values");
        for padding in [Padding::Constant(-1.0), Padding::Reflect, Padding::Replicate] {
            let there = x.fit(8, 10, padding).expect("padded");
            assert_eq!(there.shape().sizes(), [1, 1, 8, 10]);
            assert_eq!(there.fit(5, 7, padding).and_then(|y| y.to_vec()).as_deref(), Ok(&values[..]));
        }
    }
}
