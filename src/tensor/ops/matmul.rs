//! Products of matrices: batched, broadcast, transposed without a copy, and with what follows a linear layer fused.

use crate::tensor::ops::elementwise::Map;
use crate::tensor::{Buffer, DType, Layout, Result, Shape, Slice, Tensor, TensorError};

/// Batch dimensions of a product: those of a tensor but for the last two.
const BATCHES: usize = crate::tensor::MAX_RANK - 2;

/// Where the elements of one operand of a product lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operand {
    /// How far apart its matrices lie along each batch dimension; 0 repeats one.
    pub batch: [usize; BATCHES],
    /// From row to row of a matrix.
    pub row: usize,
    /// From column to column.
    pub column: usize,
}

/// The sizes of a product: `batch` times `rows` × `inner` by `inner` × `columns`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Product {
    /// Batch dimensions; those not used are 1.
    pub batch: [usize; BATCHES],
    /// Rows of a result.
    pub rows: usize,
    /// Columns of a result.
    pub columns: usize,
    /// Elements that are summed for one of the result.
    pub inner: usize,
    /// The left operand.
    pub x: Operand,
    /// The right operand.
    pub y: Operand,
}

/// What is done to a product before it is rounded: `activation(x · y + bias) + residual`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Epilogue<'a> {
    /// One number a column.
    pub bias: Option<Slice<'a>>,
    /// A function of each element.
    pub activation: Option<Map>,
    /// As many elements as the result has, in its order.
    pub residual: Option<Slice<'a>>,
}

impl Epilogue<'_> {
    /// Whether nothing is done.
    pub fn is_none(&self) -> bool {
        self.bias.is_none() && self.activation.is_none() && self.residual.is_none()
    }
}

/// What a backend does for products of matrices.
pub trait Matmul {
    /// Every product, matrix after matrix, row after row, as `dtype`.
    fn matmul(
        &self,
        x: Slice<'_>,
        y: Slice<'_>,
        sizes: &Product,
        epilogue: Epilogue<'_>,
        dtype: DType,
    ) -> Result<Buffer>;
}

/// What a linear layer does behind its product: `activation(x · wᵀ + bias) + residual`.
#[derive(Clone, Copy, Debug, Default)]
pub struct LinearTail<'a> {
    /// (out).
    pub bias: Option<&'a Tensor>,
    /// A function of each element.
    pub activation: Option<Map>,
    /// Of the result's shape.
    pub residual: Option<&'a Tensor>,
}

impl Product {
    /// The sizes of `x · y` and the shape of the result; `None` where the shapes do not go together.
    fn new(x: Shape, y: Shape, transpose_x: bool, transpose_y: bool) -> Option<(Product, Shape)> {
        let ([x_batch @ .., x_rows, x_columns], [y_batch @ .., y_rows, y_columns]) = (x.sizes(), y.sizes()) else {
            return None;
        };
        let (rows, inner) = if transpose_x { (*x_columns, *x_rows) } else { (*x_rows, *x_columns) };
        let (inner_y, columns) = if transpose_y { (*y_columns, *y_rows) } else { (*y_rows, *y_columns) };
        let of = |sizes: &[usize]| Shape::of("matmul", sizes).ok();
        let batch = Shape::broadcast("matmul", of(x_batch)?, of(y_batch)?).ok()?;
        let operand = |sizes: &[usize], matrix: [usize; 2], transposed: bool| {
            let (row, column) = if transposed { (1, matrix[1]) } else { (matrix[1], 1) };
            Operand { batch: batch_steps(sizes, matrix[0] * matrix[1]), row, column }
        };
        let x = operand(x_batch, [*x_rows, *x_columns], transpose_x);
        let y = operand(y_batch, [*y_rows, *y_columns], transpose_y);
        let mut sizes = [1; BATCHES];
        sizes.iter_mut().rev().zip(batch.iter().rev()).for_each(|(to, size)| *to = *size);
        let shape = of(&[batch.sizes(), &[rows, columns]].concat())?;
        (inner == inner_y).then_some((Product { batch: sizes, rows, columns, inner, x, y }, shape))
    }
}

/// How far apart the matrices of `matrix` elements lie along each batch dimension, 0 where there is one alone.
fn batch_steps(sizes: &[usize], matrix: usize) -> [usize; BATCHES] {
    let (mut steps, mut step) = ([0; BATCHES], matrix);
    for (to, size) in steps.iter_mut().rev().zip(sizes.iter().rev()) {
        *to = if *size == 1 { 0 } else { step };
        step *= size;
    }
    steps
}

impl Tensor {
    /// The product as PyTorch's `matmul` has it: of vectors, matrices, or batches of them that broadcast.
    ///
    /// # Errors
    /// Where the inner sizes differ, the batches do not broadcast, or dtypes or devices differ.
    pub fn matmul(&self, other: &Tensor) -> Result<Tensor> {
        self.matmul_with(other, false, false)
    }

