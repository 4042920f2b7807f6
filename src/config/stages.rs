//! The options of every kind of stage, with their defaults and limits.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::{Grid, Lead, Requirement};

use super::document::Value;
use super::events::Codec;
use super::reader::Reader;
use super::tables::{VariableTable, grids};

/// The longest that a failing request is tried again: 16 tries, at most 16 s apart, take no longer.
const LONGEST_RETRY_SECONDS: u32 = 300;

/// How the S3 server of a location is reached; what is left out is found as the AWS tools find it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Server {
    /// Endpoint other than Amazon's.
    pub endpoint: Option<String>,
    /// Region.
    pub region: Option<String>,
    /// Without credentials; by default only where none are found.
    pub anonymous: Option<bool>,
    /// How long a request that fails for a passing reason is tried again.
    pub retry_seconds: Option<u32>,
}

impl Server {
    pub(super) fn read(r: &mut Reader<'_>) -> Self {
        Server {
            endpoint: r.text("endpoint"),
            region: r.text("region"),
            anonymous: r.flag("anonymous"),
            retry_seconds: r.whole("retry_seconds", 2, LONGEST_RETRY_SECONDS),
        }
    }
}

/// Where HRRR objects come from and which of them are wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceOptions {
    /// A folder or `s3://bucket/prefix` in the key layout of the NOAA bucket.
    pub input: String,
    /// How its S3 server is reached.
    pub server: Server,
    /// File kind in the key: `wrfsfc`, `wrfprs`, `wrfnat` or `wrfsubh`.
    pub product: String,
    /// Folder in the key: `conus` or `alaska`.
    pub region_name: String,
    /// Leads expected of every cycle; `None` means the state lead alone, presented as the state at its valid time.
    pub leads: Option<Vec<Lead>>,
    /// Step between cycles.
    pub cycle_step: Lead,
    /// The variables, and whether a slot without one is whole.
    pub variables: Vec<(Arc<str>, Requirement)>,
    /// Concurrent requests.
    pub connections: usize,
    /// Byte ranges closer than this travel in one request.
    pub coalesce_bytes: u64,
    /// Following a live bucket: seconds between listings.
    pub poll_seconds: u64,
    /// Following a live bucket: minutes after its cycle until a lead that has not come is declared missing.
    pub deadline_minutes: u64,
    /// Slots fetched but not yet through the slowest sink.
    pub window: usize,
}

impl SourceOptions {
    pub(super) fn read(r: &mut Reader<'_>, table: &VariableTable) -> Self {
        let leads = r.text_or_number("leads").unwrap_or_else(|| "0-18".into());
        SourceOptions {
            input: r.required_text("input", "s3://noaa-hrrr-bdp-pds"),
            server: Server::read(r),
            product: r.text("product").unwrap_or_else(|| "wrfsfc".into()),
            region_name: r.text("domain").unwrap_or_else(|| "conus".into()),
            leads: if leads == "state" { None } else { Some(read_leads(r, "leads", &leads)) },
            cycle_step: Lead::hours(r.whole("cycle_step_hours", 1, 24).unwrap_or(1)),
            variables: read_variables(r, table),
            connections: r.whole("connections", 1, 256).unwrap_or(8) as usize,
            coalesce_bytes: u64::from(r.whole("coalesce_kib", 0, 1 << 20).unwrap_or(64)) << 10,
            poll_seconds: u64::from(r.whole("poll_seconds", 1, 86_400).unwrap_or(30)),
            deadline_minutes: u64::from(r.whole("deadline_minutes", 1, 100_000).unwrap_or(180)),
            window: r.whole("window_slots", 1, 1024).unwrap_or(4) as usize,
        }
    }
}

fn read_leads(r: &Reader<'_>, key: &'static str, text: &str) -> Vec<Lead> {
    Lead::parse_list(text).unwrap_or_else(|error| {
        r.mistake(key, error.to_string());
        Vec::new()
    })
}

fn read_variables(r: &mut Reader<'_>, table: &VariableTable) -> Vec<(Arc<str>, Requirement)> {
    let mut variables: BTreeMap<Arc<str>, Requirement> = BTreeMap::new();
    for (key, requirement) in [("required", Requirement::Required), ("optional", Requirement::Optional)] {
        for (name, _) in r.texts(key) {
            match table.get(name.as_str()) {
                None => r.mistake(key, format!("unknown variable `{name}`; expected some of {}", table.names())),
                Some(variable) if variables.insert(variable.name.clone(), requirement).is_some() => {
                    r.mistake(key, format!("`{name}` is named twice"))
                }
                Some(_) => (),
            }
        }
    }
    if variables.is_empty() {
        r.mistake("required", format!("no variables; expected required = [...] with some of {}", table.names()));
    }
    variables.into_iter().collect()
}

