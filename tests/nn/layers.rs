//! What layers begin with, what they are named, and what they give.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use gustfront::nn::{
    BatchNorm2d, Builder, Conv2d, ConvTranspose2d, Embedding, GroupNorm, LayerNorm, Linear, Mode, MultiheadAttention,
    NnError, Start,
};
use gustfront::tensor::{self, Cpu, Tensor};
use rayon::prelude::*;

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.to_vec().expect("values")
}

/// The greatest and the mean square of a parameter that begins uniformly within ±`bound`.
fn assert_uniform(parameter: &tensor::Parameter, bound: f32) {
    let values = values(&parameter.get());
    let greatest = values.iter().fold(0.0, |greatest: f32, x| greatest.max(x.abs()));
    let square = values.iter().map(|x| x * x).sum::<f32>() / values.len() as f32;
    assert!(greatest <= bound && greatest > 0.9 * bound, "{greatest} for {bound}");
    assert!((square / (bound * bound) - 1.0 / 3.0).abs() < 0.05, "{square} for {bound}");
}

#[test]
fn layers_begin_as_pytorchs() {
    let builder = Builder::new(&Cpu::device(), 7);
    let how = tensor::Conv2d { groups: 2, ..tensor::Conv2d::default() };
    let conv = Conv2d::new(&builder.at("conv"), [8, 60], [3, 3], how).expect("a layer");
    assert_uniform(&conv.weight, 1.0 / 36f32.sqrt());
    assert_uniform(conv.bias.as_ref().expect("a bias"), 1.0 / 36f32.sqrt());
    let how = tensor::ConvTranspose2d { stride: [2; 2], ..tensor::ConvTranspose2d::default() };
    let up = ConvTranspose2d::new(&builder.at("up"), [20, 50], [2, 2], how).expect("a layer");
    assert_eq!(up.weight.get().shape().sizes(), [20, 50, 2, 2]);
    assert_uniform(&up.weight, 1.0 / 200f32.sqrt());
    let linear = Linear::new(&builder.at("linear"), 25, 100).expect("a layer");
    assert_uniform(&linear.weight, 0.2);
    let attention = MultiheadAttention::new(&builder.at("attention"), 24, 3).expect("a layer");
    assert_uniform(&attention.in_weight, (6.0 / 96f32).sqrt());
    assert_uniform(&attention.out_weight, 1.0 / 24f32.sqrt());
    assert_eq!(values(&attention.out_bias.get()), [0.0; 24]);
    let table = values(&Embedding::new(&builder.at("table"), 50, 40).expect("a layer").weight.get());
    let square = table.iter().map(|x| x * x).sum::<f32>() / 2000.0;
    assert!((square - 1.0).abs() < 0.1, "{square}");
}

#[test]
fn names_and_seeds_decide_what_parameters_begin_with() {
    let device = Cpu::device();
    let weight = |seed: u64, first: &str, second: &str| {
        let builder = Builder::new(&device, seed).at("down").at(0);
        let _ = Linear::new(&builder.at(first), 3, 4).expect("a layer");
        let _ = Linear::new(&builder.at(second), 3, 4).expect("a layer");
        values(&builder.parameters().get("down.0.b.weight").expect("a weight").get())
    };
    assert_eq!(weight(1, "a", "b"), weight(1, "b", "a"));
    assert_ne!(weight(1, "a", "b"), weight(2, "a", "b"));
    let builder = Builder::new(&device, 1);
    builder.parameter("x", [1], Start::Constant(0.0)).expect("a parameter");
    assert!(matches!(builder.buffer("x", [1], Start::Count), Err(NnError::NamedTwice(name)) if name == "x"));
}

#[test]
fn sizes_that_do_not_go_together_are_refused() {
    let builder = Builder::new(&Cpu::device(), 0).at("part");
    let how = tensor::Conv2d { groups: 3, ..tensor::Conv2d::default() };
    let told = |error: NnError| assert!(error.to_string().starts_with("part of "), "{error}");
    told(Conv2d::new(&builder, [4, 6], [3, 3], how).expect_err("groups"));
    told(Conv2d::new(&builder, [4, 6], [3, 3], tensor::Conv2d { groups: 0, ..how }).expect_err("no groups"));
    told(GroupNorm::new(&builder, 3, 4).expect_err("groups"));
    told(MultiheadAttention::new(&builder, 10, 3).expect_err("heads"));
    told(MultiheadAttention::new(&builder, 0, 3).expect_err("no numbers"));
    told(Conv2d::same(&builder, 4, 4, 2).expect_err("an even kernel"));
    told(Conv2d::same(&builder, 4, 4, 0).expect_err("no kernel"));
    assert_eq!(builder.parameters().iter().len(), 0);
}

