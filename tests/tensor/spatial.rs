//! Transforms, neighbours and splatting against NumPy, PyTorch and PyTorch Geometric.

use gustfront::tensor::cases::Array;
use gustfront::tensor::{
    Cpu, Device, Graph, GraphAttention, Interpolation, Level, Norm, Result, Splatting, Tensor, Window,
};
use serde_json::Value;

use crate::assert_close;
use crate::fixtures::{Fixtures, pytorch};

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

/// A case of the manifest: its arguments, inputs, outputs and gradients.
struct Stored<'a> {
    fixtures: &'a Fixtures,
    name: &'a str,
    arguments: &'a Value,
    device: Device,
}

impl Stored<'_> {
    fn number(&self, key: &str) -> Option<usize> {
        self.arguments[key].as_u64().map(|n| n as usize)
    }

    fn leaf(&self, input: &str) -> Tensor {
        self.fixtures.tensor(&self.device, &format!("in.{}.{input}", self.name)).with_gradient()
    }

    /// Compares an output, and sends its stored gradient back.
    fn check_output(&self, output: &str, y: &Tensor) {
        let key = format!("out.{}.{output}", self.name);
        assert_close(&key, &y.to_vec().expect("values"), self.fixtures.array(&key), TOLERANCE);
        let gradient = self.fixtures.tensor(&self.device, &format!("in.{}.d_{output}", self.name));
        y.backward_with(&gradient).unwrap_or_else(|e| panic!("{key}: {e}"));
    }

    fn check_gradient(&self, input: &str, x: &Tensor) {
        let key = format!("g.{}.{input}", self.name);
        let gradient = x.gradient().unwrap_or_else(|| panic!("{key}: none"));
        let wanted = self.fixtures.array(&key);
        // A gradient is a sum whose terms may cancel: it is off by the rounding of the greatest ones.
        let greatest = wanted.values.iter().fold(1.0, |greatest: f64, x| greatest.max(x.abs()));
        assert_close(&key, &gradient.to_vec().expect("values"), wanted, (TOLERANCE.0, TOLERANCE.1 * greatest));
    }
}

/// Runs `check` on every case of the manifest whose operation begins with one of `operations`; how many there were.
fn with_stored(operations: &[&str], check: impl Fn(&Stored<'_>, &str)) -> Option<usize> {
    let (fixtures, cases) = pytorch()?;
    let mut count = 0;
    for case in &cases {
        let (Some(name), Some(operation)) = (case["case"].as_str(), case["op"].as_str()) else { continue };
        if operations.iter().any(|wanted| operation.starts_with(wanted)) {
            let stored = Stored { fixtures: &fixtures, name, arguments: &case["args"], device: Cpu::device() };
            check(&stored, operation);
            count += 1;
        }
    }
    Some(count)
}

/// The operation that a case of one image names; `None` for ways of interpolating that are not offered.
fn image_operation(stored: &Stored<'_>, operation: &str, x: &Tensor) -> Option<Result<Tensor>> {
    let size = |i: usize| stored.arguments["size"][i].as_u64().map_or(0, |n| n as usize);
    let interpolate = |kind| Some(x.resize(size(0), size(1), kind));
    let kernel = stored.number("kernel").unwrap_or(1);
    let stride = stored.number("stride").unwrap_or(kernel);
    let window = Window::square(kernel, stride, stored.number("padding").unwrap_or(0));
    let output = stored.number("output").unwrap_or(1);
    match (operation, stored.arguments["mode"].as_str()) {
        ("max_pool2d", _) => Some(x.max_pool2d(window)),
        ("avg_pool2d", _) => Some(x.avg_pool2d(window)),
        ("adaptive_avg_pool2d", _) => Some(x.adaptive_avg_pool2d(output, output)),
        ("interpolate", Some("nearest")) => interpolate(Interpolation::Nearest),
        ("interpolate", Some("bilinear")) => {
            let align_corners = stored.arguments["align_corners"].as_bool().unwrap_or(false);
            interpolate(Interpolation::Bilinear { align_corners })
        }
        _ => None,
    }
}

#[test]
fn pooling_and_resizing_equal_pytorchs() {
    let operations = ["max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "interpolate"];
    let count = with_stored(&operations, |stored, operation| {
        let x = stored.leaf("x");
        let Some(y) = image_operation(stored, operation, &x) else {
            return println!("not offered: {} ({operation} {})", stored.name, stored.arguments);
        };
        stored.check_output("y", &y.unwrap_or_else(|e| panic!("{}: {e}", stored.name)));
        stored.check_gradient("x", &x);
    });
    assert!(count != Some(0), "no cases");
}

/// x · wᵀ of rows, by broadcasting.
fn linear(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    x.unsqueeze(1)?.mul(weight)?.sum(&[-1], false)
}

#[test]
fn graph_attention_equals_pytorch_geometrics() {
    let count = with_stored(&["torch_geometric GATConv"], |stored, _| {
        graph_attention(stored).unwrap_or_else(|e| panic!("{}: {e}", stored.name));
    });
    assert!(count != Some(0), "no cases");
}

fn graph_attention(stored: &Stored<'_>) -> Result<()> {
    let (heads, channels) = (stored.number("heads").unwrap_or(1), stored.number("out").unwrap_or(1));
    let attributed = stored.fixtures.find(&format!("in.{}.edge_attr", stored.name)).is_some();
    let mut inputs = vec!["x", "att_src", "att_dst", "bias", "lin.weight"];
    inputs.extend(["att_edge", "lin_edge.weight", "edge_attr"].into_iter().filter(|_| attributed));
    let leaves: Vec<Tensor> = inputs.iter().map(|input| stored.leaf(input)).collect();
    let [x, source, target, bias, weight, edge @ ..] = &leaves[..] else { panic!("five inputs") };
    let edges = stored.fixtures.indices(&stored.device, &format!("in.{}.edge_index", stored.name));
    let graph = Graph::new(&edges, x.shape()[0])?;
    let (graph, attributes) = graph.with_self_loops(edge.get(2))?;
    let found: Vec<f64> =
        [graph.sources().to_indices()?, graph.targets().to_indices()?].concat().into_iter().map(f64::from).collect();
    assert_eq!(found, stored.fixtures.array(&format!("out.{}.edge_index_out", stored.name)).values);
    let scores = match (edge, &attributes) {
        ([by, weight, _], Some(attributes)) => {
            let projected = linear(attributes, weight)?.reshape([graph.edges(), heads, channels])?;
            Some(projected.mul(by)?.sum(&[2], false)?)
        }
        _ => None,
    };
    let attention = GraphAttention {
        source: &source.squeeze(0)?,
        target: &target.squeeze(0)?,
        edge: scores.as_ref(),
        negative_slope: stored.arguments["negative_slope"].as_f64().unwrap_or(0.2) as f32,
        concat: stored.arguments["concat"].as_bool().unwrap_or(true),
        bias: Some(bias),
    };
    let nodes = linear(x, weight)?.reshape([graph.nodes(), heads, channels])?;
    let (y, weights) = nodes.graph_attention(&graph, attention)?;
    stored.check_output("y", &y);
    stored.check_output("alpha", &weights);
    inputs.iter().zip(&leaves).for_each(|(input, x)| stored.check_gradient(input, x));
    Ok(())
}
