//! What the intake asks of the world: fetching, decoding, reading back, and noting what was set aside.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::config::SourceOptions;
use crate::domain::{Field, Item, Lead, Moment, Provenance, Slot};
use crate::sinks::ZarrSink;
use crate::sources::{Assembly, Basis, Chunk, Fetched, Need, Offer, Outcome, Reject, Source, Work};
use crate::storage::{Ledger, StorageError};
use crate::telemetry::{Progress, metrics};

use super::on_device::OnDevice;
use super::resume::Resume;
use super::totals::Shared;

/// Ledger folder of what was set aside.
pub(super) const REJECTS: &str = "rejects";
/// Ledger unit of what every field must have in common.
pub(super) const BASIS: &str = "source/basis";

/// What work brought.
pub(super) enum Brought {
    /// Messages to decode.
    Packed(Fetched),
    /// Fields from the pipeline's own store.
    Restored(Vec<Field>),
    /// Nothing, and why.
    Nothing(String),
}

/// The world as the intake sees it.
pub(super) struct Supply {
    /// The pipeline's name.
    pub(super) pipeline: String,
    pub(super) source: Arc<dyn Source>,
    pub(super) options: SourceOptions,
    /// The lead that is the state, where states are what flows.
    pub(super) state_lead: Option<Lead>,
    pub(super) workers: usize,
    /// The first cycle of the run.
    pub(super) first: Moment,
    /// The last one; `None` while a live bucket is followed.
    pub(super) last: Option<Moment>,
    pub(super) ledger: Ledger,
    pub(super) resume: Resume,
    pub(super) own_store: Option<Arc<ZarrSink>>,
    /// The GPU that fields are worked on, where it is not the CPU.
    pub(super) device: Option<OnDevice>,
    pub(super) shared: Arc<Shared>,
    pub(super) progress: Progress,
    pub(super) stop: Arc<AtomicBool>,
}

impl Supply {
    /// Concurrent requests.
    pub(super) fn connections(&self) -> usize {
        self.options.connections
    }

    /// Threads that decode.
    pub(super) fn decoders(&self) -> usize {
        self.workers.max(std::thread::available_parallelism().map_or(1, usize::from))
    }

    /// Slots that may be between the source and the slowest sink.
    pub(super) fn window(&self) -> usize {
        self.options.window
    }

