//! Events read from HDF5 files, and everything that may be wrong with those.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use gustfront::domain::{Event, FRAMES, Levels, Modality};
use gustfront::sources::RejectReason;
use gustfront::sources::sevir::{EventError, EventSource, LightningBins, Sevir, SevirOptions};
use gustfront::storage::FileStore;

use super::files::{Line, catalog, create, write_dense, write_ids, write_points};

/// SEVIR in a folder, by its own catalogue.
pub(super) fn open(folder: &Path, options: SevirOptions) -> Sevir {
    Sevir::open(Arc::new(FileStore::new(folder.to_str().expect("a path"))), options).expect("a catalogue")
}

pub(super) fn event(sevir: &Sevir, id: &str) -> Arc<Event> {
    sevir.events().iter().find(|event| &*event.id == id).expect("an event").clone()
}

fn write_catalog(folder: &Path, lines: &[Line]) {
    fs::write(folder.join("CATALOG.csv"), catalog(lines)).expect("a catalogue");
}

fn failure(sevir: &Sevir, id: &str, modality: Modality) -> EventError {
    sevir.read(&event(sevir, id), modality).expect_err("no cube")
}

const TIME: &str = "2019-02-03 04:05:06";

#[test]
fn every_value_is_read_to_its_frame_row_and_column() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |modality: Modality| folder.path().join(format!("data/{modality}/2019/SEVIR.h5"));
    let level = |event, y, x, frame| ((event * 7 + y * 31 + x * 17 + frame * 5) % 251) as u8;
    let code = |event, y, x, frame| (event * 7000 + y * 100 + x * 3 + frame * 11) as i16;
    // One identifier ends in NULs, one in spaces.
    write_dense(&file(Modality::Vil), Modality::Vil, &["S5", "S1      ", "S2"], level);
    write_dense(&file(Modality::Ir069), Modality::Ir069, &["S2", "S1"], code);
    let lines =
        [(Modality::Vil, "S1", 1), (Modality::Vil, "S2", 2), (Modality::Ir069, "S1", 1), (Modality::Ir069, "S2", 0)];
    write_catalog(folder.path(), &lines.map(|(modality, id, index)| Line::new(id, TIME, modality, index)));
    let sevir = open(folder.path(), SevirOptions::default());
    for (modality, id, index) in lines {
        let cube = sevir.read(&event(&sevir, id), modality).expect("a cube");
        let size = modality.size();
        assert_eq!(cube.size, size);
        let places = (0..FRAMES).flat_map(|t| (0..size).flat_map(move |y| (0..size).map(move |x| (t, y, x))));
        match &cube.levels {
            Levels::U8(values) => {
                assert_eq!(values.len(), FRAMES * size * size);
                assert!(places.zip(values).all(|((t, y, x), value)| *value == level(index, y, x, t)));
            }
            Levels::I16(values) => {
                assert_eq!(values.len(), FRAMES * size * size);
                assert!(places.zip(values).all(|((t, y, x), value)| *value == code(index, y, x, t)));
            }
        }
    }
}

#[test]
fn lightning_is_found_by_its_event_and_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("data/lght/2019/SEVIR.h5");
    let points = [[-7200.0, 38.0, -98.0, 3.5, 2.1], [299.0, 38.0, -98.0, 47.9, 0.0], [0.0, 38.0, -98.0, 48.0, 0.0]];
    write_points(&file, &[("R9", &[]), ("S1", &points)]);
    // The row number of lightning means nothing.
    let lines = ["S1", "R9", "R8"].map(|id| Line::new(id, TIME, Modality::Lght, 0));
    write_catalog(folder.path(), &lines);
    let sevir = open(folder.path(), SevirOptions::default());
    let counts = |sevir: &Sevir, id| match sevir.read(&event(sevir, id), Modality::Lght).expect("a cube").levels {
        Levels::I16(counts) => counts,
        Levels::U8(_) => panic!("counts have 16 bits"),
    };
    let of = |counts: &[i16]| {
        counts.iter().enumerate().filter(|(_, n)| **n != 0).map(|(at, n)| (at, *n)).collect::<Vec<_>>()
    };
    assert_eq!(of(&counts(&sevir, "S1")), [(2 * 48 + 3, 1), (24 * 48 * 48 + 47, 1)]);
    assert_eq!(of(&counts(&sevir, "R9")), []);
    let before = open(folder.path(), SevirOptions { lightning: LightningBins::Before, ..SevirOptions::default() });
    assert_eq!(of(&counts(&before, "S1")), [((48 + 2) * 48 + 3, 1), (25 * 48 * 48 + 47, 1)]);
    let absent = failure(&sevir, "R8", Modality::Lght);
    assert!(absent.reason == RejectReason::MissingData && absent.to_string().contains("lght of R8"), "{absent}");
}