/// How values move between grids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegridMethod {
    /// The nearest source point.
    Nearest,
    /// Weights of the four points around.
    Bilinear,
    /// First-order conservative: weights by overlapping area.
    Conservative,
}

/// Which grid values move to.
#[derive(Clone, Debug, PartialEq)]
pub enum RegridTarget {
    /// A lat-lon grid of this step in degrees that covers the source grid.
    Covering(f64),
    /// A grid named in `config/grids.toml`.
    Named(Arc<str>, Arc<Grid>),
}

/// Options of a regridding.
#[derive(Clone, Debug, PartialEq)]
pub struct RegridOptions {
    /// How.
    pub method: RegridMethod,
    /// Where to.
    pub target: RegridTarget,
}

impl RegridOptions {
    pub(super) fn read(r: &mut Reader<'_>) -> Self {
        let methods = [
            ("nearest", RegridMethod::Nearest),
            ("bilinear", RegridMethod::Bilinear),
            ("conservative", RegridMethod::Conservative),
        ];
        let method = r.choice("method", &methods).unwrap_or(RegridMethod::Bilinear);
        let step = r.number("step_degrees", 0.001, 10.0);
        let target = match (r.text("grid"), step) {
            (Some(name), None) => named_grid(r, &name),
            (None, Some(step)) => RegridTarget::Covering(step),
            (None, None) => RegridTarget::Covering(0.03),
            (Some(_), Some(step)) => {
                r.mistake("grid", "both `grid` and `step_degrees` are given; expected one of them".into());
                RegridTarget::Covering(step)
            }
        };
        RegridOptions { method, target }
    }
}

fn named_grid(r: &Reader<'_>, name: &str) -> RegridTarget {
    let known = grids();
    match known.get(name) {
        Some(grid) => RegridTarget::Named(name.into(), grid.clone()),
        None => {
            let names: Vec<&str> = known.keys().map(String::as_str).collect();
            r.mistake("grid", format!("unknown grid `{name}`; expected one of {}", names.join(", ")));
            RegridTarget::Covering(0.03)
        }
    }
}

/// Consecutive states put side by side for training.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowOptions {
    /// States in a window.
    pub steps: u32,
    /// How many of them, from the first on, a model is given.
    pub inputs: u32,
    /// Time between states.
    pub step: Lead,
}

impl WindowOptions {
    pub(super) fn read(r: &mut Reader<'_>) -> Self {
        let steps = r.whole("steps", 1, 1000).unwrap_or(3);
        let inputs = r.whole("input_steps", 1, 1000).unwrap_or(1);
        if inputs >= steps {
            r.mistake("input_steps", format!("{inputs} of {steps} steps are inputs; expected at least one target"));
        }
        WindowOptions { steps, inputs, step: Lead::hours(r.whole("step_hours", 1, 24).unwrap_or(1)) }
    }

    /// Leads of the window's states, counted from its first.
    pub fn leads(&self) -> Vec<Lead> {
        (0..self.steps).map(|j| Lead(j * self.step.0)).collect()
    }
}

/// Options of a forecast model.
#[derive(Clone, Debug, PartialEq)]
pub struct ForecastOptions {
    /// Leads to forecast, all above 0.
    pub leads: Vec<Lead>,
}

impl ForecastOptions {
    pub(super) fn read(r: &mut Reader<'_>) -> Self {
        let text = r.text_or_number("leads").unwrap_or_else(|| "1-6".into());
        let leads = read_leads(r, "leads", &text);
        if leads.contains(&Lead(0)) {
            r.mistake("leads", "lead 0 is the state itself; expected leads of at least one hour".into());
        }
        ForecastOptions { leads }
    }

    /// The state's lead and the forecast leads.
    pub fn all_leads(&self) -> Vec<Lead> {
        std::iter::once(Lead(0)).chain(self.leads.iter().copied()).collect()
    }
}

/// Values at or above which an event is counted.
pub type Threshold = f32;

/// Options of the verification.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoreOptions {
    /// Event thresholds by variable, in the variable's units, ascending.
    pub thresholds: BTreeMap<Arc<str>, Vec<Threshold>>,
    /// How long after its truth was due a forecast is kept for truth that comes late.
    pub late: Lead,
}

