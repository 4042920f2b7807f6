//! What a library must say of a file's structure, and the words for it.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use super::chunks::Chunk;
use super::{Element, Filter};

/// How the values of a dataset lie in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One run of bytes.
    Contiguous {
        /// Where it begins.
        offset: u64,
    },
    /// Blocks of this shape, each stored and filtered by itself.
    Chunked {
        /// Elements of a block along every dimension.
        shape: Vec<u64>,
    },
    /// Inside the dataset's header.
    Compact,
    /// Contiguous, but nothing was ever written: every value is the fill value.
    Unwritten,
    /// In other files, which this one names.
    External,
    /// Made of parts of other datasets, which may be in other files.
    Virtual,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Layout::Contiguous { .. } => f.write_str("contiguous"),
            Layout::Chunked { shape } => write!(f, "chunks of {}", sizes(shape)),
            Layout::Compact => f.write_str("in the header"),
            Layout::Unwritten => f.write_str("nothing written"),
            Layout::External => f.write_str("in other files"),
            Layout::Virtual => f.write_str("parts of other datasets"),
        }
    }
}

/// Sizes as `49×384×384`.
pub(super) fn sizes(shape: &[u64]) -> String {
    shape.iter().map(u64::to_string).collect::<Vec<_>>().join("×")
}

/// What an attribute says.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// One text.
    Text(String),
    /// Several texts.
    Texts(Vec<String>),
    /// One number.
    Number(f64),
    /// Several numbers.
    Numbers(Vec<f64>),
    /// Something else, by the name of its type.
    Other(String),
}

impl Value {
    /// One number is a number, whatever the attribute's shape.
    pub(super) fn of_numbers(numbers: Vec<f64>) -> Value {
        if let [number] = numbers[..] { Value::Number(number) } else { Value::Numbers(numbers) }
    }

    /// One text is a text, whatever the attribute's shape.
    pub(super) fn of_texts(mut texts: Vec<String>) -> Value {
        match texts.pop() {
            Some(text) if texts.is_empty() => Value::Text(text),
            Some(text) => {
                texts.push(text);
                Value::Texts(texts)
            }
            None => Value::Texts(texts),
        }
    }

    /// The number, where it is one.
    pub fn number(&self) -> Option<f64> {
        if let Value::Number(number) = self { Some(*number) } else { None }
    }

    /// The text, where it is one.
    pub fn text(&self) -> Option<&str> {
        if let Value::Text(text) = self { Some(text) } else { None }
    }
}

/// What a dataset is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Description {
    /// Elements along every dimension; none for a single value.
    pub(super) shape: Vec<u64>,
    /// What an element is.
    pub(super) element: Element,
    /// How the values lie in the file.
    pub(super) layout: Layout,
    /// What was done to every chunk before it was stored, in that order.
    pub(super) filters: Vec<Filter>,
    /// Whether stored elements have the bytes that this machine's numbers have.
    pub(super) plain: bool,
}

/// Why a library does not tell what a dataset is, in its own words.
pub(super) enum Refusal {
    /// There is none of that name, or its header is damaged.
    Absent(String),
    /// It is there, in a form that is not read.
    Unsupported(String),
}

impl Refusal {
    /// The words.
    pub(super) fn reason(self) -> String {
        match self {
            Refusal::Absent(reason) | Refusal::Unsupported(reason) => reason,
        }
    }
}

/// A library that knows a file's structure; failures are said in its own words.
pub(super) trait Structure: Send + Sync {
    /// The path of every dataset, in any order.
    fn names(&self) -> Result<Vec<String>, String>;
    /// What a dataset is.
    fn describe(&self, name: &str) -> Result<Description, Refusal>;
    /// Every stored chunk of a dataset, in any order.
    fn chunks(&self, name: &str) -> Result<Vec<Chunk>, String>;
    /// The values of some rows as this machine's numbers, or fixed texts, read by the library itself.
    fn rows(&self, name: &str, element: &Element, rows: Range<u64>) -> Result<Vec<u8>, String>;
    /// The texts of some rows of a dataset of texts of variable length.
    fn texts(&self, name: &str, rows: Range<u64>) -> Result<Vec<String>, String>;
    /// The attributes of an object.
    fn attributes(&self, name: &str) -> Result<BTreeMap<String, Value>, String>;
}