    /// Whether the run is to end early.
    pub(super) fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.shared.failure().is_some()
    }

    /// A slot as it flows: where states flow, the state at its valid time.
    pub(super) fn present(&self, slot: Slot) -> Slot {
        if self.state_lead.is_some() { Slot::new(slot.valid(), Lead(0)) } else { slot }
    }

    /// An item as it flows.
    pub(super) fn present_item(&self, item: Item) -> Item {
        match item {
            Item::Field(field) => Item::Field(Field { slot: self.present(field.slot), ..field }),
            Item::Absent(mut absence) => {
                absence.slot = self.present(absence.slot);
                Item::Absent(absence)
            }
        }
    }

    /// Does a job's first part, off the worker threads.
    pub(super) fn bring(&self, work: &Work) -> Brought {
        let brought = match work {
            Work::Fetch(offer) => self.fetch(offer),
            Work::Restore(offer) => self.restore(offer),
        };
        brought.unwrap_or_else(Brought::Nothing)
    }

    fn fetch(&self, offer: &Offer) -> Result<Brought, String> {
        let _timer = metrics().time("fetch");
        let fetched = self.source.fetch(offer).map_err(|e| self.unfetched(&e))?;
        let messages = fetched.chunks.len() as u64;
        metrics().fetched_bytes.inc_by(fetched.bytes);
        metrics().passed("fetch", messages, 0, fetched.bytes);
        self.progress.add_bytes(fetched.bytes);
        self.shared.count(|t| {
            t.fetched_objects += 1;
            t.fetched_bytes += fetched.bytes;
            t.messages += messages;
        });
        Ok(Brought::Packed(fetched))
    }

    /// Why an object could not be fetched. A server that stays away ends a run over an archive, or every object would
    /// be waited for in turn; where a live bucket is followed, the next listing offers the object again.
    fn unfetched(&self, error: &StorageError) -> String {
        if error.is_outage() && self.last.is_some() {
            self.shared.fail(error.to_string());
        }
        error.to_string()
    }

    /// Reads lead 0 of a slot back from the pipeline's own store; it has passed the transforms.
    fn restore(&self, offer: &Offer) -> Result<Brought, String> {
        let _timer = metrics().time("restore");
        let slot = self.present(offer.named);
        let (Some(store), Some(commit)) = (&self.own_store, self.resume.own_commit(slot)) else {
            return Err("the pipeline's own store has lost it".into());
        };
        let provenance = Arc::new(Provenance {
            object: offer.meta.key.clone(),
            etag: offer.meta.etag.clone(),
            origin: commit.origin.clone(),
        });
        let mut fields = Vec::new();
        for variable in commit.variables.keys() {
            let read = store.read(variable, slot).map_err(|e| e.to_string())?;
            let (grid, values) =
                read.ok_or_else(|| format!("the pipeline's own store has lost {variable} of {slot}"))?;
            let (variable, values, provenance) = (variable.clone(), Arc::new(values), provenance.clone());
            fields.push(Field { variable, slot: offer.named, grid, values, held: None, provenance, restored: true });
        }
        self.shared.count(|t| t.slots_restored += 1);
        Ok(Brought::Restored(fields))
    }

    /// Unpacks one message.
    pub(super) fn decode(&self, chunk: &Chunk) -> Result<Field, String> {
        let _timer = metrics().time("decode");
        let field = self.device.as_ref().map_or_else(|| chunk.unpack(), |device| device.unpack(chunk))?;
        metrics().passed("decode", 1, 1, 4 * field.grid.len() as u64);
        self.shared.count(|t| t.fields += 1);
        Ok(field)
    }

    /// Takes a listing into the assembly.
    pub(super) fn listed(&self, assembly: &mut Assembly, offers: Vec<Offer>) -> Outcome {
        let step = u64::from(self.options.cycle_step.0) * 60;
        let last = self.last.unwrap_or_else(Moment::now);
        (self.first.0..=last.0).step_by(step as usize).for_each(|cycle| assembly.await_cycle(Moment(cycle)));
        // The next cycle begins after now; corrections are complete as soon as now has moved on.
        assembly.set_future(if self.last.is_some() { None } else { Some(Moment(last.0 + 1)) });
        let expected = assembly.expected();
        self.progress.set_total(expected);
        self.shared.count(|t| t.slots_expected = expected);
        assembly.listed(offers, &|offer| self.need(offer))
    }

    /// What an object is needed for, by its name or by the slot that it filled in an earlier run.
    fn need(&self, offer: &Offer) -> Need {
        let named = self.resume.need(self.present(offer.named), offer);
        let elsewhere = if named == Need::Fetch { self.resume.slot_of(offer) } else { None };
        match elsewhere.filter(|slot| self.resume.need(*slot, offer) == Need::Skip) {
            Some(slot) => Need::SkipAs(self.source_slot(slot)),
            None => named,
        }
    }

    /// The source's own slot of one that flows as `slot`.
    fn source_slot(&self, slot: Slot) -> Slot {
        let before = |lead: Lead| Moment(slot.cycle.0.saturating_sub(u64::from(lead.0) * 60));
        self.state_lead.map_or(slot, |lead| Slot::new(before(lead), lead))
    }

    /// Declares missing what should have been there by now: over an archive, all that the listing lacks.
    pub(super) fn overdue(&self, assembly: &mut Assembly) -> Outcome {
        if self.last.is_some() {
            return assembly.declare_missing(|_| true);
        }
        let latest = Moment::now().0.saturating_sub(self.options.deadline_minutes * 60);
        assembly.declare_missing(|slot| slot.cycle.0 < latest)
    }

    /// Counts, logs and records what the assembly decided.
    pub(super) fn note(&self, outcome: &Outcome) {
        for reject in &outcome.rejects {
            self.reject(reject);
        }
        for slot in &outcome.missing {
            metrics().slots.with_label_values(&["missing"]).inc();
            tracing::debug!(%slot, "declared missing");
            self.progress.advance(slot);
        }
        outcome.filled.iter().chain(&outcome.published_before).for_each(|slot| self.progress.advance(slot));
        self.shared.count(|t| {
            t.slots_published_before += outcome.published_before.len() as u64;
            t.slots_missing += outcome.missing.len() as u64;
            t.slots_missing -= outcome.recovered.len() as u64;
            t.slots_filled += outcome.filled.len() as u64;
            metrics().completed(&self.pipeline, t.slots_filled + t.slots_published_before, t.slots_expected);
        });
    }

    fn reject(&self, reject: &Reject) {
        let reason = reject.reason.label();
        tracing::warn!(object = reject.object, reason, "set aside: {}", reject.detail);
        metrics().rejected_objects.with_label_values(&[reason]).inc();
        metrics().rejected_messages.with_label_values(&[reason]).inc_by(reject.messages as u64);
        self.shared.count(|t| t.rejects.push(reject.clone()));
        if let Err(error) = self.ledger.commit(&format!("{REJECTS}/{}.{reason}", reject.object), reject) {
            self.shared.fail(error.to_string());
        }
    }

    /// Records what every later field, in this run or another, must have in common with the first.
    pub(super) fn note_basis(&self, basis: &Basis) {
        if let Err(error) = self.ledger.commit(BASIS, basis) {
            self.shared.fail(error.to_string());
        }
    }
}
