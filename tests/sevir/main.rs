//! SEVIR's catalogue, splits, reading and transforms, against recomputations from the rules and with every kind of damage.

mod compare;
#[path = "../common/data.rs"]
mod data;
mod files;
mod glm;
mod leaks;
#[allow(dead_code, unreachable_pub, reason = "other test files use more of it")]
#[path = "../common/python.rs"]
mod python;
mod reading;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use files::{HEADER, Line, catalog, offsets};
use gustfront::domain::{Event, Modality, Moment, Period};
use gustfront::sources::sevir::{
    Catalog, EventFilter, EventSource, SetAside, Sevir, SevirOptions, Split, SplitRule, group,
};
use gustfront::sources::{RejectReason, SourceError};
use gustfront::storage::FileStore;

/// The events of a catalogue's text, and what was set aside.
fn read(text: &str, filter: EventFilter) -> (Vec<Arc<Event>>, Vec<SetAside>) {
    let folder = tempfile::tempdir().expect("a folder");
    let objects = Arc::new(FileStore::new(folder.path().to_str().expect("a path")));
    let options = SevirOptions { filter, ..SevirOptions::default() };
    let sevir = Sevir::with_catalog(objects, text.as_bytes(), options).expect("a catalogue");
    (sevir.events().to_vec(), sevir.set_aside().to_vec())
}

fn ids(events: &[Arc<Event>]) -> Vec<&str> {
    events.iter().map(|event| &*event.id).collect()
}

#[test]
fn every_mangled_row_is_set_aside_with_its_line_and_the_rest_is_kept() {
    let good = Line::new("S1", "2019-02-03 04:05:06", Modality::Vil, 3).text();
    let with = |from: &str, to: &str| good.replacen(from, to, 1).replacen("S1", "S2", 1);
    let shorter = offsets(-121).rsplit_once(':').expect("offsets").0.to_string();
    let falling = offsets(-121).replacen("-116", "-122", 1);
    let bad = [
        ("fields", format!("{},more", with("", ""))),
        ("fields", with(",Hail", "")),
        ("time_utc", with("2019-02-03", "2019-02-31")),
        ("time_utc", with("2019-02-03 04:05:06", "NaT")),
        ("no modality", with(",vil,", ",vli,")),
        ("minute_offsets", with(&offsets(-121), &shorter)),
        ("minute_offsets", with(&offsets(-121), &format!("{}:200", offsets(-121)))),
        ("minute_offsets", with(&offsets(-121), &falling)),
        ("minute_offsets", with(&offsets(-121), "")),
        ("minute_offsets", with("-116:", "-116.5:")),
        ("minute_offsets", with(&offsets(-121), &vec!["0"; 49].join(":"))),
        ("minute_offsets", with(&offsets(-121), &offsets(29_000))),
        ("minute_offsets", with(&offsets(-121), &offsets(-32_768))),
        ("minute_offsets", with(&offsets(-121), &every_ten_minutes())),
        ("time_utc", with("2019-02-03", "9999-01-01")),
        ("time_utc", with("2019-02-03", "1969-12-31")),
        ("corners", with(",-96.5,", ",196.5,")),
        ("corners", with(",33,-96.5,", ",93,-96.5,")),
        ("corners", with(",33,-96.5,", ",inf,-96.5,")),
        ("file_index", with(".h5,3,", ".h5,-3,")),
        ("file_index", with(".h5,3,", ".h5,3.5,")),
        ("file_name", with("vil/2019", "../2019")),
        ("file_name", with("vil/2019/SEVIR.h5", "")),
        ("corners", with(",29.5,", ",,")),
        ("corners", with(",29.5,", ",89.5,")),
        ("corners", with(",29.5,", ",nan,")),
        ("proj", with("+lat_0=38", "+lat_0=39")),
        ("size_x", with(",384,384,", ",384,192,")),
        ("pct_missing", with(",,,0.0", ",,,1.01")),
        ("pct_missing", with(",,,0.0", ",,,")),
        ("id", good.replacen("S1", "", 1)),
        ("id", good.replacen("S1", "S/1", 1)),
        ("fields", "\"a quote that never ends,S2,vil".to_string()),
    ];
    let mut text = format!("\u{feff}{HEADER}\r\n");
    for (_, row) in &bad {
        text += &format!("{row}\r\n\n");
    }
    let (events, set_aside) = read(&format!("{text}{good}"), EventFilter::default());
    assert_eq!(ids(&events), ["S1"]);
    assert_eq!(set_aside.len(), bad.len());
    for (at, (found, (expected, _))) in set_aside.iter().zip(&bad).enumerate() {
        assert_eq!((found.line, found.reason), (2 * at + 2, RejectReason::BadRow));
        assert!(found.detail.contains(expected), "{expected}: {}", found.detail);
    }
}

