//! Synthetic HRRR cycles are real files: they parse, their names and indexes are right, and they say what they are.

use gustfront::config::variables;
use gustfront::domain::{Lead, Moment, Slot};
use gustfront::formats::grib2::{headers, parse_index, scan};
use gustfront::sources::synth::{SynthError, SynthOptions, VARIABLES, origin, write_hrrr};
use gustfront::storage::{FileStore, ObjectStore};

/// A store in a folder that lasts as long as the test.
struct Bucket {
    store: FileStore,
    _folder: tempfile::TempDir,
}

fn bucket() -> Bucket {
    let folder = tempfile::tempdir().expect("a temporary folder");
    Bucket { store: FileStore::new(folder.path().to_str().expect("a path in UTF-8")), _folder: folder }
}

fn options() -> SynthOptions {
    SynthOptions {
        start: Moment::from_ymdh(2026, 5, 20, 23).expect("a day"),
        cycles: 2,
        step_hours: 1,
        leads: vec![Lead(0), Lead::hours(2)],
        size: [72, 60],
        seed: 7,
        force: false,
    }
}

fn every_object(store: &FileStore) -> Vec<(String, Vec<u8>)> {
    let listed = store.list("").expect("a listing");
    let read = |key: &str| store.get(key).expect("a read").expect("an object").to_vec();
    listed.into_iter().map(|meta| (meta.key.clone(), read(&meta.key))).collect()
}

#[test]
fn keys_are_those_of_the_bucket() {
    let bucket = bucket();
    let summary = write_hrrr(&bucket.store, &options()).expect("a store that can be written");
    assert_eq!((summary.slots, summary.written, summary.unchanged), (4, 8, 0));
    let grib: Vec<String> =
        every_object(&bucket.store).into_iter().map(|(key, _)| key).filter(|key| key.ends_with(".grib2")).collect();
    let expected =
        [("20260520", "23", "00"), ("20260520", "23", "02"), ("20260521", "00", "00"), ("20260521", "00", "02")]
            .map(|(day, hour, lead)| format!("hrrr.{day}/conus/hrrr.t{hour}z.wrfsfcf{lead}.grib2"));
    assert_eq!(grib, expected);
}

#[test]
fn every_indexed_range_is_the_message_the_index_says() {
    let bucket = bucket();
    write_hrrr(&bucket.store, &options()).expect("a store that can be written");
    let slots = [(23, 0), (23, 2), (24, 0), (24, 2)].map(|(hour, lead)| {
        let midnight = Moment::from_ymdh(2026, 5, 20, 0).expect("a day");
        Slot::new(midnight.plus(Lead::hours(hour)), Lead::hours(lead))
    });
    for (pair, slot) in every_object(&bucket.store).chunks(2).zip(slots) {
        let [(_, grib), (_, index)] = pair else { panic!("an object without its index") };
        let entries = parse_index(index, grib.len() as u64).expect("an index");
        assert_eq!((entries.len(), scan(grib).messages.len(), scan(grib).skipped.len()), (9, 9, 0));
        for (entry, name) in entries.iter().zip(VARIABLES) {
            let bytes = &grib[entry.range.start as usize..entry.range.end as usize];
            let messages = headers(bytes).expect("a message");
            let [message] = &messages[..] else { panic!("one field a message") };
            let variable = variables().get(name).expect("a known variable");
            assert_eq!(format!("{}:{}", entry.variable, entry.level), variable.index);
            assert_eq!(message.codes(), variable.grib);
            assert!(message.product.is_at(variable), "{variable:?}: {:?}", message.product);
            assert_eq!((entry.cycle, message.slot().expect("a lead")), (slot.cycle, slot));
            assert_eq!((message.shape, message.grid_relative), (Some((72, 60)), true));
            assert_eq!(&*message.origin, origin(7));
            assert!(message.origin.starts_with("SYNTHETIC"));
            let window = if slot.lead.0 == 0 { "anl".to_string() } else { "2 hour fcst".to_string() };
            assert_eq!(entry.window, window);
        }
    }
}

