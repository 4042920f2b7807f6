//! Attention of queries to keys, without a table of all their products (Dao, "FlashAttention-2", 2023).

use crate::tensor::{Buffer, DType, Layout, Result, Shape, Slice, Tensor, TensorError};

/// The sizes of an attention.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionSizes {
    /// Samples.
    pub batch: usize,
    /// Heads of a sample.
    pub heads: usize,
    /// Queries of a head.
    pub queries: usize,
    /// Keys, and values, of a head.
    pub keys: usize,
    /// Numbers of a query and of a key.
    pub size: usize,
    /// Numbers of a value.
    pub value_size: usize,
    /// What products of queries and keys are multiplied by.
    pub scale: f32,
    /// Whether a query sees only keys up to its own place.
    pub causal: bool,
    /// How far apart the mask's neighbours lie along (batch, heads, queries, keys); 0 where they repeat.
    pub mask: [usize; 4],
    /// Whether the result is f32 whatever the queries are: a gradient is worked out from what was not rounded.
    pub wide: bool,
}

/// What the gradient of an attention is worked out from.
#[derive(Clone, Copy, Debug)]
pub struct AttentionKept<'a> {
    /// (batch, heads, queries, size).
    pub queries: Slice<'a>,
    /// (batch, heads, keys, size).
    pub keys: Slice<'a>,
    /// (batch, heads, keys, value size).
    pub values: Slice<'a>,
    /// Added to the products.
    pub mask: Option<Slice<'a>>,
    /// The result as f32, (batch, heads, queries, value size).
    pub result: Slice<'a>,
    /// Levels of the queries, (batch, heads, queries, 2) as f32.
    pub levels: Slice<'a>,
}

/// What a backend does for attention.
pub trait Attention {
    /// softmax(q · kᵀ · scale + mask) · v, and the level of each query as f32: its greatest score, and the logarithm of
    /// the sum of its shares from there, both to the base that the backend works in; (+∞, 0) where a query sees no key.
    /// One number for both would lose the sum where scores are great: ln Σ of two scores of −10⁹ is −10⁹.
    fn attention(
        &self,
        queries: Slice<'_>,
        keys: Slice<'_>,
        values: Slice<'_>,
        mask: Option<Slice<'_>>,
        sizes: &AttentionSizes,
    ) -> Result<[Buffer; 2]>;
    /// Gradients of queries, keys and values.
    fn attention_grad(&self, kept: &AttentionKept<'_>, dy: Slice<'_>, sizes: &AttentionSizes) -> Result<[Buffer; 3]>;
}

/// How queries attend.
#[derive(Clone, Copy, Debug, Default)]
pub struct AttentionOptions<'a> {
    /// What products are multiplied by; 1/√size where it is `None`.
    pub scale: Option<f32>,
    /// Whether a query sees only keys up to its own place.
    pub causal: bool,
    /// Added to the products, broadcast to (batch, heads, queries, keys); −∞ hides a key, while a finite number, however
    /// low, is a number: a query of which all keys have the lowest gets the mean of the values. It gets no gradient.
    pub mask: Option<&'a Tensor>,
}

/// The weights of a multi-head attention, as PyTorch's `MultiheadAttention` has them.
#[derive(Clone, Copy, Debug)]
pub struct MultiHead<'a> {
    /// Heads that the embedding is split into.
    pub heads: usize,
    /// (3 · embedding, embedding): rows for queries, keys and values.
    pub in_weight: &'a Tensor,
    /// (3 · embedding).
    pub in_bias: Option<&'a Tensor>,
    /// (embedding, embedding).
    pub out_weight: &'a Tensor,
    /// (embedding).
    pub out_bias: Option<&'a Tensor>,
    /// How queries attend.
    pub options: AttentionOptions<'a>,
}

impl Tensor {
    /// Attention of these queries (batch, heads, queries, size) to keys (batch, heads, keys, size) with values (batch,
    /// heads, keys, value size): (batch, heads, queries, value size). A query that sees no key gets zeros.
    ///
    /// # Errors
    /// Where the shapes do not go together, the mask wants a gradient, or dtypes or devices differ.
    pub fn attention(&self, keys: &Tensor, values: &Tensor, options: AttentionOptions<'_>) -> Result<Tensor> {
        let wide = [self, keys, values].into_iter().any(Tensor::wants_gradient);
        let sizes = AttentionSizes { wide, ..self.attention_sizes(keys, values, &options)? };
        let rows = |x: &Tensor| x.detach().to_layout(Layout::Rows);
        let (q, k, v, mask) = (rows(self)?, rows(keys)?, rows(values)?, options.mask.map(rows).transpose()?);
        let mask_slice = mask.as_ref().map(Tensor::slice);
        let [values_buffer, levels] = q.device.attention(q.slice(), k.slice(), v.slice(), mask_slice, &sizes)?;
        let shape = Shape::from([sizes.batch, sizes.heads, sizes.queries, sizes.value_size]);
        let dtype = if wide { DType::F32 } else { q.dtype };
        let y = Tensor::dense(&q.device, values_buffer, shape, Layout::Rows, dtype);
        let result = y.to_dtype(q.dtype)?;
        let of_queries = Shape::from([sizes.batch, sizes.heads, sizes.queries, 2]);
        let levels = Tensor::dense(&q.device, levels, of_queries, Layout::Rows, DType::F32);
        let pull = move |dy: &Tensor| {
            let dy = dy.to_layout(Layout::Rows)?;
            let kept = AttentionKept {
                queries: q.slice(),
                keys: k.slice(),
                values: v.slice(),
                mask: mask.as_ref().map(Tensor::slice),
                result: y.slice(),
                levels: levels.slice(),
            };
            let gradients = q.device.attention_grad(&kept, dy.slice(), &sizes)?;
            let like = |(x, buffer): (&Tensor, Buffer)| Some(x.derive(buffer, x.shape, Layout::Rows));
            Ok([&q, &k, &v].into_iter().zip(gradients).map(like).collect())
        };
        Ok(result.record("attention", [self, keys, values], pull))
    }

