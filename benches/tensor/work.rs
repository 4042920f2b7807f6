//! What is measured: every speed case of the list, and a whole network, on numbers that other programs read too.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use bytemuck::{cast_slice, cast_slice_mut};
use gustfront::nn::networks::ddpm_ultra_minimal::{Sizes, UltraMinimal};
use gustfront::nn::{Builder, Parameters};
use gustfront::tensor::cases::{self, Case, Input};
use gustfront::tensor::{Cpu, DType, Device, Layout, Tensor, no_grad};

pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Families whose tensors of four dimensions are no images.
const NO_IMAGES: [&str; 1] = ["attention/"];
/// The step of the diffusion that the network is told.
const STEP: f32 = 50.0;
/// The number of the random stream that gradients of outputs come from; inputs have their own, from 0 on.
const UPSTREAM: u32 = 100;
/// Elements of a result that are told, from the first to the last.
const TOLD: usize = 64;

/// One run without a gradient, or one with what it takes to pull a gradient back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    Forward,
    Both,
}

/// The names of everything that can be measured.
pub(crate) fn names() -> Vec<String> {
    all().into_iter().map(|case| case.name).collect()
}

/// Networks, named by their side lengths; the full grid runs forward alone, as in a forecast.
fn networks() -> Vec<Case> {
    let network = |rows: usize, columns: usize| {
        let image = Input::normal(&[1, 7, rows, columns]);
        let image = if rows == columns { image } else { image.constant() };
        // The network itself is made where its device is known.
        Case::speed(format!("network/D at {rows}×{columns}"), vec![image], |x| Ok(x.to_vec()))
    };
    vec![network(256, 256), network(1059, 1799)]
}

fn all() -> Vec<Case> {
    cases::all().into_iter().filter(|case| case.plain.is_none()).chain(networks()).collect()
}

/// A case with its inputs on a device of its own.
pub(crate) struct Work {
    case: Case,
    device: Device,
    inputs: Vec<Tensor>,
    network: Option<(UltraMinimal, Parameters)>,
    upstream: Option<Tensor>,
    /// Files of the inputs, then of the gradient of the first output, then of the network's weights.
    pub(crate) files: Vec<PathBuf>,
}

impl Work {
    /// The case of a name; its numbers are kept in a folder.
    pub(crate) fn load(name: &str, folder: &Path) -> Outcome<Work> {
        let case = all().into_iter().find(|case| case.name == name).ok_or_else(|| format!("no case {name}"))?;
        let (device, mut files) = (Cpu::device(), Vec::new());
        let layout =
            if NO_IMAGES.iter().any(|family| name.starts_with(family)) { Layout::Rows } else { Layout::Channels };
        let mut tensor = |input: &Input, number: u32| -> Outcome<Tensor> {
            let (path, values) = numbers(input, number, folder)?;
            files.push(path);
            Ok(input.tensor(&device, &values, DType::F32, layout)?)
        };
        let inputs =
            case.inputs.iter().zip(0..).map(|(input, i)| tensor(input, i)).collect::<Outcome<Vec<Tensor>>>()?;
        let network = if name.starts_with("network/") { Some(network(&device)?) } else { None };
        let mut work = Work { case, device: device.clone(), inputs, network, upstream: None, files: Vec::new() };
        work.upstream = work.like_first_output()?.map(|input| tensor(&input, UPSTREAM)).transpose()?;
        if let Some((_, parameters)) = &work.network {
            let path = folder.join("network.safetensors");
            parameters.save(&path, &Default::default())?;
            files.push(path);
        }
        work.files = files;
        Ok(work)
    }

    /// What the gradient of the first output looks like; `None` where no gradient flows back.
    fn like_first_output(&self) -> Outcome<Option<Input>> {
        let outputs = self.run(&self.leaves())?;
        let first = outputs.first().filter(|y| y.wants_gradient());
        Ok(first.map(|y| Input::normal(y.shape().sizes())))
    }

