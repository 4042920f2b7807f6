//! What a scan makes of damage between sound messages: every sound one is found, everything else is told of.

use std::time::{Duration, Instant};

use gustfront::formats::grib2::{NoSection, Reason, scan};

use crate::made::{Made, section_ranges, seed, set_length};
use crate::memory::peak;

/// A scan takes some hundredths of a second for [`MANY`] bytes; one whose time is quadratic takes hours.
const GENEROUS: Duration = Duration::from_secs(20);
const MANY: usize = 32 << 20;

/// Bytes and what is wrong with them, for a message behind which more follow.
type Damage = (&'static str, fn(&mut Vec<u8>, behind: &[u8]), fn(&Reason) -> bool);

fn set_total(message: &mut [u8], length: u64) {
    message[8..16].copy_from_slice(&length.to_be_bytes());
}

fn lengthen(message: &mut [u8], by: i64) {
    let length = message.len() as u64;
    set_total(message, length.saturating_add_signed(by));
}

/// What is written over zeros.
type Fill = fn(&mut [u8]);

/// Damage to a message of section 0 to section 8, each with the reason that must be told.
const DAMAGE: [Damage; 12] = [
    (
        "a length that leads to a later 7777",
        |bytes, behind| lengthen(bytes, behind.len() as i64),
        |reason| matches!(reason, Reason::NoSection(NoSection { offset: 703, length: 0x3737_3737, .. })),
    ),
    ("a length one too long", |b, _| lengthen(b, 1), |r| matches!(r, Reason::NoEnd { .. })),
    ("a length one too short", |b, _| lengthen(b, -1), |r| matches!(r, Reason::NoEnd { .. })),
    ("a length into section 1", |b, _| set_total(b, 30), |r| matches!(r, Reason::NoEnd { expected: 30 })),
    ("no length", |b, _| set_total(b, 0), |r| matches!(r, Reason::NoEnd { expected: 0 })),
    ("a length of 2^63", |b, _| set_total(b, 1 << 63), |r| *r == Reason::Truncated { expected: 1 << 63 }),
    ("every bit of the length", |b, _| set_total(b, u64::MAX), |r| *r == Reason::Truncated { expected: u64::MAX }),
    (
        "a section 3 of 2^31 bytes",
        |b, _| b[37] |= 0x80,
        |r| matches!(r, Reason::NoSection(NoSection { number: 3, offset: 37, length: 0x8000_0048, .. })),
    ),
    (
        "a section 9",
        |b, _| b[41] = 9,
        |r| matches!(r, Reason::NoSection(NoSection { number: 9, offset: 37, length: 72, .. })),
    ),
    ("no end", |b, _| drop(b.split_off(b.len() - 4)), |r| matches!(r, Reason::NoEnd { .. })),
    ("bytes lost in the middle", |b, _| drop(b.drain(300..350)), |r| matches!(r, Reason::NoEnd { .. })),
    ("edition 9", |b, _| b[7] = 9, |r| *r == Reason::Edition(9)),
];

#[test]
fn a_damaged_message_does_not_cost_those_behind_it() {
    let sound = seed("simple");
    let behind = [seed("ieee"), seed("several-fields")].concat();
    for (name, damage, expected) in DAMAGE {
        let mut damaged = sound.clone();
        damage(&mut damaged, &behind);
        let bytes = [&sound, &damaged, &behind[..]].concat();
        let (first, found) = (sound.len() + damaged.len(), scan(&bytes));
        let second = first + seed("ieee").len();
        assert_eq!(found.messages, [0..sound.len(), first..second, second..bytes.len()], "{name}: {found:?}");
        let [skipped] = &found.skipped[..] else { panic!("{name}: {:?}", found.skipped) };
        assert_eq!(skipped.range, sound.len()..first, "{name}");
        assert!(expected(&skipped.reason), "{name}: {}", skipped.reason);
        let told = skipped.reason.to_string();
        assert!(["section ", "byte ", "expected"].iter().all(|part| told.contains(part)), "{name}: {told}");
    }
}

#[test]
fn a_start_inside_packed_data_splits_no_message() {
    let mut made = Made::of(&seed("simple"));
    let inner = seed("constant");
    made.section(7)[100..100 + inner.len()].copy_from_slice(&inner);
    let bytes = made.bytes();
    let both = [&bytes[..], &bytes].concat();
    assert_eq!(scan(&both).messages, [0..bytes.len(), bytes.len()..both.len()]);
    assert_eq!(scan(&both).skipped, []);
}

#[test]
fn what_only_looks_like_a_start_is_told_with_the_noise_around_it() {
    let message = seed("simple");
    let noise = b"GRI GRIBGRIB GRIB\0\0\0\x02\0\0\0\0\0\0\0\x02 GRIB\0\0\0\x07 and \x02 GRIB";
    let bytes = [&noise[..], &message, b"\0\0\n", &message, &noise[..9]].concat();
    let found = scan(&bytes);
    assert_eq!(found.messages.len(), 2, "{found:?}");
    let told: Vec<_> = found.skipped.iter().map(|s| (s.range.start, s.reason)).collect();
    let cut = Reason::Truncated { expected: 16 };
    let gap = noise.len() + message.len();
    let tail = gap + 3 + message.len();
    assert_eq!(told[1..], [(gap, Reason::Padding), (tail, Reason::NotGrib), (tail + 4, cut)], "{found:?}");
    assert_eq!(told[0], (0, Reason::NotGrib));
}

/// A message of edition 1: a product of 28 octets without grid or bitmap, data of 12.
fn first_edition() -> Vec<u8> {
    let mut bytes = b"GRIB\0\0\x34\x01".to_vec();
    bytes.extend([&[0, 0, 28][..], &[0; 25], &[0, 0, 12], &[0; 9], b"7777"].concat());
    bytes
}

#[test]
fn messages_of_edition_1_are_passed_over_and_hide_none_of_edition_2() {
    let (old, new) = (first_edition(), seed("simple"));
    let bytes = [&old[..], &new, &old, &new].concat();
    let found = scan(&bytes);
    assert_eq!(found.messages.len(), 2, "{found:?}");
    assert!(found.skipped.iter().all(|s| s.reason == Reason::Edition(1) && s.range.len() == old.len()), "{found:?}");
    let mut lying = bytes.clone();
    let length = (bytes.len() as u32).to_be_bytes();
    lying[4..7].copy_from_slice(&length[1..]);
    assert_eq!(scan(&lying), found, "a length up to the last message's 7777");
}

/// Headers every 16 bytes whose lengths all lead to the same `7777` at the very end.
fn headers_to_the_end(bytes: &mut [u8], every: usize) {
    let end = bytes.len();
    for start in (0..end - 64).step_by(every) {
        bytes[start..start + 8].copy_from_slice(b"GRIB\0\0\0\x02");
        set_total(&mut bytes[start..start + 16], (end - start) as u64);
    }
    bytes[end - 4..].copy_from_slice(b"7777");
}

/// Headers inside sections: the chains of all of them run together and break off at the end.
fn headers_in_one_chain(bytes: &mut [u8]) {
    headers_to_the_end(bytes, 21);
    let end = bytes.len();
    for start in (16..end - 64).step_by(21) {
        bytes[start..start + 5].copy_from_slice(&[0, 0, 0, 21, 7]);
    }
}

#[test]
fn the_time_is_linear_whatever_the_damage() {
    let cases: [(&str, Fill); 5] = [
        ("headers to the end", |bytes| headers_to_the_end(bytes, 16)),
        ("headers in one chain", |bytes| headers_in_one_chain(bytes)),
        ("starts without headers", |bytes| bytes.chunks_exact_mut(4).for_each(|c| c.copy_from_slice(b"GRIB"))),
        ("nothing but zeros", |_| ()),
        ("starts of edition 1", |bytes| {
            bytes.chunks_exact_mut(16).for_each(|c| c.copy_from_slice(b"GRIB\xff\xff\xff\x01\0\0\x1c\0\0\0\0\xc0"));
        }),
    ];
    for (name, fill) in cases {
        let mut bytes = vec![0; MANY];
        fill(&mut bytes);
        let sound = seed("simple");
        bytes.extend_from_slice(&sound);
        let start = Instant::now();
        let (found, held) = peak(|| scan(&bytes));
        let taken = start.elapsed();
        println!("{name}: {} ms, {} kB held, {} stretches", taken.as_millis(), held / 1000, found.skipped.len());
        assert!(taken < GENEROUS, "{name}: {taken:?}");
        assert!(held < 1 << 20, "{name}: {held} bytes held");
        assert_eq!(found.messages.last(), Some(&(MANY..bytes.len())), "{name}");
    }
}

#[test]
fn a_message_of_very_many_fields_is_found_behind_damage() {
    let mut made = Made::of(&seed("constant"));
    let field: Vec<_> = made.sections.iter().filter(|(number, _)| *number >= 4).cloned().collect();
    (0..20_000).for_each(|_| made.sections.extend(field.iter().cloned()));
    let many = made.bytes();
    let mut damaged = many.clone();
    let last = section_ranges(&damaged).last().expect("a section").start;
    damaged[last + 4] = 9;
    set_length(&mut damaged);
    let bytes = [&damaged[..], &many].concat();
    assert_eq!(scan(&bytes).messages.first(), Some(&(damaged.len()..bytes.len())));
}
