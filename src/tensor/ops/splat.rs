//! Points to grids and grids to points: Gaussian splatting, and local maxima.

use crate::tensor::{Buffer, DType, Layout, Result, Shape, Slice, Tensor, TensorError};

/// How the features of points are spread over a grid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Splatting {
    /// The standard deviation, in grid cells.
    pub sigma: f32,
    /// How many standard deviations far a point reaches.
    pub reach: f32,
    /// Whether weights of a cell are divided by their sum: the mean of the features nearby instead of their sum.
    pub normalised: bool,
}

/// Points that are spread over grids.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Splat {
    /// Sets of points, each with a grid of its own.
    pub batch: usize,
    /// Points of a set.
    pub points: usize,
    /// Features of a point.
    pub channels: usize,
    /// Rows of a grid.
    pub rows: usize,
    /// Columns of a grid.
    pub columns: usize,
    /// How they are spread.
    pub splatting: Splatting,
}

/// Which elements of a field are peaks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Peaks {
    /// Fields.
    pub batch: usize,
    /// Rows of a field.
    pub rows: usize,
    /// Columns of a field.
    pub columns: usize,
    /// A peak is the greatest of the elements up to so many rows and columns away.
    pub radius: usize,
    /// A peak is greater than this.
    pub threshold: f32,
    /// The most peaks of a field.
    pub count: usize,
}

/// What a backend does with points and grids. Positions are (row, column) in grid cells from the first cell's centre.
pub trait Splats {
    /// Σ over points of e^(−d²/2σ²) · feature, channels inside, and the sum of weights of each cell in f32.
    fn splat(&self, features: Slice<'_>, positions: Slice<'_>, sizes: Splat) -> Result<(Buffer, Buffer)>;
    /// Gradients of the features and of the positions; `y` and `weights` are what [`Splats::splat`] gave.
    fn splat_grad(
        &self,
        features: Slice<'_>,
        positions: Slice<'_>,
        result: (Slice<'_>, Slice<'_>),
        dy: Slice<'_>,
        sizes: Splat,
    ) -> Result<(Buffer, Buffer)>;
    /// Where peaks are (row · columns + column), the greatest first and equal ones by index, and 1 for each peak, 0
    /// where there are no more.
    fn local_maxima(&self, x: Slice<'_>, sizes: Peaks) -> Result<(Buffer, Buffer)>;
}

impl Tensor {
    /// Features (B, N, C) of points spread over grids (B, C, `rows`, `columns`) around their positions (B, N, 2), which
    /// are row and column in grid cells from the centre of the first cell. The result is channels-last.
    ///
    /// # Errors
    /// Where shapes or devices do not go together, or sigma or reach is not above 0.
    pub fn splat(&self, positions: &Tensor, rows: usize, columns: usize, splatting: Splatting) -> Result<Tensor> {
        let [batch, points, channels] = self.sizes("splat")?;
        if self.dtype == DType::Bf16 {
            // In f32 to the end: the gradient of the positions is not that of a rounded grid.
            self.expect_same_device("splat", positions)?;
            let wide = self.wide()?.splat(&positions.to_dtype(DType::F32)?, rows, columns, splatting)?;
            return wide.to_dtype(DType::Bf16);
        }
        if positions.shape.sizes() != [batch, points, 2] {
            let expected = "positions (B, N, 2) of features (B, N, C)";
            return Err(TensorError::shapes("splat", self.shape, positions.shape, expected));
        }
        if !(splatting.sigma > 0.0 && splatting.reach > 0.0) {
            return Err(TensorError::shape("splat", self.shape, format!("sigma and reach above 0, not {splatting:?}")));
        }
        let shape = Shape::from([batch, channels, rows, columns]).countable("splat")?;
        let (f, p) = (self.detach(), positions.detach());
        f.expect_same_kind("splat", &p.to_dtype(f.dtype)?)?;
        let sizes = Splat { batch, points, channels, rows, columns, splatting };
        let (buffer, weights) = f.device.splat(f.slice(), p.slice(), sizes)?;
        let y = f.derive(buffer, shape, Layout::Channels);
        let weights = Tensor::dense(&f.device, weights, Shape::from([batch, rows, columns]), Layout::Rows, DType::F32);
        let saved = y.clone();
        let pull = move |dy: &Tensor| {
            let dy = dy.to_layout(Layout::Channels)?;
            let result = (saved.slice(), weights.slice());
            let (df, dp) = f.device.splat_grad(f.slice(), p.slice(), result, dy.slice(), sizes)?;
            Ok(vec![Some(f.derive(df, f.shape, Layout::Rows)), Some(p.derive(dp, p.shape, Layout::Rows))])
        };
        Ok(y.record("splat", [self, positions], pull))
    }

