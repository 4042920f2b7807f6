//! Random numbers and dropout.

use super::{Array, Case, Input};
use crate::domain::Philox;
use crate::tensor::{RandomKey, Tensor};

const KEY: RandomKey = RandomKey { seed: 5, purpose: 2, words: [1, 2, 3] };

/// Four numbers of a counter.
type Four = fn(&Philox, [u32; 4]) -> [f64; 4];

fn number(of: Four, i: usize) -> f64 {
    of(&Philox::new(KEY.seed, KEY.purpose), [(i / 4) as u32, 1, 2, 3])[i % 4]
}

fn drawn(name: &str, of: Four, draw: fn(&Tensor) -> crate::tensor::Result<Tensor>) -> Case {
    let plain =
        move |_: &[Array]| vec![Array { shape: vec![3, 67], values: (0..201).map(|i| number(of, i)).collect() }];
    let device = vec![Input::normal(&[1]).constant()];
    Case::new(format!("random/{name}"), device, move |x| Ok(vec![draw(&x[0])?]), plain)
}

fn dropout(shape: &'static [usize]) -> Case {
    let run = |x: &[Tensor]| Ok(vec![x[0].dropout(0.375, KEY)?]);
    let plain = move |x: &[Array]| {
        let place = |i: &[usize]| match (i, shape) {
            ([n, c, h, w], [_, channels, rows, columns]) => ((n * rows + h) * columns + w) * channels + c,
            _ => i.iter().zip(shape).fold(0, |at, (i, size)| at * size + i),
        };
        let kept = |i: &[usize]| number(Philox::uniform, place(i)) >= 0.375;
        vec![Array::from_fn(shape, |i| if kept(i) { x[0].at(i) / 0.625 } else { 0.0 })]
    };
    Case::new(format!("random/dropout {shape:?}"), vec![Input::normal(shape)], run, plain)
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        drawn("normal", Philox::normal, |x| Tensor::random_normal(x.device(), [3, 67], KEY)),
        drawn("uniform", Philox::uniform, |x| Tensor::random_uniform(x.device(), [3, 67], KEY)),
        dropout(&[2, 5, 7, 6]),
        dropout(&[3, 50]),
    ];
    let device = || vec![Input::normal(&[1]).constant()];
    let size = [16, 1059, 1799];
    cases.push(Case::speed("random/normal 16×1059×1799", device(), move |x| {
        Ok(vec![Tensor::random_normal(x[0].device(), size, KEY)?])
    }));
    cases.push(Case::speed("random/uniform 16×1059×1799", device(), move |x| {
        Ok(vec![Tensor::random_uniform(x[0].device(), size, KEY)?])
    }));
    cases.push(Case::speed("random/dropout 16×1059×1799", vec![Input::normal(&[1, 16, 1059, 1799])], |x| {
        Ok(vec![x[0].dropout(0.1, KEY)?])
    }));
    cases
}
