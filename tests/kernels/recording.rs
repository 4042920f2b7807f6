//! Recorded work gives the same bits when it is replayed, whatever happened to memory in between; and what is counted.

use std::sync::Arc;
use std::time::Duration;

use gustfront::domain::Philox;
use gustfront::tensor::{Cuda, Device, Memory, Norm, Result, Tensor, TensorError};

use crate::emulation::{Emulated, Families, Order, cuda};

const LEN: usize = 3000;

fn normal(purpose: u32) -> Vec<f32> {
    (0..LEN).map(|i| Philox::new(9, purpose).normal([i as u32, 0, 0, 0])[0] as f32).collect()
}

/// A step whose intermediate results are dropped and whose memory is used again on the way.
fn step(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let mut y = x.clone();
    for _ in 0..3 {
        y = y.silu()?.mul(weight)?.add(x)?;
    }
    y.sub(&y.mean(&[], true)?)
}

/// A device with the two tensors of a step.
fn start() -> (Arc<Cuda>, Tensor, Tensor) {
    let cuda = cuda(Order::Shuffled(3));
    let device: Device = cuda.clone();
    let tensor = |purpose| Tensor::new(&device, [LEN], &normal(purpose)).expect("a tensor");
    let (x, weight) = (tensor(1), tensor(2));
    (cuda, x, weight)
}

#[test]
fn a_replay_gives_the_same_bits_and_follows_its_input() {
    let (cuda, x, weight) = start();
    let wanted = step(&x, &weight).and_then(|y| y.to_vec()).expect("values");
    let (replay, y) = cuda.record(|| step(&x, &weight)).expect("a recording");
    assert_eq!(y.to_vec().expect("values"), wanted);
    for _ in 0..2 {
        // What is dropped in between must not be memory of the recording.
        let other = Tensor::full(x.device(), [LEN], 7.0).and_then(|t| t.exp()).expect("a tensor");
        replay.run().expect("a replay");
        assert_eq!(y.to_vec().expect("values"), wanted);
        assert_eq!(other.to_vec().expect("values"), vec![7.0f32.exp(); LEN]);
    }
    let device: Device = cuda.clone();
    let other = Tensor::new(&device, [LEN], &normal(5)).expect("a tensor");
    let wanted = step(&other, &weight).and_then(|y| y.to_vec()).expect("values");
    replay.feed(&x, &other).and_then(|()| replay.run()).expect("a replay");
    assert_eq!(y.to_vec().expect("values"), wanted);
    let error = replay.feed(&x, &Tensor::zeros(&device, [LEN + 1]).expect("a tensor")).expect_err("another shape");
    assert!(matches!(error, TensorError::Shapes { .. }), "{error}");
}

#[test]
fn memory_of_a_recording_waits_until_it_is_let_go() {
    let (cuda, x, weight) = start();
    let wanted = step(&x, &weight).and_then(|y| y.to_vec()).expect("values");
    let before = cuda.memory_use();
    let (replay, y) = cuda.record(|| step(&x, &weight)).expect("a recording");
    // The inputs are dropped; the recording still reads them.
    drop((x, weight));
    let device: Device = cuda.clone();
    let others: Vec<Tensor> = (0..20).map(|_| Tensor::full(&device, [LEN], 1.5).expect("a tensor")).collect();
    replay.run().expect("a replay");
    assert_eq!(y.to_vec().expect("values"), wanted);
    assert!(others.iter().all(|t| t.to_vec().expect("values") == vec![1.5; LEN]));
    drop((replay, y, others));
    let after = cuda.memory_use();
    assert!(before.used_bytes > 0 && after.used_bytes < before.used_bytes, "{before:?} {after:?}");
    let held = after.held_bytes;
    let again: Vec<Tensor> = (0..20).map(|_| Tensor::full(&device, [LEN], 1.5).expect("a tensor")).collect();
    assert_eq!(cuda.memory_use().held_bytes, held, "{} tensors find their memory in the pool", again.len());
}

#[test]
fn uploads_of_a_recording_are_done_again() {
    let (cuda, x, _) = start();
    let work = || {
        let fresh = Tensor::new(x.device(), [LEN], &normal(4))?;
        let y = fresh.mul(&x)?;
        drop(fresh);
        // Takes the memory of what was just dropped.
        let last = y.silu()?.exp()?;
        last.add(&y)
    };
    let wanted = work().and_then(|y| y.to_vec()).expect("values");
    let (replay, y) = cuda.record(work).expect("a recording");
    replay.run().and_then(|()| replay.run()).expect("replays");
    assert_eq!(y.to_vec().expect("values"), wanted);
}

