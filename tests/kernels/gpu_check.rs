//! The program that checks a GPU, run on the host: it finds what is right right, reaches every kernel, and times what
//! is there.

#[path = "../../benches/gpu_check/check.rs"]
pub(crate) mod check;
#[allow(dead_code, reason = "whole fields are too large for the host: small ones are unpacked here")]
#[path = "../../benches/gpu_check/fields.rs"]
pub(crate) mod fields;
#[path = "../../benches/gpu_check/kernels.rs"]
pub(crate) mod kernels;
#[allow(dead_code, reason = "the network is too large for the host: small images go through it here")]
#[path = "../../benches/gpu_check/network.rs"]
mod network;
#[allow(dead_code, reason = "the cases of speed are too large for the host: they are timed one by one here")]
#[path = "../../benches/gpu_check/speed.rs"]
pub(crate) mod speed;

#[allow(dead_code, reason = "the host has fewer multiprocessors")]
#[path = "../../benches/gpu_check/tiles.rs"]
mod tiles;

use std::collections::BTreeSet;
use std::sync::Arc;

use gustfront::tensor::cases::{Case, Input, all};
use gustfront::tensor::cuda::FAMILIES;
use gustfront::tensor::{Cuda, Device, Tensor};
use rayon::prelude::*;

use crate::compile::compiler;
use crate::emulation::{Emulated, Families, Order, cuda};
use crate::library::names_of;

fn small_cases() -> Vec<Case> {
    all().into_iter().filter(|case| case.name.starts_with("diffusion/") && case.plain.is_some()).collect()
}

#[test]
fn right_cases_pass_and_a_wrong_one_is_told() {
    let (device, mut cases): (Device, _) = (cuda(Order::Forward), small_cases());
    let checked = check::run(&device, &cases);
    assert_eq!((checked.cases, checked.comparisons), (cases.len(), 6 * cases.len()));
    assert!(checked.failures.is_empty(), "{:?}", checked.failures);
    cases.truncate(1);
    cases[0].run = Box::new(|x: &[Tensor]| Ok(vec![x[0].q_sample(&x[1], &[0.25; 3])?]));
    let checked = check::run(&device, &cases);
    assert!(checked.failures.len() >= 3, "{:?}", checked.failures);
    assert!(checked.json().to_string().contains("diffusion/"), "{}", checked.json());
}

const SHARES: &str = "gradients of shares are worked out in f32, so that no operation asks for it";

const LAYOUTS: &str = "gradients of linear layers have the other layouts, but for those of a single input";

/// Kernels that no check on the host reaches: how their names begin, and why.
const IDLE: &[(&str, &str)] = &[
    ("cast_f32_i32", "an operation on indices that is no case"),
    ("cast_i32_f32", "an operation on indices that is no case"),
    ("matmul_nt_large_split", LAYOUTS),
    ("matmul_nt_small_split", LAYOUTS),
    ("matmul_tt_large_split", LAYOUTS),
    ("matmul_tt_small_split", LAYOUTS),
    ("resample_rows", "a resizing that takes the mean of more than 64 elements, which is no case"),
    ("resample_columns", "a resizing that takes the mean of more than 64 elements, which is no case"),
    ("splat_bf16", "a splatting of consumers' size, which is timed in bf16"),
    ("splat_grad_bf16", "a splatting of consumers' size, which is timed in bf16"),
    ("edge_softmax_grad_bf16", SHARES),
    ("softmax_back_block_bf16", SHARES),
    ("softmax_back_columns_bf16", SHARES),
    ("softmax_back_plain_bf16", SHARES),
    ("softmax_back_wide_bf16", SHARES),
];

/// What a device finds, and the kernels that it ran.
fn found(cuda: Arc<Cuda>, check: impl FnOnce(&Arc<Cuda>) -> check::Checked) -> (Vec<String>, BTreeSet<String>) {
    let checked = check(&cuda);
    assert!(checked.comparisons > 0);
    (checked.failures, cuda.kernels().into_keys().collect())
}

fn hopper() -> Arc<Cuda> {
    Cuda::on(Box::new(Emulated::new(Order::Shuffled(11), Families::Own).hopper()))
}

