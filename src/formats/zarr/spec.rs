//! What a store holds: its axes, grid and variables, and how two such descriptions differ.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::coordinates::is_coordinate;
use crate::domain::{Grid, Lead, Moment};

/// Minutes in a day.
pub(super) const DAY_MINUTES: u32 = 24 * 60;

/// What the root group says of where the values come from, unless the given attributes say it.
const SOURCE: &str = "Gustfront";

/// Attributes that the store itself writes, besides those that begin with [`OWN_PREFIX`].
const OWN_ATTRIBUTES: [&str; 2] = ["Conventions", "title"];

/// Every other attribute of the store's own begins so.
pub(super) const OWN_PREFIX: &str = "gustfront_";

/// What a store holds.
#[derive(Clone, Debug, PartialEq)]
pub struct StoreSpec {
    /// A title for people.
    pub title: String,
    /// The first init; taken to be 00 UTC of its day.
    pub origin: Moment,
    /// The time between inits; a whole number of them makes a day.
    pub step: Lead,
    /// The leads, ascending.
    pub leads: Vec<Lead>,
    /// Where the values are.
    pub grid: Arc<Grid>,
    /// The variables.
    pub variables: Vec<ArraySpec>,
    /// Further attributes of the root group.
    pub attributes: Map<String, Value>,
}

/// One variable of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArraySpec {
    /// The array's name.
    pub name: Arc<str>,
    /// A title for people.
    pub long_name: String,
    /// Units as CF writes them.
    pub units: String,
    /// CF standard name.
    pub standard_name: Option<String>,
}

impl StoreSpec {
    /// This description as it is stored: from midnight on, with a `source`.
    pub(super) fn as_stored(&self) -> StoreSpec {
        let mut spec = StoreSpec { origin: self.origin.midnight(), ..self.clone() };
        spec.attributes.entry("source").or_insert_with(|| SOURCE.into());
        spec
    }

    /// Why no store can be made of this description, and what was expected.
    pub(super) fn mistake(&self) -> Option<String> {
        let checks = [self.axes_mistake(), self.grid_mistake(), self.name_mistake(), self.attribute_mistake()];
        checks.into_iter().flatten().next()
    }

    fn axes_mistake(&self) -> Option<String> {
        let step = self.step.0;
        if !DAY_MINUTES.is_multiple_of(step) {
            return Some(format!("inits {step} minutes apart do not divide a day; expected for example 60 or 360"));
        }
        let ascending = self.leads.windows(2).all(|pair| pair[0] < pair[1]);
        let fine = ascending && !self.leads.is_empty();
        (!fine).then(|| format!("expected one or more leads, ascending and distinct, not {}", list(&self.leads)))
    }

    fn grid_mistake(&self) -> Option<String> {
        self.grid.check().err().map(|error| error.to_string())
    }

    fn name_mistake(&self) -> Option<String> {
        if self.variables.is_empty() {
            return Some("expected one or more variables".into());
        }
        let odd = |name: &str| !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.chars().all(is_name_part);
        let taken = |at: usize, name: &str| self.variables.iter().take(at).any(|v| &*v.name == name);
        let bad =
            self.variables.iter().enumerate().find(|(at, variable)| {
                odd(&variable.name) || is_coordinate(&variable.name) || taken(*at, &variable.name)
            });
        bad.map(|(_, v)| {
            format!(
                "`{}` is no name for a variable: expected letters, digits and `_`, each name once, no coordinate's",
                v.name
            )
        })
    }

    fn attribute_mistake(&self) -> Option<String> {
        let own = |name: &&String| OWN_ATTRIBUTES.contains(&name.as_str()) || name.starts_with(OWN_PREFIX);
        let taken = self.attributes.keys().find(own);
        taken.map(|name| format!("the attribute `{name}` is the store's own; expected another name"))
    }

    /// The first thing in which a stored description differs from this one: what, as stored, as wanted.
    ///
    /// The title is for people and the origin is the store's own: neither is compared.
    pub(super) fn difference(&self, stored: &StoreSpec) -> Option<(String, String, String)> {
        let differs =
            |what: &str, stored: String, wanted: String| (stored != wanted).then(|| (what.to_string(), stored, wanted));
        differs("the step in minutes", stored.step.0.to_string(), self.step.0.to_string())
            .or_else(|| differs("the leads", list(&stored.leads), list(&self.leads)))
            .or_else(|| differs("the grid", format!("{:?}", stored.grid), format!("{:?}", self.grid)))
            .or_else(|| differs("the variables", stored.names(), self.names()))
            .or_else(|| self.variable_difference(stored))
            .or_else(|| self.attribute_difference(stored))
    }

