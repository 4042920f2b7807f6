//! Windows of images to one value each: their greatest, or their mean.

use crate::tensor::{Buffer, DType, Layout, Result, Shape, Slice, Tensor, TensorError};

use super::taps::{Taps, expect_sizes};

/// Windows over the rows and columns of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Rows and columns of a window.
    pub kernel: [usize; 2],
    /// Rows and columns between windows.
    pub stride: [usize; 2],
    /// Rows and columns added on every side.
    pub padding: [usize; 2],
}

/// Windows over images whose channels lie inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool2d {
    /// Images.
    pub batch: usize,
    /// Rows of an image.
    pub rows: usize,
    /// Columns of an image.
    pub columns: usize,
    /// Channels, fastest in memory.
    pub channels: usize,
    /// Rows of the result.
    pub rows_out: usize,
    /// Columns of the result.
    pub columns_out: usize,
    /// The windows.
    pub window: Window,
}

/// What a backend does to pool images; channels lie inside.
pub trait Pool {
    /// The greatest of each window, and as indices where it lies in its plane (row · columns + column): the first of
    /// those that are equal. NaN is greater than any number.
    fn max_pool(&self, x: Slice<'_>, sizes: Pool2d) -> Result<(Buffer, Buffer)>;
    /// The gradient of the image: each element gathers from the windows that chose it.
    fn max_pool_grad(&self, index: Slice<'_>, dy: Slice<'_>, sizes: Pool2d) -> Result<Buffer>;
}

impl Window {
    /// Square windows.
    pub fn square(kernel: usize, stride: usize, padding: usize) -> Self {
        Window { kernel: [kernel; 2], stride: [stride; 2], padding: [padding; 2] }
    }

    /// The size of the result for images of `rows` by `columns`; `None` where there is no whole window.
    fn outputs(&self, rows: usize, columns: usize) -> Option<[usize; 2]> {
        let along = |axis: usize, size: usize| {
            let padded = size.checked_add(self.padding[axis].checked_mul(2)?)?;
            Some(padded.checked_sub(self.kernel[axis])?.checked_div(self.stride[axis])? + 1)
        };
        let fits = |axis: usize| self.kernel[axis] > 0 && self.padding[axis] <= self.kernel[axis] / 2;
        if fits(0) && fits(1) { Some([along(0, rows)?, along(1, columns)?]) } else { None }
    }
}

impl Tensor {
    /// The image's sizes and the result's.
    fn pooled(&self, operation: &'static str, window: Window) -> Result<Pool2d> {
        self.expect_numbers(operation)?;
        let [batch, channels, rows, columns] = self.sizes(operation)?;
        let found = window.outputs(rows, columns).filter(|_| rows.saturating_mul(columns) <= i32::MAX as usize);
        let [rows_out, columns_out] = found.ok_or_else(|| {
            let expected = format!("an image that whole windows fit in, padded by at most half of one: {window:?}");
            TensorError::shape(operation, self.shape, expected)
        })?;
        Shape::from([batch, channels, rows_out, columns_out]).countable(operation)?;
        Ok(Pool2d { batch, rows, columns, channels, rows_out, columns_out, window })
    }

    /// The greatest of each window of images (N, C, H, W), as PyTorch's `max_pool2d`; of equal ones the first gets the
    /// gradient. The result is channels-last.
    ///
    /// # Errors
    /// Where there are not four dimensions, no whole window fits, or the padding exceeds half a window.
    pub fn max_pool2d(&self, window: Window) -> Result<Tensor> {
        let sizes = self.pooled("max_pool2d", window)?;
        let x = self.detach().to_layout(Layout::Channels)?;
        let (buffer, index) = x.device.max_pool(x.slice(), sizes)?;
        let shape = Shape::from([sizes.batch, sizes.channels, sizes.rows_out, sizes.columns_out]);
        let (from, dtype) = (self.shape, self.dtype);
        let index = Tensor::dense(&x.device, index, shape, Layout::Channels, DType::I32);
        let pull = move |dy: &Tensor| {
            let dy = dy.to_dtype(dtype)?.to_layout(Layout::Channels)?;
            let buffer = dy.device.max_pool_grad(index.slice(), dy.slice(), sizes)?;
            Ok(vec![Some(dy.derive(buffer, from, Layout::Channels))])
        };
        Ok(x.derive(buffer, shape, Layout::Channels).record("max_pool2d", [self], pull))
    }

