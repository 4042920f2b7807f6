//! Infinities, NaN, zeros of both signs and the ends of the range; ties; indices of the nearest point: as PyTorch has them.

use gustfront::tensor::{Cpu, Interpolation, Level, Tensor};

#[path = "../common/special.rs"]
mod table;

#[test]
fn special_numbers_are_as_pytorchs() {
    for level in Level::available() {
        let differences = table::differences(&Cpu::with_level(level));
        assert!(differences.is_empty(), "{level:?}:\n{}", differences.join("\n"));
    }
}

#[test]
fn what_is_cut_off_has_no_gradient_even_of_infinity() {
    let device = Cpu::device();
    let pulled = |of: fn(&Tensor) -> gustfront::tensor::Result<Tensor>| {
        let x = Tensor::new(&device, [2], &[-2.0, 2.0]).expect("values").with_gradient();
        let dy = Tensor::new(&device, [2], &[f32::INFINITY, f32::NAN]).expect("values");
        of(&x).and_then(|y| y.backward_with(&dy)).expect("gradients");
        x.gradient().expect("a gradient").to_vec().expect("values")
    };
    assert_eq!(pulled(Tensor::relu)[0], 0.0);
    assert_eq!(pulled(|x| x.clamp(-1.0, 1.0)), [0.0, 0.0]);
    assert_eq!(pulled(|x| x.powf(0.0)), [0.0, 0.0]);
    assert_eq!(pulled(|x| x.maximum(&x.detach().mul_scalar(0.0)?))[0], 0.0);
}

/// The first index that f32 puts before the border of a cell, from PyTorch 2.15's `interpolate(mode="nearest")`.
#[test]
fn the_nearest_point_is_pytorchs() {
    let device = Cpu::device();
    let nearest = |from: usize, to: usize| {
        let values: Vec<f32> = (0..from).map(|i| i as f32).collect();
        let x = Tensor::new(&device, [1, 1, 1, from], &values).expect("values");
        x.resize(1, to, Interpolation::Nearest).and_then(|y| y.to_vec()).expect("values")
    };
    assert_eq!(nearest(62, 14), [0, 4, 8, 13, 17, 22, 26, 30, 35, 39, 44, 48, 53, 57].map(|i| i as f32));
    assert_eq!((nearest(84, 20)[15], nearest(93, 21)[14]), (62.0, 61.0));
    assert_eq!(nearest(3, 6), [0.0, 0.0, 1.0, 1.0, 2.0, 2.0]);
}

/// Elements that are equally great share the gradient, as in PyTorch's `amax`.
#[test]
fn extremes_share_their_gradient() {
    let device = Cpu::device();
    let x = Tensor::new(&device, [2, 3], &[1.0, 5.0, 5.0, -2.0, -3.0, 0.0]).expect("values").with_gradient();
    let dy = Tensor::new(&device, [2], &[2.0, 3.0]).expect("values");
    x.max(&[1], false).and_then(|y| y.backward_with(&dy)).expect("gradients");
    assert_eq!(x.gradient().expect("a gradient").to_vec(), Ok(vec![0.0, 1.0, 1.0, 0.0, 0.0, 3.0]));
    let x = Tensor::new(&device, [2, 2], &[4.0, 1.0, 1.0, f32::INFINITY]).expect("values").with_gradient();
    x.min(&[], false).and_then(|y| y.backward()).expect("gradients");
    assert_eq!(x.gradient().expect("a gradient").to_vec(), Ok(vec![0.0, 0.5, 0.5, 0.0]));
    assert!(Tensor::zeros(&device, [2, 0]).and_then(|x| x.max(&[1], false)).is_err(), "nothing has no greatest");
}