#[test]
fn a_recording_that_fails_leaves_nothing_behind() {
    let (cuda, x, weight) = start();
    let used = cuda.memory_use().used_bytes;
    let error = cuda.record(|| step(&x, &weight)?.to_vec()).expect_err("a download");
    assert!(error.to_string().contains("download"), "{error}");
    let error = cuda.record(|| cuda.record(|| x.silu()).map(|(_, y)| y)).expect_err("two at once");
    assert!(error.to_string().contains("part of a recording"), "{error}");
    assert_eq!(cuda.memory_use().used_bytes, used);
    let wanted = step(&x, &weight).and_then(|y| y.to_vec()).expect("values");
    let (_replay, y) = cuda.record(|| step(&x, &weight)).expect("a recording");
    assert_eq!(y.to_vec().expect("values"), wanted);
}

#[test]
fn other_threads_wait_while_one_records() {
    let (cuda, x, weight) = start();
    let wanted = step(&x, &weight).and_then(|y| y.to_vec()).expect("values");
    let (replay, y) = std::thread::scope(|scope| {
        let (replay, y) = cuda
            .record(|| {
                scope.spawn(|| x.exp().and_then(|y| y.to_vec()).expect("values"));
                std::thread::sleep(std::time::Duration::from_millis(20));
                step(&x, &weight)
            })
            .expect("a recording");
        (replay, y)
    });
    let launches = cuda.work().expect("counts").launches;
    replay.run().expect("a replay");
    assert_eq!(y.to_vec().expect("values"), wanted);
    assert_eq!(cuda.work().expect("counts").launches, launches, "a replay launches nothing by itself");
}

/// A spectrum: the roots of unity of its lengths are constants.
fn spectrum(x: &Tensor) -> Result<Tensor> {
    x.reshape([LEN / 30, 30])?.rfft2(Norm::Backward)
}

#[test]
fn constants_of_a_recording_are_there_for_others_once_it_ran() {
    let wanted = spectrum(&start().1).and_then(|y| y.to_vec()).expect("values");
    let late = Emulated::new(Order::Forward, Families::Own).with_late_replays(Duration::from_millis(60));
    let cuda = Cuda::on(Box::new(late));
    let device: Device = cuda.clone();
    let x = Tensor::new(&device, [LEN], &normal(1)).expect("a tensor");
    std::thread::scope(|scope| {
        let other = || spectrum(&x).and_then(|y| y.to_vec()).expect("values");
        let (recorded, other) = cuda.record(|| Ok((spectrum(&x)?, scope.spawn(other)))).expect("a recording").1;
        assert_eq!(other.join().expect("a thread"), wanted, "while the recording runs first");
        assert_eq!(recorded.to_vec().expect("values"), wanted);
    });
}

#[test]
fn constants_of_a_recording_that_failed_are_not_there() {
    let (cuda, x, _) = start();
    let wanted = spectrum(&start().1).and_then(|y| y.to_vec()).expect("values");
    cuda.record(|| spectrum(&x)?.to_vec()).expect_err("a download");
    assert_eq!(spectrum(&x).and_then(|y| y.to_vec()).expect("values"), wanted);
}

#[test]
fn a_wait_is_refused_while_something_is_recorded_and_a_replay_can_be_dropped() {
    let (cuda, x, weight) = start();
    let wanted = step(&x, &weight).and_then(|y| y.to_vec()).expect("values");
    let error = cuda.record(|| cuda.wait()).expect_err("a wait");
    assert!(error.to_string().contains("a wait cannot be part"), "{error}");
    let (first, _) = cuda.record(|| step(&x, &weight)).expect("a recording");
    let work = || {
        drop(first);
        step(&x, &weight)
    };
    let (second, y) = cuda.record(work).expect("a recording");
    second.run().expect("a replay");
    assert_eq!(y.to_vec().expect("values"), wanted);
}

#[test]
fn work_is_counted() {
    let (cuda, x, weight) = start();
    let before = cuda.work().expect("counts");
    assert_eq!((before.uploads.count, before.uploads.bytes), (2, 2 * 4 * LEN as u64));
    assert!(before.kernel_seconds.is_empty() && before.launches.is_empty());
    cuda.time_kernels(true);
    x.silu().and_then(|y| y.mul(&weight)).and_then(|y| y.to_vec()).expect("values");
    let work = cuda.work().expect("counts");
    assert_eq!(work.launches["elementwise"], 2);
    assert!(work.kernel_seconds["elementwise"] > 0.0);
    assert_eq!((work.downloads.count, work.downloads.bytes), (1, 4 * LEN as u64));
    assert!(work.free_bytes < work.total_bytes && work.memory.held_bytes > 0);
    cuda.wait().expect("nothing failed");
}
