//! Fourier transforms of real fields of any size, and the amplitudes of their spectra.
//!
//! A complex number is a dimension of size 2 at the end: its real part, then its imaginary part.

use crate::tensor::{Buffer, Layout, Result, Shape, Slice, Tensor, TensorError};

/// How transforms are scaled, as NumPy and PyTorch name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Norm {
    /// The inverse by 1/n.
    Backward,
    /// Both by 1/√n.
    Ortho,
}

/// Real fields and the half of their spectra that is not the mirrored conjugate of the other half.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fft2 {
    /// Fields.
    pub batch: usize,
    /// Rows of a field and of its spectrum.
    pub rows: usize,
    /// Columns of a field; its spectrum has half of them, rounded down, and one more.
    pub columns: usize,
    /// What every value of the result is multiplied by.
    pub scale: f32,
    /// What the spectrum's columns that stand for two are multiplied by as well: all but the first and, of an even
    /// number of columns, the last.
    pub paired_scale: f32,
}

/// What a backend does to transform fields.
pub trait Fft {
    /// Σ x · e^(−2πi(jk/rows + lm/columns)), for half of the spectrum.
    fn rfft2(&self, x: Slice<'_>, sizes: Fft2) -> Result<Buffer>;
    /// The real field of half a spectrum; imaginary parts that no real field has are ignored.
    fn irfft2(&self, x: Slice<'_>, sizes: Fft2) -> Result<Buffer>;
    /// √(re² + im²) of every complex number.
    fn amplitude(&self, x: Slice<'_>) -> Result<Buffer>;
    /// dy · x / |x|, 0 where x is 0.
    fn amplitude_grad(&self, x: Slice<'_>, dy: Slice<'_>) -> Result<Buffer>;
}

impl Fft2 {
    /// Columns of the spectrum.
    pub fn columns_out(&self) -> usize {
        self.columns / 2 + 1
    }
}

/// What transforms there and back are multiplied by.
fn scales(norm: Norm, rows: usize, columns: usize) -> (f32, f32) {
    let count = (rows * columns) as f64;
    match norm {
        Norm::Backward => (1.0, (1.0 / count) as f32),
        Norm::Ortho => ((1.0 / count.sqrt()) as f32, (1.0 / count.sqrt()) as f32),
    }
}

impl Tensor {
    /// The spectrum of real fields (…, H, W) as (…, H, W/2 + 1, 2), as PyTorch's `fft.rfft2`.
    ///
    /// # Errors
    /// Where there are fewer than two dimensions or more than five, or a field is empty.
    pub fn rfft2(&self, norm: Norm) -> Result<Tensor> {
        let sizes = self.fields("rfft2", norm)?;
        let result = self.detach().spectrum("rfft2", sizes)?;
        let (back, from) = (Fft2 { paired_scale: 0.5, ..sizes }, self.shape);
        Ok(result.record("rfft2", [self], move |dy| Ok(vec![Some(dy.field(back, from)?)])))
    }

    /// Real fields (…, H, `columns`) of half spectra (…, H, columns/2 + 1, 2), as PyTorch's `fft.irfft2`.
    ///
    /// # Errors
    /// Where the shape is not that of spectra of so many columns, or a field is empty.
    pub fn irfft2(&self, columns: usize, norm: Norm) -> Result<Tensor> {
        let refuse = || TensorError::shape("irfft2", self.shape, format!("(…, H, {columns}/2 + 1, 2) of H, W above 0"));
        let [ref before @ .., rows, half, 2] = *self.shape.sizes() else { return Err(refuse()) };
        if rows == 0 || columns == 0 || half != columns / 2 + 1 {
            return Err(refuse());
        }
        let shape = Shape::of("irfft2", &[before, &[rows, columns]].concat())?;
        let (_, scale) = scales(norm, rows, columns);
        let batch = before.iter().product();
        let sizes = Fft2 { batch, rows, columns, scale, paired_scale: 1.0 };
        let result = self.detach().field(sizes, shape)?;
        let back = Fft2 { paired_scale: 2.0, ..sizes };
        Ok(result.record("irfft2", [self], move |dy| Ok(vec![Some(dy.spectrum("irfft2", back)?)])))
    }

    /// The amplitudes (…) of complex numbers (…, 2); the gradient at 0 is 0.
    ///
    /// # Errors
    /// Where the last dimension is not of size 2.
    pub fn amplitude(&self) -> Result<Tensor> {
        self.expect_numbers("amplitude")?;
        let [ref before @ .., 2] = *self.shape.sizes() else {
            return Err(TensorError::shape("amplitude", self.shape, "a last dimension of size 2"));
        };
        let shape = Shape::of("amplitude", before)?;
        let x = self.detach().to_layout(Layout::Rows)?;
        let result = x.derive(x.device.amplitude(x.slice())?, shape, Layout::Rows);
        let pull = move |dy: &Tensor| {
            let dy = dy.to_layout(Layout::Rows)?;
            Ok(vec![Some(x.derive(x.device.amplitude_grad(x.slice(), dy.slice())?, x.shape, Layout::Rows))])
        };
        Ok(result.record("amplitude", [self], pull))
    }

    fn fields(&self, operation: &'static str, norm: Norm) -> Result<Fft2> {
        let [ref before @ .., rows, columns] = *self.shape.sizes() else {
            return Err(TensorError::shape(operation, self.shape, "rows and columns"));
        };
        if rows == 0 || columns == 0 {
            return Err(TensorError::shape(operation, self.shape, "fields that are not empty"));
        }
        let (scale, _) = scales(norm, rows, columns);
        Ok(Fft2 { batch: before.iter().product(), rows, columns, scale, paired_scale: 1.0 })
    }

    fn spectrum(&self, operation: &'static str, sizes: Fft2) -> Result<Tensor> {
        self.expect_numbers(operation)?;
        let before = self.shape.get(..self.shape.rank() - 2).unwrap_or_default();
        let shape = Shape::of(operation, &[before, &[sizes.rows, sizes.columns_out(), 2]].concat())?;
        let x = self.to_layout(Layout::Rows)?;
        Ok(x.derive(x.device.rfft2(x.slice(), sizes)?, shape, Layout::Rows))
    }

    fn field(&self, sizes: Fft2, shape: Shape) -> Result<Tensor> {
        self.expect_numbers("irfft2")?;
        let x = self.to_layout(Layout::Rows)?;
        Ok(x.derive(x.device.irfft2(x.slice(), sizes)?, shape, Layout::Rows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Cpu;

    #[test]
    fn shapes_that_are_no_spectra_are_refused() {
        let zeros = |shape: &[usize]| Tensor::zeros(&Cpu::device(), Shape::of("zeros", shape).expect("sizes"));
        let spectrum = zeros(&[3, 4, 2]).expect("zeros");
        let error = spectrum.irfft2(8, Norm::Backward).expect_err("five columns").to_string();
        assert!(error.starts_with("irfft2 of [3, 4, 2]: expected"), "{error}");
        assert!(spectrum.irfft2(7, Norm::Backward).is_ok() && spectrum.irfft2(6, Norm::Ortho).is_ok());
        assert!(zeros(&[7]).expect("zeros").rfft2(Norm::Backward).is_err());
        assert!(zeros(&[0, 7]).expect("zeros").rfft2(Norm::Backward).is_err());
        assert!(zeros(&[1, 1, 1, 1, 2, 2]).expect("zeros").rfft2(Norm::Backward).is_err());
        assert!(zeros(&[2, 3]).expect("zeros").amplitude().is_err());
    }

    #[test]
    fn the_gradient_of_no_amplitude_is_none() {
        let x = Tensor::new(&Cpu::device(), [2, 2], &[0.0, 0.0, 3.0, -4.0]).expect("values").with_gradient();
        x.amplitude().and_then(|y| y.sum(&[], false)).and_then(|y| y.backward()).expect("a gradient");
        assert_eq!(x.gradient().expect("a gradient").to_vec(), Ok(vec![0.0, 0.0, 0.6, -0.8]));
    }
}
