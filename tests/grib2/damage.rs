//! Damage everywhere: always values or a reason, never a panic, never more memory or time than the message justifies.

use std::time::{Duration, Instant};

use gustfront::domain::Philox;
use gustfront::formats::grib2::{Message, headers, scan};
use rayon::prelude::*;

use crate::data::{folder, manifest, read};
use crate::made::{Made, section_ranges, seeds, set_length};
use crate::memory::peak;

/// Files up to this size are damaged everywhere, larger ones at samples.
const SMALL: usize = 64 << 10;
/// Messages above this size are left out of the damage that unpacks values.
const LARGE: usize = 256 << 10;
/// Cuts of a larger file, and bytes around its section boundaries that are cuts too.
const SAMPLED_CUTS: usize = 500;
const AROUND: usize = 20;
/// Bytes of a message's beginning, where its headers are.
const HEADER: usize = 260;
/// Points that all damage of one kind to one file may unpack.
const MOST_POINTS: usize = 4 << 20;
/// Fields of more points are described but not unpacked.
const MOST_FIELD_POINTS: usize = 4 << 20;

/// Bytes that describing fields may hold for each byte of the message: a description of a field of 66 bytes takes
/// about 700.
const DESCRIBING: usize = 32;
/// Bytes that unpacking may hold for each point: the values, and a copy of them where columns come first.
const A_POINT: usize = 2 * size_of::<f32>();
/// The same for JPEG 2000: beside the values coefficients, samples and what the codec keeps of blocks; 17 are measured.
const A_JPEG2000_POINT: usize = 24;
/// The same for PNG: beside the values at most four samples of 16 bits, once more where an inflated image is kept.
const A_PNG_POINT: usize = 24;
/// Bytes that anything may hold.
const FREE: usize = 64 << 10;
/// One case takes milliseconds; this is for a machine with many other things to do.
const PATIENCE: Duration = Duration::from_secs(10);

/// Names and bytes of every file that is damaged: the seeds, and real ones where they are.
fn files() -> Vec<(String, Vec<u8>)> {
    let Some(folder) = folder() else { return seeds("message") };
    let manifest = manifest(&folder);
    let paths =
        manifest.files.iter().map(|file| &file.path).filter(|p| p.starts_with("decoder") || p.starts_with("hrrr"));
    let real = paths.filter_map(|path| Some((path.clone(), read(&folder, path)?)));
    seeds("message").into_iter().chain(real.filter(|(_, bytes)| !scan(bytes).messages.is_empty())).collect()
}

/// The first message of each file that is not large, and how many points its fields have.
fn messages() -> Vec<(String, Vec<u8>, usize)> {
    let first = |(name, bytes): (String, Vec<u8>)| {
        let message = bytes[scan(&bytes).messages.first()?.clone()].to_vec();
        let points = headers(&message).ok()?.iter().map(|field| field.points).sum();
        Some((name, message, points)).filter(|(_, message, _)| message.len() <= LARGE)
    };
    files().into_iter().filter_map(first).collect()
}

/// Describes all there is, within bounds of memory and time; how many fields there are.
fn describe_all(name: &str, bytes: &[u8]) -> usize {
    let start = Instant::now();
    let (found, held) = peak(|| scan(bytes));
    assert!(held <= FREE + 8 * bytes.len(), "{name}: a scan of {} bytes held {held}", bytes.len());
    let whole = found.messages.into_iter().map(|range| describe(name, &bytes[range]).len()).sum::<usize>();
    // Also where the message's frame is damaged.
    let fields = whole + describe(name, bytes).len();
    assert!(start.elapsed() < PATIENCE, "{name}: {:?}", start.elapsed());
    fields
}

fn describe(name: &str, message: &[u8]) -> Vec<Message> {
    let (fields, held) = peak(|| headers(message));
    assert!(held <= FREE + DESCRIBING * message.len(), "{name}: describing {} bytes held {held}", message.len());
    let fields = fields.unwrap_or_default();
    let justified = (1 << 25) + 1024 * message.len();
    assert!(fields.iter().all(|field| field.points <= justified), "{name}: more than {justified} points");
    fields
}

/// Unpacks all there is, within bounds of memory and time; how many fields have values.
fn unpack_all(name: &str, message: &[u8]) -> usize {
    let fields = describe(name, message);
    fields.iter().filter(|f| f.points <= MOST_FIELD_POINTS).filter(|field| unpack(name, field, message)).count()
}

fn unpack(name: &str, field: &Message, message: &[u8]) -> bool {
    let start = Instant::now();
    let (values, held) = peak(|| field.decode(message));
    let a_point = match field.packing.template() {
        40 => A_JPEG2000_POINT,
        41 => A_PNG_POINT,
        _ => A_POINT,
    };
    let most = FREE + DESCRIBING * message.len() + a_point * field.points;
    assert!(held <= most, "{name}: unpacking {} points held {held}: {:?}", field.points, field.packing);
    assert!(values.as_ref().map_or(field.points, Vec::len) == field.points, "{name}");
    assert!(start.elapsed() < PATIENCE, "{name}: {:?}", start.elapsed());
    values.is_ok()
}