#[test]
fn written_values_keep_the_laws_of_the_atmosphere() {
    let bucket = bucket();
    write_hrrr(&bucket.store, &options()).expect("a store that can be written");
    for (key, grib) in every_object(&bucket.store).iter().filter(|(key, _)| key.ends_with(".grib2")) {
        let decode = |k: usize| {
            let bytes = &grib[scan(grib).messages[k].clone()];
            headers(bytes).expect("a message")[0].decode(bytes).expect("values")
        };
        let fields: Vec<Vec<f32>> = (0..9).map(decode).collect();
        assert!(fields.iter().all(|field| field.len() == 72 * 60), "{key}");
        let [refc, _, t2m, d2m, _, _, cape, cin, _] = &fields[..] else { panic!("nine fields") };
        assert!(t2m.iter().zip(d2m).all(|(t, td)| td <= t), "{key}");
        assert!(cape.iter().all(|v| *v >= 0.0) && cin.iter().all(|v| *v <= 0.0), "{key}");
        assert!(refc.iter().all(|v| (-10.0..=72.1).contains(v)), "{key}");
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let (first, second, other) = (bucket(), bucket(), bucket());
    write_hrrr(&first.store, &options()).expect("a store that can be written");
    write_hrrr(&second.store, &options()).expect("a store that can be written");
    write_hrrr(&other.store, &SynthOptions { seed: 8, ..options() }).expect("a store that can be written");
    assert_eq!(every_object(&first.store), every_object(&second.store));
    for ((key, bytes), (_, others)) in every_object(&first.store).iter().zip(every_object(&other.store)) {
        assert!(*bytes != others || key.ends_with(".idx"), "{key}");
    }
}

#[test]
fn a_cycle_is_the_same_whenever_it_is_made() {
    let (all, one) = (bucket(), bucket());
    write_hrrr(&all.store, &options()).expect("a store that can be written");
    let second = SynthOptions { start: options().start.plus(Lead::hours(1)), cycles: 1, ..options() };
    write_hrrr(&one.store, &second).expect("a store that can be written");
    assert_eq!(every_object(&one.store), every_object(&all.store)[4..]);
    let again = write_hrrr(&all.store, &options()).expect("a store that holds the same");
    assert_eq!((again.written, again.unchanged), (0, 8));
}

#[test]
fn what_it_did_not_write_is_left_alone_unless_forced() {
    let bucket = bucket();
    let foreign = "hrrr.20260520/conus/hrrr.t23z.wrfsfcf00.grib2";
    bucket.store.put(foreign, "not synthetic".into()).expect("a put");
    let refused = write_hrrr(&bucket.store, &options());
    assert!(matches!(&refused, Err(SynthError::Foreign { key, .. }) if key == foreign), "{refused:?}");
    assert_eq!(every_object(&bucket.store), [(foreign.to_string(), b"not synthetic".to_vec())]);
    write_hrrr(&bucket.store, &SynthOptions { force: true, ..options() }).expect("a forced write");
    let other_grid = write_hrrr(&bucket.store, &SynthOptions { size: [50, 50], ..options() });
    assert!(matches!(other_grid, Err(SynthError::Differs { .. })), "{other_grid:?}");
    let other_seed = write_hrrr(&bucket.store, &SynthOptions { seed: 9, ..options() });
    assert!(matches!(other_seed, Err(SynthError::Foreign { .. })), "{other_seed:?}");
}

#[test]
fn options_that_make_no_cycle_are_refused_before_anything_is_written() {
    let bucket = bucket();
    let odd = [
        SynthOptions { cycles: 0, ..options() },
        SynthOptions { step_hours: 0, ..options() },
        SynthOptions { leads: vec![], ..options() },
        SynthOptions { leads: vec![Lead(30)], ..options() },
        SynthOptions { leads: vec![Lead::hours(49)], ..options() },
        SynthOptions { start: Moment(options().start.0 + 60), ..options() },
        SynthOptions { size: [0, 60], ..options() },
        SynthOptions { size: [2000, 60], ..options() },
    ];
    for options in odd {
        assert!(write_hrrr(&bucket.store, &options).is_err(), "{options:?}");
    }
    assert_eq!(every_object(&bucket.store), []);
}
