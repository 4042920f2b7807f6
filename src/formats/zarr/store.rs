//! A store: made or opened, written a shard at a time, published a flag at a time, read back.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::axis::{Place, init_time, inits_per_day, place};
use super::coordinates::{PUBLISHED, day_chunks, fixed_chunks, geographic_chunks};
use super::shard::{Packer, Shard};
use super::{StoreSpec, ZarrError, metadata, stored};
use crate::domain::Slot;
use crate::storage::ObjectStore;

/// The flag of a slot that is whole.
const WHOLE: u8 = 1;

/// A store of forecast fields in Zarr v3.
///
/// Several threads may write at once, each its own variable or slot; only one process may write.
#[derive(Debug)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    prefix: String,
    name: String,
    spec: StoreSpec,
    shard: Shard,
    /// Length of the init axis; whoever makes it longer holds the lock until all metadata says so.
    inits: Mutex<u64>,
}

impl Store {
    /// Makes a store below `prefix`, or opens the one that is there for writing.
    ///
    /// The origin of `spec` only counts where a store is made. Fails where the store that is there has another grid,
    /// step, other leads, variables or attributes, or another format version.
    pub fn create_or_open(objects: Arc<dyn ObjectStore>, prefix: &str, spec: &StoreSpec) -> Result<Store, ZarrError> {
        let name = name_of(&*objects, prefix);
        if let Some(reason) = spec.mistake() {
            return Err(ZarrError::Spec { store: name, reason });
        }
        let wanted = spec.as_stored();
        let Some(store) = Store::open(objects.clone(), prefix)? else { return Store::create(objects, prefix, wanted) };
        if let Some((what, stored, wanted)) = wanted.difference(&store.spec) {
            return Err(ZarrError::Disagrees { store: store.name, what, stored, wanted });
        }
        store.repair()?;
        Ok(store)
    }

    /// Opens a store for reading; `None` where there is none.
    pub fn open(objects: Arc<dyn ObjectStore>, prefix: &str) -> Result<Option<Store>, ZarrError> {
        let (prefix, name) = (clean(prefix), name_of(&*objects, prefix));
        let key = format!("{prefix}zarr.json");
        let Some(document) = objects.get(&key)? else { return Ok(None) };
        let stored = stored::read(&document, &name, &key)?;
        Store::new(objects, prefix, name, stored.spec, stored.inits).map(Some)
    }

    /// Writes one variable of one slot, row-major (y, x), NaN where missing; the init axis grows where it must.
    pub fn write(&self, variable: &str, slot: Slot, values: &[f32]) -> Result<(), ZarrError> {
        let (place, key) = self.shard_key(variable, slot)?;
        let expected = self.points();
        if values.len() != expected {
            let (store, variable, got) = (self.name.clone(), variable.to_string(), values.len());
            return Err(ZarrError::Values { store, variable, got, expected });
        }
        let packed = self.shard.pack(values).map_err(|reason| self.shard_error(&key, reason))?;
        self.reach(place.init)?;
        Ok(self.objects.put(&key, packed.into())?)
    }

    /// Flags a slot as whole; to be called once everything of it is written.
    pub fn publish(&self, slot: Slot) -> Result<(), ZarrError> {
        let place = place(&self.spec, &self.name, slot)?;
        self.reach(place.init)?;
        Ok(self.objects.put(&self.flag_key(place), Bytes::from_static(&[WHOLE]))?)
    }

    /// Whether a slot is flagged as whole, at this moment.
    pub fn published(&self, slot: Slot) -> Result<bool, ZarrError> {
        let key = self.flag_key(place(&self.spec, &self.name, slot)?);
        Ok(self.objects.get(&key)?.is_some_and(|flag| *flag == [WHOLE]))
    }