    /// Whether a gradient can be pulled back.
    pub(crate) fn has_gradient(&self) -> bool {
        self.upstream.is_some()
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    pub(crate) fn inputs(&self) -> &[Input] {
        &self.case.inputs
    }

    /// Billions of multiplications and additions of one forward run, where the case counts them.
    pub(crate) fn gflop(&self) -> Option<f64> {
        self.case.operations.map(|operations| operations * 1e-9)
    }

    /// The inputs, with a gradient where the case has one.
    fn leaves(&self) -> Vec<Tensor> {
        let leaf = |(x, input): (&Tensor, &Input)| if input.gradient { x.with_gradient() } else { x.clone() };
        self.inputs.iter().zip(&self.case.inputs).map(leaf).collect()
    }

    fn run(&self, inputs: &[Tensor]) -> Outcome<Vec<Tensor>> {
        Ok(match &self.network {
            Some((network, _)) => {
                let run = || network.forward(&inputs[0], &[STEP]).map(|noise| vec![noise]);
                if self.case.inputs[0].gradient { run()? } else { no_grad(run)? }
            }
            None => (self.case.run)(inputs)?,
        })
    }

    /// One pass: the outputs and, after [`Pass::Both`], the leaves that hold the gradients.
    pub(crate) fn pass(&self, pass: Pass) -> Outcome<[Vec<Tensor>; 2]> {
        let upstream = match (pass, &self.upstream) {
            (Pass::Both, Some(upstream)) => upstream,
            _ => return Ok([no_grad(|| self.run(&self.inputs))?, Vec::new()]),
        };
        let leaves = self.leaves();
        let outputs = self.run(&leaves)?;
        outputs[0].backward_with(upstream)?;
        Ok([outputs, leaves])
    }

    /// Forgets what passes have gathered in the network's parameters.
    pub(crate) fn clear(&self) {
        if let Some((_, parameters)) = &self.network {
            parameters.clear_gradients();
        }
    }

    /// What a pass gives, in short: of each output, and then of each gradient, some elements.
    pub(crate) fn told(&self, pass: Pass) -> Outcome<Vec<Vec<f32>>> {
        self.clear();
        let [outputs, leaves] = self.pass(pass)?;
        let mut told = outputs.iter().map(|x| some(x)).collect::<Outcome<Vec<_>>>()?;
        for gradient in leaves.iter().filter_map(Tensor::gradient) {
            told.push(some(&gradient)?);
        }
        let parameters = self.network.iter().flat_map(|(_, parameters)| parameters.trained());
        for gradient in parameters.filter_map(|(_, parameter)| parameter.gradient()) {
            told.push(some(&gradient)?);
        }
        Ok(told)
    }
}

fn network(device: &Device) -> Outcome<(UltraMinimal, Parameters)> {
    let builder = Builder::new(device, 1);
    let network = UltraMinimal::new(&builder, Sizes::default())?;
    Ok((network, builder.parameters()))
}

/// An input's numbers, from their file; the file is made first where it is not there.
fn numbers(input: &Input, number: u32, folder: &Path) -> Outcome<(PathBuf, Vec<f32>)> {
    let len = input.shape.iter().product();
    let kind: String = format!("{:?}", input.numbers).replace(['(', ')', ' '], "").replace(',', "_");
    let path = folder.join(format!("{kind}-{number}-{len}.f32"));
    let mut values = vec![0.0_f32; len];
    match fs::read(&path) {
        Ok(bytes) if bytes.len() == 4 * len => cast_slice_mut(&mut values).copy_from_slice(&bytes),
        _ => {
            let drawn = input.array(number).values;
            values.iter_mut().zip(drawn).for_each(|(to, x)| *to = x as f32);
            fs::create_dir_all(folder)?;
            fs::write(&path, cast_slice::<f32, u8>(&values))?;
        }
    }
    Ok((path, values))
}

/// Elements from the first to the last, evenly.
fn some(x: &Tensor) -> Outcome<Vec<f32>> {
    let values =
        if x.dtype() == DType::I32 { x.to_indices()?.into_iter().map(|i| i as f32).collect() } else { x.to_vec()? };
    Ok(values.iter().step_by(values.len().div_ceil(TOLD).max(1)).copied().collect())
}
