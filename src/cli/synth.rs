//! `gustfront synth`: makes synthetic weather where there is none to fetch.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use gustfront::domain::{Lead, Modality, Moment};
use gustfront::sources::synth::{
    FULL, SevirOptions, SevirStorage, SevirSummary, Summary, SynthOptions, origin, write_hrrr_watched, write_sevir,
};
use gustfront::storage::{S3Options, clear_partial, open};

use super::output::show;
use super::run::stop_on_signals;

/// How often progress is logged where there is no bar.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Examples of `synth hrrr --help`.
const HRRR_EXAMPLES: &str = "Examples:
  gustfront synth hrrr --output bucket --start 2026-05-20T18 --cycles 12
  gustfront synth hrrr --output s3://my-bucket/synthetic \\
      --start 2026-05-20T12 --cycles 24 --size full
  gustfront synth hrrr --output bucket --start 2026-05-20T18 --cycles 3 --leads 0-6 --seed 11";

/// Examples of `synth sevir --help`.
const SEVIR_EXAMPLES: &str = "Examples:
  gustfront synth sevir --output sevir --events 16
  gustfront synth sevir --output sevir --events 8 --modalities vil,lght \\
      --storage chunked --flaws";

/// Make synthetic weather.
#[derive(Args, Clone, Debug)]
pub(crate) struct SynthArgs {
    #[command(subcommand)]
    kind: Kind,
}

#[derive(Subcommand, Clone, Debug)]
enum Kind {
    /// Storms on the HRRR grid, as GRIB2 with indexes in the layout of HRRR's bucket.
    Hrrr(HrrrArgs),
    /// Storm events of four hours as SEVIR has them: HDF5 and a catalogue.
    Sevir(SevirArgs),
}

/// Radar, infrared, visible light and lightning of the same imagined storms. Every file says that it is synthetic.
#[derive(Args, Clone, Debug)]
#[command(after_help = SEVIR_EXAMPLES)]
struct SevirArgs {
    /// Where to write: an empty folder, or one that is not there yet.
    #[arg(long, value_name = "FOLDER")]
    output: PathBuf,
    /// How many events; each takes 72 MB with all modalities, 58 of them visible light.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    events: u32,
    /// No event before this day; the default dates reach over training, validation and test.
    #[arg(long, value_name = "DAY", default_value = "2018-03-01", value_parser = parse_day)]
    from: Moment,
    /// No event from this day on, 2100-01-01 at the latest.
    #[arg(long, value_name = "DAY", default_value = "2019-12-01", value_parser = parse_day)]
    to: Moment,
    /// What is written of an event that has it.
    #[arg(long, value_delimiter = ',', default_value = "vis,ir069,ir107,vil,lght")]
    modalities: Vec<Modality>,
    /// Dense values in one run, as SEVIR's own, or in gzipped chunks of a frame; `mixed` has files of both.
    #[arg(long, value_parser = parse_storage, default_value = "contiguous", value_name = "contiguous|chunked|mixed")]
    storage: SevirStorage,
    /// Begin the catalogue with a column without a name.
    #[arg(long)]
    index_column: bool,
    /// Damage the VIL of one event and cut another file short, to see what a run makes of it.
    #[arg(long)]
    flaws: bool,
    /// Same seed, same bytes.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Write into a folder that holds something else, over what has the same names.
    #[arg(long)]
    force: bool,
}

/// Moving storms over an imagined continent. Every message says in its section 2 that it is synthetic.
#[derive(Args, Clone, Debug)]
#[command(after_help = HRRR_EXAMPLES)]
struct HrrrArgs {
    /// Where to write: a folder, or s3://bucket/prefix.
    #[arg(long, value_name = "FOLDER|s3://…")]
    output: String,
    /// The first cycle, UTC, on the hour.
    #[arg(long, value_name = "TIME")]
    start: Moment,
    /// How many cycles.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    cycles: u32,
    /// Hours from one cycle to the next.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=8760))]
    step_hours: u32,
    /// Leads of each cycle in hours, such as 0, 0-6 or 0-18/3. Lead 0 is the truth; the others are forecasts that err.
    #[arg(long, default_value = "0", value_parser = parse_leads)]
    leads: Leads,
    /// Points along x and y of a crop around the border of Kansas and Oklahoma, or `full` for 1799x1059.
    #[arg(long, default_value = "256x256", value_name = "NXxNY|full", value_parser = parse_size)]
    size: Size,
    /// Same seed, same bytes.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Write into an output that holds something else, over what has the same names.
    #[arg(long)]
    force: bool,
    /// The S3 server, where it is not AWS.
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// The S3 region.
    #[arg(long)]
    region: Option<String>,
}

