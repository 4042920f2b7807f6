//! What the elements of a dataset are.

use std::fmt;

use bytemuck::Pod;

/// The type of an element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Element {
    /// Signed, 8 bits.
    I8,
    /// Signed, 16 bits.
    I16,
    /// Signed, 32 bits.
    I32,
    /// Signed, 64 bits.
    I64,
    /// Unsigned, 8 bits.
    U8,
    /// Unsigned, 16 bits.
    U16,
    /// Unsigned, 32 bits.
    U32,
    /// Unsigned, 64 bits.
    U64,
    /// IEEE 754, 32 bits.
    F32,
    /// IEEE 754, 64 bits.
    F64,
    /// Text of a fixed number of bytes.
    Text(usize),
    /// Text of any length.
    VariableText,
    /// Anything else, by the name of its class.
    Other(String),
}

impl Element {
    /// Bytes that one element takes; `None` where they are not of one length, or not known here.
    pub fn size(&self) -> Option<usize> {
        Some(match self {
            Element::I8 | Element::U8 => 1,
            Element::I16 | Element::U16 => 2,
            Element::I32 | Element::U32 | Element::F32 => 4,
            Element::I64 | Element::U64 | Element::F64 => 8,
            Element::Text(width) => *width,
            Element::VariableText | Element::Other(_) => return None,
        })
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Element::I8 => "int8",
            Element::I16 => "int16",
            Element::I32 => "int32",
            Element::I64 => "int64",
            Element::U8 => "uint8",
            Element::U16 => "uint16",
            Element::U32 => "uint32",
            Element::U64 => "uint64",
            Element::F32 => "float32",
            Element::F64 => "float64",
            Element::Text(width) => return write!(f, "text of {width} bytes"),
            Element::VariableText => "text",
            Element::Other(class) => class,
        })
    }
}

/// A number that elements can be.
pub trait Number: Pod + Send + Sync + PartialOrd {
    /// The type of element that it is.
    const ELEMENT: Element;
    /// The same number; whole numbers beyond 2^53 are rounded.
    fn to_f64(self) -> f64;
}

/// Makes types numbers.
macro_rules! numbers {
    ($($type:ty: $element:ident),*) => {
        $(impl Number for $type {
            const ELEMENT: Element = Element::$element;

            fn to_f64(self) -> f64 {
                self as f64
            }
        })*
    };
}

numbers!(i8: I8, i16: I16, i32: I32, i64: I64, u8: U8, u16: U16, u32: U32, u64: U64, f32: F32, f64: F64);

/// Runs an expression with `$type` standing for the type of number that an element is, or another one where it is none.
macro_rules! for_number {
    ($element:expr, $type:ident => $run:expr, else $other:expr) => {
        match $element {
            Element::I8 => {
                type $type = i8;
                $run
            }
            Element::I16 => {
                type $type = i16;
                $run
            }
            Element::I32 => {
                type $type = i32;
                $run
            }
            Element::I64 => {
                type $type = i64;
                $run
            }
            Element::U8 => {
                type $type = u8;
                $run
            }
            Element::U16 => {
                type $type = u16;
                $run
            }
            Element::U32 => {
                type $type = u32;
                $run
            }
            Element::U64 => {
                type $type = u64;
                $run
            }
            Element::F32 => {
                type $type = f32;
                $run
            }
            Element::F64 => {
                type $type = f64;
                $run
            }
            _ => $other,
        }
    };
}

pub(super) use for_number;

/// The text in a fixed number of bytes: up to the first NUL, without spaces that fill it up.
pub(super) fn fixed_text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).trim_end_matches(' ').to_string()
}
