//! The harness itself: mistakes that are planted in kernels are noticed.

use std::collections::BTreeMap;
use std::sync::Arc;

use gustfront::tensor::TensorError;
use gustfront::tensor::cuda::{Kernel, Machine, Shape};

use crate::emulation::{Emulated, Families, Order};

/// Turns 256 numbers around in shared memory.
const TURN: &str = r#"
#include "common.cuh"
extern "C" __global__ void turn(const float* x, float* y, int len) {
    __shared__ float held[256];
    const int i = threadIdx.x;
    held[i] = i < len ? x[i] : 0.0f;
    __syncthreads();
    if (i < len) y[i] = held[len - 1 - i];
}
"#;

const LEN: usize = 200;

/// Runs the kernel `turn` of a source.
fn turned(source: &str, order: Order) -> Result<Vec<f32>, TensorError> {
    let families = Families::Given(Arc::new(BTreeMap::from([("turn", source.to_owned())])));
    let machine = Emulated::new(order, families);
    let (x, y) = (machine.allocate(4 * LEN)?, machine.allocate(4 * LEN)?);
    let values: Vec<f32> = (0..LEN).map(|i| i as f32).collect();
    machine.write(x, bytemuck::cast_slice(&values))?;
    let (len, shape) = (LEN as i32, Shape { grid: [1; 3], block: [256, 1, 1], shared_bytes: 0 });
    let arguments = [(&raw const x).cast(), (&raw const y).cast(), (&raw const len).cast()];
    // SAFETY: three parameters of these types; the memory is the machine's.
    unsafe { machine.launch(Kernel { family: "turn", name: "turn" }, shape, &arguments) }?;
    let mut found = vec![0.0f32; LEN];
    machine.read(y, bytemuck::cast_slice_mut(&mut found))?;
    Ok(found)
}

fn right() -> Vec<f32> {
    (0..LEN).rev().map(|i| i as f32).collect()
}

/// Whether any order gives something else than what is right, or fails.
fn noticed(source: &str) -> bool {
    Order::ALL.iter().any(|order| turned(source, *order) != Ok(right()))
}

#[test]
fn a_right_kernel_is_right_in_every_order() {
    assert!(!noticed(TURN), "{:?}", turned(TURN, Order::Forward));
}

#[test]
fn a_wrong_index_is_noticed() {
    assert!(noticed(&TURN.replace("len - 1 - i", "len - i")));
}

#[test]
fn a_missing_barrier_is_noticed() {
    assert!(noticed(&TURN.replace("__syncthreads();", "")));
}

#[test]
fn a_write_past_the_end_is_noticed_and_told() {
    let error = turned(&TURN.replace("if (i < len) y", "if (i <= len) y"), Order::Forward).expect_err("an error");
    assert!(error.to_string().contains("turn wrote outside its memory"), "{error}");
}

#[test]
fn a_write_in_front_of_the_start_is_noticed() {
    assert!(turned(&TURN.replace("y[i] =", "y[i - 1] ="), Order::Forward).is_err());
}

#[test]
fn an_access_that_is_not_aligned_is_noticed_and_told() {
    let wide = "struct __align__(8) Two { float x, y; };\nextern";
    let source = TURN.replace("extern", wide).replace("held[i] = i < len ? x[i]", "held[i] = i + 1 < len ? AT.x");
    let at = |first| source.replace("AT", &format!("reinterpret_cast<const Two*>(x + {first})[i / 2]"));
    assert_eq!(turned(&at(0), Order::Forward).map(drop), Ok(()));
    let error = turned(&at(1), Order::Forward).expect_err("an error");
    assert!(error.to_string().contains("not aligned, at 4 of 16 bytes"), "{error}");
}

#[test]
fn a_barrier_that_not_all_reach_is_noticed_and_told() {
    let source = TURN.replace("__syncthreads();", "if (i < 100) __syncthreads(); else\n __syncthreads();");
    let error = turned(&source, Order::Forward).expect_err("an error");
    assert!(error.to_string().contains("barriers of lines"), "{error}");
}

#[test]
fn a_warp_operation_that_not_all_lanes_reach_is_noticed_and_told() {
    let source =
        TURN.replace("__syncthreads();", "if (i % 2) held[i] += __shfl_sync(ALL_LANES, 0.0f, 0); __syncthreads();");
    let error = turned(&source, Order::Forward).expect_err("an error");
    assert!(error.to_string().contains("wait for each other"), "{error}");
}

#[test]
fn a_kernel_that_does_not_compile_is_told_with_the_compilers_words() {
    let error = turned(&TURN.replace("held[256]", "held[256"), Order::Forward).expect_err("an error");
    assert!(error.to_string().contains("error:"), "{error}");
}
