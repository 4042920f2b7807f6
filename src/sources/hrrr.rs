//! HRRR objects in the key layout of the NOAA bucket: found by name, read by index and byte range, believed by header.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::config::SourceOptions;
use crate::domain::{Lead, Moment, Period, Provenance, Slot, Variable};
use crate::formats::grib2::{IndexEntry, Message, headers, parse_index, scan};
use crate::storage::{ObjectMeta, ObjectStore, StorageError, get_ranges};

use super::{Chunk, Fetched, Offer, Source, SourceError};

const DAY_SECONDS: u64 = 24 * 3600;
/// So many days are listed one by one; for more, the days that there are are listed first.
const FEW_DAYS: u64 = 31;

/// HRRR in a bucket or folder.
#[derive(Debug)]
pub struct Hrrr {
    objects: Arc<dyn ObjectStore>,
    product: String,
    region_name: String,
    leads: Vec<Lead>,
    variables: Vec<Arc<Variable>>,
    coalesce_bytes: u64,
}

impl Hrrr {
    /// A source for `leads` and `variables` of the objects in a store.
    pub fn new(
        objects: Arc<dyn ObjectStore>,
        options: &SourceOptions,
        leads: Vec<Lead>,
        variables: Vec<Arc<Variable>>,
    ) -> Self {
        Hrrr {
            objects,
            product: options.product.clone(),
            region_name: options.region_name.clone(),
            leads,
            variables,
            coalesce_bytes: options.coalesce_bytes,
        }
    }

    /// Folders of the days of a period, oldest first.
    fn days(&self, period: &Period) -> Result<Vec<String>, StorageError> {
        if let (Some(from), Some(to)) = (period.from, period.to)
            && to.0.saturating_sub(from.0) <= FEW_DAYS * DAY_SECONDS
        {
            let days = (from.midnight().0..=to.0).step_by(DAY_SECONDS as usize);
            return Ok(days.map(|s| format!("hrrr.{}/", &Moment(s).key()[..8])).collect());
        }
        let day_of = |folder: &str| folder.strip_prefix("hrrr.")?.strip_suffix('/')?.parse::<Moment>().ok();
        let inside = |day: Moment| {
            period.to.is_none_or(|to| day <= to) && period.from.is_none_or(|from| day.0 + DAY_SECONDS > from.0)
        };
        let folders = self.objects.list_folders("hrrr.")?;
        Ok(folders.into_iter().filter(|f| day_of(f).is_some_and(inside)).collect())
    }

    /// Hours of a day's folder that are cycles of a period: a live bucket holds thousands of objects a day beside them.
    fn hours(&self, day: &str, period: &Period) -> Vec<u64> {
        let start = day.strip_prefix("hrrr.").and_then(|d| d.strip_suffix('/')?.parse::<Moment>().ok());
        let inside = |hour: &u64| start.is_some_and(|start| period.contains(Moment(start.0 + hour * 3600)));
        (0..24).filter(inside).collect()
    }

    /// The slot a key speaks of, and whether it is exactly that slot's key.
    fn parse_key(&self, key: &str) -> Option<(Slot, bool)> {
        let (folder, name) = key.rsplit_once('/')?;
        let day: Moment =
            folder.strip_prefix("hrrr.")?.strip_suffix(&self.region_name)?.strip_suffix('/')?.parse().ok()?;
        let (hour, rest) = name.strip_prefix("hrrr.t")?.split_once('z')?;
        let lead_text = rest.strip_prefix('.')?.strip_prefix(self.product.as_str())?.strip_prefix('f')?;
        let digits = lead_text.bytes().take_while(u8::is_ascii_digit).count();
        let lead: u32 = lead_text.get(..digits)?.parse().ok()?;
        let hour: u64 = hour.parse().ok().filter(|h| *h < 24)?;
        let slot = Slot::new(Moment(day.0 + hour * 3600), Lead::hours(lead));
        lead_text.ends_with(".grib2").then(|| (slot, key == self.key(slot)))
    }