impl ScoreOptions {
    pub(super) fn read(r: &mut Reader<'_>, table: &VariableTable) -> Self {
        let mut thresholds = BTreeMap::new();
        if let Some(node) = r.node("thresholds") {
            match &node.value {
                Value::Table(entries) => entries.iter().for_each(|(name, list)| match (table.get(name), &list.value) {
                    (None, _) => r.mistake(
                        "thresholds",
                        format!("unknown variable `{name}`; expected some of {}", table.names()),
                    ),
                    (Some(variable), Value::List(list)) => {
                        let mut values: Vec<f32> = list.iter().filter_map(|n| number(&n.value)).collect();
                        if values.len() != list.len() {
                            r.mistake("thresholds", format!("`{name}` holds more than finite numbers"));
                        }
                        values.sort_by(f32::total_cmp);
                        thresholds.insert(variable.name.clone(), values);
                    }
                    (Some(_), other) => {
                        r.mistake("thresholds", format!("`{name}` is {}; expected a list of numbers", other.kind()))
                    }
                }),
                other => r.mistake(
                    "thresholds",
                    format!("`thresholds` is {}; expected a table such as {{ t2m = [300.0] }}", other.kind()),
                ),
            }
        }
        ScoreOptions { thresholds, late: Lead::hours(r.whole("late_hours", 0, 240).unwrap_or(2)) }
    }
}

fn number(value: &Value) -> Option<f32> {
    match value {
        Value::Number(x) if x.is_finite() => Some(*x as f32),
        _ => None,
    }
}

/// Options of a Zarr store.
#[derive(Clone, Debug, PartialEq)]
pub struct StoreOptions {
    /// Folder of the store below the output.
    pub path: String,
    /// A title for people.
    pub title: Option<String>,
    /// Threads that encode and write; of events, threads a worker, each with a shard of its own.
    pub writers: usize,
    /// How frames of events are packed; other stores have one way.
    pub codec: Option<Codec>,
}

impl StoreOptions {
    pub(super) fn read(r: &mut Reader<'_>) -> Self {
        StoreOptions {
            path: read_path(r, "forecast.zarr"),
            title: r.text("title"),
            writers: r.whole("writers", 1, 64).unwrap_or(2) as usize,
            codec: Codec::read(r),
        }
    }
}

/// Options of the picture sink.
#[derive(Clone, Debug, PartialEq)]
pub struct PngOptions {
    /// Folder of the pictures below the output.
    pub path: String,
    /// The variables drawn; empty for all.
    pub variables: Vec<Arc<str>>,
    /// Threads that draw and write.
    pub writers: usize,
}

impl PngOptions {
    pub(super) fn read(r: &mut Reader<'_>, table: &VariableTable) -> Self {
        let variables = read_chosen(r, table);
        PngOptions { path: read_path(r, "png"), variables, writers: r.whole("writers", 1, 64).unwrap_or(2) as usize }
    }
}

/// How values are packed into GRIB2 messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grib2Packing {
    /// Every value in the same number of bits: the most widely read.
    Simple,
    /// Groups of second-order differences: the smallest, and what HRRR uses.
    Complex,
    /// A PNG image, as MRMS uses.
    Png,
}

/// Options of the GRIB2 sink.
#[derive(Clone, Debug, PartialEq)]
pub struct Grib2Options {
    /// Folder of the objects below the output.
    pub path: String,
    /// The variables written; empty for all.
    pub variables: Vec<Arc<str>>,
    /// How values are packed.
    pub packing: Grib2Packing,
    /// The originating centre that messages name; 255 is none.
    pub centre: u16,
    /// Threads that encode and write.
    pub writers: usize,
}

impl Grib2Options {
    pub(super) fn read(r: &mut Reader<'_>, table: &VariableTable) -> Self {
        let packings =
            [("complex", Grib2Packing::Complex), ("simple", Grib2Packing::Simple), ("png", Grib2Packing::Png)];
        Grib2Options {
            path: read_path(r, "grib2"),
            variables: read_chosen(r, table),
            packing: r.choice("packing", &packings).unwrap_or(Grib2Packing::Complex),
            centre: r.whole("centre", 0, u32::from(u16::MAX)).unwrap_or(255) as u16,
            writers: r.whole("writers", 1, 64).unwrap_or(2) as usize,
        }
    }
}

/// The variables that a sink takes; none are named for all.
fn read_chosen(r: &mut Reader<'_>, table: &VariableTable) -> Vec<Arc<str>> {
    let mut variables = Vec::new();
    for (name, _) in r.texts("variables") {
        match table.get(&name) {
            Some(variable) => variables.push(variable.name.clone()),
            None => r.mistake("variables", format!("unknown variable `{name}`; expected some of {}", table.names())),
        }
    }
    variables
}

/// A relative folder or file below the output that cannot leave it.
pub(super) fn read_path(r: &mut Reader<'_>, example: &str) -> String {
    let path = r.required_text("path", example);
    let odd = |part: &str| part.is_empty() || part.starts_with('.') || part == "ledger";
    if !path.is_empty() && path.split('/').any(odd) {
        r.mistake("path", format!("`{path}` is no place below the output; expected for example `{example}`"));
    }
    path
}
