//! What is done, as small immutable objects: one a commit, compared by content, with no clock in it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::location::check_key;
use super::{ObjectStore, StorageError};

/// Requests at a time while a ledger is loaded: an object store answers many small ones as fast as one.
const LOADING_THREADS: usize = 16;

/// A ledger that could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// An object of the ledger is not what a commit writes.
    #[error(
        "{location}: the ledger object `{key}` cannot be read: {reason}; \
         delete it and run again, what it recorded is then done anew"
    )]
    Unreadable {
        /// The store.
        location: String,
        /// The object.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A record that JSON cannot hold.
    #[error("the ledger record of `{unit}` cannot be written as JSON: {source}")]
    Record {
        /// What was to be committed.
        unit: String,
        /// Why not.
        source: serde_json::Error,
    },
}

/// Records by unit of work, such as `archive/2018072203/f01`, below a prefix of a store.
///
/// A commit is the object `PREFIX/UNIT.rN.json`. Objects never change: another record for the same unit becomes the
/// next revision. Only one writer may commit a unit at a time; any number may load.
#[derive(Clone, Debug)]
pub struct Ledger {
    objects: Arc<dyn ObjectStore>,
    /// Empty, or with its closing slash.
    prefix: String,
}

impl Ledger {
    /// The ledger below `prefix` (a folder such as `ledger`, or empty) of a store.
    pub fn new(objects: Arc<dyn ObjectStore>, prefix: &str) -> Ledger {
        let prefix = prefix.trim_end_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ledger { objects, prefix }
    }

    /// Records that `unit` is done; the same record again changes nothing, another becomes the newest revision.
    ///
    /// JSON has no NaN and no infinity: they are written as `null`.
    pub fn commit<T: Serialize>(&self, unit: &str, record: &T) -> Result<(), LedgerError> {
        check_key(self.objects.location(), unit)?;
        let bytes = canonical(record).map_err(|source| LedgerError::Record { unit: unit.to_string(), source })?;
        let newest = self.newest(&format!("{unit}.r"))?.remove(unit);
        let revision = match newest {
            None => 0,
            Some(newest) => {
                let key = self.key(unit, newest);
                if self.objects.get(&key)?.as_ref() == Some(&bytes) {
                    return Ok(());
                }
                newest.checked_add(1).ok_or_else(|| self.unreadable(&key, "it is the last possible revision"))?
            }
        };
        Ok(self.objects.put(&self.key(unit, revision), bytes)?)
    }