    fn variable_difference(&self, stored: &StoreSpec) -> Option<(String, String, String)> {
        let find = |wanted: &ArraySpec| stored.variables.iter().find(|v| v.name == wanted.name).cloned();
        self.variables.iter().find_map(|wanted| {
            let found = find(wanted).filter(|found| found != wanted)?;
            Some((format!("the variable `{}`", wanted.name), found.in_words(), wanted.in_words()))
        })
    }

    fn attribute_difference(&self, stored: &StoreSpec) -> Option<(String, String, String)> {
        let in_words = |value: Option<&Value>| value.map_or("missing".to_string(), Value::to_string);
        self.attributes.keys().chain(stored.attributes.keys()).find_map(|name| {
            let (found, wanted) = (stored.attributes.get(name), self.attributes.get(name));
            (found != wanted).then(|| (format!("the attribute `{name}`"), in_words(found), in_words(wanted)))
        })
    }

    /// The names of the variables, sorted.
    pub(super) fn names(&self) -> String {
        let mut names: Vec<&str> = self.variables.iter().map(|v| &*v.name).collect();
        names.sort_unstable();
        names.join(", ")
    }
}

impl ArraySpec {
    fn in_words(&self) -> String {
        let standard_name = self.standard_name.as_deref().unwrap_or("none");
        format!("\"{}\" in `{}` with standard_name {standard_name}", self.long_name, self.units)
    }
}

/// Leads in words: `f00, f01, f02`.
pub(super) fn list(leads: &[Lead]) -> String {
    leads.iter().map(Lead::to_string).collect::<Vec<_>>().join(", ")
}

fn is_name_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::super::store::tests::small_spec;
    use super::*;

    fn mistake(change: impl FnOnce(&mut StoreSpec)) -> String {
        let mut spec = small_spec();
        change(&mut spec);
        spec.mistake().unwrap_or_default()
    }

    #[test]
    fn a_description_that_makes_no_store_is_named() {
        assert_eq!(small_spec().mistake(), None);
        assert!(mistake(|s| s.step = Lead(0)).contains("do not divide a day"));
        assert!(mistake(|s| s.step = Lead(7 * 60)).contains("420 minutes"));
        assert!(mistake(|s| s.leads.clear()).contains("one or more leads"));
        assert!(mistake(|s| s.leads.reverse()).contains("ascending"));
        assert!(mistake(|s| s.variables.clear()).contains("variables"));
        assert!(mistake(|s| s.variables[1].name = "t2m".into()).contains("`t2m`"));
        assert!(mistake(|s| s.variables[1].name = "published".into()).contains("`published`"));
        assert!(mistake(|s| s.variables[1].name = "../up".into()).contains("`../up`"));
        assert!(mistake(|s| Arc::make_mut(&mut s.grid).ny = 0).contains("grid"));
        assert!(mistake(|s| Arc::make_mut(&mut s.grid).x0 = f64::NAN).contains("grid"));
        assert!(mistake(|s| drop(s.attributes.insert("title".into(), "mine".into()))).contains("`title`"));
    }

    #[test]
    fn what_differs_is_named() {
        let difference = |change: fn(&mut StoreSpec)| {
            let mut wanted = small_spec();
            change(&mut wanted);
            wanted.difference(&small_spec()).map(|(what, ..)| what)
        };
        assert_eq!(difference(|s| s.title = "another".into()), None);
        assert_eq!(difference(|s| s.origin = Moment(0)), None);
        assert_eq!(difference(|s| s.variables.reverse()), None);
        assert_eq!(difference(|s| s.step = Lead(30)).as_deref(), Some("the step in minutes"));
        assert_eq!(difference(|s| s.leads.truncate(2)).as_deref(), Some("the leads"));
        assert_eq!(difference(|s| Arc::make_mut(&mut s.grid).x0 += 1.0).as_deref(), Some("the grid"));
        assert_eq!(difference(|s| drop(s.variables.pop())).as_deref(), Some("the variables"));
        assert_eq!(difference(|s| s.variables[0].units = "degC".into()).as_deref(), Some("the variable `t2m`"));
        let attribute = difference(|s| drop(s.attributes.insert("institution".into(), "here".into())));
        assert_eq!(attribute.as_deref(), Some("the attribute `institution`"));
    }
}
