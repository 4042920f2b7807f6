//! Reads options from a table, gathering every mistake instead of stopping at the first.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::document::{Mistake, Node, Place, Value};

/// What messages call the file's top level.
pub(super) const TOP: &str = "the pipeline";

/// The mistakes found so far.
#[derive(Default)]
pub(super) struct Mistakes(RefCell<Vec<Mistake>>);

impl Mistakes {
    pub(super) fn add(&self, place: &Place, text: String) {
        self.0.borrow_mut().push(Mistake { place: place.clone(), text });
    }

    /// All mistakes in the order of their places.
    pub(super) fn into_sorted(self) -> Vec<Mistake> {
        let mut all = self.0.into_inner();
        all.sort();
        all.dedup();
        all
    }
}

/// One table being read: keys are asked for by name, and what nobody asked for is a mistake.
pub(super) struct Reader<'a> {
    title: String,
    place: &'a Place,
    table: &'a BTreeMap<String, Node>,
    asked: BTreeSet<&'static str>,
    mistakes: &'a Mistakes,
}

impl<'a> Reader<'a> {
    /// A reader of a node that must be a table; `title` is what messages call it.
    pub(super) fn new(title: &str, node: &'a Node, mistakes: &'a Mistakes) -> Option<Self> {
        let Value::Table(table) = &node.value else {
            mistakes.add(&node.place, format!("{title} is {}; expected a table", node.value.kind()));
            return None;
        };
        Some(Reader { title: title.into(), place: &node.place, table, asked: BTreeSet::new(), mistakes })
    }

