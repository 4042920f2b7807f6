//! Marks an output as being written, so that no other run writes to it meanwhile and processes of one run find each other.

use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use serde::{Deserialize, Serialize};

use super::RunError;
use super::plan::LEDGER;
use crate::domain::Moment;
use crate::storage::{ObjectStore, StorageError};

/// How often a process says that it is still there.
pub(super) const REFRESH: Duration = Duration::from_secs(5);
/// A process of another machine that has said nothing for so many seconds is gone.
const GONE_SECONDS: u64 = 120;

/// What a process leaves in its output while it runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Mark {
    /// The same for all processes of a run, and for no other run at a time.
    run: String,
    /// Which of them it is.
    process: usize,
    /// Its machine's name, for people.
    host: String,
    /// What tells apart the machines, and the boots and containers of one, in which process ids mean something.
    machine: String,
    /// Its process id there.
    id: u32,
    /// When that process started, in the system's own words: ids are used again.
    started: String,
    /// When it began to write.
    since: Moment,
    /// When it was last known to be there.
    refreshed: Moment,
}

impl Mark {
    /// Of this process.
    fn own(run: String, process: usize) -> Mark {
        let (id, now) = (std::process::id(), Moment::now());
        let started = started(id).unwrap_or_default();
        Mark { run, process, host: host(), machine: machine(), id, started, since: now, refreshed: now }
    }

    /// Whether the process that left it still runs, as far as this one can tell.
    fn is_alive(&self, own: &Mark) -> bool {
        if self.machine == own.machine {
            return started(self.id).is_some_and(|started| started == self.started);
        }
        self.seconds_silent() < GONE_SECONDS
    }

    fn seconds_silent(&self) -> u64 {
        Moment::now().0.saturating_sub(self.refreshed.0)
    }

    /// Whether it is of another process of the same run.
    fn is_colleague(&self, own: &Mark) -> bool {
        self.run == own.run && self.process != own.process
    }

    /// Why this process may not write, and what to do.
    fn refusal(&self, output: &str, key: &str, own: &Mark) -> RunError {
        let who = format!("process id {} on {} has been writing to it since {}", self.id, self.host, self.since);
        let advice = if self.machine == own.machine {
            "wait until it ends or stop it, then run again".into()
        } else {
            let silent = self.seconds_silent();
            format!(
                "it was last heard of {silent} s ago; wait until it ends or stop it, then run again; where it is gone \
                 already, run again in {} s or remove `{key}`",
                GONE_SECONDS.saturating_sub(silent)
            )
        };
        RunError::Busy(format!("{output}: {who}, and two runs cannot write to one output: {advice}"))
    }
}

/// The mark of this process in an output, kept fresh until the process leaves or this is dropped.
pub(super) struct Running {
    place: Arc<Place>,
    /// Closed when the mark need not be kept fresh any more.
    _beating: Sender<()>,
}

/// Where a mark is, and what it says.
struct Place {
    output: Arc<dyn ObjectStore>,
    nonce: u64,
    /// `None` once it was taken away.
    mark: Mutex<Option<Mark>>,
}

impl Running {
    /// Marks the output as this process's; marks that dead processes left are taken away. `run` is the same for all
    /// processes of a run, `None` where it has one.
    ///
    /// # Errors
    /// Where another run is writing there, and where the output cannot be written.
    pub(super) fn begin(output: Arc<dyn ObjectStore>, run: Option<&str>, process: usize) -> Result<Running, RunError> {
        let nonce = RandomState::new().hash_one(std::process::id());
        let run = run.map_or_else(|| key_of(nonce), String::from);
        let mark = Mark::own(run, process);
        refuse(&*output, &mark, "")?;
        take_over(&*output, &mark)?;
        let place = Arc::new(Place { output, nonce, mark: Mutex::new(Some(mark.clone())) });
        let (sender, ended) = bounded(0);
        let running = Running { place: place.clone(), _beating: sender };
        place.write(&mark)?;
        // Of two that begin at the same instant at least one sees the other.
        refuse(&*place.output, &mark, &place.key())?;
        thread::spawn(move || place.beat(&ended));
        Ok(running)
    }