#[derive(Clone, Debug)]
struct Leads(Vec<Lead>);

#[derive(Clone, Copy, Debug)]
struct Size([usize; 2]);

/// Runs the command.
pub(crate) fn run(args: SynthArgs) -> anyhow::Result<()> {
    match args.kind {
        Kind::Hrrr(args) => hrrr(args),
        Kind::Sevir(args) => sevir(args),
    }
}

fn sevir(args: SevirArgs) -> anyhow::Result<()> {
    let options = SevirOptions {
        events: args.events as usize,
        seed: args.seed,
        from: args.from,
        to: args.to,
        modalities: args.modalities.into_iter().collect(),
        storage: args.storage,
        index_column: args.index_column,
        flaws: args.flaws,
        force: args.force,
    };
    let (bar, stop) = (progress_bar(options.events as u64, "events"), stop_on_signals()?);
    let mut told = Instant::now();
    let summary = write_sevir(&args.output, &options, &mut |done| {
        bar.set_position(done as u64);
        bar.tick();
        if bar.is_hidden() && told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            tracing::info!("{done} of {} synthetic events", options.events);
        }
        !stop.load(Ordering::Relaxed)
    });
    bar.finish_and_clear();
    let summary = summary.context("no synthetic events were finished (--force writes over other content)")?;
    let SevirSummary { events, rows, files, bytes, flaws } = summary;
    let flaws: String = flaws.into_iter().map(|flaw| format!("damaged on purpose: {flaw}\n")).collect();
    show(&format!(
        "{events} events of synthetic weather ({}) are in {}: {files} files, {rows} rows in CATALOG.csv, {:.1} MB. \
         No weather was observed.\n{flaws}",
        origin(options.seed),
        args.output.display(),
        bytes as f64 / 1e6,
    ))
}

fn hrrr(args: HrrrArgs) -> anyhow::Result<()> {
    let store = S3Options { endpoint: args.endpoint.clone(), region: args.region.clone(), ..S3Options::default() };
    let objects = open(&args.output, &store)?;
    let options = SynthOptions {
        start: args.start,
        cycles: args.cycles,
        step_hours: args.step_hours,
        leads: args.leads.0,
        size: args.size.0,
        seed: args.seed,
        force: args.force,
    };
    let bar = progress_bar(u64::from(options.cycles) * options.leads.len() as u64, "files");
    let summary = write_hrrr_watched(&*objects, &options, &mut |summary| bar.set_position(summary.slots as u64));
    bar.finish_and_clear();
    clear_partial(&args.output)?;
    let summary = summary.context("no synthetic weather was finished (--force writes over other content)")?;
    show(&closing_line(&summary, &options, &args.output))
}

fn closing_line(summary: &Summary, options: &SynthOptions, output: &str) -> String {
    let [nx, ny] = options.size;
    format!(
        "{} of synthetic weather ({}) on {nx}x{ny} points from {} are in {output}: {} objects written, {} already there, {:.1} MB. No weather was observed.\n",
        if summary.slots == 1 { "1 file".to_string() } else { format!("{} files", summary.slots) },
        origin(options.seed),
        options.start,
        summary.written,
        summary.unchanged,
        summary.bytes as f64 / 1e6,
    )
}

/// A bar on standard error where that is a terminal.
fn progress_bar(count: u64, what: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let template = format!("synthetic weather {{bar:40}} {{pos}}/{{len}} {what}, {{eta}} left");
    let style = ProgressStyle::with_template(&template);
    ProgressBar::new(count).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn parse_storage(text: &str) -> Result<SevirStorage, String> {
    match text {
        "contiguous" => Ok(SevirStorage::Contiguous),
        "chunked" => Ok(SevirStorage::Chunked),
        "mixed" => Ok(SevirStorage::Mixed),
        _ => Err(format!("`{text}` is no way to store; expected contiguous, chunked or mixed")),
    }
}

fn parse_day(text: &str) -> Result<Moment, String> {
    text.parse().map_err(|error| format!("{error}; from 1970-01-01 to 2100-01-01"))
}

fn parse_leads(text: &str) -> Result<Leads, String> {
    Lead::parse_list(text).map(Leads).map_err(|error| error.to_string())
}

fn parse_size(text: &str) -> Result<Size, String> {
    let expected = || format!("`{text}` is no size; expected `full` or points along x and y, such as 256x256");
    if text == "full" {
        return Ok(Size(FULL));
    }
    let (x, y) = text.split_once('x').ok_or_else(expected)?;
    let number = |t: &str| t.parse::<usize>().ok();
    number(x).zip(number(y)).map(|(x, y)| Size([x, y])).ok_or_else(expected)
}
