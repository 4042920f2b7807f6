//! Fields as pictures: one a variable, lead and statistic, in a folder a cycle.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::config::{PngOptions, VariableTable};
use crate::domain::{Field, Variable};
use crate::formats::png::{ColourTable, Picture, draw, tables};
use crate::storage::ObjectStore;

use super::{Commit, Sink, SinkError};

/// The statistic a deterministic forecast is: the forecast itself.
const STATISTIC: &str = "value";

/// The picture sink.
#[derive(Debug)]
pub struct PngSink {
    name: String,
    objects: Arc<dyn ObjectStore>,
    path: String,
    wanted: Vec<Arc<str>>,
    earth_winds: bool,
    variables: BTreeMap<Arc<str>, Arc<Variable>>,
    colours: BTreeMap<String, ColourTable>,
}

impl PngSink {
    /// A sink into `options.path` of a store of objects.
    ///
    /// # Errors
    /// Where the colour tables cannot be read.
    pub fn new(
        name: &str,
        objects: Arc<dyn ObjectStore>,
        options: &PngOptions,
        earth_winds: bool,
        table: &VariableTable,
        colours: &str,
    ) -> Result<Self, SinkError> {
        Ok(PngSink {
            name: name.into(),
            objects,
            path: options.path.clone(),
            wanted: options.variables.clone(),
            earth_winds,
            variables: table.iter().map(|v| (v.name.clone(), v.clone())).collect(),
            colours: tables(colours)?,
        })
    }

    fn object(&self, field: &Field) -> String {
        let (cycle, variable, lead) = (field.slot.cycle.key(), &field.variable, field.slot.lead);
        format!("{}/{cycle}/{variable}/{lead}_{STATISTIC}.png", self.path)
    }
}

impl Sink for PngSink {
    fn name(&self) -> &str {
        &self.name
    }

    fn takes(&self, field: &Field) -> bool {
        self.wanted.is_empty() || self.wanted.contains(&field.variable)
    }

    fn write(&self, field: &Field) -> Result<Value, SinkError> {
        let unknown = || SinkError::Variable(field.variable.to_string());
        let variable = self.variables.get(&field.variable).ok_or_else(unknown)?;
        let colours =
            self.colours.get(&variable.colours).or_else(|| self.colours.get("generic")).ok_or_else(unknown)?;
        let slot = field.slot;
        let subtitle = format!("init {} · lead {} · valid {}", slot.cycle, slot.lead, slot.valid());
        let origin = &field.provenance.origin;
        let picture = Picture {
            title: &variable.title(self.earth_winds),
            subtitle: &subtitle,
            note: origin.starts_with("SYNTHETIC").then_some(origin.as_str()),
            units: &variable.units,
            grid: &field.grid,
            values: &field.values,
            colours,
        };
        let object = self.object(field);
        self.objects.put(&object, Bytes::from(draw(&picture)?))?;
        Ok(json!({ "object": object, "missing": field.missing() }))
    }

    fn publish(&self, _commit: &Commit) -> Result<(), SinkError> {
        Ok(())
    }
}
