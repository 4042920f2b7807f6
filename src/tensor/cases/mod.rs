//! One list of cases for all operations: what they give, and the gradients of those that have one, are tested on it, and
//! the speed of those that take the time is measured on it.
//!
//! A case names its inputs and runs the operation; beside it stands the plain loop in f64 that says what is right.
//! Gradients are right where they equal differences of the plain loop. Cases for speed alone have no plain loop.

mod conv;
mod attention;
mod elementwise;
mod matmul;
mod norm;
mod reduce;
mod softmax;
mod data;
mod embedding;
mod fields;
mod fft;
mod graph;
mod index;
mod pool;
mod resize;
mod splat;
mod diffusion;
mod loss;
mod optimiser;
mod random;
mod recurrent;

use super::{DType, Device, Layout, Result, Tensor};
use crate::domain::Philox;

/// Numbers of a shape in logical order.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Sizes in PyTorch's order.
    pub shape: Vec<usize>,
    /// Row-major.
    pub values: Vec<f64>,
}

/// What numbers an input holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Numbers {
    /// Standard normal numbers.
    Normal,
    /// Uniform between two bounds.
    Between(f64, f64),
    /// Indices below a limit.
    Below(usize),
}

/// One input of a case.
#[derive(Clone, Debug)]
pub struct Input {
    /// Its sizes.
    pub shape: Vec<usize>,
    /// Its numbers.
    pub numbers: Numbers,
    /// Whether its gradient is compared.
    pub gradient: bool,
}

/// An operation on tensors.
pub type Run = Box<dyn Fn(&[Tensor]) -> Result<Vec<Tensor>> + Send + Sync>;
/// The same operation as plain loops.
pub type Plain = Box<dyn Fn(&[Array]) -> Vec<Array> + Send + Sync>;

/// One operation on inputs of certain sizes.
pub struct Case {
    /// Family, operation and what is special, such as `conv/3x3 stride 2`.
    pub name: String,
    /// What the operation is given.
    pub inputs: Vec<Input>,
    /// The operation.
    pub run: Run,
    /// What it should give; `None` for cases that are there for their speed alone.
    pub plain: Option<Plain>,
    /// How far a value may be from what is right, in f32: relative to it, and absolute.
    pub tolerance: (f64, f64),
    /// In bf16, the sizes of all terms of a sum that are products of what is no bf16 number, together: tensor cores take
    /// such a number as two, which may lose 2⁻¹⁷ of it.
    pub split: f64,
    /// Multiplications and additions that one run needs, where they are what takes the time.
    pub operations: Option<f64>,
}

