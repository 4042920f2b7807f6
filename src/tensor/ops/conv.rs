//! Convolutions of images and their transposes.

mod fused;

pub use fused::{Epilogue, Fused, Prologue};

use super::elementwise::Map;
use super::norm::Normalised;
use crate::tensor::{Buffer, Layout, Result, Shape, Slice, Tensor, TensorError};

/// How a kernel moves over an image: one number along rows, one along columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2d {
    /// Pixels of the input from one output to the next.
    pub stride: [usize; 2],
    /// Zeros before the first and behind the last pixel.
    pub padding: [usize; 2],
    /// Pixels of the input from one element of the kernel to the next.
    pub dilation: [usize; 2],
    /// Runs of channels that do not see each other.
    pub groups: usize,
}

/// How the kernel of a transposed convolution moves: each input pixel spreads over a kernel's pixels of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvTranspose2d {
    /// Pixels of the output from one input to the next.
    pub stride: [usize; 2],
    /// Pixels that are cut off all around the output.
    pub padding: [usize; 2],
    /// Pixels added behind the last of the output; below the stride or the dilation.
    pub output_padding: [usize; 2],
    /// Pixels of the output from one element of the kernel to the next.
    pub dilation: [usize; 2],
    /// Runs of channels that do not see each other.
    pub groups: usize,
}

/// Sizes of a convolution; its gradients and the transposed convolution are told by the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvSizes {
    /// Images.
    pub batch: usize,
    /// Channels of the input, of all groups.
    pub channels_in: usize,
    /// Channels of the output, of all groups.
    pub channels_out: usize,
    /// Rows and columns of the input.
    pub size_in: [usize; 2],
    /// Rows and columns of the output.
    pub size_out: [usize; 2],
    /// Rows and columns of the kernel.
    pub kernel: [usize; 2],
    /// How the kernel moves.
    pub how: Conv2d,
}

/// [`Epilogue`] for a backend, with the bias.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConvEpilogue<'a> {
    /// One number for each output channel.
    pub bias: Option<Slice<'a>>,
    /// As many elements as the output, in the same order.
    pub residual: Option<Slice<'a>>,
    /// A function of each element.
    pub activation: Option<Map>,
    /// Whether the values before the activation are kept for its gradient.
    pub keep: bool,
    /// Whether the moments of the output are taken.
    pub moments: bool,
}

/// What a backend gives for a convolution.
#[derive(Debug)]
pub struct Convolved {
    /// The output.
    pub y: Buffer,
    /// The values before the activation in f32, where they are kept.
    pub before: Option<Buffer>,
    /// What `Norm::moments` gives of the output, where it is asked for.
    pub moments: Option<Buffer>,
}

