//! Pipelines are checked whole: every mistake at once, each with its place and what was expected.

use std::fs;

use gustfront::config::{Document, Pipeline, Stage};
use gustfront::domain::Moment;

fn mistakes(text: &str) -> Vec<String> {
    let checked = Document::parse("p.toml", text).and_then(|document| Pipeline::check(&document).map(|_| ()));
    checked.err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

/// A pipeline with the tables given in place of its sinks.
fn with(tables: &str) -> String {
    format!(
        "name = \"p\"\n[sources.hrrr]\ntype = \"hrrr\"\ninput = \"bucket\"\nrequired = [\"t2m\"]\nleads = \"0-1\"\n{tables}"
    )
}

const SINK: &str = "[sinks.store]\ntype = \"zarr\"\ninputs = [\"hrrr\"]\npath = \"a.zarr\"\n";

#[test]
fn the_pipelines_that_come_with_the_program_are_right() {
    let files: Vec<_> = fs::read_dir("pipelines").expect("the folder").map(|e| e.expect("an entry").path()).collect();
    assert!(files.len() >= 4);
    for file in files {
        let text = fs::read_to_string(&file).expect("a text");
        assert_eq!(mistakes(&text), Vec::<String>::new(), "{}", file.display());
    }
}

#[test]
fn every_mistake_is_told_at_once_with_its_line() {
    let text = "nmae = \"p\"\n[sources.a]\ntype = \"hrrr\"\nrequired = [\"t2m\", \"t3m\"]\nleads = \"5-1\"\nwindow_slots = 0\n\
                [sinks.b]\ntype = \"zar\"\ninputs = [\"c\"]\n";
    let all = mistakes(text);
    for (place, words) in [
        ("p.toml:1: ", "unknown key `nmae`; did you mean `name`?"),
        ("p.toml:1: ", "`name` is missing"),
        ("p.toml:2: ", "`input` is missing"),
        ("p.toml:4: ", "unknown variable `t3m`"),
        ("p.toml:5: ", "`5-1` is no list of leads"),
        ("p.toml:6: ", "`window_slots` is 0; expected a number from 1 to 1024"),
        ("p.toml:8: ", "no type `zar`; did you mean `zarr`?"),
    ] {
        assert!(all.iter().any(|m| m.starts_with(place) && m.contains(words)), "{place}{words} in {all:#?}");
    }
}

#[test]
fn edges_are_checked_for_names_circles_and_kinds() {
    assert_eq!(mistakes(&with(SINK)), Vec::<String>::new());
    for (tables, words) in [
        (
            "[sinks.store]\ntype = \"zarr\"\ninputs = [\"hrr\"]\npath = \"a\"\n",
            "there is no stage `hrr`; did you mean `hrrr`?",
        ),
        (
            "[transforms.a]\ntype = \"qc\"\ninputs = [\"b\"]\n[transforms.b]\ntype = \"qc\"\ninputs = [\"a\"]\n",
            "circle",
        ),
        ("[model.m]\ntype = \"persistence\"\ninputs = [\"hrrr\"]\n", "expected one input of states"),
        ("[transforms.a]\ntype = \"qc\"\ninputs = [\"hrrr\"]\n", "that no stage reads"),
        ("[sinks.store]\ntype = \"zarr\"\ninputs = [\"hrrr\"]\npath = \"../up\"\n", "no place below the output"),
        ("[sinks.hrrr]\ntype = \"zarr\"\ninputs = [\"hrrr\"]\npath = \"a\"\n", "the name `hrrr` is taken"),
    ] {
        let all = mistakes(&with(tables));
        assert!(all.iter().any(|m| m.contains(words)), "{words} in {all:#?}");
    }
}

#[test]
fn storm_events_are_chosen_by_short_names_whole_days_and_seconds() {
    let text = std::fs::read_to_string("pipelines/sevir_backfill.toml").expect("a pipeline");
    let chosen = |sets: &[&str]| {
        let mut document = Document::parse("p.toml", &text).expect("TOML");
        sets.iter().for_each(|set| document.set(set).unwrap_or_else(|mistake| panic!("{mistake}")));
        Pipeline::check(&document).expect("a pipeline").events().expect("events").clone()
    };
    let options = chosen(&["years=2018-2019", "modalities=vil", "kinds=Hail", "to=2018-12-31"]);
    assert_eq!(
        (options.years, options.modalities.len(), options.kinds),
        (vec![2018, 2019], 1, vec!["Hail".to_string()])
    );
    let told = |moment: Option<Moment>| moment.map(|moment| moment.calendar().to_string()).unwrap_or_default();
    assert_eq!(told(options.period.to), "2018-12-31 23:59:59 UTC");
    let options = chosen(&["from=2018-12-31", "to=2018-12-31T06:07:08Z", "validation_from=2019-01-01T00:00:01"]);
    assert_eq!(told(options.period.from), "2018-12-31 00:00:00 UTC");
    assert_eq!(told(options.period.to), "2018-12-31 06:07:08 UTC");
    assert_eq!(told(chosen(&["to=2018-12-31T06"]).period.to), "2018-12-31 06:00:00 UTC");
}

#[test]
fn a_text_that_is_not_toml_is_told_by_line() {
    let all = mistakes("name = \"p\"\n[sources\n");
    assert!(all[0].starts_with("p.toml:2: this is not TOML"), "{all:?}");
}

#[test]
fn options_are_overridden_by_path_or_by_their_last_part() {
    let mut document = Document::parse("p.toml", &with(SINK)).expect("TOML");
    for set in
        ["leads=3,6", "sources.hrrr.connections=2", "state_lead=1", "title=My archive", "optional=t2m", "tilte=x"]
    {
        document.set(set).unwrap_or_else(|mistake| panic!("{mistake}"));
    }
    // What no stage knows lands at the top, where nobody knows it either.
    let all = Pipeline::check(&document).expect_err("an unknown key");
    assert!(all.iter().any(|mistake| mistake.to_string().starts_with("--set tilte=x: ")), "{all:?}");
    let mut document = Document::parse("p.toml", &with(SINK)).expect("TOML");
    // `title` is in no table yet: the one stage that knows it takes it.
    for set in ["leads=3,6", "title=My archive"] {
        document.set(set).unwrap_or_else(|mistake| panic!("{mistake}"));
    }
    let pipeline = Pipeline::check(&document).expect("a pipeline");
    let source = pipeline.source().expect("a source");
    assert_eq!(source.leads.as_ref().map(Vec::len), Some(2));
    assert!(matches!(&pipeline.stages[1].stage, Stage::Zarr(o) if o.title.as_deref() == Some("My archive")));
    let ambiguous = document.set("type=x").expect_err("several such keys");
    assert!(ambiguous.to_string().contains("could be any of"), "{ambiguous}");
}
