//! Transforms, neighbours and splatting against NumPy and PyTorch.

use gustfront::tensor::cases::Array;
use gustfront::tensor::{Cpu, Level, Norm, Splatting, Tensor};

use crate::assert_close;
use crate::fixtures::Fixtures;

/// What f32 results are compared with stored ones to.
const TOLERANCE: (f64, f64) = (1e-5, 1e-6);

/// Numbers in [-0.5, 0.5) without a pattern: the formula of `tests/reference/spatial.py`.
fn value(i: usize, j: usize, seed: usize) -> f32 {
    ((i * 1103 + j * 2741 + i * j * 17 + i * i * 29 + seed * 977) % 8192) as f32 / 8192.0 - 0.5
}

/// Rounding in f32 grows with the whole of a transform, not with the number at one place.
fn of_scale(wanted: &Array) -> (f64, f64) {
    let squares: f64 = wanted.values.iter().map(|x| x * x).sum();
    (0.0, 5e-6 * (squares / wanted.values.len() as f64).sqrt())
}

/// Rows and columns of (H, W, …) with `width` numbers a place.
fn part(values: &[f32], columns: usize, width: usize, rows: &[usize], of_columns: Option<&[usize]>) -> Vec<f32> {
    let all: Vec<usize> = (0..columns).collect();
    let places =
        rows.iter().flat_map(|row| of_columns.unwrap_or(&all).iter().map(move |column| row * columns + column));
    places.flat_map(|place| values[place * width..(place + 1) * width].iter().copied()).collect()
}

#[test]
fn transforms_of_a_whole_grid_equal_numpys() {
    let fixtures = Fixtures::own("spatial.safetensors");
    let rows: Vec<usize> = (0..1059).collect();
    let field: Vec<f32> = (0..1059 * 1799).map(|n| value(n / 1799, n % 1799, 1)).collect();
    let parts: Vec<f32> =
        (0..1059 * 900).flat_map(|n| [value(n / 900, n % 900, 2), value(n / 900, n % 900, 3)]).collect();
    for level in Level::available() {
        let device = Cpu::with_level(level);
        let check = |name: &str, found: &[f32]| {
            let wanted = fixtures.array(name);
            assert_close(&format!("{name} {level:?}"), found, wanted, of_scale(wanted));
        };
        let x = Tensor::new(&device, [1059, 1799], &field).expect("a field");
        let spectrum = x.rfft2(Norm::Backward).expect("a spectrum");
        let values = spectrum.to_vec().expect("values");
        check("rfft2.rows", &part(&values, 900, 2, &[0, 353, 1058], None));
        check("rfft2.columns", &part(&values, 900, 2, &rows, Some(&[0, 257, 899])));
        let back = spectrum.irfft2(1799, Norm::Backward).and_then(|y| y.sub(&x)).and_then(|y| y.abs());
        let worst = back.and_then(|y| y.max(&[], false)).and_then(|y| y.item()).expect("a number");
        assert!(worst < 2e-6, "{worst} away after there and back");
        let z = Tensor::new(&device, [1059, 900, 2], &parts).expect("a spectrum");
        let values = z.irfft2(1799, Norm::Ortho).and_then(|y| y.to_vec()).expect("values");
        check("irfft2.rows", &part(&values, 1799, 1, &[0, 529, 1058], None));
        check("irfft2.columns", &part(&values, 1799, 1, &rows, Some(&[0, 900, 1798])));
    }
}

#[test]
fn neighbours_equal_numpys() {
    let fixtures = Fixtures::own("spatial.safetensors");
    let device = Cpu::device();
    let found = fixtures.tensor(&device, "neighbours.points").nearest_neighbours(7, false);
    let found: Vec<f64> = found.and_then(|y| y.to_indices()).expect("indices").into_iter().map(f64::from).collect();
    assert_eq!(found, fixtures.array("neighbours.indices").values);
}

#[test]
fn splatting_equals_pytorchs() {
    let fixtures = Fixtures::own("spatial.safetensors");
    for (name, normalised) in [("sum", false), ("mean", true)] {
        for level in Level::available() {
            let device = Cpu::with_level(level);
            let [features, positions] =
                ["splat.features", "splat.positions"].map(|name| fixtures.tensor(&device, name).with_gradient());
            let splatting = Splatting { sigma: 1.5, reach: 3.0, normalised };
            let y = features.splat(&positions, 21, 19, splatting).expect("a grid");
            y.backward_with(&fixtures.tensor(&device, "splat.dy")).expect("gradients");
            let check = |what: &str, x: &Tensor, tolerance: (f64, f64)| {
                let what = format!("splat.{name}{what}");
                assert_close(&what, &x.to_vec().expect("values"), fixtures.array(&what), tolerance);
            };
            check("", &y, TOLERANCE);
            // Gradients are sums over some sixty cells whose terms cancel.
            check(".d_features", &features.gradient().expect("a gradient"), (1e-5, 1e-5));
            check(".d_positions", &positions.gradient().expect("a gradient"), (1e-5, 1e-5));
        }
    }
}
