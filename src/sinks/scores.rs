//! Score lines into one file a cycle, each replaced whole, and the table over all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::domain::{Lead, Moment};
use crate::storage::{Ledger, ObjectStore};
use crate::verify::{ReportRow, ScoreLine, from_lines, rows, table, to_lines};

use super::SinkError;

/// What the ledger says of the scores of one cycle.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScoreRecord {
    /// The cycle.
    pub init: Moment,
    /// Leads that were compared with the truth.
    pub verified: BTreeSet<Lead>,
}

/// Score files below a folder.
#[derive(Debug)]
pub struct ScoreFiles {
    name: String,
    path: String,
    objects: Arc<dyn ObjectStore>,
    ledger: Ledger,
}

impl ScoreFiles {
    /// Files below `path`; `name` is the first part of their units in the ledger.
    pub fn new(name: &str, path: &str, objects: Arc<dyn ObjectStore>, ledger: Ledger) -> Self {
        ScoreFiles { name: name.into(), path: path.into(), objects, ledger }
    }

    /// What is scored already, by cycle.
    pub fn records(&self) -> Result<BTreeMap<Moment, ScoreRecord>, SinkError> {
        let loaded: BTreeMap<String, ScoreRecord> = self.ledger.load(&format!("{}/", self.name))?;
        Ok(loaded.into_values().map(|record| (record.init, record)).collect())
    }

    /// Adds lines to the file of their cycle; a line replaces an older one of the same forecast, model and variable.
    pub fn publish(&self, init: Moment, lines: Vec<ScoreLine>) -> Result<(), SinkError> {
        let object = self.object(init);
        let mut all = self.read(&object)?;
        let same = |a: &ScoreLine, b: &ScoreLine| a.key() == b.key() && a.init == b.init;
        all.retain(|old| !lines.iter().any(|new| same(old, new)));
        all.extend(lines);
        let text = to_lines(&mut all);
        self.objects.put(&object, Bytes::from(text))?;
        let record = ScoreRecord { init, verified: all.iter().map(|line| line.lead).collect() };
        Ok(self.ledger.commit(&format!("{}/{}", self.name, init.key()), &record)?)
    }

    /// Pools every file into `table.txt` and `table.json`, and returns the rows.
    pub fn finish(&self) -> Result<Vec<ReportRow>, SinkError> {
        let mut lines = Vec::new();
        for object in self.objects.list(&format!("{}/", self.path))? {
            if object.key.ends_with(".jsonl") {
                lines.extend(self.read(&object.key)?);
            }
        }
        let pooled = rows(&lines);
        let json = pooled.iter().filter_map(|row| serde_json::to_string(row).ok()).map(|row| row + "\n");
        self.objects.put(&format!("{}/table.txt", self.path), Bytes::from(table(&pooled)))?;
        self.objects.put(&format!("{}/table.json", self.path), Bytes::from(json.collect::<String>()))?;
        Ok(pooled)
    }

    fn object(&self, init: Moment) -> String {
        format!("{}/{}.jsonl", self.path, init.key())
    }

    fn read(&self, object: &str) -> Result<Vec<ScoreLine>, SinkError> {
        let bytes = self.objects.get(object)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        from_lines(&text).map_err(|source| SinkError::Scores { object: object.to_string(), source })
    }
}