    fn attention_sizes(
        &self,
        keys: &Tensor,
        values: &Tensor,
        options: &AttentionOptions<'_>,
    ) -> Result<AttentionSizes> {
        const NAME: &str = "attention";
        self.expect_same_kind(NAME, keys)?;
        self.expect_same_kind(NAME, values)?;
        let [batch, heads, queries, size] = self.sizes(NAME)?;
        if size == 0 {
            return Err(TensorError::shape(NAME, self.shape, "queries and keys of at least one number"));
        }
        let [key_batch, key_heads, key_count, key_size] = keys.sizes(NAME)?;
        if (batch, heads, size) != (key_batch, key_heads, key_size) {
            let expected = "queries and keys of equal batch, heads and size";
            return Err(TensorError::shapes(NAME, self.shape, keys.shape, expected));
        }
        let [.., value_size] = values.sizes::<4>(NAME)?;
        if values.shape != keys.shape.with(3, value_size) {
            return Err(TensorError::shapes(NAME, keys.shape, values.shape, "as many values as keys"));
        }
        let scale = options.scale.unwrap_or(1.0 / (size as f32).sqrt());
        let of_all = Shape::from([batch, heads, queries, key_count]);
        let mask = options.mask.map(|mask| self.mask_steps(mask, of_all)).transpose()?.unwrap_or_default();
        Shape::from([batch, heads, queries, value_size]).countable(NAME)?;
        let causal = options.causal;
        Ok(AttentionSizes {
            batch,
            heads,
            queries,
            keys: key_count,
            size,
            value_size,
            scale,
            causal,
            mask,
            wide: false,
        })
    }

    /// How far apart a mask's neighbours lie along the four dimensions of an attention.
    fn mask_steps(&self, mask: &Tensor, of_all: Shape) -> Result<[usize; 4]> {
        self.expect_same_kind("attention", mask)?;
        mask.expect_no_gradient("attention", "a mask that wants no gradient: detach() gives such")?;
        if Shape::broadcast("attention", mask.shape, of_all)? != of_all {
            return Err(TensorError::shapes("attention", of_all, mask.shape, "a mask that broadcasts to the products"));
        }
        let (mut steps, mut step) = ([0; 4], 1);
        for (to, size) in steps.iter_mut().rev().zip(mask.shape.iter().rev()) {
            *to = if *size == 1 { 0 } else { step };
            step *= size;
        }
        Ok(steps)
    }

    /// The shares that [`Tensor::attention`] gives each key, (batch, heads, queries, keys): as big as it says, for
    /// looking at. A query that sees no key has no shares: they are NaN.
    ///
    /// # Errors
    /// As [`Tensor::attention`].
    pub fn attention_shares(&self, keys: &Tensor, options: AttentionOptions<'_>) -> Result<Tensor> {
        let sizes = self.attention_sizes(keys, keys, &options)?;
        let (q, k) = (self.to_dtype(DType::F32)?, keys.to_dtype(DType::F32)?);
        let mut scores = q.matmul_with(&k, false, true)?.mul_scalar(sizes.scale)?;
        if let Some(mask) = options.mask {
            scores = scores.add(&mask.to_dtype(DType::F32)?)?;
        }
        if sizes.causal {
            let hidden = |i: usize| if i % sizes.keys > i / sizes.keys { f32::NEG_INFINITY } else { 0.0 };
            let mask: Vec<f32> = (0..sizes.queries * sizes.keys).map(hidden).collect();
            scores = scores.add(&Tensor::new(&self.device, [sizes.queries, sizes.keys], &mask)?)?;
        }
        scores.softmax(-1)?.to_dtype(self.dtype)
    }

    /// Multi-head attention of (batch, queries, embedding) to `context` (batch, keys, embedding), or to itself, with
    /// linear layers around it.
    ///
    /// # Errors
    /// Where the heads do not divide the embedding, the shapes do not go together, or dtypes or devices differ.
    pub fn multi_head_attention(&self, context: Option<&Tensor>, with: &MultiHead<'_>) -> Result<Tensor> {
        let attend =
            |q: &Tensor, k: &Tensor, v: &Tensor, options: AttentionOptions<'_>| Ok((q.attention(k, v, options)?, None));
        Ok(self.multi_head(context, with, &attend)?.0)
    }

