//! Running totals of scores that correct themselves when late truth changes a case.

use differential_dataflow::difference::{IsZero, Semigroup};
use differential_dataflow::lattice::Lattice;
use differential_dataflow::{AsCollection, VecCollection};
use timely::dataflow::StreamVec;
use timely::dataflow::operators::vec::Map;
use timely::progress::Timestamp;

use super::totals::{CaseTotals, ScoreKey};

impl IsZero for CaseTotals {
    fn is_zero(&self) -> bool {
        self.is_empty()
    }
}

impl Semigroup for CaseTotals {
    fn plus_equals(&mut self, other: &Self) {
        self.add(other);
    }
}

/// The total of every key as of every time: each change arrives as the old total once less and the new one once more.
///
/// A corrected case is sent as the old totals with −1 and the new ones with +1. Cases are kept as one sum a key,
/// not one by one.
pub fn running_totals<'scope, T: Timestamp + Lattice>(
    cases: StreamVec<'scope, T, (ScoreKey, CaseTotals, T, isize)>,
) -> VecCollection<'scope, T, (ScoreKey, CaseTotals)> {
    cases.map(|(key, totals, time, change)| (key, time, totals.times(change as i64))).as_collection().count()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use timely::dataflow::operators::Enter;
    use timely::dataflow::operators::vec::Input;
    use timely::dataflow::{InputHandleVec, ProbeHandle};
    use timely::order::Product;

    use super::*;
    use crate::domain::Lead;
    use crate::verify::score;

    type Time = Product<u64, u32>;
    type Change = (ScoreKey, CaseTotals, Time, isize);

    /// Every change of the totals that a run over `rounds` gives out, summed.
    fn run(workers: usize, rounds: Vec<Vec<Change>>) -> BTreeMap<(ScoreKey, CaseTotals), isize> {
        let seen = Arc::new(Mutex::new(BTreeMap::new()));
        let output = Arc::clone(&seen);
        let guards = timely::execute(timely::Config::process(workers), move |worker| {
            let output = Arc::clone(&output);
            let (mut input, probe) = (InputHandleVec::<u64, Change>::new(), ProbeHandle::<Time>::new());
            worker.dataflow::<u64, _, _>(|scope| {
                let cases = scope.input_from(&mut input);
                scope.scoped::<Time, _, _>("Cycles and leads", |inner| {
                    running_totals(cases.enter(inner))
                        .inspect(move |(row, _, change)| {
                            *output.lock().expect("no thread panicked").entry(row.clone()).or_insert(0) += change
                        })
                        .probe_with(&probe);
                });
            });
            for (round, changes) in rounds.iter().enumerate() {
                if worker.index() == 0 {
                    changes.iter().cloned().for_each(|change| input.send(change));
                }
                input.advance_to(round as u64 + 1);
                worker.step_while(|| probe.less_than(&Product::new(round as u64 + 1, 0)));
            }
        });
        drop(guards.expect("timely starts").join());
        let mut seen = seen.lock().expect("no thread panicked").clone();
        seen.retain(|_, change| *change != 0);
        seen
    }

    fn key(lead: u32) -> ScoreKey {
        ScoreKey { model: "persistence".into(), variable: "t2m".into(), lead: Lead::hours(lead) }
    }

    fn case(error: f32) -> CaseTotals {
        CaseTotals::from(&score(&[280.0 + error, 281.0], &[280.0, f32::NAN], &[9.0, 9.0], &[275.0]))
    }

    #[test]
    fn a_late_correction_replaces_the_old_value_exactly() {
        let at = |cycle, lead| Product::new(cycle, lead);
        let rounds = vec![
            vec![(key(1), case(0.1), at(0, 60), 1), (key(2), case(0.7), at(0, 120), 1)],
            vec![(key(1), case(0.2), at(1, 60), 1)],
            vec![(key(1), case(0.2), at(2, 60), -1), (key(1), case(0.5), at(2, 60), 1)],
        ];
        let mut expected = case(0.1);
        expected.add(&case(0.5));
        let once = BTreeMap::from([((key(1), expected), 1), ((key(2), case(0.7)), 1)]);
        assert_eq!(run(1, rounds.clone()), once);
        assert_eq!(run(2, rounds), once);
    }

    #[test]
    fn a_case_taken_back_leaves_no_row() {
        let at = |cycle| Product::new(cycle, 60);
        let rounds = vec![vec![(key(1), case(0.1), at(0), 1)], vec![(key(1), case(0.1), at(1), -1)]];
        assert_eq!(run(1, rounds), BTreeMap::new());
    }
}