fn every_ten_minutes() -> String {
    (0..49).map(|frame| (10 * frame - 120).to_string()).collect::<Vec<_>>().join(":")
}

#[test]
fn real_oddities_of_rows_are_taken() {
    let base = |id, time| Line::new(id, time, Modality::Vil, 3);
    // A scan that was lost is the one before it once more; the satellite's clock slips by a minute.
    let lost = offsets(-124).replacen("-119:-114:", "-124:-109:", 1).replacen("-104", "-103", 1);
    let lines = [base("S1", "2019-02-03 04:05:06Z"), Line { offsets: lost, ..base("S2", "2019-02-03T04:05:07.5Z") }];
    let (events, set_aside) = read(&catalog(&lines), EventFilter::default());
    assert_eq!((ids(&events), set_aside), (vec!["S1", "S2"], vec![]));
    assert_eq!(events[0].time.calendar().to_string(), "2019-02-03 04:05:06 UTC");
    assert_eq!(
        events[1].parts[&Modality::Vil].minutes.map(|minutes| minutes[..5].to_vec()),
        Some(vec![-124, -124, -109, -109, -103])
    );
}

#[test]
fn bytes_that_are_no_text_cost_their_own_line() {
    let good = Line::new("S1", "2019-02-03 04:05:06", Modality::Vil, 3).text();
    let text = [format!("{HEADER}\n").as_bytes(), b"\xff\xfe,S2\n", good.as_bytes()].concat();
    let catalog = Catalog::parse("here", &text).expect("a catalogue");
    assert_eq!((catalog.rows.len(), catalog.set_aside.len()), (1, 1));
    assert_eq!((catalog.rows[0].line, catalog.set_aside[0].line), (3, 2));
}

#[test]
fn a_catalogue_without_its_columns_is_refused() {
    let twice = format!("{HEADER},id\n");
    for (text, told) in [
        ("", "lacks the columns id"),
        ("id,file_name\nS1,x", "file_index"),
        ("\u{1f}\u{8b}", "lacks"),
        (&format!("{HEADER}\n\n"), "has no rows"),
        (&twice, "names the column `id` twice"),
    ] {
        let error = Catalog::parse("s3://here", text.as_bytes()).expect_err("no catalogue");
        assert!(matches!(error, SourceError::Catalog { .. }));
        assert!(error.to_string().contains("s3://here") && error.to_string().contains(told), "{error}");
    }
}

#[test]
fn columns_may_come_in_any_order_and_without_the_unnamed_one() {
    let line = Line::new("S1", "2019-02-03 04:05:06", Modality::Ir069, 3);
    let reversed = |text: &str| text.split(',').rev().collect::<Vec<_>>().join(",");
    let text =
        format!("{}\n{}\n", reversed(HEADER).trim_end_matches(','), reversed(&line.text()).trim_end_matches(",7"));
    let (plain, _) = read(&catalog(&[line]), EventFilter::default());
    let (turned, set_aside) = read(&text, EventFilter::default());
    assert_eq!((&turned, set_aside), (&plain, vec![]));
    let (old, set_aside) = read(&text.replace('\n', "\r"), EventFilter::default());
    assert_eq!((old, set_aside), (plain, vec![]));
}

