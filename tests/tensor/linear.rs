//! Products, softmax, normalisation and attention where the list of cases does not reach.

use std::sync::LazyLock;

use gustfront::domain::Philox;
use gustfront::tensor::{
    AttentionOptions, Conv2d, Cpu, DType, Device, Interpolation, Layout, Level, LinearTail, MAX_RANK, MultiHead, Norm,
    NormTail, Result, Shape, Tensor, TensorError,
};

/// One device for tensors that meet.
static DEVICE: LazyLock<Device> = LazyLock::new(Cpu::device);

fn normal(number: u32, len: usize) -> Vec<f32> {
    (0..len).map(|i| Philox::new(11, number).normal([i as u32, 0, 0, 0])[0] as f32).collect()
}

fn tensor(number: u32, shape: impl Into<Shape>) -> Tensor {
    let shape = shape.into();
    Tensor::new(&DEVICE, shape, &normal(number, shape.len())).expect("a tensor")
}

/// The largest difference from the product in f64, relative to what rounding of such sums allows.
fn worst_product(level: Level, [rows, inner, columns]: [usize; 3], transposed: [bool; 2]) -> f64 {
    let device = Cpu::with_level(level);
    let (x, y) = (normal(0, rows * inner), normal(1, inner * columns));
    let shape = |[first, second]: [usize; 2], turned| if turned { [second, first] } else { [first, second] };
    let left = Tensor::new(&device, shape([rows, inner], transposed[0]), &x).expect("x");
    let right = Tensor::new(&device, shape([inner, columns], transposed[1]), &y).expect("y");
    let found = left.matmul_with(&right, transposed[0], transposed[1]).expect("a product");
    assert_eq!(found.shape().sizes(), [rows, columns]);
    let x_at = |row: usize, k: usize| if transposed[0] { x[k * rows + row] } else { x[row * inner + k] };
    let y_at = |k: usize, column: usize| if transposed[1] { y[column * inner + k] } else { y[k * columns + column] };
    let error = |(index, found): (usize, f32)| {
        let (row, column) = (index / columns, index % columns);
        let wanted: f64 = (0..inner).map(|k| f64::from(x_at(row, k)) * f64::from(y_at(k, column))).sum();
        (f64::from(found) - wanted).abs() / (inner as f64).sqrt()
    };
    found.to_vec().expect("values").into_iter().enumerate().map(error).fold(0.0, f64::max)
}

/// Fails where a product is off by more than rounding, in any transposition on any level.
fn assert_products(sizes: impl IntoIterator<Item = [usize; 3]> + Clone) {
    for level in Level::available() {
        for size in sizes.clone() {
            for transposed in [[false, false], [false, true], [true, false], [true, true]] {
                let worst = worst_product(level, size, transposed);
                // Standard normal terms: a rounding a step of the running sum.
                assert!(worst < 2e-6 * 4.0, "{level:?} {size:?} {transposed:?}: {worst}");
            }
        }
    }
}

/// Several blocks along every dimension, sums cut into parts, single rows and columns.
#[test]
fn products_of_every_size_are_right_on_every_level() {
    assert_products([
        [1, 513, 130],
        [4, 33, 5],
        [5, 700, 1],
        [121, 400, 530],
        [197, 20, 1025],
        [17, 9000, 3],
        [3, 1, 200],
        [33, 129, 70],
        [96, 385, 300],
        [300, 65, 64],
    ]);
}

/// Every number of rows and columns up to beyond the greatest tile, so that each remainder of a tile is met.
#[test]
fn products_of_every_remainder_are_right() {
    assert_products((1..27).map(|rows| [rows, 5, 40]));
    assert_products((1..67).map(|columns| [13, 5, columns]));
    assert_products((1..20).map(|inner| [7, inner, 65]));
    assert_products((64..84).map(|inner| [8, inner, 7]));
}