    /// The number that the mark is known by: another one every time.
    pub(super) fn nonce(&self) -> u64 {
        self.place.nonce
    }

    /// What the mark with a number says now, in the output of this process; `None` where it is not there.
    ///
    /// # Errors
    /// Where the output cannot be read.
    pub(super) fn look(&self, nonce: u64) -> Result<Option<Bytes>, StorageError> {
        self.place.output.get(&key_of(nonce))
    }

    /// The output, as the user named it.
    pub(super) fn output(&self) -> &str {
        self.place.output.location()
    }

    /// Takes the mark away; a second time does nothing.
    pub(super) fn leave(&self) {
        let mut mark = self.place.mark.lock().unwrap_or_else(PoisonError::into_inner);
        if mark.take().is_some()
            && let Err(error) = self.place.output.delete(&self.place.key())
        {
            tracing::warn!("{error}; the mark may be removed");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Place {
    fn key(&self) -> String {
        key_of(self.nonce)
    }

    fn write(&self, mark: &Mark) -> Result<(), StorageError> {
        self.output.put(&self.key(), serde_json::to_vec(mark).unwrap_or_default().into())
    }

    /// Keeps the mark fresh until it is left.
    fn beat(&self, ended: &Receiver<()>) {
        while ended.recv_timeout(REFRESH) == Err(RecvTimeoutError::Timeout) {
            let mut mark = self.mark.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(mark) = &mut *mark else { return };
            mark.refreshed = Moment::now();
            if let Err(error) = self.write(mark) {
                tracing::debug!("the mark of this process could not be refreshed: {error}");
            }
        }
    }
}

/// The object of a mark: beside the ledger's records, and none of them.
pub(super) fn key_of(nonce: u64) -> String {
    format!("{LEDGER}/running/{nonce:016x}")
}

/// Makes sure that no other run writes to an output, without writing anything.
///
/// # Errors
/// Where one does, and where the output cannot be read.
pub(super) fn look_for_others(output: &dyn ObjectStore) -> Result<(), RunError> {
    refuse(output, &Mark::own(String::new(), 0), "")
}

/// Refuses an output to which another run writes.
fn refuse(output: &dyn ObjectStore, own: &Mark, own_key: &str) -> Result<(), RunError> {
    let others = marks(output)?.into_iter().filter(|(key, _)| key != own_key);
    let writes = |mark: &Mark| !mark.is_colleague(own) && mark.is_alive(own);
    match others.into_iter().find(|(_, mark)| writes(mark)) {
        Some((key, mark)) => Err(mark.refusal(output.location(), &key, own)),
        None => Ok(()),
    }
}

/// Takes away what dead processes left.
fn take_over(output: &dyn ObjectStore, own: &Mark) -> Result<(), RunError> {
    let dead = marks(output)?.into_iter().filter(|(_, mark)| !mark.is_alive(own));
    Ok(dead.into_iter().try_for_each(|(key, _)| output.delete(&key))?)
}

/// Every mark in an output, by its object.
fn marks(output: &dyn ObjectStore) -> Result<Vec<(String, Mark)>, RunError> {
    let mut marks = Vec::new();
    for object in output.list(&format!("{LEDGER}/running/"))? {
        // Its process may have ended since.
        let Some(text) = output.get(&object.key)? else { continue };
        let mark = serde_json::from_slice(&text).map_err(|error| {
            let advice = "another version of this program may be writing there; remove it where none is";
            RunError::Busy(format!("{}: `{}` cannot be read: {error}; {advice}", output.location(), object.key))
        })?;
        marks.push((object.key, mark));
    }
    Ok(marks)
}

/// When a process of this machine started; `None` where there is none that runs.
fn started(id: u32) -> Option<String> {
    if !Path::new("/proc/self/stat").exists() {
        return said("ps", &["-o", "lstart=", "-p", &id.to_string()]);
    }
    let text = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name in parentheses may hold anything; then come the state and, as the 22nd of all (proc(5)), the start.
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    let runs = !matches!(fields.next()?, "Z" | "X");
    fields.nth(18).filter(|_| runs).map(String::from)
}

/// This machine's name.
fn host() -> String {
    let named = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_string());
    named.or_else(|| said("uname", &["-n"])).unwrap_or_else(|| "an unnamed machine".into())
}

/// What no other machine has, nor another boot or another space of process ids of this one.
fn machine() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_string());
    let space = std::fs::read_link("/proc/self/ns/pid").map(|link| link.to_string_lossy().into_owned());
    boot.ok().zip(space.ok()).map_or_else(host, |(boot, space)| format!("{boot} {space}"))
}