    /// [`Tensor::matmul`] of operands whose last two dimensions are changed for each other, without copying them.
    ///
    /// # Errors
    /// As [`Tensor::matmul`], and where a vector is to be transposed.
    pub fn matmul_with(&self, other: &Tensor, transpose_x: bool, transpose_y: bool) -> Result<Tensor> {
        self.expect_same_kind("matmul", other)?;
        let vector = |x: &Tensor, transposed: bool| x.shape.rank() == 1 && !transposed;
        if vector(self, transpose_x) && other.shape.rank() > 0 {
            return self.unsqueeze(0)?.matmul_with(other, false, transpose_y)?.without_row(other.shape.rank());
        }
        if vector(other, transpose_y) && self.shape.rank() > 0 {
            return self.matmul_with(&other.unsqueeze(1)?, transpose_x, false)?.squeeze(-1);
        }
        let (sizes, shape) = Product::new(self.shape, other.shape, transpose_x, transpose_y)
            .ok_or_else(|| self.no_product(other, transpose_x, transpose_y))?;
        if self.shape.rank() > 2 && other.shape.rank() == 2 && !transpose_x {
            return self.flatten(0, -2)?.matmul_with(other, false, transpose_y)?.reshape(shape);
        }
        let (x, y) = (self.detach().to_layout(Layout::Rows)?, other.detach().to_layout(Layout::Rows)?);
        let buffer = x.device.matmul(x.slice(), y.slice(), &sizes, Epilogue::default(), x.dtype)?;
        let result = x.derive(buffer, shape, Layout::Rows);
        let wanted = (self.wants_gradient(), other.wants_gradient());
        let pull = move |dz: &Tensor| {
            let dx = || match transpose_x {
                false => dz.product_for(&y, (false, !transpose_y), &x),
                true => y.product_for(dz, (transpose_y, true), &x),
            };
            let dy = || match transpose_y {
                false => x.product_for(dz, (!transpose_x, false), &y),
                true => dz.product_for(&x, (true, transpose_x), &y),
            };
            Ok(vec![wanted.0.then(dx).transpose()?, wanted.1.then(dy).transpose()?])
        };
        Ok(result.record("matmul", [self, other], pull))
    }

    /// Without the one row of a vector's product, which is the last dimension but one, or the last for a vector.
    fn without_row(&self, rank: usize) -> Result<Tensor> {
        self.squeeze(if rank == 1 { -1 } else { -2 })
    }

    fn no_product(&self, other: &Tensor, transpose_x: bool, transpose_y: bool) -> TensorError {
        let told = |transposed: bool| if transposed { " transposed" } else { "" };
        let (x, y) = (told(transpose_x), told(transpose_y));
        let expected =
            format!("as many columns of the first{x} as rows of the second{y}, and batches that are equal or 1");
        TensorError::shapes("matmul", self.shape, other.shape, expected)
    }

    /// The product of two tensors that are off the tape, summed to the shape and rounded to the dtype of `like`.
    fn product_for(&self, other: &Tensor, transpose: (bool, bool), like: &Tensor) -> Result<Tensor> {
        let (x, y) = (self.to_layout(Layout::Rows)?, other.to_layout(Layout::Rows)?);
        let (sizes, shape) = Product::new(x.shape, y.shape, transpose.0, transpose.1)
            .ok_or_else(|| x.no_product(&y, transpose.0, transpose.1))?;
        let dtype = if shape == like.shape { like.dtype } else { DType::F32 };
        let buffer = x.device.matmul(x.slice(), y.slice(), &sizes, Epilogue::default(), dtype)?;
        Tensor::dense(&x.device, buffer, shape, Layout::Rows, dtype).sum_to(like.shape)?.to_dtype(like.dtype)
    }

    /// A linear layer: `x · wᵀ + bias` over the last dimension, with weights (out, in) and a bias (out).
    ///
    /// # Errors
    /// Where the sizes do not go together, or dtypes or devices differ.
    pub fn linear(&self, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        self.linear_with(weight, LinearTail { bias, ..LinearTail::default() })
    }

    /// A linear layer with an activation and a residual: `activation(x · wᵀ + bias) + residual`, rounded once.
    ///
    /// # Errors
    /// As [`Tensor::linear`].
    pub fn linear_with(&self, weight: &Tensor, tail: LinearTail<'_>) -> Result<Tensor> {
        let shape = self.expect_linear(weight, &tail)?;
        if self.shape.rank() != 2 {
            let (last, before) = self.shape.split_last().unwrap_or((&1, &[]));
            let flat = self.reshape([before.iter().product(), *last])?;
            let rows = Shape::from([flat.shape[0], weight.shape[0]]);
            let residual = tail.residual.map(|residual| residual.reshape(rows)).transpose()?;
            return flat.linear_with(weight, LinearTail { residual: residual.as_ref(), ..tail })?.reshape(shape);
        }
        let inputs: Vec<&Tensor> = [Some(self), Some(weight), tail.bias, tail.residual].into_iter().flatten().collect();
        let on_tape = inputs.iter().any(|input| input.wants_gradient());
        match tail.activation {
            Some(activation) if on_tape => self.linear_kept(weight, tail, activation, &inputs),
            _ => {
                let result = self.linear_plain(weight, tail, self.dtype)?;
                Ok(result.record_all("linear", &inputs, self.linear_pull(weight, &tail, None)))
            }
        }
    }