/// Runs cases `0..count` of damage to a message, unpacking fewer where its fields have many points; how many cases
/// there were, how many had fields, and how many fields had values.
fn run(name: &str, points: usize, count: usize, case: impl Fn(usize) -> Vec<u8> + Sync) -> [usize; 3] {
    let step = (count * points).div_ceil(MOST_POINTS).max(1);
    let one = |number: usize| {
        let (name, bytes) = (format!("{name}, case {number}"), case(number));
        let values = if number.is_multiple_of(step) { unpack_all(&name, &bytes) } else { 0 };
        [1, usize::from(describe_all(&name, &bytes) > 0), values]
    };
    (0..count).into_par_iter().map(one).reduce(|| [0; 3], add)
}

fn add(a: [usize; 3], b: [usize; 3]) -> [usize; 3] {
    std::array::from_fn(|i| a[i] + b[i])
}

/// Runs damage to every message, and prints what came of it.
fn run_all(what: &str, damage: impl Fn(&str, &[u8], usize) -> [usize; 3] + Sync) {
    let start = Instant::now();
    let messages = messages();
    let each = messages.par_iter().map(|(name, message, points)| damage(name, message, *points));
    let [cases, described, values] = each.reduce(|| [0; 3], add);
    println!(
        "{what}: {cases} cases of {} messages, {described} described, {values} fields unpacked, {} ms",
        messages.len(),
        start.elapsed().as_millis()
    );
    assert!(cases > described, "{what}: nothing was damaged");
}

#[test]
fn a_file_cut_anywhere_keeps_the_messages_before_the_cut() {
    files().par_iter().for_each(|(name, bytes)| {
        let whole = scan(bytes);
        cuts(bytes, &whole.messages).into_par_iter().for_each(|cut| {
            let (found, _) = peak(|| scan(&bytes[..cut]));
            let before = whole.messages.iter().filter(|range| range.end <= cut);
            assert!(found.messages.iter().eq(before), "{name} cut to {cut} bytes: {:?}", found.messages);
            if let Some(range) = whole.messages.iter().find(|range| range.contains(&cut)) {
                assert!(headers(&bytes[range.start..cut]).is_err(), "{name} cut to {cut} bytes");
            }
        });
    });
}

/// Every byte of a small file; samples of a larger one and what is around the boundaries of its sections.
fn cuts(bytes: &[u8], messages: &[std::ops::Range<usize>]) -> Vec<usize> {
    if bytes.len() <= SMALL {
        return (0..bytes.len()).collect();
    }
    let boundaries = messages.iter().take(3).flat_map(|message| {
        section_ranges(&bytes[message.clone()]).into_iter().map(|section| message.start + section.start)
    });
    let around = boundaries.flat_map(|at| at.saturating_sub(AROUND)..(at + AROUND).min(bytes.len()));
    around.chain((0..bytes.len()).step_by(bytes.len() / SAMPLED_CUTS)).collect()
}

#[test]
fn sections_cut_anywhere_in_a_sound_frame() {
    run_all("sections cut", |name, message, points| {
        let made = Made::of(message);
        let lengths: Vec<(usize, usize)> = (0..made.sections.len().min(20))
            .flat_map(|section| {
                let length = made.sections[section].1.len();
                (0..length).step_by(length.div_ceil(SAMPLED_CUTS).max(1)).map(move |cut| (section, cut))
            })
            .collect();
        run(name, points, lengths.len(), |number| {
            let (mut cut, (section, length)) = (made.clone(), lengths[number]);
            cut.sections[section].1.truncate(length);
            cut.bytes()
        })
    });
}

#[test]
fn every_bit_of_the_headers_flipped() {
    run_all("bits flipped", |name, message, points| {
        run(name, points, message.len().min(HEADER) * 8, |bit| {
            let mut damaged = message.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            damaged
        })
    });
}

#[test]
fn several_bits_flipped_anywhere() {
    const TRIALS: usize = 1000;
    run_all("several bits flipped", |name, message, points| {
        let philox = Philox::new(2024, message.len() as u32);
        run(name, points, TRIALS, |trial| {
            let mut damaged = message.to_vec();
            let [count, scope, ..] = philox.words([trial as u32, 0, 0, 0]);
            let reach = if scope % 4 == 0 { message.len() } else { message.len().min(HEADER) };
            for flip in 0..=count % 4 {
                let [place, bit, ..] = philox.words([trial as u32, 1, flip, 0]);
                damaged[place as usize % reach] ^= 1 << (bit % 8);
            }
            damaged
        })
    });
}

