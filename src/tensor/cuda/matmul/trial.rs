//! Products by `wgmma` beside the same by `mma.sync`, small and of every layout.

use crate::tensor::cuda::Cuda;
use crate::tensor::cuda::wgmma::{COLUMNS as COLUMNS_OF_TILES, Tried};
use crate::tensor::ops::matmul::{Epilogue, Operand, Product};
use crate::tensor::{Buffer, DType, Result};

use super::{Cut, typed};

/// More than one tile, and more than one piece, none of them full.
const ROWS: usize = 200;
const INNER: usize = 136;
const COLUMNS: usize = 264;

/// Whether each operand is transposed.
const LAYOUTS: [[bool; 2]; 4] = [[false, false], [false, true], [true, false], [true, true]];

impl Cuda {
    /// Products in every layout, by each of the kernels.
    pub(super) fn tried_products(&self) -> Result<Tried> {
        let operands = [self.whole_numbers(ROWS * INNER, 1)?, self.whole_numbers(INNER * COLUMNS, 2)?];
        let processors = self.machine().multiprocessors() as usize;
        let all = |cuts: &dyn Fn(&Product) -> [Cut; 2]| -> Result<Vec<f32>> {
            let works = LAYOUTS.map(product).into_iter().flat_map(|sizes| cuts(&sizes).map(|cut| (cut, sizes)));
            let products = works.map(|(cut, sizes)| self.tried_product(cut, &operands, &sizes));
            products.collect::<Result<Vec<_>>>().map(|values| values.concat())
        };
        let wanted = all(&|sizes| [Cut::plain(sizes, [DType::Bf16; 2], processors); 2])?;
        let found = all(&|sizes| COLUMNS_OF_TILES.map(|columns| Cut::of_columns(sizes, columns, 1)));
        Ok(Tried { wanted, found })
    }

    fn tried_product(&self, cut: Cut, [x, y]: &[Buffer; 2], sizes: &Product) -> Result<Vec<f32>> {
        let (x, y) = (typed(x, ROWS * INNER, DType::Bf16), typed(y, INNER * COLUMNS, DType::Bf16));
        let product = self.multiply_in(cut, x, y, sizes, Epilogue::default(), DType::F32)?;
        self.numbers(&product, ROWS * COLUMNS)
    }
}

fn product([x, y]: [bool; 2]) -> Product {
    let operand = |rows: usize, columns: usize, transposed: bool| {
        let [row, column] = if transposed { [1, rows] } else { [columns, 1] };
        Operand { batch: [0; _], row, column }
    };
    let (x, y) = (operand(ROWS, INNER, x), operand(INNER, COLUMNS, y));
    Product { batch: [1; _], rows: ROWS, columns: COLUMNS, inner: INNER, x, y }
}