/// What a backend does for convolutions. Images lie channels-last, weights as OIHW. Where a normalisation is given, it
/// is done to x first; it need not be written.
pub trait Conv {
    /// The output for `x` and `w`.
    fn conv2d(
        &self,
        x: Slice<'_>,
        norm: Option<&Normalised<'_>>,
        w: Slice<'_>,
        sizes: &ConvSizes,
        epilogue: &ConvEpilogue<'_>,
    ) -> Result<Convolved>;
    /// The gradient of the input for `dy` and `w`, plus a bias for each of its channels; in the dtype of `dy`, which
    /// may be f32 where the others are not.
    fn conv2d_data(&self, dy: Slice<'_>, w: Slice<'_>, sizes: &ConvSizes, bias: Option<Slice<'_>>) -> Result<Buffer>;
    /// The gradients of the weights and of the bias for `x` and `dy`; in the dtype of `x`, where `dy` may be f32.
    fn conv2d_weight(
        &self,
        x: Slice<'_>,
        norm: Option<&Normalised<'_>>,
        dy: Slice<'_>,
        sizes: &ConvSizes,
    ) -> Result<(Buffer, Buffer)>;
}

impl Default for Conv2d {
    fn default() -> Self {
        Conv2d { stride: [1; 2], padding: [0; 2], dilation: [1; 2], groups: 1 }
    }
}

impl Default for ConvTranspose2d {
    fn default() -> Self {
        ConvTranspose2d { stride: [1; 2], padding: [0; 2], output_padding: [0; 2], dilation: [1; 2], groups: 1 }
    }
}

/// ⌊(size + 2·padding − dilation·(kernel − 1) − 1) / stride⌋ + 1, where the kernel fits.
fn size_out(size: usize, kernel: usize, how: &Conv2d, axis: usize) -> Option<usize> {
    let padded = how.padding[axis].checked_mul(2)?.checked_add(size)?;
    let extent = kernel.checked_sub(1)?.checked_mul(how.dilation[axis])?.checked_add(1)?;
    Some(padded.checked_sub(extent)? / how.stride[axis] + 1)
}

/// (size − 1)·stride − 2·padding + dilation·(kernel − 1) + output_padding + 1, where that leaves anything.
fn size_transposed(size: usize, kernel: usize, how: &ConvTranspose2d, axis: usize) -> Option<usize> {
    let spread = size.checked_sub(1)?.checked_mul(how.stride[axis])?;
    let extent = kernel.checked_sub(1)?.checked_mul(how.dilation[axis])?.checked_add(how.output_padding[axis] + 1)?;
    let cut = how.padding[axis].checked_mul(2)?;
    spread.checked_add(extent)?.checked_sub(cut).filter(|size| *size > 0)
}

/// The error where not everything that must be positive is.
fn check_positive(operation: &'static str, x: Shape, w: Shape, numbers: &[usize]) -> Result<()> {
    match numbers.contains(&0) {
        false => Ok(()),
        true => Err(TensorError::shapes(
            operation,
            x,
            w,
            "a stride, dilation, groups, channels, rows, columns and kernel of at least 1",
        )),
    }
}

/// The most elements that an image may have: offsets between any two of them fit `isize`.
const MOST: usize = isize::MAX as usize / 16;

fn check_count(operation: &'static str, x: Shape, w: Shape, sizes: &ConvSizes) -> Result<()> {
    let count = |channels: usize, [rows, columns]: [usize; 2]| {
        [sizes.batch, rows, columns].iter().try_fold(channels, |product, size| product.checked_mul(*size))
    };
    let padded = |axis: usize| sizes.how.padding[axis].checked_mul(2).and_then(|p| p.checked_add(sizes.size_in[axis]));
    let padded = padded(0).zip(padded(1)).and_then(|(rows, columns)| count(sizes.channels_in, [rows, columns]));
    match (padded, count(sizes.channels_out, sizes.size_out)) {
        (Some(from), Some(to)) if from < MOST && to < MOST => Ok(()),
        _ => Err(TensorError::shapes(operation, x, w, "sizes whose product can be addressed")),
    }
}

impl ConvSizes {
    /// Sizes of x (N, C, H, W) and w (O, C / groups, kernel).
    fn new(x: &Tensor, w: &Tensor, how: &Conv2d) -> Result<Self> {
        let operation = "conv2d";
        let [batch, channels_in, rows, columns] = x.sizes(operation)?;
        let [channels_out, per_group, kernel_rows, kernel_columns] = w.sizes(operation)?;
        let wrong = |expected: String| TensorError::shapes(operation, x.shape(), w.shape(), expected);
        let numbers = [channels_in, channels_out, rows, columns, kernel_rows, kernel_columns, how.groups];
        check_positive(operation, x.shape(), w.shape(), &[&numbers[..], &how.stride, &how.dilation].concat())?;
        if per_group.checked_mul(how.groups) != Some(channels_in) || !channels_out.is_multiple_of(how.groups) {
            return Err(wrong(format!("weights of {channels_in} / {0} channels for {0} groups", how.groups)));
        }
        let fits = || wrong(format!("a kernel inside the image, with {how:?}"));
        let size_out = [
            size_out(rows, kernel_rows, how, 0).ok_or_else(fits)?,
            size_out(columns, kernel_columns, how, 1).ok_or_else(fits)?,
        ];
        let (size_in, kernel) = ([rows, columns], [kernel_rows, kernel_columns]);
        let sizes = ConvSizes { batch, channels_in, channels_out, size_in, size_out, kernel, how: *how };
        check_count(operation, x.shape(), w.shape(), &sizes)?;
        Ok(sizes)
    }

