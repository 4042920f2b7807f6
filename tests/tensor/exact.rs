//! Gradients in f64 by plain loops, where stored f32 ones are further from them than the tolerance.

use gustfront::tensor::Conv2d;
use gustfront::tensor::cases::Array;

/// The gradient of the weights of shape `w` of a convolution of x whose output has the gradient dy: Σ x · dy over every
/// pixel that an element of the kernel meets. That of a transposed convolution has x and dy change places.
pub(crate) fn conv_weight(x: &Array, dy: &Array, w: &[usize], how: &Conv2d) -> Vec<f64> {
    let per_group = w[0] / how.groups;
    let element = |index: &[usize]| {
        let [o, c, a, b] = [index[0], index[1], index[2], index[3]];
        let channel = o / per_group * w[1] + c;
        let inside = |out: usize, kernel: usize, axis: usize| {
            let at = (out * how.stride[axis] + kernel * how.dilation[axis]).checked_sub(how.padding[axis]);
            at.filter(|at| *at < x.shape[2 + axis])
        };
        let mut sum = 0.0;
        for n in 0..dy.shape[0] {
            for (row, column) in (0..dy.shape[2]).flat_map(|row| (0..dy.shape[3]).map(move |column| (row, column))) {
                if let Some((i, j)) = inside(row, a, 0).zip(inside(column, b, 1)) {
                    sum += x.at(&[n, channel, i, j]) * dy.at(&[n, o, row, column]);
                }
            }
        }
        sum
    };
    Array::from_fn(w, element).values
}

/// The gradient of the bias of a convolution whose output has the gradient dy.
pub(crate) fn conv_bias(dy: &Array) -> Vec<f64> {
    let (channels, pixels) = (dy.shape[1], dy.shape[2] * dy.shape[3]);
    let planes = |channel: usize| dy.values.chunks_exact(pixels).skip(channel).step_by(channels);
    (0..channels).map(|channel| planes(channel).flatten().sum()).collect()
}

/// The gradient of the tanh approximation of GELU at x, times dy.
pub(crate) fn gelu_tanh(x: &Array, dy: &Array) -> Vec<f64> {
    let slope = (2.0 / std::f64::consts::PI).sqrt();
    let gradient = |x: f64| {
        let t = (slope * (x + 0.044715 * x.powi(3))).tanh();
        0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * slope * (1.0 + 3.0 * 0.044715 * x * x)
    };
    x.values.iter().zip(&dy.values).map(|(x, dy)| gradient(*x) * dy).collect()
}
