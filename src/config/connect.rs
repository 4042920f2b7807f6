//! Puts stages in order and checks what flows along every edge between them.

use std::collections::BTreeMap;

use super::document::Place;
use super::pipeline::{Stage, StageNode, Stream};
use super::reader::{Mistakes, closest};
use super::stages::StoreOptions;
use super::tables::variables;

/// Folders of the ledger that are no stage's.
const RESERVED: [&str; 2] = ["rejects", "source"];

/// A stage as it was read, before its inputs are known to exist.
pub(super) struct Draft<'a> {
    pub(super) name: String,
    pub(super) section: &'static str,
    pub(super) kind: String,
    pub(super) stage: Stage,
    pub(super) inputs: Vec<(String, &'a Place)>,
    pub(super) place: Place,
}

/// Sorts stages after their inputs and checks what flows along every edge.
pub(super) fn connect(drafts: Vec<Draft<'_>>, mistakes: &Mistakes, top: &Place) -> Vec<StageNode> {
    check_names(&drafts, mistakes, top);
    let mut remaining = drafts;
    let mut stages: Vec<StageNode> = Vec::new();
    let mut index: BTreeMap<String, usize> = BTreeMap::new();
    while let Some(ready) = remaining.iter().position(|d| d.inputs.iter().all(|(name, _)| index.contains_key(name))) {
        let draft = remaining.remove(ready);
        let inputs: Vec<usize> = draft.inputs.iter().filter_map(|(name, _)| index.get(name).copied()).collect();
        index.insert(draft.name.clone(), stages.len());
        let stage = finish(draft, inputs, &stages, mistakes);
        stages.push(stage);
    }
    report_stuck(&remaining, &index, mistakes);
    if remaining.is_empty() {
        report_unread(&stages, mistakes);
    }
    stages
}