#[test]
fn refusals_name_both_shapes() {
    let (x, y) = (tensor(0, [2, 3]), tensor(1, [4, 5]));
    let told = |error: TensorError, parts: [&str; 2]| {
        let text = error.to_string();
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    };
    told(x.matmul(&y).expect_err("inner sizes"), ["[2, 3]", "[4, 5]"]);
    told(x.matmul(&tensor(2, [])).expect_err("a number"), ["[2, 3]", "[]"]);
    told(tensor(2, [3]).matmul_with(&y, true, false).expect_err("a vector"), ["[3]", "[4, 5]"]);
    told(tensor(2, [2, 2, 3]).matmul(&tensor(3, [3, 3, 4])).expect_err("batches"), ["[2, 2, 3]", "[3, 3, 4]"]);
    told(x.linear(&y, None).expect_err("inputs"), ["[2, 3]", "[4, 5]"]);
    let weight = tensor(2, [4, 3]);
    told(x.linear(&weight, Some(&y)).expect_err("a bias"), ["[4, 3]", "[4, 5]"]);
    let tail = LinearTail { residual: Some(&y), ..LinearTail::default() };
    told(x.linear_with(&weight, tail).expect_err("a residual"), ["[2, 4]", "[4, 5]"]);
    let tail = NormTail { weight: Some(&y), ..NormTail::default() };
    told(x.group_norm(3, 1e-5, tail).expect_err("a weight"), ["[2, 3]", "[4, 5]"]);
    told(x.layer_norm(&tensor(2, [4]), None, 1e-5).expect_err("a weight"), ["[2, 3]", "[4]"]);
    let (q, k) = (tensor(0, [1, 2, 3, 4]), tensor(1, [1, 2, 3, 5]));
    let options = AttentionOptions::default();
    told(q.attention(&k, &k, options).expect_err("sizes"), ["[1, 2, 3, 4]", "[1, 2, 3, 5]"]);
    told(q.attention(&q, &tensor(1, [1, 2, 4, 4]), options).expect_err("values"), ["[1, 2, 3, 4]", "[1, 2, 4, 4]"]);
    let options = AttentionOptions { mask: Some(&x), ..options };
    told(q.attention(&q, &q, options).expect_err("a mask"), ["[2, 3]", "[1, 2, 3, 3]"]);
}

#[test]
fn what_cannot_be_is_refused() {
    let x = tensor(0, [2, 6, 3]);
    assert!(x.group_norm(4, 1e-5, NormTail::default()).is_err());
    assert!(x.group_norm(0, 1e-5, NormTail::default()).is_err());
    assert!(tensor(0, [6]).group_norm(1, 1e-5, NormTail::default()).is_err());
    for epsilon in [-1e-5, f32::NAN, f32::INFINITY] {
        assert!(matches!(x.group_norm(2, epsilon, NormTail::default()), Err(TensorError::Number { .. })));
        assert!(matches!(x.layer_norm_over(1, None, None, epsilon), Err(TensorError::Number { .. })));
    }
    assert!(x.layer_norm_over(0, None, None, 1e-5).is_err());
    assert!(x.layer_norm_over(4, None, None, 1e-5).is_err());
    assert!(x.softmax(3).is_err() && x.softmax(-4).is_err());
    assert!(Tensor::indices(&DEVICE, [2, 2], &[1; 4]).expect("indices").softmax(0).is_err());
    let one = tensor(0, [1, 3]);
    let (mean, variance) = (tensor(1, [3]), tensor(2, [3]));
    assert!(one.batch_norm_training(&mean, &variance, 0.1, 1e-5, NormTail::default()).is_err());
    let wide = tensor(0, [1; MAX_RANK]);
    assert!(wide.matmul(&tensor(0, [1])).is_ok());
    let (weight, out) = (tensor(0, [12, 4]), tensor(1, [4, 4]));
    let with = MultiHead {
        heads: 3,
        in_weight: &weight,
        in_bias: None,
        out_weight: &out,
        out_bias: None,
        options: AttentionOptions::default(),
    };
    assert!(tensor(2, [1, 2, 4]).multi_head_attention(None, &with).is_err());
    assert!(tensor(2, [1, 2, 4]).multi_head_attention(None, &MultiHead { heads: 2, ..with }).is_ok());
}