#[test]
fn every_case_is_right_and_every_kernel_is_reached() {
    let cases = all();
    let families: BTreeSet<&str> = cases.iter().filter_map(|case| case.name.split('/').next()).collect();
    let of_family = |family: &&str| {
        let own = all().into_iter().filter(|case| case.name.split('/').next() == Some(family)).collect::<Vec<_>>();
        found(cuda(Order::Shuffled(11)), |cuda| check::run(&(cuda.clone() as Device), &own))
    };
    let mut results: Vec<_> = families.par_iter().map(of_family).collect();
    results.push(found(hopper(), |cuda| {
        let mut checked = check::Checked::default();
        // Products of every layout and a wide convolution: the others take the tiles of the small cases.
        let wide = |case: &Case| case.name.contains("turned") || case.name.contains("to 272");
        let tiles: Vec<Case> = tiles::cases(4).into_iter().filter(wide).collect();
        check::run_wgmma(cuda, &cases, &tiles, &mut checked);
        checked
    }));
    results.push(found(cuda(Order::Shuffled(11)), |cuda| {
        let mut checked = check::Checked::default();
        network::check(cuda, [9, 17], [16, 24], &mut checked);
        fields::run(cuda, [67, 50], 1e-6, &mut checked);
        checked
    }));
    let tiles = tiles::cases(4);
    let one = |case: &Case| {
        found(cuda(Order::Shuffled(11)), |cuda| {
            let mut checked = check::Checked::default();
            check::run_tiles(&(cuda.clone() as Device), std::slice::from_ref(case), &mut checked);
            checked
        })
    };
    results.par_extend(tiles.par_iter().map(one));
    let failures: Vec<String> = results.iter().flat_map(|(failures, _)| failures.clone()).collect();
    let ran: BTreeSet<String> = results.into_iter().flat_map(|(_, ran)| ran).collect();
    let all: BTreeSet<String> = FAMILIES.iter().flat_map(|(family, text)| names_of(family, text)).collect();
    let excused = |name: &&String| IDLE.iter().any(|(start, _)| name.starts_with(start));
    let idle: Vec<&String> = all.difference(&ran).filter(|name| !excused(name)).collect();
    assert!(failures.is_empty() && idle.is_empty(), "\n{}\nno case runs {idle:#?}", failures.join("\n"));
    let excuses: Vec<_> =
        IDLE.iter().filter(|(start, _)| !all.difference(&ran).any(|n| n.starts_with(start))).collect();
    assert!(excuses.is_empty(), "these run: {excuses:?}");
}

#[test]
fn the_compiler_tells_of_the_kernels_that_there_are() {
    let Some(compiler) = compiler() else { return };
    let few: Vec<_> = FAMILIES.iter().filter(|(family, _)| ["memory", "optimiser"].contains(family)).copied().collect();
    let names = few.iter().flat_map(|(family, text)| names_of(family, text)).collect();
    assert_eq!(kernels::all(&compiler, &few), Ok(names));
}

#[test]
fn kernels_that_did_not_run_are_named() {
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<String>>();
    let told = kernels::told(Ok(set(&["a_f32", "b_f32", "c_f32"])), &set(&["b_f32"]));
    assert_eq!(told, serde_json::json!({ "ran": 1, "all": 3, "idle": ["a_f32", "c_f32"] }));
    assert_eq!(kernels::told(Err("no compiler".into()), &set(&["b_f32"]))["error"], "no compiler");
}

/// Two channels in, and their products and their mean out.
fn products(wrong: f32) -> Case {
    let inputs = vec![Input::normal(&[2, 3, 8, 8]), Input::between(&[2, 3, 8, 8], 0.5, 1.0)];
    Case::speed("elementwise/mul", inputs, move |x| {
        let wrong = if x[0].device().name().starts_with("emulated") { wrong } else { 1.0 };
        let y = x[0].mul(&x[1])?;
        Ok(vec![y.clone(), y.mul_scalar(wrong)?.mean(&[0, 2, 3], false)?])
    })
}

#[test]
fn what_is_timed_is_compared_with_the_cpu_forward_and_backward() {
    let failures = |case: Case| {
        let mut checked = check::Checked::default();
        check::run_timed(&cuda(Order::Forward), &[case], &mut checked);
        assert_eq!((checked.cases, checked.comparisons), (1, 1));
        checked.failures
    };
    assert_eq!(failures(products(1.0)), Vec::<String>::new());
    let wrong = failures(products(1.5));
    assert!(wrong.len() == 1 && wrong[0].contains("elementwise/mul result 1"), "{wrong:?}");
    let inputs = vec![Input::normal(&[5, 7])];
    let backward = Case::speed("elementwise/scaled", inputs, |x| {
        let factor = if x[0].device().name().starts_with("emulated") && x[0].wants_gradient() { 2.0 } else { 1.0 };
        // The same values, another gradient.
        Ok(vec![x[0].mul_scalar(factor)?.sub(&x[0].detach().mul_scalar(factor - 1.0)?)?])
    });
    let wrong = failures(backward);
    assert!(wrong.len() == 1 && wrong[0].contains("gradient of input 0"), "{wrong:?}");
}

