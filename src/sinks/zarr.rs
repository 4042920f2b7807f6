//! Fields into a Zarr store that is made when the first of them shows its grid.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value, json};

use crate::config::{StoreOptions, VariableTable};
use crate::domain::{Field, Grid, Lead, Moment, Slot, Variable};
use crate::formats::zarr::{ArraySpec, Store, StoreSpec};
use crate::storage::ObjectStore;

use super::{Commit, Sink, SinkError};

/// What a store is of, but for its grid.
#[derive(Clone, Debug)]
pub struct StoreDescription {
    /// The pipeline's name, for the title where none is given.
    pub pipeline: String,
    /// The first init of a store that is made now.
    pub origin: Moment,
    /// The time between inits.
    pub step: Lead,
    /// The leads.
    pub leads: Vec<Lead>,
    /// The variables.
    pub variables: Vec<Arc<str>>,
    /// Winds were rotated to earth-relative.
    pub earth_winds: bool,
    /// Values were normalised with this table.
    pub normalised: Option<String>,
    /// Further attributes of the root group.
    pub attributes: Map<String, Value>,
}

/// Values, row-major (y, x), and where they are.
pub type Gridded = (Arc<Grid>, Vec<f32>);

/// The Zarr sink.
#[derive(Debug)]
pub struct ZarrSink {
    name: String,
    objects: Arc<dyn ObjectStore>,
    path: String,
    title: String,
    description: StoreDescription,
    arrays: Vec<ArraySpec>,
    store: Mutex<Option<Arc<Store>>>,
}

impl ZarrSink {
    /// A sink into `options.path` of a store of objects; what is there already is opened at once.
    ///
    /// # Errors
    /// Where what is there is no store, or a variable is unknown.
    pub fn new(
        name: &str,
        objects: Arc<dyn ObjectStore>,
        options: &StoreOptions,
        description: StoreDescription,
        table: &VariableTable,
    ) -> Result<Self, SinkError> {
        let array = |name: &Arc<str>| {
            let variable = table.get(name).ok_or_else(|| SinkError::Variable(name.to_string()))?;
            Ok(array_spec(variable, &description))
        };
        let arrays: Vec<ArraySpec> = description.variables.iter().map(array).collect::<Result<_, SinkError>>()?;
        let title = options.title.clone().unwrap_or_else(|| format!("Gustfront {}", description.pipeline));
        let sink = ZarrSink {
            name: name.to_string(),
            path: options.path.clone(),
            title,
            arrays,
            store: Mutex::new(None),
            description,
            objects,
        };
        if let Some(existing) = Store::open(sink.objects.clone(), &sink.path)? {
            let (grid, source) = (existing.spec().grid.clone(), existing.spec().attributes.get("source").cloned());
            sink.store(&grid, source.as_ref().and_then(Value::as_str).unwrap_or_default())?;
        }
        Ok(sink)
    }

    /// The first init of the store: of the one that is there, else of the one that would be made.
    pub fn origin(&self) -> Moment {
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        store.as_ref().map_or(self.description.origin.midnight(), |s| s.spec().origin)
    }

    /// Reads a variable back, with its grid; `None` where it was never written.
    pub fn read(&self, variable: &str, slot: Slot) -> Result<Option<Gridded>, SinkError> {
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(store) = store else { return Ok(None) };
        Ok(store.read(variable, slot)?.map(|values| (store.spec().grid.clone(), values)))
    }

    /// Publishes again every slot that a killed run committed and could not flag.
    pub fn publish_committed(&self, slots: impl Iterator<Item = Slot>) -> Result<(), SinkError> {
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(store) = store else { return Ok(()) };
        let flagged = store.published_slots()?;
        let unflagged = slots.filter(|slot| !flagged.contains(slot) && slot.cycle >= store.spec().origin);
        unflagged.into_iter().try_for_each(|slot| Ok(store.publish(slot)?))
    }

    fn store(&self, grid: &Arc<Grid>, source: &str) -> Result<Arc<Store>, SinkError> {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = &*store {
            return Ok(store.clone());
        }
        let mut attributes = self.description.attributes.clone();
        if !source.is_empty() {
            attributes.insert("source".into(), source.into());
        }
        if let Some(table) = &self.description.normalised {
            attributes.insert("normalised_with".into(), json!(table));
        }
        let spec = StoreSpec {
            title: self.title.clone(),
            origin: self.description.origin,
            step: self.description.step,
            leads: self.description.leads.clone(),
            grid: grid.clone(),
            variables: self.arrays.clone(),
            attributes,
        };
        let made = Arc::new(Store::create_or_open(self.objects.clone(), &self.path, &spec)?);
        *store = Some(made.clone());
        Ok(made)
    }
}

impl Sink for ZarrSink {
    fn name(&self) -> &str {
        &self.name
    }

    fn takes(&self, field: &Field) -> bool {
        field.slot.cycle >= self.origin()
    }

    fn write(&self, field: &Field) -> Result<Value, SinkError> {
        let store = self.store(&field.grid, &field.provenance.origin)?;
        store.write(&field.variable, field.slot, &field.values)?;
        Ok(json!({ "missing": field.missing() }))
    }

    fn publish(&self, commit: &Commit) -> Result<(), SinkError> {
        let slot = commit.slot;
        // The axis begins at the origin: what came before it was not taken.
        if slot.cycle < self.origin() {
            return Ok(());
        }
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner).clone();
        store.map_or(Ok(()), |store| Ok(store.publish(slot)?))
    }
}

fn array_spec(variable: &Variable, description: &StoreDescription) -> ArraySpec {
    let rotated = if description.earth_winds { variable.standard_name_earth.clone() } else { None };
    let normalised = description.normalised.is_some();
    let title = variable.title(description.earth_winds);
    let long_name = if normalised { format!("{title}, normalised") } else { title };
    ArraySpec {
        name: variable.name.clone(),
        long_name,
        units: if normalised { "1".into() } else { variable.units.clone() },
        standard_name: if normalised { None } else { rotated.or_else(|| variable.standard_name.clone()) },
    }
}
