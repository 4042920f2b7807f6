//! A TOML text as a tree in which every value knows the line it stands on.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::pipeline::known_options;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A file and its line, counted from 1.
    Line(Arc<str>, usize),
    /// A `--set` on the command line.
    Flag(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Line(file, line) => write!(f, "{file}:{line}"),
            Place::Flag(text) => write!(f, "--set {text}"),
        }
    }
}

/// Something in a pipeline that cannot be meant: where it stands, what is wrong, what was expected.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// Where it stands.
    pub place: Place,
    /// What is wrong and what was expected.
    pub text: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) place: Place,
}

/// A TOML value.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    Number(f64),
    Flag(bool),
    List(Vec<Node>),
    Table(BTreeMap<String, Node>),
}

impl Value {
    /// What the value is, for a message.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Text(_) => "a text",
            Value::Number(_) => "a number",
            Value::Flag(_) => "true or false",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }
}

/// A parsed file with its overrides applied.
#[derive(Clone, Debug)]
pub struct Document {
    /// The file's name, for messages.
    pub file: Arc<str>,
    pub(super) root: Node,
}

impl Document {
    /// Parses a TOML text; every syntax mistake is reported.
    pub fn parse(file: &str, text: &str) -> Result<Self, Vec<Mistake>> {
        let file: Arc<str> = file.into();
        let (table, errors) = DeTable::parse_recoverable(text);
        let source = Source { file: file.clone(), text };
        if errors.is_empty() {
            let place = Place::Line(file.clone(), 1);
            return Ok(Document { root: Node { value: source.table(table.get_ref()), place }, file });
        }
        let mistake = |e: &toml::de::Error| Mistake {
            place: source.place(e.span().map_or(0, |s| s.start)),
            text: format!("this is not TOML: {}", e.message()),
        };
        Err(errors.iter().map(mistake).collect())
    }

    /// Applies `key=value`, where `key` is a dotted path, or the last part of the only one that ends so: of those in the
    /// file, else of those that its stages know.
    pub fn set(&mut self, assignment: &str) -> Result<(), Mistake> {
        let place = Place::Flag(assignment.to_string());
        let mistake = |text: String| Mistake { place: place.clone(), text };
        let (key, value) =
            assignment.split_once('=').ok_or_else(|| mistake("expected key=value, such as state_lead=1".into()))?;
        let value = flag_value(value.trim(), &place);
        let path = self.resolve(key.trim()).map_err(mistake)?;
        insert(&mut self.root, &path, Node { value, place: place.clone() }).map_err(mistake)
    }

    /// Sets the text at a full dotted path.
    pub fn set_text(&mut self, path: &str, text: &str) -> Result<(), Mistake> {
        let place = Place::Flag(format!("{path}={text}"));
        let keys: Vec<String> = path.split('.').map(str::to_string).collect();
        let node = Node { value: Value::Text(text.to_string()), place: place.clone() };
        insert(&mut self.root, &keys, node).map_err(|text| Mistake { place, text })
    }

    /// The path of the one source's `input`.
    ///
    /// # Errors
    /// Where there is not exactly one source, in words.
    pub fn source_input(&self) -> Result<String, String> {
        let table = |node: &Node, key: &str| match &node.value {
            Value::Table(table) => table.get(key).cloned(),
            _ => None,
        };
        match table(&self.root, "sources").map(|sources| sources.value) {
            Some(Value::Table(sources)) if sources.len() == 1 => {
                let name = sources.keys().next().map(String::as_str).unwrap_or_default();
                Ok(format!("sources.{name}.input"))
            }
            _ => Err("--input needs exactly one table [sources.NAME]".into()),
        }
    }

    /// The full path that a key means.
    fn resolve(&self, key: &str) -> Result<Vec<String>, String> {
        let full: Vec<String> = key.split('.').map(str::to_string).collect();
        if full.iter().any(String::is_empty) {
            return Err(format!("`{key}` is no key; expected names joined by dots"));
        }
        let mut paths = Vec::new();
        collect_paths(&self.root, &mut Vec::new(), &mut paths);
        if full.len() > 1 || paths.contains(&full) {
            return Ok(full);
        }
        paths.retain(|p| p.ends_with(&full));
        if paths.is_empty() {
            paths = known_options(self).into_iter().filter(|path| path.ends_with(&full)).collect();
        }
        match paths.len() {
            0 => Ok(full),
            1 => Ok(paths.remove(0)),
            _ => {
                let all: Vec<String> = paths.iter().map(|p| p.join(".")).collect();
                Err(format!("`{key}` could be any of {}; expected one of them in full", all.join(", ")))
            }
        }
    }
}

fn collect_paths(node: &Node, path: &mut Vec<String>, paths: &mut Vec<Vec<String>>) {
    let Value::Table(table) = &node.value else { return };
    for (key, child) in table {
        path.push(key.clone());
        paths.push(path.clone());
        collect_paths(child, path, paths);
        path.pop();
    }
}

fn insert(node: &mut Node, path: &[String], new: Node) -> Result<(), String> {
    let Some((first, rest)) = path.split_first() else {
        *node = new;
        return Ok(());
    };
    let Value::Table(table) = &mut node.value else {
        return Err(format!("`{first}` would stand inside {}; expected a table there", node.value.kind()));
    };
    let empty = Node { value: Value::Table(BTreeMap::new()), place: new.place.clone() };
    insert(table.entry(first.clone()).or_insert(empty), rest, new)
}

/// What a value on the command line means: TOML where it parses, else a plain text.
fn flag_value(text: &str, place: &Place) -> Value {
    let Ok(value) = DeValue::parse(text) else { return Value::Text(text.to_string()) };
    let mut node = Source { file: "".into(), text }.node(value.get_ref(), 0);
    replace_place(&mut node, place);
    node.value
}

fn replace_place(node: &mut Node, place: &Place) {
    node.place = place.clone();
    match &mut node.value {
        Value::List(list) => list.iter_mut().for_each(|n| replace_place(n, place)),
        Value::Table(table) => table.values_mut().for_each(|n| replace_place(n, place)),
        _ => (),
    }
}

struct Source<'a> {
    file: Arc<str>,
    text: &'a str,
}

impl Source<'_> {
    fn place(&self, offset: usize) -> Place {
        let before = self.text.get(..offset).unwrap_or(self.text);
        Place::Line(self.file.clone(), before.matches('\n').count() + 1)
    }

    fn table(&self, table: &DeTable<'_>) -> Value {
        let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
            let key: &Spanned<std::borrow::Cow<'_, str>> = key;
            (key.get_ref().to_string(), self.node(value.get_ref(), key.span().start))
        };
        Value::Table(table.iter().map(entry).collect())
    }

    fn node(&self, value: &DeValue<'_>, offset: usize) -> Node {
        let number = |text: &str, radix| match radix {
            10 => text.replace('_', "").parse().unwrap_or(f64::NAN),
            _ => i64::from_str_radix(text, radix).map_or(f64::NAN, |v| v as f64),
        };
        let converted = match value {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(i) => Value::Number(number(i.as_str(), i.radix())),
            DeValue::Float(x) => Value::Number(number(x.as_str(), 10)),
            DeValue::Boolean(b) => Value::Flag(*b),
            DeValue::Datetime(time) => Value::Text(time.to_string()),
            DeValue::Array(list) => Value::List(list.iter().map(|v| self.node(v.get_ref(), v.span().start)).collect()),
            DeValue::Table(table) => self.table(table),
        };
        Node { value: converted, place: self.place(offset) }
    }
}