#[test]
fn cases_are_timed_with_their_bytes_forward_and_backward() {
    let cuda = cuda(Order::Forward);
    let inputs = vec![Input::normal(&[2, 3, 8, 8]), Input::between(&[2, 3, 8, 8], 0.5, 1.0).constant()];
    let case = Case::speed("elementwise/mul", inputs, |x| Ok(vec![x[0].mul(&x[1])?])).counting(384.0);
    let timed = [speed::forward(&cuda, &case, 1e-4), speed::both(&cuda, &case, 1e-4)].map(|x| x.expect("times"));
    for (timed, arrays, operations) in timed.iter().zip([3, 7]).zip([384.0, 3.0 * 384.0]).map(|((t, a), o)| (t, a, o)) {
        assert!(timed["ms"].as_f64().is_some_and(|ms| ms > 0.0), "{timed}");
        assert!(timed["replayed_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{timed}");
        assert_eq!((&timed["bytes"], &timed["operations"]), (&(arrays * 2 * 384).into(), &operations.into()));
    }
    let indices = Case::speed("index/none", vec![Input::below(&[5], 3)], |x| Ok(vec![x[0].clone()]));
    assert_eq!(speed::both(&cuda, &indices, 1e-4).expect("nothing"), serde_json::Value::Null);
    assert!(speed::copy(&cuda, 5000, 1e-4).expect("a copy") > 0.0);
}

#[test]
fn fields_are_unpacked_by_kernels_of_both_templates_and_timed() {
    let mut checked = check::Checked::default();
    let rows = fields::run(&cuda(Order::Reversed), [211, 30], 1e-6, &mut checked);
    assert_eq!((checked.comparisons, checked.failures), (4, Vec::new()));
    let templates: Vec<_> = rows.iter().map(|row| row["template"].as_u64()).collect();
    assert_eq!(templates, [Some(0), Some(0), Some(3), Some(3)]);
    for row in &rows {
        assert!(["ms", "kernels_ms", "cpu_ms"].iter().all(|name| row[name].as_f64().is_some_and(|x| x > 0.0)), "{row}");
    }
    let wrong = FAMILIES.iter().map(|(name, text)| (*name, text.replace("__dadd_rn(offset,", "__dadd_rn(-offset,")));
    let wrong = Emulated::new(Order::Forward, Families::Given(Arc::new(wrong.collect())));
    let mut checked = check::Checked::default();
    fields::run(&Cuda::on(Box::new(wrong)), [67, 50], 1e-6, &mut checked);
    assert!(checked.failures.iter().any(|what| what.contains("the CPU's reader gives")), "{:?}", checked.failures);
}

#[test]
fn a_step_of_the_network_is_timed_with_what_it_needs() {
    let rows = network::time(&cuda(Order::Forward), [8, 9], [8, 8], 1e-6);
    assert_eq!(rows.iter().filter_map(|row| row["pass"].as_str()).collect::<Vec<_>>(), ["forward", "forward", "both"]);
    for row in &rows {
        assert!(["ms", "replayed_ms"].iter().all(|name| row[name].as_f64().is_some_and(|x| x > 0.0)), "{row}");
    }
    // 288 channels of results written and read, 7 of the state and 7 of the noise, two bytes each.
    assert_eq!(rows[0]["bytes"], 2 * 72 * (2 * 288 + 14));
    assert_eq!(rows[2]["bytes"], 2 * 64 * (5 * 288 + 28));
    let multiplied = 9 * (7 * 16 + 16 * 16 + 16 * 32 + 5 * 32 * 32 + 32 * 16 + 3 * 16 * 16) + 16 * 7;
    assert_eq!(rows[0]["operations"], (2 * 72 * multiplied) as f64);
}

#[test]
fn products_are_checked_and_timed_in_both_forms() {
    let hopper = hopper();
    let inputs = vec![Input::normal(&[8, 16]), Input::normal(&[16, 24])];
    let case = Case::speed("matmul/8×16×24", inputs, |x| Ok(vec![x[0].matmul(&x[1])?]));
    let timed = speed::forms(&hopper, &case, 1e-4).expect("times");
    assert!(["mma_sync_ms", "wgmma_ms"].iter().all(|form| timed[form].as_f64().is_some_and(|ms| ms > 0.0)), "{timed}");
    assert_eq!(speed::forms(&cuda(Order::Forward), &case, 1e-4).expect("nothing"), serde_json::json!({}));
    let cases: Vec<Case> = all().into_iter().filter(|case| case.name.starts_with("matmul/")).collect();
    let mut checked = check::Checked::default();
    check::run_wgmma(&hopper, &cases, &[], &mut checked);
    assert!(checked.comparisons > 10 && checked.failures.is_empty(), "{:?}", checked.failures);
    let launches = hopper.work().expect("work").launches;
    assert!(launches["matmul"] > 0 && launches["matmul_wide"] > 3, "{launches:?}");
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