    /// The key the layout gives to a slot.
    fn key(&self, slot: Slot) -> String {
        let cycle = slot.cycle.key();
        let (day, hour) = cycle.split_at(8);
        format!("hrrr.{day}/{}/hrrr.t{hour}z.{}{}.grib2", self.region_name, self.product, slot.lead)
    }

    fn offer(&self, meta: &ObjectMeta, listed: &[ObjectMeta], period: &Period) -> Option<Offer> {
        let (named, exact) = self.parse_key(&meta.key)?;
        if !period.contains(named.cycle) || !self.leads.contains(&named.lead) {
            return None;
        }
        let index = format!("{}.idx", meta.key);
        let indexed = listed.binary_search_by(|m| m.key.as_str().cmp(&index)).is_ok();
        Some(Offer { meta: meta.clone(), named, exact, indexed })
    }

    /// The variable whose instantaneous field a message holds.
    fn variable_of(&self, message: &Message) -> Option<&Arc<Variable>> {
        self.variables.iter().find(|v| {
            v.grib == message.codes()
                && message.product.is_at(v)
                && message.product.is_instantaneous()
                && message.product.ensemble.is_none()
                && (v.wind.is_none() || message.grid_relative)
        })
    }

    /// The wanted messages by index, or `None` where the index cannot be trusted.
    fn fetch_indexed(&self, offer: &Offer, fetched: &mut Fetched) -> Result<Option<Vec<Chunk>>, StorageError> {
        let key = format!("{}.idx", offer.meta.key);
        let Some(text) = self.objects.get(&key)? else { return Ok(None) };
        fetched.bytes += text.len() as u64;
        let entries = match parse_index(&text, offer.meta.size) {
            Ok(entries) => entries,
            Err(error) => {
                tracing::warn!(object = key, %error, "the index cannot be read; scanning the object");
                return Ok(None);
            }
        };
        let wanted: Vec<(&Arc<Variable>, Range<u64>)> = self.select(&entries);
        if wanted.len() < self.variables.len() && !self.is_complete(offer, &entries)? {
            tracing::warn!(object = key, "the index has lost lines; scanning the object");
            return Ok(None);
        }
        let ranges: Vec<Range<u64>> = wanted.iter().map(|(_, range)| range.clone()).collect();
        let parts = match get_ranges(&*self.objects, &offer.meta.key, &ranges, self.coalesce_bytes) {
            Err(StorageError::Short { .. }) => return Ok(None),
            other => other?,
        };
        fetched.bytes += parts.iter().map(|p| p.len() as u64).sum::<u64>();
        let chunks = wanted.iter().zip(parts).map(|((variable, _), bytes)| self.chunk(offer, variable, bytes));
        let chunks: Option<Vec<Chunk>> = chunks.collect();
        if chunks.is_none() {
            tracing::warn!(object = key, "the index disagrees with the messages; scanning the object");
        }
        Ok(chunks)
    }

    /// Whether an index without a wanted variable has lost no line: its numbers have no gap, and the last message that it
    /// knows ends where the object does.
    fn is_complete(&self, offer: &Offer, entries: &[IndexEntry]) -> Result<bool, StorageError> {
        let consecutive = entries.first().is_some_and(|first| first.message == 1)
            && entries.windows(2).all(|pair| pair[1].message <= pair[0].message + 1);
        let Some(last) = entries.last().filter(|_| consecutive) else { return Ok(false) };
        let head = last.range.start..(last.range.start + INDICATOR_BYTES).min(last.range.end);
        let head = self.objects.get_range(&offer.meta.key, head)?;
        let length = head.get(8..16).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
        Ok(head.starts_with(b"GRIB") && length == Some(last.range.end - last.range.start))
    }

