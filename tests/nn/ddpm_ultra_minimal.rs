//! The network against PyTorch's: every part, the loss, every gradient; and ten steps of training.

use gustfront::domain::Philox;
use gustfront::nn::networks::ddpm_ultra_minimal::{Sizes, UltraMinimal};
use gustfront::nn::{Builder, Parameters, WeightFile};
use gustfront::tensor::{AdamOptions, AdamW, Cpu, Device, Level, Shape, Tensor, no_grad};

use crate::fixtures;

/// What outputs may be off by, as a share of a tensor's greatest element: PyTorch's own f32 is off by 2e-6.
const OUTPUTS: f64 = 4e-6;

/// The same of gradients: sums over 8192 pixels, most of which a normalisation makes cancel, in PyTorch's f32 too.
const GRADIENTS: f64 = 1e-5;

/// PyTorch's numbers; `None`, with the reason printed, where they are not on this machine.
fn reference() -> Option<WeightFile> {
    let path = fixtures::stored("ddpm_ultra_minimal_dev.safetensors")?;
    Some(WeightFile::open(&path).expect("a file of weights"))
}

fn stored(file: &WeightFile, device: &Device, name: &str) -> Tensor {
    let values = file.values(name).expect("numbers").unwrap_or_else(|| panic!("no tensor {name}"));
    let values: Vec<f32> = values.into_iter().map(|x| x as f32).collect();
    let shape = match *file.shape(name).expect("a shape") {
        [a, b, c, d] => Shape::from([a, b, c, d]),
        ref sizes => Shape::from([sizes.iter().product::<usize>()]),
    };
    Tensor::new(device, shape, &values).expect("a tensor")
}

/// Fails where a tensor is not what is stored of it: where fewer channels are stored, every second one.
fn assert_stored(file: &WeightFile, name: &str, found: &Tensor) {
    let wanted = file.values(name).expect("numbers").unwrap_or_else(|| panic!("no tensor {name}"));
    let (values, shape) = (found.to_vec().expect("values"), found.shape());
    let step = values.len() / wanted.len();
    let plane: usize = shape.iter().skip(2).product();
    let planes = values.chunks(plane).step_by(step).flatten().copied();
    let found: Vec<f32> = if step == 1 { values.clone() } else { planes.collect() };
    assert_eq!(found.len(), wanted.len(), "{name}");
    let share = if name.starts_with("g.") { GRADIENTS } else { OUTPUTS };
    let greatest = wanted.iter().fold(0.0, |greatest: f64, x| greatest.max(x.abs()));
    for (i, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
        let error = (f64::from(*found) - wanted).abs();
        let allowed = share * greatest + 1e-5 * wanted.abs();
        assert!(error <= allowed, "{name}: element {i} is {found}, expected {wanted} of up to {greatest}");
    }
}

fn network(device: &Device, seed: u64) -> (UltraMinimal, Parameters) {
    let builder = Builder::new(device, seed);
    let network = UltraMinimal::new(&builder, Sizes::default()).expect("a network");
    (network, builder.parameters())
}

fn squared_error(found: &Tensor, wanted: &Tensor) -> Tensor {
    let error = found.sub(wanted).expect("a difference");
    error.mul(&error).and_then(|squares| squares.mean(&[], false)).expect("a loss")
}

#[test]
fn it_has_the_published_number_of_parameters() {
    let device = Cpu::device();
    for (width, count) in [(16, 81_111), (24, 180_799), (32, 319_911), (64, 1_270_599)] {
        let builder = Builder::new(&device, 0);
        UltraMinimal::new(&builder, Sizes { width, ..Sizes::default() }).expect("a network");
        assert_eq!(builder.parameters().count(), count);
    }
}

#[test]
fn outputs_loss_and_gradients_equal_pytorchs() {
    let Some(file) = reference() else { return };
    for level in Level::available() {
        let device = Cpu::with_level(level);
        let (network, parameters) = network(&device, 0);
        parameters.load_from(&file, "w.").expect("the weights");
        let steps: Vec<f32> = file.values("in.t").expect("numbers").expect("steps").iter().map(|t| *t as f32).collect();
        let x = stored(&file, &device, "out.x_t").with_gradient();
        let parts = network.parts(&x, &steps).expect("the parts");
        assert_stored(&file, "out.time_mlp.0", &parts.sinusoid);
        assert_stored(&file, "out.time_mlp", &parts.time);
        parts.blocks.iter().for_each(|(name, y)| assert_stored(&file, &format!("out.{name}"), y));
        assert_stored(&file, "out.eps", &parts.noise);
        let loss = squared_error(&parts.noise, &stored(&file, &device, "in.noise"));
        assert_stored(&file, "loss.mse", &loss);
        loss.backward().expect("gradients");
        assert_stored(&file, "g.in.x_t", &x.gradient().expect("a gradient"));
        for (name, parameter) in parameters.trained() {
            assert_stored(&file, &format!("g.{name}"), &parameter.gradient().expect("a gradient"));
        }
    }
}

/// Waves of several lengths, different for every field.
fn fields(device: &Device, [batch, channels, rows, columns]: [usize; 4]) -> Tensor {
    let value = |i: usize| {
        let (column, row, plane) = (i % columns, i / columns % rows, i / columns / rows);
        let (x, y) = (column as f32 / columns as f32, row as f32 / rows as f32);
        (6.0 * x + plane as f32).sin() + (9.0 * y - plane as f32 * x).cos()
    };
    let values: Vec<f32> = (0..batch * channels * rows * columns).map(value).collect();
    Tensor::new(device, [batch, channels, rows, columns], &values).expect("fields")
}

