//! Why a network could not be built, or its weights not be read or written.

use std::path::PathBuf;

use safetensors::Dtype;

use crate::tensor::{DType, TensorError};

/// A network that could not be built, or weights that could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum NnError {
    /// An operation was refused or failed.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// Two parameters of a network have one name.
    #[error("two parameters are named {0:?}")]
    NamedTwice(String),
    /// A layer's sizes do not go together.
    #[error("{layer} of {sizes}: expected {expected}")]
    Sizes {
        /// The layer's name in the network.
        layer: String,
        /// The sizes.
        sizes: String,
        /// What was expected of them.
        expected: &'static str,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file is not of the safetensors format.
    #[error("{}: no safetensors file: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, what was expected and what to do.
        reason: String,
    },
    /// A tensor of a file holds what networks have no use for.
    #[error("{}: {name:?} is of {dtype}; expected F64, F32, BF16, F16, or whole numbers", path.display())]
    DType {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        name: String,
        /// The kind of its elements.
        dtype: Dtype,
    },
    /// A whole number of a file does not fit 32 bits.
    #[error("{}: {name:?} holds {value}; expected 32 bits", path.display())]
    Whole {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        name: String,
        /// The number.
        value: i64,
    },
    /// A number of a file is greater than the network's precision holds.
    #[error("{}: {name:?} holds {value:e}; expected what {dtype} holds", path.display())]
    Wide {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        name: String,
        /// The number.
        value: f64,
        /// The network's precision.
        dtype: DType,
    },
    /// A file does not hold a network's parameters; every difference is listed.
    #[error("{}: {}", path.display(), differences(missing, surplus, misshapen))]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// Names that the network has and the file has not.
        missing: Vec<String>,
        /// Names that the file has and the network has not.
        surplus: Vec<String>,
        /// Names with other shapes: what is wrong.
        misshapen: Vec<String>,
    },
}

fn differences(missing: &[String], surplus: &[String], misshapen: &[String]) -> String {
    let kinds = [("missing", missing), ("surplus", surplus), ("of another shape", misshapen)];
    let some = kinds.iter().filter(|(_, names)| !names.is_empty());
    let told: Vec<String> = some.map(|(kind, names)| format!("{} {kind}: {}", names.len(), names.join(", "))).collect();
    told.join("; ")
}