    /// Sizes of the convolution whose data gradient the transposed convolution of x (N, C, H, W) with w (C, O / groups,
    /// kernel) is: its output is x, its input the result.
    fn transposed(x: &Tensor, w: &Tensor, how: &ConvTranspose2d) -> Result<Self> {
        let operation = "conv_transpose2d";
        let [batch, channels_out, rows, columns] = x.sizes(operation)?;
        let [from, per_group, kernel_rows, kernel_columns] = w.sizes(operation)?;
        let wrong = |expected: String| TensorError::shapes(operation, x.shape(), w.shape(), expected);
        let numbers = [channels_out, per_group, kernel_rows, kernel_columns, how.groups];
        check_positive(operation, x.shape(), w.shape(), &[&numbers[..], &how.stride, &how.dilation].concat())?;
        let channels_in = per_group.checked_mul(how.groups).filter(|_| from == channels_out);
        let channels_in = channels_in.filter(|_| channels_out.is_multiple_of(how.groups)).ok_or_else(|| {
            wrong(format!("weights of {channels_out} channels that {} groups share evenly", how.groups))
        })?;
        let too_far = |axis: usize| how.output_padding[axis] >= how.stride[axis].max(how.dilation[axis]);
        if too_far(0) || too_far(1) {
            return Err(wrong(format!("an output padding below the stride or the dilation, not {how:?}")));
        }
        let fits = || wrong(format!("pixels that the padding leaves, with {how:?}"));
        let size_in = [
            size_transposed(rows, kernel_rows, how, 0).ok_or_else(fits)?,
            size_transposed(columns, kernel_columns, how, 1).ok_or_else(fits)?,
        ];
        let (size_out, kernel) = ([rows, columns], [kernel_rows, kernel_columns]);
        let &ConvTranspose2d { stride, padding, dilation, groups, .. } = how;
        let how = Conv2d { stride, padding, dilation, groups };
        let sizes = ConvSizes { batch, channels_in, channels_out, size_in, size_out, kernel, how };
        check_count(operation, x.shape(), w.shape(), &sizes)?;
        Ok(sizes)
    }

    pub(in crate::tensor) fn shape_in(&self) -> Shape {
        Shape::from([self.batch, self.channels_in, self.size_in[0], self.size_in[1]])
    }

    pub(in crate::tensor) fn shape_out(&self) -> Shape {
        Shape::from([self.batch, self.channels_out, self.size_out[0], self.size_out[1]])
    }

    pub(in crate::tensor) fn shape_weight(&self) -> Shape {
        let [rows, columns] = self.kernel;
        Shape::from([self.channels_out, self.channels_in / self.how.groups, rows, columns])
    }
}

/// A kernel and its bias as a backend takes them.
struct Weights {
    w: Tensor,
    bias: Option<Tensor>,
}

impl Weights {
    fn new(operation: &'static str, x: &Tensor, w: &Tensor, bias: Option<&Tensor>, channels: usize) -> Result<Self> {
        x.expect_same_kind(operation, w)?;
        if let Some(bias) = bias {
            x.expect_same_kind(operation, bias)?;
            if bias.shape() != Shape::from([channels]) {
                let expected = format!("a bias of [{channels}]");
                return Err(TensorError::shapes(operation, bias.shape(), w.shape(), expected));
            }
        }
        Ok(Weights { w: w.detach().to_layout(Layout::Rows)?, bias: bias.map(Tensor::detach) })
    }

    fn bias(&self) -> Option<Slice<'_>> {
        self.bias.as_ref().map(Tensor::slice)
    }
}

/// The gradients of w and of the bias; the kernels give both at once.
fn weight_gradients(
    x: &Tensor,
    norm: Option<&Normalised<'_>>,
    dy: &Tensor,
    sizes: &ConvSizes,
) -> Result<[Option<Tensor>; 2]> {
    let (dw, dbias) = x.device().conv2d_weight(x.slice(), norm, dy.slice(), sizes)?;
    let dw = x.derive(dw, sizes.shape_weight(), Layout::Rows);
    Ok([Some(dw), Some(x.derive(dbias, Shape::from([sizes.channels_out]), Layout::Rows))])
}