    /// [`Tensor::multi_head_attention`], and the shares of the keys (batch, heads, queries, keys).
    ///
    /// # Errors
    /// As [`Tensor::multi_head_attention`].
    pub fn multi_head_attention_shares(
        &self,
        context: Option<&Tensor>,
        with: &MultiHead<'_>,
    ) -> Result<(Tensor, Tensor)> {
        let attend = |q: &Tensor, k: &Tensor, v: &Tensor, options: AttentionOptions<'_>| {
            let shares = q.attention_shares(k, options)?;
            Ok((shares.matmul(v)?, Some(shares)))
        };
        let (result, shares) = self.multi_head(context, with, &attend)?;
        let shares = shares.ok_or_else(|| TensorError::shape("multi_head_attention", self.shape, "shares"))?;
        Ok((result, shares))
    }

    /// Multi-head attention in f32, rounded once at its end.
    fn multi_head(
        &self,
        context: Option<&Tensor>,
        with: &MultiHead<'_>,
        attend: &Attend<'_>,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let others = [context, Some(with.in_weight), with.in_bias, Some(with.out_weight), with.out_bias];
        for other in others.into_iter().flatten().chain(with.options.mask) {
            self.expect_same_kind("multi_head_attention", other)?;
        }
        let wide = |x: &Tensor| x.to_dtype(DType::F32);
        let optional = |x: Option<&Tensor>| x.map(wide).transpose();
        let (in_bias, out_bias, mask) =
            (optional(with.in_bias)?, optional(with.out_bias)?, optional(with.options.mask)?);
        let with = MultiHead {
            heads: with.heads,
            in_weight: &wide(with.in_weight)?,
            in_bias: in_bias.as_ref(),
            out_weight: &wide(with.out_weight)?,
            out_bias: out_bias.as_ref(),
            options: AttentionOptions { mask: mask.as_ref(), ..with.options },
        };
        let x = wide(self)?;
        // One tensor where it attends to itself: its gradients are summed before they are rounded.
        let context = context.map(wide).transpose()?;
        let (result, shares) = x.multi_head_wide(context.as_ref().unwrap_or(&x), &with, attend)?;
        Ok((result.to_dtype(self.dtype)?, shares.map(|shares| shares.to_dtype(self.dtype)).transpose()?))
    }

    /// Batch, queries, keys and embedding of a multi-head attention.
    fn multi_head_sizes(&self, context: &Tensor, with: &MultiHead<'_>) -> Result<[usize; 4]> {
        const NAME: &str = "multi_head_attention";
        let [batch, queries, embedding] = self.sizes(NAME)?;
        let [context_batch, keys, context_embedding] = context.sizes(NAME)?;
        if (context_batch, context_embedding) != (batch, embedding) {
            return Err(TensorError::shapes(NAME, self.shape, context.shape, "equal batch and embedding"));
        }
        if with.heads == 0 || embedding % with.heads != 0 {
            return Err(TensorError::shape(NAME, self.shape, format!("an embedding in {} equal heads", with.heads)));
        }
        if with.in_weight.shape.sizes() != [3 * embedding, embedding] {
            let expected = "weights (3 · embedding, embedding)";
            return Err(TensorError::shapes(NAME, self.shape, with.in_weight.shape, expected));
        }
        if let Some(bias) = with.in_bias.filter(|bias| bias.shape.sizes() != [3 * embedding]) {
            return Err(TensorError::shapes(NAME, self.shape, bias.shape, "a bias (3 · embedding)"));
        }
        Ok([batch, queries, keys, embedding])
    }

    fn multi_head_wide(
        &self,
        context: &Tensor,
        with: &MultiHead<'_>,
        attend: &Attend<'_>,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let [batch, queries, keys, embedding] = self.multi_head_sizes(context, with)?;
        let part = |x: &Tensor, index: usize, count: usize| -> Result<Tensor> {
            let weight = with.in_weight.narrow(0, index * embedding, embedding)?;
            let bias = with.in_bias.map(|bias| bias.narrow(0, index * embedding, embedding)).transpose()?;
            let rows = x.linear(&weight, bias.as_ref())?;
            rows.reshape([batch, count, with.heads, embedding / with.heads])?.permute(&[0, 2, 1, 3])
        };
        let (q, k, v) = (part(self, 0, queries)?, part(context, 1, keys)?, part(context, 2, keys)?);
        let (heads, shares) = attend(&q, &k, &v, with.options)?;
        let joined = heads.permute(&[0, 2, 1, 3])?.reshape([batch, queries, embedding])?;
        Ok((joined.linear(with.out_weight, with.out_bias)?, shares))
    }
}

/// Attention of queries to keys and values, and the shares where they are asked for.
type Attend<'a> = dyn Fn(&Tensor, &Tensor, &Tensor, AttentionOptions<'_>) -> Result<(Tensor, Option<Tensor>)> + 'a;