#[test]
fn running_statistics_follow_batches_in_training_alone() {
    let device = Cpu::device();
    let builder = Builder::new(&device, 0);
    let norm = BatchNorm2d::new(&builder, 2).expect("a layer");
    let x = Tensor::new(&device, [2, 2, 1, 2], &[1.0, 3.0, 0.0, 0.0, 5.0, 7.0, 0.0, 4.0]).expect("images");
    let still = norm.forward(&x, Mode::Evaluation).expect("images");
    assert!((values(&still)[3] - 0.0).abs() < 1e-6 && (values(&still)[1] - 3.0).abs() < 1e-4);
    let moved = norm.forward(&x, Mode::Training).expect("images");
    assert!((values(&moved)[0] + 3.0 / 5f32.sqrt()).abs() < 1e-4);
    // Means 4 and 1, unbiased variances 20/3 and 4, a tenth of the way from 0 and 1.
    let close = |found: Vec<f32>, wanted: [f32; 2]| {
        assert!(found.iter().zip(wanted).all(|(found, wanted)| (found - wanted).abs() < 1e-6), "{found:?}");
    };
    close(values(&norm.running_mean.get()), [0.4, 0.1]);
    close(values(&norm.running_variance.get()), [0.9 + 2.0 / 3.0, 1.3]);
    assert_eq!(norm.batches.get().to_indices().expect("a count"), [1]);
    // What a checkpoint runs twice moves them twice, and is not refused for it.
    let (norm, inside) = (Arc::new(norm), x.with_gradient());
    let held = norm.clone();
    let sum = tensor::checkpoint(&[&inside], move |x| held.forward(&x[0], Mode::Training)).expect("images");
    sum.sum(&[], false).and_then(|sum| sum.backward()).expect("gradients");
    assert_eq!(norm.batches.get().to_indices().expect("a count"), [3]);
    let parameters = builder.parameters();
    assert_eq!(parameters.trained().map(|(name, _)| name).collect::<Vec<_>>(), ["bias", "weight"]);
    assert_eq!(parameters.count(), 4);
}

/// A thread that waits for its share of one pass may begin another.
#[test]
fn a_norm_is_used_and_trained_by_many_threads() {
    const PASSES: usize = 48;
    let (done, ended) = mpsc::channel();
    std::thread::spawn(move || {
        let device = Cpu::device();
        let norm = BatchNorm2d::new(&Builder::new(&device, 0), 2).expect("a layer");
        let x = Tensor::full(&device, [4, 2, 128, 128], 3.0).expect("images");
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("threads");
        pool.install(|| {
            (0..2 * PASSES).into_par_iter().for_each(|pass| {
                let mode = if pass % 2 == 0 { Mode::Training } else { Mode::Evaluation };
                norm.forward(&x, mode).expect("images");
            });
        });
        let count = norm.batches.get().to_indices().expect("a count");
        done.send((count, values(&norm.running_mean.get()))).expect("a receiver");
    });
    let (count, mean) = ended.recv_timeout(Duration::from_secs(60)).expect("an end");
    assert_eq!(count, [PASSES as i32]);
    let wanted = 3.0 * (1.0 - 0.9f32.powi(PASSES as i32));
    assert!(mean.iter().all(|mean| (mean - wanted).abs() < 1e-5), "{mean:?}, expected {wanted}");
}

#[test]
fn layers_give_what_their_operations_do() {
    let device = Cpu::device();
    let builder = Builder::new(&device, 4);
    let x = Tensor::new(&device, [1, 3, 4], &(0..12).map(|i| (i as f32).sin()).collect::<Vec<_>>()).expect("rows");
    let attention = MultiheadAttention::new(&builder.at("attention"), 4, 2).expect("a layer");
    let norm = LayerNorm::new(&builder.at("norm"), [4]).expect("a layer");
    let y = norm.forward(&attention.forward(&x).expect("rows")).expect("rows");
    y.mul(&x).and_then(|y| y.sum(&[], false)).and_then(|y| y.backward()).expect("gradients");
    let parameters = builder.parameters();
    assert!(parameters.trained().all(|(_, parameter)| parameter.gradient().is_some()));
    parameters.clear_gradients();
    assert!(parameters.trained().all(|(_, parameter)| parameter.gradient().is_none()));
    let table = Embedding::new(&builder.at("table"), 5, 4).expect("a layer");
    let index = Tensor::indices(&device, [2], &[4, 0]).expect("indices");
    let rows = values(&table.weight.get());
    assert_eq!(values(&table.forward(&index).expect("rows")), [&rows[16..], &rows[..4]].concat());
    let how = tensor::ConvTranspose2d { stride: [2; 2], ..tensor::ConvTranspose2d::default() };
    let up = ConvTranspose2d::new(&builder.at("up"), [3, 6], [2, 2], how).expect("a layer");
    let image = x.reshape([1, 3, 2, 2]).expect("an image");
    let image = up.forward(&image).expect("an image");
    assert_eq!(image.shape().sizes(), [1, 6, 4, 4]);
    let norm = GroupNorm::new(&builder.at("group"), 2, 6).expect("a layer");
    let normed = values(&norm.forward(&image).expect("an image"));
    assert!(normed[..48].iter().sum::<f32>().abs() < 1e-4);
}
