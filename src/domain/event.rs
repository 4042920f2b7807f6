//! Storm events as SEVIR has them: a place and four hours of five modalities, some of which may be absent.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Earth, Grid, GridError, Moment, Projection, Turned};

/// Frames of an event, one every five minutes.
pub const FRAMES: usize = 49;
/// Seconds from one frame to the next.
pub const FRAME_SECONDS: i64 = 300;
/// The VIL level of a missing pixel.
pub const MISSING_LEVEL: u8 = 255;
/// The encoded reflectance or temperature of a missing pixel; lightning counts have no such value.
pub const MISSING_CODE: i16 = i16::MIN;
/// Values that are counted in 8 bits before they are added to the others: wide registers hold most of those.
const COUNTED: usize = 128;
/// The radius of the sphere that SEVIR's map is of, in metres.
const RADIUS_M: f64 = 6_370_997.0;
/// The side of an event's square, in metres.
const SIDE_M: f64 = 384_000.0;

/// How often a value occurs, such as that for missing.
pub(crate) fn occurrences<T: PartialEq>(values: &[T], wanted: T) -> usize {
    let is_wanted = |value: &T| u8::from(*value == wanted);
    values.chunks(COUNTED).map(|part| usize::from(part.iter().map(is_wanted).sum::<u8>())).sum()
}

/// What was observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Modality {
    /// Reflectance at 0.64 µm (GOES-16 channel 2), int16, 0.5 km.
    Vis,
    /// Brightness temperature at 6.9 µm (channel 9, water vapour), int16 hundredths of a degree Celsius, 2 km.
    Ir069,
    /// Brightness temperature at 10.7 µm (channel 13, window), int16 hundredths of a degree Celsius, 2 km.
    Ir107,
    /// Vertically integrated liquid, uint8 levels, 1 km.
    Vil,
    /// Lightning flashes of the GOES-16 mapper: points keyed by event.
    Lght,
}

impl Modality {
    /// Every modality.
    pub const ALL: [Modality; 5] = [Modality::Vis, Modality::Ir069, Modality::Ir107, Modality::Vil, Modality::Lght];

    /// The name in the catalogue, of the dataset and of the folder.
    pub const fn label(self) -> &'static str {
        match self {
            Modality::Vis => "vis",
            Modality::Ir069 => "ir069",
            Modality::Ir107 => "ir107",
            Modality::Vil => "vil",
            Modality::Lght => "lght",
        }
    }

    /// What one step of the encoded numbers stands for: of infrared in degrees Celsius, of visible light in reflectance,
    /// of lightning one flash; `None` of VIL, whose scale bends.
    pub const fn step(self) -> Option<f64> {
        match self {
            Modality::Vis => Some(1e-4),
            Modality::Ir069 | Modality::Ir107 => Some(0.01),
            Modality::Lght => Some(1.0),
            Modality::Vil => None,
        }
    }

    /// Points along one side of a frame; of lightning, of the grid that its points are counted on.
    pub const fn size(self) -> usize {
        match self {
            Modality::Vis => 768,
            Modality::Ir069 | Modality::Ir107 => 192,
            Modality::Vil => 384,
            Modality::Lght => 48,
        }
    }
}

impl fmt::Display for Modality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl FromStr for Modality {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Modality::ALL.into_iter().find(|modality| modality.label() == text);
        found.ok_or_else(|| format!("`{text}` is no modality; expected vis, ir069, ir107, vil or lght"))
    }
}

/// One modality of an event: where its bytes are, as one row of the catalogue says.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// The file, relative to the data folder, such as `vil/2019/SEVIR_VIL_STORMEVENTS_2019_0101_0630.h5`.
    pub file: Arc<str>,
    /// The row in the file's datasets; means nothing for lightning, which is keyed by event.
    pub index: usize,
    /// Minutes from the event's time to each frame; `None` for lightning, whose times are seconds.
    pub minutes: Option<[i16; FRAMES]>,
    /// The share of missing pixels that the catalogue states, 0 to 1.
    pub missing_share: f32,
}

/// A storm, or a random place without a reported one, for four hours.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The identifier that all modalities share, `S…` or `R…`.
    pub id: Arc<str>,
    /// The time that offsets are counted from.
    pub time: Moment,
    /// The kind of storm reported; empty for a random place.
    pub kind: Arc<str>,
    /// Latitude and longitude of the lower left corner, then of the upper right one, in degrees.
    pub corners: [f64; 4],
    /// What was observed, by modality; what is not here was not.
    pub parts: BTreeMap<Modality, Part>,
}

impl Event {
    /// The map that all events are squares of: Lambert azimuthal equal-area around 38° N 98° W.
    pub const PROJECTION: Projection =
        Projection::AzimuthalEqualArea { latitude_origin: 38.0, longitude_origin: -98.0 };

    /// The grid of `size` × `size` cells that fill the event's square of 384 km, from its lower left corner; points are
    /// the middles of the cells.
    ///
    /// # Errors
    /// Where the corner is not on the map, or there are no cells.
    pub fn grid(&self, size: usize) -> Result<Grid, GridError> {
        let (step, first) = (SIDE_M / size as f64, (self.corners[0], self.corners[1]));
        let earth = Earth::sphere(RADIUS_M);
        let grid = Grid::anchored(Self::PROJECTION, earth, first, (size, size), (step, step))?;
        Ok(Grid { x0: grid.x0 + step / 2.0, y0: grid.y0 + step / 2.0, ..grid })
    }
}

/// Whole numbers as they are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Levels {
    /// VIL levels.
    U8(Vec<u8>),
    /// Encoded reflectances or temperatures, or lightning counts.
    I16(Vec<i16>),
}

/// A whole number as it is stored, little-endian.
pub trait Level: Turned + PartialEq + Sync {
    /// What stands for a missing one.
    const MISSING: Self;

    /// The number as the host has it.
    fn native(self) -> Self;
}

impl Level for u8 {
    const MISSING: u8 = MISSING_LEVEL;

    #[inline(always)]
    fn native(self) -> u8 {
        self
    }
}

impl Level for i16 {
    const MISSING: i16 = MISSING_CODE;

    #[inline(always)]
    fn native(self) -> i16 {
        i16::from_le(self)
    }
}

/// One modality of one event on a square grid: values in order of frame, row (from the south, as SEVIR has them) and column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cube {
    /// Points along one side.
    pub size: usize,
    /// `FRAMES` × size × size values.
    pub levels: Levels,
}