#[test]
fn lengths_of_sections_that_lie() {
    run_all("lying lengths", |name, message, points| {
        let sections: Vec<_> = section_ranges(message).into_iter().take(20).collect();
        let lies = |length: u32| [0, 1, 4, 5, length - 1, length + 1, 1 << 31, u32::MAX];
        run(name, points, sections.len() * 8, |number| {
            let (section, mut damaged) = (&sections[number / 8], message.to_vec());
            let lie = lies(section.len() as u32)[number % 8];
            damaged[section.start..section.start + 4].copy_from_slice(&lie.to_be_bytes());
            if lie as usize != section.len() {
                assert!(headers(&damaged).is_err(), "{name}: section at {} said to be {lie} long", section.start);
            }
            damaged
        })
    });
}

#[test]
fn counts_that_lie() {
    const COUNTS: [u32; 4] = [0, 1, 1_000_000_000, u32::MAX];
    run_all("lying counts", |name, message, points| {
        let sections = section_ranges(message).into_iter().filter(|s| [3, 5].contains(&message[s.start + 4]));
        let places: Vec<usize> = sections.take(4).flat_map(|s| s.start + 5..s.end - 3).collect();
        run(name, points, places.len() * COUNTS.len(), |number| {
            let (place, mut damaged) = (places[number / COUNTS.len()], message.to_vec());
            damaged[place..place + 4].copy_from_slice(&COUNTS[number % COUNTS.len()].to_be_bytes());
            damaged
        })
    });
}

#[test]
fn bitmaps_of_other_lengths() {
    const LONGER: [usize; 4] = [8, 9, 1000, 100_000];
    run_all("bitmaps", |name, message, points| {
        let made = Made::of(message);
        let bitmap = made.sections.iter().position(|(number, content)| *number == 6 && content.first() == Some(&0));
        let Some(bitmap) = bitmap else { return [1, 0, 0] };
        let length = made.sections[bitmap].1.len();
        let lengths: Vec<usize> =
            (1..length).step_by(length.div_ceil(100).max(1)).chain(LONGER.iter().map(|more| length + more)).collect();
        let damaged = |number: usize| {
            let mut made = made.clone();
            made.sections[bitmap].1.resize(lengths[number], 0);
            made.bytes()
        };
        for number in 0..lengths.len() {
            let error = headers(&damaged(number)).expect_err("a bitmap of another length").to_string();
            assert!(error.contains("section 6, byte"), "{name}: {error}");
        }
        run(name, points, lengths.len(), damaged)
    });
}

#[test]
fn one_message_continued_with_another() {
    let all: Vec<Vec<u8>> = messages().into_iter().map(|(_, message, _)| message).collect();
    run_all("splices", |name, message, points| {
        let starts = |message: &[u8]| section_ranges(message).iter().take(20).map(|s| s.start).collect::<Vec<_>>();
        let own = starts(message);
        run(name, points, all.len() * 4, |number| {
            let (other, philox) = (&all[number / 4], Philox::new(7, number as u32));
            let [head, tail, ..] = philox.words([message.len() as u32, 0, 0, 0]).map(|word| word as usize);
            // At sections' boundaries, and anywhere.
            let (head, tail) = match number % 2 {
                0 => (own[head % own.len()], starts(other)[tail % starts(other).len()]),
                _ => (head % message.len().min(HEADER), tail % other.len()),
            };
            let mut spliced = [&message[..head], &other[tail..]].concat();
            if number % 4 < 2 && spliced.len() >= 16 {
                set_length(&mut spliced);
            }
            spliced
        })
    });
}

#[test]
fn a_message_of_very_many_fields_is_described_in_memory_of_its_size() {
    let mut made = Made::of(&crate::made::seed("constant"));
    let field: Vec<_> = made.sections.iter().filter(|(number, _)| [4, 5, 7].contains(number)).cloned().collect();
    (0..20_000).for_each(|_| made.sections.extend(field.iter().cloned()));
    let message = made.bytes();
    let (fields, held) = peak(|| headers(&message).expect("fields"));
    println!("{} fields of {} bytes described in {held} bytes", fields.len(), message.len());
    assert!(fields.len() == 20_001 && held <= DESCRIBING * message.len(), "{held}");
    let (_, held) = peak(|| fields[20_000].decode(&message).expect("values"));
    assert!(held <= FREE + A_POINT * fields[0].points, "{held}");
}

#[test]
fn other_bytes_than_the_header_was_read_from_are_refused() {
    for (name, message) in seeds("message").into_iter().filter(|(_, bytes)| bytes.starts_with(b"GRIB")) {
        for field in headers(&message[scan(&message).messages[0].clone()]).expect("headers") {
            assert!(field.decode(&message[1..]).is_err() && field.decode(&[]).is_err(), "{name}");
            assert!(field.decode_into(&message, &mut [0.0; 3]).is_err(), "{name}: a buffer of three values");
        }
    }
}

#[test]
fn text_that_bears_the_ending_is_no_message() {
    let text = b"hrrr.t14z.wrfsfcf01.grib2";
    assert_eq!(headers(text).map_err(|e| e.to_string().contains("hrrr.t14z")), Err(true));
    assert!(matches!(&scan(text).skipped[..], [one] if one.range == (0..text.len())));
}