    /// One variable of one slot, row-major (y, x), NaN where missing; `None` where it was never written.
    pub fn read(&self, variable: &str, slot: Slot) -> Result<Option<Vec<f32>>, ZarrError> {
        let (_, key) = self.shard_key(variable, slot)?;
        let Some(packed) = self.objects.get(&key)? else { return Ok(None) };
        let values = self.shard.unpack(&packed, self.points());
        values.map(Some).map_err(|reason| self.shard_error(&key, reason))
    }

    /// What the store holds, as it is stored.
    pub fn spec(&self) -> &StoreSpec {
        &self.spec
    }

    /// Length of the init axis when this store was opened or last grew here.
    pub(super) fn inits(&self) -> u64 {
        *self.inits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every flagged slot, from one listing.
    pub fn published_slots(&self) -> Result<BTreeSet<Slot>, ZarrError> {
        let slot = |(init, lead): (u64, usize)| {
            let lead = self.spec.leads.get(lead)?;
            Some(Slot::new(init_time(&self.spec, init), *lead))
        };
        Ok(self.flags()?.into_iter().filter_map(slot).collect())
    }

    /// The (init, lead) indices of every flagged slot, sorted.
    pub(super) fn flags(&self) -> Result<Vec<(u64, usize)>, ZarrError> {
        let folder = format!("{}{PUBLISHED}/c/", self.prefix);
        let listed = self.objects.list(&folder)?;
        let places = listed.iter().filter_map(|object| flag_place(object.key.strip_prefix(&folder)?));
        let inits = self.inits();
        let mut flags: Vec<_> = places.filter(|(init, lead)| *init < inits && *lead < self.spec.leads.len()).collect();
        flags.sort_unstable();
        Ok(flags)
    }

    fn create(objects: Arc<dyn ObjectStore>, prefix: &str, spec: StoreSpec) -> Result<Store, ZarrError> {
        let (inits, name) = (inits_per_day(&spec), name_of(&*objects, prefix));
        let store = Store::new(objects, clean(prefix), name, spec, inits)?;
        store.put_all(fixed_chunks(&store.spec))?;
        store.put_all(day_chunks(&store.spec, 0))?;
        let grid = &*store.spec.grid;
        let packer = Packer::of_doubles(grid.ny, grid.nx).map_err(|reason| store.shard_error("latitude", reason))?;
        for (key, values) in geographic_chunks(grid) {
            let packed = packer.pack(values).map_err(|reason| store.shard_error(&key, reason))?;
            store.put(&key, packed.into())?;
        }
        store.put_all(metadata::documents(&store.spec, inits))?;
        Ok(store)
    }

    fn new(
        objects: Arc<dyn ObjectStore>,
        prefix: String,
        name: String,
        spec: StoreSpec,
        inits: u64,
    ) -> Result<Store, ZarrError> {
        let shard = Shard::of(&spec.grid).map_err(|reason| ZarrError::Spec { store: name.clone(), reason })?;
        Ok(Store { objects, prefix, name, spec, shard, inits: Mutex::new(inits) })
    }

    /// Brings the arrays' own metadata in line with the root's: a kill may have left some of a longer axis.
    fn repair(&self) -> Result<(), ZarrError> {
        for (key, bytes) in metadata::documents(&self.spec, self.inits()) {
            let found = self.objects.get(&format!("{}{key}", self.prefix))?;
            if found.as_ref() != Some(&bytes) {
                self.put(&key, bytes)?;
            }
        }
        Ok(())
    }

    /// Grows the init axis, by whole days, until it has `init`: coordinates first, the root's metadata last.
    fn reach(&self, init: u64) -> Result<(), ZarrError> {
        let mut inits = self.inits.lock().unwrap_or_else(PoisonError::into_inner);
        if init < *inits {
            return Ok(());
        }
        let per_day = inits_per_day(&self.spec);
        let days = init / per_day + 1;
        for day in *inits / per_day..days {
            self.put_all(day_chunks(&self.spec, day))?;
        }
        self.put_all(metadata::documents(&self.spec, days * per_day))?;
        *inits = days * per_day;
        Ok(())
    }

    fn put_all<B: Into<Bytes>>(&self, objects: Vec<(String, B)>) -> Result<(), ZarrError> {
        objects.into_iter().try_for_each(|(key, bytes)| self.put(&key, bytes.into()))
    }

    fn put(&self, key: &str, bytes: Bytes) -> Result<(), ZarrError> {
        Ok(self.objects.put(&format!("{}{key}", self.prefix), bytes)?)
    }

    fn shard_key(&self, variable: &str, slot: Slot) -> Result<(Place, String), ZarrError> {
        if !self.spec.variables.iter().any(|v| &*v.name == variable) {
            let (store, variable, variables) = (self.name.clone(), variable.to_string(), self.spec.names());
            return Err(ZarrError::Variable { store, variable, variables });
        }
        let place = place(&self.spec, &self.name, slot)?;
        Ok((place, format!("{}{variable}/c/{}/{}/0/0", self.prefix, place.init, place.lead)))
    }

    fn flag_key(&self, place: Place) -> String {
        format!("{}{PUBLISHED}/c/{}/{}", self.prefix, place.init, place.lead)
    }

    fn shard_error(&self, key: &str, reason: String) -> ZarrError {
        ZarrError::Shard { store: self.name.clone(), key: key.to_string(), reason }
    }

    fn points(&self) -> usize {
        self.spec.grid.nx * self.spec.grid.ny
    }
}

/// The prefix with its slash, or nothing.
pub(super) fn clean(prefix: &str) -> String {
    let prefix = prefix.trim_matches('/');
    if prefix.is_empty() { String::new() } else { format!("{prefix}/") }
}

/// The store as messages call it.
pub(super) fn name_of(objects: &dyn ObjectStore, prefix: &str) -> String {
    let prefix = prefix.trim_matches('/');
    if prefix.is_empty() { objects.location().to_string() } else { format!("{}/{prefix}", objects.location()) }
}

/// `3/1` is the flag of init 3 and lead 1.
fn flag_place(key: &str) -> Option<(u64, usize)> {
    let (init, lead) = key.split_once('/')?;
    Some((init.parse().ok()?, lead.parse().ok()?))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::ArraySpec;
    use super::*;
    use crate::domain::{Earth, Grid, Lead, Moment, Projection};
    use crate::storage::FileStore;

    /// Hourly inits, three leads and two variables on a small Lambert grid.
    pub(in super::super) fn small_spec() -> StoreSpec {
        let projection = Projection::Lambert { latitude_origin: 38.5, parallels: [38.5; 2], longitude_origin: 262.5 };
        let (x0, y0) = (-1_500_000.25, 300_000.125);
        let grid = Grid { projection, earth: Earth::sphere(6_371_229.0), nx: 6, ny: 4, x0, y0, dx: 3000.0, dy: 3000.0 };
        let variable = |name: &str, units: &str| ArraySpec {
            name: name.into(),
            long_name: format!("long name of {name}"),
            units: units.into(),
            standard_name: (name == "t2m").then(|| "air_temperature".into()),
        };
        StoreSpec {
            title: "A small store".into(),
            origin: Moment::from_ymdh(2018, 7, 22, 0).expect("a day"),
            step: Lead::hours(1),
            leads: [0, 1, 3].map(Lead::hours).to_vec(),
            grid: Arc::new(grid),
            variables: vec![variable("t2m", "K"), variable("u10", "m s-1")],
            attributes: serde_json::from_str(r#"{"institution": "nowhere"}"#).expect("JSON"),
        }
    }

    fn folder() -> (tempfile::TempDir, Arc<dyn ObjectStore>) {
        let folder = tempfile::tempdir().expect("a folder");
        let objects = Arc::new(FileStore::new(folder.path().to_str().expect("a path")));
        (folder, objects)
    }

    fn slot(hour: u64, lead: u32) -> Slot {
        Slot::new(Moment(small_spec().origin.0 + hour * 3600), Lead::hours(lead))
    }

    fn made(objects: &Arc<dyn ObjectStore>) -> Store {
        Store::create_or_open(objects.clone(), "archive", &small_spec()).expect("a store")
    }

    #[test]
    fn what_is_written_is_read_and_published_last() {
        let (_folder, objects) = folder();
        assert!(Store::open(objects.clone(), "archive").expect("no error").is_none());
        let store = made(&objects);
        let values: Vec<f32> = (0..24u8).map(f32::from).collect();
        let at = slot(30, 3);
        assert_eq!((store.read("t2m", at).expect("fine"), store.published(at).expect("fine")), (None, false));
        store.write("t2m", at, &values).expect("written");
        let reader = Store::open(objects, "archive/").expect("fine").expect("there");
        assert_eq!((reader.published(at).expect("fine"), reader.inits()), (false, 48));
        store.publish(at).expect("published");
        assert_eq!(reader.read("t2m", at).expect("fine"), Some(values));
        assert!(reader.published(at).expect("fine") && !reader.published(slot(30, 1)).expect("fine"));
        assert_eq!((reader.flags().expect("fine"), reader.spec()), (vec![(30, 2)], &small_spec().as_stored()));
    }

    #[test]
    fn what_has_no_place_is_refused() {
        let (_folder, objects) = folder();
        let store = made(&objects);
        let reason = |written: Result<(), ZarrError>| written.err().map(|e| e.to_string()).unwrap_or_default();
        assert!(reason(store.write("t2m", slot(0, 0), &[0.0; 23])).contains("23 values of `t2m`, but the grid has 24"));
        assert!(reason(store.write("refc", slot(0, 0), &[0.0; 24])).contains("no variable `refc`; it has t2m, u10"));
        assert!(reason(store.write("t2m", slot(0, 2), &[0.0; 24])).contains("no lead f02"));
        let early = Slot::new(Moment(0), Lead(0));
        assert!(reason(store.write("t2m", early, &[0.0; 24])).contains("before the first init"));
        assert!(reason(store.publish(early)).contains("before the first init"));
    }

    #[test]
    fn a_store_that_disagrees_is_refused_and_one_that_agrees_keeps_its_origin() {
        let (_folder, objects) = folder();
        made(&objects);
        let mut later = small_spec();
        later.origin = Moment(later.origin.0 + 5 * 86_400 + 3600);
        let store = Store::create_or_open(objects.clone(), "archive", &later).expect("only the origin differs");
        assert_eq!(store.spec().origin, small_spec().origin);
        later.leads.push(Lead::hours(6));
        let error = Store::create_or_open(objects.clone(), "archive", &later).expect_err("other leads").to_string();
        assert!(error.contains("has the leads f00, f01, f03, but f00, f01, f03, f06 is to be written"), "{error}");
        later.leads.clear();
        let error = Store::create_or_open(objects, "archive", &later).expect_err("no leads").to_string();
        assert!(error.contains("no store can be made"), "{error}");
    }

    #[test]
    fn metadata_of_a_growth_that_was_cut_short_is_put_right() {
        let (_folder, objects) = folder();
        made(&objects);
        let keys = objects.list("").expect("listed").into_iter().map(|object| object.key);
        let before: Vec<_> = keys.map(|key| (objects.get(&key).expect("read"), key)).collect();
        for (key, bytes) in metadata::documents(&small_spec().as_stored(), 72).into_iter().take(4) {
            objects.put(&format!("archive/{key}"), bytes).expect("put");
        }
        made(&objects);
        for (bytes, key) in before {
            assert_eq!(objects.get(&key).expect("read"), bytes, "{key}");
        }
    }

    #[test]
    fn a_broken_shard_is_an_error_that_names_it() {
        let (_folder, objects) = folder();
        let store = made(&objects);
        objects.put("archive/t2m/c/0/0/0/0", Bytes::from_static(b"not a shard")).expect("put");
        let error = store.read("t2m", slot(0, 0)).expect_err("no shard").to_string();
        assert!(error.contains("`archive/t2m/c/0/0/0/0`"), "{error}");
    }
}