/// Every case.
pub fn all() -> Vec<Case> {
    [
        conv::cases(),
        elementwise::cases(),
        reduce::cases(),
        matmul::cases(),
        softmax::cases(),
        norm::cases(),
        attention::cases(),
        data::cases(),
        embedding::cases(),
        fields::cases(),
        fft::cases(),
        graph::cases(),
        index::cases(),
        pool::cases(),
        resize::cases(),
        splat::cases(),
        diffusion::cases(),
        loss::cases(),
        optimiser::cases(),
        random::cases(),
        recurrent::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

impl Input {
    /// Standard normal numbers whose gradient is compared.
    pub fn normal(shape: &[usize]) -> Self {
        Input { shape: shape.to_vec(), numbers: Numbers::Normal, gradient: true }
    }

    /// Numbers between two bounds whose gradient is compared.
    pub fn between(shape: &[usize], low: f64, high: f64) -> Self {
        Input { shape: shape.to_vec(), numbers: Numbers::Between(low, high), gradient: true }
    }

    /// Indices below a limit.
    pub fn below(shape: &[usize], limit: usize) -> Self {
        Input { shape: shape.to_vec(), numbers: Numbers::Below(limit), gradient: false }
    }

    /// The same without a comparison of its gradient.
    pub fn constant(self) -> Self {
        Input { gradient: false, ..self }
    }

    /// The input's numbers: the same for the same `number` in every run, each one that f32 holds.
    pub fn array(&self, number: u32) -> Array {
        let philox = Philox::new(2024, number);
        let draw = |i: usize| {
            let counter = [i as u32, (i >> 32) as u32, 0, 0];
            let value = match self.numbers {
                Numbers::Normal => philox.normal(counter)[0],
                Numbers::Between(low, high) => low + (high - low) * philox.uniform(counter)[0],
                Numbers::Below(limit) => (philox.words(counter)[0] as usize % limit) as f64,
            };
            f64::from(value as f32)
        };
        Array { shape: self.shape.clone(), values: (0..self.shape.iter().product()).map(draw).collect() }
    }

    /// Numbers as a tensor of the input's shape: indices where those are what it holds, an image channels-last where asked.
    ///
    /// # Errors
    /// Where there are not as many numbers as the shape has elements, or the device is out of memory.
    pub fn tensor(&self, device: &Device, values: &[f32], dtype: DType, layout: Layout) -> Result<Tensor> {
        let shape = super::Shape::of("case", &self.shape)?;
        match self.numbers {
            Numbers::Below(_) => {
                Tensor::indices(device, shape, &values.iter().map(|x| *x as i32).collect::<Vec<i32>>())
            }
            _ => Tensor::new(device, shape, values)?.to_dtype(dtype)?.to_layout(layout),
        }
    }
}

impl Input {
    /// Numbers of the same kind in f32, or indices, drawn on a device: others than [`Input::array`]'s, in no time.
    ///
    /// # Errors
    /// Where the device is out of memory.
    pub fn drawn(&self, device: &Device, number: u32) -> Result<Tensor> {
        let shape = super::Shape::of("case", &self.shape)?;
        let key = super::RandomKey { seed: 2024, purpose: number, words: [0; 3] };
        match self.numbers {
            Numbers::Normal => Tensor::random_normal(device, shape, key),
            Numbers::Between(low, high) => {
                Tensor::random_uniform(device, shape, key)?.mul_scalar((high - low) as f32)?.add_scalar(low as f32)
            }
            Numbers::Below(_) => {
                let values: Vec<i32> = self.array(number).values.iter().map(|x| *x as i32).collect();
                Tensor::indices(device, shape, &values)
            }
        }
    }
}

impl Case {
    /// A case compared with plain loops to rounding: 1e-5 relative and 1e-6 absolute.
    pub fn new(
        name: impl Into<String>,
        inputs: Vec<Input>,
        run: impl Fn(&[Tensor]) -> Result<Vec<Tensor>> + Send + Sync + 'static,
        plain: impl Fn(&[Array]) -> Vec<Array> + Send + Sync + 'static,
    ) -> Self {
        let (run, plain): (Run, Plain) = (Box::new(run), Box::new(plain));
        Case {
            name: name.into(),
            inputs,
            run,
            plain: Some(plain),
            tolerance: (1e-5, 1e-6),
            split: 0.0,
            operations: None,
        }
    }

    /// A case that is there for its speed alone.
    pub fn speed(
        name: impl Into<String>,
        inputs: Vec<Input>,
        run: impl Fn(&[Tensor]) -> Result<Vec<Tensor>> + Send + Sync + 'static,
    ) -> Self {
        Case {
            name: name.into(),
            inputs,
            run: Box::new(run),
            plain: None,
            tolerance: (0.0, 0.0),
            split: 0.0,
            operations: None,
        }
    }

    /// The same with another tolerance, relative and absolute; say why where it is used.
    pub fn within(self, relative: f64, absolute: f64) -> Self {
        Case { tolerance: (relative, absolute), ..self }
    }

    /// The same whose sums have terms that are no products of bf16 numbers, of these sizes together.
    pub fn splitting(self, terms: f64) -> Self {
        Case { split: terms, ..self }
    }

    /// The same with the number of multiplications and additions of one run.
    pub fn counting(self, operations: f64) -> Self {
        Case { operations: Some(operations), ..self }
    }

    /// The inputs' numbers.
    pub fn arrays(&self) -> Vec<Array> {
        self.inputs.iter().zip(0..).map(|(input, number)| input.array(number)).collect()
    }

    /// The inputs as tensors; images channels-last where asked.
    ///
    /// # Errors
    /// Where the device is out of memory.
    pub fn tensors(&self, device: &Device, dtype: DType, layout: Layout) -> Result<Vec<Tensor>> {
        let tensor = |(input, array): (&Input, Array)| {
            let values: Vec<f32> = array.values.iter().map(|x| *x as f32).collect();
            input.tensor(device, &values, dtype, layout)
        };
        self.inputs.iter().zip(self.arrays()).map(tensor).collect()
    }
}

impl Array {
    /// An array whose elements are worked out from their indices.
    pub fn from_fn(shape: &[usize], of: impl Fn(&[usize]) -> f64) -> Self {
        let len = shape.iter().product();
        let index = |mut flat: usize| {
            let mut index = vec![0; shape.len()];
            for (i, size) in index.iter_mut().zip(shape).rev() {
                (*i, flat) = (flat % size, flat / size);
            }
            index
        };
        Array { shape: shape.to_vec(), values: (0..len).map(|flat| of(&index(flat))).collect() }
    }

    /// The element at an index; a dimension of size 1 is the same everywhere, and dimensions in front may be left out.
    pub fn at(&self, index: &[usize]) -> f64 {
        let own = index.iter().rev().zip(self.shape.iter().rev());
        let (mut flat, mut step) = (0, 1);
        for (i, size) in own {
            flat += if *size == 1 { 0 } else { i * step };
            step *= size;
        }
        self.values[flat]
    }

    /// A function of each element.
    pub fn map(&self, of: impl Fn(f64) -> f64) -> Self {
        Array { shape: self.shape.clone(), values: self.values.iter().map(|x| of(*x)).collect() }
    }
}
