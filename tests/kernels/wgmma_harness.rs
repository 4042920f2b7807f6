//! The host's twin of `wgmma`: right products are right, and each mistake that a device would let pass is noticed.

use std::collections::BTreeMap;
use std::sync::Arc;

use gustfront::tensor::TensorError;
use gustfront::tensor::cuda::{Kernel, Machine, Shape};
use half::bf16;

use crate::emulation::{Emulated, Families, Order};

/// 64 rows by 128 columns with 64 numbers summed, in one buffer, by one warpgroup; `fault` plants one mistake. Operands
/// lie with the inner index innermost, or outermost (`turned`).
const MULTIPLY: &str = r#"
#include "wgmma.cuh"
template <bool OUTER>
__device__ void multiply(const bf16* x, const bf16* y, float* z, int fault) {
    SHARED_BYTES(shared);
    u8* held = shared + (PATTERN_BYTES - shared_address(shared) % PATTERN_BYTES) % PATTERN_BYTES;
    if (fault == 1) held += 16;
    for (int e = threadIdx.x; e < 192 * 8; e += WARPGROUP) {
        const int line = e / 8, unit = e % 8, own = line % 64;
        u8* to = held + (fault == 2 ? line * LINE_BYTES + unit * 16 : swizzled(line, unit));
        const bf16* rows = line < 64 ? x + line * 64 + unit * 8 : y + (line - 64) * 64 + unit * 8;
        const bf16* columns = line < 64 ? x + own * 64 + unit * 8 : y + own * 128 + (line / 64 - 1) * 64 + unit * 8;
        copy_16(to, OUTER ? columns : rows, 16);
    }
    close_copies();
    if (fault != 3) await_copies<0>();
    if (fault != 4 && fault != 5) show_to_products();
    if (fault != 6) __syncthreads();
    if (fault == 5) show_to_products();
    const u32 left = shared_address(held), right = left + PANEL_BYTES;
    float sums[64] = {};
    if (fault != 7) open_products();
    for (int k = 0; k < 4; ++k) {
        u64 a = described<OUTER>(left + k * GroupStep<OUTER>::BYTES), b = described<OUTER>(right + k * GroupStep<OUTER>::BYTES);
        if (fault == 8) b += 1ull << 32;
        if (fault == 9) b += 1ull << 16;
        if (fault == 10 && threadIdx.x >= 32) a = b;
        if (fault == 11 && threadIdx.x % 32 == 3) a = b;
        if (fault == 12) b = b & ~(3ull << 62) | 2ull << 62;
        if (fault == 13) b += 1ull << 49;
        if (fault == 14 && threadIdx.x >= 96) continue;
        if (fault == 15 && k == 2) sums[5] += 1.0f;
        if (fault == 16) b += 0x3000;
        multiply_group<OUTER, OUTER>(sums, a, b);
    }
    if (fault != 17) close_products();
    if (fault == 18) sums[63] = 0.0f;
    if (fault == 19) copy_16(held, x, 16), close_copies(), await_copies<0>();
    if (fault == 20) *reinterpret_cast<float*>(held + 4 * threadIdx.x) = 0.0f;
    if (fault != 21) await_products<0>();
    if (fault == 22) multiply_group<OUTER, OUTER>(sums, described<OUTER>(left), described<OUTER>(right)), close_products();
    if (fault == 23) copy_16(shared, x, 16);
    for (int j = 0; j < 16; ++j)
        for (int i = 0; i < 4; ++i) {
            const int row = threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4 + i / 2 * 8, column = 8 * j + threadIdx.x % 4 * 2 + i % 2;
            z[row * 128 + column] = sums[4 * j + i];
        }
}
extern "C" __global__ void as_they_lie(const bf16* x, const bf16* y, float* z, int fault) { multiply<false>(x, y, z, fault); }
extern "C" __global__ void turned(const bf16* x, const bf16* y, float* z, int fault) { multiply<true>(x, y, z, fault); }
"#;

const ROWS: usize = 64;
const COLUMNS: usize = 128;
const INNER: usize = 64;

