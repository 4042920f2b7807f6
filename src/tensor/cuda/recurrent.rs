//! Launches of `kernels/recurrent.cu`; operands are f32.

use crate::tensor::ops::recurrent::{Gates, Recurrent};
use crate::tensor::{Buffer, Result, Slice};

use super::Cuda;

impl Gates {
    /// The sizes as kernels take them.
    fn words(self) -> [u64; 2] {
        [self.rows as u64, self.width as u64]
    }
}

impl Recurrent for Cuda {
    fn gru(&self, x: Slice<'_>, g: Slice<'_>, h: Slice<'_>, sizes: Gates) -> Result<Buffer> {
        let y = self.take(h.len, h.dtype)?;
        let launch = self.kernel("recurrent", "gru", h.dtype).over(h.len);
        launch.input(x).input(g).input(h).output(&y).value(sizes.words()).run()?;
        Ok(Buffer::Cuda(y))
    }

    fn gru_grad(&self, [x, g, h]: [Slice<'_>; 3], dy: Slice<'_>, sizes: Gates) -> Result<[Buffer; 3]> {
        let gradients = [self.take(x.len, x.dtype)?, self.take(g.len, g.dtype)?, self.take(h.len, h.dtype)?];
        let launch = self.kernel("recurrent", "gru_grad", h.dtype).over(h.len);
        let launch = gradients.iter().fold(launch.input(x).input(g).input(h).input(dy), |launch, to| launch.output(to));
        launch.value(sizes.words()).run()?;
        Ok(gradients.map(Buffer::Cuda))
    }

    fn lstm(&self, gates: Slice<'_>, c: Slice<'_>, sizes: Gates) -> Result<Buffer> {
        let y = self.take(2 * c.len, c.dtype)?;
        let launch = self.kernel("recurrent", "lstm", c.dtype).over(c.len);
        launch.input(gates).input(c).output(&y).value(sizes.words()).run()?;
        Ok(Buffer::Cuda(y))
    }

    fn lstm_grad(&self, [gates, c, y]: [Slice<'_>; 3], dy: Slice<'_>, sizes: Gates) -> Result<[Buffer; 2]> {
        let (d_gates, dc) = (self.take(gates.len, gates.dtype)?, self.take(c.len, c.dtype)?);
        let launch = self.kernel("recurrent", "lstm_grad", c.dtype).over(c.len).input(gates).input(c).input(y);
        launch.input(dy).output(&d_gates).output(&dc).value(sizes.words()).run()?;
        Ok([d_gates, dc].map(Buffer::Cuda))
    }
}
