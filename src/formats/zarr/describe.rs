//! What a store holds, for people and for programs that read JSON.

use std::sync::Arc;

use serde::Serialize;

use super::axis::init_time;
use super::layout::ArrayLayout;
use super::metadata::{FORMAT_VERSION, layouts};
use super::store::name_of;
use super::{Store, ZarrError};
use crate::domain::{Grid, Lead};
use crate::storage::ObjectStore;

/// What a store holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Description {
    /// The store, as messages call it.
    pub store: String,
    /// The layout it was written in.
    pub format_version: u64,
    /// Its title.
    pub title: String,
    /// The first init of the axis, in UTC.
    pub origin: String,
    /// The time between inits.
    pub step_minutes: u32,
    /// Length of the init axis, gaps included.
    pub inits: u64,
    /// The leads.
    pub lead_minutes: Vec<u32>,
    /// Where the values are.
    pub grid: Grid,
    /// Every array, variables first.
    pub arrays: Vec<ArrayDescription>,
    /// The inits of which something is published, in order.
    pub published: Vec<InitDescription>,
}

/// One array of a store.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ArrayDescription {
    /// Its name.
    pub name: String,
    /// The type of its elements, as Zarr names it.
    pub data_type: String,
    /// The names of its dimensions.
    pub dimensions: Vec<String>,
    /// Its length along each dimension.
    pub shape: Vec<u64>,
    /// Its units, where it has some.
    pub units: Option<String>,
    /// Its title, where it has one.
    pub long_name: Option<String>,
}

/// What is published of one init.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InitDescription {
    /// The init, in UTC.
    pub init_time: String,
    /// The leads that are whole.
    pub lead_minutes: Vec<u32>,
}

/// Describes the store below `prefix`; fails where there is none.
pub fn describe(objects: Arc<dyn ObjectStore>, prefix: &str) -> Result<Description, ZarrError> {
    let name = name_of(&*objects, prefix);
    let store = Store::open(objects, prefix)?.ok_or_else(|| ZarrError::Absent { store: name.clone() })?;
    let (spec, inits) = (store.spec(), store.inits());
    Ok(Description {
        store: name,
        format_version: FORMAT_VERSION,
        title: spec.title.clone(),
        origin: spec.origin.to_string(),
        step_minutes: spec.step.0,
        inits,
        lead_minutes: spec.leads.iter().map(|lead| lead.0).collect(),
        grid: (*spec.grid).clone(),
        arrays: layouts(spec, inits).into_iter().map(array).collect(),
        published: published(&store)?,
    })
}

fn array(layout: ArrayLayout) -> ArrayDescription {
    let text = |name: &str| layout.attributes.get(name).and_then(|value| value.as_str()).map(str::to_string);
    ArrayDescription {
        units: text("units"),
        long_name: text("long_name"),
        data_type: layout.data_type.to_string(),
        dimensions: layout.dimensions.iter().map(|name| name.to_string()).collect(),
        name: layout.name,
        shape: layout.shape,
    }
}

fn published(store: &Store) -> Result<Vec<InitDescription>, ZarrError> {
    let (spec, flags) = (store.spec(), store.flags()?);
    let minutes = |flags: &[(u64, usize)]| {
        let leads = flags.iter().filter_map(|(_, lead)| spec.leads.get(*lead));
        leads.map(|Lead(minutes)| *minutes).collect()
    };
    let inits = flags.chunk_by(|a, b| a.0 == b.0);
    Ok(inits
        .map(|flags| InitDescription {
            init_time: init_time(spec, flags[0].0).to_string(),
            lead_minutes: minutes(flags),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::super::store::tests::small_spec;
    use super::*;
    use crate::domain::{Moment, Slot};
    use crate::storage::FileStore;

    #[test]
    fn a_description_says_what_is_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let objects: Arc<dyn ObjectStore> = Arc::new(FileStore::new(folder.path().to_str().expect("a path")));
        let absent = describe(objects.clone(), "archive").expect_err("no store").to_string();
        assert!(absent.contains("no Zarr store"), "{absent}");
        let store = Store::create_or_open(objects.clone(), "archive", &small_spec()).expect("a store");
        let slot = |hour: u64, lead| Slot::new(Moment(small_spec().origin.0 + hour * 3600), Lead::hours(lead));
        for slot in [slot(11, 0), slot(2, 3), slot(2, 0)] {
            store.publish(slot).expect("published");
        }
        let description = describe(objects, "archive").expect("described");
        let init = |time: &str, leads: &[u32]| InitDescription { init_time: time.into(), lead_minutes: leads.to_vec() };
        assert_eq!(description.published, [init("2018-07-22T02:00Z", &[0, 180]), init("2018-07-22T11:00Z", &[0])]);
        assert_eq!((description.inits, &description.grid), (24, &*small_spec().grid));
        let first = &description.arrays[0];
        assert_eq!((&*first.name, first.units.as_deref(), &*first.shape), ("t2m", Some("K"), &[24, 3, 4, 6][..]));
        assert!(serde_json::to_string(&description).is_ok_and(|text| text.contains("\"format_version\":1")));
    }
}