    /// The shape of a linear layer's result.
    fn expect_linear(&self, weight: &Tensor, tail: &LinearTail<'_>) -> Result<Shape> {
        self.expect_numbers("linear")?;
        for other in [Some(weight), tail.bias, tail.residual].into_iter().flatten() {
            self.expect_same_kind("linear", other)?;
        }
        let [outputs, inputs] = weight.sizes("linear")?;
        let last = self.shape.rank().checked_sub(1).filter(|last| self.shape[*last] == inputs);
        let last = last.ok_or_else(|| {
            let expected = format!("a last dimension of {inputs} for weights (out, in)");
            TensorError::shapes("linear", self.shape, weight.shape, expected)
        })?;
        let shape = self.shape.with(last, outputs);
        if let Some(bias) = tail.bias.filter(|bias| bias.shape.sizes() != [outputs]) {
            return Err(TensorError::shapes("linear", weight.shape, bias.shape, format!("a bias of {outputs}")));
        }
        if let Some(residual) = tail.residual.filter(|residual| residual.shape != shape) {
            return Err(TensorError::shapes("linear", shape, residual.shape, "a residual of the result's shape"));
        }
        Ok(shape)
    }

    /// A linear layer of two dimensions, off the tape.
    fn linear_plain(&self, weight: &Tensor, tail: LinearTail<'_>, dtype: DType) -> Result<Tensor> {
        let (sizes, shape) =
            Product::new(self.shape, weight.shape, false, true).ok_or_else(|| self.no_product(weight, false, true))?;
        let (weight, bias) = (weight.detach(), tail.bias.map(Tensor::detach));
        let residual = tail.residual.map(Tensor::detach);
        let epilogue = Epilogue {
            bias: bias.as_ref().map(Tensor::slice),
            activation: tail.activation,
            residual: residual.as_ref().map(Tensor::slice),
        };
        let buffer = self.device.matmul(self.slice(), weight.slice(), &sizes, epilogue, dtype)?;
        Ok(Tensor::dense(&self.device, buffer, shape, Layout::Rows, dtype))
    }

    /// A linear layer whose sums before the activation are kept in f32, for the gradient.
    fn linear_kept(
        &self,
        weight: &Tensor,
        tail: LinearTail<'_>,
        activation: Map,
        inputs: &[&Tensor],
    ) -> Result<Tensor> {
        let sums = self.linear_plain(weight, LinearTail { bias: tail.bias, ..LinearTail::default() }, DType::F32)?;
        let mut result = sums.map("linear", activation)?;
        if let Some(residual) = tail.residual {
            result = result.add(&residual.detach().to_dtype(DType::F32)?)?;
        }
        let pull = self.linear_pull(weight, &tail, Some((activation, sums)));
        Ok(result.to_dtype(self.dtype)?.record_all("linear", inputs, pull))
    }

    /// Gradients of a linear layer of two dimensions: of x, the weights, and the bias and the residual that there are.
    fn linear_pull(
        &self,
        weight: &Tensor,
        tail: &LinearTail<'_>,
        kept: Option<(Map, Tensor)>,
    ) -> impl Fn(&Tensor) -> Result<Vec<Option<Tensor>>> + Send + Sync + 'static {
        let (x, w) = (self.detach(), weight.detach());
        let wants = |input: Option<&Tensor>| input.map(Tensor::wants_gradient);
        let wanted = (self.wants_gradient(), weight.wants_gradient(), wants(tail.bias), wants(tail.residual));
        move |dy: &Tensor| {
            let sums_gradient = match &kept {
                Some((activation, sums)) => {
                    let dy = dy.to_dtype(DType::F32)?;
                    let buffer = sums.device.map_grad(*activation, sums.slice(), dy.slice())?;
                    sums.derive(buffer, sums.shape, Layout::Rows)
                }
                None => dy.clone(),
            };
            let dz = &sums_gradient;
            let dx = wanted.0.then(|| dz.product_for(&w, (false, false), &x)).transpose()?;
            let dw = wanted.1.then(|| dz.product_for(&x, (true, false), &w)).transpose()?;
            let mut gradients = vec![dx, dw];
            if let Some(wanted) = wanted.2 {
                let db = || dz.sum(&[0], false)?.to_dtype(x.dtype);
                gradients.push(wanted.then(db).transpose()?);
            }
            gradients.extend(wanted.3.map(|wanted| wanted.then(|| dy.clone())));
            Ok(gradients)
        }
    }
}