#[test]
fn contradicting_rows_set_the_event_aside() {
    let base = |modality| Line::new("S1", "2019-02-03 04:05:06", modality, 3);
    let other = Line::new("S2", "2019-02-01 00:00:00", Modality::Vil, 0);
    let vil = base(Modality::Vil);
    for (second, reason, told) in [
        (Line { time: "2019-02-03 04:05:07".into(), ..base(Modality::Vis) }, RejectReason::Contradiction, "time"),
        (
            Line { corners: [29.51, -100.25, 33.0, -96.5], ..base(Modality::Vis) },
            RejectReason::Contradiction,
            "corners",
        ),
        (Line { kind: "Flood".into(), ..base(Modality::Vis) }, RejectReason::Contradiction, "kind"),
        (Line { index: "4".into(), ..base(Modality::Vil) }, RejectReason::Duplicate, "another row of vil"),
    ] {
        let (events, set_aside) = read(&catalog(&[vil.clone(), other.clone(), second]), EventFilter::default());
        assert_eq!(ids(&events), ["S2"]);
        let [found] = &set_aside[..] else { panic!("{set_aside:?}") };
        assert_eq!((found.line, &*found.event, found.reason), (4, "S1", reason));
        assert!(found.detail.contains(told) && found.detail.contains("line 2"), "{}", found.detail);
    }
    let unkind = Line { kind: String::new(), ..base(Modality::Vis) };
    let (events, set_aside) = read(&catalog(&[unkind, vil.clone(), vil]), EventFilter::default());
    assert_eq!((events.len(), events[0].parts.len(), &*events[0].kind), (1, 2, "Hail"));
    assert_eq!((set_aside.len(), set_aside[0].line, set_aside[0].reason), (1, 4, RejectReason::Duplicate));
}

#[test]
fn filters_take_what_they_say() {
    let line = |id: &str, time: &str, modality, missing: &str| Line {
        missing: missing.into(),
        ..Line::new(id, &format!("{time} 12:00:00"), modality, 0)
    };
    let lines = [
        line("S1", "2018-03-01", Modality::Vil, "0.0"),
        line("S1", "2018-03-01", Modality::Ir107, "0.5"),
        line("S2", "2019-03-01", Modality::Vil, "0.2"),
        line("R3", "2019-04-01", Modality::Lght, "0.0"),
        Line { kind: "Flash Flood".into(), ..line("S4", "2019-05-01", Modality::Ir107, "0.1") },
    ];
    let taken = |filter| {
        let (events, set_aside) = read(&catalog(&lines), filter);
        assert!(set_aside.is_empty());
        events.iter().map(|event| format!("{} {}", event.id, event.parts.len())).collect::<Vec<_>>()
    };
    let none = EventFilter::default();
    assert_eq!(taken(none.clone()), ["S1 2", "S2 1", "R3 1", "S4 1"]);
    assert_eq!(taken(EventFilter { years: vec![2018], ..none.clone() }), ["S1 2"]);
    let period = Period { from: "2019-03-01T12:00".parse().ok(), to: "2019-04-01T12:00".parse().ok() };
    assert_eq!(taken(EventFilter { period, ..none.clone() }), ["S2 1", "R3 1"]);
    let kinds = vec!["flash flood".into(), "random".into()];
    assert_eq!(taken(EventFilter { kinds, ..none.clone() }), ["R3 1", "S4 1"]);
    let modalities = vec![Modality::Vil, Modality::Lght];
    assert_eq!(taken(EventFilter { modalities, ..none.clone() }), ["S1 1", "S2 1", "R3 1"]);
    assert_eq!(taken(EventFilter { max_missing_share: Some(0.15), ..none.clone() }), ["S1 1", "R3 1", "S4 1"]);
    let require = vec![Modality::Vil, Modality::Ir107];
    assert_eq!(taken(EventFilter { require: require.clone(), ..none.clone() }), ["S1 2"]);
    assert!(taken(EventFilter { require, max_missing_share: Some(0.15), ..none }).is_empty());
}