    /// The newest record of every unit that begins with `prefix`.
    pub fn load<T: DeserializeOwned + Send>(&self, prefix: &str) -> Result<BTreeMap<String, T>, LedgerError> {
        let units: Vec<(String, u32)> = self.newest(prefix)?.into_iter().collect();
        let next = AtomicUsize::new(0);
        let work = || {
            let mut read = Vec::new();
            while let Some((unit, revision)) = units.get(next.fetch_add(1, Ordering::Relaxed)) {
                read.push((unit.clone(), self.read(&self.key(unit, *revision))?));
            }
            Ok(read)
        };
        let parts: Vec<Result<Vec<(String, T)>, LedgerError>> = thread::scope(|scope| {
            let threads: Vec<_> = (0..LOADING_THREADS.min(units.len())).map(|_| scope.spawn(work)).collect();
            threads.into_iter().map(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        });
        Ok(parts.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    fn key(&self, unit: &str, revision: u32) -> String {
        format!("{}{unit}.r{revision}.json", self.prefix)
    }

    /// The newest revision of every unit whose object's name begins with `prefix`.
    fn newest(&self, prefix: &str) -> Result<BTreeMap<String, u32>, LedgerError> {
        let mut newest = BTreeMap::new();
        for object in self.objects.list(&format!("{}{prefix}", self.prefix))? {
            let Some(name) = object.key.strip_prefix(&self.prefix).and_then(|k| k.strip_suffix(".json")) else {
                continue;
            };
            let (unit, revision) = revision(name)
                .ok_or_else(|| self.unreadable(&object.key, "expected a name that ends in `.r` and a number"))?;
            let known = newest.entry(unit.to_string()).or_insert(revision);
            *known = revision.max(*known);
        }
        Ok(newest)
    }

    fn read<T: DeserializeOwned>(&self, key: &str) -> Result<T, LedgerError> {
        let bytes = self.objects.get(key)?.ok_or_else(|| self.unreadable(key, "it was listed and then gone"))?;
        serde_json::from_slice(&bytes).map_err(|e| self.unreadable(key, &e.to_string()))
    }

    fn unreadable(&self, key: &str, reason: &str) -> LedgerError {
        let (location, key) = (self.objects.location().to_string(), key.to_string());
        LedgerError::Unreadable { location, key, reason: reason.to_string() }
    }
}

/// Takes `unit.rN` apart; `None` where a commit would not have written it so.
fn revision(name: &str) -> Option<(&str, u32)> {
    let (unit, digits) = name.rsplit_once(".r")?;
    let revision: u32 = digits.parse().ok()?;
    (!unit.is_empty() && revision.to_string() == digits).then_some((unit, revision))
}

/// JSON with sorted keys and a newline at its end: the same record gives the same bytes.
fn canonical<T: Serialize>(record: &T) -> Result<Bytes, serde_json::Error> {
    let mut bytes = serde_json::to_vec(&sorted(serde_json::to_value(record)?))?;
    bytes.push(b'\n');
    Ok(bytes.into())
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Array(values) => values.into_iter().map(sorted).collect(),
        Value::Object(fields) => {
            let fields: BTreeMap<String, Value> = fields.into_iter().map(|(k, v)| (k, sorted(v))).collect();
            fields.into_iter().collect()
        }
        plain => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::FileStore;
    use serde::Deserialize;
    use std::collections::HashMap;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Record {
        fields: HashMap<String, u32>,
        etag: String,
    }

    fn record(etag: &str) -> Record {
        let fields = ["t2m", "u10", "v10", "cape", "cin"].into_iter().zip(0..).map(|(k, v)| (k.to_string(), v));
        Record { fields: fields.collect(), etag: etag.to_string() }
    }

    fn ledger() -> (tempfile::TempDir, Arc<FileStore>, Ledger) {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(FileStore::new(folder.path().to_str().unwrap()));
        let ledger = Ledger::new(store.clone(), "ledger");
        (folder, store, ledger)
    }

    fn keys(store: &FileStore) -> Vec<String> {
        store.list("").unwrap().into_iter().map(|o| o.key).collect()
    }

    #[test]
    fn only_another_content_makes_a_revision() {
        let (_folder, store, ledger) = ledger();
        let unit = "archive/2018072203/f01";
        for etag in ["a", "a", "b", "b", "a", "a"] {
            ledger.commit(unit, &record(etag)).unwrap();
        }
        let expected: Vec<String> = (0..3).map(|n| format!("ledger/{unit}.r{n}.json")).collect();
        assert_eq!(keys(&store), expected);
        let loaded: BTreeMap<String, Record> = ledger.load("").unwrap();
        assert_eq!(loaded, BTreeMap::from([(unit.to_string(), record("a"))]));
        let text = store.get(&expected[1]).unwrap().unwrap();
        assert_eq!(text, "{\"etag\":\"b\",\"fields\":{\"cape\":3,\"cin\":4,\"t2m\":0,\"u10\":1,\"v10\":2}}\n");
    }

    #[test]
    fn units_whose_names_begin_alike_are_kept_apart() {
        let (_folder, store, ledger) = ledger();
        for unit in ["x", "x.r1", "x.r", "xy", "archive/a", "archive/b/c"] {
            ledger.commit(unit, &unit).unwrap();
        }
        store.put("ledger/notes.txt", Bytes::from_static(b"not a record")).unwrap();
        let loaded: BTreeMap<String, String> = ledger.load("").unwrap();
        assert_eq!(loaded.len(), 6);
        assert!(loaded.iter().all(|(unit, record)| unit == record), "{loaded:?}");
        let units = |prefix| ledger.load::<String>(prefix).unwrap().into_keys().collect::<Vec<_>>();
        assert_eq!(units("archive/"), ["archive/a", "archive/b/c"]);
        assert_eq!(units("forecast/"), Vec::<String>::new());
        let bare = Ledger::new(store.clone(), "");
        bare.commit("unit", &1).unwrap();
        assert!(keys(&store).contains(&"unit.r0.json".to_string()));
    }

    #[test]
    fn the_tenth_revision_is_newer_than_the_ninth() {
        let (_folder, _store, ledger) = ledger();
        for n in 0..12 {
            ledger.commit("unit", &n).unwrap();
        }
        assert_eq!(ledger.load::<u32>("").unwrap()["unit"], 11);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (key, content) in [
            ("ledger/a.r0.json", "{\"etag\":"),
            ("ledger/a.r01.json", "1"),
            ("ledger/a.json", "1"),
            ("ledger/.r0.json", "1"),
        ] {
            let (_folder, store, ledger) = ledger();
            store.put(key, Bytes::from_static(content.as_bytes())).unwrap();
            let error = ledger.load::<u32>("").unwrap_err().to_string();
            assert!(error.contains(key) && error.contains("delete it and run again"), "{error}");
        }
    }

    #[test]
    fn a_unit_cannot_leave_the_ledger() {
        let (_folder, store, ledger) = ledger();
        for unit in ["", "../x", "a//b", "/a", "a/"] {
            assert!(matches!(ledger.commit(unit, &1), Err(LedgerError::Storage(StorageError::Key { .. }))), "{unit}");
        }
        assert!(keys(&store).is_empty());
    }
}
