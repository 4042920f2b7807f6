//! Elements chosen by indices, and sums into places.

use super::{Array, Case, Input};

/// The index of an element with another one along a dimension.
fn moved(i: &[usize], dimension: usize, to: f64) -> Vec<usize> {
    let mut i = i.to_vec();
    i[dimension] = to as usize;
    i
}

/// Adds every element of `source` to the place that `place` names.
fn added(base: &Array, source: &Array, place: impl Fn(&[usize]) -> Vec<usize>) -> Array {
    let mut sums = base.clone();
    let mut index = vec![0; source.shape.len()];
    for value in &source.values {
        let at = place(&index).iter().zip(&base.shape).fold(0, |at, (i, size)| at * size + i);
        sums.values[at] += value;
        for (i, size) in index.iter_mut().zip(&source.shape).rev() {
            *i = (*i + 1) % size;
            if *i != 0 {
                break;
            }
        }
    }
    sums
}

fn select(shape: &[usize], dimension: usize, picked: usize) -> Case {
    let mut to = shape.to_vec();
    to[dimension] = picked;
    Case::new(
        format!("index/select {shape:?} along {dimension}"),
        vec![Input::normal(shape), Input::below(&[picked], shape[dimension])],
        move |x| Ok(vec![x[0].index_select(dimension as isize, &x[1])?]),
        move |x| vec![Array::from_fn(&to, |i| x[0].at(&moved(i, dimension, x[1].values[i[dimension]])))],
    )
}

fn index_add(shape: &[usize], dimension: usize, picked: usize) -> Case {
    let mut from = shape.to_vec();
    from[dimension] = picked;
    Case::new(
        format!("index/add {shape:?} along {dimension}"),
        vec![Input::normal(shape), Input::below(&[picked], shape[dimension]), Input::normal(&from)],
        move |x| Ok(vec![x[0].index_add(dimension as isize, &x[1], &x[2])?]),
        move |x| vec![added(&x[0], &x[2], |i| moved(i, dimension, x[1].values[i[dimension]]))],
    )
}

fn gather(shape: &[usize], index: &[usize], dimension: usize) -> Case {
    let to = index.to_vec();
    Case::new(
        format!("index/gather {shape:?} by {index:?} along {dimension}"),
        vec![Input::normal(shape), Input::below(index, shape[dimension])],
        move |x| Ok(vec![x[0].gather(dimension as isize, &x[1])?]),
        move |x| vec![Array::from_fn(&to, |i| x[0].at(&moved(i, dimension, x[1].at(i))))],
    )
}

fn scatter_add(shape: &[usize], dimension: usize, picked: usize) -> Case {
    let mut from = shape.to_vec();
    from[dimension] = picked;
    Case::new(
        format!("index/scatter_add {shape:?} along {dimension}"),
        vec![Input::normal(shape), Input::below(&from, shape[dimension]), Input::normal(&from)],
        move |x| Ok(vec![x[0].scatter_add(dimension as isize, &x[1], &x[2])?]),
        move |x| vec![added(&x[0], &x[2], |i| moved(i, dimension, x[1].at(i)))],
    )
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![select(&[5, 3], 0, 9), select(&[2, 4, 3, 5], 1, 3), select(&[7], 0, 11)];
    cases.extend([index_add(&[5, 3], 0, 9), index_add(&[2, 4, 3, 5], 2, 6), index_add(&[7], 0, 0)]);
    cases.extend([
        gather(&[5, 3], &[9, 3], 0),
        gather(&[3, 4, 5], &[2, 6, 3], 1),
        gather(&[2, 3, 4, 5], &[2, 3, 4, 2], 3),
    ]);
    cases.extend([scatter_add(&[5, 3], 0, 9), scatter_add(&[2, 4, 3, 5], 1, 7), scatter_add(&[6], 0, 13)]);
    cases.push(Case::new(
        "index/embedding",
        vec![Input::normal(&[10, 3]), Input::below(&[2, 4], 10)],
        |x| Ok(vec![x[0].embedding(&x[1])?]),
        |x| vec![Array::from_fn(&[2, 4, 3], |i| x[0].at(&[x[1].at(&i[..2]) as usize, i[2]]))],
    ));
    cases.push(Case::new(
        "index/one_hot",
        vec![Input::below(&[3, 4], 5)],
        |x| Ok(vec![x[0].one_hot(5)?]),
        |x| vec![Array::from_fn(&[3, 4, 5], |i| if x[0].at(&i[..2]) as usize == i[2] { 1.0 } else { 0.0 })],
    ));
    let table = || vec![Input::normal(&[10_000, 256]), Input::below(&[16_384], 10_000)];
    cases.push(Case::speed("index/select 16384 of 10000×256", table(), |x| Ok(vec![x[0].index_select(0, &x[1])?])));
    cases
}