/// Events at moments around the borders, and a few hundred more of three years.
fn three_years() -> Vec<Event> {
    let borders = ["2018-12-31 23:59:59", "2019-01-01 00:00:00", "2019-05-31 23:59:59", "2019-06-01 00:00:00"];
    let months = (0..36).flat_map(|month| (1..=20).map(move |day| (2017 + month / 12, month % 12 + 1, day)));
    let many = months.map(|(year, month, day)| format!("{year}-{month:02}-{day:02} 03:00:00"));
    let times = borders.into_iter().map(String::from).chain(many);
    let lines = times.enumerate().flat_map(|(at, time)| {
        [Modality::Vil, Modality::Ir107].map(|modality| Line::new(&format!("S{at}"), &time, modality, at))
    });
    let text = catalog(&lines.collect::<Vec<_>>());
    let (events, set_aside) = group(Catalog::parse("here", text.as_bytes()).expect("a catalogue").rows);
    assert!(set_aside.is_empty());
    events
}

#[test]
fn the_published_split_is_by_date_to_the_second() {
    let events = three_years();
    let split = |id: &str| SplitRule::default().split(events.iter().find(|e| &*e.id == id).expect("an event"));
    assert_eq!(["S0", "S1", "S2", "S3"].map(split), [Split::Train, Split::Validation, Split::Validation, Split::Test]);
    let mut counts: BTreeMap<Split, usize> = BTreeMap::new();
    events.iter().for_each(|event| *counts.entry(SplitRule::default().split(event)).or_default() += 1);
    assert_eq!(counts.into_values().collect::<Vec<_>>(), [24 * 20 + 1, 5 * 20 + 2, 7 * 20 + 1]);
    let of =
        |split| events.iter().filter(move |event| SplitRule::default().split(event) == split).map(|event| event.time);
    assert!(
        of(Split::Train).max() < of(Split::Validation).min() && of(Split::Validation).max() < of(Split::Test).min()
    );
}

#[test]
fn no_event_is_in_two_splits_whatever_else_is_in_the_catalogue() {
    let events = three_years();
    for rule in [SplitRule::default(), SplitRule::Id { seed: 5, validation: 0.1, test: 0.2 }] {
        let by_split = |split| -> BTreeSet<&str> {
            events.iter().filter(|event| rule.split(event) == split).map(|event| &*event.id).collect()
        };
        let [train, validation, test] = Split::ALL.map(by_split);
        assert!(train.is_disjoint(&validation) && train.is_disjoint(&test) && validation.is_disjoint(&test));
        assert_eq!(train.len() + validation.len() + test.len(), events.len());
        // A shorter list in another order changes the split of no event.
        let lists = Split::ALL.map(by_split);
        assert!(events.iter().rev().step_by(3).all(|event| lists[rule.split(event) as usize].contains(&*event.id)));
    }
}

#[test]
fn a_split_by_identifier_follows_its_shares_and_its_seed_alone() {
    let events = three_years();
    let splits = |seed| {
        let rule = SplitRule::Id { seed, validation: 0.1, test: 0.2 };
        events.iter().map(|event| rule.split(event)).collect::<Vec<_>>()
    };
    let share = |split| splits(5).iter().filter(|found| **found == split).count() as f64 / events.len() as f64;
    // Three standard deviations of a share of 724 draws are 0.045 at most.
    assert!((share(Split::Test) - 0.2).abs() < 0.045 && (share(Split::Validation) - 0.1).abs() < 0.035);
    assert_eq!(splits(5), splits(5));
    assert_ne!(splits(5), splits(6));
    let moved = |event: &Event| Event { time: Default::default(), parts: BTreeMap::new(), ..event.clone() };
    let rule = SplitRule::Id { seed: 5, validation: 0.1, test: 0.2 };
    assert!(events.iter().all(|event| rule.split(&moved(event)) == rule.split(event)));
    for (validation, test) in [(0.5, 0.6), (-0.1, 0.2), (0.1, -0.2), (f64::NAN, 0.1), (0.1, f64::INFINITY)] {
        assert!(SplitRule::Id { seed: 5, validation, test }.check().is_err(), "{validation} {test}");
    }
    assert!(rule.check().is_ok() && SplitRule::default().check().is_ok());
    let [early, late] = [Moment(1_500_000_000), Moment(1_500_000_001)];
    assert!(SplitRule::Date { validation_from: late, test_from: early }.check().is_err());
    assert!(SplitRule::Date { validation_from: late, test_from: late }.check().is_ok());
}