#[test]
fn empty_tensors_stay_empty() {
    let none = Tensor::zeros(&DEVICE, [0, 4, 3, 2]).expect("nothing");
    assert_eq!(none.group_norm(2, 1e-5, NormTail::default()).expect("nothing").len(), 0);
    assert_eq!(none.layer_norm_over(1, None, None, 1e-5).expect("nothing").len(), 0);
    assert_eq!(none.softmax(1).expect("nothing").len(), 0);
    assert_eq!(none.matmul(&tensor(0, [2, 5])).expect("nothing").shape(), Shape::from([0, 4, 3, 5]));
    assert_eq!(none.linear(&tensor(0, [5, 2]), None).expect("nothing").shape(), Shape::from([0, 4, 3, 5]));
    assert_eq!(none.attention(&none, &none, AttentionOptions::default()).expect("nothing").len(), 0);
    let no_keys = Tensor::zeros(&DEVICE, [1, 1, 0, 2]).expect("nothing");
    let query = tensor(0, [1, 1, 3, 2]).with_gradient();
    let found = query.attention(&no_keys, &no_keys, AttentionOptions::default()).expect("zeros");
    assert_eq!(found.to_vec().expect("values"), [0.0; 6]);
    found.sum(&[], false).expect("a sum").backward().expect("gradients");
    assert_eq!(query.gradient().expect("a gradient").to_vec().expect("values"), [0.0; 6]);
}

/// A mean ten thousand times the spread, over several blocks, in both layouts.
#[test]
fn a_great_mean_does_not_hide_the_variance() {
    let shape = [2, 4, 97, 101];
    let values: Vec<f32> = normal(3, 2 * 4 * 97 * 101).into_iter().map(|x| 1e4 + x).collect();
    let group = 2 * 97 * 101;
    let mut wanted = Vec::new();
    for group in values.chunks(group) {
        let mean = group.iter().map(|x| f64::from(*x)).sum::<f64>() / group.len() as f64;
        let variance = group.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / group.len() as f64;
        wanted.extend(group.iter().map(|x| (f64::from(*x) - mean) / (variance + 1e-5).sqrt()));
    }
    let close = |found: Tensor, what: &str| {
        for (found, wanted) in found.to_vec().expect("values").into_iter().zip(&wanted) {
            assert!((f64::from(found) - wanted).abs() < 2e-6 + 1e-5 * wanted.abs(), "{what}: {found} for {wanted}");
        }
    };
    let x = Tensor::new(&DEVICE, shape, &values).expect("values");
    for layout in [Layout::Rows, Layout::Channels] {
        let x = x.to_layout(layout).expect("a layout");
        close(x.group_norm(2, 1e-5, NormTail::default()).expect("group norm"), "group norm");
    }
    let rows = x.reshape([4, group]).expect("rows");
    close(rows.layer_norm_over(1, None, None, 1e-5).expect("layer norm"), "layer norm");
}

#[test]
fn given_moments_are_used() {
    let x = tensor(0, [2, 6, 5, 5]);
    let moments = x.moments().expect("moments");
    assert_eq!(moments.shape(), Shape::from([3, 2, 6]));
    let plain = x.group_norm(3, 1e-5, NormTail::default()).expect("group norm").to_vec().expect("values");
    let given = |moments: &Tensor| x.group_norm(3, 1e-5, NormTail { moments: Some(moments), ..NormTail::default() });
    assert_eq!(given(&moments).expect("group norm").to_vec().expect("values"), plain);
    let others = given(&moments.mul_scalar(2.0).expect("others")).expect("group norm");
    assert_ne!(others.to_vec().expect("values"), plain);
    assert!(given(&moments.reshape([3, 12]).expect("a shape")).is_err());
}

/// Keys hidden by −∞, and a query that sees none: zeros, and gradients that are numbers.
#[test]
fn hidden_keys_have_no_share() {
    let device = &*DEVICE;
    let leaves = [0, 1, 2].map(|number| tensor(number, [1, 1, 3, 4]).with_gradient());
    let hidden = f32::NEG_INFINITY;
    let mask = [0.0, hidden, 0.0, hidden, hidden, hidden, 0.0, 0.0, 0.0];
    let mask = Tensor::new(device, [3, 3], &mask).expect("a mask");
    let options = AttentionOptions { mask: Some(&mask), ..AttentionOptions::default() };
    let found = leaves[0].attention(&leaves[1], &leaves[2], options).expect("attention");
    assert_eq!(found.to_vec().expect("values")[4..8], [0.0; 4]);
    found.sum(&[], false).expect("a sum").backward().expect("gradients");
    for leaf in &leaves {
        assert!(leaf.gradient().expect("a gradient").to_vec().expect("values").iter().all(|x| x.is_finite()));
    }
    assert_eq!(leaves[0].gradient().expect("a gradient").to_vec().expect("values")[4..8], [0.0; 4]);
    let wants = mask.detach().with_gradient();
    let options = AttentionOptions { mask: Some(&wants), ..options };
    assert!(leaves[0].attention(&leaves[1], &leaves[2], options).is_err());
}

