//! The same bits for any number of threads: results and gradients of every case, and of work that is cut into many tasks.

use gustfront::tensor::cases::{Case, Input};
use gustfront::tensor::{
    AttentionOptions, Conv2d, ConvTranspose2d, Cpu, Device, Graph, GraphAttention, Layout, Level, Norm, NormTail,
    Penalty, Result, Splatting, Tensor, Weighting, Window,
};

/// Threads that are compared.
const THREADS: [usize; 3] = [1, 2, 5];

#[test]
fn threads_do_not_show_in_the_bits() {
    let pools = THREADS.map(|threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads"));
    for level in Level::available() {
        let device = Cpu::with_level(level);
        let small = gustfront::tensor::cases::all().into_iter().filter(|case| case.plain.is_some());
        for case in small.chain(many_tasks()) {
            let inputs = inputs(&case, &device).unwrap_or_else(|e| panic!("{}: {e}", case.name));
            let found = pools.each_ref().map(|pool| {
                pool.install(|| bits(&case, &inputs)).unwrap_or_else(|e| panic!("{} {level:?}: {e}", case.name))
            });
            assert!(found[0] == found[1] && found[0] == found[2], "{} {level:?}", case.name);
        }
    }
}

/// Numbers drawn once, images channels-last.
fn inputs(case: &Case, device: &Device) -> Result<Vec<Tensor>> {
    let drawn = |(input, number): (&Input, u32)| input.drawn(device, number)?.to_layout(Layout::Channels);
    case.inputs.iter().zip(0..).map(drawn).collect()
}

/// All results of a case, and the gradients of the sum of their squares.
fn bits(case: &Case, inputs: &[Tensor]) -> Result<Vec<u32>> {
    let leaf = |(x, input): (&Tensor, &Input)| if input.gradient { x.with_gradient() } else { x.clone() };
    let leaves: Vec<Tensor> = inputs.iter().zip(&case.inputs).map(leaf).collect();
    let (results, mut bits) = ((case.run)(&leaves)?, Vec::new());
    for result in &results {
        bits.extend(result.to_vec()?.into_iter().map(f32::to_bits));
        if result.wants_gradient() {
            result.backward_with(&result.detach())?;
        }
    }
    for gradient in leaves.iter().filter_map(Tensor::gradient) {
        bits.extend(gradient.to_vec()?.into_iter().map(f32::to_bits));
    }
    Ok(bits)
}

fn case(name: &str, inputs: Vec<Input>, run: fn(&[Tensor]) -> Result<Tensor>) -> Case {
    Case::speed(name, inputs, move |x| Ok(vec![run(x)?]))
}

/// Operations of sizes that fill several tasks, and sums that are cut into parts.
fn many_tasks() -> Vec<Case> {
    let normal = |shapes: &[&[usize]]| shapes.iter().map(|shape| Input::normal(shape)).collect::<Vec<_>>();
    let mut cases = convolutions();
    cases.extend([
        case("sum of a million", normal(&[&[1000, 1000]]), |x| x[0].sum(&[], false)),
        case("sums of columns", normal(&[&[4000, 70]]), |x| x[0].sum(&[0], false)),
        case("a loss", normal(&[&[700, 700], &[700, 700]]), |x| x[0].loss(Penalty::Squared, &x[1], Weighting::Equal)),
        case("a spectrum", normal(&[&[2, 118, 173]]), |x| x[0].rfft2(Norm::Ortho)),
        case("attention", normal(&[&[1, 2, 130, 5], &[1, 2, 900, 5]]), |x| {
            x[0].attention(&x[1], &x[1], AttentionOptions::default())
        }),
        case("group norm", normal(&[&[2, 6, 211, 97], &[6]]), |x| {
            x[0].group_norm(3, 1e-5, NormTail { weight: Some(&x[1]), ..NormTail::default() })
        }),
        case("layer norm", normal(&[&[3000, 33], &[33]]), |x| x[0].layer_norm(&x[1], None, 1e-5)),
        case("a linear layer", normal(&[&[9000, 7], &[7, 7]]), |x| x[0].linear(&x[1], None)),
        case("a product", normal(&[&[300, 400], &[400, 200]]), |x| x[0].matmul(&x[1])),
        case("pooling", normal(&[&[2, 5, 90, 80]]), |x| x[0].max_pool2d(Window::square(3, 2, 1))),
    ]);
    cases.extend(places());
    cases
}

fn convolutions() -> Vec<Case> {
    let normal = |shapes: &[&[usize]]| shapes.iter().map(|shape| Input::normal(shape)).collect::<Vec<_>>();
    vec![
        case("a 3×3 convolution", normal(&[&[2, 32, 62, 51], &[32, 32, 3, 3], &[32]]), |x| {
            let how = Conv2d { padding: [1, 1], ..Conv2d::default() };
            x[0].conv2d(&x[1], Some(&x[2]), &how)
        }),
        case("a 7×7 convolution", normal(&[&[1, 4, 90, 83], &[5, 4, 7, 7]]), |x| {
            let how = Conv2d { padding: [3, 3], stride: [2, 2], ..Conv2d::default() };
            x[0].conv2d(&x[1], None, &how)
        }),
        case("a depthwise convolution", normal(&[&[2, 48, 61, 50], &[48, 1, 3, 3]]), |x| {
            let how = Conv2d { padding: [1, 1], groups: 48, ..Conv2d::default() };
            x[0].conv2d(&x[1], None, &how)
        }),
        case("a transposed convolution", normal(&[&[1, 16, 40, 44], &[16, 8, 4, 4]]), |x| {
            let how = ConvTranspose2d { stride: [2, 2], padding: [1, 1], ..ConvTranspose2d::default() };
            x[0].conv_transpose2d(&x[1], None, &how)
        }),
    ]
}

/// Sums into places that indices and positions name.
fn places() -> Vec<Case> {
    let rows = vec![Input::normal(&[50, 9]), Input::below(&[9000], 50), Input::normal(&[9000, 9])];
    let points = vec![Input::normal(&[1, 400, 8]), Input::between(&[1, 400, 2], 0.0, 63.0)];
    let nodes = vec![Input::normal(&[300, 2, 8]), Input::normal(&[2, 8]), Input::below(&[2, 4000], 300)];
    vec![
        case("sums of rows", rows, |x| x[0].index_add(0, &x[1], &x[2])),
        case("splatting", points, |x| {
            x[0].splat(&x[1], 64, 64, Splatting { sigma: 2.0, reach: 3.0, normalised: true })
        }),
        case("graph attention", nodes, |x| {
            let (graph, by) = (Graph::new(&x[2], 300)?, &x[1]);
            let (edge, bias) = (None, None);
            let how = GraphAttention { source: by, target: by, edge, negative_slope: 0.2, concat: true, bias };
            Ok(x[0].graph_attention(&graph, how)?.0)
        }),
    ]
}
