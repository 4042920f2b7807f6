//! Every option, pipeline and table, read whole and checked before anything runs.

mod connect;
mod device;
mod document;
mod events;
mod pipeline;
mod reader;
mod stages;
mod tables;

pub use device::{DeviceChoice, NoDevice};
pub use document::{Document, Mistake, Place};
pub use events::{Codec, FrameBins, SevirOptions, SplitOptions};
pub use pipeline::{Pipeline, Stage, StageNode, Stream};
pub use stages::{
    ForecastOptions, Grib2Options, Grib2Packing, PngOptions, RegridMethod, RegridOptions, RegridTarget, ScoreOptions,
    Server, SourceOptions, StoreOptions, Threshold, WindowOptions,
};
pub use tables::{VariableTable, colour_tables_text, read_grid, read_scaling_text, read_table_text, variables};