#[test]
fn softmax_holds_great_numbers_and_hidden_ones() {
    let device = &*DEVICE;
    let x = Tensor::new(device, [2, 3], &[1e30, 1e30, -1e30, f32::NEG_INFINITY, 0.0, 0.0]).expect("values");
    assert_eq!(x.softmax(1).expect("shares").to_vec().expect("values"), [0.5, 0.5, 0.0, 0.0, 0.5, 0.5]);
    let y = x.transpose(0, 1).expect("columns").softmax(0).expect("shares");
    assert_eq!(y.to_vec().expect("values"), [0.5, 0.0, 0.5, 0.5, 0.0, 0.5]);
    let narrow = x.to_dtype(DType::Bf16).expect("bf16").log_softmax(1).expect("logarithms");
    assert_eq!(narrow.to_vec().expect("values")[3], f32::NEG_INFINITY);
}

/// A loop of many families asks the system for memory in its first rounds alone, however many threads share its tasks.
#[test]
fn memory_is_used_again() {
    for threads in [1, 2, 5] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(rounds);
    }
}

fn rounds() {
    let device = Cpu::device();
    let image = Tensor::new(&device, [1, 8, 33, 40], &normal(0, 8 * 33 * 40)).expect("an image").with_gradient();
    let weight = Tensor::new(&device, [40, 40], &normal(1, 1600)).expect("weights").with_gradient();
    let kernel = Tensor::new(&device, [8, 8, 3, 3], &normal(2, 576)).expect("weights").with_gradient();
    let how = Conv2d { padding: [1, 1], ..Conv2d::default() };
    let round = || -> Result<()> {
        let x = image.group_norm(2, 1e-5, NormTail::default())?.conv2d(&kernel, None, &how)?;
        let x = x.resize(66, 40, Interpolation::Bilinear { align_corners: false })?.rfft2(Norm::Ortho)?;
        let x = x.reshape([1, 8, 66, 42])?.narrow(3, 0, 40)?.to_layout(Layout::Rows)?.linear(&weight, None)?;
        let x = x.attention(&x, &x, AttentionOptions::default())?.softmax(-1)?;
        x.mul(&x)?.sum(&[], false)?.backward()
    };
    (0..2).for_each(|_| round().expect("a round"));
    let before = device.memory_use().allocations;
    (0..10).for_each(|_| round().expect("a round"));
    assert_eq!(device.memory_use().allocations, before);
}

/// Rows of which all keys have one low number in the mask are rows of equal shares, in gradients too, though the number
/// is so great that f32 holds neither a product nor a sum of shares beside it.
#[test]
fn rows_that_are_masked_alike_have_equal_shares() -> Result<()> {
    for (level, low) in Level::available().flat_map(|level| [-1e9, -3e38, f32::MIN].map(|low| (level, low))) {
        let device = Cpu::with_level(level);
        let leaf = |number: u32| Ok(Tensor::new(&device, [1, 1, 7, 4], &normal(number, 28))?.with_gradient());
        let gradients = |attend: &dyn Fn(&[Tensor], AttentionOptions<'_>) -> Result<Tensor>| -> Result<Vec<f32>> {
            let leaves = [0, 1, 2].map(leaf).into_iter().collect::<Result<Vec<_>>>()?;
            let mask = Tensor::full(&device, [7, 1], low)?;
            let y = attend(&leaves, AttentionOptions { mask: Some(&mask), ..AttentionOptions::default() })?;
            y.backward_with(&Tensor::new(&device, [1, 1, 7, 4], &normal(3, 28))?)?;
            let gradients = leaves.iter().filter_map(Tensor::gradient).map(|x| x.to_vec()).collect::<Result<Vec<_>>>();
            Ok([y.to_vec()?, gradients?.concat()].concat())
        };
        let found = gradients(&|x, options| x[0].attention(&x[1], &x[2], options))?;
        let wanted = gradients(&|x, options| x[0].attention_shares(&x[1], options)?.matmul(&x[2]))?;
        assert_eq!(wanted.len(), 4 * 28);
        for (found, wanted) in found.iter().zip(&wanted) {
            assert!((found - wanted).abs() < 2e-6, "{low} {level:?}: {found} for {wanted}");
        }
    }
    Ok(())
}
