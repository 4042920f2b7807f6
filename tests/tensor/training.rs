//! Losses, recurrent networks, embeddings, optimisers and rates against PyTorch and diffusers.

use gustfront::tensor::cases::Array;
use gustfront::tensor::{
    AdamOptions, AdamW, Cpu, Device, GruWeights, Level, Parameter, Penalty, Plateau, Result, Schedule, Tensor,
    TimeEmbedding, Weighting, checkpoint, clipped_by_global_norm,
};
use serde_json::Value;

use crate::assert_close;
use crate::fixtures::{Fixtures, pytorch};

/// What f32 results are compared with stored ones to.
const TOLERANCE: (f64, f64) = (1e-5, 1e-6);

/// A case of the manifest.
struct Stored<'a> {
    fixtures: &'a Fixtures,
    name: &'a str,
    operation: &'a str,
    arguments: &'a Value,
    device: Device,
}

impl Stored<'_> {
    fn leaf(&self, input: &str) -> Tensor {
        self.fixtures.tensor(&self.device, &format!("in.{}.{input}", self.name)).with_gradient()
    }

    fn upstream(&self, output: &str, y: &Tensor) -> Tensor {
        let stored = self.fixtures.tensor(&self.device, &format!("in.{}.d_{output}", self.name));
        stored.reshape(y.shape()).expect("a gradient")
    }

    fn check_output(&self, output: &str, y: &Tensor) {
        self.check(&format!("out.{}.{output}", self.name), y, TOLERANCE);
    }

    fn check_gradient(&self, input: &str, x: &Tensor) {
        let key = format!("g.{}.{input}", self.name);
        let gradient = x.gradient().unwrap_or_else(|| panic!("{key}: none"));
        self.check(&key, &gradient, TOLERANCE);
    }

    fn check(&self, key: &str, x: &Tensor, tolerance: (f64, f64)) {
        assert_close(key, &x.to_vec().expect("values"), self.fixtures.array(key), tolerance);
    }

    fn number(&self, key: &str) -> f64 {
        self.arguments[key].as_f64().unwrap_or_else(|| panic!("{}: no number {key}", self.name))
    }
}

