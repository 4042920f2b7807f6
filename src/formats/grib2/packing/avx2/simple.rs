//! Simple packing, eight values at a time.

use super::numbers::{Eight, LANES, REACH, WIDEST};
use super::scale::Line;

/// Unpacks as many eights of values as can be loaded whole; how many values they are.
#[target_feature(enable = "avx2")]
pub(super) fn unpack(bytes: &[u8], bits: usize, line: (f64, f64), values: &mut [f32]) -> usize {
    if bits == 0 || bits > WIDEST || bytes.len() < REACH {
        return 0;
    }
    let whole = (bytes.len() - REACH) / bits + 1;
    let (eight, line) = (Eight::new(bits, 0), Line::new(line));
    let (eights, _) = values.as_chunks_mut::<LANES>();
    let done = eights.len().min(whole);
    for (at, values) in eights.iter_mut().take(done).enumerate() {
        // SAFETY: at ≤ (length − REACH) / bits, so that REACH bytes follow there.
        let numbers = unsafe { eight.take(bytes.as_ptr().add(at * bits)) };
        line.write(numbers, values);
    }
    done * LANES
}
