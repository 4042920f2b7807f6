//! What kernels give on every case of the list, with threads in other orders than the check of a GPU runs them in on the
//! host, which compares gradients and layouts, too.

use gustfront::tensor::cases::{Case, all};
use gustfront::tensor::{DType, Layout};

use crate::compare::values;
use crate::emulation::{Order, device};

macro_rules! families {
    ($($family:ident)*) => {
        /// Families that have cases of their own.
        const FAMILIES: &[&str] = &[$(stringify!($family)),*];
        $(#[test]
        fn $family() {
            check(stringify!($family));
        })*
    };
}

families! {
    attention conv data diffusion elementwise embedding fft fields graph index loss matmul norm optimiser pool random recurrent
    reduce resize softmax splat
}

#[test]
fn every_case_is_of_a_family_that_is_checked() {
    for case in all() {
        assert!(FAMILIES.contains(&family(&case)), "{}", case.name);
    }
}

fn family(case: &Case) -> &str {
    case.name.split('/').next().unwrap_or_default()
}

fn check(name: &str) {
    let mut cases = 0;
    for case in all().into_iter().filter(|case| family(case) == name && case.plain.is_some()) {
        cases += 1;
        let checked = [
            values(&case, &device(Order::Forward), DType::F32, Layout::Channels),
            values(&case, &device(Order::Reversed), DType::F32, Layout::Channels),
            values(&case, &device(Order::Forward), DType::Bf16, Layout::Channels),
        ];
        checked.into_iter().collect::<Result<(), String>>().unwrap_or_else(|e| panic!("{e}"));
    }
    assert!(cases > 0, "no cases of {name}");
}
