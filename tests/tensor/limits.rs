//! Sizes beyond any memory are errors, never aborts; and memory that waits is given back before one.

use gustfront::tensor::{
    Cpu, DType, Graph, Interpolation, RandomKey, Result, Shape, SparseMap, Splatting, Tensor, TensorError,
    TimeEmbedding, clipped_by_global_norm,
};
use gustfront::transforms::lightning::Bins;

/// What is told of something that cannot be.
fn refused<T>(what: Result<T>) -> String {
    what.err().expect("an error").to_string()
}

#[test]
fn sizes_beyond_any_memory_are_refused() {
    const HUGE: usize = 1 << 32;
    let device = Cpu::device();
    let zeros = |shape: Shape| Tensor::zeros(&device, shape);
    let row = |n: usize| zeros([n].into()).expect("zeros");
    let edges = Tensor::indices(&device, [2, 1], &[0, 1]).expect("edges");
    let points = zeros([1, 3].into()).expect("points");
    let places = device.host_memory(24).expect("memory");
    let bins = Bins { origin: [0.0; 3], step: [1.0; 3], count: [HUGE, HUGE, 1] };
    let splatting = Splatting { sigma: 1.0, reach: 2.0, normalised: false };
    let image = zeros([1, 1, 2, 2].into()).expect("an image");
    let most = i32::MAX as usize;
    for told in [
        refused(zeros([1 << 61].into())),
        refused(zeros([usize::MAX].into())),
        refused(zeros([HUGE, HUGE].into())),
        refused(zeros([0, HUGE, HUGE].into())),
        refused(row(0).reshape([HUGE, HUGE]).and_then(|x| x.softmax(0))),
        refused(row(0).reshape([0, HUGE, HUGE])),
        refused(row(1).expand([HUGE, HUGE])),
        refused(Tensor::random_normal(&device, [HUGE, HUGE], RandomKey::new(1, 2))),
        refused(Graph::new(&edges, usize::MAX)),
        refused(SparseMap::new(&device, usize::MAX, &[0, 1], &[0], &[1.0])),
        refused(Tensor::time_embedding(&device, &[1.0], TimeEmbedding::new(usize::MAX))),
        refused(Tensor::time_embedding(&device, &[], TimeEmbedding::new(usize::MAX))),
        refused(Tensor::position_embedding(&device, &[1.0], usize::MAX - 1)),
        refused(Tensor::position_embedding_2d(&device, HUGE, HUGE, 4)),
        refused(Tensor::position_embedding_2d(&device, 1 << 33, 1 << 33, 0)),
        refused(Tensor::binned(&device, &places, 1, &bins)),
        refused(points.reshape([1, 1, 3]).and_then(|x| x.splat(&row(2).reshape([1, 1, 2])?, HUGE, HUGE, splatting))),
        refused(image.reshape([1, 2, 2]).and_then(|x| x.local_maxima(1, 0.0, usize::MAX))),
        refused(edges.one_hot(usize::MAX)),
        refused(zeros([HUGE, 0].into()).and_then(|x| x.matmul_with(&x, false, true))),
        refused(zeros([HUGE, 1, 0].into()).and_then(|x| x.add(&zeros([1, HUGE, 0].into())?))),
        refused(image.reshape([2, 2, 1, 1]).and_then(|x| x.resize(most, most, Interpolation::Nearest))),
    ] {
        assert!(told.contains("expected"), "{told}");
    }
    assert_eq!(refused(zeros([1, 1, 1, 1, 1, 1].into()).and_then(|x| x.unsqueeze(0))), SEVEN);
}

/// What is told of too many dimensions.
const SEVEN: &str = "unsqueeze to [1, 1, 1, 1, 1, 1, 1]: expected at most 6 dimensions, found 7";

