//! Why an operation on tensors was refused or failed.

use crate::formats::grib2::Grib2Error;

use super::{DType, Shape};

/// An operation that could not be done.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TensorError {
    /// As many values were expected as the shape has elements.
    #[error("{found} values for a tensor of {shape} = {} elements", shape.len())]
    Length {
        /// The shape.
        shape: Shape,
        /// How many values there were.
        found: usize,
    },
    /// One operand has a shape that the operation cannot take.
    #[error("{operation} of {shape}: expected {expected}")]
    Shape {
        /// The operation.
        operation: &'static str,
        /// The operand's shape.
        shape: Shape,
        /// What was expected.
        expected: String,
    },
    /// An operand has too many or too few dimensions.
    #[error("{operation} of {shape}: expected {expected} dimensions")]
    Rank {
        /// The operation.
        operation: &'static str,
        /// The operand's shape.
        shape: Shape,
        /// How many dimensions were expected.
        expected: usize,
    },
    /// A result would have more dimensions than tensors have.
    #[error("{operation} to {sizes:?}: expected at most {most} dimensions, found {}", sizes.len())]
    Dimensions {
        /// The operation.
        operation: &'static str,
        /// The sizes that the result would have.
        sizes: Vec<usize>,
        /// The most dimensions of a tensor.
        most: usize,
    },
    /// Two operands do not go together.
    #[error("{operation} of {left} and {right}: expected {expected}")]
    Shapes {
        /// The operation.
        operation: &'static str,
        /// The first operand's shape.
        left: Shape,
        /// The second operand's shape.
        right: Shape,
        /// What was expected of them.
        expected: String,
    },
    /// An operand is of a dtype that the operation cannot take, such as indices where it works on numbers.
    #[error("{operation} of {found}: expected {expected}")]
    DType {
        /// The operation.
        operation: &'static str,
        /// The operand's dtype.
        found: DType,
        /// The dtypes that were expected.
        expected: String,
    },
    /// Two operands are of different dtypes.
    #[error("{operation} of {left} and {right}: expected one dtype")]
    DTypes {
        /// The operation.
        operation: &'static str,
        /// The first operand's dtype.
        left: DType,
        /// The second's.
        right: DType,
    },
    /// A number, such as a rate, that the operation cannot take.
    #[error("{operation} with {name} {found}: expected {expected}")]
    Number {
        /// The operation.
        operation: &'static str,
        /// What the number is.
        name: &'static str,
        /// The number.
        found: f64,
        /// What was expected.
        expected: &'static str,
    },
    /// Two operands are on different devices; two calls that open a device give two.
    #[error(
        "{operation} of tensors on {}: expected one device; clone it, or move one with to_device",
        both(left, right)
    )]
    Devices {
        /// The operation.
        operation: &'static str,
        /// The first operand's device.
        left: String,
        /// The second's.
        right: String,
    },
    /// An index lies outside what it points into.
    #[error("{operation}: the index {index} at position {position} is not below {limit}")]
    Index {
        /// The operation.
        operation: &'static str,
        /// The index.
        index: i64,
        /// Where among the indices.
        position: usize,
        /// One above the largest index.
        limit: usize,
    },
    /// A parameter was replaced between a part's run and its second run, whose gradients would be those of other values.
    #[error(
        "{operation}: a parameter of {shape} was replaced {times} times since the part ran: expected the backward pass \
         before parameters are set"
    )]
    Replaced {
        /// The operation.
        operation: &'static str,
        /// The parameter's shape.
        shape: Shape,
        /// How often.
        times: u64,
    },
    /// Nothing was recorded that gradients could flow back through.
    #[error("backward of {0}: nothing was recorded; expected a result of tensors that ask for gradients")]
    NotRecorded(Shape),
    /// The device cannot hold so much.
    #[error(
        "{device}: {bytes} bytes could not be had; {held} are held by this program and {free} are free: take smaller \
         batches or patches, or end what else runs there"
    )]
    Memory {
        /// The device.
        device: String,
        /// What was asked for.
        bytes: usize,
        /// What this program holds there already.
        held: usize,
        /// What nobody holds.
        free: usize,
    },
    /// A packed field holds no values, or none that can be told.
    #[error("a field could not be unpacked: {0}")]
    Field(#[from] Grib2Error),
    /// A variable of the environment names no choice.
    #[error("{name} is {value:?}: expected {expected}")]
    Variable {
        /// The variable.
        name: &'static str,
        /// What it is set to.
        value: String,
        /// What it may be set to.
        expected: &'static str,
    },
    /// The device, or a kernel on it, failed.
    #[error("{device}: {what}")]
    Device {
        /// The device.
        device: String,
        /// What failed.
        what: String,
    },
}

/// Two devices, which may have one name.
fn both(left: &str, right: &str) -> String {
    if left == right {
        format!("{left} and another of that name, made by another call")
    } else {
        format!("{left} and {right}")
    }
}

impl TensorError {
    /// The error that a number is not `fine`.
    pub(crate) fn unless(
        fine: bool,
        operation: &'static str,
        (name, found): (&'static str, f64),
        expected: &'static str,
    ) -> Result<(), Self> {
        if fine { Ok(()) } else { Err(TensorError::Number { operation, name, found, expected }) }
    }

    /// The error that an operand's shape does not fit.
    pub(crate) fn shape(operation: &'static str, shape: Shape, expected: impl Into<String>) -> Self {
        TensorError::Shape { operation, shape, expected: expected.into() }
    }

    /// The error that two operands' shapes do not fit.
    pub(crate) fn shapes(operation: &'static str, left: Shape, right: Shape, expected: impl Into<String>) -> Self {
        TensorError::Shapes { operation, left, right, expected: expected.into() }
    }
}