    /// Where the table starts.
    pub(super) fn place(&self) -> &'a Place {
        self.place
    }

    /// Where a key stands, else where the table starts.
    pub(super) fn place_of(&self, key: &str) -> &'a Place {
        self.table.get(key).map_or(self.place, |n| &n.place)
    }

    /// Records a mistake about a key.
    pub(super) fn mistake(&self, key: &str, text: String) {
        self.mistakes.add(self.place_of(key), format!("{}: {text}", self.title));
    }

    /// The node of a key.
    pub(super) fn node(&mut self, key: &'static str) -> Option<&'a Node> {
        self.asked.insert(key);
        self.table.get(key)
    }

    fn typed<T>(&mut self, key: &'static str, expected: &str, take: impl Fn(&Value) -> Option<T>) -> Option<T> {
        let node = self.node(key)?;
        let taken = take(&node.value);
        if taken.is_none() {
            self.mistake(key, format!("`{key}` is {}; expected {expected}", node.value.kind()));
        }
        taken
    }

    /// A text, if the key is there.
    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        self.typed(key, "a text", |v| match v {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        })
    }

    /// A text that must be there; empty after the mistake is recorded.
    pub(super) fn required_text(&mut self, key: &'static str, example: &str) -> String {
        if !self.table.contains_key(key) {
            self.asked.insert(key);
            self.mistake(key, format!("`{key}` is missing; expected for example {key} = \"{example}\""));
        }
        self.text(key).unwrap_or_default()
    }

    /// A list of texts and numbers, of which a single one is one, as texts; empty where the key is absent.
    pub(super) fn texts_or_numbers(&mut self, key: &'static str) -> Vec<String> {
        self.list(key, "texts or numbers", word).into_iter().map(|(text, _)| text).collect()
    }

    /// A text or a number, as text.
    pub(super) fn text_or_number(&mut self, key: &'static str) -> Option<String> {
        self.typed(key, "a text or a number", word)
    }

    /// A number between two bounds.
    pub(super) fn number(&mut self, key: &'static str, low: f64, high: f64) -> Option<f64> {
        let value = self.typed(key, "a number", |v| match v {
            Value::Number(number) => Some(*number),
            _ => None,
        })?;
        if (low..=high).contains(&value) {
            return Some(value);
        }
        self.mistake(key, format!("`{key}` is {value}; expected a number from {low} to {high}"));
        None
    }

    /// A whole number between two bounds.
    pub(super) fn whole(&mut self, key: &'static str, low: u32, high: u32) -> Option<u32> {
        let value = self.number(key, f64::from(low), f64::from(high))?;
        if value.fract() != 0.0 {
            self.mistake(key, format!("`{key}` is {value}; expected a whole number"));
            return None;
        }
        Some(value as u32)
    }

    /// True or false.
    pub(super) fn flag(&mut self, key: &'static str) -> Option<bool> {
        self.typed(key, "true or false", |v| match v {
            Value::Flag(flag) => Some(*flag),
            _ => None,
        })
    }

    /// A list of texts, of which a single text is one; empty where the key is absent. On the command line commas part
    /// them, and brackets around them may be there or not.
    pub(super) fn texts(&mut self, key: &'static str) -> Vec<(String, &'a Place)> {
        self.list(key, "texts", |value| match value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        })
    }

    fn list(
        &mut self,
        key: &'static str,
        expected: &str,
        take: impl Fn(&Value) -> Option<String>,
    ) -> Vec<(String, &'a Place)> {
        let Some(node) = self.node(key) else { return Vec::new() };
        let Value::List(list) = &node.value else {
            return match take(&node.value) {
                Some(text) => parted(text, &node.place),
                None => {
                    self.mistake(key, format!("`{key}` is {}; expected a list of {expected}", node.value.kind()));
                    Vec::new()
                }
            };
        };
        let one = |n: &'a Node| {
            let taken = take(&n.value).map(|text| (text, &n.place));
            if taken.is_none() {
                self.mistake(key, format!("`{key}` holds {}; expected {expected} only", n.value.kind()));
            }
            taken
        };
        list.iter().filter_map(one).collect()
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&mut self, key: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(key)?;
        let found = choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        if found.is_none() {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            self.mistake(key, format!("`{key}` is `{text}`; expected one of {}", names.join(", ")));
        }
        found
    }

    /// The keys that were asked for.
    pub(super) fn known(&self) -> &BTreeSet<&'static str> {
        &self.asked
    }

    /// Every key nobody asked for is a mistake.
    pub(super) fn finish(self) {
        for (key, node) in self.table.iter().filter(|(key, _)| !self.asked.contains(key.as_str())) {
            let guess = closest(key, self.asked.iter().copied());
            let hint = guess.map(|g| format!("; did you mean `{g}`? Expected")).unwrap_or("; expected".into());
            let known: Vec<&str> = self.asked.iter().copied().collect();
            let text = format!("{}: unknown key `{key}`{hint} one of {}", self.title, known.join(", "));
            let is_set = matches!(node.place, Place::Flag(_)) && text.starts_with(TOP);
            let text = if is_set { text + ", or a path such as sources.NAME.leads" } else { text };
            self.mistakes.add(&node.place, text);
        }
    }
}

/// A text or a number, as text.
fn word(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The parts of a list as the command line has it; a text of a file is one part.
fn parted(text: String, place: &Place) -> Vec<(String, &Place)> {
    if !matches!(place, Place::Flag(_)) {
        return vec![(text, place)];
    }
    let inside = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&text);
    let parts = inside.split(',').map(|part| part.trim().trim_matches(['"', '\'']).to_string());
    parts.filter(|part| !part.is_empty()).map(|part| (part, place)).collect()
}

/// The known name most like a misspelt one, if any is like it at all.
pub(super) fn closest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    known.map(|k| (distance(name, k), k)).min().filter(|(d, k)| *d <= 1 + k.len() / 4).map(|(_, k)| k)
}

/// Edit distance (Levenshtein, 1966).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let next = (diagonal + usize::from(x != y)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], next);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_names_are_guessed() {
        assert_eq!(closest("inptus", ["inputs", "type"].into_iter()), Some("inputs"));
        assert_eq!(closest("colour", ["inputs", "type"].into_iter()), None);
    }
}
