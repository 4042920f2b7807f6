//! How good a forecast was, once the truth is known.

mod line;
mod report;
mod scores;
mod stream;
mod totals;

pub use line::{LineError, ScoreLine, from_lines, to_lines};
pub use report::{ReportRow, rows, table};
pub use scores::{CaseScores, ThresholdScores, score};
pub use stream::running_totals;
pub use totals::{CaseTotals, ScoreKey, TableTotals};
