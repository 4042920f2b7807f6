//! A bounded run of the fuzz targets: the seeds, and what structured damage makes of them, the same in every run.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use gustfront::formats::grib2::{Grib2Error, headers, parse_index, scan};

use crate::fuzz_targets::{bits, index, message, packed};
use crate::made::{Made, seeds};

/// Damaged inputs a target is given.
const CASES: u32 = 100_000;
/// Numbers that lengths and counts break on.
const NUMBERS: [u32; 14] =
    [0, 1, 2, 4, 5, 255, 256, 65_535, 1 << 25, 1_000_000_000, i32::MAX as u32, 1 << 31, u32::MAX - 1, u32::MAX];

/// One thing done to bytes.
#[derive(Clone, Debug)]
enum Change {
    Flip(Index, u8),
    Byte(Index, u8),
    Number(Index, usize),
    Cut(Index, Index),
    Insert(Index, Vec<u8>),
    /// The bytes behind a place taken from another seed, from another place on.
    Splice(Index, usize, Index),
}

/// One thing done to the sections of a message.
#[derive(Clone, Debug)]
enum Restructure {
    /// A change of one section's content, the lengths put right again.
    Content(Index, Change),
    Repeat(Index, Index),
    Remove(Index),
    Renumber(Index, u8),
    /// A section taken from another seed.
    Exchange(Index, usize, Index),
}

fn change() -> impl Strategy<Value = Change> {
    let place = any::<Index>;
    prop_oneof![
        4 => (place(), 0u8..8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        2 => (place(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
        3 => (place(), 0..NUMBERS.len()).prop_map(|(at, number)| Change::Number(at, number)),
        1 => (place(), place()).prop_map(|(from, to)| Change::Cut(from, to)),
        1 => (place(), vec(any::<u8>(), 1..9)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        1 => (place(), any::<usize>(), place()).prop_map(|(at, seed, from)| Change::Splice(at, seed, from)),
    ]
}

fn restructure() -> impl Strategy<Value = Restructure> {
    let place = any::<Index>;
    prop_oneof![
        6 => (place(), change()).prop_map(|(section, change)| Restructure::Content(section, change)),
        1 => (place(), place()).prop_map(|(section, at)| Restructure::Repeat(section, at)),
        1 => place().prop_map(Restructure::Remove),
        1 => (place(), 0u8..9).prop_map(|(section, number)| Restructure::Renumber(section, number)),
        1 => (place(), any::<usize>(), place()).prop_map(|(at, seed, from)| Restructure::Exchange(at, seed, from)),
    ]
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>, seeds: &[(String, Vec<u8>)]) {
        let length = bytes.len();
        if length == 0 {
            return;
        }
        match self {
            Change::Flip(at, bit) => bytes[at.index(length)] ^= 1 << bit,
            Change::Byte(at, byte) => bytes[at.index(length)] = *byte,
            Change::Number(at, number) => {
                let octets = NUMBERS[*number].to_be_bytes();
                bytes.iter_mut().skip(at.index(length)).zip(octets).for_each(|(to, from)| *to = from);
            }
            Change::Cut(from, to) => drop(bytes.drain(from.index(length).min(to.index(length))..to.index(length))),
            Change::Insert(at, new) => drop(bytes.splice(at.index(length)..at.index(length), new.iter().copied())),
            Change::Splice(at, seed, from) => {
                let other = &seeds[seed % seeds.len()].1;
                bytes.truncate(at.index(length));
                bytes.extend_from_slice(&other[from.index(other.len())..]);
            }
        }
    }
}

impl Restructure {
    fn apply(&self, made: &mut Made, seeds: &[(String, Vec<u8>)]) {
        let sections = &mut made.sections;
        let count = sections.len();
        if count == 0 {
            return;
        }
        match self {
            Restructure::Content(section, change) => change.apply(&mut sections[section.index(count)].1, seeds),
            Restructure::Repeat(section, at) => {
                sections.insert(at.index(count), sections[section.index(count)].clone())
            }
            Restructure::Remove(section) => drop(sections.remove(section.index(count))),
            Restructure::Renumber(section, number) => sections[section.index(count)].0 = *number,
            Restructure::Exchange(at, seed, from) => {
                let other = Made::of(&seeds[seed % seeds.len()].1).sections;
                if !other.is_empty() {
                    sections[at.index(count)] = other[from.index(other.len())].clone();
                }
            }
        }
    }
}

/// Gives a target `CASES` damaged inputs, shrinking one that fails.
fn run<T: std::fmt::Debug>(strategy: impl Strategy<Value = T>, case: impl Fn(&T)) {
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let result = runner.run(&strategy, |input| {
        case(&input);
        Ok(())
    });
    result.unwrap_or_else(|e| panic!("{e}"));
}

/// The first value of every seed that has no run lengths, in kelvin.
const FIRST_VALUES: std::ops::Range<f32> = 269.9..273.2;

/// Values of every field, or that its template is not supported.
fn check_fields(name: &str, bytes: &[u8]) {
    let fields = headers(bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
    for field in &fields {
        match field.decode(bytes) {
            Ok(values) => {
                assert_eq!(values.len(), 176, "{name}");
                assert!(FIRST_VALUES.contains(&values[0]) || name == "run-length", "{name}: {}", values[0]);
            }
            Err(error) => assert!(matches!(error, Grib2Error::Unsupported { section: 7, .. }), "{name}: {error}"),
        }
    }
}

#[test]
fn every_seed_is_sound() {
    for (name, bytes) in seeds("message") {
        let messages = scan(&bytes).messages;
        assert!(!messages.is_empty(), "{name}");
        messages.into_iter().for_each(|range| check_fields(&name, &bytes[range]));
        message(&bytes);
    }
    for (name, bytes) in seeds("bits") {
        check_fields(&name, &packed(&bytes).unwrap_or_else(|| panic!("{name} is too short")));
        bits(&bytes);
    }
    for (name, bytes) in seeds("index") {
        assert!(parse_index(&bytes, u64::MAX).is_ok(), "{name}");
        index(&bytes);
    }
}

#[test]
fn damaged_bytes_of_messages() {
    let seeds = seeds("message");
    run((any::<usize>(), vec(change(), 1..5)), |(seed, changes)| {
        let mut bytes = seeds[seed % seeds.len()].1.clone();
        changes.iter().for_each(|change| change.apply(&mut bytes, &seeds));
        message(&bytes);
    });
}

#[test]
fn damaged_sections_in_sound_frames() {
    let seeds: Vec<_> = seeds("message").into_iter().filter(|(_, bytes)| bytes.starts_with(b"GRIB")).collect();
    run((any::<usize>(), vec(restructure(), 1..4)), |(seed, changes)| {
        let mut made = Made::of(&seeds[seed % seeds.len()].1);
        changes.iter().for_each(|change| change.apply(&mut made, &seeds));
        message(&made.bytes());
    });
}

#[test]
fn damaged_packed_values() {
    let seeds = seeds("bits");
    run((any::<usize>(), vec(change(), 1..5)), |(seed, changes)| {
        let mut bytes = seeds[seed % seeds.len()].1.clone();
        changes.iter().for_each(|change| change.apply(&mut bytes, &seeds));
        bits(&bytes);
    });
}

#[test]
fn damaged_indexes() {
    let seeds = seeds("index");
    run((any::<usize>(), vec(change(), 0..5)), |(seed, changes)| {
        let mut bytes = seeds[seed % seeds.len()].1.clone();
        changes.iter().for_each(|change| change.apply(&mut bytes, &seeds));
        index(&bytes);
    });
}
