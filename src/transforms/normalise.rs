//! Physical values to numbers of mean 0 and standard deviation 1, and back.

use super::statistics::StatisticsTable;

/// A variable that cannot be normalised.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum NormaliseError {
    /// The table has no row for the variable.
    #[error(
        "the statistics table ({origin}) has no row for `{variable}`; \
         compute the statistics over a period that has it, or leave it out of the normalisation"
    )]
    Absent {
        /// The variable.
        variable: String,
        /// What the table says of itself.
        origin: String,
    },
    /// The mean is not finite, or the standard deviation not finite and positive.
    #[error(
        "`{variable}` has mean {mean} and standard deviation {standard_deviation} in the statistics table ({origin}); \
         expected a finite mean and a positive standard deviation: \
         compute the statistics over a period in which it varies, or leave it out of the normalisation"
    )]
    Unusable {
        /// The variable.
        variable: String,
        /// What the table says of itself.
        origin: String,
        /// The mean in the variable's units.
        mean: f64,
        /// The standard deviation in the variable's units.
        standard_deviation: f64,
    },
}

/// The mean and standard deviation of one variable, in its units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normaliser {
    mean: f32,
    standard_deviation: f32,
}

impl Normaliser {
    /// The normaliser of one variable; fails, naming it and what to do, where the table does not serve.
    pub fn new(variable: &str, table: &StatisticsTable) -> Result<Self, NormaliseError> {
        let origin = || table.source.clone();
        let absent = || NormaliseError::Absent { variable: variable.into(), origin: origin() };
        let row = table.variables.get(variable).ok_or_else(absent)?;
        let normaliser = Normaliser { mean: row.mean as f32, standard_deviation: row.standard_deviation as f32 };
        if normaliser.mean.is_finite()
            && normaliser.standard_deviation.is_normal()
            && normaliser.standard_deviation > 0.0
        {
            return Ok(normaliser);
        }
        let (mean, standard_deviation) = (row.mean, row.standard_deviation);
        Err(NormaliseError::Unusable { variable: variable.into(), origin: origin(), mean, standard_deviation })
    }

    /// The mean and the standard deviation.
    pub fn mean_and_deviation(&self) -> [f32; 2] {
        [self.mean, self.standard_deviation]
    }

    /// (value − mean) / standard deviation, in place; missing stays missing.
    pub fn apply(&self, values: &mut [f32]) {
        for value in values {
            *value = (*value - self.mean) / self.standard_deviation;
        }
    }

    /// value · standard deviation + mean, in place: the inverse of [`Normaliser::apply`] to f32 rounding.
    pub fn invert(&self, values: &mut [f32]) {
        for value in values {
            *value = *value * self.standard_deviation + self.mean;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::statistics::Statistics;
    use super::*;

    fn table(values: &[f32]) -> StatisticsTable {
        let mut statistics = Statistics::default();
        statistics.push(values);
        StatisticsTable { source: "a synthetic row".into(), variables: [("t2m".to_string(), statistics.row())].into() }
    }

    #[test]
    fn a_normalised_sample_has_mean_zero_and_deviation_one_and_returns() {
        let values: Vec<f32> = (0..1000).map(|i| 280.0 + 10.0 * (i as f32 * 0.7).sin()).collect();
        let normaliser = Normaliser::new("t2m", &table(&values)).expect("a normaliser");
        let mut turned = values.clone();
        normaliser.apply(&mut turned);
        let mut statistics = Statistics::default();
        statistics.push(&turned);
        assert!(statistics.mean.abs() < 1e-5 && (statistics.standard_deviation() - 1.0).abs() < 1e-5);
        normaliser.invert(&mut turned);
        assert!(values.iter().zip(&turned).all(|(a, b)| (a - b).abs() < 1e-6 * 290.0));
    }

    #[test]
    fn a_row_that_cannot_serve_is_named_with_what_to_do() {
        for values in [&[273.0_f32, 273.0][..], &[], &[f32::NAN]] {
            let message = Normaliser::new("t2m", &table(values)).expect_err("no normaliser").to_string();
            assert!(
                message.contains("`t2m`") && message.contains("a synthetic row") && message.contains("leave it out")
            );
        }
        let message = Normaliser::new("refc", &table(&[1.0, 2.0])).expect_err("no row").to_string();
        assert!(message.contains("`refc`") && message.contains("no row"));
    }

    #[test]
    fn missing_stays_missing() {
        let normaliser = Normaliser::new("t2m", &table(&[1.0, 2.0])).expect("a normaliser");
        let mut values = [f32::NAN];
        normaliser.apply(&mut values);
        assert!(values[0].is_nan());
    }
}
