//! Pipelines are checked whole: every mistake at once, each with its place and what was expected.

use std::fs;

use gustfront::config::{Document, Pipeline, Stage};

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
fn a_text_that_is_not_toml_is_told_by_line() {
    let all = mistakes("name = \"p\"\n[sources\n");
    assert!(all[0].starts_with("p.toml:2: this is not TOML"), "{all:?}");
}

#[test]
fn options_are_overridden_by_path_or_by_their_last_part() {
    let mut document = Document::parse("p.toml", &with(SINK)).expect("TOML");
    for set in ["leads=3,6", "sources.hrrr.connections=2", "state_lead=1", "title=My archive"] {
        document.set(set).unwrap_or_else(|mistake| panic!("{mistake}"));
    }
    // `title` is in no table yet: it lands at the top, where nobody knows it.
    let all = Pipeline::check(&document).expect_err("an unknown key");
    assert!(all.len() == 1 && all[0].to_string().starts_with("--set title=My archive: "), "{all:?}");
    let mut document = Document::parse("p.toml", &with(SINK)).expect("TOML");
    document.set("leads=3,6").expect("one such key");
    document.set("sinks.store.title=My archive").expect("a path");
    let pipeline = Pipeline::check(&document).expect("a pipeline");
    let source = pipeline.source().expect("a source");
    assert_eq!(source.leads.as_ref().map(Vec::len), Some(2));
    assert!(matches!(&pipeline.stages[1].stage, Stage::Zarr(o) if o.title.as_deref() == Some("My archive")));
    let ambiguous = document.set("type=x").expect_err("several such keys");
    assert!(ambiguous.to_string().contains("could be any of"), "{ambiguous}");
}