    /// Index lines of the wanted variables; the first where a line occurs twice.
    fn select(&self, entries: &[IndexEntry]) -> Vec<(&Arc<Variable>, Range<u64>)> {
        let matches = |v: &Variable, e: &IndexEntry| {
            let instantaneous = e.window == "anl" || (e.window.ends_with(" fcst") && !e.window.contains('-'));
            instantaneous && v.index.split_once(':') == Some((e.variable.as_str(), e.level.as_str()))
        };
        let find = |v| entries.iter().find(|e| matches(v, e)).map(|e| e.range.clone());
        self.variables.iter().filter_map(|v| Some((v, find(v)?))).collect()
    }

    /// A message that must hold a variable.
    fn chunk(&self, offer: &Offer, variable: &Arc<Variable>, bytes: Bytes) -> Option<Chunk> {
        let found = headers(&bytes).ok()?;
        let message = found.into_iter().find(|m| self.variable_of(m).is_some_and(|v| v.name == variable.name))?;
        let slot = message.slot().ok()?;
        Some(chunk(offer, variable.name.clone(), slot, message, bytes))
    }

    /// Every wanted message of an object, read whole.
    fn fetch_scanned(&self, offer: &Offer, fetched: &mut Fetched) -> Result<Vec<Chunk>, StorageError> {
        let missing =
            || StorageError::NotFound { location: self.objects.location().to_string(), key: offer.meta.key.clone() };
        let bytes = self.objects.get(&offer.meta.key)?.ok_or_else(missing)?;
        fetched.bytes += bytes.len() as u64;
        if bytes.is_empty() {
            fetched.damage.push("the object is empty".into());
        }
        let scan = scan(&bytes);
        let skipped = scan.skipped.iter().map(|s| format!("bytes {}–{}: {}", s.range.start, s.range.end, s.reason));
        fetched.damage.extend(skipped);
        let mut chunks: Vec<Chunk> = Vec::new();
        for range in scan.messages {
            let message_bytes = bytes.slice(range.clone());
            match headers(&message_bytes) {
                Ok(found) => found.into_iter().for_each(|message| {
                    let Some(variable) = self.variable_of(&message).map(|v| v.name.clone()) else { return };
                    let Ok(slot) = message.slot() else { return };
                    if !chunks.iter().any(|c| c.variable == variable && c.slot == slot) {
                        chunks.push(chunk(offer, variable, slot, message, message_bytes.clone()));
                    }
                }),
                Err(error) => fetched.damage.push(format!("message at byte {}: {error}", range.start)),
            }
        }
        Ok(chunks)
    }
}

/// A message as a chunk of an object.
fn chunk(offer: &Offer, variable: Arc<str>, slot: Slot, message: Message, bytes: Bytes) -> Chunk {
    let provenance = Arc::new(Provenance {
        object: offer.meta.key.clone(),
        etag: offer.meta.etag.clone(),
        origin: message.origin.to_string(),
    });
    Chunk { variable, slot, message, bytes, provenance }
}

/// Length of section 0: `GRIB`, discipline, edition and the message's length.
const INDICATOR_BYTES: u64 = 16;

impl Source for Hrrr {
    fn list(&self, period: &Period) -> Result<Vec<Offer>, SourceError> {
        let mut offers = Vec::new();
        for day in self.days(period)? {
            for hour in self.hours(&day, period) {
                let prefix = format!("{day}{}/hrrr.t{hour:02}z.{}f", self.region_name, self.product);
                let listed = self.objects.list(&prefix)?;
                offers.extend(listed.iter().filter_map(|meta| self.offer(meta, &listed, period)));
            }
        }
        offers.sort_by(|a, b| (a.named, &a.meta.key).cmp(&(b.named, &b.meta.key)));
        Ok(offers)
    }

    fn fetch(&self, offer: &Offer) -> Result<Fetched, StorageError> {
        let mut fetched = Fetched::default();
        let indexed = if offer.indexed { self.fetch_indexed(offer, &mut fetched)? } else { None };
        fetched.chunks = match indexed {
            Some(chunks) => chunks,
            None => self.fetch_scanned(offer, &mut fetched)?,
        };
        Ok(fetched)
    }
}