    /// Where fields (B, H, W) are greater than `threshold` and than all within `radius` rows and columns; of equal
    /// neighbours the first is a peak. Gives indices row · W + column (B, `count`), greatest first and equal ones by
    /// index, and a mask (B, `count`): 1 for each peak, 0 where there are no more.
    ///
    /// # Errors
    /// Where there are not three dimensions.
    pub fn local_maxima(&self, radius: usize, threshold: f32, count: usize) -> Result<(Tensor, Tensor)> {
        self.expect_numbers("local_maxima")?;
        let [batch, rows, columns] = self.sizes("local_maxima")?;
        let sizes = Peaks { batch, rows, columns, radius, threshold, count };
        let shape = Shape::from([batch, count]).countable("local_maxima")?;
        let (index, mask) = self.device.local_maxima(self.slice(), sizes)?;
        let tensor = |buffer, dtype| Tensor::dense(&self.device, buffer, shape, Layout::Rows, dtype);
        Ok((tensor(index, DType::I32), tensor(mask, DType::F32)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Cpu;

    #[test]
    fn peaks_are_sorted_and_the_first_of_equal_ones() {
        #[rustfmt::skip]
        let field = [
            5.0, 1.0, 0.0, 7.0, 7.0,
            1.0, f32::NAN, 0.0, 0.0, 0.0,
            9.0, 0.0, 5.0, 0.0, 2.0,
        ];
        let x = Tensor::new(&Cpu::device(), [1, 3, 5], &field).expect("values");
        let (index, mask) = x.local_maxima(1, 2.0, 5).expect("peaks");
        assert_eq!(mask.to_vec(), Ok(vec![1.0, 1.0, 1.0, 1.0, 0.0]));
        assert_eq!(index.to_indices(), Ok(vec![10, 3, 0, 12, 0]));
        assert_eq!(x.local_maxima(1, 2.0, 2).expect("peaks").0.to_indices(), Ok(vec![10, 3]));
        assert_eq!(x.local_maxima(9, 2.0, 2).expect("peaks").1.to_vec(), Ok(vec![1.0, 0.0]));
    }

    #[test]
    fn positions_that_do_not_go_with_features_are_refused() {
        let zeros = |shape: [usize; 3]| Tensor::zeros(&Cpu::device(), shape).expect("zeros");
        let device = Cpu::device();
        let features = Tensor::zeros(&device, [1, 3, 4]).expect("zeros");
        let splatting = Splatting { sigma: 1.0, reach: 3.0, normalised: false };
        let error = features.splat(&zeros([1, 4, 2]), 5, 5, splatting).expect_err("four positions").to_string();
        assert!(error.starts_with("splat of [1, 3, 4] and [1, 4, 2]"), "{error}");
        let positions = Tensor::zeros(&device, [1, 3, 2]).expect("zeros");
        assert!(features.splat(&positions, 5, 5, Splatting { sigma: 0.0, ..splatting }).is_err());
        assert!(features.splat(&zeros([1, 3, 2]), 5, 5, splatting).is_err(), "another device");
        assert_eq!(features.splat(&positions, 0, 5, splatting).map(|y| y.len()), Ok(0));
    }

    #[test]
    fn positions_of_points_without_features_have_a_gradient_of_zeros() {
        let device = Cpu::device();
        let positions = Tensor::full(&device, [1, 4, 2], 1.0).expect("positions").with_gradient();
        let features = Tensor::zeros(&device, [1, 4, 0]).expect("features").with_gradient();
        // What the gradient's memory held before.
        drop(Tensor::full(&device, [1, 4, 2], f32::NAN));
        let splatting = Splatting { sigma: 1.0, reach: 3.0, normalised: false };
        let y = features.splat(&positions, 3, 3, splatting).expect("grids");
        y.sum(&[], false).and_then(|sum| sum.backward()).expect("a gradient");
        assert_eq!(positions.gradient().and_then(|gradient| gradient.to_vec().ok()), Some(vec![0.0; 8]));
    }
}
