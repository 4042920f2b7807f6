//! The program that checks a GPU, run on the host: it finds what is right right, and times what is there.

#[path = "../../benches/gpu_check/check.rs"]
mod check;
#[allow(dead_code, reason = "the cases of speed are too large for the host: they are timed one by one here")]
#[path = "../../benches/gpu_check/speed.rs"]
mod speed;

use std::collections::BTreeSet;

use gustfront::tensor::cases::{Case, Input, all};
use gustfront::tensor::{Cuda, Device, Tensor};

use crate::emulation::{Emulated, Families, Order, cuda};

fn small_cases() -> Vec<Case> {
    all().into_iter().filter(|case| case.name.starts_with("diffusion/") && case.plain.is_some()).collect()
}

#[test]
fn right_cases_pass_and_a_wrong_one_is_told() {
    let (device, mut cases): (Device, _) = (cuda(Order::Forward), small_cases());
    let checked = check::run(&device, &cases);
    assert_eq!((checked.cases, checked.comparisons), (cases.len(), 5 * cases.len()));
    assert!(checked.failures.is_empty(), "{:?}", checked.failures);
    cases.truncate(1);
    cases[0].run = Box::new(|x: &[Tensor]| Ok(vec![x[0].q_sample(&x[1], &[0.25; 3])?]));
    let checked = check::run(&device, &cases);
    assert!(checked.failures.len() >= 3, "{:?}", checked.failures);
    assert!(checked.json().to_string().contains("diffusion/"), "{}", checked.json());
}

#[test]
fn cases_are_timed_with_their_bytes() {
    let cuda = cuda(Order::Forward);
    let inputs = vec![Input::normal(&[2, 3, 8, 8]), Input::between(&[2, 3, 8, 8], 0.5, 1.0)];
    let case = Case::speed("elementwise/add", inputs, |x| Ok(vec![x[0].add(&x[1])?]));
    let timed = speed::time(&cuda, &case, 1e-4).expect("times");
    assert!(timed["ms"].as_f64().is_some_and(|ms| ms > 0.0), "{timed}");
    assert!(timed["replayed_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{timed}");
    assert_eq!(timed["bytes"], 3 * 2 * 384);
    assert!(speed::copy(&cuda, 5000, 1e-4).expect("a copy") > 0.0);
}

#[test]
fn products_are_checked_and_timed_in_both_forms() {
    let hopper = Cuda::on(Box::new(Emulated::new(Order::Forward, Families::Own).hopper()));
    let inputs = vec![Input::normal(&[8, 16]), Input::normal(&[16, 24])];
    let case = Case::speed("matmul/8×16×24", inputs, |x| Ok(vec![x[0].matmul(&x[1])?]));
    let timed = speed::forms(&hopper, &case, 1e-4).expect("times");
    assert!(["mma_sync_ms", "wgmma_ms"].iter().all(|form| timed[form].as_f64().is_some_and(|ms| ms > 0.0)), "{timed}");
    assert_eq!(speed::forms(&cuda(Order::Forward), &case, 1e-4).expect("nothing"), serde_json::json!({}));
    let cases: Vec<Case> = all().into_iter().filter(|case| case.name.starts_with("matmul/")).collect();
    let mut checked = check::Checked::default();
    check::run_wgmma(&hopper, &cases, &mut checked);
    assert!(checked.comparisons > 10 && checked.failures.is_empty(), "{:?}", checked.failures);
    let launches = hopper.work().expect("work").launches;
    assert!(launches["matmul"] > 0 && launches["matmul_wide"] > 3, "{launches:?}");
}

#[test]
fn operations_are_counted_as_papers_count_them() {
    let (device, shapes): (Device, _) = (cuda(Order::Forward), [vec![1, 8, 9, 9], vec![16, 8, 3, 3]]);
    let case = |name: &str, shapes: &[Vec<usize>]| {
        Case::speed(name, shapes.iter().map(|shape| Input::normal(shape)).collect(), |_| Ok(Vec::new()))
    };
    let out = |len| vec![Tensor::zeros(&device, [len]).expect("a tensor")];
    assert_eq!(speed::operations(&case("conv/3x3", &shapes), &out(16 * 81)), (2 * 16 * 81 * 8 * 9) as f64);
    assert_eq!(speed::operations(&case("matmul/x", &[vec![5, 7], vec![7, 3]]), &out(15)), 210.0);
    let heads = vec![vec![1, 2, 10, 4]; 3];
    assert_eq!(speed::operations(&case("attention/x", &heads), &out(80)), (2 * 2 * 2 * 10 * 10 * 4) as f64);
    assert_eq!(speed::operations(&case("elementwise/x", &heads), &out(80)), 0.0);
}

#[test]
fn every_peer_is_of_a_case_that_is_timed() {
    let listed = speed::list(&all());
    let names: BTreeSet<&str> =
        listed.as_array().expect("a list").iter().filter_map(|case| case["name"].as_str()).collect();
    let script = include_str!("../../benches/peers/gpu.py");
    let keys: Vec<&str> =
        script.lines().filter_map(|l| Some(l.strip_prefix("    \"")?.split_once("\": ")?.0)).collect();
    assert!(keys.len() > 10, "{keys:?}");
    let idle: Vec<_> = keys.iter().filter(|key| !names.iter().any(|name| name.starts_with(**key))).collect();
    assert!(idle.is_empty(), "no case begins with {idle:?}");
}
