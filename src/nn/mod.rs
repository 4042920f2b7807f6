//! Layers with named parameters, files of weights, and the networks made of them.

mod error;
mod header;
mod layers;
pub mod networks;
mod parameters;
mod statistics;
mod weights;

pub use error::NnError;
pub use layers::attention::MultiheadAttention;
pub use layers::conv::{Conv2d, ConvTranspose2d};
pub use layers::graph::{GatConv, GatEdges, GatSizes};
pub use layers::linear::{Embedding, Linear};
pub use layers::norm::{BatchNorm2d, GroupNorm, LayerNorm, Mode};
pub use layers::recurrent::{ConvLstmCell, Gru, GruCell};
pub use parameters::{Builder, Entry, Parameters, Start};
pub use statistics::{Number, Numbers, Statistics};
pub use weights::WeightFile;

/// What building a network, and reading or writing its weights gives back.
pub type Result<T> = std::result::Result<T, NnError>;