#[test]
fn memory_that_cannot_be_had_is_told_with_its_bytes() {
    let device = Cpu::device();
    let held = Tensor::zeros(&device, [1 << 20]).expect("zeros");
    for (len, found) in [
        (1 << 46, Tensor::zeros(&device, [1 << 46])),
        (1 << 50, held.reshape([1, 1 << 20]).and_then(|x| x.expand([1 << 30, 1 << 20]))),
    ] {
        let Err(TensorError::Memory { device, bytes, held, .. }) = found else { panic!("{found:?}") };
        assert_eq!((device.as_str(), bytes), ("cpu", 4 * len));
        assert!(held >= 4 << 20, "{held}");
    }
    let told = refused(Tensor::position_embedding_2d(&device, 1 << 22, 1 << 22, 4));
    assert!(told.starts_with("cpu: 281474976710656 bytes could not be had"), "{told}");
}

#[test]
fn memory_that_waits_is_given_back_where_it_is_asked_for_and_before_an_error() {
    let device = Cpu::device();
    let some = || Tensor::zeros(&device, [1 << 20]).expect("zeros");
    let kept = some();
    drop(some());
    let before = device.memory_use();
    assert!(before.held_bytes >= 8 << 20 && before.used_bytes < 8 << 20, "{before:?}");
    device.trim_memory();
    assert_eq!(device.memory_use().held_bytes, device.memory_use().used_bytes);
    drop(some());
    assert!(Tensor::zeros(&device, [1 << 46]).is_err());
    assert_eq!(device.memory_use().held_bytes, device.memory_use().used_bytes);
    assert_eq!(kept.sum(&[], false).and_then(|y| y.item()), Ok(0.0));
}

#[test]
fn places_and_sizes_are_counted_from_the_end_as_pytorchs() -> Result<()> {
    let x = Tensor::new(&Cpu::device(), [2, 3, 4], &(0..24).map(|i| i as f32).collect::<Vec<_>>())?;
    assert_eq!(x.unsqueeze(-1)?.shape().sizes(), [2, 3, 4, 1]);
    assert_eq!(x.unsqueeze(-4)?.shape().sizes(), [1, 2, 3, 4]);
    assert!(x.unsqueeze(-5).is_err() && x.unsqueeze(4).is_err() && x.unsqueeze(isize::MIN).is_err());
    assert_eq!(x.permute(&[-1, 0, -2])?.to_vec()?, x.permute(&[2, 0, 1])?.to_vec()?);
    assert!(x.permute(&[-1, 2, 0]).is_err() && x.permute(&[0, 1]).is_err() && x.permute(&[0, 1, 3]).is_err());
    assert_eq!(x.reshape_inferred(&[4, -1])?.shape().sizes(), [4, 6]);
    assert_eq!(x.reshape_inferred(&[-1])?.to_vec()?, x.to_vec()?);
    assert_eq!(x.reshape_inferred(&[6, 4])?.shape().sizes(), [6, 4]);
    for wrong in [&[-1, -1][..], &[5, -1], &[-2, 12], &[0, -1], &[23], &[-1, isize::MAX, 3]] {
        assert!(refused(x.reshape_inferred(wrong)).starts_with("reshape_inferred of [2, 3, 4]"), "{wrong:?}");
    }
    Ok(())
}

#[test]
fn gradients_of_either_precision_are_clipped_together() -> Result<()> {
    let device = Cpu::device();
    let wide = Tensor::new(&device, [2], &[3.0, 0.0])?;
    let narrow = Tensor::new(&device, [1], &[4.0])?.to_dtype(DType::Bf16)?;
    let (clipped, norm) = clipped_by_global_norm(&[&wide, &narrow], 1.0)?;
    assert_eq!(norm.item()?, 5.0);
    assert_eq!((clipped[0].dtype(), clipped[1].dtype()), (DType::F32, DType::Bf16));
    assert!((clipped[0].to_vec()?[0] - 0.6).abs() < 1e-6 && (clipped[1].item()? - 0.8).abs() < 4e-3);
    let indices = Tensor::indices(&device, [1], &[1])?;
    assert_eq!(refused(clipped_by_global_norm(&[&wide, &indices], 1.0)), "global_norm of i32: expected f32 or bf16");
    Ok(())
}