    /// The mean of each window of images (N, C, H, W), as PyTorch's `avg_pool2d`: padding counts as zeros.
    ///
    /// # Errors
    /// As [`Tensor::max_pool2d`].
    pub fn avg_pool2d(&self, window: Window) -> Result<Tensor> {
        let Pool2d { rows, columns, rows_out, columns_out, .. } = self.pooled("avg_pool2d", window)?;
        let taps = |axis: usize, from: usize, to: usize| {
            Taps::windows(from, to, window.kernel[axis], window.stride[axis], window.padding[axis])
        };
        self.resample("avg_pool2d", taps(0, rows, rows_out), taps(1, columns, columns_out), 0.0)
    }

    /// Means of `height` by `width` parts of images (N, C, H, W), as PyTorch's `adaptive_avg_pool2d`: parts begin at
    /// ⌊i·H/height⌋ and end before ⌈(i+1)·H/height⌉, so that neighbours may share a row.
    ///
    /// # Errors
    /// Where there are not four dimensions, or a size is 0.
    pub fn adaptive_avg_pool2d(&self, height: usize, width: usize) -> Result<Tensor> {
        let [_, _, rows, columns] = self.sizes("adaptive_avg_pool2d")?;
        expect_sizes("adaptive_avg_pool2d", [rows, columns], [height, width])?;
        self.shape.with(2, height).with(3, width).countable("adaptive_avg_pool2d")?;
        if (height, width) == (1, 1) {
            return self.mean(&[2, 3], true);
        }
        self.resample("adaptive_avg_pool2d", Taps::parts(rows, height), Taps::parts(columns, width), 0.0)
    }

    /// The mean of each channel of images (N, C, H, W), as (N, C, 1, 1).
    ///
    /// # Errors
    /// As [`Tensor::adaptive_avg_pool2d`].
    pub fn global_avg_pool2d(&self) -> Result<Tensor> {
        self.adaptive_avg_pool2d(1, 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Cpu;

    #[test]
    fn windows_that_do_not_fit_are_refused() {
        let x = Tensor::zeros(&Cpu::device(), [1, 2, 3, 4]).expect("zeros");
        let wrong =
            [Window::square(4, 1, 0), Window::square(0, 1, 0), Window::square(2, 0, 0), Window::square(2, 1, 2)];
        for window in wrong {
            let error = x.max_pool2d(window).expect_err("no such windows").to_string();
            assert!(error.starts_with("max_pool2d of [1, 2, 3, 4]: expected"), "{error}");
            assert!(x.avg_pool2d(window).is_err());
        }
    }

    #[test]
    fn of_equal_values_the_first_is_chosen_and_nan_is_greatest() {
        let device = Cpu::device();
        let x = Tensor::new(&device, [1, 1, 2, 2], &[3.0; 4]).expect("values").with_gradient();
        x.max_pool2d(Window::square(2, 2, 0)).and_then(|y| y.backward_with(&y.detach())).expect("a gradient");
        assert_eq!(x.gradient().expect("a gradient").to_vec(), Ok(vec![3.0, 0.0, 0.0, 0.0]));
        let x = Tensor::new(&device, [1, 1, 1, 3], &[f32::NEG_INFINITY, f32::NAN, 5.0]).expect("values");
        let y = x.max_pool2d(Window { kernel: [1, 3], stride: [1, 1], padding: [0, 0] }).expect("one window");
        assert!(y.item().expect("one value").is_nan());
    }
}