fn normal(device: &Device, shape: [usize; 4]) -> Tensor {
    let values: Vec<f32> =
        (0..shape.iter().product::<usize>() as u32).map(|i| Philox::new(5, 5).normal([i, 0, 0, 0])[0] as f32).collect();
    Tensor::new(device, shape, &values).expect("noise")
}

#[test]
fn ten_steps_lower_the_loss_and_ask_for_no_more_memory() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    pool.install(|| {
        let device = Cpu::device();
        let (network, parameters) = network(&device, 3);
        let (shape, steps) = ([2, 7, 24, 32], [20.0, 70.0]);
        let noise = normal(&device, shape);
        let x = fields(&device, shape).add(&noise).expect("noised fields");
        let step = || {
            let loss = squared_error(&network.forward(&x, &steps).expect("noise"), &noise);
            loss.backward().expect("gradients");
            descend(&parameters, 0.2);
            loss.item().expect("a number")
        };
        let mut losses: Vec<f32> = (0..3).map(|_| step()).collect();
        let before = device.memory_use().allocations;
        losses.extend((3..10).map(|_| step()));
        assert_eq!(device.memory_use().allocations, before);
        assert!(losses[9] < 0.8 * losses[0], "{losses:?}");
    });
}

/// A plain step against the gradient.
fn descend(parameters: &Parameters, rate: f32) {
    no_grad(|| {
        for (name, parameter) in parameters.trained() {
            let gradient = parameter.gradient().unwrap_or_else(|| panic!("{name} has no gradient"));
            let step = gradient.mul_scalar(-rate).expect("a step");
            parameter.set(parameter.get().add(&step).expect("a value")).expect("the parameter's shape");
        }
    });
    parameters.clear_gradients();
}

/// Losses and parameters of `steps` steps of AdamW with clipping, and the device's allocations after each.
fn trained(threads: usize, steps: usize) -> (Vec<u32>, Vec<u64>) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
    pool.install(|| {
        let device = Cpu::device();
        let (network, parameters) = network(&device, 3);
        let trained = parameters.trained().map(|(_, parameter)| parameter.clone()).collect();
        let options = AdamOptions { max_norm: Some(1.0), ..AdamOptions::default() };
        let mut optimiser = AdamW::new(trained, options).expect("an optimiser");
        let shape = [2, 7, 24, 32];
        let noise = normal(&device, shape);
        let x = fields(&device, shape).add(&noise).expect("noised fields");
        let (mut bits, mut allocations) = (Vec::new(), Vec::new());
        for _ in 0..steps {
            let loss = squared_error(&network.forward(&x, &[20.0, 70.0]).expect("noise"), &noise);
            loss.backward().expect("gradients");
            let norm = optimiser.step(1e-2).expect("a step").expect("a norm");
            optimiser.clear_gradients();
            bits.extend([&loss, &norm].map(|x| x.item().expect("a number").to_bits()));
            allocations.push(device.memory_use().allocations);
        }
        for (_, parameter) in parameters.trained() {
            bits.extend(parameter.get().to_vec().expect("values").into_iter().map(f32::to_bits));
        }
        (bits, allocations)
    })
}

#[test]
fn a_training_step_allocates_nothing_after_the_first() {
    for threads in [1, 2, 5] {
        let (_, allocations) = trained(threads, 10);
        assert_eq!(allocations[1..], [allocations[0]; 9], "{threads} threads");
    }
}

/// Steps over images of many sizes: what is held stays near what one of them needs.
#[test]
fn memory_is_bounded_where_sizes_vary() {
    let device = Cpu::device();
    let (network, parameters) = network(&device, 3);
    for size in [96, 104, 112, 120, 128, 136, 144, 136, 120, 104] {
        let shape = [1, 7, size, size + 8];
        let (x, noise) = (fields(&device, shape), normal(&device, shape));
        let loss = squared_error(&network.forward(&x, &[20.0]).expect("noise"), &noise);
        loss.backward().expect("gradients");
        parameters.trained().for_each(|(_, parameter)| parameter.clear_gradient());
        let used = device.memory_use();
        assert!(used.held_bytes <= 2 * used.peak_bytes.max(8 << 20), "{size}: {used:?}");
    }
    assert!(device.memory_use().peak_bytes > 16 << 20, "{:?}", device.memory_use());
}

#[test]
fn training_has_the_same_bits_for_any_number_of_threads() {
    let (one, _) = trained(1, 3);
    assert_eq!(one.len(), 6 + 81_111);
    for threads in [2, 5] {
        assert!(trained(threads, 3).0 == one, "{threads} threads");
    }
}

#[test]
fn steps_and_states_are_as_many() {
    let device = Cpu::device();
    let (network, _) = network(&device, 0);
    let error = network.forward(&fields(&device, [2, 7, 8, 8]), &[1.0]).expect_err("one step for two states");
    assert!(error.to_string().contains("[2, 7, 8, 8]"), "{error}");
    let error = network.forward(&fields(&device, [1, 6, 8, 8]), &[1.0]).expect_err("six fields");
    assert!(error.to_string().contains("[1, 6, 8, 8]"), "{error}");
    assert!(UltraMinimal::new(&Builder::new(&device, 0), Sizes { width: 12, ..Sizes::default() }).is_err());
}