#[test]
fn what_the_catalogue_and_the_file_disagree_on_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let ir = |name: &str| folder.path().join("data").join(name);
    write_dense(&ir("good.h5"), Modality::Ir107, &["S1", "S2"], |_, _, _, frame| frame as i16);
    // VIL in place of infrared, bytes in place of 16 bits, other shapes, identifiers that are too few or missing.
    write_dense(&ir("other.h5"), Modality::Ir069, &["S1"], |_, _, _, _| 0_i16);
    write_dense(&ir("bytes.h5"), Modality::Ir107, &["S1"], |_, _, _, _| 0_u8);
    for (name, shape, ids) in [
        ("frames.h5", vec![1, 192, 192, 48], Some(vec!["S1"])),
        ("order.h5", vec![49, 1, 192, 192], Some(vec!["S1"])),
        ("flat.h5", vec![192], Some(vec!["S1"])),
        ("few.h5", vec![2, 192, 192, 49], Some(vec!["S1"])),
        ("none.h5", vec![1, 192, 192, 49], None),
    ] {
        let file = create(&ir(name));
        file.new_dataset::<i16>().shape(shape).create("ir107").expect("a dataset");
        ids.iter().for_each(|ids| write_ids(&file, ids));
    }
    for (name, fill) in [("never.h5", None), ("other_fill.h5", Some(5_i16)), ("missing_fill.h5", Some(i16::MIN))] {
        let file = create(&ir(name));
        let dataset = file.new_dataset::<i16>().chunk((1, 192, 192, 7)).shape((1, 192, 192, 49));
        let dataset = if let Some(fill) = fill { dataset.fill_value(fill) } else { dataset };
        dataset.create("ir107").expect("a dataset");
        write_ids(&file, &["S1"]);
    }
    let linked = create(&ir("linked.h5"));
    linked.link_external("good.h5", "/ir107", "ir107").expect("a link");
    write_ids(&linked, &["S1", "S2"]);
    drop(linked);
    fs::write(ir("text.h5"), "no HDF5 at all").expect("a file");
    let whole = fs::read(ir("good.h5")).expect("a file");
    // The length that the file says it has is longer now.
    fs::write(ir("cut.h5"), &whole[..whole.len() / 2]).expect("a file");
    let cases = [
        ("good.h5", 0, None),
        ("good.h5", 1, Some((RejectReason::Contradiction, "row 1 is of `S2`"))),
        ("good.h5", 2, Some((RejectReason::Contradiction, "names row 2; the file has 2"))),
        ("other.h5", 0, Some((RejectReason::MissingData, "`ir107`"))),
        ("bytes.h5", 0, Some((RejectReason::WrongShape, "holds uint8; expected int16"))),
        ("frames.h5", 0, Some((RejectReason::WrongShape, "1×192×192×48"))),
        ("order.h5", 0, Some((RejectReason::WrongShape, "49×1×192×192"))),
        ("flat.h5", 0, Some((RejectReason::WrongShape, "expected events×192×192×49"))),
        ("few.h5", 0, Some((RejectReason::WrongShape, "1 entries for 2 rows"))),
        ("none.h5", 0, Some((RejectReason::MissingData, "`id`"))),
        ("never.h5", 0, Some((RejectReason::MissingData, "never written"))),
        ("other_fill.h5", 0, Some((RejectReason::MissingData, "a fill value of -32768"))),
        ("missing_fill.h5", 0, None),
        ("linked.h5", 0, Some((RejectReason::Unsupported, "one file alone"))),
        ("text.h5", 0, Some((RejectReason::Unreadable, "text.h5"))),
        ("cut.h5", 0, Some((RejectReason::Unreadable, "cut.h5"))),
        ("absent.h5", 0, Some((RejectReason::MissingData, "absent.h5"))),
    ];
    for (file, index, expected) in cases {
        let line = Line { file: file.into(), ..Line::new("S1", TIME, Modality::Ir107, index) };
        write_catalog(folder.path(), &[line]);
        let sevir = open(folder.path(), SevirOptions::default());
        let Some((reason, told)) = expected else {
            assert!(sevir.read(&event(&sevir, "S1"), Modality::Ir107).is_ok());
            continue;
        };
        for _ in 0..2 {
            let found = failure(&sevir, "S1", Modality::Ir107);
            assert_eq!(
                (found.reason, &*found.event, found.modality),
                (reason, "S1", Modality::Ir107),
                "{file}: {found}"
            );
            assert!(found.to_string().contains(told), "{file}: {found}");
        }
        let absent = failure(&sevir, "S1", Modality::Vil);
        assert!(absent.reason == RejectReason::MissingData && absent.detail.contains("no such row"));
    }
}

#[test]
fn points_of_another_shape_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = create(&folder.path().join("data/lght/2019/SEVIR.h5"));
    file.new_dataset::<f64>().shape((3, 4)).create("S1").expect("a dataset");
    file.new_dataset::<f64>().shape(5).create("S2").expect("a dataset");
    write_ids(&file, &["S3"]);
    drop(file);
    write_catalog(folder.path(), &["S1", "S2", "id"].map(|id| Line::new(id, TIME, Modality::Lght, 0)));
    let sevir = open(folder.path(), SevirOptions::default());
    for (id, told) in [("S1", "3×4"), ("S2", "expected points×5"), ("id", "expected points×5")] {
        let found = failure(&sevir, id, Modality::Lght);
        assert!(found.reason == RejectReason::WrongShape && found.to_string().contains(told), "{found}");
    }
}

#[test]
fn more_files_than_are_kept_open_can_be_read_in_any_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let name = |at: usize| format!("S{at}");
    let lines: Vec<Line> = (0..60)
        .map(|at| {
            let file = folder.path().join(format!("data/{at}.h5"));
            write_points(&file, &[(&name(at), &vec![[0.0, 38.0, -98.0, 1.0, 1.0]; at])]);
            Line { file: format!("{at}.h5"), ..Line::new(&name(at), TIME, Modality::Lght, 0) }
        })
        .collect();
    write_catalog(folder.path(), &lines);
    let sevir = open(folder.path(), SevirOptions::default());
    let flashes = |at: usize| match sevir.read(&event(&sevir, &name(at)), Modality::Lght).expect("a cube").levels {
        Levels::I16(counts) => counts.iter().map(|n| *n as usize).sum::<usize>(),
        Levels::U8(_) => panic!("counts have 16 bits"),
    };
    let orders = [1_usize, 7, 59].map(|step| (0..60).map(move |at| at * step % 60));
    std::thread::scope(|scope| {
        for order in orders {
            scope.spawn(move || order.for_each(|at| assert_eq!(flashes(at), at)));
        }
    });
}
