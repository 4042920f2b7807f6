//! Softmax and its logarithm along every dimension.

use super::{Array, Case, Input};
use crate::tensor::Tensor;

fn shares(x: &Array, dimension: usize, log: bool) -> Array {
    let along = |index: &[usize], at: usize| {
        let mut index = index.to_vec();
        index[dimension] = at;
        x.at(&index)
    };
    Array::from_fn(&x.shape, |index| {
        let all = || (0..x.shape[dimension]).map(|at| along(index, at));
        let most = all().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = all().map(|x| (x - most).exp()).sum();
        let shifted = x.at(index) - most;
        if log { shifted - total.ln() } else { shifted.exp() / total }
    })
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (shape, dimensions) in [(&[2, 5, 3, 7][..], 0..4), (&[3, 70], 0..2), (&[1, 9], 0..2), (&[19], 0..1)] {
        for dimension in dimensions {
            let at = dimension as isize - shape.len() as isize;
            for (name, log) in [("softmax", false), ("log_softmax", true)] {
                let run = move |x: &[Tensor]| Ok(vec![if log { x[0].log_softmax(at)? } else { x[0].softmax(at)? }]);
                let plain = move |x: &[Array]| vec![shares(&x[0], dimension, log)];
                cases.push(Case::new(format!("softmax/{name} {shape:?} {at}"), vec![Input::normal(shape)], run, plain));
            }
        }
    }
    let big = Input::normal(&[64, 2304, 256]);
    cases.push(Case::speed("softmax/softmax 64×2304×256", vec![big], |x| Ok(vec![x[0].softmax(-1)?])));
    cases
}
