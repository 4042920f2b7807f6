//! What a run leaves behind: every object, and the newest records of the ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use gustfront::storage::{FileStore, Ledger, ObjectStore};
use serde_json::Value;

/// Objects by key.
pub(crate) type Tree = BTreeMap<String, Vec<u8>>;

/// The objects in a folder.
pub(crate) fn store(folder: &Path) -> FileStore {
    FileStore::new(folder.to_str().expect("a path"))
}

/// Every object but the ledger's.
pub(crate) fn tree(objects: &dyn ObjectStore) -> Tree {
    let keys = objects.list("").expect("listed").into_iter().map(|object| object.key);
    let results = keys.filter(|key| !key.starts_with("ledger/"));
    results.map(|key| (key.clone(), objects.get(&key).expect("read").expect("there").to_vec())).collect()
}

/// The newest record of every unit in the ledger of a folder.
pub(crate) fn ledger(folder: &Path) -> BTreeMap<String, Value> {
    Ledger::new(Arc::new(store(folder)), "ledger").load("").expect("a ledger")
}

/// Fails where two trees differ, and says where.
pub(crate) fn assert_same(got: &Tree, expected: &Tree, what: &str) {
    let keys: BTreeSet<&String> = got.keys().chain(expected.keys()).collect();
    let differing: Vec<&String> = keys.into_iter().filter(|key| got.get(*key) != expected.get(*key)).collect();
    let shown = &differing[..differing.len().min(8)];
    assert!(differing.is_empty(), "{what}: {} of {} objects differ: {shown:?}", differing.len(), expected.len());
}

/// `store.zarr`, init and lead of every flag in a tree.
pub(crate) fn flags(tree: &Tree) -> Vec<(String, String)> {
    let flag = |key: &String| {
        let (store, slot) = key.split_once("/published/c/")?;
        Some((store.to_string(), slot.to_string()))
    };
    tree.keys().filter_map(flag).collect()
}

/// Fails where a flagged slot of a tree is not whole, or a field, flag or picture is not what it becomes in the end.
pub(crate) fn assert_part_of(part: &Tree, whole: &Tree, what: &str) {
    for (store, slot) in flags(part) {
        let (prefix, shard) = (format!("{store}/"), format!("/c/{slot}/"));
        let of_slot = |key: &&String| key.starts_with(&prefix) && key.contains(&shard);
        let expected: Vec<&String> = whole.keys().filter(of_slot).collect();
        assert!(!expected.is_empty(), "{what}: {store} flags {slot}, and has nothing there in the end");
        for key in expected {
            assert!(part.get(key) == whole.get(key), "{what}: {slot} is flagged, and {key} is not as in the end");
        }
    }
    let lasting = |key: &&String| key.ends_with(".png") || (key.contains(".zarr/") && key.ends_with("/0/0"));
    for key in part.keys().filter(lasting) {
        assert!(part.get(key) == whole.get(key), "{what}: {key} is not what it is in the end");
    }
}