/// What the number of a fault stands for, and words of what is told; none where the result alone tells.
const FAULTS: [(i32, &str, &str); 23] = [
    (1, "buffers that do not begin at a multiple of 1024 bytes", "an operand"),
    (2, "no swizzle", ""),
    (3, "copies that nobody waits for", "not waited for"),
    (4, "no fence between copies and products", "did not show"),
    (5, "a fence behind the barrier", "behind the last barrier"),
    (6, "no barrier", "behind the last barrier"),
    (7, "no wgmma.fence", "wgmma.fence"),
    (8, "a wrong stride", ""),
    (9, "a wrong leading offset", ""),
    (10, "warps with other operands", "warps of a warpgroup"),
    (11, "a lane with other operands", "lanes of a warp"),
    (12, "another swizzle in the descriptor", "another swizzle"),
    (13, "a base offset", "bits that must be 0"),
    (14, "a warp that is missing", "not all warps"),
    (15, "sums changed between products", "sums were changed"),
    (16, "an operand behind the shared memory", "outside"),
    (17, "a group that is not closed", "without waiting for its products"),
    (18, "sums written before the wait", "sums were changed"),
    (19, "a copy into what is read", "still reads"),
    (20, "stores into what is read", "changed while a product read"),
    (21, "no wait", "without waiting for its products"),
    (22, "products without a fence behind a wait", "wgmma.fence"),
    (23, "a copy at the end that nobody waits for", "without waiting for its copies"),
];

/// Whole numbers, so that sums are exact.
fn numbers(len: usize, seed: usize) -> Vec<bf16> {
    (0..len).map(|i| bf16::from_f32(((i * 5 + i / 11 * seed) % 13) as f32 - 6.0)).collect()
}

/// The product by a kernel.
fn multiplied(kernel: &'static str, fault: i32, order: Order) -> Result<Vec<f32>, TensorError> {
    let families = Families::Given(Arc::new(BTreeMap::from([("multiply", MULTIPLY.to_owned())])));
    let machine = Emulated::new(order, families);
    let operands = [numbers(ROWS * INNER, 1), numbers(INNER * COLUMNS, 2)];
    let [x, y] = [machine.allocate(2 * operands[0].len())?, machine.allocate(2 * operands[1].len())?];
    machine.write(x, bytemuck::cast_slice(&operands[0]))?;
    machine.write(y, bytemuck::cast_slice(&operands[1]))?;
    let z = machine.allocate(4 * ROWS * COLUMNS)?;
    let shape = Shape { grid: [1; 3], block: [128, 1, 1], shared_bytes: 192 * 128 + 1024 };
    let arguments = [(&raw const x).cast(), (&raw const y).cast(), (&raw const z).cast(), (&raw const fault).cast()];
    // SAFETY: four parameters of these types; the memory is the machine's.
    unsafe { machine.launch(Kernel { family: "multiply", name: kernel }, shape, &arguments) }?;
    let mut found = vec![0.0f32; ROWS * COLUMNS];
    machine.read(z, bytemuck::cast_slice_mut(&mut found))?;
    Ok(found)
}

fn right(turned: bool) -> Vec<f32> {
    let [x, y] = [numbers(ROWS * INNER, 1), numbers(INNER * COLUMNS, 2)]
        .map(|x| x.into_iter().map(f32::from).collect::<Vec<_>>());
    let at = |i: usize, k: usize, size: usize| if turned { k * size + i } else { i * INNER + k };
    let sum = |i: usize, j: usize| (0..INNER).map(|k| x[at(i, k, ROWS)] * y[at(j, k, COLUMNS)]).sum();
    (0..ROWS).flat_map(|i| (0..COLUMNS).map(move |j| (i, j))).map(|(i, j)| sum(i, j)).collect()
}

#[test]
fn right_products_are_right_in_every_order_and_layout() {
    for order in Order::ALL {
        for (kernel, turned) in [("as_they_lie", false), ("turned", true)] {
            assert_eq!(multiplied(kernel, 0, order).expect("a product"), right(turned), "{kernel} {order:?}");
        }
    }
}

#[test]
fn every_mistake_is_noticed() {
    for (fault, what, words) in FAULTS {
        for (kernel, turned) in [("as_they_lie", false), ("turned", true)] {
            // With the inner index innermost, there is nothing that the leading offset leads to.
            if fault == 9 && !turned {
                continue;
            }
            let found: Vec<_> = Order::ALL.map(|order| multiplied(kernel, fault, order)).into();
            let told = |outcome: &Result<Vec<f32>, TensorError>| match outcome {
                Ok(values) => words.is_empty() && *values != right(turned),
                Err(error) => error.to_string().contains(words),
            };
            let errors: Vec<String> =
                found.iter().filter_map(|outcome| Some(outcome.as_ref().err()?.to_string())).collect();
            assert!(found.iter().any(told), "{what} in {kernel}: {errors:?}");
        }
    }
}
