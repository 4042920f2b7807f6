//! The transforms of weather fields on a device: the values, to the bit, that [`crate::transforms`] gives on the host.
//!
//! Fields are (rows, columns) with NaN where missing. Nothing is recorded for gradients.

use crate::domain::Quality;
use crate::tensor::{Buffer, DType, Device, Layout, Result, Shape, Slice, Tensor, TensorError};
use crate::transforms::qc::Report;
use crate::transforms::regrid::{Taps, Weights};

use super::data::SparseRows;

/// The weights of a regridding on a device.
#[derive(Clone, Debug)]
pub struct FieldMap {
    source_points: usize,
    rows: usize,
    columns: usize,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    /// The source of each target; −1 outside.
    Nearest(Tensor),
    /// The south-western of the four points around each target, −1 outside, and the way to the others along x and y.
    Bilinear(Tensor, Tensor),
    /// The sources that overlap each target.
    Average(SparseRows),
}

/// The four points around each target.
#[derive(Clone, Copy, Debug)]
pub struct Corners<'a> {
    /// Index of the south-western one; negative outside.
    pub south_west: Slice<'a>,
    /// Pairs: the way to the others along x and y, 0 to 1.
    pub along: Slice<'a>,
    /// Columns of the source: the first follows the last.
    pub columns: usize,
}

/// What a backend does with weather fields.
pub trait Fields {
    /// As [`crate::transforms::qc::check`].
    fn check(&self, x: Slice<'_>, quality: &Quality) -> Result<(Buffer, Report)>;
    /// As [`crate::transforms::rotate::Rotation::apply`]: (east, north) of (u, v) and an angle's (cosine, sine).
    fn rotate(&self, wind: [Slice<'_>; 2], angle: [Slice<'_>; 2]) -> Result<[Buffer; 2]>;
    /// The value of each target's source, NaN where it is negative.
    fn nearest(&self, x: Slice<'_>, sources: Slice<'_>) -> Result<Buffer>;
    /// Linear interpolation; from the valid ones of the four values where they hold half the weight.
    fn bilinear(&self, x: Slice<'_>, corners: Corners<'_>) -> Result<Buffer>;
    /// The mean of the valid sources by their weights, in f64, over the taps (offsets, sources, weights) of each target.
    fn average(&self, x: Slice<'_>, taps: [Slice<'_>; 3]) -> Result<Buffer>;
}

impl FieldMap {
    /// Weights onto a device, for targets of `rows` by `columns`.
    ///
    /// # Errors
    /// Where the weights are for another number of targets, or the device is out of memory.
    pub fn new(device: &Device, weights: &Weights, rows: usize, columns: usize) -> Result<Self> {
        let (source_points, target_points) = weights.points();
        if rows * columns != target_points {
            let expected = format!("{target_points} targets");
            return Err(TensorError::shape("field map", Shape::from([rows, columns]), expected));
        }
        let indices = |values: &[u32]| {
            // Outside is the greatest of all, which becomes −1.
            let values: Vec<i32> = values.iter().map(|value| *value as i32).collect();
            Tensor::indices(device, [values.len()], &values)
        };
        let kind = match weights.taps() {
            Taps::Nearest(sources) => Kind::Nearest(indices(sources)?),
            Taps::Bilinear { south_west, along } => {
                Kind::Bilinear(indices(&south_west)?, Tensor::new(device, [along.len(), 2], along.as_flattened())?)
            }
            Taps::Conservative { offsets, sources, weights } => {
                Kind::Average(SparseRows::new(device, offsets, sources, weights)?)
            }
        };
        Ok(FieldMap { source_points, rows, columns, kind })
    }
}

impl Tensor {
    /// Impossible values to missing, and what was found; a device is waited for.
    ///
    /// # Errors
    /// Where these are no numbers, or the device fails.
    pub fn checked(&self, quality: &Quality) -> Result<(Tensor, Report)> {
        self.expect_numbers("checked")?;
        let (values, report) = self.device.check(self.slice(), quality)?;
        let values = self.derive(values, self.shape, self.layout);
        Ok(if report.constant { (values.missing_everywhere()?, report) } else { (values, report) })
    }

    fn missing_everywhere(&self) -> Result<Tensor> {
        Ok(self.derive(self.device.fill(self.len(), f32::NAN, self.dtype)?, self.shape, self.layout))
    }

    /// Eastward and northward wind from the components along x and y, by the cosines and sines of the angle between.
    ///
    /// # Errors
    /// Where the four are not of one shape, the angle not in f32, or the device is out of memory.
    pub fn rotated(&self, v: &Tensor, [cosine, sine]: &[Tensor; 2]) -> Result<[Tensor; 2]> {
        self.expect_same_kind("rotated", v)?;
        for other in [v, cosine, sine] {
            self.expect_same_device("rotated", other)?;
            if other.shape != self.shape || other.layout != self.layout {
                return Err(TensorError::shapes("rotated", self.shape, other.shape, "one shape and one layout"));
            }
        }
        [cosine, sine].into_iter().try_for_each(|part| part.expect_dtype("rotated", DType::F32))?;
        let turned = self.device.rotate([self.slice(), v.slice()], [cosine.slice(), sine.slice()])?;
        Ok(turned.map(|buffer| self.derive(buffer, self.shape, self.layout)))
    }

    /// A field (rows, columns) on another grid.
    ///
    /// # Errors
    /// Where the map is for another number of points or on another device, or the device is out of memory.
    pub fn moved(&self, map: &FieldMap) -> Result<Tensor> {
        self.expect_numbers("moved")?;
        let [_, columns] = self.sizes("moved")?;
        if self.len() != map.source_points {
            return Err(TensorError::shape("moved", self.shape, format!("{} points", map.source_points)));
        }
        let x = self.slice();
        let buffer = match &map.kind {
            Kind::Nearest(sources) => {
                self.expect_same_device("moved", sources)?;
                self.device.nearest(x, sources.slice())?
            }
            Kind::Bilinear(south_west, along) => {
                self.expect_same_device("moved", along)?;
                let corners = Corners { south_west: south_west.slice(), along: along.slice(), columns };
                self.device.bilinear(x, corners)?
            }
            Kind::Average(rows) => {
                self.expect_same_device("moved", &rows.weights)?;
                self.device.average(x, rows.taps())?
            }
        };
        Ok(self.derive(buffer, Shape::from([map.rows, map.columns]), Layout::Rows))
    }
}