impl Tensor {
    /// The convolution of images (N, C, H, W) with weights (O, C / groups, kernel rows, kernel columns): each output
    /// channel sums the products of the kernel with the pixels below it, as PyTorch's `conv2d` does.
    ///
    /// # Errors
    /// Where shapes do not go together, the kernel does not fit into the padded image, or dtypes or devices differ.
    pub fn conv2d(&self, w: &Tensor, bias: Option<&Tensor>, how: &Conv2d) -> Result<Tensor> {
        Ok(self.conv2d_fused(None, w, bias, how, &Epilogue::default())?.y)
    }

    /// The transposed convolution of images (N, C, H, W) with weights (C, O / groups, kernel rows, kernel columns):
    /// the gradient of a convolution with respect to its input, as PyTorch's `conv_transpose2d` does.
    ///
    /// # Errors
    /// As [`Tensor::conv2d`], and where the output padding is not below the stride or the dilation.
    pub fn conv_transpose2d(&self, w: &Tensor, bias: Option<&Tensor>, how: &ConvTranspose2d) -> Result<Tensor> {
        let sizes = ConvSizes::transposed(self, w, how)?;
        let weights = Weights::new("conv_transpose2d", self, w, bias, sizes.channels_in)?;
        let x = self.detach().to_layout(Layout::Channels)?;
        let y = x.device.conv2d_data(x.slice(), weights.w.slice(), &sizes, weights.bias())?;
        let y = x.derive(y, sizes.shape_in(), Layout::Channels);
        let inputs: Vec<&Tensor> = [self, w].into_iter().chain(bias).collect();
        let (wants_x, wants_w) = (self.wants_gradient(), w.wants_gradient());
        let wants_bias = bias.map(Tensor::wants_gradient);
        let w = weights.w;
        let pull = move |dy: &Tensor| {
            let dy = dy.to_layout(Layout::Channels)?;
            let plain = ConvEpilogue::default();
            let dx = wants_x.then(|| x.device.conv2d(dy.slice(), None, w.slice(), &sizes, &plain)).transpose()?;
            let dx = dx.map(|dx| x.derive(dx.y, x.shape, Layout::Channels));
            let dw = if wants_w { weight_gradients(&dy, None, &x, &sizes)?[0].take() } else { None };
            let mut gradients = vec![dx, dw];
            if let Some(wanted) = wants_bias {
                gradients.push(wanted.then(|| dy.sum(&[0, 2, 3], false)).transpose()?);
            }
            Ok(gradients)
        };
        Ok(y.record_all("conv_transpose2d", &inputs, pull))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{Cpu, DType};

    fn zeros(shape: impl Into<Shape>) -> Tensor {
        Tensor::zeros(&Cpu::device(), shape).expect("zeros")
    }

    /// Zeros on the device of another tensor.
    fn beside(x: &Tensor, shape: impl Into<Shape>) -> Tensor {
        Tensor::zeros(x.device(), shape).expect("zeros")
    }

    fn refused(x: [usize; 4], w: [usize; 4], how: &Conv2d) -> String {
        let x = zeros(x);
        x.conv2d(&beside(&x, w), None, how).expect_err("wrong sizes").to_string()
    }

    #[test]
    fn wrong_sizes_are_refused_with_both_shapes() {
        let plain = Conv2d::default();
        let message = refused([1, 3, 8, 8], [4, 2, 3, 3], &plain);
        assert!(message.contains("[1, 3, 8, 8] and [4, 2, 3, 3]"), "{message}");
        for how in [
            Conv2d { stride: [0, 1], ..plain },
            Conv2d { dilation: [1, 0], ..plain },
            Conv2d { groups: 0, ..plain },
            Conv2d { groups: 2, ..plain },
            Conv2d { dilation: [8, 1], ..plain },
            Conv2d { dilation: [usize::MAX, 1], ..plain },
            Conv2d { padding: [usize::MAX, 0], ..plain },
            Conv2d { padding: [usize::MAX / 4, usize::MAX / 4], ..plain },
        ] {
            let message = refused([1, 3, 8, 8], [4, 3, 3, 3], &how);
            assert!(message.contains("[1, 3, 8, 8] and [4, 3, 3, 3]"), "{how:?}: {message}");
        }
        assert!(refused([1, 3, 0, 8], [4, 3, 1, 1], &plain).contains("at least 1"));
        assert!(refused([1, 3, 8, 8], [4, 3, 9, 3], &plain).contains("a kernel inside the image"));
    }

    #[test]
    fn wrong_transposed_sizes_are_refused() {
        let (x, plain) = (zeros([1, 3, 4, 4]), ConvTranspose2d::default());
        let refused = |w: [usize; 4], how: &ConvTranspose2d| {
            x.conv_transpose2d(&beside(&x, w), None, how).expect_err("wrong sizes").to_string()
        };
        assert!(refused([4, 2, 3, 3], &plain).contains("[1, 3, 4, 4] and [4, 2, 3, 3]"));
        assert!(refused([3, 2, 3, 3], &ConvTranspose2d { groups: 2, ..plain }).contains("2 groups"));
        assert!(refused([3, 2, 3, 3], &ConvTranspose2d { padding: [3; 2], ..plain }).contains("padding leaves"));
        let far = ConvTranspose2d { output_padding: [0, 1], ..plain };
        assert!(refused([3, 2, 3, 3], &far).contains("an output padding below"));
        let stride = ConvTranspose2d { stride: [usize::MAX, 1], ..plain };
        assert!(refused([3, 2, 3, 3], &stride).contains("[3, 2, 3, 3]"));
    }

    #[test]
    fn what_does_not_go_with_the_output_is_refused() {
        let x = zeros([1, 3, 4, 4]);
        let (w, plain) = (beside(&x, [6, 3, 1, 1]), Conv2d::default());
        let bias = beside(&x, [5]);
        let message = x.conv2d(&w, Some(&bias), &plain).expect_err("a bias of 5").to_string();
        assert!(message.contains("[5] and [6, 3, 1, 1]"), "{message}");
        let narrow = w.to_dtype(DType::Bf16).expect("bf16");
        assert!(matches!(x.conv2d(&narrow, None, &plain), Err(TensorError::DTypes { .. })));
    }

    #[test]
    fn no_images_give_no_images_and_gradients_of_zero() {
        let x = zeros([0, 3, 4, 4]);
        let w = beside(&x, [2, 3, 3, 3]).with_gradient();
        let y = x.conv2d(&w, None, &Conv2d::default()).expect("nothing");
        assert_eq!(y.shape(), Shape::from([0, 2, 2, 2]));
        y.backward_with(&beside(&x, [0, 2, 2, 2])).expect("gradients");
        assert_eq!(w.gradient().expect("a gradient").to_vec().expect("values"), vec![0.0; 54]);
    }

    /// Images so big that sums in f32 alone would lose the small numbers behind the great ones.
    #[test]
    fn gradients_of_biases_are_summed_exactly() {
        for (channels, groups) in [(8, 1), (3, 1), (8, 8)] {
            let x = zeros([1, channels, 160, 200]);
            let w = beside(&x, [channels, channels / groups, 3, 3]).with_gradient();
            let bias = beside(&x, [channels]).with_gradient();
            let how = Conv2d { padding: [1; 2], groups, ..Conv2d::default() };
            let y = x.conv2d(&w, Some(&bias), &how).expect("images");
            let values: Vec<f32> = (0..y.len()).map(|i| 1.0 + (i as f32 * 0.618_034).fract()).collect();
            let wanted = values.chunks(160 * 200).map(|plane| plane.iter().map(|x| f64::from(*x)).sum::<f64>());
            y.backward_with(&Tensor::new(x.device(), y.shape(), &values).expect("gradients")).expect("gradients");
            let found = bias.gradient().and_then(|gradient| gradient.to_vec().ok()).expect("a gradient");
            for (found, wanted) in found.into_iter().zip(wanted) {
                assert!((f64::from(found) - wanted).abs() < 1e-7 * wanted, "{found}, expected {wanted}");
            }
        }
    }
}