/// What a program of the system prints, where it says anything.
fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_string()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::FileStore;

    fn folder() -> (tempfile::TempDir, Arc<dyn ObjectStore>) {
        let folder = tempfile::tempdir().expect("a folder");
        let output: Arc<dyn ObjectStore> = Arc::new(FileStore::new(folder.path().to_str().expect("a path")));
        (folder, output)
    }

    fn begin(output: &Arc<dyn ObjectStore>, run: &str, process: usize) -> Result<Running, RunError> {
        Running::begin(output.clone(), Some(run), process)
    }

    /// Puts the mark of a process of another machine, last heard of so many seconds ago.
    fn elsewhere(output: &Arc<dyn ObjectStore>, seconds: u64) {
        let (now, machine) = (Moment::now(), "another".to_string());
        let mark = Mark { host: "far".into(), machine, refreshed: Moment(now.0 - seconds), ..Mark::own("b".into(), 0) };
        output.put(&key_of(1), serde_json::to_vec(&mark).expect("JSON").into()).expect("written");
    }

    #[test]
    fn an_output_has_one_run_at_a_time_and_a_run_several_processes() {
        let (_folder, output) = folder();
        let first = begin(&output, "a", 0).expect("free");
        for (run, process) in [("b", 0), ("b", 1), ("a", 0)] {
            let told = begin(&output, run, process).err().expect("refused").to_string();
            assert!(told.contains(&format!("process id {} on {}", std::process::id(), host())), "{told}");
            assert!(told.contains("since 2") && told.contains("wait until it ends or stop it"), "{told}");
        }
        assert!(look_for_others(&*output).is_err());
        let second = begin(&output, "a", 1).expect("of the same run");
        assert!(first.look(second.nonce()).expect("read").is_some() && first.nonce() != second.nonce());
        first.leave();
        drop(second);
        assert!(output.list("").expect("listed").is_empty());
        look_for_others(&*output).expect("free again");
    }

    #[test]
    fn marks_of_the_dead_are_taken_away_and_those_of_other_machines_in_time() {
        let (_folder, output) = folder();
        // Nobody has the id of a process that was waited for, or it started later.
        let mut child = Command::new("true").spawn().expect("a process");
        let mark = Mark { id: child.id(), started: "0".into(), ..Mark::own("b".into(), 0) };
        child.wait().expect("ended");
        output.put(&key_of(1), serde_json::to_vec(&mark).expect("JSON").into()).expect("written");
        look_for_others(&*output).expect("dead");
        assert_eq!(output.list("").expect("listed").len(), 1, "who only looks writes nothing");
        drop(begin(&output, "a", 0).expect("taken over"));
        assert!(output.list("").expect("listed").is_empty());
        elsewhere(&output, 20);
        let told = begin(&output, "a", 0).err().expect("refused").to_string();
        assert!(told.contains("on far") && told.contains("heard of 2") && told.contains("run again in "), "{told}");
        elsewhere(&output, GONE_SECONDS);
        drop(begin(&output, "a", 0).expect("taken over"));
        output.put(&key_of(2), "what?".into()).expect("written");
        let told = begin(&output, "a", 0).err().expect("refused").to_string();
        assert!(told.contains(&key_of(2)) && told.contains("cannot be read"), "{told}");
    }
}