fn check_names(drafts: &[Draft<'_>], mistakes: &Mistakes, top: &Place) {
    for (i, draft) in drafts.iter().enumerate() {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if RESERVED.contains(&draft.name.as_str()) || !draft.name.chars().all(plain) {
            let text = format!(
                "`{}` cannot be a stage's name; expected letters, digits, `_` and `-`, and none of {}",
                draft.name,
                RESERVED.join(", ")
            );
            mistakes.add(&draft.place, text);
        }
        if let Some(first) = drafts[..i].iter().find(|d| d.name == draft.name) {
            let text =
                format!("the name `{}` is taken by {}.{}; expected another", draft.name, first.section, first.name);
            mistakes.add(&draft.place, text);
        }
    }
    check_paths(drafts, mistakes);
    match drafts.iter().filter(|d| d.section == "sources").collect::<Vec<_>>()[..] {
        [_] => (),
        [] => {
            mistakes.add(top, "no source; expected one table [sources.NAME] with type = \"hrrr\" or \"sevir\"".into())
        }
        [_, second, ..] => mistakes.add(&second.place, "a second source; expected exactly one".into()),
    }
}

/// No two sinks may write into each other's folders.
fn check_paths(drafts: &[Draft<'_>], mistakes: &Mistakes) {
    let inside = |a: &str, b: &str| a == b || a.strip_prefix(b).is_some_and(|rest| rest.starts_with('/'));
    for (i, draft) in drafts.iter().enumerate() {
        let Some(path) = draft.stage.path() else { continue };
        let shares = |d: &&Draft<'_>| d.stage.path().is_some_and(|other| inside(path, other) || inside(other, path));
        if let Some(other) = drafts[..i].iter().find(shares) {
            let text = format!(
                "`{path}` of sinks.{} and the path of sinks.{} overlap; expected folders apart",
                draft.name, other.name
            );
            mistakes.add(&draft.place, text);
        }
    }
}

fn report_stuck(remaining: &[Draft<'_>], index: &BTreeMap<String, usize>, mistakes: &Mistakes) {
    for draft in remaining {
        for (name, place) in draft.inputs.iter().filter(|(name, _)| !index.contains_key(name)) {
            if remaining.iter().any(|d| d.name == *name) {
                let text = format!(
                    "{}.{}: its input `{name}` depends on it or on another circle; expected no circles",
                    draft.section, draft.name
                );
                mistakes.add(place, text);
                continue;
            }
            let known = index.keys().map(String::as_str).chain(remaining.iter().map(|d| d.name.as_str()));
            let guess = closest(name, known).map(|g| format!("; did you mean `{g}`?")).unwrap_or_default();
            mistakes.add(place, format!("{}.{}: there is no stage `{name}`{guess}", draft.section, draft.name));
        }
    }
}

fn report_unread(stages: &[StageNode], mistakes: &Mistakes) {
    for (i, stage) in stages.iter().enumerate() {
        if stage.stream != Stream::Nothing && !stages.iter().any(|s| s.inputs.contains(&i)) {
            mistakes.add(
                &stage.place,
                format!(
                    "`{}` emits {} that no stage reads; expected a stage with it in `inputs`",
                    stage.name, stage.stream
                ),
            );
        }
    }
}

fn finish(draft: Draft<'_>, inputs: Vec<usize>, stages: &[StageNode], mistakes: &Mistakes) -> StageNode {
    let streams: Vec<Stream> = inputs.iter().map(|i| stages[*i].stream).collect();
    let stream = emits(&draft.stage, &streams).unwrap_or_else(|expected| {
        let got: Vec<String> = streams.iter().map(Stream::to_string).collect();
        let got = if got.is_empty() { "nothing".into() } else { got.join(" and ") };
        let text = format!("{}.{}: reads {got}; expected {expected}", draft.section, draft.name);
        mistakes.add(draft.inputs.first().map_or(&draft.place, |(_, place)| place), text);
        fallback(&draft.stage)
    });
    let rotated = inputs.first().is_some_and(|i| stages[*i].earth_winds);
    if matches!(draft.stage, Stage::Regrid(_)) && !rotated && has_winds(stages) {
        let text = format!(
            "{}.{}: winds along one grid's axes are not along another's; expected `rotate_winds` before it",
            draft.section, draft.name
        );
        mistakes.add(&draft.place, text);
    }
    check_codec(&draft, &streams, mistakes);
    let earth_winds = rotated || draft.stage == Stage::RotateWinds;
    let Draft { name, kind, stage, place, .. } = draft;
    StageNode { name: name.into(), kind, stage, inputs, stream, earth_winds, place }
}

/// Only stores of events can be packed in more than one way.
fn check_codec(draft: &Draft<'_>, streams: &[Stream], mistakes: &Mistakes) {
    let of_events = matches!(streams, [Stream::Events { .. }]);
    if let (Stage::Zarr(StoreOptions { codec: Some(_), .. }), false) = (&draft.stage, of_events) {
        let text = format!("{}.{}: `codec` is for storm events; expected none", draft.section, draft.name);
        mistakes.add(&draft.place, text);
    }
}

/// Whether the source gives wind components.
fn has_winds(stages: &[StageNode]) -> bool {
    let wind = |name: &str| variables().get(name).is_some_and(|variable| variable.wind.is_some());
    stages
        .iter()
        .any(|s| matches!(&s.stage, Stage::Hrrr(options) if options.variables.iter().any(|(name, _)| wind(name))))
}

/// What a stage emits for what it reads, or what it should have read.
fn emits(stage: &Stage, inputs: &[Stream]) -> Result<Stream, &'static str> {
    use Stream::{Cycles, Events, Forecasts, Nothing, Scores, States, Windows};
    match (stage, inputs) {
        (Stage::Hrrr(options), []) if options.leads.is_some() => Ok(Cycles { normalised: false }),
        (Stage::Hrrr(_), []) => Ok(States { normalised: false }),
        (Stage::Quality | Stage::RotateWinds, [s @ (Cycles { normalised: false } | States { normalised: false })]) => {
            Ok(*s)
        }
        (Stage::Regrid(_), [s @ (Cycles { .. } | States { .. })]) => Ok(*s),
        (Stage::Normalise(_), [Cycles { normalised: false }]) => Ok(Cycles { normalised: true }),
        (Stage::Normalise(_), [States { normalised: false }]) => Ok(States { normalised: true }),
        (Stage::Window(_), [States { .. }]) => Ok(Windows),
        (Stage::Persistence(_), [States { normalised: false }]) => Ok(Forecasts),
        (Stage::Scores(_), [Forecasts, States { normalised: false }]) => Ok(Scores),
        (Stage::Zarr(_), [Cycles { .. } | Windows | Forecasts]) => Ok(Nothing),
        (Stage::Png(_) | Stage::Grib2(_), [Cycles { normalised: false } | Forecasts]) => Ok(Nothing),
        (Stage::Jsonl(_), [Scores]) => Ok(Nothing),
        (Stage::Statistics(_), [Cycles { normalised: false } | States { normalised: false }]) => Ok(Nothing),
        (Stage::Sevir(_), []) => Ok(Events { normalised: false }),
        (Stage::Resize(_), [events @ Events { .. }]) => Ok(*events),
        (Stage::Normalise(_), [Events { normalised: false }]) => Ok(Events { normalised: true }),
        (Stage::Zarr(_), [Events { .. }]) => Ok(Nothing),
        (Stage::Resize(_), _) => Err("one input of storm events"),
        (Stage::Hrrr(_) | Stage::Sevir(_), _) => Err("no inputs"),
        (Stage::Quality | Stage::RotateWinds | Stage::Normalise(_) | Stage::Statistics(_), _) => {
            Err("one input of fields or states in physical units")
        }
        (Stage::Regrid(_), _) => Err("one input of fields or states"),
        (Stage::Window(_), _) => Err("one input of states (a source with leads = \"state\")"),
        (Stage::Persistence(_), _) => Err("one input of states in physical units (a source with leads = \"state\")"),
        (Stage::Scores(_), _) => Err("two inputs: forecasts, then the states they are compared with"),
        (Stage::Zarr(_), _) => Err("one input of fields by cycle and lead, windows, forecasts or storm events"),
        (Stage::Png(_) | Stage::Grib2(_), _) => {
            Err("one input of fields by cycle and lead or forecasts, in physical units")
        }
        (Stage::Jsonl(_), _) => Err("one input of scores"),
    }
}

/// What a stage would have emitted had its inputs been right, so that one mistake is told once.
fn fallback(stage: &Stage) -> Stream {
    match stage {
        Stage::Window(_) => Stream::Windows,
        Stage::Persistence(_) => Stream::Forecasts,
        Stage::Scores(_) => Stream::Scores,
        Stage::Zarr(_) | Stage::Png(_) | Stage::Grib2(_) | Stage::Jsonl(_) | Stage::Statistics(_) => Stream::Nothing,
        Stage::Normalise(_) => Stream::States { normalised: true },
        Stage::Sevir(_) | Stage::Resize(_) => Stream::Events { normalised: false },
        _ => Stream::States { normalised: false },
    }
}
