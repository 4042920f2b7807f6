//! The fields of one message, described without unpacking their values.

use std::ops::Range;
use std::sync::Arc;

use crate::domain::{Grid, Moment, Slot};

use super::Grib2Error;
use super::grid::scanning::Scanning;
use super::grid::{self, Definition};
use super::limits;
use super::packing::{self, Packing};
use super::product::{self, Product};
use super::section::{END, Section, message, sections};

/// How the origin of synthetic data begins.
const SYNTHETIC: &str = "SYNTHETIC";
/// Bytes of section 2 that may tell an origin: longer ones are data of a centre's own.
const ORIGIN_LENGTH: usize = 1024;

/// One field of a message.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Discipline (code table 0.0).
    pub discipline: u8,
    /// What the field is of, and when.
    pub product: Product,
    /// The reference time.
    pub cycle: Moment,
    /// Points of the grid.
    pub points: usize,
    /// Points of a row and rows; `None` where the order of the points is not known.
    pub shape: Option<(usize, usize)>,
    /// Where the values are, rows along +x, or why that is not known.
    pub grid: Result<Arc<Grid>, Grib2Error>,
    /// Wind components are along the grid's axes instead of east and north.
    pub grid_relative: bool,
    /// How the values are packed.
    pub packing: Packing,
    /// The originating centre (common code table C-11).
    pub centre: u16,
    /// Who made the field; begins with `SYNTHETIC` where the message says so.
    pub origin: Arc<str>,
    /// The grid definition template's number, without its `3.`.
    pub grid_template: u16,
    pub(super) scanning: Option<Scanning>,
    pub(super) packed: usize,
    pub(super) bitmap: Option<Range<usize>>,
    pub(super) data: Range<usize>,
}

impl Message {
    /// Discipline, parameter category and parameter number.
    pub fn codes(&self) -> [u8; 3] {
        [self.discipline, self.product.category, self.product.number]
    }

    /// Cycle and lead; the error says why the lead is not known.
    pub fn slot(&self) -> Result<Slot, Grib2Error> {
        self.product.time.clone().map(|time| Slot::new(self.cycle, time.lead))
    }
}

/// All fields of the one message at the start of `bytes`.
pub fn headers(bytes: &[u8]) -> Result<Vec<Message>, Grib2Error> {
    let (message, discipline) = message(bytes)?;
    let mut reading = Reading { discipline, bytes: message.len(), ..Reading::default() };
    for section in sections(message) {
        reading.take(&section?)?;
    }
    if reading.found.is_empty() {
        let (offset, expected) = (message.len() - END.len(), "section 7 of at least one field, found `7777`".into());
        return Err(Grib2Error::Damaged { section: 7, offset, expected });
    }
    Ok(reading.found)
}

/// What the sections read so far say; sections 2 to 7 may be repeated.
#[derive(Default)]
struct Reading {
    discipline: u8,
    bytes: usize,
    source: Option<(Moment, u16)>,
    origin: Option<Arc<str>>,
    grid: Option<Definition>,
    product: Option<Product>,
    /// With how many values are packed, and where the section begins.
    packing: Option<(Packing, usize, usize)>,
    bitmap: Option<Range<usize>>,
    last_bitmap: Option<Range<usize>>,
    found: Vec<Message>,
}

impl Reading {
    fn take(&mut self, section: &Section) -> Result<(), Grib2Error> {
        match section.number {
            1 => self.source = Some((product::cycle(section)?, section.u16(6)?)),
            2 => self.origin = synthetic_origin(section),
            3 => {
                let definition = grid::parse(section)?;
                limits::check_points(section, definition.points, self.bytes)?;
                self.grid = Some(definition);
            }
            4 => self.product = Some(product::parse(section, self.source(section)?.0)?),
            5 => {
                let (packing, packed) = packing::parse(section)?;
                self.packing = Some((packing, packed, section.offset));
            }
            6 => self.bitmap = self.bitmap(section)?,
            _ => {
                let message = self.field(section)?;
                self.found.push(message);
            }
        }
        Ok(())
    }

