//! What readers of a store are told to normalise with: a table's numbers, or those of the store's own training events.

use std::collections::BTreeMap;

use super::totals::{EventTotals, KeptNormalisation};
use crate::config::{Pipeline, SevirOptions, Stage};
use crate::domain::Modality;
use crate::flow::RunError;
use crate::formats::zarr::events::{CatalogueEvent, EventArray, EventStore, EventStoreSpec, Normalisation, SPLITS};
use crate::sources::sevir::Split;
use crate::transforms::scaling::{OWN, Scaling, ScalingError, ScalingTable};

/// What a store says of numbers that were taken from itself.
const OWN_SOURCE: &str = "statistics of the training events of this store";

/// Where a store's normalisation comes from.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Normalising {
    /// It tells none.
    Not,
    /// A table.
    Table(ScalingTable),
    /// Its own training events, once all are there.
    Own,
}

impl Normalising {
    /// What a pipeline asks for; the last stage that does counts.
    ///
    /// # Errors
    /// Tables that cannot be read or lack a modality, each with its place.
    pub(super) fn new(pipeline: &Pipeline, input: &SevirOptions) -> Result<Self, RunError> {
        let (mut found, mut mistakes) = (Normalising::Not, Vec::new());
        for node in &pipeline.stages {
            let Stage::Normalise(name) = &node.stage else { continue };
            let mut mistake = |error: ScalingError| mistakes.push(format!("{}: {}: {error}", node.place, node.name));
            if name == OWN {
                found = Normalising::Own;
                continue;
            }
            match ScalingTable::read(name) {
                Err(error) => mistake(error),
                Ok(table) => {
                    input.modalities.iter().filter_map(|modality| table.of(*modality).err()).for_each(&mut mistake);
                    found = Normalising::Table(table);
                }
            }
        }
        if mistakes.is_empty() { Ok(found) } else { Err(RunError::Pipeline(mistakes)) }
    }

    /// What the numbers were taken from, for people.
    pub(super) fn source(&self) -> Option<&str> {
        match self {
            Normalising::Not => None,
            Normalising::Table(table) => Some(&table.source),
            Normalising::Own => Some(OWN_SOURCE),
        }
    }

    /// The numbers of a modality, where they are known beforehand.
    pub(super) fn of(&self, modality: Modality) -> Option<Normalisation> {
        match self {
            Normalising::Table(table) => table.of(modality).ok().map(normalisation),
            Normalising::Not | Normalising::Own => None,
        }
    }

    /// Whether an event's values are to be added up.
    pub(super) fn counts(&self, entry: &CatalogueEvent) -> bool {
        *self == Normalising::Own && is_training(entry)
    }

    /// Whether there is something to take statistics from.
    ///
    /// # Errors
    /// Modalities that no training event has.
    pub(super) fn check(&self, spec: &EventStoreSpec) -> Result<(), RunError> {
        let trains = |array: &EventArray| {
            spec.events.iter().any(|entry| is_training(entry) && entry.event.parts.contains_key(&array.modality))
        };
        let without: Vec<&str> =
            spec.arrays.iter().filter(|array| !trains(array)).map(|array| array.modality.label()).collect();
        if *self != Normalising::Own || without.is_empty() {
            return Ok(());
        }
        Err(RunError::Pipeline(vec![format!(
            "statistics = \"{OWN}\": none of the {} events is a training event with {}; expected at least one: take more \
             `years`, or another `split`, or the statistics of a table or of another store",
            spec.events.len(),
            without.join(", "),
        )]))
    }

    /// The store as it is to be published, once every shard is there.
    ///
    /// # Errors
    /// Where its own training events give no usable numbers.
    pub(super) fn apply(&self, store: &EventStore, totals: &EventTotals) -> Result<EventStore, RunError> {
        if *self != Normalising::Own {
            return Ok(store.clone());
        }
        let mut found = BTreeMap::new();
        for modality in store.spec().arrays.iter().map(|array| array.modality) {
            let row = own(modality, totals).ok_or_else(|| unusable(modality, totals))?;
            tracing::info!(%modality, shift = row.shift, scale = row.scale, count = row.count, "normalised by");
            found.insert(modality, normalisation(row));
        }
        Ok(store.normalised(&found))
    }

    /// What is published of a normalisation by own statistics and would be another one now: it stays, since models may
    /// have been trained with it.
    pub(super) fn kept(&self, published: &[EventArray], totals: &EventTotals) -> Vec<KeptNormalisation> {
        let kept = published.iter().filter_map(|array| {
            let (before, now) = (array.normalisation?, own(array.modality, totals).map(normalisation)?);
            let numbers = |by: Normalisation| [by.shift, by.scale];
            let kept = KeptNormalisation { modality: array.modality, published: numbers(before), now: numbers(now) };
            (before != now).then_some(kept)
        });
        if *self == Normalising::Own { kept.collect() } else { Vec::new() }
    }
}

/// The statistics of a modality over all training events, where they can be used.
fn own(modality: Modality, totals: &EventTotals) -> Option<Scaling> {
    let modalities = totals.statistics.iter().map(|(modality, sums)| (*modality, sums.scaling())).collect();
    ScalingTable { source: OWN_SOURCE.into(), modalities }.of(modality).ok()
}

/// Why the statistics of a modality cannot be used, and what to do.
fn unusable(modality: Modality, totals: &EventTotals) -> RunError {
    let found = match totals.statistics.get(&modality).map(|sums| sums.scaling()) {
        None => format!("no training event of this store has a value of {modality}"),
        Some(Scaling { shift, .. }) => {
            format!("all values of {modality} in the training events of this store are {shift}, and cannot be scaled")
        }
    };
    RunError::Unpublished(format!(
        "{found}; with another --output, take more training events (`years`, `from`, `to`, or another `split`), or leave \
         {modality} out of `modalities`, or name a table in `statistics`"
    ))
}

fn is_training(entry: &CatalogueEvent) -> bool {
    SPLITS.get(usize::from(entry.split)) == Some(&Split::Train.label())
}

fn normalisation(row: Scaling) -> Normalisation {
    Normalisation { shift: row.shift, scale: row.scale }
}