/// Runs `check` on every case that `wanted` picks by its operation, on every level; how many cases there were.
fn with_stored(wanted: impl Fn(&str) -> bool, check: impl Fn(&Stored<'_>) -> Result<()>) -> Option<usize> {
    let (fixtures, cases) = pytorch()?;
    let mut count = 0;
    for case in &cases {
        let (Some(name), Some(operation)) = (case["case"].as_str(), case["op"].as_str()) else { continue };
        if !wanted(operation) {
            continue;
        }
        for level in Level::available() {
            let device = Cpu::with_level(level);
            let stored = Stored { fixtures: &fixtures, name, operation, arguments: &case["args"], device };
            check(&stored).unwrap_or_else(|e| panic!("{name}: {e}"));
        }
        count += 1;
    }
    Some(count)
}

/// Says that a manifest has no cases of something; [`with_stored`] has said it already where there is no manifest.
fn tell(count: Option<usize>, what: &str) {
    match count {
        Some(0) => println!("skipped: the manifest has no cases of {what}"),
        Some(count) => println!("{count} cases of {what}"),
        None => (),
    }
}

/// The penalty that an operation names, as in `huber05`.
fn penalty(operation: &str) -> Option<Penalty> {
    match operation {
        "mse" => Some(Penalty::Squared),
        "l1" => Some(Penalty::Absolute),
        "smooth_l1" => Some(Penalty::SmoothAbsolute(1.0)),
        "huber05" => Some(Penalty::Huber(0.5)),
        "huber1" => Some(Penalty::Huber(1.0)),
        _ => None,
    }
}

#[test]
fn losses_equal_pytorchs() {
    let count = with_stored(
        |operation| penalty(operation).is_some(),
        |stored| {
            let (p, t) = (stored.leaf("p"), stored.leaf("t"));
            let y = p.loss(penalty(stored.operation).expect("a penalty"), &t, Weighting::Equal)?;
            stored.check_output("y", &y);
            y.backward_with(&stored.upstream("y", &y))?;
            stored.check_gradient("p", &p);
            stored.check_gradient("t", &t);
            Ok(())
        },
    );
    tell(count, "losses");
}

#[test]
fn a_gru_equals_pytorchs() {
    let count = with_stored(|operation| operation == "GRU", gru);
    tell(count, "a GRU");
}

fn gru(stored: &Stored<'_>) -> Result<()> {
    let x = stored.leaf("x");
    let layers = stored.arguments["layers"].as_u64().expect("layers");
    let names = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"];
    let named: Vec<[(String, Tensor); 4]> = (0..layers)
        .map(|layer| names.map(|name| (format!("{name}_l{layer}"), stored.leaf(&format!("{name}_l{layer}")))))
        .collect();
    let (mut y, mut last) = (x.clone(), Vec::new());
    for [input, hidden, input_bias, hidden_bias] in &named {
        let bias = (Some(&input_bias.1), Some(&hidden_bias.1));
        let weights = GruWeights { input: &input.1, hidden: &hidden.1, input_bias: bias.0, hidden_bias: bias.1 };
        y = y.gru(None, weights)?;
        last.push(y.narrow(1, y.shape()[1] - 1, 1)?.transpose(0, 1)?);
    }
    let h = Tensor::cat(&last.iter().collect::<Vec<_>>(), 0)?;
    stored.check_output("y", &y);
    stored.check_output("h", &h);
    // Both outputs share the tape: their gradients gather in the leaves.
    y.backward_with(&stored.upstream("y", &y))?;
    h.backward_with(&stored.upstream("h", &h))?;
    stored.check_gradient("x", &x);
    named.iter().flatten().for_each(|(name, weight)| stored.check_gradient(name, weight));
    Ok(())
}

#[test]
fn time_embeddings_equal_diffusers() {
    let count = with_stored(
        |operation| operation == "diffusers get_timestep_embedding",
        |stored| {
            let Some(times) = stored.fixtures.find("in.temb.t") else {
                println!("skipped: the stored results have no in.temb.t");
                return Ok(());
            };
            let times: Vec<f32> = times.values.iter().map(|t| *t as f32).collect();
            let how = TimeEmbedding {
                flip_sin_to_cos: stored.arguments["flip_sin_to_cos"].as_bool().expect("a flag"),
                downscale_freq_shift: stored.number("downscale_freq_shift") as f32,
                ..TimeEmbedding::new(stored.number("embedding_dim") as usize)
            };
            let found = Tensor::time_embedding(&stored.device, &times, how)?;
            // Phases reach 999 radians in f32, where the last place of the frequency is worth 3e-5.
            stored.check(&format!("out.{}", stored.name), &found, (0.0, 3e-5));
            Ok(())
        },
    );
    tell(count, "time embeddings");
}

#[test]
fn clipping_equals_pytorchs() {
    let count = with_stored(
        |operation| operation == "clip_grad_norm_",
        |stored| {
            let gradients = [stored.leaf("g0"), stored.leaf("g1")];
            let limit = stored.number("max_norm") as f32;
            let (clipped, norm) = clipped_by_global_norm(&gradients.iter().collect::<Vec<_>>(), limit)?;
            stored.check_output("total_norm", &norm);
            stored.check_output("g0", &clipped[0]);
            stored.check_output("g1", &clipped[1]);
            Ok(())
        },
    );
    tell(count, "clipping");
}

/// How the rate of a case goes on; `None` where its schedule is not offered.
fn schedule(stored: &Stored<'_>) -> Option<Schedule> {
    let (_, kind) = stored.operation.split_once('+')?;
    let number = |key: &str| stored.arguments["sched"][key].as_f64().expect("a number");
    match kind {
        "const" => Some(Schedule::Constant),
        "cosine" => Some(Schedule::Cosine { length: number("T_max"), least: number("eta_min") }),
        "step" => Some(Schedule::Step { length: number("step_size") as u64, factor: number("gamma") }),
        "warm_restarts" => Some(Schedule::WarmRestarts {
            length: number("T_0") as u64,
            growth: number("T_mult") as u64,
            least: number("eta_min"),
        }),
        _ => None,
    }
}

/// The rates of ten steps; `None` where the schedule is not offered.
fn rates(stored: &Stored<'_>) -> Option<Vec<f64>> {
    let base = stored.number("lr");
    if let Some(schedule) = schedule(stored) {
        return Some((0..10).map(|step| schedule.rate(base, step).expect("a rate")).collect());
    }
    if !stored.operation.ends_with("+plateau") {
        return None;
    }
    let number = |key: &str| stored.arguments["sched"][key].as_f64().expect("a number");
    let mut plateau = Plateau::new(number("factor"), number("patience") as u64, number("min_lr"));
    plateau.threshold = number("threshold");
    let seen = &stored.fixtures.array("in.opt.plateau_metric").values;
    let mut rates = vec![base];
    for metric in &seen[..9] {
        rates.push(plateau.observe(*metric, rates[rates.len() - 1]).expect("a rate"));
    }
    Some(rates)
}

#[test]
fn adam_and_its_rates_equal_pytorchs() {
    let count = with_stored(
        |operation| operation.starts_with("Adam") || operation.starts_with("SGD"),
        |stored| {
            let offered = stored.operation.starts_with("Adam") && stored.arguments["amsgrad"].as_bool() != Some(true);
            match rates(stored).filter(|_| offered) {
                Some(rates) => adam(stored, &rates),
                None => {
                    println!("not offered: {} ({} {})", stored.name, stored.operation, stored.arguments);
                    Ok(())
                }
            }
        },
    );
    tell(count, "Adam");
}

/// Ten steps on ½‖A·p − b‖² + Σ sin p.
fn adam(stored: &Stored<'_>, rates: &[f64]) -> Result<()> {
    let betas = |i: usize, usual: f64| stored.arguments["betas"][i].as_f64().unwrap_or(usual);
    let options = AdamOptions {
        betas: (betas(0, 0.9), betas(1, 0.999)),
        epsilon: stored.arguments["eps"].as_f64().unwrap_or(1e-8),
        weight_decay: stored.number("weight_decay"),
        decoupled: stored.operation.starts_with("AdamW"),
        max_norm: None,
    };
    let [matrix, target, start] =
        ["A", "b", "p0"].map(|name| stored.fixtures.tensor(&stored.device, &format!("in.opt.{name}")));
    let parameter = Parameter::new(start);
    let mut optimiser = AdamW::new(vec![parameter.clone()], options)?;
    let mut values = Vec::new();
    for rate in rates {
        optimiser.clear_gradients();
        let p = parameter.get();
        let rest = matrix.matmul(&p)?.sub(&target)?;
        let loss = rest.mul(&rest)?.sum(&[], false)?.mul_scalar(0.5)?.add(&p.sin()?.sum(&[], false)?)?;
        loss.backward()?;
        optimiser.step(*rate)?;
        values.extend(parameter.get().to_vec()?);
    }
    let key = |what: &str| format!("out.{}.{what}", stored.name);
    assert_close(&key("params"), &values, stored.fixtures.array(&key("params")), TOLERANCE);
    let rates: Vec<f32> = rates.iter().map(|rate| *rate as f32).collect();
    assert_close(&key("lr_used"), &rates, stored.fixtures.array(&key("lr_used")), (1e-6, 0.0));
    Ok(())
}

fn quadratic(parameters: &[Parameter]) -> Result<()> {
    for (parameter, weight) in parameters.iter().zip([3.0, -2.0]) {
        let p = parameter.get();
        p.mul(&p)?.mul_scalar(weight)?.sum(&[], false)?.backward()?;
    }
    Ok(())
}

/// A checkpoint goes on with the same bits, and clipping inside the step equals clipping before it.
#[test]
fn a_restored_optimiser_goes_on_with_the_same_bits() -> Result<()> {
    let device = Cpu::device();
    let parameters = || -> Result<Vec<Parameter>> {
        let one = Tensor::new(&device, [3], &[1.0, -2.0, 0.5])?;
        let two = Tensor::new(&device, [2, 2], &[0.25, 4.0, -1.0, 3.0])?.to_dtype(gustfront::tensor::DType::Bf16)?;
        Ok(vec![Parameter::new(one), Parameter::new(two)])
    };
    let options = AdamOptions { max_norm: None, ..AdamOptions::default() };
    let (own, other) = (parameters()?, parameters()?);
    let mut optimiser = AdamW::new(own.clone(), options)?;
    for step in 0..6 {
        if step == 3 {
            own.iter().zip(&other).try_for_each(|(own, other)| other.set(own.get()))?;
            let mut restored = AdamW::new(other.clone(), options)?;
            restored.restore(optimiser.steps(), optimiser.state())?;
            assert!(restored.restore(1, Vec::new()).is_err());
            for _ in 0..3 {
                quadratic(&other)?;
                restored.step(0.1)?;
                restored.clear_gradients();
            }
        }
        quadratic(&own)?;
        optimiser.step(0.1)?;
        optimiser.clear_gradients();
    }
    for (own, other) in own.iter().zip(&other) {
        assert_eq!(own.get().to_vec()?, other.get().to_vec()?);
    }
    Ok(())
}

#[test]
fn a_step_clips_by_the_norm_of_all_gradients() -> Result<()> {
    let device = Cpu::device();
    let parameter = |values: &[f32]| Tensor::new(&device, [values.len()], values).map(Parameter::new);
    let parameters = [parameter(&[0.5, 1.0])?, parameter(&[0.75])?];
    // Epsilon so great that steps tell the length of gradients: the first is rate · g / (|g| + ε).
    let options = AdamOptions { epsilon: 1e3, weight_decay: 0.0, max_norm: Some(1.0), ..AdamOptions::default() };
    let mut optimiser = AdamW::new(parameters.to_vec(), options)?;
    quadratic(&parameters)?;
    let norm = optimiser.step(1e3)?.expect("a norm");
    // Gradients are (3, 6) and -3.
    let length = 54f64.sqrt();
    assert!((f64::from(norm.item()?) - length).abs() < 1e-5);
    let moved = [3.0, 6.0, -3.0].map(|g: f64| g / length).map(|g| 1e3 * g / (g.abs() + 1e3));
    let found = [parameters[0].get().to_vec()?, parameters[1].get().to_vec()?].concat();
    let wanted = Array { shape: vec![3], values: [0.5, 1.0, 0.75].iter().zip(moved).map(|(p, g)| p - g).collect() };
    assert_close("a clipped step", &found, &wanted, TOLERANCE);
    Ok(())
}

#[test]
fn position_embeddings_equal_the_masked_autoencoders() {
    let fixtures = Fixtures::own("training.safetensors");
    let device = Cpu::device();
    let places: Vec<f64> = (0..13).map(|i| f64::from(i) * 1.5).collect();
    let line = Tensor::position_embedding(&device, &places, 10).and_then(|x| x.to_vec()).expect("numbers");
    assert_close("positions.line", &line, fixtures.array("positions.line"), (0.0, 1e-7));
    let grid = Tensor::position_embedding_2d(&device, 3, 5, 12).and_then(|x| x.to_vec()).expect("numbers");
    assert_close("positions.grid", &grid, fixtures.array("positions.grid"), (0.0, 1e-7));
}

#[test]
fn a_conv_lstm_equals_pytorchs_over_three_steps() -> Result<()> {
    let fixtures = Fixtures::own("training.safetensors");
    for level in Level::available() {
        let device = Cpu::with_level(level);
        let leaf = |name: &str| fixtures.tensor(&device, &format!("lstm.{name}")).with_gradient();
        let [x, h, c, weight, bias] = ["x", "h", "c", "weight", "bias"].map(leaf);
        let (mut h_now, mut c_now) = (h.clone(), c.clone());
        for step in 0..3 {
            let image = x.narrow(0, 2 * step, 2)?;
            (h_now, c_now) = image.conv_lstm_cell((&h_now, &c_now), &weight, Some(&bias))?;
        }
        let check = |what: &str, x: &Tensor| {
            let key = format!("lstm.{what}");
            assert_close(&key, &x.to_vec().expect("values"), fixtures.array(&key), TOLERANCE);
        };
        check("h_last", &h_now);
        check("c_last", &c_now);
        let d = |name: &str| fixtures.tensor(&device, &format!("lstm.{name}"));
        let objective = h_now.mul(&d("dh"))?.sum(&[], false)?.add(&c_now.mul(&d("dc"))?.sum(&[], false)?)?;
        objective.backward()?;
        for (name, leaf) in [("x", &x), ("h", &h), ("c", &c), ("weight", &weight), ("bias", &bias)] {
            check(&format!("g.{name}"), &leaf.gradient().expect("a gradient"));
        }
    }
    Ok(())
}

/// PyTorch's binary cross-entropy with logits far from 0, where a naive one overflows.
#[test]
fn cross_entropy_of_great_logits_equals_pytorchs() -> Result<()> {
    let fixtures = Fixtures::own("training.safetensors");
    let device = Cpu::device();
    let (x, t) = (fixtures.tensor(&device, "bce.x").with_gradient(), fixtures.tensor(&device, "bce.t"));
    let loss = x.loss(Penalty::CrossEntropy(3.0), &t, Weighting::Equal)?;
    assert_close("bce.y", &loss.to_vec()?, fixtures.array("bce.y"), TOLERANCE);
    loss.backward()?;
    let gradient = x.gradient().expect("a gradient").to_vec()?;
    assert_close("bce.g", &gradient, fixtures.array("bce.g"), TOLERANCE);
    Ok(())
}

/// PyTorch counts steps for each parameter: one whose first gradient comes late is corrected as one that begins.
#[test]
fn a_parameter_that_comes_late_begins_with_its_own_first_step() -> Result<()> {
    let device = Cpu::device();
    let both: Vec<Parameter> =
        [1.0, 1.0].into_iter().map(|x| Ok(Parameter::new(Tensor::new(&device, [1], &[x])?))).collect::<Result<_>>()?;
    let mut optimiser = AdamW::new(both.clone(), AdamOptions::default())?;
    for _ in 0..3 {
        quadratic(&both[..1])?;
        optimiser.step(0.1)?;
        optimiser.clear_gradients();
    }
    let alone = vec![Parameter::new(Tensor::new(&device, [1], &[1.0])?)];
    let mut first = AdamW::new(alone.clone(), AdamOptions::default())?;
    for (optimiser, parameters) in [(&mut optimiser, &both[1..]), (&mut first, &alone[..])] {
        quadratic(parameters)?;
        optimiser.step(0.1)?;
    }
    assert_eq!(both[1].get().to_vec()?, alone[0].get().to_vec()?);
    Ok(())
}

/// The second run, of a checkpoint inside another too, would work with values that the first one did not have.
#[test]
fn a_parameter_that_is_replaced_before_a_checkpoints_second_run_is_refused() -> Result<()> {
    let two = Tensor::full(&Cpu::device(), [2], 2.0)?;
    let (x, parameter) = (two.with_gradient(), Parameter::new(two));
    let run = || {
        let outer = parameter.clone();
        let part = move |x: &[Tensor]| {
            let inner = outer.clone();
            checkpoint(&[&x[0]], move |x| x[0].mul(&inner.get()))
        };
        checkpoint(&[&x], part)?.sum(&[], false)
    };
    run()?.backward()?;
    assert_eq!(parameter.gradient().map(|gradient| gradient.to_vec()), Some(Ok(vec![2.0; 2])));
    let sum = run()?;
    parameter.set(parameter.get())?;
    let told = sum.backward().expect_err("another value").to_string();
    assert!(told.starts_with("checkpoint: a parameter of [2] was replaced 1 times since"), "{told}");
    run()?.backward()
}