    fn source(&self, section: &Section) -> Result<(Moment, u16), Grib2Error> {
        self.source.ok_or_else(|| section.damaged(5, "section 1 first"))
    }

    /// Where the bitmap of the field to come is; `None` where all its values are present.
    fn bitmap(&mut self, section: &Section) -> Result<Option<Range<usize>>, Grib2Error> {
        match section.u8(6)? {
            0 => self.last_bitmap = Some(range(section)),
            254 if self.last_bitmap.is_some() => (),
            254 => return Err(section.damaged(6, "an earlier bitmap to use again, found none")),
            255 => return Ok(None),
            other => {
                let what = format!("predefined bitmap {other}");
                return Err(section.unsupported(what, "bitmap indicator 0, 254 or 255"));
            }
        }
        Ok(self.last_bitmap.clone())
    }

    /// The field that section 7 completes.
    fn field(&mut self, section: &Section) -> Result<Message, Grib2Error> {
        let (cycle, centre) = self.source(section)?;
        let missing = |number: u8| section.damaged(5, format!("section {number} before section 7, found none"));
        let definition = self.grid.clone().ok_or_else(|| missing(3))?;
        let product = self.product.take().ok_or_else(|| missing(4))?;
        let (packing, packed, offset) = self.packing.take().ok_or_else(|| missing(5))?;
        // Some writers leave section 6 out where there is no bitmap.
        let bitmap = self.bitmap.take();
        let points = definition.points;
        if packed > points || (bitmap.is_none() && packed != points) {
            let bitmap = if bitmap.is_some() { "at most " } else { "without a bitmap " };
            let expected = format!("{bitmap}{points} packed values for {points} points, found {packed}");
            return Err(Grib2Error::Damaged { section: 5, offset: offset + 5, expected });
        }
        if let Some(bitmap) = &bitmap {
            limits::check_bitmap(bitmap, points)?;
        }
        let origin = self.origin.clone().unwrap_or_else(|| centre_name(centre));
        let source = Source { discipline: self.discipline, cycle, centre, origin };
        Ok(assemble(source, definition, product, (packing, packed), (bitmap, range(section))))
    }
}

/// What holds for all fields of a message.
struct Source {
    discipline: u8,
    cycle: Moment,
    centre: u16,
    origin: Arc<str>,
}

fn assemble(
    source: Source,
    definition: Definition,
    product: Product,
    (packing, packed): (Packing, usize),
    (bitmap, data): (Option<Range<usize>>, Range<usize>),
) -> Message {
    Message {
        discipline: source.discipline,
        product,
        cycle: source.cycle,
        points: definition.points,
        shape: definition.rows.map(|(shape, _)| shape),
        grid: definition.grid,
        grid_relative: definition.grid_relative,
        packing,
        centre: source.centre,
        origin: source.origin,
        grid_template: definition.template,
        scanning: definition.rows.map(|(_, scanning)| scanning),
        packed,
        bitmap,
        data,
    }
}

fn range(section: &Section) -> Range<usize> {
    section.offset..section.offset + section.bytes.len()
}

/// The first line of section 2 where it begins as synthetic data does.
fn synthetic_origin(section: &Section) -> Option<Arc<str>> {
    let bytes = section.rest(6);
    let text = String::from_utf8_lossy(bytes.get(..ORIGIN_LENGTH).unwrap_or(bytes));
    let line = text.split(char::is_control).next().unwrap_or_default().trim_end();
    line.starts_with(SYNTHETIC).then(|| line.into())
}

/// A centre's name and number (common code table C-11).
fn centre_name(centre: u16) -> Arc<str> {
    let name = match centre {
        7 => "NCEP",
        8 | 9 => "NWS",
        34 => "JMA",
        54 => "CMC",
        59 => "NOAA GSL",
        74 => "Met Office",
        78 => "DWD",
        85 => "Météo-France",
        98 => "ECMWF",
        161 => "NOAA OAR",
        _ => return format!("centre {centre}").into(),
    };
    format!("{name} (centre {centre})").into()
}
