//! The order in which a message lists its grid points, and how it becomes rows of y, each along x.

use super::super::Grib2Error;
use super::super::section::Section;

/// Scanning mode (flag table 3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Scanning {
    /// Points of a row run towards −x.
    pub(in super::super) x_negative: bool,
    /// Rows run towards +y.
    pub(in super::super) y_positive: bool,
    /// Columns follow each other instead of rows.
    pub(in super::super) columns: bool,
    /// Every other row, or column, runs the other way.
    pub(in super::super) alternating: bool,
}

/// Columns first instead of rows.
const COLUMNS: u8 = 0x20;
/// Every other row runs the other way.
const ALTERNATING: u8 = 0x10;
/// Rows or columns shifted by half a step.
const SHIFTED: u8 = 0x0f;
/// Points of a row run towards −x.
pub(in super::super) const X_NEGATIVE: u8 = 0x80;
/// Rows run towards +y.
pub(in super::super) const Y_POSITIVE: u8 = 0x40;

impl Scanning {
    /// The scanning mode at an octet of section 3.
    pub(in super::super) fn parse(section: &Section, octet: usize) -> Result<Self, Grib2Error> {
        let flags = section.u8(octet)?;
        let set = |flag| flags & flag != 0;
        if set(SHIFTED) {
            let what = format!("scanning mode {flags:#04x}, whose rows are shifted,");
            return Err(section.unsupported(what, "a scanning mode without the flags 0x0f"));
        }
        Ok(Scanning {
            x_negative: set(X_NEGATIVE),
            y_positive: set(Y_POSITIVE),
            columns: set(COLUMNS),
            alternating: set(ALTERNATING),
        })
    }

    /// Values in the message's order turned into rows of `nx` values along +x; rows keep the message's y direction.
    pub(in super::super) fn rows(self, values: &mut [f32], nx: usize, ny: usize) {
        let line = if self.columns { ny } else { nx }.max(1);
        if self.alternating {
            values.chunks_exact_mut(line).skip(1).step_by(2).for_each(<[f32]>::reverse);
        }
        if self.columns {
            transpose(values, nx.max(1), ny.max(1));
        }
        if self.x_negative {
            values.chunks_exact_mut(nx.max(1)).for_each(<[f32]>::reverse);
        }
    }
}

/// Columns and rows turned together, so that what one of their cache lines holds is used before it is gone.
const TOGETHER: usize = 16;

/// Columns of `ny` values turned into rows of `nx`.
fn transpose(values: &mut [f32], nx: usize, ny: usize) {
    let columns = values.to_vec();
    for (band, rows) in values.chunks_mut(nx * TOGETHER).enumerate() {
        for (group, columns) in columns.chunks(ny * TOGETHER).enumerate() {
            for (j, row) in rows.chunks_mut(nx).enumerate() {
                let from = columns.iter().skip(band * TOGETHER + j).step_by(ny);
                row.iter_mut().skip(group * TOGETHER).zip(from).for_each(|(to, from)| *to = *from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(flags: u8, mut values: [f32; 6]) -> [f32; 6] {
        let section = Section { number: 3, offset: 0, bytes: &[flags] };
        Scanning::parse(&section, 1).expect("a scanning mode").rows(&mut values, 3, 2);
        values
    }

    #[test]
    fn every_order_becomes_rows() {
        let expected = [0., 1., 2., 3., 4., 5.];
        assert_eq!(rows(0x40, [0., 1., 2., 3., 4., 5.]), expected);
        assert_eq!(rows(0x80, [2., 1., 0., 5., 4., 3.]), expected);
        assert_eq!(rows(0x10, [0., 1., 2., 5., 4., 3.]), expected);
        assert_eq!(rows(0x90, [2., 1., 0., 3., 4., 5.]), expected);
        assert_eq!(rows(0x20, [0., 3., 1., 4., 2., 5.]), expected);
        assert_eq!(rows(0x30, [0., 3., 4., 1., 2., 5.]), expected);
        assert_eq!(rows(0xb0, [2., 5., 4., 1., 0., 3.]), expected);
    }

    #[test]
    fn columns_become_rows_whatever_their_number() {
        for (nx, ny) in [(1, 1), (16, 16), (17, 33), (5, 40), (40, 5), (100, 1), (1, 100)] {
            let mut values: Vec<f32> = (0..nx * ny).map(|at| at as f32).collect();
            transpose(&mut values, nx, ny);
            let expected = (0..ny).flat_map(|j| (0..nx).map(move |i| (i * ny + j) as f32));
            assert!(values.into_iter().eq(expected), "{nx} columns of {ny}");
        }
    }
}
